/* What stands between a node and the Internet, and why a peer is reached only by a relay: for those
 * who look in from above. Source: spec 02 sections 7.7, 8 and Do better 6. */
#pragma once

/* How a NAT maps the sockets of this node (or of a peer), as far as reports of others show. */
enum nat_kind {
    NAT_UNKNOWN,    /* fewer than two reporters */
    NAT_NONE,       /* others see the address the socket is bound to */
    NAT_CONE,       /* all see the same address: mapping does not depend on the destination */
    NAT_SEQUENTIAL, /* symmetric: each destination sees another port, in small steps */
    NAT_RANDOM,     /* symmetric, ports without order */
};

/* Why there is no direct path to a peer. */
enum relay_reason {
    RELAY_REASON_NONE,           /* there is one */
    RELAY_REASON_NOT_TRIED,      /* nothing asked for one yet */
    RELAY_REASON_SILENT,         /* nothing was heard of the peer for long, or ever */
    RELAY_REASON_NO_UDP,         /* this node has only the TCP relay, no UDP */
    RELAY_REASON_NO_ADDRESS,     /* nobody told an address of the peer */
    RELAY_REASON_POLICY,         /* all addresses told are excluded by local settings */
    RELAY_REASON_NO_ANSWER,      /* addresses were tried, none answered */
    RELAY_REASON_BOTH_SYMMETRIC, /* both sides have symmetric NATs: not tried by chance */
};

/* Short words for people, never NULL. */
const char *nat_kind_text(enum nat_kind kind);
const char *relay_reason_text(enum relay_reason reason);
