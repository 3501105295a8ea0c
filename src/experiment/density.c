// The densities of a trained energy: the likelihood of held-out rows under the density that the
// noise-free dynamics induce and under exp(-E)/Z, the eigenvalues along trajectories, and in the
// plane both densities on a grid beside the true one. What long runs and long chains draw is in
// density_samples.c.
#include "experiment/density.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The held-out points of a 2-D density: neither training nor judging has seen them.
#define HELD_OUT_SEED 0x68656c646f7574ull

// ---- held-out rows ------------------------------------------------------------------------------

// 8-bit levels in [-1, 1] become intervals of equal width that fill it: a density of discrete data
// is unbounded, that of dequantised data bounds the discrete likelihood from below (Theis et al.
// 2016).
static void dequantise(size_t n, size_t dim, float *x) {
    const sr_kernels *kernels = sr_kernels_get();
    const sr_stream stream = sr_stream_make(HELD_OUT_SEED, SR_PURPOSE_DATA_NOISE, 0);
    float share[1024];
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < dim; at += 1024) {
            const size_t count = dim - at < 1024 ? dim - at : 1024;
            kernels->uniform(stream, i, (uint32_t)(at / 1024), count, share);
            for (size_t j = 0; j < count; j++) {
                float *value = &x[i * dim + at + j];
                const float level = rintf((*value + 1) * 127.5f);
                *value = -1 + (level + share[j]) / 128;
            }
        }
    }
}

static sr_status load_toy_points(sr_densities *d) {
    d->n = d->cell->density.points;
    d->x = sr_alloc(d->n, 2 * sizeof *d->x);
    if (!d->x)
        return SR_ERROR_MEMORY;
    sr_toy_sample(d->toy, HELD_OUT_SEED, 0, d->n, d->x);
    return SR_OK;
}

static sr_status load_test_rows(sr_densities *d) {
    sr_dataset test;
    sr_status status = sr_dataset_load(d->cell->dataset, d->options->data_folder, SR_TEST,
                                       d->cell->density.points, 1, &test);
    if (status != SR_OK)
        return status;
    d->n = test.count;
    d->dim = test.dim;
    d->image = test.height > 1;
    d->x = sr_alloc(test.count, test.dim * sizeof *d->x);
    if (d->x) {
        memcpy(d->x, test.x, test.count * test.dim * sizeof *d->x);
        if (d->image)
            dequantise(d->n, d->dim, d->x);
    } else {
        status = SR_ERROR_MEMORY;
    }
    sr_dataset_clear(&test);
    return status;
}

// ---- likelihoods --------------------------------------------------------------------------------

// The mean of the finite values (a row that could not be inverted has none) with its standard error
// and 95% interval; how many there are.
static size_t mean_of(size_t n, const double *value, sr_estimate *out) {
    size_t count = 0;
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(value[i]))
            sum += value[i], count++;
    const double mean = count ? sum / (double)count : (double)NAN;
    for (size_t i = 0; i < n; i++)
        if (isfinite(value[i]))
            square += (value[i] - mean) * (value[i] - mean);
    const double error =
        count > 1 ? sqrt(square / (double)(count - 1) / (double)count) : (double)NAN;
    *out = (sr_estimate){mean, error, mean - 1.96 * error, mean + 1.96 * error};
    return count;
}

void sr_density_add_mean(sr_densities *d, const char *name, const double *value) {
    sr_estimate estimate;
    const size_t count = mean_of(d->n, value, &estimate);
    if (count > 0)
        sr_record_add_estimate(d->record, name, &estimate, count);
}

void sr_density_add_difference(sr_densities *d, const char *name, const double *a,
                               const double *b) {
    for (size_t i = 0; i < d->n; i++)
        d->scratch[i] = a[i] - b[i];
    sr_density_add_mean(d, name, d->scratch);
}

void sr_density_add_value(sr_densities *d, const char *prefix, const sr_value *value) {
    const sr_estimate estimate = {value->value, value->error, value->low, value->high};
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, value->name);
    sr_record_add_estimate(d->record, name, &estimate, value->n);
}

sr_status sr_density_save(const sr_densities *d, const char *name, size_t rank, const size_t *shape,
                          const float *x) {
    char file[1100];
    if (!d->folder)
        return SR_OK;
    snprintf(file, sizeof file, "%s/%s", d->folder, name);
    return sr_npy_save_f32(file, rank, shape, x);
}

// Mean log p_k of the rows inverted through all steps, for every k, with its 95% interval.
static sr_status save_path(sr_densities *d, double *path) {
    const size_t rows = d->dynamics.steps + 1, shape[2] = {rows, 3};
    float *out = sr_alloc(rows, 3 * sizeof *out);
    if (!out)
        return SR_ERROR_MEMORY;
    for (size_t k = 0; k < rows; k++) {
        sr_estimate mean;
        for (size_t i = 0; i < d->n; i++)
            path[k * d->n + i] = d->failed[i] ? (double)NAN : path[k * d->n + i];
        mean_of(d->n, path + k * d->n, &mean);
        out[3 * k] = (float)mean.value;
        out[3 * k + 1] = (float)mean.low;
        out[3 * k + 2] = (float)mean.high;
    }
    const sr_status status = sr_density_save(d, "density_path.npy", 2, shape, out);
    sr_free(out);
    return status;
}

// Wilson's interval of a share.
static sr_estimate share_of(size_t count, size_t n) {
    const double p = (double)count / (double)n, z = 1.96, z2 = z * z / (double)n;
    const double middle = (p + z2 / 2) / (1 + z2);
    const double half = z * sqrt(p * (1 - p) / (double)n + z2 / (double)n / 4) / (1 + z2);
    return (sr_estimate){p, sqrt(p * (1 - p) / (double)n), fmax(middle - half, 0),
                         fmin(middle + half, 1)};
}

static sr_status judge_induced(sr_densities *d) {
    const size_t n = d->n, steps = d->dynamics.steps;
    double *path = sr_alloc(n, (steps + 1) * sizeof *path);
    double *error = sr_alloc(n, 2 * sizeof *error), *residual = error + n;
    uint32_t *iterations = sr_alloc(n, sizeof *iterations);
    sr_status status = path && error && iterations ? SR_OK : SR_ERROR_MEMORY;
    sr_induced found = {.log_density = d->induced,
                        .error = error,
                        .path = path,
                        .failed = d->failed,
                        .residual = residual,
                        .iterations = iterations};
    const double begin = sr_seconds();
    if (status == SR_OK)
        status = sr_induced_backward(d->team, &d->dynamics, &d->how, n, d->x, d->monitor, &found);
    if (status == SR_OK) {
        const double seconds = sr_seconds() - begin;
        size_t lost = 0, gradients = 0;
        double squares = 0, worst = 0;
        for (size_t i = 0; i < n; i++) {
            lost += d->failed[i] != 0;
            gradients += iterations[i];
            if (d->failed[i])
                continue;
            squares += error[i] * error[i];
            worst = fmax(worst, residual[i]);
        }
        const sr_estimate share = share_of(lost, n);
        sr_record_add_estimate(d->record, "not_inverted", &share, n);
        if (lost < n) {
            sr_record_add_metric(d->record, "inversion_residual", worst, n - lost);
            sr_record_add_metric(d->record, "inversion_gradients",
                                 (double)gradients / (double)n / (double)steps, n);
        }
        if (lost < n && d->how.method != SR_LOG_DET_EXACT)
            sr_record_add_metric(d->record, "probe_error", sqrt(squares) / (double)(n - lost),
                                 n - lost);
        sr_record_add_timing(d->record, "induced_row_ms", 1e3 * seconds / (double)n);
        sr_density_add_mean(d, "ll_induced", d->induced);
        status = d->folder ? save_path(d, path) : SR_OK;
    }
    sr_free(path);
    sr_free(error);
    sr_free(iterations);
    return status;
}

// -log2 p per dimension of 8-bit data: the density is that of values in [-1, 1], 128 levels a unit.
static void add_bits(sr_densities *d, const char *name, const double *log_density) {
    for (size_t i = 0; i < d->n; i++)
        d->scratch[i] = 7 - log_density[i] / ((double)d->dim * M_LN2);
    sr_density_add_mean(d, name, d->scratch);
}

// ---- the range of eigenvalues along the sampler's trajectories ----------------------------------

static sr_status save_eigenvalues(const sr_densities *d, size_t n, const double *smallest,
                                  const double *largest) {
    const size_t steps = d->dynamics.steps, shape[2] = {steps, 4};
    float *out = sr_alloc(steps, 4 * sizeof *out);
    if (!out)
        return SR_ERROR_MEMORY;
    for (size_t k = 0; k < steps; k++) {
        double low = INFINITY, high = -INFINITY, low_sum = 0, high_sum = 0;
        for (size_t i = 0; i < n; i++) {
            low = fmin(low, smallest[k * n + i]);
            high = fmax(high, largest[k * n + i]);
            low_sum += smallest[k * n + i];
            high_sum += largest[k * n + i];
        }
        out[4 * k] = (float)low;
        out[4 * k + 1] = (float)(low_sum / (double)n);
        out[4 * k + 2] = (float)(high_sum / (double)n);
        out[4 * k + 3] = (float)high;
    }
    const sr_status status = sr_density_save(d, "eigenvalues.npy", 2, shape, out);
    sr_free(out);
    return status;
}

static void add_eigenvalues(sr_densities *d, size_t states, const double *smallest,
                            const double *largest) {
    double low = INFINITY, high = -INFINITY;
    size_t beyond = 0;
    for (size_t i = 0; i < states; i++) {
        low = fmin(low, smallest[i]);
        high = fmax(high, largest[i]);
        beyond += !(smallest[i] > -1 && largest[i] < 1);
    }
    const sr_estimate share = share_of(beyond, states);
    sr_record_add_metric(d->record, "s_lambda_smallest", low, states);
    sr_record_add_metric(d->record, "s_lambda_largest", high, states);
    sr_record_add_estimate(d->record, "beyond_one", &share, states);
}

static sr_status judge_eigenvalues(sr_densities *d) {
    const size_t n = d->dim == 2 ? 512 : 32, states = n * d->dynamics.steps;
    sr_density_options how = d->how;
    how.lanczos = d->cell->density.lanczos;
    how.method = SR_LOG_DET_TRACE; // log p is not asked for here: the cheapest
    how.probes = 2;
    if (how.lanczos == 0)
        return SR_OK;
    float *x = sr_alloc(n, d->dim * sizeof *x);
    double *range = sr_alloc(states, 2 * sizeof *range);
    sr_status status = x && range ? SR_OK : SR_ERROR_MEMORY;
    const sr_induced found = {.smallest = range, .largest = range + states};
    if (status == SR_OK) {
        sr_start_fill(d->dynamics.start, d->cell->train.seed, SR_DENSITY_EPOCH, 0, n, d->dim, x);
        sr_induced out = found;
        status = sr_induced_forward(d->team, &d->dynamics, &how, n, x, d->monitor, &out);
    }
    if (status == SR_OK) {
        add_eigenvalues(d, states, range, range + states);
        status = d->folder ? save_eigenvalues(d, n, range, range + states) : SR_OK;
    }
    sr_free(x);
    sr_free(range);
    return status;
}

// ---- the density of noisy short runs in the plane -----------------------------------------------

#define RUNS 50000 // short runs whose last noise is integrated out

// log of the mean over `count` centres (count, 2) of the normal density of deviation `noise` at x
// (n, 2).
static void mixture_density(unsigned threads, size_t count, const float *centres, double noise,
                            size_t n, const float *x, double *out) {
    const double precision = 1 / (noise * noise);
    const double norm = log(2 * M_PI * noise * noise * (double)count);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (size_t i = 0; i < n; i++) {
        double least = INFINITY, sum = 0;
        for (size_t k = 0; k < count; k++) {
            const double a = x[2 * i] - centres[2 * k], b = x[2 * i + 1] - centres[2 * k + 1];
            least = fmin(least, a * a + b * b);
        }
        for (size_t k = 0; k < count; k++) {
            const double a = x[2 * i] - centres[2 * k], b = x[2 * i + 1] - centres[2 * k + 1];
            sum += exp(0.5 * precision * (least - a * a - b * b));
        }
        out[i] = log(sum) - 0.5 * precision * least - norm;
    }
}

// x (RUNS, 2): where short runs stand before their last noise is added.
static sr_status before_last_noise(sr_densities *d, const sr_dynamics *noisy, float *x) {
    sr_dynamics part = *noisy;
    const uint64_t seed = d->cell->train.seed;
    // all steps with noise but the last one of them; a last step without noise is left off
    part.steps = noisy->steps - (noisy->noise_last ? 1 : 2);
    part.noise_last = true;
    sr_start_fill(noisy->start, seed, SR_DENSITY_EPOCH, 0, RUNS, 2, x);
    sr_status status = SR_OK;
    if (part.steps > 0)
        status = sr_dynamics_run(d->team, &part, seed, SR_DENSITY_EPOCH, 0, RUNS, x, NULL);
    part.steps = 1;
    part.noise = 0;
    return status == SR_OK ? sr_dynamics_run(d->team, &part, seed, 0, 0, RUNS, x, NULL) : status;
}

// Noise makes p_K a mixture of normal densities: its last one is integrated exactly, what lies
// before is averaged over many runs. A last step without noise is undone first, as backward does
// it.
static sr_status judge_run(sr_densities *d) {
    const sr_dynamics noisy = sr_cell_sampler(d->cell);
    const float *at = d->x;
    if (noisy.noise == 0 || noisy.steps + noisy.noise_last < 2) {
        memcpy(d->run, d->induced, d->n * sizeof *d->run);
        return SR_OK;
    }
    float *x = sr_alloc(RUNS, 2 * sizeof *x), *before = sr_alloc(d->n, 2 * sizeof *before);
    double *start = sr_alloc(d->n, sizeof *start);
    sr_status status = x && before && start ? before_last_noise(d, &noisy, x) : SR_ERROR_MEMORY;
    memset(d->scratch, 0, d->n * sizeof *d->scratch);
    if (status == SR_OK && !noisy.noise_last) {
        sr_dynamics last = d->dynamics;
        last.steps = 1;
        at = before;
        status = sr_induced_backward(
            d->team, &last, &d->how, d->n, d->x, d->monitor,
            &(sr_induced){.log_density = d->scratch, .start = start, .origin = before});
        for (size_t i = 0; i < d->n; i++)
            d->scratch[i] -= start[i]; // - log |det(I - s H)|
    }
    if (status == SR_OK) {
        mixture_density(sr_team_threads(d->team), RUNS, x, noisy.noise, d->n, at, d->run);
        for (size_t i = 0; i < d->n; i++)
            d->run[i] += d->scratch[i];
    }
    sr_free(x);
    sr_free(before);
    sr_free(start);
    return status;
}

// ---- the plane ----------------------------------------------------------------------------------

static sr_status save_grid(const sr_densities *d, const char *name, const double *log_density) {
    const size_t side = d->cell->density.grid, cells = side * side, shape[2] = {side, side};
    float *out = sr_alloc(cells, sizeof *out);
    if (!out)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < cells; i++)
        out[i] = (float)log_density[i];
    const sr_status status = sr_density_save(d, name, 2, shape, out);
    sr_free(out);
    return status;
}

void sr_density_gibbs_rows(sr_densities *d, double log_z, double temperature) {
    sr_team_evaluate(d->team, d->n, d->x, d->energy, NULL);
    for (size_t i = 0; i < d->n; i++)
        d->gibbs[i] = -(double)d->energy[i] / temperature - log_z;
}

// At the temperature of the noise, exp(-E/T)/Z is what Langevin dynamics would converge to.
static sr_status judge_own_temperature(sr_densities *d, const sr_plane *plane) {
    const sr_dynamics noisy = sr_cell_sampler(d->cell);
    const double temperature = sr_dynamics_temperature(&noisy);
    double log_z;
    if (noisy.noise == 0)
        return SR_OK;
    const sr_status status = sr_plane_gibbs(d->team, plane, temperature, &log_z, NULL, NULL);
    if (status != SR_OK)
        return status;
    sr_density_gibbs_rows(d, log_z, temperature);
    sr_density_add_mean(d, "ll_gibbs_t", d->gibbs);
    return SR_OK;
}

static sr_status compare_grids(sr_densities *d, const sr_plane *plane, double *truth,
                               double *density) {
    double log_z, edge, mass, missing, variation;
    sr_status status = sr_plane_gibbs(d->team, plane, 1, &log_z, density, &edge);
    if (status != SR_OK)
        return status;
    sr_plane_compare(plane, truth, density, NULL, &variation);
    sr_record_add_metric(d->record, "tv_gibbs", variation, 0);
    sr_record_add_metric(d->record, "log_z", log_z, 0);
    sr_record_add_metric(d->record, "gibbs_edge", edge, 0);
    sr_density_gibbs_rows(d, log_z, 1);
    sr_density_add_mean(d, "ll_gibbs", d->gibbs);
    sr_density_add_difference(d, "ll_gain", d->induced, d->gibbs);
    sr_density_add_difference(d, "run_gain", d->run, d->gibbs);
    sr_density_add_difference(d, "kl_density_gibbs", d->truth, d->gibbs);
    status = save_grid(d, "gibbs.npy", density);
    if (status == SR_OK)
        status =
            sr_plane_induced(d->team, &d->dynamics, plane, d->monitor, density, &mass, &missing);
    if (status != SR_OK)
        return status;
    sr_plane_compare(plane, truth, density, NULL, &variation);
    sr_record_add_metric(d->record, "tv_induced", variation, 0);
    sr_record_add_metric(d->record, "mass_induced", mass, 0);
    sr_record_add_metric(d->record, "grid_not_inverted", missing, 0);
    return save_grid(d, "induced.npy", density);
}

static sr_status judge_plane(sr_densities *d) {
    const sr_plane plane = {.window = sr_toy_window(d->toy), .size = d->cell->density.grid};
    const size_t cells = plane.size * plane.size;
    float *centres = sr_alloc(cells, 2 * sizeof *centres);
    double *truth = sr_alloc(cells, 2 * sizeof *truth);
    sr_status status = centres && truth ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK) {
        sr_toy_log_density(d->toy, d->n, d->x, d->truth);
        sr_density_add_mean(d, "ll_true", d->truth);
        sr_density_add_difference(d, "kl_density_induced", d->truth, d->induced);
        status = judge_run(d);
    }
    if (status == SR_OK) {
        sr_density_add_mean(d, "ll_run", d->run);
        sr_density_add_difference(d, "kl_density_run", d->truth, d->run);
        sr_plane_points(&plane, centres);
        sr_toy_log_density(d->toy, cells, centres, truth);
        status = compare_grids(d, &plane, truth, truth + cells);
        if (status == SR_OK)
            status = judge_own_temperature(d, &plane);
    }
    sr_free(centres);
    sr_free(truth);
    return status;
}

// ---- all of it ----------------------------------------------------------------------------------

sr_status sr_density_check(const sr_cell *cell) {
    sr_net net;
    if (cell->density.points == 0)
        return SR_OK;
    sr_status status = sr_net_parse(cell->model, &net);
    if (status == SR_OK)
        status = sr_net_check_curvature(&net);
    if (status != SR_OK)
        return sr_fail_context(status, "density: ");
    const sr_dynamics dynamics = sr_cell_sampler(cell);
    if (dynamics.start == SR_START_DATA)
        return sr_fail(SR_ERROR_UNSUPPORTED, "density: chains that start at data rows have no "
                                             "density of their own; start: gaussian or uniform");
    if (dynamics.clamp > 0)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "density: clamped dynamics cannot be inverted; clamp: 0");
    sr_toy toy;
    const bool flow = dynamics.integrator != SR_INTEGRATOR_EULER;
    if (flow && sr_toy_parse(cell->dataset, &toy) == SR_OK)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "density: in the plane it is that of Euler steps, found integrator %s; "
                       "integrator: euler",
                       sr_integrator_name(dynamics.integrator));
    if (dynamics.integrator == SR_INTEGRATOR_ADAPTIVE)
        return sr_fail(SR_ERROR_UNSUPPORTED, "density: that of the adaptive flow is not followed; "
                                             "integrator: rk4 and method: trace");
    if (flow && cell->density.method != 1 + SR_LOG_DET_TRACE)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "density: integrator %s follows a flow in continuous time; method: trace",
                       sr_integrator_name(dynamics.integrator));
    if (cell->density.method == 1 + SR_LOG_DET_EXACT && net.inputs > SR_EXACT_DIM_MAX)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "density: method exact takes at most %d dimensions, the model has %zu; "
                       "method: series",
                       SR_EXACT_DIM_MAX, net.inputs);
    return SR_OK;
}

static sr_status prepare(sr_densities *d) {
    const sr_density_settings *settings = &d->cell->density;
    const bool toy = sr_toy_parse(d->cell->dataset, &d->toy) == SR_OK;
    d->dim = 2;
    d->plane = toy;
    const size_t inputs = sr_energy_dim(sr_team_energy(d->team));
    const sr_status status = toy ? load_toy_points(d) : load_test_rows(d);
    if (status != SR_OK)
        return status;
    if (d->dim != inputs)
        return sr_fail(SR_ERROR_ARGUMENT, "model '%s' takes %zu numbers, a row of %s has %zu",
                       d->cell->model, inputs, d->cell->dataset, d->dim);
    d->dynamics = sr_cell_sampler(d->cell);
    d->dynamics.noise = 0;
    sr_density_options_default(d->dim, &d->how);
    if (settings->method > 0)
        d->how.method = (sr_log_det)(settings->method - 1);
    d->how.probes = settings->probes;
    d->how.seed = d->cell->train.seed;
    d->how.lanczos = 0;
    d->failed = sr_alloc(d->n, sizeof *d->failed);
    d->energy = sr_alloc(d->n, sizeof *d->energy);
    d->induced = sr_alloc(d->n, 5 * sizeof *d->induced);
    if (!d->failed || !d->energy || !d->induced)
        return SR_ERROR_MEMORY;
    d->gibbs = d->induced + d->n;
    d->truth = d->gibbs + d->n;
    d->run = d->truth + d->n;
    d->scratch = d->run + d->n;
    return SR_OK;
}

sr_status sr_density_judge(const sr_cell *cell, sr_team *team, const sr_run_options *options,
                           const char *folder, const sr_monitor *monitor, sr_judge *judge,
                           void *user, sr_record *record) {
    sr_densities d = {.cell = cell,
                      .options = options,
                      .monitor = monitor,
                      .team = team,
                      .folder = folder,
                      .judge = judge,
                      .user = user,
                      .record = record};
    const double begin = sr_seconds();
    sr_status status = sr_density_check(cell);
    if (status == SR_OK)
        status = prepare(&d);
    if (status == SR_OK)
        status = judge_induced(&d);
    if (status == SR_OK && d.image)
        add_bits(&d, "bpd_induced", d.induced);
    if (status == SR_OK)
        status = judge_eigenvalues(&d);
    if (status == SR_OK && d.plane)
        status = judge_plane(&d);
    if (status == SR_OK)
        status = sr_density_samples(&d);
    if (status == SR_OK)
        sr_record_add_timing(record, "densities_s", sr_seconds() - begin);
    sr_free(d.x);
    sr_free(d.failed);
    sr_free(d.energy);
    sr_free(d.induced);
    return status;
}
