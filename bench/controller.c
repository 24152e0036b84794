/* What a controller costs. The engine and the controller logic are the real ones: sealed requests
 * of made-up members (crowd.h) go in, sealed answers with real signatures come out; nothing is
 * generated, no socket is used. Times are processor time, latencies those of a queue in which every
 * piece of work takes the processor time measured for it, so other work on the machine does not
 * count.
 * Usage: bench-controller [rates|latency|memory|store [MEMBERS]], default all; files are made in
 * TMPDIR and removed. */
#include "crowd.h"

#include "base/hmap.h"
#include "controller/api.h"
#include "controller/controller.h"
#include "controller/store_sqlite.h"
#include "measure.h"
#include "vl2/vl2.h"
#include "wire/config_chunk.h"
#include "wire/netconf.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WALL_MS = 60000, /* between two polls of a member */
    SECOND_US = 1000000,
    OTHERS = 1000,      /* members of the network that has nothing to do with what happens */
    ASKED_S = 2000,     /* requests a second while latency is measured */
    QUIET_S = 5,        /* before something happens */
    BUSY_S = 25,        /* after it */
    PATH_LEN = 256,     /* of files */
    API_PATH_LEN = 128, /* of the controller API */
};

struct bench {
    struct crowd crowd;
    struct vl2 *vl2;
    struct controller *c;
    size_t members;
    size_t networks;
    unsigned status; /* of the last API answer */
    size_t body_len; /* of it */
};

/* ---- the controller's host ---- */

static int on_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id, const char *dict,
                     size_t len, int64_t now_ms)
{
    struct bench *w = ctx;
    vl1_enter(w->crowd.vl1);
    int error = vl2_config_send(w->vl2, nwid, dest, request_id, dict, len, now_ms);
    vl1_leave(w->crowd.vl1, now_ms);
    return error;
}

static void on_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                     enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    struct bench *w = ctx;
    vl1_enter(w->crowd.vl1);
    vl2_config_error(w->vl2, nwid, dest, request_id, code, data, len, now_ms);
    vl1_leave(w->crowd.vl1, now_ms);
}

static int on_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                          size_t count, int64_t now_ms)
{
    struct bench *w = ctx;
    vl1_enter(w->crowd.vl1);
    int error = vl2_revocations_send(w->vl2, dest, revocations, count, now_ms);
    vl1_leave(w->crowd.vl1, now_ms);
    return error;
}

static void on_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    fprintf(stderr, "%s\n", text);
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct bench *w = ctx;
    (void)body;
    w->status = status;
    w->body_len = len;
}

/* ---- the engine's upper side ---- */

static enum vl1_verdict up_packet(void *ctx, const struct in_packet *in, int64_t now_ms)
{
    struct bench *w = ctx;
    return vl2_packet(w->vl2, in, now_ms);
}

static void up_greeted(void *ctx, uint64_t address, int64_t now_ms)
{
    struct bench *w = ctx;
    vl2_greeted(w->vl2, address, now_ms);
}

static void on_request(void *ctx, uint64_t nwid, const struct inetaddr *from, uint64_t request_id,
                       const struct identity *identity, const void *meta, size_t meta_len,
                       int64_t now_ms)
{
    struct bench *w = ctx;
    controller_request(w->c, nwid, from, request_id, identity, meta, meta_len, now_ms);
}

/* ---- the world ---- */

static double wall_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of this thread only: the store has one of its own. */
static double thread_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t network_id(const struct bench *w, size_t index)
{
    return w->crowd.self.address << 24 | (index + 1);
}

/* The network of the i-th member. */
static uint64_t network_of(const struct bench *w, size_t i)
{
    return network_id(w, i * w->networks / w->members);
}

static void settle(struct bench *w)
{
    struct controller_counts counts;
    do {
        controller_wait(w->c, 10);
        controller_poll(w->c, w->crowd.now_ms);
        controller_get_counts(w->c, &counts);
    } while (counts.store_backlog > 0 || controller_get_state(w->c, NULL) == CONTROLLER_LOADING);
    controller_poll(w->c, w->crowd.now_ms);
}

static void call(struct bench *w, const char *method, const char *path, const char *query,
                 const char *body)
{
    const struct controller_api_request request = {.method = method,
                                                   .path = path,
                                                   .query = query,
                                                   .body = body,
                                                   .body_len = body != NULL ? strlen(body) : 0};
    controller_api(w->c, &request, w->crowd.now_ms, on_answer, w);
}

static void api(struct bench *w, const char *method, const char *path, const char *body)
{
    call(w, method, path, NULL, body);
    settle(w);
    require(w->status == 200, path);
}

static void make_controller(struct bench *w, const char *path)
{
    const struct controller_env env = {.send_config = on_config,
                                       .send_error = on_error,
                                       .send_revocations = on_revocations,
                                       .random = on_random,
                                       .log = on_log,
                                       .wake = on_wake,
                                       .ctx = w,
                                       .log_level = LOG_LEVEL_WARN};
    struct store_backend *backend = path != NULL ? store_sqlite_new(path) : NULL;
    w->c = controller_new(&env, &w->crowd.self, backend, INT64_C(1700000000000), w->crowd.now_ms);
    require(w->c != NULL, "no controller");
    settle(w);
    require(controller_get_state(w->c, NULL) == CONTROLLER_RUNNING, "controller does not run");
}

static void make_networks(struct bench *w, size_t count)
{
    static const char body[] =
        "{\"private\":false,\"v4AssignMode\":\"zt\",\"routes\":[{\"target\":\"10.0.0.0/8\"}],"
        "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.0.0.1\",\"ipRangeEnd\":\"10.255.255.254\"}]"
        "}";
    for (size_t i = 0; i < count; i++) {
        char path[API_PATH_LEN];
        snprintf(path, sizeof(path), "/controller/network/%016" PRIx64, network_id(w, i));
        api(w, "POST", path, body);
    }
}

static void make_world(struct bench *w, size_t members, size_t networks)
{
    w->members = members;
    w->networks = networks;
    crowd_new(&w->crowd);
    w->vl2 = vl2_new(w->crowd.vl1, w->crowd.now_ms);
    require(w->vl2 != NULL, "out of memory");
    vl1_set_upper(w->crowd.vl1,
                  &(struct vl1_upper){.packet = up_packet, .greeted = up_greeted, .ctx = w});
    crowd_start(&w->crowd, false);
    vl1_set_max_peers(w->crowd.vl1, 1000000);
    vl2_set_controller(w->vl2, &(struct node_controller){.request = on_request, .ctx = w});
}

static void end_world(struct bench *w)
{
    controller_free(w->c, w->crowd.now_ms);
    vl2_free(w->vl2);
    vl1_free(w->crowd.vl1, w->crowd.now_ms);
}

/* ---- requests ---- */

static size_t make_request(struct bench *w, size_t i, uint64_t nwid, uint8_t *pkt)
{
    struct netconf_meta meta = netconf_meta_default();
    char text[NETCONF_META_MAX];
    struct wr wr = wr_init(pkt + PACKET_AT_PAYLOAD, MTU_PHYSICAL_DEFAULT - PACKET_AT_PAYLOAD);
    size_t len = 0;

    meta.major = 1, meta.minor = 14, meta.revision = 1;
    snprintf(meta.os, sizeof(meta.os), "linux/x86_64");
    require(netconf_meta_encode(&meta, text, sizeof(text), &len) == 0, "meta-data");
    crowd_packet(&w->crowd, i, VERB_NETWORK_CONFIG_REQUEST, pkt);
    config_request_write(&wr, &(struct config_request){.network_id = nwid,
                                                       .meta = (const uint8_t *)text,
                                                       .meta_len = len});
    len = PACKET_AT_PAYLOAD + wr_len(&wr);
    crowd_seal(&w->crowd, i, pkt, len);
    return len;
}

/* A member asks. Returns the processor time of the turn, us. */
static double ask(struct bench *w, size_t i, uint64_t nwid)
{
    uint8_t pkt[PACKET_MAX];
    size_t len = make_request(w, i, nwid, pkt);
    double begin = thread_us();

    crowd_receive(&w->crowd, i, pkt, len);
    controller_poll(w->c, w->crowd.now_ms);
    return thread_us() - begin;
}

static void run_timers(struct bench *w)
{
    vl1_enter(w->crowd.vl1);
    timers_run(vl1_timers(w->crowd.vl1), w->crowd.now_ms);
    vl1_leave(w->crowd.vl1, w->crowd.now_ms);
}

/* All members ask once, within ms. Returns the processor time of the turns, us. */
static double ask_all(struct bench *w, int64_t ms)
{
    int64_t begin = w->crowd.now_ms;
    double spent = 0;

    for (size_t i = 0; i < w->members; i++) {
        w->crowd.now_ms = begin + ms * (int64_t)i / (int64_t)w->members;
        spent += ask(w, i, network_of(w, i));
    }
    w->crowd.now_ms = begin + ms;
    return spent;
}

/* Everybody becomes a peer and a member. Returns the processor time of the first requests, us. */
static double join_all(struct bench *w)
{
    for (size_t i = 0; i < w->members; i++) {
        crowd_meet(&w->crowd, i);
    }
    double spent = ask_all(w, 1000);
    settle(w);
    return spent;
}

/* ---- requests a second ---- */

static struct controller_counts counts_of(const struct bench *w)
{
    struct controller_counts counts;
    controller_get_counts(w->c, &counts);
    return counts;
}

static void row(struct bench *w, const char *what, int64_t ms)
{
    struct controller_counts before = counts_of(w);
    uint64_t datagrams = w->crowd.sent;
    uint64_t bytes = w->crowd.sent_bytes;
    double spent = ask_all(w, ms);
    struct controller_counts after = counts_of(w);
    double n = (double)(after.configs_sent - before.configs_sent);
    /* Each chunk is signed once, and is one datagram or its fragments: these configurations are
     * small. */
    double signatures = (double)(after.signatures - before.signatures) / n + 1;

    settle(w);
    printf("%-44s %8.0f %6.1f %10.1f %9.2f %6.0f\n", what, n / spent * 1e6, spent / n, signatures,
           (double)(w->crowd.sent - datagrams) / n, (double)(w->crowd.sent_bytes - bytes) / n);
}

static void sign_once(void *ctx)
{
    const struct bench *w = ctx;
    uint8_t sig[SIGNATURE_LEN];
    uint8_t text[168] = {1}; /* signed part of a certificate of membership */

    identity_sign(&w->crowd.self, text, sizeof(text), sig);
}

static void rates(size_t members)
{
    static struct bench w;
    make_world(&w, members, 1);
    make_controller(&w, NULL);
    make_networks(&w, 1);
    printf("one signature over 168 bytes: %.2f us\n", measure(sign_once, &w) / 1e3);
    printf("%zu members of one network, each a certificate of ownership\n", members);
    printf("%-44s %8s %6s %10s %9s %6s\n", "one core", "per s", "us", "signatures", "datagrams",
           "bytes");
    for (size_t i = 0; i < members; i++) {
        crowd_meet(&w.crowd, i);
    }
    row(&w, "first requests: address and authorization", 1000);
    run_timers(&w);
    w.crowd.now_ms += WALL_MS;
    row(&w, "polls after 60 s, no reuse", 1000);
    w.crowd.now_ms += 3000;
    row(&w, "asked again 4 s later", 1000);
    end_world(&w);
}

/* ---- latency ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Latencies of requests in one phase. */
struct phase {
    double *ms;
    size_t count;
    size_t cap;
};

static void note(struct phase *p, double ms)
{
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 4096 : p->cap * 2;
        p->ms = realloc(p->ms, p->cap * sizeof(*p->ms));
        require(p->ms != NULL, "out of memory");
    }
    p->ms[p->count++] = ms;
}

static void print_phase(const char *what, const struct phase *p, double busiest_us)
{
    qsort(p->ms, p->count, sizeof(*p->ms), compare);
    printf("%-44s %7zu %8.3f %8.3f %8.3f %8.3f\n", what, p->count, p->ms[p->count / 2],
           p->ms[p->count * 99 / 100], p->ms[p->count - 1], busiest_us / 1e3);
}

/* The queue: virtual time, us, at which the engine is free again. */
struct queue {
    double free_us;
    double longest_us; /* of one turn */
};

static void took(struct queue *q, double us)
{
    q->free_us += us;
    q->longest_us = us > q->longest_us ? us : q->longest_us;
}

/* Timers that are due by until_us, each when the engine is free. */
static void ticks(struct bench *w, struct queue *q, double until_us)
{
    for (;;) {
        int64_t due = timers_next(vl1_timers(w->crowd.vl1));
        int64_t other = controller_deadline(w->c);
        due = due < 0 || (other >= 0 && other < due) ? other : due;
        if (due < 0 || (double)due * 1e3 > until_us || q->free_us > until_us) {
            return;
        }
        if ((double)due * 1e3 > q->free_us) {
            q->free_us = (double)due * 1e3;
        }
        w->crowd.now_ms = (int64_t)(q->free_us / 1e3);
        double begin = thread_us();
        run_timers(w);
        controller_tick(w->c, w->crowd.now_ms);
        took(q, thread_us() - begin);
        took(q, crowd_answer(&w->crowd));
    }
}

/* Something happens to network 1 (of all members but the last OTHERS) while requests of everybody
 * come in at random; what they wait and take. */
static void happening(struct bench *w, const char *what, const char *method, const char *path,
                      const char *body)
{
    struct phase before = {0};
    struct phase after = {0};
    double start = (double)w->crowd.now_ms * 1e3;
    double event = start + (double)QUIET_S * SECOND_US;
    double end = event + (double)BUSY_S * SECOND_US;
    struct queue q = {.free_us = start};
    uint64_t rng = 1;
    size_t first_other = w->members - OTHERS;
    double quiet_longest = 0;
    bool happened = false;

    for (double at = start; at < end;) {
        rng = hash_mix(rng + 1, 7);
        at += (double)(rng % (2 * SECOND_US / ASKED_S));
        if (!happened && at > event) {
            happened = true;
            quiet_longest = q.longest_us;
            q.longest_us = 0;
            ticks(w, &q, event);
            double begin = thread_us();
            call(w, method, path, NULL, body);
            took(&q, thread_us() - begin);
        }
        ticks(w, &q, at);
        q.free_us = q.free_us > at ? q.free_us : at;
        w->crowd.now_ms = (int64_t)(q.free_us / 1e3);
        /* Others at most once a second each; the rest by its polls. */
        size_t i = rng % 8 == 0 ? (rng >> 8) % first_other : first_other + (rng >> 8) % OTHERS;
        took(&q, ask(w, i, network_id(w, i >= first_other)));
        note(happened ? &after : &before, (q.free_us - at) / 1e3);
    }
    w->crowd.now_ms += 1;
    printf("%s\n", what);
    print_phase("  before", &before, quiet_longest);
    print_phase("  25 s from it on", &after, q.longest_us);
    free(before.ms);
    free(after.ms);
}

static void latency(size_t members)
{
    static struct bench w;
    char net[API_PATH_LEN];
    char member[API_PATH_LEN + 32];
    make_world(&w, members + OTHERS, 1);
    w.crowd.answers = true;
    make_controller(&w, NULL);
    make_networks(&w, 2);
    for (size_t i = 0; i < w.members; i++) {
        crowd_meet(&w.crowd, i);
        w.crowd.now_ms += i % 16 == 0;
        (void)ask(&w, i, network_id(&w, i >= members));
    }
    snprintf(net, sizeof(net), "/controller/network/%016" PRIx64, network_id(&w, 0));
    snprintf(member, sizeof(member), "%s/member/%010" PRIx64, net, crowd_address(0));
    printf(
        "%zu members online in one network, %d requests a second, 7 of 8 of %d members of another"
        " one;\nwaiting and processor time of these requests together, and of the longest turn\n",
        members, ASKED_S, OTHERS);
    printf("%-44s %7s %8s %8s %8s %8s\n", "ms", "count", "median", "p99", "most", "turn");
    api(&w, "POST", net, "{\"private\":true}");
    happening(&w, "a member is de-authorized", "POST", member, "{\"authorized\":false}");
    happening(&w, "the name of the network changes: all are told", "POST", net,
              "{\"name\":\"another\"}");
    happening(&w, "a change that is in no configuration", "POST", net,
              "{\"authTokens\":{\"secret\":0}}");
    happening(&w, "the network is deleted", "DELETE", net, NULL);
    end_world(&w);
}

/* ---- memory ---- */

static void memory(size_t members)
{
    static struct bench w;
    make_world(&w, members, 100);
    make_controller(&w, NULL);
    make_networks(&w, w.networks);
    double empty = resident_mib();
    for (size_t i = 0; i < members; i++) {
        crowd_meet(&w.crowd, i);
        w.crowd.now_ms += i % 64 == 0;
    }
    double peers = resident_mib();
    (void)ask_all(&w, 1000);
    printf(
        "%zu members of 100 networks, resident: process %.0f MiB, as peers %.0f more, as members "
        "%.0f more;\nafter ten minutes with a poll each minute: ",
        members, empty, peers - empty, resident_mib() - peers);
    for (int i = 0; i < 10; i++) {
        w.crowd.now_ms += WALL_MS - 1000;
        run_timers(&w);
        (void)ask_all(&w, 1000);
        (void)controller_tick(w.c, w.crowd.now_ms);
    }
    printf("%.0f MiB in all\n", resident_mib());
    end_world(&w);
}

/* ---- the store ---- */

static void list_row(struct bench *w, const char *what, const char *path, const char *query)
{
    double begin = thread_us();
    w->status = 0;
    call(w, "GET", path, query, NULL);
    double us = thread_us() - begin;
    double longest = us;
    while (w->status == 0) {
        w->crowd.now_ms++;
        begin = thread_us();
        controller_tick(w->c, w->crowd.now_ms);
        double turn = thread_us() - begin;
        us += turn;
        longest = turn > longest ? turn : longest;
    }
    printf("%-44s %8.1f %8.1f %10zu\n", what, us / 1e3, longest / 1e3, w->body_len);
    require(w->status == 200, path);
}

static void lists(struct bench *w)
{
    char full[API_PATH_LEN];
    char plain[API_PATH_LEN];
    uint64_t nwid = network_id(w, 0);
    snprintf(full, sizeof(full), "/unstable/controller/network/%016" PRIx64 "/member", nwid);
    snprintf(plain, sizeof(plain), "/controller/network/%016" PRIx64 "/member", nwid);
    printf("lists of a network of %zu members: processor time, that of the longest turn, length\n"
           "%-44s %8s %8s %10s\n",
           w->members / w->networks, "", "ms", "turn", "bytes");
    list_row(w, "first page of 100", full, "limit=100");
    list_row(w, "a search that finds one", full, "limit=100&q=1000000000");
    list_row(w, "all, as consoles ask", full, NULL);
    list_row(w, "addresses and revisions", plain, NULL);
    list_row(w, "networks", "/controller/network", NULL);
    list_row(w, "networks in full", "/unstable/controller/network", NULL);
}

static double file_mib(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size / 1048576 : 0;
}

/* In a process of its own: memory and start of a controller whose members are on disk. */
static void load(const char *path, struct crowd crowd, size_t members, size_t networks)
{
    static struct bench w;
    w.crowd = crowd;
    w.members = members;
    w.networks = networks;
    double before = resident_mib();
    double begin_cpu = cpu_us();
    double begin = wall_s();
    make_controller(&w, path);
    printf("started with them: %.2f s of processor time, %.2f s; %.0f MiB resident more\n",
           (cpu_us() - begin_cpu) / 1e6, wall_s() - begin, resident_mib() - before);
    lists(&w);
    controller_free(w.c, w.crowd.now_ms);
}

static void store(size_t members)
{
    static struct bench w;
    const char *dir = getenv("TMPDIR");
    char path[PATH_LEN];
    char side[PATH_LEN + 8];
    size_t networks = members >= 10000 ? members / 10000 : 1;

    snprintf(path, sizeof(path), "%s/bench-controller-%d.sqlite", dir != NULL ? dir : "/tmp",
             (int)getpid());
    make_world(&w, members, networks);
    make_controller(&w, path);
    make_networks(&w, networks);
    double begin = wall_s();
    double spent = join_all(&w);
    printf("%zu members of %zu networks stored: %.1f us of processor time each beside the store's "
           "thread, %.0f s\n",
           members, networks, spent / (double)members, wall_s() - begin);
    end_world(&w);
    printf("database of %.0f MiB\n", file_mib(path));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        load(path, (struct crowd){.self = w.crowd.self, .now_ms = w.crowd.now_ms}, members,
             networks);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    (void)unlink(path);
    snprintf(side, sizeof(side), "%s-wal", path);
    (void)unlink(side);
    snprintf(side, sizeof(side), "%s-shm", path);
    (void)unlink(side);
    require(child > 0 && status == 0, "it did not start");
}

/* ---- */

static void in_child(void (*work)(size_t members), size_t members)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        work(members);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    require(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a part failed");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*work)(size_t members);
        size_t members; /* unless told */
    } parts[] = {{"rates", rates, 10000},
                 {"latency", latency, 10000},
                 {"memory", memory, 100000},
                 {"store", store, 100000}};
    bool any = false;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (argc > 1 && strcmp(argv[1], parts[i].name) != 0) {
            continue;
        }
        any = true;
        printf("%s---- %s\n", i > 0 && argc == 1 ? "\n" : "", parts[i].name);
        in_child(parts[i].work, argc > 2 ? strtoul(argv[2], NULL, 10) : parts[i].members);
    }
    require(any, "usage: bench-controller [rates|latency|memory|store [MEMBERS]]");
    return 0;
}
