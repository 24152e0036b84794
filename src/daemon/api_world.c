/* /world: planet and moons with all that is known of them, and installing new versions; /identity:
 * who a known node is. The reference has neither. Source: spec 02 sections 9.3 and 9.6. */
#include "base/hex.h"
#include "daemon/api_json.h"
#include "daemon/api_priv.h"
#include "daemon/service_priv.h"
#include "wire/identity.h"
#include "wire/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_DIGITS = 10 };

static json_t *world_array(struct service *svc)
{
    json_t *array = json_array();
    struct node_status status;
    struct node_moon_info info;
    node_get_status(svc->node, service_now(), &status);
    info = (struct node_moon_info){.id = status.planet_id,
                                   .verified = status.planet_verified,
                                   .world = node_planet(svc->node)};
    if (info.world != NULL) {
        (void)json_array_append_new(array, api_json_world(&info, true));
    }
    for (size_t i = 0; node_moon(svc->node, i, &info); i++) {
        (void)json_array_append_new(array, api_json_world(&info, false));
    }
    return array;
}

static void refuse(struct api_call *call, unsigned status, const char *reason)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "reason", json_string(reason));
    api_reply_json(call, status, o);
}

/* The world of a body {"serialized": "<hex>"}. Returns 0; -EBADMSG. */
static int body_world(const struct http_request *request, struct world *ret)
{
    json_t *body = json_loadb(request->body, request->body_len, 0, NULL);
    const char *text = json_string_value(json_object_get(body, "serialized"));
    size_t len = text == NULL ? 0 : strlen(text) / 2;
    uint8_t *data = len == 0 || len > WORLD_WIRE_MAX ? NULL : malloc(len);
    int err = data == NULL ? -EBADMSG : hex_decode(text, strlen(text), data, len);
    if (err == 0) {
        struct rd in = rd_init(data, len);
        err = world_read(&in, ret);
        err = err == 0 && rd_left(&in) > 0 ? -EBADMSG : err;
    }
    free(data);
    json_decref(body);
    return err;
}

static void install(struct api_call *call, const struct world *world)
{
    struct node *node = call->svc->node;
    int err = node_world_check(node, world);
    if (err == 0) {
        err = node_world_offer(node, world, service_now());
    }
    switch (err) {
    case 0:
        api_reply_json(call, 200, world_array(call->svc));
        break;
    case -EPROTO:
        refuse(call, 409, "a world of another kind or ID is in its place");
        break;
    case -ESTALE:
        refuse(call, 409, "not newer than the version this node has");
        break;
    case -EACCES:
        refuse(call, 403, "not signed by the key that the version this node has demands");
        break;
    case -ENOSPC:
        refuse(call, 409, "too many moons");
        break;
    default:
        api_reply_error(call, strerror(-err));
        break;
    }
}

static void post_world(struct api_call *call)
{
    struct world *world = malloc(sizeof(*world));
    if (world == NULL) {
        api_reply_empty(call, 500);
    } else if (body_world(call->request, world) < 0) {
        refuse(call, 400, "not a world");
    } else {
        install(call, world);
    }
    free(world);
}

static void reply_identity(struct api_call *call, uint64_t address)
{
    struct identity id;
    char text[IDENTITY_TEXT_LEN];
    if (node_identity_of(call->svc->node, address, &id, service_now()) < 0) {
        refuse(call, 404, "this node is not known here");
        return;
    }
    json_t *o = json_object();
    identity_print(&id, false, text);
    (void)json_object_set_new(o, "identity", json_string(text));
    api_reply_json(call, 200, o);
}

bool api_world_handle(struct api_call *call, const char *path)
{
    static const char prefix[] = "/identity/";
    const char *digits = path + strlen(prefix);
    uint64_t address;
    if (strcmp(path, "/world") == 0 && call->read) {
        api_reply_json(call, 200, world_array(call->svc));
    } else if (strcmp(path, "/world") == 0 && call->write) {
        post_world(call);
    } else if (call->read && strncmp(path, prefix, strlen(prefix)) == 0 &&
               strlen(digits) == ADDRESS_DIGITS &&
               hex_to_u64(digits, ADDRESS_DIGITS, ADDRESS_DIGITS, &address) == 0) {
        reply_identity(call, address);
    } else {
        return false;
    }
    return true;
}
