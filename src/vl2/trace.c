/* Remote traces: what a network's configuration asks to be told about, sent to whom it names:
 * decisions about frames (level 15 and above) and credentials that were rejected. Nothing is sent
 * without a target. A target is chosen by the controller, so the rate is bounded.
 * Source: spec 03 section 19; TRC-1. */
#include "vl2/vl2_priv.h"

#include "base/bucket.h"
#include "base/dict.h"
#include "wire/vl1msg.h"

#include <string.h>

enum {
    TRACE_RULES = 15,      /* level from which decisions about frames are told */
    TRACE_FRAME_MAX = 256, /* bytes of a frame told */
    TRACE_TEXT_MAX = 4096, /* 1280 bytes, all of them escaped, and the rest */
    TRACE_BURST = 256,     /* traces of a network at once */
    TRACE_EACH_MS = 5,     /* and one more */
};

static uint64_t target_of(const struct network *net)
{
    return net->has_conf && net->conf.trace_target != net->vl2->self ? net->conf.trace_target : 0;
}

bool trace_wants_frames(const struct network *net)
{
    return target_of(net) != 0 && net->conf.trace_level >= TRACE_RULES;
}

static void begin(struct dict_writer *d, char text[TRACE_TEXT_MAX], const struct network *net,
                  const char *event)
{
    *d = dict_writer_init(text, TRACE_TEXT_MAX);
    dict_put_text(d, "event", event);
    dict_put_u64(d, "networkId", net->id);
}

static void send(struct network *net, const struct dict_writer *d, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    struct out_packet out;

    if (d->bad || !bucket_take(&net->trace_credit_ms, TRACE_BURST, TRACE_EACH_MS, now_ms)) {
        return;
    }
    out_begin(vl2->vl1, &out, target_of(net), VERB_REMOTE_TRACE);
    remote_trace_write(&out.w, d->text, d->len);
    vl2_send(vl2, &out, OUT_COMPRESS, now_ms);
}

void trace_filter(struct network *net, const struct filter_input *in, bool is_inbound,
                  const struct filter_result *result, int64_t now_ms)
{
    const struct filter_frame *frame = in->frame;
    char text[TRACE_TEXT_MAX];
    struct dict_writer d;

    if (in->log == NULL) {
        return;
    }
    begin(&d, text, net, "2006");
    dict_put_u64(&d, "sourceZtAddr", in->source);
    dict_put_u64(&d, "destZtAddr", in->dest);
    dict_put_u64(&d, "sourceMac", frame->source_mac);
    dict_put_u64(&d, "destMac", frame->dest_mac);
    dict_put_u64(&d, "etherType", frame->ethertype);
    dict_put_u64(&d, "vlanId", 0);
    dict_put_bool(&d, "filterNoTee", in->no_tee);
    dict_put_bool(&d, "filterInbound", is_inbound);
    dict_put_u64(&d, "filterResult", (uint64_t)result->verdict);
    dict_put(&d, "filterBaseRuleLog", in->log->base, sizeof(in->log->base));
    if (result->by_capability) {
        dict_put(&d, "filterCapRuleLog", in->log->capability, sizeof(in->log->capability));
        dict_put_u64(&d, "filterMatchingCapId", result->capability_id);
    }
    dict_put_u64(&d, "frameLength", frame->len);
    dict_put(&d, "frameData", frame->payload,
             frame->len < TRACE_FRAME_MAX ? frame->len : TRACE_FRAME_MAX);
    send(net, &d, now_ms);
}

/* What the trace of a rejected credential says. */
struct rejected {
    uint64_t id;
    uint64_t timestamp;
    uint64_t holder;
    uint64_t newest; /* timestamp of the one that is held in its place, 0 none */
};

static uint64_t held_timestamp(const struct network *net, const struct credential *item,
                               uint64_t holder)
{
    const struct member *m = member_find(net, holder);

    if (m == NULL) {
        return 0;
    }
    if (item->type == CREDENTIAL_COM && m->com != NULL) {
        return com_value(m->com, COM_TIMESTAMP);
    }
    for (size_t i = 0; item->type == CREDENTIAL_TAG && i < m->creds.tag_count; i++) {
        if (m->tags[i].id == item->tag.id) {
            return m->tags[i].timestamp;
        }
    }
    for (size_t i = 0; item->type == CREDENTIAL_OWNERSHIP && i < m->creds.ownership_count; i++) {
        if (m->ownership_of[i]->id == item->ownership.id) {
            return m->ownership_of[i]->timestamp;
        }
    }
    for (size_t i = 0; item->type == CREDENTIAL_CAPABILITY && i < m->creds.capability_count; i++) {
        if (m->capability_of[i]->id == item->capability->id) {
            return m->capability_of[i]->timestamp;
        }
    }
    return 0;
}

static struct rejected look(const struct network *net, const struct credential *item)
{
    struct rejected r = {0};

    switch (item->type) {
    case CREDENTIAL_COM:
        r = (struct rejected){.timestamp = com_value(&item->com, COM_TIMESTAMP),
                              .holder = com_value(&item->com, COM_HOLDER)};
        break;
    case CREDENTIAL_CAPABILITY:
        r = (struct rejected){.id = item->capability->id,
                              .timestamp = item->capability->timestamp,
                              .holder = capability_holder(item->capability)};
        break;
    case CREDENTIAL_TAG:
        r = (struct rejected){item->tag.id, item->tag.timestamp, item->tag.holder, 0};
        break;
    case CREDENTIAL_OWNERSHIP:
        r = (struct rejected){item->ownership.id, item->ownership.timestamp, item->ownership.holder,
                              0};
        break;
    default:
        r.id = item->revocation.id;
        break;
    }
    r.newest = held_timestamp(net, item, r.holder);
    return r;
}

/* Why, as far as can be told afterwards. */
static const char *reason(const struct network *net, const struct credential *item,
                          const struct rejected *r)
{
    uint64_t revoked;

    if (item->type == CREDENTIAL_REVOCATION) {
        return "invalid";
    }
    revoked = revocation_threshold(net, r->holder, (uint8_t)item->type, (uint32_t)r->id);
    if (revoked != 0 && revoked >= r->timestamp) {
        return "revoked";
    }
    return r->newest > r->timestamp ? "old" : "invalid";
}

void trace_rejected(struct network *net, const struct credential *item, int64_t now_ms)
{
    char text[TRACE_TEXT_MAX];
    struct dict_writer d;
    struct rejected r;

    if (target_of(net) == 0) {
        return;
    }
    r = look(net, item);
    begin(&d, text, net, "2003");
    dict_put_u64(&d, "credType", (uint64_t)item->type);
    dict_put_u64(&d, "credId", r.id);
    if (item->type == CREDENTIAL_REVOCATION) {
        dict_put_u64(&d, "credRevocationTarget", item->revocation.target);
    } else {
        dict_put_u64(&d, "credTs", r.timestamp);
        dict_put_u64(&d, "credIssuedTo", r.holder);
    }
    if (item->type == CREDENTIAL_TAG) {
        dict_put_u64(&d, "credInfo", item->tag.value);
    }
    dict_put_text(&d, "reason", reason(net, item, &r));
    send(net, &d, now_ms);
}
