// Linear maps of images for the kernels on lanes: which taps lie inside, in which order, and the
// weights in the order in which they are used.
#include "kernels/lanes.h"

#include <string.h>

// Weights of a chunk and block are read again for every output of a row: about this many words a
// channel keep them in a core's L1. Part of the order of sums, so it depends on nothing.
#define CHUNK_WORDS 512

static size_t at_least_one(size_t a) {
    return a ? a : 1;
}

// Forward: output i sees the inputs i s + u - p for u = 0 .. kernel-1.
static void spans_forward(size_t in, size_t out, size_t kernel, size_t stride, size_t padding,
                          sr_lanes_span *spans, size_t *order) {
    for (size_t u = 0; u < kernel; u++)
        order[u] = u;
    for (size_t i = 0; i < out; i++) {
        size_t low = i * stride < padding ? padding - i * stride : 0, high = kernel;
        while (high > low && i * stride + high - 1 >= in + padding)
            high--;
        spans[i] = (sr_lanes_span){low, high > low ? high - low : 0, i * stride + low - padding};
        if (spans[i].count == 0)
            spans[i].in = 0;
    }
}

// Backward-data: the input i received from output j = (i + p - u) / s, for the u of its residue
// class that leave no remainder. Descending u are ascending j.
static void spans_backward(size_t in, size_t out, size_t kernel, size_t stride, size_t padding,
                           sr_lanes_span *spans, size_t *order) {
    size_t taps = 0;
    for (size_t r = 0; r < stride && r < kernel; r++) {
        const size_t first = taps, members = (kernel - r + stride - 1) / stride;
        for (size_t k = members; k-- > 0;)
            order[taps++] = r + k * stride;
        for (size_t i = 0; i < in; i++) {
            if ((i + padding) % stride != r)
                continue;
            const size_t top = (i + padding - r) / stride; // the output of u = r
            size_t low = 0, high = members;                // taps first + low .. first + high - 1
            while (low < high && top + 1 + low < members)  // j = top - (members - 1 - k) below 0
                low++;
            while (high > low && top + high >= members + out)
                high--;
            spans[i] = (sr_lanes_span){first + low, high - low, top + 1 + low - members};
        }
    }
    for (size_t i = 0; i < in; i++) // pixels that no tap reaches: stride above the kernel
        if (spans[i].count == 0)
            spans[i] = (sr_lanes_span){0};
}

sr_status sr_lanes_conv_create(const sr_conv_shape *shape, bool backward,
                               const sr_lanes_format *format, sr_lanes_conv *out) {
    const sr_conv_shape *s = shape;
    *out = (sr_lanes_conv){
        .in_channels = backward ? s->out_channels : s->in_channels,
        .in_height = backward ? s->out_height : s->in_height,
        .in_width = backward ? s->out_width : s->in_width,
        .out_channels = backward ? s->in_channels : s->out_channels,
        .out_height = backward ? s->in_height : s->out_height,
        .out_width = backward ? s->in_width : s->out_width,
        .kernel_height = s->kernel_height,
        .kernel_width = s->kernel_width,
        .transposed = backward,
        .block = format->block,
    };
    out->in_units = format->floats ? out->in_channels : (out->in_channels + 1) / 2;
    out->chunk = at_least_one(CHUNK_WORDS / (s->kernel_height * s->kernel_width));
    out->rows = sr_alloc(out->out_height, sizeof *out->rows);
    out->columns = sr_alloc(out->out_width, sizeof *out->columns);
    out->row_order = sr_alloc(s->kernel_height, sizeof(size_t));
    out->column_order = sr_alloc(s->kernel_width, sizeof(size_t));
    if (!out->rows || !out->columns || !out->row_order || !out->column_order) {
        sr_lanes_conv_clear(out);
        return SR_ERROR_MEMORY;
    }
    void (*spans)(size_t, size_t, size_t, size_t, size_t, sr_lanes_span *, size_t *) =
        backward ? spans_backward : spans_forward;
    spans(s->in_height, s->out_height, s->kernel_height, s->stride, s->padding, out->rows,
          out->row_order);
    spans(s->in_width, s->out_width, s->kernel_width, s->stride, s->padding, out->columns,
          out->column_order);
    return SR_OK;
}

void sr_lanes_conv_clear(sr_lanes_conv *conv) {
    sr_free(conv->rows);
    sr_free(conv->columns);
    sr_free(conv->row_order);
    sr_free(conv->column_order);
    *conv = (sr_lanes_conv){0};
}

size_t sr_lanes_block(const sr_lanes_conv *conv, size_t first) {
    const size_t blocks = (conv->out_channels + conv->block - 1) / conv->block;
    // The sizes are even, so that no pair of channels is torn apart, but for an odd last one.
    const size_t size = ((conv->out_channels + blocks - 1) / blocks + 1) / 2 * 2;
    const size_t most = size < conv->block ? size : conv->block;
    const size_t rest = conv->out_channels - first;
    return rest < most ? rest : most;
}

size_t sr_lanes_packed_words(const sr_lanes_conv *conv) {
    return conv->out_channels * conv->in_units * conv->kernel_height * conv->kernel_width;
}

float sr_lanes_weight(const sr_lanes_conv *c, const float *w, size_t out, size_t in, size_t u,
                      size_t v) {
    if (in >= c->in_channels || out >= c->out_channels)
        return 0.0f;
    const size_t a = c->transposed ? in : out, b = c->transposed ? out : in;
    const size_t inner = c->transposed ? c->out_channels : c->in_channels;
    return w[((a * inner + b) * c->kernel_height + u) * c->kernel_width + v];
}

static uint32_t float_at(const sr_lanes_conv *c, const float *w, size_t out, size_t unit, size_t u,
                         size_t v) {
    union {
        float value;
        uint32_t bits;
    } weight = {.value = sr_lanes_weight(c, w, out, unit, u, v)};
    return weight.bits;
}

static uint32_t pair_at(const sr_lanes_conv *c, const float *w, size_t out, size_t unit, size_t u,
                        size_t v) {
    return sr_bf16_round(sr_lanes_weight(c, w, out, 2 * unit, u, v)) |
           sr_bf16_round(sr_lanes_weight(c, w, out, 2 * unit + 1, u, v)) << 16;
}

typedef uint32_t word_at(const sr_lanes_conv *c, const float *w, size_t out, size_t unit, size_t u,
                         size_t v);

static inline __attribute__((always_inline)) void pack(const sr_lanes_conv *c, word_at *word,
                                                       const float *w, uint32_t *packed) {
    for (size_t first = 0, count; first < c->out_channels; first += count) {
        count = sr_lanes_block(c, first);
        for (size_t k0 = 0; k0 < c->in_units; k0 += c->chunk) {
            const size_t k1 = k0 + c->chunk < c->in_units ? k0 + c->chunk : c->in_units;
            for (size_t u = 0; u < c->kernel_height; u++)
                for (size_t v = 0; v < c->kernel_width; v++)
                    for (size_t k = k0; k < k1; k++)
                        for (size_t m = first; m < first + count; m++)
                            *packed++ = word(c, w, m, k, c->row_order[u], c->column_order[v]);
        }
    }
}

void sr_lanes_pack_floats(const sr_lanes_conv *conv, const float *w, uint32_t *packed) {
    pack(conv, float_at, w, packed);
}

void sr_lanes_pack_pairs(const sr_lanes_conv *conv, const float *w, uint32_t *packed) {
    pack(conv, pair_at, w, packed);
}
