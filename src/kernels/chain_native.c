// The native engine: a chain of layers on the kernels on lanes (lanes.h). A state holds one tile of
// samples; every tensor of it stands as (height, width, channels, lanes), so that what a thread
// works on is contiguous and its own. Layers run row by row and, within a row, block by block of
// output channels: bias, activation and its derivative follow while the sums are still in L1.
//
// Forward stores each layer's output and the derivative of its activation; backward-data turns the
// derivatives in place into the gradients before the activation, which backward-weights then reads.
// The ends of the chain (input, output, seed, gradient in the input) are fp32 in every precision.
#include "kernels/native.h"

#include <string.h>

// ---- rows and lanes -----------------------------------------------------------------------------

void sr_native_rows_to_lanes(size_t n, size_t pixels, size_t channels, size_t lanes, const float *x,
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

void sr_native_lanes_to_rows(size_t n, size_t pixels, size_t channels, size_t lanes,
                             const float *in, float *x) {
    const size_t row = pixels * channels;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++)
                x[i * row + c * pixels + p] = in[(p * channels + c) * lanes + i];
}

static void state_load(const native_chain *chain, native_state *state, size_t n, const float *x) {
    const native_layer *first = &chain->layers[0];
    state->width = round_up(n, SR_LANES);
    sr_native_rows_to_lanes(n, in_pixels(first), first->shape.in_channels, state->width, x,
                            state->x);
}

// ---- forward ------------------------------------------------------------------------------------

// y = act(z), d = act'(z) of one row and block, but the last layer's; z in state->sums, (width,
// count, lanes).
static void finish_forward(const native_chain *chain, native_state *state, size_t l, size_t row,
                           size_t first, size_t count) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const sr_lanes_format *format = chain->format, *floats = &chain->lanes->formats[SR_FP32];
    const sr_lanes_format *of_d = format->derivative_floats ? floats : format;
    const size_t lanes = state->width, step = count * lanes, channels = s->out_channels;
    const size_t y_pixel = sr_lanes_words(format, channels) * lanes;
    const size_t d_pixel = sr_lanes_words(of_d, channels) * lanes;
    float *z = state->sums, *slopes = state->slopes;
    chain->kernels->activation(layer->layer.activation, s->out_width * step, z, z, slopes, NULL);
    uint32_t *y = state->layers[l].y + row * s->out_width * y_pixel;
    uint32_t *d = state->layers[l].d + row * s->out_width * d_pixel;
    for (size_t j = 0; j < s->out_width; j++) {
        format->write(channels, first, count, lanes, z + j * step, y + j * y_pixel);
        of_d->write(channels, first, count, lanes, slopes + j * step, d + j * d_pixel);
    }
}

// Where outputs are fp32 the sums go where they belong, and the activation works on them there.
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
        chain->kernels->activation(layer->layer.activation, n, y, y, d, NULL);
}

static void layer_forward(const native_chain *chain, native_state *state, size_t l) {
    const native_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    const uint32_t *x = l > 0 ? state->layers[l - 1].y : state->input;
    for (size_t row = 0; row < s->out_height; row++) {
        for (size_t first = 0, count; first < s->out_channels; first += count) {
            count = sr_lanes_block(&layer->forward, first);
            if (chain->format->floats || l + 1 == chain->count) {
                forward_in_place(chain, state, l, row, first, count, x);
                continue;
            }
            chain->format->conv(&layer->forward, row, first, count, state->width, x,
                                layer->w_forward, layer->bias, state->sums, count * state->width);
            finish_forward(chain, state, l, row, first, count);
        }
    }
}

void sr_native_write_pixels(const native_chain *chain, size_t pixels, size_t channels, size_t lanes,
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
        sr_native_write_pixels(chain, in_pixels(first), first->shape.in_channels, state->width,
                               state->x, state->input);
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
    sr_native_lanes_to_rows(n, out_pixels(last), last->shape.out_channels, state->width,
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
    sr_native_write_pixels(chain, out_pixels(last), channels, lanes, state->seed, t->g);
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

void sr_native_first_backward(const native_chain *chain, size_t lanes, const uint32_t *g,
                              float *sums, float *dx) {
    const native_layer *layer = &chain->layers[0];
    const sr_lanes_conv *conv = &layer->backward;
    if (layer->thin)
        memset(dx, 0, in_pixels(layer) * layer->shape.in_channels * lanes * sizeof *dx);
    for (size_t row = 0; row < conv->out_height; row++) {
        const size_t at = layer->thin ? 0 : row * conv->out_width * conv->out_channels * lanes;
        float *out = (layer->thin ? sums : dx) + at;
        for (size_t first = 0, count; first < conv->out_channels; first += count) {
            count = sr_lanes_block(conv, first);
            chain->format->conv(conv, row, first, count, lanes, g, layer->w_backward, NULL,
                                out + first * lanes, conv->out_channels * lanes);
        }
        if (layer->thin)
            add_taps(chain, layer, row, sums, lanes, dx);
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
        sr_native_first_backward(chain, state->width, state->layers[0].g, state->sums, state->dx);
    sr_lap_end(state->clock, sr_lap_slot(0, SR_BACKWARD_DATA), &since);
}

static void chain_backward_data(const void *self, void *state_, size_t n, const float *seed,
                                float *dx) {
    const native_chain *chain = self;
    native_state *state = state_;
    const native_layer *first = &chain->layers[0], *last = &chain->layers[chain->count - 1];
    sr_native_rows_to_lanes(n, out_pixels(last), last->shape.out_channels, state->width, seed,
                            state->seed);
    run_backward(chain, state, dx != NULL);
    if (dx)
        sr_native_lanes_to_rows(n, in_pixels(first), first->shape.in_channels, state->width,
                                state->dx, dx);
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
    sr_native_lanes_to_rows(n, in_pixels(first), first->shape.in_channels, state->width, state->x,
                            x);
}

const sr_chain_ops sr_chain_native = {
    .create = sr_native_create,
    .destroy = sr_native_destroy,
    .set_weights = sr_native_set_weights,
    .state_create = sr_native_state_create,
    .state_destroy = sr_native_state_destroy,
    .forward = chain_forward,
    .backward_data = chain_backward_data,
    .backward_weights = sr_native_backward_weights,
    .time_layers = time_layers,
    .reserve_tangents = sr_native_reserve_tangents,
    .hessian_vector = sr_native_hessian_vector,
    .hessian_again = sr_native_hessian_again,
    .load = chain_load,
    .loaded_forward = loaded_forward,
    .loaded_backward = loaded_backward,
    .loaded_update = loaded_update,
    .store = chain_store,
    .gradient_rows = gradient_rows,
};
