/* The fake vl1 and the host behind it. */
#include "bench.h"

#include "base/hex.h"
#include "wire/identity.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bench_in_engine;

/* ---- vl1.h ---- */

const struct engine_env *vl1_env(const struct vl1 *vl1)
{
    return &vl1->env;
}

struct timers *vl1_timers(struct vl1 *vl1)
{
    return &vl1->timers;
}

const struct identity *vl1_identity(const struct vl1 *vl1)
{
    return &vl1->identity;
}

int64_t vl1_wall(const struct vl1 *vl1, int64_t now_ms)
{
    return now_ms + vl1->wall_offset_ms;
}

void out_begin(struct vl1 *vl1, struct out_packet *out, uint64_t dest, enum verb verb)
{
    (void)vl1;
    out->dest = dest;
    out->data[PACKET_AT_VERB] = (uint8_t)verb;
    out->w = wr_init(out->data + PACKET_AT_PAYLOAD, PACKET_MAX - PACKET_AT_PAYLOAD);
}

void out_begin_ok(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re)
{
    out_begin(vl1, out, re->source, VERB_OK);
    wr_u8(&out->w, (uint8_t)re->verb);
    wr_u64(&out->w, re->id);
}

void out_begin_error(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re,
                     enum error_code code)
{
    out_begin(vl1, out, re->source, VERB_ERROR);
    wr_u8(&out->w, (uint8_t)re->verb);
    wr_u64(&out->w, re->id);
    wr_u8(&out->w, (uint8_t)code);
}

void out_redirect(struct out_packet *out, uint64_t dest)
{
    out->dest = dest;
}

static struct bench *bench_of(struct vl1 *vl1)
{
    return CONTAINER_OF(vl1, struct bench, vl1);
}

static int record(struct vl1 *vl1, struct out_packet *out, unsigned flags, bool is_reply,
                  int64_t now_ms)
{
    size_t len = wr_len(&out->w);
    struct sent_packet *p = &vl1->sent[vl1->sent_count];

    assert_int_equal(now_ms, bench_of(vl1)->now);
    if (out->w.bad || len + PACKET_AT_PAYLOAD > vl1->packet_limit) {
        return -EMSGSIZE;
    }
    if (out->dest == vl1->identity.address || address_is_reserved(out->dest)) {
        return -EINVAL;
    }
    assert_true(vl1->sent_count < BENCH_PACKETS);
    bench_in_engine--;
    *p = (struct sent_packet){
        .dest = out->dest,
        .verb = out->data[PACKET_AT_VERB],
        .is_reply = is_reply,
        .flags = flags,
        .at_ms = now_ms,
        .len = len,
        .payload = exact_copy(out->w.start, len),
    };
    bench_in_engine++;
    vl1->sent_count++;
    return 0;
}

int out_send(struct vl1 *vl1, struct out_packet *out, unsigned flags, int64_t now_ms)
{
    return record(vl1, out, flags, false, now_ms);
}

int out_reply(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re, unsigned flags,
              int64_t now_ms)
{
    assert_int_equal(out->dest, re->source);
    return record(vl1, out, flags, true, now_ms);
}

struct peer *vl1_peer_find(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    (void)now_ms;
    for (size_t i = 0; i < vl1->peer_count; i++) {
        if (vl1->peers[i].identity.address == address) {
            return &vl1->peers[i];
        }
    }
    return NULL;
}

bool vl1_peer_is_validated(struct vl1 *vl1, struct peer *peer, int64_t now_ms)
{
    (void)vl1;
    (void)now_ms;
    return !peer->unchecked;
}

void vl1_whois(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    (void)now_ms;
    vl1->whois[vl1->whois_count++ % COUNT_OF(vl1->whois)] = address;
}

void vl1_retry_from(struct vl1 *vl1, uint64_t source, int64_t now_ms)
{
    (void)now_ms;
    vl1->retried[vl1->retried_count++ % COUNT_OF(vl1->retried)] = source;
}

const struct identity *peer_identity(const struct peer *peer)
{
    return &peer->identity;
}

uint64_t peer_address(const struct peer *peer)
{
    return peer->identity.address;
}

int64_t peer_last_receive(const struct peer *peer)
{
    return peer->last_receive_ms;
}

bool peer_has_direct_path(const struct peer *peer, int64_t now_ms)
{
    (void)now_ms;
    return peer->direct;
}

int peer_latency(const struct peer *peer, int64_t now_ms)
{
    (void)now_ms;
    return peer->latency_ms;
}

bool vl1_is_root(const struct vl1 *vl1)
{
    return vl1->is_root;
}

size_t vl1_upstreams(const struct vl1 *vl1, uint64_t *out, size_t cap)
{
    for (size_t i = 0; i < vl1->upstream_count && i < cap; i++) {
        out[i] = vl1->upstreams[i];
    }
    return vl1->upstream_count;
}

uint64_t vl1_best_upstream(const struct vl1 *vl1, int64_t now_ms)
{
    (void)now_ms;
    return vl1->upstream_count > 0 ? vl1->upstreams[0] : 0;
}

int vl1_contact_keep(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    (void)now_ms;
    assert_true(vl1->kept_count < COUNT_OF(vl1->kept));
    vl1->kept[vl1->kept_count++] = address;
    return 0;
}

void vl1_contact_release(struct vl1 *vl1, uint64_t address)
{
    for (size_t i = 0; i < vl1->kept_count; i++) {
        if (vl1->kept[i] == address) {
            vl1->kept[i] = vl1->kept[--vl1->kept_count];
            return;
        }
    }
    fail_msg("contact released that was not kept");
}

struct published *vl1_published(const struct vl1 *vl1)
{
    return vl1->published;
}

size_t vl1_packet_limit(const struct vl1 *vl1)
{
    return vl1->packet_limit;
}

/* ---- the host ---- */

static void host_deliver(void *ctx, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                         uint16_t ethertype, const void *payload, size_t len)
{
    struct vl1 *vl1 = ctx;

    assert_true(vl1->frame_count < BENCH_PACKETS);
    bench_in_engine--;
    vl1->frames[vl1->frame_count++] = (struct tap_frame){
        .nwid = nwid,
        .dest_mac = dest_mac,
        .source_mac = source_mac,
        .ethertype = ethertype,
        .len = len,
        .payload = exact_copy(payload, len),
    };
    bench_in_engine++;
}

static void host_port(void *ctx, uint64_t nwid, enum port_change change)
{
    struct vl1 *vl1 = ctx;

    (void)nwid;
    vl1->ports[change]++;
}

static struct kept_state *find_state(struct vl1 *vl1, enum state_kind kind, uint64_t id)
{
    for (size_t i = 0; i < BENCH_STATES; i++) {
        struct kept_state *s = &vl1->states[i];

        if (s->used && s->kind == kind && s->id == id) {
            return s;
        }
    }
    return NULL;
}

static ssize_t host_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    struct kept_state *s = find_state(ctx, kind, id);

    if (s == NULL) {
        return -ENOENT;
    }
    if (s->len > cap) {
        return -EMSGSIZE;
    }
    memcpy(buf, s->data, s->len);
    return (ssize_t)s->len;
}

static void host_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    struct kept_state *s = find_state(ctx, kind, id);

    if (s != NULL) {
        free(s->data);
        *s = (struct kept_state){0};
    }
}

static void host_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct vl1 *vl1 = ctx;

    host_erase(ctx, kind, id);
    for (size_t i = 0; i < BENCH_STATES; i++) {
        if (!vl1->states[i].used) {
            bench_in_engine--;
            vl1->states[i] = (struct kept_state){kind, id, true, len, exact_copy(data, len)};
            bench_in_engine++;
            return;
        }
    }
    fail_msg("too many state objects");
}

static void host_random(void *ctx, void *out, size_t len)
{
    struct vl1 *vl1 = ctx;
    uint8_t *p = out;

    for (size_t i = 0; i < len; i++) {
        vl1->random = vl1->random * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(vl1->random >> 56);
    }
}

static void host_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    struct vl1 *vl1 = ctx;

    (void)kind;
    (void)id;
    (void)data;
    (void)len;
    vl1->events++;
}

static void host_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

/* ---- the bench ---- */

struct bench *bench_new(void)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    b->vectors = vectors_load("vl2.json");
    for (int i = 0; i < BENCH_IDS; i++) {
        const char name[] = {(char)('A' + i), 0};
        const char *text = vec_text(vec_get(vec_get(b->vectors, "identities"), name), "secret");

        assert_int_equal(identity_parse(text, strlen(text), &b->ids[i]), 0);
    }
    b->now = 1000000;
    b->next_update = 1;
    b->vl1.identity = b->ids[0];
    b->vl1.packet_limit = PACKET_MAX;
    b->vl1.wall_offset_ms = (int64_t)BENCH_TIME - b->now;
    b->vl1.random = 1;
    b->vl1.env = (struct engine_env){
        .deliver = host_deliver,
        .port = host_port,
        .state_load = host_load,
        .state_store = host_store,
        .state_erase = host_erase,
        .random = host_random,
        .event = host_event,
        .log = host_log,
        .ctx = &b->vl1,
        .log_level = LOG_LEVEL_TRACE,
    };
    timers_init(&b->vl1.timers);
    for (char letter = 'B'; letter <= 'E'; letter++) {
        bench_add_peer(b, bench_id(b, letter));
    }
    b->vl2 = vl2_new(&b->vl1, b->now);
    assert_non_null(b->vl2);
    return b;
}

void bench_free(struct bench *b)
{
    vl2_free(b->vl2);
    assert_int_equal(timers_next(&b->vl1.timers), TIMERS_NEVER);
    assert_int_equal(b->vl1.kept_count, 0);
    bench_clear(b);
    for (size_t i = 0; i < BENCH_STATES; i++) {
        free(b->vl1.states[i].data);
    }
    timers_done(&b->vl1.timers);
    json_decref(b->vectors);
    free(b);
}

int bench_setup(void **state)
{
    *state = bench_new();
    return 0;
}

int bench_teardown(void **state)
{
    bench_free(*state);
    return 0;
}

const struct identity *bench_id(const struct bench *b, char letter)
{
    return &b->ids[letter - 'A'];
}

struct peer *bench_add_peer(struct bench *b, const struct identity *id)
{
    struct peer *p = &b->vl1.peers[b->vl1.peer_count++];

    assert_true(b->vl1.peer_count <= BENCH_PEERS);
    *p = (struct peer){.identity = *id, .last_receive_ms = b->now, .latency_ms = 5};
    return p;
}

void bench_forget_peer(struct bench *b, uint64_t address)
{
    struct peer *p = vl1_peer_find(&b->vl1, address, b->now);

    assert_non_null(p);
    *p = b->vl1.peers[--b->vl1.peer_count];
}

struct identity bench_crowd(uint64_t address)
{
    struct identity id = {.address = address};

    be64_put(id.pub, address);
    return id;
}

void bench_join(struct bench *b, uint64_t nwid)
{
    assert_int_equal(vl2_join(b->vl2, nwid, NULL, b->now), 0);
    bench_clear(b);
}

static struct rule *rules_of(const char *hex, uint16_t *ret_count)
{
    size_t len;
    uint8_t *bytes = hex_bytes(hex != NULL ? hex : "0100", &len);
    struct rd r = rd_init(bytes, len);
    int count = rules_count(r, RULES_BASE_MAX);
    struct rule *rules = calloc((size_t)count + 1, sizeof(*rules));

    assert_true(count >= 0);
    assert_int_equal(rules_read(&r, rules, (size_t)count), 0);
    free(bytes);
    *ret_count = (uint16_t)count;
    return rules;
}

char *bench_config(struct bench *b, const struct setup *s, size_t *ret_len)
{
    uint64_t ts = s->timestamp != 0 ? s->timestamp : BENCH_TIME;
    struct com com = bench_com(b, 'A', ts);
    struct tag *tags = calloc(s->tags + 1, sizeof(*tags));
    struct netconf conf = {
        .network_id = s->nwid != 0 ? s->nwid : BENCH_NWID,
        .timestamp = ts,
        .window = BENCH_WINDOW,
        .revision = s->revision,
        .member = s->member != 0 ? s->member : b->ids[0].address,
        .flags = s->flags,
        .multicast_limit = s->multicast_limit,
        .type = s->is_public ? NETCONF_TYPE_PUBLIC : NETCONF_TYPE_PRIVATE,
        .mtu = s->mtu != 0 ? s->mtu : NETCONF_MTU_DEFAULT,
        .specialist_count = (uint16_t)s->specialist_count,
        .specialists = (uint64_t *)(uintptr_t)s->specialists,
        .address_count = (uint16_t)s->address_count,
        .addresses = (struct inetaddr *)(uintptr_t)s->addresses,
        .tag_count = (uint16_t)s->tags,
        .tags = tags,
        .com = s->no_com ? NULL : &com,
    };
    size_t cap;
    char *text;

    for (size_t i = 0; i < s->tags; i++) {
        tags[i] = (struct tag){.network_id = conf.network_id,
                               .timestamp = ts,
                               .holder = conf.member,
                               .id = (uint32_t)i + 1,
                               .value = 7};
        tag_sign(&tags[i], bench_id(b, 'C'));
    }
    snprintf(conf.name, sizeof(conf.name), "%s", s->name != NULL ? s->name : "bench");
    conf.rules = rules_of(s->rules, &conf.rule_count);
    cap = netconf_encode_bound(&conf);
    text = malloc(cap);
    assert_non_null(text);
    assert_int_equal(netconf_encode(&conf, text, cap, ret_len), 0);
    free(conf.rules);
    free(tags);
    return text;
}

size_t bench_chunk(struct bench *b, uint64_t nwid, uint64_t update_id, const char *text, size_t len,
                   size_t at, size_t n, uint8_t flags, uint8_t *out, size_t cap)
{
    const struct config_chunk chunk = {
        .network_id = nwid,
        .update_id = update_id,
        .data = (const uint8_t *)text + at,
        .data_len = (uint16_t)n,
        .total = (uint32_t)len,
        .index = (uint32_t)at,
        .flags = flags,
    };
    struct wr w = wr_init(out, cap);

    config_chunk_write(&w, &chunk, bench_id(b, 'C'));
    assert_false(w.bad);
    return wr_len(&w);
}

struct network *bench_configure(struct bench *b, const struct setup *s)
{
    uint64_t nwid = s->nwid != 0 ? s->nwid : BENCH_NWID;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    uint64_t update = 0xc000 + b->next_update++;
    struct network *net;
    size_t total;
    char *text = bench_config(b, s, &total);

    if (vl2_find(b->vl2, nwid) == NULL) {
        bench_join(b, nwid);
    }
    for (size_t at = 0; at < total; at += CONFIG_CHUNK_DATA_MAX) {
        size_t n = total - at < CONFIG_CHUNK_DATA_MAX ? total - at : CONFIG_CHUNK_DATA_MAX;
        size_t len = bench_chunk(b, nwid, update, text, total, at, n, 0, packet, sizeof(packet));

        assert_int_equal(bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len), VL1_DONE);
    }
    free(text);
    net = vl2_find(b->vl2, nwid);
    assert_true(net->has_conf);
    bench_clear(b);
    return net;
}

struct com bench_com_of(const struct bench *b, const struct identity *id, uint64_t timestamp)
{
    struct com com;

    com_make(&com, timestamp, BENCH_WINDOW, BENCH_NWID, id);
    com_sign(&com, bench_id(b, 'C'));
    return com;
}

struct com bench_com(const struct bench *b, char letter, uint64_t timestamp)
{
    return bench_com_of(b, bench_id(b, letter), timestamp);
}

void bench_member_id(struct bench *b, const struct identity *id)
{
    struct network *net = vl2_find(b->vl2, BENCH_NWID);
    struct com com = bench_com_of(b, id, net->conf.timestamp);
    struct member *m;

    assert_int_equal(credential_add_com(net, &com, id->address, b->now), ADD_NEW);
    m = member_find(net, id->address);
    m->last_announce_ms = b->now;
    m->last_push_ms = b->now;
    bench_clear(b);
}

void bench_member(struct bench *b, char letter)
{
    bench_member_id(b, bench_id(b, letter));
}

enum vl1_verdict bench_in_full(struct bench *b, const struct in_packet *in, const void *payload,
                               size_t len)
{
    uint8_t *copy = exact_copy(payload, len);
    struct in_packet packet = *in;
    enum vl1_verdict verdict;
    struct peer *peer = vl1_peer_find(&b->vl1, in->identity->address, b->now);

    if (peer != NULL) {
        peer->last_receive_ms = b->now;
    }
    packet.peer = peer;
    packet.source = in->identity->address;
    packet.payload = rd_init(copy, len);
    bench_in_engine++;
    verdict = vl2_packet(b->vl2, &packet, b->now);
    bench_in_engine--;
    free(copy);
    return verdict;
}

enum vl1_verdict bench_in(struct bench *b, const struct identity *from, enum verb verb,
                          const void *payload, size_t len)
{
    const struct in_packet in = {.identity = from, .id = 0x0102030405060708, .verb = verb};

    return bench_in_full(b, &in, payload, len);
}

enum vl1_verdict bench_in_ok(struct bench *b, const struct identity *from, enum verb re,
                             const void *payload, size_t len)
{
    const struct in_packet in = {.identity = from, .id = 1, .verb = VERB_OK, .re_verb = re};

    return bench_in_full(b, &in, payload, len);
}

enum vl1_verdict bench_in_error(struct bench *b, const struct identity *from, enum verb re,
                                enum error_code code, const void *payload, size_t len)
{
    const struct in_packet in = {
        .identity = from, .id = 1, .verb = VERB_ERROR, .re_verb = re, .error = (uint8_t)code};

    return bench_in_full(b, &in, payload, len);
}

enum vl1_verdict bench_in_credentials(struct bench *b, const struct identity *from,
                                      const struct credentials_set *set)
{
    uint8_t packet[PACKET_PAYLOAD_MAX];
    struct wr w = wr_init(packet, sizeof(packet));

    assert_int_equal(credentials_write(&w, set, 0), credentials_count(set));
    return bench_in(b, from, VERB_NETWORK_CREDENTIALS, packet, wr_len(&w));
}

void bench_run(struct bench *b, int64_t ms)
{
    int64_t end = b->now + ms;

    for (;;) {
        int64_t next = timers_next(&b->vl1.timers);

        if (next == TIMERS_NEVER || next > end) {
            break;
        }
        b->now = next > b->now ? next : b->now;
        bench_in_engine++;
        timers_run(&b->vl1.timers, b->now);
        bench_in_engine--;
    }
    b->now = end;
}

void bench_clear(struct bench *b)
{
    for (size_t i = 0; i < b->vl1.sent_count; i++) {
        free(b->vl1.sent[i].payload);
    }
    for (size_t i = 0; i < b->vl1.frame_count; i++) {
        free(b->vl1.frames[i].payload);
    }
    b->vl1.sent_count = 0;
    b->vl1.frame_count = 0;
}

const struct sent_packet *bench_sent(const struct bench *b, uint64_t dest, enum verb verb, size_t i)
{
    for (size_t k = 0; k < b->vl1.sent_count; k++) {
        const struct sent_packet *p = &b->vl1.sent[k];

        if ((dest == 0 || p->dest == dest) && p->verb == verb && i-- == 0) {
            return p;
        }
    }
    return NULL;
}

size_t bench_count(const struct bench *b, uint64_t dest, enum verb verb)
{
    size_t count = 0;

    while (bench_sent(b, dest, verb, count) != NULL) {
        count++;
    }
    return count;
}

uint64_t bench_counter(const struct bench *b, const char *name)
{
    const char *found;
    uint64_t value;

    for (size_t i = 0;; i++) {
        value = vl2_counter(b->vl2, i, &found);
        assert_non_null(found);
        if (strcmp(found, name) == 0) {
            return value;
        }
    }
}

enum verb bench_verb(const char *name)
{
    static const struct {
        const char *name;
        enum verb verb;
    } verbs[] = {
        {"FRAME", VERB_FRAME},
        {"EXT_FRAME", VERB_EXT_FRAME},
        {"MULTICAST_FRAME", VERB_MULTICAST_FRAME},
        {"MULTICAST_LIKE", VERB_MULTICAST_LIKE},
        {"MULTICAST_GATHER", VERB_MULTICAST_GATHER},
        {"NETWORK_CREDENTIALS", VERB_NETWORK_CREDENTIALS},
        {"OK", VERB_OK},
        {"NETWORK_CONFIG", VERB_NETWORK_CONFIG},
        {"NETWORK_CONFIG_REQUEST", VERB_NETWORK_CONFIG_REQUEST},
        {"ERROR", VERB_ERROR},
    };

    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return verbs[i].verb;
        }
    }
    fail_msg("verb %s", name);
    return VERB_NOP;
}

bool bench_same_hex(const uint8_t *data, size_t len, const char *hex)
{
    size_t want;
    uint8_t *bytes = hex_bytes(hex, &want);
    bool same = want == len && memcmp(bytes, data, len) == 0;

    free(bytes);
    return same;
}
