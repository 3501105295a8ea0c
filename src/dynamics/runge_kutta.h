// The explicit Runge-Kutta methods of the flow of -grad E. Private to the dynamics and to what
// follows the same flow: the density that they induce.
#ifndef SHORTRUN_DYNAMICS_RUNGE_KUTTA_H
#define SHORTRUN_DYNAMICS_RUNGE_KUTTA_H

#include "shortrun/dynamics.h"

// A method of which each stage looks only at the one before it: stage j is taken at
// x + reach[j] s v, v the velocity of stage j - 1; x moves by s sum_j weight[j] v_j.
typedef struct sr_runge_kutta {
    size_t stages;
    double reach[4], weight[4];
} sr_runge_kutta;

// The method of Heun or the classical one of order 4; NULL: another integrator.
const sr_runge_kutta *sr_runge_kutta_of(sr_integrator integrator);

#endif
