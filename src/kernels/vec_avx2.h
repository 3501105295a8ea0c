// The vector vocabulary with eight lanes: AVX2 and FMA. The meaning of each word: vec_scalar.h.
#ifndef SR_KERNELS_VEC_H
#define SR_KERNELS_VEC_H

#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile with -mavx2 -mfma"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define V_WIDTH 8
#define V_ISA SR_ISA_AVX2
#define V_NAME(operation) operation##_avx2

// One word a line:
// clang-format off

typedef __m256 vf;
typedef __m256i vu;
typedef __m256 vm;
typedef struct vd {
    __m256d low, high;
} vd;
typedef struct vw {
    __m256i even, odd;
} vw;

static inline __m256i v_head_mask(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf vf_set(float a) { return _mm256_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline vf vf_load_head(const float *p, size_t n) {
    return _mm256_maskload_ps(p, v_head_mask(n));
}
static inline void vf_store_head(float *p, vf a, size_t n) {
    _mm256_maskstore_ps(p, v_head_mask(n), a);
}
static inline vf vf_keep(vf a) {
    __asm__("" : "+x"(a));
    return a;
}
static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vm vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vf vf_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

static inline vu vf_bits(vf a) { return _mm256_castps_si256(a); }
static inline vf vu_as_float(vu a) { return _mm256_castsi256_ps(a); }
static inline vf vu_to_float(vu a) { return _mm256_cvtepi32_ps(a); }
static inline vu vu_set(uint32_t a) { return _mm256_set1_epi32((int)a); }
static inline vu vu_ramp(uint32_t start) {
    return _mm256_add_epi32(vu_set(start), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vu vu_add(vu a, vu b) { return _mm256_add_epi32(a, b); }
static inline vu vu_sub(vu a, vu b) { return _mm256_sub_epi32(a, b); }
static inline vu vu_and(vu a, vu b) { return _mm256_and_si256(a, b); }
static inline vu vu_or(vu a, vu b) { return _mm256_or_si256(a, b); }
static inline vu vu_xor(vu a, vu b) { return _mm256_xor_si256(a, b); }
static inline vm vu_nonzero(vu a) {
    __m256i zero = _mm256_cmpeq_epi32(a, _mm256_setzero_si256());
    return _mm256_castsi256_ps(_mm256_xor_si256(zero, _mm256_set1_epi32(-1)));
}
#define vu_shift_left(a, count) _mm256_slli_epi32(a, count)
#define vu_shift_right(a, count) _mm256_srli_epi32(a, count)
#define vu_shift_right_signed(a, count) _mm256_srai_epi32(a, count)
static inline vw vw_spread(vu a) { return (vw){a, _mm256_srli_epi64(a, 32)}; }
static inline vu vw_join(vw a) {
    return _mm256_blend_epi32(a.even, _mm256_slli_epi64(a.odd, 32), 0xaa);
}
static inline vw vw_multiply(vw a, uint32_t b) {
    const vu factor = vu_set(b);
    return (vw){_mm256_mul_epu32(a.even, factor), _mm256_mul_epu32(a.odd, factor)};
}
static inline vw vw_high(vw a) {
    return (vw){_mm256_srli_epi64(a.even, 32), _mm256_srli_epi64(a.odd, 32)};
}
static inline vw vw_xor(vw a, vw b, uint32_t c) {
    const vu key = vu_set(c);
    return (vw){_mm256_xor_si256(_mm256_xor_si256(a.even, b.even), key), _mm256_xor_si256(_mm256_xor_si256(a.odd, b.odd), key)};
}

static inline vu v_bf16(vf a) {
    const vu bits = vf_bits(a);
    const vu up = vu_add(vu_set(0x7fff), vu_and(vu_shift_right(bits, 16), vu_set(1)));
    const vu rounded = vu_shift_right(vu_add(bits, up), 16);
    const vu quiet = vu_or(vu_shift_right(bits, 16), vu_set(0x40));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
static inline vu vf_to_pair(vf even, vf odd) {
    return vu_or(v_bf16(even), vu_shift_left(v_bf16(odd), 16));
}
static inline vf vf_pair_dot(vf a, vf b, vf sum) {
    const vu x = vf_bits(a), y = vf_bits(b), high = vu_set(0xffff0000u);
    sum = vf_fma(vu_as_float(vu_and(x, high)), vu_as_float(vu_and(y, high)), sum);
    return vf_fma(vu_as_float(vu_shift_left(x, 16)), vu_as_float(vu_shift_left(y, 16)), sum);
}

static inline vf vf_fold(const vf *a) {
    vf b[4], c[2];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) // a[i] and a[i + 4], four sums each
        b[i] = vf_add(_mm256_permute2f128_ps(a[i], a[i + 4], 0x20), _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) // b[i] and b[i + 2], two sums each
        c[i] = vf_add(_mm256_shuffle_ps(b[i], b[i + 2], 0x44), _mm256_shuffle_ps(b[i], b[i + 2], 0xee));
    const vf even = _mm256_shuffle_ps(c[0], c[1], 0x88), odd = _mm256_shuffle_ps(c[0], c[1], 0xdd);
    const vf sums = vf_add(even, odd); // of a[0], a[2], a[1], a[3], then of the other four
    return _mm256_shuffle_ps(sums, sums, 0xd8);
}

#define V_COLUMNS 8
static inline void vu_load_columns(const uint32_t *p, size_t stride, size_t n, vu *out) {
    __m256 a[8], b[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        a[i] = i < n ? _mm256_loadu_ps((const float *)(const void *)(p + i * stride)) : _mm256_setzero_ps();
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i += 2) { // pairs of rows
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i += 4) { // fours
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 4; i++) {
        out[i] = _mm256_castps_si256(_mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        out[i + 4] = _mm256_castps_si256(_mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

static inline vd vd_zero(void) { return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
// The product of two floats is exact in double, so that one rounding or two are the same.
static inline vd vd_add_square(vd sum, vf a) {
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(a));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
    return (vd){_mm256_fmadd_pd(low, low, sum.low), _mm256_fmadd_pd(high, high, sum.high)};
}
static inline void vd_store(double *p, vd a) {
    _mm256_storeu_pd(p, a.low);
    _mm256_storeu_pd(p + 4, a.high);
}

// clang-format on

#endif
