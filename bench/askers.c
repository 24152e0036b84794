/* Many members of one controller, over UDP and from one process: real identities, each at an IP of
 * its own, that say HELLO, answer HELLO and ECHO, and ask for configurations as fast as they are
 * answered. What the answers hold is not looked at; controllers.py measures the controller.
 *
 * bench-askers make FILE COUNT
 *     COUNT identities, one a line; those that are in the file stay.
 * bench-askers ask FILE COUNT IP PORT CONTROLLER FIRST NETWORKS SECONDS WINDOW
 *     The first COUNT identities are members of the networks FIRST (hex) and the following ones of
 *     the controller with this public identity. At most WINDOW requests wait for answers. First
 *     each asks once for each network; then again and again for SECONDS, each pair no more often
 *     than once in 1.1 s; then, twice for SECONDS, one request after another ("calm", "event"). A
 *     line of JSON for each of the four.
 * All addresses in 10.64.0.0/10 must be local: ip route add local 10.64.0.0/10 dev lo. */
#include "datapath/armor.h"
#include "wire/config_chunk.h"
#include "wire/hello.h"
#include "wire/identity.h"
#include "wire/netconf.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    COUNT_MAX = 4096,
    WINDOW_MAX = 1024,
    LINE_MAX_LEN = 512,
    PORT = 9993, /* of all members */
    GAP_NS =
        1100000000, /* between two requests of one member for one network: the reference's limit */
    LOST_NS = 1000000000,
    HELLO_GAP_NS = 250000000,
    HELLO_GROUP = 40, /* members that say HELLO at once: strangers are checked one by one */
    GREET_S = 120,    /* until all must be known */
};

struct member {
    struct identity id;
    struct armor_keys keys;
    struct in_addr from;
    int64_t hello_ns;
    bool known; /* the controller answered its HELLO */
};

/* A request that waits for its answer. */
struct waiting {
    uint64_t id; /* of the packet, 0 none */
    int64_t sent_ns;
};

struct askers {
    struct member *members;
    size_t count;
    struct identity controller;
    struct sockaddr_in target;
    uint64_t first_nwid;
    size_t networks;
    int64_t *asked_ns; /* of each pair, member by member within a network */
    size_t next_pair;
    struct waiting window[WINDOW_MAX];
    size_t window_len;
    size_t waiting;
    uint64_t next_id;
    int fd;
    double *ms; /* of answers */
    size_t answers;
    size_t answers_cap;
    size_t errors;
    size_t lost;
};

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench-askers: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fill_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

/* ---- identities ---- */

/* Read up to cap; returns how many there are. */
static size_t read_identities(const char *path, struct identity *out, size_t cap)
{
    char line[LINE_MAX_LEN];
    size_t n = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && n < cap && fgets(line, sizeof(line), file) != NULL) {
        n += identity_parse(line, strcspn(line, "\n"), &out[n]) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return n;
}

static int make(const char *path, size_t count)
{
    static struct identity ids[COUNT_MAX];
    size_t n = read_identities(path, ids, count);
    void *scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY);
    FILE *file = fopen(path, "a");
    require(file != NULL && scratch != NULL, path);
    for (; n < count; n++) {
        char text[IDENTITY_TEXT_LEN];
        struct identity id;
        while (identity_generate(fill_random, NULL, scratch, 1000, &id) != 0) {
        }
        identity_print(&id, true, text);
        fprintf(file, "%s\n", text);
    }
    fclose(file);
    free(scratch);
    return 0;
}

/* ---- packets ---- */

static void send_from(struct askers *a, struct member *m, const uint8_t *data, size_t len)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {0};
    struct msghdr msg = {.msg_name = &a->target,
                         .msg_namelen = sizeof(a->target),
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    struct in_pktinfo info = {.ipi_spec_dst = m->from};

    control.head.cmsg_len = CMSG_LEN(sizeof(info));
    control.head.cmsg_level = IPPROTO_IP;
    control.head.cmsg_type = IP_PKTINFO;
    memcpy(CMSG_DATA(&control.head), &info, sizeof(info));
    (void)sendmsg(a->fd, &msg, 0);
}

static struct wr begin(struct askers *a, const struct member *m, enum verb verb,
                       uint8_t pkt[PACKET_MAX])
{
    packet_start(pkt, ++a->next_id, a->controller.address, m->id.address, verb);
    return wr_init(pkt + PACKET_AT_PAYLOAD, PACKET_MAX - PACKET_AT_PAYLOAD);
}

/* Returns the ID on the wire. */
static uint64_t finish(struct askers *a, struct member *m, const struct wr *w, uint8_t *pkt)
{
    size_t len = PACKET_AT_PAYLOAD + wr_len(w);
    armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &m->keys);
    send_from(a, m, pkt, len);
    return packet_id(pkt);
}

static struct inetaddr place(const struct askers *a)
{
    struct inetaddr ip = {.family = INETADDR_V4, .port = ntohs(a->target.sin_port)};
    memcpy(ip.ip, &a->target.sin_addr, 4);
    return ip;
}

static const struct node_version version = {.protocol = 12, .major = 1, .minor = 14, .revision = 1};

static void say_hello(struct askers *a, struct member *m)
{
    uint8_t pkt[PACKET_MAX];
    struct wr w = begin(a, m, VERB_HELLO, pkt);
    struct hello h = {.version = version,
                      .timestamp = (uint64_t)now_ns() / 1000000,
                      .identity = m->id,
                      .has_address = true,
                      .address = place(a),
                      .has_tail = true};
    size_t tail = hello_encode(&w, &h, NULL, 0);
    size_t len = PACKET_AT_PAYLOAD + wr_len(&w);

    hello_mask(pkt, len, PACKET_AT_PAYLOAD + tail, &m->keys);
    armor_seal(pkt, len, SUITE_POLY1305, &m->keys);
    send_from(a, m, pkt, len);
    m->hello_ns = now_ns();
}

static uint64_t ask(struct askers *a, struct member *m, uint64_t nwid)
{
    struct netconf_meta meta = netconf_meta_default();
    char text[NETCONF_META_MAX];
    size_t len = 0;
    uint8_t pkt[PACKET_MAX];
    struct wr w = begin(a, m, VERB_NETWORK_CONFIG_REQUEST, pkt);

    meta.major = version.major, meta.minor = version.minor, meta.revision = version.revision;
    require(netconf_meta_encode(&meta, text, sizeof(text), &len) == 0, "meta-data");
    config_request_write(&w, &(struct config_request){.network_id = nwid,
                                                      .meta = (const uint8_t *)text,
                                                      .meta_len = len});
    return finish(a, m, &w, pkt);
}

/* ---- what comes back ---- */

static void note_answer(struct askers *a, uint64_t id, bool good)
{
    for (size_t i = 0; i < a->window_len; i++) {
        struct waiting *wait = &a->window[i];
        if (wait->id != id) {
            continue;
        }
        if (good && a->answers == a->answers_cap) {
            a->answers_cap = a->answers_cap == 0 ? 65536 : a->answers_cap * 2;
            a->ms = realloc(a->ms, a->answers_cap * sizeof(*a->ms));
            require(a->ms != NULL, "memory");
        }
        if (good) {
            a->ms[a->answers++] = (double)(now_ns() - wait->sent_ns) / 1e6;
        } else {
            a->errors++;
        }
        wait->id = 0;
        a->waiting--;
        return;
    }
}

static void take_reply(struct askers *a, struct member *m, enum verb verb, struct rd payload)
{
    struct reply_head head;
    struct error_msg error;
    if (verb == VERB_ERROR && error_decode(payload, &error) == 0) {
        note_answer(a, error.head.id, false);
    } else if (verb == VERB_OK && ok_head_read(&payload, &head) == 0) {
        m->known |= head.verb == VERB_HELLO;
        if (head.verb == VERB_NETWORK_CONFIG_REQUEST) {
            note_answer(a, head.id, true);
        }
    }
}

static void take_packet(struct askers *a, struct member *m, uint8_t *in, size_t in_len)
{
    uint8_t scratch[PACKET_MAX];
    uint8_t pkt[PACKET_MAX];
    uint64_t id = packet_id(in);
    if (armor_open(in, in_len, &m->keys) != 0) {
        return;
    }
    int len = packet_decompress(in, in_len, scratch);
    if (len < PACKET_MIN) {
        return;
    }
    enum verb verb = packet_verb(in);
    struct rd payload = rd_init(in + PACKET_AT_PAYLOAD, (size_t)len - PACKET_AT_PAYLOAD);
    if (verb != VERB_ECHO && verb != VERB_HELLO) {
        take_reply(a, m, verb, payload);
        return;
    }
    struct wr w = begin(a, m, VERB_OK, pkt);
    ok_head_write(&w, &(struct reply_head){.verb = (uint8_t)verb, .id = id});
    if (verb == VERB_ECHO) {
        wr_bytes(&w, payload.p, rd_left(&payload));
    } else {
        struct rd clear = payload;
        clear.p += 5; /* versions */
        ok_hello_encode(&w, &(struct ok_hello){.timestamp = rd_u64(&clear),
                                               .version = version,
                                               .has_address = true,
                                               .address = place(a),
                                               .has_worlds = true});
    }
    (void)finish(a, m, &w, pkt);
}

static int compare_members(const void *a, const void *b)
{
    uint64_t x = ((const struct member *)a)->id.address;
    uint64_t y = ((const struct member *)b)->id.address;
    return x < y ? -1 : x > y;
}

static void receive(struct askers *a)
{
    uint8_t in[PACKET_MAX];
    ssize_t len;
    while ((len = recv(a->fd, in, sizeof(in), MSG_DONTWAIT)) > 0) {
        if (datagram_classify(in, (size_t)len) != DATAGRAM_PACKET) {
            continue;
        }
        require(!packet_is_fragmented(in), "an answer is fragmented: too large for this program");
        struct member key = {.id = {.address = packet_dest(in)}};
        struct member *m =
            bsearch(&key, a->members, a->count, sizeof(*a->members), compare_members);
        if (m != NULL && packet_source(in) == a->controller.address) {
            take_packet(a, m, in, (size_t)len);
        }
    }
}

static void wait_a_moment(struct askers *a)
{
    struct pollfd fd = {.fd = a->fd, .events = POLLIN};
    (void)poll(&fd, 1, 1);
    receive(a);
}

/* ---- the run ---- */

/* Until the controller knows all. */
static void greet(struct askers *a)
{
    int64_t end = now_ns() + (int64_t)GREET_S * 1000000000;
    size_t known = 0;
    while (known < a->count) {
        int64_t now = now_ns();
        size_t asking = 0;
        known = 0;
        require(now < end, "not all HELLOs are answered");
        for (size_t i = 0; i < a->count; i++) {
            struct member *m = &a->members[i];
            known += m->known;
            if (!m->known && asking++ < HELLO_GROUP && now - m->hello_ns > HELLO_GAP_NS) {
                say_hello(a, m);
            }
        }
        wait_a_moment(a);
    }
}

/* Who waits too long waits in vain. */
static void give_up(struct askers *a)
{
    int64_t now = now_ns();
    for (size_t i = 0; i < a->window_len; i++) {
        if (a->window[i].id != 0 && now - a->window[i].sent_ns > LOST_NS) {
            a->window[i].id = 0;
            a->waiting--;
            a->lost++;
        }
    }
}

/* Let the next pair ask; false if it is too early for it. */
static bool ask_next(struct askers *a)
{
    int64_t now = now_ns();
    size_t pair = a->next_pair;
    if (a->asked_ns[pair] != 0 && now - a->asked_ns[pair] < GAP_NS) {
        return false;
    }
    size_t slot = 0;
    while (a->window[slot].id != 0) {
        slot++;
    }
    a->next_pair = (pair + 1) % (a->count * a->networks);
    a->asked_ns[pair] = now;
    a->window[slot].sent_ns = now;
    a->window[slot].id = ask(a, &a->members[pair % a->count], a->first_nwid + pair / a->count);
    a->waiting++;
    return true;
}

static int compare_ms(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Ask count times at most, for ns at most. */
static void phase(struct askers *a, const char *name, size_t count, int64_t ns)
{
    int64_t start = now_ns();
    a->answers = a->errors = a->lost = 0;
    while ((count > 0 && now_ns() - start < ns) || a->waiting > 0) {
        while (count > 0 && now_ns() - start < ns && a->waiting < a->window_len && ask_next(a)) {
            count--;
        }
        wait_a_moment(a);
        give_up(a);
    }
    double took = (double)(now_ns() - start) / 1e9;
    size_t n = a->answers;
    qsort(a->ms, n, sizeof(*a->ms), compare_ms);
    printf("{\"phase\":\"%s\",\"answers\":%zu,\"errors\":%zu,\"lost\":%zu,\"seconds\":%.3f", name,
           n, a->errors, a->lost, took);
    if (n > 0) {
        printf(",\"median\":%.3f,\"p99\":%.3f,\"max\":%.3f", a->ms[n / 2], a->ms[n * 99 / 100],
               a->ms[n - 1]);
    }
    printf("}\n");
    fflush(stdout);
}

static void open_socket(struct askers *a)
{
    int size = 8 << 20;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    a->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(a->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    require(a->fd >= 0 && bind(a->fd, (struct sockaddr *)&any, sizeof(any)) == 0, "socket");
}

static void load_members(struct askers *a, const char *path)
{
    static struct identity ids[COUNT_MAX];
    require(read_identities(path, ids, a->count) == a->count, "not enough identities");
    a->members = calloc(a->count, sizeof(*a->members));
    a->asked_ns = calloc(a->count * a->networks, sizeof(*a->asked_ns));
    require(a->members != NULL && a->asked_ns != NULL, "memory");
    for (size_t i = 0; i < a->count; i++) {
        uint8_t secret[SHARED_KEY_LEN];
        struct member *m = &a->members[i];
        m->id = ids[i];
        m->from.s_addr = htonl(0x0a400001 + ((uint32_t)i << 8)); /* each in a /24 of its own */
        require(identity_agree(&m->id, &a->controller, secret) == 0, "key");
        armor_keys_init(&m->keys, secret);
    }
    qsort(a->members, a->count, sizeof(*a->members), compare_members);
}

static int ask_main(char **args)
{
    static struct askers a;
    a.count = strtoul(args[1], NULL, 10);
    a.target.sin_family = AF_INET;
    a.target.sin_port = htons((uint16_t)strtoul(args[3], NULL, 10));
    a.first_nwid = strtoull(args[5], NULL, 16);
    a.networks = strtoul(args[6], NULL, 10);
    a.window_len = strtoul(args[8], NULL, 10);
    require(a.count > 0 && a.count <= COUNT_MAX && a.networks > 0 && a.window_len > 0 &&
                a.window_len <= WINDOW_MAX && inet_aton(args[2], &a.target.sin_addr) != 0 &&
                identity_parse(args[4], strlen(args[4]), &a.controller) == 0,
            "arguments");
    randombytes_buf(&a.next_id, sizeof(a.next_id));
    load_members(&a, args[0]);
    open_socket(&a);
    greet(&a);
    (void)poll(NULL, 0, 500); /* the controller's questions about our paths come and are answered */
    wait_a_moment(&a);
    phase(&a, "first", a.count * a.networks, INT64_MAX);
    int64_t ns = strtoll(args[7], NULL, 10) * 1000000000;
    phase(&a, "again", SIZE_MAX, ns);
    a.window_len = 1;
    phase(&a, "calm", SIZE_MAX, ns);
    phase(&a, "event", SIZE_MAX, ns);
    return 0;
}

int main(int argc, char **argv)
{
    require(sodium_init() >= 0, "libsodium");
    if (argc == 4 && strcmp(argv[1], "make") == 0) {
        size_t count = strtoul(argv[3], NULL, 10);
        require(count <= COUNT_MAX, "too many");
        return make(argv[2], count);
    }
    if (argc == 11 && strcmp(argv[1], "ask") == 0) {
        return ask_main(argv + 2);
    }
    fprintf(stderr, "usage: see the head of bench/askers.c\n");
    return EXIT_FAILURE;
}
