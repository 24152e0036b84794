/* Poly1305, the one-time authenticator of suites 0 and 1, one file per CPU kernel.
 * Source: spec 01 section 8.3; RFC 8439 section 2.5. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    POLY1305_KEY_LEN = 32,
    POLY1305_MAC_LEN = 16,
    POLY1305_POWERS = 40, /* words a kernel may keep of powers of the key */
};

struct poly1305;

/* One implementation. */
struct poly1305_kernel {
    const char *name;
    unsigned needs; /* bits of enum cpu_feature */

    /* Fill powers for a text of len bytes; key is there. */
    void (*init)(struct poly1305 *p, size_t len);
    /* The MAC of len bytes, the same len as for init. */
    void (*mac)(const struct poly1305 *p, const uint8_t *data, size_t len,
                uint8_t ret[POLY1305_MAC_LEN]);
};

/* One key, for one text. Holds secrets: poly1305_done. */
struct poly1305 {
    _Alignas(16) uint8_t key[POLY1305_KEY_LEN];
    uint64_t powers[POLY1305_POWERS]; /* in the kernel's form */
    const struct poly1305_kernel *kernel;
};

/* The fastest kernel for these cpu_features(). */
const struct poly1305_kernel *poly1305_pick(unsigned features);

/* Set a key for a text of len bytes. What does not depend on the text is done here. */
void poly1305_init(struct poly1305 *p, const struct poly1305_kernel *kernel,
                   const uint8_t key[POLY1305_KEY_LEN], size_t len);

/* The MAC of the text. len: that of poly1305_init. */
void poly1305_mac(const struct poly1305 *p, const uint8_t *data, size_t len,
                  uint8_t ret[POLY1305_MAC_LEN]);

/* Wipe. */
void poly1305_done(struct poly1305 *p);
