// KID (Binkowski et al. 2018): the unbiased estimate of the squared MMD with the kernel (x.y / D +
// 1)^3, all rows as one subset. Products come from dgemm, tile by tile; a tile's sum is kept, and
// the sums are added in the order of the tiles.
#include "metrics.h"

#include <cblas.h>
#include <limits.h>
#include <omp.h>

#define TILE 256 // rows by rows: the tile of products, 512 KB, stays in L2

// Sum of the kernel over rows [i, i + rows) of p and [j, j + columns) of q, without pairs of equal
// index where `skip_diagonal`. products (TILE, TILE): scratch.
static double tile_sum(const sr_points *p, size_t i, size_t rows, const sr_points *q, size_t j,
                       size_t columns, bool skip_diagonal, double *products) {
    int dim = (int)p->dim;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, dim, 1.0,
                p->row + i * p->dim, dim, q->row + j * q->dim, dim, 0.0, products, TILE);
    double sum = 0, inverse = 1.0 / (double)p->dim;
    for (size_t r = 0; r < rows; r++) {
        double row_sum = 0;
        for (size_t c = 0; c < columns; c++) {
            double k = products[r * TILE + c] * inverse + 1;
            if (!skip_diagonal || i + r != j + c)
                row_sum += k * k * k;
        }
        sum += row_sum;
    }
    return sum;
}

// Sum of the kernel over all pairs of p and q; `same`: p is q, and pairs (i, i) are left out.
static sr_status kernel_sum(const sr_points *p, const sr_points *q, bool same, unsigned threads,
                            double *out) {
    size_t down = (p->n + TILE - 1) / TILE, across = (q->n + TILE - 1) / TILE, tiles;
    if (!sr_size_mul(down, across, &tiles))
        return sr_fail(SR_ERROR_ARGUMENT, "%zu x %zu pairs are too many", p->n, q->n);
    double *sums = sr_alloc(tiles, sizeof(double));
    double *scratch = sr_alloc(threads, TILE * TILE * sizeof(double));
    if (!sums || !scratch) {
        sr_free(sums);
        sr_free(scratch);
        return SR_ERROR_MEMORY;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < tiles; t++) {
        size_t i = t / across * TILE, j = t % across * TILE;
        if (same && j < i) // the mirror image of a tile above the diagonal, which counts twice
            continue;
        size_t rows = p->n - i < TILE ? p->n - i : TILE,
               columns = q->n - j < TILE ? q->n - j : TILE;
        double sum = tile_sum(p, i, rows, q, j, columns, same && i == j,
                              scratch + (size_t)omp_get_thread_num() * TILE * TILE);
        sums[t] = same && j > i ? 2 * sum : sum;
    }
    *out = 0;
    for (size_t t = 0; t < tiles; t++)
        *out += sums[t];
    sr_free(sums);
    sr_free(scratch);
    return SR_OK;
}

sr_status sr_metric_kid(const sr_points *real, const sr_points *fake, unsigned threads,
                        sr_metric_values *out) {
    if (real->dim > INT_MAX)
        return sr_fail(SR_ERROR_UNSUPPORTED, "kid: %zu feature dimensions are too many", real->dim);
    double n = (double)real->n, m = (double)fake->n, aa, bb, ab;
    sr_status status = kernel_sum(real, real, true, threads, &aa);
    if (status == SR_OK)
        status = kernel_sum(fake, fake, true, threads, &bb);
    if (status == SR_OK)
        status = kernel_sum(real, fake, false, threads, &ab);
    if (status != SR_OK)
        return sr_fail_context(status, "kid: ");
    out->value[SR_KID] = aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m);
    return SR_OK;
}
