// oneDNN's versions 2 and 3 under one roof: memory descriptors, the creation of primitive
// descriptors and fused activations are what changed between them. compat_v2.c and compat_v3.c hold
// what differs, compat.c what reads the same in both; meson takes the file of the version it finds.
// Everything else of the engine is written once on top of this.
#ifndef SR_KERNELS_ONEDNN_COMPAT_H
#define SR_KERNELS_ONEDNN_COMPAT_H

#include <oneapi/dnnl/dnnl.h>

#include "kernels/chain.h"

// A memory descriptor: element type, shape and layout of a tensor. Plain data in version 2, an
// owned handle in 3; zero-initialised it is empty and may be cleared.
typedef struct sr_dnnl_desc {
    dnnl_memory_desc_t md;
} sr_dnnl_desc;

// A descriptor as oneDNN's functions take it.
#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *sr_dnnl_md;
#else
typedef const_dnnl_memory_desc_t sr_dnnl_md;
#endif

typedef enum sr_dnnl_direction {
    SR_DNNL_FORWARD,
    SR_DNNL_BACKWARD_DATA,
    SR_DNNL_BACKWARD_WEIGHTS
} sr_dnnl_direction;

// What the primitive of one layer and direction is made from. `src` and `dst` stand for the layer's
// input and output (or the gradients there), weights and bias for theirs.
typedef struct sr_dnnl_layer {
    bool dense;
    size_t stride, padding_height, padding_width;
    sr_dnnl_direction direction;
    const sr_dnnl_desc *src, *weights, *bias, *dst; // bias is not used backward-data
    const_dnnl_primitive_attr_t attributes;
    const_dnnl_primitive_desc_t hint; // the forward descriptor; NULL for forward
} sr_dnnl_layer;

// What a pool's primitive is made from, forward only: square windows.
typedef struct sr_dnnl_pool {
    dnnl_alg_kind_t kind; // dnnl_pooling_max, dnnl_pooling_avg_exclude_padding
    size_t kernel, stride, padding;
    const sr_dnnl_desc *src, *dst;
    const_dnnl_primitive_attr_t attributes;
} sr_dnnl_pool;

// SR_OK; or with oneDNN's word and `what` in the message SR_ERROR_MEMORY, SR_ERROR_UNSUPPORTED
// (nothing for this CPU computes it) or SR_ERROR_LIBRARY.
sr_status sr_dnnl_check(dnnl_status_t status, const char *what);

// Layout "any" lets the primitive choose, otherwise dense and row-major.
sr_status sr_dnnl_desc_make(dnnl_data_type_t type, size_t rank, const size_t *dims, bool any,
                            sr_dnnl_desc *out);
// In a layout by name.
sr_status sr_dnnl_desc_tagged(dnnl_data_type_t type, size_t rank, const size_t *dims,
                              dnnl_format_tag_t layout, sr_dnnl_desc *out);
// The view of dims[1] channels from number `first` on of images whose other dimensions are those of
// dims, in the memory of the whole.
sr_status sr_dnnl_desc_channels(const sr_dnnl_desc *whole, const size_t dims[4], size_t first,
                                sr_dnnl_desc *out);
sr_dnnl_md sr_dnnl_desc_md(const sr_dnnl_desc *desc);
sr_status sr_dnnl_desc_copy(sr_dnnl_md from, sr_dnnl_desc *out);
// What a primitive wants or gives: dnnl_query_src_md, dnnl_query_diff_weights_md, ...
sr_status sr_dnnl_desc_query(const_dnnl_primitive_desc_t primitive, dnnl_query_t what,
                             sr_dnnl_desc *out);
void sr_dnnl_desc_clear(sr_dnnl_desc *desc);
bool sr_dnnl_desc_equal(const sr_dnnl_desc *a, const sr_dnnl_desc *b); // type, shape and layout
size_t sr_dnnl_desc_size(const sr_dnnl_desc *desc);                    // bytes

sr_status sr_dnnl_layer_create(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                               dnnl_primitive_desc_t *out);
sr_status sr_dnnl_pool_create(dnnl_engine_t engine, const sr_dnnl_pool *pool,
                              dnnl_primitive_desc_t *out);
sr_status sr_dnnl_reorder_create(dnnl_engine_t engine, const sr_dnnl_desc *from,
                                 const sr_dnnl_desc *to, const_dnnl_primitive_attr_t attributes,
                                 dnnl_primitive_desc_t *out);
// The activation fused behind a forward primitive; false where oneDNN has none whose derivative can
// be had from the output alone.
bool sr_dnnl_activation_fuses(sr_activation activation);
sr_status sr_dnnl_append_activation(dnnl_post_ops_t operations, sr_activation activation);

sr_status sr_dnnl_memory_create(dnnl_engine_t engine, const sr_dnnl_desc *desc, void *buffer,
                                dnnl_memory_t *out);

// For compat_v2.c and compat_v3.c only: the calls that differ, as the functions above need them.
dnnl_status_t sr_dnnl_desc_init(sr_dnnl_desc *out, int rank, const dnnl_dims_t dims,
                                dnnl_data_type_t type, dnnl_format_tag_t layout);
dnnl_status_t sr_dnnl_part_init(const sr_dnnl_desc *whole, const dnnl_dims_t dims,
                                const dnnl_dims_t offsets, sr_dnnl_desc *out);
dnnl_status_t sr_dnnl_pool_init(dnnl_engine_t engine, const sr_dnnl_pool *pool,
                                dnnl_primitive_desc_t *out);
dnnl_status_t sr_dnnl_convolution_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                       dnnl_primitive_desc_t *out);
dnnl_status_t sr_dnnl_dense_init(dnnl_engine_t engine, const sr_dnnl_layer *layer,
                                 dnnl_primitive_desc_t *out);
dnnl_status_t sr_dnnl_eltwise_init(dnnl_post_ops_t operations, dnnl_alg_kind_t kind, float alpha);

#endif
