/* What an import leaves in the log of the controller. Source: spec 04 section 10.5. */
#pragma once

#include "base/attr.h"
#include "controller/note.h"
#include "controller/store.h"

#include <jansson.h>
#include <stdint.h>

struct import_note {
    struct store_change change;
};

/* Put an entry that tells of an import (report: of import_set_report) before its changes; note has
 * to live as long as they do. Returns 0; -ENOMEM. */
MUST_CHECK int import_note_add(struct import_note *note, const json_t *report,
                               const struct actor *actor, int64_t wall_ms,
                               const struct store_change **changes);

/* Release what it holds; a zeroed one holds nothing. */
void import_note_done(struct import_note *note);
