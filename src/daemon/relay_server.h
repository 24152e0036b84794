/* The TCP relay that a root offers to nodes without UDP: where it listens and what it may carry, by
 * settings and worlds; relay_hub does the work. Default: on at roots, port 443 of all addresses.
 * Source: spec 02 section 12.3, spec 05 section 5.5; TC-5. */
#pragma once

#include "daemon/config.h"
#include "daemon/relay_hub.h"

#include <stdbool.h>

struct service;

struct relay_server {
    struct service *svc;
    struct relay_hub *hub;      /* NULL: not listening */
    bool tried;                 /* wanted was tried */
    struct config_addrs wanted; /* where it should listen now */
};

/* Roots, addresses or settings may have changed: listen or not, and by which rules. Not from inside
 * the engine. */
void relay_server_review(struct relay_server *server);

/* Stop. */
void relay_server_stop(struct relay_server *server);
