/* Diagnosis of packet filters and connection tracking: hints only, read when the system lets us.
 * Source: spec 05 section 12. */
#include "cli/diagnose.h"

#include "cli/ruleset.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
    OUTPUT_MAX = 8 << 20, /* bytes of a list of rules */
    WAIT_MS = 5000,
    CONNTRACK_UDP_MIN_S = 25, /* the engine keeps NAT mappings alive every 20 s */
};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Read all from a descriptor until its end, for a while. Returns heap text; NULL: too much, too
 * late, or out of memory. */
static char *read_all(int fd)
{
    int64_t end_ms = now_ms() + WAIT_MS;
    size_t len = 0;
    size_t cap = 65536;
    char *text = malloc(cap);
    while (text != NULL) {
        struct pollfd input = {.fd = fd, .events = POLLIN};
        int64_t left_ms = end_ms - now_ms();
        if (len + 1 == cap) {
            char *grown = cap < OUTPUT_MAX ? realloc(text, 2 * cap) : NULL;
            if (grown == NULL) {
                break;
            }
            text = grown;
            cap *= 2;
        }
        if (left_ms <= 0 || poll(&input, 1, (int)left_ms) <= 0) {
            break;
        }
        ssize_t n = read(fd, text + len, cap - 1 - len);
        if (n <= 0) {
            text[len] = '\0';
            return text;
        }
        len += (size_t)n;
    }
    free(text);
    return NULL;
}

/* Output of a command, without a shell; NULL if it is not there, fails or takes too long. */
static char *output_of(const char *const *words)
{
    int fds[2];
    pid_t pid;
    int status = -1;
    posix_spawn_file_actions_t actions;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return NULL;
    }
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    int err = posix_spawnp(&pid, words[0], &actions, NULL, (char *const *)words, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(fds[1]);
    char *text = err == 0 ? read_all(fds[0]) : NULL;
    (void)close(fds[0]);
    if (err == 0) {
        if (text == NULL) {
            (void)kill(pid, SIGKILL);
        }
        (void)waitpid(pid, &status, 0);
    }
    if (status != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Rules of the system as it shows them. */
struct filters {
    json_t *nft;   /* NULL: cannot be read */
    char *tables4; /* iptables-save, the same */
    char *tables6;
};

static void filters_read(struct filters *r)
{
    static const char *const nft[] = {"nft", "-j", "list", "ruleset", NULL};
    static const char *const save4[] = {"iptables-save", "-t", "filter", NULL};
    static const char *const save6[] = {"ip6tables-save", "-t", "filter", NULL};
    char *text = output_of(nft);
    *r = (struct filters){.nft = text == NULL ? NULL : json_loads(text, 0, NULL)};
    free(text);
    /* The newer iptables keeps its rules where nft sees them, the older one does not. */
    r->tables4 = output_of(save4);
    r->tables6 = output_of(save6);
}

static void filters_done(struct filters *r)
{
    json_decref(r->nft);
    free(r->tables4);
    free(r->tables6);
}

/* The worst of all sources. */
static enum ruleset_verdict judge(const struct filters *r, const struct ruleset_packet *packet,
                                  char *where, size_t cap)
{
    const char *const saved[] = {r->tables4, r->tables6};
    static const char *const names[] = {"iptables", "ip6tables"};
    char chain[128];
    enum ruleset_verdict worst =
        r->nft == NULL ? RULESET_PASS : ruleset_judge_nft(r->nft, packet, chain, sizeof(chain));
    (void)snprintf(where, cap, "nftables %s", worst == RULESET_PASS ? "" : chain);
    for (size_t i = 0; i < COUNT_OF(saved); i++) {
        enum ruleset_verdict now =
            saved[i] == NULL ? RULESET_PASS
                             : ruleset_judge_iptables(saved[i], packet, chain, sizeof(chain));
        if (now > worst) {
            worst = now;
            (void)snprintf(where, cap, "%s %s", names[i], chain);
        }
    }
    return worst;
}

static void check_rules(struct diagnosis *d)
{
    static const struct {
        bool incoming;
        enum result result;
        const char *advice;
    } ways[] = {
        {true, RESULT_WARN,
         "nft insert rule FAMILY TABLE CHAIN udp dport 9993 accept, or the like in the firewall's "
         "own "
         "settings; without it, direct paths depend on this node speaking first"},
        {false, RESULT_FAIL, "accept outgoing UDP from this port"},
    };
    struct filters rules;
    filters_read(&rules);
    if (rules.nft == NULL && rules.tables4 == NULL) {
        find(&d->findings, RESULT_INFO, "firewall",
             geteuid() != 0 ? "run this command as root" : NULL,
             "rules cannot be read here (no rights, or neither nft nor iptables is installed)");
        filters_done(&rules);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct ruleset_packet packet = {.incoming = ways[i].incoming, .port = d->port};
        const char *direction = packet.incoming ? "incoming UDP to" : "outgoing UDP from";
        char where[160];
        switch (judge(&rules, &packet, where, sizeof(where))) {
        case RULESET_DROP:
            find(&d->findings, ways[i].result, "firewall", ways[i].advice,
                 "%s port %u is dropped (%s)", direction, d->port, where);
            break;
        case RULESET_MAYBE:
            find(&d->findings, RESULT_INFO, "firewall", NULL,
                 "%s port %u may be dropped, by rules that look at more (%s)", direction, d->port,
                 where);
            break;
        default:
            find(&d->findings, RESULT_OK, "firewall", NULL, "no rule drops %s port %u", direction,
                 d->port);
            break;
        }
    }
    filters_done(&rules);
}

static long value_of(const char *path)
{
    char line[32];
    diagnose_line(path, line, sizeof(line));
    return line[0] == '\0' ? -1 : strtol(line, NULL, 10);
}

static void check_conntrack(struct diagnosis *d)
{
    long count = value_of("/proc/sys/net/netfilter/nf_conntrack_count");
    long max = value_of("/proc/sys/net/netfilter/nf_conntrack_max");
    long stream_s = value_of("/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream");
    if (count >= 0 && max > 0 && count > max - max / 10) {
        find(&d->findings, RESULT_WARN, "conntrack", "raise net.netfilter.nf_conntrack_max",
             "the table is nearly full: %ld of %ld", count, max);
    }
    if (stream_s >= 0 && stream_s < CONNTRACK_UDP_MIN_S) {
        find(&d->findings, RESULT_WARN, "conntrack",
             "sysctl net.netfilter.nf_conntrack_udp_timeout_stream=120",
             "UDP conversations are forgotten after %ld s", stream_s);
    }
}

void diagnose_firewall(struct diagnosis *d)
{
    check_rules(d);
    check_conntrack(d);
}
