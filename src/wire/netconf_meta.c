/* Meta-data of configuration requests. Source: spec 03 section 3, spec 04 section 4.1. */
#include "base/dict.h"
#include "wire/netconf.h"
#include "wire/packet.h"

#include <errno.h>
#include <string.h>

struct netconf_meta netconf_meta_default(void)
{
    return (struct netconf_meta){
        .version = NETCONF_VERSION,
        .protocol = PROTOCOL_VERSION,
        .max_rules = RULES_BASE_MAX,
        .max_capabilities = CAPABILITIES_MAX,
        .max_capability_rules = RULES_CAPABILITY_MAX,
        .max_tags = TAGS_MAX,
        .rules_revision = 1,
    };
}

/* The numbers in the order of the reference. */
static const struct {
    const char *key;
    size_t at; /* place of the uint64_t in struct netconf_meta */
} numbers[] = {
    {"v", offsetof(struct netconf_meta, version)},
    {"vend", offsetof(struct netconf_meta, vendor)},
    {"pv", offsetof(struct netconf_meta, protocol)},
    {"majv", offsetof(struct netconf_meta, major)},
    {"minv", offsetof(struct netconf_meta, minor)},
    {"revv", offsetof(struct netconf_meta, revision)},
    {"mr", offsetof(struct netconf_meta, max_rules)},
    {"mc", offsetof(struct netconf_meta, max_capabilities)},
    {"mcr", offsetof(struct netconf_meta, max_capability_rules)},
    {"mt", offsetof(struct netconf_meta, max_tags)},
    {"f", offsetof(struct netconf_meta, flags)},
    {"revr", offsetof(struct netconf_meta, rules_revision)},
};

int netconf_meta_encode(const struct netconf_meta *meta, char *text, size_t cap, size_t *ret_len)
{
    struct dict_writer w;

    if (cap == 0) {
        return -ENOSPC;
    }
    w = dict_writer_init(text, cap);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint64_t value;

        memcpy(&value, (const char *)meta + numbers[i].at, sizeof(value));
        dict_put_u64(&w, numbers[i].key, value);
    }
    dict_put_text(&w, "o", meta->os);
    if (meta->auth[0] != '\0') {
        dict_put_text(&w, "a", meta->auth);
    }
    if (w.bad) {
        return -ENOSPC;
    }
    *ret_len = w.len;
    return 0;
}

/* A text value, "" when absent, too long or with a NUL inside; the rest of out is zero. */
static void text_get(struct dict d, const char *key, char *out, size_t cap)
{
    size_t len = 0;

    if (dict_get(d, key, out, cap - 1, &len) < 0 || memchr(out, 0, len) != NULL) {
        len = 0;
    }
    memset(out + len, 0, cap - len);
}

void netconf_meta_decode(const void *text, size_t len, struct netconf_meta *ret)
{
    struct dict d = dict_init(text, len);
    struct netconf_meta meta = {0};

    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint64_t value = dict_get_u64(d, numbers[i].key, 0);

        memcpy((char *)&meta + numbers[i].at, &value, sizeof(value));
    }
    text_get(d, "o", meta.os, sizeof(meta.os));
    text_get(d, "a", meta.auth, sizeof(meta.auth));
    *ret = meta;
}
