// What the metrics share and nobody else sees: feature rows in double, the sweep over all pairs of
// rows, and one function a metric (or a group that reads the same distances). All values are the
// same for any number of threads: work is cut into fixed blocks, and sums over blocks are taken in
// order.
#ifndef SHORTRUN_QUALITY_METRICS_H
#define SHORTRUN_QUALITY_METRICS_H

#include <shortrun/quality.h>

// Feature rows in double, once row by row and once in panels of 8 rows for the distance kernel.
typedef struct sr_points {
    size_t n, dim;
    size_t rows;   // n rounded up to a whole panel; the rows beyond n are zero
    double *row;   // (rows, dim)
    double *panel; // (rows / 8, dim, 8)
} sr_points;

#define SR_PANEL 8

// `name` ("real", "fake") is for the message when a value is not finite or memory is short.
sr_status sr_points_create(const char *name, size_t n, const float *x, size_t dim, sr_points *out);
void sr_points_clear(sr_points *points);

// Called with the distances of row `row` of p to rows first .. first + count - 1 of q. For one row
// the calls come from one thread, in ascending order of `first`, in the same pieces for any thread
// count.
typedef void (*sr_distance_visit)(void *user, unsigned thread, size_t row, size_t first,
                                  size_t count, const double *distance);

// Visits the Euclidean distances of all rows of p to all rows of q, each computed as the root of
// the sum of squared differences in double, in the order of the columns: d(x, y) and d(y, x) have
// the same bits.
void sr_distance_sweep(const sr_points *p, const sr_points *q, unsigned threads,
                       sr_distance_visit visit, void *user);

// The median of all n x m distances between rows of p and of q, exactly (the mean of the two middle
// values when their number is even, as NumPy's), in memory that does not grow with n x m.
sr_status sr_median_distance(const sr_points *p, const sr_points *q, unsigned threads,
                             double *median);

// Each fills its own entries of `out`.
sr_status sr_metric_frechet(const sr_points *real, const sr_points *fake, sr_metric_values *out);
sr_status sr_metric_kid(const sr_points *real, const sr_points *fake, unsigned threads,
                        sr_metric_values *out);
sr_status sr_metric_sliced(const sr_points *real, const sr_points *fake,
                           const sr_metric_options *options, unsigned threads,
                           sr_metric_values *out);
// Precision, recall, density, coverage, mmd2_rbf (out->bandwidth is set), energy distance, 1-NN
// accuracy: all that is read off the pairwise distances, in two or three sweeps.
sr_status sr_metric_pairwise(const sr_points *real, const sr_points *fake,
                             const sr_metric_options *options, unsigned threads,
                             sr_metric_values *out);

// Unit rows (count, dim): normalised Gaussians, row p is chain p of the stream (seed,
// SR_PURPOSE_PROJECTION).
void sr_projections_draw(uint64_t seed, size_t count, size_t dim, float *out);

// OpenBLAS runs on the calling thread alone between these two, so that no result depends on its
// threads.
int sr_blas_alone(void);
void sr_blas_restore(int threads);

#endif
