// A chain of layers prepared by one engine for a fixed batch: the seam between networks (src/net)
// and engines. An engine is this table of functions; it knows layers, not what they are for.
#ifndef SR_KERNELS_CHAIN_H
#define SR_KERNELS_CHAIN_H

#include <shortrun/kernels.h>

// Execution (forward, backward_*) allocates nothing and cannot fail. A chain may be executed by
// several threads at once, each with its own state; set_weights must not run meanwhile.
typedef struct sr_chain_ops {
    // Everything that can be decided, packed or allocated: `batch` samples at a time.
    sr_status (*create)(const sr_layer *layers, size_t count, size_t batch, sr_precision precision,
                        void **chain);
    void (*destroy)(void *chain);
    void (*set_weights)(void *chain, const float *theta);
    sr_status (*state_create)(const void *chain, void **state);
    void (*state_destroy)(void *state);
    // x (n, inputs) -> out (n, outputs), n <= batch; the state keeps what the backward passes need.
    void (*forward)(const void *chain, void *state, size_t n, const float *x, float *out);
    // After forward with the same n: seed (n, outputs) is the gradient at the outputs. Fills the
    // state's gradients at every layer and, where dx is not NULL, dx (n, inputs).
    void (*backward_data)(const void *chain, void *state, size_t n, const float *seed, float *dx);
    // After backward_data: dtheta, weights and biases of every layer at their offsets, sums over n.
    void (*backward_weights)(const void *chain, void *state, size_t n, float *dtheta);
    // A tile of chains that stays in the state for many steps, or NULL where the engine has no such
    // form: load x (n, inputs); then as often as wanted forward (no output) and backward-data with
    // a seed of ones, and x <- update(x, gradient); store x.
    void (*load)(const void *chain, void *state, size_t n, const float *x);
    void (*loaded_forward)(const void *chain, void *state);
    void (*loaded_backward)(const void *chain, void *state);
    void (*loaded_update)(const void *chain, void *state, const sr_update *update);
    void (*store)(const void *chain, const void *state, size_t n, float *x);
    // Room in a state for hessian_vector; called once. NULL, and so hessian_vector, where the
    // engine has no form of its own: then tangents.h does it layer by layer.
    sr_status (*reserve_tangents)(const void *chain, void *state);
    // hv (n, inputs) = H(x) v of the sum of all outputs, x, v (n, inputs): tangents in the
    // direction v through the forward and the backward pass. out (n, outputs); dx (n, inputs) or
    // NULL. What the state kept for backward passes may be lost.
    void (*hessian_vector)(const void *chain, void *state, size_t n, const float *x, const float *v,
                           float *out, float *dx, float *hv);
    // The same bits for another v at the n and x of the last hessian_vector of this state, or NULL
    // where the engine keeps nothing for it.
    void (*hessian_again)(const void *chain, void *state, size_t n, const float *v, float *hv);
    // Samples whose weight gradient is one sum, to be added to others in order, whatever the batch
    // that sampling likes best; the chain must have room for them. NULL: a whole batch.
    size_t (*gradient_rows)(const sr_layer *layers, size_t count);
    // From now on the state adds the seconds that it spends to seconds[layer * SR_DIRECTION_COUNT +
    // direction]; activations and changes of layout count to the layer that they belong to. NULL:
    // it does not, as at the start, and never asks the clock.
    void (*time_layers)(void *state, double *seconds);
} sr_chain_ops;

// NULL when the engine is not in this build. `engine` is resolved (not auto).
const sr_chain_ops *sr_chain_ops_for(sr_engine engine);

extern const sr_chain_ops sr_chain_scalar;
extern const sr_chain_ops sr_chain_native;
// Runs of layers on several engines, engines (count): sr_chain_mixed has no `create` of its own.
extern const sr_chain_ops sr_chain_mixed;
sr_status sr_chain_mixed_create(const sr_layer *layers, size_t count, const sr_engine *engines,
                                size_t batch, sr_precision precision, void **chain);
#ifdef SR_WITH_ONEDNN
extern const sr_chain_ops sr_chain_onednn;
const char *sr_onednn_version(void);
#endif

// The clock of time_layers: a pass starts a lap, and every piece of work ends it by adding its time
// to its slot (layer * SR_DIRECTION_COUNT + direction). seconds NULL: off.
static inline double sr_lap_start(const double *seconds) {
    return seconds ? sr_seconds() : 0;
}

static inline void sr_lap_end(double *seconds, size_t slot, double *since) {
    if (!seconds)
        return;
    const double now = sr_seconds();
    seconds[slot] += now - *since;
    *since = now;
}

static inline size_t sr_lap_slot(size_t layer, sr_direction direction) {
    return layer * SR_DIRECTION_COUNT + (size_t)direction;
}

static inline size_t sr_layer_inputs(const sr_layer *layer) {
    return layer->shape.in_channels * layer->shape.in_height * layer->shape.in_width;
}

static inline size_t sr_layer_outputs(const sr_layer *layer) {
    return layer->shape.out_channels * layer->shape.out_height * layer->shape.out_width;
}

static inline size_t sr_layer_weights(const sr_layer *layer) {
    return layer->shape.out_channels * layer->shape.in_channels * layer->shape.kernel_height *
           layer->shape.kernel_width;
}

#endif
