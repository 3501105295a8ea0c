// What the eigenvectors of a Frechet distance are for: how each row moves it, and the expansion of
// tr sqrt. See frechet.c for the formulas.
#include "frechet.h"

#include <cblas.h>
#include <string.h>

// ---- influences ---------------------------------------------------------------------------------

// out (count): the part of the influence of the rows' mean and trace; sign +1: fake, -1: real.
static void plain_influence(const sr_frechet *f, const sr_rows *x, const size_t *order,
                            size_t count, double sign, double *out) {
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
static void unwhiten(const sr_frechet *f, float *narrowed) {
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
static sr_status pull_back(const sr_frechet *f, float *vectors) {
    size_t rank = f->rank, dim = f->dim, blocks = (rank + SR_FRECHET_BLOCK - 1) / SR_FRECHET_BLOCK,
           across = (dim + SR_FRECHET_BLOCK - 1) / SR_FRECHET_BLOCK;
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
            size_t row = i * SR_FRECHET_BLOCK, column = j * SR_FRECHET_BLOCK,
                   rows = sr_smaller(SR_FRECHET_BLOCK, rank - row),
                   columns = sr_smaller(SR_FRECHET_BLOCK, dim - column);
            size_t depth = f->pivot ? sr_smaller(column + columns, rank) : rank; // below, F is 0
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
static sr_status forms(const sr_frechet *f, const sr_rows *of, const size_t *order, size_t count,
                       size_t width, const float *vectors, const double *weight, float *products,
                       double *form) {
    size_t rank = f->rank, dim = f->dim, block = sr_smaller(count, f->block);
    float *x = sr_alloc(block, width * sizeof *x);
    float *scratch = sr_alloc(products ? 0 : block, rank * sizeof *x);
    bool failed = !x || !scratch;
    for (size_t first = 0; first < count && !failed && rank; first += block) {
        size_t now = sr_smaller(block, count - first);
        sr_frechet_centre(f, of, order, first, now, f->pivot);
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
static sr_status real_influence(const sr_frechet *f, double *out, double *form) {
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
static sr_status fake_influence(const sr_frechet *f, float *rotated, double *out, double *form) {
    size_t count = f->influences[1], rank = f->rank;
    double *inverse = sr_alloc(rank, sizeof *inverse);
    float *vectors = sr_alloc(rank, f->dim * sizeof *vectors);
    sr_status status = inverse && vectors ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        plain_influence(f, f->fake, f->order, count, 1, out);
        for (size_t k = 0; k < rank; k++)
            inverse[k] = f->s[k] > SR_FRECHET_NEGLIGIBLE * f->s[rank - 1] ? 1 / f->s[k] : 0;
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
static void expansion_row(const sr_frechet *f, size_t n, size_t i, const double *gram,
                          const double *sum, double terms[2]) {
    const double *s = f->s;
    double least = SR_FRECHET_NEGLIGIBLE * s[f->rank - 1], mean = sum[i] / (double)n;
    terms[0] = terms[1] = 0;
    for (size_t j = i; j < f->rank && s[i] > least; j++) {
        double apart = (gram[j] - mean * sum[j]) / (double)(n - 1) - (j == i ? s[i] * s[i] : 0);
        if (j == i)
            terms[0] = apart / (2 * s[i]);
        terms[1] -= apart * apart / ((j == i ? 4 : 2) * s[i] * s[j] * (s[i] + s[j]));
    }
}

// The sums over all rows of both, in order.
static void expansion(const sr_frechet *f, size_t n, const double *gram, const double *sum,
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

// l->root of the sizes that were not solved. rotated (m, rank): z in the eigenvectors.
static sr_status expand(sr_frechet *f, const float *rotated) {
    sr_ladder *l = &f->ladder;
    size_t rank = f->rank, done = 0, last = l->count - 1, middle = l->count / 2;
    double *gram = sr_alloc(rank, rank * sizeof *gram), *sum = sr_alloc(rank, sizeof *sum);
    double *terms = sr_alloc(rank, 2 * sizeof *terms), first[SR_SIZES_MAX], second[SR_SIZES_MAX];
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
        if (!sr_ladder_solved(l, k))
            l->root[k] =
                l->root[last] + first[k] + (factor[0] + t * (factor[1] - factor[0])) * second[k];
    }
    return SR_OK;
}

sr_status sr_frechet_use_vectors(sr_frechet *f, double *real, double *fake) {
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
