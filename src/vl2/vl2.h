/* VL2: a port of virtual Ethernet switches on top of authenticated packets. One struct vl2 holds
 * every network a node has joined, the credentials of their members, multicast groups and bridge
 * routes, and the link to a controller on the same node. Packets come in from vl1 and frames from
 * the host; both leave by vl1 and by the host's functions (vl1/env.h). Not thread safe; time is
 * always a parameter (monotonic ms). Source: spec 03. */
#pragma once

#include "base/attr.h"
#include "datapath/published.h"
#include "vl1/vl1.h"
#include "vl2/network_info.h"
#include "wire/credential.h"
#include "wire/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vl2;

/* What requests tell a controller about this program, and how much may be sent. */
struct vl2_options {
    uint16_t version[3];  /* software major, minor, revision */
    bool low_bandwidth;   /* slow down requests, no announcements (spec 03 sections 2.3, 11.2) */
    const char *platform; /* "linux/x86_64", copied; NULL = not told */
};

/* Create; vl1 is kept and must outlive it. Nothing is sent and no timer armed before the first
 * network is joined. Returns NULL out of memory. */
struct vl2 *vl2_new(struct vl1 *vl1, int64_t now_ms);

/* Release everything without leaving networks; ports stay. Accepts NULL. */
void vl2_free(struct vl2 *vl2);

/* Version, platform and mode told to controllers; copied. */
void vl2_set_options(struct vl2 *vl2, const struct vl2_options *options);

/* ---- from vl1 (struct vl1_upper) ---- */

/* A packet of a VL2 verb, an awaited OK to one, or an ERROR with a VL2 meaning. */
enum vl1_verdict vl2_packet(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* True if ip lies in a prefix assigned to us on a joined network. */
bool vl2_is_overlay_ip(const struct vl2 *vl2, const struct inetaddr *ip);

/* The first path to an upstream came up: unanswered requests and all announcements go out now. */
void vl2_online(struct vl2 *vl2, int64_t now_ms);

/* A peer said HELLO and may have restarted: it is told our groups again (at once if it answers for
 * groups), and gets our credentials with the next frame. */
void vl2_greeted(struct vl2 *vl2, uint64_t address, int64_t now_ms);

/* An identity became known: frames that waited for it may go. */
void vl2_identity_known(struct vl2 *vl2, uint64_t address, int64_t now_ms);

/* ---- from the host ---- */

/* A frame from the port of a network (spec 03 section 9). payload excludes the Ethernet header. */
void vl2_frame(struct vl2 *vl2, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
               uint16_t ethertype, const uint8_t *payload, size_t len, int64_t now_ms);

/* Join; token (or NULL) is sent in requests as "token:...". Joining twice replaces the token
 * and, where access was denied, asks with it at once. Returns 0; -ENOMEM; -EINVAL network ID 0 or
 * token too long; -ENOSPC more than 4096 networks. */
MUST_CHECK int vl2_join(struct vl2 *vl2, uint64_t nwid, const char *token, int64_t now_ms);

/* Leave: port destroyed, stored state erased, credentials forgotten. Returns 0; -ENOENT. */
int vl2_leave(struct vl2 *vl2, uint64_t nwid, int64_t now_ms);

/* Networks joined, ascending: writes up to cap IDs, returns how many there are. */
size_t vl2_networks(const struct vl2 *vl2, uint64_t *out, size_t cap);

/* Returns 0; -ENOENT not joined. */
MUST_CHECK int vl2_network_get(const struct vl2 *vl2, uint64_t nwid, struct node_network_info *ret);

/* Result of PORT_CREATE: 0 or a negative errno, shown as PORT_ERROR until a later call says 0. */
void vl2_port_result(struct vl2 *vl2, uint64_t nwid, int error, int64_t now_ms);

/* All IP addresses on the port (at most 64 used): their resolution groups are announced. */
void vl2_port_addresses(struct vl2 *vl2, uint64_t nwid, const struct inetaddr *addrs, size_t count,
                        int64_t now_ms);

/* Multicast subscriptions of the port; replaces the set, at most 1024 used. */
void vl2_port_mss(struct vl2 *vl2, uint64_t nwid, uint32_t mtu);
void vl2_port_groups(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *groups,
                     size_t count, int64_t now_ms);

/* From now on, or no longer, tell the host of every frame of a network (env->captured). Returns 0;
 * -ENOENT not joined. Leaving the network ends it. */
int vl2_capture(struct vl2 *vl2, uint64_t nwid, bool on);

/* ---- for a controller on this node ---- */

/* Make this node a controller (NULL: none). Copied. Networks of this node that had found no
 * controller ask again at the next turn of the timers. */
void vl2_set_controller(struct vl2 *vl2, const struct node_controller *controller);

/* Cut, sign and send a configuration dictionary. request_id 0: a push, else the answer to that
 * request. dest may be this node: then it is applied at once. Returns 0; -EMSGSIZE; -EINVAL the
 * network is not of this node; -EAGAIN some packet could not be sent. */
MUST_CHECK int vl2_config_send(struct vl2 *vl2, uint64_t nwid, uint64_t dest, uint64_t request_id,
                               const char *dict, size_t len, int64_t now_ms);

/* Answer a request with an error; nothing happens for request_id 0 (a push). data may be NULL. */
void vl2_config_error(struct vl2 *vl2, uint64_t nwid, uint64_t dest, uint64_t request_id,
                      enum error_code code, const void *data, size_t len, int64_t now_ms);

/* Send signed revocations (at most 9) in one packet, as soon as dest will look at one: receivers
 * take one packet of credentials a second. Returns 0; -EMSGSIZE; -ENOMEM. */
MUST_CHECK int vl2_revocations_send(struct vl2 *vl2, uint64_t dest,
                                    const struct revocation *revocations, size_t count,
                                    int64_t now_ms);

/* ---- for the data path ---- */

/* Workers changed cells of a port or member, or it is about to be released: take what they say.
 * Other objects are left alone. */
void vl2_harvest_object(struct vl2 *vl2, struct dp_object *object, int64_t now_ms);

/* What workers counted since the last call: frames refused by rules, too big or malformed, and
 * those from ports whose headers contradict. The rest of the counts is not looked at. */
void vl2_harvest_counts(struct vl2 *vl2, const uint64_t counts[DP_COUNTS]);

/* vl1_packet_limit may have changed. */
void vl2_limit_changed(struct vl2 *vl2);

/* ---- looking in ---- */

/* Counters of dropped packets and frames by reason: index from 0; *ret_name is NULL past the end.
 */
uint64_t vl2_counter(const struct vl2 *vl2, size_t index, const char **ret_name);
