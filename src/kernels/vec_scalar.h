// The vector vocabulary with one lane: plain C. The kernels written on it (*_impl.h) are the
// readable reference; every other vec_*.h gives each of these words the same result in every lane,
// bit for bit.
//
// vf: floats, vu: 32-bit words, vm: one truth value a lane, vd: doubles, vw: words spread out, as
// many as vf has floats. vf_max(a, b) is a > b ? a : b and vf_min(a, b) is a < b ? a : b: a NaN in
// b passes through.
#ifndef SR_KERNELS_VEC_H
#define SR_KERNELS_VEC_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V_WIDTH 1
#define V_ISA SR_ISA_SCALAR
#define V_NAME(operation) operation##_scalar

// One word a line:
// clang-format off

typedef float vf;
typedef uint32_t vu;
typedef bool vm;
typedef double vd;
typedef uint64_t vw;

static inline vf vf_set(float a) { return a; }
static inline vf vf_load(const float *p) { return *p; }
static inline void vf_store(float *p, vf a) { *p = a; }
// The first n lanes, n < V_WIDTH; the others read as 0 and are not written.
static inline vf vf_load_head(const float *p, size_t n) { return n ? *p : 0; }
static inline void vf_store_head(float *p, vf a, size_t n) {
    if (n)
        *p = a;
}
static inline vf vf_keep(vf a) { return a; } // in a register, not loaded again for each use
static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_div(vf a, vf b) { return a / b; }
static inline vf vf_fma(vf a, vf b, vf c) { return fmaf(a, b, c); } // a b + c, rounded once
static inline vf vf_sqrt(vf a) { return sqrtf(a); }
static inline vf vf_max(vf a, vf b) { return a > b ? a : b; }
static inline vf vf_min(vf a, vf b) { return a < b ? a : b; }
static inline vf vf_abs(vf a) { return fabsf(a); }
static inline vm vf_less(vf a, vf b) { return a < b; }
static inline vf vf_select(vm m, vf a, vf b) { return m ? a : b; }

static inline vu vf_bits(vf a) {
    vu b;
    memcpy(&b, &a, sizeof b);
    return b;
}
static inline vf vu_as_float(vu a) // the same bits
{
    vf b;
    memcpy(&b, &a, sizeof b);
    return b;
}
static inline vf vu_to_float(vu a) { return (float)(int32_t)a; } // the signed value, rounded
static inline vu vu_set(uint32_t a) { return a; }
static inline vu vu_ramp(uint32_t start) { return start; } // start, start + 1, ...
static inline vu vu_add(vu a, vu b) { return a + b; }
static inline vu vu_sub(vu a, vu b) { return a - b; }
static inline vu vu_and(vu a, vu b) { return a & b; }
static inline vu vu_or(vu a, vu b) { return a | b; }
static inline vu vu_xor(vu a, vu b) { return a ^ b; }
static inline vm vu_nonzero(vu a) { return a != 0; }
#define vu_shift_left(a, count) ((vu)((a) << (count)))
#define vu_shift_right(a, count) ((vu)((a) >> (count)))
#define vu_shift_right_signed(a, count) ((vu)((int32_t)(a) >> (count)))
// Words spread out to be multiplied: each in the low half of 64 bits, anything in the high half.
static inline vw vw_spread(vu a) { return a; }
static inline vu vw_join(vw a) { return (vu)a; }
static inline vw vw_multiply(vw a, uint32_t b) { return (uint64_t)(uint32_t)a * b; }
static inline vw vw_high(vw a) { return a >> 32; }
static inline vw vw_xor(vw a, vw b, uint32_t c) { return a ^ b ^ c; } // of the low halves

// A pair: two bf16 in one word. even and odd, rounded to nearest (ties to even), as a pair; and
// sum + even a even b + odd a odd b, the odd product first, each product and sum rounded once.
static inline uint32_t v_bf16(float a) {
    uint32_t bits = vf_bits(a);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (bits >> 16) | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
static inline vu vf_to_pair(vf even, vf odd) { return v_bf16(even) | v_bf16(odd) << 16; }
static inline vf vf_pair_dot(vf a, vf b, vf sum) {
    vu x = vf_bits(a), y = vf_bits(b);
    sum = fmaf(vu_as_float(x & 0xffff0000u), vu_as_float(y & 0xffff0000u), sum);
    return fmaf(vu_as_float(x << 16), vu_as_float(y << 16), sum);
}

// The sums of V_WIDTH vectors, one a lane: lanes half a vector apart first, then a quarter, ...
static inline vf vf_fold(const vf *a) { return *a; }

// Columns of words: out[i] = (p[i], p[stride + i], p[2 stride + i], ...), V_COLUMNS of them; rows
// from n on read as 0.
#define V_COLUMNS 2
static inline void vu_load_columns(const uint32_t *p, size_t stride, size_t n, vu *out) {
    (void)stride;
    memset(out, 0, V_COLUMNS * sizeof *out);
    if (n)
        memcpy(out, p, V_COLUMNS * sizeof *out); // whatever the words are: floats too
}

static inline vd vd_zero(void) { return 0; }
static inline vd vd_add_square(vd sum, vf a) { return sum + (double)a * (double)a; }
static inline void vd_store(double *p, vd a) { *p = a; }

// clang-format on

#endif
