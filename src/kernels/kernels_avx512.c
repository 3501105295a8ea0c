// The kernel table for AVX-512.
#include "vec_avx512.h"

#include "kernels_impl.h"
