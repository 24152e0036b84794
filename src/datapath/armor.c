/* Packet armor. Source: spec 01 sections 8.2 to 8.6, 10.2. */
#include "datapath/armor.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "crypto/sha.h"
#include "datapath/armor_priv.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    KEY_LABEL_GMAC = '0', /* k0 */
    KEY_LABEL_CTR = '1',  /* k1 */
    /* Bytes 0 to 18 of the header and the size are mixed into the key of suites 0 and 1. */
    MANGLED_LEN = PACKET_AT_FLAGS + 3,
    HELLO_NONCE_MASK = 0xf8, /* of the last nonce byte */
};

void armor_keys_init(struct armor_keys *keys, const uint8_t secret[SHARED_KEY_LEN])
{
    unsigned features = cpu_features();
    uint8_t k0[SHA384_LEN];
    uint8_t k1[SHA384_LEN];

    memcpy(keys->secret, secret, SHARED_KEY_LEN);
    keys->salsa_poly = salsa_poly_pick(features);
    kbkdf(secret, KEY_LABEL_GMAC, 0, 0, k0);
    kbkdf(secret, KEY_LABEL_CTR, 0, 0, k1);
    aes_gmac_siv_init(&keys->aes, aes_pick(features), k0, k1);
    sodium_memzero(k0, sizeof(k0));
    sodium_memzero(k1, sizeof(k1));
}

void armor_keys_done(struct armor_keys *keys)
{
    sodium_memzero(keys, sizeof(*keys));
}

/* Key of one packet of suites 0 and 1. */
static void mangle_key(const uint8_t *pkt, size_t len, const struct armor_keys *keys,
                       uint8_t ret[SALSA_KEY_LEN])
{
    uint8_t mix[MANGLED_LEN];

    memcpy(mix, pkt, PACKET_AT_FLAGS);
    mix[PACKET_AT_FLAGS] = pkt[PACKET_AT_FLAGS] & (uint8_t)~PACKET_HOPS_MASK;
    mix[PACKET_AT_FLAGS + 1] = (uint8_t)len;
    mix[PACKET_AT_FLAGS + 2] = (uint8_t)(len >> 8);
    memcpy(ret, keys->secret, SALSA_KEY_LEN);
    for (size_t i = 0; i < MANGLED_LEN; i++) {
        ret[i] ^= mix[i];
    }
}

static void seal_siv(uint8_t *pkt, size_t len, const struct armor_keys *keys)
{
    const struct aes_aad aad = siv_aad(pkt);
    uint8_t tag[AES_SIV_TAG_LEN];

    aes_gmac_siv_seal(&keys->aes, pkt + PACKET_AT_ID, &aad, pkt + PACKET_AT_VERB,
                      len - PACKET_AT_VERB, pkt + PACKET_AT_VERB, tag);
    siv_put_tag(pkt, tag);
}

static int open_siv(uint8_t *pkt, size_t len, const struct armor_keys *keys)
{
    const struct aes_aad aad = siv_aad(pkt);
    uint8_t tag[AES_SIV_TAG_LEN];

    siv_get_tag(pkt, tag);
    return aes_gmac_siv_open(&keys->aes, &aad, tag, pkt + PACKET_AT_VERB, len - PACKET_AT_VERB,
                             pkt + PACKET_AT_VERB);
}

void armor_seal(uint8_t *pkt, size_t len, enum cipher_suite suite, const struct armor_keys *keys)
{
    uint8_t key[SALSA_KEY_LEN];

    assert(len >= PACKET_MIN && len <= PACKET_MAX);
    assert(suite == SUITE_POLY1305 || suite == SUITE_SALSA_POLY1305 || suite == SUITE_AES_GMAC_SIV);
    packet_set_suite(pkt, suite);
    if (suite == SUITE_AES_GMAC_SIV) {
        seal_siv(pkt, len, keys);
        return;
    }
    mangle_key(pkt, len, keys, key);
    salsa_poly_seal(&keys->salsa_poly, key, pkt + PACKET_AT_ID, suite == SUITE_SALSA_POLY1305,
                    pkt + PACKET_AT_VERB, len - PACKET_AT_VERB, pkt + PACKET_AT_MAC);
    sodium_memzero(key, sizeof(key));
}

void armor_seal_trusted(uint8_t *pkt, uint64_t trusted_id)
{
    assert(trusted_id != 0);
    packet_set_suite(pkt, SUITE_TRUSTED);
    be64_put(pkt + PACKET_AT_MAC, trusted_id);
}

int armor_open(uint8_t *pkt, size_t len, const struct armor_keys *keys)
{
    uint8_t key[SALSA_KEY_LEN];
    unsigned suite;
    int r;

    if (len < PACKET_MIN || len > PACKET_MAX) {
        return -EBADMSG;
    }
    suite = packet_suite(pkt);
    if (suite == SUITE_AES_GMAC_SIV) {
        return open_siv(pkt, len, keys);
    }
    if (suite != SUITE_POLY1305 && suite != SUITE_SALSA_POLY1305) {
        return -EACCES;
    }
    mangle_key(pkt, len, keys, key);
    r = salsa_poly_open(&keys->salsa_poly, key, pkt + PACKET_AT_ID, suite == SUITE_SALSA_POLY1305,
                        pkt + PACKET_AT_VERB, len - PACKET_AT_VERB, pkt + PACKET_AT_MAC);
    sodium_memzero(key, sizeof(key));
    return r;
}

void hello_mask(uint8_t *pkt, size_t len, size_t start, const struct armor_keys *keys)
{
    uint8_t nonce[SALSA_NONCE_LEN];
    struct salsa s;

    assert(start >= PACKET_AT_PAYLOAD && start <= len);
    memcpy(nonce, pkt + PACKET_AT_ID, sizeof(nonce));
    nonce[SALSA_NONCE_LEN - 1] &= HELLO_NONCE_MASK;
    salsa_init(&s, keys->salsa_poly.salsa, SALSA_ROUNDS_PACKET, keys->secret, nonce);
    salsa_xor(&s, 0, pkt + start, pkt + start, len - start);
    salsa_done(&s);
}
