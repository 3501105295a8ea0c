// Induced log densities against PyTorch: forward and backward, exact and estimated, every engine
// and precision, for every density_* file.
#include "../energy/oracle.h"

#include <shortrun/density.h>

typedef struct file {
    const char *name;
    sr_dynamics dynamics;
    size_t n, dim;
    float *x0;
    double *x, *log_det, *trace, *log_density;
} file;

static void assert_ok(sr_status status) {
    if (status)
        fail_msg("%s", sr_error_message());
}

static file file_read(const sr_tensors *tensors, const char *name) {
    file f = {.name = name,
              .dynamics = {.steps = (size_t)oracle_number(tensors, "steps"),
                           .step_size = oracle_number(tensors, "step"),
                           .start = SR_START_GAUSSIAN},
              .n = oracle_array(tensors, "x0")->shape[0],
              .x0 = oracle_f32(tensors, "x0"),
              .x = oracle_f64(tensors, "expect.x"),
              .log_det = oracle_f64(tensors, "expect.logdet"),
              .trace = oracle_f64(tensors, "expect.sum_step_trace"),
              .log_density = oracle_f64(tensors, "expect.log_density")};
    f.dim = sr_array_count(oracle_array(tensors, "x0")) / f.n;
    return f;
}

static void file_clear(file *f) {
    sr_free(f->x0), sr_free(f->x), sr_free(f->log_det), sr_free(f->trace), sr_free(f->log_density);
}

// Log determinants of either sign cancel along a trajectory: errors are measured against the
// largest sum or 1, the size of the determinants themselves.
static void check_log_det(const char *what, size_t n, const double *found, const double *expected,
                          double bound) {
    double largest = 1;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - expected[i]) <= bound * largest))
            fail_msg("%s: log det of row %zu is %g, expected %g, off by %.3g of %g", what, i,
                     found[i], expected[i], fabs(found[i] - expected[i]) / largest, largest);
}

// What the sum of log determinants may be off by: the bound is that of single products, relative to
// the largest of them.
static void check_exact(const file *f, sr_team *team, const char *what, double bound) {
    const size_t values = f->n * f->dim;
    float *x = sr_alloc(values, sizeof *x), *back = sr_alloc(values, sizeof *back);
    double *found = sr_alloc(f->n, 3 * sizeof *found), *start = found + f->n;
    double *again = start + f->n;
    uint32_t failed[64];
    sr_density_options options;
    sr_density_options_default(f->dim, &options);
    options.method = SR_LOG_DET_EXACT;
    const double way_back = fmax(2 * bound, 1e-3); // it expands what single steps are off by
    options.tolerance = fmax(1e-5, 0.05 * bound);  // products in bf16 are too rough for less
    assert_true(f->n <= 64);
    memcpy(x, f->x0, values * sizeof *x);
    assert_ok(
        sr_induced_forward(team, &f->dynamics, &options, f->n, x, NULL,
                           &(sr_induced){.log_density = found, .start = start, .failed = failed}));
    check_near_f32(what, values, x, f->x, bound);
    for (size_t i = 0; i < f->n; i++) {
        assert_int_equal(failed[i], 0);
        start[i] -= found[i]; // the sum of log determinants alone
    }
    check_log_det(what, f->n, start, f->log_det, bound);
    check_near(what, f->n, found, f->log_density, bound);
    assert_ok(
        sr_induced_backward(team, &f->dynamics, &options, f->n, x, NULL,
                            &(sr_induced){.log_density = again, .origin = back, .failed = failed}));
    for (size_t i = 0; i < f->n; i++)
        if (failed[i])
            fail_msg("%s: row %zu was not inverted: step %u", what, i, failed[i] - 1);
    double *origin = widened(values, f->x0);
    check_near_f32(what, values, back, origin, way_back);
    check_near(what, f->n, again, f->log_density, way_back);
    sr_free(origin), sr_free(x), sr_free(back), sr_free(found);
}

// The mean over probes lies within five standard errors of the exact value: some hundred rows are
// tested, and with Gaussian probes the tails are longer than normal ones.
static void check_estimate(const file *f, sr_team *team, const char *what, sr_log_det method,
                           sr_probe probe) {
    const double *expected = method == SR_LOG_DET_SERIES ? f->log_det : f->trace;
    float *x = sr_alloc(f->n * f->dim, sizeof *x);
    double *found = sr_alloc(f->n, 3 * sizeof *found);
    sr_density_options options;
    sr_density_options_default(f->dim, &options);
    options.method = method;
    options.probe = probe;
    options.probes = 200;
    memcpy(x, f->x0, f->n * f->dim * sizeof *x);
    assert_ok(sr_induced_forward(
        team, &f->dynamics, &options, f->n, x, NULL,
        &(sr_induced){.log_density = found, .start = found + f->n, .error = found + 2 * f->n}));
    size_t far = 0;
    for (size_t i = 0; i < f->n; i++) {
        double sum = found[f->n + i] - found[i];
        if (method == SR_LOG_DET_TRACE)
            sum = -sum;
        const double off = fabs(sum - expected[i]), error = found[2 * f->n + i];
        if (!(off <= 5 * error + 1e-5 * (1 + fabs(expected[i]))))
            fail_msg("%s, %s with %s probes: row %zu: %g, expected %g, standard error %g", what,
                     sr_log_det_name(method), sr_probe_name(probe), i, sum, expected[i], error);
        far += off > 2 * error;
    }
    assert_true((double)far <= 0.2 * (double)f->n + 1); // the errors are not too large to be wrong
    sr_free(x), sr_free(found);
}

static void check_file(const sr_tensors *tensors, const char *name) {
    sr_net net;
    float *theta = oracle_net(tensors, &net);
    file f = file_read(tensors, name);
    for (size_t i = 0; i < ORACLE_ENGINES; i++) {
        const oracle_engine *by = &oracle_engines[i];
        sr_energy *energy;
        sr_team *team;
        char what[256];
        if (!oracle_engine_available(by))
            continue;
        snprintf(what, sizeof what, "%s, %s in %s", name, sr_engine_name(by->engine),
                 sr_precision_name(by->precision));
        assert_ok(sr_energy_network(&net, by->engine, by->precision, 0, &energy));
        sr_energy_set_parameters(energy, theta);
        assert_ok(sr_team_create(energy, 2, &team));
        check_exact(&f, team, what, by->bound);
        if (by->engine == SR_ENGINE_NATIVE && by->precision == SR_FP32) {
            check_estimate(&f, team, what, SR_LOG_DET_SERIES, SR_PROBE_RADEMACHER);
            check_estimate(&f, team, what, SR_LOG_DET_SERIES, SR_PROBE_GAUSSIAN);
            check_estimate(&f, team, what, SR_LOG_DET_TRACE, SR_PROBE_RADEMACHER);
            check_estimate(&f, team, what, SR_LOG_DET_TRACE, SR_PROBE_GAUSSIAN);
        }
        sr_team_destroy(team);
        sr_energy_destroy(energy);
    }
    file_clear(&f);
    sr_free(theta);
}

static void induced_densities_agree_with_pytorch(void **state) {
    assert_true(oracle_each("density_", check_file) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(induced_densities_agree_with_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
