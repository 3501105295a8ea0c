// Rank-normalised split R-hat (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021, section 3):
// the classic one on normal scores of ranks, which heavy tails cannot blind, and once more on the
// values folded about their median, which sees chains of equal location and unequal spread.
#include <shortrun/dynamics.h>

#include <math.h>
#include <stdlib.h>

typedef struct ranked {
    double value;
    size_t at;
} ranked;

static int by_value(const void *a, const void *b) {
    const double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

static void sort(size_t n, const double *value, ranked *sorted) {
    for (size_t i = 0; i < n; i++)
        sorted[i] = (ranked){value[i], i};
    qsort(sorted, n, sizeof *sorted, by_value);
}

// Phi^-1(p), p in (0, 1): bisection, down to the last bits.
static double normal_quantile(double p) {
    double low = -40, high = 40;
    for (int i = 0; i < 64; i++) {
        const double middle = 0.5 * (low + high);
        if (0.5 * erfc(-middle / M_SQRT2) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

// Phi^-1((r - 3/8) / (n + 1/4)), r the ranks, equal values sharing their mean rank; score (n) may
// be value.
static void normal_scores(size_t n, const double *value, ranked *sorted, double *score) {
    sort(n, value, sorted);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && sorted[end].value == sorted[i].value; end++)
            continue;
        const double rank = 0.5 * (double)(i + 1 + end);
        const double z = normal_quantile((rank - 0.375) / ((double)n + 0.25));
        for (size_t j = i; j < end; j++)
            score[sorted[j].at] = z;
    }
}

static void fold(size_t n, const double *value, ranked *sorted, double *folded) {
    sort(n, value, sorted);
    const double median = 0.5 * (sorted[(n - 1) / 2].value + sorted[n / 2].value);
    for (size_t i = 0; i < n; i++)
        folded[i] = fabs(value[i] - median);
}

sr_status sr_rank_r_hat(size_t chains, size_t draws, const double *value, double *out) {
    size_t n;
    *out = (double)NAN;
    if (!sr_size_mul(chains, draws, &n))
        return sr_fail(SR_ERROR_MEMORY, "out of memory: %zu chains of %zu draws", chains, draws);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(value[i]))
            return SR_OK;
    if (n == 0)
        return SR_OK;
    ranked *sorted = sr_alloc(n, sizeof *sorted);
    double *score = sr_alloc(n, sizeof *score);
    sr_status status = SR_ERROR_MEMORY;
    if (sorted && score) {
        normal_scores(n, value, sorted, score);
        const double bulk = sr_split_r_hat(chains, draws, score);
        fold(n, value, sorted, score);
        normal_scores(n, score, sorted, score);
        const double tail = sr_split_r_hat(chains, draws, score);
        *out = isnan(bulk) || isnan(tail) ? (double)NAN : fmax(bulk, tail);
        status = SR_OK;
    }
    sr_free(sorted);
    sr_free(score);
    return status;
}
