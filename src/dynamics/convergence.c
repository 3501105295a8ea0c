// Whether chains have converged: split R-hat, effective draws, and the run until they have.
#include <shortrun/dynamics.h>

#include <math.h>
#include <string.h>

// ---- diagnostics --------------------------------------------------------------------------------

static double mean_of(size_t n, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

// Covariance of a stretch with itself `lag` later, divided by n.
static double covariance(size_t n, const double *x, double mean, size_t lag) {
    double sum = 0;
    for (size_t i = 0; i + lag < n; i++)
        sum += (x[i] - mean) * (x[i + lag] - mean);
    return sum / (double)n;
}

// Half chains: their mean variance within (divisor n - 1), and the pooled variance.
static bool variances(size_t chains, size_t draws, const double *value, double *within,
                      double *pooled) {
    const size_t half = draws / 2, parts = 2 * chains;
    double sum = 0, square = 0;
    *within = 0;
    if (draws < 4 || chains == 0)
        return false;
    for (size_t c = 0; c < parts; c++) {
        const double *x = value + c / 2 * draws + (c % 2) * (draws - half);
        const double mean = mean_of(half, x);
        *within += covariance(half, x, mean, 0) * (double)half / (double)(half - 1);
        sum += mean;
        square += mean * mean;
    }
    *within /= (double)parts;
    const double n = (double)parts, between = fmax(square - sum * sum / n, 0) / (n - 1);
    *pooled = *within * (double)(half - 1) / (double)half + between;
    return isfinite(*within) && isfinite(*pooled);
}

double sr_split_r_hat(size_t chains, size_t draws, const double *value) {
    double within, pooled;
    if (!variances(chains, draws, value, &within, &pooled))
        return (double)NAN;
    if (pooled == 0)
        return 1;
    return sqrt(pooled / within);
}

double sr_effective_draws(size_t chains, size_t draws, const double *value) {
    const size_t half = draws / 2, parts = 2 * chains;
    const double all = (double)(parts * half);
    double within, pooled, pairs = 0, before = INFINITY;
    if (!variances(chains, draws, value, &within, &pooled))
        return (double)NAN;
    if (pooled == 0)
        return all;
    for (size_t lag = 0; lag + 1 < half; lag += 2) {
        double rho[2];
        for (size_t k = 0; k < 2; k++) {
            double sum = 0;
            for (size_t c = 0; c < parts; c++) {
                const double *x = value + c / 2 * draws + (c % 2) * (draws - half);
                sum += covariance(half, x, mean_of(half, x), lag + k);
            }
            const double mean = sum / (double)parts * (double)half / (double)(half - 1);
            rho[k] = lag + k == 0 ? 1 : 1 - (within - mean) / pooled;
        }
        const double pair = fmin(rho[0] + rho[1], before); // Geyer: positive and falling
        if (pair < 0)
            break;
        pairs += pair;
        before = pair;
    }
    return fmin(all / fmax(2 * pairs - 1, 1 / log10(all)), all * log10(all));
}

// ---- the run ------------------------------------------------------------------------------------

enum { DRAWS = 100, COORDINATES = 8, SCALARS = COORDINATES + 2, FIRST_ROUND = 200 };

// What is watched, (scalars, chains, DRAWS).
typedef struct watch {
    size_t chains, dim, scalars;
    double *value;
} watch;

static void look(const watch *w, const sr_mcmc *mcmc, size_t draw) {
    const float *x = sr_mcmc_states(mcmc), *e = sr_mcmc_energies(mcmc);
    for (size_t i = 0; i < w->chains; i++, x += w->dim) {
        double square = 0;
        for (size_t j = 0; j < w->dim; j++)
            square += (double)x[j] * x[j];
        double *at = w->value + i * DRAWS + draw;
        const size_t step = w->chains * DRAWS;
        at[0] = e[i];
        at[step] = square;
        for (size_t j = 0; j + 2 < w->scalars; j++)
            at[(j + 2) * step] = x[j];
    }
}

static void judge(const watch *w, sr_long_run *out) {
    out->r_hat = 0;
    out->effective = INFINITY;
    for (size_t k = 0; k < w->scalars; k++) {
        const double *value = w->value + k * w->chains * DRAWS;
        const double r_hat = sr_split_r_hat(w->chains, DRAWS, value);
        const double effective = sr_effective_draws(w->chains, DRAWS, value);
        out->r_hat = isnan(r_hat) || r_hat > out->r_hat ? r_hat : out->r_hat;
        out->effective = fmin(out->effective, effective);
    }
}

// The second half of a round: `steps` transitions, looked at DRAWS times.
static sr_status watched(sr_mcmc *mcmc, const watch *w, size_t steps, size_t kept, float *draws,
                         const sr_monitor *monitor, sr_long_run *out) {
    const size_t state = w->chains * w->dim;
    double accepted = 0;
    size_t done = 0, saved = 0;
    for (size_t d = 0; d < DRAWS; d++) {
        const size_t until = steps * (d + 1) / DRAWS;
        if (until > done)
            accepted += sr_mcmc_run(mcmc, until - done) * (double)(until - done);
        done = until;
        look(w, mcmc, d);
        // the kept draws end the stretches into which the round falls
        if (saved < kept && (saved + 1) * DRAWS <= (d + 1) * kept)
            memcpy(draws + saved++ * state, sr_mcmc_states(mcmc), state * sizeof *draws);
        if (sr_monitor_stop(monitor))
            return sr_fail(SR_ERROR_INTERRUPTED, "stopped while long chains ran");
    }
    out->acceptance = accepted / (double)steps;
    return SR_OK;
}

sr_status sr_mcmc_converge(sr_mcmc *mcmc, size_t most, double bound, size_t kept, float *draws,
                           const sr_monitor *monitor, sr_long_run *out) {
    size_t chains, dim;
    sr_mcmc_shape(mcmc, &chains, &dim);
    watch w = {.chains = chains, .dim = dim};
    *out = (sr_long_run){.r_hat = (double)NAN, .effective = (double)NAN};
    if (most < 2 * DRAWS || kept > DRAWS || !(bound > 1))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "long chains need at least %d steps, at most %d kept draws and a bound of "
                       "R-hat above 1, found %zu, %zu and %g",
                       2 * DRAWS, DRAWS, most, kept, bound);
    w.scalars = 2 + (dim <= COORDINATES ? dim : 0);
    w.value = sr_alloc(w.scalars * chains, DRAWS * sizeof *w.value);
    if (!w.value)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    for (size_t round = FIRST_ROUND; !status && !out->converged; round = out->steps) {
        const size_t left = most - out->steps;
        const size_t steps = round < left && 2 * round <= left ? round : left;
        sr_monitor_progress(monitor, "long chains", "", (double)out->steps, (double)most);
        sr_mcmc_adapt(mcmc, steps / 4);
        sr_mcmc_run(mcmc, steps / 2 - steps / 4);
        status = watched(mcmc, &w, steps - steps / 2, kept, draws, monitor, out);
        out->steps += steps;
        if (!status)
            judge(&w, out);
        out->converged = out->r_hat < bound;
        if (out->steps >= most)
            break;
    }
    out->step_size = sr_mcmc_step_size(mcmc);
    sr_free(w.value);
    return status;
}
