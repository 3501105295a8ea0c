// See fabricate.h.
#include "fabricate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *old, size_t count, size_t size) {
    void *bigger = old ? sr_realloc(old, count, count + 1, size) : sr_alloc(1, size);
    if (!bigger)
        abort();
    return bigger;
}

sr_record *made_add(made_set *made, const char *dataset, size_t steps, double step_size,
                    double noise, uint64_t seed) {
    if (made->count == made->capacity) {
        size_t capacity = made->capacity ? 2 * made->capacity : 64;
        made->records = made->capacity ? sr_realloc(made->records, made->capacity, capacity,
                                                    sizeof *made->records)
                                       : sr_alloc(capacity, sizeof *made->records);
        if (!made->records)
            abort();
        made->capacity = capacity;
    }
    sr_record *record = &made->records[made->count++];
    memset(record, 0, sizeof *record);
    sr_cell *cell = &record->cell;
    record->state = SR_CELL_DONE;
    snprintf(cell->dataset, sizeof cell->dataset, "%s", dataset);
    snprintf(cell->group, sizeof cell->group, "main");
    snprintf(cell->model, sizeof cell->model, "mlp 2-128-128-1 silu");
    snprintf(cell->hash, sizeof cell->hash, "%032zx", made->count);
    snprintf(record->machine, sizeof record->machine, "A CPU <of tests>, 2 threads, scalar engine");
    cell->train.seed = seed;
    cell->train.iterations = 600;
    cell->train.batch = 64;
    cell->train.rate = 1e-3;
    cell->train.beta2 = 0.999;
    cell->train.dynamics = (sr_dynamics){.steps = steps,
                                         .step_size = step_size,
                                         .noise = noise,
                                         .noise_last = true,
                                         .start = SR_START_GAUSSIAN};
    cell->train.engine = SR_ENGINE_SCALAR;
    cell->samples = 2000;
    return record;
}

static sr_value *add_value(sr_value **values, size_t *count, const char *name, double value,
                           size_t n) {
    *values = grown(*values, *count, sizeof **values);
    sr_value *new = &(*values)[(*count)++];
    snprintf(new->name, sizeof new->name, "%s", name);
    new->value = value;
    new->n = n;
    new->error = new->low = new->high = NAN;
    return new;
}

void made_metric(sr_record *record, const char *name, double value, size_t n) {
    add_value(&record->metrics, &record->metric_count, name, value, n);
}

void made_interval(sr_record *record, const char *name, double value, double error, size_t n) {
    sr_value *new = add_value(&record->metrics, &record->metric_count, name, value, n);
    new->error = error;
    new->low = value - 2 * error;
    new->high = value + 2 * error;
}

void made_timing(sr_record *record, const char *name, double value) {
    add_value(&record->timings, &record->timing_count, name, value, 0);
}

void made_diverge(sr_record *record, const char *message) {
    record->state = SR_CELL_DIVERGED;
    record->metric_count = 0;
    snprintf(record->message, sizeof record->message, "%s", message);
}

void made_clear(made_set *made) {
    sr_records_destroy(made->records, made->count);
    *made = (made_set){0};
}

// ---- a whole experiment -------------------------------------------------------------------------

// Uniform on [0, 1), the same on every machine.
static double draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 33) / 2147483648.0;
}

static double draw_normal(uint64_t *state) {
    double sum = 0; // of twelve uniform numbers: good enough for pictures
    for (int i = 0; i < 12; i++)
        sum += draw(state);
    return sum - 6;
}

static void add_timings(sr_record *record, double step_ms) {
    double k = (double)record->cell.train.dynamics.steps;
    made_timing(record, "step_ms", step_ms);
    made_timing(record, "iteration_ms", k * step_ms + 2.1 * step_ms);
    made_timing(record, "chain_steps_per_s", 64 / step_ms * 1e3);
    made_timing(record, "forward_ms", 0.42 * k * step_ms);
    made_timing(record, "backward_data_ms", 0.47 * k * step_ms);
    made_timing(record, "backward_weights_ms", 1.1 * step_ms);
    made_timing(record, "noise_update_ms", 0.06 * k * step_ms);
    made_timing(record, "optimiser_ms", 0.12);
    made_timing(record, "gflops", 61.5);
    made_timing(record, "peak_gflops", 216);
    made_timing(record, "peak_share", 61.5 / 216);
    made_timing(record, "peak_memory_mb", 182);
}

static void add_curves(sr_record *record, size_t points, uint64_t *state) {
    size_t trace = record->cell.train.dynamics.steps + 1;
    record->curve_iteration = sr_alloc(points, sizeof(double));
    record->curve_gap = sr_alloc(points, sizeof(double));
    record->curve_gradient_norm = sr_alloc(points, sizeof(double));
    record->trace_energy = sr_alloc(trace, sizeof(double));
    record->trace_gradient_norm = sr_alloc(trace, sizeof(double));
    record->trace_displacement = sr_alloc(trace, sizeof(double));
    record->curve_count = points;
    for (size_t i = 0; i < points; i++) {
        double t = (double)(i + 1);
        record->curve_iteration[i] = t;
        record->curve_gap[i] = -3 * exp(-t / 60) + 0.4 * draw_normal(state);
        record->curve_gradient_norm[i] = 1;
    }
    record->trace_count = trace;
    for (size_t k = 0; k < trace; k++) {
        double share = (double)k / (double)(trace - 1);
        record->trace_energy[k] =
            7 - 4 * (1 - exp(-3 * share)) * (1 + record->cell.train.dynamics.noise);
    }
}

static void add_toy(made_set *made, size_t steps, double noise, uint64_t seed, uint64_t *state) {
    sr_record *record = made_add(made, "eight_gaussians", steps, 0.1, noise, seed);
    double base = steps == 5 ? 0.55 : steps == 10 ? 0.28 : 0.2;
    made_metric(record, "kl", base - 0.05 * noise + 0.02 * draw(state), 2000);
    made_metric(record, "kl_reverse", 0.8 * base, 2000);
    made_metric(record, "kl_gibbs", 1.9 - 2.5 * noise + 0.05 * draw(state), 2000);
    made_metric(record, "modes_covered", 8, 2000);
    made_metric(record, "mode_count", 8, 0);
    made_metric(record, "high_quality", 0.9 - noise / 3 + 0.01 * draw(state), 2000);
    made_metric(record, "mmd2", 0.004 + 0.001 * draw(state), 2000);
    made_metric(record, "sliced_w2", 0.1 + 0.02 * draw(state), 2000);
    made_metric(record, "w2", 0.25 + base, 2000);
    add_timings(record, 0.31 + 0.005 * draw(state));
    add_curves(record, 600, state);
}

static void add_image(made_set *made, size_t steps, double noise, bool matched, uint64_t seed,
                      uint64_t *state) {
    sr_record *record = made_add(made, "fashion_mnist", steps, 10, noise, seed);
    sr_cell *cell = &record->cell;
    snprintf(cell->model, sizeof cell->model, "convnet 1x28x28 nf=8 leaky_relu");
    snprintf(record->features, sizeof record->features,
             "fashion_mnist classifier, 91.2%% accuracy");
    cell->data_noise_mode = matched ? SR_DATA_NOISE_MATCHED : SR_DATA_NOISE_FIXED;
    cell->train.data_noise = matched ? fmax(0.03, noise) : 0.03;
    cell->train.dynamics.start = SR_START_UNIFORM;
    add_curves(record, 600, state);
    if (noise > 0.05 && !matched) {
        for (size_t i = 300; i < 600; i++)
            record->curve_gap[i] = -exp((double)(i - 300) / 25);
        record->curve_count = steps == 20 ? 520 : 600;
    }
    add_timings(record, 5.6 + 0.1 * draw(state));
    bool all = noise > 0.05 && !matched && steps == 20;
    bool one = noise > 0.05 && !matched && steps == 10 && seed == 2;
    if (all || one) {
        record->trace_count = 0;
        made_diverge(record, "iteration 520: energy gap -6634.2 is beyond the bound 1000");
        return;
    }
    double base = steps == 5 ? 180 : steps == 10 ? 110 : 66;
    made_metric(record, "frechet", base + 120 * noise + 12 * draw(state), 2048);
    made_metric(record, "frechet_uniform", 479.2, 2048);
    made_metric(record, "kid", 0.1 + 0.02 * draw(state), 2048);
    made_metric(record, "precision", 0.6 + 0.05 * draw(state), 2048);
    made_metric(record, "recall", 0.2 + 0.05 * draw(state), 2048);
    made_metric(record, "class_entropy", 2.2 + 0.05 * draw(state), 2048);
}

void made_experiment(made_set *made, size_t seeds) {
    static const size_t steps[] = {5, 10, 20};
    static const double toy_noise[] = {0, 0.1, 0.2}, image_noise[] = {0, 0.03, 0.1};
    uint64_t state = 7;
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 3; i++) {
            for (uint64_t seed = 1; seed <= seeds; seed++) {
                add_toy(made, steps[k], toy_noise[i], seed, &state);
                add_image(made, steps[k], image_noise[i], false, seed, &state);
                if (image_noise[i] > 0.05)
                    add_image(made, steps[k], image_noise[i], true, seed, &state);
            }
        }
    }
}

// ---- files --------------------------------------------------------------------------------------

static void save(const char *folder, const char *name, size_t rank, const size_t *shape,
                 const float *x) {
    char path[4608];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sr_npy_save_f32(path, rank, shape, x))
        abort();
}

static void mixture(size_t n, double deviation, uint64_t *state, float *x) {
    for (size_t i = 0; i < n; i++) {
        double angle = floor(8 * draw(state)) * acos(-1) / 4;
        x[2 * i] = (float)(2 * cos(angle) + deviation * draw_normal(state));
        x[2 * i + 1] = (float)(2 * sin(angle) + deviation * draw_normal(state));
    }
}

static void toy_files(const sr_record *record, const char *folder, uint64_t *state) {
    const size_t n = record->cell.samples, shape[2] = {n, 2};
    const size_t grid_shape[2] = {SR_TOY_GRID, SR_TOY_GRID};
    float *x = sr_alloc(n, 2 * sizeof *x),
          *grid = sr_alloc(SR_TOY_GRID * SR_TOY_GRID, 2 * sizeof *x);
    float *energy = sr_alloc(SR_TOY_GRID * SR_TOY_GRID, sizeof *x);
    mixture(n, 0.2, state, x);
    save(folder, "data.npy", 2, shape, x);
    mixture(n, 0.2 + 2.0 / (double)record->cell.train.dynamics.steps / 4, state, x);
    save(folder, "samples.npy", 2, shape, x);
    sr_toy_grid(SR_EIGHT_GAUSSIANS, grid);
    for (size_t i = 0; i < SR_TOY_GRID * SR_TOY_GRID; i++) // a ring that is open on the right
        energy[i] = 3 * powf(hypotf(grid[2 * i], grid[2 * i + 1]) - 2, 2) + 0.5f * grid[2 * i];
    save(folder, "energy.npy", 2, grid_shape, energy);
    sr_free(x);
    sr_free(grid);
    sr_free(energy);
}

static void image_files(const char *folder, uint64_t *state) {
    const size_t n = 40, shape[4] = {n, 1, 28, 28};
    float *x = sr_alloc(n, 28 * 28 * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        double cx = 8 + 12 * draw(state), cy = 8 + 12 * draw(state), r = 4 + 4 * draw(state);
        for (size_t p = 0; p < 28 * 28; p++) {
            double d = hypot((double)(p % 28) - cx, (double)(p / 28) - cy);
            x[i * 28 * 28 + p] = (float)(d < r ? 0.9 : -0.95 + 0.1 * draw(state));
        }
    }
    save(folder, "samples.npy", 4, shape, x);
    sr_free(x);
}

void made_files(const made_set *made, const char *folder) {
    uint64_t state = 99;
    for (size_t i = 0; i < made->count; i++) {
        const sr_record *record = &made->records[i];
        char path[4352];
        snprintf(path, sizeof path, "%s/cells/%s", folder, record->cell.hash);
        if (record->state != SR_CELL_DONE)
            continue;
        if (sr_folder_make(path))
            abort();
        if (strcmp(record->cell.dataset, "eight_gaussians") == 0)
            toy_files(record, path, &state);
        else
            image_files(path, &state);
    }
}
