/* Context of a worker and the end of its turn. Source: data path contract section 3. */
#include "datapath/dp_priv.h"

#include "base/hmap.h"
#include "crypto/cpu.h"

#include <stdlib.h>

uint32_t dp_draw(void *ctx)
{
    struct dp *dp = ctx;

    dp->random = dp->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(dp->random >> 32);
}

static void write_output(void *ctx, const struct merge_output *out)
{
    struct dp *dp = ctx;

    dp->env.write(dp->env.ctx, out->port, out);
}

struct dp *dp_new(struct published *pub, unsigned index, const struct dp_env *env, uint64_t seed)
{
    struct dp *dp = calloc(1, sizeof(*dp));

    if (dp == NULL) {
        return NULL;
    }
    dp->pub = pub;
    dp->env = *env;
    dp->shared = pub->shared[index];
    dp->index = index;
    dp->random = seed;
    dp->checksum = checksum_pick(cpu_features());
    packet_id_init_lane(&dp->ids, &pub->ids, 1 + index);
    merger_init(&dp->merger, dp->checksum, write_output, dp);
    assembly_init(&dp->assembly, seed);
    dp->slab_memory = malloc(SEAL_SLAB_LEN);
    dp->parts = malloc(DP_PARTS_MAX * sizeof(*dp->parts));
    dp->part_message = malloc(DP_PARTS_MAX * sizeof(*dp->part_message));
    dp->pairs = calloc(DP_PAIRS, sizeof(*dp->pairs));
    dp->buckets = calloc(DP_BUCKETS, sizeof(*dp->buckets));
    dp->holds = calloc(DP_HOLDS, sizeof(*dp->holds));
    dp->relayed = malloc(DP_RELAY_MAX * sizeof(*dp->relayed));
    if (dp->slab_memory == NULL || dp->parts == NULL || dp->part_message == NULL ||
        dp->pairs == NULL || dp->buckets == NULL || dp->relayed == NULL || dp->holds == NULL ||
        fair_init(&dp->fair) < 0) {
        dp_free(dp);
        return NULL;
    }
    seal_slab_init(&dp->slab, dp->slab_memory, SEAL_SLAB_LEN);
    return dp;
}

void dp_free(struct dp *dp)
{
    if (dp == NULL) {
        return;
    }
    assembly_done(&dp->assembly);
    free(dp->slab_memory);
    free(dp->parts);
    free(dp->part_message);
    free(dp->pairs);
    free(dp->buckets);
    free(dp->relayed);
    free(dp->holds);
    fair_done(&dp->fair);
    free(dp);
}

void dp_give(struct dp *dp, enum dp_gift_kind kind, const struct dp_arrival *at, uint8_t *data,
             size_t len)
{
    const struct dp_gift gift = {
        .kind = kind, .socket = at->socket, .from = *at->from, .data = data, .len = len};

    dp_count(dp, DP_GIVEN, 1);
    dp->env.give(dp->env.ctx, &gift);
}

static struct dp_hold *hold_of(const struct dp *dp, enum dp_gift_kind kind, uint64_t nwid,
                               uint64_t who, uint64_t *ret_key)
{
    *ret_key = hash_mix(nwid + kind, who);
    return &dp->holds[*ret_key % DP_HOLDS];
}

void dp_hold(struct dp *dp, enum dp_gift_kind kind, uint64_t nwid, uint64_t who)
{
    uint64_t key;
    struct dp_hold *hold = hold_of(dp, kind, nwid, who, &key);

    if (dp->env.given != NULL) {
        hold->held_ms = hold->key == key ? hold->held_ms : -DP_HOLD_PAUSE_MS;
        hold->key = key;
        hold->given = dp->env.given(dp->env.ctx, kind);
    }
}

bool dp_is_held(struct dp *dp, enum dp_gift_kind kind, uint64_t nwid, uint64_t who, int64_t now_ms)
{
    uint64_t key;
    struct dp_hold *hold = hold_of(dp, kind, nwid, who, &key);

    if (hold->key != key || hold->given == 0) {
        return false;
    }
    if (dp->env.taken(dp->env.ctx, kind) >= hold->given) {
        hold->given = 0;
        hold->held_ms = now_ms - DP_HOLD_PAUSE_MS; /* it keeps up: they may follow again at once */
        return false;
    }
    if (now_ms - hold->held_ms >= DP_HOLD_PAUSE_MS) {
        hold->held_ms = now_ms;
    }
    return now_ms - hold->held_ms < DP_HOLD_MS;
}

void dp_send_slab(struct dp *dp)
{
    struct dp_run runs[SEAL_RUNS_MAX];
    uint64_t datagrams = 0;

    for (size_t i = 0; i < dp->slab.run_count; i++) {
        const struct seal_run *run = &dp->slab.runs[i];

        datagrams += run->count;
        runs[i] = (struct dp_run){
            .data = run->data, .len = run->len, .size = run->size, .to = dp->targets[run->target]};
    }
    if (dp->slab.run_count > 0) {
        dp_count(dp, DP_TX_DATAGRAMS, datagrams);
        dp->env.send(dp->env.ctx, runs, dp->slab.run_count);
    }
    seal_slab_clear(&dp->slab);
    dp->target_count = 0;
}

void dp_flush(struct dp *dp)
{
    dp_send_slab(dp);
    dp_relay_flush(dp);
    dp->memo = (struct dp_memo){0};
}

int64_t dp_expire(struct dp *dp, int64_t now_ms)
{
    int64_t at;

    assembly_expire(&dp->assembly, now_ms);
    at = assembly_deadline(&dp->assembly);
    return at == INT64_MAX ? -1 : at;
}

void dp_idle_memory(struct dp *dp, void **ret_memory, size_t *ret_len)
{
    *ret_memory = dp->slab_memory;
    *ret_len = SEAL_SLAB_LEN;
}
