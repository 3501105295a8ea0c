// Names for settings and weights: XXH3, 128 bits, from libxxhash.
#include <shortrun/base.h>

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

void sr_hash_hex(const void *bytes, size_t count, char out[33]) {
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}
