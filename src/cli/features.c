// shortrun features: trains the classifier whose penultimate activations are the features in which
// image metrics are computed.
#include "cli/cli.h"

#include <stdio.h>

typedef struct features_values {
    const char *output, *data;
    uint64_t limit;
    sr_classifier_options train;
} features_values;

static const cli_option table[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FILE",
     CLI_AT(features_values, output),
     .words = CLI_WORDS_FILE,
     .help = "where the weights go (safetensors); required"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     CLI_AT(features_values, data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for the data set here first"},
    {.name = "limit",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, limit),
     .help = "use at most so many training images (default: all)"},
    {.name = "nf",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, train.nf),
     .low = 1,
     .high = 1024,
     .help = "channels of the first layer"},
    {.name = "features",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, train.features),
     .low = 1,
     .high = 65536,
     .help = "dimension of the features"},
    {.name = "epochs",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, train.epochs),
     .low = 1,
     .high = 10000,
     .help = "passes over the data"},
    {.name = "batch",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, train.batch),
     .low = 1,
     .high = 65536,
     .help = "images per update"},
    {.name = "rate",
     .type = CLI_NUMBER,
     .value = "RATE",
     CLI_AT(features_values, train.rate),
     .open_low = true,
     .high = 10.0,
     .help = "Adam's learning rate"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(features_values, train.seed),
     .help = "seed of weights and batches"},
    CLI_ENGINE(CLI_AT(features_values, train.engine)),
    CLI_THREADS(CLI_AT(features_values, train.threads)),
};

static int train(const char *name, const features_values *v) {
    sr_dataset data = {0}, test = {0};
    sr_classifier *classifier = NULL;
    double accuracy = 0.0;
    sr_status status = cli_check_writable(v->output);
    if (status == SR_OK)
        status = sr_dataset_load(name, v->data, SR_TRAIN, v->limit, 0, &data);
    if (status == SR_OK && !data.labels)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: has no labels, so no classifier can be trained",
                         data.source);
    if (status == SR_OK)
        status = sr_dataset_load(name, v->data, SR_TEST, 0, 0, &test);
    if (status == SR_OK)
        status =
            sr_classifier_train(&data, &test, &v->train, cli_monitor(), &classifier, &accuracy);
    if (status == SR_OK)
        status = sr_classifier_save(classifier, v->output);
    cli_progress_clear();
    if (status == SR_OK)
        printf("%s: %zu features, test accuracy %.2f%% of %zu images, hash %.8s\n", v->output,
               sr_classifier_features(classifier), 100.0 * accuracy, test.count,
               sr_classifier_hash(classifier));
    sr_classifier_destroy(classifier);
    sr_dataset_clear(&data);
    sr_dataset_clear(&test);
    return cli_status(status);
}

static int run(const cli_command *command, int argc, char **argv) {
    features_values v = {0};
    cli_parsed parsed;
    sr_classifier_options_default(&v.train);
    const int status = cli_parse(command, argc, argv, &v, &parsed);
    if (status != CLI_GO)
        return status;
    if (!v.output)
        return cli_usage(command, "--output FILE is missing");
    cli_catch_signals();
    return train(parsed.operands[0], &v);
}

const cli_command cli_features_command = {
    .name = "features",
    .summary = "train the classifier in whose features images are judged",
    .operands = "DATASET",
    .least = 1,
    .most = 1,
    .words = CLI_WORDS_DATASET,
    .about =
        "Scores of two users compare only in the same features: the weights for Fashion-MNIST "
        "ship\n"
        "with the project. Name other weights in SHORTRUN_FEATURES, or with --features where a\n"
        "command has that option.",
    .examples = "  shortrun features fashion_mnist --output fashion_mnist.safetensors\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
