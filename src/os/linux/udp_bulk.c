/* UDP in bulk on Linux. A send is a vector of messages, each a run of datagrams cut by the kernel,
 * or a single datagram where it does not cut; as messages are done with, the runs move on, so that
 * a full socket or a refusal can be met at any datagram. Implements: spec 09 sections 6.4, 6.9 and
 * 6.10; D-18, D-20. */
#include "os/udp_bulk.h"

#include "os/linux/udp_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    STRIDE = UDP_BULK_BUFFER + UDP_BULK_SLACK,
    FEW_BUFFERS = 16,     /* offered at first: long messages shall not fill the caches */
    SMALL_MESSAGE = 4096, /* if so many come and are no longer than this, all are offered */
    RECEIVE_RETRIES = 3,  /* errors left behind by sent datagrams, taken before giving up */
};

/* Control message of one message: the size of its datagrams. */
union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

/* What one entry of a send stands for. */
struct sent_part {
    struct udp_run *run;
    size_t len;
};

struct udp_bulk {
    unsigned buffers;
    unsigned offered; /* for the next receive */
    bool was_full;    /* the last receive took as many messages as were offered */
    uint8_t *memory;  /* the receive buffers */
    struct mmsghdr msgs[UDP_BULK_BUFFERS_MAX];
    struct iovec iovs[UDP_BULK_BUFFERS_MAX];
    union udp_sockaddr addrs[UDP_BULK_BUFFERS_MAX];
    union control controls[UDP_BULK_BUFFERS_MAX];
    struct udp_message messages[UDP_BULK_BUFFERS_MAX]; /* received */
    struct sent_part parts[UDP_BULK_BUFFERS_MAX];      /* being sent */
};

int udp_bulk_new(unsigned buffers, struct udp_bulk **ret)
{
    if (buffers == 0 || buffers > UDP_BULK_BUFFERS_MAX) {
        return -EINVAL;
    }
    struct udp_bulk *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return -ENOMEM;
    }
    void *memory = mmap(NULL, (size_t)buffers * STRIDE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        free(b);
        return -ENOMEM;
    }
    b->memory = memory;
    b->buffers = buffers;
    b->offered = buffers < FEW_BUFFERS ? buffers : FEW_BUFFERS;
    *ret = b;
    return 0;
}

void udp_bulk_trim(struct udp_bulk *bulk)
{
    (void)madvise(bulk->memory, (size_t)bulk->buffers * STRIDE, MADV_DONTNEED);
}

void udp_bulk_free(struct udp_bulk *bulk)
{
    if (bulk == NULL) {
        return;
    }
    (void)munmap(bulk->memory, (size_t)bulk->buffers * STRIDE);
    free(bulk);
}

/* Point entry i at its address, data and control block. */
static struct msghdr *prepare(struct udp_bulk *b, size_t i, void *data, size_t len)
{
    b->iovs[i] = (struct iovec){.iov_base = data, .iov_len = len};
    b->msgs[i].msg_hdr = (struct msghdr){
        .msg_name = &b->addrs[i],
        .msg_namelen = sizeof(b->addrs[i]),
        .msg_iov = &b->iovs[i],
        .msg_iovlen = 1,
        .msg_control = b->controls[i].bytes,
        .msg_controllen = sizeof(b->controls[i].bytes),
    };
    return &b->msgs[i].msg_hdr;
}

/* Size of the datagrams of a received message; its length if it is a single one. */
static size_t received_segment(struct msghdr *msg, size_t len)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int size;

            memcpy(&size, CMSG_DATA(c), sizeof(size));
            return size > 0 && (size_t)size < len ? (size_t)size : len;
        }
    }
    return len;
}

/* List what came in. */
static int take_messages(struct udp_socket *s, struct udp_bulk *b, size_t received)
{
    size_t out = 0;

    for (size_t i = 0; i < received; i++) {
        struct msghdr *msg = &b->msgs[i].msg_hdr;
        size_t len = b->msgs[i].msg_len;

        if ((msg->msg_flags & MSG_TRUNC) != 0) {
            udp_count(&s->rx_truncated);
            continue;
        }
        if (len == 0) {
            continue;
        }
        struct udp_message *m = &b->messages[out++];
        m->data = b->iovs[i].iov_base;
        m->len = len;
        m->cap = STRIDE;
        m->segment = received_segment(msg, len);
        udp_sockaddr_to(&b->addrs[i], &m->from);
    }
    return (int)out;
}

/* How many buffers to offer after so many messages came: a call for many costs less for each, but
 * that matters for short ones only. */
static void choose_offer(struct udp_bulk *b, size_t received)
{
    size_t bytes = 0;

    b->was_full = received == b->offered;
    for (size_t i = 0; i < received; i++) {
        bytes += b->msgs[i].msg_len;
    }
    b->offered = FEW_BUFFERS;
    if (b->buffers < FEW_BUFFERS ||
        (received >= FEW_BUFFERS && bytes <= received * SMALL_MESSAGE)) {
        b->offered = b->buffers;
    }
}

static bool has_offload(const struct udp_socket *s, unsigned bit)
{
    return (atomic_load_explicit(&s->offloads, memory_order_relaxed) & bit) != 0;
}

static void give_up(struct udp_socket *s, unsigned bit)
{
    atomic_fetch_and_explicit(&s->offloads, ~bit, memory_order_relaxed);
}

/* recvmmsg, or one message after the other (step F). */
static int receive_vector(struct udp_socket *s, struct udp_bulk *b)
{
    unsigned n = 0;

    if (has_offload(s, UDP_OFFLOAD_BATCH)) {
        int received = recvmmsg(s->fd, b->msgs, b->offered, MSG_DONTWAIT, NULL);
        if (received >= 0 || errno != ENOSYS) {
            return received;
        }
        give_up(s, UDP_OFFLOAD_BATCH);
    }
    while (n < b->offered) {
        ssize_t len = recvmsg(s->fd, &b->msgs[n].msg_hdr, MSG_DONTWAIT);
        if (len < 0) {
            break;
        }
        b->msgs[n++].msg_len = (unsigned)len;
    }
    return n > 0 ? (int)n : -1;
}

/* sendmmsg of n messages, or one after the other (step F). */
static int send_vector(struct udp_socket *s, struct udp_bulk *b, unsigned n)
{
    unsigned done = 0;

    if (has_offload(s, UDP_OFFLOAD_BATCH)) {
        int sent = sendmmsg(s->fd, b->msgs, n, MSG_DONTWAIT);
        if (sent >= 0 || errno != ENOSYS) {
            return sent;
        }
        give_up(s, UDP_OFFLOAD_BATCH);
    }
    while (done < n && sendmsg(s->fd, &b->msgs[done].msg_hdr, MSG_DONTWAIT) >= 0) {
        done++;
    }
    return done > 0 ? (int)done : -1;
}

int udp_receive_bulk(struct udp_socket *s, struct udp_bulk *bulk, const struct udp_message **ret)
{
    int error = 0;

    bulk->was_full = false;
    *ret = bulk->messages;
    for (unsigned i = 0; i < bulk->offered; i++) {
        (void)prepare(bulk, i, bulk->memory + (size_t)i * STRIDE, UDP_BULK_BUFFER);
    }
    for (int tries = 0; tries < RECEIVE_RETRIES; tries++) {
        int received = receive_vector(s, bulk);
        if (received >= 0) {
            choose_offer(bulk, (size_t)received);
            return take_messages(s, bulk, (size_t)received);
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        error = -errno;
    }
    return error == -EINTR ? 0 : error;
}

bool udp_bulk_was_full(const struct udp_bulk *bulk)
{
    return bulk->was_full;
}

/* How much of a run the next message takes: as many datagrams as the kernel may cut, or one. */
static size_t next_part(const struct udp_run *run, size_t at, bool gso)
{
    size_t left = run->len - at;
    size_t most = run->segment;

    assert(run->segment > 0);
    if (gso && !run->no_gso && run->segment <= UDP_RUN_BYTES_MAX) {
        size_t fit = UDP_RUN_BYTES_MAX / run->segment;
        most *= fit < UDP_RUN_SEGMENTS_MAX ? fit : UDP_RUN_SEGMENTS_MAX;
    }
    return left < most ? left : most;
}

/* Have the kernel cut a message. */
static void attach_segment(struct msghdr *msg, size_t segment)
{
    uint16_t size = (uint16_t)segment;

    msg->msg_controllen = CMSG_SPACE(sizeof(size));
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(size));
    memcpy(CMSG_DATA(c), &size, sizeof(size));
}

/* Fill the vector from the front of the runs; stops at one of another family. */
static unsigned fill_vector(const struct udp_socket *s, struct udp_bulk *b, struct udp_run *runs,
                            size_t count)
{
    bool gso = has_offload(s, UDP_OFFLOAD_GSO);
    unsigned n = 0;

    for (size_t i = 0; i < count && runs[i].to.family == s->local.family; i++) {
        struct udp_run *run = &runs[i];

        for (size_t at = 0; at < run->len; at += b->parts[n - 1].len) {
            if (n == UDP_BULK_BUFFERS_MAX) {
                return n;
            }
            /* the kernel only reads it, the type is shared with receiving */
            union {
                const uint8_t *in;
                void *out;
            } data = {.in = run->data + at};
            size_t len = next_part(run, at, gso);
            struct msghdr *msg = prepare(b, n, data.out, len);

            msg->msg_namelen = udp_sockaddr_from(&run->to, s->scope, &b->addrs[n]);
            if (len > run->segment) {
                attach_segment(msg, run->segment);
            } else {
                msg->msg_control = NULL;
                msg->msg_controllen = 0;
            }
            b->parts[n++] = (struct sent_part){.run = run, .len = len};
        }
    }
    return n;
}

static void advance(struct udp_run *run, size_t len)
{
    run->data += len;
    run->len -= len;
}

/* The first message was refused: go on with its datagrams singly, or give it up. */
static void handle_error(struct udp_socket *s, const struct sent_part *part, int code)
{
    struct udp_run *run = part->run;
    bool was_cut = part->len > run->segment;

    if (was_cut && (code == EINVAL || code == EMSGSIZE)) {
        run->no_gso = true; /* what this path cannot carry is its own affair */
        udp_count(&s->gso_replays);
        return;
    }
    if (was_cut && (code == EIO || code == ENOPROTOOPT || code == EOPNOTSUPP)) {
        run->no_gso = true;
        give_up(s, UDP_OFFLOAD_GSO);
        udp_count(&s->gso_replays);
        return;
    }
    run->error = -code;
    udp_count(&s->tx_errors);
    advance(run, part->len);
}

/* Count runs that are done with, from the front. */
static size_t count_done(const struct udp_run *runs, size_t from, size_t count)
{
    while (from < count && runs[from].len == 0) {
        from++;
    }
    return from;
}

size_t udp_send_runs(struct udp_socket *s, struct udp_bulk *bulk, struct udp_run *runs,
                     size_t count)
{
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        runs[i].error = 0;
    }
    while ((done = count_done(runs, done, count)) < count) {
        unsigned n = fill_vector(s, bulk, runs + done, count - done);
        if (n == 0) {
            runs[done].error = -EAFNOSUPPORT;
            udp_count(&s->tx_errors);
            advance(&runs[done], runs[done].len);
            continue;
        }
        int sent = send_vector(s, bulk, n);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
                break;
            }
            if (errno != EINTR) {
                handle_error(s, &bulk->parts[0], errno);
            }
            continue;
        }
        for (int i = 0; i < sent; i++) {
            advance(bulk->parts[i].run, bulk->parts[i].len);
        }
    }
    return done;
}
