// The readable reference of convolution, written once for float and double. The file that includes
// this defines `real` and CONV_NAME(operation). It is the definition that every engine is checked
// against; the loops stand so that the innermost one runs along an image row, nothing more is done
// for speed.
//
//   y[n,o,i,j] = bias[o] + sum over c, u, v of w[o,c,u,v] x[n, c, i s + u - p, j s + v - p]
//
// with stride s, padding p and x = 0 outside the image. The two backward passes are its transposes.

// Outputs lo <= j < hi of a row whose input column j s + v - p lies inside an image of `in`
// columns.
static void CONV_NAME(span)(size_t in, size_t out, size_t v, size_t stride, size_t padding,
                            size_t *lo, size_t *hi) {
    size_t low = v < padding ? (padding - v + stride - 1) / stride : 0;
    size_t high = in + padding > v ? (in + padding - v - 1) / stride + 1 : 0;
    *hi = high < out ? high : out;
    *lo = low < *hi ? low : *hi;
}

// y += w * x for one pair of channels. x (in_height, in_width), w (kernel), y (out_height,
// out_width).
static void CONV_NAME(forward_plane)(const sr_conv_shape *s, const real *x, const real *w,
                                     real *y) {
    for (size_t u = 0; u < s->kernel_height; u++) {
        size_t top, bottom;
        CONV_NAME(span)(s->in_height, s->out_height, u, s->stride, s->padding, &top, &bottom);
        for (size_t v = 0; v < s->kernel_width; v++) {
            size_t left, right;
            CONV_NAME(span)(s->in_width, s->out_width, v, s->stride, s->padding, &left, &right);
            const real weight = w[u * s->kernel_width + v];
            for (size_t i = top; i < bottom; i++) {
                const real *row = x + (i * s->stride + u - s->padding) * s->in_width;
                for (size_t j = left; j < right; j++)
                    y[i * s->out_width + j] += weight * row[j * s->stride + v - s->padding];
            }
        }
    }
}

// dx += transpose of forward_plane applied to dy.
static void CONV_NAME(backward_plane)(const sr_conv_shape *s, const real *dy, const real *w,
                                      real *dx) {
    for (size_t u = 0; u < s->kernel_height; u++) {
        size_t top, bottom;
        CONV_NAME(span)(s->in_height, s->out_height, u, s->stride, s->padding, &top, &bottom);
        for (size_t v = 0; v < s->kernel_width; v++) {
            size_t left, right;
            CONV_NAME(span)(s->in_width, s->out_width, v, s->stride, s->padding, &left, &right);
            const real weight = w[u * s->kernel_width + v];
            for (size_t i = top; i < bottom; i++) {
                real *row = dx + (i * s->stride + u - s->padding) * s->in_width;
                for (size_t j = left; j < right; j++)
                    row[j * s->stride + v - s->padding] += weight * dy[i * s->out_width + j];
            }
        }
    }
}

// dw += correlation of x with dy for one pair of channels.
static void CONV_NAME(weights_plane)(const sr_conv_shape *s, const real *x, const real *dy,
                                     real *dw) {
    for (size_t u = 0; u < s->kernel_height; u++) {
        size_t top, bottom;
        CONV_NAME(span)(s->in_height, s->out_height, u, s->stride, s->padding, &top, &bottom);
        for (size_t v = 0; v < s->kernel_width; v++) {
            size_t left, right;
            CONV_NAME(span)(s->in_width, s->out_width, v, s->stride, s->padding, &left, &right);
            real sum = 0;
            for (size_t i = top; i < bottom; i++) {
                const real *row = x + (i * s->stride + u - s->padding) * s->in_width;
                for (size_t j = left; j < right; j++)
                    sum += dy[i * s->out_width + j] * row[j * s->stride + v - s->padding];
            }
            dw[u * s->kernel_width + v] += sum;
        }
    }
}

// The kernel covers the image exactly: one output a channel, a matrix product. The dense functions
// below take the sums in the same order as the planes above, so they only save the bookkeeping.
static bool CONV_NAME(is_dense)(const sr_conv_shape *s) {
    return s->padding == 0 && s->kernel_height == s->in_height && s->kernel_width == s->in_width;
}

// y = x w^T + bias. x (batch, in), w (out, in), y (batch, out).
static void CONV_NAME(dense_forward)(size_t batch, size_t in, size_t out, const real *x,
                                     const real *w, const real *bias, real *y) {
    for (size_t n = 0; n < batch; n++) {
        for (size_t o = 0; o < out; o++) {
            real sum = bias ? bias[o] : 0;
            for (size_t c = 0; c < in; c++)
                sum += w[o * in + c] * x[n * in + c];
            y[n * out + o] = sum;
        }
    }
}

// dx = dy w.
static void CONV_NAME(dense_backward_data)(size_t batch, size_t in, size_t out, const real *dy,
                                           const real *w, real *dx) {
    for (size_t n = 0; n < batch; n++) {
        for (size_t c = 0; c < in; c++)
            dx[n * in + c] = 0;
        for (size_t o = 0; o < out; o++)
            for (size_t c = 0; c < in; c++)
                dx[n * in + c] += w[o * in + c] * dy[n * out + o];
    }
}

// dw = dy^T x, dbias = sum of dy.
static void CONV_NAME(dense_backward_weights)(size_t batch, size_t in, size_t out, const real *x,
                                              const real *dy, real *dw, real *dbias) {
    for (size_t o = 0; o < out; o++) {
        real sum = 0;
        for (size_t c = 0; c < in; c++)
            dw[o * in + c] = 0;
        for (size_t n = 0; n < batch; n++) {
            for (size_t c = 0; c < in; c++)
                dw[o * in + c] += dy[n * out + o] * x[n * in + c];
            sum += dy[n * out + o];
        }
        if (dbias)
            dbias[o] = sum;
    }
}

void CONV_NAME(sr_conv_forward_scalar)(const sr_conv_shape *shape, size_t batch, const real *x,
                                       const real *w, const real *bias, real *y) {
    const size_t in = shape->in_height * shape->in_width;
    const size_t out = shape->out_height * shape->out_width;
    const size_t kernel = shape->kernel_height * shape->kernel_width;
    if (CONV_NAME(is_dense)(shape)) {
        CONV_NAME(dense_forward)
        (batch, shape->in_channels * kernel, shape->out_channels, x, w, bias, y);
        return;
    }
    for (size_t n = 0; n < batch; n++) {
        for (size_t o = 0; o < shape->out_channels; o++) {
            real *plane = y + (n * shape->out_channels + o) * out;
            for (size_t i = 0; i < out; i++)
                plane[i] = bias ? bias[o] : 0;
            for (size_t c = 0; c < shape->in_channels; c++)
                CONV_NAME(forward_plane)
            (shape, x + (n * shape->in_channels + c) * in,
             w + (o * shape->in_channels + c) * kernel, plane);
        }
    }
}

void CONV_NAME(sr_conv_backward_data_scalar)(const sr_conv_shape *shape, size_t batch,
                                             const real *dy, const real *w, real *dx) {
    const size_t in = shape->in_height * shape->in_width;
    const size_t out = shape->out_height * shape->out_width;
    const size_t kernel = shape->kernel_height * shape->kernel_width;
    if (CONV_NAME(is_dense)(shape)) {
        CONV_NAME(dense_backward_data)
        (batch, shape->in_channels * kernel, shape->out_channels, dy, w, dx);
        return;
    }
    for (size_t n = 0; n < batch; n++) {
        for (size_t c = 0; c < shape->in_channels; c++) {
            real *plane = dx + (n * shape->in_channels + c) * in;
            for (size_t i = 0; i < in; i++)
                plane[i] = 0;
            for (size_t o = 0; o < shape->out_channels; o++)
                CONV_NAME(backward_plane)
            (shape, dy + (n * shape->out_channels + o) * out,
             w + (o * shape->in_channels + c) * kernel, plane);
        }
    }
}

void CONV_NAME(sr_conv_backward_weights_scalar)(const sr_conv_shape *shape, size_t batch,
                                                const real *x, const real *dy, real *dw,
                                                real *dbias) {
    const size_t in = shape->in_height * shape->in_width;
    const size_t out = shape->out_height * shape->out_width;
    const size_t kernel = shape->kernel_height * shape->kernel_width;
    if (CONV_NAME(is_dense)(shape)) {
        CONV_NAME(dense_backward_weights)
        (batch, shape->in_channels * kernel, shape->out_channels, x, dy, dw, dbias);
        return;
    }
    for (size_t o = 0; o < shape->out_channels; o++) {
        for (size_t i = 0; i < shape->in_channels * kernel; i++)
            dw[o * shape->in_channels * kernel + i] = 0;
        real sum = 0;
        for (size_t n = 0; n < batch; n++) {
            const real *plane = dy + (n * shape->out_channels + o) * out;
            for (size_t c = 0; c < shape->in_channels; c++)
                CONV_NAME(weights_plane)
            (shape, x + (n * shape->in_channels + c) * in, plane,
             dw + (o * shape->in_channels + c) * kernel);
            for (size_t i = 0; i < out; i++)
                sum += plane[i];
        }
        if (dbias)
            dbias[o] = sum;
    }
}
