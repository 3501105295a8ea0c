// Scores of logits, Vendi score, Frechet distance at infinity, KID by subsets, the classifier test,
// memorisation, conventions, values over seeds: closed forms and properties.
#include <shortrun/quality.h>

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g within %g", found, expected, tolerance);
}

static float *normals(uint64_t seed, size_t n, size_t dim, float scale, float shift) {
    float *x = sr_alloc(n * dim, sizeof(float));
    assert_non_null(x);
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_TEST, 0);
    for (size_t i = 0; i < n; i++)
        sr_kernels_get()->normal(stream, i, 0, dim, x + i * dim);
    for (size_t i = 0; i < n * dim; i++)
        x[i] = scale * x[i] + shift;
    return x;
}

static sr_metric_values measure(uint32_t which, size_t n, const float *x, size_t m, const float *y,
                                size_t dim) {
    sr_metric_options options;
    sr_metric_values v;
    sr_metric_options_default(&options);
    options.which = which;
    must(sr_metrics(n, x, m, y, dim, &options, &v));
    return v;
}

// Sure of one of four classes each: IS = 4, entropies ln 4. All the same class: 1 and 0.
static void test_logits(void **state) {
    enum { N = 400, CLASSES = 4 };
    float logits[N * CLASSES] = {0};
    uint64_t count[CLASSES];
    double share[CLASSES], deviation;
    sr_estimate score, hard, soft;
    for (size_t i = 0; i < N; i++)
        logits[i * CLASSES + i % CLASSES] = 100;
    must(sr_inception_score(N, CLASSES, logits, 1, 1, &score, &deviation));
    near(score.value, 4, 1e-9);
    near(deviation, 0, 0);
    must(sr_inception_score(N, CLASSES, logits, 10, 1, &score, &deviation));
    assert_true(score.value > 3.5 && score.value < 4 && score.low < score.value);
    near(score.error, deviation / 3, 1e-12);
    must(sr_class_histogram(N, CLASSES, logits, count, share, &hard, &soft));
    for (size_t c = 0; c < CLASSES; c++) {
        assert_int_equal(count[c], N / CLASSES);
        near(share[c], 0.25, 1e-12);
    }
    near(hard.value, log(4), 1e-12);
    near(soft.value, log(4), 1e-9);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < CLASSES; c++)
            logits[i * CLASSES + c] = c == 2 ? 100 : 0;
    must(sr_inception_score(N, CLASSES, logits, 10, 1, &score, NULL));
    near(score.value, 1, 1e-9);
    must(sr_class_histogram(N, CLASSES, logits, count, NULL, &hard, NULL));
    near(hard.value, 0, 0);
    near(hard.error, 0, 0);
    logits[9] = NAN;
    assert_int_equal(sr_inception_score(N, CLASSES, logits, 10, 1, &score, NULL),
                     SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "row 2, class 1 is nan"));
    assert_int_equal(sr_inception_score(5, CLASSES, logits, 10, 1, &score, NULL),
                     SR_ERROR_ARGUMENT);
}

// Orthogonal rows count in full, copies not at all; both shapes of the matrix agree.
static void test_vendi(void **state) {
    enum { DIM = 6 };
    float x[12 * DIM] = {0}, y[4 * DIM] = {0};
    for (size_t i = 0; i < 12; i++)
        x[i * DIM + i % 3] = (float)(i + 1);
    for (size_t i = 0; i < 4; i++)
        y[i * DIM + i % 3] = 1;
    near(measure(1u << SR_VENDI, 12, x, 12, x, DIM).value[SR_VENDI], 3, 1e-9);
    double half = -0.5 * log(0.5) - 0.5 * log(0.25); // eigenvalues 1/2, 1/4, 1/4
    near(measure(1u << SR_VENDI, 12, x, 4, y, DIM).value[SR_VENDI], exp(half), 1e-9);
    // 60 rows of 80 features, each row twice: n > dim and n <= dim.
    float *z = normals(3, 60, 80, 1, 0), *twice = sr_alloc(120 * 80, sizeof(float));
    memcpy(twice, z, 60 * 80 * sizeof(float));
    memcpy(twice + 60 * 80, z, 60 * 80 * sizeof(float));
    sr_metric_values a = measure(1u << SR_VENDI, 60, z, 60, z, 80),
                     b = measure(1u << SR_VENDI, 60, z, 120, twice, 80);
    near(a.value[SR_VENDI], b.value[SR_VENDI], 1e-9);
    near(a.error[SR_VENDI] / b.error[SR_VENDI], sqrt(2 * 119.0 / 118), 0.01);
    sr_free(z);
    sr_free(twice);
}

// The bias of the Frechet distance of a few rows is gone at infinity.
static void test_frechet_infinity(void **state) {
    size_t n = 20000, m = 2000, dim = 16;
    float *x = normals(4, n, dim, 1, 0), *y = normals(5, m, dim, 1, 0);
    sr_metric_values v = measure(1u << SR_FRECHET | 1u << SR_FRECHET_INFINITY, n, x, m, y, dim);
    double bias = v.value[SR_FRECHET];
    assert_true(bias > 0.02);
    near(v.value[SR_FRECHET_INFINITY], 0, 0.3 * bias);
    assert_true(v.error[SR_FRECHET_INFINITY] > v.error[SR_FRECHET]);
    sr_free(x);
    sr_free(y);
}

static void test_kid_subsets(void **state) {
    size_t n = 400, dim = 8;
    float *x = normals(6, n, dim, 1, 0), *y = normals(7, n, dim, 1.1f, 0.2f);
    sr_metric_options options;
    sr_metric_values v;
    sr_metric_options_default(&options);
    options.which = 1u << SR_KID | 1u << SR_KID_SUBSETS;
    options.kid_subsets = 3;
    must(sr_metrics(n, x, n, y, dim, &options, &v)); // subsets of all rows
    near(v.value[SR_KID_SUBSETS], v.value[SR_KID], 1e-12);
    near(v.kid_subset_deviation, 0, 1e-12);
    options.kid_subsets = 200;
    options.kid_subset_size = 100;
    must(sr_metrics(n, x, n, y, dim, &options, &v));
    near(v.value[SR_KID_SUBSETS], v.value[SR_KID], 5 * v.kid_subset_deviation / sqrt(200));
    assert_true(v.kid_subset_deviation > 0);
    options.kid_subset_clamp = false;
    options.kid_subset_size = 401;
    assert_int_equal(sr_metrics(n, x, n, y, dim, &options, &v), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "400 rows, expected at least the 401"));
    sr_free(x);
    sr_free(y);
}

static void test_c2st(void **state) {
    size_t n = 600, dim = 5;
    float *x = normals(8, n, dim, 1, 0), *y = normals(9, n, dim, 1, 0),
          *z = normals(10, n, dim, 1, 3);
    sr_metric_values same = measure(1u << SR_C2ST_ACCURACY, n, x, n, y, dim),
                     far = measure(1u << SR_C2ST_ACCURACY, n, x, n, z, dim);
    near(same.value[SR_C2ST_ACCURACY], 0.5, 0.08);
    assert_true(same.c2st_p > 0.001 && same.c2st_rows == 600);
    assert_true(far.value[SR_C2ST_ACCURACY] > 0.99 && far.c2st_p < 1e-12);
    sr_free(x);
    sr_free(y);
    sr_free(z);
}

static void test_memorisation(void **state) {
    size_t n = 500, dim = 4;
    float *x = normals(11, n, dim, 1, 0), *y = normals(12, n, dim, 1, 0);
    sr_metric_options options;
    sr_metric_values v;
    size_t nearest[500];
    double fake[500], real[500];
    sr_metric_rows rows = {.nearest = nearest, .nearest_distance = fake, .real_distance = real};
    sr_memorisation found;
    sr_metric_options_default(&options);
    options.which = 1u << SR_SLICED_W2; // rows alone start the sweeps
    options.rows = &rows;
    must(sr_metrics(n, x, n, y, dim, &options, &v));
    must(sr_memorisation_of(n, real, n, fake, &found));
    near(found.closer, 0.5, 0.06);
    near(found.copies, 0.01, 0.02);
    near(found.median_fake / found.median_real, 1, 0.1);
    must(sr_metrics(n, x, n, x, dim, &options, &v));
    must(sr_memorisation_of(n, real, n, fake, &found));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(nearest[i], i);
    near(found.closer, 1, 0);
    near(found.copies, 1, 0);
    near(found.median_fake, 0, 0);
    sr_free(x);
    sr_free(y);
}

static void test_conventions(void **state) {
    for (int c = 0; c < SR_CONVENTION_COUNT; c++) {
        sr_convention convention;
        sr_metric_options options;
        sr_text text = {0};
        must(sr_convention_parse(sr_convention_name((sr_convention)c), &convention));
        assert_int_equal(convention, c);
        sr_metric_options_default(&options);
        sr_convention_apply(convention, &options);
        options.which = sr_convention_metrics(convention);
        sr_metric_options_describe(&options, &text);
        assert_non_null(strstr(sr_text_string(&text), "n - 1")
                            ?: strstr(sr_text_string(&text), "k 5"));
        if (c == SR_CONVENTION_TORCH_FIDELITY)
            assert_non_null(strstr(sr_text_string(&text), "k 3, distance <= radius"));
        sr_text_clear(&text);
    }
    sr_convention convention;
    assert_int_equal(sr_convention_parse("fid", &convention), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "dgm-eval"));
}

static void test_seeds(void **state) {
    const double a[5] = {3, 4, 5, 4, 6}, b[5] = {1, 2, 4, 2, 3};
    sr_estimate mean;
    double deviation;
    sr_difference d;
    must(sr_seeds_summary(5, a, &mean, &deviation));
    near(mean.value, 4.4, 1e-12);
    near(deviation, sqrt(1.3), 1e-12);
    near(mean.high - mean.value, 2.7764451051977987 * sqrt(1.3 / 5), 1e-9); // t, 4 degrees
    must(sr_seeds_compare(5, a, b, 1, &d));
    near(d.difference.value, 2, 1e-12);
    near(d.p, 2.0 / 32, 1e-12); // all of one sign
    must(sr_seeds_compare(5, a, a, 1, &d));
    near(d.p, 1, 0);
    double many[30], zero[30] = {0};
    for (size_t i = 0; i < 30; i++)
        many[i] = i % 3 ? 1 : -1;
    must(sr_seeds_compare(30, many, zero, 1, &d));
    near(d.p, 0.0987, 0.002); // P(|20 - 10| or more heads apart of 30), binomial
    must(sr_seeds_summary(1, a, &mean, &deviation));
    assert_true(isnan(mean.error) && isnan(deviation));
    assert_int_equal(sr_seeds_summary(0, a, &mean, &deviation), SR_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_vendi),
        cmocka_unit_test(test_frechet_infinity),
        cmocka_unit_test(test_kid_subsets),
        cmocka_unit_test(test_c2st),
        cmocka_unit_test(test_memorisation),
        cmocka_unit_test(test_conventions),
        cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
