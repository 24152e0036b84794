/* A ring of bytes: a record never wraps around, what is left at the end is skipped. A ring that was
 * emptied begins anew at its start, so that a quiet one touches no more than its first part; until
 * the consumer has seen that, only that part is free. Source: data path contract section 2. */
#include "daemon/ring.h"

#include "os/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SKIP = UINT32_MAX,
    ALIGN = 16,
    QUIET_PART = 4, /* of the ring: a quiet one uses the first */
};

_Static_assert(sizeof(struct ring_record) % ALIGN == 0, "records follow each other");

int ring_init(struct ring *ring, size_t cap)
{
    void *memory =
        mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    *ring = (struct ring){.cap = cap};
    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    ring->memory = memory;
    return 0;
}

void ring_done(struct ring *ring)
{
    if (ring->memory != NULL) {
        (void)munmap(ring->memory, ring->cap);
        ring->memory = NULL;
    }
}

/* Two words of a record head, enough to skip what is left of the ring. */
static void write_skip(uint8_t *at, size_t size)
{
    uint32_t head[2] = {(uint32_t)size, SKIP};

    memcpy(at, head, sizeof(head));
}

bool ring_put(struct ring *ring, const struct ring_record *record, const void *data)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    size_t at = head & (ring->cap - 1);
    size_t size = (sizeof(*record) + record->len + ALIGN - 1) / ALIGN * ALIGN;
    bool is_quiet = head == tail && at >= ring->cap / QUIET_PART && at > size;
    size_t skip = is_quiet || ring->cap - at < size ? ring->cap - at : 0;
    struct ring_record copy = *record;

    if (size > ring->cap / 2 || head - tail + skip + size > ring->cap) {
        atomic_fetch_add_explicit(&ring->full, 1, memory_order_relaxed);
        return false;
    }
    if (skip > 0) {
        write_skip(ring->memory + at, skip);
        at = 0;
    }
    copy.size = (uint32_t)size;
    memcpy(ring->memory + at, &copy, sizeof(copy));
    if (record->len > 0) {
        memcpy(ring->memory + at + sizeof(copy), data, record->len);
    }
    atomic_store_explicit(&ring->head, head + skip + size, memory_order_release);
    return true;
}

void ring_trim(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    if (atomic_load_explicit(&ring->tail, memory_order_acquire) == head) {
        memory_release(ring->memory, ring->cap);
    }
}

struct ring_record *ring_peek(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t words[2];

    if (head == tail) {
        return NULL;
    }
    memcpy(words, ring->memory + (tail & (ring->cap - 1)), sizeof(words));
    if (words[1] == SKIP) {
        tail += words[0];
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
        if (head == tail) {
            return NULL;
        }
    }
    return (struct ring_record *)(void *)(ring->memory + (tail & (ring->cap - 1)));
}

uint8_t *ring_data(struct ring_record *record)
{
    return (uint8_t *)(record + 1);
}

void ring_drop(struct ring *ring, const struct ring_record *record)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    atomic_store_explicit(&ring->tail, tail + record->size, memory_order_release);
}
