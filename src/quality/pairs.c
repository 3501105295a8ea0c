// All pairs of rows of two sets, in tiles that are handed to a visitor and forgotten: no n x m
// matrix. There are two ways to fill a tile.
//
// Exact, for small problems: differences are squared and summed directly in double, products come
// from dgemm. The kernel takes 4 rows against a panel of 8: one vector holds one feature of 8 rows,
// so that each sum runs over the features in order and has the same bits on every instruction set.
//
// Fast: rows in 16-bit integers, x = c + u q + e: c the centre (a mean of the data, so that the
// norms are no larger than the spread of the rows), u the unit of the row, q integers, e what
// rounding leaves. Of e the part P e along the few directions of largest spread is kept too: there
// the errors of many pairs would add up, as x.y is mostly the product of these parts. Products of q
// come from panels.c exactly, and the tile holds distances and products of the points c + u q + P
// e. By the triangle inequality a distance is within the sum of both rows' |e - P e| of the truth,
// about 1/2000 of |x - c|, and each tile carries these. What is compared with another distance
// (neighbours, balls) is computed again in double when that leaves it open, so that these decisions
// are those of the exact path. Sums over pairs take the tile's values with the rows' true norms
// instead (the gains): what is left is e.y, and the y sum up to nothing around their mean.
#include "metrics.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#define FAST_EDGE 240  // rows of a fast tile: five groups of panels, within the cache (panels.c)
#define EXACT_EDGE 128 // rows of an exact tile: 128 KB of squares, and enough tiles for threads
#define ROW_GROUP 4    // rows the exact kernel takes at once, one accumulator each
// Pairs times features up to which the exact path is taken: about a second on one core.
#define EXACT_WORK 4e9
#define FAST_DIM 32    // below, products have nothing to gain on
#define FRAME_ROWS 512 // of each set, whose directions are sought
#define FRAME_ROUNDS 6 // of subspace iteration
#define MAGIC 0x1.8p52 // added and taken away again it rounds to an integer

#define INLINE static inline __attribute__((always_inline))

typedef double vec8 __attribute__((vector_size(64), aligned(64), may_alias));

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

bool sr_pairs_exact(size_t n, size_t m, size_t dim) {
    double a = (double)n, b = (double)m;
    return dim < FAST_DIM || (a * a / 2 + b * b / 2 + a * b) * (double)dim <= EXACT_WORK;
}

// ---- sides --------------------------------------------------------------------------------------

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

// 1 / unit: as large as panels.c allows for the row a (dim); 0 for one of zeros.
static double narrow_scale(size_t dim, const double *a) {
    double largest = 0, norm = 0;
    for (size_t first = 0; first < dim; first += SR_NARROW_GROUP) {
        double squares = 0;
        for (size_t d = first; d < dim && d < first + SR_NARROW_GROUP; d++) {
            squares += a[d] * a[d];
            largest = fmax(largest, fabs(a[d]));
        }
        norm = fmax(norm, sqrt(squares));
    }
    // Rounding moves each of a group's values by 1/2 at most, so their norm by sqrt(GROUP) / 2.
    double most = SR_NARROW_NORM - 0.5 * sqrt(SR_NARROW_GROUP) - 1;
    return largest > 0 ? fmin(most / norm, 32767 / largest) : 0;
}

// Row `at` of the side: its integers and their unit. a (dim): x - centre, becomes e. Returns the
// square of the norm of q.
static double narrow_row(size_t dim, size_t at, double *a, sr_side *s) {
    size_t pairs = (dim + 1) / 2, lane = at % SR_NARROW_PANEL;
    int16_t *to = s->narrow + 2 * (at / SR_NARROW_PANEL * pairs * SR_NARROW_PANEL + lane);
    double scale = narrow_scale(dim, a), unit = scale > 0 ? 1 / scale : 0, squares = 0;
    for (size_t d = 0; d < dim; d++) {
        double q = a[d] * scale + MAGIC - MAGIC;
        to[d / 2 * 2 * SR_NARROW_PANEL + d % 2] = (int16_t)q;
        squares += q * q;
        a[d] -= q * unit;
    }
    s->unit[at] = unit;
    return squares;
}

// sum (count) = what the directions add to the products of row `row` of p with rows from `first` of
// q on: (P e).x' + (unit q).(P e').
INLINE void along_directions(const sr_side *p, size_t row, const sr_side *q, size_t first,
                             size_t count, double *sum) {
    memset(sum, 0, count * sizeof *sum);
    for (size_t r = 0; r < SR_DIRECTIONS; r++) {
        double e = p->lost[r * p->padded + row], kept = p->along[r * p->padded + row] - e;
        const double *lost = q->lost + r * q->padded + first,
                     *along = q->along + r * q->padded + first;
        for (size_t j = 0; j < count; j++)
            sum[j] += e * along[j] + kept * lost[j];
    }
}

// The rows of panel `first` on; a, e (SR_NARROW_PANEL, dim).
static void narrow_panel(const sr_rows *x, const sr_frame *frame, size_t first, double *a,
                         double *e, sr_side *s) {
    size_t dim = x->dim, rows = smaller(SR_NARROW_PANEL, x->n - first);
    double lost[SR_NARROW_PANEL * SR_DIRECTIONS], along[SR_NARROW_PANEL * SR_DIRECTIONS];
    double squares[SR_NARROW_PANEL], norm[SR_NARROW_PANEL] = {0}, error[SR_NARROW_PANEL] = {0};
    for (size_t r = 0; r < rows; r++) {
        const float *row = x->x + (first + r) * dim;
        double product = 0;
        for (size_t d = 0; d < dim; d++) {
            double value = row[d] - frame->centre[d];
            a[r * dim + d] = e[r * dim + d] = value;
            norm[r] += value * value;
            product += row[d] * frame->centre[d];
        }
        s->shift[first + r] = product - frame->centre_square / 2;
        squares[r] = narrow_row(dim, first + r, e + r * dim, s);
        for (size_t d = 0; d < dim; d++)
            error[r] += e[r * dim + d] * e[r * dim + d];
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, SR_DIRECTIONS, (int)dim, 1.0, a,
                (int)dim, frame->direction, (int)dim, 0.0, along, SR_DIRECTIONS);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, SR_DIRECTIONS, (int)dim, 1.0, e,
                (int)dim, frame->direction, (int)dim, 0.0, lost, SR_DIRECTIONS);
    for (size_t r = 0; r < rows; r++) {
        size_t at = first + r;
        for (size_t k = 0; k < SR_DIRECTIONS; k++) {
            s->lost[k * s->padded + at] = lost[r * SR_DIRECTIONS + k];
            s->along[k * s->padded + at] = along[r * SR_DIRECTIONS + k];
            error[r] -= lost[r * SR_DIRECTIONS + k] * lost[r * SR_DIRECTIONS + k];
        }
        along_directions(s, at, s, at, 1, s->norm + at);
        s->norm[at] = squares[r] * (s->unit[at] * s->unit[at]) + s->norm[at];
        s->gain[at] = norm[r] - s->norm[at];
        // Beside e: what is left of the squares' rounding in double where distances are small.
        s->error[at] = sqrt(fmax(error[r], 0)) * (1 + 1e-6) + 1e-7 * sqrt(norm[r]);
    }
}

static sr_status fast_side(const sr_rows *rows, const sr_frame *frame, unsigned threads,
                           sr_side *s) {
    size_t n = rows->n, dim = rows->dim, count, pairs = (dim + 1) / 2;
    s->padded = (n + SR_NARROW_ROWS - 1) / SR_NARROW_ROWS * SR_NARROW_ROWS;
    if (!sr_size_mul(s->padded, pairs, &count))
        return sr_fail(SR_ERROR_MEMORY, "%zu rows of %zu values do not fit in memory", n, dim);
    s->narrow = sr_alloc(count, 2 * sizeof(int16_t));
    s->unit = sr_alloc(n, sizeof(double));
    s->norm = sr_alloc(n, sizeof(double));
    s->gain = sr_alloc(n, sizeof(double));
    s->shift = sr_alloc(n, sizeof(double));
    s->lost = sr_alloc(s->padded, SR_DIRECTIONS * sizeof(double));
    s->along = sr_alloc(s->padded, SR_DIRECTIONS * sizeof(double));
    double *scratch = sr_alloc(threads, 2 * SR_NARROW_PANEL * dim * sizeof *scratch);
    bool failed =
        !s->narrow || !s->unit || !s->norm || !s->gain || !s->shift || !s->lost || !s->along;
    if (scratch && !failed)
#pragma omp parallel for num_threads(threads)
        for (size_t first = 0; first < n; first += SR_NARROW_PANEL) {
            double *a = scratch + (size_t)omp_get_thread_num() * 2 * SR_NARROW_PANEL * dim;
            narrow_panel(rows, frame, first, a, a + SR_NARROW_PANEL * dim, s);
        }
    failed = failed || !scratch;
    sr_free(scratch);
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

sr_status sr_side_create(const sr_rows *rows, const sr_frame *frame, unsigned threads,
                         sr_side *out) {
    *out = (sr_side){.rows = rows, .exact = !frame};
    out->error = sr_alloc(rows->n, sizeof(double));
    sr_status status = out->error ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = frame ? fast_side(rows, frame, threads, out) : exact_side(rows, out);
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

// ---- tiles --------------------------------------------------------------------------------------

// out[r * SR_TILE + 8 c + j] = squared distance of row r (of 4) of a (4, dim) to row j of panel c.
typedef void (*group_kernel)(size_t dim, const double *a, size_t panels, const double *panel,
                             double *out);

static inline __attribute__((always_inline)) void
group_body(size_t dim, const double *a, size_t panels, const double *panel, double *out) {
    const double *a0 = a, *a1 = a + dim, *a2 = a + 2 * dim, *a3 = a + 3 * dim;
    for (size_t c = 0; c < panels; c++) {
        const vec8 *b = (const vec8 *)(panel + c * dim * SR_PANEL);
        vec8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (size_t d = 0; d < dim; d++) {
            vec8 d0 = a0[d] - b[d], d1 = a1[d] - b[d], d2 = a2[d] - b[d], d3 = a3[d] - b[d];
            s0 += d0 * d0;
            s1 += d1 * d1;
            s2 += d2 * d2;
            s3 += d3 * d3;
        }
        vec8 *to = (vec8 *)(out + c * SR_PANEL);
        to[0] = s0;
        to[SR_TILE / SR_PANEL] = s1;
        to[2 * SR_TILE / SR_PANEL] = s2;
        to[3 * SR_TILE / SR_PANEL] = s3;
    }
}

static void group_portable(size_t dim, const double *a, size_t panels, const double *panel,
                           double *out) {
    group_body(dim, a, panels, panel, out);
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
__attribute__((target("avx2"))) static void group_avx2(size_t dim, const double *a, size_t panels,
                                                       const double *panel, double *out) {
    group_body(dim, a, panels, panel, out);
}

__attribute__((target("avx512f"))) static void
group_avx512(size_t dim, const double *a, size_t panels, const double *panel, double *out) {
    group_body(dim, a, panels, panel, out);
}
#endif

static group_kernel group_kernel_get(void) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512)
        return group_avx512;
    if (isa >= SR_ISA_AVX2)
        return group_avx2;
#endif
    return group_portable;
}

// What one thread fills its tiles in.
typedef struct workspace {
    double square[SR_TILE * SR_TILE], dot[SR_TILE * SR_TILE];
    int32_t sums[SR_TILE * SR_TILE];
} workspace;

static void fill_exact(const sr_side *p, const sr_side *q, const sr_tile *t, bool dot,
                       group_kernel kernel, workspace *w) {
    size_t dim = p->rows->dim, panels = (t->columns + SR_PANEL - 1) / SR_PANEL;
    for (size_t i = 0; i < t->rows; i += ROW_GROUP)
        kernel(dim, p->row + (t->row + i) * dim, panels, q->panel + t->column * dim,
               w->square + i * SR_TILE);
    if (dot)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->rows, (int)t->columns,
                    (int)dim, 1.0, p->row + t->row * dim, (int)dim, q->row + t->column * dim,
                    (int)dim, 0.0, w->dot, SR_TILE);
}

// w->square: the products of the integers, then the squared distances.
INLINE void distances_body(const sr_side *p, const sr_side *q, const sr_tile *t, workspace *w) {
    const double *norms = q->norm + t->column, *shifts = q->shift + t->column,
                 *units = q->unit + t->column;
    _Alignas(64) double along[SR_TILE];
    for (size_t i = 0; i < t->rows; i++) {
        double norm = p->norm[t->row + i], shift = p->shift[t->row + i], unit = p->unit[t->row + i];
        double *square = w->square + i * SR_TILE, *dot = w->dot + i * SR_TILE;
        along_directions(p, t->row + i, q, t->column, t->columns, along);
        for (size_t j = 0; j < t->columns; j++) {
            double product = square[j] * (unit * units[j]) + along[j];
            double value = norm + norms[j] - 2 * product;
            square[j] = value > 0 ? value : 0;
            dot[j] = product + (shift + shifts[j]);
        }
    }
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
__attribute__((target("avx2"))) static void distances_avx2(const sr_side *p, const sr_side *q,
                                                           const sr_tile *t, workspace *w) {
    distances_body(p, q, t, w);
}

__attribute__((target("avx512f"))) static void distances_avx512(const sr_side *p, const sr_side *q,
                                                                const sr_tile *t, workspace *w) {
    distances_body(p, q, t, w);
}
#endif

static void distances(const sr_side *p, const sr_side *q, const sr_tile *t, workspace *w) {
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512) {
        distances_avx512(p, q, t, w);
        return;
    }
    if (isa >= SR_ISA_AVX2) {
        distances_avx2(p, q, t, w);
        return;
    }
#endif
    distances_body(p, q, t, w);
}

static void fill_fast(const sr_side *p, const sr_side *q, const sr_tile *t, workspace *w) {
    size_t dim = p->rows->dim, values = (dim + 1) / 2 * 2;
    sr_narrow_products(dim, t->rows, p->narrow + t->row * values, t->columns,
                       q->narrow + t->column * values, w->sums, w->square);
    distances(p, q, t, w);
}

double sr_tile_exact(const sr_side *p, const sr_side *q, const sr_tile *t, size_t i, size_t j) {
    double square = t->square[i * SR_TILE + j];
    if (t->row_error[i] + t->column_error[j] == 0)
        return square;
    size_t dim = p->rows->dim;
    return sr_square_exact(dim, p->rows->x + (t->row + i) * dim,
                           q->rows->x + (t->column + j) * dim);
}

// ---- the sweep ----------------------------------------------------------------------------------

size_t sr_pair_edge(const sr_side *p, const sr_side *q) {
    return p->exact ? EXACT_EDGE : FAST_EDGE;
}

size_t sr_pair_tiles(const sr_side *p, const sr_side *q) {
    size_t edge = sr_pair_edge(p, q);
    return ((p->rows->n + edge - 1) / edge) * ((q->rows->n + edge - 1) / edge);
}

// The tile of wave `wave` and number t: blocks (t, t + wave) round the circle of the longer side's
// blocks. Returns false where a sweep of a set over itself has had the pair already.
static bool tile_of(const sr_side *p, const sr_side *q, size_t wave, size_t number, sr_tile *tile) {
    size_t edge = sr_pair_edge(p, q), down = (p->rows->n + edge - 1) / edge,
           across = (q->rows->n + edge - 1) / edge, row, column;
    if (down <= across) {
        row = number;
        column = (number + wave) % across;
    } else {
        column = number;
        row = (number + wave) % down;
    }
    *tile = (sr_tile){.row = row * edge, .column = column * edge, .self = p == q};
    tile->rows = smaller(edge, p->rows->n - tile->row);
    tile->columns = smaller(edge, q->rows->n - tile->column);
    tile->index = row * across + column;
    tile->diagonal = tile->self && row == column;
    return !tile->self || 2 * wave < across || (2 * wave == across && number < across / 2);
}

double sr_pair_cost(const sr_side *p, const sr_side *q) {
    double pairs = (double)p->rows->n * (double)q->rows->n / (p == q ? 2 : 1);
    return pairs * (double)p->rows->dim * (p->exact ? 8 : 1);
}

sr_status sr_pair_sweep(const sr_side *p, const sr_side *q, bool dot, sr_work *work,
                        sr_tile_visit visit, void *user) {
    size_t edge = sr_pair_edge(p, q), down = (p->rows->n + edge - 1) / edge,
           across = (q->rows->n + edge - 1) / edge, longer = down > across ? down : across;
    size_t waves = p == q ? across / 2 + 1 : longer;
    double cost = sr_pair_cost(p, q) / (double)waves;
    workspace *spaces = sr_alloc(work->threads, sizeof *spaces);
    if (!spaces)
        return SR_ERROR_MEMORY;
    group_kernel kernel = group_kernel_get();
    sr_status status = sr_work_advance(work, 0);
    for (size_t wave = 0; wave < waves && status == SR_OK; wave++) {
#pragma omp parallel for schedule(dynamic) num_threads(sr_work_threads(work))
        for (size_t number = 0; number < smaller(down, across); number++) {
            unsigned thread = (unsigned)omp_get_thread_num();
            workspace *w = spaces + thread;
            sr_tile tile;
            if (!tile_of(p, q, wave, number, &tile))
                continue;
            if (p->exact)
                fill_exact(p, q, &tile, dot, kernel, w);
            else
                fill_fast(p, q, &tile, w);
            tile.square = w->square;
            tile.dot = dot ? w->dot : NULL;
            tile.row_error = p->error + tile.row;
            tile.column_error = q->error + tile.column;
            tile.row_gain = p->exact ? NULL : p->gain + tile.row;
            tile.column_gain = q->exact ? NULL : q->gain + tile.column;
            visit(user, thread, &tile);
        }
        status = sr_work_advance(work, cost);
    }
    sr_free(spaces);
    return status;
}
