// The kernels on lanes: avx512.
#include "vec_avx512.h"

#include "lanes_impl.h"
