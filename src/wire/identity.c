/* Identities: binary and text codec. Source: spec 01 sections 1, 2.6, 2.7. */
#include "wire/identity.h"

#include "base/hex.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    TYPE_0 = 0,
    ADDRESS_DIGITS = 10,
    AT_PUBLIC = ADDRESS_DIGITS + 3, /* behind ":0:" */
    AT_PRIVATE = AT_PUBLIC + 2 * IDENTITY_PUBLIC_LEN + 1,
};

static int read_form(struct rd *r, struct identity *ret, bool keep_private)
{
    struct identity id = {0};
    uint8_t type;
    uint8_t private_len;
    const uint8_t *priv;

    id.address = rd_u40(r);
    type = rd_u8(r);
    rd_copy(r, id.pub, sizeof(id.pub));
    private_len = rd_u8(r);
    if (type != TYPE_0 || (private_len != 0 && private_len != IDENTITY_PRIVATE_LEN)) {
        r->bad = true;
    }
    priv = rd_bytes(r, private_len);
    if (priv == NULL) {
        return -EBADMSG;
    }
    *ret = id;
    if (private_len > 0 && keep_private) {
        memcpy(ret->priv, priv, IDENTITY_PRIVATE_LEN);
        ret->has_private = true;
    }
    return 0;
}

int identity_read(struct rd *r, struct identity *ret)
{
    return read_form(r, ret, true);
}

int identity_read_public(struct rd *r, struct identity *ret)
{
    return read_form(r, ret, false);
}

void identity_write(struct wr *w, const struct identity *id, bool with_private)
{
    bool secret = with_private && id->has_private;

    wr_u40(w, id->address);
    wr_u8(w, TYPE_0);
    wr_bytes(w, id->pub, sizeof(id->pub));
    wr_u8(w, secret ? IDENTITY_PRIVATE_LEN : 0);
    if (secret) {
        wr_bytes(w, id->priv, sizeof(id->priv));
    }
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int identity_parse(const char *text, size_t len, struct identity *ret)
{
    struct identity id = {0};
    int err = 0;

    if (len >= IDENTITY_TEXT_TOO_LONG) {
        return -EBADMSG;
    }
    while (len > 0 && is_blank(text[len - 1])) {
        len--;
    }
    if ((len != IDENTITY_TEXT_PUBLIC && len != IDENTITY_TEXT_SECRET) ||
        memcmp(text + ADDRESS_DIGITS, ":0:", 3) != 0 ||
        address_parse(text, ADDRESS_DIGITS, &id.address) < 0 || address_is_reserved(id.address) ||
        hex_decode(text + AT_PUBLIC, 2 * sizeof(id.pub), id.pub, sizeof(id.pub)) < 0) {
        return -EBADMSG;
    }
    if (len == IDENTITY_TEXT_SECRET) {
        if (text[AT_PRIVATE - 1] != ':' ||
            hex_decode(text + AT_PRIVATE, 2 * sizeof(id.priv), id.priv, sizeof(id.priv)) < 0) {
            err = -EBADMSG;
        }
        id.has_private = true;
    }
    if (err == 0) {
        *ret = id;
    }
    sodium_memzero(&id, sizeof(id));
    return err;
}

void identity_print(const struct identity *id, bool with_private, char out[IDENTITY_TEXT_LEN])
{
    address_print(id->address, out);
    out[ADDRESS_DIGITS] = ':';
    out[ADDRESS_DIGITS + 1] = '0';
    out[ADDRESS_DIGITS + 2] = ':';
    hex_encode(id->pub, sizeof(id->pub), out + AT_PUBLIC);
    if (with_private && id->has_private) {
        out[AT_PRIVATE - 1] = ':';
        hex_encode(id->priv, sizeof(id->priv), out + AT_PRIVATE);
    }
}

int address_parse(const char *text, size_t len, uint64_t *ret)
{
    return len == ADDRESS_DIGITS ? hex_to_u64(text, len, ADDRESS_DIGITS, ret) : -EBADMSG;
}

void address_print(uint64_t address, char out[ADDRESS_TEXT_LEN])
{
    hex_from_u64(address, ADDRESS_DIGITS, out);
}
