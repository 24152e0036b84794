/* Configurations given out lately, to be given again as they are while nothing that is in them has
 * changed: only their chunks are signed anew. A bounded table; two members that share a place push
 * each other out. Source: spec 04 section 12.29. */
#include "controller/controller_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reuse_slot {
    struct reuse_key key;
    uint64_t ts; /* of its credentials */
    size_t len;
    char *text; /* NULL: empty */
};

static void slot_empty(struct controller *c, struct reuse_slot *slot)
{
    if (slot->text != NULL) {
        c->reuse_bytes -= slot->len;
        free(slot->text);
        memset(slot, 0, sizeof(*slot));
    }
}

static struct reuse_slot *slot_of(const struct controller *c, uint64_t nwid, uint64_t address)
{
    uint64_t mixed = hash_mix(nwid ^ hash_mix(address, c->seed), c->seed);
    return c->reuse != NULL ? &c->reuse[mixed % CONTROLLER_REUSE_SLOTS] : NULL;
}

bool reuse_find(const struct controller *c, const struct reuse_key *key, uint64_t window_ms,
                uint64_t ts, const char **ret_text, size_t *ret_len)
{
    const struct reuse_slot *slot = slot_of(c, key->nwid, key->address);
    uint64_t limit = window_ms / 4 < CONTROLLER_REUSE_MS ? window_ms / 4 : CONTROLLER_REUSE_MS;
    if (slot == NULL || slot->text == NULL || memcmp(&slot->key, key, sizeof(*key)) != 0 ||
        ts - slot->ts >= limit) {
        return false;
    }
    *ret_text = slot->text;
    *ret_len = slot->len;
    return true;
}

void reuse_keep(struct controller *c, const struct reuse_key *key, uint64_t ts, char *text,
                size_t len)
{
    if (c->reuse == NULL) {
        c->reuse = calloc(CONTROLLER_REUSE_SLOTS, sizeof(*c->reuse));
    }
    struct reuse_slot *slot = slot_of(c, key->nwid, key->address);
    if (slot == NULL) {
        free(text);
        return;
    }
    slot_empty(c, slot);
    if (c->reuse_bytes + len > CONTROLLER_REUSE_BYTES) {
        free(text);
        return;
    }
    c->reuse_bytes += len;
    *slot = (struct reuse_slot){.key = *key, .ts = ts, .len = len, .text = text};
}

void reuse_forget(struct controller *c, uint64_t nwid, uint64_t address)
{
    for (size_t i = 0; address == 0 && c->reuse != NULL && i < CONTROLLER_REUSE_SLOTS; i++) {
        if (c->reuse[i].key.nwid == nwid) {
            slot_empty(c, &c->reuse[i]);
        }
    }
    struct reuse_slot *slot = address != 0 ? slot_of(c, nwid, address) : NULL;
    if (slot != NULL && slot->key.nwid == nwid && slot->key.address == address) {
        slot_empty(c, slot);
    }
}

void reuse_done(struct controller *c)
{
    for (size_t i = 0; c->reuse != NULL && i < CONTROLLER_REUSE_SLOTS; i++) {
        slot_empty(c, &c->reuse[i]);
    }
    free(c->reuse);
    c->reuse = NULL;
}
