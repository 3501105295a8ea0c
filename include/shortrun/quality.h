// quality: how near samples are to data. Metrics over feature arrays, metrics of 2-D points, and
// the feature networks. Knows nothing of energies and training runs.
#ifndef SHORTRUN_QUALITY_H
#define SHORTRUN_QUALITY_H

#include <shortrun/data.h>
#include <shortrun/net.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- metrics over two arrays of feature rows ----------------------------------------------------

// Bits of sr_metric_options.which, and indices of the values.
typedef enum sr_metric {
    SR_FRECHET,   // squared Frechet distance of Gaussian fits (Heusel et al. 2017), cov with N - 1
    SR_KID,       // unbiased polynomial MMD^2, (x.y/D + 1)^3 (Binkowski et al. 2018), all rows
    SR_PRECISION, // Kynkaanniemi et al. 2019 / Naeem et al. 2020, k-th neighbour
    SR_RECALL,
    SR_DENSITY, // Naeem et al. 2020
    SR_COVERAGE,
    SR_MMD2_RBF,         // unbiased, exp(-d^2 / (2 bandwidth^2))
    SR_ENERGY_DISTANCE,  // 2 mean d(x,y) - mean d(x,x') - mean d(y,y')
    SR_SLICED_W2,        // root mean over projections and ranks of squared differences
    SR_ONE_NN_ACCURACY,  // leave-one-out 1-NN two-sample accuracy (Lopez-Paz and Oquab 2017)
    SR_FRECHET_INFINITY, // extrapolated to infinitely many fake rows (Chong and Forsyth 2020)
    SR_KID_SUBSETS,      // mean of KID over random subsets (Binkowski et al. 2018)
    SR_VENDI,         // diversity of the fake rows alone (Friedman and Dieng 2023), cosine kernel
    SR_C2ST_ACCURACY, // logistic two-sample test on held-out halves (Lopez-Paz and Oquab 2017)
    SR_METRIC_COUNT
} sr_metric;

SR_API const char *sr_metric_name(sr_metric metric); // "frechet", "kid", ... as in the oracle files
SR_API sr_status sr_metric_parse(const char *name, sr_metric *out);
SR_API bool sr_metric_lower_is_better(sr_metric metric);

#define SR_BANDWIDTHS_MAX 8

// What a call can tell of single rows; every array is the caller's, and may be NULL. Distances are
// Euclidean and exact (computed in double from the features themselves).
typedef struct sr_metric_rows {
    // Memorisation: the nearest real row of each fake row, (n_fake).
    size_t *nearest;
    double *nearest_distance;
    double
        *real_distance; // (n_real): of each real row to the nearest other real row: the yardstick
    // Per fake row, (n_fake): the number of real balls it lies in, over k: its share of the
    // density; above 0 it counts for precision.
    double *density;
} sr_metric_rows;

typedef struct sr_metric_options {
    uint32_t which;           // bit 1u << metric
    size_t k;                 // neighbours of precision, recall, density, coverage; default 5
    bool non_strict;          // a ball holds what lies on its edge (<=); default false (<)
    double bandwidth;         // of mmd2_rbf; 0: the median of the real x fake distances: of all, or
                              // in problems too large for the exact path (sr_metrics_exact) of
                              // those between 2,048 evenly spaced rows of each
    const double *bandwidths; // (bandwidth_count) more bandwidths of the MMD, at most
    size_t bandwidth_count;   // SR_BANDWIDTHS_MAX, each positive: sr_metric_values.mmd2_fixed
    size_t kid_subsets;       // of kid_subsets; default 100
    size_t kid_subset_size;   // rows of a subset; default 1000; no more than there are
    bool kid_subset_clamp;    // take all rows where there are fewer; default true, else an error
    size_t frechet_sizes;     // of frechet_infinity; default 15
    double frechet_least_share; // the least size is min(5000, this x rows); default 0.5
    size_t inception_splits;    // of sr_inception_score; default 10
    size_t projection_count;    // of sliced_w2; default 128
    const float *projections;   // (projection_count, dim) unit rows (checked), or NULL: normalised
                                // Gaussians drawn from the seed
    bool no_errors;             // skip standard errors and intervals (they stay NaN)
    uint64_t seed;
    unsigned threads;          // 0: all; the values do not depend on it
    sr_metric_rows *rows;      // NULL, or filled too
    const sr_monitor *monitor; // NULL, or asked between scores and waves of tiles whether to stop:
                               // SR_ERROR_INTERRUPTED
    bool progress;             // tell the monitor how far it is, as "scores"
} sr_metric_options;

SR_API void sr_metric_options_default(sr_metric_options *options);

// Whose constants: each convention sets k, the comparison, the subsets of KID, the sizes of
// frechet_infinity and the splits of the inception score to what the package of that name does.
typedef enum sr_convention {
    SR_CONVENTION_SHORTRUN,
    SR_CONVENTION_TORCH_FIDELITY, // torch-fidelity 0.4.0
    SR_CONVENTION_CLEAN_FID,      // clean-fid 0.1.35
    SR_CONVENTION_PRDC,           // prdc 0.2
    SR_CONVENTION_DGM_EVAL,       // dgm-eval (Stein et al. 2023)
    SR_CONVENTION_COUNT
} sr_convention;

SR_API const char *sr_convention_name(sr_convention convention); // "torch-fidelity", ...
SR_API sr_status sr_convention_parse(const char *name, sr_convention *out);
// Sets the constants in options made by sr_metric_options_default; the rest stays as it is.
SR_API void sr_convention_apply(sr_convention convention, sr_metric_options *options);
// Bits of the metrics that the package has at all.
SR_API uint32_t sr_convention_metrics(sr_convention convention);
// The constants of the metrics asked for, one line each ("precision, recall: k 5, distance <
// radius"), appended to `text`.
SR_API void sr_metric_options_describe(const sr_metric_options *options, sr_text *text);

// Standard errors are of the score as an estimate of its expectation at these n (a bias that
// depends on n, as of the Frechet distance, stays), over new real and new fake rows; intervals are
// at 95%. How they are made, and why not by the bootstrap: docs of src/quality/resample.c.
typedef struct sr_metric_values {
    size_t n_real, n_fake;
    double bandwidth;              // that was used
    double value[SR_METRIC_COUNT]; // NaN where not asked for
    double error[SR_METRIC_COUNT]; // standard error; NaN where there are too few rows for one
    double low[SR_METRIC_COUNT], high[SR_METRIC_COUNT];
    double kid_subset_deviation;          // standard deviation over the subsets (divisor: subsets)
    double mmd2_fixed[SR_BANDWIDTHS_MAX]; // at options.bandwidths, NaN beyond
    double mmd2_fixed_error[SR_BANDWIDTHS_MAX];
    double c2st_p;    // one-sided: accuracy of chance at least as high (normal approximation)
    size_t c2st_rows; // held-out rows
} sr_metric_values;

// real (n_real, dim), fake (n_fake, dim). Errors: fewer than k + 1 rows (2 for the others), a value
// that is not finite (its row and column are named). Memory is bounded: tiles, no n x n matrix.
// Large problems (see sr_metrics_exact) take products in 16-bit integers: neighbours, balls and
// nearest distances are the same as on the exact path, means of kernels over all pairs agree to
// about 1e-7 over the root of the number of rows.
SR_API sr_status sr_metrics(size_t n_real, const float *real, size_t n_fake, const float *fake,
                            size_t dim, const sr_metric_options *options, sr_metric_values *out);
// Whether sr_metrics takes all distances in double: dim below 32, or at most 4e9 pairs x features.
SR_API bool sr_metrics_exact(size_t n_real, size_t n_fake, size_t dim);

// Memorisation, summed up from sr_metric_rows: if fake rows are like new data, their nearest real
// rows are about as far as a real row's nearest other real row.
typedef struct sr_memorisation {
    double median_fake, median_real; // distances
    double closer; // P(a fake row is nearer to the real rows than a real row is), ties half: 1/2
                   // for new data, near 1 for copies
    double copies; // share of fake rows nearer than 99% of the real rows are (1/100 for new data)
} sr_memorisation;
// fake (n_fake), real (n_real): nearest distances. Errors: no rows, memory.
SR_API sr_status sr_memorisation_of(size_t n_real, const double *real, size_t n_fake,
                                    const double *fake, sr_memorisation *out);

// ---- scores of class probabilities --------------------------------------------------------------

// A value with its standard error and 95% interval.
typedef struct sr_estimate {
    double value, error, low, high;
} sr_estimate;

// logits (n, classes). exp of the mean over a split's rows of KL(p(y|x) || p(y)), averaged over
// splits of consecutive rows in a seeded shuffle, borders i n / splits as in torch-fidelity
// (Salimans et al. 2016). deviation: over the splits (divisor: splits), may be NULL. The error is
// that of a mean of independent splits (t). Errors: fewer rows than splits, a logit that is not
// finite.
SR_API sr_status sr_inception_score(size_t n, size_t classes, const float *logits, size_t splits,
                                    uint64_t seed, sr_estimate *out, double *deviation);
// count (classes): rows by their largest logit (the first, if several tie); share (classes): mean
// probabilities; either may be NULL. hard: entropy of the counts, soft: of the shares, nats
// (jack-knife errors). hard, soft may be NULL.
SR_API sr_status sr_class_histogram(size_t n, size_t classes, const float *logits, uint64_t *count,
                                    double *share, sr_estimate *hard, sr_estimate *soft);

// ---- comparisons --------------------------------------------------------------------------------

// a - b.
typedef struct sr_difference {
    double a, b;
    sr_estimate difference;
    double p;         // two-sided
    const char *test; // what p comes from: "permutation of rows", "t", "sign flips of differences"
    sr_estimate interval_a, interval_b; // a and b each by itself
} sr_difference;

// Two sets of fake rows a (n_a, dim), b (n_b, dim) against the same real rows. Differences of the
// metrics asked for in options->which of: frechet, kid, precision, recall, density, coverage,
// mmd2_rbf (bandwidth 0: the median between real and a with b), energy_distance; others are NaN.
// Errors take into account that both share the real rows. p: see src/quality/compare.c.
// permutations: e.g. 9999. Errors: as sr_metrics.
SR_API sr_status sr_compare(size_t n_real, const float *real, size_t n_a, const float *a,
                            size_t n_b, const float *b, size_t dim,
                            const sr_metric_options *options, size_t permutations,
                            sr_difference out[SR_METRIC_COUNT]);

// The permutation test of differences of means: score[s] (n_a + n_b), those of A first, for `count`
// scores of the same rows; p (count): two-sided, (1 + divisions at least as far apart) /
// (permutations + 1). The same for any number of threads.
SR_API sr_status sr_permutation_test(size_t n_a, size_t n_b, size_t count,
                                     const double *const *score, size_t permutations, uint64_t seed,
                                     unsigned threads, double *p);
// p-values of n tests made together, adjusted by Holm (1979): below 0.05 anywhere with probability
// at most 0.05 where no difference is real. NaN stays NaN and counts for no test.
SR_API void sr_holm(size_t n, const double *p, double *adjusted);

// Values over seeds (n): mean, standard deviation (divisor n - 1), standard error and t interval of
// the mean. deviation may be NULL; NaN for one value. Errors: no values, one that is not finite.
SR_API sr_status sr_seeds_summary(size_t n, const double *value, sr_estimate *mean,
                                  double *deviation);
// The same from the mean and the deviation of n values (at least 2).
SR_API void sr_seeds_interval(size_t n, double mean, double deviation, sr_estimate *out);
// Pairs of values of the same n seeds: mean of a - b, t interval, p by flipping the signs of the
// differences: all 2^n up to 20 seeds, else 2^20 random ones.
SR_API sr_status sr_seeds_compare(size_t n, const double *a, const double *b, uint64_t seed,
                                  sr_difference *out);

// ---- 2-D points ---------------------------------------------------------------------------------

typedef struct sr_toy_scores {
    size_t n;             // samples judged
    size_t mode_count;    // 0: the density has no separate modes, and the next two are NaN
    double modes_covered; // modes that hold at least a fifth of their fair share of the samples
                          // within 3 sd
    double high_quality;  // share of the samples within 3 standard deviations of a mode (Srivastava
                          // et al. 2017, VEEGAN)
    // KL divergences in nats, on a grid over the set's window. Against data: of histograms. Against
    // the true density: it is integrated over each cell (four Gauss points).
    double kl;              // KL(data || samples): missed mass
    double kl_reverse;      // KL(samples || data): mass where there is none
    double kl_true;         // KL(true density || samples)
    double kl_true_reverse; // KL(samples || true density)
    double mmd2;            // unbiased RBF MMD^2, bandwidth = median distance
    double sliced_w2;
    double w2;   // exact Wasserstein-2 distance of w2_n points of each side, see sr_toy_w2
    size_t w2_n; // min(n_data, n, SR_TOY_W2_POINTS)
    // The same values with standard errors and 95% intervals over new data and new samples of the
    // same number: the divergences and sliced_w2 by the jack-knife that leaves out one of 20 groups
    // of both sets, mmd2 as sr_metrics, high_quality by Wilson's interval, modes_covered
    // by the percentiles of a bootstrap of the samples (a mode without a sample stays so), w2 as
    // sr_toy_w2_estimate. NaN where there are too few points.
    struct {
        sr_estimate kl, kl_reverse, kl_true, kl_true_reverse, high_quality, mmd2, sliced_w2, w2,
            modes_covered;
    } interval;
} sr_toy_scores;

#define SR_TOY_GRID 80
#define SR_TOY_KL_FLOOR                                                                            \
    1e-10 // least mass of a cell of q in a KL, so that a missed cell costs a finite price

// samples, data (n, 2): data is a fresh sample of the density. KL: 80 x 80 cells over the window,
// both sides smoothed by a Gaussian of deviation 0.1 (truncated at 4 deviations, folded back
// at the edge); all that lies outside the window counts as one more cell, so samples that leave
// lose their mass. Errors: fewer than 2 points, a coordinate that is not finite (it is named).
SR_API sr_status sr_toy_judge(sr_toy toy, size_t n_data, const float *data, size_t n_samples,
                              const float *samples, uint64_t seed, unsigned threads,
                              sr_toy_scores *out);
// KL(data || q) for a density q given by its log values (not normalised) at the centres of that
// grid (80 x 80, row-major, y upward = row index), e.g. exp(-E)/Z; -inf is a density of 0. Both are
// normalised over the window and then smoothed in the same way, so that the true density scores
// nearly 0.
SR_API sr_status sr_toy_kl_grid(sr_toy toy, size_t n_data, const float *data, const double *log_q,
                                double *kl);
// The same with its standard error and interval over new data (jack-knife over 20 groups); the
// density is taken as given.
SR_API sr_status sr_toy_kl_grid_estimate(sr_toy toy, size_t n_data, const float *data,
                                         const double *log_q, uint64_t seed, sr_estimate *out);
// Scores that can be compared between two sets of samples, and their names ("kl", ...).
enum {
    SR_TOY_KL,
    SR_TOY_KL_REVERSE,
    SR_TOY_KL_TRUE,
    SR_TOY_KL_TRUE_REVERSE,
    SR_TOY_HIGH_QUALITY,
    SR_TOY_COMPARED
};
SR_API const char *sr_toy_compared_name(size_t score);
// Two sets of samples a (n_a, 2), b (n_b, 2) against the same data (n_data, 2): a - b. Errors by
// the jack-knife that leaves out groups of all three sets, the same of data for a and b. p:
// permutation of rows; a divergence changes with a sample by its influence on the divergence of a
// and b pooled. NaN for what the density or so few points do not have. Errors: as sr_toy_judge.
SR_API sr_status sr_toy_compare(sr_toy toy, size_t n_data, const float *data, size_t n_a,
                                const float *a, size_t n_b, const float *b, size_t permutations,
                                uint64_t seed, unsigned threads,
                                sr_difference out[SR_TOY_COMPARED]);
// The centres of the grid's cells: x (6400, 2).
SR_API void sr_toy_grid(sr_toy toy, float *x);

#define SR_TOY_W2_POINTS 2000
// The exact Wasserstein-2 distance of two sets of points in the plane, a (n_a, 2), b (n_b, 2): the
// root of the least mean squared distance of any one-to-one pairing. Both sides give *n =
// min(n_a, n_b, SR_TOY_W2_POINTS) points; of more, the seed draws which (for sets of equal size the
// same rows of both). *w2^2 is never too small and at most 1.5e-14 D^2 too large, D the largest
// distance between the sets. Time and memory for 2,000 points: about a second, 150 MB. NaN where
// the library was built without LEMON. Errors: an empty set, a coordinate that is not finite (it is
// named), SR_ERROR_MEMORY.
SR_API sr_status sr_toy_w2(size_t n_a, const float *a, size_t n_b, const float *b, uint64_t seed,
                           size_t *n, double *w2);
// The same with its standard error and 95% interval over new points of both sets, as an estimate of
// the distance's expectation at this n (above the distance of the distributions, the more so the
// fewer points): by the variance of the Kantorovich potentials (del Barrio and Loubes 2019). Both
// NaN for one point.
SR_API sr_status sr_toy_w2_estimate(size_t n_a, const float *a, size_t n_b, const float *b,
                                    uint64_t seed, size_t *n, sr_estimate *w2);
SR_API const char *sr_toy_w2_library(void); // that solves it, "LEMON 1.3.1"; NULL: none

// ---- feature networks ---------------------------------------------------------------------------

// A small classifier whose penultimate activations are the features.
typedef struct sr_classifier sr_classifier;

typedef struct sr_classifier_options {
    size_t nf, features; // width of sr_net_classifier (leaky_relu), dimension of the features
    size_t epochs, batch;
    double rate;      // of Adam; falls linearly to 0
    uint64_t seed;    // of the start and of the batches
    unsigned threads; // 0: all; the weights do not depend on it
    sr_engine engine;
} sr_classifier_options;
// nf 16, 64 features, 10 epochs of batches of 128, rate 2e-3, seed 1: 91 to 92% on Fashion-MNIST.
SR_API void sr_classifier_options_default(sr_classifier_options *options);

// Trains with softmax cross-entropy and Adam on square, labelled images; test may be NULL.
// accuracy: on the test set (NULL allowed; NaN without one). Errors: SR_ERROR_ARGUMENT for sets
// without labels or of other shapes, SR_ERROR_DIVERGED, SR_ERROR_INTERRUPTED when the monitor says
// stop. The features are scaled by one number so that their average variance over the training
// images is 1.
SR_API sr_status sr_classifier_train(const sr_dataset *train, const sr_dataset *test,
                                     const sr_classifier_options *options,
                                     const sr_monitor *monitor, sr_classifier **out,
                                     double *accuracy);
// Files are safetensors with PyTorch's names and the record of the training in the metadata
// (dataset, test_accuracy, epochs, seed, train_count, train_data_hash, hash). Loading checks the
// hash of the weights.
SR_API sr_status sr_classifier_load(const char *path, sr_engine engine, unsigned threads,
                                    sr_classifier **out);
SR_API sr_status sr_classifier_save(const sr_classifier *classifier, const char *path);
SR_API void sr_classifier_destroy(sr_classifier *classifier);
// The weights that ship with the project for a data set ("fashion_mnist"): the path where they are
// installed or lie in the source tree; SR_ERROR_IO with the places searched and the command that
// trains them when there are none. $SHORTRUN_FEATURES names a file or folder that goes first.
SR_API sr_status sr_classifier_find(const char *dataset, char *path, size_t size);
SR_API const sr_net *sr_classifier_net(const sr_classifier *classifier);
SR_API size_t sr_classifier_features(const sr_classifier *classifier); // dimension of the features
SR_API const char *
sr_classifier_hash(const sr_classifier *classifier); // names the weights in records
SR_API double
sr_classifier_accuracy(const sr_classifier *classifier); // test accuracy on record, or NaN
// x (n, inputs) in [-1, 1] (clamped first) -> features (n, features), logits (n, classes) or NULL.
// One call at a time for one classifier. Errors: a value that is not finite (it is named).
SR_API sr_status sr_classifier_features_of(sr_classifier *classifier, size_t n, const float *x,
                                           float *features, float *logits);

// ---- Inception-v3 -------------------------------------------------------------------------------

// The feature network of the Frechet inception distance: TensorFlow's Inception-v3 of 2015-12-05 in
// pytorch-fid's form (Szegedy et al. 2016; Heusel et al. 2017). It runs on oneDNN. The weights are
// the user's to get; scripts/convert_inception.py makes a safetensors file of what pytorch-fid
// publishes.
typedef struct sr_inception sr_inception;

#define SR_INCEPTION_SIZE 299      // height and width of its input
#define SR_INCEPTION_FEATURES 2048 // means of the last maps, "pool3"
#define SR_INCEPTION_LOGITS 1008

// How images come to 299 x 299. Two conventions, whose scores are not comparable.
typedef enum sr_resize {
    SR_RESIZE_PYTORCH_FID, // bilinear, align_corners=False, not antialiased; 0..1 becomes 2v - 1
    SR_RESIZE_CLEAN_FID,   // PIL's bicubic, antialiased, each channel in floats, clipped to 0..255
                           // (Parmar et al. 2022); v becomes (v - 128) / 128
    SR_RESIZE_COUNT
} sr_resize;
SR_API const char *sr_resize_name(sr_resize resize); // "pytorch-fid", "clean-fid"
SR_API sr_status sr_resize_parse(const char *name, sr_resize *out);

// Precision fp32 or bf16 (operands and activations bfloat16, sums fp32: features within 1e-2 of
// their scale). threads 0: all; the features do not depend on it. Errors: SR_ERROR_IO;
// SR_ERROR_FORMAT for a name or shape that is not the network's and values that are not finite;
// SR_ERROR_UNSUPPORTED without oneDNN, for bf16x3, and for bf16 on CPUs that lack it.
SR_API sr_status sr_inception_load(const char *path, sr_precision precision, unsigned threads,
                                   sr_inception **out);
SR_API void sr_inception_destroy(sr_inception *inception);
// The path of inception.safetensors: the file, or its folder, that $SHORTRUN_FEATURES names, else
// where the project's own weights lie. SR_ERROR_IO with the places searched and the commands that
// get and convert the weights when it is in none of them.
SR_API sr_status sr_inception_find(char *path, size_t size);
SR_API const char *sr_inception_hash(const sr_inception *inception); // names the weights in records
// SHA-256 of the PyTorch file that the weights were converted from (pytorch-fid's begins with
// 6726825d), as the file's record says; "" where it says nothing.
SR_API const char *sr_inception_source(const sr_inception *inception);
SR_API sr_precision sr_inception_precision(const sr_inception *inception);
// x (n, channels, height, width) in [-1, 1] (clamped first), channels 1 (repeated) or 3 ->
// features (n, SR_INCEPTION_FEATURES), logits (n, SR_INCEPTION_LOGITS) or NULL. The features of an
// image depend on no other one: long jobs may be cut anywhere. One call at a time for one network.
// Errors: SR_ERROR_ARGUMENT for other shapes and values that are not finite (named).
SR_API sr_status sr_inception_features_of(sr_inception *inception, size_t n, size_t channels,
                                          size_t height, size_t width, const float *x,
                                          sr_resize resize, float *features, float *logits);
// The bias within the logits (SR_INCEPTION_LOGITS): the inception score's reference implementations
// (Salimans et al. 2016, torch-fidelity) leave it out.
SR_API const float *sr_inception_logit_bias(const sr_inception *inception);
// What the network sees of an image x (channels, height, width): out (3, 299, 299).
SR_API sr_status sr_inception_input(sr_resize resize, size_t channels, size_t height, size_t width,
                                    const float *x, float *out);

// ---- principal components -----------------------------------------------------------------------

// The first `count` principal components of rows x (n, dim): the directions of largest variance,
// orthonormal, by descending variance; of each the entry of largest size is positive.
typedef struct sr_principal {
    size_t dim, count;
    double *mean;      // (dim)
    double *direction; // (count, dim)
    double *share;     // (count): of the total variance
} sr_principal;

// count at most dim. Errors: fewer than 2 rows, rows without variance, a value that is not finite,
// memory.
SR_API sr_status sr_principal_create(size_t n, const float *x, size_t dim, size_t count,
                                     sr_principal *out);
SR_API void sr_principal_clear(sr_principal *principal);
// x (n, dim) -> out (n, count): coordinates along the directions, from the mean.
SR_API void sr_principal_project(const sr_principal *principal, size_t n, const float *x,
                                 double *out);

#ifdef __cplusplus
}
#endif
#endif
