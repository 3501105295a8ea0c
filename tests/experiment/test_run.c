// Running experiments from end to end: cells, files, metrics; running again, anew, interrupted,
// diverged, failing; the same bits whatever the threads and interruptions.
#include "scratch.h"

#include <shortrun/experiment.h>

#include <fcntl.h>
#include <math.h>
#include <sys/file.h>
#include <sys/stat.h>

typedef struct watcher {
    int stops_left; // calls of stop that answer no; negative: never stops
    double at, total;
    bool backwards; // progress that fell, or passed its total
    int cells_seen;
    char what[500];
    int warnings;
    char last[1024];
} watcher;

static void watch_log(void *user, sr_level level, const char *line) {
    watcher *w = user;
    w->warnings += level == SR_LEVEL_WARNING;
    snprintf(w->last, sizeof w->last, "%s", line);
}

static void watch_progress(void *user, const char *what, const char *detail, double done,
                           double total) {
    watcher *w = user;
    assert_non_null(detail);
    if (done < w->at - 1e-9 || done > total * (1 + 1e-9))
        w->backwards = true;
    w->at = done;
    w->total = total;
    if (strcmp(w->what, what) != 0)
        w->cells_seen++;
    snprintf(w->what, sizeof w->what, "%s", what);
}

static bool watch_stop(void *user) {
    watcher *w = user;
    return w->stops_left >= 0 && w->stops_left-- == 0;
}

static sr_status run(const sr_experiment *experiment, const char *folder,
                     const sr_run_options *options, watcher *w, sr_run_summary *summary) {
    const sr_monitor monitor = {
        .user = w, .log = watch_log, .progress = watch_progress, .stop = watch_stop};
    sr_results *results;
    if (sr_results_open(folder, true, &results) != SR_OK)
        fail_msg("%s", sr_error_message());
    const sr_status status = sr_experiment_run(experiment, results, options, &monitor, summary);
    sr_results_close(results);
    return status;
}

static void run_well(const sr_experiment *experiment, const char *folder,
                     const sr_run_options *options, sr_run_summary *summary) {
    watcher w = {.stops_left = -1};
    if (run(experiment, folder, options, &w, summary) != SR_OK)
        fail_msg("%s", sr_error_message());
    if (w.backwards)
        fail_msg("progress went backwards");
}

static void load(const char *path, sr_experiment *experiment) {
    if (sr_experiment_load(path, experiment) != SR_OK)
        fail_msg("%s", sr_error_message());
}

static void read_records(const sr_experiment *experiment, const char *folder, sr_record **records,
                         size_t *count) {
    sr_results *results;
    if (sr_results_open(folder, false, &results) != SR_OK ||
        sr_results_read(results, experiment, records, count) != SR_OK)
        fail_msg("%s", sr_error_message());
    sr_results_close(results);
}

static void cell_file(const char *folder, const sr_cell *cell, const char *name, char out[600]) {
    snprintf(out, 600, "%s/cells/%s/%s", folder, cell->hash, name);
}

static void assert_same_file(const char *a, const char *b, const sr_cell *cell, const char *name) {
    char path_a[600], path_b[600];
    void *bytes_a, *bytes_b;
    size_t count_a, count_b;
    cell_file(a, cell, name, path_a);
    cell_file(b, cell, name, path_b);
    assert_int_equal(sr_file_read(path_a, 0, &bytes_a, &count_a), SR_OK);
    assert_int_equal(sr_file_read(path_b, 0, &bytes_b, &count_b), SR_OK);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(bytes_a, bytes_b, count_a);
    sr_free(bytes_a);
    sr_free(bytes_b);
}

// Everything but times is the same to the bit.
static void assert_same_results(const sr_experiment *experiment, const char *a, const char *b) {
    sr_record *x, *y;
    size_t n, m;
    read_records(experiment, a, &x, &n);
    read_records(experiment, b, &y, &m);
    assert_int_equal(n, experiment->cell_count);
    assert_int_equal(m, experiment->cell_count);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(x[i].metric_count, y[i].metric_count);
        for (size_t k = 0; k < x[i].metric_count; k++)
            if (strcmp(x[i].metrics[k].name, y[i].metrics[k].name) != 0 ||
                memcmp(&x[i].metrics[k].value, &y[i].metrics[k].value, sizeof(double)) != 0)
                fail_msg("%s: %.17g and %.17g", x[i].metrics[k].name, x[i].metrics[k].value,
                         y[i].metrics[k].value);
        assert_int_equal(x[i].curve_count, y[i].curve_count);
        assert_memory_equal(x[i].curve_iteration, y[i].curve_iteration,
                            x[i].curve_count * sizeof(double));
        assert_memory_equal(x[i].curve_gap, y[i].curve_gap, x[i].curve_count * sizeof(double));
        assert_int_equal(x[i].trace_count, y[i].trace_count);
        assert_memory_equal(x[i].trace_energy, y[i].trace_energy,
                            x[i].trace_count * sizeof(double));
        assert_same_file(a, b, &x[i].cell, "samples.npy");
        assert_same_file(a, b, &x[i].cell, "checkpoint.safetensors");
    }
    sr_records_destroy(x, n);
    sr_records_destroy(y, m);
}

#define SMOKE SR_SOURCE_ROOT "/bench/experiments/smoke.yaml"

static const char *const toy_metrics[] = {
    "kl",       "mmd2",       "sliced_w2",     "kl_reverse",   "kl_true",     "kl_true_reverse",
    "kl_gibbs", "mode_count", "modes_covered", "high_quality", "mean_abs_gap"};
static const char *const timings[] = {
    "iteration_ms",    "forward_ms",   "backward_data_ms", "backward_weights_ms",
    "noise_update_ms", "optimiser_ms", "step_ms",          "chain_steps_per_s",
    "gflops",          "peak_gflops",  "peak_share",       "peak_memory_mb"};

static void check_toy_record(const char *folder, const sr_record *record) {
    char path[600];
    static const char *const files[] = {"checkpoint.safetensors", "samples.npy", "data.npy",
                                        "energy.npy"};
    const sr_train_options *train = &record->cell.train;
    assert_int_equal(record->state, SR_CELL_DONE);
    for (size_t i = 0; i < sizeof toy_metrics / sizeof *toy_metrics; i++)
        if (!isfinite(sr_record_metric(record, toy_metrics[i])))
            fail_msg("no %s", toy_metrics[i]);
    assert_true(isnan(sr_record_metric(record, "w2")) == !sr_toy_w2_library());
    for (size_t i = 0; i < sizeof timings / sizeof *timings; i++)
        if (!(sr_record_timing(record, timings[i]) >= 0))
            fail_msg("no %s", timings[i]);
    assert_true(sr_record_metric(record, "mode_count") == 8);
    assert_true(sr_record_timing(record, "step_ms") > 0);
    assert_int_equal(record->curve_count, train->iterations);
    assert_true(record->curve_iteration[0] == 1);
    assert_true(record->curve_iteration[record->curve_count - 1] == (double)train->iterations);
    assert_int_equal(record->trace_count, train->dynamics.steps + 1);
    assert_true(record->trace_displacement[0] > 0);
    assert_true(record->trace_displacement[train->dynamics.steps] == 0);
    assert_non_null(strstr(record->machine, "shortrun"));
    assert_int_equal(strlen(record->finished), 20);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cell_file(folder, &record->cell, files[i], path);
        assert_true(sr_file_exists(path));
    }
    cell_file(folder, &record->cell, "curve.bin", path);
    assert_false(sr_file_exists(path));
}

static void test_smoke(void **state) {
    sr_experiment experiment;
    sr_run_options options = {.threads = 2, .checkpoint_every = 60};
    sr_run_summary summary;
    sr_record *records;
    size_t count;
    const char *folder = scratch_path(state, "a");
    load(SMOKE, &experiment);
    watcher w = {.stops_left = -1};
    assert_int_equal(run(&experiment, folder, &options, &w, &summary), SR_OK);
    assert_int_equal(summary.total, 4);
    assert_int_equal(summary.done, 4);
    assert_int_equal(summary.already_done + summary.diverged + summary.failed, 0);
    assert_int_equal(w.cells_seen, 4);
    assert_false(w.backwards);
    assert_true(fabs(w.at - w.total) < 1e-9 && w.total == 4);
    assert_int_equal(strncmp(w.what, "cell 4/4 eight_gaussians K=5", 28), 0);
    read_records(&experiment, folder, &records, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        check_toy_record(folder, &records[i]);
    sr_records_destroy(records, count);

    // Again: nothing is done. Anew: all of it, with the same results, here with one thread.
    run_well(&experiment, folder, &options, &summary);
    assert_int_equal(summary.already_done, 4);
    assert_int_equal(summary.done, 0);
    options.threads = 1;
    run_well(&experiment, scratch_path(state, "b"), &options, &summary);
    assert_same_results(&experiment, scratch_path(state, "a"), scratch_path(state, "b"));
    options.fresh = true;
    options.filter = "K=3,sigma=0";
    run_well(&experiment, scratch_path(state, "b"), &options, &summary);
    assert_int_equal(summary.total, 1);
    assert_int_equal(summary.done, 1);
    assert_same_results(&experiment, scratch_path(state, "a"), scratch_path(state, "b"));
    sr_experiment_clear(&experiment);
}

// Stopped at every 23rd chance until it is through: the same bits as without a stop.
static void test_interrupt(void **state) {
    sr_experiment experiment;
    const sr_run_options options = {.threads = 2, .checkpoint_every = 60};
    sr_run_summary summary;
    load(SMOKE, &experiment);
    run_well(&experiment, scratch_path(state, "whole"), &options, &summary);
    int stops = 0;
    sr_status status;
    do {
        watcher w = {.stops_left = 23};
        status = run(&experiment, scratch_path(state, "parts"), &options, &w, &summary);
        assert_true(status == SR_OK || status == SR_ERROR_INTERRUPTED);
        assert_int_equal(summary.failed, 0);
    } while (status != SR_OK && ++stops < 100);
    assert_in_range(stops, 8, 50);
    assert_int_equal(summary.done + summary.already_done, 4);
    assert_same_results(&experiment, scratch_path(state, "whole"), scratch_path(state, "parts"));
    sr_experiment_clear(&experiment);
}

#define GROUP(name, dataset, more)                                                                 \
    "  - {name: " name ", dataset: " dataset ", model: 'mlp:dim=2,widths=8', iterations: 5, "      \
    "batch: 16, samples: 100, dynamics: {steps: 2}" more "}\n"

// A diverged cell is stored with its reason and kept; a failed one is not stored and tried again.
static void test_divergence_and_failure(void **state) {
    sr_experiment experiment;
    const sr_run_options options = {.threads = 1, .checkpoint_every = 60};
    sr_run_summary summary;
    sr_record *records;
    size_t count;
    char text[2000];
    snprintf(
        text, sizeof text,
        "name: t\ngroups:\n" GROUP("wild", "rings", ", training: {rate: 1000, gap_bound: 1e-3}")
            GROUP("gone", "%s/missing.npy", "") GROUP("good", "rings", ""),
        (const char *)*state);
    load(scratch_write(state, "mixed.yaml", text), &experiment);
    const char *folder = scratch_path(state, "results");
    watcher w = {.stops_left = -1};
    assert_int_equal(run(&experiment, folder, &options, &w, &summary), SR_OK);
    assert_int_equal(summary.total, 3);
    assert_int_equal(summary.diverged, 1);
    assert_int_equal(summary.failed, 1);
    assert_int_equal(summary.done, 1);
    assert_int_equal(w.warnings, 2);
    assert_true(fabs(w.at - w.total) < 1e-9);
    read_records(&experiment, folder, &records, &count);
    assert_int_equal(count, 2);
    assert_string_equal(records[0].cell.group, "wild");
    assert_int_equal(records[0].state, SR_CELL_DIVERGED);
    assert_true(*records[0].message);
    assert_true(isnan(sr_record_metric(&records[0], "kl")));
    assert_string_equal(records[1].cell.group, "good");
    assert_int_equal(records[1].state, SR_CELL_DONE);
    sr_records_destroy(records, count);
    memset(&w, 0, sizeof w);
    w.stops_left = -1;
    assert_int_equal(run(&experiment, folder, &options, &w, &summary), SR_OK);
    assert_int_equal(summary.already_done, 2);
    assert_int_equal(summary.failed, 1);
    assert_non_null(strstr(w.last, "missing.npy"));
    sr_experiment_clear(&experiment);
}

// Two groups with one cell in common: it is run once, also with --fresh.
static void test_common_cell(void **state) {
    sr_experiment experiment;
    sr_run_options options = {.threads = 1, .fresh = true};
    sr_run_summary summary;
    load(scratch_write(state, "common.yaml",
                       "name: t\ngroups:\n" GROUP("a", "rings", "") GROUP("b", "rings", "")),
         &experiment);
    run_well(&experiment, *state, &options, &summary);
    assert_int_equal(summary.total, 2);
    assert_int_equal(summary.done, 1);
    assert_int_equal(summary.already_done, 1);
    sr_record *records;
    size_t count;
    read_records(&experiment, *state, &records, &count);
    assert_int_equal(count, 2);
    assert_string_equal(records[1].cell.group, "b");
    sr_records_destroy(records, count);
    sr_experiment_clear(&experiment);
}

// Small images from a .npy file: judged by pixels, with a warning; a grid of samples as PNG.
static void test_images(void **state) {
    enum { COUNT = 200, SIDE = 12 };
    sr_experiment experiment;
    const sr_run_options options = {.threads = 2, .checkpoint_every = 60};
    sr_run_summary summary;
    static uint8_t pixels[COUNT][SIDE][SIDE];
    for (int i = 0; i < COUNT; i++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                pixels[i][y][x] = (uint8_t)((x + i) % SIDE < 6 ? 250 : 5);
    const sr_array array = {
        .dtype = SR_U8, .rank = 3, .shape = {COUNT, SIDE, SIDE}, .data = pixels};
    assert_int_equal(sr_npy_save(scratch_path(state, "bars.npy"), &array), SR_OK);
    char text[2000];
    snprintf(text, sizeof text,
             "name: t\ngroups:\n  - {name: bars, dataset: %s/bars.npy, model: "
             "'convnet:channels=1,size=12,nf=2,activation=silu', iterations: 3, batch: 8, samples: "
             "70, dynamics: {steps: 2, noise: 0.01, start: [uniform, data, persistent]}}\n",
             (const char *)*state);
    load(scratch_write(state, "bars.yaml", text), &experiment);
    watcher w = {.stops_left = -1};
    if (run(&experiment, scratch_path(state, "r"), &options, &w, &summary) != SR_OK)
        fail_msg("%s", sr_error_message());
    if (summary.done != 3)
        fail_msg("%s", w.last);
    assert_int_equal(w.warnings, 1); // no classifier, said once
    sr_record *records;
    size_t count;
    read_records(&experiment, scratch_path(state, "r"), &records, &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        char path[600];
        assert_true(sr_record_metric(&records[i], "sliced_w2") > 0);
        assert_true(isfinite(sr_record_metric(&records[i], "mmd2_rbf")));
        assert_true(isnan(sr_record_metric(&records[i], "frechet")));
        cell_file(scratch_path(state, "r"), &records[i].cell, "samples.png", path);
        assert_true(sr_file_exists(path));
        sr_array samples;
        cell_file(scratch_path(state, "r"), &records[i].cell, "samples.npy", path);
        assert_int_equal(sr_npy_load(path, &samples), SR_OK);
        assert_int_equal(samples.rank, 4);
        assert_int_equal(samples.shape[0], 70);
        assert_int_equal(samples.shape[3], SIDE);
        sr_array_clear(&samples);
    }
    sr_records_destroy(records, count);
    sr_experiment_clear(&experiment);
}

static void test_refusals(void **state) {
    sr_experiment experiment;
    sr_run_options options = {.threads = 1, .filter = "K=999"};
    sr_run_summary summary;
    watcher w = {.stops_left = -1};
    load(SMOKE, &experiment);
    assert_int_equal(run(&experiment, *state, &options, &w, &summary), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "'K=999'"));
    options.filter = NULL;
    const int lock = open(scratch_path(state, "run.lock"), O_RDWR | O_CREAT, 0666);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(run(&experiment, *state, &options, &w, &summary), SR_ERROR_IO);
    assert_non_null(strstr(sr_error_message(), "another shortrun run"));
    close(lock);
    w.stops_left = 0;
    assert_int_equal(run(&experiment, *state, &options, &w, &summary), SR_ERROR_INTERRUPTED);
    assert_int_equal(summary.done, 0);
    sr_experiment_clear(&experiment);
}

// A checkpoint that is damaged costs its cell, with a message that names the file.
static void test_damaged_checkpoint(void **state) {
    sr_experiment experiment;
    const sr_run_options options = {.threads = 1};
    sr_run_summary summary;
    char path[600];
    load(scratch_write(state, "t.yaml", "name: t\ngroups:\n" GROUP("a", "rings", "")), &experiment);
    cell_file(*state, experiment.cells, "", path);
    assert_int_equal(sr_folder_make(path), SR_OK);
    cell_file(*state, experiment.cells, "checkpoint.safetensors", path);
    assert_int_equal(sr_file_write(path, "garbage", 7), SR_OK);
    cell_file(*state, experiment.cells, "curve.bin", path);
    char noise[200];
    memset(noise, 0xa5, sizeof noise);
    assert_int_equal(sr_file_write(path, noise, sizeof noise), SR_OK);
    watcher w = {.stops_left = -1};
    assert_int_equal(run(&experiment, *state, &options, &w, &summary), SR_OK);
    assert_int_equal(summary.failed, 1);
    assert_non_null(strstr(w.last, "checkpoint.safetensors"));
    const sr_run_options fresh = {.threads = 1, .fresh = true};
    run_well(&experiment, *state, &fresh, &summary);
    assert_int_equal(summary.done, 1);
    sr_experiment_clear(&experiment);
}

static void test_estimate(void **state) {
    sr_experiment experiment;
    const sr_run_options options = {.threads = 1};
    double seconds[2], bytes[2];
    load(scratch_write(state, "t.yaml",
                       "name: t\ngroups:\n  - {name: a, dataset: rings, model: "
                       "'mlp:dim=2,widths=64x64', iterations: 100, dynamics: {steps: [2, 200]}}\n"),
         &experiment);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sr_cell_estimate(&experiment.cells[i], &options, &seconds[i], &bytes[i]),
                         SR_OK);
        assert_true(seconds[i] > 0 && isfinite(seconds[i]));
        assert_true(bytes[i] > 1e6 && bytes[i] < 1e9);
    }
    assert_true(seconds[1] > 5 * seconds[0]); // 100 times the steps
    sr_experiment_clear(&experiment);
}

// Settings come back from the database, and rates count the gradients of a step: rate x time is
// their number.
static void test_integrators(void **state) {
    const bool adaptive = sr_integrator_available(SR_INTEGRATOR_ADAPTIVE);
    sr_experiment experiment;
    const sr_run_options options = {.threads = 1};
    sr_run_summary summary;
    sr_record *records;
    size_t count;
    char folder[600], text[600];
    snprintf(text, sizeof text,
             "name: t\ngroups:\n  - {name: a, dataset: rings, model: 'mlp:dim=2,widths=8x8', "
             "iterations: 8, batch: 32, samples: 64, training: {curvature_cap: 0.5, "
             "curvature_every: 3}, dynamics: {steps: 3, tolerance: 1e-3, integrator: [euler, heun, "
             "rk4%s]}}\n",
             adaptive ? ", adaptive" : "");
    load(scratch_write(state, "t.yaml", text), &experiment);
    snprintf(folder, sizeof folder, "%s/results", (const char *)*state);
    run_well(&experiment, folder, &options, &summary);
    assert_int_equal(summary.done, experiment.cell_count);
    read_records(&experiment, folder, &records, &count);
    assert_int_equal(count, adaptive ? 4 : 3);
    const double one =
        sr_record_timing(&records[0], "gflops") * sr_record_timing(&records[0], "step_ms");
    for (size_t i = 0; i < count; i++) {
        const sr_dynamics *dynamics = &records[i].cell.train.dynamics;
        const size_t gradients = sr_integrator_gradients(dynamics->integrator);
        const double rate = sr_record_timing(&records[i], "gflops");
        assert_int_equal(dynamics->integrator, i);
        assert_true(records[i].cell.train.curvature_cap == 0.5);
        assert_int_equal(records[i].cell.train.curvature_every, 3);
        assert_true(sr_record_timing(&records[i], "step_ms") > 0);
        if (gradients == 0)
            assert_true(isnan(rate) && dynamics->tolerance == 1e-3);
        else
            assert_true(fabs(rate * sr_record_timing(&records[i], "step_ms") / one -
                             (double)gradients) < 1e-9);
    }
    sr_records_destroy(records, count);
    sr_experiment_clear(&experiment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_smoke, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_interrupt, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_divergence_and_failure, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_common_cell, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_images, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_refusals, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_damaged_checkpoint, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_integrators, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_estimate, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
