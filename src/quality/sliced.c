// Sliced Wasserstein-2 distance (Rabin et al. 2011): on each of a number of directions the two sets
// are projected and sorted, and the root of the mean squared difference over directions and ranks
// is taken. The first min(n, m) rows of each set take part, so that ranks pair up.
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

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// out (rows), sorted: the first `rows` points along the direction (dim).
static void project(const sr_points *points, size_t rows, const float *direction, double *out) {
    for (size_t i = 0; i < rows; i++) {
        const double *x = points->row + i * points->dim;
        double sum = 0;
        for (size_t d = 0; d < points->dim; d++)
            sum += x[d] * (double)direction[d];
        out[i] = sum;
    }
    qsort(out, rows, sizeof *out, compare);
}

sr_status sr_metric_sliced(const sr_points *real, const sr_points *fake,
                           const sr_metric_options *options, unsigned threads,
                           sr_metric_values *out) {
    size_t rows = real->n < fake->n ? real->n : fake->n, count = options->projection_count, values;
    sr_status status = SR_OK;
    double *sorted = NULL, *sums = NULL;
    float *drawn = NULL;
    if (!sr_size_mul(count, real->dim, &values))
        return sr_fail(SR_ERROR_MEMORY, "sliced_w2: %zu projections do not fit in memory", count);
    sorted = sr_alloc(2 * (size_t)threads, rows * sizeof(double));
    sums = sr_alloc(count, sizeof(double));
    drawn = sr_alloc(options->projections ? 0 : values, sizeof(float));
    if (!sorted || !sums || !drawn) {
        status = sr_fail_context(SR_ERROR_MEMORY, "sliced_w2: ");
        goto done;
    }
    if (!options->projections)
        sr_projections_draw(options->seed, count, real->dim, drawn);
    const float *directions = options->projections ? options->projections : drawn;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t p = 0; p < count; p++) {
        double *a = sorted + 2 * (size_t)omp_get_thread_num() * rows, *b = a + rows, sum = 0;
        project(real, rows, directions + p * real->dim, a);
        project(fake, rows, directions + p * real->dim, b);
        for (size_t i = 0; i < rows; i++)
            sum += (a[i] - b[i]) * (a[i] - b[i]);
        sums[p] = sum;
    }
    double total = 0;
    for (size_t p = 0; p < count; p++)
        total += sums[p];
    out->value[SR_SLICED_W2] = sqrt(total / ((double)count * (double)rows));
done:
    sr_free(sorted);
    sr_free(sums);
    sr_free(drawn);
    return status;
}
