// Samples far beyond the training K, and those of long-run chains on the same energy: does the
// energy itself generate, or only its short run?
#include "experiment/density.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BEYOND_SAMPLES 2000 // at most so many are judged at every number of steps

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
    char file[1100];
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
        if (filled + 1 == count) {
            char name[64];
            snprintf(name, sizeof name, "beyond_%s", found.value[0].name);
            const sr_value *v = &found.value[0];
            const sr_estimate last = {v->value, v->error, v->low, v->high};
            sr_record_add_estimate(d->record, name, &last, v->n);
        }
    }
    if (status == SR_OK && d->folder && filled > 0) {
        const size_t shape[2] = {filled, 5};
        snprintf(file, sizeof file, "%s/beyond.npy", d->folder);
        status = sr_npy_save_f32(file, 2, shape, rows);
    }
    sr_free(x);
    sr_free(energy);
    return status;
}

sr_status sr_density_samples(sr_densities *d) {
    return d->cell->density.beyond > 1 ? judge_beyond(d) : SR_OK;
}
