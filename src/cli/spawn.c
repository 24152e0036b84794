/* Starting the service in the background: a new session with output to a file, and a pipe that
 * tells when the API answers. */
#include "cli/spawn.h"

#include "os/file.h"
#include "os/home.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_LEN = 1100,
    READY_TIMEOUT_MS = 20000, /* making an identity on a slow machine takes seconds */
    STOP_TIMEOUT_MS = 5000,
    STEP_MS = 20,
    LOG_TAIL = 2048,
};

#define LOG_NAME "panlan.log"

bool spawn_is_running(struct cli *cli)
{
    struct answer answer;
    unsigned port = cli->client.port;
    if (client_discover(&cli->client, cli->home) < 0) {
        cli->client.port = port;
        return false;
    }
    if (client_request(&cli->client, "GET", "/status", NULL, &answer) < 0) {
        return false;
    }
    bool running = answer.status == 200; /* 401: another service, at a port of ours of before */
    answer_done(&answer);
    if (!running) {
        cli->client.port = port; /* the file may be of an earlier life */
    }
    return running;
}

/* The last line of the service's output tells why it ended. */
static void show_log(const char *path)
{
    char text[LOG_TAIL + 1];
    char *all = NULL;
    size_t len = 0;
    if (file_read(path, 64 << 20, &all, &len) < 0) {
        return;
    }
    size_t skip = len > LOG_TAIL ? len - LOG_TAIL : 0;
    (void)snprintf(text, sizeof(text), "%s", all + skip);
    free(all);
    len = strlen(text);
    while (len > 0 && text[len - 1] == '\n') {
        text[--len] = '\0';
    }
    char *last = strrchr(text, '\n');
    (void)fprintf(stderr, "%s\n", last == NULL ? text : last + 1);
}

/* In the child: become the service. Does not return. */
static void become_service(const struct cli *cli, const char *log, int ready_fd)
{
    char fd_text[16];
    char port_text[16];
    (void)setsid();
    int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log_fd < 0 || null_fd < 0) {
        _exit(1);
    }
    (void)dup2(null_fd, STDIN_FILENO);
    (void)dup2(log_fd, STDOUT_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
    if (chdir("/") < 0) {
        _exit(1);
    }
    (void)snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
    (void)snprintf(port_text, sizeof(port_text), "%u", cli->client.port);
    const char *args[] = {"panlan",
                          "--home",
                          cli->home,
                          "service",
                          "--ready-fd",
                          fd_text,
                          cli->client.port == 0 ? NULL : "--port",
                          port_text,
                          NULL};
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): execv changes nothing, its type is historical */
    char *const *argv = (char *const *)(uintptr_t)args;
    char program[PATH_LEN]; /* by its own name, for process lists */
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (len > 0) {
        program[len] = '\0';
        (void)execv(program, argv);
    }
    (void)execv("/proc/self/exe", argv);
    _exit(1);
}

/* Wait for the byte that says the API answers. Returns 0; -ECHILD the service ended; -ETIMEDOUT. */
static int wait_ready(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    int n;
    do {
        n = poll(&p, 1, READY_TIMEOUT_MS);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return -ETIMEDOUT;
    }
    return read(fd, &byte, 1) == 1 ? 0 : -ECHILD;
}

int spawn_service(struct cli *cli)
{
    char log[PATH_LEN];
    int pipe_fds[2] = {-1, -1};
    if (spawn_is_running(cli)) {
        return 0;
    }
    int err = file_make_dirs(cli->home, 0700);
    char *home = err == 0 ? realpath(cli->home, NULL) : NULL;
    if (home != NULL && strlen(home) < sizeof(cli->home)) {
        (void)snprintf(cli->home, sizeof(cli->home), "%s", home); /* the service changes to / */
    }
    free(home);
    if (err == 0) {
        err = home_path(cli->home, LOG_NAME, log, sizeof(log));
    }
    if (err == 0 && pipe(pipe_fds) < 0) {
        err = -errno;
    }
    pid_t pid = err < 0 ? -1 : fork();
    if (pid < 0) {
        (void)fprintf(stderr, "panlan: cannot start the service in %s: %s\n", cli->home,
                      strerror(err < 0 ? -err : errno));
        return CLI_FAILED;
    }
    if (pid == 0) {
        (void)close(pipe_fds[0]);
        become_service(cli, log, pipe_fds[1]);
    }
    (void)close(pipe_fds[1]);
    err = wait_ready(pipe_fds[0]);
    (void)close(pipe_fds[0]);
    if (err < 0) {
        (void)fprintf(stderr, "panlan: the service did not start, see %s\n", log);
        show_log(log);
        return CLI_FAILED;
    }
    return cli_connect(cli);
}

/* Process number in the pid file, or 0. */
static pid_t running_pid(const struct cli *cli)
{
    char path[PATH_LEN];
    char text[32];
    if (home_path(cli->home, "zerotier-one.pid", path, sizeof(path)) < 0) {
        return 0;
    }
    ssize_t len = file_read_into(path, text, sizeof(text) - 1);
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    long pid = strtol(text, NULL, 10);
    return pid > 1 ? (pid_t)pid : 0;
}

/* True once a process has ended, also if its parent does not care: a container's first process
 * often is no init, and what it inherits stays a zombie. */
static bool has_ended(pid_t pid)
{
    char path[64];
    char text[512];
    if (kill(pid, 0) < 0) {
        return errno == ESRCH;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT && access("/proc/self", F_OK) == 0;
    }
    ssize_t len = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[len < 0 ? 0 : len] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL &&
           (strncmp(name_end, ") Z", 3) == 0 || strncmp(name_end, ") X", 3) == 0);
}

int spawn_stop(struct cli *cli)
{
    pid_t pid = spawn_is_running(cli) ? running_pid(cli) : 0;
    if (pid == 0) {
        (void)printf("no service runs in %s\n", cli->home);
        return CLI_OK;
    }
    if (kill(pid, SIGTERM) < 0) {
        (void)fprintf(stderr, "panlan: cannot stop process %d: %s\n", (int)pid, strerror(errno));
        return CLI_FAILED;
    }
    for (int waited = 0; waited < STOP_TIMEOUT_MS; waited += STEP_MS) {
        if (has_ended(pid)) {
            (void)printf("stopped\n");
            return CLI_OK;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    (void)fprintf(stderr, "panlan: process %d does not end\n", (int)pid);
    return CLI_FAILED;
}
