/* Datagrams gathered into runs. Source: spec 09 sections 6.4 and 6.5. */
#include "daemon/outbox.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_WAIT_MS = 1 }; /* for a socket without room, then its datagrams are dropped */

int outbox_init(struct outbox *box, struct udp_bulk *bulk)
{
    *box = (struct outbox){.bulk = bulk, .memory = malloc(UDP_RUN_BYTES_MAX)};
    return box->memory == NULL ? -ENOMEM : 0;
}

void outbox_done(struct outbox *box)
{
    free(box->memory);
    *box = (struct outbox){0};
}

void outbox_flush(struct outbox *box)
{
    if (box->udp == NULL) {
        return;
    }
    if (udp_send_runs(box->udp, box->bulk, &box->run, 1) == 0) {
        struct pollfd wait = {.fd = udp_fd(box->udp), .events = POLLOUT};
        if (poll(&wait, 1, FULL_WAIT_MS) <= 0 ||
            udp_send_runs(box->udp, box->bulk, &box->run, 1) == 0) {
            box->lost += (box->run.len + box->run.segment - 1) / box->run.segment;
        }
    }
    box->udp = NULL;
    box->count = 0;
}

/* True if a datagram may follow those gathered: same way, none shorter before it, none longer. */
static bool fits(const struct outbox *box, const struct udp_socket *udp, const struct inetaddr *to,
                 size_t len)
{
    return box->udp == udp && len <= box->run.segment &&
           box->run.len == box->count * box->run.segment && box->count < UDP_RUN_SEGMENTS_MAX &&
           box->run.len + len <= UDP_RUN_BYTES_MAX && inetaddr_equal(&box->run.to, to);
}

void outbox_add(struct outbox *box, struct udp_socket *udp, const struct inetaddr *to,
                const void *data, size_t len)
{
    if (len == 0 || len > UDP_RUN_BYTES_MAX) {
        return;
    }
    if (box->udp != NULL && !fits(box, udp, to, len)) {
        outbox_flush(box);
    }
    if (box->udp == NULL) {
        box->udp = udp;
        box->run = (struct udp_run){.data = box->memory, .segment = len, .to = *to};
    }
    memcpy(box->memory + box->run.len, data, len);
    box->run.len += len;
    box->count++;
}
