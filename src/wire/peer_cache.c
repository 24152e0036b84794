/* Peer cache records. Source: spec 02 section 13, spec 05 section 2.5. */
#include "wire/peer_cache.h"

#include "wire/identity.h"

#include <assert.h>
#include <errno.h>

int peer_record_decode(struct rd in, struct peer_record *ret)
{
    struct peer_record rec = {0};
    uint16_t count;

    if (rd_u8(&in) != PEER_RECORD_FORMAT || identity_read_public(&in, &rec.identity) < 0) {
        return -EBADMSG;
    }
    rec.protocol = rd_u16(&in);
    rec.major = rd_u16(&in);
    rec.minor = rd_u16(&in);
    rec.revision = rd_u16(&in);
    count = rd_u16(&in);
    for (unsigned i = 0; i < count && !in.bad; i++) {
        struct inetaddr path = inetaddr_read(&in);

        if (path.family != INETADDR_NIL && rec.path_count < PEER_RECORD_PATHS_MAX) {
            rec.paths[rec.path_count++] = path;
        }
    }
    if (in.bad) {
        return -EBADMSG;
    }
    *ret = rec;
    return 0;
}

void peer_record_encode(struct wr *w, const struct peer_record *rec)
{
    assert(rec->path_count <= PEER_RECORD_PATHS_MAX);
    wr_u8(w, PEER_RECORD_FORMAT);
    identity_write(w, &rec->identity, false);
    wr_u16(w, rec->protocol);
    wr_u16(w, rec->major);
    wr_u16(w, rec->minor);
    wr_u16(w, rec->revision);
    wr_u16(w, rec->path_count);
    for (unsigned i = 0; i < rec->path_count; i++) {
        inetaddr_write(w, &rec->paths[i]);
    }
}
