// The fast path against plain double arithmetic on all pairs: neighbours and balls must be the
// same, sums as near as promised; for data far from the origin, with copies, and collapsed.
#include <shortrun/quality.h>

#include "quality/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 1700, M = 2300, DIM = 520, K = 5 };

typedef struct sets {
    float *real, *fake; // (N, DIM), (M, DIM)
} sets;

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static sets make(float shift, float spread) {
    sets s = {sr_alloc((size_t)N * DIM, sizeof(float)), sr_alloc((size_t)M * DIM, sizeof(float))};
    sr_stream stream = sr_stream_make(31, SR_PURPOSE_TEST, 0);
    assert_non_null(s.real);
    assert_non_null(s.fake);
    for (size_t i = 0; i < N + M; i++) {
        float *x = i < N ? s.real + i * DIM : s.fake + (i - N) * DIM;
        sr_kernels_get()->normal(stream, i, 0, DIM, x);
        for (size_t d = 0; d < DIM; d++)
            x[d] = (d % 16 ? 0.3f : 1.0f) * (i < N ? 1 : spread) * x[d] + shift;
    }
    memcpy(s.fake + 7 * DIM, s.real + 3 * DIM, DIM * sizeof(float)); // copies, exact and near
    memcpy(s.fake + 9 * DIM, s.real + 5 * DIM, DIM * sizeof(float));
    memcpy(s.real + 11 * DIM, s.real + 12 * DIM, DIM * sizeof(float));
    s.fake[9 * DIM] += 1e-3f;
    return s;
}

static void drop(sets *s) {
    sr_free(s->real);
    sr_free(s->fake);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Squared distances of a row to all rows of x (n, DIM).
static void squares_to(const float *row, size_t n, const float *x, double *out) {
    for (size_t j = 0; j < n; j++)
        out[j] = sr_square_exact(DIM, row, x + j * DIM);
}

static double *radii(size_t n, const float *x) {
    double *out = sr_alloc(n, sizeof *out), *all = sr_alloc(n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        squares_to(x + i * DIM, n, x, all);
        qsort(all, n, sizeof *all, ascending);
        out[i] = all[K]; // all[0] is the row itself
    }
    sr_free(all);
    return out;
}

static void check(const sets *s, bool non_strict) {
    double *reach = radii(N, s->real), *fake_reach = radii(M, s->fake);
    double *square = sr_alloc(M, sizeof *square), *nearest = sr_alloc(M, sizeof *nearest);
    size_t *index = sr_alloc(M, sizeof *index), inside = 0, recalled = 0, covered = 0, precise = 0;
    uint8_t *in = sr_alloc(M, 1);
    for (size_t j = 0; j < M; j++)
        nearest[j] = INFINITY;
    for (size_t i = 0; i < N; i++) {
        bool found = false, near = false;
        squares_to(s->real + i * DIM, M, s->fake, square);
        for (size_t j = 0; j < M; j++) {
            bool own = non_strict ? square[j] <= reach[i] : square[j] < reach[i];
            inside += own;
            in[j] |= own;
            near |= own;
            found |= non_strict ? square[j] <= fake_reach[j] : square[j] < fake_reach[j];
            if (square[j] < nearest[j]) {
                nearest[j] = square[j];
                index[j] = i;
            }
        }
        recalled += found;
        covered += near;
    }
    for (size_t j = 0; j < M; j++)
        precise += in[j];

    sr_metric_options options;
    sr_metric_values v;
    size_t *told = sr_alloc(M, sizeof *told);
    double *told_distance = sr_alloc(M, sizeof *told_distance);
    sr_metric_rows rows = {.nearest = told, .nearest_distance = told_distance};
    sr_metric_options_default(&options);
    options.which = SR_NEIGHBOUR_METRICS | SR_BIT(SR_ONE_NN_ACCURACY);
    options.non_strict = non_strict;
    options.rows = &rows;
    assert_false(sr_metrics_exact(N, M, DIM));
    must(sr_metrics(N, s->real, M, s->fake, DIM, &options, &v));
    assert_true(v.value[SR_PRECISION] == (double)precise / M);
    assert_true(v.value[SR_RECALL] == (double)recalled / N);
    assert_true(v.value[SR_DENSITY] == (double)inside / M / K);
    assert_true(v.value[SR_COVERAGE] == (double)covered / N);
    for (size_t j = 0; j < M; j++) {
        assert_int_equal(told[j], index[j]);
        assert_true(told_distance[j] == sqrt(nearest[j]));
    }
    sr_free(reach);
    sr_free(fake_reach);
    sr_free(square);
    sr_free(nearest);
    sr_free(index);
    sr_free(in);
    sr_free(told);
    sr_free(told_distance);
}

static void test_neighbours(void **state) {
    sets s = make(0, 1.1f);
    check(&s, false);
    check(&s, true);
    drop(&s);
}

static void test_far_from_the_origin(void **state) {
    sets s = make(100, 0.5f); // norms 40 times the distances
    check(&s, false);
    drop(&s);
}

static void test_collapsed(void **state) {
    sets s = make(3, 1e-6f); // all fake rows within rounding of one another
    check(&s, false);
    drop(&s);
}

typedef struct sums {
    double distance, kernel; // of each tile's pairs, added without order: 1 thread
} sums;

static void add(void *user, unsigned thread, const sr_tile *t) {
    sums *s = user;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->columns; j++) {
            double square = t->square[i * SR_TILE + j];
            if (t->row_gain && square > 1e-3)
                square += t->row_gain[i] + t->column_gain[j];
            s->distance += sqrt(square);
            double dot =
                t->dot ? t->dot[i * SR_TILE + j]
                       : t->row_shift[i] + t->column_shift[j] - t->square[i * SR_TILE + j] / 2;
            s->kernel += pow(dot / DIM + 1, 3);
        }
}

// Sums over pairs of both paths, and that the errors cover the difference.
static void check_sums(const sets *s, double tolerance) {
    sr_rows real, fake;
    sr_side side[2][2];
    sums sum[2] = {{0, 0}, {0, 0}};
    sr_work work = {.threads = 1};
    must(sr_rows_create("real", N, s->real, DIM, 1, &real));
    must(sr_rows_create("fake", M, s->fake, DIM, 1, &fake));
    sr_frame frame;
    must(sr_frame_create(&real, &fake, &frame));
    for (int exact = 0; exact < 2; exact++) {
        must(sr_side_create(&real, exact ? NULL : &frame, 1, &side[exact][0]));
        must(sr_side_create(&fake, exact ? NULL : &frame, 1, &side[exact][1]));
        must(sr_pair_sweep(&side[exact][0], &side[exact][1], true, &work, add, &sum[exact]));
    }
    assert_true(fabs(sum[0].distance - sum[1].distance) <= tolerance * sum[1].distance);
    assert_true(fabs(sum[0].kernel - sum[1].kernel) <= tolerance * fabs(sum[1].kernel));
    sr_frame_clear(&frame);
    for (int exact = 0; exact < 2; exact++)
        for (int set = 0; set < 2; set++)
            sr_side_clear(&side[exact][set]);
    sr_rows_clear(&real);
    sr_rows_clear(&fake);
}

static void test_sums(void **state) {
    sets s = make(0, 1.1f), far = make(100, 1);
    check_sums(&s, 5e-9); // e.y of 4,000 rows
    check_sums(&far, 1e-8);
    drop(&s);
    drop(&far);
}

static void error_holds(void *user, unsigned thread, const sr_tile *t) {
    const sr_side *side = user;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->columns; j++) {
            double exact = sr_tile_exact(&side[0], &side[1], t, i, j);
            if (fabs(sqrt(t->square[i * SR_TILE + j]) - sqrt(exact)) >
                t->row_error[i] + t->column_error[j])
                fail_msg("rows %zu and %zu: beyond the error", t->row + i, t->column + j);
        }
}

static void test_error(void **state) {
    sr_work work = {.threads = 1};
    sets s = make(100, 1e-4f);
    sr_rows real, fake;
    sr_side side[2];
    must(sr_rows_create("real", N, s.real, DIM, 1, &real));
    must(sr_rows_create("fake", M, s.fake, DIM, 1, &fake));
    sr_frame frame;
    must(sr_frame_create(&real, &fake, &frame));
    must(sr_side_create(&real, &frame, 1, &side[0]));
    must(sr_side_create(&fake, &frame, 1, &side[1]));
    sr_frame_clear(&frame);
    must(sr_pair_sweep(&side[0], &side[1], false, &work, error_holds, side));
    sr_side_clear(&side[0]);
    sr_side_clear(&side[1]);
    sr_rows_clear(&real);
    sr_rows_clear(&fake);
    drop(&s);
}

static void test_threads(void **state) {
    sets s = make(1, 1.2f);
    sr_metric_options options;
    sr_metric_values one, more;
    sr_metric_options_default(&options);
    options.bandwidths = (const double[]){5, 10};
    options.bandwidth_count = 2;
    options.threads = 1;
    must(sr_metrics(N, s.real, M, s.fake, DIM, &options, &one));
    for (options.threads = 2; options.threads <= 3; options.threads++) {
        must(sr_metrics(N, s.real, M, s.fake, DIM, &options, &more));
        assert_memory_equal(&one, &more, sizeof one);
    }
    drop(&s);
}

// Says stop from the given call on.
static bool stop_after(void *user) {
    size_t *left = user;
    return (*left)-- == 0;
}

// A sweep ends between two waves; a monitor that never says stop changes nothing.
static void test_monitor(void **state) {
    enum { COUNT = 600, WIDTH = 3 };
    static float x[COUNT * WIDTH], y[COUNT * WIDTH];
    sr_metric_options options;
    sr_metric_values values, same;
    sr_kernels_get()->normal(sr_stream_make(1, SR_PURPOSE_TEST, 40), 0, 0, COUNT * WIDTH, x);
    sr_kernels_get()->normal(sr_stream_make(1, SR_PURPOSE_TEST, 41), 0, 0, COUNT * WIDTH, y);
    sr_metric_options_default(&options);
    options.which = 1u << SR_KID | 1u << SR_PRECISION;
    assert_int_equal(sr_metrics(COUNT, x, COUNT, y, WIDTH, &options, &values), SR_OK);
    size_t left = SIZE_MAX;
    const sr_monitor monitor = {.user = &left, .stop = stop_after};
    options.monitor = &monitor;
    assert_int_equal(sr_metrics(COUNT, x, COUNT, y, WIDTH, &options, &same), SR_OK);
    assert_memory_equal(&values, &same, sizeof values);
    const size_t asked = SIZE_MAX - left;
    assert_true(asked > 10); // waves of three sweeps, and between scores
    for (size_t allowed = 0; allowed < asked; allowed++) {
        left = allowed;
        assert_int_equal(sr_metrics(COUNT, x, COUNT, y, WIDTH, &options, &same),
                         SR_ERROR_INTERRUPTED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monitor),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_far_from_the_origin),
        cmocka_unit_test(test_collapsed),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
