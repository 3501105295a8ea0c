// Integrators of the gradient flow: orders of convergence against exact solutions, error control of
// the adaptive one, the trace, the same bits for any threads and tiles, and what is refused.
#include <shortrun/dynamics.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 37, D = 2 };
static const sr_integrator fixed[] = {SR_INTEGRATOR_EULER, SR_INTEGRATOR_HEUN, SR_INTEGRATOR_RK4};
static const double orders[] = {1, 2, 4};

static void starts(size_t n, size_t dim, float *x) {
    sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, n, dim, x);
}

static void run(const sr_energy *energy, unsigned threads, const sr_dynamics *dynamics, size_t n,
                float *x, const sr_trace *trace) {
    sr_team *team;
    assert_int_equal(sr_team_create(energy, threads, &team), SR_OK);
    if (sr_dynamics_run(team, dynamics, 17, 0, 0, n, x, trace) != SR_OK)
        fail_msg("%s", sr_error_message());
    sr_team_destroy(team);
}

static double largest_error(const float *x, const double *exact) {
    double worst = 0;
    for (size_t i = 0; i < N * D; i++)
        worst = fmax(worst, fabs(x[i] - exact[i]));
    return worst;
}

// ---- flows whose solution is known --------------------------------------------------------------

typedef struct flow {
    sr_energy *energy;
    double time;
    double end[N * D]; // the solution from starts() at that time
    double middle[N * D];
} flow;

// x(t) = x(0) exp(-t / d^2).
static void quadratic_flow(flow *f) {
    float x[N * D];
    assert_int_equal(sr_energy_quadratic(D, 0.9, &f->energy), SR_OK);
    f->time = 1.5;
    starts(N, D, x);
    for (size_t i = 0; i < N * D; i++) {
        f->end[i] = x[i] * exp(-f->time / 0.81);
        f->middle[i] = x[i] * exp(-0.5 * f->time / 0.81);
    }
}

static const double centres[] = {-1, 0.2, 1.1, -0.3, 0.4, 0.9};
#define DEVIATION 0.8

// The mixture's velocity, written down a second time.
static void mixture_velocity(const double x[D], double v[D]) {
    double total = 0;
    v[0] = v[1] = 0;
    for (size_t c = 0; c < 3; c++) {
        const double dx = centres[2 * c] - x[0], dy = centres[2 * c + 1] - x[1];
        const double p = exp(-(dx * dx + dy * dy) / (2 * DEVIATION * DEVIATION));
        total += p;
        v[0] += p * dx / (DEVIATION * DEVIATION);
        v[1] += p * dy / (DEVIATION * DEVIATION);
    }
    v[0] /= total;
    v[1] /= total;
}

// Many midpoint steps in double: their error is of order h^2, about 1e-9 here.
static void mixture_flow(flow *f) {
    enum { STEPS = 20000 };
    float x0[N * D];
    assert_int_equal(sr_energy_gaussian_mixture(D, 3, centres, DEVIATION, NULL, &f->energy), SR_OK);
    f->time = 2;
    starts(N, D, x0);
    const double h = f->time / STEPS;
    for (size_t i = 0; i < N; i++) {
        double x[D] = {x0[2 * i], x0[2 * i + 1]}, v[D];
        for (size_t k = 0; k < STEPS; k++) {
            if (k == STEPS / 2)
                memcpy(f->middle + 2 * i, x, sizeof x);
            mixture_velocity(x, v);
            const double half[D] = {x[0] + 0.5 * h * v[0], x[1] + 0.5 * h * v[1]};
            mixture_velocity(half, v);
            x[0] += h * v[0];
            x[1] += h * v[1];
        }
        memcpy(f->end + 2 * i, x, sizeof x);
    }
}

// ---- orders -------------------------------------------------------------------------------------

static double error_of(const flow *f, sr_integrator integrator, size_t steps) {
    float x[N * D];
    const sr_dynamics dynamics = {
        .steps = steps, .step_size = f->time / (double)steps, .integrator = integrator};
    starts(N, D, x);
    run(f->energy, 2, &dynamics, N, x, NULL);
    return largest_error(x, f->end);
}

static void check_orders(flow *f) {
    const size_t steps[] = {64, 16,
                            6}; // coarse enough that rounding does not show at half the step
    for (size_t m = 0; m < 3; m++) {
        const double coarse = error_of(f, fixed[m], steps[m]);
        const double fine = error_of(f, fixed[m], 2 * steps[m]);
        const double order = log2(coarse / fine);
        print_message("%s: errors %.3g, %.3g: order %.2f\n", sr_integrator_name(fixed[m]), coarse,
                      fine, order);
        assert_true(fabs(order - orders[m]) < 0.35);
    }
    sr_energy_destroy(f->energy);
}

static void errors_fall_with_the_order_of_the_method(void **state) {
    flow f;
    quadratic_flow(&f);
    check_orders(&f);
    mixture_flow(&f);
    check_orders(&f);
}

// One step of a linear flow multiplies by the method's stability polynomial in z = -s / d^2.
static void one_step_is_the_stability_polynomial(void **state) {
    sr_energy *energy;
    assert_int_equal(sr_energy_quadratic(D, 1, &energy), SR_OK);
    for (double z = -2.5; z < 0; z += 0.25) {
        const double factor[] = {1 + z, 1 + z + z * z / 2,
                                 1 + z + z * z / 2 + z * z * z / 6 + z * z * z * z / 24};
        for (size_t m = 0; m < 3; m++) {
            const sr_dynamics dynamics = {.steps = 1, .step_size = -z, .integrator = fixed[m]};
            float x0[N * D], x[N * D];
            starts(N, D, x0);
            memcpy(x, x0, sizeof x);
            run(energy, 1, &dynamics, N, x, NULL);
            for (size_t i = 0; i < N * D; i++)
                assert_true(fabs(x[i] - factor[m] * x0[i]) <= 2e-6 * fabs(x0[i]));
        }
    }
    sr_energy_destroy(energy);
}

// ---- error control ------------------------------------------------------------------------------

static double adaptive_error(const flow *f, double tolerance, size_t steps) {
    float x[N * D];
    const sr_dynamics dynamics = {.steps = steps,
                                  .step_size = f->time / (double)steps,
                                  .integrator = SR_INTEGRATOR_ADAPTIVE,
                                  .tolerance = tolerance};
    starts(N, D, x);
    run(f->energy, 2, &dynamics, N, x, NULL);
    return largest_error(x, f->end);
}

static void check_tolerances(flow *f) {
    const double tolerances[] = {1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
    double error = 0;
    for (size_t i = 0; i < 5; i++) {
        error = adaptive_error(f, tolerances[i], 4);
        print_message("tolerance %g: error %.3g\n", tolerances[i], error);
        // it bounds the local error; states are of size 1, and a chain takes few steps
        assert_true(error <= 20 * tolerances[i]);
    }
    // It is the tolerance that decides: a loose one leaves errors, which the rounding does not.
    assert_true(adaptive_error(f, 0.1, 4) > 20 * error);
    sr_energy_destroy(f->energy);
}

static void the_adaptive_integrator_meets_its_tolerance(void **state) {
    flow f;
    if (!sr_integrator_available(SR_INTEGRATOR_ADAPTIVE))
        skip();
    quadratic_flow(&f);
    check_tolerances(&f);
    mixture_flow(&f);
    check_tolerances(&f);
}

static void nan_gradient(void *user, size_t n, size_t dim, const float *x, float *e, float *dx) {
    for (size_t i = 0; i < n; i++) {
        if (e)
            e[i] = 0;
        for (size_t j = 0; dx && j < dim; j++) // a cliff at 0
            dx[i * dim + j] = x[i * dim + j] > 0 ? 1 : NAN;
    }
}

// As with every other integrator a chain that breaks shows it; others go on.
static void a_gradient_that_is_not_finite_shows(void **state) {
    if (!sr_integrator_available(SR_INTEGRATOR_ADAPTIVE))
        skip();
    sr_energy *energy;
    float x[] = {0.5f, 9}, y[] = {0.5f, 9}; // one chain falls off after half the time
    double largest[5];
    const sr_trace trace = {.largest = largest};
    const sr_dynamics dynamics = {
        .steps = 4, .step_size = 0.25, .integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = 1e-4};
    assert_int_equal(sr_energy_function(1, nan_gradient, NULL, &energy), SR_OK);
    run(energy, 1, &dynamics, 2, x, NULL);
    assert_true(isnan(x[0]) && fabs(x[1] - 8) < 1e-3);
    run(energy, 1, &dynamics, 2, y, &trace);
    assert_true(isnan(y[0]) && y[1] == x[1]);
    assert_true(largest[0] == 9 && isnan(largest[4]));
    sr_energy_destroy(energy);
}

static void a_flow_that_is_too_stiff_is_given_up(void **state) {
    if (!sr_integrator_available(SR_INTEGRATOR_ADAPTIVE))
        skip();
    sr_energy *energy;
    sr_team *team;
    float x[2] = {1, 0.5f};
    char start[160];
    const sr_dynamics dynamics = {
        .steps = 2, .step_size = 1, .integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = 1e-5};
    const double centre = 0.3; // no float: near it the flow never rests
    assert_int_equal(sr_energy_gaussian_mixture(1, 1, &centre, 1e-6, NULL, &energy), SR_OK);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    assert_int_equal(sr_dynamics_run(team, &dynamics, 1, 0, 40, 2, x, NULL), SR_ERROR_DIVERGED);
    snprintf(start, sizeof start, "the adaptive integrator gave up on chain 40 at time ");
    assert_memory_equal(sr_error_message(), start, strlen(start));
    assert_non_null(strstr(sr_error_message(), " of 2: the flow is too stiff for tolerance 1e-05"));
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- bits and trace -----------------------------------------------------------------------------

static sr_energy *network(size_t tile, sr_engine engine) {
    sr_net net;
    sr_energy *energy;
    assert_int_equal(sr_net_parse("mlp:dim=2,widths=32x32,activation=silu", &net), SR_OK);
    assert_int_equal(sr_energy_network(&net, engine, SR_FP32, tile, &energy), SR_OK);
    float *theta = sr_alloc(net.parameters, sizeof *theta);
    assert_non_null(theta);
    sr_net_init(&net, 5, theta);
    sr_energy_set_parameters(energy, theta);
    sr_free(theta);
    return energy;
}

static void the_same_bits_for_any_threads_and_tiles(void **state) {
    const sr_engine engines[] = {SR_ENGINE_SCALAR, SR_ENGINE_NATIVE};
    const size_t tiles[] = {1, 4, 16, 64};
    float reference[N * D], x[N * D];
    for (size_t e = 0; e < 2; e++)
        for (int m = 0; m < SR_INTEGRATOR_COUNT; m++) {
            const sr_dynamics dynamics = {
                .steps = 5, .step_size = 0.7, .integrator = (sr_integrator)m, .tolerance = 1e-5};
            if (!sr_integrator_available(dynamics.integrator))
                continue;
            for (size_t t = 0; t < 4; t++)
                for (unsigned threads = 1; threads <= 3; threads++) {
                    sr_energy *energy = network(tiles[t], engines[e]);
                    starts(N, D, x);
                    run(energy, threads, &dynamics, N, x, NULL);
                    if (t == 0 && threads == 1)
                        memcpy(reference, x, sizeof x);
                    assert_memory_equal(x, reference, sizeof x);
                    sr_energy_destroy(energy);
                }
        }
}

static double mean_energy(const sr_energy *energy, const float *x) {
    sr_team *team;
    float e[N];
    double sum = 0;
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    sr_team_evaluate(team, N, x, e, NULL);
    for (size_t i = 0; i < N; i++)
        sum += e[i];
    sr_team_destroy(team);
    return sum / N;
}

// Looking on changes nothing, and what is seen at step k is what a run of k steps leaves; of the
// adaptive integrator's, which interpolates, to about its tolerance.
static void the_trace_sees_the_states_at_every_step(void **state) {
    enum { K = 6 };
    double energies[K + 1], moved[K + 1];
    const sr_trace trace = {.energy = energies, .displacement = moved};
    sr_energy *energy = network(0, SR_ENGINE_SCALAR);
    for (int m = 0; m < SR_INTEGRATOR_COUNT; m++) {
        sr_dynamics dynamics = {
            .steps = K, .step_size = 0.4, .integrator = (sr_integrator)m, .tolerance = 1e-5};
        float x[N * D], y[N * D];
        if (!sr_integrator_available(dynamics.integrator))
            continue;
        const double bound = dynamics.integrator == SR_INTEGRATOR_ADAPTIVE ? 1e-3 : 1e-12;
        starts(N, D, x);
        run(energy, 2, &dynamics, N, x, &trace);
        for (size_t k = 0; k <= K; k++) {
            starts(N, D, y);
            dynamics.steps = k;
            if (k > 0)
                run(energy, 2, &dynamics, N, y, NULL);
            assert_true(fabs(energies[k] - mean_energy(energy, y)) <= bound);
            assert_true(k == K ? moved[k] == 0 : moved[k] > 0);
        }
        assert_memory_equal(x, y, sizeof x);
    }
    sr_energy_destroy(energy);
}

// States between the ends, against the solution at half the time.
static void the_adaptive_integrator_interpolates(void **state) {
    if (!sr_integrator_available(SR_INTEGRATOR_ADAPTIVE))
        skip();
    flow f;
    double energies[3];
    float x[N * D], middle[N * D];
    const sr_trace trace = {.energy = energies};
    mixture_flow(&f);
    const sr_dynamics dynamics = {.steps = 2,
                                  .step_size = f.time / 2,
                                  .integrator = SR_INTEGRATOR_ADAPTIVE,
                                  .tolerance = 1e-6};
    starts(N, D, x);
    run(f.energy, 1, &dynamics, N, x, &trace);
    for (size_t i = 0; i < N * D; i++)
        middle[i] = (float)f.middle[i];
    assert_true(fabs(energies[1] - mean_energy(f.energy, middle)) < 1e-4);
    assert_true(energies[0] > energies[1] + 0.01 && energies[1] > energies[2] + 0.01);
    sr_energy_destroy(f.energy);
}

// ---- settings -----------------------------------------------------------------------------------

static void integrators_have_names_and_costs(void **state) {
    const char *const names[] = {"euler", "heun", "rk4", "adaptive"};
    const size_t gradients[] = {1, 2, 4, 0};
    for (int i = 0; i < SR_INTEGRATOR_COUNT; i++) {
        sr_integrator parsed = SR_INTEGRATOR_EULER;
        assert_string_equal(sr_integrator_name((sr_integrator)i), names[i]);
        assert_int_equal(sr_integrator_parse(names[i], &parsed), SR_OK);
        assert_int_equal(parsed, i);
        assert_int_equal(sr_integrator_gradients((sr_integrator)i), gradients[i]);
    }
    sr_integrator parsed;
    assert_int_equal(sr_integrator_parse("Euler", &parsed), SR_ERROR_ARGUMENT);
    assert_string_equal(sr_error_message(),
                        "unknown integrator 'Euler'; it is one of: euler, heun, rk4, adaptive");
    assert_string_equal(sr_integrator_name((sr_integrator)7), "?");
}

static void what_does_not_go_together_is_refused(void **state) {
#define WITH(...) ((sr_dynamics){.steps = 1, .step_size = 0.1, __VA_ARGS__})
    const struct {
        sr_dynamics dynamics;
        const char *message;
    } bad[] = {
        {WITH(.integrator = (sr_integrator)5),
         "integrator must be euler, heun, rk4 or adaptive, found number 5"},
        {WITH(.integrator = SR_INTEGRATOR_HEUN, .noise = 0.1),
         "integrator heun solves the noise-free flow, found noise 0.1; noise needs euler"},
        {WITH(.integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = 1e-4, .noise = 0.1),
         "integrator adaptive solves the noise-free flow, found noise 0.1; noise needs euler"},
        {WITH(.integrator = SR_INTEGRATOR_RK4, .clamp = 2),
         "integrator rk4 solves a smooth flow, found clamp 2; a clamp needs euler"},
        {WITH(.integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = 0),
         "tolerance must lie between 1e-07 and 0.1, found 0"},
        {WITH(.integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = NAN),
         "tolerance must lie between 1e-07 and 0.1, found nan"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sr_dynamics_check(&bad[i].dynamics), SR_ERROR_ARGUMENT);
        assert_string_equal(sr_error_message(), bad[i].message);
    }
    const sr_dynamics good = WITH(.integrator = SR_INTEGRATOR_RK4, .tolerance = 0);
    assert_int_equal(sr_dynamics_check(&good), SR_OK); // a tolerance that nobody reads
    const sr_dynamics adaptive = WITH(.integrator = SR_INTEGRATOR_ADAPTIVE, .tolerance = 1e-4);
    if (sr_integrator_available(SR_INTEGRATOR_ADAPTIVE)) {
        assert_int_equal(sr_dynamics_check(&adaptive), SR_OK);
        return;
    }
    assert_int_equal(sr_dynamics_check(&adaptive), SR_ERROR_UNSUPPORTED);
    assert_string_equal(
        sr_error_message(),
        "integrator adaptive: this build has no SUNDIALS; euler, heun and rk4 need none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_fall_with_the_order_of_the_method),
        cmocka_unit_test(one_step_is_the_stability_polynomial),
        cmocka_unit_test(the_adaptive_integrator_meets_its_tolerance),
        cmocka_unit_test(a_gradient_that_is_not_finite_shows),
        cmocka_unit_test(a_flow_that_is_too_stiff_is_given_up),
        cmocka_unit_test(the_same_bits_for_any_threads_and_tiles),
        cmocka_unit_test(the_trace_sees_the_states_at_every_step),
        cmocka_unit_test(the_adaptive_integrator_interpolates),
        cmocka_unit_test(integrators_have_names_and_costs),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
