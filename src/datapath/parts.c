/* Sealing into datagrams and opening out of them. The cipher of suite 3 works on blocks of 16 bytes
 * and a fragment header is 16 bytes, too: the block that straddles a cut is enciphered twice, once
 * to each side of the header, and the header is written over the overlap. Suites 0 and 1 are sealed
 * in one piece and copied. Source: spec 09 sections 6.3 (item 5) and 6.5. */
#include "datapath/parts.h"

#include "base/cursor.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The header bytes suite 3 authenticates: destination, source, flags without hops. */
static void siv_aad(const uint8_t *pkt, uint8_t ret[AES_SIV_AAD_LEN])
{
    memcpy(ret, pkt + PACKET_AT_DEST, AES_SIV_AAD_LEN);
    ret[AES_SIV_AAD_LEN - 1] &= (uint8_t)~PACKET_HOPS_MASK;
}

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
    uint8_t aad[AES_SIV_AAD_LEN];
    uint8_t tag[AES_SIV_TAG_LEN];
    uint8_t *out = layout->datagrams[0];
    size_t from = 0; /* text bytes of this datagram: from..to */
    size_t to = layout->size - PACKET_AT_VERB;

    siv_aad(pkt, aad);
    aes_gmac_siv_tag(&keys->aes, pkt + PACKET_AT_ID, aad, text, text_len, tag);
    memcpy(out + PACKET_AT_ID, tag, 8);
    memcpy(out + PACKET_AT_DEST, pkt + PACKET_AT_DEST, PACKET_AT_MAC - PACKET_AT_DEST);
    memcpy(out + PACKET_AT_MAC, tag + 8, 8);
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

/* Decipher the text of all parts to out, in ascending order: where out lies over the parts, each
 * byte is read before it is overwritten. */
static void ctr_parts(const struct part *parts, unsigned count, const struct aes_gmac_siv *aes,
                      const uint8_t tag[AES_SIV_TAG_LEN], uint8_t *out)
{
    uint8_t block[AES_BLOCK_LEN]; /* one that straddles a cut */
    size_t have = 0;
    size_t done = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t skip = i == 0 ? PACKET_AT_VERB : FRAGMENT_AT_DATA;
        const uint8_t *in = parts[i].data + skip;
        size_t len = parts[i].len - skip;

        if (have > 0) {
            size_t take = len < sizeof(block) - have ? len : sizeof(block) - have;

            memcpy(block + have, in, take);
            have += take;
            in += take;
            len -= take;
            if (have < sizeof(block)) {
                continue;
            }
            aes_gmac_siv_ctr(aes, tag, done, block, out + done, sizeof(block));
            done += sizeof(block);
        }
        have = i + 1 < count ? len - block_floor(len) : 0;
        memcpy(block, in + len - have, have);
        aes_gmac_siv_ctr(aes, tag, done, in, out + done, len - have);
        done += len - have;
    }
    aes_gmac_siv_ctr(aes, tag, done, block, out + done, have);
}

static int open_siv(const struct part *parts, unsigned count, const struct armor_keys *keys,
                    uint8_t *out, size_t len)
{
    uint8_t aad[AES_SIV_AAD_LEN];
    uint8_t tag[AES_SIV_TAG_LEN];

    memmove(out, parts[0].data, PACKET_AT_VERB);
    siv_aad(out, aad);
    memcpy(tag, out + PACKET_AT_ID, 8);
    memcpy(tag + 8, out + PACKET_AT_MAC, 8);
    ctr_parts(parts, count, &keys->aes, tag, out + PACKET_AT_VERB);
    return aes_gmac_siv_check(&keys->aes, aad, tag, out + PACKET_AT_VERB, len - PACKET_AT_VERB);
}

int parts_open(const struct part *parts, unsigned count, const struct armor_keys *keys,
               uint8_t *out)
{
    size_t len = parts_packet_len(parts, count);
    size_t at = parts[0].len;

    if (len > PACKET_MAX) {
        return -EBADMSG;
    }
    if (packet_suite(parts[0].data) == SUITE_AES_GMAC_SIV) {
        return open_siv(parts, count, keys, out, len);
    }
    memmove(out, parts[0].data, at);
    for (unsigned i = 1; i < count; i++) {
        memmove(out + at, parts[i].data + FRAGMENT_AT_DATA, parts[i].len - FRAGMENT_AT_DATA);
        at += parts[i].len - FRAGMENT_AT_DATA;
    }
    return armor_open(out, len, keys);
}
