// The Inception-v3 feature network in use: images in, the 2048 means of its last maps out. Threads
// take tiles of images; the features of an image depend on nothing else, so that neither the tiles
// nor the threads are seen in them.
#include "quality/inception.h"
#include "quality/feature_files.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Images that one thread takes at a time: the weights (95 MB in fp32) are read once a tile, while
// the activations of a tile (11 MB an image in fp32) should stay in the last cache.
#define TILE 4

// What one thread works in.
typedef struct worker {
    sr_graph_state *state;
    float *inputs; // (TILE, 3, 299, 299)
    float *maps;   // (TILE, features, 8, 8)
} worker;

struct sr_inception {
    sr_precision precision;
    unsigned threads;
    sr_graph *graph;
    worker *workers;              // (threads), made when they are first needed
    sr_inception_weights weights; // theta is in the graph, and released
};

#define INPUT ((size_t)3 * SR_INCEPTION_PIXELS)
#define MAPS ((size_t)SR_INCEPTION_FEATURES * SR_INCEPTION_MAP)

static sr_status prepare(sr_inception *s, const sr_inception_net *net) {
    s->workers = sr_alloc(s->threads, sizeof *s->workers);
    if (!s->workers)
        return SR_ERROR_MEMORY;
    sr_status status = sr_graph_create(net->tensors, net->tensor_count, net->output, net->nodes,
                                       net->node_count, s->precision, s->weights.theta, &s->graph);
    sr_free(s->weights.theta);
    s->weights.theta = NULL;
    return status;
}

static sr_status worker_create(const sr_inception *s, worker *w) {
    if (w->state)
        return SR_OK;
    if (!w->inputs)
        w->inputs = sr_alloc(TILE, INPUT * sizeof(float));
    if (!w->maps)
        w->maps = sr_alloc(TILE, MAPS * sizeof(float));
    if (!w->inputs || !w->maps)
        return SR_ERROR_MEMORY;
    return sr_graph_state_create(s->graph, TILE, &w->state);
}

sr_status sr_inception_load(const char *path, sr_precision precision, unsigned threads,
                            sr_inception **out) {
    *out = NULL;
    sr_inception *s = sr_alloc(1, sizeof *s);
    sr_inception_net *net = sr_alloc(1, sizeof *net);
    sr_status status = SR_ERROR_MEMORY;
    if (s && net) {
        s->precision = precision;
        s->threads = sr_threads_resolve(threads);
        sr_inception_describe(net);
        status = sr_inception_weights_load(net, path, &s->weights);
    }
    if (status == SR_OK)
        status = prepare(s, net);
    sr_free(net);
    if (status != SR_OK) {
        sr_inception_destroy(s);
        return status;
    }
    *out = s;
    return SR_OK;
}

void sr_inception_destroy(sr_inception *inception) {
    if (!inception)
        return;
    for (unsigned t = 0; t < inception->threads && inception->workers; t++) {
        sr_graph_state_destroy(inception->workers[t].state);
        sr_free(inception->workers[t].inputs);
        sr_free(inception->workers[t].maps);
    }
    sr_free(inception->workers);
    sr_graph_destroy(inception->graph);
    sr_inception_weights_clear(&inception->weights);
    sr_free(inception);
}

const char *sr_inception_hash(const sr_inception *inception) {
    return inception->weights.hash;
}

const char *sr_inception_source(const sr_inception *inception) {
    return inception->weights.source_sha256;
}

sr_precision sr_inception_precision(const sr_inception *inception) {
    return inception->precision;
}

const float *sr_inception_logit_bias(const sr_inception *inception) {
    return inception->weights.bias;
}

sr_status sr_inception_check(size_t channels, size_t height, size_t width) {
    if (channels != 1 && channels != 3)
        return sr_fail(SR_ERROR_ARGUMENT, "images of %zu channels, Inception-v3 expects 1 or 3",
                       channels);
    if (height < 1 || width < 1 || height > SR_INCEPTION_LARGEST || width > SR_INCEPTION_LARGEST)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "images of %zu x %zu pixels, Inception-v3 expects 1 to %d each way", height,
                       width, SR_INCEPTION_LARGEST);
    return SR_OK;
}

// features (features) of maps (features, 8, 8): means, summed in double in the order of the pixels.
static void means(const float *maps, float *features) {
    for (size_t f = 0; f < SR_INCEPTION_FEATURES; f++) {
        double sum = 0;
        for (size_t p = 0; p < SR_INCEPTION_MAP; p++)
            sum += maps[f * SR_INCEPTION_MAP + p];
        features[f] = (float)(sum / SR_INCEPTION_MAP);
    }
}

// logits (logits) of features (features). Eight partial sums, so that the compiler may use vectors.
static void dense(const sr_inception *s, const float *features, float *logits) {
    for (size_t o = 0; o < SR_INCEPTION_LOGITS; o++) {
        const float *w = s->weights.logits + o * SR_INCEPTION_FEATURES;
        double part[8] = {0}, sum = s->weights.bias[o];
        for (size_t f = 0; f < SR_INCEPTION_FEATURES; f += 8)
            for (size_t i = 0; i < 8; i++)
                part[i] += (double)w[f + i] * features[f + i];
        for (size_t i = 0; i < 8; i++)
            sum += part[i];
        logits[o] = (float)sum;
    }
}

// What a call works on.
typedef struct job {
    size_t n, channels, tile;
    const float *x;
    const sr_resizer *resizer;
    float *scratch; // (threads, sr_resizer_scratch)
    float *features, *logits;
} job;

static sr_status run_tile(const sr_inception *s, const job *j, size_t thread, size_t first) {
    const size_t rows = j->n - first < j->tile ? j->n - first : j->tile;
    const size_t image = j->channels * j->resizer->height * j->resizer->width;
    const worker *w = &s->workers[thread];
    float *scratch = j->scratch + thread * sr_resizer_scratch(j->resizer);
    for (size_t i = 0; i < rows; i++)
        sr_resizer_run(j->resizer, j->channels, j->x + (first + i) * image, scratch,
                       w->inputs + i * INPUT);
    sr_status status = sr_graph_run(s->graph, w->state, rows, w->inputs, w->maps);
    for (size_t i = 0; i < rows && status == SR_OK; i++) {
        float *features = j->features + (first + i) * SR_INCEPTION_FEATURES;
        means(w->maps + i * MAPS, features);
        if (j->logits)
            dense(s, features, j->logits + (first + i) * SR_INCEPTION_LOGITS);
    }
    return status;
}

static sr_status run(sr_inception *s, const job *j) {
    const size_t tiles = (j->n + j->tile - 1) / j->tile;
    const unsigned threads = tiles < s->threads ? (unsigned)tiles : s->threads;
    for (unsigned t = 0; t < threads; t++) {
        sr_status status = worker_create(s, &s->workers[t]);
        if (status != SR_OK)
            return status;
    }
    char message[256] = ""; // what a thread recorded is not seen by the others
    sr_status failure = SR_OK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < tiles; t++) {
        sr_status status = run_tile(s, j, (size_t)omp_get_thread_num(), t * j->tile);
        if (status != SR_OK) {
#pragma omp critical(sr_inception_failure)
            {
                failure = status;
                snprintf(message, sizeof message, "%s", sr_error_message());
            }
        }
    }
    return failure == SR_OK ? SR_OK : sr_fail(failure, "%s", message);
}

sr_status sr_inception_features_of(sr_inception *inception, size_t n, size_t channels,
                                   size_t height, size_t width, const float *x, sr_resize resize,
                                   float *features, float *logits) {
    sr_status status = sr_inception_check(channels, height, width);
    if (status != SR_OK || n == 0)
        return status;
    const size_t image = channels * height * width;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < image; d++)
            if (!isfinite(x[i * image + d]))
                return sr_fail(SR_ERROR_ARGUMENT,
                               "images: image %zu, value %zu is %g, expected a finite number", i, d,
                               (double)x[i * image + d]);
    sr_resizer resizer;
    status = sr_resizer_create(resize, height, width, &resizer);
    if (status != SR_OK)
        return status;
    const size_t threads = inception->threads, share = (n + threads - 1) / threads;
    job j = {.n = n,
             .channels = channels,
             .tile = share < 1      ? 1
                     : share < TILE ? share
                                    : TILE, // few images: all threads work
             .x = x,
             .resizer = &resizer,
             .features = features,
             .logits = logits};
    j.scratch = sr_alloc(threads, sr_resizer_scratch(&resizer) * sizeof(float));
    status = j.scratch ? run(inception, &j) : SR_ERROR_MEMORY;
    sr_free(j.scratch);
    sr_resizer_clear(&resizer);
    return status;
}

sr_status sr_inception_find(char *path, size_t size) {
    sr_text searched = {0};
    sr_status status = SR_OK;
    if (!sr_feature_file_find("inception", path, size, &searched))
        status = sr_fail(SR_ERROR_IO,
                         "no weights of Inception-v3 (searched: %s); get them with 'curl -LO "
                         "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                         "pt_inception-2015-12-05-6726825d.pth', convert them with "
                         "'scripts/convert_inception.py pt_inception-2015-12-05-6726825d.pth "
                         "inception.safetensors' and name the file in SHORTRUN_FEATURES",
                         sr_text_string(&searched));
    sr_text_clear(&searched);
    return status;
}
