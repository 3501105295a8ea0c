// Densities on a grid of the plane: exp(-E/T)/Z by quadrature, the induced density carried back
// cell by cell, and what lies between two of them.
#include <shortrun/density.h>

#include <math.h>

void sr_plane_points(const sr_plane *plane, float *x) {
    const double side = 2 * plane->window / (double)plane->size;
    for (size_t i = 0; i < plane->size; i++)
        for (size_t j = 0; j < plane->size; j++) {
            *x++ = (float)(-plane->window + ((double)j + 0.5) * side);
            *x++ = (float)(-plane->window + ((double)i + 0.5) * side);
        }
}

static sr_status check(const sr_team *team, const sr_plane *plane) {
    if (sr_energy_dim(sr_team_energy(team)) != 2)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "quadrature works in the plane; the energy has %zu dimensions",
                       sr_energy_dim(sr_team_energy(team)));
    if (!(plane->window > 0) || !isfinite(plane->window) || plane->size < 2 ||
        plane->size > SR_PLANE_SIZE_MAX)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "a grid has a window above 0 and 2 to %d cells a side, found %g and %zu",
                       SR_PLANE_SIZE_MAX, plane->window, plane->size);
    return SR_OK;
}

static bool on_edge(const sr_plane *plane, size_t cell) {
    const size_t row = cell / plane->size, column = cell % plane->size, last = plane->size - 1;
    return row == 0 || column == 0 || row == last || column == last;
}

sr_status sr_plane_gibbs(sr_team *team, const sr_plane *plane, double temperature, double *log_z,
                         double *log_density, double *edge) {
    sr_status status = check(team, plane);
    if (status)
        return status;
    if (!(temperature > 0) || !isfinite(temperature))
        return sr_fail(SR_ERROR_ARGUMENT, "the temperature must be above 0, found %g", temperature);
    const size_t cells = plane->size * plane->size;
    const double side = 2 * plane->window / (double)plane->size;
    float *x = sr_alloc(cells, 2 * sizeof *x), *e = sr_alloc(cells, sizeof *e);
    double lowest = INFINITY, sum = 0, outside = 0;
    if (!x || !e) {
        status = SR_ERROR_MEMORY;
        goto done;
    }
    sr_plane_points(plane, x);
    sr_team_evaluate(team, cells, x, e, NULL);
    for (size_t i = 0; i < cells; i++) {
        if (isnan(e[i])) {
            status = sr_fail(SR_ERROR_DIVERGED, "the energy is not a number at (%g, %g)",
                             (double)x[2 * i], (double)x[2 * i + 1]);
            goto done;
        }
        lowest = fmin(lowest, e[i]);
    }
    for (size_t i = 0; i < cells; i++) {
        const double mass = exp((lowest - e[i]) / temperature);
        sum += mass;
        outside += on_edge(plane, i) ? mass : 0;
    }
    *log_z = log(sum) + 2 * log(side) - lowest / temperature;
    if (!isfinite(*log_z)) {
        status = sr_fail(SR_ERROR_DIVERGED, "exp(-E/T) has no finite integral over the window");
        goto done;
    }
    for (size_t i = 0; log_density && i < cells; i++)
        log_density[i] = -(double)e[i] / temperature - *log_z;
    if (edge)
        *edge = outside / sum;
done:
    sr_free(x);
    sr_free(e);
    return status;
}

sr_status sr_plane_induced(sr_team *team, const sr_dynamics *dynamics, const sr_plane *plane,
                           const sr_monitor *monitor, double *log_density, double *mass,
                           double *missing) {
    sr_status status = check(team, plane);
    if (status)
        return status;
    const size_t cells = plane->size * plane->size;
    const double side = 2 * plane->window / (double)plane->size;
    float *x = sr_alloc(cells, 2 * sizeof *x);
    sr_density_options options;
    sr_density_options_default(2, &options);
    if (!x)
        return SR_ERROR_MEMORY;
    sr_plane_points(plane, x);
    status = sr_induced_backward(team, dynamics, &options, cells, x, monitor,
                                 &(sr_induced){.log_density = log_density});
    double sum = 0;
    size_t lost = 0;
    for (size_t i = 0; !status && i < cells; i++) {
        lost += isnan(log_density[i]);
        sum += isnan(log_density[i]) ? 0 : exp(log_density[i]);
    }
    if (!status) {
        *mass = sum * side * side;
        *missing = (double)lost / (double)cells;
    }
    sr_free(x);
    return status;
}

static double density_of(double log_density) {
    return isnan(log_density) ? 0 : exp(log_density);
}

void sr_plane_compare(const sr_plane *plane, const double *log_p, const double *log_q, double *kl,
                      double *total_variation) {
    const size_t cells = plane->size * plane->size;
    const double side = 2 * plane->window / (double)plane->size, area = side * side;
    double divergence = 0, variation = 0;
    for (size_t i = 0; i < cells; i++) {
        const double p = density_of(log_p[i]), q = density_of(log_q[i]);
        variation += fabs(p - q) * area;
        if (p > 0)
            divergence += q > 0 ? p * (log_p[i] - log_q[i]) * area : INFINITY;
    }
    if (kl)
        *kl = divergence;
    if (total_variation)
        *total_variation = 0.5 * variation;
}
