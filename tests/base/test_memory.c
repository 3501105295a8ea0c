// Memory, checked sizes, growing text, hashes.
#include <shortrun/base.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

// AddressSanitizer otherwise ends the program where malloc would return NULL.
SR_API const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static void sizes_are_checked(void **state) {
    size_t out;
    assert_true(sr_size_mul(3, 5, &out));
    assert_int_equal(out, 15);
    assert_false(sr_size_mul(SIZE_MAX / 2, 3, &out));
    assert_true(sr_size_add(SIZE_MAX - 1, 1, &out));
    assert_int_equal(out, SIZE_MAX);
    assert_false(sr_size_add(SIZE_MAX, 1, &out));
}

static void memory_is_aligned_and_zero(void **state) {
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *a = sr_alloc(n, 3);
        assert_non_null(a);
        assert_int_equal((uintptr_t)a % SR_ALIGNMENT, 0);
        for (size_t i = 0; i < 3 * n; i++)
            assert_int_equal(a[i], 0);
        memset(a, 0xff, 3 * n); // so that the next round would see it
        sr_free(a);
    }
    sr_free(NULL);
}

static void impossible_requests_fail(void **state) {
    assert_null(sr_alloc(SIZE_MAX / 2, 4));
    assert_non_null(strstr(sr_error_message(), "memory"));
    assert_null(sr_alloc(SIZE_MAX - 3, 1)); // the rounding to 64 would overflow
    assert_null(sr_alloc(SIZE_MAX / 4, 1));
}

static void threads_zero_what_was_used(void **state) {
    const size_t sizes[] = {1, 1000, ((size_t)8 << 20) - 1, (size_t)8 << 20,
                            ((size_t)20 << 20) + 7};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned threads = 1; threads <= 3; threads++) {
            unsigned char *used = sr_alloc(sizes[i], 1);
            memset(used, 255, sizes[i]); // what the next one may get
            sr_free(used);
            unsigned char *a = sr_alloc_by(threads, sizes[i], 1);
            assert_non_null(a);
            assert_int_equal((uintptr_t)a % SR_ALIGNMENT, 0);
            assert_int_equal(a[0], 0);
            assert_int_equal(memcmp(a, a + 1, sizes[i] - 1), 0); // all bytes as the first
            memset(a, 1, sizes[i]);
            sr_free(a);
        }
    assert_null(sr_alloc_by(2, SIZE_MAX / 2, 4));
    assert_null(sr_alloc_by(2, SIZE_MAX / 4, 1));
}

static void realloc_keeps_and_zeroes(void **state) {
    uint32_t *a = sr_alloc(5, sizeof *a);
    for (uint32_t i = 0; i < 5; i++)
        a[i] = i + 1;
    uint32_t *b = sr_realloc(a, 5, 50, sizeof *b);
    assert_non_null(b);
    assert_int_equal((uintptr_t)b % SR_ALIGNMENT, 0);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(b[i], i < 5 ? i + 1 : 0);
    assert_null(sr_realloc(b, 50, SIZE_MAX / 2, sizeof *b));
    assert_int_equal(b[4], 5); // still ours
    uint32_t *c = sr_realloc(b, 50, 2, sizeof *c);
    assert_int_equal(c[1], 2);
    sr_free(c);
    char *d = sr_realloc(NULL, 0, 4, 1);
    assert_non_null(d);
    sr_free(d);
}

static void text_grows(void **state) {
    sr_text text = {0};
    assert_string_equal(sr_text_string(&text), "");
    for (int i = 0; i < 1000; i++)
        sr_text_append(&text, "%d,", i);
    sr_text_append_bytes(&text, "a\0b", 3);
    assert_int_equal(sr_text_status(&text), SR_OK);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    assert_memory_equal(text.data, "0,1,2,", 6);
    assert_memory_equal(text.data + text.length - 3, "a\0b", 4); // with the final NUL
    sr_text_clear(&text);
    assert_string_equal(sr_text_string(&text), "");
    sr_text_append_bytes(&text, NULL, 0);
    assert_string_equal(sr_text_string(&text), "");
    sr_text_clear(&text);
}

static void text_reports_failure_at_the_end(void **state) {
    sr_text text = {0};
    sr_text_append(&text, "kept");
    sr_text_append_bytes(&text, "x", SIZE_MAX - 2); // refused before anything is read
    sr_text_append(&text, "lost");
    assert_int_equal(sr_text_status(&text), SR_ERROR_MEMORY);
    assert_string_equal(sr_text_string(&text), "kept");
    sr_text_clear(&text);
    assert_int_equal(sr_text_status(&text), SR_OK);
}

static void hashes_are_known(void **state) {
    char hex[33];
    sr_hash_hex("", 0, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f"); // XXH3_128bits of nothing
    char other[33];
    sr_hash_hex("a", 1, other);
    assert_string_not_equal(hex, other);
}

static void strings_are_copied(void **state) {
    char source[] = "text", *copy = sr_strdup(source);
    source[0] = 'n';
    assert_string_equal(copy, "text");
    sr_free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(memory_is_aligned_and_zero),
        cmocka_unit_test(impossible_requests_fail),
        cmocka_unit_test(threads_zero_what_was_used),
        cmocka_unit_test(realloc_keeps_and_zeroes),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_reports_failure_at_the_end),
        cmocka_unit_test(hashes_are_known),
        cmocka_unit_test(strings_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
