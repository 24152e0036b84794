/* The entry of the log that an import leaves: it writes to a store on which no controller runs.
 * Source: spec 04 section 10.5; CTL-119. */
#include "controller/import_note.h"

#include "controller/network_doc.h"

#include <errno.h>
#include <stdlib.h>

int import_note_add(struct import_note *note, const json_t *report, const struct actor *actor,
                    int64_t wall_ms, const struct store_change **changes)
{
    static const char *const counts[] = {"networks", "members", "names"};
    json_t *after = json_object();
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        json_object_set(after, counts[i], json_object_get(report, counts[i]));
    }
    const struct note what = {.type = NOTE_IMPORTED, .actor = actor, .after = after};
    uint64_t id = wall_ms > 0 ? (uint64_t)wall_ms * 1000 : 1;
    json_t *doc = note_json(&what, id, wall_ms);
    json_decref(after);
    *note = (struct import_note){.change = {.kind = STORE_EVENT, .nwid = id}};
    note->change.text = doc != NULL ? doc_text(doc) : NULL;
    json_decref(doc);
    if (note->change.text == NULL) {
        return -ENOMEM;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a list that is only read */
    note->change.next = (struct store_change *)(uintptr_t)*changes;
    *changes = &note->change;
    return 0;
}

void import_note_done(struct import_note *note)
{
    free(note->change.text);
    note->change.text = NULL;
}
