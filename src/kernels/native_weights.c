// The native engine's backward-weights. A layer with many channels on both sides multiplies
// transposed inputs, a vector of channels for each sample; one with few channels sums along the
// samples, over the patches under its kernel; and one whose few outputs see all inputs, or whose
// few inputs reach all outputs, takes dot products of samples. Sums run over pixels and over a
// group of samples at a time, in an order that the layer's shape alone decides.
#include "kernels/native.h"

#include <string.h>

typedef enum weights_kind { TRANSPOSED, ALONG, OUTPUT_DOTS, INPUT_DOTS } weights_kind;

// How backward-weights goes through one layer.
typedef struct weights_way {
    const sr_conv_shape *shape;
    weights_kind kind;
    bool pairs;     // tensors hold pairs; those of a split format are brought together
    size_t taps;    // of the kernel
    size_t units;   // words of an input pixel and sample
    size_t group;   // samples that are summed together
    bool begin;     // TRANSPOSED: every sum is formed at once, by one call
    size_t columns; // taps and channels; TRANSPOSED: a tap's channels, in whole vectors
    size_t input;   // words of an input row, transposed; or of the patches of one row
} weights_way;

// Backward-weights multiplies in bf16 what is bf16; the parts of a split format it takes together.
static bool weights_in_pairs(const native_chain *chain) {
    return !chain->format->floats && !chain->format->split;
}

static weights_kind kind_of(const sr_conv_shape *s) {
    const bool one = s->out_height * s->out_width == 1;
    const bool whole = one && s->padding == 0 && s->kernel_height == s->in_height &&
                       s->kernel_width == s->in_width;
    if (whole && s->out_channels < 4)
        return OUTPUT_DOTS;
    if (whole && s->kernel_height * s->kernel_width * s->in_channels < 4)
        return INPUT_DOTS;
    return s->in_channels < SR_LANES || s->out_channels < 4 ? ALONG : TRANSPOSED;
}

static weights_way way_of(const native_chain *chain, size_t l, size_t lanes) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const size_t taps = s->kernel_height * s->kernel_width, channels = s->in_channels;
    weights_way w = {.shape = s, .kind = kind_of(s), .taps = taps};
    w.pairs = weights_in_pairs(chain);
    w.units = w.pairs ? (channels + 1) / 2 : channels;
    w.group = lanes;
    w.columns = taps * channels;
    if (w.kind == ALONG)
        w.input = s->out_width * w.columns * lanes;
    if (w.kind == TRANSPOSED) {
        w.begin = s->out_height * s->out_width == 1 && s->padding == 0;
        w.group = w.begin ? lanes : SR_LANES;
        w.columns = round_up(w.units, SR_LANES) * (w.pairs ? 2 : 1);
        w.input = s->in_width * round_up(w.units, SR_LANES) * w.group;
    }
    return w;
}

void sr_native_weights_layout(native_state *state, arena *a) {
    const native_chain *chain = state->chain;
    const size_t lanes = chain->batch;
    size_t rows = 0, row = 0, dy = 0, dw = 0, sums = 0, channels = 0;
    for (size_t l = 0; l < chain->count; l++) {
        const weights_way w = way_of(chain, l, lanes);
        const sr_conv_shape *s = w.shape;
        const size_t of_row = s->out_width * round_up(s->out_channels, 2) * lanes;
        rows = larger(rows, (w.kind == ALONG ? 1 : s->kernel_height) * w.input);
        row = larger(row, (w.kind >= OUTPUT_DOTS ? w.taps : s->in_width) * s->in_channels * lanes);
        dy = larger(dy, of_row);
        dw = larger(dw, s->out_channels * w.columns * (w.kind == TRANSPOSED ? w.taps : 1));
        sums = larger(sums, w.kind == ALONG ? s->out_channels * w.columns * SR_LANES : 0);
        channels = larger(channels, s->out_channels);
    }
    state->rows = take(a, rows);
    state->row = take(a, chain->format->floats ? 0 : row);
    state->dy = take(a, chain->format->floats ? 0 : dy);
    state->dy_pairs = take(a, weights_in_pairs(chain) ? dy / 2 : 0);
    state->dw = take(a, dw + SR_LANES); // order reads whole vectors
    state->lane_sums = take(a, sums);
    state->bias_sums = take(a, channels * SR_LANES);
}

// A row of floats (width, channels, lanes) from a tensor between layers.
static const uint32_t *floats_of_row(const native_chain *chain, const uint32_t *at, size_t width,
                                     size_t channels, size_t lanes, float *scratch) {
    const size_t pixel = words_of(chain, channels) * lanes;
    if (chain->format->floats)
        return at;
    for (size_t j = 0; j < width; j++)
        chain->format->read(channels, lanes, at + j * pixel, scratch + j * channels * lanes);
    return (const uint32_t *)(const void *)scratch;
}

// Row i of the input of layer l, of all lanes, in the tensor's words.
static const uint32_t *input_row(const native_chain *chain, const native_state *state, size_t l,
                                 size_t i) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const uint32_t *tensor = l > 0 ? state->layers[l - 1].y : state->input;
    return tensor + i * s->in_width * words_of(chain, s->in_channels) * state->width;
}

// Row i of the gradient before the activation of layer l: floats, or pairs.
static const uint32_t *gradient_row(const native_chain *chain, native_state *state, size_t l,
                                    size_t i) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const uint32_t *row =
        state->layers[l].g + i * s->out_width * words_of(chain, s->out_channels) * state->width;
    if (!chain->format->split)
        return row;
    return floats_of_row(chain, row, s->out_width, s->out_channels, state->width, state->dy);
}

// Words of one pixel and sample of gradients.
static size_t gradient_units(const weights_way *w) {
    return w->pairs ? (w->shape->out_channels + 1) / 2 : w->shape->out_channels;
}

// ---- transposed ---------------------------------------------------------------------------------

// The slot of input row i.
static uint32_t *row_slot(const native_state *state, const weights_way *w, size_t i) {
    return state->rows + i % w->shape->kernel_height * w->input;
}

// Input row i of the samples of one group, transposed into its slot.
static void transpose_row(const native_chain *chain, native_state *state, size_t l,
                          const weights_way *w, size_t i, size_t lane) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width, pixel = round_up(w->units, SR_LANES) * w->group;
    const uint32_t *x = input_row(chain, state, l, i);
    if (chain->format->split)
        x = floats_of_row(chain, x, s->in_width, s->in_channels, lanes, state->row);
    uint32_t *out = row_slot(state, w, i);
    for (size_t j = 0; j < s->in_width; j++)
        chain->lanes->transpose(w->pairs, w->units, w->group, lanes,
                                x + j * w->units * lanes + lane, out + j * pixel);
}

// A block of out channels of one row of gradients: words of a group of samples.
typedef struct gradient_block {
    const uint32_t *words;
    size_t first, count;      // channels
    size_t position, channel; // strides
} gradient_block;

// The products of a block of gradients with one input row, which meets row u of the kernel.
static void multiply_row(const native_chain *chain, const weights_way *w, const gradient_block *dy,
                         size_t u, const uint32_t *x, float *dw) {
    const sr_conv_shape *s = w->shape;
    const size_t pixel = round_up(w->units, SR_LANES) * w->group;
    for (size_t v = 0; v < s->kernel_width; v++) {
        // outputs [begin, end) have their tap v inside
        const size_t begin = v < s->padding ? (s->padding - v + s->stride - 1) / s->stride : 0;
        const size_t last = s->in_width + s->padding; // inputs of tap v are below it
        size_t end = last > v ? (last - v + s->stride - 1) / s->stride : 0;
        end = end < s->out_width ? end : s->out_width;
        if (begin >= end)
            continue;
        const size_t at = (u * s->kernel_width + v) * s->out_channels + dy->first;
        chain->lanes->weights(w->pairs, w->begin, dy->count, w->columns / SR_LANES, end - begin,
                              w->group / (w->pairs ? 2 : 1), dy->words + begin * dy->position,
                              dy->position, dy->channel,
                              x + (begin * s->stride + v - s->padding) * pixel, s->stride * pixel,
                              dw + at * w->columns);
    }
}

// A block of a row of gradients: pairs of samples, or floats where they stand.
static gradient_block next_block(const native_chain *chain, const native_state *state,
                                 const weights_way *w, const uint32_t *dy, size_t first) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width, rest = s->out_channels - first;
    const size_t most = chain->lanes->weights_block;
    gradient_block out = {.first = first, .count = rest < most ? rest : most};
    if (w->pairs) {
        out.channel = w->group / 2;
        out.position = round_up(s->out_channels, 2) * out.channel;
        out.words = state->dy_pairs + first * out.channel;
        return out;
    }
    out.channel = lanes;
    out.position = s->out_channels * lanes;
    out.words = dy + first * lanes;
    return out;
}

// Adds the weight gradient of one group of samples to dw, (kernel row, kernel column, out channel,
// columns), row by row of the output.
static void transposed_group(const native_chain *chain, native_state *state, size_t l,
                             const weights_way *w, size_t lane, float *dw) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width;
    size_t ready = 0; // input rows that were transposed
    for (size_t i = 0; i < s->out_height; i++) {
        const sr_lanes_span *u = &chain->layers[l].forward.rows[i];
        for (ready = larger(ready, u->in); ready < u->in + u->count; ready++)
            transpose_row(chain, state, l, w, ready, lane);
        const uint32_t *dy = gradient_row(chain, state, l, i) + lane;
        chain->lanes->sum(w->pairs, s->out_channels, s->out_width, w->group, lanes, dy,
                          gradient_units(w) * lanes, state->bias_sums);
        if (w->pairs)
            chain->lanes->pair_samples(s->out_width * gradient_units(w), w->group, lanes, dy,
                                       state->dy_pairs);
        gradient_block block;
        for (size_t first = 0; first < s->out_channels; first += block.count) {
            block = next_block(chain, state, w, dy, first);
            for (size_t k = 0; k < u->count; k++)
                multiply_row(chain, w, &block, u->tap + k, row_slot(state, w, u->in + k), dw);
        }
    }
}

static void transposed(const native_chain *chain, native_state *state, size_t l,
                       const weights_way *w, float *dw) {
    const sr_conv_shape *s = w->shape;
    const bool ordered = w->taps == 1 && !w->pairs && w->columns == s->in_channels;
    float *sums = ordered ? dw : state->dw;
    if (!w->begin)
        memset(sums, 0, w->taps * s->out_channels * w->columns * sizeof *sums);
    for (size_t lane = 0; lane < state->width; lane += w->group)
        transposed_group(chain, state, l, w, lane, sums);
    for (size_t o = 0; o < s->out_channels && !ordered; o++)
        chain->lanes->order(w->pairs, s->in_channels, w->taps, s->out_channels * w->columns,
                            sums + o * w->columns, dw + o * s->in_channels * w->taps);
}

// ---- along the samples --------------------------------------------------------------------------

// One row of the kernel, from the pixel row x or zeros (NULL): to out (out width, taps, channels,
// lanes).
static void gather_row(const native_chain *chain, const native_state *state, size_t l,
                       const weights_way *w, const uint32_t *x, uint32_t *out) {
    const sr_conv_shape *s = w->shape;
    const size_t pixel = s->in_channels * state->width, width = s->kernel_width;
    const size_t patch = w->taps * pixel;
    const sr_lanes_kernels *kernels = chain->lanes;
    for (size_t j = 0, count; j < s->out_width; j += count, out += count * patch) {
        const sr_lanes_span *v = &chain->layers[l].forward.columns[j];
        for (count = 1; j + count < s->out_width && v->count == width && v[count].count == width;)
            count++; // all that are inside are alike
        const uint32_t *from = x ? x + v->in * pixel : NULL;
        kernels->gather(count, v->count * pixel, from, s->stride * pixel, out + v->tap * pixel,
                        patch);
        kernels->gather(count, v->tap * pixel, NULL, 0, out, patch);
        const size_t after = v->tap + v->count;
        kernels->gather(count, (width - after) * pixel, NULL, 0, out + after * pixel, patch);
    }
}

// The inputs under the kernel for each output of row i, floats (out width, taps, channels, lanes).
static void gather_patches(const native_chain *chain, native_state *state, size_t l,
                           const weights_way *w, size_t i) {
    const sr_conv_shape *s = w->shape;
    const sr_lanes_span *rows = &chain->layers[l].forward.rows[i];
    for (size_t u = 0; u < s->kernel_height; u++) {
        const uint32_t *x = NULL;
        if (u >= rows->tap && u < rows->tap + rows->count)
            x = floats_of_row(chain, input_row(chain, state, l, rows->in + u - rows->tap),
                              s->in_width, s->in_channels, state->width, state->row);
        gather_row(chain, state, l, w, x,
                   state->rows + u * s->kernel_width * s->in_channels * state->width);
    }
}

static void order_weights(const native_chain *chain, const native_state *state,
                          const weights_way *w, float *dw) {
    for (size_t o = 0; o < w->shape->out_channels; o++)
        chain->lanes->order(false, w->shape->in_channels, w->taps, w->shape->in_channels,
                            state->dw + o * w->columns, dw + o * w->columns);
}

static void along(const native_chain *chain, native_state *state, size_t l, const weights_way *w,
                  float *dw) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width, channels = s->out_channels;
    memset(state->lane_sums, 0, channels * w->columns * SR_LANES * sizeof(float));
    for (size_t i = 0; i < s->out_height; i++) {
        gather_patches(chain, state, l, w, i);
        chain->lanes->weights_along(w->pairs, channels, w->columns, s->out_width, lanes, lanes,
                                    gradient_row(chain, state, l, i), gradient_units(w) * lanes,
                                    state->rows, w->columns * lanes, state->lane_sums,
                                    state->bias_sums);
    }
    chain->lanes->fold(channels * w->columns, state->lane_sums, w->taps > 1 ? state->dw : dw);
    if (w->taps > 1)
        order_weights(chain, state, w, dw);
}

// ---- all inputs at once -------------------------------------------------------------------------

static void output_dots(const native_chain *chain, native_state *state, size_t l,
                        const weights_way *w, float *dw) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width;
    const bool pairs = w->pairs && s->in_channels % 2 == 0; // columns of whole words
    const uint32_t *x = input_row(chain, state, l, 0);
    if (!pairs)
        x = floats_of_row(chain, x, w->taps, s->in_channels, lanes, state->row);
    const uint32_t *dy =
        floats_of_row(chain, state->layers[l].g, 1, s->out_channels, lanes, state->dy);
    chain->lanes->sum(false, s->out_channels, 1, lanes, lanes, dy, 0, state->bias_sums);
    for (size_t o = 0; o < s->out_channels; o++)
        chain->lanes->dots(pairs, w->columns, lanes, lanes,
                           (const float *)(const void *)dy + o * lanes, x,
                           (w->taps > 1 ? state->dw : dw) + o * w->columns);
    if (w->taps > 1)
        order_weights(chain, state, w, dw);
}

// The same with the two sides exchanged: a pixel of few channels, in all.
static void input_dots(const native_chain *chain, native_state *state, size_t l,
                       const weights_way *w, float *dw) {
    const sr_conv_shape *s = w->shape;
    const size_t lanes = state->width, channels = s->out_channels;
    const uint32_t *dy = gradient_row(chain, state, l, 0);
    const uint32_t *x = floats_of_row(chain, input_row(chain, state, l, 0), w->taps, s->in_channels,
                                      lanes, state->row);
    chain->lanes->sum(w->pairs, channels, 1, lanes, lanes, dy, 0, state->bias_sums);
    for (size_t k = 0; k < w->columns; k++)
        chain->lanes->dots(w->pairs, channels, lanes, lanes,
                           (const float *)(const void *)x + k * lanes, dy,
                           state->dw + k * channels);
    for (size_t t = 0; t < w->taps; t++)
        for (size_t c = 0; c < s->in_channels; c++) {
            const float *from = state->dw + (t * s->in_channels + c) * channels;
            for (size_t o = 0; o < channels; o++)
                dw[(o * s->in_channels + c) * w->taps + t] = from[o];
        }
}

void sr_native_backward_weights(const void *self, void *state_, size_t n, float *dtheta) {
    const native_chain *chain = self;
    native_state *state = state_;
    (void)n; // lanes beyond n carry zero gradients
    double since = sr_lap_start(state->clock);
    for (size_t l = 0; l < chain->count; l++) {
        const sr_layer *layer = &chain->layers[l].layer;
        const weights_way w = way_of(chain, l, state->width);
        const size_t channels = w.shape->out_channels;
        memset(state->bias_sums, 0, channels * SR_LANES * sizeof(float));
        static void (*const ways[])(const native_chain *, native_state *, size_t,
                                    const weights_way *, float *) = {[TRANSPOSED] = transposed,
                                                                     [ALONG] = along,
                                                                     [OUTPUT_DOTS] = output_dots,
                                                                     [INPUT_DOTS] = input_dots};
        ways[w.kind](chain, state, l, &w, dtheta + layer->weight);
        chain->lanes->fold(channels, state->bias_sums, dtheta + layer->bias);
        sr_lap_end(state->clock, sr_lap_slot(l, SR_BACKWARD_WEIGHTS), &since);
    }
}
