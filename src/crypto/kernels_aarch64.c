/* The kernels of 64-bit ARM and the test for what the processor has. */
#include "crypto/aes_priv.h"
#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"
#include "crypto/salsa_priv.h"

#include <stddef.h>
#include <sys/auxv.h>

const struct aes_kernel *const aes_kernels[] = {&aes_armv8, &aes_portable, NULL};
const struct poly1305_kernel *const poly1305_kernels[] = {&poly1305_portable, NULL};
const struct salsa_kernel *const salsa_kernels[] = {&salsa_portable, NULL};

/* The kernel told it all when the process began; this only looks it up. */
unsigned cpu_features(void)
{
    const unsigned long aes = HWCAP_AES | HWCAP_PMULL;
    unsigned long has = getauxval(AT_HWCAP);
    unsigned features = 0;

    if ((has & HWCAP_ASIMD) != 0) {
        features |= CPU_NEON;
    }
    if ((has & HWCAP_ASIMD) != 0 && (has & aes) == aes) {
        features |= CPU_AES;
    }
    return features;
}
