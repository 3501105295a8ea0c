// The few oneDNN calls that changed between its major versions, under one roof: memory descriptors
// and the creation of primitive descriptors. Everything else of the engine is written once on top
// of this.
#ifndef SR_KERNELS_ONEDNN_COMPAT_H
#define SR_KERNELS_ONEDNN_COMPAT_H

#include <oneapi/dnnl/dnnl.h>

#include "kernels/chain.h"

// A memory descriptor: shape and layout of a tensor. Plain data in version 2, an owned handle in 3.
typedef struct sr_dnnl_desc {
    dnnl_memory_desc_t md;
} sr_dnnl_desc;

typedef enum sr_dnnl_direction {
    SR_DNNL_FORWARD,
    SR_DNNL_BACKWARD_DATA,
    SR_DNNL_BACKWARD_WEIGHTS
} sr_dnnl_direction;

// What the primitive of one layer and direction is made from. `src` and `dst` stand for the layer's
// input and output (or the gradients there), weights and bias for theirs.
typedef struct sr_dnnl_layer {
    bool dense;
    size_t stride, padding;
    sr_dnnl_direction direction;
    const sr_dnnl_desc *src, *weights, *bias, *dst; // bias is not used backward-data
    const_dnnl_primitive_attr_t attributes;
    const_dnnl_primitive_desc_t hint; // the forward descriptor; NULL for forward
} sr_dnnl_layer;

// SR_OK, or SR_ERROR_LIBRARY with oneDNN's status and `what` in the message.
sr_status sr_dnnl_check(dnnl_status_t status, const char *what);

// float32 of rank `rank`; layout "any" lets the primitive choose, otherwise dense and row-major.
sr_status sr_dnnl_desc_make(size_t rank, const size_t *dims, bool any, sr_dnnl_desc *out);
sr_status sr_dnnl_desc_clone(const sr_dnnl_desc *from, sr_dnnl_desc *out);
// What a primitive wants or gives: dnnl_query_src_md, dnnl_query_diff_weights_md, ...
sr_status sr_dnnl_desc_query(const_dnnl_primitive_desc_t primitive, dnnl_query_t what,
                             sr_dnnl_desc *out);
void sr_dnnl_desc_clear(sr_dnnl_desc *desc);
bool sr_dnnl_desc_equal(const sr_dnnl_desc *a, const sr_dnnl_desc *b);
size_t sr_dnnl_desc_size(const sr_dnnl_desc *desc); // bytes

sr_status sr_dnnl_layer_create(dnnl_engine_t engine, const sr_dnnl_layer *layer,
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

#endif
