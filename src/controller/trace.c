/* What members tell besides asking: which configuration they have, and remote trace reports. Of
 * those the last are kept, of members that are told to send them here. What comes is hostile input:
 * only members whose trace target is this controller are heard, known fields are kept, and the
 * oldest reports go first. Source: spec 04 sections 4.14 and 12.30, spec 03 section 19. */
#include "base/dict.h"
#include "base/hex.h"
#include "controller/coerce.h"
#include "controller/controller_priv.h"

#include <string.h>

enum {
    TRACE_KEPT = 32,        /* reports per member */
    TRACE_VALUE_MAX = 1024, /* bytes of a value; longer ones are left out */
};

static const char *const fields[] = {"event",
                                     "networkId",
                                     "packetId",
                                     "packetVerb",
                                     "packetHops",
                                     "remoteZtAddr",
                                     "remotePhyAddr",
                                     "localPhyAddr",
                                     "phyAddrIpScope",
                                     "localSocket",
                                     "reason",
                                     "sourceMac",
                                     "destMac",
                                     "etherType",
                                     "vlanId",
                                     "frameLength",
                                     "frameData",
                                     "credType",
                                     "credId",
                                     "credTs",
                                     "credIssuedTo",
                                     "credInfo",
                                     "credRevocationTarget",
                                     "networkControllerId",
                                     "sourceZtAddr",
                                     "destZtAddr",
                                     "filterNoTee",
                                     "filterInbound",
                                     "filterResult",
                                     "filterBaseRuleLog",
                                     "filterCapRuleLog",
                                     "filterMatchingCapId"};

/* A value as text if it is printable, else in hexadecimal. */
static json_t *value_json(const uint8_t *value, size_t len)
{
    char text[2 * TRACE_VALUE_MAX + 1];
    bool printable = true;
    for (size_t i = 0; i < len; i++) {
        printable = printable && value[i] >= ' ' && value[i] <= '~';
    }
    if (printable) {
        return json_stringn((const char *)value, len);
    }
    hex_encode(value, len, text);
    return json_string(text);
}

static json_t *report_json(struct dict report, int64_t wall_ms)
{
    json_t *obj = json_pack("{sI}", "at", (json_int_t)wall_ms);
    for (size_t i = 0; obj != NULL && i < COUNT_OF(fields); i++) {
        uint8_t value[TRACE_VALUE_MAX];
        size_t len = 0;
        if (dict_get(report, fields[i], value, sizeof(value), &len) == 0) {
            json_object_set_new(obj, fields[i], value_json(value, len));
        }
    }
    return obj;
}

/* Where the traces of a member go according to its configuration. */
static uint64_t trace_target(const struct cmember *m)
{
    return m->trace_target[0] != '\0' ? hex_prefix(m->trace_target) & UINT64_C(0xffffffffff)
                                      : m->net->plan.trace_target;
}

void controller_holds(struct controller *c, uint64_t nwid, const struct identity *identity,
                      uint64_t revision, uint64_t timestamp)
{
    struct cnetwork *net = model_find(&c->model, nwid);
    struct cmember *m = net != NULL ? network_member(net, identity->address) : NULL;
    if (m == NULL || !m->has_pub || memcmp(m->pub, identity->pub, sizeof(m->pub)) != 0) {
        return;
    }
    m->runtime_changed |= m->held_revision != revision;
    m->held_revision = revision;
    m->held_ms = timestamp <= INT64_MAX ? (int64_t)timestamp : 0;
}

void controller_trace(struct controller *c, uint64_t source, const void *dict, size_t len,
                      int64_t now_ms)
{
    struct dict report = dict_init(dict, len);
    struct cnetwork *net = model_find(&c->model, dict_get_u64(report, "networkId", 0));
    struct cmember *m = net != NULL ? network_member(net, source) : NULL;
    if (m == NULL || !m->authorized || trace_target(m) != c->identity.address) {
        return;
    }
    if (m->traces == NULL) {
        m->traces = json_array();
    }
    while (json_array_size(m->traces) >= TRACE_KEPT) {
        json_array_remove(m->traces, 0);
    }
    json_array_append_new(m->traces, report_json(report, controller_wall(c, now_ms)));
}
