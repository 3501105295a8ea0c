// The cap on s ||H||: s the step size, ||H|| the largest |eigenvalue| of the energy's Hessian along
// the trajectories of the dynamics. Where it is below 1, a noise-free Euler step x - s grad E(x)
// can be inverted, and the density that the dynamics induce can be computed (Behrmann et al. 2019
// take the same condition for residual networks, Chen et al. 2019 for their densities).
//
// The energy that samples and learns is c E, with c = min(1, cap / peak); c multiplies weight and
// bias of the last layer, which is linear, so that it multiplies E, its gradient and its Hessian.
// peak follows the largest s ||H|| of E itself, found at intervals on some of the trajectories: up
// at once, down slowly. To the gradient c is a constant, as it is one for all iterations but those
// that find it anew. What this is not: a bound. Eigenvalues are seen from below (Lanczos, few
// iterations), on some states, and the weights move on between two estimates: keep the cap below 1,
// and count what a density finds.
#include "energy/lanczos.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

// States of a trajectory that are looked at, evenly spread over its steps.
#define TIMES 8
// Chains whose trajectories are looked at: as many of a batch as keep the states within so many
// values, but at least CHAINS. In few dimensions that is all of them.
#define CHAINS 16
#define VALUES 100000
// Lanczos iterations: the outermost eigenvalues are found first, to some percent.
#define ITERATIONS 8
// Share of the way down that the peak goes in one estimate.
#define RELEASE 0.1

struct sr_curvature {
    sr_curvature_state state;
    size_t chains, times, rows, dim, iterations; // rows = chains x times
    float *capped;                               // (parameters) what the energy uses
    float *x;                                    // (rows, dim) states
    float *basis;                                // (iterations + 1, rows, dim) Lanczos vectors
    double *diagonal, *beside;                   // (rows, iterations) the tridiagonal matrices
    size_t *length;                              // (rows) of them
    float *chain;                                // (chains, dim) on their way
};

// ---- creation -----------------------------------------------------------------------------------

static size_t chain_count(const sr_train_options *options, size_t times, size_t dim) {
    const size_t fit = VALUES / (times * dim), wanted = fit > CHAINS ? fit : CHAINS;
    return wanted < options->batch ? wanted : options->batch;
}

sr_status sr_curvature_create(const sr_net *net, const sr_train_options *options,
                              sr_curvature **out) {
    *out = NULL;
    sr_curvature *c = sr_alloc(1, sizeof *c);
    if (!c)
        return SR_ERROR_MEMORY;
    const size_t steps = options->dynamics.steps, dim = net->inputs;
    *c = (sr_curvature){.state = {.scale = 1}, .times = steps < TIMES ? steps : TIMES, .dim = dim};
    c->iterations = dim < ITERATIONS ? dim : ITERATIONS;
    c->chains = chain_count(options, c->times, dim);
    c->rows = c->chains * c->times;
    size_t values;
    if (!sr_size_mul(c->rows, dim, &values) || !sr_size_mul(values, c->iterations + 1, &values)) {
        sr_free(c);
        return sr_fail(SR_ERROR_MEMORY, "out of memory: curvature of %zu states of %zu values",
                       c->rows, dim);
    }
    c->capped = sr_alloc(net->parameters, sizeof(float));
    c->x = sr_alloc(c->rows * dim, sizeof(float));
    c->basis = sr_alloc(values, sizeof(float));
    c->diagonal = sr_alloc(c->rows * c->iterations, sizeof(double));
    c->beside = sr_alloc(c->rows * c->iterations, sizeof(double));
    c->length = sr_alloc(c->rows, sizeof *c->length);
    c->chain = sr_alloc(c->chains * dim, sizeof(float));
    if (!c->capped || !c->x || !c->basis || !c->diagonal || !c->beside || !c->length || !c->chain) {
        sr_curvature_destroy(c);
        return SR_ERROR_MEMORY;
    }
    *out = c;
    return SR_OK;
}

void sr_curvature_destroy(sr_curvature *c) {
    if (!c)
        return;
    sr_free(c->capped);
    sr_free(c->x);
    sr_free(c->basis);
    sr_free(c->diagonal);
    sr_free(c->beside);
    sr_free(c->length);
    sr_free(c->chain);
    sr_free(c);
}

const sr_curvature_state *sr_curvature_get(const sr_curvature *c) {
    return &c->state;
}

void sr_curvature_set(sr_curvature *c, const sr_curvature_state *state) {
    c->state = *state;
}

// ---- the scale of the energy --------------------------------------------------------------------

// values (parameters): those of the last layer, times the scale.
static void scale_last(const sr_net *net, double scale, float *values) {
    const sr_layer *last = &net->layers[net->layer_count - 1];
    const sr_conv_shape *shape = &last->shape;
    const size_t weights =
        shape->out_channels * shape->in_channels * shape->kernel_height * shape->kernel_width;
    for (size_t i = 0; i < weights; i++)
        values[last->weight + i] = (float)(scale * values[last->weight + i]);
    for (size_t i = 0; i < shape->out_channels; i++)
        values[last->bias + i] = (float)(scale * values[last->bias + i]);
}

const float *sr_curvature_apply(sr_curvature *c, const sr_net *net, const float *effective) {
    memcpy(c->capped, effective, net->parameters * sizeof(float));
    scale_last(net, c->state.scale, c->capped);
    return c->capped;
}

void sr_curvature_pull_back(const sr_curvature *c, const sr_net *net, float *gradient) {
    scale_last(net, c->state.scale, gradient);
}

void sr_curvature_follow(sr_curvature_state *state, double found, double cap) {
    if (!isfinite(found)) // a run that ends: others say so
        return;
    const double uncapped = found / state->scale;
    state->found = found;
    state->peak = fmax(uncapped, state->peak + RELEASE * (uncapped - state->peak));
    state->scale = state->peak > cap ? cap / state->peak : 1;
}

// ---- Lanczos ------------------------------------------------------------------------------------

static float *basis_at(const sr_curvature *c, size_t j, size_t row) {
    return c->basis + (j * c->rows + row) * c->dim;
}

// Unit vectors to start from, one a state.
static void first_vectors(sr_curvature *c, const sr_kernels *kernels, sr_stream stream) {
    for (size_t row = 0; row < c->rows; row++) {
        sr_lanczos_start(kernels, stream, row, c->dim, basis_at(c, 0, row));
        c->length[row] = c->iterations;
    }
}

// Makes the product H v_j, which stands in the place of v_{j+1}, that vector. A state that has no
// more of them gets zeros from then on.
static void next_vector(sr_curvature *c, size_t j, size_t row) {
    float *w = basis_at(c, j + 1, row);
    const size_t at = row * c->iterations;
    if (c->length[row] > j) {
        if (sr_lanczos_extend(c->dim, basis_at(c, 0, row), c->rows * c->dim, j, c->iterations, w,
                              c->diagonal + at, c->beside + at))
            return;
        c->length[row] = j + 1;
    }
    memset(w, 0, c->dim * sizeof *w);
}

// Largest |eigenvalue| of a state's tridiagonal matrix, which is destroyed; NaN where it is not
// finite.
static double ritz_norm(sr_curvature *c, size_t row) {
    const size_t at = row * c->iterations;
    double low, high;
    sr_lanczos_range(c->length[row], c->diagonal + at, c->beside + at, &low, &high);
    return fmax(fabs(low), fabs(high));
}

// Largest |eigenvalue| of the Hessian over c->x.
static sr_status largest_norm(sr_curvature *c, sr_team *team, const sr_kernels *kernels,
                              sr_stream stream, double *out) {
    first_vectors(c, kernels, stream);
    for (size_t j = 0; j < c->iterations; j++) {
        const sr_status status = sr_team_hessian_vector(team, c->rows, c->x, basis_at(c, j, 0),
                                                        NULL, NULL, basis_at(c, j + 1, 0));
        if (status != SR_OK)
            return status;
#pragma omp parallel for num_threads(sr_team_threads(team)) schedule(static)
        for (size_t row = 0; row < c->rows; row++)
            next_vector(c, j, row);
    }
    *out = 0;
    for (size_t row = 0; row < c->rows; row++) {
        const double norm = ritz_norm(c, row);
        *out = norm > *out || isnan(norm) ? norm : *out;
        if (isnan(norm))
            break;
    }
    return SR_OK;
}

// ---- states along trajectories ------------------------------------------------------------------

// x_k at k = 0 and times - 1 later steps of the chains that start at `start`, into c->x. Each
// stretch has its own chain numbers, that its noise is new.
static sr_status walk(sr_curvature *c, sr_team *team, const sr_train_options *options,
                      uint64_t epoch, const float *start) {
    const size_t count = c->chains * c->dim;
    sr_dynamics part = options->dynamics;
    part.noise_last = true; // the end of a stretch is not that of the trajectory
    memcpy(c->chain, start, count * sizeof(float));
    for (size_t j = 0, k = 0; j < c->times; j++) {
        memcpy(c->x + j * count, c->chain, count * sizeof(float));
        const size_t next = (j + 1) * options->dynamics.steps / c->times;
        part.steps = next - k;
        k = next;
        if (j + 1 == c->times)
            break;
        const sr_status status = sr_dynamics_run(
            team, &part, options->seed, epoch, (j + 1) * options->batch, c->chains, c->chain, NULL);
        if (status != SR_OK)
            return status;
    }
    return SR_OK;
}

sr_status sr_curvature_measure(sr_curvature *c, sr_team *team, const sr_train_options *options,
                               uint64_t epoch, const float *start) {
    double norm = NAN;
    sr_status status = walk(c, team, options, epoch, start);
    if (status == SR_ERROR_DIVERGED) // the next iteration will say so
        return SR_OK;
    if (status == SR_OK)
        status = largest_norm(c, team, sr_kernels_get(),
                              sr_stream_make(options->seed, SR_PURPOSE_CURVATURE, epoch), &norm);
    if (status == SR_OK)
        sr_curvature_follow(&c->state, options->dynamics.step_size * norm, options->curvature_cap);
    return status;
}
