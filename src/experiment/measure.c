// How long things take: a step of the dynamics on a trained energy, and estimates for a dry run.
//
// FLOP of one gradient of one chain: forward and backward-data, two for each multiply-add. A step
// takes one gradient, or as many as its integrator has stages.
#include "experiment/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Runs are repeated for about so long, at least three times, and the best counts: right after a
// team of threads starts, the system may keep two of them on one core for some milliseconds.
#define MEASURE_SECONDS 0.3
#define MEASURE_STEPS 20 // of the K steps: the time of a step does not depend on K

// Gradients that a step is taken to cost where only the run can tell: the adaptive integrator has
// seven stages, the first being the last of the step before, and may need more than one step.
#define ADAPTIVE_GRADIENTS 6

static double gradients_per_step(const sr_dynamics *dynamics) {
    const size_t gradients = sr_integrator_gradients(dynamics->integrator);
    return gradients ? (double)gradients : ADAPTIVE_GRADIENTS;
}

void sr_cell_work(const sr_cell *cell, double *training, double *sampling) {
    sr_net net;
    *training = *sampling = 0;
    if (sr_net_parse(cell->model, &net) != SR_OK)
        return;
    const double forward = sr_net_multiply_adds(&net);
    const sr_dynamics sampler = sr_cell_sampler(cell);
    // A step is forward and backward-data; the gradient in theta runs over data and samples,
    // forward, backward-data and backward-weights.
    *training =
        (double)cell->train.iterations * (double)cell->train.batch * forward *
        (2.0 * gradients_per_step(&cell->train.dynamics) * (double)cell->train.dynamics.steps +
         6.0);
    *sampling = (double)cell->samples * forward * 2.0 *
                (gradients_per_step(&sampler) * (double)sampler.steps + 1);
}

sr_status sr_measure_steps(const sr_cell *cell, const sr_net *net, sr_team *team, unsigned threads,
                           sr_record *record) {
    sr_dynamics dynamics = sr_cell_sampler(cell);
    const size_t batch = cell->train.batch;
    if (dynamics.steps > MEASURE_STEPS)
        dynamics.steps = MEASURE_STEPS;
    // Data rows and uniform noise cost the same to push about.
    const sr_start start =
        dynamics.start == SR_START_GAUSSIAN ? SR_START_GAUSSIAN : SR_START_UNIFORM;
    float *x = sr_alloc(batch, net->inputs * sizeof *x);
    if (!x)
        return SR_ERROR_MEMORY;
    double best = INFINITY, spent = 0;
    sr_status status = SR_OK;
    for (int i = 0; (i < 3 || spent < MEASURE_SECONDS) && status == SR_OK; i++) {
        sr_start_fill(start, cell->train.seed, UINT64_MAX - 2, 0, batch, net->inputs, x);
        const double before = sr_seconds();
        status =
            sr_dynamics_run(team, &dynamics, cell->train.seed, UINT64_MAX - 2, 0, batch, x, NULL);
        const double took = sr_seconds() - before;
        spent += took;
        if (i > 0 && took < best) // the first run warms the caches
            best = took;
    }
    sr_free(x);
    if (status != SR_OK)
        return status;
    const double step = best / (double)dynamics.steps;
    sr_record_add_timing(record, "step_ms", 1e3 * step);
    sr_record_add_timing(record, "chain_steps_per_s", (double)batch / step);
    const size_t gradients = sr_integrator_gradients(dynamics.integrator);
    if (gradients == 0) // as many as the error control asked for: nobody counts them
        return SR_OK;
    const double gflops =
        4.0 * (double)gradients * sr_net_multiply_adds(net) * (double)batch / step * 1e-9;
    const double peak = sr_peak_gflops(threads);
    sr_record_add_timing(record, "gflops", gflops);
    sr_record_add_timing(record, "peak_gflops", peak);
    sr_record_add_timing(record, "peak_share", peak > 0 ? gflops / peak : NAN);
    return SR_OK;
}

// ---- estimates ----------------------------------------------------------------------------------

static size_t curvature_every(const sr_train_options *options) {
    return options->curvature_cap > 0 ? options->curvature_every : 0;
}

// Seconds of a training iteration as a + b K.
typedef struct pace {
    char model[128];
    size_t batch, tile, spectral, curvature; // curvature: iterations between estimates; 0: none
    sr_engine engine;
    sr_integrator integrator;
    double tolerance;
    unsigned threads;
    double fixed, per_step;
} pace;

#define PACES 32
static _Thread_local pace paces[PACES];
static _Thread_local size_t pace_count;

static sr_status time_iteration(const sr_net *net, const sr_train_options *options,
                                const sr_dataset *data, double *out) {
    sr_trainer *trainer;
    sr_train_report report;
    sr_status status = sr_trainer_create(net, data, options, &trainer);
    *out = INFINITY;
    double spent = 0;
    for (int i = 0; (i < 2 || spent < MEASURE_SECONDS) && status == SR_OK; i++) {
        const double before = sr_seconds();
        status = sr_trainer_step(trainer, &report);
        const double took = sr_seconds() - before;
        spent += took;
        if (i > 0 && took < *out)
            *out = took;
    }
    sr_trainer_destroy(trainer);
    return status;
}

static sr_status measure_pace(const sr_cell *cell, const sr_net *net, unsigned threads, pace *out) {
    enum { FEW = 2, MANY = 8 };
    sr_train_options options = cell->train;
    options.threads = threads;
    options.iterations = 1000;
    options.gap_bound = 0;
    options.dynamics.start = SR_START_GAUSSIAN;
    // nothing is to move, so nothing can diverge; how many steps an error control takes hangs on it
    if (options.dynamics.integrator != SR_INTEGRATOR_ADAPTIVE)
        options.dynamics.step_size = 1e-6;
    options.dynamics.noise = cell->train.dynamics.noise > 0 ? 1e-6 : 0;
    options.rate = 1e-6;
    sr_dataset data = {.name = "noise",
                       .count = options.batch,
                       .channels = net->channels,
                       .height = net->height,
                       .width = net->width,
                       .dim = net->inputs};
    data.x = sr_alloc(data.count, data.dim * sizeof *data.x);
    if (!data.x)
        return SR_ERROR_MEMORY;
    sr_start_fill(SR_START_UNIFORM, 1, 0, 0, data.count, data.dim, data.x);
    double few, many;
    options.dynamics.steps = FEW;
    sr_status status = time_iteration(net, &options, &data, &few);
    options.dynamics.steps = MANY;
    if (status == SR_OK)
        status = time_iteration(net, &options, &data, &many);
    sr_free(data.x);
    if (status != SR_OK)
        return status;
    out->per_step = many > few ? (many - few) / (MANY - FEW) : many / MANY;
    out->fixed = few > FEW * out->per_step ? few - FEW * out->per_step : 0;
    return SR_OK;
}

static sr_status find_pace(const sr_cell *cell, const sr_net *net, unsigned threads,
                           const pace **out) {
    for (size_t i = 0; i < PACES && i < pace_count; i++) {
        const pace *p = &paces[i];
        if (strcmp(p->model, cell->model) == 0 && p->batch == cell->train.batch &&
            p->tile == cell->train.tile && p->spectral == cell->train.spectral_iterations &&
            p->engine == cell->train.engine && p->threads == threads &&
            p->curvature == curvature_every(&cell->train) &&
            p->integrator == cell->train.dynamics.integrator &&
            p->tolerance == cell->train.dynamics.tolerance) {
            *out = p;
            return SR_OK;
        }
    }
    pace *p = &paces[pace_count % PACES];
    *p = (pace){.batch = cell->train.batch,
                .tile = cell->train.tile,
                .spectral = cell->train.spectral_iterations,
                .engine = cell->train.engine,
                .curvature = curvature_every(&cell->train),
                .integrator = cell->train.dynamics.integrator,
                .tolerance = cell->train.dynamics.tolerance,
                .threads = threads};
    const sr_status status = measure_pace(cell, net, threads, p);
    if (status != SR_OK) {
        *p = (pace){0};
        return status;
    }
    snprintf(p->model, sizeof p->model, "%s", cell->model);
    pace_count++;
    *out = p;
    return SR_OK;
}

// Bytes of the largest things that live at once: the data, the samples and what judges them, the
// weights with their gradient and moments, and every thread's activations.
static double estimate_bytes(const sr_cell *cell, const sr_net *net, unsigned threads) {
    double rows = cell->data_limit ? (double)cell->data_limit : 10000, activations = 0;
    if (!cell->data_limit &&
        (!strcmp(cell->dataset, "mnist") || !strcmp(cell->dataset, "fashion_mnist")))
        rows = 60000;
    else if (!cell->data_limit && !strcmp(cell->dataset, "cifar10"))
        rows = 50000;
    for (size_t i = 0; i < net->layer_count; i++) {
        const sr_conv_shape *shape = &net->layers[i].shape;
        activations += (double)(shape->out_channels * shape->out_height * shape->out_width);
    }
    const double tile = cell->train.tile ? (double)cell->train.tile : 64;
    return 4.0 * (rows * (double)net->inputs + 2.0 * (double)cell->samples * (double)net->inputs +
                  10.0 * (double)net->parameters + 3.0 * activations * tile * threads +
                  4.0 * (double)cell->train.batch * (double)net->inputs) +
           50e6; // the program and its libraries
}

sr_status sr_cell_estimate(const sr_cell *cell, const sr_run_options *options, double *seconds,
                           double *bytes) {
    sr_net net;
    const pace *p;
    const unsigned threads = sr_threads_resolve(options->threads);
    sr_status status = sr_net_parse(cell->model, &net);
    if (status == SR_OK)
        status = find_pace(cell, &net, threads, &p);
    if (status != SR_OK)
        return status;
    const double iteration = p->fixed + p->per_step * (double)cell->train.dynamics.steps;
    const double batches = (double)cell->samples / (double)cell->train.batch;
    *seconds = (double)cell->train.iterations * iteration +
               batches * p->per_step * (double)(sr_cell_sampler(cell).steps + 1);
    *bytes = estimate_bytes(cell, &net, threads);
    return SR_OK;
}
