/* Files of captured frames for Wireshark: pcapng, one interface of Ethernet, times in microseconds,
 * what was decided of a frame as its comment. Source: draft-ietf-opsawg-pcapng, sections 4.1
 * to 4.3.
 */
#pragma once

#include "daemon/capture.h"

#include <stdio.h>

enum { PCAPNG_COMMENT_MAX = 160 };

/* Write the blocks every file begins with. name: of the interface. Returns 0; -EIO. */
MUST_CHECK int pcapng_begin(FILE *out, const char *name, uint32_t snaplen);

/* Write one frame. Returns 0; -EIO. */
MUST_CHECK int pcapng_frame(FILE *out, const struct capture_record *record, const char *comment);
