// What a step of the dynamics costs, and where: whole, by phase, by layer and direction, against
// the machine's measured peaks (a roofline in the sense of Williams, Waterman and Patterson 2009).
// Only the public interface of the lower modules is used: what is timed is what everyone runs.
#include <shortrun/experiment.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LEAST_RUNS 3
#define MOST_RUNS 501
#define STILL 1e-6 // step size and learning rate: nothing is to move, so nothing can diverge
#define LAYER_SLOTS (SR_MAX_LAYERS * SR_DIRECTION_COUNT)

// One run, or one iteration of training: its time, and the team's counters of it.
typedef struct sample {
    double seconds;
    double phases[SR_PHASE_COUNT]; // summed over threads
    double layers[LAYER_SLOTS];    // (layer, direction), summed over threads
} sample;

// What is run again and again.
typedef struct job {
    sr_status (*once)(struct job *j);
    const sr_profile_case *of;
    const sr_monitor *monitor;
    sr_team *team;
    sr_dynamics dynamics;
    float *x;            // (batch, inputs)
    sr_trainer *trainer; // NULL: the dynamics alone
    sample *samples;     // (MOST_RUNS)
    size_t count;
} job;

// ---- repeating ----------------------------------------------------------------------------------

static sr_status take_sample(job *j, sample *out) {
    sr_team_seconds(j->team, true, out->phases);
    sr_team_layer_seconds(j->team, true, out->layers);
    const double before = sr_seconds();
    const sr_status status = j->once(j);
    out->seconds = sr_seconds() - before;
    sr_team_seconds(j->team, true, out->phases);
    sr_team_layer_seconds(j->team, true, out->layers);
    return status;
}

static int by_seconds(const void *a, const void *b) {
    const double p = ((const sample *)a)->seconds, q = ((const sample *)b)->seconds;
    return (p > q) - (p < q);
}

// Repeats the job for about `budget` seconds; samples are then sorted by time. The first repetition
// warms the caches and does not count.
static sr_status repeat(job *j, double budget) {
    double spent = 0;
    sr_status status = take_sample(j, &j->samples[0]);
    for (j->count = 0; status == SR_OK && j->count < MOST_RUNS; j->count++) {
        if (j->count >= LEAST_RUNS && spent >= budget)
            break;
        if (sr_monitor_stop(j->monitor))
            return sr_fail(SR_ERROR_INTERRUPTED, "interrupted while measuring");
        status = take_sample(j, &j->samples[j->count]);
        spent += j->samples[j->count].seconds;
    }
    qsort(j->samples, j->count, sizeof *j->samples, by_seconds);
    return status;
}

// A sample that was taken, also where their number is even: its parts then belong to its time.
static const sample *median(const job *j) {
    return &j->samples[(j->count - 1) / 2];
}

static sr_status run_dynamics(job *j) {
    const sr_profile_case *of = j->of;
    sr_start_fill(SR_START_UNIFORM, 1, 0, 0, of->batch, of->net.inputs, j->x);
    return sr_dynamics_run(j->team, &j->dynamics, 1, 0, 0, of->batch, j->x, NULL);
}

static sr_status run_training(job *j) {
    return sr_trainer_step(j->trainer, NULL);
}

// ---- what a layer does --------------------------------------------------------------------------

static void name_layer(const sr_layer *layer, char *out, size_t size) {
    const sr_conv_shape *s = &layer->shape;
    if (layer->dense)
        snprintf(out, size, "dense %zu->%zu", s->in_channels, s->out_channels);
    else
        snprintf(out, size, "conv%zux%zu/%zu %zu->%zu @%zux%zu", s->kernel_height, s->kernel_width,
                 s->stride, s->in_channels, s->out_channels, s->in_height, s->in_width);
}

static double pass_bytes(const sr_layer *layer, sr_direction direction, double rows,
                         double element) {
    const sr_conv_shape *s = &layer->shape;
    const double inputs = (double)s->in_channels * (double)s->in_height * (double)s->in_width;
    const double outputs = (double)s->out_channels * (double)s->out_height * (double)s->out_width;
    const double weights = (double)s->out_channels * (double)s->in_channels *
                           (double)s->kernel_height * (double)s->kernel_width;
    if (direction == SR_BACKWARD_WEIGHTS) // the gradient itself is fp32
        return element * rows * (inputs + outputs) + (double)sizeof(float) * weights;
    const double derivative = layer->activation == SR_IDENTITY ? 0 : outputs;
    return element * (rows * (inputs + outputs + derivative) + weights);
}

// Everything but the time.
static void describe_layers(sr_profile *p) {
    const double element = p->of.precision == SR_BF16 ? 2 : 4;
    const double batch = (double)p->of.batch;
    p->flop = p->bytes = 0;
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        const sr_layer *layer = &p->of.net.layers[l];
        name_layer(layer, p->layers[l].name, sizeof p->layers[l].name);
        for (int d = SR_FORWARD; d <= SR_BACKWARD_DATA; d++) {
            sr_profile_pass *pass = &p->layers[l].pass[d];
            pass->flop = 2 * sr_conv_shape_multiply_adds(&layer->shape) * batch;
            pass->bytes = pass_bytes(layer, (sr_direction)d, batch, element);
            p->flop += pass->flop;
            p->bytes += pass->bytes;
        }
        if (!p->of.training)
            continue;
        sr_profile_pass *weights = &p->layers[l].pass[SR_BACKWARD_WEIGHTS];
        weights->flop = 2 * sr_conv_shape_multiply_adds(&layer->shape) * 2 * batch;
        weights->bytes = pass_bytes(layer, SR_BACKWARD_WEIGHTS, 2 * batch, element);
    }
}

// Times of one direction from a sample that holds `steps` of them.
static void time_direction(sr_profile *p, sr_direction direction, const sample *s, size_t steps) {
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        sr_profile_pass *pass = &p->layers[l].pass[direction];
        const double seconds = s->layers[l * SR_DIRECTION_COUNT + (size_t)direction] /
                               (double)p->of.threads / (double)steps;
        pass->ms = 1e3 * seconds;
        pass->gflops = seconds > 0 ? 1e-9 * pass->flop / seconds : 0;
        pass->share = p->peak_gflops > 0 ? pass->gflops / p->peak_gflops : 0;
    }
}

// ---- the parts of a profile ---------------------------------------------------------------------

static void find_peaks(sr_profile *p) {
    p->peak_gflops = sr_peak_for(p->of.precision, p->of.threads);
    p->fma_gflops = sr_peak_gflops(p->of.threads);
    p->l2_gbs = sr_peak_l2_gbs(p->of.threads);
}

// Fewer steps than K where LEAST_RUNS of K would take longer than the budget: the time of a step
// hardly depends on their number.
static sr_status choose_steps(job *j, sr_profile *p) {
    j->dynamics.steps = 1;
    sr_status status = take_sample(j, &j->samples[0]); // warms up
    if (status == SR_OK)
        status = take_sample(j, &j->samples[0]);
    const double most = p->of.seconds / LEAST_RUNS / fmax(j->samples[0].seconds, 1e-9);
    p->steps = most >= (double)p->of.steps ? p->of.steps : most > 1 ? (size_t)most : 1;
    j->dynamics.steps = p->steps;
    return status;
}

static void take_steps(const job *j, sr_profile *p) {
    const double steps = (double)p->steps, threads = (double)p->of.threads;
    const double seconds = median(j)->seconds / steps;
    p->runs = j->count;
    p->step_ms = 1e3 * seconds;
    p->step_ms_least = 1e3 * j->samples[0].seconds / steps;
    p->step_ms_most = 1e3 * j->samples[j->count - 1].seconds / steps;
    p->chain_steps_per_s = (double)p->of.batch / seconds;
    p->gflops = 1e-9 * p->flop / seconds;
    p->share = p->peak_gflops > 0 ? p->gflops / p->peak_gflops : 0;
    p->fma_share = p->fma_gflops > 0 ? p->gflops / p->fma_gflops : 0;
    p->gbs = 1e-9 * p->bytes / seconds;
    p->l2_share = p->l2_gbs > 0 ? p->gbs / p->l2_gbs : 0;
    for (size_t i = 0; i < SR_PHASE_COUNT; i++)
        p->phase_ms[i] = 1e3 * median(j)->phases[i] / threads / steps;
}

static sr_status profile_steps(job *j, sr_profile *p) {
    sr_status status = choose_steps(j, p);
    if (status == SR_OK)
        status = repeat(j, p->of.seconds);
    if (status != SR_OK)
        return status;
    take_steps(j, p);
    sr_team_time_layers(j->team, true);
    status = repeat(j, p->of.seconds / 2);
    sr_team_time_layers(j->team, false);
    if (status != SR_OK)
        return status;
    time_direction(p, SR_FORWARD, median(j), p->steps);
    time_direction(p, SR_BACKWARD_DATA, median(j), p->steps);
    return SR_OK;
}

static sr_train_options training_options(const sr_profile *p, const sr_dynamics *dynamics) {
    sr_train_options options;
    sr_train_options_default(&options, p->of.net.height > 1 || p->of.net.width > 1);
    options.batch = p->of.batch;
    options.dynamics = *dynamics;
    options.dynamics.steps = p->of.steps;
    options.engine = p->of.engine;
    options.precision = p->of.precision;
    options.threads = p->of.threads;
    options.tile = p->of.tile;
    options.rate = STILL;
    options.gap_bound = 0;
    return options;
}

static sr_status profile_iterations(job *j, sr_profile *p) {
    j->once = run_training;
    j->team = sr_trainer_team(j->trainer);
    sr_status status = repeat(j, p->of.seconds);
    if (status != SR_OK)
        return status;
    p->iteration_ms = 1e3 * median(j)->seconds;
    for (size_t i = 0; i < SR_PHASE_COUNT; i++)
        p->iteration_phase_ms[i] = 1e3 * median(j)->phases[i] / (double)p->of.threads;
    sr_team_time_layers(j->team, true);
    status = repeat(j, p->of.seconds / 2);
    if (status == SR_OK)
        time_direction(p, SR_BACKWARD_WEIGHTS, median(j), 1);
    return status;
}

// On noise in place of data, which j->x holds.
static sr_status profile_training(job *j, sr_profile *p) {
    const sr_train_options options = training_options(p, &j->dynamics);
    sr_dataset data = {.name = "noise",
                       .count = p->of.batch,
                       .channels = p->of.net.channels,
                       .height = p->of.net.height,
                       .width = p->of.net.width,
                       .dim = p->of.net.inputs,
                       .x = j->x};
    sr_start_fill(SR_START_UNIFORM, 1, 0, 0, data.count, data.dim, data.x);
    sr_status status = sr_trainer_create(&p->of.net, &data, &options, &j->trainer);
    if (status == SR_OK)
        status = profile_iterations(j, p);
    sr_trainer_destroy(j->trainer);
    j->trainer = NULL;
    return status;
}

// ---- from a case to a profile -------------------------------------------------------------------

sr_profile_case sr_profile_case_default(const sr_net *net) {
    return (sr_profile_case){.net = *net,
                             .engine = SR_ENGINE_AUTO,
                             .precision = SR_FP32,
                             .batch = 64,
                             .steps = 20,
                             .seconds = 1};
}

static sr_status check(const sr_profile_case *of) {
    if (of->batch == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "batch is 0, expected at least 1");
    if (of->steps == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "steps is 0, expected at least 1");
    if (!(of->seconds > 0) || !isfinite(of->seconds))
        return sr_fail(SR_ERROR_ARGUMENT, "seconds is %g, expected a number above 0", of->seconds);
    if (!(of->noise >= 0) || !isfinite(of->noise))
        return sr_fail(SR_ERROR_ARGUMENT, "noise is %g, expected a number of at least 0",
                       of->noise);
    return SR_OK;
}

static sr_status set_parameters(const sr_profile_case *of, sr_energy *energy) {
    if (of->theta) {
        sr_energy_set_parameters(energy, of->theta);
        return SR_OK;
    }
    float *theta = sr_alloc(of->net.parameters, sizeof *theta);
    if (!theta)
        return SR_ERROR_MEMORY;
    sr_net_init(&of->net, 1, theta);
    sr_energy_set_parameters(energy, theta);
    sr_free(theta);
    return SR_OK;
}

static sr_status allocate(job *j) {
    size_t count;
    if (!sr_size_mul(j->of->batch, j->of->net.inputs, &count))
        return sr_fail(SR_ERROR_ARGUMENT, "a batch of %zu does not fit into memory", j->of->batch);
    j->x = sr_alloc(count, sizeof *j->x);
    j->samples = sr_alloc(MOST_RUNS, sizeof *j->samples);
    return j->x && j->samples ? SR_OK : SR_ERROR_MEMORY;
}

static void take_engines(const sr_plan *plan, sr_profile *p) {
    for (size_t l = 0; l < p->of.net.layer_count; l++)
        p->layers[l].engine = sr_plan_engines(plan)[l];
}

static sr_status profile_dynamics(job *j, sr_profile *p) {
    sr_energy *energy = NULL;
    sr_status status =
        sr_energy_network(&p->of.net, p->of.engine, p->of.precision, p->of.tile, &energy);
    if (status == SR_OK)
        status = set_parameters(&p->of, energy);
    if (status == SR_OK)
        status = sr_team_create(energy, p->of.threads, &j->team);
    if (status == SR_OK) {
        p->of.tile = sr_energy_tile(energy);
        take_engines(sr_energy_plan(energy), p);
        find_peaks(p);
        describe_layers(p);
        status = profile_steps(j, p);
    }
    sr_team_destroy(j->team);
    sr_energy_destroy(energy);
    return status;
}

sr_status sr_profile_run(const sr_profile_case *of, const sr_monitor *monitor, sr_profile *out) {
    *out = (sr_profile){.of = *of};
    sr_status status = check(of);
    if (status != SR_OK)
        return status;
    out->of.threads = sr_threads_resolve(of->threads);
    job j = {.once = run_dynamics, .of = &out->of, .monitor = monitor};
    j.dynamics = (sr_dynamics){.steps = of->steps,
                               .step_size = STILL,
                               .noise = of->noise,
                               .noise_last = true,
                               .start = SR_START_UNIFORM};
    status = allocate(&j);
    if (status == SR_OK)
        status = profile_dynamics(&j, out);
    if (status == SR_OK && of->training)
        status = profile_training(&j, out);
    out->peak_memory_mb = 1e-6 * (double)sr_peak_memory();
    sr_free(j.x);
    sr_free(j.samples);
    return status;
}
