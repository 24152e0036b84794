/* HELLO and OK(HELLO). Checklist: VB-3, VB-4, VB-6, VB-7 (version reported), HE-7, HE-8, VE-1,
 * VE-2, RX-9. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/hello.h"
#include "wire/identity.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"
#include "wire/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vl1;
static json_t *crypto;

static int load(void **state)
{
    (void)state;
    vl1 = vectors_load("vl1.json");
    crypto = vectors_load("identity-crypto.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vl1);
    json_decref(crypto);
    return 0;
}

static struct identity identity_named(const char *name)
{
    const json_t *list = vec_get(vl1, "identities");
    struct identity id = {0};

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        const char *text = vec_text(c, "public");

        if (strcmp(vec_text(c, "name"), name) == 0) {
            assert_int_equal(identity_parse(text, strlen(text), &id), 0);
        }
    }
    assert_true(id.address != 0);
    return id;
}

static struct inetaddr address_of(const char *text)
{
    struct inetaddr a;

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static void check_version(const struct node_version *v, const json_t *fields)
{
    char text[32];

    assert_int_equal(v->protocol, vec_int(fields, "protocol"));
    snprintf(text, sizeof(text), "%u.%u.%u", v->major, v->minor, v->revision);
    assert_string_equal(text, vec_text(fields, "version"));
}

/* Payload of a [hello] entry with its tail unmasked. */
static uint8_t *clear_payload(const json_t *c, size_t *ret_len)
{
    const json_t *fields = vec_get(c, "fields");
    uint8_t *payload = vec_bytes(c, "payload", ret_len);

    if (json_object_get(fields, "crypt_plain") != NULL) {
        size_t at = (size_t)vec_int(fields, "crypt_start_offset") - PACKET_AT_PAYLOAD;
        size_t n;
        uint8_t *plain = vec_bytes(fields, "crypt_plain", &n);

        assert_int_equal(at + n, *ret_len);
        memcpy(payload + at, plain, n);
        free(plain);
    }
    return payload;
}

static size_t check_moons(const json_t *fields, const struct hello_moons *view,
                          struct hello_moon *out)
{
    const json_t *moons = json_object_get(fields, "moons");
    struct hello_moons walk = *view;
    struct hello_moon moon;
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(moons); i++) {
        const json_t *m = json_array_get(moons, i);

        if (vec_int(m, "type") == HELLO_MOON_TYPE) {
            assert_true(hello_moons_next(&walk, &moon));
            assert_true(moon.id == vec_hex_u64(m, "id"));
            assert_true(moon.timestamp == (uint64_t)vec_int(m, "timestamp"));
            out[n++] = moon;
        }
    }
    assert_false(hello_moons_next(&walk, &moon));
    return n;
}

static void check_hello(const json_t *c)
{
    const json_t *fields = vec_get(c, "fields");
    size_t len;
    uint8_t *payload = clear_payload(c, &len);
    struct identity sender = identity_named(vec_text(fields, "identity_of"));
    struct hello h;
    struct hello_moons view;
    struct hello_moon moons[8];
    size_t moon_count;
    uint8_t built[512];
    struct wr w = wr_init(built, sizeof(built));

    assert_int_equal(hello_decode(rd_init(payload, len), &h), 0);
    check_version(&h.version, fields);
    assert_true(h.timestamp == (uint64_t)vec_int(fields, "timestamp"));
    assert_true(h.identity.address == sender.address);
    assert_memory_equal(h.identity.pub, sender.pub, sizeof(sender.pub));
    assert_int_equal(h.has_address, json_object_get(fields, "destination") != NULL);
    if (h.has_address) {
        struct inetaddr to = address_of(vec_text(fields, "destination"));

        assert_true(inetaddr_equal(&h.address, &to));
    }
    assert_int_equal(h.has_planet, json_object_get(fields, "planet_id") != NULL);
    if (h.has_planet) {
        assert_true(h.planet_id == vec_hex_u64(fields, "planet_id"));
        assert_true(h.planet_timestamp == (uint64_t)vec_int(fields, "planet_timestamp"));
    }
    assert_int_equal(h.has_tail, json_object_get(fields, "crypt_plain") != NULL);
    if (h.has_tail) {
        assert_int_equal(h.tail_at + PACKET_AT_PAYLOAD, vec_int(fields, "crypt_start_offset"));
    } else {
        assert_int_equal(h.tail_at, len);
    }
    assert_int_equal(hello_decode_tail(payload + h.tail_at, len - h.tail_at, &view), 0);
    moon_count = check_moons(fields, &view, moons);
    if (moon_count == json_array_size(json_object_get(fields, "moons"))) {
        /* VB-3; an entry that is not a moon is read but never written */
        assert_int_equal(hello_encode(&w, &h, moons, moon_count), h.tail_at);
        assert_false(w.bad);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(built, payload, len);
    }
    free(payload);
}

/* VB-3, HE-7, VE-1 */
static void test_hello_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "hello");
    const json_t *rejected = vec_get(vl1, "hello_rejected");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_hello(json_array_get(cases, i));
    }
    /* these are refused by what they say, not by their form */
    for (size_t i = 0; i < json_array_size(rejected); i++) {
        check_hello(json_array_get(rejected, i));
    }
}

/* The plain layout of the other vector file, field by field. */
static void test_plain_layout_vectors(void **state)
{
    const json_t *cases = vec_get(crypto, "hello");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *sender =
            json_array_get(vec_get(crypto, "identities"), (size_t)vec_int(c, "from"));
        size_t len;
        uint8_t *plain = vec_bytes(c, "plain", &len);
        struct hello h;
        struct hello_moons view;
        struct hello_moon moons[4];
        size_t n = 0;
        char text[IDENTITY_TEXT_LEN];
        uint8_t built[512];
        struct wr w = wr_init(built, sizeof(built));

        assert_int_equal(hello_decode(rd_init(plain + 28, len - 28), &h), 0);
        assert_int_equal(h.tail_at + 28, vec_int(c, "masked_from_offset"));
        assert_int_equal(h.version.protocol, 12);
        assert_true(h.timestamp == 1700000000123);
        identity_print(&h.identity, false, text);
        assert_string_equal(text, vec_text(sender, "public"));
        assert_true(h.planet_id == WORLD_ID_EARTH);
        assert_int_equal(hello_decode_tail(plain + 28 + h.tail_at, len - 28 - h.tail_at, &view), 0);
        while (hello_moons_next(&view, &moons[n])) {
            n++;
        }
        assert_int_equal(n, (len - 28 - h.tail_at - 2) / HELLO_MOON_LEN);
        packet_start(built, be64_get(plain), packet_dest(plain), h.identity.address, VERB_HELLO);
        w.p += PACKET_AT_PAYLOAD;
        (void)hello_encode(&w, &h, moons, n);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(built, plain, len);
        free(plain);
    }
}

/* HE-7, RX-9: every length of a HELLO is either one of the old forms or refused. */
static void test_hello_truncations(void **state)
{
    const json_t *c = json_array_get(vec_get(vl1, "hello"), 3); /* two moons, IPv4 */
    size_t len;
    uint8_t *payload = clear_payload(c, &len);

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *part = exact_copy(payload, cut);
        struct hello h;
        struct hello_moons view;
        int err = hello_decode(rd_init(part, cut), &h);

        if (cut < 84 || (cut > 84 && cut < 91)) {
            assert_int_equal(err, -EBADMSG);
        } else {
            assert_int_equal(err, 0);
            assert_int_equal(h.has_address, cut > 84);
            assert_int_equal(h.has_planet, cut >= 107);
            assert_int_equal(h.tail_at, cut >= 107 ? 107 : cut >= 91 ? 91 : 84);
            err = hello_decode_tail(part + h.tail_at, cut - h.tail_at, &view);
            /* a cut planet field is a tail, whose count (zero bytes here) is 0 */
            assert_int_equal(err, cut >= 109 && cut < len ? -EBADMSG : 0);
        }
        free(part);
    }
    free(payload);
}

/* HE-8 */
static void test_tail_counts(void **state)
{
    uint8_t tail[2 + 3 * HELLO_MOON_LEN + 5] = {0, 0};
    struct hello_moons view;
    struct hello_moon moon;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        tail[2 + i * HELLO_MOON_LEN] = i == 1 ? 126 : 127;
        tail[2 + i * HELLO_MOON_LEN + 8] = (uint8_t)(i + 1);
    }
    for (unsigned count = 0; count < 6; count++) {
        tail[1] = (uint8_t)count;
        assert_int_equal(hello_decode_tail(tail, sizeof(tail), &view), count <= 3 ? 0 : -EBADMSG);
    }
    tail[0] = 0xff;
    assert_int_equal(hello_decode_tail(tail, sizeof(tail), &view), -EBADMSG);
    tail[0] = 0;
    tail[1] = 3;
    assert_int_equal(hello_decode_tail(tail, sizeof(tail), &view), 0); /* 5 bytes ignored */
    assert_true(hello_moons_next(&view, &moon));
    assert_true(moon.id == 1);
    assert_true(hello_moons_next(&view, &moon));
    assert_true(moon.id == 3);
    assert_false(hello_moons_next(&view, &moon));
    assert_int_equal(hello_decode_tail(tail, 1, &view), 0);
    assert_false(hello_moons_next(&view, &moon));
    assert_int_equal(hello_decode_tail(NULL, 0, &view), 0);
    assert_false(hello_moons_next(&view, &moon));
}

/* A private half in a HELLO is skipped. */
static void test_private_half_is_ignored(void **state)
{
    const json_t *c = json_array_get(vec_get(crypto, "identities"), 1);
    size_t len;
    uint8_t *secret = vec_bytes(c, "binary_secret", &len);
    uint8_t payload[256] = {12};
    struct hello h;

    (void)state;
    memcpy(payload + HELLO_AT_IDENTITY, secret, len);
    assert_int_equal(hello_decode(rd_init(payload, HELLO_AT_IDENTITY + len), &h), 0);
    assert_false(h.identity.has_private);
    assert_int_equal(h.tail_at, HELLO_AT_IDENTITY + len);
    free(secret);
}

/* VB-4 */
static void test_ok_hello_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "ok_hello");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *fields = vec_get(c, "fields");
        size_t len;
        uint8_t *payload = vec_bytes(c, "payload", &len);
        struct rd in = rd_init(payload, len);
        struct reply_head head;
        struct ok_hello ok;
        uint8_t built[1024];
        struct wr w = wr_init(built, sizeof(built));

        assert_int_equal(ok_head_read(&in, &head), 0);
        assert_int_equal(head.verb, VERB_HELLO);
        assert_true(head.id == vec_hex_u64(fields, "in_re_packet_id"));
        assert_int_equal(ok_hello_decode(in, &ok), 0);
        assert_true(ok.timestamp == (uint64_t)vec_int(fields, "timestamp_echo"));
        check_version(&ok.version, fields);
        assert_int_equal(ok.has_address, json_object_get(fields, "your_address") != NULL);
        if (ok.has_address) {
            struct inetaddr mine = address_of(vec_text(fields, "your_address"));
            struct rd worlds;
            int64_t count = 0;
            static struct world world;

            assert_true(inetaddr_equal(&ok.address, &mine));
            assert_true(ok.has_worlds);
            assert_int_equal(ok.worlds_len, vec_int(fields, "worlds_length"));
            for (worlds = rd_init(ok.worlds, ok.worlds_len); rd_left(&worlds) > 0; count++) {
                assert_int_equal(world_read(&worlds, &world), 0);
            }
            assert_int_equal(count, vec_int(fields, "worlds"));
        }
        ok_head_write(&w, &head);
        ok_hello_encode(&w, &ok);
        assert_false(w.bad);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(built, payload, len);
        free(payload);
    }
}

/* RX-9 and the short forms of old responders. */
static void test_ok_hello_truncations(void **state)
{
    const json_t *c = json_array_get(vec_get(vl1, "ok_hello"), 2);
    size_t len;
    uint8_t *payload = vec_bytes(c, "payload", &len);

    (void)state;
    for (size_t cut = OK_HEAD_LEN; cut <= len; cut++) {
        uint8_t *part = exact_copy(payload + OK_HEAD_LEN, cut - OK_HEAD_LEN);
        struct ok_hello ok;
        bool good = cut == 22 || cut == 29 || cut == 30 || cut == len;

        assert_int_equal(ok_hello_decode(rd_init(part, cut - OK_HEAD_LEN), &ok),
                         good ? 0 : -EBADMSG);
        assert_true(!good || ok.has_worlds == (cut == len));
        free(part);
    }
    free(payload);
}

/* VB-6, VE-2 */
static void test_reported_port(void **state)
{
    struct inetaddr seen = address_of("198.51.100.50/9993");

    (void)state;
    for (unsigned protocol = 0; protocol < 256; protocol++) {
        struct inetaddr a = ok_hello_address_for(&seen, (uint8_t)protocol);

        assert_true(inetaddr_ip_equal(&a, &seen));
        assert_int_equal(a.port, protocol < 5 ? 0 : 9993);
    }
}

static void test_encoders_respect_their_room(void **state)
{
    struct hello h = {.has_address = true, .has_planet = true, .has_tail = true};
    struct hello_moon moons[3] = {{1, 2}, {3, 4}, {5, 6}};
    struct ok_hello ok = {.has_address = true, .has_worlds = true, .worlds_len = 70000};
    uint8_t out[200];

    (void)state;
    h.address = address_of("2001:db8::1/1");
    for (size_t cap = 0; cap < 200; cap++) {
        struct wr w = wr_init(out, cap);

        (void)hello_encode(&w, &h, moons, 3);
        assert_int_equal(w.bad, cap < HELLO_FIXED_MAX + 3 * HELLO_MOON_LEN);
    }
    for (unsigned lacking = 0; lacking < 3; lacking++) { /* moons need a tail to stand in */
        struct hello shorter = h;
        struct wr w = wr_init(out, sizeof(out));

        shorter.has_address = lacking != 0;
        shorter.has_planet = lacking != 1;
        shorter.has_tail = lacking != 2;
        (void)hello_encode(&w, &shorter, moons, 1);
        assert_true(w.bad);
    }
    {
        static uint8_t big[80000];
        struct wr w = wr_init(big, sizeof(big));

        ok.worlds = big;
        ok_hello_encode(&w, &ok);
        assert_true(w.bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_vectors),
        cmocka_unit_test(test_plain_layout_vectors),
        cmocka_unit_test(test_hello_truncations),
        cmocka_unit_test(test_tail_counts),
        cmocka_unit_test(test_private_half_is_ignored),
        cmocka_unit_test(test_ok_hello_vectors),
        cmocka_unit_test(test_ok_hello_truncations),
        cmocka_unit_test(test_reported_port),
        cmocka_unit_test(test_encoders_respect_their_room),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
