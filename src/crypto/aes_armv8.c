/* AES-GMAC-SIV kernel for the AES and PMULL instructions of ARMv8. CTR runs eight blocks side by
 * side; GHASH adds up the products of up to 34 blocks with as many powers of the key before one
 * reduction, in the form aes_aesni.c has. Compiled with these instructions switched on, so nothing
 * here may run without them. Source: spec 01 section 8.5, spec 09 section 6.7. */
#include "crypto/aes_priv.h"
#include "crypto/cpu.h"

#include <arm_neon.h>
#include <string.h>

enum {
    WIDTH = 8,
    WORDS = AES_SCHEDULE_LEN / 4,
    KEY_WORDS = AES_KEY_LEN / 4,
};

static const uint64_t GHASH_POLY = 0xc200000000000000; /* reversed, without its two ends */

static inline uint8x16_t round_key(const uint8_t *schedule, size_t round)
{
    return vld1q_u8(schedule + round * AES_BLOCK_LEN);
}

static inline uint64_t le64_load(const uint8_t *p)
{
    return vget_lane_u64(vreinterpret_u64_u8(vld1_u8(p)), 0);
}

static inline uint64x2_t pair(uint64_t low, uint64_t high)
{
    return vcombine_u64(vcreate_u64(low), vcreate_u64(high));
}

static inline uint64x2_t swap_halves(uint64x2_t v)
{
    return vextq_u64(v, v, 1);
}

/* All 16 bytes in the opposite order. */
static inline uint64x2_t reverse(uint8x16_t v)
{
    return swap_halves(vreinterpretq_u64_u8(vrev64q_u8(v)));
}

static inline uint8x16_t encrypt(const uint8_t *schedule, uint8x16_t v)
{
#pragma GCC unroll 13
    for (size_t i = 0; i < AES_ROUND_KEYS - 2; i++) {
        v = vaesmcq_u8(vaeseq_u8(v, round_key(schedule, i)));
    }
    v = vaeseq_u8(v, round_key(schedule, AES_ROUND_KEYS - 2));
    return veorq_u8(v, round_key(schedule, AES_ROUND_KEYS - 1));
}

/* The inverse cipher, with its own schedule. */
static inline uint8x16_t decrypt(const uint8_t *inverse, uint8x16_t v)
{
#pragma GCC unroll 13
    for (size_t i = AES_ROUND_KEYS - 1; i > 1; i--) {
        v = vaesimcq_u8(vaesdq_u8(v, round_key(inverse, i)));
    }
    v = vaesdq_u8(v, round_key(inverse, 1));
    return veorq_u8(v, round_key(inverse, 0));
}

/* The S-box on four bytes: with equal columns the shift of rows changes nothing. */
static inline uint32_t substitute(uint32_t word)
{
    uint8x16_t v = vaeseq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), vdupq_n_u8(0));

    return vgetq_lane_u32(vreinterpretq_u32_u8(v), 0);
}

/* FIPS 197 section 5.2, with words read little-endian. */
static void expand_key(const uint8_t key[AES_KEY_LEN], uint8_t schedule[AES_SCHEDULE_LEN])
{
    uint32_t w[WORDS];
    uint32_t constant = 1;

    memcpy(w, key, AES_KEY_LEN);
    for (size_t i = KEY_WORDS; i < WORDS; i++) {
        uint32_t word = w[i - 1];

        if (i % KEY_WORDS == 0) {
            word = substitute(word >> 8 | word << 24) ^ constant;
            constant <<= 1; /* seven are used: none leaves its byte */
        } else if (i % KEY_WORDS == KEY_WORDS / 2) {
            word = substitute(word);
        }
        w[i] = w[i - KEY_WORDS] ^ word;
    }
    memcpy(schedule, w, sizeof(w));
}

static void invert_schedule(const uint8_t *schedule, uint8_t *inverse)
{
    memcpy(inverse, schedule, AES_SCHEDULE_LEN);
    for (size_t i = 1; i < AES_ROUND_KEYS - 1; i++) {
        vst1q_u8(inverse + i * AES_BLOCK_LEN, vaesimcq_u8(round_key(schedule, i)));
    }
}

/* A product being summed: 256 bits with the middle part apart (Karatsuba). */
struct product {
    uint64x2_t low;
    uint64x2_t middle;
    uint64x2_t high;
};

static inline struct product product_zero(void)
{
    uint64x2_t zero = vdupq_n_u64(0);

    return (struct product){zero, zero, zero};
}

static inline uint64x2_t multiply(uint64_t a, uint64_t b)
{
    return vreinterpretq_u64_p128(vmull_p64((poly64_t)a, (poly64_t)b));
}

static inline uint64x2_t multiply_high(uint64x2_t a, uint64x2_t b)
{
    return vreinterpretq_u64_p128(
        vmull_high_p64(vreinterpretq_p64_u64(a), vreinterpretq_p64_u64(b)));
}

/* The XOR of the halves, in both halves. */
static inline uint64x2_t fold(uint64x2_t v)
{
    return veorq_u64(v, swap_halves(v));
}

static inline void product_add(struct product *p, uint64x2_t block, const uint8_t *h,
                               const uint8_t *h_fold)
{
    uint64x2_t power = vreinterpretq_u64_u8(vld1q_u8(h));
    uint64x2_t power_fold = vreinterpretq_u64_u8(vld1q_u8(h_fold));

    p->low = veorq_u64(p->low, multiply(vgetq_lane_u64(block, 0), vgetq_lane_u64(power, 0)));
    p->high = veorq_u64(p->high, multiply_high(block, power));
    p->middle = veorq_u64(p->middle, multiply_high(fold(block), power_fold));
}

/* The powers carry a factor x (see init_powers), so the product needs no shift: two folds of the
 * low 64 bits by the reversed polynomial and what is left is the upper half. */
static inline uint64x2_t product_reduce(const struct product *p)
{
    const uint64x2_t zero = vdupq_n_u64(0);
    uint64x2_t middle = veorq_u64(p->middle, veorq_u64(p->low, p->high));
    uint64x2_t low = veorq_u64(p->low, vextq_u64(zero, middle, 1));
    uint64x2_t high = veorq_u64(p->high, vextq_u64(middle, zero, 1));

    low = veorq_u64(swap_halves(low), multiply(vgetq_lane_u64(low, 0), GHASH_POLY));
    low = veorq_u64(swap_halves(low), multiply(vgetq_lane_u64(low, 0), GHASH_POLY));
    return veorq_u64(high, low);
}

static inline void set_power(struct aes_gmac_siv *c, size_t at, uint64x2_t power)
{
    vst1q_u8(c->h[at], vreinterpretq_u8_u64(power));
    vst1q_u8(c->h_fold[at], vreinterpretq_u8_u64(fold(power)));
}

/* The GHASH key times x in the reversed field, then its powers. */
static void init_powers(struct aes_gmac_siv *c)
{
    const size_t last = AES_GHASH_POWERS - 1;
    uint64x2_t h = reverse(encrypt(c->k0, vdupq_n_u8(0)));
    uint64_t low = vgetq_lane_u64(h, 0);
    uint64_t high = vgetq_lane_u64(h, 1);
    uint64_t carry = 0 - (high >> 63);

    h = pair((low << 1) ^ (carry & 1), (high << 1 | low >> 63) ^ (carry & GHASH_POLY));
    set_power(c, last, h);
    for (size_t i = last; i > 0; i--) {
        struct product p = product_zero();

        product_add(&p, h, c->h[last], c->h_fold[last]);
        h = product_reduce(&p);
        set_power(c, i - 1, h);
    }
}

static void init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                 const uint8_t k1[AES_KEY_LEN])
{
    expand_key(k0, c->k0);
    expand_key(k1, c->k1);
    invert_schedule(c->k1, c->k1_inv);
    init_powers(c);
}

/* A GHASH under way. Blocks are taken in runs that share a reduction; `next` is the power of the
 * next block, the last block of a run taking H itself. */
struct ghash {
    const struct aes_gmac_siv *c;
    struct product sum;
    uint64x2_t state; /* to be XORed into the next block */
    size_t next;      /* index in c->h */
    size_t left;      /* blocks after this run */
};

/* Begin a run: all that is left if it fits, else 32. */
static inline void run_begin(struct ghash *g)
{
    size_t n = g->left <= AES_GHASH_POWERS ? g->left : AES_GHASH_POWERS - 2;

    g->next = AES_GHASH_POWERS - n;
    g->left -= n;
    g->sum = product_zero();
}

/* One block; the next run begins when this one has all its blocks. */
static inline void ghash_block(struct ghash *g, uint64x2_t block)
{
    product_add(&g->sum, veorq_u64(block, g->state), g->c->h[g->next], g->c->h_fold[g->next]);
    g->state = vdupq_n_u64(0);
    g->next++;
    if (g->next == AES_GHASH_POWERS) {
        g->state = product_reduce(&g->sum);
        run_begin(g);
    }
}

static inline void ghash_data(struct ghash *g, const uint8_t *data, size_t len)
{
    uint8_t last[AES_BLOCK_LEN] = {0};

    while (len >= AES_BLOCK_LEN) {
        size_t run = AES_GHASH_POWERS - g->next;
        size_t n = len / AES_BLOCK_LEN < run ? len / AES_BLOCK_LEN : run;

        /* All but the last block of a run. */
        for (size_t i = 1; i < n; i++) {
            product_add(&g->sum, veorq_u64(reverse(vld1q_u8(data)), g->state), g->c->h[g->next],
                        g->c->h_fold[g->next]);
            g->state = vdupq_n_u64(0);
            g->next++;
            data += AES_BLOCK_LEN;
        }
        ghash_block(g, reverse(vld1q_u8(data)));
        data += AES_BLOCK_LEN;
        len -= n * AES_BLOCK_LEN;
    }
    if (len > 0) {
        memcpy(last, data, len);
        ghash_block(g, reverse(vld1q_u8(last)));
    }
}

/* The folded GMAC (8 bytes) of associated data and text. */
static inline uint64_t gmac(const struct aes_gmac_siv *c, uint64_t nonce, const struct aes_aad *aad,
                            const uint8_t *text, size_t len)
{
    struct ghash g = {.c = c, .state = vdupq_n_u64(0), .left = aes_count_blocks(len) + 2};
    uint8x16_t mask = encrypt(c->k0, vreinterpretq_u8_u64(pair(nonce, 1ULL << 56)));
    uint64x2_t sum;

    run_begin(&g);
    ghash_block(&g, pair(aad->second, aad->first));
    ghash_data(&g, text, len);
    ghash_block(&g, pair(0, (AES_BLOCK_LEN + len) * 8));
    sum = reverse(vreinterpretq_u8_u64(g.state));
    return vgetq_lane_u64(fold(veorq_u64(sum, vreinterpretq_u64_u8(mask))), 0);
}

static void tag_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                     const struct aes_aad *aad, const uint8_t *text, size_t len,
                     uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    uint64_t id = le64_load(nonce);
    uint64_t sum = gmac(c, id, aad, text, len);

    vst1q_u8(ret_tag, encrypt(c->k1, vreinterpretq_u8_u64(pair(id, sum))));
}

static bool check_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                       const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    uint64x2_t want = vreinterpretq_u64_u8(decrypt(c->k1_inv, vld1q_u8(tag)));
    uint64_t sum = gmac(c, vgetq_lane_u64(want, 0), aad, text, len);

    /* One comparison of whole words: constant time. */
    return (sum ^ vgetq_lane_u64(want, 1)) == 0;
}

/* Keystream of n blocks, a constant up to WIDTH, from the counter on. */
static inline __attribute__((always_inline)) void
keystream(const uint8_t *schedule, uint32x4_t start, uint32_t counter, uint8x16_t *k, size_t n)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < n; i++) {
        uint32_t big_endian = __builtin_bswap32(counter + (uint32_t)i);

        k[i] = vreinterpretq_u8_u32(vsetq_lane_u32(big_endian, start, 3));
    }
#pragma GCC unroll 13
    for (size_t round = 0; round < AES_ROUND_KEYS - 2; round++) {
        uint8x16_t key = round_key(schedule, round);

#pragma GCC unroll 8
        for (size_t i = 0; i < n; i++) {
            k[i] = vaesmcq_u8(vaeseq_u8(k[i], key));
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < n; i++) {
        k[i] = vaeseq_u8(k[i], round_key(schedule, AES_ROUND_KEYS - 2));
        k[i] = veorq_u8(k[i], round_key(schedule, AES_ROUND_KEYS - 1));
    }
}

/* Fewer than WIDTH blocks, the last maybe not whole. */
static inline void xor_tail(const uint8x16_t *k, const uint8_t *in, uint8_t *out, size_t len)
{
    size_t i = 0;

    for (; len >= AES_BLOCK_LEN; i++) {
        vst1q_u8(out, veorq_u8(vld1q_u8(in), k[i]));
        in += AES_BLOCK_LEN;
        out += AES_BLOCK_LEN;
        len -= AES_BLOCK_LEN;
    }
    if (len > 0) {
        uint8_t last[AES_BLOCK_LEN] = {0};

        memcpy(last, in, len);
        vst1q_u8(last, veorq_u8(vld1q_u8(last), k[i]));
        memcpy(out, last, len);
    }
}

/* With the top bit of the 32-bit counter clear no carry can leave it. */
static void ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN], uint32_t index,
                const uint8_t *in, uint8_t *out, size_t len)
{
    uint32x4_t start = vreinterpretq_u32_u8(vld1q_u8(tag));
    uint32_t counter = (__builtin_bswap32(vgetq_lane_u32(start, 3)) & 0x7fffffff) + index;
    uint8x16_t k[WIDTH];

    while (len >= (size_t)WIDTH * AES_BLOCK_LEN) {
        keystream(c->k1, start, counter, k, WIDTH);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            vst1q_u8(out, veorq_u8(vld1q_u8(in), k[i]));
            in += AES_BLOCK_LEN;
            out += AES_BLOCK_LEN;
        }
        counter += WIDTH;
        len -= (size_t)WIDTH * AES_BLOCK_LEN;
    }
    if (len > (size_t)WIDTH / 2 * AES_BLOCK_LEN) {
        keystream(c->k1, start, counter, k, WIDTH);
        xor_tail(k, in, out, len);
    } else if (len > 0) {
        keystream(c->k1, start, counter, k, WIDTH / 2);
        xor_tail(k, in, out, len);
    }
}

const struct aes_kernel aes_armv8 = {
    .name = "armv8",
    .needs = CPU_AES,
    .init = init,
    .tag = tag_text,
    .check = check_text,
    .ctr = ctr,
};
