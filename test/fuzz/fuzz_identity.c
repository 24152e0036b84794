/* Identities: binary if the first byte is even, else text. */
#include "fuzz.h"

#include "wire/identity.h"

#include <string.h>

static void binary(const uint8_t *data, size_t len)
{
    struct rd r = rd_init(data, len);
    struct rd again = r;
    struct identity id;
    struct identity pub;
    uint8_t out[IDENTITY_WIRE_SECRET];
    struct wr w = wr_init(out, sizeof(out));

    if (identity_read(&r, &id) < 0) {
        fuzz_require(r.bad, "bad after failure");
        return;
    }
    identity_write(&w, &id, true);
    fuzz_require_same(out, wr_len(&w), data, len - rd_left(&r), "binary round trip");
    fuzz_require(identity_read_public(&again, &pub) == 0, "public reading");
    fuzz_require(rd_left(&again) == rd_left(&r) && !pub.has_private, "private half skipped");
}

static void text(const char *data, size_t len)
{
    struct identity id;
    struct identity back;
    char out[IDENTITY_TEXT_LEN];
    char out2[IDENTITY_TEXT_LEN];

    if (identity_parse(data, len, &id) < 0) {
        return;
    }
    fuzz_require(!address_is_reserved(id.address), "no reserved address");
    identity_print(&id, true, out);
    fuzz_require(identity_parse(out, strlen(out), &back) == 0, "printed text parses");
    identity_print(&back, true, out2);
    fuzz_require(strcmp(out, out2) == 0 && strncasecmp(out, data, strlen(out)) == 0,
                 "text round trip");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0) {
        if (data[0] % 2 == 0) {
            binary(data + 1, len - 1);
        } else {
            text((const char *)data + 1, len - 1);
        }
    }
    return 0;
}
