/* Test bench of vl1. */
#include "bench.h"

#include "base/hex.h"
#include "wire/identity.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- vectors ---- */

json_t *vl1_vectors(void)
{
    static json_t *root; /* of the test program, not of the engine */

    if (root == NULL) {
        root = vectors_load("vl1.json");
    }
    return root;
}

json_t *vl1_named(const char *section, const char *name)
{
    json_t *list = vec_get(vl1_vectors(), section);
    json_t *it;
    size_t i;

    json_array_foreach(list, i, it)
    {
        if (strcmp(vec_text(it, "name"), name) == 0) {
            return it;
        }
    }
    fail_msg("no %s in %s", name, section);
    return NULL;
}

struct identity vl1_identity_of(const char *name)
{
    const char *text = vec_text(vl1_named("identities", name), "secret");
    struct identity id;

    assert_int_equal(identity_parse(text, strlen(text), &id), 0);
    return id;
}

struct inetaddr addr(const char *text)
{
    struct inetaddr a;

    if (inetaddr_parse(text, strlen(text), &a) < 0) {
        fail_msg("bad address %s", text);
    }
    return a;
}

struct world *world_from_hex(const char *hex)
{
    size_t len;
    uint8_t *bytes = hex_bytes(hex, &len);
    struct world *world = calloc(1, sizeof(*world));
    struct rd in = rd_init(bytes, len);

    assert_non_null(world);
    assert_int_equal(world_read(&in, world), 0);
    free(bytes);
    return world;
}

struct world *world_named(const char *name)
{
    return world_from_hex(vec_text(vl1_named("worlds", name), "serialized"));
}

struct identity identity_made_up(uint64_t address)
{
    struct identity id = {.address = address, .has_private = true};

    for (size_t i = 0; i < sizeof(id.priv); i++) {
        id.priv[i] = (uint8_t)(hash_mix(address, i + 1));
    }
    assert_int_equal(crypto_scalarmult_base(id.pub, id.priv), 0);
    memset(id.pub + 32, (int)(address & 0xff), 32);
    return id;
}

struct peer *host_know(struct host *h, const struct identity *id, uint8_t protocol)
{
    struct peer *peer = peer_new(h->vl1, id, h->now_ms);

    assert_non_null(peer);
    peer->version = (struct node_version){.protocol = protocol, .major = 1, .minor = 14};
    return peer;
}

static bool is_vector_identity(const struct identity *id)
{
    json_t *it;
    size_t i;

    json_array_foreach(vec_get(vl1_vectors(), "identities"), i, it)
    {
        struct identity known = vl1_identity_of(vec_text(it, "name"));

        if (identity_equal(&known, id)) {
            return true;
        }
    }
    return false;
}

/* ---- environment ---- */

volatile int bench_in_engine;

static struct datagram *datagram_new(uint32_t socket, const struct inetaddr *to, const void *data,
                                     size_t len, unsigned ttl)
{
    struct datagram *d = malloc(sizeof(*d) + len);

    assert_non_null(d);
    *d = (struct datagram){.socket = socket, .to = *to, .ttl = ttl, .len = len};
    list_init(&d->link);
    memcpy(d->data, data, len);
    return d;
}

static const struct vl1_socket *socket_of(const struct host *h, uint32_t id)
{
    for (size_t i = 0; i < h->socket_count; i++) {
        if (h->sockets[i].id == id) {
            return &h->sockets[i];
        }
    }
    return NULL;
}

static bool is_cut(const struct net *net, const struct inetaddr *a, const struct inetaddr *b)
{
    for (size_t i = 0; i < net->cut_count; i++) {
        if ((inetaddr_ip_equal(&net->cut[i].a, a) && inetaddr_ip_equal(&net->cut[i].b, b)) ||
            (inetaddr_ip_equal(&net->cut[i].a, b) && inetaddr_ip_equal(&net->cut[i].b, a))) {
            return true;
        }
    }
    return false;
}

static int64_t distance(const struct net *net, const struct inetaddr *at)
{
    for (size_t i = 0; i < net->host_count; i++) {
        const struct host *h = net->hosts[i];

        for (size_t s = 0; s < h->socket_count; s++) {
            if (inetaddr_ip_equal(&h->sockets[s].local, at)) {
                return h->distance_ms;
            }
        }
    }
    return 0;
}

static void net_take(struct host *h, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned ttl)
{
    struct net *net = h->net;
    const struct vl1_socket *s = socket_of(h, socket);
    struct datagram *d;
    struct list *before;

    if (s == NULL || h->silent || is_cut(net, &s->local, to) ||
        test_rng_below(&net->rng, 100) < net->loss_percent) {
        return;
    }
    if (net->mtu != 0 && len > net->mtu && (!net->cuts || (ttl & SEND_WHOLE) != 0)) {
        return;
    }
    net->largest = len > net->largest ? len : net->largest;
    d = datagram_new(socket, to, data, len, ttl);
    d->from = s->local;
    d->at_ms = net->now_ms + net->latency_ms + h->distance_ms + distance(net, to);
    for (before = &net->flying; before->prev != &net->flying &&
                                CONTAINER_OF(before->prev, struct datagram, link)->at_ms > d->at_ms;
         before = before->prev) {
    }
    list_push(before, &d->link);
}

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned ttl)
{
    struct host *h = ctx;
    int in_engine = bench_in_engine;
    struct datagram *d;

    bench_in_engine = 0;
    d = datagram_new(socket, to, data, len, ttl);
    assert_in_range(len, 1, MTU_PHYSICAL_MAX);
    assert_true(to->family == INETADDR_V4 || to->family == INETADDR_V6);
    assert_int_not_equal(to->port, 0);
    d->at_ms = h->now_ms;
    list_push(&h->sent, &d->link);
    h->sent_count++;
    h->sent_bytes += len;
    if (h->net != NULL) {
        net_take(h, socket, to, data, len, ttl);
    }
    bench_in_engine = in_engine;
}

void host_emit(struct host *h, uint32_t socket, const struct inetaddr *to, const void *data,
               size_t len)
{
    env_send(h, socket, to, data, len, 0);
}

struct stored *host_stored(struct host *h, enum state_kind kind, uint64_t id)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&h->stored, it, tmp)
    {
        struct stored *s = CONTAINER_OF(it, struct stored, link);

        if (s->kind == kind && s->id == id) {
            return s;
        }
    }
    return NULL;
}

static ssize_t env_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    struct host *h = ctx;
    struct stored *s = host_stored(h, kind, id);

    h->loads += kind == STATE_PEER;
    if (s == NULL) {
        return -ENOENT;
    }
    if (s->len > cap) {
        return -EMSGSIZE;
    }
    memcpy(buf, s->data, s->len);
    return (ssize_t)s->len;
}

static void env_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    struct stored *s = host_stored(ctx, kind, id);

    if (s != NULL) {
        list_remove(&s->link);
        free(s);
    }
}

static void env_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct host *h = ctx;
    int in_engine = bench_in_engine;
    struct stored *s;

    bench_in_engine = 0;
    s = malloc(sizeof(*s) + len);
    bench_in_engine = in_engine;
    assert_non_null(s);
    env_erase(ctx, kind, id);
    *s = (struct stored){.kind = kind, .id = id, .len = len};
    memcpy(s->data, data, len);
    list_init(&s->link);
    list_push(&h->stored, &s->link);
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct host *h = ctx;

    test_rng_fill(&h->rng, out, len);
}

static void env_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    struct host *h = ctx;
    struct seen_event *e = &h->events[h->event_count];

    if (h->event_count < EVENTS_MAX) {
        *e = (struct seen_event){.kind = kind, .id = id, .len = len};
        memcpy(e->data, data != NULL ? data : "", len < sizeof(e->data) ? len : sizeof(e->data));
        h->event_count++;
    }
}

static void env_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    if (getenv("TEST_LOG") != NULL) {
        printf("log %d: %s\n", level, text);
    }
}

static int env_job(void *ctx, struct engine_job *job)
{
    struct host *h = ctx;

    if (h->job_mode == JOBS_REFUSE || h->job_count == COUNT_OF(h->jobs)) {
        return -EAGAIN;
    }
    h->jobs[h->job_count++] = job;
    return 0;
}

/* ---- the layer above ---- */

static enum vl1_verdict up_packet(void *ctx, const struct in_packet *in, int64_t now_ms)
{
    struct host *h = ctx;
    struct seen_packet *p = &h->packets[h->packet_count];

    assert_int_equal(now_ms, h->now_ms);
    if (h->packet_count < EVENTS_MAX) {
        *p = (struct seen_packet){
            .verb = in->verb,
            .source = in->source,
            .id = in->id,
            .error = in->error,
            .re_verb = in->re_verb,
            .hops = in->hops,
            .retry = in->retry,
            .len = rd_left(&in->payload),
        };
        memcpy(p->data, in->payload.p, p->len < sizeof(p->data) ? p->len : sizeof(p->data));
        h->packet_count++;
    }
    if (h->worker != NULL && in->verb == VERB_FRAME && h->verdict == VL1_TRUST) {
        worker_member(h, in->source);
    }
    return h->verdict;
}

static bool up_overlay(void *ctx, const struct inetaddr *ip)
{
    struct host *h = ctx;

    return h->overlay.family != INETADDR_NIL && inetaddr_in_net(ip, &h->overlay);
}

static void up_online(void *ctx, int64_t now_ms)
{
    struct host *h = ctx;

    assert_int_equal(now_ms, h->now_ms);
    h->online_calls++;
}

static void up_known(void *ctx, uint64_t address, int64_t now_ms)
{
    struct host *h = ctx;

    assert_non_null(peer_in_memory(h->vl1, address));
    assert_int_equal(now_ms, h->now_ms);
    h->known_calls++;
}

/* ---- hosts ---- */

struct host *host_new_identity(const struct identity *id)
{
    struct host *h = calloc(1, sizeof(*h));
    struct engine_env env = {
        .send = env_send,
        .state_load = env_load,
        .state_store = env_store,
        .state_erase = env_erase,
        .random = env_random,
        .event = env_event,
        .log = env_log,
        .job = env_job,
        .ctx = h,
        .log_level = LOG_LEVEL_TRACE,
    };
    static const char *const local = "10.0.0.1/9993";

    assert_non_null(h);
    h->identity = *id;
    h->now_ms = NOW;
    h->verdict = VL1_DONE;
    h->rng = (struct test_rng){id->address};
    list_init(&h->sent);
    list_init(&h->stored);
    h->vl1 = vl1_new(&env, id,
                     &(struct vl1_options){.wall_offset_ms = 1700000000000 - NOW,
                                           .no_default_planet = true,
                                           .version = {1, 2, 3}},
                     NOW);
    assert_non_null(h->vl1);
    vl1_set_upper(h->vl1, &(struct vl1_upper){.ctx = h,
                                              .packet = up_packet,
                                              .is_overlay_ip = up_overlay,
                                              .online = up_online,
                                              .identity_known = up_known});
    host_sockets(h, &local, 1);
    return h;
}

struct host *host_new(const char *name)
{
    struct identity id = vl1_identity_of(name);

    return host_new_identity(&id);
}

void host_options(struct host *h, const struct vl1_options *options)
{
    h->vl1->options = *options;
    if (options->protocol == 0) {
        h->vl1->options.protocol = PROTOCOL_VERSION;
    }
}

void host_sockets(struct host *h, const char *const *locals, size_t count)
{
    assert_true(count <= COUNT_OF(h->sockets));
    h->socket_count = count;
    for (size_t i = 0; i < count; i++) {
        h->sockets[i] = (struct vl1_socket){.id = (uint32_t)(SOCK + i), .local = addr(locals[i])};
    }
    vl1_enter(h->vl1);
    assert_int_equal(vl1_set_sockets(h->vl1, h->sockets, count, h->now_ms), 0);
    vl1_leave(h->vl1, h->now_ms);
}

void host_store(struct host *h, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    env_store(h, kind, id, data, len);
}

void host_store_world(struct host *h, const char *name)
{
    size_t len;
    uint8_t *bytes = vec_bytes(vl1_named("worlds", name), "serialized", &len);

    if (bytes[0] == WORLD_PLANET) {
        env_store(h, STATE_PLANET, 0, bytes, len);
    } else {
        env_store(h, STATE_MOON, be64_get(bytes + 1), bytes, len);
    }
    free(bytes);
}

void host_start(struct host *h)
{
    vl1_enter(h->vl1);
    assert_int_equal(vl1_start(h->vl1, h->now_ms), 0);
    vl1_leave(h->vl1, h->now_ms);
}

struct host *host_up(const char *name, const char *planet)
{
    struct host *h = host_new(name);

    if (planet != NULL) {
        host_store_world(h, planet);
    }
    host_start(h);
    return h;
}

void host_forget(struct host *h)
{
    struct list *link;

    while ((link = list_first(&h->sent)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct datagram, link));
    }
    h->sent_count = h->sent_bytes = h->event_count = h->packet_count = 0;
    h->online_calls = h->known_calls = h->loads = 0;
}

void host_free(struct host *h)
{
    struct list *link;

    host_workers_done(h);
    vl1_free(h->vl1, h->now_ms);
    host_forget(h);
    while ((link = list_first(&h->stored)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct stored, link));
    }
    free(h);
}

static void run_job(struct host *h, struct engine_job *job)
{
    struct validate_job *vj = CONTAINER_OF(job, struct validate_job, job);

    if (h->job_mode == JOBS_RUN) {
        job->run(job);
    } else {
        vj->result = h->trust_all || is_vector_identity(&vj->identity) ? 0 : -EACCES;
        job->done = true;
    }
    bench_in_engine++;
    vl1_job_done(h->vl1, job, h->now_ms);
    bench_in_engine--;
}

void host_jobs(struct host *h)
{
    while (h->job_count > 0) {
        struct engine_job *job = h->jobs[0];

        h->job_count--;
        memmove(h->jobs, h->jobs + 1, h->job_count * sizeof(h->jobs[0]));
        run_job(h, job);
    }
}

static void settle_jobs(struct host *h)
{
    if (h->job_mode != JOBS_HOLD) {
        host_jobs(h);
    }
}

void host_receive_addr(struct host *h, uint32_t socket, const struct inetaddr *from,
                       const void *data, size_t len)
{
    uint8_t *copy = exact_copy(data, len); /* a heap block: reading past the end is found */

    bench_in_engine++;
    vl1_receive(h->vl1, socket, from, copy, len, h->now_ms);
    bench_in_engine--;
    free(copy);
    settle_jobs(h);
}

void host_receive(struct host *h, uint32_t socket, const char *from, const void *data, size_t len)
{
    struct inetaddr a = addr(from);

    host_receive_addr(h, socket, &a, data, len);
}

static void tick(struct host *h)
{
    bench_in_engine++;
    vl1_enter(h->vl1);
    timers_run(vl1_timers(h->vl1), h->now_ms);
    vl1_leave(h->vl1, h->now_ms);
    bench_in_engine--;
    h->wakeups++;
    settle_jobs(h);
}

void host_run(struct host *h, int64_t ms)
{
    int64_t end = h->now_ms + ms;
    int64_t next;

    while ((next = timers_next(vl1_timers(h->vl1))) != TIMERS_NEVER && next <= end) {
        h->now_ms = next > h->now_ms ? next : h->now_ms;
        tick(h);
    }
    h->now_ms = end;
}

struct datagram *host_sent(struct host *h, size_t index)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&h->sent, it, tmp)
    {
        if (index-- == 0) {
            return CONTAINER_OF(it, struct datagram, link);
        }
    }
    fail_msg("fewer datagrams were sent");
    return NULL;
}

unsigned host_events(const struct host *h, enum event_kind kind)
{
    unsigned count = 0;

    for (size_t i = 0; i < h->event_count; i++) {
        count += h->events[i].kind == kind;
    }
    return count;
}

struct peer *host_peer(struct host *h, uint64_t address)
{
    return peer_in_memory(h->vl1, address);
}

uint64_t host_count(struct host *h, enum vl1_counter counter)
{
    return vl1_counter_value(h->vl1, counter);
}

/* ---- actors ---- */

struct actor *actor_new_identity(const struct identity *id, const struct host *h)
{
    struct actor *a = calloc(1, sizeof(*a));
    uint8_t secret[SHARED_KEY_LEN];

    assert_non_null(a);
    a->identity = *id;
    a->next_id = id->address << 20;
    assert_int_equal(identity_agree(id, &h->identity, secret), 0);
    armor_keys_init(&a->keys, secret);
    return a;
}

struct actor *actor_new(const char *name, const struct host *h)
{
    struct identity id = vl1_identity_of(name);

    return actor_new_identity(&id, h);
}

void actor_free(struct actor *a)
{
    free(a);
}

size_t actor_seal(struct actor *a, const struct host *h, enum cipher_suite suite, enum verb verb,
                  const void *payload, size_t len, uint8_t pkt[PACKET_MAX], uint64_t *ret_id)
{
    assert_true(len <= PACKET_PAYLOAD_MAX);
    packet_start(pkt, hash_mix(a->next_id++, 1), h->identity.address, a->identity.address, verb);
    if (len > 0) {
        memcpy(pkt + PACKET_AT_PAYLOAD, payload, len);
    }
    armor_seal(pkt, PACKET_AT_PAYLOAD + len, suite, &a->keys);
    if (ret_id != NULL) {
        *ret_id = packet_id(pkt);
    }
    return PACKET_AT_PAYLOAD + len;
}

uint64_t actor_send_hops(struct actor *a, struct host *h, const char *from, enum cipher_suite suite,
                         enum verb verb, const void *payload, size_t len, unsigned hops)
{
    uint8_t pkt[PACKET_MAX];
    uint64_t id;
    size_t n = actor_seal(a, h, suite, verb, payload, len, pkt, &id);

    for (unsigned i = 0; i < hops; i++) {
        packet_add_hop(pkt);
    }
    host_receive(h, addr(from).family == INETADDR_V6 ? SOCK_V6 : SOCK, from, pkt, n);
    return id;
}

uint64_t actor_send(struct actor *a, struct host *h, const char *from, enum cipher_suite suite,
                    enum verb verb, const void *payload, size_t len)
{
    return actor_send_hops(a, h, from, suite, verb, payload, len, 0);
}

size_t actor_hello(struct actor *a, const struct host *h, uint8_t protocol, const char *to,
                   const struct hello_moon *moons, size_t moon_count, uint8_t pkt[PACKET_MAX])
{
    struct hello hello = {
        .version = {.protocol = protocol, .major = 1, .minor = 14, .revision = 1},
        .timestamp = (uint64_t)vl1_wall(h->vl1, h->now_ms),
        .identity = a->identity,
        .has_address = true,
        .address = addr(to),
        .has_planet = true,
        .planet_id = 0xc0ffee01,
        .planet_timestamp = 1700000000000,
        .has_tail = true,
    };
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, PACKET_PAYLOAD_MAX);
    size_t tail;
    size_t len;

    packet_start(pkt, hash_mix(a->next_id++, 1), h->identity.address, a->identity.address,
                 VERB_HELLO);
    tail = hello_encode(&w, &hello, moons, moon_count);
    assert_false(w.bad);
    len = PACKET_AT_PAYLOAD + wr_len(&w);
    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail, &a->keys);
    armor_seal(pkt, len, SUITE_POLY1305, &a->keys);
    return len;
}

static void ok_hello_to(struct actor *a, struct host *h, const struct opened_packet *p,
                        const char *at, uint8_t protocol)
{
    uint8_t body[128];
    struct wr w = wr_init(body, sizeof(body));
    struct rd in = rd_init(p->data, p->len);
    struct hello hello;
    uint8_t pkt[PACKET_MAX];
    struct inetaddr from = addr(at);
    size_t n;

    assert_int_equal(hello_decode(in, &hello), 0);
    ok_head_write(&w, &(struct reply_head){VERB_HELLO, p->id});
    ok_hello_encode(&w, &(struct ok_hello){.timestamp = hello.timestamp,
                                           .version = {protocol, 1, 14, 1},
                                           .has_address = true,
                                           .address = socket_of(h, p->socket)->local,
                                           .has_worlds = true});
    n = actor_seal(a, h, protocol >= 12 ? SUITE_AES_GMAC_SIV : SUITE_SALSA_POLY1305, VERB_OK, body,
                   wr_len(&w), pkt, NULL);
    host_receive_addr(h, p->socket, &from, pkt, n);
}

static void ok_echo_to(struct actor *a, struct host *h, const struct opened_packet *p,
                       const char *at, uint8_t protocol)
{
    uint8_t body[PACKET_MAX];
    struct wr w = wr_init(body, sizeof(body));
    uint8_t pkt[PACKET_MAX];
    struct inetaddr from = addr(at);
    size_t n;

    ok_head_write(&w, &(struct reply_head){VERB_ECHO, p->id});
    wr_bytes(&w, p->data, p->len);
    n = actor_seal(a, h, protocol >= 12 ? SUITE_AES_GMAC_SIV : SUITE_SALSA_POLY1305, VERB_OK, body,
                   wr_len(&w), pkt, NULL);
    host_receive_addr(h, p->socket, &from, pkt, n);
}

unsigned actor_answer(struct actor *a, struct host *h, const char *at, size_t since,
                      uint8_t protocol)
{
    return actor_answer_range(a, h, at, since, h->sent_count, protocol);
}

unsigned actor_answer_range(struct actor *a, struct host *h, const char *at, size_t since,
                            size_t end, uint8_t protocol)
{
    struct inetaddr here = addr(at);
    unsigned count = 0;

    while (since < end) {
        struct opened_packet *p = actor_find(a, h, -1, since);

        if (p == NULL || p->index >= end) {
            free(p);
            break;
        }
        since = p->index + 1;
        if (inetaddr_equal(&p->to, &here) && p->verb == VERB_HELLO) {
            ok_hello_to(a, h, p, at, protocol);
            count++;
        } else if (inetaddr_equal(&p->to, &here) && p->verb == VERB_ECHO) {
            ok_echo_to(a, h, p, at, protocol);
            count++;
        }
        free(p);
    }
    return count;
}

void actor_meet(struct actor *a, struct host *h, const char *from, uint8_t protocol)
{
    uint8_t pkt[PACKET_MAX];
    size_t since = h->sent_count;
    size_t len = actor_hello(a, h, protocol, "10.0.0.1/9993", NULL, 0, pkt);
    struct inetaddr at = addr(from);
    struct peer *peer;

    host_receive(h, at.family == INETADDR_V6 ? SOCK_V6 : SOCK, from, pkt, len);
    assert_true(actor_answer(a, h, from, since, protocol) >= 1);
    peer = host_peer(h, a->identity.address);
    assert_non_null(peer);
    assert_non_null(path_find(peer, at.family == INETADDR_V6 ? SOCK_V6 : SOCK, &at));
}

void actor_run(struct actor *a, struct host *h, const char *at, int64_t ms, uint8_t protocol)
{
    int64_t end = h->now_ms + ms;
    size_t seen = h->sent_count;

    while (h->now_ms < end) {
        size_t since = seen;

        host_run(h, end - h->now_ms < 50 ? end - h->now_ms : 50);
        seen = h->sent_count;
        (void)actor_answer(a, h, at, since, protocol);
    }
}

/* Join the datagrams of the packet that begins at d. Returns its length. */
static size_t join_sent(struct host *h, const struct datagram *d, uint8_t pkt[PACKET_MAX],
                        unsigned *ret_datagrams)
{
    size_t len = d->len;
    unsigned number = 1;
    const struct list *it;

    memcpy(pkt, d->data, d->len);
    for (it = d->link.next; packet_is_fragmented(d->data) && it != &h->sent; it = it->next) {
        const struct datagram *f = CONTAINER_OF(it, struct datagram, link);

        if (datagram_classify(f->data, f->len) == DATAGRAM_FRAGMENT &&
            memcmp(f->data, d->data, 8) == 0 && (f->data[FRAGMENT_AT_NUMBERS] & 15) == number) {
            memcpy(pkt + len, f->data + FRAGMENT_AT_DATA, f->len - FRAGMENT_AT_DATA);
            len += f->len - FRAGMENT_AT_DATA;
            number++;
        }
    }
    *ret_datagrams = number;
    return len;
}

struct opened_packet *actor_find(struct actor *a, struct host *h, int verb, size_t since)
{
    uint8_t pkt[PACKET_MAX];
    uint8_t scratch[PACKET_MAX];
    struct list *it;
    struct list *tmp;
    size_t index = 0;

    LIST_EACH(&h->sent, it, tmp)
    {
        const struct datagram *d = CONTAINER_OF(it, struct datagram, link);
        struct opened_packet *p;
        unsigned datagrams;
        size_t len;
        int n;

        if (index++ < since || datagram_classify(d->data, d->len) != DATAGRAM_PACKET ||
            packet_dest(d->data) != a->identity.address ||
            packet_source(d->data) != h->identity.address) {
            continue;
        }
        len = join_sent(h, d, pkt, &datagrams);
        if (packet_suite(pkt) != SUITE_TRUSTED) {
            if (armor_open(pkt, len, &a->keys) < 0) {
                fail_msg("a packet of the host does not open");
            }
        }
        n = packet_decompress(pkt, len, scratch);
        assert_true(n >= PACKET_MIN);
        if (verb >= 0 && packet_verb(pkt) != (enum verb)verb) {
            continue;
        }
        p = calloc(1, sizeof(*p));
        assert_non_null(p);
        *p = (struct opened_packet){
            .found = true,
            .index = index - 1,
            .suite = packet_suite(pkt),
            .hops = packet_hops(pkt),
            .datagrams = datagrams,
            .verb = packet_verb(pkt),
            .id = packet_id(pkt),
            .dest = packet_dest(pkt),
            .source = packet_source(pkt),
            .socket = d->socket,
            .to = d->to,
            .len = (size_t)n - PACKET_AT_PAYLOAD,
        };
        memcpy(p->data, pkt + PACKET_AT_PAYLOAD, p->len);
        return p;
    }
    return NULL;
}

unsigned actor_count(struct actor *a, struct host *h, int verb, size_t since)
{
    unsigned count = 0;
    struct opened_packet *p;

    while ((p = actor_find(a, h, verb, since)) != NULL) {
        since = p->index + 1;
        count++;
        free(p);
    }
    return count;
}

/* ---- network in memory ---- */

struct net *net_new(int64_t latency_ms)
{
    struct net *net = calloc(1, sizeof(*net));

    assert_non_null(net);
    net->now_ms = NOW;
    net->latency_ms = latency_ms;
    net->rng = test_rng_init("net");
    list_init(&net->flying);
    return net;
}

void net_free(struct net *net)
{
    struct list *link;

    for (size_t i = 0; i < net->host_count; i++) {
        net->hosts[i]->net = NULL;
        host_free(net->hosts[i]);
    }
    while ((link = list_first(&net->flying)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct datagram, link));
    }
    free(net);
}

struct host *net_add(struct net *net, const char *name, const char *at, const char *planet)
{
    struct host *h = host_new(name);

    h->net = net;
    h->now_ms = net->now_ms;
    host_sockets(h, &at, 1);
    if (planet != NULL) {
        host_store_world(h, planet);
    }
    host_start(h);
    net->hosts[net->host_count++] = h;
    return h;
}

static void deliver(struct net *net, struct datagram *d)
{
    for (size_t i = 0; i < net->host_count; i++) {
        struct host *h = net->hosts[i];

        for (size_t s = 0; s < h->socket_count; s++) {
            if (inetaddr_equal(&h->sockets[s].local, &d->to) && (d->ttl == 0 || d->ttl > 2)) {
                h->now_ms = net->now_ms;
                (h->worker != NULL ? worker_receive : host_receive_addr)(h, h->sockets[s].id,
                                                                         &d->from, d->data, d->len);
            }
        }
    }
    free(d);
}

/* Earliest thing to happen, or INT64_MAX. */
static int64_t net_next(const struct net *net)
{
    const struct list *first = list_first(&net->flying);
    int64_t next = first != NULL ? CONTAINER_OF(first, struct datagram, link)->at_ms : INT64_MAX;

    for (size_t i = 0; i < net->host_count; i++) {
        int64_t t = timers_next(vl1_timers(net->hosts[i]->vl1));

        if (t != TIMERS_NEVER && t < next) {
            next = t;
        }
        if (net->hosts[i]->worker != NULL && net->hosts[i]->worker->harvest_ms < next) {
            next = net->hosts[i]->worker->harvest_ms;
        }
    }
    return next;
}

void net_run(struct net *net, int64_t ms)
{
    int64_t end = net->now_ms + ms;
    int64_t next;

    while ((next = net_next(net)) <= end) {
        struct list *first;

        net->now_ms = next > net->now_ms ? next : net->now_ms;
        while ((first = list_first(&net->flying)) != NULL &&
               CONTAINER_OF(first, struct datagram, link)->at_ms <= net->now_ms) {
            list_remove(first);
            deliver(net, CONTAINER_OF(first, struct datagram, link));
        }
        for (size_t i = 0; i < net->host_count; i++) {
            struct host *h = net->hosts[i];
            int64_t t = timers_next(vl1_timers(h->vl1));

            if (t != TIMERS_NEVER && t <= net->now_ms) {
                h->now_ms = net->now_ms;
                tick(h);
            }
            if (h->worker != NULL && h->worker->harvest_ms <= net->now_ms) {
                h->now_ms = net->now_ms;
                worker_harvest(h);
            }
        }
    }
    net->now_ms = end;
    for (size_t i = 0; i < net->host_count; i++) {
        net->hosts[i]->now_ms = end;
    }
}

void net_cut(struct net *net, const char *a, const char *b)
{
    assert_true(net->cut_count < COUNT_OF(net->cut));
    net->cut[net->cut_count].a = addr(a);
    net->cut[net->cut_count].b = addr(b);
    net->cut_count++;
}

void net_heal(struct net *net)
{
    net->cut_count = 0;
}
