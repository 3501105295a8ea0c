// Progress on stderr. On a terminal: one line, redrawn at most ten times a second,
//     training [##########          ]  51%  iteration 308/600 gap 0.42  1 min 12 s left
// elsewhere: a plain line about every ten seconds and one at the end of each piece of work that
// took longer than that. NO_COLOR (no-color.org) and TERM=dumb are respected.
#include "cli/progress.h"
#include "cli/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_EVERY 0.1
#define LINE_EVERY 10.0
#define BAR_WIDTH 20

typedef struct progress {
    bool ready, terminal, colour, drawn;
    bool compact; // this `what` did not fit beside a bar once: no jumping to and fro
    char what[256];
    double began, first; // when the count began, and where it stood then
    double last, total;  // of the count
    double shown_at;     // of the last line or redraw
    bool shown_before;   // a plain line of this `what` has been printed
} progress;

static progress now;

void cli_duration(double seconds, char *out, size_t size) {
    if (!(seconds >= 0.0) || seconds > 1e9)
        snprintf(out, size, "?");
    else if (seconds < 1.0)
        snprintf(out, size, "%.1f s", seconds);
    else if (seconds < 59.5)
        snprintf(out, size, "%.0f s", seconds);
    else if (seconds < 3599.5)
        snprintf(out, size, "%d min %02d s", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
    else
        snprintf(out, size, "%d h %02d min", (int)(seconds + 30.0) / 3600,
                 (int)(seconds + 30.0) / 60 % 60);
}

static void prepare(progress *p) {
    if (p->ready)
        return;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    p->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    p->colour = p->terminal && !(no_color && no_color[0]);
    p->shown_at = -INFINITY;
    p->ready = true;
}

static size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void cli_progress_clear(void) {
    if (now.drawn)
        fputs("\r\033[K", stderr);
    now.drawn = false;
}

static void time_left(const progress *p, double done, double total, char *out, size_t size) {
    out[0] = '\0';
    const double spent = sr_seconds() - p->began;
    if (spent < 1.0 || done <= p->first || done >= total)
        return;
    char duration[32];
    cli_duration(spent * (total - done) / (done - p->first), duration, sizeof duration);
    snprintf(out, size, "  %s left", duration);
}

static void draw(progress *p, const char *detail, double done, double total) {
    char left[48], text[512];
    const double share = total > 0.0 ? fmin(fmax(done / total, 0.0), 1.0) : 0.0;
    const int full = (int)(share * BAR_WIDTH);
    time_left(p, done, total, left, sizeof left);
    snprintf(text, sizeof text, "%s [%.*s%*s] %3.0f%%%s%s%s", p->what, full, "####################",
             BAR_WIDTH - full, "", floor(100.0 * share), detail[0] ? "  " : "", detail, left);
    const size_t width = terminal_width();
    p->compact = p->compact || strlen(text) >= width;
    if (p->compact) // without the bar, then cut
        snprintf(text, sizeof text, "%3.0f%% %s%s%s%s", floor(100.0 * share), p->what,
                 detail[0] ? "  " : "", detail, left);
    fprintf(stderr, "\r%s%.*s%s\033[K", p->colour ? "\033[36m" : "", (int)(width - 1), text,
            p->colour ? "\033[0m" : "");
    fflush(stderr);
    p->drawn = true;
}

static void on_progress(void *user, const char *what, const char *detail, double done,
                        double total) {
    progress *p = user;
    prepare(p);
    const double at = sr_seconds();
    if (total != p->total || done < p->last) { // another count, not the next piece of the same
        p->began = at;
        p->first = done;
        p->total = total;
        p->shown_before = false;
        if (!p->terminal) // the clock starts with the work: short pieces stay silent
            p->shown_at = fmax(p->shown_at, at - LINE_EVERY / 2.0);
    }
    p->last = done;
    if (strcmp(what, p->what) != 0) {
        snprintf(p->what, sizeof p->what, "%s", what);
        p->compact = false;
    }
    const bool end = done >= total;
    if (p->terminal) {
        if (end)
            cli_progress_clear();
        else if (at - p->shown_at >= REDRAW_EVERY) {
            draw(p, detail, done, total);
            p->shown_at = at;
        }
        return;
    }
    if (at - p->shown_at < LINE_EVERY && !(end && p->shown_before))
        return;
    char left[48];
    time_left(p, done, total, left, sizeof left);
    fprintf(stderr, "%s: %.0f%%%s%s%s\n", p->what, total > 0.0 ? floor(100.0 * done / total) : 0.0,
            detail[0] ? "  " : "", detail, left);
    p->shown_before = !end;
    p->shown_at = at;
}

static void on_log(void *user, sr_level level, const char *line) {
    progress *p = user;
    prepare(p);
    cli_progress_clear();
    if (level == SR_LEVEL_WARNING)
        fprintf(stderr, "%swarning:%s %s\n", p->colour ? "\033[33m" : "",
                p->colour ? "\033[0m" : "", line);
    else
        fprintf(stderr, "%s\n", line);
}

static bool on_stop(void *user) {
    return cli_stop_requested();
}

const sr_monitor *cli_monitor(void) {
    static const sr_monitor monitor = {
        .user = &now, .log = on_log, .progress = on_progress, .stop = on_stop};
    return &monitor;
}
