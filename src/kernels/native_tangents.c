// Hessian-vector products of the native engine: forward over reverse. Each layer's convolution runs
// twice over the same packed weights, for the values and for their tangents in the direction v;
// with z = W y + b before an activation, d = act'(z) and dy the gradient behind it,
//   forward:   yt = d zt,  dt = act''(z) zt,   zt = W yt of the layer below
//   backward:  g = d dy,   gt = d dyt + dt dy,  dy and dyt the gradients W^T g, W^T gt from above
// and H v is the tangent of the gradient at the input (Pearlmutter 1994).
#include "kernels/native.h"

#include <string.h>

// ---- memory -------------------------------------------------------------------------------------

void sr_native_tangents_destroy(native_tangents *t) {
    if (!t)
        return;
    sr_free(t->layers);
    sr_free(t->memory);
    sr_free(t);
}

static void layout(const native_chain *chain, native_tangents *t, arena *a) {
    const native_layer *first = &chain->layers[0];
    const size_t lanes = chain->batch, channels = first->shape.in_channels;
    size_t sums = 0;
    t->xt = take(a, in_pixels(first) * channels * lanes);
    t->input_t = chain->format->floats
                     ? (uint32_t *)(void *)t->xt
                     : take(a, in_pixels(first) * words_of(chain, channels) * lanes);
    t->dxt = take(a, in_pixels(first) * channels * lanes);
    for (size_t l = 0; l < chain->count; l++) {
        const native_layer *layer = &chain->layers[l];
        native_tangent *one = &t->layers[l];
        const size_t values = out_pixels(layer) * layer->shape.out_channels * lanes;
        const size_t words = out_pixels(layer) * words_of(chain, layer->shape.out_channels) * lanes;
        uint32_t **const formatted[] = {&one->y, &one->yt, &one->g, &one->gt};
        for (size_t i = 0; i < 4; i++)
            *formatted[i] = take(a, words);
        one->d = take(a, values);
        one->dt = take(a, values);
        sums = larger(sums, sr_native_sums_floats(layer, lanes));
    }
    t->sums_t = take(a, sums);
    t->work = take(a, sums);
}

sr_status sr_native_reserve_tangents(const void *self, void *state_) {
    const native_chain *chain = self;
    native_state *state = state_;
    arena a = {0};
    native_tangents *t = sr_alloc(1, sizeof *t);
    if (!t)
        return SR_ERROR_MEMORY;
    t->layers = sr_alloc(chain->count, sizeof *t->layers);
    if (t->layers) {
        layout(chain, t, &a);
        a = (arena){.memory = t->memory = sr_alloc(a.used, 1)};
    }
    if (!t->layers || !a.memory) {
        sr_native_tangents_destroy(t);
        return SR_ERROR_MEMORY;
    }
    layout(chain, t, &a);
    state->tangents = t;
    return SR_OK;
}

// ---- one row and block --------------------------------------------------------------------------

// Channels [first, first + count) of one row of a layer's outputs.
typedef struct piece {
    size_t row, first, count;
    size_t floats; // out_width * count * lanes
    size_t at;     // of d and dt
} piece;

static piece piece_at(const native_layer *layer, const sr_lanes_conv *blocks, size_t lanes,
                      size_t row, size_t first) {
    const sr_conv_shape *s = &layer->shape;
    const size_t count = sr_lanes_block(blocks, first);
    return (piece){.row = row,
                   .first = first,
                   .count = count,
                   .floats = s->out_width * count * lanes,
                   .at = (row * s->out_channels + first) * s->out_width * lanes};
}

// From contiguous floats (width, count, lanes) to a tensor in the format.
static void write_piece(const native_chain *chain, const native_layer *layer, const piece *p,
                        size_t lanes, const float *in, uint32_t *out) {
    const sr_conv_shape *s = &layer->shape;
    const size_t pixel = words_of(chain, s->out_channels) * lanes;
    out += p->row * s->out_width * pixel;
    for (size_t j = 0; j < s->out_width; j++)
        chain->format->write(s->out_channels, p->first, p->count, lanes, in + j * p->count * lanes,
                             out + j * pixel);
}

static void convolve(const native_chain *chain, const sr_lanes_conv *conv, const uint32_t *packed,
                     const float *bias, const piece *p, size_t lanes, const uint32_t *in,
                     float *out) {
    chain->format->conv(conv, p->row, p->first, p->count, lanes, in, packed, bias, out,
                        p->count * lanes);
}

// ---- passes -------------------------------------------------------------------------------------

// out (NULL: not the last layer) receives (pixels, channels, lanes) floats.
static void layer_forward(const native_chain *chain, native_state *state, size_t l, float *out) {
    const native_layer *layer = &chain->layers[l];
    const sr_kernels *kernels = chain->kernels;
    native_tangents *t = state->tangents;
    native_tangent *own = &t->layers[l];
    const uint32_t *x = l ? t->layers[l - 1].y : state->input;
    const uint32_t *xt = l ? t->layers[l - 1].yt : t->input_t;
    const sr_conv_shape *s = &layer->shape;
    const size_t lanes = state->width;
    for (size_t row = 0; row < s->out_height; row++) {
        for (size_t first = 0; first < s->out_channels;) {
            const piece p = piece_at(layer, &layer->forward, lanes, row, first);
            float *d = own->d + p.at, *dt = own->dt + p.at, *z = state->sums, *zt = t->sums_t;
            convolve(chain, &layer->forward, layer->w_forward, layer->bias, &p, lanes, x, z);
            convolve(chain, &layer->forward, layer->w_forward, NULL, &p, lanes, xt, zt);
            kernels->activation(layer->layer.activation, p.floats, z, z, d, dt);
            kernels->multiply(p.floats, dt, zt, dt);
            first += p.count;
            if (out) {
                for (size_t j = 0; j < s->out_width; j++)
                    memcpy(out + ((row * s->out_width + j) * s->out_channels + p.first) * lanes,
                           z + j * p.count * lanes, p.count * lanes * sizeof *out);
                continue;
            }
            kernels->multiply(p.floats, d, zt, zt);
            write_piece(chain, layer, &p, lanes, z, own->y);
            write_piece(chain, layer, &p, lanes, zt, own->yt);
        }
    }
}

// The last layer's gradients: those of the sum of all outputs, so dy = 1 and its tangent 0.
static void seed_last(const native_chain *chain, native_state *state) {
    const native_layer *last = &chain->layers[chain->count - 1];
    native_tangent *own = &state->tangents->layers[chain->count - 1];
    const size_t lanes = state->width;
    for (size_t row = 0; row < last->shape.out_height; row++) {
        for (size_t first = 0; first < last->shape.out_channels;) {
            const piece p = piece_at(last, &last->forward, lanes, row, first);
            write_piece(chain, last, &p, lanes, own->d + p.at, own->g);
            write_piece(chain, last, &p, lanes, own->dt + p.at, own->gt);
            first += p.count;
        }
    }
}

// From the gradients before the activation of layer l >= 1 to those of layer l - 1.
static void layer_backward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l], *below = &chain->layers[l - 1];
    native_tangents *t = state->tangents;
    const native_tangent *own = &t->layers[l];
    native_tangent *to = &t->layers[l - 1];
    const size_t lanes = state->width;
    for (size_t row = 0; row < layer->backward.out_height; row++) {
        for (size_t first = 0; first < layer->backward.out_channels;) {
            const piece p = piece_at(below, &layer->backward, lanes, row, first);
            float *dy = state->sums, *dyt = t->sums_t;
            convolve(chain, &layer->backward, layer->w_backward, NULL, &p, lanes, own->g, dy);
            convolve(chain, &layer->backward, layer->w_backward, NULL, &p, lanes, own->gt, dyt);
            chain->kernels->multiply_tangent(p.floats, dy, dyt, to->d + p.at, to->dt + p.at, dy,
                                             dyt);
            write_piece(chain, below, &p, lanes, dy, to->g);
            write_piece(chain, below, &p, lanes, dyt, to->gt);
            first += p.count;
        }
    }
}

void sr_native_hessian_vector(const void *self, void *state_, size_t n, const float *x,
                              const float *v, float *out, float *dx, float *hv) {
    const native_chain *chain = self;
    native_state *state = state_;
    native_tangents *t = state->tangents;
    const native_layer *first = &chain->layers[0], *last = &chain->layers[chain->count - 1];
    const size_t pixels = in_pixels(first), channels = first->shape.in_channels;
    const size_t lanes = state->width = round_up(n, SR_LANES);
    sr_native_rows_to_lanes(n, pixels, channels, lanes, x, state->x);
    sr_native_rows_to_lanes(n, pixels, channels, lanes, v, t->xt);
    if (!chain->format->floats) {
        sr_native_write_pixels(chain, pixels, channels, lanes, state->x, state->input);
        sr_native_write_pixels(chain, pixels, channels, lanes, t->xt, t->input_t);
    }
    for (size_t l = 0; l + 1 < chain->count; l++)
        layer_forward(chain, state, l, NULL);
    layer_forward(chain, state, chain->count - 1, state->seed);
    sr_native_lanes_to_rows(n, out_pixels(last), last->shape.out_channels, lanes, state->seed, out);
    seed_last(chain, state);
    for (size_t l = chain->count - 1; l > 0; l--)
        layer_backward(chain, state, l);
    sr_native_first_backward(chain, lanes, t->layers[0].gt, state->sums, t->dxt);
    if (dx) {
        sr_native_first_backward(chain, lanes, t->layers[0].g, state->sums, state->dx);
        sr_native_lanes_to_rows(n, pixels, channels, lanes, state->dx, dx);
    }
    sr_native_lanes_to_rows(n, pixels, channels, lanes, t->dxt, hv);
}
