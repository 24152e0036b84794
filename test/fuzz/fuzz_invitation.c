/* Invitations: the input as text, and as content behind a right checksum. */
#include "fuzz.h"

#include "daemon/invitation.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKSUM_LEN = 8 };

static struct invitation inv;
static struct invitation back;
static char printed[INVITATION_TEXT_MAX];

static void parse(const char *text)
{
    enum invitation_fault fault;
    if (invitation_parse(text, &inv, &fault) < 0) {
        fuzz_require(invitation_fault_text(fault)[0] != '\0', "a fault has a text");
        return;
    }
    fuzz_require(invitation_print(&inv, printed) == 0, "what was read can be written");
    fuzz_require(invitation_parse(printed, &back, &fault) == 0, "what was written reads");
    fuzz_require(inv.nwid == back.nwid && inv.has_planet == back.has_planet &&
                     strcmp(inv.token, back.token) == 0 && strcmp(inv.name, back.name) == 0,
                 "round trip");
}

static void parse_text(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    if (text != NULL) {
        memcpy(text, data, len);
        text[len] = '\0';
        parse(text);
        free(text);
    }
}

static void parse_content(const uint8_t *data, size_t len)
{
    uint8_t sum[crypto_generichash_BYTES];
    size_t cap =
        sodium_base64_ENCODED_LEN(len + CHECKSUM_LEN, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    uint8_t *raw = malloc(len + CHECKSUM_LEN);
    char *text = malloc(strlen(INVITATION_PREFIX) + cap);
    if (raw != NULL && text != NULL) {
        memcpy(raw, data, len);
        (void)crypto_generichash(sum, sizeof(sum), data, len, NULL, 0);
        memcpy(raw + len, sum, CHECKSUM_LEN);
        memcpy(text, INVITATION_PREFIX, strlen(INVITATION_PREFIX));
        (void)sodium_bin2base64(text + strlen(INVITATION_PREFIX), cap, raw, len + CHECKSUM_LEN,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        parse(text);
    }
    free(raw);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (sodium_init() < 0 || len == 0 || len > 65536) {
        return 0;
    }
    if (data[0] == 'p' || data[0] == ' ') {
        parse_text(data, len);
    } else {
        parse_content(data, len);
    }
    return 0;
}
