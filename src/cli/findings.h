/* What a diagnosis found: a list of lines, each with a result, what was found and what to do.
 * Pure. Source: spec 05 sections 12, 13.14. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum result { RESULT_OK, RESULT_INFO, RESULT_WARN, RESULT_FAIL, RESULTS };

struct findings {
    json_t *list; /* of {"check", "result", "found", "advice"}; NULL until findings_init */
    unsigned counts[RESULTS];
    bool redact;      /* public IP addresses become "public-1" and so on, the same each time */
    json_t *redacted; /* address -> its word */
};

/* Prepare an empty list; release with findings_done. */
void findings_init(struct findings *f, bool redact);
void findings_done(struct findings *f);

/* Add one. check: short constant word; advice: what to do, NULL or "": nothing. What is found is
 * cut at 1000 bytes and cleaned of what is not printable. */
void find(struct findings *f, enum result result, const char *check, const char *advice,
          const char *format, ...) __attribute__((format(printf, 5, 6)));

/* All of them as text, or as one JSON object with the given time. */
void findings_print(FILE *out, const struct findings *f);
json_t *findings_json(const struct findings *f, const char *version, const char *time);
