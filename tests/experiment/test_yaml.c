// Experiment files: what is refused and how the message reads; what good files give; the
// documentation.
#include "scratch.h"

#include <shortrun/experiment.h>

// The beginning of a good file, 4 lines; a case continues it in line 5.
#define HEAD                                                                                       \
    "name: t\n"                                                                                    \
    "groups:\n"                                                                                    \
    "  - name: a\n"                                                                                \
    "    dataset: eight_gaussians\n"
#define MODEL "    model: mlp:dim=2,widths=8,activation=silu\n" // line 5
#define GOOD HEAD MODEL

typedef struct bad {
    const char *text;
    size_t line;         // that the message names
    const char *says[4]; // that it holds
} bad;

static const bad cases[] = {
    // keys
    {GOOD "    dynamics: {stepp: 5}\n",
     6,
     {"'stepp'", "did you mean steps?", "step_size", "noise"}},
    {GOOD "    dynamics:\n      steps: 5\n      qqqqqq: 5\n", 8, {"'qqqqqq'", "Allowed here"}},
    {GOOD "    itertions: 5\n", 6, {"'itertions' in a group", "did you mean iterations?"}},
    {GOOD "    dynamics: {K: 5}\n", 6, {"'K' in dynamics", "did you mean steps?"}},
    {GOOD "    rate: 0.1\n", 6, {"'rate'", "training"}},
    {GOOD "    dynamics: {seeds: 1}\n", 6, {"'seeds'", "the group itself"}},
    {"naem: x\n", 1, {"'naem' in the file", "did you mean name?", "title, groups"}},
    {GOOD "    batch: 4\n    batch: 5\n", 7, {"'batch' stands twice", "line 6"}},
    {GOOD "    [a]: 4\n", 6, {"not a plain text"}},
    {GOOD "    dynamics: 3\n", 6, {"dynamics is a single value", "section"}},
    // values
    {GOOD "    dynamics: {steps: 0}\n", 6, {"steps", "'0'", "whole number from 1 to"}},
    {GOOD "    dynamics: {steps: 2.5}\n", 6, {"steps", "'2.5'", "whole number"}},
    {GOOD "    dynamics: {steps: -3}\n", 6, {"steps", "'-3'"}},
    {GOOD "    dynamics: {noise: -0.1}\n", 6, {"noise", "'-0.1'", "from 0"}},
    {GOOD "    dynamics: {noise: .nan}\n", 6, {"noise", "'.nan'"}},
    {GOOD "    dynamics: {noise: nan}\n", 6, {"noise", "'nan'"}},
    {GOOD "    dynamics: {noise: 1e999}\n", 6, {"noise", "'1e999'"}},
    {GOOD "    dynamics: {noise: 0.1abc}\n", 6, {"noise", "'0.1abc'"}},
    {GOOD "    dynamics: {step_size: 0}\n", 6, {"step_size", "above 0"}},
    {GOOD "    dynamics: {step_size: 0x1p3}\n", 6, {"step_size"}},
    {GOOD "    dynamics: {noise_last: maybe}\n", 6, {"noise_last", "true or false"}},
    {GOOD "    dynamics: {start: unifrom}\n",
     6,
     {"start", "uniform, gaussian, data or persistent"}},
    {GOOD "    dynamics: {restart_from: persistent}\n", 6, {"restart_from", "uniform"}},
    {GOOD "    training: {beta1: 1}\n", 6, {"beta1", "below 1"}},
    {GOOD "    training: {optimiser: lion}\n", 6, {"optimiser", "adam or sgd"}},
    {GOOD "    training:\n      rate: [0.1,\n             -1]\n", 8, {"rate", "'-1'"}},
    {GOOD "    training: {rate: }\n", 6, {"rate has no value", "above 0"}},
    {GOOD "    batch: 99999999999999999999999\n", 6, {"batch"}},
    {GOOD "    batch: {a: 1}\n", 6, {"batch", "a section of keys stands where a value"}},
    {GOOD "    batch: [[1]]\n", 6, {"batch", "a list stands where a value"}},
    {GOOD "    seeds: []\n", 6, {"seeds", "list is empty"}},
    {GOOD "    seeds: [1, 2, 1]\n", 6, {"seeds", "1 stands twice"}},
    {GOOD "    samples: 3\n", 6, {"samples", "'3'"}},
    {HEAD "    model: mpl:dim=2,widths=8\n", 5, {"mpl", "mlp"}},
    {HEAD "    model: mlp:dim=2,widths=8,activation=sillu\n", 5, {"sillu"}},
    {HEAD "    model: classifier:channels=1,size=28,nf=4,features=8,classes=10,activation=relu\n",
     5,
     {"10 outputs"}},
    {HEAD "    model: mlp:dim=3,widths=8,activation=silu\n", 3, {"3 numbers", "has 2"}},
    {"name: t\ngroups:\n  - name: a\n    dataset: eight_gausians\n    model: mlp:dim=2,widths=8\n",
     4,
     {"'eight_gausians'", "did you mean eight_gaussians?", "fashion_mnist"}},
    // what is missing
    {HEAD, 3, {"no 'model'"}},
    {"name: t\ngroups:\n  - name: a\n    model: mlp:dim=2,widths=8\n", 3, {"no 'dataset'"}},
    {"name: t\ngroups:\n  - dataset: rings\n    model: mlp:dim=2,widths=8\n", 3, {"no 'name'"}},
    {"name: t\n", 1, {"no 'groups'"}},
    {"name: t\ngroups: []\n", 2, {"at least one group"}},
    {"name: t\ngroups: 3\n", 2, {"list of at least one group"}},
    {"name: t\ngroups:\n  - 3\n", 3, {"a group is a single value"}},
    {"groups:\n  - name: a\n    dataset: rings\n    model: mlp:dim=2,widths=8\n", 1, {"no 'name'"}},
    {GOOD "  - name: a\n    dataset: rings\n    model: mlp:dim=2,widths=8\n",
     6,
     {"second group", "'a'"}},
    {"name: ../x\n", 1, {"'../x'", "letters"}},
    // not YAML, or not such YAML
    {"", 1, {"empty"}},
    {"# only a comment\n", 1, {"empty"}},
    {"just text\n", 1, {"a single value"}},
    {"- 1\n- 2\n", 1, {"a list"}},
    {GOOD "    seeds: [1, 2\n", 7, {"not valid YAML"}},
    {"name: t\n  title: x\n", 2, {"not valid YAML"}},
    {"name: t\ntitle: \x01\n", 2, {"not valid YAML", "control characters"}},
    {"name: t\ntitle: \xff\xfe\n", 2, {"not valid YAML"}},
    {GOOD "---\nname: u\n", 6, {"second document"}},
    {GOOD "    batch: *nowhere\n", 6, {"not valid YAML", "undefined alias"}},
};

static void test_bad_files(void **state) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = scratch_write(state, "bad.yaml", cases[i].text);
        sr_experiment experiment;
        char place[600];
        snprintf(place, sizeof place, "%s:%zu: ", path, cases[i].line);
        const sr_status status = sr_experiment_load(path, &experiment);
        const char *message = sr_error_message();
        if (status == SR_OK || strncmp(message, place, strlen(place)) != 0 || strchr(message, '\n'))
            fail_msg("case %zu, expected %s..., got status %d: %s\n%s", i, place, status, message,
                     cases[i].text);
        for (size_t k = 0; k < 4 && cases[i].says[k]; k++)
            if (!strstr(message, cases[i].says[k]))
                fail_msg("case %zu: \"%s\" is not in: %s", i, cases[i].says[k], message);
        assert_null(experiment.cells);
        assert_int_equal(experiment.cell_count, 0);
    }
}

static void test_bad_paths(void **state) {
    sr_experiment experiment;
    assert_int_not_equal(sr_experiment_load(scratch_path(state, "none.yaml"), &experiment), SR_OK);
    assert_non_null(strstr(sr_error_message(), "none.yaml"));
    assert_int_not_equal(sr_experiment_load(*state, &experiment), SR_OK);
    char *large = malloc((2 << 20) + 1);
    memset(large, '#', 2 << 20);
    large[2 << 20] = '\0';
    const char *path = scratch_write(state, "large.yaml", large);
    free(large);
    assert_int_not_equal(sr_experiment_load(path, &experiment), SR_OK);
    assert_non_null(strstr(sr_error_message(), "large.yaml"));
}

// 500 x 500 cells are too many, and so are two groups of 60000.
static void test_huge_grid(void **state) {
    sr_text text = {0};
    sr_text_append(&text, GOOD "    seeds: [");
    for (int i = 0; i < 500; i++)
        sr_text_append(&text, "%s%d", i ? "," : "", i);
    sr_text_append(&text, "]\n    dynamics:\n      steps: [");
    for (int i = 0; i < 500; i++)
        sr_text_append(&text, "%s%d", i ? "," : "", i + 1);
    sr_text_append(&text, "]\n");
    sr_experiment experiment;
    const char *path = scratch_write(state, "huge.yaml", sr_text_string(&text));
    sr_text_clear(&text);
    assert_int_equal(sr_experiment_load(path, &experiment), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), ":3: group a brings the grid to more than 100000"));
}

// Aliases share a section; each group still has its own grid.
static void test_aliases(void **state) {
    sr_experiment experiment;
    const char *path = scratch_write(state, "alias.yaml",
                                     "name: t\n"
                                     "groups:\n"
                                     "  - name: a\n"
                                     "    dataset: rings\n"
                                     "    model: mlp:dim=2,widths=8\n"
                                     "    dynamics: &d {steps: [1, 2]}\n"
                                     "  - name: b\n"
                                     "    dataset: two_moons\n"
                                     "    model: mlp:dim=2,widths=8\n"
                                     "    dynamics: *d\n");
    assert_int_equal(sr_experiment_load(path, &experiment), SR_OK);
    assert_int_equal(experiment.cell_count, 4);
    assert_string_equal(experiment.title, "t");
    assert_string_equal(experiment.cells[3].group, "b");
    assert_int_equal(experiment.cells[3].train.dynamics.steps, 2);
    sr_experiment_clear(&experiment);
}

// Every key can be set, and what was set is what is found.
static void test_all_keys(void **state) {
    sr_experiment experiment;
    const char *path = scratch_write(
        state, "all.yaml",
        "name: all\n"
        "title: 'All keys: \"each\"'\n"
        "groups:\n"
        "  - name: g-1\n"
        "    dataset: pinwheel\n"
        "    data_limit: 77\n"
        "    model: \"mlp:dim=2,widths=8x9,activation=elu\"\n"
        "    iterations: 11\n"
        "    batch: 12\n"
        "    samples: 130\n"
        "    sample_steps: 14\n"
        "    seeds: 9007199254740992\n"
        "    dynamics: {steps: 3, step_size: 0.25, noise: 1e-2, noise_last: false,\n"
        "               start: persistent, restart_from: data, restart_rate: 0.125, clamp: 3}\n"
        "    training: {engine: scalar, tile: 8, optimiser: adam, rate: 0.002, beta1: 0.5,\n"
        "               beta2: 0.75, epsilon: 1e-6, decay_from: 0.25, decay_to: 0.5,\n"
        "               average: 0.9, energy_l2: 0.1, clip_norm: 2, spectral_iterations: 3,\n"
        "               data_noise: 0.004, data_noise_mode: matched, gap_bound: 50}\n");
    if (sr_experiment_load(path, &experiment) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_int_equal(experiment.cell_count, 1);
    assert_string_equal(experiment.title, "All keys: \"each\"");
    const sr_cell *cell = experiment.cells;
    const sr_train_options *train = &cell->train;
    const sr_dynamics *dynamics = &train->dynamics;
    assert_string_equal(cell->group, "g-1");
    assert_string_equal(cell->dataset, "pinwheel");
    assert_string_equal(cell->model, "mlp:dim=2,widths=8x9,activation=elu");
    assert_int_equal(cell->data_limit, 77);
    assert_int_equal(train->iterations, 11);
    assert_int_equal(train->batch, 12);
    assert_int_equal(cell->samples, 130);
    assert_int_equal(cell->sample_steps, 14);
    assert_true(train->seed == 9007199254740992u);
    assert_int_equal(dynamics->steps, 3);
    assert_true(dynamics->step_size == 0.25 && dynamics->noise == 1e-2 && dynamics->clamp == 3);
    assert_false(dynamics->noise_last);
    assert_int_equal(dynamics->start, SR_START_PERSISTENT);
    assert_int_equal(dynamics->restart_from, SR_START_DATA);
    assert_true(dynamics->restart_rate == 0.125);
    assert_int_equal(train->engine, SR_ENGINE_SCALAR);
    assert_int_equal(train->tile, 8);
    assert_int_equal(train->optimiser, SR_ADAM);
    assert_true(train->rate == 0.002 && train->beta1 == 0.5 && train->beta2 == 0.75);
    assert_true(train->epsilon == 1e-6 && train->decay_from == 0.25 && train->decay_to == 0.5);
    assert_true(train->average == 0.9 && train->energy_l2 == 0.1 && train->clip_norm == 2);
    assert_int_equal(train->spectral_iterations, 3);
    assert_true(train->data_noise == 1e-2); // matched: raised to the noise
    assert_int_equal(cell->data_noise_mode, SR_DATA_NOISE_MATCHED);
    assert_true(train->gap_bound == 50);
    sr_experiment_clear(&experiment);
}

// Defaults are those of training, by kind of data.
static void test_defaults(void **state) {
    sr_experiment experiment;
    const char *path =
        scratch_write(state, "defaults.yaml",
                      "name: t\n"
                      "groups:\n"
                      "  - {name: a, dataset: rings, model: 'mlp:dim=2,widths=8'}\n"
                      "  - {name: b, dataset: fashion_mnist, model: "
                      "'convnet:channels=1,size=28,nf=4,activation=leaky_relu'}\n"
                      "  - {name: c, dataset: points.npy, model: 'mlp:dim=2,widths=8'}\n");
    if (sr_experiment_load(path, &experiment) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_int_equal(experiment.cell_count, 3);
    sr_train_options toy, image;
    sr_train_options_default(&toy, false);
    sr_train_options_default(&image, true);
    assert_true(experiment.cells[0].train.dynamics.step_size == toy.dynamics.step_size);
    assert_true(experiment.cells[1].train.dynamics.step_size == image.dynamics.step_size);
    assert_true(experiment.cells[1].train.spectral_iterations == image.spectral_iterations);
    assert_true(experiment.cells[2].train.dynamics.step_size == toy.dynamics.step_size);
    sr_experiment_clear(&experiment);
}

// The manual holds the text that the program prints.
static void test_documentation(void **state) {
    sr_text keys = {0};
    void *manual;
    size_t count;
    sr_experiment_keys(&keys);
    assert_int_equal(sr_text_status(&keys), SR_OK);
    assert_int_equal(sr_file_read(SR_SOURCE_ROOT "/docs/experiments.md", 0, &manual, &count),
                     SR_OK);
    if (!strstr(manual, sr_text_string(&keys)))
        fail_msg("docs/experiments.md does not hold the keys as the program prints them:\n%s",
                 sr_text_string(&keys));
    sr_free(manual);
    sr_text_clear(&keys);
}

static void load_shipped(const char *name, size_t cells) {
    char path[512];
    sr_experiment experiment;
    snprintf(path, sizeof path, "%s/bench/experiments/%s.yaml", SR_SOURCE_ROOT, name);
    if (sr_experiment_load(path, &experiment) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_string_equal(experiment.name, name);
    assert_true(experiment.cell_count >= cells);
    sr_experiment_clear(&experiment);
}

static void test_shipped(void **state) {
    load_shipped("smoke", 2);
    load_shipped("quick", 12);
    load_shipped("toy2d", 8 * 5 * 4 * 3);
    load_shipped("fashion", 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_files, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_bad_paths, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_huge_grid, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_aliases, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_all_keys, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_defaults, scratch_make, scratch_remove),
        cmocka_unit_test(test_documentation),
        cmocka_unit_test(test_shipped),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
