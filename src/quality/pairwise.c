// Metrics that are read off the distances between rows, in one sweep over each of real x real,
// fake x fake and real x fake:
//   precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020): a ball
//   around each row reaches to its k-th neighbour within its own set (itself not counted), strict
//   <; mmd2_rbf (Gretton et al. 2012, unbiased), energy distance (Szekely and Rizzo 2013, all
//   pairs); one_nn_accuracy (Lopez-Paz and Oquab 2017): leave-one-out 1-NN on the first min(n, m)
//   rows of each set; where distances tie, the row that comes first (real before fake) is the
//   neighbour.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define BIT(metric) (1u << (metric))
#define NEIGHBOURS (BIT(SR_PRECISION) | BIT(SR_RECALL) | BIT(SR_DENSITY) | BIT(SR_COVERAGE))

// exp(-d^2 / (2 bandwidth^2)); a bandwidth of 0 (most rows coincide) is taken as the limit.
typedef struct rbf {
    bool on;
    double scale; // 1 / (2 bandwidth^2)
} rbf;

static double rbf_of(const rbf *kernel, double distance) {
    return distance == 0 ? 1 : exp(-(distance * distance) * kernel->scale);
}

// What a sweep of a set over itself leaves, per row; the row itself is not counted.
typedef struct self_rows {
    size_t n, k, paired; // paired: rows that take part in 1-NN
    rbf kernel;
    double *nearest;        // (n, k) smallest distances, ascending; k = 0: not kept
    double *distance;       // (n) sum of distances
    double *similar;        // (n) sum of the RBF kernel
    double *paired_nearest; // (n) distance to the nearest of the paired rows
} self_rows;

static void self_visit(void *user, unsigned thread, size_t row, size_t first, size_t count,
                       const double *distance) {
    self_rows *s = user;
    double *nearest = s->nearest + row * s->k, sum = 0, similar = 0,
           paired = s->paired_nearest[row];
    for (size_t j = 0; j < count; j++) {
        double d = distance[j];
        if (first + j == row)
            continue;
        sum += d;
        if (first + j < s->paired && d < paired)
            paired = d;
        if (s->kernel.on)
            similar += rbf_of(&s->kernel, d);
        if (s->k && d < nearest[s->k - 1]) {
            size_t at = s->k - 1;
            for (; at > 0 && d < nearest[at - 1]; at--)
                nearest[at] = nearest[at - 1];
            nearest[at] = d;
        }
    }
    s->distance[row] += sum;
    s->similar[row] += similar;
    s->paired_nearest[row] = paired;
}

static void self_clear(self_rows *s) {
    sr_free(s->nearest);
    sr_free(s->distance);
    sr_free(s->similar);
    sr_free(s->paired_nearest);
}

static sr_status self_sweep(const sr_points *points, size_t k, size_t paired, rbf kernel,
                            unsigned threads, self_rows *s) {
    size_t n = points->n, kept;
    *s = (self_rows){.n = n, .k = k, .paired = paired, .kernel = kernel};
    if (!sr_size_mul(n, k, &kept))
        return sr_fail(SR_ERROR_MEMORY, "%zu neighbours of %zu rows do not fit in memory", k, n);
    s->nearest = sr_alloc(kept, sizeof(double));
    s->distance = sr_alloc(n, sizeof(double));
    s->similar = sr_alloc(n, sizeof(double));
    s->paired_nearest = sr_alloc(n, sizeof(double));
    if (!s->nearest || !s->distance || !s->similar || !s->paired_nearest)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < kept; i++)
        s->nearest[i] = INFINITY;
    for (size_t i = 0; i < n; i++)
        s->paired_nearest[i] = INFINITY;
    sr_distance_sweep(points, points, threads, self_visit, s);
    return SR_OK;
}

static double radius(const self_rows *s, size_t row) {
    return s->nearest[row * s->k + s->k - 1];
}

// What the sweep of real over fake leaves.
typedef struct cross_rows {
    const self_rows *real, *fake;
    rbf kernel;
    double *distance, *similar; // per real row
    double *nearest;            // per real row: the nearest fake row
    double *paired_nearest;     // per real row: the nearest paired fake row
    size_t *inside;             // per real row: fake rows inside its ball
    uint8_t *recalled;          // per real row: inside the ball of some fake row
    uint8_t *precise;           // (threads, fake rows): inside the ball of some real row
    double *fake_nearest;       // (threads, fake rows): the nearest paired real row
} cross_rows;

static void cross_visit(void *user, unsigned thread, size_t row, size_t first, size_t count,
                        const double *distance) {
    cross_rows *c = user;
    double sum = 0, similar = 0, nearest = c->nearest[row], paired = c->paired_nearest[row];
    for (size_t j = 0; j < count; j++) {
        sum += distance[j];
        nearest = fmin(nearest, distance[j]);
    }
    for (size_t j = 0; j < count && c->kernel.on; j++)
        similar += rbf_of(&c->kernel, distance[j]);
    if (row < c->real->paired) {
        double *fake_nearest = c->fake_nearest + thread * c->fake->n + first;
        for (size_t j = 0; j < count; j++) {
            fake_nearest[j] = fmin(fake_nearest[j], distance[j]);
            if (first + j < c->fake->paired)
                paired = fmin(paired, distance[j]);
        }
    }
    if (c->real->k) {
        double reach = radius(c->real, row);
        uint8_t *precise = c->precise + thread * c->fake->n + first;
        for (size_t j = 0; j < count; j++) {
            if (distance[j] < reach) {
                c->inside[row]++;
                precise[j] = 1;
            }
            if (distance[j] < radius(c->fake, first + j))
                c->recalled[row] = 1;
        }
    }
    c->distance[row] += sum;
    c->similar[row] += similar;
    c->nearest[row] = nearest;
    c->paired_nearest[row] = paired;
}

static void cross_clear(cross_rows *c) {
    sr_free(c->distance);
    sr_free(c->similar);
    sr_free(c->nearest);
    sr_free(c->paired_nearest);
    sr_free(c->inside);
    sr_free(c->recalled);
    sr_free(c->precise);
    sr_free(c->fake_nearest);
}

static sr_status cross_sweep(const sr_points *p, const sr_points *q, const self_rows *real,
                             const self_rows *fake, unsigned threads, cross_rows *c) {
    size_t n = p->n, m = q->n;
    *c = (cross_rows){.real = real, .fake = fake, .kernel = real->kernel};
    c->distance = sr_alloc(n, sizeof(double));
    c->similar = sr_alloc(n, sizeof(double));
    c->nearest = sr_alloc(n, sizeof(double));
    c->paired_nearest = sr_alloc(n, sizeof(double));
    c->inside = sr_alloc(n, sizeof(size_t));
    c->recalled = sr_alloc(n, 1);
    c->precise = sr_alloc(threads, m);
    c->fake_nearest = sr_alloc(threads, m * sizeof(double));
    if (!c->distance || !c->similar || !c->nearest || !c->paired_nearest || !c->inside ||
        !c->recalled || !c->precise || !c->fake_nearest)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++)
        c->nearest[i] = c->paired_nearest[i] = INFINITY;
    for (size_t j = 0; j < threads * m; j++)
        c->fake_nearest[j] = INFINITY;
    sr_distance_sweep(p, q, threads, cross_visit, c);
    for (unsigned t = 1; t < threads; t++) // the first thread's part becomes that of all
        for (size_t j = 0; j < m; j++) {
            c->precise[j] |= c->precise[t * m + j];
            c->fake_nearest[j] = fmin(c->fake_nearest[j], c->fake_nearest[t * m + j]);
        }
    return SR_OK;
}

static double total(size_t n, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static void finish_neighbours(const cross_rows *c, double *value) {
    size_t n = c->real->n, m = c->fake->n, k = c->real->k;
    size_t precise = 0, recalled = 0, inside = 0, covered = 0;
    for (size_t j = 0; j < m; j++)
        precise += c->precise[j];
    for (size_t i = 0; i < n; i++) {
        recalled += c->recalled[i];
        inside += c->inside[i];
        covered += c->nearest[i] < radius(c->real, i);
    }
    value[SR_PRECISION] = (double)precise / (double)m;
    value[SR_RECALL] = (double)recalled / (double)n;
    value[SR_DENSITY] = (double)inside / (double)m / (double)k;
    value[SR_COVERAGE] = (double)covered / (double)n;
}

static void finish(const cross_rows *c, uint32_t which, double *value) {
    double n = (double)c->real->n, m = (double)c->fake->n;
    if (which & NEIGHBOURS)
        finish_neighbours(c, value);
    value[SR_MMD2_RBF] = total(c->real->n, c->real->similar) / (n * (n - 1)) +
                         total(c->fake->n, c->fake->similar) / (m * (m - 1)) -
                         2 * (total(c->real->n, c->similar) / (n * m));
    value[SR_ENERGY_DISTANCE] = 2 * (total(c->real->n, c->distance) / (n * m)) -
                                total(c->real->n, c->real->distance) / (n * n) -
                                total(c->fake->n, c->fake->distance) / (m * m);
    size_t paired = c->real->paired, right = 0;
    for (size_t i = 0; i < paired; i++) {
        right += c->real->paired_nearest[i] <= c->paired_nearest[i];
        right += c->fake->paired_nearest[i] < c->fake_nearest[i];
    }
    value[SR_ONE_NN_ACCURACY] = (double)right / (2 * (double)paired);
}

sr_status sr_metric_pairwise(const sr_points *real, const sr_points *fake,
                             const sr_metric_options *options, unsigned threads,
                             sr_metric_values *out) {
    self_rows a = {0}, b = {0};
    cross_rows c = {0};
    rbf kernel = {.on = options->which & BIT(SR_MMD2_RBF)};
    double bandwidth = options->bandwidth, value[SR_METRIC_COUNT] = {0};
    size_t k = options->which & NEIGHBOURS ? options->k : 0;
    size_t paired = real->n < fake->n ? real->n : fake->n;
    sr_status status = SR_OK;
    if (kernel.on && bandwidth == 0)
        status = sr_median_distance(real, fake, threads, &bandwidth);
    kernel.scale = 1 / (2 * bandwidth * bandwidth); // infinite for a median of 0
    if (status == SR_OK)
        status = self_sweep(real, k, paired, kernel, threads, &a);
    if (status == SR_OK)
        status = self_sweep(fake, k, paired, kernel, threads, &b);
    if (status == SR_OK)
        status = cross_sweep(real, fake, &a, &b, threads, &c);
    if (status == SR_OK) {
        finish(&c, options->which, value);
        for (int metric = 0; metric < SR_METRIC_COUNT; metric++)
            if (metric >= SR_PRECISION && metric != SR_SLICED_W2 && options->which & BIT(metric))
                out->value[metric] = value[metric];
        if (kernel.on)
            out->bandwidth = bandwidth;
    }
    self_clear(&a);
    self_clear(&b);
    cross_clear(&c);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "pairwise distances: ");
}
