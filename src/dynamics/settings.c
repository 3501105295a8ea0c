// The settings of the dynamics: names, ranges, temperature.
#include "dynamics/adaptive.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *const start_names[] = {"uniform", "gaussian", "data", "persistent"};
enum { STARTS = sizeof start_names / sizeof *start_names };

const char *sr_start_name(sr_start start) {
    return (size_t)start < STARTS ? start_names[start] : "?";
}

sr_status sr_start_parse(const char *name, sr_start *out) {
    for (size_t i = 0; i < STARTS; i++)
        if (strcmp(name, start_names[i]) == 0) {
            *out = (sr_start)i;
            return SR_OK;
        }
    return sr_fail(SR_ERROR_ARGUMENT,
                   "unknown start '%s'; it is one of: uniform, gaussian, data, persistent", name);
}

static const char *const integrator_names[] = {"euler", "heun", "rk4", "adaptive"};
_Static_assert(sizeof integrator_names / sizeof *integrator_names == SR_INTEGRATOR_COUNT,
               "an integrator without a name");

const char *sr_integrator_name(sr_integrator integrator) {
    return (size_t)integrator < SR_INTEGRATOR_COUNT ? integrator_names[integrator] : "?";
}

sr_status sr_integrator_parse(const char *name, sr_integrator *out) {
    for (size_t i = 0; i < SR_INTEGRATOR_COUNT; i++)
        if (strcmp(name, integrator_names[i]) == 0) {
            *out = (sr_integrator)i;
            return SR_OK;
        }
    return sr_fail(SR_ERROR_ARGUMENT,
                   "unknown integrator '%s'; it is one of: euler, heun, rk4, adaptive", name);
}

bool sr_integrator_available(sr_integrator integrator) {
    return integrator != SR_INTEGRATOR_ADAPTIVE || sr_adaptive_available();
}

size_t sr_integrator_gradients(sr_integrator integrator) {
    static const size_t gradients[SR_INTEGRATOR_COUNT] = {1, 2, 4, 0};
    return (size_t)integrator < SR_INTEGRATOR_COUNT ? gradients[integrator] : 0;
}

// Steps run in single precision: a setting must not overflow there.
static sr_status check_finite(const char *field, double value) {
    if (!isfinite(value))
        return sr_fail(SR_ERROR_ARGUMENT, "%s must be finite, found %g", field, value);
    if (fabs(value) > FLT_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "%s must be at most %.3g, found %g", field,
                       (double)FLT_MAX, value);
    return SR_OK;
}

static sr_status check_not_negative(const char *field, double value) {
    if (check_finite(field, value))
        return SR_ERROR_ARGUMENT;
    if (value < 0)
        return sr_fail(SR_ERROR_ARGUMENT, "%s must not be negative, found %g", field, value);
    return SR_OK;
}

static sr_status check_start(const sr_dynamics *dynamics) {
    if ((size_t)dynamics->start >= STARTS)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "start must be uniform, gaussian, data or persistent, found number %d",
                       (int)dynamics->start);
    if (dynamics->start != SR_START_PERSISTENT)
        return SR_OK;
    if ((size_t)dynamics->restart_from >= STARTS || dynamics->restart_from == SR_START_PERSISTENT)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "restart_from must be uniform, gaussian or data, found %s",
                       sr_start_name(dynamics->restart_from));
    if (!(dynamics->restart_rate >= 0 && dynamics->restart_rate <= 1))
        return sr_fail(SR_ERROR_ARGUMENT, "restart_rate must lie between 0 and 1, found %g",
                       dynamics->restart_rate);
    return SR_OK;
}

static sr_status check_integrator(const sr_dynamics *dynamics) {
    const char *name = sr_integrator_name(dynamics->integrator);
    if ((size_t)dynamics->integrator >= SR_INTEGRATOR_COUNT)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "integrator must be euler, heun, rk4 or adaptive, found number %d",
                       (int)dynamics->integrator);
    if (dynamics->integrator == SR_INTEGRATOR_EULER)
        return SR_OK;
    if (dynamics->noise > 0)
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "integrator %s solves the noise-free flow, found noise %g; noise needs euler", name,
            dynamics->noise);
    if (dynamics->clamp > 0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "integrator %s solves a smooth flow, found clamp %g; a clamp needs euler",
                       name, dynamics->clamp);
    if (dynamics->integrator != SR_INTEGRATOR_ADAPTIVE)
        return SR_OK;
    if (!(dynamics->tolerance >= SR_TOLERANCE_LOW && dynamics->tolerance <= SR_TOLERANCE_HIGH))
        return sr_fail(SR_ERROR_ARGUMENT, "tolerance must lie between %g and %g, found %g",
                       SR_TOLERANCE_LOW, SR_TOLERANCE_HIGH, dynamics->tolerance);
    if (!sr_integrator_available(dynamics->integrator))
        return sr_fail(SR_ERROR_UNSUPPORTED, "integrator adaptive: this build has no SUNDIALS; "
                                             "euler, heun and rk4 need none");
    return SR_OK;
}

sr_status sr_dynamics_check(const sr_dynamics *dynamics) {
    if (dynamics->steps < 1)
        return sr_fail(SR_ERROR_ARGUMENT, "steps must be at least 1, found 0");
    // random numbers are counted by a 32-bit step
    if (dynamics->steps > UINT32_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "steps must be at most %u, found %zu", UINT32_MAX,
                       dynamics->steps);
    if (check_finite("step_size", dynamics->step_size))
        return SR_ERROR_ARGUMENT;
    if (!(dynamics->step_size > 0))
        return sr_fail(SR_ERROR_ARGUMENT, "step_size must be positive, found %g",
                       dynamics->step_size);
    if (dynamics->step_size < FLT_MIN)
        return sr_fail(SR_ERROR_ARGUMENT, "step_size must be at least %.3g, found %g",
                       (double)FLT_MIN, dynamics->step_size);
    if (check_not_negative("noise", dynamics->noise) ||
        check_not_negative("clamp", dynamics->clamp))
        return SR_ERROR_ARGUMENT;
    const sr_status status = check_integrator(dynamics);
    return status ? status : check_start(dynamics);
}

double sr_dynamics_temperature(const sr_dynamics *dynamics) {
    return dynamics->noise * dynamics->noise / (2 * dynamics->step_size);
}
