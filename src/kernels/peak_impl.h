// Two loops that do one thing only, for one instruction set.
#include "kernels_table.h"

// Multiply-adds on registers alone: PEAK_CHAINS independent chains a <- a * b + c hide the latency
// of the unit. The values go from 0.5 towards 1 (b just below 1, c small): nothing overflows or
// becomes subnormal.
double V_NAME(sr_peak_multiply)(sr_peak_task *task) {
    vf chain[PEAK_CHAINS];
    const vf b = vf_set(0.999f), c = vf_set(0.001f);
#pragma GCC unroll 64
    for (size_t k = 0; k < PEAK_CHAINS; k++)
        chain[k] = vf_set(0.5f + 0.01f * (float)k);
    for (size_t r = 0; r < task->rounds; r++) {
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
    task->sink = lanes[0];
    return 2.0 * V_WIDTH * PEAK_CHAINS * (double)task->rounds;
}

// Loads from the task's memory, from its start to its end in every round: each is added to one of
// READ_CHAINS sums, so that no compiler drops it, which costs a core less than the load.
#define READ_CHAINS 8

double V_NAME(sr_peak_read)(sr_peak_task *task) {
    enum { BLOCK = READ_CHAINS * V_WIDTH };
    const size_t blocks = task->floats / BLOCK;
    vf sums[READ_CHAINS];
#pragma GCC unroll 64
    for (size_t k = 0; k < READ_CHAINS; k++)
        sums[k] = vf_set(0);
    for (size_t r = 0; r < task->rounds; r++) {
        const float *from = task->memory;
        for (size_t i = 0; i < blocks; i++, from += BLOCK) {
#pragma GCC unroll 64
            for (size_t k = 0; k < READ_CHAINS; k++)
                sums[k] = vf_add(sums[k], vf_load(from + k * V_WIDTH));
        }
    }
#pragma GCC unroll 64
    for (size_t k = 1; k < READ_CHAINS; k++)
        sums[0] = vf_add(sums[0], sums[k]);
    float lanes[V_WIDTH];
    vf_store(lanes, sums[0]);
    task->sink = lanes[0];
    return (double)(blocks * BLOCK * sizeof(float)) * (double)task->rounds;
}
