// The permutation test of a difference of means: if A and B are of one distribution, every division
// of their rows into two sets of these sizes is as likely as the one that was found.
#include "metrics.h"

#include <math.h>

static double mean_difference(size_t n_a, size_t n_b, const double *score, const size_t *order) {
    double a = 0, b = 0;
    for (size_t i = 0; i < n_a; i++)
        a += score[order ? order[i] : i];
    for (size_t i = n_a; i < n_a + n_b; i++)
        b += score[order ? order[i] : i];
    return a / (double)n_a - b / (double)n_b;
}

void sr_divide(uint64_t seed, size_t number, size_t first, size_t count, size_t *order) {
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_RESAMPLE, 7);
    uint32_t words[4] = {0};
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = 0; i < first; i++) {
        if (i % 4 == 0) {
            const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)number, 0, 0};
            sr_philox4x32(counter, stream.key, words);
        }
        size_t j = i + words[i % 4] % (count - i), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

sr_status sr_permutation_test(size_t n_a, size_t n_b, size_t count, const double *const *score,
                              size_t permutations, uint64_t seed, unsigned threads, double *p) {
    threads = sr_threads_resolve(threads);
    size_t rows = n_a + n_b, *far = sr_alloc(count, sizeof *far);
    size_t *orders = sr_alloc(threads, rows * sizeof *orders);
    size_t *own = sr_alloc(threads, count * sizeof *own);
    double *found = sr_alloc(count, sizeof *found);
    sr_status status = far && orders && own && found ? SR_OK : SR_ERROR_MEMORY;
    if (status != SR_OK)
        goto done;
    for (size_t s = 0; s < count; s++)
        found[s] = fabs(mean_difference(n_a, n_b, score[s], NULL)) * (1 - 1e-12);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t t = 0; t < threads; t++) {
        size_t *order = orders + t * rows;
        for (size_t i = t; i < permutations; i += threads) {
            sr_divide(seed, i, n_a, rows, order);
            for (size_t s = 0; s < count; s++)
                own[t * count + s] += fabs(mean_difference(n_a, n_b, score[s], order)) >= found[s];
        }
    }
    for (size_t s = 0; s < count; s++) {
        for (size_t t = 0; t < threads; t++)
            far[s] += own[t * count + s];
        p[s] = ((double)far[s] + 1) / ((double)permutations + 1);
    }
done:
    sr_free(far);
    sr_free(orders);
    sr_free(own);
    sr_free(found);
    return status;
}

void sr_holm(size_t n, const double *p, double *adjusted) {
    size_t tests = 0;
    for (size_t i = 0; i < n; i++)
        tests += !isnan(p[i]);
    for (size_t i = 0; i < n; i++) {
        // the largest over all p up to this one of p times the tests that are not smaller
        double largest = 0;
        for (size_t j = 0; j < n; j++) {
            if (isnan(p[j]) || !(p[j] <= p[i]))
                continue;
            size_t smaller = 0;
            for (size_t k = 0; k < n; k++)
                smaller += p[k] < p[j];
            largest = fmax(largest, p[j] * (double)(tests - smaller));
        }
        adjusted[i] = isnan(p[i]) ? NAN : fmin(largest, 1);
    }
}
