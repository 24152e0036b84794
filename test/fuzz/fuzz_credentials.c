/* Payloads of NETWORK_CREDENTIALS, and by them every kind of credential. */
#include "fuzz.h"

#include "wire/credentials_packet.h"
#include "wire/packet.h"

#include <string.h>

/* One item written alone and read again must stay what it is; verifying must not fault. */
static void check_item(const struct credential *item)
{
    static uint8_t out[PACKET_MAX + 65536];
    static const struct identity nobody;
    uint8_t image[SIGNED_IMAGE_MAX];
    struct capability *const caps[] = {item->capability};
    struct credentials_set set = {0};
    struct credentials_reader it;
    struct credential back;
    struct wr w = wr_init(out, sizeof(out));

    switch (item->type) {
    case CREDENTIAL_COM:
        set.coms = &item->com;
        set.com_count = 1;
        fuzz_require(com_agrees_but_time(&item->com, &item->com, &nobody) ||
                         !com_agrees(&item->com, &item->com, &nobody),
                     "agreement needs both parts");
        break;
    case CREDENTIAL_CAPABILITY:
        set.capabilities = caps;
        set.capability_count = 1;
        fuzz_require(capability_verify(item->capability, 0, &nobody) < 0, "nobody signs");
        break;
    case CREDENTIAL_TAG:
        set.tags = &item->tag;
        set.tag_count = 1;
        fuzz_require(tag_signed_image(&item->tag, image) <= SIGNED_IMAGE_MAX, "image fits");
        break;
    case CREDENTIAL_REVOCATION:
        set.revocations = &item->revocation;
        set.revocation_count = 1;
        fuzz_require(revocation_signed_image(&item->revocation, image) <= SIGNED_IMAGE_MAX,
                     "image fits");
        break;
    case CREDENTIAL_OWNERSHIP:
        set.ownerships = &item->ownership;
        set.ownership_count = 1;
        fuzz_require(ownership_signed_image(&item->ownership, image) <= SIGNED_IMAGE_MAX,
                     "image fits");
        break;
    case CREDENTIAL_NONE:
        fuzz_require(false, "an item has a type");
    }
    fuzz_require(credentials_write(&w, &set, 0) == 1 && !w.bad, "item is written");
    it = credentials_reader_init(rd_init(out, wr_len(&w)));
    fuzz_require(credentials_next(&it, &back) == 1 && back.type == item->type,
                 "item is read again");
    if (item->type == CREDENTIAL_CAPABILITY) {
        fuzz_require(capability_equal(item->capability, back.capability), "round trip");
        capability_free(back.capability);
    }
    fuzz_require(credentials_next(&it, &back) == 0, "nothing else");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct credentials_reader it = credentials_reader_init(rd_init(data, len));
    struct credential item;
    size_t items = 0;
    int err;

    while ((err = credentials_next(&it, &item)) == 1) {
        check_item(&item);
        if (item.type == CREDENTIAL_CAPABILITY) {
            capability_free(item.capability);
        }
        items++;
        fuzz_require(items <= len, "every item has bytes");
    }
    fuzz_require(credentials_next(&it, &item) == err, "stays at its end");
    return 0;
}
