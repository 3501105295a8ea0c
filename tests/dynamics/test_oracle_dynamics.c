// Noise-free, Langevin and Runge-Kutta trajectories against PyTorch, every state of every
// dynamics_* file: through the public sampler in every engine and precision with the file's noise,
// and in double.
#include "../energy/oracle.h"
#include "reference.h"

static size_t scalar_files;

static sr_dynamics settings(const sr_tensors *tensors, double noise) {
    return (sr_dynamics){.steps = (size_t)oracle_number(tensors, "steps"),
                         .step_size = oracle_number(tensors, "step"),
                         .noise = noise,
                         .noise_last = true};
}

// Every state, one step at a time, and the last one also from a run of all steps at once.
static void check_run(const sr_tensors *tensors, const char *what, sr_team *team,
                      sr_dynamics dynamics, size_t count, size_t n, const char *expected_name,
                      double bound) {
    const size_t steps = dynamics.steps;
    float *x0 = oracle_f32(tensors, "x0"), *noise = oracle_f32(tensors, "noise");
    float *x = sr_alloc(count, sizeof *x);
    double *expected = oracle_f64(tensors, expected_name);
    const sr_array *shape = oracle_array(tensors, expected_name);
    assert_int_equal(shape->shape[0], steps + 1);
    assert_int_equal(sr_array_count(shape), (steps + 1) * count);
    assert_int_equal(sr_array_count(oracle_array(tensors, "noise")), steps * count);
    memcpy(x, x0, count * sizeof *x);
    dynamics.steps = 1;
    for (size_t k = 0; k < steps; k++) {
        char label[256];
        snprintf(label, sizeof label, "%s, %s after %zu steps", what, expected_name, k + 1);
        assert_int_equal(sr_dynamics_run_given(team, &dynamics, noise + k * count, n, x, NULL),
                         SR_OK);
        check_near_f32(label, count, x, expected + (k + 1) * count, bound);
    }
    dynamics.steps = steps;
    assert_int_equal(sr_dynamics_run_given(team, &dynamics, noise, n, x0, NULL), SR_OK);
    assert_memory_equal(x, x0, count * sizeof *x); // steps do not know what came before
    sr_free(x0), sr_free(noise), sr_free(x), sr_free(expected);
}

static void check_engine(const sr_tensors *tensors, const char *name, const sr_net *net,
                         const float *theta, const oracle_engine *by, size_t tile) {
    const size_t n = oracle_array(tensors, "x0")->shape[0];
    char what[128];
    snprintf(what, sizeof what, "%s, %s in %s, tile %zu", name, sr_engine_name(by->engine),
             sr_precision_name(by->precision), tile);
    sr_energy *energy;
    sr_team *team;
    assert_int_equal(sr_energy_network(net, by->engine, by->precision, tile, &energy), SR_OK);
    sr_energy_set_parameters(energy, theta);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    check_run(tensors, what, team, settings(tensors, 0), n * net->inputs, n, "expect.noise_free",
              by->bound);
    check_run(tensors, what, team, settings(tensors, oracle_number(tensors, "sigma")),
              n * net->inputs, n, "expect.langevin", by->bound);
    sr_dynamics rk4 = settings(tensors, 0);
    rk4.integrator = SR_INTEGRATOR_RK4;
    check_run(tensors, what, team, rk4, n * net->inputs, n, "expect.rk4", by->bound);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void check_file(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    const size_t n = oracle_array(tensors, "x0")->shape[0];
    for (size_t i = 0; i < ORACLE_ENGINES; i++) {
        const oracle_engine *by = &oracle_engines[i];
        if (!oracle_engine_available(by))
            continue;
        check_engine(tensors, name, &net, theta, by, 0);
        check_engine(tensors, name, &net, theta, by, n > 4 ? n / 3 : 1);
        scalar_files += by->engine == SR_ENGINE_SCALAR;
    }
    sr_free(theta);
}

static void engines_follow_pytorch(void **state) {
    const size_t found = oracle_each("dynamics_", check_file);
    assert_true(found > 0);
    assert_int_equal(scalar_files, found);
}

static void check_double(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    const size_t n = oracle_array(tensors, "x0")->shape[0], count = n * net.inputs;
    double *wide = widened(net.parameters, theta), *x0 = oracle_f64(tensors, "x0");
    double *noise = oracle_f64(tensors, "noise");
    const double sigma[] = {0, oracle_number(tensors, "sigma")};
    const char *const expected_names[] = {"expect.noise_free", "expect.langevin"};
    for (int i = 0; i < 2; i++) {
        const sr_dynamics dynamics = settings(tensors, sigma[i]);
        double *states = sr_alloc((dynamics.steps + 1) * count, sizeof *states);
        double *expected = oracle_f64(tensors, expected_names[i]);
        assert_non_null(states);
        memcpy(states, x0, count * sizeof *x0);
        assert_int_equal(reference_dynamics(&net, wide, &dynamics, noise, n, states), SR_OK);
        check_near(name, (dynamics.steps + 1) * count, states, expected, 1e-9);
        sr_free(states), sr_free(expected);
    }
    sr_free(theta), sr_free(wide), sr_free(x0), sr_free(noise);
}

static void double_follows_pytorch(void **state) {
    assert_true(oracle_each("dynamics_", check_double) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_follow_pytorch),
        cmocka_unit_test(double_follows_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
