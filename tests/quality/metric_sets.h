// Three sets of features made from seeds, for the comparison with other packages: what
// print_metrics writes to files for them, and what test_packages_values judges by stored values.
#ifndef METRIC_SETS_H
#define METRIC_SETS_H

#include <shortrun/quality.h>

#include <stdlib.h>

typedef struct metric_set {
    size_t n, dim;
    bool rectified; // as the features of networks are
} metric_set;

#define METRIC_SETS 3
// The last has fewer rows than features.
static const metric_set metric_sets[METRIC_SETS] = {
    {300, 16, false}, {400, 64, true}, {200, 256, true}};

// Rows (n, dim) of set `number`, real or fake: mixtures of 8 directions and noise; NULL when memory
// is short. Release with sr_free.
static inline float *metric_set_rows(size_t number, bool fake) {
    enum { MIXED = 8 };
    const metric_set *set = &metric_sets[number];
    const sr_kernels *kernels = sr_kernels_get();
    sr_stream stream = sr_stream_make(number, SR_PURPOSE_TEST, fake);
    sr_stream shared = sr_stream_make(number, SR_PURPOSE_TEST, 2);
    float *x = sr_alloc(set->n * set->dim, sizeof *x), z[MIXED];
    float *direction = sr_alloc(set->dim, sizeof *direction);
    for (size_t i = 0; i < set->n && x && direction; i++) {
        float *row = x + i * set->dim;
        kernels->normal(stream, i, 0, set->dim, row);
        kernels->normal(stream, i, 1, MIXED, z);
        for (size_t m = 0; m < MIXED; m++) {
            kernels->normal(shared, m, 0, set->dim, direction);
            for (size_t d = 0; d < set->dim; d++)
                row[d] += 0.5f * z[m] * direction[d];
        }
        for (size_t d = 0; d < set->dim; d++) {
            row[d] += fake ? 0.1f : 0;
            row[d] = set->rectified && row[d] < 0 ? 0 : row[d];
        }
    }
    sr_free(direction);
    return x;
}

#endif
