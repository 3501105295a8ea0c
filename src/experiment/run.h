// Running cells, seen from inside the module: the curve of a training run, judging, measuring.
// Private.
#ifndef SHORTRUN_EXPERIMENT_RUN_H
#define SHORTRUN_EXPERIMENT_RUN_H

#include "experiment/results.h"

// ---- curves (curve.c) ---------------------------------------------------------------------------

// One point of a training curve. It stands for `span` iterations that ended with `iteration`, and
// holds the time that they took.
typedef struct sr_curve_point {
    uint64_t iteration, span;
    double gap, gradient_norm; // of the last iteration
    double seconds;
    double phases[SR_PHASE_COUNT]; // seconds, summed over threads
} sr_curve_point;

// A curve grows point by point, in memory and in a file, so that an interrupted run keeps its
// beginning.
typedef struct sr_curve {
    int file; // -1: kept in memory only
    size_t count, room;
    sr_curve_point *points;
    uint64_t iterations, stride, span;
    sr_trainer *trainer;
    double seconds, phases[SR_PHASE_COUNT]; // the trainer's counters at the last point
} sr_curve;

// Takes up the curve in the file, if there is one. A file that cannot be written costs the curve of
// an interrupted run, nothing else.
sr_status sr_curve_open(sr_curve *curve, const char *path, sr_trainer *trainer,
                        uint64_t iterations);
void sr_curve_close(sr_curve *curve);
void sr_curve_each(void *curve, const sr_train_report *report); // an sr_train_each
// At most SR_CURVE_POINTS points into the record, first and last among them; the mean |gap| of the
// last tenth as a metric; milliseconds per iteration, whole and by phase (thread time / threads),
// as timings.
#define SR_CURVE_POINTS 1000
sr_status sr_curve_record(const sr_curve *curve, unsigned threads, sr_record *record);

// ---- records ------------------------------------------------------------------------------------

#define SR_VALUES_MAX 64 // metrics, and timings, of one cell
sr_status sr_record_begin(const sr_cell *cell, unsigned threads, sr_record *out);
void sr_record_add_metric(sr_record *record, const char *name, double value, size_t n);
void sr_record_add_estimate(sr_record *record, const char *name, const sr_estimate *estimate,
                            size_t n);
void sr_record_add_timing(sr_record *record, const char *name, double value);

// ---- judging (judge.c) --------------------------------------------------------------------------

// What images are compared with: the first rows of the training set and their features, kept
// between cells.
typedef struct sr_reference {
    char dataset[256];
    size_t wanted; // rows asked for; the set may have fewer
    sr_dataset rows;
    sr_classifier *classifier; // NULL: none for this data set
    float *features;           // (rows.count, features)
    sr_estimate uniform;       // Frechet distance of as much uniform noise
    char note[128];            // names the classifier
} sr_reference;

void sr_reference_clear(sr_reference *reference);
sr_status sr_reference_load(sr_reference *reference, const sr_cell *cell,
                            const sr_run_options *options, const sr_monitor *monitor);

// The seed of the fresh points that 2-D samples are judged against; training points have another.
#define SR_TOY_JUDGE_SEED 0x6a75646765ull

// x: (cell->samples, dim). `team` holds the trained energy.
sr_status sr_judge_toy(const sr_cell *cell, const sr_run_options *options, sr_toy toy,
                       sr_team *team, const float *x, const char *folder, sr_record *record);
sr_status sr_judge_images(const sr_cell *cell, const sr_run_options *options,
                          const sr_reference *reference, const float *x, const sr_monitor *monitor,
                          sr_record *record);

// ---- densities (density.c) ----------------------------------------------------------------------

// SR_OK where the densities that the cell asks for can be had, without training it.
sr_status sr_density_check(const sr_cell *cell);
// Judges n samples x (n, dim) of the cell's data set into a record.
typedef sr_status sr_judge(void *user, size_t n, const float *x, sr_record *record);
// What cell->density asks of the energy that `team` holds, into the record and, where it is not
// NULL, files of `folder`.
sr_status sr_density_judge(const sr_cell *cell, sr_team *team, const sr_run_options *options,
                           const char *folder, const sr_monitor *monitor, sr_judge *judge,
                           void *user, sr_record *record);

// ---- measuring (measure.c) ----------------------------------------------------------------------

// Time of one step of the dynamics on the trained energy, and what follows from it.
sr_status sr_measure_steps(const sr_cell *cell, const sr_net *net, sr_team *team, unsigned threads,
                           sr_record *record);
// Multiply-adds of training and of sampling a cell, to weigh cells against each other.
void sr_cell_work(const sr_cell *cell, double *training, double *sampling);

// ---- sampling and cells (cell.c) ----------------------------------------------------------------

// Data sets and references, kept from cell to cell.
typedef struct sr_run_cache {
    sr_dataset data;
    char dataset[256];
    size_t limit;
    sr_reference reference;
} sr_run_cache;

void sr_run_cache_clear(sr_run_cache *cache);

// The dynamics that samples for judgement come from.
sr_dynamics sr_cell_sampler(const sr_cell *cell);

// Trains (or goes on training), samples, judges and times one cell, and writes its files. A
// diverged cell is SR_OK with the record's state saying so. The record is filled, not stored.
// monitor's progress runs from 0 to 1.
sr_status sr_cell_run(const sr_cell *cell, sr_results *results, const sr_run_options *options,
                      const sr_monitor *monitor, sr_run_cache *cache, const char *what,
                      sr_record *record);

#endif
