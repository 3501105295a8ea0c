// Annealed importance sampling (Neal 2001): chains are led from a base density to exp(-E/T) and
// their weights average to the ratio of the two normalising constants; reversed, from the target to
// the base, to its inverse, which brackets log Z (Grosse, Ghahramani and Adams 2015).
#include <shortrun/density.h>

#include <math.h>
#include <string.h>

enum { GROUPS = 40, PILOT_CHAINS = 16, PILOT_STEPS = 30 }; // levels share a step size by group
#define SLOPE 4.0                                          // of the schedule's sigmoid

void sr_ais_options_default(sr_ais_options *options) {
    *options = (sr_ais_options){.temperature = 1,
                                .chains = 64,
                                .levels = 2000,
                                .leapfrog = 5,
                                .acceptance = 0.65,
                                .seed = 1};
}

sr_status sr_ais_options_check(const sr_ais_options *options) {
    if (!(options->temperature > 0) || !isfinite(options->temperature))
        return sr_fail(SR_ERROR_ARGUMENT, "the temperature must be above 0, found %g",
                       options->temperature);
    if (options->chains < 2 || options->levels < 2)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "annealed importance sampling needs at least 2 chains and 2 levels, found "
                       "%zu and %zu",
                       options->chains, options->levels);
    const sr_mcmc_options chain = {.leapfrog = options->leapfrog,
                                   .step_size = 1,
                                   .acceptance = options->acceptance,
                                   .box = options->box};
    return sr_mcmc_options_check(&chain);
}

typedef struct annealing {
    sr_team *team;
    const sr_ais_options *options;
    const sr_monitor *monitor;
    size_t dim;
    double step_size[GROUPS];
    double *log_weight; // (chains)
} annealing;

static double sigmoid(double z) {
    return 1 / (1 + exp(-z));
}

// beta of a level, 0 at 0 and 1 at the last.
static double beta_of(const annealing *a, double level) {
    const double t = 2 * level / (double)a->options->levels - 1;
    return (sigmoid(SLOPE * t) - sigmoid(-SLOPE)) / (sigmoid(SLOPE) - sigmoid(-SLOPE));
}

// The target's factors of E and of |x|^2 / 2.
static void factors(const annealing *a, double beta, double *of_energy, double *of_square) {
    *of_energy = beta / a->options->temperature;
    *of_square = a->options->box > 0 ? 0 : 1 - beta;
}

static double log_z_base(const annealing *a) {
    const double d = (double)a->dim;
    return a->options->box > 0 ? d * log(2 * a->options->box) : 0.5 * d * log(2 * M_PI);
}

static void sample_base(const annealing *a, uint64_t seed, size_t n, float *x) {
    const double box = a->options->box;
    sr_start_fill(box > 0 ? SR_START_UNIFORM : SR_START_GAUSSIAN, seed, 0, 0, n, a->dim, x);
    for (size_t i = 0; box > 0 && i < n * a->dim; i++)
        x[i] *= (float)box;
}

static size_t group_of(const annealing *a, size_t level) {
    return (level - 1) * GROUPS / a->options->levels;
}

static sr_mcmc_options chain_options(const annealing *a, uint64_t seed) {
    return (sr_mcmc_options){.leapfrog = a->options->leapfrog,
                             .step_size = 0.5 / pow((double)a->dim, 0.25),
                             .acceptance = a->options->acceptance,
                             .box = a->options->box,
                             .seed = seed};
}

// Step sizes from chains of their own, so that the weighted chains adapt to nothing.
static sr_status pilot(annealing *a) {
    const sr_mcmc_options options = chain_options(a, ~a->options->seed);
    float *x = sr_alloc(PILOT_CHAINS, a->dim * sizeof *x);
    sr_mcmc *mcmc = NULL;
    if (!x)
        return SR_ERROR_MEMORY;
    sample_base(a, ~a->options->seed, PILOT_CHAINS, x);
    sr_status status = sr_mcmc_create(a->team, &options, PILOT_CHAINS, x, &mcmc);
    for (size_t g = 0; g < GROUPS && !status; g++) {
        double of_energy, of_square;
        const double middle = ((double)g + 0.5) * (double)a->options->levels / GROUPS;
        factors(a, beta_of(a, middle), &of_energy, &of_square);
        sr_mcmc_target(mcmc, of_energy, of_square);
        sr_mcmc_adapt(mcmc, PILOT_STEPS);
        a->step_size[g] = sr_mcmc_step_size(mcmc);
        if (sr_monitor_stop(a->monitor))
            status = sr_fail(SR_ERROR_INTERRUPTED, "stopped in annealed importance sampling");
    }
    sr_mcmc_destroy(mcmc);
    sr_free(x);
    return status;
}

// Adds U of level `from` minus U of level `to` at the chains' states.
static void weigh(const annealing *a, const sr_mcmc *mcmc, size_t from, size_t to) {
    const float *x = sr_mcmc_states(mcmc), *e = sr_mcmc_energies(mcmc);
    double energy_from, square_from, energy_to, square_to;
    factors(a, beta_of(a, (double)from), &energy_from, &square_from);
    factors(a, beta_of(a, (double)to), &energy_to, &square_to);
    for (size_t i = 0; i < a->options->chains; i++, x += a->dim) {
        double square = 0;
        for (size_t j = 0; j < a->dim && square_from != square_to; j++)
            square += (double)x[j] * x[j];
        a->log_weight[i] +=
            (energy_from - energy_to) * e[i] + 0.5 * (square_from - square_to) * square;
    }
}

static double transit(const annealing *a, sr_mcmc *mcmc, size_t level) {
    double of_energy, of_square;
    factors(a, beta_of(a, (double)level), &of_energy, &of_square);
    sr_mcmc_target(mcmc, of_energy, of_square);
    sr_mcmc_set_step_size(mcmc, a->step_size[group_of(a, level)]);
    return sr_mcmc_run(mcmc, 1);
}

// log of the weights' mean, its error, and what they are worth.
static void summarise(const annealing *a, sr_ais *out) {
    const size_t n = a->options->chains;
    double most = -INFINITY, sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, a->log_weight[i]);
    for (size_t i = 0; i < n; i++) {
        const double weight = exp(a->log_weight[i] - most);
        sum += weight;
        square += weight * weight;
    }
    const double mean = sum / (double)n;
    const double variance = fmax(square / (double)n - mean * mean, 0) * (double)n / (double)(n - 1);
    out->log_z = most + log(mean);
    out->error = sqrt(variance / (double)n) / mean;
    out->effective = sum * sum / square;
}

static sr_status anneal(annealing *a, sr_mcmc *mcmc, bool reverse, sr_ais *out) {
    const size_t levels = a->options->levels;
    double accepted = 0;
    for (size_t k = 1; k <= levels; k++) {
        const size_t level = reverse ? levels + 1 - k : k;
        if (!reverse)
            weigh(a, mcmc, level - 1, level);
        accepted += transit(a, mcmc, level);
        if (reverse)
            weigh(a, mcmc, level, level - 1);
        sr_monitor_progress(a->monitor, reverse ? "annealing back" : "annealing", "", (double)k,
                            (double)levels);
        if (sr_monitor_stop(a->monitor))
            return sr_fail(SR_ERROR_INTERRUPTED, "stopped in annealed importance sampling");
    }
    summarise(a, out);
    out->acceptance = accepted / (double)levels;
    out->log_z = log_z_base(a) + (reverse ? -out->log_z : out->log_z);
    return isfinite(out->log_z)
               ? SR_OK
               : sr_fail(SR_ERROR_DIVERGED, "the weights of annealed importance sampling are not "
                                            "finite");
}

// x: starts of the reverse run; forward NULL. last (NULL allowed): where the chains end.
static sr_status run(sr_team *team, const sr_ais_options *options, const sr_monitor *monitor,
                     const float *x, float *last, sr_ais *out) {
    sr_status status = sr_ais_options_check(options);
    if (status)
        return status;
    annealing a = {.team = team,
                   .options = options,
                   .monitor = monitor,
                   .dim = sr_energy_dim(sr_team_energy(team))};
    const sr_mcmc_options chain = chain_options(&a, options->seed);
    sr_mcmc *mcmc = NULL;
    float *starts = sr_alloc(options->chains, a.dim * sizeof *starts);
    a.log_weight = sr_alloc(options->chains, sizeof *a.log_weight);
    status = starts && a.log_weight ? pilot(&a) : SR_ERROR_MEMORY;
    if (!status) {
        if (x)
            memcpy(starts, x, options->chains * a.dim * sizeof *starts);
        else
            sample_base(&a, options->seed, options->chains, starts);
        status = sr_mcmc_create(team, &chain, options->chains, starts, &mcmc);
    }
    if (!status)
        status = anneal(&a, mcmc, x != NULL, out);
    if (!status && last)
        memcpy(last, sr_mcmc_states(mcmc), options->chains * a.dim * sizeof *last);
    sr_mcmc_destroy(mcmc);
    sr_free(starts);
    sr_free(a.log_weight);
    return status;
}

sr_status sr_ais_forward(sr_team *team, const sr_ais_options *options, const sr_monitor *monitor,
                         float *x, sr_ais *out) {
    return run(team, options, monitor, NULL, x, out);
}

sr_status sr_ais_reverse(sr_team *team, const sr_ais_options *options, const sr_monitor *monitor,
                         const float *x, sr_ais *out) {
    return run(team, options, monitor, x, NULL, out);
}
