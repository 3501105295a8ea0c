// Parameters to and from safetensors, under the names of PyTorch's nn.Sequential.
#include <shortrun/net.h>

#include <stdio.h>

// Shapes of a layer's weight as PyTorch has them: (O, I) or (O, I, KH, KW).
static size_t weight_shape(const sr_layer *layer, size_t shape[4]) {
    shape[0] = layer->shape.out_channels;
    shape[1] = layer->shape.in_channels;
    shape[2] = layer->shape.kernel_height;
    shape[3] = layer->shape.kernel_width;
    return layer->dense ? 2 : 4;
}

static void tensor_name(char *name, size_t size, const char *prefix, const sr_layer *layer,
                        bool bias) {
    snprintf(name, size, "%s%zu.%s", prefix, layer->torch_index, bias ? "bias" : "weight");
}

sr_status sr_net_put(const sr_net *net, const float *theta, const char *prefix,
                     sr_tensors *tensors) {
    char name[96];
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        size_t shape[4], rank = weight_shape(layer, shape);
        tensor_name(name, sizeof name, prefix, layer, false);
        sr_status status =
            sr_tensors_add(tensors, name, SR_F32, rank, shape, theta + layer->weight);
        if (status)
            return status;
        tensor_name(name, sizeof name, prefix, layer, true);
        status = sr_tensors_add(tensors, name, SR_F32, 1, &layer->shape.out_channels,
                                theta + layer->bias);
        if (status)
            return status;
    }
    return SR_OK;
}

static void shape_format(sr_text *text, size_t rank, const size_t *shape) {
    sr_text_append(text, "(");
    for (size_t i = 0; i < rank; i++)
        sr_text_append(text, "%s%zu", i ? ", " : "", shape[i]);
    sr_text_append(text, ")");
}

static sr_status take_one(const sr_tensors *tensors, const char *name, size_t rank,
                          const size_t *shape, float *out) {
    const sr_array *found = sr_tensors_find(tensors, name);
    if (!found)
        return sr_fail(SR_ERROR_FORMAT, "tensor '%s' is missing", name);
    bool same = found->rank == rank;
    for (size_t i = 0; same && i < rank; i++)
        same = found->shape[i] == shape[i];
    if (!same) {
        sr_text is = {0}, wanted = {0};
        shape_format(&is, found->rank, found->shape);
        shape_format(&wanted, rank, shape);
        sr_fail(SR_ERROR_FORMAT, "tensor '%s' has shape %s, expected %s", name, sr_text_string(&is),
                sr_text_string(&wanted));
        sr_text_clear(&is);
        sr_text_clear(&wanted);
        return SR_ERROR_FORMAT;
    }
    size_t count = sr_array_count(found);
    if (found->dtype == SR_F32) {
        const float *data = found->data;
        for (size_t i = 0; i < count; i++)
            out[i] = data[i];
    } else if (found->dtype == SR_F64) {
        const double *data = found->data;
        for (size_t i = 0; i < count; i++)
            out[i] = (float)data[i];
    } else {
        return sr_fail(SR_ERROR_FORMAT, "tensor '%s' is of type %s, expected F32 or F64", name,
                       sr_dtype_name(found->dtype));
    }
    return SR_OK;
}

sr_status sr_net_take(const sr_net *net, const sr_tensors *tensors, const char *prefix,
                      float *theta) {
    char name[96];
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        size_t shape[4], rank = weight_shape(layer, shape);
        tensor_name(name, sizeof name, prefix, layer, false);
        sr_status status = take_one(tensors, name, rank, shape, theta + layer->weight);
        if (status)
            return status;
        tensor_name(name, sizeof name, prefix, layer, true);
        status = take_one(tensors, name, 1, &layer->shape.out_channels, theta + layer->bias);
        if (status)
            return status;
    }
    return SR_OK;
}
