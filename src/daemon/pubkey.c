/* Signature checks. */
#include "daemon/pubkey.h"

#include "os/library.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <string.h>

#define LIBRARY "libgnutls.so.30"

enum {
    RSA_MIN_LEN = 256, /* bytes of modulus */
    EC_PART_LEN = 32,
    DER_MAX = 2 + 2 * (2 + 1 + EC_PART_LEN),
};

struct functions {
    int (*init)(gnutls_pubkey_t *key);
    void (*deinit)(gnutls_pubkey_t key);
    int (*import_rsa)(gnutls_pubkey_t key, const gnutls_datum_t *m, const gnutls_datum_t *e);
    int (*import_ecc)(gnutls_pubkey_t key, gnutls_ecc_curve_t curve, const gnutls_datum_t *x,
                      const gnutls_datum_t *y);
    int (*verify)(gnutls_pubkey_t key, gnutls_sign_algorithm_t alg, unsigned flags,
                  const gnutls_datum_t *data, const gnutls_datum_t *signature);
};

static gnutls_datum_t datum(const void *data, size_t len)
{
    /* The library takes pointers to what it only reads. */
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)len};
}

/* One INTEGER of DER: no leading zeros, positive. */
static size_t put_integer(uint8_t *out, const uint8_t *part)
{
    size_t len = EC_PART_LEN;
    while (len > 1 && *part == 0) {
        part++;
        len--;
    }
    size_t pad = *part >= 0x80 ? 1 : 0;
    out[0] = 0x02;
    out[1] = (uint8_t)(len + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, part, len);
    return 2 + pad + len;
}

/* A signature of two bare numbers, as the library wants it. */
static size_t put_der(uint8_t out[DER_MAX], const uint8_t *signature)
{
    size_t len = put_integer(out + 2, signature);
    len += put_integer(out + 2 + len, signature + EC_PART_LEN);
    out[0] = 0x30;
    out[1] = (uint8_t)len;
    return len + 2;
}

static int import(const struct functions *f, gnutls_pubkey_t pub, const struct jwt_key *key)
{
    gnutls_datum_t a = datum(key->a, key->a_len);
    gnutls_datum_t b = datum(key->b, key->b_len);
    return key->alg == JWT_RS256 ? f->import_rsa(pub, &a, &b)
                                 : f->import_ecc(pub, GNUTLS_ECC_CURVE_SECP256R1, &a, &b);
}

static int verify(const struct functions *f, const struct jwt_key *key, gnutls_datum_t data,
                  gnutls_datum_t signature)
{
    gnutls_pubkey_t pub = NULL;
    if (f->init(&pub) != 0) {
        return -ENOMEM;
    }
    gnutls_sign_algorithm_t alg =
        key->alg == JWT_RS256 ? GNUTLS_SIGN_RSA_SHA256 : GNUTLS_SIGN_ECDSA_SHA256;
    int result = import(f, pub, key);
    if (result == 0) {
        result = f->verify(pub, alg, 0, &data, &signature);
    }
    f->deinit(pub);
    return result >= 0 ? 0 : -EBADMSG;
}

static int check_with_library(const struct jwt_key *key, gnutls_datum_t data,
                              gnutls_datum_t signature)
{
    struct functions f;
    void *library = NULL;
    const char *error = "";
    const struct library_symbol table[] = {
        {"gnutls_pubkey_init", &f.init},
        {"gnutls_pubkey_deinit", &f.deinit},
        {"gnutls_pubkey_import_rsa_raw", &f.import_rsa},
        {"gnutls_pubkey_import_ecc_raw", &f.import_ecc},
        {"gnutls_pubkey_verify_data2", &f.verify},
    };
    if (library_open(LIBRARY, table, COUNT_OF(table), &library, &error) != 0) {
        return -ENOTSUP;
    }
    int result = verify(&f, key, data, signature);
    library_close(library);
    return result;
}

int pubkey_verify(void *ctx, const struct jwt_key *key, const void *data, size_t len,
                  const uint8_t *signature, size_t signature_len)
{
    uint8_t der[DER_MAX];
    (void)ctx;
    switch (key->alg) {
    case JWT_EDDSA:
        return signature_len == crypto_sign_BYTES && key->a_len == crypto_sign_PUBLICKEYBYTES &&
                       crypto_sign_verify_detached(signature, data, len, key->a) == 0
                   ? 0
                   : -EBADMSG;
    case JWT_ES256:
        if (signature_len != 2 * EC_PART_LEN) {
            return -EBADMSG;
        }
        return check_with_library(key, datum(data, len), datum(der, put_der(der, signature)));
    case JWT_RS256:
        return key->a_len < RSA_MIN_LEN
                   ? -EBADMSG
                   : check_with_library(key, datum(data, len), datum(signature, signature_len));
    default:
        return -ENOTSUP;
    }
}
