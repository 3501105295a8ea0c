// Feature rows as the metrics want them: checked, with their mean.
#include "metrics.h"

#include <float.h>
#include <math.h>

#define COLUMNS 256 // whose means a thread takes

// The first value that is not finite, n * dim if all are.
static size_t first_bad(size_t n, size_t dim, const float *x, unsigned threads) {
    size_t bad = n * dim;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : bad)
    for (size_t i = 0; i < n; i++) {
        bool finite = true;
        for (size_t d = 0; d < dim; d++)
            finite &= fabsf(x[i * dim + d]) <= FLT_MAX; // NaN fails too
        for (size_t d = 0; d < dim && !finite; d++)
            if (!isfinite(x[i * dim + d])) {
                bad = i * dim + d < bad ? i * dim + d : bad;
                break;
            }
    }
    return bad;
}

sr_status sr_rows_create(const char *name, size_t n, const float *x, size_t dim, unsigned threads,
                         sr_rows *out) {
    *out = (sr_rows){.n = n, .dim = dim, .x = x};
    size_t bad = first_bad(n, dim, x, threads);
    if (bad < n * dim)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s features: row %zu, column %zu is %g, expected a finite number", name,
                       bad / dim, bad % dim, (double)x[bad]);
    out->mean = sr_alloc(dim, sizeof(double));
    if (!out->mean)
        return sr_fail_context(SR_ERROR_MEMORY, "%s features: ", name);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t first = 0; first < dim; first += COLUMNS)
        for (size_t i = 0; i < n; i++)
            for (size_t d = first; d < dim && d < first + COLUMNS; d++)
                out->mean[d] += x[i * dim + d];
    for (size_t d = 0; d < dim; d++)
        out->mean[d] /= (double)n;
    return SR_OK;
}

void sr_rows_clear(sr_rows *rows) {
    sr_free(rows->mean);
    *rows = (sr_rows){0};
}

typedef double vec8 __attribute__((vector_size(64), may_alias));
typedef float half8 __attribute__((vector_size(32), aligned(4), may_alias));

static inline __attribute__((always_inline)) double square_body(size_t dim, const float *a,
                                                                const float *b) {
    vec8 sum = {0}, more = {0};
    size_t d = 0;
    for (; d + 16 <= dim; d += 16) {
        vec8 x = __builtin_convertvector(*(const half8 *)(a + d), vec8) -
                 __builtin_convertvector(*(const half8 *)(b + d), vec8);
        vec8 y = __builtin_convertvector(*(const half8 *)(a + d + 8), vec8) -
                 __builtin_convertvector(*(const half8 *)(b + d + 8), vec8);
        sum += x * x;
        more += y * y;
    }
    sum += more;
    double tail = 0;
    for (; d < dim; d++)
        tail += ((double)a[d] - b[d]) * ((double)a[d] - b[d]);
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7])) + tail;
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
__attribute__((target("avx2"))) static double square_avx2(size_t dim, const float *a,
                                                          const float *b) {
    return square_body(dim, a, b);
}

__attribute__((target("avx512f"))) static double square_avx512(size_t dim, const float *a,
                                                               const float *b) {
    return square_body(dim, a, b);
}
#endif

double sr_square_exact(size_t dim, const float *a, const float *b) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512)
        return square_avx512(dim, a, b);
    if (isa >= SR_ISA_AVX2)
        return square_avx2(dim, a, b);
#endif
    return square_body(dim, a, b);
}
