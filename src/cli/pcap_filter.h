/* Filters in the language of tcpdump, by libpcap, which is loaded only for them. Source:
 * pcap-filter(7). */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pcap_filter;

/* Compile a filter for Ethernet frames. Returns 0; -ENOENT libpcap is not installed; -EINVAL the
 * filter is wrong; -ENOMEM. error gets the reason in words. */
MUST_CHECK int pcap_filter_new(const char *text, struct pcap_filter **ret, char *error, size_t cap);

/* True if a frame, of which the first have bytes are there, passes. */
bool pcap_filter_matches(const struct pcap_filter *filter, const uint8_t *frame, size_t len,
                         size_t have);

/* Accepts NULL. */
void pcap_filter_free(struct pcap_filter *filter);
