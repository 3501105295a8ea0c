// Networks as lists of layers: the architectures, their sizes and their starting weights. Nothing
// here runs a network (plan.c does).
#include <shortrun/net.h>

#include <math.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 16, MAX_PIXELS = 1 << 12 };

static void net_begin(sr_net *net, sr_arch arch, size_t channels, size_t height, size_t width) {
    *net = (sr_net){.arch = arch,
                    .channels = channels,
                    .height = height,
                    .width = width,
                    .inputs = channels * height * width};
}

// PyTorch's index of the next layer: every layer before it stands there with its activation, and
// one nn.Flatten where images turn into vectors.
static size_t next_torch_index(const sr_net *net, bool dense) {
    if (net->layer_count == 0)
        return dense && net->height * net->width > 1 ? 1 : 0;
    const sr_layer *last = &net->layers[net->layer_count - 1];
    return last->torch_index + (last->activation == SR_IDENTITY ? 1 : 2) +
           (dense && !last->dense ? 1 : 0);
}

static sr_status net_append(sr_net *net, bool dense, sr_conv_shape shape,
                            sr_activation activation) {
    if (net->layer_count == SR_MAX_LAYERS)
        return sr_fail(SR_ERROR_ARGUMENT, "a network has at most %d layers", SR_MAX_LAYERS);
    if (shape.out_channels == 0 || shape.out_channels > MAX_CHANNELS)
        return sr_fail(SR_ERROR_ARGUMENT, "layer %zu has %zu channels; allowed: 1 to %d",
                       net->layer_count, shape.out_channels, MAX_CHANNELS);
    sr_layer *layer = &net->layers[net->layer_count];
    size_t weights =
        shape.out_channels * shape.in_channels * shape.kernel_height * shape.kernel_width;
    *layer = (sr_layer){.dense = dense,
                        .shape = shape,
                        .activation = activation,
                        .weight = net->parameters,
                        .bias = net->parameters + weights,
                        .torch_index = next_torch_index(net, dense)};
    net->layer_count++;
    net->parameters += weights + shape.out_channels;
    net->outputs = shape.out_channels * shape.out_height * shape.out_width;
    return SR_OK;
}

static sr_status append_dense(sr_net *net, size_t outputs, sr_activation activation) {
    size_t inputs = net->layer_count ? net->outputs : net->inputs;
    return net_append(net, true, sr_conv_shape_make(inputs, 1, 1, outputs, 1, 1, 1, 0), activation);
}

// A convolution on the images that the last layer leaves.
static sr_status append_conv(sr_net *net, size_t channels, size_t kernel, size_t stride,
                             size_t padding, sr_activation activation) {
    size_t c = net->channels, h = net->height, w = net->width;
    if (net->layer_count) {
        const sr_conv_shape *last = &net->layers[net->layer_count - 1].shape;
        c = last->out_channels;
        h = last->out_height;
        w = last->out_width;
    }
    return net_append(net, false,
                      sr_conv_shape_make(c, h, w, channels, kernel, kernel, stride, padding),
                      activation);
}

static sr_status check_images(const char *arch, size_t channels, size_t size, size_t nf) {
    if (channels < 1 || channels > MAX_CHANNELS)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: channels = %zu; allowed: 1 to %d", arch, channels,
                       MAX_CHANNELS);
    if (size < 3 || size > MAX_PIXELS)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: size = %zu pixels; allowed: 3 to %d", arch, size,
                       MAX_PIXELS);
    if (nf < 1 || nf > 4096)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: nf = %zu; allowed: 1 to 4096", arch, nf);
    return SR_OK;
}

sr_status sr_net_mlp(sr_net *net, size_t dim, const size_t *widths, size_t width_count,
                     sr_activation activation, size_t outputs) {
    if (dim < 1 || dim > MAX_CHANNELS)
        return sr_fail(SR_ERROR_ARGUMENT, "mlp: dim = %zu; allowed: 1 to %d", dim, MAX_CHANNELS);
    net_begin(net, SR_ARCH_MLP, dim, 1, 1);
    sr_status status = SR_OK;
    for (size_t i = 0; !status && i < width_count; i++)
        status = append_dense(net, widths[i], activation);
    return status ? status : append_dense(net, outputs, SR_IDENTITY);
}

sr_status sr_net_convnet(sr_net *net, size_t channels, size_t size, size_t nf,
                         sr_activation activation) {
    sr_status status = check_images("convnet", channels, size, nf);
    if (status)
        return status;
    net_begin(net, SR_ARCH_CONVNET, channels, size, size);
    status = append_conv(net, nf, 3, 1, 1, activation);
    size_t c = nf, pixels = size;
    while (!status && pixels >= 6) { // halve while at least 3 pixels remain
        c *= 2;
        status = append_conv(net, c, 4, 2, 1, activation);
        pixels /= 2;
    }
    return status ? status : append_conv(net, 1, pixels, 1, 0, SR_IDENTITY);
}

sr_status sr_net_classifier(sr_net *net, size_t channels, size_t size, size_t nf, size_t features,
                            size_t classes, sr_activation activation) {
    sr_status status = check_images("classifier", channels, size, nf);
    if (status)
        return status;
    if (size < 8)
        return sr_fail(SR_ERROR_ARGUMENT, "classifier: size = %zu pixels; at least 8", size);
    net_begin(net, SR_ARCH_CLASSIFIER, channels, size, size);
    status = append_conv(net, nf, 3, 1, 1, activation);
    if (!status)
        status = append_conv(net, 2 * nf, 4, 2, 1, activation);
    if (!status)
        status = append_conv(net, 4 * nf, 4, 2, 1, activation);
    if (!status)
        status = append_dense(net, features, activation);
    return status ? status : append_dense(net, classes, SR_IDENTITY);
}

sr_status sr_net_truncate(sr_net *out, const sr_net *net, size_t drop) {
    if (drop >= net->layer_count)
        return sr_fail(SR_ERROR_ARGUMENT, "cannot drop %zu of %zu layers", drop, net->layer_count);
    *out = *net;
    if (drop == 0)
        return SR_OK;
    out->arch = SR_ARCH_CUSTOM;
    out->layer_count = net->layer_count - drop;
    const sr_layer *last = &net->layers[out->layer_count - 1];
    out->outputs = last->shape.out_channels * last->shape.out_height * last->shape.out_width;
    out->parameters = last->bias + last->shape.out_channels;
    return SR_OK;
}

void sr_net_init(const sr_net *net, uint64_t seed, float *theta) {
    const sr_kernels *kernels = sr_kernels_get();
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_INIT_WEIGHTS, 0);
    for (size_t l = 0; l < net->layer_count; l++) {
        const sr_layer *layer = &net->layers[l];
        size_t fan_in =
            layer->shape.in_channels * layer->shape.kernel_height * layer->shape.kernel_width;
        float bound = 1.0f / sqrtf((float)fan_in);
        size_t count = layer->bias - layer->weight + layer->shape.out_channels;
        float *p = theta + layer->weight;
        kernels->uniform(stream, l, 0, count, p);
        for (size_t i = 0; i < count; i++)
            p[i] = bound * (2.0f * p[i] - 1.0f);
    }
}

sr_status sr_net_check_curvature(const sr_net *net) {
    for (size_t l = 0; l + 1 < net->layer_count; l++) {
        const sr_activation activation = net->layers[l].activation;
        if (activation == SR_RELU || activation == SR_LEAKY_RELU)
            return sr_fail(SR_ERROR_UNSUPPORTED,
                           "activation %s has no curvature: the energy's Hessian is zero almost "
                           "everywhere and says nothing; train with silu, softplus, gelu or tanh",
                           sr_activation_name(activation));
    }
    return SR_OK;
}

double sr_net_multiply_adds(const sr_net *net) {
    double total = 0;
    for (size_t l = 0; l < net->layer_count; l++)
        total += sr_conv_shape_multiply_adds(&net->layers[l].shape);
    return total;
}
