// shortrun compare: two cells, or two files of samples, score by score, with what can be said about
// the difference.
#include "cli/tables.h"

#include <stdio.h>
#include <string.h>

static const char *format_choice(int value) {
    return sr_comparison_format_name((sr_comparison_format)value);
}

typedef struct compare_values {
    const char *results, *experiment, *real, *features, *metric, *data;
    size_t permutations, limit;
    uint64_t seed;
    unsigned threads;
    int format;
} compare_values;

#define AT(field) CLI_AT(compare_values, field)

static const cli_option table[] = {
    {.name = "results",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(results),
     .words = CLI_WORDS_FOLDER,
     .heading = "Cells",
     .help = "what shortrun run wrote to (default: the working folder)"},
    {.name = "experiment",
     .type = CLI_TEXT,
     .value = "FILE",
     AT(experiment),
     .words = CLI_WORDS_FILE,
     .help = "the experiment file (default: the copy in FOLDER)"},
    {.name = "real",
     .type = CLI_TEXT,
     .value = "DATA",
     AT(real),
     .words = CLI_WORDS_DATASET,
     .heading = "Files of samples",
     .help =
         "what both are held against, and that A and B are files: .npy rows or images, a folder "
         "of PNG, an IDX file; DATA may be a data set's name too"},
    {.name = "features",
     .type = CLI_TEXT,
     .value = "NAME|FILE|none",
     AT(features),
     .words = CLI_WORDS_DATASET,
     .help = "the feature network for images, as in evaluate (default: of the data set that --real "
             "names; none for rows)"},
    {.name = "limit",
     .type = CLI_COUNT,
     .value = "N",
     AT(limit),
     .help = "use at most so many rows of each file and of the data"},
    {.name = "metric",
     .type = CLI_TEXT,
     .value = "NAME",
     AT(metric),
     .heading = "Comparison",
     .help = "compare this score alone, so that p needs no adjustment"},
    {.name = "permutations",
     .type = CLI_COUNT,
     .value = "N",
     AT(permutations),
     .low = 1,
     .high = 1e8,
     .help = "of the test (default 9999); the least p is 1 / (N + 1)"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(seed),
     .help = "of the permutations and the jack-knife's groups (default 1)"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     AT(format),
     .choice = format_choice,
     .choices = SR_COMPARISON_FORMAT_COUNT,
     .help = "of the output (default table)"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for data sets here first"},
    CLI_THREADS(AT(threads)),
};

static sr_compare_options options_of(const compare_values *v) {
    return (sr_compare_options){.permutations = v->permutations,
                                .seed = v->seed,
                                .threads = v->threads,
                                .data_folder = v->data,
                                .only = v->metric};
}

static sr_status print(const sr_comparison *comparison, const char *a, const char *b, int format) {
    sr_text out = {0};
    const sr_status status =
        sr_comparison_print(comparison, a, b, (sr_comparison_format)format, &out);
    if (status == SR_OK)
        fputs(sr_text_string(&out), stdout);
    sr_text_clear(&out);
    return status;
}

// ---- cells --------------------------------------------------------------------------------------

// The records of both sides with the same seeds, moved to the front; how many.
static size_t pair_seeds(const sr_record **a, size_t n_a, const sr_record **b, size_t n_b) {
    size_t pairs = 0;
    for (size_t i = 0, j = 0; i < n_a && j < n_b;) {
        const uint64_t left = a[i]->cell.train.seed, right = b[j]->cell.train.seed;
        if (left == right && a[i]->state == SR_CELL_DONE && b[j]->state == SR_CELL_DONE) {
            a[pairs] = a[i];
            b[pairs++] = b[j];
        }
        i += left <= right;
        j += right <= left;
    }
    return pairs;
}

static void name_side(const sr_record *const *side, size_t pairs, char *out, size_t size) {
    char label[512];
    sr_cell_label(&side[0]->cell, label, sizeof label);
    char *seed = strstr(label, " seed=");
    if (pairs > 1 && seed)
        snprintf(out, size, "%.*s, %zu seeds", (int)(seed - label), label, pairs);
    else
        snprintf(out, size, "%s (%.8s)", label, side[0]->cell.hash);
}

static sr_status compare_sides(const char *folder, const compare_values *v, const sr_record **a,
                               size_t n_a, const sr_record **b, size_t n_b) {
    const sr_compare_options options = options_of(v);
    sr_comparison comparison;
    sr_comparer *comparer = NULL;
    char names[2][600];
    sr_status status = SR_OK;
    if (strcmp(a[0]->cell.dataset, b[0]->cell.dataset) != 0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "A is of the data set %s, B of %s: their scores do not compare",
                       a[0]->cell.dataset, b[0]->cell.dataset);
    if (strcmp(a[0]->cell.hash, b[0]->cell.hash) == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "A and B are the same cell, %.8s", a[0]->cell.hash);
    size_t pairs = 1;
    if (n_a > 1 || n_b > 1) {
        pairs = pair_seeds(a, n_a, b, n_b);
        if (pairs == 0)
            return sr_fail(SR_ERROR_ARGUMENT,
                           "A (%zu seeds) and B (%zu) have no finished seed in "
                           "common; name single cells with seed=N",
                           n_a, n_b);
    }
    if (pairs > 1)
        status = sr_compare_seeds(pairs, a, b, &options, &comparison);
    else if ((status = sr_comparer_create(folder, &options, cli_monitor(), &comparer)) == SR_OK)
        status = sr_comparer_cells(comparer, a[0], b[0], &comparison);
    sr_comparer_destroy(comparer);
    cli_progress_clear();
    name_side(a, pairs, names[0], sizeof names[0]);
    name_side(b, pairs, names[1], sizeof names[1]);
    return status == SR_OK ? print(&comparison, names[0], names[1], v->format) : status;
}

static sr_status compare_cells(const char *a, const char *b, const compare_values *v) {
    const char *folder = v->results ? v->results : ".";
    char copy[1024];
    sr_experiment experiment = {0};
    sr_results *results = NULL;
    sr_record *records = NULL;
    const sr_record **of_a = NULL, **of_b = NULL;
    size_t count = 0, n_a = 0, n_b = 0;
    snprintf(copy, sizeof copy, "%s/" CLI_EXPERIMENT_COPY, folder);
    const char *file = v->experiment ? v->experiment : copy;
    sr_status status = SR_OK;
    if (!v->experiment && !sr_file_exists(copy))
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "%s: no such file; name the results folder with --results, or the data "
                         "with --real where A and B are files",
                         copy);
    if (status == SR_OK)
        status = sr_experiment_load(file, &experiment);
    if (status == SR_OK)
        status = sr_results_open(folder, false, &results);
    if (status == SR_OK)
        status = sr_results_read(results, &experiment, &records, &count);
    if (status == SR_OK)
        status = sr_records_select(records, count, a, &of_a, &n_a);
    if (status == SR_OK)
        status = sr_records_select(records, count, b, &of_b, &n_b);
    if (status == SR_OK)
        status = compare_sides(folder, v, of_a, n_a, of_b, n_b);
    sr_free(of_a);
    sr_free(of_b);
    sr_records_destroy(records, count);
    sr_results_close(results);
    sr_experiment_clear(&experiment);
    return status;
}

// ---- files --------------------------------------------------------------------------------------

// Rows of a file or a data set; images until features replace them.
typedef struct rows {
    size_t n, dim;
    bool image, toy;
    sr_toy toy_kind;
    float *x; // (n, dim)
} rows;

static sr_status load_array(const char *path, size_t limit, rows *out) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    if (status == SR_OK && array.rank == 2 && array.shape[1] > 0) {
        out->n = limit && limit < array.shape[0] ? limit : array.shape[0];
        out->dim = array.shape[1];
        status = sr_array_to_f32(&array, &out->x);
    }
    sr_array_clear(&array);
    return status;
}

// (N, D) arrays are taken as they are, all else as a data set, NAME:test for its test part.
static sr_status load_rows(const char *text, const compare_values *v, rows *out) {
    char name[1024];
    const bool test = cli_ends_with(text, ":test");
    snprintf(name, sizeof name, "%.*s", (int)(strlen(text) - (test ? 5 : 0)), text);
    *out = (rows){0};
    if (cli_ends_with(name, ".npy")) {
        const sr_status status = load_array(name, v->limit, out);
        if (status != SR_OK || out->x)
            return status;
    }
    sr_dataset set;
    const sr_status status =
        sr_dataset_load(name, v->data, test ? SR_TEST : SR_TRAIN, v->limit, v->seed, &set);
    if (status != SR_OK)
        return status;
    *out = (rows){.n = set.count,
                  .dim = set.dim,
                  .image = set.height > 1 || set.width > 1,
                  .toy = set.toy,
                  .toy_kind = set.toy_kind,
                  .x = set.x};
    set.x = NULL; // taken over
    sr_dataset_clear(&set);
    return SR_OK;
}

static sr_status to_features(sr_classifier *classifier, const char *name, rows *r) {
    const size_t dim = sr_classifier_features(classifier);
    const size_t inputs = sr_classifier_net(classifier)->inputs;
    if (r->dim != inputs)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: rows of %zu values, the feature network takes %zu",
                       name, r->dim, inputs);
    float *features = sr_alloc(r->n, dim * sizeof *features);
    if (!features)
        return SR_ERROR_MEMORY;
    const sr_status status = sr_classifier_features_of(classifier, r->n, r->x, features, NULL);
    sr_free(r->x);
    r->x = features;
    r->dim = dim;
    return status;
}

static sr_status extract(const compare_values *v, const char *const name[3], rows r[3], char *note,
                         size_t size) {
    char path[1024];
    sr_classifier *classifier = NULL;
    const char *network = v->features ? v->features : r[0].image ? v->real : "none";
    if (strcmp(network, "none") == 0)
        return SR_OK;
    char base[256];
    snprintf(base, sizeof base, "%.*s",
             (int)(strlen(network) - (cli_ends_with(network, ":test") ? 5 : 0)), network);
    sr_status status = SR_OK;
    if (cli_ends_with(base, ".safetensors"))
        snprintf(path, sizeof path, "%s", base);
    else if ((status = sr_classifier_find(base, path, sizeof path)) != SR_OK && !v->features)
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "%s: images of which no feature network is known; say in which features "
                         "they are compared, with --features NAME, FILE.safetensors or none",
                         v->real);
    if (status == SR_OK)
        status = sr_classifier_load(path, SR_ENGINE_AUTO, v->threads, &classifier);
    for (size_t i = 0; i < 3 && status == SR_OK; i++)
        status = to_features(classifier, name[i], &r[i]);
    if (status == SR_OK)
        snprintf(note, size, "%.60s %.8s", base, sr_classifier_hash(classifier));
    sr_classifier_destroy(classifier);
    return status;
}

static sr_status compare_files(const char *a, const char *b, const compare_values *v) {
    const char *const name[3] = {v->real, a, b};
    const sr_compare_options options = options_of(v);
    rows r[3] = {{0}};
    sr_comparison c;
    char note[128] = "";
    sr_status status = SR_OK;
    if (strcmp(a, b) == 0)
        status = sr_fail(SR_ERROR_ARGUMENT, "A and B are the same file, %s", a);
    for (size_t i = 0; i < 3 && status == SR_OK; i++)
        status = load_rows(name[i], v, &r[i]);
    if (status == SR_OK)
        status = extract(v, name, r, note, sizeof note);
    for (size_t i = 1; i < 3 && status == SR_OK; i++)
        if (r[i].dim != r[0].dim)
            status = sr_fail(SR_ERROR_ARGUMENT, "%s has rows of %zu values, %s of %zu", name[i],
                             r[i].dim, v->real, r[0].dim);
    if (status == SR_OK && r[0].toy)
        status = sr_compare_points(r[0].toy_kind, r[0].n, r[0].x, r[1].n, r[1].x, r[2].n, r[2].x,
                                   &options, &c);
    else if (status == SR_OK)
        status =
            sr_compare_rows(r[0].n, r[0].x, r[1].n, r[1].x, r[2].n, r[2].x, r[0].dim, &options, &c);
    if (status == SR_OK) {
        snprintf(c.features, sizeof c.features, "%s", note);
        status = print(&c, a, b, v->format);
    }
    for (size_t i = 0; i < 3; i++)
        sr_free(r[i].x);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    sr_compare_options defaults;
    sr_compare_options_default(&defaults);
    compare_values v = {.permutations = defaults.permutations, .seed = defaults.seed};
    cli_parsed parsed;
    const int code = cli_parse(command, argc, argv, &v, &parsed);
    if (code != CLI_GO)
        return code;
    if (v.real && (v.results || v.experiment))
        return cli_usage(command, "--real is for files of samples, --%s for cells; give one",
                         v.results ? "results" : "experiment");
    if (!v.real && (v.features || v.limit))
        return cli_usage(command, "--%s is for files of samples, which need --real DATA",
                         v.features ? "features" : "limit");
    const char *a = parsed.operands[0], *b = parsed.operands[1];
    return cli_status(v.real ? compare_files(a, b, &v) : compare_cells(a, b, &v));
}

const cli_command cli_compare_command = {
    .name = "compare",
    .summary = "two cells or sets of samples, score by score: difference, interval, p-value",
    .operands = "A B",
    .least = 2,
    .most = 2,
    .words = CLI_WORDS_FILE,
    .about =
        "A and B are cells of a results folder: the beginning of a hash, or what --cells of "
        "shortrun run\n"
        "takes (K=20,sigma=0,dataset=fashion_mnist), or a cell's label. Single cells are compared "
        "by their\n"
        "samples; where both names stand for several seeds, by pairs of the same seed. With "
        "--real, "
        "A and B\n"
        "are files of samples. All differences are B - A.",
    .examples = "  shortrun compare 3f2a9c 81d0e4 --results results/runs/quick\n"
                "  shortrun compare dataset=fashion_mnist,K=20,sigma=0 "
                "dataset=fashion_mnist,K=20,sigma=0.1 "
                "\\\n"
                "      --results results/runs/quick --metric frechet\n"
                "  shortrun compare a.npy b.npy --real eight_gaussians --format json\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
