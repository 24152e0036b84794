/* The implied configurations of ad-hoc networks, which have no controller.
 * Source: spec 03 section 1.2. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADHOC_WINDOW_MS = 7200000,
    ADHOC_V4_MULTICAST_LIMIT = 1024,
    ADHOC_V6_RULES = 14,
    TCP_SYN = 0x02,
    TCP_ACK = 0x10,
    IP_ICMPV6 = 58,
    IP_UDP = 17,
    IP_TCP = 6,
    ETHERTYPE_IPV6 = 0x86dd,
};

static struct rule action(enum rule_type type)
{
    return (struct rule){.type = (uint8_t)type};
}

static struct rule number(enum rule_type type, uint16_t value)
{
    return (struct rule){.type = (uint8_t)type, .number = value};
}

static struct rule flags(uint64_t mask, bool is_not)
{
    return (struct rule){.type = RULE_CHARACTERISTICS, .is_not = is_not, .mask = mask};
}

/* The rules of the port range networks, kept although they let all of UDP pass: both sides evaluate
 * them. */
static void v6_rules(struct rule *r, uint16_t first, uint16_t last)
{
    r[0] = number(RULE_ETHERTYPE, ETHERTYPE_IPV6);
    r[0].is_not = true;
    r[1] = action(RULE_DROP);
    r[2] = number(RULE_IP_PROTOCOL, IP_ICMPV6);
    r[3] = action(RULE_ACCEPT);
    r[4] = number(RULE_IP_PROTOCOL, IP_UDP);
    r[5] = number(RULE_IP_PROTOCOL, IP_TCP);
    r[5].is_or = true;
    r[6] = (struct rule){.type = RULE_DEST_PORT, .range = {.start = first, .end = last}};
    r[7] = action(RULE_ACCEPT);
    r[8] = flags(TCP_SYN, true);
    r[9] = action(RULE_ACCEPT);
    r[10] = flags(TCP_SYN, false);
    r[11] = flags(TCP_ACK, false);
    r[12] = action(RULE_ACCEPT);
    r[13] = action(RULE_DROP);
}

static int lists(struct netconf *conf, uint16_t rules, uint16_t addresses)
{
    conf->rules = calloc(rules, sizeof(*conf->rules));
    conf->addresses = calloc(addresses, sizeof(*conf->addresses));
    if (conf->rules == NULL || conf->addresses == NULL) {
        return -ENOMEM;
    }
    conf->rule_count = rules;
    conf->address_count = addresses;
    return 0;
}

static int ports_config(uint64_t nwid, uint64_t self, struct netconf *conf)
{
    uint16_t first = (uint16_t)(nwid >> 40);
    uint16_t last = (uint16_t)(nwid >> 24);

    if (last < first) {
        return -ENOENT;
    }
    if (lists(conf, ADHOC_V6_RULES, 1) != 0) {
        return -ENOMEM;
    }
    (void)snprintf(conf->name, sizeof(conf->name), "adhoc-%04x-%04x", first, last);
    conf->addresses[0] = network_6plane(nwid, self);
    v6_rules(conf->rules, first, last);
    return 0;
}

static int v4_config(uint64_t nwid, uint64_t self, struct netconf *conf)
{
    uint8_t net = (uint8_t)(nwid >> 48);
    uint64_t hub = nwid >> 8 & UINT64_C(0xffffffffff);

    if (lists(conf, 1, 2) != 0) {
        return -ENOMEM;
    }
    (void)snprintf(conf->name, sizeof(conf->name), "adhoc-%u.0.0.0", net);
    conf->multicast_limit = ADHOC_V4_MULTICAST_LIMIT;
    conf->addresses[0] = network_6plane(nwid, self);
    conf->addresses[1] = (struct inetaddr){
        .family = INETADDR_V4,
        .ip = {net, (uint8_t)(self >> 16), (uint8_t)(self >> 8), (uint8_t)self},
        .port = 8,
    };
    conf->rules[0] = action(RULE_ACCEPT);
    if (hub != 0) {
        conf->specialists = calloc(1, sizeof(*conf->specialists));
        if (conf->specialists == NULL) {
            return -ENOMEM;
        }
        conf->specialists[0] = hub;
        conf->specialist_count = 1;
    }
    return 0;
}

int adhoc_config(uint64_t nwid, uint64_t self, int64_t wall_ms, struct netconf *ret)
{
    struct netconf conf = {
        .network_id = nwid,
        .timestamp = (uint64_t)wall_ms,
        .window = ADHOC_WINDOW_MS,
        .revision = 1,
        .member = self,
        .flags = NETCONF_FLAG_NDP,
        .type = NETCONF_TYPE_PUBLIC,
        .mtu = NETCONF_MTU_DEFAULT,
    };
    int err;

    if (!network_is_adhoc(nwid)) {
        return -EPROTO;
    }
    if ((nwid & 0xffffff) == 0) {
        err = ports_config(nwid, self, &conf);
    } else if ((nwid & 0xff) == 1) {
        err = v4_config(nwid, self, &conf);
    } else {
        err = -EPROTO;
    }
    if (err != 0) {
        netconf_free(&conf);
        return err;
    }
    *ret = conf;
    return 0;
}
