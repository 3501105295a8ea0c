// The results database, seen from inside the module. Private.
#ifndef SHORTRUN_EXPERIMENT_RESULTS_H
#define SHORTRUN_EXPERIMENT_RESULTS_H

#include <shortrun/experiment.h>
#include <sqlite3.h>

struct sr_results {
    sqlite3 *db;
    char folder[512];
    char path[600]; // of results.db
};

// Records SQLite's last error as "PATH: what: why".
sr_status sr_results_fail(sr_results *results, const char *what);
sr_status sr_results_prepare(sr_results *results, const char *sql, sqlite3_stmt **out);
// Steps a statement that returns no rows, and resets it.
sr_status sr_results_step(sr_results *results, sqlite3_stmt *statement, const char *what);
// As sr_results_state, with errors reported.
sr_status sr_results_look_up(sr_results *results, const char *hash, sr_cell_state *out);

#endif
