/* The request pipeline, configurations and credentials (spec 04 sections 4.2 to 4.11). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dict.h"
#include "base/hex.h"
#include "wire/mac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define M      UINT64_C(0xaabbccddee)
#define MEMBER NET "/member/aabbccddee"

static enum error_code last_error(const struct fake *f, uint64_t dest)
{
    const struct fake_sent *s = fake_last(f, FAKE_ERROR, dest);
    return s != NULL ? s->code : ERROR_NONE;
}

/* The member asks and gets a configuration, decoded. */
static void get_config(struct fake *f, uint64_t address, struct netconf *ret)
{
    fake_clear(f);
    uint64_t request = fake_request(f, FAKE_NWID, address, NULL);
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, address);
    assert_non_null(s);
    assert_int_equal(s->request_id, request);
    fake_config(f, address, ret);
}

/* CTL-47, CTL-49, CTL-51 */
static void test_pending_until_authorized(void **state)
{
    struct fake *f = *state;
    uint64_t request = fake_request(f, FAKE_NWID, M, NULL);
    assert_int_equal(last_error(f, M), ERROR_OBJ_NOT_FOUND);
    assert_int_equal(fake_last(f, FAKE_ERROR, M)->request_id, request);
    fake_network(f, "{}");
    fake_request(f, FAKE_NWID, M, NULL);
    assert_int_equal(last_error(f, M), ERROR_NETWORK_ACCESS_DENIED);
    assert_int_equal(f->events[CONTROLLER_MEMBER_PENDING], 1);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(strncmp(js(obj, "identity"), "aabbccddee:0:", 13), 0);
    assert_int_equal(ji(obj, "vMajor"), -1);
    assert_int_equal(ji(obj, "revision"), 1);
    json_decref(obj);
    fake_request(f, FAKE_NWID, M, NULL); /* asking again changes nothing */
    obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(ji(obj, "revision"), 1);
    json_decref(obj);
    fake_clear(f);
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    fake_run(f, 100);
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, M);
    assert_non_null(s); /* CTL-73: told at once */
    assert_int_equal(s->request_id, 0);
    struct netconf conf;
    get_config(f, M, &conf);
    netconf_free(&conf);
    assert_int_equal(fake_count(f, FAKE_ERROR, M), 0);
    obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(ji(obj, "vMajor"), 1); /* CTL-54 */
    assert_int_equal(ji(obj, "vMinor"), 14);
    assert_int_equal(ji(obj, "vRev"), 1);
    assert_true(ji(obj, "vProto") > 0);
    json_decref(obj);
}

/* The push that follows an authorization brings the address; who never asked gets none yet. */
static void test_authorization_brings_an_address(void **state)
{
    struct fake *f = *state;
    struct netconf conf;
    fake_network(f, "{\"v4AssignMode\":\"zt\",\"routes\":[{\"target\":\"10.9.0.0/24\"}],"
                    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1\","
                    "\"ipRangeEnd\":\"10.9.0.254\"}]}");
    json_t *obj = fake_api(f, "POST", MEMBER, "{\"authorized\":true}");
    assert_int_equal(json_array_size(json_object_get(obj, "ipAssignments")), 0);
    json_decref(obj);
    fake_status(f, "POST", MEMBER, "{\"authorized\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    fake_clear(f);
    obj = fake_api(f, "POST", MEMBER, "{\"authorized\":true}");
    assert_int_equal(json_array_size(json_object_get(obj, "ipAssignments")), 1);
    json_decref(obj);
    fake_run(f, 100);
    get_config(f, M, &conf);
    assert_int_equal(conf.address_count, 1);
    assert_int_equal(conf.addresses[0].port, 24);
    netconf_free(&conf);
}

/* CTL-60: the certificate of membership verifies and binds the member */
static void test_com_verifies(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    struct netconf conf;
    get_config(f, M, &conf);
    assert_non_null(conf.com);
    assert_int_equal(conf.com->count, 7);
    assert_int_equal(com_wire_len(conf.com), 272);
    assert_int_equal(com_signer(conf.com), FAKE_ADDRESS);
    assert_int_equal(com_verify(conf.com, &f->identity), 0);
    assert_int_equal(com_value(conf.com, COM_NETWORK), FAKE_NWID);
    assert_int_equal(com_value(conf.com, COM_HOLDER), M);
    assert_int_equal(com_value(conf.com, COM_TIMESTAMP), f->now_ms + f->wall_offset_ms);
    assert_int_equal(com_max_delta(conf.com, COM_TIMESTAMP), 1800000);
    struct identity id = fake_member(M);
    assert_true(com_agrees(conf.com, conf.com, &id));
    struct identity other = fake_member(M + 1);
    other.address = M;
    assert_false(com_agrees(conf.com, conf.com, &other));
    netconf_free(&conf);
}

/* CTL-55, CTL-58: keys and bytes of the observed example */
static void test_dictionary_of_the_example(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"name\":\"a=b\\\\\\r\\n\",\"private\":false,\"routes\":[{\"target\":"
                    "\"10.9.0.0/24\"},{\"target\":\"10.99.0.0/16\",\"via\":\"10.9.0.5\"}],"
                    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1\",\"ipRangeEnd\":"
                    "\"10.9.0.254\"}],\"v4AssignMode\":\"zt\",\"multicastLimit\":77,\"mtu\":1500}");
    struct netconf conf;
    get_config(f, UINT64_C(0xbf0c867805), &conf);
    assert_string_equal(conf.name, "a=b\\\r\n");
    assert_int_equal(conf.type, NETCONF_TYPE_PUBLIC);
    assert_int_equal(conf.multicast_limit, 77);
    assert_int_equal(conf.mtu, 1500);
    assert_int_equal(conf.revision, 1);
    assert_int_equal(conf.window, 1800000);
    netconf_free(&conf);
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, UINT64_C(0xbf0c867805));
    struct dict d = dict_init(s->dict, s->len);
    static const struct {
        const char *key;
        const char *hex;
    } blobs[] = {
        {"RT", "040a0900000018000000"
               "00"
               "00"
               "040a6300000010040a09000500000000"
               "0000"},
        {"I", "040a09007d0018"},
        {"R", "0100"},
    };
    for (size_t i = 0; i < COUNT_OF(blobs); i++) {
        uint8_t bytes[128];
        char hex[257];
        size_t len = 0;
        assert_int_equal(dict_get(d, blobs[i].key, bytes, sizeof(bytes), &len), 0);
        hex_encode(bytes, len, hex);
        assert_string_equal(hex, blobs[i].hex);
    }
    static const char *const keys[] = {"v",   "nwid", "ts", "ctmd", "r",  "id",  "tt",
                                       "tl",  "f",    "ml", "t",    "n",  "mtu", "C",
                                       "COO", "RT",   "I",  "R",    "DNS"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_true(dict_has(d, keys[i]));
    }
    assert_int_equal(dict_get_u64(d, "v", 0), 7);
}

/* CTL-48, loosened for authorized members as section 13 allows: a restarted one asks at once. */
static void test_requests_in_quick_succession_are_dropped(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    struct identity id = fake_member(M);
    struct inetaddr from = {.family = INETADDR_NIL};
    /* A network that is not there: one answer a second. */
    controller_request(f->c, FAKE_NWID + 1, &from, 1, &id, NULL, 0, f->now_ms);
    controller_request(f->c, FAKE_NWID + 1, &from, 2, &id, NULL, 0, f->now_ms + 1000);
    assert_int_equal(f->sent_count, 1);
    controller_request(f->c, FAKE_NWID + 1, &from, 3, &id, NULL, 0, f->now_ms + 1001);
    assert_int_equal(f->sent_count, 2);
    /* A member: a burst, then one a second. */
    f->now_ms += 5000;
    controller_request(f->c, FAKE_NWID, &from, 9, &id, NULL, 0, f->now_ms);
    f->now_ms += 5000;
    fake_clear(f);
    for (uint64_t i = 1; i <= CONTROLLER_REQUEST_BURST + 2; i++) {
        controller_request(f->c, FAKE_NWID, &from, i, &id, NULL, 0, f->now_ms);
    }
    assert_int_equal(f->sent_count, CONTROLLER_REQUEST_BURST);
    controller_request(f->c, FAKE_NWID, &from, 8, &id, NULL, 0,
                       f->now_ms + CONTROLLER_REQUEST_GAP_MS);
    assert_int_equal(f->sent_count, CONTROLLER_REQUEST_BURST + 1);
    fake_clear(f);
    controller_request(f->c, UINT64_C(0xaaaaaaaaaa000001), &from, 4, &id, NULL, 0,
                       f->now_ms + 2000);
    assert_int_equal(f->sent_count, 0); /* not ours: silence */
}

/* CTL-50 */
static void test_another_key_is_denied(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    json_t *before = fake_api(f, "GET", MEMBER, NULL);
    struct identity thief = fake_member(M + 1);
    struct netconf_meta meta = netconf_meta_default();
    thief.address = M;
    fake_clear(f);
    fake_request_meta(f, FAKE_NWID, &thief, &meta);
    assert_int_equal(last_error(f, M), ERROR_NETWORK_ACCESS_DENIED);
    assert_null(fake_last(f, FAKE_CONFIG, M));
    assert_int_equal(f->events[CONTROLLER_IDENTITY_MISMATCH], 1);
    json_t *after = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(json_object_del(after, "identityClash"), 0); /* shown beside the record */
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

/* CTL-52, 12.18 */
static void test_public_network(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_true(json_is_true(json_object_get(obj, "authorized")));
    assert_string_equal(js(obj, "lastAuthorizedCredentialType"), "public");
    json_decref(obj);
    /* de-authorizing has no effect and revokes nothing */
    fake_clear(f);
    obj = fake_api(f, "POST", MEMBER, "{\"authorized\":false}");
    assert_int_equal(f->status, 200);
    assert_true(json_is_true(json_object_get(obj, "authorized")));
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    fake_run(f, 5000);
    assert_int_equal(f->sent_count, 0);
    /* blocked does keep it out */
    fake_status(f, "POST", MEMBER, "{\"blocked\":true}");
    fake_request(f, FAKE_NWID, M, NULL);
    assert_int_equal(last_error(f, M), ERROR_NETWORK_ACCESS_DENIED);
    fake_status(f, "POST", MEMBER, "{\"blocked\":false}");
    fake_status(f, "POST", NET, "{\"private\":true}");
    fake_request(f, FAKE_NWID, M + 1, NULL);
    assert_int_equal(last_error(f, M + 1), ERROR_NETWORK_ACCESS_DENIED);
    /* who was authorized stays so */
    fake_status(f, "POST", NET, "{\"private\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    fake_status(f, "POST", NET, "{\"private\":true}");
    fake_clear(f);
    fake_request(f, FAKE_NWID, M, NULL);
    assert_non_null(fake_last(f, FAKE_CONFIG, M));
}

/* CTL-53 */
static void test_join_tokens(void **state)
{
    struct fake *f = *state;
    char body[160];
    long long wall = f->now_ms + f->wall_offset_ms;
    snprintf(body, sizeof(body), "{\"authTokens\":{\"ever\":0,\"new\":%lld,\"old\":%lld}}",
             wall + 3600000, wall - 1);
    fake_network(f, body);
    static const struct {
        const char *token;
        bool good;
    } cases[] = {
        {"ever", true}, {"new", true},  {"old", false},   {"none", false},
        {"", false},    {"eve", false}, {"everx", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t node = 0x100 + i;
        fake_request(f, FAKE_NWID, node, cases[i].token);
        assert_int_equal(fake_last(f, FAKE_CONFIG, node) != NULL, cases[i].good);
        assert_int_equal(last_error(f, node),
                         cases[i].good ? ERROR_NONE : ERROR_NETWORK_ACCESS_DENIED);
    }
    json_t *obj = fake_api(f, "GET", NET "/member/0000000100", NULL);
    assert_string_equal(js(obj, "lastAuthorizedCredentialType"), "token");
    assert_string_equal(js(obj, "lastAuthorizedCredential"), "ever");
    json_decref(obj);
    static const char *const not_objects[] = {"[1]", "null", "{}", "\"ever\""};
    for (size_t i = 0; i < COUNT_OF(not_objects); i++) {
        snprintf(body, sizeof(body), "{\"authTokens\":%s}", not_objects[i]);
        fake_status(f, "POST", NET, body);
        fake_request(f, FAKE_NWID, 0x200 + i, "ever");
        assert_int_equal(last_error(f, 0x200 + i), ERROR_NETWORK_ACCESS_DENIED);
    }
}

static void test_token_with_limited_uses(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", NET "/invite-token", "{\"token\":\"two\",\"uses\":2}");
    fake_request(f, FAKE_NWID, 1, "two");
    fake_request(f, FAKE_NWID, 1, "two"); /* a member already: costs nothing */
    assert_int_equal(fake_count(f, FAKE_CONFIG, 1), 2);
    fake_status(f, "POST", NET "/member/0000000001", "{\"authorized\":false}");
    fake_request(f, FAKE_NWID, 1, "two"); /* shut out: no token undoes that */
    assert_int_equal(last_error(f, 1), ERROR_NETWORK_ACCESS_DENIED);
    assert_int_equal(fake_count(f, FAKE_CONFIG, 1), 2);
    fake_status(f, "POST", NET "/member/0000000001", "{\"authorized\":true}");
    fake_request(f, FAKE_NWID, 1, "two");
    assert_true(fake_count(f, FAKE_CONFIG, 1) > 2);
    fake_request(f, FAKE_NWID, 2, "two");
    assert_int_equal(fake_count(f, FAKE_CONFIG, 2), 1);
    fake_request(f, FAKE_NWID, 3, "two"); /* used up */
    assert_int_equal(last_error(f, 3), ERROR_NETWORK_ACCESS_DENIED);
    json_t *obj = fake_api(f, "GET", NET, NULL);
    assert_true(json_is_null(json_object_get(obj, "authTokens")));
    assert_null(json_object_get(obj, "authTokenUses"));
    json_decref(obj);
}

/* CTL-62 */
static void test_node_without_rules_engine(void **state)
{
    struct fake *f = *state;
    fake_network(f,
                 "{\"private\":false,\"rules\":[],\"v6AssignMode\":\"rfc4193\",\"capabilities\":"
                 "[{\"id\":1,\"default\":true,\"rules\":[]}],\"tags\":[{\"id\":1,\"default\":2}]}");
    struct identity id = fake_member(M);
    struct netconf_meta meta = netconf_meta_default();
    meta.rules_revision = 0;
    fake_request_meta(f, FAKE_NWID, &id, &meta);
    struct netconf conf;
    fake_config(f, M, &conf);
    assert_int_equal(conf.rule_count, 1);
    assert_int_equal(conf.rules[0].type, RULE_ACCEPT);
    assert_int_equal(conf.capability_count, 0);
    assert_int_equal(conf.tag_count, 0);
    assert_int_equal(conf.ownership_count, 1);
    assert_non_null(conf.com);
    netconf_free(&conf);
    get_config(f, M, &conf); /* the same node, newer */
    assert_int_equal(conf.rule_count, 0);
    assert_int_equal(conf.capability_count, 1);
    assert_int_equal(conf.tag_count, 1);
    netconf_free(&conf);
}

/* CTL-61, CTL-63, CTL-64 */
static void test_tags_and_capabilities(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"tags\":[{\"id\":5,\"default\":50},{\"id\":3,\"default\":null},{\"id\":9,"
                    "\"default\":90}],\"capabilities\":[{\"id\":8,\"default\":true,\"rules\":[{"
                    "\"type\":\"ACTION_ACCEPT\"}]},{\"id\":2,\"rules\":[]},{\"id\":4,\"default\":"
                    "true,\"rules\":[]}]}");
    fake_request(f, FAKE_NWID, M, NULL); /* pending first: the trap of the reference */
    fake_status(f, "POST", MEMBER, "{\"authorized\":true,\"tags\":[[9,1],[7,70]]}");
    struct netconf conf;
    get_config(f, M, &conf);
    assert_int_equal(conf.tag_count, 3);
    static const uint32_t tags[][2] = {{5, 50}, {7, 70}, {9, 1}};
    for (size_t i = 0; i < COUNT_OF(tags); i++) {
        assert_int_equal(conf.tags[i].id, tags[i][0]);
        assert_int_equal(conf.tags[i].value, tags[i][1]);
        assert_int_equal(conf.tags[i].timestamp, conf.timestamp);
        assert_int_equal(conf.tags[i].holder, M);
        assert_int_equal(tag_verify(&conf.tags[i], &f->identity), 0);
    }
    assert_int_equal(conf.capability_count, 2);
    assert_int_equal(conf.capabilities[0]->id, 4);
    assert_int_equal(conf.capabilities[1]->id, 8);
    assert_int_equal(conf.capabilities[1]->rule_count, 1);
    assert_int_equal(capability_holder(conf.capabilities[1]), M);
    assert_int_equal(capability_verify(conf.capabilities[1], 0, &f->identity), 0);
    netconf_free(&conf);
    /* the default of a tag is not copied into the record */
    fake_status(f, "POST", NET, "{\"tags\":[{\"id\":5,\"default\":51}]}");
    get_config(f, M, &conf);
    assert_int_equal(conf.tags[0].value, 51);
    netconf_free(&conf);
    json_t *obj =
        fake_api(f, "POST", NET "/member/0000000001", "{\"authorized\":true,\"capabilities\":[2]}");
    assert_int_equal(json_array_size(json_object_get(obj, "capabilities")), 1); /* as asked */
    json_decref(obj);
    /* capabilities taken away stay away at a second authorization; explicit ones count */
    fake_status(f, "POST", MEMBER, "{\"capabilities\":[2,77]}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":false}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    get_config(f, M, &conf);
    assert_int_equal(conf.capability_count, 1);
    assert_int_equal(conf.capabilities[0]->id, 2);
    netconf_free(&conf);
}

/* CTL-65 */
static void test_twenty_addresses_are_all_covered(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false,\"routes\":[{\"target\":\"10.9.0.0/24\"}]}");
    char body[1024] = "{\"ipAssignments\":[";
    for (int i = 1; i <= 20; i++) {
        size_t len = strlen(body);
        snprintf(body + len, sizeof(body) - len, "%s\"10.9.0.%d\"", i > 1 ? "," : "", i);
    }
    strcat(body, "]}");
    fake_status(f, "POST", MEMBER, body);
    struct netconf conf;
    get_config(f, M, &conf);
    assert_int_equal(conf.address_count, 20);
    assert_int_equal(conf.ownership_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(conf.ownerships[i].id, i + 1);
        assert_int_equal(ownership_verify(&conf.ownerships[i], &f->identity), 0);
    }
    for (size_t i = 0; i < 20; i++) {
        assert_true(ownership_owns_ip(&conf.ownerships[i / 16], conf.addresses[i].ip, 4));
    }
    netconf_free(&conf);
}

/* A JSON array of n elements made by printf with the index. */
static char *array_of(const char *key, const char *before, const char *after, int n)
{
    size_t cap = (size_t)n * (strlen(before) + strlen(after) + 24) + 64;
    char *out = malloc(cap);
    assert_non_null(out);
    size_t len = (size_t)snprintf(out, cap, "{\"%s\":[", key);
    for (int i = 0; i < n; i++) {
        len += (size_t)snprintf(out + len, cap - len, "%s%s%d%s", i > 0 ? "," : "", before, i + 1,
                                after);
    }
    snprintf(out + len, cap - len, "]}");
    return out;
}

static void post_array(struct fake *f, const char *path, const char *key, const char *before,
                       const char *after, int n)
{
    char *body = array_of(key, before, after, n);
    assert_int_equal(fake_status(f, "POST", path, body), 200);
    free(body);
}

/* CTL-2, CTL-4: never more than receivers have room for */
static void test_limits_on_output(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false,\"routes\":[{\"target\":\"10.0.0.0/8\"}]}");
    post_array(f, NET, "rules", "{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":", "}", 1025);
    post_array(f, NET, "tags", "{\"default\":1,\"id\":", "}", 129);
    post_array(f, NET, "capabilities", "{\"rules\":[],\"id\":", "}", 129);
    post_array(f, MEMBER, "capabilities", "", "", 129);
    post_array(f, MEMBER, "ipAssignments", "\"10.1.1.", "\"", 33);
    char name[400];
    memset(name, 'x', sizeof(name));
    memcpy(name, "{\"name\":\"", 9);
    memcpy(name + 9 + 126, "\xc3\xbc", 2); /* a character across the limit */
    strcpy(name + 9 + 200, "\"}");
    fake_status(f, "POST", NET, name);
    char dns[512];
    char domain[201];
    memset(domain, 'd', 200);
    domain[200] = '\0';
    snprintf(dns, sizeof(dns),
             "{\"dns\":{\"domain\":\"%s\",\"servers\":[\"1.1.1.1\",\"bad\",\"1.1.1.2\",\"fd00::1\","
             "\"1.1.1.3\",\"1.1.1.4\"]}}",
             domain);
    fake_status(f, "POST", NET, dns);
    post_array(f, NET, "routes", "{\"target\":\"10.1.1.", "/32\"}", 129);
    struct netconf conf;
    get_config(f, M, &conf);
    assert_int_equal(conf.rule_count, 1024);
    assert_int_equal(conf.tag_count, 128);
    assert_int_equal(conf.capability_count, 128);
    assert_int_equal(conf.route_count, 128);
    assert_int_equal(conf.address_count, 32);
    assert_int_equal(strlen(conf.name), 126);
    assert_non_null(conf.dns);
    assert_int_equal(strlen(conf.dns->domain), 127);
    assert_int_equal(conf.dns->servers[3].ip[3], 3);
    netconf_free(&conf);
    /* 65 rules of a capability */
    char *rules = array_of("rules", "{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":", "}", 65);
    char *body = malloc(strlen(rules) + 100);
    assert_non_null(body);
    sprintf(body, "{\"capabilities\":[{\"id\":1,%s]}", rules + 1);
    assert_int_equal(fake_status(f, "POST", NET, body), 200);
    free(rules);
    free(body);
    get_config(f, M, &conf);
    assert_int_equal(conf.capability_count, 1);
    assert_int_equal(conf.capabilities[0]->rule_count, 64);
    netconf_free(&conf);
}

/* CTL-2, 12.22 */
static void test_bridges(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    struct netconf conf;
    get_config(f, M, &conf);
    assert_int_equal(conf.specialist_count, 0);
    netconf_free(&conf);
    fake_clear(f);
    fake_status(f, "POST", NET "/member/0000000001", "{\"activeBridge\":true}");
    fake_run(f, 1000);
    assert_int_equal(f->sent_count, 0); /* not authorized: nobody cares */
    fake_status(f, "POST", NET "/member/0000000001", "{\"authorized\":true}");
    fake_run(f, 1000);
    fake_config(f, M, &conf); /* others are told */
    assert_int_equal(conf.specialist_count, 1);
    assert_int_equal(conf.specialists[0], 1 | SPECIALIST_BRIDGE);
    netconf_free(&conf);
    for (int i = 2; i <= 257; i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/member/%010x", NET, i);
        fake_status(f, "POST", path, "{\"authorized\":true,\"activeBridge\":1}");
    }
    get_config(f, M, &conf);
    assert_int_equal(conf.specialist_count, 256);
    netconf_free(&conf);
}

/* CTL-72 */
static void test_time_stamps_never_go_back(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    uint64_t last = 0;
    static const int64_t steps[] = {0, -5000, -3600000, 7200000, -1, 0};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        f->wall_offset_ms += steps[i];
        controller_set_wall_offset(f->c, f->wall_offset_ms);
        struct netconf conf;
        get_config(f, M, &conf);
        assert_true(conf.timestamp >= last);
        last = conf.timestamp;
        netconf_free(&conf);
    }
    assert_int_equal(f->errors, 1); /* an hour back was worth a line */
}

/* CTL-57, CTL-79, 12.25 */
static void test_pushes(void **state)
{
    struct fake *f = *state;
    enum { COUNT = 1000 };
    fake_network(f, "{\"private\":false}");
    for (uint64_t i = 1; i <= COUNT; i++) {
        fake_request(f, FAKE_NWID, i, NULL);
        f->now_ms -= 1001;
    }
    fake_clear(f);
    fake_run(f, 3000);
    assert_int_equal(f->sent_count, 0); /* 12.27: no second configuration after the first */
    fake_status(f, "POST", NET, "{\"name\":\"a\"}");
    fake_status(f, "POST", NET, "{\"name\":\"b\"}");
    fake_run(f, 150);
    assert_int_equal(f->sent_count, 0); /* gathered */
    fake_run(f, 1000);
    assert_in_range(f->sent_count, 300, 600); /* paced */
    fake_run(f, 2000);
    assert_int_equal(f->sent_count, COUNT);
    for (uint64_t i = 1; i <= COUNT; i++) {
        assert_int_equal(fake_count(f, FAKE_CONFIG, i), 1);
    }
    assert_int_equal(f->sent[0].request_id, 0);
    assert_true(fake_is_idle(f));
    fake_clear(f);
    fake_status(f, "POST", NET, "{\"authTokens\":{\"x\":0}}"); /* nothing members would see */
    fake_run(f, 5000);
    assert_int_equal(f->sent_count, 0);
    f->now_ms += 120000; /* all offline */
    fake_status(f, "POST", NET, "{\"name\":\"c\"}");
    fake_run(f, 5000);
    assert_int_equal(f->sent_count, 0);
}

/* CTL-78 in one thread: the poll never takes back what the administrator did */
static void test_poll_after_authorization_keeps_it(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"routes\":[{\"target\":\"10.9.0.0/24\"}]}");
    for (uint64_t i = 1; i <= 1000; i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/member/%010llx", NET, (unsigned long long)i);
        if (i % 2 == 0) {
            fake_request(f, FAKE_NWID, i, NULL);
        }
        fake_status(f, "POST", path, "{\"authorized\":true,\"name\":\"n\"}");
        fake_request(f, FAKE_NWID, i, NULL);
        json_t *obj = fake_api(f, "GET", path, NULL);
        assert_true(json_is_true(json_object_get(obj, "authorized")));
        assert_string_equal(js(obj, "name"), "n");
        assert_int_equal(strlen(js(obj, "identity")), 141);
        json_decref(obj);
        f->now_ms -= 1001;
    }
}

/* CTL-81: strangers cannot fill memory, members are still served */
static void test_flood_of_strangers(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    fake_status(f, "POST", NET "/member/0000000001", "{\"name\":\"kept\"}");
    fake_request(f, FAKE_NWID, 1, NULL);
    struct inetaddr from = {.family = INETADDR_NIL};
    for (uint64_t i = 0; i < 5000; i++) {
        struct identity id = fake_member(UINT64_C(0x1000000000) + i);
        controller_request(f->c, FAKE_NWID + i % 3, &from, i + 1, &id, NULL, 0, f->now_ms);
    }
    struct controller_counts counts;
    controller_get_counts(f->c, &counts);
    assert_int_equal(counts.networks, 1);
    assert_int_equal(counts.members, CONTROLLER_PENDING_MAX + 2);
    assert_true(counts.pending_evicted > 0);
    assert_int_equal(fake_status(f, "GET", NET "/member/0000000001", NULL), 200);
    struct netconf conf;
    get_config(f, M, &conf);
    netconf_free(&conf);
}

static void test_trace_target_of_member_before_network(void **state)
{
    struct fake *f = *state; /* CTL-83 */
    fake_network(f, "{\"private\":false,\"remoteTraceTarget\":\"1111111111\",\"remoteTraceLevel\":"
                    "10}");
    struct netconf conf;
    get_config(f, M, &conf);
    assert_int_equal(conf.trace_target, 0x1111111111);
    assert_int_equal(conf.trace_level, 10);
    netconf_free(&conf);
    fake_status(f, "POST", MEMBER,
                "{\"remoteTraceTarget\":\"2222222222\",\"remoteTraceLevel\":20}");
    get_config(f, M, &conf);
    assert_int_equal(conf.trace_target, 0x2222222222);
    assert_int_equal(conf.trace_level, 20);
    netconf_free(&conf);
}

/* CTL-83: reports of members that are told to trace to us */
static void test_trace_reports_are_kept(void **state)
{
    struct fake *f = *state;
    static const char report[] =
        "event=0000000000002000\nnetworkId=12a402e62ed49ba9\nreason=a\\eb\n"
        "frameData=\x01\x02\nunknown=1";
    fake_network(f, "{\"private\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    controller_trace(f->c, M, report, sizeof(report) - 1, f->now_ms); /* nobody asked for it */
    fake_status(f, "POST", NET, "{\"remoteTraceTarget\":\"12a402e62e\"}");
    for (int i = 0; i < 40; i++) {
        controller_trace(f->c, M, report, sizeof(report) - 1, f->now_ms + i);
    }
    controller_trace(f->c, M + 1, report, sizeof(report) - 1, f->now_ms); /* not a member */
    json_t *obj = fake_api(f, "GET", "/unstable" MEMBER "/trace", NULL);
    const json_t *data = json_object_get(obj, "data");
    assert_int_equal(json_array_size(data), 32);
    const json_t *last = json_array_get(data, 31);
    assert_int_equal(ji(last, "at"), f->now_ms + f->wall_offset_ms + 39);
    assert_string_equal(js(last, "reason"), "a=b");
    assert_string_equal(js(last, "frameData"), "0102");
    assert_null(json_object_get(last, "unknown"));
    json_decref(obj);
    assert_int_equal(fake_status(f, "GET", "/unstable" NET "/member/aabbccddef/trace", NULL), 404);
}

/* CTL-84: the counts behind the metrics */
static void test_counts(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_request(f, FAKE_NWID, M, NULL);
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    fake_request(f, FAKE_NWID, M, NULL);
    fake_status(f, "POST", MEMBER, "{\"authorized\":false}");
    struct controller_counts counts;
    controller_get_counts(f->c, &counts);
    assert_int_equal(counts.networks, 1);
    assert_int_equal(counts.members, 1);
    assert_int_equal(counts.network_changes, 1);
    assert_int_equal(counts.member_changes, 4); /* seen, authorized, versions, de-authorized */
    assert_int_equal(counts.member_auths, 1);
    assert_int_equal(counts.member_deauths, 1);
    assert_int_equal(counts.requests, 2);
    assert_int_equal(counts.configs_sent, 1);
    assert_int_equal(counts.denied, 1);
}

/* The unstable list tells what the controller knows of its members (12.30). */
static void test_live_data(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    fake_request(f, FAKE_NWID, M, NULL);
    json_t *obj = fake_api(f, "GET", "/unstable" NET "/member", NULL);
    const json_t *live = json_object_get(json_array_get(json_object_get(obj, "data"), 0), "live");
    assert_true(json_is_true(json_object_get(live, "online")));
    assert_true(json_is_true(json_object_get(live, "direct")));
    assert_string_equal(js(live, "physicalAddress"), "192.0.2.7");
    assert_string_equal(js(live, "os"), "linux/x86_64");
    assert_int_equal(ji(live, "lastSeen"), f->now_ms + f->wall_offset_ms);
    json_decref(obj);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pending_until_authorized, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_authorization_brings_an_address, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_com_verifies, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_dictionary_of_the_example, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_requests_in_quick_succession_are_dropped, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_another_key_is_denied, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_public_network, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_join_tokens, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_token_with_limited_uses, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_node_without_rules_engine, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_tags_and_capabilities, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_twenty_addresses_are_all_covered, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_limits_on_output, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_bridges, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_time_stamps_never_go_back, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_pushes, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_poll_after_authorization_keeps_it, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_strangers, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_trace_target_of_member_before_network, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_trace_reports_are_kept, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_counts, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_live_data, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
