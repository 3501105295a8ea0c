// Names, defaults and ranges of the density module's settings.
#include <shortrun/density.h>

#include <math.h>
#include <string.h>

static const char *const log_det_names[] = {"exact", "series", "trace"};
static const char *const probe_names[] = {"rademacher", "gaussian"};
enum {
    LOG_DETS = sizeof log_det_names / sizeof *log_det_names,
    PROBES = sizeof probe_names / sizeof *probe_names
};

const char *sr_log_det_name(sr_log_det method) {
    return (size_t)method < LOG_DETS ? log_det_names[method] : "?";
}

sr_status sr_log_det_parse(const char *name, sr_log_det *out) {
    for (size_t i = 0; i < LOG_DETS; i++)
        if (strcmp(name, log_det_names[i]) == 0) {
            *out = (sr_log_det)i;
            return SR_OK;
        }
    return sr_fail(SR_ERROR_ARGUMENT,
                   "unknown method '%s' of log det; it is one of: exact, series, trace", name);
}

const char *sr_probe_name(sr_probe probe) {
    return (size_t)probe < PROBES ? probe_names[probe] : "?";
}

sr_status sr_probe_parse(const char *name, sr_probe *out) {
    for (size_t i = 0; i < PROBES; i++)
        if (strcmp(name, probe_names[i]) == 0) {
            *out = (sr_probe)i;
            return SR_OK;
        }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown probe '%s'; it is one of: rademacher, gaussian",
                   name);
}

void sr_density_options_default(size_t dim, sr_density_options *options) {
    *options = (sr_density_options){.method = dim <= 64 ? SR_LOG_DET_EXACT : SR_LOG_DET_SERIES,
                                    .probe = SR_PROBE_RADEMACHER,
                                    .probes = 8,
                                    .terms = 4,
                                    .roulette = 0.5,
                                    .seed = 1,
                                    .iterations = 200,
                                    .tolerance = 1e-5};
}

static sr_status check_count(const char *field, size_t value, size_t low, size_t high) {
    if (value < low || value > high)
        return sr_fail(SR_ERROR_ARGUMENT, "%s must lie between %zu and %zu, found %zu", field, low,
                       high, value);
    return SR_OK;
}

sr_status sr_density_options_check(size_t dim, const sr_density_options *options) {
    if ((size_t)options->method >= LOG_DETS || (size_t)options->probe >= PROBES)
        return sr_fail(SR_ERROR_ARGUMENT, "unknown method %d or probe %d", (int)options->method,
                       (int)options->probe);
    if (options->method == SR_LOG_DET_EXACT && dim > SR_EXACT_DIM_MAX)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "method exact takes at most %d dimensions, found %zu: each state would need "
                       "%zu Hessian-vector products and a matrix of %.0f MB; take series or trace",
                       SR_EXACT_DIM_MAX, dim, dim, 8e-6 * (double)dim * (double)dim);
    if (options->method != SR_LOG_DET_EXACT && check_count("probes", options->probes, 2, 1u << 20))
        return SR_ERROR_ARGUMENT;
    if (check_count("terms", options->terms, 1, 1000) ||
        check_count("iterations", options->iterations, 1, 1000000) ||
        check_count("lanczos", options->lanczos, 0, 100000))
        return SR_ERROR_ARGUMENT;
    if (!(options->roulette > 0 && options->roulette < 1))
        return sr_fail(SR_ERROR_ARGUMENT, "roulette must lie between 0 and 1, found %g",
                       options->roulette);
    if (!(options->tolerance >= 1e-7 && options->tolerance <= 1))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "tolerance must lie between 1e-7 (states are single precision) and 1, "
                       "found %g",
                       options->tolerance);
    return SR_OK;
}
