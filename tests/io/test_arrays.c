// .npy and safetensors: round trips, files as NumPy and PyTorch write them, and hostile ones.
#include "scratch.h"

#include <shortrun/io.h>

#include <math.h>

static void expect_failure(sr_status got, sr_status status, const char *part) {
    if (got != status || !strstr(sr_error_message(), part))
        fail_msg("status %d, message '%s'; expected %d, '%s'", got, sr_error_message(), status,
                 part);
    assert_null(strchr(sr_error_message(), '\n'));
}

// ---- .npy ---------------------------------------------------------------------------------------

// A version-1 file with the given header text (not padded) and elements.
static const char *put_npy(const char *header, const void *data, size_t size) {
    uint8_t bytes[1024] = "\x93NUMPY\x01";
    size_t n = strlen(header);
    assert_true(10 + n + size <= sizeof bytes);
    bytes[8] = (uint8_t)n;
    bytes[9] = (uint8_t)(n >> 8);
    memcpy(bytes + 10, header, n);
    if (size > 0)
        memcpy(bytes + 10 + n, data, size);
    return scratch_put("t.npy", bytes, 10 + n + size);
}

static void expect_npy_failure(const char *header, const void *data, size_t size, sr_status status,
                               const char *part) {
    sr_array array;
    expect_failure(sr_npy_load(put_npy(header, data, size), &array), status, part);
    assert_null(array.data);
}

static void test_npy_round_trip(void **state) {
    uint64_t raw[24];
    uint64_t random = 1;
    for (int i = 0; i < 24; i++)
        raw[i] = scratch_random(&random);
    for (int dtype = 0; dtype < SR_DTYPE_COUNT; dtype++) {
        for (size_t rank = 0; rank <= SR_MAX_RANK; rank++) {
            sr_array array = {.dtype = (sr_dtype)dtype, .rank = rank, .data = raw};
            const size_t shape[SR_MAX_RANK] = {2, 3, 1, 4, 1, 1, 1, 1};
            memcpy(array.shape, shape, rank * sizeof *shape);
            assert_int_equal(sr_npy_save(scratch("r.npy"), &array), SR_OK);
            sr_array back;
            assert_int_equal(sr_npy_load(scratch("r.npy"), &back), SR_OK);
            assert_int_equal(back.dtype, dtype);
            assert_int_equal(back.rank, rank);
            assert_memory_equal(back.shape, array.shape, sizeof back.shape);
            assert_memory_equal(back.data, raw,
                                sr_array_count(&array) * sr_dtype_size(array.dtype));
            assert_int_equal((uintptr_t)back.data % SR_ALIGNMENT, 0);
            sr_array_clear(&back);
            assert_null(back.data);
        }
    }
    const size_t empty[] = {0, 5};
    assert_int_equal(sr_npy_save_f32(scratch("e.npy"), 2, empty, NULL), SR_OK);
    sr_array back;
    assert_int_equal(sr_npy_load(scratch("e.npy"), &back), SR_OK);
    assert_int_equal(sr_array_count(&back), 0);
    assert_int_equal(back.shape[1], 5);
    sr_array_clear(&back);
    expect_failure(sr_npy_save_f32(scratch("e.npy"), 9, empty, NULL), SR_ERROR_ARGUMENT, "rank 9");
}

static void test_npy_saved_header(void **state) {
    const size_t shape[] = {3};
    const float x[] = {1, 2, 3};
    assert_int_equal(sr_npy_save_f32(scratch("h.npy"), 1, shape, x), SR_OK);
    void *bytes;
    size_t count;
    assert_int_equal(sr_file_read(scratch("h.npy"), 0, &bytes, &count), SR_OK);
    assert_int_equal(count, 128 + 12);
    const char *text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    assert_memory_equal((char *)bytes + 10, text, strlen(text));
    assert_int_equal(((char *)bytes)[127], '\n');
    sr_free(bytes);
}

static void test_npy_variants(void **state) {
    const float x[] = {1, 2, 3, 4, 5, 6};
    sr_array array;
    // other order of keys, double quotes, tabs, no trailing comma, Python 2's long integers
    const char *path =
        put_npy("{\"shape\":(2L, 3L),\t'fortran_order' : False , 'descr':'<f4'}\n", x, sizeof x);
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    assert_int_equal(array.shape[0], 2);
    assert_memory_equal(array.data, x, sizeof x);
    sr_array_clear(&array);
    // Fortran order: the file's 1..6 run down the columns
    path = put_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", x, sizeof x);
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    const float turned[] = {1, 3, 5, 2, 4, 6};
    assert_memory_equal(array.data, turned, sizeof turned);
    sr_array_clear(&array);
    const uint8_t bits[] = {1, 0, 1};
    path = put_npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", bits, 3);
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    assert_int_equal(array.dtype, SR_U8);
    sr_array_clear(&array);
    // half floats: 1, -2, the smallest subnormal, -0, infinity
    const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00};
    path = put_npy("{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }", half, sizeof half);
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    assert_int_equal(array.dtype, SR_F32);
    const float wide[] = {1, -2, 0x1p-24f, -0.0f, INFINITY};
    assert_memory_equal(array.data, wide, sizeof wide);
    sr_array_clear(&array);
    path = put_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", &(double){2.5},
                   sizeof(double));
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    assert_int_equal(sr_array_count(&array), 1);
    sr_array_clear(&array);
    // version 2 has a header length of four bytes
    uint8_t two[] = "\x93NUMPY\x02\x00\x3a\x00\x00\x00"
                    "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), } XY";
    path = scratch_put("two.npy", two, sizeof two - 1);
    assert_int_equal(sr_npy_load(path, &array), SR_OK);
    assert_memory_equal(array.data, "XY", 2);
    sr_array_clear(&array);
}

static void test_npy_hostile(void **state) {
    const float x[6] = {0};
#define F4(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }"
    expect_npy_failure(F4("(2, 4)"), x, sizeof x, SR_ERROR_FORMAT, "asks for 32 bytes");
    expect_npy_failure(F4("(5,)"), x, sizeof x, SR_ERROR_FORMAT, "the file has 24");
    expect_npy_failure(F4("(1000000000000,)"), x, sizeof x, SR_ERROR_FORMAT, "4000000000000 bytes");
    expect_npy_failure(F4("(4294967296, 4294967296)"), x, sizeof x, SR_ERROR_FORMAT,
                       "more elements");
    expect_npy_failure(F4("(0, 4294967296, 4294967296)"), x, 0, SR_ERROR_FORMAT, "more elements");
    expect_npy_failure(F4("(18446744073709551616,)"), x, 0, SR_ERROR_FORMAT, "too large");
    expect_npy_failure(F4("(-1,)"), x, 0, SR_ERROR_FORMAT, "found '-1,)");
    expect_npy_failure(F4("(1,1,1,1,1,1,1,1,6)"), x, sizeof x, SR_ERROR_UNSUPPORTED, "dimensions");
    expect_npy_failure(F4("(6)"), x, sizeof x, SR_ERROR_FORMAT, "','");
    expect_npy_failure(F4("6"), x, sizeof x, SR_ERROR_FORMAT, "a shape");
    expect_npy_failure("{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }", x, sizeof x,
                       SR_ERROR_UNSUPPORTED, "'>f4'");
    expect_npy_failure("{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", x, sizeof x,
                       SR_ERROR_UNSUPPORTED, "'<c8'");
    expect_npy_failure("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", x, sizeof x,
                       SR_ERROR_UNSUPPORTED, "'|O'");
    expect_npy_failure("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", x,
                       sizeof x, SR_ERROR_UNSUPPORTED, "structured");
    expect_npy_failure("{'descr': '<f4', 'shape': (6,), }", x, sizeof x, SR_ERROR_FORMAT, "lacks");
    expect_npy_failure("{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }", x, sizeof x,
                       SR_ERROR_FORMAT, "once");
    expect_npy_failure("{'descr': '<f4', 'fortran_order': None, 'shape': (6,), }", x, sizeof x,
                       SR_ERROR_FORMAT, "True or False");
    expect_npy_failure("", x, sizeof x, SR_ERROR_FORMAT, "'{'");
    sr_array array;
    expect_failure(sr_npy_load(scratch_put("t.npy", "\x93NUMPY\x01\x00\xff\xff{", 11), &array),
                   SR_ERROR_FORMAT, "65535 bytes");
    expect_failure(
        sr_npy_load(scratch_put("t.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13), &array),
        SR_ERROR_FORMAT, "4294967295 bytes");
    expect_failure(sr_npy_load(scratch_put("t.npy", "\x93NUMPY\x09\x00\x01\x00{", 11), &array),
                   SR_ERROR_UNSUPPORTED, "version 9.0");
    expect_failure(sr_npy_load(scratch_put("t.npy", "PK\x03\x04 an .npz file", 16), &array),
                   SR_ERROR_FORMAT, "not a .npy file");
    expect_failure(sr_npy_load(scratch("absent.npy"), &array), SR_ERROR_IO, "No such file");
}

static void test_convert(void **state) {
    const struct {
        sr_dtype dtype;
        const void *data;
    } cases[] = {
        {SR_F32, (const float[]){1, 2}},   {SR_F64, (const double[]){1, 2}},
        {SR_U8, (const uint8_t[]){1, 2}},  {SR_I32, (const int32_t[]){1, 2}},
        {SR_I64, (const int64_t[]){1, 2}}, {SR_U64, (const uint64_t[]){1, 2}},
    };
    for (size_t i = 0; i < SR_DTYPE_COUNT; i++) {
        sr_array array = {cases[i].dtype, 1, {2}, (void *)(uintptr_t)cases[i].data};
        float *f;
        double *d;
        assert_int_equal(sr_array_to_f32(&array, &f), SR_OK);
        assert_int_equal(sr_array_to_f64(&array, &d), SR_OK);
        assert_true(f[0] == 1 && f[1] == 2 && d[0] == 1 && d[1] == 2);
        sr_free(f);
        sr_free(d);
    }
    assert_string_equal(sr_dtype_name(SR_I64), "I64");
    assert_int_equal(sr_dtype_size(SR_I64), 8);
    assert_int_equal(sr_dtype_size(SR_DTYPE_COUNT), 0);
}

// ---- safetensors --------------------------------------------------------------------------------

// A file with the given header text and `size` bytes 0, 1, 2, ... behind it.
static const char *put_tensors(const char *header, size_t size) {
    uint8_t bytes[4096] = {0};
    size_t n = strlen(header);
    assert_true(8 + n + size <= sizeof bytes);
    bytes[0] = (uint8_t)n;
    bytes[1] = (uint8_t)(n >> 8);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < size; i++)
        bytes[8 + n + i] = (uint8_t)i;
    return scratch_put("t.safetensors", bytes, 8 + n + size);
}

static void expect_tensors_failure(const char *header, size_t size, sr_status status,
                                   const char *part) {
    sr_tensors *tensors;
    expect_failure(sr_tensors_load(put_tensors(header, size), &tensors), status, part);
    assert_null(tensors);
}

static void test_tensors_round_trip(void **state) {
    sr_tensors *t, *back;
    assert_int_equal(sr_tensors_create(&t), SR_OK);
    const uint8_t byte[] = {7, 8, 9};
    const float weight[] = {1, -2, 3, -4, 5, -6};
    const double wide[] = {0.1, 0.2};
    const uint64_t seed = UINT64_MAX;
    const size_t three = 3, two = 2, matrix[] = {2, 3}, none[] = {0, 4};
    assert_int_equal(sr_tensors_add(t, "state", SR_U8, 1, &three, byte), SR_OK);
    assert_int_equal(sr_tensors_add(t, "0.weight", SR_F32, 2, matrix, weight), SR_OK);
    assert_int_equal(sr_tensors_add(t, "empty", SR_F32, 2, none, NULL), SR_OK);
    assert_int_equal(sr_tensors_add(t, "wide \"\xc3\xa9\"", SR_F64, 1, &two, wide), SR_OK);
    assert_int_equal(sr_tensors_add(t, "seed", SR_U64, 0, NULL, &seed), SR_OK);
    expect_failure(sr_tensors_add(t, "seed", SR_U64, 0, NULL, &seed), SR_ERROR_ARGUMENT, "taken");
    expect_failure(sr_tensors_add(t, "__metadata__", SR_U64, 0, NULL, &seed), SR_ERROR_ARGUMENT,
                   "taken");
    assert_int_equal(sr_tensors_set_meta(t, "arch", "mlp"), SR_OK);
    assert_int_equal(sr_tensors_set_meta(t, "arch", "convnet"), SR_OK);
    assert_int_equal(sr_tensors_set_meta(t, "iteration", "12"), SR_OK);
    assert_int_equal(sr_tensors_save(t, scratch("a.safetensors")), SR_OK);
    assert_int_equal(sr_tensors_load(scratch("a.safetensors"), &back), SR_OK);
    assert_int_equal(sr_tensors_count(back), 5);
    for (size_t i = 0; i < 5; i++) { // order of insertion
        const sr_array *a = sr_tensors_at(t, i), *b = sr_tensors_at(back, i);
        assert_string_equal(sr_tensors_name(t, i), sr_tensors_name(back, i));
        assert_ptr_equal(sr_tensors_find(back, sr_tensors_name(t, i)), b);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->shape, b->shape, sizeof a->shape);
        assert_memory_equal(a->data, b->data, sr_array_count(a) * sr_dtype_size(a->dtype));
    }
    assert_string_equal(sr_tensors_meta(back, "arch"), "convnet");
    assert_string_equal(sr_tensors_meta(back, "iteration"), "12");
    assert_null(sr_tensors_meta(back, "absent"));
    assert_null(sr_tensors_find(back, "absent"));
    // the same content gives the same bytes
    void *one, *other;
    size_t one_count, other_count;
    assert_int_equal(sr_tensors_save(back, scratch("b.safetensors")), SR_OK);
    assert_int_equal(sr_file_read(scratch("a.safetensors"), 0, &one, &one_count), SR_OK);
    assert_int_equal(sr_file_read(scratch("b.safetensors"), 0, &other, &other_count), SR_OK);
    assert_int_equal(one_count, other_count);
    assert_memory_equal(one, other, one_count);
    sr_free(one);
    sr_free(other);
    sr_tensors_destroy(t);
    sr_tensors_destroy(back);
    sr_tensors_destroy(NULL);
}

static void test_tensors_save_failures(void **state) {
    sr_tensors *t;
    const float x = 1;
    assert_int_equal(sr_tensors_create(&t), SR_OK);
    assert_int_equal(sr_tensors_save(t, scratch("none.safetensors")), SR_OK); // no tensors: fine
    sr_tensors *back;
    assert_int_equal(sr_tensors_load(scratch("none.safetensors"), &back), SR_OK);
    assert_int_equal(sr_tensors_count(back), 0);
    sr_tensors_destroy(back);
    expect_failure(sr_tensors_save(t, "/dev/full"), SR_ERROR_IO, "No space left");
    assert_int_equal(sr_tensors_add(t, "not \xff UTF-8", SR_F32, 0, NULL, &x), SR_OK);
    expect_failure(sr_tensors_save(t, scratch("u.safetensors")), SR_ERROR_ARGUMENT, "UTF-8");
    assert_false(sr_file_exists(scratch("u.safetensors")));
    const size_t huge[] = {SIZE_MAX, 2};
    expect_failure(sr_tensors_add(t, "huge", SR_F32, 2, huge, &x), SR_ERROR_ARGUMENT, "impossible");
    sr_tensors_destroy(t);
}

static void test_tensors_widen(void **state) {
    sr_tensors *t;
    const char *header = "{\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[4,8]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}  ";
    uint8_t bytes[256] = {0};
    size_t n = strlen(header);
    bytes[0] = (uint8_t)n;
    memcpy(bytes + 8, header, n);
    memcpy(bytes + 8 + n, "\x80\x3f\x20\xc1\x00\x3c\xff\x7b", 8); // 1, -10; 1, 65504
    assert_int_equal(sr_tensors_load(scratch_put("w.safetensors", bytes, 16 + n), &t), SR_OK);
    const float *h = sr_tensors_find(t, "h")->data, *b = sr_tensors_find(t, "b")->data;
    assert_int_equal(sr_tensors_find(t, "h")->dtype, SR_F32);
    assert_true(b[0] == 1 && b[1] == -10 && h[0] == 1 && h[1] == 65504);
    assert_string_equal(sr_tensors_name(t, 0), "h"); // the header's order, not that of the bytes
    sr_tensors_destroy(t);
}

#define T(type, shape, offsets)                                                                    \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_tensors_hostile(void **state) {
    const struct {
        const char *header;
        size_t size;
        sr_status status;
        const char *part;
    } cases[] = {
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[4,12]") "}", 12,
         SR_ERROR_FORMAT, "overlap"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[12,16]") "}", 16,
         SR_ERROR_FORMAT, "hole"},
        {"{\"a\":" T("F32", "[2]", "[4,12]") "}", 12, SR_ERROR_FORMAT, "hole"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 9, SR_ERROR_FORMAT, "end at byte 8 of 9"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 7, SR_ERROR_FORMAT, "outside"},
        {"{\"a\":" T("F32", "[2]", "[8,0]") "}", 8, SR_ERROR_FORMAT, "outside"},
        {"{\"a\":" T("F32", "[2]", "[-8,0]") "}", 8, SR_ERROR_FORMAT, "whole number"},
        {"{\"a\":" T("F32", "[2]", "[0,8.0]") "}", 8, SR_ERROR_FORMAT, "whole number"},
        {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", 8, SR_ERROR_FORMAT, "whole number"},
        {"{\"a\":" T("F32", "[3]", "[0,8]") "}", 8, SR_ERROR_FORMAT, "do not match"},
        {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,8]") "}", 8, SR_ERROR_FORMAT,
         "more elements"},
        {"{\"a\":" T("F32", "[99999999999]", "[0,399999999996]") "}", 8, SR_ERROR_FORMAT,
         "outside"},
        {"{\"a\":" T("F32", "[9223372036854775808]", "[0,8]") "}", 8, SR_ERROR_FORMAT, "header"},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, SR_ERROR_FORMAT, "dimensions"},
        {"{\"a\":" T("F8_E4M3", "[8]", "[0,8]") "}", 8, SR_ERROR_UNSUPPORTED, "'F8_E4M3'"},
        {"{\"a\":" T("F32", "[2]", "[0]") "}", 8, SR_ERROR_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":1}}", 8, SR_ERROR_FORMAT, "no dtype"},
        {"{\"a\":[]}", 8, SR_ERROR_FORMAT, "no dtype"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2,
         SR_ERROR_FORMAT, "duplicate"},
        {"{\"__metadata__\":[]}", 0, SR_ERROR_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{\"a\":1}}", 0, SR_ERROR_FORMAT, "no string"},
        {"{\"bad \\u001b[31m\\nname\":{}}", 0, SR_ERROR_FORMAT, "'bad ?[31m?name'"},
        {"[]", 0, SR_ERROR_FORMAT, "'{'"},
        {"{\"a\":", 0, SR_ERROR_FORMAT, "header"},
        {"{} trailing", 0, SR_ERROR_FORMAT, "header"},
        {"", 0, SR_ERROR_FORMAT, "'{'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_tensors_failure(cases[i].header, cases[i].size, cases[i].status, cases[i].part);
    sr_tensors *t;
    expect_failure(
        sr_tensors_load(scratch_put("t.st", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), &t),
        SR_ERROR_FORMAT, "18446744073709551615 bytes");
    expect_failure(sr_tensors_load(scratch_put("t.st", "\x02\0\0\0", 4), &t), SR_ERROR_FORMAT,
                   "too few");
    expect_failure(sr_tensors_load(scratch_put("t.st", "\x03\0\0\0\0\0\0\0{}", 10), &t),
                   SR_ERROR_FORMAT, "3 bytes");
    // arrays in arrays, deeper than any stack
    char deep[3500] = "{\"a\":";
    memset(deep + 5, '[', sizeof deep - 6);
    expect_tensors_failure(deep, 0, SR_ERROR_FORMAT, "header");
}

// ---- mutations ----------------------------------------------------------------------------------

static void touch(const sr_array *array) {
    float *f;
    assert_true(sr_array_count(array) < 100000);
    assert_int_equal(sr_array_to_f32(array, &f), SR_OK);
    sr_free(f);
}

// Damaged files either load as something whole or fail with a message; sanitizers watch the rest.
static void test_mutations(void **state) {
    const float weight[12] = {1, 2, 3};
    const size_t shape[] = {3, 4};
    sr_tensors *t;
    assert_int_equal(sr_tensors_create(&t), SR_OK);
    assert_int_equal(sr_tensors_add(t, "0.weight", SR_F32, 2, shape, weight), SR_OK);
    assert_int_equal(sr_tensors_add(t, "0.bias", SR_F64, 1, shape, weight), SR_OK);
    assert_int_equal(sr_tensors_set_meta(t, "k", "v"), SR_OK);
    assert_int_equal(sr_tensors_save(t, scratch("m.st")), SR_OK);
    sr_tensors_destroy(t);
    assert_int_equal(sr_npy_save_f32(scratch("m.npy"), 2, shape, weight), SR_OK);
    void *st, *npy;
    size_t st_count, npy_count, loaded = 0;
    assert_int_equal(sr_file_read(scratch("m.st"), 0, &st, &st_count), SR_OK);
    assert_int_equal(sr_file_read(scratch("m.npy"), 0, &npy, &npy_count), SR_OK);
    uint8_t damaged[1024];
    assert_true(st_count + 8 <= sizeof damaged && npy_count + 8 <= sizeof damaged);
    uint64_t random = 20240501;
    for (int i = 0; i < 4000; i++) {
        size_t n = scratch_mutate(&random, st, st_count, damaged);
        sr_tensors *back;
        if (sr_tensors_load(scratch_put("d.st", damaged, n), &back) == SR_OK) {
            for (size_t k = 0; k < sr_tensors_count(back); k++)
                touch(sr_tensors_at(back, k));
            loaded++;
        } else {
            assert_null(back);
            assert_true(strlen(sr_error_message()) > 0);
        }
        sr_tensors_destroy(back);
        n = scratch_mutate(&random, npy, npy_count, damaged);
        sr_array array;
        if (sr_npy_load(scratch_put("d.npy", damaged, n), &array) == SR_OK) {
            touch(&array);
            loaded++;
        } else {
            assert_null(array.data);
        }
        sr_array_clear(&array);
    }
    assert_true(loaded > 100 && loaded < 7900); // both ways were taken
    // every truncation fails
    for (size_t n = 0; n < st_count; n++) {
        sr_tensors *back;
        assert_int_equal(sr_tensors_load(scratch_put("d.st", st, n), &back), SR_ERROR_FORMAT);
    }
    for (size_t n = 0; n < npy_count; n++) {
        sr_array array;
        assert_int_equal(sr_npy_load(scratch_put("d.npy", npy, n), &array), SR_ERROR_FORMAT);
    }
    sr_free(st);
    sr_free(npy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_round_trip),
        cmocka_unit_test(test_npy_saved_header),
        cmocka_unit_test(test_npy_variants),
        cmocka_unit_test(test_npy_hostile),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_tensors_round_trip),
        cmocka_unit_test(test_tensors_save_failures),
        cmocka_unit_test(test_tensors_widen),
        cmocka_unit_test(test_tensors_hostile),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
