/* Authorization rules of the local API. Checklist: SV-20, SV-21, SV-22, SV-23. */
#include "daemon/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TOKEN   "abcdefghijklmnopqrstuvwx"
#define METRICS "metricsmetricsmetricsmet"
#define WRONG   "abcdefghijklmnopqrstuvwy"

static struct inetaddr ip(const char *text)
{
    struct inetaddr a;
    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static bool allowed(const struct auth_request *request)
{
    struct config_addrs management = {.count = 2};
    management.items[0] = ip("10.1.2.0/24");
    management.items[1] = ip("2001:db8::/32");
    struct auth_rules rules = {
        .api_token = TOKEN, .metrics_token = METRICS, .management = &management};
    return auth_allowed(&rules, request);
}

/* CTL-5 */
static void test_one_credential_counts(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *query;
        const char *authorization;
        bool ok;
    } table[] = {
        {NULL, NULL, NULL, false},
        {TOKEN, NULL, NULL, true},
        {NULL, TOKEN, NULL, true},
        {NULL, NULL, "Bearer " TOKEN, true},
        {NULL, NULL, "bEARER " TOKEN, true},
        {NULL, NULL, "token " TOKEN, true}, /* CTL-94 */
        {NULL, NULL, "TOKEN " TOKEN, true},
        {NULL, NULL, "token " WRONG, false},
        {NULL, NULL, "token" TOKEN, false},
        {NULL, NULL, "Basic " TOKEN, false},
        {NULL, NULL, TOKEN, false},
        {WRONG, TOKEN, NULL, false}, /* a wrong header is not rescued */
        {WRONG, NULL, "Bearer " TOKEN, false},
        {NULL, WRONG, "Bearer " TOKEN, false},
        {TOKEN, WRONG, "Bearer " WRONG, true},
        {"", NULL, NULL, false},
        {TOKEN "x", NULL, NULL, false},
        {METRICS, NULL, NULL, false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct auth_request r = {.path = "/status",
                                 .from = ip("127.0.0.1/4000"),
                                 .token_header = table[i].header,
                                 .token_query = table[i].query,
                                 .authorization = table[i].authorization};
        assert_int_equal(allowed(&r), table[i].ok);
        r.path = "/does/not/exist";
        assert_int_equal(allowed(&r), table[i].ok);
    }
}

/* CTL-7 */
static void test_source_comes_before_token(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        bool ok;
    } table[] = {
        {"127.0.0.1/1", true}, {"127.9.9.9/1", true},   {"::1/1", true},
        {"10.1.2.3/1", true},  {"10.1.3.3/1", false},   {"192.0.2.1/1", false},
        {"0.0.0.0/1", false},  {"2001:db8::7/1", true}, {"2001:db9::7/1", false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct auth_request r = {
            .path = "/status", .from = ip(table[i].from), .token_header = TOKEN};
        assert_int_equal(allowed(&r), table[i].ok);
        r = (struct auth_request){.path = "/health", .from = ip(table[i].from)};
        assert_int_equal(allowed(&r), table[i].ok);
    }
}

static void test_paths_without_token(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool ok;
    } table[] = {
        {"/health", true},   {"/sso", true},         {"/app", true},     {"/app/x.js", true},
        {"/health/", false}, {"/controller", false}, {"/config", false}, {"/metrics", false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct auth_request r = {.path = table[i].path, .from = ip("127.0.0.1/1")};
        assert_int_equal(allowed(&r), table[i].ok);
    }
}

static void test_metrics_token_opens_only_metrics(void **state)
{
    (void)state;
    struct auth_request r = {.path = "/metrics", .from = ip("::1/1"), .token_header = METRICS};
    assert_true(allowed(&r));
    r.token_header = TOKEN;
    assert_true(allowed(&r));
    r.token_header = WRONG;
    assert_false(allowed(&r));
    r.path = "/status";
    r.token_header = METRICS;
    assert_false(allowed(&r));
}

static void test_foreign_names_get_no_tokenless_page(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool local;
    } table[] = {
        {"localhost", true},
        {"localhost:9993", true},
        {"127.0.0.1:9993", true},
        {"[::1]:9993", true},
        {"LOCALHOST", true},
        {"evil.example", false},
        {"evil.example:9993", false},
        {"", false},
        {"localhost.evil.example", false},
        {"null", false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct auth_request r = {
            .path = "/health", .from = ip("127.0.0.1/1"), .host = table[i].name};
        assert_int_equal(allowed(&r), table[i].local);
        r.path = "/status"; /* a token is proof enough */
        r.token_header = TOKEN;
        assert_true(allowed(&r));
    }
}

/* CTL-37 */
static void test_pages_of_other_origins_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *origin;
        const char *host;
        bool ok;
    } table[] = {
        {NULL, "127.0.0.1:9993", true},
        {"http://localhost:3000", "127.0.0.1:9993", true},
        {"http://127.0.0.1:3000", "127.0.0.1:9993", true},
        {"http://[::1]:9993", "localhost:9993", true},
        {"http://10.0.0.5:9993", "10.0.0.5:9993", true},
        {"https://console.example", "console.example", true},
        {"https://Console.Example", "console.example", true},
        {"https://evil.example", "console.example", false},
        {"https://evil.example", "127.0.0.1:9993", false},
        {"http://203.0.113.9", "127.0.0.1:9993", false}, /* an address is no excuse */
        {"http://console.example:81", "console.example", false},
        {"http://localhost.evil.example", "127.0.0.1:9993", false},
        {"http://127.0.0.1.evil.example", "127.0.0.1:9993", false},
        {"null", "null", false},
        {"null", "127.0.0.1:9993", false},
        {"", "127.0.0.1:9993", false},
        {"https://evil.example", NULL, false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct auth_request r = {.path = "/controller/network",
                                 .from = ip("127.0.0.1/1"),
                                 .token_header = TOKEN,
                                 .host = table[i].host,
                                 .origin = table[i].origin};
        assert_int_equal(allowed(&r), table[i].ok);
        assert_int_equal(auth_is_own_page(table[i].origin, table[i].host), table[i].ok);
    }
    struct auth_request sso = {.path = "/sso",
                               .from = ip("127.0.0.1/1"),
                               .host = "controller.example",
                               .origin = "https://login.example"};
    assert_true(allowed(&sso)); /* its proof is in the form */
    sso.path = "/sso/";
    assert_false(allowed(&sso));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_credential_counts),
        cmocka_unit_test(test_source_comes_before_token),
        cmocka_unit_test(test_paths_without_token),
        cmocka_unit_test(test_metrics_token_opens_only_metrics),
        cmocka_unit_test(test_foreign_names_get_no_tokenless_page),
        cmocka_unit_test(test_pages_of_other_origins_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
