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
#define V_ISA SR_ISA_AVX512
#define V_NAME(operation) operation##_avx512

// One word a line:
// clang-format off

typedef __m512 vf;
typedef __m512i vu;
typedef __mmask16 vm;
typedef struct vd {
    __m512d low, high;
} vd;

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
// The instruction multiplies the even lanes; the odd ones are moved down, and both woven together
// again.
static inline vu vu_multiply_wide(vu a, vu b, vu *high) {
    __m512i even = _mm512_mul_epu32(a, b);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
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
