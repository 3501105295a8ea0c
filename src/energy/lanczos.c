#include "energy/lanczos.h"

#include <lapacke.h>
#include <math.h>

// A remainder so much smaller than the product is rounding: the Krylov space is exhausted.
#define EXHAUSTED 1e-5

double sr_dot(size_t dim, const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static void divide(size_t dim, float *v, double length) {
    for (size_t i = 0; i < dim; i++)
        v[i] = (float)(v[i] / length);
}

void sr_lanczos_start(const sr_kernels *kernels, sr_stream stream, size_t row, size_t dim,
                      float *v) {
    kernels->normal(stream, row, 0, dim, v);
    divide(dim, v, sqrt(sr_dot(dim, v, v)));
}

// Takes the parts along the first `count` vectors out of w, twice: once leaves what rounding hid.
static void orthogonalise(size_t dim, const float *basis, size_t stride, size_t count, float *w) {
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < count; k++) {
            const float *q = basis + k * stride;
            const double along = sr_dot(dim, q, w);
            for (size_t i = 0; i < dim; i++)
                w[i] = (float)(w[i] - along * q[i]);
        }
}

bool sr_lanczos_extend(size_t dim, const float *basis, size_t stride, size_t k, size_t most,
                       float *w, double *diagonal, double *beside) {
    diagonal[k] = sr_dot(dim, basis + k * stride, w);
    if (k + 1 == most)
        return false;
    const double product = sqrt(sr_dot(dim, w, w));
    orthogonalise(dim, basis, stride, k + 1, w);
    const double rest = sqrt(sr_dot(dim, w, w));
    beside[k] = rest;
    if (!isfinite(product) || !(rest > EXHAUSTED * product)) // also for NaN
        return false;
    divide(dim, w, rest);
    return true;
}

void sr_lanczos_range(size_t n, double *diagonal, double *beside, double *low, double *high) {
    bool finite = true;
    for (size_t i = 0; i < n; i++)
        finite = finite && isfinite(diagonal[i]) && (i + 1 == n || isfinite(beside[i]));
    finite = finite && LAPACKE_dsterf((lapack_int)n, diagonal, beside) == 0;
    *low = finite ? diagonal[0] : (double)NAN; // in ascending order
    *high = finite ? diagonal[n - 1] : (double)NAN;
}
