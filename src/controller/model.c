/* Networks, members and addresses in memory. */
#include "controller/model.h"

#include "controller/clash.h"
#include "controller/removed.h"
#include "controller/sso_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void model_init(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof(*model));
    model->seed = seed;
    hmap_init(&model->networks, seed);
    hmap_init(&model->sso_sessions, seed);
}

void model_done(struct model *model)
{
    struct hmap_node *it;
    while ((it = hmap_each(&model->networks, NULL)) != NULL) {
        cnetwork_free(model, CONTAINER_OF(it, struct cnetwork, node));
    }
    hmap_done(&model->networks);
    hmap_done(&model->sso_sessions);
    accounts_done(&model->accounts);
}

struct cnetwork *model_find(const struct model *model, uint64_t nwid)
{
    struct hmap_node *it = hmap_find(&model->networks, nwid);
    return it != NULL ? CONTAINER_OF(it, struct cnetwork, node) : NULL;
}

int network_set_doc(struct cnetwork *net, json_t *doc)
{
    struct plan plan;
    int error = plan_compile(doc, &plan);
    if (error != 0) {
        json_decref(doc);
        return error;
    }
    plan_free(&net->plan);
    json_decref(net->doc);
    net->plan = plan;
    net->doc = doc;
    net->exhausted = 0;
    return 0;
}

int network_new(struct model *model, uint64_t nwid, json_t *doc, struct cnetwork **ret)
{
    struct cnetwork *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        json_decref(doc);
        return -ENOMEM;
    }
    net->nwid = nwid;
    hmap_init(&net->members, hash_mix(nwid, model->seed));
    hmap_init(&net->ips, hash_mix(nwid + 1, model->seed));
    hmap_init(&net->clashes, hash_mix(nwid + 3, model->seed));
    removed_init(net, hash_mix(nwid + 2, model->seed));
    list_init(&net->strangers);
    list_init(&net->push_link);
    int error = network_set_doc(net, doc);
    if (error == 0) {
        error = hmap_insert(&model->networks, &net->node, nwid);
    }
    if (error != 0) {
        plan_free(&net->plan);
        json_decref(net->doc);
        free(net);
        return error;
    }
    *ret = net;
    return 0;
}

void cnetwork_free(struct model *model, struct cnetwork *net)
{
    struct hmap_node *it;
    while ((it = hmap_each(&net->members, NULL)) != NULL) {
        cmember_free(model, CONTAINER_OF(it, struct cmember, node));
    }
    hmap_done(&net->members);
    hmap_done(&net->ips);
    removed_done(net);
    clash_done(net);
    list_remove(&net->push_link);
    hmap_remove(&model->networks, &net->node);
    while (net->revocations != NULL) {
        struct live_revocation *next = net->revocations->next;
        shared_unref(net->revocations->rev);
        free(net->revocations);
        net->revocations = next;
    }
    plan_free(&net->plan);
    json_decref(net->doc);
    free(net->bridges);
    free(net->grants);
    free(net);
}

struct grant *network_grant(const struct cnetwork *net, uint64_t user)
{
    for (size_t i = 0; i < net->grant_count; i++) {
        if (net->grants[i].user == user) {
            return &net->grants[i];
        }
    }
    return NULL;
}

int network_set_grant(struct cnetwork *net, const struct grant *g)
{
    struct grant *old = network_grant(net, g->user);
    if (old != NULL) {
        *old = *g;
        return 0;
    }
    if (net->grant_count == ACCOUNTS_GRANTS_MAX) {
        return -ENOSPC;
    }
    struct grant *grown = realloc(net->grants, (net->grant_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return -ENOMEM;
    }
    grown[net->grant_count++] = *g;
    net->grants = grown;
    return 0;
}

void network_drop_grant(struct cnetwork *net, uint64_t user)
{
    struct grant *old = network_grant(net, user);
    if (old != NULL) {
        *old = net->grants[--net->grant_count];
    }
}

struct cmember *network_member(const struct cnetwork *net, uint64_t address)
{
    struct hmap_node *it = hmap_find(&net->members, address);
    return it != NULL ? CONTAINER_OF(it, struct cmember, node) : NULL;
}

struct cmember *model_next_member(const struct model *model, struct cmember *after)
{
    struct hmap_node *it = NULL;
    struct hmap_node *net_it = NULL;
    if (after != NULL) {
        it = hmap_each(&after->net->members, &after->node);
        net_it = &after->net->node;
    }
    while (it == NULL && (net_it = hmap_each(&model->networks, net_it)) != NULL) {
        it = hmap_each(&CONTAINER_OF(net_it, struct cnetwork, node)->members, NULL);
    }
    return it != NULL ? CONTAINER_OF(it, struct cmember, node) : NULL;
}

int member_new(struct model *model, struct cnetwork *net, uint64_t address, struct cmember **ret)
{
    struct cmember *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return -ENOMEM;
    }
    m->net = net;
    m->address = address;
    list_init(&m->stranger_link);
    list_init(&m->push_link);
    list_init(&m->unsaved_link);
    for (size_t i = 0; i < COUNT_OF(m->version); i++) {
        m->version[i] = -1;
    }
    m->last_request_ms = m->request_credit_ms = INT64_MIN;
    m->runtime_saved_ms = INT64_MIN;
    int error = hmap_insert(&net->members, &m->node, address);
    if (error != 0) {
        free(m);
        return error;
    }
    model->members++;
    *ret = m;
    return 0;
}

static void drop_ips(struct cmember *m)
{
    for (size_t i = 0; i < m->ip_count; i++) {
        hmap_remove(&m->net->ips, &m->ips[i].node);
    }
    if (m->ip_count > 0) {
        m->net->exhausted = 0;
    }
    free(m->ips);
    m->ips = NULL;
    m->ip_count = 0;
}

void cmember_free(struct model *model, struct cmember *m)
{
    member_set_authorized(m, false);
    drop_ips(m);
    clash_forget(m);
    sso_forget(model, m);
    if (!list_is_empty(&m->stranger_link)) {
        m->net->stranger_count--;
        list_remove(&m->stranger_link);
    }
    list_remove(&m->push_link);
    list_remove(&m->unsaved_link);
    hmap_remove(&m->net->members, &m->node);
    model->members--;
    free(m->name);
    if (m->cred != NULL) {
        sodium_memzero(m->cred, strlen(m->cred));
        free(m->cred);
    }
    free(m->bad_identity);
    free(m->os);
    json_decref(m->extra);
    json_decref(m->traces);
    free(m->tags);
    free(m->caps);
    free(m);
}

void member_set_authorized(struct cmember *m, bool authorized)
{
    if (m->authorized != authorized) {
        m->authorized = authorized;
        m->net->authorized += authorized ? 1 : (size_t)-1;
        m->net->bridges_dirty |= m->bridge;
    }
}

void member_set_bridge(struct cmember *m, bool bridge)
{
    if (m->bridge != bridge) {
        m->bridge = bridge;
        m->net->bridges_dirty |= m->authorized;
    }
}

static uint64_t ip_key(const struct inetaddr *ip)
{
    struct inetaddr bare = *ip;
    bare.port = 0;
    return inetaddr_key(&bare);
}

int member_set_ips(struct cmember *m, const struct inetaddr *ips, size_t count)
{
    struct member_ip *fresh = NULL;
    if (count > 0) {
        fresh = calloc(count, sizeof(*fresh));
        if (fresh == NULL) {
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < count; i++) {
        fresh[i].ip = ips[i];
        fresh[i].ip.port = 0;
        fresh[i].owner = m;
        if (hmap_insert(&m->net->ips, &fresh[i].node, ip_key(&ips[i])) != 0) {
            while (i-- > 0) {
                hmap_remove(&m->net->ips, &fresh[i].node);
            }
            free(fresh);
            return -ENOMEM;
        }
    }
    drop_ips(m);
    m->ips = fresh;
    m->ip_count = (uint16_t)count;
    return 0;
}

int member_add_ip(struct cmember *m, const struct inetaddr *ip)
{
    struct inetaddr *all = calloc((size_t)m->ip_count + 1, sizeof(*all));
    if (all == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->ip_count; i++) {
        all[i] = m->ips[i].ip;
    }
    all[m->ip_count] = *ip;
    int error = member_set_ips(m, all, (size_t)m->ip_count + 1);
    free(all);
    return error;
}

struct cmember *network_ip_owner(const struct cnetwork *net, const struct inetaddr *ip,
                                 const struct cmember *except)
{
    struct hmap_node *it = hmap_find(&net->ips, ip_key(ip));
    for (; it != NULL; it = hmap_next_same(it)) {
        struct member_ip *mine = CONTAINER_OF(it, struct member_ip, node);
        if (mine->owner != except && inetaddr_ip_equal(&mine->ip, ip)) {
            return mine->owner;
        }
    }
    return NULL;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int network_bridges(struct cnetwork *net, const uint64_t **ret, size_t *ret_count)
{
    if (net->bridges_dirty) {
        uint64_t *list = calloc(net->members.count + 1, sizeof(*list));
        if (list == NULL) {
            return -ENOMEM;
        }
        size_t n = 0;
        struct hmap_node *it = NULL;
        while ((it = hmap_each(&net->members, it)) != NULL) {
            struct cmember *m = CONTAINER_OF(it, struct cmember, node);
            if (m->authorized && m->bridge) {
                list[n++] = m->address;
            }
        }
        qsort(list, n, sizeof(*list), compare_u64);
        uint64_t *fit = realloc(list, (n + 1) * sizeof(*list));
        free(net->bridges);
        net->bridges = fit != NULL ? fit : list;
        net->bridge_count = n;
        net->bridges_dirty = false;
    }
    *ret = net->bridges;
    *ret_count = net->bridge_count;
    return 0;
}

const struct inetaddr *plan_route(const struct plan *plan, const struct inetaddr *ip,
                                  bool without_via)
{
    const struct inetaddr *best = NULL;
    for (size_t i = 0; i < plan->route_count; i++) {
        const struct netconf_route *r = &plan->routes[i];
        if (without_via && r->via.family != INETADDR_NIL) {
            continue;
        }
        if (inetaddr_in_net(ip, &r->target) && (best == NULL || r->target.port > best->port)) {
            best = &r->target;
        }
    }
    return best;
}

bool member_is_stranger(const struct cmember *m)
{
    return !m->authorized && m->authorized_ms == 0 && m->deauthorized_ms == 0 && m->name == NULL &&
           m->ip_count == 0 && m->tag_count == 0 && m->cap_count == 0 && !m->blocked &&
           !m->hidden && m->access_expiry_ms == 0 && !m->bridge && !m->no_auto_ips &&
           !m->sso_exempt && m->has_pub && m->auth_expiry_ms == 0 && m->extra == NULL;
}

void member_file_stranger(struct cmember *m)
{
    if (!list_is_empty(&m->stranger_link)) {
        m->net->stranger_count--;
        list_remove(&m->stranger_link);
    }
    if (member_is_stranger(m)) {
        m->net->stranger_count++;
        list_push(&m->net->strangers, &m->stranger_link);
    }
}

void member_identity(const struct cmember *m, struct identity *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->address = m->address;
    memcpy(ret->pub, m->pub, sizeof(ret->pub));
}

struct shared_revocation *shared_ref(struct shared_revocation *rev)
{
    rev->refs++;
    return rev;
}

void shared_unref(struct shared_revocation *rev)
{
    if (rev != NULL && --rev->refs == 0) {
        free(rev);
    }
}
