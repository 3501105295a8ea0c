// One iteration: its gradient against finite differences of the critic loss in double, its start
// states, what it refuses, how it diverges; and the same bits for any number of threads.
#include "train_test.h"

#include <math.h>

// ---- the gradient -------------------------------------------------------------------------------

// Largest singular value of w (rows, columns): power iteration on w^T w, to convergence.
static double singular_value(size_t rows, size_t columns, const double *w) {
    double u[64], v[64], length = 0.0;
    for (size_t j = 0; j < columns; j++)
        u[j] = 1.0 + 0.1 * (double)j;
    for (int k = 0; k < 2000; k++) {
        double norm = 0.0;
        for (size_t i = 0; i < rows; i++) {
            v[i] = 0.0;
            for (size_t j = 0; j < columns; j++)
                v[i] += w[i * columns + j] * u[j];
        }
        for (size_t j = 0; j < columns; j++) {
            u[j] = 0.0;
            for (size_t i = 0; i < rows; i++)
                u[j] += w[i * columns + j] * v[i];
            norm += u[j] * u[j];
        }
        length = sqrt(norm);
        for (size_t j = 0; j < columns; j++)
            u[j] /= length;
    }
    return sqrt(length);
}

// mean E(data) - mean E(samples) + l2 (mean E(data)^2 + mean E(samples)^2) on the rows x, in
// double.
static double critic_loss(const sr_trainer *t, const double *theta, const double *x,
                          bool spectral) {
    const size_t batch = t->options.batch, n = t->net.parameters;
    double *effective = sr_alloc(n, sizeof(double)), *e = sr_alloc(2 * batch, sizeof(double));
    memcpy(effective, theta, n * sizeof(double));
    for (size_t l = 0; spectral && l < t->net.layer_count; l++) {
        const sr_layer *layer = &t->net.layers[l];
        double *w = effective + layer->weight;
        const double value = singular_value(layer->shape.out_channels, layer->shape.in_channels, w);
        for (size_t i = 0; i < layer->shape.out_channels * layer->shape.in_channels; i++)
            w[i] /= value;
    }
    must(sr_net_reference_f64(&t->net, effective, 2 * batch, x, NULL, e, NULL, NULL));
    double loss = 0.0;
    for (size_t i = 0; i < 2 * batch; i++)
        loss += ((i < batch ? e[i] : -e[i]) + t->options.energy_l2 * e[i] * e[i]) / (double)batch;
    sr_free(effective);
    sr_free(e);
    return loss;
}

static void check_gradient(const sr_train_options *o) {
    const sr_net net = small_mlp(6);
    sr_dataset data = toy_data();
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, o, &t));
    const size_t n = net.parameters, rows = 2 * o->batch;
    double *theta = sr_alloc(n, sizeof(double)), *x = sr_alloc(2 * rows, sizeof(double));
    for (size_t i = 0; i < n; i++)
        theta[i] = t->now.theta[i];
    sr_train_report report;
    must(sr_trainer_step(t, &report));
    for (size_t i = 0; i < 2 * rows; i++)
        x[i] = t->x[i];
    const bool spectral = o->spectral_iterations > 0;
    double worst = 0.0, largest = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double h = 1e-5, kept = theta[i];
        theta[i] = kept + h;
        const double above = critic_loss(t, theta, x, spectral);
        theta[i] = kept - h;
        const double below = critic_loss(t, theta, x, spectral);
        theta[i] = kept;
        const double expect = (above - below) / (2.0 * h);
        worst = fmax(worst, fabs(expect - t->gradient[i]));
        largest = fmax(largest, fabs(expect));
        squares += expect * expect;
    }
    assert_true(largest > 1e-3);
    if (worst > 2e-5 * largest + 2e-7)
        fail_msg("gradient differs from finite differences by %g, largest entry %g", worst,
                 largest);
    assert_float_equal(report.gradient_norm, sqrt(squares), 1e-4 * sqrt(squares));
    if (o->energy_l2 == 0.0)
        assert_float_equal(report.gap, critic_loss(t, theta, x, spectral), 1e-5);
    sr_free(theta);
    sr_free(x);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void gradient_is_the_loss_derivative(void **state) {
    sr_train_options o = small_options(false);
    o.batch = 20;
    check_gradient(&o);
    o.engine = SR_ENGINE_SCALAR;
    check_gradient(&o);
}

static void gradient_with_energy_l2(void **state) {
    sr_train_options o = small_options(false);
    o.batch = 20;
    o.energy_l2 = 0.7;
    check_gradient(&o);
}

static void gradient_through_spectral_norm(void **state) {
    sr_train_options o = small_options(false);
    o.batch = 20;
    o.spectral_iterations = 500; // to convergence, so that dsigma/dW is exact
    check_gradient(&o);
}

// The last bias shifts data and samples alike: its gradient is zero without any rounding, or Adam
// would turn the residue into a drift.
static void last_bias_stands_still(void **state) {
    const sr_net net = small_mlp(6);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false); // batch 48: 1/48 is not exact
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    const size_t bias = net.layers[net.layer_count - 1].bias;
    const float before = t->now.theta[bias];
    steps(t, 5);
    assert_true(t->now.theta[bias] == before);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// SGD without momentum, clipped: the parameters move by rate x bound exactly along the gradient.
static void clipping_limits_the_step(void **state) {
    const sr_net net = small_mlp(6);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.optimiser = SR_SGD;
    o.rate = 1.0;
    o.clip_norm = 0.01;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    sr_train_report report;
    must(sr_trainer_step(t, &report));
    assert_true(report.gradient_norm > 0.05);
    double squares = 0.0; // t->next holds the point before the step
    for (size_t i = 0; i < net.parameters; i++)
        squares += pow((double)t->now.theta[i] - t->next.theta[i], 2.0);
    assert_float_equal(sqrt(squares), 0.01, 1e-5);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// ---- start states -------------------------------------------------------------------------------

static size_t equal_rows(size_t n, size_t dim, const float *a, const float *b) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += memcmp(a + i * dim, b + i * dim, dim * sizeof(float)) == 0;
    return count;
}

static void persistent_chains_go_on(void **state) {
    const sr_net net = small_mlp(6);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.batch = 400;
    o.dynamics.start = SR_START_PERSISTENT;
    o.dynamics.restart_from = SR_START_GAUSSIAN;
    for (int k = 0; k < 3; k++) {
        o.dynamics.restart_rate = k == 0 ? 0.0 : k == 1 ? 0.25 : 1.0;
        sr_trainer *t;
        must(sr_trainer_create(&net, &data, &o, &t));
        steps(t, 3);
        float *ends = sr_alloc(o.batch * 2, sizeof(float)),
              *fresh = sr_alloc(o.batch * 2, sizeof(float));
        float *samples = t->x + o.batch * 2;
        memcpy(ends, samples, o.batch * 2 * sizeof(float));
        sr_trainer_fill(t); // start states of the fourth iteration
        sr_start_fill(SR_START_GAUSSIAN, o.seed, 3, 0, o.batch, 2, fresh);
        const size_t kept = equal_rows(o.batch, 2, samples, ends);
        const size_t anew = equal_rows(o.batch, 2, samples, fresh);
        assert_int_equal(kept + anew, o.batch);
        if (k == 0)
            assert_int_equal(anew, 0);
        else if (k == 1) // 100 expected, standard deviation 8.7
            assert_in_range(anew, 60, 140);
        else
            assert_int_equal(kept, 0);
        sr_free(ends);
        sr_free(fresh);
        sr_trainer_destroy(t);
    }
    sr_dataset_clear(&data);
}

// Chains that start from data start from data rows, but not from those of the batch.
static void data_starts_are_other_rows(void **state) {
    const sr_net net = small_mlp(6);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.dynamics.start = SR_START_DATA;
    o.data_noise = 0.0;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    sr_trainer_fill(t);
    const float *samples = t->x + o.batch * 2;
    assert_true(equal_rows(o.batch, 2, samples, t->x) < o.batch / 4);
    for (size_t i = 0; i < o.batch; i++) {
        size_t j = 0;
        while (j < data.count && memcmp(samples + 2 * i, data.x + 2 * j, 2 * sizeof(float)) != 0)
            j++;
        assert_true(j < data.count);
    }
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// ---- divergence ---------------------------------------------------------------------------------

static void divergence_leaves_no_trace(void **state) {
    const sr_net net = small_mlp(16);
    sr_dataset data = toy_data();
    const sr_train_options o = doomed_options();
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    sr_status status = SR_OK;
    sr_train_report report;
    char before[33], after[33], first[512];
    while (status == SR_OK && sr_trainer_iteration(t) < o.iterations) {
        state_hash(t, before);
        status = sr_trainer_step(t, &report);
    }
    assert_int_equal(status, SR_ERROR_DIVERGED);
    assert_true(sr_trainer_iteration(t) > 0);
    assert_int_equal(report.iteration, sr_trainer_iteration(t) + 1);
    assert_true(report.gap < -0.5);
    snprintf(first, sizeof first, "%s", sr_error_message());
    char expect[64];
    snprintf(expect, sizeof expect, "iteration %llu: energy gap -",
             (unsigned long long)report.iteration);
    message_holds(expect);
    message_holds("beyond the bound 0.5 (E(data) = ");
    message_holds("gradient norm ");
    message_holds("max |x| ");
    state_hash(t, after);
    assert_string_equal(before, after);
    assert_int_equal(sr_trainer_step(t, NULL), SR_ERROR_DIVERGED);
    assert_string_equal(first, sr_error_message());
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// One absurd step throws the samples far out, with this seed to very low energies: the positive
// side of the bound.
static void absurd_step_sizes_are_divergence(void **state) {
    const sr_net net = small_mlp(16);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.seed = 8;
    o.dynamics.steps = 1;
    o.dynamics.step_size = 1e6;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    sr_train_report report = {0};
    sr_status status = SR_OK;
    while (status == SR_OK && sr_trainer_iteration(t) < o.iterations)
        status = sr_trainer_step(t, &report);
    assert_int_equal(status, SR_ERROR_DIVERGED);
    assert_true(report.gap > 100.0 && report.largest > 1000.0);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// Without a bound, a run ends when something is no longer finite; here the optimiser's step itself.
static void infinite_values_are_divergence(void **state) {
    const sr_net net = small_mlp(16);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.optimiser = SR_SGD;
    o.rate = 1e6;
    o.gap_bound = 0.0;
    o.iterations = 100;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    sr_status status = SR_OK;
    while (status == SR_OK && sr_trainer_iteration(t) < o.iterations)
        status = sr_trainer_step(t, NULL);
    assert_int_equal(status, SR_ERROR_DIVERGED);
    for (size_t i = 0; i < net.parameters; i++)
        assert_true(isfinite(t->now.theta[i]) && isfinite(sr_trainer_parameters(t)[i]));
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

// A step to infinity is not taken, though all that the iteration saw was finite.
static void steps_to_infinity_are_not_taken(void **state) {
    const sr_net net = small_mlp(16);
    sr_dataset data = toy_data();
    sr_train_options o = small_options(false);
    o.optimiser = SR_SGD;
    o.beta1 = 0.9;
    o.rate = 1e6;
    sr_trainer *t;
    must(sr_trainer_create(&net, &data, &o, &t));
    t->now.m[3] = 1e35f;
    const float before = t->now.theta[3];
    assert_int_equal(sr_trainer_step(t, NULL), SR_ERROR_DIVERGED);
    message_holds("iteration 1: the step leads to parameters of norm inf");
    assert_true(t->now.theta[3] == before && t->now.m[3] == 1e35f);
    assert_int_equal(sr_trainer_iteration(t), 0);
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
}

static void misfits_are_refused(void **state) {
    sr_dataset toy = toy_data(), images = image_data();
    const sr_net mlp = small_mlp(6), convnet = small_convnet();
    const sr_train_options o = small_options(false);
    sr_trainer *t;
    assert_int_equal(sr_trainer_create(&mlp, &images, &o, &t), SR_ERROR_ARGUMENT);
    message_holds("the network takes 2 x 1 x 1 values, samples of 'bars' are 1 x 12 x 12");
    assert_null(t);
    assert_int_equal(sr_trainer_create(&convnet, &toy, &o, &t), SR_ERROR_ARGUMENT);
    sr_net two;
    must(sr_net_mlp(&two, 2, (const size_t[]){4}, 1, SR_SILU, 2));
    assert_int_equal(sr_trainer_create(&two, &toy, &o, &t), SR_ERROR_ARGUMENT);
    message_holds("an energy has one output, this network has 2");
    sr_train_options bad = o;
    bad.batch = 0;
    assert_int_equal(sr_trainer_create(&mlp, &toy, &bad, &t), SR_ERROR_ARGUMENT);
    assert_null(t);
    sr_trainer_destroy(NULL);
    sr_dataset_clear(&toy);
    sr_dataset_clear(&images);
}

// ---- bits and time ------------------------------------------------------------------------------

static void same_bits(const sr_net *net, const sr_dataset *data, sr_train_options o) {
    char hash[3][33];
    for (unsigned threads = 1; threads <= 3; threads++) {
        o.threads = threads;
        sr_trainer *t;
        must(sr_trainer_create(net, data, &o, &t));
        steps(t, 30);
        state_hash(t, hash[threads - 1]);
        sr_trainer_destroy(t);
    }
    assert_string_equal(hash[0], hash[1]);
    assert_string_equal(hash[0], hash[2]);
}

static void same_bits_for_any_threads(void **state) {
    sr_dataset toy = toy_data(), images = image_data();
    const sr_net mlp = small_mlp(32), convnet = small_convnet();
    sr_train_options o = small_options(false);
    o.dynamics.noise = 0.05;
    o.batch = 50; // not a multiple of the tile
    o.data_noise = 0.05;
    o.energy_l2 = 0.01;
    same_bits(&mlp, &toy, o);
    o.engine = SR_ENGINE_SCALAR;
    same_bits(&mlp, &toy, o);
    o = small_options(true);
    o.dynamics.start = SR_START_PERSISTENT;
    o.dynamics.restart_rate = 0.3;
    o.average = 0.9;
    same_bits(&convnet, &images, o);
    sr_dataset_clear(&toy);
    sr_dataset_clear(&images);
}

// Another seed must give other bits, or the test above proves nothing.
static void seeds_differ(void **state) {
    sr_dataset toy = toy_data();
    const sr_net mlp = small_mlp(8);
    sr_train_options o = small_options(false);
    char hash[2][33];
    for (int k = 0; k < 2; k++) {
        o.seed = 100 + (uint64_t)k;
        sr_trainer *t;
        must(sr_trainer_create(&mlp, &toy, &o, &t));
        steps(t, 2);
        sr_hash_hex(sr_trainer_parameters(t), mlp.parameters * sizeof(float), hash[k]);
        sr_trainer_destroy(t);
    }
    assert_string_not_equal(hash[0], hash[1]);
    sr_dataset_clear(&toy);
}

static void time_is_accounted_for(void **state) {
    sr_dataset images = image_data();
    const sr_net convnet = small_convnet();
    const sr_train_options o = small_options(true);
    sr_trainer *t;
    must(sr_trainer_create(&convnet, &images, &o, &t));
    steps(t, 10);
    double whole, phases[SR_PHASE_COUNT], sum = 0.0;
    sr_trainer_seconds(t, &whole, phases);
    for (int i = 0; i < SR_PHASE_COUNT; i++) {
        assert_true(phases[i] > 0.0);
        sum += phases[i];
    }
    assert_true(sum <= whole * 1.01); // one thread: phases are parts of the iterations
    sr_trainer_destroy(t);
    sr_dataset_clear(&images);
}

// With averaging off the team's energy and the parameters that are handed out are one function.
static void parameters_are_what_the_energy_uses(void **state) {
    sr_dataset images = image_data();
    const sr_net convnet = small_convnet();
    sr_train_options o = small_options(true);
    o.average = 0.8;
    sr_trainer *t;
    must(sr_trainer_create(&convnet, &images, &o, &t));
    const size_t n = convnet.parameters;
    assert_memory_equal(sr_trainer_parameters(t), t->now.effective, n * sizeof(float));
    steps(t, 1); // the average of one point is that point
    assert_memory_equal(sr_trainer_parameters(t), t->now.effective, n * sizeof(float));
    steps(t, 3);
    assert_memory_not_equal(sr_trainer_parameters(t), t->now.effective, n * sizeof(float));
    assert_memory_not_equal(t->now.theta, t->now.effective, n * sizeof(float));
    // E of the effective parameters, by the reference, is what the team computes.
    double *theta = sr_alloc(n, sizeof(double)), *x = sr_alloc(144, sizeof(double)), expect;
    float e;
    for (size_t i = 0; i < n; i++)
        theta[i] = t->now.effective[i];
    for (size_t i = 0; i < 144; i++)
        x[i] = images.x[i];
    must(sr_net_reference_f64(&convnet, theta, 1, x, NULL, &expect, NULL, NULL));
    sr_team_evaluate(sr_trainer_team(t), 1, images.x, &e, NULL);
    assert_float_equal(e, expect, 1e-5);
    sr_free(theta);
    sr_free(x);
    sr_trainer_destroy(t);
    sr_dataset_clear(&images);
}

static int tidy(void **state) {
    scratch_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_loss_derivative),
        cmocka_unit_test(gradient_with_energy_l2),
        cmocka_unit_test(gradient_through_spectral_norm),
        cmocka_unit_test(last_bias_stands_still),
        cmocka_unit_test(clipping_limits_the_step),
        cmocka_unit_test(persistent_chains_go_on),
        cmocka_unit_test(data_starts_are_other_rows),
        cmocka_unit_test(divergence_leaves_no_trace),
        cmocka_unit_test(absurd_step_sizes_are_divergence),
        cmocka_unit_test(infinite_values_are_divergence),
        cmocka_unit_test(steps_to_infinity_are_not_taken),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(same_bits_for_any_threads),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(time_is_accounted_for),
        cmocka_unit_test(parameters_are_what_the_energy_uses),
    };
    return cmocka_run_group_tests(tests, NULL, tidy);
}
