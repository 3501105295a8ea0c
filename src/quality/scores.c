// Scores of class probabilities, and what nearest distances say of memorisation.
#include "metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sr_status check_logits(size_t n, size_t classes, const float *logits) {
    if (n == 0 || classes == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "logits: %zu rows of %zu classes, expected some", n,
                       classes);
    for (size_t i = 0; i < n * classes; i++)
        if (!isfinite(logits[i]))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "logits: row %zu, class %zu is %g, expected a finite number",
                           i / classes, i % classes, (double)logits[i]);
    return SR_OK;
}

// log p (classes) of one row.
static void log_softmax(size_t classes, const float *row, double *log_p) {
    double largest = row[0], sum = 0;
    for (size_t c = 1; c < classes; c++)
        largest = fmax(largest, row[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp(row[c] - largest);
    for (size_t c = 0; c < classes; c++)
        log_p[c] = row[c] - largest - log(sum);
}

static double negative_entropy(size_t classes, const double *p) {
    double sum = 0;
    for (size_t c = 0; c < classes; c++)
        sum += p[c] > 0 ? p[c] * log(p[c]) : 0;
    return sum;
}

// exp(mean KL(p(y|x) || p(y))) over rows order[first .. last): the mean of sum p log p, less that
// of the mean. work (2 classes).
static double split_score(size_t classes, const float *logits, const size_t *order, size_t first,
                          size_t last, double *work) {
    double *log_p = work, *mean = work + classes, within = 0, rows = (double)(last - first);
    memset(mean, 0, classes * sizeof *mean);
    for (size_t i = first; i < last; i++) {
        log_softmax(classes, logits + order[i] * classes, log_p);
        for (size_t c = 0; c < classes; c++) {
            double p = exp(log_p[c]);
            within += p * log_p[c] / rows;
            mean[c] += p / rows;
        }
    }
    return exp(within - negative_entropy(classes, mean));
}

sr_status sr_inception_score(size_t n, size_t classes, const float *logits, size_t splits,
                             uint64_t seed, sr_estimate *out, double *deviation) {
    *out = (sr_estimate){NAN, NAN, NAN, NAN};
    sr_status status = check_logits(n, classes, logits);
    if (status != SR_OK)
        return sr_fail_context(status, "inception score: ");
    if (splits == 0 || splits > n)
        return sr_fail(SR_ERROR_ARGUMENT, "inception score: %zu splits of %zu rows", splits, n);
    size_t *order = sr_alloc(n, sizeof *order);
    double *work = sr_alloc(2 * classes, sizeof *work), *score = sr_alloc(splits, sizeof *score);
    status = order && work && score ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        sr_shuffle(seed, 5, n, order);
        for (size_t s = 0; s < splits; s++)
            score[s] =
                split_score(classes, logits, order, s * n / splits, (s + 1) * n / splits, work);
        double over_splits;
        status = sr_seeds_summary(splits, score, out, &over_splits);
        if (deviation)
            *deviation = splits > 1 ? over_splits * sqrt((double)(splits - 1) / (double)splits) : 0;
    }
    sr_free(order);
    sr_free(work);
    sr_free(score);
    return status;
}

// The entropy of the mean of n rows of probabilities, with the delete-one jack-knife; `row` writes
// the probabilities of a row. p, rest (classes).
static void entropy_of(size_t n, size_t classes, const float *logits, bool hard, const double *mean,
                       double *p, double *rest, sr_estimate *out) {
    double sum = 0, squares = 0, rows = (double)n;
    *out = (sr_estimate){-negative_entropy(classes, mean), NAN, NAN, NAN};
    if (n < 2)
        return;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            size_t top = 0;
            log_softmax(classes, logits + i * classes, p);
            for (size_t c = 0; c < classes; c++)
                top = p[c] > p[top] ? c : top;
            for (size_t c = 0; c < classes; c++) {
                double own = hard ? c == top : exp(p[c]);
                rest[c] = (rows * mean[c] - own) / (rows - 1);
            }
            double without = -negative_entropy(classes, rest);
            if (pass == 0)
                sum += without / rows;
            else
                squares += (without - sum) * (without - sum);
        }
    out->error = sqrt(squares * (rows - 1) / rows);
    double half = sr_t_quantile(INFINITY) * out->error;
    out->low = fmax(out->value - half, 0);
    out->high = fmin(out->value + half, log((double)classes));
}

sr_status sr_class_histogram(size_t n, size_t classes, const float *logits, uint64_t *count,
                             double *share, sr_estimate *hard, sr_estimate *soft) {
    sr_status status = check_logits(n, classes, logits);
    if (status != SR_OK)
        return sr_fail_context(status, "class histogram: ");
    double *work = sr_alloc(4 * classes, sizeof *work);
    if (!work)
        return sr_fail_context(SR_ERROR_MEMORY, "class histogram: ");
    double *counts = work, *mean = work + classes, *p = work + 2 * classes,
           *rest = work + 3 * classes;
    for (size_t i = 0; i < n; i++) {
        size_t top = 0;
        log_softmax(classes, logits + i * classes, p);
        for (size_t c = 0; c < classes; c++) {
            top = p[c] > p[top] ? c : top;
            mean[c] += exp(p[c]) / (double)n;
        }
        counts[top]++;
    }
    for (size_t c = 0; c < classes; c++) {
        if (count)
            count[c] = (uint64_t)counts[c];
        if (share)
            share[c] = mean[c];
        counts[c] /= (double)n;
    }
    if (hard)
        entropy_of(n, classes, logits, true, counts, p, rest, hard);
    if (soft)
        entropy_of(n, classes, logits, false, mean, p, rest, soft);
    sr_free(work);
    return SR_OK;
}

// ---- memorisation -------------------------------------------------------------------------------

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *sorted(size_t n, const double *x) {
    double *out = sr_alloc(n, sizeof *out);
    if (out) {
        memcpy(out, x, n * sizeof *out);
        qsort(out, n, sizeof *out, ascending);
    }
    return out;
}

static double median(size_t n, const double *x) {
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

sr_status sr_memorisation_of(size_t n_real, const double *real, size_t n_fake, const double *fake,
                             sr_memorisation *out) {
    if (n_real == 0 || n_fake == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "memorisation: %zu real and %zu fake distances", n_real,
                       n_fake);
    double *a = sorted(n_real, real), *b = sorted(n_fake, fake), closer = 0;
    bool failed = !a || !b;
    if (!failed) {
        size_t below = 0, equal = 0, copies = 0;
        double edge = a[n_real / 100]; // the nearest 1%
        for (size_t j = 0; j < n_fake; j++) {
            while (below < n_real && a[below] < b[j])
                below++;
            for (equal = below; equal < n_real && a[equal] == b[j];)
                equal++;
            closer += (double)(n_real - equal) + 0.5 * (double)(equal - below);
            copies += b[j] < edge;
        }
        *out = (sr_memorisation){.median_fake = median(n_fake, b),
                                 .median_real = median(n_real, a),
                                 .closer = closer / ((double)n_real * (double)n_fake),
                                 .copies = (double)copies / (double)n_fake};
    }
    sr_free(a);
    sr_free(b);
    return failed ? sr_fail_context(SR_ERROR_MEMORY, "memorisation: ") : SR_OK;
}
