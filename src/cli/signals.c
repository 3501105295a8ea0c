// The handlers only set a flag and write a fixed line; all that is saved is saved by the work
// itself.
#include "cli/signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t requested;

static void on_signal(int number) {
    if (requested)
        _exit(CLI_INTERRUPTED);
    requested = 1;
    static const char line[] =
        "\nstopping after this iteration; once more to stop at once (what is not saved is lost)\n";
    const ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written; // nobody to tell
}

void cli_catch_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_stop_requested(void) {
    return requested != 0;
}
