/* The daemon: one control loop (libuv) that owns the engine, its sockets, virtual devices, files
 * and the local API. Source: doc/architecture.md, spec 05 sections 2 to 6, 9. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct service_options {
    const char *home;      /* directory, chosen by the caller */
    int primary_port;      /* -p: 0 random, -1 not given */
    const char *user;      /* to become when root and it exists, NULL = stay */
    bool require_root;     /* exit when not root (the reference's habit) */
    unsigned udp_offloads; /* enum udp_offload bits to ask for */
    unsigned tap_offloads; /* enum tap_offload bits to ask for; 0: plain frames */
    unsigned workers;      /* threads of the data path, 0: as many as suit this machine */
    int ready_fd;          /* a byte is written there once the API answers; -1 none */
};

/* Run until a signal asks to stop. Returns the exit status of the process. Messages go to stderr.
 */
int service_run(const struct service_options *options);
