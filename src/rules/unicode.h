/* As much of Unicode as names of the rule language need. Source: spec 06 sections 2.1, 2.5, 5.2. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read one character of UTF-8 at p[0..len-1], len at least 1. Returns its bytes (1..4) with *ret
 * the code point; -EBADMSG malformed, overlong, surrogate. */
MUST_CHECK int unicode_read(const char *p, size_t len, uint32_t *ret);

/* General category L in the basic plane. */
bool unicode_is_letter(uint32_t c);

/* Lower-case form of one character, where it is one character. */
uint32_t unicode_lower(uint32_t c);

/* Lower-case form of valid UTF-8: out has room for 2 * len bytes. Returns bytes written. Knows the
 * two characters that are special in any language: I with a dot, and a sigma that ends a word. */
size_t unicode_lower_text(const char *p, size_t len, char *out);

/* Characters of valid UTF-8, counted as UTF-16 does. */
size_t unicode_utf16_len(const char *p, size_t len);
