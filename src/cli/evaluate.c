// shortrun evaluate: how near one set of samples is to another. Rows of features are compared as
// they are; images go through the feature network first.
#include "cli/cli.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMATS };

static const char *format_choice(int value) {
    static const char *const names[FORMATS] = {"table", "json", "csv"};
    return names[value];
}

typedef struct evaluate_values {
    const char *real, *fake, *metrics, *projections, *features, *data;
    size_t k, limit;
    double bandwidth;
    uint64_t seed;
    unsigned threads;
    int format;
} evaluate_values;

#define AT(field) CLI_AT(evaluate_values, field)

static const cli_option table[] = {
    {.name = "real",
     .type = CLI_TEXT,
     .value = "DATA",
     AT(real),
     .words = CLI_WORDS_DATASET,
     .help =
         "what is compared with: a .npy file, (N, D) rows or images; a folder of PNG; an IDX file; "
         "a data set's name, name:test for its test part; required"},
    {.name = "fake",
     .type = CLI_TEXT,
     .value = "DATA",
     AT(fake),
     .words = CLI_WORDS_DATASET,
     .help = "what is judged, in the same forms; required"},
    {.name = "metrics",
     .type = CLI_TEXT,
     .value = "all|LIST",
     AT(metrics),
     .help = "names with commas between them: frechet, kid, precision, recall, density, coverage, "
             "mmd2_rbf, energy_distance, sliced_w2, one_nn_accuracy (default all)"},
    {.name = "features",
     .type = CLI_TEXT,
     .value = "NAME|FILE|none",
     AT(features),
     .words = CLI_WORDS_DATASET,
     .help = "the feature network: of a data set, or a .safetensors file; none: compare the values "
             "themselves (default: none for (N, D) arrays and 2-D sets, the data set's own for a "
             "named image set)"},
    {.name = "k",
     .letter = 'k',
     .type = CLI_COUNT,
     .value = "N",
     AT(k),
     .low = 1,
     .high = 1e6,
     .help = "neighbours of precision, recall, density, coverage (default 5)"},
    {.name = "bandwidth",
     .type = CLI_NUMBER,
     .value = "SIGMA",
     AT(bandwidth),
     .help = "bandwidth of mmd2_rbf (default 0: the median of all distances)"},
    {.name = "projections",
     .type = CLI_TEXT,
     .value = "P.npy",
     AT(projections),
     .words = CLI_WORDS_FILE,
     .help = "directions of sliced_w2, unit rows (P, D) (default: 128, drawn from the seed)"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(seed),
     .help = "seed of the directions, and of a 2-D density's points (default 1)"},
    {.name = "limit",
     .type = CLI_COUNT,
     .value = "N",
     AT(limit),
     .help = "use at most so many rows of each (default: all; 10000 points of a 2-D density)"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for data sets here first"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     AT(format),
     .choice = format_choice,
     .choices = FORMATS,
     .help = "of the output (default table)"},
    CLI_THREADS(AT(threads)),
};

// ---- the rows
// --------------------------------------------------------------------------------------

// One side of the comparison. Images until features replace them.
typedef struct side {
    size_t n, dim, channels, height, width;
    float *x;          // (n, dim)
    const char *known; // name of an image set that the program knows; NULL: something else
    bool toy;
    sr_toy toy_kind;
} side;

static bool is_npy(const char *name) {
    return cli_ends_with(name, ".npy");
}

// (N, D) arrays are taken as they are: features may have any range.
static sr_status load_rows(const char *path, size_t limit, side *out, bool *done) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    *done = false;
    if (status == SR_OK && array.rank == 2) {
        *done = true;
        out->n = limit && limit < array.shape[0] ? limit : array.shape[0];
        out->dim = out->channels = array.shape[1];
        out->height = out->width = 1;
        status = out->dim == 0 ? sr_fail(SR_ERROR_ARGUMENT, "%s: rows of 0 values", path)
                               : sr_array_to_f32(&array, &out->x);
    }
    sr_array_clear(&array);
    return status;
}

// "fashion_mnist:test" -> the name without its ending, and which part of the set it means.
static sr_split split_name(const char *text, char *name, size_t size) {
    const sr_split split = cli_ends_with(text, ":test") ? SR_TEST : SR_TRAIN;
    const bool ending = split == SR_TEST || cli_ends_with(text, ":train");
    snprintf(name, size, "%.*s", (int)(ending ? strrchr(text, ':') - text : (long)strlen(text)),
             text);
    return split;
}

static sr_status load_side(const char *text, const evaluate_values *v, side *out) {
    bool done = false;
    char name[1024];
    const sr_split split = split_name(text, name, sizeof name);
    if (is_npy(name)) {
        const sr_status status = load_rows(name, v->limit, out, &done);
        if (status != SR_OK || done)
            return status;
    }
    sr_dataset set;
    const sr_status status = sr_dataset_load(name, v->data, split, v->limit, v->seed, &set);
    if (status != SR_OK)
        return status;
    *out = (side){.n = set.count,
                  .dim = set.dim,
                  .channels = set.channels,
                  .height = set.height,
                  .width = set.width,
                  .x = set.x,
                  .toy = set.toy,
                  .toy_kind = set.toy_kind};
    for (const char *const *known = sr_dataset_names(); *known; known++) {
        if (!set.toy && strcmp(*known, name) == 0)
            out->known = *known;
    }
    set.x = NULL; // taken over
    sr_dataset_clear(&set);
    return SR_OK;
}

static sr_status to_features(sr_classifier *classifier, const char *name, side *s) {
    const sr_net *net = sr_classifier_net(classifier);
    const size_t dim = sr_classifier_features(classifier);
    if (s->dim != net->inputs)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: rows of %zu values, the feature network takes %zu x %zu x %zu", name,
                       s->dim, net->channels, net->height, net->width);
    float *features = sr_alloc(s->n, dim * sizeof *features);
    if (!features)
        return SR_ERROR_MEMORY;
    const sr_status status = sr_classifier_features_of(classifier, s->n, s->x, features, NULL);
    if (status != SR_OK) {
        sr_free(features);
        return status;
    }
    sr_free(s->x);
    s->x = features;
    s->dim = dim;
    return SR_OK;
}

// Which feature network, "none" for none; NULL with the error recorded where that is for the user
// to say.
static const char *choose_features(const evaluate_values *v, const side *real, const side *fake) {
    if (v->features)
        return v->features;
    if (real->known || fake->known)
        return real->known ? real->known : fake->known;
    if ((real->height > 1 || real->width > 1) && (fake->height > 1 || fake->width > 1)) {
        sr_fail(SR_ERROR_ARGUMENT,
                "images without a name: say in which features they are compared, with --features "
                "fashion_mnist, --features FILE.safetensors or --features none");
        return NULL;
    }
    return "none";
}

static sr_status extract(const evaluate_values *v, side *real, side *fake) {
    char path[1024];
    const char *name = choose_features(v, real, fake);
    sr_classifier *classifier = NULL;
    if (!name)
        return SR_ERROR_ARGUMENT;
    if (strcmp(name, "none") == 0)
        return SR_OK;
    sr_status status = SR_OK;
    if (cli_ends_with(name, ".safetensors"))
        snprintf(path, sizeof path, "%s", name);
    else
        status = sr_classifier_find(name, path, sizeof path);
    if (status == SR_OK)
        status = sr_classifier_load(path, SR_ENGINE_AUTO, v->threads, &classifier);
    if (status == SR_OK)
        status = to_features(classifier, v->real, real);
    if (status == SR_OK)
        status = to_features(classifier, v->fake, fake);
    sr_classifier_destroy(classifier);
    return status;
}

// ---- metrics
// ---------------------------------------------------------------------------------------

static sr_status parse_metrics(const char *list, uint32_t *which) {
    *which = 0;
    if (!list || strcmp(list, "all") == 0) {
        *which = (1u << SR_METRIC_COUNT) - 1;
        return SR_OK;
    }
    while (*list) {
        char name[64];
        sr_metric metric;
        const size_t length = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), list);
        const sr_status status = sr_metric_parse(name, &metric);
        if (status != SR_OK)
            return status;
        *which |= 1u << metric;
        list += length + (list[length] == ',');
    }
    return SR_OK;
}

static sr_status load_projections(const char *path, size_t dim, sr_metric_options *o, float **out) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    if (status == SR_OK && (array.rank != 2 || array.shape[1] != dim || array.shape[0] == 0))
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: rank %zu with rows of %zu, expected (P, %zu)",
                         path, array.rank, array.rank ? array.shape[array.rank - 1] : 0, dim);
    if (status == SR_OK)
        status = sr_array_to_f32(&array, out);
    if (status == SR_OK) {
        o->projections = *out;
        o->projection_count = array.shape[0];
    }
    sr_array_clear(&array);
    return status;
}

// The values by name, in the order in which they are printed.
#define RESULTS_MAX (SR_METRIC_COUNT + 8)
typedef struct results {
    size_t n_real, n_fake, count;
    double bandwidth;
    const char *names[RESULTS_MAX];
    double values[RESULTS_MAX];
} results;

static void add(results *r, const char *name, double value) {
    r->names[r->count] = name;
    r->values[r->count++] = value;
}

static sr_status compute(const evaluate_values *v, const side *real, const side *fake, results *r) {
    sr_metric_options o;
    sr_metric_values values;
    float *projections = NULL;
    sr_metric_options_default(&o);
    o.k = v->k;
    o.bandwidth = v->bandwidth;
    o.seed = v->seed;
    o.threads = v->threads;
    sr_status status = parse_metrics(v->metrics, &o.which);
    if (status == SR_OK && real->dim != fake->dim)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s has rows of %zu values, %s of %zu", v->real,
                         real->dim, v->fake, fake->dim);
    if (status == SR_OK && v->projections)
        status = load_projections(v->projections, real->dim, &o, &projections);
    if (status == SR_OK)
        status = sr_metrics(real->n, real->x, fake->n, fake->x, real->dim, &o, &values);
    if (status == SR_OK) {
        *r = (results){
            .n_real = values.n_real, .n_fake = values.n_fake, .bandwidth = values.bandwidth};
        for (int m = 0; m < SR_METRIC_COUNT; m++) {
            if (o.which & 1u << m)
                add(r, sr_metric_name((sr_metric)m), values.value[m]);
        }
    }
    if (status == SR_OK && real->toy && (!v->metrics || strcmp(v->metrics, "all") == 0)) {
        sr_toy_scores scores; // what only makes sense against a known density of the plane
        status = sr_toy_judge(real->toy_kind, real->n, real->x, fake->n, fake->x, v->seed,
                              v->threads, &scores);
        if (status == SR_OK) {
            add(r, "kl", scores.kl);
            add(r, "kl_reverse", scores.kl_reverse);
            add(r, "kl_true", scores.kl_true);
            add(r, "kl_true_reverse", scores.kl_true_reverse);
            add(r, "modes_covered", scores.modes_covered);
            add(r, "high_quality", scores.high_quality);
            add(r, "w2", scores.w2);
        }
    }
    sr_free(projections);
    return status;
}

// ---- output
// ----------------------------------------------------------------------------------------

static int print_json(const results *r) {
    json_t *metrics = json_object();
    for (size_t i = 0; i < r->count; i++)
        json_object_set_new(
            metrics, r->names[i],
            json_pack("{s:o}", "value",
                      isfinite(r->values[i]) ? json_real(r->values[i]) : json_null()));
    json_t *root = json_pack("{s:I, s:I, s:o}", "n_real", (json_int_t)r->n_real, "n_fake",
                             (json_int_t)r->n_fake, "metrics", metrics);
    if (!root)
        return cli_error("out of memory");
    json_dumpf(root, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(root);
    return 0;
}

static int print(const results *r, const evaluate_values *v) {
    if (v->format == FORMAT_JSON)
        return print_json(r);
    if (v->format == FORMAT_CSV) {
        printf("metric,value,n_real,n_fake\n");
        for (size_t i = 0; i < r->count; i++)
            printf("%s,%.17g,%zu,%zu\n", r->names[i], r->values[i], r->n_real, r->n_fake);
        return 0;
    }
    printf("%-18s%zu\n%-18s%zu\n", "n_real", r->n_real, "n_fake", r->n_fake);
    for (size_t i = 0; i < r->count; i++) {
        printf("%-18s%.6g", r->names[i], r->values[i]);
        if (strcmp(r->names[i], sr_metric_name(SR_MMD2_RBF)) == 0)
            printf("  (bandwidth %.6g)", r->bandwidth);
        else if (strcmp(r->names[i], sr_metric_name(SR_PRECISION)) == 0)
            printf("  (k %zu)", v->k);
        putchar('\n');
    }
    return 0;
}

static int run(const cli_command *command, int argc, char **argv) {
    evaluate_values v = {.k = 5, .seed = 1};
    cli_parsed parsed;
    side real = {0}, fake = {0};
    results r = {0};
    int code = cli_parse(command, argc, argv, &v, &parsed);
    if (code != CLI_GO)
        return code;
    if (!v.real || !v.fake)
        return cli_usage(command, "--%s DATA is missing", v.real ? "fake" : "real");
    sr_status status = load_side(v.real, &v, &real);
    if (status == SR_OK)
        status = load_side(v.fake, &v, &fake);
    if (status == SR_OK)
        status = extract(&v, &real, &fake);
    if (status == SR_OK)
        status = compute(&v, &real, &fake, &r);
    code = status == SR_OK ? print(&r, &v) : cli_status(status);
    sr_free(real.x);
    sr_free(fake.x);
    return code;
}

const cli_command cli_evaluate_command = {
    .name = "evaluate",
    .summary = "how near one set of samples is to another",
    .operands = "",
    .about = "Frechet distances depend on the number of rows: compare only what has the same n.",
    .examples = "  shortrun evaluate --real a.npy --fake b.npy --metrics all --k 5 --format json\n"
                "  shortrun evaluate --real fashion_mnist --fake samples.npy --limit 2048\n"
                "  shortrun evaluate --real fashion_mnist --fake fashion_mnist:test --limit 2048\n"
                "  shortrun evaluate --real eight_gaussians --fake points.npy\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
