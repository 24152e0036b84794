/* Generator and sink of UDP datagrams for the benchmarks: one datagram is one message of sendmmsg,
 * without UDP_SEGMENT, so that a tunnel sees what an application with small packets makes; with
 * --run so many leave in one piece, as from a sender with segmentation offload, and a sink takes
 * what arrives in one piece. Both ends are bounded in time. With --packet the datagrams carry the
 * header of a ZeroTier packet between two other nodes, which is all a root looks at when it
 * forwards (spec 01 section 7.1, 02 section 4.2). For use inside namespaces of the benchmark alone.
 * Each end prints one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 64,           /* messages of one system call */
    SIZE_MAX_UDP = 65507, /* largest payload over IPv4 */
    HEADER = 28,          /* of a packet: ID, destination, source, flags, MAC, verb */
    SUITE_AES = 3 << 3,   /* flags byte: AES-GMAC-SIV, no fragments, no hops */
    THREADS_MAX = 16,
    SECONDS_MAX = 86400,
    BUFFER = 4 << 20, /* socket buffers */
    SINK_DATAGRAM = 65536,
    POLL_MS = 20, /* the sink looks at the clock and for signals this often */
};

static volatile sig_atomic_t stopped;

/* What the command line asks for. */
struct options {
    const char *address;  /* of the sink */
    const char *port;     /* of the sink */
    double seconds;       /* both ends stop then */
    double rate;          /* datagrams a second of all threads, 0: as fast as possible */
    uint64_t count;       /* datagrams of all threads, 0: until the time is over */
    size_t size;          /* of one datagram */
    unsigned run;         /* datagrams that leave in one piece */
    unsigned threads;     /* each with a socket of its own */
    bool packet;          /* with the header of a packet */
    uint64_t destination; /* node address in that header */
    uint64_t source;      /* node address in that header */
};

/* One thread of the generator. */
struct sender {
    const struct options *options;
    int fd;
    uint64_t count;   /* to send, 0: no limit */
    uint64_t next_id; /* packet ID or sequence number */
    uint64_t sent;    /* datagrams the kernel took */
    uint64_t refused; /* system calls that failed */
    double took;      /* seconds */
    pthread_t thread;
    uint8_t header[BATCH][HEADER];
    uint8_t *payload; /* what follows the header, the same in all */
    struct iovec pieces[BATCH][2];
    struct mmsghdr messages[BATCH]; /* each of `run` datagrams, header and payload in turn */
    unsigned message_count;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wait_seconds(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&t, NULL);
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "bench-flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
}

/* A socket connected to the sink, or bound to its port. */
static int open_socket(const struct options *o, bool sink)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (sink ? AI_PASSIVE : 0)};
    struct addrinfo *list = NULL;
    int size = BUFFER;
    int fd;

    if (getaddrinfo(o->address, o->port, &hints, &list) != 0) {
        errno = EINVAL;
        fail("address");
    }
    fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("socket");
    }
    if (setsockopt(fd, SOL_SOCKET, sink ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, &size, sizeof(size)) !=
        0) {
        (void)setsockopt(fd, SOL_SOCKET, sink ? SO_RCVBUF : SO_SNDBUF, &size, sizeof(size));
    }
    if ((sink ? bind(fd, list->ai_addr, list->ai_addrlen)
              : connect(fd, list->ai_addr, list->ai_addrlen)) != 0) {
        fail(sink ? "bind" : "connect");
    }
    freeaddrinfo(list);
    return fd;
}

/* ---- generator ---- */

/* Have the kernel cut messages of several datagrams. */
static void cut_messages(int fd, const struct options *o)
{
    int size = (int)o->size;

    if (o->run > 1 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) != 0) {
        fail("UDP_SEGMENT");
    }
}

static void make_messages(struct sender *s)
{
    const struct options *o = s->options;
    size_t head = o->size < HEADER ? o->size : HEADER;

    s->payload = calloc(1, o->size - head + 1);
    if (s->payload == NULL) {
        fail("memory");
    }
    memset(s->payload, 0xa5, o->size - head);
    for (size_t i = 0; i < BATCH; i++) {
        if (o->packet) {
            put(s->header[i] + 8, o->destination, 5);
            put(s->header[i] + 13, o->source, 5);
            s->header[i][18] = SUITE_AES;
        }
        s->pieces[i][0] = (struct iovec){s->header[i], head};
        s->pieces[i][1] = (struct iovec){s->payload, o->size - head};
    }
    s->message_count = BATCH / o->run;
    for (size_t i = 0; i < s->message_count; i++) {
        s->messages[i].msg_hdr.msg_iov = s->pieces[i * o->run];
        s->messages[i].msg_hdr.msg_iovlen = (size_t)2 * o->run;
    }
}

/* How many messages may leave now; waits for the rate's sake. 0: that was all. */
static unsigned due(const struct sender *s, double begin, double rate)
{
    uint64_t run = s->options->run;
    uint64_t want = s->message_count * run;

    if (s->count != 0 && s->count - s->sent < want) {
        want = s->count - s->sent;
    }
    if (rate > 0 && want > 0) {
        double ahead = (double)s->sent / rate - (now() - begin);
        uint64_t smooth = (uint64_t)(rate / 1000) + 1; /* bursts of a millisecond at most */

        if (ahead > 0) {
            wait_seconds(ahead);
        }
        want = want < smooth ? want : smooth;
    }
    return want == 0 ? 0 : want < run ? 1 : (unsigned)(want / run);
}

static void *send_all(void *ctx)
{
    struct sender *s = ctx;
    double begin = now();
    double end = begin + s->options->seconds;
    double rate = s->options->rate / s->options->threads;

    while (stopped == 0 && now() < end) {
        unsigned want = due(s, begin, rate);
        int took;

        if (want == 0) {
            break;
        }
        for (unsigned i = 0; i < want * s->options->run; i++) {
            put(s->header[i], s->next_id + i, 8);
        }
        took = sendmmsg(s->fd, s->messages, want, 0);
        if (took < 0) {
            s->refused++; /* full, or an ICMP error of an earlier one: the next may pass */
            continue;
        }
        s->next_id += (unsigned)took * s->options->run;
        s->sent += (unsigned)took * s->options->run;
    }
    s->took = now() - begin;
    return NULL;
}

static int run_send(const struct options *o)
{
    struct sender *senders = calloc(o->threads, sizeof(*senders));
    uint64_t sent = 0;
    uint64_t refused = 0;
    double took = 0;

    if (senders == NULL) {
        fail("memory");
    }
    for (unsigned i = 0; i < o->threads; i++) {
        struct sender *s = &senders[i];

        s->options = o;
        s->fd = open_socket(o, false);
        cut_messages(s->fd, o);
        s->count = o->count / o->threads + (i < o->count % o->threads ? 1 : 0);
        s->next_id = (uint64_t)i << 48 | 1;
        make_messages(s);
        if (pthread_create(&s->thread, NULL, send_all, s) != 0) {
            fail("thread");
        }
    }
    for (unsigned i = 0; i < o->threads; i++) {
        struct sender *s = &senders[i];

        (void)pthread_join(s->thread, NULL);
        sent += s->sent;
        refused += s->refused;
        took = s->took > took ? s->took : took;
        free(s->payload);
        (void)close(s->fd);
    }
    free(senders);
    printf("{\"sent\": %" PRIu64 ", \"refused\": %" PRIu64
           ", \"seconds\": %.6f, \"per_second\": %.1f}\n",
           sent, refused, took, took > 0 ? (double)sent / took : 0.0);
    return 0;
}

/* ---- sink ---- */

/* What arrived in the wanted size. Memory is that of one system call. */
struct sink {
    uint64_t received;
    double first; /* arrival */
    double last;
    struct iovec pieces[BATCH];
    struct mmsghdr messages[BATCH];
};

static void take(struct sink *sink, size_t size, int count)
{
    uint64_t taken = 0;
    double at = now();

    for (int i = 0; i < count; i++) {
        if (sink->messages[i].msg_len % size == 0) { /* some that the kernel joined, or one */
            taken += sink->messages[i].msg_len / size;
        }
    }
    if (taken > 0) {
        sink->first = sink->received == 0 ? at : sink->first;
        sink->last = at;
        sink->received += taken;
    }
}

static int run_sink(const struct options *o)
{
    static struct sink sink;
    struct timeval patience = {0, POLL_MS * 1000};
    int fd = open_socket(o, true);
    uint8_t *memory = malloc((size_t)BATCH * SINK_DATAGRAM);
    double end = now() + o->seconds;
    int joined = o->run > 1;
    double span;

    if (memory == NULL ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(fd, SOL_UDP, UDP_GRO, &joined, sizeof(joined)) != 0) {
        fail("sink");
    }
    for (size_t i = 0; i < BATCH; i++) {
        sink.pieces[i] = (struct iovec){memory + i * SINK_DATAGRAM, SINK_DATAGRAM};
        sink.messages[i].msg_hdr.msg_iov = &sink.pieces[i];
        sink.messages[i].msg_hdr.msg_iovlen = 1;
    }
    (void)fprintf(stderr, "ready\n");
    while (stopped == 0 && now() < end) {
        int count = recvmmsg(fd, sink.messages, BATCH, MSG_WAITFORONE, NULL);

        if (count > 0) {
            take(&sink, o->size, count);
        } else if (count < 0 && errno != EAGAIN && errno != EINTR) {
            fail("receive");
        }
    }
    span = sink.last - sink.first;
    printf("{\"received\": %" PRIu64 ", \"seconds\": %.6f, \"per_second\": %.1f}\n", sink.received,
           span, span > 0 ? (double)sink.received / span : 0.0);
    free(memory);
    (void)close(fd);
    return 0;
}

/* ---- command line ---- */

static int usage(void)
{
    (void)fputs(
        "Usage: bench-flood send ADDRESS PORT [--seconds S] [--count N] [--size BYTES]\n"
        "                   [--rate PER_SECOND] [--threads N] [--run N] [--packet TO:FROM]\n"
        "       bench-flood sink ADDRESS PORT [--seconds S] [--size BYTES] [--run N]\n"
        "TO and FROM are node addresses of 10 hex digits. SIGTERM ends either early.\n",
        stderr);
    return 2;
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 'l'},    {"rate", required_argument, NULL, 'r'},
        {"threads", required_argument, NULL, 't'}, {"run", required_argument, NULL, 'g'},
        {"packet", required_argument, NULL, 'p'},  {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (letter) {
        case 's':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'c':
            o->count = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            o->size = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            o->rate = strtod(optarg, NULL);
            break;
        case 't':
            o->threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'g':
            o->run = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            o->packet =
                sscanf(optarg, "%10" SCNx64 ":%10" SCNx64, &o->destination, &o->source) == 2;
            if (!o->packet) {
                return false;
            }
            break;
        default:
            return false;
        }
    }
    if (argc - optind != 3) {
        return false;
    }
    o->address = argv[optind + 1];
    o->port = argv[optind + 2];
    return o->seconds > 0 && o->seconds <= SECONDS_MAX && o->rate >= 0 && o->threads > 0 &&
           o->threads <= THREADS_MAX && o->size > 0 && o->size <= SIZE_MAX_UDP &&
           (!o->packet || o->size >= HEADER) && o->run > 0 && o->run <= BATCH &&
           o->run * o->size <= SIZE_MAX_UDP;
}

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

int main(int argc, char **argv)
{
    struct options o = {.seconds = 5, .size = 64, .threads = 1, .run = 1};
    struct sigaction action = {.sa_handler = on_signal};

    if (!parse(&o, argc, argv)) {
        return usage();
    }
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    if (strcmp(argv[optind], "send") == 0) {
        return run_send(&o);
    }
    if (strcmp(argv[optind], "sink") == 0) {
        return run_sink(&o);
    }
    return usage();
}
