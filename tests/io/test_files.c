// Whole files: atomic replacement, failures that leave the old content, limits, gzip.
#include "scratch.h"

#include <shortrun/io.h>

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

static void expect_content(const char *path, const char *text) {
    void *bytes;
    size_t count;
    assert_int_equal(sr_file_read(path, 0, &bytes, &count), SR_OK);
    assert_int_equal(count, strlen(text));
    assert_string_equal(bytes, text); // a NUL stands behind the end
    sr_free(bytes);
}

static void expect_failure(sr_status got, sr_status status, const char *part) {
    assert_int_equal(got, status);
    if (!strstr(sr_error_message(), part))
        fail_msg("message '%s' lacks '%s'", sr_error_message(), part);
    assert_null(strchr(sr_error_message(), '\n'));
}

static size_t files_in_folder(void) {
    DIR *folder = opendir(scratch_folder);
    assert_non_null(folder);
    size_t n = 0;
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static void test_write_and_replace(void **state) {
    const char *path = scratch("a.txt");
    assert_int_equal(sr_file_write(path, "first", 5), SR_OK);
    expect_content(path, "first");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(sr_file_write(path, "2nd", 3), SR_OK);
    expect_content(path, "2nd");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(sr_file_write(path, NULL, 0), SR_OK);
    expect_content(path, "");
    size_t before = files_in_folder();
    assert_int_equal(sr_file_write(path, "x", 1), SR_OK);
    assert_int_equal(files_in_folder(), before); // no temporary file stays
}

static void test_symbolic_link_stays(void **state) {
    const char *target = scratch_put("target.txt", "old", 3), *link = scratch("link.txt");
    assert_int_equal(symlink("target.txt", link), 0);
    assert_int_equal(sr_file_write(link, "new", 3), SR_OK);
    expect_content(target, "new");
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
}

static void test_failed_write_keeps_old_content(void **state) {
    const char *path = scratch_put("keep.txt", "precious", 8);
    size_t before = files_in_folder();
    // a file-size limit stops the write midway, as a full disk does
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *large = calloc(1, 100000);
    sr_status status = sr_file_write(path, large, 100000);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    free(large);
    expect_failure(status, SR_ERROR_IO, "File too large");
    expect_content(path, "precious");
    assert_int_equal(files_in_folder(), before);
}

static void test_unwritable_places(void **state) {
    expect_failure(sr_file_write("/dev/full", "x", 1), SR_ERROR_IO, "No space left on device");
    assert_int_equal(sr_file_write("/dev/null", "x", 1), SR_OK);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode)); // not replaced by a file
    expect_failure(sr_file_write(scratch("absent/a.txt"), "x", 1), SR_ERROR_IO,
                   "No such file or directory");
    expect_failure(sr_file_write(scratch_folder, "x", 1), SR_ERROR_IO, "Is a directory");
    expect_failure(sr_file_write("", "x", 1), SR_ERROR_ARGUMENT, "no file name");
    scratch_put("plain", "x", 1);
    expect_failure(sr_file_write(scratch("plain/a.txt"), "x", 1), SR_ERROR_IO, "Not a directory");
    if (geteuid() == 0)
        return; // permissions do not bind root
    assert_int_equal(mkdir(scratch("locked"), 0555), 0);
    expect_failure(sr_file_write(scratch("locked/a.txt"), "x", 1), SR_ERROR_IO,
                   "Permission denied");
}

static void test_read_failures_and_limit(void **state) {
    void *bytes;
    size_t count;
    expect_failure(sr_file_read(scratch("nothing"), 0, &bytes, &count), SR_ERROR_IO,
                   "No such file");
    assert_null(bytes);
    expect_failure(sr_file_read(scratch_folder, 0, &bytes, &count), SR_ERROR_IO, "Is a directory");
    const char *path = scratch_put("ten", "0123456789", 10);
    expect_failure(sr_file_read(path, 9, &bytes, &count), SR_ERROR_FORMAT, "10 bytes");
    assert_int_equal(sr_file_read(path, 10, &bytes, &count), SR_OK);
    sr_free(bytes);
    // endless: no size is known beforehand, the limit still holds
    expect_failure(sr_file_read("/dev/zero", 100000, &bytes, &count), SR_ERROR_FORMAT, "longer");
    assert_true(sr_file_exists(path));
    assert_false(sr_file_exists(scratch("nothing")));
    assert_false(sr_file_exists(NULL));
}

static void test_folder_make(void **state) {
    assert_int_equal(sr_folder_make(scratch("p/q/r/")), SR_OK);
    assert_int_equal(sr_folder_make(scratch("p/q/r")), SR_OK);
    assert_int_equal(sr_file_write(scratch("p/q/r/file"), "x", 1), SR_OK);
    expect_failure(sr_folder_make(scratch("p/q/r/file")), SR_ERROR_IO, "a file of that name");
    expect_failure(sr_folder_make(scratch("p/q/r/file/s")), SR_ERROR_IO, "a file of that name");
    expect_failure(sr_folder_make(""), SR_ERROR_ARGUMENT, "no folder name");
}

// ---- gzip ---------------------------------------------------------------------------------------

// Compresses into `out` as one gzip member.
static size_t gzip(const void *bytes, size_t count, uint8_t *out, size_t capacity) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)count;
    z.next_out = out;
    z.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return capacity - z.avail_out;
}

static void expect_gzip(const uint8_t *bytes, size_t count, const char *text) {
    void *out;
    size_t length;
    const char *path = scratch_put("g.gz", bytes, count);
    assert_int_equal(sr_file_read_gzip(path, strlen(text), &out, &length), SR_OK);
    assert_int_equal(length, strlen(text));
    assert_string_equal(out, text);
    sr_free(out);
    if (strlen(text) > 1)
        expect_failure(sr_file_read_gzip(path, strlen(text) - 1, &out, &length), SR_ERROR_FORMAT,
                       "bytes allowed");
    assert_int_equal(sr_file_read_gzip(path, 0, &out, &length), SR_OK);
    assert_int_equal(length, strlen(text));
    sr_free(out);
}

static void test_gzip(void **state) {
    uint8_t packed[512];
    size_t n = gzip("hello, hello, hello, hello", 26, packed, sizeof packed);
    expect_gzip(packed, n, "hello, hello, hello, hello");
    expect_gzip((const uint8_t *)"plain text", 10, "plain text");
    // two members, and zero padding behind them
    size_t m = gzip(" world", 6, packed + n, sizeof packed - n);
    memset(packed + n + m, 0, 16);
    expect_gzip(packed, n + m, "hello, hello, hello, hello world");
    expect_gzip(packed, n + m + 16, "hello, hello, hello, hello world");
    void *out;
    size_t length;
    packed[n + m] = 'x';
    expect_failure(sr_file_read_gzip(scratch_put("t.gz", packed, n + m + 1), 0, &out, &length),
                   SR_ERROR_FORMAT, "gzip");
    // every truncation and the checksum
    for (size_t cut = 2; cut < n; cut++)
        expect_failure(sr_file_read_gzip(scratch_put("t.gz", packed, cut), 0, &out, &length),
                       SR_ERROR_FORMAT, "gzip");
    packed[n - 5] ^= 1;
    expect_failure(sr_file_read_gzip(scratch_put("t.gz", packed, n), 0, &out, &length),
                   SR_ERROR_FORMAT, "incorrect data check");
}

static void test_gzip_bomb(void **state) {
    size_t count = 64u << 20, capacity = 1u << 20;
    void *zeros = calloc(count, 1);
    uint8_t *packed = malloc(capacity);
    size_t n = gzip(zeros, count, packed, capacity);
    free(zeros);
    assert_true(n < 100000);
    void *out;
    size_t length;
    const char *path = scratch_put("bomb.gz", packed, n);
    free(packed);
    uint64_t before = sr_peak_memory();
    expect_failure(sr_file_read_gzip(path, 100000, &out, &length), SR_ERROR_FORMAT, "decompresses");
    assert_null(out);
    assert_true(sr_peak_memory() - before < 8u << 20);
    assert_int_equal(sr_file_read_gzip(path, count, &out, &length), SR_OK);
    assert_int_equal(length, count);
    sr_free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_replace),
        cmocka_unit_test(test_symbolic_link_stays),
        cmocka_unit_test(test_failed_write_keeps_old_content),
        cmocka_unit_test(test_unwritable_places),
        cmocka_unit_test(test_read_failures_and_limit),
        cmocka_unit_test(test_folder_make),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_gzip_bomb),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
