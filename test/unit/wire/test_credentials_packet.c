/* NETWORK_CREDENTIALS: CRD-8 and the layout of pushes. Source: spec 03 section 7.6. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/credentials_packet.h"
#include "wire/packet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 300 };

/* All items of a payload. */
struct items {
    struct com coms[4];
    struct capability *capabilities[ITEMS_MAX];
    struct tag tags[ITEMS_MAX];
    struct revocation revocations[16];
    struct ownership ownerships[16];
    struct credentials_set set;
};

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

static void items_reset(struct items *all)
{
    for (size_t i = 0; i < all->set.capability_count; i++) {
        capability_free(all->capabilities[i]);
    }
    memset(all, 0, sizeof(*all));
    all->set.coms = all->coms;
    all->set.capabilities = all->capabilities;
    all->set.tags = all->tags;
    all->set.revocations = all->revocations;
    all->set.ownerships = all->ownerships;
}

/* Append what a payload holds. Returns the result that ended the reading. */
static int items_read(struct items *all, const uint8_t *payload, size_t len)
{
    struct credentials_reader it = credentials_reader_init(rd_init(payload, len));
    struct credential item;
    int err;

    while ((err = credentials_next(&it, &item)) == 1) {
        switch (item.type) {
        case CREDENTIAL_COM:
            all->coms[all->set.com_count++] = item.com;
            break;
        case CREDENTIAL_CAPABILITY:
            all->capabilities[all->set.capability_count++] = item.capability;
            break;
        case CREDENTIAL_TAG:
            all->tags[all->set.tag_count++] = item.tag;
            break;
        case CREDENTIAL_REVOCATION:
            all->revocations[all->set.revocation_count++] = item.revocation;
            break;
        case CREDENTIAL_OWNERSHIP:
            all->ownerships[all->set.ownership_count++] = item.ownership;
            break;
        case CREDENTIAL_NONE:
            fail();
        }
    }
    assert_int_equal(credentials_next(&it, &item), err); /* stays at the end */
    return err;
}

/* Read and write again: the same bytes; returns the number of items. */
static size_t check_whole(const uint8_t *payload, size_t len)
{
    struct items *all = calloc(1, sizeof(*all));
    uint8_t out[PACKET_PAYLOAD_MAX];
    struct wr w = wr_init(out, sizeof(out));
    size_t count;

    assert_non_null(all);
    items_reset(all);
    assert_int_equal(items_read(all, payload, len), 0);
    count = credentials_count(&all->set);
    assert_int_equal(credentials_write(&w, &all->set, 0), count);
    assert_int_equal(wr_len(&w), len);
    assert_memory_equal(out, payload, len);
    items_reset(all);
    free(all);
    return count;
}

static void test_pushes_come_out_the_same(void **state)
{
    const json_t *list = vec_get(*state, "credentialPush");
    size_t len;
    uint8_t *payload =
        vec_bytes(json_array_get(vec_get(json_array_get(list, 0), "sent"), 0), "payload", &len);
    const json_t *entry;
    const json_t *packet;
    size_t i;
    size_t k;
    size_t seen = 0;

    assert_int_equal(check_whole(payload, len), 1 + 2 + 3 + 1);
    free(payload);
    json_array_foreach(vec_get(*state, "outbound"), i, entry)
    {
        json_array_foreach(vec_get(entry, "sent"), k, packet)
        {
            if (strcmp(vec_text(packet, "verb"), "NETWORK_CREDENTIALS") == 0) {
                payload = vec_bytes(packet, "payload", &len);
                assert_true(check_whole(payload, len) > 0);
                free(payload);
                seen++;
            }
        }
    }
    assert_true(seen > 10);
}

/* The first inbound packet of the vectors with this name. */
static uint8_t *inbound(const json_t *root, const char *name, size_t *ret_len)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(vec_get(root, "inbound"), i, entry)
    {
        if (strcmp(vec_text(entry, "name"), name) == 0) {
            return vec_bytes(entry, "payload", ret_len);
        }
    }
    fail_msg("no packet %s", name);
    return NULL;
}

/* CRD-8: a payload may end after each section; anything else is malformed, and nothing before is
 * lost. */
static void test_ends_after_each_section(void **state)
{
    size_t len;
    uint8_t *payload = inbound(*state, "NETWORK_CREDENTIALS all kinds", &len);
    struct items *all = calloc(1, sizeof(*all));
    size_t good_ends = 0;
    size_t last_count = 0;

    assert_non_null(all);
    items_reset(all);
    assert_int_equal(items_read(all, payload, len), 0);
    assert_int_equal(all->set.com_count, 1);
    assert_true(all->set.capability_count > 0 && all->set.tag_count > 0 &&
                all->set.revocation_count > 0 && all->set.ownership_count > 0);
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *part = exact_copy(payload, cut);
        int err;

        items_reset(all);
        err = items_read(all, part, cut);
        assert_true(err == 0 || err == -EBADMSG);
        good_ends += err == 0;
        assert_true(credentials_count(&all->set) >= last_count);
        last_count = credentials_count(&all->set);
        free(part);
    }
    /* nothing, COMs, 00, and after each of the four sections */
    assert_int_equal(good_ends, 3 + 4);
    items_reset(all);
    free(all);
    free(payload);
}

/* CRD-8: items of several networks in one packet. */
static void test_items_of_several_networks(void **state)
{
    size_t len;
    uint8_t *payload =
        inbound(*state, "NETWORK_CREDENTIALS bad COM first: later ones are still read", &len);
    struct items *all = calloc(1, sizeof(*all));

    assert_non_null(all);
    items_reset(all);
    assert_int_equal(items_read(all, payload, len), 0);
    assert_true(credentials_count(&all->set) >= 2);
    all->tags[0].network_id ^= 1;
    all->tags[1] = all->tags[0];
    all->tags[1].network_id ^= 1;
    all->set.tag_count = 2;
    {
        uint8_t out[2000];
        struct wr w = wr_init(out, sizeof(out));
        size_t n = credentials_count(&all->set);

        assert_int_equal(credentials_write(&w, &all->set, 0), n);
        assert_int_equal(check_whole(out, wr_len(&w)), n);
    }
    items_reset(all);
    free(all);
    free(payload);
}

/* Cut into parts of any size nothing is lost, doubled or reordered, and no part is too large. */
static void test_parts_hold_everything(void **state)
{
    size_t len;
    uint8_t *payload = inbound(*state, "NETWORK_CREDENTIALS all kinds", &len);
    struct items *all = calloc(1, sizeof(*all));
    struct items *got = calloc(1, sizeof(*got));
    static uint8_t out[PACKET_PAYLOAD_MAX];

    assert_non_null(all);
    assert_non_null(got);
    items_reset(all);
    items_reset(got);
    assert_int_equal(items_read(all, payload, len), 0);
    for (size_t i = 1; i < 100; i++) {
        all->tags[i] = all->tags[0];
        all->tags[i].id = (uint32_t)i;
    }
    all->set.tag_count = 100;
    for (size_t cap = 300; cap <= sizeof(out); cap += 97) {
        size_t at = 0;

        items_reset(got);
        while (at < credentials_count(&all->set)) {
            struct wr w = wr_init(out, cap);
            size_t next = credentials_write(&w, &all->set, at);

            assert_true(next > at);
            assert_false(w.bad);
            assert_int_equal(items_read(got, out, wr_len(&w)), 0);
            at = next;
        }
        assert_int_equal(credentials_count(&got->set), credentials_count(&all->set));
        assert_int_equal(got->set.tag_count, 100);
        for (size_t i = 0; i < 100; i++) {
            assert_true(tag_equal(&got->tags[i], &all->tags[i]));
        }
    }
    items_reset(all);
    items_reset(got);
    free(all);
    free(got);
    free(payload);
}

static void test_nothing_fits_writes_nothing(void **state)
{
    struct tag tag = {.signature = {.type = SIGNATURE_TYPE}};
    struct credentials_set set = {.tags = &tag, .tag_count = 1};
    uint8_t out[TAG_WIRE_LEN + 9];

    (void)state;
    for (size_t cap = 0; cap <= sizeof(out); cap++) {
        struct wr w = wr_init(out, cap);

        assert_int_equal(credentials_write(&w, &set, 0), cap == sizeof(out));
        assert_int_equal(wr_len(&w), cap == sizeof(out) ? cap : 0);
    }
    {
        struct wr w = wr_init(out, sizeof(out));

        assert_int_equal(credentials_write(&w, &set, 1), 1); /* none left */
        assert_int_equal(wr_len(&w), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pushes_come_out_the_same),
        cmocka_unit_test(test_ends_after_each_section),
        cmocka_unit_test(test_items_of_several_networks),
        cmocka_unit_test(test_parts_hold_everything),
        cmocka_unit_test(test_nothing_fits_writes_nothing),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
