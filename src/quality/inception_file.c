// Inception-v3's weights in a file: safetensors with the names of pytorch-fid's state dict, without
// its counters of batches. Everything is checked before it is used; the batch norms are folded into
// the convolutions on the way.
#include "quality/inception.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPSILON 0.001 // of every batch norm, as in the published network

// What is needed while a file is read. The hash of the weights is that of the hashes of all
// tensors, in the network's order.
typedef struct reader {
    const sr_tensors *tensors;
    size_t taken; // tensors found so far
    sr_text hashes;
} reader;

static void shape_append(sr_text *text, size_t rank, const size_t *shape) {
    sr_text_append(text, "(");
    for (size_t i = 0; i < rank; i++)
        sr_text_append(text, "%s%zu", i ? ", " : "", shape[i]);
    sr_text_append(text, ")");
}

// The tensor of that name: float32 of that shape, all values finite.
static sr_status take(reader *r, const char *name, size_t rank, const size_t *shape,
                      const float **out) {
    const sr_array *array = sr_tensors_find(r->tensors, name);
    if (!array)
        return sr_fail(SR_ERROR_FORMAT, "no tensor '%s', expected all those of Inception-v3", name);
    if (array->dtype != SR_F32)
        return sr_fail(SR_ERROR_FORMAT, "tensor '%s' is %s, expected F32", name,
                       sr_dtype_name(array->dtype));
    if (array->rank != rank || memcmp(array->shape, shape, rank * sizeof *shape) != 0) {
        sr_text found = {0}, expected = {0};
        shape_append(&found, array->rank, array->shape);
        shape_append(&expected, rank, shape);
        sr_fail(SR_ERROR_FORMAT, "tensor '%s' has shape %s, expected %s", name,
                sr_text_string(&found), sr_text_string(&expected));
        sr_text_clear(&found);
        sr_text_clear(&expected);
        return SR_ERROR_FORMAT;
    }
    size_t count = sr_array_count(array);
    const float *values = array->data;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return sr_fail(SR_ERROR_FORMAT,
                           "tensor '%s', value %zu is %g, expected a finite number", name, i,
                           (double)values[i]);
    char hash[33];
    sr_hash_hex(values, count * sizeof *values, hash);
    sr_text_append(&r->hashes, "%s", hash);
    r->taken++;
    *out = values;
    return SR_OK;
}

// The batch norm behind a convolution, y = scale (x - mean) / sqrt(variance + eps) + shift.
typedef struct norm {
    const float *scale, *shift, *mean, *variance; // (channels)
} norm;

static sr_status take_norm(reader *r, const char *layer, size_t channels, norm *out) {
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    const float **values[] = {&out->scale, &out->shift, &out->mean, &out->variance};
    char name[64];
    sr_status status = SR_OK;
    for (size_t i = 0; i < 4 && status == SR_OK; i++) {
        snprintf(name, sizeof name, "%s.bn.%s", layer, parts[i]);
        status = take(r, name, 1, &channels, values[i]);
    }
    for (size_t c = 0; c < channels && status == SR_OK; c++)
        if (out->variance[c] < 0)
            status = sr_fail(SR_ERROR_FORMAT, "tensor '%s', value %zu is %g, expected a variance",
                             name, c, (double)out->variance[c]);
    return status;
}

// Weights and norm of one convolution into theta: w' = w scale / sqrt(variance + eps) and
// b' = shift - mean scale / sqrt(variance + eps).
static sr_status take_convolution(reader *r, const char *layer, const sr_graph_node *node,
                                  size_t in_channels, float *theta) {
    const size_t shape[] = {node->channels, in_channels, node->kernel_height, node->kernel_width};
    const size_t each = shape[1] * shape[2] * shape[3];
    const float *weight;
    norm n;
    char name[64];
    snprintf(name, sizeof name, "%s.conv.weight", layer);
    sr_status status = take(r, name, 4, shape, &weight);
    if (status == SR_OK)
        status = take_norm(r, layer, node->channels, &n);
    for (size_t c = 0; c < node->channels && status == SR_OK; c++) {
        double factor = n.scale[c] / sqrt(n.variance[c] + NORM_EPSILON);
        float *bias = &theta[node->bias + c];
        *bias = (float)(n.shift[c] - n.mean[c] * factor);
        bool finite = isfinite(*bias);
        for (size_t i = 0; i < each; i++) {
            float folded = (float)(weight[c * each + i] * factor);
            theta[node->weights + c * each + i] = folded;
            finite = finite && isfinite(folded);
        }
        if (!finite)
            status =
                sr_fail(SR_ERROR_FORMAT,
                        "%s: channel %zu is not finite once its batch norm is folded in", layer, c);
    }
    return status;
}

static sr_status take_dense(reader *r, sr_inception_weights *w) {
    const size_t shape[] = {SR_INCEPTION_LOGITS, SR_INCEPTION_FEATURES};
    const float *weight, *bias;
    sr_status status = take(r, "fc.weight", 2, shape, &weight);
    if (status == SR_OK)
        status = take(r, "fc.bias", 1, shape, &bias);
    if (status != SR_OK)
        return status;
    memcpy(w->logits, weight, shape[0] * shape[1] * sizeof *weight);
    memcpy(w->bias, bias, shape[0] * sizeof *bias);
    return SR_OK;
}

// All has been taken; what else is there does not belong.
static sr_status check_count(const reader *r, const sr_inception_net *net) {
    size_t count = sr_tensors_count(r->tensors);
    if (count == r->taken)
        return SR_OK;
    return sr_fail(SR_ERROR_FORMAT,
                   "%zu tensors, expected the %zu of Inception-v3 (5 for each of its %zu "
                   "convolutions, and fc)",
                   count, r->taken, net->convolution_count);
}

// 64 hexadecimal digits, or nothing at all.
static sr_status take_source(const sr_tensors *tensors, sr_inception_weights *w) {
    const char *text = sr_tensors_meta(tensors, "source_sha256");
    size_t length = text ? strlen(text) : 0;
    bool good = length == 0 || length == 64;
    for (size_t i = 0; i < length && good; i++)
        good = isxdigit((unsigned char)text[i]) != 0;
    if (!good)
        return sr_fail(SR_ERROR_FORMAT, "metadata source_sha256 is not 64 hexadecimal digits");
    snprintf(w->source_sha256, sizeof w->source_sha256, "%s", length ? text : "");
    return SR_OK;
}

sr_status sr_inception_weights_load(const sr_inception_net *net, const char *path,
                                    sr_inception_weights *out) {
    sr_tensors *tensors = NULL;
    *out = (sr_inception_weights){0};
    sr_status status = sr_tensors_load(path, &tensors); // names the path itself
    if (status != SR_OK)
        return status;
    reader r = {.tensors = tensors};
    out->theta = sr_alloc(net->parameters, sizeof(float));
    out->logits = sr_alloc(SR_INCEPTION_LOGITS, SR_INCEPTION_FEATURES * sizeof(float));
    out->bias = sr_alloc(SR_INCEPTION_LOGITS, sizeof(float));
    if (!out->theta || !out->logits || !out->bias)
        status = SR_ERROR_MEMORY;
    for (size_t i = 0; i < net->node_count && status == SR_OK; i++)
        if (net->nodes[i].kind == SR_GRAPH_CONVOLUTION)
            status = take_convolution(&r, net->names[i], &net->nodes[i],
                                      net->tensors[net->nodes[i].from].channels, out->theta);
    if (status == SR_OK)
        status = take_dense(&r, out);
    if (status == SR_OK)
        status = check_count(&r, net);
    if (status == SR_OK)
        status = take_source(tensors, out);
    if (status == SR_OK)
        status = sr_text_status(&r.hashes);
    if (status == SR_OK)
        sr_hash_hex(sr_text_string(&r.hashes), r.hashes.length, out->hash);
    sr_text_clear(&r.hashes);
    sr_tensors_destroy(tensors);
    if (status == SR_OK)
        return SR_OK;
    sr_inception_weights_clear(out);
    return sr_fail_context(status, "%s: ", path);
}

void sr_inception_weights_clear(sr_inception_weights *weights) {
    sr_free(weights->theta);
    sr_free(weights->logits);
    sr_free(weights->bias);
    *weights = (sr_inception_weights){0};
}
