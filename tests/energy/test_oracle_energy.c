// Energies of networks against PyTorch: value, gradient in x, gradient in every parameter, through
// the public energy, every engine and precision, for every energy_* file; and the double reference.
#include "oracle.h"

static size_t checked[ORACLE_ENGINES]; // files seen by each entry of oracle_engines

// Every parameter tensor of a gradient against the file's.
static void check_theta(const sr_tensors *tensors, const char *what, const sr_net *net,
                        const double *gradient, double bound, double kinked) {
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        const size_t at[2] = {layer->weight, layer->bias};
        for (int i = 0; i < 2; i++) {
            char name[64], label[256];
            snprintf(name, sizeof name, "expect.grad.%zu.%s", layer->torch_index,
                     i ? "bias" : "weight");
            snprintf(label, sizeof label, "%s %s", what, name);
            double *expected = oracle_f64(tensors, name);
            check_gradient(label, net, sr_array_count(oracle_array(tensors, name)),
                           gradient + at[i], expected, bound, kinked);
            sr_free(expected);
        }
    }
}

static void check_engine(const sr_tensors *tensors, const char *name, const sr_net *net,
                         const float *theta, const oracle_engine *by, size_t tile) {
    const size_t n = oracle_array(tensors, "x")->shape[0];
    char what[256];
    snprintf(what, sizeof what, "%s, %s in %s, tile %zu", name, sr_engine_name(by->engine),
             sr_precision_name(by->precision), tile);
    float *x = oracle_f32(tensors, "x"), *e = sr_alloc(n, sizeof *e);
    float *dx = sr_alloc(n * net->inputs, sizeof *dx);
    float *dtheta = sr_alloc(net->parameters, sizeof *dtheta);
    double *energy = oracle_f64(tensors, "expect.energy");
    double *gradient = oracle_f64(tensors, "expect.grad_x");
    sr_energy *net_energy;
    sr_team *team;
    assert_int_equal(sr_energy_network(net, by->engine, by->precision, tile, &net_energy), SR_OK);
    assert_non_null(sr_energy_plan(net_energy));
    sr_energy_set_parameters(net_energy, theta);
    assert_int_equal(sr_team_create(net_energy, 2, &team), SR_OK);

    sr_team_evaluate(team, n, x, e, NULL);
    check_near_f32(what, n, e, energy, by->bound);
    memset(e, 0, n * sizeof *e);
    sr_team_evaluate(team, n, x, e, dx);
    check_near_f32(what, n, e, energy, by->bound);
    double *wide = widened(n * net->inputs, dx);
    check_gradient(what, net, n * net->inputs, wide, gradient, by->bound, by->kinked);
    sr_free(wide);
    memset(e, 0, n * sizeof *e);
    assert_int_equal(sr_team_gradient_theta(team, n, x, NULL, e, dtheta), SR_OK);
    check_near_f32(what, n, e, energy, by->bound);
    wide = widened(net->parameters, dtheta);
    check_theta(tensors, what, net, wide, by->bound, by->kinked);

    sr_team_destroy(team);
    sr_energy_destroy(net_energy);
    sr_free(x), sr_free(e), sr_free(dx), sr_free(dtheta);
    sr_free(energy), sr_free(gradient), sr_free(wide);
}

static void check_file(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    const size_t n = oracle_array(tensors, "x")->shape[0];
    for (size_t i = 0; i < ORACLE_ENGINES; i++) {
        const oracle_engine *by = &oracle_engines[i];
        if (!oracle_engine_available(by))
            continue;
        check_engine(tensors, name, &net, theta, by, 0);
        check_engine(tensors, name, &net, theta, by, n > 4 ? n / 2 + 1 : 2); // a tail tile
        checked[i]++;
    }
    sr_free(theta);
}

static void engines_agree_with_pytorch(void **state) {
    const size_t found = oracle_each("energy_", check_file);
    assert_true(found > 0);
    assert_int_equal(checked[0], found); // the scalar engine
}

// ---- Hessian-vector products --------------------------------------------------------------------

static void check_products(const sr_tensors *tensors, const char *name, const sr_net *net,
                           const float *theta, const oracle_engine *by, size_t tile) {
    const size_t n = oracle_array(tensors, "x")->shape[0], values = n * net->inputs;
    char what[256];
    snprintf(what, sizeof what, "H v of %s, %s in %s, tile %zu", name, sr_engine_name(by->engine),
             sr_precision_name(by->precision), tile);
    float *x = oracle_f32(tensors, "x"), *v = oracle_f32(tensors, "v");
    float *hv = sr_alloc(values, sizeof *hv), *dx = sr_alloc(values, sizeof *dx);
    float *e = sr_alloc(n, sizeof *e);
    double *expected = oracle_f64(tensors, "expect.hvp");
    double *gradient = oracle_f64(tensors, "expect.grad_x");
    double *energies = oracle_f64(tensors, "expect.energy");
    sr_energy *energy;
    sr_team *team;
    assert_int_equal(sr_energy_network(net, by->engine, by->precision, tile, &energy), SR_OK);
    sr_energy_set_parameters(energy, theta);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    const bool smooth = sr_net_check_curvature(net) == SR_OK;
    assert_int_equal(sr_team_hessian_vector(team, n, x, v, e, dx, hv),
                     smooth ? SR_OK : SR_ERROR_UNSUPPORTED);
    if (smooth) {
        double *wide = widened(values, hv);
        check_near(what, values, wide, expected, by->bound);
        sr_free(wide);
        wide = widened(values, dx);
        check_gradient(what, net, values, wide, gradient, by->bound, by->kinked);
        sr_free(wide);
        check_near_f32(what, n, e, energies, by->bound);
        // new weights reach the products too, and nobody needs energies and gradients
        float *other = sr_alloc(net->parameters, sizeof *other);
        for (size_t i = 0; i < net->parameters; i++)
            other[i] = 0.5f * theta[i];
        sr_energy_set_parameters(energy, other);
        sr_energy_set_parameters(energy, theta);
        memset(hv, 0, values * sizeof *hv);
        assert_int_equal(sr_team_hessian_vector(team, n, x, v, NULL, NULL, hv), SR_OK);
        wide = widened(values, hv);
        check_near(what, values, wide, expected, by->bound);
        sr_free(wide);
        sr_free(other);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_free(x), sr_free(v), sr_free(hv), sr_free(dx), sr_free(e);
    sr_free(expected), sr_free(gradient), sr_free(energies);
}

static void check_products_file(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    const size_t n = oracle_array(tensors, "x")->shape[0];
    for (size_t i = 0; i < ORACLE_ENGINES; i++) {
        if (!oracle_engine_available(&oracle_engines[i]))
            continue;
        check_products(tensors, name, &net, theta, &oracle_engines[i], 0);
        check_products(tensors, name, &net, theta, &oracle_engines[i], n > 4 ? n / 2 + 1 : 2);
    }
    sr_free(theta);
}

static void hessian_vector_products_agree_with_pytorch(void **state) {
    assert_true(oracle_each("energy_", check_products_file) > 0);
}

static void check_double(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    const size_t n = oracle_array(tensors, "x")->shape[0];
    double *wide = widened(net.parameters, theta), *x = oracle_f64(tensors, "x");
    double *e = sr_alloc(n, sizeof *e), *dx = sr_alloc(n * net.inputs, sizeof *dx);
    double *dtheta = sr_alloc(net.parameters, sizeof *dtheta);
    double *energy = oracle_f64(tensors, "expect.energy");
    double *gradient = oracle_f64(tensors, "expect.grad_x");
    assert_int_equal(sr_net_reference_f64(&net, wide, n, x, NULL, e, dx, dtheta), SR_OK);
    check_near(name, n, e, energy, 1e-9);
    check_near(name, n * net.inputs, dx, gradient, 1e-9);
    check_theta(tensors, name, &net, dtheta, 1e-9, 0);
    double *v = oracle_f64(tensors, "v"), *product = oracle_f64(tensors, "expect.hvp");
    assert_int_equal(sr_net_reference_hessian_vector_f64(&net, wide, n, x, v, dx), SR_OK);
    check_near(name, n * net.inputs, dx, product, 1e-9);
    sr_free(v), sr_free(product);
    sr_free(theta), sr_free(wide), sr_free(x), sr_free(e), sr_free(dx), sr_free(dtheta);
    sr_free(energy), sr_free(gradient);
}

static void the_double_reference_agrees_with_pytorch(void **state) {
    assert_true(oracle_each("energy_", check_double) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_agree_with_pytorch),
        cmocka_unit_test(hessian_vector_products_agree_with_pytorch),
        cmocka_unit_test(the_double_reference_agrees_with_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
