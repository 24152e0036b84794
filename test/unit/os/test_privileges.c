/* Giving up root. Checklist: SV-96. Needs root; skipped otherwise. */
#include "os/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>

#include <cmocka.h>

static char home[] = "/tmp/panlan-priv-XXXXXX";

/* In a child: drop, then see what is left. Returns the number of the first thing that is wrong. */
static int drop_and_look(void)
{
    char path[128];
    struct stat st;
    if (privileges_drop("no-such-user-here", home) != -ENOENT || geteuid() != 0) {
        return 1;
    }
    if (privileges_drop("nobody", home) != 0) {
        return 2;
    }
    if (geteuid() == 0 || getegid() == 0 || setuid(0) == 0) {
        return 3;
    }
    (void)snprintf(path, sizeof(path), "%s/sub/file", home);
    if (stat(path, &st) < 0 || st.st_uid != geteuid() || open(path, O_RDWR) < 0) {
        return 4;
    }
    if (open("/etc/shadow", O_RDONLY) >= 0) {
        return 5;
    }
    if (socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0) { /* CAP_NET_RAW is kept */
        return 6;
    }
    return privileges_drop("nobody", home) == -EPERM ? 0 : 7;
}

static void test_only_network_rights_remain(void **state)
{
    char path[128];
    char command[64];
    int status = -1;
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    assert_non_null(mkdtemp(home));
    (void)snprintf(path, sizeof(path), "%s/sub", home);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/sub/file", home);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(drop_and_look());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)snprintf(command, sizeof(command), "rm -rf %s", home);
    assert_int_equal(system(command), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_network_rights_remain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
