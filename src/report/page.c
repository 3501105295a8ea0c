// report.html: one file without outer references - style inline, pictures as data URIs. Tables come
// from tables.c, sentences from findings.c, pictures from the figures folder.
#include "report/page_internal.h"

#include <stdio.h>
#include <string.h>

#define PICTURE_MAX (4u << 20)   // bytes of one picture
#define PICTURES_MAX (24u << 20) // bytes of all; what is left out is named
#define FILE_MAX (1u << 20)      // bytes of the experiment file that are shown

typedef struct page_writer {
    const sr_report_input *input;
    const sr_sections *sections;
    const sr_figures *figures;
    size_t embedded; // bytes of pictures so far
    sr_text *out;
} page_writer;

void sr_page_text(sr_text *out, const char *text) {
    sr_escape(SR_MARKUP_HTML, text, out);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- pictures -----------------------------------------------------------------------------------

// False where the picture does not exist or would make the page too large.
static bool append_image(page_writer *page, const sr_figure *figure) {
    char path[4352];
    void *bytes = NULL;
    size_t count = 0;
    if (!sr_figure_path(page->figures, figure, ".png", path, sizeof path) ||
        !sr_file_exists(path) || sr_file_read(path, PICTURE_MAX, &bytes, &count))
        return false;
    bool fits = page->embedded + count <= PICTURES_MAX;
    if (fits) {
        page->embedded += count;
        sr_text_append(page->out, "<img width=\"%zu\" loading=\"lazy\" alt=\"", figure->width);
        sr_page_text(page->out, figure->alt);
        sr_text_append(page->out, "\" src=\"data:image/png;base64,");
        sr_base64(bytes, count, page->out);
        sr_text_append(page->out, "\">");
    }
    sr_free(bytes);
    return fits;
}

static void append_plot(page_writer *page, const sr_figure *figure) {
    sr_text *out = page->out;
    sr_text_append(out, "<figure class=\"plot\">\n");
    if (!append_image(page, figure))
        sr_text_append(
            out, "<p class=\"note\">Not shown here; its script is <code>figures/%s.gp</code>.</p>",
            figure->name);
    sr_text_append(out, "\n<figcaption>");
    sr_page_text(out, figure->caption);
    sr_text_append(out, "</figcaption>\n</figure>\n");
}

static const sr_figure *find_figure(const page_writer *page, sr_figure_kind kind, size_t section) {
    for (size_t i = 0; i < page->figures->count; i++) {
        const sr_figure *figure = &page->figures->list[i];
        if (figure->kind == kind && figure->section == section)
            return figure;
    }
    return NULL;
}

static const sr_figure *find_cell(const page_writer *page, sr_figure_kind kind, size_t section,
                                  size_t row, size_t column) {
    for (size_t i = 0; i < page->figures->count; i++) {
        const sr_figure *figure = &page->figures->list[i];
        if (figure->kind == kind && figure->section == section && figure->row == row &&
            figure->column == column)
            return figure;
    }
    return NULL;
}

// ---- head ---------------------------------------------------------------------------------------

static void append_fact(sr_text *out, const char *value, const char *what) {
    sr_text_append(out, "<li><b>");
    sr_page_text(out, value);
    sr_text_append(out, "</b><span>");
    sr_page_text(out, what);
    sr_text_append(out, "</span></li>\n");
}

// "3": distinct values of something over all records, by comparing each with those before it.
static size_t distinct_seeds(const sr_report_input *input) {
    size_t count = 0;
    for (size_t i = 0; i < input->count; i++) {
        size_t before = 0;
        while (before < i &&
               input->records[before].cell.train.seed != input->records[i].cell.train.seed)
            before++;
        count += before == i;
    }
    return count;
}

static void append_facts(page_writer *page) {
    const sr_report_input *input = page->input;
    sr_text *out = page->out;
    size_t done = 0, diverged = 0;
    char text[96];
    for (size_t i = 0; i < input->count; i++) {
        done += input->records[i].state == SR_CELL_DONE;
        diverged += input->records[i].state == SR_CELL_DIVERGED;
    }
    sr_text_append(out, "<ul class=\"facts\">\n");
    snprintf(text, sizeof text, "%zu of %zu", done + diverged, input->expected);
    append_fact(out, text, "cells run");
    snprintf(text, sizeof text, "%zu", diverged);
    append_fact(out, text, "of them diverged");
    snprintf(text, sizeof text, "%zu", page->sections->count);
    append_fact(out, text, page->sections->count == 1 ? "data set" : "data sets");
    snprintf(text, sizeof text, "%zu", page->sections->sigmas);
    append_fact(out, text, page->sections->sigmas == 1 ? "noise level" : "noise levels");
    snprintf(text, sizeof text, "%zu", distinct_seeds(input));
    append_fact(out, text, distinct_seeds(input) == 1 ? "seed" : "seeds");
    sr_text_append(out, "</ul>\n");
}

static void append_head(page_writer *page) {
    const sr_report_input *input = page->input;
    sr_text *out = page->out;
    const char *title = input->title[0] ? input->title : input->name;
    sr_text_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<title>");
    sr_page_text(out, title);
    sr_text_append(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>",
                   sr_page_style);
    sr_page_text(out, title);
    sr_text_append(out,
                   "</h1>\n<p class=\"soft\">Energy-based models trained with short-run dynamics: "
                   "quality and time of every setting. Experiment <b>");
    sr_page_text(out, input->name);
    sr_text_append(out, "</b>, shortrun " SR_VERSION ".</p>\n");
    append_facts(page);
    bool densities = false;
    for (size_t i = 0; i < page->sections->count; i++)
        densities = densities || sr_section_has_densities(&page->sections->list[i]);
    sr_text_append(out,
                   "<nav><a href=\"#measured\">Measured</a><a href=\"#quality\">Quality</a>%s"
                   "<a href=\"#time\">Time</a>",
                   densities ? "<a href=\"#densities\">Densities</a>" : "");
    for (size_t i = 0; i < page->sections->count; i++) {
        sr_text_append(out, "<a href=\"#set-%s\">", page->sections->list[i].slug);
        sr_page_text(out, page->sections->list[i].title);
        sr_text_append(out, "</a>");
    }
    sr_text_append(out, "<a href=\"#settings\">Settings</a><a href=\"#definitions\">Definitions</a>"
                        "<a href=\"#again\">Run it again</a></nav>\n</header>\n<main>\n");
}

// ---- tables -------------------------------------------------------------------------------------

static sr_status append_table(page_writer *page, sr_status status, sr_table *table) {
    if (!status)
        sr_table_print(table, SR_MARKUP_HTML, page->out);
    sr_table_clear(table);
    return status;
}

// Beside the divergence of the samples stands that of exp(-E)/Z: the two belong together.
static bool shows_gibbs(const sr_section *section, const char *leading) {
    return strcmp(leading, "kl") == 0 && sr_section_has(section, (sr_quantity){false, "kl_gibbs"});
}

static sr_status append_quality(page_writer *page) {
    sr_text *out = page->out;
    sr_status status = SR_OK;
    sr_text_append(out,
                   "<section id=\"quality\">\n<h2>Table 1. Quality</h2>\n"
                   "<p class=\"soft\">Dynamics: <i>x</i> ← <i>x</i> − <i>s</i> ∇<i>E</i>(<i>x</i>) "
                   "+ <i>σ</i> ε, <i>K</i> steps; <i>T</i> = <i>σ</i>² / (2 <i>s</i>) is the "
                   "temperature at which this is Langevin dynamics.</p>\n");
    for (size_t i = 0; i < page->sections->count && !status; i++) {
        const sr_section *section = &page->sections->list[i];
        sr_table table;
        const char *leading = sr_section_leading(section);
        status = append_table(page, sr_quality_table(section, leading, &table), &table);
        bool both = shows_gibbs(section, leading);
        if (both && !status)
            status = append_table(page, sr_quality_table(section, "kl_gibbs", &table), &table);
        sr_text_append(out, "<details><summary>Other metrics of ");
        sr_page_text(out, section->title);
        sr_text_append(out, "</summary>\n");
        for (const sr_metric_words *words = sr_metric_list; words->name && !status; words++) {
            bool shown = strcmp(words->name, leading) != 0 &&
                         strcmp(words->name, "mode_count") != 0 &&
                         strcmp(words->name, "frechet_uniform") != 0 &&
                         sr_section_has(section, (sr_quantity){false, words->name});
            if (shown)
                status = append_table(page, sr_quality_table(section, words->name, &table), &table);
        }
        sr_text_append(out, "</details>\n");
    }
    sr_text_append(out, "%s</section>\n",
                   page->sections->count ? "" : "<p>No finished cells.</p>\n");
    return status;
}

static sr_status append_densities(page_writer *page) {
    sr_status status = SR_OK;
    bool open = false;
    for (size_t i = 0; i < page->sections->count && !status; i++) {
        const sr_section *section = &page->sections->list[i];
        if (!sr_section_has_densities(section))
            continue;
        sr_text_append(page->out, "%s",
                       open ? "" : "<section id=\"densities\">\n<h2>Densities</h2>\n");
        open = true;
        for (int part = 0; part < SR_DENSITY_PARTS && !status; part++) {
            sr_table table;
            status = append_table(
                page, sr_density_table(page->sections, i, (sr_density_part)part, &table), &table);
        }
    }
    sr_text_append(page->out, "%s", open ? "</section>\n" : "");
    return status;
}

static sr_status append_time(page_writer *page) {
    sr_text *out = page->out;
    sr_status status = SR_OK;
    sr_text_append(out, "<section id=\"time\">\n<h2>Table 2. Time</h2>\n");
    for (size_t i = 0; i < page->sections->count && !status; i++) {
        const sr_section *section = &page->sections->list[i];
        sr_table table;
        status = append_table(page, sr_time_table(section, &table), &table);
        sr_text_append(out, "<details><summary>Where the time of ");
        sr_page_text(out, section->title);
        sr_text_append(out, " goes</summary>\n");
        if (!status)
            status = append_table(page, sr_phase_table(section, &table), &table);
        sr_text_append(out, "</details>\n");
    }
    sr_text_append(out, "%s</section>\n",
                   page->sections->count ? "" : "<p>No finished cells.</p>\n");
    return status;
}

// ---- one data set -------------------------------------------------------------------------------

static void append_grid_cell(page_writer *page, size_t index, size_t row, size_t column) {
    const sr_section *section = &page->sections->list[index];
    const sr_record *record = sr_section_record(section, row, column);
    const sr_figure *grid = find_cell(page, SR_FIGURE_SAMPLES, index, row, column);
    sr_text *out = page->out;
    sr_text_append(out, "<td>");
    if (!grid || !append_image(page, grid))
        sr_text_append(out, "<div class=\"empty\">%s</div>",
                       record && record->state == SR_CELL_DIVERGED ? "diverged"
                       : record                                    ? "no samples"
                                                                   : "not run");
    sr_text_append(out, "<span class=\"note\">");
    sr_page_text(out, grid ? grid->caption : "");
    sr_text_append(out, "</span></td>");
}

static void append_grids(page_writer *page, size_t index) {
    const sr_section *section = &page->sections->list[index];
    const sr_figure *data = find_figure(page, SR_FIGURE_DATA, index);
    sr_text *out = page->out;
    sr_text_append(
        out, "<h3>Samples</h3>\n<p class=\"soft\">Not chosen: the first images of one seed of "
             "each setting. Rows by noise, columns by <i>K</i>.</p>\n"
             "<div class=\"scroll\"><table class=\"grids\">\n");
    if (data) {
        sr_text_append(out, "<tr><th class=\"row\" scope=\"row\">training data</th><td>");
        append_image(page, data);
        sr_text_append(out, "</td></tr>\n");
    }
    sr_text_append(out, "<tr><th></th>");
    for (size_t c = 0; c < section->columns; c++)
        sr_text_append(out, "<th scope=\"col\"><i>K</i> = %zu</th>", section->steps[c]);
    sr_text_append(out, "</tr>\n");
    for (size_t r = 0; r < section->rows; r++) {
        sr_text words = {0};
        sr_row_words(section, r, "σ", &words);
        sr_text_append(out, "<tr><th class=\"row\" scope=\"row\">");
        sr_page_text(out, sr_text_string(&words));
        sr_text_append(out, "</th>");
        for (size_t c = 0; c < section->columns; c++)
            append_grid_cell(page, index, r, c);
        sr_text_append(out, "</tr>\n");
        sr_text_clear(&words);
    }
    sr_text_append(out, "</table></div>\n");
}

static void append_panels(page_writer *page, size_t index) {
    sr_text *out = page->out;
    const sr_section *section = &page->sections->list[index];
    const sr_figure *overview = find_figure(page, SR_FIGURE_OVERVIEW, index);
    if (!overview)
        return;
    sr_text_append(out, "<h3>Data, samples and exp(−<i>E</i>)/<i>Z</i></h3>\n");
    append_plot(page, overview);
    // the leading metric's best entry is shown at once, the others on demand
    size_t row = 0, column = 0;
    sr_quantity quantity = {false, sr_section_leading(section)};
    const sr_figure *best = NULL;
    if (sr_section_best(section, quantity, sr_metric_describe(quantity.name)->direction, &row,
                        &column))
        best = find_cell(page, SR_FIGURE_PANELS, index, row, column);
    if (best) {
        sr_text_append(out, "<p class=\"soft\">The entry with the best ");
        sr_page_text(out, sr_metric_describe(quantity.name)->title);
        sr_text_append(out, ":</p>\n");
        append_plot(page, best);
    }
    bool open = false;
    for (size_t i = 0; i < page->figures->count; i++) {
        const sr_figure *figure = &page->figures->list[i];
        if (figure->kind != SR_FIGURE_PANELS || figure->section != index || figure == best)
            continue;
        if (!open)
            sr_text_append(out, "<details><summary>The other cells</summary>\n");
        open = true;
        append_plot(page, figure);
    }
    sr_text_append(out, open ? "</details>\n" : "");
}

// The best entry's densities and flow are shown at once, the others on demand.
static void append_density_pictures(page_writer *page, size_t index) {
    const sr_section *section = &page->sections->list[index];
    const sr_quantity quantity = {false, sr_section_leading(section)};
    size_t row = 0, column = 0;
    bool open = false;
    sr_text *out = page->out;
    if (!find_figure(page, SR_FIGURE_DENSITIES, index))
        return;
    sr_text_append(out, "<h3>Densities and flow</h3>\n");
    sr_section_best(section, quantity, sr_metric_describe(quantity.name)->direction, &row, &column);
    const sr_figure *best = find_cell(page, SR_FIGURE_DENSITIES, index, row, column);
    const sr_figure *flow = find_cell(page, SR_FIGURE_FLOW, index, row, column);
    if (best)
        append_plot(page, best);
    if (flow)
        append_plot(page, flow);
    for (size_t i = 0; i < page->figures->count; i++) {
        const sr_figure *figure = &page->figures->list[i];
        const bool kind = figure->kind == SR_FIGURE_DENSITIES || figure->kind == SR_FIGURE_FLOW;
        if (!kind || figure->section != index || figure == best || figure == flow)
            continue;
        sr_text_append(out, "%s", open ? "" : "<details><summary>The other cells</summary>\n");
        open = true;
        append_plot(page, figure);
    }
    sr_text_append(out, open ? "</details>\n" : "");
}

static void append_section(page_writer *page, size_t index) {
    static const sr_figure_kind plots[] = {
        SR_FIGURE_SCORE_STEPS, SR_FIGURE_SCORE_NOISE, SR_FIGURE_COMPONENTS, SR_FIGURE_NEIGHBOURS,
        SR_FIGURE_PATH,        SR_FIGURE_EIGENVALUES, SR_FIGURE_BEYOND,     SR_FIGURE_TRACE,
        SR_FIGURE_GAP,         SR_FIGURE_TIME};
    const sr_section *section = &page->sections->list[index];
    sr_text *out = page->out;
    sr_text_append(out, "<section id=\"set-%s\">\n<h2>", section->slug);
    sr_page_text(out, section->title);
    sr_text_append(out, "</h2>\n");
    if (section->toy) {
        append_panels(page, index);
        append_density_pictures(page, index);
    } else if (find_figure(page, SR_FIGURE_SAMPLES, index) ||
               find_figure(page, SR_FIGURE_DATA, index))
        append_grids(page, index);
    sr_text_append(out, "<h3>Plots</h3>\n");
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        const sr_figure *figure = find_figure(page, plots[i], index);
        if (figure)
            append_plot(page, figure);
    }
    sr_text_append(out, "</section>\n");
}

// ---- what diverged, what was run ----------------------------------------------------------------

static void append_diverged(page_writer *page) {
    const sr_report_input *input = page->input;
    sr_text *out = page->out;
    bool open = false;
    for (size_t i = 0; i < input->count; i++) {
        const sr_record *record = &input->records[i];
        if (record->state != SR_CELL_DIVERGED)
            continue;
        if (!open)
            sr_text_append(out, "<section id=\"diverged\">\n<h2>Cells that diverged</h2>\n<dl>\n");
        open = true;
        char label[512];
        sr_cell_label(&record->cell, label, sizeof label);
        sr_text_append(out, "<dt>");
        sr_page_text(out, label);
        sr_text_append(out, "</dt><dd>");
        sr_page_text(out, record->message);
        sr_text_append(out, "</dd>\n");
    }
    sr_text_append(out, open ? "</dl>\n</section>\n" : "");
}

static void append_shared_settings(const sr_section *section, sr_text *out) {
    const sr_cell *cell =
        &section->row_cells[section->rows - 1]->cell; // one with noise, if any has
    sr_text_append(out, "<h3>");
    sr_page_text(out, section->title);
    sr_text_append(out, "</h3>\n<p class=\"note\">The same in all of its cells: ");
    for (size_t s = 0, shown = 0; s < SR_SETTING_COUNT; s++) {
        char text[SR_SETTING_TEXT];
        if (section->varies[s] || s == SR_SETTING_TEMPERATURE)
            continue;
        sr_setting_shown(cell, (sr_setting)s, text);
        if (strcmp(text, "-") == 0)
            continue; // has no meaning here
        sr_text_append(out, "%s%s ", shown++ ? ", " : "", sr_setting_heading((sr_setting)s));
        sr_page_text(out, text);
    }
    sr_text_append(out, ".</p>\n");
}

// Distinct texts among the records: machines, feature networks.
static void append_distinct(const sr_report_input *input, size_t offset, const char *heading,
                            sr_text *out) {
    bool open = false;
    for (size_t i = 0; i < input->count; i++) {
        const char *text = (const char *)&input->records[i] + offset;
        size_t before = 0;
        while (before < i && strcmp((const char *)&input->records[before] + offset, text) != 0)
            before++;
        if (before < i || !text[0])
            continue;
        sr_text_append(out, open ? "<br>" : "<p><b>%s:</b> ", heading);
        sr_page_text(out, text);
        open = true;
    }
    sr_text_append(out, open ? "</p>\n" : "");
}

static void append_settings(page_writer *page) {
    sr_text *out = page->out;
    sr_text_append(out, "<section id=\"settings\">\n<h2>Settings and machine</h2>\n");
    append_distinct(page->input, offsetof(sr_record, machine), "Machine", out);
    append_distinct(page->input, offsetof(sr_record, features), "Feature network", out);
    for (size_t i = 0; i < page->sections->count; i++)
        append_shared_settings(&page->sections->list[i], out);
    void *bytes = NULL;
    size_t count = 0;
    if (page->input->file[0] && sr_file_exists(page->input->file) &&
        sr_file_read(page->input->file, FILE_MAX, &bytes, &count) == SR_OK) {
        sr_text_append(out, "<h3>");
        sr_page_text(out, base_name(page->input->file));
        sr_text_append(out, "</h3>\n<pre><code>");
        sr_page_text(out, bytes); // sr_file_read puts a NUL behind the end
        sr_text_append(out, "</code></pre>\n");
    }
    sr_free(bytes);
    sr_text_append(out, "</section>\n");
}

// ---- definitions, tail --------------------------------------------------------------------------

static bool recorded(const page_writer *page, const char *metric) {
    for (size_t i = 0; i < page->sections->count; i++) {
        if (sr_section_has(&page->sections->list[i], (sr_quantity){false, metric}))
            return true;
    }
    return false;
}

static void append_definitions_of(page_writer *page, const sr_metric_words *words) {
    sr_text *out = page->out;
    for (; words->name; words++) {
        if (!recorded(page, words->name))
            continue;
        sr_text_append(out, "<dt>");
        sr_page_text(out, words->title);
        sr_text_append(out, " (<code>");
        sr_page_text(out, words->name);
        sr_text_append(out, "</code>)</dt><dd>");
        sr_page_text(out, words->definition);
        if (words->direction)
            sr_text_append(out, " Here %s.", sr_metric_direction_words(words->direction));
        sr_text_append(out, "</dd>\n");
    }
}

static void append_definitions(page_writer *page) {
    sr_text *out = page->out;
    sr_text_append(out, "<section id=\"definitions\">\n<h2>Definitions</h2>\n<dl>\n");
    append_definitions_of(page, sr_metric_list);
    append_definitions_of(page, sr_density_metric_list);
    sr_text_append(
        out,
        "<dt>n</dt><dd>Number of samples that a score is computed from, as many as of data.</dd>\n"
        "<dt>mean ± standard deviation</dt><dd>Over seeds, each of which sets the initial weights, "
        "the "
        "order of the data, the noise and the starts; the deviation divides by the number of seeds "
        "minus "
        "one. Cells that diverged are counted, not averaged.</dd>\n"
        "<dt>[low, high]</dt><dd>95%% interval of a score of one seed, over new data and new "
        "samples of "
        "the same n: jack-knife (U-statistics: of rows; divergences and neighbours: of 20 groups; "
        "Frechet: infinitesimal). The trained model stays as it is.</dd>\n"
        "<dt>p (Holm)</dt><dd>The p-value adjusted for the number of comparisons made together: at "
        "5%% "
        "the chance of even one false finding among them is at most 5%%.</dd>\n"
        "<dt>best</dt><dd>The best mean of a table, entries without a diverged seed first. It was "
        "picked "
        "after the fact on the scores shown, so it is slightly optimistic.</dd>\n"
        "<dt>ms per dynamics step</dt><dd>Wall time of one step of a whole batch of chains.</dd>\n"
        "<dt>chain-steps per second</dt><dd>Chains times steps, divided by the wall time.</dd>\n"
        "</dl>\n</section>\n");
}

static void append_tail(page_writer *page) {
    sr_text *out = page->out;
    sr_text_append(out, "<section id=\"again\">\n<h2>Run it again</h2>\n<pre><code>shortrun run ");
    sr_page_text(out, page->input->file[0] ? base_name(page->input->file) : "EXPERIMENT.yaml");
    sr_text_append(out, "</code></pre>\n<p><code>shortrun report FOLDER</code> makes this page "
                        "anew from the results alone. "
                        "Scores depend on the seeds, the engine, the precision "
                        "and the instruction set, "
                        "not on the number of threads or on interruptions; times depend on the "
                        "machine. Beside this page: "
                        "<code>tables/</code> (text, CSV, Markdown, LaTeX) and "
                        "<code>figures/</code> (PNG, SVG, and the "
                        "gnuplot scripts and data they are drawn from: <code>gnuplot "
                        "NAME.gp</code> in that folder).</p>\n"
                        "</section>\n</main>\n<footer>Written by shortrun " SR_VERSION
                        ". Every number on this page is measured in the runs listed "
                        "here.</footer>\n</body>\n</html>\n");
}

sr_status sr_page_make(const sr_report_input *input, const sr_sections *sections,
                       const sr_noise_comparisons *comparisons, const sr_figures *figures,
                       sr_text *out) {
    page_writer page = {input, sections, figures, 0, out};
    append_head(&page);
    sr_text_append(out, "<section id=\"measured\">\n<h2>What was measured</h2>\n");
    sr_status status = sr_page_findings(sections, comparisons, out);
    sr_text_append(out, "%s</section>\n", sections->count ? "" : "<p>No finished cells yet.</p>\n");
    if (!status)
        status = append_quality(&page);
    if (!status)
        status = append_densities(&page);
    if (!status)
        status = append_time(&page);
    if (status)
        return status;
    for (size_t i = 0; i < sections->count; i++)
        append_section(&page, i);
    append_diverged(&page);
    append_settings(&page);
    append_definitions(&page);
    append_tail(&page);
    return sr_text_status(out);
}
