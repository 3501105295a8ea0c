// Micro-benchmarks: the element kernels on every instruction set of this machine; every direction
// of the networks' layers, and gradients, steps of the dynamics and training iterations of whole
// networks, on every engine, in every precision, on one thread and on all; the Frechet distance.
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
            c->kernels->activation(c->activation, ELEMENTS, x.a, x.c, x.d, NULL);
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

// Who computes.
typedef struct computer {
    sr_engine engine;
    sr_precision precision;
    unsigned threads;
} computer;

typedef struct net_case {
    const char *name, *model;
    size_t batch;
    computer by;
} net_case;

// Everyone who can, but for the scalar reference: it takes seconds a step. bf16x3 that runs as fp32
// is no precision of its own.
static size_t computers(computer out[]) {
    const sr_engine engines[] = {SR_ENGINE_NATIVE, SR_ENGINE_ONEDNN};
    const unsigned counts[] = {1, sr_cpu_get()->threads};
    size_t n = 0;
    for (size_t e = 0; e < 2; e++)
        for (sr_precision p = SR_FP32; p < SR_PRECISION_COUNT; p++)
            for (size_t t = 0; t < (counts[1] > 1 ? 2 : 1); t++) {
                if (!sr_engine_available(engines[e]) || !sr_precision_available(engines[e], p) ||
                    (p == SR_BF16X3 && !sr_cpu_get()->amx_bf16))
                    continue;
                out[n++] = (computer){engines[e], p, counts[t]};
            }
    return n;
}
enum { COMPUTERS = 12 };

static void name_it(char *out, size_t size, const char *work, const char *what,
                    const computer *by) {
    snprintf(out, size, "%s/%s/%s/%s/threads:%u", work, what, sr_engine_name(by->engine),
             sr_precision_name(by->precision), by->threads);
}

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
        status = sr_energy_network(&s->net, c->by.engine, c->by.precision, 0, &s->energy);
    if (status == SR_OK)
        status = sr_team_create(s->energy, c->by.threads, &s->team);
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

// With energies and gradients, as gradient_x: their times may be divided.
static void hessian_vector(bench_state *state, void *user) {
    const net_case *c = user;
    net_setup s;
    if (setup_make(state, c, &s)) {
        const size_t n = c->batch * s.net.inputs;
        float *v = sr_alloc(n, sizeof *v), *hv = sr_alloc(n, sizeof *hv);
        if (v && hv)
            sr_start_fill(SR_START_GAUSSIAN, 2, 0, 0, c->batch, s.net.inputs, v);
        else
            bench_skip(state, sr_error_message());
        while (bench_running(state)) {
            if (sr_team_hessian_vector(s.team, c->batch, s.x, v, s.e, s.dx, hv) != SR_OK)
                bench_skip(state, sr_error_message());
        }
        bench_rate(state, "flops", 8.0 * sr_net_multiply_adds(&s.net) * (double)c->batch);
        sr_free(v);
        sr_free(hv);
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

// A training iteration with K = 20 on noise in place of data; nothing is to move, so nothing
// diverges.
static void training(bench_state *state, void *user) {
    const net_case *c = user;
    enum { STEPS = 20 };
    sr_net net;
    sr_trainer *trainer = NULL;
    sr_train_report report;
    sr_train_options o;
    sr_dataset data = {.name = "noise", .count = c->batch};
    sr_status status = sr_net_parse(c->model, &net);
    if (status == SR_OK) {
        data.channels = net.channels;
        data.height = net.height;
        data.width = net.width;
        data.dim = net.inputs;
        data.x = sr_alloc(data.count, data.dim * sizeof *data.x);
        sr_train_options_default(&o, net.height > 1);
        o.engine = c->by.engine;
        o.precision = c->by.precision;
        o.threads = c->by.threads;
        o.batch = c->batch;
        o.iterations = 1000000;
        o.rate = 1e-9;
        o.gap_bound = 0;
        o.spectral_iterations = 0; // what others measure as well
        o.dynamics.steps = STEPS;
        o.dynamics.step_size = 1e-6;
        o.dynamics.noise = 1e-6;
        status = data.x ? sr_trainer_create(&net, &data, &o, &trainer) : SR_ERROR_MEMORY;
    }
    if (status == SR_OK)
        sr_start_fill(SR_START_UNIFORM, 1, 0, 0, data.count, data.dim, data.x);
    else
        bench_skip(state, sr_error_message());
    while (bench_running(state)) {
        if (sr_trainer_step(trainer, &report) != SR_OK)
            bench_skip(state, sr_error_message());
    }
    if (status == SR_OK)
        bench_rate(state, "flops",
                   2.0 * sr_net_multiply_adds(&net) * (double)c->batch * (2 * STEPS + 6));
    sr_trainer_destroy(trainer);
    sr_free(data.x);
}

static void register_nets(void) {
    static const struct {
        const char *name, *model;
        size_t batch;
    } nets[] = {
        {"mlp_2_128_128", "mlp:dim=2,widths=128x128,activation=silu", 256},
        {"convnet_1x28_nf8", "convnet:channels=1,size=28,nf=8,activation=leaky_relu", 64},
        {"convnet_1x32_nf32", "convnet:channels=1,size=32,nf=32,activation=silu", 64},
        {"convnet_3x32_nf64", "convnet:channels=3,size=32,nf=64,activation=silu", 64},
    };
    static const struct {
        const char *name;
        bench_body body;
    } works[] = {{"gradient_x", gradient_x},
                 {"gradient_theta", gradient_theta},
                 {"dynamics_10", dynamics},
                 {"training_20", training}};
    enum { NETS = 4, WORKS = 4 };
    static net_case cases[NETS][COMPUTERS];
    computer by[COMPUTERS];
    const size_t count = computers(by);
    char name[128];
    for (int w = 0; w < WORKS; w++)
        for (int n = 0; n < NETS; n++)
            for (size_t i = 0; i < count; i++) {
                cases[n][i] = (net_case){nets[n].name, nets[n].model, nets[n].batch, by[i]};
                name_it(name, sizeof name, works[w].name, nets[n].name, &by[i]);
                bench_register(name, works[w].body, &cases[n][i], true);
            }
}

// Products beside the gradients of the same smooth networks: what a product costs in gradients.
static void register_products(void) {
    static const struct {
        const char *name, *model;
        size_t batch;
        bool gradient; // not among register_nets'
    } nets[] = {
        {"mlp_2_128_128", "mlp:dim=2,widths=128x128,activation=silu", 256, false},
        {"convnet_1x28_nf8_silu", "convnet:channels=1,size=28,nf=8,activation=silu", 64, true},
        {"convnet_1x28_nf32", "convnet:channels=1,size=28,nf=32,activation=silu", 64, true},
        {"convnet_3x32_nf64", "convnet:channels=3,size=32,nf=64,activation=silu", 64, false},
    };
    enum { NETS = sizeof nets / sizeof *nets };
    static net_case cases[NETS][COMPUTERS];
    computer by[COMPUTERS];
    const size_t count = computers(by);
    char name[128];
    for (int n = 0; n < NETS; n++)
        for (size_t i = 0; i < count; i++) {
            cases[n][i] = (net_case){nets[n].name, nets[n].model, nets[n].batch, by[i]};
            name_it(name, sizeof name, "hessian_vector", nets[n].name, &by[i]);
            bench_register(name, hessian_vector, &cases[n][i], true);
            name_it(name, sizeof name, "gradient_x", nets[n].name, &by[i]);
            if (nets[n].gradient)
                bench_register(name, gradient_x, &cases[n][i], true);
        }
}

// ---- layers -------------------------------------------------------------------------------------

typedef struct layer_case {
    sr_net net; // the layer alone
    sr_direction direction;
    size_t batch; // of all threads
    computer by;
} layer_case;

// One thread's arrays.
typedef struct layer_thread {
    sr_workspace *workspace;
    float *x, *dx, *dtheta;
} layer_thread;

static sr_status layer_thread_make(const layer_case *c, const sr_plan *plan, size_t rows,
                                   layer_thread *t) {
    t->x = sr_alloc(rows * c->net.inputs, sizeof(float));
    t->dx = sr_alloc(rows * c->net.inputs, sizeof(float));
    t->dtheta = sr_alloc(c->net.parameters, sizeof(float));
    if (!t->x || !t->dx || !t->dtheta)
        return SR_ERROR_MEMORY;
    sr_start_fill(SR_START_UNIFORM, 1, 0, 0, rows, c->net.inputs, t->x);
    const sr_status status = sr_workspace_create(plan, &t->workspace);
    if (status == SR_OK)
        sr_workspace_time_layers(t->workspace, true);
    return status;
}

// Seconds that one direction took in the mean over the threads, by the clock of layers: activation
// included, changes of layout at the ends of the chain not.
static double layer_seconds(const layer_case *c, const layer_thread *threads) {
    double sum = 0;
    for (unsigned t = 0; t < c->by.threads; t++)
        sum += sr_workspace_layer_seconds(threads[t].workspace)[c->direction];
    return sum / c->by.threads;
}

static void layer(bench_state *state, void *user) {
    const layer_case *c = user;
    const size_t rows = c->batch / c->by.threads; // of each thread; tiles are powers of two
    const size_t best = sr_plan_best_tile(&c->net, c->by.engine, c->by.precision);
    const size_t tile = best < rows ? best : rows;
    sr_plan *plan = NULL;
    float *theta = sr_alloc(c->net.parameters, sizeof *theta);
    layer_thread *threads = sr_alloc(c->by.threads, sizeof *threads);
    sr_status status = theta && threads ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_plan_create(&c->net, tile, c->by.engine, c->by.precision, &plan);
    for (unsigned t = 0; t < c->by.threads && status == SR_OK; t++)
        status = layer_thread_make(c, plan, rows, &threads[t]);
    if (status == SR_OK) {
        sr_net_init(&c->net, 1, theta);
        sr_plan_set_weights(plan, theta);
    } else {
        bench_skip(state, sr_error_message());
    }
    while (bench_running(state)) {
        const double before = layer_seconds(c, threads);
#pragma omp parallel for num_threads(c->by.threads) schedule(static)
        for (size_t i = 0; i < c->by.threads * (rows / tile); i++) {
            layer_thread *own = &threads[i / (rows / tile)];
            if (c->direction == SR_BACKWARD_WEIGHTS)
                sr_plan_gradient_theta(plan, own->workspace, tile, own->x, NULL, NULL, NULL, NULL,
                                       own->dtheta);
            else
                sr_plan_gradient_x(plan, own->workspace, tile, own->x, NULL, NULL, own->dx);
        }
        bench_seconds(state, layer_seconds(c, threads) - before);
    }
    bench_rate(state, "flops", 2.0 * sr_net_multiply_adds(&c->net) * (double)c->batch);
    for (unsigned t = 0; threads && t < c->by.threads; t++) {
        sr_workspace_destroy(threads[t].workspace);
        sr_free(threads[t].x);
        sr_free(threads[t].dx);
        sr_free(threads[t].dtheta);
    }
    sr_plan_destroy(plan);
    sr_free(threads);
    sr_free(theta);
}

// Layer l of a network as a network of its own.
static sr_net layer_alone(const sr_net *net, size_t l) {
    const sr_layer *of = &net->layers[l];
    const sr_conv_shape *s = &of->shape;
    sr_net alone = {.channels = s->in_channels,
                    .height = s->in_height,
                    .width = s->in_width,
                    .inputs = s->in_channels * s->in_height * s->in_width,
                    .outputs = s->out_channels * s->out_height * s->out_width,
                    .parameters = of->bias - of->weight + s->out_channels,
                    .layer_count = 1,
                    .layers = {*of}};
    alone.layers[0].bias -= alone.layers[0].weight;
    alone.layers[0].weight = 0;
    return alone;
}

static void register_layers(void) {
    static const char *const models[] = {"convnet:channels=1,size=32,nf=32,activation=silu",
                                         "convnet:channels=3,size=32,nf=64,activation=silu",
                                         "mlp:dim=2,widths=128x128,activation=silu"};
    static const char *const works[] = {"layer_forward", "layer_backward_data",
                                        "layer_backward_weights"};
    enum { MODELS = 3, LAYERS = 5, BATCH = 64 };
    static layer_case cases[MODELS][LAYERS][SR_DIRECTION_COUNT][COMPUTERS];
    computer by[COMPUTERS];
    const size_t count = computers(by);
    for (int m = 0; m < MODELS; m++) {
        sr_net net;
        if (sr_net_parse(models[m], &net) != SR_OK)
            continue;
        for (size_t l = 0; l < net.layer_count && l < LAYERS; l++)
            for (int d = 0; d < SR_DIRECTION_COUNT; d++)
                for (size_t i = 0; i < count; i++) {
                    layer_case *c = &cases[m][l][d][i];
                    const sr_conv_shape *s = &net.layers[l].shape;
                    char shape[96], name[160];
                    *c = (layer_case){layer_alone(&net, l), (sr_direction)d, BATCH, by[i]};
                    snprintf(shape, sizeof shape, "%zux%zux%zu_to_%zu_k%zu_s%zu", s->in_channels,
                             s->in_height, s->in_width, s->out_channels, s->kernel_height,
                             s->stride);
                    name_it(name, sizeof name, works[d], shape, &by[i]);
                    bench_register_timed(name, layer, c);
                }
    }
}

// ---- quality ------------------------------------------------------------------------------------

typedef struct quality_case {
    const char *name;
    size_t rows, dim; // of both sets
    unsigned metrics;
} quality_case;

#define PAIRS                                                                                      \
    (1u << SR_KID | 1u << SR_PRECISION | 1u << SR_RECALL | 1u << SR_DENSITY | 1u << SR_COVERAGE |  \
     1u << SR_MMD2_RBF | 1u << SR_ENERGY_DISTANCE | 1u << SR_ONE_NN_ACCURACY)
static quality_case quality_cases[] = {
    {"frechet/2048x64", 2048, 64, 1u << SR_FRECHET},
    {"quality/frechet/10000x2048", 10000, 2048, 1u << SR_FRECHET},
    {"quality/frechet_infinity/10000x2048", 10000, 2048, 1u << SR_FRECHET_INFINITY},
    {"quality/vendi/10000x2048", 10000, 2048, 1u << SR_VENDI},
    {"quality/sliced/10000x2048", 10000, 2048, 1u << SR_SLICED_W2},
    {"quality/c2st/10000x2048", 10000, 2048, 1u << SR_C2ST_ACCURACY},
    {"quality/kid/10000x2048", 10000, 2048, 1u << SR_KID},
    {"quality/pairs/10000x2048", 10000, 2048, PAIRS},
    {"quality/all/10000x2048", 10000, 2048, (1u << SR_METRIC_COUNT) - 1},
};

static void quality(bench_state *state, void *user) {
    const quality_case *c = user;
    size_t values_of = c->rows * c->dim;
    float *rows = sr_alloc(2 * values_of, sizeof *rows);
    sr_metric_options options;
    sr_metric_values values;
    sr_metric_options_default(&options);
    options.which = c->metrics;
    if (!rows)
        bench_skip(state, "out of memory");
    else
        sr_start_fill(SR_START_GAUSSIAN, 1, 0, 0, 2 * c->rows, c->dim, rows);
    while (bench_running(state)) {
        if (sr_metrics(c->rows, rows, c->rows, rows + values_of, c->dim, &options, &values) !=
            SR_OK)
            bench_skip(state, sr_error_message());
    }
    sr_free(rows);
}

int main(int argc, char **argv) {
    register_elements();
    register_layers();
    register_nets();
    register_products();
    for (size_t i = 0; i < sizeof quality_cases / sizeof *quality_cases; i++)
        bench_register(quality_cases[i].name, quality, &quality_cases[i], true);
    return bench_main(argc, argv);
}
