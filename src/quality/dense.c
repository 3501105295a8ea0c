// Dense matrices in double: products cut into fixed blocks of rows over threads, with OpenBLAS on
// one thread in each, so that no bit depends on the number of threads.
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>

#define BLOCK 256
#define NARROW_ROWS 512 // whose products are one sum in float

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

int sr_blas_alone(void) {
    int threads = openblas_get_num_threads();
    openblas_set_num_threads(1);
    return threads;
}

void sr_blas_restore(int threads) {
    openblas_set_num_threads(threads);
}

void sr_multiply_transposed(size_t n, size_t k, size_t columns, const double *a, size_t a_pitch,
                            const double *b, size_t b_pitch, double *c, unsigned threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < n; i += BLOCK)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)smaller(BLOCK, n - i),
                    (int)columns, (int)k, 1.0, a + i * a_pitch, (int)a_pitch, b, (int)b_pitch, 0.0,
                    c + i * columns, (int)columns);
}

void sr_gram_add(size_t n, size_t dim, const double *x, double *c, unsigned threads) {
    size_t across = (dim + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < across * across; t++) {
        size_t i = t / across * BLOCK, j = t % across * BLOCK;
        if (j < i)
            continue;
        size_t rows = smaller(BLOCK, dim - i), columns = smaller(BLOCK, dim - j);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)n, 1.0,
                    x + i, (int)dim, x + j, (int)dim, 1.0, c + i * dim + j, (int)dim);
    }
}

void sr_gram_add_narrow(size_t n, size_t dim, const float *x, double *c, unsigned threads) {
    size_t across = (dim + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < across * across; t++) {
        size_t i = t / across * BLOCK, j = t % across * BLOCK;
        float part[BLOCK * BLOCK];
        size_t rows = smaller(BLOCK, dim - i), columns = smaller(BLOCK, dim - j);
        for (size_t first = 0; first < n && j >= i; first += NARROW_ROWS) {
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns,
                        (int)smaller(NARROW_ROWS, n - first), 1.0f, x + first * dim + i, (int)dim,
                        x + first * dim + j, (int)dim, 0.0f, part, BLOCK);
            for (size_t a = 0; a < rows; a++)
                for (size_t b = 0; b < columns; b++)
                    c[(i + a) * dim + j + b] += part[a * BLOCK + b];
        }
    }
}

static int solve(const sr_eigen_job *job) {
    if (job->dim == 0)
        return 0;
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, job->vectors ? 'V' : 'N', 'L', (int)job->dim, job->a,
                          (int)job->dim, job->values);
}

sr_status sr_eigen(size_t count, sr_eigen_job *const *jobs, unsigned threads) {
    int info[SR_EIGEN_JOBS];
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < count; i++)
        info[i] = solve(jobs[i]);
    for (size_t i = 0; i < count; i++) {
        size_t dim = jobs[i]->dim;
        if (info[i] == LAPACK_WORK_MEMORY_ERROR || info[i] == LAPACK_TRANSPOSE_MEMORY_ERROR)
            return sr_fail(SR_ERROR_MEMORY, "eigenvalues of a %zu x %zu matrix: out of memory", dim,
                           dim);
        if (info[i])
            return sr_fail(SR_ERROR_LIBRARY,
                           "eigenvalues of a %zu x %zu matrix: dsyevd returned %d", dim, dim,
                           info[i]);
    }
    return SR_OK;
}

void sr_square_forms(size_t n, size_t dim, const float *x, const float *vectors, size_t count,
                     const double *weight, double *out, unsigned threads, float *scratch) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t rows = smaller(BLOCK, n - i);
        float *product = scratch + i * count;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)count, (int)dim, 1.0f,
                    x + i * dim, (int)dim, vectors, (int)dim, 0.0f, product, (int)count);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t k = 0; k < count; k++)
                sum += weight[k] * product[r * count + k] * product[r * count + k];
            out[i + r] = sum;
        }
    }
}
