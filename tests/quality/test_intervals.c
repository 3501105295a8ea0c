// Do the 95% intervals hold what they promise? 150 repeats of small Gaussian sets, against the
// mean over other repeats of the same sizes; and are p-values of comparisons of like sets uniform?
#include <shortrun/quality.h>

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { REPEATS = 150, N = 200, M = 160, DIM = 4, PROJECTIONS = 32 };

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static void normals(uint64_t seed, uint64_t epoch, size_t n, float scale, float shift, float *x) {
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_TEST, epoch);
    for (size_t i = 0; i < n; i++)
        sr_kernels_get()->normal(stream, i, 0, DIM, x + i * DIM);
    for (size_t i = 0; i < n * DIM; i++)
        x[i] = scale * x[i] + shift;
}

static void draw_projections(float *out) {
    for (size_t p = 0; p < PROJECTIONS; p++) {
        double squares = 0;
        sr_kernels_get()->normal(sr_stream_make(1, SR_PURPOSE_TEST, 12), p, 0, DIM, out + p * DIM);
        for (size_t d = 0; d < DIM; d++)
            squares += (double)out[p * DIM + d] * out[p * DIM + d];
        for (size_t d = 0; d < DIM; d++)
            out[p * DIM + d] = (float)(out[p * DIM + d] / sqrt(squares));
    }
}

static sr_metric_values values[2 * REPEATS];

// Shares of intervals that hold the mean of the other half of the repeats.
static void check_coverage(float scale, float shift, double least) {
    static float x[N * DIM], y[M * DIM], projections[PROJECTIONS * DIM];
    sr_metric_options options;
    sr_metric_options_default(&options);
    draw_projections(projections); // of all repeats: the intervals are given the directions
    options.bandwidth = 2;
    options.kid_subsets = 20;
    options.kid_subset_size = 80;
    options.projection_count = PROJECTIONS;
    options.projections = projections;
    for (size_t r = 0; r < 2 * REPEATS; r++) {
        normals(r, 10, N, 1, 0, x);
        normals(r, 11, M, scale, shift, y);
        options.seed = r;
        must(sr_metrics(N, x, M, y, DIM, &options, &values[r]));
    }
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        if (!(options.which >> m & 1))
            continue;
        double truth = 0, mean = 0, spread = 0, error = 0;
        size_t held = 0;
        for (size_t r = 0; r < REPEATS; r++)
            truth += values[REPEATS + r].value[m] / REPEATS;
        for (size_t r = 0; r < REPEATS; r++) {
            held += values[r].low[m] <= truth && truth <= values[r].high[m];
            mean += values[r].value[m] / REPEATS;
            error += values[r].error[m] / REPEATS;
        }
        for (size_t r = 0; r < REPEATS; r++)
            spread += (values[r].value[m] - mean) * (values[r].value[m] - mean) / (REPEATS - 1);
        double share = (double)held / REPEATS, ratio = error / sqrt(spread);
        print_message("%-16s scale %.1f: coverage %.3f, error / deviation %.2f\n",
                      sr_metric_name((sr_metric)m), (double)scale, share, ratio);
        if (!(share >= least && ratio > 0.75 && ratio < 2.5))
            fail_msg("%s: coverage %.3f, error / deviation %.2f", sr_metric_name((sr_metric)m),
                     share, ratio);
    }
}

static void test_coverage_apart(void **state) {
    check_coverage(1.2f, 0.5f, 0.88);
}

// The degenerate case: U-statistics have twice the variance they should, and are not normal.
static void test_coverage_alike(void **state) {
    check_coverage(1, 0, 0.88);
}

// Two sets of one distribution: p is uniform; two unlike ones: p is small, the interval off 0.
static void test_compare(void **state) {
    static float x[N * DIM], a[N * DIM], b[M * DIM];
    const uint32_t which = 1u << SR_FRECHET | 1u << SR_KID | 1u << SR_MMD2_RBF |
                           1u << SR_ENERGY_DISTANCE | 1u << SR_PRECISION | 1u << SR_DENSITY |
                           1u << SR_RECALL | 1u << SR_COVERAGE;
    sr_metric_options options;
    sr_difference d[SR_METRIC_COUNT];
    size_t small[SR_METRIC_COUNT] = {0}, held[SR_METRIC_COUNT] = {0};
    sr_metric_options_default(&options);
    options.which = which;
    enum { TRIALS = 100 };
    for (size_t r = 0; r < TRIALS; r++) {
        options.seed = r;
        normals(r, 20, N, 1, 0, x);
        normals(r, 21, M, 1, 0.3f, a);
        normals(r, 22, M, 1, 0.3f, b);
        must(sr_compare(N, x, M, a, M, b, DIM, &options, 199, d));
        for (int m = 0; m < SR_METRIC_COUNT; m++) {
            small[m] += d[m].p <= 0.1;
            held[m] += d[m].difference.low <= 0 && d[m].difference.high >= 0;
        }
    }
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        if (!(which >> m & 1))
            continue;
        print_message("%-16s p <= 0.1 in %zu of %d, 0 in the interval in %zu\n",
                      sr_metric_name((sr_metric)m), small[m], TRIALS, held[m]);
        if (small[m] > 21 || held[m] < 88)
            fail_msg("%s: p <= 0.1 in %zu, 0 in the interval in %zu of %d",
                     sr_metric_name((sr_metric)m), small[m], held[m], TRIALS);
    }
    normals(1, 23, M, 1, 1.0f, b);
    must(sr_compare(N, x, M, a, M, b, DIM, &options, 999, d));
    const sr_metric clear[] = {SR_FRECHET, SR_KID, SR_MMD2_RBF, SR_ENERGY_DISTANCE};
    for (size_t i = 0; i < 4; i++)
        assert_true(d[clear[i]].p <= 0.002 && d[clear[i]].difference.high < 0);
    sr_metric_options none = options;
    none.which = 1u << SR_VENDI;
    assert_int_equal(sr_compare(N, x, M, a, M, b, DIM, &none, 9, d), SR_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coverage_apart),
        cmocka_unit_test(test_coverage_alike),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
