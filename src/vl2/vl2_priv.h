/* What the files of vl2 share: the structs behind struct vl2 and the functions between them.
 * Ownership: vl2 owns networks, the multicast table and the push queue; a network owns its members,
 * groups, bridge routes, revocations and the updates being assembled. Source: spec 03. */
#pragma once

#include "base/hmap.h"
#include "base/list.h"
#include "base/timers.h"
#include "datapath/filter.h"
#include "vl2/vl2.h"
#include "wire/com.h"
#include "wire/config_chunk.h"
#include "wire/credentials_packet.h"
#include "wire/frame.h"
#include "wire/mac.h"
#include "wire/netconf.h"

#define NEVER INT64_MIN

enum {
    NETWORKS_MAX = 4096,
    MEMBERS_MAX = 16384,            /* per network (Do better 5) */
    MEMBER_IDLE_MS = 600000,        /* record forgotten, announcements end (Do better 5, 31) */
    REVOCATIONS_MAX = 4096,         /* kept per network */
    CONFIG_REFRESH_MS = 60000,      /* autoconf period */
    ANNOUNCE_MS = 60000,            /* multicast announcements */
    LOW_BANDWIDTH_FACTOR = 64,      /* of the autoconf period in low bandwidth mode */
    LOW_BANDWIDTH_TICK_MS = 25000,  /* least distance of requests there */
    PUSH_MS = 500000,               /* credentials are pushed again */
    PUSH_SPACING_MS = 1100,         /* two NETWORK_CREDENTIALS to one peer */
    CREDENTIALS_GATE_MS = 1000,     /* one NETWORK_CREDENTIALS of a peer is looked at */
    NEED_COM_MS = 1000,             /* ERROR 6 to one peer and network */
    BAD_SIGNATURE_MS = 1000,        /* a peer whose signature failed is not verified again */
    CREDENTIALS_PAYLOAD_MAX = 9676, /* payload that 7 fragments carry at every mtu */
    PORT_GROUPS_MAX = 1024,
    PORT_ADDRESSES_MAX = 64,
    BEHIND_GROUPS_MAX = 4096,     /* groups of hosts we bridge */
    BEHIND_MS = 1200000,          /* they and bridge routes expire (Do better 19) */
    BRIDGE_ROUTES_MAX = 65536,    /* per bridge */
    BRIDGE_LOOP_MS = 1000,        /* the same frame both ways within this time: a loop */
    BRIDGE_LOOP_REPEATS = 4,      /* the same way so often: it goes round by others */
    BRIDGE_LOOP_FRAMES = 256,     /* remembered for that */
    BRIDGE_LOOP_LOG_MS = 60000,   /* between two warnings */
    BRIDGE_SPAM = 32,             /* bridges that get a frame to an unknown foreign MAC */
    ASSEMBLY_SLOTS = 3,           /* updates being assembled per network */
    ASSEMBLY_PARTS_MAX = 474,     /* chunks per update */
    ASSEMBLY_MS = 30000,          /* incomplete updates are dropped (Do better 2) */
    ASSEMBLY_BYTES_MAX = 2097152, /* of all updates of a network together */
    ASSEMBLY_DONE = 16,           /* update IDs remembered as finished or given up */
    FRAME_MTU_MAX = 9965,         /* port MTU that fits one packet with all headers */
    FRAME_OVERHEAD = 59,          /* packet header and largest MULTICAST_FRAME header */
};

/* Reasons why packets and frames end here; names in vl2.c. */
enum vl2_count {
    COUNT_MALFORMED,
    COUNT_NO_NETWORK,
    COUNT_NO_CONFIG,
    COUNT_NOT_MEMBER,
    COUNT_NOT_BRIDGE,
    COUNT_BRIDGE_SOURCE,
    COUNT_BRIDGE_DEST,
    COUNT_BRIDGE_LOOP,
    COUNT_SOURCE_MAC,
    COUNT_BAD_DEST,
    COUNT_NO_BRIDGE,
    COUNT_RULES_IN,
    COUNT_RULES_OUT,
    COUNT_TOO_BIG,
    COUNT_HEADERS,
    COUNT_PEER_REVOKED,
    COUNT_BROADCAST_OFF,
    COUNT_MULTICAST_OFF,
    COUNT_MULTICAST_BAD,
    COUNT_MULTICAST_FULL,
    COUNT_CREDENTIALS_RATE,
    COUNT_CREDENTIAL_REJECTED,
    COUNT_PUSH_FULL,
    COUNT_CONFIG_REFUSED,
    COUNT_CHUNK_REFUSED,
    COUNT_ERROR_REFUSED,
    COUNT_UNEXPECTED,
    COUNT_NO_MEMORY,
    VL2_COUNTS,
};

/* At most one event per key and period; a fixed table where a collision forgets the older key. */
struct rate_gate {
    struct {
        uint64_t key;
        int64_t at_ms; /* last time it passed */
    } slots[256];
    uint64_t seed;
};

struct network;

/* The frame at hand and what becomes of it, for a capture. */
struct capture {
    const struct network *net; /* NULL: nobody wants to know */
    bool passed;               /* it left, or reached the port */
    struct captured_frame frame;
};

/* What is known of another member of a network. */
struct member {
    struct hmap_node node; /* network.members by address */
    struct list lru;       /* network.lru, least recently used first */
    struct network *network;
    struct com *com;                 /* latest verified one, NULL none */
    struct filter_credentials creds; /* what the evaluator reads: points to the arrays below */
    struct filter_tag *tags;
    struct filter_ownership *ownerships; /* ownerships[i].things point into ownership_of[i] */
    struct ownership **ownership_of;
    struct filter_capability *capabilities; /* capabilities[i].rules point into capability_of[i] */
    struct capability **capability_of;      /* ascending id */
    uint64_t judged;                        /* network.generation of the verdict in allowed */
    int64_t last_push_ms;                   /* our credentials went to it */
    int64_t last_announce_ms;               /* our groups went to it */
    int64_t last_solicit_ms; /* its credentials were asked for without a frame of it */
    int64_t last_used_ms;
    uint32_t solicit_wait_ms; /* until it is asked again, doubles */
    bool allowed;             /* meaningful if judged is current */
    bool heard;               /* passed the gate: somebody is there */
};

/* A revocation that holds (spec 03 sections 6.5, 7.2). */
struct revoked {
    struct hmap_node node; /* network.revoked by target */
    struct revocation revocation;
};

/* An update whose chunks are being collected. */
struct assembly {
    uint64_t update_id; /* 0 = free slot */
    char *text;
    uint32_t total;
    uint32_t have; /* bytes received */
    struct {
        uint32_t index;
        uint32_t len;
    } * parts; /* ascending, never overlapping */
    size_t part_count;
    size_t part_cap;
    int64_t started_ms;
    bool
        from_controller; /* some chunk came from the controller itself: strangers cannot evict it */
};

/* Hosts behind a bridge. */
struct bridge {
    struct hmap_node node; /* network.bridges by address */
    struct list routes;    /* oldest first */
    size_t count;
};

struct bridge_route {
    struct hmap_node node; /* network.routes by MAC */
    struct list link;      /* bridge.routes */
    struct bridge *bridge;
    int64_t seen_ms;
};

/* A group some host behind us belongs to. */
struct behind_group {
    struct multicast_group group;
    int64_t seen_ms;
};

struct network {
    struct hmap_node node; /* vl2.networks by ID */
    struct vl2 *vl2;
    uint64_t id;
    uint64_t mac;
    uint64_t controller; /* 0 for ad-hoc networks: there is none */
    uint64_t hub;        /* ad-hoc hub, else 0 (Do better 17) */

    /* status */
    enum network_status failure; /* REQUESTING_CONFIGURATION = none */
    enum network_status shown;   /* last status told to the host */
    bool shown_port;             /* the host was told to make the port */
    int port_error;
    struct netconf_sso *sso; /* from ERROR 9, NULL none */
    bool captured;           /* the host is told of every frame */
    uint32_t mss_mtu;        /* TCP is told to keep to this MTU, 0: not */
    int64_t trace_credit_ms; /* token bucket of remote traces */

    /* configuration */
    bool has_conf;
    bool is_public;
    bool is_bridge;     /* we are an active bridge */
    bool is_replicator; /* we are a multicast replicator */
    struct netconf conf;
    uint8_t conf_hash[32];        /* of its text */
    struct filter_network filter; /* what the evaluator reads; points into conf and own_* */
    struct filter_tag *own_tags;
    struct filter_ownership *own_ownerships;
    struct filter_capability *own_capabilities;
    uint64_t *contacts; /* addresses kept in contact */
    size_t contact_count;
    uint64_t generation;       /* raised whenever verdicts about members may change */
    int64_t conf_changed_ms;   /* credentials pushed before are stale */
    int64_t conf_confirmed_ms; /* NEVER: stored one only */
    int64_t conf_stored_ms;

    /* requests */
    struct timer request_timer;
    char *auth; /* "token:...", NULL none */
    unsigned attempts;
    int64_t last_request_ms;
    bool outstanding; /* asked, no configuration since */

    /* updates being assembled */
    struct assembly slots[ASSEMBLY_SLOTS];
    uint64_t done[ASSEMBLY_DONE];
    unsigned done_next;
    struct timer assembly_timer;

    /* members */
    struct hmap members;
    struct list lru;
    struct hmap revoked;

    /* bridging */
    struct hmap bridges;
    struct hmap routes;
    struct bridge_loops *loops; /* NULL: nothing was flooded yet */

    /* our groups */
    struct multicast_group *port_groups; /* as the system reports */
    size_t port_group_count;
    struct inetaddr *port_addresses;
    size_t port_address_count;
    struct multicast_group *groups; /* both merged, sorted, distinct */
    size_t group_count;
    struct behind_group *behind;
    size_t behind_count;
    struct timer announce_timer;
    int64_t last_announce_ms;
    struct frame_tally frames;
};

/* A member of a multicast group, as LIKE or gather results told. */
struct group_record {
    uint64_t address;
    int64_t learned_ms;
};

struct group {
    struct hmap_node node; /* multicast.groups by mixed key */
    uint64_t nwid;
    struct multicast_group id;
    struct group_record *records; /* ascending address */
    size_t count;
    size_t cap;
    int64_t gathered_ms; /* last explicit gather */
    struct list pending; /* frames that wait for members, oldest first */
    unsigned pending_count;
    struct group *next_doomed; /* while several are being freed */
};

/* A multicast frame that further members may still get. */
struct pending_frame {
    struct list in_group; /* group.pending */
    struct list in_all;   /* multicast.pending, oldest first */
    struct group *group;
    int64_t until_ms;
    uint64_t source_mac; /* 0 = ours */
    uint64_t origin;     /* never gets it, 0 none */
    uint64_t *sent;      /* who got it */
    uint32_t sent_count;
    uint32_t sent_cap;
    uint32_t limit;
    uint32_t gather_limit;
    uint16_t ethertype;
    size_t len;
    uint8_t payload[];
};

/* How many records a sender holds. */
struct group_sender {
    struct hmap_node node; /* multicast.senders by address */
    size_t count;
};

struct multicast {
    struct hmap groups;
    struct hmap senders;
    size_t record_count;
    struct list pending;
    size_t pending_count;
    size_t pending_bytes;
    struct timer pending_timer;
    struct timer clean_timer;
};

/* Credentials on their way to a peer. */
struct push_link {
    struct hmap_node node; /* pushes.links by address */
    struct list order;     /* pushes.order by time of the last packet */
    int64_t last_send_ms;
    uint64_t *networks; /* whose credentials are to be pushed */
    size_t network_count;
    struct revocation *revocations; /* to be passed on */
    size_t revocation_count;
    struct push_batch *batch; /* the rest of something that did not fit one packet */
    bool repeated;            /* the last packet left early, on request */
};

struct pushes {
    struct hmap links;
    struct list order;
    struct timer timer;
};

struct vl2 {
    struct vl1 *vl1;
    const struct engine_env *env;
    struct timers *timers;
    uint64_t self;
    uint64_t seed;   /* of hashes */
    uint64_t random; /* state of a generator for rules and choices that need no secrecy */
    int64_t now_ms;  /* of the latest input */
    struct hmap networks;
    struct multicast multicast;
    struct pushes pushes;
    struct rate_gate credentials_gate; /* by sender */
    struct rate_gate need_com_gate;    /* by sender and network */
    uint64_t joins;                    /* of networks: gates begin anew with each */
    struct rate_gate forger_gate;      /* by sender: failed signatures outside 7.6 */
    struct node_controller controller;
    bool has_controller;
    struct hmap helped; /* helper rule of 11.3: members that got a configuration from us */
    struct list helped_order;
    uint16_t version[3];
    bool low_bandwidth;
    char platform[32];
    uint64_t counts[VL2_COUNTS];
    struct capture capture;
};

/* ---- trace.c: what the configuration asks to be told about ---- */

/* True if decisions about frames are told: then the engine decides all of them, with a log. */
bool trace_wants_frames(const struct network *net);

/* A decision; nothing is told if in->log is NULL. */
void trace_filter(struct network *net, const struct filter_input *in, bool is_inbound,
                  const struct filter_result *result, int64_t now_ms);

/* A credential of this network was rejected. */
void trace_rejected(struct network *net, const struct credential *item, int64_t now_ms);

/* ---- capture.c: what becomes of frames, for people who look ---- */

/* A frame of a network is about to be judged; the host is told of it at the end. remote: the member
 * at the other side, 0 unknown. */
void capture_begin(struct network *net, bool outbound, uint64_t remote,
                   const struct filter_frame *frame);
void capture_end(struct vl2 *vl2);
void capture_cancel(struct vl2 *vl2);

/* What is noted in between: why it was dropped, what rules said, that it went on its way. */
void capture_count(struct vl2 *vl2, const char *reason);
void capture_verdict(struct vl2 *vl2, const struct filter_result *result);
void capture_passed(struct vl2 *vl2);

/* ---- vl2.c ---- */

struct network *vl2_find(const struct vl2 *vl2, uint64_t nwid);
void vl2_count(struct vl2 *vl2, enum vl2_count what);

/* Next number of the generator in struct vl2 *ctx; a number below n (n > 0). */
uint32_t vl2_draw(void *ctx);
uint64_t vl2_random_below(struct vl2 *vl2, uint64_t n);

/* True and noted if key did not pass during the last period_ms. */
bool rate_gate_pass(struct rate_gate *gate, uint64_t key, int64_t period_ms, int64_t now_ms);

/* True if key passed during the last period_ms; nothing is noted. */
bool rate_gate_is_recent(const struct rate_gate *gate, uint64_t key, int64_t period_ms,
                         int64_t now_ms);

/* Largest payload a packet should have now, at most max. */
size_t vl2_payload_limit(const struct vl2 *vl2, size_t max);

/* Send ignoring loss, counting packets that cannot be sent. */
void vl2_send(struct vl2 *vl2, struct out_packet *out, unsigned flags, int64_t now_ms);

/* ---- network.c: life, status, requests ---- */

void network_free(struct network *net);
enum network_status network_status(const struct network *net);
void network_set_failure(struct network *net, enum network_status failure, int64_t now_ms);
void network_show_status(struct network *net);
void network_request(struct network *net, int64_t now_ms);

/* What the controller said last holds no longer: ask it again soon. */
void network_ask_anew(struct network *net, int64_t now_ms);

/* Arm the next request after an answer, a refusal or a loss. */
void network_schedule_request(struct network *net, int64_t now_ms);

/* Port MTU: configured, capped by the paths (Do better 28). */
unsigned network_mtu(const struct network *net);

/* Role bits of an address; the hub of an ad-hoc network counts as anchor. */
uint64_t network_roles(const struct network *net, uint64_t address);
bool network_is_bridge(const struct network *net, uint64_t address);

/* ERROR from the controller (spec 03 section 2.5); payload from the network ID on. */
enum vl1_verdict network_error(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* ---- netapply.c: configurations take effect ---- */

enum config_source {
    CONFIG_STORED,   /* from the host's store */
    CONFIG_RELAYED,  /* signed by the controller, last part sent by somebody else */
    CONFIG_PUSHED,   /* by the controller, unasked */
    CONFIG_ANSWERED, /* by the controller to our request: may be older than what we have */
};

/* Judge and apply a dictionary. Returns 0 taken or the same as the present one; -EBADMSG, -EACCES
 * for another member or network, -ESTALE older than the present one; -ENOMEM. */
MUST_CHECK int network_apply(struct network *net, const char *text, size_t len,
                             enum config_source source, int64_t now_ms);

/* The implied configuration of an ad-hoc network: 0; -ENOENT inverted port range: NOT_FOUND;
 * -EPROTO the ID has no implied configuration; -ENOMEM. */
MUST_CHECK int network_apply_adhoc(struct network *net, int64_t now_ms);

/* Drop the configuration and what was made of it. */
void network_conf_clear(struct network *net);

/* ---- adhoc.c ---- */

/* Build the implied configuration (spec 03 section 1.2). Results as network_apply_adhoc. */
MUST_CHECK int adhoc_config(uint64_t nwid, uint64_t self, int64_t wall_ms, struct netconf *ret);

/* ---- assembly.c: chunks ---- */

/* A chunk in in->payload (spec 03 section 4.3). */
enum vl1_verdict assembly_chunk(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
void assembly_clear(struct network *net);
void assembly_timeout(struct timer *timer, int64_t now_ms);

/* ---- member.c: records and access ---- */

struct member *member_find(const struct network *net, uint64_t address);

/* Is somebody behind this address, to our knowledge? A record alone may come from our own push. */
bool member_exists(const struct network *net, uint64_t address);

/* Find or make; NULL out of memory. */
struct member *member_get(struct network *net, uint64_t address, int64_t now_ms);
void member_touch(struct member *member, int64_t now_ms);
void member_free(struct member *member);
void members_clear(struct network *net);

/* Forget idle members and old credentials. */
void members_clean(struct network *net, int64_t now_ms);

/* Is this address allowed on the network? member: its record or NULL; identity: or NULL to look it
 * up. */
bool member_allowed(struct network *net, struct member *member, const struct identity *identity,
                    int64_t now_ms);

/* True if the peer's certificate is known and says no: send it nothing (Do better 15). */
bool member_refused(struct network *net, struct member *member, int64_t now_ms);

/* The gate of 7.4 for a packet's sender, with its effects on passing. *ret_member: its record, or
 * NULL if there is none (written on passing only). */
bool member_gate(struct network *net, const struct in_packet *in, struct member **ret_member,
                 int64_t now_ms);

/* What to do with a frame that did not pass: ERROR 6 (rate limited) and retry. */
enum vl1_verdict member_gate_failed(struct network *net, const struct in_packet *in,
                                    int64_t now_ms);

/* Ask for a peer's credentials and offer ours, with growing pauses (Do better 14). */
void member_solicit(struct network *net, uint64_t address, int64_t now_ms);

/* ---- credential.c: credentials of others ---- */

enum add_result {
    ADD_NEW,
    ADD_REDUNDANT,
    ADD_REJECTED,
    ADD_LATER, /* the signer's identity is missing: WHOIS is under way */
};

/* Add to a joined network (spec 03 section 7.2). source: sender of the packet. */
enum add_result credential_add_com(struct network *net, const struct com *com, uint64_t source,
                                   int64_t now_ms);
enum add_result credential_add_tag(struct network *net, const struct tag *tag, int64_t now_ms);
enum add_result credential_add_ownership(struct network *net, const struct ownership *own,
                                         int64_t now_ms);

/* A certificate inside a packet of another kind: the same, but senders of bad ones are not
 * listened to for a second, because these packets have no rate limit. */
void credential_add_inline(struct network *net, const struct com *com, uint64_t source,
                           int64_t now_ms);

/* cap is taken if the result is ADD_NEW. */
enum add_result credential_add_capability(struct network *net, struct capability *cap,
                                          uint64_t source, int64_t now_ms);
enum add_result credential_add_revocation(struct network *net, const struct revocation *rev,
                                          uint64_t source, int64_t now_ms);

enum vl1_verdict credentials_packet(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* Drop old tags, capabilities and certificates of ownership of a member. */
void credentials_purge(struct member *member);

/* ---- revocation.c ---- */

/* Is its threshold so old that no credential it touches can be inside the window any more? */
bool revocation_is_spent(const struct network *net, const struct revocation *rev);

/* Threshold for a credential, 0 none. */
uint64_t revocation_threshold(const struct network *net, uint64_t target, uint8_t type,
                              uint32_t id);

/* Keep a verified revocation: 1 new, 0 known; -ENOMEM. */
int revocation_keep(struct network *net, const struct revocation *rev);
void revocations_load(struct network *net);
void revocations_store(struct network *net);
void revocations_clear(struct network *net);

/* ---- push.c: our credentials to others ---- */

void pushes_init(struct vl2 *vl2);
void pushes_done(struct vl2 *vl2);

/* Push if it is due (7.5), before a frame to this member. Returns its record or NULL. */
struct member *push_if_due(struct network *net, struct member *member, uint64_t address,
                           int64_t now_ms);

/* ERROR 6 came: push unless that was just done. */
void push_on_request(struct network *net, uint64_t address, int64_t now_ms);

/* Pass a revocation on to one peer. Returns 0; -ENOMEM; -ENOSPC. */
int push_revocations(struct vl2 *vl2, uint64_t address, const struct revocation *revs, size_t count,
                     int64_t now_ms);

/* True if push_if_due would push. */
bool push_is_due(const struct network *net, const struct member *member, int64_t now_ms);

/* ---- publish.c: decisions for the data path ---- */

/* A frame of this member was taken, or one was sent to it: from now on workers may handle such
 * frames, as far as nothing else is needed for them. Nothing happens if vl1 publishes nothing. */
void member_publish(struct network *net, uint64_t address, int64_t now_ms);

/* What workers know of a member, or of a network with all members, holds no more. At once; needs no
 * memory. */
void member_withdraw(const struct network *net, uint64_t address);
void port_withdraw(const struct network *net);

/* ---- bridge.c ---- */

/* The bridge a MAC was learned behind, if it still is one; 0 otherwise. A MAC with the network's
 * first octet belongs to a bridge only if no member has it (Do better 18). */
uint64_t bridge_of(struct network *net, uint64_t mac, int64_t now_ms);

void bridge_learn(struct network *net, uint64_t mac, uint64_t address, int64_t now_ms);

/* A frame that many get (multicast; outbound also unknown MAC) passes a bridge, outbound from its
 * port or not. True if the same frame passed the other way a moment ago, or several times this way:
 * two bridges of this network are in one LAN, and it would go round for ever. Counted and logged;
 * drop it and learn nothing from it. */
bool bridge_is_loop(struct network *net, bool outbound, const struct filter_frame *frame,
                    int64_t now_ms);

/* Address behind which mac was seen, 0 unknown. */
uint64_t bridge_find(struct network *net, uint64_t mac, int64_t now_ms);
void bridges_clear(struct network *net);

/* ---- switch.c: frames ---- */

enum vl1_verdict switch_frame_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
enum vl1_verdict switch_ext_frame_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
enum vl1_verdict switch_multicast_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* Evaluate a frame, carry out copies and redirects. member: record of the other side or NULL. */
bool switch_filter_out(struct network *net, const struct filter_frame *frame, uint64_t dest,
                       const struct member *member, bool no_tee, int64_t now_ms);
enum filter_verdict switch_filter_in(struct network *net, const struct filter_frame *frame,
                                     uint64_t source, const struct member *member, int64_t now_ms);

/* ---- groups.c: the table of others' subscriptions ---- */

void groups_init(struct vl2 *vl2);
void groups_done(struct vl2 *vl2);
struct group *group_find(const struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id);

/* Find or make; NULL out of memory or full. */
struct group *group_get(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id,
                        int64_t now_ms);

/* Note that address belongs to a group; frames that wait are sent to it. */
void group_learn(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id, uint64_t address,
                 int64_t now_ms);
void group_forget(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id,
                  uint64_t address);

/* Drop what expired. */
void group_trim(struct vl2 *vl2, struct group *group, int64_t now_ms);
bool group_has(const struct group *group, uint64_t address);
void groups_drop_network(struct vl2 *vl2, uint64_t nwid);

/* A pseudo-random order over n items: item i is at (start + i * step) % n. */
struct shuffle {
    size_t n;
    size_t start;
    size_t step;
};
struct shuffle shuffle_init(struct vl2 *vl2, size_t n);
size_t shuffle_at(const struct shuffle *s, size_t i);

/* ---- gather.c: asking and answering for members of groups ---- */

enum vl1_verdict gather_like_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
enum vl1_verdict gather_request_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
enum vl1_verdict gather_result_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);
enum vl1_verdict gather_unwanted_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* Reply to the gather limit of a MULTICAST_FRAME. */
void gather_answer_frame(struct vl2 *vl2, const struct in_packet *in,
                         const struct multicast_frame *frame, int64_t now_ms);

/* Ask upstream, controller, anchors and replicators for up to limit members. */
void gather_ask(struct network *net, struct group *group, uint32_t limit, int64_t now_ms);

/* ---- multicast.c: sending ---- */

/* Send to a group (spec 03 section 11.4). origin: 0, or who we replicate for. source_mac: 0 = ours.
 * The first pass of the filter was done. */
void multicast_send(struct network *net, const struct multicast_group *id, uint64_t origin,
                    uint64_t source_mac, uint16_t ethertype, const uint8_t *payload, size_t len,
                    int64_t now_ms);

/* A member of a group became known: it gets the frames that wait. */
void multicast_learned(struct vl2 *vl2, struct group *group, uint64_t address, int64_t now_ms);

/* A member became allowed on a network: the same, for all its groups. */
void multicast_allowed(struct network *net, uint64_t address, int64_t now_ms);
void multicast_pending_free(struct vl2 *vl2, struct pending_frame *frame);
void multicast_pending_expire(struct timer *timer, int64_t now_ms);

/* ---- announce.c: our own groups ---- */

/* All groups we announce, sorted, distinct: a heap array to be freed. Returns the count; -ENOMEM.
 */
ssize_t announce_groups(struct network *net, struct multicast_group **ret, int64_t now_ms);

/* Are we subscribed, ourselves or for a host behind us? */
bool announce_subscribed(const struct network *net, const struct multicast_group *id,
                         int64_t now_ms);

/* Announce everything to everybody whom it concerns. */
void announce_all(struct network *net, int64_t now_ms);

/* A peer may have forgotten what we announced: tell it again. */
void announce_again(struct network *net, uint64_t address, int64_t now_ms);

/* Announce all groups to one member if that was not done lately. */
void announce_to_member(struct member *member, int64_t now_ms);

/* A host behind us uses a group. */
void announce_behind(struct network *net, const struct multicast_group *id, int64_t now_ms);
void announce_timer(struct timer *timer, int64_t now_ms);

/* Port addresses or groups changed: recompute, announce what is new. Returns 0; -ENOMEM. */
int announce_update(struct network *net, int64_t now_ms);

/* ---- controller_link.c ---- */

enum vl1_verdict controller_request_in(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms);

/* Ask the controller on this node for our own configuration. */
void controller_ask_self(struct network *net, const void *meta, size_t meta_len);

/* Did this node's controller send member a configuration of nwid during the last 180 s? */
bool controller_helps(struct vl2 *vl2, uint64_t nwid, uint64_t member, int64_t now_ms);
void controller_done(struct vl2 *vl2);
