/* Speed of the data path without I/O: what a worker spends for a packet between device and socket,
 * in each direction, in all and by stage, and what a root spends to forward one. Batches are those
 * of a turn: up to 64 messages or one super-frame. Stages are the building blocks called alone on
 * the same packets; "rest" is what the whole costs beyond them: lookups, verdicts, counters.
 * Source: spec 09 sections 4 and 12. */
#include "measure.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "datapath/dp.h"
#include "datapath/headers.h"
#include "datapath/parts.h"
#include "datapath/seal.h"
#include "wire/frame.h"
#include "wire/mac.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NWID UINT64_C(0x8056c2e21c000001)

enum {
    SELF = 0x11aabbccdd,
    PEER = 0x2200000001,
    OTHER = 0x3300000001,
    BATCH = 64,
    RULES = 30,
    HEADERS = IPV4_LEN + TCP_LEN,
    PREFIX = PACKET_AT_PAYLOAD + FRAME_HEADER_LEN,
    WIRE_MAX = 256 * 1024,
    KNOWN_MS = 10000, /* after that the duplicate filter takes the same packets again */
};

/* A worker with one peer on one network. */
struct bench {
    struct published *pub;
    struct dp *dp;
    struct armor_keys keys;
    struct replay *filter;
    struct packet_id_source ids;
    enum cipher_suite suite;
    const struct rule *rules;
    size_t rule_count;
    int64_t now_ms;
    size_t len;        /* payload of a frame behind its Ethernet header */
    bool is_super;     /* frames go and come in super-frames */
    unsigned count;    /* frames in a batch */
    uint8_t *wire;     /* sealed datagrams of a batch, one after the other */
    size_t wire_len;   /* of all */
    size_t datagram;   /* bytes of one */
    uint8_t *receive;  /* a copy that is opened */
    uint8_t *device;   /* frames to be sent, with headroom before each */
    size_t stride;     /* from one to the next */
    uint8_t *original; /* of the device's frames: sending uses them up */
    struct vnet_header vnet;
    struct seal_slab slab;
    uint8_t *slab_memory;
    struct dp_message messages[BATCH];
    size_t message_count;
    uint64_t written;
    uint64_t sent; /* runs */
    uint64_t given;
    checksum_fn *checksum;
    struct merger merger;
};

static void require(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "bench-datapath: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static uint8_t *allocate(size_t len)
{
    uint8_t *p = aligned_alloc(64, (len + 63) & ~(size_t)63);

    require(p != NULL, "memory");
    memset(p, 0, len);
    return p;
}

/* ---- the host ---- */

static void on_give(void *ctx, const struct dp_gift *gift)
{
    (void)gift;
    ((struct bench *)ctx)->given++;
}

static void on_send(void *ctx, const struct dp_run *runs, size_t count)
{
    (void)runs;
    ((struct bench *)ctx)->sent += count;
}

static void on_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    (void)nwid;
    ((struct bench *)ctx)->written += out->frames;
}

static unsigned on_kinds(void *ctx, uint64_t nwid)
{
    (void)nwid;
    return ((struct bench *)ctx)->is_super ? MERGE_ALL : 0;
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_visit(void *ctx, struct dp_object *object)
{
    (void)ctx;
    (void)object;
}

/* Thirty entries that all are evaluated for a TCP frame, as a real network might have: services by
 * port, then the rest of IPv4. */
static const struct rule *long_program(void)
{
    static struct rule rules[RULES];

    for (unsigned i = 0; i + 3 < RULES; i += 3) {
        rules[i] = (struct rule){.type = RULE_IP_PROTOCOL, .number = IP_UDP};
        rules[i + 1] =
            (struct rule){.type = RULE_DEST_PORT,
                          .range = {.start = (uint16_t)(100 * i), .end = (uint16_t)(100 * i + 9)}};
        rules[i + 2] = (struct rule){.type = RULE_DROP};
    }
    rules[RULES - 3] = (struct rule){.type = RULE_ETHERTYPE, .number = ETHERTYPE_IPV4};
    rules[RULES - 2] = (struct rule){.type = RULE_ACCEPT};
    rules[RULES - 1] = (struct rule){.type = RULE_DROP};
    return rules;
}

static void publish_all(struct bench *b)
{
    static const struct inetaddr at = {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 9993};
    static const struct inetaddr elsewhere = {
        .family = INETADDR_V4, .ip = {10, 0, 0, 2}, .port = 9993};
    static const struct filter_credentials nothing;
    const struct filter_network net = {
        .network_id = NWID, .self = SELF, .rules = b->rules, .rule_count = (uint16_t)b->rule_count};
    struct dp_session *s = dp_session_new(b->pub, PEER);
    struct dp_port *port = dp_port_new(b->pub, NWID);
    struct dp_route *route = dp_route_new(b->pub, OTHER);
    struct dp_member *m;

    require(s != NULL && port != NULL && route != NULL, "memory");
    s->can_send = true;
    s->suite = b->suite;
    s->mtu = MTU_PHYSICAL_DEFAULT;
    s->paths[0] = s->out = (struct dp_path){.remote = at, .socket = 1};
    s->path_count = 1;
    s->keys = &b->keys;
    s->replay = b->filter;
    dp_session_publish(s);
    port->mac = mac_of_member(NWID, SELF);
    port->mtu = 10000;
    port->filter = filter_network_copy(&net);
    port->traits = filter_classify(net.rules, net.rule_count);
    dp_port_publish(port);
    m = dp_member_new(b->pub, port, PEER);
    require(m != NULL && port->filter != NULL, "memory");
    atomic_store(&m->access, DP_ACCESS_IN | DP_ACCESS_OUT);
    m->creds = filter_credentials_copy(&nothing);
    m->traits = port->traits;
    dp_member_publish(port, m);
    route->to = (struct dp_path){.remote = elsewhere, .socket = 2};
    dp_route_publish(route);
    atomic_store(&b->pub->is_root, true);
    atomic_store(&b->pub->relay_cost_ns, 0); /* the clock stands still: no shares */
    limbo_reclaim(&b->pub->limbo, b->pub->limbo.number);
}

/* ---- traffic ---- */

/* A TCP frame, or a super-frame for all of a batch. */
static size_t make_frame(const struct bench *b, uint8_t *f, uint32_t seq, size_t data)
{
    uint8_t *ip = f + ETHERNET_LEN;
    uint8_t *tcp = ip + IPV4_LEN;

    memset(f, 0, ETHERNET_LEN + HEADERS);
    mac_put(f, mac_of_member(NWID, PEER));
    mac_put(f + MAC_LEN, mac_of_member(NWID, SELF));
    be16_put(f + 12, ETHERTYPE_IPV4);
    ip[0] = 0x45;
    be16_put(ip + IPV4_AT_LENGTH, (uint16_t)(HEADERS + data));
    be16_put(ip + IPV4_AT_FRAGMENT, IPV4_DF);
    ip[IPV4_AT_TTL] = 64;
    ip[IPV4_AT_PROTOCOL] = IP_TCP;
    be16_put(ip + IPV4_AT_CHECKSUM, (uint16_t)~checksum_portable(ip, IPV4_LEN));
    be32_put(tcp + TCP_AT_SEQ, seq);
    tcp[TCP_AT_OFFSET] = TCP_LEN / 4 << 4;
    tcp[TCP_AT_FLAGS] = TCP_ACK;
    randombytes_buf(tcp + TCP_LEN, data);
    if (b->is_super) {
        be16_put(tcp + TCP_AT_CHECKSUM, checksum_fold(checksum_pseudo(ip, IP_TCP, TCP_LEN + data)));
    } else {
        be16_put(tcp + TCP_AT_CHECKSUM,
                 (uint16_t)~checksum_fold(checksum_pseudo(ip, IP_TCP, TCP_LEN + data) +
                                          checksum_portable(tcp, TCP_LEN + data)));
    }
    return ETHERNET_LEN + HEADERS + data;
}

static size_t frame_len(const struct bench *b)
{
    size_t data = b->len - HEADERS;

    return ETHERNET_LEN + HEADERS + (b->is_super ? data * b->count : data);
}

static void make_traffic(struct bench *b)
{
    size_t data = b->len - HEADERS;
    unsigned frames = b->is_super ? 1 : b->count;

    b->stride = (DP_HEADROOM + frame_len(b) + 63) / 64 * 64;
    for (unsigned i = 0; i < frames; i++) {
        (void)make_frame(b, b->original + i * b->stride + DP_HEADROOM, (uint32_t)(i * data),
                         frame_len(b) - ETHERNET_LEN - HEADERS);
    }
    b->vnet = (struct vnet_header){0};
    if (b->is_super) {
        b->vnet = (struct vnet_header){.flags = VNET_NEEDS_CSUM,
                                       .gso_type = VNET_GSO_TCPV4,
                                       .gso_size = (uint16_t)data,
                                       .csum_start = ETHERNET_LEN + IPV4_LEN,
                                       .csum_offset = TCP_AT_CHECKSUM};
    }
}

static void work_copy_device(void *ctx)
{
    struct bench *b = ctx;

    memcpy(b->device, b->original, b->is_super ? b->stride : b->stride * b->count);
}

static void work_send(void *ctx)
{
    struct bench *b = ctx;
    unsigned frames = b->is_super ? 1 : b->count;

    work_copy_device(b);
    for (unsigned i = 0; i < frames; i++) {
        dp_send(b->dp, NWID, &b->vnet, b->device + i * b->stride + DP_HEADROOM, frame_len(b),
                b->now_ms);
    }
    dp_flush(b->dp);
}

static void work_split(void *ctx)
{
    struct bench *b = ctx;
    struct offload_split split;
    struct offload_frame frame;

    work_copy_device(b);
    require(offload_split_begin(&split, &b->vnet, b->device + DP_HEADROOM, frame_len(b),
                                b->checksum) > 0,
            "split");
    while (offload_split_next(&split, &frame)) {
    }
}

static void work_seal(void *ctx)
{
    struct bench *b = ctx;

    work_copy_device(b);
    seal_slab_clear(&b->slab);
    for (unsigned i = 0; i < b->count; i++) {
        struct seal_packet p = {
            .pkt = b->device + DP_HEADROOM + i * (b->is_super ? b->len - HEADERS : b->stride) +
                   ETHERNET_LEN - PREFIX,
            .len = PREFIX + b->len,
            .keys = &b->keys,
            .suite = b->suite,
            .mtu = MTU_PHYSICAL_DEFAULT,
            .more = true,
        };

        packet_start(p.pkt, packet_id_next(&b->ids), PEER, SELF, VERB_FRAME);
        if (seal_add(&b->slab, &p) < 0) {
            seal_slab_clear(&b->slab);
            require(seal_add(&b->slab, &p) == 0, "seal");
        }
    }
}

/* What was sent, turned round: the peer's packets to us, in runs as the kernel merges them. */
static void make_wire(struct bench *b)
{
    size_t per_message;

    b->wire_len = 0;
    for (unsigned i = 0; i < b->count; i++) {
        struct seal_packet p;
        uint8_t *pkt;

        work_copy_device(b);
        pkt = b->device + DP_HEADROOM + (b->is_super ? 0 : i * b->stride) + ETHERNET_LEN - PREFIX;
        (void)make_frame(&(struct bench){.is_super = false}, pkt + PREFIX - ETHERNET_LEN,
                         (uint32_t)(i * (b->len - HEADERS)), b->len - HEADERS);
        packet_start(pkt, packet_id_next(&b->ids), SELF, PEER, VERB_FRAME);
        be64_put(pkt + PACKET_AT_PAYLOAD, NWID);
        be16_put(pkt + PACKET_AT_PAYLOAD + 8, ETHERTYPE_IPV4);
        p = (struct seal_packet){.pkt = pkt,
                                 .len = PREFIX + b->len,
                                 .keys = &b->keys,
                                 .suite = b->suite,
                                 .mtu = MTU_PHYSICAL_DEFAULT};
        seal_slab_clear(&b->slab);
        require(seal_add(&b->slab, &p) == 0, "seal");
        b->datagram = b->slab.runs[0].size;
        memcpy(b->wire + b->wire_len, b->slab_memory, b->slab.runs[0].len);
        b->wire_len += b->slab.runs[0].len;
    }
    per_message = b->is_super ? 65000 / (2 * b->datagram) * 2 : 1;
    per_message = per_message > 64 ? 64 : per_message;
    b->message_count = 0;
    for (size_t at = 0; at < b->wire_len;) {
        size_t n = per_message * b->datagram;

        n = n < b->wire_len - at ? n : b->wire_len - at;
        require(b->message_count < BATCH, "messages");
        b->messages[b->message_count++] = (struct dp_message){
            .data = b->receive + at,
            .len = n,
            .cap = n,
            .segment = b->datagram,
            .from = {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 9993},
        };
        at += n;
    }
}

static void work_copy_wire(void *ctx)
{
    struct bench *b = ctx;

    memcpy(b->receive, b->wire, b->wire_len);
}

static void work_receive(void *ctx)
{
    struct bench *b = ctx;

    work_copy_wire(b);
    b->now_ms += KNOWN_MS + 1; /* the same packets are news again */
    dp_receive(b->dp, 1, b->messages, b->message_count, b->now_ms);
    dp_flush(b->dp);
}

static unsigned parts_of(const struct bench *b)
{
    return (unsigned)((b->wire_len / b->count + b->datagram - 1) / b->datagram);
}

static void emit(void *ctx, const struct merge_output *out)
{
    ((struct bench *)ctx)->written += out->frames;
}

static void open_all(struct bench *b, bool merges)
{
    struct part parts[FRAGMENTS_MAX];
    unsigned total = parts_of(b);

    work_copy_wire(b);
    for (unsigned i = 0; i < b->count; i++) {
        for (unsigned k = 0; k < total; k++) {
            parts[k] = (struct part){.data = b->receive + (i * total + k) * b->datagram,
                                     .len = b->datagram};
        }
        require(parts_gather(parts, total) == total, "gather");
        require(parts_open(parts, total, &b->keys, parts[0].data) == 0, "open");
        if (merges) {
            merger_add(&b->merger, &(struct merge_input){.dest_mac = 1,
                                                         .source_mac = 2,
                                                         .payload = parts[0].data + PREFIX,
                                                         .len = b->len,
                                                         .kinds = b->is_super ? MERGE_ALL : 0,
                                                         .ethertype = ETHERTYPE_IPV4});
        }
    }
    merger_flush(&b->merger);
}

static void work_open(void *ctx)
{
    open_all(ctx, false);
}

static void work_open_merge(void *ctx)
{
    open_all(ctx, true);
}

static void work_replay(void *ctx)
{
    struct bench *b = ctx;
    unsigned total = parts_of(b);

    b->now_ms += KNOWN_MS + 1;
    for (unsigned i = 0; i < b->count; i++) {
        (void)replay_seen(b->filter, b->wire + i * total * b->datagram, b->now_ms);
    }
}

static void work_rules(void *ctx)
{
    struct bench *b = ctx;
    struct dp_port *port = dp_port_find(b->pub, NWID);
    struct dp_member *m = dp_member_find(port, PEER);
    const uint8_t *f = b->original + DP_HEADROOM;
    const struct filter_frame frame = {.source_mac = port->mac,
                                       .dest_mac = mac_get(f),
                                       .payload = f + ETHERNET_LEN,
                                       .len = b->len,
                                       .ethertype = ETHERTYPE_IPV4};
    const struct filter_input input = {
        .network = port->filter, .remote = m->creds, .frame = &frame, .source = PEER, .dest = SELF};
    struct filter_result result;

    for (unsigned i = 0; i < b->count; i++) {
        filter_inbound(&input, &result);
        require(result.verdict == FILTER_ACCEPT, "rules");
    }
}

static void work_relay(void *ctx)
{
    struct bench *b = ctx;

    for (size_t i = 0; i < b->wire_len / b->datagram; i++) {
        uint8_t *d = b->receive + i * b->datagram;

        be40_put(d + PACKET_AT_DEST, OTHER);
        d[d[FRAGMENT_AT_INDICATOR] == FRAGMENT_INDICATOR ? FRAGMENT_AT_HOPS : PACKET_AT_FLAGS] &=
            0xf8;
    }
    dp_receive(b->dp, 1, b->messages, b->message_count, b->now_ms);
}

/* ---- the table ---- */

static double per_frame(struct bench *b, void (*work)(void *))
{
    return measure(work, b) / b->count;
}

static void print_row(struct bench *b)
{
    double copy_out = per_frame(b, work_copy_device);
    double tx = per_frame(b, work_send) - copy_out;
    double split = b->is_super ? per_frame(b, work_split) - copy_out : 0;
    double seal = per_frame(b, work_seal) - copy_out;
    double rules = per_frame(b, work_rules);
    double copy_in;
    double rx;
    double open;
    double replay;
    double merge;

    make_wire(b);
    copy_in = per_frame(b, work_copy_wire);
    b->written = b->given = 0;
    work_receive(b);
    require(b->written == b->count && b->given == 0, "every frame is delivered");
    rx = per_frame(b, work_receive) - copy_in;
    open = per_frame(b, work_open) - copy_in;
    replay = per_frame(b, work_replay);
    merge = per_frame(b, work_open_merge) - copy_in - open;
    printf("%5zu %-6s %5d %5zu | %6.2f %6.0f %6.0f %6.0f %6.0f |", b->len,
           b->is_super ? "super" : "single", (int)b->suite, b->rule_count, 1e3 / tx, tx, split,
           seal, tx - split - seal);
    printf(" %6.2f %6.0f %6.0f %6.0f %6.0f %6.0f | %6.0f\n", 1e3 / rx, rx, open, replay, merge,
           rx - open - replay - merge, rules);
}

static void bench_len(struct bench *b, size_t len)
{
    b->len = len;
    for (unsigned is_super = 0; is_super < 2; is_super++) {
        b->is_super = is_super != 0;
        b->count = BATCH;
        if (len > MTU_PHYSICAL_DEFAULT - PREFIX && !b->is_super) {
            b->count = BATCH / 2; /* two messages each */
        }
        if (b->is_super && b->count * (len - HEADERS) > 65000) {
            b->count = (unsigned)(65000 / (len - HEADERS));
        }
        make_traffic(b);
        print_row(b);
    }
}

static void bench_relay(struct bench *b)
{
    static const size_t lens[] = {64, 512, 1394};

    printf("\nrelay: datagram bytes, ns and Mpps, each a message / in runs\n");
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        double ns[2];

        b->len = lens[i];
        for (unsigned is_super = 0; is_super < 2; is_super++) {
            b->is_super = is_super != 0;
            b->count = b->is_super && b->len > 1000 ? 44 : BATCH;
            make_traffic(b);
            make_wire(b);
            work_copy_wire(b);
            b->sent = b->given = 0;
            work_relay(b);
            b->sent = 0;
            work_relay(b);
            require(b->sent > 0 && b->given <= 1, "all is forwarded");
            ns[is_super] = measure(work_relay, b) / (double)(b->wire_len / b->datagram);
        }
        printf("%5zu  %5.0f ns %6.2f   %5.0f ns %6.2f\n", b->datagram, ns[0], 1e3 / ns[0], ns[1],
               1e3 / ns[1]);
    }
}

int main(void)
{
    static const size_t lens[] = {64, 512, 1400, 2800};
    static const enum cipher_suite suites[] = {SUITE_AES_GMAC_SIV, SUITE_SALSA_POLY1305};
    static const struct rule accept = {.type = RULE_ACCEPT};
    static const uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};
    static struct bench b;
    const struct dp_env env = {.give = on_give,
                               .send = on_send,
                               .write = on_write,
                               .kinds = on_kinds,
                               .wake = on_wake,
                               .ctx = &b};

    require(sodium_init() >= 0, "sodium");
    armor_keys_init(&b.keys, secret);
    packet_id_set_key(&b.ids, (const uint32_t[4]){1, 2, 3, 4});
    b.now_ms = 1000;
    b.filter = replay_new(REPLAY_SETS_LARGE, 7, NULL, b.now_ms);
    b.pub = published_new(SELF, 1, &b.ids, 7, on_visit, NULL);
    require(b.filter != NULL && b.pub != NULL, "memory");
    b.dp = dp_new(b.pub, 0, &env, 7);
    require(b.dp != NULL, "memory");
    b.original = allocate(WIRE_MAX);
    b.device = allocate(WIRE_MAX);
    b.receive = allocate(WIRE_MAX);
    b.wire = allocate(WIRE_MAX);
    b.checksum = checksum_pick(cpu_features());
    merger_init(&b.merger, b.checksum, emit, &b);
    b.slab_memory = allocate(SEAL_SLAB_LEN);
    seal_slab_init(&b.slab, b.slab_memory, SEAL_SLAB_LEN);
    printf(
        "                         |   TX:     ns a frame                |   RX:     ns a frame\n");
    printf("bytes form   suite rules |   Mpps    all  split   seal   rest |   Mpps    all   open"
           " replay  merge   rest | a verdict\n");
    for (size_t r = 0; r < 2; r++) {
        b.rules = r == 0 ? &accept : long_program();
        b.rule_count = r == 0 ? 1 : RULES;
        for (size_t s = 0; s < 2; s++) {
            b.suite = suites[s];
            publish_all(&b);
            for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
                bench_len(&b, lens[i]);
            }
        }
    }
    bench_relay(&b);
    dp_free(b.dp);
    published_free(b.pub);
    return EXIT_SUCCESS;
}
