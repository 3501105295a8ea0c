// Induced densities where everything is known in closed form; inversion, eigenvalues, failures, the
// same bits for any number of threads.
#include <shortrun/density.h>

#include <lapacke.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const double centres[] = {1, 0, -1, 1, 0.5, -1.5};

static void assert_ok(sr_status status) {
    if (status)
        fail_msg("%s", sr_error_message());
}

static sr_team *team_of(sr_energy *energy, unsigned threads) {
    sr_team *team;
    assert_non_null(energy);
    assert_ok(sr_team_create(energy, threads, &team));
    return team;
}

static sr_energy *mixture_of(double deviation) {
    sr_energy *energy;
    assert_ok(sr_energy_gaussian_mixture(2, 3, centres, deviation, NULL, &energy));
    return energy;
}

static sr_dynamics flow(size_t steps, double step_size) {
    return (sr_dynamics){.steps = steps, .step_size = step_size, .start = SR_START_GAUSSIAN};
}

static void starts(size_t n, size_t dim, float *x) {
    sr_start_fill(SR_START_GAUSSIAN, 5, 0, 0, n, dim, x);
}

// E = |x|^2 / 2: each step scales by a = 1 - s, so that p_K = N(0, a^2K I), for every dimension,
// method and probe (Rademacher probes see a multiple of the identity without error).
static void check_quadratic(size_t dim, sr_log_det method, double s, size_t steps) {
    enum { N = 5 };
    sr_energy *energy;
    assert_ok(sr_energy_quadratic(dim, 1, &energy));
    sr_team *team = team_of(energy, 2);
    const sr_dynamics dynamics = flow(steps, s);
    float *x = sr_alloc(N * dim, sizeof *x), *y = sr_alloc(N * dim, sizeof *y);
    double found[N], error[N], back[N];
    uint32_t failed[N];
    sr_density_options options;
    sr_density_options_default(dim, &options);
    options.method = method;
    options.probes = 64;
    options.terms = 12;
    starts(N, dim, x);
    assert_ok(sr_induced_forward(team, &dynamics, &options, N, x, NULL,
                                 &(sr_induced){.log_density = found, .error = error}));
    memcpy(y, x, N * dim * sizeof *x);
    assert_ok(sr_induced_backward(team, &dynamics, &options, N, y, NULL,
                                  &(sr_induced){.log_density = back, .failed = failed}));
    for (size_t i = 0; i < N; i++) {
        const double log_scale = (double)steps * log(1 - s), d = (double)dim;
        double square = 0;
        for (size_t j = 0; j < dim; j++)
            square += (double)x[i * dim + j] * x[i * dim + j];
        double expected =
            -0.5 * square / exp(2 * log_scale) - 0.5 * d * log(2 * M_PI) - d * log_scale;
        if (method == SR_LOG_DET_TRACE)
            expected += d * log_scale + d * s * (double)steps; // the first term of the series
        const double bound = 4 * error[i] + 2e-4 * d;
        assert_int_equal(failed[i], 0);
        if (!(fabs(found[i] - expected) <= bound && fabs(back[i] - expected) <= bound))
            fail_msg("%s in %zu dimensions: %g forward, %g backward, expected %g +- %g",
                     sr_log_det_name(method), dim, found[i], back[i], expected, error[i]);
    }
    sr_free(x), sr_free(y);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void check_quadratics(size_t dim) {
    check_quadratic(dim, SR_LOG_DET_EXACT, 0.3, 3);
    check_quadratic(dim, SR_LOG_DET_SERIES, 0.3, 3);
    check_quadratic(dim, SR_LOG_DET_TRACE, 0.3, 3);
}

static void a_quadratic_energy_induces_a_gaussian(void **state) {
    check_quadratics(1);
    check_quadratics(2);
    check_quadratics(20);
}

static void a_quadratic_energy_in_many_dimensions(void **state) {
    check_quadratics(144);
    check_quadratics(784);
}

// 784 dimensions of a network: series against LU, both probes; the error falls as 1 / sqrt(probes).
static void estimates_agree_with_the_exact_value(void **state) {
    enum { N = 2, DIM = 784 };
    sr_net net;
    sr_energy *energy;
    double exact[N], found[N], error[N], error_few[N];
    sr_density_options options;
    const sr_dynamics dynamics = flow(2, 2);
    assert_ok(sr_net_parse("convnet:channels=1,size=28,nf=4,activation=silu", &net));
    float *theta = sr_alloc(net.parameters, sizeof *theta), *x = sr_alloc(N * DIM, sizeof *x);
    sr_net_init(&net, 3, theta);
    for (size_t i = 0; i < net.parameters; i++)
        theta[i] *= 1.5f; // some curvature: s ||H|| about 0.3
    assert_ok(sr_energy_network(&net, SR_ENGINE_NATIVE, SR_FP32, 0, &energy));
    sr_energy_set_parameters(energy, theta);
    sr_team *team = team_of(energy, 2);
    sr_density_options_default(DIM, &options);
    options.method = SR_LOG_DET_EXACT;
    starts(N, DIM, x);
    assert_ok(sr_induced_forward(team, &dynamics, &options, N, x, NULL,
                                 &(sr_induced){.log_density = exact}));
    for (int probe = 0; probe < 2; probe++) {
        options.method = SR_LOG_DET_SERIES;
        options.probe = (sr_probe)probe;
        for (int many = 0; many < 2; many++) {
            options.probes = many ? 1024 : 64;
            starts(N, DIM, x);
            assert_ok(sr_induced_forward(
                team, &dynamics, &options, N, x, NULL,
                &(sr_induced){.log_density = found, .error = many ? error : error_few}));
            for (size_t i = 0; i < N; i++)
                assert_true(fabs(found[i] - exact[i]) <=
                            5 * (many ? error[i] : error_few[i]) + 1e-3);
        }
        for (size_t i = 0; i < N; i++) // 1/4, give or take
            assert_true(error[i] > 0.15 * error_few[i] && error[i] < 0.4 * error_few[i]);
    }
    sr_free(theta), sr_free(x);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// Where s ||H|| < 1 the whole plane is carried back, and the density is one.
static void the_induced_density_is_normalised(void **state) {
    sr_energy *energy = mixture_of(0.8);
    sr_team *team = team_of(energy, 2);
    const sr_plane plane = {.window = 5, .size = 150};
    const sr_dynamics dynamics = flow(8, 0.1); // narrower than this, the grid is too coarse
    double *log_density = sr_alloc(plane.size * plane.size, sizeof *log_density);
    double mass, missing;
    assert_ok(sr_plane_induced(team, &dynamics, &plane, NULL, log_density, &mass, &missing));
    assert_true(missing == 0);
    assert_true(fabs(mass - 1) < 1e-3);
    sr_free(log_density);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// log p_k of one backward run is log p_K of a run of k steps.
static void the_path_holds_every_number_of_steps(void **state) {
    enum { N = 40, K = 12 };
    sr_energy *energy = mixture_of(0.7);
    sr_team *team = team_of(energy, 2);
    float x[2 * N];
    double path[(K + 1) * N], alone[N];
    sr_density_options options;
    sr_density_options_default(2, &options);
    starts(N, 2, x);
    sr_dynamics dynamics = flow(K, 0.1);
    assert_ok(
        sr_induced_backward(team, &dynamics, &options, N, x, NULL, &(sr_induced){.path = path}));
    for (size_t k = 1; k <= K; k++) {
        dynamics.steps = k;
        assert_ok(sr_induced_backward(team, &dynamics, &options, N, x, NULL,
                                      &(sr_induced){.log_density = alone}));
        assert_memory_equal(alone, path + k * N, sizeof alone);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// The flow of E = |x|^2 / 2 over time t: x e^-t, log p = log p_0(x e^t) + d t; Heun and RK4 follow
// it.
static void flows_have_densities_too(void **state) {
    enum { N = 8 };
    static const sr_integrator integrators[] = {SR_INTEGRATOR_HEUN, SR_INTEGRATOR_RK4};
    static const double bounds[] = {2e-2, 1e-4};
    sr_energy *energy;
    assert_ok(sr_energy_quadratic(2, 1, &energy));
    sr_team *team = team_of(energy, 1);
    float x[2 * N];
    double found[N], back[N];
    sr_density_options options;
    sr_density_options_default(2, &options);
    sr_dynamics dynamics = flow(10, 0.1);
    for (int m = 0; m < 2; m++) {
        dynamics.integrator = integrators[m];
        options.method = SR_LOG_DET_EXACT;
        starts(N, 2, x);
        assert_int_equal(
            sr_induced_forward(team, &dynamics, &options, N, x, NULL, &(sr_induced){0}),
            SR_ERROR_UNSUPPORTED);
        assert_non_null(strstr(sr_error_message(), "trace"));
        options.method = SR_LOG_DET_TRACE;
        assert_ok(sr_induced_forward(team, &dynamics, &options, N, x, NULL,
                                     &(sr_induced){.log_density = found}));
        assert_ok(sr_induced_backward(team, &dynamics, &options, N, x, NULL,
                                      &(sr_induced){.log_density = back}));
        for (size_t i = 0; i < N; i++) {
            const double square = hypot(x[2 * i], x[2 * i + 1]) * hypot(x[2 * i], x[2 * i + 1]);
            const double expected = -0.5 * square * exp(2) - log(2 * M_PI) + 2;
            assert_true(fabs(found[i] - expected) < bounds[m] * (1 + fabs(expected)));
            assert_true(fabs(back[i] - expected) < bounds[m] * (1 + fabs(expected)));
        }
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- eigenvalues --------------------------------------------------------------------------------

static void lanczos_finds_the_range(void **state) {
    enum { N = 3, DIM = 144 };
    sr_net net;
    sr_energy *energy;
    double low[N], high[N], few_low[N], few_high[N], values[DIM];
    assert_ok(sr_net_parse("convnet:channels=1,size=12,nf=4,activation=softplus", &net));
    float *theta = sr_alloc(net.parameters, sizeof *theta), *x = sr_alloc(N * DIM, sizeof *x);
    double *h = sr_alloc(N * DIM * DIM, sizeof *h);
    sr_net_init(&net, 4, theta);
    assert_ok(sr_energy_network(&net, SR_ENGINE_NATIVE, SR_FP32, 0, &energy));
    sr_energy_set_parameters(energy, theta);
    sr_team *team = team_of(energy, 2);
    starts(N, DIM, x);
    assert_ok(sr_hessian(team, N, x, h));
    assert_ok(sr_hessian_range(team, N, x, 60, 1, low, high));
    assert_ok(sr_hessian_range(team, N, x, 4, 1, few_low, few_high));
    for (size_t i = 0; i < N; i++) {
        for (size_t a = 0; a < DIM; a++)
            for (size_t b = 0; b < a; b++)
                assert_true(h[(i * DIM + a) * DIM + b] == h[(i * DIM + b) * DIM + a]);
        assert_int_equal(
            LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'N', 'L', DIM, h + i * DIM * DIM, DIM, values), 0);
        const double size = fmax(fabs(values[0]), fabs(values[DIM - 1]));
        assert_true(fabs(low[i] - values[0]) < 1e-4 * size);
        assert_true(fabs(high[i] - values[DIM - 1]) < 1e-4 * size);
        assert_true(few_low[i] > values[0] - 1e-5 * size &&
                    few_high[i] < values[DIM - 1] + 1e-5 * size);
        assert_true(few_high[i] - few_low[i] < high[i] - low[i]);
    }
    assert_int_equal(sr_hessian_range(team, N, x, 0, 1, low, high), SR_ERROR_ARGUMENT);
    sr_free(theta), sr_free(x), sr_free(h);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- what goes wrong ----------------------------------------------------------------------------

// s = 1.5 on E = |x|^2 / 2 is a map that can be undone, but no contraction: Newton does it.
static void newton_takes_over(void **state) {
    check_quadratic(2, SR_LOG_DET_EXACT, 0.95, 2);
    enum { N = 6 };
    static const size_t dims[] = {2, 50};
    for (int m = 0; m < 2; m++) {
        sr_energy *energy;
        const size_t dim = dims[m];
        assert_ok(sr_energy_quadratic(dim, 1, &energy));
        sr_team *team = team_of(energy, 2);
        const sr_dynamics dynamics = flow(2, 1.5);
        float *x = sr_alloc(N * dim, sizeof *x), *origin = sr_alloc(N * dim, sizeof *x);
        double range[2 * N], residual[N];
        uint32_t failed[N], spent[N];
        sr_density_options options;
        sr_density_options_default(dim, &options);
        options.lanczos = 3;
        starts(N, dim, x);
        assert_ok(sr_induced_backward(team, &dynamics, &options, N, x, NULL,
                                      &(sr_induced){.origin = origin,
                                                    .failed = failed,
                                                    .largest = range,
                                                    .residual = residual,
                                                    .iterations = spent}));
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(failed[i], 0);
            assert_true(residual[i] < 1e-4 && spent[i] > 0);
            assert_true(fabs(range[i] - 1.5) < 1e-5 && fabs(range[N + i] - 1.5) < 1e-5);
            for (size_t j = 0; j < dim; j++)
                assert_true(fabs(origin[i * dim + j] - 4 * x[i * dim + j]) < 1e-3);
        }
        sr_free(x), sr_free(origin);
        sr_team_destroy(team);
        sr_energy_destroy(energy);
    }
}

// A narrow mixture with a large step folds the plane: points that no start leads to are counted,
// not hidden; a uniform start leaves most of the plane without density.
static void failures_are_counted(void **state) {
    enum { N = 400 };
    static float x[2 * N];
    static double found[N];
    static uint32_t failed[N];
    sr_energy *energy = mixture_of(0.3);
    sr_team *team = team_of(energy, 2);
    sr_density_options options;
    sr_density_options_default(2, &options);
    starts(N, 2, x);
    for (size_t i = 0; i < 2 * N; i++)
        x[i] *= 2;
    x[7] = NAN;
    sr_dynamics dynamics = flow(10, 0.5);
    for (int uniform = 0; uniform < 2; uniform++) {
        size_t lost = 0;
        if (uniform)
            dynamics = (sr_dynamics){.steps = 1, .step_size = 0.01, .start = SR_START_UNIFORM};
        assert_ok(sr_induced_backward(team, &dynamics, &options, N, x, NULL,
                                      &(sr_induced){.log_density = found, .failed = failed}));
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(!isfinite(found[i]), failed[i] != 0);
            assert_int_equal(found[i] == -INFINITY, failed[i] == 1 + dynamics.steps);
            lost += failed[i] != 0;
        }
        assert_int_equal(failed[3], 1); // the row that is not a number
        if (!(lost > N / 50 && lost < N))
            fail_msg("%zu of %d rows are lost", lost, N);
        if (uniform)
            assert_true(failed[0] == 0 || failed[0] == 2);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// p_2 of a start uniform on [-1, 1]^2 that is halved twice is uniform on [-1/4, 1/4]^2, and p_1 on
// [-1/2, 1/2]^2: elsewhere the density is 0, which is something else than not known.
static void outside_the_support_the_density_is_zero(void **state) {
    sr_energy *energy;
    assert_ok(sr_energy_quadratic(2, 1, &energy));
    sr_team *team = team_of(energy, 1);
    const sr_dynamics dynamics = {.steps = 2, .step_size = 0.5, .start = SR_START_UNIFORM};
    const float x[] = {0.2f, -0.24f, 0.2f, 0.26f, 0.6f, 0};
    double log_density[3], path[9];
    uint32_t failed[3];
    sr_density_options options;
    sr_density_options_default(2, &options);
    const sr_induced out = {.log_density = log_density, .path = path, .failed = failed};
    assert_ok(sr_induced_backward(team, &dynamics, &options, 3, x, NULL, &out));
    assert_true(fabs(log_density[0] - log(4)) < 1e-5 && failed[0] == 0);
    for (int i = 1; i < 3; i++)
        assert_true(log_density[i] == -INFINITY && failed[i] == 3);
    const double expected[] = {-log(4),   -log(4), -log(4),   0,        0,
                               -INFINITY, log(4),  -INFINITY, -INFINITY};
    for (int i = 0; i < 9; i++)
        assert_true(isinf(expected[i]) ? path[i] == expected[i]
                                       : fabs(path[i] - expected[i]) < 1e-5);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void refused(sr_team *team, const sr_dynamics *dynamics, const sr_density_options *options,
                    const char *why) {
    float *x = sr_alloc(sr_energy_dim(sr_team_energy(team)), sizeof *x);
    assert_int_not_equal(sr_induced_backward(team, dynamics, options, 1, x, NULL, &(sr_induced){0}),
                         SR_OK);
    if (!strstr(sr_error_message(), why))
        fail_msg("'%s' does not say '%s'", sr_error_message(), why);
    sr_free(x);
}

static void what_has_no_density_is_refused(void **state) {
    sr_energy *energy = mixture_of(1), *wide, *kinked;
    sr_team *team = team_of(energy, 1);
    sr_net net;
    sr_density_options good, options;
    sr_dynamics dynamics = flow(3, 0.1);
    sr_density_options_default(2, &good);
    dynamics.noise = 0.1;
    refused(team, &dynamics, &good, "noise 0.1");
    dynamics = flow(3, 0.1);
    dynamics.clamp = 1;
    refused(team, &dynamics, &good, "clamp");
    dynamics = flow(3, 0.1);
    dynamics.start = SR_START_DATA;
    refused(team, &dynamics, &good, "start data");
    dynamics = flow(3, -1);
    refused(team, &dynamics, &good, "step");
    dynamics = flow(3, 0.1);
    options = good, options.tolerance = 1e-9;
    refused(team, &dynamics, &options, "tolerance");
    options = good, options.method = SR_LOG_DET_SERIES, options.probes = 1;
    refused(team, &dynamics, &options, "probes");
    options = good, options.roulette = 1;
    refused(team, &dynamics, &options, "roulette");
    sr_team_destroy(team);
    assert_ok(sr_energy_quadratic(3072, 1, &wide));
    team = team_of(wide, 1);
    sr_density_options_default(3072, &options);
    assert_int_equal(options.method, SR_LOG_DET_SERIES);
    options.method = SR_LOG_DET_EXACT;
    refused(team, &dynamics, &options, "at most 1024 dimensions, found 3072");
    sr_team_destroy(team);
    assert_ok(sr_net_parse("mlp:dim=2,widths=8,activation=leaky_relu", &net));
    assert_ok(sr_energy_network(&net, SR_ENGINE_SCALAR, SR_FP32, 0, &kinked));
    team = team_of(kinked, 1);
    refused(team, &dynamics, &good, "leaky_relu has no curvature");
    sr_team_destroy(team);
    sr_energy_destroy(energy), sr_energy_destroy(wide), sr_energy_destroy(kinked);
}

static bool stop_at_once(void *user) {
    return true;
}

static void it_stops_when_asked(void **state) {
    enum { N = 5000 };
    static float x[2 * N];
    sr_energy *energy = mixture_of(1);
    sr_team *team = team_of(energy, 1);
    const sr_dynamics dynamics = flow(50, 0.1);
    sr_density_options options;
    sr_density_options_default(2, &options);
    starts(N, 2, x);
    assert_int_equal(sr_induced_backward(team, &dynamics, &options, N, x,
                                         &(sr_monitor){.stop = stop_at_once}, &(sr_induced){0}),
                     SR_ERROR_INTERRUPTED);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- bits ---------------------------------------------------------------------------------------

static void the_same_bits_for_any_number_of_threads(void **state) {
    enum { N = 150, K = 6 };
    static float x[3][2 * N];
    static double found[3][N], error[3][N], path[3][(K + 1) * N], back[3][N];
    sr_energy *energy = mixture_of(0.6);
    const sr_dynamics dynamics = flow(K, 0.1);
    for (int method = 0; method < 3; method++) {
        sr_density_options options;
        sr_density_options_default(2, &options);
        options.method = (sr_log_det)method;
        for (unsigned threads = 1; threads <= 3; threads++) {
            const unsigned t = threads - 1;
            sr_team *team = team_of(energy, threads);
            starts(N, 2, x[t]);
            assert_ok(sr_induced_forward(
                team, &dynamics, &options, N, x[t], NULL,
                &(sr_induced){.log_density = found[t], .error = error[t], .path = path[t]}));
            assert_ok(sr_induced_backward(team, &dynamics, &options, N, x[t], NULL,
                                          &(sr_induced){.log_density = back[t]}));
            sr_team_destroy(team);
            assert_memory_equal(x[0], x[t], sizeof x[0]);
            assert_memory_equal(found[0], found[t], sizeof found[0]);
            assert_memory_equal(error[0], error[t], sizeof error[0]);
            assert_memory_equal(path[0], path[t], sizeof path[0]);
            assert_memory_equal(back[0], back[t], sizeof back[0]);
        }
    }
    sr_energy_destroy(energy);
}

// `test_induced wide`: what takes long.
int main(int argc, char **argv) {
    const struct CMUnitTest wide[] = {
        cmocka_unit_test(a_quadratic_energy_in_many_dimensions),
        cmocka_unit_test(estimates_agree_with_the_exact_value),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quadratic_energy_induces_a_gaussian),
        cmocka_unit_test(the_induced_density_is_normalised),
        cmocka_unit_test(the_path_holds_every_number_of_steps),
        cmocka_unit_test(flows_have_densities_too),
        cmocka_unit_test(lanczos_finds_the_range),
        cmocka_unit_test(newton_takes_over),
        cmocka_unit_test(failures_are_counted),
        cmocka_unit_test(outside_the_support_the_density_is_zero),
        cmocka_unit_test(what_has_no_density_is_refused),
        cmocka_unit_test(it_stops_when_asked),
        cmocka_unit_test(the_same_bits_for_any_number_of_threads),
    };
    if (argc > 1 && strcmp(argv[1], "wide") == 0)
        return cmocka_run_group_tests(wide, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
