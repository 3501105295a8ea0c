// Features of earlier calls: $XDG_CACHE_HOME/shortrun/features/KEY-CONTENT.npy, else
// ~/.cache/shortrun/features/. KEY names what the features were made of, CONTENT is the hash of the
// array's bytes. A file is used only if it is a regular one of just the expected size, shape and
// type, has this content, and holds finite numbers; others are passed over with a warning and
// written anew. Files are written whole or not at all (sr_file_write). What cannot be used is
// removed, and after each file that is kept those that were used longest ago, until the rest fits
// the limit (SHORTRUN_CACHE_LIMIT, in MB). The folder may be emptied at any time.
#include "cli/feature_cache.h"
#include "cli/cli.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_SIZE 1024
#define NAME_SIZE (32 + 1 + 32 + 4 + 1) // KEY-CONTENT.npy
#define HEADER_MOST 4096                // more than the header of an array of two dimensions takes
#define LIMIT_MB 2000                   // features of 240,000 images in Inception's 2048 floats
#define LIMIT_MB_MOST 1000000000        // so that its bytes fit 64 bits

typedef struct {
    char name[NAME_SIZE];
    uint64_t bytes;
    struct timespec used; // the time of modification: each use sets it
} kept_file;

typedef struct {
    kept_file *files;
    size_t count, room;
    uint64_t bytes; // of all
} kept_files;

// False where no folder is known.
static bool cache_folder(char *out, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (cache && cache[0] == '/')
        length = snprintf(out, size, "%s/shortrun/features", cache);
    else if (home && home[0] == '/')
        length = snprintf(out, size, "%s/.cache/shortrun/features", home);
    return length > 0 && (size_t)length < size;
}

// The name of a file kept under this key that ends in a hash of content; false: none.
static bool find_name(const char *folder, const char *key, char name[NAME_SIZE]) {
    DIR *open_folder = opendir(folder);
    const struct dirent *entry;
    bool found = false;
    while (open_folder && !found && (entry = readdir(open_folder))) {
        const char *at = entry->d_name;
        found = strlen(at) == NAME_SIZE - 1 && strncmp(at, key, 32) == 0 && at[32] == '-' &&
                cli_ends_with(at, ".npy");
        if (found)
            memcpy(name, at, NAME_SIZE);
    }
    if (open_folder)
        closedir(open_folder);
    return found;
}

static sr_status check_content(const char *path, const char *name, const sr_array *a) {
    char hash[33];
    const float *x = a->data;
    const size_t count = sr_array_count(a);
    sr_hash_hex(x, count * sizeof *x, hash);
    if (strncmp(hash, name + 33, 32) != 0)
        return sr_fail(SR_ERROR_FORMAT, "%s: the values are not those that were kept", path);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            return sr_fail(SR_ERROR_FORMAT, "%s: element %zu is not finite", path, i);
    }
    return SR_OK;
}

static sr_status read_array(const char *path, const char *name, size_t n, size_t width,
                            float *out) {
    struct stat info;
    sr_array a = {0};
    const size_t bytes = n * width * sizeof *out;
    // looked at before it is opened: a pipe would keep us waiting, a large file fill the memory
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size < bytes ||
        (uint64_t)info.st_size > bytes + HEADER_MOST)
        return sr_fail(SR_ERROR_FORMAT, "%s: not a file of the expected size", path);
    sr_status status = sr_npy_load(path, &a);
    if (status == SR_OK &&
        (a.dtype != SR_F32 || a.rank != 2 || a.shape[0] != n || a.shape[1] != width))
        status = sr_fail(SR_ERROR_FORMAT, "%s: expected float32 (%zu, %zu)", path, n, width);
    if (status == SR_OK)
        status = check_content(path, name, &a);
    if (status == SR_OK)
        memcpy(out, a.data, bytes);
    sr_array_clear(&a);
    return status;
}

bool cli_feature_cache_get(const char *key, size_t n, size_t width, float *out) {
    char folder[FOLDER_SIZE], name[NAME_SIZE], path[FOLDER_SIZE + NAME_SIZE + 1];
    if (!cache_folder(folder, sizeof folder) || !find_name(folder, key, name))
        return false;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (read_array(path, name, n, width, out) == SR_OK) {
        // most file systems do not record each reading; if it fails, the file only ages sooner
        (void)utimensat(AT_FDCWD, path, NULL, 0);
        return true;
    }
    sr_monitor_log(cli_monitor(), SR_LEVEL_WARNING, "cached features are not used: %s",
                   sr_error_message());
    unlink(path); // or it would stand before its successor
    return false;
}

// The limit in bytes; a value that is no number of MB gets a warning and the default.
static uint64_t cache_limit(void) {
    const char *text = getenv("SHORTRUN_CACHE_LIMIT");
    uint64_t megabytes = LIMIT_MB;
    if (text && *text) {
        char *end;
        const unsigned long long value = strtoull(text, &end, 10);
        if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && value <= LIMIT_MB_MOST)
            megabytes = value;
        else
            sr_monitor_log(cli_monitor(), SR_LEVEL_WARNING,
                           "SHORTRUN_CACHE_LIMIT is '%s', expected MB from 0 to %d: %d is used",
                           text, LIMIT_MB_MOST, LIMIT_MB);
    }
    return megabytes * 1000000;
}

static int by_use(const void *a, const void *b) {
    const kept_file *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec)
        return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

// False: out of memory.
static bool add_file(kept_files *all, const char *name, const struct stat *info) {
    if (all->count == all->room) {
        const size_t room = all->room ? 2 * all->room : 64;
        kept_file *files = realloc(all->files, room * sizeof *files);
        if (!files)
            return false;
        all->files = files;
        all->room = room;
    }
    kept_file *file = &all->files[all->count++];
    memcpy(file->name, name, NAME_SIZE);
    file->bytes = (uint64_t)info->st_size;
    file->used = info->st_mtim;
    all->bytes += file->bytes;
    return true;
}

// Files of the cache only: whatever else lies in the folder is neither counted nor removed.
static bool list_files(const char *folder, kept_files *all) {
    char path[FOLDER_SIZE + NAME_SIZE + 1];
    DIR *open_folder = opendir(folder);
    const struct dirent *entry;
    bool fine = open_folder != NULL;
    while (fine && (entry = readdir(open_folder))) {
        const char *at = entry->d_name;
        struct stat info;
        if (strlen(at) != NAME_SIZE - 1 || at[32] != '-' || !cli_ends_with(at, ".npy"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, at);
        if (lstat(path, &info) == 0 && S_ISREG(info.st_mode))
            fine = add_file(all, at, &info);
    }
    if (open_folder)
        closedir(open_folder);
    return fine;
}

static void prune(const char *folder) {
    char path[FOLDER_SIZE + NAME_SIZE + 1];
    const uint64_t limit = cache_limit();
    kept_files all = {0};
    if (list_files(folder, &all) && all.bytes > limit) {
        qsort(all.files, all.count, sizeof *all.files, by_use);
        for (size_t i = 0; i < all.count && all.bytes > limit; i++) {
            snprintf(path, sizeof path, "%s/%s", folder, all.files[i].name);
            if (unlink(path) == 0)
                all.bytes -= all.files[i].bytes;
        }
    }
    free(all.files);
}

void cli_feature_cache_put(const char *key, size_t n, size_t width, const float *x) {
    char folder[FOLDER_SIZE], path[FOLDER_SIZE + NAME_SIZE + 1], hash[33];
    const size_t shape[2] = {n, width};
    if (!cache_folder(folder, sizeof folder))
        return;
    sr_hash_hex(x, n * width * sizeof *x, hash);
    snprintf(path, sizeof path, "%s/%s-%s.npy", folder, key, hash);
    sr_status status = sr_folder_make(folder);
    if (status == SR_OK)
        status = sr_npy_save_f32(path, 2, shape, x);
    if (status == SR_OK)
        prune(folder);
    else
        sr_monitor_log(cli_monitor(), SR_LEVEL_WARNING, "features are not kept: %s",
                       sr_error_message());
}
