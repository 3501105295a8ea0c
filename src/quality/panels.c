// Products of centred rows in float, for the fast path of pairs.c. Rows lie in panels of 16, one
// feature of 16 rows after the other, so that a side is packed once for all of its tiles (a BLAS
// packs anew for every tile: a fifth of the time). A kernel keeps the products of a few rows with
// one to three panels in registers over DEPTH features, then adds them to the tile: the kernel of
// Goto and van de Geijn (2008), whose blocks of DEPTH features of a tile's rows and columns, 0.5
// MB, stay in the second-level cache.
#include "metrics.h"

#include <string.h>

#if defined(__x86_64__) && !defined(SR_PORTABLE)
#include <immintrin.h>
#endif

#define LANES SR_CENTRED_PANEL
#define DEPTH SR_CENTRED_DEPTH

// out[r * SR_TILE + 16 p + j] += product of row r of a with row j of panel p of b. a: (depth,
// LANES), its first rows the kernel's; panels of b are `pitch` apart.
typedef void (*block_kernel)(size_t depth, const float *a, const float *b, size_t pitch,
                             float *out);
typedef struct shape {
    block_kernel kernel;
    size_t rows, panels; // of a block
} shape;

typedef float vec16 __attribute__((vector_size(64), aligned(64), may_alias));

static void block_portable(size_t depth, const float *a, const float *b, size_t pitch, float *out) {
    (void)pitch;
    vec16 s0 = {0}, s1 = {0};
    for (size_t d = 0; d < depth; d++) {
        vec16 x = *(const vec16 *)(b + d * LANES);
        s0 += a[d * LANES] * x;
        s1 += a[d * LANES + 1] * x;
    }
    *(vec16 *)out += s0;
    *(vec16 *)(out + SR_TILE) += s1;
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
#define ROWS_4(row) row(0) row(1) row(2) row(3)
#define ROWS_8(row) ROWS_4(row) row(4) row(5) row(6) row(7)

__attribute__((target("avx2,fma"))) static void
block_avx2(size_t depth, const float *a, const float *b, size_t pitch, float *out) {
    (void)pitch;
#define START(r) __m256 s##r = _mm256_setzero_ps(), t##r = _mm256_setzero_ps();
#define STEP(r)                                                                                    \
    y = _mm256_broadcast_ss(a + d * LANES + r);                                                    \
    s##r = _mm256_fmadd_ps(y, x0, s##r);                                                           \
    t##r = _mm256_fmadd_ps(y, x1, t##r);
#define STORE(r)                                                                                   \
    to = out + r * SR_TILE;                                                                        \
    _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), s##r));                                  \
    _mm256_store_ps(to + 8, _mm256_add_ps(_mm256_load_ps(to + 8), t##r));
    ROWS_4(START)
    for (size_t d = 0; d < depth; d++) {
        __m256 x0 = _mm256_load_ps(b + d * LANES), x1 = _mm256_load_ps(b + d * LANES + 8), y;
        ROWS_4(STEP)
    }
    float *to;
    ROWS_4(STORE)
#undef START
#undef STEP
#undef STORE
}

__attribute__((target("avx512f"))) static void
block_avx512(size_t depth, const float *a, const float *b, size_t pitch, float *out) {
#define START(r)                                                                                   \
    __m512 s##r = _mm512_setzero_ps(), t##r = _mm512_setzero_ps(), u##r = _mm512_setzero_ps();
#define STEP(r)                                                                                    \
    y = _mm512_set1_ps(a[d * LANES + r]);                                                          \
    s##r = _mm512_fmadd_ps(y, x0, s##r);                                                           \
    t##r = _mm512_fmadd_ps(y, x1, t##r);                                                           \
    u##r = _mm512_fmadd_ps(y, x2, u##r);
#define STORE(r)                                                                                   \
    to = out + r * SR_TILE;                                                                        \
    _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), s##r));                                  \
    _mm512_store_ps(to + 16, _mm512_add_ps(_mm512_load_ps(to + 16), t##r));                        \
    _mm512_store_ps(to + 32, _mm512_add_ps(_mm512_load_ps(to + 32), u##r));
    const float *b1 = b + pitch, *b2 = b + 2 * pitch;
    ROWS_8(START)
    for (size_t d = 0; d < depth; d++) {
        __m512 x0 = _mm512_load_ps(b + d * LANES), x1 = _mm512_load_ps(b1 + d * LANES),
               x2 = _mm512_load_ps(b2 + d * LANES), y;
        ROWS_8(STEP)
    }
    float *to;
    ROWS_8(STORE)
#undef START
#undef STEP
#undef STORE
}
#endif

static shape shape_get(void) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512)
        return (shape){block_avx512, 8, 3};
    if (isa >= SR_ISA_AVX2)
        return (shape){block_avx2, 4, 1};
#endif
    return (shape){block_portable, 2, 1};
}

void sr_centred_products(size_t dim, size_t rows, const float *a, size_t columns, const float *b,
                         float *out) {
    shape s = shape_get();
    size_t pitch = dim * LANES;
    memset(out, 0, SR_TILE * SR_TILE * sizeof *out);
    for (size_t first = 0; first < dim; first += DEPTH) {
        size_t depth = dim - first < DEPTH ? dim - first : DEPTH;
        for (size_t j = 0; j < columns; j += s.panels * LANES)
            for (size_t i = 0; i < rows; i += s.rows)
                s.kernel(depth, a + i / LANES * pitch + first * LANES + i % LANES,
                         b + j / LANES * pitch + first * LANES, pitch, out + i * SR_TILE + j);
    }
}
