/* The crowd of bench/crowd.h: host of the engine, peers, packets. */
#include "crowd.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void require(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "bench: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

double cpu_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double resident_mib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long total = 0;
    unsigned long resident = 0;

    require(f != NULL && fscanf(f, "%lu %lu", &total, &resident) == 2, "no /proc/self/statm");
    (void)fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

/* ---- the host ---- */

static void keep_question(struct crowd *b, const struct inetaddr *to, const void *data, size_t len)
{
    if (b->question_count == b->question_cap) {
        b->question_cap = b->question_cap == 0 ? 64 : b->question_cap * 2;
        b->questions = realloc(b->questions, b->question_cap * sizeof(*b->questions));
        require(b->questions != NULL, "out of memory");
    }
    struct crowd_question *q = &b->questions[b->question_count++];
    q->i = (size_t)to->ip[1] << 16 | (size_t)to->ip[2] << 8 | to->ip[3];
    q->len = len;
    memcpy(q->data, data, len);
}

static void on_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                    size_t len, unsigned ttl)
{
    struct crowd *b = ctx;

    (void)socket;
    (void)ttl;
    b->sent++;
    b->sent_bytes += len;
    if (b->answers && len <= CROWD_QUESTION_MAX) {
        keep_question(b, to, data, len);
    }
    if (len > PACKET_MIN && packet_suite(data) == SUITE_POLY1305 &&
        packet_verb(data) == VERB_HELLO) {
        b->hello_id = packet_id(data);
    }
}

static void on_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct crowd *b = ctx;

    (void)id;
    (void)data;
    (void)len;
    b->stored += kind == STATE_PEER;
}

static ssize_t on_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    (void)ctx;
    (void)kind;
    (void)id;
    (void)buf;
    (void)cap;
    return -1;
}

static void on_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    (void)ctx;
    (void)kind;
    (void)id;
}

static void on_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

static void on_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    (void)ctx;
    (void)kind;
    (void)id;
    (void)data;
    (void)len;
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

static int on_job(void *ctx, struct engine_job *job)
{
    (void)ctx;
    (void)job;
    return -1;
}

/* ---- the peers ---- */

uint64_t crowd_address(size_t i)
{
    return UINT64_C(0x1000000000) + i * 1009;
}

struct inetaddr crowd_place(size_t i)
{
    return (struct inetaddr){
        .family = INETADDR_V4,
        .ip = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i},
        .port = 9993,
    };
}

struct identity crowd_identity(size_t i)
{
    struct identity id = {.address = crowd_address(i)};
    uint8_t seed[randombytes_SEEDBYTES] = {0};

    memcpy(seed, &i, sizeof(i));
    randombytes_buf_deterministic(id.pub, sizeof(id.pub), seed);
    return id;
}

void crowd_receive(struct crowd *b, size_t i, uint8_t *pkt, size_t len)
{
    struct inetaddr from = crowd_place(i);

    vl1_receive(b->vl1, CROWD_SOCKET, &from, pkt, len, b->now_ms);
}

/* A HELLO of a peer; keys: its own. */
size_t crowd_hello(struct crowd *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    struct hello h = {
        .version = {.protocol = 12, .major = 1, .minor = 14, .revision = 1},
        .timestamp = (uint64_t)b->now_ms,
        .identity = crowd_identity(i),
        .has_address = true,
        .address = crowd_place(0),
        .has_tail = true,
    };
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, MTU_PHYSICAL_DEFAULT - PACKET_AT_PAYLOAD);
    size_t tail;
    size_t len;

    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, crowd_address(i), VERB_HELLO);
    tail = hello_encode(&w, &h, NULL, 0);
    len = PACKET_AT_PAYLOAD + wr_len(&w);
    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail, keys);
    armor_seal(pkt, len, SUITE_POLY1305, keys);
    return len;
}

/* The answer to the HELLO that the engine sent last. */
static size_t make_ok(struct crowd *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, 256);

    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, crowd_address(i), VERB_OK);
    ok_head_write(&w, &(struct reply_head){.verb = VERB_HELLO, .id = b->hello_id});
    ok_hello_encode(&w, &(struct ok_hello){.timestamp = 1,
                                           .version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .address = crowd_place(0),
                                           .has_worlds = true});
    armor_seal(pkt, PACKET_AT_PAYLOAD + wr_len(&w), SUITE_AES_GMAC_SIV, keys);
    return PACKET_AT_PAYLOAD + wr_len(&w);
}

/* Make a peer known, with a proved path. */
void crowd_meet(struct crowd *b, size_t i)
{
    struct identity id = crowd_identity(i);
    uint8_t pkt[PACKET_MAX];
    struct armor_keys keys;
    const struct peer *peer;

    vl1_enter(b->vl1);
    peer = peer_new(b->vl1, &id, b->now_ms);
    vl1_leave(b->vl1, b->now_ms);
    require(peer != NULL, "no peer");
    armor_keys_init(&keys, peer->secret);
    crowd_receive(b, i, pkt, crowd_hello(b, i, &keys, pkt));
    crowd_receive(b, i, pkt, make_ok(b, i, &keys, pkt));
    require(peer->path_count == 1, "no path");
    armor_keys_done(&keys);
}

static void make_self(struct identity *self)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    *self = (struct identity){.address = 0x8800000001, .has_private = true};
    randombytes_buf(self->priv, sizeof(self->priv));
    (void)crypto_scalarmult_base(self->pub, self->priv);
    (void)crypto_sign_seed_keypair(self->pub + 32, secret, self->priv + 32);
}

void crowd_packet(struct crowd *b, size_t i, enum verb verb, uint8_t *pkt)
{
    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, crowd_address(i), verb);
}

void crowd_seal(struct crowd *b, size_t i, uint8_t *pkt, size_t len)
{
    struct armor_keys keys;

    armor_keys_init(&keys, peer_in_memory(b->vl1, crowd_address(i))->secret);
    armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &keys);
    armor_keys_done(&keys);
}

static double answer(struct crowd *b, struct crowd_question *q)
{
    const struct peer *peer = peer_in_memory(b->vl1, crowd_address(q->i));
    struct armor_keys keys;
    uint8_t pkt[PACKET_MAX];
    uint64_t id = packet_id(q->data);
    double begin = 0;

    require(peer != NULL, "no peer");
    armor_keys_init(&keys, peer->secret);
    if (armor_open(q->data, q->len, &keys) == 0 && packet_verb(q->data) == VERB_ECHO) {
        struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, 256);
        crowd_packet(b, q->i, VERB_OK, pkt);
        ok_head_write(&w, &(struct reply_head){.verb = VERB_ECHO, .id = id});
        wr_bytes(&w, q->data + PACKET_AT_PAYLOAD, q->len - PACKET_AT_PAYLOAD);
        armor_seal(pkt, PACKET_AT_PAYLOAD + wr_len(&w), SUITE_AES_GMAC_SIV, &keys);
        begin = cpu_us();
        crowd_receive(b, q->i, pkt, PACKET_AT_PAYLOAD + wr_len(&w));
        begin = cpu_us() - begin;
    }
    armor_keys_done(&keys);
    return begin;
}

double crowd_answer(struct crowd *b)
{
    double spent = 0;

    for (size_t n = 0; n < b->question_count; n++) {
        struct crowd_question q = b->questions[n];
        spent += answer(b, &q);
    }
    b->question_count = 0;
    return spent;
}

void crowd_reclaim(struct crowd *b)
{
    if (vl1_published(b->vl1) != NULL) {
        vl1_reclaim(b->vl1, vl1_published(b->vl1)->limbo.number);
    }
}

void crowd_new(struct crowd *b)
{
    const struct engine_env env = {.send = on_send,
                                   .state_load = on_load,
                                   .state_store = on_store,
                                   .state_erase = on_erase,
                                   .random = on_random,
                                   .event = on_event,
                                   .log = on_log,
                                   .job = on_job,
                                   .ctx = b};
    const struct vl1_options options = {.no_default_planet = true};

    require(sodium_init() >= 0, "no libsodium");
    make_self(&b->self);
    b->now_ms = CROWD_START_MS;
    b->vl1 = vl1_new(&env, &b->self, &options, b->now_ms);
    require(b->vl1 != NULL, "out of memory");
}

void crowd_start(struct crowd *b, bool publish)
{
    const struct vl1_socket socket = {.id = CROWD_SOCKET, .local = crowd_place(0)};

    vl1_enter(b->vl1);
    require(vl1_start(b->vl1, b->now_ms) == 0, "no start");
    require(vl1_set_sockets(b->vl1, &socket, 1, b->now_ms) == 0, "out of memory");
    require(!publish || vl1_publish(b->vl1, 1) == 0, "out of memory");
    vl1_leave(b->vl1, b->now_ms);
}
