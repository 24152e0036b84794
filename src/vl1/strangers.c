/* Which strangers' HELLOs are worth a look into the cache, a key agreement and an address hash.
 * Sources can be forged and nothing can be asked of a stranger before that work, so it is bounded:
 * a burst per /24 or /48, then four a second, and a rate for each of three classes, of which a
 * flood fills the last only: those beside whom a path was proved lately; those who came before from
 * the same address and port, as the forger of many addresses does not and a newcomer does within
 * seconds; and all others. Source: spec 02 Do better 17. */
#include "vl1/vl1_priv.h"

#include "base/bucket.h"

#include <stdlib.h>
#include <string.h>

enum {
    SEEN_LEAST_MS = 50,   /* between two HELLOs of a newcomer, at least */
    SEEN_MOST_MS = 30000, /* and at most */
    SEEN_UNIT_MS = 16,    /* in which this is kept */
    NEAR_MS = 600000,     /* a proved path speaks for its block */
    NEAR_UNIT_MS = 16384, /* in which this is kept */
    TIME_BITS = 16,
};

/* When a hash was noted last, in places of 16 bits of it and 16 bits of time; 0: nothing. */
struct seen {
    uint32_t *places;
    size_t count; /* a power of two */
    int unit_ms;
};

struct strangers {
    struct source_block blocks[SOURCE_BLOCKS];
    int64_t credit_ms[STRANGER_CLASSES];
    struct seen again; /* sources of HELLOs that found no place */
    struct seen near;  /* blocks in which a path was proved */
};

/* ---- what was seen ---- */

static uint32_t time_of(const struct seen *seen, int64_t now_ms)
{
    return (uint32_t)(now_ms / seen->unit_ms) & 0xffff;
}

static uint32_t *place_of(const struct seen *seen, uint64_t hash)
{
    return &seen->places[hash & (seen->count - 1)];
}

/* How long ago it was noted, INT64_MAX: not that anybody knew. */
static int64_t seen_age(const struct seen *seen, uint64_t hash, int64_t now_ms)
{
    uint32_t place = seen->places != NULL ? *place_of(seen, hash) : 0;

    if (place == 0 || place >> TIME_BITS != (hash >> 48 | 1)) {
        return INT64_MAX;
    }
    return (int64_t)((time_of(seen, now_ms) - place) & 0xffff) * seen->unit_ms;
}

static void seen_note(struct seen *seen, uint64_t hash, int64_t now_ms)
{
    if (seen->places == NULL) { /* large, and touched only as far as used */
        seen->places = calloc(seen->count, sizeof(*seen->places));
    }
    if (seen->places != NULL) {
        *place_of(seen, hash) = (uint32_t)(hash >> 48 | 1) << TIME_BITS | time_of(seen, now_ms);
    }
}

/* ---- admission ---- */

static struct strangers *strangers_of(struct vl1 *vl1)
{
    if (vl1->strangers == NULL) {
        vl1->strangers = calloc(1, sizeof(*vl1->strangers));
        if (vl1->strangers != NULL) {
            vl1->strangers->again = (struct seen){.count = STRANGERS_SEEN, .unit_ms = SEEN_UNIT_MS};
            vl1->strangers->near = (struct seen){.count = STRANGERS_NEAR, .unit_ms = NEAR_UNIT_MS};
        }
    }
    return vl1->strangers;
}

/* The /24 or /48 of an address. */
static uint64_t block_key(const struct vl1 *vl1, const struct inetaddr *from)
{
    struct inetaddr net = *from;

    net.port = 0;
    memset(net.ip + (net.family == INETADDR_V4 ? 3 : 6), 0, net.family == INETADDR_V4 ? 1 : 10);
    return hash_mix(inetaddr_key(&net), vl1->seed);
}

static bool block_allows(struct strangers *s, uint64_t key, int64_t now_ms)
{
    struct source_block *block = &s->blocks[key % SOURCE_BLOCKS];

    if (block->key != key) {
        *block = (struct source_block){.key = key};
    }
    return bucket_take(&block->credit_ms, VALIDATE_BURST, VALIDATE_MS, now_ms);
}

static bool take(struct strangers *s, enum stranger_class class, int64_t now_ms)
{
    return bucket_take(&s->credit_ms[class], STRANGERS_BURST, STRANGERS_MS, now_ms);
}

enum stranger_class stranger_admit(struct vl1 *vl1, const struct arrival *at, uint64_t address)
{
    struct strangers *s = strangers_of(vl1);
    uint64_t key = block_key(vl1, &at->from);
    uint64_t source = hash_mix(arrival_key(at->socket, &at->from) ^ address, vl1->seed);
    enum stranger_class class = STRANGER_FIRST;
    int64_t age_ms;

    if (s == NULL || !block_allows(s, key, at->now_ms)) {
        return STRANGER_NO;
    }
    age_ms = seen_age(&s->again, source, at->now_ms);
    if (seen_age(&s->near, key, at->now_ms) <= NEAR_MS) {
        class = STRANGER_NEAR;
    } else if (age_ms >= SEEN_LEAST_MS && age_ms <= SEEN_MOST_MS) {
        class = STRANGER_AGAIN;
    }
    if (take(s, class, at->now_ms) ||
        (class != STRANGER_FIRST && take(s, STRANGER_FIRST, at->now_ms))) {
        return class;
    }
    if (age_ms > SEEN_MOST_MS) {
        seen_note(&s->again, source, at->now_ms);
    }
    return STRANGER_NO;
}

/* A path was proved: who asks from nearby may be real, too. */
void stranger_neighbour(struct vl1 *vl1, const struct arrival *at)
{
    struct strangers *s = strangers_of(vl1);

    if (s != NULL) {
        seen_note(&s->near, block_key(vl1, &at->from), at->now_ms);
    }
}

void strangers_done(struct vl1 *vl1)
{
    if (vl1->strangers != NULL) {
        free(vl1->strangers->again.places);
        free(vl1->strangers->near.places);
        free(vl1->strangers);
        vl1->strangers = NULL;
    }
}
