/* Codecs of PCP and NAT-PMP. Source: RFC 6887 sections 7, 8.5, 11, 14.1; RFC 6886 section 3. */
#include "daemon/portmap_msg.h"

#include "base/hex.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum {
    ANSWER_BIT = 128,
    PROTOCOL_UDP = 17,
    MAPPED_PREFIX_LEN = 12,
    ROUTE_FIELDS = 3, /* interface, destination, gateway */
};

/* IPv4 addresses travel in PCP as ::ffff:a.b.c.d. */
static const uint8_t mapped_prefix[MAPPED_PREFIX_LEN] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void read_natpmp(struct rd *r, struct portmap_answer *a)
{
    a->result = rd_u16(r);
    if (a->result != 0) {
        return; /* some say no more than that */
    }
    a->epoch_s = rd_u32(r);
    if (a->op == PORTMAP_OP_ADDRESS) {
        a->external.family = INETADDR_V4;
        rd_copy(r, a->external.ip, 4);
    } else {
        a->internal = rd_u16(r);
        a->external.port = rd_u16(r);
        a->lifetime_s = rd_u32(r);
    }
}

static void read_pcp(struct rd *r, struct portmap_answer *a)
{
    uint8_t ip[16];
    rd_skip(r, 1);
    a->result = rd_u8(r);
    a->lifetime_s = rd_u32(r);
    a->epoch_s = rd_u32(r);
    rd_skip(r, 12);
    if (a->op == PORTMAP_OP_ADDRESS) {
        return;
    }
    rd_copy(r, a->nonce, sizeof(a->nonce));
    r->bad |= rd_u8(r) != PROTOCOL_UDP;
    rd_skip(r, 3);
    a->internal = rd_u16(r);
    a->external.port = rd_u16(r);
    rd_copy(r, ip, sizeof(ip));
    bool v4 = memcmp(ip, mapped_prefix, MAPPED_PREFIX_LEN) == 0;
    a->external.family = v4 ? INETADDR_V4 : INETADDR_V6;
    memcpy(a->external.ip, v4 ? ip + MAPPED_PREFIX_LEN : ip, v4 ? 4 : 16);
}

int portmap_answer_read(const void *data, size_t len, struct portmap_answer *ret)
{
    struct rd r = rd_init(data, len);
    struct portmap_answer a = {0};
    a.version = rd_u8(&r);
    unsigned op = rd_u8(&r);
    a.op = op - ANSWER_BIT;
    if (r.bad || op < ANSWER_BIT || a.op > PORTMAP_OP_MAP) {
        return -EBADMSG;
    }
    if (a.version == PORTMAP_VERSION_NATPMP) {
        read_natpmp(&r, &a);
    } else if (a.version == PORTMAP_VERSION_PCP) {
        read_pcp(&r, &a);
    } else {
        return -EBADMSG;
    }
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

static void write_ip(struct wr *w, const struct inetaddr *a)
{
    if (a->family == INETADDR_V6) {
        wr_bytes(w, a->ip, 16);
    } else {
        wr_bytes(w, mapped_prefix, MAPPED_PREFIX_LEN);
        wr_bytes(w, a->ip, 4); /* nil is zero */
    }
}

void portmap_write_pcp(struct wr *w, const struct portmap_request *request)
{
    static const struct inetaddr none;
    bool back = request->lifetime_s == 0;
    const struct inetaddr *wanted = back ? &none : &request->wanted;
    wr_u8(w, PORTMAP_VERSION_PCP);
    wr_u8(w, PORTMAP_OP_MAP);
    wr_zero(w, 2);
    wr_u32(w, request->lifetime_s);
    write_ip(w, &request->local);
    wr_bytes(w, request->nonce, sizeof(request->nonce));
    wr_u8(w, PROTOCOL_UDP);
    wr_zero(w, 3);
    wr_u16(w, request->local.port);
    wr_u16(w, wanted->port);
    write_ip(w, wanted);
}

void portmap_write_natpmp(struct wr *w, const struct portmap_request *request)
{
    wr_u8(w, PORTMAP_VERSION_NATPMP);
    wr_u8(w, PORTMAP_OP_MAP);
    wr_zero(w, 2);
    wr_u16(w, request->local.port);
    wr_u16(w, request->lifetime_s == 0 ? 0 : request->wanted.port);
    wr_u32(w, request->lifetime_s);
}

void portmap_write_natpmp_address(struct wr *w)
{
    wr_u8(w, PORTMAP_VERSION_NATPMP);
    wr_u8(w, PORTMAP_OP_ADDRESS);
}

bool portmap_epoch_lost(const struct portmap_epoch *last, uint32_t server_s, int64_t now_ms)
{
    if (!last->known) {
        return false;
    }
    int64_t server = (int64_t)server_s - last->server_s;
    int64_t client = (now_ms - last->at_ms) / 1000;
    return server < -1 || client + 2 < server - server / 16 || server + 2 < client - client / 16;
}

/* One line "iface dest gateway ...", numbers in hex as the machine stores them. */
static bool parse_route(const char *line, struct inetaddr *ret)
{
    const char *field[ROUTE_FIELDS];
    size_t len[ROUTE_FIELDS];
    uint32_t gateway;
    for (size_t i = 0; i < ROUTE_FIELDS; i++) {
        line += strspn(line, " \t");
        field[i] = line;
        len[i] = strcspn(line, " \t\n");
        line += len[i];
    }
    if (len[1] != 8 || memcmp(field[1], "00000000", 8) != 0 || len[2] != 8 ||
        hex_decode(field[2], len[2], &gateway, sizeof(gateway)) < 0 || gateway == 0) {
        return false;
    }
    /* The text is the number printed by this machine: digits of its value, not of its bytes. */
    gateway = ntohl(gateway);
    *ret = (struct inetaddr){.family = INETADDR_V4, .port = PORTMAP_SERVER_PORT};
    memcpy(ret->ip, &gateway, sizeof(gateway));
    return true;
}

int portmap_gateway_parse(const char *text, struct inetaddr *ret)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (parse_route(line, ret)) {
            return 0;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return -ENOENT;
}
