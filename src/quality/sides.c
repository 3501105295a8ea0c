// One set of rows as the sweeps of pairs.c want it: in double for the exact path, in 16-bit
// integers for the fast one.
//
// x = c + u q + e: c the centre (a mean of the data, so that the norms are no larger than the
// spread of the rows), u the unit of the row, q integers, e what rounding leaves. Of e the part P e
// along the few directions of largest spread (the frame) is kept too: there the errors of many
// pairs would add up, as x.y is mostly the product of these parts. By the triangle inequality the
// distance of two rows is within the sum of both |e - P e| of that of the points c + u q + P e,
// about 1/2000 of |x - c|.
#include "metrics.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>

#define FRAME_ROWS 256 // of each set, whose directions are sought
#define FRAME_ROUNDS 5 // of subspace iteration
#define MAGIC 0x1.8p52 // added and taken away again it rounds to an integer

#define INLINE static inline __attribute__((always_inline))

// Loads and stores of eight values anywhere.
typedef double vec8 __attribute__((vector_size(64), aligned(8), may_alias));
typedef float half8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int64_t int8x __attribute__((vector_size(64)));

static sr_status exact_side(const sr_rows *rows, sr_side *s) {
    size_t n = rows->n, dim = rows->dim, count;
    s->padded = (n + SR_PANEL - 1) / SR_PANEL * SR_PANEL;
    if (!sr_size_mul(s->padded, dim, &count))
        return sr_fail(SR_ERROR_MEMORY, "%zu rows of %zu values do not fit in memory", n, dim);
    s->row = sr_alloc(count, sizeof(double));
    s->panel = sr_alloc(count, sizeof(double));
    if (!s->row || !s->panel)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++) {
            double value = rows->x[i * dim + d];
            s->row[i * dim + d] = value;
            s->panel[(i / SR_PANEL * dim + d) * SR_PANEL + i % SR_PANEL] = value;
        }
    return SR_OK;
}

// ---- rows in 16-bit integers --------------------------------------------------------------------

// What is known of a row: sums in eight lanes, the same on every instruction set.
typedef struct row_sums {
    double norm, product;  // |a|^2, x.centre
    double group, largest; // the largest norm of a group of features, and value
    double squares, error; // of q, of e
} row_sums;

INLINE double total(const vec8 *sum) {
    vec8 v = *sum;
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

// largest = the larger of itself and |v|, lane by lane.
INLINE void raise(const vec8 *v, vec8 *largest) {
    int8x sign = *v < 0.0;
    vec8 size = (vec8)((sign & (int8x) - *v) | (~sign & (int8x)*v));
    int8x above = size > *largest;
    *largest = (vec8)((above & (int8x)size) | (~above & (int8x)*largest));
}

// a (dim) = x - centre; the first four of the sums.
INLINE void centre_row(size_t dim, const float *x, const double *centre, double *a, row_sums *s) {
    const vec8 zero = {0};
    *s = (row_sums){0};
    for (size_t first = 0; first < dim; first += SR_NARROW_GROUP) {
        size_t last = sr_smaller(dim, first + SR_NARROW_GROUP), d = first;
        vec8 squares = zero, product = zero, largest = zero;
        for (; d + 8 <= last; d += 8) {
            vec8 value = __builtin_convertvector(*(const half8 *)(x + d), vec8);
            vec8 c = *(const vec8 *)(centre + d), apart = value - c;
            *(vec8 *)(a + d) = apart;
            squares += apart * apart;
            product += value * c;
            raise(&apart, &largest);
        }
        for (size_t lane = 0; d < last; d++, lane++) {
            a[d] = x[d] - centre[d];
            squares[lane] += a[d] * a[d];
            product[lane] += x[d] * centre[d];
            largest[lane] = fmax(largest[lane], fabs(a[d]));
        }
        for (size_t lane = 0; lane < 8; lane++)
            s->largest = fmax(s->largest, largest[lane]);
        double norm = total(&squares);
        s->norm += norm;
        s->product += total(&product);
        s->group = fmax(s->group, sqrt(norm));
    }
}

// 1 / unit: as large as panels.c allows; 0 for a row of zeros. Rounding moves each of a group's
// values by 1/2 at most, so their norm by sqrt(GROUP) / 2.
static double narrow_scale(const row_sums *s) {
    double most = SR_NARROW_NORM - 0.5 * sqrt(SR_NARROW_GROUP) - 1;
    return s->largest > 0 ? fmin(most / s->group, 32767 / s->largest) : 0;
}

// q (dim, one more where that is odd), e (dim) of a; the last two of the sums.
INLINE void round_row(size_t dim, const double *a, double scale, double unit, double *e, int32_t *q,
                      row_sums *s) {
    vec8 squares = {0}, error = {0};
    size_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        vec8 value = *(const vec8 *)(a + d), whole = value * scale + MAGIC - MAGIC;
        vec8 left = value - whole * unit;
        *(vec8 *)(e + d) = left;
        squares += whole * whole;
        error += left * left;
        for (size_t lane = 0; lane < 8; lane++)
            q[d + lane] = (int32_t)whole[lane];
    }
    for (size_t lane = 0; d < dim; d++, lane++) {
        double whole = a[d] * scale + MAGIC - MAGIC;
        e[d] = a[d] - whole * unit;
        squares[lane] += whole * whole;
        error[lane] += e[d] * e[d];
        q[d] = (int32_t)whole;
    }
    s->squares = total(&squares);
    s->error = total(&error);
}

// What a thread works on: a panel's rows less the centre, their e (both (SR_NARROW_PANEL, dim)),
// and the integers of one row.
typedef struct workspace {
    double *a, *e;
    int32_t *q;
} workspace;

// The rows of panel `first` on: integers and what comes with them, but for the directions' part.
INLINE void panel_body(const sr_rows *x, const sr_frame *frame, size_t first, const workspace *w,
                       sr_side *s, row_sums *sums) {
    size_t dim = x->dim, pairs = (dim + 1) / 2, rows = sr_smaller(SR_NARROW_PANEL, x->n - first);
    int16_t *panel = s->narrow + 2 * first * pairs;
    for (size_t r = 0; r < rows; r++) {
        double *a = w->a + r * dim;
        centre_row(dim, x->x + (first + r) * dim, frame->centre, a, &sums[r]);
        double scale = narrow_scale(&sums[r]), unit = scale > 0 ? 1 / scale : 0;
        w->q[2 * pairs - 1] = 0;
        round_row(dim, a, scale, unit, w->e + r * dim, w->q, &sums[r]);
        for (size_t p = 0; p < pairs; p++) {
            panel[2 * (p * SR_NARROW_PANEL + r)] = (int16_t)w->q[2 * p];
            panel[2 * (p * SR_NARROW_PANEL + r) + 1] = (int16_t)w->q[2 * p + 1];
        }
        s->unit[first + r] = unit;
        s->shift[first + r] = sums[r].product - frame->centre_square / 2;
    }
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
__attribute__((target("avx2"))) static void panel_avx2(const sr_rows *x, const sr_frame *frame,
                                                       size_t first, const workspace *w, sr_side *s,
                                                       row_sums *sums) {
    panel_body(x, frame, first, w, s, sums);
}

__attribute__((target("avx512f,avx512dq"))) static void
panel_avx512(const sr_rows *x, const sr_frame *frame, size_t first, const workspace *w, sr_side *s,
             row_sums *sums) {
    panel_body(x, frame, first, w, s, sums);
}
#endif

static void narrow_rows(const sr_rows *x, const sr_frame *frame, size_t first, const workspace *w,
                        sr_side *s, row_sums *sums) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512) {
        panel_avx512(x, frame, first, w, s, sums);
        return;
    }
    if (isa >= SR_ISA_AVX2) {
        panel_avx2(x, frame, first, w, s, sums);
        return;
    }
#endif
    panel_body(x, frame, first, w, s, sums);
}

static void narrow_panel(const sr_rows *x, const sr_frame *frame, size_t first, const workspace *w,
                         sr_side *s) {
    size_t dim = x->dim, rows = sr_smaller(SR_NARROW_PANEL, x->n - first);
    double lost[SR_NARROW_PANEL * SR_DIRECTIONS], along[SR_NARROW_PANEL * SR_DIRECTIONS];
    row_sums sums[SR_NARROW_PANEL];
    narrow_rows(x, frame, first, w, s, sums);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, SR_DIRECTIONS, (int)dim, 1.0,
                w->a, (int)dim, frame->direction, (int)dim, 0.0, along, SR_DIRECTIONS);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, SR_DIRECTIONS, (int)dim, 1.0,
                w->e, (int)dim, frame->direction, (int)dim, 0.0, lost, SR_DIRECTIONS);
    for (size_t r = 0; r < rows; r++) {
        size_t at = first + r;
        double error = sums[r].error;
        for (size_t k = 0; k < SR_DIRECTIONS; k++) {
            s->lost[k * s->padded + at] = lost[r * SR_DIRECTIONS + k];
            s->along[k * s->padded + at] = along[r * SR_DIRECTIONS + k];
            error -= lost[r * SR_DIRECTIONS + k] * lost[r * SR_DIRECTIONS + k];
        }
        sr_along_directions(s, at, s, at, 1, s->norm + at);
        s->norm[at] = sums[r].squares * (s->unit[at] * s->unit[at]) + s->norm[at];
        s->gain[at] = sums[r].norm - s->norm[at];
        s->shift[at] += s->norm[at] / 2;
        // Beside e: what is left of the squares' rounding in double where distances are small.
        s->error[at] = sqrt(fmax(error, 0)) * (1 + 1e-6) + 1e-7 * sqrt(sums[r].norm);
    }
}

static sr_status fast_arrays(const sr_rows *rows, unsigned threads, sr_side *s) {
    size_t n = rows->n, dim = rows->dim, count, pairs = (dim + 1) / 2;
    s->padded = (n + SR_NARROW_ROWS - 1) / SR_NARROW_ROWS * SR_NARROW_ROWS;
    if (!sr_size_mul(s->padded, pairs, &count))
        return sr_fail(SR_ERROR_MEMORY, "%zu rows of %zu values do not fit in memory", n, dim);
    s->narrow = sr_alloc_by(threads, count, 2 * sizeof(int16_t));
    s->unit = sr_alloc(n, sizeof(double));
    s->norm = sr_alloc(n, sizeof(double));
    s->gain = sr_alloc(n, sizeof(double));
    s->shift = sr_alloc(n, sizeof(double));
    s->lost = sr_alloc(s->padded, SR_DIRECTIONS * sizeof(double));
    s->along = sr_alloc(s->padded, SR_DIRECTIONS * sizeof(double));
    bool failed =
        !s->narrow || !s->unit || !s->norm || !s->gain || !s->shift || !s->lost || !s->along;
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

sr_status sr_side_round(const sr_frame *frame, unsigned threads, sr_side *s) {
    const sr_rows *rows = s->rows;
    size_t n = rows->n, dim = rows->dim, values = (dim + 1) / 2 * 2;
    double *scratch = sr_alloc(threads, 2 * SR_NARROW_PANEL * dim * sizeof *scratch);
    int32_t *integers = sr_alloc(threads, values * sizeof *integers);
    bool failed = !scratch || !integers;
    if (!failed)
#pragma omp parallel for num_threads(threads)
        for (size_t first = 0; first < n; first += SR_NARROW_PANEL) {
            size_t t = (size_t)omp_get_thread_num();
            double *a = scratch + t * 2 * SR_NARROW_PANEL * dim;
            workspace w = {a, a + SR_NARROW_PANEL * dim, integers + t * values};
            narrow_panel(rows, frame, first, &w, s);
        }
    sr_free(scratch);
    sr_free(integers);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

// ---- frames -------------------------------------------------------------------------------------

// direction (SR_DIRECTIONS, dim) becomes orthonormal, one that depends on those before it 0.
static void orthonormalise(size_t dim, double *direction) {
    for (size_t k = 0; k < SR_DIRECTIONS; k++) {
        double *v = direction + k * dim, before = cblas_dnrm2((int)dim, v, 1);
        for (int twice = 0; twice < 2; twice++)
            for (size_t i = 0; i < k; i++)
                cblas_daxpy((int)dim, -cblas_ddot((int)dim, direction + i * dim, 1, v, 1),
                            direction + i * dim, 1, v, 1);
        double norm = cblas_dnrm2((int)dim, v, 1);
        cblas_dscal((int)dim, norm > 1e-10 * before ? 1 / norm : 0, v, 1);
    }
}

// Rows [from, from + FRAME_ROWS) of x (2 FRAME_ROWS, dim): evenly spaced ones, less the centre.
static void sample_rows(const sr_rows *rows, const double *centre, double *x) {
    for (size_t i = 0; i < FRAME_ROWS; i++)
        for (size_t d = 0; d < rows->dim; d++)
            x[i * rows->dim + d] = rows->x[i * rows->n / FRAME_ROWS * rows->dim + d] - centre[d];
}

sr_status sr_frame_create(const sr_rows *real, const sr_rows *fake, sr_frame *out) {
    size_t dim = real->dim, rows = 2 * FRAME_ROWS;
    *out = (sr_frame){.direction = sr_alloc(SR_DIRECTIONS, dim * sizeof(double))};
    double *x = sr_alloc(rows, dim * sizeof *x);
    float *start = sr_alloc(SR_DIRECTIONS, dim * sizeof *start);
    double *along = sr_alloc(rows, SR_DIRECTIONS * sizeof *along);
    bool failed = !out->direction || !x || !start || !along;
    if (!failed) {
        sample_rows(real, real->mean, x);
        sample_rows(fake, real->mean, x + FRAME_ROWS * dim);
        sr_projections_draw(0, SR_DIRECTIONS, dim, start);
        for (size_t i = 0; i < SR_DIRECTIONS * dim; i++)
            out->direction[i] = start[i];
        for (int round = 0; round < FRAME_ROUNDS; round++) { // subspace iteration
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, SR_DIRECTIONS, (int)dim,
                        1.0, x, (int)dim, out->direction, (int)dim, 0.0, along, SR_DIRECTIONS);
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, SR_DIRECTIONS, (int)dim, (int)rows,
                        1.0, along, SR_DIRECTIONS, x, (int)dim, 0.0, out->direction, (int)dim);
            orthonormalise(dim, out->direction);
        }
    }
    sr_free(x);
    sr_free(start);
    sr_free(along);
    sr_frame_centre(out, real);
    return failed ? SR_ERROR_MEMORY : SR_OK;
}

void sr_frame_centre(sr_frame *frame, const sr_rows *rows) {
    frame->centre = rows->mean;
    frame->centre_square = 0;
    for (size_t d = 0; d < rows->dim; d++)
        frame->centre_square += rows->mean[d] * rows->mean[d];
}

void sr_frame_clear(sr_frame *frame) {
    sr_free(frame->direction);
    *frame = (sr_frame){0};
}

// ---- sides --------------------------------------------------------------------------------------

sr_status sr_side_create(const sr_rows *rows, const sr_frame *frame, unsigned threads,
                         sr_side *out) {
    *out = (sr_side){.rows = rows, .exact = !frame};
    out->error = sr_alloc(rows->n, sizeof(double));
    sr_status status = out->error ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = frame ? fast_arrays(rows, threads, out) : exact_side(rows, out);
    if (status == SR_OK && frame)
        status = sr_side_round(frame, threads, out);
    if (status != SR_OK)
        sr_side_clear(out);
    return status;
}

void sr_side_clear(sr_side *side) {
    sr_free(side->row);
    sr_free(side->panel);
    sr_free(side->narrow);
    sr_free(side->unit);
    sr_free(side->lost);
    sr_free(side->along);
    sr_free(side->norm);
    sr_free(side->gain);
    sr_free(side->shift);
    sr_free(side->error);
    *side = (sr_side){0};
}
