// Features of earlier calls: $XDG_CACHE_HOME/shortrun/features/KEY-CONTENT.npy, else
// ~/.cache/shortrun/features/. KEY names what the features were made of, CONTENT is the hash of the
// array's bytes. A file is used only if it is a regular one of just the expected size, shape and
// type, has this content, and holds finite numbers; others are passed over with a warning and
// written anew. Files are written whole or not at all (sr_file_write). Nothing is ever removed but
// what cannot be used: the folder may be emptied at any time.
#include "cli/feature_cache.h"
#include "cli/cli.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_SIZE 1024
#define NAME_SIZE (32 + 1 + 32 + 4 + 1) // KEY-CONTENT.npy
#define HEADER_MOST 4096                // more than the header of an array of two dimensions takes

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
    if (read_array(path, name, n, width, out) == SR_OK)
        return true;
    sr_monitor_log(cli_monitor(), SR_LEVEL_WARNING, "cached features are not used: %s",
                   sr_error_message());
    unlink(path); // or it would stand before its successor
    return false;
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
    if (status != SR_OK)
        sr_monitor_log(cli_monitor(), SR_LEVEL_WARNING, "features are not kept: %s",
                       sr_error_message());
}
