/* What a rule program reads: decides whether verdicts may be cached and whether a super-frame may
 * be judged once. Source: data path contract section 4, spec 09 section 7. */
#pragma once

#include "base/attr.h"
#include "datapath/filter.h"
#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum filter_class {
    FILTER_CONSTANT = 0, /* depends on the EtherType alone */
    FILTER_SAFE = 1,     /* the same for all segments of a super-frame; cacheable by its inputs */
    FILTER_UNSAFE = 2,   /* every frame by itself, never cached */
};

/* Inputs a program reads. They determine a safe verdict for frames whose IP and upper-layer headers
 * are complete up to the fields read; frames cut shorter are to be evaluated by themselves. */
enum filter_reads {
    FILTER_READS_MACS = 0x01,
    FILTER_READS_ETHERTYPE = 0x02,
    FILTER_READS_IP_SOURCE = 0x04,
    FILTER_READS_IP_DEST = 0x08,
    FILTER_READS_IP_PROTOCOL = 0x10,
    FILTER_READS_PORTS = 0x20,
    FILTER_READS_TOS = 0x40,
    FILTER_READS_ICMP = 0x80,
    FILTER_READS_SENDER_IP = 0x100,   /* as authenticated: also of ARP and neighbour discovery */
    FILTER_READS_DEST_KIND = 0x200,   /* unicast, multicast or broadcast */
    FILTER_READS_CREDENTIALS = 0x400, /* tags or ownership of either side */
    FILTER_READS_MEMBERS = 0x800,     /* member addresses of source or destination */
};

struct filter_traits {
    enum filter_class class;
    uint32_t reads;     /* enum filter_reads bits */
    uint16_t tcp_flags; /* characteristics bits of TCP that are read */
    bool acts;          /* may copy or redirect frames */
    bool accepts_all;   /* the first thing the program does is to accept */
};

/* Traits of count rules, for any input. */
struct filter_traits filter_classify(const struct rule *rules, size_t count);

/* Traits of programs evaluated one after the other: as unsafe as the worst, reads of both. */
struct filter_traits filter_traits_join(struct filter_traits a, struct filter_traits b);
