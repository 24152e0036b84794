/* Peer cache records. */
#include "fuzz.h"

#include "wire/peer_cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct peer_record rec;
    struct peer_record back;
    uint8_t one[PEER_RECORD_LEN_MAX];
    uint8_t two[PEER_RECORD_LEN_MAX];
    struct wr w1 = wr_init(one, sizeof(one));
    struct wr w2 = wr_init(two, sizeof(two));

    if (peer_record_decode(rd_init(data, len), &rec) < 0) {
        return 0;
    }
    peer_record_encode(&w1, &rec);
    fuzz_require(!w1.bad && peer_record_decode(rd_init(one, wr_len(&w1)), &back) == 0,
                 "encoded decodes");
    peer_record_encode(&w2, &back);
    fuzz_require_same(one, wr_len(&w1), two, wr_len(&w2), "round trip");
    return 0;
}
