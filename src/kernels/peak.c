// The machine's peaks, measured: every thread runs multiply-adds on registers, or reads from its
// cache, and the best of several short runs counts.
#include "kernels_table.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>

#define PEAK_RUNS 20      // the first may find two threads on one core
#define PEAK_SECONDS 0.01 // of one run
#define PEAK_REMEMBERED 64
#define L2_ASSUMED (512 << 10) // bytes, where nobody knows

typedef double (*peak_run)(sr_peak_task *task);
typedef enum peak_kind { PEAK_FP32, PEAK_BF16, PEAK_L2 } peak_kind;

static struct {
    peak_kind kind;
    unsigned threads;
    double rate;
} remembered[PEAK_REMEMBERED];
static size_t remembered_count;
static pthread_mutex_t remembered_lock = PTHREAD_MUTEX_INITIALIZER;

// ---- which loop ---------------------------------------------------------------------------------

static peak_run multiply_fp32(void) {
#ifdef SR_WITH_X86
    switch (sr_kernels_get()->isa) {
    case SR_ISA_AMX:
    case SR_ISA_AVX512_BF16:
    case SR_ISA_AVX512:
        return sr_peak_multiply_avx512;
    case SR_ISA_AVX2:
        return sr_peak_multiply_avx2;
    case SR_ISA_SCALAR:
        break;
    }
#endif
    return sr_peak_multiply_scalar;
}

static peak_run read_memory(void) {
#ifdef SR_WITH_X86
    switch (sr_kernels_get()->isa) {
    case SR_ISA_AMX:
    case SR_ISA_AVX512_BF16:
    case SR_ISA_AVX512:
        return sr_peak_read_avx512;
    case SR_ISA_AVX2:
        return sr_peak_read_avx2;
    case SR_ISA_SCALAR:
        break;
    }
#endif
    return sr_peak_read_scalar;
}

static bool multiplies_on_tiles(void) {
#ifdef SR_WITH_AMX
    return sr_cpu_get()->active == SR_ISA_AMX && sr_cpu_get()->amx_bf16;
#else
    return false;
#endif
}

// NULL where the machine has no products in bfloat16.
static peak_run multiply_bf16(void) {
#ifdef SR_WITH_AMX
    if (multiplies_on_tiles())
        return sr_peak_multiply_amx;
#endif
#ifdef SR_WITH_AVX512_BF16
    if (sr_cpu_get()->active >= SR_ISA_AVX512_BF16)
        return sr_peak_multiply_bf16;
#endif
    return NULL;
}

// ---- measuring ----------------------------------------------------------------------------------

// Rounds that one thread does in about PEAK_SECONDS: doubled until the clock sees them well.
static size_t calibrate(peak_run run, sr_peak_task task) {
    for (task.rounds = 16;; task.rounds *= 2) {
        const double start = sr_seconds();
        run(&task);
        const double seconds = sr_seconds() - start;
        if (seconds >= PEAK_SECONDS / 4)
            return (size_t)((double)task.rounds * PEAK_SECONDS / seconds) + 1;
    }
}

// Operations or bytes per second of `threads` threads, from the first start to the last end; the
// barrier keeps the making of the threads out. memory: `floats` for each thread, or NULL.
static double measure_once(peak_run run, unsigned threads, sr_peak_task common, float *memory) {
    double amount = 0, start = INFINITY, end = 0;
#pragma omp parallel num_threads(threads) reduction(+ : amount) reduction(min : start)             \
    reduction(max : end)
    {
        sr_peak_task task = common;
        if (memory)
            task.memory = memory + (size_t)omp_get_thread_num() * common.floats;
#pragma omp barrier
        start = sr_seconds();
        amount = run(&task);
        end = sr_seconds();
        volatile float keep = task.sink;
        (void)keep;
    }
    return amount / (end - start);
}

// `floats` of memory for each thread. 0 where they cannot be had.
static double measure(peak_run run, unsigned threads, size_t floats) {
    sr_peak_task task = {.floats = floats};
    float *memory = NULL;
    if (floats > 0) {
        if (!(memory = sr_alloc(threads * floats, sizeof *memory)))
            return 0;
        task.memory = memory;
    }
    task.rounds = calibrate(run, task);
    double best = 0;
    for (int i = 0; i < PEAK_RUNS; i++)
        best = fmax(best, measure_once(run, threads, task, memory));
    sr_free(memory);
    return 1e-9 * best;
}

static double measure_kind(peak_kind kind, unsigned threads) {
    const size_t l2 = sr_cpu_get()->l2;
    switch (kind) {
    case PEAK_BF16:
        return measure(multiply_bf16(), threads, 0);
    case PEAK_L2:
        return measure(read_memory(), threads, (l2 ? l2 : L2_ASSUMED) / 2 / sizeof(float));
    case PEAK_FP32:
        break;
    }
    return measure(multiply_fp32(), threads, 0);
}

static double recall_or_measure(peak_kind kind, unsigned threads) {
    threads = sr_threads_resolve(threads);
    double rate = 0;
    pthread_mutex_lock(&remembered_lock);
    for (size_t i = 0; i < remembered_count; i++)
        if (remembered[i].kind == kind && remembered[i].threads == threads)
            rate = remembered[i].rate;
    if (rate == 0) {
        rate = measure_kind(kind, threads);
        if (remembered_count < PEAK_REMEMBERED) {
            remembered[remembered_count].kind = kind;
            remembered[remembered_count].threads = threads;
            remembered[remembered_count++].rate = rate;
        }
    }
    pthread_mutex_unlock(&remembered_lock);
    return rate;
}

double sr_peak_gflops(unsigned threads) {
    return recall_or_measure(PEAK_FP32, threads);
}

double sr_peak_bf16_gflops(unsigned threads) {
    return recall_or_measure(multiply_bf16() ? PEAK_BF16 : PEAK_FP32, threads);
}

double sr_peak_l2_gbs(unsigned threads) {
    return recall_or_measure(PEAK_L2, threads);
}

double sr_peak_for(sr_precision precision, unsigned threads) {
    if (precision == SR_BF16)
        return sr_peak_bf16_gflops(threads);
    if (precision == SR_BF16X3 && multiplies_on_tiles())
        return sr_peak_bf16_gflops(threads) / 3; // three products for each of fp32
    return sr_peak_gflops(threads);
}
