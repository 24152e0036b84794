/* Frames and multicast groups: MC-8, FRM-4 (layout), layouts of [outbound], [inbound] and
 * [multicastLikes]. Source: spec 03 sections 8 and 11. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/frame.h"
#include "wire/mac.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { OUT_MAX = 10100 };

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

static uint64_t mac_of(const json_t *o, const char *key)
{
    const char *text = vec_text(o, key);
    uint64_t mac = 0;

    assert_int_equal(mac_parse(text, strlen(text), &mac), 0);
    return mac;
}

/* Decode a payload by its verb and write it again. Returns the result of the decoder. */
static int again(const char *verb, const uint8_t *in, size_t len, struct wr *w)
{
    struct rd r = rd_init(in, len);
    struct com com;
    int err = -ENOENT;

    if (strcmp(verb, "FRAME") == 0) {
        struct frame frame;

        err = frame_read(r, &frame);
        if (err == 0) {
            frame_write(w, &frame);
        }
    } else if (strcmp(verb, "EXT_FRAME") == 0) {
        struct ext_frame frame;

        err = ext_frame_read(r, &com, &frame);
        if (err == 0 && frame.has_frame) {
            ext_frame_write(w, &frame);
        } else if (err == 0) {
            wr_bytes(w, in, len);
        }
    } else if (strcmp(verb, "MULTICAST_FRAME") == 0) {
        struct multicast_frame frame;

        err = multicast_frame_read(r, &com, &frame);
        if (err == 0) {
            multicast_frame_write(w, &frame);
        }
    } else if (strcmp(verb, "MULTICAST_GATHER") == 0) {
        struct multicast_gather gather;

        err = multicast_gather_read(r, &com, &gather);
        if (err == 0) {
            multicast_gather_write(w, &gather);
        }
    } else if (strcmp(verb, "MULTICAST_LIKE") == 0) {
        struct multicast_like like;

        while ((err = multicast_like_next(&r, &like)) == 1) {
            multicast_like_write(w, &like);
        }
    }
    return err;
}

static size_t check_packets(const json_t *packets, const char *result)
{
    const json_t *packet;
    size_t i;
    size_t seen = 0;

    json_array_foreach(packets, i, packet)
    {
        size_t len;
        uint8_t *payload;
        static uint8_t out[OUT_MAX];
        struct wr w = wr_init(out, sizeof(out));
        int err;

        if (json_object_get(packet, "payload") == NULL) {
            continue;
        }
        payload = vec_bytes(packet, "payload", &len);
        err = again(vec_text(packet, "verb"), payload, len, &w);
        if (err != -ENOENT) {
            assert_int_equal(err, strcmp(result, "malformed") == 0 ? -EBADMSG : 0);
            if (err == 0) {
                assert_int_equal(wr_len(&w), len);
                assert_memory_equal(out, payload, len);
            }
            seen++;
        }
        free(payload);
    }
    return seen;
}

static void test_packets_of_vectors_survive(void **state)
{
    const json_t *entry;
    size_t i;
    size_t seen = 0;

    json_array_foreach(vec_get(*state, "outbound"), i, entry)
    {
        seen += check_packets(vec_get(entry, "sent"), "done");
    }
    json_array_foreach(vec_get(*state, "multicastLikes"), i, entry)
    {
        seen += check_packets(vec_get(entry, "sent"), "done");
    }
    json_array_foreach(vec_get(*state, "inbound"), i, entry)
    {
        json_t *one = json_pack("[O]", entry);

        seen += check_packets(one, vec_text(vec_get(entry, "expect"), "outcome"));
        json_decref(one);
    }
    assert_true(seen > 100);
}

/* The unicast frames of [outbound] from their inputs. */
static void test_outbound_frames_from_inputs(void **state)
{
    const uint64_t network_id = vec_hex_u64(vec_get(*state, "meta"), "networkId");
    const json_t *entry;
    const json_t *packet;
    size_t i;
    size_t k;
    size_t seen = 0;

    json_array_foreach(vec_get(*state, "outbound"), i, entry)
    {
        json_array_foreach(vec_get(entry, "sent"), k, packet)
        {
            static uint8_t out[OUT_MAX];
            struct wr w = wr_init(out, sizeof(out));
            size_t frame_len;
            size_t len;
            uint8_t *payload;
            uint8_t *frame;

            if (strcmp(vec_text(packet, "verb"), "FRAME") != 0 &&
                strcmp(vec_text(packet, "verb"), "EXT_FRAME") != 0) {
                continue;
            }
            payload = vec_bytes(packet, "payload", &len);
            frame = vec_bytes(entry, "payload", &frame_len);
            if (strcmp(vec_text(packet, "verb"), "FRAME") == 0) {
                frame_write(&w, &(struct frame){.network_id = network_id,
                                                .ethertype = (uint16_t)vec_int(entry, "etherType"),
                                                .payload = frame,
                                                .len = frame_len});
            } else {
                ext_frame_write(&w, &(struct ext_frame){
                                        .network_id = network_id,
                                        .dest_mac = mac_of(entry, "macDest"),
                                        .source_mac = mac_of(entry, "macSource"),
                                        .ethertype = (uint16_t)vec_int(entry, "etherType"),
                                        .payload = frame,
                                        .len = frame_len,
                                    });
            }
            assert_int_equal(wr_len(&w), len);
            assert_memory_equal(out, payload, len);
            seen++;
            free(payload);
            free(frame);
        }
    }
    assert_true(seen >= 5);
}

/* MC-8: every combination of flags. */
static void test_multicast_frame_flags(void **state)
{
    size_t com_len;
    uint8_t *com_bytes = vec_bytes(
        json_array_get(vec_get(vec_get(*state, "credentials"), "com"), 1), "serialized", &com_len);
    struct rd r = rd_init(com_bytes, com_len);
    struct com com;

    assert_int_equal(com_read(&r, &com), 0);
    for (unsigned flags = 0; flags < 16; flags++) {
        struct multicast_frame frame = {
            .network_id = UINT64_C(0x14d76e47dc000001),
            .source_mac = UINT64_C(0x027204dbecac),
            .group = {.mac = UINT64_C(0x3333000000fb), .adi = 0x01020304},
            .payload = (const uint8_t *)"payload",
            .len = 7,
            .com = (flags & MULTICAST_COM) != 0 ? &com : NULL,
            .gather_limit = 0x20,
            .ethertype = 0x86dd,
            .flags = (uint8_t)flags,
        };
        uint8_t out[400];
        struct wr w = wr_init(out, sizeof(out));
        size_t want = 8 + 1 + (frame.com != NULL ? com_len : 0) +
                      ((flags & MULTICAST_GATHER_LIMIT) != 0 ? 4 : 0) +
                      ((flags & MULTICAST_SOURCE_MAC) != 0 ? 6 : 0) + 6 + 4 + 2 + 7;
        struct multicast_frame back;
        struct com buf;

        multicast_frame_write(&w, &frame);
        assert_int_equal(wr_len(&w), want);
        assert_int_equal(out[8], flags);
        assert_int_equal(multicast_frame_read(rd_init(out, want), &buf, &back), 0);
        assert_int_equal(back.flags, flags);
        assert_int_equal(back.com != NULL, (flags & MULTICAST_COM) != 0);
        assert_int_equal(back.gather_limit, (flags & MULTICAST_GATHER_LIMIT) != 0 ? 0x20 : 0);
        assert_int_equal(back.source_mac,
                         (flags & MULTICAST_SOURCE_MAC) != 0 ? frame.source_mac : 0);
        assert_int_equal(back.group.mac, frame.group.mac);
        assert_int_equal(back.group.adi, frame.group.adi);
        assert_int_equal(back.ethertype, 0x86dd);
        assert_int_equal(back.len, 7);
        assert_memory_equal(back.payload, "payload", 7);
        assert_int_equal(multicast_frame_read(rd_init(out, want), NULL, &back),
                         frame.com != NULL ? -EPROTO : 0);
        for (size_t cut = 0; cut < want - 7; cut++) {
            uint8_t *part = exact_copy(out, cut);

            assert_int_equal(multicast_frame_read(rd_init(part, cut), &buf, &back), -EBADMSG);
            free(part);
        }
    }
    free(com_bytes);
}

/* Spec 03 section 8.4.4: up to 23 bytes there is no frame, and that is no error. */
static void test_short_ext_frames(void **state)
{
    uint8_t bytes[24] = {0x14, 0xd7, 0x6e, 0x47, 0xdc, 0, 0, 1, EXT_FRAME_ACK};
    struct ext_frame frame;
    struct com com;

    (void)state;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        uint8_t *part = exact_copy(bytes, len);

        assert_int_equal(ext_frame_read(rd_init(part, len), &com, &frame), len < 9 ? -EBADMSG : 0);
        if (len >= 9) {
            assert_int_equal(frame.has_frame, len == 24);
            assert_int_equal(frame.flags, EXT_FRAME_ACK);
        }
        free(part);
    }
    assert_int_equal(frame.len, 1);
    bytes[8] = EXT_FRAME_COM;
    assert_int_equal(ext_frame_read(rd_init(bytes, 24), NULL, &frame), -EPROTO);
    assert_int_equal(ext_frame_read(rd_init(bytes, 24), &com, &frame), -EBADMSG);
}

/* A COM cut or damaged behind a gather is ignored (section 11.6). */
static void test_gather_ignores_damaged_com(void **state)
{
    uint8_t bytes[24] = {[8] = MULTICAST_COM, [22] = 5, [23] = 9};
    struct multicast_gather gather;
    struct com com;

    (void)state;
    assert_int_equal(multicast_gather_read(rd_init(bytes, 24), &com, &gather), 0);
    assert_null(gather.com);
    assert_int_equal(gather.limit, 5);
    assert_int_equal(multicast_gather_read(rd_init(bytes, 22), &com, &gather), -EBADMSG);
}

/* The OK replies of [inbound]: read, and written again. */
static void test_gather_replies(void **state)
{
    const json_t *entry;
    const json_t *packet;
    size_t i;
    size_t k;
    size_t seen = 0;

    json_array_foreach(vec_get(*state, "inbound"), i, entry)
    {
        json_array_foreach(vec_get(vec_get(entry, "expect"), "sent"), k, packet)
        {
            size_t len;
            uint8_t *payload = vec_bytes(packet, "payload", &len);
            struct rd r = rd_init(payload, len);
            uint8_t out[500];
            struct wr w = wr_init(out, sizeof(out));
            struct reply_head head;
            struct gather_result got;
            struct com com;
            size_t mark;

            if (strcmp(vec_text(packet, "verb"), "OK") != 0 || ok_head_read(&r, &head) < 0 ||
                (head.verb != VERB_MULTICAST_GATHER && head.verb != VERB_MULTICAST_FRAME)) {
                free(payload);
                continue;
            }
            ok_head_write(&w, &head);
            if (head.verb == VERB_MULTICAST_GATHER) {
                assert_int_equal(gather_ok_read(r, &got), 0);
                mark = gather_ok_write(&w, got.network_id, &got.group, got.total);
            } else {
                assert_int_equal(multicast_frame_ok_read(r, &com, &got), 0);
                mark = multicast_frame_ok_write(&w, got.network_id, &got.group, got.total);
            }
            assert_true(got.has_result);
            for (size_t n = 0; n < got.count; n++) {
                wr_u40(&w, be40_get(got.addresses + 5 * n));
            }
            gather_result_count(&w, mark, got.count);
            assert_int_equal(wr_len(&w), len);
            assert_memory_equal(out, payload, len);
            seen++;
            payload[len - 5 * (size_t)got.count - 1]++; /* one address more than there are */
            if (head.verb == VERB_MULTICAST_GATHER) {
                assert_int_equal(gather_ok_read(r, &got), -EBADMSG);
            } else {
                assert_int_equal(multicast_frame_ok_read(r, &com, &got), -EBADMSG);
            }
            free(payload);
        }
    }
    assert_true(seen >= 5);
}

static void test_multicast_frame_ok_without_results(void **state)
{
    uint8_t bytes[19] = {[18] = 0};
    struct gather_result got;

    (void)state;
    assert_int_equal(multicast_frame_ok_read(rd_init(bytes, sizeof(bytes)), NULL, &got), 0);
    assert_false(got.has_result);
    assert_int_equal(got.count, 0);
    bytes[18] = MULTICAST_COM;
    assert_int_equal(multicast_frame_ok_read(rd_init(bytes, sizeof(bytes)), NULL, &got), -EPROTO);
    bytes[18] = MULTICAST_GATHER_LIMIT;
    assert_int_equal(multicast_frame_ok_read(rd_init(bytes, sizeof(bytes)), NULL, &got), -EBADMSG);
}

static bool has_reply(const json_t *entry, const uint8_t *want, size_t want_len)
{
    const json_t *packet;
    size_t k;
    bool found = false;

    json_array_foreach(vec_get(vec_get(entry, "expect"), "sent"), k, packet)
    {
        size_t len;
        uint8_t *payload = vec_bytes(packet, "payload", &len);

        found = found || (len == want_len && memcmp(payload, want, len) == 0);
        free(payload);
    }
    return found;
}

/* FRM-4, and the acknowledgement of EXT_FRAME. */
static void test_error_and_acknowledgement_layout(void **state)
{
    const json_t *entry;
    size_t i;
    size_t seen = 0;

    json_array_foreach(vec_get(*state, "inbound"), i, entry)
    {
        const char *name = vec_text(entry, "name");
        uint8_t out[40];
        struct wr w = wr_init(out, sizeof(out));
        uint64_t id = vec_hex_u64(entry, "packetId");
        uint64_t network_id = vec_hex_u64(vec_get(*state, "meta"), "networkId");

        if (strcmp(name, "EXT_FRAME with ACK flag") == 0) {
            ext_frame_ack_write(&w, id, network_id);
        } else if (strcmp(name, "EXT_FRAME without COM") == 0) {
            error_encode(&w, &(struct error_msg){
                                 .head = {.verb = VERB_EXT_FRAME, .id = id},
                                 .code = ERROR_NEED_MEMBERSHIP_CERTIFICATE,
                                 .network_id = network_id,
                             });
        } else {
            continue;
        }
        assert_true(has_reply(entry, out, wr_len(&w)));
        seen++;
    }
    assert_int_equal(seen, 2);
}

static void test_likes_end_with_a_whole_record(void **state)
{
    uint8_t bytes[2 * MULTICAST_LIKE_LEN] = {0};

    (void)state;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        uint8_t *part = exact_copy(bytes, len);
        struct rd r = rd_init(part, len);
        struct multicast_like like;
        size_t n = 0;
        int err;

        while ((err = multicast_like_next(&r, &like)) == 1) {
            n++;
        }
        assert_int_equal(n, len / MULTICAST_LIKE_LEN);
        assert_int_equal(err, len % MULTICAST_LIKE_LEN == 0 ? 0 : -EBADMSG);
        assert_int_equal(multicast_like_next(&r, &like), err);
        free(part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_of_vectors_survive),
        cmocka_unit_test(test_outbound_frames_from_inputs),
        cmocka_unit_test(test_multicast_frame_flags),
        cmocka_unit_test(test_short_ext_frames),
        cmocka_unit_test(test_gather_ignores_damaged_com),
        cmocka_unit_test(test_gather_replies),
        cmocka_unit_test(test_multicast_frame_ok_without_results),
        cmocka_unit_test(test_error_and_acknowledgement_layout),
        cmocka_unit_test(test_likes_end_with_a_whole_record),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
