/* Reads a few headers, through the cursor: frames come from strangers. */
#include "cli/frame_text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    TYPE_IPV4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_IPV6 = 0x86dd,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMP6 = 58,
};

/* An address and, with ports, ".port" behind it, as tcpdump has it. */
static void end_text(char out[64], int family, const uint8_t *ip, bool ports, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "?";

    (void)inet_ntop(family, ip, text, sizeof(text));
    (void)snprintf(out, 64, ports ? "%s.%u" : "%s", text, port);
}

static void flow_text(int family, const uint8_t *from, const uint8_t *to, uint8_t protocol,
                      struct rd r, size_t len, char *out, size_t cap)
{
    static const struct {
        uint8_t protocol;
        bool ports;
        const char *name;
    } known[] = {{PROTOCOL_ICMP, false, "icmp"},
                 {PROTOCOL_TCP, true, "tcp"},
                 {PROTOCOL_UDP, true, "udp"},
                 {PROTOCOL_ICMP6, false, "icmp6"}};
    const char *name = NULL;
    bool ports = false;
    char number[16];
    char a[64];
    char b[64];

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (known[i].protocol == protocol) {
            name = known[i].name;
            ports = known[i].ports && rd_left(&r) >= 4;
        }
    }
    if (name == NULL) {
        (void)snprintf(number, sizeof(number), "proto %u", protocol);
        name = number;
    }
    end_text(a, family, from, ports, ports ? rd_u16(&r) : 0);
    end_text(b, family, to, ports, ports ? rd_u16(&r) : 0);
    (void)snprintf(out, cap, "%s > %s: %s %zu", a, b, name, len);
}

static bool ipv4_text(struct rd r, char *out, size_t cap)
{
    uint8_t first = rd_u8(&r);
    size_t header = (size_t)(first & 15) * 4;

    rd_skip(&r, 1);
    size_t total = rd_u16(&r);
    rd_skip(&r, 2);
    unsigned fragment = rd_u16(&r) & 0x1fff;
    rd_skip(&r, 1);
    uint8_t protocol = rd_u8(&r);
    rd_skip(&r, 2);
    const uint8_t *from = rd_bytes(&r, 4);
    const uint8_t *to = rd_bytes(&r, 4);
    if (from == NULL || to == NULL || header < 20) {
        return false;
    }
    rd_skip(&r, header - 20);
    if (fragment != 0 || r.bad) {
        r = rd_init(NULL, 0); /* no ports here */
    }
    flow_text(AF_INET, from, to, protocol, r, total > header ? total - header : 0, out, cap);
    return true;
}

static bool ipv6_text(struct rd r, char *out, size_t cap)
{
    rd_skip(&r, 4);
    size_t len = rd_u16(&r);
    uint8_t protocol = rd_u8(&r);
    rd_skip(&r, 1);
    const uint8_t *from = rd_bytes(&r, 16);
    const uint8_t *to = rd_bytes(&r, 16);
    if (from == NULL || to == NULL) {
        return false;
    }
    flow_text(AF_INET6, from, to, protocol, r, len, out, cap);
    return true;
}

static bool arp_text(struct rd r, char *out, size_t cap)
{
    char a[64];
    char b[64];

    rd_skip(&r, 6);
    uint16_t operation = rd_u16(&r);
    rd_skip(&r, 6);
    const uint8_t *from = rd_bytes(&r, 4);
    rd_skip(&r, 6);
    const uint8_t *to = rd_bytes(&r, 4);
    if (from == NULL || to == NULL) {
        return false;
    }
    end_text(a, AF_INET, from, false, 0);
    end_text(b, AF_INET, to, false, 0);
    (void)snprintf(out, cap, operation == 1 ? "arp who has %s, says %s" : "arp %s is asked by %s",
                   operation == 1 ? b : a, operation == 1 ? a : b);
    return true;
}

void frame_text(const struct capture_record *record, char out[FRAME_TEXT_MAX])
{
    const struct captured_frame *frame = &record->frame;
    struct rd r = rd_init(frame->payload, frame->len);
    bool known = false;

    if (frame->ethertype == TYPE_IPV4) {
        known = ipv4_text(r, out, FRAME_TEXT_MAX);
    } else if (frame->ethertype == TYPE_IPV6) {
        known = ipv6_text(r, out, FRAME_TEXT_MAX);
    } else if (frame->ethertype == TYPE_ARP) {
        known = arp_text(r, out, FRAME_TEXT_MAX);
    }
    if (!known) {
        (void)snprintf(out, FRAME_TEXT_MAX, "%012" PRIx64 " > %012" PRIx64 ": type 0x%04x %" PRIu32,
                       frame->source_mac, frame->dest_mac, frame->ethertype, record->len);
    }
}

void verdict_text(const struct capture_record *record, char out[VERDICT_TEXT_MAX])
{
    const struct captured_frame *frame = &record->frame;
    int n;

    if (frame->redirected != 0) {
        n = snprintf(out, VERDICT_TEXT_MAX, "redirect %010" PRIx64, frame->redirected);
    } else if (record->reason[0] != '\0') {
        n = snprintf(out, VERDICT_TEXT_MAX, "drop %s", record->reason);
    } else if (frame->by_capability) {
        n = snprintf(out, VERDICT_TEXT_MAX, "accept by capability %" PRIu32, frame->capability);
    } else {
        n = snprintf(out, VERDICT_TEXT_MAX, "accept");
    }
    if (frame->copies > 0 && n > 0 && n < VERDICT_TEXT_MAX) {
        (void)snprintf(out + n, (size_t)(VERDICT_TEXT_MAX - n), ", %u copied", frame->copies);
    }
}
