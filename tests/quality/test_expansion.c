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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expansion)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
