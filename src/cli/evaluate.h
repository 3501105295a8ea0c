// The parts of `shortrun evaluate`: sides (what is compared), features, scores, output. Private to
// the command.
#ifndef SHORTRUN_CLI_EVALUATE_H
#define SHORTRUN_CLI_EVALUATE_H

#include "cli/cli.h"

enum { EVALUATE_TABLE, EVALUATE_JSON, EVALUATE_CSV, EVALUATE_FORMATS };

typedef struct evaluate_values {
    const char *real, *fake, *metrics, *projections, *bandwidths, *features, *data, *nearest;
    size_t limit;
    sr_metric_options o;
    sr_convention convention;
    sr_resize resize;
    sr_precision precision;
    bool resize_given, precision_given, no_cache, timings;
    int format;
} evaluate_values;

// ---- sides --------------------------------------------------------------------------------------

// One side of the comparison. Images until features replace them.
typedef struct evaluate_side {
    const char *which, *text; // "real" or "fake"; as the user named it
    char label[1600];         // what that turned out to be
    size_t n, dim, channels, height, width;
    float *x;          // (n, dim)
    char hash[33];     // sr_hash_hex of x as loaded
    const char *known; // name of an image set that the program knows; NULL: something else
    bool toy;
    sr_toy toy_kind;
    float *logits; // (n, classes) of the feature network; NULL without one
    size_t classes;
} evaluate_side;

sr_status evaluate_side_load(const evaluate_values *v, const char *which, const char *text,
                             evaluate_side *out);
void evaluate_side_clear(evaluate_side *side);

// ---- features -----------------------------------------------------------------------------------

// What the two sides are compared in.
typedef struct evaluate_features {
    bool inception;
    char name[1200]; // "none", "fashion_mnist classifier 1a2b3c4d, 91.6% test accuracy", ...
    char hash[33];   // of the weights, "" without a network
    size_t dim;
    float *inception_bias; // (SR_INCEPTION_LOGITS), NULL for other networks
} evaluate_features;

// Replaces the values of both sides by their features, from the cache where it holds them.
sr_status evaluate_extract(const evaluate_values *v, evaluate_side *real, evaluate_side *fake,
                           evaluate_features *out);
void evaluate_features_clear(evaluate_features *features);

// ---- scores -------------------------------------------------------------------------------------

typedef struct evaluate_score {
    char name[48];
    sr_estimate estimate; // NaN where something is not known
    char note[96];        // for the table
    struct {
        const char *name; // NULL: none
        double value;
    } more[2]; // numbers that go with it, for JSON
} evaluate_score;

#define EVALUATE_SCORES_MAX (SR_METRIC_COUNT + SR_BANDWIDTHS_MAX + 16)

// Seconds of the parts of the work.
typedef struct evaluate_seconds {
    double reading, features, scores;
} evaluate_seconds;

typedef struct evaluate_scores {
    evaluate_seconds seconds;
    size_t n_real, n_fake, count;
    evaluate_score list[EVALUATE_SCORES_MAX];
    sr_text settings; // lines
    size_t classes;   // of the histogram; 0: none
    uint64_t *class_count;
    double *class_share;
} evaluate_scores;

sr_status evaluate_compute(const evaluate_values *v, const evaluate_side *real,
                           const evaluate_side *fake, const evaluate_features *features,
                           evaluate_scores *out);
// Appends a score; the caller may add a note and more numbers.
evaluate_score *evaluate_add(evaluate_scores *scores, const char *name, sr_estimate estimate);
// Memorisation from nearest distances; the file of --nearest.
sr_status evaluate_memorisation(size_t n_real, size_t n_fake, const sr_metric_rows *rows,
                                bool no_errors, evaluate_scores *out);
sr_status evaluate_save_nearest(const char *path, size_t n_fake, const sr_metric_rows *rows);
void evaluate_scores_clear(evaluate_scores *scores);
// The names that --metrics takes besides those of sr_metric_parse.
#define EVALUATE_MORE_METRICS "inception_score, class_entropy, memorisation"

int evaluate_print(const evaluate_values *v, const evaluate_side *real, const evaluate_side *fake,
                   const evaluate_features *features, const evaluate_scores *scores);

#endif
