/* AES-GMAC-SIV kernel for any processor, in constant time: no table is indexed and no branch is
 * taken by secret data.
 *
 * AES is bit-sliced: word j of eight holds bit j of all 64 bytes of four blocks, byte r + 4 c of
 * block b at bit 16 b + r + 4 c; and two such words side by side make a compiler vector. GHASH
 * multiplies with ordinary integer multiplications whose operands have holes between the bits, so
 * that carries do not reach the next bit used. Source: FIPS 197, NIST SP 800-38D; S-box circuit:
 * Boyar and Peralta, "A small depth-16 circuit for the AES S-box" (2011); multiplication with
 * holes: T. Pornin, "Constant-time mul" (2016). */
#include "base/cursor.h"
#include "crypto/aes_priv.h"

#include <sodium.h>
#include <string.h>

enum {
    LANES = 2,
    SLICE_BLOCKS = 4 * LANES,
    SLICE_LEN = SLICE_BLOCKS * AES_BLOCK_LEN,
};

/* One bit of all bytes of a slice. */
typedef uint64_t plane __attribute__((vector_size(8 * LANES)));

static uint64_t le64_get(const uint8_t *p)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

static void le64_put(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

/* Exchange the bits of x under mask with those `shift` higher. */
static inline plane swap_bits(plane x, int shift, uint64_t mask)
{
    plane t = (x ^ (x >> shift)) & mask;

    return x ^ t ^ (t << shift);
}

/* Transpose the 8 x 8 bits of each word (byte, bit). Its own inverse. */
static inline plane transpose_bits(plane x)
{
    x = swap_bits(x, 7, 0x00aa00aa00aa00aa);
    x = swap_bits(x, 14, 0x0000cccc0000cccc);
    return swap_bits(x, 28, 0x00000000f0f0f0f0);
}

/* Transpose the 8 x 8 bytes of eight words. Its own inverse. */
static inline void transpose_bytes(plane w[8])
{
    static const uint64_t masks[3] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};

#pragma GCC unroll 3
    for (unsigned level = 0; level < 3; level++) {
        size_t step = (size_t)1 << level;
        int shift = 8 << level;

#pragma GCC unroll 8
        for (size_t i = 0; i < 8; i++) {
            if ((i & step) == 0) {
                plane t = ((w[i] >> shift) ^ w[i + step]) & masks[level];

                w[i + step] ^= t;
                w[i] ^= t << shift;
            }
        }
    }
}

static void slice(const uint8_t in[SLICE_LEN], plane q[8])
{
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
#pragma GCC unroll 2
        for (size_t lane = 0; lane < LANES; lane++) {
            q[i][lane] = le64_get(in + 64 * lane + 8 * i);
        }
        q[i] = transpose_bits(q[i]);
    }
    transpose_bytes(q);
}

static void unslice(plane q[8], uint8_t out[SLICE_LEN])
{
    transpose_bytes(q);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        plane words = transpose_bits(q[i]);

#pragma GCC unroll 2
        for (size_t lane = 0; lane < LANES; lane++) {
            le64_put(out + 64 * lane + 8 * i, words[lane]);
        }
    }
}

/* The Boyar-Peralta circuit with the names of the paper; x0 is the highest bit. */
static inline void sbox(plane q[8])
{
    plane x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4];
    plane x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];

    /* Top linear layer. */
    plane y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5;
    plane t0 = x1 ^ x2;
    plane y1 = t0 ^ x7;
    plane y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6;
    plane y3 = y5 ^ y8;
    plane t1 = x4 ^ y12;
    plane y15 = t1 ^ x5, y20 = t1 ^ x1;
    plane y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9;
    plane y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11;
    plane y21 = y13 ^ y16, y18 = x0 ^ y16;

    /* Inversion in GF(2^8) as a tower of fields. */
    plane t2 = y12 & y15, t3 = y3 & y6, t5 = y4 & x7, t7 = y13 & y16;
    plane t8 = y5 & y1, t10 = y2 & y7, t12 = y9 & y11, t13 = y14 & y17, t15 = y8 & y10;
    plane t4 = t3 ^ t2, t6 = t5 ^ t2, t9 = t8 ^ t7, t11 = t10 ^ t7;
    plane t14 = t13 ^ t12, t16 = t15 ^ t12;
    plane t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16;
    plane t21 = t17 ^ y20, t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18;
    plane t25 = t21 ^ t22, t26 = t21 & t23;
    plane t27 = t24 ^ t26;
    plane t28 = t25 & t27;
    plane t29 = t28 ^ t22, t30 = t23 ^ t24, t31 = t22 ^ t26;
    plane t32 = t31 & t30;
    plane t33 = t32 ^ t24;
    plane t34 = t23 ^ t33, t35 = t27 ^ t33;
    plane t36 = t24 & t35;
    plane t37 = t36 ^ t34, t38 = t27 ^ t36;
    plane t39 = t29 & t38;
    plane t40 = t25 ^ t39;
    plane t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
    plane t45 = t42 ^ t41;
    plane z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1;
    plane z5 = t29 & y7, z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12;
    plane z10 = t37 & y3, z11 = t33 & y4, z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2;
    plane z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

    /* Bottom linear layer, with the affine part. */
    plane t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12;
    plane t51 = z2 ^ z5, t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17;
    plane t56 = z12 ^ t48, t57 = t50 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ t54;
    plane t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58;
    plane t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63;
    plane t67 = t64 ^ t65;
    plane s3 = t53 ^ t66;

    q[7] = t59 ^ t63;
    q[6] = t64 ^ ~s3;
    q[5] = t55 ^ ~t67;
    q[4] = s3;
    q[3] = t51 ^ t66;
    q[2] = t47 ^ t65;
    q[1] = t56 ^ ~t62;
    q[0] = t48 ^ ~t60;
}

/* Inverse of the affine map of the S-box. The S-box being affine(inverse(x)), its inverse is
 * unaffine(S-box(unaffine(x))). */
static inline void unaffine(plane q[8])
{
    plane p[8];

    memcpy(p, q, sizeof(p));
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        q[i] = p[(i + 2) % 8] ^ p[(i + 5) % 8] ^ p[(i + 7) % 8];
    }
    q[0] = ~q[0];
    q[2] = ~q[2];
}

/* A round key is kept as its eight patterns of 16 bits, to be repeated for every block. */
static inline void add_key(plane q[8], const uint8_t *schedule, size_t round)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        uint16_t pattern;

        memcpy(&pattern, schedule + round * AES_BLOCK_LEN + 2 * i, sizeof(pattern));
        q[i] ^= pattern * (uint64_t)0x0001000100010001;
    }
}

static inline void shift_rows(plane q[8])
{
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        plane x = q[i];

        q[i] = (x & 0x1111111111111111) | (x >> 4 & 0x0222022202220222) |
               (x << 12 & 0x2000200020002000) | (x >> 8 & 0x0044004400440044) |
               (x << 8 & 0x4400440044004400) | (x >> 12 & 0x0008000800080008) |
               (x << 4 & 0x8880888088808880);
    }
}

static inline void unshift_rows(plane q[8])
{
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        plane x = q[i];

        q[i] = (x & 0x1111111111111111) | (x << 4 & 0x2220222022202220) |
               (x >> 12 & 0x0002000200020002) | (x >> 8 & 0x0044004400440044) |
               (x << 8 & 0x4400440044004400) | (x >> 4 & 0x0888088808880888) |
               (x << 12 & 0x8000800080008000);
    }
}

/* Row r takes the place of the row 1 or 2 before it. */
static inline plane rows_by_1(plane x)
{
    return (x >> 1 & 0x7777777777777777) | (x << 3 & 0x8888888888888888);
}

static inline plane rows_by_2(plane x)
{
    return (x >> 2 & 0x3333333333333333) | (x << 2 & 0xcccccccccccccccc);
}

/* Multiply all bytes by x. */
static inline void double_bytes(plane q[8])
{
    plane top = q[7];

#pragma GCC unroll 8
    for (size_t i = 7; i > 0; i--) {
        q[i] = q[i - 1];
    }
    q[0] = top;
    q[1] ^= top;
    q[3] ^= top;
    q[4] ^= top;
}

static inline void mix_columns(plane q[8])
{
    plane twice[8];
    plane sum[8];

#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        sum[i] = q[i] ^ rows_by_1(q[i]);
    }
    memcpy(twice, sum, sizeof(twice));
    double_bytes(twice);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        q[i] = twice[i] ^ rows_by_1(q[i]) ^ rows_by_2(sum[i]);
    }
}

static inline void unmix_columns(plane q[8])
{
    plane t[8];

#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        t[i] = q[i] ^ rows_by_2(q[i]);
    }
    double_bytes(t);
    double_bytes(t);
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        q[i] ^= t[i];
    }
    mix_columns(q);
}

/* Encrypt a slice in place. */
static void encrypt_slice(const uint8_t schedule[AES_SCHEDULE_LEN], uint8_t blocks[SLICE_LEN])
{
    plane q[8];

    slice(blocks, q);
    add_key(q, schedule, 0);
    for (size_t round = 1; round < AES_ROUND_KEYS - 1; round++) {
        sbox(q);
        shift_rows(q);
        mix_columns(q);
        add_key(q, schedule, round);
    }
    sbox(q);
    shift_rows(q);
    add_key(q, schedule, AES_ROUND_KEYS - 1);
    unslice(q, blocks);
}

static void decrypt_slice(const uint8_t schedule[AES_SCHEDULE_LEN], uint8_t blocks[SLICE_LEN])
{
    plane q[8];

    slice(blocks, q);
    add_key(q, schedule, AES_ROUND_KEYS - 1);
    for (size_t round = AES_ROUND_KEYS - 1; round > 0; round--) {
        unshift_rows(q);
        unaffine(q);
        sbox(q);
        unaffine(q);
        add_key(q, schedule, round - 1);
        if (round > 1) {
            unmix_columns(q);
        }
    }
    unslice(q, blocks);
}

static void sub_word(uint8_t word[4])
{
    uint8_t bytes[SLICE_LEN] = {0};
    plane q[8];

    memcpy(bytes, word, 4);
    slice(bytes, q);
    sbox(q);
    unslice(q, bytes);
    memcpy(word, bytes, 4);
}

/* Plain round keys to patterns, in place. */
static void slice_keys(uint8_t schedule[AES_SCHEDULE_LEN])
{
    uint8_t blocks[SLICE_LEN] = {0};
    plane q[8];

    for (size_t round = 0; round < AES_ROUND_KEYS; round++) {
        memcpy(blocks, schedule + round * AES_BLOCK_LEN, AES_BLOCK_LEN);
        slice(blocks, q);
        for (size_t i = 0; i < 8; i++) {
            uint16_t pattern = (uint16_t)q[i][0];

            memcpy(schedule + round * AES_BLOCK_LEN + 2 * i, &pattern, sizeof(pattern));
        }
    }
    sodium_memzero(blocks, sizeof(blocks));
    sodium_memzero(q, sizeof(q));
}

/* Key expansion, FIPS 197 section 5.2. */
static void expand_key(const uint8_t key[AES_KEY_LEN], uint8_t schedule[AES_SCHEDULE_LEN])
{
    uint8_t rcon = 1;

    memcpy(schedule, key, AES_KEY_LEN);
    for (size_t i = AES_KEY_LEN; i < AES_SCHEDULE_LEN; i += 4) {
        uint8_t word[4];

        memcpy(word, schedule + i - 4, 4);
        if (i % AES_KEY_LEN == 0) {
            uint8_t first = word[0];

            memmove(word, word + 1, 3);
            word[3] = first;
            sub_word(word);
            word[0] ^= rcon;
            rcon = (uint8_t)(rcon << 1);
        } else if (i % AES_KEY_LEN == 16) {
            sub_word(word);
        }
        for (size_t j = 0; j < 4; j++) {
            schedule[i + j] = schedule[i - AES_KEY_LEN + j] ^ word[j];
        }
    }
    slice_keys(schedule);
}

/* One block; the others of the slice are idle. */
static void one_block(const uint8_t schedule[AES_SCHEDULE_LEN], bool inverse,
                      const uint8_t in[AES_BLOCK_LEN], uint8_t out[AES_BLOCK_LEN])
{
    uint8_t blocks[SLICE_LEN] = {0};

    memcpy(blocks, in, AES_BLOCK_LEN);
    if (inverse) {
        decrypt_slice(schedule, blocks);
    } else {
        encrypt_slice(schedule, blocks);
    }
    memcpy(out, blocks, AES_BLOCK_LEN);
}

static void init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                 const uint8_t k1[AES_KEY_LEN])
{
    static const uint8_t zero[AES_BLOCK_LEN];

    expand_key(k0, c->k0);
    expand_key(k1, c->k1);
    one_block(c->k0, false, zero, c->h[0]);
}

static void ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN], uint32_t index,
                const uint8_t *in, uint8_t *out, size_t len)
{
    /* With the top bit of the 32-bit counter clear no carry can leave it. */
    uint32_t counter = (be32_get(tag + 12) & 0x7fffffff) + index;
    uint8_t keystream[SLICE_LEN];

    while (len > 0) {
        size_t n = len < SLICE_LEN ? len : SLICE_LEN;

        for (size_t b = 0; b < SLICE_BLOCKS; b++) {
            memcpy(keystream + b * AES_BLOCK_LEN, tag, 12);
            be32_put(keystream + b * AES_BLOCK_LEN + 12, counter++);
        }
        encrypt_slice(c->k1, keystream);
        for (size_t i = 0; i < n; i++) {
            out[i] = in[i] ^ keystream[i];
        }
        in += n;
        out += n;
        len -= n;
    }
}

/* 128 bits: high is the first half of a GHASH block, read big-endian. */
struct u128 {
    uint64_t high;
    uint64_t low;
};

enum {
    HOLES = 4, /* of a factor only every fourth bit takes part in a multiplication */
    FACTORS = 6,
};

/* What GHASH multiplies with: low half, high half, their XOR and the same three with their bits
 * reversed, each split into four numbers with holes. */
struct ghash_key {
    uint64_t split[FACTORS][HOLES];
};

static void split_bits(uint64_t x, uint64_t ret[HOLES])
{
    for (unsigned i = 0; i < HOLES; i++) {
        ret[i] = x & (uint64_t)0x1111111111111111 << i;
    }
}

/* Low 64 bits of the product without carries. At most 16 ones add up in a place, and the carry
 * stays below the next place used. */
static inline uint64_t mul_low(uint64_t x, const uint64_t y[HOLES])
{
    uint64_t s[HOLES];
    uint64_t z[HOLES];

    split_bits(x, s);
    z[0] = s[0] * y[0] ^ s[1] * y[3] ^ s[2] * y[2] ^ s[3] * y[1];
    z[1] = s[0] * y[1] ^ s[1] * y[0] ^ s[2] * y[3] ^ s[3] * y[2];
    z[2] = s[0] * y[2] ^ s[1] * y[1] ^ s[2] * y[0] ^ s[3] * y[3];
    z[3] = s[0] * y[3] ^ s[1] * y[2] ^ s[2] * y[1] ^ s[3] * y[0];
    return (z[0] & 0x1111111111111111) | (z[1] & 0x2222222222222222) | (z[2] & 0x4444444444444444) |
           (z[3] & 0x8888888888888888);
}

static inline uint64_t swap_word(uint64_t x, unsigned shift, uint64_t mask)
{
    return (x >> shift & mask) | (x & mask) << shift;
}

static inline uint64_t reverse_bits(uint64_t x)
{
    x = swap_word(x, 1, 0x5555555555555555);
    x = swap_word(x, 2, 0x3333333333333333);
    x = swap_word(x, 4, 0x0f0f0f0f0f0f0f0f);
    return __builtin_bswap64(x);
}

static void ghash_key_init(struct ghash_key *k, const uint8_t h[AES_BLOCK_LEN])
{
    uint64_t high = be64_get(h);
    uint64_t low = be64_get(h + 8);

    split_bits(low, k->split[0]);
    split_bits(high, k->split[1]);
    split_bits(low ^ high, k->split[2]);
    split_bits(reverse_bits(low), k->split[3]);
    split_bits(reverse_bits(high), k->split[4]);
    split_bits(reverse_bits(low ^ high), k->split[5]);
}

/* All 127 bits of a product; the upper half is the lower half of the product of the reversed
 * factors. y: index of the factor in the key. */
static inline struct u128 mul_wide(uint64_t x, const struct ghash_key *k, size_t y)
{
    return (struct u128){
        .low = mul_low(x, k->split[y]),
        .high = reverse_bits(mul_low(reverse_bits(x), k->split[y + 3])) >> 1,
    };
}

/* y = y * h in the field of GHASH, whose bits run from the highest downwards. */
static void ghash_mul(struct u128 *y, const struct ghash_key *k)
{
    struct u128 a = mul_wide(y->low, k, 0);
    struct u128 b = mul_wide(y->high, k, 1);
    struct u128 m = mul_wide(y->low ^ y->high, k, 2);
    uint64_t v0 = a.low;
    uint64_t v1 = a.high ^ m.low ^ a.low ^ b.low;
    uint64_t v2 = b.low ^ m.high ^ a.high ^ b.high;
    uint64_t v3 = b.high;

    /* The reversed product is one bit short. */
    v3 = v3 << 1 | v2 >> 63;
    v2 = v2 << 1 | v1 >> 63;
    v1 = v1 << 1 | v0 >> 63;
    v0 = v0 << 1;

    /* Reduce by x^128 + x^7 + x^2 + x + 1. */
    v2 ^= v0 ^ v0 >> 1 ^ v0 >> 2 ^ v0 >> 7;
    v1 ^= v0 << 63 ^ v0 << 62 ^ v0 << 57;
    v3 ^= v1 ^ v1 >> 1 ^ v1 >> 2 ^ v1 >> 7;
    v2 ^= v1 << 63 ^ v1 << 62 ^ v1 << 57;
    y->low = v2;
    y->high = v3;
}

static void ghash_block(struct u128 *y, const struct ghash_key *h,
                        const uint8_t block[AES_BLOCK_LEN])
{
    y->high ^= be64_get(block);
    y->low ^= be64_get(block + 8);
    ghash_mul(y, h);
}

static void ghash_text(struct u128 *y, const struct ghash_key *h, const uint8_t *text, size_t len)
{
    uint8_t last[AES_BLOCK_LEN] = {0};
    size_t whole = len / AES_BLOCK_LEN * AES_BLOCK_LEN;

    for (size_t i = 0; i < whole; i += AES_BLOCK_LEN) {
        ghash_block(y, h, text + i);
    }
    if (whole < len) {
        memcpy(last, text + whole, len - whole);
        ghash_block(y, h, last);
    }
}

/* The folded GMAC (8 bytes) of associated data and text. */
static uint64_t gmac(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                     const struct aes_aad *aad, const uint8_t *text, size_t len)
{
    struct ghash_key h;
    struct u128 y;
    uint8_t block[AES_BLOCK_LEN] = {0};
    uint8_t out[8];
    uint64_t fold;

    ghash_key_init(&h, c->h[0]);
    y = (struct u128){.high = aad->first, .low = aad->second};
    ghash_mul(&y, &h);
    ghash_text(&y, &h, text, len);
    y.high ^= (AES_BLOCK_LEN + (uint64_t)len) * 8;
    ghash_mul(&y, &h);

    memcpy(block, nonce, AES_SIV_NONCE_LEN);
    block[15] = 1;
    one_block(c->k0, false, block, block);
    be64_put(out, y.high ^ y.low ^ be64_get(block) ^ be64_get(block + 8));
    memcpy(&fold, out, sizeof(fold));
    sodium_memzero(&h, sizeof(h));
    return fold;
}

static void tag_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                     const struct aes_aad *aad, const uint8_t *text, size_t len,
                     uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    uint64_t fold = gmac(c, nonce, aad, text, len);
    uint8_t block[AES_BLOCK_LEN];

    memcpy(block, nonce, AES_SIV_NONCE_LEN);
    memcpy(block + AES_SIV_NONCE_LEN, &fold, sizeof(fold));
    one_block(c->k1, false, block, ret_tag);
}

static bool check_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                       const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    uint8_t block[AES_BLOCK_LEN];
    uint64_t want;

    one_block(c->k1, true, tag, block);
    memcpy(&want, block + AES_SIV_NONCE_LEN, sizeof(want));
    /* One comparison of whole words: constant time. */
    return (gmac(c, block, aad, text, len) ^ want) == 0;
}

const struct aes_kernel aes_portable = {
    .name = "portable",
    .init = init,
    .tag = tag_text,
    .check = check_text,
    .ctr = ctr,
};
