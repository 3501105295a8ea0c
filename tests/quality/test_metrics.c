// Properties that metrics must have, whatever the data: zero of a set to itself, symmetry,
// indifference to the order of rows, closed forms, few rows, dead features, clear refusals, the
// same bits for any thread count.
#include <shortrun/quality.h>

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ALL ((1u << SR_METRIC_COUNT) - 1)

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

// (n, dim) normals, scaled and shifted.
static float *normals(uint64_t seed, size_t n, size_t dim, float scale, float shift) {
    float *x = sr_alloc(n * dim, sizeof(float));
    assert_non_null(x);
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_TEST, 0);
    for (size_t i = 0; i < n; i++)
        sr_kernels_get()->normal(stream, i, 0, dim, x + i * dim);
    for (size_t i = 0; i < n * dim; i++)
        x[i] = scale * x[i] + shift;
    return x;
}

static sr_metric_values measure(size_t n, const float *a, size_t m, const float *b, size_t dim,
                                unsigned threads) {
    sr_metric_options options;
    sr_metric_values values;
    sr_metric_options_default(&options);
    options.threads = threads;
    must(sr_metrics(n, a, m, b, dim, &options, &values));
    return values;
}

static void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g within %g", found, expected, tolerance);
}

static void test_names(void **state) {
    for (int i = 0; i < SR_METRIC_COUNT; i++) {
        sr_metric metric;
        must(sr_metric_parse(sr_metric_name((sr_metric)i), &metric));
        assert_int_equal(metric, i);
    }
    sr_metric metric;
    assert_int_equal(sr_metric_parse("fid", &metric), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "one_nn_accuracy"));
    assert_true(sr_metric_lower_is_better(SR_FRECHET));
    assert_false(sr_metric_lower_is_better(SR_COVERAGE));
}

static void test_to_itself(void **state) {
    size_t n = 300, dim = 12;
    float *x = normals(1, n, dim, 1, 0);
    sr_metric_values v = measure(n, x, n, x, dim, 2);
    near(v.value[SR_FRECHET], 0, 1e-9);
    near(v.value[SR_SLICED_W2], 0, 0);
    near(v.value[SR_ENERGY_DISTANCE], 0, 1e-12);
    near(v.value[SR_PRECISION], 1, 0);
    near(v.value[SR_RECALL], 1, 0);
    near(v.value[SR_COVERAGE], 1, 0);
    // Each ball holds its own centre and, by the strict <, k - 1 neighbours.
    near(v.value[SR_DENSITY], 1, 0);
    // Unbiased estimates count k(x, x) in the cross term only: -2 (mean k(x, x) - mean k(x, y)) /
    // n.
    assert_true(v.value[SR_KID] < 0 && v.value[SR_MMD2_RBF] < 0);
    near(v.value[SR_MMD2_RBF], 0, 2.0 / (double)n);
    // Every row's nearest neighbour is its own copy, which has the other label.
    near(v.value[SR_ONE_NN_ACCURACY], 0, 0);
    sr_free(x);
}

static void test_same_distribution(void **state) {
    size_t n = 1000, dim = 4;
    float *x = normals(2, n, dim, 1, 0), *y = normals(3, n, dim, 1, 0),
          *z = normals(4, n, dim, 1, 2);
    sr_metric_values near_by = measure(n, x, n, y, dim, 2), far = measure(n, x, n, z, dim, 2);
    near(near_by.value[SR_KID], 0, 0.05);
    near(near_by.value[SR_MMD2_RBF], 0, 0.004);
    near(near_by.value[SR_ONE_NN_ACCURACY], 0.5, 0.05);
    near(near_by.value[SR_DENSITY], 1, 0.1);
    assert_true(near_by.value[SR_COVERAGE] > 0.9);
    for (int metric = 0; metric < SR_METRIC_COUNT; metric++) {
        double a = near_by.value[metric], b = far.value[metric];
        assert_true(sr_metric_lower_is_better((sr_metric)metric) ? a < b : a > b);
    }
    sr_free(x);
    sr_free(y);
    sr_free(z);
}

// Of two point clouds that are exact copies but for a shift and a scale s, the distance is known:
// |shift|^2 + (1 - s)^2 tr C.
static void test_frechet_closed_form(void **state) {
    size_t n = 50, dim = 80; // fewer rows than dimensions: singular covariances
    float *x = normals(5, n, dim, 1, 0), *y = sr_alloc(n * dim, sizeof(float));
    for (size_t i = 0; i < n * dim; i++)
        y[i] = 2 * x[i];
    double trace = 0, mean_squares = 0;
    for (size_t d = 0; d < dim; d++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            mean += x[i * dim + d] / (double)n;
        for (size_t i = 0; i < n; i++)
            squares += (x[i * dim + d] - mean) * (x[i * dim + d] - mean);
        trace += squares / (double)(n - 1);
        mean_squares += mean * mean;
    }
    sr_metric_values v = measure(n, x, n, y, dim, 1);
    near(v.value[SR_FRECHET], mean_squares + trace, 1e-5 * trace);
    sr_free(x);
    sr_free(y);
}

// Variances that span seven decades all count: of b = a / 2 the distance is (tr C + |mu|^2) / 4.
static void test_frechet_small_variances(void **state) {
    enum { N = 300, DIM = 64 };
    float *a = normals(11, N, DIM, 1, 0), *b = sr_alloc(N * DIM, sizeof *b);
    double expected = 0;
    for (size_t d = 0; d < DIM; d++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < N; i++) {
            a[i * DIM + d] *= d ? 3.2e-4f : 1;
            b[i * DIM + d] = a[i * DIM + d] / 2;
            mean += a[i * DIM + d] / (double)N;
        }
        for (size_t i = 0; i < N; i++)
            variance += (a[i * DIM + d] - mean) * (a[i * DIM + d] - mean) / (N - 1.0);
        expected += (variance + mean * mean) / 4;
    }
    sr_metric_values v = measure(N, a, N, b, DIM, 1);
    near(v.value[SR_FRECHET], expected, 1e-7 * expected);
    sr_free(a);
    sr_free(b);
}

static void test_symmetry_and_order(void **state) {
    size_t n = 130, m = 90, dim = 7;
    float *x = normals(6, n, dim, 1, 0), *y = normals(7, m, dim, 1.2f, 0.3f);
    float *turned = sr_alloc(n * dim, sizeof(float));
    for (size_t i = 0; i < n; i++)
        memcpy(turned + i * dim, x + (n - 1 - i) * dim, dim * sizeof(float));
    sr_metric_values v = measure(n, x, m, y, dim, 2), w = measure(m, y, n, x, dim, 2);
    sr_metric_values t = measure(n, turned, m, y, dim, 2);
    const sr_metric symmetric[] = {SR_FRECHET,         SR_KID,       SR_MMD2_RBF,
                                   SR_ENERGY_DISTANCE, SR_SLICED_W2, SR_ONE_NN_ACCURACY};
    for (size_t i = 0; i < sizeof symmetric / sizeof symmetric[0]; i++)
        near(v.value[symmetric[i]], w.value[symmetric[i]], 1e-9);
    near(v.value[SR_PRECISION], w.value[SR_RECALL], 0);
    near(v.value[SR_RECALL], w.value[SR_PRECISION], 0);
    near(v.bandwidth, w.bandwidth, 0);
    // Those left out take the first min(n, m) rows, or random subsets.
    const uint32_t other = 1u << SR_SLICED_W2 | 1u << SR_ONE_NN_ACCURACY | 1u << SR_KID_SUBSETS |
                           1u << SR_C2ST_ACCURACY;
    for (int metric = 0; metric < SR_METRIC_COUNT; metric++)
        if (!(other >> metric & 1))
            near(t.value[metric], v.value[metric], 1e-9);
    sr_free(x);
    sr_free(y);
    sr_free(turned);
}

// Straight definitions, with sizes around the tiles of the implementation.
static void test_sizes(void **state) {
    const size_t sizes[] = {2, 3, 5, 8, 31, 32, 33, 255, 256, 257, 300};
    size_t dim = 3, m = 19;
    float *y = normals(9, m, dim, 1, 0.2f);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t n = sizes[s], l = n < m ? n : m;
        float *x = normals(8, n, dim, 1, 0);
        sr_metric_options options;
        sr_metric_values v;
        sr_metric_options_default(&options);
        options.k = 1;
        must(sr_metrics(n, x, m, y, dim, &options, &v));
        double cross = 0, self = 0, other = 0, covered = 0, right = 0;
        for (size_t i = 0; i < n + m; i++) {
            double nearest_real = INFINITY, nearest_fake = INFINITY, l_real = INFINITY,
                   l_fake = INFINITY;
            const float *a = i < n ? x + i * dim : y + (i - n) * dim;
            for (size_t j = 0; j < n + m; j++) {
                const float *b = j < n ? x + j * dim : y + (j - n) * dim;
                double squares = 0;
                for (size_t d = 0; d < dim; d++)
                    squares += ((double)a[d] - b[d]) * ((double)a[d] - b[d]);
                double distance = sqrt(squares);
                cross += i < n && j >= n ? distance : 0;
                self += i < n && j < n ? distance : 0;
                other += i >= n && j >= n ? distance : 0;
                if (i == j)
                    continue;
                if (j < n) {
                    nearest_real = fmin(nearest_real, distance);
                    l_real = j < l ? fmin(l_real, distance) : l_real;
                } else {
                    nearest_fake = fmin(nearest_fake, distance);
                    l_fake = j - n < l ? fmin(l_fake, distance) : l_fake;
                }
            }
            covered += i < n && nearest_fake < nearest_real;
            right += i < n ? i < l && l_real < l_fake : i - n < l && l_fake < l_real;
        }
        double nn = (double)n, mm = (double)m;
        near(v.value[SR_ENERGY_DISTANCE],
             2 * cross / (nn * mm) - self / (nn * nn) - other / (mm * mm), 1e-12);
        near(v.value[SR_COVERAGE], covered / nn, 1e-15);
        near(v.value[SR_ONE_NN_ACCURACY], right / (2 * (double)l), 1e-15);
        sr_free(x);
    }
    sr_free(y);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void test_median(void **state) {
    const size_t sizes[][2] = {{2, 2}, {3, 3}, {3, 4}, {17, 5}, {40, 33}};
    for (size_t s = 0; s < 5; s++) {
        size_t n = sizes[s][0], m = sizes[s][1];
        for (int rounded = 0; rounded < 2; rounded++) { // with many equal distances too
            float *x = normals(20, n, 1, 2, 0), *y = normals(21, m, 1, 2, 1);
            double *all = sr_alloc(n * m, sizeof(double));
            for (size_t i = 0; i < n && rounded; i++)
                x[i] = roundf(x[i]);
            for (size_t j = 0; j < m && rounded; j++)
                y[j] = roundf(y[j]) + 8;
            for (size_t i = 0; i < n * m; i++)
                all[i] = fabs((double)x[i / m] - y[i % m]);
            qsort(all, n * m, sizeof(double), ascending);
            double expected = (all[(n * m - 1) / 2] + all[n * m / 2]) / 2;
            sr_metric_options options;
            sr_metric_values v;
            sr_metric_options_default(&options);
            options.which = 1u << SR_MMD2_RBF;
            must(sr_metrics(n, x, m, y, 1, &options, &v));
            near(v.bandwidth, expected, 1e-15 * expected);
            sr_free(x);
            sr_free(y);
            sr_free(all);
        }
    }
}

static void test_constant_features(void **state) {
    size_t n = 20, dim = 5;
    float *x = sr_alloc(n * dim, sizeof(float)), *y = sr_alloc(n * dim, sizeof(float));
    for (size_t i = 0; i < n * dim; i++)
        y[i] = 1;
    sr_metric_values same = measure(n, x, n, x, dim, 1), other = measure(n, x, n, y, dim, 1);
    near(same.value[SR_FRECHET], 0, 0);
    near(same.value[SR_MMD2_RBF], 0, 1e-12);
    near(same.bandwidth, 0, 0);
    near(other.value[SR_FRECHET], (double)dim, 1e-12);
    near(other.value[SR_SLICED_W2] > 0, 1, 0);
    near(other.value[SR_PRECISION], 0, 0);
    near(other.value[SR_ONE_NN_ACCURACY], 1, 0);
    for (int metric = 0; metric < SR_METRIC_COUNT; metric++)
        assert_true(isfinite(same.value[metric]) && isfinite(other.value[metric]));
    sr_free(x);
    sr_free(y);
}

static void refuse(size_t n, const float *x, size_t m, const float *y, size_t dim,
                   const sr_metric_options *options, const char *text) {
    sr_metric_values v;
    sr_status status = sr_metrics(n, x, m, y, dim, options, &v);
    assert_int_equal(status, SR_ERROR_ARGUMENT);
    if (!strstr(sr_error_message(), text))
        fail_msg("the message '%s' does not say '%s'", sr_error_message(), text);
}

static void test_refusals(void **state) {
    size_t n = 10, dim = 3;
    float *x = normals(10, n, dim, 1, 0), *y = normals(11, n, dim, 1, 0);
    sr_metric_options options;
    sr_metric_options_default(&options);
    refuse(1, x, n, y, dim, &options, "real features: 1 rows, expected at least 6");
    refuse(n, x, 5, y, dim, &options, "fake features: 5 rows, expected at least 6");
    options.which = 1u << SR_FRECHET;
    refuse(n, x, 1, y, dim, &options, "fake features: 1 rows, expected at least 2");
    refuse(n, x, n, y, 0, &options, "dimension 0");
    y[4 * dim + 2] = NAN;
    refuse(n, x, n, y, dim, &options, "fake features: row 4, column 2 is nan");
    y[4 * dim + 2] = -INFINITY;
    refuse(n, x, n, y, dim, &options, "fake features: row 4, column 2 is -inf");
    y[4 * dim + 2] = 0;
    options.which = 0;
    refuse(n, x, n, y, dim, &options, "bits");
    options.which = ALL + 1;
    refuse(n, x, n, y, dim, &options, "bits");
    options.which = ALL;
    options.k = 0;
    refuse(n, x, n, y, dim, &options, "k is 0");
    options.k = SIZE_MAX;
    refuse(n, x, n, y, dim, &options, "rows");
    options.k = 5;
    options.bandwidth = -1;
    refuse(n, x, n, y, dim, &options, "bandwidth is -1");
    options.bandwidth = NAN;
    refuse(n, x, n, y, dim, &options, "bandwidth is nan");
    options.bandwidth = 0;
    options.projection_count = 0;
    refuse(n, x, n, y, dim, &options, "0 projections");
    options.projection_count = 2;
    options.projections = (const float[]){1, 0, 0, 1, 1, 0};
    refuse(n, x, n, y, dim, &options, "projections: row 1 has length 1.41");
    sr_free(x);
    sr_free(y);
}

static void test_threads(void **state) {
    size_t n = 700, m = 531, dim = 37;
    float *x = normals(12, n, dim, 1, 0), *y = normals(13, m, dim, 1.1f, 0.1f);
    sr_metric_values one = measure(n, x, m, y, dim, 1);
    for (unsigned threads = 2; threads <= 5; threads++) {
        sr_metric_values more = measure(n, x, m, y, dim, threads);
        assert_memory_equal(&one, &more, sizeof one);
    }
    sr_free(x);
    sr_free(y);
}

// Rows that do not differ along a direction tell drawn projections apart: with all differences
// along one axis, sliced W2^2 is the mean of the squared first components, 1/dim on average for
// unit vectors.
static void test_projections(void **state) {
    size_t n = 16, dim = 8;
    float *x = normals(14, n, dim, 1e-6f, 0), *y = sr_alloc(n * dim, sizeof(float));
    memcpy(y, x, n * dim * sizeof(float));
    for (size_t i = 0; i < n; i++)
        y[i * dim] += 1;
    sr_metric_options options;
    sr_metric_values v, w;
    sr_metric_options_default(&options);
    options.which = 1u << SR_SLICED_W2;
    options.projection_count = 4000;
    must(sr_metrics(n, x, n, y, dim, &options, &v));
    near(v.value[SR_SLICED_W2] * v.value[SR_SLICED_W2], 1.0 / (double)dim, 0.1 / (double)dim);
    must(sr_metrics(n, x, n, y, dim, &options, &w));
    near(w.value[SR_SLICED_W2], v.value[SR_SLICED_W2], 0);
    options.seed = 1;
    must(sr_metrics(n, x, n, y, dim, &options, &w));
    assert_true(w.value[SR_SLICED_W2] != v.value[SR_SLICED_W2]);
    // In one dimension there is one direction, and all projections agree.
    options.projection_count = 3;
    must(sr_metrics(4, (const float[]){0, 1, 2, 3}, 4, (const float[]){5, 2, 3, 4}, 1, &options,
                    &v));
    near(v.value[SR_SLICED_W2], 2, 1e-12);
    sr_free(x);
    sr_free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_to_itself),
        cmocka_unit_test(test_same_distribution),
        cmocka_unit_test(test_frechet_closed_form),
        cmocka_unit_test(test_frechet_small_variances),
        cmocka_unit_test(test_symmetry_and_order),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_constant_features),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_projections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
