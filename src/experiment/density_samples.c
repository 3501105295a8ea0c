// Samples far beyond the training K, and those of long-run chains on the same energy: does the
// energy itself generate, or only its short run?
#include "experiment/density.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define R_HAT 1.01
#define LEAPFROG 8 // HMC: with one step (MALA) chains had not converged after as many gradients
#define BEYOND_SAMPLES 1000 // at most so many are judged at every number of steps

// ---- quality ------------------------------------------------------------------------------------

typedef struct quality {
    size_t count;
    sr_value value[8]; // the first one leads
} quality;

static void add(quality *q, const char *name, sr_estimate estimate, double value, size_t n) {
    sr_value *at = &q->value[q->count++];
    *at = (sr_value){.value = value,
                     .n = n,
                     .error = estimate.error,
                     .low = estimate.low,
                     .high = estimate.high};
    snprintf(at->name, sizeof at->name, "%s", name);
}

static sr_status judge_points(const sr_densities *d, size_t n, const float *x, quality *out) {
    sr_toy_scores scores;
    float *data = sr_alloc(n, 2 * sizeof *data);
    if (!data)
        return SR_ERROR_MEMORY;
    sr_toy_sample(d->toy, SR_TOY_JUDGE_SEED, 0, n, data);
    const sr_status status =
        sr_toy_judge(d->toy, n, data, n, x, SR_TOY_JUDGE_SEED, d->options->threads, &scores);
    sr_free(data);
    if (status != SR_OK)
        return status;
    add(out, "kl_true", scores.interval.kl_true, scores.kl_true, n);
    add(out, "mmd2", scores.interval.mmd2, scores.mmd2, n);
    add(out, "sliced_w2", scores.interval.sliced_w2, scores.sliced_w2, n);
    if (scores.mode_count > 0)
        add(out, "high_quality", scores.interval.high_quality, scores.high_quality, n);
    return SR_OK;
}

// What the cell's own samples were judged by.
static sr_status judge_images(const sr_densities *d, size_t n, const float *x, quality *out) {
    static const char *const names[] = {"frechet", "kid", "precision", "recall", "sliced_w2"};
    sr_record record;
    sr_status status = sr_record_begin(d->cell, d->options->threads, &record);
    if (status == SR_OK)
        status = d->judge(d->user, n, x, &record);
    for (size_t k = 0; status == SR_OK && k < sizeof names / sizeof *names; k++) {
        for (size_t i = 0; i < record.metric_count; i++)
            if (strcmp(record.metrics[i].name, names[k]) == 0)
                out->value[out->count++] = record.metrics[i];
    }
    sr_free(record.metrics);
    sr_free(record.timings);
    return status;
}

static sr_status judge(const sr_densities *d, size_t n, const float *x, quality *out) {
    *out = (quality){0};
    for (size_t i = 0; i < n * d->dim; i++) {
        if (!isfinite(x[i]))
            return SR_OK; // nothing to say about these
    }
    return d->plane ? judge_points(d, n, x, out) : judge_images(d, n, x, out);
}

// ---- beyond K -----------------------------------------------------------------------------------

// steps[i]: K/4, K/2, K, 2K, ... up to `beyond` K, without repetition; how many.
static size_t beyond_steps(size_t steps, size_t beyond, size_t most, size_t *out) {
    size_t count = 0;
    for (size_t part = 4; part > 1; part /= 2)
        if (steps / part >= 1 && (count == 0 || steps / part > out[count - 1]))
            out[count++] = steps / part;
    for (size_t times = 1; times <= beyond && count < most; times *= 2)
        if (count == 0 || times * steps > out[count - 1])
            out[count++] = times * steps;
    return count;
}

static double mean_energy(sr_densities *d, size_t n, const float *x, float *energy) {
    double sum = 0;
    sr_team_evaluate(d->team, n, x, energy, NULL);
    for (size_t i = 0; i < n; i++)
        sum += energy[i];
    return sum / (double)n;
}

// One set of chains that is carried on from one number of steps to the next, with the cell's own
// noise: rows (steps, score, low, high, energy) of beyond.npy.
static sr_status judge_beyond(sr_densities *d) {
    enum { MOST = 24 };
    const size_t n = d->cell->samples < BEYOND_SAMPLES ? d->cell->samples : BEYOND_SAMPLES;
    size_t steps[MOST];
    float rows[MOST * 5];
    sr_dynamics dynamics = sr_cell_sampler(d->cell);
    const size_t count = beyond_steps(dynamics.steps, d->cell->density.beyond, MOST, steps);
    float *x = sr_alloc(n, d->dim * sizeof *x);
    float *energy = sr_alloc(n, sizeof *energy);
    sr_status status = x && energy ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        sr_start_fill(dynamics.start, d->cell->train.seed, SR_DENSITY_EPOCH, 0, n, d->dim, x);
    size_t done = 0, filled = 0;
    for (; filled < count && status == SR_OK; filled++) {
        quality found;
        if (sr_monitor_stop(d->monitor))
            status = sr_fail(SR_ERROR_INTERRUPTED, "stopped while sampling beyond K");
        dynamics.steps = steps[filled] - done;
        if (status == SR_OK)
            status = sr_dynamics_run(d->team, &dynamics, d->cell->train.seed,
                                     SR_DENSITY_EPOCH - filled, 0, n, x, NULL);
        if (status == SR_OK)
            status = judge(d, n, x, &found);
        if (status != SR_OK || found.count == 0)
            break; // the chains left the numbers: what was seen until then is kept
        done = steps[filled];
        float *row = rows + 5 * filled;
        row[0] = (float)done;
        row[1] = (float)found.value[0].value;
        row[2] = (float)found.value[0].low;
        row[3] = (float)found.value[0].high;
        row[4] = (float)mean_energy(d, n, x, energy);
        if (filled + 1 == count)
            sr_density_add_value(d, "beyond_", &found.value[0]);
    }
    if (status == SR_OK && filled > 0)
        status = sr_density_save(d, "beyond.npy", 2, (size_t[]){filled, 5}, rows);
    sr_free(x);
    sr_free(energy);
    return status;
}

// ---- long-run chains ----------------------------------------------------------------------------

// Whether the energy itself generates: chains that leave exp(-E)/Z invariant, from the cell's own
// starts, run until they have converged or the steps are spent. Images live in their box.
static sr_status run_long(sr_densities *d, size_t chains, size_t kept, float *draws,
                          sr_long_run *run) {
    sr_mcmc_options options;
    sr_mcmc *mcmc = NULL;
    sr_mcmc_options_default(&options);
    options.seed = d->cell->train.seed;
    options.box = d->image ? 1 : d->plane ? sr_toy_window(d->toy) : 0;
    options.leapfrog = LEAPFROG;
    options.acceptance = 0.65;
    options.step_size = 0.1 / pow((double)d->dim, 1 / 4.0);
    float *x = sr_alloc(chains, d->dim * sizeof *x);
    if (!x)
        return SR_ERROR_MEMORY;
    sr_start_fill(d->dynamics.start, d->cell->train.seed, SR_DENSITY_EPOCH, 0, chains, d->dim, x);
    sr_status status = sr_mcmc_create(d->team, &options, chains, x, &mcmc);
    if (status == SR_OK)
        status = sr_mcmc_converge(mcmc, d->cell->density.long_steps, R_HAT, kept, draws, d->monitor,
                                  run);
    sr_mcmc_destroy(mcmc);
    sr_free(x);
    return status;
}

static sr_status judge_long(sr_densities *d, size_t chains, size_t n, float *draws) {
    sr_long_run run;
    quality found = {0};
    // draws in the order of time, each of all chains: the last n are the rows that are judged
    const size_t kept = (n + chains - 1) / chains;
    sr_status status = run_long(d, chains, kept, draws, &run);
    if (status != SR_OK)
        return status;
    const float *x = draws + (kept * chains - n) * d->dim;
    sr_record_add_metric(d->record, "long_r_hat", run.r_hat, chains);
    sr_record_add_metric(d->record, "long_effective", run.effective, chains);
    sr_record_add_metric(d->record, "long_steps", (double)run.steps, chains);
    sr_record_add_metric(d->record, "long_acceptance", run.acceptance, chains);
    status = judge(d, n, x, &found);
    for (size_t k = 0; status == SR_OK && k < found.count; k++)
        sr_density_add_value(d, "long_", &found.value[k]);
    return status == SR_OK ? sr_density_save(d, "long_run.npy", 2, (size_t[]){n, d->dim}, x)
                           : status;
}

// ---- log Z of images ----------------------------------------------------------------------------

static void add_bracket(sr_densities *d, const char *name, const sr_ais *found) {
    const sr_estimate estimate = {found->log_z, found->error, found->log_z - 1.96 * found->error,
                                  found->log_z + 1.96 * found->error};
    sr_record_add_estimate(d->record, name, &estimate, d->cell->density.ais_chains);
}

// exp(-E)/Z on the box: log Z from below by annealing forward, from above by annealing long-run
// states back; held-out rows under both.
static sr_status judge_ais(sr_densities *d, const float *states) {
    sr_ais_options options;
    sr_ais forward, reverse;
    sr_ais_options_default(&options);
    options.chains = d->cell->density.ais_chains;
    options.levels = d->cell->density.ais_levels;
    options.box = 1;
    options.seed = d->cell->train.seed;
    sr_status status = sr_ais_forward(d->team, &options, d->monitor, NULL, &forward);
    if (status != SR_OK)
        return status;
    add_bracket(d, "ais_log_z_low", &forward);
    sr_record_add_metric(d->record, "ais_effective", forward.effective, options.chains);
    sr_density_gibbs_rows(d, forward.log_z, 1);
    sr_density_add_mean(d, "ll_gibbs_high", d->gibbs); // too small a Z flatters
    sr_density_add_difference(d, "ll_gain", d->induced, d->gibbs);
    if (!states)
        return SR_OK;
    status = sr_ais_reverse(d->team, &options, d->monitor, states, &reverse);
    if (status != SR_OK)
        return status;
    add_bracket(d, "ais_log_z_high", &reverse);
    sr_density_gibbs_rows(d, reverse.log_z, 1);
    sr_density_add_mean(d, "ll_gibbs_low", d->gibbs);
    return SR_OK;
}

static sr_status judge_gibbs(sr_densities *d) {
    const sr_density_settings *asked = &d->cell->density;
    const size_t chains = asked->long_chains;
    size_t n = d->cell->samples;
    if (n > 100 * chains)
        n = 100 * chains;
    const size_t kept = chains ? (n + chains - 1) / chains : 0;
    float *draws = sr_alloc(kept * chains, d->dim * sizeof *draws);
    sr_status status = draws ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK && chains > 0)
        status = judge_long(d, chains, n, draws);
    if (status == SR_OK && d->image && asked->ais_chains > 0)
        status = judge_ais(d, kept * chains >= asked->ais_chains
                                  ? draws + (kept * chains - asked->ais_chains) * d->dim
                                  : NULL);
    sr_free(draws);
    return status;
}

// ---- trajectories -------------------------------------------------------------------------------

// States 0 .. K of a few chains in the plane, (chains, K + 1, 2): what the figure of the flow
// shows.
static sr_status save_trajectories(sr_densities *d) {
    enum { CHAINS = 24 };
    const size_t rows = d->dynamics.steps + 1, shape[3] = {CHAINS, rows, 2};
    float x[2 * CHAINS];
    float *path = sr_alloc(CHAINS * rows, 2 * sizeof *path);
    sr_dynamics one = d->dynamics;
    sr_status status = path ? SR_OK : SR_ERROR_MEMORY;
    one.steps = 1;
    sr_start_fill(d->dynamics.start, d->cell->train.seed, SR_DENSITY_EPOCH, 0, CHAINS, 2, x);
    for (size_t k = 0; status == SR_OK && k < rows; k++) {
        for (size_t i = 0; i < CHAINS; i++)
            memcpy(path + (i * rows + k) * 2, x + 2 * i, 2 * sizeof *x);
        status = sr_dynamics_run(d->team, &one, 0, 0, 0, CHAINS, x, NULL);
    }
    if (status == SR_OK)
        status = sr_density_save(d, "trajectories.npy", 3, shape, path);
    sr_free(path);
    return status;
}

sr_status sr_density_samples(sr_densities *d) {
    sr_status status = SR_OK;
    if (d->plane && d->folder)
        status = save_trajectories(d);
    if (status == SR_OK && d->cell->density.beyond > 1)
        status = judge_beyond(d);
    return status == SR_OK ? judge_gibbs(d) : status;
}
