// The convolution on lanes with AMX tiles, for bf16 and bf16x3 (Intel 64 and IA-32 Architectures
// Software Developer's Manual, TDPBF16PS). A product of tiles is sixteen output channels times
// thirty-two input channels (sixteen units) times sixteen samples: the weights are the first
// factor, and the second, sixteen rows of one vector each, is just how a pixel stands in memory.
// Four sums - two halves of a block of 32 output channels by two vectors of samples - share the
// loads.
//
// With SR_AMX_EMULATION the tiles are a model in plain C, so that all of this can be tested on any
// machine; it is slow.
#include "kernels/lanes.h"

#include <string.h>

enum {
    ROWS = 16,              // of a tile, each of 16 words
    BLOCK = 2 * ROWS,       // output channels of a block
    TILE = ROWS * SR_LANES, // words of a tile
    GATHERED = 256,         // units of all taps that are brought together, at most
};

// ---- tiles --------------------------------------------------------------------------------------

// The tiles, by half and vector; plain numbers, since they become part of instructions.
#define SUM_00 0
#define SUM_01 1
#define SUM_10 2
#define SUM_11 3
#define WEIGHT_0 4
#define WEIGHT_1 5
#define VALUE_0 6
#define VALUE_1 7

#ifdef SR_AMX_EMULATION

static _Thread_local uint32_t tiles[8][ROWS][SR_LANES];

static void tiles_begin(void) {
    memset(tiles, 0, sizeof tiles);
}

static void tiles_end(void) {
}

static void tile_load(int tile, const void *from, size_t stride) {
    for (size_t i = 0; i < ROWS; i++)
        memcpy(tiles[tile][i], (const char *)from + i * stride, sizeof tiles[tile][i]);
}

static void tile_store(int tile, void *to, size_t stride) {
    for (size_t i = 0; i < ROWS; i++)
        memcpy((char *)to + i * stride, tiles[tile][i], sizeof tiles[tile][i]);
}

// The manual's order: pair after pair, the even product first. This is the model's inner loop and
// not what is tested: the sanitisers leave it alone.
__attribute__((no_sanitize("address", "undefined"))) static void tile_dot(int sum, int a, int b) {
    float even[ROWS][SR_LANES], odd[ROWS][SR_LANES];
    for (size_t k = 0; k < ROWS; k++)
        for (size_t n = 0; n < SR_LANES; n++) {
            even[k][n] = sr_bf16_float(tiles[b][k][n] & 0xffffu);
            odd[k][n] = sr_bf16_float(tiles[b][k][n] >> 16);
        }
    for (size_t m = 0; m < ROWS; m++) {
        float total[SR_LANES];
        memcpy(total, tiles[sum][m], sizeof total);
        for (size_t k = 0; k < ROWS; k++) {
            const float x = sr_bf16_float(tiles[a][m][k] & 0xffffu);
            const float y = sr_bf16_float(tiles[a][m][k] >> 16);
            for (size_t n = 0; n < SR_LANES; n++) {
                total[n] += x * even[k][n];
                total[n] += y * odd[k][n];
            }
        }
        memcpy(tiles[sum][m], total, sizeof total);
    }
}

#else

#include <immintrin.h>

// Palette 1, eight tiles of 16 rows of 64 bytes. The barrier keeps gcc 12 from dropping the stores.
static void tiles_begin(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = ROWS;
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

static void tiles_end(void) {
    _tile_release();
}

#define tile_load(tile, from, stride) _tile_loadd(tile, from, stride)
#define tile_store(tile, to, stride) _tile_stored(tile, to, stride)
#define tile_dot(sum, a, b) _tile_dpbf16ps(sum, a, b)

#endif

// ---- weights ------------------------------------------------------------------------------------

static size_t taps_of(const sr_lanes_conv *c) {
    return c->kernel_height * c->kernel_width;
}

// Few units a pixel: those of all taps are brought together, so that tiles are full.
static bool is_gathered(const sr_lanes_conv *c) {
    return c->in_units < ROWS && taps_of(c) * c->in_units <= GATHERED;
}

// Products of tiles a tap, or, gathered, in all.
static size_t steps_of(const sr_lanes_conv *c) {
    const size_t units = is_gathered(c) ? taps_of(c) * c->in_units : c->in_units;
    return (units + ROWS - 1) / ROWS;
}

static size_t all_steps(const sr_lanes_conv *c) {
    return steps_of(c) * (is_gathered(c) ? 1 : taps_of(c));
}

// Words of the packed weights of one block: each step has a tile for each half and part.
static size_t block_words(const sr_lanes_conv *c, size_t parts) {
    return all_steps(c) * 2 * parts * TILE;
}

static size_t packed_words(const sr_lanes_conv *c, size_t parts) {
    size_t blocks = 0;
    for (size_t first = 0; first < c->out_channels; first += sr_lanes_block(c, first))
        blocks++;
    return blocks * block_words(c, parts);
}

static size_t packed_words_bf16(const sr_lanes_conv *c) {
    return packed_words(c, 1);
}

static size_t packed_words_split(const sr_lanes_conv *c) {
    return packed_words(c, 2);
}

// High part of a weight, or what it leaves.
static uint32_t part_of(float weight, size_t part) {
    const uint32_t high = sr_bf16_round(weight);
    return part == 0 ? high : sr_bf16_round(weight - sr_bf16_float(high));
}

// The pair of weights of one output channel at unit `unit` of step `step`; 0 where there is none.
static uint32_t packed_pair(const sr_lanes_conv *c, const float *w, size_t out, size_t step,
                            size_t unit, size_t part) {
    size_t tap, k;
    if (is_gathered(c)) {
        tap = (step * ROWS + unit) / c->in_units;
        k = (step * ROWS + unit) % c->in_units;
    } else {
        tap = step / steps_of(c);
        k = step % steps_of(c) * ROWS + unit;
    }
    if (tap >= taps_of(c) || k >= c->in_units)
        return 0;
    const size_t u = c->row_order[tap / c->kernel_width];
    const size_t v = c->column_order[tap % c->kernel_width];
    return part_of(sr_lanes_weight(c, w, out, 2 * k, u, v), part) |
           part_of(sr_lanes_weight(c, w, out, 2 * k + 1, u, v), part) << 16;
}

// For each block, for each step, for each part, for each half: a tile (output channel, unit).
static void pack(const sr_lanes_conv *c, size_t parts, const float *w, uint32_t *packed) {
    for (size_t first = 0, count; first < c->out_channels; first += count) {
        count = sr_lanes_block(c, first);
        for (size_t step = 0; step < all_steps(c); step++)
            for (size_t part = 0; part < parts; part++)
                for (size_t m = 0; m < BLOCK; m++)
                    for (size_t unit = 0; unit < ROWS; unit++)
                        *packed++ = m < count ? packed_pair(c, w, first + m, step, unit, part) : 0;
    }
}

static void pack_bf16(const sr_lanes_conv *c, const float *w, uint32_t *packed) {
    pack(c, 1, w, packed);
}

static void pack_split(const sr_lanes_conv *c, const float *w, uint32_t *packed) {
    pack(c, 2, w, packed);
}

// ---- products -----------------------------------------------------------------------------------

// Up to two vectors of samples and two halves of a block, while their sums are in tiles.
typedef struct product {
    size_t parts, halves, vectors;
    size_t stride;            // bytes between the rows of the values
    const uint32_t *value[2]; // by vector: sixteen rows of high parts
    size_t low;               // words from them to the low parts
} product;

// sums += weights x values for one step. `weight`: the step's tiles.
static inline void product_step(const product *p, const uint32_t *weight) {
    const bool two_halves = p->halves == 2, two_vectors = p->vectors == 2;
    for (size_t pass = 0; pass < (p->parts == 2 ? 3 : 1); pass++) {
        // high high, then low high, then high low
        const uint32_t *w = weight + (pass == 1 ? 2 * TILE : 0);
        tile_load(WEIGHT_0, w, 64);
        if (two_halves)
            tile_load(WEIGHT_1, w + TILE, 64);
        if (pass != 1) {
            const size_t low = pass == 2 ? p->low : 0;
            tile_load(VALUE_0, p->value[0] + low, p->stride);
            if (two_vectors)
                tile_load(VALUE_1, p->value[1] + low, p->stride);
        }
        tile_dot(SUM_00, WEIGHT_0, VALUE_0);
        if (two_halves)
            tile_dot(SUM_10, WEIGHT_1, VALUE_0);
        if (two_vectors) {
            tile_dot(SUM_01, WEIGHT_0, VALUE_1);
            if (two_halves)
                tile_dot(SUM_11, WEIGHT_1, VALUE_1);
        }
    }
}

// Where one vector of samples at one output column finds its inputs.
typedef struct column {
    const sr_lanes_span *taps; // the column's
    const uint32_t *x;         // first tap's pixel in the first tap's row, at the vector's lanes
} column;

// The sixteen rows of a last, incomplete step, with zeros behind them.
static void copy_rows(const uint32_t *from, size_t rows, size_t lanes, uint32_t *to) {
    for (size_t i = 0; i < ROWS; i++, to += SR_LANES) {
        if (i < rows)
            memcpy(to, from + i * lanes, SR_LANES * sizeof *to);
        else
            memset(to, 0, SR_LANES * sizeof *to);
    }
}

// All products tap by tap. rows: the taps of the output's row.
static void products_direct(const sr_lanes_conv *c, const sr_lanes_span *rows, size_t lanes,
                            const column *at, const uint32_t *packed, product *p) {
    uint32_t rest[2][2 * TILE];
    const size_t steps = steps_of(c), step_words = 2 * p->parts * TILE;
    const size_t pixel = c->in_units * p->parts * lanes;
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < at[0].taps->count; j++) {
            const size_t tap = (rows->tap + i) * c->kernel_width + at[0].taps->tap + j;
            for (size_t k = 0; k < steps; k++) {
                const size_t units = c->in_units - k * ROWS;
                p->stride = lanes * sizeof(uint32_t);
                p->low = c->in_units * lanes;
                for (size_t v = 0; v < p->vectors; v++) {
                    const uint32_t *x = at[v].x + (i * c->in_width + j) * pixel + k * ROWS * lanes;
                    p->value[v] = x;
                    if (units >= ROWS)
                        continue;
                    for (size_t part = 0; part < p->parts; part++)
                        copy_rows(x + part * c->in_units * lanes, units, lanes,
                                  rest[v] + part * TILE);
                    p->value[v] = rest[v];
                }
                if (units < ROWS) {
                    p->stride = SR_LANES * sizeof(uint32_t);
                    p->low = TILE;
                }
                product_step(p, packed + (tap * steps + k) * step_words);
            }
        }
}

// The units of all taps of one vector, with zeros for those outside the image, brought together.
static void gather(const sr_lanes_conv *c, const sr_lanes_span *rows, size_t lanes, size_t parts,
                   const column *at, uint32_t *out) {
    const size_t units = c->in_units, pixel = units * parts * lanes;
    const size_t words = steps_of(c) * TILE;
    memset(out, 0, parts * words * sizeof *out);
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < at->taps->count; j++) {
            const size_t tap = (rows->tap + i) * c->kernel_width + at->taps->tap + j;
            const uint32_t *x = at->x + (i * c->in_width + j) * pixel;
            for (size_t k = 0; k < parts * units; k++)
                memcpy(out + k / units * words + (tap * units + k % units) * SR_LANES,
                       x + k * lanes, SR_LANES * sizeof *out);
        }
}

static void products_gathered(const sr_lanes_conv *c, const sr_lanes_span *rows, size_t lanes,
                              const column *at, const uint32_t *packed, product *p) {
    uint32_t values[2][2 * GATHERED * SR_LANES];
    const size_t steps = steps_of(c);
    for (size_t v = 0; v < p->vectors; v++)
        gather(c, rows, lanes, p->parts, &at[v], values[v]);
    p->stride = SR_LANES * sizeof(uint32_t);
    p->low = steps * TILE;
    for (size_t k = 0; k < steps; k++) {
        for (size_t v = 0; v < p->vectors; v++)
            p->value[v] = values[v] + k * TILE;
        product_step(p, packed + k * 2 * p->parts * TILE);
    }
}

// The sum of one half and vector begins with the tile `start`.
static void sum_begin(size_t half, size_t vector, const float *start) {
    if (half == 0 && vector == 0)
        tile_load(SUM_00, start, 64);
    else if (half == 0)
        tile_load(SUM_01, start, 64);
    else if (vector == 0)
        tile_load(SUM_10, start, 64);
    else
        tile_load(SUM_11, start, 64);
}

static void sum_store(size_t half, size_t vector, float *to, size_t stride) {
    if (half == 0 && vector == 0)
        tile_store(SUM_00, to, stride);
    else if (half == 0)
        tile_store(SUM_01, to, stride);
    else if (vector == 0)
        tile_store(SUM_10, to, stride);
    else
        tile_store(SUM_11, to, stride);
}

// A sum to out (channels, lanes), of which `count` channels are there from this half on.
static void sum_end(size_t half, size_t vector, size_t count, size_t lanes, float *out) {
    float end[TILE];
    if (count >= ROWS) {
        sum_store(half, vector, out, lanes * sizeof *out);
        return;
    }
    sum_store(half, vector, end, 64);
    for (size_t m = 0; m < count; m++)
        memcpy(out + m * lanes, end + m * SR_LANES, SR_LANES * sizeof *out);
}

// What the sums of a block begin with: each channel's bias in all lanes, or zeros.
static void block_start(size_t count, const float *bias, float start[BLOCK * SR_LANES]) {
    for (size_t m = 0; m < BLOCK; m++)
        for (size_t i = 0; i < SR_LANES; i++)
            start[m * SR_LANES + i] = bias && m < count ? bias[m] : 0.0f;
}

static void conv(const sr_lanes_conv *c, size_t parts, size_t row, size_t first, size_t count,
                 size_t lanes, const uint32_t *x, const uint32_t *packed, const float *bias,
                 float *out, size_t stride) {
    const size_t groups = lanes / SR_LANES, vectors = c->out_width * groups;
    const size_t pixel = c->in_units * parts * lanes;
    const sr_lanes_span *rows = &c->rows[row];
    const uint32_t *weights = packed + first / sr_lanes_block(c, 0) * block_words(c, parts);
    float start[BLOCK * SR_LANES];
    block_start(count, bias ? bias + first : NULL, start);
    tiles_begin();
    for (size_t q = 0, taken; q < vectors; q += taken) {
        column at[2];
        taken = 0;
        for (size_t v = q; v < vectors && taken < 2; v++) {
            const sr_lanes_span *taps = &c->columns[v / groups];
            if (taken && (taps->tap != at[0].taps->tap || taps->count != at[0].taps->count))
                break;
            at[taken++] = (column){taps, x + (rows->in * c->in_width + taps->in) * pixel +
                                             v % groups * SR_LANES};
        }
        product p = {.parts = parts, .halves = count > ROWS ? 2 : 1, .vectors = taken};
        for (size_t v = 0; v < taken; v++)
            for (size_t half = 0; half < p.halves; half++)
                sum_begin(half, v, start + half * TILE);
        if (is_gathered(c))
            products_gathered(c, rows, lanes, at, weights, &p);
        else
            products_direct(c, rows, lanes, at, weights, &p);
        for (size_t v = 0; v < taken; v++)
            for (size_t half = 0; half < p.halves; half++)
                sum_end(half, v, count - half * ROWS, lanes,
                        out + (q + v) / groups * stride + (q + v) % groups * SR_LANES +
                            half * ROWS * lanes);
    }
    tiles_end();
}

static void conv_bf16(const sr_lanes_conv *c, size_t row, size_t first, size_t count, size_t lanes,
                      const uint32_t *x, const uint32_t *packed, const float *bias, float *out,
                      size_t stride) {
    conv(c, 1, row, first, count, lanes, x, packed, bias, out, stride);
}

static void conv_split(const sr_lanes_conv *c, size_t row, size_t first, size_t count, size_t lanes,
                       const uint32_t *x, const uint32_t *packed, const float *bias, float *out,
                       size_t stride) {
    conv(c, 2, row, first, count, lanes, x, packed, bias, out, stride);
}

void sr_lanes_fill_amx(sr_lanes_kernels *table) {
    sr_lanes_format *pairs = &table->formats[SR_BF16], *split = &table->formats[SR_BF16X3];
    table->isa = SR_ISA_AMX;
    pairs->block = BLOCK;
    pairs->packed_words = packed_words_bf16;
    pairs->pack = pack_bf16;
    pairs->conv = conv_bf16;
    *split = table->split;
    split->block = BLOCK;
    split->packed_words = packed_words_split;
    split->pack = pack_split;
    split->conv = conv_split;
}
