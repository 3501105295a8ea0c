// What nearest real rows say of memorisation, for `shortrun evaluate`.
//
// Errors of the ratio and of P(closer): the jack-knife over GROUPS random groups of rows of both
// sides, as for the scores of neighbours, but with each row's nearest distance held: a real row
// that is left out stays where it is as a neighbour of others. Two real rows that are each other's
// nearest (most are, in few dimensions) have the same distance; they are one observation and stay
// together.
//
// Copies: p = F(q), F of the fake distances, q the 1% quantile of the real ones, for which the
// jack-knife is not consistent. To first order the variance is
//     p (1 - p) / m + 2 (p / 0.01)^2 0.01 0.99 / n:
// m fake rows, and the quantile's own, with the densities there in the ratio p / 0.01, doubled
// because close real rows are each other's nearest and count in pairs. p within it is Agresti and
// Coull's (two more of each kind), so that no copies among few rows do not look certain.
#include "cli/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS 20
#define LEAST_ROWS 100      // of a side, for an error: then no group holds nearly all
#define T_QUANTILE 2.093024 // Student's t, GROUPS - 1 degrees of freedom, 97.5%

#define EDGE 0.01 // sr_memorisation.copies

enum { RATIO, CLOSER, COPIES, SCORES };

static sr_status scores_of(size_t n_real, const double *real, size_t n_fake, const double *fake,
                           double out[SCORES], sr_memorisation *m) {
    const sr_status status = sr_memorisation_of(n_real, real, n_fake, fake, m);
    if (status != SR_OK)
        return status;
    out[RATIO] = m->median_fake / m->median_real;
    out[CLOSER] = m->closer;
    out[COPIES] = m->copies;
    return SR_OK;
}

typedef struct row {
    double distance;
    size_t group;
} row;

static int by_distance(const void *a, const void *b) {
    const double x = ((const row *)a)->distance, y = ((const row *)b)->distance;
    return (x > y) - (x < y);
}

// Steele et al. 2014 (SplitMix64).
static size_t random_group(uint64_t i) {
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
    i = (i ^ i >> 27) * 0x94d049bb133111ebu;
    return (size_t)((i ^ i >> 31) % GROUPS);
}

// Sorted by distance; of equal ones, two and two share a group. Rows of the same rank on the two
// sides must not: their changes would cancel.
static row *make_groups(uint64_t side, size_t n, const double *distance) {
    row *out = sr_alloc(n, sizeof *out);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++)
        out[i].distance = distance[i];
    qsort(out, n, sizeof *out, by_distance);
    for (size_t i = 0; i < n; i++) {
        out[i].group = random_group(side << 32 | i);
        if (i + 1 < n && out[i].distance == out[i + 1].distance) {
            out[i + 1].group = out[i].group;
            i++;
        }
    }
    return out;
}

static size_t without_group(size_t n, const row *rows, size_t group, double *out) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].group != group)
            out[kept++] = rows[i].distance;
    }
    return kept;
}

// error (SCORES)
static sr_status jackknife(size_t n_real, size_t n_fake, const sr_metric_rows *rows,
                           double *error) {
    double value[GROUPS][SCORES];
    sr_memorisation m;
    double *real = sr_alloc(n_real, sizeof *real), *fake = sr_alloc(n_fake, sizeof *fake);
    row *real_rows = make_groups(0, n_real, rows->real_distance),
        *fake_rows = make_groups(1, n_fake, rows->nearest_distance);
    sr_status status = real && fake && real_rows && fake_rows ? SR_OK : SR_ERROR_MEMORY;
    for (size_t g = 0; g < GROUPS && status == SR_OK; g++) {
        const size_t n = without_group(n_real, real_rows, g, real);
        const size_t k = without_group(n_fake, fake_rows, g, fake);
        status = scores_of(n, real, k, fake, value[g], &m);
    }
    for (size_t s = 0; s < SCORES && status == SR_OK; s++) {
        double mean = 0.0, squares = 0.0;
        for (size_t g = 0; g < GROUPS; g++)
            mean += value[g][s] / GROUPS;
        for (size_t g = 0; g < GROUPS; g++)
            squares += (value[g][s] - mean) * (value[g][s] - mean);
        error[s] = sqrt(squares * (GROUPS - 1) / GROUPS);
    }
    sr_free(real);
    sr_free(fake);
    sr_free(real_rows);
    sr_free(fake_rows);
    return status;
}

static double copies_error(size_t n_real, size_t n_fake, double copies) {
    const double n = (double)n_real, m = (double)n_fake, p = (copies * m + 2.0) / (m + 4.0);
    const double share = p / EDGE;
    return sqrt(p * (1.0 - p) / m + 2.0 * share * share * EDGE * (1.0 - EDGE) / n);
}

static sr_estimate estimate(double value, double error, double most) {
    const double half = T_QUANTILE * error;
    if (!isfinite(value) || !isfinite(error))
        return (sr_estimate){value, NAN, NAN, NAN};
    return (sr_estimate){value, error, fmax(value - half, 0.0), fmin(value + half, most)};
}

sr_status evaluate_memorisation(size_t n_real, size_t n_fake, const sr_metric_rows *rows,
                                bool no_errors, evaluate_scores *out) {
    double value[SCORES], error[SCORES] = {NAN, NAN, NAN};
    sr_memorisation m;
    sr_status status =
        scores_of(n_real, rows->real_distance, n_fake, rows->nearest_distance, value, &m);
    if (status == SR_OK && !no_errors && n_real >= LEAST_ROWS && n_fake >= LEAST_ROWS)
        status = jackknife(n_real, n_fake, rows, error);
    if (!isnan(error[COPIES]))
        error[COPIES] = copies_error(n_real, n_fake, value[COPIES]);
    if (status != SR_OK)
        return status;
    evaluate_score *s =
        evaluate_add(out, "memorisation_ratio", estimate(value[RATIO], error[RATIO], INFINITY));
    snprintf(s->note, sizeof s->note, "median nearest distance, fake / real: %.4g / %.4g",
             m.median_fake, m.median_real);
    s->more[0].name = "median_fake";
    s->more[0].value = m.median_fake;
    s->more[1].name = "median_real";
    s->more[1].value = m.median_real;
    s = evaluate_add(out, "memorisation_closer", estimate(value[CLOSER], error[CLOSER], 1.0));
    snprintf(s->note, sizeof s->note, "0.5 for new data, near 1 for copies");
    s = evaluate_add(out, "memorisation_copies", estimate(value[COPIES], error[COPIES], 1.0));
    snprintf(s->note, sizeof s->note, "0.01 for new data");
    return SR_OK;
}

sr_status evaluate_save_nearest(const char *path, size_t n_fake, const sr_metric_rows *rows) {
    sr_text text = {0};
    sr_text_append(&text, "fake,nearest_real,distance\n");
    for (size_t i = 0; i < n_fake; i++)
        sr_text_append(&text, "%zu,%zu,%.17g\n", i, rows->nearest[i], rows->nearest_distance[i]);
    sr_status status = sr_text_status(&text);
    if (status == SR_OK)
        status = sr_file_write(path, sr_text_string(&text), text.length);
    sr_text_clear(&text);
    return status;
}
