// The peak of AVX2: 12 chains of the 16 registers cover latency 5 on two units.
#include "vec_avx2.h"

#define PEAK_CHAINS 12
#define PEAK_MULTIPLY_ADD(a, b, c) vf_fma(a, b, c)
#include "peak_impl.h"
