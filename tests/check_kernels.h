// What the parts of the tool check_kernels share: failures, random input, arrays with guards.
#ifndef SR_TESTS_CHECK_KERNELS_H
#define SR_TESTS_CHECK_KERNELS_H

#include <shortrun/kernels.h>

// What is being checked, for messages.
extern const char *current_kernel, *current_isa;
extern volatile size_t current_length;
extern size_t failures, comparisons;

void complain(const char *format, ...) SR_PRINTF(1, 2);

uint32_t random_word(void);
float random_between(float low, float high);
uint64_t random_place(void); // where the sequence of random words stands
void random_go_to(uint64_t place);

// Data that ends `gap` floats before an inaccessible page, with guards before and after it.
typedef struct guarded {
    unsigned char *pages;
    size_t bytes;
    float *data;
    size_t n, gap;
} guarded;

guarded guarded_make(size_t n, size_t gap);
guarded guarded_copy(const guarded *from, size_t gap);
guarded guarded_random(size_t n, size_t gap, float (*draw)(void));
void guarded_end(guarded *g, const char *what); // checks the guards, gives the pages back

bool same_bits(float a, float b); // any NaN equals any NaN
void compare_bits(const char *what, size_t n, const float *expected, const float *found);

// n floats from [-1, 1) in *single (sr_free), and the same in double (sr_free).
double *random_doubles(size_t n, float **single);

void check_lanes(const char *filter);
void bench_lanes(const char *filter);

#endif
