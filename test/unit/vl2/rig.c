/* A worker between packets and vl2. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct inetaddr *peer_at(void)
{
    static struct inetaddr at;

    assert_int_equal(inetaddr_parse("192.0.2.7/9993", 14, &at), 0);
    return &at;
}

/* ---- the worker's host ---- */

static void keep_gift(void *ctx, const struct dp_gift *gift)
{
    struct rig *r = ctx;
    void (*meanwhile)(struct rig *) = r->meanwhile;

    assert_true(r->gift_count < RIG_GIFTS);
    r->gifts[r->gift_count++] =
        (struct rig_gift){gift->kind, gift->len, exact_copy(gift->data, gift->len)};
    r->meanwhile = NULL;
    if (meanwhile != NULL) {
        meanwhile(r);
    }
}

static void count_sent(void *ctx, const struct dp_run *runs, size_t count)
{
    struct rig *r = ctx;

    for (size_t i = 0; i < count; i++) {
        r->sent += (runs[i].len + runs[i].size - 1) / runs[i].size;
    }
}

static void count_written(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    struct rig *r = ctx;

    assert_true(nwid == BENCH_NWID);
    r->written += out->frames;
}

static unsigned merge_nothing(void *ctx, uint64_t nwid)
{
    (void)ctx;
    (void)nwid;
    return 0;
}

static void wake(void *ctx)
{
    (void)ctx;
}

static void visit(void *ctx, struct dp_object *object)
{
    struct rig *r = ctx;

    if (object->kind != DP_SESSION && r->b->vl2 != NULL) {
        vl2_harvest_object(r->b->vl2, object, r->b->now);
    }
}

/* ---- life ---- */

static void add_session(struct rig *r, char letter)
{
    struct dp_session *s = dp_session_new(r->pub, bench_id(r->b, letter)->address);

    assert_non_null(s);
    s->can_send = true;
    s->suite = SUITE_AES_GMAC_SIV;
    s->mtu = MTU_PHYSICAL_DEFAULT;
    s->out = s->paths[0] = (struct dp_path){*peer_at(), 1};
    s->path_count = 1;
    s->keys = &r->keys;
    s->replay = r->replay;
    dp_session_publish(s);
}

struct rig *rig_new(bool with_worker)
{
    static const uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};
    struct rig *r = calloc(1, sizeof(*r));
    const struct dp_env env = {
        .give = keep_gift,
        .send = count_sent,
        .write = count_written,
        .kinds = merge_nothing,
        .wake = wake,
        .ctx = r,
    };
    struct packet_id_source ids = {.next = 0};

    assert_non_null(r);
    r->b = bench_new();
    r->next_id = 1;
    armor_keys_init(&r->keys, secret);
    if (!with_worker) {
        return r;
    }
    packet_id_set_key(&ids, (const uint32_t[4]){1, 2, 3, 4});
    r->pub = published_new(r->b->vl2->self, 1, &ids, 5, visit, r);
    r->dp = dp_new(r->pub, 0, &env, 6);
    r->replay = replay_new(REPLAY_SETS_SMALL, 7, NULL, r->b->now);
    assert_non_null(r->dp);
    assert_non_null(r->replay);
    r->b->vl1.published = r->pub;
    for (const char *letter = "BDE"; *letter != 0; letter++) {
        add_session(r, *letter);
    }
    return r;
}

void rig_free(struct rig *r)
{
    struct bench *b = r->b;

    assert_int_equal(r->gift_count, 0);
    bench_clear(b);
    vl2_free(b->vl2);
    b->vl2 = NULL; /* what is released from now on finds nobody */
    dp_free(r->dp);
    published_free(r->pub);
    free(r->replay);
    armor_keys_done(&r->keys);
    bench_free(b);
    free(r);
}

int rig_setup(void **state)
{
    *state = rig_new(true);
    return 0;
}

int rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

uint64_t rig_mac(const struct rig *r, char letter)
{
    return mac_of_member(BENCH_NWID, bench_id(r->b, letter)->address);
}

struct network *rig_network(struct rig *r)
{
    struct network *net = bench_configure(r->b, &r->setup);

    bench_member(r->b, 'B');
    return net;
}

/* ---- in ---- */

size_t rig_seal(struct rig *r, char from, enum verb verb, const void *payload, size_t len,
                uint8_t *buf)
{
    packet_start(buf, r->next_id++, r->b->vl2->self, bench_id(r->b, from)->address, verb);
    memcpy(buf + PACKET_AT_PAYLOAD, payload, len);
    armor_seal(buf, PACKET_AT_PAYLOAD + len, SUITE_AES_GMAC_SIV, &r->keys);
    return PACKET_AT_PAYLOAD + len;
}

static const struct identity *sender_of(const struct rig *r, const uint8_t *pkt)
{
    for (char letter = 'A'; letter < 'A' + BENCH_IDS; letter++) {
        if (bench_id(r->b, letter)->address == packet_source(pkt)) {
            return bench_id(r->b, letter);
        }
    }
    fail_msg("no such sender");
    return NULL;
}

static void frame_to_vl2(struct rig *r, const uint8_t *frame, size_t len)
{
    uint8_t *copy = exact_copy(frame, len);

    vl2_frame(r->b->vl2, BENCH_NWID, mac_get(copy), mac_get(copy + MAC_LEN),
              be16_get(copy + 2 * MAC_LEN), copy + ETHERNET_LEN, len - ETHERNET_LEN, r->b->now);
    free(copy);
}

void rig_serve(struct rig *r)
{
    for (size_t i = 0; i < r->gift_count; i++) {
        struct rig_gift *g = &r->gifts[i];

        if (g->kind == DP_GIFT_FRAME) {
            frame_to_vl2(r, g->data, g->len);
        } else {
            assert_int_equal(g->kind, DP_GIFT_OPENED);
            (void)bench_in(r->b, sender_of(r, g->data), packet_verb(g->data),
                           g->data + PACKET_AT_PAYLOAD, g->len - PACKET_AT_PAYLOAD);
        }
        free(g->data);
    }
    r->gift_count = 0;
}

static enum way serve(struct rig *r)
{
    enum way way = r->gift_count > 0 ? WAY_GIVEN : WAY_FAST;

    rig_serve(r);
    return way;
}

static enum way packet_in(struct rig *r, char from, enum verb verb, const void *payload, size_t len)
{
    uint8_t buf[PACKET_MAX];
    struct dp_message message = {.data = buf, .cap = sizeof(buf), .from = *peer_at()};

    if (r->pub == NULL) {
        (void)bench_in(r->b, bench_id(r->b, from), verb, payload, len);
        return WAY_GIVEN;
    }
    message.len = message.segment = rig_seal(r, from, verb, payload, len, buf);
    dp_receive(r->dp, 1, &message, 1, r->b->now);
    dp_flush(r->dp);
    return serve(r);
}

enum way rig_frame_in(struct rig *r, char from, uint16_t ethertype, size_t len)
{
    uint8_t payload[FRAME_HEADER_LEN + 2000] = {0};
    struct wr w = wr_init(payload, sizeof(payload));

    frame_write_header(&w, BENCH_NWID, ethertype);
    assert_true(len <= 2000);
    return packet_in(r, from, VERB_FRAME, payload, wr_len(&w) + len);
}

enum way rig_ext_in(struct rig *r, char from, uint64_t dest_mac, uint64_t source_mac, size_t len)
{
    static const uint8_t zeros[2000];
    uint8_t payload[EXT_FRAME_HEADER_LEN + sizeof(zeros)];
    struct wr w = wr_init(payload, sizeof(payload));
    const struct ext_frame ext = {
        .network_id = BENCH_NWID,
        .dest_mac = dest_mac,
        .source_mac = source_mac,
        .payload = zeros,
        .len = len,
        .ethertype = 0x88b5,
    };

    ext_frame_write(&w, &ext);
    return packet_in(r, from, VERB_EXT_FRAME, payload, wr_len(&w));
}

/* ---- out ---- */

static enum way out(struct rig *r, uint64_t dest_mac, uint64_t source_mac, uint16_t ethertype,
                    size_t len)
{
    uint8_t buf[DP_HEADROOM + ETHERNET_LEN + 2000] = {0};
    uint8_t *frame = buf + DP_HEADROOM;
    struct wr w = wr_init(frame, ETHERNET_LEN);

    mac_write(&w, dest_mac);
    mac_write(&w, source_mac);
    wr_u16(&w, ethertype);
    assert_true(len <= 2000);
    if (r->pub == NULL) {
        frame_to_vl2(r, frame, ETHERNET_LEN + len);
        return WAY_GIVEN;
    }
    dp_send(r->dp, BENCH_NWID, &(struct vnet_header){0}, frame, ETHERNET_LEN + len, r->b->now);
    dp_flush(r->dp);
    return serve(r);
}

enum way rig_frame_out(struct rig *r, uint64_t dest_mac, uint16_t ethertype, size_t len)
{
    return out(r, dest_mac, rig_mac(r, 'A'), ethertype, len);
}

enum way rig_frame_out_from(struct rig *r, uint64_t dest_mac, uint64_t source_mac, size_t len)
{
    return out(r, dest_mac, source_mac, 0x88b5, len);
}

/* ---- what flows back, what is there ---- */

void rig_harvest(struct rig *r)
{
    uint64_t counts[DP_COUNTS];

    if (r->pub != NULL) {
        (void)published_harvest(r->pub);
        published_counts(r->pub, counts);
        vl2_harvest_counts(r->b->vl2, counts);
    }
}

void rig_reclaim(struct rig *r)
{
    if (r->pub != NULL) {
        limbo_reclaim(&r->pub->limbo, r->pub->limbo.number);
    }
}

struct dp_port *rig_port(const struct rig *r)
{
    return dp_port_find(r->pub, BENCH_NWID);
}

struct dp_member *rig_member(const struct rig *r, char letter)
{
    struct dp_port *port = rig_port(r);

    return port == NULL ? NULL : dp_member_find(port, bench_id(r->b, letter)->address);
}

unsigned rig_access(const struct rig *r, char letter)
{
    struct dp_member *member = rig_member(r, letter);

    return member == NULL ? 0 : atomic_load(&member->access);
}
