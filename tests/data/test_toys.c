// The two-dimensional sets: each density integrates to one, samples follow it, and any range of the
// sequence can be drawn alone.
#include "../io/scratch.h"

#include <shortrun/data.h>

#include <math.h>

// Integral of the density over the square [x0, x0+h] x [y0, y0+h], midpoint rule with m x m points.
static double mass(sr_toy toy, double x0, double y0, double h, size_t m) {
    float points[64 * 2];
    double log_density[64], sum = 0;
    size_t n = 0;
    assert_true(m <= 64);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < m; j++) {
            points[2 * j] = (float)(x0 + h * ((double)i + 0.5) / (double)m);
            points[2 * j + 1] = (float)(y0 + h * ((double)j + 0.5) / (double)m);
        }
        assert_true(sr_toy_log_density(toy, m, points, log_density));
        for (size_t j = 0; j < m; j++, n++)
            sum += exp(log_density[j]);
    }
    return sum * h * h / (double)(m * m);
}

// Cells of 0.5 over [-4, 4]^2, which holds every set: mass per cell against counts of samples.
#define CELLS 16
#define SAMPLES 200000

static void check_density(sr_toy toy) {
    static float x[SAMPLES * 2];
    static size_t count[CELLS * CELLS];
    memset(count, 0, sizeof count);
    sr_toy_sample(toy, 12345, 0, SAMPLES, x);
    for (size_t i = 0; i < SAMPLES; i++) {
        double a = floor((x[2 * i] + 4) * 2), b = floor((x[2 * i + 1] + 4) * 2);
        assert_true(a >= 0 && a < CELLS && b >= 0 && b < CELLS);
        count[(size_t)a * CELLS + (size_t)b]++;
    }
    double total = 0, chi2 = 0, worst = 0;
    size_t degrees = 0;
    for (size_t i = 0; i < CELLS * CELLS; i++) {
        double p = mass(toy, (double)(i / CELLS) * 0.5 - 4, (double)(i % CELLS) * 0.5 - 4, 0.5, 16);
        double expected = p * SAMPLES;
        total += p;
        if (expected < 5) {
            assert_true((double)count[i] < expected + 6 * sqrt(expected) + 10);
            continue;
        }
        double deviation = ((double)count[i] - expected) / sqrt(expected);
        chi2 += deviation * deviation;
        worst = fmax(worst, fabs(deviation));
        degrees++;
    }
    // mean `degrees`, variance 2 degrees; the seed is fixed, so this passes or fails for good
    double excess = (chi2 - (double)degrees) / sqrt(2 * (double)degrees);
    if (fabs(total - 1) > 2e-4 || excess > 4 || worst > 5)
        fail_msg("%s: total %.6f, chi2 %.1f for %zu cells, worst %.2f", sr_toy_name(toy), total,
                 chi2, degrees, worst);
}

static void test_densities(void **state) {
    for (int toy = 0; toy < SR_TOY_COUNT; toy++)
        check_density((sr_toy)toy);
}

// The mean of log p over samples agrees with the integral of p log p on a fine grid: sharper than
// the histogram where cells are coarse.
static void test_entropy(void **state) {
    static float x[SAMPLES * 2], grid[1600 * 2];
    static double log_density[SAMPLES], row[1600];
    for (int toy = 0; toy < SR_TOY_COUNT; toy++) {
        sr_toy_sample((sr_toy)toy, 7, 1000, SAMPLES / 8, x);
        assert_true(sr_toy_log_density((sr_toy)toy, SAMPLES / 8, x, log_density));
        double mean = 0, square = 0, integral = 0;
        for (size_t i = 0; i < SAMPLES / 8; i++) {
            assert_true(isfinite(log_density[i]));
            mean += log_density[i];
            square += log_density[i] * log_density[i];
        }
        mean /= SAMPLES / 8;
        double error = sqrt((square / (SAMPLES / 8) - mean * mean) / (SAMPLES / 8));
        const size_t m = 240;
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < m; j++) {
                grid[2 * j] = (float)(((double)i + 0.5) * 8 / (double)m - 4);
                grid[2 * j + 1] = (float)(((double)j + 0.5) * 8 / (double)m - 4);
            }
            sr_toy_log_density((sr_toy)toy, m, grid, row);
            for (size_t j = 0; j < m; j++)
                integral += row[j] > -700 ? exp(row[j]) * row[j] : 0;
        }
        integral *= 64.0 / (double)(m * m);
        if (fabs(mean - integral) > 5 * error + 2e-3)
            fail_msg("%s: mean log density %.5f, integral %.5f", sr_toy_name((sr_toy)toy), mean,
                     integral);
    }
}

// The quadrature of the curves against the same integral with very many plain steps.
static void test_curves_against_plain_sum(void **state) {
    const float x[] = {0.9f, 0.7f, -0.75f, 1.1f, 0.3f, -0.2f, 2.2f, 0.4f};
    double log_density[4];
    assert_true(sr_toy_log_density(SR_TWO_MOONS, 4, x, log_density));
    for (size_t i = 0; i < 4; i++) {
        const int steps = 400000;
        double sum = 0;
        for (int k = 0; k < steps; k++) {
            double t = 3.14159265358979323846 * (k + 0.5) / steps;
            double ax = x[2 * i] - 1.5 * (cos(t) - 0.5), ay = x[2 * i + 1] - 1.5 * (sin(t) - 0.25);
            double bx = x[2 * i] - 1.5 * (0.5 - cos(t)), by = x[2 * i + 1] - 1.5 * (0.25 - sin(t));
            sum += exp(-(ax * ax + ay * ay) / 0.02) + exp(-(bx * bx + by * by) / 0.02);
        }
        double expected = log(sum / steps / 2 / (2 * 3.14159265358979323846 * 0.01));
        assert_true(fabs(log_density[i] - expected) < 1e-7 * (1 + fabs(expected)));
    }
}

static void test_ranges_and_seeds(void **state) {
    float all[40], part[14], other[40];
    for (int toy = 0; toy < SR_TOY_COUNT; toy++) {
        sr_toy_sample((sr_toy)toy, 5, 100, 20, all);
        sr_toy_sample((sr_toy)toy, 5, 106, 7, part);
        assert_memory_equal(all + 12, part, sizeof part);
        sr_toy_sample((sr_toy)toy, 6, 100, 20, other);
        assert_memory_not_equal(all, other, sizeof all);
        // far along: both halves of the index count
        sr_toy_sample((sr_toy)toy, 5, 100 + ((uint64_t)1 << 32), 20, other);
        assert_memory_not_equal(all, other, sizeof all);
    }
}

static void test_far_away(void **state) {
    const float x[] = {1e6f, -1e6f, 0, 0, 50, 50};
    double log_density[3];
    for (int toy = 0; toy < SR_TOY_COUNT; toy++) {
        assert_true(sr_toy_log_density((sr_toy)toy, 3, x, log_density));
        for (size_t i = 0; i < 3; i++)
            assert_false(isnan(log_density[i]) || log_density[i] == (double)INFINITY);
        assert_true(log_density[0] < -1000 && log_density[2] < -1000);
    }
    assert_false(sr_toy_log_density(SR_TOY_COUNT, 1, x, log_density));
}

static void test_modes_and_names(void **state) {
    const double *centres;
    double deviation;
    assert_int_equal(sr_toy_modes(SR_EIGHT_GAUSSIANS, &centres, &deviation), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_true(fabs(hypot(centres[2 * i], centres[2 * i + 1]) - 2) < 1e-12);
        double step = fabs(atan2(centres[2 * i + 1], centres[2 * i]) / atan(1));
        assert_true(fabs(step - round(step)) < 1e-12);
    }
    assert_true(deviation == 0.2);
    assert_int_equal(sr_toy_modes(SR_TWENTY_FIVE_GAUSSIANS, &centres, &deviation), 25);
    double sum = 0;
    for (size_t i = 0; i < 50; i++)
        sum += centres[i] * centres[i];
    assert_true(sum == 100); // 25 x 2 coordinates of mean square 2
    assert_int_equal(sr_toy_modes(SR_RINGS, &centres, &deviation), 0);
    for (int i = 0; i < SR_TOY_COUNT; i++) {
        sr_toy toy;
        assert_int_equal(sr_toy_parse(sr_toy_name((sr_toy)i), &toy), SR_OK);
        assert_int_equal(toy, i);
        // at most one in a thousand points beyond the window
        static float x[20000];
        size_t outside = 0;
        sr_toy_sample(toy, 1, 0, 10000, x);
        for (size_t k = 0; k < 20000; k++)
            outside += fabs((double)x[k]) > sr_toy_window(toy);
        assert_true(outside <= 10);
    }
    sr_toy toy;
    assert_int_equal(sr_toy_parse("nine_gaussians", &toy), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "nine_gaussians"));
    assert_non_null(strstr(sr_error_message(), "checkerboard"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_densities),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_curves_against_plain_sum),
        cmocka_unit_test(test_ranges_and_seeds),
        cmocka_unit_test(test_far_away),
        cmocka_unit_test(test_modes_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
