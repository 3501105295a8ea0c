// The metrics' front door: names, options, and which computations a request needs.
#include "metrics.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define ALL (SR_BIT(SR_METRIC_COUNT) - 1)
#define PAIRWISE                                                                                   \
    (SR_NEIGHBOUR_METRICS | SR_BIT(SR_KID) | SR_BIT(SR_KID_SUBSETS) | SR_BIT(SR_MMD2_RBF) |        \
     SR_BIT(SR_ENERGY_DISTANCE) | SR_BIT(SR_ONE_NN_ACCURACY))
// Pairs x features below which a team of threads would mostly wait for itself.
#define ALONE 4e6
#define BOTH_FRECHET (SR_BIT(SR_FRECHET) | SR_BIT(SR_FRECHET_INFINITY))

static const char *const names[SR_METRIC_COUNT] = {
    [SR_FRECHET] = "frechet",
    [SR_KID] = "kid",
    [SR_PRECISION] = "precision",
    [SR_RECALL] = "recall",
    [SR_DENSITY] = "density",
    [SR_COVERAGE] = "coverage",
    [SR_MMD2_RBF] = "mmd2_rbf",
    [SR_ENERGY_DISTANCE] = "energy_distance",
    [SR_SLICED_W2] = "sliced_w2",
    [SR_ONE_NN_ACCURACY] = "one_nn_accuracy",
    [SR_FRECHET_INFINITY] = "frechet_infinity",
    [SR_KID_SUBSETS] = "kid_subsets",
    [SR_VENDI] = "vendi",
    [SR_C2ST_ACCURACY] = "c2st_accuracy",
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
    return !((SR_NEIGHBOUR_METRICS | SR_BIT(SR_VENDI)) >> metric & 1);
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

static sr_status check_bandwidths(const sr_metric_options *options) {
    if (!(options->bandwidth >= 0 && isfinite(options->bandwidth)))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "metrics: bandwidth is %g, expected a positive number, or 0 for "
                       "the median distance",
                       options->bandwidth);
    if (options->bandwidth_count > SR_BANDWIDTHS_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: %zu fixed bandwidths, expected at most %d",
                       options->bandwidth_count, SR_BANDWIDTHS_MAX);
    for (size_t b = 0; b < options->bandwidth_count; b++)
        if (!(options->bandwidths[b] > 0 && isfinite(options->bandwidths[b])))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "metrics: fixed bandwidth %zu is %g, expected a positive number", b,
                           options->bandwidths[b]);
    return SR_OK;
}

static sr_status check_options(const sr_metric_options *options, size_t dim) {
    if (options->which == 0 || options->which & ~ALL)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: bits 0x%x, expected some of 0x%x",
                       (unsigned)options->which, ALL);
    if (dim == 0 || dim > INT_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: features of dimension %zu", dim);
    if (options->which & SR_NEIGHBOUR_METRICS && options->k == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "metrics: k is 0, expected at least 1 neighbour");
    if (options->which & SR_BIT(SR_KID_SUBSETS) &&
        (options->kid_subsets == 0 || options->kid_subset_size < 2))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "metrics: %zu subsets of %zu rows for kid_subsets, expected at least 1 of 2",
                       options->kid_subsets, options->kid_subset_size);
    if (options->which & SR_BIT(SR_FRECHET_INFINITY) &&
        (options->frechet_sizes < 2 || options->frechet_sizes > 1000 ||
         !(options->frechet_least_share >= 0 && options->frechet_least_share < 1)))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "metrics: %zu sizes from %g of the rows for frechet_infinity, expected 2 to "
                       "1000 from a share below 1",
                       options->frechet_sizes, options->frechet_least_share);
    if (options->which & SR_BIT(SR_MMD2_RBF)) {
        sr_status status = check_bandwidths(options);
        if (status != SR_OK)
            return status;
    }
    if (options->which & SR_BIT(SR_SLICED_W2)) {
        if (options->projection_count == 0)
            return sr_fail(SR_ERROR_ARGUMENT, "metrics: 0 projections, expected at least 1");
        return check_projections(options, dim);
    }
    return SR_OK;
}

static sr_status check_rows(const char *name, size_t n, const sr_metric_options *options) {
    size_t least = 2;
    if (options->which & SR_NEIGHBOUR_METRICS && options->k >= least)
        least = options->k + (options->k < SIZE_MAX);
    if (n < least && least > 2)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s features: %zu rows, expected at least %zu (k = %zu "
                       "neighbours)",
                       name, n, least, options->k);
    if (n < least)
        return sr_fail(SR_ERROR_ARGUMENT, "%s features: %zu rows, expected at least 2", name, n);
    if (options->which & SR_BIT(SR_KID_SUBSETS) && !options->kid_subset_clamp &&
        n < options->kid_subset_size)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s features: %zu rows, expected at least the %zu of a KID subset", name, n,
                       options->kid_subset_size);
    return SR_OK;
}

bool sr_metrics_exact(size_t n_real, size_t n_fake, size_t dim) {
    return sr_pairs_exact(n_real, n_fake, dim);
}

void sr_detail_clear(sr_detail *detail) {
    for (int metric = 0; metric < SR_METRIC_COUNT; metric++) {
        sr_free(detail->real[metric]);
        sr_free(detail->fake[metric]);
        detail->real[metric] = detail->fake[metric] = NULL;
    }
}

static void start_values(size_t n_real, size_t n_fake, const sr_metric_options *options,
                         sr_metric_values *out) {
    memset(out, 0, sizeof *out); // padding too: values can be compared as bytes
    out->n_real = n_real;
    out->n_fake = n_fake;
    out->bandwidth = options->bandwidth;
    out->kid_subset_deviation = out->c2st_p = NAN;
    for (size_t i = 0; i < SR_METRIC_COUNT; i++)
        out->value[i] = out->error[i] = out->low[i] = out->high[i] = NAN;
    for (size_t i = 0; i < SR_BANDWIDTHS_MAX; i++)
        out->mmd2_fixed[i] = out->mmd2_fixed_error[i] = NAN;
}

sr_status sr_metrics_go_on(const sr_monitor *monitor) {
    return sr_monitor_stop(monitor)
               ? sr_fail(SR_ERROR_INTERRUPTED, "stopped before the scores were done")
               : SR_OK;
}

// What is read off eigenvalues: Vendi's are found while Frechet's keep another thread busy.
static sr_status spectra(const sr_rows *real, const sr_rows *fake, const sr_metric_options *options,
                         unsigned threads, sr_metric_values *out, sr_detail *detail) {
    bool vendi = options->which & SR_BIT(SR_VENDI), frechet = options->which & BOTH_FRECHET;
    sr_vendi v = {0};
    sr_status status = vendi ? sr_vendi_start(fake, options, threads, &v) : SR_OK;
    if (status == SR_OK && frechet)
        status = sr_metric_frechet(real, fake, options, threads, v.job, out, detail);
    else if (status == SR_OK && vendi)
        status = sr_eigen(1, &v.job, 1);
    if (status == SR_OK && vendi)
        status = sr_vendi_finish(&v, fake, options, threads, out);
    sr_vendi_clear(&v);
    return status;
}

static sr_status compute(const sr_rows *real, const sr_rows *fake, const sr_metric_options *options,
                         sr_metric_values *out, sr_detail *detail) {
    unsigned threads = sr_threads_resolve(options->threads);
    if ((double)real->n * (double)fake->n * (double)real->dim < ALONE)
        threads = 1;
    sr_status status = sr_metrics_go_on(options->monitor);
    if (status == SR_OK)
        status = spectra(real, fake, options, threads, out, detail);
    if (status == SR_OK && (options->which & PAIRWISE || options->rows))
        status = sr_metric_pairwise(real, fake, options, threads, out, detail);
    if (status == SR_OK)
        status = sr_metrics_go_on(options->monitor);
    if (status == SR_OK && options->which & SR_BIT(SR_SLICED_W2))
        status = sr_metric_sliced(real, fake, options, threads, out);
    if (status == SR_OK)
        status = sr_metrics_go_on(options->monitor);
    if (status == SR_OK && options->which & SR_BIT(SR_C2ST_ACCURACY))
        status = sr_metric_c2st(real, fake, options, threads, out);
    return status;
}

sr_status sr_metrics_detail(size_t n_real, const float *real, size_t n_fake, const float *fake,
                            size_t dim, const sr_metric_options *options, sr_metric_values *out,
                            sr_detail *detail) {
    sr_rows a = {0}, b = {0};
    start_values(n_real, n_fake, options, out);
    for (int m = 0; m < SR_METRIC_COUNT && detail; m++)
        for (int r = 0; r < SR_REPLICATES; r++)
            detail->replicate[m][r] = NAN;
    sr_status status = check_options(options, dim);
    if (status == SR_OK)
        status = check_rows("real", n_real, options);
    if (status == SR_OK)
        status = check_rows("fake", n_fake, options);
    if (status == SR_OK)
        status = sr_rows_create("real", n_real, real, dim, &a);
    if (status == SR_OK)
        status = sr_rows_create("fake", n_fake, fake, dim, &b);
    int blas_threads = sr_blas_alone();
    if (status == SR_OK)
        status = compute(&a, &b, options, out, detail);
    sr_blas_restore(blas_threads);
    sr_rows_clear(&a);
    sr_rows_clear(&b);
    return status;
}

sr_status sr_metrics(size_t n_real, const float *real, size_t n_fake, const float *fake, size_t dim,
                     const sr_metric_options *options, sr_metric_values *out) {
    return sr_metrics_detail(n_real, real, n_fake, fake, dim, options, out, NULL);
}
