// Hessian-vector products for engines without a form of their own: every layer is a chain by
// itself, linear and without bias, that the engine multiplies; activations and their tangents stand
// between, in plain arrays.
#ifndef SR_KERNELS_TANGENTS_H
#define SR_KERNELS_TANGENTS_H

#include "kernels/chain.h"

typedef struct sr_tangents sr_tangents;             // shared by threads
typedef struct sr_tangents_state sr_tangents_state; // one thread's

// engines (count), none of them auto; `batch` samples at a time.
sr_status sr_tangents_create(const sr_layer *layers, size_t count, const sr_engine *engines,
                             size_t batch, sr_precision precision, sr_tangents **out);
void sr_tangents_destroy(sr_tangents *tangents);
// Must not run while products are taken.
void sr_tangents_set_weights(sr_tangents *tangents, const float *theta);
sr_status sr_tangents_state_create(const sr_tangents *tangents, sr_tangents_state **out);
void sr_tangents_state_destroy(sr_tangents_state *state);
// As sr_chain_ops.hessian_vector.
void sr_tangents_hessian_vector(const sr_tangents *tangents, sr_tangents_state *state, size_t n,
                                const float *x, const float *v, float *out, float *dx, float *hv);

#endif
