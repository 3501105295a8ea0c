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
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define EXPAND_RANK 1024
#define ALONE_DIM 256           // below, a factor is not worth a thread
#define NEGLIGIBLE 1e-5         // of the largest root: directions without variance have no say
#define CHUNK ((size_t)1 << 21) // values of a block of rows: 16 MB
#define BLOCK 256               // rows and columns of a product, for one thread

#define SIZES_MAX 1000
typedef struct ladder {
    size_t count, n[SIZES_MAX]; // sizes, ascending; the last is all rows
    bool expanded;              // tr sqrt of most sizes comes from the expansion
    double plain[SIZES_MAX];    // all of the distance but 2 tr sqrt
    double distance[SIZES_MAX];
    double root[SIZES_MAX]; // tr sqrt
} ladder;

typedef struct sr_frechet frechet;

#define JOBS 3 // eigenproblems that are left to others: of all rows, and two for the expansion
struct sr_frechet {
    const sr_rows *real, *fake;
    const sr_metric_options *options;
    unsigned threads;
    size_t dim, rank, block; // rows at a time
    double trace_a;          // tr Ca
    double *factor;          // (rank, dim)
    int *pivot;              // (dim): feature k of the factor is feature pivot[k] - 1
    pthread_t thread;        // that makes the factor of a covariance
    bool factoring;          // until it is joined
    atomic_bool factored;
    int factor_info, factor_rank; // what LAPACK said
    double *rows;                 // (block, dim): scratch
    size_t *order;                // (fake): the shuffle
    double *vectors, *s;          // (rank, rank), (rank): of all rows
    double *y_sum, y_squares;     // (dim): sums over the fake rows so far
    sr_frame frame;               // directions, for covariances of many features
    sr_scatter *scatter;          // of the fake rows so far, features in the order of the factor's
    double *gram, *z_sum;         // or, when the factor is of rows, (rank, rank), (rank) of z = F y
    bool errors;                  // standard errors are wanted
    size_t influences[2];         // real and fake rows whose influences are wanted
    size_t *real_order; // (influences[0]): these rows; of the fake ones, the first of the shuffle
    ladder ladder;
    size_t jobs, at[JOBS]; // at: the places of their sizes
    sr_eigen_job job[JOBS];
};

// Threads that nothing keeps busy.
static unsigned team(const frechet *f) {
    bool busy = f->factoring && !atomic_load(&f->factored);
    return f->threads - (busy && f->threads > 1);
}

void sr_frechet_destroy(frechet *f) {
    if (!f)
        return;
    if (f->factoring)
        pthread_join(f->thread, NULL);
    for (size_t j = 0; j < f->jobs; j++)
        if (f->job[j].a != f->vectors) {
            sr_free(f->job[j].a);
            sr_free(f->job[j].values);
        }
    sr_free(f->factor);
    sr_free(f->pivot);
    sr_free(f->rows);
    sr_frame_clear(&f->frame);
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

// f->rows = rows [first, first + count), centred, features in their order or in the factor's.
static void centre(const frechet *f, const sr_rows *x, const size_t *order, size_t first,
                   size_t count, const int *pivot) {
    size_t dim = f->dim;
#pragma omp parallel for num_threads(team(f))
    for (size_t i = 0; i < count; i++) {
        size_t row = order ? order[first + i] : first + i;
        for (size_t k = 0; k < dim; k++) {
            size_t d = pivot ? (size_t)pivot[k] - 1 : k;
            f->rows[i * dim + k] = x->x[row * dim + d] - x->mean[d];
        }
    }
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static double squares(size_t n, const double *x) {
    double sum[8] = {0}; // lanes: one sum would wait for itself
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            sum[lane] += x[i + lane] * x[i + lane];
    for (size_t i = n / 8 * 8, lane = 0; i < n; i++, lane++)
        sum[lane] += x[i] * x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
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

// f->factor (dim, dim; from the diagonal on) = the covariance of the real rows.
static sr_status real_covariance(frechet *f) {
    size_t n = f->real->n, dim = f->dim;
    sr_scatter *scatter = NULL;
    sr_status status =
        sr_scatter_narrow(dim) ? sr_frame_create(f->real, f->fake, &f->frame) : SR_OK;
    if (status == SR_OK)
        status = sr_scatter_create(dim, f->block, &f->frame, &scatter);
    for (size_t first = 0; first < n && status == SR_OK; first += f->block) {
        size_t count = n - first < f->block ? n - first : f->block;
        centre(f, f->real, NULL, first, count, NULL);
        f->trace_a += squares(count * dim, f->rows) / (double)(n - 1);
        sr_scatter_add(scatter, count, f->rows, f->threads);
    }
    if (status == SR_OK)
        status = sr_scatter_sum(scatter, f->factor, f->threads);
    sr_scatter_destroy(scatter);
    for (size_t i = 0; i < dim * dim && status == SR_OK; i++)
        f->factor[i] /= (double)(n - 1);
    return status;
}

// Pivoted Cholesky. LAPACK's column c of L is our row c of F.
static void *factorise(void *user) {
    frechet *f = user;
    int dim = (int)f->dim;
    f->factor_info =
        LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'L', dim, f->factor, dim, f->pivot, &f->factor_rank,
                       -1.0); // tolerance: dim x 2^-53 of the largest variance
    atomic_store(&f->factored, true);
    return NULL;
}

// Starts what join_factor() ends: LAPACK leaves the other threads to the fake rows.
static sr_status factor_covariance(frechet *f) {
    size_t dim = f->dim;
    f->factor = sr_alloc(dim * dim, sizeof(double));
    f->pivot = sr_alloc(dim, sizeof *f->pivot);
    sr_status status = f->factor && f->pivot ? real_covariance(f) : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_scatter_create(dim, f->block, &f->frame, &f->scatter);
    if (status != SR_OK)
        return status;
    f->factoring =
        f->threads > 1 && dim >= ALONE_DIM && pthread_create(&f->thread, NULL, factorise, f) == 0;
    if (!f->factoring)
        factorise(f);
    return SR_OK;
}

static sr_status join_factor(frechet *f) {
    if (!f->pivot)
        return SR_OK;
    if (f->factoring)
        pthread_join(f->thread, NULL);
    f->factoring = false;
    if (f->factor_info < 0)
        return sr_fail(SR_ERROR_LIBRARY, "dpstrf returned %d", f->factor_info);
    // Of variances that are all 0 LAPACK finds no rank.
    f->rank = f->trace_a > 0 ? (size_t)f->factor_rank : 0;
    for (size_t c = 0; c < f->rank; c++)
        memset(f->factor + c * f->dim, 0, c * sizeof(double));
    return SR_OK;
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

// m (rank, rank; from the diagonal on) = F c F', c (dim, dim) symmetric. Rows of the Cholesky
// factor begin with zeros: what a block of them does not see is skipped.
static sr_status both_sides(const frechet *f, const double *c, double *m) {
    size_t rank = f->rank, dim = f->dim, blocks = (rank + BLOCK - 1) / BLOCK,
           across = (dim + BLOCK - 1) / BLOCK;
    double *product = sr_alloc(rank, dim * sizeof *product); // F c
    if (!product)
        return SR_ERROR_MEMORY;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < across; j++) {
            size_t row = i * BLOCK, column = j * BLOCK;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)smaller(BLOCK, rank - row),
                        (int)smaller(BLOCK, dim - column), (int)(dim - row), 1.0,
                        f->factor + row * dim + row, (int)dim, c + row * dim + column, (int)dim,
                        0.0, product + row * dim + column, (int)dim);
        }
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < blocks; j++) {
            size_t row = i * BLOCK, column = j * BLOCK;
            if (j >= i)
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                            (int)smaller(BLOCK, rank - row), (int)smaller(BLOCK, rank - column),
                            (int)(dim - column), 1.0, product + row * dim + column, (int)dim,
                            f->factor + column * dim + column, (int)dim, 0.0,
                            m + row * rank + column, (int)rank);
        }
    sr_free(product);
    return SR_OK;
}

// c (side, side) = (sums - sum sum' / n) / (n - 1), from the diagonal on.
static void subtract_mean(size_t side, size_t n, const double *sums, const double *sum, double *c,
                          unsigned threads) {
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (size_t i = 0; i < side; i++)
        for (size_t j = i; j < side; j++)
            c[i * side + j] =
                (sums[i * side + j] - sum[i] * (sum[j] / (double)n)) / (double)(n - 1);
}

// m (rank, rank; from the diagonal on) = F Cb F', Cb of the first n fake rows.
static sr_status covariance(const frechet *f, size_t n, double *m) {
    size_t dim = f->dim;
    if (!f->pivot) {
        subtract_mean(f->rank, n, f->gram, f->z_sum, m, f->threads);
        return SR_OK;
    }
    double *sums = sr_alloc(dim, dim * sizeof *sums), *c = sr_alloc(dim, dim * sizeof *c);
    sr_status status = sums && c ? sr_scatter_sum(f->scatter, sums, f->threads) : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        subtract_mean(dim, n, sums, f->y_sum, sums, f->threads);
#pragma omp parallel for num_threads(f->threads)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++) {
                size_t a = (size_t)f->pivot[i] - 1, b = (size_t)f->pivot[j] - 1;
                c[i * dim + j] = a < b ? sums[a * dim + b] : sums[b * dim + a];
            }
        status = both_sides(f, c, m);
    }
    sr_free(sums);
    sr_free(c);
    return status;
}

// All of the distance of the first n fake rows but tr sqrt(Ca Cb).
static double plain_terms(const frechet *f, size_t n) {
    double mean = 0, sums = 0;
    for (size_t d = 0; d < f->dim; d++) {
        double apart = f->fake->mean[d] + f->y_sum[d] / (double)n - f->real->mean[d];
        mean += apart * apart;
        sums += f->y_sum[d] * (f->y_sum[d] / (double)n);
    }
    return mean + f->trace_a + (f->y_squares - sums) / (double)(n - 1);
}

// sum (columns) += the rows of x (n, columns), in order.
static void column_sums(size_t n, size_t columns, const double *x, double *sum, unsigned threads) {
#pragma omp parallel for num_threads(threads)
    for (size_t first = 0; first < columns; first += 256)
        for (size_t i = 0; i < n; i++)
            for (size_t c = first; c < columns && c < first + 256; c++)
                sum[c] += x[i * columns + c];
}

// z (count, rank) = F y of the rows in f->rows.
static void project(const frechet *f, size_t count, double *z) {
    size_t rank = f->rank, dim = f->dim;
#pragma omp parallel for schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < count; i += 128)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)smaller(128, count - i),
                    (int)rank, (int)dim, 1.0, f->rows + i * dim, (int)dim, f->factor, (int)dim, 0.0,
                    z + i * rank, (int)rank);
}

// Takes in fake rows [first, last) of the shuffle.
static sr_status take(frechet *f, size_t first, size_t last) {
    size_t rank = f->rank, dim = f->dim;
    double *z = sr_alloc(f->pivot ? 0 : f->block, rank * sizeof *z);
    if (!z)
        return SR_ERROR_MEMORY;
    for (; first < last; first += f->block) {
        size_t count = smaller(f->block, last - first);
        centre(f, f->fake, f->order, first, count, NULL);
        column_sums(count, dim, f->rows, f->y_sum, team(f));
        f->y_squares += squares(count * dim, f->rows);
        if (f->pivot) {
            sr_scatter_add(f->scatter, count, f->rows, team(f));
        } else {
            project(f, count, z);
            sr_gram_add(count, rank, z, f->gram, f->threads);
            column_sums(count, rank, z, f->z_sum, f->threads);
        }
    }
    sr_free(z);
    return SR_OK;
}

// ---- influences ---------------------------------------------------------------------------------

// out (count): the part of the influence of the rows' mean and trace; sign +1: fake, -1: real.
static void plain_influence(const frechet *f, const sr_rows *x, const size_t *order, size_t count,
                            double sign, double *out) {
#pragma omp parallel for num_threads(f->threads)
    for (size_t i = 0; i < count; i++) {
        const float *row = x->x + order[i] * f->dim;
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

// The eigenvectors (rows of f->vectors, which nobody needs any more) become w_k = F^-1 v_k, in fp32
// in `narrowed`: as u . v_k = x . w_k, it is the rank vectors that are solved for and not the rows.
static void unwhiten(const frechet *f, float *narrowed) {
    size_t rank = f->rank;
#pragma omp parallel for schedule(dynamic) num_threads(f->threads)
    for (size_t k = 0; k < rank; k += 128) {
        size_t count = rank - k < 128 ? rank - k : 128;
        double *w = f->vectors + k * rank;
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, (int)count,
                    (int)rank, 1.0, f->factor, (int)f->dim, w, (int)rank);
        for (size_t i = 0; i < count * rank; i++)
            narrowed[k * rank + i] = (float)w[i];
    }
}

// vectors (rank, dim), in fp32: w_k = F' v_k, as z . v_k = y . w_k.
static sr_status pull_back(const frechet *f, float *vectors) {
    size_t rank = f->rank, dim = f->dim, blocks = (rank + BLOCK - 1) / BLOCK,
           across = (dim + BLOCK - 1) / BLOCK;
    float *v = sr_alloc(rank, rank * sizeof *v), *factor = sr_alloc(rank, dim * sizeof *factor);
    if (!v || !factor) {
        sr_free(v);
        sr_free(factor);
        return SR_ERROR_MEMORY;
    }
    sr_narrow(rank * rank, f->vectors, v, f->threads);
    sr_narrow(rank * dim, f->factor, factor, f->threads);
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < across; j++) {
            size_t row = i * BLOCK, column = j * BLOCK, rows = smaller(BLOCK, rank - row),
                   columns = smaller(BLOCK, dim - column);
            size_t depth = f->pivot ? smaller(column + columns, rank) : rank; // below, F is 0
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)columns,
                        (int)depth, 1.0f, v + row * rank, (int)rank, factor + column, (int)dim,
                        0.0f, vectors + row * dim + column, (int)dim);
        }
    sr_free(v);
    sr_free(factor);
    return SR_OK;
}

// form (count): sum over k of weight_k (x . w_k)^2 over rows of x in the given order, of their
// first `width` features; vectors (rank, width). products (count, rank): x . w_k, or NULL.
static sr_status forms(const frechet *f, const sr_rows *of, const size_t *order, size_t count,
                       size_t width, const float *vectors, const double *weight, float *products,
                       double *form) {
    size_t rank = f->rank, dim = f->dim, block = smaller(count, f->block);
    float *x = sr_alloc(block, width * sizeof *x);
    float *scratch = sr_alloc(products ? 0 : block, rank * sizeof *x);
    bool failed = !x || !scratch;
    for (size_t first = 0; first < count && !failed && rank; first += block) {
        size_t now = smaller(block, count - first);
        centre(f, of, order, first, now, f->pivot);
#pragma omp parallel for num_threads(f->threads)
        for (size_t i = 0; i < now; i++)
            for (size_t c = 0; c < width; c++)
                x[i * width + c] = (float)f->rows[i * dim + c];
        sr_square_forms(now, width, x, vectors, rank, weight, form + first, f->threads,
                        products ? products + first * rank : scratch);
    }
    sr_free(x);
    sr_free(scratch);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

// out, form (influences[0]); form: zeros, scratch. Overwrites the eigenvectors.
static sr_status real_influence(const frechet *f, double *out, double *form) {
    size_t count = f->influences[0], rank = f->rank;
    plain_influence(f, f->real, f->real_order, count, -1, out);
    if (f->pivot) { // of a singular covariance the factor's first `rank` features say it all
        float *vectors = sr_alloc(rank, rank * sizeof *vectors);
        sr_status status = vectors ? SR_OK : SR_ERROR_MEMORY;
        if (status == SR_OK) {
            unwhiten(f, vectors);
            status = forms(f, f->real, f->real_order, count, rank, vectors, f->s, NULL, form);
        }
        sr_free(vectors);
        if (status != SR_OK)
            return status;
    } else { // x = sqrt(n - 1) F' e_i
        double scale = (double)(f->real->n - 1);
        for (size_t k = 0; k < rank; k++)
            for (size_t i = 0; i < count; i++) {
                double v = f->vectors[k * rank + f->real_order[i]];
                form[i] += scale * f->s[k] * v * v;
            }
    }
    subtract(count, out, form);
    return SR_OK;
}

// rotated (influences[1], rank): z in the eigenvectors, or NULL.
static sr_status fake_influence(const frechet *f, float *rotated, double *out, double *form) {
    size_t count = f->influences[1], rank = f->rank;
    double *inverse = sr_alloc(rank, sizeof *inverse);
    float *vectors = sr_alloc(rank, f->dim * sizeof *vectors);
    sr_status status = inverse && vectors ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        plain_influence(f, f->fake, f->order, count, 1, out);
        for (size_t k = 0; k < rank; k++)
            inverse[k] = f->s[k] > NEGLIGIBLE * f->s[rank - 1] ? 1 / f->s[k] : 0;
        status = pull_back(f, vectors);
    }
    if (status == SR_OK) {
        status = forms(f, f->fake, f->order, count, f->dim, vectors, inverse, rotated, form);
        subtract(count, out, form);
    }
    sr_free(inverse);
    sr_free(vectors);
    return status;
}

// ---- the expansion of tr sqrt -------------------------------------------------------------------

// Terms of first and second order of row i, gram (rank) the sums of the first n rows.
static void expansion_row(const frechet *f, size_t n, size_t i, const double *gram,
                          const double *sum, double terms[2]) {
    const double *s = f->s;
    double least = NEGLIGIBLE * s[f->rank - 1], mean = sum[i] / (double)n;
    terms[0] = terms[1] = 0;
    for (size_t j = i; j < f->rank && s[i] > least; j++) {
        double apart = (gram[j] - mean * sum[j]) / (double)(n - 1) - (j == i ? s[i] * s[i] : 0);
        if (j == i)
            terms[0] = apart / (2 * s[i]);
        terms[1] -= apart * apart / ((j == i ? 4 : 2) * s[i] * s[j] * (s[i] + s[j]));
    }
}

// The sums over all rows of both, in order.
static void expansion(const frechet *f, size_t n, const double *gram, const double *sum,
                      double *terms, double *first, double *second) {
    size_t rank = f->rank;
#pragma omp parallel for schedule(dynamic, 16) num_threads(f->threads)
    for (size_t i = 0; i < rank; i++)
        expansion_row(f, n, i, gram + i * rank, sum, terms + 2 * i);
    *first = *second = 0;
    for (size_t i = 0; i < rank; i++) {
        *first += terms[2 * i];
        *second += terms[2 * i + 1];
    }
}

static bool solved(const ladder *l, size_t i) {
    return !l->expanded || i == 0 || i == l->count / 2 || i == l->count - 1;
}

// l->root of the sizes that were not solved. rotated (m, rank): z in the eigenvectors.
static sr_status expand(frechet *f, const float *rotated) {
    ladder *l = &f->ladder;
    size_t rank = f->rank, done = 0, last = l->count - 1, middle = l->count / 2;
    double *gram = sr_alloc(rank, rank * sizeof *gram), *sum = sr_alloc(rank, sizeof *sum);
    double *terms = sr_alloc(rank, 2 * sizeof *terms), first[SIZES_MAX], second[SIZES_MAX];
    bool failed = !gram || !sum || !terms;
    for (size_t k = 0; k < last && !failed; done = l->n[k++]) {
        sr_gram_add_narrow(l->n[k] - done, rank, rotated + done * rank, gram, f->threads);
        for (size_t p = done; p < l->n[k]; p++)
            for (size_t i = 0; i < rank; i++)
                sum[i] += rotated[p * rank + i];
        expansion(f, l->n[k], gram, sum, terms, &first[k], &second[k]);
    }
    sr_free(gram);
    sr_free(sum);
    sr_free(terms);
    if (failed)
        return SR_ERROR_MEMORY;
    double at[2] = {1 / (double)l->n[0], 1 / (double)l->n[middle]}, factor[2];
    for (int i = 0; i < 2; i++) {
        size_t k = i ? middle : 0;
        factor[i] = second[k] < 0 ? (l->root[k] - l->root[last] - first[k]) / second[k] : 1;
    }
    for (size_t k = 0; k < last; k++) {
        double t = (1 / (double)l->n[k] - at[0]) / (at[1] - at[0]);
        if (!solved(l, k))
            l->root[k] =
                l->root[last] + first[k] + (factor[0] + t * (factor[1] - factor[0])) * second[k];
    }
    return SR_OK;
}

// ---- the distances ------------------------------------------------------------------------------

// As in dgm-eval: evenly spaced from min(5000, share of the rows) to all.
static void choose_sizes(frechet *f) {
    ladder *l = &f->ladder;
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

static void store(const frechet *f, const double *real, const double *fake, sr_metric_values *out) {
    const ladder *l = &f->ladder;
    double weight[SIZES_MAX], infinity = 0, factor = 0;
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
static sr_status solve(frechet *f, size_t count, sr_eigen_job *batch, const size_t *at) {
    sr_eigen_job *jobs[SR_EIGEN_JOBS];
    for (size_t b = 0; b < count; b++)
        jobs[b] = batch + b;
    sr_status status = sr_eigen(count, jobs, f->threads);
    for (size_t b = 0; b < count && status == SR_OK; b++)
        f->ladder.root[at[b]] = root_trace(f->rank, batch[b].values);
    return status;
}

// The matrix of size i as a job for the queue; that of all rows with its eigenvectors.
static sr_status add_job(frechet *f, size_t i, bool vectors) {
    size_t rank = f->rank, j = f->jobs;
    bool last = i == f->ladder.count - 1;
    f->job[j] =
        (sr_eigen_job){.vectors = last && vectors, .dim = rank, .a = f->vectors, .values = f->s};
    if (!last) {
        f->job[j].a = sr_alloc(rank, rank * sizeof(double));
        f->job[j].values = sr_alloc(rank, sizeof(double));
    }
    f->jobs++;
    if (!f->job[j].a || !f->job[j].values)
        return SR_ERROR_MEMORY;
    f->at[j] = i;
    return covariance(f, f->ladder.n[i], f->job[j].a);
}

// l->plain of all sizes, the first of which is taken in. Where there is no expansion, l->root of
// all but the last: matrices in batches, one a thread; the others become jobs.
static sr_status climb(frechet *f, bool vectors) {
    ladder *l = &f->ladder;
    size_t rank = f->rank, most = f->threads < 4 ? f->threads : 4, square = rank * rank, count = 0;
    size_t at[4], last = l->count - 1,
                  kept = l->expanded || most > last ? l->expanded ? 0 : last : most;
    double *m = sr_alloc(kept, square * sizeof *m), *values = sr_alloc(kept, rank * sizeof *m);
    sr_eigen_job batch[4];
    sr_status status = m && values ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; i <= last && status == SR_OK; i++) {
        if (i > 0 && (status = take(f, l->n[i - 1], l->n[i])) != SR_OK)
            break;
        l->plain[i] = plain_terms(f, l->n[i]);
        if (i == last || (l->expanded && solved(l, i))) {
            status = add_job(f, i, vectors);
        } else if (!l->expanded) {
            batch[count] = (sr_eigen_job){
                .dim = rank, .a = m + count * square, .values = values + count * rank};
            status = covariance(f, l->n[i], batch[count].a);
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
static void keep(const frechet *f, double *real, double *fake, sr_detail *detail) {
    double *straight = sr_alloc(f->fake->n, sizeof *straight);
    for (size_t p = 0; p < f->fake->n && straight; p++)
        straight[f->order[p]] = fake[p];
    detail->real[SR_FRECHET] = real;
    detail->fake[SR_FRECHET] = straight;
    sr_free(fake);
}

// What the eigenvectors are for: influences of rows and the expansion.
static sr_status use_vectors(frechet *f, double *real, double *fake) {
    size_t n = f->influences[0], m = f->influences[1], more = n > m ? n : m;
    bool expanded = f->ladder.expanded;
    double *form = sr_alloc(more, sizeof *form);
    float *rotated = expanded ? sr_alloc(m, f->rank * sizeof *rotated) : NULL;
    sr_status status = form && (rotated || !expanded) ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = fake_influence(f, rotated, fake, form);
    if (status == SR_OK && expanded)
        status = expand(f, rotated);
    sr_free(rotated);
    if (status == SR_OK && f->errors) {
        memset(form, 0, more * sizeof *form);
        status = real_influence(f, real, form);
    }
    sr_free(form);
    return status;
}

sr_status sr_frechet_finish(frechet *f, sr_metric_values *out, sr_detail *detail) {
    ladder *l = &f->ladder;
    double *real = sr_alloc(f->influences[0], sizeof *real);
    double *fake = sr_alloc(f->influences[1], sizeof *fake);
    sr_status status = real && fake ? SR_OK : SR_ERROR_MEMORY;
    for (size_t j = 0; j < f->jobs; j++)
        l->root[f->at[j]] = root_trace(f->rank, f->job[j].values);
    if (status == SR_OK && (f->errors || l->expanded))
        status = use_vectors(f, real, fake);
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

static sr_status prepare(frechet *f) {
    size_t dim = f->dim, m = f->fake->n;
    f->block = CHUNK / dim < 64 ? 64 : CHUNK / dim > 1024 ? 1024 : CHUNK / dim;
    f->rows = sr_alloc(f->block, dim * sizeof(double));
    f->order = sr_alloc(m, sizeof(size_t));
    f->y_sum = sr_alloc(dim, sizeof(double));
    if (!f->rows || !f->order || !f->y_sum)
        return SR_ERROR_MEMORY;
    sr_shuffle(f->options->seed, 2, m, f->order);
    if (f->real->n > dim)
        return factor_covariance(f);
    sr_status status = factor_rows(f);
    if (status != SR_OK)
        return status;
    f->gram = sr_alloc(f->rank, f->rank * sizeof(double));
    f->z_sum = sr_alloc(f->rank, sizeof(double));
    return f->gram && f->z_sum ? SR_OK : SR_ERROR_MEMORY;
}

// Once the rank is known.
static sr_status prepare_spectra(frechet *f) {
    ladder *l = &f->ladder;
    // With fewer rows than twice the rank the expansion does not converge.
    l->expanded = f->rank >= EXPAND_RANK && l->count > 4 && l->n[0] >= 2 * f->rank;
    f->vectors = sr_alloc(f->rank, f->rank * sizeof(double));
    f->s = sr_alloc(f->rank, sizeof(double));
    return f->vectors && f->s ? SR_OK : SR_ERROR_MEMORY;
}

// Of all rows, unless nobody asks for each; and none where there is nothing to use them for.
static sr_status choose_influences(frechet *f, bool detail) {
    const size_t few = SR_INFLUENCE_ROWS, n = f->real->n, m = f->fake->n;
    if (f->errors)
        f->influences[0] = detail || !f->pivot || n < 2 * few ? n : few;
    if (f->errors || f->ladder.expanded)
        f->influences[1] = detail || f->ladder.expanded || m < 2 * few ? m : few;
    f->real_order = sr_alloc(f->influences[0], sizeof *f->real_order);
    if (!f->real_order)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < f->influences[0]; i++)
        f->real_order[i] = i * n / f->influences[0];
    return SR_OK;
}

sr_status sr_frechet_start(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, bool detail, unsigned threads,
                           sr_eigen_queue *queue, sr_frechet **out) {
    size_t square;
    *out = NULL;
    if (real->dim > INT_MAX || !sr_size_mul(real->dim, real->dim, &square))
        return sr_fail(SR_ERROR_UNSUPPORTED, "frechet: %zu feature dimensions are too many",
                       real->dim);
    frechet *f = sr_alloc(1, sizeof *f);
    if (!f)
        return sr_fail_context(SR_ERROR_MEMORY, "frechet: ");
    *f = (frechet){
        .real = real, .fake = fake, .options = options, .threads = threads, .dim = real->dim};
    f->errors = !options->no_errors && real->n > 2 && fake->n > 2;
    sr_status status = prepare(f);
    if (status == SR_OK) {
        choose_sizes(f);
        status = take(f, 0, f->ladder.n[0]);
    }
    if (status == SR_OK)
        status = join_factor(f);
    if (status == SR_OK)
        status = prepare_spectra(f);
    if (status == SR_OK)
        status = choose_influences(f, detail);
    if (status == SR_OK)
        status = climb(f, f->errors || f->ladder.expanded);
    if (status != SR_OK) {
        sr_frechet_destroy(f);
        return sr_fail_context(status, "frechet: ");
    }
    for (size_t j = f->jobs; j-- > 0;) // the longest first
        queue->job[queue->count++] = &f->job[j];
    *out = f;
    return SR_OK;
}
