// Batches: every pass is a permutation, passes and seeds differ, noise has its own stream and the
// right scale.
#include "../io/scratch.h"

#include <shortrun/data.h>

#include <math.h>

// A set of `count` samples of one number each: its row's index.
static sr_dataset numbered(size_t count) {
    sr_dataset set = {.count = count, .channels = 1, .height = 1, .width = 1, .dim = 1};
    set.x = sr_alloc(count, sizeof *set.x);
    set.labels = sr_alloc(count, 1);
    assert_true(set.x && set.labels);
    for (size_t i = 0; i < count; i++) {
        set.x[i] = (float)i;
        set.labels[i] = (uint8_t)(i % 251);
    }
    return set;
}

static void test_each_pass_is_a_permutation(void **state) {
    const size_t counts[] = {1, 2, 3, 4, 5, 15, 16, 17, 64, 255, 257, 1000, 60000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        sr_dataset set = numbered(counts[c]);
        float *rows = sr_alloc(counts[c], sizeof *rows);
        float *first = sr_alloc(counts[c], sizeof *first);
        uint8_t *labels = sr_alloc(counts[c], 1), *seen = sr_alloc(counts[c], 1);
        for (uint64_t pass = 0; pass < 3; pass++) {
            sr_dataset_batch(&set, 9, pass, counts[c], 0, rows, labels);
            memset(seen, 0, counts[c]);
            for (size_t i = 0; i < counts[c]; i++) {
                size_t row = (size_t)rows[i];
                assert_true(row < counts[c]);
                assert_int_equal(seen[row]++, 0);
                assert_int_equal(labels[i], row % 251);
            }
            if (pass == 0)
                memcpy(first, rows, counts[c] * sizeof *rows);
            else if (counts[c] > 15)
                assert_memory_not_equal(first, rows, counts[c] * sizeof *rows);
        }
        sr_free(rows);
        sr_free(first);
        sr_free(labels);
        sr_free(seen);
        sr_dataset_clear(&set);
    }
}

// Batches of 7 from 10 rows: iterations cut one sequence into pieces, passes begin within a batch.
static void test_batches_cross_passes(void **state) {
    sr_dataset set = numbered(10);
    float whole[70], piece[7];
    sr_dataset_batch(&set, 4, 0, 70, 0, whole, NULL);
    for (uint64_t t = 0; t < 10; t++) {
        sr_dataset_batch(&set, 4, t, 7, 0, piece, NULL);
        assert_memory_equal(piece, whole + 7 * t, sizeof piece);
    }
    for (size_t pass = 0; pass < 7; pass++) {
        float sum = 0;
        for (size_t i = 0; i < 10; i++)
            sum += whole[10 * pass + i];
        assert_true(sum == 45);
    }
    sr_dataset_clear(&set);
}

// Over many passes every row is equally likely at every position, and all 6 orders of 3 rows come
// up.
static void test_orders_are_uniform(void **state) {
    enum { PASSES = 12000 };
    sr_dataset set = numbered(3);
    size_t orders[27] = {0};
    float rows[3];
    for (uint64_t pass = 0; pass < PASSES; pass++) {
        sr_dataset_batch(&set, 1, pass, 3, 0, rows, NULL);
        orders[(size_t)(9 * rows[0] + 3 * rows[1] + rows[2])]++;
    }
    double expected = PASSES / 6.0;
    size_t kinds = 0;
    for (size_t i = 0; i < 27; i++) {
        if (orders[i] == 0)
            continue;
        kinds++;
        assert_true(fabs((double)orders[i] - expected) < 5 * sqrt(expected));
    }
    assert_int_equal(kinds, 6);
    sr_dataset_clear(&set);
    set = numbered(11);
    size_t at[11][11] = {{0}};
    float order[11];
    for (uint64_t pass = 0; pass < PASSES; pass++) {
        sr_dataset_batch(&set, 2, pass, 11, 0, order, NULL);
        for (size_t i = 0; i < 11; i++)
            at[i][(size_t)order[i]]++;
    }
    for (size_t i = 0; i < 121; i++)
        assert_true(fabs((double)at[i / 11][i % 11] - PASSES / 11.0) < 5 * sqrt(PASSES / 11.0));
    sr_dataset_clear(&set);
}

static void test_noise(void **state) {
    enum { DIM = 50, ROWS = 400 };
    sr_dataset set = {.count = ROWS, .channels = 1, .height = 1, .width = DIM, .dim = DIM};
    set.x = sr_alloc(ROWS * DIM, sizeof *set.x);
    static float plain[ROWS * DIM], noisy[ROWS * DIM], again[ROWS * DIM], next[ROWS * DIM];
    for (size_t i = 0; i < ROWS * DIM; i++)
        set.x[i] = (float)(i % 17) / 17;
    sr_dataset_batch(&set, 3, 5, ROWS, 0, plain, NULL);
    sr_dataset_batch(&set, 3, 5, ROWS, 0.1f, noisy, NULL);
    sr_dataset_batch(&set, 3, 5, ROWS, 0.1f, again, NULL);
    sr_dataset_batch(&set, 3, 6, ROWS, 0.1f, next, NULL);
    assert_memory_equal(noisy, again, sizeof noisy);
    double mean = 0, square = 0, product = 0;
    for (size_t i = 0; i < ROWS * DIM; i++) {
        double e = (noisy[i] - plain[i]) / 0.1;
        mean += e;
        square += e * e;
        if (i >= DIM)
            product += e * (noisy[i - DIM] - plain[i - DIM]) / 0.1;
    }
    const double n = ROWS * DIM;
    assert_true(fabs(mean / n) < 5 / sqrt(n));
    assert_true(fabs(square / n - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(product / n) < 5 / sqrt(n)); // rows have noise of their own
    assert_memory_not_equal(noisy, next, sizeof noisy);
    uint8_t labels[ROWS];
    memset(labels, 1, sizeof labels);
    sr_dataset_batch(&set, 3, 5, ROWS, 0, plain, labels);
    assert_int_equal(labels[0], 0); // no labels in the set
    sr_dataset_clear(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_pass_is_a_permutation),
        cmocka_unit_test(test_batches_cross_passes),
        cmocka_unit_test(test_orders_are_uniform),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
