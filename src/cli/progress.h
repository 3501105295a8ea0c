// What the user sees while something runs: a bar on a terminal, few lines elsewhere. All on stderr.
#ifndef SHORTRUN_CLI_PROGRESS_H
#define SHORTRUN_CLI_PROGRESS_H

#include <shortrun/base.h>

// A monitor that draws progress, prints log lines and asks to stop after Ctrl-C. One per process;
// valid until the program ends.
const sr_monitor *cli_monitor(void);
// Removes the bar, so that what is printed next starts on a clean line. Fine when there is none.
void cli_progress_clear(void);
// "3 h 12 min", "2 min 05 s", "7 s", "0.4 s".
void cli_duration(double seconds, char *out, size_t size);

#endif
