// Records made in memory, as an experiment would have left them, and their files: what the tests of
// reports read. Numbers are invented but of the usual size; they follow from the settings alone.
#ifndef SHORTRUN_TESTS_REPORT_FABRICATE_H
#define SHORTRUN_TESTS_REPORT_FABRICATE_H

#include "report/report_internal.h"

typedef struct made_set {
    sr_record *records;
    size_t count, capacity;
} made_set;

// Adds a finished cell with neither metrics nor timings; the pointer holds until the next addition.
sr_record *made_add(made_set *made, const char *dataset, size_t steps, double step_size,
                    double noise, uint64_t seed);
void made_metric(sr_record *record, const char *name, double value, size_t n);
void made_interval(sr_record *record, const char *name, double value, double error, size_t n);
void made_timing(sr_record *record, const char *name, double value);
void made_diverge(sr_record *record, const char *message);
void made_clear(made_set *made);

// A whole experiment: a 2-D set and an image set, K in {5, 10, 20}, three noise levels, `seeds`
// seeds; one image setting that diverged in every seed and one in a single seed; fixed and matched
// data noise.
void made_experiment(made_set *made, size_t seeds);
// The files of its cells under folder/cells/.
void made_files(const made_set *made, const char *folder);

#endif
