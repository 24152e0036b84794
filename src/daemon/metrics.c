/* Prometheus text. Names and labels are those of the reference; what only this program has begins
 * with panlan_. Source: spec 05 section 10. */
#include "daemon/metrics.h"

#include "daemon/service_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
    NETWORKS_MAX = 4096,
};

static void family(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_data(FILE *out, const struct service *svc)
{
    uint64_t kernel = 0;
    uint64_t tx = 0;
    family(out, "zt_data", "counter", "number of bytes ZeroTier has transmitted or received");
    (void)fprintf(out, "zt_data{direction=\"rx\",protocol=\"udp\"} %" PRIu64 "\n", svc->rx_bytes);
    (void)fprintf(out, "zt_data{direction=\"tx\",protocol=\"udp\"} %" PRIu64 "\n", svc->tx_bytes);
    (void)fprintf(out, "zt_data{direction=\"rx\",protocol=\"tcp\"} %" PRIu64 "\n",
                  svc->relay.rx_bytes);
    (void)fprintf(out, "zt_data{direction=\"tx\",protocol=\"tcp\"} %" PRIu64 "\n",
                  svc->relay.tx_bytes);
    sockets_drops(&svc->sockets, &kernel, &tx);
    family(out, "panlan_udp_drops", "counter", "datagrams lost on this machine");
    (void)fprintf(out, "panlan_udp_drops{where=\"receive_buffer\"} %" PRIu64 "\n", kernel);
    (void)fprintf(out, "panlan_udp_drops{where=\"send\"} %" PRIu64 "\n", tx);
}

static void write_networks(FILE *out, const struct service *svc)
{
    uint64_t *ids = calloc(NETWORKS_MAX, sizeof(*ids));
    struct node_network_info *info = malloc(sizeof(*info));
    size_t count = ids == NULL ? 0 : node_networks(svc->node, ids, NETWORKS_MAX);
    family(out, "zt_num_networks", "gauge", "number of networks this instance is joined to");
    (void)fprintf(out, "zt_num_networks %zu\n", count);
    family(out, "zt_network_multicast_groups_subscribed", "gauge",
           "number of multicast groups networks are subscribed to");
    for (size_t i = 0; i < count && i < NETWORKS_MAX && info != NULL; i++) {
        if (node_network_get(svc->node, ids[i], info) == 0) {
            (void)fprintf(
                out, "zt_network_multicast_groups_subscribed{network_id=\"%016" PRIx64 "\"} %zu\n",
                ids[i], info->group_count);
        }
    }
    free(info);
    free(ids);
}

/* One latency observation a peer, as the reference makes them at each rendering. */
static void write_latency(FILE *out, const struct node_peer_info *peer)
{
    static const int bounds[] = {1, 3, 6, 10, 30, 60, 100, 300, 600, 1000};
    if (peer->latency_ms < 0) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        (void)fprintf(out, "zt_peer_latency_bucket{node_id=\"%010" PRIx64 "\",le=\"%d\"} %d\n",
                      peer->address, bounds[i], peer->latency_ms <= bounds[i]);
    }
    (void)fprintf(out, "zt_peer_latency_bucket{node_id=\"%010" PRIx64 "\",le=\"+Inf\"} 1\n",
                  peer->address);
    (void)fprintf(out, "zt_peer_latency_sum{node_id=\"%010" PRIx64 "\"} %d\n", peer->address,
                  peer->latency_ms);
    (void)fprintf(out, "zt_peer_latency_count{node_id=\"%010" PRIx64 "\"} 1\n", peer->address);
}

static void write_peers(FILE *out, const struct service *svc)
{
    struct node_peer_info *peers = NULL;
    ssize_t count = node_peers(svc->node, service_now(), &peers);
    family(out, "zt_peer_latency", "histogram", "peer latency (ms)");
    for (ssize_t i = 0; i < count; i++) {
        write_latency(out, &peers[i]);
    }
    family(out, "zt_peer_path_count", "gauge", "number of paths to peer");
    for (ssize_t i = 0; i < count; i++) {
        (void)fprintf(out, "zt_peer_path_count{node_id=\"%010" PRIx64 "\",status=\"alive\"} %zu\n",
                      peers[i].address, peers[i].path_count);
        (void)fprintf(out, "zt_peer_path_count{node_id=\"%010" PRIx64 "\",status=\"dead\"} 0\n",
                      peers[i].address);
    }
    if (count >= 0) {
        node_peers_free(peers, (size_t)count);
    }
}

static void write_engine(FILE *out, const struct service *svc)
{
    const char *name;
    family(out, "panlan_engine", "counter", "counters of the protocol engine");
    for (size_t i = 0;; i++) {
        uint64_t value = node_counter(svc->node, i, &name);
        if (name == NULL) {
            return;
        }
        (void)fprintf(out, "panlan_engine{name=\"%s\"} %" PRIu64 "\n", name, value);
    }
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void write_process(FILE *out, const struct service *svc)
{
    struct rusage usage;
    family(out, "panlan_online", "gauge", "1 while an upstream answers");
    (void)fprintf(out, "panlan_online %d\n", svc->online);
    family(out, "panlan_build_info", "gauge", "version of the program");
    (void)fprintf(out, "panlan_build_info{version=\"%s\"} 1\n", PANLAN_VERSION);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        family(out, "process_cpu_seconds_total", "counter", "CPU time used");
        (void)fprintf(out, "process_cpu_seconds_total %.6f\n",
                      seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
        family(out, "process_resident_memory_max_bytes", "gauge", "largest resident set so far");
        (void)fprintf(out, "process_resident_memory_max_bytes %ld\n", usage.ru_maxrss * 1024L);
    }
}

char *metrics_text(struct service *svc)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    write_data(out, svc);
    write_networks(out, svc);
    write_peers(out, svc);
    write_engine(out, svc);
    write_process(out, svc);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
