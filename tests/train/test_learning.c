// Does it learn? A small MLP on eight Gaussians, 300 iterations of noise-free dynamics, K = 10:
// samples must come near the modes, and near all of them.
#include "train_test.h"

#include <math.h>

// Share of points within 3 standard deviations of a mode; covered: modes with at least 3% of the
// points.
static double share_near_modes(size_t n, const float *x, size_t *covered) {
    const double *centres;
    double deviation;
    const size_t modes = sr_toy_modes(SR_EIGHT_GAUSSIANS, &centres, &deviation);
    assert_int_equal(modes, 8);
    size_t near[8] = {0}, total = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t m = 0; m < modes; m++) {
            if (hypot(x[2 * i] - centres[2 * m], x[2 * i + 1] - centres[2 * m + 1]) <
                3 * deviation) {
                near[m]++;
                total++;
                break;
            }
        }
    }
    *covered = 0;
    for (size_t m = 0; m < modes; m++)
        *covered += (double)near[m] >= 0.03 * (double)n;
    return (double)total / (double)n;
}

static void samples_reach_the_modes(void **state) {
    sr_dataset data;
    must(sr_dataset_load("eight_gaussians", NULL, SR_TRAIN, 10000, 1, &data));
    sr_net net;
    must(sr_net_mlp(&net, 2, (const size_t[]){64, 64}, 2, SR_SILU, 1));
    sr_train_options o;
    sr_train_options_default(&o, false);
    o.iterations = 300;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_run(t, NULL, 1e9, NULL, NULL, NULL, NULL));
    enum { N = 2000 };
    float *x = sr_alloc(2 * N, sizeof(float));
    sr_start_fill(SR_START_GAUSSIAN, 99, 0, 0, N, 2, x);
    size_t covered;
    const double before = share_near_modes(N, x, &covered);
    must(sr_dynamics_run(sr_trainer_team(t), &o.dynamics, 99, 0, 0, N, x, NULL));
    const double after = share_near_modes(N, x, &covered);
    print_message("within 3 sd: %.3f before, %.3f after; %zu modes\n", before, after, covered);
    assert_true(after > 0.4);
    assert_true(after > before + 0.15);
    assert_int_equal(covered, 8);
    sr_free(x);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(samples_reach_the_modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
