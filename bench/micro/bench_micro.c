// Micro-benchmarks: the element kernels on every instruction set of this machine; gradients, steps
// of the dynamics and training iterations of whole networks on every engine; the Frechet distance.
// Flops count a multiply-add as two.  bench_micro --benchmark_filter=dynamics  runs a part.
#include <shortrun/shortrun.h>

#include "bench_shim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- element kernels ----------------------------------------------------------------------------

#define ELEMENTS 4096 // 16 KiB an array: two or three of them stay in L1

typedef struct element_case {
    const sr_kernels *kernels;
    sr_activation activation;
} element_case;

typedef struct arrays {
    float *a, *b, *c, *d;
} arrays;

static bool arrays_make(bench_state *state, arrays *out) {
    *out = (arrays){sr_alloc(ELEMENTS, 4), sr_alloc(ELEMENTS, 4), sr_alloc(ELEMENTS, 4),
                    sr_alloc(ELEMENTS, 4)};
    if (out->a && out->b && out->c && out->d) {
        const sr_stream stream = sr_stream_make(1, SR_PURPOSE_TEST, 0);
        sr_kernels_get()->normal(stream, 0, 0, ELEMENTS, out->a);
        sr_kernels_get()->normal(stream, 1, 0, ELEMENTS, out->b);
        return true;
    }
    bench_skip(state, "out of memory");
    return false;
}

static void arrays_free(arrays *x) {
    sr_free(x->a);
    sr_free(x->b);
    sr_free(x->c);
    sr_free(x->d);
}

static void activation(bench_state *state, void *user) {
    const element_case *c = user;
    arrays x;
    if (arrays_make(state, &x)) {
        while (bench_running(state)) {
            c->kernels->activation(c->activation, ELEMENTS, x.a, x.c, x.d);
            bench_use(x.c);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void normal(bench_state *state, void *user) {
    const element_case *c = user;
    const sr_stream stream = sr_stream_make(1, SR_PURPOSE_TEST, 0);
    arrays x;
    uint32_t step = 0;
    if (arrays_make(state, &x)) {
        while (bench_running(state)) {
            c->kernels->normal(stream, 0, step++, ELEMENTS, x.c);
            bench_use(x.c);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void uniform(bench_state *state, void *user) {
    const element_case *c = user;
    const sr_stream stream = sr_stream_make(1, SR_PURPOSE_TEST, 0);
    arrays x;
    uint32_t step = 0;
    if (arrays_make(state, &x)) {
        while (bench_running(state)) {
            c->kernels->uniform(stream, 0, step++, ELEMENTS, x.c);
            bench_use(x.c);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void update(bench_state *state, void *user) {
    const element_case *c = user;
    arrays x;
    if (arrays_make(state, &x)) {
        while (bench_running(state)) { // x.c drifts slowly and stays finite under the clamp
            c->kernels->update(ELEMENTS, x.c, x.a, x.b, 0.1f, 0.01f, -3.0f, 3.0f);
            bench_use(x.c);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void adam(bench_state *state, void *user) {
    const element_case *c = user;
    arrays x;
    uint64_t t = 1;
    if (arrays_make(state, &x)) {
        memset(x.b, 0, ELEMENTS * sizeof *x.b);
        while (bench_running(state)) {
            c->kernels->adam(ELEMENTS, x.c, x.a, x.b, x.d, 1e-3f, 0.5f, 0.999f, 1e-8f, t++);
            bench_use(x.c);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void sum_squares(bench_state *state, void *user) {
    const element_case *c = user;
    arrays x;
    if (arrays_make(state, &x)) {
        while (bench_running(state)) {
            const double sum = c->kernels->sum_squares(ELEMENTS, x.a);
            bench_use(&sum);
        }
        bench_rate(state, "elements", ELEMENTS);
    }
    arrays_free(&x);
}

static void register_elements(void) {
    static element_case cases[SR_ISA_AMX + 1][SR_ACTIVATION_COUNT];
    static const struct {
        const char *name;
        bench_body body;
    } others[] = {{"normal", normal},
                  {"uniform", uniform},
                  {"update", update},
                  {"adam", adam},
                  {"sum_squares", sum_squares}};
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        const sr_kernels *kernels = sr_kernels_for((sr_isa)isa);
        if (kernels->isa != (sr_isa)isa)
            continue; // not on this machine, or with no kernels of its own
        char name[96];
        for (int a = 0; a < SR_ACTIVATION_COUNT; a++) {
            cases[isa][a] = (element_case){kernels, (sr_activation)a};
            snprintf(name, sizeof name, "activation/%s/%s", sr_activation_name((sr_activation)a),
                     sr_isa_name((sr_isa)isa));
            bench_register(name, activation, &cases[isa][a], false);
        }
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            snprintf(name, sizeof name, "%s/%s", others[i].name, sr_isa_name((sr_isa)isa));
            bench_register(name, others[i].body, &cases[isa][0], false);
        }
    }
}

// ---- networks -----------------------------------------------------------------------------------

typedef struct net_case {
    const char *name, *model;
    size_t batch;
    sr_engine engine;
    unsigned threads;
} net_case;

typedef struct net_setup {
    sr_net net;
    sr_energy *energy;
    sr_team *team;
    float *theta, *x, *dx, *dtheta, *e;
} net_setup;

static void setup_clear(net_setup *s) {
    sr_team_destroy(s->team);
    sr_energy_destroy(s->energy);
    sr_free(s->theta);
    sr_free(s->x);
    sr_free(s->dx);
    sr_free(s->dtheta);
    sr_free(s->e);
}

static bool setup_make(bench_state *state, const net_case *c, net_setup *s) {
    *s = (net_setup){.energy = NULL};
    sr_status status = sr_net_parse(c->model, &s->net);
    if (status == SR_OK)
        status = sr_energy_network(&s->net, c->engine, SR_FP32, 0, &s->energy);
    if (status == SR_OK)
        status = sr_team_create(s->energy, c->threads, &s->team);
    const size_t n = status == SR_OK ? c->batch * s->net.inputs : 0;
    if (status == SR_OK &&
        (!(s->theta = sr_alloc(s->net.parameters, sizeof(float))) ||
         !(s->dtheta = sr_alloc(s->net.parameters, sizeof(float))) ||
         !(s->x = sr_alloc(n, sizeof(float))) || !(s->dx = sr_alloc(n, sizeof(float))) ||
         !(s->e = sr_alloc(c->batch, sizeof(float)))))
        status = SR_ERROR_MEMORY;
    if (status == SR_OK) {
        sr_net_init(&s->net, 1, s->theta);
        sr_energy_set_parameters(s->energy, s->theta);
        sr_start_fill(SR_START_UNIFORM, 1, 0, 0, c->batch, s->net.inputs, s->x);
        return true;
    }
    bench_skip(state, sr_error_message());
    return false;
}

static void gradient_x(bench_state *state, void *user) {
    const net_case *c = user;
    net_setup s;
    if (setup_make(state, c, &s)) {
        while (bench_running(state))
            sr_team_evaluate(s.team, c->batch, s.x, s.e, s.dx);
        bench_rate(state, "flops", 4.0 * sr_net_multiply_adds(&s.net) * (double)c->batch);
    }
    setup_clear(&s);
}

static void gradient_theta(bench_state *state, void *user) {
    const net_case *c = user;
    net_setup s;
    if (setup_make(state, c, &s)) {
        while (bench_running(state)) {
            if (sr_team_gradient_theta(s.team, c->batch, s.x, NULL, s.e, s.dtheta) != SR_OK)
                bench_skip(state, sr_error_message());
        }
        bench_rate(state, "flops", 6.0 * sr_net_multiply_adds(&s.net) * (double)c->batch);
    }
    setup_clear(&s);
}

// Ten noisy steps; a tiny step size and a clamp keep the states where they were.
static void dynamics(bench_state *state, void *user) {
    enum { STEPS = 10 };
    const net_case *c = user;
    const sr_dynamics d = {.steps = STEPS,
                           .step_size = 1e-3,
                           .noise = 1e-3,
                           .noise_last = true,
                           .clamp = 2.0,
                           .start = SR_START_UNIFORM,
                           .restart_from = SR_START_UNIFORM};
    net_setup s;
    uint64_t epoch = 0;
    if (setup_make(state, c, &s)) {
        while (bench_running(state)) {
            if (sr_dynamics_run(s.team, &d, 1, epoch++, 0, c->batch, s.x, NULL) != SR_OK)
                bench_skip(state, sr_error_message());
        }
        const double chain_steps = (double)STEPS * (double)c->batch;
        bench_rate(state, "chain_steps", chain_steps);
        bench_rate(state, "flops", 4.0 * sr_net_multiply_adds(&s.net) * chain_steps);
    }
    setup_clear(&s);
}

static void register_nets(void) {
    static const struct {
        const char *name, *model;
        size_t batch;
    } nets[] = {
        {"mlp_2_128_128", "mlp:dim=2,widths=128x128,activation=silu", 256},
        {"convnet_1x28_nf8", "convnet:channels=1,size=28,nf=8,activation=leaky_relu", 64},
        {"convnet_1x32_nf32", "convnet:channels=1,size=32,nf=32,activation=leaky_relu", 64},
    };
    static const struct {
        const char *name;
        bench_body body;
    } works[] = {
        {"gradient_x", gradient_x}, {"gradient_theta", gradient_theta}, {"dynamics_10", dynamics}};
    static const sr_engine engines[] = {SR_ENGINE_SCALAR, SR_ENGINE_ONEDNN};
    enum { NETS = 3, WORKS = 3, ENGINES = 2, COUNTS = 2 };
    static net_case cases[NETS][ENGINES][COUNTS];
    const unsigned counts[COUNTS] = {1, sr_cpu_get()->threads};
    for (int w = 0; w < WORKS; w++)
        for (int n = 0; n < NETS; n++)
            for (int e = 0; e < ENGINES; e++)
                for (int t = 0; t < (counts[1] > 1 ? COUNTS : 1); t++) {
                    char name[128];
                    if (!sr_engine_available(engines[e]))
                        continue;
                    if (n == 2 && engines[e] == SR_ENGINE_SCALAR)
                        continue; // seconds an iteration
                    cases[n][e][t] = (net_case){nets[n].name, nets[n].model, nets[n].batch,
                                                engines[e], counts[t]};
                    snprintf(name, sizeof name, "%s/%s/%s/threads:%u", works[w].name, nets[n].name,
                             sr_engine_name(engines[e]), counts[t]);
                    bench_register(name, works[w].body, &cases[n][e][t], true);
                }
}

// ---- quality ------------------------------------------------------------------------------------

static void frechet(bench_state *state, void *user) {
    enum { ROWS = 2048, DIM = 64 };
    float *rows = sr_alloc(2 * ROWS * DIM, sizeof *rows);
    sr_metric_options options;
    sr_metric_values values;
    sr_metric_options_default(&options);
    options.which = 1u << SR_FRECHET;
    if (!rows)
        bench_skip(state, "out of memory");
    else
        sr_start_fill(SR_START_GAUSSIAN, 1, 0, 0, 2 * ROWS, DIM, rows);
    while (bench_running(state)) {
        if (sr_metrics(ROWS, rows, ROWS, rows + ROWS * DIM, DIM, &options, &values) != SR_OK)
            bench_skip(state, sr_error_message());
    }
    sr_free(rows);
}

int main(int argc, char **argv) {
    register_elements();
    register_nets();
    bench_register("frechet/2048x64", frechet, NULL, true);
    return bench_main(argc, argv);
}
