/* The Internet checksum without CPU extensions, and what all kernels share. */
#include "datapath/checksum.h"

#include "base/cursor.h"
#include "datapath/headers.h"

#include <string.h>

enum {
    IPV4_ADDRESSES_LEN = 8,
    IPV6_ADDRESSES_LEN = 32,
};

uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint64_t load32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Words of 32 bits in the order of this machine: the sum of their halves does not depend on which
 * half is which, and its two bytes are put right at the end (RFC 1071 section 2). */
uint32_t checksum_portable(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t a = 0;
    uint64_t b = 0;
    uint8_t swapped[2];
    uint16_t sum;

    for (; len >= 16; p += 16, len -= 16) {
        a += load32(p) + load32(p + 4);
        b += load32(p + 8) + load32(p + 12);
    }
    for (; len >= 4; p += 4, len -= 4) {
        a += load32(p);
    }
    if (len > 0) {
        uint8_t last[4] = {p[0], len > 1 ? p[1] : 0, len > 2 ? p[2] : 0, 0};

        a += load32(last);
    }
    sum = checksum_fold(a + b);
    memcpy(swapped, &sum, sizeof(swapped));
    return be16_get(swapped);
}

static const struct checksum_kernel *pick(unsigned features)
{
    size_t i = 0;

    while ((checksum_kernels[i].needs & ~features) != 0) {
        i++;
    }
    return &checksum_kernels[i];
}

checksum_fn *checksum_pick(unsigned features)
{
    return pick(features)->sum;
}

const char *checksum_name(unsigned features)
{
    return pick(features)->name;
}

uint32_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t l4_len)
{
    uint32_t sum = (uint32_t)protocol + (uint32_t)(l4_len & 0xffff) + (uint32_t)(l4_len >> 16);

    if (ip[0] >> 4 == 4) {
        return sum + checksum_portable(ip + IPV4_AT_ADDRESSES, IPV4_ADDRESSES_LEN);
    }
    return sum + checksum_portable(ip + IPV6_AT_ADDRESSES, IPV6_ADDRESSES_LEN);
}
