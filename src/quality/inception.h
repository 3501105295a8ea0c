// The inside of the Inception-v3 feature network: its table of operations, its weights, its inputs.
#ifndef SHORTRUN_QUALITY_INCEPTION_H
#define SHORTRUN_QUALITY_INCEPTION_H

#include <shortrun/quality.h>

#include "kernels/graph.h"

enum {
    SR_INCEPTION_CONVOLUTIONS = 94,
    SR_INCEPTION_NODES = 107, // with the pools
    SR_INCEPTION_TENSORS = 73,
    SR_INCEPTION_PIXELS = SR_INCEPTION_SIZE * SR_INCEPTION_SIZE,
    SR_INCEPTION_MAP = 8 * 8 // pixels of the last maps, whose means are the features
};

// The network as a graph. Node i, where it is a convolution, has the name names[i] in the file:
// tensors "<name>.conv.weight", "<name>.bn.weight" and so on.
typedef struct sr_inception_net {
    sr_graph_tensor tensors[SR_INCEPTION_TENSORS];
    sr_graph_node nodes[SR_INCEPTION_NODES];
    char names[SR_INCEPTION_NODES][40];
    size_t tensor_count, node_count, convolution_count, output;
    size_t parameters; // length of theta: weights and biases, batch norm folded in
} sr_inception_net;

void sr_inception_describe(sr_inception_net *net);

#define SR_INCEPTION_LARGEST 65536 // height and width of an image: far from any overflow

// Whether images of this shape can be its input; the error says what is wrong.
sr_status sr_inception_check(size_t channels, size_t height, size_t width);

// What a file of weights holds.
typedef struct sr_inception_weights {
    float *theta;         // (parameters)
    float *logits, *bias; // fc: (SR_INCEPTION_LOGITS, SR_INCEPTION_FEATURES), (SR_INCEPTION_LOGITS)
    char hash[33];        // of the values in the file
    char source_sha256[65]; // of the file that they were converted from; "" where not on record
} sr_inception_weights;

// Reads and checks everything: names, shapes, finite values, variances that are not negative.
sr_status sr_inception_weights_load(const sr_inception_net *net, const char *path,
                                    sr_inception_weights *out);
void sr_inception_weights_clear(sr_inception_weights *weights);

// From images of one size to the network's: for every row or column of the result the first of
// those that it is made from, and their weights.
typedef struct sr_taps {
    size_t count, widest; // results; most weights of one of them
    size_t *first, *used; // (count)
    double *weight;       // (count, widest)
} sr_taps;

typedef struct sr_resizer {
    sr_resize resize;
    size_t height, width;
    sr_taps rows, columns;
} sr_resizer;

sr_status sr_resizer_create(sr_resize resize, size_t height, size_t width, sr_resizer *out);
void sr_resizer_clear(sr_resizer *resizer);
size_t sr_resizer_scratch(const sr_resizer *resizer); // floats
// One image x (channels, height, width), channels 1 or 3, clamped to [-1, 1] -> out (3,
// SR_INCEPTION_SIZE, SR_INCEPTION_SIZE) as the network wants it.
void sr_resizer_run(const sr_resizer *resizer, size_t channels, const float *x, float *scratch,
                    float *out);

#endif
