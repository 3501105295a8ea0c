// Hessian-vector products of networks: the double reference against differences of its gradient,
// every engine and precision against the reference, and what holds for all: symmetry, the same bits
// for any threads (native: and any tile), passes that follow untouched by it.
#include <shortrun/energy.h>

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const texts[] = {
    "mlp:dim=2,widths=64x64,activation=silu",
    "mlp:dim=5,widths=3x9x4,activation=softplus,outputs=3",
    "mlp:dim=3,widths=17,activation=gelu",
    "convnet:channels=1,size=28,nf=4,activation=silu",
    "convnet:channels=3,size=32,nf=4,activation=elu",
    "convnet:channels=3,size=12,nf=5,activation=tanh",
    "classifier:channels=3,size=15,nf=3,features=11,classes=4,activation=softplus",
};
enum { TEXTS = sizeof texts / sizeof *texts, SEED = 5 };

static void fill(float *x, size_t n, uint32_t epoch) {
    sr_kernels_get()->normal(sr_stream_make(13, SR_PURPOSE_TEST, epoch), 0, 0, n, x);
}

static float *filled(size_t n, uint32_t epoch) {
    float *x = sr_alloc(n, sizeof *x);
    assert_non_null(x);
    fill(x, n, epoch);
    return x;
}

static double *widen(const float *x, size_t n) {
    double *out = sr_alloc(n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i];
    return out;
}

// A network with its parameters, n states and directions.
typedef struct problem {
    sr_net net;
    size_t n, values; // values: n inputs
    float *theta, *x, *v;
    double *theta64, *x64, *v64;
} problem;

static problem problem_make(const sr_net *net, size_t n) {
    problem p = {.net = *net, .n = n, .values = n * net->inputs};
    p.theta = sr_alloc(net->parameters, sizeof(float));
    assert_non_null(p.theta);
    sr_net_init(net, SEED, p.theta);
    p.x = filled(p.values, 0);
    p.v = filled(p.values, 1);
    p.theta64 = widen(p.theta, net->parameters);
    p.x64 = widen(p.x, p.values);
    p.v64 = widen(p.v, p.values);
    return p;
}

static problem problem_parse(const char *text, size_t n) {
    sr_net net;
    assert_int_equal(sr_net_parse(text, &net), SR_OK);
    return problem_make(&net, n);
}

static void problem_clear(problem *p) {
    sr_free(p->theta), sr_free(p->x), sr_free(p->v);
    sr_free(p->theta64), sr_free(p->x64), sr_free(p->v64);
}

// ---- the reference ------------------------------------------------------------------------------

// Central differences of the gradient: (g(x + h v) - g(x - h v)) / 2h.
static void the_reference_agrees_with_differences(void **state) {
    const double h = 1e-5;
    for (size_t t = 0; t < TEXTS; t++) {
        problem p = problem_parse(texts[t], 2);
        double *hv = sr_alloc(4 * p.values, sizeof *hv), *at = hv + p.values;
        double *up = at + p.values, *down = up + p.values, worst = 0, largest = 0;
        assert_int_equal(
            sr_net_reference_hessian_vector_f64(&p.net, p.theta64, p.n, p.x64, p.v64, hv), SR_OK);
        for (int side = -1; side <= 1; side += 2) {
            for (size_t i = 0; i < p.values; i++)
                at[i] = p.x64[i] + side * h * p.v64[i];
            sr_net_reference_f64(&p.net, p.theta64, p.n, at, NULL, NULL, side < 0 ? down : up,
                                 NULL);
        }
        for (size_t i = 0; i < p.values; i++) {
            worst = fmax(worst, fabs((up[i] - down[i]) / (2 * h) - hv[i]));
            largest = fmax(largest, fabs(hv[i]));
        }
        // elu's second derivative jumps at 0, which h v crosses here and there
        const double bound = strstr(texts[t], "elu,") ? 1e-3 : 1e-7;
        if (!(largest > 0) || worst > bound * largest)
            fail_msg("%s: off by %g of %g", texts[t], worst, largest);
        sr_free(hv);
        problem_clear(&p);
    }
}

// ---- engines ------------------------------------------------------------------------------------

typedef struct engine_case {
    sr_engine engine;
    sr_precision precision;
    double bound; // of the largest entry
} engine_case;

static const engine_case engine_cases[] = {
    {SR_ENGINE_SCALAR, SR_FP32, 1e-5}, {SR_ENGINE_NATIVE, SR_FP32, 1e-5},
    {SR_ENGINE_NATIVE, SR_BF16, 3e-2}, {SR_ENGINE_NATIVE, SR_BF16X3, 2e-4},
    {SR_ENGINE_AUTO, SR_FP32, 1e-5},   {SR_ENGINE_AUTO, SR_BF16, 3e-2},
    {SR_ENGINE_ONEDNN, SR_FP32, 1e-5}, {SR_ENGINE_ONEDNN, SR_BF16, 3e-2},
};
enum { ENGINE_CASES = sizeof engine_cases / sizeof *engine_cases };

static bool available(const engine_case *by) {
    return sr_engine_available(by->engine) && sr_precision_available(by->engine, by->precision);
}

// The error of a as a part of what the case allows. least: the size of the terms that may cancel in
// b. elu's second derivative jumps at 0, and where bfloat16 moves z across it single entries of a
// product are others: `jumps` compares root mean squares, to a quarter.
static double error_of(const engine_case *by, const float *a, const double *b, size_t n,
                       double least, bool jumps) {
    double worst = 0, largest = least, error = 0, square = 1e-30;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]))
            return INFINITY;
        worst = fmax(worst, fabs(a[i] - b[i]));
        largest = fmax(largest, fabs(b[i]));
        error += (a[i] - b[i]) * (a[i] - b[i]);
        square += b[i] * b[i];
    }
    return jumps ? sqrt(error / square) / 0.25 : worst / largest / by->bound;
}

static void check_near(const char *what, const problem *p, const engine_case *by, const float *a,
                       const double *b, size_t n, double least, bool jumps) {
    const double error = error_of(by, a, b, n, least, jumps && by->precision == SR_BF16);
    if (!(error > 1))
        return;
    sr_text name = {0};
    sr_net_format(&p->net, &name);
    fail_msg("%s of %zu, %s, %s in %s: %g times the bound", what, p->n, sr_text_string(&name),
             sr_engine_name(by->engine), sr_precision_name(by->precision), error);
}

// A plan with weights and a workspace that has room for products.
static void plan_make(const problem *p, const engine_case *by, size_t tile, sr_plan **plan,
                      sr_workspace **workspace) {
    assert_int_equal(sr_plan_create(&p->net, tile, by->engine, by->precision, plan), SR_OK);
    sr_plan_set_weights(*plan, p->theta);
    assert_int_equal(sr_workspace_create(*plan, workspace), SR_OK);
    assert_int_equal(sr_workspace_reserve_hessian(*workspace), SR_OK);
    assert_int_equal(sr_workspace_reserve_hessian(*workspace), SR_OK); // does nothing
}

// Products, gradients and outputs against the reference; no bit hangs on what else is asked for,
// and the passes after a product are those before it.
static void check_engine(const sr_net *net, const engine_case *by, size_t tile, size_t n) {
    problem p = problem_make(net, n);
    const size_t outs = n * net->outputs, bytes = p.values * sizeof(float);
    double *out64 = sr_alloc(outs, 8), *dx64 = sr_alloc(p.values, 8), *hv64 = sr_alloc(p.values, 8);
    float *out = sr_alloc(outs, 4), *memory = sr_alloc(p.values, 5 * sizeof(float));
    float *dx = memory, *hv = dx + p.values, *again = hv + p.values;
    float *before = again + p.values, *after = before + p.values;
    float *theta_before = sr_alloc(net->parameters, 4), *theta_after = sr_alloc(net->parameters, 4);
    sr_plan *plan;
    sr_workspace *workspace;
    sr_net_reference_f64(net, p.theta64, n, p.x64, NULL, out64, dx64, NULL);
    sr_net_reference_hessian_vector_f64(net, p.theta64, n, p.x64, p.v64, hv64);
    plan_make(&p, by, tile, &plan, &workspace);
    sr_plan_gradient_theta(plan, workspace, n, p.x, NULL, NULL, NULL, NULL, theta_before);
    sr_plan_gradient_x(plan, workspace, n, p.x, NULL, NULL, before);
    sr_plan_hessian_vector(plan, workspace, n, p.x, p.v, out, dx, hv);
    check_near("outputs", &p, by, out, out64, outs, 0.1, false);
    check_near("gradient", &p, by, dx, dx64, p.values, 1e-30, false);
    check_near("H v", &p, by, hv, hv64, p.values, 1e-30, net->layers[0].activation == SR_ELU);
    sr_plan_hessian_vector(plan, workspace, n, p.x, p.v, NULL, NULL, again);
    assert_memory_equal(hv, again, bytes);
    sr_plan_hessian_vector(plan, workspace, n, p.x, p.x, NULL, NULL, again); // another direction
    sr_plan_hessian_again(plan, workspace, n, p.x, p.v, again);
    assert_memory_equal(hv, again, bytes);
    sr_plan_gradient_theta(plan, workspace, n, p.x, NULL, NULL, NULL, NULL, theta_after);
    sr_plan_gradient_x(plan, workspace, n, p.x, NULL, NULL, after);
    assert_memory_equal(before, after, bytes);
    assert_memory_equal(theta_before, theta_after, net->parameters * sizeof(float));
    if (by->engine == SR_ENGINE_NATIVE && by->precision == SR_FP32)
        assert_memory_equal(before, dx, bytes); // one arithmetic
    sr_workspace_destroy(workspace);
    sr_plan_destroy(plan);
    sr_free(out64), sr_free(dx64), sr_free(hv64), sr_free(out), sr_free(memory);
    sr_free(theta_before), sr_free(theta_after);
    problem_clear(&p);
}

static void engines_agree_with_the_reference(void **state) {
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        for (size_t t = 0; available(by) && t < TEXTS; t++) {
            sr_net net, head;
            assert_int_equal(sr_net_parse(texts[t], &net), SR_OK);
            check_engine(&net, by, 4, 4);
            check_engine(&net, by, 4, 3);
            check_engine(&net, by, 4, 1);
            check_engine(&net, by, 1, 1);
            assert_int_equal(sr_net_truncate(&head, &net, 1), SR_OK); // ends on an activation
            check_engine(&head, by, 18, 17);
        }
    }
}

// An engine for each layer, in turn.
static void engines_may_change_from_layer_to_layer(void **state) {
    if (!sr_engine_available(SR_ENGINE_ONEDNN))
        skip();
    const sr_engine turns[] = {SR_ENGINE_NATIVE, SR_ENGINE_ONEDNN, SR_ENGINE_SCALAR};
    const engine_case by = {SR_ENGINE_AUTO, SR_FP32, 1e-5};
    for (size_t t = 0; t < TEXTS; t++) {
        problem p = problem_parse(texts[t], 3);
        sr_engine engines[SR_MAX_LAYERS];
        for (size_t l = 0; l < p.net.layer_count; l++)
            engines[l] = turns[(l + t) % 3];
        sr_plan *plan;
        sr_workspace *workspace;
        float *hv = sr_alloc(p.values, sizeof *hv);
        double *expected = sr_alloc(p.values, sizeof *expected);
        assert_int_equal(sr_plan_create_layers(&p.net, 5, engines, SR_FP32, &plan), SR_OK);
        assert_int_equal(sr_workspace_create(plan, &workspace), SR_OK);
        assert_int_equal(sr_workspace_reserve_hessian(workspace), SR_OK);
        sr_plan_set_weights(plan, p.theta); // after the room was made: they must arrive there
        sr_plan_hessian_vector(plan, workspace, p.n, p.x, p.v, NULL, NULL, hv);
        sr_net_reference_hessian_vector_f64(&p.net, p.theta64, p.n, p.x64, p.v64, expected);
        check_near("H v", &p, &by, hv, expected, p.values, 1e-30, false);
        sr_workspace_destroy(workspace);
        sr_plan_destroy(plan);
        sr_free(hv), sr_free(expected);
        problem_clear(&p);
    }
}

// u.(H v) = v.(H u) for each sample.
static void products_are_symmetric(void **state) {
    enum { N = 3 };
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        for (size_t t = 0; available(by) && t < TEXTS; t++) {
            problem p = problem_parse(texts[t], N);
            sr_plan *plan;
            sr_workspace *workspace;
            float *u = filled(p.values, 2), *hu = sr_alloc(p.values, 4),
                  *hv = sr_alloc(p.values, 4);
            plan_make(&p, by, N, &plan, &workspace);
            sr_plan_hessian_vector(plan, workspace, N, p.x, u, NULL, NULL, hu);
            sr_plan_hessian_vector(plan, workspace, N, p.x, p.v, NULL, NULL, hv);
            for (size_t i = 0; i < N; i++) {
                double sums[2] = {0, 0}, scale = 0, square = 0;
                for (size_t j = i * p.net.inputs; j < (i + 1) * p.net.inputs; j++) {
                    sums[0] += (double)u[j] * hv[j];
                    sums[1] += (double)p.v[j] * hu[j];
                    square += (double)u[j] * u[j];
                    scale += (double)hv[j] * hv[j];
                }
                assert_true(scale > 0);
                assert_true(fabs(sums[0] - sums[1]) <= by->bound * sqrt(square * scale));
            }
            sr_workspace_destroy(workspace);
            sr_plan_destroy(plan);
            sr_free(u), sr_free(hu), sr_free(hv);
            problem_clear(&p);
        }
    }
}

// ---- the same bits ------------------------------------------------------------------------------

static void products(const problem *p, const engine_case *by, size_t tile, unsigned threads,
                     float *hv) {
    sr_energy *energy;
    sr_team *team;
    assert_int_equal(sr_energy_network(&p->net, by->engine, by->precision, tile, &energy), SR_OK);
    sr_energy_set_parameters(energy, p->theta);
    assert_int_equal(sr_team_create(energy, threads, &team), SR_OK);
    assert_int_equal(sr_team_hessian_vector(team, p->n, p->x, p->v, NULL, NULL, hv), SR_OK);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void the_same_bits_for_any_threads_and_native_tile(void **state) {
    static const size_t tiles[] = {1, 15, 16, 17, 48};
    static const size_t nets[] = {0, 3, 5}; // one output each
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        for (size_t t = 0; available(by) && t < sizeof nets / sizeof *nets; t++) {
            problem p = problem_parse(texts[nets[t]], 35);
            const size_t bytes = p.values * sizeof(float);
            float *expected = sr_alloc(p.values, 4), *found = sr_alloc(p.values, 4);
            products(&p, by, 8, 1, expected);
            for (unsigned threads = 2; threads <= 3; threads++) {
                products(&p, by, 8, threads, found);
                assert_memory_equal(expected, found, bytes);
            }
            for (size_t i = 0; by->engine == SR_ENGINE_NATIVE && i < sizeof tiles / sizeof *tiles;
                 i++) {
                products(&p, by, tiles[i], 2, found);
                assert_memory_equal(expected, found, bytes);
            }
            sr_free(expected), sr_free(found);
            problem_clear(&p);
        }
    }
}

// Workspaces may be made and given room while others of the same plan are at work.
static void room_is_made_while_others_work(void **state) {
    enum { N = 6, ROUNDS = 200, THREADS = 3 };
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        if (!available(by))
            continue;
        problem p = problem_parse("mlp:dim=4,widths=24x24,activation=silu", N);
        sr_plan *plan;
        sr_workspace *workspace;
        float *expected = sr_alloc(p.values, 4);
        size_t wrong = 0;
        plan_make(&p, by, N, &plan, &workspace);
        sr_plan_hessian_vector(plan, workspace, N, p.x, p.v, NULL, NULL, expected);
#pragma omp parallel for num_threads(THREADS) schedule(static) reduction(+ : wrong)
        for (int i = 0; i < THREADS * ROUNDS; i++) {
            float hv[N * 4];
            sr_workspace *own = NULL;
            if (sr_workspace_create(plan, &own) == SR_OK &&
                sr_workspace_reserve_hessian(own) == SR_OK)
                sr_plan_hessian_vector(plan, own, N, p.x, p.v, NULL, NULL, hv);
            wrong += memcmp(hv, expected, sizeof hv) != 0;
            sr_workspace_destroy(own);
        }
        assert_int_equal(wrong, 0);
        sr_workspace_destroy(workspace);
        sr_plan_destroy(plan);
        sr_free(expected);
        problem_clear(&p);
    }
}

// ---- no curvature -------------------------------------------------------------------------------

static void no_curvature_gives_zeros_and_is_refused(void **state) {
    static const char *const kinked[] = {
        "mlp:dim=3,widths=12x12,activation=relu",
        "convnet:channels=1,size=12,nf=3,activation=leaky_relu",
    };
    enum { N = 5 };
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        for (size_t t = 0; available(by) && t < sizeof kinked / sizeof *kinked; t++) {
            problem p = problem_parse(kinked[t], N);
            sr_plan *plan;
            sr_workspace *workspace;
            sr_energy *energy;
            float *hv = filled(p.values, 3);
            plan_make(&p, by, N, &plan, &workspace);
            sr_plan_hessian_vector(plan, workspace, N, p.x, p.v, NULL, NULL, hv);
            for (size_t i = 0; i < p.values; i++)
                assert_true(hv[i] == 0.0f);
            assert_int_equal(sr_energy_network(&p.net, by->engine, by->precision, N, &energy),
                             SR_OK);
            assert_int_equal(sr_energy_check_hessian(energy), SR_ERROR_UNSUPPORTED);
            assert_non_null(
                strstr(sr_error_message(), sr_activation_name(p.net.layers[0].activation)));
            sr_energy_destroy(energy);
            sr_workspace_destroy(workspace);
            sr_plan_destroy(plan);
            sr_free(hv);
            problem_clear(&p);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_agrees_with_differences),
        cmocka_unit_test(engines_agree_with_the_reference),
        cmocka_unit_test(engines_may_change_from_layer_to_layer),
        cmocka_unit_test(products_are_symmetric),
        cmocka_unit_test(the_same_bits_for_any_threads_and_native_tile),
        cmocka_unit_test(room_is_made_while_others_work),
        cmocka_unit_test(no_curvature_gives_zeros_and_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
