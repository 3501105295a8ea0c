// The native engine's memory: chains, their packed weights, and the states of threads.
#include "kernels/native.h"

#include <string.h>

// Few input channels leave too few sums to hide the latency of a multiply-add: then the products
// with all taps are formed first and added in place afterwards.
static bool layer_is_thin(const sr_conv_shape *s) {
    return s->in_channels <= 4 && s->kernel_height * s->kernel_width > 1 &&
           s->out_height * s->out_width > 1;
}

static sr_conv_shape layer_shape(const sr_layer *layers, size_t l) {
    const sr_conv_shape *s = &layers[l].shape;
    if (l == 0 || !layers[l].dense)
        return *s;
    const sr_conv_shape *before = &layers[l - 1].shape;
    return sr_conv_shape_make(before->out_channels, before->out_height, before->out_width,
                              s->out_channels, before->out_height, before->out_width, 1, 0);
}

static sr_status layer_create(const native_chain *chain, const sr_layer *layers, size_t l,
                              native_layer *out) {
    out->layer = layers[l];
    out->shape = layer_shape(layers, l);
    const sr_conv_shape *s = &out->shape;
    out->thin = l == 0 && layer_is_thin(s);
    const sr_lanes_format *format = chain->format;
    sr_status status = sr_lanes_conv_create(s, false, format, &out->forward);
    if (status)
        return status;
    if (out->thin) {
        const size_t products = s->kernel_height * s->kernel_width * s->in_channels;
        const sr_conv_shape all =
            sr_conv_shape_make(s->out_channels, s->out_height, s->out_width, products, 1, 1, 1, 0);
        status = sr_lanes_conv_create(&all, false, format, &out->backward);
    } else {
        status = sr_lanes_conv_create(s, true, format, &out->backward);
    }
    return status;
}

static void chain_layout(native_chain *chain, arena *a) {
    for (size_t l = 0; l < chain->count; l++) {
        native_layer *layer = &chain->layers[l];
        layer->w_forward = take(a, chain->format->packed_words(&layer->forward));
        layer->w_backward = take(a, chain->format->packed_words(&layer->backward));
        layer->bias = take(a, layer->shape.out_channels);
    }
    chain->tap_weights = take(a, sr_layer_weights(&chain->layers[0].layer));
}

void sr_native_destroy(void *self) {
    native_chain *chain = self;
    if (!chain)
        return;
    for (size_t l = 0; chain->layers && l < chain->count; l++) {
        native_layer *layer = &chain->layers[l];
        sr_lanes_conv_clear(&layer->forward);
        sr_lanes_conv_clear(&layer->backward);
    }
    sr_free(chain->layers);
    sr_free(chain->memory);
    sr_free(chain);
}

sr_status sr_native_create(const sr_layer *layers, size_t count, size_t batch,
                           sr_precision precision, void **out) {
    *out = NULL;
    native_chain *chain = sr_alloc(1, sizeof *chain);
    if (!chain)
        return SR_ERROR_MEMORY;
    *chain = (native_chain){.count = count,
                            .batch = round_up(batch, SR_LANES),
                            .lanes = sr_lanes_get(),
                            .kernels = sr_kernels_get()};
    chain->format = &chain->lanes->formats[precision];
    chain->layers = sr_alloc(count, sizeof *chain->layers);
    sr_status status = chain->layers ? SR_OK : SR_ERROR_MEMORY;
    for (size_t l = 0; l < count && !status; l++)
        status = layer_create(chain, layers, l, &chain->layers[l]);
    arena a = {0};
    if (!status) {
        chain_layout(chain, &a);
        a = (arena){.memory = chain->memory = sr_alloc(a.used, 1)};
        status = a.memory ? SR_OK : SR_ERROR_MEMORY;
    }
    if (!status)
        chain_layout(chain, &a);
    if (status)
        sr_native_destroy(chain);
    else
        *out = chain;
    return status;
}

// w (O, C, taps) to (taps x C, O), what the thin backward pass multiplies with.
static void taps_first(const sr_conv_shape *s, const float *w, float *out) {
    const size_t taps = s->kernel_height * s->kernel_width;
    for (size_t o = 0; o < s->out_channels; o++)
        for (size_t c = 0; c < s->in_channels; c++)
            for (size_t t = 0; t < taps; t++)
                out[(t * s->in_channels + c) * s->out_channels + o] =
                    w[(o * s->in_channels + c) * taps + t];
}

void sr_native_set_weights(void *self, const float *theta) {
    native_chain *chain = self;
    for (size_t l = 0; l < chain->count; l++) {
        native_layer *layer = &chain->layers[l];
        const float *w = theta + layer->layer.weight;
        memcpy(layer->bias, theta + layer->layer.bias, layer->shape.out_channels * sizeof(float));
        chain->format->pack(&layer->forward, w, layer->w_forward);
        if (layer->thin) {
            taps_first(&layer->shape, w, chain->tap_weights);
            w = chain->tap_weights;
        }
        chain->format->pack(&layer->backward, w, layer->w_backward);
    }
}

void sr_native_state_destroy(void *self) {
    native_state *state = self;
    if (!state)
        return;
    sr_native_tangents_destroy(state->tangents);
    sr_free(state->layers);
    sr_free(state->memory);
    sr_free(state);
}

static void tensors_layout(const native_chain *chain, size_t l, native_tensors *t, arena *a) {
    const native_layer *layer = &chain->layers[l];
    const bool last = l + 1 == chain->count;
    const size_t channels = layer->shape.out_channels, words = words_of(chain, channels);
    const size_t values = out_pixels(layer) * chain->batch;
    const bool wide = last || chain->format->derivative_floats;
    t->y = take(a, values * (last ? channels : words));
    t->d = take(a, values * (wide ? channels : words));
    t->g = wide && !chain->format->floats ? take(a, values * words) : t->d;
}

size_t sr_native_sums_floats(const native_layer *layer, size_t lanes) {
    const sr_lanes_conv *forward = &layer->forward, *backward = &layer->backward;
    const size_t channels = layer->thin ? backward->out_channels : sr_lanes_block(backward, 0);
    return lanes *
           larger(forward->out_width * sr_lanes_block(forward, 0), backward->out_width * channels);
}

static void state_layout(native_state *state, arena *a) {
    const native_chain *chain = state->chain;
    const size_t lanes = chain->batch;
    const native_layer *first = &chain->layers[0], *last = &chain->layers[chain->count - 1];
    const size_t inputs = in_pixels(first) * first->shape.in_channels;
    const size_t words = in_pixels(first) * words_of(chain, first->shape.in_channels);
    size_t sums = 0;
    state->x = take(a, inputs * lanes);
    state->input = chain->format->floats ? (uint32_t *)(void *)state->x : take(a, words * lanes);
    state->seed = take(a, out_pixels(last) * last->shape.out_channels * lanes);
    state->dx = take(a, inputs * lanes);
    for (size_t l = 0; l < chain->count; l++) {
        tensors_layout(chain, l, &state->layers[l], a);
        sums = larger(sums, sr_native_sums_floats(&chain->layers[l], lanes));
    }
    state->sums = take(a, sums);
    state->slopes = take(a, sums);
    sr_native_weights_layout(state, a);
}

sr_status sr_native_state_create(const void *self, void **out) {
    const native_chain *chain = self;
    arena a = {0};
    *out = NULL;
    native_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->chain = chain;
    state->layers = sr_alloc(chain->count, sizeof *state->layers);
    if (!state->layers)
        goto fail;
    state_layout(state, &a);
    a = (arena){.memory = state->memory = sr_alloc(a.used, 1)};
    if (!a.memory)
        goto fail;
    state_layout(state, &a);
    *out = state;
    return SR_OK;
fail:
    sr_native_state_destroy(state);
    return SR_ERROR_MEMORY;
}
