// Hessian-vector products of the native engine: forward over reverse. Each layer's convolution runs
// twice over the same packed weights, for the values and for their tangents in the direction v;
// with z = W y + b before an activation, d = act'(z) and dy the gradient behind it,
//   values:    y = act(z),   g = d dy,                  dy = W^T g from above,   bend = act''(z) dy
//   tangents:  yt = d zt,    gt = d dyt + bend zt,      zt = W yt from below,    dyt = W^T gt
// and H v is the tangent of the gradient at the input (Pearlmutter 1994). The values keep d and
// bend, so that any number of directions at the same x costs them once.
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
        one->bend = take(a, values);
        one->zt = take(a, values);
    }
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
    size_t at;     // of d, bend and zt
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

// ---- values: what all directions at the same x share --------------------------------------------

// out (NULL: not the last layer) receives (pixels, channels, lanes) floats.
static void values_forward(const native_chain *chain, native_state *state, size_t l, float *out) {
    const native_layer *layer = &chain->layers[l];
    native_tangents *t = state->tangents;
    native_tangent *own = &t->layers[l];
    const uint32_t *x = l ? t->layers[l - 1].y : state->input;
    const sr_conv_shape *s = &layer->shape;
    const size_t lanes = state->width;
    for (size_t row = 0; row < s->out_height; row++) {
        for (size_t first = 0; first < s->out_channels;) {
            const piece p = piece_at(layer, &layer->forward, lanes, row, first);
            float *z = state->sums;
            convolve(chain, &layer->forward, layer->w_forward, layer->bias, &p, lanes, x, z);
            chain->kernels->activation(layer->layer.activation, p.floats, z, z, own->d + p.at,
                                       own->bend + p.at);
            first += p.count;
            if (out) {
                for (size_t j = 0; j < s->out_width; j++)
                    memcpy(out + ((row * s->out_width + j) * s->out_channels + p.first) * lanes,
                           z + j * p.count * lanes, p.count * lanes * sizeof *out);
                continue;
            }
            write_piece(chain, layer, &p, lanes, z, own->y);
        }
    }
}

// The last layer's gradients are those of the sum of all outputs: dy = 1.
static void values_seed(const native_chain *chain, native_state *state) {
    const native_layer *last = &chain->layers[chain->count - 1];
    native_tangent *own = &state->tangents->layers[chain->count - 1];
    const size_t lanes = state->width;
    for (size_t row = 0; row < last->shape.out_height; row++) {
        for (size_t first = 0; first < last->shape.out_channels;) {
            const piece p = piece_at(last, &last->forward, lanes, row, first);
            write_piece(chain, last, &p, lanes, own->d + p.at, own->g);
            first += p.count;
        }
    }
}

// From the gradients before the activation of layer l >= 1 to those of layer l - 1.
static void values_backward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l], *below = &chain->layers[l - 1];
    native_tangent *to = &state->tangents->layers[l - 1];
    const size_t lanes = state->width;
    for (size_t row = 0; row < layer->backward.out_height; row++) {
        for (size_t first = 0; first < layer->backward.out_channels;) {
            const piece p = piece_at(below, &layer->backward, lanes, row, first);
            float *dy = state->sums, *bend = to->bend + p.at;
            convolve(chain, &layer->backward, layer->w_backward, NULL, &p, lanes,
                     state->tangents->layers[l].g, dy);
            chain->kernels->multiply(p.floats, bend, dy, bend);
            chain->kernels->multiply(p.floats, dy, to->d + p.at, dy);
            write_piece(chain, below, &p, lanes, dy, to->g);
            first += p.count;
        }
    }
}

// ---- tangents: one direction --------------------------------------------------------------------

static void tangent_forward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l];
    native_tangents *t = state->tangents;
    native_tangent *own = &t->layers[l];
    const uint32_t *xt = l ? t->layers[l - 1].yt : t->input_t;
    const size_t lanes = state->width;
    for (size_t row = 0; row < layer->shape.out_height; row++) {
        for (size_t first = 0; first < layer->shape.out_channels;) {
            const piece p = piece_at(layer, &layer->forward, lanes, row, first);
            float *zt = own->zt + p.at, *yt = state->sums;
            convolve(chain, &layer->forward, layer->w_forward, NULL, &p, lanes, xt, zt);
            first += p.count;
            if (l + 1 == chain->count) // dy = 1 has no tangent: gt = act''(z) zt
                chain->kernels->multiply(p.floats, own->bend + p.at, zt, yt);
            else
                chain->kernels->multiply(p.floats, own->d + p.at, zt, yt);
            write_piece(chain, layer, &p, lanes, yt, l + 1 == chain->count ? own->gt : own->yt);
        }
    }
}

static void tangent_backward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l], *below = &chain->layers[l - 1];
    native_tangents *t = state->tangents;
    native_tangent *to = &t->layers[l - 1];
    const size_t lanes = state->width;
    for (size_t row = 0; row < layer->backward.out_height; row++) {
        for (size_t first = 0; first < layer->backward.out_channels;) {
            const piece p = piece_at(below, &layer->backward, lanes, row, first);
            float *dyt = state->sums;
            convolve(chain, &layer->backward, layer->w_backward, NULL, &p, lanes, t->layers[l].gt,
                     dyt);
            chain->kernels->multiply_add(p.floats, dyt, to->d + p.at, to->zt + p.at,
                                         to->bend + p.at, dyt);
            write_piece(chain, below, &p, lanes, dyt, to->gt);
            first += p.count;
        }
    }
}

// ---- the engine's table -------------------------------------------------------------------------

void sr_native_hessian_again(const void *self, void *state_, size_t n, const float *v, float *hv) {
    const native_chain *chain = self;
    native_state *state = state_;
    native_tangents *t = state->tangents;
    const native_layer *first = &chain->layers[0];
    const size_t pixels = in_pixels(first), channels = first->shape.in_channels;
    const size_t lanes = state->width = round_up(n, SR_LANES);
    sr_native_rows_to_lanes(n, pixels, channels, lanes, v, t->xt);
    if (!chain->format->floats)
        sr_native_write_pixels(chain, pixels, channels, lanes, t->xt, t->input_t);
    for (size_t l = 0; l < chain->count; l++)
        tangent_forward(chain, state, l);
    for (size_t l = chain->count - 1; l > 0; l--)
        tangent_backward(chain, state, l);
    sr_native_first_backward(chain, lanes, t->layers[0].gt, state->sums, t->dxt);
    sr_native_lanes_to_rows(n, pixels, channels, lanes, t->dxt, hv);
}

void sr_native_hessian_vector(const void *self, void *state_, size_t n, const float *x,
                              const float *v, float *out, float *dx, float *hv) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *first = &chain->layers[0], *last = &chain->layers[chain->count - 1];
    const size_t pixels = in_pixels(first), channels = first->shape.in_channels;
    const size_t lanes = state->width = round_up(n, SR_LANES);
    sr_native_rows_to_lanes(n, pixels, channels, lanes, x, state->x);
    if (!chain->format->floats)
        sr_native_write_pixels(chain, pixels, channels, lanes, state->x, state->input);
    for (size_t l = 0; l + 1 < chain->count; l++)
        values_forward(chain, state, l, NULL);
    values_forward(chain, state, chain->count - 1, state->seed);
    sr_native_lanes_to_rows(n, out_pixels(last), last->shape.out_channels, lanes, state->seed, out);
    values_seed(chain, state);
    for (size_t l = chain->count - 1; l > 0; l--)
        values_backward(chain, state, l);
    if (dx) {
        sr_native_first_backward(chain, lanes, state->tangents->layers[0].g, state->sums,
                                 state->dx);
        sr_native_lanes_to_rows(n, pixels, channels, lanes, state->dx, dx);
    }
    sr_native_hessian_again(self, state_, n, v, hv);
}
