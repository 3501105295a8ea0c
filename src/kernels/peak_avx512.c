// The peak of AVX-512: 24 chains of the 32 registers.
#include "vec_avx512.h"

#define PEAK_CHAINS 24
#define PEAK_MULTIPLY_ADD(a, b, c) vf_fma(a, b, c)
#include "peak_impl.h"
