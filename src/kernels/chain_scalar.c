// The scalar engine: a chain of layers on the readable reference kernels. Slow and plain; what the
// other engines are checked against.
#include "kernels/chain.h"

#include <string.h>

typedef struct scalar_chain {
    size_t count, batch, parameters;
    sr_layer *layers; // (count)
    float *theta;     // (parameters)
} scalar_chain;

// What one layer leaves for its backward passes, each (batch, ...).
typedef struct scalar_tensors {
    float *x;          // input
    float *z;          // before the activation; after the forward pass: the output
    float *derivative; // of the activation
    float *dz;         // gradient before the activation
    float *dx;         // gradient at the input
} scalar_tensors;

typedef struct scalar_state {
    size_t count;
    scalar_tensors *layers; // (count)
    double *seconds;        // (count, SR_DIRECTION_COUNT), the caller's; NULL: not timed
} scalar_state;

static void chain_destroy(void *self) {
    scalar_chain *chain = self;
    if (!chain)
        return;
    sr_free(chain->theta);
    sr_free(chain->layers);
    sr_free(chain);
}

static sr_status chain_create(const sr_layer *layers, size_t count, size_t batch,
                              sr_precision precision, void **out) {
    *out = NULL;
    scalar_chain *chain = sr_alloc(1, sizeof *chain);
    if (!chain)
        return SR_ERROR_MEMORY;
    chain->count = count;
    chain->batch = batch;
    for (size_t l = 0; l < count; l++) {
        size_t end = layers[l].bias + layers[l].shape.out_channels;
        chain->parameters = end > chain->parameters ? end : chain->parameters;
    }
    chain->layers = sr_alloc(count, sizeof *layers);
    chain->theta = sr_alloc(chain->parameters, sizeof(float));
    if (!chain->layers || !chain->theta) {
        chain_destroy(chain);
        return SR_ERROR_MEMORY;
    }
    memcpy(chain->layers, layers, count * sizeof *layers);
    *out = chain;
    return SR_OK;
}

static void chain_set_weights(void *self, const float *theta) {
    scalar_chain *chain = self;
    memcpy(chain->theta, theta, chain->parameters * sizeof(float));
}

static void state_destroy(void *self) {
    scalar_state *state = self;
    if (!state)
        return;
    for (size_t l = 0; state->layers && l < state->count; l++) {
        sr_free(state->layers[l].x);
        sr_free(state->layers[l].z);
        sr_free(state->layers[l].derivative);
        sr_free(state->layers[l].dz);
        sr_free(state->layers[l].dx);
    }
    sr_free(state->layers);
    sr_free(state);
}

static sr_status state_create(const void *self, void **out) {
    const scalar_chain *chain = self;
    *out = NULL;
    scalar_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->count = chain->count;
    state->layers = sr_alloc(chain->count, sizeof *state->layers);
    if (!state->layers)
        goto fail;
    for (size_t l = 0; l < chain->count; l++) {
        scalar_tensors *t = &state->layers[l];
        size_t inputs = chain->batch * sr_layer_inputs(&chain->layers[l]);
        size_t outputs = chain->batch * sr_layer_outputs(&chain->layers[l]);
        t->x = sr_alloc(inputs, sizeof(float));
        t->dx = sr_alloc(inputs, sizeof(float));
        t->z = sr_alloc(outputs, sizeof(float));
        t->derivative = sr_alloc(outputs, sizeof(float));
        t->dz = sr_alloc(outputs, sizeof(float));
        if (!t->x || !t->dx || !t->z || !t->derivative || !t->dz)
            goto fail;
    }
    *out = state;
    return SR_OK;
fail:
    state_destroy(state);
    return SR_ERROR_MEMORY;
}

static void state_time_layers(void *self, double *seconds) {
    scalar_state *state = self;
    state->seconds = seconds;
}

static void chain_forward(const void *self, void *state_, size_t n, const float *x, float *out) {
    const scalar_chain *chain = self;
    scalar_state *state = state_;
    const sr_kernels *kernels = sr_kernels_get();
    double since = sr_lap_start(state->seconds);
    for (size_t l = 0; l < chain->count; l++) {
        const sr_layer *layer = &chain->layers[l];
        scalar_tensors *t = &state->layers[l];
        size_t outputs = n * sr_layer_outputs(layer);
        memcpy(t->x, l == 0 ? x : state->layers[l - 1].z, n * sr_layer_inputs(layer) * sizeof *x);
        sr_conv_forward_scalar(&layer->shape, n, t->x, chain->theta + layer->weight,
                               chain->theta + layer->bias, t->z);
        if (layer->activation != SR_IDENTITY)
            kernels->activation(layer->activation, outputs, t->z, t->z, t->derivative, NULL);
        if (l + 1 == chain->count)
            memcpy(out, t->z, outputs * sizeof *out);
        sr_lap_end(state->seconds, sr_lap_slot(l, SR_FORWARD), &since);
    }
}

static void chain_backward_data(const void *self, void *state_, size_t n, const float *seed,
                                float *dx) {
    const scalar_chain *chain = self;
    scalar_state *state = state_;
    const sr_kernels *kernels = sr_kernels_get();
    const float *dy = seed; // gradient at the output of layer l
    double since = sr_lap_start(state->seconds);
    for (size_t l = chain->count; l-- > 0;) {
        const sr_layer *layer = &chain->layers[l];
        scalar_tensors *t = &state->layers[l];
        size_t outputs = n * sr_layer_outputs(layer);
        if (layer->activation == SR_IDENTITY)
            memcpy(t->dz, dy, outputs * sizeof *dy);
        else
            kernels->multiply(outputs, dy, t->derivative, t->dz);
        if (l > 0 || dx)
            sr_conv_backward_data_scalar(&layer->shape, n, t->dz, chain->theta + layer->weight,
                                         l > 0 ? t->dx : dx);
        dy = t->dx;
        sr_lap_end(state->seconds, sr_lap_slot(l, SR_BACKWARD_DATA), &since);
    }
}

static void chain_backward_weights(const void *self, void *state_, size_t n, float *dtheta) {
    const scalar_chain *chain = self;
    scalar_state *state = state_;
    double since = sr_lap_start(state->seconds);
    for (size_t l = 0; l < chain->count; l++) {
        const sr_layer *layer = &chain->layers[l];
        sr_conv_backward_weights_scalar(&layer->shape, n, state->layers[l].x, state->layers[l].dz,
                                        dtheta + layer->weight, dtheta + layer->bias);
        sr_lap_end(state->seconds, sr_lap_slot(l, SR_BACKWARD_WEIGHTS), &since);
    }
}

const sr_chain_ops sr_chain_scalar = {
    .create = chain_create,
    .destroy = chain_destroy,
    .set_weights = chain_set_weights,
    .state_create = state_create,
    .state_destroy = state_destroy,
    .forward = chain_forward,
    .backward_data = chain_backward_data,
    .backward_weights = chain_backward_weights,
    .time_layers = state_time_layers,
};
