// The geometry of a convolution.
#include <shortrun/kernels.h>

#include <assert.h>

static size_t output_extent(size_t in, size_t kernel, size_t stride, size_t padding) {
    assert(stride > 0 && kernel > 0 && in + 2 * padding >= kernel);
    return (in + 2 * padding - kernel) / stride + 1;
}

sr_conv_shape sr_conv_shape_make(size_t in_channels, size_t in_height, size_t in_width,
                                 size_t out_channels, size_t kernel_height, size_t kernel_width,
                                 size_t stride, size_t padding) {
    return (sr_conv_shape){
        .in_channels = in_channels,
        .in_height = in_height,
        .in_width = in_width,
        .out_channels = out_channels,
        .out_height = output_extent(in_height, kernel_height, stride, padding),
        .out_width = output_extent(in_width, kernel_width, stride, padding),
        .kernel_height = kernel_height,
        .kernel_width = kernel_width,
        .stride = stride,
        .padding = padding,
    };
}

double sr_conv_shape_multiply_adds(const sr_conv_shape *shape) {
    return (double)shape->in_channels * (double)shape->out_channels *
           (double)(shape->kernel_height * shape->kernel_width) *
           (double)(shape->out_height * shape->out_width);
}
