// Backward-data of a stride-1 convolution with few input channels (a network's first layer), on the
// vector vocabulary: the vectors run along a row of the image, so that nothing is wasted on
// channels that do not exist (general kernels pad 1 or 3 channels to 16).
//
//   dx[c][y][x] = sum over k, i, j of dy[k][y + p - i][x + p - j] w[k][c][i][j]
//
// dy is first copied into a frame of zeros, so that no tap has to ask where it is.

static void frame_fill(const sr_conv_shape *s, const float *dy, float *frame) {
    const size_t top = s->kernel_height - 1 - s->padding, left = s->kernel_width - 1 - s->padding;
    const size_t pitch = sr_conv_thin_pitch(s), rows = s->in_height + s->kernel_height - 1;
    memset(frame, 0, s->out_channels * rows * pitch * sizeof *frame);
    for (size_t k = 0; k < s->out_channels; k++)
        for (size_t y = 0; y < s->out_height; y++)
            memcpy(frame + (k * rows + y + top) * pitch + left,
                   dy + (k * s->out_height + y) * s->out_width, s->out_width * sizeof *dy);
}

// One vector of dx at (c, y, x): the taps in the fixed order k, i, j.
static inline vf thin_taps(const sr_conv_shape *s, const float *frame, const float *w, size_t c,
                           size_t y, size_t x) {
    const size_t pitch = sr_conv_thin_pitch(s), rows = s->in_height + s->kernel_height - 1;
    const size_t area = s->kernel_height * s->kernel_width;
    vf sum = vf_set(0.0f);
    for (size_t k = 0; k < s->out_channels; k++) {
        const float *tap = w + (k * s->in_channels + c) * area;
        const float *corner =
            frame + (k * rows + y + s->kernel_height - 1) * pitch + x + s->kernel_width - 1;
        for (size_t i = 0; i < s->kernel_height; i++)
            for (size_t j = 0; j < s->kernel_width; j++)
                sum = vf_fma(vf_set(tap[i * s->kernel_width + j]), vf_load(corner - i * pitch - j),
                             sum);
    }
    return sum;
}

static void V_NAME(sr_conv_backward_data_thin)(const sr_conv_shape *s, size_t batch,
                                               const float *dy, const float *w, float *frame,
                                               float *dx) {
    for (size_t n = 0; n < batch; n++) {
        frame_fill(s, dy + n * s->out_channels * s->out_height * s->out_width, frame);
        for (size_t c = 0; c < s->in_channels; c++) {
            for (size_t y = 0; y < s->in_height; y++) {
                float *row = dx + ((n * s->in_channels + c) * s->in_height + y) * s->in_width;
                size_t x = 0;
                for (; x + V_WIDTH <= s->in_width; x += V_WIDTH)
                    vf_store(row + x, thin_taps(s, frame, w, c, y, x));
                if (x < s->in_width)
                    vf_store_head(row + x, thin_taps(s, frame, w, c, y, x), s->in_width - x);
            }
        }
    }
}
