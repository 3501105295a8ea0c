// What each instruction set's file gives to the dispatcher (kernels.c). A file of an instruction
// set is compiled with its flags and entered only after the CPU was found to have it.
#ifndef SR_KERNELS_TABLE_H
#define SR_KERNELS_TABLE_H

#include <shortrun/kernels.h>

void sr_kernels_fill_scalar(sr_kernels *table);
void sr_kernels_fill_avx2(sr_kernels *table);
void sr_kernels_fill_avx512(sr_kernels *table);

// One thread's part in the measurement of a peak.
typedef struct sr_peak_task {
    size_t rounds;
    const float *memory; // (floats), for sr_peak_read
    size_t floats;
    float sink; // takes a result, so that no compiler drops the work
} sr_peak_task;

// Independent multiply-adds on registers alone; returns their number of floating-point operations.
double sr_peak_multiply_scalar(sr_peak_task *task);
double sr_peak_multiply_avx2(sr_peak_task *task);
double sr_peak_multiply_avx512(sr_peak_task *task);
double sr_peak_multiply_bf16(sr_peak_task *task); // AVX512_BF16
double sr_peak_multiply_amx(sr_peak_task *task);  // tiles of bfloat16
// Vector loads of the task's memory; returns the number of bytes.
double sr_peak_read_scalar(sr_peak_task *task);
double sr_peak_read_avx2(sr_peak_task *task);
double sr_peak_read_avx512(sr_peak_task *task);

#endif
