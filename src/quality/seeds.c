// Values over seeds: each seed is one draw, so the plain t interval holds for the mean over seeds;
// two settings run with the same seeds are compared by their differences.
#include "metrics.h"

#include <math.h>

#define ENUMERATED 20 // seeds up to which all sign flips are counted: 2^20 at most

static const sr_estimate unknown = {NAN, NAN, NAN, NAN};

void sr_seeds_interval(size_t n, double mean, double deviation, sr_estimate *out) {
    double error = deviation / sqrt((double)n), half = sr_t_quantile((double)n - 1) * error;
    *out = (sr_estimate){mean, error, mean - half, mean + half};
}

sr_status sr_seeds_summary(size_t n, const double *value, sr_estimate *mean, double *deviation) {
    double sum = 0, squares = 0;
    *mean = unknown;
    if (deviation)
        *deviation = NAN;
    if (n == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "summary over seeds: no values");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(value[i]))
            return sr_fail(SR_ERROR_ARGUMENT, "summary over seeds: value %zu is %g", i, value[i]);
    for (size_t i = 0; i < n; i++)
        sum += value[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (value[i] - sum) * (value[i] - sum);
    mean->value = sum;
    if (n == 1)
        return SR_OK;
    double spread = sqrt(squares / (double)(n - 1));
    sr_seeds_interval(n, sum, spread, mean);
    if (deviation)
        *deviation = spread;
    return SR_OK;
}

// Share of the sign flips whose sum is at least as far from 0. Sums that differ by rounding alone
// count as equal.
static double flip_p_value(size_t n, const double *difference, uint64_t seed) {
    uint64_t flips = (uint64_t)1 << (n < ENUMERATED ? n : ENUMERATED), far = 0;
    bool all = n <= ENUMERATED;
    double sum = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        sum += difference[i];
        size += fabs(difference[i]);
    }
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_RESAMPLE, 6);
    for (uint64_t flip = 0; flip < flips; flip++) {
        double flipped = 0;
        uint32_t words[4] = {0};
        for (size_t i = 0; i < n; i++) {
            if (!all && i % 128 == 0) {
                const uint32_t counter[4] = {(uint32_t)flip, (uint32_t)(i / 128), 1, 0};
                sr_philox4x32(counter, stream.key, words);
            }
            bool negative = all ? flip >> i & 1 : words[i % 128 / 32] >> (i % 32) & 1;
            flipped += negative ? -difference[i] : difference[i];
        }
        far += fabs(flipped) >= fabs(sum) - 1e-12 * size;
    }
    return all ? (double)far / (double)flips : ((double)far + 1) / ((double)flips + 1);
}

sr_status sr_seeds_compare(size_t n, const double *a, const double *b, uint64_t seed,
                           sr_difference *out) {
    sr_estimate mean_a, mean_b;
    *out = sr_no_difference();
    out->test = "sign flips of differences";
    sr_status status = sr_seeds_summary(n, a, &mean_a, NULL);
    if (status == SR_OK)
        status = sr_seeds_summary(n, b, &mean_b, NULL);
    if (status != SR_OK)
        return status;
    double *difference = sr_alloc(n, sizeof *difference);
    if (!difference)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++)
        difference[i] = a[i] - b[i];
    status = sr_seeds_summary(n, difference, &out->difference, NULL);
    out->interval_a = mean_a;
    out->interval_b = mean_b;
    out->a = mean_a.value;
    out->b = mean_b.value;
    out->p = flip_p_value(n, difference, seed);
    sr_free(difference);
    return status;
}
