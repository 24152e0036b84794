/* Payload compression: the input as a compressed payload, and as one to be compressed. */
#include "fuzz.h"

#include "wire/packet.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t pkt[PACKET_MAX];
    static uint8_t copy[PACKET_MAX];
    static uint8_t scratch[PACKET_MAX];
    size_t n;
    int plain;

    if (len > PACKET_PAYLOAD_MAX) {
        return 0;
    }
    packet_start(pkt, 1, 2, 3, VERB_FRAME);
    memcpy(pkt + PACKET_AT_PAYLOAD, data, len);
    pkt[PACKET_AT_VERB] |= VERB_COMPRESSED;
    plain = packet_decompress(pkt, PACKET_AT_PAYLOAD + len, scratch);
    if (plain >= 0) {
        fuzz_require(plain >= PACKET_MIN && plain <= PACKET_MAX, "size of a packet");
        fuzz_require(pkt[PACKET_AT_VERB] == VERB_FRAME, "bit cleared");
    }

    packet_start(pkt, 1, 2, 3, VERB_FRAME);
    memcpy(pkt + PACKET_AT_PAYLOAD, data, len);
    memcpy(copy, pkt, PACKET_AT_PAYLOAD + len);
    n = packet_compress(pkt, PACKET_AT_PAYLOAD + len, scratch);
    fuzz_require(n <= PACKET_AT_PAYLOAD + len, "never longer");
    plain = packet_decompress(pkt, n, scratch);
    fuzz_require(plain > 0, "own compression opens");
    fuzz_require_same(pkt, (size_t)plain, copy, PACKET_AT_PAYLOAD + len, "round trip");
    return 0;
}
