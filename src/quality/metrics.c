// The metrics' front door: names, options, and which computations a request needs.
#include "metrics.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#define BIT(metric) (1u << (metric))
#define ALL (BIT(SR_METRIC_COUNT) - 1)
#define NEIGHBOURS (BIT(SR_PRECISION) | BIT(SR_RECALL) | BIT(SR_DENSITY) | BIT(SR_COVERAGE))
#define PAIRWISE (NEIGHBOURS | BIT(SR_MMD2_RBF) | BIT(SR_ENERGY_DISTANCE) | BIT(SR_ONE_NN_ACCURACY))

static const char *const names[SR_METRIC_COUNT] = {
    [SR_FRECHET] = "frechet",     [SR_KID] = "kid",
    [SR_PRECISION] = "precision", [SR_RECALL] = "recall",
    [SR_DENSITY] = "density",     [SR_COVERAGE] = "coverage",
    [SR_MMD2_RBF] = "mmd2_rbf",   [SR_ENERGY_DISTANCE] = "energy_distance",
    [SR_SLICED_W2] = "sliced_w2", [SR_ONE_NN_ACCURACY] = "one_nn_accuracy",
};

const char *sr_metric_name(sr_metric metric) {
    return (unsigned)metric < SR_METRIC_COUNT ? names[metric] : "unknown";
}

sr_status sr_metric_parse(const char *name, sr_metric *out) {
    for (int i = 0; i < SR_METRIC_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (sr_metric)i;
            return SR_OK;
        }
    sr_text list = {0};
    for (int i = 0; i < SR_METRIC_COUNT; i++)
        sr_text_append(&list, "%s%s", i ? ", " : "", names[i]);
    sr_status status = sr_fail(SR_ERROR_ARGUMENT, "unknown metric '%s', expected one of %s", name,
                               sr_text_string(&list));
    sr_text_clear(&list);
    return status;
}

bool sr_metric_lower_is_better(sr_metric metric) {
    return !(NEIGHBOURS >> metric & 1);
}

void sr_metric_options_default(sr_metric_options *options) {
    *options = (sr_metric_options){.which = ALL, .k = 5, .projection_count = 128};
}

int sr_blas_alone(void) {
    int threads = openblas_get_num_threads();
    openblas_set_num_threads(1);
    return threads;
}

void sr_blas_restore(int threads) {
    openblas_set_num_threads(threads);
}

static sr_status check_projections(const sr_metric_options *options, size_t dim) {
    for (size_t p = 0; p < options->projection_count && options->projections; p++) {
        double squares = 0;
        for (size_t d = 0; d < dim; d++)
            squares +=
                (double)options->projections[p * dim + d] * options->projections[p * dim + d];
        if (!(fabs(sqrt(squares) - 1) < 1e-3)) // NaN fails too
            return sr_fail(SR_ERROR_ARGUMENT, "projections: row %zu has length %g, expected 1", p,
                           sqrt(squares));
    }
    return SR_OK;
}

static sr_status check_options(const sr_metric_options *options, size_t dim) {
    if (options->which == 0 || options->which & ~ALL)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: bits 0x%x, expected some of 0x%x",
                       (unsigned)options->which, ALL);
    if (dim == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: features of dimension 0");
    if (options->which & NEIGHBOURS && options->k == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: k is 0, expected at least 1 neighbour");
    if (options->which & BIT(SR_MMD2_RBF) &&
        !(options->bandwidth >= 0 && isfinite(options->bandwidth)))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "metrics: bandwidth is %g, expected a positive number, or 0 for "
                       "the median distance",
                       options->bandwidth);
    if (options->which & BIT(SR_SLICED_W2)) {
        if (options->projection_count == 0)
            return sr_fail(SR_ERROR_ARGUMENT, "metrics: 0 projections, expected at least 1");
        return check_projections(options, dim);
    }
    return SR_OK;
}

static sr_status check_rows(const char *name, size_t n, const sr_metric_options *options) {
    size_t least = 2;
    if (options->which & NEIGHBOURS && options->k >= least)
        least = options->k + (options->k < SIZE_MAX);
    if (n >= least)
        return SR_OK;
    if (least > 2)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s features: %zu rows, expected at least %zu (k = %zu "
                       "neighbours)",
                       name, n, least, options->k);
    return sr_fail(SR_ERROR_ARGUMENT, "%s features: %zu rows, expected at least 2", name, n);
}

sr_status sr_metrics(size_t n_real, const float *real, size_t n_fake, const float *fake, size_t dim,
                     const sr_metric_options *options, sr_metric_values *out) {
    sr_points a = {0}, b = {0};
    *out = (sr_metric_values){.n_real = n_real, .n_fake = n_fake, .bandwidth = options->bandwidth};
    for (size_t i = 0; i < SR_METRIC_COUNT; i++)
        out->value[i] = NAN;
    sr_status status = check_options(options, dim);
    if (status == SR_OK)
        status = check_rows("real", n_real, options);
    if (status == SR_OK)
        status = check_rows("fake", n_fake, options);
    if (status == SR_OK)
        status = sr_points_create("real", n_real, real, dim, &a);
    if (status == SR_OK)
        status = sr_points_create("fake", n_fake, fake, dim, &b);
    unsigned threads = sr_threads_resolve(options->threads);
    int blas_threads = sr_blas_alone();
    if (status == SR_OK && options->which & BIT(SR_FRECHET))
        status = sr_metric_frechet(&a, &b, out);
    if (status == SR_OK && options->which & BIT(SR_KID))
        status = sr_metric_kid(&a, &b, threads, out);
    if (status == SR_OK && options->which & PAIRWISE)
        status = sr_metric_pairwise(&a, &b, options, threads, out);
    if (status == SR_OK && options->which & BIT(SR_SLICED_W2))
        status = sr_metric_sliced(&a, &b, options, threads, out);
    sr_blas_restore(blas_threads);
    sr_points_clear(&a);
    sr_points_clear(&b);
    return status;
}
