// Measures engines on the layers of a network and remembers the result.
//
// The file: $XDG_CACHE_HOME/shortrun/tuning.txt (else ~/.cache/shortrun/tuning.txt), text. Its
// first line names the program's version, the CPU, the instruction set and oneDNN's version; where
// one differs, the file is begun anew. Then a line for each measurement: a key, a tab, numbers.
// What cannot be written is measured again by the next process.
#include "net/tuning.h"

#include "kernels/chain.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_SIZE 192
#define FILE_LIMIT (1 << 20) // bytes that are read of the file
#define ENTRIES_MAX 4096
// A measurement is repeated for about so long, and at least so often; the shortest run counts.
#define SECONDS 0.03
#define RUNS_LEAST 3
// oneDNN must win by so much to be taken: a choice should not hang on the noise of a clock.
#define MARGIN 1.1
// Nanoseconds to bring one value into another engine's layout and its gradient back; measured on
// AVX-512 machines, where it lies between 1 and 3.
#define LAYOUT_NS 3.0

typedef struct entry {
    char key[KEY_SIZE];
    double value[SR_DIRECTION_COUNT]; // nanoseconds a sample; or a tile, 0, 0
} entry;

static struct {
    pthread_mutex_t lock;
    bool loaded;
    entry *at; // (capacity)
    size_t count, capacity;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

// ---- the file -----------------------------------------------------------------------------------

// Empty where no folder is known.
static void file_name(char *out, size_t size, bool make) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[1024] = "";
    if (cache && cache[0] == '/')
        snprintf(folder, sizeof folder, "%s/shortrun", cache);
    else if (home && home[0] == '/')
        snprintf(folder, sizeof folder, "%s/.cache/shortrun", home);
    out[0] = '\0';
    if (folder[0] && (!make || sr_folder_make(folder) == SR_OK))
        snprintf(out, size, "%s/tuning.txt", folder);
}

static void header(char *out, size_t size) {
    const sr_cpu *cpu = sr_cpu_get();
    snprintf(out, size, "shortrun %s tuning, %s, %s, oneDNN %s", SR_VERSION, cpu->brand,
             sr_isa_name(cpu->active), sr_engine_version(SR_ENGINE_ONEDNN));
}

static bool remember(const char *key, const double value[SR_DIRECTION_COUNT]) {
    if (memory.count == ENTRIES_MAX || strlen(key) >= KEY_SIZE)
        return false;
    if (memory.count == memory.capacity) {
        const size_t capacity = memory.capacity ? 2 * memory.capacity : 64;
        entry *grown = sr_realloc(memory.at, memory.capacity, capacity, sizeof *grown);
        if (!grown)
            return false;
        memory.at = grown;
        memory.capacity = capacity;
    }
    entry *e = &memory.at[memory.count++];
    snprintf(e->key, sizeof e->key, "%s", key);
    memcpy(e->value, value, sizeof e->value);
    return true;
}

static const double *recall(const char *key) {
    for (size_t i = 0; i < memory.count; i++)
        if (strcmp(memory.at[i].key, key) == 0)
            return memory.at[i].value;
    return NULL;
}

// Lines that make no sense are passed over: the worst that a damaged file does is a new
// measurement.
static void load_line(char *line) {
    char *tab = strchr(line, '\t');
    double value[SR_DIRECTION_COUNT];
    if (!tab)
        return;
    *tab = '\0';
    if (sscanf(tab + 1, "%lf %lf %lf", &value[0], &value[1], &value[2]) != SR_DIRECTION_COUNT)
        return;
    for (int i = 0; i < SR_DIRECTION_COUNT; i++)
        if (!(value[i] >= 0 && value[i] < 1e15))
            return;
    if (!recall(line))
        remember(line, value);
}

static void load(void) {
    char path[1100], expected[512], *next;
    void *bytes;
    size_t size;
    memory.loaded = true;
    file_name(path, sizeof path, false);
    header(expected, sizeof expected);
    if (!path[0] || !sr_file_exists(path) || sr_file_read(path, FILE_LIMIT, &bytes, &size) != SR_OK)
        return;
    char *line = strtok_r(bytes, "\n", &next);
    if (line && strcmp(line, expected) == 0)
        while ((line = strtok_r(NULL, "\n", &next)))
            load_line(line);
    sr_free(bytes);
}

// Reads the file at the first use. What would not fit with one more network is begun anew.
static void open_memory(void) {
    if (!memory.loaded)
        load();
    if (memory.count + 2 * SR_MAX_LAYERS + 1 > ENTRIES_MAX)
        memory.count = 0;
}

// Nothing is lost where it fails: the measurements stay in memory.
static void save(void) {
    char path[1100], first[512];
    sr_text text = {0};
    file_name(path, sizeof path, true);
    if (!path[0])
        return;
    header(first, sizeof first);
    sr_text_append(&text, "%s\n", first);
    for (size_t i = 0; i < memory.count; i++) {
        const entry *e = &memory.at[i];
        sr_text_append(&text, "%s\t%.6g %.6g %.6g\n", e->key, e->value[0], e->value[1],
                       e->value[2]);
    }
    if (sr_text_status(&text) == SR_OK)
        (void)sr_file_write(path, sr_text_string(&text), text.length);
    sr_text_clear(&text);
}

void sr_tuning_forget(void) {
    char path[1100];
    pthread_mutex_lock(&memory.lock);
    file_name(path, sizeof path, false);
    if (path[0])
        (void)unlink(path);
    memory.count = 0;
    memory.loaded = true;
    pthread_mutex_unlock(&memory.lock);
}

void sr_tuning_reload(void) {
    pthread_mutex_lock(&memory.lock);
    memory.count = 0;
    memory.loaded = false;
    pthread_mutex_unlock(&memory.lock);
}

// ---- measuring ----------------------------------------------------------------------------------

static void layer_key(const sr_layer *layer, size_t rows, sr_precision precision, sr_engine engine,
                      char out[KEY_SIZE]) {
    const sr_conv_shape *s = &layer->shape;
    snprintf(out, KEY_SIZE,
             "%s %zux%zux%zu to %zu kernel %zux%zu stride %zu padding %zu %s, %zu rows, %s, %s",
             layer->dense ? "dense" : "conv", s->in_channels, s->in_height, s->in_width,
             s->out_channels, s->kernel_height, s->kernel_width, s->stride, s->padding,
             sr_activation_name(layer->activation), rows, sr_precision_name(precision),
             sr_engine_name(engine));
}

// One chain of the whole network and the arrays that it works on.
typedef struct subject {
    const sr_chain_ops *ops;
    void *chain, *state;
    float *theta, *x, *seed, *out, *dx, *dtheta;
} subject;

static void subject_clear(subject *s) {
    if (s->chain) {
        s->ops->state_destroy(s->state);
        s->ops->destroy(s->chain);
    }
    sr_free(s->theta);
    sr_free(s->x);
    sr_free(s->seed);
    sr_free(s->out);
    sr_free(s->dx);
    sr_free(s->dtheta);
}

static sr_status subject_make(const sr_net *net, size_t rows, sr_precision precision,
                              sr_engine engine, subject *s) {
    *s = (subject){.ops = sr_chain_ops_for(engine)};
    s->theta = sr_alloc(net->parameters, sizeof(float));
    s->dtheta = sr_alloc(net->parameters, sizeof(float));
    s->x = sr_alloc(rows * net->inputs, sizeof(float));
    s->dx = sr_alloc(rows * net->inputs, sizeof(float));
    s->seed = sr_alloc(rows * net->outputs, sizeof(float));
    s->out = sr_alloc(rows * net->outputs, sizeof(float));
    if (!s->theta || !s->dtheta || !s->x || !s->dx || !s->seed || !s->out)
        return SR_ERROR_MEMORY;
    sr_net_init(net, 1, s->theta);
    sr_kernels_get()->normal(sr_stream_make(1, SR_PURPOSE_TEST, 0), 0, 0, rows * net->inputs, s->x);
    for (size_t i = 0; i < rows * net->outputs; i++)
        s->seed[i] = 1.0f;
    sr_status status = s->ops->create(net->layers, net->layer_count, rows, precision, &s->chain);
    if (!status)
        status = s->ops->state_create(s->chain, &s->state);
    if (!status)
        s->ops->set_weights(s->chain, s->theta);
    return status;
}

// Shortest seconds of every layer and direction, (layer_count, SR_DIRECTION_COUNT); of
// backward-weights only if `weights`.
static void subject_time(const subject *s, const sr_net *net, size_t rows, bool weights,
                         double *best) {
    const size_t slots = net->layer_count * SR_DIRECTION_COUNT;
    double now[SR_MAX_LAYERS * SR_DIRECTION_COUNT];
    for (size_t i = 0; i < slots; i++)
        best[i] = INFINITY;
    const double start = sr_seconds();
    for (int run = 0; run < RUNS_LEAST || sr_seconds() - start < SECONDS; run++) {
        memset(now, 0, sizeof now);
        s->ops->time_layers(s->state, now);
        s->ops->forward(s->chain, s->state, rows, s->x, s->out);
        s->ops->backward_data(s->chain, s->state, rows, s->seed, s->dx);
        if (weights)
            s->ops->backward_weights(s->chain, s->state, rows, s->dtheta);
        for (size_t i = 0; run > 0 && i < slots; i++) // the first run warms the caches
            best[i] = now[i] < best[i] ? now[i] : best[i];
    }
    s->ops->time_layers(s->state, NULL);
}

// Measures what is not known yet of one engine.
static sr_status measure_engine(const sr_net *net, size_t rows, sr_precision precision,
                                sr_engine engine, bool *measured) {
    char key[KEY_SIZE];
    double best[SR_MAX_LAYERS * SR_DIRECTION_COUNT];
    bool known = true;
    for (size_t l = 0; l < net->layer_count && known; l++) {
        layer_key(&net->layers[l], rows, precision, engine, key);
        known = recall(key) != NULL;
    }
    if (known)
        return SR_OK;
    subject s;
    sr_status status = subject_make(net, rows, precision, engine, &s);
    if (!status)
        subject_time(&s, net, rows, true, best);
    subject_clear(&s);
    for (size_t l = 0; !status && l < net->layer_count; l++) {
        double *value = best + l * SR_DIRECTION_COUNT;
        for (int d = 0; d < SR_DIRECTION_COUNT; d++)
            value[d] *= 1e9 / (double)rows;
        layer_key(&net->layers[l], rows, precision, engine, key);
        if (!recall(key))
            remember(key, value);
    }
    *measured = true;
    return status;
}

// A step of the sampler: forward and backward-data.
static double layer_cost(const sr_layer *layer, size_t rows, sr_precision precision,
                         sr_engine engine) {
    char key[KEY_SIZE];
    layer_key(layer, rows, precision, engine, key);
    const double *value = recall(key);
    return value ? value[SR_FORWARD] + value[SR_BACKWARD_DATA] : INFINITY;
}

// The cheapest assignment of two engines to the layers, by dynamic programming from the end:
// cost[l][e] is that of the layers from l on, with l on engine e.
static void choose(const sr_net *net, size_t rows, sr_precision precision,
                   const sr_engine candidates[2], sr_engine *engines) {
    double cost[SR_MAX_LAYERS + 1][2] = {{0}};
    int next[SR_MAX_LAYERS + 1][2] = {{0}};
    for (size_t l = net->layer_count; l-- > 0;) {
        const double change = LAYOUT_NS * (double)sr_layer_outputs(&net->layers[l]);
        for (int e = 0; e < 2; e++) {
            const double stay = cost[l + 1][e];
            const double other = l + 1 < net->layer_count ? cost[l + 1][1 - e] + change : INFINITY;
            next[l][e] = other < stay ? 1 - e : e;
            cost[l][e] = layer_cost(&net->layers[l], rows, precision, candidates[e]) *
                             (candidates[e] == SR_ENGINE_ONEDNN ? MARGIN : 1.0) +
                         (other < stay ? other : stay);
        }
    }
    int e = cost[0][1] < cost[0][0] ? 1 : 0;
    for (size_t l = 0; l < net->layer_count; l++) {
        engines[l] = candidates[e];
        e = next[l][e];
    }
}

static void all(const sr_net *net, sr_engine engine, sr_engine *engines) {
    for (size_t l = 0; l < net->layer_count; l++)
        engines[l] = engine;
}

sr_status sr_tuning_engines(const sr_net *net, size_t rows, sr_precision precision,
                            sr_engine *engines) {
    const sr_engine candidates[2] = {SR_ENGINE_NATIVE, SR_ENGINE_ONEDNN};
    if (!sr_engine_available(SR_ENGINE_ONEDNN) ||
        !sr_precision_available(SR_ENGINE_ONEDNN, precision)) {
        all(net, SR_ENGINE_NATIVE, engines);
        return SR_OK;
    }
    if (sr_cpu_get()->active == SR_ISA_SCALAR) { // plain C loses without being asked
        all(net, SR_ENGINE_ONEDNN, engines);
        return SR_OK;
    }
    bool measured = false;
    sr_status status = SR_OK;
    pthread_mutex_lock(&memory.lock);
    open_memory();
    for (int e = 0; e < 2 && !status; e++)
        status = measure_engine(net, rows, precision, candidates[e], &measured);
    if (!status)
        choose(net, rows, precision, candidates, engines);
    if (!status && measured)
        save();
    pthread_mutex_unlock(&memory.lock);
    return status;
}

// ---- the tile -----------------------------------------------------------------------------------

// Nanoseconds a sample of forward and backward-data with `rows` at a time.
static sr_status time_tile(const sr_net *net, size_t rows, sr_precision precision, double *out) {
    double best[SR_MAX_LAYERS * SR_DIRECTION_COUNT];
    subject s;
    sr_status status = subject_make(net, rows, precision, SR_ENGINE_NATIVE, &s);
    if (!status)
        subject_time(&s, net, rows, false, best);
    subject_clear(&s);
    *out = 0;
    for (size_t l = 0; !status && l < net->layer_count; l++)
        *out += best[l * SR_DIRECTION_COUNT + SR_FORWARD] +
                best[l * SR_DIRECTION_COUNT + SR_BACKWARD_DATA];
    *out *= 1e9 / (double)rows;
    return status;
}

// A wider tile must win by so much: narrow ones spread better over threads.
#define TILE_MARGIN 1.03

sr_status sr_tuning_tile(const sr_net *net, sr_precision precision, size_t *tile) {
    static const size_t tiles[] = {16, 32, 64};
    char key[KEY_SIZE];
    sr_text text = {0};
    *tile = tiles[0];
    if (sr_cpu_get()->active == SR_ISA_SCALAR)
        return SR_OK;
    for (size_t l = 0; l < net->layer_count; l++) {
        layer_key(&net->layers[l], 0, precision, SR_ENGINE_NATIVE, key);
        sr_text_append(&text, "%s\n", key);
    }
    char hash[33];
    sr_hash_hex(sr_text_string(&text), text.length, hash);
    snprintf(key, sizeof key, "tile of the network %s", hash);
    sr_text_clear(&text);
    pthread_mutex_lock(&memory.lock);
    open_memory();
    const double *known = recall(key);
    sr_status status = SR_OK;
    if (known) {
        *tile = known[0] == 64.0 ? 64 : known[0] == 32.0 ? 32 : 16;
    } else {
        double least = INFINITY;
        for (size_t i = 0; i < sizeof tiles / sizeof *tiles && !status; i++) {
            double now;
            status = time_tile(net, tiles[i], precision, &now);
            if (!status && now * TILE_MARGIN < least) {
                least = now;
                *tile = tiles[i];
            }
        }
        const double value[SR_DIRECTION_COUNT] = {(double)*tile, 0, 0};
        if (!status && remember(key, value))
            save();
    }
    pthread_mutex_unlock(&memory.lock);
    return status;
}
