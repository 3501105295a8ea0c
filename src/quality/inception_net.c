// Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567) as the Frechet inception distance uses it:
// the network of 2015-12-05 that TensorFlow published, in the form and with the names of
// pytorch-fid's port. It differs from torchvision's in that its mean pools do not count the
// padding, in a maximum pool in its last block, and in 1008 classes. Every convolution has a batch
// norm and a ReLU behind it and no bias; the norm is folded into the weights when they are loaded.
#include "quality/inception.h"

#include <assert.h>
#include <stdio.h>

// Kernel, stride and padding of a convolution.
typedef struct window {
    size_t height, width, stride, padding_height, padding_width;
} window;

static const window by1 = {1, 1, 1, 0, 0}, by3 = {3, 3, 1, 1, 1}, by5 = {5, 5, 1, 2, 2};
static const window by3_valid = {3, 3, 1, 0, 0}, by3_half = {3, 3, 2, 0, 0};
static const window row3 = {1, 3, 1, 0, 1}, column3 = {3, 1, 1, 1, 0};
static const window row7 = {1, 7, 1, 0, 3}, column7 = {7, 1, 1, 3, 0};

static size_t tensor_add(sr_inception_net *net, size_t channels, size_t height, size_t width) {
    assert(net->tensor_count < SR_INCEPTION_TENSORS);
    net->tensors[net->tensor_count] = (sr_graph_tensor){channels, height, width};
    return net->tensor_count++;
}

static size_t out_size(size_t in, size_t kernel, size_t stride, size_t padding) {
    return (in + 2 * padding - kernel) / stride + 1;
}

// Room for the result of a window that slides over tensor `from`.
static size_t tensor_behind(sr_inception_net *net, size_t from, size_t channels, window w) {
    const sr_graph_tensor *in = &net->tensors[from];
    return tensor_add(net, channels, out_size(in->height, w.height, w.stride, w.padding_height),
                      out_size(in->width, w.width, w.stride, w.padding_width));
}

static sr_graph_node *node_add(sr_inception_net *net, sr_graph_kind kind, size_t from, size_t to,
                               size_t first, size_t channels, window w) {
    assert(net->node_count < SR_INCEPTION_NODES);
    sr_graph_node *node = &net->nodes[net->node_count++];
    *node = (sr_graph_node){.kind = kind,
                            .from = from,
                            .to = to,
                            .first = first,
                            .channels = channels,
                            .kernel_height = w.height,
                            .kernel_width = w.width,
                            .stride = w.stride,
                            .padding_height = w.padding_height,
                            .padding_width = w.padding_width};
    return node;
}

// A convolution into the channels of `to` from *first on, which moves behind them.
static void join(sr_inception_net *net, const char *block, const char *name, size_t from, size_t to,
                 size_t *first, size_t channels, window w) {
    sr_graph_node *node = node_add(net, SR_GRAPH_CONVOLUTION, from, to, *first, channels, w);
    snprintf(net->names[net->node_count - 1], sizeof net->names[0], "%s%s%s", block,
             *block ? "." : "", name);
    node->weights = net->parameters;
    node->bias = node->weights + channels * net->tensors[from].channels * w.height * w.width;
    net->parameters = node->bias + channels;
    net->convolution_count++;
    *first += channels;
}

// A convolution into a tensor of its own.
static size_t conv(sr_inception_net *net, const char *block, const char *name, size_t from,
                   size_t channels, window w) {
    size_t to = tensor_behind(net, from, channels, w), first = 0;
    join(net, block, name, from, to, &first, channels, w);
    return to;
}

// 3x3 pools: with stride 1 and padding in front of a branch's convolution, or into a concatenation.
static size_t pool(sr_inception_net *net, sr_graph_kind kind, size_t from, window w) {
    size_t channels = net->tensors[from].channels, to = tensor_behind(net, from, channels, w);
    node_add(net, kind, from, to, 0, channels, w);
    return to;
}

// 35 x 35: 64 + 64 + 96 + pooled channels.
static size_t block_a(sr_inception_net *net, const char *name, size_t x, size_t pooled) {
    size_t to = tensor_behind(net, x, 224 + pooled, by1), first = 0, t;
    join(net, name, "branch1x1", x, to, &first, 64, by1);
    t = conv(net, name, "branch5x5_1", x, 48, by1);
    join(net, name, "branch5x5_2", t, to, &first, 64, by5);
    t = conv(net, name, "branch3x3dbl_1", x, 64, by1);
    t = conv(net, name, "branch3x3dbl_2", t, 96, by3);
    join(net, name, "branch3x3dbl_3", t, to, &first, 96, by3);
    t = pool(net, SR_GRAPH_MEAN_POOL, x, by3);
    join(net, name, "branch_pool", t, to, &first, pooled, by1);
    return to;
}

// 35 x 35 -> 17 x 17.
static size_t block_b(sr_inception_net *net, const char *name, size_t x) {
    size_t channels = net->tensors[x].channels, first = 0, t;
    size_t to = tensor_behind(net, x, 384 + 96 + channels, by3_half);
    join(net, name, "branch3x3", x, to, &first, 384, by3_half);
    t = conv(net, name, "branch3x3dbl_1", x, 64, by1);
    t = conv(net, name, "branch3x3dbl_2", t, 96, by3);
    join(net, name, "branch3x3dbl_3", t, to, &first, 96, by3_half);
    node_add(net, SR_GRAPH_MAX_POOL, x, to, first, channels, by3_half);
    return to;
}

// 17 x 17, `narrow` channels within its 7x7 branches.
static size_t block_c(sr_inception_net *net, const char *name, size_t x, size_t narrow) {
    size_t to = tensor_behind(net, x, 4 * 192, by1), first = 0, t;
    join(net, name, "branch1x1", x, to, &first, 192, by1);
    t = conv(net, name, "branch7x7_1", x, narrow, by1);
    t = conv(net, name, "branch7x7_2", t, narrow, row7);
    join(net, name, "branch7x7_3", t, to, &first, 192, column7);
    t = conv(net, name, "branch7x7dbl_1", x, narrow, by1);
    t = conv(net, name, "branch7x7dbl_2", t, narrow, column7);
    t = conv(net, name, "branch7x7dbl_3", t, narrow, row7);
    t = conv(net, name, "branch7x7dbl_4", t, narrow, column7);
    join(net, name, "branch7x7dbl_5", t, to, &first, 192, row7);
    t = pool(net, SR_GRAPH_MEAN_POOL, x, by3);
    join(net, name, "branch_pool", t, to, &first, 192, by1);
    return to;
}

// 17 x 17 -> 8 x 8.
static size_t block_d(sr_inception_net *net, const char *name, size_t x) {
    size_t channels = net->tensors[x].channels, first = 0, t;
    size_t to = tensor_behind(net, x, 320 + 192 + channels, by3_half);
    t = conv(net, name, "branch3x3_1", x, 192, by1);
    join(net, name, "branch3x3_2", t, to, &first, 320, by3_half);
    t = conv(net, name, "branch7x7x3_1", x, 192, by1);
    t = conv(net, name, "branch7x7x3_2", t, 192, row7);
    t = conv(net, name, "branch7x7x3_3", t, 192, column7);
    join(net, name, "branch7x7x3_4", t, to, &first, 192, by3_half);
    node_add(net, SR_GRAPH_MAX_POOL, x, to, first, channels, by3_half);
    return to;
}

// 8 x 8: 320 + 2 x 384 + 2 x 384 + 192 channels.
static size_t block_e(sr_inception_net *net, const char *name, size_t x, sr_graph_kind pooling) {
    size_t to = tensor_behind(net, x, SR_INCEPTION_FEATURES, by1), first = 0, t;
    join(net, name, "branch1x1", x, to, &first, 320, by1);
    t = conv(net, name, "branch3x3_1", x, 384, by1);
    join(net, name, "branch3x3_2a", t, to, &first, 384, row3);
    join(net, name, "branch3x3_2b", t, to, &first, 384, column3);
    t = conv(net, name, "branch3x3dbl_1", x, 448, by1);
    t = conv(net, name, "branch3x3dbl_2", t, 384, by3);
    join(net, name, "branch3x3dbl_3a", t, to, &first, 384, row3);
    join(net, name, "branch3x3dbl_3b", t, to, &first, 384, column3);
    t = pool(net, pooling, x, by3);
    join(net, name, "branch_pool", t, to, &first, 192, by1);
    return to;
}

void sr_inception_describe(sr_inception_net *net) {
    *net = (sr_inception_net){0};
    size_t x = tensor_add(net, 3, SR_INCEPTION_SIZE, SR_INCEPTION_SIZE);
    x = conv(net, "", "Conv2d_1a_3x3", x, 32, by3_half);  // 149 x 149
    x = conv(net, "", "Conv2d_2a_3x3", x, 32, by3_valid); // 147 x 147
    x = conv(net, "", "Conv2d_2b_3x3", x, 64, by3);
    x = pool(net, SR_GRAPH_MAX_POOL, x, by3_half); // 73 x 73
    x = conv(net, "", "Conv2d_3b_1x1", x, 80, by1);
    x = conv(net, "", "Conv2d_4a_3x3", x, 192, by3_valid); // 71 x 71
    x = pool(net, SR_GRAPH_MAX_POOL, x, by3_half);         // 35 x 35
    x = block_a(net, "Mixed_5b", x, 32);
    x = block_a(net, "Mixed_5c", x, 64);
    x = block_a(net, "Mixed_5d", x, 64);
    x = block_b(net, "Mixed_6a", x); // 17 x 17
    x = block_c(net, "Mixed_6b", x, 128);
    x = block_c(net, "Mixed_6c", x, 160);
    x = block_c(net, "Mixed_6d", x, 160);
    x = block_c(net, "Mixed_6e", x, 192);
    x = block_d(net, "Mixed_7a", x); // 8 x 8
    x = block_e(net, "Mixed_7b", x, SR_GRAPH_MEAN_POOL);
    net->output = block_e(net, "Mixed_7c", x, SR_GRAPH_MAX_POOL);
    assert(net->convolution_count == SR_INCEPTION_CONVOLUTIONS);
}
