// The Lanczos iteration with full reorthogonalisation (Golub and Van Loan, Matrix Computations,
// 10.1) on one state's Hessian, product by product: who walks over the states makes the products.
// Private to the modules that look at eigenvalues.
#ifndef SHORTRUN_ENERGY_LANCZOS_H
#define SHORTRUN_ENERGY_LANCZOS_H

#include "shortrun/energy.h"

// sum_i a[i] b[i] over (dim) values, in double and in order.
double sr_dot(size_t dim, const float *a, const float *b);

// v (dim): the random unit vector to start from, of state `row` of the stream.
void sr_lanczos_start(const sr_kernels *kernels, sr_stream stream, size_t row, size_t dim,
                      float *v);

// Takes the product w = H q_k, q_k at basis + k stride, into the tridiagonal matrix: diagonal[k],
// and beside[k] unless k + 1 == most. Makes w (dim) the next vector, orthogonal to those before and
// of unit length. False where there is none: k + 1 == most, or the vectors span an invariant space
// already, or w is not finite; w means nothing then.
bool sr_lanczos_extend(size_t dim, const float *basis, size_t stride, size_t k, size_t most,
                       float *w, double *diagonal, double *beside);

// Smallest and largest eigenvalue of the tridiagonal matrix of n rows, which is destroyed; NaN
// where it is not finite.
void sr_lanczos_range(size_t n, double *diagonal, double *beside, double *low, double *high);

#endif
