// What each instruction set's file gives to the dispatcher (kernels.c). A file of an instruction
// set is compiled with its flags and entered only after the CPU was found to have it.
#ifndef SR_KERNELS_TABLE_H
#define SR_KERNELS_TABLE_H

#include <shortrun/kernels.h>

void sr_kernels_fill_scalar(sr_kernels *table);
void sr_kernels_fill_avx2(sr_kernels *table);
void sr_kernels_fill_avx512(sr_kernels *table);

// Runs `rounds` rounds of independent multiply-adds on registers alone and returns their number of
// floating-point operations; *sink takes a result, so that no compiler drops the work.
double sr_peak_run_scalar(size_t rounds, float *sink);
double sr_peak_run_avx2(size_t rounds, float *sink);
double sr_peak_run_avx512(size_t rounds, float *sink);

#endif
