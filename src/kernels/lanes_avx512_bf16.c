// The kernels on lanes: AVX-512 with the bf16 dot product.
#include "vec_avx512.h"

#include "lanes_impl.h"
