/* A network namespace of the test's own. */
#include "netns.h"

#include "os/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void skip_all(const char *why)
{
    (void)fprintf(stderr, "skipped: %s: %s\n", why, strerror(errno));
    exit(NETNS_SKIP);
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        skip_all(path);
    }
    (void)close(fd);
}

void netns_enter(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (uid == 0) {
        if (unshare(CLONE_NEWNET) != 0) {
            skip_all("unshare");
        }
    } else {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
            skip_all("unshare");
        }
        write_text("/proc/self/setgroups", "deny");
        (void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
        write_text("/proc/self/uid_map", map);
        (void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
        write_text("/proc/self/gid_map", map);
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) != 0) {
        skip_all("loopback");
    }
    (void)close(fd);
}

void netns_need_tun(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        skip_all("/dev/net/tun");
    }
    (void)close(fd);
}

struct inetaddr netns_ip(const char *text)
{
    struct inetaddr a = {0};

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

struct tap *netns_tap(uint64_t nwid, unsigned queues)
{
    const struct tap_config config = {
        .nwid = nwid, .mac = 0x02aabbccdd01, .mtu = 2800, .queues = queues};
    struct tap *tap = NULL;
    char error[TAP_ERROR_LEN] = "";

    if (tap_open(&config, &tap, error) != 0) {
        print_error("%s\n", error);
        fail();
    }
    return tap;
}
