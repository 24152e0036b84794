/* What a controller holds in memory: networks with their settings compiled from the stored
 * document, members as plain structs, and the index of addresses in use. Pure data: no time, no
 * effects. Source: spec 04 sections 2.4, 2.8, 11. */
#pragma once

#include "base/attr.h"
#include "base/hmap.h"
#include "base/list.h"
#include "controller/accounts.h"
#include "crypto/identity.h"
#include "wire/credential.h"
#include "wire/inetaddr.h"
#include "wire/netconf.h"
#include "wire/rule.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MODEL_TRACE_TARGET_LEN = 10,
    MODEL_WINDOW_DEFAULT_MS = 1800000, /* credential max delta */
    MODEL_WINDOW_MIN_MS = 300000,
    MODEL_WINDOW_MAX_MS = 7200000,
    MODEL_NO_V4 = 1,
    MODEL_NO_V6 = 2,
};

/* An address pool; both ends of the same family. */
struct pool {
    struct inetaddr start;
    struct inetaddr end;
};

/* A capability as defined in the network. */
struct cap_def {
    uint32_t id;
    bool is_default;
    uint16_t rule_count;
    struct rule *rules; /* inside the plan's array */
};

/* A tag as defined in the network. */
struct tag_def {
    uint32_t id;
    bool has_default;
    uint32_t value; /* default */
};

/* Settings of a network, compiled from its document; arrays are owned. */
struct plan {
    char name[NETCONF_NAME_MAX + 1];
    bool is_private;
    bool broadcast;
    bool v4_zt;
    bool v6_zt;
    bool v6_rfc4193;
    bool v6_6plane;
    bool wants_login; /* single sign-on */
    uint16_t mtu;
    uint16_t route_count;
    uint16_t rule_count;
    uint32_t multicast_limit;
    uint32_t trace_level;
    uint64_t trace_target;
    uint64_t window_ms;
    uint64_t revision;
    struct netconf_route *routes;
    struct pool *pools;
    size_t pool_count;
    struct rule *rules;
    struct cap_def *caps; /* ascending id */
    size_t cap_count;
    struct rule *cap_rules;
    struct tag_def *tags; /* ascending id */
    size_t tag_count;
    struct netconf_dns dns;
};

/* A signed revocation, shared by all who still have to get it. */
struct shared_revocation {
    unsigned refs;
    struct revocation revocation;
};

/* A revocation that members get with their next configuration. */
struct live_revocation {
    struct live_revocation *next; /* newest first */
    uint32_t seq;                 /* in the order of issue, from 1 */
    struct shared_revocation *rev;
};

struct cnetwork {
    struct hmap_node node; /* in the model, by network ID */
    uint64_t nwid;
    json_t *doc; /* canonical document, unknown keys included */
    struct plan plan;
    struct hmap members;   /* by address */
    struct hmap ips;       /* struct member_ip by inetaddr hash */
    size_t authorized;     /* members */
    struct list strangers; /* members that may be forgotten, longest silent first */
    size_t stranger_count;
    uint64_t *bridges; /* authorized active bridges, ascending; valid unless dirty */
    size_t bridge_count;
    bool bridges_dirty;
    uint8_t exhausted;         /* MODEL_NO_V4, MODEL_NO_V6: no free address in any pool */
    struct list push_link;     /* in the controller's list of changed networks */
    int64_t push_at_ms;        /* when on that list */
    struct hmap clashes;       /* struct clash by address */
    struct hmap removed;       /* struct removed by address */
    struct list removed_order; /* the same, longest removed first */
    struct live_revocation *revocations;
    size_t revocation_count;
    uint32_t revocation_seq; /* of the newest */
    struct grant *grants;    /* who may do what, beside administrators */
    size_t grant_count;
};

struct cmember;
struct sso_session;

/* An assigned address, in the network's index. */
struct member_ip {
    struct hmap_node node;
    struct inetaddr ip; /* port 0 */
    struct cmember *owner;
};

struct member_tag {
    uint32_t id;
    uint32_t value;
};

enum cred_kind {
    CRED_NONE, /* null */
    CRED_API,
    CRED_PUBLIC,
    CRED_TOKEN,
    CRED_OTHER, /* kept in extra */
};

struct cmember {
    struct hmap_node node; /* in its network, by address */
    struct cnetwork *net;
    struct list stranger_link; /* in net->strangers, or in no list */
    struct list push_link;     /* in the controller's push queue, or in no list */
    struct list unsaved_link;  /* in the controller's list of records to write, or in no list */
    uint64_t address;
    char *name;              /* NULL = absent */
    char *cred;              /* lastAuthorizedCredential, NULL = null; a secret */
    char *bad_identity;      /* stored identity text that does not parse, else NULL */
    char *os;                /* what it told of its system, or NULL */
    json_t *extra;           /* keys we do not know, or NULL */
    json_t *traces;          /* last remote trace reports, oldest first, or NULL */
    struct sso_session *sso; /* its login, or NULL */
    struct member_ip *ips;
    struct member_tag *tags; /* ascending id */
    uint32_t *caps;          /* ascending */
    uint16_t ip_count;
    uint16_t tag_count;
    uint16_t cap_count;
    bool authorized; /* set by member_set_authorized only */
    bool bridge;     /* set by member_set_bridge only */
    bool no_auto_ips;
    bool sso_exempt;
    bool blocked;
    bool hidden;       /* only marked, for consoles */
    bool has_pub;      /* pub is pinned */
    bool has_meta;     /* rules_revision is known: pushes can be built */
    bool unsaved;      /* memory is ahead of the store */
    bool stored;       /* there may be a row of it */
    uint8_t cred_kind; /* enum cred_kind */
    char trace_target[MODEL_TRACE_TARGET_LEN + 1]; /* "" = null */
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    uint32_t trace_level;
    int32_t version[4]; /* major, minor, revision, protocol; -1 unknown */
    int64_t created_ms; /* wall clock, as all that is stored */
    int64_t authorized_ms;
    int64_t deauthorized_ms;
    int64_t auth_expiry_ms;
    int64_t access_expiry_ms; /* end of its access, 0 none */
    uint64_t revision;
    /* Below: what was seen (runtime), losing it is harmless. */
    struct inetaddr from;       /* last direct source, nil = none yet */
    bool first_noted;           /* its first request is in the log, or it was not its own doing */
    struct inetaddr noted_from; /* last one that was noted in the log */
    int64_t note_credit_ms;     /* notes are paid for up to this time */
    int64_t request_credit_ms;  /* requests are paid for up to this time */
    int64_t last_request_ms;    /* monotonic, INT64_MIN never since start */
    int64_t seen_ms;            /* wall clock of the last request, 0 never */
    uint64_t held_revision;     /* of the network, in the configuration it says it has */
    int64_t held_ms;            /* wall clock of that configuration, 0 none */
    int64_t runtime_saved_ms;   /* monotonic, INT64_MIN never */
    uint64_t sent_hash;         /* of the configuration sent last, 0 none */
    uint32_t rules_revision;
    uint32_t revocation_seq; /* handed out up to this one */
    bool relayed;            /* the last request came through others */
    bool runtime_changed;    /* more than the time of the last request */
};

struct model {
    struct hmap networks;     /* struct cnetwork by network ID */
    struct hmap sso_sessions; /* struct sso_session by nonce */
    uint64_t seed;            /* random, for hash maps */
    uint64_t members;         /* in all networks */
    uint64_t last_ts;         /* highest time stamp issued, as stored */
    struct accounts accounts;
};

/* Empty model; seed: random. model_done releases everything in it. */
void model_init(struct model *model, uint64_t seed);
void model_done(struct model *model);

/* A network, borrowed, or NULL. */
struct cnetwork *model_find(const struct model *model, uint64_t nwid);

/* Add a network with a canonical document (a new reference, taken in every case).
 * Returns 0; -ENOMEM. */
MUST_CHECK int network_new(struct model *model, uint64_t nwid, json_t *doc, struct cnetwork **ret);

/* Replace the document and compile it (doc taken in every case). Returns 0; -ENOMEM (unchanged). */
MUST_CHECK int network_set_doc(struct cnetwork *net, json_t *doc);

/* Remove a network with all its members. They must be in no push queue. */
void cnetwork_free(struct model *model, struct cnetwork *net);

/* What a person was granted, borrowed, or NULL. */
struct grant *network_grant(const struct cnetwork *net, uint64_t user);

/* Add or replace a grant. Returns 0; -ENOSPC; -ENOMEM. */
MUST_CHECK int network_set_grant(struct cnetwork *net, const struct grant *g);
void network_drop_grant(struct cnetwork *net, uint64_t user);

/* The record of an address, borrowed, or NULL. */
struct cmember *network_member(const struct cnetwork *net, uint64_t address);

/* The first member of all networks (after NULL), the next one; NULL behind the last. None may be
 * added or removed meanwhile. */
struct cmember *model_next_member(const struct model *model, struct cmember *after);

/* Add a member with the defaults of spec 04 section 2.8. Returns 0; -ENOMEM. */
MUST_CHECK int member_new(struct model *model, struct cnetwork *net, uint64_t address,
                          struct cmember **ret);
void cmember_free(struct model *model, struct cmember *m);

/* Change what the sums of the network depend on. */
void member_set_authorized(struct cmember *m, bool authorized);
void member_set_bridge(struct cmember *m, bool bridge);

/* Replace all addresses. Returns 0; -ENOMEM (unchanged). */
MUST_CHECK int member_set_ips(struct cmember *m, const struct inetaddr *ips, size_t count);

/* Add one address behind those it has. Returns 0; -ENOMEM. */
MUST_CHECK int member_add_ip(struct cmember *m, const struct inetaddr *ip);

/* Who has an address, another than `except` (may be NULL); NULL if nobody. */
struct cmember *network_ip_owner(const struct cnetwork *net, const struct inetaddr *ip,
                                 const struct cmember *except);

/* Authorized active bridges, ascending; *ret_count of them, borrowed. Returns 0; -ENOMEM. */
MUST_CHECK int network_bridges(struct cnetwork *net, const uint64_t **ret, size_t *ret_count);

/* The longest route (its target) that contains ip, NULL if none. without_via: only those without
 * gateway. */
const struct inetaddr *plan_route(const struct plan *plan, const struct inetaddr *ip,
                                  bool without_via);

/* True for a member that nobody has touched: created by its own request, never authorized. */
bool member_is_stranger(const struct cmember *m);

/* Put it on or off the list of strangers as it is one, and last on it. */
void member_file_stranger(struct cmember *m);

/* Public identity of a member whose key is pinned. */
void member_identity(const struct cmember *m, struct identity *ret);

/* A reference more, a reference less. */
struct shared_revocation *shared_ref(struct shared_revocation *rev);
void shared_unref(struct shared_revocation *rev);

/* Fill a plan from a document; what does not parse is left out. Returns 0; -ENOMEM. */
MUST_CHECK int plan_compile(const json_t *doc, struct plan *ret);
void plan_free(struct plan *plan);
