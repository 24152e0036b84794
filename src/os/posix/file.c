/* Files: bounded reads, atomic writes, directories.
 * Implements: spec 05 sections 2.2, 7.3 (store), 13 items 4 and 6; SV-18. */
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open a regular file for reading; its size goes to ret_size. Returns the descriptor. */
static int open_regular(const char *path, uint64_t *ret_size)
{
    struct stat st;

    /* non-blocking: a FIFO put there must not hang us */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    if (!S_ISREG(st.st_mode)) {
        (void)close(fd);
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    *ret_size = (uint64_t)st.st_size;
    return fd;
}

/* Read until the end or cap bytes. Returns the bytes read. */
static ssize_t read_up_to(int fd, void *buf, size_t cap)
{
    size_t len = 0;

    while (len < cap) {
        ssize_t got = read(fd, (uint8_t *)buf + len, cap - len);
        if (got == 0) {
            break;
        }
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

/* True if nothing follows at the current offset. */
static bool at_end(int fd)
{
    uint8_t extra;
    ssize_t got = read(fd, &extra, 1);
    return got == 0;
}

ssize_t file_read_into(const char *path, void *buf, size_t cap)
{
    uint64_t size = 0;

    int fd = open_regular(path, &size);
    if (fd < 0) {
        return fd;
    }
    ssize_t len = size > cap ? -EFBIG : read_up_to(fd, buf, cap);
    if (len >= 0 && (size_t)len == cap && !at_end(fd)) {
        len = -EFBIG; /* it grew meanwhile, or lies about its size as files in /proc do */
    }
    (void)close(fd);
    return len;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
    uint64_t size = 0;

    int fd = open_regular(path, &size);
    if (fd < 0) {
        return fd;
    }
    if (size > max) {
        (void)close(fd);
        return -EFBIG;
    }
    /* one byte more than the size notices growth; size 0 may be a file of /proc */
    size_t cap = size > 0 ? (size_t)size + 1 : max + 1;
    char *text = malloc(cap + 1);
    if (text == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    ssize_t len = read_up_to(fd, text, cap);
    (void)close(fd);
    if (len >= 0 && (size_t)len == cap) {
        len = -EFBIG;
    }
    if (len < 0) {
        sodium_memzero(text, cap);
        free(text);
        return (int)len;
    }
    text[len] = '\0';
    *ret = text;
    if (ret_len != NULL) {
        *ret_len = (size_t)len;
    }
    return 0;
}

/* True if the file has exactly these bytes. */
static bool has_bytes(const char *path, const void *data, size_t len)
{
    uint8_t chunk[4096];
    uint64_t size = 0;
    size_t done = 0;

    int fd = open_regular(path, &size);
    if (fd < 0) {
        return false;
    }
    bool same = size == len;
    while (same && done < len) {
        size_t want = len - done < sizeof(chunk) ? len - done : sizeof(chunk);
        ssize_t got = read_up_to(fd, chunk, want);
        same = got == (ssize_t)want && memcmp(chunk, (const uint8_t *)data + done, want) == 0;
        done += want;
    }
    sodium_memzero(chunk, sizeof(chunk)); /* may have been a secret */
    (void)close(fd);
    return same;
}

static int write_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len > 0) {
        ssize_t put = write(fd, p, len);
        if (put < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        p += put;
        len -= (size_t)put;
    }
    return 0;
}

/* fsync the directory that holds path. */
static int sync_parent(const char *path)
{
    char dir[PATH_MAX];

    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof(dir)) {
        return -ENAMETOOLONG;
    }
    if (slash == NULL) {
        memcpy(dir, ".", 2);
    } else if (len == 0) {
        memcpy(dir, "/", 2);
    } else {
        memcpy(dir, path, len);
        dir[len] = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = fsync(fd) == 0 ? 0 : -errno;
    (void)close(fd);
    return error == -EINVAL ? 0 : error; /* file systems that cannot sync a directory */
}

/* Write, set mode, sync (if durable) and close a fresh file. */
static int fill_file(int fd, const void *data, size_t len, mode_t mode, bool durable)
{
    int error = write_all(fd, data, len);
    if (error == 0 && fchmod(fd, mode) != 0) {
        error = -errno; /* the umask may have taken bits away */
    }
    if (error == 0 && durable && fsync(fd) != 0) {
        error = -errno;
    }
    if (close(fd) != 0 && error == 0) {
        error = -errno;
    }
    return error;
}

static int replace_file(const char *path, const void *data, size_t len, mode_t mode, bool durable)
{
    char temp[PATH_MAX];

    if (has_bytes(path, data, len)) {
        return file_set_mode(path, mode);
    }
    /* the daemon alone writes here and one file at a time (home lock), so that one name is enough
     * and a leftover of a crash is replaced by the next write */
    int n = snprintf(temp, sizeof(temp), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(temp)) {
        return -ENAMETOOLONG;
    }
    if (unlink(temp) != 0 && errno != ENOENT) {
        return -errno;
    }
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return -errno;
    }
    int error = fill_file(fd, data, len, mode, durable);
    if (error == 0 && rename(temp, path) != 0) {
        error = -errno;
    }
    if (error != 0) {
        (void)unlink(temp);
        return error;
    }
    return durable ? sync_parent(path) : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
    return replace_file(path, data, len, mode, true);
}

int file_write_cache(const char *path, const void *data, size_t len, mode_t mode)
{
    return replace_file(path, data, len, mode, false);
}

int file_erase(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return -errno;
    }
    return 0;
}

/* mkdir of one level; an existing directory is fine. */
static int make_dir(const char *path, mode_t mode)
{
    struct stat st;

    if (mkdir(path, mode) == 0) {
        return 0;
    }
    int error = errno;
    if (stat(path, &st) == 0) {
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    }
    return -error;
}

int file_make_dirs(const char *path, mode_t mode)
{
    char part[PATH_MAX];

    size_t len = strlen(path);
    if (len == 0) {
        return -ENOENT;
    }
    if (len >= sizeof(part)) {
        return -ENAMETOOLONG;
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/') {
            continue;
        }
        part[i] = '\0';
        int error = make_dir(part, mode);
        if (error != 0) {
            return error;
        }
        part[i] = '/';
    }
    return make_dir(part, mode);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Append a copy of name, growing the array. */
static int names_add(struct file_names *names, size_t *cap, const char *name)
{
    if (names->count == FILE_NAMES_MAX) {
        return -EOVERFLOW;
    }
    if (names->count == *cap) {
        size_t grown = *cap == 0 ? 16 : *cap * 2;
        char **bigger = realloc(names->names, grown * sizeof(*bigger));
        if (bigger == NULL) {
            return -ENOMEM;
        }
        names->names = bigger;
        *cap = grown;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return -ENOMEM;
    }
    names->names[names->count++] = copy;
    return 0;
}

int file_each(const char *path, bool (*visit)(void *ctx, const char *name), void *ctx)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    int error = 0;
    for (bool more = true; more;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            error = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            more = visit(ctx, entry->d_name);
        }
    }
    (void)closedir(dir);
    return error;
}

/* A list being made. */
struct listing {
    struct file_names names;
    size_t cap;
    int error;
};

static bool list_one(void *ctx, const char *name)
{
    struct listing *l = ctx;
    l->error = names_add(&l->names, &l->cap, name);
    return l->error == 0;
}

int file_list(const char *path, struct file_names *ret)
{
    struct listing l = {.error = 0};
    int error = file_each(path, list_one, &l);
    if (error == 0) {
        error = l.error;
    }
    if (error != 0) {
        file_names_done(&l.names);
        return error;
    }
    if (l.names.count > 1) {
        qsort(l.names.names, l.names.count, sizeof(*l.names.names), compare_names);
    }
    *ret = l.names;
    return 0;
}

void file_names_done(struct file_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names->names);
    *names = (struct file_names){0};
}

int file_stat(const char *path, struct file_stamp *ret)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        return -errno;
    }
    *ret = (struct file_stamp){
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .size = (uint64_t)st.st_size,
        .inode = (uint64_t)st.st_ino,
    };
    return 0;
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->mtime_ns == b->mtime_ns && a->size == b->size && a->inode == b->inode;
}

int file_set_mode(const char *path, mode_t mode)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        return -errno;
    }
    if ((st.st_mode & 07777) == mode) {
        return 0; /* keeps the change time, and works on files of another owner */
    }
    return chmod(path, mode) == 0 ? 0 : -errno;
}
