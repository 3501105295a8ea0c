// What `shortrun evaluate` compares: arrays, folders and files of images, data sets, and the
// samples that a cell of an experiment left.
#include "cli/evaluate.h"
#include "cli/tables.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE 1024
#define HASH_DIGITS 32
#define PREFIX_LEAST 4 // digits of a hash that may stand for all of them

void evaluate_side_clear(evaluate_side *side) {
    sr_free(side->x);
    sr_free(side->logits);
    *side = (evaluate_side){0};
}

static void describe(evaluate_side *side, const char *name, const char *detail) {
    if (side->height > 1 || side->width > 1)
        snprintf(side->label, sizeof side->label, "%s%s, %zu images of %zu x %zu x %zu", name,
                 detail, side->n, side->channels, side->height, side->width);
    else
        snprintf(side->label, sizeof side->label, "%s%s, %zu rows of %zu", name, detail, side->n,
                 side->dim);
}

// ---- arrays and data sets -----------------------------------------------------------------------

static size_t at_most(size_t count, size_t limit) {
    return limit && limit < count ? limit : count;
}

// (N, D) arrays are taken as they are: features may have any range.
static sr_status load_rows(const char *path, size_t limit, evaluate_side *out, bool *done) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    *done = false;
    if (status == SR_OK && array.rank == 2) {
        *done = true;
        out->n = array.shape[0] = at_most(array.shape[0], limit);
        out->dim = out->channels = array.shape[1];
        out->height = out->width = 1;
        if (out->dim == 0) {
            status = sr_fail(SR_ERROR_ARGUMENT, "%s: rows of 0 values", path);
        } else if (array.dtype == SR_F32) { // no second copy of what may be large
            out->x = array.data;
            array.data = NULL;
        } else {
            status = sr_array_to_f32(&array, &out->x);
        }
    }
    if (status == SR_OK && *done) {
        sr_hash_hex(out->x, out->n * out->dim * sizeof *out->x, out->hash);
        describe(out, out->text, "");
    }
    sr_array_clear(&array);
    return status;
}

// "fashion_mnist:test" -> the name without its ending, and which part of the set it means.
static sr_split split_name(const char *text, char *name, size_t size) {
    const sr_split split = cli_ends_with(text, ":test") ? SR_TEST : SR_TRAIN;
    const bool ending = split == SR_TEST || cli_ends_with(text, ":train");
    snprintf(name, size, "%.*s", (int)(ending ? strrchr(text, ':') - text : (long)strlen(text)),
             text);
    return split;
}

// A folder of CIFAR-10's binary files, under whatever name.
static bool is_cifar_folder(const char *path) {
    static const char *const files[] = {"data_batch_1.bin", "test_batch.bin"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[PATH_SIZE + 32];
        snprintf(file, sizeof file, "%s/%s", path, files[i]);
        if (sr_file_exists(file))
            return true;
    }
    return false;
}

static sr_status load_set(const evaluate_values *v, const char *text, evaluate_side *out) {
    char name[PATH_SIZE];
    sr_dataset set;
    const sr_split split = split_name(text, name, sizeof name);
    const bool cifar = is_cifar_folder(name);
    const sr_status status = sr_dataset_load(cifar ? "cifar10" : name, cifar ? name : v->data,
                                             split, v->limit, v->o.seed, &set);
    if (status != SR_OK)
        return status;
    out->n = set.count;
    out->dim = set.dim;
    out->channels = set.channels;
    out->height = set.height;
    out->width = set.width;
    out->x = set.x;
    out->toy = set.toy;
    out->toy_kind = set.toy_kind;
    memcpy(out->hash, set.hash, sizeof out->hash);
    for (const char *const *known = sr_dataset_names(); *known; known++) {
        if (!set.toy && strcmp(*known, cifar ? "cifar10" : name) == 0)
            out->known = *known;
    }
    describe(out, text, split == SR_TRAIN && out->known && strcmp(text, name) == 0 ? ":train" : "");
    set.x = NULL; // taken over
    sr_dataset_clear(&set);
    return SR_OK;
}

// ---- cells --------------------------------------------------------------------------------------

// "FOLDER/results.db:CELL" or, where FOLDER holds results, "FOLDER:CELL".
static bool split_cell(const char *text, char *folder, size_t size, const char **cell) {
    char database[PATH_SIZE + 32];
    const char *at = strstr(text, ".db:"), *colon = strchr(text, ':');
    if (at) {
        snprintf(folder, size, "%.*s", (int)(at + 3 - text), text);
        *cell = at + 4;
        return true;
    }
    if (!colon)
        return false;
    snprintf(folder, size, "%.*s", (int)(colon - text), text);
    snprintf(database, sizeof database, "%s/results.db", folder);
    *cell = colon + 1;
    return sr_file_exists(database);
}

// The folder of a results database.
static sr_status database_folder(char *path) {
    if (!cli_ends_with(path, ".db"))
        return SR_OK;
    char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strcmp(name, "results.db") != 0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: results are kept in files called results.db, with the samples beside "
                       "them",
                       path);
    if (slash)
        *(slash > path ? slash : slash + 1) = '\0';
    else
        strcpy(path, ".");
    return SR_OK;
}

// A cell that the text names, so far.
typedef struct found_cell {
    size_t count;
    char hash[HASH_DIGITS + 1];
    char label[256];   // "" where the experiment file does not know it
    char dataset[256]; // likewise
    sr_text hashes;    // of all, for the message
} found_cell;

static void take_cell(const char *hash, const sr_cell *cell, found_cell *found) {
    if (found->count > 0 && strcmp(found->hash, hash) == 0)
        return; // in several groups
    snprintf(found->hash, sizeof found->hash, "%s", hash);
    found->label[0] = found->dataset[0] = '\0';
    if (cell) {
        sr_cell_label(cell, found->label, sizeof found->label);
        snprintf(found->dataset, sizeof found->dataset, "%s", cell->dataset);
    }
    if (found->count++ < 4)
        sr_text_append(&found->hashes, "%s%.8s%s%s", found->count > 1 ? ", " : "", hash,
                       found->label[0] ? " " : "", found->label);
}

static bool is_prefix(const char *text) {
    const size_t digits = strspn(text, "0123456789abcdef");
    return text[digits] == '\0' && digits >= PREFIX_LEAST && digits <= HASH_DIGITS;
}

// Among the cells of the experiment file that lies with the results.
static sr_status search_experiment(sr_results *results, const char *text, found_cell *found) {
    char path[PATH_SIZE];
    sr_experiment experiment = {0};
    snprintf(path, sizeof path, "%s/" CLI_EXPERIMENT_COPY, sr_results_folder(results));
    if (!sr_file_exists(path))
        return SR_OK;
    sr_status status = sr_experiment_load(path, &experiment);
    for (size_t i = 0; i < experiment.cell_count && status == SR_OK; i++) {
        const sr_cell *cell = &experiment.cells[i];
        char label[256];
        bool match = is_prefix(text) && strncmp(cell->hash, text, strlen(text)) == 0;
        sr_cell_label(cell, label, sizeof label);
        match = match || strcmp(label, text) == 0;
        if (!match && strchr(text, '=') && !strchr(text, ' '))
            status = sr_cell_matches(cell, text, &match);
        if (match && status == SR_OK && sr_results_state(results, cell->hash) != SR_CELL_ABSENT)
            take_cell(cell->hash, cell, found);
    }
    sr_experiment_clear(&experiment);
    return status;
}

// Among the folders of cells: the experiment file may be another by now.
static void search_folders(sr_results *results, const char *prefix, found_cell *found) {
    char path[PATH_SIZE];
    sr_results_cell_path(results, "", "", path, sizeof path);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            strlen(entry->d_name) == HASH_DIGITS &&
            sr_results_state(results, entry->d_name) != SR_CELL_ABSENT)
            take_cell(entry->d_name, NULL, found);
    }
    if (folder)
        closedir(folder);
}

static sr_status find_cell(sr_results *results, const char *text, found_cell *found) {
    sr_status status = search_experiment(results, text, found);
    if (status == SR_OK && found->count == 0 && is_prefix(text))
        search_folders(results, text, found);
    if (status != SR_OK || found->count == 1)
        return status;
    if (found->count > 1)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: '%s' may be any of %zu cells: %s%s; say more",
                       sr_results_folder(results), text, found->count,
                       sr_text_string(&found->hashes), found->count > 4 ? ", ..." : "");
    return sr_fail(SR_ERROR_ARGUMENT,
                   "%s: no finished cell is called '%s'; name it by the beginning of its hash (%d "
                   "digits or more), by its name, or by terms like K=20,seed=1",
                   sr_results_folder(results), text, PREFIX_LEAST);
}

// The array that the run wrote; images may lie a little outside of [-1, 1], as when it judged them.
static sr_status load_samples(const char *path, size_t limit, evaluate_side *out) {
    sr_array a = {0};
    sr_status status = sr_npy_load(path, &a);
    if (status == SR_OK && (a.rank != 2 && a.rank != 4))
        status =
            sr_fail(SR_ERROR_FORMAT, "%s: rank %zu, expected (N, D) or (N, C, H, W)", path, a.rank);
    if (status == SR_OK && sr_array_count(&a) == 0)
        status = sr_fail(SR_ERROR_FORMAT, "%s: the array is empty", path);
    if (status == SR_OK) {
        out->n = a.shape[0] = at_most(a.shape[0], limit);
        out->channels = a.shape[1];
        out->height = a.rank == 4 ? a.shape[2] : 1;
        out->width = a.rank == 4 ? a.shape[3] : 1;
        out->dim = out->channels * out->height * out->width;
        status = sr_array_to_f32(&a, &out->x);
    }
    sr_array_clear(&a);
    const bool image = out->height > 1 || out->width > 1;
    for (size_t i = 0; i < out->n * out->dim && status == SR_OK; i++) {
        if (!isfinite(out->x[i]))
            status = sr_fail(SR_ERROR_FORMAT, "%s: element %zu is not finite", path, i);
        else if (image)
            out->x[i] = fminf(fmaxf(out->x[i], -1), 1);
    }
    return status;
}

static sr_status take_samples(const evaluate_values *v, sr_results *results,
                              const found_cell *found, evaluate_side *out) {
    char path[PATH_SIZE], detail[320];
    if (sr_results_state(results, found->hash) == SR_CELL_DIVERGED)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: cell %.8s diverged: it has no samples", out->text,
                       found->hash);
    sr_results_cell_path(results, found->hash, "samples.npy", path, sizeof path);
    if (!sr_file_exists(path))
        return sr_fail(SR_ERROR_IO,
                       "%s: the samples of cell %.8s are gone; shortrun run --fresh draws them "
                       "again",
                       path, found->hash);
    const sr_status status = load_samples(path, v->limit, out);
    if (status != SR_OK)
        return status;
    sr_hash_hex(out->x, out->n * out->dim * sizeof *out->x, out->hash);
    snprintf(detail, sizeof detail, ":%.8s%s%s", found->hash, found->label[0] ? " " : "",
             found->label);
    describe(out, sr_results_folder(results), detail);
    for (const char *const *known = sr_dataset_names(); *known; known++) {
        if (strcmp(*known, found->dataset) == 0 && (out->height > 1 || out->width > 1))
            out->known = *known;
    }
    return SR_OK;
}

static sr_status load_cell(const evaluate_values *v, const char *path, const char *cell,
                           evaluate_side *out) {
    char folder[PATH_SIZE];
    sr_results *results = NULL;
    found_cell found = {0};
    snprintf(folder, sizeof folder, "%s", path);
    if (!*cell)
        return sr_fail(SR_ERROR_ARGUMENT, "%s: which cell? expected results.db:CELL", out->text);
    sr_status status = database_folder(folder);
    if (status == SR_OK)
        status = sr_results_open(folder, false, &results);
    if (status == SR_OK)
        status = find_cell(results, cell, &found);
    if (status == SR_OK)
        status = take_samples(v, results, &found, out);
    sr_text_clear(&found.hashes);
    sr_results_close(results);
    return status;
}

// ---- any of them --------------------------------------------------------------------------------

sr_status evaluate_side_load(const evaluate_values *v, const char *which, const char *text,
                             evaluate_side *out) {
    char path[PATH_SIZE];
    const char *cell;
    bool done = false;
    sr_status status = SR_OK;
    *out = (evaluate_side){.which = which, .text = text};
    if (strlen(text) >= PATH_SIZE)
        return sr_fail(SR_ERROR_ARGUMENT, "--%s: the name has more than %d bytes", which,
                       PATH_SIZE - 1);
    if (split_cell(text, path, sizeof path, &cell) && !sr_file_exists(text))
        return load_cell(v, path, cell, out);
    if (cli_ends_with(text, ".npy"))
        status = load_rows(text, v->limit, out, &done);
    return status != SR_OK || done ? status : load_set(v, text, out);
}
