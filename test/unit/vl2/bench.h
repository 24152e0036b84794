/* A vl2 on a bench: a fake vl1 that records packets instead of sending them, a host that records
 * frames and keeps state objects, the identities of the golden vectors, and a controller's pen.
 * Linked instead of src/vl1. */
#pragma once

#include "vl2/vl2_priv.h"

#include "vectors.h"

#include <jansson.h>

enum {
    BENCH_PACKETS = 4096,
    BENCH_PEERS = 64,
    BENCH_STATES = 16,
    BENCH_IDS = 6, /* A to F of the vectors */
};

#define BENCH_NWID   UINT64_C(0x14d76e47dc000001)
#define BENCH_TIME   UINT64_C(1700000000000)
#define BENCH_WINDOW UINT64_C(1800000)

/* Above 0 while vl2 runs and 0 in the fakes: allocations are made to fail only then. */
extern int bench_in_engine;

struct peer {
    struct identity identity;
    int64_t last_receive_ms;
    int latency_ms;
    bool direct;
    bool unchecked; /* address hash not checked yet */
};

struct sent_packet {
    uint64_t dest;
    enum verb verb;
    bool is_reply;
    unsigned flags;
    int64_t at_ms;
    size_t len;
    uint8_t *payload;
};

struct tap_frame {
    uint64_t nwid;
    uint64_t dest_mac;
    uint64_t source_mac;
    uint16_t ethertype;
    size_t len;
    uint8_t *payload;
};

struct kept_state {
    enum state_kind kind;
    uint64_t id;
    bool used;
    size_t len;
    uint8_t *data;
};

struct vl1 {
    struct engine_env env;
    struct timers timers;
    struct identity identity;
    struct peer peers[BENCH_PEERS];
    size_t peer_count;
    uint64_t upstreams[8];
    size_t upstream_count;
    bool is_root;
    size_t packet_limit;
    struct published *published; /* NULL: nowhere */
    int64_t wall_offset_ms;
    struct sent_packet sent[BENCH_PACKETS];
    size_t sent_count;
    struct tap_frame frames[BENCH_PACKETS];
    size_t frame_count;
    struct kept_state states[BENCH_STATES];
    uint64_t whois[64];
    size_t whois_count;
    uint64_t retried[64];
    size_t retried_count;
    uint64_t kept[16]; /* contacts */
    size_t kept_count;
    unsigned ports[3]; /* calls by enum port_change */
    unsigned events;
    uint64_t random;
};

struct bench {
    struct vl1 vl1;
    struct vl2 *vl2;
    struct identity ids[BENCH_IDS];
    json_t *vectors;
    int64_t now;
    uint64_t next_update;
};

/* How a configuration of the bench's network is to look. */
struct setup {
    bool is_public;
    bool no_com;
    uint64_t flags;
    uint32_t multicast_limit;
    uint64_t timestamp; /* 0 = BENCH_TIME */
    uint64_t revision;
    uint16_t mtu;      /* 0 = default */
    const char *rules; /* hex, NULL = accept everything */
    const char *name;
    uint64_t specialists[40];
    size_t specialist_count;
    struct inetaddr addresses[4];
    size_t address_count;
    uint64_t member; /* 0 = ourselves */
    uint64_t nwid;   /* 0 = BENCH_NWID */
    size_t tags;     /* this many tags with ids from 1 */
};

/* A running vl2 of identity A that knows B, C, D and E; nothing joined. now starts at 1000000. */
struct bench *bench_new(void);
void bench_free(struct bench *b);

/* cmocka setup and teardown with *state = bench. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* A test that gets a bench. */
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)

const struct identity *bench_id(const struct bench *b, char letter);
struct peer *bench_add_peer(struct bench *b, const struct identity *id);

/* Take the peer away again. */
void bench_forget_peer(struct bench *b, uint64_t address);

/* A public identity that is no real one, for crowds. */
struct identity bench_crowd(uint64_t address);

/* Join the bench's network and forget what that sent. */
void bench_join(struct bench *b, uint64_t nwid);

/* The text of a configuration; free it. */
char *bench_config(struct bench *b, const struct setup *s, size_t *ret_len);

/* Join if needed, give the configuration as a push of the controller, forget what that sent. */
struct network *bench_configure(struct bench *b, const struct setup *s);

/* One signed chunk in out; returns its length. */
size_t bench_chunk(struct bench *b, uint64_t nwid, uint64_t update_id, const char *text, size_t len,
                   size_t at, size_t n, uint8_t flags, uint8_t *out, size_t cap);

/* A certificate of membership of the bench's network. */
struct com bench_com(const struct bench *b, char letter, uint64_t timestamp);
struct com bench_com_of(const struct bench *b, const struct identity *id, uint64_t timestamp);

/* Make somebody a member whose certificate we hold and to whom everything was announced and pushed.
 */
void bench_member(struct bench *b, char letter);
void bench_member_id(struct bench *b, const struct identity *id);

/* A packet arrives. */
enum vl1_verdict bench_in(struct bench *b, const struct identity *from, enum verb verb,
                          const void *payload, size_t len);
enum vl1_verdict bench_in_full(struct bench *b, const struct in_packet *in, const void *payload,
                               size_t len);
enum vl1_verdict bench_in_ok(struct bench *b, const struct identity *from, enum verb re,
                             const void *payload, size_t len);
enum vl1_verdict bench_in_error(struct bench *b, const struct identity *from, enum verb re,
                                enum error_code code, const void *payload, size_t len);

/* Credentials arrive from somebody. */
enum vl1_verdict bench_in_credentials(struct bench *b, const struct identity *from,
                                      const struct credentials_set *set);

/* Time goes on to now + ms, timers fire. */
void bench_run(struct bench *b, int64_t ms);

/* Forget recorded packets and frames. */
void bench_clear(struct bench *b);

/* Recorded packets to dest (0 any) of a verb. */
size_t bench_count(const struct bench *b, uint64_t dest, enum verb verb);

/* The i-th of those, or NULL. */
const struct sent_packet *bench_sent(const struct bench *b, uint64_t dest, enum verb verb,
                                     size_t i);
uint64_t bench_counter(const struct bench *b, const char *name);

/* Verb of a name in the vectors. */
enum verb bench_verb(const char *name);

/* Do the bytes equal the hex text? */
bool bench_same_hex(const uint8_t *data, size_t len, const char *hex);
