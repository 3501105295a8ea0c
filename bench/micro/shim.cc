// The C face of Google Benchmark (1.7 or newer).
#include "bench_shim.h"

#include <benchmark/benchmark.h>

static benchmark::State *of(bench_state *state) {
    return reinterpret_cast<benchmark::State *>(state);
}

void bench_register(const char *name, bench_body body, void *user, bool threaded) {
    benchmark::internal::Benchmark *made =
        benchmark::RegisterBenchmark(name, [body, user](benchmark::State &state) {
            body(reinterpret_cast<bench_state *>(&state), user);
        });
    if (threaded)
        made->MeasureProcessCPUTime()->UseRealTime();
}

void bench_register_timed(const char *name, bench_body body, void *user) {
    benchmark::RegisterBenchmark(name, [body, user](benchmark::State &state) {
        body(reinterpret_cast<bench_state *>(&state), user);
    })->UseManualTime();
}

void bench_seconds(bench_state *state, double seconds) {
    of(state)->SetIterationTime(seconds);
}

bool bench_running(bench_state *state) {
    return of(state)->KeepRunning();
}

void bench_rate(bench_state *state, const char *what, double amount) {
    of(state)->counters[what] =
        benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
}

void bench_skip(bench_state *state, const char *why) {
    of(state)->SkipWithError(why);
}

void bench_use(const void *memory) {
    benchmark::DoNotOptimize(memory);
    benchmark::ClobberMemory();
}

int bench_main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
