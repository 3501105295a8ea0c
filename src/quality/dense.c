// Dense matrices in double: products cut into fixed blocks of rows over threads, with OpenBLAS on
// one thread in each, so that no bit depends on the number of threads.
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>

#define BLOCK 256

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
        for (size_t a = 0; a < rows; a++) // the mirror image, bit for bit
            for (size_t b = j > i ? 0 : a + 1; b < columns; b++)
                c[(j + b) * dim + i + a] = c[(i + a) * dim + j + b];
    }
}

sr_status sr_eigen(char job, size_t dim, double *a, double *values) {
    if (dim == 0)
        return SR_OK;
    int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, job, 'L', (int)dim, a, (int)dim, values);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return sr_fail(SR_ERROR_MEMORY, "eigenvalues of a %zu x %zu matrix: out of memory", dim,
                       dim);
    if (info)
        return sr_fail(SR_ERROR_LIBRARY, "eigenvalues of a %zu x %zu matrix: dsyevd returned %d",
                       dim, dim, info);
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
