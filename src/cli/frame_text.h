/* One line about a frame, for people: protocol, addresses, ports, length. */
#pragma once

#include "daemon/capture.h"

#include <stddef.h>

enum {
    FRAME_TEXT_MAX = 160,
    VERDICT_TEXT_MAX = 120,
};

/* "10.1.0.1.40000 > 10.1.0.2.22: tcp 60" and the like. Frames that are cut or wrong are described
 * as far as they can be read. Pure. */
void frame_text(const struct capture_record *record, char out[FRAME_TEXT_MAX]);

/* "accept", "drop vl2_rules_in", with what rules did. Pure. */
void verdict_text(const struct capture_record *record, char out[VERDICT_TEXT_MAX]);
