/* Packets as JSON: the frame description of spec 06 section 16.7. It says all: members have what is
 * listed, nothing by default. */
#include "base/cursor.h"
#include "base/hex.h"
#include "rules/packet.h"
#include "rules/words.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_HEADER = 14 };

static int fail_key(struct packet_error *error, const char *key, const char *what)
{
    return packet_fail(error, 0, "%s: %s", key, what);
}

/* An integer member of an object; what is absent stays. */
static int get_number(const json_t *obj, const char *key, int64_t most, int64_t *ret,
                      struct packet_error *error)
{
    const json_t *v = json_object_get(obj, key);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || n > most) {
        return packet_fail(error, 0, "%s: a number from 0 to %lld is expected", key,
                           (long long)most);
    }
    *ret = n;
    return 0;
}

static int get_ip(const json_t *obj, const char *key, struct inetaddr *ret,
                  struct packet_error *error)
{
    const char *text = json_string_value(json_object_get(obj, key));
    struct inetaddr ip;
    if (json_object_get(obj, key) == NULL) {
        return 0;
    }
    if (text == NULL || strchr(text, '/') != NULL || inetaddr_parse(text, strlen(text), &ip) != 0 ||
        ip.family == INETADDR_NIL) {
        return fail_key(error, key, "an IP address is expected");
    }
    *ret = ip;
    return 0;
}

static int get_mac(const json_t *obj, const char *key, uint64_t *ret, struct packet_error *error)
{
    const char *text = json_string_value(json_object_get(obj, key));
    if (json_object_get(obj, key) == NULL) {
        return 0;
    }
    return text != NULL && mac_parse(text, strlen(text), ret) == 0
               ? 0
               : fail_key(error, key, "a MAC address is expected");
}

static int get_address(const json_t *obj, const char *key, struct packet_member *m,
                       struct packet_error *error)
{
    const char *text = json_string_value(json_object_get(obj, key));
    if (json_object_get(obj, key) == NULL) {
        return 0;
    }
    if (text == NULL || hex_to_u64(text, strlen(text), 10, &m->address) != 0) {
        return fail_key(error, key, "ten hexadecimal digits are expected");
    }
    (void)snprintf(m->name, sizeof(m->name), "%s", text);
    return 0;
}

static int get_tags(const json_t *obj, const char *key, struct packet_member *m,
                    struct packet_error *error)
{
    json_t *tags = json_object_get(obj, key);
    const char *id;
    json_t *value;
    json_object_foreach(tags, id, value)
    {
        char *end;
        unsigned long long number = strtoull(id, &end, 10);
        json_int_t v = json_integer_value(value);
        if (id[0] < '0' || id[0] > '9' || *end != '\0' || number > UINT32_MAX ||
            !json_is_integer(value) || v < 0 || v > UINT32_MAX ||
            !packet_set_tag(m, (uint32_t)number, (uint32_t)v)) {
            return fail_key(error, key, "an object of IDs and values is expected");
        }
    }
    return 0;
}

static int get_capabilities(const json_t *obj, struct packet_member *m, struct packet_error *error)
{
    static const char key[] = "senderCapabilities";
    const json_t *list = json_object_get(obj, key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        json_int_t n = json_integer_value(id);
        if (!json_is_integer(id) || n < 0 || n > UINT32_MAX || !packet_give(m, (uint32_t)n)) {
            return fail_key(error, key, "a list of IDs is expected");
        }
    }
    return 0;
}

static int get_flags(const json_t *ip, struct packet *p, struct packet_error *error)
{
    const json_t *list = json_object_get(ip, "tcpFlags");
    if (!json_is_array(list)) {
        return 0;
    }
    p->tcp_flags = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        char name[16];
        (void)snprintf(name, sizeof(name), "tcp_%.11s", text != NULL ? text : "");
        int64_t bit = word_characteristic(text_of(name));
        bit = bit < 0 && text != NULL ? word_characteristic(text_of(text)) : bit;
        if (bit < 0 || (UINT64_C(1) << bit & RULE_CHAR_TCP_MASK) == 0) {
            return fail_key(error, "tcpFlags", "names such as tcp_syn are expected");
        }
        p->tcp_flags |= INT64_C(1) << bit;
    }
    return 0;
}

static int get_ip_header(const json_t *obj, struct packet *p, struct packet_error *error)
{
    const json_t *ip = json_object_get(obj, "ip");
    int64_t version = -1;
    if (ip == NULL) {
        return 0;
    }
    int bad = get_number(ip, "version", 6, &version, error);
    bad = bad == 0 ? get_ip(ip, "source", &p->source_ip, error) : bad;
    bad = bad == 0 ? get_ip(ip, "dest", &p->dest_ip, error) : bad;
    bad = bad == 0 ? get_number(ip, "protocol", UINT8_MAX, &p->protocol, error) : bad;
    bad = bad == 0 ? get_number(ip, "tos", UINT8_MAX, &p->tos, error) : bad;
    bad = bad == 0 ? get_number(ip, "sourcePort", UINT16_MAX, &p->source_port, error) : bad;
    bad = bad == 0 ? get_number(ip, "destPort", UINT16_MAX, &p->dest_port, error) : bad;
    bad = bad == 0 ? get_number(ip, "icmpType", UINT8_MAX, &p->icmp_type, error) : bad;
    bad = bad == 0 ? get_number(ip, "icmpCode", UINT8_MAX, &p->icmp_code, error) : bad;
    bad = bad == 0 ? get_flags(ip, p, error) : bad;
    if (bad == 0 && p->ethertype < 0 && version > 0) {
        p->ethertype = word_ethertype(text_of(version == 6 ? "ipv6" : "ipv4"));
    }
    return bad;
}

/* The whole frame in hexadecimal digits: MACs, type, payload. */
static int get_frame(const json_t *obj, struct packet *p, struct packet_error *error)
{
    const char *hex = json_string_value(json_object_get(obj, "frame"));
    uint8_t bytes[FRAME_HEADER + PACKET_PAYLOAD_MAX];
    if (json_object_get(obj, "frame") == NULL) {
        return 0;
    }
    size_t len = hex != NULL ? strlen(hex) / 2 : 0;
    if (hex == NULL || strlen(hex) % 2 != 0 || len < FRAME_HEADER || len > sizeof(bytes) ||
        hex_decode(hex, strlen(hex), bytes, len) != 0) {
        return fail_key(error, "frame", "hexadecimal digits of a frame are expected");
    }
    struct rd r = rd_init(bytes, len);
    p->dest_mac = mac_read(&r);
    p->source_mac = mac_read(&r);
    p->ethertype = rd_u16(&r);
    p->len = rd_left(&r);
    rd_copy(&r, p->payload, p->len);
    p->is_raw = true;
    return 0;
}

/* What is beside the frame. */
static int get_rest(const json_t *obj, struct packet *p, struct packet_error *error)
{
    int64_t draw = 0;
    int bad = get_address(obj, "ztSource", &p->sender, error);
    bad = bad == 0 ? get_address(obj, "ztDest", &p->receiver, error) : bad;
    bad = bad == 0 ? get_tags(obj, "senderTags", &p->sender, error) : bad;
    bad = bad == 0 ? get_tags(obj, "receiverTags", &p->receiver, error) : bad;
    bad = bad == 0 ? get_capabilities(obj, &p->sender, error) : bad;
    bad = bad == 0 ? get_number(obj, "randomDraw", UINT32_MAX, &draw, error) : bad;
    const char *known = json_string_value(json_object_get(obj, "known"));
    p->is_unknown = json_is_false(json_object_get(obj, "known")) ||
                    (known != NULL && strcmp(known, "unknown") == 0);
    p->has_ipauth = json_is_true(json_object_get(obj, "ipauth"));
    p->has_macauth = json_is_true(json_object_get(obj, "macauth"));
    p->draw = (uint32_t)draw;
    return bad;
}

int packet_read_json(struct rdl_text text, struct packet *ret, struct packet_error *error)
{
    json_error_t where;
    json_t *obj = json_loadb(text.p, text.len, 0, &where);
    if (!json_is_object(obj)) {
        json_decref(obj);
        size_t at = where.position > 0 ? (size_t)where.position : 0;
        return packet_fail(error, at, "%.150s", where.text);
    }
    int bad = get_number(obj, "etherType", UINT16_MAX, &ret->ethertype, error);
    bad = bad == 0 ? get_mac(obj, "macSource", &ret->source_mac, error) : bad;
    bad = bad == 0 ? get_mac(obj, "macDest", &ret->dest_mac, error) : bad;
    bad = bad == 0 ? get_number(obj, "vlanId", 4095, &ret->vlan, error) : bad;
    bad = bad == 0 ? get_number(obj, "frameLength", PACKET_PAYLOAD_MAX, &ret->size, error) : bad;
    bad = bad == 0 ? get_ip_header(obj, ret, error) : bad;
    bad = bad == 0 ? get_rest(obj, ret, error) : bad;
    bad = bad == 0 ? get_frame(obj, ret, error) : bad;
    json_decref(obj);
    return bad;
}
