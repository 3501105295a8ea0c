// A scratch folder for tests of files, and a seeded generator for mutations. Included by the tests
// of io and data.
#ifndef SHORTRUN_TESTS_SCRATCH_H
#define SHORTRUN_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char scratch_folder[512];

static inline int scratch_setup(void **state) {
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(scratch_folder, sizeof scratch_folder, "%s/shortrun-test-XXXXXX",
             base && *base ? base : P_tmpdir);
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *info, int type,
                                 struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static inline int scratch_teardown(void **state) {
    (void)state;
    return nftw(scratch_folder, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

// The path of a file in the scratch folder; valid until the fourth next call.
static inline const char *scratch(const char *name) {
    static char paths[4][1024];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

// Writes bytes plainly, without the code under test.
static inline const char *scratch_put(const char *name, const void *bytes, size_t count) {
    const char *path = scratch(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

// SplitMix64: mutations need to be repeatable, nothing more.
static inline uint64_t scratch_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Damages a copy of `count` bytes in `out` (capacity count + 8): bit flips, extreme bytes, extreme
// words, a cut, bytes behind the end. Returns the new length.
static inline size_t scratch_mutate(uint64_t *random, const uint8_t *bytes, size_t count,
                                    uint8_t *out) {
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff, '9', '-', '"', '{', '['};
    memcpy(out, bytes, count);
    size_t changes = 1 + scratch_random(random) % 4;
    // the front holds the header: half of the changes go there
    size_t front = count < 128 ? count : 128;
    while (changes-- > 0 && count > 0) {
        size_t at = scratch_random(random) % (scratch_random(random) % 2 ? front : count);
        if (at >= count)
            at = count - 1;
        switch (scratch_random(random) % 6) {
        case 0:
        case 1:
            out[at] ^= (uint8_t)(1u << scratch_random(random) % 8);
            break;
        case 2:
            out[at] = extremes[scratch_random(random) % sizeof extremes];
            break;
        case 3: {
            uint64_t word = scratch_random(random) % 2 ? UINT64_MAX : scratch_random(random);
            size_t width = (size_t)1 << scratch_random(random) % 4;
            if (at + width <= count)
                memcpy(out + at, &word, width);
            break;
        }
        case 4:
            count = at;
            break;
        default: {
            size_t more = count <= front ? 0 : scratch_random(random) % 3;
            if (more > 0 && changes == 0) { // only as the last change: `out` has room for 8 bytes
                memset(out + count, 'x', more);
                return count + more;
            }
            out[at] = (uint8_t)scratch_random(random);
        }
        }
    }
    return count;
}

#endif
