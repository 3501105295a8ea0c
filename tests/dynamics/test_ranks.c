// Rank-normalised R-hat: what the classic one misses, and that only ranks count.
#include <shortrun/dynamics.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { CHAINS = 8, DRAWS = 500, COUNT = CHAINS * DRAWS };

static void fill_normals(double *out) {
    static float z[COUNT];
    sr_kernels_get()->normal(sr_stream_make(9, SR_PURPOSE_TEST, 3), 0, 0, COUNT, z);
    for (size_t i = 0; i < COUNT; i++)
        out[i] = z[i];
}

static double rank_r_hat(size_t chains, size_t draws, const double *value) {
    double found;
    if (sr_rank_r_hat(chains, draws, value, &found) != SR_OK)
        fail_msg("%s", sr_error_message());
    return found;
}

// Two half-chains, (1, 2) and (3, 4): ranks 1 to 4, scores -b, -a, a, b with a = Phi^-1(2.625 /
// 4.25 = 0.617647), b = Phi^-1(3.625 / 4.25 = 0.852941) = 0.299307, 1.049131; W = (b - a)^2 / 2, B
// / N = (a + b)^2 / 2, pooled W / 2 + B / N. Folded about 2.5: 1.5, 0.5, 0.5, 1.5, where both
// halves are alike: 1 / sqrt 2.
static void value_by_hand(void **state) {
    const double value[4] = {1, 2, 3, 4}, a = 0.299306910465667, b = 1.04913139796164;
    const double within = (b - a) * (b - a) / 2, between = (a + b) * (a + b) / 2;
    assert_true(fabs(rank_r_hat(1, 4, value) - sqrt(0.5 + between / within)) < 1e-5);
}

static void monotone_maps_change_nothing_of_the_bulk(void **state) {
    static double value[COUNT];
    fill_normals(value);
    for (size_t i = 0; i < COUNT; i++)
        value[i] += i < DRAWS ? 2 : 0; // one chain elsewhere: the bulk decides
    const double before = rank_r_hat(CHAINS, DRAWS, value);
    for (size_t i = 0; i < COUNT; i++)
        value[i] = exp(3 * value[i]);
    assert_true(before > 1.1);
    assert_true(fabs(rank_r_hat(CHAINS, DRAWS, value) - before) < 1e-12);
    // heavy tails blind the classic one
    assert_true(sr_split_r_hat(CHAINS, DRAWS, value) < before - 0.05);
}

static void spread_and_agreement(void **state) {
    static double value[COUNT];
    fill_normals(value);
    const double good = rank_r_hat(CHAINS, DRAWS, value);
    assert_true(good > 0.995 && good < 1.01);
    for (size_t i = 0; i < DRAWS; i++)
        value[i] *= 5;
    assert_true(rank_r_hat(CHAINS, DRAWS, value) > 1.05);
    assert_true(sr_split_r_hat(CHAINS, DRAWS, value) < 1.01);
    for (size_t i = 0; i < COUNT; i++)
        value[i] = (double)(i / DRAWS); // stuck
    assert_true(rank_r_hat(CHAINS, DRAWS, value) > 10);
    for (size_t i = 0; i < COUNT; i++)
        value[i] = 3;
    assert_true(rank_r_hat(CHAINS, DRAWS, value) == 1); // as the classic one
    value[7] = INFINITY;
    assert_true(isnan(rank_r_hat(CHAINS, DRAWS, value)));
    assert_true(isnan(rank_r_hat(CHAINS, 3, value + DRAWS)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_by_hand),
        cmocka_unit_test(monotone_maps_change_nothing_of_the_bulk),
        cmocka_unit_test(spread_and_agreement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
