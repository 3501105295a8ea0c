// shortrun report: tables and figures of a results folder, made anew.
#include "cli/tables.h"

#include <stdio.h>

enum { FORMATS = 4 };

static const char *format_choice(int value) {
    static const char *const names[FORMATS] = {"text", "csv", "markdown", "latex"};
    return names[value];
}

typedef struct report_values {
    const char *metric;
    int format;
    bool tables_only;
} report_values;

static const cli_option table[] = {
    {.name = "metric",
     .type = CLI_TEXT,
     .value = "NAME",
     CLI_AT(report_values, metric),
     .help = "of the printed table of quality (default: frechet for images, kl for 2-D)"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     CLI_AT(report_values, format),
     .choice = format_choice,
     .choices = FORMATS,
     .help = "of the printed tables (default text)"},
    {.name = "tables-only",
     .type = CLI_FLAG,
     CLI_AT(report_values, tables_only),
     .help = "print the tables and write nothing"},
};

sr_status cli_print_tables(const sr_experiment *experiment, sr_results *results, const char *metric,
                           sr_table_format format) {
    sr_record *records = NULL;
    size_t count = 0;
    sr_text quality = {0}, time = {0};
    sr_status status = sr_results_read(results, experiment, &records, &count);
    if (status == SR_OK && count == 0)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: holds no results of %s yet",
                         sr_results_folder(results), experiment->file);
    if (status == SR_OK)
        status = sr_table_quality(records, count, metric, format, &quality);
    if (status == SR_OK)
        status = sr_table_time(records, count, format, &time);
    if (status == SR_OK)
        printf("%s\n%s\n", sr_text_string(&quality), sr_text_string(&time));
    sr_text_clear(&quality);
    sr_text_clear(&time);
    sr_records_destroy(records, count);
    return status;
}

sr_status cli_write_report(const sr_experiment *experiment, sr_results *results) {
    char html[1024];
    const sr_status status = sr_report_write(experiment, results, cli_monitor(), html, sizeof html);
    cli_progress_clear();
    if (status == SR_OK)
        printf("report: %s\n", html);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    report_values v = {0};
    cli_parsed parsed;
    char copy[1024];
    sr_experiment experiment = {0};
    sr_results *results = NULL;
    sr_table_format format = SR_TABLE_TEXT;
    const int code = cli_parse(command, argc, argv, &v, &parsed);
    if (code != CLI_GO)
        return code;
    snprintf(copy, sizeof copy, "%s/" CLI_EXPERIMENT_COPY, parsed.operands[0]);
    const char *file = parsed.operand_count > 1 ? parsed.operands[1] : copy;
    sr_status status = sr_table_format_parse(format_choice(v.format), &format);
    if (status == SR_OK && parsed.operand_count < 2 && !sr_file_exists(copy))
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "%s: no such file; is %s a results folder? Else name the experiment file",
                         copy, parsed.operands[0]);
    if (status == SR_OK)
        status = sr_experiment_load(file, &experiment);
    if (status == SR_OK)
        status = sr_results_open(parsed.operands[0], false, &results);
    if (status == SR_OK)
        status = cli_print_tables(&experiment, results, v.metric, format);
    if (status == SR_OK && !v.tables_only)
        status = cli_write_report(&experiment, results);
    sr_results_close(results);
    sr_experiment_clear(&experiment);
    return cli_status(status);
}

const cli_command cli_report_command = {
    .name = "report",
    .summary = "tables and figures of a results folder, made anew",
    .operands = "FOLDER [EXPERIMENT.yaml]",
    .least = 1,
    .most = 2,
    .words = CLI_WORDS_FILE,
    .about = "FOLDER is what shortrun run wrote to; the experiment file is the copy that lies "
             "there, unless\n"
             "another is named.",
    .examples = "  shortrun report results/runs/quick\n"
                "  shortrun report results/runs/quick --metric kid --format latex --tables-only\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
