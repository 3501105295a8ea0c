// The machine's facts, SHORTRUN_ISA, clocks, and monitors with missing members. The facts are found
// once per process, so each value of the variable is looked at in a child.
#include <shortrun/base.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void *ask(void *unused) {
    (void)unused;
    return (void *)(uintptr_t)sr_cpu_get();
}

// Runs before anything else asks for the facts in this process.
static void facts_are_found_once(void **state) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        assert_ptr_equal(answer, sr_cpu_get());
    }
    const sr_cpu *cpu = sr_cpu_get();
    assert_true(cpu->cores >= 1 && cpu->threads >= cpu->cores);
    assert_true(cpu->active <= cpu->best);
    assert_true(cpu->threads <= (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    assert_true(cpu->best >= SR_ISA_AVX512 || !cpu->avx512_bf16);
    assert_true(cpu->best >= SR_ISA_AMX || !cpu->amx_bf16);
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    assert_true(strlen(cpu->brand) > 0);
    // The compiler's own detection, which also asks the operating system.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        assert_true(cpu->best >= SR_ISA_AVX2);
    else
        assert_int_equal(cpu->best, SR_ISA_SCALAR);
    assert_int_equal(cpu->best >= SR_ISA_AVX512,
                     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
#else
    assert_int_equal(cpu->best, SR_ISA_SCALAR);
#endif
}

// Against what the kernel tells in /proc.
static void memory_is_that_of_the_machine(void **state) {
    FILE *file = fopen("/proc/meminfo", "r");
    unsigned long long kib;
    if (!file)
        skip();
    int fields = fscanf(file, "MemTotal: %llu kB", &kib);
    fclose(file);
    if (fields != 1)
        skip();
    double ratio = (double)sr_cpu_get()->memory / (1024.0 * (double)kib);
    assert_true(ratio > 0.95 && ratio < 1.05);
}

// active, and 100 more when the name was unknown, as a child with SHORTRUN_ISA = value sees it.
static int active_in_child(const char *program, const char *value) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("SHORTRUN_ISA", value, 1);
        execl(program, program, "--print-active", (char *)NULL);
        _exit(255);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void environment_lowers_the_isa(void **state) {
    const char *program = "/proc/self/exe";
    if (access(program, X_OK) != 0)
        skip();
    int best = (int)sr_cpu_get()->best;
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++)
        assert_int_equal(active_in_child(program, sr_isa_name((sr_isa)isa)),
                         isa < best ? isa : best);
    assert_int_equal(active_in_child(program, ""), best);
    assert_int_equal(active_in_child(program, "sse9"), 100 + best);
}

static void isa_names(void **state) {
    assert_string_equal(sr_isa_name(SR_ISA_SCALAR), "scalar");
    assert_string_equal(sr_isa_name(SR_ISA_AVX2), "avx2");
    assert_string_equal(sr_isa_name(SR_ISA_AVX512), "avx512");
    assert_string_equal(sr_isa_name(SR_ISA_AMX), "amx");
    assert_string_equal(sr_isa_name((sr_isa)77), "unknown");
}

static void clocks_move(void **state) {
    double start = sr_seconds();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    double elapsed = sr_seconds() - start;
    assert_true(elapsed >= 0.0199 && elapsed < 10);
    uint64_t before = sr_peak_memory();
    assert_true(before > 100000); // a process has more than 100 kB
    size_t bytes = (size_t)64 << 20;
    char *big = sr_alloc(bytes, 1); // zeroed, so every page is touched
    assert_true(sr_peak_memory() >= bytes);
    sr_free(big);
}

static void threads_resolve(void **state) {
    assert_int_equal(sr_threads_resolve(0), sr_cpu_get()->threads);
    assert_int_equal(sr_threads_resolve(3), 3);
}

typedef struct seen {
    char line[200], what[100], detail[100];
    sr_level level;
    double done, total;
} seen;

static void on_log(void *user, sr_level level, const char *line) {
    seen *s = user;
    s->level = level;
    strcpy(s->line, line);
}

static void on_progress(void *user, const char *what, const char *detail, double done,
                        double total) {
    seen *s = user;
    strcpy(s->what, what);
    strcpy(s->detail, detail);
    s->done = done;
    s->total = total;
}

static bool on_stop(void *user) {
    return ((seen *)user)->done > 1;
}

static void monitors(void **state) {
    sr_monitor_log(NULL, SR_LEVEL_INFO, "nobody hears %d", 1);
    sr_monitor_progress(NULL, "a", NULL, 0, 1);
    assert_false(sr_monitor_stop(NULL));
    sr_monitor empty = {0};
    sr_monitor_log(&empty, SR_LEVEL_INFO, "nobody");
    sr_monitor_progress(&empty, "a", "b", 0, 1);
    assert_false(sr_monitor_stop(&empty));
    seen s = {0};
    sr_monitor monitor = {&s, on_log, on_progress, on_stop};
    sr_monitor_log(&monitor, SR_LEVEL_WARNING, "gap %.1f", 2.5);
    assert_string_equal(s.line, "gap 2.5");
    assert_int_equal(s.level, SR_LEVEL_WARNING);
    sr_monitor_progress(&monitor, "cell", NULL, 1, 4);
    assert_string_equal(s.what, "cell");
    assert_string_equal(s.detail, "");
    assert_false(sr_monitor_stop(&monitor));
    sr_monitor_progress(&monitor, "cell", "x", 2, 4);
    assert_true(s.total > 3 && sr_monitor_stop(&monitor));
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--print-active") == 0)
        return (int)sr_cpu_get()->active + (sr_cpu_get()->isa_name_unknown ? 100 : 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_found_once),
        cmocka_unit_test(environment_lowers_the_isa),
        cmocka_unit_test(memory_is_that_of_the_machine),
        cmocka_unit_test(isa_names),
        cmocka_unit_test(clocks_move),
        cmocka_unit_test(threads_resolve),
        cmocka_unit_test(monitors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
