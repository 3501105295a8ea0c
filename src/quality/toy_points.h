// What the scores of 2-D points share: the check of their input, histograms on the grid and their
// divergences.
#ifndef SHORTRUN_QUALITY_TOY_POINTS_H
#define SHORTRUN_QUALITY_TOY_POINTS_H

#include <shortrun/quality.h>

// x (n, 2): at least `least` points, all finite. The error names the set, the point and its
// coordinate.
sr_status sr_toy_points_check(const char *name, size_t least, size_t n, const float *x);

#define SR_TOY_CELLS (SR_TOY_GRID * SR_TOY_GRID)
#define SR_TOY_DIVERGENCES 4
#define SR_TOY_MODE_REACH 3.0 // deviations within which a sample counts for a mode

// Mass in the cells of the window, smoothed, and outside it.
typedef struct sr_toy_masses {
    double cell[SR_TOY_CELLS], outside;
} sr_toy_masses;

void sr_toy_masses_of_points(double window, size_t n, const float *x, sr_toy_masses *out);
void sr_toy_masses_of_density(sr_toy toy, unsigned threads, sr_toy_masses *out);
// Smooths the cells in place. As a matrix it is symmetric: it is its own adjoint.
void sr_toy_smooth(double window, double *mass);
double sr_toy_divergence(const sr_toy_masses *p, const sr_toy_masses *q);
// kl, kl_reverse, kl_true, kl_true_reverse.
void sr_toy_divergences(const sr_toy_masses *made, const sr_toy_masses *drawn,
                        const sr_toy_masses *truth, double out[SR_TOY_DIVERGENCES]);
// The points x (n, 2) that are not in group g, into rest; returns how many.
size_t sr_toy_leave_out(size_t n, const float *x, const uint8_t *group, size_t g, float *rest);
// A share of n independent points, with Wilson's interval (1927).
sr_estimate sr_share_estimate(size_t count, size_t n);

#endif
