// report: from records to tables (text, CSV, Markdown, LaTeX), gnuplot figures and one HTML page.
#ifndef SHORTRUN_REPORT_H
#define SHORTRUN_REPORT_H

#include <shortrun/experiment.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sr_table_format {
    SR_TABLE_TEXT, // aligned columns for a terminal
    SR_TABLE_CSV,  // long form: one line a cell and quantity, with every setting
    SR_TABLE_MARKDOWN,
    SR_TABLE_LATEX
} sr_table_format;
// "text", "csv", "markdown" or "md", "latex" or "tex".
SR_API sr_status sr_table_format_parse(const char *name, sr_table_format *out);

// Table 1, quality: for each data set and metric, rows = dynamics and noise (s, sigma, T, data
// noise), columns = K, entries mean +- standard deviation over seeds (n seeds); diverged cells are
// counted, not hidden. metric NULL: each data set's leading metric (frechet for images, kl for 2-D;
// in CSV: all metrics). Rows differ in whatever setting differs, not in the noise alone.
// SR_ERROR_ARGUMENT where no cell has the metric. The text is appended to `out`.
SR_API sr_status sr_table_quality(const sr_record *records, size_t count, const char *metric,
                                  sr_table_format format, sr_text *out);
// Table 2, time: same rows and columns; entries ms per training iteration, ms per dynamics step,
// chain-steps per second.
SR_API sr_status sr_table_time(const sr_record *records, size_t count, sr_table_format format,
                               sr_text *out);

// Writes everything under folder/report/: tables in all formats, figures (gnuplot script, data,
// PNG, SVG), sample grids, report.html (self-contained). Without gnuplot: tables, scripts and data,
// and a warning. Where gnuplot fails, all else is written and SR_ERROR_LIBRARY returned with what
// gnuplot said. The same records give the same files. html (NULL allowed): receives the page's
// path.
SR_API sr_status sr_report_write(const sr_experiment *experiment, sr_results *results,
                                 const sr_monitor *monitor, char *html, size_t size);

// ---- comparisons --------------------------------------------------------------------------------

typedef enum sr_comparison_format {
    SR_COMPARISON_TABLE, // aligned columns, then a sentence for each score
    SR_COMPARISON_JSON,
    SR_COMPARISON_CSV,
    SR_COMPARISON_FORMAT_COUNT
} sr_comparison_format;
SR_API const char *sr_comparison_format_name(sr_comparison_format format); // "table", "json", "csv"

// A comparison with the names of its two sides. The text is appended to `out`.
SR_API sr_status sr_comparison_print(const sr_comparison *comparison, const char *a, const char *b,
                                     sr_comparison_format format, sr_text *out);
// "B is worse: 2.1 [0.8, 3.4], p = 0.003": what one score says about B, in one line without an end.
// `scores`: how many were compared together; above 1 Holm's adjusted p decides and is shown.
SR_API void sr_comparison_sentence(const sr_score_comparison *score, size_t scores, sr_text *out);

// ---- profiles -----------------------------------------------------------------------------------

typedef enum sr_profile_format {
    SR_PROFILE_TEXT,
    SR_PROFILE_CSV,  // long form: one line a run, part (step, phase, layer) and direction
    SR_PROFILE_JSON, // one profile: an object; several: {"machine": ..., "runs": [...]}
    SR_PROFILE_FORMAT_COUNT
} sr_profile_format;
SR_API const char *sr_profile_format_name(sr_profile_format format); // "text", "csv", "json"

// Profiles of one network under one or more combinations of settings; skipped ones are listed with
// their reason. docs/profiling.md explains every number. The text is appended to `out`.
SR_API sr_status sr_profile_print(const sr_profile *profiles, size_t count,
                                  sr_profile_format format, sr_text *out);
// Writes profile.json, profile.csv and the figures (gnuplot script, data, PNG, SVG) into a folder,
// which is made: a roofline for each profile, the time of a step by layer and phase, and with
// training that of an iteration by phase. Without gnuplot: scripts and data, and a warning.
SR_API sr_status sr_profile_write(const char *folder, const sr_profile *profiles, size_t count,
                                  const sr_monitor *monitor);

#ifdef __cplusplus
}
#endif
#endif
