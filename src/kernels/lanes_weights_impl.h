// Backward-weights on lanes, part of lanes_impl.h. Where there are many channels on both sides, the
// input is transposed, so that a vector holds the channels of one sample, and multiplied with
// gradients that are broadcast; where there are few, vectors hold samples, one sum each, which are
// folded at the end.

// ---- transposed ---------------------------------------------------------------------------------

// Samples [lane, lane + V_COLUMNS) of V_WIDTH units, of which n exist.
LANES_INLINE void lanes_transpose_block(bool pairs, size_t n, size_t lanes, const uint32_t *x,
                                        size_t pitch, uint32_t *out) {
    vu column[V_COLUMNS];
    vu_load_columns(x, lanes, n, column);
#pragma GCC unroll 16
    for (size_t i = 0; i < V_COLUMNS; i += pairs ? 2 : 1) {
        if (!pairs) {
            lanes_store_words(out + i * pitch, column[i]);
            continue;
        }
        const vu low = vu_set(0xffff), high = vu_set(0xffff0000u), a = column[i], b = column[i + 1];
        lanes_store_words(out + i / 2 * pitch, vu_or(vu_and(a, low), vu_shift_left(b, 16)));
        lanes_store_words(out + i / 2 * pitch + 16, vu_or(vu_shift_right(a, 16), vu_and(b, high)));
    }
}

LANES_INLINE void lanes_transpose_all(bool pairs, size_t units, size_t samples, size_t lanes,
                                      const uint32_t *x, uint32_t *out) {
    const size_t columns = (units + 15) / 16 * (pairs ? 32 : 16);
    for (size_t first = 0; first < units; first += 16)
        for (size_t u = first; u < first + 16; u += V_WIDTH) {
            const size_t n = units < u ? 0 : units - u < V_WIDTH ? units - u : V_WIDTH;
            const uint32_t *from = n ? x + u * lanes : x;
            uint32_t *to = out + (pairs ? first * 2 : first) + (u - first);
            for (size_t i = 0; i < samples; i += V_COLUMNS) {
                uint32_t *row = to + (pairs ? i / 2 : i) * columns;
                if (n == V_WIDTH)
                    lanes_transpose_block(pairs, V_WIDTH, lanes, from + i, columns, row);
                else
                    lanes_transpose_block(pairs, n, lanes, from + i, columns, row);
            }
        }
}

static void V_NAME(lanes_transpose)(bool pairs, size_t units, size_t samples, size_t lanes,
                                    const uint32_t *x, uint32_t *out) {
    if (pairs)
        lanes_transpose_all(true, units, samples, lanes, x, out);
    else
        lanes_transpose_all(false, units, samples, lanes, x, out);
}

static void V_NAME(lanes_pair_samples)(size_t units, size_t samples, size_t lanes,
                                       const uint32_t *restrict in, uint32_t *restrict out) {
    for (size_t u = 0; u < units; u++, in += lanes, out += samples) {
        for (size_t i = 0; i < samples / 2; i++) {
            const uint32_t a = in[2 * i], b = in[2 * i + 1];
            out[i] = (a & 0xffffu) | b << 16;
            out[samples / 2 + i] = a >> 16 | (b & 0xffff0000u);
        }
    }
}

// What is multiplied in one block, see lanes.h.
typedef struct lanes_products {
    bool begin;
    size_t positions, rows;
    const uint32_t *dy, *x; // words: floats, or pairs of samples
    size_t dy_position, dy_channel, x_position;
} lanes_products;

LANES_INLINE void lanes_weights_block(bool pairs, const size_t count, const size_t vectors,
                                      const lanes_products *of, size_t column, size_t pitch,
                                      float *dw) {
    const uint32_t *dy = of->dy, *x = of->x + column;
    vf sum[LANES_BLOCK][LANES_VECTORS];
#pragma GCC unroll 16
    for (size_t m = 0; m < count; m++)
#pragma GCC unroll 16
        for (size_t p = 0; p < vectors; p++)
            sum[m][p] = vf_set(0);
    for (size_t j = 0; j < of->positions; j++, dy += of->dy_position, x += of->x_position) {
        const uint32_t *row = x;
        for (size_t s = 0; s < of->rows; s++, row += pitch) {
            for (size_t p = 0; p < vectors; p++)
                __builtin_prefetch(row + 8 * pitch + p * V_WIDTH);
            vf value[LANES_VECTORS];
#pragma GCC unroll 16
            for (size_t p = 0; p < vectors; p++)
                value[p] = vf_load((const float *)(const void *)row + p * V_WIDTH);
#pragma GCC unroll 16
            for (size_t m = 0; m < count; m++) {
                const vf weight = vu_as_float(vu_set(dy[m * of->dy_channel + s]));
#pragma GCC unroll 16
                for (size_t p = 0; p < vectors; p++)
                    sum[m][p] = lanes_multiply_add(pairs, weight, value[p], sum[m][p]);
            }
        }
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < count; m++)
#pragma GCC unroll 16
        for (size_t p = 0; p < vectors; p++) {
            float *at = dw + m * pitch + column + p * V_WIDTH;
            vf_store(at, of->begin ? sum[m][p] : vf_add(vf_load(at), sum[m][p]));
        }
}

// The columns of one block size.
LANES_INLINE void lanes_weights_columns(bool pairs, const size_t count, const lanes_products *of,
                                        size_t columns, float *dw) {
    const size_t step = LANES_VECTORS * V_WIDTH;
    size_t i = 0;
    for (; i + step <= columns; i += step)
        lanes_weights_block(pairs, count, LANES_VECTORS, of, i, columns, dw);
    for (; i < columns; i += V_WIDTH)
        lanes_weights_block(pairs, count, 1, of, i, columns, dw);
}

static void V_NAME(lanes_weights)(bool pairs, bool begin, size_t count, size_t vectors,
                                  size_t positions, size_t rows, const uint32_t *dy,
                                  size_t dy_position, size_t dy_channel, const uint32_t *x,
                                  size_t x_position, float *dw) {
    const lanes_products of = {begin, positions, rows, dy, x, dy_position, dy_channel, x_position};
    const size_t columns = vectors * SR_LANES;
#define LANES_WEIGHTS(n)                                                                           \
    case n:                                                                                        \
        if (pairs)                                                                                 \
            lanes_weights_columns(true, n, &of, columns, dw);                                      \
        else                                                                                       \
            lanes_weights_columns(false, n, &of, columns, dw);                                     \
        break
    switch (count) {
        LANES_WEIGHTS(1);
        LANES_WEIGHTS(2);
        LANES_WEIGHTS(3);
        LANES_WEIGHTS(4);
        LANES_WEIGHTS(5);
        LANES_WEIGHTS(6);
#if LANES_BLOCK > 6
        LANES_WEIGHTS(7);
        LANES_WEIGHTS(8);
        LANES_WEIGHTS(9);
        LANES_WEIGHTS(10);
        LANES_WEIGHTS(11);
        LANES_WEIGHTS(12);
#endif
    default:
        break;
    }
}

// ---- along the samples --------------------------------------------------------------------------

// Channels of gradients and columns that are multiplied together, both even because of the pairs.
#define ALONG_CHANNELS 2
#if V_WIDTH == 8
#define ALONG_COLUMNS 6
#else
#define ALONG_COLUMNS 12
#endif

typedef struct lanes_along {
    size_t positions, samples, lanes;
    const uint32_t *dy, *x;
    size_t dy_position, x_position;
    size_t columns; // in all
} lanes_along;

// Channel m of a position: words of floats, or a half of a word of pairs.
LANES_INLINE vf lanes_channel(bool pairs, const uint32_t *words, size_t lanes, size_t m) {
    if (!pairs)
        return vu_as_float(lanes_load_words(words + m * lanes));
    const vu pair = lanes_load_words(words + m / 2 * lanes);
    return m % 2 ? lanes_odd(pair) : lanes_even(pair);
}

// Columns [column, column + columns) of the channels [channel, channel + count).
LANES_INLINE void lanes_along_block(bool pairs, const size_t count, const size_t columns,
                                    const lanes_along *of, size_t channel, size_t column,
                                    float *sums, float *bias) {
    const size_t lanes = of->lanes, pitch = of->columns * SR_LANES;
    for (size_t half = 0; half < SR_LANES; half += V_WIDTH) {
        vf sum[ALONG_CHANNELS][ALONG_COLUMNS], total[ALONG_CHANNELS];
        float *at = sums + channel * pitch + column * SR_LANES + half;
        float *total_at = bias + channel * SR_LANES + half;
#pragma GCC unroll 16
        for (size_t m = 0; m < count; m++) {
            total[m] = vf_load(total_at + m * SR_LANES);
#pragma GCC unroll 16
            for (size_t k = 0; k < columns; k++)
                sum[m][k] = vf_load(at + m * pitch + k * SR_LANES);
        }
        const uint32_t *dy = of->dy + (pairs ? channel / 2 : channel) * lanes + half;
        const uint32_t *x = of->x + column * lanes + half;
        const size_t next_row = of->positions * of->dy_position; // comes from beyond L2
        for (size_t j = 0; j < of->positions; j++, dy += of->dy_position, x += of->x_position)
            for (size_t i = 0; i < of->samples; i += SR_LANES) {
                for (size_t m = 0; m < count && column == 0; m += pairs ? 2 : 1)
                    __builtin_prefetch(dy + i + next_row + (pairs ? m / 2 : m) * lanes, 0, 2);
                vf slope[ALONG_CHANNELS];
#pragma GCC unroll 16
                for (size_t m = 0; m < count; m++) {
                    slope[m] = lanes_channel(pairs, dy + i, lanes, m);
                    total[m] = vf_add(total[m], slope[m]);
                }
#pragma GCC unroll 16
                for (size_t k = 0; k < columns; k++) {
                    const vf value = vf_keep(lanes_channel(false, x + i, lanes, k));
#pragma GCC unroll 16
                    for (size_t m = 0; m < count; m++)
                        sum[m][k] = vf_fma(slope[m], value, sum[m][k]);
                }
            }
#pragma GCC unroll 16
        for (size_t m = 0; m < count; m++) {
            if (column == 0)
                vf_store(total_at + m * SR_LANES, total[m]);
#pragma GCC unroll 16
            for (size_t k = 0; k < columns; k++)
                vf_store(at + m * pitch + k * SR_LANES, sum[m][k]);
        }
    }
}

// All channels of a block of columns, which stay in L1 meanwhile.
LANES_INLINE void lanes_along_channels(bool pairs, const size_t columns, const lanes_along *of,
                                       size_t count, size_t column, float *sums, float *bias) {
    size_t m = 0;
    for (; m + ALONG_CHANNELS <= count; m += ALONG_CHANNELS)
        lanes_along_block(pairs, ALONG_CHANNELS, columns, of, m, column, sums, bias);
    if (m < count)
        lanes_along_block(pairs, 1, columns, of, m, column, sums, bias);
}

// Blocks of columns are as equal as they can be.
LANES_INLINE void lanes_along_all(bool pairs, const lanes_along *of, size_t count, float *sums,
                                  float *bias) {
    const size_t columns = of->columns, blocks = (columns + ALONG_COLUMNS - 1) / ALONG_COLUMNS;
    const size_t step = (columns + blocks - 1) / blocks;
#define LANES_ALONG(n)                                                                             \
    case n:                                                                                        \
        lanes_along_channels(pairs, n, of, count, k, sums, bias);                                  \
        break
    for (size_t k = 0; k < columns; k += step)
        switch (columns - k < step ? columns - k : step) {
            LANES_ALONG(1);
            LANES_ALONG(2);
            LANES_ALONG(3);
            LANES_ALONG(4);
            LANES_ALONG(5);
            LANES_ALONG(6);
#if ALONG_COLUMNS > 6
            LANES_ALONG(7);
            LANES_ALONG(8);
            LANES_ALONG(9);
            LANES_ALONG(10);
            LANES_ALONG(11);
            LANES_ALONG(12);
#endif
        default:
            break;
        }
}

LANES_INLINE void lanes_along_either(bool pairs, const lanes_along *of, size_t count, float *sums,
                                     float *bias) {
    if (pairs)
        lanes_along_all(true, of, count, sums, bias);
    else
        lanes_along_all(false, of, count, sums, bias);
}

static void V_NAME(lanes_weights_along)(bool pairs, size_t count, size_t columns, size_t positions,
                                        size_t samples, size_t lanes, const uint32_t *dy,
                                        size_t dy_position, const uint32_t *x, size_t x_position,
                                        float *sums, float *bias) {
    if (lanes == SR_LANES && samples == SR_LANES) { // the common case, in constants
        const lanes_along of = {positions, SR_LANES,    SR_LANES,   dy,
                                x,         dy_position, x_position, columns};
        lanes_along_either(pairs, &of, count, sums, bias);
    } else {
        const lanes_along of = {positions, samples, lanes, dy, x, dy_position, x_position, columns};
        lanes_along_either(pairs, &of, count, sums, bias);
    }
}

// Sixteen sums, in vectors, as one vector: those V_WIDTH apart are added, the farthest first.
LANES_INLINE vf lanes_halves(vf *sum) {
#pragma GCC unroll 4
    for (size_t half = SR_LANES / V_WIDTH / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (size_t k = 0; k < half; k++)
            sum[k] = vf_add(sum[k], sum[k + half]);
    return sum[0];
}

LANES_INLINE vf lanes_load_halves(const float *sums) {
    vf sum[SR_LANES / V_WIDTH];
#pragma GCC unroll 16
    for (size_t k = 0; k < SR_LANES / V_WIDTH; k++)
        sum[k] = vf_load(sums + k * V_WIDTH);
    return lanes_halves(sum);
}

static void V_NAME(lanes_fold)(size_t n, const float *in, float *out) {
    for (size_t i = 0; i < n; i += V_WIDTH, in += V_WIDTH * SR_LANES) {
        const size_t rows = n - i < V_WIDTH ? n - i : V_WIDTH;
        vf sum[V_WIDTH];
#pragma GCC unroll 16
        for (size_t k = 0; k < V_WIDTH; k++)
            sum[k] = k < rows ? lanes_load_halves(in + k * SR_LANES) : vf_set(0);
        if (rows == V_WIDTH)
            vf_store(out + i, vf_fold(sum));
        else
            vf_store_head(out + i, vf_fold(sum), rows);
    }
}

// The product of column k with dy of sixteen samples, added to a sum. In pairs dy_half is dy in the
// column's half of a word, with a zero in the other.
LANES_INLINE vf lanes_dot(bool pairs, const uint32_t *x, size_t lanes, size_t k, vf dy,
                          const vf *dy_half, vf sum) {
    if (pairs)
        return vf_pair_dot(vu_as_float(lanes_load_words(x + k / 2 * lanes)), dy_half[k % 2], sum);
    return vf_fma(dy, lanes_channel(false, x, lanes, k), sum);
}

// V_WIDTH columns (two, if that is one), of which `count` exist.
#define DOTS_COLUMNS (V_WIDTH == 1 ? 2 : V_WIDTH)

LANES_INLINE void lanes_dots_block(bool pairs, const size_t count, size_t samples, size_t lanes,
                                   const float *dy, const uint32_t *x, float *out) {
    vf sum[DOTS_COLUMNS][SR_LANES / V_WIDTH];
#pragma GCC unroll 16
    for (size_t k = 0; k < DOTS_COLUMNS; k++)
#pragma GCC unroll 16
        for (size_t h = 0; h < SR_LANES / V_WIDTH; h++)
            sum[k][h] = vf_set(0);
#pragma GCC unroll 16
    for (size_t h = 0; h < SR_LANES / V_WIDTH; h++)
        for (size_t i = h * V_WIDTH; i < samples; i += SR_LANES) {
            const vf slope = vf_load(dy + i);
            const vf half[2] = {vu_as_float(vu_shift_right(vf_bits(slope), 16)),
                                vu_as_float(vu_and(vf_bits(slope), vu_set(0xffff0000u)))};
#pragma GCC unroll 16
            for (size_t k = 0; k < count; k++)
                sum[k][h] = lanes_dot(pairs, x + i, lanes, k, slope, half, sum[k][h]);
        }
    for (size_t first = 0; first < count; first += V_WIDTH) {
        vf folded[V_WIDTH];
#pragma GCC unroll 16
        for (size_t k = 0; k < V_WIDTH; k++)
            folded[k] = lanes_halves(sum[first + k]);
        if (count - first >= V_WIDTH)
            vf_store(out + first, vf_fold(folded));
        else
            vf_store_head(out + first, vf_fold(folded), count - first);
    }
}

LANES_INLINE void lanes_dots_all(bool pairs, size_t columns, size_t samples, size_t lanes,
                                 const float *dy, const uint32_t *x, float *out) {
    size_t k = 0;
    for (; k + DOTS_COLUMNS <= columns; k += DOTS_COLUMNS)
        lanes_dots_block(pairs, DOTS_COLUMNS, samples, lanes, dy, x + (pairs ? k / 2 : k) * lanes,
                         out + k);
    for (; k + 2 <= columns; k += 2)
        lanes_dots_block(pairs, 2, samples, lanes, dy, x + (pairs ? k / 2 : k) * lanes, out + k);
    if (k < columns)
        lanes_dots_block(pairs, 1, samples, lanes, dy, x + (pairs ? k / 2 : k) * lanes, out + k);
}

static void V_NAME(lanes_dots)(bool pairs, size_t columns, size_t samples, size_t lanes,
                               const float *dy, const uint32_t *x, float *out) {
    if (pairs)
        lanes_dots_all(true, columns, samples, lanes, dy, x, out);
    else
        lanes_dots_all(false, columns, samples, lanes, dy, x, out);
}

static void V_NAME(lanes_gather)(size_t count, size_t n, const uint32_t *in, size_t in_step,
                                 uint32_t *out, size_t out_step) {
    for (size_t j = 0; j < count; j++, out += out_step)
        for (size_t i = 0; i < n; i += V_WIDTH)
            lanes_store_words(out + i, in ? lanes_load_words(in + j * in_step + i) : vu_set(0));
}

// Eight channels at a time, so that their sums stay in registers.
LANES_INLINE void lanes_sum_block(bool pairs, const size_t count, size_t positions, size_t samples,
                                  size_t lanes, const uint32_t *in, size_t position, float *sums) {
    for (size_t half = 0; half < SR_LANES; half += V_WIDTH) {
        vf sum[8];
#pragma GCC unroll 8
        for (size_t m = 0; m < count; m++)
            sum[m] = vf_load(sums + m * SR_LANES + half);
        for (size_t j = 0; j < positions; j++)
            for (size_t i = half; i < samples; i += SR_LANES)
#pragma GCC unroll 8
                for (size_t m = 0; m < count; m++)
                    sum[m] = vf_add(sum[m], lanes_channel(pairs, in + j * position + i, lanes, m));
#pragma GCC unroll 8
        for (size_t m = 0; m < count; m++)
            vf_store(sums + m * SR_LANES + half, sum[m]);
    }
}

static void V_NAME(lanes_sum)(bool pairs, size_t channels, size_t positions, size_t samples,
                              size_t lanes, const uint32_t *in, size_t position, float *sums) {
    size_t m = 0;
    for (; m + 8 <= channels; m += 8, sums += 8 * SR_LANES) {
        if (pairs)
            lanes_sum_block(true, 8, positions, samples, lanes, in + m / 2 * lanes, position, sums);
        else
            lanes_sum_block(false, 8, positions, samples, lanes, in + m * lanes, position, sums);
    }
    for (; m < channels; m += 2, sums += 2 * SR_LANES) {
        const uint32_t *at = in + (pairs ? m / 2 : m) * lanes;
        if (channels - m == 1)
            lanes_sum_block(pairs, 1, positions, samples, lanes, at, position, sums);
        else
            lanes_sum_block(pairs, 2, positions, samples, lanes, at, position, sums);
    }
}

// ---- weights in their place ---------------------------------------------------------------------

// out[c taps + t] = in[t tap + place of c], channel c's place as transpose puts it.
LANES_INLINE void lanes_order_block(bool pairs, size_t n, size_t channels, size_t first,
                                    const float *in, size_t tap, size_t taps, float *out) {
    for (size_t half = 0; half < (pairs ? 2 : 1); half++) {
        vu column[V_COLUMNS];
        vu_load_columns((const uint32_t *)(const void *)in + 16 * half, tap, n, column);
#pragma GCC unroll 16
        for (size_t i = 0; i < V_COLUMNS; i++) {
            const size_t c = pairs ? first + 2 * i + half : first + i;
            if (c >= channels)
                break;
            if (n == V_WIDTH)
                vf_store(out + c * taps, vu_as_float(column[i]));
            else
                vf_store_head(out + c * taps, vu_as_float(column[i]), n);
        }
    }
}

static void V_NAME(lanes_order)(bool pairs, size_t channels, size_t taps, size_t tap,
                                const float *in, float *out) {
    if (taps == 1) {
        for (size_t c = 0; c < channels && !pairs; c++)
            out[c] = in[c];
        for (size_t c = 0; c < channels && pairs; c += 32, in += 32) // evens, then odds
            for (size_t i = 0; i < 16 && c + 2 * i < channels; i++) {
                out[c + 2 * i] = in[i];
                if (c + 2 * i + 1 < channels)
                    out[c + 2 * i + 1] = in[16 + i];
            }
        return;
    }
    for (size_t t = 0; t < taps; t += V_WIDTH) {
        const size_t n = taps - t < V_WIDTH ? taps - t : V_WIDTH;
        const float *from = in + t * tap;
        for (size_t c = 0; c < channels; c += V_COLUMNS * (pairs ? 2 : 1)) {
            const float *at = from + (pairs ? c / 32 * 32 + c % 32 / 2 : c);
            if (pairs)
                lanes_order_block(true, n, channels, c, at, tap, taps, out + t);
            else
                lanes_order_block(false, n, channels, c, at, tap, taps, out + t);
        }
    }
}
