/* The checksum kernels of processors without a special one. */
#include "datapath/checksum.h"

const struct checksum_kernel checksum_kernels[] = {
    {.name = "portable", .sum = checksum_portable},
    {.name = NULL},
};
