/* Human layouts of the command line, made from the JSON of the local API. Scripts parse them: every
 * blank counts. Pure. Source: spec 05 section 4.4; SV-43 to SV-47, SV-51. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* Replace control characters in all strings of a value by '?': names and URLs come from strangers
 * and must neither forge lines nor drive the terminal. For what is printed as text; JSON escapes
 * them. */
void format_clean(json_t *value);

/* "200 info ADDRESS VERSION ONLINE". */
void format_info(FILE *out, const json_t *status);

/* Networks; wall_ms is for the time left of an SSO login. */
void format_networks(FILE *out, const json_t *networks, int64_t wall_ms);

/* The same, and below it what to do about those that do not work. */
void format_networks_advised(FILE *out, const json_t *networks, int64_t wall_ms);

/* Peers in the layouts of "listpeers" and "peers". */
void format_listpeers(FILE *out, const json_t *peers, int64_t wall_ms);
void format_peers(FILE *out, const json_t *peers, int64_t wall_ms);

/* Bonds: the list, and one. */
void format_bonds(FILE *out, const json_t *peers);
void format_bond(FILE *out, const json_t *peer);

/* A property of a network, or ip, ip4, ip6, ip6plane, ip6prefix. Returns 0; -ENOENT unknown. */
MUST_CHECK int format_property(FILE *out, const json_t *network, const char *property);

/* JSON indented by one blank per level, and a newline. */
void format_json(FILE *out, const json_t *value);
