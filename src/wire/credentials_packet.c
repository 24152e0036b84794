/* Payload of NETWORK_CREDENTIALS. Source: spec 03 section 7.6. */
#include "wire/credentials_packet.h"

#include <errno.h>

/* The sections after the COMs in the order of the payload. */
static const enum credential_type sections[] = {
    CREDENTIAL_CAPABILITY,
    CREDENTIAL_TAG,
    CREDENTIAL_REVOCATION,
    CREDENTIAL_OWNERSHIP,
};

struct credentials_reader credentials_reader_init(struct rd payload)
{
    return (struct credentials_reader){.r = payload, .section = CREDENTIAL_COM};
}

/* The section after type; CREDENTIAL_NONE after the last. */
static enum credential_type section_after(enum credential_type type)
{
    if (type == CREDENTIAL_COM) {
        return sections[0];
    }
    for (size_t i = 0; i + 1 < COUNT_OF(sections); i++) {
        if (sections[i] == type) {
            return sections[i + 1];
        }
    }
    return CREDENTIAL_NONE;
}

/* Move to the section of the next item. Returns 1 if there is an item; 0 at the end; -EBADMSG. */
static int advance(struct credentials_reader *it)
{
    if (it->section == CREDENTIAL_COM) {
        if (rd_left(&it->r) == 0) {
            return it->r.bad ? -EBADMSG : 0;
        }
        if (*it->r.p != 0) {
            return 1;
        }
        rd_skip(&it->r, 1);
    }
    while (it->left == 0) {
        if (it->section == CREDENTIAL_NONE || section_after(it->section) == CREDENTIAL_NONE ||
            rd_left(&it->r) == 0) {
            return it->r.bad ? -EBADMSG : 0;
        }
        it->section = section_after(it->section);
        it->left = rd_u16(&it->r);
    }
    it->left--;
    return 1;
}

int credentials_next(struct credentials_reader *it, struct credential *ret)
{
    int err = advance(it);

    if (err <= 0) {
        it->section = CREDENTIAL_NONE;
        it->left = 0;
        return err;
    }
    switch (it->section) {
    case CREDENTIAL_COM:
        err = com_read(&it->r, &ret->com);
        break;
    case CREDENTIAL_CAPABILITY:
        err = capability_read(&it->r, &ret->capability);
        break;
    case CREDENTIAL_TAG:
        err = tag_read(&it->r, &ret->tag);
        break;
    case CREDENTIAL_REVOCATION:
        err = revocation_read(&it->r, &ret->revocation);
        break;
    case CREDENTIAL_OWNERSHIP:
        err = ownership_read(&it->r, &ret->ownership);
        break;
    case CREDENTIAL_NONE:
        err = -EBADMSG;
        break;
    }
    if (err < 0) {
        it->r.bad = true;
        return err;
    }
    ret->type = it->section;
    return 1;
}

size_t credentials_count(const struct credentials_set *set)
{
    return set->com_count + set->capability_count + set->tag_count + set->revocation_count +
           set->ownership_count;
}

static size_t section_count(const struct credentials_set *set, enum credential_type type)
{
    switch (type) {
    case CREDENTIAL_COM:
        return set->com_count;
    case CREDENTIAL_CAPABILITY:
        return set->capability_count;
    case CREDENTIAL_TAG:
        return set->tag_count;
    case CREDENTIAL_REVOCATION:
        return set->revocation_count;
    case CREDENTIAL_OWNERSHIP:
        return set->ownership_count;
    case CREDENTIAL_NONE:
        break;
    }
    return 0;
}

static void item_write(struct wr *w, const struct credentials_set *set, enum credential_type type,
                       size_t i)
{
    switch (type) {
    case CREDENTIAL_COM:
        com_write(w, &set->coms[i]);
        break;
    case CREDENTIAL_CAPABILITY:
        capability_write(w, set->capabilities[i]);
        break;
    case CREDENTIAL_TAG:
        tag_write(w, &set->tags[i]);
        break;
    case CREDENTIAL_REVOCATION:
        revocation_write(w, &set->revocations[i]);
        break;
    case CREDENTIAL_OWNERSHIP:
        ownership_write(w, &set->ownerships[i]);
        break;
    case CREDENTIAL_NONE:
        break;
    }
}

/* Write items of one section from *next (counted within the section) as long as `reserve` bytes
 * stay free behind. Returns the number written; w is never bad because of an item. */
static size_t section_write(struct wr *w, const struct credentials_set *set,
                            enum credential_type type, size_t from, size_t reserve)
{
    size_t n = section_count(set, type);
    size_t i = from;

    for (; i < n && i - from < UINT16_MAX; i++) {
        struct wr before = *w;

        item_write(w, set, type, i);
        if (w->bad || wr_left(w) < reserve) {
            *w = before;
            break;
        }
    }
    return i - from;
}

size_t credentials_write(struct wr *w, const struct credentials_set *set, size_t first)
{
    struct wr start = *w;
    size_t reserve = 1 + 2 * COUNT_OF(sections); /* end of COMs, four counts */
    size_t at = first;                           /* number of the next item */
    size_t base = 0;                             /* number of the section's first item */
    bool full = wr_left(w) < reserve;

    if (!full) {
        if (first < set->com_count) {
            at += section_write(w, set, CREDENTIAL_COM, first, reserve);
            full = at < set->com_count;
        }
        wr_u8(w, 0);
    }
    base = set->com_count;
    reserve -= 1;
    for (size_t s = 0; s < COUNT_OF(sections) && wr_left(w) >= reserve; s++) {
        size_t n = section_count(set, sections[s]);
        size_t mark = wr_mark(w, 2);

        reserve -= 2;
        if (!full && at >= base && at < base + n) {
            size_t done = section_write(w, set, sections[s], at - base, reserve);

            wr_patch_u16(w, mark, (uint16_t)done);
            at += done;
            full = at < base + n;
        }
        base += n;
    }
    if (at == first) {
        *w = start;
    }
    return at;
}
