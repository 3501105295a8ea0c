// Products of rows in 16-bit integers against 64-bit sums, for tails of every kind; meson runs it
// on each instruction set. Rows are as hostile as their bounds allow.
#include "quality/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static int16_t at(const sr_side *s, size_t dim, size_t row, size_t d) {
    size_t pairs = (dim + 1) / 2, panel = row / SR_NARROW_PANEL, lane = row % SR_NARROW_PANEL;
    return s->narrow[2 * ((panel * pairs + d / 2) * SR_NARROW_PANEL + lane) + d % 2];
}

enum { N = 61, M = 97 };

// Rows of one large value, of equal values (the largest products), of zeros, and normal ones.
static void fill(size_t n, size_t dim, uint64_t purpose, float *x) {
    sr_kernels_get()->normal(sr_stream_make(3, SR_PURPOSE_TEST, purpose), 0, 0, n * dim, x);
    for (size_t d = 0; d < dim; d++) {
        x[d] = d == dim - 1 ? 1e6f : 0;
        x[dim + d] = 1;
        x[2 * dim + d] = -1;
        x[3 * dim + d] = 0;
        x[4 * dim + d] *= 1e-20f;
    }
}

static void check(size_t dim) {
    float *x = sr_alloc(N * dim, sizeof *x), *y = sr_alloc(M * dim, sizeof *y);
    double *zero = sr_alloc(dim, sizeof *zero), *out = sr_alloc(SR_TILE * SR_TILE, sizeof *out);
    int32_t *sums = sr_alloc(SR_TILE * SR_TILE, sizeof *sums);
    fill(N, dim, 1, x);
    fill(M, dim, 2, y);
    sr_rows a = {N, dim, x, zero}, b = {M, dim, y, zero};
    sr_frame frame;
    sr_side side[2];
    must(sr_frame_create(&a, &b, &frame));
    must(sr_side_create(&a, &frame, 2, &side[0]));
    must(sr_side_create(&b, &frame, 3, &side[1]));
    for (size_t i = 0; i < SR_TILE * SR_TILE; i++)
        out[i] = NAN;
    sr_narrow_products(dim, N, side[0].narrow, M, side[1].narrow, sums, out);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < M; j++) {
            int64_t sum = 0;
            for (size_t d = 0; d < dim; d++)
                sum += (int64_t)at(&side[0], dim, i, d) * at(&side[1], dim, j, d);
            if (out[i * SR_TILE + j] != (double)sum)
                fail_msg("dim %zu, rows %zu and %zu: %.0f, expected %lld", dim, i, j,
                         out[i * SR_TILE + j], (long long)sum);
        }
    for (size_t i = 0; i < N; i++) // each row back, within half a unit
        for (size_t d = 0; d < dim; d++)
            assert_true(fabs(at(&side[0], dim, i, d) * side[0].unit[i] - x[i * dim + d]) <=
                        0.5000001 * side[0].unit[i]);
    sr_side_clear(&side[0]);
    sr_side_clear(&side[1]);
    sr_frame_clear(&frame);
    sr_free(x);
    sr_free(y);
    sr_free(zero);
    sr_free(out);
    sr_free(sums);
}

static void test_products(void **state) {
    const size_t dims[] = {8, 9, 31, 511, 512, 513, 1023, 1024, 1025, 1536, 2048, 2501, 4099};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        check(dims[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
