/* Identities on the wire and in files: binary and text form. Reading does not validate the address
 * hash (identity_validate in crypto/identity.h). Source: spec 01 sections 2.6 and 2.7. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"

enum {
    IDENTITY_WIRE_PUBLIC = 71,   /* bytes of the public binary form */
    IDENTITY_WIRE_SECRET = 135,  /* bytes of the secret binary form */
    IDENTITY_TEXT_PUBLIC = 141,  /* characters of the public text form */
    IDENTITY_TEXT_SECRET = 270,  /* characters of the secret text form */
    IDENTITY_TEXT_LEN = 271,     /* buffer that holds any text form and its NUL */
    IDENTITY_TEXT_TOO_LONG = 384 /* texts of this length and longer are refused */
};

/* Read one binary identity; r moves behind it, what follows is left alone. A private half is
 * parsed and kept with has_private. Returns 0; -EBADMSG truncated, other type, bad private length
 * (r is bad then and *ret unchanged). A reserved address is read; identity_validate refuses it. */
MUST_CHECK int identity_read(struct rd *r, struct identity *ret);

/* The same for packets and worlds: a private half is skipped, has_private is false. */
MUST_CHECK int identity_read_public(struct rd *r, struct identity *ret);

/* Append the binary form. with_private: the secret form if id has a private half; never for
 * anything that leaves this machine. */
void identity_write(struct wr *w, const struct identity *id, bool with_private);

/* Read the text form: len characters, hex of either case, trailing white space allowed.
 * Returns 0; -EBADMSG anything else, also a reserved address. */
MUST_CHECK int identity_parse(const char *text, size_t len, struct identity *ret);

/* Write the text form in lower case without line end; the private half only with with_private
 * and if there is one. Wipe out after use in that case. */
void identity_print(const struct identity *id, bool with_private, char out[IDENTITY_TEXT_LEN]);

enum { ADDRESS_TEXT_LEN = 11 }; /* ten digits and a NUL */

/* Address text: exactly ten hex digits. Reading takes either case and any value.
 * Returns 0; -EBADMSG. Source: spec 01 section 1. */
MUST_CHECK int address_parse(const char *text, size_t len, uint64_t *ret);
void address_print(uint64_t address, char out[ADDRESS_TEXT_LEN]);
