// The exact Wasserstein-2 distance of points in the plane: against scipy's linear_sum_assignment
// (stored values), against all permutations, and its properties.
#include <shortrun/quality.h>

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define N 3000 // more than SR_TOY_W2_POINTS

static float a[2 * N], b[2 * N], c[2 * N];

// Simple enough to be repeated in Python: the upper 24 bits of a linear congruential
// generator as multiples of 2^-20 in [-8, 8), which floats hold exactly.
static void fill(uint64_t state, size_t n, float scale, float shift, float *x) {
    for (size_t i = 0; i < 2 * n; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        x[i] = (float)((double)(int64_t)(state >> 40) - 0x1p23) * 0x1p-20f * scale;
        if (i % 2 == 0)
            x[i] += shift;
    }
}

static double w2_seeded(size_t n_a, const float *x, size_t n_b, const float *y, uint64_t seed) {
    size_t n;
    double w2;
    const size_t least = n_a < n_b ? n_a : n_b;
    if (sr_toy_w2(n_a, x, n_b, y, seed, &n, &w2) != SR_OK)
        fail_msg("%s", sr_error_message());
    assert_int_equal(n, least < SR_TOY_W2_POINTS ? least : SR_TOY_W2_POINTS);
    return w2;
}

static double w2_of(size_t n, const float *x, const float *y) {
    return w2_seeded(n, x, n, y, 1);
}

static void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g within %g", found, expected, tolerance);
}

static void needs_library(void) {
    if (!sr_toy_w2_library())
        skip();
}

// ---- values -------------------------------------------------------------------------------------

// sqrt(cdist(a, b, "sqeuclidean")[linear_sum_assignment(...)].mean()) of scipy 1.17; b is scaled
// and then shifted along the first axis.
static void test_scipy(void **state) {
    static const struct {
        size_t n;
        float scale, shift;
        double w2;
    } cases[] = {
        {1, 1, 0, 8.545434133733556},        {2, 1, 0, 6.0656743667570456},
        {7, 1, 0, 7.0860650004523471},       {100, 1, 0, 2.6755820372051211},
        {500, 0.25f, 0, 4.9826822520861294}, {1000, 0.125f, 16, 17.052623819095295},
        {2000, 1, 0, 0.40555163993164567},
    };
    needs_library();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(1, cases[i].n, 1, 0, a);
        fill(2, cases[i].n, cases[i].scale, cases[i].shift, b);
        near(w2_of(cases[i].n, a, b), cases[i].w2, 1e-12 * cases[i].w2);
    }
}

static double least_of_permutations(size_t n, size_t fixed, size_t *order, double so_far) {
    if (fixed == n)
        return so_far;
    double least = INFINITY;
    for (size_t i = fixed; i < n; i++) {
        const size_t taken = order[i];
        order[i] = order[fixed];
        order[fixed] = taken;
        const double dx = (double)a[2 * fixed] - b[2 * taken],
                     dy = (double)a[2 * fixed + 1] - b[2 * taken + 1];
        least = fmin(least, least_of_permutations(n, fixed + 1, order, so_far + dx * dx + dy * dy));
        order[fixed] = order[i];
        order[i] = taken;
    }
    return least;
}

static void test_all_permutations(void **state) {
    needs_library();
    for (size_t n = 1; n <= 7; n++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            size_t order[7] = {0, 1, 2, 3, 4, 5, 6};
            fill(2 * seed, n, 1, 0, a);
            fill(2 * seed + 1, n, 1, 2, b);
            near(w2_of(n, a, b), sqrt(least_of_permutations(n, 0, order, 0) / (double)n), 1e-12);
        }
}

// A translation is the best transport there is, whatever the points.
static void test_shifted_copy(void **state) {
    static const float lengths[] = {1, 0x1p-10f, 64};
    needs_library();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        fill(3, 500, 1, 0, a);
        for (size_t j = 0; j < 500; j++) { // multiples of 2^-10: the sums are exact
            a[2 * j] = roundf(a[2 * j] * 0x1p10f) * 0x1p-10f;
            a[2 * j + 1] = roundf(a[2 * j + 1] * 0x1p10f) * 0x1p-10f;
            b[2 * (499 - j)] = a[2 * j] + 3 * lengths[i];
            b[2 * (499 - j) + 1] = a[2 * j + 1] - 4 * lengths[i];
        }
        near(w2_of(500, a, b), 5 * (double)lengths[i], 1e-10);
    }
}

static void test_zero_to_itself(void **state) {
    needs_library();
    fill(4, N, 1, 0, a);
    memcpy(b, a, sizeof b);
    assert_true(w2_of(500, a, b) == 0);
    assert_true(w2_of(N, a, b) == 0); // the same 2,000 rows of both
    for (size_t i = 0; i < 500; i++)
        memcpy(b + 2 * i, a + 2 * (499 - i), 2 * sizeof(float));
    assert_true(w2_of(500, a, b) == 0);
    // All in one place, and all in two.
    for (size_t i = 0; i < 1000; i++) {
        a[i] = 0.5f;
        b[i] = 0.5f;
        c[i] = i % 2 ? 3.5f : 4.5f;
    }
    assert_true(w2_of(500, a, b) == 0);
    near(w2_of(500, a, c), 5, 1e-12);
}

// ---- properties ---------------------------------------------------------------------------------

static void test_invariance(void **state) {
    needs_library();
    fill(5, 400, 1, 0, a);
    fill(6, 400, 0.5f, 1, b);
    const double w2 = w2_of(400, a, b);
    near(w2_of(400, b, a), w2, 1e-12);
    for (size_t i = 0; i < 400; i++) // 147 and 400 have no common factor
        memcpy(c + 2 * i, a + 2 * (147 * i % 400), 2 * sizeof(float));
    near(w2_of(400, c, b), w2, 1e-12);
    near(w2_of(400, b, c), w2, 1e-12);
}

static void test_subsample(void **state) {
    needs_library();
    fill(7, N, 1, 0, a);
    memset(b, 0, sizeof b);
    // To the origin: the root of the mean square of the chosen points, of which 64 / 3 a
    // coordinate, each of relative deviation sqrt(4 / 5), is expected.
    const double expected = sqrt(128.0 / 3), one = w2_seeded(N, a, N, b, 1),
                 two = w2_seeded(N, a, N, b, 2);
    near(one, expected, 5 * expected * sqrt(0.2 / 2000));
    near(two, expected, 5 * expected * sqrt(0.2 / 2000));
    assert_true(one != two);
    assert_true(one == w2_seeded(N, a, N, b, 1));
    near(w2_seeded(N, b, N, a, 1), one, 1e-12);
    // Of different sizes, too: the smaller is taken whole.
    fill(8, N, 1, 0, b);
    assert_true(w2_seeded(N, a, 100, b, 1) > 0);
    assert_true(w2_seeded(N, a, 100, b, 1) != w2_seeded(N, a, 100, b, 2));
    // Two of three rows, each as often as the others: 200 times of 300, deviation 8.
    memset(b, 0, sizeof b);
    for (size_t marked = 0; marked < 3; marked++) {
        size_t taken = 0;
        memset(a, 0, sizeof a);
        a[2 * marked] = 1;
        for (uint64_t seed = 0; seed < 300; seed++) {
            const double w2 = w2_seeded(3, a, 2, b, seed);
            taken += w2 > 0;
            near(w2 * w2, w2 > 0 ? 0.5 : 0, 1e-12); // no row twice
        }
        assert_true(taken > 160 && taken < 240);
    }
}

static void test_extreme_values(void **state) {
    needs_library();
    fill(9, 50, 1, 0, a);
    for (size_t i = 0; i < 100; i++) {
        b[i] = a[i] * 1e30f;
        c[i] = -b[i];
    }
    assert_true(isfinite(w2_of(50, b, c)) && w2_of(50, b, c) > 1e30);
    const float far[4] = {FLT_MAX, FLT_MAX, -FLT_MAX, -FLT_MAX};
    const float close[4] = {FLT_TRUE_MIN, 0, 0, 0}, origin[4] = {0};
    near(w2_of(2, far, origin) / FLT_MAX, sqrt(2), 1e-12);
    near(w2_of(2, close, origin) / FLT_TRUE_MIN, sqrt(0.5), 1e-12);
}

// 95% intervals over new points, against the mean of other repeats of as many points: apart (where
// the distance of the two means leads), and of unlike shapes.
static void check_coverage(float scale, float shift) {
    enum { REPEATS = 100, POINTS = 150 };
    double value[REPEATS], truth = 0, error = 0, mean = 0, spread = 0;
    size_t held = 0, n;
    sr_estimate found[REPEATS];
    const sr_kernels *kernels = sr_kernels_get();
    for (uint64_t r = 0; r < 2 * REPEATS; r++) {
        sr_estimate w2;
        kernels->normal(sr_stream_make(r, SR_PURPOSE_TEST, 30), 0, 0, 2 * POINTS, a);
        kernels->normal(sr_stream_make(r, SR_PURPOSE_TEST, 31), 0, 0, 2 * POINTS, b);
        for (size_t i = 0; i < 2 * POINTS; i++)
            b[i] = scale * b[i] + shift;
        assert_int_equal(sr_toy_w2_estimate(POINTS, a, POINTS, b, r, &n, &w2), SR_OK);
        if (r < REPEATS)
            found[r] = w2;
        else
            truth += w2.value * w2.value / REPEATS;
    }
    truth = sqrt(truth);
    for (size_t r = 0; r < REPEATS; r++) {
        value[r] = found[r].value;
        held += found[r].low <= truth && truth <= found[r].high;
        error += found[r].error / REPEATS;
        mean += value[r] / REPEATS;
    }
    for (size_t r = 0; r < REPEATS; r++)
        spread += (value[r] - mean) * (value[r] - mean) / (REPEATS - 1);
    print_message("scale %g shift %g: coverage %zu of %d, error / deviation %.2f\n", (double)scale,
                  (double)shift, held, REPEATS, error / sqrt(spread));
    // 95 expected, deviation 2.2
    assert_true(held >= 88 && error > 0.8 * sqrt(spread) && error < 1.5 * sqrt(spread));
}

static void test_coverage(void **state) {
    needs_library();
    check_coverage(1, 3);
    check_coverage(0.5f, 1);
    check_coverage(2, 0);
}

static void test_refusals(void **state) {
    size_t n;
    double w2 = 3;
    fill(10, 10, 1, 0, a);
    fill(11, 10, 1, 0, b);
    assert_int_equal(sr_toy_w2(0, a, 10, b, 1, &n, &w2), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "first set: 0 points"));
    assert_true(isnan(w2));
    assert_int_equal(sr_toy_w2(10, a, 0, b, 1, &n, &w2), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "second set: 0 points"));
    a[7] = NAN;
    assert_int_equal(sr_toy_w2(10, a, 10, b, 1, &n, &w2), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "first set: point 3, coordinate 1 is nan"));
    b[0] = INFINITY;
    assert_int_equal(sr_toy_w2(3, a, 10, b, 1, &n, &w2), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "second set: point 0, coordinate 0 is inf"));
    assert_true(isnan(w2));
}

static void test_without_library(void **state) {
    if (sr_toy_w2_library())
        skip();
    fill(12, 10, 1, 0, a);
    assert_true(isnan(w2_of(10, a, a)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scipy),           cmocka_unit_test(test_all_permutations),
        cmocka_unit_test(test_shifted_copy),    cmocka_unit_test(test_zero_to_itself),
        cmocka_unit_test(test_invariance),      cmocka_unit_test(test_subsample),
        cmocka_unit_test(test_extreme_values),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_without_library), cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
