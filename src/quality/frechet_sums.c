// What the Frechet distance sums up over rows: the covariance of the real rows and its factor F,
// the sums over fake rows of which every size's covariance is made.
#include "frechet.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

// Of a feature's variance, what must be left of it given the others for sums in float: they are
// right to 1e-7, so that a root of what is left is right to 1e-4, and of many directions to less.
#define SINGULAR 1e-5

// f->rows = rows [first, first + count), centred, features in their order or in the factor's.
void sr_frechet_centre(const sr_frechet *f, const sr_rows *x, const size_t *order, size_t first,
                       size_t count, const int *pivot) {
    size_t dim = f->dim;
#pragma omp parallel for num_threads(f->threads)
    for (size_t i = 0; i < count; i++) {
        size_t row = order ? order[first + i] : first + i;
        for (size_t k = 0; k < dim; k++) {
            size_t d = pivot ? (size_t)pivot[k] - 1 : k;
            f->rows[i * dim + k] = x->x[row * dim + d] - x->mean[d];
        }
    }
}

double sr_squares(size_t n, const double *x) {
    double sum[8] = {0}; // lanes: one sum would wait for itself
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            sum[lane] += x[i + lane] * x[i + lane];
    for (size_t i = n / 8 * 8, lane = 0; i < n; i++, lane++)
        sum[lane] += x[i] * x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

// The factor of the smaller side: the centred rows.
static sr_status factor_rows(sr_frechet *f) {
    size_t n = f->real->n, dim = f->dim;
    f->rank = n;
    f->factor = sr_alloc(n * dim, sizeof(double));
    if (!f->factor)
        return SR_ERROR_MEMORY;
    double scale = 1 / sqrt((double)(n - 1));
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++)
            f->factor[i * dim + d] = scale * (f->real->x[i * dim + d] - f->real->mean[d]);
    f->trace_a = sr_squares(n * dim, f->factor);
    return SR_OK;
}

// f->factor (dim, dim; from the diagonal on) = the covariance of the real rows. The scatter is then
// free for the fake ones.
static sr_status real_covariance(sr_frechet *f) {
    size_t n = f->real->n, dim = f->dim;
    for (size_t first = 0; first < n; first += f->block) {
        size_t count = sr_smaller(f->block, n - first);
        sr_frechet_centre(f, f->real, NULL, first, count, NULL);
        f->trace_a += sr_squares(count * dim, f->rows) / (double)(n - 1);
        sr_scatter_add(f->scatter, count, f->rows, f->threads);
    }
    sr_status status = sr_scatter_sum(f->scatter, f->factor, f->threads);
    sr_scatter_restart(f->scatter);
    for (size_t i = 0; i < dim * dim && status == SR_OK; i++)
        f->factor[i] /= (double)(n - 1);
    for (size_t d = 0; d < dim && status == SR_OK; d++)
        f->variance[d] = f->factor[d * dim + d];
    return status;
}

// Whether a feature's variance given the features before it is next to nothing: what is left of it
// may be what float made of 0, whose root a distance would see.
static bool real_singular(const sr_frechet *f) {
    size_t alive = 0;
    for (size_t d = 0; d < f->dim; d++)
        alive += f->variance[d] > 0;
    for (size_t k = 0; k < f->rank; k++) {
        double root = f->factor[k * f->dim + k], all = f->variance[f->pivot[k] - 1];
        if (root * root < SINGULAR * all)
            return true;
    }
    return f->rank < alive;
}

// F of the covariance in f->factor, and the rank: Cholesky's factor, pivoted unless a covariance
// that turns out nearly singular is not wanted anyway.
static sr_status factorise(sr_frechet *f) {
    size_t dim = f->dim;
    bool constant = false;
    for (size_t d = 0; d < dim; d++) {
        f->pivot[d] = (int)d + 1;
        constant |= f->variance[d] <= 0;
    }
    if (f->narrow && !constant) {
        f->rank = sr_cholesky(dim, f->factor, f->threads);
    } else { // LAPACK's column c of L is our row c of F
        int rank,
            info = LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'L', (int)dim, f->factor, (int)dim, f->pivot,
                                  &rank, -1.0); // tolerance: dim x 2^-53 of the largest variance
        if (info < 0)
            return sr_fail(SR_ERROR_LIBRARY, "dpstrf returned %d", info);
        f->rank = f->trace_a > 0 ? (size_t)rank : 0; // it finds no rank where all variances are 0
    }
    for (size_t c = 0; c < f->rank; c++)
        memset(f->factor + c * dim, 0, c * sizeof(double));
    f->singular = f->narrow && real_singular(f);
    return SR_OK;
}

static sr_status factor_covariance(sr_frechet *f, sr_work *work) {
    size_t dim = f->dim;
    sr_frame frame;
    f->factor = sr_alloc_by(f->threads, dim * dim, sizeof(double));
    f->pivot = sr_alloc(dim, sizeof *f->pivot);
    f->variance = sr_alloc(dim, sizeof *f->variance);
    sr_status status = f->factor && f->pivot && f->variance ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK && f->narrow)
        status = sr_work_frame(work, f->real, f->fake, &frame);
    if (status == SR_OK)
        status =
            sr_scatter_create(dim, f->block, f->narrow ? &frame : NULL, f->threads, &f->scatter);
    if (status == SR_OK)
        status = real_covariance(f);
    return status == SR_OK ? factorise(f) : status;
}

sr_status sr_frechet_factor(sr_frechet *f, sr_work *work) {
    if (f->real->n > f->dim)
        return factor_covariance(f, work);
    sr_status status = factor_rows(f);
    if (status != SR_OK)
        return status;
    f->gram = sr_alloc(f->rank, f->rank * sizeof(double));
    f->z_sum = sr_alloc(f->rank, sizeof(double));
    return f->gram && f->z_sum ? SR_OK : SR_ERROR_MEMORY;
}

// The same of the fake rows' covariance c (dim, dim), by a factorisation in float.
static sr_status fake_singular(const sr_frechet *f, const double *c, bool *singular) {
    size_t dim = f->dim;
    float *l = sr_alloc_by(f->threads, dim, dim * sizeof *l);
    if (!l)
        return SR_ERROR_MEMORY;
    sr_narrow(dim * dim, c, l, f->threads);
    for (size_t d = 0; d < dim; d++) // one that is constant is no trouble
        l[d * dim + d] = c[d * dim + d] > 0 ? l[d * dim + d] : 1;
    *singular = LAPACKE_spotrf(LAPACK_COL_MAJOR, 'L', (int)dim, l, (int)dim) != 0;
    for (size_t d = 0; d < dim && !*singular; d++)
        *singular = (double)l[d * dim + d] * l[d * dim + d] < SINGULAR * c[d * dim + d];
    sr_free(l);
    return SR_OK;
}

// m (rank, rank; from the diagonal on) = F c F', c (dim, dim) symmetric; product (rank, dim):
// scratch, for F c. m and c may be the same memory. Rows of the Cholesky factor begin with zeros:
// what a block of them does not see is skipped.
static void both_sides(const sr_frechet *f, const double *c, double *product, double *m) {
    size_t rank = f->rank, dim = f->dim, blocks = (rank + SR_FRECHET_BLOCK - 1) / SR_FRECHET_BLOCK,
           across = (dim + SR_FRECHET_BLOCK - 1) / SR_FRECHET_BLOCK;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < across; j++) {
            size_t row = i * SR_FRECHET_BLOCK, column = j * SR_FRECHET_BLOCK;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans,
                        (int)sr_smaller(SR_FRECHET_BLOCK, rank - row),
                        (int)sr_smaller(SR_FRECHET_BLOCK, dim - column), (int)(dim - row), 1.0,
                        f->factor + row * dim + row, (int)dim, c + row * dim + column, (int)dim,
                        0.0, product + row * dim + column, (int)dim);
        }
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < blocks; j++) {
            size_t row = i * SR_FRECHET_BLOCK, column = j * SR_FRECHET_BLOCK;
            if (j >= i)
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                            (int)sr_smaller(SR_FRECHET_BLOCK, rank - row),
                            (int)sr_smaller(SR_FRECHET_BLOCK, rank - column), (int)(dim - column),
                            1.0, product + row * dim + column, (int)dim,
                            f->factor + column * dim + column, (int)dim, 0.0,
                            m + row * rank + column, (int)rank);
        }
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

size_t sr_frechet_room(const sr_frechet *f) {
    return f->pivot ? f->dim * f->dim : f->rank * f->rank;
}

sr_status sr_frechet_covariance(sr_frechet *f, size_t n, double *m) {
    size_t dim = f->dim;
    if (!f->pivot) {
        subtract_mean(f->rank, n, f->gram, f->z_sum, m, f->threads);
        return SR_OK;
    }
    double *sums = NULL, *c = m; // m holds Cb for a while
    bool all = n == f->fake->n;
    sr_status status = SR_OK;
    if (all) {
        status = sr_scatter_finish(f->scatter, &sums, f->threads);
    } else {
        sums = sr_alloc_by(f->threads, dim, dim * sizeof *sums);
        status = sums ? sr_scatter_sum(f->scatter, sums, f->threads) : SR_ERROR_MEMORY;
    }
    if (status == SR_OK) {
        subtract_mean(dim, n, sums, f->y_sum, sums, f->threads);
#pragma omp parallel for num_threads(f->threads)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++) {
                size_t a = (size_t)f->pivot[i] - 1, b = (size_t)f->pivot[j] - 1;
                c[i * dim + j] = a < b ? sums[a * dim + b] : sums[b * dim + a];
            }
        if (f->narrow && all)
            status = fake_singular(f, c, &f->singular);
        if (status == SR_OK)
            both_sides(f, c, sums, m);
    }
    sr_free(sums);
    return status;
}

// All of the distance of the first n fake rows but tr sqrt(Ca Cb).
double sr_frechet_plain_terms(const sr_frechet *f, size_t n) {
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
static void project(const sr_frechet *f, size_t count, double *z) {
    size_t rank = f->rank, dim = f->dim;
#pragma omp parallel for schedule(dynamic) num_threads(f->threads)
    for (size_t i = 0; i < count; i += 128)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)sr_smaller(128, count - i),
                    (int)rank, (int)dim, 1.0, f->rows + i * dim, (int)dim, f->factor, (int)dim, 0.0,
                    z + i * rank, (int)rank);
}

// Takes in fake rows [first, last) of the shuffle.
sr_status sr_frechet_take(sr_frechet *f, size_t first, size_t last) {
    size_t rank = f->rank, dim = f->dim;
    double *z = sr_alloc(f->pivot ? 0 : f->block, rank * sizeof *z);
    if (!z)
        return SR_ERROR_MEMORY;
    for (; first < last; first += f->block) {
        size_t count = sr_smaller(f->block, last - first);
        sr_frechet_centre(f, f->fake, f->order, first, count, NULL);
        column_sums(count, dim, f->rows, f->y_sum, f->threads);
        f->y_squares += sr_squares(count * dim, f->rows);
        if (f->pivot) {
            sr_scatter_add(f->scatter, count, f->rows, f->threads);
        } else {
            project(f, count, z);
            sr_gram_add(count, rank, z, f->gram, f->threads);
            column_sums(count, rank, z, f->z_sum, f->threads);
        }
    }
    sr_free(z);
    return SR_OK;
}
