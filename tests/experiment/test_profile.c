// Profiles: the clock of layers changes no bits and agrees with that of the phases; what is counted
// and what is timed fit together; every form of output. No speed is asserted.
#include "scratch.h"

#include <shortrun/report.h>

#include <jansson.h>
#include <math.h>

#define SMALL "convnet:channels=1,size=12,nf=4,activation=silu"

static sr_profile_case small_case(bool training) {
    sr_net net;
    assert_int_equal(sr_net_parse(SMALL, &net), SR_OK);
    sr_profile_case of = sr_profile_case_default(&net);
    of.threads = 2;
    of.batch = 24;
    of.steps = 3;
    of.tile = 8;
    of.noise = 0.01;
    of.training = training;
    of.seconds = 0.02;
    return of;
}

static sr_profile profile_of(const sr_profile_case *of) {
    static sr_profile profile;
    if (sr_profile_run(of, NULL, &profile) != SR_OK)
        fail_msg("%s", sr_error_message());
    return profile;
}

// ---- the clock of layers ------------------------------------------------------------------------

enum { ROWS = 20, STEPS = 4 };

typedef struct bench {
    sr_net net;
    sr_energy *energy;
    sr_team *team;
    float *x, *gradient;
} bench;

static void bench_open(bench *b, sr_engine engine) {
    assert_int_equal(sr_net_parse(SMALL, &b->net), SR_OK);
    assert_int_equal(sr_energy_network(&b->net, engine, SR_FP32, 8, &b->energy), SR_OK);
    float *theta = sr_alloc(b->net.parameters, sizeof *theta);
    assert_non_null(theta);
    sr_net_init(&b->net, 3, theta);
    sr_energy_set_parameters(b->energy, theta);
    sr_free(theta);
    assert_int_equal(sr_team_create(b->energy, 2, &b->team), SR_OK);
    b->x = sr_alloc(ROWS * b->net.inputs, sizeof *b->x);
    b->gradient = sr_alloc(b->net.parameters, sizeof *b->gradient);
    assert_true(b->x && b->gradient);
}

static void bench_close(bench *b) {
    sr_team_destroy(b->team);
    sr_energy_destroy(b->energy);
    sr_free(b->x);
    sr_free(b->gradient);
}

static void bench_run(bench *b) {
    const sr_dynamics dynamics = {.steps = STEPS, .step_size = 0.1, .noise = 0.01};
    sr_start_fill(SR_START_UNIFORM, 5, 0, 0, ROWS, b->net.inputs, b->x);
    assert_int_equal(sr_dynamics_run(b->team, &dynamics, 5, 0, 0, ROWS, b->x, NULL), SR_OK);
    assert_int_equal(sr_team_gradient_theta(b->team, ROWS, b->x, NULL, NULL, b->gradient), SR_OK);
}

static double sum_direction(const bench *b, const double *layers, sr_direction direction) {
    double sum = 0;
    for (size_t l = 0; l < b->net.layer_count; l++) {
        const double seconds = layers[l * SR_DIRECTION_COUNT + (size_t)direction];
        assert_true(seconds > 0 && isfinite(seconds));
        sum += seconds;
    }
    return sum;
}

// What the layers say lies within what the phases say. The gradient's phase also
// holds the sum over shards.
static void check_clock(bench *b) {
    double phases[SR_PHASE_COUNT], layers[SR_MAX_LAYERS * SR_DIRECTION_COUNT];
    sr_team_seconds(b->team, true, phases);
    sr_team_layer_seconds(b->team, true, layers);
    bench_run(b);
    sr_team_seconds(b->team, false, phases);
    sr_team_layer_seconds(b->team, false, layers);
    for (int d = 0; d < SR_DIRECTION_COUNT; d++) {
        const double sum = sum_direction(b, layers, (sr_direction)d);
        assert_true(sum <= phases[d] * (1 + 1e-9));
        if (d != SR_BACKWARD_WEIGHTS)
            assert_true(sum >= 0.1 * phases[d]);
    }
    sr_team_layer_seconds(b->team, true, layers);
    sr_team_layer_seconds(b->team, false, layers);
    for (size_t i = 0; i < b->net.layer_count * SR_DIRECTION_COUNT; i++)
        assert_true(layers[i] == 0);
}

static void the_clock_of_layers_changes_no_bits(void **state) {
    for (int engine = SR_ENGINE_SCALAR; engine < SR_ENGINE_COUNT; engine++) {
        bench b;
        if (!sr_engine_available((sr_engine)engine))
            continue;
        bench_open(&b, (sr_engine)engine);
        const size_t xs = ROWS * b.net.inputs * sizeof(float);
        const size_t gs = b.net.parameters * sizeof(float);
        bench_run(&b);
        float *x = sr_alloc(xs, 1), *gradient = sr_alloc(gs, 1);
        assert_true(x && gradient);
        memcpy(x, b.x, xs);
        memcpy(gradient, b.gradient, gs);
        for (int on = 1; on >= 0; on--) {
            sr_team_time_layers(b.team, on);
            if (on)
                check_clock(&b);
            else
                bench_run(&b);
            assert_memory_equal(x, b.x, xs);
            assert_memory_equal(gradient, b.gradient, gs);
        }
        double layers[SR_MAX_LAYERS * SR_DIRECTION_COUNT] = {1};
        sr_team_layer_seconds(b.team, false, layers);
        assert_true(layers[0] == 0); // off
        sr_free(x);
        sr_free(gradient);
        bench_close(&b);
    }
}

static void a_workspace_has_its_own_clock(void **state) {
    bench b;
    bench_open(&b, SR_ENGINE_SCALAR);
    sr_workspace *workspace;
    float out[1];
    assert_int_equal(sr_workspace_create(sr_energy_plan(b.energy), &workspace), SR_OK);
    assert_null(sr_workspace_layer_seconds(workspace));
    sr_workspace_time_layers(workspace, true);
    const double *seconds = sr_workspace_layer_seconds(workspace);
    sr_plan_forward(sr_energy_plan(b.energy), workspace, 1, b.x, out);
    assert_true(seconds[SR_FORWARD] > 0 && seconds[SR_BACKWARD_DATA] == 0);
    sr_workspace_time_layers(workspace, false);
    assert_null(sr_workspace_layer_seconds(workspace));
    sr_workspace_destroy(workspace);
    bench_close(&b);
}

static void other_energies_have_no_layers(void **state) {
    sr_energy *energy;
    sr_team *team;
    double untouched = 7;
    assert_int_equal(sr_energy_quadratic(2, 1, &energy), SR_OK);
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    sr_team_time_layers(team, true);
    sr_team_layer_seconds(team, true, &untouched);
    assert_true(untouched == 7);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- measuring ----------------------------------------------------------------------------------

// An engine may leave out the last layer's forward pass, whose output nobody wants.
static void check_pass(const sr_profile *p, size_t l, sr_direction direction) {
    const sr_profile_pass *pass = &p->layers[l].pass[direction];
    const bool optional = direction == SR_FORWARD && l + 1 == p->of.net.layer_count;
    assert_true(isfinite(pass->ms) && pass->ms >= 0 && (optional || pass->ms > 0));
    assert_true(pass->flop > 0 && pass->bytes > 0);
    assert_true(pass->ms > 0 || pass->gflops == 0);
    assert_true(pass->ms == 0 ||
                fabs(pass->gflops - 1e-6 * pass->flop / pass->ms) <= 1e-6 * pass->gflops);
    assert_true(fabs(pass->share - pass->gflops / p->peak_gflops) <= 1e-9);
}

static void check_step(const sr_profile *p) {
    double sum = 0;
    assert_true(p->flop == 4 * sr_net_multiply_adds(&p->of.net) * (double)p->of.batch);
    assert_true(p->step_ms_least <= p->step_ms && p->step_ms <= p->step_ms_most);
    assert_true(p->step_ms_least > 0 && isfinite(p->step_ms_most));
    assert_true(fabs(p->chain_steps_per_s * p->step_ms - 1e3 * (double)p->of.batch) < 1e-3);
    assert_true(p->runs >= 3 && p->steps >= 1 && p->steps <= p->of.steps);
    for (size_t i = 0; i < SR_PHASE_COUNT; i++)
        sum += p->phase_ms[i];
    assert_true(p->phase_ms[SR_PHASE_FORWARD] > 0 && p->phase_ms[SR_PHASE_BACKWARD_DATA] > 0);
    assert_true(p->phase_ms[SR_PHASE_BACKWARD_WEIGHTS] == 0);
    assert_true(sum <= p->step_ms * (1 + 1e-9));
    assert_true(p->peak_gflops > 0 && p->l2_gbs > 0 && p->peak_memory_mb > 0);
}

static void a_profile_is_consistent(void **state) {
    const sr_profile_case of = small_case(false);
    const sr_profile p = profile_of(&of);
    double flop = 0, bytes = 0;
    check_step(&p);
    for (size_t l = 0; l < of.net.layer_count; l++) {
        for (int d = SR_FORWARD; d <= SR_BACKWARD_DATA; d++) {
            check_pass(&p, l, (sr_direction)d);
            flop += p.layers[l].pass[d].flop;
            bytes += p.layers[l].pass[d].bytes;
        }
        assert_true(p.layers[l].pass[SR_BACKWARD_WEIGHTS].flop == 0);
    }
    assert_true(flop == p.flop && bytes == p.bytes);
    // 12 x 12 pixels, 4 channels of output and of its derivative, 36 weights, 24 chains
    assert_true(p.layers[0].pass[0].bytes == 4.0 * (24 * (144 + 2 * 576) + 36));
    assert_string_equal(p.layers[0].name, "conv3x3/1 1->4 @12x12");
    assert_string_equal(p.layers[1].name, "conv4x4/2 4->8 @12x12");
    assert_true(p.iteration_ms == 0 && !p.skipped[0]);
    assert_int_equal(p.of.threads, 2);
    assert_int_equal(p.of.tile, 8);
    for (size_t l = 0; l < of.net.layer_count; l++)
        assert_true(p.layers[l].engine != SR_ENGINE_AUTO &&
                    sr_engine_available(p.layers[l].engine));
}

static void a_profile_with_training_is_consistent(void **state) {
    const sr_profile_case of = small_case(true);
    const sr_profile p = profile_of(&of);
    double sum = 0;
    check_step(&p);
    for (size_t l = 0; l < of.net.layer_count; l++)
        check_pass(&p, l, SR_BACKWARD_WEIGHTS);
    for (size_t i = 0; i < SR_PHASE_COUNT; i++) {
        assert_true(p.iteration_phase_ms[i] > 0);
        sum += p.iteration_phase_ms[i];
    }
    assert_true(sum <= p.iteration_ms * (1 + 1e-9));
}

static void bad_cases_are_refused(void **state) {
    sr_profile p;
    sr_profile_case of = small_case(false);
    of.batch = 0;
    assert_int_equal(sr_profile_run(&of, NULL, &p), SR_ERROR_ARGUMENT);
    of = small_case(false);
    of.steps = 0;
    assert_int_equal(sr_profile_run(&of, NULL, &p), SR_ERROR_ARGUMENT);
    of = small_case(false);
    of.seconds = NAN;
    assert_int_equal(sr_profile_run(&of, NULL, &p), SR_ERROR_ARGUMENT);
    of = small_case(false);
    of.noise = -1;
    assert_int_equal(sr_profile_run(&of, NULL, &p), SR_ERROR_ARGUMENT);
    of = small_case(false);
    of.engine = SR_ENGINE_SCALAR;
    of.precision = SR_BF16;
    assert_int_equal(sr_profile_run(&of, NULL, &p), SR_ERROR_UNSUPPORTED);
}

static bool stop_at_once(void *user) {
    return true;
}

static void a_profile_can_be_stopped(void **state) {
    sr_profile p;
    const sr_profile_case of = small_case(false);
    const sr_monitor monitor = {.stop = stop_at_once};
    assert_int_equal(sr_profile_run(&of, &monitor, &p), SR_ERROR_INTERRUPTED);
}

// ---- output -------------------------------------------------------------------------------------

static void has_keys(json_t *object, const char *const *keys) {
    for (; *keys; keys++)
        if (!json_object_get(object, *keys))
            fail_msg("the JSON lacks %s", *keys);
}

static json_t *print_json(const sr_profile *profiles, size_t count) {
    sr_text text = {0};
    assert_int_equal(sr_profile_print(profiles, count, SR_PROFILE_JSON, &text), SR_OK);
    json_t *root = json_loads(sr_text_string(&text), 0, NULL);
    sr_text_clear(&text);
    assert_non_null(root);
    return root;
}

static void json_of_one_profile(void **state) {
    static const char *const keys[] = {
        "model",       "engine", "precision", "threads", "batch",  "steps",
        "ms_per_step", "gflops", "share",     "layers",  "phases", "chain_steps_per_s",
        "peak_gflops", "l2_gbs", "machine",   "noise",   "tile",   "ms_per_training_iteration",
        "peak_rss_mb", NULL};
    static const char *const machine[] = {"cpu", "isa", "threads", "versions", NULL};
    static const char *const passes[] = {"name", "forward", "backward_data", "backward_weights",
                                         NULL};
    static const char *const pass[] = {"ms", "flop", "bytes", "gflops", "share", NULL};
    const sr_profile_case of = small_case(true);
    const sr_profile p = profile_of(&of);
    json_t *root = print_json(&p, 1), *layers = json_object_get(root, "layers");
    has_keys(root, keys);
    has_keys(json_object_get(root, "machine"), machine);
    assert_int_equal(json_array_size(layers), of.net.layer_count);
    has_keys(json_array_get(layers, 0), passes);
    has_keys(json_object_get(json_array_get(layers, 0), "forward"), pass);
    json_decref(root);
}

// Two profiles, of which the second claims a peak of bf16 above that of fp32, and one skipped.
static void several_profiles_are_listed(void **state) {
    static const char *const files[] = {"profile.json",  "profile.csv",       "time_step.gp",
                                        "time_step.dat", "time_iteration.gp", NULL};
    sr_profile_case of = small_case(true);
    sr_profile *p = sr_alloc(3, sizeof *p);
    assert_non_null(p);
    p[0] = profile_of(&of);
    p[1] = p[0];
    p[1].of.precision = SR_BF16;
    p[1].peak_gflops *= 8;
    p[2].of = of;
    p[2].of.engine = SR_ENGINE_NATIVE;
    snprintf(p[2].skipped, sizeof p[2].skipped, "not here, \"really\"");
    json_t *root = print_json(p, 3), *runs = json_object_get(root, "runs");
    assert_int_equal(json_array_size(runs), 3);
    assert_non_null(json_object_get(root, "machine"));
    assert_non_null(json_object_get(json_array_get(runs, 2), "skipped"));
    json_decref(root);
    sr_text text = {0};
    assert_int_equal(sr_profile_print(p, 3, SR_PROFILE_TEXT, &text), SR_OK);
    assert_non_null(strstr(sr_text_string(&text), "skipped: native fp32: not here"));
    assert_non_null(strstr(sr_text_string(&text), "of the fp32 peak"));
    sr_text_clear(&text);
    assert_int_equal(sr_profile_write(scratch_path(state, "p"), p, 3, NULL), SR_OK);
    for (size_t i = 0; files[i]; i++) {
        char name[64];
        snprintf(name, sizeof name, "p/%s", files[i]);
        assert_true(sr_file_exists(scratch_path(state, name)));
    }
    sr_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_of_layers_changes_no_bits),
        cmocka_unit_test(a_workspace_has_its_own_clock),
        cmocka_unit_test(other_energies_have_no_layers),
        cmocka_unit_test(a_profile_is_consistent),
        cmocka_unit_test(a_profile_with_training_is_consistent),
        cmocka_unit_test(bad_cases_are_refused),
        cmocka_unit_test(a_profile_can_be_stopped),
        cmocka_unit_test(json_of_one_profile),
        cmocka_unit_test_setup_teardown(several_profiles_are_listed, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
