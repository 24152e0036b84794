/* AES-GMAC-SIV kernel for any processor, in constant time: no table is indexed and no branch is
 * taken by secret data.
 *
 * AES is bit-sliced: four blocks lie in eight words, word j holding bit j of all 64 bytes, byte
 * r + 4 c of block b at bit 16 b + r + 4 c. GHASH multiplies with ordinary integer multiplications
 * whose operands have holes between the bits, so that carries do not reach the next bit used.
 * Source: FIPS 197, NIST SP 800-38D; S-box circuit: Boyar and Peralta, "A small depth-16 circuit
 * for the AES S-box" (2011); multiplication with holes: T. Pornin, "Constant-time mul" (2016). */
#include "base/cursor.h"
#include "crypto/aes_priv.h"

#include <sodium.h>
#include <string.h>

enum {
    SLICE_BLOCKS = 4,
    SLICE_LEN = SLICE_BLOCKS * AES_BLOCK_LEN,
};

/* Round keys, bit-sliced, the same for all four blocks. */
struct sliced_keys {
    uint64_t k[AES_ROUND_KEYS][8];
};

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
static uint64_t swap_bits(uint64_t x, unsigned shift, uint64_t mask)
{
    uint64_t t = (x ^ (x >> shift)) & mask;

    return x ^ t ^ (t << shift);
}

/* Transpose the 8 x 8 bits of a word (byte, bit). Its own inverse. */
static uint64_t transpose_bits(uint64_t x)
{
    x = swap_bits(x, 7, 0x00aa00aa00aa00aa);
    x = swap_bits(x, 14, 0x0000cccc0000cccc);
    return swap_bits(x, 28, 0x00000000f0f0f0f0);
}

/* Transpose the 8 x 8 bytes of eight words. Its own inverse. */
static void transpose_bytes(uint64_t w[8])
{
    static const uint64_t masks[3] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};

    for (unsigned level = 0; level < 3; level++) {
        size_t step = (size_t)1 << level;
        unsigned shift = 8U << level;

        for (size_t i = 0; i < 8; i++) {
            if ((i & step) == 0) {
                uint64_t t = ((w[i] >> shift) ^ w[i + step]) & masks[level];

                w[i + step] ^= t;
                w[i] ^= t << shift;
            }
        }
    }
}

static void slice(const uint8_t in[SLICE_LEN], uint64_t q[8])
{
    for (size_t i = 0; i < 8; i++) {
        q[i] = transpose_bits(le64_get(in + 8 * i));
    }
    transpose_bytes(q);
}

static void unslice(uint64_t q[8], uint8_t out[SLICE_LEN])
{
    transpose_bytes(q);
    for (size_t i = 0; i < 8; i++) {
        le64_put(out + 8 * i, transpose_bits(q[i]));
    }
}

/* The Boyar-Peralta circuit with the names of the paper; x0 is the highest bit. */
static void sbox(uint64_t q[8])
{
    uint64_t x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4];
    uint64_t x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];

    /* Top linear layer. */
    uint64_t y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5;
    uint64_t t0 = x1 ^ x2;
    uint64_t y1 = t0 ^ x7;
    uint64_t y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6;
    uint64_t y3 = y5 ^ y8;
    uint64_t t1 = x4 ^ y12;
    uint64_t y15 = t1 ^ x5, y20 = t1 ^ x1;
    uint64_t y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9;
    uint64_t y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11;
    uint64_t y21 = y13 ^ y16, y18 = x0 ^ y16;

    /* Inversion in GF(2^8) as a tower of fields. */
    uint64_t t2 = y12 & y15, t3 = y3 & y6, t5 = y4 & x7, t7 = y13 & y16;
    uint64_t t8 = y5 & y1, t10 = y2 & y7, t12 = y9 & y11, t13 = y14 & y17, t15 = y8 & y10;
    uint64_t t4 = t3 ^ t2, t6 = t5 ^ t2, t9 = t8 ^ t7, t11 = t10 ^ t7;
    uint64_t t14 = t13 ^ t12, t16 = t15 ^ t12;
    uint64_t t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16;
    uint64_t t21 = t17 ^ y20, t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18;
    uint64_t t25 = t21 ^ t22, t26 = t21 & t23;
    uint64_t t27 = t24 ^ t26;
    uint64_t t28 = t25 & t27;
    uint64_t t29 = t28 ^ t22, t30 = t23 ^ t24, t31 = t22 ^ t26;
    uint64_t t32 = t31 & t30;
    uint64_t t33 = t32 ^ t24;
    uint64_t t34 = t23 ^ t33, t35 = t27 ^ t33;
    uint64_t t36 = t24 & t35;
    uint64_t t37 = t36 ^ t34, t38 = t27 ^ t36;
    uint64_t t39 = t29 & t38;
    uint64_t t40 = t25 ^ t39;
    uint64_t t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
    uint64_t t45 = t42 ^ t41;
    uint64_t z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1;
    uint64_t z5 = t29 & y7, z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12;
    uint64_t z10 = t37 & y3, z11 = t33 & y4, z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2;
    uint64_t z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

    /* Bottom linear layer, with the affine part. */
    uint64_t t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12;
    uint64_t t51 = z2 ^ z5, t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17;
    uint64_t t56 = z12 ^ t48, t57 = t50 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ t54;
    uint64_t t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58;
    uint64_t t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63;
    uint64_t t67 = t64 ^ t65;
    uint64_t s3 = t53 ^ t66;

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
static void unaffine(uint64_t q[8])
{
    uint64_t p[8];

    memcpy(p, q, sizeof(p));
    for (size_t i = 0; i < 8; i++) {
        q[i] = p[(i + 2) % 8] ^ p[(i + 5) % 8] ^ p[(i + 7) % 8];
    }
    q[0] = ~q[0];
    q[2] = ~q[2];
}

static void add_key(uint64_t q[8], const uint64_t k[8])
{
    for (size_t i = 0; i < 8; i++) {
        q[i] ^= k[i];
    }
}

static void shift_rows(uint64_t q[8])
{
    for (size_t i = 0; i < 8; i++) {
        uint64_t x = q[i];

        q[i] = (x & 0x1111111111111111) | (x >> 4 & 0x0222022202220222) |
               (x << 12 & 0x2000200020002000) | (x >> 8 & 0x0044004400440044) |
               (x << 8 & 0x4400440044004400) | (x >> 12 & 0x0008000800080008) |
               (x << 4 & 0x8880888088808880);
    }
}

static void unshift_rows(uint64_t q[8])
{
    for (size_t i = 0; i < 8; i++) {
        uint64_t x = q[i];

        q[i] = (x & 0x1111111111111111) | (x << 4 & 0x2220222022202220) |
               (x >> 12 & 0x0002000200020002) | (x >> 8 & 0x0044004400440044) |
               (x << 8 & 0x4400440044004400) | (x >> 4 & 0x0888088808880888) |
               (x << 12 & 0x8000800080008000);
    }
}

/* Row r takes the place of the row 1 or 2 before it. */
static uint64_t rows_by_1(uint64_t x)
{
    return (x >> 1 & 0x7777777777777777) | (x << 3 & 0x8888888888888888);
}

static uint64_t rows_by_2(uint64_t x)
{
    return (x >> 2 & 0x3333333333333333) | (x << 2 & 0xcccccccccccccccc);
}

/* Multiply all bytes by x. */
static void double_bytes(uint64_t q[8])
{
    uint64_t top = q[7];

    for (size_t i = 7; i > 0; i--) {
        q[i] = q[i - 1];
    }
    q[0] = top;
    q[1] ^= top;
    q[3] ^= top;
    q[4] ^= top;
}

static void mix_columns(uint64_t q[8])
{
    uint64_t twice[8];
    uint64_t sum[8];

    for (size_t i = 0; i < 8; i++) {
        sum[i] = q[i] ^ rows_by_1(q[i]);
    }
    memcpy(twice, sum, sizeof(twice));
    double_bytes(twice);
    for (size_t i = 0; i < 8; i++) {
        q[i] = twice[i] ^ rows_by_1(q[i]) ^ rows_by_2(sum[i]);
    }
}

static void unmix_columns(uint64_t q[8])
{
    uint64_t t[8];

    for (size_t i = 0; i < 8; i++) {
        t[i] = q[i] ^ rows_by_2(q[i]);
    }
    double_bytes(t);
    double_bytes(t);
    for (size_t i = 0; i < 8; i++) {
        q[i] ^= t[i];
    }
    mix_columns(q);
}

/* Encrypt four blocks in place. */
static void encrypt_slice(const struct sliced_keys *keys, uint8_t blocks[SLICE_LEN])
{
    uint64_t q[8];

    slice(blocks, q);
    add_key(q, keys->k[0]);
    for (size_t round = 1; round < AES_ROUND_KEYS - 1; round++) {
        sbox(q);
        shift_rows(q);
        mix_columns(q);
        add_key(q, keys->k[round]);
    }
    sbox(q);
    shift_rows(q);
    add_key(q, keys->k[AES_ROUND_KEYS - 1]);
    unslice(q, blocks);
}

static void decrypt_slice(const struct sliced_keys *keys, uint8_t blocks[SLICE_LEN])
{
    uint64_t q[8];

    slice(blocks, q);
    add_key(q, keys->k[AES_ROUND_KEYS - 1]);
    for (size_t round = AES_ROUND_KEYS - 1; round > 0; round--) {
        unshift_rows(q);
        unaffine(q);
        sbox(q);
        unaffine(q);
        add_key(q, keys->k[round - 1]);
        if (round > 1) {
            unmix_columns(q);
        }
    }
    unslice(q, blocks);
}

static void slice_keys(const uint8_t schedule[AES_SCHEDULE_LEN], struct sliced_keys *ret)
{
    uint8_t four[SLICE_LEN];

    for (size_t round = 0; round < AES_ROUND_KEYS; round++) {
        for (size_t b = 0; b < SLICE_BLOCKS; b++) {
            memcpy(four + b * AES_BLOCK_LEN, schedule + round * AES_BLOCK_LEN, AES_BLOCK_LEN);
        }
        slice(four, ret->k[round]);
    }
    sodium_memzero(four, sizeof(four));
}

static void sub_word(uint8_t word[4])
{
    uint8_t bytes[SLICE_LEN] = {0};
    uint64_t q[8];

    memcpy(bytes, word, 4);
    slice(bytes, q);
    sbox(q);
    unslice(q, bytes);
    memcpy(word, bytes, 4);
}

/* Key expansion, FIPS 197 section 5.2, to plain round keys. */
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
}

/* One block; the three others of the slice are idle. */
static void one_block(const uint8_t schedule[AES_SCHEDULE_LEN], bool inverse,
                      const uint8_t in[AES_BLOCK_LEN], uint8_t out[AES_BLOCK_LEN])
{
    struct sliced_keys keys;
    uint8_t blocks[SLICE_LEN] = {0};

    slice_keys(schedule, &keys);
    memcpy(blocks, in, AES_BLOCK_LEN);
    if (inverse) {
        decrypt_slice(&keys, blocks);
    } else {
        encrypt_slice(&keys, blocks);
    }
    memcpy(out, blocks, AES_BLOCK_LEN);
    sodium_memzero(&keys, sizeof(keys));
}

static void init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                 const uint8_t k1[AES_KEY_LEN])
{
    static const uint8_t zero[AES_BLOCK_LEN];

    expand_key(k0, c->k0);
    expand_key(k1, c->k1);
    one_block(c->k0, false, zero, c->h[0]);
}

static void encrypt(const struct aes_gmac_siv *c, const uint8_t in[AES_BLOCK_LEN],
                    uint8_t out[AES_BLOCK_LEN])
{
    one_block(c->k1, false, in, out);
}

static void decrypt(const struct aes_gmac_siv *c, const uint8_t in[AES_BLOCK_LEN],
                    uint8_t out[AES_BLOCK_LEN])
{
    one_block(c->k1, true, in, out);
}

static void ctr(const struct aes_gmac_siv *c, const uint8_t start[AES_BLOCK_LEN], uint32_t index,
                const uint8_t *in, uint8_t *out, size_t len)
{
    uint32_t counter = be32_get(start + 12) + index;
    struct sliced_keys keys;
    uint8_t keystream[SLICE_LEN];

    slice_keys(c->k1, &keys);
    while (len > 0) {
        size_t n = len < SLICE_LEN ? len : SLICE_LEN;

        for (size_t b = 0; b < SLICE_BLOCKS; b++) {
            memcpy(keystream + b * AES_BLOCK_LEN, start, 12);
            be32_put(keystream + b * AES_BLOCK_LEN + 12, counter++);
        }
        encrypt_slice(&keys, keystream);
        for (size_t i = 0; i < n; i++) {
            out[i] = in[i] ^ keystream[i];
        }
        in += n;
        out += n;
        len -= n;
    }
    sodium_memzero(&keys, sizeof(keys));
}

/* 128 bits: high is the first half of a GHASH block, read big-endian. */
struct u128 {
    uint64_t high;
    uint64_t low;
};

/* Low 64 bits of the product without carries. Of each factor only every fourth bit takes part in a
 * multiplication, so at most 16 ones add up in a place and the carry stays below the next place. */
static uint64_t mul_low(uint64_t x, uint64_t y)
{
    const uint64_t hole = 0x1111111111111111;
    uint64_t z = 0;

    for (unsigned k = 0; k < 4; k++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < 4; i++) {
            sum ^= (x & hole << i) * (y & hole << ((k + 4 - i) % 4));
        }
        z |= sum & hole << k;
    }
    return z;
}

static uint64_t reverse_bits(uint64_t x)
{
    x = swap_bits(x, 1, 0x5555555555555555);
    x = swap_bits(x, 2, 0x3333333333333333);
    x = swap_bits(x, 4, 0x0f0f0f0f0f0f0f0f);
    x = swap_bits(x, 8, 0x00ff00ff00ff00ff);
    x = swap_bits(x, 16, 0x0000ffff0000ffff);
    return x >> 32 | x << 32;
}

/* All 127 bits of the product without carries; the upper half is the lower half of the product of
 * the reversed factors. */
static struct u128 mul_wide(uint64_t x, uint64_t y)
{
    return (struct u128){
        .low = mul_low(x, y),
        .high = reverse_bits(mul_low(reverse_bits(x), reverse_bits(y))) >> 1,
    };
}

/* y = y * h in the field of GHASH, whose bits run from the highest downwards. */
static void ghash_mul(struct u128 *y, const struct u128 *h)
{
    struct u128 a = mul_wide(y->low, h->low);
    struct u128 b = mul_wide(y->high, h->high);
    struct u128 m = mul_wide(y->low ^ y->high, h->low ^ h->high);
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

static void ghash_block(struct u128 *y, const struct u128 *h, const uint8_t block[AES_BLOCK_LEN])
{
    y->high ^= be64_get(block);
    y->low ^= be64_get(block + 8);
    ghash_mul(y, h);
}

static void ghash_piece(struct u128 *y, const struct u128 *h, const struct aes_piece *piece)
{
    uint8_t last[AES_BLOCK_LEN] = {0};
    size_t whole = piece->len / AES_BLOCK_LEN * AES_BLOCK_LEN;

    for (size_t i = 0; i < whole; i += AES_BLOCK_LEN) {
        ghash_block(y, h, piece->data + i);
    }
    if (whole < piece->len) {
        memcpy(last, piece->data + whole, piece->len - whole);
        ghash_block(y, h, last);
    }
}

static uint64_t gmac(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                     const uint8_t aad[AES_SIV_AAD_LEN], const struct aes_piece *pieces,
                     size_t count)
{
    const struct u128 h = {.high = be64_get(c->h[0]), .low = be64_get(c->h[0] + 8)};
    struct u128 y = {0};
    uint8_t block[AES_BLOCK_LEN] = {0};
    uint8_t out[8];
    uint64_t fold;
    size_t len;

    memcpy(block, aad, AES_SIV_AAD_LEN);
    ghash_block(&y, &h, block);
    for (size_t i = 0; i < count; i++) {
        ghash_piece(&y, &h, &pieces[i]);
    }
    (void)aes_count_blocks(pieces, count, &len);
    y.high ^= (AES_BLOCK_LEN + (uint64_t)len) * 8;
    ghash_mul(&y, &h);

    memset(block, 0, sizeof(block));
    memcpy(block, nonce, AES_SIV_NONCE_LEN);
    block[15] = 1;
    one_block(c->k0, false, block, block);
    be64_put(out, y.high ^ y.low ^ be64_get(block) ^ be64_get(block + 8));
    memcpy(&fold, out, sizeof(fold));
    return fold;
}

const struct aes_kernel aes_portable = {
    .name = "portable",
    .init = init,
    .gmac = gmac,
    .encrypt = encrypt,
    .decrypt = decrypt,
    .ctr = ctr,
};
