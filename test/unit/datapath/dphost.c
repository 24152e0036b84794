/* A host of one worker for tests. Every message, frame and object lies in a heap block of its own
 * size, so that tools see reads and writes past the ends. */
#include "dphost.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HOST_ROOM = 10100, SEED = 0x5eed };

static struct block block_copy(const void *data, size_t len)
{
    return (struct block){.data = exact_copy(data, len), .len = len};
}

static void on_give(void *ctx, const struct dp_gift *gift)
{
    struct host *h = ctx;

    assert_true(h->gift_count < HOST_LIST);
    h->gifts[h->gift_count++] = (struct host_gift){
        .kind = gift->kind,
        .socket = gift->socket,
        .from = gift->from,
        .nwid = gift->nwid,
        .is_known = gift->is_known,
        .block = block_copy(gift->data, gift->len),
    };
    memset(gift->data, 0xdb, gift->len); /* the taker may change it */
    h->given++;
}

static uint64_t on_given(void *ctx, enum dp_gift_kind kind)
{
    const struct host *h = ctx;

    (void)kind;
    return h->given;
}

static uint64_t on_taken(void *ctx, enum dp_gift_kind kind)
{
    const struct host *h = ctx;

    (void)kind;
    return h->is_late ? h->taken : h->given;
}

/* D-22 */
static void on_send(void *ctx, const struct dp_run *runs, size_t count)
{
    struct host *h = ctx;

    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const struct dp_run *run = &runs[i];

        h->run_count++;
        assert_true(run->len > 0 && run->size > 0 && run->len <= 65000);
        assert_true((run->len + run->size - 1) / run->size <= 64);
        for (size_t at = 0; at < run->len; at += run->size) {
            size_t left = run->len - at;

            assert_true(h->sent_count < HOST_LIST);
            h->sent[h->sent_count++] = (struct host_datagram){
                .to = run->to,
                .block = block_copy(run->data + at, left < run->size ? left : run->size),
            };
        }
    }
}

static void on_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    struct host *h = ctx;
    uint8_t *block = malloc(out->len);
    struct offload_split split;
    struct offload_frame frame;

    assert_non_null(block);
    merge_output_copy(out, block);
    h->write_count++;
    assert_int_equal(offload_split_begin(&split, &out->vnet, block, out->len, checksum_portable),
                     out->frames);
    while (offload_split_next(&split, &frame)) {
        assert_true(h->frame_count < HOST_LIST);
        h->frames[h->frame_count++] =
            (struct host_frame){.nwid = nwid, .block = block_copy(frame.data, frame.len)};
    }
    free(block);
}

static unsigned on_kinds(void *ctx, uint64_t nwid)
{
    const struct host *h = ctx;

    (void)nwid;
    return h->kinds;
}

static void on_wake(void *ctx)
{
    struct host *h = ctx;

    h->wakes++;
}

static void on_visit(void *ctx, struct dp_object *object)
{
    struct host *h = ctx;

    assert_non_null(object);
    h->visits++;
}

void host_init(struct host *h, unsigned workers)
{
    const struct dp_env env = {
        .give = on_give,
        .given = on_given,
        .taken = on_taken,
        .send = on_send,
        .write = on_write,
        .kinds = on_kinds,
        .wake = on_wake,
        .ctx = h,
    };
    struct packet_id_source ids = {.next = 0};

    memset(h, 0, sizeof(*h));
    packet_id_set_key(&ids, (const uint32_t[4]){1, 2, 3, 4});
    h->now_ms = HOST_NOW;
    h->kinds = MERGE_ALL;
    h->pub = published_new(HOST_SELF, workers, &ids, SEED, on_visit, h);
    assert_non_null(h->pub);
    h->dp = dp_new(h->pub, workers - 1, &env, SEED);
    assert_non_null(h->dp);
}

void host_clear(struct host *h)
{
    for (size_t i = 0; i < h->gift_count; i++) {
        free(h->gifts[i].block.data);
    }
    for (size_t i = 0; i < h->sent_count; i++) {
        free(h->sent[i].block.data);
    }
    for (size_t i = 0; i < h->frame_count; i++) {
        free(h->frames[i].block.data);
    }
    h->gift_count = h->sent_count = h->frame_count = h->run_count = h->write_count = 0;
}

void host_done(struct host *h)
{
    host_clear(h);
    dp_free(h->dp);
    published_free(h->pub);
}

uint64_t host_count(struct host *h, enum dp_count what)
{
    uint64_t new[DP_COUNTS];

    published_counts(h->pub, new);
    for (size_t i = 0; i < DP_COUNTS; i++) {
        h->counts[i] += new[i];
    }
    return h->counts[what];
}

void remote_init(struct remote *r, unsigned n, enum cipher_suite suite)
{
    uint8_t secret[SHARED_KEY_LEN] = {(uint8_t)n, 1, 2, 3};

    memset(r, 0, sizeof(*r));
    r->address = 0x2200000000 + n;
    r->at = (struct inetaddr){
        .family = INETADDR_V4, .ip = {10, 0, 0, (uint8_t)n}, .port = (uint16_t)(9993 + n)};
    r->socket = HOST_SOCKET;
    r->suite = suite;
    r->next_id = (uint64_t)n << 32;
    armor_keys_init(&r->keys, secret);
    r->replay = replay_new(REPLAY_SETS_LARGE, 7 + n, NULL, HOST_NOW);
    assert_non_null(r->replay);
}

void remote_done(struct remote *r)
{
    free(r->replay);
    armor_keys_done(&r->keys);
}

struct dp_session *host_session(struct host *h, struct remote *r, size_t mtu)
{
    struct dp_session *s = dp_session_new(h->pub, r->address);

    assert_non_null(s);
    s->can_send = true;
    s->suite = r->suite;
    s->mtu = mtu;
    s->out = (struct dp_path){.remote = r->at, .socket = r->socket};
    s->paths[0] = (struct dp_path){
        .remote = {.family = INETADDR_V4, .ip = {192, 168, 0, 1}, .port = 1}, .socket = r->socket};
    s->paths[1] = s->out;
    s->path_count = 2;
    s->keys = &r->keys;
    s->replay = r->replay;
    dp_session_publish(s);
    return s;
}

struct dp_port *host_port(struct host *h, uint64_t nwid, const struct rule *rules, size_t count)
{
    static const struct rule accept = {.type = RULE_ACCEPT};
    const struct filter_network net = {
        .network_id = nwid,
        .self = HOST_SELF,
        .rules = rules != NULL ? rules : &accept,
        .rule_count = (uint16_t)(rules != NULL ? count : 1),
    };
    struct dp_port *p = dp_port_new(h->pub, nwid);

    assert_non_null(p);
    p->multicast = true;
    p->mac = mac_of_member(nwid, HOST_SELF);
    p->mtu = 10000;
    p->filter = filter_network_copy(&net);
    assert_non_null(p->filter);
    p->traits = filter_classify(net.rules, net.rule_count);
    dp_port_publish(p);
    return p;
}

struct dp_member *host_member(struct host *h, uint64_t nwid, uint64_t address)
{
    static const struct filter_credentials nothing;
    struct dp_port *port = dp_port_find(h->pub, nwid);
    struct dp_member *m = dp_member_new(h->pub, port, address);

    assert_non_null(m);
    atomic_store(&m->access, DP_ACCESS_IN | DP_ACCESS_OUT);
    m->creds = filter_credentials_copy(&nothing);
    assert_non_null(m->creds);
    m->traits = port->traits;
    dp_member_publish(port, m);
    return m;
}

/* ---- packets ---- */

void packet_make(struct remote *r, enum verb verb, const void *payload, size_t len,
                 struct packet *ret)
{
    assert_true(len <= PACKET_PAYLOAD_MAX);
    packet_start(ret->data, r->next_id++, HOST_SELF, r->address, verb);
    if (len > 0) {
        memcpy(ret->data + PACKET_AT_PAYLOAD, payload, len);
    }
    ret->len = PACKET_AT_PAYLOAD + len;
}

void packet_frame(struct remote *r, uint64_t nwid, uint16_t ethertype, const void *payload,
                  size_t len, struct packet *ret)
{
    uint8_t buffer[PACKET_MAX];
    struct wr w = wr_init(buffer, sizeof(buffer));

    frame_write(&w,
                &(struct frame){
                    .network_id = nwid, .payload = payload, .len = len, .ethertype = ethertype});
    packet_make(r, VERB_FRAME, buffer, wr_len(&w), ret);
}

void packet_ext_frame(struct remote *r, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                      uint8_t flags, const void *payload, size_t len, struct packet *ret)
{
    uint8_t buffer[PACKET_MAX];
    struct wr w = wr_init(buffer, sizeof(buffer));

    ext_frame_write(&w, &(struct ext_frame){.network_id = nwid,
                                            .dest_mac = dest_mac,
                                            .source_mac = source_mac,
                                            .payload = payload,
                                            .len = len,
                                            .ethertype = 0x0800,
                                            .flags = flags});
    packet_make(r, VERB_EXT_FRAME, buffer, wr_len(&w), ret);
}

void packet_seal(const struct remote *r, struct packet *p, bool is_cut)
{
    packet_set_fragmented(p->data, is_cut);
    armor_seal(p->data, p->len, r->suite, &r->keys);
}

static void wire_put(struct wire *w, const struct remote *r, const uint8_t *head, size_t head_len,
                     const uint8_t *data, size_t len)
{
    uint8_t buffer[PACKET_MAX + FRAGMENT_AT_DATA];

    assert_true(w->count < COUNT_OF(w->datagrams));
    memcpy(buffer, head, head_len);
    memcpy(buffer + head_len, data, len);
    w->from[w->count] = &r->at;
    w->datagrams[w->count++] = block_copy(buffer, head_len + len);
}

void wire_add(struct wire *w, const struct remote *r, const struct packet *p, unsigned total,
              struct test_rng *rng)
{
    size_t ends[FRAGMENTS_MAX] = {0};
    size_t at;

    assert_in_range(total, 1, FRAGMENTS_MAX);
    assert_true(p->len + 1 >= PACKET_MIN + total);
    for (unsigned i = 0; i < total; i++) {
        size_t least = i == 0 ? PACKET_MIN : ends[i - 1] + 1; /* the head has a whole header */
        size_t most = p->len - (total - 1 - i);
        size_t even = p->len * (i + 1) / total;

        ends[i] = rng != NULL ? least + test_rng_below(rng, most - least + 1) : even;
        ends[i] = ends[i] < least ? least : ends[i];
    }
    ends[total - 1] = p->len;
    wire_put(w, r, p->data, ends[0], p->data, 0);
    at = ends[0];
    for (unsigned i = 1; i < total; i++) {
        uint8_t head[FRAGMENT_AT_DATA];

        memcpy(head, p->data, FRAGMENT_AT_INDICATOR);
        head[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        head[FRAGMENT_AT_NUMBERS] = (uint8_t)(total << 4 | i);
        head[FRAGMENT_AT_HOPS] = 0;
        wire_put(w, r, head, sizeof(head), p->data + at, ends[i] - at);
        at = ends[i];
    }
}

void wire_seal(struct wire *w, const struct remote *r, struct packet *p, size_t mtu)
{
    struct fragment_plan plan;

    packet_seal(r, p, p->len > mtu);
    assert_int_equal(fragment_plan_equal(p->len, mtu, &plan), 0);
    for (unsigned i = 0; i < plan.total; i++) {
        struct fragment_piece piece;

        fragment_cut(p->data, &plan, i, &piece);
        wire_put(w, r, piece.head, piece.head_len, piece.data, piece.len);
    }
}

void wire_free(struct wire *w)
{
    for (size_t i = 0; i < w->count; i++) {
        free(w->datagrams[i].data);
    }
    w->count = 0;
}

/* One message of the datagrams from `i` on. Returns how many it took. */
static size_t fill_message(const struct wire *w, size_t i, enum wire_form form,
                           struct dp_message *ret)
{
    size_t size = w->datagrams[i].len;
    size_t room = form == WIRE_ROOM ? HOST_ROOM : 0;
    size_t n = 0;

    *ret = (struct dp_message){.segment = size, .from = *w->from[i]};
    ret->data = malloc(65536 + room);
    assert_non_null(ret->data);
    do {
        memcpy(ret->data + ret->len, w->datagrams[i + n].data, w->datagrams[i + n].len);
        ret->len += w->datagrams[i + n].len;
        n++;
    } while (form == WIRE_GRO && i + n < w->count && n < 64 && ret->len % size == 0 &&
             w->from[i + n] == w->from[i] && w->datagrams[i + n].len <= size &&
             ret->len + size <= 65535);
    ret->cap = ret->len + room;
    ret->data = realloc(ret->data, ret->cap);
    assert_non_null(ret->data);
    return n;
}

void host_receive(struct host *h, const struct wire *w, enum wire_form form, size_t batch)
{
    struct dp_message messages[DP_MESSAGES_MAX];

    assert_in_range(batch, 1, DP_MESSAGES_MAX);
    for (size_t i = 0; i < w->count;) {
        size_t count = 0;

        while (count < batch && i < w->count) {
            i += fill_message(w, i, form, &messages[count++]);
        }
        dp_receive(h->dp, HOST_SOCKET, messages, count, h->now_ms);
        for (size_t k = 0; k < count; k++) {
            free(messages[k].data); /* nothing is borrowed any more */
        }
        dp_flush(h->dp);
    }
}

void host_send(struct host *h, uint64_t nwid, const struct vnet_header *vnet, const uint8_t *frame,
               size_t len)
{
    static const struct vnet_header none;
    uint8_t *buffer = malloc(DP_HEADROOM + len);

    assert_non_null(buffer);
    memcpy(buffer + DP_HEADROOM, frame, len);
    dp_send(h->dp, nwid, vnet != NULL ? vnet : &none, buffer + DP_HEADROOM, len, h->now_ms);
    free(buffer); /* used up */
}

size_t remote_open_all(const struct remote *r, const struct host *h, struct packet *ret, size_t cap)
{
    static struct assembly assembly;
    size_t count = 0;

    assembly_init(&assembly, 1);
    for (size_t i = 0; i < h->sent_count; i++) {
        const struct host_datagram *d = &h->sent[i];
        const uint8_t *data = d->block.data;
        struct assembled whole = {.len = d->block.len};
        struct packet *p = &ret[count];

        if (!inetaddr_equal(&d->to.remote, &r->at) || d->to.socket != r->socket) {
            continue;
        }
        assert_true(count < cap);
        assert_in_range(d->block.len, 17, 1500); /* D-5 */
        if (data[FRAGMENT_AT_INDICATOR] != FRAGMENT_INDICATOR && !packet_is_fragmented(data)) {
            memcpy(p->data, data, d->block.len);
        } else if (assembly_add(&assembly, data, d->block.len, &d->to.remote, 1, 256, 1, p->data,
                                &whole) != 1) {
            assert_in_range(assembly.sets.count, 0, 8); /* D-4 */
            continue;
        }
        p->len = whole.len;
        assert_int_equal(packet_source(p->data), HOST_SELF);
        assert_int_equal(packet_dest(p->data), r->address);
        assert_int_equal(packet_suite(p->data), r->suite); /* D-8 */
        assert_int_equal(armor_open(p->data, p->len, &r->keys), 0);
        count++;
    }
    assert_int_equal(assembly.sets.count, 0);
    assembly_done(&assembly);
    return count;
}
