/* Suites 0 and 1 on Salsa20/12 and libsodium's Poly1305. The keystream blocks of a short packet and
 * the block of the MAC key come from one call of the kernel, which makes several at a time anyway.
 */
#include "crypto/salsa_poly.h"

#include "crypto/salsa_priv.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    AHEAD_BLOCKS = 16, /* the width of the widest kernel */
    AHEAD_LEN = AHEAD_BLOCKS * SALSA_BLOCK_LEN,
};

/* The start of a keystream: MAC key, then that of the text. */
struct ahead {
    struct salsa stream;
    size_t text; /* keystream bytes of the text that are in bytes[] */
    uint8_t bytes[AHEAD_LEN];
};

static void ahead_init(struct ahead *a, const struct salsa_kernel *kernel,
                       const uint8_t key[SALSA_KEY_LEN], const uint8_t nonce[SALSA_NONCE_LEN],
                       size_t text)
{
    size_t want = text < AHEAD_LEN - SALSA_BLOCK_LEN ? SALSA_BLOCK_LEN + text : AHEAD_LEN;

    salsa_init(&a->stream, kernel, SALSA_ROUNDS_PACKET, key, nonce);
    salsa_xor(&a->stream, 0, NULL, a->bytes, want);
    a->text = want - SALSA_BLOCK_LEN;
}

static void ahead_done(struct ahead *a)
{
    sodium_memzero(a, sizeof(*a));
}

static void crypt(const struct ahead *a, uint8_t *data, size_t len)
{
    size_t first = len < a->text ? len : a->text;
    const uint8_t *keystream = a->bytes + SALSA_BLOCK_LEN;

    salsa_put_bytes(data, data, keystream, first);
    if (len > first) {
        salsa_xor(&a->stream, SALSA_BLOCK_LEN + first, data + first, data + first, len - first);
    }
}

static void mac(const struct ahead *a, const uint8_t *data, size_t len,
                uint8_t ret[crypto_onetimeauth_poly1305_BYTES])
{
    crypto_onetimeauth_poly1305(ret, data, len, a->bytes);
}

void salsa_poly_seal(const struct salsa_kernel *kernel, const uint8_t key[SALSA_KEY_LEN],
                     const uint8_t nonce[SALSA_NONCE_LEN], bool encrypt, uint8_t *data, size_t len,
                     uint8_t ret_mac[SALSA_POLY_MAC_LEN])
{
    uint8_t full[crypto_onetimeauth_poly1305_BYTES];
    struct ahead a;

    ahead_init(&a, kernel, key, nonce, encrypt ? len : 0);
    if (encrypt) {
        crypt(&a, data, len);
    }
    mac(&a, data, len, full);
    memcpy(ret_mac, full, SALSA_POLY_MAC_LEN);
    ahead_done(&a);
}

int salsa_poly_open(const struct salsa_kernel *kernel, const uint8_t key[SALSA_KEY_LEN],
                    const uint8_t nonce[SALSA_NONCE_LEN], bool encrypted, uint8_t *data, size_t len,
                    const uint8_t mac_in[SALSA_POLY_MAC_LEN])
{
    uint8_t full[crypto_onetimeauth_poly1305_BYTES];
    struct ahead a;
    int r = 0;

    ahead_init(&a, kernel, key, nonce, encrypted ? len : 0);
    mac(&a, data, len, full);
    if (sodium_memcmp(full, mac_in, SALSA_POLY_MAC_LEN) != 0) {
        r = -EACCES;
    } else if (encrypted) {
        crypt(&a, data, len);
    }
    ahead_done(&a);
    return r;
}
