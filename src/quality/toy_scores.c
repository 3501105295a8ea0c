// Scores of 2-D samples: modes found, samples near a mode, KL divergences on a grid, MMD, sliced
// and exact W2.
//
// KL: points are counted in 80 x 80 cells over the density's window, or the true density is
// integrated over these cells, and both sides are smoothed by a Gaussian of deviation 0.1,
// truncated at 4 deviations and folded back at the window's edge, so that smoothing moves no mass
// across it. All that lies outside the window is one more cell: samples that leave take their share
// of the mass with them, and both sides stay distributions.
#include <shortrun/quality.h>

#include "metrics.h"
#include "toy_points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GRID SR_TOY_GRID
#define CELLS (GRID * GRID)
#define DEVIATION 0.1  // of the smoothing, in units of the data
#define TRUNCATION 4.0 // deviations
#define FAIR_PART 0.2  // of its fair share that a mode must hold to be covered

void sr_toy_grid(sr_toy toy, float *x) {
    double window = sr_toy_window(toy), cell = 2 * window / GRID;
    for (size_t row = 0; row < GRID; row++)
        for (size_t column = 0; column < GRID; column++) {
            x[2 * (row * GRID + column)] = (float)(-window + ((double)column + 0.5) * cell);
            x[2 * (row * GRID + column) + 1] = (float)(-window + ((double)row + 0.5) * cell);
        }
}

sr_status sr_toy_points_check(const char *name, size_t least, size_t n, const float *x) {
    if (n < least)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: %zu points, expected at least %zu", name, n, least);
    for (size_t i = 0; i < 2 * n; i++)
        if (!isfinite(x[i]))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "%s: point %zu, coordinate %zu is %g, expected a finite number", name,
                           i / 2, i % 2, (double)x[i]);
    return SR_OK;
}

// mass (CELLS): shares of the n points; returns the share outside the window.
static double histogram(double window, size_t n, const float *x, double *mass) {
    double cell = 2 * window / GRID;
    size_t outside = 0;
    memset(mass, 0, CELLS * sizeof *mass);
    for (size_t i = 0; i < n; i++) {
        double column = floor((x[2 * i] + window) / cell),
               row = floor((x[2 * i + 1] + window) / cell);
        if (column >= 0 && column < GRID && row >= 0 && row < GRID)
            mass[(size_t)row * GRID + (size_t)column] += 1;
        else
            outside++;
    }
    for (size_t c = 0; c < CELLS; c++)
        mass[c] /= (double)n;
    return (double)outside / (double)n;
}

// Smooths one line of GRID cells, `stride` apart; what would fall off an end is folded back.
static void smooth_line(double *line, size_t stride, long reach, const double *weight) {
    double out[GRID] = {0};
    for (long i = 0; i < GRID; i++)
        for (long t = -reach; t <= reach; t++) {
            long to = i + t;
            while (to < 0 || to >= GRID)
                to = to < 0 ? -1 - to : 2 * GRID - 1 - to;
            out[to] += weight[t < 0 ? -t : t] * line[(size_t)i * stride];
        }
    for (size_t i = 0; i < GRID; i++)
        line[i * stride] = out[i];
}

void sr_toy_smooth(double window, double *mass) {
    double cell = 2 * window / GRID, weight[GRID + 1], sum = 0;
    long reach = (long)ceil(TRUNCATION * DEVIATION / cell);
    if (reach > GRID)
        reach = GRID;
    for (long t = 0; t <= reach; t++) {
        double distance = (double)t * cell / DEVIATION;
        weight[t] = exp(-0.5 * distance * distance);
        sum += t ? 2 * weight[t] : weight[t];
    }
    for (long t = 0; t <= reach; t++)
        weight[t] /= sum;
    for (size_t row = 0; row < GRID; row++)
        smooth_line(mass + row * GRID, 1, reach, weight);
    for (size_t column = 0; column < GRID; column++)
        smooth_line(mass + column, GRID, reach, weight);
}

// One cell's part of sum p log(p / q).
static double kl_term(double p, double q) {
    return p > 0 ? p * log(p / fmax(q, SR_TOY_KL_FLOOR)) : 0;
}

static double kl_of(const double *p, double p_outside, const double *q, double q_outside) {
    double sum = kl_term(p_outside, q_outside);
    for (size_t c = 0; c < CELLS; c++)
        sum += kl_term(p[c], q[c]);
    return fmax(sum, 0);
}

// A share of n independent points, with Wilson's interval (1927).
sr_estimate sr_share_estimate(size_t count, size_t n) {
    double z = sr_t_quantile(INFINITY), m = (double)n, p = (double)count / m;
    double middle = (p + z * z / (2 * m)) / (1 + z * z / m);
    double half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    return (sr_estimate){p, sqrt(p * (1 - p) / m), fmax(middle - half, 0), fmin(middle + half, 1)};
}

#define MODES_MAX 64   // bits of a sample's modes
#define BOOTSTRAPS 999 // 2.5% of 1000 lie below the 25th

// The modes that each sample lies near, as bits.
static uint64_t modes_near(size_t modes, const double *centres, double reach, const float *x) {
    uint64_t bits = 0;
    for (size_t m = 0; m < modes; m++)
        bits |= (uint64_t)(hypot(x[0] - centres[2 * m], x[1] - centres[2 * m + 1]) <= reach) << m;
    return bits;
}

static double covered_modes(size_t modes, size_t n, const size_t *held) {
    size_t covered = 0;
    for (size_t m = 0; m < modes; m++)
        covered += (double)held[m] >= FAIR_PART * (double)n / (double)modes;
    return (double)covered;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The modes covered by bootstrap sample `number` of the n samples with these bits.
static double covered_again(sr_stream stream, size_t number, size_t modes, size_t n,
                            const uint64_t *bits) {
    size_t held[MODES_MAX] = {0};
    uint32_t words[4] = {0};
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) {
            const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)number, 0, 0};
            sr_philox4x32(counter, stream.key, words);
        }
        for (uint64_t left = bits[words[i % 4] % n]; left; left &= left - 1)
            held[__builtin_ctzll(left)]++;
    }
    return covered_modes(modes, n, held);
}

// The bootstrap's percentiles (Efron 1979). A mode without a single sample stays without.
static sr_status bootstrap_modes(size_t modes, size_t n, const uint64_t *bits, double value,
                                 uint64_t seed, unsigned threads, sr_estimate *out) {
    double *covered = sr_alloc(BOOTSTRAPS, sizeof *covered), mean = 0, squares = 0;
    const sr_stream stream = sr_stream_make(seed, SR_PURPOSE_RESAMPLE, 10);
    if (!covered)
        return SR_ERROR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t b = 0; b < BOOTSTRAPS; b++)
        covered[b] = covered_again(stream, b, modes, n, bits);
    for (size_t b = 0; b < BOOTSTRAPS; b++)
        mean += covered[b] / BOOTSTRAPS;
    for (size_t b = 0; b < BOOTSTRAPS; b++)
        squares += (covered[b] - mean) * (covered[b] - mean);
    qsort(covered, BOOTSTRAPS, sizeof *covered, compare_doubles);
    *out = (sr_estimate){value, sqrt(squares / (BOOTSTRAPS - 1)),
                         fmin(covered[BOOTSTRAPS / 40], value),
                         fmax(covered[BOOTSTRAPS - 1 - BOOTSTRAPS / 40], value)};
    sr_free(covered);
    return SR_OK;
}

static sr_status judge_modes(sr_toy toy, size_t n, const float *x, uint64_t seed, unsigned threads,
                             sr_toy_scores *out) {
    const double *centres = NULL;
    double deviation = 0;
    out->mode_count = sr_toy_modes(toy, &centres, &deviation);
    out->modes_covered = out->high_quality = NAN;
    if (out->mode_count == 0)
        return SR_OK;
    if (out->mode_count > MODES_MAX)
        return sr_fail(SR_ERROR_UNSUPPORTED, "%zu modes, at most %d can be counted",
                       out->mode_count, MODES_MAX);
    uint64_t *bits = sr_alloc(n, sizeof *bits);
    size_t near = 0, held[MODES_MAX] = {0};
    if (!bits)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        bits[i] = modes_near(out->mode_count, centres, SR_TOY_MODE_REACH * deviation, x + 2 * i);
        near += bits[i] != 0;
        for (size_t m = 0; m < out->mode_count; m++)
            held[m] += bits[i] >> m & 1;
    }
    out->modes_covered = covered_modes(out->mode_count, n, held);
    out->high_quality = (double)near / (double)n;
    out->interval.high_quality = sr_share_estimate(near, n);
    const sr_status status = bootstrap_modes(out->mode_count, n, bits, out->modes_covered, seed,
                                             threads, &out->interval.modes_covered);
    sr_free(bits);
    return status;
}

// ---- divergences --------------------------------------------------------------------------------

void sr_toy_masses_of_points(double window, size_t n, const float *x, sr_toy_masses *out) {
    out->outside = histogram(window, n, x, out->cell);
    sr_toy_smooth(window, out->cell);
}

// The density's integral over each cell by the Gauss rule of 2 x 2 points, whose error is of fourth
// order in cell / deviation (about 1). A cell of the checkerboard lies within one square.
void sr_toy_masses_of_density(sr_toy toy, unsigned threads, sr_toy_masses *out) {
    const double window = sr_toy_window(toy), side = 2 * window / GRID;
    const double offset[2] = {0.5 - sqrt(1.0 / 12), 0.5 + sqrt(1.0 / 12)};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t row = 0; row < GRID; row++) {
        float x[GRID][4][2];
        double log_density[GRID][4];
        for (size_t column = 0; column < GRID; column++)
            for (size_t i = 0; i < 4; i++) {
                x[column][i][0] = (float)(-window + ((double)column + offset[i % 2]) * side);
                x[column][i][1] = (float)(-window + ((double)row + offset[i / 2]) * side);
            }
        sr_toy_log_density(toy, 4 * GRID, &x[0][0][0], &log_density[0][0]);
        for (size_t column = 0; column < GRID; column++) {
            double sum = 0;
            for (size_t i = 0; i < 4; i++)
                sum += exp(log_density[column][i]);
            out->cell[row * GRID + column] = sum / 4 * side * side;
        }
    }
    double inside = 0;
    for (size_t c = 0; c < CELLS; c++)
        inside += out->cell[c];
    out->outside = fmax(1 - inside, 0);
    for (size_t c = 0; c < CELLS && inside > 1; c++) // by the rule's error
        out->cell[c] /= inside;
    sr_toy_smooth(window, out->cell);
}

double sr_toy_divergence(const sr_toy_masses *p, const sr_toy_masses *q) {
    return kl_of(p->cell, p->outside, q->cell, q->outside);
}

// ---- their errors -------------------------------------------------------------------------------

#define DIVERGENCES SR_TOY_DIVERGENCES

// The value with the error of its replicates; divergences are never negative.
static sr_estimate jackknife_estimate(double value, const double replicate[SR_GROUPS]) {
    double error = sr_jackknife(SR_GROUPS, replicate), half = sr_t_quantile(SR_GROUPS - 1) * error;
    return (sr_estimate){value, error, fmax(value - half, 0), value + half};
}

// The points x (n, 2) that are not in group g; returns how many.
size_t sr_toy_leave_out(size_t n, const float *x, const uint8_t *group, size_t g, float *rest) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (group[i] == g)
            continue;
        rest[2 * kept] = x[2 * i];
        rest[2 * kept + 1] = x[2 * i + 1];
        kept++;
    }
    return kept;
}

void sr_toy_divergences(const sr_toy_masses *made, const sr_toy_masses *drawn,
                        const sr_toy_masses *truth, double out[DIVERGENCES]) {
    out[0] = sr_toy_divergence(made, drawn);
    out[1] = sr_toy_divergence(drawn, made);
    out[2] = sr_toy_divergence(truth, drawn);
    out[3] = sr_toy_divergence(drawn, truth);
}

// Group g of both sets is left out at a time. made, drawn: scratch.
static sr_status divergence_errors(double window, size_t n_data, const float *data,
                                   size_t n_samples, const float *samples, uint64_t seed,
                                   const sr_toy_masses *truth, sr_toy_masses *made,
                                   sr_toy_masses *drawn, sr_toy_scores *out) {
    sr_estimate *const to[DIVERGENCES] = {&out->interval.kl, &out->interval.kl_reverse,
                                          &out->interval.kl_true, &out->interval.kl_true_reverse};
    const double value[DIVERGENCES] = {out->kl, out->kl_reverse, out->kl_true,
                                       out->kl_true_reverse};
    double replicate[DIVERGENCES][SR_GROUPS], found[DIVERGENCES];
    if (n_data < 2 * SR_GROUPS || n_samples < 2 * SR_GROUPS)
        return SR_OK;
    size_t most = n_data > n_samples ? n_data : n_samples;
    uint8_t *data_group = sr_alloc(n_data, 1), *group = sr_alloc(n_samples, 1);
    float *rest = sr_alloc(most, 2 * sizeof *rest);
    sr_status status = data_group && group && rest ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_groups_draw(seed, 8, n_data, SR_GROUPS, data_group);
    if (status == SR_OK)
        status = sr_groups_draw(seed, 9, n_samples, SR_GROUPS, group);
    for (size_t g = 0; g < SR_GROUPS && status == SR_OK; g++) {
        sr_toy_masses_of_points(window, sr_toy_leave_out(n_data, data, data_group, g, rest), rest,
                                made);
        sr_toy_masses_of_points(window, sr_toy_leave_out(n_samples, samples, group, g, rest), rest,
                                drawn);
        sr_toy_divergences(made, drawn, truth, found);
        for (size_t d = 0; d < DIVERGENCES; d++)
            replicate[d][g] = found[d];
    }
    for (size_t d = 0; d < DIVERGENCES && status == SR_OK; d++)
        *to[d] = jackknife_estimate(value[d], replicate[d]);
    sr_free(data_group);
    sr_free(group);
    sr_free(rest);
    return status;
}

static sr_status judge_divergences(sr_toy toy, size_t n_data, const float *data, size_t n_samples,
                                   const float *samples, uint64_t seed, unsigned threads,
                                   sr_toy_scores *out) {
    sr_toy_masses *made = sr_alloc(3, sizeof *made);
    if (!made)
        return SR_ERROR_MEMORY;
    sr_toy_masses *drawn = made + 1, *truth = made + 2;
    sr_toy_masses_of_points(sr_toy_window(toy), n_data, data, made);
    sr_toy_masses_of_points(sr_toy_window(toy), n_samples, samples, drawn);
    sr_toy_masses_of_density(toy, threads, truth);
    double found[DIVERGENCES];
    sr_toy_divergences(made, drawn, truth, found);
    out->kl = found[0];
    out->kl_reverse = found[1];
    out->kl_true = found[2];
    out->kl_true_reverse = found[3];
    sr_status status = divergence_errors(sr_toy_window(toy), n_data, data, n_samples, samples, seed,
                                         truth, made, drawn, out);
    sr_free(made);
    return status;
}

static sr_estimate metric_estimate(const sr_metric_values *values, sr_metric m) {
    return (sr_estimate){values->value[m], values->error[m], values->low[m], values->high[m]};
}

static sr_status judge_distances(size_t n_data, const float *data, size_t n_samples,
                                 const float *samples, uint64_t seed, unsigned threads,
                                 sr_toy_scores *out) {
    sr_metric_options options;
    sr_metric_values values;
    sr_metric_options_default(&options);
    options.which = 1u << SR_MMD2_RBF | 1u << SR_SLICED_W2;
    options.seed = seed;
    options.threads = threads;
    sr_status status = sr_metrics(n_data, data, n_samples, samples, 2, &options, &values);
    if (status != SR_OK)
        return status;
    out->mmd2 = values.value[SR_MMD2_RBF];
    out->sliced_w2 = values.value[SR_SLICED_W2];
    out->interval.mmd2 = metric_estimate(&values, SR_MMD2_RBF);
    out->interval.sliced_w2 = metric_estimate(&values, SR_SLICED_W2);
    status =
        sr_toy_w2_estimate(n_data, data, n_samples, samples, seed, &out->w2_n, &out->interval.w2);
    out->w2 = out->interval.w2.value;
    return status;
}

sr_status sr_toy_judge(sr_toy toy, size_t n_data, const float *data, size_t n_samples,
                       const float *samples, uint64_t seed, unsigned threads, sr_toy_scores *out) {
    const sr_estimate none = {NAN, NAN, NAN, NAN};
    *out = (sr_toy_scores){.n = n_samples,
                           .interval = {none, none, none, none, none, none, none, none, none}};
    threads = sr_threads_resolve(threads);
    sr_status status = sr_toy_points_check("data", 2, n_data, data);
    if (status == SR_OK)
        status = sr_toy_points_check("samples", 2, n_samples, samples);
    if (status == SR_OK)
        status = judge_divergences(toy, n_data, data, n_samples, samples, seed, threads, out);
    if (status != SR_OK)
        return status;
    status = judge_modes(toy, n_samples, samples, seed, threads, out);
    if (status != SR_OK)
        return status;
    return judge_distances(n_data, data, n_samples, samples, seed, threads, out);
}

// ---- a density given on the grid ----------------------------------------------------------------

// q (CELLS) = exp(log_q) normalised over the window.
static sr_status density_cells(const double *log_q, double *q) {
    double largest = -INFINITY, sum = 0;
    for (size_t c = 0; c < CELLS; c++) {
        if (isnan(log_q[c]) || log_q[c] == INFINITY)
            return sr_fail(SR_ERROR_ARGUMENT, "log density at grid cell %zu is %g", c, log_q[c]);
        largest = fmax(largest, log_q[c]);
    }
    if (largest == -INFINITY)
        return sr_fail(SR_ERROR_ARGUMENT, "the density is 0 at every cell of the grid");
    for (size_t c = 0; c < CELLS; c++)
        sum += q[c] = exp(log_q[c] - largest);
    for (size_t c = 0; c < CELLS; c++)
        q[c] /= sum;
    return SR_OK;
}

sr_status sr_toy_kl_grid(sr_toy toy, size_t n_data, const float *data, const double *log_q,
                         double *kl) {
    sr_status status = sr_toy_points_check("data", 2, n_data, data);
    if (status != SR_OK)
        return status;
    double *p = sr_alloc(2 * CELLS, sizeof(double));
    if (!p)
        return SR_ERROR_MEMORY;
    double window = sr_toy_window(toy), *q = p + CELLS;
    double outside = histogram(window, n_data, data, p);
    status = outside < 1 ? density_cells(log_q, q)
                         : sr_fail(SR_ERROR_ARGUMENT, "data: no point lies in the window");
    if (status == SR_OK) {
        for (size_t c = 0; c < CELLS; c++)
            p[c] /= 1 - outside;
        sr_toy_smooth(window, p);
        sr_toy_smooth(window, q);
        *kl = kl_of(p, 0, q, 0);
    }
    sr_free(p);
    return status;
}

sr_status sr_toy_kl_grid_estimate(sr_toy toy, size_t n_data, const float *data, const double *log_q,
                                  uint64_t seed, sr_estimate *out) {
    double value, replicate[SR_GROUPS];
    *out = (sr_estimate){NAN, NAN, NAN, NAN};
    sr_status status = sr_toy_kl_grid(toy, n_data, data, log_q, &value);
    if (status != SR_OK)
        return status;
    out->value = value;
    if (n_data < 2 * SR_GROUPS)
        return SR_OK;
    uint8_t *group = sr_alloc(n_data, 1);
    float *rest = sr_alloc(n_data, 2 * sizeof *rest);
    status = group && rest ? sr_groups_draw(seed, 8, n_data, SR_GROUPS, group) : SR_ERROR_MEMORY;
    for (size_t g = 0; g < SR_GROUPS && status == SR_OK; g++)
        status = sr_toy_kl_grid(toy, sr_toy_leave_out(n_data, data, group, g, rest), rest, log_q,
                                &replicate[g]);
    if (status == SR_OK)
        *out = jackknife_estimate(value, replicate);
    sr_free(group);
    sr_free(rest);
    return status;
}
