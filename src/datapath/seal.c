/* The layout of sealed packets in a slab. Only the last run grows: what does not fit its datagram
 * size begins a new one. Source: spec 09 section 6.4. */
#include "datapath/seal.h"

#include "datapath/fragment.h"
#include "datapath/parts.h"

#include <assert.h>
#include <errno.h>

enum {
    SPLIT_SIZE_MIN = 500, /* datagrams are not made smaller than this to make them equal */
    CLOSE_FORM_MIN = 4,   /* packets of so many unequal datagrams are runs of their own */
};

/* Bytes of all datagrams of a packet. */
static size_t total_bytes(size_t len, unsigned total)
{
    return len + (size_t)FRAGMENT_AT_DATA * (total - 1);
}

int seal_plan(size_t len, size_t mtu, struct seal_plan *ret)
{
    struct fragment_plan plan;
    int r = fragment_plan_equal(len, mtu, &plan);

    if (r < 0) {
        return r;
    }
    ret->size = plan.size;
    ret->total = plan.total;
    ret->form = SEAL_EQUAL;
    if (total_bytes(len, plan.total) % plan.total == 0) {
        return 0;
    }
    unsigned more = plan.total + 1;
    size_t bytes = total_bytes(len, more);
    if (more <= FRAGMENTS_MAX && bytes % more == 0 && bytes / more >= SPLIT_SIZE_MIN) {
        ret->size = bytes / more;
        ret->total = more;
        return 0;
    }
    ret->form = plan.total >= CLOSE_FORM_MIN ? SEAL_CLOSED : SEAL_GROUPS;
    return 0;
}

void seal_slab_init(struct seal_slab *slab, uint8_t *memory, size_t cap)
{
    assert(cap >= SEAL_SLAB_MIN);
    slab->memory = memory;
    slab->cap = cap;
    seal_slab_clear(slab);
}

void seal_slab_clear(struct seal_slab *slab)
{
    slab->used = 0;
    slab->run_count = 0;
    slab->is_open = false;
    slab->group_left = 0;
}

/* Whether a packet may go on with the open run: all its datagrams are of the run's size, but maybe
 * the last. Fills the number of datagrams. */
static bool fits_run(const struct seal_slab *slab, const struct seal_packet *p,
                     const struct seal_plan *plan, unsigned *ret_total)
{
    if (!slab->is_open || slab->group_left > 0) {
        return false;
    }
    const struct seal_run *run = &slab->runs[slab->run_count - 1];
    unsigned most = p->run_datagrams != 0 ? p->run_datagrams : SEAL_RUN_DATAGRAMS;
    size_t data = run->size - FRAGMENT_AT_DATA;
    size_t total = p->len <= run->size ? 1 : (p->len - FRAGMENT_AT_DATA + data - 1) / data;

    /* a packet is not cut into more parts than it needs, but for one to end a run of large ones */
    if (run->target != p->target || run->size > p->mtu ||
        (total > plan->total && (total > 2 || run->size < SPLIT_SIZE_MIN)) ||
        run->count + total > most ||
        run->len + total_bytes(p->len, (unsigned)total) > SEAL_RUN_BYTES) {
        return false;
    }
    *ret_total = (unsigned)total;
    return true;
}

static bool has_room(const struct seal_slab *slab, size_t bytes)
{
    return slab->cap - slab->used >= bytes + PARTS_SLACK;
}

/* Seal p as plan says, at the end of the slab's last run. */
static void seal_at_end(struct seal_slab *slab, const struct seal_packet *p, size_t size,
                        unsigned total)
{
    struct seal_run *run = &slab->runs[slab->run_count - 1];
    struct parts_layout layout = {.size = size, .total = total};
    size_t bytes = total_bytes(p->len, total);

    for (unsigned i = 0; i < total; i++) {
        layout.datagrams[i] = slab->memory + slab->used + i * size;
    }
    packet_set_fragmented(p->pkt, total > 1);
    parts_seal(p->pkt, p->len, p->suite, p->keys, &layout);
    slab->used += bytes;
    run->len += bytes;
    run->count += total;
    slab->is_open = bytes == size * total;
}

static void new_run(struct seal_slab *slab, const struct seal_packet *p, size_t size, size_t at)
{
    slab->runs[slab->run_count++] =
        (struct seal_run){.data = slab->memory + at, .size = size, .target = p->target};
}

/* Bytes from one run of a group to the next: what parts_seal writes behind a datagram must not
 * reach the next run, where there are datagrams already. */
static size_t group_stride(size_t size)
{
    return size * SEAL_GROUP + PARTS_SLACK;
}

/* Seal p into the open group, a datagram at the end of each run. */
static void seal_in_group(struct seal_slab *slab, const struct seal_packet *p)
{
    struct seal_run *runs = &slab->runs[slab->run_count - slab->group_runs];
    struct parts_layout layout = {.size = runs[0].size, .total = slab->group_runs};

    for (unsigned i = 0; i < slab->group_runs; i++) {
        layout.datagrams[i] = slab->memory + (runs[i].data - slab->memory) + runs[i].len;
        runs[i].len += runs[i].size;
        runs[i].count++;
    }
    packet_set_fragmented(p->pkt, true);
    parts_seal(p->pkt, p->len, p->suite, p->keys, &layout);
    slab->group_left--;
    slab->is_open = slab->group_left > 0;
}

static int start_group(struct seal_slab *slab, const struct seal_packet *p,
                       const struct seal_plan *plan)
{
    size_t stride = group_stride(plan->size);
    size_t missing = plan->size * plan->total - total_bytes(p->len, plan->total);

    if (!has_room(slab, stride * plan->total) || slab->run_count + plan->total > SEAL_RUNS_MAX) {
        return -ENOSPC;
    }
    for (unsigned i = 0; i < plan->total; i++) {
        new_run(slab, p, i + 1 < plan->total ? plan->size : plan->size - missing,
                slab->used + i * stride);
    }
    slab->used += stride * plan->total;
    slab->group_left = SEAL_GROUP;
    slab->group_runs = plan->total;
    slab->group_len = p->len;
    seal_in_group(slab, p);
    return 0;
}

int seal_add(struct seal_slab *slab, const struct seal_packet *p)
{
    struct seal_plan plan;
    unsigned total;

    int r = seal_plan(p->len, p->mtu, &plan);
    if (r < 0) {
        return r;
    }
    if (slab->group_left > 0) {
        const struct seal_run *run = &slab->runs[slab->run_count - slab->group_runs];

        if (run->target == p->target && slab->group_len == p->len && run->size <= p->mtu) {
            seal_in_group(slab, p);
            return 0;
        }
        slab->group_left = 0;
        slab->is_open = false;
    }
    if (fits_run(slab, p, &plan, &total)) {
        if (!has_room(slab, total_bytes(p->len, total))) {
            return -ENOSPC;
        }
        seal_at_end(slab, p, slab->runs[slab->run_count - 1].size, total);
        return 0;
    }
    if (plan.form == SEAL_GROUPS && p->more &&
        group_stride(plan.size) * plan.total + PARTS_SLACK <= slab->cap) {
        return start_group(slab, p, &plan);
    }
    if (!has_room(slab, total_bytes(p->len, plan.total)) || slab->run_count == SEAL_RUNS_MAX) {
        return -ENOSPC;
    }
    new_run(slab, p, plan.size, slab->used);
    seal_at_end(slab, p, plan.size, plan.total);
    return 0;
}
