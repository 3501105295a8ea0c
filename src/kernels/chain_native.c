// The native engine: a chain of layers on the kernels on lanes (lanes.h). A state holds one tile of
// samples; every tensor of it stands as (height, width, channels, lanes), so that what a thread
// works on is contiguous and its own. Layers run row by row and, within a row, block by block of
// output channels: bias, activation and its derivative follow while the sums are still in L1.
//
// Forward stores each layer's output and the derivative of its activation; backward-data turns the
// derivatives in place into the gradients before the activation, which backward-weights then reads.
// The ends of the chain (input, output, seed, gradient in the input) are fp32 in every precision.
#include "kernels/chain.h"
#include "kernels/lanes.h"

#include <string.h>

typedef struct native_layer {
    sr_layer layer;
    sr_conv_shape shape; // a dense layer behind images: a convolution over all of their pixels
    sr_lanes_conv forward, backward;
    uint32_t *w_forward, *w_backward; // packed
    float *bias;                      // (out_channels)
    bool thin; // backward maps to (kernel taps x input channels), which are then added in place
} native_layer;

typedef struct native_chain {
    size_t count, batch;
    const sr_lanes_kernels *lanes;
    const sr_lanes_format *format; // of the tensors between layers
    const sr_kernels *kernels;
    native_layer *layers;
    float *tap_weights; // scratch of set_weights for a thin layer
    void *memory;       // of all of them
} native_chain;

// One layer's tensors: words of the format, but those named floats.
typedef struct native_tensors {
    uint32_t *y; // output; of the last layer: floats
    uint32_t *d; // derivative of the activation; of the last layer, or as the format says: floats
    uint32_t *g; // gradient before the activation; in the place of d where the two are alike
} native_tensors;

typedef struct native_state {
    const native_chain *chain;
    size_t width;           // lanes of the tensors at present
    float *x;               // input
    uint32_t *input;        // the same in the format, or x itself
    float *seed;            // gradient at the outputs
    float *dx;              // gradient at the input
    float *sums, *slopes;   // one row and block, before they are rounded or multiplied
    native_tensors *layers; // (count)
    // backward-weights: the input rows of a kernel's height, transposed to (16, width + 2 padding,
    // channels); the same row and a row of gradients as lanes of floats; packed weight gradients
    uint32_t *rows, *dy_pairs;
    float *row, *dy, *dw, *lane_sums;
    double *clock; // of time_layers, or NULL
    void *memory;  // of all of them
} native_state;

static size_t in_pixels(const native_layer *l) {
    return l->shape.in_height * l->shape.in_width;
}

static size_t out_pixels(const native_layer *l) {
    return l->shape.out_height * l->shape.out_width;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

// Words a pixel and lane of `channels` channels between layers.
static size_t words_of(const native_chain *chain, size_t channels) {
    return sr_lanes_words(chain->format, channels);
}

// One piece of memory for all arrays, so that it comes in large pages: a layout is gone through
// twice, first without memory to find the size.
typedef struct arena {
    char *memory;
    size_t used;
} arena;

static void *take(arena *a, size_t words) {
    const size_t at = a->used;
    a->used += round_up(words * sizeof(uint32_t), SR_ALIGNMENT);
    return a->memory ? a->memory + at : NULL;
}

// ---- creation -----------------------------------------------------------------------------------

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

static void chain_destroy(void *self) {
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

static sr_status chain_create(const sr_layer *layers, size_t count, size_t batch,
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
        chain_destroy(chain);
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

static void chain_set_weights(void *self, const float *theta) {
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

static void state_destroy(void *self) {
    native_state *state = self;
    if (!state)
        return;
    sr_free(state->layers);
    sr_free(state->memory);
    sr_free(state);
}

// Columns of a block of backward-weights: a kernel row's taps and channels, in whole vectors.
static size_t weight_columns(const sr_conv_shape *s) {
    return round_up(s->kernel_width * s->in_channels, SR_LANES);
}

static size_t row_words(const sr_conv_shape *s) { // one transposed input row
    return SR_LANES * (s->in_width + 2 * s->padding) * s->in_channels;
}

static void weights_layout(native_state *state, arena *a) {
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

// Floats of one row and block of either pass of a layer.
static size_t sums_floats(const native_layer *layer, size_t lanes) {
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
        sums = larger(sums, sums_floats(&chain->layers[l], lanes));
    }
    state->sums = take(a, sums);
    state->slopes = take(a, sums);
    weights_layout(state, a);
}

static sr_status state_create(const void *self, void **out) {
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
    state_destroy(state);
    return SR_ERROR_MEMORY;
}

// ---- rows and lanes -----------------------------------------------------------------------------

// (n, channels, pixels) to (pixels, channels, lanes); lanes beyond n become zero.
static void rows_to_lanes(size_t n, size_t pixels, size_t channels, size_t lanes, const float *x,
                          float *out) {
    const size_t row = pixels * channels;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++, out += lanes) {
            const float *from = x + c * pixels + p;
            for (size_t i = 0; i < n; i++)
                out[i] = from[i * row];
            for (size_t i = n; i < lanes; i++)
                out[i] = 0.0f;
        }
}

static void lanes_to_rows(size_t n, size_t pixels, size_t channels, size_t lanes, const float *in,
                          float *x) {
    const size_t row = pixels * channels;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++)
                x[i * row + c * pixels + p] = in[(p * channels + c) * lanes + i];
}

static void state_load(const native_chain *chain, native_state *state, size_t n, const float *x) {
    const native_layer *first = &chain->layers[0];
    state->width = round_up(n, SR_LANES);
    rows_to_lanes(n, in_pixels(first), first->shape.in_channels, state->width, x, state->x);
}

// ---- forward ------------------------------------------------------------------------------------

// y = act(z), d = act'(z) of one row and block; z in state->sums, (width, count, lanes).
static void finish_forward(const native_chain *chain, native_state *state, size_t l, size_t row,
                           size_t first, size_t count) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const sr_lanes_format *format = chain->format, *floats = &chain->lanes->formats[SR_FP32];
    const bool last = l + 1 == chain->count;
    const sr_lanes_format *of_y = last ? floats : format;
    const sr_lanes_format *of_d = last || format->derivative_floats ? floats : format;
    const size_t lanes = state->width, step = count * lanes, channels = s->out_channels;
    const size_t y_pixel = sr_lanes_words(of_y, channels) * lanes;
    const size_t d_pixel = sr_lanes_words(of_d, channels) * lanes;
    float *z = state->sums, *slopes = state->slopes;
    chain->kernels->activation(layer->layer.activation, s->out_width * step, z, z, slopes);
    uint32_t *y = state->layers[l].y + row * s->out_width * y_pixel;
    uint32_t *d = state->layers[l].d + row * s->out_width * d_pixel;
    for (size_t j = 0; j < s->out_width; j++) {
        of_y->write(channels, first, count, lanes, z + j * step, y + j * y_pixel);
        of_d->write(channels, first, count, lanes, slopes + j * step, d + j * d_pixel);
    }
}

// In fp32 the sums go where the outputs belong, and the activation works on them there.
static void forward_in_place(const native_chain *chain, native_state *state, size_t l, size_t row,
                             size_t first, size_t count, const uint32_t *x) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const size_t lanes = state->width, pixel = s->out_channels * lanes;
    const size_t at = row * s->out_width * pixel + first * lanes;
    float *y = (float *)(void *)(state->layers[l].y + at);
    float *d = (float *)(void *)(state->layers[l].d + at);
    chain->format->conv(&layer->forward, row, first, count, lanes, x, layer->w_forward, layer->bias,
                        y, pixel);
    // one call where the block is the whole row
    const size_t calls = count == s->out_channels ? 1 : s->out_width;
    const size_t n = s->out_width / calls * count * lanes;
    for (size_t j = 0; j < calls; j++, y += pixel, d += pixel)
        chain->kernels->activation(layer->layer.activation, n, y, y, d);
}

static void layer_forward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const uint32_t *x = l > 0 ? state->layers[l - 1].y : state->input;
    for (size_t row = 0; row < s->out_height; row++) {
        for (size_t first = 0, count; first < s->out_channels; first += count) {
            count = sr_lanes_block(&layer->forward, first);
            if (chain->format->floats) {
                forward_in_place(chain, state, l, row, first, count, x);
                continue;
            }
            chain->format->conv(&layer->forward, row, first, count, state->width, x,
                                layer->w_forward, layer->bias, state->sums, count * state->width);
            finish_forward(chain, state, l, row, first, count);
        }
    }
}

// Writes whole pixels of floats in the format.
static void write_pixels(const native_chain *chain, size_t pixels, size_t channels, size_t lanes,
                         const float *in, uint32_t *out) {
    const size_t pixel = words_of(chain, channels) * lanes;
    for (size_t p = 0; p < pixels; p++)
        chain->format->write(channels, 0, channels, lanes, in + p * channels * lanes,
                             out + p * pixel);
}

// All layers before `end`, from state->x.
static void run_forward(const native_chain *chain, native_state *state, size_t end) {
    const native_layer *first = &chain->layers[0];
    if (!chain->format->floats)
        write_pixels(chain, in_pixels(first), first->shape.in_channels, state->width, state->x,
                     state->input);
    double since = sr_lap_start(state->clock);
    for (size_t l = 0; l < end; l++) {
        layer_forward(chain, state, l);
        sr_lap_end(state->clock, sr_lap_slot(l, SR_FORWARD), &since);
    }
}

static void chain_forward(const void *self, void *state_, size_t n, const float *x, float *out) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *last = &chain->layers[chain->count - 1];
    state_load(chain, state, n, x);
    run_forward(chain, state, chain->count);
    lanes_to_rows(n, out_pixels(last), last->shape.out_channels, state->width,
                  (const float *)(const void *)state->layers[chain->count - 1].y, out);
}

// ---- backward-data ------------------------------------------------------------------------------

// The gradient before the last activation, from the seed.
static void seed_gradient(const native_chain *chain, native_state *state) {
    const native_layer *last = &chain->layers[chain->count - 1];
    const native_tensors *t = &state->layers[chain->count - 1];
    const size_t channels = last->shape.out_channels, lanes = state->width;
    if (last->layer.activation != SR_IDENTITY)
        chain->kernels->multiply(out_pixels(last) * channels * lanes, state->seed,
                                 (const float *)(const void *)t->d, state->seed);
    write_pixels(chain, out_pixels(last), channels, lanes, state->seed, t->g);
}

// Gradient before the activation of layer l from that at its output, for one row and block in
// state->sums.
static void finish_backward(const native_chain *chain, native_state *state, size_t l, size_t row,
                            size_t first, size_t count) {
    const sr_conv_shape *s = &chain->layers[l].shape;
    const sr_lanes_format *format = chain->format;
    const size_t lanes = state->width, step = count * lanes, channels = s->out_channels;
    const size_t pixel = words_of(chain, channels) * lanes;
    const size_t d_pixel = format->derivative_floats ? channels * lanes : pixel;
    const uint32_t *d = state->layers[l].d + row * s->out_width * d_pixel;
    uint32_t *g = state->layers[l].g + row * s->out_width * pixel;
    for (size_t j = 0; j < s->out_width; j++)
        format->slope(channels, first, count, lanes, state->sums + j * step, d + j * d_pixel,
                      g + j * pixel);
}

// The gradient at the input of layer l >= 1, and at once that before the activation of layer l - 1.
static void layer_backward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l];
    const sr_lanes_conv *conv = &layer->backward;
    for (size_t row = 0; row < conv->out_height; row++) {
        for (size_t first = 0, count; first < conv->out_channels; first += count) {
            count = sr_lanes_block(conv, first);
            chain->format->conv(conv, row, first, count, state->width, state->layers[l].g,
                                layer->w_backward, NULL, state->sums, count * state->width);
            finish_backward(chain, state, l - 1, row, first, count);
        }
    }
}

// Adds the products of one row of gradients with all taps to the pixels they belong to.
static void add_taps(const native_chain *chain, const native_layer *layer, size_t row,
                     const float *products, size_t lanes, float *dx) {
    const sr_conv_shape *s = &layer->shape;
    const size_t channels = s->in_channels, taps = s->kernel_height * s->kernel_width;
    const sr_lanes_span *u = &layer->forward.rows[row];
    for (size_t j = 0; j < s->out_width; j++) {
        const sr_lanes_span *v = &layer->forward.columns[j];
        for (size_t i = 0; i < u->count; i++) {
            const size_t tap = (u->tap + i) * s->kernel_width + v->tap;
            chain->lanes->add(v->count * channels * lanes,
                              products + (j * taps + tap) * channels * lanes,
                              dx + ((u->in + i) * s->in_width + v->in) * channels * lanes);
        }
    }
}

// The gradient at the input of the chain, into state->dx.
static void first_backward(const native_chain *chain, native_state *state) {
    const native_layer *layer = &chain->layers[0];
    const sr_lanes_conv *conv = &layer->backward;
    const size_t lanes = state->width;
    if (layer->thin)
        memset(state->dx, 0,
               in_pixels(layer) * layer->shape.in_channels * lanes * sizeof *state->dx);
    for (size_t row = 0; row < conv->out_height; row++) {
        const size_t at = layer->thin ? 0 : row * conv->out_width * conv->out_channels * lanes;
        float *out = (layer->thin ? state->sums : state->dx) + at;
        for (size_t first = 0, count; first < conv->out_channels; first += count) {
            count = sr_lanes_block(conv, first);
            chain->format->conv(conv, row, first, count, lanes, state->layers[0].g,
                                layer->w_backward, NULL, out + first * lanes,
                                conv->out_channels * lanes);
        }
        if (layer->thin)
            add_taps(chain, layer, row, state->sums, lanes, state->dx);
    }
}

static void run_backward(const native_chain *chain, native_state *state, bool to_input) {
    double since = sr_lap_start(state->clock);
    seed_gradient(chain, state);
    for (size_t l = chain->count - 1; l > 0; l--) {
        layer_backward(chain, state, l);
        sr_lap_end(state->clock, sr_lap_slot(l, SR_BACKWARD_DATA), &since);
    }
    if (to_input)
        first_backward(chain, state);
    sr_lap_end(state->clock, sr_lap_slot(0, SR_BACKWARD_DATA), &since);
}

static void chain_backward_data(const void *self, void *state_, size_t n, const float *seed,
                                float *dx) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *first = &chain->layers[0], *last = &chain->layers[chain->count - 1];
    rows_to_lanes(n, out_pixels(last), last->shape.out_channels, state->width, seed, state->seed);
    run_backward(chain, state, dx != NULL);
    if (dx)
        lanes_to_rows(n, in_pixels(first), first->shape.in_channels, state->width, state->dx, dx);
}

// ---- backward-weights ---------------------------------------------------------------------------

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

static void chain_backward_weights(const void *self, void *state_, size_t n, float *dtheta) {
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

static void time_layers(void *self, double *seconds) {
    native_state *state = self;
    state->clock = seconds;
}

// Few rows leave work for many threads; but where a layer has no pixels, sixteen rows are too few
// products for the cost of bringing the sums together.
static size_t gradient_rows(const sr_layer *layers, size_t count) {
    size_t pixels = 0;
    for (size_t l = 0; l < count; l++)
        pixels = larger(pixels, layers[l].shape.out_height * layers[l].shape.out_width);
    return pixels > 1 ? SR_LANES : 4 * SR_LANES;
}

// ---- chains that stay ---------------------------------------------------------------------------

static void chain_load(const void *chain, void *state, size_t n, const float *x) {
    state_load(chain, state, n, x);
}

// A last layer without activation has a derivative of one: nobody asks for its output.
static void loaded_forward(const void *self, void *state) {
    const native_chain *chain = self;
    const size_t last = chain->count - 1;
    run_forward(chain, state,
                chain->layers[last].layer.activation == SR_IDENTITY ? last : last + 1);
}

static void loaded_backward(const void *self, void *state_) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *last = &chain->layers[chain->count - 1];
    const size_t n = out_pixels(last) * last->shape.out_channels * state->width;
    for (size_t i = 0; i < n; i++)
        state->seed[i] = 1.0f;
    run_backward(chain, state, true);
}

static void loaded_update(const void *self, void *state_, const sr_update *update) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *first = &chain->layers[0];
    chain->lanes->update(update, in_pixels(first), first->shape.in_channels, state->width,
                         state->dx, state->x);
}

static void chain_store(const void *self, const void *state_, size_t n, float *x) {
    const native_chain *chain = self;
    const native_state *state = state_;
    const native_layer *first = &chain->layers[0];
    lanes_to_rows(n, in_pixels(first), first->shape.in_channels, state->width, state->x, x);
}

const sr_chain_ops sr_chain_native = {
    .create = chain_create,
    .destroy = chain_destroy,
    .set_weights = chain_set_weights,
    .state_create = state_create,
    .state_destroy = state_destroy,
    .forward = chain_forward,
    .backward_data = chain_backward_data,
    .backward_weights = chain_backward_weights,
    .time_layers = time_layers,
    .load = chain_load,
    .loaded_forward = loaded_forward,
    .loaded_backward = loaded_backward,
    .loaded_update = loaded_update,
    .store = chain_store,
    .gradient_rows = gradient_rows,
};
