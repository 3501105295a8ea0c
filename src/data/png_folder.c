// A folder of PNG files as a data set: all of one size, in the order of their names.
#include "data/readers.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

static void name_list_clear(name_list *list) {
    for (size_t i = 0; i < list->count; i++)
        sr_free(list->names[i]);
    sr_free(list->names);
}

static bool is_png(const char *name) {
    size_t n = strlen(name);
    return n > 4 && name[0] != '.' && strcasecmp(name + n - 4, ".png") == 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static sr_status name_list_add(name_list *list, const char *name) {
    if (list->count == list->capacity) {
        size_t larger = list->capacity ? 2 * list->capacity : 256;
        char **grown = sr_realloc(list->names, list->capacity, larger, sizeof *grown);
        if (!grown)
            return SR_ERROR_MEMORY;
        list->names = grown;
        list->capacity = larger;
    }
    char *copy = sr_strdup(name);
    if (!copy)
        return SR_ERROR_MEMORY;
    list->names[list->count++] = copy;
    return SR_OK;
}

static sr_status list_names(const char *folder, name_list *list) {
    DIR *open_folder = opendir(folder);
    if (!open_folder)
        return sr_fail(SR_ERROR_IO, "%s: cannot open the folder: %s", folder, strerror(errno));
    sr_status status = SR_OK;
    const struct dirent *entry;
    while (status == SR_OK && (entry = readdir(open_folder))) {
        if (is_png(entry->d_name))
            status = name_list_add(list, entry->d_name);
    }
    closedir(open_folder);
    if (status == SR_OK && list->count == 0)
        status = sr_fail(SR_ERROR_IO, "%s: there are no .png files in this folder", folder);
    if (list->count > 1)
        qsort(list->names, list->count, sizeof *list->names, by_name);
    return status;
}

// The first image gives the shape and makes room; the others must agree.
static sr_status take_image(const char *path, const sr_image *image, size_t index, size_t count,
                            sr_dataset *set) {
    if (index == 0) {
        sr_status status =
            sr_set_room(set, path, count, image->channels, image->height, image->width);
        if (status != SR_OK)
            return status;
    }
    if (image->height != set->height || image->width != set->width ||
        image->channels != set->channels)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: %zu x %zu pixels and %zu channels, the images before it have %zu x %zu "
                       "and %zu",
                       path, image->width, image->height, image->channels, set->width, set->height,
                       set->channels);
    size_t pixels = set->height * set->width;
    float *to = set->x + index * set->dim;
    for (size_t c = 0; c < set->channels; c++) {
        for (size_t p = 0; p < pixels; p++)
            to[c * pixels + p] = 2 * (float)image->data[p * set->channels + c] / 255 - 1;
    }
    return SR_OK;
}

sr_status sr_read_png_folder(const char *folder, size_t limit, sr_dataset *set) {
    name_list list = {0};
    sr_status status = list_names(folder, &list);
    size_t count = limit && limit < list.count ? limit : list.count;
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        sr_text path = {0};
        sr_image image = {0};
        sr_text_append(&path, "%s/%s", folder, list.names[i]);
        status = sr_text_status(&path);
        if (status == SR_OK)
            status = sr_png_load(sr_text_string(&path), &image);
        if (status == SR_OK)
            status = take_image(sr_text_string(&path), &image, i, count, set);
        sr_image_clear(&image);
        sr_text_clear(&path);
    }
    name_list_clear(&list);
    return status;
}
