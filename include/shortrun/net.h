// net: networks as plain lists of layers, their parameters, and the plan that runs them. Shared by
// energies and feature classifiers; knows neither.
#ifndef SHORTRUN_NET_H
#define SHORTRUN_NET_H

#include <shortrun/io.h>
#include <shortrun/kernels.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SR_MAX_LAYERS 16

typedef enum sr_arch { SR_ARCH_CUSTOM, SR_ARCH_MLP, SR_ARCH_CONVNET, SR_ARCH_CLASSIFIER } sr_arch;

// A feed-forward network. Plain data: copy it freely, compare it, keep it on the stack.
// theta (parameters): for each layer in order weight (O, I, KH, KW) or (O, I), then bias (O).
typedef struct sr_net {
    sr_arch arch;                   // what made it; custom after sr_net_truncate
    size_t channels, height, width; // input; a vector of dimension d is (d, 1, 1)
    size_t inputs;                  // channels x height x width
    size_t outputs;                 // of the last layer, flattened
    size_t parameters;              // length of theta
    size_t layer_count;
    sr_layer layers[SR_MAX_LAYERS];
} sr_net;

// Linear(dim, w1), act, ..., Linear(w_n, outputs).
SR_API sr_status sr_net_mlp(sr_net *net, size_t dim, const size_t *widths, size_t width_count,
                            sr_activation activation, size_t outputs);
// The short-run network of Nijkamp et al. 2019: conv 3x3 stride 1 pad 1 (c -> nf), act; while at
// least 6 pixels remain: conv 4x4 stride 2 pad 1, channels doubled, act; conv over the remaining
// pixels -> 1.
SR_API sr_status sr_net_convnet(sr_net *net, size_t channels, size_t size, size_t nf,
                                sr_activation activation);
// The feature classifier: conv 3x3 (c -> nf), conv 4x4/2 (2nf), conv 4x4/2 (4nf), dense (features),
// dense (classes), the activation between. Its features are the outputs of sr_net_truncate(.., 1).
SR_API sr_status sr_net_classifier(sr_net *net, size_t channels, size_t size, size_t nf,
                                   size_t features, size_t classes, sr_activation activation);
// The network without its last `drop` layers (their predecessors keep their activation and offsets:
// the same theta serves both).
SR_API sr_status sr_net_truncate(sr_net *out, const sr_net *net, size_t drop);

// PyTorch's default start: weights and biases uniform in +-1/sqrt(fan in). theta (net->parameters).
SR_API void sr_net_init(const sr_net *net, uint64_t seed, float *theta);

// SR_OK where the network's Hessian in x says something; SR_ERROR_UNSUPPORTED, with the reason,
// where an activation has no curvature (relu, leaky_relu): it is zero almost everywhere, blind to
// the kinks.
SR_API sr_status sr_net_check_curvature(const sr_net *net);

// Multiply-adds of one forward pass of one sample.
SR_API double sr_net_multiply_adds(const sr_net *net);

// Parameters as tensors "<prefix><index>.weight", "<prefix><index>.bias" (prefix "" gives what
// PyTorch's nn.Sequential loads) to and from safetensors. Loading checks every name and shape; F32
// or F64.
SR_API sr_status sr_net_put(const sr_net *net, const float *theta, const char *prefix,
                            sr_tensors *tensors);
SR_API sr_status sr_net_take(const sr_net *net, const sr_tensors *tensors, const char *prefix,
                             float *theta);
// The architecture as metadata keys arch, activation, channels, size, nf / dim, widths / features,
// classes; and back, so that a file describes itself.
SR_API sr_status sr_net_describe(const sr_net *net, sr_tensors *tensors);
SR_API sr_status sr_net_from_meta(const sr_tensors *tensors, sr_net *net);
// From a text like "convnet:channels=1,size=28,nf=8,activation=silu", "mlp:dim=2,widths=128x128,
// activation=silu" or "classifier:channels=1,size=28,nf=16,features=64,classes=10,activation=relu".
// Errors name the key and what is allowed.
SR_API sr_status sr_net_parse(const char *text, sr_net *net);
// The text that sr_net_parse reads, appended.
SR_API void sr_net_format(const sr_net *net, sr_text *text);

// ---- the plan -----------------------------------------------------------------------------------

// A network prepared for execution: kernels chosen, weights packed, memory sized for `tile` samples
// at a time. Executing allocates nothing and cannot fail. Any number of threads may execute one
// plan at the same time, each with its own workspace; sr_plan_set_weights must not run meanwhile.
// The result for a sample depends on its place in the tile at most: callers keep the assignment
// fixed.
typedef struct sr_plan sr_plan;
typedef struct sr_workspace sr_workspace;

typedef enum sr_phase {
    SR_PHASE_FORWARD,
    SR_PHASE_BACKWARD_DATA,
    SR_PHASE_BACKWARD_WEIGHTS,
    SR_PHASE_NOISE_UPDATE, // noise, update and clamp of the dynamics (filled by the sampler)
    SR_PHASE_OPTIMISER,    // filled by training
    SR_PHASE_COUNT
} sr_phase;
SR_API const char *sr_phase_name(sr_phase phase);

SR_API sr_status sr_plan_create(const sr_net *net, size_t tile, sr_engine engine,
                                sr_precision precision, sr_plan **out);
// The same with an engine for each layer, engines (layer_count), none of them auto.
SR_API sr_status sr_plan_create_layers(const sr_net *net, size_t tile, const sr_engine *engines,
                                       sr_precision precision, sr_plan **out);
// "native,native,onednn" appended to the text; and back: count engines, none of them auto.
SR_API void sr_engines_format(const sr_engine *engines, size_t count, sr_text *text);
SR_API sr_status sr_engines_parse(const char *text, size_t count, sr_engine *engines);
// A good number of samples at a time: for native, no bit of whose results depends on it, and for
// auto measured and remembered; else from the network alone. Where auto takes oneDNN for a layer,
// sums over samples do depend on it: a checkpoint records it, and its run goes on with it.
SR_API size_t sr_plan_best_tile(const sr_net *net, sr_engine engine, sr_precision precision);
// Forgets what was measured of engines and tiles on this machine, in memory and in the file
// $XDG_CACHE_HOME/shortrun/tuning.txt (else ~/.cache/...): it is measured anew when next needed.
SR_API void sr_tuning_forget(void);
// Forgets what is in memory only: the file is read again when next needed.
SR_API void sr_tuning_reload(void);
SR_API void sr_plan_destroy(sr_plan *plan);
SR_API const sr_net *sr_plan_net(const sr_plan *plan);
SR_API size_t sr_plan_tile(const sr_plan *plan);
SR_API sr_engine sr_plan_engine(const sr_plan *plan);         // as asked for, auto included
SR_API const sr_engine *sr_plan_engines(const sr_plan *plan); // (layer_count), never auto
SR_API sr_precision sr_plan_precision(const sr_plan *plan);
// Packs theta (net->parameters); theta itself is not kept.
SR_API void sr_plan_set_weights(sr_plan *plan, const float *theta);

SR_API sr_status sr_workspace_create(const sr_plan *plan, sr_workspace **out);
SR_API void sr_workspace_destroy(sr_workspace *workspace);
// Seconds spent per phase in this workspace since creation (SR_PHASE_COUNT values, may be reset).
SR_API double *sr_workspace_seconds(sr_workspace *workspace);

// Starts (from zero) or stops a clock for every layer and direction in this workspace. It changes
// no result and costs some 50 ns an operation; off at the start.
SR_API void sr_workspace_time_layers(sr_workspace *workspace, bool on);
// (layer_count, SR_DIRECTION_COUNT) seconds since the clock was started; NULL when it is off.
SR_API const double *sr_workspace_layer_seconds(const sr_workspace *workspace);

// out (n, outputs) of x (n, inputs); n <= tile.
SR_API void sr_plan_forward(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                            float *out);
// Also dx (n, inputs) = gradient of sum_ij seed_ij out_ij; seed (n, outputs), NULL = all ones. out,
// NULL allowed.
SR_API void sr_plan_gradient_x(const sr_plan *plan, sr_workspace *workspace, size_t n,
                               const float *x, const float *seed, float *out, float *dx);
// Also dtheta (parameters) = the same gradient in theta, written (not added).
// Where the seed depends on the outputs (a loss), fill it in `loss`, called between forward and
// backward: loss(user, n, out, seed). With loss NULL the given seed is used.
typedef void (*sr_loss)(void *user, size_t n, const float *out, float *seed);
SR_API void sr_plan_gradient_theta(const sr_plan *plan, sr_workspace *workspace, size_t n,
                                   const float *x, const float *seed, sr_loss loss, void *user,
                                   float *out, float *dtheta);

// Room in a workspace for Hessian-vector products; the first call allocates, others do nothing.
SR_API sr_status sr_workspace_reserve_hessian(sr_workspace *workspace);
// hv (n, inputs) = H(x_i) v_i, H the Hessian in x of the sum of all outputs; x, v (n, inputs); out
// (n, outputs), dx (n, inputs) = gradient of that sum, NULL allowed. Tangents in the direction v
// through the forward and the backward pass (Pearlmutter 1994); the time of about two gradients.
// Only after sr_workspace_reserve_hessian, and not between load and store.
SR_API void sr_plan_hessian_vector(const sr_plan *plan, sr_workspace *workspace, size_t n,
                                   const float *x, const float *v, float *out, float *dx,
                                   float *hv);
// The same bits of hv for another direction v at the same n and x as the last
// sr_plan_hessian_vector in this workspace, with the same weights: the native engine keeps what
// does not depend on v, so that it takes the time of about one gradient; others do all of it again.
SR_API void sr_plan_hessian_again(const sr_plan *plan, sr_workspace *workspace, size_t n,
                                  const float *x, const float *v, float *hv);

// Samples whose gradient in theta is one sum: sums over more rows add those of so many, in order.
// It may be above the tile, which is that of sampling; calls take as many rows as the larger of
// both.
SR_API size_t sr_plan_gradient_tile(const sr_plan *plan);

// A tile of chains that stays in the workspace, in the engine's own layout, for many steps: load x
// (n, inputs), step as often as wanted, store. A step is x <- update(x, gradient of the sum of all
// outputs), to the same bits as sr_plan_gradient_x, the normals and the update of sr_kernels. Only
// where sr_plan_is_resident says true.
SR_API bool sr_plan_is_resident(const sr_plan *plan);
SR_API void sr_plan_load(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x);
SR_API void sr_plan_step(const sr_plan *plan, sr_workspace *workspace, const sr_update *update);
SR_API void sr_plan_store(const sr_plan *plan, sr_workspace *workspace, size_t n, float *x);

// The readable double reference of all of it, straight loops (tests, and closed checks).
// theta, x, seed, out, dx, dtheta as above in double; dx, dtheta, out may be NULL.
SR_API sr_status sr_net_reference_f64(const sr_net *net, const double *theta, size_t n,
                                      const double *x, const double *seed, double *out, double *dx,
                                      double *dtheta);
// The same for hv (n, inputs) = H(x_i) v_i of the sum of all outputs, v (n, inputs).
SR_API sr_status sr_net_reference_hessian_vector_f64(const sr_net *net, const double *theta,
                                                     size_t n, const double *x, const double *v,
                                                     double *hv);

// ---- spectral normalisation ---------------------------------------------------------------------

// Divides every layer's weight by its largest singular value as a linear operator on images of the
// layer's own size (Miyato et al. 2018; the operator, not the reshaped matrix), estimated by power
// iteration. State: per layer an input-side vector, kept between iterations and in checkpoints.
typedef struct sr_spectral sr_spectral;

// The engines native and auto leave it to oneDNN where that is built in: it works on one image.

SR_API sr_status sr_spectral_create(const sr_net *net, sr_engine engine, uint64_t seed,
                                    sr_spectral **out);
SR_API void sr_spectral_destroy(sr_spectral *spectral);
// `iterations` power iterations on raw weights `theta`, then `effective` = theta with each weight
// divided by its singular value (biases unchanged). The two arrays may not overlap. 0 iterations
// repeat what the last call left, to the bit, also after sr_spectral_take. The first call ever does
// at least 30.
SR_API void sr_spectral_apply(sr_spectral *spectral, size_t iterations, const float *theta,
                              float *effective);
// Turns a gradient in the effective parameters into one in the raw parameters, in place:
// dW = (dV - <dV, V> dsigma/dW) / sigma, V = W / sigma, dsigma/dW from the kept vectors.
SR_API void sr_spectral_pull_back(sr_spectral *spectral, const float *effective, float *gradient);
SR_API const double *
sr_spectral_values(const sr_spectral *spectral); // (layer_count) singular values
// Vectors as tensors "spectral.<index>.u" to and from a checkpoint.
SR_API sr_status sr_spectral_put(const sr_spectral *spectral, sr_tensors *tensors);
SR_API sr_status sr_spectral_take(sr_spectral *spectral, const sr_tensors *tensors);

#ifdef __cplusplus
}
#endif
#endif
