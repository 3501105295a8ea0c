// The library in one page: train an energy on eight Gaussians with noise-free short-run dynamics,
// draw samples, judge them. Built and run as a test; with an installed library:
//     cc example.c $(pkg-config --cflags --libs shortrun) -o example
#include <shortrun/shortrun.h>

#include <stdio.h>

#define SAMPLES 2000

static sr_status train(const sr_net *net, const sr_dataset *data, sr_trainer **out) {
    sr_train_options options;
    sr_train_options_default(&options, false); // settings for points, not images
    options.iterations = 200;
    options.dynamics.steps = 10;  // K
    options.dynamics.noise = 0.0; // sigma: noise-free
    sr_status status = sr_trainer_create(net, data, &options, out);
    sr_train_report report = {0};
    for (size_t i = 0; i < options.iterations && status == SR_OK; i++)
        status = sr_trainer_step(*out, &report);
    if (status == SR_OK)
        printf("trained: energy gap %.3f\n", report.gap);
    return status;
}

static sr_status sample(const sr_net *net, const float *theta, float *x) {
    sr_train_options options;
    sr_energy *energy = NULL;
    sr_team *team = NULL;
    sr_train_options_default(&options, false);
    sr_status status = sr_energy_network(net, SR_ENGINE_AUTO, SR_FP32, 0, &energy);
    if (status == SR_OK) {
        sr_energy_set_parameters(energy, theta);
        status = sr_team_create(energy, 0, &team); // 0: all threads
    }
    if (status == SR_OK) {
        sr_start_fill(SR_START_GAUSSIAN, 7, 0, 0, SAMPLES, 2, x); // seed 7
        status = sr_dynamics_run(team, &options.dynamics, 7, 0, 0, SAMPLES, x, NULL);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    return status;
}

int main(void) {
    const size_t widths[] = {64, 64};
    static float x[SAMPLES * 2];
    sr_dataset data = {0};
    sr_net net;
    sr_trainer *trainer = NULL;
    sr_toy_scores scores;
    sr_status status =
        sr_dataset_load("eight_gaussians", NULL, SR_TRAIN, 0 /* all */, 1 /* seed */, &data);
    if (status == SR_OK)
        status = sr_net_mlp(&net, 2, widths, 2, SR_SILU, 1);
    if (status == SR_OK)
        status = train(&net, &data, &trainer);
    if (status == SR_OK)
        status = sample(&net, sr_trainer_parameters(trainer), x);
    if (status == SR_OK)
        status = sr_toy_judge(SR_EIGHT_GAUSSIANS, data.count, data.x, SAMPLES, x, 1, 0, &scores);
    if (status == SR_OK)
        printf("%zu samples: %.0f of %zu modes, KL(data || samples) %.2f\n", scores.n,
               scores.modes_covered, scores.mode_count, scores.kl);
    else
        fprintf(stderr, "%s\n", sr_error_message()); // one line that says what is wrong
    sr_trainer_destroy(trainer);
    sr_dataset_clear(&data);
    return status == SR_OK ? 0 : 1;
}
