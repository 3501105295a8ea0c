// What only oneDNN 2.x says this way (written against 2.6, which Debian 12 ships): memory
// descriptors are plain data, a primitive descriptor is made from an operation's descriptor.
#include "kernels/onednn/compat.h"

#if DNNL_VERSION_MAJOR != 2
#error "this file speaks oneDNN's version 2 interface"
#endif

dnnl_status_t sr_dnnl_desc_init(sr_dnnl_desc *out, int rank, const dnnl_dims_t dims,
                                dnnl_data_type_t type, dnnl_format_tag_t layout) {
    return dnnl_memory_desc_init_by_tag(&out->md, rank, dims, type, layout);
}

sr_dnnl_md sr_dnnl_desc_md(const sr_dnnl_desc *desc) {
    return &desc->md;
}

sr_status sr_dnnl_desc_copy(sr_dnnl_md from, sr_dnnl_desc *out) {
    out->md = *from;
    return SR_OK;
}

void sr_dnnl_desc_clear(sr_dnnl_desc *desc) {
    *desc = (sr_dnnl_desc){0};
}

static dnnl_status_t convolution_describe(const sr_dnnl_layer *layer,
                                          dnnl_convolution_desc_t *desc) {
    dnnl_dims_t strides = {(dnnl_dim_t)layer->stride, (dnnl_dim_t)layer->stride};
    dnnl_dims_t padding = {(dnnl_dim_t)layer->padding_height, (dnnl_dim_t)layer->padding_width};
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

static dnnl_status_t dense_describe(const sr_dnnl_layer *layer, dnnl_inner_product_desc_t *desc) {
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

dnnl_status_t sr_dnnl_convolution_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                       dnnl_primitive_desc_t *out) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t status = convolution_describe(layer, &desc);
    return status ? status
                  : dnnl_primitive_desc_create(out, &desc, layer->attributes, engine, layer->hint);
}

dnnl_status_t sr_dnnl_dense_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                 dnnl_primitive_desc_t *out) {
    dnnl_inner_product_desc_t desc;
    dnnl_status_t status = dense_describe(layer, &desc);
    return status ? status
                  : dnnl_primitive_desc_create(out, &desc, layer->attributes, engine, layer->hint);
}

dnnl_status_t sr_dnnl_eltwise_init(dnnl_post_ops_t operations, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(operations, 1.0f, kind, alpha, 0.0f);
}

dnnl_status_t sr_dnnl_part_init(const sr_dnnl_desc *whole, const dnnl_dims_t dims,
                                const dnnl_dims_t offsets, sr_dnnl_desc *out) {
    return dnnl_memory_desc_init_submemory(&out->md, &whole->md, dims, offsets);
}

dnnl_status_t sr_dnnl_pool_init(dnnl_engine_t engine, const sr_dnnl_pool *pool,
                                dnnl_primitive_desc_t *out) {
    const dnnl_dims_t strides = {(dnnl_dim_t)pool->stride, (dnnl_dim_t)pool->stride};
    const dnnl_dims_t kernel = {(dnnl_dim_t)pool->kernel, (dnnl_dim_t)pool->kernel};
    const dnnl_dims_t padding = {(dnnl_dim_t)pool->padding, (dnnl_dim_t)pool->padding};
    dnnl_pooling_desc_t desc;
    dnnl_status_t status =
        dnnl_pooling_forward_desc_init(&desc, dnnl_forward_inference, pool->kind, &pool->src->md,
                                       &pool->dst->md, strides, kernel, padding, padding);
    return status ? status : dnnl_primitive_desc_create(out, &desc, pool->attributes, engine, NULL);
}
