/* The built-in planet of the public network. Source: spec 02 section 9.5. */
#pragma once

#include <stdint.h>

enum { DEFAULT_PLANET_LEN = 570 };

/* Its serialized form, for world_read. */
extern const uint8_t default_planet[DEFAULT_PLANET_LEN];
