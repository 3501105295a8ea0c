// Running an experiment: which cells are still to be run, one after the other, each stored in one
// transaction; what stops the run and what only costs a cell.
#include "experiment/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

// A run keeps others out of its folder: two of them would write the same checkpoints. The lock is
// the process's and ends with it, however it ends.
static sr_status lock_folder(const sr_results *results, int *file) {
    char path[600];
    snprintf(path, sizeof path, "%s/run.lock", sr_results_folder(results));
    *file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*file < 0)
        return sr_fail(SR_ERROR_IO, "%s: cannot be written: %s", path, strerror(errno));
    if (flock(*file, LOCK_EX | LOCK_NB) == 0)
        return SR_OK;
    close(*file);
    *file = -1;
    return sr_fail(SR_ERROR_IO, "%s: another shortrun run is at work in this folder",
                   sr_results_folder(results));
}

// Whether a failed write failed for want of room: by what was said, and by what is left (below a
// megabyte the next checkpoint would not fit either).
static bool disk_is_full(const sr_results *results) {
    struct statvfs info;
    return strstr(sr_error_message(), strerror(ENOSPC)) ||
           strstr(sr_error_message(), strerror(EDQUOT)) ||
           (statvfs(sr_results_folder(results), &info) == 0 &&
            (double)info.f_bavail * (double)info.f_frsize < 1 << 20);
}

// ---- progress over all cells --------------------------------------------------------------------

typedef struct overall {
    const sr_monitor *outer;
    double before, weight, total; // work of the cells before this one, of this one, of all
    size_t cells;
} overall;

static void overall_progress(void *user, const char *what, const char *detail, double done,
                             double total) {
    const overall *o = user;
    const double share = o->total > 0 ? (o->before + o->weight * done / total) / o->total : 0;
    sr_monitor_progress(o->outer, what, detail, share * (double)o->cells, (double)o->cells);
}

static void overall_log(void *user, sr_level level, const char *line) {
    const overall *o = user;
    sr_monitor_log(o->outer, level, "%s", line);
}

static bool overall_stop(void *user) {
    const overall *o = user;
    return sr_monitor_stop(o->outer);
}

static double cell_weight(const sr_cell *cell) {
    double training, sampling;
    sr_cell_work(cell, &training, &sampling);
    return training + sampling;
}

// ---- one cell -----------------------------------------------------------------------------------

// Files of a cell that is run; what report reads stays until it is written again.
static void remove_file(const sr_results *results, const char *hash, const char *name) {
    char path[1024];
    sr_results_cell_path(results, hash, name, path, sizeof path);
    unlink(path);
}

static void log_end(const sr_monitor *monitor, const char *what, const sr_record *record) {
    if (record->state == SR_CELL_DIVERGED)
        sr_monitor_log(monitor, SR_LEVEL_WARNING, "%s: diverged: %s", what, record->message);
    else
        sr_monitor_log(monitor, SR_LEVEL_INFO, "%s: done", what);
}

static sr_status run_one(const sr_cell *cell, sr_results *results, const sr_run_options *options,
                         const sr_monitor *monitor, sr_run_cache *cache, const char *what,
                         sr_run_summary *summary) {
    sr_record *record = sr_alloc(1, sizeof *record);
    if (!record)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    if (options->fresh) {
        status = sr_results_delete(results, cell->hash);
        remove_file(results, cell->hash, "checkpoint.safetensors");
        remove_file(results, cell->hash, "curve.bin");
    }
    if (status == SR_OK)
        status = sr_cell_run(cell, results, options, monitor, cache, what, record);
    if (status == SR_OK)
        status = sr_results_put(results, record);
    if (status == SR_OK) {
        remove_file(results, cell->hash, "curve.bin"); // the record holds the curve now
        log_end(monitor, what, record);
        if (record->state == SR_CELL_DIVERGED)
            summary->diverged++;
        else
            summary->done++;
    }
    sr_records_destroy(record, 1);
    return status;
}

// What one cell's failure means for the others: SR_OK, go on; else the run ends.
static sr_status after_failure(sr_status status, sr_results *results, const sr_monitor *monitor,
                               const char *what, sr_run_summary *summary) {
    if (status == SR_ERROR_INTERRUPTED)
        return status;
    summary->failed++;
    if (status == SR_ERROR_DATABASE)
        return status;
    if (status == SR_ERROR_IO && disk_is_full(results))
        return sr_fail_context(status, "%s: the disk is full: ", sr_results_folder(results));
    sr_monitor_log(monitor, SR_LEVEL_WARNING, "%s: failed: %s", what, sr_error_message());
    return SR_OK;
}

// ---- all cells ----------------------------------------------------------------------------------

// Which cells are to be run, in `chosen`, and how much work they are.
static sr_status choose(const sr_experiment *experiment, sr_results *results,
                        const sr_run_options *options, bool *chosen, double *work,
                        sr_run_summary *summary) {
    for (size_t i = 0; i < experiment->cell_count; i++) {
        const sr_cell *cell = &experiment->cells[i];
        sr_cell_state state;
        bool matches;
        sr_status status = sr_cell_matches(cell, options->filter, &matches);
        if (status == SR_OK && matches)
            status = sr_results_look_up(results, cell->hash, &state);
        if (status != SR_OK)
            return status;
        if (!matches)
            continue;
        summary->total++;
        if (!options->fresh && state != SR_CELL_ABSENT) {
            summary->already_done++;
            continue;
        }
        chosen[i] = true;
        *work += cell_weight(cell);
    }
    if (summary->total == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "no cell of %s matches the filter '%s'", experiment->file,
                       options->filter ? options->filter : "");
    return SR_OK;
}

// Another group may have brought the same settings earlier in this run.
static bool ran_before(const sr_experiment *experiment, const bool *chosen, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (chosen[k] && strcmp(experiment->cells[k].hash, experiment->cells[i].hash) == 0)
            return true;
    }
    return false;
}

static sr_status run_all(const sr_experiment *experiment, sr_results *results,
                         const sr_run_options *options, const sr_monitor *monitor,
                         const bool *chosen, double work, sr_run_summary *summary) {
    sr_run_cache cache = {0};
    sr_status status = SR_OK;
    size_t number = summary->already_done;
    overall all = {
        .outer = monitor, .total = work, .cells = summary->total - summary->already_done};
    const sr_monitor inner = {
        .user = &all, .log = overall_log, .progress = overall_progress, .stop = overall_stop};
    for (size_t i = 0; i < experiment->cell_count && status == SR_OK; i++) {
        const sr_cell *cell = &experiment->cells[i];
        char label[400], what[480];
        if (!chosen[i])
            continue;
        number++;
        if (sr_monitor_stop(monitor)) {
            status = sr_fail(SR_ERROR_INTERRUPTED, "stopped before cell %zu of %zu", number,
                             summary->total);
            break;
        }
        all.weight = cell_weight(cell);
        sr_cell_label(cell, label, sizeof label);
        snprintf(what, sizeof what, "cell %zu/%zu %s", number, summary->total, label);
        if (ran_before(experiment, chosen, i) &&
            sr_results_state(results, cell->hash) != SR_CELL_ABSENT) {
            summary->already_done++;
        } else {
            status = run_one(cell, results, options, &inner, &cache, what, summary);
            if (status != SR_OK)
                status = after_failure(status, results, monitor, what, summary);
        }
        all.before += all.weight;
    }
    sr_run_cache_clear(&cache);
    return status;
}

sr_status sr_experiment_run(const sr_experiment *experiment, sr_results *results,
                            const sr_run_options *options, const sr_monitor *monitor,
                            sr_run_summary *summary) {
    int lock = -1;
    double work = 0;
    *summary = (sr_run_summary){0};
    bool *chosen = sr_alloc(experiment->cell_count, sizeof *chosen);
    if (!chosen)
        return SR_ERROR_MEMORY;
    sr_status status = lock_folder(results, &lock);
    if (status == SR_OK)
        status = choose(experiment, results, options, chosen, &work, summary);
    if (status == SR_OK)
        status = run_all(experiment, results, options, monitor, chosen, work, summary);
    if (lock >= 0)
        close(lock);
    sr_free(chosen);
    return status;
}
