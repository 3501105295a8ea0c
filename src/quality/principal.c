// Principal components: eigenvectors of the covariance of feature rows (Pearson 1901), for
// pictures.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define ROWS 256 // added to the covariance at a time

void sr_principal_clear(sr_principal *principal) {
    sr_free(principal->mean);
    sr_free(principal->direction);
    sr_free(principal->share);
    *principal = (sr_principal){0};
}

// c (dim, dim) = sum over rows of (x - mean)(x - mean)'.
static sr_status scatter(const sr_rows *rows, double *c) {
    double *centred = sr_alloc(ROWS, rows->dim * sizeof *centred);
    if (!centred)
        return SR_ERROR_MEMORY;
    memset(c, 0, rows->dim * rows->dim * sizeof *c);
    for (size_t first = 0; first < rows->n; first += ROWS) {
        size_t count = rows->n - first < ROWS ? rows->n - first : ROWS;
        for (size_t i = 0; i < count * rows->dim; i++)
            centred[i] = (double)rows->x[first * rows->dim + i] - rows->mean[i % rows->dim];
        sr_gram_add(count, rows->dim, centred, c, 1);
    }
    sr_free(centred);
    return SR_OK;
}

// The last eigenvectors are those of the largest variance. A direction and its opposite are the
// same component: the largest entry decides which is taken.
static void take_components(const double *vectors, const double *values, sr_principal *out) {
    const size_t dim = out->dim;
    double total = 0;
    for (size_t i = 0; i < dim; i++)
        total += fmax(values[i], 0);
    for (size_t k = 0; k < out->count; k++) {
        const double *v = vectors + (dim - 1 - k) * dim;
        size_t largest = 0;
        for (size_t i = 1; i < dim; i++)
            largest = fabs(v[i]) > fabs(v[largest]) ? i : largest;
        for (size_t i = 0; i < dim; i++)
            out->direction[k * dim + i] = v[largest] < 0 ? -v[i] : v[i];
        out->share[k] = fmax(values[dim - 1 - k], 0) / total;
    }
}

sr_status sr_principal_create(size_t n, const float *x, size_t dim, size_t count,
                              sr_principal *out) {
    sr_rows rows = {0};
    *out = (sr_principal){.dim = dim, .count = count};
    if (n < 2 || count == 0 || count > dim)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "principal components: %zu of %zu rows of %zu values, expected at least 2 "
                       "rows and 1 to %zu components",
                       count, n, dim, dim);
    double *c = sr_alloc(dim, dim * sizeof *c), *values = sr_alloc(dim, sizeof *values);
    out->mean = sr_alloc(dim, sizeof *out->mean);
    out->direction = sr_alloc(count, dim * sizeof *out->direction);
    out->share = sr_alloc(count, sizeof *out->share);
    sr_status status =
        c && values && out->mean && out->direction && out->share ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_rows_create("features", n, x, dim, 1, &rows);
    if (status == SR_OK)
        status = scatter(&rows, c);
    sr_eigen_job job = {.vectors = true, .dim = dim, .a = c, .values = values};
    if (status == SR_OK)
        status = sr_eigen(1, &(sr_eigen_job *){&job}, 1);
    if (status == SR_OK && !(values[dim - 1] > 0))
        status = sr_fail(SR_ERROR_ARGUMENT, "principal components: all %zu rows are equal", n);
    if (status == SR_OK) {
        memcpy(out->mean, rows.mean, dim * sizeof *out->mean);
        take_components(c, values, out);
    }
    sr_rows_clear(&rows);
    sr_free(c);
    sr_free(values);
    if (status != SR_OK)
        sr_principal_clear(out);
    return status;
}

void sr_principal_project(const sr_principal *principal, size_t n, const float *x, double *out) {
    const size_t dim = principal->dim;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < principal->count; k++) {
            double sum = 0;
            for (size_t j = 0; j < dim; j++)
                sum += ((double)x[i * dim + j] - principal->mean[j]) *
                       principal->direction[k * dim + j];
            out[i * principal->count + k] = sum;
        }
}
