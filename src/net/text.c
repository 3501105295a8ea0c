// Networks as text: "convnet:channels=1,size=28,nf=8,activation=silu" and the same keys as metadata
// of safetensors files, so that a file of weights describes itself.
#include <shortrun/net.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const arch_names[] = {"custom", "mlp", "convnet", "classifier"};

// The keys of each architecture, in the order in which they are written.
static const char *const arch_keys[][8] = {
    [SR_ARCH_CUSTOM] = {NULL},
    [SR_ARCH_MLP] = {"dim", "widths", "activation", "outputs", NULL},
    [SR_ARCH_CONVNET] = {"channels", "size", "nf", "activation", NULL},
    [SR_ARCH_CLASSIFIER] = {"channels", "size", "nf", "features", "classes", "activation", NULL},
};

// Where a key's value comes from: NULL where it is absent.
typedef const char *(*lookup)(const void *source, const char *key);

static sr_status take_size(lookup find, const void *source, const char *arch, const char *key,
                           size_t *out) {
    const char *text = find(source, key);
    if (!text)
        return sr_fail(SR_ERROR_ARGUMENT, "model %s: '%s' is missing", arch, key);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value > 1u << 24)
        return sr_fail(SR_ERROR_ARGUMENT, "model %s: %s = '%s' is not a whole number of 0 to %u",
                       arch, key, text, 1u << 24);
    *out = (size_t)value;
    return SR_OK;
}

// Whole numbers between 'x' or ','.
static sr_status take_widths(lookup find, const void *source, size_t widths[SR_MAX_LAYERS],
                             size_t *count) {
    const char *text = find(source, "widths");
    *count = 0;
    if (!text)
        return sr_fail(SR_ERROR_ARGUMENT, "model mlp: 'widths' is missing (like widths=128x128)");
    for (const char *at = text;;) {
        char *end;
        unsigned long long value = strtoull(at, &end, 10);
        if (*at < '0' || *at > '9' || value == 0 || value > 1u << 16 ||
            (*end && *end != 'x' && *end != ','))
            return sr_fail(SR_ERROR_ARGUMENT,
                           "model mlp: widths = '%s'; expected numbers of 1 to 65536 like 128x128",
                           text);
        if (*count == SR_MAX_LAYERS - 1)
            return sr_fail(SR_ERROR_ARGUMENT, "model mlp: more than %d widths", SR_MAX_LAYERS - 1);
        widths[(*count)++] = (size_t)value;
        if (!*end)
            return SR_OK;
        at = end + 1;
    }
}

static sr_status net_from(lookup find, const void *source, const char *arch, sr_net *net) {
    const char *activation_name = find(source, "activation");
    sr_activation activation = SR_SILU;
    sr_status status = activation_name ? sr_activation_parse(activation_name, &activation) : SR_OK;
    if (status)
        return status;
    size_t widths[SR_MAX_LAYERS], count, channels = 1, size = 0, nf = 0, features = 0, classes = 0;
    if (strcmp(arch, "mlp") == 0) {
        size_t dim, outputs = 1;
        if ((status = take_size(find, source, arch, "dim", &dim)) ||
            (status = take_widths(find, source, widths, &count)) ||
            (find(source, "outputs") &&
             (status = take_size(find, source, arch, "outputs", &outputs))))
            return status;
        return sr_net_mlp(net, dim, widths, count, activation, outputs);
    }
    bool classifier = strcmp(arch, "classifier") == 0;
    if (!classifier && strcmp(arch, "convnet") != 0)
        return sr_fail(SR_ERROR_ARGUMENT, "unknown model '%s'; allowed: mlp, convnet, classifier",
                       arch);
    if ((status = take_size(find, source, arch, "channels", &channels)) ||
        (status = take_size(find, source, arch, "size", &size)) ||
        (status = take_size(find, source, arch, "nf", &nf)))
        return status;
    if (!classifier)
        return sr_net_convnet(net, channels, size, nf, activation);
    if ((status = take_size(find, source, arch, "features", &features)) ||
        (status = take_size(find, source, arch, "classes", &classes)))
        return status;
    return sr_net_classifier(net, channels, size, nf, features, classes, activation);
}

// ---- text ---------------------------------------------------------------------------------------

typedef struct pairs {
    size_t count;
    char key[8][24], value[8][64];
} pairs;

static const char *pairs_find(const void *source, const char *key) {
    const pairs *p = source;
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->key[i], key) == 0)
            return p->value[i];
    }
    return NULL;
}

static sr_status pair_check(const char *arch, const char *key) {
    for (size_t a = 1; a < sizeof arch_names / sizeof *arch_names; a++) {
        if (strcmp(arch_names[a], arch) != 0)
            continue;
        sr_text allowed = {0};
        for (size_t k = 0; arch_keys[a][k]; k++) {
            if (strcmp(arch_keys[a][k], key) == 0) {
                sr_text_clear(&allowed);
                return SR_OK;
            }
            sr_text_append(&allowed, "%s%s", k ? ", " : "", arch_keys[a][k]);
        }
        sr_fail(SR_ERROR_ARGUMENT, "model %s: unknown key '%s'; allowed: %s", arch, key,
                sr_text_string(&allowed));
        sr_text_clear(&allowed);
        return SR_ERROR_ARGUMENT;
    }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown model '%s'; allowed: mlp, convnet, classifier",
                   arch);
}

sr_status sr_net_parse(const char *text, sr_net *net) {
    pairs p = {0};
    char arch[24];
    size_t length = strcspn(text, ":");
    if (length == 0 || length >= sizeof arch)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "model '%s': expected like convnet:channels=1,size=28,nf=8,activation=silu",
                       text);
    memcpy(arch, text, length);
    arch[length] = 0;
    const char *at = text[length] ? text + length + 1 : text + length;
    while (*at) {
        size_t item = strcspn(at, ","), key = strcspn(at, "=");
        if (key == 0 || key >= item || key >= sizeof p.key[0] ||
            item - key - 1 >= sizeof p.value[0] || p.count == sizeof p.key / sizeof p.key[0])
            return sr_fail(SR_ERROR_ARGUMENT, "model '%s': cannot read '%.*s'; expected key=value",
                           text, (int)item, at);
        memcpy(p.key[p.count], at, key);
        memcpy(p.value[p.count], at + key + 1, item - key - 1);
        sr_status status = pair_check(arch, p.key[p.count]);
        if (status)
            return status;
        if (pairs_find(&p, p.key[p.count]))
            return sr_fail(SR_ERROR_ARGUMENT, "model '%s': '%s' stands twice", text,
                           p.key[p.count]);
        p.count++;
        at += item + (at[item] == ',');
    }
    return net_from(pairs_find, &p, arch, net);
}

// The value of one of arch_keys.
static void format_value(const sr_net *net, const char *key, const char *between, sr_text *out) {
    const sr_layer *last = &net->layers[net->layer_count - 1];
    if (strcmp(key, "dim") == 0)
        sr_text_append(out, "%zu", net->inputs);
    else if (strcmp(key, "outputs") == 0 || strcmp(key, "classes") == 0)
        sr_text_append(out, "%zu", net->outputs);
    else if (strcmp(key, "channels") == 0)
        sr_text_append(out, "%zu", net->channels);
    else if (strcmp(key, "size") == 0)
        sr_text_append(out, "%zu", net->height);
    else if (strcmp(key, "nf") == 0)
        sr_text_append(out, "%zu", net->layers[0].shape.out_channels);
    else if (strcmp(key, "features") == 0)
        sr_text_append(out, "%zu", last->shape.in_channels);
    else if (strcmp(key, "activation") == 0)
        sr_text_append(out, "%s", sr_activation_name(net->layers[0].activation));
    else // widths
        for (size_t l = 0; l + 1 < net->layer_count; l++)
            sr_text_append(out, "%s%zu", l ? between : "", net->layers[l].shape.out_channels);
}

// One output is an energy's and goes without saying.
static bool key_written(const sr_net *net, const char *key) {
    return strcmp(key, "outputs") != 0 || net->outputs != 1;
}

void sr_net_format(const sr_net *net, sr_text *text) {
    sr_text_append(text, "%s", arch_names[net->arch]);
    char before = ':';
    for (size_t k = 0; arch_keys[net->arch][k]; k++) {
        const char *key = arch_keys[net->arch][k];
        if (!key_written(net, key))
            continue;
        sr_text_append(text, "%c%s=", before, key);
        format_value(net, key, "x", text);
        before = ',';
    }
}

// ---- metadata -----------------------------------------------------------------------------------

sr_status sr_net_describe(const sr_net *net, sr_tensors *tensors) {
    sr_status status = sr_tensors_set_meta(tensors, "arch", arch_names[net->arch]);
    for (size_t k = 0; !status && arch_keys[net->arch][k]; k++) {
        const char *key = arch_keys[net->arch][k];
        if (!key_written(net, key))
            continue;
        sr_text value = {0};
        format_value(net, key, ",", &value);
        status = sr_text_status(&value);
        if (!status)
            status = sr_tensors_set_meta(tensors, key, sr_text_string(&value));
        sr_text_clear(&value);
    }
    return status;
}

static const char *meta_find(const void *source, const char *key) {
    return sr_tensors_meta(source, key);
}

sr_status sr_net_from_meta(const sr_tensors *tensors, sr_net *net) {
    const char *arch = sr_tensors_meta(tensors, "arch");
    if (!arch)
        return sr_fail(SR_ERROR_FORMAT,
                       "the file does not describe its network (no metadata key 'arch')");
    return net_from(meta_find, tensors, arch, net);
}
