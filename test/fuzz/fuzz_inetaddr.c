/* Socket addresses, MACs and network IDs: binary if the first byte is even, else text. */
#include "fuzz.h"

#include "wire/inetaddr.h"
#include "wire/mac.h"

#include <string.h>

static void binary(const uint8_t *data, size_t len)
{
    struct rd r = rd_init(data, len);
    struct inetaddr a = inetaddr_read(&r);
    uint8_t out[INETADDR_WIRE_MAX];
    struct wr w = wr_init(out, sizeof(out));
    struct inetaddr net = a;

    (void)inetaddr_scope(&a);
    (void)inetaddr_key(&a);
    (void)inetaddr_in_net(&a, &net);
    if (r.bad) {
        fuzz_require(a.family == INETADDR_NIL, "nil after failure");
        return;
    }
    inetaddr_write(&w, &a);
    fuzz_require(!w.bad, "an address fits");
    if (data[0] < 1 || data[0] > 3) { /* skipped types are written as nil */
        fuzz_require_same(out, wr_len(&w), data, len - rd_left(&r), "binary round trip");
    }
}

static void text(const char *data, size_t len)
{
    struct inetaddr a;
    struct inetaddr b;
    char out[INETADDR_TEXT_LEN];
    uint64_t v;
    uint64_t back;

    if (inetaddr_parse(data, len, &a) == 0) {
        inetaddr_print(&a, out);
        fuzz_require(inetaddr_parse(out, strlen(out), &b) == 0, "printed text parses");
        fuzz_require(inetaddr_equal(&a, &b), "text round trip");
    }
    if (mac_parse(data, len, &v) == 0) {
        mac_print(v, out);
        fuzz_require(mac_parse(out, strlen(out), &back) == 0 && v == back, "MAC round trip");
    }
    if (network_id_parse(data, len, &v) == 0) {
        network_id_print(v, out);
        fuzz_require(network_id_parse(out, strlen(out), &back) == 0 && v == back,
                     "network ID round trip");
        back = mac_of_member(v, v);
        fuzz_require(mac_member_address(v, back) == (v & UINT64_C(0xffffffffff)), "member MAC");
    }
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
