// Elementary functions on the vector vocabulary, for the kernels that include it after a vec_*.h.
// Each is one fixed sequence of exactly rounded operations, so every instruction set returns the
// same bits.
#ifndef SR_KERNELS_MATH_IMPL_H
#define SR_KERNELS_MATH_IMPL_H

// ln 2 in two parts: the first has few bits, so that its products with small whole numbers are
// exact.
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)

// e^z - 1 for z <= 0 comes from e^z = 2^n e^r with n = round(z / ln 2), |r| <= ln(2)/2 and
// e^r - 1 = r + r^2 P(r), P of degree 4 (minimax, relative error 1.3e-8). Returns e^r - 1 and
// *scale = 2^n, so e^z = scale (e^r - 1) + scale. Exponents below -87 (the last normal number) act
// as -87.
static inline vf math_exp_parts(vf z, vf *scale) {
    const vf to_integer = vf_set(12582912.0f); // 1.5 2^23: adding it leaves n in the lowest bits
    z = vf_max(vf_set(-87.0f), z);
    vf shifted = vf_fma(z, vf_set(1.44269504f), to_integer);
    vf n = vf_sub(shifted, to_integer);
    vf r = vf_fma(n, vf_set(-LN2_HIGH), z);
    r = vf_fma(n, vf_set(-LN2_LOW), r);
    vf p = vf_set(1.394647290e-03f);
    p = vf_fma(p, r, vf_set(8.366597816e-03f));
    p = vf_fma(p, r, vf_set(4.166628048e-02f));
    p = vf_fma(p, r, vf_set(1.666654348e-01f));
    p = vf_fma(p, r, vf_set(0.5f));
    *scale = vu_as_float(vu_add(vu_shift_left(vf_bits(shifted), 23), vu_set(0x3f800000u)));
    return vf_fma(vf_mul(r, r), p, r);
}

// e^z for z <= 0; 0 below -87.
static inline vf math_exp(vf z) {
    vf scale, part = math_exp_parts(z, &scale);
    return vf_select(vf_less(z, vf_set(-87.0f)), vf_set(0), vf_fma(part, scale, scale));
}

// e^z - 1 for z <= 0 with full relative accuracy near 0; *exponential = e^z.
static inline vf math_expm1(vf z, vf *exponential) {
    vf scale, part = math_exp_parts(z, &scale);
    *exponential = vf_select(vf_less(z, vf_set(-87.0f)), vf_set(0), vf_fma(part, scale, scale));
    return vf_fma(part, scale, vf_sub(scale, vf_set(1)));
}

// log(1 + f) - f for sqrt(1/2) - 1 <= f <= sqrt(2) - 1 as -f^2/2 + f^3 P(f), with the polynomial of
// logf in Moshier's Cephes library (relative error of the logarithm about 1e-8).
static inline vf math_log1p_tail(vf f) {
    vf p = vf_set(7.0376836292e-2f);
    p = vf_fma(p, f, vf_set(-1.1514610310e-1f));
    p = vf_fma(p, f, vf_set(1.1676998740e-1f));
    p = vf_fma(p, f, vf_set(-1.2420140846e-1f));
    p = vf_fma(p, f, vf_set(1.4249322787e-1f));
    p = vf_fma(p, f, vf_set(-1.6668057665e-1f));
    p = vf_fma(p, f, vf_set(2.0000714765e-1f));
    p = vf_fma(p, f, vf_set(-2.4999993993e-1f));
    p = vf_fma(p, f, vf_set(3.3333331174e-1f));
    vf square = vf_mul(f, f);
    return vf_fma(vf_set(-0.5f), square, vf_mul(vf_mul(square, f), p));
}

// log(u) for normal u > 0: u = 2^e (1 + f) with 1 + f between sqrt(1/2) and sqrt(2).
static inline vf math_log(vf u) {
    const vu root_half = vu_set(0x3f3504f3u); // the bits of sqrt(1/2)
    vu shifted = vu_sub(vf_bits(u), root_half);
    vf e = vu_to_float(vu_shift_right_signed(shifted, 23));
    vu mantissa = vu_add(vu_and(shifted, vu_set(0x007fffffu)), root_half);
    vf f = vf_sub(vu_as_float(mantissa), vf_set(1));
    vf tail = vf_fma(e, vf_set(LN2_LOW), math_log1p_tail(f));
    return vf_fma(e, vf_set(LN2_HIGH), vf_add(f, tail));
}

// Cosine and sine of the angle 2 pi word / 2^32. The word is a whole number of quarter turns plus a
// rest in
// [-1/8, 1/8) turn, found in integers and so exact; polynomials of sinf and cosf in Cephes do the
// rest.
static inline void math_cos_sin_turn(vu word, vf *cosine, vf *sine) {
    vu quarter = vu_shift_right(vu_add(word, vu_set(1u << 29)), 30); // 0 ... 3
    vu rest = vu_sub(word, vu_shift_left(quarter, 30));
    vf x = vf_mul(vu_to_float(rest), vf_set(1.46291807926715968e-9f)); // 2 pi / 2^32
    vf square = vf_mul(x, x);
    vf s = vf_set(-1.9515295891e-4f);
    s = vf_fma(s, square, vf_set(8.3321608736e-3f));
    s = vf_fma(s, square, vf_set(-1.6666654611e-1f));
    s = vf_fma(vf_mul(square, x), s, x);
    vf c = vf_set(2.443315711809948e-5f);
    c = vf_fma(c, square, vf_set(-1.388731625493765e-3f));
    c = vf_fma(c, square, vf_set(4.166664568298827e-2f));
    c = vf_fma(vf_mul(square, square), c, vf_fma(vf_set(-0.5f), square, vf_set(1)));
    // An odd number of quarter turns swaps the two; the signs follow the quadrant.
    vm odd = vu_nonzero(vu_and(quarter, vu_set(1)));
    vu cosine_sign = vu_shift_left(vu_and(vu_add(quarter, vu_set(1)), vu_set(2)), 30);
    vu sine_sign = vu_shift_left(vu_and(quarter, vu_set(2)), 30);
    *cosine = vu_as_float(vu_xor(vf_bits(vf_select(odd, s, c)), cosine_sign));
    *sine = vu_as_float(vu_xor(vf_bits(vf_select(odd, c, s)), sine_sign));
}

#endif
