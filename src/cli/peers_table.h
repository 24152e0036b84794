/* The long table of peers, made from the JSON of the local API for people: fits a width, leaves out
 * the least important columns first. Not for scripts: "peers" without options is. Pure. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct peers_view {
    const json_t *status; /* GET /status, or NULL */
    const json_t *peers;  /* GET /peer */
    const json_t *before; /* GET /peer of a moment ago, for rates, or NULL */
    int64_t wall_ms;      /* time of peers */
    int64_t span_ms;      /* between before and peers */
    unsigned width;       /* columns of the terminal, 0 = no limit */
    unsigned height;      /* lines, 0 = no limit; what does not fit is counted in the last one */
    const char *line_end; /* "\n", or with what clears the rest of a line on a terminal */
};

/* A line about this node, then the table: roots first, then direct peers, then relayed ones. */
void peers_table(FILE *out, const struct peers_view *view);

/* One line for each reason for relaying that occurs: what it means and what to do. */
void peers_reasons(FILE *out, const json_t *peers);
