// Graphs of convolutions and pools on oneDNN (kernels/graph.h).
//
// Every primitive is made for one image and one thread. Threads run images side by side, so that no
// bit depends on their number; and an operation runs over all images of a call before the next one
// does, so that its weights are read from memory once a call. With one image a time the blocked
// layouts (nChw16c) have channels outermost: what an operation writes to a concatenation is one
// piece of it, and concatenating costs nothing. Where oneDNN prefers channels innermost (nhwc), the
// pieces are copied into their places.
#include "kernels/graph.h"
#include "kernels/onednn/compat.h"

#include <omp.h>
#include <string.h>

enum { NONE = -1 };

// A tensor in one layout, in the memory of an image. `root`: the buffer in whose memory it lies,
// `shift` bytes from its start; a buffer with memory of its own is its own root.
typedef struct buffer {
    sr_dnnl_desc desc;
    size_t size, shift, offset; // bytes; offset: of a root in the image's arena
    int root;
    size_t born, dies; // of a root: the first and the last operation that touches it
    bool outside;      // the caller's memory
} buffer;

typedef struct operation {
    dnnl_primitive_t primitive;
    dnnl_memory_t weights, bias; // of a convolution, in memory of oneDNN's
    int from, to;                // buffers
    bool reorder;
} operation;

struct sr_graph {
    dnnl_engine_t engine;
    dnnl_data_type_t type;          // of everything between the input and the output
    const sr_graph_tensor *tensors; // with the nodes the caller's, while the graph is built
    const sr_graph_node *nodes;
    size_t node_count;
    int *homes; // (tensor_count) the buffer that holds a tensor; NONE while nothing has written it
    size_t *home_layouts; // (tensor_count) of those that several nodes write: indices of `layouts`
    buffer *buffers;
    size_t buffer_count, buffer_capacity;
    operation *operations;
    size_t operation_count, operation_capacity;
    int input, output;
    size_t input_floats, output_floats; // of an image
    size_t image_bytes, scratch_bytes;
};

struct sr_graph_state {
    const sr_graph *graph;
    size_t images;
    dnnl_stream_t stream;
    char *arena, *scratch;
    dnnl_memory_t *memory; // (images, buffer_count)
    dnnl_memory_t scratchpad;
};

// ---- building -----------------------------------------------------------------------------------

static void dims_of(const sr_graph_tensor *tensor, size_t channels, size_t dims[4]) {
    dims[0] = 1;
    dims[1] = channels;
    dims[2] = tensor->height;
    dims[3] = tensor->width;
}

// Takes over `desc`, also on failure. `root` NONE: with memory of its own.
static int buffer_add(sr_graph *g, sr_dnnl_desc *desc, int root, size_t shift) {
    if (g->buffer_count == g->buffer_capacity) {
        size_t capacity = g->buffer_capacity ? 2 * g->buffer_capacity : 64;
        buffer *grown = sr_realloc(g->buffers, g->buffer_capacity, capacity, sizeof *grown);
        if (!grown) {
            sr_dnnl_desc_clear(desc);
            return NONE;
        }
        g->buffers = grown;
        g->buffer_capacity = capacity;
    }
    int index = (int)g->buffer_count++;
    g->buffers[index] = (buffer){.desc = *desc,
                                 .size = sr_dnnl_desc_size(desc),
                                 .root = root == NONE ? index : root,
                                 .shift = shift,
                                 .born = SIZE_MAX};
    *desc = (sr_dnnl_desc){0};
    return index;
}

// What a primitive wants or gives at `query`, as a new buffer.
static int buffer_query(sr_graph *g, const_dnnl_primitive_desc_t primitive, dnnl_query_t query) {
    sr_dnnl_desc desc = {0};
    return sr_dnnl_desc_query(primitive, query, &desc) ? NONE : buffer_add(g, &desc, NONE, 0);
}

static int buffer_plain(sr_graph *g, const sr_graph_tensor *tensor) {
    sr_dnnl_desc desc = {0};
    size_t dims[4];
    dims_of(tensor, tensor->channels, dims);
    if (sr_dnnl_desc_make(dnnl_f32, 4, dims, false, &desc))
        return NONE;
    int index = buffer_add(g, &desc, NONE, 0);
    if (index != NONE)
        g->buffers[index].outside = true;
    return index;
}

static void touch(sr_graph *g, int index, size_t when) {
    buffer *root = &g->buffers[g->buffers[index].root];
    root->born = when < root->born ? when : root->born;
    root->dies = when > root->dies ? when : root->dies;
}

static sr_status attributes_make(bool relu, dnnl_primitive_attr_t *out) {
    dnnl_post_ops_t fused = NULL;
    sr_status status = sr_dnnl_check(dnnl_primitive_attr_create(out), "attributes");
    if (!status)
        status = sr_dnnl_check(
            dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user), "scratchpad");
    if (!status && relu) {
        status = sr_dnnl_check(dnnl_post_ops_create(&fused), "post-ops");
        if (!status)
            status = sr_dnnl_append_activation(fused, SR_RELU);
        if (!status)
            status = sr_dnnl_check(dnnl_primitive_attr_set_post_ops(*out, fused), "post-ops");
        dnnl_post_ops_destroy(fused);
    }
    return status;
}

// Appends the primitive, which reads buffer `from` and writes `to`.
static sr_status operation_add(sr_graph *g, const_dnnl_primitive_desc_t desc, int from, int to) {
    sr_dnnl_desc scratch = {0};
    if (from == NONE || to == NONE)
        return SR_ERROR_LIBRARY; // recorded where it happened
    sr_status status = sr_dnnl_desc_query(desc, dnnl_query_scratchpad_md, &scratch);
    if (status)
        return status;
    size_t bytes = sr_dnnl_desc_size(&scratch);
    sr_dnnl_desc_clear(&scratch);
    g->scratch_bytes = bytes > g->scratch_bytes ? bytes : g->scratch_bytes;
    if (g->operation_count == g->operation_capacity) {
        size_t capacity = g->operation_capacity ? 2 * g->operation_capacity : 128;
        operation *grown =
            sr_realloc(g->operations, g->operation_capacity, capacity, sizeof *grown);
        if (!grown)
            return SR_ERROR_MEMORY;
        g->operations = grown;
        g->operation_capacity = capacity;
    }
    touch(g, from, g->operation_count);
    touch(g, to, g->operation_count);
    operation *o = &g->operations[g->operation_count++];
    *o = (operation){.from = from, .to = to};
    return sr_dnnl_check(dnnl_primitive_create(&o->primitive, desc), "primitive");
}

static sr_status reorder_add(sr_graph *g, int from, int to) {
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    if (from == NONE || to == NONE)
        return SR_ERROR_LIBRARY;
    sr_status status = attributes_make(false, &attributes);
    if (!status)
        status = sr_dnnl_reorder_create(g->engine, &g->buffers[from].desc, &g->buffers[to].desc,
                                        attributes, &desc);
    if (!status)
        status = operation_add(g, desc, from, to);
    if (!status)
        g->operations[g->operation_count - 1].reorder = true;
    dnnl_primitive_desc_destroy(desc);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

// The buffer `from` as the primitive wants its source: itself where the layout fits, else one
// behind a reorder, which those that want the same share.
static int source_as(sr_graph *g, int from, const_dnnl_primitive_desc_t primitive) {
    sr_dnnl_desc wanted = {0};
    if (from == NONE || sr_dnnl_desc_query(primitive, dnnl_query_src_md, &wanted))
        return NONE;
    int found = NONE;
    if (sr_dnnl_desc_equal(&g->buffers[from].desc, &wanted))
        found = from;
    for (size_t i = 0; found == NONE && i < g->operation_count; i++) {
        const operation *o = &g->operations[i];
        if (o->reorder && o->from == from && sr_dnnl_desc_equal(&g->buffers[o->to].desc, &wanted))
            found = o->to;
    }
    if (found != NONE) {
        sr_dnnl_desc_clear(&wanted);
        return found;
    }
    found = buffer_add(g, &wanted, NONE, 0);
    return reorder_add(g, from, found) ? NONE : found;
}

// Layouts in which several nodes may write one tensor: `block` channels lie side by side, or all of
// them where it is 0. In the others what one node writes is one piece.
static const struct {
    dnnl_format_tag_t tag;
    size_t block;
} layouts[] = {{dnnl_nChw16c, 16}, {dnnl_nChw8c, 8}, {dnnl_nhwc, 0}, {dnnl_nchw, 1}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

// Whether every node that writes the tensor writes whole blocks of it.
static bool is_aligned(const sr_graph *g, size_t tensor, size_t block) {
    for (size_t i = 0; i < g->node_count && block > 1; i++) {
        const sr_graph_node *node = &g->nodes[i];
        if (node->to == tensor && (node->first % block != 0 || node->channels % block != 0))
            return false;
    }
    return true;
}

// Whether buffer `index` has the layout's form for so many channels of the tensor.
static bool has_layout(const sr_graph *g, int index, const sr_graph_tensor *tensor, size_t channels,
                       size_t layout) {
    sr_dnnl_desc desc = {0};
    size_t dims[4];
    dims_of(tensor, channels, dims);
    bool same = sr_dnnl_desc_tagged(g->type, 4, dims, layouts[layout].tag, &desc) == SR_OK &&
                sr_dnnl_desc_equal(&g->buffers[index].desc, &desc);
    sr_dnnl_desc_clear(&desc);
    return same;
}

// The home of a tensor that several nodes write, in the layout of the first one's result `raw`
// where that will do for all.
static sr_status home_make(sr_graph *g, const sr_graph_node *node, int raw) {
    const sr_graph_tensor *to = &g->tensors[node->to];
    sr_dnnl_desc desc = {0};
    size_t dims[4], layout = 0;
    while (layout + 1 < LAYOUTS && !(is_aligned(g, node->to, layouts[layout].block) &&
                                     has_layout(g, raw, to, node->channels, layout)))
        layout++;
    dims_of(to, to->channels, dims);
    sr_status status = sr_dnnl_desc_tagged(g->type, 4, dims, layouts[layout].tag, &desc);
    if (status)
        return status;
    g->homes[node->to] = buffer_add(g, &desc, NONE, 0);
    g->home_layouts[node->to] = layout;
    return g->homes[node->to] == NONE ? SR_ERROR_MEMORY : SR_OK;
}

// A node's result `raw` in its place in a tensor that several nodes write: as a piece of it, or to
// be copied to *view.
static sr_status place(sr_graph *g, const sr_graph_node *node, int raw, int *view) {
    const sr_graph_tensor *to = &g->tensors[node->to];
    sr_status status = g->homes[node->to] == NONE ? home_make(g, node, raw) : SR_OK;
    if (status)
        return status;
    const int home = g->homes[node->to];
    const size_t layout = g->home_layouts[node->to];
    if (layouts[layout].block && has_layout(g, raw, to, node->channels, layout)) {
        g->buffers[raw].root = home;
        g->buffers[raw].shift =
            node->first * to->height * to->width * (g->type == dnnl_bf16 ? 2 : 4);
        return SR_OK;
    }
    sr_dnnl_desc desc = {0};
    size_t dims[4];
    dims_of(to, node->channels, dims);
    status = sr_dnnl_desc_channels(&g->buffers[home].desc, dims, node->first, &desc);
    if (!status)
        *view = buffer_add(g, &desc, home, 0);
    return !status && *view == NONE ? SR_ERROR_MEMORY : status;
}

// `values`, dense and row-major, as oneDNN memory in the layout `wanted`.
static sr_status pack(const sr_graph *g, size_t rank, const size_t *dims, const float *values,
                      const sr_dnnl_desc *wanted, dnnl_memory_t *out) {
    sr_dnnl_desc plain = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL;
    dnnl_stream_t stream = NULL;
    sr_status status = sr_dnnl_desc_make(dnnl_f32, rank, dims, false, &plain);
    if (!status) // oneDNN only reads it
        status = sr_dnnl_memory_create(g->engine, &plain, (void *)(uintptr_t)values, &from);
    if (!status)
        status = sr_dnnl_memory_create(g->engine, wanted, DNNL_MEMORY_ALLOCATE, out);
    if (!status)
        status = sr_dnnl_reorder_create(g->engine, &plain, wanted, NULL, &desc);
    if (!status)
        status = sr_dnnl_check(dnnl_primitive_create(&primitive, desc), "primitive");
    if (!status)
        status = sr_dnnl_check(dnnl_stream_create(&stream, g->engine, dnnl_stream_default_flags),
                               "stream");
    if (!status) {
        const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, *out}};
        status = sr_dnnl_check(dnnl_primitive_execute(primitive, stream, 2, arguments), "reorder");
    }
    if (!status)
        status = sr_dnnl_check(dnnl_stream_wait(stream), "stream");
    dnnl_stream_destroy(stream);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(from);
    sr_dnnl_desc_clear(&plain);
    return status;
}

static void weights_dims(const sr_graph *g, const sr_graph_node *node, size_t dims[4]) {
    dims[0] = node->channels;
    dims[1] = g->tensors[node->from].channels;
    dims[2] = node->kernel_height;
    dims[3] = node->kernel_width;
}

static sr_status convolution_make(const sr_graph *g, const sr_graph_node *node,
                                  dnnl_primitive_desc_t *out) {
    sr_dnnl_desc src = {0}, weights = {0}, bias = {0}, dst = {0};
    dnnl_primitive_attr_t attributes = NULL;
    size_t in[4], kernel[4], result[4];
    dims_of(&g->tensors[node->from], g->tensors[node->from].channels, in);
    dims_of(&g->tensors[node->to], node->channels, result);
    weights_dims(g, node, kernel);
    sr_status status = sr_dnnl_desc_make(g->type, 4, in, true, &src);
    if (!status)
        status = sr_dnnl_desc_make(g->type, 4, kernel, true, &weights);
    if (!status)
        status = sr_dnnl_desc_make(dnnl_f32, 1, &node->channels, false, &bias);
    if (!status)
        status = sr_dnnl_desc_make(g->type, 4, result, true, &dst);
    if (!status)
        status = attributes_make(true, &attributes);
    if (!status) {
        sr_dnnl_layer layer = {.stride = node->stride,
                               .padding_height = node->padding_height,
                               .padding_width = node->padding_width,
                               .direction = SR_DNNL_FORWARD,
                               .src = &src,
                               .weights = &weights,
                               .bias = &bias,
                               .dst = &dst,
                               .attributes = attributes};
        status = sr_dnnl_layer_create(g->engine, &layer, out);
    }
    dnnl_primitive_attr_destroy(attributes);
    sr_dnnl_desc_clear(&src);
    sr_dnnl_desc_clear(&weights);
    sr_dnnl_desc_clear(&bias);
    sr_dnnl_desc_clear(&dst);
    return status;
}

static sr_status pool_make(const sr_graph *g, const sr_graph_node *node,
                           dnnl_primitive_desc_t *out) {
    sr_dnnl_desc dst = {0};
    dnnl_primitive_attr_t attributes = NULL;
    size_t result[4];
    dims_of(&g->tensors[node->to], node->channels, result);
    sr_status status = sr_dnnl_desc_make(g->type, 4, result, true, &dst);
    if (!status)
        status = attributes_make(false, &attributes);
    if (!status) {
        sr_dnnl_pool pool = {.kind = node->kind == SR_GRAPH_MAX_POOL
                                         ? dnnl_pooling_max
                                         : dnnl_pooling_avg_exclude_padding,
                             .kernel = node->kernel_height,
                             .stride = node->stride,
                             .padding = node->padding_height,
                             .src = &g->buffers[g->homes[node->from]].desc,
                             .dst = &dst,
                             .attributes = attributes};
        status = sr_dnnl_pool_create(g->engine, &pool, out);
    }
    dnnl_primitive_attr_destroy(attributes);
    sr_dnnl_desc_clear(&dst);
    return status;
}

// Weights and bias of the operation just added.
static sr_status convolution_pack(sr_graph *g, const sr_graph_node *node,
                                  const_dnnl_primitive_desc_t primitive, const float *theta) {
    sr_dnnl_desc weights = {0}, bias = {0};
    operation *o = &g->operations[g->operation_count - 1];
    size_t dims[4];
    weights_dims(g, node, dims);
    sr_status status = sr_dnnl_desc_query(primitive, dnnl_query_weights_md, &weights);
    if (!status)
        status = sr_dnnl_desc_make(dnnl_f32, 1, &node->channels, false, &bias);
    if (!status)
        status = pack(g, 4, dims, theta + node->weights, &weights, &o->weights);
    if (!status)
        status = pack(g, 1, &node->channels, theta + node->bias, &bias, &o->bias);
    sr_dnnl_desc_clear(&weights);
    sr_dnnl_desc_clear(&bias);
    return status;
}

static sr_status node_add(sr_graph *g, const sr_graph_node *node, const float *theta) {
    dnnl_primitive_desc_t desc = NULL;
    bool convolution = node->kind == SR_GRAPH_CONVOLUTION;
    sr_status status = convolution ? convolution_make(g, node, &desc) : pool_make(g, node, &desc);
    if (status)
        return status;
    int from = source_as(g, g->homes[node->from], desc);
    int target = buffer_query(g, desc, dnnl_query_dst_md), view = NONE;
    if (from == NONE || target == NONE)
        status = SR_ERROR_LIBRARY;
    else if (node->channels == g->tensors[node->to].channels)
        g->homes[node->to] = target;
    else
        status = place(g, node, target, &view);
    if (!status)
        status = operation_add(g, desc, from, target);
    if (!status && convolution)
        status = convolution_pack(g, node, desc, theta);
    if (!status && view != NONE)
        status = reorder_add(g, target, view);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

// Places the buffers in the arena of an image: each in the first gap that nothing else uses during
// its life.
static void arrange(sr_graph *g) {
    for (size_t i = 0; i < g->buffer_count; i++) {
        buffer *b = &g->buffers[i];
        if (b->root != (int)i || b->outside || b->born == SIZE_MAX)
            continue;
        size_t size = (b->size + SR_ALIGNMENT - 1) / SR_ALIGNMENT * SR_ALIGNMENT;
        b->size = size;
        for (size_t j = 0; j < i; j++) {
            const buffer *p = &g->buffers[j];
            if (p->root != (int)j || p->outside || p->born == SIZE_MAX || p->dies < b->born ||
                b->dies < p->born || p->offset >= b->offset + size ||
                b->offset >= p->offset + p->size)
                continue;
            b->offset = p->offset + p->size;
            j = SIZE_MAX; // and again from the first one
        }
        if (b->offset + size > g->image_bytes)
            g->image_bytes = b->offset + size;
    }
}

static sr_status build(sr_graph *g, size_t tensor_count, size_t output, const float *theta) {
    g->homes = sr_alloc(tensor_count, sizeof *g->homes);
    g->home_layouts = sr_alloc(tensor_count, sizeof *g->home_layouts);
    if (!g->homes || !g->home_layouts)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < tensor_count; i++)
        g->homes[i] = NONE;
    sr_status status = sr_dnnl_check(dnnl_engine_create(&g->engine, dnnl_cpu, 0), "engine");
    if (status)
        return status;
    g->input = g->homes[0] = buffer_plain(g, &g->tensors[0]);
    for (size_t i = 0; i < g->node_count && !status; i++)
        status = node_add(g, &g->nodes[i], theta);
    if (status)
        return status;
    g->output = buffer_plain(g, &g->tensors[output]);
    status = reorder_add(g, g->homes[output], g->output);
    arrange(g);
    return status;
}

sr_status sr_graph_create(const sr_graph_tensor *tensors, size_t tensor_count, size_t output,
                          const sr_graph_node *nodes, size_t node_count, sr_precision precision,
                          const float *theta, sr_graph **out) {
    *out = NULL;
    if (precision == SR_BF16X3 || !sr_precision_available(SR_ENGINE_ONEDNN, precision))
        return sr_fail(SR_ERROR_UNSUPPORTED, "engine 'onednn' does not compute in %s%s",
                       sr_precision_name(precision),
                       precision == SR_BF16 ? " without AVX-512" : "");
    sr_graph *g = sr_alloc(1, sizeof *g);
    if (!g)
        return SR_ERROR_MEMORY;
    const sr_graph_tensor *last = &tensors[output];
    g->type = precision == SR_BF16 ? dnnl_bf16 : dnnl_f32;
    g->tensors = tensors;
    g->nodes = nodes;
    g->node_count = node_count;
    g->input_floats = tensors[0].channels * tensors[0].height * tensors[0].width;
    g->output_floats = last->channels * last->height * last->width;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); // oneDNN plans for as many threads as it sees now
    sr_status status = build(g, tensor_count, output, theta);
    omp_set_num_threads(threads);
    g->tensors = NULL;
    g->nodes = NULL;
    if (status)
        sr_graph_destroy(g);
    else
        *out = g;
    return status;
}

void sr_graph_destroy(sr_graph *graph) {
    if (!graph)
        return;
    for (size_t i = 0; i < graph->operation_count; i++) {
        dnnl_primitive_destroy(graph->operations[i].primitive);
        dnnl_memory_destroy(graph->operations[i].weights);
        dnnl_memory_destroy(graph->operations[i].bias);
    }
    for (size_t i = 0; i < graph->buffer_count; i++)
        sr_dnnl_desc_clear(&graph->buffers[i].desc);
    dnnl_engine_destroy(graph->engine);
    sr_free(graph->operations);
    sr_free(graph->buffers);
    sr_free(graph->homes);
    sr_free(graph->home_layouts);
    sr_free(graph);
}

// ---- running ------------------------------------------------------------------------------------

// Memory objects of image `image`; those of the caller's memory get it when it is known.
static sr_status image_create(sr_graph_state *state, size_t image) {
    const sr_graph *g = state->graph;
    sr_status status = SR_OK;
    for (size_t i = 0; i < g->buffer_count && !status; i++) {
        const buffer *b = &g->buffers[i], *root = &g->buffers[b->root];
        char *at = state->arena + image * g->image_bytes + root->offset + b->shift;
        status = sr_dnnl_memory_create(g->engine, &b->desc,
                                       root->outside ? DNNL_MEMORY_NONE : (void *)at,
                                       &state->memory[image * g->buffer_count + i]);
    }
    return status;
}

static sr_status scratchpad_create(sr_graph_state *state) {
    // A flat tensor large enough for the greediest primitive serves all of them.
    size_t floats = state->graph->scratch_bytes / sizeof(float) + 1;
    sr_dnnl_desc desc = {0};
    state->scratch = sr_alloc(floats, sizeof(float));
    sr_status status =
        state->scratch ? sr_dnnl_desc_make(dnnl_f32, 1, &floats, false, &desc) : SR_ERROR_MEMORY;
    if (!status)
        status =
            sr_dnnl_memory_create(state->graph->engine, &desc, state->scratch, &state->scratchpad);
    sr_dnnl_desc_clear(&desc);
    return status;
}

sr_status sr_graph_state_create(const sr_graph *graph, size_t images, sr_graph_state **out) {
    *out = NULL;
    sr_graph_state *state = sr_alloc(1, sizeof *state);
    if (!state)
        return SR_ERROR_MEMORY;
    state->graph = graph;
    state->images = images;
    state->arena = sr_alloc(images, graph->image_bytes);
    state->memory = sr_alloc(images, graph->buffer_count * sizeof *state->memory);
    sr_status status = state->arena && state->memory ? SR_OK : SR_ERROR_MEMORY;
    if (!status)
        status = sr_dnnl_check(
            dnnl_stream_create(&state->stream, graph->engine, dnnl_stream_default_flags), "stream");
    if (!status)
        status = scratchpad_create(state);
    for (size_t i = 0; i < images && !status; i++)
        status = image_create(state, i);
    if (status)
        sr_graph_state_destroy(state);
    else
        *out = state;
    return status;
}

void sr_graph_state_destroy(sr_graph_state *state) {
    if (!state)
        return;
    for (size_t i = 0; state->memory && i < state->images * state->graph->buffer_count; i++)
        dnnl_memory_destroy(state->memory[i]);
    dnnl_memory_destroy(state->scratchpad);
    dnnl_stream_destroy(state->stream);
    sr_free(state->memory);
    sr_free(state->arena);
    sr_free(state->scratch);
    sr_free(state);
}

static sr_status operation_run(const operation *o, sr_graph_state *state, size_t image) {
    dnnl_memory_t *memory = state->memory + image * state->graph->buffer_count;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, memory[o->from]}, // DNNL_ARG_FROM is equal
                                         {DNNL_ARG_DST, memory[o->to]},   // so is DNNL_ARG_TO
                                         {DNNL_ARG_SCRATCHPAD, state->scratchpad},
                                         {DNNL_ARG_WEIGHTS, o->weights},
                                         {DNNL_ARG_BIAS, o->bias}};
    int count = o->weights ? 5 : 3;
    return sr_dnnl_check(dnnl_primitive_execute(o->primitive, state->stream, count, arguments),
                         "execution");
}

sr_status sr_graph_run(const sr_graph *graph, sr_graph_state *state, size_t n, const float *x,
                       float *out) {
    // The primitives were made for one thread and must run in one, also outside of a parallel
    // region.
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    sr_status status = SR_OK;
    for (size_t i = 0; i < n && !status; i++) {
        dnnl_memory_t *memory = state->memory + i * graph->buffer_count;
        // oneDNN only reads the input
        void *from = (void *)(uintptr_t)(x + i * graph->input_floats);
        status = sr_dnnl_check(dnnl_memory_set_data_handle(memory[graph->input], from), "memory");
        if (!status)
            status = sr_dnnl_check(
                dnnl_memory_set_data_handle(memory[graph->output], out + i * graph->output_floats),
                "memory");
    }
    for (size_t o = 0; o < graph->operation_count && !status; o++)
        for (size_t i = 0; i < n && !status; i++)
            status = operation_run(&graph->operations[o], state, i);
    omp_set_num_threads(threads);
    return status;
}
