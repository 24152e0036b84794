/* Worlds: reading, writing, the signed message, the update rule. */
#include "fuzz.h"

#include "wire/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world world;
    static struct world back;
    static uint8_t one[WORLD_WIRE_MAX];
    static uint8_t two[WORLD_WIRE_MAX];
    struct rd r = rd_init(data, len);
    struct wr w1 = wr_init(one, sizeof(one));
    struct wr w2 = wr_init(two, sizeof(two));

    if (world_read(&r, &world) < 0) {
        fuzz_require(r.bad, "bad after failure");
        return 0;
    }
    world_write(&w1, &world);
    fuzz_require(!w1.bad, "every world fits");
    r = rd_init(one, wr_len(&w1));
    fuzz_require(world_read(&r, &back) == 0 && rd_done(&r) == 0, "written world reads");
    world_write(&w2, &back);
    fuzz_require_same(one, wr_len(&w1), two, wr_len(&w2), "round trip");
    fuzz_require(world_verify_self(&world) == world_verify_self(&back), "same signature result");
    fuzz_require(world_update_check(&world, &back) < 0, "a world does not replace itself");
    back.timestamp++;
    fuzz_require(world_update_check(&world, &back) < 0, "an altered world is not accepted");
    for (unsigned i = 0; i < world.root_count; i++) {
        fuzz_require(world_has_root(&world, &world.roots[i].identity), "roots are found");
    }
    return 0;
}
