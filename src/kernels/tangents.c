// See tangents.h; the mathematics is that of native_tangents.c.
#include "kernels/tangents.h"

#include <string.h>

typedef struct tangent_layer {
    sr_layer layer;
    const sr_chain_ops *ops;
    void *chain;                    // this layer alone: no activation, bias zero
    size_t inputs, outputs, pixels; // of one sample; pixels of one output channel
} tangent_layer;

struct sr_tangents {
    size_t count, batch, parameters;
    tangent_layer *layers; // (count)
    float *theta;          // (parameters)
    float *weights;        // (parameters): with biases of zero
};

// Rows [0, n) of an array are values, rows [n, 2n) their tangents: one product of the engine takes
// both.
typedef struct layer_state {
    void *state;
    float *y;      // (2 batch, outputs): output; on the way back the gradient at it
    float *d, *dt; // (batch, outputs): derivative of the activation and its tangent
} layer_state;

struct sr_tangents_state {
    const sr_tangents *tangents;
    float *x;            // (2 batch, inputs): input; at the end the gradient at it
    layer_state *layers; // (count)
};

void sr_tangents_destroy(sr_tangents *t) {
    if (!t)
        return;
    for (size_t l = 0; t->layers && l < t->count; l++)
        if (t->layers[l].chain)
            t->layers[l].ops->destroy(t->layers[l].chain);
    sr_free(t->layers);
    sr_free(t->theta);
    sr_free(t->weights);
    sr_free(t);
}

sr_status sr_tangents_create(const sr_layer *layers, size_t count, const sr_engine *engines,
                             size_t batch, sr_precision precision, sr_tangents **out) {
    *out = NULL;
    sr_tangents *t = sr_alloc(1, sizeof *t);
    if (!t)
        return SR_ERROR_MEMORY;
    t->count = count;
    t->batch = batch;
    t->parameters = layers[count - 1].bias + layers[count - 1].shape.out_channels;
    t->layers = sr_alloc(count, sizeof *t->layers);
    t->theta = sr_alloc(t->parameters, sizeof *t->theta);
    t->weights = sr_alloc(t->parameters, sizeof *t->weights);
    sr_status status = t->layers && t->theta && t->weights ? SR_OK : SR_ERROR_MEMORY;
    for (size_t l = 0; !status && l < count; l++) {
        sr_layer linear = layers[l];
        linear.activation = SR_IDENTITY;
        t->layers[l] =
            (tangent_layer){.layer = layers[l],
                            .ops = sr_chain_ops_for(engines[l]),
                            .inputs = sr_layer_inputs(&layers[l]),
                            .outputs = sr_layer_outputs(&layers[l]),
                            .pixels = layers[l].shape.out_height * layers[l].shape.out_width};
        status = t->layers[l].ops->create(&linear, 1, 2 * batch, precision, &t->layers[l].chain);
    }
    if (status)
        sr_tangents_destroy(t);
    else
        *out = t;
    return status;
}

void sr_tangents_set_weights(sr_tangents *t, const float *theta) {
    memcpy(t->theta, theta, t->parameters * sizeof *theta);
    memcpy(t->weights, theta, t->parameters * sizeof *theta);
    for (size_t l = 0; l < t->count; l++) {
        const sr_layer *layer = &t->layers[l].layer;
        memset(t->weights + layer->bias, 0, layer->shape.out_channels * sizeof *theta);
    }
    for (size_t l = 0; l < t->count; l++)
        t->layers[l].ops->set_weights(t->layers[l].chain, t->weights);
}

void sr_tangents_state_destroy(sr_tangents_state *state) {
    if (!state)
        return;
    for (size_t l = 0; state->layers && l < state->tangents->count; l++) {
        const layer_state *own = &state->layers[l];
        if (own->state)
            state->tangents->layers[l].ops->state_destroy(own->state);
        sr_free(own->y);
    }
    sr_free(state->layers);
    sr_free(state->x);
    sr_free(state);
}

sr_status sr_tangents_state_create(const sr_tangents *t, sr_tangents_state **out) {
    *out = NULL;
    sr_tangents_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->tangents = t;
    state->layers = sr_alloc(t->count, sizeof *state->layers);
    state->x = sr_alloc(t->batch * t->layers[0].inputs, 2 * sizeof *state->x);
    sr_status status = state->layers && state->x ? SR_OK : SR_ERROR_MEMORY;
    for (size_t l = 0; !status && l < t->count; l++) {
        layer_state *own = &state->layers[l];
        const size_t values = t->batch * t->layers[l].outputs;
        own->y = sr_alloc(values, 4 * sizeof *own->y);
        if (!own->y) {
            status = SR_ERROR_MEMORY;
            break;
        }
        own->d = own->y + 2 * values;
        own->dt = own->d + values;
        status = t->layers[l].ops->state_create(t->layers[l].chain, &own->state);
    }
    if (status)
        sr_tangents_state_destroy(state);
    else
        *out = state;
    return status;
}

// z (n, channels, pixels)
static void add_bias(const tangent_layer *layer, const float *bias, size_t n, float *z) {
    const size_t channels = layer->layer.shape.out_channels, pixels = layer->pixels;
    for (size_t i = 0; i < n; i++, z += channels * pixels) {
        if (pixels == 1) // one loop, or dense layers pay for one an element
            for (size_t c = 0; c < channels; c++)
                z[c] += bias[c];
        else
            for (size_t c = 0; c < channels; c++)
                for (size_t p = 0; p < pixels; p++)
                    z[c * pixels + p] += bias[c];
    }
}

static void forward(const sr_tangents *t, sr_tangents_state *state, size_t n) {
    const sr_kernels *kernels = sr_kernels_get();
    for (size_t l = 0; l < t->count; l++) {
        const tangent_layer *layer = &t->layers[l];
        layer_state *own = &state->layers[l];
        const size_t values = n * layer->outputs;
        float *y = own->y, *yt = y + values;
        layer->ops->forward(layer->chain, own->state, 2 * n, l ? own[-1].y : state->x, y);
        add_bias(layer, t->theta + layer->layer.bias, n, y);
        kernels->activation(layer->layer.activation, values, y, y, own->d, own->dt);
        kernels->multiply(values, own->dt, yt, own->dt);
        kernels->multiply(values, own->d, yt, yt);
    }
}

static void backward(const sr_tangents *t, sr_tangents_state *state, size_t n) {
    const sr_kernels *kernels = sr_kernels_get();
    for (size_t l = t->count; l-- > 0;) {
        const tangent_layer *layer = &t->layers[l];
        layer_state *own = &state->layers[l];
        const size_t values = n * layer->outputs;
        float *g = own->y, *gt = g + values;
        if (l + 1 == t->count) { // the seed is one, its tangent zero
            memcpy(g, own->d, values * sizeof *g);
            memcpy(gt, own->dt, values * sizeof *gt);
        } else {
            kernels->multiply_tangent(values, g, gt, own->d, own->dt, g, gt);
        }
        layer->ops->backward_data(layer->chain, own->state, 2 * n, g, l ? own[-1].y : state->x);
    }
}

void sr_tangents_hessian_vector(const sr_tangents *t, sr_tangents_state *state, size_t n,
                                const float *x, const float *v, float *out, float *dx, float *hv) {
    const size_t inputs = n * t->layers[0].inputs, last = t->count - 1;
    memcpy(state->x, x, inputs * sizeof *x);
    memcpy(state->x + inputs, v, inputs * sizeof *v);
    forward(t, state, n);
    memcpy(out, state->layers[last].y, n * t->layers[last].outputs * sizeof *out);
    backward(t, state, n);
    if (dx)
        memcpy(dx, state->x, inputs * sizeof *dx);
    memcpy(hv, state->x + inputs, inputs * sizeof *hv);
}
