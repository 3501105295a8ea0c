// check_kernels, the kernels on lanes: convolutions of every instruction set and precision against
// the double reference and, in fp32, bit for bit against plain C; the rest bit for bit.
#include "check_kernels.h"

#include "kernels/lanes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static float draw(void) {
    return random_between(-1, 1);
}

// Numbers as they occur, with some that are special where every rung treats them alike: subnormal
// ones are not among them (the bf16 instructions take them as 0).
static float draw_special(void) {
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.00390625f, 3e38f};
    const uint32_t kind = random_word() % 16;
    return kind == 0 ? special[random_word() % (sizeof special / sizeof *special)] : draw();
}

static uint32_t *words(const guarded *g) {
    return (uint32_t *)(void *)g->data;
}

// ---- convolution --------------------------------------------------------------------------------

// What an operand is after rounding to the format, for the reference.
static double rounded(const sr_lanes_format *format, float a) {
    return format->floats || format->split ? a : sr_bf16_float(sr_bf16_round(a));
}

typedef struct conv_case {
    sr_conv_shape shape;
    bool backward;
    size_t lanes;
} conv_case;

// Input (lanes, channels, pixels) in double, as the reference takes it, and in the format.
static guarded make_input(const sr_lanes_format *format, const sr_lanes_conv *c, size_t lanes,
                          double *plain) {
    const size_t pixels = c->in_height * c->in_width, channels = c->in_channels;
    const size_t pixel = sr_lanes_words(format, channels) * lanes;
    guarded x = guarded_make(pixels * pixel, 0);
    guarded values = guarded_make(channels * lanes, 0);
    for (size_t p = 0; p < pixels; p++) {
        for (size_t k = 0; k < channels; k++)
            for (size_t i = 0; i < lanes; i++) {
                const float a = draw();
                values.data[k * lanes + i] = a;
                plain[(i * channels + k) * pixels + p] = rounded(format, a);
            }
        format->write(channels, 0, channels, lanes, values.data, words(&x) + p * pixel);
    }
    guarded_end(&values, "values");
    return x;
}

// The largest difference and the largest sum of magnitudes, which is what errors are measured in.
typedef struct deviation {
    double worst, scale;
} deviation;

static void reference(const conv_case *t, const double *x, const double *w, const double *bias,
                      double *y) {
    if (t->backward)
        sr_conv_backward_data_scalar_f64(&t->shape, t->lanes, x, w, y);
    else
        sr_conv_forward_scalar_f64(&t->shape, t->lanes, x, w, bias, y);
}

// All rows and blocks of one convolution into out (pixels, channels, lanes).
static void run_conv(const sr_lanes_format *format, const sr_lanes_conv *c, size_t lanes,
                     const uint32_t *x, const uint32_t *packed, const float *bias, float *out) {
    const size_t pixel = c->out_channels * lanes;
    for (size_t row = 0; row < c->out_height; row++)
        for (size_t first = 0, count; first < c->out_channels; first += count) {
            count = sr_lanes_block(c, first);
            format->conv(c, row, first, count, lanes, x, packed, bias,
                         out + row * c->out_width * pixel + first * lanes, pixel);
        }
}

// Difference from the reference; `kept` (NULL: not wanted) receives the result.
static deviation check_conv_format(const conv_case *t, const sr_lanes_format *format, float *kept) {
    sr_lanes_conv c;
    if (sr_lanes_conv_create(&t->shape, t->backward, format, &c)) {
        complain("no memory");
        return (deviation){0};
    }
    const size_t lanes = t->lanes, in = c.in_channels * c.in_height * c.in_width;
    const size_t out_pixels = c.out_height * c.out_width, out = c.out_channels * out_pixels;
    const size_t weights =
        t->shape.in_channels * t->shape.out_channels * c.kernel_height * c.kernel_width;
    float *w, *bias = NULL;
    double *x64 = sr_alloc(in * lanes, sizeof *x64), *w64 = random_doubles(weights, &w);
    double *bias64 = NULL, *y64 = sr_alloc(out * lanes, sizeof *y64);
    if (!t->backward)
        bias64 = random_doubles(c.out_channels, &bias);
    for (size_t i = 0; i < weights; i++)
        w64[i] = rounded(format, w[i]);
    guarded x = make_input(format, &c, lanes, x64);
    guarded packed = guarded_make(format->packed_words(&c), 0), y = guarded_make(out * lanes, 0);
    format->pack(&c, w, words(&packed));
    run_conv(format, &c, lanes, words(&x), words(&packed), bias, y.data);
    reference(t, x64, w64, bias64, y64);
    deviation d = {0, sqrt((double)(c.in_channels * c.kernel_height * c.kernel_width))};
    for (size_t i = 0; i < lanes; i++)
        for (size_t k = 0; k < c.out_channels; k++)
            for (size_t p = 0; p < out_pixels; p++) {
                const double found = y.data[(p * c.out_channels + k) * lanes + i];
                const double off = fabs(found - y64[(i * c.out_channels + k) * out_pixels + p]);
                d.worst = off <= d.worst ? d.worst : off; // NaN stays
                comparisons++;
            }
    if (kept)
        memcpy(kept, y.data, out * lanes * sizeof *kept);
    guarded_end(&x, "x");
    guarded_end(&packed, "packed weights");
    guarded_end(&y, "y");
    void *all[] = {w, bias, x64, w64, bias64, y64};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sr_free(all[i]);
    sr_lanes_conv_clear(&c);
    return d;
}

// Shapes of the networks, and others: channels around blocks, pairs and tiles; strides 1 to 3;
// borders wider than the image; images of one pixel; kernels that cover the image.
static const size_t shapes[][7] = {
    // in channels, height, width, out channels, kernel, stride, padding
    {1, 7, 7, 8, 3, 1, 1},   {3, 6, 5, 7, 3, 1, 1},   {8, 8, 8, 16, 4, 2, 1},
    {32, 4, 4, 33, 4, 2, 1}, {2, 1, 1, 1, 1, 1, 0},   {16, 3, 3, 1, 3, 1, 0},
    {1, 9, 4, 13, 4, 2, 1},  {5, 5, 5, 25, 1, 1, 0},  {31, 2, 3, 12, 2, 1, 0},
    {64, 1, 1, 40, 1, 1, 0}, {4, 7, 7, 6, 2, 3, 0},   {3, 5, 6, 5, 5, 3, 2},
    {47, 3, 3, 2, 3, 2, 1},  {70, 1, 1, 65, 1, 1, 0}, {2, 2, 2, 3, 4, 1, 3},
    {600, 1, 1, 9, 1, 1, 0}, {33, 2, 2, 1, 2, 1, 0},  {6, 12, 12, 10, 4, 2, 1},
};

// Errors that the arithmetic allows, in units of the root of the number of terms.
static double allowed(const sr_lanes_format *format) {
    return format->split ? 5e-5 : 4e-6;
}

static void check_conv_case(const sr_lanes_kernels *table, const conv_case *t, size_t shape) {
    const size_t most =
        t->lanes * (t->backward ? t->shape.in_channels * t->shape.in_height * t->shape.in_width
                                : t->shape.out_channels * t->shape.out_height * t->shape.out_width);
    float *found = sr_alloc(most, sizeof *found), *plain = sr_alloc(most, sizeof *plain);
    for (int precision = 0; precision < SR_PRECISION_COUNT; precision++) {
        const sr_lanes_format *format = &table->formats[precision];
        if (precision == SR_BF16X3 && format->floats)
            continue; // it is fp32 then
        const uint64_t place = random_place();
        const deviation d = check_conv_format(t, format, found);
        if (!(d.worst <= allowed(format) * d.scale))
            complain("%s, shape %zu, %s, %zu lanes: off by %.3g of %.3g",
                     sr_precision_name((sr_precision)precision), shape,
                     t->backward ? "backward-data" : "forward", t->lanes, d.worst, d.scale);
        if (!format->floats || table->isa == SR_ISA_SCALAR)
            continue;
        random_go_to(place); // the same numbers once more
        check_conv_format(t, &sr_lanes_for(SR_ISA_SCALAR)->formats[SR_FP32], plain);
        compare_bits("fp32 against plain C", most, plain, found);
    }
    sr_free(found);
    sr_free(plain);
}

static void check_convs(const sr_lanes_kernels *table) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t *s = shapes[i];
        conv_case t = {.shape = sr_conv_shape_make(s[0], s[1], s[2], s[3], s[4], s[4], s[5], s[6])};
        for (t.lanes = 16; t.lanes <= 48; t.lanes += 16)
            for (int backward = 0; backward < 2; backward++) {
                t.backward = backward;
                current_length = t.lanes;
                check_conv_case(table, &t, i);
            }
    }
}

// ---- formats ------------------------------------------------------------------------------------

// A pixel of `channels`, written in blocks that begin at even channels, read back, multiplied.
static void check_format(const sr_lanes_format *plain, const sr_lanes_format *format,
                         size_t channels, size_t lanes) {
    const size_t n = channels * lanes, size = sr_lanes_words(format, channels) * lanes;
    guarded in = guarded_random(n, 0, draw_special), slopes = guarded_random(n, 0, draw);
    guarded a = guarded_make(size, 0), b = guarded_make(size, 0);
    guarded x = guarded_make(n, 0), y = guarded_make(n, 0);
    guarded d = guarded_make(format->derivative_floats ? n : size, 0);
    for (size_t first = 0; first < channels; first += 4) {
        const size_t count = channels - first < 4 ? channels - first : 4;
        plain->write(channels, first, count, lanes, in.data + first * lanes, words(&a));
        format->write(channels, first, count, lanes, in.data + first * lanes, words(&b));
    }
    plain->read(channels, lanes, words(&a), x.data);
    format->read(channels, lanes, words(&b), y.data);
    compare_bits("write and read", n, x.data, y.data);
    for (size_t i = 0; i < n; i++) {
        const float v = in.data[i];
        const double bound = format->floats ? 0 : format->split ? 2e-5 : 4e-3;
        if (isfinite(v) && fabsf(v) < 1e38f && !(fabs(y.data[i] - v) <= bound * fabsf(v)))
            complain("%g comes back as %g", (double)v, (double)y.data[i]);
    }
    if (format->derivative_floats)
        memcpy(d.data, slopes.data, n * sizeof(float));
    else
        format->write(channels, 0, channels, lanes, slopes.data, words(&d));
    for (size_t first = 0; first < channels; first += 4) {
        const size_t count = channels - first < 4 ? channels - first : 4;
        plain->slope(channels, first, count, lanes, in.data + first * lanes, words(&d), words(&a));
        format->slope(channels, first, count, lanes, in.data + first * lanes, words(&d), words(&b));
    }
    plain->read(channels, lanes, words(&a), x.data);
    format->read(channels, lanes, words(&b), y.data);
    compare_bits("slope", n, x.data, y.data);
    guarded *all[] = {&in, &slopes, &a, &b, &x, &y, &d};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        guarded_end(all[i], "a tensor");
}

static void check_formats(const sr_lanes_kernels *plain, const sr_lanes_kernels *table) {
    for (size_t channels = 1; channels <= 9; channels++)
        for (size_t lanes = 16; lanes <= 32; lanes += 16) {
            current_length = channels;
            check_format(&plain->formats[SR_FP32], &table->formats[SR_FP32], channels, lanes);
            check_format(&plain->formats[SR_BF16], &table->formats[SR_BF16], channels, lanes);
            check_format(&plain->split, &table->split, channels, lanes);
        }
}

// ---- backward-weights, sums, the dynamics -------------------------------------------------------

// A pair of bf16 numbers from [-1, 1) in a word, as the float that has its bits.
static float draw_pair(void) {
    const uint32_t word = sr_bf16_round(draw()) | sr_bf16_round(draw()) << 16;
    float out;
    memcpy(&out, &word, sizeof out);
    return out;
}

static void compare_near(const char *what, size_t n, const float *expected, const float *found) {
    for (size_t i = 0; i < n; i++) {
        comparisons++;
        if (!(fabsf(found[i] - expected[i]) <= 1e-5f * (1 + fabsf(expected[i])))) {
            complain("%s[%zu] is %a, the reference %a", what, i, (double)found[i],
                     (double)expected[i]);
            return;
        }
    }
}

// The hardware's dot products of bf16 round in their own way: they are compared nearly.
static void check_weights_block(const sr_lanes_kernels *plain, const sr_lanes_kernels *table,
                                bool pairs, size_t count, size_t vectors) {
    const size_t positions = 1 + count % 3, channel = 32, columns = vectors * SR_LANES;
    const bool begin = count % 2;
    const size_t rows = (pairs ? SR_LANES / 2 : SR_LANES) * (1 + count % 2);
    const size_t x_position = rows * columns + 3;
    guarded dy = guarded_random(positions * count * channel, 0, pairs ? draw_pair : draw);
    guarded x = guarded_random(positions * x_position, 0, pairs ? draw_pair : draw);
    guarded a = guarded_random(count * columns, 0, draw), b = guarded_copy(&a, 0);
    current_length = count;
    for (size_t m = 0; m < count; m++) // channel by channel: plain C has small blocks
        plain->weights(pairs, begin, 1, vectors, positions, rows, words(&dy) + m * channel,
                       count * channel, channel, words(&x), x_position, a.data + m * columns);
    for (size_t m = 0, n; m < count; m += n) {
        n = count - m < table->weights_block ? count - m : table->weights_block;
        table->weights(pairs, begin, n, vectors, positions, rows, words(&dy) + m * channel,
                       count * channel, channel, words(&x), x_position, b.data + m * columns);
    }
    (pairs && table->isa >= SR_ISA_AVX512_BF16 ? compare_near : compare_bits)("weights", a.n,
                                                                              a.data, b.data);
    guarded_end(&dy, "dy");
    guarded_end(&x, "x");
    guarded_end(&a, "dw");
    guarded_end(&b, "dw");
}

// Number m of a position that holds floats or pairs, of one sample, in words (units, lanes).
static float lane_value(bool pairs, const guarded *g, size_t position, size_t lanes, size_t m,
                        size_t sample) {
    if (!pairs)
        return g->data[position + m * lanes + sample];
    const uint32_t word = words(g)[position + m / 2 * lanes + sample];
    return sr_bf16_float(m % 2 ? word >> 16 : word & 0xffffu);
}

// Sums along the samples, in the order that lanes.h states, against a loop over numbers.
static void check_along(const sr_lanes_kernels *table, bool pairs, size_t count, size_t columns) {
    const size_t positions = 1 + columns % 3, samples = 16 + 16 * (count % 2), lanes = 48;
    const size_t dy_position = lanes * (pairs ? (count + 1) / 2 : count);
    const size_t x_position = lanes * columns;
    guarded dy = guarded_random(positions * dy_position, 0, pairs ? draw_pair : draw);
    guarded x = guarded_random(positions * x_position, 0, draw);
    guarded a = guarded_random(count * columns * SR_LANES, 0, draw), b = guarded_copy(&a, 0);
    guarded c = guarded_random(count * SR_LANES, 0, draw), d = guarded_copy(&c, 0);
    current_length = count * 100 + columns;
    for (size_t m = 0; m < count; m++)
        for (size_t j = 0; j < positions; j++)
            for (size_t i = 0; i < samples; i++)
                c.data[m * SR_LANES + i % SR_LANES] +=
                    lane_value(pairs, &dy, j * dy_position, lanes, m, i);
    for (size_t m = 0; m < count; m++)
        for (size_t k = 0; k < columns; k++)
            for (size_t j = 0; j < positions; j++)
                for (size_t i = 0; i < samples; i++) {
                    float *sum = &a.data[(m * columns + k) * SR_LANES + i % SR_LANES];
                    *sum = fmaf(lane_value(pairs, &dy, j * dy_position, lanes, m, i),
                                lane_value(false, &x, j * x_position, lanes, k, i), *sum);
                }
    table->weights_along(pairs, count, columns, positions, samples, lanes, words(&dy), dy_position,
                         words(&x), x_position, b.data, d.data);
    compare_bits("weights_along", a.n, a.data, b.data);
    compare_bits("weights_along's bias", c.n, c.data, d.data);
    guarded_end(&c, "bias");
    guarded_end(&d, "bias");
    guarded_end(&dy, "dy");
    guarded_end(&x, "x");
    guarded_end(&a, "sums");
    guarded_end(&b, "sums");
}

static void check_dots(const sr_lanes_kernels *table, bool pairs, size_t columns) {
    const size_t samples = 16 + 16 * (columns % 2), lanes = 48;
    guarded dy = guarded_random(samples, 0, draw);
    guarded x =
        guarded_random(lanes * (pairs ? (columns + 1) / 2 : columns), 0, pairs ? draw_pair : draw);
    guarded a = guarded_random(columns, 0, draw), b = guarded_random(columns, 0, draw);
    current_length = columns;
    for (size_t i = 0; i < samples && pairs; i++)
        dy.data[i] = sr_bf16_float(sr_bf16_round(dy.data[i]));
    for (size_t k = 0; k < columns; k++) {
        float sum[SR_LANES] = {0};
        for (size_t i = 0; i < samples; i++)
            sum[i % SR_LANES] =
                fmaf(dy.data[i], lane_value(pairs, &x, 0, lanes, k, i), sum[i % SR_LANES]);
        for (size_t half = SR_LANES / 2; half > 0; half /= 2)
            for (size_t i = 0; i < half; i++)
                sum[i] += sum[i + half];
        a.data[k] = sum[0];
    }
    table->dots(pairs, columns, samples, lanes, dy.data, words(&x), b.data);
    (pairs && table->isa >= SR_ISA_AVX512_BF16 ? compare_near : compare_bits)("dots", columns,
                                                                              a.data, b.data);
    guarded_end(&dy, "dy");
    guarded_end(&x, "x");
    guarded_end(&a, "out");
    guarded_end(&b, "out");
}

static void check_gather(const sr_lanes_kernels *table, size_t count, size_t n) {
    guarded in = guarded_random(count * (n + 16), 0, draw);
    guarded a = guarded_random(count * (n + 7), 0, draw), b = guarded_copy(&a, 0);
    current_length = n;
    for (int zeros = 0; zeros < 2; zeros++) {
        for (size_t j = 0; j < count; j++)
            for (size_t i = 0; i < n; i++)
                a.data[j * (n + 7) + i] = zeros ? 0 : in.data[j * (n + 16) + i];
        table->gather(count, n, zeros ? NULL : words(&in), n + 16, words(&b), n + 7);
        compare_bits("gather", a.n, a.data, b.data);
    }
    guarded_end(&in, "in");
    guarded_end(&a, "out");
    guarded_end(&b, "out");
}

// The word that transpose must write: floats of a sample, or two samples of a channel.
static uint32_t transposed_word(bool pairs, const guarded *x, size_t units, size_t lanes,
                                size_t row, size_t column) {
    if (!pairs)
        return column < units ? words(x)[column * lanes + row] : 0;
    const size_t unit = column / 32 * 16 + column % 16, shift = column % 32 / 16 * 16;
    if (unit >= units)
        return 0;
    const uint32_t *at = words(x) + unit * lanes + 2 * row;
    return (at[0] >> shift & 0xffffu) | (at[1] >> shift & 0xffffu) << 16;
}

static void check_transpose(const sr_lanes_kernels *table, bool pairs, size_t units) {
    const size_t samples = 16 + 16 * (units % 2), lanes = 32;
    const size_t columns = (units + 15) / 16 * (pairs ? 32 : 16);
    const size_t rows = samples / (pairs ? 2 : 1);
    guarded x = guarded_random((units - 1) * lanes + samples, 0, pairs ? draw_pair : draw);
    guarded out = guarded_random(rows * columns, 0, draw);
    guarded expected = guarded_random(rows * columns, 0, draw);
    current_length = units;
    for (size_t i = 0; i < rows * columns; i++) {
        const uint32_t word = transposed_word(pairs, &x, units, lanes, i / columns, i % columns);
        memcpy(&expected.data[i], &word, sizeof word);
    }
    table->transpose(pairs, units, samples, lanes, words(&x), (uint32_t *)(void *)out.data);
    compare_bits("transpose", rows * columns, expected.data, out.data);
    guarded_end(&x, "x");
    guarded_end(&out, "out");
    guarded_end(&expected, "out");
}

static void check_pair_samples(const sr_lanes_kernels *table, size_t units) {
    const size_t samples = 16 + 16 * (units % 2), lanes = 32;
    guarded in = guarded_random((units - 1) * lanes + samples, 0, draw_pair);
    guarded out = guarded_random(units * samples, 0, draw);
    guarded expected = guarded_random(units * samples, 0, draw);
    current_length = units;
    for (size_t c = 0; c < 2 * units; c++)
        for (size_t i = 0; i < samples / 2; i++) {
            const uint32_t *at = words(&in) + c / 2 * lanes + 2 * i, shift = c % 2 * 16;
            const uint32_t word = (at[0] >> shift & 0xffffu) | (at[1] >> shift & 0xffffu) << 16;
            memcpy(&expected.data[c * samples / 2 + i], &word, sizeof word);
        }
    table->pair_samples(units, samples, lanes, words(&in), (uint32_t *)(void *)out.data);
    compare_bits("pair_samples", units * samples, expected.data, out.data);
    guarded_end(&in, "in");
    guarded_end(&out, "out");
    guarded_end(&expected, "out");
}

static void check_weights(const sr_lanes_kernels *plain, const sr_lanes_kernels *table) {
    const size_t most =
        table->weights_block > plain->weights_block ? table->weights_block : plain->weights_block;
    for (int pairs = 0; pairs < 2; pairs++)
        for (size_t count = 1; count <= most; count++)
            for (size_t vectors = 1; vectors <= 5; vectors++)
                check_weights_block(plain, table, pairs, count, vectors);
    for (size_t count = 1; count <= 5; count++)
        for (size_t columns = 1; columns <= 27; columns++)
            for (int pairs = 0; pairs < 2; pairs++)
                check_along(table, pairs, count, columns);
    for (size_t columns = 1; columns <= 40; columns++) {
        check_dots(table, false, columns);
        check_dots(table, true, columns);
    }
    for (size_t count = 1; count <= 3; count++)
        for (size_t n = 0; n <= 48; n += 16)
            check_gather(table, count, n);
    for (size_t units = 1; units <= 50; units++) {
        check_transpose(table, false, units);
        check_transpose(table, true, units);
        check_pair_samples(table, units);
    }
}

static void check_sum(const sr_lanes_kernels *table, bool pairs, size_t channels,
                      size_t positions) {
    const size_t samples = 16 + 16 * (channels % 2), lanes = 32;
    const size_t position = lanes * (pairs ? (channels + 1) / 2 : channels);
    guarded in = guarded_random(positions * position, 0, pairs ? draw_pair : draw);
    guarded a = guarded_random(channels * SR_LANES, 0, draw), b = guarded_copy(&a, 0);
    current_length = channels;
    for (size_t m = 0; m < channels; m++)
        for (size_t j = 0; j < positions; j++)
            for (size_t i = 0; i < samples; i++)
                a.data[m * SR_LANES + i % SR_LANES] +=
                    lane_value(pairs, &in, j * position, lanes, m, i);
    table->sum(pairs, channels, positions, samples, lanes, words(&in), position, b.data);
    compare_bits("sum", a.n, a.data, b.data);
    guarded_end(&in, "in");
    guarded_end(&a, "sums");
    guarded_end(&b, "sums");
}

static void check_fold(const sr_lanes_kernels *table, size_t n) {
    guarded in = guarded_random(n * SR_LANES, 0, draw);
    guarded a = guarded_random(n, 0, draw), b = guarded_random(n, 0, draw);
    current_length = n;
    for (size_t i = 0; i < n; i++) {
        float sum[SR_LANES];
        memcpy(sum, in.data + i * SR_LANES, sizeof sum);
        for (size_t half = SR_LANES / 2; half > 0; half /= 2)
            for (size_t k = 0; k < half; k++)
                sum[k] += sum[k + half];
        a.data[i] = sum[0];
    }
    table->fold(n, in.data, b.data);
    compare_bits("fold", n, a.data, b.data);
    guarded_end(&in, "in");
    guarded_end(&a, "out");
    guarded_end(&b, "out");
}

static void check_order(const sr_lanes_kernels *table, bool pairs, size_t channels, size_t taps) {
    const size_t columns = (channels + 31) / 32 * 32, tap = columns + 5;
    guarded in = guarded_random((taps - 1) * tap + columns, 0, draw);
    guarded a = guarded_random(channels * taps, 0, draw), b = guarded_copy(&a, 0);
    current_length = channels * 100 + taps;
    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < taps; t++) {
            const size_t place = pairs ? c / 32 * 32 + c % 2 * 16 + c % 32 / 2 : c;
            a.data[c * taps + t] = in.data[t * tap + place];
        }
    table->order(pairs, channels, taps, tap, in.data, b.data);
    compare_bits("order", a.n, a.data, b.data);
    guarded_end(&in, "in");
    guarded_end(&a, "out");
    guarded_end(&b, "out");
}

static void check_sums(const sr_lanes_kernels *plain, const sr_lanes_kernels *table) {
    for (size_t channels = 1; channels <= 19; channels++)
        for (size_t positions = 0; positions <= 3; positions++) {
            check_sum(table, false, channels, positions);
            check_sum(table, true, channels, positions);
        }
    for (size_t n = 1; n <= 40; n++)
        check_fold(table, n);
    for (size_t channels = 1; channels <= 40; channels++)
        for (size_t taps = 1; taps <= 17; taps++) {
            check_order(table, false, channels, taps);
            check_order(table, true, channels, taps);
        }
    guarded in = guarded_random(3 * SR_LANES, 0, draw);
    guarded a = guarded_random(3 * SR_LANES, 0, draw), b = guarded_copy(&a, 0);
    plain->add(3 * SR_LANES, in.data, a.data);
    table->add(3 * SR_LANES, in.data, b.data);
    compare_bits("add", 3 * SR_LANES, a.data, b.data);
    guarded_end(&in, "in");
    guarded_end(&a, "sum");
    guarded_end(&b, "sum");
}

// The dynamics' step against the normals and the update of the element kernels, chain by chain.
static void check_update_of(const sr_lanes_kernels *table, const sr_update *u, size_t pixels,
                            size_t channels, size_t lanes) {
    const sr_kernels *plain = sr_kernels_for(SR_ISA_SCALAR);
    const size_t n = pixels * channels;
    guarded x = guarded_random(n * lanes, 0, draw), g = guarded_random(n * lanes, 0, draw);
    guarded expected = guarded_copy(&x, 0);
    float *row = sr_alloc(n, sizeof *row), *slope = sr_alloc(n, sizeof *slope);
    float *eps = sr_alloc(n, sizeof *eps);
    for (size_t i = 0; i < lanes; i++) {
        for (size_t e = 0; e < n; e++) {
            const size_t at = (e % pixels * channels + e / pixels) * lanes + i;
            row[e] = x.data[at];
            slope[e] = g.data[at];
        }
        plain->normal(u->stream, u->chain + i, u->step, n, eps);
        plain->update(n, row, slope, u->noise_scale > 0 ? eps : NULL, u->step_size, u->noise_scale,
                      u->low, u->high);
        for (size_t e = 0; e < n; e++)
            expected.data[(e % pixels * channels + e / pixels) * lanes + i] = row[e];
    }
    table->update(u, pixels, channels, lanes, g.data, x.data);
    compare_bits("update", n * lanes, expected.data, x.data);
    sr_free(row);
    sr_free(slope);
    sr_free(eps);
    guarded_end(&x, "x");
    guarded_end(&g, "gradient");
    guarded_end(&expected, "x");
}

static void check_updates(const sr_lanes_kernels *table) {
    static const size_t sizes[][2] = {{1, 1},  {1, 2},  {15, 1}, {16, 1}, {17, 1}, {63, 1},
                                      {64, 1}, {65, 1}, {49, 3}, {1, 50}, {144, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int noisy = 0; noisy < 2; noisy++) {
            const sr_update u = {.step_size = 0.3f,
                                 .noise_scale = noisy ? 0.7f : 0.0f,
                                 .low = i % 2 ? -INFINITY : -0.5f,
                                 .high = i % 2 ? INFINITY : 0.5f,
                                 .stream = {{random_word(), random_word()}},
                                 .chain = i % 3 ? 5 : 0xfffffff8u, // the low word overflows
                                 .step = random_word()};
            current_length = sizes[i][0];
            check_update_of(table, &u, sizes[i][0], sizes[i][1], 16 + 16 * (i % 2));
        }
}

// ---- all ----------------------------------------------------------------------------------------

void check_lanes(const char *filter) {
    if (filter && !strstr("lanes", filter))
        return;
    const sr_lanes_kernels *plain = sr_lanes_for(SR_ISA_SCALAR);
    current_kernel = "lanes";
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        const sr_lanes_kernels *table = sr_lanes_for((sr_isa)isa);
        if (table->isa != (sr_isa)isa || isa > (int)sr_cpu_get()->active)
            continue;
        current_isa = sr_isa_name(table->isa);
        check_convs(table);
        check_formats(plain, table);
        check_weights(plain, table);
        check_sums(plain, table);
        check_updates(table);
        printf("%-12s done (%s)\n", "lanes", current_isa);
    }
}

// GFLOP/s of one pass of a layer on one thread, the best of several.
static double bench_conv_of(const sr_lanes_format *format, const sr_conv_shape *shape,
                            bool backward) {
    enum { LANES = 16 };
    sr_lanes_conv c;
    if (sr_lanes_conv_create(shape, backward, format, &c))
        return 0;
    const size_t pixel = sr_lanes_words(format, c.in_channels) * LANES;
    uint32_t *x = sr_alloc(c.in_height * c.in_width * pixel, sizeof *x);
    uint32_t *packed = sr_alloc(format->packed_words(&c), sizeof *packed);
    float *y = sr_alloc(c.out_height * c.out_width * c.out_channels * LANES, sizeof *y);
    double best = INFINITY;
    for (int i = 0; i < 10; i++) {
        const double start = sr_seconds();
        run_conv(format, &c, LANES, x, packed, NULL, y);
        best = fmin(best, sr_seconds() - start);
    }
    sr_free(x);
    sr_free(packed);
    sr_free(y);
    sr_lanes_conv_clear(&c);
    return 2e-9 * LANES * sr_conv_shape_multiply_adds(shape) / best;
}

void bench_lanes(const char *filter) {
    static const size_t layers[][6] = {{1, 32, 32, 3, 1, 1},
                                       {32, 32, 64, 4, 2, 1},
                                       {64, 16, 128, 4, 2, 1},
                                       {128, 8, 256, 4, 2, 1}};
    if (filter && !strstr("lanes", filter))
        return;
    printf("lanes, GFLOP/s (2 x multiply-adds, padding counted)\n");
    for (int isa = SR_ISA_AVX2; isa <= (int)sr_cpu_get()->active; isa++) {
        const sr_lanes_kernels *table = sr_lanes_for((sr_isa)isa);
        if (table->isa != (sr_isa)isa)
            continue;
        for (int precision = 0; precision < SR_PRECISION_COUNT; precision++) {
            printf("%-12s %-7s", sr_isa_name(table->isa),
                   sr_precision_name((sr_precision)precision));
            for (size_t l = 0; l < sizeof layers / sizeof *layers; l++) {
                const size_t *s = layers[l];
                const sr_conv_shape shape =
                    sr_conv_shape_make(s[0], s[1], s[1], s[2], s[3], s[3], s[4], s[5]);
                printf("  %zu->%zu %.0f, %.0f", s[0], s[2],
                       bench_conv_of(&table->formats[precision], &shape, false),
                       bench_conv_of(&table->formats[precision], &shape, true));
            }
            printf("\n");
        }
    }
}
