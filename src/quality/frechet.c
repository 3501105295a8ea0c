// Squared Frechet distance between the Gaussians fitted to two sets of rows (Dowson and Landau
// 1982; Heusel et al. 2017): |mu_a - mu_b|^2 + tr Ca + tr Cb - 2 tr sqrt(Ca Cb), covariances with n
// - 1.
//
// tr sqrt(Ca Cb) = sum of the roots of the eigenvalues of the symmetric matrix Ra Cb Ra, Ra =
// sqrt(Ca): it has the spectrum of Ca Cb, so no complex root appears and singular covariances
// (fewer rows than dimensions, dead features) are no special case. Eigenvalues that rounding makes
// negative count as 0.
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#define BLOCK 512 // rows centred at a time

// mean (dim) and covariance (dim, dim; both triangles) of the rows.
static sr_status moments(const sr_points *x, double *mean, double *covariance) {
    size_t n = x->n, dim = x->dim;
    double *centred = sr_alloc(BLOCK * dim, sizeof(double));
    if (!centred)
        return SR_ERROR_MEMORY;
    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++)
            mean[d] += x->row[i * dim + d];
    for (size_t d = 0; d < dim; d++)
        mean[d] /= (double)n;
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t rows = n - first < BLOCK ? n - first : BLOCK;
        for (size_t i = 0; i < rows; i++)
            for (size_t d = 0; d < dim; d++)
                centred[i * dim + d] = x->row[(first + i) * dim + d] - mean[d];
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)dim, (int)rows,
                    1.0 / (double)(n - 1), centred, (int)dim, first ? 1.0 : 0.0, covariance,
                    (int)dim);
    }
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < i; j++)
            covariance[i * dim + j] = covariance[j * dim + i];
    sr_free(centred);
    return SR_OK;
}

// Eigenvalues (ascending) of the symmetric matrix a (dim, dim), and with job 'V' its eigenvectors
// as the columns of a, which is overwritten in any case.
static sr_status eigen(char job, size_t dim, double *a, double *values) {
    int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, job, 'U', (int)dim, a, (int)dim, values);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return sr_fail(SR_ERROR_MEMORY, "eigenvalues of a %zu x %zu covariance: out of memory", dim,
                       dim);
    if (info)
        return sr_fail(SR_ERROR_LIBRARY,
                       "eigenvalues of a %zu x %zu covariance: dsyevd returned %d", dim, dim, info);
    return SR_OK;
}

static void multiply(size_t dim, CBLAS_TRANSPOSE transpose_b, const double *a, const double *b,
                     double *c) {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, transpose_b, (int)dim, (int)dim, (int)dim, 1.0, a,
                (int)dim, b, (int)dim, 0.0, c, (int)dim);
}

// tr sqrt(ca cb); ca and cb are overwritten. w (dim), s and t (dim, dim): scratch.
static sr_status trace_root(size_t dim, double *ca, double *cb, double *w, double *s, double *t,
                            double *trace) {
    sr_status status = eigen('V', dim, ca, w);
    if (status != SR_OK)
        return status;
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            s[i * dim + j] = ca[i * dim + j] * sqrt(fmax(w[j], 0));
    multiply(dim, CblasTrans, s, ca, t); // t = Ra = V sqrt(w) V'
    multiply(dim, CblasNoTrans, t, cb, s);
    multiply(dim, CblasNoTrans, s, t, ca);
    for (size_t i = 0; i < dim; i++) // symmetric but for rounding
        for (size_t j = i + 1; j < dim; j++)
            ca[i * dim + j] = 0.5 * (ca[i * dim + j] + ca[j * dim + i]);
    status = eigen('N', dim, ca, w);
    *trace = 0;
    for (size_t i = 0; i < dim && status == SR_OK; i++)
        *trace += sqrt(fmax(w[i], 0));
    return status;
}

sr_status sr_metric_frechet(const sr_points *real, const sr_points *fake, sr_metric_values *out) {
    size_t dim = real->dim, square;
    if (dim > INT_MAX || !sr_size_mul(dim, dim, &square))
        return sr_fail(SR_ERROR_UNSUPPORTED, "frechet: %zu feature dimensions are too many", dim);
    double *memory[4] = {0}, *vectors = sr_alloc(3 * dim, sizeof(double));
    sr_status status = vectors ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; i < 4 && status == SR_OK; i++) {
        memory[i] = sr_alloc(square, sizeof(double));
        status = memory[i] ? SR_OK : SR_ERROR_MEMORY;
    }
    if (status != SR_OK)
        goto done;
    double *ma = vectors, *mb = vectors + dim, *ca = memory[0], *cb = memory[1], root, sum = 0;
    if ((status = moments(real, ma, ca)) != SR_OK || (status = moments(fake, mb, cb)) != SR_OK)
        goto done;
    for (size_t d = 0; d < dim; d++)
        sum += (ma[d] - mb[d]) * (ma[d] - mb[d]) + ca[d * dim + d] + cb[d * dim + d];
    status = trace_root(dim, ca, cb, vectors + 2 * dim, memory[2], memory[3], &root);
    if (status == SR_OK)
        out->value[SR_FRECHET] = fmax(sum - 2 * root, 0);
done:
    for (size_t i = 0; i < 4; i++)
        sr_free(memory[i]);
    sr_free(vectors);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "frechet: ");
}
