/* Frames between the port and members: filtering, unicast in and out, bridging. Multicast frames
 * leave by multicast.c. Nothing on the way of a unicast frame to a known member allocates.
 * Source: spec 03 sections 8, 9, 10, 11.1, 11.5 and 16.4 to 16.6 with Do better 15, 18, 27. */
#include "vl2/vl2_priv.h"

#include "datapath/mss.h"
#include "vl2/resolve.h"

#include <errno.h>
#include <string.h>

enum { ETHERTYPE_IPV6 = 0x86dd };

/* ---- the filter and its effects ---- */

/* Copies and redirected frames go out with their original MACs. */
static void carry_out(struct network *net, const struct filter_frame *frame,
                      const struct filter_result *result, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    struct out_packet out;

    for (size_t i = 0; i < result->effect_count; i++) {
        const struct filter_effect *effect = &result->effects[i];
        const struct ext_frame copy = {
            .network_id = net->id,
            .dest_mac = frame->dest_mac,
            .source_mac = frame->source_mac,
            .payload = frame->payload,
            .len = effect->len,
            .ethertype = frame->ethertype,
            .flags = effect->flags,
        };
        unsigned flags = OUT_COMPRESS;

        if ((effect->flags & EXT_FRAME_ACK) != 0) {
            flags |= OUT_EXPECT;
        }
        out_begin(vl2->vl1, &out, effect->target, VERB_EXT_FRAME);
        ext_frame_write(&out.w, &copy);
        vl2_send(vl2, &out, flags, now_ms);
    }
}

bool switch_filter_out(struct network *net, const struct filter_frame *frame, uint64_t dest,
                       const struct member *member, bool no_tee, int64_t now_ms)
{
    struct filter_log log;
    const struct filter_input input = {
        .network = &net->filter,
        .remote = member != NULL ? &member->creds : NULL,
        .frame = frame,
        .source = net->vl2->self,
        .dest = dest,
        .no_tee = no_tee,
        .draw = vl2_draw,
        .draw_ctx = net->vl2,
        .log = trace_wants_frames(net) ? &log : NULL,
    };
    struct filter_result result;

    filter_outbound(&input, &result);
    capture_verdict(net->vl2, &result);
    trace_filter(net, &input, false, &result, now_ms);
    if (result.effect_count > 0) {
        carry_out(net, frame, &result, now_ms);
    }
    if (result.verdict == FILTER_DROP) {
        vl2_count(net->vl2, COUNT_RULES_OUT);
    }
    net->frames.out[result.verdict != FILTER_DROP]++;
    return result.verdict != FILTER_DROP;
}

enum filter_verdict switch_filter_in(struct network *net, const struct filter_frame *frame,
                                     uint64_t source, const struct member *member, int64_t now_ms)
{
    struct filter_log log;
    const struct filter_input input = {
        .network = &net->filter,
        .remote = member != NULL ? &member->creds : NULL,
        .frame = frame,
        .source = source,
        .dest = net->vl2->self,
        .draw = vl2_draw,
        .draw_ctx = net->vl2,
        .log = trace_wants_frames(net) ? &log : NULL,
    };
    struct filter_result result;

    filter_inbound(&input, &result);
    capture_verdict(net->vl2, &result);
    trace_filter(net, &input, true, &result, now_ms);
    if (result.effect_count > 0) {
        carry_out(net, frame, &result, now_ms);
    }
    if (result.verdict == FILTER_DROP) {
        vl2_count(net->vl2, COUNT_RULES_IN);
    }
    net->frames.in[result.verdict != FILTER_DROP]++;
    return result.verdict;
}

/* The payload of a frame, or a copy of it that keeps TCP to the MTU it is clamped to. */
static const uint8_t *clamp(const struct network *net, uint16_t ethertype, const uint8_t *payload,
                            size_t len, uint8_t copy[FRAME_PAYLOAD_MAX])
{
    struct mss_place place;

    if (net->mss_mtu == 0 || len > FRAME_PAYLOAD_MAX ||
        !mss_find(ethertype, payload, len, net->mss_mtu, &place)) {
        return payload;
    }
    memcpy(copy, payload, len);
    mss_rewrite(copy, &place, false);
    return copy;
}

static void deliver(struct network *net, uint64_t dest_mac, uint64_t source_mac, uint16_t ethertype,
                    const uint8_t *payload, size_t len)
{
    const struct engine_env *env = net->vl2->env;
    uint8_t copy[FRAME_PAYLOAD_MAX];

    capture_passed(net->vl2);
    payload = clamp(net, ethertype, payload, len, copy);
    env->deliver(env->ctx, net->id, dest_mac, source_mac, ethertype, payload, len);
}

/* ---- out ---- */

/* True if a frame to a member may go: counted and asked for fresh credentials if not. */
static bool may_send(struct network *net, struct member *member, uint64_t address, int64_t now_ms)
{
    if (!member_refused(net, member, now_ms)) {
        return true;
    }
    vl2_count(net->vl2, COUNT_PEER_REVOKED);
    member_solicit(net, address, now_ms);
    return false;
}

static void send_ext(struct network *net, uint64_t address, const struct filter_frame *frame,
                     int64_t now_ms)
{
    const struct ext_frame ext = {
        .network_id = net->id,
        .dest_mac = frame->dest_mac,
        .source_mac = frame->source_mac,
        .payload = frame->payload,
        .len = frame->len,
        .ethertype = frame->ethertype,
    };
    struct out_packet out;

    out_begin(net->vl2->vl1, &out, address, VERB_EXT_FRAME);
    ext_frame_write(&out.w, &ext);
    vl2_send(net->vl2, &out, OUT_CONSUME, now_ms);
}

static void send_to_member(struct network *net, uint64_t address, const struct filter_frame *frame,
                           int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    struct member *member = member_find(net, address);
    struct out_packet out;

    if (address_is_reserved(address)) {
        vl2_count(vl2, COUNT_BAD_DEST);
        return;
    }
    if (!may_send(net, member, address, now_ms) ||
        !switch_filter_out(net, frame, address, member, false, now_ms)) {
        return;
    }
    member = push_if_due(net, member, address, now_ms);
    if (member != NULL) {
        member_touch(member, now_ms);
    }
    capture_passed(vl2);
    if (frame->source_mac != net->mac) {
        send_ext(net, address, frame, now_ms);
    } else {
        out_begin(vl2->vl1, &out, address, VERB_FRAME);
        frame_write_header(&out.w, net->id, frame->ethertype);
        wr_bytes(&out.w, frame->payload, frame->len);
        vl2_send(vl2, &out, OUT_CONSUME, now_ms);
    }
    member_publish(net, address, now_ms);
}

static void send_to_bridge(struct network *net, uint64_t address, const struct filter_frame *frame,
                           int64_t now_ms)
{
    struct member *member = member_find(net, address);

    if (!may_send(net, member, address, now_ms) ||
        !switch_filter_out(net, frame, address, member, true, now_ms)) {
        return;
    }
    (void)push_if_due(net, member, address, now_ms);
    capture_passed(net->vl2);
    send_ext(net, address, frame, now_ms);
}

/* All active bridges but us, at most BRIDGE_SPAM of them, distinct. */
static void spam_bridges(struct network *net, const struct filter_frame *frame, int64_t now_ms)
{
    uint64_t bridges[NETCONF_SPECIALISTS_MAX];
    struct shuffle order;
    size_t count = 0;

    for (size_t i = 0; i < net->conf.specialist_count && count < COUNT_OF(bridges); i++) {
        uint64_t s = net->conf.specialists[i];
        uint64_t address = s & UINT64_C(0xffffffffff);

        if ((s & SPECIALIST_BRIDGE) != 0 && address != net->vl2->self) {
            bridges[count++] = address;
        }
    }
    if (count == 0) {
        vl2_count(net->vl2, COUNT_NO_BRIDGE);
        return;
    }
    order = shuffle_init(net->vl2, count);
    for (size_t i = 0; i < count && i < BRIDGE_SPAM; i++) {
        send_to_bridge(net, bridges[shuffle_at(&order, i)], frame, now_ms);
    }
}

/* A MAC behind a bridge; via: the bridge it was seen behind, 0 unknown. */
static void send_foreign(struct network *net, uint64_t via, const struct filter_frame *frame,
                         int64_t now_ms)
{
    if (!switch_filter_out(net, frame, 0, NULL, false, now_ms)) {
        return;
    }
    if (via != 0) {
        send_to_bridge(net, via, frame, now_ms);
    } else if (frame->source_mac == net->mac || !bridge_is_loop(net, true, frame, now_ms)) {
        spam_bridges(net, frame, now_ms);
    }
}

static bool answer_ndp(struct network *net, const struct filter_frame *frame)
{
    struct ndp_answer answer;

    if ((net->conf.flags & NETCONF_FLAG_NDP) == 0 ||
        !ndp_emulate(net->id, net->vl2->self, net->conf.addresses, net->conf.address_count,
                     frame->ethertype, frame->payload, frame->len, &answer)) {
        return false;
    }
    deliver(net, frame->source_mac, answer.source_mac, ETHERTYPE_IPV6, answer.payload,
            sizeof(answer.payload));
    return true;
}

static void multicast_out(struct network *net, const struct filter_frame *frame, int64_t now_ms)
{
    struct multicast_group group = {.mac = frame->dest_mac};
    uint64_t source_mac = frame->source_mac != net->mac ? frame->source_mac : 0;

    if (mac_is_broadcast(frame->dest_mac)) {
        if (!arp_request_group(frame->ethertype, frame->payload, frame->len, &group) &&
            (net->conf.flags & NETCONF_FLAG_BROADCAST) == 0) {
            vl2_count(net->vl2, COUNT_BROADCAST_OFF);
            return;
        }
    } else if (answer_ndp(net, frame)) {
        return;
    }
    if (net->conf.multicast_limit == 0) {
        vl2_count(net->vl2, COUNT_MULTICAST_OFF);
        return;
    }
    if (source_mac != 0) {
        if (bridge_is_loop(net, true, frame, now_ms)) {
            return;
        }
        announce_behind(net, &group, now_ms);
    }
    if (switch_filter_out(net, frame, 0, NULL, false, now_ms)) {
        capture_passed(net->vl2);
        multicast_send(net, &group, 0, source_mac, frame->ethertype, frame->payload, frame->len,
                       now_ms);
    }
}

static void frame_out(struct network *net, const struct filter_frame *frame, uint64_t member,
                      int64_t now_ms)
{
    uint64_t via;

    if (!net->has_conf) {
        vl2_count(net->vl2, COUNT_NO_CONFIG);
        return;
    }
    if (frame->source_mac != net->mac && !net->is_bridge) {
        vl2_count(net->vl2, COUNT_NOT_BRIDGE);
        return;
    }
    if (mac_is_multicast(frame->dest_mac)) {
        multicast_out(net, frame, now_ms);
        return;
    }
    if (frame->dest_mac == net->mac) {
        deliver(net, frame->dest_mac, frame->source_mac, frame->ethertype, frame->payload,
                frame->len);
        return;
    }
    via = bridge_of(net, frame->dest_mac, now_ms);
    if (via == 0 && member != 0) {
        send_to_member(net, member, frame, now_ms);
    } else {
        send_foreign(net, via, frame, now_ms);
    }
}

void vl2_frame(struct vl2 *vl2, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
               uint16_t ethertype, const uint8_t *payload, size_t len, int64_t now_ms)
{
    struct filter_frame frame = {
        .source_mac = source_mac,
        .dest_mac = dest_mac,
        .payload = payload,
        .len = len,
        .ethertype = ethertype,
    };
    uint8_t copy[FRAME_PAYLOAD_MAX];
    struct network *net = vl2_find(vl2, nwid);
    uint64_t member = mac_is_member(nwid, dest_mac) ? mac_member_address(nwid, dest_mac) : 0;

    vl2->now_ms = now_ms;
    if (net == NULL) {
        vl2_count(vl2, COUNT_NO_NETWORK);
        return;
    }
    frame.payload = clamp(net, ethertype, payload, len, copy);
    capture_begin(net, true, member, &frame);
    frame_out(net, &frame, member, now_ms);
    capture_end(vl2);
}

/* ---- in ---- */

static enum vl1_verdict malformed(struct vl2 *vl2)
{
    vl2_count(vl2, COUNT_MALFORMED);
    return VL1_DROP;
}

static enum vl1_verdict no_network(struct vl2 *vl2)
{
    vl2_count(vl2, COUNT_NO_NETWORK);
    return VL1_DONE;
}

/* The sender of a frame is no member, as far as is known yet. */
static enum vl1_verdict gate_failed(struct network *net, const struct in_packet *in, int64_t now_ms)
{
    enum vl1_verdict verdict = member_gate_failed(net, in, now_ms);

    if (in->retry) {
        capture_cancel(net->vl2); /* it was told of when it came */
    }
    capture_end(net->vl2);
    return verdict;
}

enum vl1_verdict switch_frame_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct frame packet;
    struct filter_frame frame;
    struct member *member;
    struct network *net;

    if (frame_read(in->payload, &packet) != 0) {
        return malformed(vl2);
    }
    net = vl2_find(vl2, packet.network_id);
    if (net == NULL) {
        return no_network(vl2);
    }
    frame = (struct filter_frame){
        .source_mac = mac_of_member(net->id, in->source),
        .dest_mac = net->mac,
        .payload = packet.payload,
        .len = packet.len,
        .ethertype = packet.ethertype,
    };
    capture_begin(net, false, in->source, &frame);
    if (!member_gate(net, in, &member, now_ms)) {
        return gate_failed(net, in, now_ms);
    }
    if (packet.len > 0 &&
        switch_filter_in(net, &frame, in->source, member, now_ms) != FILTER_DROP) {
        deliver(net, frame.dest_mac, frame.source_mac, frame.ethertype, frame.payload, frame.len);
    }
    capture_end(vl2);
    member_publish(net, in->source, now_ms);
    return VL1_TRUST;
}

/* The checks of 8.4 step 7 for a frame the rules accept. Returns 1 deliver, 0 drop. */
static bool ext_accepts(struct network *net, const struct in_packet *in,
                        const struct filter_frame *frame, int64_t now_ms)
{
    if (frame->source_mac != mac_of_member(net->id, in->source)) {
        if (!network_is_bridge(net, in->source)) {
            vl2_count(net->vl2, COUNT_BRIDGE_SOURCE);
            return false;
        }
        bridge_learn(net, frame->source_mac, in->source, now_ms);
        return true;
    }
    if (frame->dest_mac == net->mac) {
        return true;
    }
    if (mac_is_multicast(frame->dest_mac)) {
        if (net->conf.multicast_limit == 0) {
            vl2_count(net->vl2, COUNT_MULTICAST_OFF);
        }
        return net->conf.multicast_limit != 0;
    }
    if (!net->is_bridge) {
        vl2_count(net->vl2, COUNT_BRIDGE_DEST);
    }
    return net->is_bridge;
}

static void acknowledge(struct network *net, const struct in_packet *in, int64_t now_ms)
{
    struct out_packet out;

    out_begin_ok(net->vl2->vl1, &out, in);
    wr_u64(&out.w, net->id);
    (void)out_reply(net->vl2->vl1, &out, in, 0, now_ms);
}

/* Did a frame to many, from who may have sent it, come round to this bridge? */
static bool is_loop_in(struct network *net, uint64_t from, const struct filter_frame *frame,
                       int64_t now_ms)
{
    return net->is_bridge && mac_is_multicast(frame->dest_mac) &&
           (frame->source_mac == mac_of_member(net->id, from) || network_is_bridge(net, from)) &&
           bridge_is_loop(net, false, frame, now_ms);
}

/* Handle the frame of an EXT_FRAME that passed the gate. Returns false if it must not be
 * acknowledged. */
static bool ext_frame(struct network *net, const struct in_packet *in, const struct member *member,
                      const struct filter_frame *frame, int64_t now_ms)
{
    enum filter_verdict verdict;

    if (frame->source_mac == 0 || frame->source_mac == net->mac) {
        vl2_count(net->vl2, COUNT_SOURCE_MAC);
        return false;
    }
    if (is_loop_in(net, in->source, frame, now_ms)) {
        return false;
    }
    verdict = switch_filter_in(net, frame, in->source, member, now_ms);
    if (verdict == FILTER_DROP) {
        return true;
    }
    if (verdict == FILTER_ACCEPT && !ext_accepts(net, in, frame, now_ms)) {
        return false;
    }
    deliver(net, frame->dest_mac, frame->source_mac, frame->ethertype, frame->payload, frame->len);
    return true;
}

enum vl1_verdict switch_ext_frame_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct ext_frame ext;
    struct filter_frame frame;
    struct member *member;
    struct network *net;
    struct com com;
    bool acknowledged = true;

    if (ext_frame_read(in->payload, &com, &ext) != 0) {
        return malformed(vl2);
    }
    net = vl2_find(vl2, ext.network_id);
    if (net == NULL) {
        return no_network(vl2);
    }
    if (ext.com != NULL) {
        credential_add_inline(net, ext.com, in->source, now_ms);
    }
    frame = (struct filter_frame){
        .source_mac = ext.source_mac,
        .dest_mac = ext.dest_mac,
        .payload = ext.payload,
        .len = ext.has_frame ? ext.len : 0,
        .ethertype = ext.ethertype,
    };
    capture_begin(net, false, in->source, &frame);
    if (!member_gate(net, in, &member, now_ms)) {
        return gate_failed(net, in, now_ms);
    }
    if (frame.len > 0) {
        acknowledged = ext_frame(net, in, member, &frame, now_ms);
    }
    capture_end(vl2);
    if (acknowledged && (ext.flags & EXT_FRAME_ACK) != 0) {
        acknowledge(net, in, now_ms);
    }
    member_publish(net, in->source, now_ms);
    return VL1_TRUST;
}

/* Steps 4 to 7 of 11.5. Returns false if the gather limit must not be answered. */
static bool multicast_frame(struct network *net, const struct in_packet *in,
                            const struct member *member, const struct multicast_frame *mf,
                            const struct filter_frame *frame, int64_t now_ms)
{
    if (!mac_is_multicast(frame->dest_mac) || frame->source_mac == 0 ||
        mac_is_multicast(frame->source_mac) || frame->source_mac == net->mac) {
        vl2_count(net->vl2, COUNT_MULTICAST_BAD);
        return false;
    }
    if (is_loop_in(net, in->source, frame, now_ms)) {
        return false;
    }
    if ((mf->flags & MULTICAST_REPLICATE) != 0 && net->is_replicator) {
        multicast_send(net, &mf->group, in->source, frame->source_mac, frame->ethertype,
                       frame->payload, frame->len, now_ms);
        member = member_find(net, in->source); /* asking many strangers may have evicted it */
    }
    if (frame->source_mac != mac_of_member(net->id, in->source)) {
        if (!network_is_bridge(net, in->source)) {
            vl2_count(net->vl2, COUNT_BRIDGE_SOURCE);
            return false;
        }
        bridge_learn(net, frame->source_mac, in->source, now_ms);
    }
    if (switch_filter_in(net, frame, in->source, member, now_ms) != FILTER_DROP) {
        deliver(net, frame->dest_mac, frame->source_mac, frame->ethertype, frame->payload,
                frame->len);
    }
    return true;
}

enum vl1_verdict switch_multicast_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct multicast_frame mf;
    struct filter_frame frame;
    struct member *member;
    struct network *net;
    struct com com;
    bool answer = true;

    if (multicast_frame_read(in->payload, &com, &mf) != 0) {
        return malformed(vl2);
    }
    net = vl2_find(vl2, mf.network_id);
    if (net == NULL) {
        return no_network(vl2);
    }
    if (mf.com != NULL) {
        credential_add_inline(net, mf.com, in->source, now_ms);
    }
    frame = (struct filter_frame){
        .source_mac = (mf.flags & MULTICAST_SOURCE_MAC) != 0 ? mf.source_mac
                                                             : mac_of_member(net->id, in->source),
        .dest_mac = mf.group.mac,
        .payload = mf.payload,
        .len = mf.len <= FRAME_PAYLOAD_MAX ? mf.len : 0,
        .ethertype = mf.ethertype,
    };
    capture_begin(net, false, in->source, &frame);
    if (!member_gate(net, in, &member, now_ms)) {
        return gate_failed(net, in, now_ms);
    }
    if (net->conf.multicast_limit == 0) {
        vl2_count(vl2, COUNT_MULTICAST_OFF);
        capture_end(vl2);
        return VL1_TRUST;
    }
    if (frame.len > 0) {
        answer = multicast_frame(net, in, member, &mf, &frame, now_ms);
    }
    capture_end(vl2);
    if (answer && mf.gather_limit > 0) {
        gather_answer_frame(vl2, in, &mf, now_ms);
    }
    return VL1_TRUST;
}
