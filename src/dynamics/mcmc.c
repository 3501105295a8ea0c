// MALA and HMC: chains with a Metropolis correction. A thread takes a tile of chains through all
// transitions of a run; energies are single precision, what is accepted is decided in double.
#include <shortrun/dynamics.h>

#include <math.h>
#include <omp.h>
#include <string.h>

#define ADAPT_EVERY 10 // transitions between two changes of the step size

struct sr_mcmc {
    sr_team *team;
    const sr_energy *energy;
    const sr_kernels *kernels;
    sr_mcmc_options options;
    size_t n, dim, tile, tiles;
    double a, b;         // of the target
    double step_size;    // now
    uint64_t transition; // number of the next one: names its random numbers
    uint64_t changes;    // of the step size
    float *x, *e, *g;    // (n, dim), (n), (n, dim): states, energies, gradients of E
    float *scratch;      // (threads, 4 tile dim + tile)
    double *accepted;    // (tiles): mean acceptance probability of a run, summed over chains
};

void sr_mcmc_options_default(sr_mcmc_options *options) {
    *options = (sr_mcmc_options){.leapfrog = 1, .step_size = 0.1, .acceptance = 0.574, .seed = 1};
}

sr_status sr_mcmc_options_check(const sr_mcmc_options *options) {
    if (options->leapfrog == 0 || options->leapfrog > 10000)
        return sr_fail(SR_ERROR_ARGUMENT, "leapfrog must lie between 1 and 10000, found %zu",
                       options->leapfrog);
    if (!(options->step_size > 0) || !isfinite(options->step_size))
        return sr_fail(SR_ERROR_ARGUMENT, "step_size must be above 0, found %g",
                       options->step_size);
    if (!(options->acceptance > 0 && options->acceptance < 1))
        return sr_fail(SR_ERROR_ARGUMENT, "acceptance must lie between 0 and 1, found %g",
                       options->acceptance);
    if (!(options->box >= 0) || !isfinite(options->box))
        return sr_fail(SR_ERROR_ARGUMENT, "box must be 0 or above, found %g", options->box);
    return SR_OK;
}

void sr_mcmc_destroy(sr_mcmc *mcmc) {
    if (!mcmc)
        return;
    sr_free(mcmc->x);
    sr_free(mcmc->e);
    sr_free(mcmc->g);
    sr_free(mcmc->scratch);
    sr_free(mcmc->accepted);
    sr_free(mcmc);
}

static size_t scratch_floats(const sr_mcmc *m) {
    return (4 * m->tile * m->dim + m->tile + 15) / 16 * 16;
}

static sr_status start(sr_mcmc *m, const float *x) {
    const float box = (float)m->options.box;
    memcpy(m->x, x, m->n * m->dim * sizeof *x);
    for (size_t i = 0; box > 0 && i < m->n * m->dim; i++)
        m->x[i] = fminf(fmaxf(m->x[i], -box), box);
    sr_team_evaluate(m->team, m->n, m->x, m->e, m->g);
    for (size_t i = 0; i < m->n; i++)
        if (!isfinite(m->e[i]))
            return sr_fail(SR_ERROR_DIVERGED, "the energy of start %zu is not finite", i);
    return SR_OK;
}

sr_status sr_mcmc_create(sr_team *team, const sr_mcmc_options *options, size_t n, const float *x,
                         sr_mcmc **out) {
    *out = NULL;
    sr_status status = sr_mcmc_options_check(options);
    if (status)
        return status;
    if (n == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "at least one chain is needed, found 0");
    sr_mcmc *m = sr_alloc(1, sizeof *m);
    if (!m)
        return SR_ERROR_MEMORY;
    *m = (sr_mcmc){.team = team,
                   .energy = sr_team_energy(team),
                   .kernels = sr_kernels_get(),
                   .options = *options,
                   .n = n,
                   .dim = sr_energy_dim(sr_team_energy(team)),
                   .tile = sr_energy_tile(sr_team_energy(team)),
                   .a = 1,
                   .step_size = options->step_size};
    m->tiles = n / m->tile + (n % m->tile != 0);
    m->x = sr_alloc(n, m->dim * sizeof *m->x);
    m->g = sr_alloc(n, m->dim * sizeof *m->g);
    m->e = sr_alloc(n, sizeof *m->e);
    m->scratch = sr_alloc(sr_team_threads(team), scratch_floats(m) * sizeof *m->scratch);
    m->accepted = sr_alloc(m->tiles, sizeof *m->accepted);
    status = m->x && m->g && m->e && m->scratch && m->accepted ? start(m, x) : SR_ERROR_MEMORY;
    if (status)
        sr_mcmc_destroy(m);
    else
        *out = m;
    return status;
}

void sr_mcmc_target(sr_mcmc *mcmc, double a, double b) {
    mcmc->a = a;
    mcmc->b = b;
}

double sr_mcmc_step_size(const sr_mcmc *mcmc) {
    return mcmc->step_size;
}

void sr_mcmc_set_step_size(sr_mcmc *mcmc, double step_size) {
    mcmc->step_size = step_size;
}

void sr_mcmc_shape(const sr_mcmc *mcmc, size_t *n, size_t *dim) {
    *n = mcmc->n;
    *dim = mcmc->dim;
}

const float *sr_mcmc_states(const sr_mcmc *mcmc) {
    return mcmc->x;
}

const float *sr_mcmc_energies(const sr_mcmc *mcmc) {
    return mcmc->e;
}

// ---- a transition -------------------------------------------------------------------------------

// U + |p|^2 / 2; infinite outside the box.
static double hamiltonian(const sr_mcmc *m, const float *x, float e, const float *p) {
    double square = 0, kinetic = 0;
    for (size_t j = 0; j < m->dim; j++) {
        if (m->options.box > 0 && fabs((double)x[j]) > m->options.box)
            return INFINITY;
        square += (double)x[j] * x[j];
        kinetic += (double)p[j] * p[j];
    }
    return m->a * e + 0.5 * m->b * square + 0.5 * kinetic;
}

// p -= length grad U.
static void kick(const sr_mcmc *m, size_t values, const float *x, const float *g, double length,
                 float *p) {
    const float a = (float)(length * m->a), b = (float)(length * m->b);
    for (size_t j = 0; j < values; j++)
        p[j] -= a * g[j] + b * x[j];
}

// Walls reflect: a coordinate that left the box comes back and its momentum turns, which keeps the
// leapfrog reversible and volume-preserving (Neal 2011, 5.1). Rejecting instead would let one of
// many coordinates stop all of them.
static void reflect(double box, size_t values, float *y, float *p) {
    for (size_t j = 0; box > 0 && j < values; j++) {
        for (int wall = 0; fabs((double)y[j]) > box && isfinite(y[j]) && wall < 64; wall++) {
            y[j] = (float)((y[j] > 0 ? 2 : -2) * box) - y[j];
            p[j] = -p[j];
        }
    }
}

// The tile's transition number `transition`; returns the sum of acceptance probabilities.
static double transit(const sr_mcmc *m, sr_energy_workspace *workspace, float *scratch, size_t at,
                      size_t rows, uint64_t transition) {
    const size_t dim = m->dim, values = rows * dim, most = m->tile * dim;
    float *y = scratch, *p = y + most, *p0 = p + most, *gy = p0 + most, *ey = gy + most;
    const float *x = m->x + at * dim;
    const float step = (float)m->step_size;
    const sr_stream stream = sr_stream_make(m->options.seed, SR_PURPOSE_MCMC, transition);
    for (size_t i = 0; i < rows; i++)
        m->kernels->normal(stream, at + i, 0, dim, p + i * dim);
    memcpy(p0, p, values * sizeof *p);
    memcpy(y, x, values * sizeof *y);
    kick(m, values, y, m->g + at * dim, 0.5 * m->step_size, p);
    for (size_t l = 0; l < m->options.leapfrog; l++) {
        for (size_t j = 0; j < values; j++)
            y[j] += step * p[j];
        reflect(m->options.box, values, y, p);
        sr_energy_evaluate(m->energy, workspace, rows, y, ey, gy);
        const bool last = l + 1 == m->options.leapfrog;
        kick(m, values, y, gy, last ? 0.5 * m->step_size : m->step_size, p);
    }
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        float chance;
        const double change = hamiltonian(m, x + i * dim, m->e[at + i], p0 + i * dim) -
                              hamiltonian(m, y + i * dim, ey[i], p + i * dim);
        const double accept = isnan(change) ? 0 : fmin(1, exp(change));
        sum += accept;
        m->kernels->uniform(stream, at + i, 1, 1, &chance);
        if (!((double)chance < accept))
            continue;
        memcpy(m->x + (at + i) * dim, y + i * dim, dim * sizeof *y);
        memcpy(m->g + (at + i) * dim, gy + i * dim, dim * sizeof *y);
        m->e[at + i] = ey[i];
    }
    return sum;
}

double sr_mcmc_run(sr_mcmc *m, size_t steps) {
    memset(m->accepted, 0, m->tiles * sizeof *m->accepted);
#pragma omp parallel num_threads(sr_team_threads(m->team))
    {
        const unsigned thread = (unsigned)omp_get_thread_num();
        float *scratch = m->scratch + thread * scratch_floats(m);
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < m->tiles; t++) {
            const size_t at = t * m->tile, rows = m->n - at < m->tile ? m->n - at : m->tile;
            for (size_t k = 0; k < steps; k++)
                m->accepted[t] += transit(m, sr_team_workspace(m->team, thread), scratch, at, rows,
                                          m->transition + k);
        }
    }
    m->transition += steps;
    double sum = 0;
    for (size_t t = 0; t < m->tiles; t++)
        sum += m->accepted[t];
    return steps ? sum / (double)(m->n * steps) : (double)NAN;
}

double sr_mcmc_adapt(sr_mcmc *m, size_t steps) {
    double sum = 0;
    for (size_t done = 0; done < steps;) {
        const size_t part = steps - done < ADAPT_EVERY ? steps - done : ADAPT_EVERY;
        const double accepted = sr_mcmc_run(m, part);
        const double gain = 2 / sqrt(1 + (double)m->changes++);
        m->step_size *= exp(gain * (accepted - m->options.acceptance));
        sum += accepted * (double)part;
        done += part;
    }
    return steps ? sum / (double)steps : (double)NAN;
}
