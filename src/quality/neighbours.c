// Scores of neighbours, from the balls and lists of the sweeps:
//   precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020): a ball
//   around each row reaches to its k-th neighbour within its own set (itself not counted);
//   one_nn_accuracy (Lopez-Paz and Oquab 2017): leave-one-out 1-NN on the first min(n, m) rows of
//   each set; where distances tie, the real row is the neighbour.
// Each is computed for the whole and for every group left out of both sets (see resample.c): a
// list that is a little longer than k holds the k-th neighbour that is not of the group, unless
// more of its rows are of one group than it has to spare (for 3 to spare and 20 groups, once in
// 10,000 rows); then its last row stands in.
#include "metrics.h"

#include <math.h>

// Sums over the rows that replicate r keeps: row i when bit r of keep says so.
static bool kept(const uint8_t *group, size_t i, size_t r) {
    return r == 0 || group[i] != r - 1;
}

static sr_status set_balls(const sr_lists *list, size_t k, const uint8_t *group, size_t groups,
                           sr_balls *out) {
    size_t n = list->n, replicates = groups + 1;
    *out = (sr_balls){.reach = sr_alloc(n, replicates * sizeof(double)),
                      .furthest = sr_alloc(n, sizeof(double)),
                      .group = sr_alloc(n, sizeof(int64_t))};
    if (!out->reach || !out->furthest || !out->group)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        double *reach = out->reach + i * replicates;
        reach[0] = sr_lists_square(list, i, k - 1, NULL, 0);
        out->furthest[i] = reach[0];
        for (size_t g = 0; g < groups; g++) {
            reach[g + 1] = sr_lists_square(list, i, k - 1, group, g);
            out->furthest[i] = fmax(out->furthest[i], reach[g + 1]);
        }
        out->group[i] = groups ? group[i] : 0;
    }
    return SR_OK;
}

sr_status sr_pairwise_balls(sr_pairwise *s) {
    sr_status status =
        set_balls(&s->self[0].row_list[0], s->k, s->group[0], s->groups, &s->cross.row_ball);
    if (status == SR_OK)
        status =
            set_balls(&s->self[1].row_list[0], s->k, s->group[1], s->groups, &s->cross.column_ball);
    return status;
}

// Share of the rows that replicate r keeps and whose bit r is set.
static double share(size_t n, const uint64_t *bits, const uint8_t *group, size_t r) {
    size_t set = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        bool in = kept(group, i, r);
        count += in;
        set += in && bits[i] >> r & 1;
    }
    return (double)set / (double)count;
}

// Pairs inside, of those that replicate r keeps, over k and the fake rows it keeps.
static double density(const sr_pairwise *s, size_t r) {
    const sr_collector *c = &s->cross;
    uint64_t inside = 0;
    size_t count = 0;
    for (size_t i = 0; i < s->n; i++) // a real row of the group takes its pairs away, but those
        inside += kept(s->group[0], i, r) ? c->row_count[i] : c->same[i]; // that a fake row takes
    for (size_t j = 0; j < s->m; j++) {
        bool in = kept(s->group[1], j, r);
        count += in;
        inside -= in ? 0 : c->column_count[j];
    }
    size_t blocks = (s->n + sr_pair_edge(c->p, c->q) - 1) / sr_pair_edge(c->p, c->q);
    for (size_t b = 0; b < blocks && r > 0; b++)
        inside += c->extra[b * (s->groups + 1) + r];
    return (double)inside / (double)count / (double)s->k;
}

static double coverage(const sr_pairwise *s, size_t r) {
    const sr_collector *c = &s->cross;
    size_t covered = 0, count = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!kept(s->group[0], i, r))
            continue;
        double nearest =
            sr_lists_square(&c->row_list[0], i, 0, r ? s->group[1] : NULL, r - (r > 0));
        double reach = c->row_ball.reach[i * (s->groups + 1) + r];
        covered += c->non_strict ? nearest <= reach : nearest < reach;
        count++;
    }
    return (double)covered / (double)count;
}

static double one_nn(const sr_pairwise *s, size_t r) {
    const sr_lists *own[2], *other[2];
    size_t right = 0, count = 0;
    for (int set = 0; set < 2; set++) {
        own[set] = sr_paired_list(s->self[set].row_list);
        other[set] = sr_paired_list(set ? s->cross.column_list : s->cross.row_list);
    }
    for (int set = 0; set < 2; set++)
        for (size_t i = 0; i < s->paired; i++) {
            if (!kept(s->group[set], i, r))
                continue;
            size_t g = r - (r > 0);
            double mine = sr_lists_square(own[set], i, 0, r ? s->group[set] : NULL, g);
            double theirs = sr_lists_square(other[set], i, 0, r ? s->group[!set] : NULL, g);
            right += set ? mine < theirs : mine <= theirs;
            count++;
        }
    return (double)right / (double)count;
}

// Value, error and interval of a metric from its replicates.
static void store(const sr_pairwise *s, sr_metric metric, const double *replicate, double most,
                  sr_metric_values *out, sr_detail *detail) {
    if (!(s->options->which & SR_BIT(metric)))
        return;
    out->value[metric] = replicate[0];
    double error = s->groups ? sr_jackknife(s->groups, replicate + 1) : NAN;
    sr_interval(out, metric, error, (double)s->groups - 1, 0, most);
    for (size_t r = 0; r <= s->groups && detail; r++)
        detail->replicate[metric][r] = replicate[r];
}

void sr_finish_neighbours(const sr_pairwise *s, sr_metric_values *out, sr_detail *detail) {
    double replicate[4][SR_REPLICATES];
    for (size_t r = 0; r <= s->groups; r++) {
        replicate[0][r] = share(s->m, s->cross.column_bits, s->group[1], r);
        replicate[1][r] = share(s->n, s->cross.row_bits, s->group[0], r);
        replicate[2][r] = density(s, r);
        replicate[3][r] = coverage(s, r);
    }
    store(s, SR_PRECISION, replicate[0], 1, out, detail);
    store(s, SR_RECALL, replicate[1], 1, out, detail);
    store(s, SR_DENSITY, replicate[2], INFINITY, out, detail);
    store(s, SR_COVERAGE, replicate[3], 1, out, detail);
}

void sr_finish_one_nn(const sr_pairwise *s, sr_metric_values *out, sr_detail *detail) {
    double replicate[SR_REPLICATES];
    for (size_t r = 0; r <= s->groups; r++)
        replicate[r] = one_nn(s, r);
    store(s, SR_ONE_NN_ACCURACY, replicate, 1, out, detail);
}
