// MALA and HMC leave densities known in closed form as they are; diagnostics on numbers whose
// answer is known; the same bits for any number of threads.
#include <shortrun/dynamics.h>

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

typedef struct chains {
    sr_energy *energy;
    sr_team *team;
    sr_mcmc *mcmc;
} chains;

static chains chains_of(sr_energy *energy, const sr_mcmc_options *options, size_t n,
                        unsigned threads) {
    chains c = {.energy = energy};
    float *x = sr_alloc(n, sr_energy_dim(energy) * sizeof *x);
    assert_ok(sr_team_create(energy, threads, &c.team));
    sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, n, sr_energy_dim(energy), x);
    assert_ok(sr_mcmc_create(c.team, options, n, x, &c.mcmc));
    sr_free(x);
    return c;
}

static void chains_end(chains *c) {
    sr_mcmc_destroy(c->mcmc);
    sr_team_destroy(c->team);
    sr_energy_destroy(c->energy);
}

// Means of x, x^2 and x y over many independent chains, after they have converged, within four
// standard errors of those of the density.
static void check_moments(chains *c, size_t steps, double mean_square, double product) {
    size_t n, dim;
    sr_mcmc_adapt(c->mcmc, steps);
    sr_mcmc_run(c->mcmc, steps);
    sr_mcmc_shape(c->mcmc, &n, &dim);
    const float *x = sr_mcmc_states(c->mcmc);
    double sums[3][2] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const double values[3] = {x[i * dim], (double)x[i * dim] * x[i * dim],
                                  (double)x[i * dim] * x[i * dim + 1]};
        for (int k = 0; k < 3; k++) {
            sums[k][0] += values[k];
            sums[k][1] += values[k] * values[k];
        }
    }
    const double expected[3] = {0, mean_square, product};
    for (int k = 0; k < 3; k++) {
        const double mean = sums[k][0] / (double)n;
        const double error = sqrt((sums[k][1] / (double)n - mean * mean) / (double)n);
        if (!(fabs(mean - expected[k]) < 4 * error))
            fail_msg("moment %d: %g, expected %g, standard error %g", k, mean, expected[k], error);
    }
}

static void moments_are_those_of_the_density(void **state) {
    static const double centres[] = {1, 1, -1, -1}; // variance 1 + d^2, covariance 1
    for (size_t leapfrog = 1; leapfrog <= 5; leapfrog += 4) {
        sr_mcmc_options options;
        sr_energy *energy;
        sr_mcmc_options_default(&options);
        options.leapfrog = leapfrog;
        assert_ok(sr_energy_quadratic(10, 0.5, &energy));
        chains c = chains_of(energy, &options, 6000, 2);
        check_moments(&c, 150, 0.25, 0);
        chains_end(&c);
        assert_ok(sr_energy_gaussian_mixture(2, 2, centres, 0.7, NULL, &energy));
        c = chains_of(energy, &options, 6000, 2);
        check_moments(&c, 400, 1.49, 1);
        chains_end(&c);
        // at temperature 2, and half of it from the Gaussian term: precision 4 / 2 + 2
        assert_ok(sr_energy_quadratic(3, 0.5, &energy));
        c = chains_of(energy, &options, 6000, 2);
        sr_mcmc_target(c.mcmc, 0.5, 2);
        check_moments(&c, 150, 0.25, 0);
        chains_end(&c);
    }
}

// A wide Gaussian in a box is nearly uniform there: E x^2 = 1/3 - (1/5 - 1/9) / (2 d^2) + ...
static void a_box_holds_the_chains(void **state) {
    sr_mcmc_options options;
    sr_energy *energy;
    sr_mcmc_options_default(&options);
    options.box = 1;
    assert_ok(sr_energy_quadratic(2, 100, &energy));
    chains c = chains_of(energy, &options, 6000, 2);
    check_moments(&c, 300, 1 / 3.0, 0);
    for (size_t i = 0; i < 12000; i++)
        assert_true(fabsf(sr_mcmc_states(c.mcmc)[i]) <= 1);
    chains_end(&c);
}

// In many dimensions walls do not stop the chains: from a corner they find the uniform density.
static void a_box_of_many_dimensions(void **state) {
    enum { DIM = 300, N = 64 };
    float x[N * DIM];
    double sum = 0, square = 0;
    sr_mcmc_options options;
    sr_energy *energy;
    sr_team *team;
    sr_mcmc *mcmc;
    sr_mcmc_options_default(&options);
    options.box = 1;
    assert_ok(sr_energy_quadratic(DIM, 100, &energy));
    assert_ok(sr_team_create(energy, 2, &team));
    for (size_t i = 0; i < N * DIM; i++)
        x[i] = 1;
    assert_ok(sr_mcmc_create(team, &options, N, x, &mcmc));
    sr_mcmc_adapt(mcmc, 300);
    assert_true(sr_mcmc_step_size(mcmc) > 0.05);
    sr_mcmc_run(mcmc, 100);
    for (size_t i = 0; i < N * DIM; i++) {
        sum += sr_mcmc_states(mcmc)[i];
        square += (double)sr_mcmc_states(mcmc)[i] * sr_mcmc_states(mcmc)[i];
    }
    assert_true(fabs(sum / (N * DIM)) < 4 * sqrt(1 / 3.0 / (N * DIM)));
    assert_true(fabs(square / (N * DIM) - 1 / 3.0) < 4 * sqrt(4 / 45.0 / (N * DIM)));
    sr_mcmc_destroy(mcmc);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void acceptance_goes_where_it_is_sent(void **state) {
    sr_mcmc_options options;
    sr_energy *energy;
    sr_mcmc_options_default(&options);
    assert_ok(sr_energy_quadratic(50, 1, &energy));
    chains c = chains_of(energy, &options, 2000, 2);
    sr_mcmc_set_step_size(c.mcmc, 1e-3);
    assert_true(sr_mcmc_run(c.mcmc, 5) > 0.9999); // tiny steps are always taken
    sr_mcmc_set_step_size(c.mcmc, 3);
    sr_mcmc_adapt(c.mcmc, 400);
    const double size = sr_mcmc_step_size(c.mcmc);
    assert_true(fabs(sr_mcmc_run(c.mcmc, 100) - 0.574) < 0.03);
    assert_true(sr_mcmc_step_size(c.mcmc) == size); // a run adapts nothing
    chains_end(&c);
}

static void the_same_bits_for_any_number_of_threads(void **state) {
    enum { N = 300 };
    static float x[3][2 * N];
    for (unsigned threads = 1; threads <= 3; threads++) {
        static const double centres[] = {1, 0, -1, 0};
        sr_mcmc_options options;
        sr_energy *energy;
        sr_mcmc_options_default(&options);
        options.leapfrog = 3;
        assert_ok(sr_energy_gaussian_mixture(2, 2, centres, 0.5, NULL, &energy));
        chains c = chains_of(energy, &options, N, threads);
        sr_mcmc_adapt(c.mcmc, 50);
        sr_mcmc_run(c.mcmc, 30);
        memcpy(x[threads - 1], sr_mcmc_states(c.mcmc), sizeof x[0]);
        chains_end(&c);
        assert_memory_equal(x[0], x[threads - 1], sizeof x[0]);
    }
}

// ---- diagnostics --------------------------------------------------------------------------------

static void fill_normal(size_t n, double *out) {
    float *x = sr_alloc(n, sizeof *x);
    sr_kernels_get()->normal(sr_stream_make(9, SR_PURPOSE_TEST, 1), 0, 0, n, x);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i];
    sr_free(x);
}

static void independent_draws_have_converged(void **state) {
    enum { CHAINS = 50, DRAWS = 100 };
    static double x[CHAINS * DRAWS];
    fill_normal(CHAINS * DRAWS, x);
    assert_true(fabs(sr_split_r_hat(CHAINS, DRAWS, x) - 1) < 0.005);
    const double effective = sr_effective_draws(CHAINS, DRAWS, x);
    assert_true(effective > 0.85 * CHAINS * DRAWS && effective < 1.2 * CHAINS * DRAWS);
    // an AR(1) with coefficient r is worth (1 - r) / (1 + r) of its draws
    for (size_t c = 0; c < CHAINS; c++)
        for (size_t d = 1; d < DRAWS; d++)
            x[c * DRAWS + d] = 0.5 * x[c * DRAWS + d - 1] + sqrt(0.75) * x[c * DRAWS + d];
    const double share = sr_effective_draws(CHAINS, DRAWS, x) / (CHAINS * DRAWS);
    assert_true(fabs(share - 1 / 3.0) < 0.05);
}

static void stuck_and_drifting_chains_have_not(void **state) {
    enum { CHAINS = 8, DRAWS = 100 };
    static double x[CHAINS * DRAWS];
    fill_normal(CHAINS * DRAWS, x);
    for (size_t i = 0; i < CHAINS * DRAWS; i++)
        x[i] = 0.1 * x[i] + (double)(i / DRAWS % 2); // half of the chains elsewhere
    assert_true(sr_split_r_hat(CHAINS, DRAWS, x) > 3);
    assert_true(sr_effective_draws(CHAINS, DRAWS, x) < 3 * CHAINS);
    for (size_t i = 0; i < CHAINS * DRAWS; i++)
        x[i] = (double)(i % DRAWS); // all chains drift alike: only halves tell
    assert_true(sr_split_r_hat(CHAINS, DRAWS, x) > 1.5);
    for (size_t i = 0; i < CHAINS * DRAWS; i++)
        x[i] = 7;
    assert_true(sr_split_r_hat(CHAINS, DRAWS, x) == 1);
    x[3] = NAN;
    assert_true(isnan(sr_split_r_hat(CHAINS, DRAWS, x)));
    assert_true(isnan(sr_split_r_hat(CHAINS, 3, x)) && isnan(sr_effective_draws(CHAINS, 3, x)));
}

// Split R-hat by hand: halves (1, 3) and (5, 7), (2, 2) and (4, 4): within 1, between 14/3.
static void r_hat_is_that_of_the_book(void **state) {
    const double x[] = {1, 3, 5, 7, 2, 2, 4, 4};
    const double means[] = {2, 6, 2, 4}, all = 3.5;
    double between = 0;
    for (int i = 0; i < 4; i++)
        between += (means[i] - all) * (means[i] - all) / 3;
    const double within = (2 + 2 + 0 + 0) / 4.0;
    assert_true(fabs(sr_split_r_hat(2, 4, x) - sqrt((within / 2 + between) / within)) < 1e-12);
}

// ---- until convergence --------------------------------------------------------------------------

static void chains_run_until_they_have_converged(void **state) {
    enum { N = 200, KEPT = 5 };
    static float draws[KEPT * N * 2];
    sr_mcmc_options options;
    sr_energy *energy;
    sr_long_run found;
    sr_mcmc_options_default(&options);
    assert_ok(sr_energy_quadratic(2, 0.5, &energy));
    chains c = chains_of(energy, &options, N, 2);
    assert_ok(sr_mcmc_converge(c.mcmc, 100000, 1.01, KEPT, draws, NULL, &found));
    assert_true(found.converged && found.r_hat < 1.01 && found.steps < 20000);
    assert_true(found.effective > 500 && fabs(found.acceptance - 0.574) < 0.1);
    double square = 0;
    for (size_t i = 0; i < KEPT * N * 2; i++)
        square += (double)draws[i] * draws[i] / (KEPT * N * 2);
    assert_true(fabs(square - 0.25) < 0.03);
    assert_memory_equal(draws + (KEPT - 1) * N * 2, sr_mcmc_states(c.mcmc), N * 2 * sizeof *draws);
    chains_end(&c);
    // two islands that no chain leaves
    static const double centres[] = {8, 0, -8, 0};
    assert_ok(sr_energy_gaussian_mixture(2, 2, centres, 0.2, NULL, &energy));
    c = chains_of(energy, &options, N, 2);
    assert_ok(sr_mcmc_converge(c.mcmc, 2000, 1.01, 0, NULL, NULL, &found));
    assert_true(!found.converged && found.r_hat > 1.5 && found.steps == 2000);
    assert_int_equal(sr_mcmc_converge(c.mcmc, 10, 1.01, 0, NULL, NULL, &found), SR_ERROR_ARGUMENT);
    chains_end(&c);
}

static void bad_settings_are_refused(void **state) {
    const sr_mcmc_options good = {.leapfrog = 1, .step_size = 1, .acceptance = 0.5};
    sr_mcmc_options bad[5] = {good, good, good, good, good};
    bad[0].leapfrog = 0;
    bad[1].step_size = 0;
    bad[2].step_size = NAN;
    bad[3].acceptance = 1;
    bad[4].box = -1;
    assert_ok(sr_mcmc_options_check(&good));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(sr_mcmc_options_check(&bad[i]), SR_ERROR_ARGUMENT);
    sr_energy *energy;
    sr_team *team;
    sr_mcmc *mcmc;
    const float nowhere[] = {NAN, 0};
    assert_ok(sr_energy_quadratic(2, 1, &energy));
    assert_ok(sr_team_create(energy, 1, &team));
    assert_int_equal(sr_mcmc_create(team, &good, 1, nowhere, &mcmc), SR_ERROR_DIVERGED);
    assert_null(mcmc);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_those_of_the_density),
        cmocka_unit_test(a_box_holds_the_chains),
        cmocka_unit_test(a_box_of_many_dimensions),
        cmocka_unit_test(acceptance_goes_where_it_is_sent),
        cmocka_unit_test(the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(independent_draws_have_converged),
        cmocka_unit_test(stuck_and_drifting_chains_have_not),
        cmocka_unit_test(r_hat_is_that_of_the_book),
        cmocka_unit_test(chains_run_until_they_have_converged),
        cmocka_unit_test(bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
