/* The groups we belong to and their announcement to those who answer for them and to members.
 * Source: spec 03 sections 11.2 and 12 with Do better 17, 19, 20, 31. */
#include "vl2/vl2_priv.h"

#include "vl2/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    UPSTREAMS_MAX = 512, /* planet and moons */
};

static int group_cmp(const void *a, const void *b)
{
    const struct multicast_group *x = a;
    const struct multicast_group *y = b;

    if (x->mac != y->mac) {
        return x->mac < y->mac ? -1 : 1;
    }
    return x->adi < y->adi ? -1 : x->adi > y->adi;
}

/* Sort and drop duplicates; returns the new count. */
static size_t normalise(struct multicast_group *groups, size_t count)
{
    size_t kept = 0;

    if (count > 1) {
        qsort(groups, count, sizeof(*groups), group_cmp);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || group_cmp(&groups[kept - 1], &groups[i]) != 0) {
            groups[kept++] = groups[i];
        }
    }
    return kept;
}

static void expire_behind(struct network *net, int64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < net->behind_count; i++) {
        if (now_ms - net->behind[i].seen_ms < BEHIND_MS) {
            net->behind[kept++] = net->behind[i];
        }
    }
    net->behind_count = kept;
}

ssize_t announce_groups(struct network *net, struct multicast_group **ret, int64_t now_ms)
{
    struct multicast_group *groups;
    size_t count = net->group_count;

    expire_behind(net, now_ms);
    groups = malloc((net->group_count + net->behind_count + 1) * sizeof(*groups));
    if (groups == NULL) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
        return -ENOMEM;
    }
    if (count > 0) {
        memcpy(groups, net->groups, count * sizeof(*groups));
    }
    for (size_t i = 0; net->is_bridge && i < net->behind_count; i++) {
        groups[count++] = net->behind[i].group;
    }
    if (net->has_conf && (net->conf.flags & NETCONF_FLAG_BROADCAST) != 0) {
        groups[count++] = (struct multicast_group){.mac = MAC_BROADCAST};
    }
    *ret = groups;
    return (ssize_t)normalise(groups, count);
}

bool announce_subscribed(const struct network *net, const struct multicast_group *id,
                         int64_t now_ms)
{
    if (net->group_count > 0 &&
        bsearch(id, net->groups, net->group_count, sizeof(*id), group_cmp) != NULL) {
        return true;
    }
    for (size_t i = 0; i < net->behind_count; i++) {
        if (group_cmp(&net->behind[i].group, id) == 0) {
            return now_ms - net->behind[i].seen_ms < BEHIND_MS;
        }
    }
    return false;
}

/* ---- sending ---- */

/* Send count groups to each of n recipients, in as many packets as needed. */
static void send_likes(struct network *net, const struct multicast_group *groups, size_t count,
                       const uint64_t *to, size_t n, int64_t now_ms)
{
    size_t per_packet =
        vl2_payload_limit(net->vl2, (size_t)MULTICAST_LIKES_MAX * MULTICAST_LIKE_LEN) /
        MULTICAST_LIKE_LEN;
    struct out_packet out;

    for (size_t first = 0; n > 0 && first < count; first += per_packet) {
        out_begin(net->vl2->vl1, &out, to[0], VERB_MULTICAST_LIKE);
        for (size_t i = first; i < count && i - first < per_packet; i++) {
            const struct multicast_like like = {net->id, groups[i]};

            multicast_like_write(&out.w, &like);
        }
        for (size_t i = 0; i < n; i++) {
            out_redirect(&out, to[i]);
            vl2_send(net->vl2, &out, OUT_COMPRESS, now_ms);
        }
    }
}

static void add(uint64_t *list, size_t *count, uint64_t address)
{
    for (size_t i = 0; i < *count; i++) {
        if (list[i] == address) {
            return;
        }
    }
    list[(*count)++] = address;
}

/* Those who answer for groups: controller, roots, anchors and replicators. list has room for
 * UPSTREAMS_MAX + NETCONF_SPECIALISTS_MAX + 1. */
static size_t answerers(const struct network *net, uint64_t *list)
{
    uint64_t upstreams[UPSTREAMS_MAX];
    size_t n = vl1_upstreams(net->vl2->vl1, upstreams, UPSTREAMS_MAX);
    size_t count = 0;

    if (net->controller != 0 && net->controller != net->vl2->self) {
        add(list, &count, net->controller);
    }
    for (size_t i = 0; i < n && i < UPSTREAMS_MAX; i++) {
        add(list, &count, upstreams[i]);
    }
    for (size_t i = 0; i < net->conf.specialist_count; i++) {
        uint64_t address = net->conf.specialists[i] & UINT64_C(0xffffffffff);

        if (address != net->vl2->self &&
            (network_roles(net, address) & (SPECIALIST_ANCHOR | SPECIALIST_REPLICATOR)) != 0) {
            add(list, &count, address);
        }
    }
    return count;
}

static bool is_among(const uint64_t *list, size_t count, uint64_t address)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == address) {
            return true;
        }
    }
    return false;
}

/* Members that are allowed and were heard from lately. */
static bool is_worth(struct network *net, struct member *m, int64_t now_ms)
{
    struct peer *peer;

    if (!member_allowed(net, m, NULL, now_ms)) {
        return false;
    }
    peer = vl1_peer_find(net->vl2->vl1, m->node.key, now_ms);
    return peer != NULL && peer_last_receive(peer) != NEVER &&
           now_ms - peer_last_receive(peer) < MEMBER_IDLE_MS;
}

/* Send to the answerers, then to members; all: also to those who got it lately. */
static void announce(struct network *net, const struct multicast_group *groups, size_t count,
                     bool all, int64_t now_ms)
{
    uint64_t list[UPSTREAMS_MAX + NETCONF_SPECIALISTS_MAX + 1];
    size_t n = answerers(net, list);

    if (count == 0 || net->vl2->low_bandwidth) {
        return;
    }
    send_likes(net, groups, count, list, n, now_ms);
    for (struct hmap_node *node = hmap_each(&net->members, NULL); node != NULL;
         node = hmap_each(&net->members, node)) {
        struct member *m = CONTAINER_OF(node, struct member, node);

        if (!all && m->last_announce_ms != NEVER && now_ms - m->last_announce_ms < ANNOUNCE_MS) {
            continue;
        }
        if (is_among(list, n, node->key) || !is_worth(net, m, now_ms)) {
            continue;
        }
        if (!all) {
            m->last_announce_ms = now_ms;
        }
        send_likes(net, groups, count, &node->key, 1, now_ms);
    }
}

static void arm(struct network *net, int64_t now_ms)
{
    int64_t at = net->last_announce_ms + ANNOUNCE_MS;

    if (net->vl2->low_bandwidth) {
        return;
    }
    if (timers_arm(net->vl2->timers, &net->announce_timer, at > now_ms ? at : now_ms + 1) != 0) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
    }
}

void announce_all(struct network *net, int64_t now_ms)
{
    struct multicast_group *groups;
    ssize_t count = announce_groups(net, &groups, now_ms);

    if (count < 0) {
        return;
    }
    if (count > 0) {
        net->last_announce_ms = now_ms;
        announce(net, groups, (size_t)count, false, now_ms);
        arm(net, now_ms);
    }
    free(groups);
}

void announce_timer(struct timer *timer, int64_t now_ms)
{
    struct network *net = CONTAINER_OF(timer, struct network, announce_timer);

    net->vl2->now_ms = now_ms;
    members_clean(net, now_ms);
    announce_all(net, now_ms);
}

void announce_to_member(struct member *member, int64_t now_ms)
{
    struct network *net = member->network;
    struct multicast_group *groups;
    ssize_t count;

    if (member->last_announce_ms != NEVER && now_ms - member->last_announce_ms < ANNOUNCE_MS) {
        return;
    }
    member->last_announce_ms = now_ms;
    count = announce_groups(net, &groups, now_ms);
    if (count >= 0) {
        send_likes(net, groups, (size_t)count, &member->node.key, 1, now_ms);
        free(groups);
    }
}

void announce_again(struct network *net, uint64_t address, int64_t now_ms)
{
    uint64_t list[UPSTREAMS_MAX + NETCONF_SPECIALISTS_MAX + 1];
    struct member *member = member_find(net, address);
    struct multicast_group *groups;
    ssize_t count;

    if (member != NULL) {
        member->last_push_ms = NEVER;
        member->last_announce_ms = NEVER;
        member_withdraw(net, address);
    }
    if (net->vl2->low_bandwidth) {
        return;
    }
    if (is_among(list, answerers(net, list), address)) {
        count = announce_groups(net, &groups, now_ms);
        if (count >= 0) {
            send_likes(net, groups, (size_t)count, &address, 1, now_ms);
            free(groups);
        }
    } else if (member != NULL && is_worth(net, member, now_ms)) {
        announce_to_member(member, now_ms);
    }
}

/* ---- subscribing ---- */

static void announce_new(struct network *net, const struct multicast_group *groups, size_t count,
                         int64_t now_ms)
{
    announce(net, groups, count, true, now_ms);
    if (count > 0 && !timer_is_armed(&net->announce_timer)) {
        net->last_announce_ms = now_ms;
        arm(net, now_ms);
    }
}

int announce_update(struct network *net, int64_t now_ms)
{
    size_t cap = net->port_group_count + net->port_address_count + 1;
    struct multicast_group *groups = malloc(cap * sizeof(*groups));
    struct multicast_group *new = calloc(cap, sizeof(*new));
    size_t count = net->port_group_count;
    size_t fresh = 0;

    if (groups == NULL || new == NULL) {
        free(groups);
        free(new);
        return -ENOMEM;
    }
    if (count > 0) {
        memcpy(groups, net->port_groups, count * sizeof(*groups));
    }
    for (size_t i = 0; i < net->port_address_count; i++) {
        if (resolution_group(&net->port_addresses[i], &groups[count])) {
            count++;
        }
    }
    count = normalise(groups, count);
    for (size_t i = 0; i < count; i++) {
        if (!announce_subscribed(net, &groups[i], now_ms)) {
            new[fresh++] = groups[i];
        }
    }
    free(net->groups);
    net->groups = groups;
    net->group_count = count;
    announce_new(net, new, fresh, now_ms);
    free(new);
    return 0;
}

void announce_behind(struct network *net, const struct multicast_group *id, int64_t now_ms)
{
    struct behind_group *behind;

    for (size_t i = 0; i < net->behind_count; i++) {
        if (group_cmp(&net->behind[i].group, id) == 0) {
            bool lapsed = now_ms - net->behind[i].seen_ms >= BEHIND_MS;

            net->behind[i].seen_ms = now_ms;
            if (lapsed) {
                announce_new(net, id, 1, now_ms);
            }
            return;
        }
    }
    if (net->behind_count >= BEHIND_GROUPS_MAX) {
        expire_behind(net, now_ms);
    }
    behind = net->behind_count < BEHIND_GROUPS_MAX
                 ? realloc(net->behind, (net->behind_count + 1) * sizeof(*behind))
                 : NULL;
    if (behind == NULL) {
        vl2_count(net->vl2, COUNT_MULTICAST_FULL);
        return;
    }
    net->behind = behind;
    net->behind[net->behind_count++] = (struct behind_group){*id, now_ms};
    announce_new(net, id, 1, now_ms);
}

/* Replace an array by a copy of at most max elements. Returns 0; -ENOMEM. */
static int replace(void *array_at, size_t *count_at, const void *from, size_t count, size_t max,
                   size_t size)
{
    void *old;
    void *copy;

    count = count < max ? count : max;
    copy = malloc(count * size + 1);
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (count > 0) {
        memcpy(copy, from, count * size);
    }
    memcpy(&old, array_at, sizeof(old));
    free(old);
    memcpy(array_at, &copy, sizeof(copy));
    *count_at = count;
    return 0;
}

void vl2_port_addresses(struct vl2 *vl2, uint64_t nwid, const struct inetaddr *addrs, size_t count,
                        int64_t now_ms)
{
    struct network *net = vl2_find(vl2, nwid);

    vl2->now_ms = now_ms;
    if (net != NULL && (replace(&net->port_addresses, &net->port_address_count, addrs, count,
                                PORT_ADDRESSES_MAX, sizeof(*addrs)) != 0 ||
                        announce_update(net, now_ms) != 0)) {
        vl2_count(vl2, COUNT_NO_MEMORY);
    }
}

void vl2_port_groups(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *groups,
                     size_t count, int64_t now_ms)
{
    struct network *net = vl2_find(vl2, nwid);

    vl2->now_ms = now_ms;
    if (net != NULL && (replace(&net->port_groups, &net->port_group_count, groups, count,
                                PORT_GROUPS_MAX, sizeof(*groups)) != 0 ||
                        announce_update(net, now_ms) != 0)) {
        vl2_count(vl2, COUNT_NO_MEMORY);
    }
}
