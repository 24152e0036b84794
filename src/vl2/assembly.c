/* Chunks of configurations are verified, passed on if they ask for it, and put together.
 * Source: spec 03 section 4 with Do better 2, 3. */
#include "vl2/vl2_priv.h"

#include "wire/vl1msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void slot_clear(struct assembly *slot)
{
    free(slot->text);
    free(slot->parts);
    *slot = (struct assembly){0};
}

void assembly_clear(struct network *net)
{
    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        slot_clear(&net->slots[i]);
    }
}

static void arm(struct network *net, int64_t now_ms)
{
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        if (net->slots[i].update_id != 0 && net->slots[i].started_ms < first) {
            first = net->slots[i].started_ms;
        }
    }
    if (first == INT64_MAX) {
        timers_cancel(net->vl2->timers, &net->assembly_timer);
        return;
    }
    first += ASSEMBLY_MS;
    if (timers_arm(net->vl2->timers, &net->assembly_timer, first > now_ms ? first : now_ms + 1) !=
        0) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
    }
}

void assembly_timeout(struct timer *timer, int64_t now_ms)
{
    struct network *net = CONTAINER_OF(timer, struct network, assembly_timer);

    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        if (net->slots[i].update_id != 0 && now_ms - net->slots[i].started_ms >= ASSEMBLY_MS) {
            slot_clear(&net->slots[i]);
        }
    }
    arm(net, now_ms);
}

static bool is_done(const struct network *net, uint64_t update_id)
{
    for (size_t i = 0; i < ASSEMBLY_DONE; i++) {
        if (net->done[i] == update_id) {
            return true;
        }
    }
    return false;
}

static void set_done(struct network *net, uint64_t update_id)
{
    net->done[net->done_next] = update_id;
    net->done_next = (net->done_next + 1) % ASSEMBLY_DONE;
}

static struct assembly *find_slot(struct network *net, uint64_t update_id)
{
    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        if (net->slots[i].update_id == update_id) {
            return &net->slots[i];
        }
    }
    return NULL;
}

/* The oldest update that may give way: what the controller sends itself only to the controller. */
static struct assembly *oldest_slot(struct network *net, bool from_controller)
{
    struct assembly *best = NULL;

    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        struct assembly *s = &net->slots[i];

        if (s->update_id == 0 || (s->from_controller && !from_controller)) {
            continue;
        }
        if (best == NULL || (best->from_controller && !s->from_controller) ||
            (best->from_controller == s->from_controller && s->started_ms < best->started_ms)) {
            best = s;
        }
    }
    return best;
}

static size_t slot_bytes(const struct network *net)
{
    size_t bytes = 0;

    for (size_t i = 0; i < ASSEMBLY_SLOTS; i++) {
        bytes += net->slots[i].total;
    }
    return bytes;
}

/* A slot for a new update; others are given up for it and their rest is ignored from then on, so
 * that several interleaved updates do not keep each other from completing. NULL: no room. */
static struct assembly *new_slot(struct network *net, const struct config_chunk *chunk,
                                 bool from_controller, int64_t now_ms)
{
    struct assembly *slot;

    while ((slot = find_slot(net, 0)) == NULL ||
           slot_bytes(net) + chunk->total > ASSEMBLY_BYTES_MAX) {
        struct assembly *victim = oldest_slot(net, from_controller);

        if (victim == NULL) {
            return NULL;
        }
        set_done(net, victim->update_id);
        slot_clear(victim);
    }
    slot->text = malloc(chunk->total);
    if (slot->text == NULL) {
        return NULL;
    }
    slot->update_id = chunk->update_id;
    slot->total = chunk->total;
    slot->started_ms = now_ms;
    return slot;
}

/* Where a part belongs in the list: its index, -EEXIST it is there or overlaps another. */
static ssize_t part_place(const struct assembly *slot, const struct config_chunk *chunk)
{
    size_t i = 0;

    while (i < slot->part_count && slot->parts[i].index + slot->parts[i].len <= chunk->index) {
        i++;
    }
    if (i < slot->part_count && slot->parts[i].index < chunk->index + chunk->data_len) {
        return -EEXIST;
    }
    return (ssize_t)i;
}

static int add_part(struct assembly *slot, const struct config_chunk *chunk)
{
    ssize_t place = part_place(slot, chunk);
    size_t at;

    if (place < 0) {
        return (int)place;
    }
    at = (size_t)place;
    if (slot->part_count >= ASSEMBLY_PARTS_MAX) {
        return -ENOSPC;
    }
    if (slot->part_count == slot->part_cap) {
        size_t cap = slot->part_cap > 0 ? 2 * slot->part_cap : 8;
        void *parts = realloc(slot->parts, cap * sizeof(*slot->parts));

        if (parts == NULL) {
            return -ENOMEM;
        }
        slot->parts = parts;
        slot->part_cap = cap;
    }
    memmove(slot->parts + at + 1, slot->parts + at, (slot->part_count - at) * sizeof(*slot->parts));
    slot->parts[at].index = chunk->index;
    slot->parts[at].len = chunk->data_len;
    slot->part_count++;
    memcpy(slot->text + chunk->index, chunk->data, chunk->data_len);
    slot->have += chunk->data_len;
    return 0;
}

/* Pass a chunk on to everybody we know on the network. */
static void forward(struct network *net, const struct config_chunk *chunk, uint64_t source,
                    int64_t now_ms)
{
    struct out_packet out;

    out_begin(net->vl2->vl1, &out, source, VERB_NETWORK_CONFIG);
    wr_bytes(&out.w, chunk->raw, chunk->raw_len);
    for (struct hmap_node *n = hmap_each(&net->members, NULL); n != NULL;
         n = hmap_each(&net->members, n)) {
        if (n->key != source && n->key != net->controller) {
            out_redirect(&out, n->key);
            vl2_send(net->vl2, &out, OUT_COMPRESS, now_ms);
        }
    }
}

static void acknowledge(struct network *net, const struct in_packet *in, uint64_t update_id,
                        int64_t now_ms)
{
    const struct reply_head head = {VERB_ECHO, in->id}; /* sic, as the reference does */
    const struct config_ack ack = {net->id, update_id};
    struct out_packet out;

    out_begin(net->vl2->vl1, &out, in->source, VERB_OK);
    ok_head_write(&out.w, &head);
    config_ack_write(&out.w, &ack);
    (void)out_reply(net->vl2->vl1, &out, in, 0, now_ms);
}

static void complete(struct network *net, const struct in_packet *in, const char *text, size_t len,
                     uint64_t update_id, int64_t now_ms)
{
    enum config_source source = CONFIG_RELAYED;

    if (in->source == net->controller) {
        source = in->verb == VERB_OK ? CONFIG_ANSWERED : CONFIG_PUSHED;
    }
    if (network_apply(net, text, len, source, now_ms) == 0 && in->verb == VERB_NETWORK_CONFIG) {
        acknowledge(net, in, update_id, now_ms);
    }
}

/* Put a verified chunk where it belongs; complete updates are applied. */
static void take_chunk(struct network *net, const struct in_packet *in,
                       const struct config_chunk *chunk, int64_t now_ms)
{
    bool from_controller = in->source == net->controller;
    struct assembly *slot;

    if (chunk->data_len == chunk->total) {
        set_done(net, chunk->update_id);
        complete(net, in, (const char *)chunk->data, chunk->data_len, chunk->update_id, now_ms);
        return;
    }
    slot = find_slot(net, chunk->update_id);
    if (slot == NULL) {
        slot = new_slot(net, chunk, from_controller, now_ms);
    }
    if (slot == NULL || slot->total != chunk->total || add_part(slot, chunk) != 0) {
        vl2_count(net->vl2, COUNT_CHUNK_REFUSED);
    } else {
        slot->from_controller = slot->from_controller || from_controller;
        if (slot->have == slot->total) {
            set_done(net, slot->update_id);
            complete(net, in, slot->text, slot->total, slot->update_id, now_ms);
            slot_clear(slot);
        }
    }
    arm(net, now_ms);
}

static bool is_duplicate(struct network *net, const struct config_chunk *chunk)
{
    const struct assembly *slot = find_slot(net, chunk->update_id);

    return is_done(net, chunk->update_id) || (slot != NULL && part_place(slot, chunk) < 0);
}

enum vl1_verdict assembly_chunk(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct config_chunk chunk;
    struct network *net;
    struct peer *controller;

    if (config_chunk_read(in->payload, &chunk) != 0) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    net = vl2_find(vl2, chunk.network_id);
    if (net == NULL || net->controller == 0 || net->controller == vl2->self) {
        vl2_count(vl2, COUNT_NO_NETWORK);
        return VL1_DONE;
    }
    if (chunk.signature == NULL) { /* legacy form: a whole configuration */
        if (in->source != net->controller) {
            vl2_count(vl2, COUNT_CHUNK_REFUSED);
            return VL1_DONE;
        }
        if (!vl1_peer_is_validated(vl2->vl1, in->peer, now_ms)) {
            return VL1_LATER;
        }
        complete(net, in, (const char *)chunk.data, chunk.data_len, in->id, now_ms);
        return VL1_DONE;
    }
    if (chunk.data_len == 0 || is_duplicate(net, &chunk)) {
        return VL1_DONE;
    }
    controller = vl1_peer_find(vl2->vl1, net->controller, now_ms);
    if (controller == NULL) {
        vl1_whois(vl2->vl1, net->controller, now_ms);
        return VL1_LATER;
    }
    if (!vl1_peer_is_validated(vl2->vl1, controller, now_ms)) {
        return VL1_LATER;
    }
    if (rate_gate_is_recent(&vl2->forger_gate, in->source, BAD_SIGNATURE_MS, now_ms) ||
        config_chunk_verify(&chunk, peer_identity(controller)) != 0) {
        (void)rate_gate_pass(&vl2->forger_gate, in->source, BAD_SIGNATURE_MS, now_ms);
        vl2_count(vl2, COUNT_CHUNK_REFUSED);
        return VL1_DONE;
    }
    if ((chunk.flags & CONFIG_CHUNK_FAST) != 0) {
        forward(net, &chunk, in->source, now_ms);
    }
    take_chunk(net, in, &chunk, now_ms);
    return VL1_DONE;
}
