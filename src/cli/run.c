// shortrun run: an experiment file -> trained, judged and timed cells -> tables, figures, report.
#include "cli/tables.h"

#include <stdio.h>
#include <string.h>

typedef struct run_values {
    const char *results, *data, *cells;
    bool fresh, dry_run, no_report, keys, retune;
    unsigned threads;
    double checkpoint_every;
} run_values;

#define AT(field) CLI_AT(run_values, field)

static const cli_option table[] = {
    {.name = "results",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(results),
     .words = CLI_WORDS_FOLDER,
     .help = "where results go, and from where finished cells are taken (default "
             "results/runs/NAME, NAME from the file)"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for data sets here first"},
    {.name = "cells",
     .type = CLI_TEXT,
     .value = "FILTER",
     AT(cells),
     .help = "run only cells that match, like dataset=fashion_mnist,K=10|20,sigma=0"},
    {.name = "fresh", .type = CLI_FLAG, AT(fresh), .help = "run finished cells again"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     AT(dry_run),
     .help = "print the cells with their parameters, estimated time and memory; run nothing"},
    CLI_THREADS(AT(threads)),
    CLI_RETUNE(AT(retune)),
    {.name = "checkpoint-every",
     .type = CLI_NUMBER,
     .value = "SECONDS",
     AT(checkpoint_every),
     .help = "time between checkpoints of a cell (default 30; 0: after every iteration)"},
    {.name = "no-report",
     .type = CLI_FLAG,
     AT(no_report),
     .help = "write no report, only print the tables"},
    {.name = "keys",
     .type = CLI_FLAG,
     AT(keys),
     .help = "explain every key of experiment files and exit"},
};

static int print_keys(void) {
    sr_text text = {0};
    sr_experiment_keys(&text);
    const sr_status status = sr_text_status(&text);
    if (status == SR_OK)
        fputs(sr_text_string(&text), stdout);
    sr_text_clear(&text);
    return cli_status(status);
}

// ---- dry run
// ---------------------------------------------------------------------------------------

static sr_status dry_run(const sr_experiment *experiment, const sr_run_options *options) {
    double seconds = 0.0, most = 0.0;
    size_t cells = 0;
    char duration[32];
    printf("%-64s %10s %10s %8s\n", "cell", "parameters", "time", "memory");
    for (size_t i = 0; i < experiment->cell_count; i++) {
        const sr_cell *cell = &experiment->cells[i];
        char label[256];
        bool matches = true;
        double time = 0.0, bytes = 0.0;
        sr_net net;
        sr_status status = sr_cell_matches(cell, options->filter, &matches);
        if (status == SR_OK && !matches)
            continue;
        if (status == SR_OK)
            status = sr_net_parse(cell->model, &net);
        if (status == SR_OK)
            status = sr_cell_estimate(cell, options, &time, &bytes);
        if (status != SR_OK)
            return status;
        if (cli_stop_requested())
            return sr_fail(SR_ERROR_INTERRUPTED, "interrupted");
        sr_cell_label(cell, label, sizeof label);
        cli_duration(time, duration, sizeof duration);
        printf("%-64s %10zu %10s %5.0f MB\n", label, net.parameters, duration, bytes / 1e6);
        seconds += time;
        most = bytes > most ? bytes : most;
        cells++;
    }
    cli_duration(seconds, duration, sizeof duration);
    printf("%zu cells, about %s, at most %.0f MB\n", cells, duration, most / 1e6);
    return SR_OK;
}

// ---- the run
// ---------------------------------------------------------------------------------------

// A results folder keeps the file it was made from, so that reports can be made without it.
static sr_status keep_copy(const char *file, const char *folder) {
    char path[1024];
    void *bytes = NULL, *old = NULL;
    size_t count = 0, old_count = 0;
    snprintf(path, sizeof path, "%s/" CLI_EXPERIMENT_COPY, folder);
    sr_status status = sr_file_read(file, 0, &bytes, &count);
    const bool same = status == SR_OK && sr_file_exists(path) &&
                      sr_file_read(path, 0, &old, &old_count) == SR_OK && old_count == count &&
                      memcmp(old, bytes, count) == 0;
    if (status == SR_OK && !same)
        status = sr_file_write(path, bytes, count);
    sr_free(bytes);
    sr_free(old);
    return status;
}

static void print_summary(const sr_run_summary *s, double seconds) {
    char duration[32];
    cli_duration(seconds, duration, sizeof duration);
    printf("%zu cells: %zu done, %zu diverged, %zu failed, %zu finished before; %s\n", s->total,
           s->done, s->diverged, s->failed, s->already_done, duration);
}

static int interrupted(const char *folder) {
    cli_error("%s; results so far are in %s, the same command goes on", sr_error_message(), folder);
    return CLI_INTERRUPTED;
}

static int run_experiment(const sr_experiment *experiment, const char *file, const char *folder,
                          const run_values *v, const sr_run_options *options) {
    sr_results *results = NULL;
    sr_run_summary summary = {0};
    const double begin = sr_seconds();
    sr_status status = sr_folder_make(folder);
    if (status == SR_OK)
        status = sr_results_open(folder, true, &results);
    if (status == SR_OK)
        status = keep_copy(file, folder);
    if (status == SR_OK)
        status = sr_experiment_run(experiment, results, options, cli_monitor(), &summary);
    cli_progress_clear();
    int code = status == SR_OK ? 0 : 1;
    if (status == SR_ERROR_INTERRUPTED)
        code = interrupted(folder);
    else if (status != SR_OK)
        code = cli_status(status);
    const bool any = summary.done + summary.diverged + summary.already_done > 0;
    if (status == SR_OK && any)
        status = cli_print_tables(experiment, results, NULL, SR_TABLE_TEXT);
    if (status == SR_OK && any && !v->no_report)
        status = cli_write_report(experiment, results);
    if (code == 0) {
        code = cli_status(status);
        print_summary(&summary, sr_seconds() - begin);
    }
    sr_results_close(results);
    return code == 0 && summary.failed > 0 ? 1 : code;
}

static int run(const cli_command *command, int argc, char **argv) {
    run_values v = {.checkpoint_every = 30.0};
    cli_parsed parsed;
    cli_command lenient = *command;
    lenient.least = 0; // --keys needs no file
    int code = cli_parse(&lenient, argc, argv, &v, &parsed);
    if (code != CLI_GO)
        return code;
    if (v.keys)
        return print_keys();
    if (parsed.operand_count == 0)
        return cli_parse(command, argc, argv, &v, &parsed);
    if (v.retune)
        sr_tuning_forget();
    const char *file = parsed.operands[0];
    const sr_run_options run_options = {.data_folder = v.data,
                                        .filter = v.cells,
                                        .fresh = v.fresh,
                                        .threads = v.threads,
                                        .checkpoint_every = v.checkpoint_every};
    sr_experiment experiment;
    if ((code = cli_status(sr_experiment_load(file, &experiment))) != 0)
        return code;
    cli_catch_signals();
    char folder[1024];
    snprintf(folder, sizeof folder, "results/runs/%s", experiment.name);
    if (v.dry_run)
        code = cli_status(dry_run(&experiment, &run_options));
    else
        code = run_experiment(&experiment, file, v.results ? v.results : folder, &v, &run_options);
    sr_experiment_clear(&experiment);
    return code;
}

const cli_command cli_run_command = {
    .name = "run",
    .summary =
        "run an experiment: train, sample, judge and time every cell; write tables and figures",
    .operands = "EXPERIMENT.yaml",
    .least = 1,
    .most = 1,
    .words = CLI_WORDS_FILE,
    .about = "Finished cells are not run again, and a run that was stopped goes on where it was. A "
             "cell that\n"
             "diverges is a result: it is reported and counted, and the others go on.",
    .examples = "  shortrun run bench/experiments/quick.yaml\n"
                "  shortrun run bench/experiments/toy2d.yaml --dry-run\n"
                "  shortrun run bench/experiments/fashion.yaml --cells 'K=20,seed=1' --results "
                "/data/fashion\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
