// The reference of convolution in float and in double: conv_scalar_impl.h, twice.
#include <shortrun/kernels.h>

#define real float
#define CONV_NAME(operation) operation
#include "conv_scalar_impl.h"
#undef real
#undef CONV_NAME

#define real double
#define CONV_NAME(operation) operation##_f64
#include "conv_scalar_impl.h"
#undef real
#undef CONV_NAME
