// The dynamics: what the discretised chain does in closed form, numbering of chains and their
// noise, the trace, clamp, starts, settings, and the same bits for any number of threads.
#include "reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static sr_energy *quadratic(size_t dim, double deviation) {
    sr_energy *energy;
    assert_int_equal(sr_energy_quadratic(dim, deviation, &energy), SR_OK);
    return energy;
}

static sr_energy *network(const char *text, size_t tile, sr_engine engine, sr_precision precision) {
    sr_net net;
    sr_energy *energy;
    assert_int_equal(sr_net_parse(text, &net), SR_OK);
    assert_int_equal(sr_energy_network(&net, engine, precision, tile, &energy), SR_OK);
    float *theta = sr_alloc(net.parameters, sizeof *theta);
    assert_non_null(theta);
    sr_net_init(&net, 5, theta);
    sr_energy_set_parameters(energy, theta);
    sr_free(theta);
    return energy;
}

static float *floats(size_t count) {
    float *x = sr_alloc(count, sizeof *x);
    assert_non_null(x);
    return x;
}

// One run from given states by a team of its own.
static void run(const sr_energy *energy, unsigned threads, const sr_dynamics *dynamics,
                uint64_t epoch, uint64_t first, size_t n, float *x, const sr_trace *trace) {
    sr_team *team;
    assert_int_equal(sr_team_create(energy, threads, &team), SR_OK);
    assert_int_equal(sr_dynamics_run(team, dynamics, 17, epoch, first, n, x, trace), SR_OK);
    sr_team_destroy(team);
}

static void moments(size_t n, const float *x, double *mean, double *variance) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - *mean) * (x[i] - *mean);
    *variance = square / (double)n;
}

// ---- closed forms of the chain ------------------------------------------------------------------

// On E = x^2 / (2 d^2) the noise-free chain is x_k = (1 - s / d^2)^k x_0.
static void noise_free_descent_contracts_as_it_must(void **state) {
    enum { N = 77, D = 3 };
    float x0[N * D], x[N * D];
    sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, N, D, x0);
    const struct {
        double step, deviation;
        bool exact; // every product and difference is a float
    } cases[] = {
        {0.5, 1, true}, {0.25, 0.5, true}, {3, 2, true}, {0.1, 0.7, false}, {1.7, 1.1, false}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sr_energy *energy = quadratic(D, cases[c].deviation);
        for (size_t k = 1; k <= 12; k++) {
            const sr_dynamics dynamics = {.steps = k, .step_size = cases[c].step};
            const double factor =
                pow(1 - cases[c].step / (cases[c].deviation * cases[c].deviation), (double)k);
            memcpy(x, x0, sizeof x);
            run(energy, 2, &dynamics, 0, 0, N, x, NULL);
            for (size_t i = 0; i < N * D; i++) {
                if (cases[c].exact)
                    assert_true(x[i] == (float)(factor * x0[i]));
                else
                    assert_true(fabs(x[i] - factor * x0[i]) <= 1e-5 * fabs(factor * x0[i]) + 1e-12);
            }
        }
        sr_energy_destroy(energy);
    }
}

// x <- a x + sigma eps, a = 1 - s / d^2, has the stationary variance sigma^2 / (1 - a^2); without
// noise on the last step it is a^2 times that; the lag-one correlation is a.
static void langevin_reaches_the_stationary_variance(void **state) {
    enum { N = 20000, D = 2 };
    float *x = floats(N * D), *later = floats(N * D);
    sr_energy *energy = quadratic(D, 0.8);
    sr_dynamics dynamics = {.steps = 40, .step_size = 0.25, .noise = 0.6, .noise_last = true};
    const double a = 1 - 0.25 / 0.64, stationary = 0.36 / (1 - a * a);
    double mean, variance, product = 0, cross = 0;

    run(energy, 2, &dynamics, 0, 0, N, x, NULL);
    moments(N * D, x, &mean, &variance);
    assert_true(fabs(mean) < 5 * sqrt(stationary / (N * D)));
    assert_true(fabs(variance / stationary - 1) < 5 * sqrt(2.0 / (N * D)));

    memcpy(later, x, N * D * sizeof *x);
    dynamics.steps = 1;
    run(energy, 2, &dynamics, 1, 0, N, later, NULL);
    for (size_t i = 0; i < N * D; i++) {
        product += (double)x[i] * later[i];
        cross += (double)x[i] * x[(i + 1) % (N * D)]; // other element, other chain
    }
    assert_true(fabs(product / (N * D) / stationary - a) < 5 * sqrt(1.5 / (N * D)));
    assert_true(fabs(cross / (N * D) / stationary) < 5 * sqrt(1.0 / (N * D)));

    memset(x, 0, N * D * sizeof *x);
    dynamics.steps = 40;
    dynamics.noise_last = false;
    run(energy, 2, &dynamics, 0, 0, N, x, NULL);
    moments(N * D, x, &mean, &variance);
    assert_true(fabs(variance / (a * a * stationary) - 1) < 5 * sqrt(2.0 / (N * D)));
    sr_energy_destroy(energy);
    sr_free(x), sr_free(later);
}

// ---- noise and numbering ------------------------------------------------------------------------

// Drawing the noise and giving the stream's numbers, in their documented place, are the same bits.
static void noise_comes_from_the_documented_stream(void **state) {
    enum { N = 23, D = 70, K = 4 };
    const uint64_t first = 1000000007ull, epoch = 12;
    float *x = floats(N * D), *y = floats(N * D), *noise = floats(K * N * D);
    const sr_stream stream = sr_stream_make(17, SR_PURPOSE_DYNAMICS, epoch);
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < N; i++)
            sr_kernels_get()->normal(stream, first + i, (uint32_t)k, D, noise + (k * N + i) * D);
    sr_energy *energy = quadratic(D, 1.5);
    sr_team *team;
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    for (int last = 0; last < 2; last++) {
        const sr_dynamics dynamics = {
            .steps = K, .step_size = 0.3, .noise = 0.2, .noise_last = last == 1};
        sr_start_fill(SR_START_UNIFORM, 3, 0, 0, N, D, x);
        memcpy(y, x, N * D * sizeof *x);
        assert_int_equal(sr_dynamics_run(team, &dynamics, 17, epoch, first, N, x, NULL), SR_OK);
        assert_int_equal(sr_dynamics_run_given(team, &dynamics, noise, N, y, NULL), SR_OK);
        assert_memory_equal(x, y, N * D * sizeof *x);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_free(x), sr_free(y), sr_free(noise);
}

static void given_noise_may_be_null(void **state) {
    enum { N = 5, D = 2 };
    float x[N * D], y[N * D];
    sr_energy *energy = quadratic(D, 1);
    sr_team *team;
    sr_dynamics dynamics = {.steps = 3, .step_size = 0.3, .noise = 0.5, .noise_last = true};
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    sr_start_fill(SR_START_UNIFORM, 3, 0, 0, N, D, x);
    memcpy(y, x, sizeof x);
    assert_int_equal(sr_dynamics_run_given(team, &dynamics, NULL, N, x, NULL), SR_OK);
    dynamics.noise = 0;
    assert_int_equal(sr_dynamics_run(team, &dynamics, 1, 0, 0, N, y, NULL), SR_OK);
    assert_memory_equal(x, y, sizeof x);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static bool same(size_t count, const float *a, const float *b) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

// Chains first .. first+n-1 run in two parts as in one; other epochs, seeds and numbers differ.
static void chains_are_known_by_their_number(void **state) {
    enum { TILE = 6, N = 4 * TILE, D = 2 };
    float x[N * D], y[N * D], start[N * D];
    const sr_dynamics dynamics = {.steps = 5, .step_size = 0.2, .noise = 0.1, .noise_last = true};
    sr_energy *energy =
        network("mlp:dim=2,widths=16x16,activation=silu", TILE, SR_ENGINE_AUTO, SR_FP32);
    sr_start_fill(SR_START_GAUSSIAN, 9, 4, 100, N, D, start);
    sr_start_fill(SR_START_GAUSSIAN, 9, 4, 100 + N / 2, N / 2, D, y + N / 2 * D);
    assert_true(same(N / 2 * D, start + N / 2 * D, y + N / 2 * D));
    memcpy(x, start, sizeof x);
    memcpy(y, start, sizeof y);
    run(energy, 2, &dynamics, 4, 100, N, x, NULL);
    run(energy, 2, &dynamics, 4, 100, N / 2, y, NULL);
    run(energy, 2, &dynamics, 4, 100 + N / 2, N / 2, y + N / 2 * D, NULL);
    assert_true(same(N * D, x, y));
    memcpy(y, start, sizeof y);
    run(energy, 2, &dynamics, 5, 100, N, y, NULL);
    assert_false(same(N * D, x, y));
    memcpy(y, start, sizeof y);
    run(energy, 2, &dynamics, 4, 101, N, y, NULL);
    assert_false(same(N * D, x, y));
    sr_energy_destroy(energy);
}

// ---- threads ------------------------------------------------------------------------------------

static void check_threads(const sr_energy *energy, size_t n) {
    enum { K = 4 };
    const size_t count = n * sr_energy_dim(energy);
    const sr_dynamics dynamics = {
        .steps = K, .step_size = 0.4, .noise = 0.05, .noise_last = true, .clamp = 1.5};
    float *x0 = floats(count), *one = floats(count), *many = floats(count);
    double traces[2][4][K + 1];
    sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, n, sr_energy_dim(energy), x0);
    for (unsigned threads = 1; threads <= 3; threads++) {
        double(*t)[K + 1] = traces[threads > 1];
        const sr_trace trace = {t[0], t[1], t[2], t[3]};
        float *x = threads == 1 ? one : many;
        memcpy(x, x0, count * sizeof *x);
        run(energy, threads, &dynamics, 2, 0, n, x, &trace);
        if (threads > 1) {
            assert_memory_equal(one, many, count * sizeof *x);
            assert_memory_equal(traces[0], traces[1], sizeof traces[0]);
        }
        memcpy(many, x0, count * sizeof *x);
        run(energy, threads, &dynamics, 2, 0, n, many, NULL); // looking changes nothing
        assert_memory_equal(one, many, count * sizeof *x);
    }
    sr_free(x0), sr_free(one), sr_free(many);
}

static void the_same_bits_for_any_number_of_threads(void **state) {
    static const char *const mlp_text = "mlp:dim=2,widths=32x32,activation=silu";
    static const char *const conv_text = "convnet:channels=3,size=12,nf=4,activation=leaky_relu";
    for (sr_engine engine = SR_ENGINE_AUTO; engine < SR_ENGINE_COUNT; engine++) {
        for (sr_precision p = SR_FP32; p < SR_PRECISION_COUNT; p++) {
            if (!sr_engine_available(engine) || !sr_precision_available(engine, p))
                continue;
            sr_energy *mlp = network(mlp_text, 0, engine, p);
            check_threads(mlp, 1);
            check_threads(mlp, 333);
            sr_energy_destroy(mlp);
            sr_energy *conv = network(conv_text, 4, engine, p);
            check_threads(conv, 4);
            check_threads(conv, 19);
            sr_energy_destroy(conv);
        }
    }
    sr_energy *closed = quadratic(7, 0.9);
    check_threads(closed, 500);
    sr_energy_destroy(closed);
}

// A run of one step, and many chains, against the double reference on a network with all settings
// on.
static void a_network_follows_the_double_reference(void **state) {
    enum { N = 37, D = 3, K = 6 };
    sr_net net;
    assert_int_equal(sr_net_parse("mlp:dim=3,widths=24x16,activation=gelu", &net), SR_OK);
    float theta[1024], x[N * D], noise[K * N * D];
    double theta64[1024], noise64[K * N * D], states[(K + 1) * N * D];
    assert_true(net.parameters <= 1024);
    sr_net_init(&net, 5, theta);
    for (size_t i = 0; i < net.parameters; i++)
        theta64[i] = theta[i] *= 2;
    sr_start_fill(SR_START_GAUSSIAN, 8, 0, 0, N, D, x);
    sr_start_fill(SR_START_GAUSSIAN, 8, 1, 0, K * N, D, noise);
    for (size_t i = 0; i < N * D; i++)
        states[i] = x[i];
    for (size_t i = 0; i < K * N * D; i++)
        noise64[i] = noise[i];
    const sr_dynamics dynamics = {.steps = K, .step_size = 0.5, .noise = 0.3, .clamp = 1.25};
    sr_energy *energy;
    sr_team *team;
    assert_int_equal(sr_energy_network(&net, SR_ENGINE_AUTO, SR_FP32, 8, &energy), SR_OK);
    sr_energy_set_parameters(energy, theta);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    assert_int_equal(sr_dynamics_run_given(team, &dynamics, noise, N, x, NULL), SR_OK);
    assert_int_equal(reference_dynamics(&net, theta64, &dynamics, noise64, N, states), SR_OK);
    for (size_t i = 0; i < N * D; i++)
        assert_true(fabs(x[i] - states[K * N * D + i]) < 1e-5);
    double seconds[SR_PHASE_COUNT];
    sr_team_seconds(team, false, seconds);
    assert_true(seconds[SR_PHASE_NOISE_UPDATE] > 0 && seconds[SR_PHASE_FORWARD] > 0);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- trace --------------------------------------------------------------------------------------

static double norm(size_t n, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

// Every entry from the states themselves, which shorter runs of the same chains leave.
static void the_trace_says_what_happened(void **state) {
    enum { N = 150, D = 2, K = 5 };
    static float x[K + 1][N * D], e[N], dx[N * D], move[D];
    double energies[K + 1], gradients[K + 1], moves[K + 1], largest[K + 1];
    const sr_trace trace = {energies, gradients, moves, largest};
    sr_dynamics dynamics = {.steps = K, .step_size = 0.2, .noise = 0.1, .noise_last = true};
    const double centres[] = {1, 0, -1, 0.5};
    sr_energy *energy;
    sr_team *team;
    assert_int_equal(sr_energy_gaussian_mixture(D, 2, centres, 0.6, NULL, &energy), SR_OK);
    for (size_t k = 0; k <= K; k++) {
        sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, N, D, x[k]);
        dynamics.steps = k;
        if (k > 0)
            run(energy, 2, &dynamics, 0, 0, N, x[k], k == K ? &trace : NULL);
    }
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    for (size_t k = 0; k <= K; k++) {
        double energy_sum = 0, gradient_sum = 0, move_sum = 0, most = 0;
        sr_team_evaluate(team, N, x[k], e, dx);
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < D; j++) {
                move[j] = k < K ? x[k + 1][i * D + j] - x[k][i * D + j] : 0;
                most = fmax(most, fabs(x[k][i * D + j]));
            }
            energy_sum += e[i];
            gradient_sum += norm(D, dx + i * D);
            move_sum += norm(D, move);
        }
        assert_true(fabs(energies[k] - energy_sum / N) < 1e-9 * fabs(energy_sum));
        assert_true(fabs(gradients[k] - gradient_sum / N) < 1e-9 * gradient_sum);
        assert_true(fabs(moves[k] - move_sum / N) <= 1e-9 * move_sum);
        assert_true(largest[k] == most);
    }
    assert_true(moves[K] == 0 && energies[K] < energies[0]);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// Any part of the trace can be had alone.
static void parts_of_the_trace(void **state) {
    enum { N = 9, D = 2, K = 3 };
    float x0[N * D], x[N * D];
    double all[4][K + 1], part[K + 1];
    const sr_trace whole = {all[0], all[1], all[2], all[3]};
    const sr_dynamics dynamics = {.steps = K, .step_size = 0.2};
    sr_energy *energy = quadratic(D, 1);
    sr_start_fill(SR_START_GAUSSIAN, 3, 0, 0, N, D, x0);
    memcpy(x, x0, sizeof x);
    run(energy, 1, &dynamics, 0, 0, N, x, &whole);
    for (int i = 0; i < 4; i++) {
        const sr_trace one = {i == 0 ? part : NULL, i == 1 ? part : NULL, i == 2 ? part : NULL,
                              i == 3 ? part : NULL};
        memcpy(x, x0, sizeof x);
        run(energy, 1, &dynamics, 0, 0, N, x, &one);
        assert_memory_equal(part, all[i], sizeof part);
    }
    sr_energy_destroy(energy);
}

// Gradient not a number where x[0] > 0.9, zero elsewhere.
static void poisoned(void *user, size_t n, size_t dim, const float *x, float *e, float *dx) {
    for (size_t i = 0; i < n * dim; i++)
        if (dx)
            dx[i] = x[i / dim * dim] > 0.9f ? NAN : 0;
    for (size_t i = 0; e && i < n; i++)
        e[i] = 1;
}

// A chain that is not a number shows in the trace for good, and spoils no other chain.
static void the_trace_does_not_hide_nan(void **state) {
    enum { N = 100, D = 2, K = 2 };
    float x0[N * D], x[N * D];
    double largest[K + 1];
    const sr_trace trace = {.largest = largest};
    const sr_dynamics dynamics = {.steps = K, .step_size = 0.2};
    sr_energy *energy;
    assert_int_equal(sr_energy_function(D, poisoned, NULL, &energy), SR_OK);
    for (size_t i = 0; i < N * D; i++)
        x0[i] = 0.5f;
    x0[40 * D] = 1.0f;
    memcpy(x, x0, sizeof x);
    run(energy, 2, &dynamics, 0, 0, N, x, &trace);
    assert_true(largest[0] == 1 && isnan(largest[1]) && isnan(largest[2]));
    for (size_t i = 0; i < N * D; i++)
        assert_true(i / D == 40 ? isnan(x[i]) : x[i] == x0[i]);
    sr_energy_destroy(energy);
}

// ---- clamp, starts, settings --------------------------------------------------------------------

static void states_are_clamped_after_every_step(void **state) {
    enum { N = 200, D = 2 };
    float x0[N * D], free_run[N * D], x[N * D];
    sr_dynamics dynamics = {.steps = 1, .step_size = 0.1, .noise = 0.8, .noise_last = true};
    sr_energy *energy = quadratic(D, 1);
    size_t at_edge = 0;
    sr_start_fill(SR_START_UNIFORM, 3, 0, 0, N, D, x0);
    memcpy(free_run, x0, sizeof x);
    memcpy(x, x0, sizeof x);
    run(energy, 2, &dynamics, 0, 0, N, free_run, NULL);
    dynamics.clamp = 0.75;
    run(energy, 2, &dynamics, 0, 0, N, x, NULL);
    for (size_t i = 0; i < N * D; i++) {
        assert_true(x[i] == fmaxf(-0.75f, fminf(0.75f, free_run[i])));
        at_edge += fabsf(x[i]) == 0.75f;
    }
    assert_true(at_edge > N / 4 && at_edge < N * D);
    sr_energy_destroy(energy);
}

static void starts_have_the_right_law(void **state) {
    enum { N = 4000, D = 5 };
    float *x = floats(N * D), *y = floats(N * D);
    double mean, variance, fourth = 0, low = 1, high = -1;
    sr_start_fill(SR_START_UNIFORM, 1, 0, 0, N, D, x);
    moments(N * D, x, &mean, &variance);
    for (size_t i = 0; i < N * D; i++) {
        assert_true(x[i] >= -1 && x[i] <= 1);
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    assert_true(low < -0.999 && high > 0.999);
    assert_true(fabs(mean) < 5 * sqrt(1.0 / 3 / (N * D)));
    assert_true(fabs(variance - 1.0 / 3) < 5 * sqrt(4.0 / 45 / (N * D)));

    sr_start_fill(SR_START_GAUSSIAN, 1, 0, 0, N, D, y);
    moments(N * D, y, &mean, &variance);
    for (size_t i = 0; i < N * D; i++)
        fourth += pow(y[i], 4) / (N * D);
    assert_true(fabs(mean) < 5 * sqrt(1.0 / (N * D)));
    assert_true(fabs(variance - 1) < 5 * sqrt(2.0 / (N * D)));
    assert_true(fabs(fourth - 3) < 5 * sqrt(96.0 / (N * D)));

    for (int other = 0; other < 3; other++) { // another seed, epoch, first chain
        sr_start_fill(SR_START_UNIFORM, other == 0 ? 2 : 1, other == 1, other == 2, N, D, y);
        assert_false(same(N * D, x, y));
    }
    assert_true(same((N - 1) * D, x + D, y)); // chain 1 of one is chain 1 of the other
    memcpy(y, x, N * D * sizeof *x);
    sr_start_fill(SR_START_DATA, 1, 0, 0, N, D, y);
    sr_start_fill(SR_START_PERSISTENT, 1, 0, 0, N, D, y);
    assert_true(same(N * D, x, y));
    sr_free(x), sr_free(y);
}

static void starts_have_names(void **state) {
    const sr_start starts[] = {SR_START_UNIFORM, SR_START_GAUSSIAN, SR_START_DATA,
                               SR_START_PERSISTENT};
    sr_start start = SR_START_UNIFORM;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(sr_start_parse(sr_start_name(starts[i]), &start), SR_OK);
        assert_int_equal(start, starts[i]);
    }
    assert_string_equal(sr_start_name(SR_START_GAUSSIAN), "gaussian");
    assert_int_equal(sr_start_parse("Gauss", &start), SR_ERROR_ARGUMENT);
    assert_string_equal(sr_error_message(),
                        "unknown start 'Gauss'; it is one of: uniform, gaussian, data, persistent");
}

static void settings_out_of_range_are_refused(void **state) {
    const sr_dynamics good = {.steps = 1, .step_size = 0.1};
#define WITH(...) ((sr_dynamics){.steps = 1, .step_size = 0.1, __VA_ARGS__})
    const struct {
        sr_dynamics dynamics;
        const char *message;
    } bad[] = {
        {{.steps = 0, .step_size = 0.1}, "steps must be at least 1, found 0"},
        {{.steps = 5000000000, .step_size = 1},
         "steps must be at most 4294967295, found 5000000000"},
        {{.steps = 1, .step_size = 0}, "step_size must be positive, found 0"},
        {{.steps = 1, .step_size = -2}, "step_size must be positive, found -2"},
        {{.steps = 1, .step_size = NAN}, "step_size must be finite, found nan"},
        {{.steps = 1, .step_size = INFINITY}, "step_size must be finite, found inf"},
        {{.steps = 1, .step_size = 1e-60}, "step_size must be at least 1.18e-38, found 1e-60"},
        {{.steps = 1, .step_size = 1e60}, "step_size must be at most 3.4e+38, found 1e+60"},
        {WITH(.noise = -0.1), "noise must not be negative, found -0.1"},
        {WITH(.noise = INFINITY), "noise must be finite, found inf"},
        {WITH(.clamp = -1), "clamp must not be negative, found -1"},
        {WITH(.clamp = NAN), "clamp must be finite, found nan"},
        {WITH(.start = (sr_start)9),
         "start must be uniform, gaussian, data or persistent, found number 9"},
        {WITH(.start = SR_START_PERSISTENT, .restart_from = SR_START_PERSISTENT),
         "restart_from must be uniform, gaussian or data, found persistent"},
        {WITH(.start = SR_START_PERSISTENT, .restart_rate = 1.5),
         "restart_rate must lie between 0 and 1, found 1.5"},
        {WITH(.start = SR_START_PERSISTENT, .restart_rate = NAN),
         "restart_rate must lie between 0 and 1, found nan"},
    };
    sr_energy *energy = quadratic(2, 1);
    sr_team *team;
    float x[2] = {0.25f, 0.5f};
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    assert_int_equal(sr_dynamics_check(&good), SR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sr_dynamics_check(&bad[i].dynamics), SR_ERROR_ARGUMENT);
        assert_string_equal(sr_error_message(), bad[i].message);
        assert_int_equal(sr_dynamics_run(team, &bad[i].dynamics, 0, 0, 0, 1, x, NULL),
                         SR_ERROR_ARGUMENT);
        assert_int_equal(sr_dynamics_run_given(team, &bad[i].dynamics, NULL, 1, x, NULL),
                         SR_ERROR_ARGUMENT);
    }
    assert_true(x[0] == 0.25f && x[1] == 0.5f);
    const sr_dynamics persistent =
        WITH(.start = SR_START_PERSISTENT, .restart_from = SR_START_DATA, .restart_rate = 1);
    assert_int_equal(sr_dynamics_check(&persistent), SR_OK);
    assert_int_equal(sr_dynamics_run(team, &good, 0, 0, 0, 0, x, NULL), SR_OK); // no chains
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

static void temperature_follows_from_noise_and_step(void **state) {
    const sr_dynamics dynamics = {.steps = 1, .step_size = 0.5, .noise = 2};
    assert_true(sr_dynamics_temperature(&dynamics) == 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_free_descent_contracts_as_it_must),
        cmocka_unit_test(langevin_reaches_the_stationary_variance),
        cmocka_unit_test(noise_comes_from_the_documented_stream),
        cmocka_unit_test(given_noise_may_be_null),
        cmocka_unit_test(chains_are_known_by_their_number),
        cmocka_unit_test(the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(a_network_follows_the_double_reference),
        cmocka_unit_test(the_trace_says_what_happened),
        cmocka_unit_test(parts_of_the_trace),
        cmocka_unit_test(the_trace_does_not_hide_nan),
        cmocka_unit_test(states_are_clamped_after_every_step),
        cmocka_unit_test(starts_have_the_right_law),
        cmocka_unit_test(starts_have_names),
        cmocka_unit_test(settings_out_of_range_are_refused),
        cmocka_unit_test(temperature_follows_from_noise_and_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
