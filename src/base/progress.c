// Calls of a monitor whose members, or which itself, may be absent.
#include <shortrun/base.h>

#include <stdio.h>

void sr_monitor_log(const sr_monitor *monitor, sr_level level, const char *format, ...) {
    if (!monitor || !monitor->log)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    monitor->log(monitor->user, level, line);
}

void sr_monitor_progress(const sr_monitor *monitor, const char *what, const char *detail,
                         double done, double total) {
    if (monitor && monitor->progress)
        monitor->progress(monitor->user, what, detail ? detail : "", done, total);
}

bool sr_monitor_stop(const sr_monitor *monitor) {
    return monitor && monitor->stop && monitor->stop(monitor->user);
}
