// The whole of a network in double, straight loops from top to bottom: what every engine is checked
// against, and what a reader may read first.
#include <shortrun/net.h>

#include "kernels/chain.h"

#include <string.h>

// What layer l leaves for the way back.
typedef struct layer_memory {
    double *x, *derivative, *gradient; // input; act'; gradient before the activation
} layer_memory;

static sr_status forward(const sr_net *net, const double *theta, size_t n, const double *x,
                         layer_memory *memory, double *out) {
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        size_t outputs = n * sr_layer_outputs(layer);
        memory[l].x = sr_alloc(n * sr_layer_inputs(layer), sizeof(double));
        memory[l].derivative = sr_alloc(outputs, sizeof(double));
        memory[l].gradient = sr_alloc(outputs, sizeof(double));
        if (!memory[l].x || !memory[l].derivative || !memory[l].gradient)
            return SR_ERROR_MEMORY;
        // `out` is large enough only for the last layer: `gradient` carries z and y on the way up
        memcpy(memory[l].x, l == 0 ? x : memory[l - 1].gradient,
               n * sr_layer_inputs(layer) * sizeof(double));
        double *z = memory[l].gradient;
        sr_conv_forward_scalar_f64(&layer->shape, n, memory[l].x, theta + layer->weight,
                                   theta + layer->bias, z);
        sr_activation_scalar_f64(layer->activation, outputs, z, z, memory[l].derivative);
    }
    if (out)
        memcpy(out, memory[net->layer_count - 1].gradient, n * net->outputs * sizeof(double));
    return SR_OK;
}

static void backward(const sr_net *net, const double *theta, size_t n, const double *seed,
                     layer_memory *memory, double *dx, double *dtheta) {
    for (size_t l = net->layer_count; l-- > 0;) {
        const sr_layer *layer = &net->layers[l];
        double *dz = memory[l].gradient; // holds dy; for the last layer the seed
        for (size_t i = 0; i < n * sr_layer_outputs(layer); i++) {
            double dy = l + 1 < net->layer_count ? dz[i] : seed ? seed[i] : 1.0;
            dz[i] = dy * memory[l].derivative[i];
        }
        if (dtheta)
            sr_conv_backward_weights_scalar_f64(&layer->shape, n, memory[l].x, dz,
                                                dtheta + layer->weight, dtheta + layer->bias);
        double *below = l > 0 ? memory[l - 1].gradient : dx;
        if (below)
            sr_conv_backward_data_scalar_f64(&layer->shape, n, dz, theta + layer->weight, below);
    }
}

sr_status sr_net_reference_f64(const sr_net *net, const double *theta, size_t n, const double *x,
                               const double *seed, double *out, double *dx, double *dtheta) {
    layer_memory memory[SR_MAX_LAYERS] = {0};
    sr_status status = forward(net, theta, n, x, memory, out);
    if (!status && (dx || dtheta))
        backward(net, theta, n, seed, memory, dx, dtheta);
    for (size_t l = 0; l < net->layer_count; l++) {
        sr_free(memory[l].x);
        sr_free(memory[l].derivative);
        sr_free(memory[l].gradient);
    }
    return status;
}
