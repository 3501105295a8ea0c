// The scores of `shortrun evaluate`: metrics over rows, what logits and nearest distances say, and
// what only makes sense against a known density of the plane.
#include "cli/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(metric) (1u << (metric))
#define BALLS (BIT(SR_PRECISION) | BIT(SR_RECALL) | BIT(SR_DENSITY) | BIT(SR_COVERAGE))

// What --metrics takes besides the library's metrics.
enum { INCEPTION_SCORE = 1, CLASS_ENTROPY = 2, MEMORISATION = 4, MORE = 7 };

typedef struct request {
    uint32_t which, more;
    bool all; // no list was given
    sr_metric_options o;
    double bandwidths[SR_BANDWIDTHS_MAX];
    float *projections;
    sr_metric_rows rows;
} request;

// ---- what is asked for --------------------------------------------------------------------------

static sr_status parse_one(const char *name, request *q) {
    sr_metric metric;
    uint32_t more = strcmp(name, "inception_score") == 0 ? INCEPTION_SCORE
                    : strcmp(name, "class_entropy") == 0 ? CLASS_ENTROPY
                    : strcmp(name, "memorisation") == 0  ? MEMORISATION
                                                         : 0;
    q->more |= more;
    if (more)
        return SR_OK;
    const sr_status status = sr_metric_parse(name, &metric);
    if (status == SR_OK) {
        q->which |= BIT(metric);
        return SR_OK;
    }
    char *message = sr_strdup(sr_error_message());
    if (message)
        sr_fail(status, "%s, " EVALUATE_MORE_METRICS, message);
    sr_free(message);
    return status;
}

// The packages that have an inception score.
static uint32_t more_of(sr_convention convention) {
    if (convention == SR_CONVENTION_SHORTRUN)
        return MORE;
    const bool has =
        convention == SR_CONVENTION_TORCH_FIDELITY || convention == SR_CONVENTION_DGM_EVAL;
    return has ? INCEPTION_SCORE : 0;
}

static sr_status parse_metrics(const evaluate_values *v, request *q) {
    const char *list = v->metrics;
    if (!list || strcmp(list, "all") == 0) {
        q->all = true;
        q->which = sr_convention_metrics(v->convention);
        q->more = more_of(v->convention);
        return SR_OK;
    }
    while (*list) {
        char name[64];
        const size_t length = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), list);
        const sr_status status = parse_one(name, q);
        if (status != SR_OK)
            return status;
        list += length + (list[length] == ',');
    }
    return SR_OK;
}

static sr_status parse_bandwidths(const char *list, request *q) {
    q->o.bandwidths = q->bandwidths;
    for (const char *at = list; at && *at;) {
        char *end;
        const double value = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !(value > 0.0 && isfinite(value)))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "--bandwidths is '%.60s', expected positive numbers with commas between "
                           "them",
                           list);
        if (q->o.bandwidth_count == SR_BANDWIDTHS_MAX)
            return sr_fail(SR_ERROR_ARGUMENT, "--bandwidths has more than %d numbers",
                           SR_BANDWIDTHS_MAX);
        q->bandwidths[q->o.bandwidth_count++] = value;
        at = *end ? end + 1 : end;
    }
    return SR_OK;
}

static sr_status load_projections(const char *path, size_t dim, request *q) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    if (status == SR_OK && (array.rank != 2 || array.shape[1] != dim || array.shape[0] == 0))
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: rank %zu with rows of %zu, expected (P, %zu)",
                         path, array.rank, array.rank ? array.shape[array.rank - 1] : 0, dim);
    if (status == SR_OK)
        status = sr_array_to_f32(&array, &q->projections);
    if (status == SR_OK) {
        q->o.projections = q->projections;
        q->o.projection_count = array.shape[0];
    }
    sr_array_clear(&array);
    return status;
}

static sr_status make_rows(size_t n_real, size_t n_fake, request *q) {
    q->rows = (sr_metric_rows){
        .nearest = sr_alloc(n_fake, sizeof *q->rows.nearest),
        .nearest_distance = sr_alloc(n_fake, sizeof *q->rows.nearest_distance),
        .real_distance = sr_alloc(n_real, sizeof *q->rows.real_distance),
    };
    return q->rows.nearest && q->rows.nearest_distance && q->rows.real_distance ? SR_OK
                                                                                : SR_ERROR_MEMORY;
}

static void request_clear(request *q) {
    sr_free(q->projections);
    sr_free(q->rows.nearest);
    sr_free(q->rows.nearest_distance);
    sr_free(q->rows.real_distance);
}

static sr_status prepare(const evaluate_values *v, const evaluate_side *real,
                         const evaluate_side *fake, request *q) {
    q->o = v->o;
    q->o.monitor = cli_monitor();
    sr_status status = parse_metrics(v, q);
    if (status == SR_OK)
        status = parse_bandwidths(v->bandwidths, q);
    if (status == SR_OK && real->dim != fake->dim)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s has rows of %zu values, %s of %zu", v->real,
                         real->dim, v->fake, fake->dim);
    if (status == SR_OK && v->projections)
        status = load_projections(v->projections, real->dim, q);
    if (status == SR_OK && !fake->logits) {
        if (q->more & (INCEPTION_SCORE | CLASS_ENTROPY) && !q->all)
            return sr_fail(SR_ERROR_ARGUMENT,
                           "inception_score and class_entropy need a classifier: --features "
                           "inception, or a data set's");
        q->more &= MEMORISATION;
    }
    if (status == SR_OK && (q->more & MEMORISATION || v->nearest))
        status = make_rows(real->n, fake->n, q);
    q->o.which = q->which;
    return status;
}

// ---- metrics ------------------------------------------------------------------------------------

static sr_status compute_metrics(const evaluate_side *real, const evaluate_side *fake,
                                 const request *q, sr_metric_values *out) {
    sr_metric_options o = q->o;
    sr_metric_rows rows = q->rows;
    *out = (sr_metric_values){.bandwidth = NAN};
    if (rows.nearest)
        o.rows = &rows;
    else if (!o.which)
        return SR_OK;
    o.progress = true;
    if (!o.which) { // nearest rows without a score: the least of those of pairs brings them along
        o.which = BIT(SR_ONE_NN_ACCURACY);
        o.no_errors = true;
    }
    return sr_metrics(real->n, real->x, fake->n, fake->x, real->dim, &o, out);
}

// ---- the list -----------------------------------------------------------------------------------

evaluate_score *evaluate_add(evaluate_scores *r, const char *name, sr_estimate estimate) {
    evaluate_score *s = &r->list[r->count++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->estimate = estimate;
    return s;
}

// A value without an interval.
static evaluate_score *add_value(evaluate_scores *r, const char *name, double value) {
    return evaluate_add(r, name, (sr_estimate){value, NAN, NAN, NAN});
}

static void note_metric(sr_metric metric, const request *q, const sr_metric_values *values,
                        evaluate_score *s) {
    if (BALLS & BIT(metric))
        snprintf(s->note, sizeof s->note, "k %zu", q->o.k);
    if (metric == SR_MMD2_RBF) {
        snprintf(s->note, sizeof s->note, "bandwidth %.6g", values->bandwidth);
        s->more[0].name = "bandwidth";
        s->more[0].value = values->bandwidth;
    }
    if (metric == SR_KID_SUBSETS) {
        snprintf(s->note, sizeof s->note, "%zu subsets, deviation %.3g", q->o.kid_subsets,
                 values->kid_subset_deviation);
        s->more[0].name = "deviation";
        s->more[0].value = values->kid_subset_deviation;
    }
    if (metric == SR_SLICED_W2)
        snprintf(s->note, sizeof s->note, "%zu projections", q->o.projection_count);
    if (metric == SR_FRECHET_INFINITY)
        snprintf(s->note, sizeof s->note, "from %zu sizes", q->o.frechet_sizes);
    if (metric == SR_VENDI)
        snprintf(s->note, sizeof s->note, "of the fakes alone");
    if (metric == SR_C2ST_ACCURACY) {
        snprintf(s->note, sizeof s->note, "%zu rows held out, p %.3g", values->c2st_rows,
                 values->c2st_p);
        s->more[0].name = "rows";
        s->more[0].value = (double)values->c2st_rows;
        s->more[1].name = "p";
        s->more[1].value = values->c2st_p;
    }
}

static void list_metrics(const request *q, const sr_metric_values *values, evaluate_scores *r) {
    for (int m = 0; m < SR_METRIC_COUNT; m++) {
        if (!(q->which & BIT(m)))
            continue;
        const sr_estimate estimate = {values->value[m], values->error[m], values->low[m],
                                      values->high[m]};
        note_metric((sr_metric)m, q, values,
                    evaluate_add(r, sr_metric_name((sr_metric)m), estimate));
    }
    for (size_t b = 0; b < q->o.bandwidth_count && q->which & BIT(SR_MMD2_RBF); b++) {
        char name[48];
        // normal, as the library's intervals of sums over all pairs: 1.96 errors to either side
        const double value = values->mmd2_fixed[b], error = values->mmd2_fixed_error[b];
        const sr_estimate estimate = {value, error, value - 1.959964 * error,
                                      value + 1.959964 * error};
        snprintf(name, sizeof name, "mmd2_rbf_%g", q->bandwidths[b]);
        evaluate_score *s = evaluate_add(r, name, estimate);
        s->more[0].name = "bandwidth";
        s->more[0].value = q->bandwidths[b];
    }
}

// ---- logits -------------------------------------------------------------------------------------

static sr_estimate without_error(sr_estimate e, bool no_errors) {
    return no_errors ? (sr_estimate){e.value, NAN, NAN, NAN} : e;
}

// Inception's, as the reference implementations take them: without the last layer's bias.
static sr_status score_logits(const evaluate_features *features, const evaluate_side *fake,
                              const request *q, evaluate_scores *r) {
    sr_estimate estimate;
    double deviation;
    float *without = NULL;
    const size_t classes = fake->classes;
    if (features->inception_bias) {
        if (!(without = sr_alloc(fake->n, classes * sizeof *without)))
            return SR_ERROR_MEMORY;
        for (size_t i = 0; i < fake->n * classes; i++)
            without[i] = fake->logits[i] - features->inception_bias[i % classes];
    }
    const sr_status status =
        sr_inception_score(fake->n, classes, without ? without : fake->logits,
                           q->o.inception_splits, q->o.seed, &estimate, &deviation);
    sr_free(without);
    if (status != SR_OK)
        return status;
    evaluate_score *s = evaluate_add(r, "inception_score", without_error(estimate, q->o.no_errors));
    snprintf(s->note, sizeof s->note, "%zu splits, deviation %.3g", q->o.inception_splits,
             deviation);
    s->more[0].name = "deviation";
    s->more[0].value = deviation;
    return SR_OK;
}

static sr_status count_classes(const evaluate_side *fake, const request *q, evaluate_scores *r) {
    sr_estimate hard, soft;
    r->class_count = sr_alloc(fake->classes, sizeof *r->class_count);
    r->class_share = sr_alloc(fake->classes, sizeof *r->class_share);
    if (!r->class_count || !r->class_share)
        return SR_ERROR_MEMORY;
    const sr_status status = sr_class_histogram(fake->n, fake->classes, fake->logits,
                                                r->class_count, r->class_share, &hard, &soft);
    if (status != SR_OK)
        return status;
    r->classes = fake->classes;
    evaluate_score *s = evaluate_add(r, "class_entropy", without_error(soft, q->o.no_errors));
    snprintf(s->note, sizeof s->note, "of mean probabilities, nats; at most %.4g",
             log((double)fake->classes));
    s = evaluate_add(r, "class_entropy_hard", without_error(hard, q->o.no_errors));
    snprintf(s->note, sizeof s->note, "of the counts");
    return SR_OK;
}

static sr_status compute_logits(const evaluate_features *features, const evaluate_side *fake,
                                const request *q, evaluate_scores *r) {
    sr_status status = SR_OK;
    // unasked, only where there is one: a few samples have other scores
    if (q->more & INCEPTION_SCORE && (!q->all || fake->n >= q->o.inception_splits))
        status = score_logits(features, fake, q, r);
    if (status == SR_OK && q->more & CLASS_ENTROPY)
        status = count_classes(fake, q, r);
    return status;
}

// ---- points of the plane ------------------------------------------------------------------------

// A share of n points, with Wilson's interval.
static sr_estimate share(double p, size_t n, bool no_errors) {
    if (isnan(p)) // the density has no modes
        return (sr_estimate){NAN, NAN, NAN, NAN};
    const double z = 1.959964, N = (double)n, scale = 1.0 / (1.0 + z * z / N);
    const double centre = (p + z * z / (2.0 * N)) * scale;
    const double half = z * scale * sqrt(p * (1.0 - p) / N + z * z / (4.0 * N * N));
    const sr_estimate out = {p, sqrt(p * (1.0 - p) / N), fmin(fmax(centre - half, 0.0), p),
                             fmax(fmin(centre + half, 1.0), p)};
    return without_error(out, no_errors);
}

static sr_status judge_points(const evaluate_side *real, const evaluate_side *fake,
                              const request *q, evaluate_scores *r) {
    sr_toy_scores scores;
    const sr_status status = sr_toy_judge(real->toy_kind, real->n, real->x, fake->n, fake->x,
                                          q->o.seed, q->o.threads, &scores);
    if (status != SR_OK)
        return status;
    add_value(r, "kl", scores.kl);
    add_value(r, "kl_reverse", scores.kl_reverse);
    add_value(r, "kl_true", scores.kl_true);
    add_value(r, "kl_true_reverse", scores.kl_true_reverse);
    evaluate_add(r, "modes_covered", without_error(scores.interval.modes_covered, q->o.no_errors));
    evaluate_add(r, "high_quality", share(scores.high_quality, scores.n, q->o.no_errors));
    snprintf(evaluate_add(r, "w2", without_error(scores.interval.w2, q->o.no_errors))->note,
             sizeof r->list->note, "exact, %zu points", scores.w2_n);
    return SR_OK;
}

// ---- all of it ----------------------------------------------------------------------------------

void evaluate_scores_clear(evaluate_scores *scores) {
    sr_text_clear(&scores->settings);
    sr_free(scores->class_count);
    sr_free(scores->class_share);
    *scores = (evaluate_scores){0};
}

sr_status evaluate_compute(const evaluate_values *v, const evaluate_side *real,
                           const evaluate_side *fake, const evaluate_features *features,
                           evaluate_scores *out) {
    request q = {0};
    sr_metric_values values;
    out->n_real = real->n;
    out->n_fake = fake->n;
    sr_status status = prepare(v, real, fake, &q);
    if (status == SR_OK)
        status = compute_metrics(real, fake, &q, &values);
    if (status == SR_OK) {
        list_metrics(&q, &values, out);
        status = compute_logits(features, fake, &q, out);
    }
    if (status == SR_OK && q.more & MEMORISATION)
        status = evaluate_memorisation(real->n, fake->n, &q.rows, q.o.no_errors, out);
    if (status == SR_OK && v->nearest)
        status = evaluate_save_nearest(v->nearest, fake->n, &q.rows);
    if (status == SR_OK && real->toy && q.all && v->convention == SR_CONVENTION_SHORTRUN)
        status = judge_points(real, fake, &q, out);
    if (status == SR_OK) {
        sr_metric_options_describe(&q.o, &out->settings);
        status = sr_text_status(&out->settings);
    }
    request_clear(&q);
    return status;
}
