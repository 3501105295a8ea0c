// A network with one output as an energy: owns the plan that runs it.
#include "energy/energy_internal.h"

static void network_evaluate(const void *self, void *workspace, size_t n, const float *x, float *e,
                             float *dx) {
    if (dx)
        sr_plan_gradient_x(self, workspace, n, x, NULL, e, dx);
    else if (e)
        sr_plan_forward(self, workspace, n, x, e);
}

static void network_gradient_theta(const void *self, void *workspace, size_t n, const float *x,
                                   const float *weight, float *e, float *dtheta) {
    sr_plan_gradient_theta(self, workspace, n, x, weight, NULL, NULL, e, dtheta);
}

static void network_hessian_vector(const void *self, void *workspace, size_t n, const float *x,
                                   const float *v, float *e, float *dx, float *hv) {
    sr_plan_hessian_vector(self, workspace, n, x, v, e, dx, hv);
}

static void network_hessian_again(const void *self, void *workspace, size_t n, const float *x,
                                  const float *v, float *hv) {
    sr_plan_hessian_again(self, workspace, n, x, v, hv);
}

static sr_status network_reserve_hessian(const void *self, void *workspace) {
    return sr_workspace_reserve_hessian(workspace);
}

static void network_load(const void *self, void *workspace, size_t n, const float *x) {
    sr_plan_load(self, workspace, n, x);
}

static void network_step(const void *self, void *workspace, const sr_update *update) {
    sr_plan_step(self, workspace, update);
}

static void network_store(const void *self, void *workspace, size_t n, float *x) {
    sr_plan_store(self, workspace, n, x);
}

static sr_status network_workspace_create(const void *self, void **workspace) {
    sr_workspace *made;
    sr_status status = sr_workspace_create(self, &made);
    *workspace = made;
    return status;
}

static void network_workspace_destroy(void *workspace) {
    sr_workspace_destroy(workspace);
}

static double *network_seconds(void *workspace) {
    return sr_workspace_seconds(workspace);
}

static void network_set_parameters(void *self, const float *theta) {
    sr_plan_set_weights(self, theta);
}

static void network_destroy(void *self) {
    sr_plan_destroy(self);
}

static const sr_energy_ops network_ops = {
    .evaluate = network_evaluate,
    .gradient_theta = network_gradient_theta,
    .hessian_vector = network_hessian_vector,
    .hessian_again = network_hessian_again,
    .reserve_hessian = network_reserve_hessian,
    .load = network_load,
    .step = network_step,
    .store = network_store,
    .workspace_create = network_workspace_create,
    .workspace_destroy = network_workspace_destroy,
    .seconds = network_seconds,
    .set_parameters = network_set_parameters,
    .destroy = network_destroy,
};

// Takes the plan over, also when it fails.
static sr_status from_plan(sr_plan *plan, sr_energy **out) {
    const sr_net *net = sr_plan_net(plan);
    float *zeros = sr_alloc(net->parameters, sizeof *zeros);
    if (!zeros) {
        sr_plan_destroy(plan);
        return SR_ERROR_MEMORY;
    }
    sr_plan_set_weights(plan, zeros); // so that evaluating too early is dull, not undefined
    sr_free(zeros);
    const sr_status status =
        sr_energy_create(&network_ops, plan, net->inputs, net->parameters, sr_plan_tile(plan), out);
    if (status)
        return status;
    (*out)->resident = sr_plan_is_resident(plan);
    (*out)->gradient_tile = sr_plan_gradient_tile(plan);
    return SR_OK;
}

static sr_status check_outputs(const sr_net *net) {
    if (net->outputs != 1)
        return sr_fail(SR_ERROR_ARGUMENT, "an energy network has 1 output, found %zu",
                       net->outputs);
    return SR_OK;
}

sr_status sr_energy_network(const sr_net *net, sr_engine engine, sr_precision precision,
                            size_t tile, sr_energy **out) {
    *out = NULL;
    sr_plan *plan;
    sr_status status = check_outputs(net);
    if (!status)
        status = sr_plan_create(net, tile ? tile : sr_plan_best_tile(net, engine, precision),
                                engine, precision, &plan);
    return status ? status : from_plan(plan, out);
}

sr_status sr_energy_network_layers(const sr_net *net, const sr_engine *engines,
                                   sr_precision precision, size_t tile, sr_energy **out) {
    *out = NULL;
    sr_plan *plan;
    sr_status status = check_outputs(net);
    if (!status)
        status =
            sr_plan_create_layers(net, tile ? tile : sr_plan_best_tile(net, engines[0], precision),
                                  engines, precision, &plan);
    return status ? status : from_plan(plan, out);
}

const sr_plan *sr_energy_plan(const sr_energy *energy) {
    return energy->ops.evaluate == network_evaluate ? energy->self : NULL;
}
