/* A bench with one worker of the data path before it: packets and frames go to the worker, what it
 * gives goes to vl2. Sessions are the rig's, what is published of networks is vl2's. */
#pragma once

#include "bench.h"

#include "datapath/dp.h"

enum { RIG_GIFTS = 64 };

/* What became of a packet or frame. */
enum way {
    WAY_FAST,  /* the worker took it */
    WAY_GIVEN, /* vl2 did */
};

struct rig_gift {
    enum dp_gift_kind kind;
    size_t len;
    uint8_t *data;
};

struct rig {
    struct bench *b;
    struct published *pub; /* NULL: no worker, all is vl2's */
    struct dp *dp;
    struct armor_keys keys; /* of all sessions */
    struct replay *replay;
    struct rig_gift gifts[RIG_GIFTS]; /* not handled yet */
    size_t gift_count;
    size_t written;                  /* frames to the port, by the worker */
    size_t sent;                     /* packets, by the worker */
    void (*meanwhile)(struct rig *); /* done by control while the worker gives something, once */
    struct setup setup;              /* of rig_members */
    uint64_t next_id;
};

/* with_worker: else the same calls lead to vl2 alone. B, D and E have sessions. */
struct rig *rig_new(bool with_worker);
void rig_free(struct rig *r);

/* cmocka setup and teardown with *state = rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

/* MAC of a member of the bench's network. */
uint64_t rig_mac(const struct rig *r, char letter);

/* Configure the network with r->setup, and make B a member to whom everything was pushed. */
struct network *rig_network(struct rig *r);

/* A sealed packet from a peer, in buf of at least PACKET_MAX bytes. Returns its length. */
size_t rig_seal(struct rig *r, char from, enum verb verb, const void *payload, size_t len,
                uint8_t *buf);

/* FRAME of len bytes of payload from a peer; EXT_FRAME between these MACs. */
enum way rig_frame_in(struct rig *r, char from, uint16_t ethertype, size_t len);
enum way rig_ext_in(struct rig *r, char from, uint64_t dest_mac, uint64_t source_mac, size_t len);

/* A frame from our port, from our MAC or from another. */
enum way rig_frame_out(struct rig *r, uint64_t dest_mac, uint16_t ethertype, size_t len);
enum way rig_frame_out_from(struct rig *r, uint64_t dest_mac, uint64_t source_mac, size_t len);

/* Let vl2 handle what was given. */
void rig_serve(struct rig *r);

/* Take over what the worker noted; release what was withdrawn. */
void rig_harvest(struct rig *r);
void rig_reclaim(struct rig *r);

/* What is published, NULL nothing. */
struct dp_port *rig_port(const struct rig *r);
struct dp_member *rig_member(const struct rig *r, char letter);

/* Its access bits, 0 if it is not published. */
unsigned rig_access(const struct rig *r, char letter);
