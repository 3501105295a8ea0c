// What the files of the io module share and nobody else needs.
#ifndef SHORTRUN_IO_INTERNAL_H
#define SHORTRUN_IO_INTERNAL_H

#include <shortrun/io.h>

// One piece of a file's content.
typedef struct sr_file_part {
    const void *bytes;
    size_t count;
} sr_file_part;

// sr_file_write for content that lies in several places: the parts, one after the other.
sr_status sr_file_write_parts(const char *path, const sr_file_part *parts, size_t n);

// Text from a file, fit for a one-line message: control characters become '?', what does not fit is
// cut.
const char *sr_printable(const char *text, char *out, size_t size);

// Bytes of a dense array of `rank` dimensions. False when the product does not fit into size_t,
// dimensions of zero being left out of that check's product (so that (0, huge, huge) is refused as
// well).
bool sr_shape_bytes(size_t rank, const size_t *shape, size_t item, size_t *out);

// Widens n IEEE half floats, or n bfloat16, both little-endian, to float32.
void sr_half_to_f32(size_t n, const uint8_t *in, float *out);
void sr_bfloat16_to_f32(size_t n, const uint8_t *in, float *out);

#endif
