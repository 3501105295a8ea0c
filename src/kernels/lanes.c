// The dispatcher of the kernels on lanes: one table an instruction set.
#include "kernels/lanes.h"

#include <pthread.h>

static sr_lanes_kernels tables[SR_ISA_AMX + 1];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

// The table of the highest rung at or below `isa`; vectors climb no higher than `vectors`.
static void climb(sr_lanes_kernels *table, sr_isa isa, sr_isa vectors) {
    sr_lanes_fill_scalar(table);
#ifdef SR_WITH_X86
    if (vectors >= SR_ISA_AVX2)
        sr_lanes_fill_avx2(table);
    if (vectors >= SR_ISA_AVX512)
        sr_lanes_fill_avx512(table);
#endif
#ifdef SR_WITH_AVX512_BF16
    if (vectors >= SR_ISA_AVX512_BF16 && sr_cpu_get()->avx512_bf16)
        sr_lanes_fill_avx512_bf16(table);
#endif
#if defined(SR_WITH_AMX) || defined(SR_AMX_EMULATION)
    if (isa >= SR_ISA_AMX && sr_cpu_get()->amx_bf16)
        sr_lanes_fill_amx(table);
#endif
}

static void fill_tables(void) {
    const sr_isa best = sr_cpu_get()->best;
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++)
        climb(&tables[isa], (sr_isa)isa, (sr_isa)isa < best ? (sr_isa)isa : best);
}

const sr_lanes_kernels *sr_lanes_for(sr_isa isa) {
    pthread_once(&tables_once, fill_tables);
    return &tables[isa <= SR_ISA_AMX ? isa : SR_ISA_AMX];
}

const sr_lanes_kernels *sr_lanes_get(void) {
    return sr_lanes_for(sr_cpu_get()->active);
}
