// Profiles as JSON. Names of keys are those of the program's other JSON and CSV where they mean the
// same thing.
#include "report/profile.h"

#include <jansson.h>
#include <stdlib.h>

static json_t *machine(void) {
    const sr_cpu *cpu = sr_cpu_get();
    json_t *versions = json_pack("{s:s}", "shortrun", SR_VERSION);
    if (versions && sr_engine_available(SR_ENGINE_ONEDNN))
        json_object_set_new(versions, "onednn", json_string(sr_engine_version(SR_ENGINE_ONEDNN)));
    return json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o}", "cpu", cpu->brand, "isa",
                     sr_isa_name(cpu->active), "avx512_bf16", cpu->avx512_bf16, "amx_bf16",
                     cpu->amx_bf16, "cores", (json_int_t)cpu->cores, "threads",
                     (json_int_t)cpu->threads, "l2_bytes", (json_int_t)cpu->l2, "versions",
                     versions);
}

static json_t *phases(const double *ms, double whole) {
    json_t *object = json_object();
    double sum = 0;
    for (size_t i = 0; i < SR_PHASE_COUNT; i++) {
        json_object_set_new(object, sr_phase_name((sr_phase)i), json_real(ms[i]));
        sum += ms[i];
    }
    json_object_set_new(object, "other", json_real(whole - sum));
    return object;
}

static json_t *layer(const sr_profile *p, size_t l) {
    const sr_layer *of = &p->of.net.layers[l];
    const sr_conv_shape *s = &of->shape;
    json_t *object = json_pack(
        "{s:s, s:s, s:[I,I,I], s:[I,I,I], s:[I,I], s:I, s:I, s:s}", "name", p->layers[l].name,
        "engine", sr_engine_name(p->layers[l].engine), "input", (json_int_t)s->in_channels,
        (json_int_t)s->in_height, (json_int_t)s->in_width, "output", (json_int_t)s->out_channels,
        (json_int_t)s->out_height, (json_int_t)s->out_width, "kernel", (json_int_t)s->kernel_height,
        (json_int_t)s->kernel_width, "stride", (json_int_t)s->stride, "padding",
        (json_int_t)s->padding, "activation", sr_activation_name(of->activation));
    for (int d = 0; object && d < SR_DIRECTION_COUNT; d++) {
        const sr_profile_pass *pass = &p->layers[l].pass[d];
        if (sr_profile_has(p, (sr_direction)d))
            json_object_set_new(object, sr_direction_name((sr_direction)d),
                                json_pack("{s:f, s:f, s:f, s:f, s:f}", "ms", pass->ms, "flop",
                                          pass->flop, "bytes", pass->bytes, "gflops", pass->gflops,
                                          "share", pass->share));
    }
    return object;
}

static json_t *settings(const sr_profile *p) {
    sr_text model = {0};
    sr_net_format(&p->of.net, &model);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f}", "model", sr_text_string(&model), "engine",
                  sr_engine_name(p->of.engine), "precision", sr_precision_name(p->of.precision),
                  "threads", (json_int_t)p->of.threads, "batch", (json_int_t)p->of.batch, "steps",
                  (json_int_t)p->of.steps, "noise", p->of.noise);
    sr_text_clear(&model);
    return object;
}

static json_t *measured(const sr_profile *p) {
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
        "s:f, s:o}",
        "tile", (json_int_t)p->of.tile, "runs_measured", (json_int_t)p->runs, "steps_a_run",
        (json_int_t)p->steps, "ms_per_step", p->step_ms, "ms_per_step_least", p->step_ms_least,
        "ms_per_step_most", p->step_ms_most, "chain_steps_per_s", p->chain_steps_per_s,
        "flop_per_step", p->flop, "gflops", p->gflops, "peak_gflops", p->peak_gflops, "share",
        p->share, "fma_gflops", p->fma_gflops, "fma_share", p->fma_share, "bytes_per_step",
        p->bytes, "gbs", p->gbs, "l2_gbs", p->l2_gbs, "l2_share", p->l2_share, "peak_rss_mb",
        p->peak_memory_mb, "phases", phases(p->phase_ms, p->step_ms));
    json_t *layers = json_array();
    for (size_t l = 0; l < p->of.net.layer_count; l++)
        json_array_append_new(layers, layer(p, l));
    if (!object || json_object_set_new(object, "layers", layers) != 0)
        return object;
    if (p->of.training) {
        json_object_set_new(object, "ms_per_training_iteration", json_real(p->iteration_ms));
        json_object_set_new(object, "training_phases",
                            phases(p->iteration_phase_ms, p->iteration_ms));
    }
    return object;
}

static json_t *profile(const sr_profile *p) {
    json_t *object = settings(p);
    json_t *rest = p->skipped[0] ? json_pack("{s:s}", "skipped", p->skipped) : measured(p);
    json_object_update(object, rest);
    json_decref(rest);
    return object;
}

sr_status sr_profile_json(const sr_profile *profiles, size_t count, sr_text *out) {
    json_t *root = count == 1 ? profile(&profiles[0]) : json_object();
    json_object_set_new(root, "machine", machine());
    json_t *runs = count == 1 ? NULL : json_array();
    for (size_t i = 0; runs && i < count; i++)
        json_array_append_new(runs, profile(&profiles[i]));
    if (runs)
        json_object_set_new(root, "runs", runs);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    if (text)
        sr_text_append(out, "%s\n", text);
    free(text);
    json_decref(root);
    return text ? SR_OK : sr_fail(SR_ERROR_MEMORY, "out of memory while JSON was made");
}
