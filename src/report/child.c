// Running another program without a shell: arguments are passed as they are, its standard error is
// read back. Used for gnuplot.
#include "report/report_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ERRORS_MAX 4096 // bytes of standard error that are kept

extern char **environ;

static sr_status spawn(const char *folder, const char *const *args, int errors_fd, pid_t *child,
                       int *code) {
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions))
        return sr_fail(SR_ERROR_MEMORY, "cannot prepare to run %s", args[0]);
    int bad = posix_spawn_file_actions_addchdir_np(&actions, folder);
    bad = bad ? bad : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    bad = bad ? bad : posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    bad = bad ? bad : posix_spawn_file_actions_adddup2(&actions, errors_fd, 2);
    // posix_spawnp does not write to its argument list; the prototype predates const
    *code = bad ? bad : posix_spawnp(child, args[0], &actions, NULL, (char *const *)args, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (bad)
        return sr_fail(SR_ERROR_MEMORY, "cannot prepare to run %s: %s", args[0], strerror(bad));
    return SR_OK;
}

// Reads to the end, so that the child never blocks on a full pipe; keeps the first ERRORS_MAX
// bytes.
static void drain(int fd, sr_text *errors) {
    char bytes[1024];
    for (;;) {
        ssize_t count = read(fd, bytes, sizeof bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;
        size_t room = errors->length < ERRORS_MAX ? ERRORS_MAX - errors->length : 0;
        sr_text_append_bytes(errors, bytes, (size_t)count < room ? (size_t)count : room);
    }
}

sr_status sr_child_run(const char *folder, const char *const *args, sr_text *errors,
                       int *exit_status, bool *missing) {
    int ends[2], code = 0, wait_status = 0;
    pid_t child = 0;
    *missing = false;
    *exit_status = -1;
    if (pipe2(ends, O_CLOEXEC))
        return sr_fail(SR_ERROR_IO, "cannot make a pipe: %s", strerror(errno));
    sr_status status = spawn(folder, args, ends[1], &child, &code);
    close(ends[1]);
    if (status || code) {
        close(ends[0]);
        // the folder was made before, so ENOENT is the program's
        *missing = !status && (code == ENOENT || code == EACCES || code == ENOTDIR);
        if (status || *missing)
            return status;
        return sr_fail(SR_ERROR_IO, "cannot run %s: %s", args[0], strerror(code));
    }
    drain(ends[0], errors);
    close(ends[0]);
    while (waitpid(child, &wait_status, 0) < 0) {
        if (errno != EINTR)
            return sr_fail(SR_ERROR_IO, "cannot wait for %s: %s", args[0], strerror(errno));
    }
    if (WIFEXITED(wait_status))
        *exit_status = WEXITSTATUS(wait_status);
    return SR_OK;
}
