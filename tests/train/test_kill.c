// kill -9 at ten random moments of a training run with frequent checkpoints; run again to the end:
// the final checkpoint has the bytes of the uninterrupted run's. Persistent chains, spectral norm
// and weight average are on. The trained child is this program, started anew with two arguments.
#include "train_test.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { KILLS = 10 };

static int train(const char *path, double every) {
    sr_dataset data = toy_data();
    const sr_net net = small_mlp(16);
    sr_train_options o = small_options(false);
    o.iterations = 200;
    o.dynamics.noise = 0.02;
    o.dynamics.start = SR_START_PERSISTENT;
    o.average = 0.99;
    o.spectral_iterations = 1;
    o.threads = 2;
    sr_trainer *t = NULL;
    sr_status status = sr_trainer_create(&net, &data, &o, &t);
    if (status == SR_OK)
        status = sr_trainer_run(t, path, every, NULL, NULL, NULL, NULL);
    if (status != SR_OK)
        fprintf(stderr, "child: %s\n", sr_error_message());
    sr_trainer_destroy(t);
    sr_dataset_clear(&data);
    return status == SR_OK ? 0 : 1;
}

static pid_t start_child(const char *path, const char *every) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("OMP_WAIT_POLICY", "passive", 0); // or threads spin while other tests want the cores
        execl("/proc/self/exe", "test_kill", path, every, (char *)NULL);
        _exit(127);
    }
    return child;
}

static int wait_for(pid_t child) {
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void rest(double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static void killed_runs_end_with_the_same_bits(void **state) {
    char whole[320], killed[320], expect[33], found[33];
    scratch_path(whole, "whole.safetensors");
    scratch_path(killed, "killed.safetensors");
    const double begin = sr_seconds();
    int how = wait_for(start_child(whole, "0"));
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    const double duration = sr_seconds() - begin;
    file_hash(whole, expect);
    const unsigned seed = (unsigned)time(NULL);
    srand(seed);
    print_message("seed %u, one run takes %.2f s\n", seed, duration);
    int kills = 0, resumed = 0;
    for (int attempt = 0; attempt < 20 * KILLS && (kills < KILLS || resumed == 0); attempt++) {
        const bool resumes = sr_file_exists(killed);
        const pid_t child = start_child(killed, "0");
        // later and later: on a busy machine a child is long in starting
        rest(duration * (0.2 + 0.02 * attempt) * (double)rand() / (double)RAND_MAX);
        kill(child, SIGKILL);
        how = wait_for(child);
        if (WIFSIGNALED(how)) {
            kills++;
            resumed += resumes;
        } else { // it was faster: begin again
            assert_int_equal(WEXITSTATUS(how), 0);
            unlink(killed);
        }
    }
    assert_true(kills >= KILLS);
    assert_true(resumed > 0);
    how = wait_for(start_child(killed, "0"));
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    file_hash(killed, found);
    assert_string_equal(expect, found);
}

static int tidy(void **state) {
    scratch_remove();
    return 0;
}

int main(int count, char **arguments) {
    if (count == 3)
        return train(arguments[1], strtod(arguments[2], NULL));
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_runs_end_with_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, tidy);
}
