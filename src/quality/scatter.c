// The sum of x x' over rows, for covariances. Of many features the products are taken in float, at
// twice the speed of double; so that their rounding does not matter, the parts of the rows along
// the few directions of largest spread (sr_frame) are taken away first and kept in double:
//
//   x = V' a + r,  sum x x' = V' (sum a a') V + V' (sum a r') + (sum r a') V + sum r r'.
//
// A Frechet distance is a small difference of large traces, whose error would be that of the
// largest eigenvalues; they are in V. At 10,000 x 2,048 it moves by 1e-8 of itself.
#include "metrics.h"

#include <cblas.h>
#include <string.h>

#define NARROW_DIM 1024 // features from which on it is float
#define ROWS 128        // of a product, for one thread
#define COLUMNS 256

struct sr_scatter {
    size_t dim;
    double *direction; // (SR_DIRECTIONS, dim); NULL: all in double
    double *sum;       // (dim, dim), from the diagonal on: of r r'
    double *along;     // (SR_DIRECTIONS, SR_DIRECTIONS): of a a'
    double *cross;     // (SR_DIRECTIONS, dim): of a r'
    double *part;      // (block, SR_DIRECTIONS): a
    float *narrow;     // (block, dim): r
};

bool sr_scatter_narrow(size_t dim) {
    return dim >= NARROW_DIM;
}

sr_status sr_scatter_create(size_t dim, size_t block, const sr_frame *frame, unsigned threads,
                            sr_scatter **out) {
    sr_scatter *s = *out = sr_alloc(1, sizeof *s);
    if (!s)
        return SR_ERROR_MEMORY;
    s->dim = dim;
    s->sum = sr_alloc_by(threads, dim, dim * sizeof(double));
    bool failed = !s->sum;
    if (frame) {
        s->direction = sr_alloc(SR_DIRECTIONS, dim * sizeof(double));
        s->along = sr_alloc(SR_DIRECTIONS, SR_DIRECTIONS * sizeof(double));
        s->cross = sr_alloc(SR_DIRECTIONS, dim * sizeof(double));
        s->part = sr_alloc(block, SR_DIRECTIONS * sizeof(double));
        s->narrow = sr_alloc_by(threads, block, dim * sizeof(float));
        failed = failed || !s->direction || !s->along || !s->cross || !s->part || !s->narrow;
        if (!failed)
            memcpy(s->direction, frame->direction, SR_DIRECTIONS * dim * sizeof(double));
    }
    if (failed) {
        sr_scatter_destroy(s);
        *out = NULL;
    }
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

void sr_scatter_restart(sr_scatter *s) {
    memset(s->sum, 0, s->dim * s->dim * sizeof(double));
    if (!s->direction)
        return;
    memset(s->along, 0, SR_DIRECTIONS * SR_DIRECTIONS * sizeof(double));
    memset(s->cross, 0, SR_DIRECTIONS * s->dim * sizeof(double));
}

void sr_scatter_destroy(sr_scatter *s) {
    if (!s)
        return;
    sr_free(s->direction);
    sr_free(s->sum);
    sr_free(s->along);
    sr_free(s->cross);
    sr_free(s->part);
    sr_free(s->narrow);
    sr_free(s);
}

// x (count, dim) becomes r, s->part a.
static void split(sr_scatter *s, size_t count, double *x, unsigned threads) {
    size_t dim = s->dim;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < count; i += ROWS) {
        int rows = (int)sr_smaller(ROWS, count - i), n = (int)dim;
        double *a = s->part + i * SR_DIRECTIONS;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, SR_DIRECTIONS, n, 1.0,
                    x + i * dim, n, s->direction, n, 0.0, a, SR_DIRECTIONS);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, n, SR_DIRECTIONS, -1.0, a,
                    SR_DIRECTIONS, s->direction, n, 1.0, x + i * dim, n);
    }
}

void sr_scatter_add(sr_scatter *s, size_t count, double *x, unsigned threads) {
    size_t dim = s->dim;
    if (!s->direction) {
        sr_gram_add(count, dim, x, s->sum, threads);
        return;
    }
    split(s, count, x, threads);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, SR_DIRECTIONS, SR_DIRECTIONS, (int)count,
                1.0, s->part, SR_DIRECTIONS, s->part, SR_DIRECTIONS, 1.0, s->along, SR_DIRECTIONS);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t c = 0; c < dim; c += COLUMNS)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, SR_DIRECTIONS,
                    (int)sr_smaller(COLUMNS, dim - c), (int)count, 1.0, s->part, SR_DIRECTIONS,
                    x + c, (int)dim, 1.0, s->cross + c, (int)dim);
    sr_narrow(count * dim, x, s->narrow, threads);
    sr_gram_add_narrow(count, dim, s->narrow, s->sum, threads);
}

// Row i of the sum, from the diagonal on. half (SR_DIRECTIONS, dim): sum a r' + (sum a a') V / 2.
static void sum_row(const sr_scatter *s, size_t i, const double *half, double *row) {
    size_t dim = s->dim;
    if (row != s->sum + i * dim)
        memcpy(row + i, s->sum + i * dim + i, (dim - i) * sizeof *row);
    for (size_t r = 0; r < SR_DIRECTIONS && half; r++) {
        const double *v = s->direction + r * dim, *h = half + r * dim;
        for (size_t j = i; j < dim; j++)
            row[j] += v[i] * h[j] + h[i] * v[j];
    }
}

sr_status sr_scatter_sum(const sr_scatter *s, double *c, unsigned threads) {
    size_t dim = s->dim;
    double *half = NULL;
    if (s->direction) {
        half = sr_alloc(SR_DIRECTIONS, dim * sizeof *half);
        if (!half)
            return SR_ERROR_MEMORY;
        memcpy(half, s->cross, SR_DIRECTIONS * dim * sizeof *half);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SR_DIRECTIONS, (int)dim,
                    SR_DIRECTIONS, 0.5, s->along, SR_DIRECTIONS, s->direction, (int)dim, 1.0, half,
                    (int)dim);
    }
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (size_t i = 0; i < dim; i++)
        sum_row(s, i, half, c + i * dim);
    sr_free(half);
    return SR_OK;
}

sr_status sr_scatter_finish(sr_scatter *s, double **c, unsigned threads) {
    sr_status status = sr_scatter_sum(s, s->sum, threads);
    *c = s->sum;
    s->sum = NULL;
    return status;
}
