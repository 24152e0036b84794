/* Who may hold connections to the local API, how many, and for how long: so that slow clients and
 * strangers cannot lock out the person at the machine. Connections from this machine may take all
 * seats; others may take some of them, and each address (of IPv6 each /64) a few. A request, and an
 * answer, that is not over after a while loses its connection, however busy the line looks.
 * One thread. Source: spec 04 section 12, entry 4. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_SEATS = 128,         /* connections */
    HTTP_SEATS_REMOTE = 96,   /* of them from other machines */
    HTTP_SEATS_ADDRESS = 16,  /* of them from one address */
    HTTP_READING_MS = 30000,  /* for a request with its body, pauses between requests included */
    HTTP_WRITING_MS = 120000, /* for taking the answer */
};

enum seat_phase {
    SEAT_FREE,
    SEAT_READING,
    SEAT_HANDLING, /* no limit: it is we who are slow */
    SEAT_WRITING,
};

struct seat {
    enum seat_phase phase;
    bool local;
    uint8_t net[8]; /* what counts as one address; of others than local ones */
    int fd;         /* borrowed */
    int64_t since_ms;
};

struct seats {
    struct seat seat[HTTP_SEATS];
    uint64_t refused; /* connections that found no seat */
    uint64_t ended;   /* connections that took too long */
};

/* Take a seat for an accepted connection. Returns NULL if it has to be closed. */
struct seat *seats_take(struct seats *seats, const struct inetaddr *from, int fd, int64_t now_ms);

/* The connection is closed. */
void seats_leave(struct seat *seat);

/* The connection has come to another phase. */
void seats_enter(struct seat *seat, enum seat_phase phase, int64_t now_ms);

/* Shut down the sockets of connections that take too long; their owner will see the end. */
void seats_sweep(struct seats *seats, int64_t now_ms);
