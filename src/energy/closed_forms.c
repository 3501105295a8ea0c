// Energies known in closed form: mixture of isotropic Gaussians, rings, quadratic. In double
// inside; sums of exponentials are taken relative to their largest term, so that far from every
// mode the energy and its gradient stay finite.
#include "energy/energy_internal.h"

#include <math.h>
#include <string.h>

static sr_status check_deviation(double deviation) {
    // the bounds keep deviation^2 and its inverse far from the ends of double
    if (!(deviation >= 1e-100 && deviation <= 1e100))
        return sr_fail(SR_ERROR_ARGUMENT, "deviation must be positive (1e-100 to 1e100), found %g",
                       deviation);
    return SR_OK;
}

// Turns logits a_i into shares exp(a_i) / sum exp(a) in place; returns log sum exp(a).
static double softmax(size_t count, double *a) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        most = a[i] > most ? a[i] : most;
    for (size_t i = 0; i < count; i++)
        sum += a[i] = exp(a[i] - most);
    for (size_t i = 0; i < count; i++)
        a[i] /= sum;
    return most + log(sum);
}

// ---- mixtures over `count` components, rings and Gaussians alike --------------------------------

typedef struct mixture {
    size_t dim, count;
    double precision;   // 1 / deviation^2
    double *log_weight; // (count): log of weight and normalising constant
    double *centres;    // (count, dim); rings: radii (count)
} mixture;

static void mixture_destroy(void *self) {
    mixture *m = self;
    if (!m)
        return;
    sr_free(m->log_weight);
    sr_free(m->centres);
    sr_free(m);
}

static mixture *mixture_create(size_t dim, size_t count, const double *centres,
                               size_t centre_values, double deviation) {
    mixture *m = sr_alloc(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (mixture){.dim = dim, .count = count, .precision = 1 / (deviation * deviation)};
    m->log_weight = sr_alloc(count, sizeof(double));
    m->centres = sr_alloc(centre_values, sizeof(double));
    if (!m->log_weight || !m->centres) {
        mixture_destroy(m);
        return NULL;
    }
    memcpy(m->centres, centres, centre_values * sizeof(double));
    return m;
}

// One thread's scratch: a logit, then a share, for every component; and as much for Hessians.
static sr_status mixture_workspace(const void *self, void **workspace) {
    const mixture *m = self;
    *workspace = sr_alloc(m->count, 2 * sizeof(double));
    return *workspace ? SR_OK : SR_ERROR_MEMORY;
}

// E = -log sum_i w_i N(x; c_i, deviation^2 I),
// grad E = sum_i r_i (x - c_i) / deviation^2, r_i the share of component i at x.
static void gaussian_evaluate(const void *self, void *workspace, size_t n, const float *x, float *e,
                              float *dx) {
    const mixture *m = self;
    double *share = workspace;
    for (size_t s = 0; s < n; s++, x += m->dim) {
        for (size_t i = 0; i < m->count; i++) {
            double square = 0;
            for (size_t j = 0; j < m->dim; j++) {
                double d = x[j] - m->centres[i * m->dim + j];
                square += d * d;
            }
            share[i] = m->log_weight[i] - 0.5 * m->precision * square;
        }
        double log_density = softmax(m->count, share);
        if (e)
            e[s] = (float)-log_density;
        for (size_t j = 0; dx && j < m->dim; j++) {
            double gradient = 0;
            for (size_t i = 0; i < m->count; i++)
                gradient += share[i] * (x[j] - m->centres[i * m->dim + j]);
            dx[s * m->dim + j] = (float)(m->precision * gradient);
        }
    }
}

// H = p I - p^2 sum_i r_i (d_i - m) (d_i - m)^T, p = 1 / deviation^2, d_i = x - c_i, m = sum_i r_i
// d_i.
static void gaussian_hessian(const void *self, void *workspace, size_t n, const float *x,
                             const float *v, float *e, float *dx, float *hv) {
    const mixture *m = self;
    const double p = m->precision;
    double *share = workspace, *along = share + m->count; // along: d_i . v
    for (size_t s = 0; s < n; s++, x += m->dim, v += m->dim, hv += m->dim) {
        // leaves the shares of x in the workspace
        gaussian_evaluate(self, workspace, 1, x, e ? e + s : NULL, dx ? dx + s * m->dim : NULL);
        double mean = 0;
        for (size_t i = 0; i < m->count; i++) {
            along[i] = 0;
            for (size_t j = 0; j < m->dim; j++)
                along[i] += (x[j] - m->centres[i * m->dim + j]) * v[j];
            mean += share[i] * along[i];
        }
        for (size_t j = 0; j < m->dim; j++) {
            double sum = 0; // that of r_i (along_i - mean) is zero: d_i may stand for d_i - m
            for (size_t i = 0; i < m->count; i++)
                sum += share[i] * (along[i] - mean) * (x[j] - m->centres[i * m->dim + j]);
            hv[j] = (float)(p * v[j] - p * p * sum);
        }
    }
}

static sr_status check_weights(size_t count, const double *weights, double *sum) {
    *sum = 0;
    for (size_t i = 0; i < count; i++) {
        double weight = weights ? weights[i] : 1.0;
        if (!(weight >= 0) || !isfinite(weight))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "mixture weights must be finite and not negative, found %g at %zu",
                           weight, i);
        *sum += weight;
    }
    if (!(*sum > 0) || !isfinite(*sum))
        return sr_fail(SR_ERROR_ARGUMENT, "mixture weights must have a positive sum, found %g",
                       *sum);
    return SR_OK;
}

sr_status sr_energy_gaussian_mixture(size_t dim, size_t count, const double *centres,
                                     double deviation, const double *weights, sr_energy **out) {
    static const sr_energy_ops ops = {
        .evaluate = gaussian_evaluate,
        .hessian_vector = gaussian_hessian,
        .workspace_create = mixture_workspace,
        .workspace_destroy = sr_free,
        .destroy = mixture_destroy,
    };
    *out = NULL;
    size_t values;
    double sum;
    if (dim == 0 || count == 0 || !sr_size_mul(dim, count, &values))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "a mixture needs at least 1 component and 1 dimension, found %zu and %zu",
                       count, dim);
    sr_status status = check_deviation(deviation);
    if (!status)
        status = check_weights(count, weights, &sum);
    for (size_t i = 0; !status && i < values; i++)
        if (!isfinite(centres[i]))
            status = sr_fail(SR_ERROR_ARGUMENT, "mixture centre %zu is not finite", i / dim);
    if (status)
        return status;
    mixture *m = mixture_create(dim, count, centres, values, deviation);
    if (!m)
        return SR_ERROR_MEMORY;
    double log_norm = 0.5 * (double)dim * log(2 * M_PI * deviation * deviation);
    for (size_t i = 0; i < count; i++)
        m->log_weight[i] = log((weights ? weights[i] : 1.0) / sum) - log_norm;
    return sr_energy_create(&ops, m, dim, 0, SR_ENERGY_FUNCTION_TILE, out);
}

// E = -log sum_r exp(-(|x| - R_r)^2 / (2 deviation^2)),
// grad E = sum_r share_r (|x| - R_r) / deviation^2 x / |x|.
static void rings_evaluate(const void *self, void *workspace, size_t n, const float *x, float *e,
                           float *dx) {
    const mixture *m = self;
    double *share = workspace;
    for (size_t s = 0; s < n; s++) {
        double a = x[2 * s], b = x[2 * s + 1], radius = hypot(a, b), slope = 0;
        for (size_t r = 0; r < m->count; r++) {
            double d = radius - m->centres[r];
            share[r] = -0.5 * m->precision * d * d;
        }
        double log_density = softmax(m->count, share);
        if (e)
            e[s] = (float)-log_density;
        if (!dx)
            continue;
        for (size_t r = 0; r < m->count; r++)
            slope += share[r] * m->precision * (radius - m->centres[r]);
        dx[2 * s] = radius == 0 ? 0.0f : (float)(slope * a / radius);
        dx[2 * s + 1] = radius == 0 ? 0.0f : (float)(slope * b / radius);
    }
}

// E depends on the radius alone: H = E'' u u^T + E' / |x| (I - u u^T), u = x / |x|; at the origin,
// where the gradient is taken as 0, so is H.
static void rings_hessian(const void *self, void *workspace, size_t n, const float *x,
                          const float *v, float *e, float *dx, float *hv) {
    const mixture *m = self;
    const double p = m->precision;
    double *share = workspace;
    for (size_t s = 0; s < n; s++, x += 2, v += 2, hv += 2) {
        rings_evaluate(self, workspace, 1, x, e ? e + s : NULL, dx ? dx + 2 * s : NULL);
        const double a = x[0], b = x[1], radius = hypot(a, b);
        double slope = 0, curvature = p;
        for (size_t r = 0; r < m->count; r++)
            slope += share[r] * p * (radius - m->centres[r]);
        for (size_t r = 0; r < m->count; r++) {
            const double d = p * (radius - m->centres[r]) - slope;
            curvature -= share[r] * d * d;
        }
        if (radius == 0) {
            hv[0] = hv[1] = 0;
            continue;
        }
        const double along = (a * v[0] + b * v[1]) / radius, around = slope / radius;
        hv[0] = (float)(around * v[0] + (curvature - around) * along * a / radius);
        hv[1] = (float)(around * v[1] + (curvature - around) * along * b / radius);
    }
}

sr_status sr_energy_rings(size_t count, const double *radii, double deviation, sr_energy **out) {
    static const sr_energy_ops ops = {
        .evaluate = rings_evaluate,
        .hessian_vector = rings_hessian,
        .workspace_create = mixture_workspace,
        .workspace_destroy = sr_free,
        .destroy = mixture_destroy,
    };
    *out = NULL;
    if (count == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "rings need at least 1 radius, found 0");
    sr_status status = check_deviation(deviation);
    for (size_t i = 0; !status && i < count; i++)
        if (!(radii[i] >= 0) || !isfinite(radii[i]))
            status =
                sr_fail(SR_ERROR_ARGUMENT,
                        "ring radii must be finite and not negative, found %g at %zu", radii[i], i);
    if (status)
        return status;
    mixture *m = mixture_create(2, count, radii, count, deviation);
    if (!m)
        return SR_ERROR_MEMORY;
    return sr_energy_create(&ops, m, 2, 0, SR_ENERGY_FUNCTION_TILE, out);
}

// ---- quadratic ----------------------------------------------------------------------------------

typedef struct quadratic {
    size_t dim;
    double precision;
} quadratic;

static void quadratic_evaluate(const void *self, void *workspace, size_t n, const float *x,
                               float *e, float *dx) {
    const quadratic *q = self;
    for (size_t s = 0; s < n; s++, x += q->dim) {
        double square = 0;
        for (size_t j = 0; j < q->dim; j++) {
            square += (double)x[j] * x[j];
            if (dx)
                dx[s * q->dim + j] = (float)(q->precision * x[j]);
        }
        if (e)
            e[s] = (float)(0.5 * q->precision * square);
    }
}

static void quadratic_hessian(const void *self, void *workspace, size_t n, const float *x,
                              const float *v, float *e, float *dx, float *hv) {
    const quadratic *q = self;
    quadratic_evaluate(self, workspace, n, x, e, dx);
    for (size_t i = 0; i < n * q->dim; i++)
        hv[i] = (float)(q->precision * v[i]);
}

sr_status sr_energy_quadratic(size_t dim, double deviation, sr_energy **out) {
    static const sr_energy_ops ops = {
        .evaluate = quadratic_evaluate, .hessian_vector = quadratic_hessian, .destroy = sr_free};
    *out = NULL;
    sr_status status = check_deviation(deviation);
    if (status)
        return status;
    quadratic *q = sr_alloc(1, sizeof *q);
    if (!q)
        return SR_ERROR_MEMORY;
    *q = (quadratic){.dim = dim, .precision = 1 / (deviation * deviation)};
    return sr_energy_create(&ops, q, dim, 0, SR_ENERGY_FUNCTION_TILE, out);
}
