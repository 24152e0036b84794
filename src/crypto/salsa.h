/* Salsa20 stream cipher with any even number of rounds and any starting byte, one file per CPU
 * kernel. Source: spec 01 sections 2.2, 8.2, 10.2; the Salsa20 specification by D. J. Bernstein. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SALSA_KEY_LEN = 32,
    SALSA_NONCE_LEN = 8,
    SALSA_BLOCK_LEN = 64,
    SALSA_ROUNDS_PACKET = 12, /* packets and the tail of HELLO */
    SALSA_ROUNDS_HASH = 20,   /* address hash */
};

/* One implementation. */
struct salsa_kernel {
    const char *name;
    unsigned needs; /* bits of enum cpu_feature */

    /* Write len keystream bytes from the start of block `counter` on to out; when in is not NULL,
     * write in XOR keystream instead (in may be out, else they do not overlap).
     * input: the 16 words of the initial state; its counter words are ignored. */
    void (*stream)(const uint32_t input[16], unsigned rounds, uint64_t counter, const uint8_t *in,
                   uint8_t *out, size_t len);
    /* XOR len bytes made by stream before over data. */
    void (*mix)(const uint8_t *keystream, uint8_t *data, size_t len);
};

/* One key and nonce. Holds secrets: salsa_done. */
struct salsa {
    uint32_t input[16]; /* initial state, counter words zero */
    unsigned rounds;
    const struct salsa_kernel *kernel;
};

/* The fastest kernel for these cpu_features(). */
const struct salsa_kernel *salsa_pick(unsigned features);

/* Begin a stream. rounds: even, 8 to 20. */
void salsa_init(struct salsa *s, const struct salsa_kernel *kernel, unsigned rounds,
                const uint8_t key[SALSA_KEY_LEN], const uint8_t nonce[SALSA_NONCE_LEN]);

/* XOR len keystream bytes, beginning with byte `offset` of the stream, over in into out (in may be
 * out, else they do not overlap). With in NULL the bare keystream is written. */
void salsa_xor(const struct salsa *s, uint64_t offset, const uint8_t *in, uint8_t *out, size_t len);

/* Wipe. */
void salsa_done(struct salsa *s);
