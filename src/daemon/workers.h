/* The threads of the data path and control's side of them. Each worker owns a queue of every device
 * and a socket of every address, and carries frames both ways by what the engine published
 * (datapath/dp.h); what it cannot decide comes to the control loop in rings and goes into the
 * engine there. Source: data path contract sections 1 and 2, spec 09 section 6. */
#pragma once

#include "base/attr.h"
#include "datapath/limbo.h"
#include "datapath/published.h"
#include "os/tap.h"
#include "os/udp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;
struct workers;

/* What the workers did, summed. */
struct workers_stats {
    unsigned count;    /* of workers */
    unsigned lanes;    /* of each */
    uint64_t rx_bytes; /* UDP payload */
    uint64_t tx_bytes;
    uint64_t lost;              /* datagrams the sockets had no room for */
    uint64_t device_full;       /* frames a device did not take */
    uint64_t device_cut;        /* super-frames a device refused, written in segments */
    uint64_t ring_full[4];      /* gifts lost: opened packets, frames, sealed of peers, others */
    uint64_t counts[DP_COUNTS]; /* packets, frames and drops by reason */
};

/* What they did with one device, since it was opened. */
struct workers_device {
    unsigned kinds;   /* of flows that are merged before they are written: enum merge_kind bits */
    uint64_t refused; /* super-frames it refused, written in segments */
    uint64_t full;    /* frames it did not take */
};

/* Start `count` workers (0: as many as suit this machine) for the node of the service, and have it
 * publish to them. Returns 0; negative errno. */
MUST_CHECK int workers_start(struct service *svc, unsigned count, struct workers **ret);

/* Stop the threads and release everything; sockets and devices were removed before. NULL is
 * allowed. The loop must turn once more. */
void workers_stop(struct workers *workers);

/* How many sockets of each address, queues of each device are wanted; at most TAP_QUEUES_MAX. */
unsigned workers_queues(const struct workers *workers);

/* Serve the sockets of an address, workers_queues() of them (TAP_QUEUES_MAX places, the others
 * NULL) or one alone, until removed. Returns 0; negative errno (some may have been served: they are
 * to be removed, too). */
MUST_CHECK int workers_add_socket(struct workers *workers, uint32_t id,
                                  struct udp_socket *const *udp);

/* Serve the device of a network; as above. */
MUST_CHECK int workers_add_device(struct workers *workers, uint64_t nwid, struct tap *tap);

/* Forget a socket or device. release(closing) is called, to close the descriptors, when no worker
 * uses them any more: before the return, or much later if a worker is stuck. workers may be NULL.
 */
void workers_remove_socket(struct workers *workers, uint32_t id, struct retired *closing,
                           void (*release)(struct retired *r));
void workers_remove_device(struct workers *workers, uint64_t nwid, struct retired *closing,
                           void (*release)(struct retired *r));

/* Before each wait of the loop, when all that it sends and writes has left: tell workers how far it
 * has come with their gifts, release what no worker holds any longer. */
void workers_settle(struct workers *workers);

/* Bring what the engine shows up to date with what the workers saw. */
void workers_harvest(struct workers *workers);

void workers_stats(const struct workers *workers, struct workers_stats *ret);
void workers_device(const struct workers *workers, uint64_t nwid, struct workers_device *ret);
