/* Delivery of configurations. Source: spec 03 sections 3 and 4. */
#include "wire/config_chunk.h"

#include "wire/credential.h"
#include "wire/netconf.h"

#include <errno.h>

/* Bytes of a chunk before the signature header: what is signed. */
static size_t signed_len(const struct config_chunk *chunk)
{
    return 8 + 2 + (size_t)chunk->data_len + 1 + 8 + 4 + 4;
}

/* What follows the data in the signed form. */
static int tail_read(struct rd *r, struct config_chunk *chunk)
{
    uint8_t type;
    uint16_t len;

    chunk->flags = rd_u8(r);
    chunk->update_id = rd_u64(r);
    chunk->total = rd_u32(r);
    chunk->index = rd_u32(r);
    type = rd_u8(r);
    len = rd_u16(r);
    if (r->bad || type != SIGNATURE_TYPE || len != SIGNATURE_LEN) {
        return -EBADMSG;
    }
    chunk->signature = rd_bytes(r, SIGNATURE_LEN);
    if (r->bad || chunk->update_id == 0 || chunk->total > NETCONF_DICT_MAX ||
        chunk->data_len > chunk->total || chunk->index > chunk->total - chunk->data_len) {
        return -EBADMSG;
    }
    return 0;
}

int config_chunk_read(struct rd r, struct config_chunk *ret)
{
    const uint8_t *raw = r.p;
    struct config_chunk chunk = {
        .raw = raw,
        .network_id = rd_u64(&r),
    };
    int err = 0;

    chunk.data_len = rd_u16(&r);
    chunk.data = rd_bytes(&r, chunk.data_len);
    if (r.bad) {
        return -EBADMSG;
    }
    if (rd_left(&r) > 0) {
        err = tail_read(&r, &chunk);
    } else {
        chunk.total = chunk.data_len;
    }
    if (err < 0) {
        return err;
    }
    chunk.raw_len = (uint32_t)(r.p - raw);
    *ret = chunk;
    return 0;
}

int config_chunk_verify(const struct config_chunk *chunk, const struct identity *controller)
{
    if (chunk->signature == NULL || controller->address != chunk->network_id >> 24) {
        return -EACCES;
    }
    return identity_verify(controller, chunk->raw, signed_len(chunk), chunk->signature,
                           SIGNATURE_LEN);
}

void config_chunk_write(struct wr *w, const struct config_chunk *chunk,
                        const struct identity *controller)
{
    const uint8_t *start = w->p;
    uint8_t sig[SIGNATURE_LEN];

    wr_u64(w, chunk->network_id);
    wr_u16(w, chunk->data_len);
    wr_bytes(w, chunk->data, chunk->data_len);
    wr_u8(w, chunk->flags);
    wr_u64(w, chunk->update_id);
    wr_u32(w, chunk->total);
    wr_u32(w, chunk->index);
    if (w->bad) {
        return;
    }
    identity_sign(controller, start, signed_len(chunk), sig);
    wr_u8(w, SIGNATURE_TYPE);
    wr_u16(w, SIGNATURE_LEN);
    wr_bytes(w, sig, sizeof(sig));
}

int config_request_read(struct rd r, struct config_request *ret)
{
    struct config_request req = {.network_id = rd_u64(&r)};

    if (r.bad) {
        return -EBADMSG;
    }
    if (rd_left(&r) > 0) {
        req.meta_len = rd_u16(&r);
        req.meta = rd_bytes(&r, req.meta_len);
    }
    if (r.bad) {
        return -EBADMSG;
    }
    if (rd_left(&r) >= 16) {
        req.revision = rd_u64(&r);
        req.timestamp = rd_u64(&r);
    }
    *ret = req;
    return 0;
}

void config_request_write(struct wr *w, const struct config_request *req)
{
    if (req->meta_len > UINT16_MAX) {
        w->bad = true;
        return;
    }
    wr_u64(w, req->network_id);
    wr_u16(w, (uint16_t)req->meta_len);
    wr_bytes(w, req->meta, req->meta_len);
    wr_u64(w, req->revision);
    wr_u64(w, req->timestamp);
}

int config_ack_read(struct rd r, struct config_ack *ret)
{
    struct config_ack ack = {.network_id = rd_u64(&r)};

    ack.update_id = rd_u64(&r);
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = ack;
    return 0;
}

void config_ack_write(struct wr *w, const struct config_ack *ack)
{
    wr_u64(w, ack->network_id);
    wr_u64(w, ack->update_id);
}
