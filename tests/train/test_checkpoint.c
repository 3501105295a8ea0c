// Checkpoints and the loop: a run that stops and goes on has the bits of one that never stopped;
// files of other runs and broken files are refused without harm; divergence and stopping leave a
// good file.
#include "train_test.h"

#include <math.h>

// ---- resuming -----------------------------------------------------------------------------------

// Trains o.iterations at once, and again with a fresh trainer after `at` of them.
static void resumes(const sr_net *net, const sr_dataset *data, const sr_train_options *o,
                    size_t at) {
    char whole[33], parts[33], path[320];
    sr_trainer *t;
    must(sr_trainer_create(net, data, o, &t));
    steps(t, o->iterations);
    state_hash(t, whole);
    sr_trainer_destroy(t);
    must(sr_trainer_create(net, data, o, &t));
    steps(t, at);
    must(sr_trainer_save(t, scratch_path(path, "half.safetensors")));
    sr_trainer_destroy(t);
    must(sr_trainer_create(net, data, o, &t));
    must(sr_trainer_load(t, path));
    assert_int_equal(sr_trainer_iteration(t), at);
    steps(t, o->iterations - at);
    state_hash(t, parts);
    sr_trainer_destroy(t);
    assert_string_equal(whole, parts);
}

static void resumed_runs_have_the_same_bits(void **state) {
    sr_dataset toy = toy_data(), images = image_data();
    const sr_net mlp = small_mlp(16), convnet = small_convnet();
    sr_train_options o = small_options(false);
    o.dynamics.noise = 0.05;
    resumes(&mlp, &toy, &o, 0);
    resumes(&mlp, &toy, &o, 13);
    o.optimiser = SR_SGD;
    o.beta1 = 0.5;
    o.clip_norm = 0.5;
    o.dynamics.start = SR_START_DATA;
    resumes(&mlp, &toy, &o, 20);
    o = small_options(true);
    o.average = 0.95;
    o.dynamics.start = SR_START_PERSISTENT;
    o.dynamics.restart_from = SR_START_DATA;
    o.dynamics.restart_rate = 0.2;
    resumes(&convnet, &images, &o, 1);
    resumes(&convnet, &images, &o, 29);
    sr_dataset_clear(&toy);
    sr_dataset_clear(&images);
}

// The tensors that PyTorch would read are what sampling uses.
static void files_hold_the_sampling_parameters(void **state) {
    sr_dataset images = image_data();
    const sr_net convnet = small_convnet();
    sr_train_options o = small_options(true);
    o.average = 0.9;
    sr_trainer *t;
    must(sr_trainer_create(&convnet, &images, &o, &t));
    steps(t, 4);
    char path[320];
    must(sr_trainer_save(t, scratch_path(path, "torch.safetensors")));
    sr_tensors *tensors;
    must(sr_tensors_load(path, &tensors));
    sr_net described;
    must(sr_net_from_meta(tensors, &described));
    assert_int_equal(described.parameters, convnet.parameters);
    float *theta = sr_alloc(convnet.parameters, sizeof(float));
    must(sr_net_take(&described, tensors, "", theta));
    assert_memory_equal(theta, sr_trainer_parameters(t), convnet.parameters * sizeof(float));
    must(sr_net_take(&described, tensors, "raw.", theta));
    assert_memory_equal(theta, t->now.theta, convnet.parameters * sizeof(float));
    assert_string_equal(sr_tensors_meta(tensors, "train.iteration"), "4");
    assert_string_equal(sr_tensors_meta(tensors, "train.data_noise"), "0.03");
    assert_string_equal(sr_tensors_meta(tensors, "train.data_hash"), images.hash);
    sr_free(theta);
    sr_tensors_destroy(tensors);
    sr_trainer_destroy(t);
    sr_dataset_clear(&images);
}

// ---- refusals -----------------------------------------------------------------------------------

static void expect_refusal(const sr_net *net, const sr_dataset *data, const sr_train_options *o,
                           const char *path, const char *message) {
    sr_trainer *t;
    char before[33], after[33];
    must(sr_trainer_create(net, data, o, &t));
    state_hash(t, before);
    assert_int_not_equal(sr_trainer_load(t, path), SR_OK);
    message_holds(message);
    message_holds(path);
    state_hash(t, after);
    assert_string_equal(before, after); // nothing changed
    steps(t, 1);                        // and it still works
    sr_trainer_destroy(t);
}

static void other_runs_are_refused(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = small_options(false); // 30 iterations, decay from the 15th
    char path[320], late[320];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, 10);
    must(sr_trainer_save(t, scratch_path(path, "early.safetensors")));
    steps(t, 10);
    must(sr_trainer_save(t, scratch_path(late, "late.safetensors")));
    sr_trainer_destroy(t);
#define other(field, value, message)                                                               \
    do {                                                                                           \
        sr_train_options changed = o;                                                              \
        changed.field = value;                                                                     \
        expect_refusal(&net, &data, &changed, path, message);                                      \
    } while (0)
    other(seed, 8, "made with seed 7, this run has 8");
    other(rate, 0.002, "made with rate 0.001, this run has 0.002");
    other(dynamics.noise, 0.1, "made with noise 0, this run has 0.1");
    other(dynamics.steps, 5, "made with steps 4, this run has 5");
    other(dynamics.start, SR_START_UNIFORM, "made with start gaussian, this run has uniform");
    other(dynamics.integrator, SR_INTEGRATOR_RK4, "made with integrator euler, this run has rk4");
    other(dynamics.step_size, 0.2, "made with step_size 0.1, this run has 0.2");
    other(batch, 32, "made with batch 48, this run has 32");
    other(precision, SR_BF16, "made with precision fp32, this run has bf16");
    other(engine, SR_ENGINE_SCALAR, "made with engine auto, this run has scalar");
    other(optimiser, SR_SGD, "made with optimiser adam, this run has sgd");
    other(average, 0.5, "made with average 0, this run has 0.5");
    other(spectral_iterations, 1, "made with spectral_iterations 0, this run has 1");
    other(decay_to, 0.1, "made with decay_to 0.05, this run has 0.1");
    other(iterations, 5, "has done 10 iterations, this run ends after 5");
    other(iterations, 12, "this run has 12; the learning rate already decays");
#undef other
    sr_dataset other_data;
    must(sr_dataset_load("eight_gaussians", NULL, SR_TRAIN, 1999, 5, &other_data));
    expect_refusal(&net, &other_data, &o, path, "made with data_hash ");
    const sr_net wider = small_mlp(17);
    expect_refusal(&wider, &data, &o, path, "checkpoint of network mlp:");
    // Allowed: more threads, another bound, a longer run while the rate is still constant in both.
    sr_train_options more = o;
    more.threads = 2;
    more.engine = SR_ENGINE_AUTO;
    more.tile = 8; // no bit of this engine depends on it
    more.gap_bound = 1000.0;
    more.iterations = 60;
    more.beta2 = o.beta2;
    must(sr_trainer_create(&net, &data, &more, &t));
    must(sr_trainer_load(t, path));
    sr_trainer_destroy(t);
    expect_refusal(&net, &data, &more, late, "after iteration 20 of a run of 30, this run has 60");
    sr_dataset_clear(&data);
    sr_dataset_clear(&other_data);
}

// A layer of a scalar run is checked against the tile: there it decides bits.
static void tiles_count_where_they_matter(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    char path[320];
    sr_trainer *t;
    o.engine = SR_ENGINE_SCALAR;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_save(t, scratch_path(path, "scalar.safetensors")));
    sr_trainer_destroy(t);
    o.tile = 8;
    expect_refusal(&net, &data, &o, path, "made with tile 16, this run has 8");
    sr_dataset_clear(&data);
}

// ---- hostile files ------------------------------------------------------------------------------

static const char *const option_keys[] = {"data",       "data_hash",    "seed",
                                          "batch",      "steps",        "step_size",
                                          "noise",      "noise_last",   "clamp",
                                          "start",      "restart_from", "restart_rate",
                                          "engine",     "engines",      "precision",
                                          "tile",       "optimiser",    "rate",
                                          "beta1",      "beta2",        "epsilon",
                                          "decay_from", "decay_to",     "average",
                                          "energy_l2",  "clip_norm",    "spectral_iterations",
                                          "data_noise", "format",       "iteration",
                                          "iterations"};

enum { KEYS = sizeof option_keys / sizeof option_keys[0] };

// What to do to a good file: drop or replace a tensor, drop or replace a metadata key.
typedef struct damage {
    const char *tensor; // NULL: none
    size_t count;       // 0: dropped; otherwise it becomes (count) values
    float value;
    const char *key;  // NULL: none
    const char *text; // NULL: dropped
    const char *message;
} damage;

static void write_damaged(const sr_net *net, const sr_tensors *good, const damage *d,
                          const char *path) {
    sr_tensors *bad;
    must(sr_tensors_create(&bad));
    must(sr_net_describe(net, bad));
    for (size_t i = 0; i < KEYS; i++) {
        char key[64];
        snprintf(key, sizeof key, "train.%s", option_keys[i]);
        const char *text = sr_tensors_meta(good, key);
        assert_non_null(text);
        if (d->key && strcmp(d->key, key) == 0)
            text = d->text;
        if (text)
            must(sr_tensors_set_meta(bad, key, text));
    }
    for (size_t i = 0; i < sr_tensors_count(good); i++) {
        const sr_array *a = sr_tensors_at(good, i);
        const char *name = sr_tensors_name(good, i);
        if (!d->tensor || strcmp(d->tensor, name) != 0) {
            must(sr_tensors_add(bad, name, a->dtype, a->rank, a->shape, a->data));
        } else if (d->count > 0) {
            float *values = sr_alloc(d->count, sizeof(float));
            memcpy(values, a->data,
                   (d->count < sr_array_count(a) ? d->count : sr_array_count(a)) * sizeof(float));
            values[0] = d->value;
            if (d->count == sr_array_count(a))
                must(sr_tensors_add(bad, name, SR_F32, a->rank, a->shape, values));
            else
                must(sr_tensors_add(bad, name, SR_F32, 1, &d->count, values));
            sr_free(values);
        }
    }
    must(sr_tensors_save(bad, path));
    sr_tensors_destroy(bad);
}

// Whatever auto would choose now: a run goes on with the engines and the tile with which it began.
static void auto_goes_on_with_the_engines_of_the_file(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    o.tile = 0; // chosen
    char path[320], changed[320];
    sr_tensors *good;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_save(t, scratch_path(path, "auto.safetensors")));
    sr_trainer_destroy(t);
    must(sr_tensors_load(path, &good));
    const damage other = {NULL, 0, 0, "train.engines", "scalar,native,native", NULL};
    const damage tile = {NULL, 0, 0, "train.tile", "48", NULL};
    write_damaged(&net, good, &other, scratch_path(changed, "changed.safetensors"));
    sr_tensors_destroy(good);
    must(sr_tensors_load(changed, &good));
    write_damaged(&net, good, &tile, changed); // a mixed chain sums a tile at a time
    sr_tensors_destroy(good);
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_load(t, changed));
    const sr_energy *energy = sr_team_energy(sr_trainer_team(t));
    const sr_engine *engines = sr_plan_engines(sr_energy_plan(energy));
    assert_int_equal(engines[0], SR_ENGINE_SCALAR);
    assert_int_equal(engines[1], SR_ENGINE_NATIVE);
    assert_int_equal(sr_energy_gradient_tile(energy), 48);
    steps(t, 2);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static sr_status load_damaged(const sr_net *net, const sr_dataset *data, const sr_train_options *o,
                              const sr_tensors *good, const damage *what) {
    char path[320];
    sr_trainer *t;
    write_damaged(net, good, what, scratch_path(path, "damaged.safetensors"));
    must(sr_trainer_create(net, data, o, &t));
    const sr_status status = sr_trainer_load(t, path);
    sr_trainer_destroy(t);
    return status;
}

// A file without an option that is younger than it was made without that option.
static void older_files_are_read(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    char path[320];
    sr_tensors *good;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_save(t, scratch_path(path, "older.safetensors")));
    sr_trainer_destroy(t);
    must(sr_tensors_load(path, &good));
    static const char *const younger[] = {"train.precision", "train.integrator", "train.tolerance",
                                          "train.curvature_cap", "train.curvature_every"};
    for (size_t i = 0; i < sizeof younger / sizeof *younger; i++) {
        const damage without = {NULL, 0, 0, younger[i], NULL, NULL};
        must(load_damaged(&net, &data, &o, good, &without));
    }
    const damage euler = {NULL, 0, 0, "train.integrator", NULL, NULL};
    o.dynamics.integrator = SR_INTEGRATOR_HEUN;
    assert_int_equal(load_damaged(&net, &data, &o, good, &euler), SR_ERROR_ARGUMENT);
    message_holds("made with integrator euler, this run has heun");
    sr_tensors_destroy(good);
    sr_dataset_clear(&data);
}

static void broken_files_are_refused(void **state) {
    sr_dataset data = image_data();
    const sr_net net = small_convnet();
    sr_train_options o = small_options(true);
    o.average = 0.9;
    o.dynamics.start = SR_START_PERSISTENT;
    char path[320], bad[320];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, 3);
    must(sr_trainer_save(t, scratch_path(path, "good.safetensors")));
    sr_trainer_destroy(t);
    sr_tensors *good;
    must(sr_tensors_load(path, &good));
    scratch_path(bad, "bad.safetensors");
    const size_t n = net.parameters;
    const damage cases[] = {
        {"raw.0.weight", 0, 0, NULL, NULL, "raw.0.weight"},
        {"raw.0.bias", 9, 0, NULL, NULL, "raw.0.bias"},
        {"raw.0.bias", 4, NAN, NULL, NULL, "nan"},
        {"adam.m", 0, 0, NULL, NULL, "tensor adam.m is missing"},
        {"adam.m", n - 1, 0, NULL, NULL, "tensor adam.m is F32"},
        {"adam.v", n, -1, NULL, NULL, "tensor adam.v is negative at position 0"},
        {"average", n, INFINITY, NULL, NULL, "tensor average holds inf at position 0"},
        {"chains", 8 * 144, NAN, NULL, NULL, "tensor chains holds nan at position 0"},
        {"chains", 7 * 144, 0, NULL, NULL, "tensor chains is F32 with 1008 values of rank 1"},
        {"spectral.0.u", 0, 0, NULL, NULL, "tensor spectral.0.u is missing"},
        {"spectral.0.u", 144, 1e30f, NULL, NULL, "tensor spectral.0.u has length"},
        {NULL, 0, 0, "train.iteration", NULL, "lacks the metadata key train.iteration"},
        {NULL, 0, 0, "train.iteration", "-3", "is '-3', expected a whole number"},
        {NULL, 0, 0, "train.iteration", "99999999999999999999999", "expected a whole number"},
        {NULL, 0, 0, "train.iteration", "31", "iteration 31 of 30 makes no sense"},
        {NULL, 0, 0, "train.format", NULL, "no training checkpoint"},
        {NULL, 0, 0, "train.format", "shortrun checkpoint 9", "checkpoint format"},
        {NULL, 0, 0, "train.rate", NULL, "lacks the metadata key train.rate"},
        {NULL, 0, 0, "train.engines", NULL, "lacks the metadata key train.engines"},
        {NULL, 0, 0, "train.engines", "native,native", "does not name 4 engines"},
        {NULL, 0, 0, "train.engines", "native,native,native,auto", "auto is no engine"},
        {NULL, 0, 0, "train.engines", "native,native,native,blas", "unknown engine 'blas'"},
        {NULL, 0, 0, "train.rate", "fast", "made with rate fast, this run has 0.001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_damaged(&net, good, &cases[i], bad);
        expect_refusal(&net, &data, &o, bad, cases[i].message);
    }
    const damage none = {NULL, 0, 0, NULL, NULL, NULL}; // the copy itself is sound
    write_damaged(&net, good, &none, bad);
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_load(t, bad));
    sr_trainer_destroy(t);
    sr_tensors_destroy(good);
    // Cut short: any length is an error.
    void *bytes;
    size_t count;
    must(sr_file_read(path, 0, &bytes, &count));
    for (size_t part = 0; part < 8; part++) {
        must(sr_file_write(bad, bytes, count * part / 8));
        must(sr_trainer_create(&net, &data, &o, &t));
        assert_int_not_equal(sr_trainer_load(t, bad), SR_OK);
        sr_trainer_destroy(t);
    }
    sr_free(bytes);
    sr_dataset_clear(&data);
}

// ---- the loop -----------------------------------------------------------------------------------

typedef struct watch {
    size_t progress_calls, stop_at, stop_calls, iterations_seen;
    char detail[128];
    double done, total;
} watch;

static void on_progress(void *user, const char *what, const char *detail, double done,
                        double total) {
    watch *w = user;
    assert_string_equal(what, "a test");
    w->progress_calls++;
    snprintf(w->detail, sizeof w->detail, "%s", detail);
    w->done = done;
    w->total = total;
}

static bool on_stop(void *user) {
    watch *w = user;
    return w->stop_calls++ == w->stop_at;
}

static void on_each(void *user, const sr_train_report *report) {
    watch *w = user;
    w->iterations_seen++;
    assert_true(isfinite(report->gap));
}

static void stopping_saves_and_running_again_finishes(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = small_options(false);
    char path[320], whole[33], parts[33];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_run(t, NULL, 1e9, NULL, NULL, NULL, NULL));
    assert_int_equal(sr_trainer_iteration(t), 30);
    state_hash(t, whole);
    sr_trainer_destroy(t);
    scratch_path(path, "run.safetensors");
    watch w = {.stop_at = 12};
    const sr_monitor monitor = {.user = &w, .progress = on_progress, .stop = on_stop};
    must(sr_trainer_create(&net, &data, &o, &t));
    assert_int_equal(sr_trainer_run(t, path, 1e9, &monitor, "a test", on_each, &w),
                     SR_ERROR_INTERRUPTED);
    message_holds("stopped after iteration 12 of 30");
    assert_int_equal(w.iterations_seen, 12);
    sr_trainer_destroy(t);
    assert_true(sr_file_exists(path));
    w = (watch){.stop_at = SIZE_MAX};
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_run(t, path, 1e9, &monitor, "a test", on_each, &w));
    assert_int_equal(w.iterations_seen, 18);
    assert_true(w.progress_calls >= 2 && w.done == 30.0 && w.total == 30.0);
    assert_non_null(strstr(w.detail, "iteration 30/30 gap "));
    state_hash(t, parts);
    assert_string_equal(whole, parts);
    file_hash(path, parts); // and the final checkpoint is on disk
    assert_string_equal(whole, parts);
    sr_trainer_destroy(t);
    // A finished run has nothing more to do.
    w = (watch){.stop_at = SIZE_MAX};
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_run(t, path, 0.0, &monitor, "a test", on_each, &w));
    assert_int_equal(w.iterations_seen, 0);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void progress_is_rare(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(4);
    sr_train_options o = small_options(false);
    o.iterations = 400;
    o.batch = 4;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    watch w = {.stop_at = SIZE_MAX};
    const sr_monitor monitor = {.user = &w, .progress = on_progress};
    const double start = sr_seconds();
    must(sr_trainer_run(t, NULL, 0.0, &monitor, "a test", NULL, NULL));
    assert_true((double)w.progress_calls <= 3.0 + 10.0 * (sr_seconds() - start));
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void divergence_leaves_the_last_good_checkpoint(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = doomed_options();
    char path[320], message[512], file[33], good[33];
    scratch_path(path, "diverged.safetensors");
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    watch w = {.stop_at = SIZE_MAX};
    assert_int_equal(sr_trainer_run(t, path, 1e9, NULL, NULL, on_each, &w), SR_ERROR_DIVERGED);
    snprintf(message, sizeof message, "%s", sr_error_message());
    assert_non_null(strstr(message, "beyond the bound 0.5"));
    sr_trainer_destroy(t);
    assert_true(w.iterations_seen > 5);
    file_hash(path, file);
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, w.iterations_seen); // all good iterations, by hand
    state_hash(t, good);
    assert_string_equal(file, good);
    sr_trainer_destroy(t);
    // Run again: it goes on from there and fails in the same way.
    must(sr_trainer_create(&net, &data, &o, &t));
    assert_int_equal(sr_trainer_run(t, path, 1e9, NULL, NULL, NULL, NULL), SR_ERROR_DIVERGED);
    assert_string_equal(message, sr_error_message());
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// A folder that does not exist: the error names the file, and a divergence is not hidden by it.
static void unwritable_checkpoints_are_reported(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    char path[320];
    scratch_path(path, "no/such/folder.safetensors");
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    assert_int_equal(sr_trainer_run(t, path, 0.0, NULL, NULL, NULL, NULL), SR_ERROR_IO);
    message_holds("no/such/folder.safetensors");
    sr_trainer_destroy(t);
    o = doomed_options();
    must(sr_trainer_create(&net, &data, &o, &t));
    assert_int_equal(sr_trainer_run(t, path, 1e9, NULL, NULL, NULL, NULL), SR_ERROR_DIVERGED);
    message_holds("beyond the bound 0.5");
    message_holds("saving the last good state failed too: ");
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static int tidy(void **state) {
    scratch_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed_runs_have_the_same_bits),
        cmocka_unit_test(files_hold_the_sampling_parameters),
        cmocka_unit_test(other_runs_are_refused),
        cmocka_unit_test(tiles_count_where_they_matter),
        cmocka_unit_test(auto_goes_on_with_the_engines_of_the_file),
        cmocka_unit_test(older_files_are_read),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(stopping_saves_and_running_again_finishes),
        cmocka_unit_test(progress_is_rare),
        cmocka_unit_test(divergence_leaves_the_last_good_checkpoint),
        cmocka_unit_test(unwritable_checkpoints_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, tidy);
}
