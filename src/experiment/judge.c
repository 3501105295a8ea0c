// Judging a cell's samples: 2-D points against a fresh sample of their density, images against the
// first rows of the training set, in the features of the data set's classifier where there is one.
#include "experiment/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define UNIFORM_SEED 0x756e69666full

// ---- 2-D points ---------------------------------------------------------------------------------

// KL(data || exp(-E)/Z) over the window, and the energy on the grid as a file.
static sr_status judge_gibbs(sr_toy toy, sr_team *team, size_t n, const float *data,
                             const char *folder, sr_record *record) {
    enum { CELLS = SR_TOY_GRID * SR_TOY_GRID };
    const size_t shape[2] = {SR_TOY_GRID, SR_TOY_GRID};
    char path[1024];
    sr_estimate kl;
    sr_status status = SR_ERROR_MEMORY;
    float *grid = sr_alloc(CELLS, 2 * sizeof *grid);
    float *energy = sr_alloc(CELLS, sizeof *energy);
    double *log_q = sr_alloc(CELLS, sizeof *log_q);
    if (!grid || !energy || !log_q)
        goto done;
    sr_toy_grid(toy, grid);
    sr_team_evaluate(team, CELLS, grid, energy, NULL);
    for (size_t i = 0; i < CELLS; i++)
        log_q[i] = -(double)energy[i];
    snprintf(path, sizeof path, "%s/energy.npy", folder);
    status = sr_npy_save_f32(path, 2, shape, energy);
    if (status == SR_OK)
        status = sr_toy_kl_grid_estimate(toy, n, data, log_q, SR_TOY_JUDGE_SEED, &kl);
    if (status == SR_OK)
        sr_record_add_estimate(record, "kl_gibbs", &kl, n);
done:
    sr_free(grid);
    sr_free(energy);
    sr_free(log_q);
    return status;
}

// Of too few points there is a value without an interval.
static void add_interval(sr_record *record, const char *name, double value, sr_estimate interval,
                         size_t n) {
    interval.value = value;
    sr_record_add_estimate(record, name, &interval, n);
}

sr_status sr_judge_toy(const sr_cell *cell, const sr_run_options *options, sr_toy toy,
                       sr_team *team, const float *x, const char *folder, sr_record *record) {
    const size_t n = cell->samples, shape[2] = {n, 2};
    char path[1024];
    sr_toy_scores scores;
    float *data = sr_alloc(n, 2 * sizeof *data);
    if (!data)
        return SR_ERROR_MEMORY;
    sr_toy_sample(toy, SR_TOY_JUDGE_SEED, 0, n, data);
    snprintf(path, sizeof path, "%s/data.npy", folder);
    sr_status status = sr_npy_save_f32(path, 2, shape, data);
    if (status == SR_OK)
        status = sr_toy_judge(toy, n, data, n, x, SR_TOY_JUDGE_SEED, options->threads, &scores);
    if (status == SR_OK) {
        add_interval(record, "kl", scores.kl, scores.interval.kl, n);
        add_interval(record, "kl_reverse", scores.kl_reverse, scores.interval.kl_reverse, n);
        add_interval(record, "kl_true", scores.kl_true, scores.interval.kl_true, n);
        add_interval(record, "kl_true_reverse", scores.kl_true_reverse,
                     scores.interval.kl_true_reverse, n);
        add_interval(record, "mmd2", scores.mmd2, scores.interval.mmd2, n);
        add_interval(record, "sliced_w2", scores.sliced_w2, scores.interval.sliced_w2, n);
        add_interval(record, "w2", scores.w2, scores.interval.w2, scores.w2_n);
        if (scores.mode_count > 0) {
            add_interval(record, "modes_covered", scores.modes_covered,
                         scores.interval.modes_covered, n);
            sr_record_add_metric(record, "mode_count", (double)scores.mode_count, 0);
            add_interval(record, "high_quality", scores.high_quality, scores.interval.high_quality,
                         n);
        }
        status = judge_gibbs(toy, team, n, data, folder, record);
    }
    sr_free(data);
    return status;
}

// ---- the reference of images --------------------------------------------------------------------

void sr_reference_clear(sr_reference *reference) {
    sr_dataset_clear(&reference->rows);
    sr_classifier_destroy(reference->classifier);
    sr_free(reference->features);
    *reference = (sr_reference){0};
}

// How far uniform noise is from the data: what a score is to be held against.
static sr_status judge_uniform(sr_reference *reference, const sr_run_options *options,
                               const sr_monitor *monitor) {
    const size_t n = reference->rows.count, dim = reference->rows.dim;
    const size_t features = sr_classifier_features(reference->classifier);
    sr_metric_options which;
    sr_metric_values values;
    sr_status status = SR_ERROR_MEMORY;
    float *noise = sr_alloc(n, dim * sizeof *noise);
    float *noise_features = sr_alloc(n, features * sizeof *noise_features);
    if (noise && noise_features) {
        sr_start_fill(SR_START_UNIFORM, UNIFORM_SEED, 0, 0, n, dim, noise);
        status = sr_classifier_features_of(reference->classifier, n, noise, noise_features, NULL);
    }
    sr_metric_options_default(&which);
    which.which = 1u << SR_FRECHET;
    which.threads = options->threads;
    which.monitor = monitor;
    if (status == SR_OK)
        status = sr_metrics(n, reference->features, n, noise_features, features, &which, &values);
    if (status == SR_OK)
        reference->uniform = (sr_estimate){values.value[SR_FRECHET], values.error[SR_FRECHET],
                                           values.low[SR_FRECHET], values.high[SR_FRECHET]};
    sr_free(noise);
    sr_free(noise_features);
    return status;
}

static sr_status load_classifier(sr_reference *reference, const sr_run_options *options,
                                 const sr_monitor *monitor) {
    char path[1024];
    const sr_dataset *rows = &reference->rows;
    if (sr_classifier_find(reference->dataset, path, sizeof path) != SR_OK) {
        if (rows->height > 1)
            sr_monitor_log(monitor, SR_LEVEL_WARNING,
                           "%s: judged by pixels only, no Frechet distance: %s", reference->dataset,
                           sr_error_message());
        return SR_OK;
    }
    sr_status status =
        sr_classifier_load(path, SR_ENGINE_AUTO, options->threads, &reference->classifier);
    if (status != SR_OK)
        return status;
    const sr_net *net = sr_classifier_net(reference->classifier);
    if (net->inputs != rows->dim)
        return sr_fail(SR_ERROR_FORMAT, "%s: a classifier of %zu numbers, a sample of %s has %zu",
                       path, net->inputs, reference->dataset, rows->dim);
    snprintf(reference->note, sizeof reference->note, "%.40s classifier %.8s, %.1f%% test accuracy",
             reference->dataset, sr_classifier_hash(reference->classifier),
             100 * sr_classifier_accuracy(reference->classifier));
    reference->features =
        sr_alloc(rows->count, sr_classifier_features(reference->classifier) * sizeof(float));
    if (!reference->features)
        return SR_ERROR_MEMORY;
    status = sr_classifier_features_of(reference->classifier, rows->count, rows->x,
                                       reference->features, NULL);
    return status == SR_OK ? judge_uniform(reference, options, monitor) : status;
}

sr_status sr_reference_load(sr_reference *reference, const sr_cell *cell,
                            const sr_run_options *options, const sr_monitor *monitor) {
    if (strcmp(reference->dataset, cell->dataset) == 0 && reference->wanted == cell->samples)
        return SR_OK;
    sr_reference_clear(reference);
    sr_status status = sr_dataset_load(cell->dataset, options->data_folder, SR_TRAIN, cell->samples,
                                       1, &reference->rows);
    if (status == SR_OK) {
        snprintf(reference->dataset, sizeof reference->dataset, "%s", cell->dataset);
        status = load_classifier(reference, options, monitor);
    }
    if (status != SR_OK)
        sr_reference_clear(reference);
    else
        reference->wanted = cell->samples;
    return status;
}

// ---- images -------------------------------------------------------------------------------------

static void add_metrics(const sr_metric_values *values, uint32_t which, sr_record *record) {
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        if (which & 1u << m)
            sr_record_add_estimate(
                record, sr_metric_name((sr_metric)m),
                &(sr_estimate){values->value[m], values->error[m], values->low[m], values->high[m]},
                values->n_fake);
    }
}

static sr_status judge_features(const sr_cell *cell, const sr_run_options *options,
                                const sr_reference *reference, const float *x,
                                const sr_monitor *monitor, sr_record *record) {
    const size_t n = cell->samples, features = sr_classifier_features(reference->classifier);
    const size_t classes = sr_classifier_net(reference->classifier)->outputs;
    sr_metric_options which;
    sr_metric_values values;
    sr_estimate entropy = {0};
    sr_status status = SR_ERROR_MEMORY;
    float *found = sr_alloc(n, features * sizeof *found);
    float *logits = sr_alloc(n, classes * sizeof *logits);
    if (found && logits)
        status = sr_classifier_features_of(reference->classifier, n, x, found, logits);
    sr_metric_options_default(&which);
    which.threads = options->threads;
    which.monitor = monitor;
    which.which = 1u << SR_FRECHET | 1u << SR_KID | 1u << SR_PRECISION | 1u << SR_RECALL |
                  1u << SR_DENSITY | 1u << SR_COVERAGE;
    if (status == SR_OK)
        status = sr_metrics(reference->rows.count, reference->features, n, found, features, &which,
                            &values);
    if (status == SR_OK)
        status = sr_class_histogram(n, classes, logits, NULL, NULL, NULL, &entropy);
    if (status == SR_OK) {
        add_metrics(&values, which.which, record);
        sr_record_add_estimate(record, "frechet_uniform", &reference->uniform,
                               reference->rows.count);
        sr_record_add_estimate(record, "class_entropy", &entropy, n);
        snprintf(record->features, sizeof record->features, "%s", reference->note);
    }
    sr_free(found);
    sr_free(logits);
    return status;
}

sr_status sr_judge_images(const sr_cell *cell, const sr_run_options *options,
                          const sr_reference *reference, const float *x, const sr_monitor *monitor,
                          sr_record *record) {
    const size_t n = cell->samples, dim = reference->rows.dim;
    const bool image = reference->rows.height > 1;
    sr_metric_options which;
    sr_metric_values values;
    float *clamped = sr_alloc(n, dim * sizeof *clamped);
    if (!clamped)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n * dim; i++)
        clamped[i] = image ? fminf(fmaxf(x[i], -1), 1) : x[i];
    sr_metric_options_default(&which);
    which.threads = options->threads;
    which.monitor = monitor;
    which.which = 1u << SR_SLICED_W2;
    if (!reference->classifier)
        which.which |= 1u << SR_MMD2_RBF | 1u << SR_ENERGY_DISTANCE | 1u << SR_ONE_NN_ACCURACY;
    sr_status status = SR_OK;
    if (reference->classifier)
        status = judge_features(cell, options, reference, clamped, monitor, record);
    if (status == SR_OK)
        status =
            sr_metrics(reference->rows.count, reference->rows.x, n, clamped, dim, &which, &values);
    if (status == SR_OK)
        add_metrics(&values, which.which, record);
    sr_free(clamped);
    return status;
}
