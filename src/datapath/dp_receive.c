/* From datagrams to frames: joined where they lie, opened in place, judged, merged, written.
 * Source: data path contract section 3 (RX), spec 09 section 6.5. */
#include "datapath/dp_priv.h"

#include "datapath/mss.h"
#include "wire/frame.h"
#include "wire/mac.h"

/* ---- looking up ---- */

/* The session of an address; most packets of a batch have the same. */
static struct dp_session *session_of(struct dp *dp, uint64_t address)
{
    struct dp_memo *memo = &dp->memo;

    if (memo->session == NULL || memo->session->object.node.key != address) {
        memo->session = dp_session_find(dp->pub, address);
        memo->from = NULL;
    }
    return memo->session;
}

/* Number of the direct path a packet came by, -1 if it is none of the session's. */
static int path_of(struct dp *dp, const struct dp_session *session, const struct dp_arrival *at)
{
    struct dp_memo *memo = &dp->memo;

    if (memo->from == at->from) {
        return memo->path;
    }
    memo->from = at->from;
    memo->path = -1;
    for (unsigned i = 0; i < session->path_count; i++) {
        if (session->paths[i].socket == at->socket &&
            inetaddr_equal(&session->paths[i].remote, at->from)) {
            memo->path = (int)i;
            break;
        }
    }
    return memo->path;
}

static struct dp_port *port_of(struct dp *dp, uint64_t nwid)
{
    struct dp_memo *memo = &dp->memo;

    if (memo->port == NULL || memo->port->object.node.key != nwid) {
        memo->port = dp_port_find(dp->pub, nwid);
        memo->member = NULL;
        if (memo->port != NULL) {
            memo->kinds = dp->env.kinds(dp->env.ctx, nwid);
        }
    }
    return memo->port;
}

static struct dp_member *member_of(struct dp *dp, const struct dp_port *port, uint64_t address)
{
    struct dp_memo *memo = &dp->memo;

    if (memo->member == NULL || memo->member->object.node.key != address) {
        memo->member = dp_member_find(port, address);
    }
    return memo->member;
}

/* ---- frames ---- */

/* A frame, where it came from and by which objects it is judged. */
struct inbound {
    struct dp_session *session;
    struct dp_port *port;
    struct dp_member *member;
    struct filter_frame frame;
    int path; /* of the session, -1: through a relay */
};

/* True if a bridged frame between these MACs needs nothing but what is published: from the sender
 * itself, to us, to a group unless we are a bridge, or to somebody behind us. */
static bool is_plain(const struct dp_port *port, uint64_t source, const struct ext_frame *ext)
{
    if (ext->source_mac != mac_of_member(port->object.node.key, source) ||
        ext->source_mac == port->mac) {
        return false;
    }
    if (ext->dest_mac == port->mac) {
        return true;
    }
    /* At a bridge the engine looks for groups' frames that come back. */
    return mac_is_multicast(ext->dest_mac) ? port->multicast && !port->is_bridge : port->is_bridge;
}

/* Read the frame of a FRAME or EXT_FRAME packet. Returns 1; 0 it is the engine's; -1 malformed. */
static int read_frame(struct dp *dp, const uint8_t *pkt, size_t len, struct inbound *in)
{
    struct rd r = rd_init(pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD);
    uint64_t source = packet_source(pkt);

    if (packet_verb(pkt) == VERB_FRAME) {
        struct frame frame;

        if (frame_read(r, &frame) < 0) {
            return -1;
        }
        in->port = frame.len == 0 ? NULL : port_of(dp, frame.network_id);
        if (in->port == NULL) {
            return 0;
        }
        in->frame = (struct filter_frame){.source_mac = mac_of_member(frame.network_id, source),
                                          .dest_mac = in->port->mac,
                                          .payload = frame.payload,
                                          .len = frame.len,
                                          .ethertype = frame.ethertype};
    } else {
        struct ext_frame ext;

        if (ext_frame_read(r, NULL, &ext) < 0 || !ext.has_frame || ext.len == 0 || ext.flags != 0) {
            return 0; /* the engine knows what to do with each of these */
        }
        in->port = port_of(dp, ext.network_id);
        if (in->port == NULL || !is_plain(in->port, source, &ext)) {
            return 0;
        }
        in->frame = (struct filter_frame){.source_mac = ext.source_mac,
                                          .dest_mac = ext.dest_mac,
                                          .payload = ext.payload,
                                          .len = ext.len,
                                          .ethertype = ext.ethertype};
    }
    in->member = member_of(dp, in->port, source);
    return in->member != NULL && !in->member->traits.acts &&
           (atomic_load_explicit(&in->member->access, memory_order_acquire) & DP_ACCESS_IN) != 0;
}

static enum filter_verdict judge(struct dp *dp, const struct inbound *in)
{
    struct dp_memo *memo = &dp->memo;
    const struct filter_input input = {
        .network = in->port->filter,
        .remote = in->member->creds,
        .frame = &in->frame,
        .source = in->session->object.node.key,
        .dest = dp->pub->self,
        .draw = dp_draw,
        .draw_ctx = dp,
    };
    struct filter_result result;

    if (memo->judged_port == in->port && memo->judged_member == in->member &&
        memo->judged_type == in->frame.ethertype) {
        return memo->verdict;
    }
    filter_inbound(&input, &result);
    if (in->member->traits.class == FILTER_CONSTANT) {
        memo->judged_port = in->port;
        memo->judged_member = in->member;
        memo->judged_type = in->frame.ethertype;
        memo->verdict = result.verdict;
    }
    return result.verdict;
}

/* Note that an authenticated packet was handled here. */
static void note_received(struct dp *dp, const struct inbound *in, const struct dp_arrival *at)
{
    struct session_cell *cell = &in->session->cells[dp->index];
    struct member_cell *member = &in->member->cells[dp->index];
    int64_t now_ms = at->now_ms;

    dp_time(&cell->in_ms, now_ms);
    dp_time(&cell->trust_ms, now_ms);
    dp_time(in->path >= 0 ? &cell->path_ms[in->path] : &cell->relayed_ms, now_ms);
    if (in->path < 0 && !inetaddr_equal(&in->session->out.remote, at->from)) {
        dp_time(&cell->crossed_ms, now_ms);
    }
    dp_add(&cell->packets[0], 1);
    dp_add(&cell->relayed, in->path < 0);
    dp_time(&member->in_ms, now_ms);
    dp_changed(dp, &in->session->object);
    dp_changed(dp, &in->member->object);
    dp_changed(dp, &in->port->object);
}

/* An authenticated FRAME or EXT_FRAME. Returns false: it is the engine's. */
static bool take_frame(struct dp *dp, struct dp_session *session, const struct dp_arrival *at,
                       uint8_t *pkt, size_t len)
{
    struct inbound in = {.session = session, .path = -1};
    struct port_cell *cell;
    enum filter_verdict verdict;

    if (packet_hops(pkt) == 0) {
        in.path = path_of(dp, session, at);
        if (in.path < 0) {
            return false; /* it may become a path */
        }
    }
    switch (read_frame(dp, pkt, len, &in)) {
    case 0:
        return false;
    case 1:
        break;
    default:
        dp_count(dp, DP_DROP_MALFORMED, 1);
        return true;
    }
    dp_count(dp, packet_verb(pkt) == VERB_FRAME ? DP_RX_FRAMES : DP_RX_EXT_FRAMES, 1);
    cell = &in.port->cells[dp->index];
    note_received(dp, &in, at);
    verdict = judge(dp, &in);
    dp_add(&cell->in[verdict != FILTER_DROP], 1);
    if (verdict == FILTER_DROP) {
        dp_count(dp, DP_DROP_RULES_IN, 1);
    } else if (in.frame.len > in.port->mtu) {
        dp_count(dp, DP_DROP_TOO_BIG, 1);
    } else {
        if (in.port->mss_mtu != 0) {
            mss_clamp(in.frame.ethertype, pkt + (in.frame.payload - pkt), in.frame.len,
                      in.port->mss_mtu, false);
        }
        merger_add(&dp->merger, &(struct merge_input){.dest_mac = in.frame.dest_mac,
                                                      .source_mac = in.frame.source_mac,
                                                      .payload = in.frame.payload,
                                                      .len = in.frame.len,
                                                      .port = in.port->object.node.key,
                                                      .kinds = dp->memo.kinds,
                                                      .ethertype = in.frame.ethertype});
    }
    return true;
}

/* ---- packets ---- */

static bool is_openable(const uint8_t *pkt)
{
    unsigned suite = packet_suite(pkt);

    return suite == SUITE_SALSA_POLY1305 || suite == SUITE_AES_GMAC_SIV;
}

/* FRAME or EXT_FRAME: taken here, unless some of the same were given and are not handled yet. */
static void take_or_give(struct dp *dp, struct dp_session *session, const struct dp_arrival *at,
                         uint8_t *pkt, size_t len)
{
    bool has_nwid = len >= PACKET_AT_PAYLOAD + sizeof(uint64_t);
    uint64_t nwid = has_nwid ? be64_get(pkt + PACKET_AT_PAYLOAD) : 0;
    uint64_t source = packet_source(pkt);

    if (dp_is_held(dp, DP_GIFT_OPENED, nwid, source, at->now_ms) ||
        !take_frame(dp, session, at, pkt, len)) {
        merger_flush(&dp->merger); /* what was there before is written before */
        dp_give(dp, DP_GIFT_OPENED, at, pkt, len);
        dp_hold(dp, DP_GIFT_OPENED, nwid, source);
    }
}

/* A packet that was opened. */
static void take_packet(struct dp *dp, struct dp_session *session, const struct dp_arrival *at,
                        uint8_t *pkt, size_t len)
{
    unsigned verb = packet_verb(pkt);
    bool is_frame = (verb == VERB_FRAME || verb == VERB_EXT_FRAME) &&
                    (pkt[PACKET_AT_VERB] & VERB_COMPRESSED) == 0;

    dp_count(dp, DP_RX_PACKETS, 1);
    if (verb != VERB_HELLO && verb != VERB_ECHO && replay_seen(session->replay, pkt, at->now_ms)) {
        dp_count(dp, DP_DROP_DUPLICATE, 1);
    } else if (is_frame) {
        take_or_give(dp, session, at, pkt, len);
    } else {
        dp_give(dp, DP_GIFT_OPENED, at, pkt, len);
    }
}

static void refuse(struct dp *dp, struct dp_session *session)
{
    struct session_cell *cell = &session->cells[dp->index];

    dp_count(dp, DP_DROP_MAC, 1);
    dp_add(&cell->errors, 1);
    dp_changed(dp, &session->object);
}

/* A whole packet for us in one piece, sealed. */
static void whole_packet(struct dp *dp, const struct dp_arrival *at, uint8_t *pkt, size_t len)
{
    struct dp_session *session = is_openable(pkt) ? session_of(dp, packet_source(pkt)) : NULL;

    if (session == NULL) {
        dp_give_sealed(dp, at, pkt, len);
    } else if (armor_open(pkt, len, session->keys) < 0) {
        refuse(dp, session);
    } else {
        take_packet(dp, session, at, pkt, len);
    }
}

/* A part whose packet does not lie together. */
static void keep_part(struct dp *dp, const struct dp_arrival *at, const struct part *part)
{
    struct assembled whole;
    int result = assembly_add(&dp->assembly, part->data, part->len, at->from, at->socket,
                              ASSEMBLY_SHARE_UPSTREAM, at->now_ms, dp->joined, &whole);

    if (result < 0) {
        dp_count(dp, DP_DROP_FRAGMENT, 1);
    } else if (result > 0) {
        const struct dp_arrival head = {
            .socket = whole.socket, .from = &whole.from, .now_ms = at->now_ms};

        dp_count(dp, DP_SLOW_JOIN, 1);
        dp->memo.from = NULL; /* of another address, at a place that may be used again */
        whole_packet(dp, &head, dp->joined, whole.len);
        dp->memo.from = NULL;
        merger_flush(&dp->merger); /* what was merged may lie in `joined` */
    }
}

/* ---- datagrams ---- */

/* A packet that begins with parts[0], of which `left` datagrams of the same sender follow each
 * other. Returns how many were used. */
static unsigned head_in(struct dp *dp, const struct dp_arrival *at, struct part *parts,
                        unsigned left, size_t room)
{
    unsigned total = parts_gather(parts, left);
    struct dp_session *session;
    size_t len;

    if (total == 1) {
        whole_packet(dp, at, parts[0].data, parts[0].len);
        return 1;
    }
    session = total > 0 && is_openable(parts[0].data) ? session_of(dp, packet_source(parts[0].data))
                                                      : NULL;
    len = session != NULL ? parts_packet_len(parts, total) : 0;
    if (session == NULL || (!parts_are_adjacent(parts, total) && (total > 2 || room < len))) {
        keep_part(dp, at, &parts[0]);
        return 1;
    }
    if (parts_open(parts, total, session->keys, parts[0].data) < 0) {
        refuse(dp, session);
    } else {
        take_packet(dp, session, at, parts[0].data, len);
    }
    return total;
}

static unsigned datagram_in(struct dp *dp, const struct dp_arrival *at, struct part *parts,
                            unsigned left, size_t room)
{
    uint8_t *data = parts[0].data;
    size_t len = parts[0].len;

    switch (datagram_classify(data, len)) {
    case DATAGRAM_FRAGMENT:
        if (packet_dest(data) != dp->pub->self) {
            dp_relay(dp, at, data, len, true);
        } else {
            keep_part(dp, at, &parts[0]);
        }
        return 1;
    case DATAGRAM_PACKET:
        if (packet_source(data) == dp->pub->self) {
            dp_count(dp, DP_DROP_OWN_SOURCE, 1);
        } else if (packet_dest(data) != dp->pub->self) {
            dp_relay(dp, at, data, len, false);
        } else {
            return head_in(dp, at, parts, left, room);
        }
        return 1;
    case DATAGRAM_BEACON:
        dp_count(dp, DP_DROP_BEACON, 1);
        return 1;
    case DATAGRAM_DROP:
    default:
        dp_count(dp, DP_DROP_RUNT, 1);
        return 1;
    }
}

/* Cut messages into datagrams, as many messages as there is room for. Returns how many messages. */
static size_t list_parts(struct dp *dp, const struct dp_message *messages, size_t count,
                         unsigned *ret_parts)
{
    unsigned n = 0;
    size_t i = 0;

    for (; i < count; i++) {
        const struct dp_message *m = &messages[i];

        if (n + (m->len + m->segment - 1) / m->segment > DP_PARTS_MAX) {
            break;
        }
        for (size_t at = 0; at < m->len; at += m->segment) {
            size_t left = m->len - at;

            dp->part_message[n] = (uint16_t)i;
            dp->parts[n++] =
                (struct part){.data = m->data + at, .len = left < m->segment ? left : m->segment};
        }
    }
    *ret_parts = n;
    return i;
}

/* How many datagrams from part `i` on may belong to the packet that begins there: those that came
 * one after the other from one sender. */
static unsigned same_sender(const struct dp *dp, const struct dp_message *messages, unsigned i,
                            unsigned count)
{
    const struct part *part = &dp->parts[i];
    unsigned first = dp->part_message[i];
    unsigned n = 1;

    if (part->len < PACKET_MIN || !packet_is_fragmented(part->data)) {
        return 1;
    }
    while (n < FRAGMENTS_MAX && i + n < count) {
        unsigned m = dp->part_message[i + n];

        if (m != first && !inetaddr_equal(&messages[m].from, &messages[first].from)) {
            break;
        }
        n++;
    }
    return n;
}

/* The datagrams of these messages, which were listed. */
static void parts_in(struct dp *dp, uint32_t socket, const struct dp_message *messages, unsigned n,
                     int64_t now_ms)
{
    dp_count(dp, DP_RX_DATAGRAMS, n);
    for (unsigned i = 0; i < n;) {
        const struct dp_message *m = &messages[dp->part_message[i]];
        const struct dp_arrival at = {.socket = socket, .from = &m->from, .now_ms = now_ms};
        struct part *part = &dp->parts[i];
        bool is_last = i + 1 == n || dp->part_message[i + 1] != dp->part_message[i];

        i += datagram_in(dp, &at, part, same_sender(dp, messages, i, n),
                         is_last ? m->cap - (size_t)(part->data - m->data) : 0);
    }
}

void dp_receive(struct dp *dp, uint32_t socket, const struct dp_message *messages, size_t count,
                int64_t now_ms)
{
    while (count > 0) {
        unsigned n;
        size_t done = list_parts(dp, messages, count, &n);

        parts_in(dp, socket, messages, n, now_ms);
        if (done == 0) {
            break; /* longer than a datagram can be */
        }
        messages += done;
        count -= done;
    }
    merger_flush(&dp->merger);
    dp_relay_flush(dp);
    dp->memo = (struct dp_memo){0};
}
