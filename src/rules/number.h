/* Numbers and lists as the rule language reads them. Source: spec 06 sections 5.3, 5.4, 7.1, 9.3.
 */
#pragma once

#include "rules/rdl.h"
#include "wire/inetaddr.h"

/* Read integer text: sign, 0x, digits; what follows is ignored. Returns the number, saturated; -1
 * for none. */
int64_t number_read(struct rdl_text text);

/* The number after "default": none is 0, sign dropped, lowest 32 bits. */
uint32_t number_read_default(struct rdl_text text);

/* A fraction, clamped and scaled to 32 bits. Returns 0..4294967295; -1 out of memory. */
int64_t number_read_fraction(struct rdl_text text);

/* Is the text, in full, an optional sign and digits? Is nothing of it a number? */
bool number_is_whole(struct rdl_text text);
bool number_is_none(struct rdl_text text);

/* The same of fractions. */
bool number_fraction_is_whole(struct rdl_text text);
bool number_fraction_is_none(struct rdl_text text);

/* Read "ADDRESS/BITS" of a family strictly, host bits kept, bits in ret->port. family: enum
 * inetaddr_family. Returns false if it is none. */
bool number_read_prefix(struct rdl_text text, unsigned family, struct inetaddr *ret);

/* Next piece of a list at *at, which advances. separators: where to cut; runs count as one. Pieces
 * at the ends may be empty. Returns false at the end; begin with *at = 0. */
bool number_next_piece(struct rdl_text list, const char *separators, size_t *at,
                       struct rdl_text *ret);
