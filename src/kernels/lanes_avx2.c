// The kernels on lanes: avx2.
#include "vec_avx2.h"

#include "lanes_impl.h"
