// Products of rows in 16-bit integers, for the fast path of pairs.c. Rows lie in panels of 16, one
// pair of features of 16 rows after the other (32 bits a row, what a dot-product instruction takes
// at once), so that a side is packed once for all of its tiles. A kernel keeps the products of a
// few rows with one to three panels in registers over DEPTH features, then adds them to the tile:
// the kernel of Goto and van de Geijn (2008), whose blocks of DEPTH features of a tile's rows and
// columns, 0.5 MB, stay in the second-level cache.
//
// The sums are exact: integers that fit, on every instruction set the same. That they fit sees
// whoever makes the rows: of SR_NARROW_GROUP features, those of two rows have norms below
// SR_NARROW_NORM = sqrt(2^31), so by Cauchy and Schwarz no sum passes 2^31; partial ones may wrap.
#include "metrics.h"

#include <string.h>

#if defined(__x86_64__) && !defined(SR_PORTABLE)
#include <immintrin.h>
#endif

#define LANES SR_NARROW_PANEL
#define DEPTH 256 // pairs of features that a kernel takes at once
#define GROUP (SR_NARROW_GROUP / 2)

// out[r * SR_TILE + 16 p + j] += product of row r of a with row j of panel p of b. a: (depth,
// LANES, 2), its first rows the kernel's; panels of b are `pitch` values apart.
typedef void (*block_kernel)(size_t depth, const int16_t *a, const int16_t *b, size_t pitch,
                             int32_t *out);
// out += sums, both (rows, SR_TILE); or = where `first`.
typedef void (*widen_kernel)(bool first, size_t rows, const int32_t *sums, double *out);
typedef struct shape {
    block_kernel kernel;
    size_t rows, panels; // of a block
    widen_kernel widen;
} shape;

static inline __attribute__((always_inline)) void widen_body(bool first, size_t rows,
                                                             const int32_t *sums, double *out) {
    for (size_t i = 0; i < rows * SR_TILE; i++)
        out[i] = (first ? 0 : out[i]) + (double)sums[i];
}

static void widen_portable(bool first, size_t rows, const int32_t *sums, double *out) {
    widen_body(first, rows, sums, out);
}

static void block_portable(size_t depth, const int16_t *a, const int16_t *b, size_t pitch,
                           int32_t *out) {
    (void)pitch;
    uint32_t sum[2][LANES] = {{0}}; // wraps, as the instructions do
    for (size_t d = 0; d < 2 * LANES * depth; d += 2 * LANES)
        for (size_t r = 0; r < 2; r++)
            for (size_t j = 0; j < LANES; j++)
                sum[r][j] += (uint32_t)(a[d + 2 * r] * b[d + 2 * j]) +
                             (uint32_t)(a[d + 2 * r + 1] * b[d + 2 * j + 1]);
    for (size_t r = 0; r < 2; r++)
        for (size_t j = 0; j < LANES; j++)
            out[r * SR_TILE + j] = (int32_t)((uint32_t)out[r * SR_TILE + j] + sum[r][j]);
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
#define ROWS_4(row) row(0) row(1) row(2) row(3)
#define ROWS_8(row) ROWS_4(row) row(4) row(5) row(6) row(7)

// The two features of row r, as the 32 bits they lie in.
static inline __attribute__((always_inline)) int32_t two_features(const int16_t *a, size_t r) {
    int32_t both;
    memcpy(&both, a + 2 * r, sizeof both);
    return both;
}

__attribute__((target("avx2"))) static void
block_avx2(size_t depth, const int16_t *a, const int16_t *b, size_t pitch, int32_t *out) {
    (void)pitch;
#define START(r) __m256i s##r = _mm256_setzero_si256(), t##r = _mm256_setzero_si256();
#define STEP(r)                                                                                    \
    y = _mm256_set1_epi32(two_features(a, r));                                                     \
    s##r = _mm256_add_epi32(s##r, _mm256_madd_epi16(y, x0));                                       \
    t##r = _mm256_add_epi32(t##r, _mm256_madd_epi16(y, x1));
#define STORE(r)                                                                                   \
    to = (__m256i *)(out + r * SR_TILE);                                                           \
    to[0] = _mm256_add_epi32(to[0], s##r);                                                         \
    to[1] = _mm256_add_epi32(to[1], t##r);
    ROWS_4(START)
    for (size_t d = 0; d < depth; d++, a += 2 * LANES, b += 2 * LANES) {
        __m256i x0 = _mm256_load_si256((const __m256i *)b),
                x1 = _mm256_load_si256((const __m256i *)(b + LANES)), y;
        ROWS_4(STEP)
    }
    __m256i *to;
    ROWS_4(STORE)
#undef START
#undef STEP
#undef STORE
}

__attribute__((target("avx2"))) static void widen_avx2(bool first, size_t rows, const int32_t *sums,
                                                       double *out) {
    widen_body(first, rows, sums, out);
}

#define START(r)                                                                                   \
    __m512i s##r = _mm512_setzero_si512(), t##r = _mm512_setzero_si512(),                          \
            u##r = _mm512_setzero_si512();
#define STEP(r)                                                                                    \
    y = _mm512_set1_epi32(two_features(a, r));                                                     \
    ADD_PRODUCTS(s##r, y, x0);                                                                     \
    ADD_PRODUCTS(t##r, y, x1);                                                                     \
    ADD_PRODUCTS(u##r, y, x2);
#define STORE(r)                                                                                   \
    to = (__m512i *)(out + r * SR_TILE);                                                           \
    to[0] = _mm512_add_epi32(to[0], s##r);                                                         \
    to[1] = _mm512_add_epi32(to[1], t##r);                                                         \
    to[2] = _mm512_add_epi32(to[2], u##r);
#define BLOCK_512                                                                                  \
    ROWS_8(START)                                                                                  \
    for (size_t d = 0; d < depth; d++, a += 2 * LANES, b += 2 * LANES) {                           \
        __m512i x0 = _mm512_load_si512(b), x1 = _mm512_load_si512(b + pitch),                      \
                x2 = _mm512_load_si512(b + 2 * pitch), y;                                          \
        ROWS_8(STEP)                                                                               \
    }                                                                                              \
    __m512i *to;                                                                                   \
    ROWS_8(STORE)

__attribute__((target("avx512f,avx512bw"))) static void
block_avx512(size_t depth, const int16_t *a, const int16_t *b, size_t pitch, int32_t *out) {
#define ADD_PRODUCTS(sum, x, y) sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x, y))
    BLOCK_512
#undef ADD_PRODUCTS
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static void
block_vnni(size_t depth, const int16_t *a, const int16_t *b, size_t pitch, int32_t *out) {
// _mm512_dpwssd_epi32, whose sum gcc 12 copies from register to register (half the speed).
#define ADD_PRODUCTS(sum, x, y) __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y))
    BLOCK_512
#undef ADD_PRODUCTS
}

__attribute__((target("avx512f"))) static void widen_avx512(bool first, size_t rows,
                                                            const int32_t *sums, double *out) {
    widen_body(first, rows, sums, out);
}
#endif

static shape shape_get(void) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    const sr_cpu *cpu = sr_cpu_get();
    // VNNI is older than bf16: it is used unless a lower set was asked for.
    bool vnni = cpu->avx512_vnni && (cpu->active == cpu->best || cpu->active > SR_ISA_AVX512);
    if (cpu->active >= SR_ISA_AVX512)
        return (shape){vnni ? block_vnni : block_avx512, 8, 3, widen_avx512};
    if (cpu->active >= SR_ISA_AVX2)
        return (shape){block_avx2, 4, 1, widen_avx2};
#endif
    return (shape){block_portable, 2, 1, widen_portable};
}

// sums (rows, SR_TILE) += products over `count` pairs of features.
static void add_products(shape s, size_t count, size_t pitch, size_t rows, const int16_t *a,
                         size_t columns, const int16_t *b, int32_t *sums) {
    for (size_t first = 0; first < count; first += DEPTH) {
        size_t depth = count - first < DEPTH ? count - first : DEPTH;
        for (size_t j = 0; j < columns; j += s.panels * LANES)
            for (size_t i = 0; i < rows; i += s.rows)
                s.kernel(depth, a + i / LANES * pitch + 2 * (first * LANES + i % LANES),
                         b + j / LANES * pitch + 2 * first * LANES, pitch, sums + i * SR_TILE + j);
    }
}

void sr_narrow_products(size_t dim, size_t rows, const int16_t *a, size_t columns, const int16_t *b,
                        int32_t *sums, double *out) {
    shape s = shape_get();
    size_t pairs = (dim + 1) / 2, pitch = 2 * pairs * LANES;
    for (size_t first = 0; first < pairs; first += GROUP) {
        size_t count = pairs - first < GROUP ? pairs - first : GROUP;
        memset(sums, 0, SR_TILE * SR_TILE * sizeof *sums);
        add_products(s, count, pitch, rows, a + 2 * first * LANES, columns, b + 2 * first * LANES,
                     sums);
        s.widen(first == 0, rows, sums, out);
    }
}
