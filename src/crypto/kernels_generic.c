/* The kernels of processors for which there are no special ones. */
#include "crypto/aes_priv.h"
#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"
#include "crypto/salsa_priv.h"

#include <stddef.h>

const struct aes_kernel *const aes_kernels[] = {&aes_portable, NULL};
const struct poly1305_kernel *const poly1305_kernels[] = {&poly1305_portable, NULL};
const struct salsa_kernel *const salsa_kernels[] = {&salsa_portable, NULL};

unsigned cpu_features(void)
{
    return 0;
}
