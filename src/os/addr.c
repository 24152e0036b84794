/* Looking up in a snapshot of the system's interfaces. Pure. */
#include "os/addr.h"

#include <string.h>

const struct net_iface *net_iface_find(const struct net_snapshot *snapshot, unsigned index)
{
    size_t low = 0;
    size_t high = snapshot->iface_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (snapshot->ifaces[middle].index == index) {
            return &snapshot->ifaces[middle];
        }
        if (snapshot->ifaces[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct net_iface *net_iface_named(const struct net_snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->iface_count; i++) {
        if (strcmp(snapshot->ifaces[i].name, name) == 0) {
            return &snapshot->ifaces[i];
        }
    }
    return NULL;
}
