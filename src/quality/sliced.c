// Sliced Wasserstein-2 distance (Rabin et al. 2011): on each of a number of directions the two sets
// are projected and sorted, and the root of the mean squared difference over directions and ranks
// is taken. The first min(n, m) rows of each set take part, so that ranks pair up. For the error
// rows of equal number are a pair, and groups of pairs are left out in turn (see resample.c).
#include "metrics.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#define SOME 128  // directions at a time
#define BLOCK 256 // rows whose products with them are one dgemm

void sr_projections_draw(uint64_t seed, size_t count, size_t dim, float *out) {
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_PROJECTION, 0);
    const sr_kernels *kernels = sr_kernels_get();
    for (size_t p = 0; p < count; p++) {
        float *row = out + p * dim;
        double squares = 0;
        // A row of zeros has no direction; for dim = 1 and 24-bit uniforms it is possible, if
        // barely.
        for (uint32_t step = 0; squares < 1e-20; step++) {
            kernels->normal(stream, p, step, dim, row);
            squares = kernels->sum_squares(dim, row);
        }
        double scale = 1 / sqrt(squares);
        for (size_t d = 0; d < dim; d++)
            row[d] = (float)(row[d] * scale);
    }
}

// Where a row lies along a direction.
typedef struct place {
    double at;
    size_t row;
} place;

static int compare_places(const void *a, const void *b) {
    const place *x = a, *y = b;
    return x->at == y->at ? (x->row > y->row) - (x->row < y->row)
                          : (x->at > y->at) - (x->at < y->at);
}

// at (directions, rows): where the first `rows` points lie along each direction (dim).
static void project(const sr_rows *points, size_t rows, size_t count, const double *directions,
                    double *at, unsigned threads, double *scratch) {
    size_t dim = points->dim;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t first = 0; first < rows; first += BLOCK) {
        size_t block = rows - first < BLOCK ? rows - first : BLOCK;
        double *wide = scratch + (size_t)omp_get_thread_num() * BLOCK * dim;
        for (size_t i = 0; i < block * dim; i++)
            wide[i] = points->x[first * dim + i];
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)block, (int)dim, 1.0,
                    directions, (int)dim, wide, (int)dim, 0.0, at + first, (int)rows);
    }
}

static void sort(size_t rows, const double *at, place *out) {
    for (size_t i = 0; i < rows; i++)
        out[i] = (place){at[i], i};
    qsort(out, rows, sizeof *out, compare_places);
}

// Sum of squared differences between ranks, of the pairs (row i of both sets) that replicate r
// keeps.
static double rank_squares(const place *a, const place *b, size_t rows, const uint8_t *group,
                           size_t r) {
    double sum = 0;
    for (size_t i = 0, j = 0;; i++, j++) {
        while (r && i < rows && group[a[i].row] == r - 1)
            i++;
        while (r && j < rows && group[b[j].row] == r - 1)
            j++;
        if (i >= rows || j >= rows)
            return sum;
        sum += (a[i].at - b[j].at) * (a[i].at - b[j].at);
    }
}

static size_t kept_rows(const uint8_t *group, size_t rows, size_t r) {
    size_t count = 0;
    for (size_t i = 0; i < rows; i++)
        count += r == 0 || group[i] != r - 1;
    return count;
}

// sums (count, replicates), then the score of each replicate.
static void finish(const double *sums, size_t count, size_t replicates, const uint8_t *group,
                   size_t rows, sr_metric_values *out) {
    double score[SR_REPLICATES];
    for (size_t r = 0; r < replicates; r++) {
        double total = 0;
        for (size_t p = 0; p < count; p++)
            total += sums[p * replicates + r];
        score[r] = sqrt(total / ((double)count * (double)kept_rows(group, rows, r)));
    }
    out->value[SR_SLICED_W2] = score[0];
    double error = replicates > 1 ? sr_jackknife(replicates - 1, score + 1) : NAN;
    sr_interval(out, SR_SLICED_W2, error, (double)replicates - 2, 0, INFINITY);
}

// sums (count, replicates) of the directions [first, first + count), SOME of them at most.
static sr_status some_directions(const sr_rows *real, const sr_rows *fake, size_t rows,
                                 size_t count, const float *directions, size_t groups,
                                 const uint8_t *group, unsigned threads, double *sums) {
    size_t dim = real->dim;
    place *sorted = sr_alloc(2 * (size_t)threads, rows * sizeof *sorted);
    double *wide = sr_alloc(count, dim * sizeof *wide),
           *at = sr_alloc(2 * count, rows * sizeof *at);
    double *scratch = sr_alloc(threads, BLOCK * dim * sizeof *scratch);
    bool failed = !sorted || !wide || !at || !scratch;
    if (!failed) {
        for (size_t i = 0; i < count * dim; i++)
            wide[i] = directions[i];
        project(real, rows, count, wide, at, threads, scratch);
        project(fake, rows, count, wide, at + count * rows, threads, scratch);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (size_t p = 0; p < count; p++) {
            place *a = sorted + 2 * (size_t)omp_get_thread_num() * rows, *b = a + rows;
            sort(rows, at + p * rows, a);
            sort(rows, at + (count + p) * rows, b);
            for (size_t r = 0; r <= groups; r++)
                sums[p * (groups + 1) + r] = rank_squares(a, b, rows, group, r);
        }
    }
    sr_free(sorted);
    sr_free(wide);
    sr_free(at);
    sr_free(scratch);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

sr_status sr_metric_sliced(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, unsigned threads,
                           sr_metric_values *out) {
    size_t rows = real->n < fake->n ? real->n : fake->n, count = options->projection_count, values;
    size_t groups = options->no_errors || rows < 4 ? 0 : rows < SR_GROUPS ? rows : SR_GROUPS;
    if (!sr_size_mul(count, real->dim, &values))
        return sr_fail(SR_ERROR_MEMORY, "sliced_w2: %zu projections do not fit in memory", count);
    double *sums = sr_alloc(count, (groups + 1) * sizeof *sums);
    float *drawn = sr_alloc(options->projections ? 0 : values, sizeof *drawn);
    uint8_t *group = sr_alloc(rows, 1);
    sr_status status = sums && drawn && group ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK && groups)
        status = sr_groups_draw(options->seed, 0, rows, groups, group);
    if (status == SR_OK && !options->projections)
        sr_projections_draw(options->seed, count, real->dim, drawn);
    const float *directions = options->projections ? options->projections : drawn;
    for (size_t first = 0; first < count && status == SR_OK; first += SOME)
        status = some_directions(real, fake, rows, count - first < SOME ? count - first : SOME,
                                 directions + first * real->dim, groups, group, threads,
                                 sums + first * (groups + 1));
    if (status == SR_OK)
        finish(sums, count, groups + 1, group, rows, out);
    sr_free(sums);
    sr_free(drawn);
    sr_free(group);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "sliced_w2: ");
}
