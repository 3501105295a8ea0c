// The features in which `shortrun evaluate` compares images: which network, its features of both
// sides, and what is kept of them for the next time.
#include "cli/evaluate.h"
#include "cli/feature_cache.h"

#include <stdio.h>
#include <string.h>

// Images between two looks at whether to stop; the features do not depend on it.
#define CLASSIFIER_CHUNK 4096
#define INCEPTION_CHUNK 16 // for each thread

typedef struct network {
    sr_classifier *classifier;
    sr_inception *inception;
    size_t dim, classes, chunk;
} network;

static void network_clear(network *net) {
    sr_classifier_destroy(net->classifier);
    sr_inception_destroy(net->inception);
}

void evaluate_features_clear(evaluate_features *features) {
    sr_free(features->inception_bias);
    *features = (evaluate_features){0};
}

// ---- which --------------------------------------------------------------------------------------

static bool is_image(const evaluate_side *s) {
    return s->height > 1 || s->width > 1;
}

// Which feature network, "none" for none; NULL with the error recorded where that is for the user
// to say.
static const char *choose(const evaluate_values *v, const evaluate_side *real,
                          const evaluate_side *fake) {
    if (v->features)
        return v->features;
    if (real->known || fake->known)
        return real->known ? real->known : fake->known;
    if (is_image(real) && is_image(fake)) {
        sr_fail(SR_ERROR_ARGUMENT,
                "images without a name: say in which features they are compared, with --features "
                "fashion_mnist, --features inception, --features FILE.safetensors or --features "
                "none");
        return NULL;
    }
    return "none";
}

// "inception" or "inception:FILE".
static bool names_inception(const char *name) {
    return strncmp(name, "inception", 9) == 0 && (name[9] == '\0' || name[9] == ':');
}

static sr_status load_inception(const evaluate_values *v, const char *name, network *net,
                                evaluate_features *out) {
    char path[1024];
    sr_status status = SR_OK;
    if (name[9] == ':')
        snprintf(path, sizeof path, "%s", name + 10);
    else
        status = sr_inception_find(path, sizeof path);
    if (status == SR_OK)
        status = sr_inception_load(path, v->precision, v->o.threads, &net->inception);
    if (status != SR_OK)
        return status;
    const size_t bias = SR_INCEPTION_LOGITS * sizeof(float);
    if (!(out->inception_bias = sr_alloc(bias, 1)))
        return SR_ERROR_MEMORY;
    memcpy(out->inception_bias, sr_inception_logit_bias(net->inception), bias);
    net->dim = SR_INCEPTION_FEATURES;
    net->classes = SR_INCEPTION_LOGITS;
    net->chunk = (size_t)INCEPTION_CHUNK * sr_threads_resolve(v->o.threads);
    out->inception = true;
    snprintf(out->hash, sizeof out->hash, "%s", sr_inception_hash(net->inception));
    snprintf(out->name, sizeof out->name, "Inception-v3 %.8s%s%.8s, resized as %s, %s", out->hash,
             *sr_inception_source(net->inception) ? " from " : "",
             sr_inception_source(net->inception), sr_resize_name(v->resize),
             sr_precision_name(v->precision));
    return SR_OK;
}

static sr_status load_classifier(const evaluate_values *v, const char *name, network *net,
                                 evaluate_features *out) {
    char path[1024];
    sr_status status = SR_OK;
    if (v->resize_given || v->precision_given)
        return sr_fail(SR_ERROR_ARGUMENT, "--%s is for --features inception, these are of %s",
                       v->resize_given ? "resize" : "precision", name);
    if (cli_ends_with(name, ".safetensors"))
        snprintf(path, sizeof path, "%s", name);
    else
        status = sr_classifier_find(name, path, sizeof path);
    if (status == SR_OK)
        status = sr_classifier_load(path, SR_ENGINE_AUTO, v->o.threads, &net->classifier);
    if (status != SR_OK)
        return status;
    net->dim = sr_classifier_features(net->classifier);
    net->classes = sr_classifier_net(net->classifier)->outputs;
    net->chunk = CLASSIFIER_CHUNK;
    snprintf(out->hash, sizeof out->hash, "%s", sr_classifier_hash(net->classifier));
    int length = snprintf(out->name, sizeof out->name, "%s classifier %.8s", name, out->hash);
    const double accuracy = sr_classifier_accuracy(net->classifier);
    if (accuracy == accuracy && length > 0 && (size_t)length < sizeof out->name) // on record
        snprintf(out->name + length, sizeof out->name - (size_t)length, ", %.1f%% test accuracy",
                 100.0 * accuracy);
    return SR_OK;
}

// ---- features of a side -------------------------------------------------------------------------

static sr_status check_shape(const network *net, const evaluate_side *s) {
    if (net->inception) {
        if (is_image(s) && (s->channels == 1 || s->channels == 3))
            return SR_OK;
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: %zu x %zu x %zu values, Inception takes images of 1 or 3 channels",
                       s->text, s->channels, s->height, s->width);
    }
    const sr_net *of = sr_classifier_net(net->classifier);
    if (s->dim == of->inputs)
        return SR_OK;
    return sr_fail(SR_ERROR_ARGUMENT,
                   "%s: rows of %zu values, the feature network takes %zu x %zu x %zu", s->text,
                   s->dim, of->channels, of->height, of->width);
}

static sr_status run_network(const evaluate_values *v, const network *net, const evaluate_side *s,
                             float *features, float *logits) {
    char what[64];
    snprintf(what, sizeof what, "features of %s", s->which);
    for (size_t first = 0; first < s->n; first += net->chunk) {
        const size_t rows = s->n - first < net->chunk ? s->n - first : net->chunk;
        const float *x = s->x + first * s->dim;
        float *f = features + first * net->dim, *l = logits + first * net->classes;
        char detail[64];
        snprintf(detail, sizeof detail, "image %zu/%zu", first, s->n);
        sr_monitor_progress(cli_monitor(), what, detail, (double)first, (double)s->n);
        if (sr_monitor_stop(cli_monitor()))
            return sr_fail(SR_ERROR_INTERRUPTED, "stopped at image %zu of %zu of %s", first, s->n,
                           s->text);
        const sr_status status =
            net->inception ? sr_inception_features_of(net->inception, rows, s->channels, s->height,
                                                      s->width, x, v->resize, f, l)
                           : sr_classifier_features_of(net->classifier, rows, x, f, l);
        if (status != SR_OK)
            return sr_fail_context(status, "%s, from image %zu on: ", s->text, first);
    }
    sr_monitor_progress(cli_monitor(), what, "", (double)s->n, (double)s->n);
    return SR_OK;
}

// Everything that decides the features' bits.
static void cache_key(const evaluate_values *v, const evaluate_features *of, const evaluate_side *s,
                      char key[33]) {
    sr_text text = {0};
    sr_text_append(&text, "shortrun %s %s, %s %s", SR_VERSION, sr_isa_name(sr_cpu_get()->active),
                   of->inception ? "inception" : "classifier", of->hash);
    if (of->inception)
        sr_text_append(&text, " %s %s", sr_resize_name(v->resize), sr_precision_name(v->precision));
    sr_text_append(&text, ", %s (%zu, %zu, %zu, %zu)", s->hash, s->n, s->channels, s->height,
                   s->width);
    sr_hash_hex(sr_text_string(&text), text.length, key);
    sr_text_clear(&text);
}

// Rows (n, dim + classes): what the cache keeps; to and from two arrays.
static void pack(const network *net, size_t n, const float *features, const float *logits,
                 float *rows) {
    for (size_t i = 0; i < n; i++) {
        float *row = rows + i * (net->dim + net->classes);
        memcpy(row, features + i * net->dim, net->dim * sizeof *row);
        memcpy(row + net->dim, logits + i * net->classes, net->classes * sizeof *row);
    }
}

static void unpack(const network *net, size_t n, const float *rows, float *features,
                   float *logits) {
    for (size_t i = 0; i < n; i++) {
        const float *row = rows + i * (net->dim + net->classes);
        memcpy(features + i * net->dim, row, net->dim * sizeof *row);
        memcpy(logits + i * net->classes, row + net->dim, net->classes * sizeof *row);
    }
}

static sr_status find_features(const evaluate_values *v, const network *net,
                               const evaluate_features *of, const evaluate_side *s, float *features,
                               float *logits) {
    char key[33];
    const size_t width = net->dim + net->classes;
    if (v->no_cache)
        return run_network(v, net, s, features, logits);
    float *rows = sr_alloc(s->n, width * sizeof *rows);
    if (!rows)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    cache_key(v, of, s, key);
    if (cli_feature_cache_get(key, s->n, width, rows)) {
        unpack(net, s->n, rows, features, logits);
        sr_monitor_log(cli_monitor(), SR_LEVEL_INFO, "%s: cached features of %s (--no-cache: anew)",
                       s->which, s->text);
    } else if ((status = run_network(v, net, s, features, logits)) == SR_OK) {
        pack(net, s->n, features, logits, rows);
        cli_feature_cache_put(key, s->n, width, rows);
    }
    sr_free(rows);
    return status;
}

static sr_status replace(const evaluate_values *v, const network *net, const evaluate_features *of,
                         evaluate_side *s) {
    float *features = sr_alloc(s->n, net->dim * sizeof *features);
    float *logits = sr_alloc(s->n, net->classes * sizeof *logits);
    const sr_status status =
        features && logits ? find_features(v, net, of, s, features, logits) : SR_ERROR_MEMORY;
    if (status != SR_OK) {
        sr_free(features);
        sr_free(logits);
        return status;
    }
    sr_free(s->x);
    s->x = features;
    s->dim = net->dim;
    s->logits = logits;
    s->classes = net->classes;
    return SR_OK;
}

sr_status evaluate_extract(const evaluate_values *v, evaluate_side *real, evaluate_side *fake,
                           evaluate_features *out) {
    network net = {0};
    const char *name = choose(v, real, fake);
    if (!name)
        return SR_ERROR_ARGUMENT;
    if (strcmp(name, "none") == 0) {
        snprintf(out->name, sizeof out->name, "none");
        out->dim = real->dim;
        return v->resize_given || v->precision_given
                   ? sr_fail(SR_ERROR_ARGUMENT, "--%s is for --features inception",
                             v->resize_given ? "resize" : "precision")
                   : SR_OK;
    }
    sr_status status = names_inception(name) ? load_inception(v, name, &net, out)
                                             : load_classifier(v, name, &net, out);
    if (status == SR_OK)
        status = check_shape(&net, real);
    if (status == SR_OK)
        status = check_shape(&net, fake);
    out->dim = net.dim;
    if (status == SR_OK)
        status = replace(v, &net, out, real);
    if (status == SR_OK)
        status = replace(v, &net, out, fake);
    network_clear(&net);
    return status;
}
