// Comparisons of two cells: by their samples, which lie in the results folder, or over seeds by
// their records. The statistics are the quality module's; here it is decided what is compared with
// what.
#include "experiment/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SLOTS 2 // cells whose features are kept

void sr_compare_options_default(sr_compare_options *options) {
    *options = (sr_compare_options){.permutations = 9999, .seed = 1};
}

// ---- collecting ---------------------------------------------------------------------------------

static bool wanted(const sr_compare_options *options, const char *name) {
    return !options->only || strcmp(options->only, name) == 0;
}

// d is b - a. Left out where there is no difference to speak of.
static void add(sr_comparison *out, const char *name, size_t n_a, size_t n_b,
                const sr_difference *d) {
    if (isnan(d->difference.value) || out->count == SR_COMPARED_MAX)
        return;
    sr_score_comparison *score = &out->score[out->count++];
    *score = (sr_score_comparison){.n_a = n_a,
                                   .n_b = n_b,
                                   .a = d->interval_b,
                                   .b = d->interval_a,
                                   .difference = d->difference,
                                   .p = d->p,
                                   .test = d->test};
    snprintf(score->name, sizeof score->name, "%s", name);
}

static sr_status finish(sr_comparison *out, const sr_compare_options *options) {
    double p[SR_COMPARED_MAX], adjusted[SR_COMPARED_MAX];
    if (out->count == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "there is no score%s%s that A and B can be compared by",
                       options->only ? " " : "", options->only ? options->only : "");
    for (size_t i = 0; i < out->count; i++)
        p[i] = out->score[i].p;
    sr_holm(out->count, p, adjusted);
    for (size_t i = 0; i < out->count; i++)
        out->score[i].p_holm = adjusted[i];
    return SR_OK;
}

// The metrics of `which` that are wanted, each named by sr_metric_name or `as`.
static sr_status add_metrics(size_t n_real, const float *real, size_t n_a, const float *a,
                             size_t n_b, const float *b, size_t dim, uint32_t which, const char *as,
                             const sr_compare_options *options, sr_comparison *out) {
    sr_difference found[SR_METRIC_COUNT];
    sr_metric_options metrics;
    sr_metric_options_default(&metrics);
    metrics.which = 0;
    metrics.seed = options->seed;
    metrics.threads = options->threads;
    metrics.monitor = options->monitor;
    for (int m = 0; m < SR_METRIC_COUNT; m++)
        if (which & 1u << m && wanted(options, as ? as : sr_metric_name((sr_metric)m)))
            metrics.which |= 1u << m;
    if (!metrics.which)
        return SR_OK;
    const sr_status status = sr_compare(n_real, real, n_b, b, n_a, a, dim, &metrics,
                                        options->permutations, found); // b - a
    for (int m = 0; m < SR_METRIC_COUNT && status == SR_OK; m++)
        if (metrics.which & 1u << m)
            add(out, as ? as : sr_metric_name((sr_metric)m), n_a, n_b, &found[m]);
    return status;
}

#define FEATURE_METRICS                                                                            \
    (1u << SR_FRECHET | 1u << SR_KID | 1u << SR_PRECISION | 1u << SR_RECALL | 1u << SR_DENSITY |   \
     1u << SR_COVERAGE)
#define PIXEL_METRICS (1u << SR_MMD2_RBF | 1u << SR_ENERGY_DISTANCE)

sr_status sr_compare_rows(size_t n_real, const float *real, size_t n_a, const float *a, size_t n_b,
                          const float *b, size_t dim, const sr_compare_options *options,
                          sr_comparison *out) {
    *out = (sr_comparison){.n_real = n_real, .permutations = options->permutations};
    const sr_status status = add_metrics(n_real, real, n_a, a, n_b, b, dim,
                                         FEATURE_METRICS | PIXEL_METRICS, NULL, options, out);
    return status == SR_OK ? finish(out, options) : status;
}

sr_status sr_compare_points(sr_toy toy, size_t n_real, const float *real, size_t n_a,
                            const float *a, size_t n_b, const float *b,
                            const sr_compare_options *options, sr_comparison *out) {
    sr_difference found[SR_TOY_COMPARED];
    *out = (sr_comparison){.n_real = n_real, .permutations = options->permutations};
    sr_status status = sr_toy_compare(toy, n_real, real, n_b, b, n_a, a, options->permutations,
                                      options->seed, options->threads, found); // b - a
    for (size_t s = 0; s < SR_TOY_COMPARED && status == SR_OK; s++)
        if (wanted(options, sr_toy_compared_name(s)))
            add(out, sr_toy_compared_name(s), n_a, n_b, &found[s]);
    if (status == SR_OK)
        status =
            add_metrics(n_real, real, n_a, a, n_b, b, 2, 1u << SR_MMD2_RBF, "mmd2", options, out);
    return status == SR_OK ? finish(out, options) : status;
}

// ---- over seeds ---------------------------------------------------------------------------------

static bool settings_of_data(const char *name) { // the same whatever the model
    return strcmp(name, "mode_count") == 0 || strcmp(name, "frechet_uniform") == 0;
}

sr_status sr_compare_seeds(size_t pairs, const sr_record *const *a, const sr_record *const *b,
                           const sr_compare_options *options, sr_comparison *out) {
    *out = (sr_comparison){.seeds = true};
    if (pairs < 2)
        return sr_fail(SR_ERROR_ARGUMENT, "%zu pair%s of the same seed, expected at least 2", pairs,
                       pairs == 1 ? "" : "s");
    double *value = sr_alloc(pairs, 2 * sizeof *value);
    if (!value)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    for (size_t m = 0; m < a[0]->metric_count && status == SR_OK; m++) {
        const char *name = a[0]->metrics[m].name;
        bool all = wanted(options, name) && !settings_of_data(name);
        for (size_t i = 0; i < pairs && all; i++) {
            value[i] = sr_record_metric(b[i], name);
            value[pairs + i] = sr_record_metric(a[i], name);
            all = isfinite(value[i]) && isfinite(value[pairs + i]);
        }
        sr_difference d;
        if (!all)
            continue;
        status = sr_seeds_compare(pairs, value, value + pairs, options->seed, &d);
        if (status == SR_OK)
            add(out, name, pairs, pairs, &d);
    }
    sr_free(value);
    return status == SR_OK ? finish(out, options) : status;
}

// ---- cells --------------------------------------------------------------------------------------

typedef struct slot {
    char hash[33];
    size_t n, dim, classes;
    float *images, *features, *logits; // features NULL: the images themselves
} slot;

struct sr_comparer {
    sr_results folder; // for paths alone: no database is open
    sr_compare_options options;
    const sr_monitor *monitor;
    sr_reference reference;
    slot slots[SLOTS];
    char toy_name[256]; // data of the plane
    size_t toy_n;
    float *toy_data;
};

static void slot_clear(slot *s) {
    sr_free(s->images);
    sr_free(s->features);
    sr_free(s->logits);
    *s = (slot){0};
}

sr_status sr_comparer_create(const char *folder, const sr_compare_options *options,
                             const sr_monitor *monitor, sr_comparer **out) {
    *out = NULL;
    sr_comparer *c = sr_alloc(1, sizeof *c);
    if (!c)
        return SR_ERROR_MEMORY;
    if (strlen(folder) >= sizeof c->folder.folder) {
        sr_free(c);
        return sr_fail(SR_ERROR_ARGUMENT, "the results folder's path has more than %zu bytes",
                       sizeof c->folder.folder - 1);
    }
    snprintf(c->folder.folder, sizeof c->folder.folder, "%s", folder);
    c->options = *options;
    c->monitor = monitor;
    c->options.monitor = monitor;
    *out = c;
    return SR_OK;
}

void sr_comparer_only(sr_comparer *comparer, const char *name) {
    comparer->options.only = name;
}

void sr_comparer_destroy(sr_comparer *comparer) {
    if (!comparer)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        slot_clear(&comparer->slots[i]);
    sr_reference_clear(&comparer->reference);
    sr_free(comparer->toy_data);
    sr_free(comparer);
}

// Before the data is loaded for nothing.
static sr_status find_samples(const sr_comparer *c, const sr_record *record, char *path,
                              size_t size) {
    char label[512];
    sr_results_cell_path(&c->folder, record->cell.hash, "samples.npy", path, size);
    if (!sr_file_exists(path)) {
        sr_cell_label(&record->cell, label, sizeof label);
        return sr_fail(SR_ERROR_IO, "%s: no such file, so %s cannot be compared by its samples",
                       path, label);
    }
    return SR_OK;
}

// x: new memory, (n, dim).
static sr_status load_samples(const sr_comparer *c, const sr_record *record, size_t dim, size_t *n,
                              float **x) {
    char path[1024];
    sr_array array = {0};
    *x = NULL;
    sr_status status = find_samples(c, record, path, sizeof path);
    if (status == SR_OK)
        status = sr_npy_load(path, &array);
    size_t found = 1;
    for (size_t d = 1; d < array.rank; d++)
        found *= array.shape[d];
    if (status == SR_OK && (array.rank < 2 || found != dim))
        status = sr_fail(SR_ERROR_FORMAT, "%s: samples of %zu numbers, %s has %zu", path, found,
                         record->cell.dataset, dim);
    if (status == SR_OK) {
        *n = array.shape[0];
        status = sr_array_to_f32(&array, x);
    }
    sr_array_clear(&array);
    return status;
}

static sr_status fill_slot(sr_comparer *c, const sr_record *record, slot *s) {
    const sr_reference *reference = &c->reference;
    slot_clear(s);
    sr_status status = load_samples(c, record, reference->rows.dim, &s->n, &s->images);
    s->dim = reference->rows.dim;
    for (size_t i = 0; status == SR_OK && reference->rows.height > 1 && i < s->n * s->dim; i++)
        s->images[i] = fminf(fmaxf(s->images[i], -1), 1);
    if (status == SR_OK && reference->classifier) {
        s->dim = sr_classifier_features(reference->classifier);
        s->classes = sr_classifier_net(reference->classifier)->outputs;
        s->features = sr_alloc(s->n, s->dim * sizeof *s->features);
        s->logits = sr_alloc(s->n, s->classes * sizeof *s->logits);
        status = s->features && s->logits
                     ? sr_classifier_features_of(reference->classifier, s->n, s->images,
                                                 s->features, s->logits)
                     : SR_ERROR_MEMORY;
    }
    if (status == SR_OK)
        snprintf(s->hash, sizeof s->hash, "%s", record->cell.hash);
    else
        slot_clear(s);
    return status;
}

// The slot with this cell's rows, not `taken`.
static sr_status find_slot(sr_comparer *c, const sr_record *record, const slot *taken, slot **out) {
    *out = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        if (strcmp(c->slots[i].hash, record->cell.hash) == 0) {
            *out = &c->slots[i];
            return SR_OK;
        }
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (&c->slots[i] != taken && (!*out || !c->slots[i].hash[0]))
            *out = &c->slots[i];
    return fill_slot(c, record, *out);
}

static sr_status load_reference(sr_comparer *c, const sr_cell *cell) {
    const sr_run_options run = {.data_folder = c->options.data_folder,
                                .threads = c->options.threads};
    char before[sizeof c->reference.dataset];
    const size_t rows = c->reference.wanted;
    snprintf(before, sizeof before, "%s", c->reference.dataset);
    const sr_status status = sr_reference_load(&c->reference, cell, &run, c->monitor);
    if (status != SR_OK || strcmp(before, c->reference.dataset) != 0 ||
        rows != c->reference.wanted) { // features of another classifier, maybe
        for (size_t i = 0; i < SLOTS; i++)
            slot_clear(&c->slots[i]);
    }
    return status;
}

// Entropy of the mean class probabilities: to first order a mean over rows of -sum p log(mean p).
static sr_status add_class_entropy(const sr_comparer *c, const slot *a, const slot *b,
                                   sr_comparison *out) {
    const slot *both[2] = {b, a}; // b - a
    const size_t classes = a->classes, rows = a->n + b->n;
    sr_difference d = {.test = "permutation of rows"};
    sr_estimate *const estimates[2] = {&d.interval_a, &d.interval_b};
    double *score = sr_alloc(rows, sizeof *score), *share = sr_alloc(classes, 2 * sizeof *share);
    sr_status status = score && share ? SR_OK : SR_ERROR_MEMORY;
    for (size_t i = 0; i < 2 && status == SR_OK; i++)
        status = sr_class_histogram(both[i]->n, classes, both[i]->logits, NULL, share + i * classes,
                                    NULL, estimates[i]);
    for (size_t k = 0; k < classes && status == SR_OK; k++)
        share[k] = ((double)b->n * share[k] + (double)a->n * share[classes + k]) / (double)rows;
    for (size_t i = 0; i < rows && status == SR_OK; i++) {
        const float *logit = i < b->n ? b->logits + i * classes : a->logits + (i - b->n) * classes;
        double largest = logit[0], sum = 0, value = 0;
        for (size_t k = 1; k < classes; k++)
            largest = fmax(largest, logit[k]);
        for (size_t k = 0; k < classes; k++)
            sum += exp(logit[k] - largest);
        for (size_t k = 0; k < classes; k++)
            value -= exp(logit[k] - largest) / sum * log(fmax(share[k], 1e-300));
        score[i] = value;
    }
    if (status == SR_OK)
        status =
            sr_permutation_test(b->n, a->n, 1, (const double *const[]){score},
                                c->options.permutations, c->options.seed, c->options.threads, &d.p);
    if (status == SR_OK) {
        double value = d.interval_a.value - d.interval_b.value;
        double error = hypot(d.interval_a.error, d.interval_b.error); // no rows are shared
        d.difference = (sr_estimate){value, error, value - 1.96 * error, value + 1.96 * error};
        add(out, "class_entropy", a->n, b->n, &d);
    }
    sr_free(score);
    sr_free(share);
    return status;
}

static sr_status compare_images(sr_comparer *c, const sr_record *a, const sr_record *b,
                                sr_comparison *out) {
    slot *of_a, *of_b;
    const sr_reference *reference = &c->reference;
    char path[1024];
    sr_status status = find_samples(c, a, path, sizeof path);
    if (status == SR_OK)
        status = find_samples(c, b, path, sizeof path);
    if (status == SR_OK)
        status = load_reference(c, &a->cell);
    if (status == SR_OK)
        status = find_slot(c, a, NULL, &of_a);
    if (status == SR_OK)
        status = find_slot(c, b, of_a, &of_b);
    if (status != SR_OK)
        return status;
    const bool features = of_a->features != NULL;
    *out =
        (sr_comparison){.n_real = reference->rows.count, .permutations = c->options.permutations};
    snprintf(out->features, sizeof out->features, "%s", reference->note);
    status = add_metrics(reference->rows.count, features ? reference->features : reference->rows.x,
                         of_a->n, features ? of_a->features : of_a->images, of_b->n,
                         features ? of_b->features : of_b->images, of_a->dim,
                         features ? FEATURE_METRICS : PIXEL_METRICS, NULL, &c->options, out);
    if (status == SR_OK && features && wanted(&c->options, "class_entropy"))
        status = add_class_entropy(c, of_a, of_b, out);
    return status == SR_OK ? finish(out, &c->options) : status;
}

// Data as judging drew it.
static sr_status load_toy(sr_comparer *c, const sr_cell *cell, sr_toy toy) {
    if (strcmp(c->toy_name, cell->dataset) == 0 && c->toy_n == cell->samples)
        return SR_OK;
    sr_free(c->toy_data);
    *c->toy_name = '\0';
    if (!(c->toy_data = sr_alloc(cell->samples, 2 * sizeof *c->toy_data)))
        return SR_ERROR_MEMORY;
    c->toy_n = cell->samples;
    sr_toy_sample(toy, SR_TOY_JUDGE_SEED, 0, c->toy_n, c->toy_data);
    snprintf(c->toy_name, sizeof c->toy_name, "%s", cell->dataset);
    return SR_OK;
}

static sr_status compare_toys(sr_comparer *c, const sr_record *a, const sr_record *b, sr_toy toy,
                              sr_comparison *out) {
    float *x[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    sr_status status = load_toy(c, &a->cell, toy);
    if (status == SR_OK)
        status = load_samples(c, a, 2, &n[0], &x[0]);
    if (status == SR_OK)
        status = load_samples(c, b, 2, &n[1], &x[1]);
    if (status == SR_OK)
        status =
            sr_compare_points(toy, c->toy_n, c->toy_data, n[0], x[0], n[1], x[1], &c->options, out);
    sr_free(x[0]);
    sr_free(x[1]);
    return status;
}

sr_status sr_comparer_cells(sr_comparer *comparer, const sr_record *a, const sr_record *b,
                            sr_comparison *out) {
    const sr_record *const both[2] = {a, b};
    char label[512];
    sr_toy toy;
    *out = (sr_comparison){0};
    if (strcmp(a->cell.hash, b->cell.hash) == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "A and B are the same cell, %.8s", a->cell.hash);
    if (strcmp(a->cell.dataset, b->cell.dataset) != 0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "A is of the data set %s, B of %s: their scores do not compare",
                       a->cell.dataset, b->cell.dataset);
    for (size_t i = 0; i < 2; i++) {
        sr_cell_label(&both[i]->cell, label, sizeof label);
        if (both[i]->state != SR_CELL_DONE)
            return sr_fail(SR_ERROR_ARGUMENT, "%s: diverged, so it has no samples (%s)", label,
                           both[i]->message);
    }
    if (sr_toy_parse(a->cell.dataset, &toy) == SR_OK)
        return compare_toys(comparer, a, b, toy, out);
    return compare_images(comparer, a, b, out);
}

sr_status sr_comparer_rows(sr_comparer *comparer, const sr_record *record, sr_cell_rows *out) {
    const sr_reference *reference = &comparer->reference;
    slot *s = NULL;
    *out = (sr_cell_rows){0};
    char path[1024];
    sr_status status = find_samples(comparer, record, path, sizeof path);
    if (status == SR_OK)
        status = load_reference(comparer, &record->cell);
    if (status == SR_OK)
        status = find_slot(comparer, record, NULL, &s);
    if (status != SR_OK)
        return status;
    *out = (sr_cell_rows){.n_real = reference->rows.count,
                          .n = s->n,
                          .dim = s->dim,
                          .real = s->features ? reference->features : reference->rows.x,
                          .samples = s->features ? s->features : s->images,
                          .channels = reference->rows.channels,
                          .height = reference->rows.height,
                          .width = reference->rows.width,
                          .real_images = reference->rows.x,
                          .images = s->images,
                          .features = reference->note};
    return SR_OK;
}
