/* The log of events in the JSON API. Source: spec 04 sections 10.3, 10.5. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/eventlog.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOG_LIMIT_MAX = 1000,
    LOG_LIMIT_DEFAULT = 100,
};

/* An ID in the query. Returns false after having answered: it is none. */
static bool read_id(const struct call *call, const char *name, unsigned digits, uint64_t *ret)
{
    char text[32];
    if (!api_query(call, name, text, sizeof(text)) || text[0] == '\0') {
        return true;
    }
    if (hex_to_u64(text, strlen(text), digits, ret) == 0) {
        return true;
    }
    json_t *why = json_sprintf("%s: at most %u hexadecimal digits", name, digits);
    api_error(call, 400, why != NULL ? json_string_value(why) : "");
    json_decref(why);
    return false;
}

/* Returns false after having answered. */
static bool read_query(const struct call *call, struct log_query *ret)
{
    char text[32];
    *ret = (struct log_query){.below = UINT64_MAX, .limit = LOG_LIMIT_DEFAULT};
    if (!read_id(call, "cursor", 16, &ret->below) || !read_id(call, "network", 16, &ret->nwid) ||
        !read_id(call, "member", 10, &ret->member)) {
        return false;
    }
    if (api_query(call, "limit", text, sizeof(text))) {
        size_t limit = strtoul(text, NULL, 10);
        ret->limit = limit < 1 ? 1 : (limit > LOG_LIMIT_MAX ? LOG_LIMIT_MAX : limit);
    }
    if (api_query(call, "since", text, sizeof(text))) {
        ret->since_ms = strtoll(text, NULL, 10);
    }
    if (!api_query(call, "actor", ret->actor, sizeof(ret->actor))) {
        ret->actor[0] = '\0';
    }
    if (!api_query(call, "type", ret->type, sizeof(ret->type))) {
        ret->type[0] = '\0';
    }
    return true;
}

static void answer(struct call *call, const struct log_query *query)
{
    uint64_t next = 0;
    char cursor[17];
    json_t *data = eventlog_query(call->c->eventlog, query, &next);
    hex_from_u64(next, 16, cursor);
    api_answer(
        call, 200,
        json_pack("{sos{ss*}}", "data", data, "meta", "nextCursor", next != 0 ? cursor : NULL));
}

void api_log(struct call *call)
{
    struct log_query query;
    if (read_query(call, &query)) {
        answer(call, &query);
    }
}

void api_member_history(struct call *call, uint64_t nwid, uint64_t address)
{
    struct log_query query;
    if (nwid == 0 || address == 0) { /* a query without one of them is for the log of all */
        api_empty(call, 404);
    } else if (read_query(call, &query)) {
        query.nwid = nwid;
        query.member = address;
        answer(call, &query);
    }
}
