// Squared Frechet distance between the Gaussians fitted to two sets of rows (Dowson and Landau
// 1982; Heusel et al. 2017): |mu_a - mu_b|^2 + tr Ca + tr Cb - 2 tr sqrt(Ca Cb), covariances with n
// - 1; and its extrapolation to infinitely many fake rows (Chong and Forsyth 2020).
//
// With Ca = F' F, tr sqrt(Ca Cb) is the sum of the roots of the eigenvalues of the symmetric matrix
// M = F Cb F': it has the spectrum of Ca Cb, so no complex root appears, and singular covariances
// are no special case. F (rank, dim) comes from a pivoted Cholesky factorisation of Ca, or, when
// there are no more real rows than features, it is the centred rows over sqrt(n - 1) themselves: M
// is then a Gram matrix of the smaller side. M is the covariance of z = F y over the fake rows y.
// Eigenvalues below rank x 2^-52 of the largest count as 0.
//
// Frechet distances of few rows are too large by about a constant over n. The extrapolation takes
// the distance of the first n rows of one shuffle of the fake rows, for a number of n, fits a line
// in 1/n, and reads it off at 0. (The sizes share rows, so that one pass over the rows serves all.)
//
// Errors: with V' diag(s^2) V the eigenvectors and eigenvalues of M, the derivative of
// tr sqrt(Ca Cb) by Cb is F' V' diag(1 / (2 s)) V F, and that by Ca, seen from u = F'^-1 x, is
// V' diag(s / 2) V. A fake row y moves the distance by its influence
//   2 (mu_b - mu_a).(y - mu_b) + |y - mu_b|^2 - z' V' diag(1 / s) V z, less its mean,
// a real row likewise with u' V' diag(s) V u.
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#define CHUNK ((size_t)1 << 21) // values of a block of rows: 16 MB

typedef struct frechet {
    const sr_rows *real, *fake;
    const sr_metric_options *options;
    unsigned threads;
    size_t dim, rank, block;       // rows at a time
    double trace_a, trace_b, root; // tr Ca, tr Cb, tr sqrt(Ca Cb), of all rows
    double *factor;                // (rank, dim)
    int *pivot;                    // (dim): feature k of the factor is feature pivot[k] - 1
    double *rows;                  // (block, dim): scratch
    float *z;                      // (fake, rank): kept for the errors
    size_t *order;                 // (fake): the shuffle
    double *gram, *z_sum, *y_sum;  // (rank, rank), (rank), (dim): sums over the rows so far
    double y_squares;
} frechet;

static void clear(frechet *f) {
    sr_free(f->factor);
    sr_free(f->pivot);
    sr_free(f->rows);
    sr_free(f->z);
    sr_free(f->order);
    sr_free(f->gram);
    sr_free(f->z_sum);
    sr_free(f->y_sum);
}

// f->rows = rows [first, first + count), centred, features in the order of the factor's.
static void centre(const frechet *f, const sr_rows *x, const size_t *order, size_t first,
                   size_t count) {
    size_t dim = f->dim;
#pragma omp parallel for num_threads(f->threads)
    for (size_t i = 0; i < count; i++) {
        size_t row = order ? order[first + i] : first + i;
        for (size_t k = 0; k < dim; k++) {
            size_t d = f->pivot ? (size_t)f->pivot[k] - 1 : k;
            f->rows[i * dim + k] = x->x[row * dim + d] - x->mean[d];
        }
    }
}

static double squares(size_t n, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

// The factor of the smaller side: the centred rows.
static sr_status factor_rows(frechet *f) {
    size_t n = f->real->n, dim = f->dim;
    f->rank = n;
    f->factor = sr_alloc(n * dim, sizeof(double));
    if (!f->factor)
        return SR_ERROR_MEMORY;
    double scale = 1 / sqrt((double)(n - 1));
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++)
            f->factor[i * dim + d] = scale * (f->real->x[i * dim + d] - f->real->mean[d]);
    f->trace_a = squares(n * dim, f->factor);
    return SR_OK;
}

// Pivoted Cholesky. LAPACK's column c of L is our row c of F.
static sr_status factor_covariance(frechet *f) {
    size_t n = f->real->n, dim = f->dim;
    f->factor = sr_alloc(dim * dim, sizeof(double));
    int *pivot = sr_alloc(dim, sizeof *pivot), rank = 0;
    if (!f->factor || !pivot) {
        sr_free(pivot);
        return SR_ERROR_MEMORY;
    }
    for (size_t first = 0; first < n; first += f->block) {
        size_t count = n - first < f->block ? n - first : f->block;
        centre(f, f->real, NULL, first, count);
        sr_gram_add(count, dim, f->rows, f->factor, f->threads);
    }
    for (size_t i = 0; i < dim * dim; i++)
        f->factor[i] /= (double)(n - 1);
    for (size_t d = 0; d < dim; d++)
        f->trace_a += f->factor[d * dim + d];
    int info = LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'L', (int)dim, f->factor, (int)dim, pivot, &rank,
                              -1.0); // tolerance: dim x 2^-53 of the largest variance
    f->pivot = pivot;
    if (info < 0)
        return sr_fail(SR_ERROR_LIBRARY, "dpstrf returned %d", info);
    // Of variances that are all 0 LAPACK finds no rank.
    f->rank = f->trace_a > 0 ? (size_t)rank : 0;
    for (size_t c = 0; c < f->rank; c++)
        memset(f->factor + c * dim, 0, c * sizeof(double));
    return SR_OK;
}

// tr sqrt from the eigenvalues (rank, ascending), which become their roots.
static double root_trace(size_t rank, double *values) {
    double sum = 0, least = rank ? values[rank - 1] * (double)rank * 0x1p-52 : 0;
    for (size_t i = 0; i < rank; i++) {
        values[i] = values[i] > least ? sqrt(values[i]) : 0;
        sum += values[i];
    }
    return sum;
}

// m (rank, rank) = covariance of the first n fake rows' z.
static void covariance(const frechet *f, size_t n, double *m) {
    size_t rank = f->rank;
#pragma omp parallel for num_threads(f->threads)
    for (size_t i = 0; i < rank; i++)
        for (size_t j = 0; j < rank; j++)
            m[i * rank + j] =
                (f->gram[i * rank + j] - f->z_sum[i] * (f->z_sum[j] / (double)n)) / (double)(n - 1);
}

// All of the distance of the first n fake rows but tr sqrt(Ca Cb).
static double plain_terms(const frechet *f, size_t n) {
    double mean = 0, sums = 0;
    for (size_t k = 0; k < f->dim; k++) {
        size_t d = f->pivot ? (size_t)f->pivot[k] - 1 : k;
        double apart = f->fake->mean[d] + f->y_sum[k] / (double)n - f->real->mean[d];
        mean += apart * apart;
        sums += f->y_sum[k] * (f->y_sum[k] / (double)n);
    }
    return mean + f->trace_a + (f->y_squares - sums) / (double)(n - 1);
}

// Takes in fake rows [first, last) of the shuffle.
static sr_status take(frechet *f, size_t first, size_t last) {
    size_t rank = f->rank, dim = f->dim;
    double *z = sr_alloc(f->block, rank * sizeof *z);
    if (!z)
        return SR_ERROR_MEMORY;
    for (; first < last; first += f->block) {
        size_t count = last - first < f->block ? last - first : f->block;
        centre(f, f->fake, f->order, first, count);
        // Rows of the Cholesky factor begin with zeros: 256 of them skip what precedes.
        for (size_t c = 0; c < rank; c += 256) {
            size_t skip = f->pivot ? c : 0, columns = rank - c < 256 ? rank - c : 256;
#pragma omp parallel for schedule(dynamic) num_threads(f->threads)
            for (size_t i = 0; i < count; i += 128)
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                            (int)(count - i < 128 ? count - i : 128), (int)columns,
                            (int)(dim - skip), 1.0, f->rows + i * dim + skip, (int)dim,
                            f->factor + c * dim + skip, (int)dim, 0.0, z + i * rank + c, (int)rank);
        }
        sr_gram_add(count, rank, z, f->gram, f->threads);
        for (size_t i = 0; i < count; i++) {
            for (size_t c = 0; c < rank; c++)
                f->z_sum[c] += z[i * rank + c];
            for (size_t d = 0; d < dim; d++)
                f->y_sum[d] += f->rows[i * dim + d];
            for (size_t c = 0; c < rank && f->z; c++)
                f->z[(first + i) * rank + c] = (float)z[i * rank + c];
        }
        f->y_squares += squares(count * dim, f->rows);
    }
    sr_free(z);
    return SR_OK;
}

// ---- influences ---------------------------------------------------------------------------------

// Eigenvectors (rank, rank) in fp32, and 1 / s in place of s where `inverse`.
static float *narrow(size_t count, const double *x) {
    float *out = sr_alloc(count, sizeof *out);
    for (size_t i = 0; i < count && out; i++)
        out[i] = (float)x[i];
    return out;
}

// out (n): the part of the influence of the rows' mean and trace; sign +1: fake, -1: real.
static void plain_influence(const frechet *f, const sr_rows *x, const size_t *order, double sign,
                            double *out) {
    for (size_t i = 0; i < x->n; i++) {
        const float *row = x->x + (order ? order[i] : i) * f->dim;
        double sum = 0;
        for (size_t d = 0; d < f->dim; d++) {
            double y = row[d] - x->mean[d];
            sum += y * (y + 2 * sign * (f->fake->mean[d] - f->real->mean[d]));
        }
        out[i] = sum;
    }
}

static void subtract(size_t n, double *from, const double *what) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) {
        from[i] -= what[i];
        mean += from[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++)
        from[i] -= mean;
}

// u = F'^-1 x of all real rows (n, rank), in fp32.
static float *whitened(const frechet *f) {
    size_t n = f->real->n, rank = f->rank, dim = f->dim;
    float *u = sr_alloc(n, rank * sizeof *u);
    for (size_t first = 0; first < n && u; first += f->block) {
        size_t count = n - first < f->block ? n - first : f->block;
        centre(f, f->real, NULL, first, count);
#pragma omp parallel for schedule(dynamic) num_threads(f->threads)
        for (size_t i = 0; i < count; i += 128)
            cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit,
                        (int)(count - i < 128 ? count - i : 128), (int)rank, 1.0, f->factor,
                        (int)dim, f->rows + i * dim, (int)dim);
        for (size_t i = 0; i < count; i++)
            for (size_t c = 0; c < rank; c++)
                u[(first + i) * rank + c] = (float)f->rows[i * dim + c];
    }
    return u;
}

static sr_status real_influence(const frechet *f, const double *vectors, const float *narrowed,
                                const double *s, double *out, double *form) {
    size_t n = f->real->n, rank = f->rank;
    plain_influence(f, f->real, NULL, -1, out);
    if (f->pivot && rank) {
        float *u = whitened(f), *scratch = sr_alloc(n, rank * sizeof *scratch);
        if (u && scratch)
            sr_square_forms(n, rank, u, narrowed, rank, s, form, f->threads, scratch);
        bool failed = !u || !scratch;
        sr_free(u);
        sr_free(scratch);
        if (failed)
            return SR_ERROR_MEMORY;
    } else if (!f->pivot) { // x = sqrt(n - 1) F' e_i
        for (size_t k = 0; k < rank; k++)
            for (size_t i = 0; i < n; i++)
                form[i] += (double)(n - 1) * s[k] * vectors[k * rank + i] * vectors[k * rank + i];
    }
    subtract(n, out, form);
    return SR_OK;
}

static sr_status fake_influence(const frechet *f, const float *narrowed, const double *s,
                                double *out, double *form) {
    size_t m = f->fake->n, rank = f->rank;
    double *inverse = sr_alloc(rank, sizeof *inverse);
    float *scratch = sr_alloc(m, rank * sizeof *scratch);
    plain_influence(f, f->fake, f->order, 1, out);
    for (size_t k = 0; k < rank && inverse; k++) // directions without variance have no say
        inverse[k] = s[k] > 1e-5 * s[rank - 1] ? 1 / s[k] : 0;
    if (rank && inverse && scratch)
        sr_square_forms(m, rank, f->z, narrowed, rank, inverse, form, f->threads, scratch);
    bool failed = !inverse || !scratch;
    sr_free(inverse);
    sr_free(scratch);
    subtract(m, out, form);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

// ---- the distances ------------------------------------------------------------------------------

#define SIZES_MAX 1000
typedef struct ladder {
    size_t count, n[SIZES_MAX]; // sizes, ascending; the last is all rows
    double distance[SIZES_MAX];
} ladder;

// As in dgm-eval: evenly spaced from min(5000, share of the rows) to all.
static void choose_sizes(const frechet *f, ladder *l) {
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
static void intercept_weights(const ladder *l, double *weight) {
    double mean = 0, spread = 0, count = (double)l->count;
    for (size_t i = 0; i < l->count; i++)
        mean += 1 / (double)l->n[i] / count;
    for (size_t i = 0; i < l->count; i++)
        spread += (1 / (double)l->n[i] - mean) * (1 / (double)l->n[i] - mean);
    for (size_t i = 0; i < l->count; i++)
        weight[i] = 1 / count - mean * (1 / (double)l->n[i] - mean) / spread;
}

static double variance(size_t n, const double *influence) {
    return squares(n, influence) / (double)(n - 1);
}

static void store(const frechet *f, const ladder *l, const double *real, const double *fake,
                  sr_metric_values *out) {
    double weight[SIZES_MAX], infinity = 0, factor = 0;
    size_t m = f->fake->n;
    double of_real = real ? variance(f->real->n, real) / (double)f->real->n : NAN;
    double of_fake = fake ? variance(m, fake) : NAN;
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

// Distances of all sizes but the last: matrices in batches of one for each thread.
static sr_status climb(frechet *f, ladder *l) {
    size_t rank = f->rank, batch = f->threads < 4 ? f->threads : 4, square = rank * rank, done = 0;
    double *m = sr_alloc(batch, square * sizeof *m), *values = sr_alloc(batch, rank * sizeof *m);
    sr_status status = m && values ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; i < l->count - 1 && status == SR_OK;) {
        size_t many = l->count - 1 - i < batch ? l->count - 1 - i : batch;
        sr_status found[4] = {SR_OK, SR_OK, SR_OK, SR_OK};
        for (size_t b = 0; b < many && status == SR_OK; b++) {
            status = take(f, done, l->n[i + b]);
            done = l->n[i + b];
            covariance(f, done, m + b * square);
            l->distance[i + b] = plain_terms(f, done);
        }
#pragma omp parallel for num_threads(batch)
        for (size_t b = 0; b < many; b++) {
            found[b] = sr_eigen('N', rank, m + b * square, values + b * rank);
            l->distance[i + b] -= 2 * root_trace(rank, values + b * rank);
        }
        for (size_t b = 0; b < many && status == SR_OK; b++)
            status = found[b];
        i += many;
    }
    sr_free(m);
    sr_free(values);
    return status == SR_OK ? take(f, done, f->fake->n) : status;
}

// Hands the influences on, fake ones in the order of the rows.
static void keep(const frechet *f, double *real, double *fake, sr_detail *detail) {
    double *straight = sr_alloc(f->fake->n, sizeof *straight);
    for (size_t p = 0; p < f->fake->n && straight; p++)
        straight[f->order[p]] = fake[p];
    detail->real[SR_FRECHET] = real;
    detail->fake[SR_FRECHET] = straight;
    sr_free(fake);
}

static sr_status finish(frechet *f, ladder *l, sr_metric_values *out, sr_detail *detail) {
    size_t rank = f->rank, n = f->real->n, m = f->fake->n;
    bool errors = !f->options->no_errors && n > 2 && m > 2;
    double *matrix = sr_alloc(rank, rank * sizeof *matrix), *s = sr_alloc(rank, sizeof *s);
    double *real = sr_alloc(n, sizeof *real), *fake = sr_alloc(m, sizeof *fake);
    double *form = sr_alloc(n > m ? n : m, sizeof *form);
    float *narrowed = NULL;
    sr_status status = matrix && s && real && fake && form ? SR_OK : SR_ERROR_MEMORY;
    if (status != SR_OK)
        goto done;
    covariance(f, m, matrix);
    if ((status = sr_eigen(errors ? 'V' : 'N', rank, matrix, s)) != SR_OK)
        goto done;
    f->root = root_trace(rank, s);
    l->distance[l->count - 1] = fmax(plain_terms(f, m) - 2 * f->root, 0);
    if (errors) {
        narrowed = narrow(rank * rank, matrix);
        status = narrowed ? real_influence(f, matrix, narrowed, s, real, form) : SR_ERROR_MEMORY;
        memset(form, 0, (n > m ? n : m) * sizeof *form);
        if (status == SR_OK)
            status = fake_influence(f, narrowed, s, fake, form);
    }
    if (status == SR_OK)
        store(f, l, errors ? real : NULL, errors ? fake : NULL, out);
    if (status == SR_OK && errors && detail) {
        keep(f, real, fake, detail);
        real = fake = NULL;
    }
done:
    sr_free(matrix);
    sr_free(s);
    sr_free(real);
    sr_free(fake);
    sr_free(form);
    sr_free(narrowed);
    return status;
}

static sr_status prepare(frechet *f) {
    size_t dim = f->dim, m = f->fake->n;
    f->block = CHUNK / dim < 64 ? 64 : CHUNK / dim > 1024 ? 1024 : CHUNK / dim;
    f->rows = sr_alloc(f->block, dim * sizeof(double));
    f->order = sr_alloc(m, sizeof(size_t));
    f->y_sum = sr_alloc(dim, sizeof(double));
    if (!f->rows || !f->order || !f->y_sum)
        return SR_ERROR_MEMORY;
    sr_shuffle(f->options->seed, 2, m, f->order);
    sr_status status = f->real->n <= dim ? factor_rows(f) : factor_covariance(f);
    if (status != SR_OK)
        return status;
    f->gram = sr_alloc(f->rank, f->rank * sizeof(double));
    f->z_sum = sr_alloc(f->rank, sizeof(double));
    if (!f->options->no_errors)
        f->z = sr_alloc(m, f->rank * sizeof(float));
    return f->gram && f->z_sum && (f->options->no_errors || f->z) ? SR_OK : SR_ERROR_MEMORY;
}

sr_status sr_metric_frechet(const sr_rows *real, const sr_rows *fake,
                            const sr_metric_options *options, unsigned threads,
                            sr_metric_values *out, sr_detail *detail) {
    size_t square;
    if (real->dim > INT_MAX || !sr_size_mul(real->dim, real->dim, &square))
        return sr_fail(SR_ERROR_UNSUPPORTED, "frechet: %zu feature dimensions are too many",
                       real->dim);
    frechet f = {
        .real = real, .fake = fake, .options = options, .threads = threads, .dim = real->dim};
    ladder *l = sr_alloc(1, sizeof *l);
    sr_status status = l ? prepare(&f) : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        choose_sizes(&f, l);
        status = climb(&f, l);
    }
    if (status == SR_OK)
        status = finish(&f, l, out, detail);
    clear(&f);
    sr_free(l);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "frechet: ");
}
