// The activations and their derivatives on the vector vocabulary. Accuracy: within 1e-6 of the
// definition in double (sr_activation_scalar_f64) relative to max(|result|, what cancels), see
// tests/check_kernels.c. NaN gives NaN; infinities give the limits; nothing overflows on the way.

// One activation: value and first two derivatives of one vector; what is not asked for costs
// nothing, since all of it is inlined.
typedef void (*activation_function)(vf z, vf *y, vf *derivative, vf *second);

// sigmoid(z) and sigmoid(-z) from e^-|z|, both with full relative accuracy.
static inline void activation_sigmoids(vf z, vf *s, vf *t) {
    vf e = math_exp(vf_sub(vf_set(0), vf_abs(z)));
    vf near_one = vf_div(vf_set(1), vf_add(vf_set(1), e));
    vf near_zero = vf_mul(e, near_one);
    vm negative = vf_less(z, vf_set(0));
    *s = vf_select(negative, near_zero, near_one);
    *t = vf_select(negative, near_one, near_zero);
}

// y = z s, y' = s (1 + z t), y'' = s t (2 + z (t - s)), s = sigmoid(z), t = 1 - s. Beyond |z| = 104
// the product has reached its limit; the bound keeps infinity times zero away.
static inline void activation_silu(vf z, vf *y, vf *derivative, vf *second) {
    vf s, t;
    activation_sigmoids(z, &s, &t);
    vf bounded = vf_max(vf_set(-104), z);
    *y = vf_mul(bounded, s);
    bounded = vf_min(vf_set(104), bounded);
    *derivative = vf_mul(s, vf_fma(bounded, t, vf_set(1)));
    *second = vf_mul(vf_mul(s, t), vf_fma(bounded, vf_sub(t, s), vf_set(2)));
}

static inline void activation_leaky_relu(vf z, vf *y, vf *derivative, vf *second) {
    *y = vf_max(vf_mul(z, vf_set(SR_LEAKY_SLOPE)), z);
    *derivative = vf_select(vf_less(vf_set(0), z), vf_set(1), vf_set(SR_LEAKY_SLOPE));
    *second = vf_set(0);
}

static inline void activation_relu(vf z, vf *y, vf *derivative, vf *second) {
    *y = vf_max(vf_set(0), z);
    *derivative = vf_select(vf_less(vf_set(0), z), vf_set(1), vf_set(0));
    *second = vf_set(0);
}

// log(1 + e^z) = max(z, 0) + log(1 + e), e = e^-|z|. Above sqrt(2) - 1, 1 + e = 2 (1 + (e - 1)/2)
// brings the argument of the logarithm into its interval without rounding.
static inline void activation_softplus(vf z, vf *y, vf *derivative, vf *second) {
    vf e = math_exp(vf_sub(vf_set(0), vf_abs(z)));
    vf near_one = vf_div(vf_set(1), vf_add(vf_set(1), e));
    *derivative = vf_select(vf_less(z, vf_set(0)), vf_mul(e, near_one), near_one);
    *second = vf_mul(vf_mul(e, near_one), near_one); // sigmoid(z) sigmoid(-z)
    vm large = vf_less(vf_set(0.41421356f), e);
    vf f = vf_select(large, vf_fma(vf_set(0.5f), e, vf_set(-0.5f)), e);
    vf logarithm = vf_add(f, math_log1p_tail(f));
    logarithm = vf_add(logarithm, vf_select(large, vf_set(0.693147181f), vf_set(0)));
    *y = vf_add(vf_max(vf_set(0), z), logarithm);
}

static inline void activation_elu(vf z, vf *y, vf *derivative, vf *second) {
    vf e, below = math_expm1(vf_min(vf_set(0), z), &e);
    vm positive = vf_less(vf_set(0), z);
    *y = vf_select(positive, z, below);
    *derivative = vf_select(positive, vf_set(1), e);
    *second = vf_select(positive, vf_set(0), e);
}

// Phi(-a) = e^(-a^2/2) Q(a) for a = |z|, with Q(a) = erfcx(a / sqrt 2) / 2 = t P(t), t = 1 / (1 +
// 0.35 a), P of degree 8 (minimax on 0 <= a <= 14.5, relative error 3.2e-8). a^2 is kept in two
// parts, else its rounding would be a relative error of a^2/2 ulp. Beyond a = 14 the tail is 0 in
// float.
static inline void activation_gelu(vf z, vf *y, vf *derivative, vf *second) {
    vf a = vf_min(vf_set(14), vf_abs(z));
    vf square = vf_mul(a, a);
    vf rest = vf_fma(a, a, vf_sub(vf_set(0), square));
    vf e = math_exp(vf_mul(vf_set(-0.5f), square));
    e = vf_fma(vf_mul(vf_set(-0.5f), rest), e, e);
    vf t = vf_div(vf_set(1), vf_fma(vf_set(0.35f), a, vf_set(1)));
    vf p = vf_set(-2.915789932e-02f);
    p = vf_fma(p, t, vf_set(1.440309882e-01f));
    p = vf_fma(p, t, vf_set(-2.558391392e-01f));
    p = vf_fma(p, t, vf_set(1.593198329e-01f));
    p = vf_fma(p, t, vf_set(-2.321243472e-02f));
    p = vf_fma(p, t, vf_set(1.055525318e-01f));
    p = vf_fma(p, t, vf_set(1.198212802e-01f));
    p = vf_fma(p, t, vf_set(1.398635209e-01f));
    p = vf_fma(p, t, vf_set(1.396213025e-01f));
    vf tail = vf_mul(e, vf_mul(p, t));
    vf phi = vf_select(vf_less(z, vf_set(0)), tail, vf_sub(vf_set(1), tail));
    vf bounded = vf_max(vf_set(-14), z);
    *y = vf_mul(bounded, phi);
    vf density = vf_mul(vf_set(0.398942280f), e);
    *derivative = vf_fma(vf_min(vf_set(14), bounded), density, phi);
    *second = vf_mul(density, vf_sub(vf_set(2), square)); // phi(z) (2 - z^2)
}

// tanh a = -m / (m + 2), m = e^(-2a) - 1, and tanh' = 4 e / (1 + e)^2, e = e^(-2a), a = |z|.
static inline void activation_tanh(vf z, vf *y, vf *derivative, vf *second) {
    vf e, m = math_expm1(vf_mul(vf_set(-2), vf_abs(z)), &e);
    vf inverse = vf_div(vf_set(1), vf_add(m, vf_set(2)));
    vu sign = vu_and(vf_bits(z), vu_set(0x80000000u));
    vf magnitude = vf_abs(vf_mul(m, inverse));
    *y = vu_as_float(vu_or(vf_bits(magnitude), sign));
    *derivative = vf_mul(vf_mul(vf_set(4), e), vf_mul(inverse, inverse));
    *second = vf_mul(vf_mul(vf_set(-2), *y), *derivative);
}

static inline void activation_identity(vf z, vf *y, vf *derivative, vf *second) {
    *y = z;
    *derivative = vf_set(1);
    *second = vf_set(0);
}

// The loop around one activation; inlined, so that each gets its own. derivative and second may be
// NULL.
static inline __attribute__((always_inline)) void activation_map(activation_function function,
                                                                 size_t n, const float *z, float *y,
                                                                 float *derivative, float *second) {
    vf value, slope, bend;
    size_t i = 0;
    if (second) {
        for (; i + V_WIDTH <= n; i += V_WIDTH) {
            function(vf_load(z + i), &value, &slope, &bend);
            vf_store(y + i, value);
            vf_store(derivative + i, slope);
            vf_store(second + i, bend);
        }
    } else if (derivative) {
        for (; i + V_WIDTH <= n; i += V_WIDTH) {
            function(vf_load(z + i), &value, &slope, &bend);
            vf_store(y + i, value);
            vf_store(derivative + i, slope);
        }
    } else {
        for (; i + V_WIDTH <= n; i += V_WIDTH) {
            function(vf_load(z + i), &value, &slope, &bend);
            vf_store(y + i, value);
        }
    }
    if (i < n) {
        function(vf_load_head(z + i, n - i), &value, &slope, &bend);
        vf_store_head(y + i, value, n - i);
        if (derivative)
            vf_store_head(derivative + i, slope, n - i);
        if (second)
            vf_store_head(second + i, bend, n - i);
    }
}

static void V_NAME(sr_activation)(sr_activation activation, size_t n, const float *z, float *y,
                                  float *derivative, float *second) {
    switch (activation) {
    case SR_SILU:
        activation_map(activation_silu, n, z, y, derivative, second);
        break;
    case SR_LEAKY_RELU:
        activation_map(activation_leaky_relu, n, z, y, derivative, second);
        break;
    case SR_RELU:
        activation_map(activation_relu, n, z, y, derivative, second);
        break;
    case SR_SOFTPLUS:
        activation_map(activation_softplus, n, z, y, derivative, second);
        break;
    case SR_ELU:
        activation_map(activation_elu, n, z, y, derivative, second);
        break;
    case SR_GELU:
        activation_map(activation_gelu, n, z, y, derivative, second);
        break;
    case SR_TANH:
        activation_map(activation_tanh, n, z, y, derivative, second);
        break;
    case SR_IDENTITY:
        activation_map(activation_identity, n, z, y, derivative, second);
        break;
    }
}
