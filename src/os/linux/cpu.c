/* Number of processors, and how a thread shares them. Implements: spec 05 section 7.3 (process). */
#include "os/cpu.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BACKGROUND_NICE = 10 };

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

/* First version of the kernel's struct of this name, which C libraries know under changing ones. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

int cpu_set_slice(uint64_t slice_ns)
{
    struct scheduling attr = {.size = sizeof(attr),
                              .policy = SCHED_OTHER,
                              .nice = getpriority(PRIO_PROCESS, 0),
                              .runtime = slice_ns};

    return syscall(SYS_sched_setattr, 0, &attr, 0) == 0 ? 0 : -errno;
}

int cpu_set_background(void)
{
    /* Linux has a niceness for each thread. */
    return setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BACKGROUND_NICE) == 0 ? 0 : -errno;
}
