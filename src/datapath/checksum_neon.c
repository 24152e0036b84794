/* The Internet checksum with NEON: halves of 32-bit words are added in pairs to 32-bit lanes, which
 * cannot overflow within CHUNK_LEN bytes. Source: spec 09 section 4.1. */
#include "datapath/checksum.h"

#include "base/cursor.h"
#include "crypto/cpu.h"

#include <arm_neon.h>
#include <string.h>

enum {
    VECTOR = 16,
    STEP = 4 * VECTOR,    /* bytes of a turn */
    CHUNK_LEN = 64 * 1024 /* lanes take 2^16 halves each */
};

static inline uint32x4_t add(uint32x4_t sum, const uint8_t *p)
{
    return vpadalq_u16(sum, vreinterpretq_u16_u8(vld1q_u8(p)));
}

/* Sum of len bytes, a multiple of VECTOR and at most CHUNK_LEN. */
static uint64_t sum_chunk(const uint8_t *p, size_t len)
{
    uint32x4_t a = vdupq_n_u32(0);
    uint32x4_t b = a;
    uint32x4_t c = a;
    uint32x4_t d = a;

    for (; len >= STEP; p += STEP, len -= STEP) {
        a = add(a, p);
        b = add(b, p + VECTOR);
        c = add(c, p + 2 * VECTOR);
        d = add(d, p + 3 * VECTOR);
    }
    for (; len > 0; p += VECTOR, len -= VECTOR) {
        a = add(a, p);
    }
    return vaddlvq_u32(a) + vaddlvq_u32(b) + vaddlvq_u32(c) + vaddlvq_u32(d);
}

static uint32_t checksum_neon(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t sum = 0;
    uint8_t swapped[2];
    uint16_t folded;

    if (len < STEP) {
        return checksum_portable(data, len);
    }
    while (len >= VECTOR) {
        size_t n = len < CHUNK_LEN ? len & ~(size_t)(VECTOR - 1) : CHUNK_LEN;

        sum += sum_chunk(p, n);
        p += n;
        len -= n;
    }
    folded = checksum_fold(sum);
    memcpy(swapped, &folded, sizeof(swapped));
    sum = be16_get(swapped);
    return len == 0 ? (uint32_t)sum : checksum_fold(sum + checksum_portable(p, len));
}

const struct checksum_kernel checksum_kernels[] = {
    {.name = "neon", .needs = CPU_NEON, .sum = checksum_neon},
    {.name = "portable", .sum = checksum_portable},
    {.name = NULL},
};
