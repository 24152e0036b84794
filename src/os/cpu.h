/* Processors. Source: spec 05 section 7.3. */
#pragma once

#include <stdint.h>

/* Processors in the affinity mask of the process, at least 1. */
unsigned cpu_count(void);

/* Have the calling thread give way to others: for work that nobody waits for. Returns 0; negative
 * errno. */
int cpu_set_background(void);

/* Have the calling thread run in slices of this length (0: the system's): a short one lets it run
 * sooner after it woke, for no more time in all. Returns 0; negative errno where the system does
 * not know slices (before Linux 6.12 it may ignore them). */
int cpu_set_slice(uint64_t slice_ns);
