/* Records over TCP or TLS. */
#include "daemon/relay_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECORD_TYPE = 0x17,     /* of each record */
    UNSENT_MAX = 64 * 1024, /* the system takes no more than this before it is sent */
    GIVE_UP_MS = 15000,     /* no acknowledgement for so long: the connection is dead */
    ENTRY_HEAD = 10,        /* time and length before each record of the queue */
    KEEP_RECORD_LEN = 5,
};

void relay_stream_init(struct relay_stream *s)
{
    memset(s, 0, offsetof(struct relay_stream, carry));
    s->fd = -1;
    s->blocked_ms = -1;
}

static void set_option(int fd, int level, int option, int value)
{
    (void)!setsockopt(fd, level, option, &value, sizeof(value)); /* better with, works without */
}

void relay_stream_open(struct relay_stream *s, int fd)
{
    relay_stream_init(s);
    s->fd = fd;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, GIVE_UP_MS);
}

void relay_stream_close(struct relay_stream *s)
{
    tls_session_free(s->tls);
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    free(s->queue);
    relay_stream_init(s);
}

void relay_stream_trim(struct relay_stream *s)
{
    if (s->queue != NULL && s->queue_first == s->queue_end) {
        free(s->queue);
        s->queue = NULL;
        s->queue_first = s->queue_end = 0;
    }
}

/* ---- sending ---- */

static ssize_t write_some(struct relay_stream *s, const void *data, size_t len)
{
    if (s->tls != NULL) {
        return tls_write(s->tls, data, len);
    }
    ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

/* Time and length of the oldest record of the queue. */
static size_t entry_len(const struct relay_stream *s, int64_t *ret_ms)
{
    uint16_t len;
    memcpy(ret_ms, s->queue + s->queue_first, sizeof(*ret_ms));
    memcpy(&len, s->queue + s->queue_first + sizeof(*ret_ms), sizeof(len));
    return len;
}

/* Move records from the queue into the chunk, which is empty; leave out what is too old. */
static void fill_chunk(struct relay_stream *s, int64_t now_ms)
{
    s->chunk_at = s->chunk_len = 0;
    while (s->queue_first < s->queue_end) {
        int64_t at_ms;
        size_t len = entry_len(s, &at_ms);
        if (now_ms - at_ms > RELAY_QUEUE_MS) {
            s->lost++;
        } else if (len <= sizeof(s->chunk) - s->chunk_len) {
            memcpy(s->chunk + s->chunk_len, s->queue + s->queue_first + ENTRY_HEAD, len);
            s->chunk_len += len;
        } else {
            return;
        }
        s->queue_first += ENTRY_HEAD + len;
    }
    s->queue_first = s->queue_end = 0;
}

int relay_stream_flush(struct relay_stream *s, int64_t now_ms)
{
    for (;;) {
        if (s->chunk_at == s->chunk_len) {
            fill_chunk(s, now_ms);
        }
        if (s->chunk_len == 0) {
            s->blocked_ms = -1;
            return 0;
        }
        ssize_t n = write_some(s, s->chunk + s->chunk_at, s->chunk_len - s->chunk_at);
        s->chunk_fixed = n == -EAGAIN;
        if (n < 0) {
            s->blocked_ms = s->blocked_ms < 0 ? now_ms : s->blocked_ms;
            return (int)n;
        }
        s->blocked_ms = -1;
        s->chunk_at += (size_t)n;
    }
}

/* Room for len bytes at the end of the chunk, if they may go there. */
static uint8_t *chunk_room(struct relay_stream *s, size_t len, int64_t now_ms)
{
    bool fits = s->chunk_at == 0 && len <= sizeof(s->chunk) - s->chunk_len;
    if (!s->chunk_fixed && !fits && s->queue_first == s->queue_end) {
        fits = relay_stream_flush(s, now_ms) == 0;
    }
    if (s->chunk_fixed || !fits || s->queue_first != s->queue_end) {
        return NULL;
    }
    uint8_t *at = s->chunk + s->chunk_len;
    s->chunk_len += len;
    return at;
}

/* Room in the queue, or NULL. */
static uint8_t *queue_room(struct relay_stream *s, size_t len, int64_t now_ms)
{
    uint16_t short_len = (uint16_t)len;
    if (s->queue == NULL) {
        s->queue = malloc(RELAY_QUEUE_MAX);
    }
    if (s->queue != NULL && RELAY_QUEUE_MAX - s->queue_end < ENTRY_HEAD + len) {
        memmove(s->queue, s->queue + s->queue_first, s->queue_end - s->queue_first);
        s->queue_end -= s->queue_first;
        s->queue_first = 0;
    }
    if (s->queue == NULL || RELAY_QUEUE_MAX - s->queue_end < ENTRY_HEAD + len) {
        s->lost++;
        return NULL;
    }
    uint8_t *at = s->queue + s->queue_end;
    memcpy(at, &now_ms, sizeof(now_ms));
    memcpy(at + sizeof(now_ms), &short_len, sizeof(short_len));
    s->queue_end += ENTRY_HEAD + len;
    return at + ENTRY_HEAD;
}

/* Room for a record of len bytes, or NULL. */
static uint8_t *room(struct relay_stream *s, size_t len, int64_t now_ms)
{
    uint8_t *at = chunk_room(s, len, now_ms);
    return at != NULL ? at : queue_room(s, len, now_ms);
}

void relay_stream_greet(struct relay_stream *s, const int version[3], int64_t now_ms)
{
    uint8_t *at = room(s, TCP_RELAY_GREETING_LEN, now_ms);
    if (at != NULL) {
        struct wr w = wr_init(at, TCP_RELAY_GREETING_LEN);
        tcp_relay_write_greeting(&w, (uint8_t)version[0], (uint8_t)version[1],
                                 (uint16_t)version[2]);
    }
}

void relay_stream_keep(struct relay_stream *s, int64_t now_ms)
{
    static const uint8_t record[KEEP_RECORD_LEN] = {RECORD_TYPE, 3, 3, 0, 0};
    uint8_t *at = room(s, sizeof(record), now_ms);
    if (at != NULL) {
        memcpy(at, record, sizeof(record));
    }
}

bool relay_stream_put(struct relay_stream *s, const struct inetaddr *address, const void *data,
                      size_t len, int64_t now_ms)
{
    size_t head = TCP_RELAY_HEAD_LEN + 1 + inetaddr_ip_len(address) + 2;
    if (inetaddr_ip_len(address) == 0 || len > RELAY_RECORD_MAX - head) {
        return false;
    }
    uint8_t *at = room(s, head + len, now_ms);
    if (at == NULL) {
        return false;
    }
    struct wr w = wr_init(at, head + len);
    tcp_relay_write_datagram(&w, address, data, len);
    s->bytes[1] += len;
    return true;
}

/* ---- receiving ---- */

static ssize_t read_some(struct relay_stream *s, void *buf, size_t cap)
{
    if (s->tls != NULL) {
        return tls_read(s->tls, buf, cap);
    }
    ssize_t n = recv(s->fd, buf, cap, 0);
    return n >= 0 ? n : errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

/* Does a record begin here that is taken? */
static bool is_fine(const struct relay_stream *s, const struct rd *in)
{
    struct rd at = *in;
    bool typed = rd_u8(&at) == RECORD_TYPE || !s->strict;
    rd_skip(&at, 2);
    return typed && rd_u16(&at) <= RELAY_RECORD_MAX - TCP_RELAY_HEAD_LEN;
}

int relay_stream_parse(struct relay_stream *s, uint8_t *scratch, size_t len, relay_record_fn fn,
                       void *ctx, int64_t now_ms)
{
    struct rd in = rd_init(scratch, len);
    struct tcp_relay_record record;
    int n = 0;
    bool had_carry = s->carry_len > 0;
    while (rd_left(&in) > 0 && is_fine(s, &in) && (n = tcp_relay_next(&in, &record)) > 0) {
        had_carry = false;
        if (record.kind == TCP_RELAY_DATAGRAM) {
            s->bytes[0] += record.len;
        }
        int err = fn(ctx, &record,
                     record.kind == TCP_RELAY_DATAGRAM ? scratch + (record.data - scratch) : NULL);
        if (err < 0) {
            return err;
        }
    }
    size_t left = rd_left(&in);
    if (n < 0 || (left > 0 && !is_fine(s, &in))) {
        return -EBADMSG;
    }
    memcpy(s->carry, in.p, left);
    s->carry_len = left;
    s->carry_ms = had_carry ? s->carry_ms : now_ms;
    return 0;
}

int relay_stream_receive(struct relay_stream *s, uint8_t *scratch, relay_record_fn fn, void *ctx,
                         int64_t now_ms)
{
    ssize_t n = read_some(s, scratch + s->carry_len, RELAY_SCRATCH);
    if (n <= 0) {
        return (int)n;
    }
    memcpy(scratch, s->carry, s->carry_len);
    int err = relay_stream_parse(s, scratch, s->carry_len + (size_t)n, fn, ctx, now_ms);
    return err < 0 ? err : 1;
}
