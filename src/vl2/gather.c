/* Asking and answering for the members of multicast groups, and receiving announcements.
 * Source: spec 03 sections 11.3, 11.4 step 3, 11.6 and 11.7 with Do better 13, 16, 17. */
#include "vl2/vl2_priv.h"

#include "wire/vl1msg.h"

#include <errno.h>
#include <string.h>

enum {
    GATHER_ASKED_MAX = 16,   /* nodes asked at once */
    GATHER_RESULT_HEAD = 33, /* bytes of a result before the addresses */
    ADDRESS_LEN = 5,
    GATHER_LIMIT_MAX = 65535,
};

/* May this sender store and ask for groups of a network? A joined one: if it passes the gate; any:
 * if we are a root, or its controller and gave it a configuration lately. */
static bool authorized(struct vl2 *vl2, struct network *net, const struct in_packet *in,
                       uint64_t nwid, bool *ret_gate, int64_t now_ms)
{
    struct member *member;

    *ret_gate = net != NULL && member_gate(net, in, &member, now_ms);
    return *ret_gate || vl1_is_root(vl2->vl1) || controller_helps(vl2, nwid, in->source, now_ms);
}

enum vl1_verdict gather_like_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct rd payload = in->payload;
    struct multicast_like like;
    uint64_t nwid = 0;
    bool allowed = false;
    bool known = false;
    bool gate;
    int more;

    while ((more = multicast_like_next(&payload, &like)) == 1) {
        if (!known || like.network_id != nwid) {
            nwid = like.network_id;
            known = true;
            allowed = authorized(vl2, vl2_find(vl2, nwid), in, nwid, &gate, now_ms);
        }
        if (allowed) {
            group_learn(vl2, nwid, &like.group, in->source, now_ms);
        }
    }
    if (more < 0) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    return VL1_DONE;
}

/* ---- answering ---- */

/* Append ourselves and members of a group in random order, without the asker. Returns how many. */
static uint16_t append_members(struct vl2 *vl2, struct wr *w, const struct group *group,
                               bool with_self, uint64_t asker, uint32_t limit)
{
    size_t room = vl2_payload_limit(vl2, CREDENTIALS_PAYLOAD_MAX) - GATHER_RESULT_HEAD;
    size_t max = limit < room / ADDRESS_LEN ? limit : room / ADDRESS_LEN;
    size_t known = group != NULL ? group->count : 0;
    struct shuffle order = shuffle_init(vl2, known);
    uint16_t count = 0;

    if (with_self && max > 0) {
        wr_u40(w, vl2->self);
        count++;
    }
    for (size_t i = 0; i < known && count < max; i++) {
        uint64_t address = group->records[shuffle_at(&order, i)].address;

        if (address != asker) {
            wr_u40(w, address);
            count++;
        }
    }
    return count;
}

static void answer(struct vl2 *vl2, const struct in_packet *in, uint64_t nwid,
                   const struct multicast_group *id, uint32_t limit, int64_t now_ms)
{
    const struct network *net = vl2_find(vl2, nwid);
    struct group *group = group_find(vl2, nwid, id);
    bool with_self = net != NULL && announce_subscribed(net, id, now_ms);
    struct out_packet out;
    uint32_t total;
    uint16_t count;
    size_t mark;

    if (group != NULL) {
        group_trim(vl2, group, now_ms);
    }
    total = (uint32_t)(group != NULL ? group->count : 0) + (with_self ? 1 : 0);
    if (total == 0) {
        return;
    }
    limit = limit < GATHER_LIMIT_MAX ? limit : GATHER_LIMIT_MAX;
    out_begin_ok(vl2->vl1, &out, in);
    mark = in->verb == VERB_MULTICAST_GATHER ? gather_ok_write(&out.w, nwid, id, total)
                                             : multicast_frame_ok_write(&out.w, nwid, id, total);
    count = append_members(vl2, &out.w, group, with_self, in->source, limit);
    gather_result_count(&out.w, mark, count);
    if (count > 0) {
        (void)out_reply(vl2->vl1, &out, in, 0, now_ms);
    }
}

void gather_answer_frame(struct vl2 *vl2, const struct in_packet *in,
                         const struct multicast_frame *frame, int64_t now_ms)
{
    answer(vl2, in, frame->network_id, &frame->group, frame->gather_limit, now_ms);
}

enum vl1_verdict gather_request_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct multicast_gather gather;
    struct network *net;
    struct com com;
    bool gate;

    if (multicast_gather_read(in->payload, &com, &gather) != 0) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    net = vl2_find(vl2, gather.network_id);
    if (net != NULL && gather.com != NULL) {
        credential_add_inline(net, gather.com, in->source, now_ms);
    }
    if (authorized(vl2, net, in, gather.network_id, &gate, now_ms) && gather.limit > 0) {
        answer(vl2, in, gather.network_id, &gather.group, gather.limit, now_ms);
    }
    return gate ? VL1_TRUST : VL1_DONE;
}

/* ---- results ---- */

enum vl1_verdict gather_result_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct gather_result result;
    struct network *net;
    struct com com;
    int err = in->re_verb == VERB_MULTICAST_GATHER
                  ? gather_ok_read(in->payload, &result)
                  : multicast_frame_ok_read(in->payload, &com, &result);

    if (err != 0) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    net = vl2_find(vl2, result.network_id);
    if (net == NULL) {
        vl2_count(vl2, COUNT_NO_NETWORK);
        return VL1_DONE;
    }
    if (in->re_verb == VERB_MULTICAST_FRAME && result.com != NULL) {
        credential_add_inline(net, result.com, in->source, now_ms);
    }
    for (size_t i = 0; i < result.count; i++) {
        group_learn(vl2, net->id, &result.group, be40_get(result.addresses + i * ADDRESS_LEN),
                    now_ms);
    }
    return VL1_DONE;
}

enum vl1_verdict gather_unwanted_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct rd payload = in->payload;
    uint64_t nwid = rd_u64(&payload);
    struct multicast_group id;
    struct network *net;
    struct member *member;

    id.mac = mac_read(&payload);
    id.adi = rd_u32(&payload);
    if (payload.bad) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    net = vl2_find(vl2, nwid);
    if (net != NULL && member_gate(net, in, &member, now_ms)) {
        group_forget(vl2, nwid, &id, in->source);
    }
    return VL1_DONE;
}

/* ---- asking ---- */

static void ask(uint64_t *list, size_t *count, uint64_t self, uint64_t address)
{
    if (*count >= GATHER_ASKED_MAX || address == 0 || address == self ||
        address_is_reserved(address)) {
        return;
    }
    for (size_t i = 0; i < *count; i++) {
        if (list[i] == address) {
            return;
        }
    }
    list[(*count)++] = address;
}

void gather_ask(struct network *net, struct group *group, uint32_t limit, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    const struct multicast_gather gather = {
        .network_id = net->id,
        .group = group->id,
        .limit = limit,
        .com = net->conf.com,
        .flags = net->conf.com != NULL ? MULTICAST_COM : 0,
    };
    uint64_t list[GATHER_ASKED_MAX];
    struct shuffle order = shuffle_init(vl2, net->conf.specialist_count);
    struct out_packet out;
    size_t count = 0;

    ask(list, &count, vl2->self, vl1_best_upstream(vl2->vl1, now_ms));
    ask(list, &count, vl2->self, net->controller);
    for (size_t i = 0; i < net->conf.specialist_count; i++) {
        uint64_t s = net->conf.specialists[shuffle_at(&order, i)];
        uint64_t address = s & UINT64_C(0xffffffffff);

        if ((network_roles(net, address) & (SPECIALIST_ANCHOR | SPECIALIST_REPLICATOR)) != 0) {
            ask(list, &count, vl2->self, address);
        }
    }
    group->gathered_ms = now_ms;
    if (count == 0) {
        return;
    }
    out_begin(vl2->vl1, &out, list[0], VERB_MULTICAST_GATHER);
    multicast_gather_write(&out.w, &gather);
    for (size_t i = 0; i < count; i++) {
        out_redirect(&out, list[i]);
        vl2_send(vl2, &out, OUT_EXPECT, now_ms);
    }
}
