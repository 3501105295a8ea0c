// The kernel table in plain C: the readable reference, and what a CPU without vectors runs.
#include "vec_scalar.h"

#include "kernels_impl.h"
