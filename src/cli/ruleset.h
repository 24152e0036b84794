/* What a packet filter does with an incoming or outgoing UDP datagram that begins a conversation:
 * reads the rules as nft and iptables-save print them, as far as they speak of protocol, port and
 * state. What else a rule asks for (addresses, interfaces, sets) may hold or not. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum ruleset_verdict {
    RULESET_PASS,  /* nothing drops it */
    RULESET_MAYBE, /* depends on what is not looked at */
    RULESET_DROP,
};

struct ruleset_packet {
    bool incoming; /* input, else output */
    unsigned port; /* of ours: destination of what comes, source of what leaves */
};

/* Output of "nft -j list ruleset". where: the chain that drops it ("inet filter input"), "" if none
 * does. */
enum ruleset_verdict ruleset_judge_nft(const json_t *ruleset, const struct ruleset_packet *packet,
                                       char *where, size_t cap);

/* Output of "iptables-save -t filter" or ip6tables-save. */
enum ruleset_verdict ruleset_judge_iptables(const char *text, const struct ruleset_packet *packet,
                                            char *where, size_t cap);
