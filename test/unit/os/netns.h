/* A network namespace of the test's own. */
#pragma once

#include <stdint.h>

enum {
    NETNS_SKIP = 77, /* exit code that the build system shows as skipped */
};

/* Move the process into a fresh user and network namespace with loopback up. Ends the process with
 * NETNS_SKIP and a message where the system does not permit it. The namespace goes with the
 * process. */
void netns_enter(void);

/* End the process with NETNS_SKIP if there is no TUN driver. */
void netns_need_tun(void);

struct inetaddr;
struct tap;

/* "IP/number" as an address; fails the test when malformed. */
struct inetaddr netns_ip(const char *text);

/* A device for a network; fails the test when it cannot be made. */
struct tap *netns_tap(uint64_t nwid, unsigned queues);
