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
        sr_activation_scalar_f64(layer->activation, outputs, z, z, memory[l].derivative, NULL);
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

// ---- Hessian-vector products --------------------------------------------------------------------

// What layer l leaves, with tangents in the direction v ("t").
typedef struct tangent_memory {
    double *y, *yt; // output; on the way back the gradient at it
    double *d, *dt; // act' and its tangent act'' zt
} tangent_memory;

static sr_status tangent_forward(const sr_net *net, const double *theta, size_t n, const double *x,
                                 const double *v, tangent_memory *memory) {
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        tangent_memory *own = &memory[l];
        const size_t outputs = n * sr_layer_outputs(layer);
        double **const arrays[] = {&own->y, &own->yt, &own->d, &own->dt};
        for (size_t i = 0; i < 4; i++)
            if (!(*arrays[i] = sr_alloc(outputs, sizeof(double))))
                return SR_ERROR_MEMORY;
        sr_conv_forward_scalar_f64(&layer->shape, n, l ? own[-1].y : x, theta + layer->weight,
                                   theta + layer->bias, own->y);
        sr_conv_forward_scalar_f64(&layer->shape, n, l ? own[-1].yt : v, theta + layer->weight,
                                   NULL, own->yt);
        sr_activation_scalar_f64(layer->activation, outputs, own->y, own->y, own->d, own->dt);
        for (size_t i = 0; i < outputs; i++) {
            own->dt[i] *= own->yt[i];
            own->yt[i] *= own->d[i];
        }
    }
    return SR_OK;
}

static void tangent_backward(const sr_net *net, const double *theta, size_t n,
                             tangent_memory *memory, double *dx, double *hv) {
    for (size_t l = net->layer_count; l-- > 0;) {
        const sr_layer *layer = &net->layers[l];
        tangent_memory *own = &memory[l];
        const bool last = l + 1 == net->layer_count;
        for (size_t i = 0; i < n * sr_layer_outputs(layer); i++) {
            const double dy = last ? 1 : own->y[i], dyt = last ? 0 : own->yt[i];
            own->y[i] = dy * own->d[i];
            own->yt[i] = dyt * own->d[i] + dy * own->dt[i];
        }
        sr_conv_backward_data_scalar_f64(&layer->shape, n, own->y, theta + layer->weight,
                                         l ? own[-1].y : dx);
        sr_conv_backward_data_scalar_f64(&layer->shape, n, own->yt, theta + layer->weight,
                                         l ? own[-1].yt : hv);
    }
}

sr_status sr_net_reference_hessian_vector_f64(const sr_net *net, const double *theta, size_t n,
                                              const double *x, const double *v, double *hv) {
    tangent_memory memory[SR_MAX_LAYERS] = {0};
    double *dx = sr_alloc(n, net->inputs * sizeof *dx);
    sr_status status =
        dx ? tangent_forward(net, theta, n, x, v, memory) : (sr_status)SR_ERROR_MEMORY;
    if (!status)
        tangent_backward(net, theta, n, memory, dx, hv);
    for (size_t l = 0; l < net->layer_count; l++) {
        sr_free(memory[l].y);
        sr_free(memory[l].yt);
        sr_free(memory[l].d);
        sr_free(memory[l].dt);
    }
    sr_free(dx);
    return status;
}
