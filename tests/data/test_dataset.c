// Data sets from files: each format, the search for them, and hostile files.
#include "../io/scratch.h"

#include <shortrun/data.h>

#include <math.h>
#include <zlib.h>

static void expect_failure(sr_status got, sr_status status, const char *part) {
    if (got != status || !strstr(sr_error_message(), part))
        fail_msg("status %d, message '%s'; expected %d, '%s'", got, sr_error_message(), status,
                 part);
    assert_null(strchr(sr_error_message(), '\n'));
}

static void expect_load_failure(const char *name, sr_status status, const char *part) {
    sr_dataset set;
    expect_failure(sr_dataset_load(name, NULL, SR_TRAIN, 0, 0, &set), status, part);
    assert_null(set.x);
    assert_null(set.labels);
}

static void make_folder(const char *name) {
    assert_int_equal(sr_folder_make(scratch(name)), SR_OK);
}

static void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

// An IDX file of n images of 2 x 3 pixels (pixel k is k), or of n labels (label k is k % 10).
// Returns its length.
static size_t make_idx(bool images, size_t n, uint8_t *out) {
    size_t header = images ? 16 : 8, count = images ? n * 6 : n;
    put32(out, images ? 0x803 : 0x801);
    put32(out + 4, (uint32_t)n);
    if (images) {
        put32(out + 8, 2);
        put32(out + 12, 3);
    }
    for (size_t i = 0; i < count; i++)
        out[header + i] = (uint8_t)(images ? i : i % 10);
    return header + count;
}

static void put_gzip(const char *name, const void *bytes, size_t count) {
    gzFile file = gzopen(scratch(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), count);
    assert_int_equal(gzclose(file), Z_OK);
}

// ---- IDX and the search -------------------------------------------------------------------------

static void test_idx(void **state) {
    uint8_t bytes[256];
    sr_array array;
    size_t n = make_idx(true, 4, bytes);
    scratch_put("i.idx", bytes, n);
    put_gzip("i.idx.gz", bytes, n);
    for (int packed = 0; packed < 2; packed++) {
        assert_int_equal(sr_idx_load(scratch(packed ? "i.idx.gz" : "i.idx"), &array), SR_OK);
        assert_int_equal(array.rank, 3);
        assert_int_equal(array.shape[0] * 100 + array.shape[1] * 10 + array.shape[2], 423);
        assert_memory_equal(array.data, bytes + 16, 24);
        sr_array_clear(&array);
    }
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(sr_idx_load(scratch_put("t.idx", bytes, cut), &array), SR_ERROR_FORMAT);
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, n + 1), &array), SR_ERROR_FORMAT,
                   "claims 24 bytes, the file has 25");
    bytes[3] = 4;
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, n), &array), SR_ERROR_FORMAT,
                   "magic number 0x00000804");
    bytes[3] = 3;
    bytes[2] = 0x0d; // floats
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, n), &array), SR_ERROR_FORMAT,
                   "magic number 0x00000d03");
    bytes[2] = 8;
    memset(bytes + 4, 0xff, 12); // (2^32 - 1)^3 images
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, n), &array), SR_ERROR_FORMAT,
                   "more than memory");
    put32(bytes + 8, 28);
    put32(bytes + 12, 28); // 3.4 TB
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, n), &array), SR_ERROR_FORMAT,
                   "claims 3367254359280 bytes");
    put32(bytes + 4, 0);
    expect_failure(sr_idx_load(scratch_put("t.idx", bytes, 16), &array), SR_ERROR_FORMAT,
                   "dimension of 0");
    assert_null(array.data);
}

static void put_mnist(const char *folder, bool packed, size_t train, size_t test) {
    static const char *const files[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    make_folder(folder);
    for (size_t i = 0; i < 4; i++) {
        uint8_t bytes[512];
        char name[256];
        size_t n = make_idx(i % 2 == 0, i < 2 ? train : test, bytes);
        snprintf(name, sizeof name, "%s/%s%s", folder, files[i], packed ? ".gz" : "");
        if (packed)
            put_gzip(name, bytes, n);
        else
            scratch_put(name, bytes, n);
    }
}

static void test_named_set(void **state) {
    sr_dataset set;
    char where[256];
    put_mnist("data/fashion-mnist", true, 20, 5);
    put_mnist("plain", false, 7, 3);
    unsetenv("SHORTRUN_DATA");
    // given folder: the set's subfolder, or the folder itself
    assert_int_equal(sr_dataset_load("fashion_mnist", scratch("data"), SR_TRAIN, 0, 0, &set),
                     SR_OK);
    assert_int_equal(set.count, 20);
    assert_int_equal(set.dim, 6);
    assert_int_equal(set.height * 10 + set.width, 23);
    assert_int_equal(set.classes, 10);
    assert_string_equal(set.name, "fashion_mnist");
    assert_string_equal(set.source, scratch("data/fashion-mnist"));
    assert_int_equal(strlen(set.hash), 32);
    assert_true(set.x[0] == -1 && set.x[102] == 2 * 102.0f / 255 - 1);
    assert_int_equal(set.labels[13], 3);
    assert_false(set.toy);
    sr_dataset_clear(&set);
    assert_int_equal(sr_dataset_load("mnist", scratch("plain"), SR_TEST, 2, 0, &set), SR_OK);
    assert_int_equal(set.count, 2);
    sr_dataset_clear(&set);
    // the environment comes after the folder
    setenv("SHORTRUN_DATA", scratch("data"), 1);
    assert_int_equal(sr_dataset_load("fashion_mnist", NULL, SR_TEST, 0, 0, &set), SR_OK);
    assert_int_equal(set.count, 5);
    sr_dataset_clear(&set);
    assert_int_equal(sr_dataset_load("fashion_mnist", scratch("plain"), SR_TRAIN, 0, 0, &set),
                     SR_OK);
    assert_int_equal(set.count, 7);
    sr_dataset_clear(&set);
    assert_true(sr_dataset_find("fashion_mnist", NULL, where, sizeof where));
    assert_string_equal(where, scratch("data/fashion-mnist"));
    assert_false(sr_dataset_find("cifar10", NULL, where, sizeof where));
    assert_true(sr_dataset_find("rings", NULL, where, sizeof where));
    assert_false(sr_dataset_find("nonsense", NULL, where, sizeof where));
    expect_load_failure("mnist", SR_ERROR_IO, scratch("data"));
    unsetenv("SHORTRUN_DATA");
    expect_load_failure("cifar10", SR_ERROR_IO, "data_batch_1.bin in /usr/share/datasets");
    expect_load_failure("no_such_set", SR_ERROR_ARGUMENT, "fashion_mnist, mnist, cifar10");
    expect_load_failure("", SR_ERROR_ARGUMENT, "no data set");
}

static void test_labels(void **state) {
    uint8_t bytes[512];
    sr_dataset set;
    put_mnist("bad", false, 6, 3);
    size_t n = make_idx(false, 5, bytes);
    scratch_put("bad/train-labels-idx1-ubyte", bytes, n);
    expect_failure(sr_dataset_load("mnist", scratch("bad"), SR_TRAIN, 0, 0, &set), SR_ERROR_FORMAT,
                   "5 labels for 6 images");
    n = make_idx(false, 6, bytes);
    bytes[8 + 4] = 10;
    scratch_put("bad/train-labels-idx1-ubyte", bytes, n);
    expect_failure(sr_dataset_load("mnist", scratch("bad"), SR_TRAIN, 0, 0, &set), SR_ERROR_FORMAT,
                   "label 4 is 10, expected 0 to 9");
    n = make_idx(true, 6, bytes);
    scratch_put("bad/train-labels-idx1-ubyte", bytes, n);
    expect_failure(sr_dataset_load("mnist", scratch("bad"), SR_TRAIN, 0, 0, &set), SR_ERROR_FORMAT,
                   "holds images, expected labels");
    assert_int_equal(remove(scratch("bad/train-labels-idx1-ubyte")), 0);
    assert_int_equal(sr_dataset_load("mnist", scratch("bad"), SR_TRAIN, 0, 0, &set), SR_OK);
    assert_null(set.labels); // labels are welcome, not needed
    assert_int_equal(set.classes, 0);
    sr_dataset_clear(&set);
    // a path to the images finds the labels beside it
    const char *images = scratch("bad/t10k-images-idx3-ubyte");
    assert_int_equal(sr_dataset_load(images, NULL, SR_TRAIN, 0, 0, &set), SR_OK);
    assert_non_null(set.labels);
    assert_int_equal(set.classes, 3); // labels 0, 1, 2
    assert_string_equal(set.name, "t10k-images-idx3-ubyte");
    sr_dataset_clear(&set);
    expect_failure(
        sr_dataset_load(scratch("bad/t10k-labels-idx1-ubyte"), NULL, SR_TRAIN, 0, 0, &set),
        SR_ERROR_FORMAT, "holds labels, expected images");
}

// ---- CIFAR-10 -----------------------------------------------------------------------------------

static size_t make_cifar(size_t n, uint8_t *out) {
    for (size_t i = 0; i < n * 3073; i++)
        out[i] = (uint8_t)(i % 3073 == 0 ? i / 3073 % 10 : i % 3073 * 7 + i / 3073);
    return n * 3073;
}

static void test_cifar(void **state) {
    static uint8_t bytes[4 * 3073 + 1];
    size_t n = make_cifar(4, bytes);
    make_folder("cifar-10-batches-bin");
    for (int i = 1; i <= 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin", i);
        scratch_put(name, bytes, n);
    }
    scratch_put("cifar-10-batches-bin/test_batch.bin", bytes, 3073);
    sr_dataset set;
    assert_int_equal(sr_dataset_load("cifar10", scratch_folder, SR_TRAIN, 0, 0, &set), SR_OK);
    assert_int_equal(set.count, 20);
    assert_int_equal(set.dim, 3072);
    assert_int_equal(set.classes, 10);
    assert_int_equal(set.labels[7], 3);
    assert_true(set.x[5 * 3072] == 2 * (float)bytes[3073 + 1] / 255 - 1);
    sr_dataset_clear(&set);
    assert_int_equal(sr_dataset_load("cifar10", scratch_folder, SR_TRAIN, 6, 0, &set), SR_OK);
    assert_int_equal(set.count, 6);
    sr_dataset_clear(&set);
    assert_int_equal(sr_dataset_load("cifar10", scratch_folder, SR_TEST, 0, 0, &set), SR_OK);
    assert_int_equal(set.count, 1);
    sr_dataset_clear(&set);
    assert_int_equal(remove(scratch("cifar-10-batches-bin/data_batch_3.bin")), 0);
    expect_failure(sr_dataset_load("cifar10", scratch_folder, SR_TRAIN, 0, 0, &set), SR_ERROR_IO,
                   "data_batch_3.bin: cannot open");
    sr_array x, labels;
    expect_failure(sr_cifar_load(scratch_put("t.bin", bytes, n - 1), &x, &labels), SR_ERROR_FORMAT,
                   "12291 bytes, expected a multiple of 3073");
    expect_failure(sr_cifar_load(scratch_put("t.bin", bytes, n + 1), &x, &labels), SR_ERROR_FORMAT,
                   "12293 bytes");
    expect_failure(sr_cifar_load(scratch_put("t.bin", bytes, 0), &x, &labels), SR_ERROR_FORMAT,
                   "0 bytes");
    bytes[3073] = 10;
    expect_failure(sr_cifar_load(scratch_put("t.bin", bytes, n), &x, &labels), SR_ERROR_FORMAT,
                   "image 1 has label 10");
    assert_true(!x.data && !labels.data);
}

// ---- PNG folders --------------------------------------------------------------------------------

static void put_png(const char *name, size_t height, size_t width, size_t channels, uint8_t first) {
    uint8_t pixels[300];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(first + i);
    sr_image image = {height, width, channels, pixels};
    assert_int_equal(sr_png_save(scratch(name), &image), SR_OK);
}

static void test_png_folder(void **state) {
    sr_dataset set;
    make_folder("pngs");
    expect_load_failure(scratch("pngs"), SR_ERROR_IO, "no .png files");
    put_png("pngs/b.png", 2, 3, 3, 100);
    put_png("pngs/a.PNG", 2, 3, 3, 0);
    put_png("pngs/c.png", 2, 3, 3, 200);
    scratch_put("pngs/notes.txt", "x", 1);
    scratch_put("pngs/._c.png", "x", 1); // left behind by archives
    assert_int_equal(sr_dataset_load(scratch("pngs/"), NULL, SR_TRAIN, 0, 0, &set), SR_OK);
    assert_string_equal(set.name, "pngs");
    assert_int_equal(set.count, 3);
    assert_int_equal(set.channels * 100 + set.height * 10 + set.width, 323);
    assert_true(set.x[0] == -1 && set.x[6] == 2 * 1.0f / 255 - 1); // second plane: byte 1
    assert_true(set.x[18] == 2 * 100.0f / 255 - 1);
    assert_null(set.labels);
    sr_dataset_clear(&set);
    put_png("pngs/bb.png", 3, 2, 3, 0);
    expect_load_failure(scratch("pngs"), SR_ERROR_FORMAT, "bb.png: 2 x 3 pixels");
    put_png("pngs/bb.png", 2, 3, 1, 0);
    expect_load_failure(scratch("pngs"), SR_ERROR_FORMAT, "bb.png: 3 x 2 pixels and 1 channels");
    scratch_put("pngs/bb.png", "\x89PNG\r\n\x1a\n", 8);
    expect_load_failure(scratch("pngs"), SR_ERROR_FORMAT, "bb.png");
    assert_int_equal(sr_dataset_load(scratch("pngs"), NULL, SR_TRAIN, 2, 0, &set), SR_OK);
    assert_int_equal(set.count, 2);
    sr_dataset_clear(&set);
    expect_load_failure(scratch("pngs/b.png"), SR_ERROR_ARGUMENT, "give the folder");
    // halves
    make_folder("halves/train");
    make_folder("halves/test");
    put_png("halves/train/a.png", 1, 1, 1, 0);
    put_png("halves/train/b.png", 1, 1, 1, 0);
    put_png("halves/test/a.png", 1, 1, 1, 255);
    assert_int_equal(sr_dataset_load("halves", scratch_folder, SR_TEST, 0, 0, &set), SR_OK);
    assert_int_equal(set.count, 1);
    assert_true(set.x[0] == 1);
    sr_dataset_clear(&set);
}

// ---- .npy ---------------------------------------------------------------------------------------

static void put_npy(sr_dtype dtype, size_t rank, const size_t *shape, const void *data) {
    sr_array array = {.dtype = dtype, .rank = rank, .data = (void *)(uintptr_t)data};
    memcpy(array.shape, shape, rank * sizeof *shape);
    assert_int_equal(sr_npy_save(scratch("x.npy"), &array), SR_OK);
}

static void expect_shape(size_t limit, size_t count, size_t channels, size_t height, size_t width,
                         const float *x) {
    sr_dataset set;
    if (sr_dataset_load(scratch("x.npy"), NULL, SR_TRAIN, limit, 0, &set) != SR_OK)
        fail_msg("%s", sr_error_message());
    const size_t got[] = {set.count, set.channels, set.height, set.width};
    const size_t expected[] = {count, channels, height, width};
    assert_memory_equal(got, expected, sizeof got);
    assert_memory_equal(set.x, x, count * set.dim * sizeof *x);
    sr_dataset_clear(&set);
}

static void test_npy(void **state) {
    const float points[] = {5, -6, 7, -8, 9, -10};
    put_npy(SR_F32, 2, (const size_t[]){3, 2}, points);
    expect_shape(0, 3, 2, 1, 1, points);
    expect_shape(2, 2, 2, 1, 1, points);
    const double doubles[] = {0.5, -0.5, 1, -1};
    const float floats[] = {0.5f, -0.5f, 1, -1};
    put_npy(SR_F64, 3, (const size_t[]){2, 1, 2}, doubles);
    expect_shape(0, 2, 1, 1, 2, floats);
    const uint8_t bytes[] = {0, 51, 255, 0, 51, 255};
    const float scaled[] = {-1, 2 * 51.0f / 255 - 1, 1, -1, 2 * 51.0f / 255 - 1, 1};
    put_npy(SR_U8, 4, (const size_t[]){1, 3, 1, 2}, bytes); // channels first
    expect_shape(0, 1, 3, 1, 2, scaled);
    const float planes[] = {-1, -1, scaled[1], scaled[1], 1, 1};
    put_npy(SR_U8, 4, (const size_t[]){1, 2, 1, 3}, bytes); // channels last
    expect_shape(0, 1, 3, 2, 1, planes);
    put_npy(SR_F32, 3, (const size_t[]){3, 1, 2}, points);
    expect_load_failure(scratch("x.npy"), SR_ERROR_FORMAT, "element 0 is 5, images must lie");
    const float bad[] = {1, NAN};
    put_npy(SR_F32, 2, (const size_t[]){1, 2}, bad);
    expect_load_failure(scratch("x.npy"), SR_ERROR_FORMAT, "element 1 is not finite");
    put_npy(SR_F32, 1, (const size_t[]){2}, points);
    expect_load_failure(scratch("x.npy"), SR_ERROR_FORMAT, "1 dimensions");
    put_npy(SR_F32, 2, (const size_t[]){0, 2}, points);
    expect_load_failure(scratch("x.npy"), SR_ERROR_FORMAT, "empty");
}

// ---- synthetic ----------------------------------------------------------------------------------

static void test_toy_sets(void **state) {
    sr_dataset a, b;
    assert_int_equal(sr_dataset_load("rings", NULL, SR_TRAIN, 0, 3, &a), SR_OK);
    assert_true(a.toy && a.toy_kind == SR_RINGS && a.count == 10000);
    assert_int_equal(a.dim * 1000 + a.channels * 100 + a.height * 10 + a.width, 2211);
    float x[4];
    sr_toy_sample(SR_RINGS, 3, 9998, 2, x);
    assert_memory_equal(a.x + 2 * 9998, x, sizeof x);
    assert_int_equal(sr_dataset_load("rings", NULL, SR_TEST, 0, 3, &b), SR_OK);
    assert_string_not_equal(a.hash, b.hash);
    sr_dataset_clear(&b);
    assert_int_equal(sr_dataset_load("rings", NULL, SR_TRAIN, 0, 3, &b), SR_OK);
    assert_string_equal(a.hash, b.hash);
    sr_dataset_clear(&b);
    sr_dataset_clear(&a);
    sr_dataset_clear(NULL);
    expect_failure(sr_dataset_load("rings", NULL, SR_TRAIN, SIZE_MAX / 4, 3, &a), SR_ERROR_MEMORY,
                   "do not fit");
    for (const char *const *name = sr_dataset_names(); *name; name++)
        assert_true(strlen(*name) > 0);
}

// ---- mutations ----------------------------------------------------------------------------------

static void touch(const sr_dataset *set) {
    double sum = 0;
    for (size_t i = 0; i < set->count * set->dim; i++)
        sum += (double)set->x[i];
    for (size_t i = 0; set->labels && i < set->count; i++)
        assert_true(set->labels[i] < set->classes);
    assert_true(isfinite(sum));
}

// Damages a file `rounds` times under a name of the given ending and loads each as a data set.
static void mutate(const void *bytes, size_t count, const char *name, int rounds, uint64_t seed) {
    uint8_t *damaged = malloc(count + 8);
    size_t failed = 0;
    for (int i = 0; i < rounds; i++) {
        size_t n = scratch_mutate(&seed, bytes, count, damaged);
        sr_dataset set;
        if (sr_dataset_load(scratch_put(name, damaged, n), NULL, SR_TRAIN, 0, 0, &set) == SR_OK) {
            touch(&set);
        } else {
            assert_null(set.x);
            assert_true(strlen(sr_error_message()) > 0);
            failed++;
        }
        sr_dataset_clear(&set);
    }
    free(damaged);
    assert_true(failed > 0);
}

static void test_mutations(void **state) {
    static uint8_t bytes[2 * 3073];
    size_t n = make_idx(true, 20, bytes);
    mutate(bytes, n, "m.idx", 2000, 1);
    put_gzip("whole.gz", bytes, n);
    void *packed;
    size_t packed_count;
    assert_int_equal(sr_file_read(scratch("whole.gz"), 0, &packed, &packed_count), SR_OK);
    mutate(packed, packed_count, "m.gz", 2000, 2);
    sr_free(packed);
    n = make_cifar(2, bytes);
    mutate(bytes, n, "m.bin", 1000, 3);
    const float x[12] = {0.5f, -0.25f};
    const size_t shape[] = {3, 2, 2};
    assert_int_equal(sr_npy_save_f32(scratch("whole.npy"), 3, shape, x), SR_OK);
    assert_int_equal(sr_file_read(scratch("whole.npy"), 0, &packed, &packed_count), SR_OK);
    mutate(packed, packed_count, "m.npy", 2000, 4);
    sr_free(packed);
    // damaged labels beside sound images
    n = make_idx(true, 20, bytes);
    scratch_put("l-images", bytes, n);
    n = make_idx(false, 20, bytes);
    uint8_t damaged[64];
    uint64_t seed = 5;
    for (int i = 0; i < 1000; i++) {
        size_t m = scratch_mutate(&seed, bytes, n, damaged);
        scratch_put("l-labels", damaged, m);
        sr_dataset set;
        if (sr_dataset_load(scratch("l-images"), NULL, SR_TRAIN, 0, 0, &set) == SR_OK)
            touch(&set);
        sr_dataset_clear(&set);
    }
}

// A file of 65 KB that decompresses to 64 MB of zeros, and one whose header then claims what is not
// there.
static void test_gzip_bomb(void **state) {
    size_t count = (size_t)64 << 20;
    uint8_t *zeros = calloc(count, 1);
    put_gzip("bomb.gz", zeros, count);
    expect_load_failure(scratch("bomb.gz"), SR_ERROR_FORMAT, "magic number 0x00000000");
    put32(zeros, 0x803);
    put32(zeros + 4, 0xffffffff);
    put32(zeros + 8, 28);
    put32(zeros + 12, 28);
    put_gzip("bomb.gz", zeros, count);
    free(zeros);
    expect_load_failure(scratch("bomb.gz"), SR_ERROR_FORMAT, "claims 3367254359280 bytes");
}

// Debian's package dataset-fashion-mnist, where it is installed.
static void test_debian_folder(void **state) {
    sr_dataset set;
    unsetenv("SHORTRUN_DATA");
    if (!sr_file_exists("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"))
        skip();
    assert_int_equal(sr_dataset_load("fashion_mnist", NULL, SR_TEST, 0, 0, &set), SR_OK);
    assert_int_equal(set.count, 10000);
    assert_int_equal(set.dim, 784);
    assert_int_equal(set.classes, 10);
    size_t per_class[10] = {0};
    for (size_t i = 0; i < set.count; i++)
        per_class[set.labels[i]]++;
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(per_class[i], 1000);
    sr_dataset_clear(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),        cmocka_unit_test(test_named_set),
        cmocka_unit_test(test_labels),     cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_png_folder), cmocka_unit_test(test_npy),
        cmocka_unit_test(test_toy_sets),   cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_gzip_bomb),  cmocka_unit_test(test_debian_folder),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
