/* Cutting sealed packets into datagrams and joining received parts.
 * Source: spec 01 sections 7.2 to 7.4 and 15.5, spec 09 sections 6.2 and 6.4. */
#pragma once

#include "base/attr.h"
#include "base/hmap.h"
#include "base/list.h"
#include "wire/inetaddr.h"
#include "wire/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a packet is cut: `total` datagrams of `size` bytes, the last one maybe shorter. */
struct fragment_plan {
    size_t packet_len;
    size_t size;    /* bytes of a datagram, fragment header included */
    unsigned total; /* datagrams, 1 to FRAGMENTS_MAX */
};

/* One datagram: head_len bytes of head, then len bytes of data. */
struct fragment_piece {
    uint8_t head[FRAGMENT_AT_DATA]; /* fragment header */
    size_t head_len;                /* 0 for the head datagram, else FRAGMENT_AT_DATA */
    const uint8_t *data;            /* borrowed from the packet */
    size_t len;
};

/* True if a packet of len bytes must carry the fragmented flag; set it before armor_seal. */
bool fragment_is_needed(size_t len, size_t mtu);

/* Plan the reference's cut (full datagrams, a short last one) or the equal cut (all as equal as
 * can be, for segmentation offload). mtu: largest UDP payload.
 * Returns 0; -EMSGSIZE the packet is above PACKET_MAX or needs more than FRAGMENTS_MAX parts, or
 * mtu is below 64. */
MUST_CHECK int fragment_plan(size_t len, size_t mtu, struct fragment_plan *ret);
MUST_CHECK int fragment_plan_equal(size_t len, size_t mtu, struct fragment_plan *ret);

/* The size of datagrams for a packet over a path that carries mtu: where parts of that size would
 * be too many, larger ones up to the default, which IP may cut, are better than none. */
size_t fragment_mtu(size_t len, size_t mtu);

/* Datagram `index` (below plan->total) of a sealed packet of plan->packet_len bytes (borrowed). */
void fragment_cut(const uint8_t *pkt, const struct fragment_plan *plan, unsigned index,
                  struct fragment_piece *ret);

enum {
    ASSEMBLY_PARTS_MAX = 1024,     /* parts held in all */
    ASSEMBLY_BYTES_MAX = 4 << 20,  /* memory of parts held in all */
    ASSEMBLY_SHARE = 64,           /* parts held for one remote IP */
    ASSEMBLY_SHARE_UPSTREAM = 256, /* the same for an upstream, which relays for many */
    ASSEMBLY_TIMEOUT_MS = 500,     /* age at which an incomplete packet is given up */
    ASSEMBLY_IDLE_MS = 10000,      /* spare memory is kept this long after the last part */
};

/* What became of parts, counted. */
struct assembly_stats {
    uint64_t completed;     /* packets joined */
    uint64_t duplicate;     /* parts already held */
    uint64_t bad_numbers;   /* total not 2..7, number 0 or not below total, no data, too short */
    uint64_t bad_total;     /* total differs from that of an earlier part */
    uint64_t oversize;      /* packets above PACKET_MAX */
    uint64_t timeout;       /* packets given up by age */
    uint64_t evicted;       /* packets given up to make room */
    uint64_t out_of_memory; /* parts */
};

/* Released memory kept for reuse, so that a busy table allocates nothing. */
struct assembly_pool {
    struct list free;
    unsigned count; /* blocks in free */
};

/* Packets being joined. Allocates only while it holds parts and for ASSEMBLY_IDLE_MS after. */
struct assembly {
    struct hmap sets;                                   /* by packet ID */
    struct hmap sources;                                /* by remote IP (IPv6: its first 64 bits) */
    struct list by_age;                                 /* sets, oldest first */
    struct list by_weight[ASSEMBLY_SHARE_UPSTREAM + 1]; /* sources by number of parts held */
    unsigned heaviest;                                  /* no source has more parts than this */
    struct assembly_pool free_parts;
    struct assembly_pool free_sets;
    struct assembly_pool free_sources;
    unsigned parts;  /* held now */
    size_t bytes;    /* of memory in held parts */
    int64_t last_ms; /* time of the last part */
    struct assembly_stats stats;
};

/* Where the head of a joined packet came from. */
struct assembled {
    size_t len;           /* of the packet */
    struct inetaddr from; /* remote address of the head */
    uint32_t socket;      /* as given with the head */
};

/* Empty table; seed is random. */
void assembly_init(struct assembly *a, uint64_t seed);

/* Release everything. */
void assembly_done(struct assembly *a);

/* Take one datagram: a fragment, or a head with the fragmented flag; the caller classified it.
 * from, socket: where it came from; the IP is charged, of IPv6 its first 64 bits. share: parts this
 * IP may hold, at most ASSEMBLY_SHARE_UPSTREAM. out: PACKET_MAX bytes, written only when a packet
 * is complete. Returns 1 with the packet in out and *ret filled; 0 more parts are needed or this
 * one was held already; -EBADMSG a part that cannot be (counted); -ENOMEM. */
MUST_CHECK int assembly_add(struct assembly *a, const uint8_t *data, size_t len,
                            const struct inetaddr *from, uint32_t socket, unsigned share,
                            int64_t now_ms, uint8_t out[PACKET_MAX], struct assembled *ret);

/* Give up what is too old and release spare memory when idle. */
void assembly_expire(struct assembly *a, int64_t now_ms);

/* When assembly_expire has something to do next, INT64_MAX for never. */
int64_t assembly_deadline(const struct assembly *a);
