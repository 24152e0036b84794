/* What the data path obtained from the system and what it did, for the API (GET /datapath) and the
 * metrics. Source: spec 09 section 6.10, D-19. */
#pragma once

#include "base/attr.h"
#include "daemon/ports.h"
#include "daemon/sockets.h"
#include "daemon/workers.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct service;

/* A counter of the engine that stands for a reason to drop. */
struct drop_count {
    const char *reason; /* constant text */
    uint64_t count;
};

enum { DROP_REASONS_MAX = 128 };

struct datapath_info {
    struct workers_stats workers;
    const char *aes; /* names of the kernels in use, constant text */
    const char *salsa20;
    const char *poly1305;
    const char *checksum;
    struct socket_info *sockets; /* owned */
    size_t socket_count;
    struct device_info *devices; /* owned */
    size_t device_count;
    struct drop_count drops[DROP_REASONS_MAX]; /* by engine and workers */
    size_t drop_count;
};

/* Read what is now. The names of devices are borrowed until the next input. Returns 0 with *ret
 * filled (datapath_info_done); -ENOMEM. */
MUST_CHECK int datapath_info_read(const struct service *svc, struct datapath_info *ret);
void datapath_info_done(struct datapath_info *info);

/* Frames and relayed packets that workers handled without the engine. Pure. */
uint64_t datapath_handled(const struct workers_stats *stats);

/* The part of all work that the engine had to do, 0 to 1. Pure. */
double datapath_slow_share(const struct workers_stats *stats);

/* The object of the API. Pure. NULL: out of memory. */
json_t *datapath_info_json(const struct datapath_info *info);

/* Names of offloads, as the API and the metrics show them; NULL past the end. */
struct offload_name {
    unsigned bit;
    const char *name;
};
const struct offload_name *datapath_udp_offload(size_t index);
const struct offload_name *datapath_tap_offload(size_t index);
