// Two sets of fake rows, A and B, against the same real rows.
//
// The error of the difference follows from the influences (or the replicates of the jack-knife) of
// both scores: those of the real rows are subtracted row by row, since both scores share the rows;
// those of A and B are independent.
//
// The p-value of frechet, kid, mmd2_rbf and energy_distance: each row has one score, its influence
// on the distance of the real rows to A and B pooled, which does not know whose row it is; the
// difference of its means over A and over B is compared with those of random divisions of the rows.
// If A and B are of one distribution all divisions are alike, so the test is exact. For kernels the
// difference of the two MMD^2 is that difference of means: with w(y) = 2 mean_z k(y, z) - 2 mean_x
// k(y, x), z over A and B alike, mean_A w - mean_B w = MMD^2(A) - MMD^2(B) (but for the diagonal;
// likewise the energy distance). For frechet it is so to first order. Density and precision are
// means of a score of each row by themselves. Recall and coverage are not: they are computed anew
// for each division (ball_permutation.c), but where one set is tiny beside the other; then recall's
// is the t test of the jack-knife.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define POOLED                                                                                     \
    (SR_BIT(SR_FRECHET) | SR_BIT(SR_KID) | SR_BIT(SR_MMD2_RBF) | SR_BIT(SR_ENERGY_DISTANCE))
#define COMPARED (POOLED | SR_NEIGHBOUR_METRICS)

typedef struct comparison {
    size_t n, n_a, n_b, dim;
    const float *real, *a, *b;
    sr_metric_options options;
    sr_metric_values of_a, of_b, of_both;
    sr_detail in_a, in_b, in_both;
    double *density, *precise; // (n_a + n_b): scores of rows
} comparison;

static double mean_square(size_t n, const double *x, const double *less) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double value = x[i] - (less ? less[i] : 0);
        sum += value * value;
    }
    return sum / ((double)n * (double)(n - 1));
}

static void interval(const comparison *c, sr_metric m, sr_difference *out) {
    double degrees = INFINITY, error = NAN;
    if (c->in_a.real[m] && c->in_b.real[m]) {
        error = sqrt(mean_square(c->n, c->in_a.real[m], c->in_b.real[m]) +
                     mean_square(c->n_a, c->in_a.fake[m], NULL) +
                     mean_square(c->n_b, c->in_b.fake[m], NULL));
    } else if (!isnan(c->in_a.replicate[m][1]) && !isnan(c->in_b.replicate[m][1])) {
        double replicate[SR_GROUPS];
        size_t groups = 0;
        for (; groups < SR_GROUPS && !isnan(c->in_a.replicate[m][groups + 1]) &&
               !isnan(c->in_b.replicate[m][groups + 1]);
             groups++)
            replicate[groups] = c->in_a.replicate[m][groups + 1] - c->in_b.replicate[m][groups + 1];
        degrees = (double)groups - 1;
        error = sr_jackknife(groups, replicate);
    }
    double difference = out->a - out->b, half = sr_t_quantile(degrees) * error;
    out->difference = (sr_estimate){difference, error, difference - half, difference + half};
    out->test = "t";
    // Scores that agree to the last bit, without any spread, are not different.
    out->p = error > 0 ? sr_t_p_value(difference / error, degrees) : difference == 0 ? 1 : NAN;
}

// p-values of the metrics that have a score for each row; score[m] is NULL for the others.
static sr_status permute(const comparison *c, double *const score[SR_METRIC_COUNT],
                         size_t permutations, sr_difference *out) {
    const double *used[SR_METRIC_COUNT];
    double p[SR_METRIC_COUNT];
    size_t count = 0;
    for (int m = 0; m < SR_METRIC_COUNT; m++)
        if (score[m])
            used[count++] = score[m];
    sr_status status = sr_permutation_test(c->n_a, c->n_b, count, used, permutations,
                                           c->options.seed, c->options.threads, p);
    count = 0;
    for (int m = 0; m < SR_METRIC_COUNT && status == SR_OK; m++)
        if (score[m]) {
            out[m].p = p[count++];
            out[m].test = SR_TEST_PERMUTATION;
        }
    return status;
}

// Real rows against A and B pooled (for the scores and the bandwidth), then against each.
static sr_status measure(comparison *c, float *both) {
    sr_metric_rows rows = {.density = c->density};
    sr_metric_options o = c->options;
    memcpy(both, c->a, c->n_a * c->dim * sizeof *both);
    memcpy(both + c->n_a * c->dim, c->b, c->n_b * c->dim * sizeof *both);
    o.rows = &rows;
    sr_status status = sr_metrics_detail(c->n, c->real, c->n_a + c->n_b, both, c->dim, &o,
                                         &c->of_both, &c->in_both);
    o.rows = NULL;
    o.bandwidth = c->of_both.bandwidth;
    if (status == SR_OK)
        status = sr_metrics_detail(c->n, c->real, c->n_a, c->a, c->dim, &o, &c->of_a, &c->in_a);
    if (status == SR_OK)
        status = sr_metrics_detail(c->n, c->real, c->n_b, c->b, c->dim, &o, &c->of_b, &c->in_b);
    return status;
}

static sr_estimate metric_estimate(const sr_metric_values *values, int m) {
    return (sr_estimate){values->value[m], values->error[m], values->low[m], values->high[m]};
}

static sr_status permute_balls(const comparison *c, const float *both, size_t permutations,
                               sr_difference *out) {
    const sr_metric of[2] = {SR_RECALL, SR_COVERAGE};
    double p[2];
    if (!(c->options.which & (SR_BIT(SR_RECALL) | SR_BIT(SR_COVERAGE))))
        return SR_OK;
    sr_status status = sr_ball_permutation(c->n, c->real, c->n_a, c->n_b, both, c->dim, &c->options,
                                           permutations, &p[0], &p[1]);
    for (int i = 0; i < 2 && status == SR_OK; i++)
        if (!isnan(p[i])) {
            out[of[i]].p = p[i];
            out[of[i]].test = SR_TEST_PERMUTATION;
        }
    return status;
}

static sr_status judge(comparison *c, const float *both, size_t permutations, sr_difference *out) {
    double *score[SR_METRIC_COUNT] = {0};
    for (size_t j = 0; j < c->n_a + c->n_b; j++)
        c->precise[j] = c->density[j] > 0;
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        if (!(c->options.which >> m & 1))
            continue;
        out[m].a = c->of_a.value[m];
        out[m].b = c->of_b.value[m];
        out[m].interval_a = metric_estimate(&c->of_a, m);
        out[m].interval_b = metric_estimate(&c->of_b, m);
        interval(c, (sr_metric)m, &out[m]);
        if (SR_BIT(m) & POOLED)
            score[m] = c->in_both.fake[m];
    }
    if (c->options.which & SR_BIT(SR_DENSITY))
        score[SR_DENSITY] = c->density;
    if (c->options.which & SR_BIT(SR_PRECISION))
        score[SR_PRECISION] = c->precise;
    if (permutations == 0)
        return SR_OK;
    sr_status status = permute(c, score, permutations, out);
    return status == SR_OK ? permute_balls(c, both, permutations, out) : status;
}

sr_status sr_compare(size_t n_real, const float *real, size_t n_a, const float *a, size_t n_b,
                     const float *b, size_t dim, const sr_metric_options *options,
                     size_t permutations, sr_difference out[SR_METRIC_COUNT]) {
    comparison *c = sr_alloc(1, sizeof *c);
    size_t count, values;
    for (int m = 0; m < SR_METRIC_COUNT; m++)
        out[m] = sr_no_difference();
    if (!c)
        return SR_ERROR_MEMORY;
    *c = (comparison){.n = n_real,
                      .n_a = n_a,
                      .n_b = n_b,
                      .dim = dim,
                      .real = real,
                      .a = a,
                      .b = b,
                      .options = *options};
    c->options.which &= COMPARED;
    c->options.no_errors = false;
    sr_status status = SR_OK;
    if (c->options.which == 0)
        status =
            sr_fail(SR_ERROR_ARGUMENT, "compare: no metric that can be compared was asked for");
    else if (!sr_size_add(n_a, n_b, &count) || !sr_size_mul(count, dim, &values))
        status = sr_fail(SR_ERROR_ARGUMENT, "compare: %zu and %zu rows are too many", n_a, n_b);
    float *both = status == SR_OK ? sr_alloc(values, sizeof *both) : NULL;
    if (status == SR_OK) {
        c->density = sr_alloc(count, sizeof(double));
        c->precise = sr_alloc(count, sizeof(double));
        status = both && c->density && c->precise ? measure(c, both) : SR_ERROR_MEMORY;
    }
    if (status == SR_OK)
        status = judge(c, both, permutations, out);
    sr_free(both);
    sr_free(c->density);
    sr_free(c->precise);
    sr_detail_clear(&c->in_a);
    sr_detail_clear(&c->in_b);
    sr_detail_clear(&c->in_both);
    sr_free(c);
    return status;
}
