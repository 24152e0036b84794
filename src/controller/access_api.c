/* The controller's own API for callers with a token: what they may not see is left out, what they
 * may not do is refused before it is tried. Source: spec 04 section 6.4; CTL-101. */
#include "base/hex.h"
#include "controller/access.h"
#include "controller/controller_priv.h"
#include "controller/network_doc.h"

#include <stdlib.h>
#include <string.h>

/* What has to be done with an answer. */
enum filter {
    FILTER_NONE,
    FILTER_LIST,    /* {"data":[network,...]} */
    FILTER_SECRETS, /* object of a network or member, or {"data":[member,...]} */
    FILTER_CREATED, /* object of a network that is the caller's from now on */
};

/* A request that was let through. */
struct passed {
    struct controller *c;
    struct caller caller;
    controller_api_done done;
    void *ctx;
    enum filter filter;
    uint8_t access; /* to the network in question */
};

/* Where a path points. */
struct target {
    bool unstable;
    bool is_known;  /* "/controller" or below "/controller/network" */
    const char *id; /* first word behind "network/", "" none */
    size_t id_len;
    const char *sub; /* rest behind it without slash, "" none */
};

static void refuse(controller_api_done done, void *ctx, unsigned status, const char *text)
{
    json_t *obj = json_pack("{siss}", "error", (int)status, "description", text);
    char *body = obj != NULL ? doc_text(obj) : NULL;
    done(ctx, status, body != NULL ? body : "", body != NULL ? strlen(body) : 0);
    free(body);
    json_decref(obj);
}

static bool starts(const char **text, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(*text, word, len) != 0) {
        return false;
    }
    *text += len;
    return true;
}

static void read_path(const char *path, struct target *ret)
{
    *ret = (struct target){.id = "", .sub = ""};
    ret->unstable = starts(&path, "/unstable");
    if (!starts(&path, "/controller")) {
        return;
    }
    ret->is_known = *path == '\0';
    if (!starts(&path, "/network") || (*path != '\0' && *path != '/')) {
        return;
    }
    ret->is_known = true;
    if (*path == '/') {
        ret->id = ++path;
        ret->id_len = strcspn(path, "/");
        path += ret->id_len;
        ret->sub = *path == '/' ? path + 1 : "";
    }
}

/* ---- answers ---- */

static void hide_secrets(json_t *obj)
{
    static const char *const keys[] = {"authTokens", "authTokenUses", "authTokenDefaults",
                                       "lastAuthorizedCredential", NULL};
    doc_remove(obj, keys);
}

static uint8_t access_by_id(const struct passed *p, const json_t *id)
{
    const char *text = json_string_value(id);
    uint64_t nwid;
    if (text == NULL || hex_to_u64(text, strlen(text), 16, &nwid) != 0) {
        return 0;
    }
    const struct cnetwork *net = model_find(&p->c->model, nwid);
    return net != NULL ? access_network(p->c, &p->caller, net) : 0;
}

/* Networks the caller may not read are not in the list (reader). */
static void filter_networks(const struct passed *p, json_t *array)
{
    size_t i;
    json_t *elem;
    json_array_foreach(array, i, elem)
    {
        if ((access_by_id(p, json_object_get(elem, "id")) & ACCESS_AUTHORIZE) == 0) {
            hide_secrets(elem);
        }
    }
}

static void filter_answer(const struct passed *p, json_t *obj)
{
    json_t *data = json_object_get(obj, "data");
    if (p->filter == FILTER_LIST) {
        filter_networks(p, data);
    } else if ((p->access & ACCESS_AUTHORIZE) == 0) {
        hide_secrets(obj);
        for (size_t i = 0; i < json_array_size(data); i++) {
            hide_secrets(json_array_get(data, i));
        }
    }
}

/* The network is made: note whose it is. */
static void own_network(const struct passed *p, const json_t *obj)
{
    const char *id = json_string_value(json_object_get(obj, "id"));
    uint64_t nwid;
    if (id != NULL && hex_to_u64(id, strlen(id), 16, &nwid) == 0 && !p->c->stopping) {
        (void)access_own(p->c, nwid, &p->caller, p->c->now_ms);
    }
}

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct passed *p = ctx;
    bool wanted = status == 200 && len > 0 && p->filter != FILTER_NONE;
    json_t *obj = wanted ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
    char *text = NULL;
    if (wanted && obj == NULL) { /* no memory, or too deep: what cannot be filtered stays here */
        refuse(p->done, p->ctx, 500, "the answer cannot be made");
        free(p);
        return;
    }
    if (obj != NULL && p->filter == FILTER_CREATED) {
        own_network(p, obj);
    } else if (obj != NULL) {
        filter_answer(p, obj);
        text = doc_text(obj);
        body = text != NULL ? text : "";
        len = strlen(body);
    }
    p->done(p->ctx, status, body, len);
    free(text);
    json_decref(obj);
    free(p);
}

/* ---- requests ---- */

/* Rights that a request below a network needs. */
static bool may_below(const struct target *t, const struct cnetwork *net, uint8_t access,
                      const struct controller_api_request *request, bool read)
{
    static const char accept[] = "/accept-identity";
    const char *sub = t->sub;
    if (starts(&sub, "invite-token")) {
        return (access & ACCESS_AUTHORIZE) != 0;
    }
    if (read) {
        return true;
    }
    uint64_t address;
    size_t len = strlen(sub);
    if (len > strlen(accept) && strcmp(sub + len - strlen(accept), accept) == 0) {
        return (access & ACCESS_AUTHORIZE) != 0; /* it lets another node in */
    }
    if (!starts(&sub, "member/") || hex_to_u64(sub, strlen(sub), 10, &address) != 0) {
        return (access & ACCESS_MODIFY) != 0;
    }
    if (strcmp(request->method, "DELETE") == 0) {
        return (access & ACCESS_AUTHORIZE) != 0;
    }
    json_t *body = json_loadb(request->body != NULL ? request->body : "", request->body_len,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool good = access_member_edit(access, network_member(net, address), body);
    json_decref(body);
    return good;
}

/* Rights that a request to a network itself needs. */
static bool may_network(uint8_t access, const struct controller_api_request *request, bool read)
{
    if (read) {
        return true;
    }
    if (strcmp(request->method, "DELETE") == 0) {
        return (access & ACCESS_DELETE) != 0;
    }
    json_t *body = json_loadb(request->body != NULL ? request->body : "", request->body_len,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool tokens = json_object_get(body, "authTokens") != NULL;
    json_decref(body);
    return (access & ACCESS_MODIFY) != 0 && (!tokens || (access & ACCESS_AUTHORIZE) != 0);
}

/* Decide. Returns 0 to go on with what to do with the answer, or a status. */
static unsigned decide(struct passed *p, const struct target *t,
                       const struct controller_api_request *request)
{
    bool read = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    uint64_t nwid;
    if (access_is_admin(p->c, &p->caller)) {
        return 0;
    }
    if (!t->is_known) {
        return 403;
    }
    if (t->id_len == 0) {
        p->filter = !read ? FILTER_CREATED : t->unstable ? FILTER_LIST : FILTER_NONE;
        return read || access_creates(p->c, &p->caller) ? 0 : 403;
    }
    const struct cnetwork *net = t->id_len == 16 && hex_to_u64(t->id, 16, 16, &nwid) == 0
                                     ? model_find(&p->c->model, nwid)
                                     : NULL;
    if (net == NULL) { /* made, if it is no more than its name, or not found */
        if (read || t->sub[0] != '\0') {
            return 404;
        }
        p->filter = FILTER_CREATED;
        return access_creates(p->c, &p->caller) ? 0 : 403;
    }
    p->access = access_network(p->c, &p->caller, net);
    p->filter = FILTER_SECRETS;
    if ((p->access & ACCESS_READ) == 0) {
        return 404;
    }
    bool may = t->sub[0] != '\0' ? may_below(t, net, p->access, request, read)
                                 : may_network(p->access, request, read);
    return may ? 0 : 403;
}

void access_controller_api(struct controller *c, const struct caller *caller,
                           const struct controller_api_request *request, int64_t now_ms,
                           controller_api_done done, void *ctx)
{
    struct controller_api_request own = *request;
    c->now_ms = now_ms;
    struct passed *p = calloc(1, sizeof(*p));
    struct target target;
    if (p == NULL) {
        refuse(done, ctx, 500, "out of memory");
        return;
    }
    *p = (struct passed){.c = c, .caller = *caller, .done = done, .ctx = ctx};
    read_path(request->path, &target);
    unsigned status = controller_serves(c) ? decide(p, &target, request) : 503;
    if (status != 0) {
        free(p);
        refuse(done, ctx, status,
               status == 404   ? "no such network"
               : status == 503 ? "the controller is not ready, see /controller"
                               : "not permitted");
        return;
    }
    access_actor(c, caller, &own.actor);
    own.reader = caller;
    controller_api(c, &own, now_ms, on_answer, p);
}
