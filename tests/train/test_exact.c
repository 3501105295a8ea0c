// Exact maximum likelihood in the plane: its gradient against finite differences of the exact
// log-likelihood in double, what training does to that likelihood on points it has not seen, and
// what a mode of the trainer must keep: bits, checkpoints, warnings, refusals.
#include "train_test.h"

#include <math.h>
#include <shortrun/density.h>

static sr_train_options exact_options(size_t grid, double window) {
    sr_train_options o = small_options(false);
    o.exact_grid = grid;
    o.exact_window = window;
    return o;
}

// -mean log p of the rows x under exp(-E)/Z, Z by the midpoint rule on grid x grid cells.
static double loss(const sr_net *net, const double *theta, size_t n, const float *x, size_t grid,
                   double window) {
    const size_t cells = grid * grid, rows = n + cells;
    double *at = sr_alloc(3 * rows, sizeof *at), *e = at + 2 * rows, mean = 0, sum = 0;
    const double side = 2 * window / (double)grid;
    assert_non_null(at);
    for (size_t i = 0; i < 2 * n; i++)
        at[i] = x[i];
    for (size_t i = 0; i < cells; i++) {
        at[2 * (n + i)] = -window + ((double)(i % grid) + 0.5) * side;
        at[2 * (n + i) + 1] = -window + ((double)(i / grid) + 0.5) * side;
    }
    must(sr_net_reference_f64(net, theta, rows, at, NULL, e, NULL, NULL));
    for (size_t i = 0; i < n; i++)
        mean += e[i] / (double)n;
    for (size_t i = n; i < rows; i++)
        sum += exp(-e[i]) * side * side;
    sr_free(at);
    return mean + log(sum);
}

static void gradient_is_that_of_the_likelihood(void **state) {
    enum { GRID = 20 };
    const double window = 3;
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(8);
    sr_train_options o = exact_options(GRID, window);
    sr_trainer *t;
    sr_train_report report;
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, 20);
    double *theta = sr_alloc(net.parameters, sizeof *theta), largest = 0;
    for (size_t i = 0; i < net.parameters; i++)
        theta[i] = t->now.theta[i];
    must(sr_trainer_step(t, &report));
    assert_true(fabs(report.energy_data + report.log_z -
                     loss(&net, theta, o.batch, t->x, GRID, window)) < 1e-4);
    for (size_t i = 0; i < net.parameters; i++)
        largest = fmax(largest, fabs((double)t->gradient[i]));
    for (size_t i = 0; i < net.parameters; i++) {
        const double old = theta[i], h = 1e-4;
        theta[i] = old + h;
        double slope = loss(&net, theta, o.batch, t->x, GRID, window);
        theta[i] = old - h;
        slope = (slope - loss(&net, theta, o.batch, t->x, GRID, window)) / (2 * h);
        theta[i] = old;
        if (!(fabs(slope - (double)t->gradient[i]) < 1e-4 * largest))
            fail_msg("parameter %zu: finite difference %g, gradient %g", i, slope,
                     (double)t->gradient[i]);
    }
    sr_free(theta);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// Mean log-likelihood of the points, by a quadrature that knows nothing of the trainer's.
static double likelihood(sr_trainer *t, size_t n, const float *x) {
    const sr_plane plane = {.window = 5, .size = 250};
    double log_z, sum = 0;
    float *e = sr_alloc(n, sizeof *e);
    must(sr_plane_gibbs(sr_trainer_team(t), &plane, 1, &log_z, NULL, NULL));
    sr_team_evaluate(sr_trainer_team(t), n, x, e, NULL);
    for (size_t i = 0; i < n; i++)
        sum -= (double)e[i] / (double)n;
    sr_free(e);
    return sum - log_z;
}

static void training_raises_the_likelihood(void **state) {
    enum { N = 2000 };
    static float x[2 * N];
    double truth[N], mean = 0;
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(32);
    sr_train_options o = exact_options(40, 3);
    o.batch = 256;
    o.threads = 2;
    o.rate = 1e-2;
    o.beta1 = 0.9;
    o.iterations = 1000;
    sr_toy_sample(SR_EIGHT_GAUSSIANS, 999, 0, N, x);
    assert_true(sr_toy_log_density(SR_EIGHT_GAUSSIANS, N, x, truth));
    for (size_t i = 0; i < N; i++)
        mean += truth[i] / N;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    const double before = likelihood(t, N, x);
    must(sr_trainer_run(t, NULL, 1e9, NULL, NULL, NULL, NULL));
    const double after = likelihood(t, N, x);
    print_message("log-likelihood of held-out points: %.3f before, %.3f after, truth %.3f\n",
                  before, after, mean);
    assert_true(after > before + 1);
    assert_true(after < mean + 0.05 && after > mean - 0.5);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void bits_do_not_depend_on_threads(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    char hash[4][33];
    for (unsigned threads = 1; threads <= 3; threads++) {
        sr_train_options o = exact_options(40, 3);
        o.threads = threads;
        sr_trainer *t;
        must(sr_trainer_create(&net, &data, &o, &t));
        steps(t, 8);
        state_hash(t, hash[threads]);
        sr_trainer_destroy(t);
    }
    assert_string_equal(hash[1], hash[2]);
    assert_string_equal(hash[1], hash[3]);
    sr_dataset_clear(&data);
}

static void checkpoints_go_on_and_know_the_grid(void **state) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = exact_options(24, 3);
    o.dynamics.start = SR_START_PERSISTENT; // nothing of the dynamics is used
    char path[320], whole[33], parts[33];
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    steps(t, 6);
    must(sr_trainer_save(t, scratch_path(path, "exact.safetensors")));
    steps(t, 6);
    state_hash(t, whole);
    sr_trainer_destroy(t);
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_load(t, path));
    steps(t, 6);
    state_hash(t, parts);
    assert_string_equal(whole, parts);
    sr_trainer_destroy(t);
    o.exact_grid = 25;
    must(sr_trainer_create(&net, &data, &o, &t));
    assert_int_equal(sr_trainer_load(t, path), SR_ERROR_ARGUMENT);
    message_holds("exact_grid 24");
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void count_warning(void *user, sr_level level, const char *line) {
    *(int *)user += level == SR_LEVEL_WARNING && strstr(line, "exact_window");
}

static int warnings(double window) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    const sr_train_options o = exact_options(24, window);
    int count = 0;
    const sr_monitor monitor = {.user = &count, .log = count_warning};
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    must(sr_trainer_run(t, NULL, 1e9, &monitor, NULL, NULL, NULL));
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
    return count;
}

static void mass_at_the_edge_is_said_once(void **state) {
    assert_int_equal(warnings(1), 1);
}

static void bad_options_are_refused(void **state) {
    sr_train_options o = exact_options(4, 3);
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_ARGUMENT);
    message_holds("exact_grid");
    o = exact_options(24, 0);
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_ARGUMENT);
    message_holds("exact_window");
    o = exact_options(24, 3);
    o.energy_l2 = 0.1;
    assert_int_equal(sr_train_options_check(&o), SR_ERROR_UNSUPPORTED);
    sr_dataset images = image_data();
    const sr_net net = small_convnet();
    sr_trainer *t;
    o = small_options(true);
    o.exact_grid = 24;
    assert_int_equal(sr_trainer_create(&net, &images, &o, &t), SR_ERROR_UNSUPPORTED);
    message_holds("144");
    assert_null(t);
    sr_dataset_clear(&images);
}

static int clean(void **state) {
    scratch_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_that_of_the_likelihood),
        cmocka_unit_test(training_raises_the_likelihood),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(checkpoints_go_on_and_know_the_grid),
        cmocka_unit_test(mass_at_the_edge_is_said_once),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
