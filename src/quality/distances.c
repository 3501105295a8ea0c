// All pairwise Euclidean distances of two sets of rows, in tiles that are handed to a visitor and
// forgotten: no n x m matrix. Differences are squared and summed directly (not |x|^2 + |y|^2 -
// 2xy), so that comparisons between distances, which the neighbour metrics live on, are right to
// the last bits.
//
// The kernel takes 4 rows against a panel of 8: one vector holds one feature of 8 rows, so that
// each sum runs over the features in order and has the same bits on every instruction set.
#include "metrics.h"

#include <math.h>
#include <omp.h>

#define ROW_BLOCK                                                                                  \
    32 // rows that one thread takes at a time; a tile of q is read once for all of them
#define COLUMN_TILE 256 // rows of q per tile: 128 KB at 64 features, which stays in L2
#define ROW_GROUP 4     // rows the kernel takes at once, one accumulator each

typedef double vec8 __attribute__((vector_size(64), aligned(64), may_alias));

// out[r * COLUMN_TILE + 8 c + j] = distance of row r (of 4) of a (4, dim) to row j of panel c.
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
        to[COLUMN_TILE / SR_PANEL] = s1;
        to[2 * COLUMN_TILE / SR_PANEL] = s2;
        to[3 * COLUMN_TILE / SR_PANEL] = s3;
    }
    for (size_t r = 0; r < ROW_GROUP; r++)
        for (size_t j = 0; j < panels * SR_PANEL; j++)
            out[r * COLUMN_TILE + j] = sqrt(out[r * COLUMN_TILE + j]);
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

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static void sweep_block(const sr_points *p, const sr_points *q, group_kernel kernel,
                        unsigned thread, size_t begin, sr_distance_visit visit, void *user) {
    _Alignas(64) double distance[ROW_GROUP * COLUMN_TILE];
    size_t end = smaller(begin + ROW_BLOCK, p->rows), dim = p->dim;
    for (size_t first = 0; first < q->n; first += COLUMN_TILE) {
        size_t count = smaller(COLUMN_TILE, q->n - first);
        size_t panels = (count + SR_PANEL - 1) / SR_PANEL;
        for (size_t i = begin; i < end; i += ROW_GROUP) {
            kernel(dim, p->row + i * dim, panels, q->panel + first * dim, distance);
            for (size_t r = 0; r < ROW_GROUP && i + r < p->n; r++)
                visit(user, thread, i + r, first, count, distance + r * COLUMN_TILE);
        }
    }
}

void sr_distance_sweep(const sr_points *p, const sr_points *q, unsigned threads,
                       sr_distance_visit visit, void *user) {
    group_kernel kernel = group_kernel_get();
    size_t blocks = (p->n + ROW_BLOCK - 1) / ROW_BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t b = 0; b < blocks; b++)
        sweep_block(p, q, kernel, (unsigned)omp_get_thread_num(), b * ROW_BLOCK, visit, user);
}
