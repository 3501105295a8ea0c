// Uniform and normal variates on the vector vocabulary. The layout is fixed in kernels.h (groups of
// 16 blocks, 64 elements), so the number of lanes does not show in the result.
#include "philox_impl.h"

// The four words of V_WIDTH blocks that begin at `block`.
static inline void random_words(const random_keys *keys, uint64_t chain, uint32_t step,
                                uint32_t block, vu words[4]) {
    words[0] = vu_ramp(block);
    words[1] = vu_set(step);
    words[2] = vu_set((uint32_t)chain);
    words[3] = vu_set((uint32_t)(chain >> 32));
    random_rounds(keys, words);
}

// One whole group of 64 uniforms.
static inline void random_uniform_group(const random_keys *keys, uint64_t chain, uint32_t step,
                                        size_t group, float *out) {
    for (uint32_t b = 0; b < RANDOM_BLOCKS; b += V_WIDTH) {
        vu words[4];
        random_words(keys, chain, step, (uint32_t)(group * RANDOM_BLOCKS) + b, words);
        for (size_t w = 0; w < 4; w++)
            vf_store(out + RANDOM_BLOCKS * w + b,
                     vf_mul(vu_to_float(vu_shift_right(words[w], 8)), vf_set(0x1p-24f)));
    }
}

// One whole group of 64 normals.
static inline void random_normal_group(const random_keys *keys, uint64_t chain, uint32_t step,
                                       size_t group, float *out) {
    for (uint32_t b = 0; b < RANDOM_BLOCKS; b += V_WIDTH) {
        vu words[4];
        random_words(keys, chain, step, (uint32_t)(group * RANDOM_BLOCKS) + b, words);
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
    const random_keys keys = random_keys_make(stream);
    size_t groups = n / RANDOM_GROUP, rest = n % RANDOM_GROUP;
    for (size_t g = 0; g < groups; g++)
        random_uniform_group(&keys, chain, step, g, out + RANDOM_GROUP * g);
    if (rest > 0) {
        float last[RANDOM_GROUP];
        random_uniform_group(&keys, chain, step, groups, last);
        memcpy(out + RANDOM_GROUP * groups, last, rest * sizeof *out);
    }
}

static void V_NAME(sr_normal)(sr_stream stream, uint64_t chain, uint32_t step, size_t n,
                              float *out) {
    const random_keys keys = random_keys_make(stream);
    size_t groups = n / RANDOM_GROUP, rest = n % RANDOM_GROUP;
    for (size_t g = 0; g < groups; g++)
        random_normal_group(&keys, chain, step, g, out + RANDOM_GROUP * g);
    if (rest > 0) {
        float last[RANDOM_GROUP];
        random_normal_group(&keys, chain, step, groups, last);
        memcpy(out + RANDOM_GROUP * groups, last, rest * sizeof *out);
    }
}
