// Scores that are sums of a kernel over pairs (KID, MMD, energy distance), from the sums per row,
// and their delete-one jack-knife (see resample.c).
#include "metrics.h"

#include <math.h>

// Sums of a kernel: within real and fake per row (without the row itself) and in all, and across.
typedef struct sums {
    size_t n, m;
    double *own, *other, *real_cross; // (n), (m), (n)
    const double *fake_cross;         // (m)
    double real, fake, cross;
    bool energy; // the energy distance, a V-statistic of -|x - y|; else an unbiased MMD^2
} sums;

static double combine(const sums *s, double n, double m, double real, double fake, double cross) {
    if (s->energy)
        return 2 * (cross / (n * m)) - real / (n * n) - fake / (m * m);
    return real / (n * (n - 1)) + fake / (m * (m - 1)) - 2 * (cross / (n * m));
}

static double total(size_t n, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

// influence (n or m): (rows - 1) (mean of the leave-one-out scores - that of the row).
static void influences(const sums *s, bool of_fake, double *influence) {
    size_t count = of_fake ? s->m : s->n;
    double n = (double)s->n, m = (double)s->m, mean = 0;
    for (size_t i = 0; i < count; i++) {
        influence[i] = of_fake ? combine(s, n, m - 1, s->real, s->fake - 2 * s->other[i],
                                         s->cross - s->fake_cross[i])
                               : combine(s, n - 1, m, s->real - 2 * s->own[i], s->fake,
                                         s->cross - s->real_cross[i]);
        mean += influence[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        influence[i] = (double)(count - 1) * (mean - influence[i]);
}

static double variance_of_mean(size_t n, const double *influence) {
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += influence[i] * influence[i];
    return squares / ((double)n * (double)(n - 1));
}

// The score of one kernel and its standard error (NaN for fewer than 3 rows); influences are kept
// in *real, *fake where these are not NULL.
static sr_status evaluate(const sr_pairwise *p, int kernel, double *value, double *error,
                          double **real, double **fake) {
    sums s = {.n = p->n,
              .m = p->m,
              .own = p->self[0].row_sum[kernel],
              .other = p->self[1].row_sum[kernel],
              .real_cross = p->cross.row_sum[kernel],
              .fake_cross = p->cross.column_sum[kernel],
              .energy = kernel == SR_SUM_DISTANCE};
    s.real = total(s.n, s.own);
    s.fake = total(s.m, s.other);
    s.cross = total(s.n, s.real_cross);
    *value = combine(&s, (double)s.n, (double)s.m, s.real, s.fake, s.cross);
    *error = NAN;
    if (p->options->no_errors || s.n < 3 || s.m < 3)
        return SR_OK;
    double *a = sr_alloc(s.n, sizeof *a), *b = sr_alloc(s.m, sizeof *b);
    if (a && b) {
        influences(&s, false, a);
        influences(&s, true, b);
        *error = sqrt(variance_of_mean(s.n, a) + variance_of_mean(s.m, b));
    }
    bool failed = !a || !b;
    if (real && !failed) {
        *real = a;
        *fake = b;
    } else {
        sr_free(a);
        sr_free(b);
    }
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

static sr_status finish(const sr_pairwise *p, sr_metric metric, int kernel, sr_metric_values *out,
                        sr_detail *detail) {
    double error, least = metric == SR_ENERGY_DISTANCE ? 0 : -INFINITY;
    if (!(p->options->which & SR_BIT(metric)))
        return SR_OK;
    sr_status status =
        evaluate(p, kernel, &out->value[metric], &error, detail ? &detail->real[metric] : NULL,
                 detail ? &detail->fake[metric] : NULL);
    if (status == SR_OK)
        sr_interval(out, metric, error, INFINITY, least, INFINITY);
    return status;
}

sr_status sr_finish_sums(const sr_pairwise *p, sr_metric_values *out, sr_detail *detail) {
    sr_status status = finish(p, SR_KID, SR_SUM_KID, out, detail);
    if (status == SR_OK)
        status = finish(p, SR_MMD2_RBF, SR_SUM_RBF, out, detail);
    if (status == SR_OK)
        status = finish(p, SR_ENERGY_DISTANCE, SR_SUM_DISTANCE, out, detail);
    for (size_t b = 0; b < p->options->bandwidth_count && status == SR_OK; b++)
        if (p->options->which & SR_BIT(SR_MMD2_RBF))
            status = evaluate(p, SR_SUM_RBF + 1 + (int)b, &out->mmd2_fixed[b],
                              &out->mmd2_fixed_error[b], NULL, NULL);
    return status;
}

// Unbiased KID of each subset, from its sums over real, fake and cross tiles; mean and deviation.
// The interval is that of KID on all rows, moved to this mean: both estimate the same number, and
// the mean over overlapping subsets is an incomplete form of that U-statistic.
void sr_finish_kid_subsets(const sr_pairwise *p, size_t rows, const double *subset_sum[3],
                           const size_t tiles[3], sr_metric_values *out) {
    size_t subsets = p->cross.subsets;
    double r = (double)rows, mean = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t s = 0; s < subsets; s++) {
            double sum[3] = {0};
            for (int part = 0; part < 3; part++)
                for (size_t t = 0; t < tiles[part]; t++)
                    sum[part] += subset_sum[part][t * subsets + s];
            double kid = (sum[0] + sum[1]) / (r * (r - 1)) - 2 * sum[2] / (r * r);
            if (pass == 0)
                mean += kid / (double)subsets;
            else
                squares += (kid - mean) * (kid - mean);
        }
    double all, error;
    out->value[SR_KID_SUBSETS] = mean;
    out->kid_subset_deviation = sqrt(squares / (double)subsets);
    if (evaluate(p, SR_SUM_KID, &all, &error, NULL, NULL) == SR_OK)
        sr_interval(out, SR_KID_SUBSETS, error, INFINITY, -INFINITY, INFINITY);
}
