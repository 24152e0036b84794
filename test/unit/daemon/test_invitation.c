/* Invitations: round trips, damage, hostile content. */
#include "daemon/invitation.h"

#include "base/cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct invitation made; /* large: kept off the stack */
static struct invitation got;
static char text[INVITATION_TEXT_MAX];

static void fill_planet(struct world *w)
{
    *w = (struct world){
        .type = WORLD_PLANET, .id = 0x123456789abcd, .timestamp = 17, .root_count = 1};
    memset(w->update_key, 7, sizeof(w->update_key));
    memset(w->signature, 9, sizeof(w->signature));
    w->roots[0].identity.address = 0x3f9a20c1d4;
    memset(w->roots[0].identity.pub, 5, sizeof(w->roots[0].identity.pub));
    w->roots[0].endpoint_count = 1;
    w->roots[0].endpoints[0] =
        (struct inetaddr){.family = INETADDR_V4, .ip = {192, 0, 2, 1}, .port = 9993};
}

static void make(const char *token, const char *name, bool planet)
{
    made = (struct invitation){.nwid = 0x3f9a20c1d4aa0001, .has_planet = planet};
    (void)snprintf(made.token, sizeof(made.token), "%s", token);
    (void)snprintf(made.name, sizeof(made.name), "%s", name);
    if (planet) {
        fill_planet(&made.planet);
    }
}

static void assert_same(void)
{
    assert_true(got.nwid == made.nwid);
    assert_string_equal(got.token, made.token);
    assert_string_equal(got.name, made.name);
    assert_int_equal(got.has_planet, made.has_planet);
    if (made.has_planet) {
        uint8_t a[WORLD_WIRE_MAX];
        uint8_t b[WORLD_WIRE_MAX];
        struct wr wa = wr_init(a, sizeof(a));
        struct wr wb = wr_init(b, sizeof(b));
        world_write(&wa, &made.planet);
        world_write(&wb, &got.planet);
        assert_int_equal(wr_len(&wa), wr_len(&wb));
        assert_memory_equal(a, b, wr_len(&wa));
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    enum invitation_fault fault;
    static const struct {
        const char *token;
        const char *name;
        bool planet;
    } table[] = {
        {"", "", false},
        {"abc-_09", "", false},
        {"", "caf\xc3\xa9 & home", false},
        {"t0ken", "lab", true},
        {"0123456789012345678901234567890123456789012345678901234567890123", "x", true},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        make(table[i].token, table[i].name, table[i].planet);
        assert_int_equal(invitation_print(&made, text), 0);
        assert_memory_equal(text, INVITATION_PREFIX, strlen(INVITATION_PREFIX));
        assert_null(strpbrk(text, " \n\t"));
        assert_int_equal(invitation_parse(text, &got, &fault), 0);
        assert_same();
    }
}

static void test_blanks_of_mail_programs_are_ignored(void **state)
{
    (void)state;
    enum invitation_fault fault;
    char folded[INVITATION_TEXT_MAX * 2];
    make("token", "lab", true);
    assert_int_equal(invitation_print(&made, text), 0);
    size_t len = (size_t)snprintf(folded, sizeof(folded), "  \n");
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i > strlen(INVITATION_PREFIX) && i % 40 == 0) {
            folded[len++] = '\r';
            folded[len++] = '\n';
        }
        folded[len++] = text[i];
    }
    memcpy(folded + len, " \n", 3);
    assert_true(invitation_looks_like(folded));
    assert_int_equal(invitation_parse(folded, &got, &fault), 0);
    assert_same();
}

static void test_what_cannot_be_printed_is_refused(void **state)
{
    (void)state;
    make("to ken", "", false);
    assert_int_equal(invitation_print(&made, text), -EINVAL);
    make("a\"b", "", false);
    assert_int_equal(invitation_print(&made, text), -EINVAL);
    make("", "", false);
    made.nwid = 0;
    assert_int_equal(invitation_print(&made, text), -EINVAL);
    make("", "", true);
    made.planet.type = WORLD_MOON;
    assert_int_equal(invitation_print(&made, text), -EINVAL);
}

static void test_faults_are_told_apart(void **state)
{
    (void)state;
    enum invitation_fault fault;
    static const struct {
        const char *text;
        enum invitation_fault fault;
    } table[] = {
        {"", INVITATION_FOREIGN},
        {"3f9a20c1d4aa0001", INVITATION_FOREIGN},
        {"panlan2:AAAA", INVITATION_FOREIGN},
        {"panlan1:", INVITATION_SHORT},
        {"panlan1:AQAB", INVITATION_SHORT},
        {"panlan1:AQ*B", INVITATION_CHARACTER},
        {"panlan1:AQ=B", INVITATION_CHARACTER},
        {"panlan1:AQABAQABAQABAQABAQABAQABAQABAQAB", INVITATION_CHECKSUM},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_int_equal(invitation_parse(table[i].text, &got, &fault), -EBADMSG);
        assert_int_equal(fault, table[i].fault);
        assert_true(strlen(invitation_fault_text(fault)) > 10);
    }
}

static void test_every_damage_is_noticed(void **state)
{
    (void)state;
    enum invitation_fault fault;
    make("token", "lab", true);
    assert_int_equal(invitation_print(&made, text), 0);
    size_t len = strlen(text);
    for (size_t i = strlen(INVITATION_PREFIX); i < len - 1; i++) { /* the last holds spare bits */
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(invitation_parse(text, &got, &fault), -EBADMSG);
        text[i] = was;
    }
    for (size_t cut = 1; cut < len; cut++) {
        char was = text[len - cut];
        text[len - cut] = '\0';
        assert_int_equal(invitation_parse(text, &got, &fault), -EBADMSG);
        text[len - cut] = was;
    }
    assert_int_equal(invitation_parse(text, &got, &fault), 0);
}

/* Text of raw bytes with a right checksum. */
static void forge(const uint8_t *raw, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t all[512];
    uint8_t sum[crypto_generichash_BYTES];
    memcpy(all, raw, len);
    (void)crypto_generichash(sum, sizeof(sum), raw, len, NULL, 0);
    memcpy(all + len, sum, 8);
    len += 8;
    size_t at = (size_t)snprintf(text, sizeof(text), "%s", INVITATION_PREFIX);
    for (size_t bit = 0; bit < len * 8; bit += 6) {
        unsigned v = 0;
        for (size_t k = bit; k < bit + 6; k++) {
            v = v << 1 | (k < len * 8 ? all[k / 8] >> (7 - k % 8) & 1u : 0u);
        }
        text[at++] = digits[v];
    }
    text[at] = '\0';
}

static void test_forged_content_is_refused(void **state)
{
    (void)state;
    enum invitation_fault fault;
    static const struct {
        uint8_t raw[24];
        size_t len;
        int fault; /* -1 = good */
    } table[] = {
        {{1, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 10, -1},
        {{2, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 10, INVITATION_VERSION},
        {{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 10, INVITATION_CONTENT},     /* network 0 */
        {{1, 8, 1, 2, 3, 4, 5, 6, 7, 8}, 10, INVITATION_CONTENT},     /* unknown flag */
        {{1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 11, INVITATION_CONTENT},  /* bytes left */
        {{1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0}, 11, INVITATION_CONTENT},  /* empty token */
        {{1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 65}, 11, INVITATION_CONTENT}, /* token too long */
        {{1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 2, 'a', '"'}, 13, INVITATION_CONTENT},
        {{1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 2, 'a', 'b'}, 13, -1},
        {{1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0}, 12, INVITATION_CONTENT}, /* planet cut off */
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        forge(table[i].raw, table[i].len);
        int err = invitation_parse(text, &got, &fault);
        assert_int_equal(err, table[i].fault < 0 ? 0 : -EBADMSG);
        if (table[i].fault >= 0) {
            assert_int_equal(fault, table[i].fault);
        }
    }
}

static void test_random_text_never_passes(void **state)
{
    (void)state;
    enum invitation_fault fault;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 2000; round++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "%s", INVITATION_PREFIX);
        size_t more = (size_t)(rand() % 400);
        for (size_t i = 0; i < more; i++) {
            text[len++] = (char)(1 + rand() % 127);
        }
        text[len] = '\0';
        assert_int_equal(invitation_parse(text, &got, &fault), -EBADMSG);
    }
}

static void test_which_tokens_fit(void **state)
{
    char longest[INVITATION_TOKEN_MAX + 2];
    (void)state;
    memset(longest, 'a', sizeof(longest));
    longest[INVITATION_TOKEN_MAX] = '\0';
    assert_true(invitation_token_fits(longest));
    longest[INVITATION_TOKEN_MAX] = 'a';
    longest[INVITATION_TOKEN_MAX + 1] = '\0';
    assert_false(invitation_token_fits(longest));
    assert_true(invitation_token_fits("aZ09-_"));
    assert_false(invitation_token_fits(""));
    assert_false(invitation_token_fits("a b"));
    assert_false(invitation_token_fits("a\"b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_tokens_fit),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_blanks_of_mail_programs_are_ignored),
        cmocka_unit_test(test_what_cannot_be_printed_is_refused),
        cmocka_unit_test(test_faults_are_told_apart),
        cmocka_unit_test(test_every_damage_is_noticed),
        cmocka_unit_test(test_forged_content_is_refused),
        cmocka_unit_test(test_random_text_never_passes),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
