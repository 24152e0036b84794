/* The door of vl2: creation, dispatch of packets by verb, counters, small shared helpers. What the
 * verbs mean is in the other files. Source: spec 03. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vl2 *vl2_new(struct vl1 *vl1, int64_t now_ms)
{
    struct vl2 *vl2 = calloc(1, sizeof(*vl2));
    uint64_t random[3];

    if (vl2 == NULL) {
        return NULL;
    }
    vl2->vl1 = vl1;
    vl2->env = vl1_env(vl1);
    vl2->timers = vl1_timers(vl1);
    vl2->self = vl1_identity(vl1)->address;
    vl2->now_ms = now_ms;
    vl2->env->random(vl2->env->ctx, random, sizeof(random));
    vl2->seed = random[0];
    vl2->random = random[1];
    vl2->credentials_gate.seed = random[2];
    vl2->need_com_gate.seed = random[2];
    vl2->forger_gate.seed = random[2];
    hmap_init(&vl2->networks, vl2->seed);
    hmap_init(&vl2->helped, vl2->seed);
    list_init(&vl2->helped_order);
    groups_init(vl2);
    pushes_init(vl2);
    return vl2;
}

void vl2_free(struct vl2 *vl2)
{
    struct hmap_node *n;

    if (vl2 == NULL) {
        return;
    }
    while ((n = hmap_drain(&vl2->networks)) != NULL) {
        network_free(CONTAINER_OF(n, struct network, node));
    }
    hmap_done(&vl2->networks);
    groups_done(vl2);
    pushes_done(vl2);
    controller_done(vl2);
    free(vl2);
}

void vl2_set_options(struct vl2 *vl2, const struct vl2_options *options)
{
    memcpy(vl2->version, options->version, sizeof(vl2->version));
    vl2->low_bandwidth = options->low_bandwidth;
    vl2->platform[0] = 0;
    if (options->platform != NULL && strlen(options->platform) < sizeof(vl2->platform)) {
        memcpy(vl2->platform, options->platform, strlen(options->platform) + 1);
    }
}

static enum vl1_verdict packet_ok(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    switch (in->re_verb) {
    case VERB_NETWORK_CONFIG_REQUEST:
        return assembly_chunk(vl2, in, now_ms);
    case VERB_MULTICAST_GATHER:
    case VERB_MULTICAST_FRAME:
        return gather_result_in(vl2, in, now_ms);
    case VERB_EXT_FRAME: /* acknowledgement of a copy sent to a watcher: nothing to do */
        return VL1_DONE;
    default:
        vl2_count(vl2, COUNT_UNEXPECTED);
        return VL1_DROP;
    }
}

static enum vl1_verdict packet_error(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct rd payload = in->payload;
    struct network *net;

    switch (in->error) {
    case ERROR_NEED_MEMBERSHIP_CERTIFICATE:
        net = vl2_find(vl2, rd_u64(&payload));
        if (!payload.bad && net != NULL) {
            push_on_request(net, in->source, now_ms);
        }
        return payload.bad ? VL1_DROP : VL1_DONE;
    case ERROR_UNWANTED_MULTICAST:
        return gather_unwanted_in(vl2, in, now_ms);
    default:
        return network_error(vl2, in, now_ms);
    }
}

enum vl1_verdict vl2_packet(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    switch (in->verb) {
    case VERB_FRAME:
        return switch_frame_in(vl2, in, now_ms);
    case VERB_EXT_FRAME:
        return switch_ext_frame_in(vl2, in, now_ms);
    case VERB_MULTICAST_FRAME:
        return switch_multicast_in(vl2, in, now_ms);
    case VERB_MULTICAST_LIKE:
        return gather_like_in(vl2, in, now_ms);
    case VERB_MULTICAST_GATHER:
        return gather_request_in(vl2, in, now_ms);
    case VERB_NETWORK_CREDENTIALS:
        return credentials_packet(vl2, in, now_ms);
    case VERB_NETWORK_CONFIG_REQUEST:
        return controller_request_in(vl2, in, now_ms);
    case VERB_NETWORK_CONFIG:
        return assembly_chunk(vl2, in, now_ms);
    case VERB_OK:
        return packet_ok(vl2, in, now_ms);
    case VERB_ERROR:
        return packet_error(vl2, in, now_ms);
    default:
        vl2_count(vl2, COUNT_UNEXPECTED);
        return VL1_DROP;
    }
}

bool vl2_is_overlay_ip(const struct vl2 *vl2, const struct inetaddr *ip)
{
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        const struct network *net = CONTAINER_OF(n, struct network, node);

        for (size_t i = 0; i < net->conf.address_count; i++) {
            if (inetaddr_in_net(ip, &net->conf.addresses[i])) {
                return true;
            }
        }
    }
    return false;
}

void vl2_online(struct vl2 *vl2, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        struct network *net = CONTAINER_OF(n, struct network, node);

        if (net->controller != 0 && (net->outstanding || net->conf_confirmed_ms == NEVER)) {
            net->attempts = 0;
            network_request(net, now_ms);
        }
        announce_all(net, now_ms);
    }
}

void vl2_identity_known(struct vl2 *vl2, uint64_t address, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        struct network *net = CONTAINER_OF(n, struct network, node);
        struct member *member = member_find(net, address);

        /* A certificate may have come, by another peer, before the identity it speaks of. */
        if (member != NULL && member->com != NULL && member_allowed(net, member, NULL, now_ms)) {
            multicast_allowed(net, address, now_ms);
        }
    }
}

void vl2_greeted(struct vl2 *vl2, uint64_t address, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        announce_again(CONTAINER_OF(n, struct network, node), address, now_ms);
    }
}

struct network *vl2_find(const struct vl2 *vl2, uint64_t nwid)
{
    struct hmap_node *n = hmap_find(&vl2->networks, nwid);

    return n != NULL ? CONTAINER_OF(n, struct network, node) : NULL;
}

static const char *const count_names[VL2_COUNTS] = {
    [COUNT_MALFORMED] = "vl2_malformed",
    [COUNT_NO_NETWORK] = "vl2_no_network",
    [COUNT_NO_CONFIG] = "vl2_no_config",
    [COUNT_NOT_MEMBER] = "vl2_not_member",
    [COUNT_NOT_BRIDGE] = "vl2_not_bridge",
    [COUNT_BRIDGE_SOURCE] = "vl2_bridge_source",
    [COUNT_BRIDGE_DEST] = "vl2_bridge_dest",
    [COUNT_BRIDGE_LOOP] = "vl2_bridge_loop",
    [COUNT_SOURCE_MAC] = "vl2_source_mac",
    [COUNT_BAD_DEST] = "vl2_bad_dest",
    [COUNT_NO_BRIDGE] = "vl2_no_bridge",
    [COUNT_RULES_IN] = "vl2_rules_in",
    [COUNT_RULES_OUT] = "vl2_rules_out",
    [COUNT_TOO_BIG] = "vl2_too_big",
    [COUNT_HEADERS] = "vl2_headers",
    [COUNT_PEER_REVOKED] = "vl2_peer_revoked",
    [COUNT_BROADCAST_OFF] = "vl2_broadcast_off",
    [COUNT_MULTICAST_OFF] = "vl2_multicast_off",
    [COUNT_MULTICAST_BAD] = "vl2_multicast_bad",
    [COUNT_MULTICAST_FULL] = "vl2_multicast_full",
    [COUNT_CREDENTIALS_RATE] = "vl2_credentials_rate",
    [COUNT_CREDENTIAL_REJECTED] = "vl2_credential_rejected",
    [COUNT_PUSH_FULL] = "vl2_push_full",
    [COUNT_CONFIG_REFUSED] = "vl2_config_refused",
    [COUNT_CHUNK_REFUSED] = "vl2_chunk_refused",
    [COUNT_ERROR_REFUSED] = "vl2_error_refused",
    [COUNT_UNEXPECTED] = "vl2_unexpected",
    [COUNT_NO_MEMORY] = "vl2_no_memory",
};

void vl2_count(struct vl2 *vl2, enum vl2_count what)
{
    vl2->counts[what]++;
    capture_count(vl2, count_names[what]);
}

uint64_t vl2_counter(const struct vl2 *vl2, size_t index, const char **ret_name)
{
    *ret_name = index < VL2_COUNTS ? count_names[index] : NULL;
    return index < VL2_COUNTS ? vl2->counts[index] : 0;
}

uint32_t vl2_draw(void *ctx)
{
    struct vl2 *vl2 = ctx;

    vl2->random += 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash_mix(vl2->random, vl2->seed) >> 32);
}

uint64_t vl2_random_below(struct vl2 *vl2, uint64_t n)
{
    uint64_t high = vl2_draw(vl2);

    return (high << 32 | vl2_draw(vl2)) % n;
}

/* A slot never used must not match key 0. */
static uint64_t gate_tag(uint64_t key)
{
    return key | UINT64_C(1) << 63;
}

bool rate_gate_is_recent(const struct rate_gate *gate, uint64_t key, int64_t period_ms,
                         int64_t now_ms)
{
    size_t i = hash_mix(key, gate->seed) % COUNT_OF(gate->slots);

    return gate->slots[i].key == gate_tag(key) && now_ms - gate->slots[i].at_ms < period_ms;
}

bool rate_gate_pass(struct rate_gate *gate, uint64_t key, int64_t period_ms, int64_t now_ms)
{
    size_t i = hash_mix(key, gate->seed) % COUNT_OF(gate->slots);

    if (rate_gate_is_recent(gate, key, period_ms, now_ms)) {
        return false;
    }
    gate->slots[i].key = gate_tag(key);
    gate->slots[i].at_ms = now_ms;
    return true;
}

size_t vl2_payload_limit(const struct vl2 *vl2, size_t max)
{
    size_t limit = vl1_packet_limit(vl2->vl1);
    size_t payload = limit > PACKET_AT_PAYLOAD ? limit - PACKET_AT_PAYLOAD : 0;

    return payload < max ? payload : max;
}

void vl2_send(struct vl2 *vl2, struct out_packet *out, unsigned flags, int64_t now_ms)
{
    if (out_send(vl2->vl1, out, flags, now_ms) == -EMSGSIZE) {
        vl2_count(vl2, COUNT_TOO_BIG);
    }
}
