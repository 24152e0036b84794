/* Giving pages back to the system. */
#include "os/memory.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void memory_release(void *buffer, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)buffer + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)buffer + len) / page * page;

    if (first < end) {
        (void)madvise((uint8_t *)buffer + (first - (uintptr_t)buffer), end - first, MADV_DONTNEED);
    }
}
