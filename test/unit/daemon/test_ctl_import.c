/* Import of the reference's controller files. Spec 04 sections 3.1, 3.2; SV-122. */
#include "vectors.h"

#include "daemon/ctl_import.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A backend that remembers what it was told. */
struct fake {
    struct store_backend backend;
    size_t networks;
    size_t members;
    size_t events; /* entries of the log */
    uint64_t last_nwid;
    int result; /* of apply */
};

static char dir[64];

static int fake_open(struct store_backend *b, store_load_fn load, void *ctx, char *why, size_t cap)
{
    (void)b;
    (void)load;
    (void)ctx;
    (void)why;
    (void)cap;
    return 0;
}

static int fake_apply(struct store_backend *b, const struct store_change *changes, char *why,
                      size_t cap)
{
    struct fake *f = CONTAINER_OF(b, struct fake, backend);
    (void)why;
    (void)cap;
    for (; changes != NULL; changes = changes->next) {
        if (changes->kind == STORE_NETWORK) {
            f->networks++;
            f->last_nwid = changes->nwid;
            assert_non_null(strstr(changes->text, "\"name\":\"n\""));
        } else if (changes->kind == STORE_EVENT) {
            f->events++;
            assert_non_null(strstr(changes->text, "\"controller.imported\""));
            assert_non_null(strstr(changes->text, "\"protocol\""));
        } else {
            assert_int_equal(changes->kind, STORE_MEMBER);
            assert_int_equal(changes->nwid, f->last_nwid); /* behind its network */
            f->members++;
        }
    }
    return f->result;
}

static struct fake fake(int result)
{
    return (struct fake){.backend = {.open = fake_open, .apply = fake_apply}, .result = result};
}

static void put(const char *name, const char *text)
{
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void make(const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_make_dirs(path, 0700), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/panlan-import-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command); /* NOLINT(cert-env33-c): a test, with a name of its own making */
}

static void test_networks_and_members_come_over(void **state)
{
    struct fake f = fake(0);
    (void)state;
    make("network/8056c2e21c000001/member");
    put("network/8056c2e21c000001.json", "{ \"name\": \"n\" }");
    put("network/8056c2e21c000002.json", "{ \"name\": \"n\" }");
    put("network/8056c2e21c000003.json", "{ damaged");
    put("network/readme.txt", "no network");
    for (unsigned i = 1; i <= 300; i++) {
        char name[96];
        (void)snprintf(name, sizeof(name), "network/8056c2e21c000001/member/%010x.json", i);
        put(name, "{}");
    }
    put("network/8056c2e21c000001/member/0123456789.json.bak", "{}");
    assert_int_equal(ctl_import(dir, &f.backend), 2);
    assert_int_equal(f.networks, 2);
    assert_int_equal(f.members, 300);
    assert_int_equal(f.events, 1);
}

static void test_nothing_to_import(void **state)
{
    struct fake f = fake(0);
    (void)state;
    assert_int_equal(ctl_import(dir, &f.backend), 0);
}

/* Members that cannot be listed are not members that are not there. */
static void test_what_cannot_be_read_fails_the_import(void **state)
{
    struct fake f = fake(0);
    struct fake full = fake(-ENOSPC);
    (void)state;
    make("network/8056c2e21c000001");
    put("network/8056c2e21c000001.json", "{ \"name\": \"n\" }");
    put("network/8056c2e21c000001/member", "a file in the place of the directory");
    assert_int_equal(ctl_import(dir, &f.backend), -ENOTDIR);
    assert_int_equal(f.networks, 0);
    put("network/8056c2e21c000002.json", "{ \"name\": \"n\" }");
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/network/8056c2e21c000001/member", dir);
    assert_int_equal(file_erase(path), 0);
    assert_int_equal(ctl_import(dir, &full.backend), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_networks_and_members_come_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_import, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read_fails_the_import, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
