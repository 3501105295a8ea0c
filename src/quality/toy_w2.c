// The exact Wasserstein-2 distance of two sets of points in the plane. Sets of equal size and equal
// weights are transported best by an assignment (Birkhoff), which a library finds.
//
// The library wants whole numbers: squared distances are divided by the largest of them and
// multiplied by 2^46, so each is off by at most 2^-47 of the largest. Let D be the largest
// distance. The assignment found costs at most 2^-46 D^2 a point more than the best (half a unit
// for each of the two), and what is returned is computed from its distances themselves: W2^2 is
// never too small, and at most 1.5e-14 D^2 too large.
//
// The interval is that of the central limit theorem of del Barrio and Loubes (2019): for n points
// of each set, sqrt(n) (W2_n^2 - E W2_n^2) tends to a normal of variance Var f(X) + Var g(Y), f and
// g the Kantorovich potentials, which the assignment's dual solution estimates. It holds W2_n^2's
// expectation at this n. Where both sets have the same distribution the potentials are constant and
// the limit is 0: what remains is of higher order, and the potentials of a finite sample, which are
// not constant, stand for it.
#include <shortrun/kernels.h>
#include <shortrun/quality.h>

#include "toy_points.h"

#ifdef SR_LEMON
#include "assignment.h"
#endif

#include "metrics.h"

#include <math.h>

const char *sr_toy_w2_library(void) {
#ifdef SR_LEMON
    return sr_assignment_library();
#else
    return NULL;
#endif
}

#ifdef SR_LEMON

typedef struct pairing {
    const double *a, *b; // (m, 2)
    double scale;        // whole units of cost in a squared distance of 1
} pairing;

// out (m, 2): m of the n points, every subset equally likely, in their order (Knuth's algorithm S).
// Depends on seed, n and m alone: sets of equal size keep the same rows, so that nothing changes
// when the two are exchanged and a set is at distance 0 from itself.
static void subsample(uint64_t seed, size_t n, const float *x, size_t m, double *out) {
    const sr_stream stream = sr_stream_make(seed, SR_PURPOSE_RESAMPLE, 0);
    for (size_t i = 0, kept = 0; i < n && kept < m; i++) {
        const uint32_t counter[4] = {0, 0, (uint32_t)i, (uint32_t)((uint64_t)i >> 32)};
        uint32_t words[4];
        sr_philox4x32(counter, stream.key, words);
        const double u = ((double)words[0] + 0.5) * 0x1p-32;
        if (u * (double)(n - i) >= (double)(m - kept))
            continue;
        out[2 * kept] = x[2 * i];
        out[2 * kept + 1] = x[2 * i + 1];
        kept++;
    }
}

static double squared_distance(const pairing *p, size_t i, size_t j) {
    const double dx = p->a[2 * i] - p->b[2 * j], dy = p->a[2 * i + 1] - p->b[2 * j + 1];
    return dx * dx + dy * dy;
}

static int64_t whole_cost(size_t i, size_t j, const void *user) {
    const pairing *p = user;
    return llrint(squared_distance(p, i, j) * p->scale);
}

// Variance of the mean of the potentials of one set.
static double price_variance(const pairing *p, size_t m, const int64_t *price) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < m; i++) // relative to the first: prices may be large and alike
        mean += (double)(price[i] - price[0]) / (double)m;
    for (size_t i = 0; i < m; i++) {
        const double off = (double)(price[i] - price[0]) - mean;
        squares += off * off;
    }
    return squares / ((double)m * (double)(m - 1)) / (p->scale * p->scale);
}

// From W2^2 and the variance of W2^2; the error of the root to first order.
static sr_estimate root_estimate(double square, double variance) {
    const double half = sr_t_quantile(INFINITY) * sqrt(variance), value = sqrt(square);
    return (sr_estimate){value, value > 0 ? sqrt(variance) / (2 * value) : 0,
                         sqrt(fmax(square - half, 0)), sqrt(square + half)};
}

static sr_status assign(pairing *p, size_t m, sr_estimate *w2) {
    double largest = 0, sum = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++)
            largest = fmax(largest, squared_distance(p, i, j));
    *w2 = (sr_estimate){0, 0, 0, 0};
    if (largest == 0) // the least distance of two floats squared, 2e-90, leaves the scale finite
        return SR_OK;
    p->scale = ldexp(1, SR_ASSIGNMENT_COST_BITS) / largest;
    uint32_t *match = sr_alloc(m, sizeof *match);
    int64_t *price = sr_alloc(2 * m, sizeof *price);
    const bool solved =
        match && price && sr_assignment_solve(m, whole_cost, p, match, price, price + m);
    for (size_t i = 0; i < m && solved; i++)
        sum += squared_distance(p, i, match[i]);
    if (solved && m > 1)
        *w2 = root_estimate(sum / (double)m,
                            price_variance(p, m, price) + price_variance(p, m, price + m));
    else
        *w2 = (sr_estimate){sqrt(sum / (double)m), NAN, NAN, NAN};
    sr_free(match);
    sr_free(price);
    return solved ? SR_OK : sr_fail(SR_ERROR_MEMORY, "w2: no memory for %zu x %zu costs", m, m);
}

static sr_status exact(size_t n_a, const float *a, size_t n_b, const float *b, uint64_t seed,
                       size_t m, sr_estimate *w2) {
    double *points = sr_alloc(4 * m, sizeof *points);
    if (!points)
        return SR_ERROR_MEMORY;
    subsample(seed, n_a, a, m, points);
    subsample(seed, n_b, b, m, points + 2 * m);
    pairing p = {.a = points, .b = points + 2 * m};
    const sr_status status = assign(&p, m, w2);
    sr_free(points);
    return status;
}

#endif

sr_status sr_toy_w2(size_t n_a, const float *a, size_t n_b, const float *b, uint64_t seed,
                    size_t *n, double *w2) {
    sr_estimate estimate;
    const sr_status status = sr_toy_w2_estimate(n_a, a, n_b, b, seed, n, &estimate);
    *w2 = estimate.value;
    return status;
}

sr_status sr_toy_w2_estimate(size_t n_a, const float *a, size_t n_b, const float *b, uint64_t seed,
                             size_t *n, sr_estimate *w2) {
    size_t m = n_a < n_b ? n_a : n_b;
    if (m > SR_TOY_W2_POINTS)
        m = SR_TOY_W2_POINTS;
    *n = m;
    *w2 = (sr_estimate){NAN, NAN, NAN, NAN};
    sr_status status = sr_toy_points_check("first set", 1, n_a, a);
    if (status == SR_OK)
        status = sr_toy_points_check("second set", 1, n_b, b);
#ifdef SR_LEMON
    if (status == SR_OK)
        status = exact(n_a, a, n_b, b, seed, m, w2);
#endif
    return status;
}
