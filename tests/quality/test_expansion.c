// FD at infinity of many features, whose distances come from an expansion (frechet.c), beside the
// line through distances that are computed one by one; and the same bits for 1, 2, 3 threads.
#include <shortrun/quality.h>

#include "quality/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 1100, M = 4400, DIM = 1030, FACTORS = 6, SIZES = 7 };

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

// Rows of a few strong factors and noise whose variance falls by a factor of 100 over the features,
// cut at 0 as a network's last features are.
static float *draw(size_t n, uint64_t seed, float spread) {
    float *x = sr_alloc(n * DIM, sizeof *x), factor[FACTORS], load[FACTORS * DIM];
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_TEST, 0);
    assert_non_null(x);
    sr_kernels_get()->normal(sr_stream_make(5, SR_PURPOSE_TEST, 0), 0, 0, FACTORS * DIM, load);
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * DIM;
        sr_kernels_get()->normal(stream, i, 0, DIM, row);
        sr_kernels_get()->normal(stream, i, 1, FACTORS, factor);
        for (size_t d = 0; d < DIM; d++) {
            for (size_t k = 0; k < FACTORS; k++)
                row[d] += 0.4f * factor[k] * load[k * DIM + d];
            row[d] = spread * (1 - 0.9f * (float)d / DIM) * row[d] + 0.5f;
            row[d] = row[d] > 0 ? row[d] : 0;
        }
    }
    return x;
}

// The line's value at infinity from Frechet distances of the first rows of the shuffle.
static double direct(const float *real, const float *fake, const sr_metric_options *given) {
    sr_metric_options options = *given;
    size_t *order = sr_alloc(M, sizeof *order);
    float *shuffled = sr_alloc((size_t)M * DIM, sizeof *shuffled);
    double x[SIZES], y[SIZES], mean_x = 0, mean_y = 0, xx = 0, xy = 0;
    options.which = SR_BIT(SR_FRECHET);
    options.no_errors = true;
    sr_shuffle(options.seed, 2, M, order);
    for (size_t i = 0; i < M; i++)
        memcpy(shuffled + i * DIM, fake + order[i] * DIM, DIM * sizeof *fake);
    for (size_t i = 0; i < SIZES; i++) {
        sr_metric_values v;
        size_t n = M / 2 + i * (M / 2) / (SIZES - 1);
        must(sr_metrics(N, real, n, shuffled, DIM, &options, &v));
        x[i] = 1 / (double)n;
        y[i] = v.value[SR_FRECHET];
        mean_x += x[i] / SIZES;
        mean_y += y[i] / SIZES;
    }
    for (size_t i = 0; i < SIZES; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    sr_free(order);
    sr_free(shuffled);
    return mean_y - mean_x * xy / xx;
}

static void test_expansion(void **state) {
    float *real = draw(N, 1, 1), *fake = draw(M, 2, 1.1f);
    sr_metric_options options;
    sr_metric_values v, more;
    sr_metric_options_default(&options);
    options.which = SR_BIT(SR_FRECHET) | SR_BIT(SR_FRECHET_INFINITY) | SR_BIT(SR_VENDI);
    options.frechet_sizes = SIZES;
    options.threads = 1;
    must(sr_metrics(N, real, M, fake, DIM, &options, &v));
    double found = v.value[SR_FRECHET_INFINITY], expected = direct(real, fake, &options);
    assert_true(v.error[SR_FRECHET_INFINITY] > 0);
    if (fabs(found - expected) > 0.03 * v.error[SR_FRECHET_INFINITY])
        fail_msg("%.9g, expected %.9g, error %.3g", found, expected, v.error[SR_FRECHET_INFINITY]);
    for (options.threads = 2; options.threads <= 3; options.threads++) {
        must(sr_metrics(N, real, M, fake, DIM, &options, &more));
        assert_memory_equal(&v, &more, sizeof v);
    }
    options.no_errors = true; // the same value without them
    must(sr_metrics(N, real, M, fake, DIM, &options, &more));
    assert_true(more.value[SR_FRECHET_INFINITY] == found);
    sr_free(real);
    sr_free(fake);
}

// ---- sums in float ------------------------------------------------------------------------------

enum { ROWS = 2100, HALF = 520, WIDE = 2 * HALF }; // enough for sums in float, half of it not

// Rows of HALF features side by side with `more` (HALF), or with the constant 3.
static float *widen(const float *x, const float *more) {
    float *out = sr_alloc((size_t)ROWS * WIDE, sizeof *out);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t d = 0; d < WIDE; d++)
            out[i * WIDE + d] = d < HALF ? x[i * HALF + d] : more ? more[i * HALF + d - HALF] : 3;
    return out;
}

static double frechet(const float *real, const float *fake, size_t dim, unsigned threads) {
    sr_metric_options options;
    sr_metric_values v;
    sr_metric_options_default(&options);
    options.which = SR_BIT(SR_FRECHET);
    options.threads = threads;
    must(sr_metrics(ROWS, real, ROWS, fake, dim, &options, &v));
    return v.value[SR_FRECHET];
}

static void near(const char *what, double found, double expected) {
    if (fabs(found - expected) > 1e-6 * fabs(expected))
        fail_msg("%s: %.10g, expected %.10g", what, found, expected);
}

// The distances of few features, in double, are known for more of them: constant ones add nothing,
// a second copy of all doubles the distance. Copies make a covariance singular, as do few rows that
// come again and again: what float makes of its zeros may not be seen.
static void test_narrow(void **state) {
    float *x = sr_alloc((size_t)ROWS * HALF, sizeof *x), *y = sr_alloc((size_t)ROWS * HALF, 4);
    assert_true(!sr_scatter_narrow(HALF) && sr_scatter_narrow(WIDE) && ROWS >= 2 * WIDE);
    sr_kernels_get()->normal(sr_stream_make(6, SR_PURPOSE_TEST, 1), 0, 0, (size_t)ROWS * HALF, x);
    sr_kernels_get()->normal(sr_stream_make(6, SR_PURPOSE_TEST, 2), 0, 0, (size_t)ROWS * HALF, y);
    for (size_t i = 0; i < (size_t)ROWS * HALF; i++)
        y[i] = 1.1f * y[i] + x[i / HALF * HALF]; // one strong direction
    double expected = frechet(x, y, HALF, 2);
    float *padded[2] = {widen(x, NULL), widen(y, NULL)}, *twice[2] = {widen(x, x), widen(y, y)};
    near("constant features", frechet(padded[0], padded[1], WIDE, 1), expected);
    near("copied features", frechet(twice[0], twice[1], WIDE, 2), 2 * expected);
    for (size_t i = 200; i < ROWS; i++) // 200 rows, again and again
        memcpy(y + i * HALF, y + i % 200 * HALF, HALF * sizeof *y);
    expected = frechet(x, y, HALF, 2);
    for (int set = 0; set < 2; set++)
        sr_free(padded[set]);
    padded[0] = widen(x, NULL);
    padded[1] = widen(y, NULL);
    near("few rows", frechet(padded[0], padded[1], WIDE, 2), expected);
    assert_true(frechet(padded[0], padded[1], WIDE, 1) == frechet(padded[0], padded[1], WIDE, 3));
    for (int set = 0; set < 2; set++) {
        sr_free(padded[set]);
        sr_free(twice[set]);
    }
    sr_free(x);
    sr_free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expansion),
                                       cmocka_unit_test(test_narrow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
