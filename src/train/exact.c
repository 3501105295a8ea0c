// Exact maximum likelihood in the plane: no sampler. With cells x_j of area a on a window, masses
//   p_j = exp(-E(x_j)) / sum_k exp(-E(x_k)),  log Z = log(a sum_k exp(-E(x_k))),
// the gradient of -mean log p(data) is mean_i dE(x_i)/dtheta - sum_j p_j dE(x_j)/dtheta: that of
// training by samples, with the expectation under the model by quadrature (midpoint rule) in place
// of short-run samples. The grid's rows stand behind the data's in trainer->x.
#include "train/trainer.h"

#include <math.h>

size_t sr_exact_cells(const sr_train_options *options) {
    return options->exact_grid * options->exact_grid;
}

sr_status sr_exact_check(const sr_train_options *o) {
    if (o->exact_grid == 0)
        return SR_OK;
    if (o->exact_grid < 8 || o->exact_grid > SR_EXACT_GRID_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "exact_grid is %zu, expected 0 or 8 to %d cells a side",
                       o->exact_grid, SR_EXACT_GRID_MAX);
    if (!(o->exact_window > 0) || !isfinite(o->exact_window))
        return sr_fail(SR_ERROR_ARGUMENT, "exact_window is %g, expected a finite number above 0",
                       o->exact_window);
    if (o->energy_l2 > 0 || o->curvature_cap > 0)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "exact_grid trains without samples: energy_l2 and curvature_cap, which are "
                       "taken over samples, must be 0, found %g and %g",
                       o->energy_l2, o->curvature_cap);
    return SR_OK;
}

void sr_exact_fill(const sr_train_options *o, float *x) {
    const double side = 2 * o->exact_window / (double)o->exact_grid;
    for (size_t i = 0; i < o->exact_grid; i++)
        for (size_t j = 0; j < o->exact_grid; j++) {
            *x++ = (float)(-o->exact_window + ((double)j + 0.5) * side);
            *x++ = (float)(-o->exact_window + ((double)i + 0.5) * side);
        }
}

static bool on_edge(size_t side, size_t cell) {
    const size_t row = cell / side, column = cell % side;
    return row == 0 || column == 0 || row == side - 1 || column == side - 1;
}

void sr_exact_weights(const sr_train_options *o, const float *e, float *weight,
                      sr_train_report *report) {
    const size_t cells = sr_exact_cells(o);
    const double side = 2 * o->exact_window / (double)o->exact_grid;
    double lowest = INFINITY, sum = 0, edge = 0;
    for (size_t i = 0; i < cells; i++)
        lowest = isnan(lowest) || lowest < e[i] ? lowest : e[i]; // NaN stays
    for (size_t i = 0; i < cells; i++)
        sum += exp(lowest - e[i]);
    for (size_t i = 0; i < cells; i++) {
        const double mass = exp(lowest - e[i]) / sum;
        weight[i] = (float)(-(double)o->batch * mass);
        edge += on_edge(o->exact_grid, i) ? mass : 0;
    }
    report->log_z = log(sum) + 2 * log(side) - lowest;
    report->edge = edge;
}
