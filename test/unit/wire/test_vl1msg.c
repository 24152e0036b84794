/* Payloads of the small VL1 verbs. Checklist: VB-8, VB-22, VB-23, RX-9; codec part of VB-14, VB-17,
 * BD-4, BD-11. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/identity.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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

static uint64_t hex_of(const json_t *text)
{
    uint64_t v;

    assert_int_equal(hex_to_u64(json_string_value(text), json_string_length(text), 16, &v), 0);
    return v;
}

static const json_t *identity_entry(const char *name)
{
    const json_t *list = vec_get(vl1, "identities");

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(vec_text(json_array_get(list, i), "name"), name) == 0) {
            return json_array_get(list, i);
        }
    }
    fail_msg("no identity %s", name);
    return NULL;
}

static void check_whois(const json_t *fields, struct rd in, struct wr *w)
{
    const json_t *addresses = vec_get(fields, "addresses");
    uint64_t address;

    for (size_t i = 0; i < json_array_size(addresses); i++) {
        assert_true(whois_next(&in, &address));
        assert_true(address == hex_of(json_array_get(addresses, i)));
        whois_encode(w, &address, 1);
    }
    assert_false(whois_next(&in, &address));
}

static void check_ok(const json_t *fields, struct rd in, struct wr *w)
{
    struct reply_head head;

    assert_int_equal(ok_head_read(&in, &head), 0);
    assert_true(head.id == vec_hex_u64(fields, "in_re_packet_id"));
    ok_head_write(w, &head);
    if (head.verb == VERB_WHOIS) {
        const json_t *names = vec_get(fields, "identities");
        struct identity id;

        for (size_t i = 0; i < json_array_size(names); i++) {
            const json_t *who = identity_entry(json_string_value(json_array_get(names, i)));
            char text[IDENTITY_TEXT_LEN];

            assert_int_equal(ok_whois_next(&in, &id), 1);
            identity_print(&id, false, text);
            assert_string_equal(text, vec_text(who, "public"));
            identity_write(w, &id, false);
        }
        assert_int_equal(ok_whois_next(&in, &id), 0);
    } else {
        size_t len = rd_left(&in);

        assert_int_equal(head.verb, VERB_ECHO);
        wr_bytes(w, rd_bytes(&in, len), len);
    }
}

static void check_rendezvous(const json_t *fields, struct rd in, struct wr *w)
{
    const json_t *who = identity_entry(vec_text(fields, "with"));
    struct rendezvous msg;
    char text[INETADDR_TEXT_LEN];

    assert_int_equal(rendezvous_decode(in, &msg), 0);
    assert_true(msg.address == vec_hex_u64(who, "address"));
    inetaddr_print(&msg.at, text);
    assert_string_equal(text, vec_text(fields, "address"));
    assert_int_equal(msg.flags, 0);
    rendezvous_encode(w, &msg);
}

static void check_push(const json_t *fields, struct rd in, struct wr *w)
{
    const json_t *expected = vec_get(fields, "paths");
    struct push_paths walk;
    struct push_path paths[16];
    size_t count = json_array_size(expected);
    size_t len = rd_left(&in);
    bool plain = true;

    assert_int_equal(push_paths_decode(in, &walk), 0);
    for (size_t i = 0; i < count; i++) {
        const json_t *c = json_array_get(expected, i);
        char text[INETADDR_TEXT_LEN];

        assert_int_equal(push_paths_next(&walk, &paths[i]), 1);
        inetaddr_print(&paths[i].at, text);
        if (vec_bool_or(c, "skip", false)) {
            assert_string_equal(text, "");
        } else {
            assert_string_equal(text, vec_text(c, "address"));
            assert_int_equal(paths[i].flags, vec_int(c, "flags"));
        }
        plain =
            plain && json_object_get(c, "skip") == NULL && json_object_get(c, "extension") == NULL;
    }
    assert_int_equal(push_paths_next(&walk, &paths[0]), 0);
    if (plain) {
        assert_int_equal(push_paths_encode(w, paths, count), count);
    } else { /* we send no extension and no unknown type */
        wr_bytes(w, in.p, len);
    }
}

/* The note of our own nodes comes back; others, and whoever extends it, are read too. */
static void test_push_notes(void **state)
{
    static const struct {
        const char *extension;
        bool there;
        uint8_t nat;
        uint8_t flags;
    } cases[] = {
        {"504e0301", true, 3, 1}, {"504e0400ffff", true, 4, 0}, {"", false, 0, 0},
        {"504e03", false, 0, 0},  {"504f0301", false, 0, 0},    {"01020304", false, 0, 0},
    };
    struct push_paths walk;
    struct push_path path;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t body[64];
        struct wr w = wr_init(body, sizeof(body));
        size_t len;
        uint8_t *extension = hex_bytes(cases[i].extension, &len);

        wr_u16(&w, 1);
        wr_u8(&w, 0);
        wr_u16(&w, (uint16_t)len);
        wr_bytes(&w, extension, len);
        wr_bytes(&w, (const uint8_t[]){4, 6, 10, 1, 2, 3, 0, 80}, 8);
        assert_int_equal(push_paths_decode(rd_init(body, wr_len(&w)), &walk), 0);
        assert_int_equal(push_paths_next(&walk, &path), 1);
        assert_int_equal(path.at.port, 80);
        assert_int_equal(path.note.there, cases[i].there);
        assert_int_equal(path.note.nat, cases[i].nat);
        assert_int_equal(path.note.flags, cases[i].flags);
        if (cases[i].there && len == 4) {
            uint8_t again[64];
            struct wr w2 = wr_init(again, sizeof(again));

            assert_int_equal(push_paths_encode(&w2, &path, 1), 1);
            assert_int_equal(wr_len(&w2), wr_len(&w));
            assert_memory_equal(again, body, wr_len(&w));
        }
        free(extension);
    }
}

static void check_trace(struct rd in, struct wr *w)
{
    static const char *const texts[] = {"event=1002\nremoteZtAddr=0123456789", "event=1003\n"};
    struct dict d;

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_true(remote_trace_next(&in, &d));
        assert_int_equal(d.len, strlen(texts[i]));
        assert_memory_equal(d.text, texts[i], d.len);
        remote_trace_write(w, d.text, d.len);
    }
    assert_false(remote_trace_next(&in, &d));
}

static void check_user_message(const json_t *fields, struct rd in, struct wr *w)
{
    struct user_message msg;
    size_t len;
    uint8_t *data = vec_bytes(fields, "data", &len);

    assert_int_equal(user_message_decode(in, &msg), 0);
    assert_true(msg.type == vec_hex_u64(fields, "type_id"));
    assert_int_equal(msg.len, len);
    assert_memory_equal(msg.data, data, len);
    user_message_encode(w, &msg);
    free(data);
}

static void check_packet(const json_t *c, struct rd in, struct wr *w)
{
    const json_t *fields = vec_get(c, "fields");
    uint32_t bytes;
    int16_t utility;

    switch (vec_int(c, "verb")) {
    case VERB_NOP:
    case VERB_ECHO: /* opaque */
        wr_bytes(w, in.p, rd_left(&in));
        break;
    case VERB_WHOIS:
        check_whois(fields, in, w);
        break;
    case VERB_OK:
        check_ok(fields, in, w);
        break;
    case VERB_RENDEZVOUS:
        check_rendezvous(fields, in, w);
        break;
    case VERB_PUSH_DIRECT_PATHS:
        check_push(fields, in, w);
        break;
    case VERB_USER_MESSAGE:
        check_user_message(fields, in, w);
        break;
    case VERB_REMOTE_TRACE:
        check_trace(in, w);
        break;
    case VERB_PATH_NEGOTIATION_REQUEST:
        assert_int_equal(path_negotiation_decode(in, &utility), 0);
        assert_int_equal(utility, vec_int(fields, "utility"));
        wr_u16(w, (uint16_t)utility);
        break;
    case VERB_ACK:
        assert_int_equal(ack_decode(in, &bytes), 0);
        assert_int_equal(bytes, vec_int(fields, "bytes"));
        wr_u32(w, bytes);
        break;
    default:
        fail_msg("no codec for verb %d", (int)vec_int(c, "verb"));
    }
}

/* VB-8: each entry decodes to its fields and encodes to the same payload. */
static void test_packet_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "packets");

    (void)state;
    assert_int_equal(json_array_size(cases), 18);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *payload = vec_bytes(c, "payload", &len);
        uint8_t built[512];
        struct wr w = wr_init(built, sizeof(built));

        check_packet(c, rd_init(payload, len), &w);
        assert_false(w.bad);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(built, payload, len);
        free(payload);
    }
}

/* VB-8: the compressed one. */
static void test_compressed_packet_vector(void **state)
{
    const json_t *cases = vec_get(vl1, "packets");
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        uint8_t pkt[PACKET_MAX];
        uint8_t scratch[PACKET_MAX];
        size_t len;
        size_t block_len;
        uint8_t *payload;
        uint8_t *block;

        if (!vec_bool_or(c, "compressed", false)) {
            continue;
        }
        payload = vec_bytes(c, "payload", &len);
        block = vec_bytes(c, "compressed_payload", &block_len);
        packet_start(pkt, 1, 2, 3, (enum verb)vec_int(c, "verb"));
        pkt[PACKET_AT_VERB] |= VERB_COMPRESSED;
        memcpy(pkt + PACKET_AT_PAYLOAD, block, block_len);
        assert_int_equal(packet_decompress(pkt, PACKET_AT_PAYLOAD + block_len, scratch),
                         PACKET_AT_PAYLOAD + len);
        assert_memory_equal(pkt + PACKET_AT_PAYLOAD, payload, len);
        seen++;
        free(block);
        free(payload);
    }
    assert_int_equal(seen, 1);
}

/* VB-8 */
static void test_error_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "errors");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *fields = vec_get(c, "fields");
        size_t len;
        uint8_t *payload = vec_bytes(c, "payload", &len);
        struct error_msg msg;
        uint8_t built[256];
        struct wr w = wr_init(built, sizeof(built));

        assert_int_equal(error_decode(rd_init(payload, len), &msg), 0);
        assert_int_equal(msg.head.verb, vec_int(fields, "in_re_verb"));
        assert_true(msg.head.id == vec_hex_u64(fields, "in_re_packet_id"));
        assert_int_equal(msg.code, vec_int(fields, "code"));
        if (json_object_get(fields, "network_id") != NULL) {
            assert_true(msg.network_id == vec_hex_u64(fields, "network_id"));
        } else {
            assert_true(msg.network_id == 0);
        }
        if (json_object_get(fields, "mac") != NULL) {
            assert_true(msg.mac == vec_hex_u64(fields, "mac"));
            assert_int_equal(msg.adi, vec_int(fields, "adi"));
        }
        assert_int_equal(msg.has_data, json_object_get(fields, "data") != NULL);
        if (msg.has_data) {
            assert_int_equal(msg.data_len, strlen(vec_text(fields, "data")));
            assert_memory_equal(msg.data, vec_text(fields, "data"), msg.data_len);
        }
        error_encode(&w, &msg);
        assert_false(w.bad);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(built, payload, len);
        free(payload);
    }
}

/* RX-9: which lengths of an ERROR are whole. */
static void test_error_lengths(void **state)
{
    static const struct {
        uint8_t code;
        uint8_t in_re;
        size_t min;
    } cases[] = {
        {ERROR_NONE, VERB_WHOIS, 10},
        {ERROR_OBJ_NOT_FOUND, VERB_NETWORK_CONFIG_REQUEST, 18},
        {ERROR_OBJ_NOT_FOUND, VERB_WHOIS, 10}, /* concerns no network */
        {ERROR_IDENTITY_COLLISION, VERB_HELLO, 10},
        {ERROR_UNSUPPORTED_OPERATION, VERB_NETWORK_CONFIG_REQUEST, 18},
        {ERROR_NEED_MEMBERSHIP_CERTIFICATE, VERB_FRAME, 18},
        {ERROR_NETWORK_ACCESS_DENIED, VERB_NETWORK_CONFIG_REQUEST, 18},
        {ERROR_UNWANTED_MULTICAST, VERB_MULTICAST_FRAME, 28},
        {ERROR_NETWORK_AUTHENTICATION_REQUIRED, VERB_NETWORK_CONFIG_REQUEST, 18},
        {0x77, VERB_HELLO, 10},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[30] = {0};

        bytes[0] = cases[i].in_re;
        bytes[9] = cases[i].code;
        for (size_t len = 0; len <= sizeof(bytes); len++) {
            uint8_t *part = exact_copy(bytes, len);
            struct error_msg msg;

            assert_int_equal(error_decode(rd_init(part, len), &msg),
                             len >= cases[i].min ? 0 : -EBADMSG);
            free(part);
        }
    }
}

static void test_error_data_beyond_the_end_is_refused(void **state)
{
    uint8_t bytes[24] = {VERB_NETWORK_CONFIG_REQUEST};
    struct error_msg msg;

    (void)state;
    bytes[9] = ERROR_NETWORK_ACCESS_DENIED;
    bytes[19] = 4;
    assert_int_equal(error_decode(rd_init(bytes, 24), &msg), 0);
    assert_true(msg.has_data);
    assert_int_equal(msg.data_len, 4);
    assert_int_equal(error_decode(rd_init(bytes, 23), &msg), -EBADMSG);
    assert_int_equal(error_decode(rd_init(bytes, 19), &msg), 0); /* half a length: none */
    assert_false(msg.has_data);
}

static void test_whois_remainder_is_ignored(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    struct rd in = rd_init(bytes, sizeof(bytes));
    uint64_t address;

    (void)state;
    assert_true(whois_next(&in, &address));
    assert_true(address == 0x0102030405);
    assert_true(whois_next(&in, &address));
    assert_true(address == 0x060708090a);
    assert_false(whois_next(&in, &address));
}

static void test_ok_whois_stops_at_damage(void **state)
{
    const json_t *who = identity_entry("alice");
    size_t len;
    uint8_t *one = vec_bytes(who, "binary_public", &len);
    uint8_t two[142];
    struct identity id;
    struct rd in;

    (void)state;
    assert_int_equal(len, 71);
    memcpy(two, one, 71);
    memcpy(two + 71, one, 71);
    in = rd_init(two, 141);
    assert_int_equal(ok_whois_next(&in, &id), 1);
    assert_int_equal(ok_whois_next(&in, &id), -EBADMSG);
    assert_int_equal(ok_whois_next(&in, &id), -EBADMSG);
    free(one);
}

/* VB-14: what makes a RENDEZVOUS void, and what makes it malformed. */
static void test_rendezvous_forms(void **state)
{
    static const struct {
        const char *hex;
        int result;
        const char *at;
    } cases[] = {
        {"0001020304052709040a000001", 0, "10.0.0.1/9993"},
        {"ff01020304052709040a000001", 0, "10.0.0.1/9993"},
        {"0001020304050000040a000001", 0, ""},   /* port 0 */
        {"0001020304052709050a00000101", 0, ""}, /* length 5 */
        {"000102030405270900", 0, ""},           /* length 0 */
        {"0001020304052709040a000001ee", 0, "10.0.0.1/9993"},
        {"0001020304052709040a0000", -EBADMSG, NULL},
        {"00010203040527091020010db80000000000000000000001", -EBADMSG, NULL},
        {"0001020304052709", -EBADMSG, NULL},
        {"", -EBADMSG, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len;
        uint8_t *bytes = hex_bytes(cases[i].hex, &len);
        struct rendezvous msg;
        char text[INETADDR_TEXT_LEN];

        assert_int_equal(rendezvous_decode(rd_init(bytes, len), &msg), cases[i].result);
        if (cases[i].result == 0) {
            inetaddr_print(&msg.at, text);
            assert_string_equal(text, cases[i].at);
            assert_true(msg.address == 0x0102030405);
        }
        free(bytes);
    }
}

/* VB-17: lengths that do not suit their type, extensions, truncation. */
static const struct {
    const char *hex;
    const char *at[3]; /* results in order; NULL: -EBADMSG */
    int count;
} push_cases[] = {
    {"0000", {NULL}, 0},
    {"0001"
     "00"
     "0000"
     "04"
     "06"
     "0a000001"
     "2709",
     {"10.0.0.1/9993"},
     1},
    {"0001"
     "01"
     "0000"
     "04"
     "06"
     "0a000001"
     "2709",
     {"10.0.0.1/9993"},
     1},
    {"0001"
     "00"
     "0003aabbcc"
     "04"
     "06"
     "0a000001"
     "2709",
     {"10.0.0.1/9993"},
     1},
    {"0001"
     "00"
     "0000"
     "04"
     "08"
     "0a000001"
     "2709"
     "ffff",
     {"10.0.0.1/9993"},
     1},
    {"0002"
     "00"
     "0000"
     "04"
     "04"
     "0a000001"
     "00"
     "0000"
     "04"
     "06"
     "0a000002"
     "0001",
     {"", "10.0.0.2/1"},
     2},
    {"0001"
     "00"
     "0000"
     "06"
     "06"
     "0a000001"
     "2709",
     {""},
     1},
    {"0002"
     "00"
     "0000"
     "09"
     "00"
     "00"
     "0000"
     "04"
     "06"
     "0a000002"
     "0001",
     {"", "10.0.0.2/1"},
     2},
    {"0002"
     "00"
     "0000"
     "04"
     "06"
     "0a000001"
     "2709",
     {"10.0.0.1/9993", NULL},
     2},
    {"0001"
     "00"
     "0000"
     "04"
     "06"
     "0a000001"
     "27",
     {NULL},
     1},
    {"0001"
     "00"
     "0005aabbcc"
     "04",
     {NULL},
     1},
    {"0001"
     "00"
     "0000"
     "04",
     {NULL},
     1},
};

static void test_push_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(push_cases); i++) {
        size_t len;
        uint8_t *bytes = hex_bytes(push_cases[i].hex, &len);
        struct push_paths walk;
        struct push_path path;
        char text[INETADDR_TEXT_LEN];
        bool bad = false;

        assert_int_equal(push_paths_decode(rd_init(bytes, len), &walk), 0);
        for (int k = 0; k < push_cases[i].count && !bad; k++) {
            bad = push_cases[i].at[k] == NULL;
            assert_int_equal(push_paths_next(&walk, &path), bad ? -EBADMSG : 1);
            if (!bad) {
                inetaddr_print(&path.at, text);
                assert_string_equal(text, push_cases[i].at[k]);
            }
        }
        assert_int_equal(push_paths_next(&walk, &path), bad ? -EBADMSG : 0);
        free(bytes);
    }
    {
        struct push_paths walk;

        assert_int_equal(push_paths_decode(rd_init("\1", 1), &walk), -EBADMSG);
    }
}

/* A packet takes as many records as fit and tells how far it came. */
static void test_push_fills_the_room(void **state)
{
    struct push_path paths[100] = {0};
    uint8_t out[1200];
    size_t done = 0;
    unsigned packets = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        paths[i].at.family = i % 5 == 0 ? INETADDR_NIL : i % 2 == 0 ? INETADDR_V4 : INETADDR_V6;
        paths[i].at.port = (uint16_t)i;
    }
    while (done < COUNT_OF(paths)) {
        struct wr w = wr_init(out, sizeof(out));
        size_t n = push_paths_encode(&w, paths + done, COUNT_OF(paths) - done);
        struct push_paths walk;
        struct push_path path;
        size_t at = done;

        assert_false(w.bad);
        assert_true(n > 0);
        assert_int_equal(push_paths_decode(rd_init(out, wr_len(&w)), &walk), 0);
        while (push_paths_next(&walk, &path) > 0) {
            at += paths[at].at.family == INETADDR_NIL;
            assert_int_equal(path.at.port, paths[at].at.port);
            at++;
        }
        assert_int_equal(walk.left, 0);
        done += n;
        packets++;
    }
    assert_int_equal(packets, 2);
    {
        struct wr w = wr_init(out, 1);

        assert_int_equal(push_paths_encode(&w, paths + 1, 1), 0);
        assert_true(w.bad);
    }
}

/* VB-22 */
static void test_short_user_message_is_ignored(void **state)
{
    static const uint8_t bytes[9] = {0, 0, 0, 0, 0, 0, 0, 100, 1};
    struct user_message msg;

    (void)state;
    for (size_t len = 0; len < 8; len++) {
        assert_int_equal(user_message_decode(rd_init(bytes, len), &msg), -ENODATA);
    }
    assert_int_equal(user_message_decode(rd_init(bytes, 8), &msg), 0);
    assert_int_equal(msg.len, 0);
    assert_int_equal(user_message_decode(rd_init(bytes, 9), &msg), 0);
    assert_int_equal(msg.len, 1);
    assert_true(msg.type == 100);
}

/* VB-23, TRC-2 */
static void test_remote_trace_pieces(void **state)
{
    static const char bytes[] = "\0a=1\0\0b=2\0tail";
    struct rd in = rd_init(bytes, sizeof(bytes) - 1);
    struct dict d;

    (void)state;
    assert_true(remote_trace_next(&in, &d));
    assert_int_equal(dict_get_u64(d, "a", 9), 1);
    assert_true(remote_trace_next(&in, &d));
    assert_int_equal(dict_get_u64(d, "b", 9), 2);
    assert_false(remote_trace_next(&in, &d));
    assert_int_equal(rd_left(&in), 0);
    in = rd_init("", 0);
    assert_false(remote_trace_next(&in, &d));
}

/* TRC-2 */
static void test_remote_trace_length_limit(void **state)
{
    static char bytes[2 * (REMOTE_TRACE_MAX + 2)];
    struct rd in = rd_init(bytes, sizeof(bytes));
    struct dict d;

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    bytes[REMOTE_TRACE_MAX + 1] = '\0';                    /* one too long */
    bytes[REMOTE_TRACE_MAX + 2 + REMOTE_TRACE_MAX] = '\0'; /* just right */
    assert_true(remote_trace_next(&in, &d));
    assert_int_equal(d.len, REMOTE_TRACE_MAX);
    assert_ptr_equal(d.text, bytes + REMOTE_TRACE_MAX + 2);
    assert_false(remote_trace_next(&in, &d));
}

/* BD-4: little-endian, ten bytes; lengths 9 to 1400. */
static void test_qos_records(void **state)
{
    struct qos_sample sample = {0x0102030405060708, 0xa1b2};
    uint8_t out[2000] = {0};
    struct wr w = wr_init(out, sizeof(out));
    struct rd in;

    (void)state;
    qos_write(&w, &sample);
    assert_memory_equal(out, "\x08\x07\x06\x05\x04\x03\x02\x01\xb2\xa1", 10);
    sample = (struct qos_sample){7, 8};
    qos_write(&w, &sample);
    assert_int_equal(qos_decode(rd_init(out, 29)), 2);
    in = rd_init(out, 29); /* a remainder of 9 */
    assert_true(qos_next(&in, &sample));
    assert_true(sample.packet_id == 0x0102030405060708);
    assert_int_equal(sample.hold_ms, 0xa1b2);
    assert_true(qos_next(&in, &sample));
    assert_true(sample.packet_id == 7);
    assert_false(qos_next(&in, &sample));
    assert_int_equal(qos_decode(rd_init(out, 8)), -EBADMSG);
    assert_int_equal(qos_decode(rd_init(out, 9)), 0);
    assert_int_equal(qos_decode(rd_init(out, 1400)), 140);
    assert_int_equal(qos_decode(rd_init(out, 1401)), -EBADMSG);
}

/* BD-11 */
static void test_dormant_verbs_have_exact_lengths(void **state)
{
    static const uint8_t bytes[8] = {0};
    uint32_t acked;
    int16_t utility;

    (void)state;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        assert_int_equal(ack_decode(rd_init(bytes, len), &acked), len == 4 ? 0 : -EBADMSG);
        assert_int_equal(path_negotiation_decode(rd_init(bytes, len), &utility),
                         len == 2 ? 0 : -EBADMSG);
    }
}

static void test_legacy_beacon_vector(void **state)
{
    const json_t *c = vec_get(vl1, "legacy_beacon");
    size_t len;
    uint8_t *bytes = vec_bytes(c, "datagram", &len);
    uint8_t built[BEACON_LEN];
    struct wr w = wr_init(built, sizeof(built));

    (void)state;
    assert_int_equal(len, BEACON_LEN);
    assert_int_equal(datagram_classify(bytes, len), DATAGRAM_BEACON);
    assert_true(beacon_address(bytes) == vec_hex_u64(identity_entry("alice"), "address"));
    beacon_encode(&w, bytes, beacon_address(bytes));
    assert_false(w.bad);
    assert_memory_equal(built, bytes, len);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packet_vectors),
        cmocka_unit_test(test_compressed_packet_vector),
        cmocka_unit_test(test_error_vectors),
        cmocka_unit_test(test_error_lengths),
        cmocka_unit_test(test_error_data_beyond_the_end_is_refused),
        cmocka_unit_test(test_whois_remainder_is_ignored),
        cmocka_unit_test(test_ok_whois_stops_at_damage),
        cmocka_unit_test(test_rendezvous_forms),
        cmocka_unit_test(test_push_forms),
        cmocka_unit_test(test_push_fills_the_room),
        cmocka_unit_test(test_push_notes),
        cmocka_unit_test(test_short_user_message_is_ignored),
        cmocka_unit_test(test_remote_trace_pieces),
        cmocka_unit_test(test_remote_trace_length_limit),
        cmocka_unit_test(test_qos_records),
        cmocka_unit_test(test_dormant_verbs_have_exact_lengths),
        cmocka_unit_test(test_legacy_beacon_vector),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
