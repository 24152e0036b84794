/* Out of memory at any single allocation: the input fails or is dropped, nothing breaks, nothing
 * leaks (style, "Errors"), and vl2 works on once there is memory again. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* Allocation of the engine that fails, counting from 1; 0 = none. */
static unsigned long fail_at;
static unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool must_fail(void)
{
    return bench_in_engine > 0 && ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : __real_realloc(ptr, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return must_fail() ? NULL : __real_aligned_alloc(alignment, size);
}

static const struct multicast_group fb = {.mac = 0x3333000000fb};

static void configure(struct bench *b, const struct setup *setup, uint64_t update)
{
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, setup, &total);
    size_t half = total / 2;

    for (size_t at = 0; at < total; at += half) {
        size_t n = total - at < half ? total - at : half;
        size_t len =
            bench_chunk(b, BENCH_NWID, update, text, total, at, n, 0, packet, sizeof(packet));

        (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
    }
    free(text);
}

static void credentials_in(struct bench *b, char letter)
{
    uint64_t holder = bench_id(b, letter)->address;
    const struct rule accept = {.type = RULE_ACCEPT};
    struct capability *cap = capability_make(BENCH_NWID, BENCH_TIME, 5, &accept, 1);
    struct com com = bench_com(b, letter, BENCH_TIME);
    struct tag tag = {.network_id = BENCH_NWID, .timestamp = BENCH_TIME, .holder = holder, .id = 4};
    struct ownership own = {
        .network_id = BENCH_NWID, .timestamp = BENCH_TIME, .holder = holder, .id = 3};
    struct revocation rev = {.network_id = BENCH_NWID,
                             .threshold = BENCH_TIME - 1,
                             .flags = REVOCATION_FAST,
                             .target = 5,
                             .type = CREDENTIAL_COM};
    const struct credentials_set set = {&com, 1, &cap, 1, &tag, 1, &rev, 1, &own, 1};

    tag_sign(&tag, bench_id(b, 'C'));
    ownership_sign(&own, bench_id(b, 'C'));
    revocation_sign(&rev, bench_id(b, 'C'));
    assert_int_equal(capability_sign(cap, bench_id(b, 'C'), holder), 0);
    (void)bench_in_credentials(b, bench_id(b, letter), &set);
    capability_free(cap);
}

static void frame_out(struct bench *b, uint64_t dest_mac)
{
    static const uint8_t payload[60] = {0x45};

    bench_in_engine++;
    vl2_frame(b->vl2, BENCH_NWID, dest_mac, mac_of_member(BENCH_NWID, b->vl2->self), 0x800, payload,
              sizeof(payload), b->now);
    bench_in_engine--;
}

static void ports(struct bench *b)
{
    const struct inetaddr ip = {.family = INETADDR_V4, .ip = {10, 1, 1, 1}};

    bench_in_engine++;
    vl2_port_groups(b->vl2, BENCH_NWID, &fb, 1, b->now);
    vl2_port_addresses(b->vl2, BENCH_NWID, &ip, 1, b->now);
    bench_in_engine--;
}

static void bridge_in(struct bench *b)
{
    const struct ext_frame ext = {.network_id = BENCH_NWID,
                                  .dest_mac = mac_of_member(BENCH_NWID, b->vl2->self),
                                  .source_mac = 0x001122334455,
                                  .payload = (const uint8_t *)"xyz",
                                  .len = 3,
                                  .ethertype = 0x800};
    uint8_t packet[100];
    struct wr w = wr_init(packet, sizeof(packet));

    ext_frame_write(&w, &ext);
    (void)bench_in(b, bench_id(b, 'D'), VERB_EXT_FRAME, packet, wr_len(&w));
}

static void like_in(struct bench *b)
{
    const struct multicast_like like = {BENCH_NWID, fb};
    uint8_t packet[18];
    struct wr w = wr_init(packet, sizeof(packet));

    multicast_like_write(&w, &like);
    (void)bench_in(b, bench_id(b, 'B'), VERB_MULTICAST_LIKE, packet, sizeof(packet));
}

/* A bit of everything. */
static void live(struct bench *b)
{
    const struct setup setup = {
        .multicast_limit = 8,
        .flags = NETCONF_FLAG_BROADCAST,
        .specialists = {SPECIALIST_BRIDGE | bench_id(b, 'D')->address,
                        SPECIALIST_ANCHOR | bench_id(b, 'E')->address},
        .specialist_count = 2,
        .tags = 3,
    };
    uint64_t member = mac_of_member(BENCH_NWID, bench_id(b, 'B')->address);
    int joined;

    bench_in_engine++;
    joined = vl2_join(b->vl2, BENCH_NWID, "token", b->now);
    bench_in_engine--;
    if (joined != 0) {
        return;
    }
    configure(b, &setup, 1);
    ports(b);
    frame_out(b, member);
    frame_out(b, fb.mac);
    bench_run(b, 1200);
    credentials_in(b, 'B');
    credentials_in(b, 'D');
    like_in(b);
    bridge_in(b);
    frame_out(b, fb.mac);
    frame_out(b, 0x001122334455);
    bench_run(b, 70000);
}

static void every_allocation(bool with_worker)
{
    unsigned long total;
    unsigned long refused = 0;
    struct rig *r = rig_new(with_worker);
    struct bench *b = r->b;

    fail_at = 0;
    allocations = 0;
    live(b);
    total = allocations;
    assert_true(total > 50);
    rig_free(r);
    for (unsigned long n = 1; n <= total; n++) {
        r = rig_new(with_worker);
        b = r->b;
        allocations = 0;
        fail_at = n;
        live(b);
        fail_at = 0;
        refused += vl2_find(b->vl2, BENCH_NWID) == NULL;
        bench_run(b, 5000);
        /* Again with memory: everything works. */
        if (vl2_find(b->vl2, BENCH_NWID) == NULL) {
            bench_join(b, BENCH_NWID);
        }
        configure(b, &(struct setup){.timestamp = BENCH_TIME + 1000}, 2);
        credentials_in(b, 'B');
        bench_clear(b);
        frame_out(b, mac_of_member(BENCH_NWID, bench_id(b, 'B')->address));
        assert_int_equal(bench_count(b, bench_id(b, 'B')->address, VERB_FRAME), 1);
        assert_true(!with_worker || (rig_access(r, 'B') & DP_ACCESS_OUT) != 0);
        rig_free(r);
    }
    assert_true(refused > 0);
    print_message("%lu allocations\n", total);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    every_allocation(false);
}

static void test_every_allocation_may_fail_while_publishing(void **state)
{
    (void)state;
    every_allocation(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_every_allocation_may_fail_while_publishing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
