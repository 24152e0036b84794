/* Delivery of configurations: CFG-2, CFG-3, CFG-8 (layout), NET-7. Source: spec 03 sections 3, 4.
 */
#include "vectors.h"

#include "base/hex.h"
#include "wire/config_chunk.h"
#include "wire/identity.h"
#include "wire/netconf.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

struct fixture {
    json_t *root;
    struct identity controller;
};

static int load(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    const char *text;

    if (fx == NULL) {
        return -1;
    }
    fx->root = vectors_load("vl2.json");
    text = vec_text(vec_get(vec_get(fx->root, "identities"), "C"), "secret");
    *state = fx;
    return identity_parse(text, strlen(text), &fx->controller);
}

static int unload(void **state)
{
    struct fixture *fx = *state;

    json_decref(fx->root);
    free(fx);
    return 0;
}

static bool is_reply(const json_t *update)
{
    return strcmp(vec_text(update, "requestPacketId"), "0000000000000000") != 0;
}

/* One packet of an update against all its fields, and written again. */
static void check_packet(const struct fixture *fx, const json_t *update, const json_t *packet,
                         uint8_t *assembled)
{
    size_t len;
    uint8_t *payload = vec_bytes(packet, "payload", &len);
    struct rd r = rd_init(payload, len);
    struct config_chunk chunk;
    uint8_t out[10000];
    struct wr w = wr_init(out, sizeof(out));
    size_t signed_len;
    uint8_t *signed_bytes = vec_bytes(packet, "signedBytes", &signed_len);

    if (is_reply(update)) {
        struct reply_head head;

        assert_int_equal(ok_head_read(&r, &head), 0);
        assert_int_equal(head.verb, 0x0b);
        assert_int_equal(head.id, vec_hex_u64(update, "requestPacketId"));
    }
    assert_int_equal(config_chunk_read(r, &chunk), 0);
    assert_int_equal(chunk.data_len, vec_int(packet, "chunkLength"));
    assert_int_equal(chunk.flags, vec_int(packet, "flags"));
    assert_int_equal(chunk.update_id, vec_hex_u64(packet, "updateId"));
    assert_int_equal(chunk.total, vec_int(packet, "totalLength"));
    assert_int_equal(chunk.index, vec_int(packet, "chunkIndex"));
    assert_int_equal(signed_len, chunk.raw_len - 3 - SIGNATURE_LEN);
    assert_memory_equal(chunk.raw, signed_bytes, signed_len);
    assert_int_equal(chunk.raw_len, rd_left(&r));
    assert_int_equal(chunk.raw_len, chunk.data_len + CONFIG_CHUNK_OVERHEAD);
    assert_int_equal(config_chunk_verify(&chunk, &fx->controller), 0);
    config_chunk_write(&w, &chunk, &fx->controller);
    assert_int_equal(wr_len(&w), chunk.raw_len);
    assert_memory_equal(out, chunk.raw, chunk.raw_len);
    memcpy(assembled + chunk.index, chunk.data, chunk.data_len);
    free(signed_bytes);
    free(payload);
}

static void test_sent_vectors(void **state)
{
    const struct fixture *fx = *state;
    const json_t *update;
    size_t i;

    json_array_foreach(vec_get(vec_get(fx->root, "configChunks"), "sent"), i, update)
    {
        size_t len;
        uint8_t *dict = vec_bytes(update, "dictionary", &len);
        uint8_t *assembled = calloc(1, len);
        const json_t *packet;
        size_t k;

        assert_int_equal(len, vec_int(update, "totalLength"));
        json_array_foreach(vec_get(update, "packets"), k, packet)
        {
            check_packet(fx, update, packet, assembled);
        }
        assert_memory_equal(assembled, dict, len);
        free(assembled);
        free(dict);
    }
    assert_int_equal(i, 3);
}

/* A push packet of the vectors with one chunk. */
static uint8_t *push_packet(const struct fixture *fx, size_t *ret_len)
{
    const json_t *update = json_array_get(vec_get(vec_get(fx->root, "configChunks"), "sent"), 1);

    return vec_bytes(json_array_get(vec_get(update, "packets"), 0), "payload", ret_len);
}

/* CFG-2 */
static void test_any_altered_byte_is_dropped(void **state)
{
    const struct fixture *fx = *state;
    size_t len;
    uint8_t *payload = push_packet(fx, &len);

    for (size_t i = 0; i < len; i++) {
        struct config_chunk chunk;

        payload[i] ^= 0x04;
        if (config_chunk_read(rd_init(payload, len), &chunk) == 0) {
            assert_int_equal(config_chunk_verify(&chunk, &fx->controller), -EACCES);
        }
        payload[i] ^= 0x04;
    }
    free(payload);
}

/* CFG-3, and cut at every length. */
static void test_malformed_chunks(void **state)
{
    const struct fixture *fx = *state;
    size_t len;
    uint8_t *payload = push_packet(fx, &len);
    size_t tail = len - CONFIG_CHUNK_OVERHEAD + 10; /* of the byte after the data */
    const struct {
        size_t at;
        const char *hex;
    } table[] = {
        {tail + 17, "02"},   /* signature type */
        {tail + 18, "005f"}, /* signature length */
        {tail + 18, "0061"},
        {tail + 9, "00000001"},  /* total below the part */
        {tail + 13, "00000001"}, /* part beyond the total */
        {tail + 13, "ffffffff"},
        {tail + 9, "00100001"},         /* total above the bound */
        {tail + 1, "0000000000000000"}, /* update ID */
    };

    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint8_t *bad = exact_copy(payload, len);
        size_t n;
        uint8_t *bytes = hex_bytes(table[i].hex, &n);
        struct config_chunk chunk;

        memcpy(bad + table[i].at, bytes, n);
        assert_int_equal(config_chunk_read(rd_init(bad, len), &chunk), -EBADMSG);
        free(bytes);
        free(bad);
    }
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = exact_copy(payload, cut);
        struct config_chunk chunk;
        int err = config_chunk_read(rd_init(part, cut), &chunk);

        assert_int_equal(err, cut == tail ? 0 : -EBADMSG); /* the legacy form ends with the data */
        free(part);
    }
    free(payload);
}

/* The bound is above the capacity of the reference (484520). */
static void test_large_totals_are_taken(void **state)
{
    const struct fixture *fx = *state;
    uint8_t out[200];
    struct wr w = wr_init(out, sizeof(out));
    struct config_chunk chunk = {
        .network_id = UINT64_C(0x14d76e47dc000001),
        .update_id = 5,
        .data = (const uint8_t *)"x",
        .data_len = 1,
        .total = NETCONF_DICT_MAX,
        .index = NETCONF_DICT_MAX - 1,
        .flags = CONFIG_CHUNK_FAST,
    };
    struct config_chunk back;

    config_chunk_write(&w, &chunk, &fx->controller);
    wr_zero(&w, 7); /* ignored */
    assert_int_equal(config_chunk_read(rd_init(out, wr_len(&w)), &back), 0);
    assert_int_equal(back.raw_len, 1 + CONFIG_CHUNK_OVERHEAD);
    assert_int_equal(back.flags, CONFIG_CHUNK_FAST);
    assert_int_equal(config_chunk_verify(&back, &fx->controller), 0);
}

static void test_legacy_form(void **state)
{
    const struct fixture *fx = *state;
    static const uint8_t bytes[] = {0x14, 0xd7, 0x6e, 0x47, 0xdc, 0, 0, 1, 0, 3, 'v', '=', '7'};
    struct config_chunk chunk;

    assert_int_equal(config_chunk_read(rd_init(bytes, sizeof(bytes)), &chunk), 0);
    assert_null(chunk.signature);
    assert_int_equal(chunk.total, 3);
    assert_int_equal(chunk.index, 0);
    assert_int_equal(config_chunk_verify(&chunk, &fx->controller), -EACCES);
}

/* NET-7 */
static void test_request_vectors(void **state)
{
    const struct fixture *fx = *state;
    const json_t *entry;
    size_t i;

    json_array_foreach(vec_get(fx->root, "configRequests"), i, entry)
    {
        const json_t *packet = json_array_get(vec_get(entry, "sent"), 0);
        const char *meta = vec_text(entry, "metadataText");
        size_t len;
        uint8_t *payload = vec_bytes(packet, "payload", &len);
        struct config_request req;
        uint8_t out[2000];
        struct wr w = wr_init(out, sizeof(out));
        char tail[33];

        assert_int_equal(config_request_read(rd_init(payload, len), &req), 0);
        assert_int_equal(req.meta_len, strlen(meta));
        assert_memory_equal(req.meta, meta, req.meta_len);
        hex_from_u64(req.revision, 16, tail);
        hex_from_u64(req.timestamp, 16, tail + 16);
        assert_string_equal(tail, vec_text(entry, "tail"));
        config_request_write(&w, &req);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(out, payload, len);
        free(payload);
    }
}

static void test_short_requests(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 'v', 9};
    const struct {
        size_t len;
        int want;
    } table[] = {{7, -EBADMSG}, {8, 0}, {9, -EBADMSG}, {10, -EBADMSG}, {11, 0}, {12, 0}};
    struct config_request req;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_int_equal(config_request_read(rd_init(bytes, table[i].len), &req), table[i].want);
    }
    assert_int_equal(req.meta_len, 1);
    assert_int_equal(req.revision, 0);
}

static void test_acknowledgement(void **state)
{
    uint8_t out[16];
    struct wr w = wr_init(out, sizeof(out));
    struct config_ack ack;

    (void)state;
    config_ack_write(&w, &(struct config_ack){.network_id = 7, .update_id = 9});
    assert_int_equal(wr_len(&w), 16);
    assert_int_equal(config_ack_read(rd_init(out, 16), &ack), 0);
    assert_int_equal(ack.network_id, 7);
    assert_int_equal(ack.update_id, 9);
    assert_int_equal(config_ack_read(rd_init(out, 15), &ack), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent_vectors),     cmocka_unit_test(test_any_altered_byte_is_dropped),
        cmocka_unit_test(test_malformed_chunks), cmocka_unit_test(test_large_totals_are_taken),
        cmocka_unit_test(test_legacy_form),      cmocka_unit_test(test_request_vectors),
        cmocka_unit_test(test_short_requests),   cmocka_unit_test(test_acknowledgement),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
