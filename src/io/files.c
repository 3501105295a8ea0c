// Whole files: atomic writing, reading with a limit, plain or gzip-compressed. No format is known
// here.
#include "io/io_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

const char *sr_printable(const char *text, char *out, size_t size) {
    size_t n = 0;
    for (; text[n] && n + 1 < size; n++)
        out[n] = iscntrl((unsigned char)text[n]) ? '?' : text[n];
    out[n] = 0;
    return out;
}

// ---- writing ------------------------------------------------------------------------------------

static sr_status write_parts(int fd, const char *path, const sr_file_part *parts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *at = parts[i].bytes;
        size_t left = parts[i].count;
        while (left > 0) {
            // Linux writes at most 2 GiB a call; an explicit bound keeps that out of the arithmetic
            ssize_t written = write(fd, at, left < (1u << 30) ? left : (1u << 30));
            if (written < 0 && errno == EINTR)
                continue;
            if (written <= 0)
                return sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path,
                               strerror(written < 0 ? errno : ENOSPC));
            at += written;
            left -= (size_t)written;
        }
    }
    return SR_OK;
}

// Devices and pipes cannot be replaced by renaming: the bytes go straight in.
static sr_status write_in_place(const char *path, const sr_file_part *parts, size_t n) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return sr_fail(SR_ERROR_IO, "%s: cannot open for writing: %s", path, strerror(errno));
    sr_status status = write_parts(fd, path, parts, n);
    if (close(fd) != 0 && status == SR_OK)
        status = sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    return status;
}

// Creates a new file of a name that nobody uses, in `folder`; its name goes into `name` (size
// bytes).
static int create_temporary(const char *folder, char *name, size_t size) {
    static unsigned counter; // only makes names differ within the process
    for (int attempt = 0; attempt < 1000; attempt++) {
        unsigned k = __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
        if ((size_t)snprintf(name, size, "%s/.shortrun-%ld-%u.tmp", folder, (long)getpid(), k) >=
            size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

// Makes a rename in `folder` durable. File systems that cannot sync a folder say EINVAL: not an
// error.
static sr_status sync_folder(const char *folder, const char *path) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return SR_OK; // a folder may be writable without being readable
    int failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    return failed ? sr_fail(SR_ERROR_IO, "%s: cannot sync the folder: %s", path, strerror(reason))
                  : SR_OK;
}

static sr_status replace_file(const char *path, mode_t mode, const sr_file_part *parts, size_t n) {
    char folder[PATH_MAX], temporary[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder)
        return sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(ENAMETOOLONG));
    if (!slash) {
        strcpy(folder, ".");
    } else {
        memcpy(folder, path, length);
        folder[length] = 0;
        if (length == 0)
            strcpy(folder, "/");
    }
    int fd = create_temporary(folder, temporary, sizeof temporary);
    if (fd < 0)
        return sr_fail(SR_ERROR_IO, "%s: cannot create a file in this folder: %s", path,
                       strerror(errno));
    sr_status status = write_parts(fd, path, parts, n);
    // an existing file keeps its permissions; where the file system has none, that is no failure
    if (status == SR_OK && mode && fchmod(fd, mode) != 0 && errno != EPERM && errno != ENOTSUP)
        status = sr_fail(SR_ERROR_IO, "%s: cannot set permissions: %s", path, strerror(errno));
    if (status == SR_OK && fsync(fd) != 0 && errno != EINVAL)
        status = sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (close(fd) != 0 && status == SR_OK)
        status = sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (status == SR_OK && rename(temporary, path) != 0)
        status =
            sr_fail(SR_ERROR_IO, "%s: cannot rename the finished file: %s", path, strerror(errno));
    if (status != SR_OK) {
        unlink(temporary);
        return status;
    }
    return sync_folder(folder, path);
}

sr_status sr_file_write_parts(const char *path, const sr_file_part *parts, size_t n) {
    if (!path || !*path)
        return sr_fail(SR_ERROR_ARGUMENT, "no file name to write to");
    struct stat info;
    if (stat(path, &info) != 0)
        return replace_file(path, 0, parts, n);
    if (S_ISDIR(info.st_mode))
        return sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(EISDIR));
    if (!S_ISREG(info.st_mode))
        return write_in_place(path, parts, n);
    char *target = realpath(path, NULL); // a symbolic link stays, its target is replaced
    if (!target)
        return sr_fail(SR_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    sr_status status = replace_file(target, info.st_mode & 0777, parts, n);
    free(target);
    return status;
}

sr_status sr_file_write(const char *path, const void *bytes, size_t count) {
    sr_file_part part = {bytes, count};
    return sr_file_write_parts(path, &part, 1);
}

bool sr_file_exists(const char *path) {
    struct stat info;
    return path && stat(path, &info) == 0;
}

sr_status sr_folder_make(const char *path) {
    char prefix[PATH_MAX];
    size_t length = path ? strlen(path) : 0;
    if (length == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "no folder name given");
    if (length >= sizeof prefix)
        return sr_fail(SR_ERROR_IO, "%s: cannot make the folder: %s", path, strerror(ENAMETOOLONG));
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(prefix, path, i);
        prefix[i] = 0;
        if (mkdir(prefix, 0777) == 0)
            continue;
        int reason = errno; // not always EEXIST for a folder that is there (read-only file systems)
        struct stat info;
        if (stat(prefix, &info) != 0)
            return sr_fail(SR_ERROR_IO, "%s: cannot make the folder: %s", prefix, strerror(reason));
        if (!S_ISDIR(info.st_mode))
            return sr_fail(SR_ERROR_IO, "%s: cannot make the folder: a file of that name exists",
                           prefix);
    }
    return SR_OK;
}

// ---- reading ------------------------------------------------------------------------------------

static sr_status too_long(const char *path, const char *what, size_t limit) {
    return sr_fail(SR_ERROR_FORMAT, "%s: %s than the %zu bytes allowed", path, what, limit);
}

// Reads to the end of file. `expected` sizes the first allocation; the file may be shorter or
// longer (a pipe).
static sr_status read_all(int fd, const char *path, size_t expected, size_t limit, char **bytes,
                          size_t *count) {
    size_t capacity = expected + 2, length = 0; // NUL, and one more so that the end is seen
    char *data = sr_alloc_by(0, capacity, 1);
    if (!data)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
    for (;;) {
        if (length + 1 == capacity) {
            size_t larger;
            char *grown =
                sr_size_mul(capacity, 2, &larger) ? sr_realloc(data, capacity, larger, 1) : NULL;
            if (!grown) {
                sr_free(data);
                return sr_fail(SR_ERROR_MEMORY, "%s: too large for the memory", path);
            }
            data = grown;
            capacity = larger;
        }
        size_t room = capacity - 1 - length;
        ssize_t got = read(fd, data + length, room < (1u << 30) ? room : (1u << 30));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            sr_free(data);
            return sr_fail(SR_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
        }
        if (got == 0)
            break;
        length += (size_t)got;
        if (limit && length > limit) {
            sr_free(data);
            return too_long(path, "longer", limit);
        }
    }
    data[length] = 0;
    *bytes = data;
    *count = length;
    return SR_OK;
}

// A device or pipe does not tell its size and may never end (/dev/zero): this is the most that is
// read.
#define STREAM_LIMIT ((size_t)1 << 30)

sr_status sr_file_read(const char *path, size_t limit, void **bytes, size_t *count) {
    *bytes = NULL;
    *count = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sr_fail(SR_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    sr_status status;
    struct stat info;
    char *data = NULL;
    if (fstat(fd, &info) != 0)
        status = sr_fail(SR_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = sr_fail(SR_ERROR_IO, "%s: cannot read: %s", path, strerror(EISDIR));
    else if (S_ISREG(info.st_mode) && limit && (uintmax_t)info.st_size > limit)
        status = sr_fail(SR_ERROR_FORMAT, "%s: %jd bytes, more than the %zu allowed", path,
                         (intmax_t)info.st_size, limit);
    else if (S_ISREG(info.st_mode))
        status = read_all(fd, path, (size_t)info.st_size, limit, &data, count);
    else
        status = read_all(fd, path, 4096, limit && limit < STREAM_LIMIT ? limit : STREAM_LIMIT,
                          &data, count);
    close(fd);
    *bytes = data;
    return status;
}

// ---- gzip ---------------------------------------------------------------------------------------

typedef struct gunzip {
    const char *path;
    const uint8_t *in;
    size_t in_count, in_at;
    uint8_t *out;
    size_t capacity, length, limit;
} gunzip;

// Room for at least one more byte and the NUL behind the end; the limit bounds what is ever
// allocated.
static sr_status gunzip_grow(gunzip *g) {
    if (g->length + 1 < g->capacity)
        return SR_OK;
    size_t most = g->limit + 2; // one byte beyond the limit, so that passing it is seen
    size_t larger = g->capacity < most / 2 ? g->capacity * 2 : most;
    if (larger <= g->capacity)
        return too_long(g->path, "decompresses to more", g->limit);
    uint8_t *grown = sr_realloc(g->out, g->capacity, larger, 1);
    if (!grown)
        return sr_fail_context(SR_ERROR_MEMORY, "%s: ", g->path);
    g->out = grown;
    g->capacity = larger;
    return SR_OK;
}

// One gzip member (RFC 1952), appended to the output.
static sr_status gunzip_member(gunzip *g, z_stream *z) {
    for (;;) {
        sr_status status = gunzip_grow(g);
        if (status != SR_OK)
            return status;
        size_t room = g->capacity - 1 - g->length, left = g->in_count - g->in_at;
        z->next_in = (Bytef *)(uintptr_t)(g->in + g->in_at);
        z->avail_in = left < (1u << 30) ? (uInt)left : (1u << 30);
        z->next_out = g->out + g->length;
        z->avail_out = room < (1u << 30) ? (uInt)room : (1u << 30);
        uInt given = z->avail_in, offered = z->avail_out;
        int code = inflate(z, Z_NO_FLUSH);
        g->in_at += given - z->avail_in;
        g->length += offered - z->avail_out;
        if (g->length > g->limit)
            return too_long(g->path, "decompresses to more", g->limit);
        if (code == Z_STREAM_END)
            return SR_OK;
        if (code == Z_MEM_ERROR)
            return sr_fail(SR_ERROR_MEMORY, "%s: out of memory while decompressing", g->path);
        if (code != Z_OK && code != Z_BUF_ERROR)
            return sr_fail(SR_ERROR_FORMAT, "%s: damaged gzip data: %s", g->path,
                           z->msg ? z->msg : "a preset dictionary is asked for");
        if (g->in_at == g->in_count && z->avail_out > 0)
            return sr_fail(SR_ERROR_FORMAT, "%s: gzip data ends too early, after %zu bytes",
                           g->path, g->in_count);
    }
}

static sr_status gunzip_all(gunzip *g) {
    z_stream z = {0};
    if (inflateInit2(&z, 15 + 16) != Z_OK) // 15: largest window; 16: gzip header and checksum
        return sr_fail(SR_ERROR_MEMORY, "%s: out of memory while decompressing", g->path);
    sr_status status;
    do { // members may be concatenated; zero bytes may pad the end, as gzip(1) allows
        status = gunzip_member(g, &z);
        size_t next = g->in_at;
        while (next < g->in_count && g->in[next] == 0)
            next++;
        if (next == g->in_count)
            break;
        if (status == SR_OK && inflateReset(&z) != Z_OK)
            status = sr_fail(SR_ERROR_LIBRARY, "%s: zlib cannot go on", g->path);
    } while (status == SR_OK);
    inflateEnd(&z);
    return status;
}

sr_status sr_file_read_gzip(const char *path, size_t limit, void **bytes, size_t *count) {
    void *raw;
    size_t raw_count;
    // data that does not compress grows a little: the limit is meant for what comes out
    size_t raw_limit = limit && limit < SIZE_MAX / 2 ? limit + limit / 1024 + 4096 : 0;
    sr_status status = sr_file_read(path, raw_limit, &raw, &raw_count);
    *bytes = NULL;
    *count = 0;
    if (status != SR_OK)
        return status;
    const uint8_t *magic = raw;
    if (raw_count < 2 || magic[0] != 0x1f || magic[1] != 0x8b) {
        if (limit && raw_count > limit) {
            sr_free(raw);
            return too_long(path, "longer", limit);
        }
        *bytes = raw;
        *count = raw_count;
        return SR_OK;
    }
    gunzip g = {.path = path, .in = raw, .in_count = raw_count};
    g.limit = limit && limit < SIZE_MAX / 4 ? limit : SIZE_MAX / 4;
    g.capacity = raw_count < SIZE_MAX / 8 ? raw_count * 4 : raw_count;
    if (g.capacity > g.limit)
        g.capacity = g.limit + 2;
    g.out = sr_alloc(g.capacity, 1);
    status = g.out ? gunzip_all(&g) : sr_fail_context(SR_ERROR_MEMORY, "%s: ", path);
    sr_free(raw);
    if (status != SR_OK) {
        sr_free(g.out);
        return status;
    }
    g.out[g.length] = 0;
    *bytes = g.out;
    *count = g.length;
    return SR_OK;
}
