/* HELLO and OK(HELLO) payloads. Source: spec 01 section 10, spec 02 section 3.2. */
#include "wire/hello.h"

#include "wire/identity.h"

#include <errno.h>

enum {
    PLANET_FIELDS_LEN = 16,
    PROTOCOL_TAKES_PORT = 5, /* below, the reported address has port 0 */
};

static struct node_version version_read(struct rd *in)
{
    struct node_version v;

    v.protocol = rd_u8(in);
    v.major = rd_u8(in);
    v.minor = rd_u8(in);
    v.revision = rd_u16(in);
    return v;
}

static void version_write(struct wr *w, const struct node_version *v)
{
    wr_u8(w, v->protocol);
    wr_u8(w, v->major);
    wr_u8(w, v->minor);
    wr_u16(w, v->revision);
}

int hello_decode(struct rd in, struct hello *ret)
{
    struct hello h = {0};
    size_t len = rd_left(&in);

    h.version = version_read(&in);
    h.timestamp = rd_u64(&in);
    if (identity_read_public(&in, &h.identity) < 0) {
        return -EBADMSG;
    }
    if (rd_left(&in) > 0) {
        h.address = inetaddr_read(&in);
        h.has_address = true;
    }
    if (rd_left(&in) >= PLANET_FIELDS_LEN) {
        h.planet_id = rd_u64(&in);
        h.planet_timestamp = rd_u64(&in);
        h.has_planet = true;
    }
    if (in.bad) {
        return -EBADMSG;
    }
    h.tail_at = len - rd_left(&in);
    h.has_tail = rd_left(&in) > 0;
    *ret = h;
    return 0;
}

int hello_decode_tail(const void *tail, size_t len, struct hello_moons *ret)
{
    struct rd in = rd_init(tail, len);
    struct rd entries = rd_init(NULL, 0);

    if (len >= 2) {
        size_t count = rd_u16(&in);

        entries = rd_sub(&in, count * HELLO_MOON_LEN);
    }
    if (entries.bad) {
        return -EBADMSG;
    }
    ret->entries = entries;
    return 0;
}

bool hello_moons_next(struct hello_moons *moons, struct hello_moon *ret)
{
    while (rd_left(&moons->entries) >= HELLO_MOON_LEN) {
        uint8_t type = rd_u8(&moons->entries);
        uint64_t id = rd_u64(&moons->entries);
        uint64_t timestamp = rd_u64(&moons->entries);

        if (type == HELLO_MOON_TYPE) {
            *ret = (struct hello_moon){.id = id, .timestamp = timestamp};
            return true;
        }
    }
    return false;
}

size_t hello_encode(struct wr *w, const struct hello *h, const struct hello_moon *moons,
                    size_t count)
{
    size_t start = wr_len(w);
    bool has_planet = h->has_address && h->has_planet;
    bool has_tail = has_planet && h->has_tail;
    size_t tail_at;

    version_write(w, &h->version);
    wr_u64(w, h->timestamp);
    identity_write(w, &h->identity, false);
    if (h->has_address) {
        inetaddr_write(w, &h->address);
    }
    if (has_planet) {
        wr_u64(w, h->planet_id);
        wr_u64(w, h->planet_timestamp);
    }
    tail_at = wr_len(w) - start;
    if (count > (has_tail ? UINT16_MAX : 0)) {
        w->bad = true;
        return tail_at;
    }
    if (has_tail) {
        wr_u16(w, (uint16_t)count);
    }
    for (size_t i = 0; i < count; i++) {
        wr_u8(w, HELLO_MOON_TYPE);
        wr_u64(w, moons[i].id);
        wr_u64(w, moons[i].timestamp);
    }
    return tail_at;
}

int ok_hello_decode(struct rd in, struct ok_hello *ret)
{
    struct ok_hello ok = {0};

    ok.timestamp = rd_u64(&in);
    ok.version = version_read(&in);
    if (rd_left(&in) > 0) {
        ok.address = inetaddr_read(&in);
        ok.has_address = true;
    }
    if (rd_left(&in) >= 2) {
        ok.worlds_len = rd_u16(&in);
        ok.worlds = rd_bytes(&in, ok.worlds_len);
        ok.has_worlds = true;
    }
    if (in.bad) {
        return -EBADMSG;
    }
    *ret = ok;
    return 0;
}

void ok_hello_encode(struct wr *w, const struct ok_hello *ok)
{
    wr_u64(w, ok->timestamp);
    version_write(w, &ok->version);
    if (ok->has_address) {
        inetaddr_write(w, &ok->address);
    }
    if (ok->has_address && ok->has_worlds) {
        w->bad = w->bad || ok->worlds_len > UINT16_MAX;
        wr_u16(w, (uint16_t)ok->worlds_len);
        wr_bytes(w, ok->worlds, ok->worlds_len);
    }
}

struct inetaddr ok_hello_address_for(const struct inetaddr *seen, uint8_t requester_protocol)
{
    struct inetaddr a = *seen;

    if (requester_protocol < PROTOCOL_TAKES_PORT) {
        a.port = 0;
    }
    return a;
}
