// Graphs of convolutions and pools against plain loops in double: concatenations whose parts are
// whole blocks of oneDNN's layouts and parts that are not, both pools, strides, one-sided kernels;
// the same bits for an image alone and among others; refusals.
#include "kernels/graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 3, TENSORS = 6, NODES = 8 };

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

// A graph of the test, its parameters and its images.
typedef struct network {
    sr_graph_tensor tensors[TENSORS];
    sr_graph_node nodes[NODES];
    size_t parameters;
    float *theta, *x; // (parameters), (IMAGES, input)
} network;

static size_t floats(const sr_graph_tensor *t) {
    return t->channels * t->height * t->width;
}

// The input, one convolution, a concatenation of a and b channels and a pool of 16, a mean pool of
// it, a convolution with stride 2, and the output: two convolutions of c and d channels.
static network network_make(size_t a, size_t b, size_t c, size_t d) {
    network net = {
        .tensors = {{3, 11, 9},
                    {16, 11, 9},
                    {a + b + 16, 11, 9},
                    {a + b + 16, 11, 9},
                    {24, 5, 4},
                    {c + d, 5, 4}},
        .nodes = {{SR_GRAPH_CONVOLUTION, 0, 1, 0, 16, 3, 3, 1, 1, 1, 0, 0},
                  {SR_GRAPH_CONVOLUTION, 1, 2, 0, a, 1, 1, 1, 0, 0, 0, 0},
                  {SR_GRAPH_CONVOLUTION, 1, 2, a, b, 1, 3, 1, 0, 1, 0, 0},
                  {SR_GRAPH_MAX_POOL, 1, 2, a + b, 16, 3, 3, 1, 1, 1, 0, 0},
                  {SR_GRAPH_MEAN_POOL, 2, 3, 0, a + b + 16, 3, 3, 1, 1, 1, 0, 0},
                  {SR_GRAPH_CONVOLUTION, 3, 4, 0, 24, 3, 3, 2, 0, 0, 0, 0},
                  {SR_GRAPH_CONVOLUTION, 4, 5, 0, c, 3, 1, 1, 1, 0, 0, 0},
                  {SR_GRAPH_CONVOLUTION, 4, 5, c, d, 1, 1, 1, 0, 0, 0, 0}},
    };
    return net;
}

static void network_fill(network *net) {
    for (size_t i = 0; i < NODES; i++) {
        sr_graph_node *node = &net->nodes[i];
        if (node->kind != SR_GRAPH_CONVOLUTION)
            continue;
        node->weights = net->parameters;
        node->bias = node->weights + node->channels * net->tensors[node->from].channels *
                                         node->kernel_height * node->kernel_width;
        net->parameters = node->bias + node->channels;
    }
    size_t inputs = IMAGES * floats(&net->tensors[0]);
    net->theta = sr_alloc(net->parameters, sizeof(float));
    net->x = sr_alloc(inputs, sizeof(float));
    assert_non_null(net->theta);
    assert_non_null(net->x);
    sr_stream stream = sr_stream_make(7, SR_PURPOSE_TEST, 0);
    sr_kernels_get()->normal(stream, 0, 0, net->parameters, net->theta);
    sr_kernels_get()->normal(stream, 1, 0, inputs, net->x);
    for (size_t i = 0; i < net->parameters; i++)
        net->theta[i] *= 0.2f;
}

// One value of a node's result, from its whole input in double.
static double node_value(const network *net, const sr_graph_node *node, const double *in, size_t o,
                         size_t row, size_t column) {
    const sr_graph_tensor *from = &net->tensors[node->from];
    const bool convolution = node->kind == SR_GRAPH_CONVOLUTION;
    double sum = convolution ? net->theta[node->bias + o] : 0, largest = -INFINITY, count = 0;
    for (size_t c = convolution ? 0 : o; c < (convolution ? from->channels : o + 1); c++)
        for (size_t i = 0; i < node->kernel_height; i++)
            for (size_t j = 0; j < node->kernel_width; j++) {
                size_t y = row * node->stride + i - node->padding_height; // wraps below 0
                size_t x = column * node->stride + j - node->padding_width;
                if (y >= from->height || x >= from->width)
                    continue;
                double value = in[(c * from->height + y) * from->width + x];
                size_t at =
                    ((o * from->channels + c) * node->kernel_height + i) * node->kernel_width + j;
                sum += convolution ? value * net->theta[node->weights + at] : value;
                largest = fmax(largest, value);
                count++;
            }
    if (convolution)
        return fmax(sum, 0);
    return node->kind == SR_GRAPH_MAX_POOL ? largest : sum / count;
}

// values[t] (tensor t) of one image.
static void reference(const network *net, const float *x, double *const *values) {
    for (size_t i = 0; i < floats(&net->tensors[0]); i++)
        values[0][i] = x[i];
    for (size_t k = 0; k < NODES; k++) {
        const sr_graph_node *node = &net->nodes[k];
        const sr_graph_tensor *to = &net->tensors[node->to];
        for (size_t o = 0; o < node->channels; o++)
            for (size_t row = 0; row < to->height; row++)
                for (size_t column = 0; column < to->width; column++)
                    values[node->to][((node->first + o) * to->height + row) * to->width + column] =
                        node_value(net, node, values[node->from], o, row, column);
    }
}

static void compare(const network *net, const float *out, double bound) {
    double *values[TENSORS], scale = 0, error = 0;
    const size_t each = floats(&net->tensors[TENSORS - 1]);
    for (size_t t = 0; t < TENSORS; t++) {
        values[t] = sr_alloc(floats(&net->tensors[t]), sizeof(double));
        assert_non_null(values[t]);
    }
    for (size_t i = 0; i < IMAGES; i++) {
        reference(net, net->x + i * floats(&net->tensors[0]), values);
        for (size_t k = 0; k < each; k++) {
            scale = fmax(scale, fabs(values[TENSORS - 1][k]));
            error = fmax(error, fabs(values[TENSORS - 1][k] - out[i * each + k]));
        }
    }
    assert_true(scale > 0.1);
    if (!(error <= bound * scale))
        fail_msg("error %g of %g, bound %g", error, scale, bound);
    for (size_t t = 0; t < TENSORS; t++)
        sr_free(values[t]);
}

static void check(size_t a, size_t b, size_t c, size_t d, sr_precision precision, double bound) {
    network net = network_make(a, b, c, d);
    sr_graph *graph;
    sr_graph_state *state;
    network_fill(&net);
    must(sr_graph_create(net.tensors, TENSORS, TENSORS - 1, net.nodes, NODES, precision, net.theta,
                         &graph));
    must(sr_graph_state_create(graph, IMAGES, &state));
    const size_t inputs = floats(&net.tensors[0]), each = floats(&net.tensors[TENSORS - 1]);
    float *out = sr_alloc(IMAGES * each, sizeof(float)), *alone = sr_alloc(each, sizeof(float));
    assert_non_null(out);
    assert_non_null(alone);
    must(sr_graph_run(graph, state, IMAGES, net.x, out));
    compare(&net, out, bound);
    for (size_t i = 0; i < IMAGES; i++) {
        must(sr_graph_run(graph, state, 1, net.x + i * inputs, alone));
        assert_memory_equal(alone, out + i * each, each * sizeof(float));
    }
    sr_free(out);
    sr_free(alone);
    sr_free(net.theta);
    sr_free(net.x);
    sr_graph_state_destroy(state);
    sr_graph_destroy(graph);
}

static const size_t channels[][4] = {{16, 32, 16, 16}, {8, 24, 8, 16}, {5, 7, 3, 4},
                                     {16, 5, 32, 1},   {1, 1, 1, 1},   {48, 16, 13, 16}};
enum { SHAPES = sizeof channels / sizeof *channels };

static void in_fp32(void **state) {
    if (!sr_engine_available(SR_ENGINE_ONEDNN))
        skip();
    for (size_t i = 0; i < SHAPES; i++)
        check(channels[i][0], channels[i][1], channels[i][2], channels[i][3], SR_FP32, 1e-5);
}

static void in_bf16(void **state) {
    if (!sr_engine_available(SR_ENGINE_ONEDNN) ||
        !sr_precision_available(SR_ENGINE_ONEDNN, SR_BF16))
        skip();
    for (size_t i = 0; i < SHAPES; i++)
        check(channels[i][0], channels[i][1], channels[i][2], channels[i][3], SR_BF16, 3e-2);
}

static void refusals(void **state) {
    network net = network_make(16, 16, 16, 16);
    sr_graph *graph = (sr_graph *)&net;
    network_fill(&net);
    assert_int_equal(sr_graph_create(net.tensors, TENSORS, TENSORS - 1, net.nodes, NODES, SR_BF16X3,
                                     net.theta, &graph),
                     SR_ERROR_UNSUPPORTED);
    assert_null(graph);
    if (!sr_engine_available(SR_ENGINE_ONEDNN)) {
        assert_int_equal(sr_graph_create(net.tensors, TENSORS, TENSORS - 1, net.nodes, NODES,
                                         SR_FP32, net.theta, &graph),
                         SR_ERROR_UNSUPPORTED);
        assert_non_null(strstr(sr_error_message(), "oneDNN"));
    } else { // a shape that cannot be: the stride-2 convolution gives 5 x 4, not 6 x 4
        net.tensors[4].height = net.tensors[5].height = 6;
        assert_int_not_equal(sr_graph_create(net.tensors, TENSORS, TENSORS - 1, net.nodes, NODES,
                                             SR_FP32, net.theta, &graph),
                             SR_OK);
        assert_null(graph);
    }
    sr_graph_destroy(NULL);
    sr_graph_state_destroy(NULL);
    sr_free(net.theta);
    sr_free(net.x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_fp32),
        cmocka_unit_test(in_bf16),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
