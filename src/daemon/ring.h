/* Records from one thread to another without a lock: one producer, one consumer, bounded in bytes.
 * A full ring refuses; nothing blocks. Source: data path contract section 2 "Rings". */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Head of a record; its bytes follow. */
struct ring_record {
    uint32_t size; /* of head and bytes, rounded up; of the ring */
    uint32_t kind; /* from here on the user's */
    uint32_t socket;
    uint32_t len; /* bytes that follow */
    uint64_t nwid;
    struct inetaddr addr;
};

struct ring {
    uint8_t *memory;
    size_t cap;                         /* a power of two */
    _Alignas(64) _Atomic uint64_t head; /* bytes ever put */
    _Alignas(64) _Atomic uint64_t tail; /* bytes ever taken */
    _Alignas(64) _Atomic uint64_t full; /* records refused */
};

/* cap: bytes, a power of two, at least 4096; touched only as far as used. Returns 0; -ENOMEM. */
MUST_CHECK int ring_init(struct ring *ring, size_t cap);
void ring_done(struct ring *ring);

/* Producer: copy a record in (size is ignored). Returns false: no room. */
bool ring_put(struct ring *ring, const struct ring_record *record, const void *data);

/* Producer: give the memory back to the system if the ring is empty. */
void ring_trim(struct ring *ring);

/* Consumer: the oldest record, in place, or NULL; its bytes may be changed. Gone with ring_drop. */
struct ring_record *ring_peek(struct ring *ring);
uint8_t *ring_data(struct ring_record *record);
void ring_drop(struct ring *ring, const struct ring_record *record);
