// Figures of curves: the energy gap over training, one thin line a seed, and the energy along the
// trajectory of the samples, means over seeds. One panel a K, colours by row as in the other
// figures.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURVE_BINS 150 // points of a training curve that are plotted, each the mean of a bin
#define ROWS_MAX 48    // lines in the legend
#define SPAN_MAX 2e6   // of the gap's axis over its unit; a run that overflows leaves the frame
#define LINEAR_SPAN 30 // times the median gap: up to that the gap's axis is linear

// ---- the axis of the gap ------------------------------------------------------------------------

// A diverging gap runs to thousands while the others stay near 1. Where values span too much, the
// axis is asinh(gap / unit): linear within `unit` of 0, logarithmic beyond. Otherwise unit = 0, a
// linear axis.
typedef struct gap_axis {
    double low, high, unit;
    double iterations; // end of the other axis
} gap_axis;

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void choose_gap_scale(gap_axis *axis, double median) {
    double largest = fmax(axis->high, -axis->low);
    if (median > 0 && largest > LINEAR_SPAN * median) {
        axis->unit = pow(10, floor(log10(median) + 0.5));
        axis->low = fmax(2 * axis->low, -SPAN_MAX * axis->unit) - axis->unit;
        axis->high = fmin(2 * axis->high, SPAN_MAX * axis->unit) + axis->unit;
    } else {
        double margin = 0.06 * (axis->high - axis->low) + 1e-6;
        axis->low -= margin;
        axis->high += margin;
    }
}

// False where there is no curve.
static bool gap_range(const sr_section *section, gap_axis *axis) {
    size_t total = 0, count = 0;
    for (size_t i = 0; i < section->count; i++)
        total += section->records[i]->curve_count;
    double *values = total ? sr_alloc(total, sizeof *values) : NULL;
    if (!values)
        return false;
    *axis = (gap_axis){0};
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        for (size_t p = 0; p < record->curve_count; p++) {
            double value = record->curve_gap[p];
            axis->iterations = fmax(axis->iterations, record->curve_iteration[p]);
            if (!isfinite(value))
                continue;
            axis->low = fmin(axis->low, value);
            axis->high = fmax(axis->high, value);
            values[count++] = fabs(value);
        }
    }
    if (count > 0) {
        qsort(values, count, sizeof *values, compare_doubles);
        choose_gap_scale(axis, values[count / 2]);
    }
    sr_free(values);
    return count > 0;
}

// 1, 2 or 5 times a power of ten: at most five tics, whose labels fit below a narrow panel.
static double tic_step(double range) {
    double power = pow(10, floor(log10(fmax(range, 1) / 5)));
    double step = power;
    for (size_t i = 0; range / step > 5; i++)
        step = (i == 0 ? 2 : i == 1 ? 5 : 10) * power;
    return step;
}

static void print_gap_tic(double value, const gap_axis *axis, sr_text *script) {
    if (value >= axis->low && value <= axis->high)
        sr_text_append(script, ", '%g' %g", value, value);
}

static void print_gap_axis(const gap_axis *axis, sr_text *script) {
    sr_text_append(script, "set ylabel 'E(data) − E(samples)' offset 0.5,0\n");
    if (axis->unit > 0) {
        double largest = fmax(axis->high, -axis->low);
        int decades = (int)ceil(log10(largest / axis->unit)), step = decades > 4 ? 2 : 1;
        sr_text_append(script,
                       "set nonlinear y via asinh(y / %g) inverse %g * sinh(y)\nset ytics ('0' 0",
                       axis->unit, axis->unit);
        for (int i = 0; i <= decades; i += step) {
            print_gap_tic(axis->unit * pow(10, i), axis, script);
            print_gap_tic(-axis->unit * pow(10, i), axis, script);
        }
        sr_text_append(script, ")\n");
    }
    sr_text_append(script, "set yrange [%.6g:%.6g]\n", axis->low, axis->high);
}

// ---- the gap ------------------------------------------------------------------------------------

static void print_gap_block(const sr_record *record, size_t block, sr_text *data) {
    char label[512];
    snprintf(label, sizeof label, "K=%zu sigma=%g seed=%llu%s", record->cell.train.dynamics.steps,
             record->cell.train.dynamics.noise, (unsigned long long)record->cell.train.seed,
             record->state == SR_CELL_DIVERGED ? " diverged" : "");
    sr_text_append(data, "%s# block %zu: %s\n# iteration gap\n", block ? "\n\n" : "", block, label);
    size_t count = record->curve_count, bins = count < CURVE_BINS ? count : CURVE_BINS;
    for (size_t b = 0; b < bins; b++) {
        size_t from = b * count / bins, to = (b + 1) * count / bins;
        double iteration = 0, gap = 0;
        for (size_t i = from; i < to; i++) {
            iteration += record->curve_iteration[i] / (double)(to - from);
            gap += record->curve_gap[i] / (double)(to - from);
        }
        sr_text_append(data, "%g %.6g\n", iteration, gap);
    }
    if (bins == 0)
        sr_text_append(data, "NaN NaN\n");
}

static void print_end_cross(const sr_record *record, const gap_axis *axis, const char *colour,
                            sr_text *script) {
    size_t last = record->curve_count - 1;
    while (last > 0 && !isfinite(record->curve_gap[last]))
        last--;
    double y = record->curve_gap[last];
    sr_text_append(
        script,
        "set label '×' at first %g, first %.6g center front font cross textcolor rgb '%s'\n",
        record->curve_iteration[last],
        isfinite(y) ? fmin(fmax(y, axis->low), axis->high) : axis->low, colour);
}

static void print_gap_panel(const sr_section *section, const sr_figure *figure, size_t column,
                            const gap_axis *axis, const sr_legend_entry *legend, sr_text *script) {
    print_gap_axis(axis, script);
    sr_text_append(script,
                   "set xrange [0:%g]\nset xtics %g\nset xlabel 'iteration' offset 0,0.4\n"
                   "set arrow from graph 0, first 0 to graph 1, first 0 nohead "
                   "linecolor rgb '#888888' linewidth 0.8\n",
                   axis->iterations, tic_step(axis->iterations));
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        if (section->column[i] == column && record->state == SR_CELL_DIVERGED &&
            record->curve_count > 0)
            print_end_cross(record, axis, legend[section->row[i] % ROWS_MAX].style.colour, script);
    }
    size_t lines = 0;
    for (size_t i = 0; i < section->count; i++) {
        if (section->column[i] != column)
            continue;
        const sr_legend_entry *entry = &legend[section->row[i] % ROWS_MAX];
        sr_text_append(script, "%s'%s.dat' index %zu using 1:2 with lines ",
                       lines++ ? ", \\\n    " : "plot ", figure->name, i);
        sr_layout_style(script, entry->style, 1, false);
    }
    sr_text_append(script, lines ? "\n" : "plot NaN\n");
}

static size_t fill_legend(const sr_sections *sections, const sr_section *section,
                          sr_legend_entry *legend) {
    size_t count = section->rows < ROWS_MAX ? section->rows : ROWS_MAX;
    for (size_t r = 0; r < count; r++)
        sr_layout_row(sections, section, r, &legend[r]);
    return count;
}

static void panel_title(const sr_section *section, size_t column, char out[48]) {
    snprintf(out, 48, "K = %zu", section->steps[column]);
}

static sr_status gap_figure(const sr_sections *sections, size_t index, sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    gap_axis axis;
    bool diverged = false;
    if (!gap_range(section, &axis))
        return SR_OK; // no curves
    sr_figure *figure =
        sr_figures_add(figures, SR_FIGURE_GAP, section, index, "gap_against_iteration");
    sr_legend_entry *legend = sr_alloc(ROWS_MAX, sizeof *legend);
    sr_text data = {0}, script = {0};
    sr_status status = SR_ERROR_MEMORY;
    if (!figure || !legend)
        goto done;
    size_t entries = fill_legend(sections, section, legend);
    sr_layout layout = sr_layout_make(section->columns, entries, legend);
    char title[480], panel[48];
    snprintf(title, sizeof title, "%s: energy gap over training", section->title);
    sr_script_begin(&script, figure, layout.width, layout.height, 2);
    sr_layout_begin(&script, title);
    for (size_t i = 0; i < section->count; i++) {
        print_gap_block(section->records[i], i, &data);
        diverged |= section->records[i]->state == SR_CELL_DIVERGED;
    }
    for (size_t c = 0; c < section->columns; c++) {
        panel_title(section, c, panel);
        sr_layout_panel(&script, &layout, c, panel);
        print_gap_panel(section, figure, c, &axis, legend, &script);
    }
    sr_layout_end(&script, &layout, entries, legend, SR_LEGEND_LINE);
    sr_script_end(&script);
    figure->width = layout.width;
    snprintf(
        figure->caption, sizeof figure->caption,
        "Energy gap, mean E(data) − mean E(samples), against the training iteration; one line a "
        "seed, averaged over short spans.%s%s",
        diverged ? " A cross: training stopped there, diverged." : "",
        axis.unit > 0 ? " The vertical axis is linear near 0 and logarithmic beyond." : "");
    snprintf(
        figure->alt, sizeof figure->alt,
        "Line plots of the energy gap against the training iteration on %.120s, one panel a K.",
        section->title);
    status = sr_figure_write(figures, figure, ".dat", &data);
    if (!status)
        status = sr_figure_write(figures, figure, ".gp", &script);
done:
    sr_text_clear(&data);
    sr_text_clear(&script);
    sr_free(legend);
    return status;
}

// ---- the trajectory -----------------------------------------------------------------------------

static bool in_entry(const sr_section *section, size_t i, size_t row, size_t column) {
    const sr_record *record = section->records[i];
    return section->row[i] == row && section->column[i] == column &&
           record->state == SR_CELL_DONE && record->trace_count > 0;
}

// Mean over seeds of E(x_k) - E(x_0): an energy is known up to a constant only. False without
// traces.
static bool print_trace_block(const sr_section *section, size_t row, size_t column, size_t block,
                              sr_text *data) {
    size_t length = 0, seeds = 0;
    for (size_t i = 0; i < section->count; i++) {
        if (!in_entry(section, i, row, column))
            continue;
        size_t count = section->records[i]->trace_count;
        length = seeds == 0 || count < length ? count : length;
        seeds++;
    }
    if (seeds == 0)
        return false;
    sr_text_append(data, "%s# block %zu: K=%zu row %zu, %zu seeds\n# step energy\n",
                   block ? "\n\n" : "", block, section->steps[column], row, seeds);
    for (size_t k = 0; k < length; k++) {
        double sum = 0;
        for (size_t i = 0; i < section->count; i++) {
            if (in_entry(section, i, row, column))
                sum += section->records[i]->trace_energy[k] - section->records[i]->trace_energy[0];
        }
        sr_text_append(data, "%zu %.6g\n", k, sum / (double)seeds);
    }
    return true;
}

static void print_trace_panel(const sr_section *section, const sr_figure *figure, size_t column,
                              const sr_legend_entry *legend, size_t *block, sr_text *data,
                              sr_text *script) {
    sr_text_append(script, "set xlabel 'step k' offset 0,0.4\nset xrange [0:*]\n"
                           "set ylabel 'mean E(x_k) − E(x_0)' offset 0.5,0\n");
    size_t lines = 0;
    for (size_t r = 0; r < section->rows; r++) {
        if (!print_trace_block(section, r, column, *block, data))
            continue;
        sr_text_append(script, "%s'%s.dat' index %zu using 1:2 with lines ",
                       lines++ ? ", \\\n    " : "plot ", figure->name, (*block)++);
        sr_layout_style(script, legend[r % ROWS_MAX].style, 1.8, false);
    }
    if (lines == 0) // nothing but the frame, and a word that says why
        sr_text_append(script, "set label 'every cell diverged' at graph 0.5, graph 0.5 center\n"
                               "set xrange [0:1]\nset yrange [-1:0]\nplot NaN");
    sr_text_append(script, "\n");
}

static bool has_traces(const sr_section *section) {
    for (size_t i = 0; i < section->count; i++) {
        if (in_entry(section, i, section->row[i], section->column[i]))
            return true;
    }
    return false;
}

static sr_status trace_figure(const sr_sections *sections, size_t index, sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    if (!has_traces(section))
        return SR_OK;
    sr_figure *figure =
        sr_figures_add(figures, SR_FIGURE_TRACE, section, index, "energy_along_trajectory");
    sr_legend_entry *legend = sr_alloc(ROWS_MAX, sizeof *legend);
    sr_text data = {0}, script = {0};
    sr_status status = SR_ERROR_MEMORY;
    if (!figure || !legend)
        goto done;
    size_t entries = fill_legend(sections, section, legend), block = 0;
    sr_layout layout = sr_layout_make(section->columns, entries, legend);
    char title[480], panel[48];
    snprintf(title, sizeof title, "%s: energy along the trajectory", section->title);
    sr_script_begin(&script, figure, layout.width, layout.height, 2);
    sr_layout_begin(&script, title);
    for (size_t c = 0; c < section->columns; c++) {
        panel_title(section, c, panel);
        sr_layout_panel(&script, &layout, c, panel);
        print_trace_panel(section, figure, c, legend, &block, &data, &script);
    }
    sr_layout_end(&script, &layout, entries, legend, SR_LEGEND_LINE);
    sr_script_end(&script);
    figure->width = layout.width;
    snprintf(figure->caption, sizeof figure->caption,
             "Mean energy of the sampled chains along their K steps, relative to their start; "
             "means over "
             "seeds. Vertical axes differ.");
    snprintf(figure->alt, sizeof figure->alt,
             "Line plots of the energy against the step on %.120s, one panel a K.", section->title);
    status = sr_figure_write(figures, figure, ".dat", &data);
    if (!status)
        status = sr_figure_write(figures, figure, ".gp", &script);
done:
    sr_text_clear(&data);
    sr_text_clear(&script);
    sr_free(legend);
    return status;
}

sr_status sr_figures_curves(const sr_sections *sections, sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < sections->count && !status; i++) {
        status = gap_figure(sections, i, figures);
        if (!status)
            status = trace_figure(sections, i, figures);
    }
    return status;
}
