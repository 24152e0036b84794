/* What the processor offers, as plain data, so that the choice of a kernel is a pure function of it
 * and tests can name every kernel. One source file per processor family implements this header.
 * Source: spec 09 section 6.7. */
#pragma once

enum cpu_feature {
    CPU_AVX2 = 1 << 0,
    CPU_AES = 1 << 1,     /* AES-NI with PCLMULQDQ and SSSE3; on ARM: AES with PMULL */
    CPU_VAES = 1 << 2,    /* VAES with VPCLMULQDQ and AVX2 */
    CPU_AVX512 = 1 << 3,  /* AVX512F */
    CPU_VAES512 = 1 << 4, /* CPU_VAES and CPU_AVX512 with AVX512BW and AVX512VL */
    CPU_IFMA = 1 << 5,    /* CPU_AVX512 with AVX512IFMA */
    CPU_NEON = 1 << 6,    /* the vectors of ARMv8 */
};

struct aes_kernel;
struct poly1305_kernel;
struct salsa_kernel;

/* Bits of enum cpu_feature this machine (and its operating system) supports. About 1 us: ask once
 * for a key or a job, not for a packet. */
unsigned cpu_features(void);

/* All kernels this build has, best first, ended by NULL; the last one needs no feature. */
extern const struct aes_kernel *const aes_kernels[];
extern const struct poly1305_kernel *const poly1305_kernels[];
extern const struct salsa_kernel *const salsa_kernels[];
