// Inception-v3 for scripts: what torch_inception.py compares with PyTorch and PIL.
//   inception_tool input IMAGES RESIZE OUT
//   inception_tool features WEIGHTS IMAGES RESIZE PRECISION THREADS FEATURES LOGITS
//   inception_tool time WEIGHTS PRECISION THREADS N
// Images (n, channels, height, width) and results are .npy files.
#include <shortrun/shortrun.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(sr_status status) {
    if (status == SR_OK)
        return;
    fprintf(stderr, "inception_tool: %s\n", sr_error_message());
    exit(1);
}

static void *room(size_t count) {
    void *memory = sr_alloc(count, sizeof(float));
    if (!memory)
        must(SR_ERROR_MEMORY);
    return memory;
}

static sr_array images(const char *path) {
    sr_array array;
    must(sr_npy_load(path, &array));
    if (array.rank != 4 || array.dtype != SR_F32)
        must(sr_fail(SR_ERROR_ARGUMENT, "%s: expected float32 (n, channels, height, width)", path));
    return array;
}

static int input(const char *const *names) {
    sr_array x = images(names[0]);
    const size_t n = x.shape[0], image = x.shape[1] * x.shape[2] * x.shape[3];
    const size_t shape[] = {n, 3, SR_INCEPTION_SIZE, SR_INCEPTION_SIZE};
    const size_t each = shape[1] * shape[2] * shape[3];
    float *out = room(n * each);
    sr_resize resize;
    must(sr_resize_parse(names[1], &resize));
    for (size_t i = 0; i < n; i++)
        must(sr_inception_input(resize, x.shape[1], x.shape[2], x.shape[3],
                                (const float *)x.data + i * image, out + i * each));
    must(sr_npy_save_f32(names[2], 4, shape, out));
    sr_free(out);
    sr_array_clear(&x);
    return 0;
}

static sr_inception *load(const char *path, const char *precision_name, const char *threads) {
    sr_precision precision;
    sr_inception *inception;
    must(sr_precision_parse(precision_name, &precision));
    must(sr_inception_load(path, precision, (unsigned)strtoul(threads, NULL, 10), &inception));
    return inception;
}

static int features(const char *const *names) {
    sr_array x = images(names[1]);
    sr_resize resize;
    must(sr_resize_parse(names[2], &resize));
    sr_inception *inception = load(names[0], names[3], names[4]);
    const size_t shape[] = {x.shape[0], SR_INCEPTION_FEATURES};
    const size_t logit_shape[] = {x.shape[0], SR_INCEPTION_LOGITS};
    float *out = room(shape[0] * shape[1]), *logits = room(logit_shape[0] * logit_shape[1]);
    must(sr_inception_features_of(inception, x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.data,
                                  resize, out, logits));
    must(sr_npy_save_f32(names[5], 2, shape, out));
    must(sr_npy_save_f32(names[6], 2, logit_shape, logits));
    printf("%s %s\n", sr_inception_hash(inception), sr_inception_source(inception));
    sr_inception_destroy(inception);
    sr_free(out);
    sr_free(logits);
    sr_array_clear(&x);
    return 0;
}

// Images a second, 32 x 32 in colour, after one call that warms up.
static int measure(const char *const *names) {
    sr_inception *inception = load(names[0], names[1], names[2]);
    const size_t n = strtoul(names[3], NULL, 10), image = (size_t)3 * 32 * 32;
    float *x = room(n * image), *out = room(n * SR_INCEPTION_FEATURES);
    for (size_t i = 0; i < n * image; i++)
        x[i] = (float)(i % 255) / 127.5f - 1;
    double seconds = 0;
    for (int repeat = 0; repeat < 2; repeat++) {
        seconds = -sr_seconds();
        must(
            sr_inception_features_of(inception, n, 3, 32, 32, x, SR_RESIZE_PYTORCH_FID, out, NULL));
        seconds += sr_seconds();
    }
    printf("%.2f images/s\n", (double)n / seconds);
    sr_inception_destroy(inception);
    sr_free(x);
    sr_free(out);
    return 0;
}

int main(int count, char **arguments) {
    const char *const *names = (const char *const *)arguments + 2;
    if (count == 5 && !strcmp(arguments[1], "input"))
        return input(names);
    if (count == 9 && !strcmp(arguments[1], "features"))
        return features(names);
    if (count == 6 && !strcmp(arguments[1], "time"))
        return measure(names);
    fprintf(stderr, "usage: see the head of inception_tool.c\n");
    return 2;
}
