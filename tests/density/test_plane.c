// Quadrature in the plane against closed forms; distances between densities on a grid.
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

static double log_z_of(sr_energy *energy, const sr_plane *plane, double temperature, double *edge) {
    sr_team *team;
    double log_z;
    assert_ok(sr_team_create(energy, 2, &team));
    assert_ok(sr_plane_gibbs(team, plane, temperature, &log_z, NULL, edge));
    sr_team_destroy(team);
    return log_z;
}

static void log_z_is_that_of_closed_forms(void **state) {
    static const double centres[] = {1, 0.5, -1, -1};
    const sr_plane plane = {.window = 6, .size = 200};
    sr_energy *energy;
    double edge;
    assert_ok(sr_energy_gaussian_mixture(2, 2, centres, 0.5, NULL, &energy));
    assert_true(fabs(log_z_of(energy, &plane, 1, &edge)) < 1e-6); // E = -log density
    assert_true(edge < 1e-12);
    sr_energy_destroy(energy);
    assert_ok(sr_energy_quadratic(2, 0.7, &energy));
    const double expected = log(2 * M_PI * 0.49);
    assert_true(fabs(log_z_of(energy, &plane, 1, &edge) - expected) < 1e-6);
    assert_true(fabs(log_z_of(energy, &plane, 0.5, &edge) - expected - log(0.5)) < 1e-6);
    // a window that cuts the mass shows at its edge
    const sr_plane narrow = {.window = 0.5, .size = 50};
    log_z_of(energy, &narrow, 1, &edge);
    assert_true(edge > 0.05);
    sr_energy_destroy(energy);
}

static void fill_gaussian(const sr_plane *plane, double mean, double deviation, double *out) {
    float *x = sr_alloc(plane->size * plane->size, 2 * sizeof *x);
    sr_plane_points(plane, x);
    for (size_t i = 0; i < plane->size * plane->size; i++) {
        const double a = x[2 * i] - mean, b = x[2 * i + 1], v = deviation * deviation;
        out[i] = -(a * a + b * b) / (2 * v) - log(2 * M_PI * v);
    }
    sr_free(x);
}

// KL of two Gaussians of equal deviation d at distance m is m^2 / (2 d^2), their total variation
// 2 Phi(m / (2 d)) - 1 = erf(m / (2 sqrt(2) d)).
static void distances_are_those_of_closed_forms(void **state) {
    const sr_plane plane = {.window = 6, .size = 300};
    const size_t cells = plane.size * plane.size;
    double *p = sr_alloc(cells, 2 * sizeof *p), *q = p + cells, kl, variation;
    fill_gaussian(&plane, 0, 0.6, p);
    fill_gaussian(&plane, 0.9, 0.6, q);
    sr_plane_compare(&plane, p, q, &kl, &variation);
    assert_true(fabs(kl - 0.81 / 0.72) < 1e-4);
    assert_true(fabs(variation - erf(0.9 / (2 * M_SQRT2 * 0.6))) < 1e-4);
    sr_plane_compare(&plane, p, p, &kl, &variation);
    assert_true(kl == 0 && variation == 0);
    q[cells / 2 + plane.size / 2] = NAN; // a cell without density where p has some
    sr_plane_compare(&plane, p, q, &kl, NULL);
    assert_true(isinf(kl));
    sr_free(p);
}

// The grid is that of the 2-D scores.
static void points_are_cell_centres(void **state) {
    const sr_plane plane = {.window = 2, .size = 4};
    float x[32];
    sr_plane_points(&plane, x);
    assert_true(x[0] == -1.5f && x[1] == -1.5f && x[2] == -0.5f && x[3] == -1.5f);
    assert_true(x[30] == 1.5f && x[31] == 1.5f && x[9] == -0.5f);
}

static void bad_settings_are_refused(void **state) {
    sr_energy *plane_energy, *wide;
    sr_team *team;
    double log_z;
    assert_ok(sr_energy_quadratic(2, 1, &plane_energy));
    assert_ok(sr_energy_quadratic(3, 1, &wide));
    assert_ok(sr_team_create(plane_energy, 1, &team));
    const sr_plane bad[] = {{0, 10}, {NAN, 10}, {1, 1}, {1, 100000}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(sr_plane_gibbs(team, &bad[i], 1, &log_z, NULL, NULL), SR_ERROR_ARGUMENT);
    assert_int_equal(sr_plane_gibbs(team, &(sr_plane){1, 10}, 0, &log_z, NULL, NULL),
                     SR_ERROR_ARGUMENT);
    sr_team_destroy(team);
    assert_ok(sr_team_create(wide, 1, &team));
    assert_int_equal(sr_plane_gibbs(team, &(sr_plane){1, 10}, 1, &log_z, NULL, NULL),
                     SR_ERROR_UNSUPPORTED);
    assert_non_null(strstr(sr_error_message(), "3 dimensions"));
    sr_team_destroy(team);
    sr_energy_destroy(plane_energy), sr_energy_destroy(wide);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_z_is_that_of_closed_forms),
        cmocka_unit_test(distances_are_those_of_closed_forms),
        cmocka_unit_test(points_are_cell_centres),
        cmocka_unit_test(bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
