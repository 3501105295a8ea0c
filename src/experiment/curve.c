// The curve of a training run: kept while it runs, thinned into the record at its end.
#include "experiment/run.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POINTS_KEPT 20000 // of one run, before thinning: 2 MB

static sr_status reserve(sr_curve *curve, size_t count) {
    if (count <= curve->room)
        return SR_OK;
    size_t room = curve->room ? 2 * curve->room : 256;
    if (room < count)
        room = count;
    sr_curve_point *points = sr_realloc(curve->points, curve->room, room, sizeof *points);
    if (!points)
        return SR_ERROR_MEMORY;
    curve->points = points;
    curve->room = room;
    return SR_OK;
}

// The points that an earlier process left; a file that is not a curve counts as empty.
static sr_status read_points(sr_curve *curve) {
    struct stat info;
    if (curve->file < 0 || fstat(curve->file, &info) != 0 || info.st_size < 0)
        return SR_OK;
    const size_t count = (size_t)info.st_size / sizeof *curve->points;
    if (count > 2 * POINTS_KEPT)
        return SR_OK;
    const sr_status status = reserve(curve, count);
    if (status != SR_OK)
        return status;
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        sr_curve_point *point = &curve->points[i];
        const off_t at = (off_t)(i * sizeof *point);
        if (pread(curve->file, point, sizeof *point, at) != sizeof *point ||
            point->iteration <= before || point->iteration > curve->iterations ||
            point->span > point->iteration)
            break;
        before = point->iteration;
        curve->count++;
    }
    return SR_OK;
}

sr_status sr_curve_open(sr_curve *curve, const char *path, sr_trainer *trainer,
                        uint64_t iterations) {
    *curve = (sr_curve){.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666),
                        .trainer = trainer,
                        .iterations = iterations,
                        .stride = (iterations + POINTS_KEPT - 1) / POINTS_KEPT};
    return read_points(curve);
}

void sr_curve_close(sr_curve *curve) {
    if (curve->trainer && curve->file >= 0)
        close(curve->file);
    sr_free(curve->points);
    *curve = (sr_curve){.file = -1};
}

// Iterations that are run again after an interruption replace what the file says of them.
static void forget_from(sr_curve *curve, uint64_t iteration) {
    while (curve->count > 0 && curve->points[curve->count - 1].iteration >= iteration)
        curve->count--;
}

void sr_curve_each(void *user, const sr_train_report *report) {
    sr_curve *curve = user;
    forget_from(curve, report->iteration);
    curve->span++;
    if (report->iteration % curve->stride != 0 && report->iteration != curve->iterations)
        return;
    if (reserve(curve, curve->count + 1) != SR_OK)
        return; // the run matters more than its curve
    sr_curve_point *point = &curve->points[curve->count];
    double seconds, phases[SR_PHASE_COUNT];
    sr_trainer_seconds(curve->trainer, &seconds, phases);
    *point = (sr_curve_point){.iteration = report->iteration,
                              .span = curve->span,
                              .gap = report->gap,
                              .gradient_norm = report->gradient_norm,
                              .seconds = seconds - curve->seconds};
    for (int p = 0; p < SR_PHASE_COUNT; p++) {
        point->phases[p] = phases[p] - curve->phases[p];
        curve->phases[p] = phases[p];
    }
    curve->seconds = seconds;
    curve->span = 0;
    // At once and unbuffered: a checkpoint that follows must not be ahead of the curve.
    const off_t at = (off_t)(curve->count * sizeof *point);
    if (curve->file >= 0 && pwrite(curve->file, point, sizeof *point, at) != sizeof *point) {
        close(curve->file);
        curve->file = -1;
    }
    curve->count++;
}

static sr_status thin(const sr_curve *curve, sr_record *record) {
    const size_t count = curve->count < SR_CURVE_POINTS ? curve->count : SR_CURVE_POINTS;
    record->curve_iteration = sr_alloc(count, sizeof(double));
    record->curve_gap = sr_alloc(count, sizeof(double));
    record->curve_gradient_norm = sr_alloc(count, sizeof(double));
    if (!record->curve_iteration || !record->curve_gap || !record->curve_gradient_norm)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const sr_curve_point *point =
            &curve->points[count < 2 ? 0 : i * (curve->count - 1) / (count - 1)];
        record->curve_iteration[i] = (double)point->iteration;
        record->curve_gap[i] = point->gap;
        record->curve_gradient_norm[i] = point->gradient_norm;
    }
    record->curve_count = count;
    return SR_OK;
}

sr_status sr_curve_record(const sr_curve *curve, unsigned threads, sr_record *record) {
    if (curve->count == 0)
        return SR_OK;
    const uint64_t last = curve->points[curve->count - 1].iteration;
    double seconds = 0, spans = 0, gap = 0, gaps = 0, phases[SR_PHASE_COUNT] = {0};
    for (size_t i = 0; i < curve->count; i++) {
        const sr_curve_point *point = &curve->points[i];
        seconds += point->seconds;
        spans += (double)point->span;
        for (int p = 0; p < SR_PHASE_COUNT; p++)
            phases[p] += point->phases[p];
        if (point->iteration > last - last / 10) {
            gap += fabs(point->gap);
            gaps++;
        }
    }
    if (gaps > 0)
        sr_record_add_metric(record, "mean_abs_gap", gap / gaps, 0);
    if (spans > 0)
        sr_record_add_timing(record, "iteration_ms", 1e3 * seconds / spans);
    for (int p = 0; p < SR_PHASE_COUNT && spans > 0; p++) {
        char name[48];
        snprintf(name, sizeof name, "%s_ms", sr_phase_name((sr_phase)p));
        sr_record_add_timing(record, name, 1e3 * phases[p] / spans / threads);
    }
    return thin(curve, record);
}
