/* A PostgreSQL server for tests. */
#include "pg_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/pq.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, START_MS = 30000 };

static char programs[PATH_MAX]; /* directory of initdb and postgres */
static char dir[PATH_MAX];      /* data and socket */
static char path[PATH_MAX + 128];
static pid_t server;

/* The programs of the newest version installed; Debian keeps them out of the PATH. */
static bool find_programs(void)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0) {
        return false;
    }
    snprintf(programs, sizeof(programs), "%s", found.gl_pathv[found.gl_pathc - 1]);
    *strrchr(programs, '/') = '\0';
    globfree(&found);
    return true;
}

/* Start a program as an unprivileged user (the server refuses root) that ends with us. */
static pid_t start(const char *name, const char *const *args)
{
    char program[PATH_MAX + 32];
    snprintf(program, sizeof(program), "%s/%s", programs, name);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        _exit(126);
    }
    int null = open("/dev/null", O_RDWR);
    (void)dup2(null, 0);
    (void)dup2(null, 1);
    if (getenv("FAKE_LOG") == NULL) {
        (void)dup2(null, 2);
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (chdir("/") == 0) {
        execv(program, (char *const *)(uintptr_t)args);
    }
    _exit(127);
}

static void connect_to(struct pq *pq)
{
    char why[200] = "";
    assert_int_equal(pq_init(pq), 0);
    assert_int_equal(pq_lib_load(&pq->lib, why, sizeof(why)), 0);
}

static bool answers(void)
{
    struct pq pq;
    connect_to(&pq);
    bool good = pq_connect(&pq, pg_server_info(), "test", 2000) == 0;
    pq_done(&pq);
    return good;
}

void pg_server_restart(void)
{
    char data[PATH_MAX + 8];
    snprintf(data, sizeof(data), "%s/data", dir);
    const char *const args[] = {"postgres",
                                "-D",
                                data,
                                "-k",
                                dir,
                                "-c",
                                "listen_addresses=",
                                "-c",
                                "max_connections=30",
                                "-c",
                                "fsync=off",
                                "-c",
                                "shared_buffers=16MB",
                                NULL};
    server = start("postgres", args);
    for (int i = 0; !answers(); i++) {
        if (waitpid(server, NULL, WNOHANG) == server) { /* what was killed is not all gone yet */
            server = start("postgres", args);
        }
        assert_true(i < START_MS / 20);
        usleep(20000);
    }
}

bool pg_server_start(void)
{
    const char *tmp = getenv("TMPDIR");
    if (!find_programs()) {
        fprintf(stderr, "no PostgreSQL server is installed here\n");
        return false;
    }
    snprintf(dir, sizeof(dir), "%s/panlan-pg-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "postgres:host=%s user=panlan dbname=postgres", dir);
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, NOBODY, NOBODY), 0);
    }
    char data[PATH_MAX + 8];
    snprintf(data, sizeof(data), "%s/data", dir);
    const char *const args[] = {"initdb", "-D",    data, "-U",         "panlan",
                                "-A",     "trust", "-N", "--locale=C", "--encoding=UTF8",
                                NULL};
    int status;
    pid_t pid = start("initdb", args);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    pg_server_restart();
    return true;
}

const char *pg_server_path(void)
{
    return path;
}

const char *pg_server_info(void)
{
    return path + strlen("postgres:");
}

void pg_server_kill(void)
{
    char name[64];
    char children[1024] = "";
    snprintf(name, sizeof(name), "/proc/%d/task/%d/children", (int)server, (int)server);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    (void)!fgets(children, sizeof(children), file);
    fclose(file);
    assert_int_equal(kill(server, SIGKILL), 0); /* first, so that it does not tidy up */
    char *end = children;
    for (long pid; (pid = strtol(end, &end, 10)) > 0;) {
        (void)kill((pid_t)pid, SIGKILL);
    }
    assert_int_equal(waitpid(server, NULL, 0), server);
    server = 0;
}

static void remove_all(void)
{
    static const char rm[] = "/bin/rm";
    pid_t pid = fork();
    if (pid == 0) {
        execl(rm, rm, "-rf", "--", dir, NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}

void pg_server_stop(void)
{
    if (server != 0) {
        (void)kill(server, SIGQUIT);
        (void)waitpid(server, NULL, 0);
        server = 0;
    }
    if (dir[0] != '\0') {
        remove_all();
        dir[0] = '\0';
    }
}

const char *pg_server_ask(const char *sql)
{
    static char text[512];
    struct pq pq;
    PGresult *result = NULL;
    connect_to(&pq);
    if (pq_connect(&pq, pg_server_info(), "test", 5000) != 0 ||
        pq_exec(&pq, sql, 0, NULL, 5000, &result) != 0) {
        fail_msg("%s: %s", sql, pq.why);
    }
    text[0] = '\0';
    if (pq.lib.ntuples(result) > 0) {
        snprintf(text, sizeof(text), "%s", pq.lib.getvalue(result, 0, 0));
    }
    pq.lib.clear(result);
    pq_done(&pq);
    return text;
}

void pg_server_run(const char *sql)
{
    (void)pg_server_ask(sql);
}
