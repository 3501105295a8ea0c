// Figures of scores and times: against K with one line a row of the tables, and against the noise
// with one line a K. Means over seeds, bars of one standard deviation.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SERIES_MAX 48 // lines in one figure; more could not be told apart

// The settings that make a line across values of sigma, in words; base: without where noise is
// added.
typedef struct noise_series {
    char words[256], base[256];
} noise_series;

typedef struct score_panel {
    sr_quantity quantity;
    char title[160], y_label[160];
    bool logarithmic, from_zero;
    double low, high; // of the means, with their bars above
    bool shared;      // high is the end of the axis
} score_panel;

// Everything the writers of one figure share.
typedef struct score_plot {
    const sr_sections *sections;
    const sr_section *section;
    sr_figure *figure;
    size_t panels;
    score_panel panel[2];
    size_t count; // lines
    sr_legend_entry legend[SERIES_MAX];
    sr_text data, script;
    size_t block;      // number of the next block of the data file
    bool all_diverged; // some entry has no value because every seed diverged
} score_plot;

// ---- ranges -------------------------------------------------------------------------------------

// The ends of an entry's bar: one deviation over seeds, the 95% interval of one seed.
static void bar_of(const sr_stat *stat, double *low, double *high) {
    const bool one = stat->n == 1 && isfinite(stat->low) && isfinite(stat->high);
    *low = one ? stat->low : stat->mean - stat->deviation;
    *high = one ? stat->high : stat->mean + stat->deviation;
}

// A logarithmic axis where values span more than a factor of 20 (and are positive), else from zero.
static void choose_scale(const sr_section *section, score_panel *panel) {
    double low = INFINITY, high = -INFINITY;
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, panel->quantity);
            if (stat.n == 0)
                continue;
            double bar_low, bar_high;
            bar_of(&stat, &bar_low, &bar_high);
            // a logarithmic axis has no room for a bar that reaches 0
            low = fmin(low, bar_low > 0 ? bar_low : stat.mean);
            high = fmax(high, bar_high);
        }
    }
    panel->logarithmic = low > 0 && high / low > 20;
    panel->from_zero = low >= 0 && !panel->logarithmic;
    panel->low = low;
    panel->high = high;
}

// Tics at 1, 2 and 5 times powers of ten: a logarithmic axis here spans little more than two
// decades.
static void print_logarithmic_tics(const score_panel *panel, sr_text *script) {
    static const double steps[] = {1, 2, 5};
    double low = panel->low / 1.3, high = panel->high * 1.3;
    bool sparse = high / low > 1e4, first = true; // powers of ten only
    sr_text_append(script, "set logscale y\nset yrange [%.4g:%.4g]\nset ytics (", low, high);
    for (double power = pow(10, floor(log10(low))); power <= high; power *= 10) {
        for (size_t i = 0; i < (sparse ? 1 : 3); i++) {
            if (steps[i] * power < low || steps[i] * power > high)
                continue;
            sr_text_append(script, "%s%g", first ? "" : ", ", steps[i] * power);
            first = false;
        }
    }
    sr_text_append(script, ")\n");
}

static void print_y_axis(const score_panel *panel, sr_text *script) {
    sr_text_append(script, "set ylabel ");
    sr_script_quote(script, panel->y_label);
    sr_text_append(script, " offset 0.5,0\n");
    if (panel->logarithmic)
        print_logarithmic_tics(panel, script);
    else if (panel->shared)
        sr_text_append(script, "set yrange [0:%.4g]\n", panel->high);
    else if (panel->from_zero)
        sr_text_append(script, "set yrange [0:*]\n");
}

// K on a logarithmic axis, with a tic at each K there is.
static void print_steps_axis(const sr_section *section, sr_text *script) {
    sr_text_append(
        script, "set xlabel 'steps K' offset 0,0.4\nset logscale x\nset xrange [%g:%g]\n",
        (double)section->steps[0] / 1.25, (double)section->steps[section->columns - 1] * 1.25);
    sr_text_append(script, "set xtics (");
    for (size_t c = 0; c < section->columns; c++)
        sr_text_append(script, "%s%zu", c ? ", " : "", section->steps[c]);
    sr_text_append(script, ")\n");
}

// ---- one line -----------------------------------------------------------------------------------

static void print_point(score_plot *plot, const score_panel *panel, double x, const sr_stat *stat) {
    if (stat->cells == 0)
        return;
    if (stat->n > 0) {
        double low, high;
        bar_of(stat, &low, &high);
        if (panel->logarithmic && !(low > 0))
            low = panel->low / 2; // below the frame
        sr_text_append(&plot->data, "%g %.8g %.8g %.8g %zu %zu\n", x, stat->mean, low, high,
                       stat->n, stat->diverged);
    } else {
        sr_text_append(&plot->data, "%g NaN NaN NaN 0 %zu\n", x, stat->diverged); // breaks the line
    }
}

// A cross above the frame, out of the way of the data, where nothing is left to plot.
static void print_cross(score_plot *plot, double x, size_t line, const char *colour) {
    plot->all_diverged = true;
    sr_text_append(
        &plot->script,
        "set label '×' at first %g, graph %.3f center front font cross textcolor rgb '%s'\n", x,
        1.03 + 0.035 * (double)(line % 2), colour);
}

static void begin_block(score_plot *plot, const char *panel_title, size_t line) {
    sr_text_append(&plot->data, "%s# block %zu: %s; %s\n# x mean low high seeds diverged\n",
                   plot->block ? "\n\n" : "", plot->block, panel_title, plot->legend[line].label);
    plot->block++;
}

// `x_shift`: the x that is plotted, so that bars of neighbouring lines do not hide each other.
static void print_clause(score_plot *plot, size_t block, size_t line, const char *x_shift) {
    sr_text_append(&plot->script, "%s'%s.dat' index %zu using (%s):2:3:4 with yerrorlines ",
                   line ? ", \\\n    " : "plot ", plot->figure->name, block, x_shift);
    sr_layout_style(&plot->script, plot->legend[line].style, 1.8, true);
}

// ---- against K ----------------------------------------------------------------------------------

// Colour by sigma; rows of the same sigma differ in dash and marker. Where there is but one sigma,
// colour by row.
static sr_line_style row_style(const sr_sections *sections, const sr_section *section, size_t row) {
    double sigma = section->row_cells[row]->cell.train.dynamics.noise;
    if (!section->varies[SR_SETTING_SIGMA])
        return (sr_line_style){sr_script_colour(row), row / sr_script_colours};
    size_t variant = 0;
    for (size_t r = 0; r < row; r++)
        variant += section->row_cells[r]->cell.train.dynamics.noise == sigma;
    return (sr_line_style){sr_script_colour(sr_sections_sigma_index(sections, sigma)), variant};
}

void sr_layout_row(const sr_sections *sections, const sr_section *section, size_t row,
                   sr_legend_entry *entry) {
    sr_text words = {0};
    sr_row_words(section, row, "σ", &words);
    snprintf(entry->label, sizeof entry->label, "%s", sr_text_string(&words));
    sr_text_clear(&words);
    entry->style = row_style(sections, section, row);
}

static void print_steps_panel(score_plot *plot, const score_panel *panel) {
    const sr_section *section = plot->section;
    size_t first = plot->block;
    for (size_t line = 0; line < plot->count; line++) {
        begin_block(plot, panel->title, line);
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, line, c, panel->quantity);
            print_point(plot, panel, (double)section->steps[c], &stat);
            if (stat.n == 0 && stat.diverged > 0 && !panel->quantity.timing)
                print_cross(plot, (double)section->steps[c], line, plot->legend[line].style.colour);
        }
    }
    for (size_t line = 0; line < plot->count; line++) {
        char shift[48];
        snprintf(shift, sizeof shift, "$1 * %.4f",
                 1 + fmin(0.012, 0.12 / (double)plot->count) *
                         ((double)line - (double)(plot->count - 1) / 2));
        print_clause(plot, first + line, line, shift);
    }
    sr_text_append(&plot->script, "\n");
}

// ---- against the noise --------------------------------------------------------------------------

static size_t section_sigmas(const sr_section *section, double *sigma) {
    size_t count = 0;
    for (size_t r = 0; r < section->rows; r++) { // rows are in the order of sigma
        double value = section->row_cells[r]->cell.train.dynamics.noise;
        if (count == 0 || sigma[count - 1] != value)
            sigma[count++] = value;
    }
    return count;
}

static void row_words(const sr_section *section, size_t row, sr_words which, char out[256]) {
    sr_text words = {0};
    sr_setting_words(section, &section->row_cells[row]->cell, which, &words);
    snprintf(out, 256, "%s", sr_text_string(&words));
    sr_text_clear(&words);
}

// A noise-free row stands at the start of every line that differs from it only in where noise is
// added.
static bool row_in_series(const sr_section *section, size_t row, const noise_series *series) {
    char words[256], base[256];
    row_words(section, row, SR_WORDS_ACROSS_NOISE, words);
    row_words(section, row, SR_WORDS_WITHOUT_NOISE_LAST, base);
    if (section->row_cells[row]->cell.train.dynamics.noise == 0)
        return strcmp(series->base, base) == 0;
    return strcmp(series->words, words) == 0;
}

// Distinct settings besides K and what follows from sigma: rows with noise first, since they say
// where it is added.
static size_t collect_series(const sr_section *section, noise_series *list) {
    size_t count = 0;
    for (size_t i = 0; i < 2 * section->rows; i++) {
        size_t r = i % section->rows, at = 0;
        bool noisy = section->row_cells[r]->cell.train.dynamics.noise > 0;
        if (noisy != (i < section->rows))
            continue;
        while (at < count && !row_in_series(section, r, &list[at]))
            at++;
        if (at < count || count == SERIES_MAX)
            continue;
        row_words(section, r, SR_WORDS_ACROSS_NOISE, list[count].words);
        row_words(section, r, SR_WORDS_WITHOUT_NOISE_LAST, list[count++].base);
    }
    return count;
}

static void print_noise_line(score_plot *plot, const score_panel *panel, const noise_series *series,
                             size_t column, const double *sigma, size_t sigmas, size_t line) {
    const sr_section *section = plot->section;
    begin_block(plot, panel->title, line);
    for (size_t r = 0; r < section->rows; r++) {
        if (!row_in_series(section, r, series))
            continue;
        size_t at = 0;
        while (at + 1 < sigmas && sigma[at] != section->row_cells[r]->cell.train.dynamics.noise)
            at++;
        sr_stat stat = sr_section_stat(section, r, column, panel->quantity);
        print_point(plot, panel, (double)at, &stat);
        if (stat.n == 0 && stat.diverged > 0)
            print_cross(plot, (double)at, line, plot->legend[line].style.colour);
    }
}

static void print_noise_axis(const double *sigma, size_t sigmas, sr_text *script) {
    sr_text_append(script,
                   "set xlabel 'noise scale σ (evenly spaced, not to scale)' offset 0,0.4\n"
                   "set xrange [-0.3:%.1f]\nset xtics (",
                   (double)sigmas - 0.7);
    for (size_t i = 0; i < sigmas; i++) {
        char text[32];
        sr_number_text(sigma[i], text, sizeof text);
        sr_text_append(script, "%s'%s' %zu", i ? ", " : "", text, i);
    }
    sr_text_append(script, ")\n");
}

static sr_status print_noise_figure(score_plot *plot, const sr_layout *layout,
                                    const noise_series *list, size_t list_count,
                                    const double *sigma, size_t sigmas) {
    size_t columns = plot->section->columns;
    for (size_t p = 0; p < plot->panels; p++) {
        const score_panel *panel = &plot->panel[p];
        sr_layout_panel(&plot->script, layout, p, plot->panels > 1 ? panel->title : "");
        print_y_axis(panel, &plot->script);
        print_noise_axis(sigma, sigmas, &plot->script);
        size_t first = plot->block;
        for (size_t line = 0; line < plot->count; line++)
            print_noise_line(plot, panel, &list[line / columns], line % columns, sigma, sigmas,
                             line);
        for (size_t line = 0; line < plot->count; line++) {
            char shift[48];
            snprintf(shift, sizeof shift, "$1 + %.4f",
                     fmin(0.03, 0.3 / (double)plot->count) *
                         ((double)line - (double)(plot->count - 1) / 2));
            print_clause(plot, first + line, line, shift);
        }
        sr_text_append(&plot->script, "\n");
    }
    return list_count ? SR_OK : SR_ERROR_ARGUMENT;
}

// ---- whole figures ------------------------------------------------------------------------------

static void score_panels(const sr_section *section, score_plot *plot) {
    const char *leading = sr_section_leading(section);
    const char *names[2] = {leading, "kl_gibbs"};
    bool both =
        strcmp(leading, "kl") == 0 && sr_section_has(section, (sr_quantity){false, "kl_gibbs"});
    plot->panels = both ? 2 : 1;
    for (size_t p = 0; p < plot->panels; p++) {
        const sr_metric_words *words = sr_metric_describe(names[p]);
        score_panel *panel = &plot->panel[p];
        panel->quantity = (sr_quantity){false, names[p]};
        snprintf(panel->title, sizeof panel->title, "%s", words->title);
        snprintf(panel->y_label, sizeof panel->y_label, "%s%s", both ? "nats" : words->title,
                 words->direction < 0 ? " (lower is better)" : "");
        choose_scale(section, panel);
    }
    if (both) { // one scale: the two divergences are there to be compared
        double largest = fmax(plot->panel[0].high, plot->panel[1].high);
        for (size_t p = 0; p < 2; p++) {
            plot->panel[p].high = 1.06 * largest;
            plot->panel[p].shared = plot->panel[p].from_zero = true;
            plot->panel[p].logarithmic = false;
        }
    }
}

static void time_panels(const sr_section *section, score_plot *plot) {
    static const char *const names[] = {"iteration_ms", "step_ms"};
    static const char *const titles[] = {"training iteration", "dynamics step of a batch"};
    for (size_t i = 0; i < 2; i++) {
        if (!sr_section_has(section, (sr_quantity){true, names[i]}))
            continue;
        score_panel *panel = &plot->panel[plot->panels++];
        panel->quantity = (sr_quantity){true, names[i]};
        snprintf(panel->title, sizeof panel->title, "%s", titles[i]);
        snprintf(panel->y_label, sizeof panel->y_label, "time, ms");
        choose_scale(section, panel);
        panel->logarithmic = i == 0 && section->columns > 2 && panel->low > 0;
        panel->from_zero = !panel->logarithmic;
    }
}

static bool bars(const sr_section *section, sr_quantity quantity) {
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            if (sr_section_stat(section, r, c, quantity).n > 1)
                return true;
        }
    }
    return false;
}

static bool one_interval(const sr_section *section, sr_quantity quantity) {
    for (size_t i = 0; i < section->count; i++) {
        const sr_value *value = sr_record_value(section->records[i], quantity);
        if (value && isfinite(value->low))
            return true;
    }
    return false;
}

static void describe(score_plot *plot, const char *what, const char *against) {
    sr_figure *figure = plot->figure;
    bool many = bars(plot->section, plot->panel[0].quantity);
    snprintf(figure->caption, sizeof figure->caption, "%s against %s.%s%s%s", what, against,
             many ? " Means over seeds; bars are one standard deviation."
             : one_interval(plot->section, plot->panel[0].quantity)
                 ? " One seed; bars are 95% intervals over new data and new samples."
                 : " One seed.",
             plot->panel[0].logarithmic ? " Logarithmic axes." : "",
             plot->all_diverged ? " A cross above the frame: every seed diverged." : "");
    snprintf(figure->alt, sizeof figure->alt, "Line plot of %s against %s on %.120s.", what,
             against, plot->section->title);
}

static sr_status finish(score_plot *plot, sr_figures *figures, const sr_layout *layout) {
    sr_layout_end(&plot->script, layout, plot->count, plot->legend, SR_LEGEND_LINE_POINT);
    sr_script_end(&plot->script);
    plot->figure->width = layout->width;
    sr_status status = sr_figure_write(figures, plot->figure, ".dat", &plot->data);
    return status ? status : sr_figure_write(figures, plot->figure, ".gp", &plot->script);
}

static sr_status steps_figure(const sr_sections *sections, size_t index, bool timing,
                              sr_figures *figures) {
    score_plot plot = {.sections = sections, .section = &sections->list[index]};
    const sr_section *section = plot.section;
    if (timing)
        time_panels(section, &plot);
    else
        score_panels(section, &plot);
    if (section->columns < 2 || plot.panels == 0 ||
        !sr_section_has(section, plot.panel[0].quantity))
        return SR_OK; // nothing to see along K
    plot.figure = sr_figures_add(figures, timing ? SR_FIGURE_TIME : SR_FIGURE_SCORE_STEPS, section,
                                 index, timing ? "time_against_steps" : "score_against_steps");
    if (!plot.figure)
        return SR_ERROR_MEMORY;
    for (size_t r = 0; r < section->rows && r < SERIES_MAX; r++)
        sr_layout_row(sections, section, r, &plot.legend[plot.count++]);
    sr_layout layout = sr_layout_make(plot.panels, plot.count, plot.legend);
    char title[480];
    const char *what = timing ? "Time" : plot.panels > 1 ? "KL divergence" : plot.panel[0].title;
    snprintf(title, sizeof title, "%s: %s against K", section->title, what);
    sr_script_begin(&plot.script, plot.figure, layout.width, layout.height, 2);
    sr_layout_begin(&plot.script, title);
    for (size_t p = 0; p < plot.panels; p++) {
        sr_layout_panel(&plot.script, &layout, p, plot.panels > 1 ? plot.panel[p].title : "");
        print_y_axis(&plot.panel[p], &plot.script);
        print_steps_axis(section, &plot.script);
        print_steps_panel(&plot, &plot.panel[p]);
    }
    sr_status status = finish(&plot, figures, &layout);
    describe(&plot, what, "the number of steps K");
    sr_text_clear(&plot.data);
    sr_text_clear(&plot.script);
    return status;
}

static void noise_legend(score_plot *plot, const noise_series *list, size_t list_count) {
    size_t columns = plot->section->columns;
    for (size_t i = 0; i < list_count * columns && plot->count < SERIES_MAX; i++) {
        sr_legend_entry *entry = &plot->legend[plot->count++];
        const char *words = list[i / columns].words;
        snprintf(entry->label, sizeof entry->label, "K = %zu%s%.200s",
                 plot->section->steps[i % columns], words[0] ? ", " : "", words);
        entry->style = (sr_line_style){sr_script_ordered_colour(i % columns, columns), i / columns};
    }
}

static sr_status noise_figure(const sr_sections *sections, size_t index, sr_figures *figures) {
    score_plot plot = {.sections = sections, .section = &sections->list[index]};
    const sr_section *section = plot.section;
    sr_status status = SR_OK;
    noise_series *list = sr_alloc(SERIES_MAX, sizeof *list);
    double *sigma = sr_alloc(section->rows, sizeof *sigma);
    if (!list || !sigma) {
        status = SR_ERROR_MEMORY;
        goto done;
    }
    score_panels(section, &plot);
    size_t sigmas = section_sigmas(section, sigma), list_count = collect_series(section, list);
    if (sigmas < 2 || !sr_section_has(section, plot.panel[0].quantity))
        goto done; // nothing to see along the noise
    plot.figure =
        sr_figures_add(figures, SR_FIGURE_SCORE_NOISE, section, index, "score_against_noise");
    if (!plot.figure) {
        status = SR_ERROR_MEMORY;
        goto done;
    }
    noise_legend(&plot, list, list_count);
    sr_layout layout = sr_layout_make(plot.panels, plot.count, plot.legend);
    char title[480];
    const char *what = plot.panels > 1 ? "KL divergence" : plot.panel[0].title;
    snprintf(title, sizeof title, "%s: %s against the noise", section->title, what);
    sr_script_begin(&plot.script, plot.figure, layout.width, layout.height, 2);
    sr_layout_begin(&plot.script, title);
    status = print_noise_figure(&plot, &layout, list, list_count, sigma, sigmas);
    if (!status)
        status = finish(&plot, figures, &layout);
    describe(&plot, what, "the noise scale");
done:
    sr_text_clear(&plot.data);
    sr_text_clear(&plot.script);
    sr_free(sigma);
    sr_free(list);
    return status;
}

sr_status sr_figures_lines(const sr_sections *sections, sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < sections->count && !status; i++) {
        status = steps_figure(sections, i, false, figures);
        if (!status)
            status = noise_figure(sections, i, figures);
        if (!status)
            status = steps_figure(sections, i, true, figures);
    }
    return status;
}
