/* The virtual Ethernet devices of the joined networks, with their addresses and routes. The engine
 * announces changes while it works; they are carried out when it has finished (ports_settle).
 * Source: spec 05 sections 2.4, 6.1 to 6.4, 6.10. */
#pragma once

#include "base/attr.h"
#include "base/hmap.h"
#include "daemon/addressing.h"
#include "daemon/workers.h"
#include "datapath/merge.h"
#include "node/node.h"
#include "os/tap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;
struct net_change;

struct ports {
    struct service *svc;
    struct hmap by_nwid;     /* struct port */
    bool dirty;              /* a port has something to do */
    bool timers_open;        /* the two timers are initialised */
    struct uv_timer_s *scan; /* look at multicast groups */
    struct uv_timer_s *retry;
    struct merger merger; /* received frames on their way to a device */
    struct port *merging; /* the device they are for */
    uint8_t *arena;       /* copies of their payloads */
    size_t arena_used;
    checksum_fn *checksum;
};

/* Prepare; opens nothing. Returns 0; -ENOMEM. */
MUST_CHECK int ports_init(struct ports *ports, struct service *svc);

/* Remove all devices. The loop must turn once more. */
void ports_done(struct ports *ports);

/* Engine upcalls. */
void ports_change(struct ports *ports, uint64_t nwid, enum port_change change);
void ports_deliver(struct ports *ports, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                   uint16_t ethertype, const void *payload, size_t len);

/* A frame from the device of a network is on its way into the engine: it may tell something about
 * the device. */
void ports_seen(struct ports *ports, uint64_t nwid, const uint8_t *data, size_t frame_len);

/* The device of a network does not work any more (it was removed, or set down): it is made anew. */
void ports_lost(struct ports *ports, uint64_t nwid);

/* Write out frames that wait to be merged: after each batch of received datagrams. */
void ports_flush(struct ports *ports);

/* Give memory that only bulk transfers need back to the system; frames that wait are written. */
void ports_trim(struct ports *ports);

/* Carry out what was announced. */
void ports_settle(struct ports *ports);

/* Compare addresses and routes of all ports with what should be there, at the next settling. */
void ports_resync(struct ports *ports);

/* True if nothing changed but devices of ours. */
bool ports_are_all(const struct ports *ports, const struct net_change *change);

/* The same for those ports whose interface a change of the system names; for all when addresses of
 * other interfaces changed. */
void ports_system_changed(struct ports *ports, const struct net_change *change);

/* True if an interface is a device of ours; with index 0: if there is any. */
bool ports_has_device(const struct ports *ports, unsigned index);

/* Managed addresses now on our devices: writes up to cap, returns how many were written. */
size_t ports_managed(const struct ports *ports, struct inetaddr *out, size_t cap);

/* What the API shows about a port. */
struct port_info {
    const char *device; /* empty without one */
    int error;          /* 0, or -999 when the device could not be made */
    const char *why;    /* then what would help, for people; borrowed like the rest */
    struct managed_policy policy;
    const struct addressing_conflict *conflicts; /* borrowed until the port changes */
    size_t conflict_count;
};

/* Returns 0; -ENOENT. */
MUST_CHECK int ports_info(const struct ports *ports, uint64_t nwid, struct port_info *ret);

/* A device: what it obtained, and what was lost there. */
struct device_info {
    uint64_t nwid;
    const char *name; /* borrowed until the next input */
    uint32_t mtu;
    unsigned queues;
    unsigned offloads; /* obtained, enum tap_offload bits */
    struct workers_device io;
};

/* Devices by network ID: writes up to cap, returns how many were written. */
size_t ports_devices(const struct ports *ports, struct device_info *out, size_t cap);

/* Replace the local settings of a network, store and apply them. Returns 0; -ENOENT; negative errno
 * of the file (applied all the same). */
MUST_CHECK int ports_set_policy(struct ports *ports, uint64_t nwid,
                                const struct managed_policy *policy);
