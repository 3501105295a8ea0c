// What the machine can do: instruction sets (CPUID, what the operating system saves by XCR0, and
// the kernel's permission for AMX), caches and cores (hwloc). Found once, at the first question.
//
// Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID; volume 1,
// chapter 13 (XCR0). AMX permission: Linux, Documentation/arch/x86/xstate.rst.
#include <shortrun/base.h>

#include <hwloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// SR_PORTABLE leaves out everything that is not plain C, as on a machine that is not x86-64.
#if defined(__x86_64__) && !defined(SR_PORTABLE)
#define HAVE_X86 1
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#else
#define HAVE_X86 0
#endif

static sr_cpu cpu;
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;

static const char *const isa_names[] = {"scalar", "avx2", "avx512", "avx512_bf16", "amx"};

const char *sr_isa_name(sr_isa isa) {
    size_t i = (size_t)isa;
    return i < sizeof isa_names / sizeof *isa_names ? isa_names[i] : "unknown";
}

#if HAVE_X86

typedef struct registers {
    unsigned a, b, c, d;
} registers;

static registers cpuid(unsigned leaf, unsigned subleaf) {
    registers r = {0};
    if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d))
        r = (registers){0};
    return r;
}

static bool all_bits(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

// Which register states the operating system saves. Only after CPUID.1:ECX.OSXSAVE.
static uint64_t read_xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// Tile data is off until the process asks for it.
static bool ask_for_tiles(void) {
#ifdef __linux__
    const long request_permission = 0x1023; // ARCH_REQ_XCOMP_PERM
    const long tile_data = 18;              // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

static void find_brand(void) {
    if (cpuid(0x80000000u, 0).a < 0x80000004u)
        return;
    char brand[49] = {0};
    for (unsigned i = 0; i < 3; i++) {
        registers r = cpuid(0x80000002u + i, 0);
        memcpy(brand + 16 * i, &r, 16);
    }
    char *start = brand + strspn(brand, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ')
        length--;
    memcpy(cpu.brand, start, length);
    cpu.brand[length] = '\0';
}

static void find_isa(void) {
    const uint64_t xmm_ymm = 0x6, zmm = 0xe0, tiles = 0x60000;
    registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = {0};
    find_brand();
    if (!all_bits(basic.c, 1u << 27)) // OSXSAVE
        return;
    if (extended.a >= 1)
        more = cpuid(7, 1);
    uint64_t xcr0 = read_xcr0();
    bool avx2 = all_bits(basic.c, 1u << 12 | 1u << 28 | 1u << 29) && // FMA, AVX, F16C
                all_bits(extended.b, 1u << 5) && all_bits(xcr0, xmm_ymm);
    bool avx512 = avx2 &&
                  all_bits(extended.b, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) && // F DQ BW VL
                  all_bits(xcr0, xmm_ymm | zmm);
    bool amx = avx512 && all_bits(extended.d, 1u << 24) && all_bits(xcr0, tiles) && ask_for_tiles();
    cpu.avx512_bf16 = avx512 && all_bits(more.a, 1u << 5);
    cpu.avx512_vnni = avx512 && all_bits(extended.c, 1u << 11);
    cpu.amx_bf16 = amx && all_bits(extended.d, 1u << 22);
    cpu.best = amx               ? SR_ISA_AMX
               : cpu.avx512_bf16 ? SR_ISA_AVX512_BF16
               : avx512          ? SR_ISA_AVX512
               : avx2            ? SR_ISA_AVX2
                                 : SR_ISA_SCALAR;
}

#else

static void find_isa(void) {
    cpu.best = SR_ISA_SCALAR;
}

#endif

static size_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
    hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
    return cache && cache->attr ? (size_t)cache->attr->cache.size : 0;
}

// Objects of a type of which this process may use at least one hardware thread.
static unsigned count_usable(hwloc_topology_t topology, hwloc_obj_type_t type,
                             hwloc_const_cpuset_t usable) {
    unsigned count = 0;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(topology, type, o));)
        count += o->cpuset && hwloc_bitmap_intersects(o->cpuset, usable);
    return count;
}

static void find_topology(void) {
    cpu.cores = cpu.threads = 1;
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return;
    hwloc_bitmap_t usable = hwloc_bitmap_alloc();
    if (usable && hwloc_topology_load(topology) == 0) {
        if (hwloc_get_cpubind(topology, usable, HWLOC_CPUBIND_PROCESS) != 0)
            hwloc_bitmap_copy(usable, hwloc_topology_get_topology_cpuset(topology));
        unsigned cores = count_usable(topology, HWLOC_OBJ_CORE, usable);
        unsigned threads = count_usable(topology, HWLOC_OBJ_PU, usable);
        cpu.threads = threads > 0 ? threads : 1;
        cpu.cores = cores > 0 ? cores : cpu.threads;
        cpu.l1d = cache_bytes(topology, HWLOC_OBJ_L1CACHE);
        cpu.l2 = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
        cpu.l3 = cache_bytes(topology, HWLOC_OBJ_L3CACHE);
    }
    hwloc_bitmap_free(usable);
    hwloc_topology_destroy(topology);
}

// Asked of the operating system: hwloc's sum over memory nodes falls short where virtual machines
// hide some.
static void find_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    cpu.memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

// SHORTRUN_ISA lowers the instruction set; it cannot raise it above what the CPU has.
static void apply_environment(void) {
    cpu.active = cpu.best;
    const char *wanted = getenv("SHORTRUN_ISA");
    if (!wanted || !*wanted)
        return;
    for (size_t i = 0; i < sizeof isa_names / sizeof *isa_names; i++) {
        if (strcmp(wanted, isa_names[i]) == 0) {
            cpu.active = (sr_isa)i < cpu.best ? (sr_isa)i : cpu.best;
            return;
        }
    }
    cpu.isa_name_unknown = true;
}

static void find_cpu(void) {
    find_isa();
    find_topology();
    find_memory();
    apply_environment();
#ifdef SR_AMX_EMULATION // whoever asks for the tiles by name gets the model of them
    const char *wanted = getenv("SHORTRUN_ISA");
    cpu.amx_bf16 = true;
    if (wanted && strcmp(wanted, "amx") == 0)
        cpu.active = SR_ISA_AMX;
#endif
}

const sr_cpu *sr_cpu_get(void) {
    pthread_once(&cpu_once, find_cpu);
    return &cpu;
}

unsigned sr_threads_resolve(unsigned requested) {
    return requested > 0 ? requested : sr_cpu_get()->threads;
}
