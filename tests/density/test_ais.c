// Annealed importance sampling where log Z is known: within half a nat up to 784 dimensions,
// forward below reverse; boxes; the same bits for any number of threads.
#include <shortrun/density.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void assert_ok(sr_status status) {
    if (status)
        fail_msg("%s", sr_error_message());
}

static sr_ais_options options_of(size_t chains, size_t levels) {
    sr_ais_options options;
    sr_ais_options_default(&options);
    options.chains = chains;
    options.levels = levels;
    return options;
}

// E = |x|^2 / (2 d^2): log Z = dim log(2 pi d^2 T) / 2, exact samples are at hand for the way back.
static void check_gaussian(size_t dim, double deviation, double temperature, size_t levels) {
    sr_energy *energy;
    sr_team *team;
    sr_ais forward, reverse;
    sr_ais_options options = options_of(32, levels);
    options.temperature = temperature;
    const double spread = deviation * sqrt(temperature);
    const double expected = 0.5 * (double)dim * log(2 * M_PI * spread * spread);
    float *x = sr_alloc(options.chains, dim * sizeof *x);
    assert_ok(sr_energy_quadratic(dim, deviation, &energy));
    assert_ok(sr_team_create(energy, 2, &team));
    assert_ok(sr_ais_forward(team, &options, NULL, NULL, &forward));
    sr_start_fill(SR_START_GAUSSIAN, 77, 0, 0, options.chains, dim, x);
    for (size_t i = 0; i < options.chains * dim; i++)
        x[i] *= (float)spread;
    assert_ok(sr_ais_reverse(team, &options, NULL, x, &reverse));
    if (!(fabs(forward.log_z - expected) < 0.5 && fabs(reverse.log_z - expected) < 0.5))
        fail_msg("%zu dimensions, deviation %g: %g forward, %g reverse, expected %g", dim,
                 deviation, forward.log_z, reverse.log_z, expected);
    // the bracket, as far as its ends are known
    assert_true(forward.log_z < reverse.log_z + 3 * (forward.error + reverse.error));
    assert_true(forward.effective > 2 && forward.effective <= 32.001);
    assert_true(forward.acceptance > 0.4 && forward.acceptance < 0.95);
    sr_free(x);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void log_z_of_gaussians(void **state) {
    check_gaussian(2, 0.3, 1, 300);
    check_gaussian(50, 0.5, 1, 300);
    check_gaussian(10, 0.5, 2, 300);
}

static void log_z_in_many_dimensions(void **state) {
    check_gaussian(784, 0.5, 1, 4000);
}

static void log_z_of_a_mixture(void **state) {
    static const double centres[] = {1.5, 0, -1.5, 0, 0, 1.5};
    sr_energy *energy;
    sr_team *team;
    sr_ais found;
    const sr_ais_options options = options_of(500, 300);
    assert_ok(sr_energy_gaussian_mixture(2, 3, centres, 0.3, NULL, &energy));
    assert_ok(sr_team_create(energy, 2, &team));
    assert_ok(sr_ais_forward(team, &options, NULL, NULL, &found));
    assert_true(fabs(found.log_z) < 4 * found.error + 0.02);
    assert_true(found.error < 0.1);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// A Gaussian of deviation 1 cut to [-1, 1]^d: Z = (sqrt(2 pi) erf(1 / sqrt 2))^d.
static void log_z_in_a_box(void **state) {
    enum { DIM = 20 };
    sr_energy *energy;
    sr_team *team;
    sr_ais found;
    float x[50 * DIM];
    sr_ais_options options = options_of(50, 200);
    options.box = 1;
    assert_ok(sr_energy_quadratic(DIM, 1, &energy));
    assert_ok(sr_team_create(energy, 2, &team));
    assert_ok(sr_ais_forward(team, &options, NULL, x, &found));
    const double expected = DIM * log(sqrt(2 * M_PI) * erf(M_SQRT1_2));
    assert_true(fabs(found.log_z - expected) < 4 * found.error + 0.02);
    for (size_t i = 0; i < 50 * DIM; i++)
        assert_true(fabsf(x[i]) <= 1);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void the_same_bits_for_any_number_of_threads(void **state) {
    sr_energy *energy;
    sr_ais found[3];
    const sr_ais_options options = options_of(100, 60);
    assert_ok(sr_energy_quadratic(5, 0.5, &energy));
    memset(found, 0, sizeof found);
    for (unsigned threads = 1; threads <= 3; threads++) {
        sr_team *team;
        assert_ok(sr_team_create(energy, threads, &team));
        assert_ok(sr_ais_forward(team, &options, NULL, NULL, &found[threads - 1]));
        sr_team_destroy(team);
        assert_true(found[threads - 1].log_z == found[0].log_z);
        assert_true(found[threads - 1].error == found[0].error);
    }
    sr_energy_destroy(energy);
}

static bool stop_at_once(void *user) {
    return true;
}

static void it_stops_and_refuses(void **state) {
    sr_energy *energy;
    sr_team *team;
    sr_ais found;
    sr_ais_options options = options_of(10, 100);
    assert_ok(sr_energy_quadratic(2, 1, &energy));
    assert_ok(sr_team_create(energy, 1, &team));
    assert_int_equal(
        sr_ais_forward(team, &options, &(sr_monitor){.stop = stop_at_once}, NULL, &found),
        SR_ERROR_INTERRUPTED);
    options.levels = 1;
    assert_int_equal(sr_ais_forward(team, &options, NULL, NULL, &found), SR_ERROR_ARGUMENT);
    options = options_of(10, 100);
    options.temperature = 0;
    assert_int_equal(sr_ais_forward(team, &options, NULL, NULL, &found), SR_ERROR_ARGUMENT);
    options = options_of(1, 100);
    assert_int_equal(sr_ais_forward(team, &options, NULL, NULL, &found), SR_ERROR_ARGUMENT);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// `test_ais wide`: what takes long.
int main(int argc, char **argv) {
    const struct CMUnitTest wide[] = {
        cmocka_unit_test(log_z_in_many_dimensions),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_z_of_gaussians),
        cmocka_unit_test(log_z_of_a_mixture),
        cmocka_unit_test(log_z_in_a_box),
        cmocka_unit_test(the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(it_stops_and_refuses),
    };
    if (argc > 1 && strcmp(argv[1], "wide") == 0)
        return cmocka_run_group_tests(wide, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
