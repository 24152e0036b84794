/* Merging: the input is a list of frames, each of a byte of choices, two bytes of length and the
 * payload. Cutting what comes out must give every frame again, unchanged but for the ID of IPv4
 * frames with DF that were merged. */
#include "fuzz.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "datapath/headers.h"
#include "datapath/merge.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAMES_MAX = 64,
    CHOICE_TYPE = 0x03, /* EtherType */
    CHOICE_PORT = 0x04,
    CHOICE_BAD = 0x08,   /* leave the checksums as they are */
    CHOICE_FLUSH = 0x10, /* before this frame */
    CHOICE_NO_UDP = 0x20,
};

struct frame {
    uint8_t *data; /* Ethernet header included */
    size_t len;
    uint32_t port;
    bool is_taken;
};

struct run {
    struct frame frames[FRAMES_MAX];
    size_t count;
    size_t out;
};

/* Offsets of IP and upper layer of a plain TCP or UDP frame; false for all others. */
static bool find_layers(const uint8_t *f, size_t len, size_t *ret_l3, size_t *ret_l4)
{
    size_t l3 = ETHERNET_LEN;

    if (be16_get(f + 12) == ETHERTYPE_VLAN) {
        l3 += VLAN_TAG_LEN;
    }
    if (len < l3 + IPV4_LEN || (f[l3] >> 4 != 4 && f[l3] >> 4 != 6)) {
        return false;
    }
    bool v6 = f[l3] >> 4 == 6;
    size_t l4 = l3 + (v6 ? IPV6_LEN : IPV4_LEN);
    if (len < l4 + UDP_LEN) {
        return false;
    }
    uint8_t protocol = f[l3 + (v6 ? IPV6_AT_NEXT : IPV4_AT_PROTOCOL)];
    *ret_l3 = l3;
    *ret_l4 = l4;
    return protocol == IP_UDP || (protocol == IP_TCP && len >= l4 + TCP_LEN);
}

/* Make lengths and checksums right, so that frames get as far as merging. */
static void mend(uint8_t *f, size_t len)
{
    size_t l3;
    size_t l4;

    if (!find_layers(f, len, &l3, &l4)) {
        return;
    }
    bool v6 = f[l3] >> 4 == 6;
    uint8_t protocol = f[l3 + (v6 ? IPV6_AT_NEXT : IPV4_AT_PROTOCOL)];
    size_t at = l4 + (protocol == IP_TCP ? TCP_AT_CHECKSUM : UDP_AT_CHECKSUM);

    if (v6) {
        be16_put(f + l3 + IPV6_AT_LENGTH, (uint16_t)(len - l4));
    } else {
        be16_put(f + l3 + IPV4_AT_LENGTH, (uint16_t)(len - l3));
        be16_put(f + l3 + IPV4_AT_CHECKSUM, 0);
        be16_put(f + l3 + IPV4_AT_CHECKSUM, (uint16_t)~checksum_portable(f + l3, IPV4_LEN));
    }
    if (protocol == IP_UDP) {
        be16_put(f + l4 + UDP_AT_LENGTH, (uint16_t)(len - l4));
    }
    be16_put(f + at, 0);
    uint16_t sum = (uint16_t)~checksum_fold(checksum_pseudo(f + l3, protocol, len - l4) +
                                            checksum_portable(f + l4, len - l4));
    be16_put(f + at, sum == 0 && protocol == IP_UDP ? 0xffff : sum);
}

/* Equal; merged: but for the ID of an IPv4 frame with DF. */
static bool is_same(const struct frame *in, const uint8_t *out, size_t len, bool merged)
{
    size_t l3;
    size_t l4;

    if (in->len != len) {
        return false;
    }
    if (!merged || !find_layers(out, len, &l3, &l4) || out[l3] >> 4 == 6 ||
        (out[l3 + IPV4_AT_FRAGMENT] & 0x40) == 0) {
        return memcmp(in->data, out, len) == 0;
    }
    return memcmp(in->data, out, l3 + IPV4_AT_ID) == 0 &&
           memcmp(in->data + l3 + IPV4_AT_FRAGMENT, out + l3 + IPV4_AT_FRAGMENT, 4) == 0 &&
           memcmp(in->data + l3 + IPV4_AT_ADDRESSES, out + l3 + IPV4_AT_ADDRESSES,
                  len - l3 - IPV4_AT_ADDRESSES) == 0;
}

/* The oldest frame that is the same: within a flow of a port the order is kept. */
static void take(struct run *r, const uint8_t *data, size_t len, const struct merge_output *out)
{
    bool merged = out->frames > 1;

    for (size_t i = 0; i < r->count; i++) {
        if (!r->frames[i].is_taken && r->frames[i].port == out->port &&
            is_same(&r->frames[i], data, len, merged)) {
            r->frames[i].is_taken = true;
            r->out++;
            return;
        }
    }
    fuzz_require(false, "a frame that went in");
}

static void emit(void *ctx, const struct merge_output *out)
{
    struct run *r = ctx;
    uint8_t *block = malloc(out->len);
    struct offload_split s;
    struct offload_frame frame;

    fuzz_require(block != NULL, "memory");
    fuzz_require(out->frames <= MERGE_SEGMENTS_MAX, "not too many");
    fuzz_require(out->frames == 1 || out->len <= MERGE_FRAME_MAX, "not too long");
    merge_output_copy(out, block);
    fuzz_require(offload_split_begin(&s, &out->vnet, block, out->len, checksum_portable) ==
                     (int)out->frames,
                 "can be split");
    while (offload_split_next(&s, &frame)) {
        take(r, frame.data, frame.len, out);
    }
    free(block);
}

/* The next frame of the input. Returns false at the end. */
static bool next_frame(struct rd *in, struct frame *ret, uint8_t *ret_choice)
{
    static const uint16_t types[] = {ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, 0x0806};
    uint8_t choice = rd_u8(in);
    size_t len = rd_u16(in);
    const uint8_t *payload;

    if (in->bad) {
        return false;
    }
    len = len < rd_left(in) ? len : rd_left(in);
    payload = rd_bytes(in, len);
    ret->len = ETHERNET_LEN + len;
    ret->data = malloc(ret->len);
    fuzz_require(ret->data != NULL, "memory");
    memset(ret->data, 0x22, 12);
    be16_put(ret->data + 12, types[choice & CHOICE_TYPE]);
    if (len > 0) {
        memcpy(ret->data + ETHERNET_LEN, payload, len);
    }
    ret->is_taken = false;
    ret->port = choice & CHOICE_PORT;
    if ((choice & CHOICE_BAD) == 0) {
        mend(ret->data, ret->len);
    }
    *ret_choice = choice;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct merger m;
    static struct run r;
    struct rd in = rd_init(data, len);
    uint8_t choice;

    r.count = 0;
    r.out = 0;
    merger_init(&m, checksum_pick(cpu_features()), emit, &r);
    while (r.count < FRAMES_MAX && next_frame(&in, &r.frames[r.count], &choice)) {
        struct frame *f = &r.frames[r.count++];
        const struct merge_input input = {
            .dest_mac = 0x222222222222,
            .source_mac = 0x222222222222,
            .payload = f->data + ETHERNET_LEN,
            .len = f->len - ETHERNET_LEN,
            .port = f->port,
            .kinds = (choice & CHOICE_NO_UDP) != 0 ? MERGE_TCP4 | MERGE_TCP6 : MERGE_ALL,
            .ethertype = be16_get(f->data + 12),
        };

        if ((choice & CHOICE_FLUSH) != 0) {
            merger_flush(&m);
            fuzz_require(merger_is_empty(&m) && r.out + 1 == r.count, "flushed");
        }
        merger_add(&m, &input);
    }
    merger_flush(&m);
    fuzz_require(merger_is_empty(&m), "empty");
    fuzz_require(r.out == r.count, "every frame came out once");
    for (size_t i = 0; i < r.count; i++) {
        free(r.frames[i].data);
    }
    return 0;
}
