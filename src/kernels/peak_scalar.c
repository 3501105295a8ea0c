// The peak of the baseline: what plain C can reach where the compiler uses the vectors that every
// processor of the family has (SSE2, NEON: four floats). Separate multiply and add, since the
// baseline need not have the fused one.
#include <stddef.h>
#include <string.h>

typedef float vf __attribute__((vector_size(16)));

#define V_WIDTH 4
#define V_NAME(operation) operation##_scalar

static inline vf vf_set(float a) {
    return (vf){a, a, a, a};
}

static inline vf vf_load(const float *p) {
    vf a;
    memcpy(&a, p, sizeof a);
    return a;
}

static inline vf vf_add(vf a, vf b) {
    return a + b;
}

static inline void vf_store(float *p, vf a) {
    memcpy(p, &a, sizeof a);
}

#define PEAK_CHAINS 12
#define PEAK_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#include "peak_impl.h"
