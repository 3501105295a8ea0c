// The vector vocabulary with sixteen lanes: AVX-512 F, BW, DQ, VL. The meaning of each word:
// vec_scalar.h.
#ifndef SR_KERNELS_VEC_H
#define SR_KERNELS_VEC_H

#if !defined(__AVX512F__) || !defined(__AVX512DQ__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define V_WIDTH 16
#ifdef __AVX512BF16__ // the same words, but for those of pairs
#define V_ISA SR_ISA_AVX512_BF16
#define V_NAME(operation) operation##_avx512_bf16
#else
#define V_ISA SR_ISA_AVX512
#define V_NAME(operation) operation##_avx512
#endif

// One word a line:
// clang-format off

typedef __m512 vf;
typedef __m512i vu;
typedef __mmask16 vm;
typedef struct vd {
    __m512d low, high;
} vd;
typedef struct vw {
    __m512i even, odd;
} vw;

static inline __mmask16 v_head_mask(size_t n) { return (__mmask16)((1u << n) - 1); }

static inline vf vf_set(float a) { return _mm512_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf vf_load_head(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps(v_head_mask(n), p);
}
static inline void vf_store_head(float *p, vf a, size_t n) {
    _mm512_mask_storeu_ps(p, v_head_mask(n), a);
}
static inline vf vf_keep(vf a) {
    __asm__("" : "+v"(a));
    return a;
}
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_abs(vf a) { return _mm512_abs_ps(a); }
static inline vm vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vf vf_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }

static inline vu vf_bits(vf a) { return _mm512_castps_si512(a); }
static inline vf vu_as_float(vu a) { return _mm512_castsi512_ps(a); }
static inline vf vu_to_float(vu a) { return _mm512_cvtepi32_ps(a); }
static inline vu vu_set(uint32_t a) { return _mm512_set1_epi32((int)a); }
static inline vu vu_ramp(uint32_t start) {
    return _mm512_add_epi32(
        vu_set(start), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
static inline vu vu_add(vu a, vu b) { return _mm512_add_epi32(a, b); }
static inline vu vu_sub(vu a, vu b) { return _mm512_sub_epi32(a, b); }
static inline vu vu_and(vu a, vu b) { return _mm512_and_si512(a, b); }
static inline vu vu_or(vu a, vu b) { return _mm512_or_si512(a, b); }
static inline vu vu_xor(vu a, vu b) { return _mm512_xor_si512(a, b); }
static inline vm vu_nonzero(vu a) { return _mm512_test_epi32_mask(a, a); }
#define vu_shift_left(a, count) _mm512_slli_epi32(a, count)
#define vu_shift_right(a, count) _mm512_srli_epi32(a, count)
#define vu_shift_right_signed(a, count) _mm512_srai_epi32(a, count)
static inline vw vw_spread(vu a) { return (vw){a, _mm512_srli_epi64(a, 32)}; }
static inline vu vw_join(vw a) {
    return _mm512_mask_blend_epi32(0xaaaa, a.even, _mm512_slli_epi64(a.odd, 32));
}
static inline vw vw_multiply(vw a, uint32_t b) {
    const vu factor = vu_set(b);
    return (vw){_mm512_mul_epu32(a.even, factor), _mm512_mul_epu32(a.odd, factor)};
}
static inline vw vw_high(vw a) {
    return (vw){_mm512_srli_epi64(a.even, 32), _mm512_srli_epi64(a.odd, 32)};
}
static inline vw vw_xor(vw a, vw b, uint32_t c) {
    const vu key = vu_set(c);
    return (vw){_mm512_ternarylogic_epi32(a.even, b.even, key, 0x96), _mm512_ternarylogic_epi32(a.odd, b.odd, key, 0x96)};
}

#ifdef __AVX512BF16__
// The instructions take subnormal numbers as 0. Their conversion puts the odd floats behind the even
// ones; the permutation weaves them together.
static inline vu vf_to_pair(vf even, vf odd) {
    const vu weave = vu_add(vu_ramp(0x100000), vu_shift_left(vu_ramp(0), 16)); // i, 16 + i
    return _mm512_permutexvar_epi16(weave, (vu)_mm512_cvtne2ps_pbh(odd, even));
}
static inline vf vf_pair_dot(vf a, vf b, vf sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#else
static inline vu v_bf16(vf a) {
    const vu bits = vf_bits(a);
    const vu up = vu_add(vu_set(0x7fff), vu_and(vu_shift_right(bits, 16), vu_set(1)));
    const vu rounded = vu_shift_right(vu_add(bits, up), 16);
    const vu quiet = vu_or(vu_shift_right(bits, 16), vu_set(0x40));
    return _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), rounded, quiet);
}
static inline vu vf_to_pair(vf even, vf odd) {
    return vu_or(v_bf16(even), vu_shift_left(v_bf16(odd), 16));
}
static inline vf vf_pair_dot(vf a, vf b, vf sum) {
    const vu x = vf_bits(a), y = vf_bits(b), high = vu_set(0xffff0000u);
    sum = vf_fma(vu_as_float(vu_and(x, high)), vu_as_float(vu_and(y, high)), sum);
    return vf_fma(vu_as_float(vu_shift_left(x, 16)), vu_as_float(vu_shift_left(y, 16)), sum);
}
#endif

static inline vf vf_fold(const vf *a) {
    vf b[8], c[4], d[2];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) // a[i] and a[i + 8], eight sums each
        b[i] = vf_add(_mm512_shuffle_f32x4(a[i], a[i + 8], 0x44), _mm512_shuffle_f32x4(a[i], a[i + 8], 0xee));
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) // a[i], a[i + 8], a[i + 4], a[i + 12], four sums each
        c[i] = vf_add(_mm512_shuffle_f32x4(b[i], b[i + 4], 0x88), _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd));
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) // in each quarter c[i] and c[i + 2], two sums each
        d[i] = vf_add(_mm512_shuffle_ps(c[i], c[i + 2], 0x44), _mm512_shuffle_ps(c[i], c[i + 2], 0xee));
    const vf sums = vf_add(_mm512_shuffle_ps(d[0], d[1], 0x88), _mm512_shuffle_ps(d[0], d[1], 0xdd));
    // quarters: of a[0], a[2], a[1], a[3]; of a[8], ...; of a[4], ...; of a[12], ...
    const vu order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
    return _mm512_permutexvar_ps(order, sums);
}

#define V_COLUMNS 16
static inline void vu_load_columns(const uint32_t *p, size_t stride, size_t n, vu *out) {
    vu a[16], b[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++)
        a[i] = i < n ? _mm512_loadu_si512(p + i * stride) : _mm512_setzero_si512();
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i += 2) { // pairs of rows
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i += 4) { // fours
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 4; i++) { // eights: columns i and i + 8, i + 4 and i + 12
        b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
        b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
        b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 8; i++) {
        out[i] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88);
        out[i + 8] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd);
    }
}

static inline vd vd_zero(void) { return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
// The product of two floats is exact in double, so that one rounding or two are the same.
static inline vd vd_add_square(vd sum, vf a) {
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1));
    return (vd){_mm512_fmadd_pd(low, low, sum.low), _mm512_fmadd_pd(high, high, sum.high)};
}
static inline void vd_store(double *p, vd a) {
    _mm512_storeu_pd(p, a.low);
    _mm512_storeu_pd(p + 8, a.high);
}

// clang-format on

#endif
