/* Codec of invitations: prefix, base64url of (version, flags, network ID, token, name, planet,
 * checksum). The checksum catches damage, it proves nothing: an invitation is as trustworthy as
 * the way it came. Format: doc/invitation.md. */
#include "daemon/invitation.h"

#include "base/cursor.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    VERSION = 1,
    FLAG_PLANET = 1,
    FLAG_TOKEN = 2,
    FLAG_NAME = 4,
    FLAGS_KNOWN = 7,
    CHECKSUM_LEN = 8,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void checksum(const uint8_t *data, size_t len, uint8_t out[CHECKSUM_LEN])
{
    uint8_t digest[crypto_generichash_BYTES];
    (void)crypto_generichash(digest, sizeof(digest), data, len, NULL, 0);
    memcpy(out, digest, CHECKSUM_LEN);
}

bool invitation_token_fits(const char *token)
{
    size_t len = strlen(token);
    return len > 0 && len <= INVITATION_TOKEN_MAX && strspn(token, alphabet) == len;
}

static void write_text(struct wr *w, const char *text)
{
    wr_u8(w, (uint8_t)strlen(text));
    wr_bytes(w, text, strlen(text));
}

static void encode_base64(const uint8_t *data, size_t len, char *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8) | data[i];
        for (have += 8; have >= 6; have -= 6) {
            *out++ = alphabet[(bits >> (have - 6)) & 63];
        }
    }
    if (have > 0) {
        *out++ = alphabet[(bits << (6 - have)) & 63];
    }
    *out = '\0';
}

int invitation_print(const struct invitation *inv, char out[INVITATION_TEXT_MAX])
{
    bool has_token = inv->token[0] != '\0';
    bool has_name = inv->name[0] != '\0';
    if (inv->nwid == 0 || (has_token && !invitation_token_fits(inv->token)) ||
        (inv->has_planet && inv->planet.type != WORLD_PLANET)) {
        return -EINVAL;
    }
    uint8_t raw[INVITATION_RAW_MAX];
    struct wr w = wr_init(raw, sizeof(raw));
    wr_u8(&w, VERSION);
    wr_u8(&w, (uint8_t)((inv->has_planet ? FLAG_PLANET : 0) | (has_token ? FLAG_TOKEN : 0) |
                        (has_name ? FLAG_NAME : 0)));
    wr_u64(&w, inv->nwid);
    if (has_token) {
        write_text(&w, inv->token);
    }
    if (has_name) {
        write_text(&w, inv->name);
    }
    if (inv->has_planet) {
        world_write(&w, &inv->planet);
    }
    if (w.bad || wr_left(&w) < CHECKSUM_LEN) {
        return -EINVAL;
    }
    uint8_t sum[CHECKSUM_LEN];
    checksum(raw, wr_len(&w), sum);
    wr_bytes(&w, sum, sizeof(sum));
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): the rest follows */
    memcpy(out, INVITATION_PREFIX, strlen(INVITATION_PREFIX));
    encode_base64(raw, wr_len(&w), out + strlen(INVITATION_PREFIX));
    sodium_memzero(raw, sizeof(raw));
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool invitation_looks_like(const char *text)
{
    while (is_blank(*text)) {
        text++;
    }
    return strncmp(text, INVITATION_PREFIX, strlen(INVITATION_PREFIX)) == 0;
}

static int fail(enum invitation_fault fault, enum invitation_fault *ret_fault)
{
    *ret_fault = fault;
    return -EBADMSG;
}

/* Bytes of base64url text, blanks skipped. Returns their count; -EBADMSG. */
static ssize_t decode_base64(const char *text, uint8_t *out, size_t cap,
                             enum invitation_fault *ret_fault)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if (is_blank(*text)) {
            continue;
        }
        const char *at = strchr(alphabet, *text);
        if (at == NULL) {
            return fail(INVITATION_CHARACTER, ret_fault);
        }
        bits = (bits << 6) | (uint32_t)(at - alphabet);
        have += 6;
        if (have < 8) {
            continue;
        }
        have -= 8;
        if (len == cap) {
            return fail(INVITATION_CHECKSUM, ret_fault);
        }
        out[len++] = (uint8_t)(bits >> have);
    }
    return (ssize_t)len;
}

/* A counted text of 1..max bytes into out. */
static void read_text(struct rd *r, char *out, size_t max)
{
    size_t len = rd_u8(r);
    if (len == 0 || len > max) {
        r->bad = true;
        return;
    }
    rd_copy(r, out, len);
    out[len] = '\0';
}

static int parse_content(struct rd *r, struct invitation *inv)
{
    unsigned flags = rd_u8(r);
    inv->nwid = rd_u64(r);
    if ((flags & FLAG_TOKEN) != 0) {
        read_text(r, inv->token, INVITATION_TOKEN_MAX);
    }
    if ((flags & FLAG_NAME) != 0) {
        read_text(r, inv->name, INVITATION_NAME_MAX);
    }
    if ((flags & FLAG_PLANET) != 0) {
        inv->has_planet = true;
        if (world_read(r, &inv->planet) < 0) {
            return -EBADMSG;
        }
    }
    if (rd_done(r) < 0 || (flags & ~(unsigned)FLAGS_KNOWN) != 0 || inv->nwid == 0 ||
        strlen(inv->name) > INVITATION_NAME_MAX ||
        ((flags & FLAG_TOKEN) != 0 && !invitation_token_fits(inv->token)) ||
        (inv->has_planet && inv->planet.type != WORLD_PLANET)) {
        return -EBADMSG;
    }
    return 0;
}

int invitation_parse(const char *text, struct invitation *ret, enum invitation_fault *ret_fault)
{
    while (is_blank(*text)) {
        text++;
    }
    if (!invitation_looks_like(text)) {
        return fail(INVITATION_FOREIGN, ret_fault);
    }
    uint8_t raw[INVITATION_RAW_MAX];
    ssize_t len = decode_base64(text + strlen(INVITATION_PREFIX), raw, sizeof(raw), ret_fault);
    if (len < 0) {
        return -EBADMSG;
    }
    if (len < 2 + 8 + CHECKSUM_LEN) {
        return fail(INVITATION_SHORT, ret_fault);
    }
    uint8_t sum[CHECKSUM_LEN];
    size_t body = (size_t)len - CHECKSUM_LEN;
    checksum(raw, body, sum);
    if (memcmp(sum, raw + body, CHECKSUM_LEN) != 0) {
        return fail(INVITATION_CHECKSUM, ret_fault);
    }
    struct rd r = rd_init(raw, body);
    if (rd_u8(&r) != VERSION) {
        return fail(INVITATION_VERSION, ret_fault);
    }
    struct invitation inv = {0};
    int err = parse_content(&r, &inv);
    sodium_memzero(raw, sizeof(raw));
    if (err < 0) {
        return fail(INVITATION_CONTENT, ret_fault);
    }
    *ret = inv;
    return 0;
}

const char *invitation_fault_text(enum invitation_fault fault)
{
    switch (fault) {
    case INVITATION_FOREIGN:
        return "this is not an invitation (one begins with " INVITATION_PREFIX ")";
    case INVITATION_CHARACTER:
        return "the invitation holds a character that belongs to none: copy the whole line again";
    case INVITATION_SHORT:
        return "the invitation is cut off: copy the whole line again";
    case INVITATION_CHECKSUM:
        return "the invitation is damaged or incomplete: copy the whole line again";
    case INVITATION_VERSION:
        return "the invitation was made by a newer version: update this program";
    case INVITATION_CONTENT:
        return "the invitation makes no sense, though it is undamaged: ask for a new one";
    }
    return "unknown fault";
}
