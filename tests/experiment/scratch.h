// A folder of its own for a test, removed afterwards with all that is in it.
#ifndef SHORTRUN_TESTS_EXPERIMENT_SCRATCH_H
#define SHORTRUN_TESTS_EXPERIMENT_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int scratch_make(void **state) {
    char *folder = strdup("/tmp/shortrun-test-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

static inline int scratch_remove_one(const char *path, const struct stat *info, int type,
                                     struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static inline int scratch_remove(void **state) {
    nftw(*state, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

// folder/name in a static buffer; four of them live at a time.
static inline const char *scratch_path(void **state, const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", (const char *)*state, name);
    return path;
}

static inline const char *scratch_write(void **state, const char *name, const char *text) {
    const char *path = scratch_path(state, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

#endif
