/* Credentials against golden vectors: CRD-1 to CRD-5, CRD-12, CRD-13. Source: spec 03 section 6. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/capability.h"
#include "wire/com.h"
#include "wire/credential.h"
#include "wire/identity.h"
#include "wire/inetaddr.h"
#include "wire/mac.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 6, OUT_MAX = 20000 };

/* The vectors and the identities A to F in them; F is unknown to the verifier. */
struct fixture {
    json_t *root;
    const json_t *credentials;
    struct identity ids[NODES];
};

static int load(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));

    if (fx == NULL) {
        return -1;
    }
    fx->root = vectors_load("vl2.json");
    fx->credentials = vec_get(fx->root, "credentials");
    for (int i = 0; i < NODES; i++) {
        const char name[] = {(char)('A' + i), '\0'};
        const char *text = vec_text(vec_get(vec_get(fx->root, "identities"), name), "secret");

        if (identity_parse(text, strlen(text), &fx->ids[i]) < 0) {
            return -1;
        }
    }
    *state = fx;
    return 0;
}

static int unload(void **state)
{
    struct fixture *fx = *state;

    json_decref(fx->root);
    free(fx);
    return 0;
}

static const struct identity *node(const struct fixture *fx, char letter)
{
    return &fx->ids[letter - 'A'];
}

/* Any of the six, or NULL. */
static const struct identity *by_address(const struct fixture *fx, uint64_t address)
{
    for (int i = 0; i < NODES; i++) {
        if (fx->ids[i].address == address) {
            return &fx->ids[i];
        }
    }
    return NULL;
}

/* Identity the verifier knows, or NULL. */
static const struct identity *known(const struct fixture *fx, uint64_t address)
{
    const struct identity *id = by_address(fx, address);

    return id != node(fx, 'F') ? id : NULL;
}

static void assert_hex(const void *data, size_t len, const char *want)
{
    char *text = malloc(2 * len + 1);

    assert_non_null(text);
    hex_encode(data, len, text);
    assert_string_equal(text, want);
    free(text);
}

/* Every list entry in turn. */
typedef void (*entry_fn)(const struct fixture *fx, const json_t *entry);

static size_t each(const struct fixture *fx, const char *list, entry_fn fn)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(vec_get(fx->credentials, list), i, entry)
    {
        fn(fx, entry);
    }
    return i;
}

/* "ok", "bad" or "whois" as the engine would find. */
#define VERDICT(fx, kind, object)                                                                  \
    (kind##_signer(object) == 0                                     ? "bad"                        \
     : known(fx, kind##_signer(object)) == NULL                     ? "whois"                      \
     : kind##_verify(object, known(fx, kind##_signer(object))) == 0 ? "ok"                         \
                                                                    : "bad")

/* Certificates of membership */

static struct com com_of(const json_t *entry, const char *key)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, key, &len);
    struct rd r = rd_init(bytes, len);
    struct com com = {0};

    assert_int_equal(com_read(&r, &com), 0);
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
    return com;
}

static void check_com(const struct fixture *fx, const json_t *entry)
{
    struct com com = com_of(entry, "serialized");
    const json_t *qualifiers = vec_get(vec_get(entry, "com"), "qualifiers");
    uint8_t out[COM_WIRE_MAX];
    struct wr w = wr_init(out, sizeof(out));

    assert_int_equal(json_array_size(qualifiers), com.count);
    for (size_t i = 0; i < com.count; i++) {
        const uint64_t got[] = {com.qualifiers[i].id, com.qualifiers[i].value,
                                com.qualifiers[i].max_delta};

        for (size_t k = 0; k < 3; k++) {
            char text[17];

            hex_from_u64(got[k], 16, text);
            assert_string_equal(
                text, json_string_value(json_array_get(json_array_get(qualifiers, i), k)));
        }
    }
    com_write(&w, &com);
    assert_int_equal(wr_len(&w), com_wire_len(&com));
    assert_hex(out, wr_len(&w), vec_text(entry, "serialized"));
    assert_hex(out, com_signed_image(&com, out), vec_text(entry, "signedBytes"));
    assert_string_equal(VERDICT(fx, com, &com), vec_text(entry, "verify"));
    if (strcmp(vec_text(entry, "verify"), "bad") != 0) {
        struct com again = com;

        memset(again.signature, 0, sizeof(again.signature));
        com_sign(&again, by_address(fx, com.signer));
        assert_true(com_equal(&again, &com)); /* CRD-1: from fields and key */
    }
}

static void test_com_vectors(void **state)
{
    assert_int_equal(each(*state, "com", check_com), 8);
}

static void check_com_parse(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "bytes", &len);
    struct rd r = rd_init(bytes, len);
    struct com com;
    int err = com_read(&r, &com);

    assert_int_equal(err, vec_bool(entry, "parsed") ? 0 : -EBADMSG);
    if (err == 0) {
        assert_int_equal(r.p - bytes, vec_int(entry, "consumed"));
        assert_string_equal(VERDICT(fx, com, &com), vec_text(entry, "verify"));
    }
    free(bytes);
}

/* CRD-3 */
static void test_com_parse_vectors(void **state)
{
    assert_int_equal(each(*state, "comParse", check_com_parse), 8);
}

static void check_agreement(const struct fixture *fx, const json_t *entry)
{
    struct com mine = com_of(entry, "mine");
    struct com other = com_of(entry, "other");
    const struct identity *holder = node(fx, vec_text(entry, "otherIdentity")[0]);
    bool agrees = com_agrees(&mine, &other, holder);

    assert_int_equal(agrees, vec_bool(entry, "agrees"));
    assert_int_equal(com_agrees_but_time(&mine, &other, holder) && com_times_agree(&mine, &other),
                     agrees);
}

/* CRD-4 */
static void test_com_agreement_vectors(void **state)
{
    assert_int_equal(each(*state, "comAgreement", check_agreement), 21);
}

static void test_com_make_is_the_usual_one(void **state)
{
    const struct fixture *fx = *state;
    const json_t *meta = vec_get(fx->root, "meta");
    const json_t *entry = json_array_get(vec_get(fx->credentials, "com"), 1);
    struct com want = com_of(entry, "serialized");
    struct com com;

    com_make(&com, (uint64_t)vec_int(meta, "time"),
             (uint64_t)vec_int(meta, "credentialTimeMaxDelta"), vec_hex_u64(meta, "networkId"),
             node(fx, 'A'));
    com_sign(&com, node(fx, 'C'));
    assert_true(com_equal(&com, &want));
    assert_int_equal(com_value(&com, COM_HOLDER), node(fx, 'A')->address);
    assert_int_equal(com_max_delta(&com, COM_TIMESTAMP), 1800000);
    assert_int_equal(com_value(&com, 99), 0);
}

/* The last qualifier counts when the other repeats an id (spec 03 section 6.1). */
static void test_com_last_duplicate_of_other_counts(void **state)
{
    const struct fixture *fx = *state;
    struct com mine = {.count = 1, .qualifiers = {{7, 100, 1}}};
    struct com other = {.count = 2, .qualifiers = {{7, 100, 0}, {7, 200, 0}}};

    assert_false(com_agrees(&mine, &other, node(fx, 'B')));
    other.qualifiers[0].value = 200;
    other.qualifiers[1].value = 101;
    assert_true(com_agrees(&mine, &other, node(fx, 'B')));
    assert_int_equal(com_value(&other, 7), 200);
}

/* Tags */

static void check_tag(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "serialized", &len);
    struct rd r = rd_init(bytes, len);
    uint8_t out[SIGNED_IMAGE_MAX];
    struct wr w = wr_init(out, sizeof(out));
    struct tag tag;

    assert_int_equal(tag_read(&r, &tag), 0);
    assert_int_equal(rd_done(&r), 0);
    assert_int_equal(tag.network_id, vec_hex_u64(entry, "networkId"));
    assert_int_equal(tag.timestamp, vec_int(entry, "timestamp"));
    assert_int_equal(tag.id, vec_int(entry, "id"));
    assert_int_equal(tag.value, vec_int(entry, "value"));
    assert_int_equal(tag.holder, vec_hex_u64(entry, "issuedTo"));
    assert_int_equal(tag.signer, vec_hex_u64(entry, "signedBy"));
    tag_write(&w, &tag);
    assert_int_equal(wr_len(&w), TAG_WIRE_LEN);
    assert_hex(out, wr_len(&w), vec_text(entry, "serialized"));
    assert_hex(out, tag_signed_image(&tag, out), vec_text(entry, "signedBytes"));
    assert_string_equal(VERDICT(fx, tag, &tag), vec_text(entry, "verify"));
    if (strcmp(vec_text(entry, "verify"), "ok") == 0) {
        struct tag again = tag;

        again.signature = (struct signature){0};
        tag_sign(&again, node(fx, 'C'));
        assert_true(tag_equal(&again, &tag));
    }
    free(bytes);
}

static void test_tag_vectors(void **state)
{
    assert_int_equal(each(*state, "tag", check_tag), 5);
}

static void check_tag_parse(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "bytes", &len);
    struct rd r = rd_init(bytes, len);
    struct tag tag;
    int err = tag_read(&r, &tag);

    assert_int_equal(err, vec_bool(entry, "parsed") ? 0 : -EBADMSG);
    if (err == 0) {
        assert_int_equal(r.p - bytes, vec_int(entry, "consumed"));
        assert_string_equal(VERDICT(fx, tag, &tag), vec_text(entry, "verify"));
    }
    free(bytes);
}

/* CRD-3 */
static void test_tag_parse_vectors(void **state)
{
    assert_int_equal(each(*state, "tagParse", check_tag_parse), 6);
}

/* Certificates of ownership */

static struct ownership ownership_of(const json_t *entry, const char *key)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, key, &len);
    struct rd r = rd_init(bytes, len);
    struct ownership own = {0};

    assert_int_equal(ownership_read(&r, &own), 0);
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
    return own;
}

static void check_ownership(const struct fixture *fx, const json_t *entry)
{
    struct ownership own = ownership_of(entry, "serialized");
    const json_t *things = vec_get(entry, "things");
    uint8_t out[OWNERSHIP_WIRE_MAX];
    struct wr w = wr_init(out, sizeof(out));

    assert_int_equal(own.network_id, vec_hex_u64(entry, "networkId"));
    assert_int_equal(own.timestamp, vec_int(entry, "timestamp"));
    assert_int_equal(own.flags, vec_hex_u64(entry, "flags"));
    assert_int_equal(own.id, vec_int(entry, "id"));
    assert_int_equal(own.holder, vec_hex_u64(entry, "issuedTo"));
    assert_int_equal(own.signer, vec_hex_u64(entry, "signedBy"));
    for (size_t i = 0; i < own.count; i++) {
        const json_t *thing = json_array_get(things, i);

        assert_int_equal(own.things[i].type, json_integer_value(json_array_get(thing, 0)));
        assert_hex(own.things[i].value, 16, json_string_value(json_array_get(thing, 1)));
    }
    ownership_write(&w, &own);
    assert_int_equal(wr_len(&w), ownership_wire_len(&own));
    assert_hex(out, wr_len(&w), vec_text(entry, "serialized"));
    assert_hex(out, ownership_signed_image(&own, out), vec_text(entry, "signedBytes"));
    assert_string_equal(VERDICT(fx, ownership, &own), vec_text(entry, "verify"));
    if (strcmp(vec_text(entry, "verify"), "ok") == 0) {
        struct ownership again = own;

        again.signature = (struct signature){0};
        ownership_sign(&again, node(fx, 'C'));
        assert_true(ownership_equal(&again, &own));
    }
}

static void test_ownership_vectors(void **state)
{
    assert_int_equal(each(*state, "coo", check_ownership), 6);
}

static void check_owns(const struct fixture *fx, const json_t *entry)
{
    struct ownership own = ownership_of(entry, "coo");
    const char *query = vec_text(entry, "query");
    struct inetaddr ip;
    uint64_t mac;
    bool owns;

    (void)fx;
    if (mac_parse(query, strlen(query), &mac) == 0) {
        owns = ownership_owns_mac(&own, mac);
    } else {
        assert_int_equal(inetaddr_parse(query, strlen(query), &ip), 0);
        owns = ownership_owns_ip(&own, ip.ip, inetaddr_ip_len(&ip));
    }
    assert_int_equal(owns, vec_bool(entry, "owns"));
}

/* CRD-5 */
static void test_ownership_owns_vectors(void **state)
{
    assert_int_equal(each(*state, "cooOwns", check_owns), 7);
}

/* CRD-13, and making one from scratch. */
static void test_ownership_takes_sixteen_things(void **state)
{
    const struct fixture *fx = *state;
    struct ownership own = {.network_id = UINT64_C(0x14d76e47dc000001), .holder = 1};
    uint8_t ip[4] = {10, 0, 0, 0};
    uint8_t out[OWNERSHIP_WIRE_MAX + 17];
    struct wr w = wr_init(out, sizeof(out));
    struct ownership back;
    struct rd r;

    for (int i = 0; i < OWNERSHIP_THINGS_MAX; i++) {
        ip[3] = (uint8_t)i;
        assert_int_equal(i == 0 ? ownership_add_mac(&own, UINT64_C(0x0280d8e4d40d))
                                : ownership_add_ip(&own, ip, 4),
                         0);
    }
    assert_int_equal(ownership_add_ip(&own, ip, 4), -ENOSPC);
    ownership_sign(&own, node(fx, 'C'));
    ownership_write(&w, &own);
    assert_int_equal(wr_len(&w), OWNERSHIP_WIRE_MAX);
    wr_zero(&w, 17);
    r = rd_init(out, OWNERSHIP_WIRE_MAX);
    assert_int_equal(ownership_read(&r, &back), 0);
    assert_true(ownership_equal(&own, &back));
    assert_int_equal(ownership_verify(&back, node(fx, 'C')), 0);
    assert_true(ownership_owns_mac(&back, UINT64_C(0x0280d8e4d40d)));
    out[28 + 1] = OWNERSHIP_THINGS_MAX + 1;
    r = rd_init(out, wr_len(&w));
    assert_int_equal(ownership_read(&r, &back), -EBADMSG);
}

/* Revocations */

static void check_revocation(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "serialized", &len);
    struct rd r = rd_init(bytes, len);
    uint8_t out[SIGNED_IMAGE_MAX];
    struct wr w = wr_init(out, sizeof(out));
    struct revocation rev;

    assert_int_equal(revocation_read(&r, &rev), 0);
    assert_int_equal(rd_done(&r), 0);
    assert_int_equal(rev.id, vec_int(entry, "id"));
    assert_int_equal(rev.network_id, vec_hex_u64(entry, "networkId"));
    assert_int_equal(rev.credential_id, vec_int(entry, "credentialId"));
    assert_int_equal(rev.threshold, vec_int(entry, "threshold"));
    assert_int_equal(rev.flags, vec_hex_u64(entry, "flags"));
    assert_int_equal(rev.target, vec_hex_u64(entry, "target"));
    assert_int_equal(rev.signer, vec_hex_u64(entry, "signedBy"));
    assert_int_equal(rev.type, vec_int(entry, "type"));
    revocation_write(&w, &rev);
    assert_int_equal(wr_len(&w), REVOCATION_WIRE_LEN);
    assert_hex(out, wr_len(&w), vec_text(entry, "serialized"));
    assert_hex(out, revocation_signed_image(&rev, out), vec_text(entry, "signedBytes"));
    assert_string_equal(VERDICT(fx, revocation, &rev), vec_text(entry, "verify"));
    if (strcmp(vec_text(entry, "verify"), "ok") == 0) {
        struct revocation again = rev;

        again.signature = (struct signature){0};
        revocation_sign(&again, node(fx, 'C'));
        assert_true(signature_equal(&again.signature, &rev.signature));
    }
    free(bytes);
}

static void test_revocation_vectors(void **state)
{
    assert_int_equal(each(*state, "revocation", check_revocation), 6);
}

/* Capabilities */

static const char *capability_verdict(const struct fixture *fx, const struct capability *cap)
{
    for (size_t i = 0; i < cap->link_count; i++) {
        const struct identity *signer = known(fx, capability_signer(cap, i));

        if (capability_signer(cap, i) == 0) {
            return "bad";
        }
        if (signer == NULL) {
            return "whois";
        }
        if (capability_verify(cap, i, signer) < 0) {
            return "bad";
        }
    }
    return cap->link_count > 0 ? "ok" : "bad";
}

static struct capability *capability_of(const json_t *entry, const char *key)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, key, &len);
    struct rd r = rd_init(bytes, len);
    struct capability *cap = NULL;

    assert_int_equal(capability_read(&r, &cap), 0);
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
    return cap;
}

static void check_custody(const struct capability *cap, const json_t *custody)
{
    assert_int_equal(cap->link_count, json_array_size(custody));
    for (size_t i = 0; i < cap->link_count; i++) {
        const json_t *link = json_array_get(custody, i);

        assert_int_equal(cap->links[i].to, vec_hex_u64(link, "to"));
        assert_int_equal(cap->links[i].from, vec_hex_u64(link, "from"));
        assert_hex(cap->links[i].signature.bytes, SIGNATURE_LEN, vec_text(link, "signature"));
    }
}

static void check_capability(const struct fixture *fx, const json_t *entry)
{
    struct capability *cap = capability_of(entry, "serialized");
    struct capability *copy = capability_dup(cap);
    uint8_t *out = malloc(OUT_MAX);
    struct wr w = wr_init(out, OUT_MAX);

    assert_int_equal(cap->network_id, vec_hex_u64(entry, "networkId"));
    assert_int_equal(cap->timestamp, vec_int(entry, "timestamp"));
    assert_int_equal(cap->id, vec_int(entry, "id"));
    assert_int_equal(cap->rule_count, json_array_size(vec_get(entry, "rules")));
    assert_hex(cap->raw, cap->raw_len, vec_text(entry, "rulesHex"));
    assert_int_equal(cap->max_links, vec_int(entry, "maxCustodyChainLength"));
    assert_int_equal(capability_holder(cap), vec_hex_u64(entry, "issuedTo"));
    check_custody(cap, vec_get(entry, "custody"));
    capability_write(&w, cap);
    assert_int_equal(wr_len(&w), capability_wire_len(cap));
    assert_hex(out, wr_len(&w), vec_text(entry, "serialized"));
    capability_signed_image(cap, out);
    assert_hex(out, capability_image_len(cap), vec_text(entry, "signedBytes"));
    assert_string_equal(capability_verdict(fx, cap), vec_text(entry, "verify"));
    assert_true(capability_equal(cap, copy));
    if (strcmp(vec_text(entry, "verify"), "ok") == 0 && cap->max_links == 1) {
        struct capability *made =
            capability_make(cap->network_id, cap->timestamp, cap->id, cap->rules, cap->rule_count);

        assert_int_equal(capability_sign(made, node(fx, 'C'), capability_holder(cap)), 0);
        assert_true(capability_equal(made, cap));
        capability_free(made);
    }
    capability_free(copy);
    capability_free(cap);
    free(out);
}

static void test_capability_vectors(void **state)
{
    assert_int_equal(each(*state, "capability", check_capability), 7);
}

static void check_capability_parse(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "bytes", &len);
    struct rd r = rd_init(bytes, len);
    struct capability *cap = NULL;
    int err = capability_read(&r, &cap);
    /* The reference cannot verify unknown rule types; over the received bytes it is good. */
    bool is_unknown_rule = strstr(vec_text(entry, "name"), "unknown match (52)") != NULL;

    assert_int_equal(err, vec_bool(entry, "parsed") ? 0 : -EBADMSG);
    if (err == 0) {
        assert_int_equal(r.p - bytes, vec_int(entry, "consumed"));
        assert_string_equal(capability_verdict(fx, cap),
                            is_unknown_rule ? "ok" : vec_text(entry, "verify"));
        capability_free(cap);
    }
    free(bytes);
}

/* CRD-3, CRD-12 */
static void test_capability_parse_vectors(void **state)
{
    assert_int_equal(each(*state, "capabilityParse", check_capability_parse), 4);
}

/* More links than the maximum, maximum out of range: malformed. */
static void test_capability_chain_bounds(void **state)
{
    const struct fixture *fx = *state;
    const json_t *entry = json_array_get(vec_get(fx->credentials, "capability"), 1);
    size_t rules_len = strlen(vec_text(entry, "rulesHex")) / 2;
    const struct {
        uint8_t max_links;
        int want;
    } table[] = {{0, -EBADMSG}, {1, -EBADMSG}, {2, 0}, {7, 0}, {8, -EBADMSG}};

    for (size_t i = 0; i < COUNT_OF(table); i++) {
        size_t len;
        uint8_t *bytes = vec_bytes(entry, "serialized", &len);
        struct rd r = rd_init(bytes, len);
        struct capability *cap = NULL;

        bytes[22 + rules_len] = table[i].max_links;
        assert_int_equal(capability_read(&r, &cap), table[i].want);
        capability_free(cap);
        free(bytes);
    }
}

/* Every serialization cut at every length is refused without reading beyond. */
static void check_cut(const struct fixture *fx, const json_t *entry)
{
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "serialized", &len);

    (void)fx;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = exact_copy(bytes, cut);
        struct rd all[5];
        struct com com;
        struct tag tag;
        struct ownership own;
        struct revocation rev;
        struct capability *cap = NULL;

        for (size_t i = 0; i < COUNT_OF(all); i++) {
            all[i] = rd_init(part, cut);
        }
        (void)!com_read(&all[0], &com);
        (void)!tag_read(&all[1], &tag);
        (void)!ownership_read(&all[2], &own);
        (void)!revocation_read(&all[3], &rev);
        if (capability_read(&all[4], &cap) == 0) {
            capability_free(cap);
        }
        free(part);
    }
    free(bytes);
}

static void test_cut_credentials_stay_in_bounds(void **state)
{
    static const char *const kinds[] = {"com", "tag", "coo", "revocation", "capability"};

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        assert_true(each(*state, kinds[i], check_cut) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_com_vectors),
        cmocka_unit_test(test_com_parse_vectors),
        cmocka_unit_test(test_com_agreement_vectors),
        cmocka_unit_test(test_com_make_is_the_usual_one),
        cmocka_unit_test(test_com_last_duplicate_of_other_counts),
        cmocka_unit_test(test_tag_vectors),
        cmocka_unit_test(test_tag_parse_vectors),
        cmocka_unit_test(test_ownership_vectors),
        cmocka_unit_test(test_ownership_owns_vectors),
        cmocka_unit_test(test_ownership_takes_sixteen_things),
        cmocka_unit_test(test_revocation_vectors),
        cmocka_unit_test(test_capability_vectors),
        cmocka_unit_test(test_capability_parse_vectors),
        cmocka_unit_test(test_capability_chain_bounds),
        cmocka_unit_test(test_cut_credentials_stay_in_bounds),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
