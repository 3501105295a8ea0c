// Graphs in a build without oneDNN, which has nothing that runs them: creation says so.
#include "kernels/graph.h"

sr_status sr_graph_create(const sr_graph_tensor *tensors, size_t tensor_count, size_t output,
                          const sr_graph_node *nodes, size_t node_count, sr_precision precision,
                          const float *theta, sr_graph **out) {
    *out = NULL;
    return sr_fail(SR_ERROR_UNSUPPORTED,
                   "this network needs oneDNN, which this build of shortrun does not have (Debian: "
                   "libdnnl-dev, then meson setup -Donednn=enabled)");
}

void sr_graph_destroy(sr_graph *graph) {
}

sr_status sr_graph_state_create(const sr_graph *graph, size_t images, sr_graph_state **out) {
    *out = NULL;
    return sr_fail(SR_ERROR_UNSUPPORTED, "this build of shortrun does not have oneDNN");
}

void sr_graph_state_destroy(sr_graph_state *state) {
}

sr_status sr_graph_run(const sr_graph *graph, sr_graph_state *state, size_t n, const float *x,
                       float *out) {
    return sr_fail(SR_ERROR_UNSUPPORTED, "this build of shortrun does not have oneDNN");
}
