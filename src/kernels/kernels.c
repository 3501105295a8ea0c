// The dispatcher: fills one table per instruction set with the reference and climbs as far as the
// CPU (and this build) allows. SR_WITH_X86 says that the x86-64 files are in the build.
#include "kernels_table.h"

#include <pthread.h>

static sr_kernels tables[SR_ISA_AMX + 1];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

// The table of the highest rung at or below `isa`.
static void climb(sr_kernels *table, sr_isa isa) {
    sr_kernels_fill_scalar(table);
#ifdef SR_WITH_X86
    if (isa < SR_ISA_AVX2)
        return;
    sr_kernels_fill_avx2(table);
    if (isa < SR_ISA_AVX512)
        return;
    sr_kernels_fill_avx512(table);
#endif
}

static void fill_tables(void) {
    sr_isa best = sr_cpu_get()->best;
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++)
        climb(&tables[isa], (sr_isa)isa < best ? (sr_isa)isa : best);
}

const sr_kernels *sr_kernels_for(sr_isa isa) {
    pthread_once(&tables_once, fill_tables);
    return &tables[isa <= SR_ISA_AMX ? isa : SR_ISA_AMX];
}

const sr_kernels *sr_kernels_get(void) {
    return sr_kernels_for(sr_cpu_get()->active);
}
