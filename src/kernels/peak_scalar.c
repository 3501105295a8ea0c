// The peak of plain C: separate multiply and add, since a call of fmaf would be timed instead.
#include "vec_scalar.h"

#define PEAK_CHAINS 8
#define PEAK_MULTIPLY_ADD(a, b, c) vf_add(vf_mul(a, b), c)
#include "peak_impl.h"
