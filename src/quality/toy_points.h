// What the scores of 2-D points share: the check of their input.
#ifndef SHORTRUN_QUALITY_TOY_POINTS_H
#define SHORTRUN_QUALITY_TOY_POINTS_H

#include <shortrun/base.h>

// x (n, 2): at least `least` points, all finite. The error names the set, the point and its
// coordinate.
sr_status sr_toy_points_check(const char *name, size_t least, size_t n, const float *x);

#endif
