// Features of earlier calls, by what they were made of. Private to the program.
#ifndef SHORTRUN_CLI_FEATURE_CACHE_H
#define SHORTRUN_CLI_FEATURE_CACHE_H

#include <shortrun/shortrun.h>

// Reads the array (n, width) that was kept under `key` (32 hexadecimal digits) into `out`. False
// where there is none, or none that can be trusted: then a warning says so.
bool cli_feature_cache_get(const char *key, size_t n, size_t width, float *out);
// Keeps it, and removes the files used longest ago until all take at most SHORTRUN_CACHE_LIMIT MB
// (2000 where it is not set; 0 keeps nothing). What goes wrong is a warning: the features are there
// all the same.
void cli_feature_cache_put(const char *key, size_t n, size_t width, const float *x);

#endif
