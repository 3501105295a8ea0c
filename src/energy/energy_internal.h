// What the parts of this module share: the insides of an energy and of one thread's workspace.
#ifndef SR_ENERGY_INTERNAL_H
#define SR_ENERGY_INTERNAL_H

#include <shortrun/energy.h>

struct sr_energy {
    sr_energy_ops ops;
    void *self;
    size_t dim, parameters, tile;
    size_t gradient_tile; // rows whose gradient in theta is one sum; the sums are added in order
    bool resident;        // tiles of chains can stay in a workspace
};

struct sr_energy_workspace {
    const sr_energy *energy;
    void *scratch;   // what ops.workspace_create made, or NULL
    double *seconds; // the implementation's counters, or `own`
    double own[SR_PHASE_COUNT];
    bool hessian; // there is room for Hessian-vector products
};

// The workspace of a network's plan; only where sr_energy_plan is not NULL.
static inline sr_workspace *sr_energy_network_workspace(sr_energy_workspace *workspace) {
    return workspace->scratch;
}

// Rows that a closed form or a user's function sees at a time: enough to drown the cost of a call,
// few enough that a few hundred chains still split over threads.
#define SR_ENERGY_FUNCTION_TILE 64

#endif
