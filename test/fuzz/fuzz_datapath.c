/* The data path: the input is a list of actions of a hostile world. Datagrams, raw or sealed by a
 * peer that may say anything, cut, tampered and repeated, come in messages of any segment size;
 * frames with any virtio-net header come from the device. Every packet must end once, nothing may
 * be written outside of its buffer (address sanitizer), and what was published may go at any time.
 */
#include "fuzz.h"

#include "base/cursor.h"
#include "datapath/dp.h"
#include "wire/frame.h"
#include "wire/mac.h"

#include <stdlib.h>
#include <string.h>

#define NWID UINT64_C(0x8056c2e21c000001)

enum {
    SELF = 0x11aabbccdd,
    PEER = 0x2200000001,
    OTHER = 0x3300000001,
    SOCKET = 1,
    SECOND = 1000, /* ms */
    ROOM = 128,    /* at the end of a message, sometimes */

    ACTION_RAW = 0,
    ACTION_SEALED = 1, /* a packet of the peer, from its verb on */
    ACTION_FRAME = 2,  /* the same, FRAME with this payload */
    ACTION_RECEIVE = 3,
    ACTION_SEND = 4,
    ACTION_WORLD = 5, /* what is published changes */
    ACTION_RELAY = 6, /* a datagram for somebody else */
    ACTIONS = 7,
};

/* A node with two peers, one of which talks. */
struct world {
    struct published *pub;
    struct dp *dp;
    struct armor_keys keys;
    struct replay *filter;
    struct packet_id_source ids;
    int64_t now_ms;
    struct dp_message messages[DP_MESSAGES_MAX];
    size_t count;
    uint64_t sent; /* datagrams */
};

static const struct inetaddr at[2] = {{.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 1},
                                      {.family = INETADDR_V6, .ip = {0xfd}, .port = 2}};

static void on_give(void *ctx, const struct dp_gift *gift)
{
    (void)ctx;
    fuzz_require(gift->kind <= DP_GIFT_PAIR, "kind of gift");
    fuzz_require(gift->kind != DP_GIFT_OPENED || gift->len >= PACKET_MIN, "opened packet");
    fuzz_require(gift->kind != DP_GIFT_SEALED || gift->len >= PACKET_MIN, "sealed packet");
    memset(gift->data, 0xdb, gift->len); /* all of it is the taker's */
}

static void on_send(void *ctx, const struct dp_run *runs, size_t count)
{
    struct world *w = ctx;

    for (size_t i = 0; i < count; i++) {
        size_t n = (runs[i].len + runs[i].size - 1) / runs[i].size;
        uint8_t *copy = malloc(runs[i].len);

        fuzz_require(runs[i].len > 0 && runs[i].len <= 65000 + 1500 && n <= 64, "run");
        fuzz_require(copy != NULL, "memory");
        memcpy(copy, runs[i].data, runs[i].len);
        free(copy);
        w->sent += n;
    }
}

static void on_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    uint8_t *block = malloc(out->len);
    struct offload_split split;

    (void)ctx;
    fuzz_require(nwid == NWID && block != NULL, "network");
    merge_output_copy(out, block);
    fuzz_require(offload_split_begin(&split, &out->vnet, block, out->len, checksum_portable) ==
                     (int)out->frames,
                 "can be split");
    free(block);
}

static unsigned on_kinds(void *ctx, uint64_t nwid)
{
    (void)ctx;
    (void)nwid;
    return MERGE_ALL;
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

static void put_session(struct world *w, enum cipher_suite suite, size_t mtu)
{
    struct dp_session *s = dp_session_new(w->pub, PEER);

    fuzz_require(s != NULL, "memory");
    s->can_send = true;
    s->suite = suite;
    s->mtu = mtu;
    s->paths[0] = s->out = (struct dp_path){.remote = at[0], .socket = SOCKET};
    s->path_count = 1;
    s->keys = &w->keys;
    s->replay = w->filter;
    dp_session_publish(s);
}

static void put_network(struct world *w, uint8_t choice)
{
    static const struct rule rules[] = {{.type = RULE_FRAME_SIZE, .range = {.start = 0, .end = 99}},
                                        {.type = RULE_DROP},
                                        {.type = RULE_ACCEPT}};
    static const struct filter_credentials nothing;
    size_t first = (choice & 1) != 0 ? 0 : 2;
    const struct filter_network net = {.network_id = NWID,
                                       .self = SELF,
                                       .rules = rules + first,
                                       .rule_count = (uint16_t)(3 - first)};
    struct dp_port *port = dp_port_new(w->pub, NWID);
    struct dp_member *m;

    fuzz_require(port != NULL, "memory");
    port->mac = mac_of_member(NWID, SELF);
    port->mtu = (choice & 2) != 0 ? 1280 : 10000;
    port->is_bridge = (choice & 4) != 0;
    port->multicast = (choice & 8) != 0;
    port->filter = filter_network_copy(&net);
    port->traits = filter_classify(net.rules, net.rule_count);
    dp_port_publish(port);
    m = dp_member_new(w->pub, port, PEER);
    fuzz_require(m != NULL && port->filter != NULL, "memory");
    atomic_store(&m->access, DP_ACCESS_IN | DP_ACCESS_OUT);
    m->creds = filter_credentials_copy(&nothing);
    fuzz_require(m->creds != NULL, "memory");
    m->traits = port->traits;
    dp_member_publish(port, m);
}

static void change_world(struct world *w, uint8_t choice)
{
    struct dp_route *route;

    switch (choice >> 4) {
    case 0:
        dp_session_withdraw(w->pub, PEER);
        break;
    case 1:
        dp_port_withdraw(w->pub, NWID);
        break;
    case 2:
        atomic_store(&w->pub->is_root, !atomic_load(&w->pub->is_root));
        route = dp_route_new(w->pub, OTHER);
        fuzz_require(route != NULL, "memory");
        route->to = (struct dp_path){.remote = at[choice & 1], .socket = SOCKET};
        dp_route_publish(route);
        break;
    case 3:
        w->now_ms += SECOND * (choice & 15);
        (void)dp_expire(w->dp, w->now_ms);
        (void)published_harvest(w->pub);
        break;
    case 4:
        limbo_reclaim(&w->pub->limbo, w->pub->limbo.number);
        break;
    case 5:
        put_session(w, (choice & 1) != 0 ? SUITE_SALSA_POLY1305 : SUITE_AES_GMAC_SIV,
                    (choice & 2) != 0 ? 1432 : 64 + 100 * (choice & 12u));
        break;
    default:
        put_network(w, choice);
        break;
    }
}

/* Append a datagram: to the last message if choice says so, else as one of its own. */
static void add_datagram(struct world *w, const uint8_t *data, size_t len, uint8_t choice)
{
    bool joins = (choice & 1) != 0 && w->count > 0;
    struct dp_message *m = &w->messages[joins ? w->count - 1 : w->count];

    if (len == 0 || (!joins && w->count == DP_MESSAGES_MAX) || (joins && m->len + len > 65535)) {
        return;
    }
    if (!joins) {
        *m = (struct dp_message){.segment = len, .from = at[choice >> 1 & 1]};
        w->count++;
    }
    m->data = realloc(m->data, m->len + len);
    fuzz_require(m->data != NULL, "memory");
    memcpy(m->data + m->len, data, len);
    m->len += len;
    m->cap = m->len;
    if ((choice & 0x80) != 0) {
        m->segment = 17 + choice; /* not where the datagrams end */
    }
}

/* A packet of the peer with this content (from the verb on), cut into parts. */
static void add_packet(struct world *w, struct rd *in, size_t len, bool is_frame)
{
    uint8_t choice = rd_u8(in);
    uint8_t cuts = rd_u8(in);
    uint8_t pkt[PACKET_MAX];
    struct wr out = wr_init(pkt, sizeof(pkt));
    unsigned total = 1 + cuts % FRAGMENTS_MAX;
    size_t at_byte;
    size_t size;

    wr_zero(&out, PACKET_AT_VERB);
    if (is_frame) {
        wr_u8(&out, VERB_FRAME);
        frame_write_header(&out, NWID, (choice & 8) != 0 ? 0x0800 : 0x86dd);
    }
    len = len < rd_left(in) ? len : rd_left(in);
    len = len < wr_left(&out) ? len : wr_left(&out);
    wr_bytes(&out, rd_bytes(in, len), len);
    len = wr_len(&out);
    if (len < PACKET_MIN + FRAGMENTS_MAX) {
        return;
    }
    uint8_t verb = pkt[PACKET_AT_VERB];
    packet_start(pkt, packet_id_next(&w->ids), SELF, PEER, VERB_NOP);
    pkt[PACKET_AT_VERB] = verb;
    packet_set_fragmented(pkt, total > 1);
    armor_seal(pkt, len, (choice & 4) != 0 ? SUITE_SALSA_POLY1305 : SUITE_AES_GMAC_SIV, &w->keys);
    pkt[PACKET_AT_FLAGS] |= choice >> 6 & 1;
    if ((choice & 16) != 0) {
        pkt[cuts * 11u % len] ^= 1;
    }
    size = len / total < PACKET_MIN ? PACKET_MIN : len / total;
    add_datagram(w, pkt, total == 1 ? len : size, choice);
    at_byte = size;
    for (unsigned i = 1; i < total && at_byte < len; i++) {
        uint8_t part[PACKET_MAX + FRAGMENT_AT_DATA];
        size_t n = i + 1 == total || at_byte + size > len ? len - at_byte : size;

        memcpy(part, pkt, FRAGMENT_AT_INDICATOR);
        part[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        part[FRAGMENT_AT_NUMBERS] = (uint8_t)(total << 4 | ((choice & 32) != 0 ? total - i : i));
        part[FRAGMENT_AT_HOPS] = 0;
        memcpy(part + FRAGMENT_AT_DATA, pkt + at_byte, n);
        add_datagram(w, part, FRAGMENT_AT_DATA + n, choice | 1);
        at_byte += n;
    }
}

static void receive(struct world *w, uint8_t choice)
{
    if (w->count > 0 && (choice & 1) != 0) {
        struct dp_message *m = &w->messages[w->count - 1];

        m->cap = m->len + ROOM * choice;
        m->data = realloc(m->data, m->cap);
        fuzz_require(m->data != NULL, "memory");
    }
    dp_receive(w->dp, SOCKET, w->messages, w->count, w->now_ms);
    for (size_t i = 0; i < w->count; i++) {
        free(w->messages[i].data);
    }
    w->count = 0;
    dp_flush(w->dp);
}

/* A frame to the peer, or as the input has it, with a header of its own. */
static void send_frame(struct world *w, struct rd *in, size_t len)
{
    uint8_t choice = rd_u8(in);
    const uint8_t *header = rd_bytes(in, VNET_HEADER_LEN);
    struct vnet_header vnet = {0};
    const uint8_t *data;
    uint8_t *frame;

    len = len < rd_left(in) ? len : rd_left(in);
    data = rd_bytes(in, len);
    if (header == NULL || data == NULL) {
        return;
    }
    if ((choice & 1) != 0) {
        vnet_header_read(header, &vnet);
    }
    frame = malloc(DP_HEADROOM + len);
    fuzz_require(frame != NULL, "memory");
    memcpy(frame + DP_HEADROOM, data, len);
    if ((choice & 2) != 0 && len >= 2 * MAC_LEN) {
        mac_put(frame + DP_HEADROOM, mac_of_member(NWID, PEER));
        mac_put(frame + DP_HEADROOM + MAC_LEN, mac_of_member(NWID, SELF));
    }
    dp_send(w->dp, NWID, &vnet, frame + DP_HEADROOM, len, w->now_ms);
    free(frame);
    if ((choice & 4) != 0) {
        dp_flush(w->dp);
    }
}

static void relay(struct world *w, const uint8_t *data, size_t len, uint8_t choice)
{
    uint8_t datagram[256] = {0};

    if (len < PACKET_MIN) {
        return;
    }
    len = len < sizeof(datagram) ? len : sizeof(datagram);
    memcpy(datagram, data, len);
    be40_put(datagram + PACKET_AT_DEST, OTHER);
    add_datagram(w, datagram, len, choice);
}

static void act(struct world *w, struct rd *in)
{
    uint8_t action = rd_u8(in) % ACTIONS;
    size_t len = action == ACTION_RECEIVE || action == ACTION_WORLD ? 0 : rd_u16(in);
    const uint8_t *data;
    uint8_t choice;

    switch (action) {
    case ACTION_SEALED:
    case ACTION_FRAME:
        add_packet(w, in, len, action == ACTION_FRAME);
        return;
    case ACTION_SEND:
        send_frame(w, in, len);
        return;
    default:
        break;
    }
    choice = rd_u8(in);
    len = len < rd_left(in) ? len : rd_left(in);
    data = rd_bytes(in, len);
    if (action == ACTION_RECEIVE) {
        receive(w, choice);
    } else if (action == ACTION_WORLD) {
        change_world(w, choice);
    } else if (action == ACTION_RELAY) {
        relay(w, data, len, choice);
    } else {
        add_datagram(w, data, len, choice);
    }
}

/* What all packets of a run ended in. */
static void check_sums(struct world *w)
{
    uint64_t counts[DP_COUNTS];

    published_counts(w->pub, counts);
    fuzz_require(counts[DP_TX_DATAGRAMS] == w->sent, "datagrams sent are counted");
    fuzz_require(counts[DP_RX_PACKETS] <= counts[DP_RX_DATAGRAMS], "no packet from nowhere");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};
    static struct world w;
    const struct dp_env env = {.give = on_give,
                               .send = on_send,
                               .write = on_write,
                               .kinds = on_kinds,
                               .wake = on_wake,
                               .ctx = &w};
    struct rd in = rd_init(data, len);

    memset(&w, 0, sizeof(w));
    w.now_ms = SECOND;
    armor_keys_init(&w.keys, secret);
    packet_id_set_key(&w.ids, (const uint32_t[4]){1, 2, 3, 4});
    w.filter = replay_new(REPLAY_SETS_SMALL, 7, NULL, w.now_ms);
    w.pub = published_new(SELF, 1, &w.ids, 7, on_visit, NULL);
    w.dp = w.pub != NULL ? dp_new(w.pub, 0, &env, 7) : NULL;
    fuzz_require(w.filter != NULL && w.dp != NULL, "memory");
    put_session(&w, SUITE_AES_GMAC_SIV, 1432);
    put_network(&w, 8);
    while (rd_left(&in) > 0) {
        act(&w, &in);
    }
    receive(&w, 0);
    check_sums(&w);
    dp_free(w.dp);
    published_free(w.pub);
    free(w.filter);
    return 0;
}
