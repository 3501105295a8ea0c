// io: files of foreign formats (.npy, safetensors, PNG) and atomic writing. All input is taken as
// hostile: every size is checked against the file before it is used.
#ifndef SHORTRUN_IO_H
#define SHORTRUN_IO_H

#include <shortrun/base.h>

#ifdef __cplusplus
extern "C" {
#endif

// Element types of arrays in files.
typedef enum sr_dtype { SR_F32, SR_F64, SR_U8, SR_I32, SR_I64, SR_U64, SR_DTYPE_COUNT } sr_dtype;
SR_API size_t sr_dtype_size(sr_dtype dtype);
SR_API const char *sr_dtype_name(sr_dtype dtype); // safetensors' names: "F32", "F64", "U8", ...

#define SR_MAX_RANK 8

// A dense row-major array in memory. Owned by whoever created it; data from sr_alloc.
typedef struct sr_array {
    sr_dtype dtype;
    size_t rank, shape[SR_MAX_RANK];
    void *data;
} sr_array;

SR_API size_t sr_array_count(const sr_array *array); // product of the shape, 1 for rank 0
SR_API void sr_array_clear(sr_array *array);         // releases the data and zeroes the struct
// Copies any numeric array to float32 or float64 in new memory (sr_free).
SR_API sr_status sr_array_to_f32(const sr_array *array, float **out);
SR_API sr_status sr_array_to_f64(const sr_array *array, double **out);

// ---- whole files --------------------------------------------------------------------------------

// Writes to a temporary name in the same folder, fsyncs, renames over `path`, and fsyncs the
// folder: after a crash or on a full disk either the old or the new content is there, whole. A
// symbolic link stays and its target is replaced; devices and pipes are written in place.
SR_API sr_status sr_file_write(const char *path, const void *bytes, size_t count);
// Reads a whole file (at most `limit` bytes, 0 = no limit, 2^30 for devices and pipes) into new
// memory, with a NUL behind the end.
SR_API sr_status sr_file_read(const char *path, size_t limit, void **bytes, size_t *count);
// Reads a plain or gzip-compressed file; the decompressed size may not exceed `limit` bytes.
SR_API sr_status sr_file_read_gzip(const char *path, size_t limit, void **bytes, size_t *count);
SR_API bool sr_file_exists(const char *path);
SR_API sr_status sr_folder_make(const char *path); // with all parents; fine when it exists already

// ---- .npy ---------------------------------------------------------------------------------------

// NumPy's format 1.0 to 3.0: little-endian f4, f8, u1, i4, i8, u8 (bool reads as u1, f2 as f4), C
// order; Fortran order is transposed on reading. A header whose shape does not fit the file's size
// is an error.
SR_API sr_status sr_npy_load(const char *path, sr_array *out);
SR_API sr_status sr_npy_save(const char *path, const sr_array *array);
// Convenience: float32 array of the given shape.
SR_API sr_status sr_npy_save_f32(const char *path, size_t rank, const size_t *shape,
                                 const float *data);

// ---- safetensors --------------------------------------------------------------------------------

// A set of named tensors with string metadata. Reading checks header size, JSON, dtypes, offsets
// that overlap, leave holes or pass the end of the file, and shapes that do not match their bytes.
// F16 and BF16 are widened to F32, BOOL reads as U8.
typedef struct sr_tensors sr_tensors;

SR_API sr_status sr_tensors_create(sr_tensors **out); // empty, for writing
SR_API sr_status sr_tensors_load(const char *path, sr_tensors **out);
SR_API void sr_tensors_destroy(sr_tensors *tensors);
SR_API size_t sr_tensors_count(const sr_tensors *tensors);
// Name and view of tensor i, in the file's order; the view's data belongs to `tensors`.
SR_API const char *sr_tensors_name(const sr_tensors *tensors, size_t i);
SR_API const sr_array *sr_tensors_at(const sr_tensors *tensors, size_t i);
// By name; NULL when absent.
SR_API const sr_array *sr_tensors_find(const sr_tensors *tensors, const char *name);
// Value of a metadata key; NULL when absent.
SR_API const char *sr_tensors_meta(const sr_tensors *tensors, const char *key);
// Adds a copy of the data; a name that exists already is an error.
SR_API sr_status sr_tensors_add(sr_tensors *tensors, const char *name, sr_dtype dtype, size_t rank,
                                const size_t *shape, const void *data);
SR_API sr_status sr_tensors_set_meta(sr_tensors *tensors, const char *key, const char *value);
SR_API sr_status sr_tensors_save(const sr_tensors *tensors, const char *path); // atomic

// ---- PNG ----------------------------------------------------------------------------------------

// 8-bit images in memory, interleaved: (height, width, channels), channels 1 (grey) or 3 (RGB).
typedef struct sr_image {
    size_t height, width, channels;
    uint8_t *data; // from sr_alloc
} sr_image;

SR_API void sr_image_clear(sr_image *image);
// Reads any PNG: palettes and 16 bits become 8-bit grey or RGB, alpha and gamma are ignored (the
// stored values count). At most 2^26 pixels.
SR_API sr_status sr_png_load(const char *path, sr_image *out);
SR_API sr_status sr_png_save(const char *path, const sr_image *image); // atomic
// A grid of n images x (n, channels, height, width) in [low, high], `columns` to a row, 2 pixels
// apart, each pixel magnified `zoom` times; values outside the range are clipped.
SR_API sr_status sr_png_save_grid(const char *path, size_t n, size_t channels, size_t height,
                                  size_t width, const float *x, float low, float high,
                                  size_t columns, size_t zoom);

#ifdef __cplusplus
}
#endif
#endif
