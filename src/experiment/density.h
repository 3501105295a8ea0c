// The densities of one cell, seen from inside the module. Private.
#ifndef SHORTRUN_EXPERIMENT_DENSITY_H
#define SHORTRUN_EXPERIMENT_DENSITY_H

#include "experiment/run.h"

// Samples and chains drawn for densities come from streams of their own.
#define SR_DENSITY_EPOCH (UINT64_MAX - 2)

typedef struct sr_densities {
    const sr_cell *cell;
    const sr_run_options *options;
    const sr_monitor *monitor;
    sr_team *team;
    const char *folder; // for files; NULL: none
    sr_judge *judge;
    void *user;
    sr_record *record;
    sr_dynamics dynamics; // of sampling, without its noise
    sr_density_options how;
    bool plane, image;
    sr_toy toy; // where plane
    size_t n, dim;
    float *x;         // (n, dim): held-out rows
    uint32_t *failed; // (n): see sr_induced
    float *energy;    // (n)
    // (n): log densities of x; run: that of the cell's own short runs, noise included
    double *induced, *gibbs, *truth, *run, *scratch;
} sr_densities;

// Adds the mean of value (n) with its interval, over the rows where it is finite: those that could
// be inverted.
void sr_density_add_mean(sr_densities *d, const char *name, const double *value);
// The same of a[i] - b[i], row by row: what both have in common leaves the error.
void sr_density_add_difference(sr_densities *d, const char *name, const double *a, const double *b);
// Adds what the judge found, its name behind `prefix`.
void sr_density_add_value(sr_densities *d, const char *prefix, const sr_value *value);
// x, of `rank` dimensions `shape`, into the file `name` of the folder; without one nothing.
sr_status sr_density_save(const sr_densities *d, const char *name, size_t rank, const size_t *shape,
                          const float *x);
// log exp(-E/T)/Z of the held-out rows into d->gibbs.
void sr_density_gibbs_rows(sr_densities *d, double log_z, double temperature);
// Long-run chains, sampling beyond K, annealed importance sampling (density_samples.c).
sr_status sr_density_samples(sr_densities *d);

#endif
