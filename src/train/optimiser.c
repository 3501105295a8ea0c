// The optimiser: learning-rate schedule, gradient clipping, Adam (Kingma and Ba 2015, through the
// kernel table), SGD with momentum (PyTorch's form), and the weight average. Elementwise and
// sequential: nothing here depends on threads. Not a library of optimisers.
#include "train/trainer.h"

#include <math.h>
#include <string.h>

sr_status sr_point_create(size_t parameters, sr_optimiser optimiser, sr_point *out) {
    *out = (sr_point){0};
    out->theta = sr_alloc(parameters, sizeof(float));
    out->effective = sr_alloc(parameters, sizeof(float));
    out->m = sr_alloc(parameters, sizeof(float));
    out->v = optimiser == SR_ADAM ? sr_alloc(parameters, sizeof(float)) : NULL;
    if (out->theta && out->effective && out->m && (out->v || optimiser != SR_ADAM))
        return SR_OK;
    sr_point_clear(out);
    return SR_ERROR_MEMORY;
}

void sr_point_clear(sr_point *point) {
    sr_free(point->theta);
    sr_free(point->effective);
    sr_free(point->m);
    sr_free(point->v);
    *point = (sr_point){0};
}

void sr_point_copy(size_t parameters, const sr_point *from, sr_point *to) {
    memcpy(to->theta, from->theta, parameters * sizeof(float));
    memcpy(to->m, from->m, parameters * sizeof(float));
    if (from->v)
        memcpy(to->v, from->v, parameters * sizeof(float));
}

double sr_schedule_decay_start(const sr_train_options *options, size_t iterations) {
    return options->decay_to < 1.0 ? options->decay_from * (double)iterations : (double)iterations;
}

// With N iterations and the decay's start at S = decay_from N, iteration t (from 0) has made the
// share (t + 1 - S) / (N - S) of the way down: 1 in the last iteration.
double sr_schedule_rate(const sr_train_options *options, uint64_t t) {
    const double start = sr_schedule_decay_start(options, options->iterations);
    const double past = (double)(t + 1) - start;
    if (past <= 0.0)
        return options->rate;
    const double share = fmin(past / ((double)options->iterations - start), 1.0);
    return options->rate * (1.0 - (1.0 - options->decay_to) * share);
}

void sr_gradient_clip(size_t n, float *gradient, double norm, double bound) {
    if (!(bound > 0.0) || norm <= bound)
        return;
    const float scale = (float)(bound / norm);
    for (size_t i = 0; i < n; i++)
        gradient[i] *= scale;
}

void sr_optimiser_step(const sr_kernels *kernels, const sr_train_options *options, size_t n,
                       sr_point *point, const float *gradient, double rate, uint64_t t) {
    if (options->optimiser == SR_ADAM) {
        kernels->adam(n, point->theta, gradient, point->m, point->v, (float)rate,
                      (float)options->beta1, (float)options->beta2, (float)options->epsilon, t);
        return;
    }
    const float momentum = (float)options->beta1;
    const float step = (float)rate;
    for (size_t i = 0; i < n; i++) {
        point->m[i] = momentum * point->m[i] + gradient[i];
        point->theta[i] -= step * point->m[i];
    }
}

// A_t = sum_i d^(t-i) theta_i / sum_i d^(t-i), hence A_t = (1 - w) A_{t-1} + w theta_t with
// w = (1 - d) / (1 - d^t). The start (t = 1, w = 1) has no weight of its own, so a short run's
// average is not dragged towards random initial weights.
void sr_average_update(size_t n, float *average, const float *theta, double decay, uint64_t t) {
    const double w = (1.0 - decay) / (1.0 - pow(decay, (double)t));
    const float keep = (float)(1.0 - w), take = (float)w;
    for (size_t i = 0; i < n; i++)
        average[i] = keep * average[i] + take * theta[i];
}
