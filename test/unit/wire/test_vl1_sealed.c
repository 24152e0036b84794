/* The VL1 vectors as whole packets: what we build seals to the golden bytes, and those open to what
 * the codecs read. Checklist: VB-1, VB-2 (MAC part), VB-3, VB-4, VB-8, CB-3. */
#include "vectors.h"

#include "datapath/armor.h"
#include "wire/hello.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vl1;

static int load(void **state)
{
    (void)state;
    vl1 = vectors_load("vl1.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vl1);
    return 0;
}

static uint64_t address_of(const char *name)
{
    const json_t *list = vec_get(vl1, "identities");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);

        if (strcmp(vec_text(c, "name"), name) == 0) {
            return vec_hex_u64(c, "address");
        }
    }
    fail_msg("no identity %s", name);
    return 0;
}

static struct armor_keys keys_between(const char *a, const char *b)
{
    const json_t *list = vec_get(vl1, "agreements");
    struct armor_keys keys = {0};

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        const char *ca = vec_text(c, "a");
        const char *cb = vec_text(c, "b");

        if ((strcmp(ca, a) == 0 && strcmp(cb, b) == 0) ||
            (strcmp(ca, b) == 0 && strcmp(cb, a) == 0)) {
            size_t len;
            uint8_t *secret = vec_bytes(c, "key48", &len);

            armor_keys_init(&keys, secret);
            free(secret);
            return keys;
        }
    }
    fail_msg("no agreement between %s and %s", a, b);
    return keys;
}

/* Build the packet of an entry from its payload (HELLO: tail in clear) and compare. */
static void check_sealing(const json_t *c, const uint8_t *payload, size_t payload_len,
                          size_t tail_at)
{
    struct armor_keys keys = keys_between(vec_text(c, "from"), vec_text(c, "to"));
    size_t len = PACKET_AT_PAYLOAD + payload_len;
    size_t armored_len;
    uint8_t *armored = vec_bytes(c, "armored", &armored_len);
    uint8_t pkt[PACKET_MAX];

    packet_start(pkt, vec_hex_u64(c, "initial_packet_id"), address_of(vec_text(c, "to")),
                 address_of(vec_text(c, "from")), (enum verb)vec_int(c, "verb"));
    memcpy(pkt + PACKET_AT_PAYLOAD, payload, payload_len);
    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail_at, &keys);
    armor_seal(pkt, len, (enum cipher_suite)vec_int(c, "cipher"), &keys);
    assert_true(packet_id(pkt) == vec_hex_u64(c, "wire_packet_id"));
    assert_int_equal(len, armored_len);
    assert_memory_equal(pkt, armored, len);

    assert_int_equal(armor_open(pkt, len, &keys), 0);
    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail_at, &keys);
    assert_memory_equal(pkt + PACKET_AT_PAYLOAD, payload, payload_len);
    free(armored);
}

/* VB-3: from the fields to the datagram. Entries whose tail we would write otherwise (a moon entry
 * of another type) start from the payload. */
static void test_hello_datagrams(void **state)
{
    const json_t *cases = vec_get(vl1, "hello");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *fields = vec_get(c, "fields");
        size_t len;
        uint8_t *payload = vec_bytes(c, "payload", &len);
        struct hello h;

        assert_int_equal(hello_decode(rd_init(payload, len), &h), 0);
        if (h.has_tail) {
            size_t n;
            uint8_t *plain = vec_bytes(fields, "crypt_plain", &n);

            memcpy(payload + h.tail_at, plain, n);
            free(plain);
        }
        check_sealing(c, payload, len, h.tail_at);
        free(payload);
    }
}

/* VB-1, VB-2: authentic HELLOs open, the one with a broken MAC does not. */
static void test_hello_authentication(void **state)
{
    static const char *const sections[] = {"hello", "hello_rejected"};

    (void)state;
    for (size_t s = 0; s < COUNT_OF(sections); s++) {
        const json_t *cases = vec_get(vl1, sections[s]);

        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *c = json_array_get(cases, i);
            struct armor_keys keys = keys_between(vec_text(c, "from"), vec_text(c, "to"));
            bool broken = strstr(vec_text(c, "name"), "MAC broken") != NULL;
            size_t len;
            uint8_t *pkt = vec_bytes(c, "armored", &len);
            struct hello h;

            assert_int_equal(packet_suite(pkt), SUITE_POLY1305);
            assert_int_equal(packet_verb(pkt), VERB_HELLO);
            assert_int_equal(armor_open(pkt, len, &keys), broken ? -EACCES : 0);
            assert_int_equal(hello_decode(rd_init(pkt + 28, len - 28), &h), 0);
            if (strstr(vec_text(c, "name"), "does not match source") != NULL) {
                assert_true(h.identity.address != packet_source(pkt));
            } else {
                assert_true(h.identity.address == packet_source(pkt));
            }
            free(pkt);
        }
    }
}

/* VB-4, VB-8 */
static void test_other_datagrams(void **state)
{
    static const char *const sections[] = {"ok_hello", "packets", "errors"};

    (void)state;
    for (size_t s = 0; s < COUNT_OF(sections); s++) {
        const json_t *cases = vec_get(vl1, sections[s]);

        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *c = json_array_get(cases, i);
            size_t len;
            uint8_t *payload = vec_bytes(c, "payload", &len);

            if (!vec_bool_or(c, "compressed", false)) {
                check_sealing(c, payload, len, len);
            }
            free(payload);
        }
    }
}

/* VB-8: a compressed packet opens and expands to its payload. */
static void test_compressed_datagram(void **state)
{
    const json_t *cases = vec_get(vl1, "packets");
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        struct armor_keys keys = keys_between(vec_text(c, "from"), vec_text(c, "to"));
        size_t len;
        size_t payload_len;
        uint8_t pkt[PACKET_MAX];
        uint8_t scratch[PACKET_MAX];
        uint8_t *armored = vec_bytes(c, "armored", &len);
        uint8_t *payload = vec_bytes(c, "payload", &payload_len);

        memcpy(pkt, armored, len);
        if (vec_bool_or(c, "compressed", false)) {
            assert_int_equal(armor_open(pkt, len, &keys), 0);
            assert_int_equal(packet_decompress(pkt, len, scratch), PACKET_MIN + payload_len);
            assert_memory_equal(pkt + PACKET_AT_PAYLOAD, payload, payload_len);
            seen++;
        }
        free(payload);
        free(armored);
    }
    assert_int_equal(seen, 1);
}

/* What a summary line of the transcript says. */
struct summary {
    char from[16];
    char to[16];
    unsigned hops;
    unsigned suite;
    char verb[64];
    const char *rest;
};

static bool read_summary(const char *text, struct summary *ret)
{
    int at = 0;

    if (sscanf(text, "[%15[^>]>%15[^]]] hops %u c%u %63s %n", ret->from, ret->to, &ret->hops,
               &ret->suite, ret->verb, &at) < 5) {
        return false;
    }
    ret->rest = text + at;
    return true;
}

static void check_push(struct rd in, const char *rest)
{
    struct push_paths walk;
    struct push_path path;
    char list[1024] = "";
    char text[INETADDR_TEXT_LEN];

    assert_int_equal(push_paths_decode(in, &walk), 0);
    while (push_paths_next(&walk, &path) > 0) {
        inetaddr_print(&path.at, text);
        strcat(strcat(list, text), " ");
    }
    assert_int_equal(walk.left, 0);
    assert_true(strncmp(list, rest, strlen(list)) == 0);
}

static void check_rendezvous(struct rd in, const char *rest)
{
    struct rendezvous msg;
    char name[16];
    char at[INETADDR_TEXT_LEN];
    char text[INETADDR_TEXT_LEN];

    assert_int_equal(rendezvous_decode(in, &msg), 0);
    assert_int_equal(sscanf(rest, "%15s at %63s", name, at), 2);
    assert_true(msg.address == address_of(name));
    inetaddr_print(&msg.at, text);
    assert_string_equal(text, at);
}

static void check_payload(const struct summary *s, const uint8_t *pkt, size_t len,
                          const struct armor_keys *keys)
{
    struct rd in = rd_init(pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD);
    char verb[64];
    struct reply_head head;
    struct ok_hello ok;
    struct identity id;
    struct hello h;
    struct hello_moons moons;
    uint64_t address;
    uint8_t copy[PACKET_MAX];

    snprintf(verb, sizeof(verb), "%s", verb_name(packet_verb(pkt)));
    switch (packet_verb(pkt)) {
    case VERB_HELLO:
        assert_int_equal(hello_decode(in, &h), 0);
        memcpy(copy, pkt, len);
        hello_mask(copy, len, PACKET_AT_PAYLOAD + h.tail_at, keys);
        assert_int_equal(hello_decode_tail(copy + PACKET_AT_PAYLOAD + h.tail_at,
                                           len - PACKET_AT_PAYLOAD - h.tail_at, &moons),
                         0);
        assert_int_equal(len - PACKET_AT_PAYLOAD - h.tail_at, 2); /* nobody here has moons */
        assert_int_equal(copy[len - 2] | copy[len - 1], 0);
        break;
    case VERB_OK:
        assert_int_equal(ok_head_read(&in, &head), 0);
        snprintf(verb, sizeof(verb), "OK(%s)", verb_name(head.verb));
        if (head.verb == VERB_HELLO) {
            assert_int_equal(ok_hello_decode(in, &ok), 0);
            assert_true(ok.has_worlds && ok.address.family != INETADDR_NIL);
        } else if (head.verb == VERB_WHOIS) {
            assert_int_equal(ok_whois_next(&in, &id), 1);
            assert_int_equal(ok_whois_next(&in, &id), 0);
        }
        break;
    case VERB_WHOIS:
        assert_true(whois_next(&in, &address));
        assert_int_equal(sscanf(s->rest, "%63s", verb), 1);
        assert_true(address == address_of(verb));
        snprintf(verb, sizeof(verb), "WHOIS");
        break;
    case VERB_RENDEZVOUS:
        check_rendezvous(in, s->rest);
        break;
    case VERB_PUSH_DIRECT_PATHS:
        check_push(in, s->rest);
        break;
    default:
        break;
    }
    assert_string_equal(verb, s->verb);
}

/* CB-3: every datagram of a bootstrap of four reference nodes. */
static void test_transcript_of_the_reference(void **state)
{
    const json_t *list = vec_get(vec_get(vl1, "transcript_bootstrap"), "datagrams");
    unsigned junk = 0;

    (void)state;
    assert_int_equal(json_array_size(list), 200);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        size_t len;
        uint8_t *data = vec_bytes(c, "data", &len);
        uint8_t pkt[PACKET_MAX];
        uint8_t scratch[PACKET_MAX];
        struct armor_keys keys;
        struct summary s;
        const char *said;
        int n;

        if (!read_summary(vec_text(c, "summary"), &s)) {
            assert_int_equal(datagram_classify(data, len), DATAGRAM_DROP);
            junk++;
            free(data);
            continue;
        }
        assert_int_equal(datagram_classify(data, len), DATAGRAM_PACKET);
        memcpy(pkt, data, len);
        keys = keys_between(s.from, s.to);
        assert_true(packet_source(pkt) == address_of(s.from));
        assert_true(packet_dest(pkt) == address_of(s.to));
        assert_int_equal(packet_hops(pkt), s.hops);
        assert_int_equal(packet_suite(pkt), s.suite);
        assert_int_equal(armor_open(pkt, len, &keys), 0);
        said = strstr(s.rest, "len ");
        assert_true(said == NULL || strtoul(said + 4, NULL, 10) == len);
        n = packet_decompress(pkt, len, scratch);
        assert_true(n > 0);
        check_payload(&s, pkt, (size_t)n, &keys);
        free(data);
    }
    assert_int_equal(junk, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_datagrams),
        cmocka_unit_test(test_hello_authentication),
        cmocka_unit_test(test_other_datagrams),
        cmocka_unit_test(test_compressed_datagram),
        cmocka_unit_test(test_transcript_of_the_reference),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
