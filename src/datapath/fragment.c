/* Cutting and joining packets.
 *
 * A set is a packet of which some parts are held. It is found by packet ID alone, because fragments
 * have no source and parts of one packet may come from several addresses. What strangers can do
 * with that is bounded by charging every held part to the IP it came from: when the table or the
 * share of an IP is full, the oldest set of the heaviest IP goes. The last part of a packet is
 * never stored. Source: spec 01 sections 7.2 to 7.4 and 15.5. */
#include "datapath/fragment.h"

#include "base/cursor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MTU_MIN = 64,     /* any value that leaves room for headers */
    PART_ROOM = 1536, /* data bytes of a part buffer that is kept for reuse */
    BUSY = 128,       /* incomplete packets and parts that come and go without allocating */
};

bool fragment_is_needed(size_t len, size_t mtu)
{
    return len > mtu;
}

/* Number of datagrams of at most mtu bytes, or 0 if there are too many. */
static unsigned datagram_count(size_t len, size_t mtu)
{
    size_t data = mtu - FRAGMENT_AT_DATA;
    size_t total;

    if (len <= mtu) {
        return 1;
    }
    total = 1 + (len - mtu + data - 1) / data;
    return total <= FRAGMENTS_MAX ? (unsigned)total : 0;
}

int fragment_plan(size_t len, size_t mtu, struct fragment_plan *ret)
{
    unsigned total = mtu >= MTU_MIN && len <= PACKET_MAX ? datagram_count(len, mtu) : 0;

    if (total == 0) {
        return -EMSGSIZE;
    }
    *ret = (struct fragment_plan){.packet_len = len, .size = mtu, .total = total};
    return 0;
}

int fragment_plan_equal(size_t len, size_t mtu, struct fragment_plan *ret)
{
    struct fragment_plan plan;
    int r = fragment_plan(len, mtu, &plan);

    if (r == 0) {
        size_t sum = len + FRAGMENT_AT_DATA * (size_t)(plan.total - 1);

        plan.size = (sum + plan.total - 1) / plan.total;
        *ret = plan;
    }
    return r;
}

size_t fragment_mtu(size_t len, size_t mtu)
{
    size_t least =
        (len + FRAGMENT_AT_DATA * (FRAGMENTS_MAX - 1) + FRAGMENTS_MAX - 1) / FRAGMENTS_MAX;

    return least > mtu && least <= MTU_PHYSICAL_DEFAULT ? least : mtu;
}

void fragment_cut(const uint8_t *pkt, const struct fragment_plan *plan, unsigned index,
                  struct fragment_piece *ret)
{
    size_t data = plan->size - FRAGMENT_AT_DATA;
    size_t at = index == 0 ? 0 : plan->size + (index - 1) * data;
    size_t room = index == 0 ? plan->size : data;
    size_t left = plan->packet_len - at;

    ret->data = pkt + at;
    ret->len = left < room ? left : room;
    ret->head_len = 0;
    if (index > 0) {
        memcpy(ret->head, pkt, FRAGMENT_AT_INDICATOR);
        ret->head[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        ret->head[FRAGMENT_AT_NUMBERS] = (uint8_t)(plan->total << 4 | index);
        ret->head[FRAGMENT_AT_HOPS] = 0;
        ret->head_len = FRAGMENT_AT_DATA;
    }
}

/* A remote IP that has parts here. */
struct source {
    struct hmap_node node;
    struct list link;   /* in by_weight */
    struct list parts;  /* oldest first */
    unsigned count;     /* of parts */
    struct inetaddr ip; /* what is charged: port 0, of IPv6 the first 64 bits */
};

/* A packet of which parts are held. */
struct set {
    struct hmap_node node; /* key: packet ID */
    struct list link;      /* in by_age */
    int64_t created_ms;
    struct part *parts[FRAGMENTS_MAX];
    unsigned held;              /* parts present */
    unsigned total;             /* 0 until a fragment told it */
    size_t len;                 /* bytes of the packet held */
    struct assembled assembled; /* from and socket of the head */
};

/* A part held: the head datagram, or the data of a fragment. */
struct part {
    struct list link; /* in source->parts */
    struct set *set;
    struct source *source;
    size_t len;
    size_t room; /* bytes of data[] */
    uint8_t data[];
};

/* A part that has just come in. */
struct arrival {
    uint64_t id;
    unsigned number; /* 0 is the head */
    unsigned total;  /* 0 in a head */
    const uint8_t *data;
    size_t len;
    struct inetaddr ip; /* to be charged */
};

/* A block from the pool or new; NULL when out of memory. Every block begins with a list link while
 * it lies in the pool. */
static void *pool_take(struct assembly_pool *pool, size_t size)
{
    struct list *block = list_first(&pool->free);

    if (block == NULL) {
        return malloc(size);
    }
    list_remove(block);
    pool->count--;
    return block;
}

static void pool_give(struct assembly_pool *pool, void *block)
{
    struct list *link = block;

    if (pool->count >= BUSY) {
        free(block);
        return;
    }
    list_init(link);
    list_push(&pool->free, link);
    pool->count++;
}

static void pool_drain(struct assembly_pool *pool)
{
    struct list *block;

    while ((block = list_first(&pool->free)) != NULL) {
        list_remove(block);
        free(block);
    }
    pool->count = 0;
}

static void pool_init(struct assembly_pool *pool)
{
    list_init(&pool->free);
    pool->count = 0;
}

void assembly_init(struct assembly *a, uint64_t seed)
{
    memset(a, 0, sizeof(*a));
    hmap_init(&a->sets, seed);
    hmap_init(&a->sources, hash_mix(seed, 1));
    hmap_expect(&a->sets, BUSY);
    hmap_expect(&a->sources, BUSY);
    list_init(&a->by_age);
    for (size_t i = 0; i < COUNT_OF(a->by_weight); i++) {
        list_init(&a->by_weight[i]);
    }
    pool_init(&a->free_parts);
    pool_init(&a->free_sets);
    pool_init(&a->free_sources);
}

static struct source *source_find(const struct assembly *a, const struct inetaddr *ip)
{
    struct hmap_node *n = hmap_find(&a->sources, inetaddr_key(ip));

    while (n != NULL && !inetaddr_ip_equal(&CONTAINER_OF(n, struct source, node)->ip, ip)) {
        n = hmap_next_same(n);
    }
    return n != NULL ? CONTAINER_OF(n, struct source, node) : NULL;
}

static struct source *source_get(struct assembly *a, const struct inetaddr *ip)
{
    struct source *s = source_find(a, ip);

    if (s != NULL) {
        return s;
    }
    s = pool_take(&a->free_sources, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->ip = *ip;
    s->count = 0;
    list_init(&s->parts);
    list_init(&s->link);
    if (hmap_insert(&a->sources, &s->node, inetaddr_key(ip)) < 0) {
        pool_give(&a->free_sources, s);
        return NULL;
    }
    list_push(&a->by_weight[0], &s->link);
    return s;
}

/* The number of its parts has changed; a source without any goes. */
static void source_reweigh(struct assembly *a, struct source *s, unsigned count)
{
    s->count = count;
    list_remove(&s->link);
    if (count == 0) {
        hmap_remove(&a->sources, &s->node);
        pool_give(&a->free_sources, s);
        return;
    }
    list_push(&a->by_weight[count], &s->link);
    if (count > a->heaviest) {
        a->heaviest = count;
    }
}

static void part_drop(struct assembly *a, struct part *p)
{
    list_remove(&p->link);
    source_reweigh(a, p->source, p->source->count - 1);
    a->parts--;
    a->bytes -= p->room;
    if (p->room == PART_ROOM) {
        pool_give(&a->free_parts, p);
    } else {
        free(p);
    }
}

static void set_drop(struct assembly *a, struct set *set)
{
    for (size_t i = 0; i < FRAGMENTS_MAX; i++) {
        if (set->parts[i] != NULL) {
            part_drop(a, set->parts[i]);
        }
    }
    hmap_remove(&a->sets, &set->node);
    list_remove(&set->link);
    pool_give(&a->free_sets, set);
}

static struct set *set_find(const struct assembly *a, uint64_t id)
{
    struct hmap_node *n = hmap_find(&a->sets, id);

    return n != NULL ? CONTAINER_OF(n, struct set, node) : NULL;
}

static struct set *set_get(struct assembly *a, uint64_t id, int64_t now_ms)
{
    struct set *set = set_find(a, id);

    if (set != NULL) {
        return set;
    }
    set = pool_take(&a->free_sets, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    memset(set, 0, sizeof(*set));
    set->created_ms = now_ms;
    if (hmap_insert(&a->sets, &set->node, id) < 0) {
        pool_give(&a->free_sets, set);
        return NULL;
    }
    list_init(&set->link);
    list_push(&a->by_age, &set->link);
    return set;
}

/* Give up the oldest set in which s has a part. */
static void evict_from(struct assembly *a, struct source *s)
{
    struct part *oldest = CONTAINER_OF(list_first(&s->parts), struct part, link);

    a->stats.evicted++;
    set_drop(a, oldest->set);
}

static void evict_heaviest(struct assembly *a)
{
    while (list_is_empty(&a->by_weight[a->heaviest])) {
        a->heaviest--;
    }
    evict_from(a, CONTAINER_OF(list_first(&a->by_weight[a->heaviest]), struct source, link));
}

/* Make room for one more part of this IP with so much memory. */
static void make_room(struct assembly *a, const struct inetaddr *ip, unsigned share, size_t room)
{
    struct source *s;

    while ((s = source_find(a, ip)) != NULL && s->count >= share) {
        evict_from(a, s);
    }
    while (a->parts >= ASSEMBLY_PARTS_MAX ||
           (a->parts > 0 && a->bytes + room > ASSEMBLY_BYTES_MAX)) {
        evict_heaviest(a);
    }
}

/* Read a datagram. Returns false if it cannot be a part. */
static bool arrival_read(const uint8_t *data, size_t len, const struct inetaddr *from,
                         struct arrival *ret)
{
    if (len <= FRAGMENT_AT_DATA) {
        return false;
    }
    *ret = (struct arrival){.id = be64_get(data), .data = data, .len = len, .ip = *from};
    ret->ip.port = 0;
    if (from->family == INETADDR_V6) {
        memset(ret->ip.ip + 8, 0, 8);
    }
    if (data[FRAGMENT_AT_INDICATOR] != FRAGMENT_INDICATOR) {
        return len >= PACKET_MIN && len <= PACKET_MAX &&
               (data[PACKET_AT_FLAGS] & PACKET_FLAG_FRAGMENTED) != 0;
    }
    ret->data = data + FRAGMENT_AT_DATA;
    ret->len = len - FRAGMENT_AT_DATA;
    ret->number = data[FRAGMENT_AT_NUMBERS] & 0x0f;
    ret->total = data[FRAGMENT_AT_NUMBERS] >> 4;
    return ret->total >= 2 && ret->total <= FRAGMENTS_MAX && ret->number >= 1 &&
           ret->number < ret->total && ret->len <= PACKET_MAX;
}

/* Write the packet that this arrival completes to out; the set goes. */
static void join(struct assembly *a, struct set *set, const struct arrival *in,
                 uint8_t out[PACKET_MAX], struct assembled *ret)
{
    struct wr w = wr_init(out, PACKET_MAX);

    for (unsigned i = 0; i < set->total; i++) {
        if (i == in->number) {
            wr_bytes(&w, in->data, in->len);
        } else {
            wr_bytes(&w, set->parts[i]->data, set->parts[i]->len);
        }
    }
    *ret = set->assembled;
    ret->len = wr_len(&w);
    a->stats.completed++;
    set_drop(a, set);
}

/* Check an arrival against what is held of its packet. Returns 0 it belongs there; 1 it is held
 * already; -EBADMSG it contradicts. */
static int set_check(struct assembly *a, struct set *set, const struct arrival *in)
{
    unsigned total = in->total != 0 ? in->total : set->total;

    if (set->parts[in->number] != NULL) {
        a->stats.duplicate++;
        return 1;
    }
    if (set->total != 0 && total != set->total) {
        a->stats.bad_total++;
        return -EBADMSG;
    }
    if (set->len + in->len > PACKET_MAX) {
        a->stats.oversize++;
        set_drop(a, set);
        return -EBADMSG;
    }
    return 0;
}

static struct part *part_new(struct assembly *a, const struct arrival *in)
{
    size_t room = in->len <= PART_ROOM ? PART_ROOM : in->len;
    struct part *p = room == PART_ROOM ? pool_take(&a->free_parts, sizeof(*p) + PART_ROOM)
                                       : malloc(sizeof(*p) + room);

    if (p != NULL) {
        p->room = room;
        p->len = in->len;
        memcpy(p->data, in->data, in->len);
    }
    return p;
}

/* Keep an arrival; room was made. */
static int hold(struct assembly *a, const struct arrival *in, const struct assembled *head,
                int64_t now_ms)
{
    struct set *set = set_get(a, in->id, now_ms);
    struct source *s = set != NULL ? source_get(a, &in->ip) : NULL;
    struct part *p = s != NULL ? part_new(a, in) : NULL;

    if (p == NULL) {
        if (s != NULL && s->count == 0) {
            source_reweigh(a, s, 0);
        }
        if (set != NULL && set->held == 0) {
            set_drop(a, set);
        }
        a->stats.out_of_memory++;
        return -ENOMEM;
    }
    p->set = set;
    p->source = s;
    list_init(&p->link);
    list_push(&s->parts, &p->link);
    source_reweigh(a, s, s->count + 1);
    a->parts++;
    a->bytes += p->room;
    set->parts[in->number] = p;
    set->held++;
    set->len += in->len;
    if (in->number == 0) {
        set->assembled = *head;
    } else {
        set->total = in->total;
    }
    return 0;
}

int assembly_add(struct assembly *a, const uint8_t *data, size_t len, const struct inetaddr *from,
                 uint32_t socket, unsigned share, int64_t now_ms, uint8_t out[PACKET_MAX],
                 struct assembled *ret)
{
    const struct assembled head = {.from = *from, .socket = socket};
    struct arrival in;
    struct set *set;

    assembly_expire(a, now_ms);
    if (!arrival_read(data, len, from, &in)) {
        a->stats.bad_numbers++;
        return -EBADMSG;
    }
    a->last_ms = now_ms;
    set = set_find(a, in.id);
    if (set != NULL) {
        int r = set_check(a, set, &in);

        if (r != 0) {
            return r > 0 ? 0 : r;
        }
        if (in.total != 0) {
            set->total = in.total;
        }
        if (set->held + 1 == set->total) {
            if (in.number == 0) {
                set->assembled = head;
            }
            join(a, set, &in, out, ret);
            return 1;
        }
    }
    make_room(a, &in.ip, share < ASSEMBLY_SHARE_UPSTREAM ? share : ASSEMBLY_SHARE_UPSTREAM,
              in.len <= PART_ROOM ? PART_ROOM : in.len);
    return hold(a, &in, &head, now_ms);
}

void assembly_expire(struct assembly *a, int64_t now_ms)
{
    struct list *oldest;

    while ((oldest = list_first(&a->by_age)) != NULL) {
        struct set *set = CONTAINER_OF(oldest, struct set, link);

        if (now_ms - set->created_ms < ASSEMBLY_TIMEOUT_MS) {
            return;
        }
        a->stats.timeout++;
        set_drop(a, set);
    }
    if (now_ms - a->last_ms >= ASSEMBLY_IDLE_MS) {
        pool_drain(&a->free_parts);
        pool_drain(&a->free_sets);
        pool_drain(&a->free_sources);
        hmap_done(&a->sets);
        hmap_done(&a->sources);
    }
}

int64_t assembly_deadline(const struct assembly *a)
{
    struct list *oldest = list_first(&a->by_age);

    if (oldest != NULL) {
        return CONTAINER_OF(oldest, struct set, link)->created_ms + ASSEMBLY_TIMEOUT_MS;
    }
    return a->free_sets.count > 0 ? a->last_ms + ASSEMBLY_IDLE_MS : INT64_MAX;
}

void assembly_done(struct assembly *a)
{
    struct list *set;

    while ((set = list_first(&a->by_age)) != NULL) {
        set_drop(a, CONTAINER_OF(set, struct set, link));
    }
    pool_drain(&a->free_parts);
    pool_drain(&a->free_sets);
    pool_drain(&a->free_sources);
    hmap_done(&a->sets);
    hmap_done(&a->sources);
}
