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
