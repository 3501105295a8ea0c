// density: what density the short-run dynamics induce, and the Gibbs density exp(-E/T)/Z beside it.
// Induced density: exact or estimated, of samples and, by inversion of the generator, of any point.
// Gibbs: quadrature in the plane, annealed importance sampling elsewhere. Log densities are in
// nats.
#ifndef SHORTRUN_DENSITY_H
#define SHORTRUN_DENSITY_H

#include <shortrun/dynamics.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- curvature ----------------------------------------------------------------------------------

// Hessians h (n, dim, dim) of E at x (n, dim), symmetrised, from dim products each.
SR_API sr_status sr_hessian(sr_team *team, size_t n, const float *x, double *h);
// Smallest and largest eigenvalue of the Hessian at each state, smallest (n), largest (n), by
// Lanczos with full reorthogonalisation (exact up to rounding where iterations >= dim): the Ritz
// values lie inside the true range. x (n, dim); starts hang on seed and the row's number.
SR_API sr_status sr_hessian_range(sr_team *team, size_t n, const float *x, size_t iterations,
                                  uint64_t seed, double *smallest, double *largest);

// ---- the induced density ------------------------------------------------------------------------

// How log|det(I - s H)| is had.
typedef enum sr_log_det {
    SR_LOG_DET_EXACT,  // the whole Hessian and LU: dim products a step, dim <= SR_EXACT_DIM_MAX
    SR_LOG_DET_SERIES, // -sum_j s^j tr(H^j) / j, randomly truncated so that it stays unbiased (Chen
                       // et al. 2019, residual flows), traces by probes (Hutchinson)
    SR_LOG_DET_TRACE   // continuous time: d log p / dt = tr H along the flow; probes. Of the Euler
                       // steps it is the first term of the series only: biased at finite s
} sr_log_det;
#define SR_EXACT_DIM_MAX 1024
SR_API const char *sr_log_det_name(sr_log_det method); // "exact", "series", "trace"
SR_API sr_status sr_log_det_parse(const char *name, sr_log_det *out);

typedef enum sr_probe { SR_PROBE_RADEMACHER, SR_PROBE_GAUSSIAN } sr_probe;
SR_API const char *sr_probe_name(sr_probe probe);
SR_API sr_status sr_probe_parse(const char *name, sr_probe *out);

typedef struct sr_density_options {
    sr_log_det method;
    sr_probe probe;
    size_t probes;   // independent estimates a state, whose spread gives the error; >= 2
    size_t terms;    // of the series that are always taken, >= 1
    double roulette; // chance that each further term is taken, (0, 1); its weight makes up for it
    uint64_t seed;   // of the probes and the truncation
    // inversion
    size_t
        iterations; // at most, a step of the fixed point; Newton-Krylov takes over where it stalls
    double tolerance; // |x - s grad E(x) - y| <= tolerance max(1, |y|), largest element
    size_t lanczos;   // iterations of the range of eigenvalues; 0: it is not asked for
} sr_density_options;

// exact up to dim 64 else series; Rademacher, 8 probes, 4 terms, roulette 0.5; 200 iterations,
// 1e-5.
SR_API void sr_density_options_default(size_t dim, sr_density_options *options);
// Ranges of every field; SR_ERROR_UNSUPPORTED where the exact method is asked of too many
// dimensions, with its cost and what to take instead.
SR_API sr_status sr_density_options_check(size_t dim, const sr_density_options *options);

// What one call leaves; arrays are the caller's, each may be NULL.
typedef struct sr_induced {
    double *log_density; // (n): log p_K; NaN where it is not known, -infinity outside the support
                         // of the start (see failed)
    double *error;       // (n): standard error over the probes; 0 of the exact method
    double *path;  // (steps + 1, n): log p_k, k = 0..steps: forward of x_k, backward of x itself
    double *start; // (n): log p_0 of the start
    float *origin; // (n, dim): backward only: the start x_0 that leads to x
    // step s times the range of eigenvalues along the trajectory, (steps, n); needs options.lanczos
    double *smallest, *largest;
    // (n): 0, or 1 + the step (counted in the direction of the call) at which it ended: not
    // inverted, not finite, or det(I - s H) = 0; steps + 1: the origin lies outside the support of
    // the start, where p_K is 0
    uint32_t *failed;
    double *residual;     // (n): backward: largest residual of the steps' inversions, not divided
                          // by |y|
    uint32_t *iterations; // (n): backward: gradients spent on inversions, a product counted as two
} sr_induced;

// The generator's own samples: x (n, dim) holds starts x_0 and on return the states x_K after the
// steps of `dynamics`, whose log densities are log p_K(x_K) = log p_0(x_0) - sum_k log|det(I - s
// H(x_k))|. Where eigenvalues of s H pass 1 on the way the map folds: the sum is that of the branch
// alone, and `largest` tells. Errors: noise or clamp (the map is then none or not invertible), an
// integrator other than Euler with the exact or series method, a start without a density (data,
// persistent), those of sr_energy_check_hessian, memory; SR_ERROR_INTERRUPTED.
SR_API sr_status sr_induced_forward(sr_team *team, const sr_dynamics *dynamics,
                                    const sr_density_options *options, size_t n, float *x,
                                    const sr_monitor *monitor, const sr_induced *out);
// Any points, held-out data above all: x (n, dim) is carried back through the inverse of every
// step, last step first, so that path[k] is log p_k(x) for every number of steps k at once.
SR_API sr_status sr_induced_backward(sr_team *team, const sr_dynamics *dynamics,
                                     const sr_density_options *options, size_t n, const float *x,
                                     const sr_monitor *monitor, const sr_induced *out);

// ---- the Gibbs density in the plane -------------------------------------------------------------

// A square grid of cell centres, size x size on [-window, window]^2; row-major, y outer, x inner,
// as sr_toy_grid.
typedef struct sr_plane {
    double window;
    size_t size;
} sr_plane;
#define SR_PLANE_SIZE_MAX 4000
SR_API void sr_plane_points(const sr_plane *plane, float *x); // (size^2, 2)
// log Z of exp(-E/T) by the midpoint rule on the grid; log_density (size^2) or NULL: -E/T - log Z.
// edge (NULL allowed): the share of the mass in the outermost ring of cells: mass that the window
// may miss.
SR_API sr_status sr_plane_gibbs(sr_team *team, const sr_plane *plane, double temperature,
                                double *log_z, double *log_density, double *edge);
// The induced density on the grid, by carrying the cell centres backward: log_density (size^2), NaN
// where not inverted; its integral over the window (midpoint rule over what was inverted) into
// `mass`, the share of cells not inverted into `missing`.
SR_API sr_status sr_plane_induced(sr_team *team, const sr_dynamics *dynamics, const sr_plane *plane,
                                  const sr_monitor *monitor, double *log_density, double *mass,
                                  double *missing);
// KL(p || q) and total variation of two log densities on the grid (cells NaN or -inf count as 0
// density; KL is infinite where q vanishes and p does not). Either result may be NULL.
SR_API void sr_plane_compare(const sr_plane *plane, const double *log_p, const double *log_q,
                             double *kl, double *total_variation);

// ---- annealed importance sampling ---------------------------------------------------------------

// The path from a base that can be sampled to exp(-E/T): U_beta = beta E/T + (1 - beta) |x|^2 / 2
// from N(0, I), or beta E/T on a box from the uniform density there. exp(-E/T) of a network whose
// weights are bounded (spectral normalisation) grows at most linearly and often has no integral
// over all of space: then Z is a matter of the box, and images live in one.
typedef struct sr_ais_options {
    double temperature;
    size_t chains, levels; // levels: steps from beta = 0 to 1, dense at both ends (a sigmoid of
                           // Grosse et al. 2015 with slope 4)
    size_t leapfrog;       // of the transition after each level: 1 is MALA, more HMC
    double box;            // > 0: the density lives on [-box, box]^d; 0: everywhere
    double acceptance;     // that step sizes aim at; they come from a pilot run and stay fixed
    uint64_t seed;
} sr_ais_options;
// T = 1, 64 chains, 2000 levels, HMC of 5 steps, no box, acceptance 0.65.
SR_API void sr_ais_options_default(sr_ais_options *options);
SR_API sr_status sr_ais_options_check(const sr_ais_options *options);

typedef struct sr_ais {
    double log_z;      // forward: log mean of the weights, below log Z on average (Neal 2001)
    double error;      // its standard error over chains, by the delta method
    double effective;  // effective number of chains, (sum w)^2 / sum w^2
    double acceptance; // mean over transitions
} sr_ais;
// Forward, from exact samples of the base: E[log_z] <= log Z. x (chains, dim) or NULL: the final
// states. Errors: options, memory, SR_ERROR_INTERRUPTED.
SR_API sr_status sr_ais_forward(sr_team *team, const sr_ais_options *options,
                                const sr_monitor *monitor, float *x, sr_ais *out);
// Reverse, from states x (chains, dim) of exp(-E/T)/Z down to the base: where they are exact
// samples, E[log_z] >= log Z (Grosse et al. 2015). Chains that have not converged make it no bound.
SR_API sr_status sr_ais_reverse(sr_team *team, const sr_ais_options *options,
                                const sr_monitor *monitor, const float *x, sr_ais *out);

#ifdef __cplusplus
}
#endif
#endif
