// oneDNN 2.x behind compat.h (written against 2.6, which Debian 12 ships).
#include "kernels/onednn/compat.h"

#if DNNL_VERSION_MAJOR != 2
#error "this file speaks oneDNN's version 2 interface"
#endif

sr_status sr_dnnl_check(dnnl_status_t status, const char *what) {
    if (status == dnnl_success)
        return SR_OK;
    if (status == dnnl_out_of_memory)
        return sr_fail(SR_ERROR_MEMORY, "oneDNN: out of memory (%s)", what);
    return sr_fail(SR_ERROR_LIBRARY, "oneDNN: %s failed with status %d", what, (int)status);
}

sr_status sr_dnnl_desc_make(size_t rank, const size_t *dims, bool any, sr_dnnl_desc *out) {
    dnnl_dims_t sizes = {0};
    for (size_t i = 0; i < rank; i++)
        sizes[i] = (dnnl_dim_t)dims[i];
    static const dnnl_format_tag_t plain[] = {dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc,
                                              dnnl_abcd};
    return sr_dnnl_check(dnnl_memory_desc_init_by_tag(&out->md, (int)rank, sizes, dnnl_f32,
                                                      any ? dnnl_format_tag_any : plain[rank]),
                         "memory descriptor");
}

sr_status sr_dnnl_desc_clone(const sr_dnnl_desc *from, sr_dnnl_desc *out) {
    *out = *from;
    return SR_OK;
}

sr_status sr_dnnl_desc_query(const_dnnl_primitive_desc_t primitive, dnnl_query_t what,
                             sr_dnnl_desc *out) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(primitive, what, 0);
    if (!md)
        return sr_fail(SR_ERROR_LIBRARY, "oneDNN: a primitive has no descriptor of kind %d",
                       (int)what);
    out->md = *md;
    return SR_OK;
}

void sr_dnnl_desc_clear(sr_dnnl_desc *desc) {
    (void)desc; // plain data in version 2
}

bool sr_dnnl_desc_equal(const sr_dnnl_desc *a, const sr_dnnl_desc *b) {
    return dnnl_memory_desc_equal(&a->md, &b->md) != 0;
}

size_t sr_dnnl_desc_size(const sr_dnnl_desc *desc) {
    return dnnl_memory_desc_get_size(&desc->md);
}

static dnnl_status_t convolution_init(const sr_dnnl_layer *layer, dnnl_convolution_desc_t *desc) {
    dnnl_dims_t strides = {(dnnl_dim_t)layer->stride, (dnnl_dim_t)layer->stride};
    dnnl_dims_t padding = {(dnnl_dim_t)layer->padding, (dnnl_dim_t)layer->padding};
    switch (layer->direction) {
    case SR_DNNL_FORWARD:
        return dnnl_convolution_forward_desc_init(
            desc, dnnl_forward_training, dnnl_convolution_direct, &layer->src->md,
            &layer->weights->md, &layer->bias->md, &layer->dst->md, strides, padding, padding);
    case SR_DNNL_BACKWARD_DATA:
        return dnnl_convolution_backward_data_desc_init(desc, dnnl_convolution_direct,
                                                        &layer->src->md, &layer->weights->md,
                                                        &layer->dst->md, strides, padding, padding);
    case SR_DNNL_BACKWARD_WEIGHTS:
    default:
        return dnnl_convolution_backward_weights_desc_init(
            desc, dnnl_convolution_direct, &layer->src->md, &layer->weights->md, &layer->bias->md,
            &layer->dst->md, strides, padding, padding);
    }
}

static dnnl_status_t dense_init(const sr_dnnl_layer *layer, dnnl_inner_product_desc_t *desc) {
    switch (layer->direction) {
    case SR_DNNL_FORWARD:
        return dnnl_inner_product_forward_desc_init(desc, dnnl_forward_training, &layer->src->md,
                                                    &layer->weights->md, &layer->bias->md,
                                                    &layer->dst->md);
    case SR_DNNL_BACKWARD_DATA:
        return dnnl_inner_product_backward_data_desc_init(desc, &layer->src->md,
                                                          &layer->weights->md, &layer->dst->md);
    case SR_DNNL_BACKWARD_WEIGHTS:
    default:
        return dnnl_inner_product_backward_weights_desc_init(
            desc, &layer->src->md, &layer->weights->md, &layer->bias->md, &layer->dst->md);
    }
}

sr_status sr_dnnl_layer_create(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                               dnnl_primitive_desc_t *out) {
    dnnl_convolution_desc_t convolution;
    dnnl_inner_product_desc_t dense;
    dnnl_status_t status =
        layer->dense ? dense_init(layer, &dense) : convolution_init(layer, &convolution);
    if (status == dnnl_success)
        status =
            dnnl_primitive_desc_create(out, layer->dense ? (void *)&dense : (void *)&convolution,
                                       layer->attributes, engine, layer->hint);
    return sr_dnnl_check(status, layer->dense ? "inner product" : "convolution");
}

sr_status sr_dnnl_reorder_create(dnnl_engine_t engine, const sr_dnnl_desc *from,
                                 const sr_dnnl_desc *to, const_dnnl_primitive_attr_t attributes,
                                 dnnl_primitive_desc_t *out) {
    return sr_dnnl_check(
        dnnl_reorder_primitive_desc_create(out, &from->md, engine, &to->md, engine, attributes),
        "reorder");
}

bool sr_dnnl_activation_fuses(sr_activation activation) {
    return activation == SR_RELU || activation == SR_LEAKY_RELU || activation == SR_ELU ||
           activation == SR_TANH;
}

sr_status sr_dnnl_append_activation(dnnl_post_ops_t operations, sr_activation activation) {
    dnnl_alg_kind_t kind = activation == SR_TANH  ? dnnl_eltwise_tanh
                           : activation == SR_ELU ? dnnl_eltwise_elu
                                                  : dnnl_eltwise_relu;
    float alpha = activation == SR_LEAKY_RELU ? SR_LEAKY_SLOPE : activation == SR_ELU ? 1.0f : 0.0f;
    return sr_dnnl_check(dnnl_post_ops_append_eltwise(operations, 1.0f, kind, alpha, 0.0f),
                         "fused activation");
}

sr_status sr_dnnl_memory_create(dnnl_engine_t engine, const sr_dnnl_desc *desc, void *buffer,
                                dnnl_memory_t *out) {
    return sr_dnnl_check(dnnl_memory_create(out, &desc->md, engine, buffer), "memory");
}
