/* AES-GMAC-SIV out of the functions of a kernel. */
#include "crypto/aes_gmac_siv.h"

#include "crypto/cpu.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

const struct aes_kernel *aes_pick(unsigned features)
{
    size_t i = 0;

    while ((aes_kernels[i]->needs & ~features) != 0) {
        i++;
    }
    return aes_kernels[i];
}

void aes_gmac_siv_init(struct aes_gmac_siv *c, const struct aes_kernel *kernel,
                       const uint8_t k0[AES_KEY_LEN], const uint8_t k1[AES_KEY_LEN])
{
    memset(c, 0, sizeof(*c));
    c->kernel = kernel;
    kernel->init(c, k0, k1);
}

void aes_gmac_siv_done(struct aes_gmac_siv *c)
{
    sodium_memzero(c, sizeof(*c));
}

void aes_gmac_siv_tag(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                      const struct aes_aad *aad, const uint8_t *text, size_t len,
                      uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    c->kernel->tag(c, nonce, aad, text, len, ret_tag);
}

/* Keystream from an offset inside a block up to the block's end, or for len bytes if less. Returns
 * how many bytes were done. */
static size_t ctr_partial(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                          size_t offset, const uint8_t *in, uint8_t *out, size_t len)
{
    size_t skip = offset % AES_BLOCK_LEN;
    size_t take = len < AES_BLOCK_LEN - skip ? len : AES_BLOCK_LEN - skip;
    uint8_t block[AES_BLOCK_LEN] = {0};

    memcpy(block + skip, in, take);
    c->kernel->ctr(c, tag, (uint32_t)(offset / AES_BLOCK_LEN), block, block, sizeof(block));
    memcpy(out, block + skip, take);
    return take;
}

void aes_gmac_siv_ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                      size_t offset, const uint8_t *in, uint8_t *out, size_t len)
{
    assert(len <= AES_SIV_TEXT_MAX && offset <= AES_SIV_TEXT_MAX - len);
    if (offset % AES_BLOCK_LEN != 0 && len > 0) {
        size_t done = ctr_partial(c, tag, offset, in, out, len);

        offset += done;
        in += done;
        out += done;
        len -= done;
    }
    if (len > 0) {
        c->kernel->ctr(c, tag, (uint32_t)(offset / AES_BLOCK_LEN), in, out, len);
    }
}

int aes_gmac_siv_check(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                       const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    return c->kernel->check(c, aad, tag, text, len) ? 0 : -EACCES;
}

void aes_gmac_siv_seal(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                       const struct aes_aad *aad, const uint8_t *in, size_t len, uint8_t *out,
                       uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    uint8_t tag[AES_SIV_TAG_LEN]; /* ret_tag may lie where nonce does */

    assert(len <= AES_SIV_TEXT_MAX);
    if (c->kernel->seal != NULL) {
        c->kernel->seal(c, nonce, aad, in, len, out, tag);
    } else {
        c->kernel->tag(c, nonce, aad, in, len, tag);
        aes_gmac_siv_ctr(c, tag, 0, in, out, len);
    }
    memcpy(ret_tag, tag, sizeof(tag));
}

int aes_gmac_siv_open(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                      const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *in, size_t len,
                      uint8_t *out)
{
    bool authentic;

    assert(len <= AES_SIV_TEXT_MAX);
    if (c->kernel->open != NULL) {
        authentic = c->kernel->open(c, aad, tag, in, len, out);
    } else {
        aes_gmac_siv_ctr(c, tag, 0, in, out, len);
        authentic = c->kernel->check(c, aad, tag, out, len);
    }
    if (!authentic) {
        aes_gmac_siv_ctr(c, tag, 0, out, out, len);
        return -EACCES;
    }
    return 0;
}

/* Whether the first AES_BATCH texts can be taken at once. */
static bool are_short(const struct aes_text *texts, size_t count)
{
    if (count < AES_BATCH) {
        return false;
    }
    for (size_t i = 0; i < AES_BATCH; i++) {
        if (texts[i].len > AES_BATCH_TEXT_MAX) {
            return false;
        }
    }
    return true;
}

void aes_gmac_siv_seal_batch(const struct aes_gmac_siv *c, struct aes_text *texts, size_t count)
{
    while (count > 0) {
        size_t n = 1;

        if (c->kernel->seal4 != NULL && are_short(texts, count)) {
            c->kernel->seal4(c, texts);
            n = AES_BATCH;
        } else {
            aes_gmac_siv_seal(c, texts->nonce, &texts->aad, texts->in, texts->len, texts->out,
                              texts->tag);
        }
        texts += n;
        count -= n;
    }
}

static void open_four(const struct aes_gmac_siv *c, struct aes_text texts[AES_BATCH])
{
    c->kernel->open4(c, texts);
    for (size_t i = 0; i < AES_BATCH; i++) {
        if (!texts[i].authentic) {
            aes_gmac_siv_ctr(c, texts[i].tag, 0, texts[i].out, texts[i].out, texts[i].len);
        }
    }
}

void aes_gmac_siv_open_batch(const struct aes_gmac_siv *c, struct aes_text *texts, size_t count)
{
    while (count > 0) {
        size_t n = 1;

        if (c->kernel->open4 != NULL && are_short(texts, count)) {
            open_four(c, texts);
            n = AES_BATCH;
        } else {
            texts->authentic = aes_gmac_siv_open(c, &texts->aad, texts->tag, texts->in, texts->len,
                                                 texts->out) == 0;
        }
        texts += n;
        count -= n;
    }
}
