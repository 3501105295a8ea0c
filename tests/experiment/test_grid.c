// The grid: counts, order, what makes two cells the same, labels, filters.
#include "scratch.h"

#include <shortrun/experiment.h>

static void load(void **state, const char *settings, sr_experiment *experiment) {
    char text[4096];
    snprintf(text, sizeof text,
             "name: t\n"
             "groups:\n"
             "  - name: a\n"
             "    dataset: eight_gaussians\n"
             "    model: mlp:dim=2,widths=8,activation=silu\n"
             "%s",
             settings);
    if (sr_experiment_load(scratch_write(state, "grid.yaml", text), experiment) != SR_OK)
        fail_msg("%s\n%s", sr_error_message(), text);
}

// K changes slower than the seed, the noise slower than K, whatever the order in the file.
static void test_order(void **state) {
    sr_experiment experiment;
    load(state,
         "    seeds: [7, 3]\n"
         "    dynamics: {steps: [5, 20, 10], noise: [0, 0.1]}\n",
         &experiment);
    assert_int_equal(experiment.cell_count, 12);
    const double noise[] = {0, 0.1};
    const size_t steps[] = {5, 20, 10}, seeds[] = {7, 3};
    for (size_t i = 0; i < 12; i++) {
        const sr_train_options *train = &experiment.cells[i].train;
        assert_true(train->dynamics.noise == noise[i / 6]);
        assert_int_equal(train->dynamics.steps, steps[i / 2 % 3]);
        assert_int_equal(train->seed, seeds[i % 2]);
    }
    sr_experiment_clear(&experiment);
}

// Fixed and matched data noise are one cell where they come to the same.
static void test_same_cells(void **state) {
    sr_experiment experiment;
    load(state,
         "    dynamics: {noise: [0, 0.03, 0.1]}\n"
         "    training: {data_noise: 0.03, data_noise_mode: [fixed, matched]}\n",
         &experiment);
    assert_int_equal(experiment.cell_count, 4); // 0, 0.03, 0.1 fixed; 0.1 matched
    assert_true(experiment.cells[2].train.data_noise == 0.03);
    assert_true(experiment.cells[3].train.data_noise == 0.1);
    assert_true(experiment.cells[3].train.dynamics.noise == 0.1);
    assert_int_equal(experiment.cells[3].data_noise_mode, SR_DATA_NOISE_MATCHED);
    sr_experiment_clear(&experiment);
    load(state, "    dynamics: {noise: 0, noise_last: [true, false]}\n", &experiment);
    assert_int_equal(experiment.cell_count, 1);
    sr_experiment_clear(&experiment);
    load(state, "    dynamics: {start: gaussian, restart_rate: [0, 0.5]}\n", &experiment);
    assert_int_equal(experiment.cell_count, 1);
    sr_experiment_clear(&experiment);
    load(state, "    training: {optimiser: sgd, beta2: [0.9, 0.99]}\n", &experiment);
    assert_int_equal(experiment.cell_count, 1);
    sr_experiment_clear(&experiment);
    load(state, "    sample_steps: [0, 5]\n    dynamics: {steps: 5}\n", &experiment);
    assert_int_equal(experiment.cell_count, 1);
    sr_experiment_clear(&experiment);
}

// Persistent chains, noise, Adam: everything decides. Each key in turn takes another value.
static const char *const variants[] = {
    "    data_limit: 10\n",
    "    iterations: 10\n",
    "    batch: 10\n",
    "    samples: 100\n",
    "    sample_steps: 9\n",
    "    seeds: 10\n",
    "    dynamics: {%s, steps: 11}\n",
    "    dynamics: {%s, step_size: 0.01}\n",
    "    dynamics: {%s, clamp: 1}\n",
    "    dynamics: {%s, noise_last: false}\n",
    "    dynamics: {%s, restart_from: data}\n",
    "    dynamics: {%s, restart_rate: 0.5}\n",
    "    dynamics: {start: uniform, noise: 0.1}\n",
    "    dynamics: {integrator: heun}\n",
    "    dynamics: {integrator: rk4}\n",
    "    density: {points: 100}\n",
    "    density: {points: 100, grid: 50}\n",
    "    density: {points: 100, method: trace}\n",
    "    dynamics: {start: persistent, noise: 0.2}\n",
    "    training: {engine: scalar}\n",
    "    training: {tile: 10}\n",
    "    training: {optimiser: sgd}\n",
    "    training: {rate: 0.01}\n",
    "    training: {beta1: 0.25}\n",
    "    training: {beta2: 0.25}\n",
    "    training: {epsilon: 0.25}\n",
    "    training: {decay_from: 0.25}\n",
    "    training: {decay_to: 0.25}\n",
    "    training: {average: 0.25}\n",
    "    training: {energy_l2: 0.25}\n",
    "    training: {clip_norm: 0.25}\n",
    "    training: {spectral_iterations: 10}\n",
    "    training: {data_noise: 0.25}\n",
    "    training: {data_noise_mode: matched}\n",
    "    training: {gap_bound: 10}\n",
    "    training: {curvature_cap: 0.5}\n",
    "    training: {curvature_cap: 0.5, curvature_every: 3}\n",
    "    training: {exact_grid: 40}\n",
    "    training: {exact_grid: 40, exact_window: 3}\n",
};
// An integrator decides; what goes by the name of a cell says so.
static void test_integrators(void **state) {
    char label[200];
    bool match;
    sr_experiment experiment;
    load(state, "    dynamics: {integrator: [euler, heun, rk4]}\n", &experiment);
    assert_int_equal(experiment.cell_count, 3);
    sr_cell_label(&experiment.cells[0], label, sizeof label);
    assert_null(strstr(label, "euler"));
    sr_cell_label(&experiment.cells[2], label, sizeof label);
    assert_non_null(strstr(label, " rk4 K="));
    assert_int_equal(sr_cell_matches(&experiment.cells[2], "integrator=rk4", &match), SR_OK);
    assert_true(match);
    assert_string_not_equal(experiment.cells[1].hash, experiment.cells[2].hash);
    sr_experiment_clear(&experiment);
    if (!sr_integrator_available(SR_INTEGRATOR_ADAPTIVE))
        return;
    load(state, "    dynamics: {integrator: adaptive, tolerance: [1e-3, 1e-4]}\n", &experiment);
    assert_int_equal(experiment.cell_count, 2);
    sr_experiment_clear(&experiment);
}

#define BASE "start: persistent, noise: 0.1"

static void test_hash(void **state) {
    enum { COUNT = sizeof variants / sizeof *variants };
    char hashes[COUNT + 1][33];
    sr_experiment experiment;
    load(state, "    dynamics: {" BASE "}\n", &experiment);
    strcpy(hashes[COUNT], experiment.cells[0].hash);
    assert_int_equal(strlen(hashes[COUNT]), 32);
    sr_experiment_clear(&experiment);
    for (size_t i = 0; i < COUNT; i++) {
        char text[512], *at = strstr(variants[i], "%s");
        if (at)
            snprintf(text, sizeof text, "%.*s" BASE "%s", (int)(at - variants[i]), variants[i],
                     at + 2);
        else
            snprintf(text, sizeof text, "%s%s", variants[i],
                     strstr(variants[i], "dynamics:") ? "" : "    dynamics: {" BASE "}\n");
        load(state, text, &experiment);
        strcpy(hashes[i], experiment.cells[0].hash);
        sr_experiment_clear(&experiment);
    }
    for (size_t i = 0; i <= COUNT; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(hashes[i], hashes[k]) == 0)
                fail_msg("same hash: %s and %s", variants[k], i < COUNT ? variants[i] : "base");
}

// The way in which the same settings are written does not matter.
// Keys that came later leave older cells as they are: this is what the first version called this
// one.
static void test_hash_stays(void **state) {
    sr_experiment experiment;
    load(state, "    iterations: 10\n    samples: 100\n", &experiment);
    assert_string_equal(experiment.cells[0].hash, "c6b2f56765c11564cdedeab6f5e7bc21");
    sr_experiment_clear(&experiment);
    load(state, "    iterations: 10\n    samples: 100\n    density: {grid: [50, 60]}\n",
         &experiment); // no points: no densities, and nothing that they hang on
    assert_int_equal(experiment.cell_count, 1);
    assert_string_equal(experiment.cells[0].hash, "c6b2f56765c11564cdedeab6f5e7bc21");
    sr_experiment_clear(&experiment);
    load(state,
         "    iterations: 10\n    samples: 100\n"
         "    dynamics: {integrator: euler, tolerance: [1e-3, 1e-4]}\n"
         "    training: {curvature_every: [2, 3], exact_window: [2, 3]}\n",
         &experiment); // Euler knows no tolerance, a run without a cap does not look, one by
                       // samples has no window
    assert_int_equal(experiment.cell_count, 1);
    assert_string_equal(experiment.cells[0].hash, "c6b2f56765c11564cdedeab6f5e7bc21");
    sr_experiment_clear(&experiment);
}

static void test_hash_spelling(void **state) {
    sr_experiment a, b;
    load(state, "    iterations: 100\n    dynamics: {noise: 0.1, steps: 5}\n", &a);
    char text[1024];
    snprintf(text, sizeof text,
             "groups:\n- seeds: 1\n  name: other\n  dynamics:\n    steps: [5]\n    noise: 1.0e-1\n"
             "    step_size: 0.10\n  iterations: 100\n"
             "  model: 'mlp:activation=silu,widths=8,dim=2'\n  dataset: eight_gaussians\n"
             "  training: {data_noise_mode: fixed, data_noise: 0, engine: auto}\nname: u\n");
    if (sr_experiment_load(scratch_write(state, "b.yaml", text), &b) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_string_equal(a.cells[0].hash, b.cells[0].hash);
    sr_experiment_clear(&a);
    sr_experiment_clear(&b);
}

static size_t count_matches(const sr_experiment *experiment, const char *filter) {
    size_t count = 0;
    for (size_t i = 0; i < experiment->cell_count; i++) {
        bool matches;
        if (sr_cell_matches(&experiment->cells[i], filter, &matches) != SR_OK)
            fail_msg("%s: %s", filter ? filter : "", sr_error_message());
        count += matches;
    }
    return count;
}

static void test_filter(void **state) {
    sr_experiment experiment;
    bool matches;
    load(state,
         "    seeds: [1, 2, 3]\n"
         "    dynamics: {steps: [5, 10, 20], noise: [0, 0.1]}\n",
         &experiment);
    assert_int_equal(count_matches(&experiment, NULL), 18);
    assert_int_equal(count_matches(&experiment, ""), 18);
    assert_int_equal(count_matches(&experiment, "K=10"), 6);
    assert_int_equal(count_matches(&experiment, "steps=10"), 6);
    assert_int_equal(count_matches(&experiment, "K=5|20"), 12);
    assert_int_equal(count_matches(&experiment, "K=5|20,sigma=0.10,seed=2"), 2);
    assert_int_equal(count_matches(&experiment, "group=a,dataset=eight_gaussians"), 18);
    assert_int_equal(count_matches(&experiment, "group=b"), 0);
    assert_int_equal(count_matches(&experiment, "model=mlp"), 18);
    assert_int_equal(count_matches(&experiment, "engine=auto"), 18);
    assert_int_equal(count_matches(&experiment, "start=uniform"), 0);
    char by_hash[64];
    snprintf(by_hash, sizeof by_hash, "hash=%.8s", experiment.cells[4].hash);
    assert_int_equal(count_matches(&experiment, by_hash), 1);
    static const char *const wrong[][2] = {{"sgima=1", "did you mean sigma?"},
                                           {"K", "key=value"},
                                           {"K=", "key=value"},
                                           {"=3", "key=value"},
                                           {"K=x", "'x'"},
                                           {"K=5,", "key=value"},
                                           {"K=0", "from 1"},
                                           {"K=5|", "no value"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(sr_cell_matches(experiment.cells, wrong[i][0], &matches),
                         SR_ERROR_ARGUMENT);
        if (!strstr(sr_error_message(), wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], sr_error_message());
    }
    sr_experiment_clear(&experiment);
}

static void test_label(void **state) {
    char label[200];
    sr_cell cell = {
        .dataset = "fashion_mnist",
        .train = {.seed = 1, .data_noise = 0.03, .dynamics = {.steps = 20, .noise = 0.03}}};
    sr_cell_label(&cell, label, sizeof label);
    assert_string_equal(label, "fashion_mnist K=20 sigma=0.03 data_noise=0.03 seed=1");
    strcpy(cell.dataset, "/some/where/shapes.npy");
    sr_cell_label(&cell, label, sizeof label);
    assert_int_equal(strncmp(label, "shapes.npy K=20", 15), 0);
}

// Lists may hold data sets: each has the defaults of its kind.
static void test_datasets(void **state) {
    sr_experiment experiment;
    const char *path = scratch_write(state, "sets.yaml",
                                     "name: t\n"
                                     "groups:\n"
                                     "  - name: a\n"
                                     "    dataset: [rings, two_moons]\n"
                                     "    model: ['mlp:dim=2,widths=8', 'mlp:dim=2,widths=16x16']\n"
                                     "    seeds: [1, 2]\n");
    if (sr_experiment_load(path, &experiment) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_int_equal(experiment.cell_count, 8);
    assert_string_equal(experiment.cells[3].dataset, "rings");
    assert_string_equal(experiment.cells[3].model, "mlp:dim=2,widths=16x16,activation=silu");
    assert_string_equal(experiment.cells[4].dataset, "two_moons");
    sr_experiment_clear(&experiment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_same_cells, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_hash, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_hash_stays, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_integrators, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_hash_spelling, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_filter, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_datasets, scratch_make, scratch_remove),
        cmocka_unit_test(test_label),
    };
    return cmocka_run_group_tests_name("grid", tests, NULL, NULL);
}
