/* Very many made-up peers of one engine, in one process: public keys are random, so that addresses
 * are not derived and nothing has to be generated; they are put in by the engine's own constructor
 * instead of by a check of their address hash. Every packet is sealed as the peer would. */
#pragma once

#include "base/cursor.h"
#include "vl1/vl1_priv.h"

enum { CROWD_SOCKET = 1, CROWD_START_MS = 5000000 };

enum { CROWD_QUESTION_MAX = 80 };

/* A short datagram of the engine: may ask something. */
struct crowd_question {
    size_t i; /* of whom */
    size_t len;
    uint8_t data[CROWD_QUESTION_MAX];
};

struct crowd {
    struct vl1 *vl1;
    struct identity self;
    int64_t now_ms;
    uint64_t hello_id; /* of the last HELLO the engine sent */
    uint64_t sent;     /* datagrams of the engine */
    uint64_t sent_bytes;
    uint64_t stored; /* peers it wrote to its cache */
    uint64_t next_id;
    bool answers; /* keep what may be questions for crowd_answer */
    struct crowd_question *questions;
    size_t question_count;
    size_t question_cap;
};

/* End the program with a message unless ok. */
void require(bool ok, const char *what);

/* Processor time of this process, us. */
double cpu_us(void);

/* Memory in RAM, MiB. */
double resident_mib(void);

/* Make the engine, of a node with a random identity, without starting it. */
void crowd_new(struct crowd *b);

/* Start the engine and its socket; publish: also what workers need. */
void crowd_start(struct crowd *b, bool publish);

/* The i-th peer: its address, place, identity. */
uint64_t crowd_address(size_t i);
struct inetaddr crowd_place(size_t i);
struct identity crowd_identity(size_t i);

/* Make a peer known, with a proved path. */
void crowd_meet(struct crowd *b, size_t i);

/* Begin a packet of a peer in pkt (PACKET_MAX bytes), seal its len bytes with the peer's keys. */
void crowd_packet(struct crowd *b, size_t i, enum verb verb, uint8_t *pkt);
void crowd_seal(struct crowd *b, size_t i, uint8_t *pkt, size_t len);

/* A whole HELLO of a peer with keys of its own. Returns its length. */
size_t crowd_hello(struct crowd *b, size_t i, const struct armor_keys *keys, uint8_t *pkt);

/* The engine gets a datagram of a peer. */
void crowd_receive(struct crowd *b, size_t i, uint8_t *pkt, size_t len);

/* Peers answer the ECHOs they got. Returns the processor time the engine took for the answers, us.
 */
double crowd_answer(struct crowd *b);

/* There is no worker in a turn: what was withdrawn goes. */
void crowd_reclaim(struct crowd *b);
