/* The service in the background: start, find, stop. */
#pragma once

#include "cli/cli.h"

/* True if a service answers on the home of cli; port and token are filled in then. */
bool spawn_is_running(struct cli *cli);

/* Start the service in the background if none answers, and wait until its API does. Its output goes
 * to panlan.log in the home. Says what went wrong. Returns 0 or an exit status. */
int spawn_service(struct cli *cli);

/* Ask the service of this home to end and wait for it. Returns an exit status. */
int spawn_stop(struct cli *cli);
