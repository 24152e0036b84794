/* Networks and members of a running controller, by its HTTP API. Source: spec 04 sections 2.2 and
 * 3.2. */
#include "cli/migrate.h"

#include "base/hex.h"
#include "controller/import_doc.h"
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOST_LEN = 256,
    NWID_DIGITS = 16,
    ADDRESS_DIGITS = 10,
};

/* One import. */
struct live {
    struct client client;
    struct import_source *src;
    char *why;
};

static int parse_url(const char *url, char host[HOST_LEN], unsigned *ret_port)
{
    static const char scheme[] = "http://";
    const char *at = url + strlen(scheme);
    if (strncmp(url, scheme, strlen(scheme)) != 0) {
        return -EINVAL;
    }
    size_t bracket = *at == '[' ? 1 : 0;
    size_t len = bracket > 0 ? strcspn(at, "]") - 1 : strcspn(at, ":/");
    const char *rest = at + bracket + len + (bracket > 0 && at[len + 1] == ']' ? 1 : 0);
    char *end = NULL;
    unsigned long port = *rest == ':' ? strtoul(rest + 1, &end, 10) : CONFIG_PRIMARY_PORT;
    const char *tail = end != NULL ? end : rest;
    if (len == 0 || len >= HOST_LEN || port == 0 || port > 65535 ||
        (tail[0] != '\0' && strcmp(tail, "/") != 0)) {
        return -EINVAL;
    }
    (void)snprintf(host, HOST_LEN, "%.*s", (int)len, at + bracket);
    *ret_port = (unsigned)port;
    return 0;
}

/* GET a path. Returns the status of the answer, 0 without one (said in why). */
static long get(struct live *live, const char *path, struct answer *ret)
{
    int err = client_request(&live->client, "GET", path, NULL, ret);
    if (err < 0) {
        *ret = (struct answer){0};
        (void)snprintf(live->why, MIGRATE_WHY_LEN, "GET %s: %s", path, strerror(-err));
        return 0;
    }
    if (ret->status != 200) {
        (void)snprintf(live->why, MIGRATE_WHY_LEN, "GET %s: %s", path,
                       ret->status == 0     ? ret->body
                       : ret->status == 401 ? "the token is refused"
                       : ret->status == 404 ? "not there: is it a controller?"
                                            : "not answered with 200");
    }
    return ret->status;
}

/* GET an object. Returns a new reference or NULL. */
static json_t *get_object(struct live *live, const char *path)
{
    struct answer answer;
    json_t *o = NULL;
    if (get(live, path, &answer) == 200) {
        o = import_parse(answer.body, answer.len, live->why, MIGRATE_WHY_LEN);
    }
    answer_done(&answer);
    return o;
}

static int add_member(struct live *live, const char *nwid, const json_t *member)
{
    char path[96];
    const char *id = json_string_value(json_object_get(member, "id"));
    id = id != NULL ? id : json_string_value(json_object_get(member, "address"));
    if (id == NULL || strlen(id) != ADDRESS_DIGITS) {
        return 0;
    }
    char *text = import_print(member);
    (void)snprintf(path, sizeof(path), "controller.d/network/%s/member/%s.json", nwid, id);
    return text == NULL ? -ENOMEM : import_source_add(live->src, path, text, strlen(text), NULL);
}

static int get_member(struct live *live, const char *nwid, const char *address)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "/controller/network/%s/member/%s", nwid, address);
    json_t *member = get_object(live, path);
    int err = member == NULL ? -EIO : add_member(live, nwid, member);
    json_decref(member);
    return err;
}

/* One by one: the list is an object of addresses, in version 1.12.0 an array of such objects. */
static int get_members_singly(struct live *live, const char *nwid)
{
    char path[64];
    struct answer answer;
    const char *address;
    json_t *value;
    size_t i;
    json_t *part;
    (void)snprintf(path, sizeof(path), "/controller/network/%s/member", nwid);
    bool good = get(live, path, &answer) == 200;
    json_t *list = good ? json_loadb(answer.body, answer.len, 0, NULL) : NULL;
    json_t *parts = json_is_array(list) ? json_incref(list) : json_pack("[O]", list);
    int err = list == NULL ? -EIO : 0;
    answer_done(&answer);
    json_array_foreach(parts, i, part)
    {
        json_object_foreach(part, address, value)
        {
            bool is_address = strlen(address) == ADDRESS_DIGITS;
            err = err == 0 && is_address ? get_member(live, nwid, address) : err;
        }
    }
    json_decref(parts);
    json_decref(list);
    return err;
}

static int get_members(struct live *live, const char *nwid)
{
    char path[80];
    size_t i;
    json_t *member;
    (void)snprintf(path, sizeof(path), "/unstable/controller/network/%s/member", nwid);
    json_t *all = get_object(live, path);
    const json_t *data = json_object_get(all, "data");
    int err = json_is_array(data) ? 0 : get_members_singly(live, nwid);
    json_array_foreach(data, i, member)
    {
        err = err == 0 ? add_member(live, nwid, member) : err;
    }
    json_decref(all);
    return err;
}

static int get_network(struct live *live, const char *nwid)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "/controller/network/%s", nwid);
    json_t *network = get_object(live, path);
    if (network == NULL) {
        return -EIO;
    }
    char *text = import_print(network);
    json_decref(network);
    (void)snprintf(path, sizeof(path), "controller.d/network/%s.json", nwid);
    int err = text == NULL ? -ENOMEM : import_source_add(live->src, path, text, strlen(text), NULL);
    return err == 0 ? get_members(live, nwid) : err;
}

static int get_networks(struct live *live)
{
    struct answer answer;
    size_t i;
    json_t *id;
    bool good = get(live, "/controller/network", &answer) == 200;
    json_t *list = good ? json_loadb(answer.body, answer.len, 0, NULL) : NULL;
    int err = json_is_array(list) ? 0 : -EIO;
    answer_done(&answer);
    json_array_foreach(list, i, id)
    {
        const char *nwid = json_string_value(id);
        uint64_t number;
        if (err == 0 && nwid != NULL && strlen(nwid) == NWID_DIGITS &&
            hex_to_u64(nwid, NWID_DIGITS, NWID_DIGITS, &number) == 0) {
            err = get_network(live, nwid);
        }
    }
    json_decref(list);
    return err;
}

int import_live(struct import_source *src, const char *url, const char *token,
                uint64_t *ret_address, char *why)
{
    char host[HOST_LEN];
    struct live live = {.client = {.host = host}, .src = src, .why = why};
    why[0] = '\0';
    if (parse_url(url, host, &live.client.port) < 0) {
        (void)snprintf(why, MIGRATE_WHY_LEN, "not of the form http://HOST[:PORT]");
        return -EINVAL;
    }
    (void)snprintf(live.client.token, sizeof(live.client.token), "%s", token);
    json_t *status = get_object(&live, "/status");
    int err = status == NULL ? -EIO : 0;
    uint64_t address = import_doc_id(status, "address", ADDRESS_DIGITS, 0);
    json_decref(status);
    err = err == 0 ? get_networks(&live) : err;
    client_close(&live.client);
    if (err < 0) {
        if (why[0] == '\0') {
            (void)snprintf(why, MIGRATE_WHY_LEN, "%s", strerror(-err));
        }
        return err;
    }
    import_source_sort(src);
    *ret_address = address;
    return 0;
}
