/* Parts of "panlan controller": the log of events and webhooks. Source: spec 04 sections 10.3,
 * 10.5, 6.6. */
#pragma once

#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>

/* panlan controller log [--network ID] [--member NODE] [--actor TEXT] [--type TYPE] [--since TIME]
 * [--limit N], panlan controller history NETWORK NODE; exit statuses. */
int log_run(struct cli *cli);
int history_run(struct cli *cli);

/* panlan controller hook list|add|set|delete|test|deliveries|retry ...; an exit status. */
int hook_run(struct cli *cli);

/* One entry of the log as a line. Pure. */
void format_event(FILE *out, const json_t *entry);
