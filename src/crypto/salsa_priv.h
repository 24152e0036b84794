/* What the Salsa20 kernels share. */
#pragma once

#include "crypto/salsa.h"

#include <string.h>

extern const struct salsa_kernel salsa_portable;
extern const struct salsa_kernel salsa_avx2;
extern const struct salsa_kernel salsa_avx512;

/* Write len bytes of keystream, XORed over in if that is not NULL (in may be out). */
static inline void salsa_put_bytes(const uint8_t *in, uint8_t *out, const uint8_t *keystream,
                                   size_t len)
{
    size_t i = 0;

    if (in == NULL) {
        if (len > 0) {
            /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): NULL for no bytes only */
            memcpy(out, keystream, len);
        }
        return;
    }
    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t a;
        uint64_t b;

        memcpy(&a, in + i, sizeof(a));
        memcpy(&b, keystream + i, sizeof(b));
        a ^= b;
        memcpy(out + i, &a, sizeof(a));
    }
    for (; i < len; i++) {
        out[i] = in[i] ^ keystream[i];
    }
}
