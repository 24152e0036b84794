/* Random sequences of API calls, requests and restarts against a naive model: what is stored is
 * what was asked for, addresses given out are unique and inside the pool, authorization follows the
 * rules (CTL-70, CTL-78, CTL-93). The seed is printed; PANLAN_SEED repeats a run. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NETS = 2, NODES = 40, STEPS = 2500, POOL_FIRST = 1, POOL_LAST = 30 };

/* What the model knows of a member. */
struct model_member {
    bool exists;
    bool authorized;
    bool removed;  /* by DELETE: asking does not bring it back in a private network (CTL-115) */
    bool shut_out; /* deauthorized: no token lets it in again */
    bool has_name;
    uint32_t name;
    unsigned manual; /* last octet set by hand, 0 none */
    bool assigned;   /* got one from the pool, which one is the controller's choice */
    unsigned uses;   /* of the token, by this member */
};

struct model_network {
    bool exists;
    bool is_private;
    unsigned token_uses; /* left of token "t", 0 = no such token */
    struct model_member members[NODES];
};

static struct model_network nets[NETS];
static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
    rng = hash_mix(rng + 1, 12345);
    return (uint32_t)(rng >> 20) % n;
}

static uint64_t nwid_of(unsigned i)
{
    return UINT64_C(0x12a402e62e000001) + i;
}

static void net_path(unsigned net, char out[128])
{
    snprintf(out, 128, "/controller/network/%016llx", (unsigned long long)nwid_of(net));
}

static void member_path(unsigned net, unsigned node, char out[128])
{
    snprintf(out, 128, "/controller/network/%016llx/member/%010x", (unsigned long long)nwid_of(net),
             node + 1);
}

static void op_network(struct fake *f, unsigned net)
{
    char path[128];
    char body[320];
    net_path(net, path);
    struct model_network *n = &nets[net];
    if (n->exists && rnd(30) == 0) {
        assert_int_equal(fake_status(f, "DELETE", path, NULL), 200);
        memset(n, 0, sizeof(*n));
        return;
    }
    n->is_private = rnd(3) != 0;
    n->exists = true;
    snprintf(
        body, sizeof(body),
        "{\"private\":%s,\"v4AssignMode\":\"zt\",\"routes\":[{\"target\":\"10.9.0.0/24\"}],"
        "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.%d\",\"ipRangeEnd\":\"10.9.0.%d\"}]}",
        n->is_private ? "true" : "false", POOL_FIRST, POOL_LAST);
    assert_int_equal(fake_status(f, "POST", path, body), 200);
}

static void op_token(struct fake *f, unsigned net)
{
    char path[160];
    char body[64];
    net_path(net, path);
    strcat(path, "/invite-token");
    unsigned uses = rnd(3) + 1;
    snprintf(body, sizeof(body), "{\"token\":\"t\",\"uses\":%u}", uses);
    unsigned status = fake_status(f, "POST", path, body);
    assert_int_equal(status, nets[net].exists ? 200 : 404);
    if (status == 200) {
        nets[net].token_uses = uses;
    }
}

/* Pool addresses in use. */
static unsigned in_use(const struct model_network *n)
{
    unsigned count = 0;
    for (unsigned i = 0; i < NODES; i++) {
        count += n->members[i].assigned ? 1 : 0;
    }
    return count;
}

static void op_member(struct fake *f, unsigned net, unsigned node)
{
    char path[128];
    char body[128];
    member_path(net, node, path);
    struct model_network *n = &nets[net];
    struct model_member *m = &n->members[node];
    bool was_authorized = m->authorized;
    if (!n->exists) {
        assert_int_equal(fake_status(f, "POST", path, "{}"), 404);
        return;
    }
    switch (rnd(5)) {
    case 0:
        snprintf(body, sizeof(body), "{\"authorized\":true}");
        m->authorized = true;
        break;
    case 1:
        snprintf(body, sizeof(body), "{\"authorized\":false}");
        m->shut_out = m->shut_out || (m->authorized && n->is_private);
        m->authorized = m->authorized && !n->is_private; /* no effect in a public network */
        break;
    case 2:
        m->name = rnd(1000);
        m->has_name = true;
        snprintf(body, sizeof(body), "{\"name\":\"%u\"}", m->name);
        break;
    case 3: /* by hand, outside the pool: everybody his own */
        m->manual = 100 + node;
        m->assigned = false;
        snprintf(body, sizeof(body), "{\"ipAssignments\":[\"10.9.0.%u\"]}", m->manual);
        break;
    default:
        if (m->exists && rnd(2) == 0) {
            assert_int_equal(fake_status(f, "DELETE", path, NULL), 200);
            memset(m, 0, sizeof(*m));
            m->removed = true;
            return;
        }
        m->manual = 0;
        m->assigned = false;
        snprintf(body, sizeof(body), "{\"ipAssignments\":[]}");
        break;
    }
    json_t *obj = fake_api(f, "POST", path, body);
    assert_int_equal(f->status, 200);
    bool has_address = json_array_size(json_object_get(obj, "ipAssignments")) == 1;
    if (has_address && m->manual == 0 && !m->assigned) {
        /* only one that waits and is let in gets its address at once */
        assert_true(m->exists && !was_authorized && m->authorized);
        assert_true(in_use(n) < POOL_LAST - POOL_FIRST + 1);
        m->assigned = true;
    }
    json_decref(obj);
    m->exists = true;
    m->removed = false;
}

static void op_request(struct fake *f, unsigned net, unsigned node)
{
    struct model_network *n = &nets[net];
    struct model_member *m = &n->members[node];
    bool with_token = rnd(3) == 0;
    fake_clear(f);
    fake_request(f, nwid_of(net), node + 1, with_token ? "t" : NULL);
    if (!n->exists) {
        assert_int_equal(fake_last(f, FAKE_ERROR, node + 1)->code, ERROR_OBJ_NOT_FOUND);
        return;
    }
    if (m->removed && n->is_private) {
        assert_int_equal(fake_last(f, FAKE_ERROR, node + 1)->code, ERROR_NETWORK_ACCESS_DENIED);
        return;
    }
    m->exists = true;
    m->removed = false;
    if (!m->authorized && !n->is_private) {
        m->authorized = true;
    } else if (!m->authorized && with_token && !m->shut_out && n->token_uses > 0) {
        n->token_uses--;
        m->authorized = true;
    }
    if (!m->authorized) {
        assert_int_equal(fake_last(f, FAKE_ERROR, node + 1)->code, ERROR_NETWORK_ACCESS_DENIED);
        return;
    }
    bool room = in_use(n) < POOL_LAST - POOL_FIRST + 1;
    m->assigned = m->assigned || (m->manual == 0 && room);
    struct netconf conf;
    fake_config(f, node + 1, &conf);
    assert_int_equal(conf.address_count, m->assigned || m->manual != 0 ? 1 : 0);
    if (m->manual != 0) {
        assert_int_equal(conf.addresses[0].ip[3], m->manual);
    }
    assert_int_equal(com_verify(conf.com, &f->identity), 0);
    netconf_free(&conf);
}

static void check_member(struct fake *f, unsigned net, unsigned node, bool taken[256])
{
    char path[128];
    member_path(net, node, path);
    const struct model_member *m = &nets[net].members[node];
    json_t *obj = fake_api(f, "GET", path, NULL);
    assert_int_equal(f->status, m->exists ? 200 : 404);
    if (m->exists) {
        const json_t *ips = json_object_get(obj, "ipAssignments");
        assert_int_equal(json_is_true(json_object_get(obj, "authorized")), m->authorized);
        char name[16];
        snprintf(name, sizeof(name), "%u", m->name);
        assert_string_equal(js(obj, "name"), m->has_name ? name : "?");
        assert_int_equal(json_array_size(ips), m->assigned || m->manual != 0 ? 1 : 0);
        if (json_array_size(ips) == 1) {
            int octet = atoi(json_string_value(json_array_get(ips, 0)) + 7);
            assert_false(taken[octet]); /* unique always */
            taken[octet] = true;
            if (m->manual != 0) {
                assert_int_equal(octet, m->manual);
            } else {
                assert_in_range(octet, POOL_FIRST, POOL_LAST);
            }
        }
    }
    json_decref(obj);
}

static void check_all(struct fake *f)
{
    for (unsigned net = 0; net < NETS; net++) {
        char path[128];
        bool taken[256] = {false};
        net_path(net, path);
        json_t *obj = fake_api(f, "GET", path, NULL);
        assert_int_equal(f->status, nets[net].exists ? 200 : 404);
        if (nets[net].exists) {
            assert_int_equal(json_is_true(json_object_get(obj, "private")), nets[net].is_private);
            const json_t *left = json_object_get(json_object_get(obj, "authTokenUses"), "t");
            assert_int_equal(json_integer_value(left), nets[net].token_uses);
        }
        json_decref(obj);
        for (unsigned node = 0; node < NODES; node++) {
            check_member(f, net, node, taken);
        }
    }
}

static void test_random_history_matches_the_model(void **state)
{
    (void)state;
    char path[128];
    struct fake f;
    const char *seed = getenv("PANLAN_SEED");
    rng = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)rng);
    memset(nets, 0, sizeof(nets));
    fake_db_name(path, sizeof(path), "random");
    fake_init(&f, path);
    for (int step = 0; step < STEPS; step++) {
        unsigned net = rnd(NETS);
        unsigned node = rnd(NODES);
        uint32_t what = rnd(100);
        if (what < 3) {
            op_network(&f, net);
        } else if (what < 6) {
            op_token(&f, net);
        } else if (what < 50) {
            op_member(&f, net, node);
        } else if (what < 97) {
            op_request(&f, net, node);
        } else if (what < 99) {
            fake_run(&f, 1500);
        } else {
            check_all(&f);
            fake_restart(&f);
            check_all(&f);
        }
    }
    check_all(&f);
    fake_done(&f);
    fake_db_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_history_matches_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
