/* From frames to datagrams: super-frames are looked up and judged once, cut in place, sealed where
 * they leave from. Source: data path contract section 3 (TX), spec 09 section 6.3. */
#include "datapath/dp_priv.h"

#include "datapath/fragment.h"
#include "datapath/mss.h"
#include "wire/frame.h"
#include "wire/mac.h"

#include <errno.h>

/* A frame's way out. */
struct outbound {
    struct dp_port *port;
    struct dp_member *member;
    struct dp_session *session;
    uint64_t dest; /* MACs */
    uint64_t source;
    uint16_t ethertype;
    bool is_bridged; /* with its MACs: EXT_FRAME */
};

/* Look up all that decides about a frame. Returns false if something is missing: it is the
 * engine's. */
static bool find_way(const struct dp *dp, uint64_t nwid, const uint8_t *frame, size_t len,
                     struct outbound *out)
{
    uint64_t address;

    out->port = len > ETHERNET_LEN ? dp_port_find(dp->pub, nwid) : NULL;
    if (out->port == NULL) {
        return false;
    }
    out->dest = mac_get(frame);
    out->source = mac_get(frame + MAC_LEN);
    out->ethertype = be16_get(frame + 2 * MAC_LEN);
    out->is_bridged = out->source != out->port->mac;
    if ((out->is_bridged && !out->port->is_bridge) || mac_is_multicast(out->dest) ||
        out->dest == out->port->mac || !mac_is_member(nwid, out->dest)) {
        return false;
    }
    address = mac_member_address(nwid, out->dest);
    out->member = dp_member_find(out->port, address);
    if (out->member == NULL || out->member->traits.acts ||
        (atomic_load_explicit(&out->member->access, memory_order_acquire) & DP_ACCESS_OUT) == 0) {
        return false;
    }
    out->session = dp_session_find(dp->pub, address);
    return out->session != NULL && out->session->can_send;
}

static bool is_accepted(struct dp *dp, const struct outbound *out,
                        const struct offload_frame *frame)
{
    const struct filter_frame view = {
        .source_mac = out->source,
        .dest_mac = out->dest,
        .payload = frame->data + ETHERNET_LEN,
        .len = frame->len - ETHERNET_LEN,
        .ethertype = out->ethertype,
    };
    const struct filter_input input = {
        .network = out->port->filter,
        .remote = out->member->creds,
        .frame = &view,
        .source = dp->pub->self,
        .dest = out->member->object.node.key,
        .draw = dp_draw,
        .draw_ctx = dp,
    };
    struct filter_result result;

    if (out->member->traits.accepts_all) {
        return true;
    }
    filter_outbound(&input, &result);
    return result.verdict != FILTER_DROP;
}

static bool same_way(const struct dp_path *a, const struct dp_path *b)
{
    return a->socket == b->socket && inetaddr_equal(&a->remote, &b->remote);
}

/* The number of a destination for runs of the slab. There is room. */
static uint32_t target_of(struct dp *dp, const struct dp_path *to)
{
    if (dp->target_count == 0 || !same_way(&dp->targets[dp->target_count - 1], to)) {
        dp->targets[dp->target_count++] = *to;
    }
    return dp->target_count - 1;
}

/* Write the headers of packet and frame in front of the payload. Returns the packet. */
static uint8_t *wrap(struct dp *dp, const struct outbound *out, const struct offload_frame *frame)
{
    size_t header = PACKET_AT_PAYLOAD + (out->is_bridged ? EXT_FRAME_HEADER_LEN : FRAME_HEADER_LEN);
    uint8_t *pkt = frame->data + ETHERNET_LEN - header;
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, header - PACKET_AT_PAYLOAD);

    packet_start(pkt, packet_id_next(&dp->ids), out->session->object.node.key, dp->pub->self,
                 out->is_bridged ? VERB_EXT_FRAME : VERB_FRAME);
    if (out->is_bridged) {
        wr_u64(&w, out->port->object.node.key);
        wr_u8(&w, 0);
        mac_write(&w, out->dest);
        mac_write(&w, out->source);
        wr_u16(&w, out->ethertype);
    } else {
        frame_write_header(&w, out->port->object.node.key, out->ethertype);
    }
    return pkt;
}

/* Seal one frame into the slab. more: another one of this length follows. Returns false: it cannot
 * be sent. */
static bool seal_frame(struct dp *dp, const struct outbound *out, const struct offload_frame *frame,
                       bool more)
{
    uint8_t *pkt = wrap(dp, out, frame);
    struct seal_packet p = {
        .pkt = pkt,
        .len = (size_t)(frame->data + frame->len - pkt),
        .keys = out->session->keys,
        .suite = out->session->suite,
        .mtu = out->session->mtu,
        .more = more,
    };
    int err = -ENOSPC;

    if (!out->session->mtu_fixed) {
        p.mtu = fragment_mtu(p.len, p.mtu);
    }
    if (dp->target_count < SEAL_RUNS_MAX) {
        p.target = target_of(dp, &out->session->out);
        err = seal_add(&dp->slab, &p);
    }
    if (err == -ENOSPC) {
        dp_flush(dp);
        p.target = target_of(dp, &out->session->out);
        err = seal_add(&dp->slab, &p);
    }
    return err == 0;
}

static void give_frame(struct dp *dp, uint64_t nwid, const struct offload_frame *frame)
{
    const struct dp_gift gift = {
        .kind = DP_GIFT_FRAME, .nwid = nwid, .data = frame->data, .len = frame->len};

    dp_count(dp, DP_GIVEN, 1);
    dp->env.give(dp->env.ctx, &gift);
}

/* What became of the frames of a super-frame. */
struct tally {
    unsigned refused; /* by the rules */
    unsigned passed;  /* the rules */
    unsigned sent;    /* of these; the rest was too big */
    unsigned large;   /* of these */
};

static void note_sent(struct dp *dp, const struct outbound *out, const struct tally *tally,
                      int64_t now_ms)
{
    struct port_cell *port = &out->port->cells[dp->index];

    dp_add(&port->out[0], tally->refused);
    dp_add(&port->out[1], tally->passed);
    dp_count(dp, DP_DROP_RULES_OUT, tally->refused);
    dp_count(dp, DP_DROP_TOO_BIG, tally->passed - tally->sent);
    dp_changed(dp, &out->port->object);
    if (tally->passed > 0) {
        dp_time(&out->member->cells[dp->index].out_ms, now_ms);
        dp_changed(dp, &out->member->object);
    }
    if (tally->sent > 0) {
        struct session_cell *cell = &out->session->cells[dp->index];

        dp_time(&cell->out_ms, now_ms);
        dp_add(&cell->packets[1], tally->sent);
        dp_add(&cell->large, tally->large);
        dp_count(dp, out->is_bridged ? DP_TX_EXT_FRAMES : DP_TX_FRAMES, tally->sent);
        dp_changed(dp, &out->session->object);
    }
}

/* All frames of a super-frame, on their known way. */
static void send_all(struct dp *dp, const struct outbound *out, struct offload_split *split,
                     unsigned count, int64_t now_ms)
{
    bool is_judged = false; /* the verdict holds for the rest */
    bool is_ok = false;
    struct tally tally = {0};
    struct offload_frame frame;

    while (offload_split_next(split, &frame)) {
        count--;
        if (!is_judged) {
            is_ok = is_accepted(dp, out, &frame);
            is_judged = out->member->traits.class != FILTER_UNSAFE;
        }
        if (!is_ok) {
            tally.refused++;
            continue;
        }
        tally.passed++;
        if (frame.len - ETHERNET_LEN <= out->port->mtu && seal_frame(dp, out, &frame, count > 1)) {
            tally.sent++;
            tally.large += frame.len > DP_LARGE;
        }
    }
    note_sent(dp, out, &tally, now_ms);
}

void dp_send(struct dp *dp, uint64_t nwid, const struct vnet_header *vnet, uint8_t *frame,
             size_t len, int64_t now_ms)
{
    struct offload_split split;
    struct offload_frame one;
    struct outbound out;
    uint64_t dest = len >= MAC_LEN ? mac_get(frame) : 0; /* takers may change the frame */
    bool is_known =
        find_way(dp, nwid, frame, len, &out) && !dp_is_held(dp, DP_GIFT_FRAME, nwid, dest, now_ms);
    int count;

    if (is_known && out.port->mss_mtu != 0) {
        mss_clamp(out.ethertype, frame + ETHERNET_LEN, len - ETHERNET_LEN, out.port->mss_mtu,
                  (vnet->flags & VNET_NEEDS_CSUM) != 0);
    }
    count = offload_split_begin(&split, vnet, frame, len, dp->checksum);
    if (count <= 0) {
        dp_count(dp, DP_DROP_HEADERS, 1);
        return;
    }
    if (is_known) {
        send_all(dp, &out, &split, (unsigned)count, now_ms);
        return;
    }
    dp_send_slab(dp); /* what was there before leaves before */
    while (offload_split_next(&split, &one)) {
        give_frame(dp, nwid, &one);
    }
    if (!mac_is_multicast(dest)) {
        dp_hold(dp, DP_GIFT_FRAME, nwid, dest);
    }
}
