/* Number of processors. Implements: spec 05 section 7.3 (process). */
#include "os/cpu.h"

#include <sched.h>
#include <unistd.h>

unsigned cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);

    /* fails on machines with more processors than the set holds */
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        int count = CPU_COUNT(&set);
        return count > 0 ? (unsigned)count : 1;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
