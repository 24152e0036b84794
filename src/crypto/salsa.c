/* Salsa20: set-up, and whole blocks of a kernel turned into any range of bytes. */
#include "crypto/salsa.h"

#include "crypto/cpu.h"

#include <sodium.h>
#include <string.h>

static uint32_t le32_get(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

const struct salsa_kernel *salsa_pick(unsigned features)
{
    size_t i = 0;

    while ((salsa_kernels[i]->needs & ~features) != 0) {
        i++;
    }
    return salsa_kernels[i];
}

void salsa_init(struct salsa *s, const struct salsa_kernel *kernel, unsigned rounds,
                const uint8_t key[SALSA_KEY_LEN], const uint8_t nonce[SALSA_NONCE_LEN])
{
    /* The words of "expand 32-byte k" on the diagonal, the key in two halves around the nonce. */
    s->input[0] = 0x61707865;
    s->input[5] = 0x3320646e;
    s->input[10] = 0x79622d32;
    s->input[15] = 0x6b206574;
    for (size_t i = 0; i < 4; i++) {
        s->input[1 + i] = le32_get(key + 4 * i);
        s->input[11 + i] = le32_get(key + 16 + 4 * i);
    }
    s->input[6] = le32_get(nonce);
    s->input[7] = le32_get(nonce + 4);
    s->input[8] = 0;
    s->input[9] = 0;
    s->rounds = rounds;
    s->kernel = kernel;
}

/* Bytes from inside a block up to its end, or len bytes if less. Returns how many were done. */
static size_t xor_partial(const struct salsa *s, uint64_t offset, const uint8_t *in, uint8_t *out,
                          size_t len)
{
    uint8_t block[SALSA_BLOCK_LEN];
    size_t skip = (size_t)(offset % SALSA_BLOCK_LEN);
    size_t take = len < SALSA_BLOCK_LEN - skip ? len : SALSA_BLOCK_LEN - skip;

    s->kernel->stream(s->input, s->rounds, offset / SALSA_BLOCK_LEN, NULL, block, sizeof(block));
    for (size_t i = 0; in != NULL && i < take; i++) {
        block[skip + i] ^= in[i];
    }
    memcpy(out, block + skip, take);
    sodium_memzero(block, sizeof(block));
    return take;
}

void salsa_xor(const struct salsa *s, uint64_t offset, const uint8_t *in, uint8_t *out, size_t len)
{
    if (offset % SALSA_BLOCK_LEN != 0 && len > 0) {
        size_t done = xor_partial(s, offset, in, out, len);

        in = in != NULL ? in + done : NULL;
        out += done;
        len -= done;
        offset += done;
    }
    if (len > 0) {
        s->kernel->stream(s->input, s->rounds, offset / SALSA_BLOCK_LEN, in, out, len);
    }
}

void salsa_done(struct salsa *s)
{
    sodium_memzero(s, sizeof(*s));
}
