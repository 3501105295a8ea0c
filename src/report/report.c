// Writes a report: tables in every format, figures, the page. What stands in them is decided in the
// other files of this folder; here only the order and the file names.
#include "report/report_internal.h"

#include <stdio.h>
#include <string.h>

void sr_input_cell_path(const sr_report_input *input, const sr_record *record, const char *name,
                        char *out, size_t size) {
    snprintf(out, size, "%s/cells/%s/%s", input->folder, record->cell.hash, name);
}

static sr_status write_text(const char *folder, const char *name, sr_text *text) {
    char path[4352];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    sr_status status = sr_text_status(text);
    if (!status)
        status = sr_file_write(path, sr_text_string(text), text->length);
    sr_text_clear(text);
    return status;
}

static sr_status write_tables(const sr_report_input *input, const sr_sections *sections,
                              const char *folder) {
    static const struct {
        const char *suffix;
        sr_table_format format;
    } files[] = {{"txt", SR_TABLE_TEXT},
                 {"csv", SR_TABLE_CSV},
                 {"md", SR_TABLE_MARKDOWN},
                 {"tex", SR_TABLE_LATEX}};
    sr_status status = SR_OK;
    for (size_t i = 0; i < 2 * sizeof files / sizeof *files && !status; i++) {
        bool timing = i % 2;
        sr_text text = {0};
        char name[64];
        if (timing)
            status = sr_table_time(input->records, input->count, files[i / 2].format, &text);
        else
            status =
                sr_table_quality(input->records, input->count, NULL, files[i / 2].format, &text);
        snprintf(name, sizeof name, "%s.%s", timing ? "time" : "quality", files[i / 2].suffix);
        if (!status)
            status = write_text(folder, name, &text);
        sr_text_clear(&text);
    }
    for (size_t timing = 0; timing < 2 && !status; timing++) {
        sr_text text = {0};
        sr_csv_pivot(sections, timing, &text);
        status = write_text(folder, timing ? "time_pivot.csv" : "quality_pivot.csv", &text);
    }
    return status;
}

static sr_status write_comparisons(const sr_sections *sections,
                                   const sr_noise_comparisons *comparisons, const char *folder) {
    sr_text csv = {0}, text = {0};
    sr_status status = SR_OK;
    sr_noise_csv(sections, comparisons, &csv);
    for (size_t i = 0; i < sections->count && !status; i++) {
        sr_table table;
        status = sr_noise_table(sections, comparisons, i, &table);
        if (!status && table.rows > 0) {
            sr_table_print(&table, SR_MARKUP_TEXT, &text);
            sr_text_append(&text, "\n");
        }
        sr_table_clear(&table);
    }
    if (!status)
        status = write_text(folder, "noise.csv", &csv);
    if (!status)
        status = write_text(folder, "noise.txt", &text);
    sr_text_clear(&csv);
    sr_text_clear(&text);
    return status;
}

// tables/density.txt and its fellows, where any cell was asked for densities.
static sr_status write_densities(const sr_sections *sections, const char *folder) {
    static const struct {
        const char *name;
        sr_markup markup;
    } files[] = {{"density.txt", SR_MARKUP_TEXT},
                 {"density.md", SR_MARKUP_MARKDOWN},
                 {"density.tex", SR_MARKUP_LATEX}};
    sr_status status = SR_OK;
    for (size_t f = 0; f < sizeof files / sizeof *files && !status; f++) {
        sr_text text = {0};
        for (size_t i = 0; i < sections->count * SR_DENSITY_PARTS && !status; i++) {
            sr_table table;
            status = sr_density_table(sections, i / SR_DENSITY_PARTS,
                                      (sr_density_part)(i % SR_DENSITY_PARTS), &table);
            if (!status && table.rows > 0) {
                sr_table_print(&table, files[f].markup, &text);
                sr_text_append(&text, "\n");
            }
            sr_table_clear(&table);
        }
        if (!status && text.length > 0)
            status = write_text(folder, files[f].name, &text);
        sr_text_clear(&text);
    }
    return status;
}

static sr_status make_figures(const sr_report_input *input, const sr_sections *sections,
                              sr_figures *figures) {
    sr_status status = sr_figures_lines(sections, figures);
    if (!status)
        status = sr_figures_curves(sections, figures);
    if (!status)
        status = sr_figures_panels(input, sections, figures);
    if (!status)
        status = sr_figures_densities(input, sections, figures);
    if (!status)
        status = sr_figures_density_lines(input, sections, figures);
    if (!status)
        status = sr_figures_grids(input, sections, figures);
    if (!status)
        status = sr_figures_features(input, sections, figures);
    return status;
}

static sr_status make_folders(const sr_report_input *input, char report[], char tables[],
                              sr_figures *figures) {
    if (strlen(input->folder) > 3900)
        return sr_fail(SR_ERROR_ARGUMENT, "the path of the results folder is too long (%zu bytes)",
                       strlen(input->folder));
    snprintf(report, 4096, "%s/report", input->folder);
    snprintf(tables, 4096, "%s/report/tables", input->folder);
    snprintf(figures->folder, sizeof figures->folder, "%s/report/figures", input->folder);
    sr_status status = sr_folder_make(tables);
    return status ? status : sr_folder_make(figures->folder);
}

static sr_status make_report(const sr_report_input *input, char *html, size_t size) {
    sr_sections sections = {0};
    sr_figures figures = {0};
    sr_noise_comparisons comparisons = {0};
    sr_text page = {0};
    char report[4096], tables[4096], drawing_error[1024] = "";
    bool missing = false;
    sr_status drawn = SR_OK, status = make_folders(input, report, tables, &figures);
    if (status)
        return status;
    if ((status = sr_sections_make(input->records, input->count, &sections)) ||
        (status = write_tables(input, &sections, tables)) ||
        (status = write_densities(&sections, tables)) ||
        (status = sr_noise_comparisons_make(input, &sections, &comparisons)) ||
        (status = write_comparisons(&sections, &comparisons, tables)) ||
        (status = make_figures(input, &sections, &figures)))
        goto done;
    drawn = sr_figures_draw(&figures, input->monitor, &missing);
    snprintf(drawing_error, sizeof drawing_error, "%s", drawn ? sr_error_message() : "");
    if (missing)
        sr_monitor_log(
            input->monitor, SR_LEVEL_WARNING,
            "gnuplot was not found: the figures' scripts and data are in %s, the pictures are "
            "missing (Debian: apt install gnuplot-nox)",
            figures.folder);
    if ((status = sr_page_make(input, &sections, &comparisons, &figures, &page)) ||
        (status = write_text(report, "report.html", &page)))
        goto done;
    if (html)
        snprintf(html, size, "%s/report.html", report);
    if (drawn) // the page is there, with what could be drawn; still, something failed
        status = sr_fail(drawn, "%s", drawing_error);
done:
    sr_text_clear(&page);
    sr_noise_comparisons_clear(&comparisons);
    sr_figures_clear(&figures);
    sr_sections_clear(&sections);
    return status;
}

sr_status sr_report_make(const sr_report_input *input, char *html, size_t size) {
    sr_report_input with = *input;
    sr_compare_options options;
    sr_compare_options_default(&options);
    sr_status status = SR_OK;
    if (!with.comparer) // no monitor: that data or samples are missing is no news here
        status = sr_comparer_create(input->folder, &options, NULL, &with.comparer);
    if (status == SR_ERROR_ARGUMENT) // a path too long is refused where files are written
        status = SR_OK;
    if (status == SR_OK)
        status = make_report(&with, html, size);
    if (!input->comparer)
        sr_comparer_destroy(with.comparer);
    return status;
}
