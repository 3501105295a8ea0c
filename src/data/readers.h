// Readers of image files into a data set, shared by the files of the data module.
#ifndef SHORTRUN_DATA_READERS_H
#define SHORTRUN_DATA_READERS_H

#include <shortrun/data.h>

// Each fills count, channels, height, width, x, labels, classes of an empty set with at most
// `limit` samples (0: all); the caller clears the set on failure, and fills in the rest.

// IDX images, and labels from `labels_path` unless that is NULL. classes: 0 finds it as largest
// label + 1.
sr_status sr_read_idx(const char *images_path, const char *labels_path, size_t classes,
                      size_t limit, sr_dataset *set);
// CIFAR-10 binary files, one after the other, as many as `limit` needs.
sr_status sr_read_cifar(const char *const *paths, size_t n, size_t limit, sr_dataset *set);
// All *.png of a folder, in the order of their names.
sr_status sr_read_png_folder(const char *folder, size_t limit, sr_dataset *set);
sr_status sr_read_npy(const char *path, size_t limit, sr_dataset *set);

// Sets the shape of a set and makes room for its samples; more than the machine's memory is refused
// before anything is allocated. `source` begins the message.
sr_status sr_set_room(sr_dataset *set, const char *source, size_t count, size_t channels,
                      size_t height, size_t width);

#endif
