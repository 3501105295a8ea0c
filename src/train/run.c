// The loop over iterations: resuming, checkpoints by the clock, progress, and what happens when a
// run diverges or is told to stop. What one iteration does is in trainer.c.
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>

#define PROGRESS_EVERY 0.1 // seconds: ten calls a second are enough for any eye

typedef struct loop {
    sr_trainer *trainer;
    const char *checkpoint;
    const sr_monitor *monitor;
    const char *what;
    uint64_t saved;         // iteration of the last checkpoint on disk; UINT64_MAX: none
    double saved_at;        // sr_seconds() of it
    double progress_at;     // of the last progress call
    sr_train_report report; // of the last iteration
    bool warned;            // of mass at the edge of the exact window
} loop;

static void show(loop *l, bool force) {
    const double now = sr_seconds();
    if (!force && now - l->progress_at < PROGRESS_EVERY)
        return;
    l->progress_at = now;
    const uint64_t done = l->trainer->iteration;
    const size_t total = l->trainer->options.iterations;
    char detail[96];
    int length =
        snprintf(detail, sizeof detail, "iteration %llu/%zu", (unsigned long long)done, total);
    if (l->report.iteration > 0)
        length +=
            snprintf(detail + length, sizeof detail - (size_t)length, " gap %.2f", l->report.gap);
    if (l->report.iteration > 0 && l->trainer->curvature)
        snprintf(detail + length, sizeof detail - (size_t)length, " s|H| %.2f",
                 l->report.curvature);
    sr_monitor_progress(l->monitor, l->what, detail, (double)done, (double)total);
}

// A network that has learnt nothing yet is flat, so that its edge says nothing: the last half of
// the run counts.
static void warn_of_edge(loop *l) {
    const bool late = 2 * l->report.iteration > l->trainer->options.iterations;
    if (l->warned || !late || !(l->report.edge > SR_EXACT_EDGE))
        return;
    l->warned = true;
    sr_monitor_log(l->monitor, SR_LEVEL_WARNING,
                   "iteration %llu: %.1f%% of the mass lies at the edge of the window %g: what is "
                   "outside it is not seen; a larger exact_window sees it",
                   (unsigned long long)l->report.iteration, 100 * l->report.edge,
                   l->trainer->options.exact_window);
}

static sr_status save(loop *l) {
    if (!l->checkpoint || l->saved == l->trainer->iteration)
        return SR_OK;
    const sr_status status = sr_trainer_save(l->trainer, l->checkpoint);
    if (status == SR_OK)
        l->saved = l->trainer->iteration;
    l->saved_at = sr_seconds();
    return status;
}

// The iteration's own message must survive the saving that follows it.
static sr_status save_and_fail(loop *l, sr_status status) {
    char message[512];
    snprintf(message, sizeof message, "%s", sr_error_message());
    if (save(l) == SR_OK)
        return sr_fail(status, "%s", message);
    char second[512];
    snprintf(second, sizeof second, "%s", sr_error_message());
    return sr_fail(status, "%s; saving the last good state failed too: %s", message, second);
}

static sr_status resume(loop *l) {
    l->saved = UINT64_MAX;
    l->saved_at = sr_seconds();
    if (!l->checkpoint || l->trainer->iteration > 0 || !sr_file_exists(l->checkpoint))
        return SR_OK;
    const sr_status status = sr_trainer_load(l->trainer, l->checkpoint);
    if (status != SR_OK)
        return status;
    l->saved = l->trainer->iteration;
    sr_monitor_log(l->monitor, SR_LEVEL_INFO, "%s: going on after iteration %llu of %zu",
                   l->checkpoint, (unsigned long long)l->saved, l->trainer->options.iterations);
    if (l->trainer->foreign_isa[0] != '\0')
        sr_monitor_log(l->monitor, SR_LEVEL_WARNING,
                       "%s: written on a CPU that ran %s, here it is %s: the bits will differ from "
                       "those of an uninterrupted run",
                       l->checkpoint, l->trainer->foreign_isa,
                       sr_isa_name(l->trainer->kernels->isa));
    return SR_OK;
}

sr_status sr_trainer_run(sr_trainer *trainer, const char *checkpoint, double every,
                         const sr_monitor *monitor, const char *what, sr_train_each each,
                         void *user) {
    loop l = {.trainer = trainer,
              .checkpoint = checkpoint,
              .monitor = monitor,
              .what = what ? what : "training"};
    sr_status status = resume(&l);
    if (status != SR_OK)
        return status;
    show(&l, true);
    while (trainer->iteration < trainer->options.iterations) {
        if (sr_monitor_stop(monitor)) {
            sr_fail(SR_ERROR_INTERRUPTED, "stopped after iteration %llu of %zu",
                    (unsigned long long)trainer->iteration, trainer->options.iterations);
            return save_and_fail(&l, SR_ERROR_INTERRUPTED);
        }
        if ((status = sr_trainer_step(trainer, &l.report)) == SR_ERROR_DIVERGED)
            return save_and_fail(&l, status);
        if (status != SR_OK)
            return status;
        if (each)
            each(user, &l.report);
        warn_of_edge(&l);
        show(&l, false);
        if (sr_seconds() - l.saved_at >= every && (status = save(&l)) != SR_OK)
            return status;
    }
    show(&l, true);
    return save(&l);
}
