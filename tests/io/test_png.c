// PNG: round trips, every colour type reduced to grey or RGB, grids, and hostile files.
#include "scratch.h"

#include <shortrun/io.h>

#include <math.h>
#include <png.h>

static void expect_failure(sr_status got, sr_status status, const char *part) {
    if (got != status || !strstr(sr_error_message(), part))
        fail_msg("status %d, message '%s'; expected %d, '%s'", got, sr_error_message(), status,
                 part);
    assert_null(strchr(sr_error_message(), '\n'));
}

static void test_round_trip(void **state) {
    uint8_t pixels[5 * 7 * 3];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)scratch_random(&random);
    for (size_t channels = 1; channels <= 3; channels += 2) {
        sr_image image = {5, 7, channels, pixels}, back;
        assert_int_equal(sr_png_save(scratch("r.png"), &image), SR_OK);
        assert_int_equal(sr_png_load(scratch("r.png"), &back), SR_OK);
        assert_int_equal(back.height, 5);
        assert_int_equal(back.width, 7);
        assert_int_equal(back.channels, channels);
        assert_memory_equal(back.data, pixels, 35 * channels);
        sr_image_clear(&back);
        assert_null(back.data);
    }
    sr_image bad = {5, 7, 4, pixels};
    expect_failure(sr_png_save(scratch("r.png"), &bad), SR_ERROR_ARGUMENT, "4 channels");
    sr_image none = {0, 7, 1, pixels};
    expect_failure(sr_png_save(scratch("r.png"), &none), SR_ERROR_ARGUMENT, "0 pixels");
    sr_image good = {5, 7, 1, pixels};
    expect_failure(sr_png_save("/dev/full", &good), SR_ERROR_IO, "No space left");
}

// Writes rows of raw PNG samples with libpng itself.
static const char *put_png(int depth, int colour, int interlace, size_t width, size_t height,
                           const uint8_t *raw, size_t stride) {
    const char *path = scratch("raw.png");
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_bytep rows[16];
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, depth, colour, interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_gAMA(png, info, 1.0); // must not change the values
    png_color palette[4] = {{0, 0, 0}, {10, 20, 30}, {40, 50, 60}, {255, 255, 255}};
    png_byte alpha[4] = {0, 128, 255, 255};
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, alpha, 4, NULL);
    }
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++)
        rows[y] = (png_bytep)(uintptr_t)(raw + y * stride);
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void expect_pixels(const char *path, size_t channels, const uint8_t *pixels, size_t count) {
    sr_image image;
    assert_int_equal(sr_png_load(path, &image), SR_OK);
    assert_int_equal(image.channels, channels);
    assert_int_equal(image.height * image.width * channels, count);
    assert_memory_equal(image.data, pixels, count);
    sr_image_clear(&image);
}

static void test_colour_types(void **state) {
    for (int interlace = 0; interlace < 2; interlace++) {
        // 4 x 1 pixels of one bit
        expect_pixels(put_png(1, PNG_COLOR_TYPE_GRAY, interlace, 4, 1, (const uint8_t[]){0xa0}, 1),
                      1, (const uint8_t[]){255, 0, 255, 0}, 4);
        // 2 x 1 of 16 bits: 0x8080 -> 128, 0x00ff -> 1
        expect_pixels(put_png(16, PNG_COLOR_TYPE_GRAY, interlace, 2, 1,
                              (const uint8_t[]){0x80, 0x80, 0x00, 0xff}, 4),
                      1, (const uint8_t[]){128, 1}, 2);
        expect_pixels(put_png(8, PNG_COLOR_TYPE_GRAY_ALPHA, interlace, 2, 1,
                              (const uint8_t[]){9, 0, 8, 255}, 4),
                      1, (const uint8_t[]){9, 8}, 2);
        expect_pixels(put_png(8, PNG_COLOR_TYPE_RGB_ALPHA, interlace, 1, 2,
                              (const uint8_t[]){1, 2, 3, 0, 4, 5, 6, 255}, 4),
                      3, (const uint8_t[]){1, 2, 3, 4, 5, 6}, 6);
        expect_pixels(
            put_png(2, PNG_COLOR_TYPE_PALETTE, interlace, 4, 1, (const uint8_t[]){0x1b}, 1), 3,
            (const uint8_t[]){0, 0, 0, 10, 20, 30, 40, 50, 60, 255, 255, 255}, 12);
    }
}

static void test_grid(void **state) {
    // three images (1, 1, 2) in two columns, zoom 2: canvas 2 rows of (4 + 2 + 4) x (2 + 2 + 2)
    const float x[] = {-1, 1, 0, -9, NAN, 9};
    assert_int_equal(sr_png_save_grid(scratch("g.png"), 3, 1, 1, 2, x, -1, 1, 2, 2), SR_OK);
    const uint8_t top[] = {0, 0, 255, 255, 255, 255, 128, 128, 0, 0};
    const uint8_t bottom[] = {0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    sr_image image;
    assert_int_equal(sr_png_load(scratch("g.png"), &image), SR_OK);
    assert_int_equal(image.width, 10);
    assert_int_equal(image.height, 6);
    for (size_t row = 0; row < 2; row++) {
        assert_memory_equal(image.data + row * 10, top, 10);
        assert_memory_equal(image.data + (row + 4) * 10, bottom, 10);
    }
    for (size_t i = 20; i < 40; i++)
        assert_int_equal(image.data[i], 255);
    sr_image_clear(&image);
    // colour planes become interleaved pixels
    const float rgb[] = {0, 1, 0.5f, 0, 1, 1};
    assert_int_equal(sr_png_save_grid(scratch("c.png"), 1, 3, 1, 2, rgb, 0, 1, 8, 1), SR_OK);
    expect_pixels(scratch("c.png"), 3, (const uint8_t[]){0, 128, 255, 255, 0, 255}, 6);
    expect_failure(sr_png_save_grid(scratch("g.png"), 0, 1, 1, 2, x, -1, 1, 2, 2),
                   SR_ERROR_ARGUMENT, "needs images");
    expect_failure(sr_png_save_grid(scratch("g.png"), 1, 2, 1, 1, x, -1, 1, 2, 2),
                   SR_ERROR_UNSUPPORTED, "2 channels");
    expect_failure(sr_png_save_grid(scratch("g.png"), 1, 1, 1, 1, x, -1, 1, 1, SIZE_MAX / 2),
                   SR_ERROR_ARGUMENT, "2^26");
}

static void put32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

// Rewrites width and height in the IHDR chunk and mends its checksum.
static void set_size(uint8_t *bytes, uint32_t width, uint32_t height) {
    put32(bytes + 16, width);
    put32(bytes + 20, height);
    uint32_t crc = 0xffffffffu;
    for (size_t i = 12; i < 29; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    put32(bytes + 29, ~crc);
}

static void test_hostile(void **state) {
    sr_image image;
    uint8_t pixels[20 * 20 * 3];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)scratch_random(&random);
    sr_image good = {20, 20, 3, pixels};
    assert_int_equal(sr_png_save(scratch("h.png"), &good), SR_OK);
    void *bytes;
    size_t count;
    assert_int_equal(sr_file_read(scratch("h.png"), 0, &bytes, &count), SR_OK);
    expect_failure(sr_png_load(scratch_put("t.png", "GIF89a..", 8), &image), SR_ERROR_FORMAT,
                   "not a PNG");
    for (size_t n = 0; n < count; n++) {
        assert_int_equal(sr_png_load(scratch_put("t.png", bytes, n), &image), SR_ERROR_FORMAT);
        assert_null(image.data);
    }
    uint8_t *copy = malloc(count + 8);
    memcpy(copy, bytes, count);
    set_size(copy, 20, 20);
    assert_memory_equal(copy, bytes, count); // the test's own checksum is right
    set_size(copy, 8192, 8192); // just within the pixel limit: 200 MB claimed by 1.3 KB
    expect_failure(sr_png_load(scratch_put("t.png", copy, count), &image), SR_ERROR_FORMAT,
                   "too short");
    set_size(copy, 1u << 25, 4);
    expect_failure(sr_png_load(scratch_put("t.png", copy, count), &image), SR_ERROR_FORMAT, "2^26");
    set_size(copy, 0x7fffffff, 0x7fffffff);
    expect_failure(sr_png_load(scratch_put("t.png", copy, count), &image), SR_ERROR_FORMAT, "PNG");
    set_size(copy, 0, 20);
    expect_failure(sr_png_load(scratch_put("t.png", copy, count), &image), SR_ERROR_FORMAT, "PNG");
    set_size(copy, 20, 40); // twice the rows: the compressed data ends too early
    expect_failure(sr_png_load(scratch_put("t.png", copy, count), &image), SR_ERROR_FORMAT, "PNG");
    for (int i = 0; i < 3000; i++) {
        size_t n = scratch_mutate(&random, bytes, count, copy);
        if (sr_png_load(scratch_put("t.png", copy, n), &image) != SR_OK)
            assert_null(image.data);
        sr_image_clear(&image);
    }
    free(copy);
    sr_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_colour_types),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
