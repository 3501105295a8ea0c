// All pairs of rows of two sets, in tiles that are handed to a visitor and forgotten: no n x m
// matrix. There are two ways to fill a tile.
//
// Exact, for small problems: differences are squared and summed directly in double, products come
// from dgemm. The kernel takes 4 rows against a panel of 8: one vector holds one feature of 8 rows,
// so that each sum runs over the features in order and has the same bits on every instruction set.
//
// Fast: rows in 16-bit integers (sides.c), whose products come from panels.c exactly. The tile
// holds the distances and products of the rounded rows, and bounds of their errors. What is
// compared with another distance (neighbours, balls) is computed again in double when that leaves
// it open, so that these decisions are those of the exact path. Sums over pairs take the tile's
// values with the rows' true norms instead (the gains): what is left is e.y, and the y sum up to
// nothing around their mean.
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
#define FAST_DIM 32 // below, products have nothing to gain on

#define INLINE static inline __attribute__((always_inline))

typedef double vec8 __attribute__((vector_size(64), aligned(64), may_alias));

bool sr_pairs_exact(size_t n, size_t m, size_t dim) {
    double a = (double)n, b = (double)m;
    return dim < FAST_DIM || (a * a / 2 + b * b / 2 + a * b) * (double)dim <= EXACT_WORK;
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
    const double *norms = q->norm + t->column, *units = q->unit + t->column;
    _Alignas(64) double along[SR_TILE];
    for (size_t i = 0; i < t->rows; i++) {
        double norm = p->norm[t->row + i], unit = p->unit[t->row + i];
        double *square = w->square + i * SR_TILE;
        sr_along_directions(p, t->row + i, q, t->column, t->columns, along);
        for (size_t j = 0; j < t->columns; j++) {
            double product = square[j] * (unit * units[j]) + along[j];
            double value = norm + norms[j] - 2 * product;
            square[j] = value > 0 ? value : 0;
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
    tile->rows = sr_smaller(edge, p->rows->n - tile->row);
    tile->columns = sr_smaller(edge, q->rows->n - tile->column);
    tile->index = row * across + column;
    tile->diagonal = tile->self && row == column;
    return !tile->self || 2 * wave < across || (2 * wave == across && number < across / 2);
}

// Multiply-adds of a sweep.
static double cost_of(const sr_side *p, const sr_side *q) {
    double pairs = (double)p->rows->n * (double)q->rows->n / (p == q ? 2 : 1);
    return pairs * (double)p->rows->dim * (p->exact ? 8 : 1);
}

sr_status sr_pair_sweep(const sr_side *p, const sr_side *q, bool dot, sr_work *work,
                        sr_tile_visit visit, void *user) {
    size_t edge = sr_pair_edge(p, q), down = (p->rows->n + edge - 1) / edge,
           across = (q->rows->n + edge - 1) / edge, longer = down > across ? down : across;
    size_t waves = p == q ? across / 2 + 1 : longer;
    double cost = cost_of(p, q) / (double)waves;
    workspace *spaces = sr_alloc(work->threads, sizeof *spaces);
    if (!spaces)
        return SR_ERROR_MEMORY;
    group_kernel kernel = group_kernel_get();
    sr_status status = sr_work_advance(work, 0);
    for (size_t wave = 0; wave < waves && status == SR_OK; wave++) {
#pragma omp parallel for schedule(dynamic) num_threads(sr_work_threads(work))
        for (size_t number = 0; number < sr_smaller(down, across); number++) {
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
            tile.dot = dot && p->exact ? w->dot : NULL;
            tile.row_error = p->error + tile.row;
            tile.column_error = q->error + tile.column;
            tile.row_shift = p->exact ? NULL : p->shift + tile.row;
            tile.column_shift = q->exact ? NULL : q->shift + tile.column;
            tile.row_gain = p->exact ? NULL : p->gain + tile.row;
            tile.column_gain = q->exact ? NULL : q->gain + tile.column;
            visit(user, thread, &tile);
        }
        status = sr_work_advance(work, cost);
    }
    sr_free(spaces);
    return status;
}
