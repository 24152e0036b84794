/* What a root of many peers costs: memory for each, time for the HELLO and the ECHO of a known one,
 * for finding one, and for all of them doing nothing. The engine is the real one, the peers are
 * made up (crowd.h). What is measured per peer: the record, its path, its timer, its places in hash
 * maps, and what is published of it to one worker. Not: multicast subscriptions, sockets, the cache
 * on disk. Usage: bench-peers [COUNT]. Source: design "root: 1 000 000 known peers in 2 GB". */
#include "crowd.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT_USUAL = 100000,
    SAMPLE = 100000, /* operations timed one by one */
    STEP_MS = 100,   /* of the clock while nothing happens */
    STALE_MS = 130000,
};

/* Bytes in use, those that malloc adds included. */
static double allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return (double)info.uordblks + (double)info.hblkhd;
}

static enum vl1_verdict on_packet(void *ctx, const struct in_packet *packet, int64_t now_ms)
{
    (void)ctx;
    (void)packet;
    (void)now_ms;
    return VL1_DONE;
}

static size_t make_echo(struct crowd *b, size_t i, const struct armor_keys *keys, uint8_t *pkt)
{
    packet_start(pkt, hash_mix(++b->next_id, 1), b->self.address, crowd_address(i), VERB_ECHO);
    memset(pkt + PACKET_AT_PAYLOAD, 1, 8);
    armor_seal(pkt, PACKET_AT_PAYLOAD + 8, SUITE_AES_GMAC_SIV, keys);
    return PACKET_AT_PAYLOAD + 8;
}

/* Let time pass, with timers and nothing else. Returns processor time, us. */
static double idle(struct crowd *b, int64_t ms)
{
    double begin = cpu_us();

    for (int64_t end = b->now_ms + ms; b->now_ms < end; b->now_ms += STEP_MS) {
        vl1_enter(b->vl1);
        timers_run(vl1_timers(b->vl1), b->now_ms);
        vl1_leave(b->vl1, b->now_ms);
        crowd_reclaim(b);
    }
    return cpu_us() - begin;
}

typedef size_t (*make_fn)(struct crowd *b, size_t i, const struct armor_keys *keys, uint8_t *pkt);

/* Average time the engine takes for a packet of a random peer, us. */
static double packets_of(struct crowd *b, size_t count, make_fn make)
{
    double spent = 0;
    uint8_t pkt[PACKET_MAX];

    for (size_t n = 0; n < SAMPLE; n++) {
        size_t i = randombytes_uniform((uint32_t)count);
        struct armor_keys keys;
        size_t len;
        double begin;

        armor_keys_init(&keys, peer_in_memory(b->vl1, crowd_address(i))->secret);
        len = make(b, i, &keys, pkt);
        begin = cpu_us();
        crowd_receive(b, i, pkt, len);
        crowd_reclaim(b);
        spent += cpu_us() - begin;
        armor_keys_done(&keys);
        b->now_ms += n % 100 == 0;
    }
    return spent / SAMPLE;
}

static double lookups(struct crowd *b, size_t count, bool of_worker)
{
    static uint64_t addresses[SAMPLE];
    double begin;
    size_t found = 0;

    for (size_t n = 0; n < SAMPLE; n++) {
        addresses[n] = crowd_address(randombytes_uniform((uint32_t)count));
    }
    begin = cpu_us();
    for (size_t n = 0; n < SAMPLE; n++) {
        found += of_worker ? dp_route_find(vl1_published(b->vl1), addresses[n]) != NULL
                           : peer_in_memory(b->vl1, addresses[n]) != NULL;
    }
    require(found == SAMPLE, "not all are there");
    return (cpu_us() - begin) * 1000 / SAMPLE;
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : COUNT_USUAL;
    struct crowd b = {0};
    double before;
    double held;
    double begin;
    double spent;

    require(count > 0 && count < 16000000, "usage: bench-peers [COUNT]");
    crowd_new(&b);
    vl1_set_upper(b.vl1, &(struct vl1_upper){.packet = on_packet});
    crowd_start(&b, true);
    b.vl1->root = true; /* instead of a signed world that says so */
    vl1_set_max_peers(b.vl1, (uint32_t)count);
    before = resident_mib();
    held = allocated();
    begin = cpu_us();
    for (size_t i = 0; i < count; i++) {
        crowd_meet(&b, i);
        crowd_reclaim(&b);
        b.now_ms += i % 64 == 0; /* 64000 a second */
    }
    (void)printf("peers                                  %zu\n", vl1_peer_count(b.vl1));
    (void)printf("met: key agreed, path proved, us each  %.1f\n",
                 (cpu_us() - begin) / (double)count);
    (void)printf("of these with keys; published          %zu; %zu\n", b.vl1->live_count,
                 vl1_published(b.vl1)->routes.count);
    (void)printf("resident with these keys, MiB          %.0f\n", resident_mib() - before);
    spent = idle(&b, STALE_MS);
    (void)printf("130 s without traffic, CPU ms          %.0f\n", spent / 1000);
    (void)printf("resident, all silent, MiB              %.0f\n", resident_mib() - before);
    (void)printf("allocated, all silent, MiB; bytes each %.0f; %.0f\n",
                 (allocated() - held) / 1048576, (allocated() - held) / (double)count);
    (void)printf("HELLO of a silent known peer, us       %.2f\n",
                 packets_of(&b, count, crowd_hello));
    (void)printf("ECHO of a known peer, us               %.2f\n", packets_of(&b, count, make_echo));
    (void)printf("peer found, ns                         %.0f\n", lookups(&b, count, false));
    (void)printf("route found by a worker, ns            %.0f\n", lookups(&b, count, true));
    (void)printf("written to the cache                   %llu\n", (unsigned long long)b.stored);
    spent = idle(&b, 10000);
    (void)printf("10 s without traffic, CPU ms           %.1f\n", spent / 1000);
    vl1_free(b.vl1, b.now_ms);
    return 0;
}
