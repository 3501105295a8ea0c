// Finding and loading data sets by name or path. The formats are read in readers.c and
// png_folder.c.
#include "data/readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOY_COUNT_DEFAULT 10000
// Where the test points of a 2-D density begin in its endless sequence: beyond any training set.
#define TOY_TEST_FIRST ((uint64_t)1 << 40)
#define SYSTEM_FOLDER "/usr/share/datasets"

// ---- known image sets ---------------------------------------------------------------------------

// Subfolders are tried in order in each place, the place itself ("") last: a place may hold several
// sets whose files have the same names. The last names are torchvision's.
typedef struct image_set {
    const char *name;
    bool cifar;
    const char *subfolders[6];
} image_set;

static const image_set image_sets[] = {
    {"fashion_mnist", false, {"fashion_mnist", "fashion-mnist", "FashionMNIST/raw", ""}},
    {"mnist", false, {"mnist", "MNIST/raw", "MNIST", ""}},
    {"cifar10", true, {"cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", ""}},
};
enum { IMAGE_SETS = sizeof image_sets / sizeof *image_sets };

const char *const *sr_dataset_names(void) {
    static const char *const names[] = {"eight_gaussians", "twenty_five_gaussians",
                                        "rings",           "two_moons",
                                        "pinwheel",        "checkerboard",
                                        "swiss_roll",      "two_spirals",
                                        "fashion_mnist",   "mnist",
                                        "cifar10",         NULL};
    return names;
}

static const image_set *find_image_set(const char *name) {
    for (size_t i = 0; i < IMAGE_SETS; i++) {
        if (strcmp(name, image_sets[i].name) == 0)
            return &image_sets[i];
    }
    return NULL;
}

// ---- searching ----------------------------------------------------------------------------------

// folder/file, or the same with .gz behind it, or with idx3 and idx1 set off by a dot (some copies
// are named so). False when none exists or the path is too long.
static bool find_file(const char *folder, const char *file, char *path, size_t size) {
    static const char *const endings[] = {"", ".gz"};
    char dotted[64];
    snprintf(dotted, sizeof dotted, "%s", file);
    char *idx = strstr(dotted, "-idx");
    if (idx)
        *idx = '.';
    for (int variant = 0; variant < (idx ? 2 : 1); variant++) {
        for (int e = 0; e < 2; e++) {
            int n = snprintf(path, size, "%s/%s%s", folder, variant ? dotted : file, endings[e]);
            if (n > 0 && (size_t)n < size && sr_file_exists(path))
                return true;
        }
    }
    return false;
}

static const char *first_file(const image_set *set, sr_split split) {
    if (set->cifar)
        return split == SR_TRAIN ? "data_batch_1.bin" : "test_batch.bin";
    return split == SR_TRAIN ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte";
}

// The folder that holds the set's first file, into `where`. What was searched is appended to
// `searched` (NULL: not).
static bool find_folder(const image_set *set, const char *folder, sr_split split, char *where,
                        size_t size, sr_text *searched) {
    const char *places[] = {folder, getenv("SHORTRUN_DATA"), SYSTEM_FOLDER};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        if (!places[p] || !*places[p])
            continue;
        if (searched)
            sr_text_append(searched, "%s%s", searched->length ? ", " : "", places[p]);
        for (size_t s = 0; s < 6 && set->subfolders[s]; s++) {
            char path[1024];
            const char *sub = set->subfolders[s];
            int n = snprintf(where, size, "%s%s%s", places[p], *sub ? "/" : "", sub);
            if (n > 0 && (size_t)n < size &&
                find_file(where, first_file(set, split), path, sizeof path))
                return true;
        }
    }
    if (size > 0)
        where[0] = 0;
    return false;
}

bool sr_dataset_find(const char *name, const char *folder, char *where, size_t size) {
    sr_toy toy;
    const image_set *set = find_image_set(name);
    if (set)
        return find_folder(set, folder, SR_TRAIN, where, size, NULL);
    bool synthetic = sr_toy_parse(name, &toy) == SR_OK;
    snprintf(where, size, "%s", synthetic ? "synthetic" : "");
    return synthetic;
}

// ---- loading ------------------------------------------------------------------------------------

static sr_status load_toy(sr_toy toy, sr_split split, size_t limit, uint64_t seed,
                          sr_dataset *set) {
    set->toy = true;
    set->toy_kind = toy;
    sr_status status =
        sr_set_room(set, sr_toy_name(toy), limit ? limit : TOY_COUNT_DEFAULT, 2, 1, 1);
    if (status != SR_OK)
        return status;
    sr_toy_sample(toy, seed, split == SR_TRAIN ? 0 : TOY_TEST_FIRST, set->count, set->x);
    snprintf(set->source, sizeof set->source, "synthetic, seed %llu", (unsigned long long)seed);
    return SR_OK;
}

static sr_status load_image_set(const image_set *known, const char *folder, sr_split split,
                                size_t limit, sr_dataset *set) {
    char where[512];
    sr_text searched = {0};
    if (!find_folder(known, folder, split, where, sizeof where, &searched)) {
        sr_status status = sr_fail(
            SR_ERROR_IO, "%s: found no %s in %s or their subfolders %s, %s; set SHORTRUN_DATA",
            known->name, first_file(known, split), sr_text_string(&searched), known->subfolders[0],
            known->subfolders[1]);
        sr_text_clear(&searched);
        return status;
    }
    sr_text_clear(&searched);
    snprintf(set->source, sizeof set->source, "%s", where);
    char paths[5][1024];
    if (known->cifar) {
        const char *list[5];
        size_t n = split == SR_TRAIN ? 5 : 1;
        for (size_t i = 0; i < 5; i++) {
            snprintf(paths[i], sizeof paths[i], "%s/data_batch_%zu.bin", where, i + 1);
            list[i] = paths[i];
        }
        if (split == SR_TEST)
            snprintf(paths[0], sizeof paths[0], "%s/test_batch.bin", where);
        return sr_read_cifar(list, n, limit, set);
    }
    const char *labels = split == SR_TRAIN ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte";
    find_file(where, first_file(known, split), paths[0], sizeof paths[0]);
    bool labelled = find_file(where, labels, paths[1], sizeof paths[1]);
    return sr_read_idx(paths[0], labelled ? paths[1] : NULL, 10, limit, set);
}

// The labels that belong to an IDX file of images by their name: "...images...idx3..." ->
// "...labels...idx1...".
static bool labels_beside(const char *images, char *path, size_t size) {
    const char *slash = strrchr(images, '/'), *file = slash ? slash + 1 : images;
    const char *word = strstr(file, "images");
    if (!word || (size_t)snprintf(path, size, "%s", images) >= size)
        return false;
    memcpy(path + (word - images), "labels", 6);
    char *rank = strstr(path + (word - images), "idx3");
    if (rank)
        rank[3] = '1';
    return sr_file_exists(path);
}

static bool ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

static sr_status load_path(const char *path, sr_split split, size_t limit, sr_dataset *set) {
    struct stat info;
    char inner[1024];
    snprintf(set->source, sizeof set->source, "%s", path);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        int n = snprintf(inner, sizeof inner, "%s/%s", path, split == SR_TRAIN ? "train" : "test");
        bool halves = n > 0 && (size_t)n < sizeof inner && sr_file_exists(inner);
        return sr_read_png_folder(halves ? inner : path, limit, set);
    }
    if (ends_with(path, ".npy"))
        return sr_read_npy(path, limit, set);
    if (ends_with(path, ".bin"))
        return sr_read_cifar(&path, 1, limit, set);
    if (ends_with(path, ".png"))
        return sr_fail(SR_ERROR_ARGUMENT, "%s: a single image; give the folder of the images",
                       path);
    bool labelled = labels_beside(path, inner, sizeof inner);
    return sr_read_idx(path, labelled ? inner : NULL, 0, limit, set);
}

// `name` is no known set: a path as it stands, or inside `folder` or $SHORTRUN_DATA.
static sr_status load_unknown(const char *name, const char *folder, sr_split split, size_t limit,
                              sr_dataset *set) {
    if (sr_file_exists(name))
        return load_path(name, split, limit, set);
    const char *places[] = {folder, getenv("SHORTRUN_DATA")};
    for (size_t p = 0; p < 2; p++) {
        char path[1024];
        if (!places[p] || !*places[p] || name[0] == '/')
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", places[p], name);
        if (n > 0 && (size_t)n < sizeof path && sr_file_exists(path))
            return load_path(path, split, limit, set);
    }
    sr_text known = {0};
    for (const char *const *at = sr_dataset_names(); *at; at++)
        sr_text_append(&known, "%s%s", known.length ? ", " : "", *at);
    sr_status status = sr_fail(SR_ERROR_ARGUMENT,
                               "no data set and no file is called '%s'; there are %s, or a path",
                               name, sr_text_string(&known));
    sr_text_clear(&known);
    return status;
}

// The last part of a path, or the name itself.
static void name_set(const char *name, sr_dataset *set) {
    size_t end = strlen(name);
    while (end > 1 && name[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && name[start - 1] != '/')
        start--;
    size_t n = end - start < sizeof set->name - 1 ? end - start : sizeof set->name - 1;
    memcpy(set->name, name + start, n);
    set->name[n] = 0;
}

sr_status sr_dataset_load(const char *name, const char *folder, sr_split split, size_t limit,
                          uint64_t seed, sr_dataset *out) {
    memset(out, 0, sizeof *out);
    if (!name || !*name)
        return sr_fail(SR_ERROR_ARGUMENT, "no data set is named");
    sr_status status;
    sr_toy toy;
    const image_set *known = find_image_set(name);
    if (known)
        status = load_image_set(known, folder, split, limit, out);
    else if (sr_toy_parse(name, &toy) == SR_OK)
        status = load_toy(toy, split, limit, seed, out);
    else
        status = load_unknown(name, folder, split, limit, out);
    if (status != SR_OK) {
        sr_dataset_clear(out);
        return status;
    }
    name_set(name, out);
    sr_hash_hex(out->x, out->count * out->dim * sizeof *out->x, out->hash);
    return SR_OK;
}

void sr_dataset_clear(sr_dataset *set) {
    if (!set)
        return;
    sr_free(set->x);
    sr_free(set->labels);
    memset(set, 0, sizeof *set);
}
