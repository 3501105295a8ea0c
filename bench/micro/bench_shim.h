// Google Benchmark seen from C: as much of it as the micro-benchmarks need. shim.cc is the only C++
// here.
#ifndef SHORTRUN_BENCH_SHIM_H
#define SHORTRUN_BENCH_SHIM_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_state bench_state; // one run of one benchmark
typedef void (*bench_body)(bench_state *state,
                           void *user); // sets up, loops on bench_running, cleans up

// threaded: the body works with several threads, so CPU time is the process's and rates count wall
// time.
void bench_register(const char *name, bench_body body, void *user, bool threaded);
// The same for bodies that measure themselves: they end each iteration with bench_seconds.
void bench_register_timed(const char *name, bench_body body, void *user);
void bench_seconds(bench_state *state, double seconds);
// Loop on it: while (bench_running(state)) work().
bool bench_running(bench_state *state);
// After the loop: `amount` of something is done in one iteration; it is reported per second.
void bench_rate(bench_state *state, const char *what, double amount);
// Before the loop: the benchmark cannot run here; the loop is then left at once.
void bench_skip(bench_state *state, const char *why);
// Makes the compiler believe that the memory is read.
void bench_use(const void *memory);
// Runs what is registered; argv as Google Benchmark understands it (--benchmark_filter=...).
int bench_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
