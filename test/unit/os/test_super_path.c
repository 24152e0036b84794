/* The whole fast path in one process, between two TAP devices in namespaces of their own: super-
 * frames are split, sealed in runs, sent in bulk over loopback, opened where they lie, merged and
 * written. TCP and UDP of the kernel run over it with every switch. Checklist: D-14, D-17, D-18,
 * D-20, D-21, D-36. */
#include "netns.h"
#include "vectors.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "datapath/fragment.h"
#include "datapath/merge.h"
#include "datapath/parts.h"
#include "datapath/seal.h"
#include "os/addr.h"
#include "os/tap.h"
#include "os/udp_bulk.h"
#include "wire/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    MTU = 2800,
    TURN = 4, /* super-frames read in a turn */
    PARTS_MAX = 4096,
    PATTERN = 65521, /* period of what is sent */
    CHUNK = 128 * 1024,
};

static const uint64_t nwid = 0x8056c2e21c000001;

/* One way to run the path. */
struct way {
    const char *name;
    unsigned tap;
    unsigned udp;
    unsigned merge;
    enum cipher_suite suite;
    bool v6;
    bool refuse; /* the device is given every super-frame in segments, as after EINVAL */
    size_t megabytes;
};

/* One node. */
struct side {
    int netns;
    struct net *net;
    struct tap *tap;
    struct udp_socket *udp;
    struct inetaddr address; /* of the socket */
    uint64_t mac;
    struct merger merger;
    struct seal_slab slab;
    struct assembly assembly;
    uint8_t *super[TURN]; /* buffers with headroom */
    uint8_t *memory;      /* of the slab */
    uint64_t id;          /* of the next packet */
    uint64_t supers_read;
    uint64_t supers_written;
    uint64_t frames_written;
    uint64_t slow; /* packets that went through the table */
};

static struct side sides[2];
static struct armor_keys keys;
static struct udp_bulk *bulk;
static const struct way *way;
static checksum_fn *checksum;
static uint8_t pattern[PATTERN + CHUNK];
static atomic_bool is_done;

static struct side *other(const struct side *s)
{
    return s == &sides[0] ? &sides[1] : &sides[0];
}

/* ---- sending: TAP to UDP ---- */

static void send_slab(struct side *s)
{
    static struct udp_run runs[SEAL_RUNS_MAX];
    size_t count = s->slab.run_count;
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        const struct seal_run *run = &s->slab.runs[i];
        runs[i] = (struct udp_run){
            .data = run->data, .len = run->len, .segment = run->size, .to = other(s)->address};
    }
    while (done < count) {
        struct pollfd p = {.fd = udp_fd(s->udp), .events = POLLOUT};

        done += udp_send_runs(s->udp, bulk, runs + done, count - done);
        if (done < count) {
            assert_int_equal(poll(&p, 1, 1000), 1);
        }
    }
    seal_slab_clear(&s->slab);
}

/* Make a packet around a frame, in place, and seal it. */
static void send_frame(struct side *s, const struct offload_frame *frame, bool more)
{
    uint64_t dest = be64_get(frame->data) >> 16;
    uint64_t source = be64_get(frame->data + 6) >> 16;
    uint16_t type = be16_get(frame->data + 12);
    bool plain = dest == other(s)->mac && source == s->mac;
    size_t header = PACKET_AT_PAYLOAD + (plain ? FRAME_HEADER_LEN : EXT_FRAME_HEADER_LEN);
    uint8_t *payload = frame->data + ETHERNET_LEN;
    uint8_t *pkt = payload - header;
    struct seal_packet p = {.pkt = pkt,
                            .len = header + frame->len - ETHERNET_LEN,
                            .keys = &keys,
                            .suite = way->suite,
                            .mtu = MTU_PHYSICAL_DEFAULT,
                            .target = 1,
                            .more = more};

    packet_start(pkt, s->id++, 1, 2, plain ? VERB_FRAME : VERB_EXT_FRAME);
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, header - PACKET_AT_PAYLOAD);
    wr_u64(&w, nwid);
    if (!plain) {
        wr_u8(&w, 0);
        wr_u16(&w, (uint16_t)(dest >> 32));
        wr_u32(&w, (uint32_t)dest);
        wr_u16(&w, (uint16_t)(source >> 32));
        wr_u32(&w, (uint32_t)source);
    }
    wr_u16(&w, type);
    assert_int_equal(wr_left(&w), 0);
    int r = seal_add(&s->slab, &p);
    if (r == -ENOSPC) {
        send_slab(s);
        r = seal_add(&s->slab, &p);
    }
    assert_int_equal(r, 0);
}

static void turn_send(struct side *s)
{
    struct tap_super batch[TURN];
    struct offload_split split;
    struct offload_frame frame;

    for (size_t i = 0; i < TURN; i++) {
        batch[i] =
            (struct tap_super){.data = s->super[i] + OFFLOAD_HEADROOM, .cap = TAP_SUPER_BUFFER};
    }
    int n = tap_read_super(s->tap, 0, batch, TURN);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        int count =
            offload_split_begin(&split, &batch[i].vnet, batch[i].data, batch[i].len, checksum);

        assert_true(count > 0);
        assert_true(offload_split_frame_len(&split) <= ETHERNET_LEN + MTU);
        s->supers_read += count > 1 ? 1 : 0;
        while (offload_split_next(&split, &frame)) {
            send_frame(s, &frame, --count > 1);
        }
    }
    send_slab(s);
}

/* ---- receiving: UDP to TAP ---- */

/* Write the segments one by one, as where the device refused them. */
static void write_segments(struct side *s, const struct merge_output *out)
{
    static uint8_t block[OFFLOAD_FRAME_MAX];
    struct offload_split split;
    struct offload_frame frame;

    merge_output_copy(out, block);
    assert_int_equal(offload_split_begin(&split, &out->vnet, block, out->len, checksum),
                     out->frames);
    while (offload_split_next(&split, &frame)) {
        (void)tap_write(s->tap, 0, frame.data, frame.len);
    }
}

static void write_output(void *ctx, const struct merge_output *out)
{
    struct side *s = ctx;

    s->frames_written += out->frames;
    s->supers_written += out->frames > 1 ? 1 : 0;
    if (out->frames > 1 && way->refuse) {
        write_segments(s, out);
        return;
    }
    int r = tap_write_super(s->tap, 0, &out->vnet, out->pieces, out->count);
    assert_true(r == 0 || r == -EAGAIN || r == -EIO);
}

/* Hand the frame of an opened packet to the merger. */
static void receive_packet(struct side *s, const uint8_t *pkt, size_t len)
{
    bool plain = packet_verb(pkt) == VERB_FRAME;
    struct rd r = rd_init(pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD);
    struct merge_input in = {
        .dest_mac = s->mac, .source_mac = other(s)->mac, .port = 3, .kinds = way->merge};

    assert_int_equal(rd_u64(&r), nwid);
    if (!plain) {
        assert_int_equal(rd_u8(&r), 0);
        in.dest_mac = (uint64_t)rd_u16(&r) << 32;
        in.dest_mac |= rd_u32(&r);
        in.source_mac = (uint64_t)rd_u16(&r) << 32;
        in.source_mac |= rd_u32(&r);
    }
    in.ethertype = rd_u16(&r);
    assert_false(r.bad);
    in.payload = r.p;
    in.len = rd_left(&r);
    merger_add(&s->merger, &in);
}

/* A datagram whose packet does not lie together. */
static void receive_slowly(struct side *s, const struct part *part)
{
    static uint8_t pkt[PACKET_MAX];
    struct assembled done;

    int r = assembly_add(&s->assembly, part->data, part->len, &other(s)->address, 0,
                         ASSEMBLY_SHARE_UPSTREAM, 1, pkt, &done);
    if (r == 1) {
        assert_int_equal(armor_open(pkt, done.len, &keys), 0);
        receive_packet(s, pkt, done.len);
        merger_flush(&s->merger); /* the memory is used again */
        s->slow++;
    }
}

/* Cut messages into datagrams. rooms: bytes from a datagram to the end of its buffer if nothing
 * lies behind it, else 0. */
static unsigned list_parts(const struct udp_message *m, int count, struct part *parts,
                           size_t *rooms)
{
    unsigned n = 0;

    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < m[i].len; at += m[i].segment) {
            size_t left = m[i].len - at;

            assert_true(n < PARTS_MAX);
            rooms[n] = left <= m[i].segment ? m[i].cap - at : 0;
            parts[n++] = (struct part){.data = m[i].data + at,
                                       .len = left < m[i].segment ? left : m[i].segment};
        }
    }
    return n;
}

static void turn_receive(struct side *s)
{
    static struct part parts[PARTS_MAX];
    static size_t rooms[PARTS_MAX];
    const struct udp_message *messages;

    int n = udp_receive_bulk(s->udp, bulk, &messages);
    assert_true(n >= 0);
    unsigned count = list_parts(messages, n, parts, rooms);
    for (unsigned i = 0; i < count;) {
        unsigned left = count - i < FRAGMENTS_MAX ? count - i : FRAGMENTS_MAX;
        unsigned total = parts_gather(&parts[i], left);
        size_t len = total > 0 ? parts_packet_len(&parts[i], total) : 0;

        if (total == 0 || (!parts_are_adjacent(&parts[i], total) && rooms[i] < len)) {
            receive_slowly(s, &parts[i++]);
            continue;
        }
        assert_int_equal(parts_open(&parts[i], total, &keys, parts[i].data), 0);
        receive_packet(s, parts[i].data, len);
        i += total;
    }
    merger_flush(&s->merger);
    assert_true(merger_is_empty(&s->merger)); /* D-17 */
}

/* Carry frames until the transfer is done. */
static void run_path(void)
{
    while (!atomic_load(&is_done)) {
        struct pollfd p[4];

        for (size_t i = 0; i < 2; i++) {
            p[2 * i] = (struct pollfd){.fd = tap_fd(sides[i].tap, 0), .events = POLLIN};
            p[2 * i + 1] = (struct pollfd){.fd = udp_fd(sides[i].udp), .events = POLLIN};
        }
        (void)poll(p, 4, 20);
        for (size_t i = 0; i < 2; i++) {
            if (p[2 * i].revents != 0) {
                turn_send(&sides[i]);
            }
            if (p[2 * i + 1].revents != 0) {
                turn_receive(&sides[i]);
            }
        }
    }
}

/* ---- set-up ---- */

static void use_netns(const struct side *s)
{
    assert_int_equal(setns(s->netns, CLONE_NEWNET), 0);
}

static void write_sysctl(const char *iface, const char *name, const char *value)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", iface, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, value, strlen(value));
        (void)close(fd);
    }
}

static const char *const addresses[2][2] = {{"10.77.0.1/24", "fd77::1/64"},
                                            {"10.77.0.2/24", "fd77::2/64"}};

static void open_side(size_t i)
{
    struct side *s = &sides[i];
    const struct tap_config config = {
        .nwid = nwid, .mac = 0x02aabbccdd01 + i, .mtu = MTU, .queues = 1, .offloads = way->tap};
    char error[TAP_ERROR_LEN] = "";

    s->mac = config.mac;
    use_netns(s);
    if (tap_open(&config, &s->tap, error) != 0) {
        fail_msg("%s", error);
    }
    write_sysctl("all", "accept_dad", "0"); /* or addresses could not be used at once */
    write_sysctl(tap_name(s->tap), "accept_dad", "0");
    for (size_t k = 0; k < 2; k++) {
        struct inetaddr ip = netns_ip(addresses[i][k]);
        int r = net_addr_add(s->net, tap_ifindex(s->tap), &ip);
        assert_true(r == 0 || k == 1); /* there may be no IPv6 */
    }
    use_netns(&sides[0]);
    struct udp_config udp = {.local = netns_ip("127.0.0.1/0"), .offloads = way->udp};
    struct udp_info info;
    udp.buffer = 8 << 20;
    assert_int_equal(udp_open(&udp, &s->udp), 0);
    udp_info(s->udp, &info);
    s->address = info.local;
    assert_int_equal(info.offloads, way->udp);
    merger_init(&s->merger, checksum, write_output, s);
    seal_slab_init(&s->slab, s->memory, SEAL_SLAB_LEN);
    assembly_init(&s->assembly, 1);
    s->supers_read = s->supers_written = s->frames_written = s->slow = 0;
}

static void close_side(struct side *s)
{
    assembly_done(&s->assembly);
    udp_close(s->udp);
    tap_close(s->tap);
}

static int set_up(void **state)
{
    uint8_t secret[SHARED_KEY_LEN] = {9, 8, 7};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct side *s = &sides[i];

        if (i == 1 && unshare(CLONE_NEWNET) != 0) {
            return -1;
        }
        s->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (s->netns < 0 || net_open(&s->net) != 0) {
            return -1;
        }
        for (size_t k = 0; k < TURN; k++) {
            s->super[k] = malloc(OFFLOAD_HEADROOM + TAP_SUPER_BUFFER);
        }
        s->memory = malloc(SEAL_SLAB_LEN);
    }
    for (size_t i = 0; i < sizeof(pattern); i++) {
        size_t k = i % PATTERN;
        pattern[i] = (uint8_t)(k * 31 + (k >> 8) * 7);
    }
    armor_keys_init(&keys, secret);
    checksum = checksum_pick(cpu_features());
    return udp_bulk_new(UDP_BULK_BUFFERS_MAX, &bulk);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        net_close(sides[i].net);
        (void)close(sides[i].netns);
        for (size_t k = 0; k < TURN; k++) {
            free(sides[i].super[k]);
        }
        free(sides[i].memory);
    }
    udp_bulk_free(bulk);
    armor_keys_done(&keys);
    return 0;
}

/* ---- transfers ---- */

/* Address of side 0 inside the network, for sockets. */
static socklen_t inner_address(struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (way->v6) {
        struct sockaddr_in6 *sa = (struct sockaddr_in6 *)ret;
        sa->sin6_family = AF_INET6;
        sa->sin6_port = htons(5001);
        assert_int_equal(inet_pton(AF_INET6, "fd77::1", &sa->sin6_addr), 1);
        return sizeof(*sa);
    }
    struct sockaddr_in *sa = (struct sockaddr_in *)ret;
    sa->sin_family = AF_INET;
    sa->sin_port = htons(5001);
    assert_int_equal(inet_pton(AF_INET, "10.77.0.1", &sa->sin_addr), 1);
    return sizeof(*sa);
}

static int open_socket(const struct side *s, int type)
{
    struct timeval patience = {.tv_sec = 5};
    int one = 1;

    use_netns(s);
    int fd = socket(way->v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

/* Bind; a new IPv6 address may need a moment before it can be used. */
static void bind_inner(int fd, const struct sockaddr_storage *to, socklen_t len)
{
    int r = -1;

    for (int tries = 0; tries < 400 && r != 0; tries++) {
        r = bind(fd, (const struct sockaddr *)to, len);
        if (r != 0) {
            (void)usleep(10000);
        }
    }
    assert_int_equal(r, 0);
}

/* A transfer; threads do not assert, they leave a verdict. */
struct transfer {
    int receiver; /* listening, or UDP */
    int sender;
    struct sockaddr_storage to;
    socklen_t to_len;
    size_t total;
    size_t received;
    bool is_wrong;
    double seconds;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *send_stream(void *arg)
{
    struct transfer *t = arg;
    size_t sent = 0;

    if (connect(t->sender, (struct sockaddr *)&t->to, t->to_len) != 0) {
        return NULL;
    }
    while (sent < t->total) {
        size_t n = t->total - sent < CHUNK ? t->total - sent : CHUNK;
        ssize_t r = send(t->sender, pattern + sent % PATTERN, n, MSG_NOSIGNAL);
        if (r <= 0) {
            break;
        }
        sent += (size_t)r;
    }
    (void)shutdown(t->sender, SHUT_WR);
    return NULL;
}

static void *receive_stream(void *arg)
{
    struct transfer *t = arg;
    static uint8_t chunk[CHUNK];
    int fd = accept(t->receiver, NULL, NULL);
    double start = now();

    for (;;) {
        ssize_t r = fd >= 0 ? recv(fd, chunk, sizeof(chunk), 0) : -1;
        if (r <= 0) {
            break;
        }
        t->is_wrong = t->is_wrong || memcmp(chunk, pattern + t->received % PATTERN, (size_t)r) != 0;
        t->received += (size_t)r;
    }
    t->seconds = now() - start;
    (void)close(fd);
    atomic_store(&is_done, true);
    return NULL;
}

/* Datagrams of 1200 bytes, sent as super-frames and no faster than they arrive. */
enum { DATAGRAM = 1200, DATAGRAMS = 40, BURSTS = 60 };

static atomic_size_t datagrams_received;

static void *send_datagrams(void *arg)
{
    struct transfer *t = arg;
    int size = DATAGRAM;

    (void)setsockopt(t->sender, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
    if (connect(t->sender, (struct sockaddr *)&t->to, t->to_len) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < BURSTS; i++) {
        (void)!send(t->sender, pattern + i, DATAGRAM * DATAGRAMS, 0);
        for (int tries = 0; tries < 400 && atomic_load(&datagrams_received) < (i + 1) * DATAGRAMS;
             tries++) {
            (void)usleep(5000);
        }
    }
    return NULL;
}

static void *receive_datagrams(void *arg)
{
    struct transfer *t = arg;
    uint8_t datagram[DATAGRAM + 1];

    for (size_t i = 0; i < BURSTS * DATAGRAMS; i++) {
        ssize_t r = recv(t->receiver, datagram, sizeof(datagram), 0);
        const uint8_t *want = pattern + i / DATAGRAMS + i % DATAGRAMS * DATAGRAM;
        if (r <= 0) {
            break;
        }
        t->is_wrong = t->is_wrong || r != DATAGRAM || memcmp(datagram, want, DATAGRAM) != 0;
        t->received += (size_t)r;
        atomic_fetch_add(&datagrams_received, 1);
    }
    atomic_store(&is_done, true);
    return NULL;
}

static void run_transfer(struct transfer *t, void *(*sender)(void *), void *(*receiver)(void *))
{
    pthread_t threads[2];

    atomic_store(&is_done, false);
    assert_int_equal(pthread_create(&threads[0], NULL, receiver, t), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, sender, t), 0);
    run_path();
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    (void)close(t->sender);
    (void)close(t->receiver);
    assert_int_equal(t->received, t->total);
    assert_false(t->is_wrong);
}

static void run_tcp(void)
{
    struct transfer t = {.total = way->megabytes << 20};

    t.to_len = inner_address(&t.to);
    t.receiver = open_socket(&sides[0], SOCK_STREAM);
    t.sender = open_socket(&sides[1], SOCK_STREAM);
    bind_inner(t.receiver, &t.to, t.to_len);
    assert_int_equal(listen(t.receiver, 1), 0);
    run_transfer(&t, send_stream, receive_stream);
    print_message("%-32s TCP %5.2f Gbit/s; read %llu, wrote %llu super-frames, %llu frames, "
                  "%llu packets slowly\n",
                  way->name, (double)t.total * 8 / t.seconds / 1e9,
                  (unsigned long long)sides[1].supers_read,
                  (unsigned long long)sides[0].supers_written,
                  (unsigned long long)sides[0].frames_written, (unsigned long long)sides[0].slow);
}

static void run_udp(void)
{
    struct transfer t = {.total = (size_t)BURSTS * DATAGRAMS * DATAGRAM};

    t.to_len = inner_address(&t.to);
    t.receiver = open_socket(&sides[0], SOCK_DGRAM);
    t.sender = open_socket(&sides[1], SOCK_DGRAM);
    bind_inner(t.receiver, &t.to, t.to_len);
    atomic_store(&datagrams_received, 0);
    run_transfer(&t, send_datagrams, receive_datagrams);
}

/* Whether the devices have what this way is about. */
static bool is_possible(void)
{
    if (tap_offloads(sides[0].tap) != way->tap) {
        print_message("%s: not on this system\n", way->name);
        return false;
    }
    struct inetaddr ip = netns_ip("fd77::2/64");
    return !way->v6 || net_addr_add(sides[1].net, tap_ifindex(sides[1].tap), &ip) != -EOPNOTSUPP;
}

static void run_way(const struct way *w)
{
    way = w;
    open_side(0);
    open_side(1);
    if (is_possible()) {
        run_tcp();
        assert_true((w->tap & TAP_OFFLOAD_TSO4) != 0 ? sides[1].supers_read > 10
                                                     : sides[1].supers_read == 0);
        assert_true((w->merge & MERGE_TCP4) != 0 ? sides[0].supers_written > 10
                                                 : sides[0].supers_written == 0);
        uint64_t supers = sides[1].supers_read;
        run_udp();
        assert_true((w->tap & TAP_OFFLOAD_USO) == 0 || sides[1].supers_read >= supers + BURSTS);
    }
    close_side(&sides[0]);
    close_side(&sides[1]);
}

/* The steps of spec 09 section 6.10, and what else can be switched. */
static void test_every_way(void **state)
{
    enum {
        TSO = TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_USO,
        TCP = MERGE_TCP4 | MERGE_TCP6,
        NO_TSO = TAP_OFFLOAD_VNET | TAP_OFFLOAD_CSUM,
    };
    static const struct way ways[] = {
        {"A: all", TAP_OFFLOAD_ALL, UDP_OFFLOAD_ALL, MERGE_ALL, 3, false, false, 128},
        {"A, IPv6", TAP_OFFLOAD_ALL, UDP_OFFLOAD_ALL, MERGE_ALL, 3, true, false, 64},
        {"A, suite 1", TAP_OFFLOAD_ALL, UDP_OFFLOAD_ALL, MERGE_ALL, 1, false, false, 64},
        {"A, no merging", TAP_OFFLOAD_ALL, UDP_OFFLOAD_ALL, 0, 3, false, false, 32},
        {"A, device refuses", TAP_OFFLOAD_ALL, UDP_OFFLOAD_ALL, MERGE_ALL, 3, false, true, 32},
        {"A, no GRO", TAP_OFFLOAD_ALL, UDP_OFFLOAD_GSO, MERGE_ALL, 3, false, false, 32},
        {"A, no GSO", TAP_OFFLOAD_ALL, UDP_OFFLOAD_GRO, MERGE_ALL, 3, false, false, 32},
        {"B: no USO", TSO, UDP_OFFLOAD_ALL, TCP, 3, false, false, 64},
        {"B, IPv6", TSO, UDP_OFFLOAD_ALL, TCP, 3, true, false, 32},
        {"C: no UDP offloads", TSO, UDP_OFFLOAD_BATCH, TCP, 3, false, false, 32},
        {"checksums only", NO_TSO, UDP_OFFLOAD_ALL, TCP, 3, false, false, 16},
        {"headers only", TAP_OFFLOAD_VNET, UDP_OFFLOAD_ALL, TCP, 3, false, false, 16},
        {"D: plain TAP", 0, UDP_OFFLOAD_ALL, 0, 3, false, false, 16},
        {"E: many messages a call", 0, UDP_OFFLOAD_BATCH, 0, 3, false, false, 16},
        {"F: nothing", 0, 0, 0, 3, false, false, 16},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        run_way(&ways[i]);
    }
}

static void set_loopback_mtu(int mtu)
{
    struct ifreq req = {.ifr_name = "lo", .ifr_mtu = mtu};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_int_equal(ioctl(fd, SIOCSIFMTU, &req), 0);
    (void)close(fd);
}

/* D-20: a path that does not carry the datagrams whole; the kernel does not cut for it. */
static void test_small_path(void **state)
{
    struct udp_config config = {.local = netns_ip("127.0.0.1/0"), .offloads = UDP_OFFLOAD_ALL};
    struct udp_socket *a;
    struct udp_socket *b;
    struct udp_info info;
    size_t got = 0;

    (void)state;
    use_netns(&sides[0]);
    set_loopback_mtu(1400);
    assert_int_equal(udp_open(&config, &a), 0);
    assert_int_equal(udp_open(&config, &b), 0);
    udp_info(b, &info);
    struct udp_run run = {.data = pattern, .len = 14270, .segment = 1427, .to = info.local};
    assert_int_equal(udp_send_runs(a, bulk, &run, 1), 1);
    assert_int_equal(run.error, 0);
    assert_true(run.no_gso);
    udp_info(a, &info);
    assert_int_equal(info.gso_replays, 1);
    while (got < 14270) {
        const struct udp_message *m;
        struct pollfd p = {.fd = udp_fd(b), .events = POLLIN};

        assert_int_equal(poll(&p, 1, 2000), 1);
        int n = udp_receive_bulk(b, bulk, &m);
        for (int i = 0; i < n; i++) {
            assert_memory_equal(m[i].data, pattern + got, m[i].len);
            got += m[i].len;
        }
    }
    udp_close(a);
    udp_close(b);
    set_loopback_mtu(65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_path),
        cmocka_unit_test(test_every_way),
    };
    netns_enter();
    netns_need_tun();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
