/* Two whole nodes with workers before them: frames of an ad-hoc network through what both layers
 * published, gifts, harvests, leaving and the end. The host is as the daemon, but inline. Data path
 * contract sections 1, 2, 5 and 8 (1, 2, 5, 6). */
#include "base/list.h"
#include "datapath/dp.h"
#include "node/node.h"
#include "vectors.h"
#include "wire/frame.h"
#include "wire/identity.h"
#include "wire/mac.h"
#include "wire/peer_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NWID UINT64_C(0xff000100ff000000) /* IPv6, ports 1 to 255 */

enum {
    NOW = 5000000,
    SOCK = 7,
    WORKERS = 2,
    LATENCY_MS = 5,
    ETHERTYPE_IPV6 = 0x86dd,
    FRAME_LEN = ETHERNET_LEN + 48, /* IPv6 and UDP without data */
};

struct pair;

struct item {
    struct list link;
    int64_t at_ms;
    struct dp_gift gift; /* a datagram under way uses its data and len only */
    uint8_t data[];
};

struct end {
    struct pair *pair;
    struct end *other;
    struct identity identity;
    struct inetaddr at;
    struct node *node;
    struct published *pub;
    struct dp *dp[WORKERS];
    struct list gifts;
    struct list wire; /* on the way to us */
    int64_t harvest_ms;
    unsigned by_engine; /* frames to the device */
    unsigned by_worker;
    unsigned given_frames;
    unsigned sent_datagrams;
    struct test_rng rng;
};

struct pair {
    int64_t now_ms;
    struct end a, b;
};

static struct item *item_new(const struct dp_gift *gift)
{
    struct item *item = malloc(sizeof(*item) + gift->len);

    assert_non_null(item);
    item->gift = *gift;
    item->gift.data = item->data;
    memcpy(item->data, gift->data, gift->len);
    list_init(&item->link);
    return item;
}

/* ---- environment of the engine ---- */

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned ttl)
{
    struct end *e = ctx;
    struct item *item;

    (void)ttl;
    assert_int_equal(socket, SOCK);
    e->sent_datagrams++;
    if (inetaddr_equal(to, &e->other->at)) {
        item = item_new(&(struct dp_gift){.data = (uint8_t *)data, .len = len});
        item->at_ms = e->pair->now_ms + LATENCY_MS;
        list_push(&e->other->wire, &item->link);
    }
}

static void env_deliver(void *ctx, uint64_t nwid, uint64_t dest, uint64_t source,
                        uint16_t ethertype, const void *payload, size_t len)
{
    struct end *e = ctx;

    (void)dest;
    (void)source;
    (void)payload;
    assert_int_equal(nwid, NWID);
    e->by_engine += ethertype == ETHERTYPE_IPV6 && len == FRAME_LEN - ETHERNET_LEN;
}

static void env_port(void *ctx, uint64_t nwid, enum port_change change)
{
    (void)ctx;
    (void)nwid;
    (void)change;
}

/* Each knows the other from an earlier run. */
static ssize_t env_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    struct end *e = ctx;
    struct wr w = wr_init(buf, cap);
    struct peer_record record = {.identity = e->other->identity,
                                 .protocol = 12,
                                 .major = 1,
                                 .minor = 14,
                                 .path_count = 1,
                                 .paths = {e->other->at}};

    if (kind != STATE_PEER || id != e->other->identity.address) {
        return -ENOENT;
    }
    peer_record_encode(&w, &record);
    assert_false(w.bad);
    return (ssize_t)wr_len(&w);
}

static void env_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    (void)ctx;
    (void)kind;
    (void)id;
    (void)data;
    (void)len;
}

static void env_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    env_store(ctx, kind, id, NULL, 0);
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct end *e = ctx;

    test_rng_fill(&e->rng, out, len);
}

static void env_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    (void)ctx;
    (void)kind;
    (void)id;
    (void)data;
    (void)len;
}

static void env_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

static int env_job(void *ctx, struct engine_job *job)
{
    (void)ctx;
    (void)job;
    return -EAGAIN;
}

/* ---- environment of workers ---- */

static void dp_give_up(void *ctx, const struct dp_gift *gift)
{
    struct end *e = ctx;

    list_push(&e->gifts, &item_new(gift)->link);
    e->given_frames += gift->kind == DP_GIFT_FRAME;
}

static void dp_send_runs(void *ctx, const struct dp_run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < runs[i].len; at += runs[i].size) {
            size_t left = runs[i].len - at;

            env_send(ctx, runs[i].to.socket, &runs[i].to.remote, runs[i].data + at,
                     left < runs[i].size ? left : runs[i].size, 0);
        }
    }
}

static void dp_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    struct end *e = ctx;

    assert_int_equal(nwid, NWID);
    assert_int_equal(out->len, FRAME_LEN);
    e->by_worker += out->frames;
}

static unsigned dp_kinds(void *ctx, uint64_t nwid)
{
    (void)ctx;
    (void)nwid;
    return 0;
}

static void dp_wake(void *ctx)
{
    struct end *e = ctx;

    if (e->harvest_ms == INT64_MAX) {
        e->harvest_ms = e->pair->now_ms + DP_HARVEST_MS;
    }
}

/* ---- the host ---- */

/* No worker is in a turn: the engine takes what they gave, and what was withdrawn is released. */
static void between_turns(struct end *e)
{
    struct list *link;

    while ((link = list_first(&e->gifts)) != NULL) {
        struct item *item = CONTAINER_OF(link, struct item, link);

        list_remove(link);
        node_take(e->node, &item->gift, e->pair->now_ms);
        free(item);
    }
    node_reclaim(e->node, node_retired(e->node));
}

static void harvest(struct end *e)
{
    e->harvest_ms =
        node_harvest(e->node, e->pair->now_ms) ? e->pair->now_ms + DP_HARVEST_MS : INT64_MAX;
}

static void datagram_came(struct end *e, struct item *item)
{
    uint8_t *data = exact_copy(item->data, item->gift.len);
    const struct dp_message message = {.data = data,
                                       .len = item->gift.len,
                                       .cap = item->gift.len,
                                       .segment = item->gift.len,
                                       .from = e->other->at};
    struct dp *dp = e->dp[test_rng_below(&e->rng, WORKERS)];

    dp_receive(dp, SOCK, &message, 1, e->pair->now_ms);
    dp_flush(dp);
    between_turns(e);
    free(data);
}

static void run_end(struct end *e)
{
    struct list *link;
    int64_t at = node_deadline(e->node);

    if (at >= 0 && at <= e->pair->now_ms) {
        (void)node_tick(e->node, e->pair->now_ms);
    }
    while ((link = list_first(&e->wire)) != NULL &&
           CONTAINER_OF(link, struct item, link)->at_ms <= e->pair->now_ms) {
        list_remove(link);
        datagram_came(e, CONTAINER_OF(link, struct item, link));
        free(CONTAINER_OF(link, struct item, link));
    }
    if (e->harvest_ms <= e->pair->now_ms) {
        harvest(e);
    }
}

static void run(struct pair *p, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        p->now_ms++;
        run_end(&p->a);
        run_end(&p->b);
    }
}

/* A UDP datagram over IPv6 from the device. */
static void frame_from(struct end *e)
{
    uint8_t block[DP_HEADROOM + FRAME_LEN] = {0};
    uint8_t *frame = block + DP_HEADROOM;
    uint8_t *ip = frame + ETHERNET_LEN;
    struct dp *dp = e->dp[test_rng_below(&e->rng, WORKERS)];

    mac_put(frame, mac_of_member(NWID, e->other->identity.address));
    mac_put(frame + MAC_LEN, mac_of_member(NWID, e->identity.address));
    be16_put(frame + 2 * MAC_LEN, ETHERTYPE_IPV6);
    ip[0] = 0x60;
    ip[5] = 8;
    ip[6] = 17;
    ip[7] = 64;
    ip[41] = ip[43] = 99; /* ports */
    ip[45] = 8;
    dp_send(dp, NWID, &(struct vnet_header){0}, frame, FRAME_LEN, e->pair->now_ms);
    dp_flush(dp);
    between_turns(e);
}

/* Frames both ways every 10 ms. */
static void talk(struct pair *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        frame_from(&p->a);
        frame_from(&p->b);
        run(p, 10);
    }
    run(p, LATENCY_MS + 1);
}

static unsigned frames(const struct end *e)
{
    return e->by_engine + e->by_worker;
}

/* ---- life ---- */

static struct identity identity_of(json_t *root, const char *name)
{
    struct identity id = {0};
    json_t *it;
    size_t i;

    json_array_foreach(vec_get(root, "identities"), i, it)
    {
        if (strcmp(vec_text(it, "name"), name) == 0) {
            const char *text = vec_text(it, "secret");

            assert_int_equal(identity_parse(text, strlen(text), &id), 0);
        }
    }
    assert_int_not_equal(id.address, 0);
    return id;
}

static void end_init(struct pair *p, struct end *e, struct end *other, json_t *root,
                     const char *name, const char *at)
{
    e->pair = p;
    e->other = other;
    e->identity = identity_of(root, name);
    assert_int_equal(inetaddr_parse(at, strlen(at), &e->at), 0);
    list_init(&e->gifts);
    list_init(&e->wire);
    e->harvest_ms = INT64_MAX;
    e->rng = test_rng_init(name);
}

static void end_start(struct end *e)
{
    const struct engine_env env = {.send = env_send,
                                   .deliver = env_deliver,
                                   .port = env_port,
                                   .state_load = env_load,
                                   .state_store = env_store,
                                   .state_erase = env_erase,
                                   .random = env_random,
                                   .event = env_event,
                                   .log = env_log,
                                   .job = env_job,
                                   .ctx = e};
    const struct dp_env dp_env = {.give = dp_give_up,
                                  .send = dp_send_runs,
                                  .write = dp_write,
                                  .kinds = dp_kinds,
                                  .wake = dp_wake,
                                  .ctx = e};
    const struct node_options options = {.wall_offset_ms = INT64_C(1700000000000) - NOW,
                                         .no_default_planet = true,
                                         .version = {1, 2, 3}};
    const struct node_socket socket = {.id = SOCK, .local = e->at};

    e->node = node_new(&env, &e->identity, &options, NOW);
    assert_non_null(e->node);
    assert_int_equal(node_retired(e->node), 0);
    assert_false(node_harvest(e->node, NOW)); /* nothing is published */
    assert_int_equal(node_set_sockets(e->node, &socket, 1, NOW), 0);
    e->pub = node_publish(e->node, WORKERS);
    assert_non_null(e->pub);
    for (unsigned i = 0; i < WORKERS; i++) {
        e->dp[i] = dp_new(e->pub, i, &dp_env, i);
        assert_non_null(e->dp[i]);
    }
    assert_int_equal(node_join(e->node, NWID, NULL, NOW), 0);
    node_port_result(e->node, NWID, 0, NOW);
}

static int set_up(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));
    json_t *root = vectors_load("vl1.json");

    assert_non_null(p);
    p->now_ms = NOW;
    end_init(p, &p->a, &p->b, root, "alice", "10.0.0.1/9993");
    end_init(p, &p->b, &p->a, root, "bob", "10.0.0.2/9993");
    json_decref(root);
    end_start(&p->a);
    end_start(&p->b);
    node_recall(p->a.node, &p->b.identity.address, 1, NOW);
    node_recall(p->b.node, &p->a.identity.address, 1, NOW);
    run(p, 100);
    talk(p, 20);
    assert_int_equal(frames(&p->a), 20);
    assert_int_equal(frames(&p->b), 20);
    *state = p;
    return 0;
}

static void drop_items(struct list *list)
{
    struct list *link;

    while ((link = list_first(list)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct item, link));
    }
}

static void end_free(struct end *e)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        dp_free(e->dp[i]);
    }
    node_free(e->node, e->pair->now_ms); /* address sanitizer: nothing published is left */
    drop_items(&e->gifts);
    drop_items(&e->wire);
}

static int tear_down(void **state)
{
    struct pair *p = *state;

    end_free(&p->a);
    end_free(&p->b);
    free(p);
    return 0;
}

/* ---- tests ---- */

static const struct node_peer_info *only_peer(const struct pair *p, struct node_peer_info **peers)
{
    assert_int_equal(node_peers(p->a.node, p->now_ms, peers), 1);
    return *peers;
}

static uint64_t counter(const struct end *e, const char *want)
{
    const char *name = NULL;

    for (size_t i = 0;; i++) {
        uint64_t value = node_counter(e->node, i, &name);

        if (name == NULL) {
            fail_msg("no counter %s", want);
        } else if (strcmp(name, want) == 0) {
            return value;
        }
    }
}

/* Once both engines decided, workers handle everything; peers, networks and counters show it. */
static void test_workers_handle_what_was_decided(void **state)
{
    struct pair *p = *state;
    unsigned by_engine = p->a.by_engine;
    unsigned given = p->a.given_frames;
    struct node_network_info before;
    struct node_network_info after;
    struct node_peer_info *peers;
    uint64_t received;
    uint64_t datagrams;
    uint64_t tally;

    harvest(&p->a);
    assert_int_equal(node_network_get(p->a.node, NWID, &before), 0);
    received = only_peer(p, &peers)->packets[0];
    node_peers_free(peers, 1);
    datagrams = counter(&p->a, "tx_datagrams");
    assert_int_equal(datagrams, p->a.sent_datagrams);
    tally = node_tally(p->a.node, true)->verbs[VERB_FRAME];
    talk(p, 200);
    harvest(&p->a);
    assert_int_equal(frames(&p->a), 220);
    assert_int_equal(frames(&p->b), 220);
    assert_int_equal(p->a.by_engine, by_engine);
    assert_int_equal(p->a.given_frames, given);
    assert_true(only_peer(p, &peers)->packets[0] - received >= 200);
    assert_in_range(p->now_ms - peers->last_receive_ms, 0, 20);
    assert_int_equal(peers->path_count, 1);
    assert_in_range(p->now_ms - peers->paths[0].last_receive_ms, 0, 20);
    assert_in_range(p->now_ms - peers->paths[0].last_send_ms, 0, 20);
    node_peers_free(peers, 1);
    assert_int_equal(counter(&p->a, "tx_datagrams"), p->a.sent_datagrams);
    assert_int_equal(counter(&p->a, "drop_duplicate"), 0);
    assert_int_equal(node_tally(p->a.node, true)->verbs[VERB_FRAME] - tally, 200);
    assert_int_equal(node_network_get(p->a.node, NWID, &after), 0);
    assert_int_equal(after.frames.in[1] - before.frames.in[1], 200);
    assert_int_equal(after.frames.out[1] - before.frames.out[1], 200);
}

/* Each frame arrives once, also when the network is left and joined again under way. */
static void test_leave_and_join(void **state)
{
    struct pair *p = *state;
    unsigned had;

    frame_from(&p->a);
    assert_int_equal(node_leave(p->b.node, NWID, p->now_ms), 0);
    had = frames(&p->b);
    talk(p, 20);
    assert_int_equal(frames(&p->b), had); /* nothing after the leave, also of what was under way */
    assert_int_equal(node_join(p->b.node, NWID, NULL, p->now_ms), 0);
    node_port_result(p->b.node, NWID, 0, p->now_ms);
    talk(p, 20);
    assert_int_equal(frames(&p->b), had + 20);
    assert_true(p->b.by_worker > 0);
}

/* A blacklisted address is neither sent to nor listened to, at once. */
static void test_blacklist(void **state)
{
    struct pair *p = *state;
    struct node_physical black = {.blacklist = true};
    unsigned sent;

    assert_int_equal(inetaddr_parse("10.0.0.2/32", 11, &black.net), 0);
    assert_int_equal(node_set_policy(p->a.node, &black, 1, NULL, 0, p->now_ms), 0);
    sent = p->a.sent_datagrams;
    frame_from(&p->a);
    assert_int_equal(p->a.sent_datagrams, sent);
}

/* What a device or a ring may hand over broken. */
static void test_short_frames_are_nothing(void **state)
{
    struct pair *p = *state;
    uint8_t runt[ETHERNET_LEN] = {0};

    for (size_t len = 0; len < sizeof(runt); len++) {
        uint8_t *data = exact_copy(runt, len);

        node_take(p->a.node,
                  &(struct dp_gift){.kind = DP_GIFT_FRAME, .nwid = NWID, .data = data, .len = len},
                  p->now_ms);
        free(data);
    }
    talk(p, 1);
    assert_int_equal(frames(&p->b), 21);
}

/* Nobody says that workers are between turns: nothing is released, and in the end everything. */
static void test_end_with_objects_in_limbo(void **state)
{
    struct pair *p = *state;
    uint64_t number = node_retired(p->a.node);

    frame_from(&p->a); /* not harvested */
    assert_int_equal(node_leave(p->a.node, NWID, p->now_ms), 0);
    assert_true(node_retired(p->a.node) > number);
    assert_true(p->a.pub->limbo.count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_workers_handle_what_was_decided, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leave_and_join, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_blacklist, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_frames_are_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_with_objects_in_limbo, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
