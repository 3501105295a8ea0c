// The inside of a feature network, shared by its training, its files and its use.
#ifndef SHORTRUN_QUALITY_CLASSIFIER_H
#define SHORTRUN_QUALITY_CLASSIFIER_H

#include <shortrun/quality.h>

struct sr_classifier {
    sr_net net;   // the whole classifier
    sr_net body;  // without its last layer: its outputs are the features
    float *theta; // (net.parameters); the body uses the first of them
    char hash[33];
    double accuracy; // on the test set, or NaN

    // What the weights came from, for the record.
    char dataset[64], data_hash[33];
    size_t train_count, epochs;
    uint64_t seed;

    // The body, ready to run.
    unsigned threads;
    sr_plan *plan;
    sr_workspace **workspaces; // (threads)
    float *inputs;             // (threads, tile, net.inputs): clamped copies
};

// Takes a copy of theta (net->parameters). The net must end in two dense layers, the last without
// an activation.
sr_status sr_classifier_create(const sr_net *net, const float *theta, sr_engine engine,
                               unsigned threads, sr_classifier **out);

// Scales the features so that their variance, averaged over them, is 1 on the first rows of x (n,
// inputs): the feature layer is divided and the last layer multiplied by one number, which leaves
// the classifier as it is, because leaky_relu(a z) = a leaky_relu(z) for a > 0. Distances in the
// features then have a unit.
sr_status sr_classifier_unit_variance(sr_classifier *c, size_t n, const float *x);

// Softmax cross-entropy of n rows of logits (n, classes): returns the sum of -log p(label), and
// where seed is not NULL writes seed (n, classes) = scale (softmax - one-hot), the gradient of
// scale times that sum.
double sr_cross_entropy(size_t n, size_t classes, const float *logits, const uint8_t *labels,
                        double scale, float *seed);

// Share of rows whose largest logit (the first, if several tie) is that of the label.
double sr_top_one(size_t n, size_t classes, const float *logits, const uint8_t *labels);

#endif
