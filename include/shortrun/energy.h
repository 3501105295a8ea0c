// energy: scalar functions E(x), low on data, behind one small interface. A network with one
// output, the closed-form densities, or a user's own function. Knows nothing of samplers.
#ifndef SHORTRUN_ENERGY_H
#define SHORTRUN_ENERGY_H

#include <shortrun/net.h>

#ifdef __cplusplus
extern "C" {
#endif

// An energy over x of dimension dim. Executing is thread-safe: each thread brings a workspace.
typedef struct sr_energy sr_energy;
typedef struct sr_energy_workspace sr_energy_workspace;

// What an implementation supplies. All functions take n <= tile samples x (n, dim).
typedef struct sr_energy_ops {
    // e (n) = E(x) and, where dx is not NULL, dx (n, dim) = gradient of E in x. e may be NULL.
    void (*evaluate)(const void *self, void *workspace, size_t n, const float *x, float *e,
                     float *dx);
    // dtheta (parameters) = sum_i weight_i dE(x_i)/dtheta, written; e (n) may be NULL. NULL if
    // there are no parameters.
    void (*gradient_theta)(const void *self, void *workspace, size_t n, const float *x,
                           const float *weight, float *e, float *dtheta);
    // A tile of chains that stays in the workspace for many steps (sr_plan_load and its fellows);
    // all NULL where there is no such form.
    void (*load)(const void *self, void *workspace, size_t n, const float *x);
    void (*step)(const void *self, void *workspace, const sr_update *update);
    void (*store)(const void *self, void *workspace, size_t n, float *x);
    sr_status (*workspace_create)(const void *self, void **workspace); // NULL: none needed
    void (*workspace_destroy)(void *workspace);
    double *(*seconds)(void *workspace); // SR_PHASE_COUNT counters; NULL: not measured
    // Takes theta (parameters) over; no evaluation runs meanwhile. NULL: parameters cannot be set.
    void (*set_parameters)(void *self, const float *theta);
    // hv (n, dim) = H(x_i) v_i, H the Hessian of E in x; v (n, dim); e (n), dx (n, dim) may be
    // NULL. NULL: it has no Hessian.
    void (*hessian_vector)(const void *self, void *workspace, size_t n, const float *x,
                           const float *v, float *e, float *dx, float *hv);
    // hv for another v at the n and x of the last hessian_vector in this workspace. NULL: it costs
    // as much as that.
    void (*hessian_again)(const void *self, void *workspace, size_t n, const float *x,
                          const float *v, float *hv);
    // Room for hessian_vector in a workspace; called once. NULL: none is needed.
    sr_status (*reserve_hessian)(const void *self, void *workspace);
    void (*destroy)(void *self); // NULL: nothing to release
} sr_energy_ops;

// Takes ownership of self, also when it fails (ops->destroy releases it); the table is copied. dim,
// tile
// >= 1; tile: samples evaluated at a time by one thread. The result for a sample may depend on its
// place in the tile at most.
SR_API sr_status sr_energy_create(const sr_energy_ops *ops, void *self, size_t dim,
                                  size_t parameters, size_t tile, sr_energy **out);
SR_API void sr_energy_destroy(sr_energy *energy);
SR_API size_t sr_energy_dim(const sr_energy *energy);
SR_API size_t sr_energy_tile(const sr_energy *energy);
// Rows whose gradient in theta is one sum, to which others are added in order.
SR_API size_t sr_energy_gradient_tile(const sr_energy *energy);
SR_API size_t sr_energy_parameters(const sr_energy *energy);

// A network with one output. tile 0 chooses one from the network alone. Parameters are set with
// sr_energy_set_parameters; before that they are zero. SR_ERROR_ARGUMENT when the outputs are not
// one.
SR_API sr_status sr_energy_network(const sr_net *net, sr_engine engine, sr_precision precision,
                                   size_t tile, sr_energy **out);
// The same with an engine for each layer, engines (layer_count), none of them auto.
SR_API sr_status sr_energy_network_layers(const sr_net *net, const sr_engine *engines,
                                          sr_precision precision, size_t tile, sr_energy **out);
// theta (parameters), copied. Must not run while the energy is evaluated. An energy without
// parameters ignores it.
SR_API void sr_energy_set_parameters(sr_energy *energy, const float *theta);
SR_API const sr_plan *sr_energy_plan(const sr_energy *energy); // NULL if not a network

// Closed forms: E(x) = -log density (up to a constant where said), computed in double inside.
// Arrays are copied. SR_ERROR_ARGUMENT names what is out of range. Mixture of `count` isotropic
// Gaussians: centres (count, dim), deviation, weights (count; NULL: equal; they need not sum to
// one).
SR_API sr_status sr_energy_gaussian_mixture(size_t dim, size_t count, const double *centres,
                                            double deviation, const double *weights,
                                            sr_energy **out);
// Rings in 2-D: radii (count), each ring's radial profile Gaussian of the given deviation; E up to
// a constant: E = -log sum_r exp(-(|x| - R_r)^2 / (2 deviation^2)); its gradient at the origin is
// taken as 0.
SR_API sr_status sr_energy_rings(size_t count, const double *radii, double deviation,
                                 sr_energy **out);
// E = |x|^2 / (2 deviation^2), any dimension.
SR_API sr_status sr_energy_quadratic(size_t dim, double deviation, sr_energy **out);

// A user's own function, called for n samples at a time, from several threads at once:
// e (n), dx (n, dim) may be NULL.
typedef void (*sr_energy_callback)(void *user, size_t n, size_t dim, const float *x, float *e,
                                   float *dx);
SR_API sr_status sr_energy_function(size_t dim, sr_energy_callback callback, void *user,
                                    sr_energy **out);

// One thread's scratch; the energy must outlive it.
SR_API sr_status sr_energy_workspace_create(const sr_energy *energy, sr_energy_workspace **out);
SR_API void sr_energy_workspace_destroy(sr_energy_workspace *workspace);
SR_API double *
sr_energy_workspace_seconds(sr_energy_workspace *workspace); // SR_PHASE_COUNT, never NULL

// One tile, by one thread: n <= tile. See sr_energy_ops. gradient_theta: only where there are
// parameters; weight (n), NULL: all ones.
SR_API void sr_energy_evaluate(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                               const float *x, float *e, float *dx);
SR_API void sr_energy_gradient_theta(const sr_energy *energy, sr_energy_workspace *workspace,
                                     size_t n, const float *x, const float *weight, float *e,
                                     float *dtheta);

// SR_OK where the energy has a Hessian that says something; else SR_ERROR_UNSUPPORTED with the
// reason: a function of a user's without one, or a network whose activation has no curvature (relu,
// leaky_relu: the Hessian is zero almost everywhere and blind to the kinks).
SR_API sr_status sr_energy_check_hessian(const sr_energy *energy);
// Room for Hessian-vector products in this workspace; the first call allocates, others do nothing.
SR_API sr_status sr_energy_reserve_hessian(sr_energy_workspace *workspace);
// Hessian-vector products hv (n, dim) = H(x_i) v_i of x, v (n, dim), n <= tile: forward over
// reverse, the tangent of the gradient in the direction v (Pearlmutter 1994). e (n), dx (n, dim) or
// NULL. Only after sr_energy_reserve_hessian, and not between load and store.
SR_API void sr_energy_hessian_vector(const sr_energy *energy, sr_energy_workspace *workspace,
                                     size_t n, const float *x, const float *v, float *e, float *dx,
                                     float *hv);
// The same bits of hv for another direction v at the same n and x as the last
// sr_energy_hessian_vector in this workspace, parameters unchanged: about half the time where the
// energy is a network on the native engine, the same elsewhere.
SR_API void sr_energy_hessian_again(const sr_energy *energy, sr_energy_workspace *workspace,
                                    size_t n, const float *x, const float *v, float *hv);

// A tile of chains that stays in the workspace for many steps x <- update(x, grad E(x)), to the
// same bits as sr_energy_evaluate followed by the normals and the update of sr_kernels. Only where
// sr_energy_is_resident says true.
SR_API bool sr_energy_is_resident(const sr_energy *energy);
SR_API void sr_energy_load(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                           const float *x);
SR_API void sr_energy_step(const sr_energy *energy, sr_energy_workspace *workspace,
                           const sr_update *update);
SR_API void sr_energy_store(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                            float *x);

// Many threads' scratch and the batch drivers on it. Tiles are fixed by the energy, reductions run
// in the order of the tiles: the same bits for any number of threads. The energy must outlive the
// team; one team is used by one caller at a time. threads 0: all of the machine's.
typedef struct sr_team sr_team;
SR_API sr_status sr_team_create(const sr_energy *energy, unsigned threads, sr_team **out);
SR_API void sr_team_destroy(sr_team *team);
SR_API const sr_energy *sr_team_energy(const sr_team *team);
SR_API unsigned sr_team_threads(const sr_team *team);
SR_API sr_energy_workspace *sr_team_workspace(sr_team *team, unsigned thread);
// Sum over threads of the seconds per phase: seconds (SR_PHASE_COUNT); then resets them if asked.
SR_API void sr_team_seconds(sr_team *team, bool reset, double *seconds);

// The clock of layers (sr_workspace_time_layers) in all threads' workspaces; nothing happens where
// the energy is not a network.
SR_API void sr_team_time_layers(sr_team *team, bool on);
// Sum over threads: seconds (layer_count, SR_DIRECTION_COUNT), zeros while the clock is off; then
// starts anew from zero if asked. Where the energy is not a network, nothing is written.
SR_API void sr_team_layer_seconds(sr_team *team, bool reset, double *seconds);

// Any n: e (n), dx (n, dim) or NULL.
SR_API void sr_team_evaluate(sr_team *team, size_t n, const float *x, float *e, float *dx);
// Any n: dtheta (parameters) = sum_i weight_i dE(x_i)/dtheta; e (n) or NULL; weight NULL: all ones.
// Allocates its partial sums on first use for this n. SR_ERROR_UNSUPPORTED without parameters.
SR_API sr_status sr_team_gradient_theta(sr_team *team, size_t n, const float *x,
                                        const float *weight, float *e, float *dtheta);
// Any n: hv (n, dim) = H(x_i) v_i; e (n), dx (n, dim) or NULL. Allocates on first use. Errors:
// those of sr_energy_check_hessian, memory.
SR_API sr_status sr_team_hessian_vector(sr_team *team, size_t n, const float *x, const float *v,
                                        float *e, float *dx, float *hv);

#ifdef __cplusplus
}
#endif
#endif
