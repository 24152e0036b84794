/* JSON objects of the local API, built from what the engine and the daemon know. Pure; names and
 * types are those of the reference. NULL means out of memory.
 * Source: spec 05 sections 3.5 to 3.8; SV-26, SV-27, SV-32, SV-33. */
#pragma once

#include "daemon/config.h"
#include "daemon/ports.h"
#include "node/node.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { API_ADVICE_LEN = 320 };

/* What /status and /health tell. Everything is borrowed. */
struct api_status {
    const struct node_status *node;
    const struct identity *identity;
    const struct config *config;
    const char *home;
    int64_t wall_ms;
    bool tcp_relay; /* the TCP relay connection is up */
    uint16_t primary_port;
    uint16_t secondary_port;
    uint16_t tertiary_port;
    const struct inetaddr *listening; /* bound addresses */
    size_t listening_count;
    const struct inetaddr *surface; /* external addresses */
    size_t surface_count;
};

/* /status and /health: new objects. */
json_t *api_json_status(const struct api_status *in);
json_t *api_json_health(const struct api_status *in);

/* One network; port tells about its device. */
json_t *api_json_network(const struct node_network_info *info, const struct port_info *port);

/* One peer, with more than the reference tells: why and by which root it is relayed to, counters,
 * and of each path how and when it was learned, its MTU and round trip. wall_offset_ms: wall clock
 * minus monotonic clock; tunneled: the TCP relay is in use. */
json_t *api_json_peer(const struct node_peer_info *peer, int64_t wall_offset_ms, bool tunneled);

/* One moon, waiting or installed. */
json_t *api_json_moon(const struct node_moon_info *moon);

/* The same with all that is known of a world, planet or moon. */
json_t *api_json_world(const struct node_moon_info *world, bool planet);

/* Text that may come from strangers: bytes that are not UTF-8 become U+FFFD. */
json_t *api_json_text(const char *text);

/* What a person can do about the status of a network: "" when all is well. why: of a PORT_ERROR. */
void api_network_advice(enum network_status status, uint64_t nwid, const char *why,
                        char out[API_ADVICE_LEN]);

/* Name of a status as the API and the command line print it. */
const char *api_network_status_name(enum network_status status);

/* Version of this program: major, minor, revision. */
void api_version(int ret[3]);
