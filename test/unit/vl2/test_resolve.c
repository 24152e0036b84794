/* Address resolution: RES-1, RES-2 (groups), RES-3, RES-4. Source: spec 03 section 12. */
#include "vectors.h"

#include "base/cursor.h"
#include "vl2/resolve.h"
#include "wire/mac.h"
#include "wire/netconf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static int load(void **state)
{
    *state = vectors_load("vl2.json");
    return 0;
}

static int unload(void **state)
{
    json_decref(*state);
    return 0;
}

static struct inetaddr ip_of(const char *text)
{
    struct inetaddr a;

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static uint64_t mac_of(const json_t *o, const char *key)
{
    const char *text = vec_text(o, key);
    uint64_t mac = 0;

    assert_int_equal(mac_parse(text, strlen(text), &mac), 0);
    return mac;
}

/* RES-2 */
static void test_group_vectors(void **state)
{
    static const struct inetaddr nil;
    const json_t *entry;
    struct multicast_group group;
    size_t i;

    json_array_foreach(vec_get(vec_get(*state, "basics"), "resolutionGroups"), i, entry)
    {
        struct inetaddr ip = ip_of(vec_text(entry, "ip"));

        assert_true(resolution_group(&ip, &group));
        assert_int_equal(group.mac, mac_of(entry, "mac"));
        assert_int_equal(group.adi, vec_int(entry, "adi"));
    }
    assert_int_equal(i, 7);
    assert_false(resolution_group(&nil, &group));
}

/* Group in the multicast packets of an [outbound] case; false if there is none. */
static bool sent_group(const json_t *entry, struct multicast_group *ret)
{
    const json_t *packet;
    size_t i;

    json_array_foreach(vec_get(entry, "sent"), i, packet)
    {
        if (strcmp(vec_text(packet, "verb"), "MULTICAST_GATHER") == 0) {
            size_t len;
            uint8_t *payload = vec_bytes(packet, "payload", &len);
            struct multicast_gather gather;
            int err = multicast_gather_read(rd_init(payload, len), NULL, &gather);

            free(payload);
            assert_int_equal(err, 0);
            *ret = gather.group;
            return true;
        }
    }
    return false;
}

/* RES-1: broadcast frames of [outbound] go to the group of the ARP target, or to plain broadcast.
 */
static void test_arp_vectors(void **state)
{
    const json_t *entry;
    size_t i;
    size_t mapped = 0;
    size_t plain = 0;

    json_array_foreach(vec_get(*state, "outbound"), i, entry)
    {
        struct multicast_group want;
        struct multicast_group got = {.mac = MAC_BROADCAST};
        size_t len;
        uint8_t *payload = vec_bytes(entry, "payload", &len);

        if (mac_of(entry, "macDest") == MAC_BROADCAST && sent_group(entry, &want)) {
            bool is_arp =
                arp_request_group((uint16_t)vec_int(entry, "etherType"), payload, len, &got);

            assert_int_equal(got.mac, want.mac);
            assert_int_equal(got.adi, want.adi);
            mapped += is_arp;
            plain += !is_arp;
        }
        free(payload);
    }
    assert_int_equal(mapped, 1);
    assert_true(plain >= 3);
}

/* RES-1: near misses, one altered byte each; bytes that must not matter. */
static void test_arp_near_misses(void **state)
{
    static const uint8_t request[28] = {0, 1, 8, 0, 6, 4, 0, 1, [24] = 10, 1, 9, 8};
    static const struct {
        size_t at;
        uint8_t value;
        bool is_request;
    } table[] = {
        {0, 9, true},  {1, 6, true},  {6, 1, true},   {8, 1, true},  {27, 8, true}, {2, 9, false},
        {3, 1, false}, {4, 7, false}, {5, 16, false}, {7, 2, false}, {7, 0, false},
    };
    struct multicast_group group;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint8_t *frame = exact_copy(request, sizeof(request));

        frame[table[i].at] = table[i].value;
        assert_int_equal(arp_request_group(0x0806, frame, 28, &group), table[i].is_request);
        free(frame);
    }
    for (size_t len = 0; len < 28; len++) {
        uint8_t *frame = exact_copy(request, len);

        assert_false(arp_request_group(0x0806, frame, len, &group));
        free(frame);
    }
    assert_false(arp_request_group(0x0800, request, 28, &group));
    assert_true(arp_request_group(0x0806, request, 28, &group));
    assert_int_equal(group.mac, MAC_BROADCAST);
    assert_int_equal(group.adi, 0x0a010908);
}

/* Number of assigned addresses of an [outbound] case. */
static size_t addresses_of(const json_t *entry, struct inetaddr out[8])
{
    const json_t *ip;
    size_t i;

    json_array_foreach(vec_get(vec_get(entry, "config"), "staticIps"), i, ip)
    {
        assert_true(i < 8);
        out[i] = ip_of(json_string_value(ip));
    }
    return i;
}

/* RES-3, RES-4: every IPv6 frame of [outbound]. */
static void test_ndp_vectors(void **state)
{
    const uint64_t network_id = vec_hex_u64(vec_get(*state, "meta"), "networkId");
    const uint64_t self = vec_hex_u64(vec_get(vec_get(*state, "identities"), "A"), "address");
    const json_t *entry;
    size_t i;
    size_t answered = 0;
    size_t not_answered = 0;

    json_array_foreach(vec_get(*state, "outbound"), i, entry)
    {
        const json_t *to_tap = json_array_get(vec_get(entry, "toTap"), 0);
        struct inetaddr addresses[8];
        size_t count = addresses_of(entry, addresses);
        uint64_t flags = vec_hex_u64(vec_get(entry, "config"), "flags");
        size_t len;
        uint8_t *payload = vec_bytes(entry, "payload", &len);
        struct ndp_answer answer;
        bool answers = (flags & NETCONF_FLAG_NDP) != 0 &&
                       mac_is_multicast(mac_of(entry, "macDest")) &&
                       ndp_emulate(network_id, self, addresses, count,
                                   (uint16_t)vec_int(entry, "etherType"), payload, len, &answer);

        if (vec_int(entry, "etherType") == 0x86dd) {
            assert_int_equal(answers, to_tap != NULL);
            not_answered += !answers;
        }
        if (answers) {
            size_t want_len;
            uint8_t *want = vec_bytes(to_tap, "payload", &want_len);

            assert_int_equal(want_len, NDP_ADVERTISEMENT_LEN);
            assert_memory_equal(answer.payload, want, want_len);
            assert_int_equal(answer.source_mac, mac_of(to_tap, "macSource"));
            assert_int_equal(answer.member, mac_member_address(network_id, answer.source_mac));
            answered++;
            free(want);
        }
        free(payload);
    }
    assert_int_equal(answered, 4);
    assert_true(not_answered >= 4);
}

/* RES-4: what is near a solicitation, cut at every length; the first address that fits decides. */
static void test_ndp_near_misses(void **state)
{
    const uint64_t network_id = UINT64_C(0x14d76e47dc000001);
    const uint64_t self = UINT64_C(0x80d8389363);
    const struct inetaddr own[] = {
        network_6plane(network_id, self),
        network_rfc4193(network_id, self),
    };
    struct inetaddr target = network_rfc4193(network_id, UINT64_C(0x720407abc2));
    uint8_t frame[72] = {0x60, [6] = 58, [40] = 0x87};
    struct ndp_answer answer;

    (void)state;
    memcpy(frame + 48, target.ip, 16);
    for (size_t len = 0; len < sizeof(frame); len++) {
        uint8_t *cut = exact_copy(frame, len);

        assert_int_equal(ndp_emulate(network_id, self, own, 2, 0x86dd, cut, len, &answer),
                         len >= 64);
        free(cut);
    }
    assert_int_equal(answer.member, UINT64_C(0x720407abc2));
    assert_false(ndp_emulate(network_id, self, own, 1, 0x86dd, frame, 72, &answer));
    assert_false(ndp_emulate(network_id, self, own, 2, 0x0800, frame, 72, &answer));
    frame[6] = 17;
    assert_false(ndp_emulate(network_id, self, own, 2, 0x86dd, frame, 72, &answer));
    frame[6] = 58;
    frame[40] = 0x88;
    assert_false(ndp_emulate(network_id, self, own, 2, 0x86dd, frame, 72, &answer));
    frame[40] = 0x87;
    memset(frame + 48 + 11, 0, 5); /* member 0 */
    assert_false(ndp_emulate(network_id, self, own, 2, 0x86dd, frame, 72, &answer));
    memcpy(frame + 48, own[1].ip, 16); /* ourselves */
    assert_false(ndp_emulate(network_id, self, own, 2, 0x86dd, frame, 72, &answer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_vectors),   cmocka_unit_test(test_arp_vectors),
        cmocka_unit_test(test_arp_near_misses), cmocka_unit_test(test_ndp_vectors),
        cmocka_unit_test(test_ndp_near_misses),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
