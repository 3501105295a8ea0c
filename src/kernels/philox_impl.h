// Philox4x32-10 (Salmon et al. 2011) and Box-Muller normals on the vector vocabulary, V_WIDTH
// blocks abreast; for the kernels that include it after a vec_*.h and math_impl.h.
#ifndef SR_KERNELS_PHILOX_IMPL_H
#define SR_KERNELS_PHILOX_IMPL_H

#include "philox.h"

#define RANDOM_GROUP 64  // elements of one group
#define RANDOM_BLOCKS 16 // its Philox blocks; element 16 w + b is word w of block b

// The keys of all rounds.
typedef struct random_keys {
    uint32_t at[PHILOX_ROUNDS][2];
} random_keys;

static inline random_keys random_keys_make(sr_stream stream) {
    random_keys keys;
    for (uint32_t round = 0; round < PHILOX_ROUNDS; round++) {
        keys.at[round][0] = stream.key[0] + round * PHILOX_W0;
        keys.at[round][1] = stream.key[1] + round * PHILOX_W1;
    }
    return keys;
}

// The ten rounds on the counters in words. Between rounds the words stay spread out as the
// multiplication wants them: what stands above their 32 bits is never looked at.
static inline void random_rounds(const random_keys *keys, vu words[4]) {
    vw c0 = vw_spread(words[0]), c1 = vw_spread(words[1]);
    vw c2 = vw_spread(words[2]), c3 = vw_spread(words[3]);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const vw product0 = vw_multiply(c0, PHILOX_M0), product1 = vw_multiply(c2, PHILOX_M1);
        c0 = vw_xor(vw_high(product1), c1, keys->at[round][0]);
        c2 = vw_xor(vw_high(product0), c3, keys->at[round][1]);
        c1 = product1;
        c3 = product0;
    }
    words[0] = vw_join(c0);
    words[1] = vw_join(c1);
    words[2] = vw_join(c2);
    words[3] = vw_join(c3);
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

#endif
