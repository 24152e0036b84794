/* A host of one worker for tests: hand-made objects in the place of an engine, remote peers with
 * real keys, and lists of all that the data path gives, sends and writes. */
#pragma once

#include "base/attr.h"
#include "datapath/dp.h"
#include "datapath/fragment.h"
#include "vectors.h"
#include "wire/frame.h"

#define HOST_NWID UINT64_C(0x8056c2e21c000001)

enum {
    HOST_SELF = 0x11aabbccdd,
    HOST_LIST = 8192,
    HOST_SOCKET = 3,
    HOST_NOW = 100000,
};

/* A block of bytes that was copied. */
struct block {
    uint8_t *data;
    size_t len;
};

/* What came out of the data path. */
struct host_gift {
    enum dp_gift_kind kind;
    uint32_t socket;
    struct inetaddr from;
    uint64_t nwid;
    bool is_known;
    struct block block;
};

struct host_datagram {
    struct dp_path to;
    struct block block;
};

struct host_frame {
    uint64_t nwid;
    struct block block; /* Ethernet header included */
};

struct host {
    struct published *pub;
    struct dp *dp;
    unsigned kinds; /* what the device takes merged */
    int64_t now_ms;
    struct host_gift gifts[HOST_LIST];
    size_t gift_count;
    bool is_late;   /* the engine handles gifts later: so many of those given */
    uint64_t taken; /* so far */
    uint64_t given;
    struct host_datagram sent[HOST_LIST];
    size_t sent_count;
    size_t run_count;
    struct host_frame frames[HOST_LIST]; /* cut into single ones */
    size_t frame_count;
    size_t write_count;
    size_t wakes;
    size_t visits;
    uint64_t counts[DP_COUNTS]; /* sums */
};

/* Another node. */
struct remote {
    uint64_t address;
    struct inetaddr at;
    uint32_t socket;
    enum cipher_suite suite;
    struct armor_keys keys;
    uint64_t next_id;
    struct replay *replay; /* of the session with it */
};

/* Everything anew; and released. */
void host_init(struct host *h, unsigned workers);
void host_done(struct host *h);

/* Forget what came out. */
void host_clear(struct host *h);

/* Take the counters of the data path into h->counts. Returns one of them. */
uint64_t host_count(struct host *h, enum dp_count what);

/* A remote node number `n`, with keys of its own. */
void remote_init(struct remote *r, unsigned n, enum cipher_suite suite);
void remote_done(struct remote *r);

/* Publish: a session whose path is where the remote is; a network without rules (all is accepted)
 * or with these; a member with all access. */
struct dp_session *host_session(struct host *h, struct remote *r, size_t mtu);
struct dp_port *host_port(struct host *h, uint64_t nwid, const struct rule *rules, size_t count);
struct dp_member *host_member(struct host *h, uint64_t nwid, uint64_t address);

/* ---- packets ---- */

struct packet {
    uint8_t data[PACKET_MAX];
    size_t len;
};

/* A packet of the remote to us with this payload, not sealed. */
void packet_make(struct remote *r, enum verb verb, const void *payload, size_t len,
                 struct packet *ret);

/* FRAME; EXT_FRAME with flags. */
void packet_frame(struct remote *r, uint64_t nwid, uint16_t ethertype, const void *payload,
                  size_t len, struct packet *ret);
void packet_ext_frame(struct remote *r, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                      uint8_t flags, const void *payload, size_t len, struct packet *ret);

/* Seal; is_cut: with the fragmented flag. */
void packet_seal(const struct remote *r, struct packet *p, bool is_cut);

/* Datagrams on their way, in order of arrival. */
struct wire {
    struct block datagrams[1024];
    const struct inetaddr *from[1024];
    size_t count;
};

/* Append a sealed packet in `total` datagrams, cut at random places (rng) or evenly (NULL). */
void wire_add(struct wire *w, const struct remote *r, const struct packet *p, unsigned total,
              struct test_rng *rng);
void wire_free(struct wire *w);

/* Seal and append in one: as the node's own sender would at this size of datagrams. */
void wire_seal(struct wire *w, const struct remote *r, struct packet *p, size_t mtu);

enum wire_form {
    WIRE_SINGLE, /* a message each, exactly as large */
    WIRE_ROOM,   /* a message each, with room behind it */
    WIRE_GRO,    /* equal sizes of one sender together */
};

/* Receive what is on the wire, in batches of `batch` messages, with a flush after each. */
void host_receive(struct host *h, const struct wire *w, enum wire_form form, size_t batch);

/* Send one frame, or a super-frame, from the device. */
void host_send(struct host *h, uint64_t nwid, const struct vnet_header *vnet, const uint8_t *frame,
               size_t len);

/* Join and open all datagrams sent to a remote, in order. Fills up to cap packets, not sealed any
 * more; fails the test if one does not open. Returns how many. */
size_t remote_open_all(const struct remote *r, const struct host *h, struct packet *ret,
                       size_t cap);
