// Pictures of images as the scores see them, in the features: data and samples in the two principal
// components of the data, and samples beside their nearest training images. Left out where the data
// set or the samples are not at hand.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS 800 // of the data, and of the samples of an entry
#define PANELS_MAX 6
#define TRIM 0.005   // share of the points beyond each end of an axis that may lie outside
#define PAIRS 8      // samples in a strip
#define STRIPS 3     // strips of pairs
#define SIDE 88      // CSS pixels of an image of a pair, about
#define STRIP_GAP 34 // below a strip, for the distances

// ---- two principal components -------------------------------------------------------------------

typedef struct components {
    const sr_section *section;
    sr_figure *figure;
    size_t panels, row[PANELS_MAX], column;
    sr_legend_entry legend[PANELS_MAX + 1]; // the data, then the rows
    sr_principal axes;
    double *all; // coordinates of everything that is drawn, (2, count)
    size_t count, capacity;
    sr_text data, script;
} components;

static void append_points(components *c, size_t n, const float *x, const char *what, size_t block) {
    n = n < POINTS ? n : POINTS;
    sr_text_append(&c->data, "%s# block %zu: %s\n", block ? "\n\n" : "", block, what);
    for (size_t i = 0; i < n; i++) {
        double at[2];
        sr_principal_project(&c->axes, 1, x + i * c->axes.dim, at);
        sr_text_append(&c->data, "%.5g %.5g\n", at[0], at[1]);
        for (size_t k = 0; k < 2 && c->count < c->capacity; k++)
            c->all[k * c->capacity + c->count] = at[k];
        c->count += c->count < c->capacity;
    }
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

// The same range for all panels: of all points but the outermost.
static void print_ranges(components *c) {
    static const char axis[] = {'x', 'y'};
    for (size_t k = 0; k < 2; k++) {
        double *values = c->all + k * c->capacity;
        qsort(values, c->count, sizeof *values, compare_doubles);
        const size_t cut = (size_t)(TRIM * (double)c->count);
        const double low = values[cut], high = values[c->count - 1 - cut];
        const double margin = 0.06 * (high - low);
        sr_text_append(&c->script, "set %crange [%.4g:%.4g]\n", axis[k], low - margin,
                       high + margin);
    }
}

static void print_components_panel(components *c, const sr_layout *layout, size_t panel) {
    sr_text *script = &c->script;
    sr_layout_panel(script, layout, panel, c->legend[panel + 1].label);
    sr_text_append(script,
                   "set xlabel 'component 1 (%.0f%% of the variance)' offset 0,0.4\n"
                   "set ylabel 'component 2 (%.0f%%)' offset 0.5,0\n",
                   100 * c->axes.share[0], 100 * c->axes.share[1]);
    print_ranges(c);
    sr_text_append(script, "plot '%s.dat' index 0 with points linecolor rgb '%s' ", c->figure->name,
                   c->legend[0].style.colour);
    sr_layout_marker(script, c->legend[0].style, 0.4);
    sr_text_append(script, ", \\\n    '' index %zu with points linecolor rgb '%s' ", panel + 1,
                   c->legend[panel + 1].style.colour);
    sr_layout_marker(script, (sr_line_style){NULL, 0}, 0.4);
    sr_text_append(script, "\n");
}

// The rows of the section that have samples at the largest K, in the comparer's features.
static sr_status gather_components(components *c, const sr_sections *sections,
                                   sr_comparer *comparer) {
    const sr_section *section = c->section;
    c->column = section->columns - 1;
    c->legend[0].style = (sr_line_style){"#9a9a9a", 0};
    snprintf(c->legend[0].label, sizeof c->legend[0].label, "training data");
    for (size_t r = 0; r < section->rows && c->panels < PANELS_MAX; r++) {
        const sr_record *record = sr_section_shown(section, r, c->column);
        sr_cell_rows rows;
        if (!record || sr_comparer_rows(comparer, record, &rows) != SR_OK)
            continue; // no samples, or no data: nothing to show
        if (c->panels == 0) {
            sr_status status = sr_principal_create(rows.n_real, rows.real, rows.dim, 2, &c->axes);
            if (status != SR_OK)
                return status;
            append_points(c, rows.n_real, rows.real, "data", 0);
        }
        sr_layout_row(sections, section, r, &c->legend[c->panels + 1]);
        append_points(c, rows.n, rows.samples, c->legend[c->panels + 1].label, c->panels + 1);
        c->row[c->panels++] = r;
    }
    return SR_OK;
}

static sr_status write_components(components *c, sr_figures *figures) {
    sr_layout layout = sr_layout_make(c->panels, c->panels + 1, c->legend);
    char title[480];
    snprintf(title, sizeof title, "%s: features of data and samples, K = %zu", c->section->title,
             c->section->steps[c->column]);
    sr_script_begin(&c->script, c->figure, layout.width, layout.height, 2);
    sr_layout_begin(&c->script, title);
    for (size_t p = 0; p < c->panels; p++)
        print_components_panel(c, &layout, p);
    sr_layout_end(&c->script, &layout, c->panels + 1, c->legend, SR_LEGEND_POINT);
    sr_script_end(&c->script);
    c->figure->width = layout.width;
    snprintf(c->figure->caption, sizeof c->figure->caption,
             "Features of training data and of samples (up to %d of each) in the two principal "
             "components of the data's features, lowest seed, K = %zu.",
             POINTS, c->section->steps[c->column]);
    snprintf(c->figure->alt, sizeof c->figure->alt,
             "Scatter plots of features of data and samples of %.120s, one panel a noise level.",
             c->section->title);
    sr_status status = sr_figure_write(figures, c->figure, ".dat", &c->data);
    return status ? status : sr_figure_write(figures, c->figure, ".gp", &c->script);
}

static sr_status components_figure(const sr_sections *sections, size_t index, sr_comparer *comparer,
                                   sr_figures *figures) {
    components c = {.section = &sections->list[index], .capacity = (PANELS_MAX + 1) * POINTS};
    sr_status status = SR_ERROR_MEMORY;
    c.all = sr_alloc(c.capacity, 2 * sizeof *c.all);
    if (c.all)
        status = gather_components(&c, sections, comparer);
    if (status == SR_OK && c.panels > 0) {
        c.figure = sr_figures_add(figures, SR_FIGURE_COMPONENTS, c.section, index, "components");
        status = c.figure ? write_components(&c, figures) : SR_ERROR_MEMORY;
    } else if (status == SR_ERROR_ARGUMENT) {
        status = SR_OK; // features without variance: no axes
    }
    sr_principal_clear(&c.axes);
    sr_free(c.all);
    sr_text_clear(&c.data);
    sr_text_clear(&c.script);
    return status;
}

// ---- nearest training images --------------------------------------------------------------------

typedef struct neighbours {
    size_t count; // samples that are shown
    size_t *nearest;
    double *distance, *real_distance;
    sr_memorisation summary;
} neighbours;

static void clear_neighbours(neighbours *found) {
    sr_free(found->nearest);
    sr_free(found->distance);
    sr_free(found->real_distance);
}

static sr_status find_neighbours(const sr_cell_rows *rows, neighbours *out) {
    sr_metric_options options;
    sr_metric_values values;
    *out = (neighbours){.count = rows->n < PAIRS * STRIPS ? rows->n : PAIRS * STRIPS};
    out->nearest = sr_alloc(rows->n, sizeof *out->nearest);
    out->distance = sr_alloc(rows->n, sizeof *out->distance);
    out->real_distance = sr_alloc(rows->n_real, sizeof *out->real_distance);
    if (!out->nearest || !out->distance || !out->real_distance)
        return SR_ERROR_MEMORY;
    sr_metric_rows wanted = {.nearest = out->nearest,
                             .nearest_distance = out->distance,
                             .real_distance = out->real_distance};
    sr_metric_options_default(&options);
    options.which = 1u << SR_COVERAGE; // the cheapest that sweeps over all pairs
    options.no_errors = true;
    options.rows = &wanted;
    sr_status status =
        sr_metrics(rows->n_real, rows->real, rows->n, rows->samples, rows->dim, &options, &values);
    return status ? status
                  : sr_memorisation_of(rows->n_real, out->real_distance, rows->n, out->distance,
                                       &out->summary);
}

// A strip: samples above, their neighbours below.
static bool save_strip(const sr_cell_rows *rows, const neighbours *found, size_t first, size_t zoom,
                       const char *path) {
    const size_t size = rows->channels * rows->height * rows->width;
    const size_t count = found->count - first < PAIRS ? found->count - first : PAIRS;
    float *x = sr_alloc(2 * PAIRS, size * sizeof *x);
    bool saved = false;
    if (x) {
        for (size_t i = 0; i < 2 * PAIRS * size; i++)
            x[i] = 1; // white where there is no pair
        for (size_t i = 0; i < count; i++) {
            memcpy(x + i * size, rows->images + (first + i) * size, size * sizeof *x);
            memcpy(x + (PAIRS + i) * size, rows->real_images + found->nearest[first + i] * size,
                   size * sizeof *x);
        }
        saved = sr_png_save_grid(path, 2 * PAIRS, rows->channels, rows->height, rows->width, x, -1,
                                 1, PAIRS, zoom) == SR_OK;
    }
    sr_free(x);
    return saved;
}

// Strips of pairs with distances below, in figures->folder as NAME_strip1.png ...
static sr_status print_strips(const sr_cell_rows *rows, const neighbours *found,
                              const sr_figures *figures, sr_figure *figure, const char *title,
                              sr_text *script) {
    const size_t strips = (found->count + PAIRS - 1) / PAIRS;
    const size_t zoom = rows->width < SIDE ? (SIDE + rows->width / 2) / rows->width : 1;
    const size_t width = PAIRS * SIDE, height = 2 * SIDE, left = 104, top = 48;
    const sr_canvas canvas = {left + width + 12, top + strips * (height + STRIP_GAP) + 4};
    sr_script_begin(script, figure, canvas.width, canvas.height, 2);
    sr_text_append(script, "unset border\nunset tics\nunset grid\nset autoscale fix\n"
                           "set multiplot\nset label ");
    sr_script_quote(script, title);
    sr_text_append(script, " at screen 0.5, screen 1 offset 0,-1.1 center font large\n");
    for (size_t s = 0; s < strips; s++) {
        const double y = (double)(top + s * (height + STRIP_GAP));
        sr_layout_word(script, canvas, "sample", (double)left - 12, y + SIDE / 2.0, "right");
        sr_layout_word(script, canvas, "nearest", (double)left - 12, y + 1.4 * SIDE, "right");
        sr_layout_word(script, canvas, "training", (double)left - 12, y + 1.6 * SIDE, "right");
        for (size_t i = 0; i < PAIRS && s * PAIRS + i < found->count; i++) {
            char text[32];
            snprintf(text, sizeof text, "%#.3g", found->distance[s * PAIRS + i]);
            sr_layout_word(script, canvas, text, (double)left + ((double)i + 0.5) * SIDE,
                           y + (double)height + 14, "center");
        }
    }
    for (size_t s = 0; s < strips; s++) {
        char path[4600], suffix[32];
        snprintf(suffix, sizeof suffix, "_strip%zu.png", s + 1);
        if (!sr_figure_path(figures, figure, suffix, path, sizeof path) ||
            !save_strip(rows, found, s * PAIRS, zoom, path))
            return SR_ERROR_IO;
        sr_text_append(
            script,
            "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
            "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
            (double)left / (double)canvas.width, (double)(left + width) / (double)canvas.width,
            1 - (double)(top + s * (height + STRIP_GAP)) / (double)canvas.height,
            1 - (double)(top + s * (height + STRIP_GAP) + height) / (double)canvas.height);
        sr_text_append(script, "plot '%s%s' binary filetype=png with rgbimage\n%s", figure->name,
                       suffix, s == 0 ? "unset label\n" : "");
    }
    sr_text_append(script, "unset multiplot\n");
    sr_script_end(script);
    figure->width = canvas.width;
    return SR_OK;
}

static void describe_neighbours(const sr_cell_rows *rows, const neighbours *found, size_t steps,
                                const char *words, sr_figure *figure) {
    const sr_memorisation *m = &found->summary;
    snprintf(figure->caption, sizeof figure->caption,
             "Samples (not chosen) of K = %zu, %.60s, each above its nearest of the first %zu "
             "training images, and the distance in the features. Median over all %zu samples %.3g; "
             "of a training image to its nearest other %.3g. A sample is nearer than a training "
             "image with probability %.2f (copies: near 1); %.1f%% are nearer than 99%% of the "
             "training images are (new data: 1%%).",
             steps, words, rows->n_real, rows->n, m->median_fake, m->median_real, m->closer,
             100 * m->copies);
    snprintf(figure->alt, sizeof figure->alt,
             "Samples of K = %zu, %.100s, beside their nearest training images.", steps, words);
}

// Of the entry with the best leading score.
static sr_status neighbours_figure(const sr_sections *sections, size_t index, sr_comparer *comparer,
                                   sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    const char *leading = sr_section_leading(section);
    size_t row, column;
    sr_cell_rows rows;
    if (!sr_section_best(section, (sr_quantity){false, leading},
                         sr_metric_describe(leading)->direction, &row, &column))
        return SR_OK;
    const sr_record *record = sr_section_shown(section, row, column);
    if (!record || sr_comparer_rows(comparer, record, &rows) != SR_OK || rows.height < 2 ||
        (rows.channels != 1 && rows.channels != 3))
        return SR_OK;
    neighbours found;
    sr_text script = {0}, words = {0};
    char title[480];
    sr_status status = find_neighbours(&rows, &found);
    if (status == SR_ERROR_ARGUMENT) { // too few rows
        clear_neighbours(&found);
        return SR_OK;
    }
    sr_row_words(section, row, "σ", &words);
    snprintf(title, sizeof title, "%s: nearest training images, K = %zu, %.120s", section->title,
             section->steps[column], sr_text_string(&words));
    sr_figure *figure =
        status ? NULL : sr_figures_add(figures, SR_FIGURE_NEIGHBOURS, section, index, "neighbours");
    if (!status && !figure)
        status = SR_ERROR_MEMORY;
    if (!status)
        status = print_strips(&rows, &found, figures, figure, title, &script);
    if (!status) {
        describe_neighbours(&rows, &found, section->steps[column], sr_text_string(&words), figure);
        status = sr_figure_write(figures, figure, ".gp", &script);
    }
    clear_neighbours(&found);
    sr_text_clear(&words);
    sr_text_clear(&script);
    return status;
}

sr_status sr_figures_features(const sr_report_input *input, const sr_sections *sections,
                              sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; input->comparer && i < sections->count && !status; i++) {
        if (sections->list[i].toy)
            continue;
        status = components_figure(sections, i, input->comparer, figures);
        if (!status)
            status = neighbours_figure(sections, i, input->comparer, figures);
    }
    return status;
}
