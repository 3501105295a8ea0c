// experiment: a YAML file -> a grid of cells -> results in SQLite. Each cell is trained, sampled,
// judged and timed; finished cells are not run again; an interrupted one goes on where it was.
#ifndef SHORTRUN_EXPERIMENT_H
#define SHORTRUN_EXPERIMENT_H

#include <shortrun/density.h>
#include <shortrun/quality.h>
#include <shortrun/train.h>

#ifdef __cplusplus
extern "C" {
#endif

// How training data is noised.
typedef enum sr_data_noise_mode {
    SR_DATA_NOISE_FIXED,  // the given standard deviation
    SR_DATA_NOISE_MATCHED // max(given, noise of the dynamics)
} sr_data_noise_mode;

// What is asked about the densities of a trained energy, see sr_density_judge.
typedef struct sr_density_settings {
    size_t points;      // held-out rows whose likelihood is taken; 0: nothing is asked
    int method;         // of log det: 0 exact up to 64 dimensions, else series; else 1 + sr_log_det
    size_t probes;      // of the estimates
    size_t lanczos;     // iterations of the eigenvalues along trajectories, 0: not asked
    size_t grid;        // 2-D: cells a side of the window for densities
    size_t long_chains; // long-run chains of HMC, 0: none
    size_t long_steps;  // at most so many steps of each
    size_t ais_chains;  // images: annealed importance sampling, 0: none
    size_t ais_levels;  // its intermediate densities
    size_t beyond;      // samples are judged after up to so many times K steps; 1: not beyond
} sr_density_settings;

// One point of the grid, everything that decides its result.
typedef struct sr_cell {
    char group[64]; // name of the group in the file (its rows make one table)
    char dataset[256];
    size_t data_limit;      // training rows, 0: all
    char model[128];        // sr_net_parse's text
    sr_train_options train; // dynamics, K, noise, seed included; data_noise already resolved
    sr_data_noise_mode data_noise_mode;
    size_t samples;      // drawn for judging
    size_t sample_steps; // K at sampling time; 0: as trained
    sr_density_settings density;
    char hash[33]; // of all of the above that decides the result (not threads)
} sr_cell;

typedef struct sr_experiment {
    char name[64];
    char title[256];
    char file[512];
    size_t cell_count;
    sr_cell *cells;
} sr_experiment;

// Reads and checks a file; the error names file, line, key and what is allowed.
SR_API sr_status sr_experiment_load(const char *path, sr_experiment *out);
SR_API void sr_experiment_clear(sr_experiment *experiment);
// Every key with type, default, range and meaning, as text (the source of docs/experiments.md and
// of `shortrun run --keys`).
SR_API void sr_experiment_keys(sr_text *out);
// Short human name of a cell: "fashion_mnist K=20 sigma=0.03 data_noise=0.03 seed=1".
SR_API void sr_cell_label(const sr_cell *cell, char *out, size_t size);
// FILTER of --cells: comma-separated terms key=value (dataset, K, sigma, seed, data_noise, group,
// ...; a value may be a list a|b) that must all hold. An unknown key is an error.
SR_API sr_status sr_cell_matches(const sr_cell *cell, const char *filter, bool *out);

// ---- results ------------------------------------------------------------------------------------

// A results folder: results.db (SQLite, WAL) and cells/<hash>/ with checkpoint, samples, grid,
// traces.
typedef struct sr_results sr_results;

SR_API sr_status sr_results_open(const char *folder, bool create, sr_results **out);
SR_API void sr_results_close(sr_results *results);
SR_API const char *sr_results_folder(const sr_results *results);

typedef enum sr_cell_state { SR_CELL_ABSENT, SR_CELL_DONE, SR_CELL_DIVERGED } sr_cell_state;
SR_API sr_cell_state sr_results_state(sr_results *results,
                                      const char *hash); // absent on errors too

typedef struct sr_value { // one named number of a cell: a metric or a timing
    char name[48];
    double value;
    size_t n;                // samples behind it, 0 where that has no meaning
    double error, low, high; // standard error and 95% interval over new data and samples; NaN where
                             // there is none
} sr_value;

// What a cell left, as read back for reports. Arrays are owned by the record.
typedef struct sr_record {
    sr_cell cell;
    sr_cell_state state;
    char message[512]; // why it diverged
    sr_value *metrics;
    size_t metric_count; // "frechet", "kid", ..., "kl", "modes_covered", ...
    sr_value *timings;
    size_t timing_count; // "iteration_ms", "step_ms", "chain_steps_per_s",
                         // "forward_ms", ..., "gflops", "peak_gflops",
                         // "peak_share", "peak_memory_mb"
    // curves of training (thinned to at most 1000 points) and of sampling (steps + 1)
    size_t curve_count;
    double *curve_iteration, *curve_gap, *curve_gradient_norm;
    size_t trace_count;
    double *trace_energy, *trace_gradient_norm, *trace_displacement;
    char machine[256];  // CPU, threads, engine and version, program version
    char features[128]; // feature network: name, hash, accuracy
    char finished[32];  // UTC time
} sr_record;

SR_API double sr_record_metric(const sr_record *record, const char *name); // NaN when absent
SR_API double sr_record_timing(const sr_record *record, const char *name);
// All cells of an experiment that are in the results, in grid order; missing cells are absent.
SR_API sr_status sr_results_read(sr_results *results, const sr_experiment *experiment,
                                 sr_record **out, size_t *count);
SR_API void sr_records_destroy(sr_record *records, size_t count);
SR_API void sr_record_clear(sr_record *record); // its arrays; the record itself is the caller's
// Writes one cell's record, replacing the one of the same hash, in one transaction: on any error, a
// full disk included, the results stay as they were.
SR_API sr_status sr_results_put(sr_results *results, const sr_record *record);
// Removes a cell's record; fine when there is none. Its files stay.
SR_API sr_status sr_results_delete(sr_results *results, const char *hash);
// Files of a cell: folder/cells/<hash>/<name>.
SR_API void sr_results_cell_path(const sr_results *results, const char *hash, const char *name,
                                 char *out, size_t size);

// ---- running ------------------------------------------------------------------------------------

typedef struct sr_run_options {
    const char *data_folder; // NULL: found
    const char *filter;      // NULL: all cells
    bool fresh;              // run finished cells again
    unsigned threads;
    double checkpoint_every; // seconds
} sr_run_options;

typedef struct sr_run_summary {
    size_t total, already_done, done, diverged, failed;
} sr_run_summary;

// Runs the cells that are not finished. A diverged or failed cell does not stop the others.
SR_API sr_status sr_experiment_run(const sr_experiment *experiment, sr_results *results,
                                   const sr_run_options *options, const sr_monitor *monitor,
                                   sr_run_summary *summary);

// Estimates for --dry-run: seconds (measured on a few iterations of each distinct network and K)
// and bytes.
SR_API sr_status sr_cell_estimate(const sr_cell *cell, const sr_run_options *options,
                                  double *seconds, double *bytes);

// ---- densities ----------------------------------------------------------------------------------

// The densities of one energy network, as cell->density asks (points at least 1); of the cell the
// model, data set, dynamics, engine, precision, seed and samples count too. theta: the network's
// parameters. folder (NULL: none) receives the files of grids, paths and samples. The record's
// metrics and timings are what was found (sr_record_clear). Errors: what cannot be had for this
// network or dynamics, with the reason; SR_ERROR_INTERRUPTED; the data set's.
SR_API sr_status sr_density_model(const sr_cell *cell, const float *theta,
                                  const sr_run_options *options, const char *folder,
                                  const sr_monitor *monitor, sr_record *record);
// A cell of a data set ("eight_gaussians", "fashion_mnist") and a network with every default.
SR_API void sr_cell_default(sr_cell *cell, bool image);

// ---- comparisons --------------------------------------------------------------------------------

// Two cells that agree in everything but the seed are one setting.
SR_API bool sr_cell_same_but_seed(const sr_cell *a, const sr_cell *b);
// The records of one setting that `cell` names: the beginning of a hash (at least 4 characters), a
// filter as of sr_cell_matches, or a label ("fashion_mnist K=20 sigma=0"; the seed may be left
// out). In order of the seed. out: new memory (sr_free), pointers into records. Errors: none, or
// cells that differ in more than the seed (both are named).
SR_API sr_status sr_records_select(const sr_record *records, size_t count, const char *cell,
                                   const sr_record ***out, size_t *out_count);

typedef struct sr_compare_options {
    size_t permutations;
    uint64_t seed;             // of permutations and groups
    unsigned threads;          // 0: all; nothing depends on it
    const char *data_folder;   // NULL: found
    const char *only;          // one score by name; NULL: all
    const sr_monitor *monitor; // NULL, or asked between scores whether to stop:
                               // SR_ERROR_INTERRUPTED; a comparer sets its own
} sr_compare_options;
// 9999 permutations, seed 1, all threads.
SR_API void sr_compare_options_default(sr_compare_options *options);

// One score of A and of B.
typedef struct sr_score_comparison {
    char name[48];
    size_t n_a, n_b;        // samples of each; over seeds: pairs of seeds
    sr_estimate a, b;       // each by itself
    sr_estimate difference; // b - a, 95%
    double p, p_holm;       // two-sided; adjusted by Holm for the scores of this comparison
    const char *test;       // what p comes from
} sr_score_comparison;

#define SR_COMPARED_MAX 32
typedef struct sr_comparison {
    bool seeds;          // pairs of seeds are compared, else rows of samples
    size_t n_real;       // rows of data; 0 over seeds
    size_t permutations; // 0 over seeds, where all sign flips are counted
    char features[128];  // network in whose features rows are compared, "" for the rows themselves
    size_t count;
    sr_score_comparison score[SR_COMPARED_MAX];
} sr_comparison;

// Rows of samples a (n_a, dim), b (n_b, dim) against the same rows of data.
SR_API sr_status sr_compare_rows(size_t n_real, const float *real, size_t n_a, const float *a,
                                 size_t n_b, const float *b, size_t dim,
                                 const sr_compare_options *options, sr_comparison *out);
// Points of the plane against a density: its divergences and modes beside the MMD.
SR_API sr_status sr_compare_points(sr_toy toy, size_t n_real, const float *real, size_t n_a,
                                   const float *a, size_t n_b, const float *b,
                                   const sr_compare_options *options, sr_comparison *out);
// Pairs of records of the same seeds, a[i] with b[i]: every score that all of them have.
SR_API sr_status sr_compare_seeds(size_t pairs, const sr_record *const *a,
                                  const sr_record *const *b, const sr_compare_options *options,
                                  sr_comparison *out);

// Compares cells by the samples that lie in the results folder. Keeps the data of one data set and
// the features of a few cells. One call at a time.
typedef struct sr_comparer sr_comparer;
SR_API sr_status sr_comparer_create(const char *folder, const sr_compare_options *options,
                                    const sr_monitor *monitor, sr_comparer **out);
SR_API void sr_comparer_destroy(sr_comparer *comparer);
// One score by name from now on, as sr_compare_options.only; NULL: all.
SR_API void sr_comparer_only(sr_comparer *comparer, const char *name);
// Errors: cells of different data sets, the same cell twice, a cell that diverged, samples that are
// missing; what loading the data says.
SR_API sr_status sr_comparer_cells(sr_comparer *comparer, const sr_record *a, const sr_record *b,
                                   sr_comparison *out);
// A cell's features (n, dim), of the data and of its samples, as they are compared: images in the
// classifier's features, without one as they are. The arrays belong to the comparer until its next
// call.
typedef struct sr_cell_rows {
    size_t n_real, n, dim;
    const float *real, *samples;       // (n_real, dim), (n, dim)
    size_t channels, height, width;    // of an image; height 1: none
    const float *real_images, *images; // (n_real, ...), (n, ...)
    const char *features;              // names the network, ""
} sr_cell_rows;
SR_API sr_status sr_comparer_rows(sr_comparer *comparer, const sr_record *record,
                                  sr_cell_rows *out);

// ---- profiles -----------------------------------------------------------------------------------

// What is profiled: the dynamics of one network's energy under one combination of settings.
typedef struct sr_profile_case {
    sr_net net;
    const float *theta; // (net.parameters), the caller's; NULL: sr_net_init's
    sr_engine engine;
    sr_precision precision;
    unsigned threads;    // 0: all
    size_t batch, steps; // chains, and steps K of a run; both at least 1
    size_t tile;         // chains a thread takes at a time; 0: chosen from the network alone
    double noise;        // sigma; 0: noise-free
    bool training;       // time iterations of training too
    double seconds;      // about so long is measured at a time; above 0
} sr_profile_case;

// 64 chains, K = 20, noise-free, all threads, one second; engine auto, fp32.
SR_API sr_profile_case sr_profile_case_default(const sr_net *net);

// One direction of one layer. Forward and backward-data: for one step of the batch. Backward-
// weights: for one iteration of training, over its batch of data and as many samples.
typedef struct sr_profile_pass {
    double ms;     // time of all threads / threads, of the median run
    double flop;   // a multiply-add is 2
    double bytes;  // at least so many move: see sr_profile
    double gflops; // flop / ms
    double share;  // of sr_profile.peak_gflops
} sr_profile_pass;

typedef struct sr_profile_layer {
    char name[64]; // "conv4x4/2 32->64 @32x32": kernel, stride, channels, size of the input image
    sr_engine engine;                         // never auto
    sr_profile_pass pass[SR_DIRECTION_COUNT]; // backward-weights: zeros without training
} sr_profile_layer;

// What a profile found. Of several runs of K steps the median counts, whole and in its parts.
// Milliseconds of phases and layers are the time of all threads / threads, so that they add up to
// at most the step; the rest is the start of threads and their waiting for each other. Layers are
// timed in runs of their own, with the clocks of layers on.
//
// `bytes` is a lower bound: in each direction every layer's input, output (or their gradients) and
// the activation's derivative once for every chain, its weights once, at the precision's size (bf16
// 2 bytes, else 4).
typedef struct sr_profile {
    sr_profile_case of; // threads and tile resolved
    char skipped[256];  // "", or why it cannot be run here; then nothing below is set
    size_t steps, runs; // steps of a run: fewer than K where that would take too long; runs counted
    double step_ms, step_ms_least, step_ms_most; // a step of the whole batch
    double chain_steps_per_s;
    double flop; // of a step: 4 x multiply-adds x batch
    double gflops, peak_gflops, share;
    double fma_gflops, fma_share; // of the fp32 peak, whatever the precision
    double bytes;                 // of a step
    double gbs, l2_gbs, l2_share; // GB/s: at least moved, the L2's bandwidth, their ratio
    double phase_ms[SR_PHASE_COUNT];
    sr_profile_layer layers[SR_MAX_LAYERS]; // (of.net.layer_count)
    double iteration_ms;                    // training: K steps, gradient, optimiser
    double iteration_phase_ms[SR_PHASE_COUNT];
    double peak_memory_mb; // of the process so far
} sr_profile;

// Measures. Training runs on uniform noise in place of data with sr_train_options_default (spectral
// normalisation for images, Adam). The monitor is asked to stop between runs. Errors: values out of
// range; SR_ERROR_UNSUPPORTED where this build or CPU has not the engine or the precision.
SR_API sr_status sr_profile_run(const sr_profile_case *of, const sr_monitor *monitor,
                                sr_profile *out);

#ifdef __cplusplus
}
#endif
#endif
