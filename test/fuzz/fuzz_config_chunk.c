/* Chunks of configurations, requests, acknowledgements; the first byte chooses. */
#include "fuzz.h"

#include "wire/config_chunk.h"
#include "wire/netconf.h"
#include "wire/packet.h"

static uint8_t out[2 * PACKET_MAX + 65536];

static void chunk(struct rd in)
{
    static const struct identity nobody;
    struct config_chunk c;

    if (config_chunk_read(in, &c) < 0) {
        return;
    }
    fuzz_require(c.raw_len <= rd_left(&in) && c.data_len <= c.raw_len, "within the packet");
    fuzz_require(c.total <= NETCONF_DICT_MAX && c.index + (size_t)c.data_len <= c.total,
                 "within the total");
    fuzz_require(c.signature == NULL || c.update_id != 0, "updates have a number");
    fuzz_require(config_chunk_verify(&c, &nobody) < 0, "nobody signs");
}

static void request(struct rd in)
{
    struct config_request req;
    struct config_request back;
    struct wr w = wr_init(out, sizeof(out));

    if (config_request_read(in, &req) < 0) {
        return;
    }
    config_request_write(&w, &req);
    fuzz_require(!w.bad && config_request_read(rd_init(out, wr_len(&w)), &back) == 0,
                 "reads again");
    fuzz_require(req.network_id == back.network_id && req.revision == back.revision &&
                     req.timestamp == back.timestamp,
                 "round trip");
    fuzz_require_same(req.meta, req.meta_len, back.meta, back.meta_len, "meta-data");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rd r = rd_init(data, len);
    uint8_t which = rd_u8(&r);
    struct config_ack ack;

    if (r.bad) {
        return 0;
    }
    if (which == 0) {
        chunk(r);
    } else if (which == 1) {
        request(r);
    } else {
        fuzz_require((config_ack_read(r, &ack) == 0) == (rd_left(&r) >= 16), "length decides");
    }
    return 0;
}
