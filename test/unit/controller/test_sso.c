/* Single sign-on of members: what they are told, whose tokens let them in, and the end of a login
 * (spec 04 section 4.9; CTL-85 to CTL-89). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dict.h"
#include "base/hex.h"
#include "controller/sso.h"
#include "controller/sso_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define MEMBER NET "/member/aabbccddee"
#define NODE   UINT64_C(0xaabbccddee)
#define ISSUER "https://login.example/realm"
#define URL    "https://controller.example/sso"

static const char network[] =
    "{\"ssoEnabled\":true,\"ssoConfig\":{\"issuer\":\"" ISSUER "\",\"clientId\":\"panlan\","
    "\"provider\":\"keycloak\",\"mode\":\"%s\",\"allowList\":[\"Ann@example.org\",\"staff\"]%s}}";

/* ---- an issuer ---- */

static unsigned char issuer_pk[crypto_sign_PUBLICKEYBYTES];
static unsigned char issuer_sk[crypto_sign_SECRETKEYBYTES];

static void encode(const void *data, size_t len, char *out, size_t cap)
{
    sodium_bin2base64(out, cap, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* A token with this header and these claims, signed by the issuer. */
static char *token_with(const char *header, const char *claims)
{
    char *text = calloc(1, 8192);
    assert_non_null(text);
    encode(header, strlen(header), text, 8192);
    strcat(text, ".");
    encode(claims, strlen(claims), text + strlen(text), 8192 - strlen(text));
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, (unsigned char *)text, strlen(text), issuer_sk);
    strcat(text, ".");
    encode(signature, sizeof(signature), text + strlen(text), 8192 - strlen(text));
    return text;
}

static char *token(const char *claims)
{
    return token_with("{\"alg\":\"EdDSA\",\"kid\":\"k1\"}", claims);
}

static const char *key_set(void)
{
    static char text[256];
    char x[64];
    encode(issuer_pk, sizeof(issuer_pk), x, sizeof(x));
    snprintf(text, sizeof(text),
             "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k1\"},5,{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
             "\"kid\":\"k1\",\"x\":\"%s\"}]}",
             x);
    return text;
}

static int verify(void *ctx, const struct jwt_key *key, const void *data, size_t len,
                  const uint8_t *signature, size_t signature_len)
{
    (void)ctx;
    return signature_len == crypto_sign_BYTES &&
                   crypto_sign_verify_detached(signature, data, len, key->a) == 0
               ? 0
               : -EBADMSG;
}

/* ---- a member ---- */

struct told {
    uint64_t version;
    char url[2048];
    char nonce[64];
    char state[128];
};

static void text_of(struct dict d, const char *key, char *out, size_t cap)
{
    size_t len = 0;
    assert_int_equal(dict_get(d, key, out, cap - 1, &len), 0);
    out[len] = '\0';
}

/* Ask; the answer has to be that a login is needed. */
static struct told ask(struct fake *f)
{
    struct told t = {.version = 99};
    fake_run(f, 1100);
    fake_clear(f);
    fake_request(f, FAKE_NWID, NODE, NULL);
    const struct fake_sent *sent = fake_last(f, FAKE_ERROR, NODE);
    assert_non_null(sent);
    assert_int_equal(sent->code, ERROR_NETWORK_AUTHENTICATION_REQUIRED);
    assert_int_equal(fake_count(f, FAKE_CONFIG, NODE), 0);
    assert_non_null(sent->dict);
    struct dict d = dict_init(sent->dict, sent->len);
    t.version = dict_get_u64(d, "aV", 99);
    if (t.version == 0) {
        text_of(d, "aU", t.url, sizeof(t.url));
    } else {
        text_of(d, "aN", t.nonce, sizeof(t.nonce));
        text_of(d, "aS", t.state, sizeof(t.state));
    }
    return t;
}

static bool gets_config(struct fake *f)
{
    fake_run(f, 1100);
    fake_clear(f);
    fake_request(f, FAKE_NWID, NODE, NULL);
    return fake_last(f, FAKE_CONFIG, NODE) != NULL;
}

static int64_t wall_s(const struct fake *f)
{
    return (f->now_ms + f->wall_offset_ms) / 1000;
}

/* Claims for a nonce that are all right, with an end of the test's own. */
static const char *claims_for(const struct fake *f, const char *nonce, int64_t expires_in_s,
                              const char *more)
{
    static char text[1024];
    snprintf(text, sizeof(text),
             "{\"iss\":\"" ISSUER "\",\"aud\":\"panlan\",\"sub\":\"u1\",\"nonce\":\"%s\","
             "\"iat\":%lld,\"exp\":%lld%s}",
             nonce, (long long)wall_s(f), (long long)(wall_s(f) + expires_in_s), more);
    return text;
}

/* Post a form. Returns the HTTP status; *ret_why what was said. */
static unsigned post(struct fake *f, const char *id_token, const char *state, const char *extra,
                     const char **ret_why)
{
    static char form[16384];
    struct sso_login *login = NULL;
    snprintf(form, sizeof(form), "x=1&state=%s&id_token=%s%s%s", state, id_token,
             extra != NULL ? "&extra_nonce=" : "", extra != NULL ? extra : "");
    int error = sso_login_new(f->c, form, strlen(form), f->now_ms, &login, ret_why);
    if (error != 0) {
        return 400;
    }
    assert_string_equal(sso_login_issuer(login), ISSUER);
    unsigned status = sso_login_finish(f->c, login, key_set(), strlen(key_set()), verify, NULL,
                                       f->now_ms, ret_why);
    fake_settle(f);
    return status;
}

static unsigned log_in(struct fake *f, const char *more)
{
    const char *why = NULL;
    struct told t = ask(f);
    char *id_token = token(claims_for(f, t.nonce, 3600, more));
    unsigned status = post(f, id_token, t.state, NULL, &why);
    free(id_token);
    return status;
}

static void make_network(struct fake *f, const char *mode, const char *more)
{
    char body[1024];
    snprintf(body, sizeof(body), network, mode, more);
    controller_set_sso_url(f->c, URL);
    fake_network(f, body);
    assert_int_equal(fake_status(f, "POST", MEMBER, "{\"authorized\":true}"), 200);
}

/* CTL-47, CTL-85 */
static void test_a_member_is_told_what_its_node_needs(void **state)
{
    struct fake *f = *state;
    char text[256];
    make_network(f, "default", "");
    struct told t = ask(f);
    assert_int_equal(t.version, 1);
    assert_int_equal(strlen(t.nonce), 32);
    assert_int_equal(strlen(t.state), 96 + 17);
    assert_string_equal(t.state + 96, "_12a402e62ed49ba9");
    const struct fake_sent *sent = fake_last(f, FAKE_ERROR, NODE);
    struct dict d = dict_init(sent->dict, sent->len);
    text_of(d, "iU", text, sizeof(text));
    assert_string_equal(text, ISSUER);
    text_of(d, "aCU", text, sizeof(text));
    assert_string_equal(text, URL);
    text_of(d, "aCID", text, sizeof(text));
    assert_string_equal(text, "panlan");
    text_of(d, "aSSOp", text, sizeof(text));
    assert_string_equal(text, "keycloak");
}

static void test_an_exempt_member_and_other_networks_need_no_login(void **state)
{
    struct fake *f = *state;
    make_network(f, "default", "");
    (void)ask(f);
    assert_int_equal(fake_status(f, "POST", MEMBER, "{\"ssoExempt\":true}"), 200);
    assert_true(gets_config(f));
    struct netconf conf;
    fake_config(f, NODE, &conf);
    assert_null(conf.sso);
    netconf_free(&conf);
    assert_int_equal(fake_status(f, "POST", MEMBER, "{\"ssoExempt\":false}"), 200);
    (void)ask(f);
    assert_int_equal(fake_status(f, "POST", NET, "{\"ssoEnabled\":false}"), 200);
    assert_true(gets_config(f));
}

/* CTL-86 */
static void test_state_is_made_of_the_nonce_and_both_are_kept_for_a_while(void **state)
{
    struct fake *f = *state;
    uint8_t nonce[SSO_NONCE_LEN];
    char want[SSO_STATE_TEXT + 1];
    make_network(f, "default", "");
    struct told a = ask(f);
    struct told b = ask(f);
    assert_string_equal(a.nonce, b.nonce);
    assert_int_equal(hex_decode(a.nonce, 32, nonce, sizeof(nonce)), 0);
    sso_state_text(f->c, nonce, want);
    assert_memory_equal(a.state, want, SSO_STATE_TEXT);
    fake_run(f, SSO_LOGIN_MS);
    b = ask(f);
    assert_string_not_equal(a.nonce, b.nonce);
    assert_memory_not_equal(a.state, b.state, SSO_STATE_TEXT);
}

static void test_a_browser_url_for_any_node(void **state)
{
    struct fake *f = *state;
    make_network(f, "default", ",\"authorizationEndpoint\":\"https://login.example/auth\"");
    struct told t = ask(f);
    assert_int_equal(t.version, 0);
    const char *want = "https://login.example/auth?response_type=id_token&response_mode=form_post"
                       "&scope=openid+email+profile&redirect_uri=https%3A%2F%2Fcontroller.example"
                       "%2Fsso&nonce=";
    assert_memory_equal(t.url, want, strlen(want));
    assert_non_null(strstr(t.url, "&state="));
    assert_non_null(strstr(t.url, "&client_id=panlan"));
}

static void test_a_login_lets_in_and_reaches_the_member_at_once(void **state)
{
    struct fake *f = *state;
    make_network(f, "default", "");
    assert_int_equal(log_in(f, ""), 200);
    fake_run(f, 300);
    struct netconf conf;
    fake_config(f, NODE, &conf); /* pushed, nobody asked */
    assert_non_null(conf.sso);
    assert_true(conf.sso->enabled);
    netconf_free(&conf);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_in_range(ji(obj, "authenticationExpiryTime") / 1000, wall_s(f) + 3500, wall_s(f) + 3600);
    json_decref(obj);
    assert_true(gets_config(f));
}

/* CTL-87: everything that has to be right, one wrong at a time. */
static void test_wrong_tokens_let_nobody_in(void **state)
{
    struct fake *f = *state;
    const char *why = NULL;
    make_network(f, "default", "");
    struct told t = ask(f);
    char zero[97];
    memset(zero, '0', 96);
    zero[96] = '\0';
    const char *good = claims_for(f, t.nonce, 3600, "");
    char other_net[128];
    snprintf(other_net, sizeof(other_net), "%.96s_12a402e62e000001", t.state);
    char *right = token(good);
    assert_int_equal(post(f, right, zero, NULL, &why), 400);
    assert_int_equal(post(f, right, other_net, NULL, &why), 400);
    assert_int_equal(post(f, right, "", NULL, &why), 400);
    char *bent = strdup(right);
    char *letter = &bent[strlen(bent) - 10];
    *letter = *letter == 'A' ? 'B' : 'A';
    assert_int_equal(post(f, bent, t.state, NULL, &why), 403);
    free(bent);
    char *none = token_with("{\"alg\":\"none\"}", good);
    assert_int_equal(post(f, none, t.state, NULL, &why), 400);
    free(none);
    char *symmetric = token_with("{\"alg\":\"HS256\",\"kid\":\"k1\"}", good);
    assert_int_equal(post(f, symmetric, t.state, NULL, &why), 400);
    free(symmetric);
    char *other_key = token_with("{\"alg\":\"EdDSA\",\"kid\":\"k2\"}", good);
    assert_int_equal(post(f, other_key, t.state, NULL, &why), 403);
    free(other_key);
    static const struct {
        const char *was;
        const char *is;
    } changes[] = {
        {"login.example", "evil.example"},
        {"\"aud\":\"panlan\"", "\"aud\":\"other\""},
        {"\"aud\":\"panlan\"", "\"aud\":[\"panlan\",\"b\"]"},
        {"\"sub\":\"u1\"", "\"sub\":\"\""},
        {"\"sub\":\"u1\"", "\"sub\":7"},
        {"\"exp\":", "\"exp\":1,\"x\":"},
        {"\"iat\":", "\"nbf\":9999999999,\"x\":"},
        {"\"exp\":", "\"exp\":\"\",\"x\":"},
    };
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        char claims[1024];
        const char *at = strstr(good, changes[i].was);
        assert_non_null(at);
        snprintf(claims, sizeof(claims), "%.*s%s%s", (int)(at - good), good, changes[i].is,
                 at + strlen(changes[i].was));
        char *wrong = token(claims);
        assert_int_equal(post(f, wrong, t.state, NULL, &why), 403);
        free(wrong);
    }
    (void)ask(f); /* still shut out, with the same nonce */
    assert_int_equal(post(f, right, t.state, NULL, &why), 200);
    assert_int_equal(post(f, right, t.state, NULL, &why), 400); /* once */
    free(right);
}

/* CTL-87: refresh */
static void test_a_refresh_is_for_the_same_person(void **state)
{
    struct fake *f = *state;
    const char *why = NULL;
    make_network(f, "default", "");
    struct told t = ask(f);
    char *early = token(claims_for(f, "", 7200, ""));
    assert_int_equal(post(f, early, "refresh", t.nonce, &why), 400); /* nothing to refresh yet */
    char *first = token(claims_for(f, t.nonce, 3600, ""));
    assert_int_equal(post(f, first, t.state, NULL, &why), 200);
    assert_int_equal(post(f, early, "refresh", t.nonce, &why), 200);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_in_range(ji(obj, "authenticationExpiryTime") / 1000, wall_s(f) + 7100, wall_s(f) + 7200);
    json_decref(obj);
    char claims[512];
    snprintf(claims, sizeof(claims),
             "{\"iss\":\"" ISSUER "\",\"aud\":\"panlan\",\"sub\":\"u2\",\"exp\":%lld}",
             (long long)wall_s(f) + 9000);
    char *other = token(claims);
    assert_int_equal(post(f, other, "refresh", t.nonce, &why), 403);
    assert_int_equal(post(f, early, "refresh", "00112233445566778899aabbccddeeff", &why), 400);
    free(early);
    free(first);
    free(other);
}

/* CTL-88 */
static void test_lists_of_people_and_groups(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *mode;
        const char *claims;
        unsigned status;
    } cases[] = {
        {"email", "", 403},
        {"email", ",\"email\":\"bob@example.org\"", 403},
        {"email", ",\"email\":\"ann@example.org\",\"email_verified\":false", 403},
        {"email", ",\"email\":\"ann@example.org\",\"email_verified\":\"false\"", 403},
        {"email", ",\"email\":\"ann@example.org\",\"email_verified\":\"true\"", 200},
        {"email", ",\"email\":\"ann@example.org\"", 200},
        {"group", ",\"email\":\"ann@example.org\"", 403},
        {"group", ",\"groups\":[\"guests\"]", 403},
        {"group", ",\"groups\":[\"guests\",\"staff\"]", 200},
        {"group", ",\"roles\":\"staff\"", 200},
        {"group", ",\"https://my.zerotier.com/roles\":[\"staff\"]", 200},
    };
    make_network(f, "default", "");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char body[1024];
        snprintf(body, sizeof(body), network, cases[i].mode, "");
        assert_int_equal(fake_status(f, "POST", NET, body), 200);
        assert_int_equal(log_in(f, cases[i].claims), cases[i].status);
        assert_int_equal(gets_config(f), cases[i].status == 200);
        assert_int_equal(fake_status(f, "DELETE", MEMBER, NULL), 200);
        assert_int_equal(fake_status(f, "POST", MEMBER, "{\"authorized\":true}"), 200);
    }
}

/* CTL-89 */
static void test_the_end_of_a_login_revokes_and_changes_nothing_else(void **state)
{
    struct fake *f = *state;
    make_network(f, "default", "");
    assert_int_equal(fake_status(f, "POST", NET "/member/1122334455",
                                 "{\"authorized\":true,\"ssoExempt\":true}"),
                     200);
    fake_request(f, FAKE_NWID, UINT64_C(0x1122334455), NULL);
    assert_int_equal(log_in(f, ""), 200);
    fake_run(f, 3500 * 1000);
    assert_true(gets_config(f));
    fake_request(f, FAKE_NWID, UINT64_C(0x1122334455), NULL);
    fake_clear(f);
    fake_run(f, 100 * 1000 + 2000);
    const struct fake_sent *sent = fake_last(f, FAKE_REVOCATIONS, UINT64_C(0x1122334455));
    assert_non_null(sent);
    assert_int_equal(sent->revs[0].target, NODE);
    struct controller_counts counts;
    controller_get_counts(f->c, &counts);
    assert_int_equal(counts.sso_timeouts, 1);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_true(json_is_true(json_object_get(obj, "authorized")));
    json_decref(obj);
    assert_int_equal(log_in(f, ""), 200); /* and again */
    assert_true(gets_config(f));
}

/* Logins are told and noted, failed ones with an address only if the issuer has signed it. */
static void test_logins_are_noted(void **state)
{
    struct fake *f = *state;
    make_network(f, "email", "");
    fake_status(f, "POST", "/controller/hook",
                "{\"url\":\"http://a.ex\",\"types\":[\"NETWORK_SSO_LOGIN\","
                "\"NETWORK_SSO_LOGIN_ERROR\"]}");
    issuer_sk[0] ^= 1;
    assert_int_equal(log_in(f, ",\"email\":\"eve@example.org\""), 403);
    issuer_sk[0] ^= 1;
    assert_int_equal(log_in(f, ",\"email\":\"bob@example.org\""), 403);
    assert_int_equal(log_in(f, ",\"email\":\"ann@example.org\""), 200);
    json_t *obj = fake_api(f, "GET", MEMBER "/history?limit=3", NULL);
    const json_t *data = json_object_get(obj, "data");
    assert_string_equal(js(json_array_get(data, 0), "type"), "sso.login");
    assert_string_equal(js(json_object_get(json_array_get(data, 0), "new"), "email"),
                        "ann@example.org");
    assert_string_equal(js(json_object_get(json_array_get(data, 1), "new"), "email"),
                        "bob@example.org");
    assert_string_equal(js(json_array_get(data, 2), "type"), "sso.failed");
    assert_string_equal(js(json_object_get(json_array_get(data, 2), "new"), "email"), "?");
    json_decref(obj);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->post_count, i + 1);
        controller_hook_done(f->c, f->posts[i].delivery, 200, NULL, f->now_ms);
    }
    assert_non_null(
        strstr(f->posts[0].body, "\"sso_user_email\":\"\",\"error\":\"the token is not"));
    assert_non_null(strstr(f->posts[1].body, "\"hook_type\":\"NETWORK_SSO_LOGIN_ERROR\""));
    assert_non_null(
        strstr(f->posts[1].body, "\"sso_user_email\":\"bob@example.org\",\"error\":\"you are not"));
    assert_non_null(strstr(f->posts[2].body, "\"hook_type\":\"NETWORK_SSO_LOGIN\","));
}

static void test_logins_outlive_a_restart(void **state)
{
    (void)state;
    struct fake f;
    char path[128];
    const char *why = NULL;
    fake_db_name(path, sizeof(path), "sso");
    fake_init(&f, path);
    make_network(&f, "default", "");
    struct told t = ask(&f);
    char *first = token(claims_for(&f, t.nonce, 3600, ""));
    assert_int_equal(post(&f, first, t.state, NULL, &why), 200);
    fake_restart(&f);
    controller_set_sso_url(f.c, URL);
    assert_true(gets_config(&f));
    json_t *obj = fake_api(&f, "GET", MEMBER, NULL);
    assert_null(json_object_get(obj, "ssoSession")); /* it is stored, and shown to nobody */
    json_decref(obj);
    char *next = token(claims_for(&f, "", 7200, ""));
    assert_int_equal(post(&f, next, "refresh", t.nonce, &why), 200);
    free(first);
    free(next);
    fake_done(&f);
    fake_db_remove(path);
}

static void test_strange_forms(void **state)
{
    struct fake *f = *state;
    static const char *const forms[] = {
        "",
        "&",
        "=",
        "id_token",
        "id_token=",
        "id_token=a&state=b",
        "id_token=a.b.c&state=refresh",
        "id_token=%",
        "id_token=%00&state=x",
        "state=%zz&id_token=e30.e30.e30",
        "id_token=e30.e30.e30&state=refresh&extra_nonce=zz",
        "id_token=....&state=..",
    };
    make_network(f, "default", "");
    (void)ask(f);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct sso_login *login = NULL;
        const char *why = NULL;
        int error = sso_login_new(f->c, forms[i], strlen(forms[i]), f->now_ms, &login, &why);
        assert_true(error < 0);
        assert_non_null(why);
    }
}

static int make_issuer(void **state)
{
    (void)state;
    crypto_sign_keypair(issuer_pk, issuer_sk);
    return 0;
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)
    const struct CMUnitTest tests[] = {
        ONE(test_a_member_is_told_what_its_node_needs),
        ONE(test_an_exempt_member_and_other_networks_need_no_login),
        ONE(test_state_is_made_of_the_nonce_and_both_are_kept_for_a_while),
        ONE(test_a_browser_url_for_any_node),
        ONE(test_a_login_lets_in_and_reaches_the_member_at_once),
        ONE(test_wrong_tokens_let_nobody_in),
        ONE(test_a_refresh_is_for_the_same_person),
        ONE(test_lists_of_people_and_groups),
        ONE(test_the_end_of_a_login_revokes_and_changes_nothing_else),
        ONE(test_logins_are_noted),
        cmocka_unit_test(test_logins_outlive_a_restart),
        ONE(test_strange_forms),
    };
#undef ONE
    return cmocka_run_group_tests(tests, make_issuer, NULL);
}
