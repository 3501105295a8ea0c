// Spectral normalisation of every layer as a linear operator (Miyato et al. 2018 with the true norm
// of the convolution, as in Farnia et al. 2019, instead of the reshaped matrix). Power iteration on
// W and its adjoint: v = W u / |W u|, u = W^T v / |W^T v|, singular value = <v, W u>.
#include <shortrun/net.h>

#include "kernels/chain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Power iterations on a fresh start vector at creation's first use, so that the first estimate is
// near.
enum { FIRST_ITERATIONS = 30 };

typedef struct operator_ {
    sr_plan *plan; // the layer alone, without bias and activation, one image
    sr_workspace *workspace;
    sr_layer layer;    // with its offsets in the whole network's theta
    float *parameters; // (weights, then a bias of zeros)
    float *u, *v;      // input-side and output-side vectors, unit length
    float *dsigma;     // (weights + bias) scratch for dsigma/dW
    size_t inputs, outputs, weights;
} operator_;

struct sr_spectral {
    sr_net net;
    bool fresh; // u are start vectors that no iteration has touched
    double values[SR_MAX_LAYERS];
    operator_ layers[SR_MAX_LAYERS];
};

// x / |x|; the length, or 1 with x left alone where x = 0 (a layer whose weights are all zero).
static double normalise(size_t n, float *x) {
    double length = sqrt(sr_kernels_get()->sum_squares(n, x));
    if (!(length > 0.0) || !isfinite(length))
        return 1.0;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] / length);
    return length;
}

static sr_status operator_create(const sr_layer *layer, sr_engine engine, sr_stream stream,
                                 size_t l, operator_ *op) {
    op->layer = *layer;
    op->weights = sr_layer_weights(layer);
    op->inputs = sr_layer_inputs(layer);
    op->outputs = sr_layer_outputs(layer);
    sr_net alone = {.channels = layer->shape.in_channels,
                    .height = layer->shape.in_height,
                    .width = layer->shape.in_width,
                    .inputs = op->inputs,
                    .outputs = op->outputs,
                    .parameters = op->weights + layer->shape.out_channels,
                    .layer_count = 1,
                    .layers = {*layer}};
    alone.layers[0].activation = SR_IDENTITY;
    alone.layers[0].weight = 0;
    alone.layers[0].bias = op->weights;
    op->parameters = sr_alloc(alone.parameters, sizeof(float));
    op->dsigma = sr_alloc(alone.parameters, sizeof(float));
    op->u = sr_alloc(op->inputs, sizeof(float));
    op->v = sr_alloc(op->outputs, sizeof(float));
    if (!op->parameters || !op->dsigma || !op->u || !op->v)
        return SR_ERROR_MEMORY;
    sr_kernels_get()->normal(stream, l, 0, op->inputs, op->u);
    normalise(op->inputs, op->u);
    sr_status status = sr_plan_create(&alone, 1, engine, SR_FP32, &op->plan);
    return status ? status : sr_workspace_create(op->plan, &op->workspace);
}

// One image at a time is what the native engine is worst at: fifteen of its sixteen lanes would
// idle. The choice hangs on the build alone, so that the bits do not hang on a clock.
static sr_engine engine_for_one_image(sr_engine engine) {
    if (engine != SR_ENGINE_AUTO && engine != SR_ENGINE_NATIVE)
        return engine;
    return sr_engine_available(SR_ENGINE_ONEDNN) ? SR_ENGINE_ONEDNN : SR_ENGINE_NATIVE;
}

sr_status sr_spectral_create(const sr_net *net, sr_engine engine, uint64_t seed,
                             sr_spectral **out) {
    *out = NULL;
    engine = engine_for_one_image(engine);
    sr_spectral *spectral = sr_alloc(1, sizeof *spectral);
    if (!spectral)
        return SR_ERROR_MEMORY;
    spectral->net = *net;
    spectral->fresh = true;
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_SPECTRAL, 0);
    for (size_t l = 0; l < net->layer_count; l++) {
        sr_status status =
            operator_create(&net->layers[l], engine, stream, l, &spectral->layers[l]);
        if (status) {
            sr_spectral_destroy(spectral);
            return status;
        }
    }
    *out = spectral;
    return SR_OK;
}

void sr_spectral_destroy(sr_spectral *spectral) {
    if (!spectral)
        return;
    for (size_t l = 0; l < SR_MAX_LAYERS; l++) {
        operator_ *op = &spectral->layers[l];
        sr_workspace_destroy(op->workspace);
        sr_plan_destroy(op->plan);
        sr_free(op->parameters);
        sr_free(op->dsigma);
        sr_free(op->u);
        sr_free(op->v);
    }
    sr_free(spectral);
}

// Power iterations on one layer; returns the singular value |W u| and leaves v = W u / |W u|. u
// enters with unit length and is not touched by 0 iterations, so that a checkpoint's vectors give
// back the same bits.
static double operator_iterate(operator_ *op, const float *theta, size_t iterations) {
    memcpy(op->parameters, theta + op->layer.weight, op->weights * sizeof(float));
    sr_plan_set_weights(op->plan, op->parameters);
    for (size_t i = 0; i < iterations; i++) {
        sr_plan_forward(op->plan, op->workspace, 1, op->u, op->v);
        normalise(op->outputs, op->v);
        sr_plan_gradient_x(op->plan, op->workspace, 1, op->u, op->v, NULL, op->u);
        normalise(op->inputs, op->u);
    }
    sr_plan_forward(op->plan, op->workspace, 1, op->u, op->v);
    return normalise(op->outputs, op->v);
}

void sr_spectral_apply(sr_spectral *spectral, size_t iterations, const float *theta,
                       float *effective) {
    memcpy(effective, theta, spectral->net.parameters * sizeof(float));
    if (spectral->fresh && iterations < FIRST_ITERATIONS)
        iterations = FIRST_ITERATIONS;
    spectral->fresh = false;
    for (size_t l = 0; l < spectral->net.layer_count; l++) {
        operator_ *op = &spectral->layers[l];
        spectral->values[l] = operator_iterate(op, theta, iterations);
        float *w = effective + op->layer.weight;
        for (size_t i = 0; i < op->weights; i++)
            w[i] = (float)(w[i] / spectral->values[l]);
    }
}

void sr_spectral_pull_back(sr_spectral *spectral, const float *effective, float *gradient) {
    for (size_t l = 0; l < spectral->net.layer_count; l++) {
        operator_ *op = &spectral->layers[l];
        // sigma = <v, W u> at fixed unit u, v: dsigma/dW is the backward-weights of v at input u
        sr_plan_gradient_theta(op->plan, op->workspace, 1, op->u, op->v, NULL, NULL, NULL,
                               op->dsigma);
        const float *w = effective + op->layer.weight;
        float *g = gradient + op->layer.weight;
        double along = 0;
        for (size_t i = 0; i < op->weights; i++)
            along += (double)g[i] * w[i];
        for (size_t i = 0; i < op->weights; i++)
            g[i] = (float)((g[i] - along * op->dsigma[i]) / spectral->values[l]);
    }
}

const double *sr_spectral_values(const sr_spectral *spectral) {
    return spectral->values;
}

static void vector_name(char name[48], const operator_ *op) {
    snprintf(name, 48, "spectral.%zu.u", op->layer.torch_index);
}

sr_status sr_spectral_put(const sr_spectral *spectral, sr_tensors *tensors) {
    char name[48];
    for (size_t l = 0; l < spectral->net.layer_count; l++) {
        const operator_ *op = &spectral->layers[l];
        vector_name(name, op);
        sr_status status = sr_tensors_add(tensors, name, SR_F32, 1, &op->inputs, op->u);
        if (status)
            return status;
    }
    return SR_OK;
}

sr_status sr_spectral_take(sr_spectral *spectral, const sr_tensors *tensors) {
    char name[48];
    for (size_t l = 0; l < spectral->net.layer_count; l++) {
        operator_ *op = &spectral->layers[l];
        vector_name(name, op);
        const sr_array *found = sr_tensors_find(tensors, name);
        if (!found || found->dtype != SR_F32 || found->rank != 1 || found->shape[0] != op->inputs)
            return sr_fail(SR_ERROR_FORMAT, "tensor '%s' is missing or not F32 of %zu values", name,
                           op->inputs);
        memcpy(op->u, found->data, op->inputs * sizeof(float));
    }
    spectral->fresh = false;
    return SR_OK;
}
