// Reading safetensors files: everything that the header says is checked against the file before it
// is used. Half floats and bfloat16 are widened to float32.
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

// The reference reader's own bound on the JSON header, bytes.
#define HEADER_LIMIT 100000000u

// Element types in files and what they become in memory.
static const struct {
    const char *name;
    size_t size; // in the file
    sr_dtype dtype;
    void (*widen)(size_t n, const uint8_t *in, float *out); // NULL: copied as they are
} types[] = {
    {"F32", 4, SR_F32, NULL},
    {"F64", 8, SR_F64, NULL},
    {"U8", 1, SR_U8, NULL},
    {"BOOL", 1, SR_U8, NULL},
    {"I32", 4, SR_I32, NULL},
    {"I64", 8, SR_I64, NULL},
    {"U64", 8, SR_U64, NULL},
    {"F16", 2, SR_F32, sr_half_to_f32},
    {"BF16", 2, SR_F32, sr_bfloat16_to_f32},
};
enum { TYPES = sizeof types / sizeof *types };

// One entry of the header.
typedef struct entry {
    const char *name; // belongs to the JSON value
    size_t type, rank, shape[SR_MAX_RANK];
    size_t begin, end; // in the data section
} entry;

typedef struct loader {
    const char *path;
    const uint8_t *data; // the data section
    size_t data_count;
    entry *entries;
    size_t count;
} loader;

// A message about one tensor; the name in it is made printable.
static sr_status bad(const loader *l, const char *name, const char *what) {
    char shown[80];
    return sr_fail(SR_ERROR_FORMAT, "%s: tensor '%s': %s", l->path,
                   sr_printable(name, shown, sizeof shown), what);
}

// A JSON integer that is not negative.
static bool read_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static sr_status read_type(const loader *l, entry *e, const json_t *value) {
    const char *name = json_string_value(value);
    if (!name)
        return bad(l, e->name, "no dtype");
    for (e->type = 0; e->type < TYPES; e->type++) {
        if (strcmp(name, types[e->type].name) == 0)
            return SR_OK;
    }
    char shown[80], type[24];
    return sr_fail(SR_ERROR_UNSUPPORTED,
                   "%s: tensor '%s': dtype '%s' is not supported, only F32, F64, F16, BF16, U8, "
                   "BOOL, I32, I64, U64",
                   l->path, sr_printable(e->name, shown, sizeof shown),
                   sr_printable(name, type, sizeof type));
}

static sr_status read_entry(const loader *l, entry *e, const char *name, const json_t *value) {
    e->name = name;
    sr_status status = read_type(l, e, json_object_get(value, "dtype"));
    if (status != SR_OK)
        return status;
    const json_t *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
        return bad(l, name, "shape or data_offsets missing");
    e->rank = json_array_size(shape);
    if (e->rank > SR_MAX_RANK)
        return bad(l, name, "more than 8 dimensions");
    for (size_t i = 0; i < e->rank; i++) {
        if (!read_size(json_array_get(shape, i), &e->shape[i]))
            return bad(l, name, "a dimension is not a whole number");
    }
    if (!read_size(json_array_get(offsets, 0), &e->begin) ||
        !read_size(json_array_get(offsets, 1), &e->end))
        return bad(l, name, "an offset is not a whole number");
    if (e->begin > e->end || e->end > l->data_count)
        return bad(l, name, "its offsets lie outside the file");
    size_t bytes;
    if (!sr_shape_bytes(e->rank, e->shape, types[e->type].size, &bytes) ||
        !sr_shape_bytes(e->rank, e->shape, sr_dtype_size(types[e->type].dtype), &(size_t){0}))
        return bad(l, name, "the shape has more elements than memory can hold");
    if (bytes != e->end - e->begin)
        return bad(l, name, "its shape and dtype do not match its number of bytes");
    return SR_OK;
}

static int by_offset(const void *a, const void *b) {
    const entry *p = *(const entry *const *)a, *q = *(const entry *const *)b;
    if (p->begin != q->begin)
        return p->begin < q->begin ? -1 : 1;
    return p->end < q->end ? -1 : p->end > q->end;
}

// The tensors must cover the data section without overlaps and holes.
static sr_status check_cover(const loader *l) {
    entry **sorted = sr_alloc(l->count, sizeof *sorted);
    if (!sorted)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", l->path);
    for (size_t i = 0; i < l->count; i++)
        sorted[i] = &l->entries[i];
    if (l->count > 1)
        qsort(sorted, l->count, sizeof *sorted, by_offset);
    sr_status status = SR_OK;
    size_t at = 0;
    for (size_t i = 0; i < l->count && status == SR_OK; i++) {
        if (sorted[i]->begin < at)
            status = bad(l, sorted[i]->name, "its bytes overlap another tensor's");
        else if (sorted[i]->begin > at)
            status = bad(l, sorted[i]->name, "there is a hole before its bytes");
        at = sorted[i]->end;
    }
    if (status == SR_OK && at != l->data_count)
        status = sr_fail(SR_ERROR_FORMAT, "%s: the tensors end at byte %zu of %zu", l->path, at,
                         l->data_count);
    sr_free(sorted);
    return status;
}

static sr_status read_meta(const loader *l, json_t *meta, sr_tensors *out) {
    if (!json_is_object(meta))
        return sr_fail(SR_ERROR_FORMAT, "%s: __metadata__ is not an object", l->path);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return sr_fail(SR_ERROR_FORMAT, "%s: __metadata__ holds a value that is no string",
                           l->path);
        sr_status status = sr_tensors_append_meta(out, key, json_string_value(value));
        if (status != SR_OK)
            return sr_fail_context(status, "%s: ", l->path);
    }
    return SR_OK;
}

static sr_status copy_tensor(const loader *l, const entry *e, sr_tensors *out) {
    sr_array array = {.dtype = types[e->type].dtype, .rank = e->rank};
    memcpy(array.shape, e->shape, sizeof e->shape);
    size_t count = (e->end - e->begin) / types[e->type].size;
    array.data = sr_alloc(count, sr_dtype_size(array.dtype));
    if (!array.data)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", l->path);
    if (types[e->type].widen)
        types[e->type].widen(count, l->data + e->begin, array.data);
    else
        memcpy(array.data, l->data + e->begin, e->end - e->begin);
    sr_status status = sr_tensors_append(out, e->name, &array);
    sr_array_clear(&array);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "%s: ", l->path);
}

static sr_status load_entries(loader *l, json_t *root, sr_tensors *out) {
    l->entries = sr_alloc(json_object_size(root), sizeof *l->entries);
    if (!l->entries)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", l->path);
    const char *name;
    json_t *value;
    sr_status status = SR_OK;
    json_object_foreach(root, name, value) {
        if (strcmp(name, "__metadata__") == 0)
            status = read_meta(l, value, out);
        else
            status = read_entry(l, &l->entries[l->count++], name, value);
        if (status != SR_OK)
            return status;
    }
    status = check_cover(l);
    for (size_t i = 0; i < l->count && status == SR_OK; i++)
        status = copy_tensor(l, &l->entries[i], out);
    return status;
}

// Finds and parses the header, and sets the data section. *root is the caller's to release.
static sr_status read_header(loader *l, const uint8_t *bytes, size_t count, json_t **root) {
    uint64_t length = 0;
    if (count < 8)
        return sr_fail(SR_ERROR_FORMAT, "%s: %zu bytes are too few for a safetensors file", l->path,
                       count);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > count - 8 || length > HEADER_LIMIT)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: the safetensors header should have %llu bytes, the file has %zu behind "
                       "its first 8 (at most %u are allowed)",
                       l->path, (unsigned long long)length, count - 8, HEADER_LIMIT);
    if (length == 0 || bytes[8] != '{')
        return sr_fail(SR_ERROR_FORMAT, "%s: the safetensors header does not begin with '{'",
                       l->path);
    json_error_t error;
    *root = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    char shown[120];
    if (!*root)
        return sr_fail(SR_ERROR_FORMAT, "%s: safetensors header: %s", l->path,
                       sr_printable(error.text, shown, sizeof shown));
    l->data = bytes + 8 + length;
    l->data_count = count - 8 - (size_t)length;
    return SR_OK;
}

sr_status sr_tensors_load(const char *path, sr_tensors **out) {
    *out = NULL;
    void *bytes;
    size_t count;
    json_t *root = NULL;
    sr_tensors *tensors = NULL;
    sr_status status = sr_file_read(path, 0, &bytes, &count);
    if (status != SR_OK)
        return status;
    loader l = {.path = path};
    status = read_header(&l, bytes, count, &root);
    if (status == SR_OK)
        status = sr_tensors_create(&tensors);
    if (status == SR_OK)
        status = load_entries(&l, root, tensors);
    json_decref(root);
    sr_free(l.entries);
    sr_free(bytes);
    if (status != SR_OK) {
        sr_tensors_destroy(tensors);
        return status;
    }
    *out = tensors;
    return SR_OK;
}
