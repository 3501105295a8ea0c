// Recall and coverage by permutation beside the scores of every division by themselves, on both
// paths of pairs.c, with sets of unequal size, copies and rows far off; and the same for 3 threads.
#include <shortrun/quality.h>

#include "quality/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static float *draw(size_t n, size_t dim, uint64_t purpose, float spread) {
    float *x = sr_alloc(n * dim, sizeof *x);
    assert_non_null(x);
    sr_kernels_get()->normal(sr_stream_make(9, SR_PURPOSE_TEST, purpose), 0, 0, n * dim, x);
    for (size_t i = 0; i < n * dim; i++)
        x[i] *= i / dim % 3 ? spread : 1;
    return x;
}

// Differences of recall and coverage, A less B.
static void score(size_t n, const float *real, size_t n_a, const float *a, size_t n_b,
                  const float *b, size_t dim, const sr_metric_options *given, double out[2]) {
    sr_metric_options o = *given;
    sr_metric_values of_a, of_b;
    o.no_errors = true;
    must(sr_metrics(n, real, n_a, a, dim, &o, &of_a));
    must(sr_metrics(n, real, n_b, b, dim, &o, &of_b));
    out[0] = of_a.value[SR_RECALL] - of_b.value[SR_RECALL];
    out[1] = of_a.value[SR_COVERAGE] - of_b.value[SR_COVERAGE];
}

static void check(size_t n, size_t n_a, size_t n_b, size_t dim, float spread, bool non_strict,
                  size_t permutations) {
    size_t rows = n_a + n_b, *order = sr_alloc(rows, sizeof *order), far[2] = {0, 0};
    float *real = draw(n, dim, 1, 1), *both = draw(rows, dim, 2, spread);
    float *divided = sr_alloc(rows * dim, sizeof *divided);
    double found[2], now[2], p[2], again[2];
    sr_metric_options o;
    memcpy(both + 3 * dim, real + 5 * dim, dim * sizeof *both);         // a copy of a real row
    memcpy(both + (n_a + 1) * dim, both + 2 * dim, dim * sizeof *both); // the same in both sets
    sr_metric_options_default(&o);
    o.which = SR_BIT(SR_RECALL) | SR_BIT(SR_COVERAGE);
    o.non_strict = non_strict;
    o.seed = 4;
    score(n, real, n_a, both, n_b, both + n_a * dim, dim, &o, found);
    for (size_t t = 0; t < permutations; t++) {
        sr_divide(o.seed, t, n_a, rows, order);
        for (size_t i = 0; i < rows; i++)
            memcpy(divided + i * dim, both + order[i] * dim, dim * sizeof *both);
        score(n, real, n_a, divided, n_b, divided + n_a * dim, dim, &o, now);
        for (int s = 0; s < 2; s++)
            far[s] += fabs(now[s]) >= fabs(found[s]) - 1e-12;
    }
    o.threads = 1;
    must(sr_ball_permutation(n, real, n_a, n_b, both, dim, &o, permutations, &p[0], &p[1]));
    o.threads = 3;
    must(sr_ball_permutation(n, real, n_a, n_b, both, dim, &o, permutations, &again[0], &again[1]));
    for (int s = 0; s < 2; s++) {
        assert_true(p[s] == again[s]);
        if (fabs(p[s] - ((double)far[s] + 1) / ((double)permutations + 1)) > 1e-12)
            fail_msg("%s: p %g, expected %g", s ? "coverage" : "recall", p[s],
                     ((double)far[s] + 1) / ((double)permutations + 1));
    }
    sr_free(order);
    sr_free(real);
    sr_free(both);
    sr_free(divided);
}

static void test_exact_path(void **state) {
    check(150, 120, 120, 6, 1.3f, false, 400);
    check(150, 120, 120, 6, 1.3f, true, 100);
    check(90, 150, 60, 3, 3.0f, false, 400);   // fake balls that hold many real rows
    check(100, 400, 20, 12, 1.0f, false, 200); // one set much smaller
}

static void test_fast_path(void **state) {
    assert_false(sr_metrics_exact(1700, 2400, 520));
    check(1700, 1200, 1200, 520, 1.1f, false, 5);
}

static void test_too_unequal(void **state) {
    float *real = draw(50, 2, 1, 1), *both = draw(3006, 2, 2, 1);
    double recall = 0, coverage = 0;
    sr_metric_options o;
    sr_metric_options_default(&o);
    o.which = SR_BIT(SR_RECALL) | SR_BIT(SR_COVERAGE);
    must(sr_ball_permutation(50, real, 3000, 6, both, 2, &o, 9, &recall, &coverage));
    assert_true(isnan(recall) && coverage >= 0.1 && coverage <= 1);
    sr_free(real);
    sr_free(both);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact_path),
                                       cmocka_unit_test(test_fast_path),
                                       cmocka_unit_test(test_too_unequal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
