/* How many processors this process may use. Source: spec 05 section 7.3. */
#pragma once

/* Processors in the affinity mask of the process, at least 1. */
unsigned cpu_count(void);
