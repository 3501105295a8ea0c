// What the files of the native engine share: a chain, one thread's state, sizes. The engine itself
// is chain_native.c; memory and packed weights are in native.c, backward-weights in
// native_weights.c.
#ifndef SR_KERNELS_NATIVE_H
#define SR_KERNELS_NATIVE_H

#include "kernels/chain.h"
#include "kernels/lanes.h"

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

// One layer's part of a Hessian-vector product. "t" marks tangents in the direction v.
typedef struct native_tangent {
    uint32_t *y, *yt; // output, in the format
    uint32_t *g, *gt; // gradient before the activation, in the format
    // floats, row by row and block by block: act'(z), act''(z) times the gradient behind the
    // activation, tangent of z
    float *d, *bend, *zt;
} native_tangent;

// Room for Hessian-vector products.
typedef struct native_tangents {
    native_tangent *layers; // (count)
    float *xt;              // v
    uint32_t *input_t;      // the same in the format, or xt itself
    float *dxt;             // H v
    void *memory;           // of all of them
} native_tangents;

typedef struct native_state {
    const native_chain *chain;
    size_t width;           // lanes of the tensors at present
    float *x;               // input
    uint32_t *input;        // the same in the format, or x itself
    float *seed;            // gradient at the outputs
    float *dx;              // gradient at the input
    float *sums, *slopes;   // one row and block, before they are rounded or multiplied
    native_tensors *layers; // (count)
    // backward-weights: the input rows of a kernel's height, as they are multiplied; a row of input
    // and of gradients as floats; a row of gradients as pairs of samples; weight gradients, the
    // sums of sixteen samples that they are folded from, and those of the bias
    uint32_t *rows, *dy_pairs;
    float *row, *dy, *dw, *lane_sums, *bias_sums;
    double *clock;             // of time_layers, or NULL
    void *memory;              // of all of them
    native_tangents *tangents; // NULL: none reserved
} native_state;

static inline size_t in_pixels(const native_layer *l) {
    return l->shape.in_height * l->shape.in_width;
}

static inline size_t out_pixels(const native_layer *l) {
    return l->shape.out_height * l->shape.out_width;
}

static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static inline size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

// Words a pixel and lane of `channels` channels between layers.
static inline size_t words_of(const native_chain *chain, size_t channels) {
    return sr_lanes_words(chain->format, channels);
}

// One piece of memory for all arrays, so that it comes in large pages: a layout is gone through
// twice, first without memory to find the size.
typedef struct arena {
    char *memory;
    size_t used;
} arena;

static inline void *take(arena *a, size_t words) {
    const size_t at = a->used;
    a->used += round_up(words * sizeof(uint32_t), SR_ALIGNMENT);
    return a->memory ? a->memory + at : NULL;
}

// As in sr_chain_ops.
sr_status sr_native_create(const sr_layer *layers, size_t count, size_t batch,
                           sr_precision precision, void **chain);
void sr_native_destroy(void *chain);
void sr_native_set_weights(void *chain, const float *theta);
sr_status sr_native_state_create(const void *chain, void **state);
void sr_native_state_destroy(void *state);
void sr_native_backward_weights(const void *chain, void *state, size_t n, float *dtheta);

// Floats of one row and block of either pass of a layer.
size_t sr_native_sums_floats(const native_layer *layer, size_t lanes);

// (n, channels, pixels) to (pixels, channels, lanes) and back; lanes beyond n become zero.
void sr_native_rows_to_lanes(size_t n, size_t pixels, size_t channels, size_t lanes, const float *x,
                             float *out);
void sr_native_lanes_to_rows(size_t n, size_t pixels, size_t channels, size_t lanes,
                             const float *in, float *x);
// Writes whole pixels of floats in the format.
void sr_native_write_pixels(const native_chain *chain, size_t pixels, size_t channels, size_t lanes,
                            const float *in, uint32_t *out);
// The gradient dx at the input of the chain from that before the first activation. sums: scratch.
void sr_native_first_backward(const native_chain *chain, size_t lanes, const uint32_t *g,
                              float *sums, float *dx);

// native_tangents.c, as in sr_chain_ops; and the end of what was reserved.
sr_status sr_native_reserve_tangents(const void *chain, void *state);
void sr_native_hessian_vector(const void *chain, void *state, size_t n, const float *x,
                              const float *v, float *out, float *dx, float *hv);
void sr_native_hessian_again(const void *chain, void *state, size_t n, const float *v, float *hv);
void sr_native_tangents_destroy(native_tangents *tangents);

// The arrays of backward-weights.
void sr_native_weights_layout(native_state *state, arena *a);

#endif
