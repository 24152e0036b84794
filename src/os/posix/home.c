/* The home directory. Implements: spec 05 sections 2.1, 2.2, 13 item 6. */
#include "os/home.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

const char *home_default(void)
{
    return "/var/lib/zerotier-one";
}

int home_choose(const char *argument, const char *variable, char ret[HOME_PATH_MAX])
{
    const char *chosen = home_default();

    if (argument != NULL && argument[0] != '\0') {
        chosen = argument;
    } else if (variable != NULL && variable[0] != '\0') {
        chosen = variable;
    }
    size_t len = strlen(chosen);
    while (len > 1 && chosen[len - 1] == '/') {
        len--;
    }
    if (len >= HOME_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(ret, chosen, len);
    ret[len] = '\0';
    return 0;
}

int home_path(const char *home, const char *name, char *ret, size_t cap)
{
    const char *slash = strcmp(home, "/") == 0 ? "" : "/";

    int n = snprintf(ret, cap, "%s%s%s", home, slash, name);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

enum {
    LOCK_TRIES = 25,
    LOCK_PAUSE_US = 20000,
};

int home_lock(const char *home)
{
    char path[HOME_PATH_MAX + 16];

    int error = home_path(home, "panlan.lock", path, sizeof(path));
    if (error != 0) {
        return error;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE_SECRET);
    if (fd < 0) {
        return -errno;
    }
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        error = errno == EWOULDBLOCK ? -EBUSY : -errno;
        if (error != -EBUSY || tries == LOCK_TRIES) {
            (void)close(fd);
            return error;
        }
        (void)usleep(LOCK_PAUSE_US); /* a process just killed may take a moment to go */
    }
    return fd;
}

int home_write_pid(const char *home, const char *name)
{
    char path[HOME_PATH_MAX + 64];
    char text[16];

    int error = home_path(home, name, path, sizeof(path));
    if (error != 0) {
        return error;
    }
    int len = snprintf(text, sizeof(text), "%ld", (long)getpid());
    return file_write_atomic(path, text, (size_t)len, FILE_MODE_PUBLIC);
}
