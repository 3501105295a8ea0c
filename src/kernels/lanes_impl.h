// The kernels on lanes of one instruction set, written once on the vector vocabulary that the
// including file chose (vec_<isa>.h). See lanes.h for layouts; kernels.h for the numbers of the
// dynamics' noise.
#include "kernels/lanes.h"

#include <string.h>

#include "math_impl.h"
#include "philox_impl.h"

// Vectors abreast in one pass over the weights. With LANES_BLOCK channels they fill the registers:
// enough independent sums to hide the latency of a multiply-add, and few loads for each.
#if V_WIDTH == 16
#define LANES_VECTORS 2
#define LANES_BLOCK 12
#elif V_WIDTH == 8
#define LANES_VECTORS 2
#define LANES_BLOCK 6
#else
#define LANES_VECTORS 16
#define LANES_BLOCK 6
#endif
// One copy for each constant size; under the sanitizers, which make code large, one for all sizes.
#ifdef __SANITIZE_ADDRESS__
#define LANES_INLINE static __attribute__((noinline, unused))
#else
#define LANES_INLINE static inline __attribute__((always_inline))
#endif

// ---- convolution --------------------------------------------------------------------------------

// The taps of one output: `rows` times `runs` stretches of `length` units, contiguous in x and in
// the weights.
typedef struct lanes_walk {
    const uint32_t *x, *w; // words: floats or pairs
    size_t rows, runs, length;
    size_t x_row, w_row, x_run, w_run;
} lanes_walk;

// sum + a b, in fp32 or for two bf16 channels at once.
LANES_INLINE vf lanes_multiply_add(bool pairs, vf a, vf b, vf sum) {
    return pairs ? vf_pair_dot(a, b, sum) : vf_fma(a, b, sum);
}

// `count` channels of one output for `vectors` vectors of samples; continues the sums in out or
// begins with the bias.
LANES_INLINE void lanes_output(bool pairs, const size_t count, const size_t vectors,
                               const lanes_walk *walk, size_t lanes, bool begin, const float *bias,
                               float *out) {
    vf sum[LANES_BLOCK][LANES_VECTORS];
#pragma GCC unroll 16
    for (size_t m = 0; m < count; m++)
#pragma GCC unroll 16
        for (size_t p = 0; p < vectors; p++)
            sum[m][p] = !begin ? vf_load(out + m * lanes + p * V_WIDTH)
                        : bias ? vf_set(bias[m])
                               : vf_set(0);
    for (size_t r = 0; r < walk->rows; r++) {
        for (size_t q = 0; q < walk->runs; q++) {
            const uint32_t *x = walk->x + r * walk->x_row + q * walk->x_run;
            const uint32_t *w = walk->w + r * walk->w_row + q * walk->w_run;
            for (size_t k = 0; k < walk->length; k++, x += lanes, w += count) {
                vf value[LANES_VECTORS];
#pragma GCC unroll 16
                for (size_t p = 0; p < vectors; p++)
                    value[p] = vf_load((const float *)(const void *)x + p * V_WIDTH);
#pragma GCC unroll 16
                for (size_t m = 0; m < count; m++) {
                    const vf weight = vu_as_float(vu_set(w[m]));
#pragma GCC unroll 16
                    for (size_t p = 0; p < vectors; p++)
                        sum[m][p] = lanes_multiply_add(pairs, weight, value[p], sum[m][p]);
                }
            }
        }
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < count; m++)
#pragma GCC unroll 16
        for (size_t p = 0; p < vectors; p++)
            vf_store(out + m * lanes + p * V_WIDTH, sum[m][p]);
}

// All lanes of one output.
LANES_INLINE void lanes_output_all(bool pairs, const size_t count, lanes_walk *walk, size_t lanes,
                                   bool begin, const float *bias, float *out) {
    const size_t vectors = lanes / V_WIDTH;
    size_t p = 0;
    for (; p + LANES_VECTORS <= vectors; p += LANES_VECTORS) {
        lanes_output(pairs, count, LANES_VECTORS, walk, lanes, begin, bias, out + p * V_WIDTH);
        walk->x += LANES_VECTORS * V_WIDTH;
    }
    if (p < vectors)
        lanes_output(pairs, count, 1, walk, lanes, begin, bias, out + p * V_WIDTH);
}

// One function a block size, so that sums live in registers.
#define LANES_OUTPUT(pairs, name, count)                                                           \
    static void name##_##count(lanes_walk *walk, size_t lanes, bool begin, const float *bias,      \
                               float *out) {                                                       \
        lanes_output_all(pairs, count, walk, lanes, begin, bias, out);                             \
    }
#define LANES_OUTPUTS_6(pairs, name)                                                               \
    LANES_OUTPUT(pairs, name, 1)                                                                   \
    LANES_OUTPUT(pairs, name, 2)                                                                   \
    LANES_OUTPUT(pairs, name, 3)                                                                   \
    LANES_OUTPUT(pairs, name, 4)                                                                   \
    LANES_OUTPUT(pairs, name, 5)                                                                   \
    LANES_OUTPUT(pairs, name, 6)
LANES_OUTPUTS_6(false, lanes_floats)
LANES_OUTPUTS_6(true, lanes_pairs)
#if LANES_BLOCK > 6
#define LANES_OUTPUTS_12(pairs, name)                                                              \
    LANES_OUTPUT(pairs, name, 7)                                                                   \
    LANES_OUTPUT(pairs, name, 8)                                                                   \
    LANES_OUTPUT(pairs, name, 9)                                                                   \
    LANES_OUTPUT(pairs, name, 10)                                                                  \
    LANES_OUTPUT(pairs, name, 11)                                                                  \
    LANES_OUTPUT(pairs, name, 12)
LANES_OUTPUTS_12(false, lanes_floats)
LANES_OUTPUTS_12(true, lanes_pairs)
#endif

typedef void (*lanes_output_function)(lanes_walk *, size_t, bool, const float *, float *);
static const lanes_output_function lanes_outputs[2][LANES_BLOCK] = {
    {lanes_floats_1, lanes_floats_2, lanes_floats_3, lanes_floats_4, lanes_floats_5, lanes_floats_6,
#if LANES_BLOCK > 6
     lanes_floats_7, lanes_floats_8, lanes_floats_9, lanes_floats_10, lanes_floats_11,
     lanes_floats_12
#endif
    },
    {lanes_pairs_1, lanes_pairs_2, lanes_pairs_3, lanes_pairs_4, lanes_pairs_5, lanes_pairs_6,
#if LANES_BLOCK > 6
     lanes_pairs_7, lanes_pairs_8, lanes_pairs_9, lanes_pairs_10, lanes_pairs_11, lanes_pairs_12
#endif
    },
};

// One row of outputs of one block: chunk by chunk, so that a chunk's weights stay in L1 for the
// row.
LANES_INLINE void lanes_row(bool pairs, const sr_lanes_conv *c, size_t row, size_t first,
                            size_t count, size_t lanes, const uint32_t *x, const uint32_t *packed,
                            const float *bias, float *out, size_t stride) {
    const size_t taps = c->kernel_height * c->kernel_width, pixel = c->in_units * lanes;
    const uint32_t *block = packed + first * c->in_units * taps;
    const lanes_output_function output = lanes_outputs[pairs][count - 1];
    const sr_lanes_span *u = &c->rows[row];
    for (size_t k = 0; k < c->in_units; k += c->chunk) {
        const size_t units = c->in_units - k < c->chunk ? c->in_units - k : c->chunk;
        for (size_t j = 0; j < c->out_width; j++) {
            const sr_lanes_span *v = &c->columns[j];
            lanes_walk walk = {
                .x = x + (u->in * c->in_width + v->in) * pixel + k * lanes,
                .w = block + (k * taps + (u->tap * c->kernel_width + v->tap) * units) * count,
                .rows = u->count,
                .runs = v->count,
                .length = units,
                .x_row = c->in_width * pixel,
                .w_row = c->kernel_width * units * count,
                .x_run = pixel,
                .w_run = units * count,
            };
            if (units == c->in_units) { // neighbouring pixels follow one another without a gap
                walk.length = walk.runs * units;
                walk.runs = 1;
            }
            output(&walk, lanes, k == 0, bias ? bias + first : NULL, out + j * stride);
        }
    }
}

static void V_NAME(lanes_conv_floats)(const sr_lanes_conv *conv, size_t row, size_t first,
                                      size_t count, size_t lanes, const uint32_t *x,
                                      const uint32_t *packed, const float *bias, float *out,
                                      size_t stride) {
    lanes_row(false, conv, row, first, count, lanes, x, packed, bias, out, stride);
}

static void V_NAME(lanes_conv_pairs)(const sr_lanes_conv *conv, size_t row, size_t first,
                                     size_t count, size_t lanes, const uint32_t *x,
                                     const uint32_t *packed, const float *bias, float *out,
                                     size_t stride) {
    lanes_row(true, conv, row, first, count, lanes, x, packed, bias, out, stride);
}

// ---- elementwise --------------------------------------------------------------------------------

static void V_NAME(lanes_add)(size_t n, const float *in, float *out) {
    for (size_t i = 0; i < n; i += V_WIDTH)
        vf_store(out + i, vf_add(vf_load(out + i), vf_load(in + i)));
}

LANES_INLINE vu lanes_load_words(const uint32_t *p) {
    return vf_bits(vf_load((const float *)(const void *)p));
}

LANES_INLINE void lanes_store_words(uint32_t *p, vu a) {
    vf_store((float *)(void *)p, vu_as_float(a));
}

// The float of a pair's even or odd channel.
LANES_INLINE vf lanes_even(vu pair) {
    return vu_as_float(vu_shift_left(pair, 16));
}

LANES_INLINE vf lanes_odd(vu pair) {
    return vu_as_float(vu_and(pair, vu_set(0xffff0000u)));
}

// Channels c and c + 1 of (count, lanes) floats; zeros for the partner of an odd last one.
LANES_INLINE void lanes_load_two(size_t c, size_t count, const float *in, size_t lanes, vf *even,
                                 vf *odd) {
    *even = vf_load(in + c * lanes);
    *odd = c + 1 < count ? vf_load(in + (c + 1) * lanes) : vf_set(0);
}

// floats

static void V_NAME(lanes_write_floats)(size_t channels, size_t first, size_t count, size_t lanes,
                                       const float *in, uint32_t *pixel) {
    memcpy(pixel + first * lanes, in, count * lanes * sizeof *in);
}

static void V_NAME(lanes_read_floats)(size_t channels, size_t lanes, const uint32_t *pixel,
                                      float *out) {
    memcpy(out, pixel, channels * lanes * sizeof *out);
}

static void V_NAME(lanes_slope_floats)(size_t channels, size_t first, size_t count, size_t lanes,
                                       const float *dy, const uint32_t *derivative,
                                       uint32_t *gradient) {
    const float *d = (const float *)(const void *)(derivative + first * lanes);
    float *out = (float *)(void *)(gradient + first * lanes);
    for (size_t i = 0; i < count * lanes; i += V_WIDTH)
        vf_store(out + i, vf_mul(vf_load(dy + i), vf_load(d + i)));
}

// pairs

static void V_NAME(lanes_write_pairs)(size_t channels, size_t first, size_t count, size_t lanes,
                                      const float *in, uint32_t *pixel) {
    uint32_t *out = pixel + first / 2 * lanes;
    for (size_t c = 0; c < count; c += 2, out += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            vf even, odd;
            lanes_load_two(c, count, in + i, lanes, &even, &odd);
            lanes_store_words(out + i, vf_to_pair(even, odd));
        }
}

static void V_NAME(lanes_read_pairs)(size_t channels, size_t lanes, const uint32_t *pixel,
                                     float *out) {
    for (size_t c = 0; c < channels; c += 2, out += 2 * lanes, pixel += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            const vu pair = lanes_load_words(pixel + i);
            vf_store(out + i, lanes_even(pair));
            if (c + 1 < channels)
                vf_store(out + lanes + i, lanes_odd(pair));
        }
}

static void V_NAME(lanes_slope_pairs)(size_t channels, size_t first, size_t count, size_t lanes,
                                      const float *dy, const uint32_t *derivative,
                                      uint32_t *gradient) {
    const uint32_t *d = derivative + first / 2 * lanes;
    uint32_t *out = gradient + first / 2 * lanes;
    for (size_t c = 0; c < count; c += 2, d += lanes, out += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            const vu pair = lanes_load_words(d + i);
            vf even, odd;
            lanes_load_two(c, count, dy + i, lanes, &even, &odd);
            lanes_store_words(
                out + i, vf_to_pair(vf_mul(even, lanes_even(pair)), vf_mul(odd, lanes_odd(pair))));
        }
}

// split

LANES_INLINE void lanes_store_split(vf even, vf odd, uint32_t *high, uint32_t *low) {
    const vu parts = vf_to_pair(even, odd);
    lanes_store_words(high, parts);
    // what the high parts leave is exact in fp32
    lanes_store_words(low,
                      vf_to_pair(vf_sub(even, lanes_even(parts)), vf_sub(odd, lanes_odd(parts))));
}

static void V_NAME(lanes_write_split)(size_t channels, size_t first, size_t count, size_t lanes,
                                      const float *in, uint32_t *pixel) {
    uint32_t *high = pixel + first / 2 * lanes, *low = high + (channels + 1) / 2 * lanes;
    for (size_t c = 0; c < count; c += 2, high += lanes, low += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            vf even, odd;
            lanes_load_two(c, count, in + i, lanes, &even, &odd);
            lanes_store_split(even, odd, high + i, low + i);
        }
}

static void V_NAME(lanes_read_split)(size_t channels, size_t lanes, const uint32_t *pixel,
                                     float *out) {
    const uint32_t *low = pixel + (channels + 1) / 2 * lanes;
    for (size_t c = 0; c < channels; c += 2, out += 2 * lanes, pixel += lanes, low += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            const vu a = lanes_load_words(pixel + i), b = lanes_load_words(low + i);
            vf_store(out + i, vf_add(lanes_even(a), lanes_even(b)));
            if (c + 1 < channels)
                vf_store(out + lanes + i, vf_add(lanes_odd(a), lanes_odd(b)));
        }
}

static void V_NAME(lanes_slope_split)(size_t channels, size_t first, size_t count, size_t lanes,
                                      const float *dy, const uint32_t *derivative,
                                      uint32_t *gradient) {
    const float *d = (const float *)(const void *)(derivative + first * lanes);
    uint32_t *high = gradient + first / 2 * lanes, *low = high + (channels + 1) / 2 * lanes;
    for (size_t c = 0; c < count; c += 2, high += lanes, low += lanes)
        for (size_t i = 0; i < lanes; i += V_WIDTH) {
            vf even, odd, even_slope, odd_slope;
            lanes_load_two(c, count, dy + i, lanes, &even, &odd);
            lanes_load_two(c, count, d + i, lanes, &even_slope, &odd_slope);
            lanes_store_split(vf_mul(even, even_slope), vf_mul(odd, odd_slope), high + i, low + i);
        }
}

#include "lanes_weights_impl.h"

// ---- the dynamics -------------------------------------------------------------------------------

// One vector of x at (pixel, channel).
LANES_INLINE void lanes_update_noisy(const sr_update *u, vf eps, const float *g, float *x) {
    vf state = vf_fma(vf_set(-u->step_size), vf_load(g), vf_load(x));
    state = vf_fma(vf_set(u->noise_scale), eps, state);
    vf_store(x, vf_min(vf_set(u->high), vf_max(vf_set(u->low), state)));
}

// Element e of a sample stands at pixel e % pixels, channel e / pixels.
LANES_INLINE size_t lanes_place(size_t e, size_t pixels, size_t channels) {
    return channels == 1 ? e : e % pixels * channels + e / pixels;
}

// V_WIDTH chains abreast: block b of group g gives the elements 64 g + b + (0, 16, 32, 48) of each.
LANES_INLINE void lanes_update_chains(const sr_update *u, uint64_t chain, size_t pixels,
                                      size_t channels, size_t lanes, const float *g, float *x) {
    const random_keys keys = random_keys_make(u->stream);
    const size_t n = pixels * channels;
    uint32_t low[V_WIDTH], high[V_WIDTH];
    for (size_t i = 0; i < V_WIDTH; i++) {
        low[i] = (uint32_t)(chain + i);
        high[i] = (uint32_t)((chain + i) >> 32);
    }
    const vu chain_low = lanes_load_words(low), chain_high = lanes_load_words(high);
    for (size_t block = 0; block * 4 < n + RANDOM_GROUP; block++) {
        const size_t e = block / RANDOM_BLOCKS * RANDOM_GROUP + block % RANDOM_BLOCKS;
        if (e >= n)
            continue;
        vu words[4] = {vu_set((uint32_t)block), vu_set(u->step), chain_low, chain_high};
        random_rounds(&keys, words);
        for (size_t w = 0; w < 4 && e + RANDOM_BLOCKS * w < n; w += 2) {
            vf first, second;
            random_box_muller(words[w], words[w + 1], &first, &second);
            size_t at = lanes_place(e + RANDOM_BLOCKS * w, pixels, channels) * lanes;
            lanes_update_noisy(u, first, g + at, x + at);
            if (e + RANDOM_BLOCKS * (w + 1) >= n)
                break;
            at = lanes_place(e + RANDOM_BLOCKS * (w + 1), pixels, channels) * lanes;
            lanes_update_noisy(u, second, g + at, x + at);
        }
    }
}

static void V_NAME(lanes_update)(const sr_update *u, size_t pixels, size_t channels, size_t lanes,
                                 const float *g, float *x) {
    if (u->noise_scale > 0.0f) {
        for (size_t i = 0; i < lanes; i += V_WIDTH)
            lanes_update_chains(u, u->chain + i, pixels, channels, lanes, g + i, x + i);
        return;
    }
    const vf minus = vf_set(-u->step_size), low = vf_set(u->low), high = vf_set(u->high);
    for (size_t i = 0; i < pixels * channels * lanes; i += V_WIDTH) {
        const vf state = vf_fma(minus, vf_load(g + i), vf_load(x + i));
        vf_store(x + i, vf_min(high, vf_max(low, state)));
    }
}

void V_NAME(sr_lanes_fill)(sr_lanes_kernels *table) {
    const sr_lanes_format floats = {
        .floats = true,
        .derivative_floats = true,
        .block = LANES_BLOCK,
        .packed_words = sr_lanes_packed_words,
        .pack = sr_lanes_pack_floats,
        .conv = V_NAME(lanes_conv_floats),
        .write = V_NAME(lanes_write_floats),
        .read = V_NAME(lanes_read_floats),
        .slope = V_NAME(lanes_slope_floats),
    };
    const sr_lanes_format pairs = {
        .block = LANES_BLOCK,
        .packed_words = sr_lanes_packed_words,
        .pack = sr_lanes_pack_pairs,
        .conv = V_NAME(lanes_conv_pairs),
        .write = V_NAME(lanes_write_pairs),
        .read = V_NAME(lanes_read_pairs),
        .slope = V_NAME(lanes_slope_pairs),
    };
    *table = (sr_lanes_kernels){
        .isa = V_ISA,
        .formats = {[SR_FP32] = floats, [SR_BF16] = pairs, [SR_BF16X3] = floats},
        .split = {.split = true,
                  .derivative_floats = true,
                  .write = V_NAME(lanes_write_split),
                  .read = V_NAME(lanes_read_split),
                  .slope = V_NAME(lanes_slope_split)},
        .weights_block = LANES_BLOCK,
        .add = V_NAME(lanes_add),
        .transpose = V_NAME(lanes_transpose),
        .pair_samples = V_NAME(lanes_pair_samples),
        .weights = V_NAME(lanes_weights),
        .weights_along = V_NAME(lanes_weights_along),
        .dots = V_NAME(lanes_dots),
        .gather = V_NAME(lanes_gather),
        .fold = V_NAME(lanes_fold),
        .order = V_NAME(lanes_order),
        .sum = V_NAME(lanes_sum),
        .update = V_NAME(lanes_update),
    };
}
