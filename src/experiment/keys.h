// The keys of experiment files: one table that parsing, checks, the documentation, filters, hashes
// and the database's columns all read. Private to the module.
#ifndef SHORTRUN_EXPERIMENT_KEYS_H
#define SHORTRUN_EXPERIMENT_KEYS_H

#include <shortrun/experiment.h>

// Version of what a cell's record means. Part of every hash: raising it makes all cells be run
// anew.
#define SR_RESULTS_VERSION 1

typedef enum sr_key_type {
    SR_KEY_TEXT,   // char [size]
    SR_KEY_COUNT,  // size_t or uint64_t
    SR_KEY_NUMBER, // double
    SR_KEY_SWITCH, // bool
    SR_KEY_CHOICE  // an enum; its names come from `choice`
} sr_key_type;

// One value of any type, as read from a file or a filter.
typedef struct sr_key_value {
    uint64_t count;
    double number;
    bool on;
    int choice;
    char text[256];
} sr_key_value;

typedef struct sr_key {
    const char *section; // "" (the group itself), "dynamics", "training" or "density"
    const char *name;
    const char *alias; // second name in filters; NULL: none
    const char *column;
    sr_key_type type;
    size_t offset, size; // of the field in sr_cell
    double low, high;    // inclusive, unless the bound is open
    bool open_low, open_high;
    int choices;
    const char *(*choice)(int value);
    sr_status (*check)(const char *text); // texts: says what is wrong, without file and line
    bool required;
    bool undecisive; // leaves the result as it is: not part of the hash
    bool later; // newer than the first results: at its default it is not part of the hash, so that
                // older cells stay the same cells
    const char *meaning;
} sr_key;

// In grid order: the first key is the outermost loop, the last one changes fastest.
extern const sr_key sr_keys[];
extern const size_t sr_key_count;
#define SR_KEYS_MAX 64 // sr_key_count is at most this

// NULL where there is no such key. A section of NULL searches all of them, aliases too.
const sr_key *sr_key_find(const char *section, const char *name);

// Reads and checks one value. The message says what was found and what is allowed, and starts with
// the key's name.
sr_status sr_key_parse(const sr_key *key, const char *text, sr_key_value *out);
bool sr_key_equal(const sr_key *key, const sr_key_value *a, const sr_key_value *b);

void sr_key_set(const sr_key *key, const sr_key_value *value, sr_cell *cell);
void sr_key_get(const sr_key *key, const sr_cell *cell, sr_key_value *value);
// Numbers with 17 digits when `exact`, else with as few (6 at least) as read back to the same
// number.
void sr_key_format(const sr_key *key, const sr_key_value *value, bool exact, sr_text *out);
// "a whole number from 1 to 100000".
void sr_key_allowed(const sr_key *key, sr_text *out);

// The name nearest to `word` among `count`, or NULL when none is near (" did you mean ...?").
const char *sr_nearest(const char *word, const char *const *names, size_t count);

// What a reader made of one group: for each key the list of its values, empty where the key is
// absent.
typedef struct sr_key_list {
    sr_key_value *values;
    size_t count;
    size_t line;
} sr_key_list;

typedef struct sr_group {
    char name[64];
    size_t line;
    sr_key_list lists[SR_KEYS_MAX];
} sr_group;

#define SR_CELLS_MAX 100000

// Appends the group's cells to the experiment, each hash at most once a group. Errors start with
// "file:line: ".
sr_status sr_group_expand(const sr_group *group, sr_experiment *experiment);
// Settings that cannot matter are brought to one form, matched data noise and the engine are
// resolved, everything is checked, the hash computed.
sr_status sr_cell_finish(sr_cell *cell);

#endif
