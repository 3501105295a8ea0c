// The oneDNN engine: a chain of layers as four small programs - pack (weights into the layouts that
// the primitives want), forward, backward-data, backward-weights - over a common list of tensors.
//
// A program is a list of operations: oneDNN primitives (convolution, inner product, reorder) and
// the activations, which run on our own kernels wherever oneDNN cannot fuse them in a form whose
// derivative we can take from the output. Layouts are chosen by oneDNN; where two neighbours
// disagree, a reorder stands between them. Everything is built for one thread: the threads of
// shortrun run whole chains side by side.
//
// In bf16 the operands of products (layer inputs, weights, dz) are bfloat16; what the products give
// (z or y, dy, gradients of weights and biases) and all that our own kernels touch stays float32.
// The same reorders that change layouts round on the way.
#include "kernels/onednn/compat.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ARGUMENTS = 6, NO_TENSOR = -1 };

// A tensor of the chain. Shared tensors (packed weights) belong to the chain, the others to each
// state.
typedef struct tensor {
    sr_dnnl_desc desc;
    size_t offset; // bytes into the shared or the state's arena
    size_t size;   // bytes
    bool shared;
} tensor;

typedef enum operation_kind {
    RUN_PRIMITIVE,
    ACTIVATE,            // z -> y = act(z), derivative; tensors: z, y, derivative
    MULTIPLY_DERIVATIVE, // dz = dy * derivative; tensors: dy, derivative, dz
    BACKWARD_DATA_THIN,  // dx = thin backward-data; tensors: dz, weights, frame, dx
    MULTIPLY_SLOPE       // dz = dy * act'(z), act' from y = act(z); tensors: dy, y, dz
} operation_kind;

typedef struct operation {
    operation_kind kind;
    sr_activation activation;
    const sr_conv_shape *shape; // of BACKWARD_DATA_THIN
    dnnl_primitive_t primitive;
    int argument_count;
    int ids[MAX_ARGUMENTS];     // DNNL_ARG_*
    int tensors[MAX_ARGUMENTS]; // indices into the chain's tensors
    size_t slot;                // of the layers' clock
} operation;

typedef struct program {
    operation *operations;
    size_t count, capacity;
} program;

// Indices of the tensors of one layer; the plain ones are in PyTorch's layouts.
typedef struct layer_tensors {
    int x, y;                  // input and output in the forward primitive's layouts
    int derivative;            // of the activation; NO_TENSOR where it comes from y
    int z;                     // before the activation; NO_TENSOR where fused
    int dy, dz;                // gradients at the output, after and before the activation
    int weights_plain, bias;   // as set by set_weights
    int dweights_plain, dbias; // as returned by backward_weights
} layer_tensors;

typedef struct onednn_chain {
    dnnl_engine_t engine;
    size_t count, batch;
    dnnl_data_type_t operand; // element type of what is multiplied: dnnl_f32 or dnnl_bf16
    sr_layer *layers;
    layer_tensors *at;
    tensor *tensors;
    size_t tensor_count, tensor_capacity;
    size_t shared_bytes, state_bytes, scratch_bytes;
    int input, output, seed, dx; // plain tensors at the ends of the chain
    size_t dx_operations;        // operations of backward_data that only dx needs (its tail)
    program pack, forward, backward_data, backward_weights;
    char *shared; // arena of the shared tensors
    void *pack_state;
} onednn_chain;

typedef struct onednn_state {
    const onednn_chain *chain;
    dnnl_stream_t stream;
    char *arena, *scratch;
    dnnl_memory_t *memory; // (tensor_count)
    dnnl_memory_t scratchpad;
    double *seconds; // (count, SR_DIRECTION_COUNT), the caller's; NULL: layers are not timed
    double since;
} onednn_state;

// ---- building -----------------------------------------------------------------------------------

// `desc` may lie in chain->tensors: it is copied before the list grows.
static int tensor_add(onednn_chain *chain, const sr_dnnl_desc *desc, bool shared) {
    tensor t = {.shared = shared, .size = sr_dnnl_desc_size(desc)};
    if (sr_dnnl_desc_copy(sr_dnnl_desc_md(desc), &t.desc))
        return NO_TENSOR;
    if (chain->tensor_count == chain->tensor_capacity) {
        size_t capacity = chain->tensor_capacity ? 2 * chain->tensor_capacity : 32;
        tensor *grown = sr_realloc(chain->tensors, chain->tensor_capacity, capacity, sizeof *grown);
        if (!grown) {
            sr_dnnl_desc_clear(&t.desc);
            return NO_TENSOR;
        }
        chain->tensors = grown;
        chain->tensor_capacity = capacity;
    }
    size_t *end = shared ? &chain->shared_bytes : &chain->state_bytes;
    t.offset = *end;
    *end += (t.size + SR_ALIGNMENT - 1) / SR_ALIGNMENT * SR_ALIGNMENT;
    chain->tensors[chain->tensor_count] = t;
    return (int)chain->tensor_count++;
}

static int tensor_add_plain(onednn_chain *chain, size_t rank, const size_t *dims, bool shared) {
    sr_dnnl_desc desc;
    if (sr_dnnl_desc_make(dnnl_f32, rank, dims, false, &desc))
        return NO_TENSOR;
    int index = tensor_add(chain, &desc, shared);
    sr_dnnl_desc_clear(&desc);
    return index;
}

static operation *operation_add(program *p, operation_kind kind) {
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 16;
        operation *grown = sr_realloc(p->operations, p->capacity, capacity, sizeof *grown);
        if (!grown)
            return NULL;
        p->operations = grown;
        p->capacity = capacity;
    }
    operation *o = &p->operations[p->count++];
    o->kind = kind;
    return o;
}

static void argument(operation *o, int id, int tensor_index) {
    o->ids[o->argument_count] = id;
    o->tensors[o->argument_count++] = tensor_index;
}

// Adds the primitive of a descriptor to a program; its arguments follow by argument(). NULL on
// failure.
static operation *primitive_add(onednn_chain *chain, program *p, const_dnnl_primitive_desc_t desc) {
    sr_dnnl_desc scratch;
    if (sr_dnnl_desc_query(desc, dnnl_query_scratchpad_md, &scratch))
        return NULL;
    size_t bytes = sr_dnnl_desc_size(&scratch);
    sr_dnnl_desc_clear(&scratch);
    if (bytes > chain->scratch_bytes)
        chain->scratch_bytes = bytes;
    operation *o = operation_add(p, RUN_PRIMITIVE);
    if (!o || sr_dnnl_check(dnnl_primitive_create(&o->primitive, desc), "primitive"))
        return NULL;
    return o;
}

static sr_status reorder_add(onednn_chain *chain, program *p, int from, int to) {
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    sr_status status = sr_dnnl_check(dnnl_primitive_attr_create(&attributes), "attributes");
    if (!status)
        status = sr_dnnl_check(
            dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
            "scratchpad");
    if (!status)
        status = sr_dnnl_reorder_create(chain->engine, &chain->tensors[from].desc,
                                        &chain->tensors[to].desc, attributes, &desc);
    operation *o = status ? NULL : primitive_add(chain, p, desc);
    if (o) {
        argument(o, DNNL_ARG_FROM, from);
        argument(o, DNNL_ARG_TO, to);
    } else if (!status) {
        status = SR_ERROR_LIBRARY;
    }
    dnnl_primitive_desc_destroy(desc);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

// The tensor `from` as the primitive wants it at `query`: itself where the layout fits, else a new
// tensor behind a reorder in program p.
static int tensor_as(onednn_chain *chain, program *p, int from,
                     const_dnnl_primitive_desc_t primitive, dnnl_query_t query) {
    sr_dnnl_desc wanted;
    if (from == NO_TENSOR || sr_dnnl_desc_query(primitive, query, &wanted))
        return NO_TENSOR;
    int to = from;
    if (!sr_dnnl_desc_equal(&chain->tensors[from].desc, &wanted)) {
        to = tensor_add(chain, &wanted, chain->tensors[from].shared);
        if (to != NO_TENSOR && reorder_add(chain, p, from, to))
            to = NO_TENSOR;
    }
    sr_dnnl_desc_clear(&wanted);
    return to;
}

// A new tensor of the layout in which the primitive gives its result at `query`.
static int tensor_of(onednn_chain *chain, const_dnnl_primitive_desc_t primitive,
                     dnnl_query_t query) {
    sr_dnnl_desc given;
    if (sr_dnnl_desc_query(primitive, query, &given))
        return NO_TENSOR;
    int index = tensor_add(chain, &given, false);
    sr_dnnl_desc_clear(&given);
    return index;
}

// Descriptors of one layer in layouts that are oneDNN's to choose.
typedef struct layer_descs {
    bool dense;
    sr_dnnl_desc src, weights, bias, dst;
} layer_descs;

// A convolution over all remaining pixels is a dense layer to oneDNN.
static bool layer_is_dense(const sr_layer *layer) {
    const sr_conv_shape *s = &layer->shape;
    return s->out_height == 1 && s->out_width == 1 && s->padding == 0 &&
           s->kernel_height == s->in_height && s->kernel_width == s->in_width;
}

// The input of layer l as its predecessor leaves it: a dense layer behind a convolution sees
// images.
static void layer_input(const onednn_chain *chain, size_t l, size_t dims[4], size_t *rank) {
    const sr_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    dims[0] = chain->batch;
    dims[1] = s->in_channels;
    dims[2] = s->in_height;
    dims[3] = s->in_width;
    if (l > 0 && layer->dense) {
        const sr_conv_shape *before = &chain->layers[l - 1].shape;
        dims[1] = before->out_channels;
        dims[2] = before->out_height;
        dims[3] = before->out_width;
    }
    bool flat = layer_is_dense(layer) && dims[2] == 1 && dims[3] == 1;
    *rank = flat ? 2 : 4;
}

static sr_status layer_descs_make(const onednn_chain *chain, size_t l, sr_dnnl_direction direction,
                                  layer_descs *d) {
    const sr_layer *layer = &chain->layers[l];
    const sr_conv_shape *s = &layer->shape;
    d->dense = layer_is_dense(layer);
    size_t src[4], rank;
    layer_input(chain, l, src, &rank);
    size_t dst[4] = {chain->batch, s->out_channels, s->out_height, s->out_width};
    size_t weights[4] = {s->out_channels, src[1], d->dense ? src[2] : s->kernel_height,
                         d->dense ? src[3] : s->kernel_width};
    // each direction multiplies two of the three and gives the third, which is float32
    dnnl_data_type_t operand = chain->operand;
    sr_status status = sr_dnnl_desc_make(direction == SR_DNNL_BACKWARD_DATA ? dnnl_f32 : operand,
                                         rank, src, true, &d->src);
    if (!status)
        status = sr_dnnl_desc_make(direction == SR_DNNL_BACKWARD_WEIGHTS ? dnnl_f32 : operand, rank,
                                   weights, true, &d->weights);
    if (!status)
        status = sr_dnnl_desc_make(dnnl_f32, 1, &s->out_channels, false, &d->bias);
    if (!status)
        status = sr_dnnl_desc_make(direction == SR_DNNL_FORWARD ? dnnl_f32 : operand,
                                   d->dense ? 2 : 4, dst, true, &d->dst);
    return status;
}

static void layer_descs_clear(layer_descs *d) {
    sr_dnnl_desc_clear(&d->src);
    sr_dnnl_desc_clear(&d->weights);
    sr_dnnl_desc_clear(&d->bias);
    sr_dnnl_desc_clear(&d->dst);
}

// The primitive descriptor of layer l in one direction.
static sr_status layer_primitive(const onednn_chain *chain, size_t l, sr_dnnl_direction direction,
                                 const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out) {
    const sr_layer *layer = &chain->layers[l];
    layer_descs d = {0};
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t fused = NULL;
    *out = NULL;
    sr_status status = layer_descs_make(chain, l, direction, &d);
    if (!status)
        status = sr_dnnl_check(dnnl_primitive_attr_create(&attributes), "attributes");
    if (!status)
        status = sr_dnnl_check(
            dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
            "scratchpad");
    if (!status && direction == SR_DNNL_FORWARD && sr_dnnl_activation_fuses(layer->activation)) {
        status = sr_dnnl_check(dnnl_post_ops_create(&fused), "post-ops");
        if (!status)
            status = sr_dnnl_append_activation(fused, layer->activation);
        if (!status)
            status = sr_dnnl_check(dnnl_primitive_attr_set_post_ops(attributes, fused), "post-ops");
    }
    if (!status) {
        sr_dnnl_layer spec = {.dense = d.dense,
                              .stride = layer->shape.stride,
                              .padding_height = layer->shape.padding,
                              .padding_width = layer->shape.padding,
                              .direction = direction,
                              .src = &d.src,
                              .weights = &d.weights,
                              .bias = &d.bias,
                              .dst = &d.dst,
                              .attributes = attributes,
                              .hint = hint};
        status = sr_dnnl_layer_create(chain->engine, &spec, out);
    }
    dnnl_post_ops_destroy(fused);
    dnnl_primitive_attr_destroy(attributes);
    layer_descs_clear(&d);
    return status;
}

// Forward of layer l: input from tensor x (the predecessor's output), sets at[l].
static sr_status build_forward(onednn_chain *chain, size_t l, int x,
                               const_dnnl_primitive_desc_t desc) {
    const sr_layer *layer = &chain->layers[l];
    layer_tensors *at = &chain->at[l];
    size_t dims[4], rank;
    layer_input(chain, l, dims, &rank);
    size_t weights[4] = {layer->shape.out_channels, dims[1],
                         layer_is_dense(layer) ? dims[2] : layer->shape.kernel_height,
                         layer_is_dense(layer) ? dims[3] : layer->shape.kernel_width};
    at->weights_plain = tensor_add_plain(chain, rank, weights, true);
    at->bias = tensor_add_plain(chain, 1, &layer->shape.out_channels, true);
    at->x = tensor_as(chain, &chain->forward, x, desc, dnnl_query_src_md);
    int packed = tensor_as(chain, &chain->pack, at->weights_plain, desc, dnnl_query_weights_md);
    int result = tensor_of(chain, desc, dnnl_query_dst_md);
    operation *o = primitive_add(chain, &chain->forward, desc);
    if (!o || at->x == NO_TENSOR || packed == NO_TENSOR || result == NO_TENSOR ||
        at->bias == NO_TENSOR)
        return SR_ERROR_LIBRARY;
    argument(o, DNNL_ARG_SRC, at->x);
    argument(o, DNNL_ARG_WEIGHTS, packed);
    argument(o, DNNL_ARG_BIAS, at->bias);
    argument(o, DNNL_ARG_DST, result);

    at->z = at->derivative = NO_TENSOR;
    at->y = result;
    if (layer->activation == SR_IDENTITY || sr_dnnl_activation_fuses(layer->activation))
        return SR_OK;
    at->z = result;
    at->y = tensor_add(chain, &chain->tensors[result].desc, false);
    at->derivative = tensor_add(chain, &chain->tensors[result].desc, false);
    o = operation_add(&chain->forward, ACTIVATE);
    if (!o || at->y == NO_TENSOR || at->derivative == NO_TENSOR)
        return SR_ERROR_MEMORY;
    o->activation = layer->activation;
    argument(o, 0, at->z);
    argument(o, 0, at->y);
    argument(o, 0, at->derivative);
    return SR_OK;
}

// dz of layer l from dy (a tensor in the layout of the layer's output).
static sr_status build_activation_backward(onednn_chain *chain, size_t l) {
    const sr_layer *layer = &chain->layers[l];
    layer_tensors *at = &chain->at[l];
    at->dz = at->dy;
    if (layer->activation == SR_IDENTITY)
        return SR_OK;
    at->dz = tensor_add(chain, &chain->tensors[at->y].desc, false);
    bool stored = at->derivative != NO_TENSOR;
    operation *o =
        operation_add(&chain->backward_data, stored ? MULTIPLY_DERIVATIVE : MULTIPLY_SLOPE);
    if (!o || at->dz == NO_TENSOR)
        return SR_ERROR_MEMORY;
    o->activation = layer->activation;
    argument(o, 0, at->dy);
    argument(o, 0, stored ? at->derivative : at->y);
    argument(o, 0, at->dz);
    return SR_OK;
}

// A tensor in the layout of `like` that holds what the primitive gives at `query`: the result
// itself where the layouts agree. *raw is the tensor the primitive writes.
static int tensor_result_as(onednn_chain *chain, const_dnnl_primitive_desc_t primitive,
                            dnnl_query_t query, int like, int *raw) {
    *raw = tensor_of(chain, primitive, query);
    if (*raw == NO_TENSOR)
        return NO_TENSOR;
    if (sr_dnnl_desc_equal(&chain->tensors[*raw].desc, &chain->tensors[like].desc))
        return *raw;
    return tensor_add(chain, &chain->tensors[like].desc, false);
}

// Backward-data of layer l; the result lies in the layout of tensor `like` (the predecessor's
// output).
static sr_status build_backward_data(onednn_chain *chain, size_t l, int like,
                                     const_dnnl_primitive_desc_t hint, int *result) {
    layer_tensors *at = &chain->at[l];
    dnnl_primitive_desc_t desc;
    sr_status status = layer_primitive(chain, l, SR_DNNL_BACKWARD_DATA, hint, &desc);
    if (status)
        return status;
    status = SR_ERROR_LIBRARY;
    int dz = tensor_as(chain, &chain->backward_data, at->dz, desc, dnnl_query_diff_dst_md);
    int packed = tensor_as(chain, &chain->pack, at->weights_plain, desc, dnnl_query_weights_md);
    int raw;
    *result = tensor_result_as(chain, desc, dnnl_query_diff_src_md, like, &raw);
    operation *o = primitive_add(chain, &chain->backward_data, desc);
    if (o && dz != NO_TENSOR && packed != NO_TENSOR && *result != NO_TENSOR) {
        argument(o, DNNL_ARG_DIFF_DST, dz);
        argument(o, DNNL_ARG_WEIGHTS, packed);
        argument(o, DNNL_ARG_DIFF_SRC, raw);
        if (l > 0) // rounded once, for backward-weights too; the first layer's may not have run
            at->dz = dz;
        status = raw == *result ? SR_OK : reorder_add(chain, &chain->backward_data, raw, *result);
    }
    dnnl_primitive_desc_destroy(desc);
    return status;
}

// oneDNN pads 1 or 3 input channels to 16: the first layer's backward-data runs on our own kernel,
// on dz in plain layout.
static bool layer_is_thin(const sr_layer *layer) {
    const sr_conv_shape *s = &layer->shape;
    return !layer_is_dense(layer) && s->stride == 1 && s->in_channels <= 4 &&
           s->padding < s->kernel_height && s->padding < s->kernel_width;
}

static sr_status build_backward_data_thin(onednn_chain *chain, int *result) {
    const sr_conv_shape *s = &chain->layers[0].shape;
    size_t dims[4] = {chain->batch, s->out_channels, s->out_height, s->out_width};
    size_t frame_floats = sr_conv_thin_frame(s);
    int dz = tensor_add_plain(chain, 4, dims, false);
    int frame = tensor_add_plain(chain, 1, &frame_floats, false);
    *result = tensor_add(chain, &chain->tensors[chain->input].desc, false);
    if (dz == NO_TENSOR || frame == NO_TENSOR || *result == NO_TENSOR)
        return SR_ERROR_MEMORY;
    sr_status status = reorder_add(chain, &chain->backward_data, chain->at[0].dz, dz);
    operation *o = status ? NULL : operation_add(&chain->backward_data, BACKWARD_DATA_THIN);
    if (!o)
        return status ? status : SR_ERROR_MEMORY;
    o->shape = s;
    argument(o, 0, dz);
    argument(o, 0, chain->at[0].weights_plain);
    argument(o, 0, frame);
    argument(o, 0, *result);
    return SR_OK;
}

static sr_status build_backward_weights(onednn_chain *chain, size_t l,
                                        const_dnnl_primitive_desc_t hint) {
    layer_tensors *at = &chain->at[l];
    program *p = &chain->backward_weights;
    dnnl_primitive_desc_t desc;
    sr_status status = layer_primitive(chain, l, SR_DNNL_BACKWARD_WEIGHTS, hint, &desc);
    if (status)
        return status;
    status = SR_ERROR_LIBRARY;
    int x = tensor_as(chain, p, at->x, desc, dnnl_query_src_md);
    int dz = tensor_as(chain, p, at->dz, desc, dnnl_query_diff_dst_md);
    int raw;
    at->dweights_plain =
        tensor_result_as(chain, desc, dnnl_query_diff_weights_md, at->weights_plain, &raw);
    at->dbias = tensor_add_plain(chain, 1, &chain->layers[l].shape.out_channels, false);
    operation *o = primitive_add(chain, p, desc);
    if (o && x != NO_TENSOR && dz != NO_TENSOR && at->dweights_plain != NO_TENSOR &&
        at->dbias != NO_TENSOR) {
        argument(o, DNNL_ARG_SRC, x);
        argument(o, DNNL_ARG_DIFF_DST, dz);
        argument(o, DNNL_ARG_DIFF_WEIGHTS, raw);
        argument(o, DNNL_ARG_DIFF_BIAS, at->dbias);
        status = raw == at->dweights_plain ? SR_OK : reorder_add(chain, p, raw, at->dweights_plain);
    }
    dnnl_primitive_desc_destroy(desc);
    return status;
}

// The operations of a program from number `first` on belong to layer l.
static void label(program *p, size_t first, size_t l, sr_direction direction) {
    for (size_t i = first; i < p->count; i++)
        p->operations[i].slot = sr_lap_slot(l, direction);
}

// All programs; forward[l] receives the forward descriptors, which the backward ones take as hints.
static sr_status build(onednn_chain *chain, dnnl_primitive_desc_t *forward) {
    size_t dims[4], rank;
    layer_input(chain, 0, dims, &rank);
    chain->input = tensor_add_plain(chain, rank, dims, false);
    int x = chain->input;
    for (size_t l = 0; l < chain->count; l++) {
        const size_t first = chain->forward.count;
        sr_status status = layer_primitive(chain, l, SR_DNNL_FORWARD, NULL, &forward[l]);
        if (!status)
            status = build_forward(chain, l, x, forward[l]);
        if (status)
            return status;
        label(&chain->forward, first, l, SR_FORWARD);
        x = chain->at[l].y;
    }
    const sr_conv_shape *last = &chain->layers[chain->count - 1].shape;
    size_t out[4] = {chain->batch, last->out_channels, last->out_height, last->out_width};
    size_t out_rank = layer_is_dense(&chain->layers[chain->count - 1]) ? 2 : 4;
    int y = chain->at[chain->count - 1].y, dy = tensor_add(chain, &chain->tensors[y].desc, false);
    chain->output = tensor_add_plain(chain, out_rank, out, false);
    if (chain->output == NO_TENSOR || dy == NO_TENSOR)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    if (sr_dnnl_desc_equal(&chain->tensors[y].desc, &chain->tensors[chain->output].desc)) {
        chain->output = y; // dense layers: read and written where they are
        chain->seed = dy;
    } else {
        chain->seed = tensor_add_plain(chain, out_rank, out, false);
        if (chain->seed == NO_TENSOR)
            return SR_ERROR_MEMORY;
        status = reorder_add(chain, &chain->forward, y, chain->output);
        label(&chain->forward, chain->forward.count - 1, chain->count - 1, SR_FORWARD);
        if (!status)
            status = reorder_add(chain, &chain->backward_data, chain->seed, dy);
        label(&chain->backward_data, 0, chain->count - 1, SR_BACKWARD_DATA);
    }
    for (size_t l = chain->count; !status && l-- > 0;) {
        const size_t first = chain->backward_data.count;
        chain->at[l].dy = dy;
        status = build_activation_backward(chain, l);
        size_t before = chain->backward_data.count;
        if (!status && l == 0 && layer_is_thin(&chain->layers[0]))
            status = build_backward_data_thin(chain, &dy);
        else if (!status)
            status = build_backward_data(chain, l, l > 0 ? chain->at[l - 1].y : chain->input,
                                         forward[l], &dy);
        chain->dx_operations = chain->backward_data.count - before;
        label(&chain->backward_data, first, l, SR_BACKWARD_DATA);
    }
    chain->dx = dy;
    for (size_t l = 0; !status && l < chain->count; l++) {
        const size_t first = chain->backward_weights.count;
        status = build_backward_weights(chain, l, forward[l]);
        label(&chain->backward_weights, first, l, SR_BACKWARD_WEIGHTS);
    }
    return status;
}

// ---- running ------------------------------------------------------------------------------------

static inline void *state_data(const onednn_state *state, int index) {
    const tensor *t = &state->chain->tensors[index];
    return (t->shared ? state->chain->shared : state->arena) + t->offset;
}

static void operation_run(const operation *o, onednn_state *state) {
    if (o->kind == RUN_PRIMITIVE) {
        dnnl_exec_arg_t arguments[MAX_ARGUMENTS + 1];
        for (int i = 0; i < o->argument_count; i++) {
            arguments[i].arg = o->ids[i];
            arguments[i].memory = state->memory[o->tensors[i]];
        }
        arguments[o->argument_count].arg = DNNL_ARG_SCRATCHPAD;
        arguments[o->argument_count].memory = state->scratchpad;
        dnnl_primitive_execute(o->primitive, state->stream, o->argument_count + 1, arguments);
        return;
    }
    float *a = state_data(state, o->tensors[0]), *b = state_data(state, o->tensors[1]);
    float *c = state_data(state, o->tensors[2]);
    size_t n = state->chain->tensors[o->tensors[0]].size / sizeof(float);
    if (o->kind == ACTIVATE)
        sr_kernels_get()->activation(o->activation, n, a, b, c, NULL);
    else if (o->kind == BACKWARD_DATA_THIN)
        sr_kernels_get()->conv_backward_data_thin(o->shape, state->chain->batch, a, b, c,
                                                  state_data(state, o->tensors[3]));
    else if (o->kind == MULTIPLY_DERIVATIVE)
        sr_kernels_get()->multiply(n, a, b, c);
    else
        sr_kernels_get()->multiply_slope(o->activation, n, a, b, c);
}

// Runs the first `count` operations. The primitives were made for one thread and must run in one,
// also outside of a parallel region.
static void program_run(const program *p, size_t count, onednn_state *state) {
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (size_t i = 0; i < count; i++) {
        operation_run(&p->operations[i], state);
        sr_lap_end(state->seconds, p->operations[i].slot, &state->since);
    }
    omp_set_num_threads(threads);
}

static void state_destroy(void *self) {
    onednn_state *state = self;
    if (!state)
        return;
    for (size_t i = 0; state->memory && i < state->chain->tensor_count; i++)
        dnnl_memory_destroy(state->memory[i]);
    dnnl_memory_destroy(state->scratchpad);
    dnnl_stream_destroy(state->stream);
    sr_free(state->memory);
    sr_free(state->arena);
    sr_free(state->scratch);
    sr_free(state);
}

static sr_status scratchpad_create(onednn_state *state) {
    // A flat tensor large enough for the greediest primitive serves all of them.
    size_t floats = state->chain->scratch_bytes / sizeof(float) + 1;
    sr_dnnl_desc desc;
    state->scratch = sr_alloc(floats, sizeof(float));
    sr_status status =
        state->scratch ? sr_dnnl_desc_make(dnnl_f32, 1, &floats, false, &desc) : SR_ERROR_MEMORY;
    if (!status) {
        status =
            sr_dnnl_memory_create(state->chain->engine, &desc, state->scratch, &state->scratchpad);
        sr_dnnl_desc_clear(&desc);
    }
    return status;
}

static sr_status state_create(const void *self, void **out) {
    const onednn_chain *chain = self;
    *out = NULL;
    onednn_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->chain = chain;
    sr_status status = SR_ERROR_MEMORY;
    state->arena = sr_alloc(chain->state_bytes, 1);
    state->memory = sr_alloc(chain->tensor_count, sizeof(dnnl_memory_t));
    if (!state->arena || !state->memory)
        goto fail;
    status = sr_dnnl_check(
        dnnl_stream_create(&state->stream, chain->engine, dnnl_stream_default_flags), "stream");
    if (!status)
        status = scratchpad_create(state);
    for (size_t i = 0; !status && i < chain->tensor_count; i++)
        status = sr_dnnl_memory_create(chain->engine, &chain->tensors[i].desc,
                                       state_data(state, (int)i), &state->memory[i]);
    if (status)
        goto fail;
    *out = state;
    return SR_OK;
fail:
    state_destroy(state);
    return status;
}

static void program_clear(program *p) {
    for (size_t i = 0; i < p->count; i++)
        dnnl_primitive_destroy(p->operations[i].primitive);
    sr_free(p->operations);
}

static void chain_destroy(void *self) {
    onednn_chain *chain = self;
    if (!chain)
        return;
    state_destroy(chain->pack_state);
    program_clear(&chain->pack);
    program_clear(&chain->forward);
    program_clear(&chain->backward_data);
    program_clear(&chain->backward_weights);
    for (size_t i = 0; i < chain->tensor_count; i++)
        sr_dnnl_desc_clear(&chain->tensors[i].desc);
    dnnl_engine_destroy(chain->engine);
    sr_free(chain->tensors);
    sr_free(chain->layers);
    sr_free(chain->at);
    sr_free(chain->shared);
    sr_free(chain);
}

// Everything of a chain whose count, batch and operand are set; `forward` as for build.
static sr_status chain_prepare(onednn_chain *chain, const sr_layer *layers,
                               dnnl_primitive_desc_t *forward) {
    chain->layers = sr_alloc(chain->count, sizeof *layers);
    chain->at = sr_alloc(chain->count, sizeof *chain->at);
    if (!chain->layers || !chain->at)
        return SR_ERROR_MEMORY;
    memcpy(chain->layers, layers, chain->count * sizeof *layers);
    sr_status status = sr_dnnl_check(dnnl_engine_create(&chain->engine, dnnl_cpu, 0), "engine");
    if (!status)
        status = build(chain, forward);
    if (!status) {
        chain->shared = sr_alloc(chain->shared_bytes, 1);
        status = chain->shared ? state_create(chain, &chain->pack_state) : SR_ERROR_MEMORY;
    }
    return status;
}

static sr_status chain_create(const sr_layer *layers, size_t count, size_t batch,
                              sr_precision precision, void **out) {
    *out = NULL;
    if (!sr_precision_available(SR_ENGINE_ONEDNN, precision))
        return sr_fail(SR_ERROR_UNSUPPORTED, "engine 'onednn' does not compute in %s%s",
                       sr_precision_name(precision),
                       precision == SR_BF16 ? " without AVX-512" : "");
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); // oneDNN plans for as many threads as it sees now
    onednn_chain *chain = sr_alloc(1, sizeof *chain);
    dnnl_primitive_desc_t *forward = sr_alloc(count, sizeof *forward);
    sr_status status = SR_ERROR_MEMORY;
    if (chain && forward) {
        chain->count = count;
        chain->batch = batch;
        chain->operand = precision == SR_BF16 ? dnnl_bf16 : dnnl_f32;
        status = chain_prepare(chain, layers, forward);
    }
    for (size_t l = 0; forward && l < count; l++)
        dnnl_primitive_desc_destroy(forward[l]);
    sr_free(forward);
    omp_set_num_threads(threads);
    if (status)
        chain_destroy(chain);
    else
        *out = chain;
    return status;
}

static void chain_set_weights(void *self, const float *theta) {
    onednn_chain *chain = self;
    onednn_state *state = chain->pack_state;
    for (size_t l = 0; l < chain->count; l++) {
        const sr_layer *layer = &chain->layers[l];
        memcpy(state_data(state, chain->at[l].weights_plain), theta + layer->weight,
               sr_layer_weights(layer) * sizeof(float));
        memcpy(state_data(state, chain->at[l].bias), theta + layer->bias,
               layer->shape.out_channels * sizeof(float));
    }
    program_run(&chain->pack, chain->pack.count, state);
}

// Rows beyond n are zeroed, so that they add nothing anywhere.
static void copy_rows(float *to, const float *from, size_t n, size_t batch, size_t row) {
    memcpy(to, from, n * row * sizeof(float));
    memset(to + n * row, 0, (batch - n) * row * sizeof(float));
}

static void state_time_layers(void *self, double *seconds) {
    onednn_state *state = self;
    state->seconds = seconds;
}

// The copy at the start of a pass counts to its first operation.
static void lap_start(void *self) {
    onednn_state *state = self;
    state->since = sr_lap_start(state->seconds);
}

static void chain_forward(const void *self, void *state, size_t n, const float *x, float *out) {
    const onednn_chain *chain = self;
    lap_start(state);
    copy_rows(state_data(state, chain->input), x, n, chain->batch,
              sr_layer_inputs(&chain->layers[0]));
    program_run(&chain->forward, chain->forward.count, state);
    memcpy(out, state_data(state, chain->output),
           n * sr_layer_outputs(&chain->layers[chain->count - 1]) * sizeof(float));
}

static void chain_backward_data(const void *self, void *state, size_t n, const float *seed,
                                float *dx) {
    const onednn_chain *chain = self;
    lap_start(state);
    copy_rows(state_data(state, chain->seed), seed, n, chain->batch,
              sr_layer_outputs(&chain->layers[chain->count - 1]));
    program_run(&chain->backward_data, chain->backward_data.count - (dx ? 0 : chain->dx_operations),
                state);
    if (dx)
        memcpy(dx, state_data(state, chain->dx),
               n * sr_layer_inputs(&chain->layers[0]) * sizeof(float));
}

static void chain_backward_weights(const void *self, void *state, size_t n, float *dtheta) {
    const onednn_chain *chain = self;
    (void)n; // rows beyond n carry zero gradients
    lap_start(state);
    program_run(&chain->backward_weights, chain->backward_weights.count, state);
    for (size_t l = 0; l < chain->count; l++) {
        const sr_layer *layer = &chain->layers[l];
        memcpy(dtheta + layer->weight, state_data(state, chain->at[l].dweights_plain),
               sr_layer_weights(layer) * sizeof(float));
        memcpy(dtheta + layer->bias, state_data(state, chain->at[l].dbias),
               layer->shape.out_channels * sizeof(float));
    }
}

const char *sr_onednn_version(void) {
    static char text[32]; // the same bytes whoever writes them
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

const sr_chain_ops sr_chain_onednn = {
    .create = chain_create,
    .destroy = chain_destroy,
    .set_weights = chain_set_weights,
    .state_create = state_create,
    .state_destroy = state_destroy,
    .forward = chain_forward,
    .backward_data = chain_backward_data,
    .backward_weights = chain_backward_weights,
    .time_layers = state_time_layers,
};
