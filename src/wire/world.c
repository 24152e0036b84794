/* Worlds: codec, signatures and the rule by which one version replaces another.
 * Source: spec 02 section 9. */
#include "wire/world.h"

#include "wire/identity.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Frames around the signed message (9.1). */
enum {
    FRAME_LEN = 8,
    FRAME_BEFORE = 0x7f,
    FRAME_AFTER = 0xf7,
};

static void read_root(struct rd *r, struct world_root *ret)
{
    if (identity_read_public(r, &ret->identity) < 0) {
        return;
    }
    ret->endpoint_count = rd_u8(r);
    if (ret->endpoint_count > WORLD_ENDPOINTS_MAX) {
        r->bad = true;
        return;
    }
    for (unsigned i = 0; i < ret->endpoint_count; i++) {
        ret->endpoints[i] = inetaddr_read(r);
    }
}

int world_read(struct rd *r, struct world *ret)
{
    struct world world = {.type = rd_u8(r)};

    world.id = rd_u64(r);
    world.timestamp = rd_u64(r);
    rd_copy(r, world.update_key, sizeof(world.update_key));
    rd_copy(r, world.signature, sizeof(world.signature));
    world.root_count = rd_u8(r);
    if (world.root_count > WORLD_ROOTS_MAX ||
        (world.type != WORLD_NULL && world.type != WORLD_PLANET && world.type != WORLD_MOON)) {
        r->bad = true;
    }
    for (unsigned i = 0; !r->bad && i < world.root_count; i++) {
        read_root(r, &world.roots[i]);
    }
    if (world.type == WORLD_MOON) {
        rd_skip(r, rd_u16(r)); /* attached dictionary */
    }
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = world;
    return 0;
}

static void write_form(struct wr *w, const struct world *world, bool with_signature)
{
    assert(world->root_count <= WORLD_ROOTS_MAX);
    wr_u8(w, world->type);
    wr_u64(w, world->id);
    wr_u64(w, world->timestamp);
    wr_bytes(w, world->update_key, sizeof(world->update_key));
    if (with_signature) {
        wr_bytes(w, world->signature, sizeof(world->signature));
    }
    wr_u8(w, world->root_count);
    for (unsigned i = 0; i < world->root_count; i++) {
        const struct world_root *root = &world->roots[i];

        assert(root->endpoint_count <= WORLD_ENDPOINTS_MAX);
        identity_write(w, &root->identity, false);
        wr_u8(w, root->endpoint_count);
        for (unsigned k = 0; k < root->endpoint_count; k++) {
            inetaddr_write(w, &root->endpoints[k]);
        }
    }
    if (world->type == WORLD_MOON) {
        wr_u16(w, 0); /* no dictionary */
    }
}

void world_write(struct wr *w, const struct world *world)
{
    write_form(w, world, true);
}

static void write_frame(struct wr *w, uint8_t byte)
{
    for (unsigned i = 0; i < FRAME_LEN; i++) {
        wr_u8(w, byte);
    }
}

void world_signed_message(struct wr *w, const struct world *world)
{
    write_frame(w, FRAME_BEFORE);
    write_form(w, world, false);
    write_frame(w, FRAME_AFTER);
}

void world_sign(struct world *world, const uint8_t priv[IDENTITY_PRIVATE_LEN],
                const uint8_t pub[IDENTITY_PUBLIC_LEN])
{
    uint8_t msg[WORLD_SIGNED_MAX];
    struct wr w = wr_init(msg, sizeof(msg));

    world_signed_message(&w, world);
    assert(!w.bad);
    key_sign(priv, pub, msg, wr_len(&w), world->signature);
}

int world_verify(const struct world *world, const uint8_t key[IDENTITY_PUBLIC_LEN])
{
    uint8_t msg[WORLD_SIGNED_MAX];
    struct wr w = wr_init(msg, sizeof(msg));

    world_signed_message(&w, world);
    assert(!w.bad);
    return key_verify(key, msg, wr_len(&w), world->signature, sizeof(world->signature));
}

int world_verify_self(const struct world *world)
{
    return world_verify(world, world->update_key);
}

int world_update_check(const struct world *current, const struct world *candidate)
{
    if (candidate->type != WORLD_PLANET && candidate->type != WORLD_MOON) {
        return -EPROTO;
    }
    if (current == NULL) {
        return 0;
    }
    if (candidate->type != current->type || candidate->id != current->id) {
        return -EPROTO;
    }
    if (candidate->timestamp <= current->timestamp) {
        return -ESTALE;
    }
    return world_verify(candidate, current->update_key);
}

int world_find_root(const struct world *world, uint64_t address)
{
    for (unsigned i = 0; i < world->root_count; i++) {
        if (world->roots[i].identity.address == address) {
            return (int)i;
        }
    }
    return -1;
}

bool world_has_root(const struct world *world, const struct identity *id)
{
    for (unsigned i = 0; i < world->root_count; i++) {
        if (identity_equal(&world->roots[i].identity, id)) {
            return true;
        }
    }
    return false;
}
