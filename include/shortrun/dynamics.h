// dynamics: K steps on an energy, from an initial state. Noise-free gradient descent, Langevin
// dynamics and finer integrators of the gradient flow; a thread takes a tile of chains and runs all
// K steps on it.
#ifndef SHORTRUN_DYNAMICS_H
#define SHORTRUN_DYNAMICS_H

#include <shortrun/energy.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sr_start {
    SR_START_UNIFORM,   // uniform on [-1, 1]^d
    SR_START_GAUSSIAN,  // N(0, I)
    SR_START_DATA,      // rows of the training data
    SR_START_PERSISTENT // where the chains were left, re-started from `restart_from` at a rate
} sr_start;
SR_API const char *sr_start_name(sr_start start);
SR_API sr_status sr_start_parse(const char *name, sr_start *out);

// How the gradient flow dx/dt = -grad E(x) is carried from time k step_size to (k + 1) step_size.
typedef enum sr_integrator {
    SR_INTEGRATOR_EULER,   // x - s grad E(x): order 1, one gradient a step; the short-run chain
    SR_INTEGRATOR_HEUN,    // explicit trapezoid rule: order 2, two gradients a step
    SR_INTEGRATOR_RK4,     // the classical Runge-Kutta method: order 4, four gradients a step
    SR_INTEGRATOR_ADAPTIVE // Dormand and Prince's pair of orders 5 and 4, its steps chosen so that
                           // the local error stays within `tolerance` (ARKODE of SUNDIALS); each
                           // chain has steps of its own, in double but for the gradients,
                           // which are taken one chain at a time: slow on wide vectors
} sr_integrator;
#define SR_INTEGRATOR_COUNT 4
SR_API const char *sr_integrator_name(sr_integrator integrator); // "euler", "heun", ...
SR_API sr_status sr_integrator_parse(const char *name, sr_integrator *out);
// Whether this build has it: adaptive needs SUNDIALS, the others nothing.
SR_API bool sr_integrator_available(sr_integrator integrator);
// Gradients of E that one step costs; 0 where the error control decides (adaptive).
SR_API size_t sr_integrator_gradients(sr_integrator integrator);

// Euler: x_{k+1} = x_k - step_size grad E(x_k) + noise eps_k, k = 0 .. steps-1, then clamped if
// `clamp` > 0. Langevin at temperature T has noise^2 = 2 step_size T. The other integrators take x
// from x_k to x_{k+1} along the flow of -grad E over a time of step_size, without noise and without
// clamp: their orders hold for an ordinary differential equation with a smooth right-hand side.
typedef struct sr_dynamics {
    size_t steps;     // K >= 1
    double step_size; // s > 0
    double noise;     // sigma >= 0
    bool noise_last;  // add noise on the last step too
    double clamp;     // states are clamped to [-clamp, clamp] after every step; 0: no clamp
    sr_start start;
    sr_start restart_from; // persistent: uniform, gaussian or data
    double restart_rate; // persistent: probability that a chain starts anew in an iteration, [0, 1]
    sr_integrator integrator;
    double tolerance; // adaptive: of the local error, relative and absolute,
                      // [SR_TOLERANCE_LOW, SR_TOLERANCE_HIGH]; not read by the others
} sr_dynamics;
// Gradients are single precision: below this, the error control would chase their rounding.
#define SR_TOLERANCE_LOW 1e-7
#define SR_TOLERANCE_HIGH 0.1

// Range of every field; the message says what was found and what is allowed. SR_ERROR_UNSUPPORTED:
// the adaptive integrator in a build without SUNDIALS.
SR_API sr_status sr_dynamics_check(const sr_dynamics *dynamics);
SR_API double sr_dynamics_temperature(const sr_dynamics *dynamics); // sigma^2 / (2 s)

// Per-step diagnostics of a run, arrays of steps+1 (displacement: from x_k to x_{k+1}, last entry
// 0), means over the chains in a fixed order. Any pointer may be NULL.
typedef struct sr_trace {
    double *energy;        // mean E(x_k)
    double *gradient_norm; // mean |grad E(x_k)|
    double *displacement;  // mean |x_{k+1} - x_k|
    double *largest;       // max over chains and elements of |x_k|, NaN if any element is
} sr_trace;

// Initial states x (n, dim) for uniform and Gaussian starts; chain i of the stream (seed,
// SR_PURPOSE_START, epoch). first: number of the first chain. The other starts need data that this
// module does not have: for them x stays as it is.
SR_API void sr_start_fill(sr_start start, uint64_t seed, uint64_t epoch, uint64_t first, size_t n,
                          size_t dim, float *x);

// Runs the dynamics in place on x (n, dim), chains numbered first, first+1, ..., noise from the
// stream (seed, SR_PURPOSE_DYNAMICS, epoch). trace may be NULL (it costs one more evaluation at the
// end). The team's energy is the one that is run. Same bits for any number of threads. States that
// are not finite are no error here: look at the trace or at x. Errors: those of sr_dynamics_check,
// memory.
SR_API sr_status sr_dynamics_run(sr_team *team, const sr_dynamics *dynamics, uint64_t seed,
                                 uint64_t epoch, uint64_t first, size_t n, float *x,
                                 const sr_trace *trace);
// As above with the standard normals given: noise (steps, n, dim), NULL for none; they are scaled
// by dynamics->noise. For tests against references.
SR_API sr_status sr_dynamics_run_given(sr_team *team, const sr_dynamics *dynamics,
                                       const float *noise, size_t n, float *x,
                                       const sr_trace *trace);

// ---- Markov chains that converge ----------------------------------------------------------------

// Metropolis-adjusted Langevin and Hamiltonian Monte Carlo on the density proportional to
// exp(-U(x)), U = a E(x) + b |x|^2 / 2, in all of space or within a box; a = 1/T, b = 0 is
// exp(-E/T)/Z. Unlike short runs they leave this density invariant.
typedef struct sr_mcmc_options {
    size_t leapfrog;   // steps of a proposal: 1 is MALA (Roberts and Tweedie 1996), more is HMC
                       // (Neal 2011)
    double step_size;  // of the leapfrog, above 0: MALA's proposal has variance step_size^2
    double acceptance; // share of proposals that adaptation aims at, (0, 1)
    double box; // > 0: the density lives on [-box, box]^d, whose walls reflect; 0: everywhere
    uint64_t seed;
} sr_mcmc_options;
// MALA: step 0.1, acceptance 0.574; no box, seed 1.
SR_API void sr_mcmc_options_default(sr_mcmc_options *options);
SR_API sr_status sr_mcmc_options_check(const sr_mcmc_options *options);

// n chains with their energies and gradients. One caller at a time; the team must outlive it.
typedef struct sr_mcmc sr_mcmc;
// From states x (n, dim), copied; outside the box they are moved to its edge. Errors: options,
// memory, an energy that is not finite at a start (it is named).
SR_API sr_status sr_mcmc_create(sr_team *team, const sr_mcmc_options *options, size_t n,
                                const float *x, sr_mcmc **out);
SR_API void sr_mcmc_destroy(sr_mcmc *mcmc);
SR_API void sr_mcmc_target(sr_mcmc *mcmc, double a, double b); // 1, 0 at first
// `steps` transitions of every chain, all with the same step size; the share of proposals that was
// accepted. Same bits for any number of threads.
SR_API double sr_mcmc_run(sr_mcmc *mcmc, size_t steps);
// The same, the step size moved towards the acceptance that is aimed at every few transitions
// (Robbins and Monro 1951, on its logarithm): the states are samples only after later runs of
// sr_mcmc_run.
SR_API double sr_mcmc_adapt(sr_mcmc *mcmc, size_t steps);
SR_API double sr_mcmc_step_size(const sr_mcmc *mcmc);
SR_API void sr_mcmc_set_step_size(sr_mcmc *mcmc, double step_size);
SR_API void sr_mcmc_shape(const sr_mcmc *mcmc, size_t *n, size_t *dim);
SR_API const float *sr_mcmc_states(const sr_mcmc *mcmc);   // (n, dim)
SR_API const float *sr_mcmc_energies(const sr_mcmc *mcmc); // (n): E, without a and b

// Split R-hat (Gelman et al., Bayesian Data Analysis, 3rd edition, 11.4) of one scalar, value
// (chains, draws): the root of the pooled variance over that within half chains. 1 where all values
// are the same, NaN below 4 draws or where one is not finite.
SR_API double sr_split_r_hat(size_t chains, size_t draws, const double *value);
// The larger of the split R-hat of the normal scores of the values' ranks and of those of the
// values folded about their median (Vehtari et al. 2021, section 3): holds for heavy tails, and
// sees chains that differ in spread alone. 1 and NaN as above; SR_ERROR_MEMORY.
SR_API sr_status sr_rank_r_hat(size_t chains, size_t draws, const double *value, double *out);
// Effective number of independent draws among all (chains, draws): autocorrelations of the chains
// pooled, summed over Geyer's initial positive pairs (Vehtari et al. 2021, eq. 10 and 11). NaN as
// above.
SR_API double sr_effective_draws(size_t chains, size_t draws, const double *value);

typedef struct sr_long_run {
    size_t steps;      // transitions of each chain, warm-up included
    double acceptance; // of the last round
    double step_size;
    double r_hat;     // the largest of the scalars that are watched, in the last round
    double effective; // least effective number of draws of the energy and the others
    bool converged;   // r_hat below the bound
} sr_long_run;
// Runs the chains until the split R-hat of the energy, of |x|^2 and, up to 8 dimensions, of every
// coordinate is below `bound` (1.01), or `most` transitions are spent: rounds, each twice as long
// as all before, of which the first half warms up (and adapts the step size in its first part) and
// the second is looked at. kept (0: none) draws of all chains, evenly spaced over the last round,
// into draws (kept, n, dim). SR_ERROR_INTERRUPTED.
SR_API sr_status sr_mcmc_converge(sr_mcmc *mcmc, size_t most, double bound, size_t kept,
                                  float *draws, const sr_monitor *monitor, sr_long_run *out);

#ifdef __cplusplus
}
#endif
#endif
