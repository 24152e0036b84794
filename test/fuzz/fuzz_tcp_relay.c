/* Stream of TCP relay records: arriving whole or byte by byte gives the same records, and
 * datagrams can be written again. */
#include "fuzz.h"

#include "wire/tcp_relay.h"

#include <string.h>

static void check_datagram(const struct tcp_relay_record *rec)
{
    static uint8_t out[TCP_RELAY_RECORD_MAX];
    struct wr w = wr_init(out, sizeof(out));
    struct rd in;
    struct tcp_relay_record back;

    if (rec->kind != TCP_RELAY_DATAGRAM || rec->address.family == INETADDR_NIL) {
        return;
    }
    tcp_relay_write_datagram(&w, &rec->address, rec->data, rec->len);
    fuzz_require(!w.bad, "a datagram read can be written");
    in = rd_init(out, wr_len(&w));
    fuzz_require(tcp_relay_next(&in, &back) == 1 && rd_left(&in) == 0, "and read");
    fuzz_require(inetaddr_equal(&back.address, &rec->address), "address round trip");
    fuzz_require_same(back.data, back.len, rec->data, rec->len, "payload round trip");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rd whole = rd_init(data, len);
    struct tcp_relay_record rec;
    size_t at = 0; /* begin of the record being waited for in the byte by byte reading */
    size_t have = 0;
    int err;

    while ((err = tcp_relay_next(&whole, &rec)) > 0) {
        struct tcp_relay_record slow;
        size_t next = len - rd_left(&whole);
        int slow_err = 0;

        check_datagram(&rec);
        while (slow_err == 0) {
            struct rd part = rd_init(data + at, ++have - at);

            fuzz_require(have <= next, "record complete no later than in the whole");
            slow_err = tcp_relay_next(&part, &slow);
        }
        fuzz_require(slow_err == 1 && slow.kind == rec.kind && slow.len == rec.len &&
                         slow.data == rec.data && have == next,
                     "same record byte by byte");
        at = next;
    }
    fuzz_require((size_t)(whole.p - data) == at, "reader stays at an incomplete or bad record");
    (void)err;
    return 0;
}
