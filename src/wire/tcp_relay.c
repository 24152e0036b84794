/* Framing of the TCP fallback relay. Source: spec 02 section 12.1. */
#include "wire/tcp_relay.h"

#include <errno.h>

enum {
    GREETING_CONTENT_LEN = 4,
    RECORD_TYPE = 0x17, /* the looks of TLS application data */
    RECORD_VERSION = 0x0303,
};

static int read_content(struct rd in, struct tcp_relay_record *ret)
{
    struct tcp_relay_record rec = {.kind = TCP_RELAY_DATAGRAM};

    if (rd_left(&in) == 0) {
        rec.kind = TCP_RELAY_EMPTY;
    } else if (rd_left(&in) == GREETING_CONTENT_LEN) {
        rec.kind = TCP_RELAY_GREETING;
        rec.major = rd_u8(&in);
        rec.minor = rd_u8(&in);
        rec.revision = rd_u16(&in);
    } else {
        uint8_t type = rd_u8(&in);

        rec.address.family = type;
        if (type != INETADDR_NIL && type != INETADDR_V4 && type != INETADDR_V6) {
            return -EBADMSG;
        }
        if (type != INETADDR_NIL) {
            rd_copy(&in, rec.address.ip, inetaddr_ip_len(&rec.address));
            rec.address.port = rd_u16(&in);
        }
        rec.len = rd_left(&in);
        rec.data = rd_bytes(&in, rec.len);
    }
    if (in.bad) {
        return -EBADMSG;
    }
    *ret = rec;
    return 1;
}

int tcp_relay_next(struct rd *in, struct tcp_relay_record *ret)
{
    struct rd at = *in;
    struct rd content;
    int err;

    rd_skip(&at, 3); /* receivers do not check them */
    content = rd_sub(&at, rd_u16(&at));
    if (at.bad) {
        return 0;
    }
    err = read_content(content, ret);
    if (err > 0) {
        *in = at;
    }
    return err;
}

static void write_head(struct wr *w, size_t content_len)
{
    wr_u8(w, RECORD_TYPE);
    wr_u16(w, RECORD_VERSION);
    wr_u16(w, (uint16_t)content_len);
}

void tcp_relay_write_greeting(struct wr *w, uint8_t major, uint8_t minor, uint16_t revision)
{
    write_head(w, GREETING_CONTENT_LEN);
    wr_u8(w, major);
    wr_u8(w, minor);
    wr_u16(w, revision);
}

void tcp_relay_write_datagram(struct wr *w, const struct inetaddr *address, const void *data,
                              size_t len)
{
    size_t head = 1 + inetaddr_ip_len(address) + 2;

    if (inetaddr_ip_len(address) == 0 || len > UINT16_MAX - head) {
        w->bad = true;
        return;
    }
    write_head(w, head + len);
    inetaddr_write(w, address);
    wr_bytes(w, data, len);
}
