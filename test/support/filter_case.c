/* See the header. */
#include "filter_case.h"

#include "vectors.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

uint64_t vec_mac(const json_t *o, const char *key)
{
    const char *text = vec_text(o, key);
    uint64_t mac = 0;

    assert_int_equal(mac_parse(text, strlen(text), &mac), 0);
    return mac;
}

static struct inetaddr ip_of(const char *text)
{
    struct inetaddr a = {0};

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

/* Rules of an object: bytes from rulesHex, buckets from the JSON form. */
static struct rule *load_rules(const json_t *o, uint16_t *ret_count)
{
    size_t len;
    uint8_t *bytes = vec_bytes(o, "rulesHex", &len);
    const json_t *list = vec_get(o, "rules");
    size_t count = json_array_size(list);
    struct rule *rules = calloc(count + 1, sizeof(*rules));
    struct rd r = rd_init(bytes, len);

    assert_non_null(rules);
    assert_int_equal(rules_count(r, RULES_BASE_MAX), count);
    assert_int_equal(rules_read(&r, rules, count), 0);
    assert_int_equal(rd_done(&r), 0);
    for (size_t i = 0; i < count; i++) {
        const json_t *bucket = json_object_get(json_array_get(list, i), "qosBucket");

        if (rules[i].type == RULE_PRIORITY) {
            rules[i].bucket = (uint8_t)json_integer_value(bucket);
        }
    }
    free(bytes);
    *ret_count = (uint16_t)count;
    return rules;
}

static uint16_t load_tags(const json_t *o, const char *key, uint64_t now, struct filter_tag *out)
{
    const json_t *list = json_object_get(o, key);
    size_t i;
    const json_t *tag;

    json_array_foreach(list, i, tag)
    {
        const json_t *timestamp = json_array_get(tag, 2);

        assert_true(i < FILTER_CASE_LIST_MAX);
        out[i] = (struct filter_tag){
            .id = (uint32_t)json_integer_value(json_array_get(tag, 0)),
            .value = (uint32_t)json_integer_value(json_array_get(tag, 1)),
            .timestamp = timestamp != NULL ? (uint64_t)json_integer_value(timestamp) : now,
        };
    }
    return (uint16_t)json_array_size(list);
}

static uint16_t load_ownership(const json_t *o, const char *key, struct filter_ownership *own,
                               struct thing *things)
{
    const json_t *from = json_object_get(o, key);
    const json_t *item;
    size_t i;
    struct ownership made = {0};

    if (from == NULL) {
        return 0;
    }
    json_array_foreach(vec_get(from, "ips"), i, item)
    {
        struct inetaddr ip = ip_of(json_string_value(item));

        assert_int_equal(ownership_add_ip(&made, ip.ip, inetaddr_ip_len(&ip)), 0);
    }
    json_array_foreach(vec_get(from, "macs"), i, item)
    {
        const char *text = json_string_value(item);
        uint64_t mac = 0;

        assert_int_equal(mac_parse(text, strlen(text), &mac), 0);
        assert_int_equal(ownership_add_mac(&made, mac), 0);
    }
    memcpy(things, made.things, sizeof(made.things));
    *own = (struct filter_ownership){
        .timestamp = (uint64_t)vec_int(from, "timestamp"),
        .things = things,
        .count = made.count,
    };
    return 1;
}

static int by_id(const void *a, const void *b)
{
    const struct filter_capability *x = a;
    const struct filter_capability *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static uint16_t load_capabilities(struct filter_case *c, const json_t *o, const char *key,
                                  struct filter_capability *out)
{
    const json_t *list = json_object_get(o, key);
    const json_t *cap;
    size_t i;

    json_array_foreach(list, i, cap)
    {
        uint16_t count;

        assert_true(i < FILTER_CASE_CAP_MAX);
        c->cap_rules[c->cap_rules_count] = load_rules(cap, &count);
        out[i] = (struct filter_capability){
            .id = (uint32_t)vec_int(cap, "id"),
            .timestamp = (uint64_t)vec_int(cap, "timestamp"),
            .rules = c->cap_rules[c->cap_rules_count++],
            .rule_count = count,
        };
    }
    qsort(out, json_array_size(list), sizeof(*out), by_id);
    return (uint16_t)json_array_size(list);
}

static void load_revocations(struct filter_case *c, const json_t *o, const json_t *remote_ownership)
{
    const json_t *rev;
    size_t i;

    json_array_foreach(json_object_get(o, "remoteRevocations"), i, rev)
    {
        uint32_t id = (uint32_t)vec_int(rev, "credentialId");
        uint64_t threshold = (uint64_t)vec_int(rev, "threshold");
        int64_t type = vec_int(rev, "type");

        for (size_t k = 0; type == CREDENTIAL_TAG && k < c->remote.tag_count; k++) {
            if (c->remote_tags[k].id == id) {
                c->remote_tags[k].revoked = threshold;
            }
        }
        for (size_t k = 0; type == CREDENTIAL_CAPABILITY && k < c->remote.capability_count; k++) {
            if (c->remote_caps[k].id == id) {
                c->remote_caps[k].revoked = threshold;
            }
        }
        if (type == CREDENTIAL_OWNERSHIP && remote_ownership != NULL &&
            vec_int(remote_ownership, "id") == id) {
            c->remote_ownership.revoked = threshold;
        }
    }
}

uint32_t filter_case_draw(void *ctx)
{
    (void)ctx;
    return 0;
}

static void load_network(struct filter_case *c, const json_t *o, const json_t *meta)
{
    const json_t *ip;
    size_t i;

    c->network = (struct filter_network){
        .network_id = vec_hex_u64(meta, "networkId"),
        .self = vec_hex_u64(o, "self"),
        .timestamp = (uint64_t)vec_int(meta, "time"),
        .window = (uint64_t)vec_int(meta, "credentialTimeMaxDelta"),
        .flags = json_object_get(o, "configFlags") != NULL ? vec_hex_u64(o, "configFlags") : 0,
        .addresses = c->addresses,
    };
    json_array_foreach(json_object_get(o, "staticIps"), i, ip)
    {
        assert_true(i < FILTER_CASE_LIST_MAX);
        c->addresses[c->network.address_count++] = ip_of(json_string_value(ip));
    }
    c->rules = load_rules(o, &c->network.rule_count);
    c->network.rules = c->rules;
    c->network.own = (struct filter_credentials){
        .tags = c->local_tags,
        .ownerships = &c->local_ownership,
        .capabilities = c->local_caps,
        .tag_count = load_tags(o, "localTags", c->network.timestamp, c->local_tags),
        .ownership_count =
            load_ownership(o, "localOwnership", &c->local_ownership, c->local_things),
        .capability_count = load_capabilities(c, o, "localCapabilities", c->local_caps),
    };
}

void filter_case_load(struct filter_case *c, const json_t *o, const json_t *meta)
{
    memset(c, 0, sizeof(*c));
    c->name = vec_text(o, "name");
    c->is_inbound = strcmp(vec_text(o, "direction"), "in") == 0;
    c->expect = vec_get(o, "expect");
    load_network(c, o, meta);
    c->remote = (struct filter_credentials){
        .tags = c->remote_tags,
        .ownerships = &c->remote_ownership,
        .capabilities = c->remote_caps,
        .tag_count = load_tags(o, "remoteTags", c->network.timestamp, c->remote_tags),
        .ownership_count =
            load_ownership(o, "remoteOwnership", &c->remote_ownership, c->remote_things),
        .capability_count = load_capabilities(c, o, "remoteCapabilities", c->remote_caps),
    };
    load_revocations(c, o, json_object_get(o, "remoteOwnership"));
    c->has_remote = c->is_inbound || vec_bool_or(o, "remoteKnown", false);
    c->frame = (struct filter_frame){
        .source_mac = vec_mac(o, "macSource"),
        .dest_mac = vec_mac(o, "macDest"),
        .ethertype = (uint16_t)vec_int(o, "etherType"),
    };
    c->payload = vec_bytes(o, "payload", &c->frame.len);
    c->frame.payload = c->payload;
    c->in = (struct filter_input){
        .network = &c->network,
        .remote = c->has_remote ? &c->remote : NULL,
        .frame = &c->frame,
        .source = vec_hex_u64(o, "ztSource"),
        .dest = vec_hex_u64(o, "ztDest"),
        .no_tee = vec_bool(o, "noTee"),
        .draw = filter_case_draw,
    };
}

void filter_case_free(struct filter_case *c)
{
    free(c->rules);
    free(c->payload);
    for (size_t i = 0; i < c->cap_rules_count; i++) {
        free(c->cap_rules[i]);
    }
}

/* What spec 03 section 21 asks for instead of the recorded result. */
int64_t filter_case_verdict(const struct filter_case *c)
{
    if (strcmp(c->name,
               "ipauth in 6plane other node's prefix still passes (only /40 is compared)") == 0) {
        return FILTER_DROP; /* SEC-3 */
    }
    return vec_int(c->expect, "accept");
}
