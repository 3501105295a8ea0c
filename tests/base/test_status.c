// Status texts and the thread's error message.
#include <shortrun/base.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_a_text(void **state) {
    assert_string_equal(sr_status_string(SR_OK), "no error");
    assert_string_equal(sr_status_string(SR_ERROR_LIBRARY), "a library reported an error");
    assert_string_equal(sr_status_string((sr_status)1000), "unknown status");
}

static void message_is_recorded(void **state) {
    assert_int_equal(sr_fail(SR_ERROR_FORMAT, "%s: %d of %d", "a.npy", 3, 4), SR_ERROR_FORMAT);
    assert_string_equal(sr_error_message(), "a.npy: 3 of 4");
    sr_fail(SR_ERROR_IO, "again: %s", sr_error_message()); // the old message as an argument
    assert_string_equal(sr_error_message(), "again: a.npy: 3 of 4");
}

static void context_goes_before(void **state) {
    sr_fail(SR_ERROR_IO, "disk full");
    assert_int_equal(sr_fail_context(SR_ERROR_IO, "cell %d", 7), SR_ERROR_IO);
    assert_string_equal(sr_error_message(), "cell 7: disk full");
    sr_fail_context(SR_ERROR_IO, "run: ");
    assert_string_equal(sr_error_message(), "run: cell 7: disk full");
    sr_fail_context(SR_ERROR_IO, "%s", "");
    assert_string_equal(sr_error_message(), "run: cell 7: disk full");
}

static void long_messages_are_cut(void **state) {
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    sr_fail(SR_ERROR_IO, "%s", big);
    size_t length = strlen(sr_error_message());
    assert_true(length > 500 && length < sizeof big);
    sr_fail_context(SR_ERROR_IO, "%s", big);
    assert_int_equal(strlen(sr_error_message()), length);
}

static void *other_thread(void *seen) {
    strcpy(seen, sr_error_message());
    sr_fail(SR_ERROR_IO, "from the other thread");
    return NULL;
}

static void each_thread_has_its_own(void **state) {
    char seen[2000] = "unset";
    pthread_t thread;
    sr_fail(SR_ERROR_IO, "from this thread");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, seen), 0);
    pthread_join(thread, NULL);
    assert_string_equal(seen, "");
    assert_string_equal(sr_error_message(), "from this thread");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_text), cmocka_unit_test(message_is_recorded),
        cmocka_unit_test(context_goes_before),     cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(each_thread_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
