// Training of a feature network: softmax cross-entropy, Adam, a rate that falls linearly to 0. A
// batch is cut into fixed shards; each has its own gradient, and they are added in order, so that
// the weights do not depend on the number of threads.
#include "classifier.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#define SHARD 16         // images per shard: enough for the kernels, and 8 shards in a batch of 128
#define REPORT_EVERY 20  // iterations between progress reports
#define SCALE_ROWS 10000 // images that the scale of the features is taken from

void sr_classifier_options_default(sr_classifier_options *options) {
    *options = (sr_classifier_options){
        .nf = 16, .features = 64, .epochs = 10, .batch = 128, .rate = 2e-3, .seed = 1};
}

double sr_cross_entropy(size_t n, size_t classes, const float *logits, const uint8_t *labels,
                        double scale, float *seed) {
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        const float *z = logits + i * classes;
        double largest = z[0], sum = 0;
        for (size_t c = 1; c < classes; c++)
            largest = z[c] > largest ? z[c] : largest;
        for (size_t c = 0; c < classes; c++)
            sum += exp(z[c] - largest);
        loss += log(sum) - (z[labels[i]] - largest);
        for (size_t c = 0; c < classes && seed; c++)
            seed[i * classes + c] =
                (float)(scale * (exp(z[c] - largest) / sum - (c == labels[i] ? 1.0 : 0.0)));
    }
    return loss;
}

double sr_top_one(size_t n, size_t classes, const float *logits, const uint8_t *labels) {
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (logits[i * classes + c] > logits[i * classes + best])
                best = c;
        right += best == labels[i];
    }
    return (double)right / (double)n;
}

// What one shard's backward pass needs to know and leaves behind.
typedef struct shard_loss {
    const uint8_t *labels;
    size_t classes;
    double scale, loss;
} shard_loss;

static void loss_callback(void *user, size_t n, const float *out, float *seed) {
    shard_loss *shard = user;
    shard->loss = sr_cross_entropy(n, shard->classes, out, shard->labels, shard->scale, seed);
}

// Everything that training keeps between iterations.
typedef struct training {
    sr_net net;
    const sr_dataset *set;
    const sr_classifier_options *options;
    unsigned threads;
    size_t shards;
    sr_plan *plan;
    sr_workspace **workspaces; // (threads)
    float *theta, *m, *v;      // (parameters)
    float *gradients;          // (shards, parameters); the first becomes the sum
    float *x;                  // (batch, inputs)
    uint8_t *labels;           // (batch)
    shard_loss *losses;        // (shards)
} training;

static void training_clear(training *t) {
    for (unsigned i = 0; i < t->threads && t->workspaces; i++)
        sr_workspace_destroy(t->workspaces[i]);
    sr_free(t->workspaces);
    sr_plan_destroy(t->plan);
    sr_free(t->theta);
    sr_free(t->m);
    sr_free(t->v);
    sr_free(t->gradients);
    sr_free(t->x);
    sr_free(t->labels);
    sr_free(t->losses);
}

static sr_status training_create(const sr_dataset *set, const sr_classifier_options *options,
                                 training *t) {
    *t =
        (training){.set = set, .options = options, .threads = sr_threads_resolve(options->threads)};
    t->shards = (options->batch + SHARD - 1) / SHARD;
    sr_status status = sr_net_classifier(&t->net, set->channels, set->height, options->nf,
                                         options->features, set->classes, SR_LEAKY_RELU);
    if (status == SR_OK)
        status = sr_plan_create(&t->net, SHARD, options->engine, SR_FP32, &t->plan);
    if (status != SR_OK)
        return status;
    size_t p = t->net.parameters;
    t->workspaces = sr_alloc(t->threads, sizeof *t->workspaces);
    t->theta = sr_alloc(p, sizeof(float));
    t->m = sr_alloc(p, sizeof(float));
    t->v = sr_alloc(p, sizeof(float));
    t->gradients = sr_alloc(t->shards, p * sizeof(float));
    t->x = sr_alloc(options->batch, t->net.inputs * sizeof(float));
    t->labels = sr_alloc(options->batch, 1);
    t->losses = sr_alloc(t->shards, sizeof *t->losses);
    if (!t->workspaces || !t->theta || !t->m || !t->v || !t->gradients || !t->x || !t->labels ||
        !t->losses)
        return SR_ERROR_MEMORY;
    for (unsigned i = 0; i < t->threads; i++)
        if ((status = sr_workspace_create(t->plan, &t->workspaces[i])) != SR_OK)
            return status;
    sr_net_init(&t->net, options->seed, t->theta);
    return SR_OK;
}

// One iteration, numbered from 0; returns the batch's mean loss.
static double training_step(training *t, uint64_t iteration, double rate) {
    size_t batch = t->options->batch, p = t->net.parameters;
    sr_dataset_batch(t->set, t->options->seed, iteration, batch, 0, t->x, t->labels);
    sr_plan_set_weights(t->plan, t->theta);
#pragma omp parallel for schedule(dynamic) num_threads(t->threads)
    for (size_t s = 0; s < t->shards; s++) {
        size_t first = s * SHARD, rows = batch - first < SHARD ? batch - first : SHARD;
        t->losses[s] = (shard_loss){
            .labels = t->labels + first, .classes = t->net.outputs, .scale = 1.0 / (double)batch};
        sr_plan_gradient_theta(t->plan, t->workspaces[omp_get_thread_num()], rows,
                               t->x + first * t->net.inputs, NULL, loss_callback, &t->losses[s],
                               NULL, t->gradients + s * p);
    }
    double loss = 0;
    for (size_t s = 0; s < t->shards; s++) {
        loss += t->losses[s].loss;
        for (size_t i = 0; i < p && s > 0; i++)
            t->gradients[i] += t->gradients[s * p + i];
    }
    sr_kernels_get()->adam(p, t->theta, t->gradients, t->m, t->v, (float)rate, 0.9f, 0.999f, 1e-8f,
                           iteration + 1);
    return loss / (double)batch;
}

static sr_status training_run(training *t, const sr_monitor *monitor) {
    const sr_classifier_options *o = t->options;
    size_t per_epoch = t->set->count / o->batch, iterations = per_epoch * o->epochs;
    char what[96], detail[96];
    snprintf(what, sizeof what, "feature network for %s", t->set->name);
    for (size_t i = 0; i < iterations; i++) {
        if (sr_monitor_stop(monitor))
            return sr_fail(SR_ERROR_INTERRUPTED, "%s: stopped at iteration %zu of %zu", what, i,
                           iterations);
        double loss = training_step(t, i, o->rate * (1 - (double)i / (double)iterations));
        if (!isfinite(loss))
            return sr_fail(SR_ERROR_DIVERGED, "%s: the loss is %g at iteration %zu", what, loss,
                           i + 1);
        if ((i + 1) % REPORT_EVERY == 0 || i + 1 == iterations) {
            snprintf(detail, sizeof detail, "epoch %zu/%zu loss %.3f", i / per_epoch + 1, o->epochs,
                     loss);
            sr_monitor_progress(monitor, what, detail, (double)(i + 1), (double)iterations);
        }
    }
    return SR_OK;
}

static sr_status check_set(const char *role, const sr_dataset *set) {
    if (!set->labels || set->classes < 2)
        return sr_fail(SR_ERROR_ARGUMENT, "%s set %s has no labels, which a feature network needs",
                       role, set->name);
    if (set->height != set->width)
        return sr_fail(SR_ERROR_ARGUMENT, "%s set %s: images of %zu x %zu, expected square ones",
                       role, set->name, set->height, set->width);
    if (set->count == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "%s set %s is empty", role, set->name);
    for (size_t i = 0; i < set->count; i++)
        if (set->labels[i] >= set->classes)
            return sr_fail(SR_ERROR_ARGUMENT,
                           "%s set %s: label %u of image %zu, expected below %zu", role, set->name,
                           set->labels[i], i, set->classes);
    return SR_OK;
}

static sr_status check(const sr_dataset *train, const sr_dataset *test,
                       const sr_classifier_options *o) {
    sr_status status = check_set("training", train);
    if (status == SR_OK && test)
        status = check_set("test", test);
    if (status != SR_OK)
        return status;
    if (test && (test->channels != train->channels || test->height != train->height ||
                 test->classes != train->classes))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "test set: %zu x %zu x %zu, %zu classes, expected %zu x %zu x "
                       "%zu, %zu classes as in the training set",
                       test->channels, test->height, test->width, test->classes, train->channels,
                       train->height, train->width, train->classes);
    if (o->nf == 0 || o->features == 0 || o->epochs == 0 || o->batch == 0 || !(o->rate > 0) ||
        !isfinite(o->rate))
        return sr_fail(SR_ERROR_ARGUMENT,
                       "feature network: nf %zu, features %zu, epochs %zu, batch %zu, "
                       "rate %g, expected positive numbers",
                       o->nf, o->features, o->epochs, o->batch, o->rate);
    if (o->batch > train->count)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "feature network: a batch of %zu, but %zu training images", o->batch,
                       train->count);
    return SR_OK;
}

sr_status sr_classifier_unit_variance(sr_classifier *c, size_t n, const float *x) {
    const sr_layer *inner = &c->net.layers[c->net.layer_count - 2], *last = inner + 1;
    size_t width = c->body.outputs;
    n = n < SCALE_ROWS ? n : SCALE_ROWS;
    float *features = sr_alloc(n, width * sizeof(float));
    if (!features)
        return SR_ERROR_MEMORY;
    sr_status status = sr_classifier_features_of(c, n, x, features, NULL);
    double sum = 0;
    for (size_t f = 0; f < width && status == SR_OK; f++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++)
            mean += features[i * width + f] / (double)n;
        for (size_t i = 0; i < n; i++)
            sum += (features[i * width + f] - mean) * (features[i * width + f] - mean);
    }
    sr_free(features);
    double deviation = sqrt(sum / ((double)n * (double)width));
    if (status != SR_OK || !(deviation > 0))
        return status;
    for (size_t i = inner->weight; i < last->weight; i++)
        c->theta[i] = (float)(c->theta[i] / deviation);
    for (size_t i = last->weight; i < last->bias; i++)
        c->theta[i] = (float)(c->theta[i] * deviation);
    sr_plan_set_weights(c->plan, c->theta);
    sr_hash_hex(c->theta, c->net.parameters * sizeof(float), c->hash);
    return SR_OK;
}

// Accuracy on a set, features and logits discarded.
static sr_status measure(sr_classifier *c, const sr_dataset *set, double *accuracy) {
    float *features = sr_alloc(set->count, c->body.outputs * sizeof(float));
    float *logits = sr_alloc(set->count, c->net.outputs * sizeof(float));
    sr_status status = SR_ERROR_MEMORY;
    if (features && logits)
        status = sr_classifier_features_of(c, set->count, set->x, features, logits);
    if (status == SR_OK)
        *accuracy = sr_top_one(set->count, c->net.outputs, logits, set->labels);
    sr_free(features);
    sr_free(logits);
    return status;
}

sr_status sr_classifier_train(const sr_dataset *train, const sr_dataset *test,
                              const sr_classifier_options *options, const sr_monitor *monitor,
                              sr_classifier **out, double *accuracy) {
    *out = NULL;
    if (accuracy)
        *accuracy = NAN;
    sr_status status = check(train, test, options);
    if (status != SR_OK)
        return status;
    training t = {0};
    sr_classifier *c = NULL;
    status = training_create(train, options, &t);
    if (status == SR_OK)
        status = training_run(&t, monitor);
    if (status == SR_OK)
        status = sr_classifier_create(&t.net, t.theta, options->engine, options->threads, &c);
    if (status == SR_OK)
        status = sr_classifier_unit_variance(c, train->count, train->x);
    if (status == SR_OK && test)
        status = measure(c, test, &c->accuracy);
    training_clear(&t);
    if (status != SR_OK) {
        sr_classifier_destroy(c);
        return status;
    }
    snprintf(c->dataset, sizeof c->dataset, "%s", train->name);
    snprintf(c->data_hash, sizeof c->data_hash, "%s", train->hash);
    c->train_count = train->count;
    c->epochs = options->epochs;
    c->seed = options->seed;
    if (accuracy)
        *accuracy = c->accuracy;
    *out = c;
    return SR_OK;
}
