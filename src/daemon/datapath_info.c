/* Collecting what the data path obtained and did, and the object the API shows. Source: spec 09
 * section 6.10, D-19. */
#include "daemon/datapath_info.h"

#include "base/hex.h"
#include "crypto/aes_gmac_siv.h"
#include "crypto/cpu.h"
#include "crypto/poly1305.h"
#include "crypto/salsa.h"
#include "daemon/api_json.h"
#include "daemon/service_priv.h"
#include "datapath/checksum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    INFO_SOCKETS_MAX = 256,
    INFO_DEVICES_MAX = 4096,
    NWID_DIGITS = 16,
};

const struct offload_name *datapath_udp_offload(size_t index)
{
    static const struct offload_name names[] = {
        {UDP_OFFLOAD_GSO, "gso"}, {UDP_OFFLOAD_GRO, "gro"}, {UDP_OFFLOAD_BATCH, "batch"}};

    return index < COUNT_OF(names) ? &names[index] : NULL;
}

const struct offload_name *datapath_tap_offload(size_t index)
{
    static const struct offload_name names[] = {
        {TAP_OFFLOAD_VNET, "vnet"}, {TAP_OFFLOAD_CSUM, "csum"}, {TAP_OFFLOAD_TSO4, "tso4"},
        {TAP_OFFLOAD_TSO6, "tso6"}, {TAP_OFFLOAD_ECN, "ecn"},   {TAP_OFFLOAD_USO, "uso"}};

    return index < COUNT_OF(names) ? &names[index] : NULL;
}

/* All counters of the node but what was received, sent and done stand for drops. */
static bool is_drop(const char *name)
{
    return strncmp(name, "drop_", strlen("drop_")) == 0 ||
           strncmp(name, "vl2_", strlen("vl2_")) == 0;
}

static void read_drops(const struct service *svc, struct datapath_info *info)
{
    const char *name;

    for (size_t i = 0; info->drop_count < DROP_REASONS_MAX; i++) {
        uint64_t count = node_counter(svc->node, i, &name);

        if (name == NULL) {
            return;
        }
        if (is_drop(name)) {
            info->drops[info->drop_count++] = (struct drop_count){name, count};
        }
    }
}

int datapath_info_read(const struct service *svc, struct datapath_info *ret)
{
    unsigned features = cpu_features();

    *ret = (struct datapath_info){.aes = aes_pick(features)->name,
                                  .salsa20 = salsa_pick(features)->name,
                                  .poly1305 = poly1305_pick(features)->name,
                                  .checksum = checksum_name(features)};
    ret->sockets = malloc(INFO_SOCKETS_MAX * sizeof(*ret->sockets));
    ret->devices = malloc(INFO_DEVICES_MAX * sizeof(*ret->devices));
    if (ret->sockets == NULL || ret->devices == NULL) {
        datapath_info_done(ret);
        return -ENOMEM;
    }
    workers_stats(svc->workers, &ret->workers);
    ret->socket_count = sockets_info(&svc->sockets, ret->sockets, INFO_SOCKETS_MAX);
    ret->device_count = ports_devices(&svc->ports, ret->devices, INFO_DEVICES_MAX);
    read_drops(svc, ret);
    return 0;
}

void datapath_info_done(struct datapath_info *info)
{
    free(info->sockets);
    free(info->devices);
    info->sockets = NULL;
    info->devices = NULL;
}

uint64_t datapath_handled(const struct workers_stats *stats)
{
    static const enum dp_count handled[] = {DP_RX_FRAMES, DP_RX_EXT_FRAMES, DP_TX_FRAMES,
                                            DP_TX_EXT_FRAMES, DP_RELAYED};
    uint64_t sum = 0;

    for (size_t i = 0; i < COUNT_OF(handled); i++) {
        sum += stats->counts[handled[i]];
    }
    return sum;
}

double datapath_slow_share(const struct workers_stats *stats)
{
    uint64_t given = stats->counts[DP_GIVEN];
    uint64_t all = given + datapath_handled(stats);

    return all == 0 ? 0 : (double)given / (double)all;
}

/* ---- JSON ---- */

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value); /* out of memory: the member is missing */
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
    set(object, key, json_integer((json_int_t)value));
}

static json_t *socket_object(const struct socket_info *s)
{
    json_t *o = json_object();
    char text[INETADDR_TEXT_LEN];
    const struct offload_name *offload;

    inetaddr_print(&s->local, text);
    set(o, "address", json_string(text));
    set(o, "device", api_json_text(s->device));
    set_count(o, "sockets", s->count);
    for (size_t i = 0; (offload = datapath_udp_offload(i)) != NULL; i++) {
        set(o, offload->name, json_boolean((s->offloads & offload->bit) != 0));
    }
    set_count(o, "receiveBuffer", s->receive_buffer);
    set_count(o, "sendBuffer", s->send_buffer);
    set_count(o, "kernelDrops", s->kernel_drops);
    set_count(o, "sendErrors", s->send_errors);
    set_count(o, "gsoReplays", s->gso_replays);
    set_count(o, "truncated", s->truncated);
    return o;
}

static json_t *device_object(const struct device_info *d)
{
    json_t *o = json_object();
    char nwid[NWID_DIGITS + 1];
    const struct offload_name *offload;

    hex_from_u64(d->nwid, NWID_DIGITS, nwid);
    set(o, "nwid", json_string(nwid));
    set(o, "device", api_json_text(d->name));
    set_count(o, "mtu", d->mtu);
    set_count(o, "queues", d->queues);
    for (size_t i = 0; (offload = datapath_tap_offload(i)) != NULL; i++) {
        set(o, offload->name, json_boolean((d->offloads & offload->bit) != 0));
    }
    set(o, "mergesTcp", json_boolean((d->io.kinds & (MERGE_TCP4 | MERGE_TCP6)) != 0));
    set(o, "mergesUdp", json_boolean((d->io.kinds & MERGE_UDP) != 0));
    set_count(o, "refused", d->io.refused);
    set_count(o, "full", d->io.full);
    return o;
}

static json_t *lost_object(const struct workers_stats *stats)
{
    json_t *o = json_object();

    set_count(o, "sockets", stats->lost);
    set_count(o, "devices", stats->device_full);
    set_count(o, "opened", stats->ring_full[0]);
    set_count(o, "frames", stats->ring_full[1]);
    set_count(o, "sealed", stats->ring_full[2]);
    set_count(o, "others", stats->ring_full[3]);
    return o;
}

json_t *datapath_info_json(const struct datapath_info *info)
{
    json_t *o = json_object();
    json_t *kernels = json_object();
    json_t *sockets = json_array();
    json_t *devices = json_array();
    json_t *counts = json_object();
    json_t *drops = json_object();

    set(kernels, "aes", json_string(info->aes));
    set(kernels, "salsa20", json_string(info->salsa20));
    set(kernels, "poly1305", json_string(info->poly1305));
    set(kernels, "checksum", json_string(info->checksum));
    for (size_t i = 0; i < info->socket_count; i++) {
        (void)json_array_append_new(sockets, socket_object(&info->sockets[i]));
    }
    for (size_t i = 0; i < info->device_count; i++) {
        (void)json_array_append_new(devices, device_object(&info->devices[i]));
    }
    for (size_t i = 0; i < DP_COUNTS; i++) {
        set_count(counts, dp_count_name(i), info->workers.counts[i]);
    }
    for (size_t i = 0; i < info->drop_count; i++) {
        set_count(drops, info->drops[i].reason, info->drops[i].count);
    }
    set_count(o, "workers", info->workers.count);
    set_count(o, "lanes", info->workers.lanes);
    set(o, "kernels", kernels);
    set(o, "sockets", sockets);
    set(o, "devices", devices);
    set(o, "counts", counts);
    set_count(o, "handled", datapath_handled(&info->workers));
    set_count(o, "given", info->workers.counts[DP_GIVEN]);
    set(o, "slowShare", json_real(datapath_slow_share(&info->workers)));
    set(o, "lost", lost_object(&info->workers));
    set(o, "drops", drops);
    return o;
}
