// Kernels on lanes: tensors of a tile of samples stand as (height, width, channels, lanes), where
// the lanes are the samples. A vector holds one channel of one pixel of sixteen samples, and a
// convolution multiplies it with weights that are broadcast. So no channel count, image size,
// stride or border wastes a lane; every sum runs over exactly the taps that lie inside the image,
// in an order that depends on the shape alone; and the result of a sample depends neither on its
// neighbours nor on the number of lanes, nor - in fp32 - on the instruction set.
//
// In bf16 two neighbouring channels share a 32-bit word (the even one in the low half), a "unit"
// below; an odd last channel has a partner of zeros. In fp32 a unit is one channel.
#ifndef SR_KERNELS_LANES_H
#define SR_KERNELS_LANES_H

#include <shortrun/kernels.h>

#define SR_LANES 16 // samples abreast: tensors have a multiple of it

// The taps of one row (or column) of outputs that lie inside the input: `count` of them from `tap`
// on, at inputs `in`, in + 1, ...
typedef struct sr_lanes_span {
    size_t tap, count, in;
} sr_lanes_span;

// A linear map of images: a layer's forward pass or its backward-data. Taps are numbered so that
// those of one output are neighbours and their inputs ascend (backward-data of stride s: the s
// residue classes one after the other, each descending in the kernel).
typedef struct sr_lanes_conv {
    size_t in_channels, in_height, in_width, in_units; // in_units: words a pixel and lane
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width;
    sr_lanes_span *rows, *columns; // (out_height), (out_width)
    size_t *row_order,
        *column_order; // the kernel's index of each tap: (kernel_height), (kernel_width)
    bool transposed;   // weights are (in_channels, out_channels, ...): backward-data
    size_t block;      // output channels that are computed together, at most
    size_t chunk;      // input units that are summed before the next output
} sr_lanes_conv;

// Fills *out. `backward`: the map from gradients at the outputs of `shape` to those at its inputs.
// pairs: bf16 units. block: of the kernels that will run it.
sr_status sr_lanes_conv_create(const sr_conv_shape *shape, bool backward, bool pairs, size_t block,
                               sr_lanes_conv *out);
void sr_lanes_conv_clear(sr_lanes_conv *conv);
// Output channels of the block that begins at `first`: all blocks are as equal as they can be.
size_t sr_lanes_block(const sr_lanes_conv *conv, size_t first);
size_t sr_lanes_weights(const sr_lanes_conv *conv); // words of the packed weights
// w as in sr_conv_shape. Packed: for each block, for each chunk, for each tap: (units, block).
void sr_lanes_pack(const sr_lanes_conv *conv, bool pairs, const float *w, void *packed);

// bfloat16 nearest to a, ties to even; NaN stays NaN.
static inline uint32_t sr_bf16_round(float a) {
    union {
        float value;
        uint32_t bits;
    } u = {.value = a};
    if ((u.bits & 0x7fffffffu) > 0x7f800000u)
        return (u.bits >> 16) | 0x40u;
    return (u.bits + 0x7fffu + (u.bits >> 16 & 1u)) >> 16;
}

// What a step of the dynamics does with a gradient: x <- x - step_size g + noise_scale eps, clamped
// to [low, high]; eps are the normals of (stream, chain, step), see kernels.h; noise_scale 0: none.
typedef struct sr_lanes_update {
    float step_size, noise_scale, low, high;
    sr_stream stream;
    uint64_t chain; // of lane 0
    uint32_t step;
} sr_lanes_update;

typedef struct sr_lanes_kernels {
    sr_isa isa;
    size_t block; // output channels that the registers hold, for sr_lanes_conv_create
    // One row of outputs, the channels [first, first + count) of one block: out[column * stride +
    // (channel - first) * lanes + lane] = bias (NULL: 0) + the sum over taps and input channels.
    // x: (in_height, in_width, in_units, lanes). packed: of sr_lanes_pack, the whole.
    void (*conv)(const sr_lanes_conv *conv, size_t row, size_t first, size_t count, size_t lanes,
                 const float *x, const float *packed, const float *bias, float *out, size_t stride);
    void (*conv_pairs)(const sr_lanes_conv *conv, size_t row, size_t first, size_t count,
                       size_t lanes, const uint32_t *x, const uint32_t *packed, const float *bias,
                       float *out, size_t stride);
    // out += in.
    void (*add)(size_t n, const float *in, float *out);
    // (channels, lanes) floats to (units, lanes) pairs, rounded, and back.
    void (*to_pairs)(size_t channels, size_t lanes, const float *in, uint32_t *out);
    void (*from_pairs)(size_t channels, size_t lanes, const uint32_t *in, float *out);
    // dz = dy * derivative, rounded: dy (channels, lanes), derivative and dz (units, lanes).
    void (*slope_pairs)(size_t channels, size_t lanes, const float *dy, const uint32_t *derivative,
                        uint32_t *dz);
    // One block of backward-weights: dw (count, 16 vectors) += the sum over positions and over 16
    // samples, summed up from zero in this order, of dy[position dy_position + i dy_channel +
    // sample] x[position x_position + sample x_sample + j].
    void (*weights)(size_t count, size_t vectors, size_t positions, const float *dy,
                    size_t dy_position, size_t dy_channel, const float *x, size_t x_position,
                    size_t x_sample, float *dw);
    // 16 sums over positions, one a sample: sum[sample] += in[position stride + sample].
    void (*sum)(size_t positions, size_t stride, const float *in, float *sum);
    // One step of the dynamics on x (pixels, channels, lanes) with the gradient g of the same
    // shape.
    void (*update)(const sr_lanes_update *update, size_t pixels, size_t channels, size_t lanes,
                   const float *g, float *x);
} sr_lanes_kernels;

// For the active ISA; and for a named one (climbs no higher than the CPU).
const sr_lanes_kernels *sr_lanes_get(void);
const sr_lanes_kernels *sr_lanes_for(sr_isa isa);

void sr_lanes_fill_scalar(sr_lanes_kernels *table);
void sr_lanes_fill_avx2(sr_lanes_kernels *table);
void sr_lanes_fill_avx512(sr_lanes_kernels *table);
void sr_lanes_fill_avx512_bf16(sr_lanes_kernels *table);

#endif
