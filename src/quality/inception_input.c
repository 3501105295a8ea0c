// Images of any size as Inception-v3's input, to the letter of the two implementations that scores
// are compared with: torch.nn.functional.interpolate (pytorch-fid) and PIL's resize of float images
// (clean-fid). Both are separable: a weighted sum along rows, then one along columns.
#include "quality/inception.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"pytorch-fid", "clean-fid"};

const char *sr_resize_name(sr_resize resize) {
    return names[resize];
}

sr_status sr_resize_parse(const char *name, sr_resize *out) {
    for (size_t i = 0; i < SR_RESIZE_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (sr_resize)i;
            return SR_OK;
        }
    }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown resizing '%s'; allowed: pytorch-fid, clean-fid",
                   name);
}

// Bilinear, align_corners=False: result i lies at (i + 1/2) in/out - 1/2 of the source, not before
// its first pixel, between two neighbours. In float and fused as in PyTorch's builds: at 500
// pixels the rounded position is off by 3e-5.
static void bilinear(size_t in, sr_taps *taps) {
    const float scale = (float)in / SR_INCEPTION_SIZE;
    for (size_t i = 0; i < taps->count; i++) {
        float at = fmaxf(fmaf(scale, (float)i + 0.5f, -0.5f), 0);
        size_t first = (size_t)at;
        first = first < in ? first : in - 1;
        float second = fminf(at - (float)first, 1);
        taps->first[i] = first;
        taps->used[i] = first + 1 < in ? 2 : 1;
        taps->weight[i * taps->widest] = taps->used[i] == 2 ? 1 - second : 1;
        taps->weight[i * taps->widest + 1] = taps->used[i] == 2 ? second : 0;
    }
}

// Keys' cubic with a = -1/2.
static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// PIL's bicubic: the cubic is widened by in/out where that is above 1, which is what keeps a
// smaller image from aliasing; weights beyond the border are dropped and the others scaled to sum
// to 1.
static void bicubic(size_t in, sr_taps *taps) {
    const double scale = (double)in / SR_INCEPTION_SIZE, wide = fmax(scale, 1), support = 2 * wide;
    for (size_t i = 0; i < taps->count; i++) {
        double centre = ((double)i + 0.5) * scale, sum = 0;
        double low = fmax(centre - support + 0.5, 0),
               high = fmin(centre + support + 0.5, (double)in);
        taps->first[i] = (size_t)low;
        taps->used[i] = (size_t)high - taps->first[i];
        double *weight = taps->weight + i * taps->widest;
        for (size_t t = 0; t < taps->used[i]; t++) {
            weight[t] = cubic(((double)(taps->first[i] + t) - centre + 0.5) * (1 / wide));
            sum += weight[t];
        }
        for (size_t t = 0; t < taps->used[i]; t++)
            weight[t] /= sum;
    }
}

static sr_status taps_create(sr_resize resize, size_t in, sr_taps *taps) {
    taps->count = SR_INCEPTION_SIZE;
    taps->widest = 2;
    if (resize == SR_RESIZE_CLEAN_FID) // as many as lie within 2 on either side of the centre
        taps->widest = 2 * (size_t)ceil(2 * fmax((double)in / SR_INCEPTION_SIZE, 1)) + 1;
    taps->first = sr_alloc(taps->count, sizeof *taps->first);
    taps->used = sr_alloc(taps->count, sizeof *taps->used);
    taps->weight = sr_alloc(taps->count, taps->widest * sizeof *taps->weight);
    if (!taps->first || !taps->used || !taps->weight)
        return SR_ERROR_MEMORY;
    if (resize == SR_RESIZE_CLEAN_FID)
        bicubic(in, taps);
    else
        bilinear(in, taps);
    return SR_OK;
}

static void taps_clear(sr_taps *taps) {
    sr_free(taps->first);
    sr_free(taps->used);
    sr_free(taps->weight);
    *taps = (sr_taps){0};
}

sr_status sr_resizer_create(sr_resize resize, size_t height, size_t width, sr_resizer *out) {
    *out = (sr_resizer){.resize = resize, .height = height, .width = width};
    sr_status status = taps_create(resize, width, &out->columns);
    if (status == SR_OK)
        status = taps_create(resize, height, &out->rows);
    if (status != SR_OK)
        sr_resizer_clear(out);
    return status;
}

void sr_resizer_clear(sr_resizer *resizer) {
    taps_clear(&resizer->rows);
    taps_clear(&resizer->columns);
}

size_t sr_resizer_scratch(const sr_resizer *resizer) {
    return resizer->height * (resizer->width + SR_INCEPTION_SIZE);
}

// PIL clips the sums to nothing, clean-fid then to 0..255 and hands over (v - 128) / 128; the
// images' own range [-1, 1] is that of 0..255.
static float from_bytes(double value) {
    return (float)((fmin(fmax((float)value, 0), 255) - 128) / 128);
}

// x (height, width), values as the sums need them -> out (299, 299). between (height, 299): the
// rows already at their new width, in float as PIL keeps them.
static void resize_channel(const sr_resizer *r, const float *x, float *between, float *out) {
    const size_t size = SR_INCEPTION_SIZE;
    for (size_t h = 0; h < r->height; h++)
        for (size_t j = 0; j < size; j++) {
            const double *weight = r->columns.weight + j * r->columns.widest;
            const float *in = x + h * r->width + r->columns.first[j];
            double sum = 0;
            for (size_t t = 0; t < r->columns.used[j]; t++)
                sum += weight[t] * in[t];
            between[h * size + j] = (float)sum;
        }
    for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j < size; j++) {
            const double *weight = r->rows.weight + i * r->rows.widest;
            const float *in = between + r->rows.first[i] * size + j;
            double sum = 0;
            for (size_t t = 0; t < r->rows.used[i]; t++)
                sum += weight[t] * in[t * size];
            out[i * size + j] = r->resize == SR_RESIZE_CLEAN_FID ? from_bytes(sum) : (float)sum;
        }
}

void sr_resizer_run(const sr_resizer *resizer, size_t channels, const float *x, float *scratch,
                    float *out) {
    const sr_resizer *r = resizer;
    size_t pixels = r->height * r->width;
    float *plane = scratch, *between = scratch + pixels;
    for (size_t c = 0; c < channels; c++) {
        for (size_t p = 0; p < pixels; p++) {
            float value = fminf(fmaxf(x[c * pixels + p], -1), 1);
            plane[p] = r->resize == SR_RESIZE_CLEAN_FID ? (value + 1) * 127.5f : value;
        }
        resize_channel(r, plane, between, out + c * SR_INCEPTION_PIXELS);
    }
    for (size_t c = channels; c < 3; c++)
        memcpy(out + c * SR_INCEPTION_PIXELS, out, SR_INCEPTION_PIXELS * sizeof *out);
}

sr_status sr_inception_input(sr_resize resize, size_t channels, size_t height, size_t width,
                             const float *x, float *out) {
    sr_resizer resizer;
    sr_status status = sr_inception_check(channels, height, width);
    if (status == SR_OK)
        status = sr_resizer_create(resize, height, width, &resizer);
    if (status != SR_OK)
        return status;
    float *scratch = sr_alloc(sr_resizer_scratch(&resizer), sizeof *scratch);
    if (scratch)
        sr_resizer_run(&resizer, channels, x, scratch, out);
    sr_free(scratch);
    sr_resizer_clear(&resizer);
    return scratch ? SR_OK : SR_ERROR_MEMORY;
}
