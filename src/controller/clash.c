/* Clashes of identities. Source: spec 04 section 12 item 7. */
#include "controller/clash.h"

#include "controller/coerce.h"
#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

static struct clash *find(const struct cnetwork *net, uint64_t address)
{
    struct hmap_node *it = hmap_find(&net->clashes, address);
    return it != NULL ? CONTAINER_OF(it, struct clash, node) : NULL;
}

static void drop(struct cnetwork *net, struct clash *clash)
{
    hmap_remove(&net->clashes, &clash->node);
    free(clash);
}

static void make_room(struct cnetwork *net)
{
    struct clash *oldest = NULL;
    struct hmap_node *it = NULL;
    while (net->clashes.count >= CLASHES_MAX && (it = hmap_each(&net->clashes, it)) != NULL) {
        struct clash *clash = CONTAINER_OF(it, struct clash, node);
        if (oldest == NULL || clash->last_ms < oldest->last_ms) {
            oldest = clash;
        }
    }
    if (oldest != NULL) {
        drop(net, oldest);
    }
}

static struct clash *make(struct cmember *m)
{
    make_room(m->net);
    struct clash *clash = calloc(1, sizeof(*clash));
    if (clash != NULL && hmap_insert(&m->net->clashes, &clash->node, m->address) != 0) {
        free(clash);
        return NULL;
    }
    return clash;
}

bool clash_note(struct cmember *m, const struct identity *id, const struct inetaddr *from,
                int64_t wall_ms)
{
    struct clash *clash = find(m->net, m->address);
    bool is_new = clash == NULL || memcmp(clash->pub, id->pub, sizeof(clash->pub)) != 0;
    if (clash == NULL) {
        clash = make(m);
        if (clash == NULL) {
            return false;
        }
    }
    if (is_new) {
        memcpy(clash->pub, id->pub, sizeof(clash->pub));
        clash->first_ms = wall_ms;
        clash->count = 0;
    }
    clash->from = *from;
    clash->last_ms = wall_ms;
    clash->count++;
    return is_new;
}

const struct clash *clash_find(const struct cmember *m)
{
    return find(m->net, m->address);
}

void clash_forget(struct cmember *m)
{
    struct clash *clash = find(m->net, m->address);
    if (clash != NULL) {
        drop(m->net, clash);
    }
}

void clash_done(struct cnetwork *net)
{
    struct hmap_node *it;
    while ((it = hmap_drain(&net->clashes)) != NULL) {
        free(CONTAINER_OF(it, struct clash, node));
    }
    hmap_done(&net->clashes);
}

json_t *clash_json(const struct clash *clash)
{
    struct identity id;
    char text[IDENTITY_TEXT_LEN];
    char ip[INETADDR_TEXT_LEN];
    memset(&id, 0, sizeof(id));
    id.address = clash->node.key;
    memcpy(id.pub, clash->pub, sizeof(id.pub));
    identity_print(&id, false, text);
    inetaddr_print_ip(&clash->from, ip);
    bool direct = clash->from.family != INETADDR_NIL;
    return json_pack("{sssIsIsIss?}", "identity", text, "firstSeen", (json_int_t)clash->first_ms,
                     "lastSeen", (json_int_t)clash->last_ms, "count", (json_int_t)clash->count,
                     "physicalAddress", direct ? ip : NULL);
}

void clash_load(struct cmember *m, const json_t *doc)
{
    const char *text = json_string_value(json_object_get(doc, "identity"));
    struct identity id;
    if (text == NULL || identity_parse(text, strlen(text), &id) != 0 || id.address != m->address) {
        return;
    }
    struct clash *clash = find(m->net, m->address);
    clash = clash != NULL ? clash : make(m);
    if (clash == NULL) {
        return;
    }
    memcpy(clash->pub, id.pub, sizeof(clash->pub));
    clash->first_ms = (int64_t)coerce_u64(json_object_get(doc, "firstSeen"), 0);
    clash->last_ms = (int64_t)coerce_u64(json_object_get(doc, "lastSeen"), 0);
    clash->count = coerce_u64(json_object_get(doc, "count"), 0);
    const char *from = json_string_value(json_object_get(doc, "physicalAddress"));
    if (from != NULL && inetaddr_parse(from, strlen(from), &clash->from) != 0) {
        memset(&clash->from, 0, sizeof(clash->from));
    }
}
