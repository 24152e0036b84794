/* Diagnosis of networks, peers and the data path. Source: spec 05 section 12. */
#include "cli/diagnose.h"

#include "cli/advice.h"

#include <string.h>

static void check_network(struct diagnosis *d, const json_t *network)
{
    const char *status = diagnose_text(network, "status");
    const char *device = diagnose_text(network, "portDeviceName");
    const char *name = diagnose_text(network, "name");
    struct words addresses = {{0}, 0, 0};
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(network, "assignedAddresses"), i, a)
    {
        words_add(&addresses, "%s", json_string_value(a) == NULL ? "" : json_string_value(a));
    }
    if (strcmp(status, "OK") != 0) {
        find(&d->findings, RESULT_FAIL, "network", diagnose_text(network, "statusAdvice"),
             "%s%s%s: %s", diagnose_text(network, "nwid"), name[0] != '\0' ? " " : "", name,
             status);
    } else if (addresses.len == 0) {
        find(&d->findings, RESULT_WARN, "network",
             "give it one on the controller (panlan member set NETWORK NODE ip=...), or an "
             "assignment pool",
             "%s %s: OK on %s, but without address", diagnose_text(network, "nwid"), name, device);
    } else {
        find(&d->findings, RESULT_OK, "network", NULL, "%s %s: OK on %s, mtu %lld, %s",
             diagnose_text(network, "nwid"), name, device,
             (long long)diagnose_number(network, "mtu"), words_end(&addresses));
    }
    if (!diagnose_is_true(network, "allowManaged")) {
        find(&d->findings, RESULT_WARN, "network", "panlan set NETWORK allowManaged=1",
             "%s: allowManaged is off, its addresses and routes are not set",
             diagnose_text(network, "nwid"));
    }
}

/* Its addresses and routes that meet a subnet this machine is in. */
static void check_conflicts(struct diagnosis *d, const json_t *network)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(network, "conflicts"), i, c)
    {
        bool route = json_object_get(c, "route") != NULL;
        find(&d->findings, RESULT_WARN, "network",
             "give the network another subnet (panlan net set), or this place",
             "%s: %s %s meets %s of %s%s", diagnose_text(network, "nwid"),
             route ? "route" : "address", diagnose_text(c, route ? "route" : "address"),
             diagnose_text(c, "meets"), diagnose_text(c, "interface"),
             diagnose_is_true(c, "skipped") ? " and is not set" : "");
    }
}

static void check_networks(struct diagnosis *d)
{
    size_t i;
    json_t *network;
    if (d->networks != NULL && json_array_size(d->networks) == 0) {
        find(&d->findings, RESULT_INFO, "network", NULL, "no network is joined");
    }
    json_array_foreach(d->networks, i, network)
    {
        check_network(d, network);
        check_conflicts(d, network);
    }
}

/* How many of the relayed peers there are for each reason. */
static void check_reasons(struct diagnosis *d, json_t *reasons)
{
    const char *reason;
    json_t *count;
    json_object_foreach(reasons, reason, count)
    {
        find(&d->findings, RESULT_INFO, "peers", advice_relay(reason), "%lld relayed: %s",
             (long long)json_integer_value(count), reason);
    }
}

static void check_peers(struct diagnosis *d)
{
    size_t i;
    json_t *peer;
    json_t *reasons = json_object();
    unsigned counts[3] = {0}; /* roots, direct, relayed */
    int64_t mtu_least = INT64_MAX;
    json_array_foreach(d->peers, i, peer)
    {
        size_t k;
        json_t *path;
        bool root = strcmp(diagnose_text(peer, "role"), "LEAF") != 0;
        const char *reason = diagnose_text(peer, "relayReason");
        json_t *paths = json_object_get(peer, "paths");
        counts[root ? 0 : json_array_size(paths) > 0 ? 1 : 2]++;
        if (!root && json_array_size(paths) == 0) {
            (void)json_object_set_new(reasons, reason,
                                      json_integer(diagnose_number(reasons, reason) + 1));
        }
        json_array_foreach(paths, k, path)
        {
            int64_t mtu = diagnose_number(path, "mtu");
            mtu_least = mtu > 0 && mtu < mtu_least ? mtu : mtu_least;
        }
    }
    if (d->peers != NULL) {
        find(&d->findings, RESULT_OK, "peers", NULL, "%u roots, %u direct, %u relayed", counts[0],
             counts[1], counts[2]);
        check_reasons(d, reasons);
    }
    if (mtu_least != INT64_MAX) {
        find(&d->findings, RESULT_INFO, "mtu", NULL, "smallest datagram payload of all paths: %lld",
             (long long)mtu_least);
    }
    json_decref(reasons);
}

/* All that is not zero in an object of counts. */
static void add_counts(struct words *w, const json_t *counts)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)counts, key, value)
    {
        if (json_integer_value(value) > 0) {
            words_add(w, "%s=%lld", key, (long long)json_integer_value(value));
        }
    }
}

static void check_datapath(struct diagnosis *d)
{
    const json_t *kernels = json_object_get(d->datapath, "kernels");
    struct words lost = {{0}, 0, 0};
    struct words drops = {{0}, 0, 0};
    if (d->datapath == NULL) {
        return;
    }
    bool slow = strcmp(diagnose_text(kernels, "aes"), "portable") == 0;
    find(&d->findings, slow ? RESULT_WARN : RESULT_OK, "cpu",
         slow ? "a processor or virtual machine type with AES instructions is several times faster"
              : NULL,
         "%lld workers; AES %s, Salsa20 %s, Poly1305 %s, checksum %s",
         (long long)diagnose_number(d->datapath, "workers"), diagnose_text(kernels, "aes"),
         diagnose_text(kernels, "salsa20"), diagnose_text(kernels, "poly1305"),
         diagnose_text(kernels, "checksum"));
    add_counts(&lost, json_object_get(d->datapath, "lost"));
    add_counts(&drops, json_object_get(d->datapath, "drops"));
    if (lost.len > 0) {
        find(&d->findings, RESULT_WARN, "lost", "doc/operations.md, \"When it is slow\"", "%s",
             words_end(&lost));
    }
    find(&d->findings, RESULT_INFO, "drops", NULL, "%s",
         drops.len > 0 ? words_end(&drops) : "none");
}

void diagnose_traffic(struct diagnosis *d)
{
    check_networks(d);
    check_peers(d);
    check_datapath(d);
}
