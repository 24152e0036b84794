/* Single matches of the rule evaluator. Lengths are tested before every read, and only those the
 * specification names: fragment offsets, checksums and length fields are not looked at.
 * Source: spec 03 section 16.3. */
#include "datapath/filter_match.h"

#include "base/cursor.h"
#include "wire/mac.h"
#include "wire/netconf.h"

#include <string.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_IPV6 = 0x86dd,
    IPV4_HEADER_MIN = 20,
    IPV6_HEADER = 40,
    ARP_LEN = 28,
    PROTO_HOP_BY_HOP = 0,
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_ROUTING = 43,
    PROTO_ICMPV6 = 58,
    PROTO_DEST_OPTIONS = 60,
    PROTO_SCTP = 132,
    PROTO_MOBILITY = 135,
    PROTO_UDPLITE = 136,
    TCP_FLAGS_END = 14, /* bytes of TCP header up to and with the flags */
    ND_LEN = 64,        /* IPv6 header and neighbour discovery message up to the target */
    ND_SOLICITATION = 0x87,
    ND_ADVERTISEMENT = 0x88,
    RFC4193_PREFIX_LEN = 11, /* bytes shared by all members */
    SIXPLANE_PREFIX_LEN = 5,
};

static enum filter_match soft(bool yes)
{
    return yes ? MATCH_YES : MATCH_NO;
}

static bool is_v4(const struct filter_frame *f)
{
    return f->ethertype == ETHERTYPE_IPV4 && f->len >= IPV4_HEADER_MIN;
}

static bool is_v6(const struct filter_frame *f)
{
    return f->ethertype == ETHERTYPE_IPV6 && f->len >= IPV6_HEADER;
}

/* Length of the IPv4 header as announced, 0 to 60. */
static size_t v4_header_len(const struct filter_frame *f)
{
    return (size_t)4 * (f->payload[0] & 15);
}

static bool walk(const struct filter_frame *f, size_t *ret_pos, uint8_t *ret_protocol)
{
    size_t pos = IPV6_HEADER;
    uint8_t protocol;

    if (!is_v6(f)) {
        return false;
    }
    protocol = f->payload[6];
    while (protocol == PROTO_HOP_BY_HOP || protocol == PROTO_ROUTING ||
           protocol == PROTO_DEST_OPTIONS || protocol == PROTO_MOBILITY) {
        if (pos + 8 > f->len) {
            return false;
        }
        protocol = f->payload[pos];
        pos += (size_t)8 * f->payload[pos + 1] + 8;
        if (pos > f->len) {
            return false;
        }
    }
    *ret_pos = pos;
    *ret_protocol = protocol;
    return true;
}

/* Walk over IPv6 extension headers once per frame. False if it fails. */
static bool walk_once(struct filter_eval *ev)
{
    if (!ev->is_walked) {
        ev->walk_ok = walk(ev->frame, &ev->pos, &ev->protocol);
        ev->is_walked = true;
    }
    return ev->walk_ok;
}

static enum filter_match match_ipv4(const struct filter_frame *f, const struct rule *rule,
                                    size_t at)
{
    unsigned bits = rule->prefix < 32 ? rule->prefix : 32;

    if (!is_v4(f)) {
        return MATCH_HARD_NO;
    }
    if (bits == 0) {
        return MATCH_YES;
    }
    return soft((be32_get(f->payload + at) ^ be32_get(rule->ip)) >> (32 - bits) == 0);
}

/* Host bits set in the rule make it never match. */
static enum filter_match match_ipv6(const struct filter_frame *f, const struct rule *rule,
                                    size_t at)
{
    unsigned bits = rule->prefix < 128 ? rule->prefix : 128;

    if (!is_v6(f)) {
        return MATCH_HARD_NO;
    }
    for (size_t i = 0; i < 16; i++) {
        unsigned here = bits > 8 * i ? bits - (unsigned)(8 * i) : 0;
        unsigned mask = here >= 8 ? 0xff : 0xff00U >> here & 0xff;

        if ((f->payload[at + i] & mask) != rule->ip[i]) {
            return MATCH_NO;
        }
    }
    return MATCH_YES;
}

static enum filter_match match_tos(const struct filter_frame *f, const struct rule *rule)
{
    unsigned tos;

    if (is_v4(f)) {
        tos = f->payload[1];
    } else if (is_v6(f)) {
        tos = ((unsigned)f->payload[0] << 4 & 0xf0) | f->payload[1] >> 4;
    } else {
        return MATCH_HARD_NO;
    }
    tos &= rule->tos.mask;
    return soft(tos >= rule->tos.start && tos <= rule->tos.end);
}

static enum filter_match match_protocol(struct filter_eval *ev, const struct rule *rule)
{
    if (is_v4(ev->frame)) {
        return soft(ev->frame->payload[9] == rule->number);
    }
    if (!walk_once(ev)) {
        return MATCH_HARD_NO;
    }
    return soft(ev->protocol == rule->number);
}

static enum filter_match match_icmp(struct filter_eval *ev, const struct rule *rule)
{
    const struct filter_frame *f = ev->frame;
    size_t at;

    if (is_v4(f)) {
        at = v4_header_len(f);
        if (f->payload[9] != PROTO_ICMP) {
            return MATCH_HARD_NO;
        }
    } else if (walk_once(ev) && ev->protocol == PROTO_ICMPV6) {
        at = ev->pos;
    } else {
        return MATCH_HARD_NO;
    }
    if (f->len < at + 2 || f->payload[at] != rule->icmp.type) {
        return MATCH_HARD_NO;
    }
    if ((rule->icmp.flags & RULE_ICMP_CODE) == 0) {
        return MATCH_HARD_YES;
    }
    return soft(f->payload[at + 1] == rule->icmp.code);
}

static bool has_ports(uint8_t protocol)
{
    return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP ||
           protocol == PROTO_UDPLITE;
}

/* skip: 0 source port, 2 destination port. */
static enum filter_match match_port(struct filter_eval *ev, const struct rule *rule, size_t skip)
{
    const struct filter_frame *f = ev->frame;
    uint16_t lowest = 0;
    uint8_t protocol;
    uint16_t port;
    size_t at;

    if (is_v4(f)) {
        at = v4_header_len(f);
        protocol = f->payload[9];
    } else if (walk_once(ev)) {
        at = ev->pos;
        protocol = ev->protocol;
        lowest = 1; /* port 0 never matches in IPv6 */
    } else {
        return MATCH_HARD_NO;
    }
    if (!has_ports(protocol) || f->len <= at + 4) {
        return MATCH_NO;
    }
    port = be16_get(f->payload + at + skip);
    return soft(port >= lowest && port >= rule->range.start && port <= rule->range.end);
}

/* TCP flags and reserved bits, 0 if there are none. */
static uint64_t tcp_bits(struct filter_eval *ev)
{
    const struct filter_frame *f = ev->frame;
    size_t at;

    if (is_v4(f)) {
        at = v4_header_len(f);
        if (f->payload[9] != PROTO_TCP || f->len < at + TCP_FLAGS_END) {
            return 0;
        }
    } else if (walk_once(ev) && ev->protocol == PROTO_TCP && f->len > ev->pos + TCP_FLAGS_END) {
        at = ev->pos;
    } else {
        return 0;
    }
    return f->payload[at + 13] | (uint64_t)(f->payload[at + 12] & 15) << 8;
}

static void set(struct filter_fields *to, enum filter_field field, uint64_t value)
{
    to->value[field] = value;
    to->valid |= 1U << field;
}

/* Fields of the IP header and the ports. */
static void ip_fields(struct filter_eval *ev, struct filter_fields *to)
{
    const struct filter_frame *f = ev->frame;
    bool v4 = is_v4(f);
    uint64_t ports[2] = {FILTER_NO_PORT, FILTER_NO_PORT};
    uint8_t protocol;
    size_t at;

    if (v4) {
        set(to, FIELD_TOS, f->payload[1]);
        set(to, FIELD_IPV4_SOURCE, be32_get(f->payload + 12));
        set(to, FIELD_IPV4_DEST, be32_get(f->payload + 16));
    } else if (is_v6(f)) {
        set(to, FIELD_TOS, ((unsigned)f->payload[0] << 4 & 0xf0) | f->payload[1] >> 4);
        set(to, FIELD_IPV6_SOURCE, be64_get(f->payload + 8));
        set(to, FIELD_IPV6_DEST, be64_get(f->payload + 24));
    }
    if (!v4 && !walk_once(ev)) {
        return;
    }
    at = v4 ? v4_header_len(f) : ev->pos;
    protocol = v4 ? f->payload[9] : ev->protocol;
    set(to, FIELD_PROTOCOL, protocol);
    for (size_t i = 0; has_ports(protocol) && f->len > at + 4 && i < 2; i++) {
        uint16_t port = be16_get(f->payload + at + 2 * i);

        ports[i] = v4 || port != 0 ? port : FILTER_NO_PORT;
    }
    set(to, FIELD_SOURCE_PORT, ports[0]);
    set(to, FIELD_DEST_PORT, ports[1]);
}

const struct filter_fields *filter_fields(struct filter_eval *ev)
{
    const struct filter_frame *f = ev->frame;
    struct filter_fields *to = &ev->fields;

    if (ev->has_fields) {
        return to;
    }
    ev->has_fields = true;
    to->valid = 0;
    set(to, FIELD_NOTHING, 0);
    set(to, FIELD_SOURCE, ev->in->source);
    set(to, FIELD_DEST, ev->in->dest);
    set(to, FIELD_MAC_SOURCE, f->source_mac);
    set(to, FIELD_MAC_DEST, f->dest_mac);
    set(to, FIELD_ETHERTYPE, f->ethertype);
    set(to, FIELD_LEN, f->len);
    ip_fields(ev, to);
    set(to, FIELD_CHARACTERISTICS,
        tcp_bits(ev) | (ev->is_inbound ? RULE_CHAR_INBOUND : 0) |
            (mac_is_multicast(f->dest_mac) ? RULE_CHAR_MULTICAST : 0) |
            (mac_is_broadcast(f->dest_mac) ? RULE_CHAR_BROADCAST : 0));
    return to;
}

bool filter_is_valid(const struct filter_network *network, uint64_t timestamp,
                     const uint64_t *revoked)
{
    uint64_t threshold = __atomic_load_n(revoked, __ATOMIC_ACQUIRE);
    uint64_t distance = timestamp > network->timestamp ? timestamp - network->timestamp
                                                       : network->timestamp - timestamp;

    return distance <= network->window && (threshold == 0 || threshold < timestamp);
}

/* The sender has a certificate for the IP (ip not NULL) or the source MAC. Ours need no check. */
static bool sender_owns(const struct filter_eval *ev, const uint8_t *ip, size_t ip_len)
{
    const struct filter_network *network = ev->in->network;
    const struct filter_credentials *sender = ev->is_inbound ? ev->in->remote : &network->own;

    for (size_t i = 0; sender != NULL && i < sender->ownership_count; i++) {
        const struct filter_ownership *own = &sender->ownerships[i];

        if (ev->is_inbound && !filter_is_valid(network, own->timestamp, &own->revoked)) {
            continue;
        }
        if (ip != NULL ? things_own_ip(own->things, own->count, ip, ip_len)
                       : things_own_mac(own->things, own->count, ev->frame->source_mac)) {
            return true;
        }
    }
    return false;
}

/* The IPv6 address follows from the sender's address by one of the schemes of NDP emulation that we
 * take part in ourselves. */
static bool is_emulated_ip(const struct filter_eval *ev, const uint8_t ip[16])
{
    const struct filter_network *network = ev->in->network;
    struct inetaddr rfc4193 = network_rfc4193(network->network_id, network->self);
    struct inetaddr sixplane = network_6plane(network->network_id, network->self);

    if ((network->flags & NETCONF_FLAG_NDP) == 0) {
        return false;
    }
    for (size_t i = 0; i < network->address_count; i++) {
        const struct inetaddr *own = &network->addresses[i];

        if (inetaddr_ip_equal(own, &sixplane) && memcmp(ip, own->ip, SIXPLANE_PREFIX_LEN) == 0 &&
            be40_get(ip + SIXPLANE_PREFIX_LEN) == ev->in->source) {
            return true;
        }
        if (inetaddr_ip_equal(own, &rfc4193) && memcmp(ip, own->ip, RFC4193_PREFIX_LEN) == 0 &&
            be40_get(ip + RFC4193_PREFIX_LEN) == ev->in->source) {
            return true;
        }
    }
    return false;
}

static bool sender_ip_is_authentic(const struct filter_eval *ev)
{
    const struct filter_frame *f = ev->frame;
    const uint8_t *ip;

    if (is_v4(f)) {
        return sender_owns(ev, f->payload + 12, 4);
    }
    if (f->ethertype == ETHERTYPE_ARP && f->len >= ARP_LEN) {
        return sender_owns(ev, f->payload + 14, 4);
    }
    if (!is_v6(f)) {
        return false;
    }
    ip = f->payload + 8;
    if (f->len >= ND_LEN && f->payload[6] == PROTO_ICMPV6) {
        if (f->payload[40] == ND_SOLICITATION) {
            return true;
        }
        if (f->payload[40] == ND_ADVERTISEMENT) {
            ip = f->payload + 48;
        }
    }
    return sender_owns(ev, ip, 16) || (ev->is_inbound && is_emulated_ip(ev, ip));
}

/* Only the bits asked for are computed. */
static enum filter_match match_characteristics(struct filter_eval *ev, const struct rule *rule)
{
    const struct filter_frame *f = ev->frame;
    uint64_t mask = rule->mask;

    return soft(((mask & RULE_CHAR_INBOUND) != 0 && ev->is_inbound) ||
                ((mask & RULE_CHAR_MULTICAST) != 0 && mac_is_multicast(f->dest_mac)) ||
                ((mask & RULE_CHAR_BROADCAST) != 0 && mac_is_broadcast(f->dest_mac)) ||
                ((mask & RULE_CHAR_TCP_MASK) != 0 && (tcp_bits(ev) & mask) != 0) ||
                ((mask & RULE_CHAR_SENDER_IP) != 0 && sender_ip_is_authentic(ev)) ||
                ((mask & RULE_CHAR_SENDER_MAC) != 0 && sender_owns(ev, NULL, 0)));
}

/* Our tag with this id, or NULL. */
static const struct filter_tag *local_tag(const struct filter_eval *ev, uint32_t id)
{
    const struct filter_credentials *own = &ev->in->network->own;

    for (size_t i = 0; i < own->tag_count; i++) {
        if (own->tags[i].id == id) {
            return &own->tags[i];
        }
    }
    return NULL;
}

/* The other member's tag with this id if it is valid, or NULL. */
static const struct filter_tag *remote_tag(const struct filter_eval *ev, uint32_t id)
{
    const struct filter_credentials *remote = ev->in->remote;

    for (size_t i = 0; remote != NULL && i < remote->tag_count; i++) {
        const struct filter_tag *tag = &remote->tags[i];

        if (tag->id == id && filter_is_valid(ev->in->network, tag->timestamp, &tag->revoked)) {
            return tag;
        }
    }
    return NULL;
}

static bool tags_compare(const struct rule *rule, uint32_t local, uint32_t remote)
{
    switch (rule->type) {
    case RULE_TAGS_DIFFERENCE:
        return (local > remote ? local - remote : remote - local) <= rule->value;
    case RULE_TAGS_AND:
        return (local & remote) == rule->value;
    case RULE_TAGS_OR:
        return (local | remote) == rule->value;
    case RULE_TAGS_XOR:
        return (local ^ remote) == rule->value;
    default:
        return local == rule->value && remote == rule->value;
    }
}

/* The receiver will decide: true, and the next DROP is passed over. */
static enum filter_match leave_to_receiver(struct filter_set *set)
{
    set->skip_drop = true;
    return MATCH_HARD_YES;
}

static enum filter_match match_tags(const struct filter_eval *ev, struct filter_set *set,
                                    const struct rule *rule)
{
    const struct filter_tag *local = local_tag(ev, rule->id);
    const struct filter_tag *remote;

    if (local == NULL) {
        return MATCH_HARD_NO;
    }
    remote = remote_tag(ev, rule->id);
    if (remote != NULL) {
        return soft(tags_compare(rule, local->value, remote->value));
    }
    return ev->is_inbound && !set->is_super ? MATCH_HARD_NO : leave_to_receiver(set);
}

static enum filter_match match_one_tag(const struct filter_eval *ev, struct filter_set *set,
                                       const struct rule *rule)
{
    bool of_sender = rule->type == RULE_TAG_SENDER;
    const struct filter_tag *tag;

    if (set->is_super) {
        return leave_to_receiver(set);
    }
    if (of_sender != ev->is_inbound) {
        tag = local_tag(ev, rule->id);
        return tag != NULL ? soft(tag->value == rule->value) : MATCH_HARD_NO;
    }
    tag = remote_tag(ev, rule->id);
    if (tag != NULL) {
        return soft(tag->value == rule->value);
    }
    return of_sender ? MATCH_HARD_NO : leave_to_receiver(set);
}

static enum filter_match match_integer(const struct filter_frame *f, const struct rule *rule)
{
    unsigned bits = (rule->integer.format & 63U) + 1;
    size_t bytes = (bits + 7) / 8;
    bool is_little = (rule->integer.format & 0x80) != 0;
    size_t at = is_little ? rule->integer.index : rule->integer.index + 8 - bytes;
    uint64_t value = 0;

    if (at + bytes <= f->len) {
        for (size_t i = 0; i < bytes; i++) {
            value = value << 8 | f->payload[is_little ? at + bytes - 1 - i : at + i];
        }
        value = is_little ? value >> (8 * bytes - bits) : value & UINT64_MAX >> (64 - bits);
    }
    return soft(value >= rule->integer.start &&
                value <= rule->integer.start + rule->integer.distance);
}

static enum filter_match match_random(const struct filter_eval *ev, const struct rule *rule)
{
    return soft(ev->in->draw(ev->in->draw_ctx) <= rule->probability);
}

static bool in_range(const struct rule *rule, size_t value)
{
    return value >= rule->range.start && value <= rule->range.end;
}

enum filter_match filter_match(struct filter_eval *ev, struct filter_set *set,
                               const struct rule *rule)
{
    const struct filter_frame *f = ev->frame;

    switch (rule->type) {
    case RULE_SOURCE_ADDRESS:
        return soft(ev->in->source == rule->address);
    case RULE_DEST_ADDRESS:
        return soft(ev->in->dest == rule->address);
    case RULE_VLAN_ID: /* there never is a VLAN tag */
    case RULE_VLAN_PCP:
    case RULE_VLAN_DEI:
        return soft(rule->number == 0);
    case RULE_MAC_SOURCE:
        return soft(f->source_mac == rule->mac);
    case RULE_MAC_DEST:
        return soft(f->dest_mac == rule->mac);
    case RULE_IPV4_SOURCE:
        return match_ipv4(f, rule, 12);
    case RULE_IPV4_DEST:
        return match_ipv4(f, rule, 16);
    case RULE_IPV6_SOURCE:
        return match_ipv6(f, rule, 8);
    case RULE_IPV6_DEST:
        return match_ipv6(f, rule, 24);
    case RULE_IP_TOS:
        return match_tos(f, rule);
    case RULE_IP_PROTOCOL:
        return match_protocol(ev, rule);
    case RULE_ETHERTYPE:
        return soft(f->ethertype == rule->number);
    case RULE_ICMP:
        return match_icmp(ev, rule);
    case RULE_SOURCE_PORT:
        return match_port(ev, rule, 0);
    case RULE_DEST_PORT:
        return match_port(ev, rule, 2);
    case RULE_CHARACTERISTICS:
        return match_characteristics(ev, rule);
    case RULE_FRAME_SIZE:
        return soft(in_range(rule, f->len));
    case RULE_RANDOM:
        return match_random(ev, rule);
    case RULE_TAGS_DIFFERENCE:
    case RULE_TAGS_AND:
    case RULE_TAGS_OR:
    case RULE_TAGS_XOR:
    case RULE_TAGS_EQUAL:
        return match_tags(ev, set, rule);
    case RULE_TAG_SENDER:
    case RULE_TAG_RECEIVER:
        return match_one_tag(ev, set, rule);
    case RULE_INTEGER_RANGE:
        return match_integer(f, rule);
    default:
        return soft((ev->in->network->flags & NETCONF_FLAG_UNKNOWN_MATCH) != 0);
    }
}
