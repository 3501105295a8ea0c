// kernels: the arithmetic. One table of function pointers per instruction set, filled with the
// readable scalar reference and then climbed as far as the CPU allows. Kernels allocate nothing,
// start no threads, cannot fail, and know no network. All arrays are dense and row-major; images
// are NCHW.
#ifndef SHORTRUN_KERNELS_H
#define SHORTRUN_KERNELS_H

#include <shortrun/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sr_activation {
    SR_SILU,       // z sigmoid(z)
    SR_LEAKY_RELU, // max(z, 0.2 z)
    SR_RELU,       // max(z, 0)
    SR_SOFTPLUS,   // log(1 + exp z)
    SR_ELU,        // z > 0 ? z : exp(z) - 1
    SR_GELU,       // z Phi(z), exact (erf)
    SR_TANH,
    SR_ACTIVATION_COUNT,
    SR_IDENTITY = SR_ACTIVATION_COUNT // no activation (a network's last layer)
} sr_activation;

#define SR_LEAKY_SLOPE 0.2f

SR_API const char *
sr_activation_name(sr_activation activation); // "silu", "leaky_relu", ... "identity"
// SR_OK and *out, or SR_ERROR_ARGUMENT with the allowed names in the message.
SR_API sr_status sr_activation_parse(const char *name, sr_activation *out);
// True where the second derivative is not zero almost everywhere (all but leaky_relu and relu).
SR_API bool sr_activation_has_curvature(sr_activation activation);

// A two-dimensional convolution (cross-correlation, as in PyTorch): x (batch, in_channels,
// in_height, in_width), w (out_channels, in_channels, kernel, kernel) with kernel_height x
// kernel_width, y (batch, out_channels, out_height, out_width). A dense layer is the case of 1x1
// images.
typedef struct sr_conv_shape {
    size_t in_channels, in_height, in_width;
    size_t out_channels, out_height, out_width;
    size_t kernel_height, kernel_width, stride, padding;
} sr_conv_shape;

// out = (in + 2 padding - kernel) / stride + 1, filled in by this helper.
SR_API sr_conv_shape sr_conv_shape_make(size_t in_channels, size_t in_height, size_t in_width,
                                        size_t out_channels, size_t kernel_height,
                                        size_t kernel_width, size_t stride, size_t padding);
// Multiply-adds of one direction for one sample.
SR_API double sr_conv_shape_multiply_adds(const sr_conv_shape *shape);

// Counter-based random streams (Philox4x32-10, Salmon et al. 2011). A stream is named by (seed,
// purpose, epoch); within it, every (chain, step, element) has its own number, the same on every
// ISA and for any number of threads.
typedef struct sr_stream {
    uint32_t key[2];
} sr_stream;

typedef enum sr_purpose {
    SR_PURPOSE_INIT_WEIGHTS,
    SR_PURPOSE_START,      // initial states of chains
    SR_PURPOSE_DYNAMICS,   // noise of the dynamics
    SR_PURPOSE_RESTART,    // which persistent chains start anew
    SR_PURPOSE_BATCH,      // which data rows enter a batch
    SR_PURPOSE_DATA_NOISE, // noise added to data
    SR_PURPOSE_DATA,       // samples of synthetic densities
    SR_PURPOSE_PROJECTION, // random projections of metrics
    SR_PURPOSE_SPECTRAL,   // start vectors of power iterations
    SR_PURPOSE_CLASSIFIER, // training of feature networks
    SR_PURPOSE_TEST,
    SR_PURPOSE_RESAMPLE,  // groups, subsets and permutations of rows; new ones come after it, so
                          // that the others keep their numbers
    SR_PURPOSE_CURVATURE, // start vectors of Lanczos iterations in training
    SR_PURPOSE_PROBE,     // directions of trace estimates, and what goes with them
    SR_PURPOSE_MCMC       // proposals and acceptance
} sr_purpose;

// key = first two words of philox(counter = {purpose, epoch low, epoch high, 0}, key = seed).
SR_API sr_stream sr_stream_make(uint64_t seed, sr_purpose purpose, uint64_t epoch);

// One Philox4x32-10 block (Random123's philox4x32), for whoever needs single numbers.
SR_API void sr_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// Element e of (chain, step) lies in the group g = e / 64 of 16 blocks: block 16 g + e % 16, word
// (e % 64) / 16; the block's counter is {block, step, chain low, chain high}. Uniforms are
// (word >> 8) * 2^-24 in [0, 1). Normals are Box-Muller on words (0, 1) and (2, 3) of each block:
// with u = ((first word >> 1) + 1/2) 2^-31 and the angle a = 2 pi second word / 2^32, the element
// of the first word is sqrt(-2 log u) cos a and that of the second sqrt(-2 log u) sin a, so that
// |normal| <= 6.66. A length of n gives the first n of a longer request; n is below 2^34 (the block
// number is one word).
//
// Every member gives the same bits on every instruction set: each is one fixed sequence of exactly
// rounded operations. Arrays need no alignment; nothing outside them is read or written. Where z, x
// or a factor is NaN, so is the result (derivatives of the piecewise linear activations excepted).
typedef struct sr_kernels {
    sr_isa isa;
    // y = act(z) and, where they are not NULL, derivative = act'(z), second = act''(z) (only with
    // derivative). In place (y == z) allowed. Within 1e-6 of sr_activation_scalar_f64, relative to
    // the terms of which the result is the sum; what is below 1e-35 may be 0. At 0, act' and act''
    // are the left derivatives (as in PyTorch).
    void (*activation)(sr_activation activation, size_t n, const float *z, float *y,
                       float *derivative, float *second);
    // out = a * b elementwise; in place allowed.
    void (*multiply)(size_t n, const float *a, const float *b, float *out);
    // out = fma(a, b, c d), c d rounded first; in place allowed.
    void (*multiply_add)(size_t n, const float *a, const float *b, const float *c, const float *d,
                         float *out);
    // The gradient g = dy d through a factor d, and its tangent dg = tangent(dy) d + dy tangent(d):
    // out = dy d, tangent_out = dy_tangent d + dy d_tangent. In place allowed.
    void (*multiply_tangent)(size_t n, const float *dy, const float *dy_tangent, const float *d,
                             const float *d_tangent, float *out, float *tangent_out);
    // dz = dy * act'(z) where y = act(z): relu, leaky_relu, elu and tanh only. In place allowed.
    void (*multiply_slope)(sr_activation activation, size_t n, const float *dy, const float *y,
                           float *dz);
    void (*uniform)(sr_stream stream, uint64_t chain, uint32_t step, size_t n, float *out);
    void (*normal)(sr_stream stream, uint64_t chain, uint32_t step, size_t n, float *out);
    // x <- x - step_size * gradient + noise_scale * noise, then clamped to [low, high].
    // noise may be NULL (no noise term). Pass low = -INFINITY, high = INFINITY for no clamp.
    void (*update)(size_t n, float *x, const float *gradient, const float *noise, float step_size,
                   float noise_scale, float low, float high);
    // PyTorch's Adam (Kingma and Ba 2015, bias-corrected); t counts from 1. m, v: moments, updated.
    void (*adam)(size_t n, float *theta, const float *gradient, float *m, float *v, float rate,
                 float beta1, float beta2, float epsilon, uint64_t t);
    // Sum of squares in double: element i goes to partial sum i % 16, the sixteen are added
    // pairwise.
    double (*sum_squares)(size_t n, const float *x);
    // Backward-data of a stride-1 convolution with few input channels: dy (batch, out_channels,
    // out_height, out_width), w as in sr_conv_shape, dx (batch, in_channels, in_height, in_width),
    // written. frame: scratch of sr_conv_thin_frame(shape) floats. padding < kernel size.
    void (*conv_backward_data_thin)(const sr_conv_shape *shape, size_t batch, const float *dy,
                                    const float *w, float *frame, float *dx);
} sr_kernels;

// Floats of a row and of the whole scratch of conv_backward_data_thin: one image of dy in a frame
// of zeros, with room for a vector behind each row.
static inline size_t sr_conv_thin_pitch(const sr_conv_shape *shape) {
    return shape->in_width + shape->kernel_width - 1 + 16;
}

static inline size_t sr_conv_thin_frame(const sr_conv_shape *shape) {
    return shape->out_channels * (shape->in_height + shape->kernel_height - 1) *
           sr_conv_thin_pitch(shape);
}

// The table for the active ISA of sr_cpu_get(); and for one named ISA (climbs no higher than the
// CPU; `isa` in the table says which rung was reached). Thread-safe; the tables live as long as the
// process.
SR_API const sr_kernels *sr_kernels_get(void);
SR_API const sr_kernels *sr_kernels_for(sr_isa isa);

// The readable reference of convolution, float and double. `batch` samples. bias, dbias may be
// NULL. backward_weights writes (does not add) sums over the batch.
SR_API void sr_conv_forward_scalar(const sr_conv_shape *shape, size_t batch, const float *x,
                                   const float *w, const float *bias, float *y);
SR_API void sr_conv_backward_data_scalar(const sr_conv_shape *shape, size_t batch, const float *dy,
                                         const float *w, float *dx);
SR_API void sr_conv_backward_weights_scalar(const sr_conv_shape *shape, size_t batch,
                                            const float *x, const float *dy, float *dw,
                                            float *dbias);
SR_API void sr_conv_forward_scalar_f64(const sr_conv_shape *shape, size_t batch, const double *x,
                                       const double *w, const double *bias, double *y);
SR_API void sr_conv_backward_data_scalar_f64(const sr_conv_shape *shape, size_t batch,
                                             const double *dy, const double *w, double *dx);
SR_API void sr_conv_backward_weights_scalar_f64(const sr_conv_shape *shape, size_t batch,
                                                const double *x, const double *dy, double *dw,
                                                double *dbias);
// y = act(z), derivative = act'(z), second = act''(z) (both may be NULL) in double, from libm.
SR_API void sr_activation_scalar_f64(sr_activation activation, size_t n, const double *z, double *y,
                                     double *derivative, double *second);

// What a step of the dynamics does with a gradient g: x <- x - step_size g + noise_scale eps,
// clamped to [low, high]; eps are the normals of (stream, chain, step); noise_scale 0: none.
typedef struct sr_update {
    float step_size, noise_scale, low, high;
    sr_stream stream;
    uint64_t chain; // of the first row
    uint32_t step;
} sr_update;

// Engines: who multiplies. `scalar` is the readable reference, `native` our own kernels, `auto`
// takes for each layer whichever of native and oneDNN was measured to be faster on this machine.
typedef enum sr_engine {
    SR_ENGINE_AUTO,
    SR_ENGINE_SCALAR,
    SR_ENGINE_NATIVE,
    SR_ENGINE_ONEDNN,
    SR_ENGINE_COUNT
} sr_engine;
SR_API const char *sr_engine_name(sr_engine engine);
SR_API sr_status sr_engine_parse(const char *name, sr_engine *out);
SR_API bool sr_engine_available(sr_engine engine);
SR_API const char *sr_engine_version(sr_engine engine); // "2.6.3" for oneDNN; "" otherwise

// Precisions of a network's passes. Weights, optimiser, states of chains and all sums are fp32
// always. bf16: operands of products rounded to bfloat16. bf16x3: every operand split into two
// bfloat16 parts, products high high + high low + low high (about 1e-5 relative error), on AMX;
// runs as fp32 elsewhere.
typedef enum sr_precision { SR_FP32, SR_BF16, SR_BF16X3, SR_PRECISION_COUNT } sr_precision;
SR_API const char *sr_precision_name(sr_precision precision); // "fp32", "bf16", "bf16x3"
SR_API sr_status sr_precision_parse(const char *name, sr_precision *out);
// Whether the engine computes in this precision; bf16x3 counts where it runs as fp32.
SR_API bool sr_precision_available(sr_engine engine, sr_precision precision);

// The three passes of a layer.
typedef enum sr_direction {
    SR_FORWARD,
    SR_BACKWARD_DATA,
    SR_BACKWARD_WEIGHTS,
    SR_DIRECTION_COUNT
} sr_direction;
SR_API const char *sr_direction_name(sr_direction direction); // "forward", "backward_data", ...

// One layer of a network: convolution or dense (a dense layer sees its input flattened in C, H, W
// order), bias, then the activation (SR_IDENTITY for none). What an engine prepares and runs.
typedef struct sr_layer {
    bool dense;          // nn.Linear in PyTorch; otherwise nn.Conv2d
    sr_conv_shape shape; // a dense layer: 1x1 images, in_channels = all inputs
    sr_activation activation;
    size_t weight, bias; // offsets into the flat parameter array theta
    size_t torch_index;  // position in nn.Sequential: tensors "<index>.weight", "<index>.bias"
} sr_layer;

// Floating-point peak of the machine from registers, GFLOP/s (a multiply-add is 2), measured once
// per process and thread count with the widest FMA that the active ISA has. Takes about 0.2 s.
SR_API double sr_peak_gflops(unsigned threads);
// The same for products of bfloat16 that are summed in fp32: tdpbf16ps on AMX tiles, else vdpbf16ps
// (AVX512_BF16); where the active ISA has neither, bf16 is multiplied in fp32 and has its peak.
SR_API double sr_peak_bf16_gflops(unsigned threads);
// The peak for a network's precision, in the FLOP that the network counts: bf16x3 does three
// products for one of fp32, so on AMX a third of bf16's; elsewhere it is fp32.
SR_API double sr_peak_for(sr_precision precision, unsigned threads);
// Bandwidth of the second-level caches, GB/s (1e9 bytes): vector loads by every thread over half
// an L2 (of 512 KiB where its size is unknown). Measured and remembered like the peaks; 0 where
// memory is short.
SR_API double sr_peak_l2_gbs(unsigned threads);

#ifdef __cplusplus
}
#endif
#endif
