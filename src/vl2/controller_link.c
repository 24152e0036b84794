/* The way between members and a controller on this node: requests go up, configurations go down in
 * signed chunks, errors and revocations. Source: spec 03 sections 3, 4 and 11.3, spec 04 section
 * 4.10. */
#include "vl2/vl2_priv.h"

#include "wire/vl1msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    HELPED_MS = 180000,      /* members we configured may use our multicast table */
    HELPED_MAX = 1048576,    /* of them remembered */
    REVOCATIONS_AT_ONCE = 9, /* what one datagram holds */
};

/* A member that got a configuration from us. */
struct helped {
    struct hmap_node node; /* vl2.helped by mixed key */
    struct list order;     /* vl2.helped_order, oldest first */
    uint64_t nwid;
    uint64_t member;
    int64_t at_ms;
};

/* ---- the 180 s rule ---- */

static struct helped *helped_find(struct vl2 *vl2, uint64_t nwid, uint64_t member)
{
    uint64_t key = hash_mix(nwid, vl2->seed) ^ member;

    for (struct hmap_node *n = hmap_find(&vl2->helped, key); n != NULL; n = hmap_next_same(n)) {
        struct helped *h = CONTAINER_OF(n, struct helped, node);

        if (h->nwid == nwid && h->member == member) {
            return h;
        }
    }
    return NULL;
}

static void helped_free(struct vl2 *vl2, struct helped *h)
{
    hmap_remove(&vl2->helped, &h->node);
    list_remove(&h->order);
    free(h);
}

/* Drop what lapsed: a few per call keep the table from growing without a timer. */
static void helped_trim(struct vl2 *vl2, int64_t now_ms)
{
    for (int i = 0; i < 4; i++) {
        struct list *first = list_first(&vl2->helped_order);
        struct helped *h = first != NULL ? CONTAINER_OF(first, struct helped, order) : NULL;

        if (h == NULL || (vl2->helped.count <= HELPED_MAX && now_ms - h->at_ms < HELPED_MS)) {
            break;
        }
        helped_free(vl2, h);
    }
}

static void help(struct vl2 *vl2, uint64_t nwid, uint64_t member, int64_t now_ms)
{
    struct helped *h = helped_find(vl2, nwid, member);

    if (h == NULL) {
        h = calloc(1, sizeof(*h));
        if (h == NULL ||
            hmap_insert(&vl2->helped, &h->node, hash_mix(nwid, vl2->seed) ^ member) != 0) {
            free(h);
            vl2_count(vl2, COUNT_NO_MEMORY);
            return;
        }
        h->nwid = nwid;
        h->member = member;
        list_init(&h->order);
    }
    h->at_ms = now_ms;
    list_remove(&h->order);
    list_push(&vl2->helped_order, &h->order);
    helped_trim(vl2, now_ms);
}

bool controller_helps(struct vl2 *vl2, uint64_t nwid, uint64_t member, int64_t now_ms)
{
    const struct helped *h = vl2->helped.count > 0 ? helped_find(vl2, nwid, member) : NULL;

    return h != NULL && now_ms - h->at_ms < HELPED_MS;
}

void controller_done(struct vl2 *vl2)
{
    struct list *first;

    while ((first = list_first(&vl2->helped_order)) != NULL) {
        helped_free(vl2, CONTAINER_OF(first, struct helped, order));
    }
    hmap_done(&vl2->helped);
}

/* ---- requests ---- */

enum vl1_verdict controller_request_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    const struct inetaddr nowhere = {.family = INETADDR_NIL};
    struct config_request req;
    struct out_packet out;

    if (config_request_read(in->payload, &req) != 0) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    if (vl2->has_controller) {
        vl2->controller.request(vl2->controller.ctx, req.network_id,
                                in->hops == 0 ? &in->from : &nowhere, in->id, in->identity,
                                req.meta, req.meta_len, now_ms);
        if (vl2->controller.holds != NULL) {
            vl2->controller.holds(vl2->controller.ctx, req.network_id, in->identity, req.revision,
                                  req.timestamp);
        }
        return VL1_DONE;
    }
    out_begin_error(vl2->vl1, &out, in, ERROR_UNSUPPORTED_OPERATION);
    wr_u64(&out.w, req.network_id);
    (void)out_reply(vl2->vl1, &out, in, 0, now_ms);
    return VL1_DONE;
}

void controller_ask_self(struct network *net, const void *meta, size_t meta_len)
{
    const struct inetaddr nowhere = {.family = INETADDR_NIL};
    struct vl2 *vl2 = net->vl2;

    vl2->controller.request(vl2->controller.ctx, net->id, &nowhere, UINT64_MAX,
                            vl1_identity(vl2->vl1), meta, meta_len, vl2->now_ms);
}

/* ---- answers ---- */

static int send_chunk(struct vl2 *vl2, const struct config_chunk *chunk, uint64_t dest,
                      uint64_t request_id, int64_t now_ms)
{
    const struct reply_head head = {VERB_NETWORK_CONFIG_REQUEST, request_id};
    struct out_packet out;

    out_begin(vl2->vl1, &out, dest, request_id != 0 ? VERB_OK : VERB_NETWORK_CONFIG);
    if (request_id != 0) {
        ok_head_write(&out.w, &head);
    }
    config_chunk_write(&out.w, chunk, vl1_identity(vl2->vl1));
    return out_send(vl2->vl1, &out, OUT_COMPRESS, now_ms) == 0 ? 0 : -EAGAIN;
}

int vl2_config_send(struct vl2 *vl2, uint64_t nwid, uint64_t dest, uint64_t request_id,
                    const char *dict, size_t len, int64_t now_ms)
{
    struct config_chunk chunk = {.network_id = nwid, .total = (uint32_t)len};
    int err = 0;

    vl2->now_ms = now_ms;
    if (network_controller(nwid) != vl2->self) {
        return -EINVAL;
    }
    if (len == 0 || len >= NETCONF_DICT_MAX) {
        return -EMSGSIZE;
    }
    if (dest == vl2->self) {
        struct network *net = vl2_find(vl2, nwid);

        if (net == NULL) {
            return 0; /* left since it was asked for */
        }
        return network_apply(net, dict, len, request_id != 0 ? CONFIG_ANSWERED : CONFIG_PUSHED,
                             now_ms);
    }
    help(vl2, nwid, dest, now_ms);
    while (chunk.update_id == 0) {
        vl2->env->random(vl2->env->ctx, &chunk.update_id, sizeof(chunk.update_id));
    }
    for (size_t at = 0; at < len; at += chunk.data_len) {
        size_t n = len - at < CONFIG_CHUNK_DATA_MAX ? len - at : CONFIG_CHUNK_DATA_MAX;

        chunk.data = (const uint8_t *)dict + at;
        chunk.data_len = (uint16_t)n;
        chunk.index = (uint32_t)at;
        if (send_chunk(vl2, &chunk, dest, request_id, now_ms) != 0) {
            err = -EAGAIN;
        }
    }
    return err;
}

/* Our own request was refused. */
static void refuse_self(struct vl2 *vl2, uint64_t nwid, enum error_code code, int64_t now_ms)
{
    struct network *net = vl2_find(vl2, nwid);

    if (net == NULL) {
        return;
    }
    switch (code) {
    case ERROR_OBJ_NOT_FOUND:
    case ERROR_UNSUPPORTED_OPERATION:
        network_set_failure(net, NETWORK_NOT_FOUND, now_ms);
        break;
    case ERROR_NETWORK_ACCESS_DENIED:
        network_set_failure(net, NETWORK_ACCESS_DENIED, now_ms);
        break;
    case ERROR_NETWORK_AUTHENTICATION_REQUIRED:
        network_set_failure(net, NETWORK_AUTHENTICATION_REQUIRED, now_ms);
        break;
    default:
        break;
    }
}

void vl2_config_error(struct vl2 *vl2, uint64_t nwid, uint64_t dest, uint64_t request_id,
                      enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    const struct error_msg error = {
        .head = {.verb = VERB_NETWORK_CONFIG_REQUEST, .id = request_id},
        .code = (uint8_t)code,
        .network_id = nwid,
        .has_data = data != NULL,
        .data = data,
        .data_len = len,
    };
    struct out_packet out;

    vl2->now_ms = now_ms;
    if (request_id == 0) {
        return;
    }
    if (dest == vl2->self) {
        refuse_self(vl2, nwid, code, now_ms);
        return;
    }
    out_begin(vl2->vl1, &out, dest, VERB_ERROR);
    error_encode(&out.w, &error);
    vl2_send(vl2, &out, OUT_COMPRESS, now_ms);
}

/* We are a member of our own network: believe it at once, like everybody it is sent to. */
static void revoke_at_self(struct vl2 *vl2, const struct revocation *revs, size_t count,
                           int64_t now_ms)
{
    for (size_t i = 0; i < count; i++) {
        struct network *net = vl2_find(vl2, revs[i].network_id);

        if (net != NULL) {
            (void)credential_add_revocation(net, &revs[i], vl2->self, now_ms);
        }
    }
}

int vl2_revocations_send(struct vl2 *vl2, uint64_t dest, const struct revocation *revocations,
                         size_t count, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    if (count > REVOCATIONS_AT_ONCE) {
        return -EMSGSIZE;
    }
    if (dest == vl2->self) {
        revoke_at_self(vl2, revocations, count, now_ms);
        return 0;
    }
    return count > 0 ? push_revocations(vl2, dest, revocations, count, now_ms) : 0;
}
