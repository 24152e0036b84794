/* Hexadecimal text, strict in both directions. */
#pragma once

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

/* Write len bytes as 2 * len lower-case digits and a NUL to out (2 * len + 1 bytes). */
void hex_encode(const void *data, size_t len, char *out);

/* Write the low 4 * digits bits of v as exactly that many lower-case digits and a NUL.
 * digits: 1..16. */
void hex_from_u64(uint64_t v, unsigned digits, char *out);

/* Read exactly 2 * len digits (either case) of text into out.
 * text: text_len characters, need not be terminated. Returns 0; -EBADMSG other length or character.
 */
MUST_CHECK int hex_decode(const char *text, size_t text_len, void *out, size_t len);

/* Read 1..max_digits digits (either case, at most 16) as a number: all of text_len characters.
 * Returns 0; -EBADMSG empty, too long or another character. */
MUST_CHECK int hex_to_u64(const char *text, size_t text_len, unsigned max_digits, uint64_t *ret);
