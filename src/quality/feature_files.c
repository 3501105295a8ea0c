// Where the weights of feature networks are looked for.
#include "quality/feature_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// True, and the path kept, when `folder`/`name`.safetensors is there; it is noted as searched.
static bool look_in(const char *folder, const char *name, sr_text *searched, char *path,
                    size_t size) {
    int length = snprintf(path, size, "%s/%s.safetensors", folder, name);
    if (length > 0 && (size_t)length < size && sr_file_exists(path))
        return true;
    sr_text_append(searched, "%s%s", searched->length ? ", " : "", folder);
    return false;
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

bool sr_feature_file_find(const char *name, char *path, size_t size, sr_text *searched) {
    const char *named = getenv("SHORTRUN_FEATURES");
    bool found = false;
    if (named && *named && ends_with(named, ".safetensors")) {
        int length = snprintf(path, size, "%s", named);
        found = length > 0 && (size_t)length < size && sr_file_exists(path);
        if (!found)
            sr_text_append(searched, "%s", named);
    } else if (named && *named) {
        found = look_in(named, name, searched, path, size);
    }
    if (!found && !strchr(name, '/')) // a path is not the name of a set that ships with weights
        found = look_in(SR_SOURCE_DATA, name, searched, path, size) ||
                look_in(SR_INSTALLED_DATA, name, searched, path, size);
    if (!found && size)
        *path = 0;
    return found;
}
