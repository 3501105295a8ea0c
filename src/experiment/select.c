// Which records a name on the command line stands for.
#include <shortrun/experiment.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_LEAST 4 // characters of a hash that name a cell

static bool is_hash(const char *text) {
    const size_t length = strlen(text);
    return length >= HASH_LEAST && strspn(text, "0123456789abcdef") == length;
}

// "fashion_mnist K=20 sigma=0" -> "dataset=fashion_mnist,K=20,sigma=0"; a filter stays as it is.
static void to_filter(const char *cell, char *out, size_t size) {
    const char *space = strchr(cell, ' '), *equals = strchr(cell, '=');
    const bool bare = !equals || (space && space < equals);
    snprintf(out, size, "%s%s", bare ? "dataset=" : "", cell);
    for (char *at = out; (at = strchr(at, ' ')) != NULL;)
        *at = ',';
}

static sr_status matches(const sr_record *record, const char *cell, const char *filter, bool *out) {
    char label[512];
    sr_cell_label(&record->cell, label, sizeof label);
    *out = strcmp(label, cell) == 0;
    if (*out)
        return SR_OK;
    if (is_hash(cell)) {
        *out = strncmp(record->cell.hash, cell, strlen(cell)) == 0;
        return SR_OK;
    }
    return sr_cell_matches(&record->cell, filter, out);
}

static int by_seed(const void *left, const void *right) {
    const sr_record *a = *(const sr_record *const *)left, *b = *(const sr_record *const *)right;
    return a->cell.train.seed < b->cell.train.seed ? -1 : a->cell.train.seed > b->cell.train.seed;
}

static sr_status refuse_mixture(const char *cell, const sr_record *a, const sr_record *b,
                                size_t count) {
    char first[512], second[512];
    sr_cell_label(&a->cell, first, sizeof first);
    sr_cell_label(&b->cell, second, sizeof second);
    return sr_fail(SR_ERROR_ARGUMENT,
                   "'%s' names %zu cells that differ in more than the seed: %s (%.8s), %s (%.8s); "
                   "say more, like dataset=...,K=20,sigma=0",
                   cell, count, first, a->cell.hash, second, b->cell.hash);
}

sr_status sr_records_select(const sr_record *records, size_t count, const char *cell,
                            const sr_record ***out, size_t *out_count) {
    char filter[1100];
    *out = NULL;
    *out_count = 0;
    if (!*cell || strlen(cell) > 1000)
        return sr_fail(SR_ERROR_ARGUMENT, "the name of a cell is %s", *cell ? "too long" : "empty");
    const sr_record **found = sr_alloc(count + 1, sizeof *found);
    if (!found)
        return SR_ERROR_MEMORY;
    to_filter(cell, filter, sizeof filter);
    sr_status status = SR_OK;
    size_t n = 0;
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        bool one = false;
        if (records[i].state == SR_CELL_ABSENT)
            continue;
        status = matches(&records[i], cell, filter, &one);
        if (one)
            found[n++] = &records[i];
    }
    if (status == SR_OK && n == 0)
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "no finished cell is named '%s'; give the beginning of a hash or a filter "
                         "like dataset=fashion_mnist,K=20,sigma=0,seed=1",
                         cell);
    for (size_t i = 1; i < n && status == SR_OK; i++) {
        if (!sr_cell_same_but_seed(&found[0]->cell, &found[i]->cell))
            status = refuse_mixture(cell, found[0], found[i], n);
    }
    if (status != SR_OK) {
        sr_free(found);
        return status;
    }
    qsort(found, n, sizeof *found, by_seed);
    *out = found;
    *out_count = n;
    return SR_OK;
}
