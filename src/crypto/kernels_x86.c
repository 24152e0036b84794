/* The kernels of x86-64 and the test for what the processor has. */
#include "crypto/aes_priv.h"
#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"
#include "crypto/salsa_priv.h"

#include <cpuid.h>
#include <stddef.h>

const struct aes_kernel *const aes_kernels[] = {&aes_vaes512, &aes_vaes, &aes_aesni, &aes_portable,
                                                NULL};
const struct poly1305_kernel *const poly1305_kernels[] = {&poly1305_ifma, &poly1305_avx2,
                                                          &poly1305_portable, NULL};
const struct salsa_kernel *const salsa_kernels[] = {&salsa_avx512, &salsa_avx2, &salsa_portable,
                                                    NULL};

enum { LEAF7_ECX_VAES = 1 << 9 };

/* The compiler's own test also asks whether the system saves the wide registers; VAES alone is not
 * in clang 14's list. */
unsigned cpu_features(void)
{
    unsigned features = 0;
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;

    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        features |= CPU_AVX2;
    }
    if (__builtin_cpu_supports("avx512f")) {
        features |= CPU_AVX512;
        features |= __builtin_cpu_supports("avx512ifma") ? CPU_IFMA : 0;
    }
    if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") &&
        __builtin_cpu_supports("ssse3")) {
        features |= CPU_AES;
    }
    if ((features & CPU_AVX2) != 0 && __builtin_cpu_supports("vpclmulqdq") &&
        __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & LEAF7_ECX_VAES) != 0) {
        features |= CPU_VAES;
    }
    if ((features & CPU_VAES) != 0 && (features & CPU_AVX512) != 0 &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        features |= CPU_VAES512;
    }
    return features;
}
