// Options, schedule, clipping, Adam (against PyTorch's trajectory), SGD and the weight average.
#include "train_test.h"

#include <math.h>

static const char *oracle(char out[512], const char *name) {
    const char *folder = getenv("SHORTRUN_ORACLE_DIR");
    snprintf(out, 512, "%s/%s", folder && folder[0] ? folder : SR_ORACLE_DIR, name);
    return out;
}

static double meta_number(const sr_tensors *tensors, const char *key) {
    const char *text = sr_tensors_meta(tensors, key);
    assert_non_null(text);
    return strtod(text, NULL);
}

// PyTorch's Adam in float64 on the oracle's gradients, at every step.
static void adam_follows_pytorch(void **state) {
    char path[512];
    sr_tensors *tensors;
    must(sr_tensors_load(oracle(path, "adam.safetensors"), &tensors));
    const sr_array *p0 = sr_tensors_find(tensors, "p0");
    const sr_array *grads = sr_tensors_find(tensors, "grads");
    const sr_array *expect = sr_tensors_find(tensors, "expect.params");
    assert_true(p0 && grads && expect);
    const size_t n = p0->shape[0], count = grads->shape[0];
    float *g = NULL, *p = NULL;
    double *want = NULL;
    must(sr_array_to_f32(grads, &g));
    must(sr_array_to_f32(p0, &p));
    must(sr_array_to_f64(expect, &want));
    sr_train_options o;
    sr_train_options_default(&o, false);
    o.beta1 = meta_number(tensors, "beta1");
    o.beta2 = meta_number(tensors, "beta2");
    o.epsilon = meta_number(tensors, "eps");
    const double rate = meta_number(tensors, "lr");
    sr_point point;
    must(sr_point_create(n, SR_ADAM, &point));
    memcpy(point.theta, p, n * sizeof(float));
    double worst = 0.0;
    for (size_t t = 0; t < count; t++) {
        sr_optimiser_step(sr_kernels_get(), &o, n, &point, g + t * n, rate, t + 1);
        for (size_t i = 0; i < n; i++)
            worst = fmax(worst, fabs(point.theta[i] - want[t * n + i]));
    }
    // Parameters below 4 are rounded by at most 1.2e-7 in each of 12 steps; the way is about 1e-2
    // long.
    if (worst > 2e-6)
        fail_msg("largest difference from PyTorch's Adam: %g", worst);
    sr_point_clear(&point);
    sr_free(g);
    sr_free(p);
    sr_free(want);
    sr_tensors_destroy(tensors);
}

// b <- mu b + g, theta <- theta - rate b (PyTorch), by hand for three steps.
static void sgd_has_momentum(void **state) {
    sr_train_options o;
    sr_train_options_default(&o, false);
    o.optimiser = SR_SGD;
    o.beta1 = 0.5;
    sr_point point;
    must(sr_point_create(2, SR_SGD, &point));
    assert_null(point.v);
    point.theta[0] = 1.0f;
    point.theta[1] = -1.0f;
    const float gradients[3][2] = {{1.0f, 0.0f}, {0.0f, 2.0f}, {-1.0f, 0.0f}};
    const float expect[3][2] = {{0.9f, -1.0f}, {0.85f, -1.2f}, {0.925f, -1.3f}};
    for (int t = 0; t < 3; t++) {
        sr_optimiser_step(sr_kernels_get(), &o, 2, &point, gradients[t], 0.1, (uint64_t)t + 1);
        assert_float_equal(point.theta[0], expect[t][0], 1e-6);
        assert_float_equal(point.theta[1], expect[t][1], 1e-6);
    }
    sr_point_clear(&point);
}

static void schedule_decays_linearly(void **state) {
    sr_train_options o;
    sr_train_options_default(&o, true);
    o.iterations = 10;
    o.rate = 2.0;
    o.decay_from = 0.6;
    o.decay_to = 0.2;
    const double expect[10] = {2, 2, 2, 2, 2, 2, 1.6, 1.2, 0.8, 0.4};
    for (uint64_t t = 0; t < 10; t++)
        assert_float_equal(sr_schedule_rate(&o, t), expect[t], 1e-12);
    o.decay_from = 1.0; // never
    for (uint64_t t = 0; t < 10; t++)
        assert_true(sr_schedule_rate(&o, t) == 2.0);
    o.decay_from = 0.95; // the last iteration alone
    assert_true(sr_schedule_rate(&o, 8) == 2.0);
    assert_float_equal(sr_schedule_rate(&o, 9), 0.4, 1e-12);
    o.iterations = 1;
    assert_float_equal(sr_schedule_rate(&o, 0), 0.4, 1e-12);
}

static void clipping_bounds_the_norm(void **state) {
    float g[3] = {3.0f, 0.0f, -4.0f};
    sr_gradient_clip(3, g, 5.0, 10.0);
    assert_true(g[0] == 3.0f && g[2] == -4.0f);
    sr_gradient_clip(3, g, 5.0, 0.0);
    assert_true(g[0] == 3.0f && g[2] == -4.0f);
    sr_gradient_clip(3, g, 5.0, 1.0);
    assert_float_equal(g[0], 0.6f, 1e-7);
    assert_float_equal(g[2], -0.8f, 1e-7);
}

// Weights decay^(t - i), normalised: the start value has none.
static void average_is_unbiased(void **state) {
    const double d = 0.9;
    float average[1] = {123.0f};
    double sum = 0.0, weights = 0.0;
    for (uint64_t t = 1; t <= 50; t++) {
        const float theta[1] = {sinf((float)t)};
        sr_average_update(1, average, theta, d, t);
        sum = d * sum + theta[0];
        weights = d * weights + 1.0;
        assert_float_equal(average[0], sum / weights, 1e-6);
    }
}

static void names_round_trip(void **state) {
    sr_optimiser o;
    must(sr_optimiser_parse("sgd", &o));
    assert_int_equal(o, SR_SGD);
    must(sr_optimiser_parse("adam", &o));
    assert_int_equal(o, SR_ADAM);
    assert_int_equal(sr_optimiser_parse("Adam", &o), SR_ERROR_ARGUMENT);
    message_holds("'Adam', expected adam or sgd");
    assert_string_equal(sr_optimiser_name(SR_SGD), "sgd");
}

static void refused(const sr_train_options *o, const char *message) {
    assert_int_equal(sr_train_options_check(o), SR_ERROR_ARGUMENT);
    message_holds(message);
}

// Sets one field to a bad value and expects the message to name it and what is allowed.
#define refuses(field, value, message)                                                             \
    do {                                                                                           \
        sr_train_options_default(&o, true);                                                        \
        o.field = value;                                                                           \
        refused(&o, message);                                                                      \
    } while (0)

static void check_names_the_field(void **state) {
    sr_train_options o;
    sr_train_options_default(&o, true);
    must(sr_train_options_check(&o));
    sr_train_options_default(&o, false);
    must(sr_train_options_check(&o));
    refuses(iterations, 0, "iterations is 0, expected a whole number from 1 to 1000000000");
    refuses(batch, 0, "batch is 0, expected a whole number from 1 to 1048576");
    refuses(threads, 5000, "threads is 5000");
    refuses(tile, 100000, "tile is 100000");
    refuses(optimiser, (sr_optimiser)9, "optimiser is number 9");
    refuses(rate, 0.0, "rate is 0, expected a number in (0, 1e+06]");
    refuses(rate, NAN, "rate is nan");
    refuses(beta1, 1.0, "beta1 is 1, expected a number in [0, 1)");
    refuses(beta2, -0.1, "beta2 is -0.1, expected a number in [0, 1)");
    refuses(epsilon, 0.0, "epsilon is 0");
    refuses(decay_from, 0.0, "decay_from is 0, expected a number in (0, 1]");
    refuses(decay_to, 1.5, "decay_to is 1.5, expected a number in [0, 1]");
    refuses(average, 1.0, "average is 1, expected a number in [0, 1)");
    refuses(energy_l2, -1.0, "energy_l2 is -1, expected a finite number of at least 0");
    refuses(clip_norm, INFINITY, "clip_norm is inf, expected a finite number of at least 0");
    refuses(spectral_iterations, 5000, "spectral_iterations is 5000");
    refuses(data_noise, -0.5, "data_noise is -0.5");
    refuses(gap_bound, NAN, "gap_bound is nan");
    refuses(dynamics.steps, 0, "dynamics: ");
    refuses(dynamics.noise, -0.1, "dynamics: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_follows_pytorch),     cmocka_unit_test(sgd_has_momentum),
        cmocka_unit_test(schedule_decays_linearly), cmocka_unit_test(clipping_bounds_the_norm),
        cmocka_unit_test(average_is_unbiased),      cmocka_unit_test(names_round_trip),
        cmocka_unit_test(check_names_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
