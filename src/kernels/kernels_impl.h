// The kernel table of one instruction set: the algorithms, written once, on the vocabulary that the
// including file chose (vec_<isa>.h).
#include <shortrun/kernels.h>

#include <math.h>
#include <string.h>

#include "kernels_table.h"

#include "math_impl.h"

#include "activation_impl.h"
#include "conv_thin_impl.h"
#include "elementwise_impl.h"
#include "random_impl.h"

void V_NAME(sr_kernels_fill)(sr_kernels *table) {
    *table = (sr_kernels){
        .isa = V_ISA,
        .activation = V_NAME(sr_activation),
        .multiply = V_NAME(sr_multiply),
        .multiply_add = V_NAME(sr_multiply_add),
        .multiply_tangent = V_NAME(sr_multiply_tangent),
        .multiply_slope = V_NAME(sr_multiply_slope),
        .uniform = V_NAME(sr_uniform),
        .normal = V_NAME(sr_normal),
        .update = V_NAME(sr_update),
        .adam = V_NAME(sr_adam),
        .sum_squares = V_NAME(sr_sum_squares),
        .conv_backward_data_thin = V_NAME(sr_conv_backward_data_thin),
    };
}
