/* Sets of words: 48 bits of a keyed hash, 16 bits of time. Source: spec 07 section 14.4. */
#include "datapath/replay.h"

#include "base/cursor.h"
#include "base/hmap.h"
#include "wire/packet.h"

#include <stdlib.h>

enum {
    AHEAD_MS = 1000, /* the turn of another worker may be ahead of ours */
    ATTEMPTS = 4     /* lost races until a packet counts as new */
};

/* Wraps after 65 s: what is older may look young, but only a copy could find it then. As fine as
 * can be: what is replaced is the oldest, also at many packets in a millisecond or two. */
static uint16_t tick_of(int64_t now_ms)
{
    return (uint16_t)now_ms;
}

/* The set of a word is chosen by bits that the word keeps, so that words can move when the filter
 * grows. */
static _Atomic uint64_t *set_of(struct replay *replay, uint64_t word)
{
    return &replay->words[(word >> 48 & (replay->sets - 1)) * REPLAY_WAYS];
}

/* Time since a word was noted, AHEAD_MS more. */
static unsigned age_of(uint64_t word, uint16_t now)
{
    return (uint16_t)(now - word + AHEAD_MS);
}

/* Look for a word in its set. Returns true if it is there and young; else *ret is the place to put
 * it (free, or the oldest) with the word that is there. */
static bool look(_Atomic uint64_t *set, uint64_t word, uint16_t now, _Atomic uint64_t **ret,
                 uint64_t *ret_old)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < REPLAY_WAYS; i++) {
        uint64_t w = atomic_load_explicit(&set[i], memory_order_relaxed);
        unsigned age = w == 0 ? UINT16_MAX + 1u : age_of(w, now);

        if ((w ^ word) >> 16 == 0 && w != 0 && age <= REPLAY_MS + AHEAD_MS) {
            return true;
        }
        if (i == 0 || age > oldest) {
            oldest = age;
            *ret = &set[i];
            *ret_old = w;
        }
    }
    return false;
}

static bool note(struct replay *replay, uint64_t word, uint16_t now)
{
    _Atomic uint64_t *place;
    uint64_t old;

    for (unsigned i = 0; i < ATTEMPTS; i++) {
        if (look(set_of(replay, word), word, now, &place, &old)) {
            return true;
        }
        if (atomic_compare_exchange_strong_explicit(place, &old, word, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            return false;
        }
    }
    return false;
}

struct replay *replay_new(size_t sets, uint64_t seed, const struct replay *old, int64_t now_ms)
{
    struct replay *replay = calloc(1, sizeof(*replay) + sets * REPLAY_WAYS * sizeof(uint64_t));
    uint16_t now = tick_of(now_ms);

    if (replay == NULL) {
        return NULL;
    }
    replay->seed = seed;
    replay->sets = sets;
    for (size_t i = 0; old != NULL && i < old->sets * REPLAY_WAYS; i++) {
        uint64_t word = atomic_load_explicit(&old->words[i], memory_order_relaxed);

        if (word != 0 && age_of(word, now) <= REPLAY_MS + AHEAD_MS) {
            (void)note(replay, word, now);
        }
    }
    return replay;
}

bool replay_seen(struct replay *replay, const uint8_t *pkt, int64_t now_ms)
{
    uint64_t hash = hash_mix(packet_id(pkt) ^ be64_get(pkt + PACKET_AT_MAC), replay->seed);
    uint16_t now = tick_of(now_ms);

    return note(replay, (hash & ~(uint64_t)UINT16_MAX) | now, now);
}
