// The part of compat.h that reads the same in every version of oneDNN.
#include "kernels/onednn/compat.h"

sr_status sr_dnnl_check(dnnl_status_t status, const char *what) {
    if (status == dnnl_success)
        return SR_OK;
    if (status == dnnl_out_of_memory)
        return sr_fail(SR_ERROR_MEMORY, "oneDNN: out of memory (%s)", what);
    if (status == dnnl_unimplemented)
        return sr_fail(SR_ERROR_UNSUPPORTED, "oneDNN has no %s of this kind for this CPU", what);
    return sr_fail(SR_ERROR_LIBRARY, "oneDNN: %s failed with status %d", what, (int)status);
}

sr_status sr_dnnl_desc_make(dnnl_data_type_t type, size_t rank, const size_t *dims, bool any,
                            sr_dnnl_desc *out) {
    static const dnnl_format_tag_t plain[] = {dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc,
                                              dnnl_abcd};
    return sr_dnnl_desc_tagged(type, rank, dims, any ? dnnl_format_tag_any : plain[rank], out);
}

sr_status sr_dnnl_desc_tagged(dnnl_data_type_t type, size_t rank, const size_t *dims,
                              dnnl_format_tag_t layout, sr_dnnl_desc *out) {
    dnnl_dims_t sizes = {0};
    for (size_t i = 0; i < rank; i++)
        sizes[i] = (dnnl_dim_t)dims[i];
    return sr_dnnl_check(sr_dnnl_desc_init(out, (int)rank, sizes, type, layout),
                         "memory descriptor");
}

sr_status sr_dnnl_desc_channels(const sr_dnnl_desc *whole, const size_t dims[4], size_t first,
                                sr_dnnl_desc *out) {
    dnnl_dims_t sizes = {0}, offsets = {0};
    for (size_t i = 0; i < 4; i++)
        sizes[i] = (dnnl_dim_t)dims[i];
    offsets[1] = (dnnl_dim_t)first;
    return sr_dnnl_check(sr_dnnl_part_init(whole, sizes, offsets, out), "view");
}

sr_status sr_dnnl_desc_query(const_dnnl_primitive_desc_t primitive, dnnl_query_t what,
                             sr_dnnl_desc *out) {
    sr_dnnl_md md = dnnl_primitive_desc_query_md(primitive, what, 0);
    if (!md)
        return sr_fail(SR_ERROR_LIBRARY, "oneDNN: a primitive has no descriptor of kind %d",
                       (int)what);
    return sr_dnnl_desc_copy(md, out);
}

bool sr_dnnl_desc_equal(const sr_dnnl_desc *a, const sr_dnnl_desc *b) {
    return dnnl_memory_desc_equal(sr_dnnl_desc_md(a), sr_dnnl_desc_md(b)) != 0;
}

size_t sr_dnnl_desc_size(const sr_dnnl_desc *desc) {
    return dnnl_memory_desc_get_size(sr_dnnl_desc_md(desc));
}

sr_status sr_dnnl_layer_create(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                               dnnl_primitive_desc_t *out) {
    return layer->dense
               ? sr_dnnl_check(sr_dnnl_dense_init(engine, layer, out), "inner product")
               : sr_dnnl_check(sr_dnnl_convolution_init(engine, layer, out), "convolution");
}

sr_status sr_dnnl_pool_create(dnnl_engine_t engine, const sr_dnnl_pool *pool,
                              dnnl_primitive_desc_t *out) {
    return sr_dnnl_check(sr_dnnl_pool_init(engine, pool, out), "pool");
}

sr_status sr_dnnl_reorder_create(dnnl_engine_t engine, const sr_dnnl_desc *from,
                                 const sr_dnnl_desc *to, const_dnnl_primitive_attr_t attributes,
                                 dnnl_primitive_desc_t *out) {
    return sr_dnnl_check(dnnl_reorder_primitive_desc_create(out, sr_dnnl_desc_md(from), engine,
                                                            sr_dnnl_desc_md(to), engine,
                                                            attributes),
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
    return sr_dnnl_check(sr_dnnl_eltwise_init(operations, kind, alpha), "fused activation");
}

sr_status sr_dnnl_memory_create(dnnl_engine_t engine, const sr_dnnl_desc *desc, void *buffer,
                                dnnl_memory_t *out) {
    return sr_dnnl_check(dnnl_memory_create(out, sr_dnnl_desc_md(desc), engine, buffer), "memory");
}
