// A feed-forward graph of convolutions and pools over images, prepared for execution: what networks
// with branches run on, where a chain (chain.h) is not enough. Forward only, on oneDNN only; a
// build without oneDNN says so when one is created. It knows operations, not what they are for.
#ifndef SR_KERNELS_GRAPH_H
#define SR_KERNELS_GRAPH_H

#include <shortrun/kernels.h>

typedef struct sr_graph_tensor {
    size_t channels, height, width;
} sr_graph_tensor;

typedef enum sr_graph_kind {
    SR_GRAPH_CONVOLUTION, // with bias, and max(0, .) behind
    SR_GRAPH_MAX_POOL,
    SR_GRAPH_MEAN_POOL // the mean of those values under the window that are not padding
} sr_graph_kind;

// One operation: reads tensor `from`, writes the channels first .. first + channels - 1 of tensor
// `to`. Several that write parts of one tensor make a concatenation.
typedef struct sr_graph_node {
    sr_graph_kind kind;
    size_t from, to;
    size_t first, channels;
    size_t kernel_height, kernel_width, stride; // a pool's window is square: kernel_height
    size_t padding_height, padding_width;       // zeros on either side
    size_t weights; // offset in theta of (channels, channels of `from`, kernel height, width)
    size_t bias;    // offset in theta of (channels)
} sr_graph_node;

// Immutable once created; any number of threads may run it, each with its own state.
typedef struct sr_graph sr_graph;
typedef struct sr_graph_state sr_graph_state;

// Tensor 0 is the input, `output` is the output; nodes come in an order in which they can run, and
// together write every channel of every other tensor once. theta is not kept. Precision fp32, or
// bf16: operands and results of operations are bfloat16, sums are fp32. Errors:
// SR_ERROR_UNSUPPORTED for another precision, one that this CPU lacks, and a build without oneDNN.
sr_status sr_graph_create(const sr_graph_tensor *tensors, size_t tensor_count, size_t output,
                          const sr_graph_node *nodes, size_t node_count, sr_precision precision,
                          const float *theta, sr_graph **out);
void sr_graph_destroy(sr_graph *graph);

// Memory for at most `images` at a time.
sr_status sr_graph_state_create(const sr_graph *graph, size_t images, sr_graph_state **out);
void sr_graph_state_destroy(sr_graph_state *state);

// x (n, input) -> out (n, output), both float32 (channels, height, width) each; n <= images of the
// state. Runs in the calling thread; the bits for an image depend neither on its neighbours nor on
// n. Allocates nothing of its own; an error of oneDNN's is SR_ERROR_LIBRARY.
sr_status sr_graph_run(const sr_graph *graph, sr_graph_state *state, size_t n, const float *x,
                       float *out);

#endif
