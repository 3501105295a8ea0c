// Image files of foreign formats: IDX (LeCun's MNIST page), CIFAR-10's binary version (Krizhevsky),
// .npy. Sizes are checked against the file before they are used. Where sets are looked for is
// dataset.c's business.
#include "data/readers.h"

#include <math.h>
#include <string.h>

// Decompressed files beyond this are refused, bytes. MNIST's images have 47 MB.
#define FILE_LIMIT ((size_t)1 << 30)

#define CIFAR_PIXELS ((size_t)3 * 32 * 32)
#define CIFAR_RECORD (1 + CIFAR_PIXELS)

// ---- single files -------------------------------------------------------------------------------

static size_t big_endian(const uint8_t *b) {
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | (size_t)b[3];
}

// Checks an IDX header; fills rank and shape, and gives the offset of the elements.
static sr_status idx_header(const char *path, const uint8_t *b, size_t count, sr_array *out,
                            size_t *offset) {
    if (count < 4 || b[0] != 0 || b[1] != 0 || b[2] != 8 || (b[3] != 1 && b[3] != 3))
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: not an IDX file of bytes (magic number 0x%08zx, expected 0x00000801 "
                       "for labels or 0x00000803 for images)",
                       path, count < 4 ? (size_t)0 : big_endian(b));
    out->dtype = SR_U8;
    out->rank = b[3];
    *offset = 4 + 4 * out->rank;
    if (count < *offset)
        return sr_fail(SR_ERROR_FORMAT, "%s: the IDX header ends after %zu of %zu bytes", path,
                       count, *offset);
    size_t bytes = 1;
    bool fits = true;
    for (size_t i = 0; i < out->rank; i++) {
        out->shape[i] = big_endian(b + 4 + 4 * i);
        if (out->shape[i] == 0)
            return sr_fail(SR_ERROR_FORMAT, "%s: the IDX header has a dimension of 0", path);
        fits = fits && sr_size_mul(bytes, out->shape[i], &bytes);
    }
    if (!fits)
        return sr_fail(SR_ERROR_FORMAT, "%s: the IDX header claims more than memory can hold",
                       path);
    if (bytes != count - *offset)
        return sr_fail(SR_ERROR_FORMAT, "%s: the IDX header claims %zu bytes, the file has %zu",
                       path, bytes, count - *offset);
    return SR_OK;
}

sr_status sr_idx_load(const char *path, sr_array *out) {
    memset(out, 0, sizeof *out);
    void *bytes;
    size_t count, offset = 0;
    sr_status status = sr_file_read_gzip(path, FILE_LIMIT, &bytes, &count);
    if (status != SR_OK)
        return status;
    status = idx_header(path, bytes, count, out, &offset);
    if (status != SR_OK) {
        memset(out, 0, sizeof *out);
        sr_free(bytes);
        return status;
    }
    memmove(bytes, (char *)bytes + offset, count - offset); // the buffer becomes the array
    out->data = bytes;
    return SR_OK;
}

sr_status sr_cifar_load(const char *path, sr_array *x, sr_array *labels) {
    memset(x, 0, sizeof *x);
    memset(labels, 0, sizeof *labels);
    void *raw;
    size_t count;
    sr_status status = sr_file_read(path, FILE_LIMIT, &raw, &count);
    if (status != SR_OK)
        return status;
    const uint8_t *bytes = raw;
    size_t n = count / CIFAR_RECORD;
    if (n == 0 || count % CIFAR_RECORD != 0) {
        status =
            sr_fail(SR_ERROR_FORMAT, "%s: %zu bytes, expected a multiple of 3073 (CIFAR-10 binary)",
                    path, count);
        goto done;
    }
    *x = (sr_array){SR_U8, 4, {n, 3, 32, 32}, sr_alloc(n, CIFAR_PIXELS)};
    *labels = (sr_array){SR_U8, 1, {n}, sr_alloc(n, 1)};
    if (!x->data || !labels->data) {
        status = sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *record = bytes + i * CIFAR_RECORD;
        if (record[0] > 9) {
            status = sr_fail(SR_ERROR_FORMAT, "%s: image %zu has label %u, expected 0 to 9", path,
                             i, (unsigned)record[0]);
            goto done;
        }
        ((uint8_t *)labels->data)[i] = record[0];
        memcpy((uint8_t *)x->data + i * CIFAR_PIXELS, record + 1, CIFAR_PIXELS);
    }
done:
    sr_free(raw);
    if (status != SR_OK) {
        sr_array_clear(x);
        sr_array_clear(labels);
    }
    return status;
}

// ---- into a data set ----------------------------------------------------------------------------

static void scale_pixels(size_t n, const uint8_t *in, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = 2 * (float)in[i] / 255 - 1;
}

static size_t at_most(size_t count, size_t limit) {
    return limit && limit < count ? limit : count;
}

sr_status sr_set_room(sr_dataset *set, const char *source, size_t count, size_t channels,
                      size_t height, size_t width) {
    size_t dim, bytes;
    uint64_t memory = sr_cpu_get()->memory;
    if (!sr_size_mul(channels, height, &dim) || !sr_size_mul(dim, width, &dim) ||
        !sr_size_mul(dim, count, &bytes) || !sr_size_mul(bytes, sizeof *set->x, &bytes) ||
        (memory && bytes > memory))
        return sr_fail(SR_ERROR_MEMORY, "%s: %zu samples of %zu x %zu x %zu do not fit into memory",
                       source, count, channels, height, width);
    set->count = count;
    set->channels = channels;
    set->height = height;
    set->width = width;
    set->dim = dim;
    set->x = sr_alloc(bytes, 1);
    return set->x ? SR_OK : sr_fail_context(SR_ERROR_MEMORY, "%s: ", source);
}

static sr_status take_labels(const char *path, const uint8_t *labels, size_t classes,
                             sr_dataset *set) {
    set->labels = sr_alloc(set->count, 1);
    if (!set->labels)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
    memcpy(set->labels, labels, set->count);
    set->classes = classes;
    for (size_t i = 0; i < set->count; i++) {
        if (classes && labels[i] >= classes)
            return sr_fail(SR_ERROR_FORMAT, "%s: label %zu is %u, expected 0 to %zu", path, i,
                           (unsigned)labels[i], classes - 1);
        if (labels[i] >= set->classes)
            set->classes = (size_t)labels[i] + 1;
    }
    return SR_OK;
}

sr_status sr_read_idx(const char *images_path, const char *labels_path, size_t classes,
                      size_t limit, sr_dataset *set) {
    sr_array images = {0}, labels = {0};
    sr_status status = sr_idx_load(images_path, &images);
    if (status == SR_OK && images.rank != 3)
        status = sr_fail(SR_ERROR_FORMAT, "%s: holds labels, expected images", images_path);
    if (status == SR_OK && labels_path)
        status = sr_idx_load(labels_path, &labels);
    if (status == SR_OK && labels_path && labels.rank != 1)
        status = sr_fail(SR_ERROR_FORMAT, "%s: holds images, expected labels", labels_path);
    if (status == SR_OK && labels_path && labels.shape[0] != images.shape[0])
        status = sr_fail(SR_ERROR_FORMAT, "%s: %zu labels for %zu images", labels_path,
                         labels.shape[0], images.shape[0]);
    if (status == SR_OK)
        status = sr_set_room(set, images_path, at_most(images.shape[0], limit), 1, images.shape[1],
                             images.shape[2]);
    if (status == SR_OK) {
        scale_pixels(set->count * set->dim, images.data, set->x);
        if (labels_path)
            status = take_labels(labels_path, labels.data, classes, set);
    }
    sr_array_clear(&images);
    sr_array_clear(&labels);
    return status;
}

#define CIFAR_FILES 5

sr_status sr_read_cifar(const char *const *paths, size_t n, size_t limit, sr_dataset *set) {
    sr_array x[CIFAR_FILES] = {{0}}, labels[CIFAR_FILES] = {{0}};
    sr_status status = SR_OK;
    size_t count = 0, at = 0;
    if (n > CIFAR_FILES)
        return sr_fail(SR_ERROR_ARGUMENT, "%zu files of CIFAR-10, expected at most %d", n,
                       CIFAR_FILES);
    for (size_t i = 0; i < n && status == SR_OK && (!limit || count < limit); i++) {
        status = sr_cifar_load(paths[i], &x[i], &labels[i]);
        count += status == SR_OK ? x[i].shape[0] : 0;
    }
    if (status == SR_OK)
        status = sr_set_room(set, paths[0], at_most(count, limit), 3, 32, 32);
    if (status == SR_OK) {
        set->labels = sr_alloc(set->count, 1);
        set->classes = 10;
        status = set->labels ? SR_OK : SR_ERROR_MEMORY;
    }
    for (size_t i = 0; i < n && status == SR_OK && at < set->count; i++) {
        size_t take = at_most(x[i].shape[0], set->count - at);
        scale_pixels(take * CIFAR_PIXELS, x[i].data, set->x + at * CIFAR_PIXELS);
        memcpy(set->labels + at, labels[i].data, take);
        at += take;
    }
    for (size_t i = 0; i < n; i++) {
        sr_array_clear(&x[i]);
        sr_array_clear(&labels[i]);
    }
    return status;
}

// ---- .npy ---------------------------------------------------------------------------------------

// (N, H, W, C) -> (N, C, H, W)
static void channels_first(size_t n, size_t channels, size_t pixels, const float *in, float *out) {
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t p = 0; p < pixels; p++)
                out[(i * channels + c) * pixels + p] = in[(i * pixels + p) * channels + c];
        }
    }
}

static sr_status check_values(const char *path, bool image, size_t n, const float *x) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return sr_fail(SR_ERROR_FORMAT, "%s: element %zu is not finite", path, i);
        if (image && (x[i] < -1 || x[i] > 1))
            return sr_fail(SR_ERROR_FORMAT, "%s: element %zu is %g, images must lie in [-1, 1]",
                           path, i, (double)x[i]);
    }
    return SR_OK;
}

// What the dimensions of an array mean: *last when its channels come last.
static sr_status npy_shape(const char *path, const sr_array *a, size_t shape[4], bool *last) {
    *last = false;
    for (size_t i = 0; i < a->rank; i++) {
        if (a->shape[i] == 0)
            return sr_fail(SR_ERROR_FORMAT, "%s: the array is empty", path);
    }
    const size_t *s = a->shape;
    if (a->rank == 2) {
        memcpy(shape, (size_t[]){s[0], s[1], 1, 1}, 4 * sizeof *shape);
    } else if (a->rank == 3) {
        memcpy(shape, (size_t[]){s[0], 1, s[1], s[2]}, 4 * sizeof *shape);
    } else if (a->rank == 4) {
        *last = s[3] == 3 && s[1] != 1 && s[1] != 3;
        memcpy(shape, *last ? (size_t[]){s[0], 3, s[1], s[2]} : s, 4 * sizeof *shape);
    } else {
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: an array of %zu dimensions, expected (N, D), (N, H, W), (N, C, H, W) "
                       "or (N, H, W, 3)",
                       path, a->rank);
    }
    return SR_OK;
}

sr_status sr_read_npy(const char *path, size_t limit, sr_dataset *set) {
    sr_array array;
    size_t shape[4] = {0};
    bool last = false;
    sr_status status = sr_npy_load(path, &array);
    if (status != SR_OK)
        return status;
    float *values = NULL;
    status = npy_shape(path, &array, shape, &last);
    if (status != SR_OK)
        goto done;
    array.shape[0] = at_most(array.shape[0], limit);
    status = sr_set_room(set, path, array.shape[0], shape[1], shape[2], shape[3]);
    if (status == SR_OK)
        status = sr_array_to_f32(&array, &values);
    if (status != SR_OK)
        goto done;
    size_t total = set->count * set->dim;
    if (array.dtype == SR_U8)
        scale_pixels(total, array.data, values);
    else
        status = check_values(path, array.rank > 2, total, values);
    if (last)
        channels_first(set->count, set->channels, set->height * set->width, values, set->x);
    else
        memcpy(set->x, values, total * sizeof *values);
done:
    sr_free(values);
    sr_array_clear(&array);
    return status;
}
