// Squared Frechet distance between the Gaussians fitted to two sets of rows (Dowson and Landau
// 1982; Heusel et al. 2017): |mu_a - mu_b|^2 + tr Ca + tr Cb - 2 tr sqrt(Ca Cb), covariances with n
// - 1; and its extrapolation to infinitely many fake rows (Chong and Forsyth 2020).
//
// With Ca = F' F, tr sqrt(Ca Cb) is the sum of the roots of the eigenvalues of the symmetric matrix
// M = F Cb F': it has the spectrum of Ca Cb, so no complex root appears, and singular covariances
// are no special case. F (rank, dim) comes from a pivoted Cholesky factorisation of Ca, or, when
// there are no more real rows than features, it is the centred rows over sqrt(n - 1) themselves: M
// is then a Gram matrix of the smaller side. M is the covariance of z = F y over the fake rows y.
// Eigenvalues below 2^-50 of the largest, what the solver may make of 0, count as 0. (They are of
// the order of squared variances: features whose variances span 7 decades need 14.)
//
// Frechet distances of few rows are too large by about a constant over n. The extrapolation takes
// the distance of the first n rows of one shuffle of the fake rows, for a number of n, fits a line
// in 1/n, and reads it off at 0. (The sizes share rows, so that one pass over the rows serves all.)
// Where an eigenproblem a size would cost more than all other metrics together (EXPAND_RANK), only
// the smallest size, the middle one and all rows get one. With E the difference between a size's
// matrix and that of all rows, in the eigenvectors of the latter, tr sqrt changes by
//   sum_i E_ii / (2 s_i) - c sum_ij E_ij^2 / (4 s_i s_j (s_i + s_j)),
// c = 1 up to terms of third order in E; since these are averages over all pairs of directions, c
// is nearly a straight line in 1/n, which is taken through the two solved sizes. At 10,000 x 2,048
// the distances so found are within 1e-4 of themselves, the value at infinity within 1% of its
// standard error (test_expansion.c checks 3% of it).
//
// Errors: with V' diag(s^2) V the eigenvectors and eigenvalues of M, the derivative of
// tr sqrt(Ca Cb) by Cb is F' V' diag(1 / (2 s)) V F, and that by Ca, seen from u = F'^-1 x, is
// V' diag(s / 2) V. A fake row y moves the distance by its influence
//   2 (mu_b - mu_a).(y - mu_b) + |y - mu_b|^2 - z' V' diag(1 / s) V z, less its mean,
// a real row likewise with u' V' diag(s) V u.
#include "frechet.h"

#include <limits.h>
#include <math.h>

#define EXPAND_RANK 1024
#define CHUNK ((size_t)1 << 20) // values of a block of rows: 8 MB

void sr_frechet_destroy(sr_frechet *f) {
    if (!f)
        return;
    for (size_t j = 0; j < f->jobs; j++)
        if (f->job[j].a != f->vectors) {
            sr_free(f->job[j].a);
            sr_free(f->job[j].values);
        }
    sr_free(f->factor);
    sr_free(f->variance);
    sr_free(f->pivot);
    sr_free(f->rows);
    sr_scatter_destroy(f->scatter);
    sr_free(f->order);
    sr_free(f->real_order);
    sr_free(f->vectors);
    sr_free(f->s);
    sr_free(f->gram);
    sr_free(f->z_sum);
    sr_free(f->y_sum);
    sr_free(f);
}

// tr sqrt from the eigenvalues (rank, ascending), which become their roots.
static double root_trace(size_t rank, double *values) {
    double sum = 0, least = rank ? values[rank - 1] * 0x1p-50 : 0;
    for (size_t i = 0; i < rank; i++) {
        values[i] = values[i] > least ? sqrt(values[i]) : 0;
        sum += values[i];
    }
    return sum;
}

// ---- the distances ------------------------------------------------------------------------------

// As in dgm-eval: evenly spaced from min(5000, share of the rows) to all.
static void choose_sizes(sr_frechet *f) {
    sr_ladder *l = &f->ladder;
    size_t m = f->fake->n, count = f->options->frechet_sizes;
    bool many = f->options->which & SR_BIT(SR_FRECHET_INFINITY);
    double least = fmin(5000, fmax(floor((double)m * f->options->frechet_least_share), 2));
    l->count = 0;
    for (size_t i = 0; i < count && many; i++) {
        double at = least + (double)i * ((double)m - least) / (double)(count - 1);
        size_t n = i + 1 < count ? (size_t)at : m;
        if (l->count == 0 || n > l->n[l->count - 1])
            l->n[l->count++] = n;
    }
    if (!many)
        l->n[l->count++] = m;
}

// weight (count) of each size's distance in the line's value at 1/n = 0.
static void intercept_weights(const sr_ladder *l, double *weight) {
    double mean = 0, spread = 0, count = (double)l->count;
    for (size_t i = 0; i < l->count; i++)
        mean += 1 / (double)l->n[i] / count;
    for (size_t i = 0; i < l->count; i++)
        spread += (1 / (double)l->n[i] - mean) * (1 / (double)l->n[i] - mean);
    for (size_t i = 0; i < l->count; i++)
        weight[i] = 1 / count - mean * (1 / (double)l->n[i] - mean) / spread;
}

static double variance(size_t n, const double *influence) {
    return sr_squares(n, influence) / (double)(n - 1);
}

static void store(const sr_frechet *f, const double *real, const double *fake,
                  sr_metric_values *out) {
    const sr_ladder *l = &f->ladder;
    double weight[SR_SIZES_MAX], infinity = 0, factor = 0;
    size_t m = f->fake->n;
    double of_real = f->errors ? variance(f->influences[0], real) / (double)f->real->n : NAN;
    double of_fake = f->errors ? variance(f->influences[1], fake) : NAN;
    if (f->options->which & SR_BIT(SR_FRECHET)) {
        out->value[SR_FRECHET] = l->distance[l->count - 1];
        sr_interval(out, SR_FRECHET, sqrt(of_real + of_fake / (double)m), INFINITY, 0, INFINITY);
    }
    if (!(f->options->which & SR_BIT(SR_FRECHET_INFINITY)) || l->count < 2)
        return;
    intercept_weights(l, weight);
    for (size_t i = 0; i < l->count; i++)
        infinity += weight[i] * l->distance[i];
    // The weight of the row at place p of the shuffle: of each size that holds it.
    for (size_t i = l->count, first = 0; i-- > 0;) {
        double sum = 0;
        first = i ? l->n[i - 1] : 0;
        for (size_t j = i; j < l->count; j++)
            sum += weight[j] / (double)l->n[j];
        factor += (double)(l->n[i] - first) * sum * sum;
    }
    out->value[SR_FRECHET_INFINITY] = infinity;
    sr_interval(out, SR_FRECHET_INFINITY, sqrt(of_real + of_fake * factor), INFINITY, -INFINITY,
                INFINITY);
}

// l->root of the matrices of a batch.
static sr_status solve(sr_frechet *f, size_t count, sr_eigen_job *batch, const size_t *at) {
    sr_eigen_job *jobs[SR_EIGEN_JOBS];
    for (size_t b = 0; b < count; b++)
        jobs[b] = batch + b;
    sr_status status = sr_eigen(count, jobs, f->threads);
    for (size_t b = 0; b < count && status == SR_OK; b++)
        f->ladder.root[at[b]] = root_trace(f->rank, batch[b].values);
    return status;
}

// The matrix of size i as a job for the queue; that of all rows with its eigenvectors.
static sr_status add_job(sr_frechet *f, size_t i) {
    size_t rank = f->rank, j = f->jobs;
    bool last = i == f->ladder.count - 1;
    f->job[j] = (sr_eigen_job){.vectors = last && sr_frechet_wants_vectors(f),
                               .dim = rank,
                               .a = f->vectors,
                               .values = f->s};
    if (!last) {
        f->job[j].a = sr_alloc_by(f->threads, sr_frechet_room(f), sizeof(double));
        f->job[j].values = sr_alloc(rank, sizeof(double));
    }
    f->jobs++;
    if (!f->job[j].a || !f->job[j].values)
        return SR_ERROR_MEMORY;
    f->at[j] = i;
    return sr_frechet_covariance(f, f->ladder.n[i], f->job[j].a);
}

// l->plain of all sizes, the first of which is taken in. Where there is no expansion, l->root of
// all but the last: matrices in batches, one a thread; the others become jobs.
static sr_status climb(sr_frechet *f) {
    sr_ladder *l = &f->ladder;
    size_t rank = f->rank, most = f->threads < 4 ? f->threads : 4, square = sr_frechet_room(f),
           count = 0;
    size_t at[4], last = l->count - 1, kept = most < last ? most : last; // matrices of a batch
    kept = l->expanded ? 0 : kept;
    double *m = sr_alloc_by(f->threads, kept, square * sizeof *m),
           *values = sr_alloc(kept, rank * sizeof *m);
    sr_eigen_job batch[4];
    sr_status status = m && values ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; i <= last && status == SR_OK; i++) {
        if (i > 0 && (status = sr_frechet_take(f, l->n[i - 1], l->n[i])) != SR_OK)
            break;
        l->plain[i] = sr_frechet_plain_terms(f, l->n[i]);
        if (i == last || (l->expanded && sr_ladder_solved(l, i))) {
            status = add_job(f, i);
        } else if (!l->expanded) {
            batch[count] = (sr_eigen_job){
                .dim = rank, .a = m + count * square, .values = values + count * rank};
            status = sr_frechet_covariance(f, l->n[i], batch[count].a);
            at[count++] = i;
            if (status == SR_OK && (count == kept || i + 1 == last)) {
                status = solve(f, count, batch, at);
                count = 0;
            }
        }
    }
    sr_free(m);
    sr_free(values);
    return status;
}

// Hands the influences on, fake ones in the order of the rows.
static void keep(const sr_frechet *f, double *real, double *fake, sr_detail *detail) {
    double *straight = sr_alloc(f->fake->n, sizeof *straight);
    for (size_t p = 0; p < f->fake->n && straight; p++)
        straight[f->order[p]] = fake[p];
    detail->real[SR_FRECHET] = real;
    detail->fake[SR_FRECHET] = straight;
    sr_free(fake);
}

sr_status sr_frechet_finish(sr_frechet *f, sr_metric_values *out, sr_detail *detail) {
    sr_ladder *l = &f->ladder;
    double *real = sr_alloc(f->influences[0], sizeof *real);
    double *fake = sr_alloc(f->influences[1], sizeof *fake);
    sr_status status = real && fake ? SR_OK : SR_ERROR_MEMORY;
    for (size_t j = 0; j < f->jobs; j++)
        l->root[f->at[j]] = root_trace(f->rank, f->job[j].values);
    if (status == SR_OK && sr_frechet_wants_vectors(f))
        status = sr_frechet_use_vectors(f, real, fake);
    for (size_t i = 0; i < l->count; i++)
        l->distance[i] = l->plain[i] - 2 * l->root[i];
    l->distance[l->count - 1] = fmax(l->distance[l->count - 1], 0);
    if (status == SR_OK)
        store(f, real, fake, out);
    if (status == SR_OK && f->errors && detail) {
        keep(f, real, fake, detail);
        real = fake = NULL;
    }
    sr_free(real);
    sr_free(fake);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "frechet: ");
}

static sr_status prepare(sr_frechet *f, sr_work *work) {
    size_t dim = f->dim, m = f->fake->n;
    f->block = CHUNK / dim < 64 ? 64 : CHUNK / dim > 1024 ? 1024 : CHUNK / dim;
    f->rows = sr_alloc_by(f->threads, f->block, dim * sizeof(double));
    f->order = sr_alloc(m, sizeof(size_t));
    f->y_sum = sr_alloc(dim, sizeof(double));
    if (!f->rows || !f->order || !f->y_sum)
        return SR_ERROR_MEMORY;
    sr_shuffle(f->options->seed, 2, m, f->order);
    return sr_frechet_factor(f, work);
}

// Once the rank is known.
static sr_status prepare_spectra(sr_frechet *f) {
    sr_ladder *l = &f->ladder;
    // With fewer rows than twice the rank the expansion does not converge.
    l->expanded = f->rank >= EXPAND_RANK && l->count > 4 && l->n[0] >= 2 * f->rank;
    f->vectors = sr_alloc_by(f->threads, sr_frechet_room(f), sizeof(double));
    f->s = sr_alloc(f->rank, sizeof(double));
    return f->vectors && f->s ? SR_OK : SR_ERROR_MEMORY;
}

// Of all rows, unless nobody asks for each; and none where there is nothing to use them for.
static sr_status choose_influences(sr_frechet *f, bool detail) {
    const size_t n = f->real->n, m = f->fake->n;
    if (f->errors)
        f->influences[0] = detail || !f->pivot ? n : sr_influence_rows(n, f->dim);
    if (sr_frechet_wants_vectors(f))
        f->influences[1] = detail || f->ladder.expanded ? m : sr_influence_rows(m, f->dim);
    f->real_order = sr_alloc(f->influences[0], sizeof *f->real_order);
    if (!f->real_order)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < f->influences[0]; i++)
        f->real_order[i] = i * n / f->influences[0];
    return SR_OK;
}

// What is not needed any more once all rows are taken in.
static void free_sums(sr_frechet *f) {
    sr_scatter_destroy(f->scatter);
    f->scatter = NULL;
    if (sr_frechet_wants_vectors(f))
        return;
    sr_free(f->factor);
    sr_free(f->rows);
    f->factor = f->rows = NULL;
}

// Ends early where sums in float will not do.
static sr_status prepare_all(sr_frechet *f, bool detail, sr_work *work) {
    sr_status status = prepare(f, work);
    if (status != SR_OK || f->singular)
        return status;
    status = sr_frechet_take(f, 0, f->ladder.n[0]);
    if (status == SR_OK)
        status = prepare_spectra(f);
    if (status == SR_OK)
        status = choose_influences(f, detail);
    if (status == SR_OK)
        status = climb(f);
    free_sums(f);
    return status;
}

static sr_status start(const sr_rows *real, const sr_rows *fake, const sr_metric_options *options,
                       bool detail, bool narrow, sr_work *work, sr_frechet **out) {
    sr_frechet *f = *out = sr_alloc(1, sizeof *f);
    if (!f)
        return SR_ERROR_MEMORY;
    *f = (sr_frechet){
        .real = real, .fake = fake, .options = options, .threads = work->threads, .dim = real->dim};
    f->errors = !options->no_errors && real->n > 2 && fake->n > 2;
    choose_sizes(f);
    // Covariances of fewer rows are singular, or nearly so.
    f->narrow = narrow && sr_scatter_narrow(f->dim) && real->n >= 2 * f->dim &&
                f->ladder.n[0] >= 2 * f->dim;
    sr_status status = prepare_all(f, detail, work);
    if (status != SR_OK) {
        sr_frechet_destroy(f);
        *out = NULL;
    }
    return status;
}

sr_status sr_frechet_start(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, bool detail, sr_work *work,
                           sr_eigen_queue *queue, sr_frechet **out) {
    size_t square;
    *out = NULL;
    if (real->dim > INT_MAX || !sr_size_mul(real->dim, real->dim, &square))
        return sr_fail(SR_ERROR_UNSUPPORTED, "frechet: %zu feature dimensions are too many",
                       real->dim);
    sr_frechet *f = NULL;
    sr_status status = start(real, fake, options, detail, true, work, &f);
    if (status == SR_OK && f->singular) {
        sr_frechet_destroy(f);
        status = start(real, fake, options, detail, false, work, &f);
    }
    if (status != SR_OK)
        return sr_fail_context(status, "frechet: ");
    for (size_t j = f->jobs; j-- > 0;) // the longest first
        queue->job[queue->count++] = &f->job[j];
    *out = f;
    return SR_OK;
}
