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

// ---- the work -----------------------------------------------------------------------------------

unsigned sr_work_threads(const sr_work *work) {
    unsigned busy = work->beside ? sr_eigen_busy(work->beside) : 0;
    return busy < work->threads ? work->threads - busy : 1;
}

sr_status sr_work_frame(sr_work *work, const sr_rows *real, const sr_rows *fake, sr_frame *out) {
    sr_status status = work->frame.direction ? SR_OK : sr_frame_create(real, fake, &work->frame);
    *out = work->frame;
    return status;
}

sr_status sr_work_advance(sr_work *work, double done) {
    work->done += done;
    if (work->progress)
        sr_monitor_progress(work->monitor, "scores", work->what, fmin(work->done, work->total),
                            work->total);
    return sr_monitor_stop(work->monitor)
               ? sr_fail(SR_ERROR_INTERRUPTED, "stopped before the scores were done")
               : SR_OK;
}

// Multiply-adds, roughly, for progress alone: those of matrices count as often as they take longer
// than a product of rows.
static double cost_of_pairs(double n, double m, double dim) {
    return (n * n / 2 + m * m / 2 + n * m) * dim;
}

static double cost_of_spectra(const sr_metric_options *o, double n, double m, double dim) {
    double frechet = o->which & BOTH_FRECHET ? (2 * n + 3 * m + 15 * dim) * dim * dim : 0;
    double side = fmin(m, dim), vendi = (m + 15 * side) * dim * side;
    return frechet + (o->which & SR_BIT(SR_VENDI) ? vendi : 0);
}

static double cost_of_sliced(const sr_metric_options *o, double n, double m, double dim) {
    return 3 * (double)o->projection_count * (n + m) * (dim + 60);
}

static double cost_of_test(double n, double m, double dim) {
    return 120 * (n + m) * dim;
}

static double total_cost(const sr_rows *real, const sr_rows *fake, const sr_metric_options *o) {
    double n = (double)real->n, m = (double)fake->n, dim = (double)real->dim;
    return (o->which & PAIRWISE || o->rows ? cost_of_pairs(n, m, dim) : 0) +
           cost_of_spectra(o, n, m, dim) +
           (o->which & SR_BIT(SR_SLICED_W2) ? cost_of_sliced(o, n, m, dim) : 0) +
           (o->which & SR_BIT(SR_C2ST_ACCURACY) ? cost_of_test(n, m, dim) : 0);
}

// ---- the computations ---------------------------------------------------------------------------

// Small problems are done by one thread.
static unsigned team(size_t n, size_t m, size_t dim, const sr_metric_options *options) {
    bool small = (double)n * (double)m * (double)dim < ALONE;
    return small ? 1 : sr_threads_resolve(options->threads);
}

// All but what is read off eigenvalues.
static sr_status others(const sr_rows *real, const sr_rows *fake, const sr_metric_options *o,
                        sr_work *work, sr_metric_values *out, sr_detail *detail) {
    double n = (double)real->n, m = (double)fake->n, dim = (double)real->dim;
    sr_status status = SR_OK;
    if (o->which & PAIRWISE || o->rows) {
        work->what = "pairs of rows";
        status = sr_metric_pairwise(real, fake, o, work, out, detail);
    }
    if (status == SR_OK && o->which & SR_BIT(SR_SLICED_W2)) {
        work->what = "sliced W2";
        status = sr_work_advance(work, 0);
        if (status == SR_OK)
            status = sr_metric_sliced(real, fake, o, sr_work_threads(work), out);
        work->done += cost_of_sliced(o, n, m, dim);
    }
    if (status == SR_OK && o->which & SR_BIT(SR_C2ST_ACCURACY)) {
        work->what = "two-sample test";
        status = sr_work_advance(work, 0);
        if (status == SR_OK)
            status = sr_metric_c2st(real, fake, o, sr_work_threads(work), out);
        work->done += cost_of_test(n, m, dim);
    }
    return status;
}

// Eigenproblems do not share a thread's work with others, so they are solved beside the rest.
static sr_status compute(const sr_rows *real, const sr_rows *fake, const sr_metric_options *o,
                         sr_metric_values *out, sr_detail *detail) {
    bool vendi = o->which & SR_BIT(SR_VENDI), frechet = o->which & BOTH_FRECHET;
    double spectra = cost_of_spectra(o, (double)real->n, (double)fake->n, (double)real->dim);
    sr_work work = {.threads = team(real->n, fake->n, real->dim, o),
                    .monitor = o->monitor,
                    .progress = o->progress,
                    .what = "covariances",
                    .total = total_cost(real, fake, o)};
    sr_eigen_queue queue = {0};
    sr_frechet *f = NULL;
    sr_vendi v = {0};
    sr_status status = sr_work_advance(&work, 0);
    if (status == SR_OK && frechet)
        status = sr_frechet_start(real, fake, o, detail, &work, &queue, &f);
    if (status == SR_OK && vendi)
        status = sr_vendi_start(fake, o, work.threads, &queue, &v);
    if (status == SR_OK && queue.count)
        status = sr_eigen_start(&queue, work.threads);
    work.beside = &queue;
    work.done += spectra / 2;
    if (status == SR_OK)
        status = others(real, fake, o, &work, out, detail);
    work.what = "eigenvalues";
    if (status == SR_OK && queue.count)
        status = sr_work_advance(&work, 0);
    if (status == SR_OK)
        status = sr_eigen_wait(&queue);
    sr_eigen_abandon(&queue);
    if (status == SR_OK && frechet)
        status = sr_frechet_finish(f, out, detail);
    if (status == SR_OK && vendi)
        status = sr_vendi_finish(&v, fake, o, work.threads, out);
    sr_frechet_destroy(f);
    sr_vendi_clear(&v);
    sr_frame_clear(&work.frame);
    work.what = "";
    return status == SR_OK ? sr_work_advance(&work, work.total - work.done) : status;
}

sr_status sr_metrics_detail(size_t n_real, const float *real, size_t n_fake, const float *fake,
                            size_t dim, const sr_metric_options *options, sr_metric_values *out,
                            sr_detail *detail) {
    sr_rows a = {0}, b = {0};
    unsigned threads = team(n_real, n_fake, dim, options);
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
        status = sr_rows_create("real", n_real, real, dim, threads, &a);
    if (status == SR_OK)
        status = sr_rows_create("fake", n_fake, fake, dim, threads, &b);
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
