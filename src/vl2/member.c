/* Records of other members and the question whether they are allowed.
 * Source: spec 03 sections 7.1, 7.3 and 7.4 with Do better 5, 12, 14, 15. */
#include "vl2/vl2_priv.h"

#include "wire/vl1msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LRU_STEP_MS = 1000,      /* the order of use is kept with this precision */
    EVICT_LOOK = 64,         /* records looked at to find one that is not allowed */
    SOLICIT_FIRST_MS = 1000, /* pauses between two questions to a silent peer */
    SOLICIT_LAST_MS = 64000,
};

struct member *member_find(const struct network *net, uint64_t address)
{
    struct hmap_node *n = hmap_find(&net->members, address);

    return n != NULL ? CONTAINER_OF(n, struct member, node) : NULL;
}

bool member_exists(const struct network *net, uint64_t address)
{
    const struct member *m = member_find(net, address);

    return m != NULL && (m->com != NULL || m->heard);
}

static struct member *of_lru(struct list *link)
{
    return CONTAINER_OF(link, struct member, lru);
}

/* Make room: the least recently used record that is not allowed, else the least recently used. */
static void evict(struct network *net)
{
    struct list *it;
    struct list *tmp;
    unsigned looked = 0;

    LIST_EACH(&net->lru, it, tmp)
    {
        struct member *m = of_lru(it);

        if (m->judged != net->generation || !m->allowed) {
            member_free(m);
            return;
        }
        if (++looked == EVICT_LOOK) {
            break;
        }
    }
    member_free(of_lru(list_first(&net->lru)));
}

struct member *member_get(struct network *net, uint64_t address, int64_t now_ms)
{
    struct member *m = member_find(net, address);

    if (m != NULL) {
        return m;
    }
    if (net->members.count >= MEMBERS_MAX) {
        evict(net);
    }
    m = calloc(1, sizeof(*m));
    if (m == NULL || hmap_insert(&net->members, &m->node, address) != 0) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
        free(m);
        return NULL;
    }
    m->network = net;
    m->last_push_ms = m->last_announce_ms = m->last_solicit_ms = NEVER;
    m->last_used_ms = now_ms;
    list_push(&net->lru, &m->lru);
    return m;
}

void member_touch(struct member *member, int64_t now_ms)
{
    if (now_ms - member->last_used_ms >= LRU_STEP_MS) {
        member->last_used_ms = now_ms;
        list_remove(&member->lru);
        list_push(&member->network->lru, &member->lru);
    }
}

static void free_credentials(struct member *m)
{
    for (size_t i = 0; i < m->creds.capability_count; i++) {
        capability_free(m->capability_of[i]);
    }
    for (size_t i = 0; i < m->creds.ownership_count; i++) {
        free(m->ownership_of[i]);
    }
    free(m->capability_of);
    free(m->capabilities);
    free(m->ownership_of);
    free(m->ownerships);
    free(m->tags);
}

void member_free(struct member *member)
{
    member_withdraw(member->network, member->node.key);
    hmap_remove(&member->network->members, &member->node);
    list_remove(&member->lru);
    free_credentials(member);
    free(member->com);
    free(member);
}

void members_clear(struct network *net)
{
    struct list *link;

    while ((link = list_first(&net->lru)) != NULL) {
        member_free(of_lru(link));
    }
    hmap_done(&net->members);
}

void members_clean(struct network *net, int64_t now_ms)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&net->lru, it, tmp)
    {
        struct member *m = of_lru(it);

        if (now_ms - m->last_used_ms >= MEMBER_IDLE_MS) {
            member_free(m);
        } else {
            credentials_purge(m);
        }
    }
}

/* ---- access ---- */

static bool com_allows(const struct network *net, const struct member *m,
                       const struct identity *identity)
{
    uint64_t timestamp = com_value(m->com, COM_TIMESTAMP);

    return timestamp > revocation_threshold(net, m->node.key, CREDENTIAL_COM, 0) &&
           com_agrees(net->conf.com, m->com, identity);
}

bool member_allowed(struct network *net, struct member *member, const struct identity *identity,
                    int64_t now_ms)
{
    if (!net->has_conf) {
        return false;
    }
    if (net->is_public) {
        return true;
    }
    if (member == NULL || member->com == NULL || net->conf.com == NULL) {
        return false;
    }
    if (member->judged == net->generation) {
        return member->allowed;
    }
    if (identity == NULL) {
        struct peer *peer = vl1_peer_find(net->vl2->vl1, member->node.key, now_ms);

        if (peer == NULL) {
            vl1_whois(net->vl2->vl1, member->node.key, now_ms);
            return false;
        }
        identity = peer_identity(peer);
    }
    member->judged = net->generation;
    member->allowed = com_allows(net, member, identity);
    return member->allowed;
}

bool member_refused(struct network *net, struct member *member, int64_t now_ms)
{
    if (net->is_public || member == NULL || member->com == NULL || net->conf.com == NULL) {
        return false;
    }
    if (member->judged == net->generation) {
        return !member->allowed;
    }
    return !member_allowed(net, member, NULL, now_ms) && member->judged == net->generation;
}

bool member_gate(struct network *net, const struct in_packet *in, struct member **ret_member,
                 int64_t now_ms)
{
    struct member *m = member_find(net, in->source);

    if (!member_allowed(net, m, in->identity, now_ms)) {
        return false;
    }
    if (m == NULL) { /* public network: remember when groups were announced */
        m = member_get(net, in->source, now_ms);
    }
    if (m != NULL) {
        m->heard = true;
        member_touch(m, now_ms);
        announce_to_member(m, now_ms);
    }
    *ret_member = m;
    return true;
}

enum vl1_verdict member_gate_failed(struct network *net, const struct in_packet *in, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    struct out_packet out;

    if (!net->has_conf) { /* nothing to judge by yet */
        vl2_count(vl2, COUNT_NO_CONFIG);
        return VL1_LATER;
    }
    vl2_count(vl2, COUNT_NOT_MEMBER);
    net->frames.in[0]++;
    if (rate_gate_pass(&vl2->need_com_gate, hash_mix(net->id, vl2->seed + vl2->joins) ^ in->source,
                       NEED_COM_MS, now_ms)) {
        out_begin_error(vl2->vl1, &out, in, ERROR_NEED_MEMBERSHIP_CERTIFICATE);
        wr_u64(&out.w, net->id);
        (void)out_reply(vl2->vl1, &out, in, 0, now_ms);
    }
    return VL1_LATER;
}

void member_solicit(struct network *net, uint64_t address, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    struct member *m = member_get(net, address, now_ms);
    struct error_msg error = {
        .head = {.verb = VERB_MULTICAST_FRAME, .id = 0},
        .code = ERROR_NEED_MEMBERSHIP_CERTIFICATE,
        .network_id = net->id,
    };
    struct out_packet out;

    if (m == NULL || (m->last_solicit_ms != NEVER &&
                      now_ms - m->last_solicit_ms < (int64_t)m->solicit_wait_ms)) {
        return;
    }
    if (m->last_solicit_ms == NEVER) {
        m->solicit_wait_ms = SOLICIT_FIRST_MS;
    } else if (m->solicit_wait_ms < SOLICIT_LAST_MS) {
        m->solicit_wait_ms *= 2;
    }
    m->last_solicit_ms = now_ms;
    (void)push_if_due(net, m, address, now_ms);
    out_begin(vl2->vl1, &out, address, VERB_ERROR);
    error_encode(&out.w, &error);
    vl2_send(vl2, &out, 0, now_ms);
}
