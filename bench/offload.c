/* Speed of the data path's building blocks: checksums, splitting and merging of super-frames,
 * sealing in runs and opening, and what they cost together for each frame. Memory is that of one
 * turn of a worker: a super-frame of 64 KiB and its datagrams. Source: spec 09 sections 4, 6
 * and 12. */
#include "measure.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "crypto/packet_id.h"
#include "datapath/fragment.h"
#include "datapath/headers.h"
#include "datapath/merge.h"
#include "datapath/parts.h"
#include "datapath/seal.h"
#include "wire/frame.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER = ETHERNET_LEN + IPV4_LEN + TCP_LEN + 12, /* with time stamps */
    PREFIX = PACKET_AT_PAYLOAD + FRAME_HEADER_LEN,   /* of a FRAME packet before the IP header */
    SUPER_MAX = 65535,
};

/* One flow of TCP, cut and sealed as on a network of this MTU. */
struct bench {
    checksum_fn *checksum;
    size_t mtu;      /* of the network */
    size_t gso_size; /* payload of a segment */
    unsigned count;  /* segments */
    enum cipher_suite suite;
    struct armor_keys keys;
    struct packet_id_source ids;
    struct vnet_header vnet;
    struct offload_split split;
    struct merger merger;
    struct seal_slab slab;
    uint64_t outputs;
    uint8_t header[HEADER]; /* of the super-frame */
    size_t super_len;
    const uint8_t *segments; /* to be merged: count frames of mtu + Ethernet */
    uint8_t *super;          /* in a buffer with headroom */
    uint8_t *frames;
    uint8_t *slab_memory;
    uint8_t *wire; /* a copy of the sealed datagrams, to be opened */
    size_t wire_len;
    size_t datagram; /* bytes of one */
    unsigned parts;  /* datagrams of a packet */
    uint8_t *receive;
};

static void count_output(void *ctx, const struct merge_output *out)
{
    struct bench *b = ctx;

    b->outputs += out->frames;
}

/* A super-frame as TCP makes it. */
static void make_super(struct bench *b)
{
    uint8_t *f = b->super;
    uint8_t *ip = f + ETHERNET_LEN;
    uint8_t *tcp = ip + IPV4_LEN;

    b->gso_size = b->mtu - (HEADER - ETHERNET_LEN);
    b->count = (unsigned)((SUPER_MAX - HEADER) / b->gso_size);
    b->count = b->count < MERGE_SEGMENTS_MAX ? b->count : MERGE_SEGMENTS_MAX;
    b->super_len = HEADER + b->count * b->gso_size;
    randombytes_buf(f, b->super_len);
    be16_put(f + 12, ETHERTYPE_IPV4);
    ip[0] = 0x45;
    be16_put(ip + IPV4_AT_FRAGMENT, IPV4_DF);
    ip[IPV4_AT_PROTOCOL] = IP_TCP;
    tcp[TCP_AT_OFFSET] = 8 << 4;
    tcp[TCP_AT_FLAGS] = TCP_ACK;
    be16_put(tcp + TCP_AT_CHECKSUM,
             checksum_fold(checksum_pseudo(ip, IP_TCP, b->super_len - ETHERNET_LEN - IPV4_LEN)));
    memcpy(b->header, f, HEADER);
    b->vnet = (struct vnet_header){
        .flags = VNET_NEEDS_CSUM,
        .gso_type = VNET_GSO_TCPV4,
        .gso_size = (uint16_t)b->gso_size,
        .csum_start = ETHERNET_LEN + IPV4_LEN,
        .csum_offset = TCP_AT_CHECKSUM,
    };
}

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void split_begin(struct bench *b)
{
    memcpy(b->super, b->header, HEADER); /* sealing wrote over it */
    require(offload_split_begin(&b->split, &b->vnet, b->super, b->super_len, b->checksum) ==
            (int)b->count);
}

static void work_split(void *ctx)
{
    struct bench *b = ctx;
    struct offload_frame frame;

    split_begin(b);
    while (offload_split_next(&b->split, &frame)) {
    }
}

static struct merge_input input_of(const struct bench *b, const uint8_t *payload)
{
    return (struct merge_input){
        .dest_mac = 1,
        .source_mac = 2,
        .payload = payload,
        .len = b->mtu,
        .kinds = MERGE_ALL,
        .ethertype = ETHERTYPE_IPV4,
    };
}

static void work_merge(void *ctx)
{
    struct bench *b = ctx;

    for (unsigned i = 0; i < b->count; i++) {
        struct merge_input in = input_of(b, b->segments + i * b->mtu);

        merger_add(&b->merger, &in);
    }
    merger_flush(&b->merger);
}

/* The same frame again and again: never merged. */
static void work_merge_nothing(void *ctx)
{
    struct bench *b = ctx;
    struct merge_input in = input_of(b, b->segments);

    merger_add(&b->merger, &in);
}

static void seal_one(struct bench *b, uint8_t *payload, size_t len, bool more)
{
    uint8_t *pkt = payload - PREFIX;
    struct seal_packet p = {
        .pkt = pkt,
        .len = PREFIX + len,
        .keys = &b->keys,
        .suite = b->suite,
        .mtu = MTU_PHYSICAL_DEFAULT,
        .target = 1,
        .more = more,
    };

    packet_start(pkt, packet_id_next(&b->ids), 0x1111111111, 0x2222222222, VERB_FRAME);
    be64_put(pkt + PACKET_AT_PAYLOAD, 0x8056c2e21c000001);
    be16_put(pkt + PACKET_AT_PAYLOAD + 8, ETHERTYPE_IPV4);
    require(seal_add(&b->slab, &p) == 0);
}

/* Everything between the TAP and the socket. */
static void work_send(void *ctx)
{
    struct bench *b = ctx;
    struct offload_frame frame;

    seal_slab_clear(&b->slab);
    split_begin(b);
    while (offload_split_next(&b->split, &frame)) {
        seal_one(b, frame.data + ETHERNET_LEN, frame.len - ETHERNET_LEN, true);
    }
}

/* Sealing alone; in place of the packets before, as after a split. */
static void work_seal(void *ctx)
{
    struct bench *b = ctx;

    seal_slab_clear(&b->slab);
    for (unsigned i = 0; i < b->count; i++) {
        seal_one(b, b->super + ETHERNET_LEN + i * b->gso_size, b->mtu, true);
    }
}

/* For comparison: in one piece, then cut with a copy. */
static void work_seal_and_cut(void *ctx)
{
    struct bench *b = ctx;
    struct fragment_plan plan;
    uint8_t *out = b->slab_memory;

    for (unsigned i = 0; i < b->count; i++) {
        uint8_t *pkt = b->super + ETHERNET_LEN + i * b->gso_size - PREFIX;
        size_t len = PREFIX + b->mtu;

        require(fragment_plan_equal(len, MTU_PHYSICAL_DEFAULT, &plan) == 0);
        packet_start(pkt, packet_id_next(&b->ids), 1, 2, VERB_FRAME);
        packet_set_fragmented(pkt, plan.total > 1);
        armor_seal(pkt, len, b->suite, &b->keys);
        for (unsigned k = 0; k < plan.total; k++) {
            struct fragment_piece piece;

            fragment_cut(pkt, &plan, k, &piece);
            memcpy(out, piece.head, piece.head_len);
            memcpy(out + piece.head_len, piece.data, piece.len);
            out += piece.head_len + piece.len;
        }
    }
}

/* Opening destroys the datagrams; the copy is part of the time and printed on its own. */
static void work_copy_wire(void *ctx)
{
    struct bench *b = ctx;

    memcpy(b->receive, b->wire, b->wire_len);
}

static void open_all(struct bench *b, bool merge)
{
    struct part parts[FRAGMENTS_MAX];

    work_copy_wire(b);
    for (unsigned i = 0; i < b->count; i++) {
        for (unsigned k = 0; k < b->parts; k++) {
            parts[k].data = b->receive + (i * b->parts + k) * b->datagram;
            parts[k].len = b->datagram;
        }
        require(parts_gather(parts, b->parts) == b->parts);
        require(parts_open(parts, b->parts, &b->keys, parts[0].data) == 0);
        if (merge) {
            struct merge_input in = input_of(b, parts[0].data + PREFIX);

            merger_add(&b->merger, &in);
        }
    }
    if (merge) {
        merger_flush(&b->merger);
    }
}

static void work_open(void *ctx)
{
    open_all(ctx, false);
}

static void work_receive(void *ctx)
{
    open_all(ctx, true);
}

static uint8_t *allocate(size_t len)
{
    uint8_t *p = aligned_alloc(64, (len + 63) & ~(size_t)63);

    require(p != NULL);
    memset(p, 0, len);
    return p;
}

static void prepare(struct bench *b, size_t mtu)
{
    struct offload_frame frame;
    uint8_t *segments = allocate(1 << 18);
    unsigned n = 0;

    b->mtu = mtu;
    b->super = allocate(OFFLOAD_HEADROOM + OFFLOAD_FRAME_MAX + mtu) + OFFLOAD_HEADROOM;
    b->slab_memory = allocate(SEAL_SLAB_LEN);
    b->wire = allocate(SEAL_SLAB_LEN);
    b->receive = allocate(SEAL_SLAB_LEN);
    make_super(b);
    split_begin(b);
    while (offload_split_next(&b->split, &frame)) {
        memcpy(segments + n++ * mtu, frame.data + ETHERNET_LEN, frame.len - ETHERNET_LEN);
    }
    b->segments = segments;
    merger_init(&b->merger, b->checksum, count_output, b);
    seal_slab_init(&b->slab, b->slab_memory, SEAL_SLAB_LEN);
}

/* Have datagrams that can be opened. */
static void prepare_wire(struct bench *b)
{
    make_super(b);
    b->slab.run_count = 0;
    work_send(b);
    b->datagram = b->slab.runs[0].size;
    b->wire_len = b->slab.used;
    b->parts = (unsigned)(b->wire_len / b->datagram) / b->count;
    require(b->parts * b->count * b->datagram == b->wire_len);
    memcpy(b->wire, b->slab_memory, b->wire_len);
}

static double print(struct bench *b, const char *what, void (*work)(void *), double less)
{
    double ns = measure(work, b) / b->count - less;

    printf("  %-40s %7.0f ns %7.2f Gbit/s\n", what, ns, (double)b->gso_size * 8 / ns);
    return ns;
}

static void bench_network(struct bench *b, size_t mtu)
{
    static const enum cipher_suite suites[] = {SUITE_AES_GMAC_SIV, SUITE_SALSA_POLY1305};

    prepare(b, mtu);
    printf("MTU %zu, %u segments of %zu bytes; for each segment (rate: of payload)\n", mtu,
           b->count, b->gso_size);
    print(b, "split", work_split, 0);
    prepare_wire(b);
    print(b, "merge", work_merge, 0);
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        b->suite = suites[i];
        printf(" suite %d\n", (int)b->suite);
        print(b, "seal into runs", work_seal, 0);
        print(b, "seal in one piece, cut", work_seal_and_cut, 0);
        make_super(b);
        print(b, "split, seal into runs", work_send, 0);
        prepare_wire(b);
        double copy = print(b, "(copy, taken off below)", work_copy_wire, 0);
        print(b, "gather, open", work_open, copy);
        print(b, "gather, open, merge", work_receive, copy);
    }
    free(b->super - OFFLOAD_HEADROOM);
    free(b->slab_memory);
    free(b->wire);
    free(b->receive);
}

struct sum_work {
    checksum_fn *sum;
    size_t len;
    uint32_t result;
    uint8_t data[2800];
};

static void work_sum(void *ctx)
{
    struct sum_work *w = ctx;

    w->result += w->sum(w->data, w->len);
}

static void bench_checksums(void)
{
    static const size_t lens[] = {20, 64, 1448, 2748};
    static struct sum_work w;

    for (size_t i = 0; checksum_kernels[i].name != NULL; i++) {
        if ((checksum_kernels[i].needs & ~cpu_features()) != 0) {
            continue;
        }
        w.sum = checksum_kernels[i].sum;
        printf("checksum %-9s", checksum_kernels[i].name);
        for (size_t k = 0; k < COUNT_OF(lens); k++) {
            w.len = lens[k];
            printf("  %5zu: %5.1f ns", lens[k], measure(work_sum, &w));
        }
        printf("\n");
    }
}

/* Pure ACKs and the like. */
static void bench_small(struct bench *b)
{
    prepare(b, 1280);
    make_super(b);
    b->mtu = 52;
    b->count = 40;
    b->gso_size = 52;
    printf("packets of 90 bytes\n");
    b->suite = SUITE_AES_GMAC_SIV;
    print(b, "seal into runs, suite 3", work_seal, 0);
    b->suite = SUITE_SALSA_POLY1305;
    print(b, "seal into runs, suite 1", work_seal, 0);
    b->count = 1;
    print(b, "merge: a frame that cannot be", work_merge_nothing, 0);
}

int main(void)
{
    static struct bench b;
    uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};

    if (sodium_init() < 0) {
        return EXIT_FAILURE;
    }
    armor_keys_init(&b.keys, secret);
    packet_id_set_key(&b.ids, (const uint32_t[4]){1, 2, 3, 4});
    b.checksum = checksum_pick(cpu_features());
    b.suite = SUITE_AES_GMAC_SIV;
    bench_checksums();
    bench_network(&b, 2800);
    bench_network(&b, 1500);
    bench_small(&b);
    return EXIT_SUCCESS;
}
