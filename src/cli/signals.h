// Ctrl-C and SIGTERM: the first asks the work to save and stop, the second ends the program at
// once.
#ifndef SHORTRUN_CLI_SIGNALS_H
#define SHORTRUN_CLI_SIGNALS_H

#include <stdbool.h>

void cli_catch_signals(void);
bool cli_stop_requested(void);

#define CLI_INTERRUPTED 130 // exit status, as a shell reports SIGINT

#endif
