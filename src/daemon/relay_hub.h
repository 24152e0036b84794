/* The TCP relay of a root: a thread that accepts connections and is each client's UDP socket.
 * Plain records and TLS come to the same port and are told apart by their first byte. A stranger's
 * connection, however it behaves, costs a bounded share and does not touch the engine.
 * Source: spec 02 section 12. */
#pragma once

#include "base/attr.h"
#include "daemon/relay_gate.h"

#include <stddef.h>
#include <stdint.h>

enum {
    HUB_LISTENERS_MAX = 8,
    HUB_CLIENTS_MAX = 256,
    HUB_CLIENTS_NET = 16, /* of one address; of IPv6 one /64 */
};

struct relay_hub;

/* Counters since the start. */
struct relay_hub_stats {
    uint64_t clients;              /* connected now */
    uint64_t accepted;             /* connections in all */
    uint64_t refused;              /* connections refused or ended for want of room */
    uint64_t ended;                /* connections ended for what the client did or did not do */
    uint64_t datagrams[2];         /* from clients, to clients */
    uint64_t drops[GATE_VERDICTS]; /* not carried, by verdict */
    uint64_t lost;                 /* to clients that took them too slowly */
};

/* Start. listeners: listening descriptors, taken, at most HUB_LISTENERS_MAX; version: told to
 * clients; nothing is carried before relay_hub_rules. Returns 0; negative errno, then the
 * descriptors are closed. */
MUST_CHECK int relay_hub_new(const int *listeners, size_t count, const int version[3],
                             struct relay_hub **ret);

/* New rules; copied. Any thread. Returns 0; -ENOMEM (the old ones stay). */
MUST_CHECK int relay_hub_rules(struct relay_hub *hub, const struct gate_rules *rules);

/* Counters of now. Any thread. */
void relay_hub_stats(const struct relay_hub *hub, struct relay_hub_stats *ret);

/* Close everything and wait for the thread's end. NULL is allowed. */
void relay_hub_free(struct relay_hub *hub);
