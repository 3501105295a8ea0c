// Scores of 2-D samples, on samples whose score is known.
#include <shortrun/quality.h>

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define N 10000
#define CELLS (SR_TOY_GRID * SR_TOY_GRID)

static float data[2 * N], samples[2 * N], grid[2 * CELLS];
static double log_q[CELLS];

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static sr_toy_scores judge(sr_toy toy, size_t n, unsigned threads) {
    sr_toy_scores scores;
    must(sr_toy_judge(toy, N, data, n, samples, 0, threads, &scores));
    return scores;
}

static void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g within %g", found, expected, tolerance);
}

static void fill_uniform(double window) {
    sr_stream stream = sr_stream_make(7, SR_PURPOSE_TEST, 0);
    sr_kernels_get()->uniform(stream, 0, 0, 2 * N, samples);
    for (size_t i = 0; i < 2 * N; i++)
        samples[i] = (float)(window * (2 * samples[i] - 1));
}

static void test_perfect_samples(void **state) {
    for (int toy = 0; toy < SR_TOY_COUNT; toy++) {
        sr_toy_sample((sr_toy)toy, 1, 0, N, data);
        sr_toy_sample((sr_toy)toy, 2, 0, N, samples);
        sr_toy_scores scores = judge((sr_toy)toy, N, 2);
        const double *centres;
        double deviation;
        size_t modes = sr_toy_modes((sr_toy)toy, &centres, &deviation);
        assert_int_equal(scores.mode_count, modes);
        assert_int_equal(scores.n, N);
        if (modes) {
            near(scores.modes_covered, (double)modes, 0);
            near(scores.high_quality, 1 - exp(-4.5), 0.01); // of a Gaussian in the plane
        } else {
            assert_true(isnan(scores.modes_covered) && isnan(scores.high_quality));
        }
        near(scores.kl, 0, 0.1);
        near(scores.kl_reverse, 0, 0.1);
        near(scores.kl_true, 0, 0.05); // noise of one histogram instead of two
        near(scores.kl_true_reverse, 0, 0.05);
        near(scores.mmd2, 0, 0.001);
        near(scores.sliced_w2, 0, 0.15);
        assert_int_equal(scores.w2_n, SR_TOY_W2_POINTS);
        assert_true(sr_toy_w2_library() ? scores.w2 > 0 && scores.w2 < 0.4 : isnan(scores.w2));
    }
}

static void test_same_points(void **state) {
    sr_toy_sample(SR_RINGS, 1, 0, N, data);
    memcpy(samples, data, sizeof data);
    near(judge(SR_RINGS, N, 2).kl, 0, 1e-12);
}

static void test_uniform_samples(void **state) {
    sr_toy_sample(SR_EIGHT_GAUSSIANS, 1, 0, N, data);
    fill_uniform(sr_toy_window(SR_EIGHT_GAUSSIANS));
    sr_toy_scores scores = judge(SR_EIGHT_GAUSSIANS, N, 2);
    // log of the window's area minus the entropy of eight Gaussians, whose variance of 0.2^2 the
    // smoothing raises by 0.1^2
    double expected = log(36) - log(8) - log(2 * acos(-1) * exp(1) * 0.05);
    near(scores.kl, expected, 0.05);
    near(scores.kl_true, expected, 0.05);
    assert_true(scores.kl_reverse > 1 && scores.kl_true_reverse > 1);
    assert_true(scores.high_quality < 0.5);
    assert_true(scores.mmd2 > 0.003);
    assert_true(scores.sliced_w2 > 0.2);
}

static void test_missing_modes(void **state) {
    const double *centres;
    double deviation;
    size_t modes = sr_toy_modes(SR_EIGHT_GAUSSIANS, &centres, &deviation), kept = 0;
    assert_int_equal(modes, 8);
    sr_toy_sample(SR_EIGHT_GAUSSIANS, 1, 0, N, data);
    for (size_t i = 0; i < N; i++) // only the modes on the right
        if (data[2 * i] > 0.5) {
            memcpy(samples + 2 * kept, data + 2 * i, 2 * sizeof(float));
            kept++;
        }
    sr_toy_scores scores = judge(SR_EIGHT_GAUSSIANS, kept, 2);
    double expected = 0;
    for (size_t m = 0; m < modes; m++)
        expected += centres[2 * m] > 0.5;
    near(scores.modes_covered, expected, 0);
    assert_true(scores.kl > 1 && isfinite(scores.kl));
    assert_true(scores.kl_true > 1 && isfinite(scores.kl_true));
    // The other way round missed modes only thin out the data: log(all / kept).
    near(scores.kl_reverse, log((double)modes / expected), 0.03);
    near(scores.kl_true_reverse, log((double)modes / expected), 0.03);
}

// Half of the samples are perfect and half are far away: the KL is log 2.
static void test_samples_outside(void **state) {
    sr_toy_sample(SR_EIGHT_GAUSSIANS, 1, 0, N, data);
    memcpy(samples, data, sizeof data);
    for (size_t i = 0; i < N / 2; i++) {
        memcpy(samples + 2 * (N / 2 + i), data + 2 * i, 2 * sizeof(float));
        samples[2 * i] = 1e6f;
    }
    for (size_t i = 0; i < N / 2; i++)
        memcpy(data + 2 * (N / 2 + i), data + 2 * i, 2 * sizeof(float));
    sr_toy_scores scores = judge(SR_EIGHT_GAUSSIANS, N, 2);
    near(scores.kl, log(2), 1e-6); // but for the floor
    near(scores.kl_true, log(2), 0.05);
    // The other way round the lost half costs what the floor lets it.
    double lost = 0.5 * log(0.5) + 0.5 * log(0.5 / SR_TOY_KL_FLOOR);
    near(scores.kl_reverse, lost, 1e-6);
    assert_true(scores.kl_true_reverse > 5); // the density has tails outside
}

static void test_grid_density(void **state) {
    sr_toy toy = SR_EIGHT_GAUSSIANS;
    double window = sr_toy_window(toy), kl;
    sr_toy_grid(toy, grid);
    near(grid[0], -window + window / SR_TOY_GRID, 1e-6);
    near(grid[2] - grid[0], 2 * window / SR_TOY_GRID, 1e-6); // x runs along a row
    near(grid[2 * SR_TOY_GRID + 1] - grid[1], 2 * window / SR_TOY_GRID, 1e-6);
    sr_toy_sample(toy, 1, 0, N, data);
    if (sr_toy_log_density(toy, CELLS, grid, log_q)) {
        must(sr_toy_kl_grid(toy, N, data, log_q, &kl));
        near(kl, 0, 0.1);
        for (size_t c = 0; c < CELLS; c++)
            log_q[c] += 1000; // not normalised
        double shifted;
        must(sr_toy_kl_grid(toy, N, data, log_q, &shifted));
        near(shifted, kl, 1e-9);
    } else {
        fail_msg("eight Gaussians have a density");
    }
    // The uniform density scores as uniform samples do.
    memset(log_q, 0, sizeof log_q);
    must(sr_toy_kl_grid(toy, N, data, log_q, &kl));
    fill_uniform(window);
    near(kl, judge(toy, N, 1).kl, 0.1);
    assert_true(kl > 1);
    log_q[17] = -INFINITY;
    must(sr_toy_kl_grid(toy, N, data, log_q, &kl));
    log_q[17] = NAN;
    assert_int_equal(sr_toy_kl_grid(toy, N, data, log_q, &kl), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "17"));
}

static void test_refusals_and_threads(void **state) {
    sr_toy_scores one, two;
    sr_toy_sample(SR_TWO_MOONS, 1, 0, N, data);
    sr_toy_sample(SR_TWO_MOONS, 3, 0, N, samples);
    one = judge(SR_TWO_MOONS, 1000, 1);
    two = judge(SR_TWO_MOONS, 1000, 3);
    assert_memory_equal(&one, &two, sizeof one);
    assert_int_equal(sr_toy_judge(SR_TWO_MOONS, N, data, 1, samples, 0, 1, &one),
                     SR_ERROR_ARGUMENT);
    samples[9] = NAN;
    assert_int_equal(sr_toy_judge(SR_TWO_MOONS, N, data, N, samples, 0, 1, &one),
                     SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "samples: point 4, coordinate 1 is nan"));
}

// The errors are those of scores over new data and new samples: near the spread of as many draws.
static void test_intervals(void **state) {
    enum { DRAWS = 16, FEW = 1000 };
    double value[3][DRAWS], error[3] = {0};
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        sr_toy_sample(SR_EIGHT_GAUSSIANS, 100 + draw, 0, FEW, data);
        sr_toy_sample(SR_EIGHT_GAUSSIANS, 200 + draw, 0, FEW, samples);
        for (size_t i = 0; i < 2 * FEW; i++)
            samples[i] *= 1.1f;
        sr_toy_scores s;
        must(sr_toy_judge(SR_EIGHT_GAUSSIANS, FEW, data, FEW, samples, 0, 2, &s));
        const sr_estimate of[3] = {s.interval.kl, s.interval.kl_true_reverse, s.interval.sliced_w2};
        near(of[0].value, s.kl, 0);
        assert_true(of[0].low <= s.kl && s.kl <= of[0].high && of[0].low >= 0);
        near(s.interval.high_quality.value, s.high_quality, 0);
        for (size_t k = 0; k < 3; k++) {
            value[k][draw] = of[k].value;
            error[k] += of[k].error / DRAWS;
        }
    }
    for (size_t k = 0; k < 3; k++) {
        sr_estimate mean;
        double deviation;
        must(sr_seeds_summary(DRAWS, value[k], &mean, &deviation));
        if (!(error[k] > 0.5 * deviation && error[k] < 2 * deviation))
            fail_msg("score %zu: mean error %g, deviation over draws %g", k, error[k], deviation);
    }
    sr_toy_scores few; // 30 points: values without errors
    must(sr_toy_judge(SR_EIGHT_GAUSSIANS, 30, data, 30, samples, 0, 1, &few));
    assert_true(isfinite(few.kl) && isnan(few.interval.kl.error) && isnan(few.interval.kl.low));
    assert_true(few.interval.high_quality.high <= 1 && few.interval.high_quality.low >= 0);
}

// One of eight modes holds so many of 2,000 samples at the centres; it needs 50 to be covered.
static sr_toy_scores one_mode_with(size_t held, unsigned threads) {
    enum { SAMPLES = 2000 };
    sr_toy_scores scores;
    const double *centres;
    double deviation;
    assert_int_equal(sr_toy_modes(SR_EIGHT_GAUSSIANS, &centres, &deviation), 8);
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t mode = i < held ? 0 : 1 + i % 7;
        samples[2 * i] = (float)centres[2 * mode];
        samples[2 * i + 1] = (float)centres[2 * mode + 1];
    }
    sr_toy_sample(SR_EIGHT_GAUSSIANS, 5, 0, 100, data);
    must(sr_toy_judge(SR_EIGHT_GAUSSIANS, 100, data, SAMPLES, samples, 3, threads, &scores));
    return scores;
}

static void test_modes_interval(void **state) {
    const sr_estimate edge = one_mode_with(50, 1).interval.modes_covered,
                      again = one_mode_with(50, 3).interval.modes_covered,
                      below = one_mode_with(30, 2).interval.modes_covered,
                      full = one_mode_with(90, 2).interval.modes_covered;
    assert_memory_equal(&edge, &again, sizeof edge);
    near(edge.value, 8, 0); // a coin: the deviation of a Bernoulli
    assert_true(edge.low == 7 && edge.high == 8 && edge.error > 0.45 && edge.error < 0.51);
    assert_true(below.value == 7 && below.low == 7 && below.high == 7); // 50 is 3.7 deviations off
    assert_true(full.value == 8 && full.low == 8 && full.high == 8);
    sr_toy_sample(SR_TWO_MOONS, 5, 0, 100, data);
    sr_toy_scores none;
    must(sr_toy_judge(SR_TWO_MOONS, 100, data, 100, data, 3, 1, &none));
    assert_true(isnan(none.interval.modes_covered.low) && isfinite(none.interval.w2.high));
}

// exp(-E)/Z is given, so that only the data is drawn anew.
static void test_grid_estimate(void **state) {
    sr_toy_sample(SR_RINGS, 5, 0, N, data);
    sr_toy_grid(SR_RINGS, grid);
    for (size_t c = 0; c < CELLS; c++)
        log_q[c] = -0.5 * (pow(grid[2 * c], 2) + pow(grid[2 * c + 1], 2));
    double kl;
    sr_estimate many, fewer;
    must(sr_toy_kl_grid(SR_RINGS, N, data, log_q, &kl));
    must(sr_toy_kl_grid_estimate(SR_RINGS, N, data, log_q, 1, &many));
    must(sr_toy_kl_grid_estimate(SR_RINGS, N / 16, data, log_q, 1, &fewer));
    near(many.value, kl, 0);
    assert_true(many.error > 0 && many.low < kl && kl < many.high);
    near(fewer.error / many.error, 4, 2.5); // 1 / sqrt(n)
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perfect_samples),      cmocka_unit_test(test_same_points),
        cmocka_unit_test(test_uniform_samples),      cmocka_unit_test(test_missing_modes),
        cmocka_unit_test(test_samples_outside),      cmocka_unit_test(test_grid_density),
        cmocka_unit_test(test_refusals_and_threads), cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_grid_estimate),        cmocka_unit_test(test_modes_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
