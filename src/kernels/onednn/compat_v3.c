// What only oneDNN 3.x says this way (written against 3.2): memory descriptors are owned handles, a
// primitive descriptor is made in one call.
#include "kernels/onednn/compat.h"

#if DNNL_VERSION_MAJOR != 3
#error "this file speaks oneDNN's version 3 interface"
#endif

dnnl_status_t sr_dnnl_desc_init(sr_dnnl_desc *out, int rank, const dnnl_dims_t dims,
                                dnnl_data_type_t type, dnnl_format_tag_t layout) {
    return dnnl_memory_desc_create_with_tag(&out->md, rank, dims, type, layout);
}

sr_dnnl_md sr_dnnl_desc_md(const sr_dnnl_desc *desc) {
    return desc->md;
}

sr_status sr_dnnl_desc_copy(sr_dnnl_md from, sr_dnnl_desc *out) {
    return sr_dnnl_check(dnnl_memory_desc_clone(&out->md, from), "memory descriptor");
}

void sr_dnnl_desc_clear(sr_dnnl_desc *desc) {
    if (desc->md)
        dnnl_memory_desc_destroy(desc->md);
    desc->md = NULL;
}

dnnl_status_t sr_dnnl_convolution_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                       dnnl_primitive_desc_t *out) {
    const dnnl_dims_t strides = {(dnnl_dim_t)layer->stride, (dnnl_dim_t)layer->stride};
    const dnnl_dims_t padding = {(dnnl_dim_t)layer->padding_height,
                                 (dnnl_dim_t)layer->padding_width};
    const dnnl_dims_t dilation = {0}; // 0 is none
    sr_dnnl_md src = layer->src->md, weights = layer->weights->md, dst = layer->dst->md;
    switch (layer->direction) {
    case SR_DNNL_FORWARD:
        return dnnl_convolution_forward_primitive_desc_create(
            out, engine, dnnl_forward_training, dnnl_convolution_direct, src, weights,
            layer->bias->md, dst, strides, dilation, padding, padding, layer->attributes);
    case SR_DNNL_BACKWARD_DATA:
        return dnnl_convolution_backward_data_primitive_desc_create(
            out, engine, dnnl_convolution_direct, src, weights, dst, strides, dilation, padding,
            padding, layer->hint, layer->attributes);
    case SR_DNNL_BACKWARD_WEIGHTS:
    default:
        return dnnl_convolution_backward_weights_primitive_desc_create(
            out, engine, dnnl_convolution_direct, src, weights, layer->bias->md, dst, strides,
            dilation, padding, padding, layer->hint, layer->attributes);
    }
}

dnnl_status_t sr_dnnl_dense_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                 dnnl_primitive_desc_t *out) {
    sr_dnnl_md src = layer->src->md, weights = layer->weights->md, dst = layer->dst->md;
    switch (layer->direction) {
    case SR_DNNL_FORWARD:
        return dnnl_inner_product_forward_primitive_desc_create(out, engine, dnnl_forward_training,
                                                                src, weights, layer->bias->md, dst,
                                                                layer->attributes);
    case SR_DNNL_BACKWARD_DATA:
        return dnnl_inner_product_backward_data_primitive_desc_create(
            out, engine, src, weights, dst, layer->hint, layer->attributes);
    case SR_DNNL_BACKWARD_WEIGHTS:
    default:
        return dnnl_inner_product_backward_weights_primitive_desc_create(
            out, engine, src, weights, layer->bias->md, dst, layer->hint, layer->attributes);
    }
}

dnnl_status_t sr_dnnl_eltwise_init(dnnl_post_ops_t operations, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(operations, kind, alpha, 0.0f);
}

dnnl_status_t sr_dnnl_part_init(const sr_dnnl_desc *whole, const dnnl_dims_t dims,
                                const dnnl_dims_t offsets, sr_dnnl_desc *out) {
    return dnnl_memory_desc_create_submemory(&out->md, whole->md, dims, offsets);
}

dnnl_status_t sr_dnnl_pool_init(dnnl_engine_t engine, const sr_dnnl_pool *pool,
                                dnnl_primitive_desc_t *out) {
    const dnnl_dims_t strides = {(dnnl_dim_t)pool->stride, (dnnl_dim_t)pool->stride};
    const dnnl_dims_t kernel = {(dnnl_dim_t)pool->kernel, (dnnl_dim_t)pool->kernel};
    const dnnl_dims_t padding = {(dnnl_dim_t)pool->padding, (dnnl_dim_t)pool->padding};
    const dnnl_dims_t dilation = {0}; // 0 is none
    return dnnl_pooling_forward_primitive_desc_create(
        out, engine, dnnl_forward_inference, pool->kind, pool->src->md, pool->dst->md, strides,
        kernel, dilation, padding, padding, pool->attributes);
}
