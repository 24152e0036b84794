/* Name servers of a network, as far as they are pure. Checklist: SV-87 in part. */
#include "daemon/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct netconf_dns make(const char *domain, const char *first, const char *second)
{
    struct netconf_dns dns = {.domain = ""};
    (void)snprintf(dns.domain, sizeof(dns.domain), "%s", domain);
    if (first != NULL) {
        assert_int_equal(inetaddr_parse(first, strlen(first), &dns.servers[0]), 0);
    }
    if (second != NULL) {
        assert_int_equal(inetaddr_parse(second, strlen(second), &dns.servers[3]), 0);
    }
    return dns;
}

static void test_setting_of_a_configuration(void **state)
{
    (void)state;
    struct netconf_dns dns = make("lab.example", "10.9.0.53", "fd00::53");
    struct dns_setting s = dns_setting_make(&dns);
    assert_string_equal(s.domain, "~lab.example");
    assert_int_equal(s.count, 2);
    assert_string_equal(s.servers[0], "10.9.0.53");
    assert_string_equal(s.servers[1], "fd00::53");
}

static void test_nothing_to_set(void **state)
{
    (void)state;
    static const char *const domains[] = {"", "-x", ".", "a b", "a;b", "~x", "a/b"};
    assert_int_equal(dns_setting_make(NULL).count, 0);
    for (size_t i = 0; i < COUNT_OF(domains); i++) {
        struct netconf_dns dns = make(domains[i], "10.9.0.53", NULL);
        assert_int_equal(dns_setting_make(&dns).count, 0);
        assert_string_equal(dns_setting_make(&dns).domain, "");
    }
    struct netconf_dns no_server = make("lab.example", NULL, NULL);
    assert_string_equal(dns_setting_make(&no_server).domain, "");
}

static void test_changes_are_noticed(void **state)
{
    (void)state;
    struct netconf_dns dns[] = {make("lab.example", "10.9.0.53", NULL),
                                make("lab.example", "10.9.0.54", NULL),
                                make("lab.other", "10.9.0.53", NULL),
                                make("lab.example", "10.9.0.53", "fd00::53"), make("", NULL, NULL)};
    for (size_t i = 0; i < COUNT_OF(dns); i++) {
        for (size_t k = 0; k < COUNT_OF(dns); k++) {
            struct dns_setting a = dns_setting_make(&dns[i]);
            struct dns_setting b = dns_setting_make(&dns[k]);
            assert_int_equal(dns_setting_equal(&a, &b), i == k);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setting_of_a_configuration),
        cmocka_unit_test(test_nothing_to_set),
        cmocka_unit_test(test_changes_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
