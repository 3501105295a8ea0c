// Files for the tests of the program, and what came out of it.
//   arrays METRICS.safetensors FOLDER  real.npy, fake.npy, projections.npy of an oracle file
//   meta FILE.safetensors KEY          prints a metadata value
//   compare METRICS.safetensors OUT    OUT is what `shortrun evaluate --format json` printed
//   broken FOLDER                      one file of each kind of damage, and some good ones
//   pictures FOLDER                    images as .npy, PNG and CIFAR-10's files
//   inception FILE.safetensors         random weights of Inception-v3; status 77 without oneDNN
// Not a test itself: exit status 0 or 1, with a line on stderr.
#include <shortrun/shortrun.h>

#include "quality/inception.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int complain(const char *what) {
    fprintf(stderr, "cli_files: %s: %s\n", what, sr_error_message());
    return 1;
}

// ---- the oracle's arrays
// ---------------------------------------------------------------------------

static int write_arrays(const char *path, const char *folder) {
    static const char *const names[] = {"real", "fake", "projections"};
    sr_tensors *tensors = NULL;
    sr_status status = sr_tensors_load(path, &tensors);
    for (size_t i = 0; i < 3 && status == SR_OK; i++) {
        char file[1024];
        const sr_array *array = sr_tensors_find(tensors, names[i]);
        snprintf(file, sizeof file, "%s/%s.npy", folder, names[i]);
        status = array ? sr_npy_save(file, array) : sr_fail(SR_ERROR_FORMAT, "no %s", names[i]);
    }
    sr_tensors_destroy(tensors);
    return status == SR_OK ? 0 : complain(path);
}

static int print_meta(const char *path, const char *key) {
    sr_tensors *tensors = NULL;
    if (sr_tensors_load(path, &tensors) != SR_OK)
        return complain(path);
    const char *value = sr_tensors_meta(tensors, key);
    printf("%s\n", value ? value : "");
    sr_tensors_destroy(tensors);
    return value ? 0 : 1;
}

// ---- comparing
// -------------------------------------------------------------------------------------

// Beside the library's metrics: memorisation_ratio, _closer and _copies.
#define MEMORISATION_SCORES 3

#define ROUNDING 1e-12 // of the bounds

// A score is a value within its interval, or has none.
static int check_score(const char *name, json_t *score) {
    static const char *const keys[] = {"value", "error", "low", "high"};
    for (size_t i = 0; i < 4; i++) {
        if (!json_object_get(score, keys[i])) {
            fprintf(stderr, "cli_files: %s has no %s\n", name, keys[i]);
            return 1;
        }
    }
    const json_t *low = json_object_get(score, "low"), *high = json_object_get(score, "high");
    const double value = json_number_value(json_object_get(score, "value"));
    if (!json_is_null(low) && !json_is_null(high) &&
        !(json_number_value(low) <= value + ROUNDING &&
          value <= json_number_value(high) + ROUNDING)) {
        fprintf(stderr, "cli_files: %s is outside of its interval\n", name);
        return 1;
    }
    return 0;
}

// The document has these keys and no others.
static int check_shape(json_t *root, const sr_tensors *tensors) {
    static const char *const keys[] = {"n_real", "n_fake",   "metrics",    "real",
                                       "fake",   "features", "convention", "settings"};
    const sr_array *real = sr_tensors_find(tensors, "real"),
                   *fake = sr_tensors_find(tensors, "fake");
    bool all = json_object_size(root) == sizeof keys / sizeof *keys;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        all = all && json_object_get(root, keys[i]);
    const char *name;
    json_t *score;
    json_object_foreach(json_object_get(root, "metrics"), name, score) {
        if (check_score(name, score))
            return 1;
    }
    if (!all || !real || !fake ||
        json_integer_value(json_object_get(root, "n_real")) != (json_int_t)real->shape[0] ||
        json_integer_value(json_object_get(root, "n_fake")) != (json_int_t)fake->shape[0] ||
        json_object_size(json_object_get(root, "metrics")) !=
            SR_METRIC_COUNT + MEMORISATION_SCORES) {
        fprintf(stderr, "cli_files: wrong keys or numbers of rows\n");
        return 1;
    }
    return 0;
}

static int compare_metrics(json_t *root, const sr_tensors *tensors) {
    int bad = check_shape(root, tensors);
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        char key[64];
        const char *name = sr_metric_name((sr_metric)m);
        snprintf(key, sizeof key, "expect.%s", name);
        const sr_array *expected = sr_tensors_find(tensors, key);
        const json_t *entry = json_object_get(json_object_get(root, "metrics"), name);
        const json_t *value = json_object_get(entry, "value");
        if (!expected) // random subsets and the like have other tests
            continue;
        if (expected->dtype != SR_F64 || !json_is_real(value)) {
            fprintf(stderr, "cli_files: %s is missing\n", name);
            bad = 1;
            continue;
        }
        const double want = *(const double *)expected->data, got = json_real_value(value);
        // Relative 1e-6; a metric near zero is a difference of numbers of order one.
        if (!(fabs(got - want) <= 1e-6 * fmax(fabs(want), 1e-3))) {
            fprintf(stderr, "cli_files: %s is %.12g, expected %.12g\n", name, got, want);
            bad = 1;
        }
    }
    return bad;
}

static int compare(const char *path, const char *output) {
    sr_tensors *tensors = NULL;
    json_error_t error;
    if (sr_tensors_load(path, &tensors) != SR_OK)
        return complain(path);
    json_t *root = json_load_file(output, JSON_REJECT_DUPLICATES, &error);
    int bad = 1;
    if (root)
        bad = compare_metrics(root, tensors);
    else
        fprintf(stderr, "cli_files: %s:%d: %s\n", output, error.line, error.text);
    json_decref(root);
    sr_tensors_destroy(tensors);
    return bad;
}

// ---- broken files
// ----------------------------------------------------------------------------------

static const char *folder;
static int failures;

static void put(const char *name, const void *bytes, size_t count) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sr_file_write(path, bytes, count) != SR_OK)
        failures += complain(path);
}

// IDX: magic 0, 0, type, rank; big-endian sizes; bytes.
static void put_idx(const char *name, uint8_t type, uint32_t count, size_t pixels) {
    uint8_t bytes[16 + 4 * 64] = {0, 0, type, 3};
    const uint32_t sizes[3] = {count, 8, 8};
    for (int i = 0; i < 12; i++)
        bytes[4 + i] = (uint8_t)(sizes[i / 4] >> (24 - 8 * (i % 4)));
    for (size_t i = 0; i < pixels; i++)
        bytes[16 + i] = (uint8_t)(i * 37);
    put(name, bytes, 16 + pixels);
}

// .npy 1.0 with the given dictionary, and `count` zero bytes behind it.
static void put_npy(const char *name, const char *dictionary, size_t count) {
    uint8_t bytes[1024] = "\x93NUMPY\x01";
    const size_t length = 118; // so that the data begin at a multiple of 64
    bytes[8] = (uint8_t)length;
    memset(bytes + 10, ' ', length);
    memcpy(bytes + 10, dictionary, strlen(dictionary));
    bytes[10 + length - 1] = '\n';
    put(name, bytes, 10 + length + count);
}

static void put_safetensors(const char *name, uint64_t length, const char *header, size_t count) {
    uint8_t bytes[1024] = {0};
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (8 * i));
    memcpy(bytes + 8, header, strlen(header));
    put(name, bytes, 8 + strlen(header) + count);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void broken_idx(void) {
    put_idx("good-images-idx3-ubyte", 8, 4, 4 * 64);
    put_idx("truncated-images-idx3-ubyte", 8, 4, 3 * 64 + 5);
    put_idx("magic-images-idx3-ubyte", 99, 4, 4 * 64);
    put_idx("huge-images-idx3-ubyte", 8, 0xffffffffu, 64);
    put("empty-images-idx3-ubyte", "", 0);
    put("half.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01", 11);
}

static void broken_arrays(void) {
    const float good[12] = {0, 1, 2, 3, 4, 5, 1, 3, 2, 7, 6, 5};
    const float nan_rows[12] = {0, 1, 2, NAN};
    const size_t shape[2] = {6, 2};
    char path[1024];
    snprintf(path, sizeof path, "%s/good.npy", folder);
    failures += sr_npy_save_f32(path, 2, shape, good) != SR_OK;
    snprintf(path, sizeof path, "%s/nan.npy", folder);
    failures += sr_npy_save_f32(path, 2, shape, nan_rows) != SR_OK;
    put_npy("huge.npy",
            "{'descr': '<f4', 'fortran_order': False, "
            "'shape': (4611686018427387904, 4611686018427387904), }",
            64);
    put_npy("large.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 2), }", 64);
    put_npy("object.npy", "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", 64);
    put_npy("negative.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 2), }", 64);
    put("short.npy", "\x93NUMPY\x01", 7);
}

static void broken_tensors(void) {
    const char *overlap = "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
                          "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}";
    const char *beyond = "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}";
    const char *huge = "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615,4],"
                       "\"data_offsets\":[0,16]}}";
    put_safetensors("overlap.safetensors", strlen(overlap), overlap, 24);
    put_safetensors("beyond.safetensors", strlen(beyond), beyond, 4);
    put_safetensors("hugeshape.safetensors", strlen(huge), huge, 16);
    put_safetensors("header.safetensors", UINT64_C(1) << 60, beyond, 16);
    put_safetensors("nojson.safetensors", 8, "{\"0.weig", 16);
    put_safetensors("other.safetensors", strlen(beyond), beyond, 16);
    put("short.safetensors", "\x05", 1);
}

#define GROUP                                                                                      \
    "name: broken\ngroups:\n  - name: g\n    dataset: eight_gaussians\n"                           \
    "    model: mlp:dim=2,widths=8,activation=silu\n    data_limit: 200\n    batch: 16\n"          \
    "    samples: 64\n    seeds: 1\n"

static void broken_experiments(void) {
    put_text("good.yaml", GROUP "    iterations: 3\n    dynamics:\n      steps: [2, 3]\n"
                                "      step_size: 0.1\n      noise: 0\n");
    put_text("typo.yaml", GROUP "    iteratons: 3\n");
    put_text("k0.yaml", GROUP "    dynamics:\n      steps: [5, 0]\n");
    put_text("noise.yaml", GROUP "    dynamics:\n      noise: -0.1\n");
    put_text("syntax.yaml", "name: x\ngroups: [\n");
    put_text("empty.yaml", "");
    put_text("binary.yaml", "\x01\x02\xff\xfe");
    put_text("missing.yaml", "name: x\ngroups:\n  - name: g\n    dataset: nothing.npy\n"
                             "    model: mlp:dim=2,widths=8,activation=silu\n    iterations: 3\n"
                             "    seeds: 1\n");
    put_text("results.db", "this is no database, but long enough that SQLite looks at its header");
}

// ---- images -------------------------------------------------------------------------------------

#define PICTURES 40
#define SIDE 28

// Blobs: brighter towards a centre that moves from image to image.
static uint8_t pixel(size_t image, size_t y, size_t x) {
    const double v = (double)y - 4.0 - (double)(image % 20), u = (double)x - 14.0;
    return (uint8_t)(255.0 * exp(-(u * u + v * v) / (20.0 + (double)image)));
}

static void put_pictures(const char *name, size_t first) {
    static float x[PICTURES * SIDE * SIDE];
    const size_t shape[4] = {PICTURES, 1, SIDE, SIDE};
    char path[1024];
    for (size_t i = 0; i < PICTURES * SIDE * SIDE; i++)
        x[i] = (float)pixel(first + i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE) / 127.5f - 1.0f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    failures += sr_npy_save_f32(path, 4, shape, x) != SR_OK;
}

static void put_png_folder(void) {
    uint8_t bytes[SIDE * SIDE];
    const sr_image image = {SIDE, SIDE, 1, bytes};
    char path[1024];
    snprintf(path, sizeof path, "%s/png", folder);
    failures += sr_folder_make(path) != SR_OK;
    for (size_t n = 0; n < PICTURES; n++) {
        for (size_t i = 0; i < SIDE * SIDE; i++)
            bytes[i] = pixel(n, i / SIDE, i % SIDE);
        snprintf(path, sizeof path, "%s/png/%02zu.png", folder, n);
        failures += sr_png_save(path, &image) != SR_OK;
    }
}

static void put_cifar(void) {
    enum { RECORD = 3073, RECORDS = 12 };
    static uint8_t bytes[RECORD * RECORDS];
    char path[1024];
    snprintf(path, sizeof path, "%s/batches", folder);
    failures += sr_folder_make(path) != SR_OK;
    for (size_t f = 0; f < 6; f++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = i % RECORD == 0 ? (uint8_t)(i / RECORD % 10)
                                       : (uint8_t)(i * (37 + f) ^ (i >> (3 + f % 4)));
        snprintf(path, sizeof path, "batches/data_batch_%zu.bin", f + 1);
        put(f < 5 ? path : "batches/test_batch.bin", bytes, sizeof bytes);
    }
}

static uint32_t drawn; // of the weights so far

static sr_status add_random(sr_tensors *tensors, const char *layer, const char *part, size_t rank,
                            const size_t *shape, double low, double high) {
    char name[64];
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        count *= shape[i];
    float *values = sr_alloc(count, sizeof *values);
    if (!values)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        drawn = drawn * 1664525u + 1013904223u; // Numerical Recipes' generator
        values[i] = (float)(low + (high - low) * drawn / 4294967296.0);
    }
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const sr_status status = sr_tensors_add(tensors, name, SR_F32, rank, shape, values);
    sr_free(values);
    return status;
}

static sr_status add_layers(sr_tensors *tensors) {
    static sr_inception_net net;
    sr_status status = SR_OK;
    sr_inception_describe(&net);
    for (size_t i = 0; i < net.node_count && status == SR_OK; i++) {
        const sr_graph_node *n = &net.nodes[i];
        if (n->kind != SR_GRAPH_CONVOLUTION)
            continue;
        const size_t shape[] = {n->channels, net.tensors[n->from].channels, n->kernel_height,
                                n->kernel_width};
        const double high = sqrt(6.0 / (double)(shape[1] * shape[2] * shape[3]));
        status = add_random(tensors, net.names[i], "conv.weight", 4, shape, -high, high);
        const char *const parts[] = {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"};
        for (size_t p = 0; p < 4 && status == SR_OK; p++) {
            const bool scale = p == 0 || p == 3;
            status = add_random(tensors, net.names[i], parts[p], 1, shape, scale ? 0.5 : -0.2,
                                scale ? 1.5 : 0.2);
        }
    }
    const size_t shape[] = {SR_INCEPTION_LOGITS, SR_INCEPTION_FEATURES};
    if (status == SR_OK)
        status = add_random(tensors, "fc", "weight", 2, shape, -0.05, 0.05);
    return status == SR_OK ? add_random(tensors, "fc", "bias", 1, shape, -1, 1) : status;
}

static int write_inception(const char *path) {
    sr_tensors *tensors = NULL;
    if (!*sr_engine_version(SR_ENGINE_ONEDNN))
        return 77;
    sr_status status = sr_tensors_create(&tensors);
    if (status == SR_OK)
        status = add_layers(tensors);
    if (status == SR_OK)
        status = sr_tensors_save(tensors, path);
    sr_tensors_destroy(tensors);
    return status == SR_OK ? 0 : complain(path);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "arrays") == 0)
        return write_arrays(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "meta") == 0)
        return print_meta(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "compare") == 0)
        return compare(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "broken") == 0) {
        folder = argv[2];
        broken_idx();
        broken_arrays();
        broken_tensors();
        broken_experiments();
        return failures ? 1 : 0;
    }
    if (argc == 3 && strcmp(argv[1], "pictures") == 0) {
        folder = argv[2];
        put_pictures("images.npy", 0);
        put_pictures("others.npy", 3);
        put_png_folder();
        put_cifar();
        return failures ? 1 : 0;
    }
    if (argc == 3 && strcmp(argv[1], "inception") == 0)
        return write_inception(argv[2]);
    fprintf(stderr, "cli_files: wrong arguments\n");
    return 1;
}
