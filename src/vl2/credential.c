/* Credentials of other members: verified, kept, revoked. Nothing unverified is stored.
 * Source: spec 03 sections 7.2 and 7.6 with Do better 5, 6, 7, 10, 11. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- growing arrays ---- */

/* Make room for one more element of size bytes at index at of an array of count. Arrays grow in
 * steps of four. Returns 0; -ENOMEM. */
static int open_gap(void *array_at, size_t size, size_t count, size_t at)
{
    void *array;

    memcpy(&array, array_at, sizeof(array));
    if (count % 4 == 0) {
        array = realloc(array, (count + 4) * size);
        if (array == NULL) {
            return -ENOMEM;
        }
        memcpy(array_at, &array, sizeof(array));
    }
    memmove((char *)array + (at + 1) * size, (char *)array + at * size, (count - at) * size);
    return 0;
}

static void close_gap(void *array, size_t size, size_t count, size_t at)
{
    memmove((char *)array + at * size, (char *)array + (at + 1) * size, (count - at - 1) * size);
}

static void show_arrays(struct member *m)
{
    m->creds.tags = m->tags;
    m->creds.ownerships = m->ownerships;
    m->creds.capabilities = m->capabilities;
}

/* ---- signers ---- */

/* Identity of a signer. Returns 0 with *ret borrowed until the next input; -EAGAIN not known or not
 * checked yet, which is under way; -EACCES nothing can make it valid. */
static int find_signer(struct network *net, uint64_t signer, const struct identity **ret,
                       int64_t now_ms)
{
    struct vl1 *vl1 = net->vl2->vl1;
    struct peer *peer;

    if (signer == 0) {
        return -EACCES;
    }
    if (signer == net->vl2->self) {
        *ret = vl1_identity(vl1);
        return 0;
    }
    peer = vl1_peer_find(vl1, signer, now_ms);
    if (peer == NULL) {
        vl1_whois(vl1, signer, now_ms);
        return -EAGAIN;
    }
    if (!vl1_peer_is_validated(vl1, peer, now_ms)) {
        return -EAGAIN;
    }
    *ret = peer_identity(peer);
    return 0;
}

static enum add_result of_error(int err)
{
    return err == -EAGAIN ? ADD_LATER : ADD_REJECTED;
}

/* ---- certificates of membership ---- */

enum add_result credential_add_com(struct network *net, const struct com *com, uint64_t source,
                                   int64_t now_ms)
{
    uint64_t holder = com_value(com, COM_HOLDER);
    uint64_t timestamp = com_value(com, COM_TIMESTAMP);
    struct member *m = member_find(net, holder);
    const struct identity *signer;
    struct com *copy;
    int err;

    if (com_value(com, COM_NETWORK) != net->id || holder == 0 ||
        timestamp <= revocation_threshold(net, holder, CREDENTIAL_COM, 0)) {
        return ADD_REJECTED;
    }
    if (m != NULL && m->com != NULL) {
        if (timestamp < com_value(m->com, COM_TIMESTAMP)) {
            return ADD_REJECTED;
        }
        if (com_equal(com, m->com)) {
            return ADD_REDUNDANT;
        }
    }
    err = find_signer(net, com_signer(com), &signer, now_ms);
    if (err == 0) {
        err = com_verify(com, signer);
    }
    if (err != 0) {
        return of_error(err);
    }
    m = member_get(net, holder, now_ms);
    copy = malloc(sizeof(*copy));
    if (m == NULL || copy == NULL) {
        free(copy);
        return ADD_REJECTED;
    }
    *copy = *com;
    free(m->com);
    m->com = copy;
    m->judged = 0;
    member_touch(m, now_ms);
    if (member_allowed(net, m, NULL, now_ms)) {
        m->last_solicit_ms = NEVER;
        multicast_allowed(net, holder, now_ms);
        if (holder != source) {
            vl1_retry_from(net->vl2->vl1, holder, now_ms);
        }
    } else {
        member_withdraw(net, holder);
    }
    return ADD_NEW;
}

void credential_add_inline(struct network *net, const struct com *com, uint64_t source,
                           int64_t now_ms)
{
    struct rate_gate *gate = &net->vl2->forger_gate;

    if (!rate_gate_is_recent(gate, source, BAD_SIGNATURE_MS, now_ms) &&
        credential_add_com(net, com, source, now_ms) == ADD_REJECTED) {
        (void)rate_gate_pass(gate, source, BAD_SIGNATURE_MS, now_ms);
    }
}

/* ---- tags ---- */

enum add_result credential_add_tag(struct network *net, const struct tag *tag, int64_t now_ms)
{
    struct member *m = member_find(net, tag->holder);
    uint64_t revoked = revocation_threshold(net, tag->holder, CREDENTIAL_TAG, tag->id);
    struct filter_tag new = {tag->timestamp, revoked, tag->id, tag->value};
    struct filter_tag *old = NULL;
    const struct identity *signer;
    int err;

    for (size_t i = 0; m != NULL && i < m->creds.tag_count; i++) {
        old = m->tags[i].id == tag->id ? &m->tags[i] : old;
    }
    if (old != NULL && tag->timestamp < old->timestamp) {
        return ADD_REJECTED;
    }
    if (old != NULL && tag->timestamp == old->timestamp && tag->value == old->value) {
        return ADD_REDUNDANT;
    }
    if (tag->network_id != net->id || (revoked != 0 && revoked >= tag->timestamp)) {
        return ADD_REJECTED;
    }
    err = find_signer(net, tag_signer(tag), &signer, now_ms);
    if (err == 0) {
        err = tag_verify(tag, signer);
    }
    if (err != 0) {
        return of_error(err);
    }
    member_withdraw(net, tag->holder);
    if (old != NULL) {
        *old = new;
        return ADD_NEW;
    }
    m = member_get(net, tag->holder, now_ms);
    if (m == NULL || m->creds.tag_count >= TAGS_MAX ||
        open_gap(&m->tags, sizeof(*m->tags), m->creds.tag_count, m->creds.tag_count) != 0) {
        return ADD_REJECTED;
    }
    m->tags[m->creds.tag_count++] = new;
    show_arrays(m);
    return ADD_NEW;
}

/* ---- certificates of ownership ---- */

static int store_ownership(struct member *m, const struct ownership *own, uint64_t revoked,
                           size_t at)
{
    struct ownership *copy;
    size_t count = m->creds.ownership_count;

    if (at == count && count >= OWNERSHIPS_MAX) {
        return -ENOSPC;
    }
    copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return -ENOMEM;
    }
    *copy = *own;
    if (at == count) {
        if (open_gap(&m->ownership_of, sizeof(struct ownership *), count, at) != 0 ||
            open_gap(&m->ownerships, sizeof(*m->ownerships), count, at) != 0) {
            free(copy);
            return -ENOMEM;
        }
        m->creds.ownership_count++;
        show_arrays(m);
    } else {
        free(m->ownership_of[at]);
    }
    m->ownership_of[at] = copy;
    m->ownerships[at] = (struct filter_ownership){
        .timestamp = own->timestamp,
        .revoked = revoked,
        .things = copy->things,
        .count = copy->count,
    };
    return 0;
}

enum add_result credential_add_ownership(struct network *net, const struct ownership *own,
                                         int64_t now_ms)
{
    struct member *m = member_find(net, own->holder);
    uint64_t revoked = revocation_threshold(net, own->holder, CREDENTIAL_OWNERSHIP, own->id);
    const struct identity *signer;
    size_t at = 0;
    int err;

    while (m != NULL && at < m->creds.ownership_count && m->ownership_of[at]->id != own->id) {
        at++;
    }
    if (m != NULL && at < m->creds.ownership_count) {
        if (own->timestamp < m->ownership_of[at]->timestamp) {
            return ADD_REJECTED;
        }
        if (ownership_equal(own, m->ownership_of[at])) {
            return ADD_REDUNDANT;
        }
    }
    if (own->network_id != net->id || (revoked != 0 && revoked >= own->timestamp)) {
        return ADD_REJECTED;
    }
    err = find_signer(net, ownership_signer(own), &signer, now_ms);
    if (err == 0) {
        err = ownership_verify(own, signer);
    }
    if (err != 0) {
        return of_error(err);
    }
    member_withdraw(net, own->holder);
    if (m == NULL) {
        m = member_get(net, own->holder, now_ms);
        at = 0;
    }
    return m != NULL && store_ownership(m, own, revoked, at) == 0 ? ADD_NEW : ADD_REJECTED;
}

/* ---- capabilities ---- */

static int store_capability(struct member *m, struct capability *cap, uint64_t revoked, size_t at,
                            bool replace)
{
    size_t count = m->creds.capability_count;

    if (replace) {
        capability_free(m->capability_of[at]);
    } else {
        if (count >= CAPABILITIES_MAX) {
            return -ENOSPC;
        }
        if (open_gap(&m->capability_of, sizeof(struct capability *), count, at) != 0) {
            return -ENOMEM;
        }
        if (open_gap(&m->capabilities, sizeof(*m->capabilities), count, at) != 0) {
            close_gap(m->capability_of, sizeof(struct capability *), count + 1, at);
            return -ENOMEM;
        }
        m->creds.capability_count++;
        show_arrays(m);
    }
    m->capability_of[at] = cap;
    m->capabilities[at] = (struct filter_capability){
        .timestamp = cap->timestamp,
        .revoked = revoked,
        .rules = cap->rules,
        .id = cap->id,
        .rule_count = cap->rule_count,
    };
    return 0;
}

static int verify_capability(struct network *net, const struct capability *cap, int64_t now_ms)
{
    const struct identity *signer;
    int err = find_signer(net, capability_signer(cap, 0), &signer, now_ms);

    return err != 0 ? err : capability_verify(cap, 0, signer);
}

enum add_result credential_add_capability(struct network *net, struct capability *cap,
                                          uint64_t source, int64_t now_ms)
{
    uint64_t holder = capability_holder(cap);
    struct member *m = member_find(net, holder);
    uint64_t revoked = revocation_threshold(net, holder, CREDENTIAL_CAPABILITY, cap->id);
    bool replace = false;
    size_t at = 0;
    int err;

    /* `to` is not signed: take it from its holder only, and no chains (Do better 10). */
    if (cap->network_id != net->id || holder == 0 || holder != source || cap->link_count != 1) {
        return ADD_REJECTED;
    }
    while (m != NULL && at < m->creds.capability_count && m->capability_of[at]->id < cap->id) {
        at++;
    }
    if (m != NULL && at < m->creds.capability_count && m->capability_of[at]->id == cap->id) {
        if (cap->timestamp < m->capability_of[at]->timestamp) {
            return ADD_REJECTED;
        }
        if (capability_equal(cap, m->capability_of[at])) {
            return ADD_REDUNDANT;
        }
        replace = true;
    }
    if (revoked != 0 && revoked >= cap->timestamp) {
        return ADD_REJECTED;
    }
    err = verify_capability(net, cap, now_ms);
    if (err != 0) {
        return of_error(err);
    }
    member_withdraw(net, holder);
    if (m == NULL) {
        m = member_get(net, holder, now_ms);
    }
    return m != NULL && store_capability(m, cap, revoked, at, replace) == 0 ? ADD_NEW
                                                                            : ADD_REJECTED;
}

/* ---- revocations ---- */

/* A threshold was raised: show it to the evaluator. */
static void raise_thresholds(struct network *net, const struct revocation *rev)
{
    struct member *m = member_find(net, rev->target);

    member_withdraw(net, rev->target);
    if (m != NULL && rev->type == CREDENTIAL_COM) {
        m->judged = 0;
    }
    for (size_t i = 0; m != NULL && rev->type == CREDENTIAL_TAG && i < m->creds.tag_count; i++) {
        if (m->tags[i].id == rev->credential_id) {
            m->tags[i].revoked = rev->threshold;
        }
    }
    for (size_t i = 0;
         m != NULL && rev->type == CREDENTIAL_OWNERSHIP && i < m->creds.ownership_count; i++) {
        if (m->ownership_of[i]->id == rev->credential_id) {
            m->ownerships[i].revoked = rev->threshold;
        }
    }
    for (size_t i = 0;
         m != NULL && rev->type == CREDENTIAL_CAPABILITY && i < m->creds.capability_count; i++) {
        if (m->capability_of[i]->id == rev->credential_id) {
            m->capabilities[i].revoked = rev->threshold;
        }
    }
}

static void spread(struct network *net, const struct revocation *rev, uint64_t source,
                   int64_t now_ms)
{
    for (struct hmap_node *n = hmap_each(&net->members, NULL); n != NULL;
         n = hmap_each(&net->members, n)) {
        if (n->key != source && n->key != rev->signer && n->key != rev->target) {
            (void)push_revocations(net->vl2, n->key, rev, 1, now_ms);
        }
    }
}

enum add_result credential_add_revocation(struct network *net, const struct revocation *rev,
                                          uint64_t source, int64_t now_ms)
{
    const struct identity *signer;
    int err;

    if (rev->network_id != net->id || rev->type < CREDENTIAL_COM ||
        rev->type > CREDENTIAL_OWNERSHIP) {
        return ADD_REJECTED;
    }
    if (revocation_is_spent(net, rev) ||
        revocation_threshold(net, rev->target, rev->type, rev->credential_id) >= rev->threshold) {
        return ADD_REDUNDANT;
    }
    err = find_signer(net, revocation_signer(rev), &signer, now_ms);
    if (err == 0) {
        err = revocation_verify(rev, signer);
    }
    if (err != 0) {
        return of_error(err);
    }
    if (revocation_keep(net, rev) < 0) {
        return ADD_REJECTED;
    }
    revocations_store(net);
    raise_thresholds(net, rev);
    /* One that there is no room for would come back from the others, again and again. */
    if ((rev->flags & REVOCATION_FAST) != 0 && source != net->vl2->self &&
        revocation_threshold(net, rev->target, rev->type, rev->credential_id) >= rev->threshold) {
        spread(net, rev, source, now_ms);
    }
    if (rev->type == CREDENTIAL_COM && rev->target == net->vl2->self) {
        network_ask_anew(net, now_ms); /* others have shut us out: learn why */
    }
    return ADD_NEW;
}

/* ---- packets ---- */

static uint64_t network_of(const struct credential *item)
{
    uint64_t nwid = 0;

    switch (item->type) {
    case CREDENTIAL_COM:
        nwid = com_value(&item->com, COM_NETWORK);
        break;
    case CREDENTIAL_CAPABILITY:
        nwid = item->capability->network_id;
        break;
    case CREDENTIAL_TAG:
        nwid = item->tag.network_id;
        break;
    case CREDENTIAL_OWNERSHIP:
        nwid = item->ownership.network_id;
        break;
    case CREDENTIAL_REVOCATION:
        nwid = item->revocation.network_id;
        break;
    default:
        break;
    }
    return nwid;
}

static enum add_result add_to(struct network *net, struct credential *item, uint64_t source,
                              int64_t now_ms)
{
    if (net == NULL || net->controller == 0) {
        return ADD_REJECTED;
    }
    switch (item->type) {
    case CREDENTIAL_COM:
        return credential_add_com(net, &item->com, source, now_ms);
    case CREDENTIAL_CAPABILITY:
        return credential_add_capability(net, item->capability, source, now_ms);
    case CREDENTIAL_TAG:
        return credential_add_tag(net, &item->tag, now_ms);
    case CREDENTIAL_OWNERSHIP:
        return credential_add_ownership(net, &item->ownership, now_ms);
    default:
        return credential_add_revocation(net, &item->revocation, source, now_ms);
    }
}

static enum add_result add_item(struct vl2 *vl2, struct credential *item, uint64_t source,
                                int64_t now_ms)
{
    struct network *net = vl2_find(vl2, network_of(item));
    enum add_result result = add_to(net, item, source, now_ms);

    if (result == ADD_REJECTED && net != NULL) {
        trace_rejected(net, item, now_ms);
    }
    return result;
}

/* Tags and revocations that tell nothing new were not verified: anybody can make such. */
static bool is_proof(enum credential_type type, enum add_result result)
{
    return result == ADD_NEW ||
           (result == ADD_REDUNDANT && type != CREDENTIAL_TAG && type != CREDENTIAL_REVOCATION);
}

enum vl1_verdict credentials_packet(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct credentials_reader reader = credentials_reader_init(in->payload);
    struct credential item;
    bool accepted = false;
    int more;

    /* A packet that waited for an identity has passed this gate before (Do better 11). */
    if (!in->retry && !rate_gate_pass(&vl2->credentials_gate, hash_mix(in->source, vl2->joins),
                                      CREDENTIALS_GATE_MS, now_ms)) {
        vl2_count(vl2, COUNT_CREDENTIALS_RATE);
        return VL1_DROP;
    }
    while ((more = credentials_next(&reader, &item)) == 1) {
        enum add_result result = add_item(vl2, &item, in->source, now_ms);

        if (item.type == CREDENTIAL_CAPABILITY && result != ADD_NEW) {
            capability_free(item.capability);
        }
        if (result == ADD_LATER) {
            return VL1_LATER;
        }
        if (result == ADD_REJECTED) {
            vl2_count(vl2, COUNT_CREDENTIAL_REJECTED);
        } else {
            accepted = accepted || is_proof(item.type, result);
        }
    }
    if (more < 0) {
        vl2_count(vl2, COUNT_MALFORMED);
    }
    if (accepted) {
        return VL1_TRUST;
    }
    return more < 0 ? VL1_DROP : VL1_DONE;
}

/* ---- cleaning ---- */

static bool is_past(const struct network *net, uint64_t timestamp)
{
    return net->has_conf && timestamp < net->conf.timestamp &&
           net->conf.timestamp - timestamp > net->conf.window;
}

void credentials_purge(struct member *member)
{
    struct network *net = member->network;
    struct filter_credentials *c = &member->creds;

    for (size_t i = c->tag_count; i-- > 0;) {
        if (is_past(net, member->tags[i].timestamp)) {
            close_gap(member->tags, sizeof(*member->tags), c->tag_count--, i);
        }
    }
    for (size_t i = c->ownership_count; i-- > 0;) {
        if (is_past(net, member->ownerships[i].timestamp)) {
            free(member->ownership_of[i]);
            close_gap(member->ownership_of, sizeof(struct ownership *), c->ownership_count, i);
            close_gap(member->ownerships, sizeof(*member->ownerships), c->ownership_count--, i);
        }
    }
    for (size_t i = c->capability_count; i-- > 0;) {
        if (is_past(net, member->capabilities[i].timestamp)) {
            capability_free(member->capability_of[i]);
            close_gap(member->capability_of, sizeof(struct capability *), c->capability_count, i);
            close_gap(member->capabilities, sizeof(*member->capabilities), c->capability_count--,
                      i);
        }
    }
}
