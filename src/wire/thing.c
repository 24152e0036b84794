/* Things of certificates of ownership: MACs and IPs. Source: spec 03 section 6.2. */
#include "wire/credential.h"
#include "wire/mac.h"

#include <errno.h>
#include <string.h>

static int add_thing(struct ownership *own, enum thing_type type, const uint8_t *value, size_t len)
{
    struct thing thing = {.type = (uint8_t)type};

    if (own->count >= OWNERSHIP_THINGS_MAX) {
        return -ENOSPC;
    }
    memcpy(thing.value, value, len);
    own->things[own->count++] = thing;
    return 0;
}

static enum thing_type ip_type(size_t ip_len)
{
    return ip_len == 4 ? THING_IPV4 : THING_IPV6;
}

int ownership_add_ip(struct ownership *own, const uint8_t *ip, size_t ip_len)
{
    return add_thing(own, ip_type(ip_len), ip, ip_len);
}

int ownership_add_mac(struct ownership *own, uint64_t mac)
{
    uint8_t bytes[MAC_LEN];

    mac_put(bytes, mac);
    return add_thing(own, THING_MAC, bytes, sizeof(bytes));
}

static bool things_own(const struct thing *things, size_t count, enum thing_type type,
                       const uint8_t *value, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (things[i].type == type && memcmp(things[i].value, value, len) == 0) {
            return true;
        }
    }
    return false;
}

bool things_own_ip(const struct thing *things, size_t count, const uint8_t *ip, size_t ip_len)
{
    return things_own(things, count, ip_type(ip_len), ip, ip_len);
}

bool things_own_mac(const struct thing *things, size_t count, uint64_t mac)
{
    uint8_t bytes[MAC_LEN];

    mac_put(bytes, mac);
    return things_own(things, count, THING_MAC, bytes, sizeof(bytes));
}

bool ownership_owns_ip(const struct ownership *own, const uint8_t *ip, size_t ip_len)
{
    return things_own_ip(own->things, own->count, ip, ip_len);
}

bool ownership_owns_mac(const struct ownership *own, uint64_t mac)
{
    return things_own_mac(own->things, own->count, mac);
}
