// data: what models are trained on. Two-dimensional densities, sampled on demand; image sets from
// files.
#ifndef SHORTRUN_DATA_H
#define SHORTRUN_DATA_H

#include <shortrun/io.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- two-dimensional densities ------------------------------------------------------------------

typedef enum sr_toy {
    SR_EIGHT_GAUSSIANS,       // on a circle of radius 2, standard deviation 0.2
    SR_TWENTY_FIVE_GAUSSIANS, // 5 x 5 grid, spacing 1, standard deviation 0.1
    SR_RINGS,                 // radii 0.6, 1.2, 1.8, 2.4, equally likely, deviation 0.08
    SR_TWO_MOONS,             // scikit-learn's, scaled by 1.5, deviation 0.1
    SR_PINWHEEL,              // five arms
    SR_CHECKERBOARD,          // uniform on 8 unit squares of [-2, 2]^2
    SR_SWISS_ROLL,            // 0.2 t (cos t, sin t), t in [1.5 pi, 4.5 pi], deviation 0.1
    SR_TWO_SPIRALS,           // +-0.3 t (-cos t, sin t), t in [0, 3 pi], deviation 0.1
    SR_TOY_COUNT
} sr_toy;

SR_API const char *sr_toy_name(sr_toy toy);
SR_API sr_status sr_toy_parse(const char *name, sr_toy *out);
// Samples first .. first+n-1 of the endless sequence of (toy, seed): x (n, 2). Counter-based: any
// part of the sequence can be drawn on its own.
SR_API void sr_toy_sample(sr_toy toy, uint64_t seed, uint64_t first, size_t n, float *x);
// log density (normalised) at x (n, 2). In closed form, except for two_moons, swiss_roll and
// two_spirals, which are a one-dimensional quadrature (relative error below 1e-6 wherever there is
// mass). False (nothing written) where it is not known; at present all are.
SR_API bool sr_toy_log_density(sr_toy toy, size_t n, const float *x, double *log_density);
// Centres (count, 2) and standard deviation of the modes; 0 where the density has no separate
// modes.
SR_API size_t sr_toy_modes(sr_toy toy, const double **centres, double *deviation);
// Half-width of the square window [-w, w]^2 that holds the density (for grids and plots).
SR_API double sr_toy_window(sr_toy toy);

// ---- datasets -----------------------------------------------------------------------------------

typedef enum sr_split { SR_TRAIN, SR_TEST } sr_split;

// A set of samples in memory as float32, scaled to [-1, 1] for images (2-D points are not scaled).
typedef struct sr_dataset {
    char name[64];
    bool toy;                       // synthetic: x holds a fixed sample of `count` points
    sr_toy toy_kind;                // where toy
    size_t count;                   // samples
    size_t channels, height, width; // a 2-D point: 2, 1, 1
    size_t dim;                     // channels x height x width
    float *x;                       // (count, channels, height, width)
    uint8_t *labels;                // (count) or NULL
    size_t classes;                 // 0 without labels
    char source[512];               // the file or folder it came from
    char hash[33];                  // sr_hash_hex of the samples: names the data in records
} sr_dataset;

// Loads a data set by name:
//   a toy's name; fashion_mnist, mnist (IDX, plain or .gz); cifar10 (binary format);
//   a path: folder of PNG (all of one size), IDX file, .npy ((N, D), (N, H, W), (N, C, H, W) or
//   (N, H, W, 3); u1 is scaled from 0..255, floats are taken as they are and must lie in [-1, 1]
//   when they are images).
// A folder with subfolders train/ and test/ is read by split; other paths hold the same samples for
// both splits. An IDX file's labels are read too where a file of the matching name lies beside it.
// Named sets are searched in `folder` (NULL: none), then $SHORTRUN_DATA, then /usr/share/datasets
// (Debian's), in each first in a subfolder of the set's name, then in the place itself.
// limit: at most so many samples (0: all; toys: 10,000 by default). seed matters for toys only; a
// toy's test split is another part of the same sequence. Errors list the places that were searched.
SR_API sr_status sr_dataset_load(const char *name, const char *folder, sr_split split, size_t limit,
                                 uint64_t seed, sr_dataset *out);
SR_API void sr_dataset_clear(sr_dataset *set);
// True and the folder where the named set's files lie ("synthetic" for toys), for `shortrun info`.
SR_API bool sr_dataset_find(const char *name, const char *folder, char *where, size_t size);
// The names sr_dataset_load knows besides paths, NULL-terminated.
SR_API const char *const *sr_dataset_names(void);

// Readers of single files, checked against hostile input.
// IDX of unsigned bytes, rank 1 (labels) or 3 (images); plain or gzip; shape (count[, height,
// width]).
SR_API sr_status sr_idx_load(const char *path, sr_array *out);
// CIFAR-10 binary: x (count, 3, 32, 32) as u8 and labels (count).
SR_API sr_status sr_cifar_load(const char *path, sr_array *x, sr_array *labels);

// A batch of n rows, drawn without replacement within each pass over the data (a counter-based
// permutation per pass): the rows of iteration t. out (n, dim); noise_scale: standard deviation of
// Gaussian noise added to the rows (0: none), its own stream. labels: (n) or NULL; 0 where the set
// has none. The set must not be empty.
SR_API void sr_dataset_batch(const sr_dataset *set, uint64_t seed, uint64_t iteration, size_t n,
                             float noise_scale, float *out, uint8_t *labels);

#ifdef __cplusplus
}
#endif
#endif
