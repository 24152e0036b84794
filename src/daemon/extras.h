/* Sockets the engine opens for a while to get through a symmetric NAT (engine_env.extra_open). They
 * are served by control; one that wins becomes an ordinary socket, which workers serve. Source:
 * doc/nat.md. */
#pragma once

#include "vl1/env.h"

struct sockets;

/* Upcalls of the engine; ctx: the service. */
size_t extras_open(void *ctx, uint32_t like, struct engine_socket *ret, size_t count);
void extras_close(void *ctx, uint32_t id, bool keep);

/* Send by one of them; nothing happens if there is none of this number. */
void extras_send(struct sockets *sockets, uint32_t id, const struct inetaddr *to, const void *data,
                 size_t len, unsigned how);

/* Tie all to the devices of their addresses, or let them go, as sockets->held says. */
void extras_hold(const struct sockets *sockets);

/* Close all. The loop must turn once more. */
void extras_done(struct sockets *sockets);
