/* Suites 0 and 1 on Salsa20/12 and Poly1305. The keystream blocks of a short packet and
 * the block of the MAC key come from one call of the kernel, which makes several at a time anyway.
 */
#include "crypto/salsa_poly.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    AHEAD_BLOCKS = 28, /* what the widest kernel makes at a time */
    AHEAD_LEN = AHEAD_BLOCKS * SALSA_BLOCK_LEN,
};

/* The start of a keystream: MAC key, then that of the text. */
struct ahead {
    struct salsa stream;
    struct poly1305 auth;
    size_t text; /* keystream bytes of the text that are in bytes[] */
    uint8_t bytes[AHEAD_LEN];
};

/* text: bytes to be encrypted or decrypted, of the len bytes to be authenticated. */
static void ahead_init(struct ahead *a, const struct salsa_poly *kernels,
                       const uint8_t key[SALSA_KEY_LEN], const uint8_t nonce[SALSA_NONCE_LEN],
                       size_t text, size_t len)
{
    size_t want = text < AHEAD_LEN - SALSA_BLOCK_LEN ? SALSA_BLOCK_LEN + text : AHEAD_LEN;

    salsa_init(&a->stream, kernels->salsa, SALSA_ROUNDS_PACKET, key, nonce);
    salsa_xor(&a->stream, 0, NULL, a->bytes, want);
    a->text = want - SALSA_BLOCK_LEN;
    poly1305_init(&a->auth, kernels->poly1305, a->bytes, len);
}

/* The keys go; the keystream tells no more than the text, which is in memory too. */
static void ahead_done(struct ahead *a)
{
    salsa_done(&a->stream);
    poly1305_done(&a->auth);
    sodium_memzero(a->bytes, SALSA_BLOCK_LEN);
}

static void crypt(const struct ahead *a, uint8_t *data, size_t len)
{
    size_t first = len < a->text ? len : a->text;

    a->stream.kernel->mix(a->bytes + SALSA_BLOCK_LEN, data, first);
    if (len > first) {
        salsa_xor(&a->stream, SALSA_BLOCK_LEN + first, data + first, data + first, len - first);
    }
}

struct salsa_poly salsa_poly_pick(unsigned features)
{
    return (struct salsa_poly){salsa_pick(features), poly1305_pick(features)};
}

void salsa_poly_seal(const struct salsa_poly *kernels, const uint8_t key[SALSA_KEY_LEN],
                     const uint8_t nonce[SALSA_NONCE_LEN], bool encrypt, uint8_t *data, size_t len,
                     uint8_t ret_mac[SALSA_POLY_MAC_LEN])
{
    uint8_t full[POLY1305_MAC_LEN];
    struct ahead a;

    ahead_init(&a, kernels, key, nonce, encrypt ? len : 0, len);
    if (encrypt) {
        crypt(&a, data, len);
    }
    poly1305_mac(&a.auth, data, len, full);
    memcpy(ret_mac, full, SALSA_POLY_MAC_LEN);
    ahead_done(&a);
}

int salsa_poly_open(const struct salsa_poly *kernels, const uint8_t key[SALSA_KEY_LEN],
                    const uint8_t nonce[SALSA_NONCE_LEN], bool encrypted, uint8_t *data, size_t len,
                    const uint8_t mac[SALSA_POLY_MAC_LEN])
{
    uint8_t full[POLY1305_MAC_LEN];
    struct ahead a;
    int r = 0;

    ahead_init(&a, kernels, key, nonce, encrypted ? len : 0, len);
    poly1305_mac(&a.auth, data, len, full);
    if (sodium_memcmp(full, mac, SALSA_POLY_MAC_LEN) != 0) {
        r = -EACCES;
    } else if (encrypted) {
        crypt(&a, data, len);
    }
    ahead_done(&a);
    return r;
}
