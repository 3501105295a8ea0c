// The inside of sr_tensors, shared by safetensors.c and safetensors_load.c.
#ifndef SHORTRUN_IO_SAFETENSORS_H
#define SHORTRUN_IO_SAFETENSORS_H

#include "io/io_internal.h"

#include <jansson.h>

typedef struct sr_tensor {
    char *name;
    sr_array array;
} sr_tensor;

typedef struct sr_tensor_meta {
    char *key, *value;
} sr_tensor_meta;

struct sr_tensors {
    sr_tensor *items;
    size_t count, capacity;
    sr_tensor_meta *meta;
    size_t meta_count, meta_capacity;
};

// Without looking for an equal name or key. sr_tensors_append takes over the array's data and
// zeroes it.
sr_status sr_tensors_append(sr_tensors *tensors, const char *name, sr_array *array);
sr_status sr_tensors_append_meta(sr_tensors *tensors, const char *key, const char *value);

#endif
