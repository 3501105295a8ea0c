// The engines by name, and which of them this build has.
#include "kernels/chain.h"

#include <string.h>

static const char *const engine_names[] = {"auto", "scalar", "native", "onednn"};

const char *sr_engine_name(sr_engine engine) {
    return engine_names[engine];
}

sr_status sr_engine_parse(const char *name, sr_engine *out) {
    for (size_t i = 0; i < sizeof engine_names / sizeof *engine_names; i++) {
        if (strcmp(name, engine_names[i]) == 0) {
            *out = (sr_engine)i;
            return SR_OK;
        }
    }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown engine '%s'; allowed: auto, scalar, native, onednn",
                   name);
}

const sr_chain_ops *sr_chain_ops_for(sr_engine engine) {
    switch (engine) {
    case SR_ENGINE_SCALAR:
        return &sr_chain_scalar;
    case SR_ENGINE_NATIVE:
        return &sr_chain_native;
    case SR_ENGINE_ONEDNN:
#ifdef SR_WITH_ONEDNN
        return &sr_chain_onednn;
#endif
    case SR_ENGINE_AUTO:
    default:
        return NULL;
    }
}

bool sr_engine_available(sr_engine engine) {
    return engine == SR_ENGINE_AUTO || sr_chain_ops_for(engine) != NULL;
}

const char *sr_engine_version(sr_engine engine) {
#ifdef SR_WITH_ONEDNN
    if (engine == SR_ENGINE_ONEDNN || engine == SR_ENGINE_AUTO)
        return sr_onednn_version();
#endif
    return "";
}

const char *sr_direction_name(sr_direction direction) {
    static const char *const names[] = {"forward", "backward_data", "backward_weights"};
    return names[direction];
}

static const char *const precision_names[] = {"fp32", "bf16", "bf16x3"};

const char *sr_precision_name(sr_precision precision) {
    return precision_names[precision];
}

sr_status sr_precision_parse(const char *name, sr_precision *out) {
    for (size_t i = 0; i < SR_PRECISION_COUNT; i++) {
        if (strcmp(name, precision_names[i]) == 0) {
            *out = (sr_precision)i;
            return SR_OK;
        }
    }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown precision '%s'; allowed: fp32, bf16, bf16x3", name);
}

bool sr_precision_available(sr_engine engine, sr_precision precision) {
    if (precision == SR_FP32 || engine == SR_ENGINE_NATIVE || engine == SR_ENGINE_AUTO)
        return true;
    // oneDNN has no bfloat16 convolution for CPUs below AVX-512
    return engine == SR_ENGINE_ONEDNN && precision == SR_BF16 &&
           sr_cpu_get()->best >= SR_ISA_AVX512;
}
