// The settings of the dynamics: names, ranges, temperature.
#include <shortrun/dynamics.h>

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
    return check_start(dynamics);
}

double sr_dynamics_temperature(const sr_dynamics *dynamics) {
    return dynamics->noise * dynamics->noise / (2 * dynamics->step_size);
}
