// The kernels on lanes: scalar.
#include "vec_scalar.h"

#include "lanes_impl.h"
