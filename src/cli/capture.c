/* "panlan capture": the frames of a network with what became of them, as lines or as a file for
 * Wireshark. The daemon sends them to a socket in its home directory; when it is closed, it stops.
 * Source: doc/operations.md, doc/man/panlan.1. */
#include "cli/frame_text.h"
#include "cli/own.h"
#include "cli/pcap_filter.h"
#include "cli/pcapng.h"

#include "os/dgram.h"
#include "os/home.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SNAPLEN_MAX = CAPTURE_RECORD_MAX,
    HEADER_LEN = 14,
    FILTER_MAX = 2000,
    US_PER_S = 1000000,
};

/* What the command line asks for, and how far it got. */
struct capturing {
    uint64_t nwid;
    const char *file; /* NULL: lines on stdout */
    long count;       /* frames to end after, 0: none */
    long snaplen;
    char text[FILTER_MAX]; /* filter, empty: none */
    struct pcap_filter *filter;
    FILE *out;
    int fd;
    char path[HOME_PATH_MAX + 64]; /* of the socket */
    long seen;
    uint64_t lost;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signum)
{
    (void)signum;
    interrupted = 1;
}

static bool parse_count(const char *text, long max, long *ret)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (text[0] == '\0' || *end != '\0' || value < 1 || value > max) {
        return false;
    }
    *ret = value;
    return true;
}

static int parse(struct cli *cli, struct capturing *c)
{
    const char *count;
    const char *snaplen;
    int status;

    c->file = own_option(cli, "-w");
    count = own_option(cli, "-c");
    snaplen = own_option(cli, "-s");
    c->snaplen = SNAPLEN_MAX;
    if (count != NULL && !parse_count(count, INT32_MAX, &c->count)) {
        (void)fprintf(stderr, "panlan capture: -c wants a number of frames, not \"%s\"\n", count);
        return CLI_USAGE;
    }
    if (snaplen != NULL && !parse_count(snaplen, SNAPLEN_MAX, &c->snaplen)) {
        (void)fprintf(stderr, "panlan capture: -s wants 1 to %d bytes, not \"%s\"\n", SNAPLEN_MAX,
                      snaplen);
        return CLI_USAGE;
    }
    status = own_nwid(cli, 0, &c->nwid);
    for (int i = 1; status == 0 && i < cli->arg_count; i++) {
        size_t len = strlen(c->text);
        int n = snprintf(c->text + len, sizeof(c->text) - len, "%s%s", len > 0 ? " " : "",
                         cli->args[i]);
        if (n < 0 || (size_t)n >= sizeof(c->text) - len) {
            (void)fprintf(stderr, "panlan capture: the filter is too long\n");
            status = CLI_USAGE;
        }
    }
    return status;
}

/* Make the socket and have the daemon send to it. */
static int subscribe(struct cli *cli, struct capturing *c)
{
    char name[CAPTURE_NAME_MAX];
    char url[64];
    char body[128];
    struct answer answer;

    (void)snprintf(name, sizeof(name), "capture.%ld.sock", (long)getpid());
    c->fd = home_path(cli->home, name, c->path, sizeof(c->path));
    c->fd = c->fd < 0 ? c->fd : dgram_listen(c->path);
    if (c->fd < 0) {
        (void)fprintf(stderr, "panlan capture: cannot make a socket in %s: %s\n", cli->home,
                      strerror(-c->fd));
        return CLI_FAILED;
    }
    (void)snprintf(url, sizeof(url), "/network/%016" PRIx64 "/capture", c->nwid);
    (void)snprintf(body, sizeof(body), "{\"socket\":\"%s\",\"snaplen\":%ld}", name, c->snaplen);
    int status = cli_send(cli, "POST", url, body, &answer);
    if (status == 0) {
        answer_done(&answer);
    }
    return status;
}

static int open_output(struct capturing *c)
{
    char name[32];

    c->out = stdout;
    if (c->file == NULL) {
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        return 0;
    }
    if (strcmp(c->file, "-") != 0) {
        c->out = fopen(c->file, "we");
    }
    if (c->out == NULL) {
        (void)fprintf(stderr, "panlan capture: %s: %s\n", c->file, strerror(errno));
        return CLI_FAILED;
    }
    (void)snprintf(name, sizeof(name), "%016" PRIx64, c->nwid);
    return pcapng_begin(c->out, name, (uint32_t)c->snaplen) < 0 ? CLI_FAILED : 0;
}

static bool passes_filter(const struct capturing *c, const uint8_t *data, size_t len,
                          const struct capture_record *record)
{
    size_t have = HEADER_LEN + record->frame.len;

    /* A record ends with the frame as it was on the wire. */
    return c->filter == NULL ||
           pcap_filter_matches(c->filter, data + len - have, record->len, have);
}

static int show(struct capturing *c, const struct capture_record *record)
{
    const struct captured_frame *frame = &record->frame;
    char verdict[VERDICT_TEXT_MAX];
    char comment[PCAPNG_COMMENT_MAX];
    char text[FRAME_TEXT_MAX];
    char when[16] = "";
    time_t seconds = (time_t)(record->wall_us / US_PER_S);
    struct tm tm;

    verdict_text(record, verdict);
    if (c->file != NULL) {
        (void)snprintf(comment, sizeof(comment), "%s %s %010" PRIx64, verdict,
                       frame->outbound ? "to" : "from", frame->remote);
        return pcapng_frame(c->out, record, comment);
    }
    frame_text(record, text);
    if (localtime_r(&seconds, &tm) != NULL) {
        (void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
    }
    (void)printf("%s.%06d %-3s %010" PRIx64 " %-24s %s\n", when, (int)(record->wall_us % US_PER_S),
                 frame->outbound ? "out" : "in", frame->remote, verdict, text);
    return 0;
}

static int receive(struct capturing *c)
{
    uint8_t buf[CAPTURE_RECORD_MAX];

    while (!interrupted && (c->count == 0 || c->seen < c->count)) {
        struct capture_record record;
        ssize_t n = dgram_receive(c->fd, buf, sizeof(buf), 1000);
        if (n == 0 || n == -EINTR) {
            (void)fflush(c->out);
            continue;
        }
        if (n < 0) {
            (void)fprintf(stderr, "panlan capture: %s\n", strerror((int)-n));
            return CLI_FAILED;
        }
        if (capture_record_read(rd_init(buf, (size_t)n), &record) < 0) {
            continue; /* not from our daemon */
        }
        c->lost = record.lost;
        if (passes_filter(c, buf, (size_t)n, &record)) {
            c->seen++;
            if (show(c, &record) < 0) {
                break; /* said below */
            }
        }
    }
    if (fflush(c->out) != 0 || ferror(c->out)) {
        (void)fprintf(stderr, "panlan capture: %s: %s\n", c->file == NULL ? "stdout" : c->file,
                      strerror(errno));
        return CLI_FAILED;
    }
    return CLI_OK;
}

int capture_run(struct cli *cli)
{
    struct capturing c = {.fd = -1};
    struct sigaction stop = {.sa_handler = on_signal};
    char error[256];
    int status = parse(cli, &c);

    if (status == 0 && c.text[0] != '\0' &&
        pcap_filter_new(c.text, &c.filter, error, sizeof(error)) < 0) {
        (void)fprintf(stderr, "panlan capture: %s\n", error);
        status = CLI_USAGE;
    }
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    status = status != 0 ? status : cli_connect(cli);
    status = status != 0 ? status : open_output(&c);
    status = status != 0 ? status : subscribe(cli, &c);
    if (status == 0) {
        status = receive(&c);
        (void)fprintf(stderr, "%ld frames, %" PRIu64 " lost\n", c.seen, c.lost);
    }
    if (c.fd >= 0) {
        dgram_close(c.fd, c.path);
    }
    if (c.out != NULL && c.out != stdout) {
        (void)fclose(c.out);
    }
    pcap_filter_free(c.filter);
    return status;
}
