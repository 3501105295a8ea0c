// A user's own function as an energy.
#include "energy/energy_internal.h"

typedef struct function {
    sr_energy_callback callback;
    void *user;
    size_t dim;
} function;

static void function_evaluate(const void *self, void *workspace, size_t n, const float *x, float *e,
                              float *dx) {
    const function *f = self;
    f->callback(f->user, n, f->dim, x, e, dx);
}

sr_status sr_energy_function(size_t dim, sr_energy_callback callback, void *user, sr_energy **out) {
    static const sr_energy_ops ops = {.evaluate = function_evaluate, .destroy = sr_free};
    *out = NULL;
    if (!callback)
        return sr_fail(SR_ERROR_ARGUMENT, "an energy function is needed, found NULL");
    function *f = sr_alloc(1, sizeof *f);
    if (!f)
        return SR_ERROR_MEMORY;
    *f = (function){.callback = callback, .user = user, .dim = dim};
    return sr_energy_create(&ops, f, dim, 0, SR_ENERGY_FUNCTION_TILE, out);
}
