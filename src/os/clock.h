/* Clocks. Only hosts read them: the engine gets now_ms. Source: spec 05 sections 6.8 and 7.3. */
#pragma once

#include <stdint.h>

/* Milliseconds of a clock that never goes back and excludes suspend: for timers and now_ms. */
int64_t clock_mono_ms(void);

/* Milliseconds since boot including suspend: when it gains on clock_mono_ms the machine slept. */
int64_t clock_boot_ms(void);

/* Unix time in milliseconds: for what is stored or shown. May jump. */
int64_t clock_wall_ms(void);

/* The same in microseconds: for what is compared with other records of the moment. */
int64_t clock_wall_us(void);
