/* Peer cache records. Checklist: CB-1, CB-2. */
#include "vectors.h"

#include "wire/identity.h"
#include "wire/peer_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vl1;
static uint8_t *record;
static size_t record_len;

static int load(void **state)
{
    (void)state;
    vl1 = vectors_load("vl1.json");
    record = vec_bytes(vec_get(vl1, "peer_cache"), "bytes", &record_len);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(record);
    json_decref(vl1);
    return 0;
}

/* CB-1 */
static void test_vector(void **state)
{
    const json_t *alice = json_array_get(vec_get(vl1, "identities"), 0);
    struct peer_record rec;
    uint8_t out[PEER_RECORD_LEN_MAX];
    struct wr w = wr_init(out, sizeof(out));
    char text[IDENTITY_TEXT_LEN];

    (void)state;
    assert_int_equal(peer_record_decode(rd_init(record, record_len), &rec), 0);
    identity_print(&rec.identity, true, text);
    assert_string_equal(text, vec_text(alice, "public"));
    assert_int_equal(rec.protocol, 12);
    assert_int_equal(rec.major, 1);
    assert_int_equal(rec.minor, 14);
    assert_int_equal(rec.revision, 1);
    assert_int_equal(rec.path_count, 1);
    inetaddr_print(&rec.paths[0], text);
    assert_string_equal(text, "198.51.100.50/9993");
    peer_record_encode(&w, &rec);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), record_len);
    assert_memory_equal(out, record, record_len);
}

/* CB-2 */
static void test_damaged_records_are_refused(void **state)
{
    struct peer_record rec = {.protocol = 77};

    (void)state;
    for (size_t cut = 0; cut < record_len; cut++) {
        uint8_t *part = exact_copy(record, cut);

        assert_int_equal(peer_record_decode(rd_init(part, cut), &rec), -EBADMSG);
        free(part);
    }
    for (unsigned format = 0; format < 256; format++) {
        uint8_t *copy = exact_copy(record, record_len);

        copy[0] = (uint8_t)format;
        assert_int_equal(peer_record_decode(rd_init(copy, record_len), &rec),
                         format == 2 ? 0 : -EBADMSG);
        free(copy);
    }
    {
        uint8_t *copy = exact_copy(record, record_len);

        copy[82] = 5; /* address type */
        assert_int_equal(peer_record_decode(rd_init(copy, record_len), &rec), -EBADMSG);
        free(copy);
    }
}

/* Spec 05 section 2.5: 82 bytes without paths, 138 with 8 IPv4 paths. */
static void test_sizes(void **state)
{
    struct peer_record rec;
    uint8_t out[PEER_RECORD_LEN_MAX];
    struct wr w = wr_init(out, sizeof(out));

    (void)state;
    assert_int_equal(peer_record_decode(rd_init(record, record_len), &rec), 0);
    rec.path_count = 0;
    peer_record_encode(&w, &rec);
    assert_int_equal(wr_len(&w), 82);
    rec.path_count = 8;
    for (size_t i = 0; i < 8; i++) {
        rec.paths[i] = rec.paths[0];
    }
    w = wr_init(out, sizeof(out));
    peer_record_encode(&w, &rec);
    assert_int_equal(wr_len(&w), 138);
    rec.path_count = PEER_RECORD_PATHS_MAX;
    for (size_t i = 0; i < PEER_RECORD_PATHS_MAX; i++) {
        rec.paths[i] = (struct inetaddr){.family = INETADDR_V6, .port = (uint16_t)i};
    }
    w = wr_init(out, sizeof(out));
    peer_record_encode(&w, &rec);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), PEER_RECORD_LEN_MAX);
}

static void test_surplus_and_nil_paths_are_left_out(void **state)
{
    enum { PATHS = 100 };
    uint8_t out[2048];
    struct wr w = wr_init(out, sizeof(out));
    struct peer_record rec;

    (void)state;
    wr_bytes(&w, record, 80);
    wr_u16(&w, PATHS);
    for (unsigned i = 0; i < PATHS; i++) {
        struct inetaddr a = {.family = i % 4 == 0 ? INETADDR_NIL : INETADDR_V4,
                             .port = (uint16_t)i};

        inetaddr_write(&w, &a);
    }
    assert_int_equal(peer_record_decode(rd_init(out, wr_len(&w)), &rec), 0);
    assert_int_equal(rec.path_count, PEER_RECORD_PATHS_MAX);
    assert_int_equal(rec.paths[0].port, 1);
    assert_int_equal(rec.paths[3].port, 5);
    assert_int_equal(peer_record_decode(rd_init(out, wr_len(&w) - 1), &rec), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_damaged_records_are_refused),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_surplus_and_nil_paths_are_left_out),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
