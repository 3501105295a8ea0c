// Cells that are asked for densities: what they leave in records and files, the same bits for any
// number of threads, what is refused when the file is read.
#include "scratch.h"

#include <shortrun/experiment.h>

#include <math.h>

static void load(void **state, const char *settings, sr_experiment *experiment) {
    char text[4096];
    snprintf(text, sizeof text,
             "name: t\n"
             "groups:\n"
             "  - name: a\n"
             "    dataset: eight_gaussians\n"
             "    model: mlp:dim=2,widths=16x16,activation=silu\n"
             "    iterations: 40\n"
             "    batch: 64\n"
             "    samples: 200\n"
             "%s",
             settings);
    if (sr_experiment_load(scratch_write(state, "density.yaml", text), experiment) != SR_OK)
        fail_msg("%s\n%s", sr_error_message(), text);
}

static void run(const sr_experiment *experiment, const char *folder, unsigned threads,
                sr_record **records) {
    const sr_run_options options = {.threads = threads};
    sr_run_summary summary;
    sr_results *results;
    size_t count;
    if (sr_results_open(folder, true, &results) != SR_OK ||
        sr_experiment_run(experiment, results, &options, NULL, &summary) != SR_OK ||
        sr_results_read(results, experiment, records, &count) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_int_equal(summary.done, experiment->cell_count);
    sr_results_close(results);
}

static const char small[] =
    "    dynamics: {start: gaussian, steps: 6, step_size: 0.03, noise: [0, 0.1]}\n"
    "    density: {points: 100, grid: 40, long_chains: 40, long_steps: 400, beyond: 4}\n";

static const char *const names[] = {
    "not_inverted",      "ll_induced",       "ll_run",       "ll_gibbs",          "ll_true",
    "ll_gain",           "run_gain",         "tv_induced",   "tv_gibbs",          "mass_induced",
    "kl_density_run",    "kl_density_gibbs", "log_z",        "gibbs_edge",        "beyond_one",
    "s_lambda_smallest", "s_lambda_largest", "long_kl_true", "long_high_quality", "long_r_hat",
    "beyond_kl_true"};
enum { NAMES = sizeof names / sizeof *names };

static void test_records_and_files(void **state) {
    static const struct {
        const char *name;
        size_t rank, shape[3];
    } files[] = {{"induced.npy", 2, {40, 40}},       {"gibbs.npy", 2, {40, 40}},
                 {"density_path.npy", 2, {7, 3}},    {"eigenvalues.npy", 2, {6, 4}},
                 {"beyond.npy", 2, {5, 5}},          {"long_run.npy", 2, {200, 2}},
                 {"trajectories.npy", 3, {24, 7, 2}}};
    sr_experiment experiment;
    sr_record *records[2];
    char path[600];
    load(state, small, &experiment);
    assert_int_equal(experiment.cell_count, 2);
    run(&experiment, scratch_path(state, "one"), 1, &records[0]);
    run(&experiment, scratch_path(state, "two"), 3, &records[1]);
    for (size_t c = 0; c < 2; c++) {
        for (size_t i = 0; i < NAMES; i++) {
            const double value = sr_record_metric(&records[0][c], names[i]);
            if (!isfinite(value))
                fail_msg("%s is missing", names[i]);
            if (value != sr_record_metric(&records[1][c], names[i]))
                fail_msg("%s depends on threads", names[i]);
        }
        const sr_record *r = &records[0][c];
        // what must hold between them, row by row
        const double gain = sr_record_metric(r, "ll_induced") - sr_record_metric(r, "ll_gibbs");
        assert_true(fabs(sr_record_metric(r, "ll_gain") - gain) < 1e-9);
        const double kl = sr_record_metric(r, "ll_true") - sr_record_metric(r, "ll_run");
        assert_true(fabs(sr_record_metric(r, "kl_density_run") - kl) < 1e-9);
        assert_true(fabs(sr_record_metric(r, "mass_induced") - 1) < 0.1);
        const bool noisy = r->cell.train.dynamics.noise > 0;
        assert_int_equal(isfinite(sr_record_metric(r, "ll_gibbs_t")), noisy);
        assert_int_equal(sr_record_metric(r, "ll_run") == sr_record_metric(r, "ll_induced"),
                         !noisy);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        sr_array array;
        snprintf(path, sizeof path, "%s/cells/%s/%s", scratch_path(state, "one"),
                 experiment.cells[1].hash, files[i].name);
        if (sr_npy_load(path, &array) != SR_OK)
            fail_msg("%s", sr_error_message());
        assert_int_equal(array.rank, files[i].rank);
        for (size_t k = 0; k < files[i].rank; k++)
            assert_int_equal(array.shape[k], files[i].shape[k]);
        sr_array_clear(&array);
    }
    for (size_t i = 0; i < 2; i++)
        sr_records_destroy(records[i], 2);
    sr_experiment_clear(&experiment);
}

// A cell of exact maximum likelihood has no sampler in training, and a density all the same.
static void test_exact(void **state) {
    sr_experiment experiment;
    sr_record *records;
    load(state,
         "    dynamics: {start: gaussian, steps: 4, step_size: 0.03}\n"
         "    training: {exact_grid: 24, rate: 2e-2}\n"
         "    density: {points: 100, grid: 40, long_chains: 0, beyond: 1}\n",
         &experiment);
    run(&experiment, scratch_path(state, "exact"), 2, &records);
    // the energy learns the data, not the sampler: at the start exp(-E)/Z is flat, -log 36
    if (!(sr_record_metric(&records[0], "ll_gibbs") > -log(36.0) + 0.2))
        fail_msg("log-likelihood %g", sr_record_metric(&records[0], "ll_gibbs"));
    assert_true(isnan(sr_record_metric(&records[0], "long_r_hat")));
    sr_records_destroy(records, 1);
    sr_experiment_clear(&experiment);
}

static void refused(void **state, const char *settings, const char *why) {
    char text[4096];
    sr_experiment experiment;
    snprintf(text, sizeof text, "name: t\ngroups:\n  - name: a\n    dataset: eight_gaussians\n%s",
             settings);
    assert_int_not_equal(sr_experiment_load(scratch_write(state, "bad.yaml", text), &experiment),
                         SR_OK);
    if (!strstr(sr_error_message(), why) || !strstr(sr_error_message(), "bad.yaml:"))
        fail_msg("'%s' does not say '%s' and where", sr_error_message(), why);
}

static void test_refused(void **state) {
    refused(state, "    model: mlp:dim=2,widths=8,activation=relu\n    density: {points: 10}\n",
            "relu has no curvature");
    refused(state,
            "    model: mlp:dim=2,widths=8,activation=silu\n    dynamics: {integrator: rk4}\n"
            "    density: {points: 10, method: trace}\n",
            "in the plane it is that of Euler steps");
    refused(state,
            "    model: mlp:dim=2,widths=8,activation=silu\n    density: {points: 10, long_steps: "
            "100}\n",
            "from 200");
    refused(state,
            "    model: mlp:dim=2,widths=8,activation=silu\n    dynamics: {start: data}\n"
            "    density: {points: 10}\n",
            "start at data rows");
    refused(state,
            "    model: mlp:dim=2,widths=8,activation=silu\n    dynamics: {clamp: 1}\n"
            "    density: {points: 10}\n",
            "clamp");
    refused(state,
            "    model: mlp:dim=2,widths=8,activation=silu\n    density: {points: 10, grd: 40}\n",
            "grid");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_and_files, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_exact, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_refused, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
