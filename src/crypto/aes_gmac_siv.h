/* AES-GMAC-SIV, the authenticated encryption of suite 3, one file per CPU kernel.
 *
 * The tag T binds nonce, associated data and plaintext, and is the start of the CTR keystream.
 * Whole texts use seal and open. Users whose ciphertext lies in pieces (fragments) use the steps
 * those consist of: tag, ctr (from any byte on), check. Source: spec 01 section 8.5, spec 09
 * section 6.7. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AES_KEY_LEN = 32,
    AES_BLOCK_LEN = 16,
    AES_SCHEDULE_LEN = 240,   /* 15 round keys */
    AES_SIV_NONCE_LEN = 8,    /* the packet ID chosen by the sender */
    AES_SIV_TAG_LEN = 16,     /* first half: wire packet ID, second half: MAC field */
    AES_SIV_TEXT_MAX = 65536, /* longest text; packets are far below */
    AES_BATCH = 4,            /* short texts a kernel takes at once */
    AES_BATCH_TEXT_MAX = 128, /* bytes of each */
    AES_GHASH_POWERS = 34,    /* 32 data blocks, associated data and lengths in one reduction */
    AES_GHASH_PAD = 2,        /* room behind the powers for reading them four at a time */
};

struct aes_gmac_siv;

/* The associated data, 11 bytes: destination, source, flags without hops. Numbers, not bytes, since
 * bytes just written one by one would have to reach memory before they could be read as a block. */
struct aes_aad {
    uint64_t first;  /* bytes 0 to 7, read big-endian */
    uint64_t second; /* bytes 8 to 10 likewise, in the upper 24 bits; the others are zero */
};

/* One of several texts that are sealed or opened together. */
struct aes_text {
    struct aes_aad aad;
    const uint8_t *in;                /* borrowed */
    uint8_t *out;                     /* may be in; no text overlaps another one otherwise */
    size_t len;                       /* of in and out */
    uint8_t nonce[AES_SIV_NONCE_LEN]; /* to be sealed with */
    uint8_t tag[AES_SIV_TAG_LEN];     /* result of sealing; to be opened with */
    bool authentic;                   /* result of opening */
};

/* One implementation; the functions are for aes_gmac_siv.c and for tests. */
struct aes_kernel {
    const char *name;
    unsigned needs; /* bits of enum cpu_feature */

    /* Fill everything in c but the kernel. */
    void (*init)(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                 const uint8_t k1[AES_KEY_LEN]);
    /* As aes_gmac_siv_tag. */
    void (*tag)(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                const struct aes_aad *aad, const uint8_t *text, size_t len,
                uint8_t ret_tag[AES_SIV_TAG_LEN]);
    /* True if the tag is that of this plaintext; in constant time. */
    bool (*check)(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                  const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len);
    /* XOR the keystream of this tag from block `index` on. in may be out, or overlap it from above
     * (out < in). */
    void (*ctr)(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN], uint32_t index,
                const uint8_t *in, uint8_t *out, size_t len);
    /* Two steps in one: tag and ctr; ctr and check. NULL: apart they are as good. */
    void (*seal)(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                 const struct aes_aad *aad, const uint8_t *in, size_t len, uint8_t *out,
                 uint8_t ret_tag[AES_SIV_TAG_LEN]);
    bool (*open)(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                 const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *in, size_t len, uint8_t *out);
    /* The same for AES_BATCH texts of at most AES_BATCH_TEXT_MAX bytes. NULL: one by one. */
    void (*seal4)(const struct aes_gmac_siv *c, struct aes_text texts[AES_BATCH]);
    void (*open4)(const struct aes_gmac_siv *c, struct aes_text texts[AES_BATCH]);
};

/* Keys of one pair of nodes. The form of the members is the kernel's. Constant after init, so any
 * number of threads may use it. Holds secrets: aes_gmac_siv_done. */
struct aes_gmac_siv {
    _Alignas(16) uint8_t k0[AES_SCHEDULE_LEN];     /* GMAC key; no more than malloc aligns to */
    _Alignas(16) uint8_t k1[AES_SCHEDULE_LEN];     /* CTR and tag key */
    _Alignas(16) uint8_t k1_inv[AES_SCHEDULE_LEN]; /* for the inverse cipher */
    /* Powers of the GHASH key, highest first, and the XOR of the halves of each. */
    _Alignas(16) uint8_t h[AES_GHASH_POWERS + AES_GHASH_PAD][16];
    _Alignas(16) uint8_t h_fold[AES_GHASH_POWERS + AES_GHASH_PAD][16];
    const struct aes_kernel *kernel;
};

/* The fastest kernel for these cpu_features(). */
const struct aes_kernel *aes_pick(unsigned features);

/* Build the context of keys k0 and k1 for a kernel. About 0.3 us. */
void aes_gmac_siv_init(struct aes_gmac_siv *c, const struct aes_kernel *kernel,
                       const uint8_t k0[AES_KEY_LEN], const uint8_t k1[AES_KEY_LEN]);

/* Wipe. */
void aes_gmac_siv_done(struct aes_gmac_siv *c);

/* Encrypt len bytes (at most AES_SIV_TEXT_MAX) of in to out; in may be out, else they do not
 * overlap. Nothing outside the len bytes is touched. */
void aes_gmac_siv_seal(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                       const struct aes_aad *aad, const uint8_t *in, size_t len, uint8_t *out,
                       uint8_t ret_tag[AES_SIV_TAG_LEN]);

/* Decrypt len bytes of in to out and check the tag; in may be out, or overlap it from above
 * (out < in), where a failure leaves neither. Returns 0; -EACCES not authentic: out holds in
 * again (the ciphertext), nothing of the plaintext. */
MUST_CHECK int aes_gmac_siv_open(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                                 const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *in, size_t len,
                                 uint8_t *out);

/* Seal or open count texts, each as by the functions above; short ones are faster together. */
void aes_gmac_siv_seal_batch(const struct aes_gmac_siv *c, struct aes_text *texts, size_t count);
void aes_gmac_siv_open_batch(const struct aes_gmac_siv *c, struct aes_text *texts, size_t count);

/* Step: tag of a plaintext. */
void aes_gmac_siv_tag(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                      const struct aes_aad *aad, const uint8_t *text, size_t len,
                      uint8_t ret_tag[AES_SIV_TAG_LEN]);

/* Step: XOR the keystream of this tag, from text byte `offset` on, over in into out. in may be out,
 * or overlap it from above (out < in): bytes are read before they are written over. */
void aes_gmac_siv_ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                      size_t offset, const uint8_t *in, uint8_t *out, size_t len);

/* Step: check the tag against the decrypted text, which the caller must not use before and must
 * destroy after a failure. Returns 0; -EACCES. */
MUST_CHECK int aes_gmac_siv_check(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                                  const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text,
                                  size_t len);
