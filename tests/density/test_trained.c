// The induced density of trained models: its integral over the plane, and the histogram of a
// million samples of the generator itself.
#include <shortrun/density.h>
#include <shortrun/train.h>

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

typedef struct model {
    sr_energy *energy;
    sr_team *team;
    sr_dynamics dynamics; // without noise
} model;

static model trained(double noise) {
    model m;
    sr_net net;
    sr_dataset data;
    sr_trainer *trainer;
    sr_train_options options;
    sr_train_options_default(&options, false);
    options.iterations = 400;
    options.batch = 256;
    options.rate = 3e-3;
    options.dynamics.steps = 8;
    options.dynamics.step_size = 0.04;
    options.dynamics.noise = noise;
    options.dynamics.noise_last = false;
    assert_ok(sr_net_parse("mlp:dim=2,widths=48x48,activation=silu", &net));
    assert_ok(sr_dataset_load("eight_gaussians", NULL, SR_TRAIN, 0, 1, &data));
    assert_ok(sr_trainer_create(&net, &data, &options, &trainer));
    for (size_t i = 0; i < options.iterations; i++)
        assert_ok(sr_trainer_step(trainer, NULL));
    assert_ok(sr_energy_network(&net, SR_ENGINE_NATIVE, SR_FP32, 0, &m.energy));
    sr_energy_set_parameters(m.energy, sr_trainer_parameters(trainer));
    assert_ok(sr_team_create(m.energy, 0, &m.team));
    m.dynamics = options.dynamics;
    m.dynamics.noise = 0;
    sr_trainer_destroy(trainer);
    sr_dataset_clear(&data);
    return m;
}

static void model_end(model *m) {
    sr_team_destroy(m->team);
    sr_energy_destroy(m->energy);
}

enum { FINE = 240, COARSE = 48, EACH = FINE / COARSE, SAMPLES = 1000000, CHUNK = 50000 };

// Shares (COARSE, COARSE) of a million samples of the generator; what lies outside the window.
static double histogram(const model *m, const sr_plane *plane, double *share) {
    float *x = sr_alloc(CHUNK, 2 * sizeof *x);
    double outside = 0;
    const double cell = 2 * plane->window / COARSE;
    memset(share, 0, COARSE * COARSE * sizeof *share);
    for (size_t first = 0; first < SAMPLES; first += CHUNK) {
        sr_start_fill(SR_START_GAUSSIAN, 21, 0, first, CHUNK, 2, x);
        assert_ok(sr_dynamics_run(m->team, &m->dynamics, 1, 0, first, CHUNK, x, NULL));
        for (size_t i = 0; i < CHUNK; i++) {
            const double a = (x[2 * i] + plane->window) / cell;
            const double b = (x[2 * i + 1] + plane->window) / cell;
            if (a >= 0 && a < COARSE && b >= 0 && b < COARSE)
                share[(size_t)b * COARSE + (size_t)a] += 1.0 / SAMPLES;
            else
                outside += 1.0 / SAMPLES;
        }
    }
    sr_free(x);
    return outside;
}

// Half the sum of |share - mass| over the cells and all that lies outside.
static double variation_of(const double *share, double outside, const double *mass) {
    double inside = 0, variation = 0;
    for (size_t i = 0; i < COARSE * COARSE; i++) {
        variation += 0.5 * fabs(share[i] - mass[i]);
        inside += mass[i];
    }
    return variation + 0.5 * fabs(outside - fmax(1 - inside, 0));
}

static void check_model(double noise) {
    static double log_density[FINE * FINE], mass[COARSE * COARSE], share[COARSE * COARSE];
    const sr_plane plane = {.window = 4, .size = FINE};
    const double area = 4 * plane.window * plane.window / (FINE * FINE);
    double total, missing;
    model m = trained(noise);
    assert_ok(sr_plane_induced(m.team, &m.dynamics, &plane, NULL, log_density, &total, &missing));
    if (!(fabs(total - 1) < 0.01 && missing < 1e-3))
        fail_msg("trained with noise %g: mass %g, %g of the cells not inverted", noise, total,
                 missing);
    memset(mass, 0, sizeof mass);
    for (size_t i = 0; i < FINE * FINE; i++)
        if (!isnan(log_density[i]))
            mass[i / FINE / EACH * COARSE + i % FINE / EACH] += exp(log_density[i]) * area;
    const double outside = histogram(&m, &plane, share);
    const double variation = variation_of(share, outside, mass);
    if (!(variation < 0.03))
        fail_msg("trained with noise %g: total variation %g from a million samples", noise,
                 variation);
    // a density that is not theirs does not pass: the same cells, mirrored
    for (size_t i = 0; i < COARSE * COARSE / 2; i++) {
        const size_t j = COARSE * COARSE - 1 - i;
        const double swap = mass[i];
        mass[i] = mass[j];
        mass[j] = swap;
    }
    assert_true(variation_of(share, outside, mass) > 2 * variation + 0.01);
    model_end(&m);
}

static void noise_free_training(void **state) {
    check_model(0);
}

static void noisy_training(void **state) {
    check_model(0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_free_training),
        cmocka_unit_test(noisy_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
