/* Frames and multicast groups. Source: spec 03 sections 8 and 11. */
#include "wire/frame.h"

#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <errno.h>

int frame_read(struct rd r, struct frame *ret)
{
    struct frame frame = {.network_id = rd_u64(&r)};

    frame.ethertype = rd_u16(&r);
    frame.len = rd_left(&r);
    frame.payload = rd_bytes(&r, frame.len);
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = frame;
    return 0;
}

void frame_write_header(struct wr *w, uint64_t network_id, uint16_t ethertype)
{
    wr_u64(w, network_id);
    wr_u16(w, ethertype);
}

void frame_write(struct wr *w, const struct frame *frame)
{
    frame_write_header(w, frame->network_id, frame->ethertype);
    wr_bytes(w, frame->payload, frame->len);
}

/* Read an attached COM into the caller's buffer. Returns 0; -EBADMSG; -EPROTO no buffer. */
static int attached_com_read(struct rd *r, struct com *com_buf, struct com **ret)
{
    int err = com_buf != NULL ? com_read(r, com_buf) : -EPROTO;

    if (err == 0) {
        *ret = com_buf;
    }
    return err;
}

int ext_frame_read(struct rd r, struct com *com_buf, struct ext_frame *ret)
{
    bool has_frame = rd_left(&r) > EXT_FRAME_HEADER_LEN;
    struct ext_frame frame = {.network_id = rd_u64(&r)};

    frame.flags = rd_u8(&r);
    if (r.bad) {
        return -EBADMSG;
    }
    if ((frame.flags & EXT_FRAME_COM) != 0) {
        int err = attached_com_read(&r, com_buf, &frame.com);

        if (err < 0) {
            return err;
        }
    }
    if (has_frame) {
        frame.has_frame = true;
        frame.dest_mac = mac_read(&r);
        frame.source_mac = mac_read(&r);
        frame.ethertype = rd_u16(&r);
        frame.len = rd_left(&r);
        frame.payload = rd_bytes(&r, frame.len);
    }
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = frame;
    return 0;
}

void ext_frame_write(struct wr *w, const struct ext_frame *frame)
{
    uint8_t flags = frame->flags & (uint8_t)~EXT_FRAME_COM;

    wr_u64(w, frame->network_id);
    wr_u8(w, frame->com != NULL ? flags | EXT_FRAME_COM : flags);
    if (frame->com != NULL) {
        com_write(w, frame->com);
    }
    mac_write(w, frame->dest_mac);
    mac_write(w, frame->source_mac);
    wr_u16(w, frame->ethertype);
    wr_bytes(w, frame->payload, frame->len);
}

void ext_frame_ack_write(struct wr *w, uint64_t in_re_packet_id, uint64_t network_id)
{
    ok_head_write(w, &(struct reply_head){.verb = VERB_EXT_FRAME, .id = in_re_packet_id});
    wr_u64(w, network_id);
}

static struct multicast_group group_read(struct rd *r)
{
    struct multicast_group group = {.mac = mac_read(r)};

    group.adi = rd_u32(r);
    return group;
}

static void group_write(struct wr *w, const struct multicast_group *group)
{
    mac_write(w, group->mac);
    wr_u32(w, group->adi);
}

int multicast_like_next(struct rd *r, struct multicast_like *ret)
{
    struct multicast_like like;

    if (!r->bad && rd_left(r) == 0) {
        return 0;
    }
    like.network_id = rd_u64(r);
    like.group = group_read(r);
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = like;
    return 1;
}

void multicast_like_write(struct wr *w, const struct multicast_like *like)
{
    wr_u64(w, like->network_id);
    group_write(w, &like->group);
}

int multicast_gather_read(struct rd r, struct com *com_buf, struct multicast_gather *ret)
{
    struct multicast_gather gather = {.network_id = rd_u64(&r)};

    gather.flags = rd_u8(&r);
    gather.group = group_read(&r);
    gather.limit = rd_u32(&r);
    if (r.bad) {
        return -EBADMSG;
    }
    if ((gather.flags & MULTICAST_COM) != 0 && com_buf != NULL && com_read(&r, com_buf) == 0) {
        gather.com = com_buf;
    }
    *ret = gather;
    return 0;
}

void multicast_gather_write(struct wr *w, const struct multicast_gather *gather)
{
    wr_u64(w, gather->network_id);
    wr_u8(w, gather->com != NULL ? MULTICAST_COM : 0);
    group_write(w, &gather->group);
    wr_u32(w, gather->limit);
    if (gather->com != NULL) {
        com_write(w, gather->com);
    }
}

/* Total, count and addresses. */
static void result_read(struct rd *r, struct gather_result *result)
{
    result->total = rd_u32(r);
    result->count = rd_u16(r);
    result->addresses = rd_bytes(r, (size_t)result->count * 5);
    result->has_result = true;
}

int gather_ok_read(struct rd r, struct gather_result *ret)
{
    struct gather_result result = {.network_id = rd_u64(&r)};

    result.group = group_read(&r);
    result_read(&r, &result);
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = result;
    return 0;
}

int multicast_frame_ok_read(struct rd r, struct com *com_buf, struct gather_result *ret)
{
    struct gather_result result = {.network_id = rd_u64(&r)};
    uint8_t flags;

    result.group = group_read(&r);
    flags = rd_u8(&r);
    if (r.bad) {
        return -EBADMSG;
    }
    if ((flags & MULTICAST_COM) != 0) {
        int err = attached_com_read(&r, com_buf, &result.com);

        if (err < 0) {
            return err;
        }
    }
    if ((flags & MULTICAST_GATHER_LIMIT) != 0) {
        result_read(&r, &result);
    }
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = result;
    return 0;
}

size_t gather_ok_write(struct wr *w, uint64_t network_id, const struct multicast_group *group,
                       uint32_t total)
{
    wr_u64(w, network_id);
    group_write(w, group);
    wr_u32(w, total);
    return wr_mark(w, 2);
}

size_t multicast_frame_ok_write(struct wr *w, uint64_t network_id,
                                const struct multicast_group *group, uint32_t total)
{
    wr_u64(w, network_id);
    group_write(w, group);
    wr_u8(w, MULTICAST_GATHER_LIMIT);
    wr_u32(w, total);
    return wr_mark(w, 2);
}

void gather_result_count(struct wr *w, size_t mark, uint16_t count)
{
    wr_patch_u16(w, mark, count);
}

int multicast_frame_read(struct rd r, struct com *com_buf, struct multicast_frame *ret)
{
    struct multicast_frame frame = {.network_id = rd_u64(&r)};

    frame.flags = rd_u8(&r);
    if (r.bad) {
        return -EBADMSG;
    }
    if ((frame.flags & MULTICAST_COM) != 0) {
        int err = attached_com_read(&r, com_buf, &frame.com);

        if (err < 0) {
            return err;
        }
    }
    if ((frame.flags & MULTICAST_GATHER_LIMIT) != 0) {
        frame.gather_limit = rd_u32(&r);
    }
    if ((frame.flags & MULTICAST_SOURCE_MAC) != 0) {
        frame.source_mac = mac_read(&r);
    }
    frame.group = group_read(&r);
    frame.ethertype = rd_u16(&r);
    frame.len = rd_left(&r);
    frame.payload = rd_bytes(&r, frame.len);
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = frame;
    return 0;
}

void multicast_frame_write(struct wr *w, const struct multicast_frame *frame)
{
    uint8_t flags = frame->flags & (uint8_t)~MULTICAST_COM;

    wr_u64(w, frame->network_id);
    wr_u8(w, frame->com != NULL ? flags | MULTICAST_COM : flags);
    if (frame->com != NULL) {
        com_write(w, frame->com);
    }
    if ((flags & MULTICAST_GATHER_LIMIT) != 0) {
        wr_u32(w, frame->gather_limit);
    }
    if ((flags & MULTICAST_SOURCE_MAC) != 0) {
        mac_write(w, frame->source_mac);
    }
    group_write(w, &frame->group);
    wr_u16(w, frame->ethertype);
    wr_bytes(w, frame->payload, frame->len);
}
