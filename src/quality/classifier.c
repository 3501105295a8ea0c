// Feature networks in use: a small convolutional classifier whose penultimate activations are the
// features that metrics compare. Frechet distances in features of a classifier trained on the data
// at hand stand in for Inception's where images are small and grey.
#include "classifier.h"
#include "feature_files.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define TILE 64 // images that one thread takes at a time

sr_status sr_classifier_create(const sr_net *net, const float *theta, sr_engine engine,
                               unsigned threads, sr_classifier **out) {
    *out = NULL;
    size_t layers = net->layer_count;
    if (layers < 2 || !net->layers[layers - 1].dense || !net->layers[layers - 2].dense ||
        net->layers[layers - 1].activation != SR_IDENTITY)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "a feature network must end in two dense layers, the last "
                       "without an activation");
    sr_classifier *c = sr_alloc(1, sizeof *c);
    if (!c)
        return SR_ERROR_MEMORY;
    c->net = *net;
    c->accuracy = NAN;
    c->threads = sr_threads_resolve(threads);
    sr_status status = sr_net_truncate(&c->body, net, 1);
    if (status == SR_OK)
        status = sr_plan_create(&c->body, TILE, engine, SR_FP32, &c->plan);
    if (status != SR_OK)
        goto fail;
    c->theta = sr_alloc(net->parameters, sizeof(float));
    c->workspaces = sr_alloc(c->threads, sizeof *c->workspaces);
    c->inputs = sr_alloc((size_t)c->threads * TILE, net->inputs * sizeof(float));
    status = SR_ERROR_MEMORY;
    if (!c->theta || !c->workspaces || !c->inputs)
        goto fail;
    status = SR_OK;
    for (unsigned t = 0; t < c->threads && status == SR_OK; t++)
        status = sr_workspace_create(c->plan, &c->workspaces[t]);
    if (status != SR_OK)
        goto fail;
    memcpy(c->theta, theta, net->parameters * sizeof(float));
    sr_plan_set_weights(c->plan, c->theta);
    sr_hash_hex(c->theta, net->parameters * sizeof(float), c->hash);
    *out = c;
    return SR_OK;
fail:
    sr_classifier_destroy(c);
    return status;
}

void sr_classifier_destroy(sr_classifier *classifier) {
    if (!classifier)
        return;
    for (unsigned t = 0; t < classifier->threads && classifier->workspaces; t++)
        sr_workspace_destroy(classifier->workspaces[t]);
    sr_free(classifier->workspaces);
    sr_plan_destroy(classifier->plan);
    sr_free(classifier->inputs);
    sr_free(classifier->theta);
    sr_free(classifier);
}

const sr_net *sr_classifier_net(const sr_classifier *classifier) {
    return &classifier->net;
}

size_t sr_classifier_features(const sr_classifier *classifier) {
    return classifier->body.outputs;
}

const char *sr_classifier_hash(const sr_classifier *classifier) {
    return classifier->hash;
}

double sr_classifier_accuracy(const sr_classifier *classifier) {
    return classifier->accuracy;
}

// The last layer, logits (n, classes) of features (n, features): small enough for plain loops.
static void last_layer(const sr_classifier *c, size_t n, const float *features, float *logits) {
    size_t width = c->body.outputs, classes = c->net.outputs;
    const sr_layer *layer = &c->net.layers[c->net.layer_count - 1];
    const float *w = c->theta + layer->weight; // (classes, width)
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < classes; o++) {
            double sum = c->theta[layer->bias + o];
            for (size_t f = 0; f < width; f++)
                sum += (double)w[o * width + f] * features[i * width + f];
            logits[i * classes + o] = (float)sum;
        }
}

sr_status sr_classifier_features_of(sr_classifier *classifier, size_t n, const float *x,
                                    float *features, float *logits) {
    sr_classifier *c = classifier;
    size_t inputs = c->net.inputs, width = c->body.outputs, tiles = (n + TILE - 1) / TILE;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < inputs; d++)
            if (!isfinite(x[i * inputs + d]))
                return sr_fail(SR_ERROR_ARGUMENT,
                               "images: image %zu, value %zu is %g, expected a finite "
                               "number",
                               i, d, (double)x[i * inputs + d]);
#pragma omp parallel for schedule(dynamic) num_threads(c->threads)
    for (size_t t = 0; t < tiles; t++) {
        size_t thread = (size_t)omp_get_thread_num(), first = t * TILE;
        size_t rows = n - first < TILE ? n - first : TILE;
        float *clamped = c->inputs + thread * TILE * inputs;
        for (size_t i = 0; i < rows * inputs; i++)
            clamped[i] = fminf(fmaxf(x[first * inputs + i], -1), 1);
        sr_plan_forward(c->plan, c->workspaces[thread], rows, clamped, features + first * width);
        if (logits)
            last_layer(c, rows, features + first * width, logits + first * c->net.outputs);
    }
    return SR_OK;
}

sr_status sr_classifier_find(const char *dataset, char *path, size_t size) {
    sr_text searched = {0};
    sr_status status = SR_OK;
    if (!sr_feature_file_find(dataset, path, size, &searched))
        status =
            sr_fail(SR_ERROR_IO,
                    "no feature network for '%s' (searched: %s); train one with 'shortrun features "
                    "%s --output FILE' and name the file in SHORTRUN_FEATURES",
                    dataset, sr_text_string(&searched), dataset);
    sr_text_clear(&searched);
    return status;
}
