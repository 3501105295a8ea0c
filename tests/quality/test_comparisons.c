// Permutation tests, Holm's adjustment, comparisons of 2-D sets, principal components.
#include <shortrun/quality.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define N 1500
static float data[2 * N], a[2 * N], b[2 * N];

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static void test_holm(void **state) {
    // statsmodels multipletests(method="holm") of the same
    const double p[] = {0.01, 0.04, NAN, 0.03, 0.005, 0.5},
                 holm[] = {0.04, 0.09, NAN, 0.09, 0.025, 0.5};
    double found[6];
    sr_holm(6, p, found);
    for (size_t i = 0; i < 6; i++)
        assert_true(isnan(holm[i]) ? isnan(found[i]) : fabs(found[i] - holm[i]) < 1e-15);
    const double same[] = {0.4, 0.4, 0.4};
    sr_holm(3, same, found);
    assert_true(found[0] == 1 && found[2] == 1);
}

static void test_permutation(void **state) {
    const double far[] = {0, 1, 2, 3, 4, 105, 106, 107, 108, 109}, flat[10] = {0};
    const double *const scores[] = {far, flat};
    double p[2], other[2];
    must(sr_permutation_test(5, 5, 2, scores, 20000, 3, 1, p));
    must(sr_permutation_test(5, 5, 2, scores, 20000, 3, 3, other));
    assert_memory_equal(p, other, sizeof p);
    assert_true(fabs(p[0] - 2.0 / 252) < 0.002); // two of the 252 divisions are as far apart
    assert_true(p[1] == 1);
}

static void draw(uint64_t seed, float scale, float *x) {
    sr_toy_sample(SR_EIGHT_GAUSSIANS, seed, 0, N, x);
    for (size_t i = 0; i < 2 * N; i++)
        x[i] *= scale;
}

static void test_toy_compare(void **state) {
    sr_difference d[SR_TOY_COMPARED], again[SR_TOY_COMPARED];
    sr_toy_scores one;
    draw(1, 1, data);
    draw(2, 1, a);
    draw(3, 1.15f, b);
    must(sr_toy_compare(SR_EIGHT_GAUSSIANS, N, data, N, a, N, b, 299, 1, 1, d));
    must(sr_toy_compare(SR_EIGHT_GAUSSIANS, N, data, N, a, N, b, 299, 1, 3, again));
    must(sr_toy_judge(SR_EIGHT_GAUSSIANS, N, data, N, a, 1, 2, &one));
    assert_true(d[SR_TOY_KL].a == one.kl && d[SR_TOY_KL_REVERSE].a == one.kl_reverse);
    assert_true(d[SR_TOY_KL_TRUE].a == one.kl_true &&
                d[SR_TOY_KL_TRUE_REVERSE].a == one.kl_true_reverse);
    assert_true(d[SR_TOY_HIGH_QUALITY].a == one.high_quality);
    for (size_t s = 0; s < SR_TOY_COMPARED; s++) {
        assert_true(d[s].p == 1.0 / 300 && d[s].p == again[s].p);
        assert_true(d[s].difference.value == again[s].difference.value);
        const bool higher = s == SR_TOY_HIGH_QUALITY; // a is the better one
        assert_true(higher ? d[s].difference.low > 0 : d[s].difference.high < 0);
    }
    must(sr_toy_compare(SR_TWO_MOONS, N, data, N, a, 30, b, 0, 1, 1, d)); // few, no modes, no test
    assert_true(isfinite(d[SR_TOY_KL].difference.value) && isnan(d[SR_TOY_KL].difference.error));
    assert_true(isnan(d[SR_TOY_HIGH_QUALITY].difference.value) && isnan(d[SR_TOY_KL].p));
    b[1] = NAN;
    assert_int_equal(sr_toy_compare(SR_RINGS, N, data, N, a, N, b, 9, 1, 1, d), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "samples B"));
}

// Where nothing differs, p is small as rarely as it says.
static void test_toy_level(void **state) {
    size_t small[SR_TOY_COMPARED] = {0};
    draw(1, 1, data);
    for (uint64_t t = 0; t < 60; t++) {
        sr_difference d[SR_TOY_COMPARED];
        draw(10 + 2 * t, 1.1f, a);
        draw(11 + 2 * t, 1.1f, b);
        must(sr_toy_compare(SR_EIGHT_GAUSSIANS, 500, data, 500, a, 500, b, 99, t, 2, d));
        for (size_t s = 0; s < SR_TOY_COMPARED; s++)
            small[s] += d[s].p <= 0.1;
    }
    for (size_t s = 0; s < SR_TOY_COMPARED; s++)
        if (small[s] > 15) // expected 6, deviation 2.3
            fail_msg("%s: p <= 0.1 in %zu of 60", sr_toy_compared_name(s), small[s]);
}

static void test_principal(void **state) {
    enum { ROWS = 400, DIM = 5 };
    static float x[ROWS * DIM];
    sr_kernels_get()->normal(sr_stream_make(1, SR_PURPOSE_TEST, 0), 0, 0, ROWS * DIM, x);
    for (size_t i = 0; i < ROWS; i++) { // long along (3, -4, 0, 0, 0) / 5, then along axis 3
        const float t = 10 * x[i * DIM];
        x[i * DIM] = 0.6f * t + 0.1f * x[i * DIM + 2] + 7;
        x[i * DIM + 1] = -0.8f * t + 0.1f * x[i * DIM + 4];
        x[i * DIM + 3] *= 3;
    }
    sr_principal pc;
    must(sr_principal_create(ROWS, x, DIM, 2, &pc));
    const double expected[2][DIM] = {{-0.6, 0.8, 0, 0, 0}, {0, 0, 0, 1, 0}};
    for (size_t k = 0; k < 2; k++)
        for (size_t j = 0; j < DIM; j++)
            assert_true(fabs(pc.direction[k * DIM + j] - expected[k][j]) < 0.05);
    assert_true(pc.share[0] > 0.8 && pc.share[0] + pc.share[1] < 1 && pc.share[1] > 0.05);
    double sum[2] = {0}, out[2];
    for (size_t i = 0; i < ROWS; i++) {
        sr_principal_project(&pc, 1, x + i * DIM, out);
        sum[0] += out[0];
        sum[1] += out[1];
    }
    assert_true(fabs(sum[0]) < 1e-3 && fabs(sum[1]) < 1e-3); // from the mean
    sr_principal_clear(&pc);
    memset(x, 0, sizeof x);
    assert_int_equal(sr_principal_create(ROWS, x, DIM, 2, &pc), SR_ERROR_ARGUMENT);
    assert_int_equal(sr_principal_create(1, x, DIM, 2, &pc), SR_ERROR_ARGUMENT);
    assert_int_equal(sr_principal_create(ROWS, x, DIM, 6, &pc), SR_ERROR_ARGUMENT);
    x[7] = INFINITY;
    assert_int_not_equal(sr_principal_create(ROWS, x, DIM, 2, &pc), SR_OK);
    assert_null(pc.direction);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holm),        cmocka_unit_test(test_permutation),
        cmocka_unit_test(test_toy_compare), cmocka_unit_test(test_toy_level),
        cmocka_unit_test(test_principal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
