/* Seats of the local API: bounds by source, time limits by phase. */
#include "daemon/http_seats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct inetaddr address(const char *text)
{
    struct inetaddr a;
    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static unsigned fill(struct seats *seats, const char *from)
{
    struct inetaddr a = address(from);
    unsigned n = 0;
    while (seats_take(seats, &a, -1, 0) != NULL) {
        n++;
    }
    return n;
}

static void test_an_address_gets_a_few_and_strangers_never_all(void **state)
{
    static struct seats seats;
    (void)state;
    memset(&seats, 0, sizeof(seats));
    assert_int_equal(fill(&seats, "192.0.2.1"), HTTP_SEATS_ADDRESS);
    assert_int_equal(fill(&seats, "192.0.2.2"), HTTP_SEATS_ADDRESS);
    assert_int_equal(fill(&seats, "2001:db8::1"), HTTP_SEATS_ADDRESS);
    assert_int_equal(fill(&seats, "2001:db8::2"), 0); /* the same /64 */
    assert_int_equal(fill(&seats, "2001:db8:0:1::2"), HTTP_SEATS_ADDRESS);
    unsigned remote = 4 * HTTP_SEATS_ADDRESS;
    for (int i = 3; i < 50; i++) {
        char text[20];
        snprintf(text, sizeof(text), "192.0.2.%d", i);
        remote += fill(&seats, text);
    }
    assert_int_equal(remote, HTTP_SEATS_REMOTE);
    assert_int_equal(fill(&seats, "127.0.0.1"), HTTP_SEATS - HTTP_SEATS_REMOTE);
    assert_true(seats.refused > 0);
}

static void test_this_machine_may_take_all_and_seats_come_back(void **state)
{
    static struct seats seats;
    (void)state;
    memset(&seats, 0, sizeof(seats));
    assert_int_equal(fill(&seats, "::1"), HTTP_SEATS);
    seats_leave(&seats.seat[77]);
    assert_int_equal(fill(&seats, "192.0.2.1"), 1);
}

static bool is_shut(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void test_slow_clients_lose_their_connection(void **state)
{
    static struct seats seats;
    struct inetaddr a = address("127.0.0.1");
    int pair[2];
    (void)state;
    memset(&seats, 0, sizeof(seats));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct seat *seat = seats_take(&seats, &a, pair[0], 1000);
    seats_sweep(&seats, 1000 + HTTP_READING_MS);
    assert_false(is_shut(pair[1]));
    seats_enter(seat, SEAT_HANDLING, 2000);
    seats_sweep(&seats, 2000 + 10 * HTTP_WRITING_MS); /* waiting for us costs nobody a seat */
    assert_false(is_shut(pair[1]));
    seats_enter(seat, SEAT_WRITING, 3000);
    seats_sweep(&seats, 3000 + HTTP_WRITING_MS);
    assert_false(is_shut(pair[1]));
    seats_enter(seat, SEAT_READING, 4000); /* the next request */
    seats_sweep(&seats, 4000 + HTTP_READING_MS + 1);
    assert_true(is_shut(pair[1]));
    assert_int_equal(seats.ended, 1);
    seats_leave(seat);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_gets_a_few_and_strangers_never_all),
        cmocka_unit_test(test_this_machine_may_take_all_and_seats_come_back),
        cmocka_unit_test(test_slow_clients_lose_their_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
