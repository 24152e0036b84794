/* Sockets of a node: the usual one, and those its engine opens for a while. */
#include "sim_priv.h"

#include <assert.h>
#include <stdlib.h>

struct inetaddr sim_socket_address(const struct sim_node *node, uint32_t socket)
{
    struct inetaddr at = node->at;

    if (socket == SIM_SOCKET) {
        return at;
    }
    for (size_t i = 0; i < node->extra_count; i++) {
        if (node->extras[i].id == socket) {
            at.port = node->extras[i].port;
            return at;
        }
    }
    return (struct inetaddr){0};
}

uint32_t sim_socket_at(const struct sim_node *node, const struct inetaddr *at)
{
    if (!inetaddr_ip_equal(&node->at, at)) {
        return 0;
    }
    if (node->at.port == at->port) {
        return SIM_SOCKET;
    }
    for (size_t i = 0; i < node->extra_count; i++) {
        if (node->extras[i].port == at->port) {
            return node->extras[i].id;
        }
    }
    return 0;
}

size_t sim_extra_open(void *ctx, uint32_t like, struct engine_socket *ret, size_t count)
{
    struct sim_node *node = ctx;
    size_t n = 0;

    (void)like;
    while (n < count && node->extra_count < SIM_EXTRA_MAX) {
        struct inetaddr at = node->at;

        do {
            at.port = (uint16_t)(32768 + sim_random(node->sim, 28000));
        } while (sim_socket_at(node, &at) != 0);
        node->extras = realloc(node->extras, (node->extra_count + 1) * sizeof(*node->extras));
        assert(node->extras != NULL);
        node->extras[node->extra_count] =
            (struct sim_extra){.id = SIM_SOCKET + ++node->next_socket, .port = at.port};
        ret[n++] = (struct engine_socket){.id = node->extras[node->extra_count++].id, .local = at};
    }
    return n;
}

void sim_extra_close(void *ctx, uint32_t id, bool keep)
{
    struct sim_node *node = ctx;

    for (size_t i = 0; i < node->extra_count; i++) {
        if (node->extras[i].id == id) {
            node->extras[i].kept = true;
            if (!keep) {
                node->extras[i] = node->extras[--node->extra_count];
            }
            return;
        }
    }
    abort(); /* closed twice, or never opened */
}

void sim_set_sockets(struct sim_node *node)
{
    struct node_socket *list = calloc(1 + node->extra_count, sizeof(*list));
    size_t count = 0;

    assert(list != NULL);
    list[count++] = (struct node_socket){.id = SIM_SOCKET, .local = node->at};
    for (size_t i = 0; i < node->extra_count; i++) {
        if (node->extras[i].kept) {
            list[count++] = (struct node_socket){
                .id = node->extras[i].id, .local = sim_socket_address(node, node->extras[i].id)};
        }
    }
    if (node_set_sockets(node->node, list, count, node->sim->now_ms) < 0) {
        abort();
    }
    free(list);
}

size_t sim_extra_sockets(const struct sim_node *node)
{
    return node->extra_count;
}
