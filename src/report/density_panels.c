// Pictures of one cell's densities in the plane, six on one window and one colour scale - the true
// density, the induced one, exp(-E)/Z, that of exact maximum likelihood where a cell has it,
// samples of the short run and of long runs -, and of its gradient flow.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PANEL 260
#define GAP 14
#define LEFT 48
#define TOP 64
#define TITLE 30 // above each panel of the second row
#define GRID 100 // cells a side of what is drawn
#define CELLS (GRID * GRID)
#define FIGURES_MAX 60 // cells of a data set that get such pictures
#define ARROWS 24      // a side

typedef struct panel {
    char title[64];
    bool there;
    double *density; // (GRID, GRID)
} panel;

typedef enum { TRUTH, INDUCED, GIBBS, EXACT, SHORT_RUN, LONG_RUN, PANELS } which;

// A grid (side, side) of log densities brought to GRID cells: means of the densities where it is
// finer, repetition where it is coarser.
static void resample(const float *log_density, size_t side, double *out) {
    for (size_t i = 0; i < CELLS; i++) {
        const size_t y0 = i / GRID * side / GRID, x0 = i % GRID * side / GRID;
        size_t y1 = (i / GRID + 1) * side / GRID, x1 = (i % GRID + 1) * side / GRID;
        y1 = y1 > y0 ? y1 : y0 + 1;
        x1 = x1 > x0 ? x1 : x0 + 1;
        double sum = 0;
        for (size_t y = y0; y < y1; y++)
            for (size_t x = x0; x < x1; x++) {
                const double value = log_density[y * side + x];
                sum += isnan(value) ? 0 : exp(value);
            }
        out[i] = sum / (double)((y1 - y0) * (x1 - x0));
    }
}

static void load_grid(const sr_report_input *input, const sr_record *record, const char *name,
                      panel *out) {
    float *grid;
    size_t shape[2];
    if (!record || !sr_input_array(input, record, name, 2, 0, &grid, shape))
        return;
    out->there = shape[0] == shape[1];
    if (out->there)
        resample(grid, shape[0], out->density);
    else
        sr_monitor_log(input->monitor, SR_LEVEL_WARNING,
                       "left out of the report: %s of %zu x %zu cells is no square", name, shape[0],
                       shape[1]);
    sr_free(grid);
}

// A histogram on cells of twice the width: samples are few.
static void load_points(const sr_report_input *input, const sr_record *record, const char *name,
                        double window, panel *out) {
    enum { SIDE = GRID / 2 };
    float *points;
    size_t shape[2];
    if (!sr_input_array(input, record, name, 2, 2, &points, shape))
        return;
    const double cell = 2 * window / SIDE;
    double count[SIDE * SIDE] = {0};
    for (size_t i = 0; i < shape[0]; i++) {
        const double x = (points[2 * i] + window) / cell, y = (points[2 * i + 1] + window) / cell;
        if (x >= 0 && x < SIDE && y >= 0 && y < SIDE)
            count[(size_t)y * SIDE + (size_t)x] += 1 / ((double)shape[0] * cell * cell);
    }
    for (size_t i = 0; i < CELLS; i++)
        out->density[i] = count[i / GRID / 2 * SIDE + i % GRID / 2];
    out->there = true;
    sr_free(points);
}

static bool load_truth(sr_toy toy, double window, panel *out) {
    float *x = sr_alloc(CELLS, 2 * sizeof *x);
    const double cell = 2 * window / GRID;
    for (size_t i = 0; x && i < CELLS; i++) {
        x[2 * i] = (float)(-window + ((double)(i % GRID) + 0.5) * cell);
        x[2 * i + 1] = (float)(-window + ((double)(i / GRID) + 0.5) * cell);
    }
    out->there = x && sr_toy_log_density(toy, CELLS, x, out->density);
    for (size_t i = 0; out->there && i < CELLS; i++)
        out->density[i] = exp(out->density[i]);
    sr_free(x);
    return out->there;
}

static void name_panel(const sr_record *record, const char *word, const char *kl, panel *out) {
    const double value = record ? sr_record_metric(record, kl) : (double)NAN;
    if (isfinite(value))
        snprintf(out->title, sizeof out->title, "%s (KL %.2f)", word, value);
    else
        snprintf(out->title, sizeof out->title, "%s", word);
}

// ---- drawing ------------------------------------------------------------------------------------

static void print_grid(const double *density, size_t block, const char *what, sr_text *data) {
    sr_text_append(data, "%s# block %zu: %s\n", block ? "\n\n" : "", block, what);
    for (size_t i = 0; i < CELLS; i++)
        sr_text_append(data, "%.4g%s", density[i], (i + 1) % GRID ? " " : "\n");
}

static void print_style(double window, double largest, sr_text *script) {
    const double step = window < 2   ? 0.5
                        : window < 4 ? 1
                                     : 2,
                 last = step * floor(0.92 * window / step);
    sr_text_append(
        script,
        "set palette defined (0 '#ffffff', 0.15 '#deebf7', 0.4 '#9ecae1', 0.65 '#4292c6', "
        "0.85 '#08519c', 1 '#06264f')\n"
        "set cbrange [0:%.4g]\nset xrange [%g:%g]\nset yrange [%g:%g]\n"
        "set xtics %g,%g,%g\nset ytics %g,%g,%g\n"
        "set border 15 linecolor rgb '#999999'\nunset grid\nunset colorbox\nset multiplot\n",
        largest, -window, window, -window, window, -last, step, last, -last, step, last);
}

static void print_heading(const char *label, sr_text *script) {
    sr_text_append(script, "set label 1 ");
    sr_script_quote(script, label);
    sr_text_append(
        script,
        " at screen 0.5, screen 1 offset 0,-1.1 center font large textcolor rgb '#111111'\n");
}

static void print_image(const sr_figure *figure, size_t block, double window, sr_text *script) {
    const double cell = 2 * window / GRID, first = -window + cell / 2;
    sr_text_append(
        script,
        "'%s.dat' index %zu matrix using (%.6g + $1 * %.6g):(%.6g + $2 * %.6g):3 with image",
        figure->name, block, first, cell, first, cell);
}

static void print_panels(const sr_figure *figure, const panel *panels, const char *label,
                         double window, sr_text *data, sr_text *script) {
    const size_t width = LEFT + 3 * (PANEL + GAP) + 90;
    const size_t height = TOP + 2 * (PANEL + TITLE) + 20;
    const sr_canvas canvas = {width, height};
    double largest = 0;
    size_t block = 0;
    for (size_t i = 0; i < CELLS; i++)
        largest = fmax(largest, panels[TRUTH].density[i]);
    sr_script_begin(script, figure, width, height, 1.5);
    print_style(window, largest, script);
    print_heading(label, script);
    for (size_t p = 0; p < PANELS; p++) {
        sr_layout_square(script, canvas, LEFT + p % 3 * (PANEL + GAP),
                         TOP + p / 3 * (PANEL + TITLE), PANEL);
        sr_text_append(script, "set format x '%s'\nset format y '%s'\nset title ",
                       p / 3 == 1 ? "%g" : "", p % 3 == 0 ? "%g" : "");
        sr_script_quote(script, panels[p].title);
        sr_text_append(script, " offset 0,-0.6 textcolor rgb '#333333'\n");
        if (p + 1 == PANELS)
            sr_text_append(script,
                           "set colorbox user origin screen %.5f, screen %.5f size screen %.5f, "
                           "screen %.5f\nset cblabel 'density' offset -0.5,0\n",
                           (double)(LEFT + 3 * (PANEL + GAP)) / (double)width, 20 / (double)height,
                           14 / (double)width, PANEL / (double)height);
        if (panels[p].there) {
            print_grid(panels[p].density, block, panels[p].title, data);
            sr_text_append(script, "plot ");
            print_image(figure, block++, window, script);
            sr_text_append(script, "\n");
        } else {
            sr_text_append(script,
                           "set label 2 'none' at graph 0.5, graph 0.5 center textcolor rgb "
                           "'#888888'\nplot NaN\nunset label 2\n");
        }
        sr_text_append(script, p == 0 ? "unset label 1\n" : "");
    }
    sr_text_append(script, "unset multiplot\n");
    sr_script_end(script);
}

// -grad E on a coarse grid by central differences of energy.npy, arrows of equal length where the
// gradient is not tiny: the direction of the flow; trajectories over the true density.
static bool print_flow(const sr_report_input *input, const sr_record *record,
                       const sr_figure *figure, const panel *truth, const char *label,
                       double window, sr_text *data, sr_text *script) {
    const size_t side = 560, top = 44, width = LEFT + side + 20, height = top + side + 40;
    float *energy, *paths;
    size_t shape[3], path_shape[3];
    double largest = 0;
    if (!sr_input_array(input, record, "energy.npy", 2, 0, &energy, shape))
        return false;
    if (shape[0] != shape[1] || shape[0] < 3 ||
        !sr_input_array(input, record, "trajectories.npy", 3, 2, &paths, path_shape)) {
        sr_free(energy);
        return false;
    }
    const size_t grid = shape[0];
    const double cell = 2 * window / (double)grid, length = 0.7 * 2 * window / ARROWS;
    print_grid(truth->density, 0, "true density", data);
    sr_text_append(data, "\n\n# block 1: x y dx dy\n");
    for (size_t a = 0; a < ARROWS * ARROWS; a++) {
        const size_t i = 1 + a / ARROWS * (grid - 3) / (ARROWS - 1);
        const size_t j = 1 + a % ARROWS * (grid - 3) / (ARROWS - 1);
        const double dx = energy[i * grid + j - 1] - energy[i * grid + j + 1];
        const double dy = energy[(i - 1) * grid + j] - energy[(i + 1) * grid + j];
        const double norm = hypot(dx, dy);
        if (norm > 0)
            sr_text_append(data, "%.5g %.5g %.5g %.5g\n", -window + ((double)j + 0.5) * cell,
                           -window + ((double)i + 0.5) * cell, length * dx / norm,
                           length * dy / norm);
    }
    sr_text_append(data, "\n\n# block 2: trajectories\n");
    for (size_t c = 0; c < path_shape[0]; c++) {
        for (size_t k = 0; k < path_shape[1]; k++) {
            const float *at = paths + (c * path_shape[1] + k) * 2;
            sr_text_append(data, "%.5g %.5g\n", (double)at[0], (double)at[1]);
        }
        sr_text_append(data, "\n");
    }
    for (size_t i = 0; i < CELLS; i++)
        largest = fmax(largest, truth->density[i]);
    sr_script_begin(script, figure, width, height, 1.5);
    print_style(window, 2 * largest, script); // pale, so that lines stand out
    print_heading(label, script);
    sr_layout_square(script, (sr_canvas){width, height}, LEFT, top, side);
    sr_text_append(script, "plot ");
    print_image(figure, 0, window, script);
    sr_text_append(script,
                   ", '%s.dat' index 1 using 1:2:3:4 with vectors head size graph 0.006,25 filled "
                   "linecolor rgb '#999999' linewidth 0.8, '%s.dat' index 2 using 1:2 with "
                   "linespoints pointtype 7 pointsize 0.35 linecolor rgb '#D55E00' linewidth 1.4\n"
                   "unset multiplot\n",
                   figure->name, figure->name);
    sr_script_end(script);
    sr_free(energy);
    sr_free(paths);
    return true;
}

// ---- one cell -----------------------------------------------------------------------------------

static sr_figure *begin(const sr_section *section, size_t index, size_t row, size_t column,
                        sr_figure_kind kind, sr_figures *figures) {
    char end[64];
    snprintf(end, sizeof end, "%s_row%zu_K%zu", kind == SR_FIGURE_FLOW ? "flow" : "densities",
             row + 1, section->steps[column]);
    sr_figure *figure = sr_figures_add(figures, kind, section, index, end);
    if (!figure)
        return NULL;
    figure->row = row;
    figure->column = column;
    figure->width = kind == SR_FIGURE_FLOW ? 620 : 960;
    return figure;
}

static sr_status finish(const sr_figures *figures, const sr_figure *figure, sr_text *data,
                        sr_text *script) {
    sr_status status = sr_figure_write(figures, figure, ".dat", data);
    if (!status)
        status = sr_figure_write(figures, figure, ".gp", script);
    sr_text_clear(data);
    sr_text_clear(script);
    return status;
}

static void load_panels(const sr_report_input *input, const sr_record *record,
                        const sr_record *exact, double window, panel *panels) {
    for (size_t p = 1; p < PANELS; p++)
        panels[p].there = false;
    name_panel(NULL, "true density", "", &panels[TRUTH]);
    name_panel(record, "induced, noise-free map", "kl_density_induced", &panels[INDUCED]);
    name_panel(record, "exp(−E)/Z", "kl_density_gibbs", &panels[GIBBS]);
    name_panel(exact, "exact maximum likelihood", "kl_density_gibbs", &panels[EXACT]);
    name_panel(record, "short-run samples", "kl_density_run", &panels[SHORT_RUN]);
    name_panel(NULL, "long-run samples", "", &panels[LONG_RUN]);
    load_grid(input, record, "induced.npy", &panels[INDUCED]);
    load_grid(input, record, "gibbs.npy", &panels[GIBBS]);
    load_grid(input, exact, "gibbs.npy", &panels[EXACT]);
    load_points(input, record, "samples.npy", window, &panels[SHORT_RUN]);
    load_points(input, record, "long_run.npy", window, &panels[LONG_RUN]);
}

static sr_status cell_figures(const sr_report_input *input, const sr_section *section, size_t index,
                              size_t row, size_t column, panel *panels, sr_figures *figures) {
    const sr_record *record = sr_section_shown(section, row, column);
    const double window = sr_toy_window(section->toy_kind);
    char label[900], path[4608];
    sr_text words = {0}, data = {0}, script = {0};
    sr_status status = SR_OK;
    if (!record)
        return SR_OK;
    sr_input_cell_path(input, record, "induced.npy", path, sizeof path);
    if (!sr_file_exists(path))
        return SR_OK;
    load_panels(input, record, sr_exact_record(input, record), window, panels);
    sr_row_words(section, row, "σ", &words);
    snprintf(label, sizeof label, "%s: K = %zu, %.200s, seed %llu", section->title,
             section->steps[column], sr_text_string(&words),
             (unsigned long long)record->cell.train.seed);
    sr_text_clear(&words);
    sr_figure *figure = begin(section, index, row, column, SR_FIGURE_DENSITIES, figures);
    if (!figure)
        return SR_ERROR_MEMORY;
    snprintf(
        figure->caption, sizeof figure->caption,
        "%.400s. One colour scale, up to the maximum of the true density; KL of the data against "
        "each density, row by row%s.",
        label, sr_exact_record(input, record) ? "; exact maximum likelihood of the same seed" : "");
    snprintf(figure->alt, sizeof figure->alt, "Six densities in the plane, %.200s.", label);
    print_panels(figure, panels, label, window, &data, &script);
    status = finish(figures, figure, &data, &script);
    if (status != SR_OK || !(figure = begin(section, index, row, column, SR_FIGURE_FLOW, figures)))
        return status != SR_OK ? status : SR_ERROR_MEMORY;
    snprintf(
        figure->caption, sizeof figure->caption,
        "%.300s: direction of −∇E (arrows of equal length), %s of the noise-free map, the true "
        "density behind.",
        label, "trajectories");
    snprintf(figure->alt, sizeof figure->alt, "Gradient flow and trajectories, %.200s.", label);
    if (print_flow(input, record, figure, &panels[TRUTH], label, window, &data, &script))
        return finish(figures, figure, &data, &script);
    figures->count--; // nothing to draw
    sr_text_clear(&data);
    sr_text_clear(&script);
    return SR_OK;
}

sr_status sr_figures_densities(const sr_report_input *input, const sr_sections *sections,
                               sr_figures *figures) {
    sr_status status = SR_OK;
    double *memory = sr_alloc(PANELS * CELLS, sizeof *memory);
    panel panels[PANELS] = {0};
    if (!memory)
        return SR_ERROR_MEMORY;
    for (size_t p = 0; p < PANELS; p++)
        panels[p].density = memory + p * CELLS;
    for (size_t i = 0; i < sections->count && !status; i++) {
        const sr_section *section = &sections->list[i];
        const size_t cells = section->rows * section->columns;
        if (!section->toy || !sr_section_has_densities(section) ||
            !load_truth(section->toy_kind, sr_toy_window(section->toy_kind), &panels[TRUTH]))
            continue;
        for (size_t e = 0; e < cells && e < FIGURES_MAX && !status; e++)
            status = cell_figures(input, section, i, e / section->columns, e % section->columns,
                                  panels, figures);
    }
    sr_free(memory);
    return status;
}
