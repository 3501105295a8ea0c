// Uncertainty of the scores: groups, jack-knife, intervals.
//
// No score here is bootstrapped. A bootstrap sample holds rows twice: copies are each other's
// nearest neighbours at distance 0 (balls collapse, 1-NN finds the copy) and bring the diagonal
// back into U-statistics, so that what is resampled is another statistic. Used instead:
//
//   kid, kid_subsets, mmd2_rbf, energy_distance: the delete-one jack-knife of a two-sample
//   U-statistic (Arvesen 1969). Leaving out a row takes its sum of kernels away, so that all n + m
//   replicates follow from the sums per row of the sweep that gave the value. Where both sets have
//   the same distribution the statistic is degenerate, and the jack-knife, whose expectation is
//   never below the variance (Efron and Stein 1981), is too large: about twice the variance.
//
//   precision, recall, density, coverage, one_nn_accuracy, sliced_w2: the jack-knife that leaves
//   out one of 20 random groups of both sets at a time (delete-d jack-knife: Shao and Wu 1989), t
//   with 19 degrees of freedom. It is asked of the same sweep: each row keeps a few neighbours
//   more, a ball has one radius for each group left out, and a bit for each says who is inside.
//   That of sliced_w2 is given its directions: other ones are no part of the error.
//
//   frechet, frechet_infinity, vendi: the infinitesimal jack-knife (Jaeckel 1972): the variance of
//   the influence of each row, which is a quadratic form in it (frechet.c, vendi.c); of large sets
//   over some of the rows (sr_influence_rows), unless a comparison wants each.
//
//   c2st_accuracy: binomial, given the classifier (Wilson's interval). inception score: the spread
//   of its splits.
#include "metrics.h"

#include <math.h>

void sr_shuffle(uint64_t seed, uint64_t epoch, size_t n, size_t *out) {
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_RESAMPLE, epoch);
    for (size_t i = 0; i < n; i++)
        out[i] = i;
    for (size_t i = n; i > 1; i--) { // Fisher and Yates, 64 random bits: no bias worth the name
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0, 0};
        uint32_t words[4];
        sr_philox4x32(counter, stream.key, words);
        size_t j = (size_t)(((uint64_t)words[1] << 32 | words[0]) % i), kept = out[i - 1];
        out[i - 1] = out[j];
        out[j] = kept;
    }
}

sr_status sr_groups_draw(uint64_t seed, uint64_t epoch, size_t n, size_t groups, uint8_t *group) {
    size_t *order = sr_alloc(n, sizeof *order);
    if (!order)
        return SR_ERROR_MEMORY;
    sr_shuffle(seed, epoch, n, order);
    for (size_t i = 0; i < n; i++)
        group[order[i]] = (uint8_t)(i % groups);
    sr_free(order);
    return SR_OK;
}

size_t sr_influence_rows(size_t n, size_t dim) {
    bool many = (double)n * (double)dim * (double)dim > SR_INFLUENCE_WORK;
    return many && n >= 2 * SR_INFLUENCE_ROWS ? SR_INFLUENCE_ROWS : n;
}

double sr_jackknife(size_t groups, const double *replicate) {
    double mean = 0, squares = 0;
    for (size_t g = 0; g < groups; g++)
        mean += replicate[g] / (double)groups;
    for (size_t g = 0; g < groups; g++)
        squares += (replicate[g] - mean) * (replicate[g] - mean);
    return sqrt(squares * (double)(groups - 1) / (double)groups);
}

// The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun
// 26.5.8), evaluated by Lentz's method; converges fast for x < (a + 1) / (a + b + 2).
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;
    d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
    h = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int half = 0; half < 2; half++) {
            double term = half ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
            c = fabs(c) < 1e-300 ? 1e-300 : c;
            h *= c * d;
        }
        if (fabs(c * d - 1) < 1e-15)
            break;
    }
    return h;
}

static double beta_regularised(double a, double b, double x) {
    if (x <= 0 || x >= 1)
        return x >= 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double sr_t_p_value(double t, double degrees) {
    if (!(degrees < 1e7))
        return erfc(fabs(t) * M_SQRT1_2);
    return beta_regularised(degrees / 2, 0.5, degrees / (degrees + t * t));
}

double sr_t_quantile(double degrees) {
    double low = 1.9, high = 13; // 12.706 for one degree, 1.960 for infinitely many
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (sr_t_p_value(middle, degrees) > 0.05)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

sr_difference sr_no_difference(void) {
    const sr_estimate unknown = {NAN, NAN, NAN, NAN};
    return (sr_difference){NAN, NAN, unknown, NAN, "none", unknown, unknown};
}

void sr_interval(sr_metric_values *out, sr_metric metric, double error, double degrees,
                 double least, double most) {
    double value = out->value[metric], half = sr_t_quantile(degrees) * error;
    out->error[metric] = error;
    out->low[metric] = isnan(error) ? NAN : fmax(value - half, least);
    out->high[metric] = isnan(error) ? NAN : fmin(value + half, most);
}
