// Time and memory of this process.
#include <shortrun/base.h>

#include <sys/resource.h>
#include <time.h>

double sr_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

uint64_t sr_peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0)
        return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss; // bytes there, KiB elsewhere
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}
