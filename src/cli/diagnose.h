/* "panlan diagnose": what stands between this node and others, on one page. Its parts look at one
 * area each and add findings. Source: spec 05 sections 12, 13.14; doc/operations.md. */
#pragma once

#include "cli/cli.h"
#include "cli/findings.h"
#include "daemon/config.h"
#include "os/addr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Everything that was gathered before the checks; what could not be is NULL. */
struct diagnosis {
    struct cli *cli;
    struct findings findings;
    int64_t wall_ms;
    bool answers;          /* the service does, with our token */
    json_t *health;        /* GET /health, needs no token */
    json_t *status;        /* GET /status ... */
    json_t *peers;         /* GET /peer */
    json_t *networks;      /* GET /network */
    json_t *datapath;      /* GET /datapath */
    struct config *config; /* local.conf, defaults if there is none */
    struct net *net;
    struct net_snapshot snapshot; /* empty without net */
    unsigned port;                /* primary UDP port */
    long pid;                     /* of the service, 0 = not known */
};

/* panlan diagnose [--redact]; with -j as JSON. */
int diagnose_run(struct cli *cli);

/* The areas, in the order of the page. */
void diagnose_service(struct diagnosis *d); /* the service, settings, ports */
void diagnose_reach(struct diagnosis *d);   /* roots, NAT, port mapping, TCP relay */
void diagnose_interfaces(
    struct diagnosis *d);                    /* used and skipped, MTU, IPv6, reverse path filter */
void diagnose_system(struct diagnosis *d);   /* TUN, capabilities, clock, DNS, kernel */
void diagnose_firewall(struct diagnosis *d); /* rules that drop our UDP, conntrack */
void diagnose_traffic(struct diagnosis *d);  /* networks, peers, data path */

/* Members of JSON objects; "" and 0 where they are not there. */
const char *diagnose_text(const json_t *object, const char *key);
int64_t diagnose_number(const json_t *object, const char *key);
bool diagnose_is_true(const json_t *object, const char *key);

/* First line of a small file (of /proc, say) into out, or "". */
void diagnose_line(const char *path, char *out, size_t cap);

/* Join words into a text of bounded length: " and N more" when they do not all fit. */
struct words {
    char text[512];
    size_t len;
    size_t left_out;
};
void words_add(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *words_end(struct words *w);
