// Aligned, zeroed memory and checked size arithmetic.
#include <shortrun/base.h>

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

// Memory of at least so many bytes is asked for in pages of this size: a sampler that walks through
// megabytes otherwise spends a tenth of its time on address translation.
#define HUGE_PAGE ((size_t)1 << 21)
#define ALONE (4 * HUGE_PAGE) // bytes below which a thread zeroes alone

bool sr_size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool sr_size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

// Memory for count x size bytes, whose number goes to *bytes, not zeroed.
static void *reserve(size_t count, size_t size, size_t *bytes) {
    size_t rounded;
    if (!sr_size_mul(count, size, bytes) || !sr_size_add(*bytes, SR_ALIGNMENT - 1, &rounded)) {
        sr_fail(SR_ERROR_MEMORY, "out of memory: %zu items of %zu bytes exceed the address space",
                count, size);
        return NULL;
    }
    rounded -= rounded % SR_ALIGNMENT;
    if (rounded == 0)
        rounded = SR_ALIGNMENT;
    const bool huge = rounded >= HUGE_PAGE && rounded <= SIZE_MAX - HUGE_PAGE;
    if (huge)
        rounded = (rounded + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = aligned_alloc(huge ? HUGE_PAGE : SR_ALIGNMENT, rounded);
    if (!memory) {
        sr_fail(SR_ERROR_MEMORY, "out of memory: could not get %zu bytes", *bytes);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (huge)
        (void)madvise(memory, rounded, MADV_HUGEPAGE); // advice: without it all works, slower
#endif
    return memory;
}

void *sr_alloc(size_t count, size_t size) {
    size_t bytes;
    void *memory = reserve(count, size, &bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *sr_alloc_by(unsigned threads, size_t count, size_t size) {
    size_t bytes;
    char *memory = reserve(count, size, &bytes);
    if (!memory)
        return NULL;
    if (bytes < ALONE)
        return memset(memory, 0, bytes);
    threads = sr_threads_resolve(threads);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t at = 0; at < bytes; at += HUGE_PAGE)
        memset(memory + at, 0, bytes - at < HUGE_PAGE ? bytes - at : HUGE_PAGE);
    return memory;
}

void *sr_realloc(void *old, size_t old_count, size_t count, size_t size) {
    void *memory = sr_alloc(count, size);
    if (!memory)
        return NULL;
    size_t kept = old_count < count ? old_count : count;
    if (old && kept > 0)
        memcpy(memory, old, kept * size);
    sr_free(old);
    return memory;
}

void sr_free(void *memory) {
    free(memory);
}

char *sr_strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = sr_alloc(bytes, 1);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}
