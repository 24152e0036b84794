/* The Internet checksum, one implementation per CPU kernel.
 * Source: RFC 1071, spec 09 sections 4.1 and 6.6. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Sum of the big-endian 16-bit words of len bytes at data, folded to 16 bits; an odd last byte is
 * the high half of a word. Not complemented. The sum of pieces is that of the whole if all but the
 * last have even length. */
typedef uint32_t checksum_fn(const void *data, size_t len);

struct checksum_kernel {
    const char *name;
    unsigned needs; /* bits of enum cpu_feature (crypto/cpu.h) */
    checksum_fn *sum;
};

/* All kernels this build has, best first, ended by one without function; the last needs no feature.
 */
extern const struct checksum_kernel checksum_kernels[];

/* The fastest for these cpu_features(). */
checksum_fn *checksum_pick(unsigned features);

/* Its name. */
const char *checksum_name(unsigned features);

/* The portable one. */
checksum_fn checksum_portable;

/* Fold a sum of sums to 16 bits. */
uint16_t checksum_fold(uint64_t sum);

/* Sum of the pseudo-header (RFC 793, RFC 8200) of the IP header at ip: addresses, protocol, length
 * of the upper layer with its header. ip: a whole header of version 4 or 6. */
uint32_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t l4_len);
