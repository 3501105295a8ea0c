// The end of run and all of report: both tables on standard output, and the report's files.
#ifndef SHORTRUN_CLI_TABLES_H
#define SHORTRUN_CLI_TABLES_H

#include "cli/cli.h"

// Prints table 1 (quality, of `metric`, NULL: each data set's leading one) and table 2 (time) of
// what the results hold.
sr_status cli_print_tables(const sr_experiment *experiment, sr_results *results, const char *metric,
                           sr_table_format format);
// Writes the report and prints where it is.
sr_status cli_write_report(const sr_experiment *experiment, sr_results *results);

#define CLI_EXPERIMENT_COPY "experiment.yaml" // in a results folder: what it holds the results of

#endif
