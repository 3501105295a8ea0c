// Everything that is read off pairs of rows, in three sweeps: real x real and fake x fake (a half
// each), then real x fake, which needs the radii of the first two. See collect.c for what a sweep
// keeps, neighbours.c and ustatistics.c for what becomes of it.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define SPARE 3 // neighbours beyond the k-th, for the groups left out: see neighbours.c

static bool wants(const sr_metric_options *o, uint32_t metrics) {
    return (o->which & metrics) != 0;
}

// ---- what to collect ----------------------------------------------------------------------------

static sr_status add_sums(const sr_metric_options *o, double bandwidth, const sr_side *p,
                          const sr_side *q, sr_collector *c) {
    c->kernels[SR_SUM_DISTANCE] = wants(o, SR_BIT(SR_ENERGY_DISTANCE));
    c->kernels[SR_SUM_KID] = wants(o, SR_BIT(SR_KID) | SR_BIT(SR_KID_SUBSETS));
    for (size_t b = 0; b <= o->bandwidth_count && wants(o, SR_BIT(SR_MMD2_RBF)); b++) {
        double h = b ? o->bandwidths[b - 1] : bandwidth;
        c->kernels[SR_SUM_RBF + b] = true;
        c->scale[SR_SUM_RBF + b] = 1 / (2 * h * h); // infinite for a median of 0
    }
    for (int kernel = 0; kernel < SR_SUM_COUNT; kernel++) {
        if (!c->kernels[kernel])
            continue;
        c->row_sum[kernel] = sr_alloc(p->rows->n, sizeof(double));
        c->column_sum[kernel] = sr_alloc(q->rows->n, sizeof(double));
        if (!c->row_sum[kernel] || !c->column_sum[kernel])
            return SR_ERROR_MEMORY;
    }
    return SR_OK;
}

// Two lists for each row: of all rows, and, when only some are paired, of the paired ones.
static sr_status add_lists(const sr_pairwise *s, const sr_side *own, const sr_side *other,
                           size_t length, sr_lists two[2]) {
    bool one_nn = wants(s->options, SR_BIT(SR_ONE_NN_ACCURACY));
    size_t of = other->rows->n;
    sr_status status = sr_lists_create(length, of, own, other, &two[0]);
    if (status == SR_OK && one_nn && of > s->paired)
        status = sr_lists_create(SPARE + 1, s->paired, own, other, &two[1]);
    return status;
}

static sr_status add_subsets(const sr_pairwise *s, const sr_side *p, const sr_side *q,
                             const double *member[2], sr_collector *c) {
    if (!wants(s->options, SR_BIT(SR_KID_SUBSETS)))
        return SR_OK;
    size_t subsets = s->options->kid_subsets, sums;
    c->subsets = subsets;
    c->row_member = member[0];
    c->column_member = member[1];
    if (!sr_size_mul(sr_pair_tiles(p, q), subsets, &sums))
        return SR_ERROR_MEMORY;
    c->subset_sum = sr_alloc(sums, sizeof(double));
    return c->subset_sum ? SR_OK : SR_ERROR_MEMORY;
}

static sr_status add_balls(sr_pairwise *s, sr_collector *c) {
    size_t n = s->n, m = s->m, edge = sr_pair_edge(c->p, c->q), blocks = (n + edge - 1) / edge;
    c->balls = true;
    c->non_strict = s->options->non_strict;
    c->groups = s->groups;
    c->row_bits = sr_alloc(n, sizeof(uint64_t));
    c->column_bits = sr_alloc(m, sizeof(uint64_t));
    c->row_count = sr_alloc(n, sizeof(uint64_t));
    c->column_count = sr_alloc(m, sizeof(uint64_t));
    c->same = sr_alloc(n, sizeof(uint64_t));
    c->extra = sr_alloc(blocks, (s->groups + 1) * sizeof(uint64_t));
    if (!c->row_bits || !c->column_bits || !c->row_count || !c->column_count || !c->same ||
        !c->extra)
        return SR_ERROR_MEMORY;
    return sr_pairwise_balls(s);
}

// ---- the sweeps ---------------------------------------------------------------------------------

static sr_status self_sweep(sr_pairwise *s, int set, const sr_side *side, double bandwidth,
                            const double *member, sr_work *work) {
    const sr_metric_options *o = s->options;
    sr_collector *c = &s->self[set];
    size_t n = side->rows->n, length = 0;
    bool yardstick = set == 0 && o->rows && o->rows->real_distance;
    if (wants(o, SR_NEIGHBOUR_METRICS))
        length = s->k + (s->groups ? SPARE : 0);
    else if (wants(o, SR_BIT(SR_ONE_NN_ACCURACY)))
        length = SPARE + 1;
    else if (yardstick)
        length = 1;
    *c = (sr_collector){.p = side, .q = side};
    sr_status status = add_sums(o, bandwidth, side, side, c);
    if (status == SR_OK)
        status = add_subsets(s, side, side, (const double *[]){member, member}, c);
    if (status == SR_OK)
        status = add_lists(s, side, side, length, c->row_list);
    if (status == SR_OK)
        status = add_lists(s, side, side, length, c->column_list);
    if (status == SR_OK)
        status = sr_pair_sweep(side, side, c->kernels[SR_SUM_KID], work, sr_collect, c);
    if (status != SR_OK)
        return status;
    for (int kernel = 0; kernel < SR_SUM_COUNT; kernel++)
        for (size_t i = 0; i < n && c->kernels[kernel]; i++)
            c->row_sum[kernel][i] += c->column_sum[kernel][i];
    for (int l = 0; l < 2; l++) {
        sr_lists_merge(&c->row_list[l], &c->column_list[l], sr_work_threads(work));
        sr_lists_settle(&c->row_list[l], sr_work_threads(work));
    }
    return SR_OK;
}

static sr_status cross_sweep(sr_pairwise *s, const sr_side *real, const sr_side *fake,
                             double bandwidth, const double *member[2], sr_work *work) {
    const sr_metric_options *o = s->options;
    sr_collector *c = &s->cross;
    bool one_nn = wants(o, SR_BIT(SR_ONE_NN_ACCURACY));
    bool nearest = o->rows && (o->rows->nearest || o->rows->nearest_distance);
    size_t row_length = one_nn || wants(o, SR_NEIGHBOUR_METRICS) ? SPARE + 1 : 0;
    size_t column_length = one_nn ? SPARE + 1 : nearest;
    *c = (sr_collector){.p = real, .q = fake};
    sr_status status = add_sums(o, bandwidth, real, fake, c);
    if (status == SR_OK)
        status = add_subsets(s, real, fake, member, c);
    if (status == SR_OK)
        status = add_lists(s, real, fake, row_length, c->row_list);
    if (status == SR_OK)
        status = add_lists(s, fake, real, column_length, c->column_list);
    if (status == SR_OK && wants(o, SR_NEIGHBOUR_METRICS))
        status = add_balls(s, c);
    if (status == SR_OK)
        status = sr_pair_sweep(real, fake, c->kernels[SR_SUM_KID], work, sr_collect, c);
    for (int l = 0; l < 2 && status == SR_OK; l++) {
        sr_lists_settle(&c->row_list[l], sr_work_threads(work));
        sr_lists_settle(&c->column_list[l], sr_work_threads(work));
    }
    return status;
}

// ---- subsets and groups -------------------------------------------------------------------------

// (subsets, n): 1 where a row belongs to a subset of `size` rows. Streams 2 s + side + 16.
static double *draw_members(uint64_t seed, int side, size_t n, size_t subsets, size_t size) {
    double *member = sr_alloc(subsets, n * sizeof *member);
    size_t *order = sr_alloc(n, sizeof *order);
    for (size_t s = 0; s < subsets && member && order; s++) {
        sr_shuffle(seed, 16 + 2 * s + (size_t)side, n, order);
        for (size_t i = 0; i < size; i++)
            member[s * n + order[i]] = 1;
    }
    if (!order) {
        sr_free(member);
        member = NULL;
    }
    sr_free(order);
    return member;
}

// Groups for the jack-knife, when there are enough rows for it.
static sr_status draw_groups(sr_pairwise *s) {
    size_t least = s->n < s->m ? s->n : s->m;
    size_t groups = least < SR_GROUPS ? least : SR_GROUPS;
    s->group[0] = sr_alloc(s->n, 1);
    s->group[1] = sr_alloc(s->m, 1);
    if (!s->group[0] || !s->group[1])
        return SR_ERROR_MEMORY;
    if (s->options->no_errors || least < 4 || least - (least + groups - 1) / groups < s->k + 1)
        return SR_OK;
    s->groups = groups;
    sr_status status = sr_groups_draw(s->options->seed, 0, s->n, groups, s->group[0]);
    if (status == SR_OK)
        status = sr_groups_draw(s->options->seed, 1, s->m, groups, s->group[1]);
    return status;
}

static void tell_rows(const sr_pairwise *s) {
    const sr_metric_rows *rows = s->options->rows;
    const sr_lists *near = &s->cross.column_list[0], *own = &s->self[0].row_list[0];
    for (size_t j = 0; j < s->m && rows->nearest; j++)
        rows->nearest[j] = near->index[j * near->places];
    for (size_t j = 0; j < s->m && rows->nearest_distance; j++)
        rows->nearest_distance[j] = sqrt(near->square[j * near->places]);
    for (size_t i = 0; i < s->n && rows->real_distance; i++)
        rows->real_distance[i] = sqrt(own->square[i * own->places]);
    for (size_t j = 0; j < s->m && rows->density; j++)
        rows->density[j] = s->cross.balls ? (double)s->cross.column_count[j] / (double)s->k : NAN;
}

static sr_status finish(const sr_pairwise *s, size_t subset_rows, sr_metric_values *out,
                        sr_detail *detail) {
    if (wants(s->options, SR_NEIGHBOUR_METRICS))
        sr_finish_neighbours(s, out, detail);
    if (wants(s->options, SR_BIT(SR_ONE_NN_ACCURACY)))
        sr_finish_one_nn(s, out, detail);
    if (wants(s->options, SR_BIT(SR_KID_SUBSETS))) {
        const sr_collector *c[3] = {&s->self[0], &s->self[1], &s->cross};
        const double *sums[3];
        size_t tiles[3];
        for (int part = 0; part < 3; part++) {
            sums[part] = c[part]->subset_sum;
            tiles[part] = sr_pair_tiles(c[part]->p, c[part]->q);
        }
        sr_finish_kid_subsets(s, subset_rows, sums, tiles, out);
    }
    if (s->options->rows)
        tell_rows(s);
    return sr_finish_sums(s, out, detail);
}

static sr_status sweeps(sr_pairwise *s, const sr_rows *real, const sr_rows *fake, sr_side side[2],
                        double bandwidth, const double *member[2], sr_work *work) {
    sr_frame around = {0}, *frame = sr_pairs_exact(s->n, s->m, real->dim) ? NULL : &around;
    sr_status status = frame ? sr_work_frame(work, real, fake, frame) : SR_OK;
    if (status == SR_OK)
        status = sr_side_create(real, frame, sr_work_threads(work), &side[0]);
    if (status == SR_OK)
        status = self_sweep(s, 0, &side[0], bandwidth, member[0], work);
    if (status == SR_OK && frame)
        sr_frame_centre(frame, fake);
    if (status == SR_OK)
        status = sr_side_create(fake, frame, sr_work_threads(work), &side[1]);
    if (status == SR_OK)
        status = self_sweep(s, 1, &side[1], bandwidth, member[1], work);
    if (status == SR_OK && frame) { // across, one centre for both
        sr_frame_centre(frame, real);
        status = sr_side_round(frame, sr_work_threads(work), &side[1]);
    }
    if (status == SR_OK)
        status = cross_sweep(s, &side[0], &side[1], bandwidth, member, work);
    return status;
}

sr_status sr_metric_pairwise(const sr_rows *real, const sr_rows *fake,
                             const sr_metric_options *options, sr_work *work, sr_metric_values *out,
                             sr_detail *detail) {
    sr_pairwise s = {.options = options, .n = real->n, .m = fake->n};
    sr_side side[2] = {{0}, {0}};
    double bandwidth = options->bandwidth, *member[2] = {NULL, NULL};
    sr_status status = SR_OK;
    s.k = wants(options, SR_NEIGHBOUR_METRICS) ? options->k : 0;
    s.paired = s.n < s.m ? s.n : s.m;
    if (wants(options, SR_BIT(SR_MMD2_RBF)) && bandwidth == 0)
        status = sr_median_distance(real, fake, work, &bandwidth);
    if (wants(options, SR_BIT(SR_MMD2_RBF)))
        out->bandwidth = bandwidth;
    size_t rows = options->kid_subset_size < s.paired ? options->kid_subset_size : s.paired;
    for (int set = 0; set < 2 && status == SR_OK && wants(options, SR_BIT(SR_KID_SUBSETS)); set++) {
        member[set] = draw_members(options->seed, set, set ? s.m : s.n, options->kid_subsets, rows);
        status = member[set] ? SR_OK : SR_ERROR_MEMORY;
    }
    if (status == SR_OK)
        status = draw_groups(&s);
    if (status == SR_OK)
        status =
            sweeps(&s, real, fake, side, bandwidth, (const double *[]){member[0], member[1]}, work);
    if (status == SR_OK)
        status = finish(&s, rows, out, detail);
    sr_free(s.cross.row_ball.reach);
    sr_free(s.cross.row_ball.furthest);
    sr_free(s.cross.row_ball.group);
    sr_free(s.cross.column_ball.reach);
    sr_free(s.cross.column_ball.furthest);
    sr_free(s.cross.column_ball.group);
    sr_collector_clear(&s.self[0]);
    sr_collector_clear(&s.self[1]);
    sr_collector_clear(&s.cross);
    for (int set = 0; set < 2; set++) {
        sr_side_clear(&side[set]);
        sr_free(member[set]);
        sr_free(s.group[set]);
    }
    return status == SR_OK ? SR_OK : sr_fail_context(status, "pairs of rows: ");
}
