// The peak of AVX512_BF16: vdpbf16ps adds two products of bfloat16 to each of 16 floats. 24 chains
// of the 32 registers, as in peak_avx512.c.
#include "kernels_table.h"

#include <immintrin.h>

#ifndef __AVX512BF16__
#error "compile with the flags of AVX-512 and -mavx512bf16"
#endif

#define CHAINS 24
#define PAIR_OF_ONES 0x3f803f80          // two bfloat16: 1, 1
#define PAIR_THAT_CANCELS 0xbf803f80     // 1, -1: the sums stay where they are
#define FLOP_AN_INSTRUCTION (16 * 2 * 2) // lanes, products, multiply and add

double sr_peak_multiply_bf16(sr_peak_task *task) {
    __m512 chain[CHAINS];
    const __m512bh a = (__m512bh)_mm512_set1_epi32(PAIR_OF_ONES);
    const __m512bh b = (__m512bh)_mm512_set1_epi32((int)PAIR_THAT_CANCELS);
#pragma GCC unroll 64
    for (size_t k = 0; k < CHAINS; k++)
        chain[k] = _mm512_set1_ps(0.5f + 0.01f * (float)k);
    for (size_t r = 0; r < task->rounds; r++) {
#pragma GCC unroll 64 // so that the chains live in registers
        for (size_t k = 0; k < CHAINS; k++)
            chain[k] = _mm512_dpbf16_ps(chain[k], a, b);
    }
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 64
    for (size_t k = 0; k < CHAINS; k++)
        sum = _mm512_add_ps(sum, chain[k]);
    task->sink = _mm512_cvtss_f32(sum);
    return (double)FLOP_AN_INSTRUCTION * CHAINS * (double)task->rounds;
}
