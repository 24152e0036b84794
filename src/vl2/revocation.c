/* Revocations that hold on a network, kept across restarts so that a restart does not readmit a
 * revoked member. The stored form is their wire form, one after the other.
 * Source: spec 03 sections 6.5 and 7.2 with Do better 7, 8. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct revoked *of_node(struct hmap_node *n)
{
    return CONTAINER_OF(n, struct revoked, node);
}

static uint32_t effective_id(uint8_t type, uint32_t id)
{
    return type == CREDENTIAL_COM ? 0 : id; /* a member has one certificate of membership */
}

static struct revoked *find(const struct network *net, uint64_t target, uint8_t type, uint32_t id)
{
    for (struct hmap_node *n = hmap_find(&net->revoked, target); n != NULL; n = hmap_next_same(n)) {
        struct revoked *r = of_node(n);

        if (r->revocation.type == type &&
            effective_id(type, r->revocation.credential_id) == effective_id(type, id)) {
            return r;
        }
    }
    return NULL;
}

uint64_t revocation_threshold(const struct network *net, uint64_t target, uint8_t type, uint32_t id)
{
    const struct revoked *r = net->revoked.count > 0 ? find(net, target, type, id) : NULL;

    return r != NULL ? r->revocation.threshold : 0;
}

bool revocation_is_spent(const struct network *net, const struct revocation *rev)
{
    const struct netconf *conf = &net->conf;

    return net->has_conf && rev->threshold < conf->timestamp &&
           (conf->timestamp - rev->threshold) / 2 > conf->window;
}

static void drop(struct network *net, struct revoked *r)
{
    hmap_remove(&net->revoked, &r->node);
    free(r);
}

/* Drop what is spent; if nothing is and the table is full, the lowest threshold. */
static void make_room(struct network *net)
{
    struct revoked *lowest;
    size_t before;

    do {
        lowest = NULL;
        before = net->revoked.count;
        for (struct hmap_node *n = hmap_each(&net->revoked, NULL); n != NULL;
             n = hmap_each(&net->revoked, n)) {
            struct revoked *r = of_node(n);

            if (lowest == NULL || r->revocation.threshold < lowest->revocation.threshold) {
                lowest = r;
            }
        }
        if (lowest != NULL &&
            (revocation_is_spent(net, &lowest->revocation) || before >= REVOCATIONS_MAX)) {
            drop(net, lowest);
        }
    } while (net->revoked.count < before);
}

int revocation_keep(struct network *net, const struct revocation *rev)
{
    struct revoked *r = find(net, rev->target, rev->type, rev->credential_id);

    if (r != NULL) {
        if (r->revocation.threshold >= rev->threshold) {
            return 0;
        }
        r->revocation = *rev;
        return 1;
    }
    if (net->revoked.count >= REVOCATIONS_MAX) {
        make_room(net);
    }
    r = malloc(sizeof(*r));
    if (r == NULL || hmap_insert(&net->revoked, &r->node, rev->target) != 0) {
        free(r);
        vl2_count(net->vl2, COUNT_NO_MEMORY);
        return -ENOMEM;
    }
    r->revocation = *rev;
    return 1;
}

void revocations_store(struct network *net)
{
    const struct engine_env *env = net->vl2->env;
    size_t cap;
    uint8_t *data;
    struct wr w;

    make_room(net);
    cap = net->revoked.count * REVOCATION_WIRE_LEN;
    data = malloc(cap + 1);
    if (data == NULL) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
        return;
    }
    w = wr_init(data, cap);
    for (struct hmap_node *n = hmap_each(&net->revoked, NULL); n != NULL;
         n = hmap_each(&net->revoked, n)) {
        revocation_write(&w, &of_node(n)->revocation);
    }
    if (!w.bad) {
        env->state_store(env->ctx, STATE_REVOCATIONS, net->id, data, wr_len(&w));
    }
    free(data);
}

void revocations_load(struct network *net)
{
    const struct engine_env *env = net->vl2->env;
    size_t cap = (size_t)REVOCATIONS_MAX * REVOCATION_WIRE_LEN;
    uint8_t *data = malloc(cap);
    struct revocation rev;
    ssize_t len;
    struct rd r;

    if (data == NULL) {
        return;
    }
    len = env->state_load(env->ctx, STATE_REVOCATIONS, net->id, data, cap);
    r = rd_init(data, len > 0 ? (size_t)len : 0);
    while (rd_left(&r) > 0 && revocation_read(&r, &rev) == 0) {
        /* Verified when it was stored; the file is as trustworthy as our secret key. */
        if (rev.network_id == net->id && revocation_keep(net, &rev) < 0) {
            break;
        }
    }
    free(data);
}

void revocations_clear(struct network *net)
{
    struct hmap_node *n;

    while ((n = hmap_drain(&net->revoked)) != NULL) {
        free(of_node(n));
    }
    hmap_done(&net->revoked);
}
