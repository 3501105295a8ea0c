// Multiply-adds on registers alone: PEAK_CHAINS independent chains a <- a * b + c hide the latency
// of the unit. The values go from 0.5 towards 1 (b just below 1, c small): nothing overflows or
// becomes subnormal.
#include "kernels_table.h"

double V_NAME(sr_peak_run)(size_t rounds, float *sink) {
    vf chain[PEAK_CHAINS];
    const vf b = vf_set(0.999f), c = vf_set(0.001f);
#pragma GCC unroll 64
    for (size_t k = 0; k < PEAK_CHAINS; k++)
        chain[k] = vf_set(0.5f + 0.01f * (float)k);
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 64 // so that the chains live in registers
        for (size_t k = 0; k < PEAK_CHAINS; k++)
            chain[k] = PEAK_MULTIPLY_ADD(chain[k], b, c);
    }
    vf sum = vf_set(0);
#pragma GCC unroll 64
    for (size_t k = 0; k < PEAK_CHAINS; k++)
        sum = vf_add(sum, chain[k]);
    float lanes[V_WIDTH];
    vf_store(lanes, sum);
    *sink = lanes[0];
    return 2.0 * V_WIDTH * PEAK_CHAINS * (double)rounds;
}
