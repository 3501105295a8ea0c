// The cap on s ||H||: that it holds on trajectories that training has not seen, that it does
// nothing where it does not bind, its state, its gradient, resuming to the same bits, and what is
// refused.
#include "train_test.h"

#include <lapacke.h>
#include <math.h>

// ---- measuring from outside ---------------------------------------------------------------------

// Largest s |eigenvalue| of the whole Hessian of the trained energy, which is 2-D, along fresh
// trajectories.
static double measured_in_the_plane(sr_trainer *t, const sr_dynamics *dynamics) {
    enum { N = 400 };
    float x[2 * N], v[2 * N], h[2][2 * N];
    double largest = 0;
    sr_dynamics one = *dynamics;
    sr_team *team = sr_trainer_team(t);
    one.steps = 1;
    sr_start_fill(dynamics->start, 991, 3, 0, N, 2, x);
    for (size_t k = 0; k < dynamics->steps; k++) {
        for (size_t axis = 0; axis < 2; axis++) {
            for (size_t i = 0; i < 2 * N; i++)
                v[i] = i % 2 == axis;
            must(sr_team_hessian_vector(team, N, x, v, NULL, NULL, h[axis]));
        }
        for (size_t i = 0; i < N; i++) {
            const double a = h[0][2 * i], b = 0.5 * ((double)h[0][2 * i + 1] + h[1][2 * i]),
                         d = h[1][2 * i + 1];
            const double middle = 0.5 * (a + d), radius = hypot(0.5 * (a - d), b);
            largest = fmax(largest, fabs(middle) + radius);
        }
        must(sr_dynamics_run(team, &one, 991, k, 0, N, x, NULL));
    }
    return dynamics->step_size * largest;
}

// The same for images, of a few states, by the eigenvalues of whole Hessians.
static double measured_on_images(sr_trainer *t, const sr_dynamics *dynamics) {
    enum { N = 4, D = 144 };
    float *x = sr_alloc(N * D, sizeof *x), *at = sr_alloc(D * D, sizeof *at);
    float *v = sr_alloc(D * D, sizeof *v), *hv = sr_alloc(D * D, sizeof *hv);
    double *h = sr_alloc(D * D, sizeof *h), values[D], largest = 0;
    assert_true(x && at && v && hv && h);
    sr_dynamics one = *dynamics;
    sr_team *team = sr_trainer_team(t);
    one.steps = 1;
    sr_start_fill(dynamics->start, 991, 3, 0, N, D, x);
    for (size_t i = 0; i < D; i++)
        v[i * D + i] = 1;
    for (size_t k = 0; k < dynamics->steps; k++) {
        for (size_t n = 0; n < N; n++) {
            for (size_t i = 0; i < D; i++)
                memcpy(at + i * D, x + n * D, D * sizeof *x);
            must(sr_team_hessian_vector(team, D, at, v, NULL, NULL, hv));
            for (size_t i = 0; i < D * D; i++)
                h[i] = 0.5 * ((double)hv[i] + hv[i % D * D + i / D]);
            assert_int_equal(LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'N', 'U', D, h, D, values), 0);
            largest = fmax(largest, fmax(fabs(values[0]), fabs(values[D - 1])));
        }
        must(sr_dynamics_run(team, &one, 991, k, 0, N, x, NULL));
    }
    sr_free(x), sr_free(at), sr_free(v), sr_free(hv), sr_free(h);
    return dynamics->step_size * largest;
}

// ---- the cap ------------------------------------------------------------------------------------

static void train_all(sr_trainer *t, size_t iterations, sr_train_report *report) {
    for (size_t i = 0; i < iterations; i++)
        must(sr_trainer_step(t, report));
}

static void the_cap_holds_in_the_plane(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(32);
    sr_train_options o = small_options(false);
    double found[2];
    o.iterations = 400;
    o.batch = 128;
    o.dynamics.steps = 3; // few, so that each of them must go far
    o.dynamics.step_size = 1;
    o.rate = 1e-2;
    for (int capped = 0; capped < 2; capped++) {
        sr_trainer *t;
        sr_train_report report;
        o.curvature_cap = capped ? 0.9 : 0;
        must(sr_trainer_create(&net, &data, &o, &t));
        train_all(t, o.iterations, &report);
        found[capped] = measured_in_the_plane(t, &o.dynamics);
        print_message("cap %g: s ||H|| %.3f on fresh trajectories, report %.3f\n", o.curvature_cap,
                      found[capped], report.curvature);
        assert_true(capped ? report.curvature > 0.5 && report.curvature < 1.05
                           : isnan(report.curvature));
        sr_trainer_destroy(t);
    }
    assert_true(found[0] > 1.5); // without the cap these settings are not invertible
    assert_true(found[1] < 1.05 && found[1] > 0.5);
    sr_dataset_clear(&data);
}

static sr_net curved_convnet(void) {
    sr_net net;
    must(sr_net_convnet(&net, 1, 12, 4, SR_SILU));
    return net;
}

static void the_cap_holds_on_images(void **state) {
    sr_dataset data = image_data();
    const sr_net net = curved_convnet();
    sr_train_options o = small_options(true);
    double found[2];
    o.iterations = 60;
    o.batch = 16;
    o.spectral_iterations = 0;
    o.dynamics.steps = 2;
    o.dynamics.step_size = 40;
    o.rate = 3e-3;
    for (int capped = 0; capped < 2; capped++) {
        sr_trainer *t;
        sr_train_report report;
        o.curvature_cap = capped ? 0.9 : 0;
        must(sr_trainer_create(&net, &data, &o, &t));
        train_all(t, o.iterations, &report);
        found[capped] = measured_on_images(t, &o.dynamics);
        print_message("cap %g: s ||H|| %.3f on fresh trajectories, report %.3f\n", o.curvature_cap,
                      found[capped], report.curvature);
        sr_trainer_destroy(t);
    }
    assert_true(found[0] > 1.1);
    assert_true(found[1] < 1.05 && found[1] > 0.5);
    sr_dataset_clear(&data);
}

// A cap that never binds is no cap, to the bit.
static void a_cap_that_does_not_bind_changes_nothing(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    o.dynamics.step_size = 1e-3;
    sr_trainer *plain, *capped;
    sr_train_report report;
    must(sr_trainer_create(&net, &data, &o, &plain));
    o.curvature_cap = 0.9;
    must(sr_trainer_create(&net, &data, &o, &capped));
    train_all(plain, 25, &report);
    train_all(capped, 25, &report);
    assert_true(report.curvature > 0 && report.curvature < 0.5);
    assert_memory_equal(sr_trainer_parameters(plain), sr_trainer_parameters(capped),
                        net.parameters * sizeof(float));
    sr_trainer_destroy(plain);
    sr_trainer_destroy(capped);
    sr_dataset_clear(&data);
}

// Up at once, down slowly, and never a step on what is not finite.
static void the_state_follows_what_is_measured(void **state) {
    sr_curvature_state s = {.scale = 1};
    sr_curvature_follow(&s, 0.5, 0.9);
    assert_true(s.peak == 0.5 && s.scale == 1);
    sr_curvature_follow(&s, 3, 0.9);
    assert_true(s.peak == 3 && s.found == 3 && fabs(s.scale - 0.3) < 1e-15);
    sr_curvature_follow(&s, 0.3, 0.9); // 1 without the scale
    assert_true(s.found == 0.3 && s.peak > 2.5 && s.peak < 3);
    const sr_curvature_state before = s;
    sr_curvature_follow(&s, NAN, 0.9);
    sr_curvature_follow(&s, INFINITY, 0.9);
    assert_memory_equal(&s, &before, sizeof s);
    for (int i = 0; i < 200; i++)
        sr_curvature_follow(&s, 0.5 * s.scale, 0.9);
    assert_true(fabs(s.peak - 0.5) < 1e-6 && s.scale == 1);
}

// The energy that trains is the scaled one, and its gradient in the raw parameters, spectral norm
// included, is that of the chain rule at a constant scale.
static void the_gradient_is_that_of_the_scaled_energy(void **state) {
    const sr_net net = small_mlp(8);
    const size_t count = net.parameters;
    sr_train_options o = small_options(false);
    sr_curvature *curvature;
    sr_spectral *spectral;
    sr_energy *energy;
    sr_team *team;
    float *theta = sr_alloc(count, sizeof *theta), *effective = sr_alloc(count, sizeof *effective);
    float *gradient = sr_alloc(count, sizeof *gradient);
    float x[2 * 16], e[16];
    o.curvature_cap = 0.9;
    const sr_curvature_state capped = {.found = 2, .peak = 3, .scale = 0.3};
    assert_true(theta && effective && gradient);
    must(sr_curvature_create(&net, &o, &curvature));
    sr_curvature_set(curvature, &capped);
    must(sr_spectral_create(&net, SR_ENGINE_SCALAR, 1, &spectral));
    must(sr_energy_network(&net, SR_ENGINE_SCALAR, SR_FP32, 16, &energy));
    must(sr_team_create(energy, 1, &team));
    sr_net_init(&net, 3, theta);
    sr_start_fill(SR_START_GAUSSIAN, 1, 0, 0, 16, 2, x);
    sr_spectral_apply(spectral, 300, theta, effective);
    sr_energy_set_parameters(energy, effective);
    sr_team_evaluate(team, 16, x, e, NULL);
    const float plain = e[3];
    sr_energy_set_parameters(energy, sr_curvature_apply(curvature, &net, effective));
    sr_team_evaluate(team, 16, x, e, NULL);
    assert_true(fabs(e[3] - 0.3 * plain) < 1e-6 * (1 + fabs(plain)));
    must(sr_team_gradient_theta(team, 16, x, NULL, NULL, gradient));
    sr_curvature_pull_back(curvature, &net, gradient);
    sr_spectral_pull_back(spectral, effective, gradient);
    for (size_t i = 0; i < count; i += 7) { // central differences of the sum of energies
        const float h = 2e-3f, kept = theta[i];
        double sums[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            theta[i] = side ? kept + h : kept - h;
            sr_spectral_apply(spectral, 300, theta, effective);
            sr_energy_set_parameters(energy, sr_curvature_apply(curvature, &net, effective));
            sr_team_evaluate(team, 16, x, e, NULL);
            for (size_t n = 0; n < 16; n++)
                sums[side] += e[n];
        }
        theta[i] = kept;
        const double slope = (sums[1] - sums[0]) / (2 * (double)h);
        if (fabs(slope - gradient[i]) > 2e-3 + 5e-3 * fabs(slope))
            fail_msg("parameter %zu: difference %.6g, gradient %.6g", i, slope,
                     (double)gradient[i]);
    }
    sr_curvature_destroy(curvature);
    sr_spectral_destroy(spectral);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_free(theta), sr_free(effective), sr_free(gradient);
}

// ---- the same bits ------------------------------------------------------------------------------

static sr_train_options capped_options(void) {
    sr_train_options o = small_options(false);
    o.dynamics.step_size = 3;
    o.dynamics.steps = 2;
    o.rate = 1e-2;
    o.curvature_cap = 0.05;
    o.curvature_every = 4;
    o.average = 0.9;
    o.spectral_iterations = 1;
    return o;
}

static void a_resumed_run_gives_the_same_bits(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = capped_options();
    char path[320], whole[33], resumed[33];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    for (size_t stop = 9; stop < 13; stop++) { // between estimates and right at one
        steps(t, stop - sr_trainer_iteration(t));
        must(sr_trainer_save(t, scratch_path(path, "capped.safetensors")));
        sr_trainer *other;
        must(sr_trainer_create(&net, &data, &o, &other));
        must(sr_trainer_load(other, path));
        state_hash(t, whole);
        state_hash(other, resumed);
        assert_string_equal(whole, resumed);
        assert_true(sr_curvature_get(t->curvature)->scale < 1);
        steps(other, 13);
        sr_trainer *straight;
        must(sr_trainer_create(&net, &data, &o, &straight));
        steps(straight, stop + 13);
        state_hash(straight, whole);
        state_hash(other, resumed);
        assert_string_equal(whole, resumed);
        assert_memory_equal(sr_curvature_get(straight->curvature),
                            sr_curvature_get(other->curvature), sizeof(sr_curvature_state));
        sr_trainer_destroy(straight);
        sr_trainer_destroy(other);
    }
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// What a file says of the cap is checked before anything is taken from it.
static void a_state_that_makes_no_sense_is_refused(void **state) {
    static const char *const damage[][3] = {
        {"train.curvature_scale", "0", "train.curvature_scale is '0', expected a number from"},
        {"train.curvature_scale", "1.5", "train.curvature_scale is '1.5'"},
        {"train.curvature_peak", "nan", "train.curvature_peak is 'nan'"},
        {"train.curvature_found", "much", "train.curvature_found is 'much'"},
        {"train.curvature_cap", "0.8", "made with curvature_cap 0.8, this run has 0.05"},
        {"train.curvature_every", "5", "made with curvature_every 5, this run has 4"},
    };
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = capped_options();
    char path[320], before[33], after[33];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, 5);
    state_hash(t, before);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        sr_tensors *tensors;
        must(sr_trainer_save(t, scratch_path(path, "damaged.safetensors")));
        must(sr_tensors_load(path, &tensors));
        must(sr_tensors_set_meta(tensors, damage[i][0], damage[i][1]));
        must(sr_tensors_save(tensors, path));
        sr_tensors_destroy(tensors);
        assert_int_not_equal(sr_trainer_load(t, path), SR_OK);
        message_holds(damage[i][2]);
        state_hash(t, after);
        assert_string_equal(before, after);
    }
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void threads_do_not_show(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    char hashes[3][33];
    for (unsigned threads = 1; threads <= 3; threads++) {
        sr_train_options o = capped_options();
        sr_trainer *t;
        o.threads = threads;
        must(sr_trainer_create(&net, &data, &o, &t));
        steps(t, 12);
        state_hash(t, hashes[threads - 1]);
        sr_trainer_destroy(t);
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_equal(hashes[0], hashes[2]);
    sr_dataset_clear(&data);
}

// ---- refusals -----------------------------------------------------------------------------------

static void what_has_no_curvature_is_refused(void **state) {
    sr_dataset data = toy_data();
    const sr_activation flat[] = {SR_RELU, SR_LEAKY_RELU};
    for (size_t i = 0; i < 2; i++) {
        sr_net net;
        sr_train_options o = small_options(false);
        sr_trainer *t;
        o.curvature_cap = 0.9;
        must(sr_net_mlp(&net, 2, (const size_t[]){8}, 1, flat[i], 1));
        assert_int_equal(sr_trainer_create(&net, &data, &o, &t), SR_ERROR_UNSUPPORTED);
        assert_null(t);
        message_holds("curvature_cap: activation ");
        message_holds(sr_activation_name(flat[i]));
        message_holds("has no curvature");
    }
    sr_dataset_clear(&data);
}

static void values_out_of_range_are_refused(void **state) {
    sr_train_options o = small_options(false);
    o.curvature_cap = -0.5;
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_ARGUMENT);
    message_holds("curvature_cap is -0.5, expected a number in [0, 100]");
    o.curvature_cap = NAN;
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_ARGUMENT);
    o.curvature_cap = 0.9;
    o.curvature_every = 0;
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_ARGUMENT);
    message_holds("curvature_every is 0, expected a whole number from 1 to 1000000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cap_holds_in_the_plane),
        cmocka_unit_test(the_cap_holds_on_images),
        cmocka_unit_test(a_cap_that_does_not_bind_changes_nothing),
        cmocka_unit_test(the_state_follows_what_is_measured),
        cmocka_unit_test(the_gradient_is_that_of_the_scaled_energy),
        cmocka_unit_test(a_resumed_run_gives_the_same_bits),
        cmocka_unit_test(a_state_that_makes_no_sense_is_refused),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(what_has_no_curvature_is_refused),
        cmocka_unit_test(values_out_of_range_are_refused),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_remove();
    return failed;
}
