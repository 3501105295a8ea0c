// The results database: what is written is read back, and what is not ours, damaged, full or out of
// reach is refused in words, with nothing lost.
#include "scratch.h"

#include "experiment/results.h"

#include <math.h>

static sr_experiment experiment; // 4 cells, made once

static int load_experiment(void **state) {
    if (scratch_make(state))
        return -1;
    const char *path = scratch_write(state, "r.yaml",
                                     "name: r\n"
                                     "groups:\n"
                                     "  - name: a\n"
                                     "    dataset: rings\n"
                                     "    model: mlp:dim=2,widths=8\n"
                                     "    seeds: [1, 2, 3, 4]\n");
    return sr_experiment_load(path, &experiment) == SR_OK ? 0 : -1;
}

static int unload_experiment(void **state) {
    sr_experiment_clear(&experiment);
    return scratch_remove(state);
}

static sr_results *open_results(const char *folder, bool create) {
    sr_results *results;
    if (sr_results_open(folder, create, &results) != SR_OK)
        fail_msg("%s", sr_error_message());
    return results;
}

static void assert_refused(const char *folder, bool create, sr_status expected, const char *says) {
    sr_results *results = (sr_results *)1;
    const sr_status status = sr_results_open(folder, create, &results);
    if (status != expected || !strstr(sr_error_message(), says) || strchr(sr_error_message(), '\n'))
        fail_msg("expected status %d and \"%s\", got %d: %s", expected, says, status,
                 sr_error_message());
    assert_null(results);
}

// A record with everything in it, numbers that depend on `salt`.
typedef struct sample_record {
    sr_record record;
    sr_value metrics[2], timings[1];
    double curve[3][5], trace[3][4];
} sample_record;

static void fill(sample_record *s, size_t cell, double salt) {
    memset(s, 0, sizeof *s);
    s->metrics[0] = (sr_value){"kl", 0.1 + salt, 5000, 0.01 + salt, 0.08, 0.12 + salt};
    s->metrics[1] = (sr_value){"modes_covered", NAN, 7, NAN, NAN, NAN};
    s->timings[0] = (sr_value){"step_ms", 1.0 / 3 + salt, 0, NAN, NAN, NAN};
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 5; i++)
            s->curve[k][i] = salt + 10 * k + i / 7.0;
        for (int i = 0; i < 4; i++)
            s->trace[k][i] = salt - 10 * k - i / 7.0;
    }
    s->record = (sr_record){.cell = experiment.cells[cell],
                            .state = SR_CELL_DONE,
                            .metrics = s->metrics,
                            .metric_count = 2,
                            .timings = s->timings,
                            .timing_count = 1,
                            .curve_count = 5,
                            .curve_iteration = s->curve[0],
                            .curve_gap = s->curve[1],
                            .curve_gradient_norm = s->curve[2],
                            .trace_count = 4,
                            .trace_energy = s->trace[0],
                            .trace_gradient_norm = s->trace[1],
                            .trace_displacement = s->trace[2],
                            .machine = "a machine, 'quoted'",
                            .features = "some features",
                            .finished = "2026-01-02T03:04:05Z"};
}

static void put(sr_results *results, const sr_record *record) {
    if (sr_results_put(results, record) != SR_OK)
        fail_msg("%s", sr_error_message());
}

static void assert_series(size_t count, const double *expected, const double *found) {
    assert_memory_equal(expected, found, count * sizeof *expected);
}

static void assert_record(const sample_record *s, const sr_record *r) {
    assert_string_equal(r->cell.hash, s->record.cell.hash);
    assert_int_equal(r->state, s->record.state);
    assert_string_equal(r->message, s->record.message);
    assert_int_equal(r->metric_count, 2);
    assert_true(sr_record_metric(r, "kl") == s->metrics[0].value);
    assert_int_equal(r->metrics[0].n, 5000);
    assert_true(r->metrics[0].error == s->metrics[0].error);
    assert_true(r->metrics[0].low == 0.08 && r->metrics[0].high == s->metrics[0].high);
    assert_true(isnan(r->metrics[1].error) && isnan(r->metrics[1].low));
    assert_true(isnan(r->timings[0].error) && isnan(r->timings[0].high));
    assert_true(isnan(sr_record_metric(r, "modes_covered")));
    assert_true(isnan(sr_record_metric(r, "step_ms")));
    assert_int_equal(r->timing_count, 1);
    assert_true(sr_record_timing(r, "step_ms") == s->timings[0].value);
    assert_int_equal(r->curve_count, 5);
    assert_series(5, s->curve[0], r->curve_iteration);
    assert_series(5, s->curve[1], r->curve_gap);
    assert_series(5, s->curve[2], r->curve_gradient_norm);
    assert_int_equal(r->trace_count, 4);
    assert_series(4, s->trace[0], r->trace_energy);
    assert_series(4, s->trace[1], r->trace_gradient_norm);
    assert_series(4, s->trace[2], r->trace_displacement);
    assert_string_equal(r->machine, "a machine, 'quoted'");
    assert_string_equal(r->features, "some features");
    assert_string_equal(r->finished, "2026-01-02T03:04:05Z");
}

static void test_round_trip(void **state) {
    const char *folder = scratch_path(state, "deep/results");
    sr_results *results = open_results(folder, true);
    sample_record a, b;
    sr_record *records;
    size_t count;
    fill(&a, 2, 1);
    fill(&b, 0, 2);
    b.record.state = SR_CELL_DIVERGED;
    strcpy(b.record.message, "the gap ran away; it's 12% over");
    assert_int_equal(sr_results_state(results, a.record.cell.hash), SR_CELL_ABSENT);
    put(results, &a.record);
    put(results, &b.record);
    sr_results_close(results);

    results = open_results(folder, false);
    assert_string_equal(sr_results_folder(results), folder);
    assert_int_equal(sr_results_state(results, a.record.cell.hash), SR_CELL_DONE);
    assert_int_equal(sr_results_state(results, b.record.cell.hash), SR_CELL_DIVERGED);
    assert_int_equal(sr_results_state(results, experiment.cells[1].hash), SR_CELL_ABSENT);
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 2); // in grid order, the absent ones left out
    assert_record(&b, &records[0]);
    assert_record(&a, &records[1]);
    sr_records_destroy(records, count);

    fill(&a, 2, 3); // replaces
    put(results, &a.record);
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 2);
    assert_record(&a, &records[1]);
    sr_records_destroy(records, count);

    assert_int_equal(sr_results_delete(results, a.record.cell.hash), SR_OK);
    assert_int_equal(sr_results_delete(results, a.record.cell.hash), SR_OK);
    assert_int_equal(sr_results_state(results, a.record.cell.hash), SR_CELL_ABSENT);
    sqlite3_stmt *statement; // its values went with it
    assert_int_equal(
        sr_results_prepare(results,
                           "SELECT (SELECT count(DISTINCT cell) FROM metrics), "
                           "(SELECT count(*) FROM curves), seed, steps, start FROM cells",
                           &statement),
        SR_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    assert_int_equal(sqlite3_column_int(statement, 1), 5);
    assert_int_equal(sqlite3_column_int(statement, 2), 1);
    assert_int_equal(sqlite3_column_int(statement, 3), 10);
    assert_string_equal(sqlite3_column_text(statement, 4), "gaussian");
    sqlite3_finalize(statement);
    sr_results_close(results);
}

static void test_bad_record(void **state) {
    sr_results *results = open_results(*state, true);
    sample_record a;
    fill(&a, 0, 1);
    a.record.state = SR_CELL_ABSENT;
    assert_int_equal(sr_results_put(results, &a.record), SR_ERROR_ARGUMENT);
    sr_results_close(results);
}

// A transaction that cannot be finished leaves what was there.
static void test_full_disk(void **state) {
    sr_results *results = open_results(*state, true);
    sample_record a, b;
    sr_record *records;
    size_t count;
    fill(&a, 0, 1);
    put(results, &a.record);
    fill(&b, 0, 2);
    enum { LONG = 20000 };
    double *long_curve = calloc(LONG, sizeof *long_curve);
    b.record.curve_count = LONG;
    b.record.curve_iteration = b.record.curve_gap = b.record.curve_gradient_norm = long_curve;
    char sql[80];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = 40");
    assert_int_equal(sqlite3_exec(results->db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sr_results_put(results, &b.record), SR_ERROR_DATABASE);
    if (!strstr(sr_error_message(), "disk is full"))
        fail_msg("%s", sr_error_message());
    free(long_curve);
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 1);
    assert_record(&a, &records[0]);
    sr_records_destroy(records, count);
    sr_results_close(results);
}

static void make_database(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_foreign(void **state) {
    assert_refused(scratch_path(state, "nowhere"), false, SR_ERROR_IO, "no results here");
    make_database(scratch_path(state, "results.db"), "CREATE TABLE birds (name TEXT)");
    assert_refused(*state, true, SR_ERROR_FORMAT, "another program");
    unlink(scratch_path(state, "results.db"));
    scratch_write(state, "results.db",
                  "this is a text, and long enough to be told from a database "
                  "by its first hundred bytes, which SQLite looks at first.");
    assert_refused(*state, true, SR_ERROR_DATABASE, "not an SQLite database");
    unlink(scratch_path(state, "results.db"));
    sr_results_close(open_results(*state, true));
    make_database(scratch_path(state, "results.db"), "PRAGMA user_version = 99");
    assert_refused(*state, true, SR_ERROR_FORMAT, "a newer program");
}

// An older file is taken over: what it holds stays readable, new cells go in beside it. What
// `downgrade` undoes is what the versions since have added.
static void assert_upgraded(void **state, bool intervals, const char *downgrade) {
    sample_record old;
    sr_results *results = open_results(*state, true);
    fill(&old, 1, 0.5);
    put(results, &old.record);
    sr_results_close(results);
    make_database(scratch_path(state, "results.db"), downgrade);
    results = open_results(*state, true);
    sr_record *records = NULL;
    size_t count;
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 1);
    assert_true(sr_record_metric(&records[0], "kl") == old.metrics[0].value);
    assert_true(isnan(records[0].metrics[0].error) == !intervals);
    assert_true(isnan(records[0].metrics[0].low) == !intervals);
    sr_records_destroy(records, count);
    sample_record a;
    fill(&a, 0, 1.5);
    put(results, &a.record);
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 2);
    assert_record(&a, &records[0]);
    sr_records_destroy(records, count);
    sr_results_close(results);
    unlink(scratch_path(state, "results.db"));
}

#define WITHOUT_INTERVALS                                                                          \
    "ALTER TABLE metrics DROP COLUMN error; ALTER TABLE metrics DROP COLUMN low;"                  \
    "ALTER TABLE metrics DROP COLUMN high;"

static void test_upgrade(void **state) {
    assert_upgraded(state, true,
                    "ALTER TABLE cells DROP COLUMN density_points;"
                    "ALTER TABLE cells DROP COLUMN density_method; PRAGMA user_version = 3");
    assert_upgraded(state, false, WITHOUT_INTERVALS "PRAGMA user_version = 2");
    assert_upgraded(state, false,
                    WITHOUT_INTERVALS
                    "ALTER TABLE cells DROP COLUMN precision; PRAGMA user_version = 1");
}

static void test_older_names(void **state) {
    sr_record *records = NULL;
    size_t count;
    sr_results *results = open_results(*state, true);
    sample_record a;
    fill(&a, 0, 1.5);
    put(results, &a.record);
    // high_quality had another name.
    assert_int_equal(sqlite3_exec(results->db,
                                  "UPDATE metrics SET name = 'within_3sd' WHERE "
                                  "name = 'kl'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sr_results_read(results, &experiment, &records, &count), SR_OK);
    assert_int_equal(count, 1);
    assert_true(sr_record_metric(&records[0], "high_quality") == a.metrics[0].value);
    sr_records_destroy(records, count);
    sr_results_close(results);
}

static void test_damaged(void **state) {
    sr_results *results = open_results(*state, true);
    sample_record a;
    fill(&a, 0, 1);
    put(results, &a.record);
    sr_results_close(results);
    assert_int_equal(truncate(scratch_path(state, "results.db"), 5000), 0);
    sr_results *opened = NULL;
    sr_record *records = NULL;
    size_t count;
    sr_status status = sr_results_open(*state, true, &opened);
    if (status == SR_OK)
        status = sr_results_read(opened, &experiment, &records, &count);
    assert_int_equal(status, SR_ERROR_DATABASE);
    assert_non_null(strstr(sr_error_message(), "results.db"));
    assert_null(records);
    sr_results_close(opened);
}

// Also where the user may write everything, a folder cannot lie inside a file.
static void test_unwritable(void **state) {
    const char *file = scratch_write(state, "file", "x");
    char folder[600];
    snprintf(folder, sizeof folder, "%s/results", file);
    assert_refused(folder, true, SR_ERROR_IO, "file");
    char *far = malloc(2000);
    memset(far, 'a', 1999);
    far[1999] = '\0';
    assert_refused(far, true, SR_ERROR_ARGUMENT, "bytes");
    free(far);
    assert_int_equal(mkdir(scratch_path(state, "results.db"), 0777), 0);
    assert_refused(*state, true, SR_ERROR_DATABASE, "results.db");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_bad_record, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_full_disk, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_foreign, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_upgrade, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_older_names, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_damaged, load_experiment, unload_experiment),
        cmocka_unit_test_setup_teardown(test_unwritable, load_experiment, unload_experiment),
    };
    return cmocka_run_group_tests_name("results", tests, NULL, NULL);
}
