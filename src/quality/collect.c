// What a sweep collects from its tiles: sums of kernels over the pairs of each row, nearest rows,
// and which rows lie in which balls. Every array belongs either to rows of p or to rows of q, so
// that tiles of one wave never meet (see sr_pair_sweep).
//
// The loops over a tile's columns are compiled for each instruction set from one source, with lanes
// of eight doubles whose sums have a fixed order: the same bits on all of them.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef double vec8 __attribute__((vector_size(64), aligned(64), may_alias));
typedef double near8 __attribute__((vector_size(64), aligned(8), may_alias)); // anywhere
typedef int64_t int8x __attribute__((vector_size(64), aligned(64), may_alias));

// ---- sums of kernels ----------------------------------------------------------------------------

// out = exp(in) for in <= 0, within 2 ulp; below -700 it is 0. x = n ln 2 + r, |r| <= ln 2 / 2, and
// the series of exp(r) to r^13, whose remainder is below 2e-17.
INLINE void exp8(const vec8 *in, vec8 *out) {
    const double magic = 0x1.8p52, ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
    int8x tiny = *in < -700.0;
    vec8 x = (vec8)(~tiny & (int8x)*in);
    vec8 shifted = x * 0x1.71547652b82fep+0 + magic, n = shifted - magic;
    vec8 r = x - n * ln2_high - n * ln2_low, sum = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
    sum = sum * r + 1.0 / 39916800.0;
    sum = sum * r + 1.0 / 3628800.0;
    sum = sum * r + 1.0 / 362880.0;
    sum = sum * r + 1.0 / 40320.0;
    sum = sum * r + 1.0 / 5040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    int8x power = ((int8x)shifted << 52) + (int8x)sum; // the low bits of `shifted` are n
    *out = (vec8)(~tiny & power);
}

// The tile's row of squares with the gains, in `scratch`, or as it stands. Near rows are rounded
// alike, so that small distances (below NEAR errors, a fifth of |x - centre|) are better without.
#define NEAR 500.
INLINE const double *gained(const sr_tile *t, size_t i, double *scratch) {
    const double *square = t->square + i * SR_TILE;
    if (!t->row_gain)
        return square;
    const double *errors = t->column_error, *gains = t->column_gain;
    double own_error = t->row_error[i], own_gain = t->row_gain[i];
    size_t columns = t->columns;
    for (size_t j = 0; j < columns; j++) {
        double error = NEAR * (own_error + errors[j]);
        double gain = square[j] > error * error ? own_gain + gains[j] : 0;
        scratch[j] = square[j] + gain;
    }
    return scratch;
}

// The tile's row of products.
INLINE const double *products(const sr_tile *t, size_t i, double *scratch) {
    const double *square = t->square + i * SR_TILE;
    if (t->dot)
        return t->dot + i * SR_TILE;
    const double *shifts = t->column_shift;
    double own_shift = t->row_shift[i];
    size_t columns = t->columns;
    for (size_t j = 0; j < columns; j++)
        scratch[j] = own_shift + shifts[j] - square[j] / 2;
    return scratch;
}

// values: of KID products, else squares.
INLINE void fill_kernel(const sr_collector *c, int kernel, const double *values, size_t columns,
                        double *out) {
    if (kernel == SR_SUM_DISTANCE) {
        for (size_t j = 0; j < columns; j++)
            out[j] = sqrt(values[j]);
    } else if (kernel == SR_SUM_KID) {
        double inverse = 1.0 / (double)c->p->rows->dim;
        for (size_t j = 0; j < columns; j++) {
            double k = values[j] * inverse + 1;
            out[j] = k * k * k;
        }
    } else { // a bandwidth of 0 (most rows coincide) is taken as the limit
        double scale = c->scale[kernel];
        for (size_t j = 0; j < columns; j += 8) {
            vec8 s = *(const vec8 *)(values + j);
            int8x apart = s > 0.0;
            vec8 argument = (vec8)(apart & (int8x)(-s * scale));
            exp8(&argument, (vec8 *)(out + j));
        }
    }
}

INLINE double lanes_total(const vec8 *lanes) {
    vec8 sum = *lanes;
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

INLINE double total8(const double *value, size_t columns) {
    vec8 sum = {0};
    size_t j = 0;
    for (; j + 8 <= columns; j += 8)
        sum += *(const vec8 *)(value + j);
    for (size_t lane = 0; j < columns; j++, lane++)
        sum[lane] += value[j];
    return lanes_total(&sum);
}

// Adds the KID kernels of row i of the tile, `value`, to the sums of the subsets that have the row.
// Of a set against itself each pair counts in both orders.
INLINE void add_to_subsets(const sr_collector *c, const sr_tile *t, size_t i, const double *value) {
    double times = t->self && !t->diagonal ? 2 : 1, *sums = c->subset_sum + t->index * c->subsets;
    for (size_t s = 0; s < c->subsets; s++) {
        if (c->row_member[s * c->p->rows->n + t->row + i] == 0)
            continue;
        const double *member = c->column_member + s * c->q->rows->n + t->column;
        vec8 sum = {0};
        size_t j = 0;
        for (; j + 8 <= t->columns; j += 8)
            sum += *(const vec8 *)(value + j) * *(const near8 *)(member + j);
        for (size_t lane = 0; j < t->columns; j++, lane++)
            sum[lane] += value[j] * member[j];
        sums[s] += times * lanes_total(&sum);
    }
}

INLINE void sums_body(const sr_collector *c, const sr_tile *t, int kernel) {
    _Alignas(64) double value[SR_TILE], column[SR_TILE] = {0}, scratch[SR_TILE] = {0};
    for (size_t i = 0; i < t->rows; i++) {
        const double *values =
            kernel == SR_SUM_KID ? products(t, i, scratch) : gained(t, i, scratch);
        fill_kernel(c, kernel, values, t->columns, value);
        if (t->diagonal)
            value[i] = 0;
        c->row_sum[kernel][t->row + i] += total8(value, t->columns);
        for (size_t j = 0; j < t->columns; j++)
            column[j] += value[j];
        if (kernel == SR_SUM_KID && c->subsets)
            add_to_subsets(c, t, i, value);
    }
    for (size_t j = 0; j < t->columns && !t->diagonal; j++)
        c->column_sum[kernel][t->column + j] += column[j];
}

// ---- nearest rows -------------------------------------------------------------------------------

static double reach_of(const sr_lists *two, size_t row) {
    double a = sr_lists_reach(two, row), b = sr_lists_reach(two + 1, row);
    return a > b ? a : b;
}

static void offer(sr_collector *c, const sr_tile *t, size_t i, size_t j) {
    double square = t->square[i * SR_TILE + j];
    for (int l = 0; l < 2; l++) {
        sr_lists_offer(&c->row_list[l], t->row + i, square, t->column + j);
        if (!t->diagonal)
            sr_lists_offer(&c->column_list[l], t->column + j, square, t->row + i);
    }
}

// Whether any of 32 columns from j on may enter a list, or the row's may.
INLINE bool any_candidate(const double *square, const double *reach, double row_reach,
                          size_t columns) {
    int any = 0;
    for (size_t j = 0; j < columns; j++)
        any |= (square[j] <= row_reach) | (square[j] <= reach[j]);
    return any;
}

INLINE void lists_body(sr_collector *c, const sr_tile *t) {
    _Alignas(64) double reach[SR_TILE];
    for (size_t j = 0; j < t->columns; j++)
        reach[j] = t->diagonal ? -1 : reach_of(c->column_list, t->column + j);
    for (size_t i = 0; i < t->rows; i++) {
        const double *square = t->square + i * SR_TILE;
        double row_reach = reach_of(c->row_list, t->row + i);
        for (size_t first = 0; first < t->columns; first += 32) {
            size_t count = t->columns - first < 32 ? t->columns - first : 32;
            if (!any_candidate(square + first, reach + first, row_reach, count))
                continue;
            for (size_t j = first; j < first + count; j++) {
                if ((t->diagonal && i == j) || (square[j] > row_reach && square[j] > reach[j]))
                    continue;
                offer(c, t, i, j);
                row_reach = reach_of(c->row_list, t->row + i);
                reach[j] = t->diagonal ? -1 : reach_of(c->column_list, t->column + j);
            }
        }
    }
}

// ---- balls --------------------------------------------------------------------------------------

// The replicates in which a row inside a ball of group a and being of group b counts: all but those
// that leave either out.
INLINE int64_t counting(size_t groups, int64_t a, int64_t b) {
    return (((int64_t)2 << groups) - 1) & ~((int64_t)2 << a) & ~((int64_t)2 << b);
}

// The replicates in whose ball a pair lies, when the squared distance alone does not settle them
// all; `square` is made exact once it has to be.
static int64_t inside_bits(const sr_collector *c, const sr_tile *t, size_t i, size_t j,
                           const double *reach) {
    double square = t->square[i * SR_TILE + j], error = t->row_error[i] + t->column_error[j];
    double distance = sqrt(square);
    int64_t bits = 0;
    for (size_t r = 0; r <= c->groups; r++) {
        if (error > 0 && fabs(distance - sqrt(reach[r])) <= error) {
            square = sr_tile_exact(c->p, c->q, t, i, j);
            error = 0;
        }
        bits |= (int64_t)(c->non_strict ? square <= reach[r] : square < reach[r]) << r;
    }
    return bits;
}

// A pair near the edge of row i's ball.
static void row_ball_edge(sr_collector *c, const sr_tile *t, size_t i, size_t j) {
    size_t row = t->row + i, column = t->column + j, replicates = c->groups + 1;
    const double *reach = c->row_ball.reach + row * replicates;
    int64_t group = c->row_ball.group[row], other = c->column_ball.group[column];
    int64_t bits = inside_bits(c, t, i, j, reach) & counting(c->groups, group, other);
    c->column_bits[column] |= (uint64_t)bits;
    if (bits & 1) {
        c->row_count[row]++;
        c->column_count[column]++;
        c->same[row] += group == other;
        return;
    }
    uint64_t *extra = c->extra + t->row / sr_pair_edge(c->p, c->q) * replicates;
    for (size_t r = 1; r < replicates; r++)
        extra[r] += (uint64_t)bits >> r & 1;
}

static void column_ball_edge(sr_collector *c, const sr_tile *t, size_t i, size_t j) {
    size_t row = t->row + i, column = t->column + j;
    const double *reach = c->column_ball.reach + column * (c->groups + 1);
    c->row_bits[row] |=
        (uint64_t)(inside_bits(c, t, i, j, reach) &
                   counting(c->groups, c->row_ball.group[row], c->column_ball.group[column]));
}

// Of a ball's radii, squared: an estimate below `inside` lies in the ball, whatever the error, and
// one above `outside` in none of the replicates'.
typedef struct margins {
    double inside, outside;
} margins;

static margins margins_of(double reach, double furthest, double error) {
    if (error == 0)
        return (margins){reach, furthest};
    double least = sqrt(reach) - error, most = sqrt(furthest) + error;
    return (margins){least > 0 ? least * least * (1 - 1e-12) : 0, most * most * (1 + 1e-12)};
}

static double largest(size_t n, const double *x) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

INLINE void balls_body(sr_collector *c, const sr_tile *t) {
    _Alignas(64) double inside[SR_TILE], outside[SR_TILE];
    _Alignas(64) int64_t bits[SR_TILE], counts[SR_TILE] = {0}, others[SR_TILE], zone[SR_TILE];
    size_t replicates = c->groups + 1;
    const int64_t *group = c->column_ball.group + t->column;
    double row_error = largest(t->rows, t->row_error),
           column_error = largest(t->columns, t->column_error);
    for (size_t j = 0; j < t->columns; j++) {
        margins m =
            margins_of(c->column_ball.reach[(t->column + j) * replicates],
                       c->column_ball.furthest[t->column + j], t->column_error[j] + row_error);
        inside[j] = m.inside;
        outside[j] = m.outside;
        bits[j] = 0;
        others[j] = (((int64_t)2 << c->groups) - 1) & ~((int64_t)2 << group[j]);
    }
    for (size_t i = 0; i < t->rows; i++) {
        size_t row = t->row + i;
        const double *square = t->square + i * SR_TILE;
        margins own = margins_of(c->row_ball.reach[row * replicates], c->row_ball.furthest[row],
                                 t->row_error[i] + column_error);
        int64_t own_group = c->row_ball.group[row], mask = ~((int64_t)2 << own_group), any = 0;
        int64_t within = 0, same = 0, recalled = 0;
        for (size_t j = 0; j < t->columns; j++) {
            int64_t in = -(int64_t)(square[j] < own.inside),
                    in_column = -(int64_t)(square[j] < inside[j]);
            int64_t edge = -(int64_t)(square[j] <= own.outside) & ~in;
            int64_t column_edge = -(int64_t)(square[j] <= outside[j]) & ~in_column;
            bits[j] |= in & mask & others[j];
            counts[j] -= in;
            within -= in;
            same -= in & -(int64_t)(group[j] == own_group);
            recalled |= in_column & others[j];
            zone[j] = (edge & 1) | (column_edge & 2);
            any |= zone[j];
        }
        c->row_count[row] += (uint64_t)within;
        c->same[row] += (uint64_t)same;
        c->row_bits[row] |= (uint64_t)(recalled & mask);
        for (size_t j = 0; j < t->columns && any; j++) {
            if (zone[j] & 1)
                row_ball_edge(c, t, i, j);
            if (zone[j] & 2)
                column_ball_edge(c, t, i, j);
        }
    }
    for (size_t j = 0; j < t->columns; j++) {
        c->column_bits[t->column + j] |= (uint64_t)bits[j];
        c->column_count[t->column + j] += (uint64_t)counts[j];
    }
}

// ---- all of it ----------------------------------------------------------------------------------

INLINE void collect_body(sr_collector *c, const sr_tile *t) {
    for (int kernel = 0; kernel < SR_SUM_COUNT; kernel++)
        if (c->kernels[kernel])
            sums_body(c, t, kernel);
    if (c->row_list[0].length || c->row_list[1].length || c->column_list[0].length ||
        c->column_list[1].length)
        lists_body(c, t);
    if (c->balls)
        balls_body(c, t);
}

#if defined(__x86_64__) && !defined(SR_PORTABLE)
__attribute__((target("avx2"))) static void collect_avx2(sr_collector *c, const sr_tile *t) {
    collect_body(c, t);
}

__attribute__((target("avx512f,avx512dq,avx512vl"))) static void collect_avx512(sr_collector *c,
                                                                                const sr_tile *t) {
    collect_body(c, t);
}
#endif

void sr_collect(void *user, unsigned thread, const sr_tile *tile) {
    sr_collector *c = user;
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    sr_isa isa = sr_cpu_get()->active;
    if (isa >= SR_ISA_AVX512) {
        collect_avx512(c, tile);
        return;
    }
    if (isa >= SR_ISA_AVX2) {
        collect_avx2(c, tile);
        return;
    }
#endif
    collect_body(c, tile);
}

void sr_collector_clear(sr_collector *c) {
    for (int kernel = 0; kernel < SR_SUM_COUNT; kernel++) {
        sr_free(c->row_sum[kernel]);
        sr_free(c->column_sum[kernel]);
    }
    sr_free(c->subset_sum);
    for (int l = 0; l < 2; l++) {
        sr_lists_clear(&c->row_list[l]);
        sr_lists_clear(&c->column_list[l]);
    }
    sr_free(c->row_bits);
    sr_free(c->column_bits);
    sr_free(c->row_count);
    sr_free(c->column_count);
    sr_free(c->same);
    sr_free(c->extra);
    *c = (sr_collector){0};
}
