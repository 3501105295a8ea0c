// Sliced Wasserstein-2 distance (Rabin et al. 2011): on each of a number of directions the two sets
// are projected and sorted, and the root of the mean squared difference over directions and ranks
// is taken. The first min(n, m) rows of each set take part, so that ranks pair up. For the error
// rows of equal number are a pair, and groups of pairs are left out in turn (see resample.c).
#include "metrics.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

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

// out (rows), sorted: the first `rows` points along the direction (dim).
static void project(const sr_rows *points, size_t rows, const float *direction, place *out) {
    for (size_t i = 0; i < rows; i++)
        out[i] = (place){sr_product_exact(points->dim, points->x + i * points->dim, direction), i};
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

sr_status sr_metric_sliced(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, unsigned threads,
                           sr_metric_values *out) {
    size_t rows = real->n < fake->n ? real->n : fake->n, count = options->projection_count, values;
    size_t groups = options->no_errors || rows < 4 ? 0 : rows < SR_GROUPS ? rows : SR_GROUPS;
    if (!sr_size_mul(count, real->dim, &values))
        return sr_fail(SR_ERROR_MEMORY, "sliced_w2: %zu projections do not fit in memory", count);
    place *sorted = sr_alloc(2 * (size_t)threads, rows * sizeof *sorted);
    double *sums = sr_alloc(count, (groups + 1) * sizeof *sums);
    float *drawn = sr_alloc(options->projections ? 0 : values, sizeof *drawn);
    uint8_t *group = sr_alloc(rows, 1);
    sr_status status = sorted && sums && drawn && group ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK && groups)
        status = sr_groups_draw(options->seed, 0, rows, groups, group);
    if (status != SR_OK) {
        status = sr_fail_context(status, "sliced_w2: ");
        goto done;
    }
    if (!options->projections)
        sr_projections_draw(options->seed, count, real->dim, drawn);
    const float *directions = options->projections ? options->projections : drawn;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t p = 0; p < count; p++) {
        place *a = sorted + 2 * (size_t)omp_get_thread_num() * rows, *b = a + rows;
        project(real, rows, directions + p * real->dim, a);
        project(fake, rows, directions + p * real->dim, b);
        for (size_t r = 0; r <= groups; r++)
            sums[p * (groups + 1) + r] = rank_squares(a, b, rows, group, r);
    }
    finish(sums, count, groups + 1, group, rows, out);
done:
    sr_free(sorted);
    sr_free(sums);
    sr_free(drawn);
    sr_free(group);
    return status;
}
