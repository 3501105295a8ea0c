// Kernels on lanes: tensors of a tile of samples stand as (height, width, channels, lanes), where
// the lanes are the samples. A vector holds one channel of one pixel of sixteen samples, and a
// convolution multiplies it with weights that are broadcast. So no channel count, image size,
// stride or border wastes a lane; every sum runs over exactly the taps that lie inside the image,
// in an order that depends on the shape alone; and the result of a sample depends neither on its
// neighbours nor on the number of lanes, nor - in fp32 - on the instruction set.
//
// Between layers a tensor has one of three formats; a "unit" is what shares a 32-bit word of a
// lane:
//   floats  fp32, one channel a unit
//   pairs   bf16, two neighbouring channels a unit (the even one in the low half); an odd last
//           channel has a partner of zeros
//   split   each number as the sum of two bf16: the pairs of the high parts of all channels of a
//           pixel, then those of the low parts; products are high high + high low + low high
#ifndef SR_KERNELS_LANES_H
#define SR_KERNELS_LANES_H

#include <shortrun/kernels.h>

#define SR_LANES 16 // samples abreast: tensors have a multiple of it

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

static inline float sr_bf16_float(uint32_t a) {
    union {
        uint32_t bits;
        float value;
    } u = {.bits = a << 16};
    return u.value;
}

// The taps of one row (or column) of outputs that lie inside the input: `count` of them from `tap`
// on, at inputs `in`, in + 1, ...
typedef struct sr_lanes_span {
    size_t tap, count, in;
} sr_lanes_span;

// A linear map of images: a layer's forward pass or its backward-data. Taps are numbered so that
// those of one output are neighbours and their inputs ascend (backward-data of stride s: the s
// residue classes one after the other, each descending in the kernel).
typedef struct sr_lanes_conv {
    size_t in_channels, in_height, in_width;
    size_t in_units; // of a pixel; in split those of the high parts
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width;
    sr_lanes_span *rows, *columns; // (out_height), (out_width)
    size_t *row_order;             // the kernel's row of each tap row (kernel_height)
    size_t *column_order;          // the kernel's column of each tap column (kernel_width)
    bool transposed;               // weights are (in_channels, out_channels, ...): backward-data
    size_t block;                  // output channels that are computed together, at most
    size_t chunk;                  // input units that are summed before the next output
} sr_lanes_conv;

typedef struct sr_lanes_format sr_lanes_format;

// Fills *out. `backward`: the map from gradients at the outputs of `shape` to those at its inputs.
sr_status sr_lanes_conv_create(const sr_conv_shape *shape, bool backward,
                               const sr_lanes_format *format, sr_lanes_conv *out);
void sr_lanes_conv_clear(sr_lanes_conv *conv);
// Output channels of the block that begins at `first`: all blocks are as equal as they can be, and
// even but for an odd last one.
size_t sr_lanes_block(const sr_lanes_conv *conv, size_t first);
// The weight between an output and an input channel at tap (u, v) in w, as in sr_conv_shape; 0
// beyond the channels.
float sr_lanes_weight(const sr_lanes_conv *conv, const float *w, size_t out, size_t in, size_t u,
                      size_t v);

// What one format's tensors need. `pixel` points at the words of one pixel, (words, lanes).
struct sr_lanes_format {
    bool floats;            // the format of fp32
    bool split;             // that of bf16x3
    bool derivative_floats; // derivatives of activations are kept in fp32
    size_t block;           // output channels that the registers hold
    // Packed weights: their number of words, and how they are made from w as in sr_conv_shape.
    size_t (*packed_words)(const sr_lanes_conv *conv);
    void (*pack)(const sr_lanes_conv *conv, const float *w, uint32_t *packed);
    // One row of outputs, the channels [first, first + count) of one block: out[column * stride +
    // (channel - first) * lanes + lane] = bias (NULL: 0) + the sum over taps and input channels.
    // x: (in_height, in_width, words, lanes). packed: the whole.
    void (*conv)(const sr_lanes_conv *conv, size_t row, size_t first, size_t count, size_t lanes,
                 const uint32_t *x, const uint32_t *packed, const float *bias, float *out,
                 size_t stride);
    // Channels [first, first + count) of one pixel of `channels`, from floats (count, lanes).
    void (*write)(size_t channels, size_t first, size_t count, size_t lanes, const float *in,
                  uint32_t *pixel);
    // A whole pixel to floats (channels, lanes).
    void (*read)(size_t channels, size_t lanes, const uint32_t *pixel, float *out);
    // gradient = dy * derivative of some channels of one pixel: dy (count, lanes). The derivative
    // is in the tensor's format or in fp32 (derivative_floats); the two may be one place.
    void (*slope)(size_t channels, size_t first, size_t count, size_t lanes, const float *dy,
                  const uint32_t *derivative, uint32_t *gradient);
};

typedef struct sr_lanes_kernels {
    sr_isa isa;
    // By precision. bf16x3 has the format of fp32 where there are no AMX tiles.
    sr_lanes_format formats[SR_PRECISION_COUNT];
    sr_lanes_format split; // all but its convolution, which is that of the tiles
    size_t weights_block;  // output channels of a block of backward-weights, at most
    // out += in.
    void (*add)(size_t n, const float *in, float *out);
    // Backward-weights, in words of floats or (pairs) of two bf16. `samples`, a multiple of 16, are
    // those that are summed; `lanes` is the stride between the channels of a tensor.
    //
    // One pixel x (units, lanes) to rows of units, one a sample: out (samples, columns), where
    // columns is units rounded up to 16, zeros beyond. In pairs a unit is two channels, a row two
    // neighbouring samples, and a word the two samples of one channel: out (samples / 2, columns),
    // for each 16 units their 16 even channels, then the odd ones.
    void (*transpose)(bool pairs, size_t units, size_t samples, size_t lanes, const uint32_t *x,
                      uint32_t *out);
    // Pairs of channels (units, lanes) to pairs of samples: out (2 units, samples / 2).
    void (*pair_samples)(size_t units, size_t samples, size_t lanes, const uint32_t *in,
                         uint32_t *out);
    // A block of out channels: dw (count, 16 vectors) += (begin: =) the sum over positions and
    // `rows` (those of transpose), summed up from zero in this order, of dy[position dy_position +
    // i dy_channel + row] x[position x_position + row 16 vectors + j].
    void (*weights)(bool pairs, bool begin, size_t count, size_t vectors, size_t positions,
                    size_t rows, const uint32_t *dy, size_t dy_position, size_t dy_channel,
                    const uint32_t *x, size_t x_position, float *dw);
    // The same without a transposition, for few columns: sums (count, columns, 16) += dy[position,
    // channel i, sample] x[position, column j, sample] with one sum for each of 16 samples; bias
    // (count, 16) += dy. x are floats; of pairs, channel m is a half of word m / 2 of its position.
    void (*weights_along)(bool pairs, size_t count, size_t columns, size_t positions,
                          size_t samples, size_t lanes, const uint32_t *dy, size_t dy_position,
                          const uint32_t *x, size_t x_position, float *sums, float *bias);
    // out (columns) = sums over samples of dy[sample] x[column, sample], where x are floats or
    // pairs of columns (and dy, floats all the same, are numbers of bf16): one sum for each of 16
    // samples, then folded.
    void (*dots)(bool pairs, size_t columns, size_t samples, size_t lanes, const float *dy,
                 const uint32_t *x, float *out);
    // `count` pieces of n words, n a multiple of 16; zeros if in is NULL.
    void (*gather)(size_t count, size_t n, const uint32_t *in, size_t in_step, uint32_t *out,
                   size_t out_step);
    // out (n) = the sums of rows of 16: lane i and i + 8, then i and i + 4, ...
    void (*fold)(size_t n, const float *in, float *out);
    // out (channels, taps) = in[t tap + the place of the channel], where in pairs the places are
    // those of transpose. in is read up to the end of the last 16 channels.
    void (*order)(bool pairs, size_t channels, size_t taps, size_t tap, const float *in,
                  float *out);
    // sums (channels, 16) += in[position, channel, sample] over positions and samples, one sum for
    // each of 16 samples.
    void (*sum)(bool pairs, size_t channels, size_t positions, size_t samples, size_t lanes,
                const uint32_t *in, size_t position, float *sums);
    // One step of the dynamics on x (pixels, channels, lanes) with the gradient g of the same
    // shape.
    void (*update)(const sr_update *update, size_t pixels, size_t channels, size_t lanes,
                   const float *g, float *x);
} sr_lanes_kernels;

// For the active ISA; and for a named one (climbs no higher than the CPU).
const sr_lanes_kernels *sr_lanes_get(void);
const sr_lanes_kernels *sr_lanes_for(sr_isa isa);

void sr_lanes_fill_scalar(sr_lanes_kernels *table);
void sr_lanes_fill_avx2(sr_lanes_kernels *table);
void sr_lanes_fill_avx512(sr_lanes_kernels *table);
void sr_lanes_fill_avx512_bf16(sr_lanes_kernels *table);
void sr_lanes_fill_amx(sr_lanes_kernels *table); // bf16 and bf16x3 only: after another

// Packing for the vector kernels: for each block, for each chunk, for each tap: (units, block).
size_t sr_lanes_packed_words(const sr_lanes_conv *conv);
void sr_lanes_pack_floats(const sr_lanes_conv *conv, const float *w, uint32_t *packed);
void sr_lanes_pack_pairs(const sr_lanes_conv *conv, const float *w, uint32_t *packed);

// Words of a pixel and lane in a format.
static inline size_t sr_lanes_words(const sr_lanes_format *format, size_t channels) {
    return format->floats ? channels : (channels + 1) / 2 * (format->split ? 2 : 1);
}

#endif
