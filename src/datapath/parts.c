/* Sealing into datagrams and opening out of them. The cipher of suite 3 works on blocks of 16 bytes
 * and a fragment header is 16 bytes, too: the block that straddles a cut is enciphered twice, once
 * to each side of the header, and the header is written over the overlap. Suites 0 and 1 are sealed
 * in one piece and copied. To be opened a packet is joined first: moving a fragment down over its
 * header costs less than deciphering by pieces. Source: spec 09 sections 6.3 (item 5) and 6.5. */
#include "datapath/parts.h"

#include "datapath/armor_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static size_t block_floor(size_t n)
{
    return n & ~(size_t)(AES_BLOCK_LEN - 1);
}

/* Fragment header of datagram `index` of a packet whose head is complete. */
static void write_fragment_header(uint8_t *out, const uint8_t *head, unsigned index, unsigned total)
{
    memcpy(out, head, FRAGMENT_AT_INDICATOR);
    out[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
    out[FRAGMENT_AT_NUMBERS] = (uint8_t)(total << 4 | index);
    out[FRAGMENT_AT_HOPS] = 0;
}

static void seal_siv(uint8_t *pkt, size_t len, const struct armor_keys *keys,
                     const struct parts_layout *layout)
{
    const uint8_t *text = pkt + PACKET_AT_VERB;
    size_t text_len = len - PACKET_AT_VERB;
    const struct aes_aad aad = siv_aad(pkt);
    uint8_t tag[AES_SIV_TAG_LEN];
    uint8_t *out = layout->datagrams[0];
    size_t from = 0; /* text bytes of this datagram: from..to */
    size_t to = layout->size - PACKET_AT_VERB;

    memcpy(out + PACKET_AT_DEST, pkt + PACKET_AT_DEST, PACKET_AT_MAC - PACKET_AT_DEST);
    if (layout->total == 1) {
        aes_gmac_siv_seal(&keys->aes, pkt + PACKET_AT_ID, &aad, text, text_len,
                          out + PACKET_AT_VERB, tag);
        siv_put_tag(out, tag);
        return;
    }
    aes_gmac_siv_tag(&keys->aes, pkt + PACKET_AT_ID, &aad, text, text_len, tag);
    siv_put_tag(out, tag);
    for (unsigned i = 0; i < layout->total; i++) {
        uint8_t *part = layout->datagrams[i];
        uint8_t *data = part + (i == 0 ? PACKET_AT_VERB : FRAGMENT_AT_DATA);
        size_t begin = block_floor(from);
        size_t end = block_floor(to + AES_BLOCK_LEN - 1);

        end = end < text_len ? end : text_len;
        aes_gmac_siv_ctr(&keys->aes, tag, begin, text + begin, data - (from - begin), end - begin);
        if (i > 0) {
            write_fragment_header(part, out, i, layout->total);
        }
        from = to;
        to += layout->size - FRAGMENT_AT_DATA;
    }
}

/* Cut a sealed packet. */
static void copy_datagrams(const uint8_t *pkt, size_t len, const struct parts_layout *layout)
{
    size_t at = layout->total > 1 ? layout->size : len;

    memcpy(layout->datagrams[0], pkt, at);
    for (unsigned i = 1; i < layout->total; i++) {
        uint8_t *part = layout->datagrams[i];
        size_t n = layout->size - FRAGMENT_AT_DATA;

        n = n < len - at ? n : len - at;
        write_fragment_header(part, pkt, i, layout->total);
        memcpy(part + FRAGMENT_AT_DATA, pkt + at, n);
        at += n;
    }
}

void parts_seal(uint8_t *pkt, size_t len, enum cipher_suite suite, const struct armor_keys *keys,
                const struct parts_layout *layout)
{
    assert(len >= PACKET_MIN && len <= PACKET_MAX);
    assert(suite == SUITE_SALSA_POLY1305 || suite == SUITE_AES_GMAC_SIV);
    if (suite == SUITE_AES_GMAC_SIV) {
        packet_set_suite(pkt, suite);
        seal_siv(pkt, len, keys, layout);
        return;
    }
    armor_seal(pkt, len, suite, keys);
    copy_datagrams(pkt, len, layout);
}

/* True if d is fragment `index` of the packet with this head. */
static bool is_fragment_of(const struct part *d, const uint8_t *head, unsigned index,
                           unsigned total)
{
    return d->len > FRAGMENT_AT_DATA && d->data[FRAGMENT_AT_INDICATOR] == FRAGMENT_INDICATOR &&
           d->data[FRAGMENT_AT_NUMBERS] == (total << 4 | index) &&
           memcmp(d->data, head, FRAGMENT_AT_INDICATOR) == 0;
}

unsigned parts_gather(const struct part *parts, unsigned count)
{
    if (count == 0 || parts[0].len < PACKET_MIN ||
        parts[0].data[FRAGMENT_AT_INDICATOR] == FRAGMENT_INDICATOR) {
        return 0;
    }
    const uint8_t *head = parts[0].data;

    if (!packet_is_fragmented(head)) {
        return 1;
    }
    if (count < 2 || parts[1].len <= FRAGMENT_AT_DATA) {
        return 0;
    }
    unsigned total = parts[1].data[FRAGMENT_AT_NUMBERS] >> 4;
    if (total < 2 || total > FRAGMENTS_MAX || total > count) {
        return 0;
    }
    for (unsigned i = 1; i < total; i++) {
        if (!is_fragment_of(&parts[i], head, i, total)) {
            return 0;
        }
    }
    return total;
}

size_t parts_packet_len(const struct part *parts, unsigned count)
{
    size_t len = parts[0].len;

    for (unsigned i = 1; i < count; i++) {
        len += parts[i].len - FRAGMENT_AT_DATA;
    }
    return len;
}

bool parts_are_adjacent(const struct part *parts, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        if (parts[i].data != parts[i - 1].data + parts[i - 1].len) {
            return false;
        }
    }
    return true;
}

/* Put the parts together in out: in ascending order, since they may lie over it. */
static void join(const struct part *parts, unsigned count, uint8_t *out)
{
    size_t at = parts[0].len;

    if (out != parts[0].data) {
        memmove(out, parts[0].data, at);
    }
    for (unsigned i = 1; i < count; i++) {
        size_t n = parts[i].len - FRAGMENT_AT_DATA;

        memmove(out + at, parts[i].data + FRAGMENT_AT_DATA, n);
        at += n;
    }
}

int parts_open(const struct part *parts, unsigned count, const struct armor_keys *keys,
               uint8_t *out)
{
    size_t len = parts_packet_len(parts, count);

    if (len > PACKET_MAX) {
        return -EBADMSG;
    }
    join(parts, count, out);
    return armor_open(out, len, keys);
}
