// Vendi score (Friedman and Dieng 2023): the exponential of the entropy of the eigenvalues of K /
// n, K the cosines between all pairs of rows: the effective number of different rows. X' X / n has
// the same eigenvalues as X X' / n but for zeros, so the smaller of the two is taken. A row of
// zeros is left as it is, similar to nothing.
//
// The entropy is the mean over rows of a = -x' log(X' X / n) x, and a - mean is the influence of a
// row: the standard error (infinitesimal jack-knife) comes from its variance.
#include "metrics.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define BLOCK 1024

// out (count, dim): every `stride`-th row from `first` on, each of length 1.
static void unit_rows(const sr_rows *x, size_t first, size_t stride, size_t count, unsigned threads,
                      double *out) {
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < count; i++) {
        const float *row = x->x + (first + i * stride) * x->dim;
        double squares = 0;
        for (size_t d = 0; d < x->dim; d++)
            squares += (double)row[d] * row[d];
        for (size_t d = 0; d < x->dim; d++)
            out[i * x->dim + d] = squares > 0 ? row[d] / sqrt(squares) : 0;
    }
}

// c (side, side): X' X / n or X X' / n, side = the smaller of dim and n.
static sr_status similarity(const sr_rows *x, bool tall, unsigned threads, double *c) {
    size_t n = x->n, dim = x->dim, rows = tall && n > BLOCK ? BLOCK : n;
    bool narrow = tall && sr_scatter_narrow(dim);
    double *unit = sr_alloc(rows, dim * sizeof *unit);
    float *single = sr_alloc(narrow ? rows : 0, dim * sizeof *single);
    if (!unit || !single) {
        sr_free(unit);
        sr_free(single);
        return SR_ERROR_MEMORY;
    }
    for (size_t first = 0; first < n; first += rows) {
        size_t count = n - first < rows ? n - first : rows;
        unit_rows(x, first, 1, count, threads, unit);
        sr_narrow(narrow ? count * dim : 0, unit, single, threads);
        if (narrow)
            sr_gram_add_narrow(count, dim, single, c, threads);
        else if (tall)
            sr_gram_add(count, dim, unit, c, threads);
        else
            sr_multiply_transposed(n, dim, n, unit, dim, unit, dim, c, threads);
    }
    sr_free(unit);
    sr_free(single);
    size_t side = tall ? dim : n;
    for (size_t i = 0; i < side * side; i++)
        c[i] /= (double)n;
    return SR_OK;
}

// a (n) of `n` rows, each `stride`-th, from the eigenvectors (side, side; rows) and weight = -log
// of the eigenvalues.
static sr_status row_terms(const sr_rows *x, bool tall, size_t n, size_t stride, size_t side,
                           const double *vectors, const double *values, const double *weight,
                           unsigned threads, double *a) {
    size_t dim = x->dim;
    if (!tall) { // (x_i . v_k)^2 = n lambda_k U_ik^2
        for (size_t k = 0; k < side; k++)
            for (size_t i = 0; i < n; i++)
                a[i] += (double)n * weight[k] * fmax(values[k], 0) * vectors[k * side + i] *
                        vectors[k * side + i];
        return SR_OK;
    }
    double *unit = sr_alloc(BLOCK, dim * sizeof *unit);
    float *narrow = sr_alloc(side, side * sizeof *narrow);
    float *rows = sr_alloc(BLOCK, dim * sizeof *rows), *scratch = sr_alloc(BLOCK, side * 4);
    bool failed = !unit || !narrow || !rows || !scratch;
    if (!failed)
        sr_narrow(side * side, vectors, narrow, threads);
    for (size_t first = 0; first < n && !failed; first += BLOCK) {
        size_t count = n - first < BLOCK ? n - first : BLOCK;
        unit_rows(x, first * stride, stride, count, threads, unit);
        sr_narrow(count * dim, unit, rows, threads);
        sr_square_forms(count, dim, rows, narrow, side, weight, a + first, threads, scratch);
    }
    sr_free(unit);
    sr_free(narrow);
    sr_free(rows);
    sr_free(scratch);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

static double deviation(size_t n, const double *x) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    return sqrt(squares / (double)(n - 1));
}

void sr_vendi_clear(sr_vendi *v) {
    if (v->job) {
        sr_free(v->job->a);
        sr_free(v->job->values);
    }
    sr_free(v->job);
    *v = (sr_vendi){0};
}

sr_status sr_vendi_start(const sr_rows *fake, const sr_metric_options *options, unsigned threads,
                         sr_eigen_queue *queue, sr_vendi *v) {
    size_t n = fake->n, dim = fake->dim, side = n > dim ? dim : n, square;
    *v = (sr_vendi){.tall = n > dim};
    if (side > INT_MAX || !sr_size_mul(side, side, &square))
        return sr_fail(SR_ERROR_UNSUPPORTED, "vendi: %zu x %zu similarities are too many", side,
                       side);
    v->job = sr_alloc(1, sizeof *v->job);
    if (!v->job)
        return sr_fail_context(SR_ERROR_MEMORY, "vendi: ");
    *v->job = (sr_eigen_job){.vectors = !options->no_errors,
                             .dim = side,
                             .a = sr_alloc(square, sizeof(double)),
                             .values = sr_alloc(side, sizeof(double))};
    sr_status status = v->job->a && v->job->values ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = similarity(fake, v->tall, threads, v->job->a);
    if (status == SR_OK)
        queue->job[queue->count++] = v->job;
    return status == SR_OK ? SR_OK : sr_fail_context(status, "vendi: ");
}

sr_status sr_vendi_finish(const sr_vendi *v, const sr_rows *fake, const sr_metric_options *options,
                          unsigned threads, sr_metric_values *out) {
    size_t n = fake->n, side = v->job->dim, stride = 1;
    if (v->tall)
        stride = n / sr_influence_rows(n, fake->dim);
    size_t count = (n + stride - 1) / stride;
    const double *values = v->job->values;
    double *weight = sr_alloc(side, sizeof *weight), *a = sr_alloc(count, sizeof *a), entropy = 0;
    sr_status status = weight && a ? SR_OK : SR_ERROR_MEMORY;
    for (size_t k = 0; k < side && status == SR_OK; k++) {
        weight[k] = values[k] > 1e-15 ? -log(values[k]) : 0;
        entropy += values[k] * weight[k];
    }
    if (status == SR_OK) {
        out->value[SR_VENDI] = exp(entropy);
        if (!options->no_errors)
            status = row_terms(fake, v->tall, count, stride, side, v->job->a, values, weight,
                               threads, a);
        double error =
            options->no_errors ? NAN : exp(entropy) * deviation(count, a) / sqrt((double)n);
        sr_interval(out, SR_VENDI, error, INFINITY, 0, (double)n);
    }
    sr_free(weight);
    sr_free(a);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "vendi: ");
}
