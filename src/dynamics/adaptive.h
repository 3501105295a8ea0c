// The adaptive integrator behind a small interface, so that what needs SUNDIALS stands in one file.
// Private to the module.
#ifndef SR_DYNAMICS_ADAPTIVE_H
#define SR_DYNAMICS_ADAPTIVE_H

#include <shortrun/dynamics.h>

// One thread's solver. It is used for one chain after the other and keeps nothing from the last.
typedef struct sr_adaptive sr_adaptive;

bool sr_adaptive_available(void);
// The settings must have passed sr_dynamics_check; gradients come from `energy` in `workspace`,
// which outlive the solver. Errors: memory, SR_ERROR_UNSUPPORTED without SUNDIALS.
sr_status sr_adaptive_create(const sr_energy *energy, sr_energy_workspace *workspace,
                             const sr_dynamics *dynamics, sr_adaptive **out);
void sr_adaptive_destroy(sr_adaptive *adaptive);
// A chain in state x (dim) at time 0.
void sr_adaptive_begin(sr_adaptive *adaptive, const float *x);
// On to the time of step k, 1 <= k <= steps, later than that of the last call; x (dim) receives the
// state. Times before the last step's are interpolated (cubic Hermite), so that the steps and the
// final state do not hang on who looks on. A chain that comes to where the gradient is not finite
// ends there: its states are NaN from then on. False where the solver gave up; sr_adaptive_time
// then says how far it came.
bool sr_adaptive_advance(sr_adaptive *adaptive, size_t k, float *x);
double sr_adaptive_time(const sr_adaptive *adaptive);

#endif
