// shortrun evaluate: how near one set of samples is to another. Rows of features are compared as
// they are; images go through the feature network first.
#include "cli/evaluate.h"

#include <string.h>

static const char *format_choice(int value) {
    static const char *const names[EVALUATE_FORMATS] = {"table", "json", "csv"};
    return names[value];
}

static const char *convention_choice(int value) {
    return sr_convention_name((sr_convention)value);
}

static const char *resize_choice(int value) {
    return sr_resize_name((sr_resize)value);
}

#define MORE_METRICS 3

// For completion: the first of a list.
static const char *metric_choice(int value) {
    static const char *const more[MORE_METRICS] = {"inception_score", "class_entropy",
                                                   "memorisation"};
    if (value == 0)
        return "all";
    return value <= SR_METRIC_COUNT ? sr_metric_name((sr_metric)(value - 1))
                                    : more[value - 1 - SR_METRIC_COUNT];
}

#define AT(field) CLI_AT(evaluate_values, field)
#define INCEPTION_PRECISIONS 2 // fp32 and bf16: it has no bf16x3

static const cli_option table[] = {
    {.name = "real",
     .type = CLI_TEXT,
     .value = "DATA",
     AT(real),
     .words = CLI_WORDS_DATASET,
     .help = "what is compared with: a .npy file, (N, D) rows or images; a folder of PNG or of "
             "CIFAR-10's files; an IDX file; a data set's name, name:test for its test part; a "
             "cell's samples, FOLDER/results.db:CELL, CELL the beginning of its hash, its name, "
             "or terms like K=20,seed=1; required"},
    {.name = "fake",
     .type = CLI_TEXT,
     .value = "DATA",
     AT(fake),
     .words = CLI_WORDS_DATASET,
     .help = "what is judged, in the same forms; required"},
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
    {.name = "features",
     .type = CLI_TEXT,
     .value = "NAME|FILE|none",
     AT(features),
     .words = CLI_WORDS_FEATURES,
     .heading = "Features",
     .help = "the feature network: of a data set, or a .safetensors file; inception or "
             "inception:FILE: the Frechet inception distance's; none: compare the values "
             "themselves (default: none for (N, D) arrays and 2-D sets, the data set's own for a "
             "named image set)"},
    {.name = "resize",
     .type = CLI_CHOICE,
     AT(resize),
     .choice = resize_choice,
     .choices = SR_RESIZE_COUNT,
     .help = "how images come to Inception's 299 x 299 (default pytorch-fid; clean-fid with that "
             "convention)"},
    {.name = "precision",
     .type = CLI_CHOICE,
     AT(precision),
     .choice = cli_precision_choice,
     .choices = INCEPTION_PRECISIONS,
     .help = "of Inception's products (default fp32)"},
    {.name = "no-cache",
     .type = CLI_FLAG,
     AT(no_cache),
     .help = "neither read nor keep features in $XDG_CACHE_HOME/shortrun/features"},
    {.name = "convention",
     .type = CLI_CHOICE,
     AT(convention),
     .choice = convention_choice,
     .choices = SR_CONVENTION_COUNT,
     .heading = "Scores",
     .help = "whose constants and metrics (default shortrun); the options below go before it"},
    {.name = "metrics",
     .type = CLI_TEXT,
     .value = "all|LIST",
     AT(metrics),
     .choice = metric_choice,
     .choices = 1 + SR_METRIC_COUNT + MORE_METRICS,
     .help = "names with commas between them: frechet, kid, precision, recall, density, coverage, "
             "mmd2_rbf, energy_distance, sliced_w2, one_nn_accuracy, frechet_infinity, "
             "kid_subsets, vendi, c2st_accuracy, " EVALUATE_MORE_METRICS
             " (default: all that the convention has)"},
    {.name = "k",
     .letter = 'k',
     .type = CLI_COUNT,
     .value = "N",
     AT(o.k),
     .low = 1,
     .high = 1e6,
     .help = "neighbours of precision, recall, density, coverage (default 5; torch-fidelity 3)"},
    {.name = "non-strict",
     .type = CLI_SWITCH,
     AT(o.non_strict),
     .help = "their balls hold what lies on the edge (default no; torch-fidelity yes)"},
    {.name = "kid-subsets",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.kid_subsets),
     .low = 1,
     .high = 1e5,
     .help = "random subsets of kid_subsets (default 100)"},
    {.name = "kid-subset-size",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.kid_subset_size),
     .low = 2,
     .high = 1e9,
     .help = "rows of such a subset (default 1000, or all where there are fewer; torch-fidelity "
             "wants them all)"},
    {.name = "frechet-sizes",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.frechet_sizes),
     .low = 2,
     .high = 1000,
     .help = "sizes from which frechet_infinity is extrapolated (default 15)"},
    {.name = "inception-splits",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.inception_splits),
     .low = 1,
     .high = 1e6,
     .help = "splits of inception_score (default 10)"},
    {.name = "bandwidth",
     .type = CLI_NUMBER,
     .value = "SIGMA",
     AT(o.bandwidth),
     .help = "bandwidth of mmd2_rbf (default 0: the median of all distances)"},
    {.name = "bandwidths",
     .type = CLI_TEXT,
     .value = "LIST",
     AT(bandwidths),
     .help = "up to 8 more bandwidths of the MMD, with commas between them"},
    {.name = "projection-count",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.projection_count),
     .low = 1,
     .high = 1e6,
     .help = "random directions of sliced_w2 (default 128)"},
    {.name = "projections",
     .type = CLI_TEXT,
     .value = "P.npy",
     AT(projections),
     .words = CLI_WORDS_FILE,
     .help = "these directions of sliced_w2 instead, unit rows (P, D)"},
    {.name = "no-errors",
     .type = CLI_FLAG,
     AT(o.no_errors),
     .help = "skip standard errors and intervals"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(o.seed),
     .help = "seed of directions, subsets and splits, and of a 2-D density's points (default 1)"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     AT(format),
     .choice = format_choice,
     .choices = EVALUATE_FORMATS,
     .heading = "Output",
     .help = "of the output (default table)"},
    {.name = "nearest",
     .type = CLI_TEXT,
     .value = "FILE.csv",
     AT(nearest),
     .words = CLI_WORDS_FILE,
     .help = "write the index of each fake row's nearest real row, from 0, and its distance"},
    {.name = "timings",
     .type = CLI_FLAG,
     AT(timings),
     .help = "also tell how long reading, features and scores took (in the table and in JSON)"},
    CLI_THREADS(AT(o.threads)),
};

// The convention decides defaults: the command line is read once more on top of the right ones.
static int parse(const cli_command *command, int argc, char **argv, evaluate_values *v) {
    cli_parsed parsed;
    int code = cli_parse(command, argc, argv, v, &parsed);
    if (code != CLI_GO)
        return code;
    sr_convention_apply(v->convention, &v->o);
    if (v->convention == SR_CONVENTION_CLEAN_FID)
        v->resize = SR_RESIZE_CLEAN_FID;
    code = cli_parse(command, argc, argv, v, &parsed);
    v->resize_given = cli_given(command, &parsed, "resize");
    v->precision_given = cli_given(command, &parsed, "precision");
    if (code == CLI_GO && (!v->real || !v->fake))
        return cli_usage(command, "--%s DATA is missing", v->real ? "fake" : "real");
    if (code == CLI_GO && v->projections && cli_given(command, &parsed, "projection-count"))
        return cli_usage(command, "--projections brings its own number: no --projection-count");
    return code;
}

// Seconds since *start, which becomes now.
static double lap(double *start) {
    const double before = *start;
    *start = sr_seconds();
    return *start - before;
}

static int run(const cli_command *command, int argc, char **argv) {
    evaluate_values v = {0};
    evaluate_side real = {0}, fake = {0};
    evaluate_features features = {0};
    evaluate_scores scores = {0};
    sr_metric_options_default(&v.o);
    v.o.seed = 1;
    int code = parse(command, argc, argv, &v);
    if (code != CLI_GO)
        return code;
    cli_catch_signals();
    evaluate_seconds *seconds = &scores.seconds;
    double start = sr_seconds();
    sr_status status = cli_check_writable(v.nearest);
    if (status == SR_OK)
        status = evaluate_side_load(&v, "real", v.real, &real);
    if (status == SR_OK)
        status = evaluate_side_load(&v, "fake", v.fake, &fake);
    seconds->reading = lap(&start);
    if (status == SR_OK)
        status = evaluate_extract(&v, &real, &fake, &features);
    seconds->features = lap(&start);
    if (status == SR_OK)
        status = evaluate_compute(&v, &real, &fake, &features, &scores);
    seconds->scores = lap(&start);
    cli_progress_clear();
    code =
        status == SR_OK ? evaluate_print(&v, &real, &fake, &features, &scores) : cli_status(status);
    evaluate_scores_clear(&scores);
    evaluate_features_clear(&features);
    evaluate_side_clear(&real);
    evaluate_side_clear(&fake);
    return code;
}

const cli_command cli_evaluate_command = {
    .name = "evaluate",
    .summary = "how near one set of samples is to another",
    .operands = "",
    .about =
        "Every score comes with its 95% interval over new rows of both sides, and with the\n"
        "constants behind it. Frechet distances depend on the number of rows: compare only what\n"
        "has the same n.",
    .examples =
        "  shortrun evaluate --real a.npy --fake b.npy --metrics all --k 5 --format json\n"
        "  shortrun evaluate --real fashion_mnist --fake samples.npy --limit 2048\n"
        "  shortrun evaluate --real fashion_mnist --fake fashion_mnist:test --limit 2048\n"
        "  shortrun evaluate --real cifar10 --fake photos/ --features inception \\\n"
        "      --convention clean-fid\n"
        "  shortrun evaluate --real fashion_mnist --fake results/runs/quick/results.db:K=20,seed=1 "
        "\\\n"
        "      --limit 1024 --nearest nearest.csv\n"
        "  shortrun evaluate --real eight_gaussians --fake points.npy\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
