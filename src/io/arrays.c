// Arrays as they stand in files: element types, sizes, conversion to float. Not a tensor library.
#include "io/io_internal.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[SR_DTYPE_COUNT] = {
    [SR_F32] = {"F32", 4}, [SR_F64] = {"F64", 8}, [SR_U8] = {"U8", 1},
    [SR_I32] = {"I32", 4}, [SR_I64] = {"I64", 8}, [SR_U64] = {"U64", 8},
};

size_t sr_dtype_size(sr_dtype dtype) {
    return (unsigned)dtype < SR_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

const char *sr_dtype_name(sr_dtype dtype) {
    return (unsigned)dtype < SR_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

size_t sr_array_count(const sr_array *array) {
    size_t count = 1;
    for (size_t i = 0; i < array->rank; i++)
        count *= array->shape[i];
    return count;
}

void sr_array_clear(sr_array *array) {
    if (!array)
        return;
    sr_free(array->data);
    memset(array, 0, sizeof *array);
}

bool sr_shape_bytes(size_t rank, const size_t *shape, size_t item, size_t *out) {
    size_t bytes = item;
    bool empty = false;
    for (size_t i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (!sr_size_mul(bytes, shape[i], &bytes))
            return false;
    }
    *out = empty ? 0 : bytes;
    return true;
}

// Copies element by element into `to`, which the caller has declared, converting as C does.
#define CONVERT(from_type)                                                                         \
    do {                                                                                           \
        const from_type *from = array->data;                                                       \
        for (size_t i = 0; i < n; i++)                                                             \
            to[i] = (__typeof__(*to))from[i];                                                      \
    } while (0)

sr_status sr_array_to_f32(const sr_array *array, float **out) {
    size_t n = sr_array_count(array);
    float *to = *out = sr_alloc(n, sizeof *to);
    if (!to)
        return SR_ERROR_MEMORY;
    switch (array->dtype) {
    case SR_F32:
        CONVERT(float);
        break;
    case SR_F64:
        CONVERT(double);
        break;
    case SR_U8:
        CONVERT(uint8_t);
        break;
    case SR_I32:
        CONVERT(int32_t);
        break;
    case SR_I64:
        CONVERT(int64_t);
        break;
    case SR_U64:
        CONVERT(uint64_t);
        break;
    case SR_DTYPE_COUNT:
        break;
    }
    return SR_OK;
}

sr_status sr_array_to_f64(const sr_array *array, double **out) {
    size_t n = sr_array_count(array);
    double *to = *out = sr_alloc(n, sizeof *to);
    if (!to)
        return SR_ERROR_MEMORY;
    switch (array->dtype) {
    case SR_F32:
        CONVERT(float);
        break;
    case SR_F64:
        CONVERT(double);
        break;
    case SR_U8:
        CONVERT(uint8_t);
        break;
    case SR_I32:
        CONVERT(int32_t);
        break;
    case SR_I64:
        CONVERT(int64_t);
        break;
    case SR_U64:
        CONVERT(uint64_t);
        break;
    case SR_DTYPE_COUNT:
        break;
    }
    return SR_OK;
}

void sr_bfloat16_to_f32(size_t n, const uint8_t *in, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)in[2 * i] << 16 | (uint32_t)in[2 * i + 1] << 24;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

// IEEE 754 binary16 to binary32: exponent bias 15 -> 127, mantissa 10 -> 23 bits.
void sr_half_to_f32(size_t n, const uint8_t *in, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t half = (uint32_t)in[2 * i] | (uint32_t)in[2 * i + 1] << 8;
        uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
        if (exponent == 0) { // zero or subnormal: mantissa x 2^-24, exact in float32
            float value = (float)mantissa * 0x1p-24f;
            out[i] = sign ? -value : value;
            continue;
        }
        uint32_t wide = exponent == 31 ? 255 : exponent + 127 - 15;
        uint32_t bits = sign | wide << 23 | mantissa << 13;
        memcpy(&out[i], &bits, sizeof bits);
    }
}
