// Products, dynamics update, Adam and sum of squares on the vector vocabulary.

static void V_NAME(sr_multiply)(size_t n, const float *a, const float *b, float *out) {
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        vf_store(out + i, vf_mul(vf_load(a + i), vf_load(b + i)));
    if (i < n)
        vf_store_head(out + i, vf_mul(vf_load_head(a + i, n - i), vf_load_head(b + i, n - i)),
                      n - i);
}

static void V_NAME(sr_multiply_add)(size_t n, const float *a, const float *b, const float *c,
                                    const float *d, float *out) {
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        vf_store(out + i,
                 vf_fma(vf_load(a + i), vf_load(b + i), vf_mul(vf_load(c + i), vf_load(d + i))));
    if (i < n)
        vf_store_head(out + i,
                      vf_fma(vf_load_head(a + i, n - i), vf_load_head(b + i, n - i),
                             vf_mul(vf_load_head(c + i, n - i), vf_load_head(d + i, n - i))),
                      n - i);
}

static void V_NAME(sr_multiply_tangent)(size_t n, const float *dy, const float *dy_tangent,
                                        const float *d, const float *d_tangent, float *out,
                                        float *tangent_out) {
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) {
        const vf gradient = vf_load(dy + i), factor = vf_load(d + i);
        const vf bent = vf_mul(gradient, vf_load(d_tangent + i));
        vf_store(tangent_out + i, vf_fma(vf_load(dy_tangent + i), factor, bent));
        vf_store(out + i, vf_mul(gradient, factor));
    }
    if (i < n) {
        const vf gradient = vf_load_head(dy + i, n - i), factor = vf_load_head(d + i, n - i);
        const vf bent = vf_mul(gradient, vf_load_head(d_tangent + i, n - i));
        vf_store_head(tangent_out + i, vf_fma(vf_load_head(dy_tangent + i, n - i), factor, bent),
                      n - i);
        vf_store_head(out + i, vf_mul(gradient, factor), n - i);
    }
}

// act'(z) in terms of the output y = act(z), for the activations that allow it.
static inline vf slope_from_output(sr_activation activation, vf y) {
    const vf zero = vf_set(0.0f), one = vf_set(1.0f);
    switch (activation) {
    case SR_RELU:
        return vf_select(vf_less(zero, y), one, zero);
    case SR_LEAKY_RELU:
        return vf_select(vf_less(zero, y), one, vf_set(SR_LEAKY_SLOPE));
    case SR_ELU:
        return vf_select(vf_less(zero, y), one, vf_add(y, one));
    default: // tanh
        return vf_sub(one, vf_mul(y, y));
    }
}

static void V_NAME(sr_multiply_slope)(sr_activation activation, size_t n, const float *dy,
                                      const float *y, float *dz) {
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        vf_store(dz + i, vf_mul(vf_load(dy + i), slope_from_output(activation, vf_load(y + i))));
    if (i < n)
        vf_store_head(dz + i,
                      vf_mul(vf_load_head(dy + i, n - i),
                             slope_from_output(activation, vf_load_head(y + i, n - i))),
                      n - i);
}

// x - s g + sigma eps, each product and sum rounded once, then clamped. NaN in x stays NaN.
static inline vf update_one(vf x, vf gradient, vf minus_step, vf low, vf high) {
    x = vf_fma(minus_step, gradient, x);
    return vf_min(high, vf_max(low, x));
}

static inline vf update_one_noisy(vf x, vf gradient, vf noise, vf minus_step, vf scale, vf low,
                                  vf high) {
    x = vf_fma(scale, noise, vf_fma(minus_step, gradient, x));
    return vf_min(high, vf_max(low, x));
}

static void V_NAME(sr_update)(size_t n, float *x, const float *gradient, const float *noise,
                              float step_size, float noise_scale, float low, float high) {
    const vf minus_step = vf_set(-step_size), scale = vf_set(noise_scale);
    const vf lowest = vf_set(low), highest = vf_set(high);
    size_t i = 0;
    if (noise) {
        for (; i + V_WIDTH <= n; i += V_WIDTH)
            vf_store(x + i,
                     update_one_noisy(vf_load(x + i), vf_load(gradient + i), vf_load(noise + i),
                                      minus_step, scale, lowest, highest));
    } else {
        for (; i + V_WIDTH <= n; i += V_WIDTH)
            vf_store(x + i, update_one(vf_load(x + i), vf_load(gradient + i), minus_step, lowest,
                                       highest));
    }
    if (i < n) {
        size_t rest = n - i;
        vf state = vf_load_head(x + i, rest), slope = vf_load_head(gradient + i, rest);
        if (noise)
            state = update_one_noisy(state, slope, vf_load_head(noise + i, rest), minus_step, scale,
                                     lowest, highest);
        else
            state = update_one(state, slope, minus_step, lowest, highest);
        vf_store_head(x + i, state, rest);
    }
}

// What Adam (Kingma and Ba 2015, algorithm 1, in PyTorch's order of operations) holds fixed in one
// step.
typedef struct adam_constants {
    vf beta1, beta2, one_minus_beta1, one_minus_beta2;
    vf minus_rate;   // -rate / (1 - beta1^t)
    vf root_inverse; // 1 / sqrt(1 - beta2^t)
    vf epsilon;
} adam_constants;

static inline vf adam_one(const adam_constants *c, vf theta, vf gradient, vf *m, vf *v) {
    *m = vf_fma(c->beta1, *m, vf_mul(c->one_minus_beta1, gradient));
    *v = vf_fma(c->beta2, *v, vf_mul(c->one_minus_beta2, vf_mul(gradient, gradient)));
    vf denominator = vf_fma(vf_sqrt(*v), c->root_inverse, c->epsilon);
    return vf_fma(c->minus_rate, vf_div(*m, denominator), theta);
}

static void V_NAME(sr_adam)(size_t n, float *theta, const float *gradient, float *m, float *v,
                            float rate, float beta1, float beta2, float epsilon, uint64_t t) {
    const double correction1 = 1 - pow(beta1, (double)t), correction2 = 1 - pow(beta2, (double)t);
    const adam_constants c = {
        .beta1 = vf_set(beta1),
        .beta2 = vf_set(beta2),
        .one_minus_beta1 = vf_set((float)(1 - (double)beta1)),
        .one_minus_beta2 = vf_set((float)(1 - (double)beta2)),
        .minus_rate = vf_set((float)(-rate / correction1)),
        .root_inverse = vf_set((float)(1 / sqrt(correction2))),
        .epsilon = vf_set(epsilon),
    };
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) {
        vf first = vf_load(m + i), second = vf_load(v + i);
        vf_store(theta + i,
                 adam_one(&c, vf_load(theta + i), vf_load(gradient + i), &first, &second));
        vf_store(m + i, first);
        vf_store(v + i, second);
    }
    if (i < n) {
        size_t rest = n - i;
        vf first = vf_load_head(m + i, rest), second = vf_load_head(v + i, rest);
        vf updated = adam_one(&c, vf_load_head(theta + i, rest), vf_load_head(gradient + i, rest),
                              &first, &second);
        vf_store_head(theta + i, updated, rest);
        vf_store_head(m + i, first, rest);
        vf_store_head(v + i, second, rest);
    }
}

// Sixteen partial sums whatever the number of lanes: element i goes to sum i % 16, and the sums are
// added pairwise at the end. So the order, and every bit, is the same on each instruction set.
#define PARTIAL_SUMS 16

static double V_NAME(sr_sum_squares)(size_t n, const float *x) {
    vd sums[PARTIAL_SUMS / V_WIDTH];
    for (size_t k = 0; k < PARTIAL_SUMS / V_WIDTH; k++)
        sums[k] = vd_zero();
    size_t i = 0;
    for (; i + PARTIAL_SUMS <= n; i += PARTIAL_SUMS)
        for (size_t k = 0; k < PARTIAL_SUMS / V_WIDTH; k++)
            sums[k] = vd_add_square(sums[k], vf_load(x + i + k * V_WIDTH));
    double partial[PARTIAL_SUMS];
    for (size_t k = 0; k < PARTIAL_SUMS / V_WIDTH; k++)
        vd_store(partial + k * V_WIDTH, sums[k]);
    for (size_t k = 0; i + k < n; k++)
        partial[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t half = PARTIAL_SUMS / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            partial[k] += partial[k + half];
    return partial[0];
}
