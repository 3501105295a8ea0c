// The gradient flow with steps chosen by error control: ERKStep of SUNDIALS' ARKODE with the
// embedded pair of Dormand and Prince (1980), orders 5 and 4, and ARKODE's PID controller. One
// chain at a time, so that a chain's steps, and with them its bits, hang on nothing but the chain.
#include "dynamics/adaptive.h"

#ifdef SR_SUNDIALS
#include <arkode/arkode_erkstep.h>
#include <nvector/nvector_serial.h>

#include <math.h>

// Internal steps between two calls of sr_adaptive_advance after which a chain is given up: far more
// than any flow that is worth integrating by an explicit method takes.
#define STEPS_MAX 100000
// A solver that fails so few gradients (some thirty steps) after one that was not finite has come
// to the edge of where the energy is, not to a flow that is too stiff.
#define NEAR_EDGE 200
// The first step that is tried, as a share of the time between two states: a guess of ours in place
// of ARKODE's, which would hang on the time of the first look. A bad one costs a few rejections.
#define FIRST_STEP 0.1

struct sr_adaptive {
    const sr_energy *energy;
    sr_energy_workspace *workspace;
    size_t dim, steps;
    double step_size, time;
    size_t since;            // gradients since the last one that was not finite
    bool broken;             // the chain ended where they are not
    float *point, *gradient; // (dim) what the energy takes and gives
    SUNContext context;
    N_Vector state; // (dim)
    void *solver;
};

bool sr_adaptive_available(void) {
    return true;
}

// dx/dt = -grad E(x), an ARKRhsFn. A trial step may overshoot to where the gradient is not finite,
// which ERKStep would take for the end: such a velocity is made so large instead that the error
// test fails and a shorter step is tried.
static int flow(sunrealtype t, N_Vector x, N_Vector velocity, void *user) {
    sr_adaptive *a = user;
    const double *from = N_VGetArrayPointer(x);
    double *to = N_VGetArrayPointer(velocity);
    for (size_t i = 0; i < a->dim; i++)
        a->point[i] = (float)from[i];
    sr_energy_evaluate(a->energy, a->workspace, 1, a->point, NULL, a->gradient);
    bool all_finite = true;
    for (size_t i = 0; i < a->dim; i++) {
        const bool finite = isfinite(a->gradient[i]);
        to[i] = finite ? -(double)a->gradient[i] : 1e100; // its square is a double still
        all_finite = all_finite && finite;
    }
    a->since = all_finite ? a->since + 1 : 0;
    return 0;
}

// ARKODE would print; what went wrong is told by the caller.
static void keep_silent(int code, const char *module, const char *function, char *message,
                        void *user) {
}

static bool configure(sr_adaptive *a, double tolerance) {
    void *s = a->solver;
    return ERKStepSetErrHandlerFn(s, keep_silent, NULL) == ARK_SUCCESS &&
           ERKStepSetUserData(s, a) == ARK_SUCCESS &&
           ERKStepSetTableNum(s, ARKODE_DORMAND_PRINCE_7_4_5) == ARK_SUCCESS &&
           ERKStepSetInterpolantDegree(s, 3) == ARK_SUCCESS && // needs no gradients of its own
           ERKStepSStolerances(s, tolerance, tolerance) == ARK_SUCCESS &&
           ERKStepSetInitStep(s, FIRST_STEP * a->step_size) == ARK_SUCCESS &&
           ERKStepSetMaxErrTestFails(s, 50) == ARK_SUCCESS && // of one step; 7 by default
           ERKStepSetMaxNumSteps(s, STEPS_MAX) == ARK_SUCCESS;
}

sr_status sr_adaptive_create(const sr_energy *energy, sr_energy_workspace *workspace,
                             const sr_dynamics *dynamics, sr_adaptive **out) {
    *out = NULL;
    sr_adaptive *a = sr_alloc(1, sizeof *a);
    if (!a)
        return SR_ERROR_MEMORY;
    *a = (sr_adaptive){.energy = energy,
                       .workspace = workspace,
                       .dim = sr_energy_dim(energy),
                       .steps = dynamics->steps,
                       .step_size = dynamics->step_size};
    a->point = sr_alloc(a->dim, sizeof(float));
    a->gradient = sr_alloc(a->dim, sizeof(float));
    if (!a->point || !a->gradient)
        goto fail;
    if (SUNContext_Create(NULL, &a->context) == 0 &&
        (a->state = N_VNew_Serial((sunindextype)a->dim, a->context))) {
        N_VConst(0, a->state);
        a->solver = ERKStepCreate(flow, 0, a->state, a->context);
    }
    if (!a->solver || !configure(a, dynamics->tolerance)) {
        sr_fail(SR_ERROR_MEMORY, "out of memory: the adaptive integrator for %zu dimensions",
                a->dim);
        goto fail;
    }
    *out = a;
    return SR_OK;
fail:
    sr_adaptive_destroy(a);
    return SR_ERROR_MEMORY;
}

void sr_adaptive_destroy(sr_adaptive *a) {
    if (!a)
        return;
    if (a->solver)
        ERKStepFree(&a->solver);
    if (a->state)
        N_VDestroy(a->state);
    if (a->context)
        SUNContext_Free(&a->context);
    sr_free(a->point);
    sr_free(a->gradient);
    sr_free(a);
}

void sr_adaptive_begin(sr_adaptive *a, const float *x) {
    double *state = N_VGetArrayPointer(a->state);
    for (size_t i = 0; i < a->dim; i++)
        state[i] = x[i];
    a->time = 0;
    a->since = NEAR_EDGE;
    a->broken = false;
    // they fail only without memory of a solver: the arguments are those of its creation
    ERKStepReInit(a->solver, flow, 0, a->state);
    ERKStepSetStopTime(a->solver, (double)a->steps * a->step_size);
}

bool sr_adaptive_advance(sr_adaptive *a, size_t k, float *x) {
    const double *state = N_VGetArrayPointer(a->state);
    if (!a->broken) {
        const int code =
            ERKStepEvolve(a->solver, (double)k * a->step_size, a->state, &a->time, ARK_NORMAL);
        a->broken = code < 0 && a->since < NEAR_EDGE;
        if (code < 0 && !a->broken)
            return false;
    }
    for (size_t i = 0; i < a->dim; i++)
        x[i] = a->broken ? NAN : (float)state[i];
    return true;
}

double sr_adaptive_time(const sr_adaptive *a) {
    return a->time;
}

#else // without SUNDIALS: sr_dynamics_check refuses before any of these is reached

bool sr_adaptive_available(void) {
    return false;
}

sr_status sr_adaptive_create(const sr_energy *energy, sr_energy_workspace *workspace,
                             const sr_dynamics *dynamics, sr_adaptive **out) {
    *out = NULL;
    return sr_fail(SR_ERROR_UNSUPPORTED, "this build has no SUNDIALS");
}

void sr_adaptive_destroy(sr_adaptive *adaptive) {
}

void sr_adaptive_begin(sr_adaptive *adaptive, const float *x) {
}

bool sr_adaptive_advance(sr_adaptive *adaptive, size_t k, float *x) {
    return false;
}

double sr_adaptive_time(const sr_adaptive *adaptive) {
    return 0;
}

#endif
