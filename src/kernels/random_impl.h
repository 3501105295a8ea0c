// Uniform and normal variates on the vector vocabulary: Philox4x32-10 (Salmon et al. 2011), V_WIDTH
// blocks abreast. The layout is fixed in kernels.h (groups of 16 blocks, 64 elements), so the
// number of lanes does not show in the result.
#include "philox.h"

#define RANDOM_GROUP 64  // elements of one group
#define RANDOM_BLOCKS 16 // its Philox blocks; element 16 w + b is word w of block b

// The four words of V_WIDTH blocks that begin at `block`.
static inline void random_words(sr_stream stream, uint64_t chain, uint32_t step, uint32_t block,
                                vu words[4]) {
    vu c0 = vu_ramp(block), c1 = vu_set(step);
    vu c2 = vu_set((uint32_t)chain), c3 = vu_set((uint32_t)(chain >> 32));
    const vu m0 = vu_set(PHILOX_M0), m1 = vu_set(PHILOX_M1);
    uint32_t k0 = stream.key[0], k1 = stream.key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        vu high0, high1;
        vu low0 = vu_multiply_wide(c0, m0, &high0);
        vu low1 = vu_multiply_wide(c2, m1, &high1);
        c0 = vu_xor(vu_xor(high1, c1), vu_set(k0));
        c2 = vu_xor(vu_xor(high0, c3), vu_set(k1));
        c1 = low1;
        c3 = low0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

// Box and Muller (1958): sqrt(-2 log u) times the cosine and sine of a uniform angle, with
// u = ((word >> 1) + 1/2) 2^-31 in (0, 1], so that the tails reach 6.66 standard deviations.
static inline void random_box_muller(vu radius_word, vu angle_word, vf *first, vf *second) {
    vf u = vf_add(vu_to_float(vu_shift_right(radius_word, 1)), vf_set(0.5f));
    vf logarithm = math_log(vf_mul(u, vf_set(0x1p-31f)));
    vf radius = vf_sqrt(vf_mul(vf_set(-2), logarithm));
    vf cosine, sine;
    math_cos_sin_turn(angle_word, &cosine, &sine);
    *first = vf_mul(radius, cosine);
    *second = vf_mul(radius, sine);
}

// One whole group of 64 uniforms.
static inline void random_uniform_group(sr_stream stream, uint64_t chain, uint32_t step,
                                        size_t group, float *out) {
    for (uint32_t b = 0; b < RANDOM_BLOCKS; b += V_WIDTH) {
        vu words[4];
        random_words(stream, chain, step, (uint32_t)(group * RANDOM_BLOCKS) + b, words);
        for (size_t w = 0; w < 4; w++)
            vf_store(out + RANDOM_BLOCKS * w + b,
                     vf_mul(vu_to_float(vu_shift_right(words[w], 8)), vf_set(0x1p-24f)));
    }
}

// One whole group of 64 normals.
static inline void random_normal_group(sr_stream stream, uint64_t chain, uint32_t step,
                                       size_t group, float *out) {
    for (uint32_t b = 0; b < RANDOM_BLOCKS; b += V_WIDTH) {
        vu words[4];
        random_words(stream, chain, step, (uint32_t)(group * RANDOM_BLOCKS) + b, words);
        for (size_t w = 0; w < 4; w += 2) {
            vf first, second;
            random_box_muller(words[w], words[w + 1], &first, &second);
            vf_store(out + RANDOM_BLOCKS * w + b, first);
            vf_store(out + RANDOM_BLOCKS * (w + 1) + b, second);
        }
    }
}

static void V_NAME(sr_uniform)(sr_stream stream, uint64_t chain, uint32_t step, size_t n,
                               float *out) {
    size_t groups = n / RANDOM_GROUP, rest = n % RANDOM_GROUP;
    for (size_t g = 0; g < groups; g++)
        random_uniform_group(stream, chain, step, g, out + RANDOM_GROUP * g);
    if (rest > 0) {
        float last[RANDOM_GROUP];
        random_uniform_group(stream, chain, step, groups, last);
        memcpy(out + RANDOM_GROUP * groups, last, rest * sizeof *out);
    }
}

static void V_NAME(sr_normal)(sr_stream stream, uint64_t chain, uint32_t step, size_t n,
                              float *out) {
    size_t groups = n / RANDOM_GROUP, rest = n % RANDOM_GROUP;
    for (size_t g = 0; g < groups; g++)
        random_normal_group(stream, chain, step, g, out + RANDOM_GROUP * g);
    if (rest > 0) {
        float last[RANDOM_GROUP];
        random_normal_group(stream, chain, step, groups, last);
        memcpy(out + RANDOM_GROUP * groups, last, rest * sizeof *out);
    }
}
