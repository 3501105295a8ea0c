// Feature rows as the metrics want them: checked, with their mean.
#include "metrics.h"

#include <float.h>
#include <math.h>

#define COLUMNS 256 // whose means a thread takes
#define AHEAD 8     // rows that are fetched before their turn

// The first value that is not finite.
static size_t first_bad(size_t n, size_t dim, const float *x) {
    size_t at = 0;
    while (at < n * dim && isfinite(x[at]))
        at++;
    return at;
}

// mean (dim): sums over the rows in order.
static void take_mean(size_t n, size_t dim, const float *x, unsigned threads, double *mean) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t first = 0; first < dim; first += COLUMNS) {
        size_t columns = sr_smaller(COLUMNS, dim - first);
        for (size_t i = 0; i < n; i++) {
            const float *row = x + i * dim + first,
                        *next = x + sr_smaller(i + AHEAD, n - 1) * dim + first;
            for (size_t d = 0; d < columns; d += 16) // rows are too far apart for the hardware's
                __builtin_prefetch(next + d);
            for (size_t d = 0; d < columns; d++)
                mean[first + d] += row[d];
        }
    }
    for (size_t d = 0; d < dim; d++)
        mean[d] /= (double)n;
}

static bool all_finite(size_t n, const double *x) {
    bool finite = true;
    for (size_t i = 0; i < n; i++)
        finite &= fabs(x[i]) <= DBL_MAX; // NaN fails too
    return finite;
}

sr_status sr_rows_create(const char *name, size_t n, const float *x, size_t dim, unsigned threads,
                         sr_rows *out) {
    *out = (sr_rows){.n = n, .dim = dim, .x = x, .mean = sr_alloc(dim, sizeof(double))};
    if (!out->mean)
        return sr_fail_context(SR_ERROR_MEMORY, "%s features: ", name);
    take_mean(n, dim, x, threads, out->mean);
    if (all_finite(dim, out->mean)) // sums of finite floats are: no value is missed
        return SR_OK;
    size_t bad = first_bad(n, dim, x);
    sr_rows_clear(out);
    return sr_fail(SR_ERROR_ARGUMENT,
                   "%s features: row %zu, column %zu is %g, expected a finite number", name,
                   bad / dim, bad % dim, (double)x[bad]);
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
