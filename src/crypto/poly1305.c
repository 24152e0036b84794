/* Poly1305: choice of the kernel, and the portable one, which is libsodium's. */
#include "crypto/poly1305.h"

#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"

#include <sodium.h>
#include <string.h>

const struct poly1305_kernel *poly1305_pick(unsigned features)
{
    size_t i = 0;

    while ((poly1305_kernels[i]->needs & ~features) != 0) {
        i++;
    }
    return poly1305_kernels[i];
}

void poly1305_init(struct poly1305 *p, const struct poly1305_kernel *kernel,
                   const uint8_t key[POLY1305_KEY_LEN], size_t len)
{
    memcpy(p->key, key, POLY1305_KEY_LEN);
    p->kernel = kernel;
    kernel->init(p, len);
}

void poly1305_mac(const struct poly1305 *p, const uint8_t *data, size_t len,
                  uint8_t ret[POLY1305_MAC_LEN])
{
    p->kernel->mac(p, data, len, ret);
}

void poly1305_done(struct poly1305 *p)
{
    sodium_memzero(p, sizeof(*p));
}

static void init_portable(struct poly1305 *p, size_t len)
{
    (void)p;
    (void)len;
}

static void mac_portable(const struct poly1305 *p, const uint8_t *data, size_t len,
                         uint8_t ret[POLY1305_MAC_LEN])
{
    crypto_onetimeauth_poly1305(ret, data, len, p->key);
}

const struct poly1305_kernel poly1305_portable = {
    .name = "portable", .init = init_portable, .mac = mac_portable};
