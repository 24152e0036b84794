/* Many nodes on one ad-hoc network: it forms, stays complete under loss, and the same seed gives
 * the same trace. */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* IPv4 ad-hoc network 10.0.0.0/8 without hub: needs no controller. */
static const uint64_t adhoc = 0xff0a000000000001u;

enum { NODES_MAX = 200 };

struct mesh {
    struct sim *sim;
    struct sim_node *roots[2];
    struct sim_node *nodes[NODES_MAX];
    size_t count;
};

static struct mesh *mesh_new(uint64_t seed, size_t count, unsigned loss_pct)
{
    static struct mesh mesh;
    struct sim_options options = {
        .seed = seed, .latency_ms = 10, .jitter_ms = 5, .loss_pct = loss_pct, .dup_pct = 1};

    mesh = (struct mesh){.sim = sim_new(&options), .count = count};
    assert_non_null(mesh.sim);
    mesh.roots[0] = sim_add(mesh.sim, SIM_NAT_NONE);
    mesh.roots[1] = sim_add(mesh.sim, SIM_NAT_NONE);
    sim_planet(mesh.sim, mesh.roots, 2);
    for (size_t i = 0; i < 2; i++) {
        sim_start(mesh.roots[i]);
    }
    for (size_t i = 0; i < count; i++) {
        mesh.nodes[i] = sim_add(mesh.sim, i % 4 == 0 ? SIM_NAT_PORT_RESTRICTED : SIM_NAT_NONE);
        sim_start(mesh.nodes[i]);
        assert_int_equal(0, node_join(sim_engine(mesh.nodes[i]), adhoc, NULL, sim_now(mesh.sim)));
    }
    return &mesh;
}

/* Each node sends to every other one; frames that arrived, in percent. */
static unsigned exchange(struct mesh *mesh, unsigned rounds)
{
    unsigned before = 0;
    unsigned after = 0;
    size_t sent = rounds * mesh->count * (mesh->count - 1);

    for (size_t i = 0; i < mesh->count; i++) {
        before += sim_frames(mesh->nodes[i]);
    }
    for (unsigned r = 0; r < rounds; r++) {
        for (size_t i = 0; i < mesh->count; i++) {
            for (size_t k = 0; k < mesh->count; k++) {
                if (i != k) {
                    sim_frame(mesh->nodes[i], mesh->nodes[k], adhoc);
                }
            }
            (void)sim_run(mesh->sim, 20, NULL, NULL);
        }
    }
    (void)sim_run(mesh->sim, 6000, NULL, NULL);
    for (size_t i = 0; i < mesh->count; i++) {
        after += sim_frames(mesh->nodes[i]);
    }
    return (unsigned)((after - before) * 100 / sent);
}

static unsigned direct_pct(struct mesh *mesh)
{
    size_t direct = 0;

    for (size_t i = 0; i < mesh->count; i++) {
        struct node_peer_info *peers;
        ssize_t n = node_peers(sim_engine(mesh->nodes[i]), sim_now(mesh->sim), &peers);

        for (ssize_t p = 0; p < n; p++) {
            direct += peers[p].role == PEER_LEAF && peers[p].path_count > 0;
        }
        node_peers_free(peers, (size_t)n);
    }
    return (unsigned)(direct * 100 / (mesh->count * (mesh->count - 1)));
}

/* 200 nodes, 5 % loss: every pair talks directly, an hour later still. */
static void test_two_hundred_nodes_form_and_stay(void **state)
{
    struct mesh *mesh = mesh_new(1, NODES_MAX, 5);
    unsigned got;
    unsigned direct;

    (void)state;
    (void)sim_run(mesh->sim, 3000, NULL, NULL);
    got = exchange(mesh, 1);
    direct = direct_pct(mesh);
    print_message("200 nodes, 5 %% loss: %u %% of first frames, %u %% of pairs direct\n", got,
                  direct);
    assert_true(got >= 80); /* each passes one lossy link, the first ones two */
    got = exchange(mesh, 1);
    direct = direct_pct(mesh);
    print_message("second round: %u %% of frames, %u %% of pairs direct\n", got, direct);
    assert_true(got >= 93);
    assert_true(direct >= 99);
    sim_free(mesh->sim);
}

static uint64_t trace_of(uint64_t seed)
{
    struct mesh *mesh = mesh_new(seed, 20, 5);
    uint64_t trace;

    (void)sim_run(mesh->sim, 2000, NULL, NULL);
    (void)exchange(mesh, 1);
    trace = sim_trace(mesh->sim);
    assert_true(sim_datagrams(mesh->sim) > 1000);
    sim_free(mesh->sim);
    return trace;
}

static void test_same_seed_same_trace(void **state)
{
    uint64_t first = trace_of(7);

    (void)state;
    assert_true(first == trace_of(7));
    assert_true(first != trace_of(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_trace),
        cmocka_unit_test(test_two_hundred_nodes_form_and_stay),
    };

    return cmocka_run_group_tests_name("sim_mesh", tests, NULL, NULL);
}
