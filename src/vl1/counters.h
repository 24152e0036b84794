/* Counters of vl1: what was received, sent and dropped, and why. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    TALLY_VERBS = 32,  /* values of the verb field */
    TALLY_ERRORS = 16, /* error codes told apart; others count as 0 */
};

/* Packets of one direction: authenticated ones received, or those sent. */
struct packet_tally {
    uint64_t verbs[TALLY_VERBS];
    uint64_t errors[TALLY_ERRORS]; /* ERROR packets by code */
};

enum vl1_counter {
    VL1_RX_DATAGRAMS,
    VL1_RX_PACKETS, /* authenticated */
    VL1_TX_DATAGRAMS,
    VL1_RELAYED,
    VL1_INTRODUCTIONS,
    VL1_DROP_RUNT,
    VL1_DROP_BEACON,
    VL1_DROP_OWN_SOURCE,
    VL1_DROP_NOT_OURS, /* for another node and we may not relay it */
    VL1_DROP_HOPS,
    VL1_DROP_NO_ROUTE,
    VL1_DROP_RELAY_RATE,
    VL1_DROP_RELAY_PAIR, /* for another node, and its sender had its share */
    VL1_DROP_FRAGMENT,
    VL1_DROP_SUITE,
    VL1_DROP_TRUSTED_PATH,
    VL1_DROP_MAC,
    VL1_DROP_DUPLICATE,
    VL1_DROP_LZ4,
    VL1_DROP_MALFORMED,
    VL1_DROP_UNAWAITED, /* OK to nothing we asked */
    VL1_DROP_HELLO,     /* version, address or identity wrong */
    VL1_DROP_HELLO_RATE,
    VL1_DROP_RATE,
    VL1_DROP_RX_QUEUE,
    VL1_DROP_TX_QUEUE,
    VL1_DROP_TOO_BIG,
    VL1_DROP_MEMORY,
    VL1_GIVEN,     /* datagrams, packets and frames that workers left to the engine */
    VL1_SLOW_JOIN, /* packets that workers joined in a table */
    VL1_COUNTERS
};

/* Name of a counter as shown in metrics, NULL past the end. */
const char *vl1_counter_name(size_t index);
