/* Objects between engine and workers: made, found, withdrawn, harvested.
 * Source: data path contract, sections 1 and 2. */
#include "datapath/published.h"

#include "datapath/filter_program.h"

#include <stdlib.h>
#include <string.h>

/* ---- slots ---- */

/* A number with a bit in the dirty maps; false: none is left. */
static bool slot_take(struct published *pub, struct dp_object *object)
{
    if (pub->free_count == 0) {
        uint32_t count = pub->slot_count == 0 ? 64 : 2 * pub->slot_count;
        struct dp_object **slots;
        uint32_t *free_slots;

        if (count > DP_SLOTS) {
            return false;
        }
        slots = realloc(pub->slots, count * sizeof(*slots));
        if (slots == NULL) {
            return false;
        }
        pub->slots = slots;
        free_slots = realloc(pub->free_slots, count * sizeof(*free_slots));
        if (free_slots == NULL) {
            return false;
        }
        pub->free_slots = free_slots;
        for (uint32_t i = count; i-- > pub->slot_count;) {
            slots[i] = NULL;
            free_slots[pub->free_count++] = i;
        }
        pub->slot_count = count;
    }
    object->slot = pub->free_slots[--pub->free_count];
    pub->slots[object->slot] = object;
    return true;
}

static void slot_give(struct published *pub, const struct dp_object *object)
{
    if (object->slot != DP_NO_SLOT) {
        pub->slots[object->slot] = NULL;
        pub->free_slots[pub->free_count++] = object->slot;
    }
}

/* ---- objects ---- */

static void object_free(struct dp_object *object)
{
    struct published *pub = object->pub;

    slot_give(pub, object);
    if (object->kind == DP_PORT) {
        struct dp_port *port = CONTAINER_OF(object, struct dp_port, object);

        table_done(&port->members);
        free(port->filter);
    } else if (object->kind == DP_MEMBER) {
        free(CONTAINER_OF(object, struct dp_member, object)->creds);
        pub->member_count--;
    }
    free(object);
}

/* No worker can write to the cells any more: take the last of what they say. */
static void object_release(struct retired *r)
{
    struct dp_object *object = CONTAINER_OF(r, struct dp_object, retired);

    if (object->slot != DP_NO_SLOT) {
        object->pub->visit(object->pub->visit_ctx, object);
    }
    object_free(object);
}

static void object_retire(struct dp_object *object)
{
    atomic_store_explicit(&object->is_dead, true, memory_order_release);
    if (object->kind == DP_MEMBER) { /* also for who found it before, in this very turn */
        atomic_store_explicit(&CONTAINER_OF(object, struct dp_member, object)->access, 0U,
                              memory_order_release);
    }
    limbo_retire(&object->pub->limbo, &object->retired, object_release);
}

static void *object_new(struct published *pub, enum dp_kind kind, uint64_t key, size_t len)
{
    struct dp_object *object = aligned_alloc(64, (len + 63) / 64 * 64);

    if (object == NULL) {
        return NULL;
    }
    memset(object, 0, len);
    object->node.key = key;
    object->pub = pub;
    object->kind = kind;
    object->slot = DP_NO_SLOT;
    if (!slot_take(pub, object)) {
        free(object);
        return NULL;
    }
    return object;
}

struct dp_session *dp_session_new(struct published *pub, uint64_t address)
{
    if (pub->sessions.count >= DP_SESSIONS_MAX) {
        return NULL;
    }
    return object_new(pub, DP_SESSION, address,
                      sizeof(struct dp_session) + pub->workers * sizeof(struct session_cell));
}

struct dp_port *dp_port_new(struct published *pub, uint64_t nwid)
{
    struct dp_port *port = object_new(
        pub, DP_PORT, nwid, sizeof(struct dp_port) + pub->workers * sizeof(struct port_cell));

    if (port != NULL) {
        table_init(&port->members, pub->seed, &pub->limbo);
    }
    return port;
}

struct dp_member *dp_member_new(struct published *pub, const struct dp_port *port, uint64_t address)
{
    struct dp_member *member;

    if (pub->member_count >= DP_MEMBERS_MAX) {
        return NULL;
    }
    member = object_new(pub, DP_MEMBER, address,
                        sizeof(struct dp_member) + pub->workers * sizeof(struct member_cell));
    if (member != NULL) {
        member->nwid = port->object.node.key;
        pub->member_count++;
    }
    return member;
}

struct dp_route *dp_route_new(struct published *pub, uint64_t address)
{
    const struct dp_route *route;

    return object_new(pub, DP_ROUTE, address,
                      sizeof(*route) + pub->workers * sizeof(route->used_ms[0]));
}

/* ---- publishing ---- */

static struct dp_object *find(const struct table *table, uint64_t key)
{
    struct table_node *node = table_find(table, key);

    return node == NULL ? NULL : CONTAINER_OF(node, struct dp_object, node);
}

static void retire_members(struct dp_port *port)
{
    struct table_node *node;
    size_t at = 0;

    while ((node = table_each(&port->members, &at)) != NULL) {
        object_retire(CONTAINER_OF(node, struct dp_object, node));
    }
}

/* Retire what is out of its table. */
static void put_away(struct dp_object *object)
{
    if (object->kind == DP_PORT) {
        retire_members(CONTAINER_OF(object, struct dp_port, object));
    }
    object_retire(object);
}

static void publish(struct table *table, struct dp_object *object)
{
    struct dp_object *old = find(table, object->node.key);

    if (old != NULL) {
        table_replace(table, &old->node, &object->node);
        put_away(old);
    } else if (table_insert(table, &object->node) < 0) {
        object_free(object);
    }
}

static void withdraw(struct table *table, uint64_t key)
{
    struct dp_object *object = find(table, key);

    if (object != NULL) {
        table_remove(table, &object->node);
        put_away(object);
    }
}

void dp_session_publish(struct dp_session *session)
{
    publish(&session->object.pub->sessions, &session->object);
}

void dp_port_publish(struct dp_port *port)
{
    publish(&port->object.pub->ports, &port->object);
}

void dp_member_publish(struct dp_port *port, struct dp_member *member)
{
    publish(&port->members, &member->object);
}

void dp_route_publish(struct dp_route *route)
{
    publish(&route->object.pub->routes, &route->object);
}

void dp_session_withdraw(struct published *pub, uint64_t address)
{
    withdraw(&pub->sessions, address);
}

void dp_port_withdraw(struct published *pub, uint64_t nwid)
{
    withdraw(&pub->ports, nwid);
}

void dp_member_withdraw(struct dp_port *port, uint64_t address)
{
    withdraw(&port->members, address);
}

void dp_route_withdraw(struct published *pub, uint64_t address)
{
    withdraw(&pub->routes, address);
}

/* What a worker finds: nothing that was just withdrawn. */
static struct dp_object *find_live(const struct table *table, uint64_t key)
{
    struct dp_object *object = find(table, key);
    bool is_gone = object == NULL || atomic_load_explicit(&object->is_dead, memory_order_acquire);

    return is_gone ? NULL : object;
}

struct dp_session *dp_session_find(const struct published *pub, uint64_t address)
{
    struct dp_object *object = find_live(&pub->sessions, address);

    return object == NULL ? NULL : CONTAINER_OF(object, struct dp_session, object);
}

struct dp_port *dp_port_find(const struct published *pub, uint64_t nwid)
{
    struct dp_object *object = find_live(&pub->ports, nwid);

    return object == NULL ? NULL : CONTAINER_OF(object, struct dp_port, object);
}

struct dp_member *dp_member_find(const struct dp_port *port, uint64_t address)
{
    struct dp_object *object = find_live(&port->members, address);

    return object == NULL ? NULL : CONTAINER_OF(object, struct dp_member, object);
}

struct dp_route *dp_route_find(const struct published *pub, uint64_t address)
{
    struct dp_object *object = find_live(&pub->routes, address);

    return object == NULL ? NULL : CONTAINER_OF(object, struct dp_route, object);
}

bool dp_route_is_from(const struct dp_route *route, uint32_t socket, const struct inetaddr *from)
{
    if (route == NULL) {
        return false;
    }
    if (route->to.socket == socket && inetaddr_equal(&route->to.remote, from)) {
        return true;
    }
    for (unsigned i = 0; i < route->way_count; i++) {
        if (route->ways[i].socket == socket && inetaddr_equal(&route->ways[i].remote, from)) {
            return true;
        }
    }
    return false;
}

/* ---- life ---- */

/* Words of a worker. A large block of zeros is not touched until it is used. */
static struct dp_shared *shared_new(void)
{
    struct dp_shared *shared = aligned_alloc(64, sizeof(*shared));

    if (shared != NULL) {
        memset(shared, 0, sizeof(*shared));
        shared->dirty = calloc(DP_SLOTS / 64, sizeof(*shared->dirty));
    }
    if (shared != NULL && shared->dirty == NULL) {
        free(shared);
        shared = NULL;
    }
    return shared;
}

struct published *published_new(uint64_t self, unsigned workers, const struct packet_id_source *ids,
                                uint64_t seed, harvest_fn visit, void *visit_ctx)
{
    struct published *pub = calloc(1, sizeof(*pub));

    if (pub == NULL) {
        return NULL;
    }
    pub->self = self;
    pub->seed = seed;
    pub->ids = *ids;
    pub->visit = visit;
    pub->visit_ctx = visit_ctx;
    atomic_init(&pub->relay_cost_ns, INT64_C(1000000000) / DP_RELAY_RATE);
    limbo_init(&pub->limbo);
    table_init(&pub->sessions, seed, &pub->limbo);
    table_init(&pub->ports, seed, &pub->limbo);
    table_init(&pub->routes, seed, &pub->limbo);
    for (; pub->workers < workers; pub->workers++) {
        pub->shared[pub->workers] = shared_new();
        if (pub->shared[pub->workers] == NULL) {
            published_free(pub);
            return NULL;
        }
    }
    return pub;
}

static void clear(struct table *table)
{
    struct table_node *node;
    size_t at = 0;

    while ((node = table_each(table, &at)) != NULL) {
        put_away(CONTAINER_OF(node, struct dp_object, node));
    }
    table_done(table);
}

void published_free(struct published *pub)
{
    if (pub == NULL) {
        return;
    }
    clear(&pub->sessions);
    clear(&pub->ports);
    clear(&pub->routes);
    limbo_reclaim(&pub->limbo, UINT64_MAX);
    for (unsigned w = 0; w < pub->workers; w++) {
        free(pub->shared[w]->dirty);
        free(pub->shared[w]);
    }
    free(pub->slots);
    free(pub->free_slots);
    free(pub);
}

bool published_has_room(const struct published *pub)
{
    return pub->limbo.count < DP_RETIRED_MAX;
}

/* ---- harvest ---- */

bool dp_touch(struct published *pub, unsigned w, const struct dp_object *object)
{
    struct dp_shared *shared = pub->shared[w];
    _Atomic uint64_t *word = &shared->dirty[object->slot / 64];
    uint64_t bit = UINT64_C(1) << object->slot % 64;

    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) != 0) {
        return false;
    }
    atomic_fetch_or_explicit(word, bit, memory_order_release);
    return !atomic_exchange_explicit(&shared->is_dirty, true, memory_order_acq_rel);
}

bool published_is_dirty(const struct published *pub)
{
    for (unsigned w = 0; w < pub->workers; w++) {
        if (atomic_load_explicit(&pub->shared[w]->is_dirty, memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

/* Visit what changed of 64 slots. Returns how many. */
static size_t harvest_word(struct published *pub, uint32_t word)
{
    uint64_t bits = 0;
    size_t count = 0;

    for (unsigned w = 0; w < pub->workers; w++) {
        _Atomic uint64_t *dirty = &pub->shared[w]->dirty[word];

        if (atomic_load_explicit(dirty, memory_order_relaxed) != 0) {
            bits |= atomic_exchange_explicit(dirty, 0, memory_order_acquire);
        }
    }
    for (; bits != 0; bits &= bits - 1) {
        struct dp_object *object = pub->slots[word * 64 + (unsigned)__builtin_ctzll(bits)];

        if (object != NULL) {
            pub->visit(pub->visit_ctx, object);
            count++;
        }
    }
    return count;
}

size_t published_harvest(struct published *pub)
{
    uint32_t words = pub->slot_count / 64;
    size_t count = 0;

    for (unsigned w = 0; w < pub->workers; w++) {
        (void)atomic_exchange_explicit(&pub->shared[w]->is_dirty, false, memory_order_acq_rel);
    }
    for (uint32_t i = 0; i < words; i++) {
        pub->harvest_at = pub->harvest_at + 1 < words ? pub->harvest_at + 1 : 0;
        count += harvest_word(pub, pub->harvest_at);
        if (count >= DP_HARVEST_MAX && i + 1 < words) {
            atomic_store_explicit(&pub->shared[0]->is_dirty, true, memory_order_release);
            break;
        }
    }
    return count;
}

void published_counts(struct published *pub, uint64_t ret[DP_COUNTS])
{
    memset(ret, 0, DP_COUNTS * sizeof(ret[0]));
    for (unsigned w = 0; w < pub->workers; w++) {
        struct dp_shared *shared = pub->shared[w];

        for (size_t i = 0; i < DP_COUNTS; i++) {
            uint64_t now = atomic_load_explicit(&shared->counts[i], memory_order_relaxed);

            ret[i] += now - shared->folded[i];
            shared->folded[i] = now;
        }
    }
}

void published_totals(const struct published *pub, uint64_t ret[DP_COUNTS])
{
    memset(ret, 0, DP_COUNTS * sizeof(ret[0]));
    for (unsigned w = 0; w < pub->workers; w++) {
        for (size_t i = 0; i < DP_COUNTS; i++) {
            ret[i] += atomic_load_explicit(&pub->shared[w]->counts[i], memory_order_relaxed);
        }
    }
}

const char *dp_count_name(size_t index)
{
    static const char *const names[DP_COUNTS] = {
        [DP_RX_DATAGRAMS] = "rx_datagrams",
        [DP_RX_PACKETS] = "rx_packets",
        [DP_RX_FRAMES] = "rx_frames",
        [DP_RX_EXT_FRAMES] = "rx_ext_frames",
        [DP_TX_DATAGRAMS] = "tx_datagrams",
        [DP_TX_FRAMES] = "tx_frames",
        [DP_TX_EXT_FRAMES] = "tx_ext_frames",
        [DP_RELAYED] = "relayed",
        [DP_GIVEN] = "given",
        [DP_SLOW_JOIN] = "slow_join",
        [DP_DROP_RUNT] = "drop_runt",
        [DP_DROP_BEACON] = "drop_beacon",
        [DP_DROP_OWN_SOURCE] = "drop_own_source",
        [DP_DROP_HOPS] = "drop_hops",
        [DP_DROP_NO_ROUTE] = "drop_no_route",
        [DP_DROP_RELAY_RATE] = "drop_relay_rate",
        [DP_DROP_RELAY_PAIR] = "drop_relay_pair",
        [DP_DROP_FRAGMENT] = "drop_fragment",
        [DP_DROP_MAC] = "drop_mac",
        [DP_DROP_DUPLICATE] = "drop_duplicate",
        [DP_DROP_MALFORMED] = "drop_malformed",
        [DP_DROP_RULES_IN] = "drop_rules_in",
        [DP_DROP_RULES_OUT] = "drop_rules_out",
        [DP_DROP_TOO_BIG] = "drop_too_big",
        [DP_DROP_HEADERS] = "drop_headers",
    };

    return index < DP_COUNTS ? names[index] : NULL;
}

/* ---- copies ---- */

/* Hands out pieces of one block; a first run without memory measures. */
struct block {
    uint8_t *memory;
    size_t used;
};

static void *take(struct block *block, const void *data, size_t len)
{
    uint8_t *at = block->memory == NULL ? NULL : block->memory + block->used;

    block->used += (len + 15) / 16 * 16;
    if (at != NULL && data != NULL && len > 0) {
        memcpy(at, data, len);
    }
    return at;
}

/* The same rules made ready, if that pays. */
static struct filter_op *compile(struct block *block, const struct rule *rules, size_t count)
{
    struct filter_op *ops;

    if (count < FILTER_PROGRAM_MIN) {
        return NULL;
    }
    ops = take(block, NULL, count * sizeof(*ops));
    if (ops != NULL) {
        filter_compile(rules, count, ops);
    }
    return ops;
}

static void copy_credentials(struct block *block, const struct filter_credentials *from,
                             struct filter_credentials *to)
{
    struct filter_ownership *ownerships =
        take(block, from->ownerships, from->ownership_count * sizeof(*ownerships));
    struct filter_capability *capabilities =
        take(block, from->capabilities, from->capability_count * sizeof(*capabilities));
    void *tags = take(block, from->tags, from->tag_count * sizeof(*from->tags));

    for (size_t i = 0; i < from->ownership_count; i++) {
        const struct filter_ownership *o = &from->ownerships[i];
        void *things = take(block, o->things, o->count * sizeof(*o->things));

        if (ownerships != NULL) {
            ownerships[i].things = things;
        }
    }
    for (size_t i = 0; i < from->capability_count; i++) {
        const struct filter_capability *c = &from->capabilities[i];
        void *rules = take(block, c->rules, c->rule_count * sizeof(*c->rules));
        struct filter_op *program = compile(block, c->rules, c->rule_count);

        if (capabilities != NULL) {
            capabilities[i].rules = rules;
            capabilities[i].program = program;
        }
    }
    if (to != NULL) {
        *to = *from;
        to->tags = tags;
        to->ownerships = ownerships;
        to->capabilities = capabilities;
    }
}

struct filter_credentials *filter_credentials_copy(const struct filter_credentials *creds)
{
    struct block block = {0};

    (void)take(&block, creds, sizeof(*creds));
    copy_credentials(&block, creds, NULL);
    block = (struct block){.memory = malloc(block.used)};
    if (block.memory == NULL) {
        return NULL;
    }
    copy_credentials(&block, creds, take(&block, creds, sizeof(*creds)));
    return (struct filter_credentials *)(void *)block.memory;
}

static struct filter_network *copy_network(struct block *block, const struct filter_network *from)
{
    struct filter_network *to = take(block, from, sizeof(*from));
    void *rules = take(block, from->rules, from->rule_count * sizeof(*from->rules));
    struct filter_op *program = compile(block, from->rules, from->rule_count);
    void *addresses = take(block, from->addresses, from->address_count * sizeof(*from->addresses));

    copy_credentials(block, &from->own, to == NULL ? NULL : &to->own);
    if (to != NULL) {
        to->rules = rules;
        to->program = program;
        to->addresses = addresses;
    }
    return to;
}

struct filter_network *filter_network_copy(const struct filter_network *net)
{
    struct block block = {0};

    (void)copy_network(&block, net);
    block = (struct block){.memory = malloc(block.used)};
    return block.memory == NULL ? NULL : copy_network(&block, net);
}
