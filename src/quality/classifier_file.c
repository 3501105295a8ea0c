// Feature networks in files: safetensors with PyTorch's names, the architecture and the record of
// the training in the metadata. The hash of the weights is kept there too and checked, because it
// is what tells whether two scores were measured with the same features.
#include "classifier.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sr_status sr_classifier_save(const sr_classifier *classifier, const char *path) {
    const sr_classifier *c = classifier;
    char accuracy[32], epochs[24], seed[24], count[24];
    snprintf(accuracy, sizeof accuracy, "%.17g", c->accuracy);
    snprintf(epochs, sizeof epochs, "%zu", c->epochs);
    snprintf(seed, sizeof seed, "%" PRIu64, c->seed);
    snprintf(count, sizeof count, "%zu", c->train_count);
    const char *const meta[][2] = {
        {"kind", "feature network"},
        {"dataset", c->dataset},
        {"test_accuracy", accuracy},
        {"epochs", epochs},
        {"seed", seed},
        {"train_count", count},
        {"train_data_hash", c->data_hash},
        {"hash", c->hash},
    };
    sr_tensors *tensors = NULL;
    sr_status status = sr_tensors_create(&tensors);
    if (status == SR_OK)
        status = sr_net_put(&c->net, c->theta, "", tensors);
    if (status == SR_OK)
        status = sr_net_describe(&c->net, tensors);
    for (size_t i = 0; i < sizeof meta / sizeof meta[0] && status == SR_OK; i++)
        status = sr_tensors_set_meta(tensors, meta[i][0], meta[i][1]);
    if (status == SR_OK)
        status = sr_tensors_save(tensors, path);
    sr_tensors_destroy(tensors);
    return status;
}

// An unsigned number from the metadata; 0 where it is absent.
static sr_status number(const sr_tensors *tensors, const char *key, uint64_t *out) {
    const char *text = sr_tensors_meta(tensors, key);
    char *end;
    *out = 0;
    if (!text)
        return SR_OK;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return sr_fail(SR_ERROR_FORMAT, "metadata %s is '%s', expected a whole number", key, text);
    return SR_OK;
}

static sr_status record(sr_classifier *c, const sr_tensors *tensors) {
    uint64_t epochs, count;
    const char *dataset = sr_tensors_meta(tensors, "dataset");
    const char *data_hash = sr_tensors_meta(tensors, "train_data_hash");
    const char *accuracy = sr_tensors_meta(tensors, "test_accuracy");
    const char *hash = sr_tensors_meta(tensors, "hash");
    sr_status status = number(tensors, "epochs", &epochs);
    if (status == SR_OK)
        status = number(tensors, "train_count", &count);
    if (status == SR_OK)
        status = number(tensors, "seed", &c->seed);
    if (status != SR_OK)
        return status;
    c->epochs = epochs;
    c->train_count = count;
    snprintf(c->dataset, sizeof c->dataset, "%s", dataset ? dataset : "");
    snprintf(c->data_hash, sizeof c->data_hash, "%s", data_hash ? data_hash : "");
    if (accuracy) {
        char *end;
        c->accuracy = strtod(accuracy, &end);
        if (end == accuracy || *end ||
            (!isnan(c->accuracy) && !(c->accuracy >= 0 && c->accuracy <= 1)))
            return sr_fail(SR_ERROR_FORMAT,
                           "metadata test_accuracy is '%s', expected a share in [0, 1]", accuracy);
    }
    if (hash && strcmp(hash, c->hash) != 0)
        return sr_fail(SR_ERROR_FORMAT, "the weights have hash %s, the file's record says %s",
                       c->hash, hash);
    return SR_OK;
}

sr_status sr_classifier_load(const char *path, sr_engine engine, unsigned threads,
                             sr_classifier **out) {
    sr_tensors *tensors = NULL;
    sr_classifier *c = NULL;
    float *theta = NULL;
    sr_net net;
    *out = NULL;
    sr_status status = sr_tensors_load(path, &tensors); // names the path itself
    if (status != SR_OK)
        return status;
    status = sr_net_from_meta(tensors, &net);
    if (status == SR_OK) {
        theta = sr_alloc(net.parameters, sizeof(float));
        status = theta ? sr_net_take(&net, tensors, "", theta) : SR_ERROR_MEMORY;
    }
    for (size_t i = 0; i < (status == SR_OK ? net.parameters : 0); i++)
        if (!isfinite(theta[i])) {
            status = sr_fail(SR_ERROR_FORMAT, "parameter %zu is %g, expected a finite number", i,
                             (double)theta[i]);
            break;
        }
    if (status == SR_OK)
        status = sr_classifier_create(&net, theta, engine, threads, &c);
    if (status == SR_OK)
        status = record(c, tensors);
    sr_free(theta);
    sr_tensors_destroy(tensors);
    if (status != SR_OK) {
        sr_classifier_destroy(c);
        return sr_fail_context(status, "%s: ", path);
    }
    *out = c;
    return SR_OK;
}
