// NumPy's .npy files, after numpy.lib.format: magic, version, header length, a Python dictionary
// with the keys descr, fortran_order and shape, then the raw elements. No pickled objects, no
// structured types.
#include "io/io_internal.h"

#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "array files are little-endian and are copied as they are"
#endif

// ---- header -------------------------------------------------------------------------------------

// Element types as they are named in `descr`; half floats are widened on reading.
static const struct {
    const char *descr;
    sr_dtype dtype;
    size_t size; // in the file
} types[] = {
    {"f4", SR_F32, 4}, {"f8", SR_F64, 8}, {"u1", SR_U8, 1},  {"b1", SR_U8, 1},
    {"i4", SR_I32, 4}, {"i8", SR_I64, 8}, {"u8", SR_U64, 8}, {"f2", SR_F32, 2},
};
enum { TYPES = sizeof types / sizeof *types };

typedef struct npy_header {
    const char *path, *at, *end; // the text still to be read
    bool has_type, has_order, has_shape, fortran;
    size_t type; // index into types
    size_t rank, shape[SR_MAX_RANK];
} npy_header;

static sr_status malformed(const npy_header *h, const char *expected) {
    char found[24];
    size_t left = (size_t)(h->end - h->at);
    snprintf(found, sizeof found, "%.*s", (int)(left < 16 ? left : 16), h->at);
    char shown[24];
    return sr_fail(SR_ERROR_FORMAT, "%s: .npy header: expected %s, found '%s'", h->path, expected,
                   sr_printable(found, shown, sizeof shown));
}

static void skip_space(npy_header *h) {
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n' || *h->at == '\t'))
        h->at++;
}

// Takes the character if it comes next (after white space).
static bool take(npy_header *h, char c) {
    skip_space(h);
    if (h->at == h->end || *h->at != c)
        return false;
    h->at++;
    return true;
}

static bool take_word(npy_header *h, const char *word) {
    skip_space(h);
    size_t n = strlen(word);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n) != 0)
        return false;
    h->at += n;
    return true;
}

// A quoted string without escapes, at most size - 1 characters.
static bool take_string(npy_header *h, char *out, size_t size) {
    char quote = take(h, '\'') ? '\'' : take(h, '"') ? '"' : 0;
    if (!quote)
        return false;
    size_t n = 0;
    for (; h->at < h->end && *h->at != quote; h->at++) {
        if (n + 1 >= size)
            return false;
        out[n++] = *h->at;
    }
    out[n] = 0;
    return take(h, quote);
}

static sr_status parse_type(npy_header *h) {
    char descr[32], shown[32];
    skip_space(h);
    if (h->at < h->end && *h->at == '[')
        return sr_fail(SR_ERROR_UNSUPPORTED, "%s: structured .npy types are not supported",
                       h->path);
    if (!take_string(h, descr, sizeof descr))
        return malformed(h, "a type such as '<f4'");
    const char *kind = descr + (descr[0] && strchr("<|=", descr[0]) ? 1 : 0);
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(kind, types[i].descr) != 0)
            continue;
        h->type = i;
        h->has_type = true;
        return SR_OK;
    }
    return sr_fail(SR_ERROR_UNSUPPORTED,
                   "%s: .npy element type '%s' is not supported, only little-endian f2, f4, f8, "
                   "u1, b1, i4, i8, u8",
                   h->path, sr_printable(descr, shown, sizeof shown));
}

static sr_status parse_shape(npy_header *h) {
    if (!take(h, '('))
        return malformed(h, "a shape such as (10, 2)");
    h->rank = 0;
    while (!take(h, ')')) {
        if (h->rank == SR_MAX_RANK)
            return sr_fail(SR_ERROR_UNSUPPORTED, "%s: the array has more than %d dimensions",
                           h->path, SR_MAX_RANK);
        skip_space(h);
        size_t value = 0;
        const char *first = h->at;
        for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
            if (!sr_size_mul(value, 10, &value) ||
                !sr_size_add(value, (size_t)(*h->at - '0'), &value))
                return sr_fail(SR_ERROR_FORMAT, "%s: a dimension of the shape is too large",
                               h->path);
        }
        if (h->at == first)
            return malformed(h, "a dimension");
        take(h, 'L'); // Python 2 wrote long integers so
        h->shape[h->rank++] = value;
        if (take(h, ','))
            continue;
        if (h->rank == 1 || !take(h, ')')) // (5) is a number in Python, (5,) a shape
            return malformed(h, "',' in the shape");
        break;
    }
    h->has_shape = true;
    return SR_OK;
}

static sr_status parse_entry(npy_header *h) {
    char key[24];
    if (!take_string(h, key, sizeof key) || !take(h, ':'))
        return malformed(h, "a key and ':'");
    if (strcmp(key, "descr") == 0 && !h->has_type)
        return parse_type(h);
    if (strcmp(key, "shape") == 0 && !h->has_shape)
        return parse_shape(h);
    if (strcmp(key, "fortran_order") == 0 && !h->has_order) {
        h->fortran = take_word(h, "True");
        if (!h->fortran && !take_word(h, "False"))
            return malformed(h, "True or False");
        h->has_order = true;
        return SR_OK;
    }
    return malformed(h, "each of descr, fortran_order and shape once");
}

static sr_status parse_header(npy_header *h) {
    if (!take(h, '{'))
        return malformed(h, "'{'");
    while (!take(h, '}')) {
        sr_status status = parse_entry(h);
        if (status != SR_OK)
            return status;
        if (take(h, ','))
            continue;
        if (!take(h, '}'))
            return malformed(h, "',' or '}'");
        break;
    }
    skip_space(h);
    if (h->at != h->end)
        return malformed(h, "nothing behind '}'");
    if (!h->has_type || !h->has_order || !h->has_shape)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: the .npy header lacks one of descr, fortran_order, shape", h->path);
    return SR_OK;
}

// ---- reading ------------------------------------------------------------------------------------

// Finds the header in the file's bytes, parses it, and gives the offset of the elements.
static sr_status locate(npy_header *h, const char *bytes, size_t count, size_t *offset) {
    if (count < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return sr_fail(SR_ERROR_FORMAT, "%s: not a .npy file (its first bytes are not \\x93NUMPY)",
                       h->path);
    const uint8_t *b = (const uint8_t *)bytes;
    unsigned major = b[6];
    if (major < 1 || major > 3)
        return sr_fail(SR_ERROR_UNSUPPORTED, "%s: .npy version %u.%u, expected 1.0, 2.0 or 3.0",
                       h->path, major, (unsigned)b[7]);
    size_t start = major == 1 ? 10 : 12, length = (size_t)b[8] | (size_t)b[9] << 8;
    if (major > 1) {
        if (count < 12)
            return sr_fail(SR_ERROR_FORMAT, "%s: the .npy header ends too early", h->path);
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    }
    if (length > count - start)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: the .npy header should have %zu bytes, the file holds %zu more",
                       h->path, length, count - start);
    h->at = bytes + start;
    h->end = h->at + length;
    *offset = start + length;
    return parse_header(h);
}

static sr_status check_size(const npy_header *h, size_t present) {
    size_t size = types[h->type].size, needed;
    if (!sr_shape_bytes(h->rank, h->shape, size, &needed) ||
        !sr_shape_bytes(h->rank, h->shape, sr_dtype_size(types[h->type].dtype), &(size_t){0}))
        return sr_fail(SR_ERROR_FORMAT, "%s: the .npy shape has more elements than memory can hold",
                       h->path);
    if (needed != present)
        return sr_fail(SR_ERROR_FORMAT, "%s: the .npy shape asks for %zu bytes, the file has %zu",
                       h->path, needed, present);
    return SR_OK;
}

// Column-major -> row-major. Walks the output in order, keeping the input's index by an odometer.
static void transpose(size_t rank, const size_t *shape, size_t size, const uint8_t *in,
                      uint8_t *out) {
    size_t stride[SR_MAX_RANK], index[SR_MAX_RANK] = {0}, count = 1;
    for (size_t i = 0; i < rank; i++) {
        stride[i] = count;
        count *= shape[i];
    }
    size_t from = 0;
    for (size_t n = 0; n < count; n++) {
        memcpy(out + n * size, in + from * size, size);
        for (size_t i = rank; i-- > 0;) {
            from += stride[i];
            if (++index[i] < shape[i])
                break;
            from -= stride[i] * shape[i];
            index[i] = 0;
        }
    }
}

// Turns the file's elements, at the start of `data`, into out's: row-major, half floats widened.
static sr_status take_elements(const npy_header *h, void *data, sr_array *out) {
    size_t count = sr_array_count(out), size = types[h->type].size;
    if (h->fortran && h->rank > 1 && count > 0) {
        void *turned = sr_alloc(count, size);
        if (!turned) {
            sr_free(data);
            return sr_fail_context(SR_ERROR_MEMORY, "%s: ", h->path);
        }
        transpose(h->rank, h->shape, size, data, turned);
        sr_free(data);
        data = turned;
    }
    if (size == 2) {
        float *wide = sr_alloc(count, sizeof *wide);
        if (wide)
            sr_half_to_f32(count, data, wide);
        sr_free(data);
        if (!wide)
            return sr_fail_context(SR_ERROR_MEMORY, "%s: ", h->path);
        data = wide;
    }
    out->data = data;
    return SR_OK;
}

sr_status sr_npy_load(const char *path, sr_array *out) {
    memset(out, 0, sizeof *out);
    void *bytes;
    size_t count, offset = 0;
    sr_status status = sr_file_read(path, 0, &bytes, &count);
    if (status != SR_OK)
        return status;
    npy_header h = {.path = path};
    status = locate(&h, bytes, count, &offset);
    if (status == SR_OK)
        status = check_size(&h, count - offset);
    if (status != SR_OK) {
        sr_free(bytes);
        return status;
    }
    // the file's buffer becomes the array: its elements move to the aligned start, nothing is
    // copied twice
    memmove(bytes, (char *)bytes + offset, count - offset);
    out->dtype = types[h.type].dtype;
    out->rank = h.rank;
    memcpy(out->shape, h.shape, sizeof h.shape);
    status = take_elements(&h, bytes, out);
    if (status != SR_OK)
        memset(out, 0, sizeof *out);
    return status;
}

// ---- writing ------------------------------------------------------------------------------------

sr_status sr_npy_save(const char *path, const sr_array *array) {
    static const char *const descr[SR_DTYPE_COUNT] = {
        [SR_F32] = "<f4", [SR_F64] = "<f8", [SR_U8] = "|u1",
        [SR_I32] = "<i4", [SR_I64] = "<i8", [SR_U64] = "<u8",
    };
    size_t size = 0;
    if ((unsigned)array->dtype >= SR_DTYPE_COUNT || array->rank > SR_MAX_RANK ||
        !sr_shape_bytes(array->rank, array->shape, sr_dtype_size(array->dtype), &size))
        return sr_fail(SR_ERROR_ARGUMENT, "%s: not an array that can be saved", path);
    // 320 bytes hold the fixed text and 8 dimensions of at most 20 digits
    char header[320];
    int n = snprintf(header + 10, sizeof header - 10,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[array->dtype]);
    size_t length = 10 + (size_t)n;
    for (size_t i = 0; i < array->rank; i++)
        length +=
            (size_t)snprintf(header + length, sizeof header - length, "%zu%s", array->shape[i],
                             i + 1 < array->rank ? ", "
                             : array->rank == 1  ? ","
                                                 : "");
    length += (size_t)snprintf(header + length, sizeof header - length, "), }");
    size_t padded = (length + 1 + 63) / 64 * 64; // elements start at a multiple of 64, after '\n'
    memset(header + length, ' ', padded - length);
    header[padded - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((padded - 10) & 255);
    header[9] = (char)((padded - 10) >> 8);
    sr_file_part parts[] = {{header, padded}, {array->data, size}};
    return sr_file_write_parts(path, parts, 2);
}

sr_status sr_npy_save_f32(const char *path, size_t rank, const size_t *shape, const float *data) {
    sr_array array = {.dtype = SR_F32, .rank = rank};
    if (rank > SR_MAX_RANK)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: rank %zu, at most %d is possible", path, rank,
                       SR_MAX_RANK);
    memcpy(array.shape, shape, rank * sizeof *shape);
    array.data = (void *)(uintptr_t)data;
    return sr_npy_save(path, &array);
}
