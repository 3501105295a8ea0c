// Pictures of two-dimensional densities: for each cell the data, the samples and exp(-E)/Z side by
// side on one window and one colour scale, and for each data set an overview of the samples, rows
// by noise and columns by K. Data and samples are shown as the KL metric sees them: histograms on
// the 80 x 80 grid, smoothed by a Gaussian of deviation 0.1.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GRID SR_TOY_GRID
#define CELLS (GRID * GRID)
#define SMOOTH_DEVIATION 0.1
#define PANEL 300     // pixels of a panel of one cell
#define THUMB 150     // pixels of a panel of the overview
#define GAP 12        // between panels
#define PANELS_MAX 64 // rows or columns of an overview
#define CELLS_MAX 100 // cells of a data set that get panels of their own; the overview has them all

// ---- densities on the grid ----------------------------------------------------------------------

// Smooths along rows (stride 1) or columns (stride GRID), the kernel cut at 3 deviations and
// normalised.
static void smooth(const double *in, double *out, size_t stride, double cell) {
    size_t other = stride == 1 ? GRID : 1;
    int reach = (int)ceil(3 * SMOOTH_DEVIATION / cell);
    for (size_t line = 0; line < GRID; line++) {
        for (int i = 0; i < GRID; i++) {
            double sum = 0, weights = 0;
            for (int d = -reach; d <= reach; d++) {
                double z = d * cell / SMOOTH_DEVIATION, w = exp(-z * z / 2);
                weights += w;
                if (i + d >= 0 && i + d < GRID)
                    sum += w * in[line * other + (size_t)(i + d) * stride];
            }
            out[line * other + (size_t)i * stride] = sum / weights;
        }
    }
}

// Density of points (n, 2) over the window [-w, w]^2: row index = y upward. Points outside count in
// n.
static void histogram(size_t n, const float *points, double window, double *density,
                      double *scratch) {
    double cell = 2 * window / GRID;
    memset(density, 0, CELLS * sizeof *density);
    for (size_t i = 0; i < n; i++) {
        double x = (points[2 * i] + window) / cell, y = (points[2 * i + 1] + window) / cell;
        if (x >= 0 && x < GRID && y >= 0 && y < GRID)
            density[(size_t)y * GRID + (size_t)x] += 1 / ((double)n * cell * cell);
    }
    smooth(density, scratch, 1, cell);
    smooth(scratch, density, GRID, cell);
}

// exp(-E)/Z, Z by the midpoint rule over the window. False where no energy is finite.
static bool gibbs(const float *energy, double window, double *density) {
    double cell = 2 * window / GRID, lowest = INFINITY, sum = 0;
    for (size_t i = 0; i < CELLS; i++)
        lowest = isfinite(energy[i]) ? fmin(lowest, energy[i]) : lowest;
    for (size_t i = 0; i < CELLS; i++) {
        density[i] = isfinite(energy[i]) ? exp(lowest - energy[i]) : 0;
        sum += density[i];
    }
    for (size_t i = 0; i < CELLS; i++)
        density[i] /= sum * cell * cell;
    return isfinite(lowest);
}

// ---- files of a cell ----------------------------------------------------------------------------

// A float32 array with the given last dimension and at least one row; false (and no memory)
// otherwise.
static bool load_rows(const sr_report_input *input, const sr_record *record, const char *name,
                      size_t last, float **out, size_t *rows) {
    char path[4608];
    sr_array array = {0};
    *out = NULL;
    sr_input_cell_path(input, record, name, path, sizeof path);
    if (!sr_file_exists(path))
        return false;
    if (sr_npy_load(path, &array)) {
        sr_monitor_log(input->monitor, SR_LEVEL_WARNING, "left out of the report: %s",
                       sr_error_message());
        return false;
    }
    bool fits = array.rank == 2 && array.shape[1] == last && array.shape[0] > 0;
    *rows = fits ? array.shape[0] : 0;
    fits = fits && sr_array_to_f32(&array, out) == SR_OK;
    sr_array_clear(&array);
    return fits;
}

static bool load_histogram(const sr_report_input *input, const sr_record *record, const char *name,
                           double window, double *density, double *scratch) {
    float *points;
    size_t n;
    if (!load_rows(input, record, name, 2, &points, &n))
        return false;
    histogram(n, points, window, density, scratch);
    sr_free(points);
    return true;
}

static bool load_gibbs(const sr_report_input *input, const sr_record *record, double window,
                       double *density) {
    float *energy;
    size_t rows;
    bool fits = load_rows(input, record, "energy.npy", GRID, &energy, &rows) && rows == GRID;
    fits = fits && gibbs(energy, window, density);
    sr_free(energy);
    return fits;
}

// ---- scripts ------------------------------------------------------------------------------------

static void print_density(const double *density, size_t block, const char *what, sr_text *data) {
    sr_text_append(data, "%s# block %zu: %s\n", block ? "\n\n" : "", block, what);
    for (size_t i = 0; i < CELLS; i++)
        sr_text_append(data, "%.4g%s", density[i], (i + 1) % GRID ? " " : "\n");
}

static void print_style(double largest, double window, sr_text *script) {
    sr_text_append(
        script,
        "set palette defined (0 '#ffffff', 0.15 '#deebf7', 0.4 '#9ecae1', 0.65 '#4292c6', "
        "0.85 '#08519c', 1 '#06264f')\n"
        "set cbrange [0:%.4g]\nset xrange [%g:%g]\nset yrange [%g:%g]\n"
        "set border 15 linecolor rgb '#999999'\nunset grid\nunset colorbox\nset multiplot\n",
        largest, -window, window, -window, window);
}

static void print_image(const sr_figure *figure, size_t block, double window, sr_text *script) {
    double cell = 2 * window / GRID, first = -window + cell / 2;
    sr_text_append(
        script,
        "plot '%s.dat' index %zu matrix using (%.6g + $1 * %.6g):(%.6g + $2 * %.6g):3 with image\n",
        figure->name, block, first, cell, first, cell);
}

static double largest_of(const double *density) {
    double largest = 0;
    for (size_t i = 0; i < CELLS; i++)
        largest = fmax(largest, density[i]);
    return largest;
}

// ---- one cell -----------------------------------------------------------------------------------

static void panel_titles(const sr_record *record, char titles[3][64]) {
    static const char *const words[3] = {"data", "samples", "exp(−E)/Z"};
    static const char *const metrics[3] = {NULL, "kl", "kl_gibbs"};
    for (size_t i = 0; i < 3; i++) {
        double kl =
            metrics[i] ? sr_record_quantity(record, (sr_quantity){false, metrics[i]}, NULL) : NAN;
        if (isfinite(kl))
            snprintf(titles[i], 64, "%s (KL %.2f)", words[i], kl);
        else
            snprintf(titles[i], 64, "%s", words[i]);
    }
}

// About five tics an axis, none at the corners, where those of two panels would meet.
static void print_tics(double window, sr_text *script) {
    double step = window < 2 ? 0.5 : window < 4 ? 1 : window < 8 ? 2 : ceil(window / 4);
    double last = step * floor(0.92 * window / step);
    sr_text_append(script, "set xtics %g,%g,%g\nset ytics %g,%g,%g\n", -last, step, last, -last,
                   step, last);
}

static void print_cell_script(const sr_figure *figure, const sr_record *record, const char *label,
                              double window, double largest, sr_text *script) {
    size_t left = 48, top = 62, width = left + 3 * PANEL + 2 * GAP + 100, height = top + PANEL + 40;
    char titles[3][64];
    panel_titles(record, titles);
    sr_script_begin(script, figure, width, height, 1.5);
    print_style(largest, window, script);
    print_tics(window, script);
    sr_text_append(script, "set label 1 ");
    sr_script_quote(script, label);
    sr_text_append(
        script,
        " at screen 0.5, screen 1 offset 0,-1.1 center font large textcolor rgb '#111111'\n");
    for (size_t i = 0; i < 3; i++) {
        sr_layout_square(script, (sr_canvas){width, height}, left + i * (PANEL + GAP), top, PANEL);
        sr_text_append(script, "%sset title ", i == 1 ? "unset label\nset format y ''\n" : "");
        sr_script_quote(script, titles[i]);
        sr_text_append(script, " offset 0,-0.5 textcolor rgb '#333333'\n");
        if (i == 2)
            sr_text_append(
                script,
                "set colorbox user origin screen %.5f, screen %.5f size screen %.5f, screen "
                "%.5f\nset cblabel 'density' offset -0.5,0\n",
                (double)(left + 3 * PANEL + 3 * GAP) / (double)width,
                1 - (double)(top + PANEL) / (double)height, 14 / (double)width,
                PANEL / (double)height);
        print_image(figure, i, window, script);
    }
    sr_text_append(script, "unset multiplot\n");
    sr_script_end(script);
}

static sr_status cell_figure(const sr_report_input *input, const sr_sections *sections,
                             size_t index, size_t row, size_t column, double *work,
                             sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    const sr_record *record = sr_section_shown(section, row, column);
    double window = sr_toy_window(section->toy_kind);
    double *data = work, *samples = work + CELLS, *density = work + 2 * CELLS,
           *scratch = work + 3 * CELLS;
    if (!record || !load_histogram(input, record, "data.npy", window, data, scratch) ||
        !load_histogram(input, record, "samples.npy", window, samples, scratch) ||
        !load_gibbs(input, record, window, density))
        return SR_OK; // an incomplete cell has no panels; the tables still have it
    char end[64];
    snprintf(end, sizeof end, "panels_row%zu_K%zu", row + 1, section->steps[column]);
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_PANELS, section, index, end);
    if (!figure)
        return SR_ERROR_MEMORY;
    figure->row = row;
    figure->column = column;
    figure->width = 1000;
    sr_text words = {0}, text = {0}, script = {0};
    sr_row_words(section, row, "σ", &words);
    snprintf(figure->caption, sizeof figure->caption, "K = %zu, %.200s, seed %llu",
             section->steps[column], sr_text_string(&words),
             (unsigned long long)record->cell.train.seed);
    snprintf(figure->alt, sizeof figure->alt,
             "Density of data, of samples, and exp(-E)/Z: %.80s, %.200s.", section->title,
             figure->caption);
    print_density(data, 0, "data", &text);
    print_density(samples, 1, "samples", &text);
    print_density(density, 2, "exp(-E)/Z", &text);
    char label[900];
    snprintf(label, sizeof label, "%s: %s", section->title, figure->caption);
    print_cell_script(figure, record, label, window, largest_of(data), &script);
    sr_status status = sr_figure_write(figures, figure, ".dat", &text);
    if (!status)
        status = sr_figure_write(figures, figure, ".gp", &script);
    sr_text_clear(&words);
    sr_text_clear(&text);
    sr_text_clear(&script);
    return status;
}

// ---- overview -----------------------------------------------------------------------------------

typedef struct overview_writer {
    const sr_report_input *input;
    const sr_section *section;
    sr_figure *figure;
    sr_canvas canvas;
    size_t rows, columns, left, top;
    double window;
    double *work;
    size_t block;
    sr_text data, script;
} overview_writer;

static void print_overview_labels(overview_writer *o) {
    char text[96];
    sr_layout_word(&o->script, o->canvas, "data", (double)o->left + THUMB / 2.0,
                   (double)o->top - 14, "center");
    for (size_t c = 0; c < o->columns; c++) {
        snprintf(text, sizeof text, "K = %zu", o->section->steps[c]);
        sr_layout_word(&o->script, o->canvas, text,
                       (double)(o->left + (c + 1) * (THUMB + GAP)) + THUMB / 2.0,
                       (double)o->top - 14, "center");
    }
    for (size_t r = 0; r < o->rows; r++)
        sr_layout_row_words(&o->script, o->canvas, o->section, r, (double)o->left - 12,
                            (double)(o->top + r * (THUMB + GAP)) + THUMB / 2.0);
}

static void print_overview_panel(overview_writer *o, size_t r, size_t c, const double *density,
                                 const char *what, const char *word) {
    sr_layout_square(&o->script, o->canvas, o->left + c * (THUMB + GAP), o->top + r * (THUMB + GAP),
                     THUMB);
    if (density) {
        print_density(density, o->block, what, &o->data);
        print_image(o->figure, o->block++, o->window, &o->script);
    } else {
        sr_text_append(&o->script, "set label 999 ");
        sr_script_quote(&o->script, word);
        sr_text_append(
            &o->script,
            " at graph 0.5, graph 0.5 center textcolor rgb '#888888'\nplot NaN\nunset label 999\n");
    }
    if (r == 0 && c == 0)
        sr_text_append(&o->script, "unset label\n"); // the words stand once
}

static double *overview_data(overview_writer *o) {
    for (size_t i = 0; i < o->section->count; i++) {
        if (load_histogram(o->input, o->section->records[i], "data.npy", o->window, o->work,
                           o->work + 3 * CELLS))
            return o->work;
    }
    return NULL;
}

static void print_overview(overview_writer *o) {
    double *data = overview_data(o);
    sr_script_begin(&o->script, o->figure, o->canvas.width, o->canvas.height, 1.5);
    print_style(data ? largest_of(data) : 1, o->window, &o->script);
    sr_text_append(&o->script, "unset tics\n");
    char title[400];
    snprintf(title, sizeof title, "%s: density of the samples", o->section->title);
    sr_text_append(&o->script, "set label ");
    sr_script_quote(&o->script, title);
    sr_text_append(&o->script, " at screen 0.5, screen 1 offset 0,-1.1 center font large\n");
    print_overview_labels(o);
    print_overview_panel(o, 0, 0, data, "data", "no data");
    for (size_t r = 0; r < o->rows; r++) {
        for (size_t c = 0; c < o->columns; c++) {
            const sr_record *record = sr_section_shown(o->section, r, c);
            double *samples = o->work + CELLS;
            bool there = record && load_histogram(o->input, record, "samples.npy", o->window,
                                                  samples, o->work + 3 * CELLS);
            bool any = sr_section_record(o->section, r, c) != NULL;
            char what[96];
            snprintf(what, sizeof what, "samples, row %zu, K=%zu", r + 1, o->section->steps[c]);
            print_overview_panel(o, r, c + 1, there ? samples : NULL, what,
                                 record || !any ? "no samples" : "diverged");
        }
    }
    sr_text_append(&o->script, "unset multiplot\n");
    sr_script_end(&o->script);
}

static sr_status overview_figure(const sr_report_input *input, const sr_sections *sections,
                                 size_t index, double *work, sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    overview_writer o = {.input = input, .section = section, .work = work};
    o.figure = sr_figures_add(figures, SR_FIGURE_OVERVIEW, section, index, "overview");
    if (!o.figure)
        return SR_ERROR_MEMORY;
    o.rows = section->rows < PANELS_MAX ? section->rows : PANELS_MAX;
    o.columns = section->columns < PANELS_MAX ? section->columns : PANELS_MAX;
    o.left = sr_layout_row_width(section);
    o.top = 72;
    o.canvas.width = o.left + (o.columns + 1) * (THUMB + GAP) + 8;
    o.canvas.height = o.top + o.rows * (THUMB + GAP) + 4;
    o.window = sr_toy_window(section->toy_kind);
    print_overview(&o);
    o.figure->width = o.canvas.width;
    snprintf(o.figure->caption, sizeof o.figure->caption,
             "Density of the samples, rows by noise, columns by K, lowest seed of each; all on the "
             "window "
             "and colour scale of the data.");
    snprintf(o.figure->alt, sizeof o.figure->alt,
             "Matrix of sample densities on %.120s, rows by noise, columns by K.", section->title);
    sr_status status = sr_figure_write(figures, o.figure, ".dat", &o.data);
    if (!status)
        status = sr_figure_write(figures, o.figure, ".gp", &o.script);
    sr_text_clear(&o.data);
    sr_text_clear(&o.script);
    return status;
}

static bool any_samples(const sr_report_input *input, const sr_section *section) {
    for (size_t i = 0; i < section->count; i++) {
        char path[4608];
        sr_input_cell_path(input, section->records[i], "samples.npy", path, sizeof path);
        if (sr_file_exists(path))
            return true;
    }
    return false;
}

sr_status sr_figures_panels(const sr_report_input *input, const sr_sections *sections,
                            sr_figures *figures) {
    sr_status status = SR_OK;
    double *work = sr_alloc(4 * CELLS, sizeof *work);
    if (!work)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < sections->count && !status; i++) {
        const sr_section *section = &sections->list[i];
        if (!section->toy || !any_samples(input, section))
            continue;
        status = overview_figure(input, sections, i, work, figures);
        size_t cells = section->rows * section->columns;
        for (size_t e = 0; e < cells && e < CELLS_MAX && !status; e++)
            status = cell_figure(input, sections, i, e / section->columns, e % section->columns,
                                 work, figures);
    }
    sr_free(work);
    return status;
}
