// Two sets of samples of the plane, A and B, against the same data.
//
// A divergence D(q) of the samples' smoothed masses q moves with a sample in cell c by the c-th
// entry of S dD/dq, S the smoothing (symmetric). These influences are taken at A and B pooled,
// which does not know whose sample it is, so that the permutation test of their means is exact; the
// difference of the means is the difference of the divergences to first order.
//
//   KL(p || q) = sum p log(p / q):   dD/dq = -p / q
//   KL(q || p):                      dD/dq = log(q / p) + 1, and the 1 moves no mean
#include "metrics.h"
#include "toy_points.h"

#include <math.h>
#include <string.h>

typedef struct toy_comparison {
    double window;
    size_t n[3]; // data, a, b
    const float *x[3];
    uint8_t *group[3];
    sr_toy_masses *truth, *mass; // mass (3): scratch
    float *rest, *both;          // scratch; a and b pooled
    double *score[SR_TOY_COMPARED];
    double found[3][SR_TOY_DIVERGENCES]; // [1], [2]: of a, b
} toy_comparison;

const char *sr_toy_compared_name(size_t score) {
    static const char *const names[] = {"kl", "kl_reverse", "kl_true", "kl_true_reverse",
                                        "high_quality"};
    return score < SR_TOY_COMPARED ? names[score] : "";
}

static void clear(toy_comparison *c) {
    for (size_t i = 0; i < 3; i++)
        sr_free(c->group[i]);
    for (size_t s = 0; s < SR_TOY_COMPARED; s++)
        sr_free(c->score[s]);
    sr_free(c->truth);
    sr_free(c->mass);
    sr_free(c->rest);
    sr_free(c->both);
}

static sr_status allocate(toy_comparison *c) {
    size_t most = c->n[1] + c->n[2] > c->n[0] ? c->n[1] + c->n[2] : c->n[0];
    bool there = true;
    for (size_t i = 0; i < 3; i++)
        there &= (c->group[i] = sr_alloc(c->n[i], 1)) != NULL;
    for (size_t s = 0; s < SR_TOY_COMPARED; s++)
        there &= (c->score[s] = sr_alloc(c->n[1] + c->n[2], sizeof(double))) != NULL;
    c->truth = sr_alloc(1, sizeof *c->truth);
    c->mass = sr_alloc(3, sizeof *c->mass);
    c->rest = sr_alloc(most, 2 * sizeof *c->rest);
    c->both = sr_alloc(c->n[1] + c->n[2], 2 * sizeof *c->both);
    return there && c->truth && c->mass && c->rest && c->both ? SR_OK : SR_ERROR_MEMORY;
}

// ---- values and errors --------------------------------------------------------------------------

static void diverge(toy_comparison *c) {
    for (size_t i = 0; i < 3; i++)
        sr_toy_masses_of_points(c->window, c->n[i], c->x[i], &c->mass[i]);
    for (size_t i = 1; i < 3; i++)
        sr_toy_divergences(&c->mass[0], &c->mass[i], c->truth, c->found[i]);
}

static sr_estimate estimate(double value, const double replicate[SR_GROUPS], double least) {
    double error = sr_jackknife(SR_GROUPS, replicate), half = sr_t_quantile(SR_GROUPS - 1) * error;
    return (sr_estimate){value, error, fmax(value - half, least), value + half};
}

static void values(const toy_comparison *c, sr_difference *out) {
    for (size_t d = 0; d < SR_TOY_DIVERGENCES; d++) {
        out[d].a = out[d].interval_a.value = c->found[1][d];
        out[d].b = out[d].interval_b.value = c->found[2][d];
        out[d].difference.value = out[d].a - out[d].b;
    }
}

static sr_status errors(toy_comparison *c, uint64_t seed, sr_difference *out) {
    double replicate[2][SR_TOY_DIVERGENCES][SR_GROUPS], difference[SR_GROUPS];
    sr_status status = SR_OK;
    for (size_t i = 0; i < 3; i++) {
        if (c->n[i] < 2 * SR_GROUPS)
            return SR_OK;
        status = status ? status : sr_groups_draw(seed, 8 + i, c->n[i], SR_GROUPS, c->group[i]);
    }
    for (size_t g = 0; g < SR_GROUPS && status == SR_OK; g++) {
        for (size_t i = 0; i < 3; i++)
            sr_toy_masses_of_points(c->window,
                                    sr_toy_leave_out(c->n[i], c->x[i], c->group[i], g, c->rest),
                                    c->rest, &c->mass[i]);
        for (size_t i = 0; i < 2; i++) {
            double found[SR_TOY_DIVERGENCES];
            sr_toy_divergences(&c->mass[0], &c->mass[i + 1], c->truth, found);
            for (size_t d = 0; d < SR_TOY_DIVERGENCES; d++)
                replicate[i][d][g] = found[d];
        }
    }
    for (size_t d = 0; d < SR_TOY_DIVERGENCES && status == SR_OK; d++) {
        for (size_t g = 0; g < SR_GROUPS; g++)
            difference[g] = replicate[0][d][g] - replicate[1][d][g];
        out[d].interval_a = estimate(out[d].a, replicate[0][d], 0);
        out[d].interval_b = estimate(out[d].b, replicate[1][d], 0);
        out[d].difference = estimate(out[d].difference.value, difference, -INFINITY);
        double t = out[d].difference.value / out[d].difference.error;
        out[d].test = "t";
        out[d].p = out[d].difference.error > 0    ? sr_t_p_value(t, SR_GROUPS - 1)
                   : out[d].difference.value == 0 ? 1
                                                  : NAN;
    }
    return status;
}

// ---- scores of rows -----------------------------------------------------------------------------

// The cell of a point, SR_TOY_CELLS outside the window.
static size_t cell_of(double window, const float *x) {
    double side = 2 * window / SR_TOY_GRID;
    double column = floor((x[0] + window) / side), row = floor((x[1] + window) / side);
    bool inside = column >= 0 && column < SR_TOY_GRID && row >= 0 && row < SR_TOY_GRID;
    return inside ? (size_t)row * SR_TOY_GRID + (size_t)column : SR_TOY_CELLS;
}

static double forward_slope(double p, double q) {
    return p > 0 && q > SR_TOY_KL_FLOOR ? -p / q : 0;
}

static double reverse_slope(double p, double q) {
    return log(fmax(q, SR_TOY_KL_FLOOR) / fmax(p, SR_TOY_KL_FLOOR));
}

// pooled: masses of a and b together.
static void influences(const toy_comparison *c, const sr_toy_masses *of,
                       const sr_toy_masses *pooled, bool reverse, sr_toy_masses *slope,
                       double *score) {
    double (*const take)(double, double) = reverse ? reverse_slope : forward_slope;
    for (size_t i = 0; i < SR_TOY_CELLS; i++)
        slope->cell[i] = take(of->cell[i], pooled->cell[i]);
    slope->outside = take(of->outside, pooled->outside);
    sr_toy_smooth(c->window, slope->cell);
    for (size_t i = 0; i < c->n[1] + c->n[2]; i++) {
        size_t at = cell_of(c->window, c->both + 2 * i);
        score[i] = at < SR_TOY_CELLS ? slope->cell[at] : slope->outside;
    }
}

static void score_rows(toy_comparison *c) {
    sr_toy_masses *made = &c->mass[0], *pooled = &c->mass[1], *slope = &c->mass[2];
    sr_toy_masses_of_points(c->window, c->n[0], c->x[0], made);
    sr_toy_masses_of_points(c->window, c->n[1] + c->n[2], c->both, pooled);
    influences(c, made, pooled, false, slope, c->score[SR_TOY_KL]);
    influences(c, made, pooled, true, slope, c->score[SR_TOY_KL_REVERSE]);
    influences(c, c->truth, pooled, false, slope, c->score[SR_TOY_KL_TRUE]);
    influences(c, c->truth, pooled, true, slope, c->score[SR_TOY_KL_TRUE_REVERSE]);
}

// Whether each sample lies near a mode: the share is a plain mean, A and B are independent. False
// where the density has no modes.
static bool judge_near(sr_toy toy, toy_comparison *c, sr_difference *out) {
    const double *centres = NULL;
    double deviation = 0, *near = c->score[SR_TOY_HIGH_QUALITY];
    size_t modes = sr_toy_modes(toy, &centres, &deviation), held[2] = {0};
    for (size_t i = 0; i < c->n[1] + c->n[2]; i++) {
        near[i] = 0;
        for (size_t m = 0; m < modes; m++)
            near[i] = fmax(near[i], hypot(c->both[2 * i] - centres[2 * m],
                                          c->both[2 * i + 1] - centres[2 * m + 1]) <=
                                        SR_TOY_MODE_REACH * deviation);
        held[i >= c->n[1]] += near[i] > 0;
    }
    if (modes == 0)
        return false;
    out->interval_a = sr_share_estimate(held[0], c->n[1]);
    out->interval_b = sr_share_estimate(held[1], c->n[2]);
    out->a = out->interval_a.value;
    out->b = out->interval_b.value;
    double value = out->a - out->b, error = hypot(out->interval_a.error, out->interval_b.error);
    double half = sr_t_quantile(INFINITY) * error;
    out->difference = (sr_estimate){value, error, value - half, value + half};
    out->p = error > 0 ? sr_t_p_value(value / error, INFINITY) : value == 0 ? 1 : NAN;
    out->test = "t";
    return true;
}

static sr_status permute(const toy_comparison *c, bool modes, size_t permutations, uint64_t seed,
                         unsigned threads, sr_difference *out) {
    const double *score[SR_TOY_COMPARED];
    double p[SR_TOY_COMPARED];
    size_t count = modes ? SR_TOY_COMPARED : SR_TOY_HIGH_QUALITY; // the last of them
    for (size_t s = 0; s < count; s++)
        score[s] = c->score[s];
    sr_status status =
        sr_permutation_test(c->n[1], c->n[2], count, score, permutations, seed, threads, p);
    for (size_t s = 0; s < count && status == SR_OK; s++) {
        out[s].p = p[s];
        out[s].test = SR_TEST_PERMUTATION;
    }
    return status;
}

sr_status sr_toy_compare(sr_toy toy, size_t n_data, const float *data, size_t n_a, const float *a,
                         size_t n_b, const float *b, size_t permutations, uint64_t seed,
                         unsigned threads, sr_difference out[SR_TOY_COMPARED]) {
    toy_comparison c = {.window = sr_toy_window(toy), .n = {n_data, n_a, n_b}, .x = {data, a, b}};
    static const char *const names[] = {"data", "samples A", "samples B"};
    sr_status status = SR_OK;
    bool modes = false;
    for (size_t s = 0; s < SR_TOY_COMPARED; s++)
        out[s] = sr_no_difference();
    for (size_t i = 0; i < 3 && status == SR_OK; i++)
        status = sr_toy_points_check(names[i], 2, c.n[i], c.x[i]);
    if (status == SR_OK)
        status = allocate(&c);
    if (status == SR_OK) {
        sr_toy_masses_of_density(toy, sr_threads_resolve(threads), c.truth);
        memcpy(c.both, a, 2 * n_a * sizeof *a);
        memcpy(c.both + 2 * n_a, b, 2 * n_b * sizeof *b);
        diverge(&c);
        values(&c, out);
        modes = judge_near(toy, &c, &out[SR_TOY_HIGH_QUALITY]);
        status = errors(&c, seed, out);
    }
    if (status == SR_OK && permutations > 0) {
        score_rows(&c);
        status = permute(&c, modes, permutations, seed, threads, out);
    }
    clear(&c);
    return status;
}
