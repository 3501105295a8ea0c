// Inception-v3: features, logits and inputs against values that PyTorch and PIL gave
// (torch_inception.py --stored), the same bits for any thread count and company, and refusals of
// files and images.
#include "../io/scratch.h"
#include "quality/inception.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static void must_fail(sr_status status, sr_status expected, const char *words) {
    assert_int_equal(status, expected);
    if (!strstr(sr_error_message(), words))
        fail_msg("'%s' is not in: %s", words, sr_error_message());
}

static bool has_onednn(void) {
    return sr_engine_available(SR_ENGINE_ONEDNN);
}

// ---- weights and images from an integer hash, the same in torch_inception.py --------------------

// A number in [0, 1) from a counter: the finaliser of MurmurHash3.
static double hashed(uint32_t h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    h ^= h >> 16;
    return (double)(h >> 8) / (1 << 24);
}

static uint32_t counter; // of the weights

static void put(sr_tensors *tensors, const char *layer, const char *part, size_t rank,
                const size_t *shape, double low, double high) {
    char name[64];
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        count *= shape[i];
    float *values = sr_alloc(count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(low + (high - low) * hashed(counter++));
    snprintf(name, sizeof name, "%s.%s", layer, part);
    must(sr_tensors_add(tensors, name, SR_F32, rank, shape, values));
    sr_free(values);
}

static const char source[] = "6726825d6726825d6726825d6726825d6726825d6726825d6726825d6726825d";

static sr_tensors *random_weights(void) {
    static sr_inception_net net;
    sr_tensors *tensors;
    sr_inception_describe(&net);
    must(sr_tensors_create(&tensors));
    counter = 1;
    for (size_t i = 0; i < net.node_count; i++) {
        const sr_graph_node *n = &net.nodes[i];
        if (n->kind != SR_GRAPH_CONVOLUTION)
            continue;
        const size_t shape[] = {n->channels, net.tensors[n->from].channels, n->kernel_height,
                                n->kernel_width};
        const double high = sqrt(6.0 / (double)(shape[1] * shape[2] * shape[3]));
        put(tensors, net.names[i], "conv.weight", 4, shape, -high, high);
        put(tensors, net.names[i], "bn.weight", 1, shape, 0.5, 1.5);
        put(tensors, net.names[i], "bn.bias", 1, shape, -0.2, 0.2);
        put(tensors, net.names[i], "bn.running_mean", 1, shape, -0.2, 0.2);
        put(tensors, net.names[i], "bn.running_var", 1, shape, 0.5, 1.5);
    }
    const size_t shape[] = {SR_INCEPTION_LOGITS, SR_INCEPTION_FEATURES};
    put(tensors, "fc", "weight", 2, shape, -0.05, 0.05);
    put(tensors, "fc", "bias", 1, shape, -1, 1);
    must(sr_tensors_set_meta(tensors, "source_sha256", source));
    return tensors;
}

// (n, channels, height, width), sr_free.
static float *random_images(size_t n, size_t channels, size_t height, size_t width) {
    const size_t plane = height * width;
    float *x = sr_alloc(n * channels, plane * sizeof *x);
    assert_non_null(x);
    for (size_t p = 0; p < n * channels; p++) {
        double level = 2 * hashed(99 + (uint32_t)p) - 1;
        for (size_t i = 0; i < plane; i++) {
            double noise = 2 * hashed(12345 + (uint32_t)(p * plane + i)) - 1;
            x[p * plane + i] = (float)(0.7 * level + 0.3 * noise);
        }
    }
    return x;
}

// ---- stored values ------------------------------------------------------------------------------

static void close_to(const char *what, const float *values, const size_t *at,
                     const double *expected, size_t count, double bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(values[at[i]] - expected[i]) <= bound))
            fail_msg("%s, value %zu is %.9g, expected %.9g (bound %g)", what, at[i],
                     (double)values[at[i]], expected[i], bound);
}

static double total(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

static void inputs(void **state) {
    static const size_t at[] = {0, 298, 134328, 268202, 2294};
    static const struct {
        sr_resize resize;
        size_t height, width;
        double values[5], sum;
    } known[] = {
        {SR_RESIZE_PYTORCH_FID,
         20,
         33,
         {-0.00394761562, 0.260407448, 0.778864741, -0.188109994, 0.265034199},
         69270.9040777},
        {SR_RESIZE_CLEAN_FID,
         20,
         33,
         {-0.0822682381, 0.289879084, 0.807477832, -0.241265416, 0.298404932},
         67964.2549793},
        {SR_RESIZE_PYTORCH_FID,
         400,
         350,
         {0.00650477409, 0.0245863199, 0.594322443, -0.359924078, 0.0116165876},
         68731.5250177},
        {SR_RESIZE_CLEAN_FID,
         400,
         350,
         {0.0140944719, 0.0205003023, 0.557362795, -0.372382879, -0.0223413706},
         67413.5032942},
    };
    const size_t count = (size_t)3 * SR_INCEPTION_PIXELS;
    float *out = sr_alloc(count, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        float *x = random_images(1, 3, known[i].height, known[i].width);
        must(sr_inception_input(known[i].resize, 3, known[i].height, known[i].width, x, out));
        close_to(sr_resize_name(known[i].resize), out, at, known[i].values, 5, 2e-6);
        assert_true(fabs(total(out, count) - known[i].sum) < 1e-6 * (double)count);
        sr_free(x);
    }
    sr_free(out);
}

// Grey is repeated, values outside [-1, 1] are clamped, 299 x 299 stays as it is.
static void inputs_of_other_kinds(void **state) {
    const size_t pixels = SR_INCEPTION_PIXELS;
    float *x = random_images(1, 1, SR_INCEPTION_SIZE, SR_INCEPTION_SIZE);
    float *out = sr_alloc(3 * pixels, sizeof *out);
    assert_non_null(out);
    x[0] = 3;
    x[1] = -1.5f;
    must(
        sr_inception_input(SR_RESIZE_PYTORCH_FID, 1, SR_INCEPTION_SIZE, SR_INCEPTION_SIZE, x, out));
    assert_true(out[0] == 1 && out[1] == -1);
    assert_memory_equal(out + 2, x + 2, (pixels - 2) * sizeof *x);
    assert_memory_equal(out + pixels, out, pixels * sizeof *x);
    assert_memory_equal(out + 2 * pixels, out, pixels * sizeof *x);
    must(sr_inception_input(SR_RESIZE_CLEAN_FID, 1, SR_INCEPTION_SIZE, SR_INCEPTION_SIZE, x, out));
    assert_true(out[0] == 127.f / 128 && out[1] == -1);
    for (size_t i = 2; i < pixels; i++)
        assert_true(fabsf(out[i] - ((x[i] + 1) * 127.5f - 128) / 128) < 1e-6f);
    sr_free(x);
    sr_free(out);
    sr_resize resize;
    must(sr_resize_parse("clean-fid", &resize));
    assert_int_equal(resize, SR_RESIZE_CLEAN_FID);
    must_fail(sr_resize_parse("tensorflow", &resize), SR_ERROR_ARGUMENT, "pytorch-fid, clean-fid");
}

static const char *weights; // the path of the hashed weights

static int weights_setup(void **state) {
    if (scratch_setup(state))
        return -1;
    static char path[1024];
    sr_tensors *tensors = random_weights();
    snprintf(path, sizeof path, "%s", scratch("inception.safetensors"));
    weights = path;
    sr_status status = sr_tensors_save(tensors, path);
    sr_tensors_destroy(tensors);
    return status == SR_OK ? 0 : -1;
}

// Two images of 40 x 24 in colour. bound: a share of the largest feature and logit.
static void check_values(sr_precision precision, double bound) {
    static const size_t at[] = {0,    1,    319,  320,  703,  704,  1087,
                                1088, 1471, 1472, 1855, 1856, 2046, 2047};
    static const size_t logits_at[] = {0, 1, 503, 1007};
    static const double features[2][14] = {
        {39.9571902, 1.05268841, 1.45851611, 0, 10.1198244, 0, 7.10408131, 2.9050769, 0.346705106,
         1.03624415, 0.938801181, 0, 0, 0.497753842},
        {27.7863267, 1.41406532, 1.03206807, 0.11140018, 6.39329023, 0, 5.0384954, 1.92315021,
         0.436645842, 0.583853353, 0.58927121, 0, 0, 0.456995929}};
    static const double logits[2][4] = {{13.2519854, -7.80586266, 23.3219147, -12.8000344},
                                        {10.3934932, -5.60968587, 15.7582642, -8.22236403}};
    static const double sums[] = {13205.0206, 9834.55775}, largest = 74.5;
    sr_inception *inception;
    must(sr_inception_load(weights, precision, 2, &inception));
    float *x = random_images(2, 3, 40, 24);
    float *out = sr_alloc(2, SR_INCEPTION_FEATURES * sizeof *out);
    float *outputs = sr_alloc(2, SR_INCEPTION_LOGITS * sizeof *outputs);
    assert_non_null(out);
    assert_non_null(outputs);
    must(sr_inception_features_of(inception, 2, 3, 40, 24, x, SR_RESIZE_PYTORCH_FID, out, outputs));
    for (size_t i = 0; i < 2; i++) {
        const float *row = out + i * SR_INCEPTION_FEATURES;
        close_to("features", row, at, features[i], 14, bound * largest);
        close_to("logits", outputs + i * SR_INCEPTION_LOGITS, logits_at, logits[i], 4, bound * 53);
        assert_true(fabs(total(row, SR_INCEPTION_FEATURES) - sums[i]) < bound * sums[i]);
    }
    assert_int_equal(sr_inception_precision(inception), precision);
    assert_int_equal(strlen(sr_inception_hash(inception)), 32);
    assert_string_equal(sr_inception_source(inception), source);
    assert_true(fabsf(sr_inception_logit_bias(inception)[0]) < 1);
    sr_inception_destroy(inception);
    sr_free(x);
    sr_free(out);
    sr_free(outputs);
}

static void values_in_fp32(void **state) {
    if (!has_onednn())
        skip();
    check_values(SR_FP32, 1e-5);
}

static void values_in_bf16(void **state) {
    if (!has_onednn() || !sr_precision_available(SR_ENGINE_ONEDNN, SR_BF16))
        skip();
    check_values(SR_BF16, 1e-2);
}

// ---- the same bits ------------------------------------------------------------------------------

static void same_bits(void **state) {
    if (!has_onednn())
        skip();
    enum { N = 10, ROW = SR_INCEPTION_FEATURES };
    float *x = random_images(N, 1, 28, 28), *first = sr_alloc(N, ROW * sizeof *first);
    float *again = sr_alloc(N, ROW * sizeof *again);
    assert_non_null(first);
    assert_non_null(again);
    for (unsigned threads = 1; threads <= 3; threads++) {
        sr_inception *inception;
        must(sr_inception_load(weights, SR_FP32, threads, &inception));
        float *out = threads == 1 ? first : again;
        must(sr_inception_features_of(inception, N, 1, 28, 28, x, SR_RESIZE_CLEAN_FID, out, NULL));
        if (threads > 1)
            assert_memory_equal(again, first, N * ROW * sizeof *first);
        if (threads == 3) { // alone, as in company
            must(sr_inception_features_of(inception, 1, 1, 28, 28, x + (N - 1) * 784,
                                          SR_RESIZE_CLEAN_FID, again, NULL));
            assert_memory_equal(again, first + (N - 1) * ROW, ROW * sizeof *first);
            must(sr_inception_features_of(inception, 0, 1, 28, 28, x, SR_RESIZE_CLEAN_FID, again,
                                          NULL));
        }
        sr_inception_destroy(inception);
    }
    assert_memory_not_equal(first, first + ROW, ROW * sizeof *first);
    sr_free(x);
    sr_free(first);
    sr_free(again);
}

// ---- refusals -----------------------------------------------------------------------------------

static void bad_images(void **state) {
    if (!has_onednn())
        skip();
    sr_inception *inception;
    must(sr_inception_load(weights, SR_FP32, 1, &inception));
    float *x = random_images(2, 1, 8, 8), out[2 * SR_INCEPTION_FEATURES];
    must_fail(sr_inception_features_of(inception, 1, 2, 8, 4, x, SR_RESIZE_CLEAN_FID, out, NULL),
              SR_ERROR_ARGUMENT, "2 channels");
    must_fail(sr_inception_features_of(inception, 1, 1, 0, 8, x, SR_RESIZE_CLEAN_FID, out, NULL),
              SR_ERROR_ARGUMENT, "0 x 8 pixels");
    must_fail(sr_inception_input(SR_RESIZE_CLEAN_FID, 4, 4, 4, x, out), SR_ERROR_ARGUMENT,
              "4 channels");
    x[64 + 5] = NAN;
    must_fail(sr_inception_features_of(inception, 2, 1, 8, 8, x, SR_RESIZE_CLEAN_FID, out, NULL),
              SR_ERROR_ARGUMENT, "image 1, value 5 is nan");
    sr_free(x);
    sr_inception_destroy(inception);
    must_fail(sr_inception_load(weights, SR_BF16X3, 1, &inception), SR_ERROR_UNSUPPORTED, "bf16x3");
    assert_null(inception);
}

static void without_onednn(void **state) {
    if (has_onednn())
        skip();
    sr_inception *inception;
    must_fail(sr_inception_load(weights, SR_FP32, 1, &inception), SR_ERROR_UNSUPPORTED, "oneDNN");
    assert_null(inception);
}

static void missing_file(void **state) {
    char path[1024] = "untouched";
    sr_inception *inception;
    must_fail(sr_inception_load(scratch("nothing.safetensors"), SR_FP32, 1, &inception),
              SR_ERROR_IO, "nothing.safetensors");
    assert_null(inception);
    must(sr_folder_make(scratch("empty")));
    setenv("SHORTRUN_FEATURES", scratch("empty"), 1);
    if (sr_inception_find(path, sizeof path) != SR_OK) { // unless they lie where the project's do
        assert_string_equal(path, "");
        must_fail(SR_OK, SR_OK, scratch("empty"));
        must_fail(SR_OK, SR_OK, "curl -LO https://github.com/mseitzer/pytorch-fid/");
        must_fail(SR_OK, SR_OK, "scripts/convert_inception.py pt_inception");
        must_fail(SR_OK, SR_OK, "SHORTRUN_FEATURES");
        assert_null(strchr(sr_error_message(), '\n'));
    }
    setenv("SHORTRUN_FEATURES", scratch_folder, 1);
    must(sr_inception_find(path, sizeof path));
    assert_string_equal(path, weights);
    setenv("SHORTRUN_FEATURES", weights, 1);
    must(sr_inception_find(path, sizeof path));
    assert_string_equal(path, weights);
    unsetenv("SHORTRUN_FEATURES");
}

// A copy of the weights with tensor `name` left out, or in its place values of another type, shape
// or content.
static const char *changed(const char *name, const sr_array *instead) {
    sr_tensors *all, *some;
    must(sr_tensors_load(weights, &all));
    must(sr_tensors_create(&some));
    for (size_t i = 0; i < sr_tensors_count(all); i++) {
        const sr_array *array = sr_tensors_at(all, i);
        if (strcmp(sr_tensors_name(all, i), name) == 0)
            array = instead;
        if (array)
            must(sr_tensors_add(some, sr_tensors_name(all, i), array->dtype, array->rank,
                                array->shape, array->data));
    }
    if (!sr_tensors_find(all, name))
        must(sr_tensors_add(some, name, instead->dtype, instead->rank, instead->shape,
                            instead->data));
    const char *path = scratch("changed.safetensors");
    must(sr_tensors_save(some, path));
    sr_tensors_destroy(all);
    sr_tensors_destroy(some);
    return path;
}

static void refused(const char *name, const sr_array *instead, const char *words) {
    static sr_inception_net net;
    sr_inception_weights w;
    sr_inception_describe(&net);
    must_fail(sr_inception_weights_load(&net, changed(name, instead), &w), SR_ERROR_FORMAT, words);
    must_fail(SR_OK, SR_OK, "changed.safetensors");
    assert_null(w.theta);
}

static void bad_tensors(void **state) {
    float values[192] = {0};
    int32_t integers[192] = {0};
    sr_array array = {.dtype = SR_F32, .rank = 1, .shape = {192}, .data = values};
    refused("Mixed_7c.branch_pool.bn.bias", NULL, "no tensor 'Mixed_7c.branch_pool.bn.bias'");
    refused("fc.extra", &array, "473 tensors, expected the 472");
    array.dtype = SR_I32;
    array.data = integers;
    refused("Mixed_7c.branch_pool.bn.bias", &array, "is I32, expected F32");
    array.dtype = SR_F32;
    array.data = values;
    array.shape[0] = 191;
    refused("Mixed_7c.branch_pool.bn.bias", &array, "has shape (191), expected (192)");
    array.rank = 2;
    array.shape[0] = 192;
    array.shape[1] = 1;
    refused("Mixed_7c.branch_pool.bn.bias", &array, "has shape (192, 1), expected (192)");
    array.rank = 1;
    values[7] = INFINITY;
    refused("Mixed_6b.branch1x1.bn.running_mean", &array, "value 7 is inf, expected a finite");
    values[7] = -1e-3f;
    refused("Mixed_6b.branch1x1.bn.running_var", &array, "expected a variance");
    float huge[32 * 27];
    sr_array kernel = {.dtype = SR_F32, .rank = 4, .shape = {32, 3, 3, 3}, .data = huge};
    for (size_t i = 0; i < 32 * 27; i++)
        huge[i] = 3e38f; // finite, but not twice of it
    refused("Conv2d_1a_3x3.conv.weight", &kernel, "is not finite once its batch norm is folded in");
}

// Damage in the header, written into a copy of the file: refused, or loaded with the change unseen,
// never anything else.
static void damaged_header(void **state) {
    enum { ROUNDS = 24 };
    static sr_inception_net net;
    uint8_t front[4096], damaged[4096 + 8];
    uint64_t random = 20151205;
    sr_inception_weights w;
    sr_inception_describe(&net);
    const char *path = scratch("damaged.safetensors");
    void *bytes;
    size_t count;
    must(sr_file_read(weights, 0, &bytes, &count));
    assert_true(count > sizeof front);
    memcpy(front, bytes, sizeof front);
    scratch_put("damaged.safetensors", bytes, count);
    sr_free(bytes);
    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        memcpy(damaged, front, sizeof front);
        size_t length = scratch_mutate(&random, front, sizeof front, damaged);
        length = length < sizeof front ? length : sizeof front;
        assert_int_equal(pwrite(file, damaged, length, 0), length);
        sr_status status = sr_inception_weights_load(&net, path, &w);
        assert_true(status == SR_OK || status == SR_ERROR_FORMAT || status == SR_ERROR_UNSUPPORTED);
        sr_inception_weights_clear(&w);
        assert_int_equal(pwrite(file, front, sizeof front, 0), sizeof front);
    }
    assert_int_equal(ftruncate(file, (off_t)count / 2), 0);
    assert_int_equal(close(file), 0);
    must_fail(sr_inception_weights_load(&net, path, &w), SR_ERROR_FORMAT, "damaged.safetensors");
}

static void bad_record(void **state) {
    static sr_inception_net net;
    sr_inception_weights w;
    sr_tensors *tensors = random_weights();
    sr_inception_describe(&net);
    must(sr_tensors_set_meta(tensors, "source_sha256", "6726825d"));
    must(sr_tensors_save(tensors, scratch("record.safetensors")));
    sr_tensors_destroy(tensors);
    must_fail(sr_inception_weights_load(&net, scratch("record.safetensors"), &w), SR_ERROR_FORMAT,
              "source_sha256");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs),         cmocka_unit_test(inputs_of_other_kinds),
        cmocka_unit_test(values_in_fp32), cmocka_unit_test(values_in_bf16),
        cmocka_unit_test(same_bits),      cmocka_unit_test(bad_images),
        cmocka_unit_test(without_onednn), cmocka_unit_test(missing_file),
        cmocka_unit_test(bad_tensors),    cmocka_unit_test(damaged_header),
        cmocka_unit_test(bad_record),
    };
    return cmocka_run_group_tests(tests, weights_setup, scratch_teardown);
}
