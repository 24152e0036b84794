/* The data path allocates nothing and takes no lock once it is warm: everything of the kind is
 * counted by wrappers. D-35, invariant 8 of the data path contract; D-28. */
#include "base/cursor.h"
#include "datapath/dp.h"
#include "datapath/fragment.h"
#include "wire/frame.h"
#include "wire/mac.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NWID UINT64_C(0x8056c2e21c000001)

enum { SELF = 0x11aabbccdd, PEER = 0x2200000001, BATCH = 64, MTU = 2800 };

/* ---- what is not to be called ---- */

static unsigned long calls;

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
void __real_free(void *p);
int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __real_pthread_mutex_unlock(pthread_mutex_t *m);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *l);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
void __wrap_free(void *p);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l);

void *__wrap_malloc(size_t len)
{
    calls++;
    return __real_malloc(len);
}

void *__wrap_calloc(size_t count, size_t len)
{
    calls++;
    return __real_calloc(count, len);
}

void *__wrap_realloc(void *p, size_t len)
{
    calls++;
    return __real_realloc(p, len);
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
    calls++;
    return __real_aligned_alloc(align, len);
}

void __wrap_free(void *p)
{
    calls++;
    __real_free(p);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    calls++;
    return __real_pthread_mutex_lock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    calls++;
    return __real_pthread_mutex_unlock(m);
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    calls++;
    return __real_pthread_rwlock_rdlock(l);
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    calls++;
    return __real_pthread_rwlock_wrlock(l);
}

/* ---- a host that only counts ---- */

static struct published *pub;
static struct dp *dp;
static struct armor_keys keys;
static struct replay *filter;
static struct packet_id_source ids;
static const struct inetaddr peer_at = {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 9993};
static unsigned long given;
static unsigned long sent;
static unsigned long written;

static void on_give(void *ctx, const struct dp_gift *gift)
{
    (void)ctx;
    given += gift->len > 0;
}

static void on_send(void *ctx, const struct dp_run *runs, size_t count)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++) {
        sent += (runs[i].len + runs[i].size - 1) / runs[i].size;
    }
}

static void on_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    (void)ctx;
    (void)nwid;
    written += out->frames;
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

static void publish_all(void)
{
    static const struct rule accept = {.type = RULE_ACCEPT};
    static const struct filter_credentials nothing;
    const struct filter_network net = {
        .network_id = NWID, .self = SELF, .rules = &accept, .rule_count = 1};
    struct dp_session *s = dp_session_new(pub, PEER);
    struct dp_port *port = dp_port_new(pub, NWID);
    struct dp_member *m;

    assert_true(s != NULL && port != NULL);
    s->can_send = true;
    s->suite = SUITE_AES_GMAC_SIV;
    s->mtu = 1432;
    s->paths[0] = s->out = (struct dp_path){.remote = peer_at, .socket = 1};
    s->path_count = 1;
    s->keys = &keys;
    s->replay = filter;
    dp_session_publish(s);
    port->mac = mac_of_member(NWID, SELF);
    port->mtu = MTU;
    port->filter = filter_network_copy(&net);
    port->traits = filter_classify(&accept, 1);
    dp_port_publish(port);
    m = dp_member_new(pub, port, PEER);
    assert_non_null(m);
    atomic_store(&m->access, DP_ACCESS_IN | DP_ACCESS_OUT);
    m->creds = filter_credentials_copy(&nothing);
    m->traits = port->traits;
    dp_member_publish(port, m);
}

static int set_up(void **state)
{
    static const struct dp_env env = {
        .give = on_give, .send = on_send, .write = on_write, .kinds = on_kinds, .wake = on_wake};
    const uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};

    (void)state;
    armor_keys_init(&keys, secret);
    packet_id_set_key(&ids, (const uint32_t[4]){1, 2, 3, 4});
    filter = replay_new(REPLAY_SETS_LARGE, 7, NULL, 1000);
    pub = published_new(SELF, 1, &ids, 7, on_visit, NULL);
    dp = pub != NULL ? dp_new(pub, 0, &env, 7) : NULL;
    assert_true(filter != NULL && dp != NULL);
    publish_all();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dp_free(dp);
    published_free(pub);
    free(filter);
    return 0;
}

/* ---- traffic ---- */

static uint8_t memory[BATCH][2 * 1500];

/* Sealed packets of the peer, each in a message of its own, or (cut) in two, of which the second
 * comes first, all first parts before all heads. Returns the number of messages. */
static size_t make_batch(struct dp_message *messages, size_t packets, bool is_cut)
{
    static uint8_t payload[1200];
    size_t n = 0;

    for (size_t i = 0; i < packets; i++) {
        uint8_t *pkt = memory[i];
        struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, 1400);
        size_t len;

        packet_start(pkt, packet_id_next(&ids), SELF, PEER, VERB_FRAME);
        frame_write(&w, &(struct frame){.network_id = NWID,
                                        .payload = payload,
                                        .len = sizeof(payload),
                                        .ethertype = 0x88b5});
        len = PACKET_AT_PAYLOAD + wr_len(&w);
        packet_set_fragmented(pkt, is_cut);
        armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &keys);
        messages[n] = (struct dp_message){
            .data = pkt, .len = len, .cap = len, .segment = len, .from = peer_at};
        if (is_cut) {
            uint8_t *part = pkt + 1500;
            size_t at = 600;

            memcpy(part, pkt, FRAGMENT_AT_INDICATOR);
            part[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
            part[FRAGMENT_AT_NUMBERS] = 0x21;
            part[FRAGMENT_AT_HOPS] = 0;
            memcpy(part + FRAGMENT_AT_DATA, pkt + at, len - at);
            messages[n].len = messages[n].cap = messages[n].segment = at;
            messages[packets + n] = (struct dp_message){.data = part,
                                                        .len = FRAGMENT_AT_DATA + len - at,
                                                        .cap = FRAGMENT_AT_DATA + len - at,
                                                        .segment = FRAGMENT_AT_DATA + len - at,
                                                        .from = peer_at};
        }
        n++;
    }
    return is_cut ? 2 * packets : packets;
}

static void test_receiving(void **state)
{
    struct dp_message messages[DP_MESSAGES_MAX];
    unsigned long before = calls;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        size_t n = make_batch(messages, BATCH, false);

        dp_receive(dp, 1, messages, n, 1000 + i);
        dp_receive(dp, 1, messages, n, 1000 + i); /* not authentic any more: opened in place */
        dp_flush(dp);
        (void)dp_expire(dp, 1000 + i);
    }
    assert_int_equal(calls, before);
    assert_int_equal(written, 200 * BATCH);
    written = 0;
}

/* Through the table of fragments: after the first batches nothing is allocated, whether few or many
 * packets are incomplete. */
static void test_receiving_parts(void **state)
{
    static struct dp_message messages[DP_MESSAGES_MAX];
    unsigned long before = 0;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        size_t packets = i < 2 ? BATCH / 2 : 1 + i % (BATCH / 2);
        size_t n = make_batch(messages, packets, true);

        if (i == 2) {
            before = calls;
        }
        dp_receive(dp, 1, messages, n, 2000 + i);
        dp_flush(dp);
        (void)dp_expire(dp, 2000 + i);
    }
    assert_int_equal(calls, before);
    assert_true(written > 1000);
    written = 0;
}

static void test_sending(void **state)
{
    static uint8_t buffer[DP_HEADROOM + 70000];
    uint8_t *frame = buffer + DP_HEADROOM;
    const struct vnet_header none = {0};
    unsigned long before = calls;

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        size_t len = ETHERNET_LEN + 1 + i % MTU;

        mac_put(frame, i % 10 == 0 ? MAC_BROADCAST : mac_of_member(NWID, PEER));
        mac_put(frame + MAC_LEN, mac_of_member(NWID, SELF));
        be16_put(frame + 12, 0x88b5);
        dp_send(dp, NWID, &none, frame, len, 3000 + i);
        if (i % 32 == 0) {
            dp_flush(dp);
        }
    }
    dp_flush(dp);
    assert_int_equal(calls, before);
    assert_int_equal(given, 200);
    assert_true(sent >= 1800);
}

/* The counters count. */
static void test_wrappers_see_calls(void **state)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    unsigned long before = calls;
    void *volatile p = malloc(1);

    (void)state;
    free(p);
    (void)pthread_mutex_lock(&mutex);
    (void)pthread_mutex_unlock(&mutex);
    assert_int_equal(calls, before + 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrappers_see_calls),
        cmocka_unit_test_setup_teardown(test_receiving, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_receiving_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sending, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
