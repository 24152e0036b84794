/* The list of all that is known of members, with filter and pages. Consoles of old ask for all of
 * them at once: a long answer is put together in pieces, a turn of the timers each, so that
 * requests that come meanwhile do not wait for it. Source: spec 04 sections 2.2, 12.32, CTL-117. */
#include "base/hex.h"
#include "controller/api_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    LIST_LIMIT_MAX = 1000, /* members on a page */
    LIST_TURN = 128,       /* members put into the answer at once */
};

/* An answer being put together. */
struct listing {
    struct list link; /* in controller.listings */
    struct timer timer;
    struct controller *c;
    controller_api_done done;
    void *ctx;
    uint64_t nwid;
    uint64_t *addresses; /* of whom to tell, ascending */
    size_t count;
    size_t pos;   /* of the next one */
    bool more;    /* there are others behind them */
    bool failed;  /* out of memory */
    size_t total; /* members of the network */
    size_t authorized;
    char *text;
    size_t len;
    size_t cap;
};

/* What a list is asked for. */
struct list_query {
    char q[64];      /* part of address, name or IP; "" all */
    char filter[16]; /* "" all */
    uint64_t cursor; /* only addresses above; UINT64_MAX: from the start */
    size_t limit;
};

static void read_query(const struct call *call, struct list_query *ret)
{
    char text[32];
    memset(ret, 0, sizeof(*ret));
    ret->cursor = UINT64_MAX;
    ret->limit = SIZE_MAX;
    if (api_query(call, "cursor", text, sizeof(text)) &&
        hex_to_u64(text, strlen(text), 10, &ret->cursor) != 0) {
        ret->cursor = UINT64_MAX;
    }
    if (api_query(call, "limit", text, sizeof(text))) {
        size_t limit = strtoul(text, NULL, 10);
        ret->limit = limit < 1 ? 1 : (limit > LIST_LIMIT_MAX ? LIST_LIMIT_MAX : limit);
    }
    if (!api_query(call, "q", ret->q, sizeof(ret->q))) {
        ret->q[0] = '\0';
    }
    if (!api_query(call, "filter", ret->filter, sizeof(ret->filter))) {
        ret->filter[0] = '\0';
    }
}

static bool matches_filter(const struct cmember *m, const char *filter, int64_t now_ms)
{
    if (strcmp(filter, "authorized") == 0) {
        return m->authorized;
    }
    if (strcmp(filter, "pending") == 0) {
        return !m->authorized && !m->blocked && !m->hidden;
    }
    if (strcmp(filter, "hidden") == 0) {
        return m->hidden;
    }
    if (strcmp(filter, "blocked") == 0) {
        return m->blocked;
    }
    if (strcmp(filter, "online") == 0) {
        return member_is_online(m, now_ms);
    }
    if (strcmp(filter, "bridge") == 0) {
        return m->bridge;
    }
    return true;
}

static bool matches_text(const struct cmember *m, const char *q)
{
    char text[INETADDR_TEXT_LEN];
    hex_from_u64(m->address, 10, text);
    bool found = q[0] == '\0' || strcasestr(text, q) != NULL ||
                 (m->name != NULL && strcasestr(m->name, q) != NULL);
    for (size_t i = 0; !found && i < m->ip_count; i++) {
        inetaddr_print_ip(&m->ips[i].ip, text);
        found = strstr(text, q) != NULL;
    }
    return found;
}

static int compare_addresses(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- the answer ---- */

static void append(struct listing *l, const char *text, size_t len)
{
    if (l->len + len > l->cap) {
        size_t cap = 2 * l->cap > l->len + len ? 2 * l->cap : l->len + len;
        char *grown = realloc(l->text, cap);
        if (grown == NULL) {
            l->failed = true;
            return;
        }
        l->text = grown;
        l->cap = cap;
    }
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void append_text(struct listing *l, const char *text)
{
    append(l, text, strlen(text));
}

static void append_member(struct listing *l, const struct cmember *m, int64_t now_ms)
{
    json_t *obj = api_member_json(m, now_ms);
    char *text = obj != NULL ? doc_text(obj) : NULL;
    json_decref(obj);
    if (text == NULL) {
        l->failed = true;
        return;
    }
    if (l->text[l->len - 1] != '[') {
        append(l, ",", 1);
    }
    append_text(l, text);
    free(text);
}

static void append_end(struct listing *l)
{
    char text[160];
    char next[32] = "";
    if (l->more) {
        (void)snprintf(next, sizeof(next), ",\"nextCursor\":\"%010llx\"",
                       (unsigned long long)l->addresses[l->count - 1]);
    }
    (void)snprintf(text, sizeof(text), "],\"meta\":{\"authorizedCount\":%zu%s,\"totalCount\":%zu}}",
                   l->authorized, next, l->total);
    append_text(l, text);
}

static void listing_free(struct listing *l)
{
    timers_cancel(&l->c->timers, &l->timer);
    list_remove(&l->link);
    free(l->addresses);
    free(l->text);
    free(l);
}

/* Go on; answer at the end. */
static void listing_turn(struct timer *timer, int64_t now_ms)
{
    struct listing *l = CONTAINER_OF(timer, struct listing, timer);
    const struct cnetwork *net = model_find(&l->c->model, l->nwid);
    for (size_t n = 0; n < LIST_TURN && l->pos < l->count && !l->failed; n++, l->pos++) {
        const struct cmember *m = net != NULL ? network_member(net, l->addresses[l->pos]) : NULL;
        if (m != NULL) { /* else it was removed meanwhile */
            append_member(l, m, now_ms);
        }
    }
    bool ended = l->pos == l->count || l->failed;
    if (!ended && timers_arm(&l->c->timers, timer, now_ms + 1) != 0) {
        l->failed = ended = true;
    }
    if (!ended) {
        return;
    }
    append_end(l);
    if (l->failed) {
        l->done(l->ctx, 500, "{}", 2);
    } else {
        l->done(l->ctx, 200, l->text, l->len);
    }
    listing_free(l);
}

/* ---- what it tells of ---- */

/* Members that are asked for, and of these the first ones up to the limit. Returns 0; -ENOMEM. */
static int collect(struct listing *l, const struct call *call, const struct cnetwork *net)
{
    struct list_query query;
    read_query(call, &query);
    l->addresses = calloc(net->members.count + 1, sizeof(*l->addresses));
    if (l->addresses == NULL) {
        return -ENOMEM;
    }
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        const struct cmember *m = CONTAINER_OF(it, struct cmember, node);
        if ((query.cursor == UINT64_MAX || m->address > query.cursor) &&
            matches_filter(m, query.filter, call->now_ms) && matches_text(m, query.q)) {
            l->addresses[l->count++] = m->address;
        }
    }
    if (l->count > 0) {
        qsort(l->addresses, l->count, sizeof(*l->addresses), compare_addresses);
    }
    l->more = l->count > query.limit;
    l->count = l->more ? query.limit : l->count;
    return 0;
}

void api_member_list_full(struct call *call, const struct cnetwork *net)
{
    struct listing *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        api_error(call, 500, "out of memory");
        return;
    }
    list_init(&l->link);
    l->timer.fire = listing_turn;
    l->c = call->c;
    l->done = call->done;
    l->ctx = call->ctx;
    l->nwid = net->nwid;
    l->total = net->members.count;
    l->authorized = net->authorized;
    append_text(l, "{\"data\":[");
    if (l->failed || collect(l, call, net) != 0) {
        listing_free(l);
        api_error(call, 500, "out of memory");
        return;
    }
    list_push(&call->c->listings, &l->link);
    listing_turn(&l->timer, call->now_ms);
}

void api_list_done(struct controller *c)
{
    struct list *link;
    while ((link = list_first(&c->listings)) != NULL) {
        struct listing *l = CONTAINER_OF(link, struct listing, link);
        l->done(l->ctx, 503, "", 0);
        listing_free(l);
    }
}
