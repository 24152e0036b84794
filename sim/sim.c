/* Nodes of the simulator: hosts of the engine with a virtual clock, devices and an address book. */
#include "sim.h"

#include "base/hmap.h"
#include "datapath/dp.h"
#include "sim_priv.h"
#include "wire/mac.h"
#include "wire/world.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIM_START_MS = 1000000,
};

/* ---- random numbers and time ---- */

static uint64_t next_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t sim_random(struct sim *sim, uint64_t bound)
{
    return bound > 0 ? next_random(&sim->random) % bound : 0;
}

static void fill_random(uint64_t *state, void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        uint64_t v = next_random(state);
        size_t n = len < sizeof(v) ? len : sizeof(v);

        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}

int64_t sim_now(const struct sim *sim)
{
    return sim->now_ms;
}

uint64_t sim_trace(const struct sim *sim)
{
    return sim->trace;
}

uint64_t sim_datagrams(const struct sim *sim)
{
    return sim->datagrams;
}

/* ---- events ---- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->serial < b->serial;
}

void sim_push(struct sim *sim, struct sim_event *event)
{
    size_t i;

    if (sim->event_count == sim->event_cap) {
        sim->event_cap = sim->event_cap > 0 ? 2 * sim->event_cap : 1024;
        sim->events = realloc(sim->events, sim->event_cap * sizeof(*sim->events));
        assert(sim->events != NULL);
    }
    event->serial = sim->serial++;
    i = sim->event_count++;
    while (i > 0 && event_before(event, sim->events[(i - 1) / 2])) {
        sim->events[i] = sim->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->events[i] = event;
}

static struct sim_event *pop(struct sim *sim)
{
    struct sim_event *top = sim->events[0];
    struct sim_event *last = sim->events[--sim->event_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < sim->event_count &&
            event_before(sim->events[child + 1], sim->events[child])) {
            child++;
        }
        if (child >= sim->event_count || event_before(last, sim->events[child])) {
            break;
        }
        sim->events[i] = sim->events[child];
        i = child;
    }
    sim->events[i] = last;
    return top;
}

/* ---- the host side of one engine ---- */

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned how)
{
    struct sim_node *node = ctx;

    sim_transmit(node, socket, to, data, len, how);
}

static void env_deliver(void *ctx, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                        uint16_t ethertype, const void *payload, size_t len)
{
    sim_deliver(ctx, nwid, dest_mac, source_mac, ethertype, payload, len);
}

void sim_deliver(struct sim_node *node, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                 uint16_t ethertype, const void *payload, size_t len)
{
    const struct sim_options *options = &node->sim->options;
    const uint8_t *p = payload;

    if (options->frame != NULL) {
        options->frame(options->frame_ctx, node, nwid, dest_mac, source_mac, ethertype, payload,
                       len);
    }
    if (ethertype == SIM_ETHERTYPE_TEST && len >= 8) {
        uint32_t index = be32_get(p);

        node->frames++;
        if (index < SIM_NODES_MAX) {
            node->frames_from[index]++;
        }
    }
}

static void env_port(void *ctx, uint64_t nwid, enum port_change change)
{
    (void)ctx;
    (void)nwid;
    (void)change;
}

static struct sim_object *object_find(struct sim_node *node, enum state_kind kind, uint64_t id)
{
    for (size_t i = 0; i < node->object_count; i++) {
        if (node->objects[i].kind == kind && node->objects[i].id == id) {
            return &node->objects[i];
        }
    }
    return NULL;
}

static ssize_t env_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    const struct sim_object *o = object_find(ctx, kind, id);

    if (o == NULL) {
        return -ENOENT;
    }
    if (o->len > cap) {
        return -EMSGSIZE;
    }
    memcpy(buf, o->data, o->len);
    return (ssize_t)o->len;
}

static void env_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    struct sim_node *node = ctx;
    struct sim_object *o = object_find(node, kind, id);

    if (o != NULL) {
        free(o->data);
        *o = node->objects[--node->object_count];
    }
}

static void env_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct sim_node *node = ctx;
    struct sim_object *o;

    env_erase(node, kind, id);
    node->objects = realloc(node->objects, (node->object_count + 1) * sizeof(*node->objects));
    assert(node->objects != NULL);
    o = &node->objects[node->object_count++];
    *o = (struct sim_object){.kind = kind, .id = id, .len = len, .data = malloc(len > 0 ? len : 1)};
    assert(o->data != NULL);
    memcpy(o->data, data, len);
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct sim_node *node = ctx;

    fill_random(&node->random, out, len);
}

static void env_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    struct sim_node *node = ctx;

    (void)id;
    (void)data;
    (void)len;
    node->online = kind == EVENT_ONLINE || (node->online && kind != EVENT_OFFLINE);
}

static void env_log(void *ctx, enum log_level level, const char *text)
{
    struct sim_node *node = ctx;

    if (node->sim->verbose) {
        (void)fprintf(stderr, "%8lld n%u %d %s\n", (long long)node->sim->now_ms - SIM_START_MS,
                      node->index, level, text);
    }
}

/* Address hashes are not computed: simulated identities have addresses of their own choice. */
static int env_job(void *ctx, struct engine_job *job)
{
    struct sim_node *node = ctx;
    struct sim_event *event = calloc(1, sizeof(*event));

    assert(event != NULL);
    CONTAINER_OF(job, struct validate_job, job)->result = 0;
    job->done = true;
    event->at_ms = node->sim->now_ms + node->sim->options.hash_ms;
    event->node = node;
    event->job = job;
    event->life = node->life;
    sim_push(node->sim, event);
    return 0;
}

/* ---- the network ---- */

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof(*sim));

    if (sim == NULL || sodium_init() < 0) {
        free(sim);
        return NULL;
    }
    sim->options = *options;
    sim->random = options->seed;
    sim->now_ms = SIM_START_MS;
    sim->verbose = getenv("SIM_VERBOSE") != NULL;
    sim->options.datapath = options->datapath || getenv("SIM_DATAPATH") != NULL;
    fill_random(&sim->random, sim->world_seed, sizeof(sim->world_seed));
    return sim;
}

static void node_delete(struct sim_node *node)
{
    sim_stop(node, true);
    for (size_t i = 0; i < node->object_count; i++) {
        free(node->objects[i].data);
    }
    free(node->objects);
    free(node->extras);
    if (node->nat != NULL && --node->nat->users == 0) {
        free(node->nat->maps);
        free(node->nat);
    }
    free(node);
}

static void event_delete(struct sim_event *event)
{
    if (event->job != NULL && event->node->node != NULL && event->node->life == event->life) {
        node_job_done(event->node->node, event->job, event->node->sim->now_ms);
    }
    free(event);
}

void sim_free(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    for (size_t i = 0; i < sim->node_count; i++) {
        node_delete(sim->nodes[i]);
    }
    for (size_t i = 0; i < sim->event_count; i++) {
        free(sim->events[i]);
    }
    free(sim->events);
    free(sim);
}

void sim_set_loss(struct sim *sim, unsigned loss_pct)
{
    sim->options.loss_pct = loss_pct;
}

static void make_identity(struct sim *sim, struct identity *id)
{
    uint8_t sk[crypto_sign_SECRETKEYBYTES];

    fill_random(&sim->random, id->priv, sizeof(id->priv));
    (void)crypto_scalarmult_base(id->pub, id->priv);
    (void)crypto_sign_seed_keypair(id->pub + 32, sk, id->priv + 32);
    id->address = (next_random(&sim->random) & 0x7fffffffffu) | 1;
    id->has_private = true;
}

struct sim *sim_of(const struct sim_node *node)
{
    return node->sim;
}

struct sim_node *sim_add(struct sim *sim, enum sim_nat_kind kind)
{
    struct sim_node *node = calloc(1, sizeof(*node));

    assert(node != NULL && sim->node_count < SIM_NODES_MAX);
    node->sim = sim;
    node->index = (uint32_t)sim->node_count;
    node->random = next_random(&sim->random);
    make_identity(sim, &node->identity);
    sim->nodes[sim->node_count++] = node;
    sim_place(node, kind);
    return node;
}

struct sim_node *sim_add_neighbour(struct sim *sim, struct sim_node *other)
{
    struct sim_node *node = sim_add(sim, SIM_NAT_NONE);

    node->nat = other->nat;
    node->nat->users++;
    node->at = other->at;
    node->at.ip[3] = (uint8_t)(other->at.ip[3] + node->nat->users - 1);
    return node;
}

void sim_planet(struct sim *sim, struct sim_node *const *roots, size_t count)
{
    struct world *w = &sim->planet;
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    uint8_t sk[crypto_sign_SECRETKEYBYTES];

    (void)crypto_scalarmult_base(pub, sim->world_seed);
    (void)crypto_sign_seed_keypair(pub + 32, sk, sim->world_seed + 32);
    w->type = WORLD_PLANET;
    w->id = 0x51a0000000000001u;
    w->timestamp = (uint64_t)sim->now_ms + sim->planet_updates++;
    memcpy(w->update_key, pub, sizeof(pub));
    w->root_count = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        w->roots[i].identity = roots[i]->identity;
        w->roots[i].identity.has_private = false;
        memset(w->roots[i].identity.priv, 0, sizeof(w->roots[i].identity.priv));
        w->roots[i].endpoint_count = 1;
        w->roots[i].endpoints[0] = roots[i]->at;
    }
    world_sign(w, sim->world_seed, pub);
}

void sim_set_protocol(struct sim_node *node, uint8_t protocol)
{
    node->protocol = protocol;
}

void sim_set_low_bandwidth(struct sim_node *node)
{
    node->low_bandwidth = true;
}

void sim_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct engine_env env = {
        .send = env_send,
        .deliver = env_deliver,
        .port = env_port,
        .state_load = env_load,
        .state_store = env_store,
        .state_erase = env_erase,
        .random = env_random,
        .event = env_event,
        .log = env_log,
        .job = env_job,
        .extra_open = sim_extra_open,
        .extra_close = sim_extra_close,
        .ctx = node,
        .log_level = sim->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
    };
    struct node_options options = {
        .wall_offset_ms = 1700000000000 - SIM_START_MS + node->clock_step_ms,
        .no_default_planet = true,
        .version = {0, 1, 0},
        .protocol = node->protocol,
        .low_bandwidth = node->low_bandwidth,
    };

    if (object_find(node, STATE_PLANET, 0) == NULL && sim->planet.root_count > 0) {
        uint8_t buf[WORLD_WIRE_MAX];
        struct wr w = wr_init(buf, sizeof(buf));

        world_write(&w, &sim->planet);
        env_store(node, STATE_PLANET, 0, buf, wr_len(&w));
    }
    node->life++;
    node->online = false;
    node->node = node_new(&env, &node->identity, &options, sim->now_ms);
    assert(node->node != NULL);
    if (sim->options.datapath) {
        sim_worker_start(node);
    }
    sim_set_sockets(node);
}

void sim_stop(struct sim_node *node, bool abrupt)
{
    struct sim *sim = node->sim;

    if (node->node == NULL) {
        return;
    }
    /* Jobs that are out are handed back first. */
    for (size_t i = 0; i < sim->event_count; i++) {
        struct sim_event *e = sim->events[i];

        if (e->job != NULL && e->node == node && e->life == node->life) {
            node_job_done(node->node, e->job, sim->now_ms);
            e->job = NULL;
        }
    }
    (void)abrupt;
    sim_controller_stop(node);
    sim_worker_stop(node);
    node_free(node->node, sim->now_ms);
    node->node = NULL;
    node->extra_count = 0;
    node->life++;
}

struct node *sim_engine(struct sim_node *node)
{
    return node->node;
}

uint64_t sim_address(const struct sim_node *node)
{
    return node->identity.address;
}

const struct identity *sim_identity(const struct sim_node *node)
{
    return &node->identity;
}

void sim_clock_step(struct sim_node *node, int64_t ms)
{
    node->clock_step_ms += ms;
    if (node->node != NULL) {
        node_set_wall_offset(node->node, 1700000000000 - SIM_START_MS + node->clock_step_ms);
    }
}

/* ---- frames ---- */

static void send_test_frame(struct sim_node *from, uint64_t nwid, uint64_t dest_mac)
{
    uint8_t frame[ETHERNET_LEN + 64] = {0};

    mac_put(frame, dest_mac);
    mac_put(frame + MAC_LEN, mac_of_member(nwid, from->identity.address));
    be16_put(frame + ETHERNET_LEN - 2, SIM_ETHERTYPE_TEST);
    be32_put(frame + ETHERNET_LEN, from->index);
    be32_put(frame + ETHERNET_LEN + 4, from->frame_serial++);
    sim_send(from, nwid, NULL, frame, sizeof(frame));
}

void sim_frame(struct sim_node *from, struct sim_node *to, uint64_t nwid)
{
    send_test_frame(from, nwid, mac_of_member(nwid, to->identity.address));
}

void sim_broadcast(struct sim_node *from, uint64_t nwid)
{
    send_test_frame(from, nwid, MAC_BROADCAST);
}

unsigned sim_frames_from(const struct sim_node *node, const struct sim_node *from)
{
    return node->frames_from[from->index];
}

unsigned sim_frames(const struct sim_node *node)
{
    return node->frames;
}

uint64_t sim_wakeups(const struct sim_node *node)
{
    return node->wakeups;
}

bool sim_is_direct(struct sim_node *node, const struct sim_node *other)
{
    struct node_peer_info *peers;
    ssize_t n = node_peers(node->node, node->sim->now_ms, &peers);
    bool direct = false;

    for (ssize_t i = 0; i < n; i++) {
        direct = direct || (peers[i].address == other->identity.address && peers[i].path_count > 0);
    }
    if (n >= 0) {
        node_peers_free(peers, (size_t)n);
    }
    return direct;
}

bool sim_network_ok(struct sim_node *node, uint64_t nwid)
{
    struct node_network_info info;

    return node_network_get(node->node, nwid, &info) == 0 && info.config != NULL &&
           info.status == NETWORK_OK;
}

/* ---- time passes ---- */

static void trace_add(struct sim *sim, const struct sim_event *event)
{
    uint64_t h = sim->trace ^ (uint64_t)event->at_ms;

    for (size_t i = 0; i + 8 <= event->len; i += 8) {
        h = hash_mix(be64_get(event->data + i), h);
    }
    sim->trace = hash_mix(event->len, h ^ event->node->index);
    sim->datagrams++;
}

/* Take what comes to the same node at the same moment along with a datagram. */
static size_t pop_batch(struct sim *sim, struct sim_event *first,
                        struct sim_event *batch[DP_MESSAGES_MAX])
{
    size_t count = 1;

    batch[0] = first;
    while (count < DP_MESSAGES_MAX && sim->event_count > 0 && sim->events[0]->job == NULL &&
           sim->events[0]->node == first->node && sim->events[0]->socket == first->socket &&
           sim->events[0]->at_ms <= sim->now_ms) {
        batch[count++] = pop(sim);
    }
    return count;
}

static void receive(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = event->node;
    struct sim_event *batch[DP_MESSAGES_MAX];
    size_t count;

    if (node->worker == NULL || event->socket != SIM_SOCKET) {
        trace_add(sim, event);
        node_receive(node->node, event->socket, &event->from, event->data, event->len, sim->now_ms);
        event_delete(event);
        return;
    }
    count = pop_batch(sim, event, batch);
    for (size_t i = 0; i < count; i++) {
        trace_add(sim, batch[i]);
    }
    sim_worker_receive(node, batch, count);
    for (size_t i = 0; i < count; i++) {
        event_delete(batch[i]);
    }
}

static void run_event(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = event->node;

    if (node->node == NULL || (event->job != NULL && node->life != event->life)) {
        free(event);
        return;
    }
    if (event->job != NULL) {
        struct engine_job *job = event->job;

        event->job = NULL;
        node_job_done(node->node, job, sim->now_ms);
        event_delete(event);
    } else {
        receive(sim, event);
    }
    sim_worker_end_input(node);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* The next deadline of a node, its worker and the controller on it, or -1. */
static int64_t deadline_of(const struct sim_node *node)
{
    int64_t at = node->node != NULL ? node_deadline(node->node) : -1;
    int64_t c = node->controller != NULL ? controller_deadline(node->controller) : -1;

    return earlier(earlier(at, c), sim_worker_deadline(node));
}

/* Earliest thing to happen at or before limit. */
static int64_t next_time(const struct sim *sim, int64_t limit)
{
    int64_t next = limit;

    if (sim->event_count > 0 && sim->events[0]->at_ms < next) {
        next = sim->events[0]->at_ms;
    }
    for (size_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = sim->nodes[i];
        int64_t at = deadline_of(node);

        if (at >= 0 && at < next) {
            next = at;
        }
    }
    return next > sim->now_ms ? next : sim->now_ms;
}

static void run_deadlines(struct sim *sim)
{
    for (size_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = sim->nodes[i];
        int64_t at = deadline_of(node);

        if (at >= 0 && at <= sim->now_ms) {
            node->wakeups++;
            (void)node_tick(node->node, sim->now_ms);
            if (node->controller != NULL) {
                (void)controller_tick(node->controller, sim->now_ms);
            }
            if (node->worker != NULL) {
                sim_worker_tick(node);
            }
            sim_worker_end_input(node);
        }
    }
}

bool sim_run(struct sim *sim, int64_t ms, bool (*until)(void *ctx), void *ctx)
{
    int64_t end = sim->now_ms + ms;

    for (;;) {
        int64_t next = next_time(sim, end);

        if (until != NULL && next > sim->now_ms && until(ctx)) {
            return true;
        }
        sim->now_ms = next;
        while (sim->event_count > 0 && sim->events[0]->at_ms <= sim->now_ms) {
            run_event(sim, pop(sim));
        }
        run_deadlines(sim);
        if (sim->now_ms >= end) {
            return until != NULL && until(ctx);
        }
    }
}
