/* Reads tokens and key sets, checks claims. Source: see the header. */
#include "controller/jwt.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIM_TIME_MAX = 253402300799 }; /* the year 9999 */

/* base64url without padding into out. Returns 0; -EBADMSG. */
static int decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *ret_len)
{
    const char *end = NULL;
    if (sodium_base642bin(out, cap, text, len, NULL, ret_len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != text + len) {
        return -EBADMSG;
    }
    return 0;
}

/* A part of a token that is a JSON object; NULL if it is none. */
static json_t *decode_object(const char *text, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    size_t size = 0;
    json_t *obj = NULL;
    if (bytes != NULL && decode(text, len, bytes, len + 1, &size) == 0) {
        obj = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
    }
    free(bytes);
    if (!json_is_object(obj)) {
        json_decref(obj);
        return NULL;
    }
    return obj;
}

static int copy_id(const json_t *id, char ret[JWT_ID_MAX + 1])
{
    const char *text = json_string_value(id);
    ret[0] = '\0';
    if (text == NULL) {
        return 0;
    }
    if (strlen(text) > JWT_ID_MAX) {
        return -EBADMSG;
    }
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

static int alg_of(const char *name, enum jwt_alg *ret)
{
    static const char *const names[] = {
        [JWT_RS256] = "RS256", [JWT_ES256] = "ES256", [JWT_EDDSA] = "EdDSA"};
    for (size_t i = 0; name != NULL && i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum jwt_alg)i;
            return 0;
        }
    }
    return -ENOTSUP;
}

static int parse_header(const char *text, size_t len, struct jwt *jwt)
{
    json_t *header = decode_object(text, len);
    if (header == NULL) {
        return -EBADMSG;
    }
    int error = alg_of(json_string_value(json_object_get(header, "alg")), &jwt->alg);
    if (error == 0) {
        error = copy_id(json_object_get(header, "kid"), jwt->key_id);
    }
    if (error == 0 && json_object_get(header, "crit") != NULL) {
        error = -ENOTSUP; /* extensions that we must understand and do not */
    }
    json_decref(header);
    return error;
}

int jwt_parse(const char *text, size_t len, struct jwt *ret)
{
    const char *dot = len <= JWT_TEXT_MAX ? memchr(text, '.', len) : NULL;
    if (dot == NULL) {
        return -EBADMSG;
    }
    const char *claims = dot + 1;
    const char *end = text + len;
    const char *dot2 = memchr(claims, '.', (size_t)(end - claims));
    if (dot2 == NULL) {
        return -EBADMSG;
    }
    struct jwt jwt = {.signed_text = text, .signed_len = (size_t)(dot2 - text)};
    int error = parse_header(text, (size_t)(dot - text), &jwt);
    if (error == 0) {
        error = decode(dot2 + 1, (size_t)(end - dot2 - 1), jwt.signature, sizeof(jwt.signature),
                       &jwt.signature_len);
    }
    if (error != 0) {
        return error;
    }
    jwt.claims = decode_object(claims, (size_t)(dot2 - claims));
    if (jwt.claims == NULL) {
        return -EBADMSG;
    }
    *ret = jwt;
    return 0;
}

void jwt_free(struct jwt *jwt)
{
    json_decref(jwt->claims);
    jwt->claims = NULL;
}

/* ---- keys ---- */

static int key_part(const json_t *obj, const char *name, uint8_t out[JWT_KEY_PART_MAX],
                    size_t *ret_len)
{
    const char *text = json_string_value(json_object_get(obj, name));
    return text == NULL ? -EBADMSG : decode(text, strlen(text), out, JWT_KEY_PART_MAX, ret_len);
}

static bool is_text(const json_t *obj, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL && strcmp(text, want) == 0;
}

/* Returns 0; negative if the key is not for us. */
static int parse_key(const json_t *obj, struct jwt_key *key)
{
    memset(key, 0, sizeof(*key));
    if (json_object_get(obj, "use") != NULL && !is_text(obj, "use", "sig")) {
        return -ENOTSUP;
    }
    int error = copy_id(json_object_get(obj, "kid"), key->id);
    if (error != 0) {
        return error;
    }
    if (is_text(obj, "kty", "RSA")) {
        key->alg = JWT_RS256;
        error = key_part(obj, "n", key->a, &key->a_len);
        return error != 0 ? error : key_part(obj, "e", key->b, &key->b_len);
    }
    if (is_text(obj, "kty", "EC") && is_text(obj, "crv", "P-256")) {
        key->alg = JWT_ES256;
        error = key_part(obj, "x", key->a, &key->a_len);
        error = error != 0 ? error : key_part(obj, "y", key->b, &key->b_len);
        return error == 0 && key->a_len == 32 && key->b_len == 32 ? 0 : -EBADMSG;
    }
    if (is_text(obj, "kty", "OKP") && is_text(obj, "crv", "Ed25519")) {
        key->alg = JWT_EDDSA;
        error = key_part(obj, "x", key->a, &key->a_len);
        return error == 0 && key->a_len == 32 ? 0 : -EBADMSG;
    }
    return -ENOTSUP;
}

int jwt_keys_parse(const char *text, size_t len, struct jwt_key **ret, size_t *ret_count)
{
    json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(doc, "keys");
    if (!json_is_array(list)) {
        json_decref(doc);
        return -EBADMSG;
    }
    struct jwt_key *keys = calloc(JWT_KEYS_MAX, sizeof(*keys));
    size_t count = 0;
    size_t i;
    const json_t *obj;
    if (keys == NULL) {
        json_decref(doc);
        return -ENOMEM;
    }
    json_array_foreach(list, i, obj)
    {
        if (count < JWT_KEYS_MAX && parse_key(obj, &keys[count]) == 0) {
            count++;
        }
    }
    json_decref(doc);
    *ret = keys;
    *ret_count = count;
    return 0;
}

bool jwt_is_signed(const struct jwt *jwt, const struct jwt_key *keys, size_t count,
                   jwt_verify_fn verify, void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        const struct jwt_key *key = &keys[i];
        bool named =
            jwt->key_id[0] == '\0' || key->id[0] == '\0' || strcmp(jwt->key_id, key->id) == 0;
        if (named && key->alg == jwt->alg &&
            verify(ctx, key, jwt->signed_text, jwt->signed_len, jwt->signature,
                   jwt->signature_len) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- claims ---- */

/* A claim that is a time, in s; negative if it is none. */
static int64_t claim_time(const json_t *claims, const char *name)
{
    const json_t *v = json_object_get(claims, name);
    double s = json_is_number(v) ? json_number_value(v) : -1;
    return s >= 0 && s <= (double)CLAIM_TIME_MAX ? (int64_t)s : -1;
}

/* The audience names us, and if it names others too, the token was made for us (azp). */
static bool audience_fits(const json_t *claims, const char *client_id)
{
    const json_t *aud = json_object_get(claims, "aud");
    if (json_is_string(aud)) {
        return strcmp(json_string_value(aud), client_id) == 0;
    }
    bool found = false;
    size_t i;
    const json_t *one;
    json_array_foreach(aud, i, one)
    {
        found = found || (json_is_string(one) && strcmp(json_string_value(one), client_id) == 0);
    }
    return found && (json_array_size(aud) == 1 || is_text(claims, "azp", client_id));
}

static bool same_secret(const char *a, const char *b)
{
    return a != NULL && strlen(a) == strlen(b) && sodium_memcmp(a, b, strlen(b)) == 0;
}

const char *jwt_check(const json_t *claims, const struct jwt_expect *expect)
{
    int64_t expiry = claim_time(claims, "exp");
    if (!is_text(claims, "iss", expect->issuer)) {
        return "the token is of another issuer";
    }
    if (!audience_fits(claims, expect->client_id)) {
        return "the token is for another client";
    }
    if (expiry < 0 || expiry <= expect->now_s - JWT_LEEWAY_S) {
        return "the token has expired";
    }
    if (claim_time(claims, "nbf") > expect->now_s + JWT_LEEWAY_S ||
        claim_time(claims, "iat") > expect->now_s + JWT_LEEWAY_S) {
        return "the token is of the future";
    }
    if (expect->nonce != NULL &&
        !same_secret(json_string_value(json_object_get(claims, "nonce")), expect->nonce)) {
        return "the token is for another login";
    }
    const char *subject = json_string_value(json_object_get(claims, "sub"));
    return subject == NULL || subject[0] == '\0' ? "the token names nobody" : NULL;
}

int64_t jwt_expiry_ms(const json_t *claims)
{
    return claim_time(claims, "exp") * 1000;
}
