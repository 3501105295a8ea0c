// One cell from training to its record. Which cells are run, and what becomes of the record, is in
// run.c.
#include "experiment/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Training data of the 2-D densities is one fixed sample: cells with other seeds learn from the
// same.
#define TOY_DATA_SEED 1
// Samples for judgement come from streams that no training iteration reaches.
#define SAMPLE_EPOCH (UINT64_MAX - 1)
#define CHUNK 1024 // chains between two looks at whether to stop
// Of an image cell's samples, in samples.npy: so many, or more where they fit into these bytes, so
// that cells can be compared by them later.
#define IMAGES_KEPT 1024
#define IMAGE_BYTES_KEPT (8u << 20)
#define TRAINED_SHARE 0.95 // progress: the rest is sampling and judging

typedef struct job {
    const sr_cell *cell;
    sr_results *results;
    const sr_run_options *options;
    const sr_monitor *monitor;
    sr_run_cache *cache;
    const char *what;
    unsigned threads;
    sr_net net;
    char folder[700];
    sr_record *record;
} job;

// ---- records ------------------------------------------------------------------------------------

static void describe_machine(const sr_cell *cell, unsigned threads, char *out, size_t size) {
    const sr_cpu *cpu = sr_cpu_get();
    const char *version = sr_engine_version(cell->train.engine);
    snprintf(out, size, "%s, %u thread%s, %s, %s%s%s, shortrun %s", cpu->brand, threads,
             threads == 1 ? "" : "s", sr_isa_name(cpu->active), sr_engine_name(cell->train.engine),
             *version ? " " : "", version, SR_VERSION);
}

sr_status sr_record_begin(const sr_cell *cell, unsigned threads, sr_record *out) {
    *out = (sr_record){.cell = *cell, .state = SR_CELL_DONE};
    out->metrics = sr_alloc(SR_VALUES_MAX, sizeof *out->metrics);
    out->timings = sr_alloc(SR_VALUES_MAX, sizeof *out->timings);
    describe_machine(cell, threads, out->machine, sizeof out->machine);
    return out->metrics && out->timings ? SR_OK : SR_ERROR_MEMORY;
}

static void add_value(sr_value *values, size_t *count, const char *name,
                      const sr_estimate *estimate, size_t n) {
    if (*count == SR_VALUES_MAX)
        return; // cannot happen: a cell has about fifteen of each
    sr_value *at = &values[(*count)++];
    snprintf(at->name, sizeof at->name, "%s", name);
    at->value = estimate->value;
    at->n = n;
    at->error = estimate->error;
    at->low = estimate->low;
    at->high = estimate->high;
}

void sr_record_add_metric(sr_record *record, const char *name, double value, size_t n) {
    const sr_estimate bare = {value, NAN, NAN, NAN};
    sr_record_add_estimate(record, name, &bare, n);
}

void sr_record_add_estimate(sr_record *record, const char *name, const sr_estimate *estimate,
                            size_t n) {
    add_value(record->metrics, &record->metric_count, name, estimate, n);
}

void sr_record_add_timing(sr_record *record, const char *name, double value) {
    const sr_estimate bare = {value, NAN, NAN, NAN};
    add_value(record->timings, &record->timing_count, name, &bare, 0);
}

static void finish_record(sr_record *record) {
    const time_t now = time(NULL);
    struct tm utc;
    sr_record_add_timing(record, "peak_memory_mb", (double)sr_peak_memory() / 1e6);
    if (gmtime_r(&now, &utc))
        strftime(record->finished, sizeof record->finished, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

// A trained energy that cannot be sampled from has diverged as well.
static void mark_diverged(sr_record *record, const char *message) {
    record->state = SR_CELL_DIVERGED;
    snprintf(record->message, sizeof record->message, "%s", message);
}

// ---- data ---------------------------------------------------------------------------------------

void sr_run_cache_clear(sr_run_cache *cache) {
    sr_dataset_clear(&cache->data);
    sr_reference_clear(&cache->reference);
    *cache = (sr_run_cache){0};
}

static sr_status load_data(job *j) {
    sr_run_cache *cache = j->cache;
    const sr_cell *cell = j->cell;
    if (strcmp(cache->dataset, cell->dataset) != 0 || cache->limit != cell->data_limit) {
        sr_dataset_clear(&cache->data);
        *cache->dataset = '\0';
        const sr_status status = sr_dataset_load(cell->dataset, j->options->data_folder, SR_TRAIN,
                                                 cell->data_limit, TOY_DATA_SEED, &cache->data);
        if (status != SR_OK)
            return status;
        snprintf(cache->dataset, sizeof cache->dataset, "%s", cell->dataset);
        cache->limit = cell->data_limit;
    }
    if (j->net.inputs != cache->data.dim)
        return sr_fail(SR_ERROR_ARGUMENT, "model '%s' takes %zu numbers, a sample of %s has %zu",
                       cell->model, j->net.inputs, cell->dataset, cache->data.dim);
    return SR_OK;
}

// ---- training -----------------------------------------------------------------------------------

static void train_progress(void *user, const char *what, const char *detail, double done,
                           double total) {
    const job *j = user;
    sr_monitor_progress(j->monitor, j->what, detail, total > 0 ? TRAINED_SHARE * done / total : 0,
                        1);
}

static void train_log(void *user, sr_level level, const char *line) {
    const job *j = user;
    sr_monitor_log(j->monitor, level, "%s", line);
}

static bool train_stop(void *user) {
    const job *j = user;
    return sr_monitor_stop(j->monitor);
}

// Trains to the end; theta (net.parameters) receives what sampling uses. On divergence SR_OK with
// the record's state saying so.
static sr_status train(job *j, float *theta) {
    char checkpoint[1024], curve_path[1024];
    sr_train_options options = j->cell->train;
    sr_trainer *trainer = NULL;
    sr_curve curve = {.file = -1};
    const sr_monitor monitor = {
        .user = j, .log = train_log, .progress = train_progress, .stop = train_stop};
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", j->folder);
    snprintf(curve_path, sizeof curve_path, "%s/curve.bin", j->folder);
    options.threads = j->threads;
    sr_status status = sr_trainer_create(&j->net, &j->cache->data, &options, &trainer);
    if (status == SR_OK)
        status = sr_curve_open(&curve, curve_path, trainer, options.iterations);
    if (status == SR_OK)
        status = sr_trainer_run(trainer, checkpoint, j->options->checkpoint_every, &monitor,
                                j->what, sr_curve_each, &curve);
    if (status == SR_ERROR_DIVERGED) {
        mark_diverged(j->record, sr_error_message());
        status = SR_OK;
    }
    if (status == SR_OK) {
        memcpy(theta, sr_trainer_parameters(trainer), j->net.parameters * sizeof *theta);
        status = sr_curve_record(&curve, j->threads, j->record);
    }
    sr_curve_close(&curve);
    sr_trainer_destroy(trainer);
    return status;
}

// ---- sampling -----------------------------------------------------------------------------------

sr_dynamics sr_cell_sampler(const sr_cell *cell) {
    sr_dynamics dynamics = cell->train.dynamics;
    if (cell->sample_steps > 0)
        dynamics.steps = cell->sample_steps;
    if (dynamics.start == SR_START_PERSISTENT)
        dynamics.start = dynamics.restart_from;
    return dynamics;
}

// x (samples, inputs): where all the chains start.
static void start_chains(const job *j, const sr_dynamics *dynamics, float *x) {
    const sr_train_options *train = &j->cell->train;
    const size_t n = j->cell->samples;
    if (dynamics->start == SR_START_DATA) // an order of the rows that training does not use
        sr_dataset_batch(&j->cache->data, train->seed ^ SAMPLE_EPOCH, 0, n,
                         (float)train->data_noise, x, NULL);
    else
        sr_start_fill(dynamics->start, train->seed, SAMPLE_EPOCH, 0, n, j->net.inputs, x);
}

// Adds a chunk's means, weighted by its share of the samples.
static void add_trace(size_t count, double share, const sr_trace *chunk, sr_record *record) {
    for (size_t k = 0; k < count; k++) {
        record->trace_energy[k] += share * chunk->energy[k];
        record->trace_gradient_norm[k] += share * chunk->gradient_norm[k];
        record->trace_displacement[k] += share * chunk->displacement[k];
    }
}

// x (samples, inputs), in chunks of whole tiles: the bits do not depend on the chunks.
static sr_status sample_chunks(job *j, sr_team *team, const sr_dynamics *dynamics, size_t tile,
                               const sr_trace *trace, float *x) {
    const size_t n = j->cell->samples, chunk = (CHUNK + tile - 1) / tile * tile;
    start_chains(j, dynamics, x);
    for (size_t first = 0; first < n; first += chunk) {
        const size_t rows = n - first < chunk ? n - first : chunk;
        float *at = x + first * j->net.inputs;
        if (sr_monitor_stop(j->monitor))
            return sr_fail(SR_ERROR_INTERRUPTED, "stopped while sampling");
        sr_monitor_progress(j->monitor, j->what, "sampling",
                            TRAINED_SHARE + 0.03 * (double)first / (double)n, 1);
        const sr_status status = sr_dynamics_run(team, dynamics, j->cell->train.seed, SAMPLE_EPOCH,
                                                 first, rows, at, trace);
        if (status != SR_OK)
            return status;
        add_trace(dynamics->steps + 1, (double)rows / (double)n, trace, j->record);
    }
    return SR_OK;
}

static sr_status sample(job *j, sr_team *team, size_t tile, float *x) {
    const sr_dynamics dynamics = sr_cell_sampler(j->cell);
    const size_t count = dynamics.steps + 1;
    sr_record *record = j->record;
    sr_status status = SR_ERROR_MEMORY;
    double *scratch = sr_alloc(count, 3 * sizeof *scratch);
    record->trace_energy = sr_alloc(count, sizeof(double));
    record->trace_gradient_norm = sr_alloc(count, sizeof(double));
    record->trace_displacement = sr_alloc(count, sizeof(double));
    if (scratch && record->trace_energy && record->trace_gradient_norm &&
        record->trace_displacement) {
        const sr_trace trace = {.energy = scratch,
                                .gradient_norm = scratch + count,
                                .displacement = scratch + 2 * count};
        record->trace_count = count;
        status = sample_chunks(j, team, &dynamics, tile, &trace, x);
    }
    sr_free(scratch);
    return status;
}

// ---- files --------------------------------------------------------------------------------------

static sr_status save_samples(const job *j, const float *x) {
    const sr_dataset *data = &j->cache->data;
    const size_t n = j->cell->samples, fit = IMAGE_BYTES_KEPT / (data->dim * sizeof *x);
    const size_t most = fit > IMAGES_KEPT ? fit : IMAGES_KEPT, kept = n < most ? n : most;
    char path[1024];
    snprintf(path, sizeof path, "%s/samples.npy", j->folder);
    if (data->height <= 1) {
        const size_t shape[2] = {n, data->dim};
        return sr_npy_save_f32(path, 2, shape, x);
    }
    const size_t shape[4] = {kept, data->channels, data->height, data->width};
    sr_status status = sr_npy_save_f32(path, 4, shape, x);
    snprintf(path, sizeof path, "%s/samples.png", j->folder);
    if (status == SR_OK && (data->channels == 1 || data->channels == 3))
        status = sr_png_save_grid(path, n < 64 ? n : 64, data->channels, data->height, data->width,
                                  x, -1, 1, 8, 2);
    return status;
}

// ---- the cell -----------------------------------------------------------------------------------

static bool all_finite(size_t n, const float *x) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return false;
    }
    return true;
}

static sr_status judge(job *j, sr_team *team, const float *x) {
    const sr_dataset *data = &j->cache->data;
    sr_monitor_progress(j->monitor, j->what, "judging", TRAINED_SHARE + 0.03, 1);
    if (data->toy)
        return sr_judge_toy(j->cell, j->options, data->toy_kind, team, x, j->folder, j->record);
    const sr_status status =
        sr_reference_load(&j->cache->reference, j->cell, j->options, j->monitor);
    return status == SR_OK ? sr_judge_images(j->cell, j->options, &j->cache->reference, x,
                                             j->monitor, j->record)
                           : status;
}

// An sr_judge: samples of the cell's data set, however many.
static sr_status judge_rows(void *user, size_t n, const float *x, sr_record *record) {
    job *j = user;
    sr_cell part = *j->cell;
    const sr_status status =
        sr_reference_load(&j->cache->reference, j->cell, j->options, j->monitor);
    part.samples = n;
    return status == SR_OK
               ? sr_judge_images(&part, j->options, &j->cache->reference, x, j->monitor, record)
               : status;
}

// What is under way, as the detail of the cell's own progress.
static void density_progress(void *user, const char *what, const char *detail, double done,
                             double total) {
    const job *j = user;
    char text[96];
    snprintf(text, sizeof text, "%s %.0f%%", what, total > 0 ? floor(100 * done / total) : 0);
    sr_monitor_progress(j->monitor, j->what, text, TRAINED_SHARE + 0.04, 1);
}

static sr_status judge_densities(job *j, sr_team *team) {
    if (j->cell->density.points == 0)
        return SR_OK;
    sr_monitor_progress(j->monitor, j->what, "densities", TRAINED_SHARE + 0.04, 1);
    const sr_monitor monitor = {
        .user = j, .log = train_log, .progress = density_progress, .stop = train_stop};
    return sr_density_judge(j->cell, team, j->options, j->folder, &monitor, judge_rows, j,
                            j->record);
}

// The cell's energy at the parameters theta and a team for it.
static sr_status make_team(const job *j, const float *theta, sr_energy **energy, sr_team **team) {
    const sr_train_options *train = &j->cell->train;
    const sr_status status =
        sr_energy_network(&j->net, train->engine, train->precision, train->tile, energy);
    if (status != SR_OK)
        return status;
    sr_energy_set_parameters(*energy, theta);
    return sr_team_create(*energy, j->threads, team);
}

static sr_status sample_and_judge(job *j, const float *theta) {
    sr_energy *energy = NULL;
    sr_team *team = NULL;
    float *x = sr_alloc(j->cell->samples, j->net.inputs * sizeof *x);
    sr_status status = x ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = make_team(j, theta, &energy, &team);
    if (status == SR_OK)
        status = sample(j, team, sr_energy_tile(energy), x);
    if (status == SR_ERROR_DIVERGED) { // the integrator gave up
        mark_diverged(j->record, sr_error_message());
        status = SR_OK;
        goto done;
    }
    if (status == SR_OK && !all_finite(j->cell->samples * j->net.inputs, x)) {
        mark_diverged(j->record,
                      "training ended, but samples of the trained energy are not finite");
        goto done;
    }
    if (status == SR_OK)
        status = save_samples(j, x);
    if (status == SR_OK)
        status = judge(j, team, x);
    if (status == SR_OK)
        status = judge_densities(j, team);
    if (status == SR_OK)
        status = sr_measure_steps(j->cell, &j->net, team, j->threads, j->record);
done:
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_free(x);
    return status;
}

sr_status sr_density_model(const sr_cell *cell, const float *theta, const sr_run_options *options,
                           const char *folder, const sr_monitor *monitor, sr_record *record) {
    sr_run_cache cache = {0};
    sr_energy *energy = NULL;
    sr_team *team = NULL;
    job j = {.cell = cell,
             .options = options,
             .monitor = monitor,
             .cache = &cache,
             .threads = sr_threads_resolve(options->threads),
             .record = record};
    sr_status status = sr_record_begin(cell, j.threads, record);
    if (status == SR_OK)
        status = sr_net_parse(cell->model, &j.net);
    if (status == SR_OK)
        status = make_team(&j, theta, &energy, &team);
    if (status == SR_OK)
        status = sr_density_judge(cell, team, options, folder, monitor, judge_rows, &j, record);
    if (status == SR_OK)
        finish_record(record);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_run_cache_clear(&cache);
    if (status != SR_OK)
        sr_record_clear(record);
    return status;
}

sr_status sr_cell_run(const sr_cell *cell, sr_results *results, const sr_run_options *options,
                      const sr_monitor *monitor, sr_run_cache *cache, const char *what,
                      sr_record *record) {
    job j = {.cell = cell,
             .results = results,
             .options = options,
             .monitor = monitor,
             .cache = cache,
             .what = what,
             .threads = sr_threads_resolve(options->threads),
             .record = record};
    float *theta = NULL;
    sr_results_cell_path(results, cell->hash, "", j.folder, sizeof j.folder);
    sr_status status = sr_record_begin(cell, j.threads, record);
    if (status == SR_OK)
        status = sr_net_parse(cell->model, &j.net);
    if (status == SR_OK)
        status = load_data(&j);
    if (status == SR_OK)
        status = sr_folder_make(j.folder);
    if (status == SR_OK && !(theta = sr_alloc(j.net.parameters, sizeof *theta)))
        status = SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = train(&j, theta);
    if (status == SR_OK && record->state == SR_CELL_DONE)
        status = sample_and_judge(&j, theta);
    if (status == SR_OK) {
        finish_record(record);
        sr_monitor_progress(monitor, what, record->state == SR_CELL_DONE ? "done" : "diverged", 1,
                            1);
    }
    sr_free(theta);
    return status;
}
