// The kernel table for AVX2 with FMA.
#include "vec_avx2.h"

#include "kernels_impl.h"
