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
// The instruction multiplies the even lanes; the odd ones are moved down, and both woven together
// again.
static inline vu vu_multiply_wide(vu a, vu b, vu *high) {
    __m256i even = _mm256_mul_epu32(a, b);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
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
