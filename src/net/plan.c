// The plan: a network made ready for one engine and a fixed tile; workspaces; the clock of the
// phases.
#include <shortrun/net.h>

#include "kernels/chain.h"
#include "kernels/tangents.h"
#include "net/tuning.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct sr_plan {
    sr_net net;
    size_t tile, gradient_tile; // samples at a time: sampling, gradient in theta
    sr_engine engine;           // what was asked for
    sr_engine engines[SR_MAX_LAYERS];
    sr_precision precision;
    const sr_chain_ops *ops;
    void *chain;
    float *ones; // (tile, outputs): the default seed
    // Hessian-vector products of engines without a form of their own: made when first asked for.
    float *theta; // (parameters): what they take their weights from
    sr_tangents *tangents;
    pthread_mutex_t making_tangents;
};

struct sr_workspace {
    const sr_plan *plan;
    void *state;
    float *out, *seed; // (tile, outputs)
    double seconds[SR_PHASE_COUNT];
    bool timed; // layers
    double layer_seconds[SR_MAX_LAYERS * SR_DIRECTION_COUNT];
    bool hessian; // there is room for Hessian-vector products
    sr_tangents_state *tangents;
};

const char *sr_phase_name(sr_phase phase) {
    static const char *const names[] = {"forward", "backward_data", "backward_weights",
                                        "noise_update", "optimiser"};
    return names[phase];
}

// Samples evaluated at a time by one thread on an engine whose last bits hang on it: so it follows
// from the network alone, never from the machine or the number of threads.
//
// What a tile keeps alive between forward and backward is every layer's output and activation
// derivative; a pass is fastest while these stay in a core's L2, of which BUDGET is what common
// server cores offer. MOST: beyond it nothing is gained, and a usual batch of a few hundred rows
// should still split over threads. LEAST: below it every layer's weights are read for too few
// samples.
static size_t choose_tile(const sr_net *net) {
    enum { BUDGET = 1 << 20, LEAST = 8, MOST = 64 };
    size_t floats = net->inputs;
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_conv_shape *shape = &net->layers[l].shape;
        floats += 2 * shape->out_channels * shape->out_height * shape->out_width;
    }
    size_t tile = MOST;
    while (tile > LEAST && tile * floats * sizeof(float) > BUDGET)
        tile /= 2;
    return tile;
}

// Rows of the largest call: sampling's or the gradient's.
static size_t most_rows(const sr_plan *plan) {
    return plan->tile > plan->gradient_tile ? plan->tile : plan->gradient_tile;
}

static sr_status check_plan(const sr_net *net, size_t tile, const sr_engine *engines,
                            sr_precision precision) {
    if (net->layer_count == 0 || tile == 0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "a plan needs at least one layer and a tile of at least 1");
    for (size_t l = 0; l < net->layer_count; l++) {
        if (!sr_chain_ops_for(engines[l]))
            return sr_fail(SR_ERROR_UNSUPPORTED, "engine '%s' is not part of this build",
                           sr_engine_name(engines[l]));
        if (!sr_precision_available(engines[l], precision))
            return sr_fail(SR_ERROR_UNSUPPORTED, "engine '%s' does not compute in %s",
                           sr_engine_name(engines[l]), sr_precision_name(precision));
    }
    return SR_OK;
}

static bool all_equal(size_t count, const sr_engine *engines) {
    for (size_t l = 1; l < count; l++)
        if (engines[l] != engines[0])
            return false;
    return true;
}

static sr_status create(const sr_net *net, size_t tile, sr_engine engine, const sr_engine *engines,
                        sr_precision precision, sr_plan **out) {
    *out = NULL;
    sr_status status = check_plan(net, tile, engines, precision);
    if (status)
        return status;
    sr_plan *plan = sr_alloc(1, sizeof *plan);
    if (!plan)
        return SR_ERROR_MEMORY;
    const bool uniform = all_equal(net->layer_count, engines);
    const sr_chain_ops *ops = uniform ? sr_chain_ops_for(engines[0]) : &sr_chain_mixed;
    *plan =
        (sr_plan){.net = *net, .tile = tile, .engine = engine, .precision = precision, .ops = ops};
    memcpy(plan->engines, engines, net->layer_count * sizeof *engines);
    plan->gradient_tile =
        ops->gradient_rows ? ops->gradient_rows(net->layers, net->layer_count) : tile;
    const size_t most = most_rows(plan);
    pthread_mutex_init(&plan->making_tangents, NULL);
    plan->ones = sr_alloc(most * net->outputs, sizeof(float));
    status = plan->ones ? SR_OK : SR_ERROR_MEMORY;
    if (!status && !ops->hessian_vector &&
        !(plan->theta = sr_alloc(net->parameters, sizeof(float))))
        status = SR_ERROR_MEMORY;
    for (size_t i = 0; !status && i < most * net->outputs; i++)
        plan->ones[i] = 1.0f;
    if (!status && uniform)
        status = ops->create(net->layers, net->layer_count, most, precision, &plan->chain);
    else if (!status)
        status = sr_chain_mixed_create(net->layers, net->layer_count, engines, most, precision,
                                       &plan->chain);
    if (status)
        sr_plan_destroy(plan);
    else
        *out = plan;
    return status;
}

sr_status sr_plan_create(const sr_net *net, size_t tile, sr_engine engine, sr_precision precision,
                         sr_plan **out) {
    sr_engine engines[SR_MAX_LAYERS];
    *out = NULL;
    for (size_t l = 0; l < net->layer_count; l++)
        engines[l] = engine;
    if (engine == SR_ENGINE_AUTO && tile > 0) {
        const sr_status status = sr_tuning_engines(net, tile, precision, engines);
        if (status)
            return status;
    }
    return create(net, tile, engine, engines, precision, out);
}

sr_status sr_plan_create_layers(const sr_net *net, size_t tile, const sr_engine *engines,
                                sr_precision precision, sr_plan **out) {
    const sr_engine engine = all_equal(net->layer_count, engines) ? engines[0] : SR_ENGINE_AUTO;
    return create(net, tile, engine, engines, precision, out);
}

void sr_engines_format(const sr_engine *engines, size_t count, sr_text *text) {
    for (size_t i = 0; i < count; i++)
        sr_text_append(text, "%s%s", i ? "," : "", sr_engine_name(engines[i]));
}

sr_status sr_engines_parse(const char *text, size_t count, sr_engine *engines) {
    const char *at = text;
    for (size_t i = 0; i < count; i++) {
        char name[16];
        const size_t length = strcspn(at, ",");
        const bool more = at[length] == ',';
        if (length >= sizeof name || more != (i + 1 < count))
            return sr_fail(SR_ERROR_ARGUMENT, "'%.80s' does not name %zu engines", text, count);
        memcpy(name, at, length);
        name[length] = '\0';
        const sr_status status = sr_engine_parse(name, &engines[i]);
        if (status)
            return status;
        if (engines[i] == SR_ENGINE_AUTO)
            return sr_fail(SR_ERROR_ARGUMENT, "'%.80s': auto is no engine of a layer", text);
        at += length + 1;
    }
    return SR_OK;
}

size_t sr_plan_best_tile(const sr_net *net, sr_engine engine, sr_precision precision) {
    size_t tile;
    if (engine == SR_ENGINE_NATIVE || engine == SR_ENGINE_AUTO)
        return sr_tuning_tile(net, precision, &tile) == SR_OK ? tile : 16;
    return choose_tile(net);
}

void sr_plan_destroy(sr_plan *plan) {
    if (!plan)
        return;
    plan->ops->destroy(plan->chain);
    sr_tangents_destroy(plan->tangents);
    pthread_mutex_destroy(&plan->making_tangents);
    sr_free(plan->theta);
    sr_free(plan->ones);
    sr_free(plan);
}

const sr_net *sr_plan_net(const sr_plan *plan) {
    return &plan->net;
}

size_t sr_plan_tile(const sr_plan *plan) {
    return plan->tile;
}

sr_engine sr_plan_engine(const sr_plan *plan) {
    return plan->engine;
}

const sr_engine *sr_plan_engines(const sr_plan *plan) {
    return plan->engines;
}

sr_precision sr_plan_precision(const sr_plan *plan) {
    return plan->precision;
}

void sr_plan_set_weights(sr_plan *plan, const float *theta) {
    plan->ops->set_weights(plan->chain, theta);
    if (plan->theta)
        memcpy(plan->theta, theta, plan->net.parameters * sizeof *theta);
    if (plan->tangents)
        sr_tangents_set_weights(plan->tangents, theta);
}

sr_status sr_workspace_create(const sr_plan *plan, sr_workspace **out) {
    *out = NULL;
    sr_workspace *workspace = sr_alloc(1, sizeof *workspace);
    if (!workspace)
        return SR_ERROR_MEMORY;
    workspace->plan = plan;
    const size_t most = most_rows(plan);
    workspace->out = sr_alloc(most * plan->net.outputs, sizeof(float));
    workspace->seed = sr_alloc(most * plan->net.outputs, sizeof(float));
    sr_status status = workspace->out && workspace->seed ? SR_OK : SR_ERROR_MEMORY;
    if (!status)
        status = plan->ops->state_create(plan->chain, &workspace->state);
    if (status)
        sr_workspace_destroy(workspace);
    else
        *out = workspace;
    return status;
}

void sr_workspace_destroy(sr_workspace *workspace) {
    if (!workspace)
        return;
    workspace->plan->ops->state_destroy(workspace->state);
    sr_tangents_state_destroy(workspace->tangents);
    sr_free(workspace->out);
    sr_free(workspace->seed);
    sr_free(workspace);
}

double *sr_workspace_seconds(sr_workspace *workspace) {
    return workspace->seconds;
}

void sr_workspace_time_layers(sr_workspace *workspace, bool on) {
    workspace->timed = on;
    memset(workspace->layer_seconds, 0, sizeof workspace->layer_seconds);
    workspace->plan->ops->time_layers(workspace->state, on ? workspace->layer_seconds : NULL);
}

const double *sr_workspace_layer_seconds(const sr_workspace *workspace) {
    return workspace->timed ? workspace->layer_seconds : NULL;
}

// Adds the time since *since to a phase and starts the next.
static void lap(sr_workspace *workspace, sr_phase phase, double *since) {
    double now = sr_seconds();
    workspace->seconds[phase] += now - *since;
    *since = now;
}

void sr_plan_forward(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                     float *out) {
    double since = sr_seconds();
    plan->ops->forward(plan->chain, workspace->state, n, x, out);
    lap(workspace, SR_PHASE_FORWARD, &since);
}

void sr_plan_gradient_x(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                        const float *seed, float *out, float *dx) {
    double since = sr_seconds();
    plan->ops->forward(plan->chain, workspace->state, n, x, out ? out : workspace->out);
    lap(workspace, SR_PHASE_FORWARD, &since);
    plan->ops->backward_data(plan->chain, workspace->state, n, seed ? seed : plan->ones, dx);
    lap(workspace, SR_PHASE_BACKWARD_DATA, &since);
}

void sr_plan_gradient_theta(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                            const float *seed, sr_loss loss, void *user, float *out,
                            float *dtheta) {
    double since = sr_seconds();
    out = out ? out : workspace->out;
    plan->ops->forward(plan->chain, workspace->state, n, x, out);
    lap(workspace, SR_PHASE_FORWARD, &since);
    if (loss) {
        loss(user, n, out, workspace->seed);
        seed = workspace->seed;
        since = sr_seconds();
    }
    plan->ops->backward_data(plan->chain, workspace->state, n, seed ? seed : plan->ones, NULL);
    lap(workspace, SR_PHASE_BACKWARD_DATA, &since);
    plan->ops->backward_weights(plan->chain, workspace->state, n, dtheta);
    lap(workspace, SR_PHASE_BACKWARD_WEIGHTS, &since);
}

// The plan is shared by threads, any of which may be the first to ask.
static sr_status make_tangents(sr_plan *plan) {
    sr_status status = SR_OK;
    pthread_mutex_lock(&plan->making_tangents);
    if (!plan->tangents) { // weights once: others may be at work with them already
        status = sr_tangents_create(plan->net.layers, plan->net.layer_count, plan->engines,
                                    plan->tile, plan->precision, &plan->tangents);
        if (!status)
            sr_tangents_set_weights(plan->tangents, plan->theta);
    }
    pthread_mutex_unlock(&plan->making_tangents);
    return status;
}

sr_status sr_workspace_reserve_hessian(sr_workspace *workspace) {
    const sr_plan *plan = workspace->plan;
    if (workspace->hessian)
        return SR_OK;
    sr_status status;
    if (plan->ops->hessian_vector) {
        status = plan->ops->reserve_tangents(plan->chain, workspace->state);
    } else {
        status = make_tangents((sr_plan *)plan);
        if (!status)
            status = sr_tangents_state_create(plan->tangents, &workspace->tangents);
    }
    workspace->hessian = status == SR_OK;
    return status;
}

void sr_plan_hessian_vector(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                            const float *v, float *out, float *dx, float *hv) {
    out = out ? out : workspace->out;
    if (plan->ops->hessian_vector)
        plan->ops->hessian_vector(plan->chain, workspace->state, n, x, v, out, dx, hv);
    else
        sr_tangents_hessian_vector(plan->tangents, workspace->tangents, n, x, v, out, dx, hv);
}

void sr_plan_hessian_again(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x,
                           const float *v, float *hv) {
    if (plan->ops->hessian_again)
        plan->ops->hessian_again(plan->chain, workspace->state, n, v, hv);
    else
        sr_plan_hessian_vector(plan, workspace, n, x, v, NULL, NULL, hv);
}

size_t sr_plan_gradient_tile(const sr_plan *plan) {
    return plan->gradient_tile;
}

bool sr_plan_is_resident(const sr_plan *plan) {
    return plan->ops->load != NULL;
}

void sr_plan_load(const sr_plan *plan, sr_workspace *workspace, size_t n, const float *x) {
    plan->ops->load(plan->chain, workspace->state, n, x);
}

void sr_plan_step(const sr_plan *plan, sr_workspace *workspace, const sr_update *update) {
    double since = sr_seconds();
    plan->ops->loaded_forward(plan->chain, workspace->state);
    lap(workspace, SR_PHASE_FORWARD, &since);
    plan->ops->loaded_backward(plan->chain, workspace->state);
    lap(workspace, SR_PHASE_BACKWARD_DATA, &since);
    plan->ops->loaded_update(plan->chain, workspace->state, update);
    lap(workspace, SR_PHASE_NOISE_UPDATE, &since);
}

void sr_plan_store(const sr_plan *plan, sr_workspace *workspace, size_t n, float *x) {
    plan->ops->store(plan->chain, workspace->state, n, x);
}
