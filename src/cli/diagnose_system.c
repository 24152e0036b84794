/* Diagnosis of the machine: virtual devices, rights of the service, clock, name servers, kernel.
 * Source: spec 05 section 12 ("containers"). */
#include "cli/diagnose.h"

#include "os/file.h"
#include "os/tap.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <sys/utsname.h>

enum {
    SMALL_FILE_MAX = 65536,
    CLOCK_SLACK_MS =
        86400000, /* a planet may have been signed by a clock that was a little ahead */
};

/* 2024-01-01, ms: no clock of a machine with this program is right before. */
static const int64_t clock_least_ms = INT64_C(1704067200000);

static void check_tun(struct diagnosis *d)
{
    int err = tap_probe();
    /* A root or controller that is a member of nothing needs no device. */
    bool needed = !d->answers || json_array_size(d->networks) > 0;
    enum result bad = needed ? RESULT_FAIL : RESULT_WARN;
    if (err == 0) {
        find(&d->findings, RESULT_OK, "device", NULL, "/dev/net/tun is there and works");
    } else if (err == -ENOENT || err == -ENXIO || err == -ENODEV) {
        find(&d->findings, bad, "device",
             "modprobe tun; in a container: --device /dev/net/tun --cap-add NET_ADMIN",
             "/dev/net/tun is missing: no virtual device can be made");
    } else if (err == -EACCES || err == -EPERM) {
        find(&d->findings, bad, "device", "run as root, or chmod 0666 /dev/net/tun",
             "/dev/net/tun may not be opened");
    } else {
        find(&d->findings, bad, "device", "in a container: --device /dev/net/tun",
             "/dev/net/tun is no TUN device: %s", strerror(-err));
    }
}

/* The value of a line "Name: value" of a file, or NULL. */
static const char *value_in(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at == NULL ? NULL : at + strlen(name);
}

static void check_rights(struct diagnosis *d)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", d->pid);
    int fd_len = (int)file_read_into(path, text, sizeof(text) - 1);
    if (d->pid <= 0 || fd_len <= 0 || d->health == NULL) {
        return;
    }
    text[fd_len] = '\0';
    const char *effective = value_in(text, "\nCapEff:");
    uint64_t bits = effective == NULL ? 0 : strtoull(effective, NULL, 16);
    if (effective != NULL && (bits >> CAP_NET_ADMIN & 1) == 0) {
        find(&d->findings, RESULT_FAIL, "rights", "start it as root, or give it CAP_NET_ADMIN",
             "the service lacks CAP_NET_ADMIN: it can make no devices and set no addresses");
    }
}

static void check_clock(struct diagnosis *d)
{
    struct timex clock = {.modes = 0};
    int64_t planet_ms = diagnose_number(d->status, "planetWorldTimestamp");
    int state = adjtimex(&clock);
    if (d->wall_ms < clock_least_ms || (planet_ms > 0 && d->wall_ms < planet_ms - CLOCK_SLACK_MS)) {
        find(&d->findings, RESULT_FAIL, "clock",
             "set the clock (timedatectl set-ntp true): certificates are good for a time only",
             "the clock is wrong: it is earlier than this program or its planet");
    } else if (state >= 0 && state != TIME_ERROR) {
        find(&d->findings, RESULT_OK, "clock", NULL, "synchronised, estimated error %ld ms",
             clock.esterror / 1000);
    } else {
        find(&d->findings, RESULT_INFO, "clock",
             "if it is off by minutes, members and controller refuse each other's certificates",
             "plausible, but the kernel does not know it as synchronised");
    }
}

static void check_dns(struct diagnosis *d)
{
    char *text = NULL;
    char *rest = NULL;
    struct words servers = {{0}, 0, 0};
    size_t i;
    json_t *network;
    if (file_read("/etc/resolv.conf", SMALL_FILE_MAX, &text, NULL) == 0) {
        for (char *line = strtok_r(text, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest)) {
            char server[64];
            if (sscanf(line, " nameserver %63s", server) == 1) {
                words_add(&servers, "%s", server);
            }
        }
    }
    free(text);
    find(&d->findings, RESULT_INFO, "dns", NULL, "name servers: %s (this program needs none)",
         servers.len > 0 ? words_end(&servers) : "none");
    json_array_foreach(d->networks, i, network)
    {
        const json_t *dns = json_object_get(network, "dns");
        if (json_array_size(json_object_get(dns, "servers")) > 0 &&
            !diagnose_is_true(network, "allowDNS")) {
            find(&d->findings, RESULT_INFO, "dns", "panlan set NETWORK allowDNS=1 to use them",
                 "%s brings name servers for %s that are not used", diagnose_text(network, "nwid"),
                 diagnose_text(dns, "domain"));
        }
    }
}

static void check_kernel(struct diagnosis *d)
{
    static const char *const offloads[] = {"gso", "gro", "batch"};
    struct utsname name;
    struct words missing = {{0}, 0, 0};
    const json_t *first = json_array_get(json_object_get(d->datapath, "sockets"), 0);
    for (size_t i = 0; i < COUNT_OF(offloads) && first != NULL; i++) {
        if (!diagnose_is_true(first, offloads[i])) {
            words_add(&missing, "%s", offloads[i]);
        }
    }
    if (uname(&name) == 0) {
        find(&d->findings, RESULT_INFO, "kernel", NULL, "%s %s %s%s%s", name.sysname, name.release,
             name.machine, missing.len > 0 ? ", UDP without " : "",
             missing.len > 0 ? words_end(&missing) : "");
    }
}

void diagnose_system(struct diagnosis *d)
{
    check_tun(d);
    check_rights(d);
    check_clock(d);
    check_dns(d);
    check_kernel(d);
}
