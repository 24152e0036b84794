/* Invitations: one line of text that holds all a machine needs to join a network: planet, network
 * ID and an optional join token. Pure. Format: doc/invitation.md. */
#pragma once

#include "base/attr.h"
#include "wire/world.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INVITATION_PREFIX "panlan1:"

enum {
    INVITATION_TOKEN_MAX = 64, /* characters of a token */
    INVITATION_NAME_MAX = 64,  /* bytes of a network name */
    INVITATION_RAW_MAX =
        1 + 1 + 8 + 1 + INVITATION_TOKEN_MAX + 1 + INVITATION_NAME_MAX + 2 + WORLD_WIRE_MAX + 8,
    INVITATION_TEXT_MAX = 8 + (INVITATION_RAW_MAX * 4 + 2) / 3 + 1, /* text and its NUL */
};

struct invitation {
    uint64_t nwid;
    char token[INVITATION_TOKEN_MAX + 1]; /* empty = none */
    char name[INVITATION_NAME_MAX + 1];   /* of the network, for people; may be empty */
    bool has_planet;                      /* false: the public planet */
    struct world planet;
};

/* Why a text is not an invitation that can be used. */
enum invitation_fault {
    INVITATION_FOREIGN,   /* does not begin with the prefix */
    INVITATION_CHARACTER, /* holds a character that belongs to no invitation */
    INVITATION_SHORT,     /* cut off */
    INVITATION_CHECKSUM,  /* damaged */
    INVITATION_VERSION,   /* made by a newer program */
    INVITATION_CONTENT,   /* checksum right, content senseless */
};

/* Write the text. Returns 0; -EINVAL a member is out of range (network ID 0, token with characters
 * other than letters, digits, '-' and '_', world not a planet). */
MUST_CHECK int invitation_print(const struct invitation *inv, char out[INVITATION_TEXT_MAX]);

/* True if a join token can be part of an invitation: 1 to INVITATION_TOKEN_MAX letters, digits, '-'
 * and '_'. Tokens that an administrator chose need not be like that. */
bool invitation_token_fits(const char *token);

/* True if the text begins like an invitation (blanks before it allowed). */
bool invitation_looks_like(const char *text);

/* Read a text; white space around and inside it (line breaks of mail programs) is ignored.
 * Returns 0; -EBADMSG with *ret_fault set. */
MUST_CHECK int invitation_parse(const char *text, struct invitation *ret,
                                enum invitation_fault *ret_fault);

/* One sentence for people about a fault. */
const char *invitation_fault_text(enum invitation_fault fault);
