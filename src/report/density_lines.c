// Line figures on densities, one panel a K, one line a row of the tables, of the seed that stands
// for an entry: log p_k of held-out rows against k, the range of eigenvalues along trajectories,
// score and energy against the number of sampling steps.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX 32 // lines of a panel

bool sr_input_array(const sr_report_input *input, const sr_record *record, const char *name,
                    size_t rank, size_t last, float **out, size_t *shape) {
    char path[4608];
    sr_array array = {0};
    *out = NULL;
    sr_input_cell_path(input, record, name, path, sizeof path);
    if (!sr_file_exists(path))
        return false;
    sr_status status = sr_npy_load(path, &array);
    if (status == SR_OK && (array.rank != rank || sr_array_count(&array) == 0 ||
                            (last && array.shape[rank - 1] != last)))
        status = sr_fail(SR_ERROR_FORMAT, "%s: an array of another shape was expected", path);
    if (status == SR_OK)
        status = sr_array_to_f32(&array, out);
    for (size_t i = 0; status == SR_OK && i < rank; i++)
        shape[i] = array.shape[i];
    if (status != SR_OK)
        sr_monitor_log(input->monitor, SR_LEVEL_WARNING, "left out of the report: %s",
                       sr_error_message());
    sr_array_clear(&array);
    return status == SR_OK;
}

// A kind of figure: the file it reads, and what it draws of one entry's rows (count, width).
typedef struct kind {
    sr_figure_kind figure;
    const char *file, *end, *title, *caption, *x, *y;
    size_t width;
    const char *axes; // gnuplot commands before each panel
} kind;

static const kind kinds[] = {
    {SR_FIGURE_PATH, "density_path.npy", "density_against_steps",
     "held-out log-likelihood of k steps",
     "Mean log p_k of held-out rows (nats) under the noise-free map of k steps, k = 0 to K, with "
     "its "
     "95% band: how the density approaches the data. Rows that could not be inverted are left out.",
     "steps k", "mean log p_k", 3, ""},
    {SR_FIGURE_EIGENVALUES, "eigenvalues.npy", "eigenvalues_along_trajectory",
     "eigenvalues of s H along the trajectory",
     "Smallest and largest eigenvalue of s H over the sampler's chains at each step (lines: "
     "extremes "
     "over chains; band: between the means of both). Below +1 (dashed) the map "
     "cannot fold.",
     "step k", "s λ", 4, ""},
    {SR_FIGURE_BEYOND, "beyond.npy", "score_beyond_steps", "score far beyond the training K",
     "Score of samples (lower is better, bars: 95% intervals) against the number of sampling "
     "steps, "
     "one set of chains carried on with the cell's own dynamics; the dashed line marks the K of "
     "training. The lower curves show the mean energy of the same chains.",
     "sampling steps", "score", 5, "set logscale x\n"},
};

static void print_block(const float *rows, size_t count, size_t width, const char *what,
                        size_t block, sr_text *data) {
    sr_text_append(data, "%s# block %zu: %s\n", block ? "\n\n" : "", block, what);
    for (size_t i = 0; i < count; i++) {
        sr_text_append(data, "%zu", i);
        for (size_t j = 0; j < width; j++)
            sr_text_append(data, " %.7g", (double)rows[i * width + j]);
        sr_text_append(data, "\n");
    }
}

// One entry's line in the plot command.
static void print_line(const kind *k, const sr_figure *figure, size_t block, sr_line_style style,
                       bool energy, sr_text *script) {
    const char *name = figure->name;
    if (k->figure == SR_FIGURE_PATH)
        sr_text_append(script,
                       "'%s.dat' index %zu using 1:3:4 with filledcurves fillcolor rgb '%s' "
                       "fillstyle transparent solid 0.15 noborder, '%s.dat' index %zu using 1:2 "
                       "with lines ",
                       name, block, style.colour, name, block);
    else if (k->figure == SR_FIGURE_EIGENVALUES)
        sr_text_append(script,
                       "'%s.dat' index %zu using 1:3:4 with filledcurves fillcolor rgb '%s' "
                       "fillstyle transparent solid 0.12 noborder, '%s.dat' index %zu using 1:2 "
                       "with lines linecolor rgb '%s' linewidth 1.2, '%s.dat' index %zu using 1:5 "
                       "with lines ",
                       name, block, style.colour, name, block, style.colour, name, block);
    else if (energy)
        sr_text_append(script, "'%s.dat' index %zu using 2:6 with linespoints ", name, block);
    else
        sr_text_append(script,
                       "'%s.dat' index %zu using 2:3:4:5 with yerrorbars pointtype 0 linecolor rgb "
                       "'%s', '%s.dat' index %zu using 2:3 with linespoints ",
                       name, block, style.colour, name, block);
    sr_layout_style(script, style, 1.8, k->figure == SR_FIGURE_BEYOND);
}

typedef struct lines {
    const sr_report_input *input;
    const sr_sections *sections;
    const sr_section *section;
    const kind *kind;
    sr_figure *figure;
    sr_legend_entry *legend; // (ROWS_MAX)
    size_t block;
    sr_text data, script;
} lines;

// The panel of column c; `energy`: the second figure's half of SR_FIGURE_BEYOND.
static void print_panel(lines *l, size_t c, bool energy) {
    size_t drawn = 0;
    sr_text_append(&l->script, "set xlabel '%s' offset 0,0.4\nset ylabel '%s' offset 0.5,0\n%s",
                   l->kind->x, energy ? "mean E(x)" : l->kind->y, l->kind->axes);
    if (l->kind->figure == SR_FIGURE_BEYOND)
        sr_text_append(&l->script,
                       "set arrow from first %zu, graph 0 to first %zu, graph 1 nohead dashtype 2 "
                       "linecolor rgb '#888888'\n",
                       l->section->steps[c], l->section->steps[c]);
    for (size_t r = 0; r < l->section->rows && r < ROWS_MAX; r++) {
        const sr_record *record = sr_section_shown(l->section, r, c);
        float *rows;
        size_t shape[2];
        char what[64];
        if (!record ||
            !sr_input_array(l->input, record, l->kind->file, 2, l->kind->width, &rows, shape))
            continue;
        snprintf(what, sizeof what, "K=%zu row %zu", l->section->steps[c], r + 1);
        print_block(rows, shape[0], l->kind->width, what, l->block, &l->data);
        sr_free(rows);
        if (drawn == 0 && l->kind->figure == SR_FIGURE_EIGENVALUES)
            sr_text_append(&l->script,
                           "plot 1 with lines dashtype 2 linecolor rgb '#888888', -1 with lines "
                           "dashtype 2 linecolor rgb '#888888', \\\n    ");
        else
            sr_text_append(&l->script, "%s", drawn ? ", \\\n    " : "plot ");
        drawn++;
        print_line(l->kind, l->figure, l->block++, l->legend[r].style, energy, &l->script);
    }
    sr_text_append(&l->script, drawn ? "\n" : "set xrange [1:2]\nset yrange [0:1]\nplot NaN\n");
}

static bool any_file(const sr_report_input *input, const sr_section *section, const char *name) {
    for (size_t e = 0; e < section->rows * section->columns; e++) {
        char path[4608];
        const sr_record *record =
            sr_section_shown(section, e / section->columns, e % section->columns);
        if (!record)
            continue;
        sr_input_cell_path(input, record, name, path, sizeof path);
        if (sr_file_exists(path))
            return true;
    }
    return false;
}

static sr_status line_figure(const sr_report_input *input, const sr_sections *sections,
                             size_t index, const kind *k, sr_figures *figures) {
    lines l = {.input = input, .sections = sections, .section = &sections->list[index], .kind = k};
    if (!any_file(input, l.section, k->file))
        return SR_OK;
    l.figure = sr_figures_add(figures, k->figure, l.section, index, k->end);
    l.legend = sr_alloc(ROWS_MAX, sizeof *l.legend);
    if (!l.figure || !l.legend) {
        sr_free(l.legend);
        return SR_ERROR_MEMORY;
    }
    const size_t entries = l.section->rows < ROWS_MAX ? l.section->rows : ROWS_MAX;
    const size_t columns = l.section->columns, halves = k->figure == SR_FIGURE_BEYOND ? 2 : 1;
    for (size_t r = 0; r < entries; r++)
        sr_layout_row(sections, l.section, r, &l.legend[r]);
    const sr_layout layout = sr_layout_make(columns * halves, entries, l.legend);
    char title[480], panel[64];
    snprintf(title, sizeof title, "%s: %s", l.section->title, k->title);
    sr_script_begin(&l.script, l.figure, layout.width, layout.height, 2);
    sr_layout_begin(&l.script, title);
    for (size_t i = 0; i < columns * halves; i++) {
        const size_t c = i % columns;
        snprintf(panel, sizeof panel, "K = %zu", l.section->steps[c]);
        sr_layout_panel(&l.script, &layout, i, panel);
        print_panel(&l, c, i >= columns);
    }
    sr_layout_end(&l.script, &layout, entries, l.legend,
                  halves == 2 ? SR_LEGEND_LINE_POINT : SR_LEGEND_LINE);
    sr_script_end(&l.script);
    l.figure->width = layout.width;
    snprintf(l.figure->caption, sizeof l.figure->caption, "%s", k->caption);
    snprintf(l.figure->alt, sizeof l.figure->alt, "Line plots on %.120s, one panel a K: %.150s.",
             l.section->title, k->title);
    sr_status status = sr_figure_write(figures, l.figure, ".dat", &l.data);
    if (!status)
        status = sr_figure_write(figures, l.figure, ".gp", &l.script);
    sr_text_clear(&l.data);
    sr_text_clear(&l.script);
    sr_free(l.legend);
    return status;
}

sr_status sr_figures_density_lines(const sr_report_input *input, const sr_sections *sections,
                                   sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < sections->count && !status; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds && !status; k++)
            status = line_figure(input, sections, i, &kinds[k], figures);
    return status;
}
