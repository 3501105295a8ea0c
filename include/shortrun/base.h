// base: what every other module stands on - status and error text, memory, hardware facts, text
// buffers, progress. Nothing here knows of networks or energies. The library never prints and never
// exits.
#ifndef SHORTRUN_BASE_H
#define SHORTRUN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SR_API __attribute__((visibility("default")))
#define SR_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define SR_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SR_API
#define SR_PRINTF(at, first)
#define SR_MUST_CHECK
#endif

// ---- status and error ---------------------------------------------------------------------------

// Every way in which a call can fail: X(name, text).
#define SR_STATUS_LIST(X)                                                                          \
    X(SR_OK, "no error")                                                                           \
    X(SR_ERROR_ARGUMENT, "invalid argument")                                                       \
    X(SR_ERROR_MEMORY, "out of memory")                                                            \
    X(SR_ERROR_IO, "input or output failed")                                                       \
    X(SR_ERROR_FORMAT, "malformed file")                                                           \
    X(SR_ERROR_UNSUPPORTED, "not supported")                                                       \
    X(SR_ERROR_DIVERGED, "training diverged")                                                      \
    X(SR_ERROR_INTERRUPTED, "interrupted")                                                         \
    X(SR_ERROR_DATABASE, "database error")                                                         \
    X(SR_ERROR_LIBRARY, "a library reported an error")

typedef enum sr_status {
#define SR_STATUS_NAME(name, text) name,
    SR_STATUS_LIST(SR_STATUS_NAME)
#undef SR_STATUS_NAME
} sr_status;

// The fixed text of a status, never NULL.
SR_API const char *sr_status_string(sr_status status);

// Records the particulars of a failure for the calling thread and returns `status`, so that a
// failing function can end with `return sr_fail(SR_ERROR_FORMAT, "%s: header says %zu bytes, file
// has %zu", ...)`. One line, no final newline; it names the file or field, what was found and what
// was expected.
SR_API sr_status sr_fail(sr_status status, const char *format, ...) SR_PRINTF(2, 3);

// Puts text before the recorded message (context added by an outer function), joined by ": " unless
// the text ends with a colon or a space; returns `status`.
SR_API sr_status sr_fail_context(sr_status status, const char *format, ...) SR_PRINTF(2, 3);

// The calling thread's last recorded message; "" when there was none. Valid until the next sr_fail.
SR_API const char *sr_error_message(void);

// ---- memory -------------------------------------------------------------------------------------

#define SR_ALIGNMENT 64 // bytes: a cache line, and the widest vector

// 64-byte aligned, zeroed memory for count x size bytes; NULL (with the error recorded) when the
// product overflows or memory is short. A request of 0 bytes gives a valid pointer. Release with
// sr_free.
SR_API void *sr_alloc(size_t count, size_t size) SR_MUST_CHECK;
// The same, zeroed by so many threads (0: all): for much memory, whose pages the kernel hands out
// when they are first touched, on a virtual machine at half a GB a second and thread.
SR_API void *sr_alloc_by(unsigned threads, size_t count, size_t size) SR_MUST_CHECK;
// Grows or shrinks memory from sr_alloc, keeping min(old_count, count) items; new bytes are zero.
// On failure NULL, and `old` stays valid.
SR_API void *sr_realloc(void *old, size_t old_count, size_t count, size_t size) SR_MUST_CHECK;
SR_API void sr_free(void *memory);
SR_API char *sr_strdup(const char *text) SR_MUST_CHECK; // release with sr_free

// a*b into *out; false when it does not fit. Use wherever a size comes from outside.
SR_API bool sr_size_mul(size_t a, size_t b, size_t *out);
SR_API bool sr_size_add(size_t a, size_t b, size_t *out);

// ---- text ---------------------------------------------------------------------------------------

// A growing, always NUL-terminated string. Zero-initialise; release with sr_text_clear. When memory
// runs short `failed` is set, later appends do nothing, and sr_text_status reports it: check once
// at the end.
typedef struct sr_text {
    char *data; // NULL while empty: read it through sr_text_string
    size_t length, capacity;
    bool failed;
} sr_text;

SR_API void sr_text_append(sr_text *text, const char *format, ...) SR_PRINTF(2, 3);
SR_API void sr_text_append_bytes(sr_text *text, const void *bytes, size_t count);
SR_API const char *sr_text_string(const sr_text *text); // never NULL
SR_API sr_status sr_text_status(const sr_text *text);
SR_API void sr_text_clear(sr_text *text);

// 128-bit XXH3 of the bytes as 32 hexadecimal digits and NUL. Not cryptographic: it names settings
// and weights, it does not protect them.
SR_API void sr_hash_hex(const void *bytes, size_t count, char out[33]);

// ---- the machine --------------------------------------------------------------------------------

// Instruction sets in climbing order. SR_ISA_AVX512_BF16 adds the bf16 dot product; SR_ISA_AMX
// means AVX-512 with AMX tiles usable (CPUID, XCR0 and the kernel's permission all granted).
typedef enum sr_isa {
    SR_ISA_SCALAR,
    SR_ISA_AVX2,
    SR_ISA_AVX512,
    SR_ISA_AVX512_BF16,
    SR_ISA_AMX
} sr_isa;

SR_API const char *sr_isa_name(sr_isa isa); // "scalar", "avx2", "avx512", "avx512_bf16", "amx"

typedef struct sr_cpu {
    char brand[64];
    sr_isa best;           // what the CPU and the operating system allow
    sr_isa active;         // `best`, or lower where the environment variable SHORTRUN_ISA says so
    bool isa_name_unknown; // SHORTRUN_ISA holds a name that does not exist (it is then ignored)
    bool avx512_bf16, avx512_vnni, amx_bf16;
    size_t l1d, l2, l3; // bytes, 0 where unknown (hwloc)
    unsigned cores;     // physical cores that this process may use
    unsigned threads;   // hardware threads that this process may use
    uint64_t memory;    // bytes of RAM, 0 where unknown
} sr_cpu;

// Found once per process; thread-safe; never NULL.
SR_API const sr_cpu *sr_cpu_get(void);

SR_API double sr_seconds(void);       // monotonic clock, seconds
SR_API uint64_t sr_peak_memory(void); // peak resident set of the process, bytes; 0 where unknown
// Number of threads a driver uses for a request: 0 means all hardware threads of sr_cpu.
SR_API unsigned sr_threads_resolve(unsigned requested);

// OpenBLAS runs on the calling thread alone between these two, so that no result depends on its
// threads; the first returns what the second wants.
SR_API int sr_blas_alone(void);
SR_API void sr_blas_restore(int threads);
// Ends OpenBLAS's threads for good. It starts one a core when it is loaded, and they spin for a
// tenth of a second in the way of ours. For programs that never run it on more than the calling
// thread.
SR_API void sr_blas_stop_threads(void);

// ---- progress -----------------------------------------------------------------------------------

typedef enum sr_level { SR_LEVEL_INFO, SR_LEVEL_WARNING } sr_level;

// How long work tells the outside world what it does. Every member may be NULL; calls come from the
// thread that started the work. A monitor pointer itself may be NULL too.
typedef struct sr_monitor {
    void *user;
    void (*log)(void *user, sr_level level, const char *line); // one line, without newline
    // `done` of `total` units of `what` ("cell 3/18 noise-free K=20 seed=1"); `detail` may be ""
    // ("iteration 120/600 gap 0.42").
    void (*progress)(void *user, const char *what, const char *detail, double done, double total);
    bool (*stop)(void *user); // true: save and return SR_ERROR_INTERRUPTED at the next safe place
} sr_monitor;

SR_API void sr_monitor_log(const sr_monitor *monitor, sr_level level, const char *format, ...)
    SR_PRINTF(3, 4);
SR_API void sr_monitor_progress(const sr_monitor *monitor, const char *what, const char *detail,
                                double done, double total);
SR_API bool sr_monitor_stop(const sr_monitor *monitor);

#ifdef __cplusplus
}
#endif
#endif
