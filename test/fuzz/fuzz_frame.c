/* Payloads with frames and multicast groups; the first byte is the verb, OK forms are 0x8d, 0x8e.
 */
#include "fuzz.h"

#include "wire/frame.h"
#include "wire/packet.h"

static uint8_t out[PACKET_MAX + 65536];
static struct com com_buf;

/* What a decoder took is written as the same bytes. */
static void same(const struct wr *w, struct rd in)
{
    fuzz_require(!w->bad, "fits");
    fuzz_require_same(out, wr_len(w), in.p, rd_left(&in), "round trip");
}

static void ext_frame(struct rd in, struct wr *w)
{
    struct ext_frame f;

    if (ext_frame_read(in, &com_buf, &f) == 0 && f.has_frame) {
        ext_frame_write(w, &f);
        same(w, in);
    }
}

static void multicast_frame(struct rd in, struct wr *w)
{
    struct multicast_frame f;

    if (multicast_frame_read(in, &com_buf, &f) == 0) {
        multicast_frame_write(w, &f);
        same(w, in);
    }
}

static void gather(struct rd in)
{
    struct multicast_gather g;

    if (multicast_gather_read(in, &com_buf, &g) == 0) {
        fuzz_require(g.com == NULL || g.com->count <= COM_QUALIFIERS_MAX, "COM is bounded");
    }
}

static void likes(struct rd in, struct wr *w)
{
    struct rd r = in;
    struct multicast_like like;
    int err;

    while ((err = multicast_like_next(&r, &like)) == 1) {
        multicast_like_write(w, &like);
    }
    fuzz_require((err == 0) == (rd_left(&in) % MULTICAST_LIKE_LEN == 0), "whole records");
    fuzz_require_same(out, wr_len(w), in.p, rd_left(&in) / MULTICAST_LIKE_LEN * MULTICAST_LIKE_LEN,
                      "round trip");
}

static void results(struct rd in, bool of_frame)
{
    struct gather_result g;
    int err = of_frame ? multicast_frame_ok_read(in, &com_buf, &g) : gather_ok_read(in, &g);
    uint64_t sum = 0;

    for (size_t i = 0; err == 0 && i < g.count; i++) {
        sum += be40_get(g.addresses + 5 * i);
    }
    fuzz_require(err < 0 || g.count > 0 || sum == 0, "addresses are readable");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rd r = rd_init(data, len);
    struct wr w = wr_init(out, sizeof(out));
    struct frame frame;

    switch (rd_u8(&r)) {
    case VERB_FRAME:
        if (frame_read(r, &frame) == 0) {
            frame_write(&w, &frame);
            same(&w, r);
        }
        break;
    case VERB_EXT_FRAME:
        ext_frame(r, &w);
        break;
    case VERB_MULTICAST_LIKE:
        likes(r, &w);
        break;
    case VERB_MULTICAST_GATHER:
        gather(r);
        break;
    case VERB_MULTICAST_FRAME:
        multicast_frame(r, &w);
        break;
    default:
        results(r, len > 0 && data[0] == 0x8e);
        break;
    }
    return 0;
}
