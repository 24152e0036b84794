/* What a hostile client sends to the TCP relay of a root: pieces of any length lead to the same
 * records as the whole, nothing grows beyond its bounds, and what is let through is a packet of the
 * network to an address that may be reached. */
#include "fuzz.h"

#include "crypto/identity.h"
#include "daemon/relay_gate.h"
#include "daemon/relay_stream.h"
#include "wire/packet.h"

#include <stdlib.h>
#include <string.h>

enum { NOW = 1000000 };

struct run {
    struct gate *gate;
    struct gate_client client;
    struct relay_stream stream;
    uint64_t records;
    uint64_t passed;
    uint64_t sum; /* of what was seen, to compare */
};

static uint8_t scratch[RELAY_RECORD_MAX + RELAY_SCRATCH];

static int on_record(void *ctx, const struct tcp_relay_record *record, uint8_t *data)
{
    struct run *run = ctx;
    struct inetaddr target = {0};
    const struct inetaddr *to = &record->address;
    run->records++;
    run->sum = run->sum * 31 + (uint64_t)record->kind + record->len;
    if (record->kind != TCP_RELAY_DATAGRAM || to->family == INETADDR_NIL) {
        return 0;
    }
    enum gate_verdict verdict =
        gate_out(run->gate, &run->client, to, data, record->len, NOW, &target);
    run->sum = run->sum * 31 + (uint64_t)verdict;
    if (gate_reason(verdict) == NULL) {
        run->passed++;
        fuzz_require(record->len >= GATE_PAYLOAD_MIN && record->len <= GATE_PAYLOAD_MAX, "size");
        fuzz_require(!address_is_reserved(packet_dest(data)), "destination node");
        fuzz_require(verdict != GATE_SEND ||
                         (inetaddr_scope(to) == INET_SCOPE_GLOBAL && to->port >= GATE_PORT_MIN),
                     "destination address");
    }
    fuzz_require(run->passed <= GATE_CLIENT_BURST, "a client that nobody answered");
    return 0;
}

/* Feed data in pieces of up to `piece` bytes. Returns the first error. */
static int feed(struct run *run, const uint8_t *data, size_t len, size_t piece)
{
    gate_init(run->gate, 1);
    gate_client_init(&run->client);
    relay_stream_init(&run->stream);
    run->stream.strict = true;
    run->records = run->passed = run->sum = 0;
    for (size_t at = 0; at < len;) {
        size_t n = len - at < piece ? len - at : piece;
        size_t carry = run->stream.carry_len;
        memcpy(scratch, run->stream.carry, carry);
        memcpy(scratch + carry, data + at, n);
        int err = relay_stream_parse(&run->stream, scratch, carry + n, on_record, run, NOW);
        if (err < 0) {
            return err;
        }
        fuzz_require(run->stream.carry_len < RELAY_RECORD_MAX, "bound of what is kept");
        at += n;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct gate gate;
    static struct run whole = {.gate = &gate};
    static struct run parts = {.gate = &gate};
    len = len < RELAY_SCRATCH ? len : RELAY_SCRATCH;
    int all = feed(&whole, data, len, RELAY_SCRATCH);
    int some = feed(&parts, data, len, len > 0 ? 1 + data[len - 1] : 1);
    fuzz_require(all == some && whole.records == parts.records && whole.sum == parts.sum,
                 "pieces and the whole");
    return 0;
}
