// Initial states of chains that start from a known density.
#include <shortrun/dynamics.h>

void sr_start_fill(sr_start start, uint64_t seed, uint64_t epoch, uint64_t first, size_t n,
                   size_t dim, float *x) {
    const sr_kernels *kernels = sr_kernels_get();
    const sr_stream stream = sr_stream_make(seed, SR_PURPOSE_START, epoch);
    for (size_t i = 0; i < n; i++, x += dim) {
        if (start == SR_START_GAUSSIAN)
            kernels->normal(stream, first + i, 0, dim, x);
        if (start != SR_START_UNIFORM)
            continue;
        kernels->uniform(stream, first + i, 0, dim, x);
        for (size_t j = 0; j < dim; j++)
            x[j] = 2.0f * x[j] - 1.0f;
    }
}
