// A chain whose layers belong to several engines: runs of layers of one engine are chains of their
// own, and plain arrays stand between them.
#include "kernels/chain.h"

#include <string.h>

typedef struct part {
    const sr_chain_ops *ops;
    void *chain;
    size_t first, count;    // layers
    size_t inputs, outputs; // values of one sample
} part;

typedef struct mixed_chain {
    size_t batch, count;
    part *parts; // (count)
} mixed_chain;

typedef struct mixed_state {
    const mixed_chain *chain;
    void **states;  // (count)
    float **values; // (count): input of each part, but of the first
    float **slopes; // (count): gradient at it
} mixed_state;

static void chain_destroy(void *self) {
    mixed_chain *chain = self;
    if (!chain)
        return;
    for (size_t i = 0; chain->parts && i < chain->count; i++)
        if (chain->parts[i].ops)
            chain->parts[i].ops->destroy(chain->parts[i].chain);
    sr_free(chain->parts);
    sr_free(chain);
}

sr_status sr_chain_mixed_create(const sr_layer *layers, size_t count, const sr_engine *engines,
                                size_t batch, sr_precision precision, void **out) {
    *out = NULL;
    mixed_chain *chain = sr_alloc(1, sizeof *chain);
    if (!chain)
        return SR_ERROR_MEMORY;
    chain->batch = batch;
    chain->parts = sr_alloc(count, sizeof *chain->parts);
    sr_status status = chain->parts ? SR_OK : SR_ERROR_MEMORY;
    for (size_t first = 0, end; !status && first < count; first = end) {
        for (end = first + 1; end < count && engines[end] == engines[first];)
            end++;
        part *p = &chain->parts[chain->count++];
        *p = (part){.ops = sr_chain_ops_for(engines[first]),
                    .first = first,
                    .count = end - first,
                    .inputs = sr_layer_inputs(&layers[first]),
                    .outputs = sr_layer_outputs(&layers[end - 1])};
        status = p->ops->create(layers + first, p->count, batch, precision, &p->chain);
    }
    if (status)
        chain_destroy(chain);
    else
        *out = chain;
    return status;
}

static void chain_set_weights(void *self, const float *theta) {
    mixed_chain *chain = self;
    for (size_t i = 0; i < chain->count; i++)
        chain->parts[i].ops->set_weights(chain->parts[i].chain, theta);
}

static void state_destroy(void *self) {
    mixed_state *state = self;
    if (!state)
        return;
    const mixed_chain *chain = state->chain;
    for (size_t i = 0; i < chain->count; i++) {
        if (state->states)
            chain->parts[i].ops->state_destroy(state->states[i]);
        if (state->values)
            sr_free(state->values[i]);
        if (state->slopes)
            sr_free(state->slopes[i]);
    }
    sr_free(state->states);
    sr_free(state->values);
    sr_free(state->slopes);
    sr_free(state);
}

static sr_status state_create(const void *self, void **out) {
    const mixed_chain *chain = self;
    *out = NULL;
    mixed_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->chain = chain;
    state->states = sr_alloc(chain->count, sizeof *state->states);
    state->values = sr_alloc(chain->count, sizeof *state->values);
    state->slopes = sr_alloc(chain->count, sizeof *state->slopes);
    sr_status status = state->states && state->values && state->slopes ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; !status && i < chain->count; i++) {
        const part *p = &chain->parts[i];
        state->values[i] = sr_alloc(chain->batch * p->inputs, sizeof(float));
        state->slopes[i] = sr_alloc(chain->batch * p->inputs, sizeof(float));
        status = state->values[i] && state->slopes[i]
                     ? p->ops->state_create(p->chain, &state->states[i])
                     : SR_ERROR_MEMORY;
    }
    if (status)
        state_destroy(state);
    else
        *out = state;
    return status;
}

static void chain_forward(const void *self, void *state_, size_t n, const float *x, float *out) {
    const mixed_chain *chain = self;
    mixed_state *state = state_;
    for (size_t i = 0; i < chain->count; i++) {
        const part *p = &chain->parts[i];
        p->ops->forward(p->chain, state->states[i], n, i ? state->values[i] : x,
                        i + 1 < chain->count ? state->values[i + 1] : out);
    }
}

// Every part but the first hands its gradient down, also where nobody wants that in x.
static void chain_backward_data(const void *self, void *state_, size_t n, const float *seed,
                                float *dx) {
    const mixed_chain *chain = self;
    mixed_state *state = state_;
    for (size_t i = chain->count; i-- > 0;) {
        const part *p = &chain->parts[i];
        p->ops->backward_data(p->chain, state->states[i], n,
                              i + 1 < chain->count ? state->slopes[i + 1] : seed,
                              i ? state->slopes[i] : dx);
    }
}

static void chain_backward_weights(const void *self, void *state_, size_t n, float *dtheta) {
    const mixed_chain *chain = self;
    mixed_state *state = state_;
    for (size_t i = 0; i < chain->count; i++)
        chain->parts[i].ops->backward_weights(chain->parts[i].chain, state->states[i], n, dtheta);
}

static void time_layers(void *self, double *seconds) {
    mixed_state *state = self;
    for (size_t i = 0; i < state->chain->count; i++) {
        const part *p = &state->chain->parts[i];
        p->ops->time_layers(state->states[i],
                            seconds ? seconds + sr_lap_slot(p->first, SR_FORWARD) : NULL);
    }
}

const sr_chain_ops sr_chain_mixed = {
    .destroy = chain_destroy,
    .set_weights = chain_set_weights,
    .state_create = state_create,
    .state_destroy = state_destroy,
    .forward = chain_forward,
    .backward_data = chain_backward_data,
    .backward_weights = chain_backward_weights,
    .time_layers = time_layers,
};
