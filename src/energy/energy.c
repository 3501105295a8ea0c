// The energy object: a table of functions, what they work on, and one thread's scratch.
// Implementations stand in network.c, closed_forms.c and function.c; many threads in team.c.
#include "energy/energy_internal.h"

static sr_status create_fail(const sr_energy_ops *ops, void *self, sr_status status) {
    if (ops->destroy)
        ops->destroy(self);
    return status;
}

sr_status sr_energy_create(const sr_energy_ops *ops, void *self, size_t dim, size_t parameters,
                           size_t tile, sr_energy **out) {
    *out = NULL;
    if (!ops->evaluate)
        return create_fail(ops, self, sr_fail(SR_ERROR_ARGUMENT, "an energy needs 'evaluate'"));
    if (dim == 0 || tile == 0)
        return create_fail(ops, self,
                           sr_fail(SR_ERROR_ARGUMENT,
                                   "an energy needs a dimension and a tile of at least 1, found "
                                   "dimension %zu, tile %zu",
                                   dim, tile));
    if ((parameters > 0) != (ops->gradient_theta != NULL))
        return create_fail(ops, self,
                           sr_fail(SR_ERROR_ARGUMENT,
                                   "an energy has 'gradient_theta' exactly if it has parameters, "
                                   "found %zu parameters",
                                   parameters));
    sr_energy *energy = sr_alloc(1, sizeof *energy);
    if (!energy)
        return create_fail(ops, self, SR_ERROR_MEMORY);
    *energy = (sr_energy){.ops = *ops,
                          .self = self,
                          .dim = dim,
                          .parameters = parameters,
                          .tile = tile,
                          .gradient_tile = tile,
                          .resident = ops->load && ops->step && ops->store};
    *out = energy;
    return SR_OK;
}

void sr_energy_destroy(sr_energy *energy) {
    if (!energy)
        return;
    if (energy->ops.destroy)
        energy->ops.destroy(energy->self);
    sr_free(energy);
}

size_t sr_energy_dim(const sr_energy *energy) {
    return energy->dim;
}

size_t sr_energy_tile(const sr_energy *energy) {
    return energy->tile;
}

size_t sr_energy_gradient_tile(const sr_energy *energy) {
    return energy->gradient_tile;
}

size_t sr_energy_parameters(const sr_energy *energy) {
    return energy->parameters;
}

void sr_energy_set_parameters(sr_energy *energy, const float *theta) {
    if (energy->ops.set_parameters)
        energy->ops.set_parameters(energy->self, theta);
}

sr_status sr_energy_workspace_create(const sr_energy *energy, sr_energy_workspace **out) {
    *out = NULL;
    sr_energy_workspace *workspace = sr_alloc(1, sizeof *workspace);
    if (!workspace)
        return SR_ERROR_MEMORY;
    workspace->energy = energy;
    workspace->seconds = workspace->own;
    if (energy->ops.workspace_create) {
        sr_status status = energy->ops.workspace_create(energy->self, &workspace->scratch);
        if (status) {
            sr_free(workspace);
            return status;
        }
    }
    if (energy->ops.seconds)
        workspace->seconds = energy->ops.seconds(workspace->scratch);
    *out = workspace;
    return SR_OK;
}

void sr_energy_workspace_destroy(sr_energy_workspace *workspace) {
    if (!workspace)
        return;
    if (workspace->energy->ops.workspace_destroy)
        workspace->energy->ops.workspace_destroy(workspace->scratch);
    sr_free(workspace);
}

double *sr_energy_workspace_seconds(sr_energy_workspace *workspace) {
    return workspace->seconds;
}

void sr_energy_evaluate(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                        const float *x, float *e, float *dx) {
    energy->ops.evaluate(energy->self, workspace->scratch, n, x, e, dx);
}

void sr_energy_gradient_theta(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                              const float *x, const float *weight, float *e, float *dtheta) {
    energy->ops.gradient_theta(energy->self, workspace->scratch, n, x, weight, e, dtheta);
}

sr_status sr_energy_check_hessian(const sr_energy *energy) {
    if (!energy->ops.hessian_vector)
        return sr_fail(SR_ERROR_UNSUPPORTED, "this energy has no Hessian-vector product");
    const sr_plan *plan = sr_energy_plan(energy);
    return plan ? sr_net_check_curvature(sr_plan_net(plan)) : SR_OK;
}

sr_status sr_energy_reserve_hessian(sr_energy_workspace *workspace) {
    const sr_energy *energy = workspace->energy;
    if (workspace->hessian || !energy->ops.reserve_hessian)
        return SR_OK;
    const sr_status status = energy->ops.reserve_hessian(energy->self, workspace->scratch);
    workspace->hessian = status == SR_OK;
    return status;
}

void sr_energy_hessian_vector(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                              const float *x, const float *v, float *e, float *dx, float *hv) {
    energy->ops.hessian_vector(energy->self, workspace->scratch, n, x, v, e, dx, hv);
}

void sr_energy_hessian_again(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                             const float *x, const float *v, float *hv) {
    if (energy->ops.hessian_again)
        energy->ops.hessian_again(energy->self, workspace->scratch, n, x, v, hv);
    else
        energy->ops.hessian_vector(energy->self, workspace->scratch, n, x, v, NULL, NULL, hv);
}

bool sr_energy_is_resident(const sr_energy *energy) {
    return energy->resident;
}

void sr_energy_load(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                    const float *x) {
    energy->ops.load(energy->self, workspace->scratch, n, x);
}

void sr_energy_step(const sr_energy *energy, sr_energy_workspace *workspace,
                    const sr_update *update) {
    energy->ops.step(energy->self, workspace->scratch, update);
}

void sr_energy_store(const sr_energy *energy, sr_energy_workspace *workspace, size_t n, float *x) {
    energy->ops.store(energy->self, workspace->scratch, n, x);
}
