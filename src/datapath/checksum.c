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
        uint64_t v[2];

        memcpy(v, p, sizeof(v));
        a += (v[0] & 0xffffffff) + (v[1] & 0xffffffff);
        b += (v[0] >> 32) + (v[1] >> 32);
    }
    if (len > 0) {
        uint64_t v[2] = {0, 0};

        memcpy(v, p, len);
        a += (v[0] & 0xffffffff) + (v[1] & 0xffffffff);
        b += (v[0] >> 32) + (v[1] >> 32);
    }
    sum = checksum_fold(a + b);
    memcpy(swapped, &sum, sizeof(swapped));
    return be16_get(swapped);
}

checksum_fn *checksum_pick(unsigned features)
{
    size_t i = 0;

    while ((checksum_kernels[i].needs & ~features) != 0) {
        i++;
    }
    return checksum_kernels[i].sum;
}

uint32_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t l4_len)
{
    uint32_t sum = (uint32_t)protocol + (uint32_t)(l4_len & 0xffff) + (uint32_t)(l4_len >> 16);

    if (ip[0] >> 4 == 4) {
        return sum + checksum_portable(ip + IPV4_AT_ADDRESSES, IPV4_ADDRESSES_LEN);
    }
    return sum + checksum_portable(ip + IPV6_AT_ADDRESSES, IPV6_ADDRESSES_LEN);
}
