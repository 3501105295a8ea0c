// A set of named tensors in memory, and its writing as a safetensors file (format:
// huggingface/safetensors): eight bytes with the header's length, a JSON header, the elements.
// Reading stands in safetensors_load.c.
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

sr_status sr_tensors_create(sr_tensors **out) {
    *out = sr_alloc(1, sizeof **out);
    return *out ? SR_OK : SR_ERROR_MEMORY;
}

void sr_tensors_destroy(sr_tensors *tensors) {
    if (!tensors)
        return;
    for (size_t i = 0; i < tensors->count; i++) {
        sr_free(tensors->items[i].name);
        sr_array_clear(&tensors->items[i].array);
    }
    for (size_t i = 0; i < tensors->meta_count; i++) {
        sr_free(tensors->meta[i].key);
        sr_free(tensors->meta[i].value);
    }
    sr_free(tensors->items);
    sr_free(tensors->meta);
    sr_free(tensors);
}

size_t sr_tensors_count(const sr_tensors *tensors) {
    return tensors->count;
}

const char *sr_tensors_name(const sr_tensors *tensors, size_t i) {
    return tensors->items[i].name;
}

const sr_array *sr_tensors_at(const sr_tensors *tensors, size_t i) {
    return &tensors->items[i].array;
}

const sr_array *sr_tensors_find(const sr_tensors *tensors, const char *name) {
    for (size_t i = 0; i < tensors->count; i++) {
        if (strcmp(tensors->items[i].name, name) == 0)
            return &tensors->items[i].array;
    }
    return NULL;
}

const char *sr_tensors_meta(const sr_tensors *tensors, const char *key) {
    for (size_t i = 0; i < tensors->meta_count; i++) {
        if (strcmp(tensors->meta[i].key, key) == 0)
            return tensors->meta[i].value;
    }
    return NULL;
}

// Room for one more item of `size` bytes in a growing array.
static bool grow(void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return true;
    size_t larger = *capacity ? *capacity * 2 : 16;
    void *old, *grown;
    memcpy(&old, items, sizeof old);
    grown = old ? sr_realloc(old, *capacity, larger, size) : sr_alloc(larger, size);
    if (!grown)
        return false;
    memcpy(items, &grown, sizeof grown);
    *capacity = larger;
    return true;
}

sr_status sr_tensors_append(sr_tensors *tensors, const char *name, sr_array *array) {
    char *copy = sr_strdup(name);
    if (!copy || !grow(&tensors->items, tensors->count, &tensors->capacity, sizeof(sr_tensor))) {
        sr_free(copy);
        return SR_ERROR_MEMORY;
    }
    tensors->items[tensors->count++] = (sr_tensor){copy, *array};
    memset(array, 0, sizeof *array);
    return SR_OK;
}

sr_status sr_tensors_add(sr_tensors *tensors, const char *name, sr_dtype dtype, size_t rank,
                         const size_t *shape, const void *data) {
    size_t bytes;
    if ((unsigned)dtype >= SR_DTYPE_COUNT || rank > SR_MAX_RANK ||
        !sr_shape_bytes(rank, shape, sr_dtype_size(dtype), &bytes))
        return sr_fail(SR_ERROR_ARGUMENT, "tensor %s: impossible type or shape", name);
    if (strcmp(name, "__metadata__") == 0 || sr_tensors_find(tensors, name))
        return sr_fail(SR_ERROR_ARGUMENT, "tensor %s: the name is taken", name);
    sr_array array = {.dtype = dtype, .rank = rank, .data = sr_alloc(bytes, 1)};
    if (!array.data)
        return SR_ERROR_MEMORY;
    if (rank > 0)
        memcpy(array.shape, shape, rank * sizeof *shape);
    if (bytes > 0)
        memcpy(array.data, data, bytes);
    sr_status status = sr_tensors_append(tensors, name, &array);
    sr_array_clear(&array);
    return status;
}

sr_status sr_tensors_append_meta(sr_tensors *tensors, const char *key, const char *value) {
    sr_tensor_meta pair = {sr_strdup(key), sr_strdup(value)};
    if (!pair.key || !pair.value ||
        !grow(&tensors->meta, tensors->meta_count, &tensors->meta_capacity, sizeof pair)) {
        sr_free(pair.key);
        sr_free(pair.value);
        return SR_ERROR_MEMORY;
    }
    tensors->meta[tensors->meta_count++] = pair;
    return SR_OK;
}

sr_status sr_tensors_set_meta(sr_tensors *tensors, const char *key, const char *value) {
    for (size_t i = 0; i < tensors->meta_count; i++) {
        if (strcmp(tensors->meta[i].key, key) != 0)
            continue;
        char *copy = sr_strdup(value);
        if (!copy)
            return SR_ERROR_MEMORY;
        sr_free(tensors->meta[i].value);
        tensors->meta[i].value = copy;
        return SR_OK;
    }
    return sr_tensors_append_meta(tensors, key, value);
}

// ---- writing ------------------------------------------------------------------------------------

static size_t array_bytes(const sr_array *array) {
    return sr_array_count(array) * sr_dtype_size(array->dtype);
}

// The tensors' places in the data: elements of 8 bytes first, then 4, then 1, each group in order,
// so that every tensor is aligned to its element (readers map the file). order: (count) indices of
// tensors.
static void place(const sr_tensors *tensors, size_t *order, size_t *begin) {
    static const size_t sizes[] = {8, 4, 1};
    size_t n = 0, at = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < tensors->count; i++) {
            const sr_array *array = &tensors->items[i].array;
            if (sr_dtype_size(array->dtype) != sizes[s])
                continue;
            order[n++] = i;
            begin[i] = at;
            at += array_bytes(array);
        }
    }
}

static json_t *tensor_json(const sr_array *array, size_t begin) {
    json_t *shape = json_array();
    for (size_t i = 0; i < array->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)array->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", sr_dtype_name(array->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + array_bytes(array)));
}

// The header's text, from jansson's allocator; NULL (error recorded) when a name is not UTF-8.
static char *header_text(const sr_tensors *tensors, const size_t *begin) {
    json_t *root = json_object(), *meta = json_object();
    char *text = NULL;
    for (size_t i = 0; i < tensors->meta_count; i++) {
        const sr_tensor_meta *pair = &tensors->meta[i];
        if (json_object_set_new(meta, pair->key, json_string(pair->value)) != 0) {
            sr_fail(SR_ERROR_ARGUMENT, "metadata %s is not UTF-8 text", pair->key);
            goto done;
        }
    }
    if (tensors->meta_count > 0)
        json_object_set(root, "__metadata__", meta);
    for (size_t i = 0; i < tensors->count; i++) {
        json_t *entry = tensor_json(&tensors->items[i].array, begin[i]);
        if (json_object_set_new(root, tensors->items[i].name, entry) != 0) {
            sr_fail(SR_ERROR_ARGUMENT, "tensor name %s is not UTF-8 text", tensors->items[i].name);
            goto done;
        }
    }
    text = json_dumps(root, JSON_COMPACT);
    if (!text)
        sr_fail(SR_ERROR_MEMORY, "out of memory for a safetensors header");
done:
    json_decref(meta);
    json_decref(root);
    return text;
}

sr_status sr_tensors_save(const sr_tensors *tensors, const char *path) {
    size_t n = tensors->count;
    size_t *order = sr_alloc(n, sizeof *order), *begin = sr_alloc(n, sizeof *begin);
    sr_file_part *parts = sr_alloc(n + 3, sizeof *parts);
    char *text = NULL;
    sr_status status = SR_ERROR_MEMORY;
    if (!order || !begin || !parts)
        goto done;
    place(tensors, order, begin);
    text = header_text(tensors, begin);
    if (!text) {
        status = sr_fail_context(SR_ERROR_ARGUMENT, "%s: ", path);
        goto done;
    }
    // spaces bring the elements to a multiple of 8 bytes
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    uint64_t prefix = padded; // little-endian, as npy.c demands
    parts[0] = (sr_file_part){&prefix, sizeof prefix};
    parts[1] = (sr_file_part){text, length};
    parts[2] = (sr_file_part){"        ", padded - length};
    for (size_t i = 0; i < n; i++) {
        const sr_array *array = &tensors->items[order[i]].array;
        parts[3 + i] = (sr_file_part){array->data, array_bytes(array)};
    }
    status = sr_file_write_parts(path, parts, n + 3);
done:
    free(text);
    sr_free(parts);
    sr_free(begin);
    sr_free(order);
    return status;
}
