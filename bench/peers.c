/* What a root of many peers costs: memory for each, time for the HELLO and the ECHO of a known one,
 * for finding one, and for all of them doing nothing. The engine is the real one and every packet
 * sealed as the peer would, but the peers are made up: public keys are random, so that their
 * addresses are not derived and nothing has to be generated, and they are put in by the engine's
 * own constructor instead of by a check of their address hash. What is measured per peer: the
 * record, its path, its timer, its places in hash maps, and what is published of it to one worker.
 * Not: multicast subscriptions, sockets, the cache on disk.
 * Usage: bench-peers [COUNT]. Source: design "root: 1 000 000 known peers in 2 GB". */
#include "base/cursor.h"
#include "vl1/vl1_priv.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    COUNT_USUAL = 100000,
    SAMPLE = 100000, /* operations timed one by one */
    SOCKET = 1,
    START_MS = 5000000,
    STEP_MS = 100, /* of the clock while nothing happens */
    STALE_MS = 130000,
};

struct bench {
    struct vl1 *vl1;
    struct dp *dp;
    struct identity self;
    size_t count;
    int64_t now_ms;
    uint64_t hello_id; /* of the last HELLO the engine sent */
    uint64_t sent;
    uint64_t stored;
    uint64_t next_id;
};

static void require(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "bench-peers: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static double cpu_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double resident_mib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long total = 0;
    unsigned long resident = 0;

    require(f != NULL && fscanf(f, "%lu %lu", &total, &resident) == 2, "no /proc/self/statm");
    (void)fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

/* Bytes in use, those that malloc adds included. */
static double allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return (double)info.uordblks + (double)info.hblkhd;
}

/* ---- the host ---- */

static void on_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                    size_t len, unsigned ttl)
{
    struct bench *b = ctx;

    (void)socket;
    (void)to;
    (void)ttl;
    b->sent++;
    if (len > PACKET_MIN && packet_suite(data) == SUITE_POLY1305 &&
        packet_verb(data) == VERB_HELLO) {
        b->hello_id = packet_id(data);
    }
}

static void on_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct bench *b = ctx;

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

static enum vl1_verdict on_packet(void *ctx, const struct in_packet *packet, int64_t now_ms)
{
    (void)ctx;
    (void)packet;
    (void)now_ms;
    return VL1_DONE;
}

/* ---- the peers ---- */

static uint64_t address_of(size_t i)
{
    return UINT64_C(0x1000000000) + i * 1009;
}

static struct inetaddr place_of(size_t i)
{
    return (struct inetaddr){
        .family = INETADDR_V4,
        .ip = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i},
        .port = 9993,
    };
}

static struct identity identity_of(size_t i)
{
    struct identity id = {.address = address_of(i)};
    uint8_t seed[randombytes_SEEDBYTES] = {0};

    memcpy(seed, &i, sizeof(i));
    randombytes_buf_deterministic(id.pub, sizeof(id.pub), seed);
    return id;
}

static void receive(struct bench *b, size_t i, uint8_t *pkt, size_t len)
{
    struct inetaddr from = place_of(i);

    vl1_receive(b->vl1, SOCKET, &from, pkt, len, b->now_ms);
}

/* A HELLO of a peer; keys: its own. */
static size_t make_hello(struct bench *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    struct hello h = {
        .version = {.protocol = 12, .major = 1, .minor = 14, .revision = 1},
        .timestamp = (uint64_t)b->now_ms,
        .identity = identity_of(i),
        .has_address = true,
        .address = place_of(0),
        .has_tail = true,
    };
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, MTU_PHYSICAL_DEFAULT - PACKET_AT_PAYLOAD);
    size_t tail;
    size_t len;

    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, address_of(i), VERB_HELLO);
    tail = hello_encode(&w, &h, NULL, 0);
    len = PACKET_AT_PAYLOAD + wr_len(&w);
    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail, keys);
    armor_seal(pkt, len, SUITE_POLY1305, keys);
    return len;
}

static size_t make_echo(struct bench *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, address_of(i), VERB_ECHO);
    memset(pkt + PACKET_AT_PAYLOAD, 1, 8);
    armor_seal(pkt, PACKET_AT_PAYLOAD + 8, SUITE_AES_GMAC_SIV, keys);
    return PACKET_AT_PAYLOAD + 8;
}

/* The answer to the HELLO that the engine sent last. */
static size_t make_ok(struct bench *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, 256);

    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, address_of(i), VERB_OK);
    ok_head_write(&w, &(struct reply_head){.verb = VERB_HELLO, .id = b->hello_id});
    ok_hello_encode(&w, &(struct ok_hello){.timestamp = 1,
                                           .version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .address = place_of(0),
                                           .has_worlds = true});
    armor_seal(pkt, PACKET_AT_PAYLOAD + wr_len(&w), SUITE_AES_GMAC_SIV, keys);
    return PACKET_AT_PAYLOAD + wr_len(&w);
}

/* Make a peer known, with a proved path. */
static void meet(struct bench *b, size_t i)
{
    struct identity id = identity_of(i);
    uint8_t pkt[PACKET_MAX];
    struct armor_keys keys;
    const struct peer *peer;

    vl1_enter(b->vl1);
    peer = peer_new(b->vl1, &id, b->now_ms);
    vl1_leave(b->vl1, b->now_ms);
    require(peer != NULL, "no peer");
    armor_keys_init(&keys, peer->secret);
    receive(b, i, pkt, make_hello(b, i, &keys, pkt));
    receive(b, i, pkt, make_ok(b, i, &keys, pkt));
    require(peer->path_count == 1, "no path");
    armor_keys_done(&keys);
}

/* There is no worker in a turn: what was withdrawn goes. */
static void reclaim(struct bench *b)
{
    vl1_reclaim(b->vl1, vl1_published(b->vl1)->limbo.number);
}

/* Let time pass, with timers and nothing else. Returns processor time, us. */
static double idle(struct bench *b, int64_t ms)
{
    double begin = cpu_us();

    for (int64_t end = b->now_ms + ms; b->now_ms < end; b->now_ms += STEP_MS) {
        vl1_enter(b->vl1);
        timers_run(vl1_timers(b->vl1), b->now_ms);
        vl1_leave(b->vl1, b->now_ms);
        reclaim(b);
    }
    return cpu_us() - begin;
}

typedef size_t (*make_fn)(struct bench *b, size_t i, const struct armor_keys *keys, uint8_t *pkt);

/* Average time the engine takes for a packet of a random peer, us. */
static double packets_of(struct bench *b, make_fn make)
{
    double spent = 0;
    uint8_t pkt[PACKET_MAX];

    for (size_t n = 0; n < SAMPLE; n++) {
        size_t i = randombytes_uniform((uint32_t)b->count);
        struct armor_keys keys;
        size_t len;
        double begin;

        armor_keys_init(&keys, peer_in_memory(b->vl1, address_of(i))->secret);
        len = make(b, i, &keys, pkt);
        begin = cpu_us();
        receive(b, i, pkt, len);
        reclaim(b);
        spent += cpu_us() - begin;
        armor_keys_done(&keys);
        b->now_ms += n % 100 == 0;
    }
    return spent / SAMPLE;
}

static double lookups(struct bench *b, bool of_worker)
{
    static uint64_t addresses[SAMPLE];
    double begin;
    size_t found = 0;

    for (size_t n = 0; n < SAMPLE; n++) {
        addresses[n] = address_of(randombytes_uniform((uint32_t)b->count));
    }
    begin = cpu_us();
    for (size_t n = 0; n < SAMPLE; n++) {
        found += of_worker ? dp_route_find(vl1_published(b->vl1), addresses[n]) != NULL
                           : peer_in_memory(b->vl1, addresses[n]) != NULL;
    }
    require(found == SAMPLE, "not all are there");
    return (cpu_us() - begin) * 1000 / SAMPLE;
}

static void make_self(struct identity *self)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    *self = (struct identity){.address = 0x8800000001, .has_private = true};
    randombytes_buf(self->priv, sizeof(self->priv));
    (void)crypto_scalarmult_base(self->pub, self->priv);
    (void)crypto_sign_seed_keypair(self->pub + 32, secret, self->priv + 32);
}

static void start(struct bench *b)
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
    const struct vl1_socket socket = {.id = SOCKET, .local = place_of(0)};

    make_self(&b->self);
    b->now_ms = START_MS;
    b->vl1 = vl1_new(&env, &b->self, &options, b->now_ms);
    require(b->vl1 != NULL, "out of memory");
    vl1_set_upper(b->vl1, &(struct vl1_upper){.packet = on_packet});
    vl1_enter(b->vl1);
    require(vl1_start(b->vl1, b->now_ms) == 0, "no start");
    b->vl1->root = true; /* instead of a signed world that says so */
    require(vl1_set_sockets(b->vl1, &socket, 1, b->now_ms) == 0 && vl1_publish(b->vl1, 1) == 0,
            "out of memory");
    vl1_leave(b->vl1, b->now_ms);
    vl1_set_max_peers(b->vl1, (uint32_t)b->count);
}

int main(int argc, char **argv)
{
    struct bench b = {.count = argc > 1 ? strtoul(argv[1], NULL, 10) : COUNT_USUAL};
    double before;
    double held;
    double begin;
    double spent;

    require(sodium_init() >= 0 && b.count > 0 && b.count < 16000000, "usage: bench-peers [COUNT]");
    start(&b);
    before = resident_mib();
    held = allocated();
    begin = cpu_us();
    for (size_t i = 0; i < b.count; i++) {
        meet(&b, i);
        reclaim(&b);
        b.now_ms += i % 64 == 0; /* 64000 a second */
    }
    (void)printf("peers                                  %zu\n", vl1_peer_count(b.vl1));
    (void)printf("met: key agreed, path proved, us each  %.1f\n",
                 (cpu_us() - begin) / (double)b.count);
    (void)printf("of these with keys; published          %zu; %zu\n", b.vl1->live_count,
                 vl1_published(b.vl1)->routes.count);
    (void)printf("resident with these keys, MiB          %.0f\n", resident_mib() - before);
    spent = idle(&b, STALE_MS);
    (void)printf("130 s without traffic, CPU ms          %.0f\n", spent / 1000);
    (void)printf("resident, all silent, MiB              %.0f\n", resident_mib() - before);
    (void)printf("allocated, all silent, MiB; bytes each %.0f; %.0f\n",
                 (allocated() - held) / 1048576, (allocated() - held) / (double)b.count);
    (void)printf("HELLO of a silent known peer, us       %.2f\n", packets_of(&b, make_hello));
    (void)printf("ECHO of a known peer, us               %.2f\n", packets_of(&b, make_echo));
    (void)printf("peer found, ns                         %.0f\n", lookups(&b, false));
    (void)printf("route found by a worker, ns            %.0f\n", lookups(&b, true));
    (void)printf("written to the cache                   %llu\n", (unsigned long long)b.stored);
    spent = idle(&b, 10000);
    (void)printf("10 s without traffic, CPU ms           %.1f\n", spent / 1000);
    vl1_free(b.vl1, b.now_ms);
    return 0;
}
