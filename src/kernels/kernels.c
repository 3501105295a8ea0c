#include <shortrun/kernels.h>
