// From an experiment file to its groups: structure, keys and values are checked here, each error
// naming file and line. The grid that the groups span is in grid.c.
//
// libyaml's document (nodes with line numbers) is read directly. libcyaml, the schema layer above
// it, was tried first: its version 1.3.1 has no 'scalar or list', which every value here is, reads
// 0.1abc as the number 0.1, and gives line numbers in log texts only.
#include "experiment/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define FILE_LIMIT ((size_t)1 << 20) // bytes: an experiment is written by hand
#define LIST_LIMIT 10000             // values of one list
#define GROUP_LIMIT 1000

typedef struct reader {
    const char *path;
    yaml_document_t document;
} reader;

static yaml_node_t *node_at(reader *r, int index) {
    return yaml_document_get_node(&r->document, index);
}

static size_t line_of(const yaml_node_t *node) {
    return node->start_mark.line + 1;
}

static sr_status fail_at(reader *r, const yaml_node_t *node, const char *format, ...)
    SR_PRINTF(3, 4);

static sr_status fail_at(reader *r, const yaml_node_t *node, const char *format, ...) {
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return sr_fail(SR_ERROR_ARGUMENT, "%s:%zu: %s", r->path, line_of(node), text);
}

static const char *kind_of(const yaml_node_t *node) {
    return node->type == YAML_MAPPING_NODE    ? "a section of keys"
           : node->type == YAML_SEQUENCE_NODE ? "a list"
                                              : "a single value";
}

// The text of a scalar; NULL for anything else, and for a text with a NUL inside.
static const char *scalar(const yaml_node_t *node) {
    if (!node || node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

// ---- mappings -----------------------------------------------------------------------------------

// Calls take(user, key, key's node, value's node) for every pair, refusing keys that are not plain
// texts and keys that stand twice.
typedef sr_status (*take_pair)(reader *r, void *user, const char *key, yaml_node_t *key_node,
                               yaml_node_t *value);

static sr_status each_pair(reader *r, yaml_node_t *map, const char *where, take_pair take,
                           void *user) {
    if (!map || map->type != YAML_MAPPING_NODE)
        return fail_at(r, map, "%s is %s; expected a section of 'key: value' lines", where,
                       kind_of(map));
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        yaml_node_t *key_node = node_at(r, pair->key), *value = node_at(r, pair->value);
        const char *key = scalar(key_node);
        if (!key)
            return fail_at(r, key_node, "a key of %s is not a plain text", where);
        for (yaml_node_pair_t *other = map->data.mapping.pairs.start; other < pair; other++) {
            yaml_node_t *earlier = node_at(r, other->key);
            if (strcmp((const char *)earlier->data.scalar.value, key) == 0)
                return fail_at(r, key_node, "key '%.80s' stands twice in %s (first in line %zu)",
                               key, where, line_of(earlier));
        }
        const sr_status status = take(r, user, key, key_node, value);
        if (status != SR_OK)
            return status;
    }
    return SR_OK;
}

// Keys that are not in the table of keys, by place.
static const char *const file_keys[] = {"name", "title", "groups", NULL};
static const char *const group_keys[] = {"name", "dynamics", "training", "density", NULL};
static const char *const no_keys[] = {NULL};

static sr_status unknown_key(reader *r, const yaml_node_t *node, const char *key, const char *where,
                             const char *section, const char *const *extra) {
    const char *names[SR_KEYS_MAX + 8];
    size_t count = 0;
    for (; extra[count]; count++)
        names[count] = extra[count];
    for (size_t i = 0; section && i < sr_key_count; i++) {
        if (strcmp(sr_keys[i].section, section) == 0)
            names[count++] = sr_keys[i].name;
    }
    sr_text allowed = {0};
    for (size_t i = 0; i < count; i++)
        sr_text_append(&allowed, "%s%s", i ? ", " : "", names[i]);
    const char *near = sr_nearest(key, names, count);
    const sr_key *elsewhere = sr_key_find(NULL, key);
    if (elsewhere && strcmp(elsewhere->name, key) != 0) { // K, sigma: short names of filters
        near = elsewhere->name;
        elsewhere = NULL;
    }
    if (elsewhere)
        fail_at(r, node, "key '%s' does not belong in %s but in %s%s. Allowed here: %s", key, where,
                *elsewhere->section ? "the group's section " : "the group itself",
                elsewhere->section, sr_text_string(&allowed));
    else if (near)
        fail_at(r, node, "unknown key '%.80s' in %s, did you mean %s? Allowed here: %s", key, where,
                near, sr_text_string(&allowed));
    else
        fail_at(r, node, "unknown key '%.80s' in %s. Allowed here: %s", key, where,
                sr_text_string(&allowed));
    sr_text_clear(&allowed);
    return SR_ERROR_ARGUMENT;
}

static sr_status take_name(reader *r, yaml_node_t *node, char out[64]) {
    const char *text = scalar(node);
    bool good = text && *text && strlen(text) < 64 && isalnum((unsigned char)*text);
    for (const char *at = text; good && *at; at++)
        good = isalnum((unsigned char)*at) || strchr("._-", *at);
    if (!good)
        return fail_at(r, node,
                       "name: '%.80s' is not allowed; expected letters, digits, '.', '_' and '-', "
                       "at most 63, a letter or digit first",
                       text ? text : kind_of(node));
    snprintf(out, 64, "%s", text);
    return SR_OK;
}

// ---- values -------------------------------------------------------------------------------------

static sr_status take_value(reader *r, const sr_key *key, const yaml_node_t *node,
                            sr_key_list *list) {
    const char *text = scalar(node);
    if (!text)
        return fail_at(r, node, "%s: %s stands where a value is expected", key->name,
                       node->type == YAML_SCALAR_NODE ? "a text with a zero byte" : kind_of(node));
    sr_key_value *value = &list->values[list->count];
    if (sr_key_parse(key, text, value) != SR_OK)
        return fail_at(r, node, "%s", sr_error_message());
    for (size_t i = 0; i < list->count; i++) {
        if (sr_key_equal(key, &list->values[i], value))
            return fail_at(r, node, "%s: %.80s stands twice in the list", key->name, text);
    }
    list->count++;
    return SR_OK;
}

static sr_status take_list(reader *r, const sr_key *key, const yaml_node_t *node,
                           sr_key_list *list) {
    size_t count = 1;
    if (node->type == YAML_SEQUENCE_NODE)
        count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count == 0)
        return fail_at(r, node, "%s: the list is empty; expected at least one value", key->name);
    if (count > LIST_LIMIT)
        return fail_at(r, node, "%s: a list of %zu values; expected at most %d", key->name, count,
                       LIST_LIMIT);
    list->line = line_of(node);
    list->values = sr_alloc(count, sizeof *list->values);
    if (!list->values)
        return SR_ERROR_MEMORY;
    if (node->type != YAML_SEQUENCE_NODE)
        return take_value(r, key, node, list);
    sr_status status = SR_OK;
    for (size_t i = 0; i < count && status == SR_OK; i++)
        status = take_value(r, key, node_at(r, node->data.sequence.items.start[i]), list);
    return status;
}

// ---- groups -------------------------------------------------------------------------------------

static sr_status take_setting(reader *r, sr_group *group, const char *section, const char *key,
                              yaml_node_t *key_node, yaml_node_t *value, const char *where,
                              const char *const *extra) {
    const sr_key *known = sr_key_find(section, key);
    if (!known)
        return unknown_key(r, key_node, key, where, section, extra);
    return take_list(r, known, value, &group->lists[known - sr_keys]);
}

static sr_status take_dynamics(reader *r, void *user, const char *key, yaml_node_t *key_node,
                               yaml_node_t *value) {
    return take_setting(r, user, "dynamics", key, key_node, value, "dynamics", no_keys);
}

static sr_status take_training(reader *r, void *user, const char *key, yaml_node_t *key_node,
                               yaml_node_t *value) {
    return take_setting(r, user, "training", key, key_node, value, "training", no_keys);
}

static sr_status take_density(reader *r, void *user, const char *key, yaml_node_t *key_node,
                              yaml_node_t *value) {
    return take_setting(r, user, "density", key, key_node, value, "density", no_keys);
}

static sr_status take_group_pair(reader *r, void *user, const char *key, yaml_node_t *key_node,
                                 yaml_node_t *value) {
    sr_group *group = user;
    if (strcmp(key, "name") == 0)
        return take_name(r, value, group->name);
    if (strcmp(key, "dynamics") == 0)
        return each_pair(r, value, "dynamics", take_dynamics, group);
    if (strcmp(key, "training") == 0)
        return each_pair(r, value, "training", take_training, group);
    if (strcmp(key, "density") == 0)
        return each_pair(r, value, "density", take_density, group);
    return take_setting(r, group, "", key, key_node, value, "a group", group_keys);
}

static void group_clear(sr_group *group) {
    for (size_t i = 0; i < sr_key_count; i++)
        sr_free(group->lists[i].values);
    *group = (sr_group){0};
}

static sr_status group_complete(reader *r, const yaml_node_t *node, const sr_group *group,
                                const sr_experiment *experiment) {
    if (!*group->name)
        return fail_at(r, node, "the group has no 'name'");
    for (size_t i = 0; i < sr_key_count; i++) {
        if (sr_keys[i].required && group->lists[i].count == 0)
            return fail_at(r, node, "group %s has no '%s'", group->name, sr_keys[i].name);
    }
    for (size_t i = 0; i < experiment->cell_count; i++) {
        if (strcmp(experiment->cells[i].group, group->name) == 0)
            return fail_at(r, node, "a second group has the name '%s'", group->name);
    }
    return SR_OK;
}

static sr_status take_groups(reader *r, yaml_node_t *node, sr_experiment *experiment) {
    if (node->type != YAML_SEQUENCE_NODE ||
        node->data.sequence.items.start == node->data.sequence.items.top)
        return fail_at(r, node, "groups: expected a list of at least one group ('- name: ...')");
    if (node->data.sequence.items.top - node->data.sequence.items.start > GROUP_LIMIT)
        return fail_at(r, node, "groups: more than %d", GROUP_LIMIT);
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        yaml_node_t *at = node_at(r, *item);
        sr_group group = {.line = line_of(at)};
        sr_status status = each_pair(r, at, "a group", take_group_pair, &group);
        if (status == SR_OK)
            status = group_complete(r, at, &group, experiment);
        if (status == SR_OK)
            status = sr_group_expand(&group, experiment);
        group_clear(&group);
        if (status != SR_OK)
            return status;
    }
    return SR_OK;
}

static sr_status take_file_pair(reader *r, void *user, const char *key, yaml_node_t *key_node,
                                yaml_node_t *value) {
    sr_experiment *experiment = user;
    if (strcmp(key, "name") == 0)
        return take_name(r, value, experiment->name);
    if (strcmp(key, "groups") == 0)
        return take_groups(r, value, experiment);
    if (strcmp(key, "title") != 0)
        return unknown_key(r, key_node, key, "the file", NULL, file_keys);
    const char *text = scalar(value);
    if (!text || strlen(text) >= sizeof experiment->title)
        return fail_at(r, value, "title: expected a text of at most %zu bytes",
                       sizeof experiment->title - 1);
    snprintf(experiment->title, sizeof experiment->title, "%s", text);
    return SR_OK;
}

// ---- the file -----------------------------------------------------------------------------------

static sr_status fail_yaml(reader *r, const yaml_parser_t *parser, const char *bytes) {
    size_t line = parser->problem_mark.line + 1;
    if (parser->error == YAML_MEMORY_ERROR)
        return sr_fail(SR_ERROR_MEMORY, "%s: out of memory", r->path);
    if (parser->error == YAML_READER_ERROR) { // knows the offset only
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && bytes[i]; i++)
            line += bytes[i] == '\n';
    }
    sr_text context = {0};
    if (parser->context)
        sr_text_append(&context, " (%s that starts in line %zu)", parser->context,
                       parser->context_mark.line + 1);
    sr_fail(SR_ERROR_FORMAT, "%s:%zu: not valid YAML: %s%s", r->path, line,
            parser->problem ? parser->problem : "cannot be read", sr_text_string(&context));
    sr_text_clear(&context);
    return SR_ERROR_FORMAT;
}

static sr_status take_document(reader *r, sr_experiment *experiment) {
    yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s:1: the file is empty; expected the keys name, title, groups", r->path);
    if (root->type != YAML_MAPPING_NODE)
        return fail_at(r, root,
                       "the file is %s; expected the keys name, title, groups ('name: ...')",
                       kind_of(root));
    sr_status status = each_pair(r, root, "the file", take_file_pair, experiment);
    if (status == SR_OK && !*experiment->name)
        status = fail_at(r, root, "the file has no 'name'");
    if (status == SR_OK && experiment->cell_count == 0)
        status = fail_at(r, root, "the file has no 'groups'");
    if (status == SR_OK && !*experiment->title)
        snprintf(experiment->title, sizeof experiment->title, "%s", experiment->name);
    return status;
}

sr_status sr_experiment_load(const char *path, sr_experiment *out) {
    reader r = {.path = path};
    yaml_parser_t parser;
    yaml_document_t second;
    void *bytes = NULL;
    size_t count = 0;
    *out = (sr_experiment){0};
    if (strlen(path) >= sizeof out->file)
        return sr_fail(SR_ERROR_ARGUMENT, "the path of the experiment has more than %zu bytes",
                       sizeof out->file - 1);
    sr_status status = sr_file_read(path, FILE_LIMIT, &bytes, &count);
    if (status != SR_OK)
        return status;
    if (!yaml_parser_initialize(&parser)) {
        sr_free(bytes);
        return sr_fail(SR_ERROR_MEMORY, "%s: out of memory", path);
    }
    snprintf(out->file, sizeof out->file, "%s", path);
    yaml_parser_set_input_string(&parser, bytes, count);
    if (!yaml_parser_load(&parser, &r.document)) {
        status = fail_yaml(&r, &parser, bytes);
    } else {
        status = take_document(&r, out);
        yaml_document_delete(&r.document);
        if (status == SR_OK && !yaml_parser_load(&parser, &second)) {
            status = fail_yaml(&r, &parser, bytes);
        } else if (status == SR_OK) {
            if (yaml_document_get_root_node(&second))
                status = sr_fail(SR_ERROR_FORMAT, "%s:%zu: a second document begins; expected one",
                                 path, second.start_mark.line + 1);
            yaml_document_delete(&second);
        }
    }
    yaml_parser_delete(&parser);
    sr_free(bytes);
    if (status != SR_OK)
        sr_experiment_clear(out);
    return status;
}

void sr_experiment_clear(sr_experiment *experiment) {
    if (!experiment)
        return;
    sr_free(experiment->cells);
    *experiment = (sr_experiment){0};
}
