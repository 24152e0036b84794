/* Prometheus text. Names and labels are those of the reference; what only this program has begins
 * with panlan_. Source: spec 05 section 10. */
#include "daemon/metrics.h"

#include "controller/controller.h"
#include "daemon/datapath_info.h"
#include "daemon/service_priv.h"
#include "wire/packet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    NETWORKS_MAX = 4096,
};

static void family(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* The TCP relay we offer. */
static void write_tcp_relay(FILE *out, const struct service *svc)
{
    struct relay_hub_stats stats = {0};
    if (svc->relay_server.hub != NULL) {
        relay_hub_stats(svc->relay_server.hub, &stats);
    }
    const struct {
        const char *name;
        const char *type;
        const char *help;
        uint64_t value;
    } table[] = {
        {"panlan_tcp_relay_clients", "gauge", "clients of our TCP relay", stats.clients},
        {"panlan_tcp_relay_accepted", "counter", "connections to it", stats.accepted},
        {"panlan_tcp_relay_refused", "counter", "refused for want of room", stats.refused},
        {"panlan_tcp_relay_ended", "counter", "ended for misbehaving or idling", stats.ended},
        {"panlan_tcp_relay_lost", "counter", "datagrams clients took too slowly", stats.lost},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        family(out, table[i].name, table[i].type, table[i].help);
        (void)fprintf(out, "%s %" PRIu64 "\n", table[i].name, table[i].value);
    }
    family(out, "panlan_tcp_relay_datagrams", "counter", "datagrams it carried");
    (void)fprintf(out, "panlan_tcp_relay_datagrams{direction=\"rx\"} %" PRIu64 "\n",
                  stats.datagrams[0]);
    (void)fprintf(out, "panlan_tcp_relay_datagrams{direction=\"tx\"} %" PRIu64 "\n",
                  stats.datagrams[1]);
    family(out, "panlan_tcp_relay_drops", "counter", "datagrams it did not carry");
    for (unsigned i = 0; i < GATE_VERDICTS; i++) {
        if (gate_reason(i) != NULL) {
            (void)fprintf(out, "panlan_tcp_relay_drops{reason=\"%s\"} %" PRIu64 "\n",
                          gate_reason(i), stats.drops[i]);
        }
    }
}

static void write_data(FILE *out, const struct service *svc)
{
    uint64_t kernel = 0;
    uint64_t tx = 0;
    struct workers_stats stats;
    workers_stats(svc->workers, &stats);
    family(out, "zt_data", "counter", "number of bytes ZeroTier has transmitted or received");
    (void)fprintf(out, "zt_data{direction=\"rx\",protocol=\"udp\"} %" PRIu64 "\n", stats.rx_bytes);
    (void)fprintf(out, "zt_data{direction=\"tx\",protocol=\"udp\"} %" PRIu64 "\n",
                  svc->tx_bytes + stats.tx_bytes);
    (void)fprintf(out, "zt_data{direction=\"rx\",protocol=\"tcp\"} %" PRIu64 "\n",
                  svc->relay.rx_bytes);
    (void)fprintf(out, "zt_data{direction=\"tx\",protocol=\"tcp\"} %" PRIu64 "\n",
                  svc->relay.tx_bytes);
    sockets_drops(&svc->sockets, &kernel, &tx);
    family(out, "panlan_udp_drops", "counter", "datagrams lost on this machine");
    (void)fprintf(out, "panlan_udp_drops{where=\"receive_buffer\"} %" PRIu64 "\n", kernel);
    (void)fprintf(out, "panlan_udp_drops{where=\"send\"} %" PRIu64 "\n", tx + stats.lost);
    family(out, "panlan_worker_drops", "counter", "frames and packets lost between threads");
    (void)fprintf(out, "panlan_worker_drops{where=\"device\"} %" PRIu64 "\n", stats.device_full);
    (void)fprintf(out, "panlan_worker_drops{where=\"opened\"} %" PRIu64 "\n", stats.ring_full[0]);
    (void)fprintf(out, "panlan_worker_drops{where=\"frames\"} %" PRIu64 "\n", stats.ring_full[1]);
    (void)fprintf(out, "panlan_worker_drops{where=\"sealed\"} %" PRIu64 "\n", stats.ring_full[2]);
    (void)fprintf(out, "panlan_worker_drops{where=\"others\"} %" PRIu64 "\n", stats.ring_full[3]);
    family(out, "panlan_device_cut", "counter", "super-frames a device refused");
    (void)fprintf(out, "panlan_device_cut %" PRIu64 "\n", stats.device_cut);
}

/* A verb or an error code with the name the reference gives its series. */
struct series {
    unsigned value;
    const char *name;
};

static const char *const directions[] = {"rx", "tx"};

static void write_packets(FILE *out, const struct service *svc)
{
    static const struct series verbs[] = {
        {VERB_NOP, "nop"},
        {VERB_ERROR, "error"},
        {VERB_ACK, "ack"},
        {VERB_QOS_MEASUREMENT, "qos"},
        {VERB_HELLO, "hello"},
        {VERB_OK, "ok"},
        {VERB_WHOIS, "whois"},
        {VERB_RENDEZVOUS, "rendezvous"},
        {VERB_FRAME, "frame"},
        {VERB_EXT_FRAME, "ext_frame"},
        {VERB_ECHO, "echo"},
        {VERB_MULTICAST_LIKE, "multicast_like"},
        {VERB_NETWORK_CREDENTIALS, "network_credentials"},
        {VERB_NETWORK_CONFIG_REQUEST, "network_config_request"},
        {VERB_NETWORK_CONFIG, "network_config"},
        {VERB_MULTICAST_GATHER, "multicast_gather"},
        {VERB_MULTICAST_FRAME, "multicast_frame"},
        {VERB_PUSH_DIRECT_PATHS, "push_direct_paths"},
        {VERB_USER_MESSAGE, "user_message"},
        {VERB_REMOTE_TRACE, "remote_trace"},
        {VERB_PATH_NEGOTIATION_REQUEST, "path_negotiation_request"},
    };
    family(out, "zt_packet", "counter", "ZeroTier packet counts");
    for (size_t d = 0; d < COUNT_OF(directions); d++) {
        const struct packet_tally *tally = node_tally(svc->node, d == 1);
        for (size_t i = 0; i < COUNT_OF(verbs); i++) {
            (void)fprintf(out, "zt_packet{direction=\"%s\",packet_type=\"%s\"} %" PRIu64 "\n",
                          directions[d], verbs[i].name, tally->verbs[verbs[i].value]);
        }
    }
}

static void write_packet_errors(FILE *out, const struct service *svc)
{
    static const struct series errors[] = {
        {ERROR_OBJ_NOT_FOUND, "obj_not_found"},
        {ERROR_UNSUPPORTED_OPERATION, "unsupported_operation"},
        {ERROR_IDENTITY_COLLISION, "identity_collision"},
        {ERROR_NEED_MEMBERSHIP_CERTIFICATE, "need_membership_certificate"},
        {ERROR_NETWORK_ACCESS_DENIED, "network_access_denied"},
        {ERROR_UNWANTED_MULTICAST, "unwanted_multicast"},
        {ERROR_NETWORK_AUTHENTICATION_REQUIRED, "authentication_required"},
        {TALLY_ERRORS, "internal_server_error"}, /* has no code in this protocol version */
    };
    family(out, "zt_packet_error", "counter", "ZeroTier packet errors");
    for (size_t d = 0; d < COUNT_OF(directions); d++) {
        const struct packet_tally *tally = node_tally(svc->node, d == 1);
        for (size_t i = 0; i < COUNT_OF(errors); i++) {
            uint64_t value = errors[i].value < TALLY_ERRORS ? tally->errors[errors[i].value] : 0;
            (void)fprintf(out, "zt_packet_error{direction=\"%s\",error_type=\"%s\"} %" PRIu64 "\n",
                          directions[d], errors[i].name, value);
        }
    }
}

static void write_frames(FILE *out, uint64_t nwid, const char *direction, const uint64_t tally[2])
{
    static const char *const accepted[] = {"no", "yes"};
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        (void)fprintf(out,
                      "zt_network_packets{accepted=\"%s\",direction=\"%s\",network_id=\"%016" PRIx64
                      "\"} %" PRIu64 "\n",
                      accepted[i], direction, nwid, tally[i]);
    }
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
    family(out, "zt_network_packets", "counter", "number of incoming/outgoing packets per network");
    for (size_t i = 0; i < count && i < NETWORKS_MAX && info != NULL; i++) {
        if (node_network_get(svc->node, ids[i], info) == 0) {
            write_frames(out, ids[i], "rx", info->frames.in);
            write_frames(out, ids[i], "tx", info->frames.out);
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
    family(out, "zt_peer_packets", "counter", "number of packets to/from a peer");
    for (ssize_t i = 0; i < count; i++) {
        for (size_t d = 0; d < COUNT_OF(directions); d++) {
            (void)fprintf(
                out, "zt_peer_packets{direction=\"%s\",node_id=\"%010" PRIx64 "\"} %" PRIu64 "\n",
                directions[d], peers[i].address, peers[i].packets[d]);
        }
    }
    family(out, "zt_peer_packet_errors", "counter", "number of incoming packet errors from a peer");
    for (ssize_t i = 0; i < count; i++) {
        (void)fprintf(out, "zt_peer_packet_errors{node_id=\"%010" PRIx64 "\"} %" PRIu64 "\n",
                      peers[i].address, peers[i].packet_errors);
    }
    if (count >= 0) {
        node_peers_free(peers, (size_t)count);
    }
}

static void write_value(FILE *out, const char *name, const char *type, const char *help,
                        uint64_t value)
{
    family(out, name, type, help);
    (void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* What the reference counts and this program never does: it answers from memory. */
static void write_never(FILE *out)
{
    static const char *const names[] = {
        "controller_db_get_network",
        "controller_db_get_network_and_member",
        "controller_db_get_networK_and_member_summary",
        "controller_db_get_member_list",
        "controller_db_get_network_list",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        write_value(out, names[i], "counter", "does not happen in this program", 0);
    }
}

static void write_controller(FILE *out, const struct service *svc)
{
    struct controller_counts c = {0};
    if (svc->ctl.controller != NULL) {
        controller_get_counts(svc->ctl.controller, &c);
    }
    write_value(out, "controller_network_count", "gauge", "number of networks the controller has",
                c.networks);
    write_value(out, "controller_member_count", "gauge", "number of members of all networks",
                c.members);
    write_value(out, "controller_network_change_count", "counter", "changes of networks",
                c.network_changes);
    write_value(out, "controller_member_change_count", "counter", "changes of members",
                c.member_changes);
    write_value(out, "controller_member_auth_count", "counter", "members authorized",
                c.member_auths);
    write_value(out, "controller_member_deauth_count", "counter", "members deauthorized",
                c.member_deauths);
    write_value(out, "controller_sso_expiration_checks", "counter",
                "looks for logins that have ended", c.sso_checks);
    write_value(out, "controller_sso_timeouts", "counter", "logins that ended", c.sso_timeouts);
    write_value(out, "controller_network_config_request_queue", "gauge",
                "requests waiting: none, they are answered as they come", 0);
    write_value(out, "controller_network_config_request_threads", "gauge",
                "threads that answer requests", svc->ctl.controller != NULL);
    write_value(out, "controller_network_config_request", "counter", "configuration requests",
                c.requests);
    write_value(out, "controller_db_network_change", "counter", "networks written",
                c.network_changes);
    write_value(out, "controller_db_member_change", "counter", "members written", c.member_changes);
    write_never(out);
    write_value(out, "panlan_controller_denied", "counter", "requests answered: access denied",
                c.denied);
    write_value(out, "panlan_controller_configs", "counter", "requests answered by a configuration",
                c.configs_sent);
    write_value(out, "panlan_controller_configs_reused", "counter",
                "of these with credentials given before", c.configs_reused);
    write_value(out, "panlan_controller_signatures", "counter", "credentials signed", c.signatures);
    write_value(out, "panlan_controller_pushes", "counter", "configurations pushed", c.pushes_sent);
    write_value(out, "panlan_controller_store_failures", "counter",
                "commits that failed and were tried again", c.store_failures);
    write_value(out, "panlan_controller_store_backlog", "gauge", "changes not committed yet",
                c.store_backlog);
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

/* ---- the data path ---- */

/* Name of an interface as a label: the system lets it hold nearly anything. */
static void put_device(FILE *out, const char *name)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@";
    for (; *name != '\0'; name++) {
        (void)fputc(strchr(plain, *name) != NULL ? *name : '_', out);
    }
}

/* One value of a socket; label and its text: a further one, or NULL. */
static void write_of_socket(FILE *out, const char *name, const struct socket_info *s,
                            const char *label, const char *text, uint64_t value)
{
    char address[INETADDR_TEXT_LEN];
    inetaddr_print(&s->local, address);
    (void)fprintf(out, "%s{address=\"%s\",device=\"", name, address);
    put_device(out, s->device);
    (void)fputc('"', out);
    if (label != NULL) {
        (void)fprintf(out, ",%s=\"%s\"", label, text);
    }
    (void)fprintf(out, "} %" PRIu64 "\n", value);
}

/* The same of a device. */
static void write_of_device(FILE *out, const char *name, const struct device_info *d,
                            const char *label, const char *text, uint64_t value)
{
    (void)fprintf(out, "%s{device=\"", name);
    put_device(out, d->name);
    (void)fprintf(out, "\",network_id=\"%016" PRIx64 "\"", d->nwid);
    if (label != NULL) {
        (void)fprintf(out, ",%s=\"%s\"", label, text);
    }
    (void)fprintf(out, "} %" PRIu64 "\n", value);
}

static void write_sockets(FILE *out, const struct datapath_info *info)
{
    static const char *const names[] = {"panlan_udp_kernel_drops", "panlan_udp_send_errors",
                                        "panlan_udp_gso_replays", "panlan_udp_truncated"};
    static const char *const help[] = {
        "datagrams the system had no buffer for", "datagrams and runs the system refused to send",
        "runs the system refused to cut, sent singly", "datagrams that were too long"};
    const struct offload_name *offload;
    for (size_t f = 0; f < COUNT_OF(names); f++) {
        family(out, names[f], "counter", help[f]);
        for (size_t i = 0; i < info->socket_count; i++) {
            const struct socket_info *s = &info->sockets[i];
            const uint64_t values[] = {s->kernel_drops, s->send_errors, s->gso_replays,
                                       s->truncated};
            write_of_socket(out, names[f], s, NULL, NULL, values[f]);
        }
    }
    family(out, "panlan_udp_buffer_bytes", "gauge", "socket buffer granted");
    for (size_t i = 0; i < info->socket_count; i++) {
        const struct socket_info *s = &info->sockets[i];
        write_of_socket(out, "panlan_udp_buffer_bytes", s, "direction", "rx", s->receive_buffer);
        write_of_socket(out, "panlan_udp_buffer_bytes", s, "direction", "tx", s->send_buffer);
    }
    family(out, "panlan_udp_offload", "gauge", "1 if the socket has it");
    for (size_t i = 0; i < info->socket_count; i++) {
        for (size_t b = 0; (offload = datapath_udp_offload(b)) != NULL; b++) {
            write_of_socket(out, "panlan_udp_offload", &info->sockets[i], "offload", offload->name,
                            (info->sockets[i].offloads & offload->bit) != 0);
        }
    }
}

static void write_devices(FILE *out, const struct datapath_info *info)
{
    const struct offload_name *offload;
    family(out, "panlan_device_offload", "gauge", "1 if the device has it");
    for (size_t i = 0; i < info->device_count; i++) {
        for (size_t b = 0; (offload = datapath_tap_offload(b)) != NULL; b++) {
            write_of_device(out, "panlan_device_offload", &info->devices[i], "offload",
                            offload->name, (info->devices[i].offloads & offload->bit) != 0);
        }
    }
    family(out, "panlan_device_refused", "counter", "super-frames refused, written in segments");
    for (size_t i = 0; i < info->device_count; i++) {
        write_of_device(out, "panlan_device_refused", &info->devices[i], NULL, NULL,
                        info->devices[i].io.refused);
    }
    family(out, "panlan_device_full", "counter", "frames the device did not take");
    for (size_t i = 0; i < info->device_count; i++) {
        write_of_device(out, "panlan_device_full", &info->devices[i], NULL, NULL,
                        info->devices[i].io.full);
    }
}

static void write_datapath(FILE *out, const struct service *svc)
{
    struct datapath_info info;
    if (datapath_info_read(svc, &info) < 0) {
        return;
    }
    write_value(out, "panlan_workers", "gauge", "threads of the data path", info.workers.count);
    family(out, "panlan_kernel_info", "gauge", "code chosen for this processor");
    (void)fprintf(
        out, "panlan_kernel_info{aes=\"%s\",checksum=\"%s\",poly1305=\"%s\",salsa20=\"%s\"} 1\n",
        info.aes, info.checksum, info.poly1305, info.salsa20);
    write_value(out, "panlan_datapath_handled", "counter",
                "frames and relayed packets workers handled", datapath_handled(&info.workers));
    write_value(out, "panlan_datapath_given", "counter",
                "frames, packets and datagrams workers left to the engine",
                info.workers.counts[DP_GIVEN]);
    family(out, "panlan_datapath", "counter", "counters of the workers");
    for (size_t i = 0; i < DP_COUNTS; i++) {
        (void)fprintf(out, "panlan_datapath{name=\"%s\"} %" PRIu64 "\n", dp_count_name(i),
                      info.workers.counts[i]);
    }
    write_sockets(out, &info);
    write_devices(out, &info);
    family(out, "panlan_drops", "counter", "packets and frames dropped, by engine and workers");
    for (size_t i = 0; i < info.drop_count; i++) {
        (void)fprintf(out, "panlan_drops{reason=\"%s\"} %" PRIu64 "\n", info.drops[i].reason,
                      info.drops[i].count);
    }
    datapath_info_done(&info);
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
    family(out, "panlan_port_mapping", "gauge", "1 while the gateway forwards our port");
    (void)fprintf(out, "panlan_port_mapping{protocol=\"%s\"} %d\n",
                  portmap_protocol_name(svc->portmap.grant.protocol),
                  svc->portmap.grant.protocol != PORTMAP_BY_NONE);
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
    write_tcp_relay(out, svc);
    write_packets(out, svc);
    write_packet_errors(out, svc);
    write_networks(out, svc);
    write_peers(out, svc);
    write_controller(out, svc);
    write_engine(out, svc);
    write_datapath(out, svc);
    write_process(out, svc);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
