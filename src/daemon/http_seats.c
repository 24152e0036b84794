/* Seats of the local API: bounds by source, and an end for whoever takes too long. */
#include "daemon/http_seats.h"

#include <string.h>
#include <sys/socket.h>

/* What counts as one address: IPv4 as a whole, the first half of IPv6. */
static void network_of(const struct inetaddr *from, uint8_t ret[8])
{
    memset(ret, 0, 8);
    memcpy(ret, from->ip, from->family == INETADDR_V4 ? 4 : 8);
}

static bool is_loopback(const struct inetaddr *from)
{
    static const uint8_t v6[16] = {[15] = 1};
    return from->family == INETADDR_V4 ? from->ip[0] == 127 : memcmp(from->ip, v6, sizeof(v6)) == 0;
}

struct seat *seats_take(struct seats *seats, const struct inetaddr *from, int fd, int64_t now_ms)
{
    struct seat *empty = NULL;
    unsigned remote = 0;
    unsigned same = 0;
    struct seat wanted = {
        .phase = SEAT_READING, .local = is_loopback(from), .fd = fd, .since_ms = now_ms};
    network_of(from, wanted.net);
    for (size_t i = 0; i < HTTP_SEATS; i++) {
        struct seat *seat = &seats->seat[i];
        if (seat->phase == SEAT_FREE) {
            empty = seat;
        } else if (!seat->local) {
            remote++;
            same += memcmp(seat->net, wanted.net, sizeof(wanted.net)) == 0 ? 1 : 0;
        }
    }
    if (empty == NULL ||
        (!wanted.local && (remote >= HTTP_SEATS_REMOTE || same >= HTTP_SEATS_ADDRESS))) {
        seats->refused++;
        return NULL;
    }
    *empty = wanted;
    return empty;
}

void seats_leave(struct seat *seat)
{
    seat->phase = SEAT_FREE;
}

void seats_enter(struct seat *seat, enum seat_phase phase, int64_t now_ms)
{
    seat->phase = phase;
    seat->since_ms = now_ms;
}

void seats_sweep(struct seats *seats, int64_t now_ms)
{
    for (size_t i = 0; i < HTTP_SEATS; i++) {
        struct seat *seat = &seats->seat[i];
        int64_t limit = seat->phase == SEAT_READING ? HTTP_READING_MS : HTTP_WRITING_MS;
        if ((seat->phase == SEAT_READING || seat->phase == SEAT_WRITING) &&
            now_ms - seat->since_ms > limit) {
            (void)shutdown(seat->fd, SHUT_RDWR);
            seat->since_ms = now_ms; /* once is enough */
            seats->ended++;
        }
    }
}
