// The native engine's backward-weights. Input rows are transposed, so that a vector holds (tap,
// channel) of one sample; sums run over pixels and sixteen samples at a time.
#include "kernels/native.h"

#include <string.h>

// Columns of a block of backward-weights: a kernel row's taps and channels, in whole vectors.
static size_t weight_columns(const sr_conv_shape *s) {
    return round_up(s->kernel_width * s->in_channels, SR_LANES);
}

static size_t row_words(const sr_conv_shape *s) { // one transposed input row
    return SR_LANES * (s->in_width + 2 * s->padding) * s->in_channels;
}

void sr_native_weights_layout(native_state *state, arena *a) {
    const native_chain *chain = state->chain;
    size_t rows = 0, row = 0, dy = 0, dw = 0, channels = 0;
    for (size_t l = 0; l < chain->count; l++) {
        const sr_conv_shape *s = &chain->layers[l].shape;
        rows = larger(rows, s->kernel_height * row_words(s));
        row = larger(row, s->in_width * s->in_channels * chain->batch);
        dy = larger(dy, s->out_width * s->out_channels * chain->batch);
        channels = larger(channels, s->out_channels);
        dw = larger(dw, s->kernel_height * s->out_channels * weight_columns(s));
    }
    state->rows = take(a, rows + SR_LANES); // a last block may read beyond its row
    state->row = take(a, row);
    state->dy = take(a, dy);
    state->dy_pairs = take(a, dy / 2);
    state->dw = take(a, dw);
    state->lane_sums = take(a, channels * SR_LANES);
}

// A row of floats (width, channels, lanes) from a tensor between layers.
static const float *floats_of_row(const native_chain *chain, const uint32_t *tensor, size_t row,
                                  size_t width, size_t channels, size_t lanes, float *scratch) {
    const size_t pixel = words_of(chain, channels) * lanes;
    const uint32_t *at = tensor + row * width * pixel;
    if (chain->format->floats)
        return (const float *)(const void *)at;
    for (size_t j = 0; j < width; j++)
        chain->format->read(channels, lanes, at + j * pixel, scratch + j * channels * lanes);
    return scratch;
}

// Two samples in one word, of floats that bf16 holds exactly.
static uint32_t sample_pair(const float *two) {
    uint32_t bits[2];
    memcpy(bits, two, sizeof bits);
    return bits[0] >> 16 | (bits[1] & 0xffff0000u);
}

// Backward-weights multiplies in bf16 what is bf16; the parts of a split format it takes together.
static bool weights_in_pairs(const native_chain *chain) {
    return !chain->format->floats && !chain->format->split;
}

// Input row i of layer l, of the sixteen samples from `lane` on, transposed into its slot: words of
// floats, or of pairs of samples.
static void transpose_row(const native_chain *chain, native_state *state, size_t l, size_t i,
                          size_t lane) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const size_t lanes = state->width, row = (s->in_width + 2 * s->padding) * s->in_channels;
    const uint32_t *tensor = l > 0 ? state->layers[l - 1].y : state->input;
    const float *x =
        floats_of_row(chain, tensor, i, s->in_width, s->in_channels, lanes, state->row) + lane;
    uint32_t *out = state->rows + i % s->kernel_height * row_words(s);
    const size_t edge = s->padding * s->in_channels, inner = s->in_width * s->in_channels;
    const size_t step = weights_in_pairs(chain) ? 2 : 1; // samples a word
    for (size_t n = 0; n < SR_LANES; n += step, out += row, x += step) {
        memset(out, 0, edge * sizeof *out);
        if (step == 1)
            for (size_t k = 0; k < inner; k++)
                memcpy(&out[edge + k], &x[k * lanes], sizeof *out);
        else
            for (size_t k = 0; k < inner; k++)
                out[edge + k] = sample_pair(x + k * lanes);
        memset(out + edge + inner, 0, edge * sizeof *out);
    }
}

// Row i of the gradient before the activation of layer l: words (width, channels, lanes or, in
// pairs, half of them).
static const uint32_t *gradient_row(const native_chain *chain, native_state *state, size_t l,
                                    size_t i) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const size_t n = s->out_width * s->out_channels * state->width;
    const float *dy = floats_of_row(chain, state->layers[l].g, i, s->out_width, s->out_channels,
                                    state->width, state->dy);
    if (!weights_in_pairs(chain))
        return (const uint32_t *)(const void *)dy;
    for (size_t k = 0; k < n / 2; k++)
        state->dy_pairs[k] = sample_pair(dy + 2 * k);
    return state->dy_pairs;
}

// Adds the weight gradient of the sixteen samples from `lane` on to state->dw, (kernel row, out
// channel, columns), row by row of the output.
static void weights_of_samples(const native_chain *chain, native_state *state, size_t l,
                               size_t lane) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const bool pairs = weights_in_pairs(chain);
    const size_t lanes = state->width / (pairs ? 2 : 1), columns = weight_columns(s);
    const size_t row_step = (s->in_width + 2 * s->padding) * s->in_channels;
    size_t ready = 0; // input rows that were transposed
    for (size_t i = 0; i < s->out_height; i++) {
        const sr_lanes_span *u = &layer->forward.rows[i];
        for (ready = larger(ready, u->in); ready < u->in + u->count; ready++)
            transpose_row(chain, state, l, ready, lane);
        const uint32_t *dy = gradient_row(chain, state, l, i) + lane / (pairs ? 2 : 1);
        for (size_t first = 0, count; first < s->out_channels; first += count) {
            const size_t rest = s->out_channels - first;
            count = rest < chain->lanes->weights_block ? rest : chain->lanes->weights_block;
            for (size_t k = 0; k < u->count; k++)
                chain->lanes->weights(pairs, count, columns / SR_LANES, s->out_width,
                                      dy + first * lanes, s->out_channels * lanes, lanes,
                                      state->rows + (u->in + k) % s->kernel_height * row_words(s),
                                      s->stride * s->in_channels, row_step,
                                      state->dw +
                                          ((u->tap + k) * s->out_channels + first) * columns);
        }
    }
}

// dbias (out_channels): sums over pixels and lanes; a lane's first, then the lanes in pairs.
static void bias_gradient(const native_chain *chain, native_state *state, size_t l, float *dbias) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const size_t lanes = state->width, channels = s->out_channels;
    memset(dbias, 0, channels * sizeof *dbias);
    for (size_t lane = 0; lane < lanes; lane += SR_LANES) {
        memset(state->lane_sums, 0, channels * SR_LANES * sizeof(float));
        for (size_t i = 0; i < s->out_height; i++) {
            const float *dy = floats_of_row(chain, state->layers[l].g, i, s->out_width, channels,
                                            lanes, state->dy);
            for (size_t o = 0; o < channels; o++)
                chain->lanes->sum(s->out_width, channels * lanes, dy + o * lanes + lane,
                                  state->lane_sums + o * SR_LANES);
        }
        for (size_t o = 0; o < channels; o++) {
            float *sum = state->lane_sums + o * SR_LANES;
            for (size_t half = SR_LANES / 2; half > 0; half /= 2)
                for (size_t k = 0; k < half; k++)
                    sum[k] += sum[k + half];
            dbias[o] += sum[0];
        }
    }
}

void sr_native_backward_weights(const void *self, void *state_, size_t n, float *dtheta) {
    const native_chain *chain = self;
    native_state *state = state_;
    (void)n; // lanes beyond n carry zero gradients
    double since = sr_lap_start(state->clock);
    for (size_t l = 0; l < chain->count; l++) {
        const native_layer *layer = &chain->layers[l];
        const sr_conv_shape *s = &layer->shape;
        const size_t columns = weight_columns(s);
        memset(state->dw, 0, s->kernel_height * s->out_channels * columns * sizeof(float));
        for (size_t lane = 0; lane < state->width; lane += SR_LANES)
            weights_of_samples(chain, state, l, lane);
        float *dw = dtheta + layer->layer.weight;
        for (size_t o = 0; o < s->out_channels; o++)
            for (size_t c = 0; c < s->in_channels; c++)
                for (size_t u = 0; u < s->kernel_height; u++)
                    for (size_t v = 0; v < s->kernel_width; v++)
                        *dw++ =
                            state->dw[(u * s->out_channels + o) * columns + v * s->in_channels + c];
        bias_gradient(chain, state, l, dtheta + layer->layer.bias);
        sr_lap_end(state->clock, sr_lap_slot(l, SR_BACKWARD_WEIGHTS), &since);
    }
}
