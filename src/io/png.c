// PNG through libpng: 8-bit grey or RGB in memory, whatever the file holds; grids of images. No
// colour management: the stored values are the values (gamma chunks are ignored, transparency is
// dropped, as Pillow's convert("L") and convert("RGB") do).
#include "io/io_internal.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#define PIXEL_LIMIT ((size_t)1 << 26)
#define GRID_GAP 2 // pixels between the images of a grid

void sr_image_clear(sr_image *image) {
    if (!image)
        return;
    sr_free(image->data);
    memset(image, 0, sizeof *image);
}

// ---- reading ------------------------------------------------------------------------------------

// Everything that lives across libpng's longjmp stands here, in memory, not in registers.
typedef struct png_job {
    const uint8_t *bytes;
    size_t count, at;
    png_structp png;
    png_infop info;
    size_t width, height, channels;
    uint8_t *pixels;
    png_bytep *rows;
    char message[128];
    sr_status status;
} png_job;

static void on_error(png_structp png, png_const_charp text) {
    png_job *job = png_get_error_ptr(png);
    snprintf(job->message, sizeof job->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
}

static void on_read(png_structp png, png_bytep out, size_t count) {
    png_job *job = png_get_io_ptr(png);
    if (count > job->count - job->at)
        png_error(png, "the file ends too early");
    memcpy(out, job->bytes + job->at, count);
    job->at += count;
}

// Reads the header, asks for 8-bit grey or RGB, and refuses sizes that the file cannot hold.
static void start(png_job *job) {
    png_structp png = job->png;
    png_set_read_fn(png, job, on_read);
    png_set_user_limits(png, (png_uint_32)PIXEL_LIMIT, (png_uint_32)PIXEL_LIMIT);
    png_set_chunk_malloc_max(png, 8000000); // for text and colour profiles, which nobody here reads
    png_set_chunk_cache_max(png, 100);
    png_read_info(png, job->info);
    job->width = png_get_image_width(png, job->info);
    job->height = png_get_image_height(png, job->info);
    if (job->width * job->height > PIXEL_LIMIT)
        png_error(png, "more than 2^26 pixels");
    // deflate packs at most 1032 bytes into one: a larger claim is false, and is not worth its
    // memory
    size_t claimed = png_get_rowbytes(png, job->info) * job->height;
    if (claimed / 1032 > job->count)
        png_error(png, "the file is too short for its width and height");
    png_byte colour = png_get_color_type(png, job->info);
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, job->info) < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    job->channels = png_get_channels(png, job->info);
    if (job->channels != 1 && job->channels != 3)
        png_error(png, "neither grey nor RGB");
}

// False when libpng gave up (message set). Allocations stay in `job` for the caller to release.
static bool read_pixels(png_job *job) {
    if (setjmp(png_jmpbuf(job->png)))
        return false;
    start(job);
    size_t stride = job->width * job->channels;
    job->pixels = sr_alloc(job->height, stride);
    job->rows = sr_alloc(job->height, sizeof *job->rows);
    if (!job->pixels || !job->rows) {
        job->status = SR_ERROR_MEMORY;
        png_error(job->png, "out of memory");
    }
    for (size_t y = 0; y < job->height; y++)
        job->rows[y] = job->pixels + y * stride;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, NULL);
    return true;
}

sr_status sr_png_load(const char *path, sr_image *out) {
    memset(out, 0, sizeof *out);
    void *bytes;
    size_t count;
    sr_status status = sr_file_read(path, 0, &bytes, &count);
    if (status != SR_OK)
        return status;
    if (count < 8 || png_sig_cmp(bytes, 0, 8) != 0) {
        sr_free(bytes);
        return sr_fail(SR_ERROR_FORMAT, "%s: not a PNG file", path);
    }
    png_job job = {.bytes = bytes, .count = count, .status = SR_ERROR_FORMAT};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    if (job.png)
        job.info = png_create_info_struct(job.png);
    bool good = job.info && read_pixels(&job);
    if (good)
        *out = (sr_image){job.height, job.width, job.channels, job.pixels};
    else
        status = job.info ? sr_fail(job.status, "%s: PNG: %s", path, job.message)
                          : sr_fail(SR_ERROR_MEMORY, "%s: out of memory", path);
    if (job.png)
        png_destroy_read_struct(&job.png, &job.info, NULL);
    if (!good)
        sr_free(job.pixels);
    sr_free(job.rows);
    sr_free(bytes);
    return status;
}

// ---- writing ------------------------------------------------------------------------------------

sr_status sr_png_save(const char *path, const sr_image *image) {
    if ((image->channels != 1 && image->channels != 3) || image->width == 0 || image->height == 0 ||
        image->width > PIXEL_LIMIT || image->height > PIXEL_LIMIT / image->width)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: cannot save a PNG of %zu x %zu pixels and %zu channels", path,
                       image->width, image->height, image->channels);
    png_image png = {.version = PNG_IMAGE_VERSION};
    png.width = (png_uint_32)image->width;
    png.height = (png_uint_32)image->height;
    png.format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    void *memory = sr_alloc(size, 1);
    if (!memory)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
    sr_status status;
    if (png_image_write_to_memory(&png, memory, &size, 0, image->data, 0, NULL))
        status = sr_file_write(path, memory, size);
    else
        status = sr_fail(SR_ERROR_LIBRARY, "%s: PNG: %s", path, png.message);
    png_image_free(&png);
    sr_free(memory);
    return status;
}

// [low, high] -> 0..255, to nearest; NaN is black.
static uint8_t quantise(float value, float low, float high) {
    float t = (value - low) / (high - low);
    if (!(t > 0))
        return 0;
    return t >= 1 ? 255 : (uint8_t)(t * 255 + 0.5f);
}

// One image (channels, height, width) into the canvas, its upper left corner at (top, left).
static void paint(sr_image *canvas, const float *x, size_t height, size_t width, float low,
                  float high, size_t top, size_t left, size_t zoom) {
    size_t channels = canvas->channels;
    for (size_t row = 0; row < height * zoom; row++) {
        uint8_t *to = canvas->data + ((top + row) * canvas->width + left) * channels;
        for (size_t column = 0; column < width * zoom; column++) {
            size_t from = row / zoom * width + column / zoom;
            for (size_t c = 0; c < channels; c++)
                *to++ = quantise(x[c * height * width + from], low, high);
        }
    }
}

// count images of `size` pixels, zoomed, side by side with gaps; false where that passes the limit.
static bool extent(size_t count, size_t size, size_t zoom, size_t *out) {
    return sr_size_mul(size, zoom, &size) && sr_size_add(size, GRID_GAP, &size) &&
           sr_size_mul(count, size, out) && (*out -= GRID_GAP) <= PIXEL_LIMIT;
}

sr_status sr_png_save_grid(const char *path, size_t n, size_t channels, size_t height, size_t width,
                           const float *x, float low, float high, size_t columns, size_t zoom) {
    if (n == 0 || columns == 0 || zoom == 0 || height == 0 || width == 0 || !(low < high))
        return sr_fail(SR_ERROR_ARGUMENT, "%s: an image grid needs images, columns and low < high",
                       path);
    if (channels != 1 && channels != 3)
        return sr_fail(SR_ERROR_UNSUPPORTED, "%s: images of %zu channels, expected 1 or 3", path,
                       channels);
    if (columns > n)
        columns = n;
    sr_image canvas = {.channels = channels};
    size_t rows = (n - 1) / columns + 1, bytes;
    if (!extent(columns, width, zoom, &canvas.width) ||
        !extent(rows, height, zoom, &canvas.height) || canvas.width * canvas.height > PIXEL_LIMIT)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: an image grid of more than 2^26 pixels", path);
    bytes = canvas.width * canvas.height * channels;
    canvas.data = sr_alloc(bytes, 1);
    if (!canvas.data)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
    memset(canvas.data, 255, bytes);
    for (size_t i = 0; i < n; i++)
        paint(&canvas, x + i * channels * height * width, height, width, low, high,
              i / columns * (height * zoom + GRID_GAP), i % columns * (width * zoom + GRID_GAP),
              zoom);
    sr_status status = sr_png_save(path, &canvas);
    sr_image_clear(&canvas);
    return status;
}
