// The machine's floating-point peak, measured: every thread runs multiply-adds on registers, and
// the best of several short runs counts.
#include "kernels_table.h"

#include <math.h>
#include <pthread.h>

#define PEAK_RUNS 20      // the first may find two threads on one core
#define PEAK_SECONDS 0.01 // of one run
#define PEAK_REMEMBERED 64

typedef double (*peak_run)(size_t rounds, float *sink);

static struct {
    unsigned threads;
    double gflops;
} remembered[PEAK_REMEMBERED];
static size_t remembered_count;
static pthread_mutex_t remembered_lock = PTHREAD_MUTEX_INITIALIZER;

static peak_run peak_kernel(void) {
#ifdef SR_WITH_X86
    switch (sr_kernels_get()->isa) {
    case SR_ISA_AMX:
    case SR_ISA_AVX512_BF16:
    case SR_ISA_AVX512:
        return sr_peak_run_avx512;
    case SR_ISA_AVX2:
        return sr_peak_run_avx2;
    case SR_ISA_SCALAR:
        break;
    }
#endif
    return sr_peak_run_scalar;
}

// Rounds that one thread does in about PEAK_SECONDS: doubled until the clock sees them well.
static size_t calibrate(peak_run run) {
    size_t rounds = 1000;
    for (;;) {
        float sink;
        double start = sr_seconds();
        run(rounds, &sink);
        double seconds = sr_seconds() - start;
        if (seconds >= PEAK_SECONDS / 4)
            return (size_t)((double)rounds * PEAK_SECONDS / seconds) + 1;
        rounds *= 2;
    }
}

// Operations per second of `threads` threads, from the first start to the last end; the barrier
// keeps the making of the threads out.
static double measure_once(peak_run run, unsigned threads, size_t rounds) {
    double operations = 0, start = INFINITY, end = 0;
#pragma omp parallel num_threads(threads) reduction(+ : operations) reduction(min : start)         \
    reduction(max : end)
    {
        float sink;
#pragma omp barrier
        start = sr_seconds();
        operations = run(rounds, &sink);
        end = sr_seconds();
        volatile float keep = sink;
        (void)keep;
    }
    return operations / (end - start);
}

static double measure(unsigned threads) {
    peak_run run = peak_kernel();
    size_t rounds = calibrate(run);
    double best = 0;
    for (int i = 0; i < PEAK_RUNS; i++) {
        double rate = measure_once(run, threads, rounds);
        best = rate > best ? rate : best;
    }
    return 1e-9 * best;
}

double sr_peak_gflops(unsigned threads) {
    threads = sr_threads_resolve(threads);
    double gflops = 0;
    pthread_mutex_lock(&remembered_lock);
    for (size_t i = 0; i < remembered_count; i++)
        if (remembered[i].threads == threads)
            gflops = remembered[i].gflops;
    if (gflops == 0) {
        gflops = measure(threads);
        if (remembered_count < PEAK_REMEMBERED) {
            remembered[remembered_count].threads = threads;
            remembered[remembered_count++].gflops = gflops;
        }
    }
    pthread_mutex_unlock(&remembered_lock);
    return gflops;
}
