/* Files of a home directory. Checklist: SV-2, SV-3, SV-4, SV-5, SV-6, SV-7, SV-8, SV-9, SV-14,
 * SV-16, SV-17. */
#include "daemon/state.h"

#include "daemon/keygen.h"
#include "os/clock.h"
#include "os/file.h"
#include "wire/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/panlan-state-XXXXXX";
static struct state st;

static void path_of(const char *name, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s/home/%s", dir, name);
}

static void put(const char *name, const char *text)
{
    char path[512];
    path_of(name, path, sizeof(path));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static mode_t mode_of(const char *name)
{
    char path[512];
    struct stat s;
    path_of(name, path, sizeof(path));
    return stat(path, &s) < 0 ? 0 : s.st_mode & 0777;
}

static size_t size_of(const char *name)
{
    char path[512];
    struct stat s;
    path_of(name, path, sizeof(path));
    return stat(path, &s) < 0 ? 0 : (size_t)s.st_size;
}

static int open_home(void **state)
{
    char home[512];
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/panlan-state-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(home, sizeof(home), "%s/home", dir);
    return state_open(home, &st);
}

static int close_home(void **state)
{
    char command[512];
    (void)state;
    state_close(&st);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void test_identity_is_written_and_read_back(void **state)
{
    (void)state;
    struct identity made;
    struct identity got;
    assert_int_equal(state_identity_load(&st, &got), -ENOENT);
    assert_int_equal(keygen_identity(NULL, NULL, &made), 0);
    assert_int_equal(keygen_validate(&made), 0);
    assert_int_equal(state_identity_store(&st, &made), 0);
    assert_int_equal(size_of("identity.secret"), IDENTITY_TEXT_SECRET);
    assert_int_equal(size_of("identity.public"), IDENTITY_TEXT_PUBLIC);
    assert_int_equal(mode_of("identity.secret"), 0600);
    assert_int_equal(mode_of("identity.public"), 0644);

    char path[512];
    path_of("identity.secret", path, sizeof(path));
    assert_int_equal(chmod(path, 0644), 0);
    path_of("identity.public", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(state_identity_load(&st, &got), 0);
    assert_true(identity_equal(&made, &got));
    assert_true(got.has_private);
    assert_int_equal(mode_of("identity.secret"), 0600);                 /* forced */
    assert_int_equal(size_of("identity.public"), IDENTITY_TEXT_PUBLIC); /* recreated */

    put("identity.public", "different");
    assert_int_equal(state_identity_load(&st, &got), 0);
    assert_int_equal(size_of("identity.public"), IDENTITY_TEXT_PUBLIC);

    char text[IDENTITY_TEXT_LEN + 1];
    identity_print(&made, true, text);
    strcat(text, "\n");
    put("identity.secret", text); /* SV-4 */
    assert_int_equal(state_identity_load(&st, &got), 0);

    assert_int_equal(state_identity_retire(&st), 0);
    assert_int_equal(state_identity_load(&st, &got), -ENOENT);
    assert_int_equal(mode_of("identity.secret.saved_after_collision"), 0600);
}

static void test_corrupt_identity_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "3f9a20c1d4:0:00", "3f9a20c1d4:0:zz:zz"};
    struct identity got;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        put("identity.secret", texts[i]);
        assert_int_equal(state_identity_load(&st, &got), -EBADMSG);
    }
}

static void test_token_is_made_kept_and_trimmed(void **state)
{
    (void)state;
    char first[STATE_TOKEN_MAX];
    char again[STATE_TOKEN_MAX];
    assert_int_equal(state_token(&st, "authtoken.secret", first), 0);
    assert_int_equal(strlen(first), 24);
    assert_int_equal(strspn(first, "abcdefghijklmnopqrstuvwxyz0123456789"), 24);
    assert_int_equal(mode_of("authtoken.secret"), 0600);
    assert_int_equal(state_token(&st, "authtoken.secret", again), 0);
    assert_string_equal(first, again);
    put("authtoken.secret", " \tmine\r\n\n");
    assert_int_equal(state_token(&st, "authtoken.secret", again), 0);
    assert_string_equal(again, "mine");
    put("authtoken.secret", "\n"); /* nothing in it: as absent */
    assert_int_equal(state_token(&st, "authtoken.secret", again), 0);
    assert_int_equal(strlen(again), 24);
}

static void test_networks_and_moons_by_name(void **state)
{
    (void)state;
    uint64_t ids[8];
    put("networks.d/ffeeddccbbaa9988.conf", "");
    put("networks.d/1122334455667788.conf", "\n");
    put("networks.d/1122334455667788.local.conf", "allowDefault=1\n");
    put("networks.d/112233445566778.conf", "");
    put("networks.d/11223344556677889.conf", "");
    put("networks.d/112233445566778x.conf", "");
    put("networks.d/0000000000000000.conf", "");
    put("moons.d/0000003f9a20c1d4.moon", "x");
    put("moons.d/short.moon", "x");
    assert_int_equal(state_list_networks(&st, ids, COUNT_OF(ids)), 2);
    assert_true(ids[0] == UINT64_C(0x1122334455667788));
    assert_true(ids[1] == UINT64_C(0xffeeddccbbaa9988));
    assert_int_equal(state_list_networks(&st, ids, 1), 1);
    assert_int_equal(state_list_moons(&st, ids, COUNT_OF(ids)), 1);
    assert_true(ids[0] == UINT64_C(0x3f9a20c1d4));
}

static void test_objects_of_the_engine(void **state)
{
    (void)state;
    static const struct {
        enum state_kind kind;
        uint64_t id;
        const char *name;
        mode_t mode;
    } table[] = {
        {STATE_PLANET, 0, "planet", 0644},
        {STATE_MOON, 0x3f9a20c1d4, "moons.d/0000003f9a20c1d4.moon", 0644},
        {STATE_NETWORK, 0x1122334455667788, "networks.d/1122334455667788.conf", 0600},
        {STATE_PEER, 0x3f9a20c1d4, "peers.d/3f9a20c1d4.peer", 0644},
    };
    char buf[8];
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        enum state_kind kind = table[i].kind;
        uint64_t id = table[i].id;
        assert_int_equal(state_object_load(&st, kind, id, buf, sizeof(buf)), -ENOENT);
        state_object_store(&st, kind, id, "1234567", 7);
        assert_int_equal(mode_of(table[i].name), table[i].mode);
        assert_int_equal(state_object_load(&st, kind, id, buf, sizeof(buf)), 7);
        assert_memory_equal(buf, "1234567", 7);
        assert_int_equal(state_object_load(&st, kind, id, buf, 3), -EMSGSIZE);
        state_object_store(&st, kind, id, "", 0);
        assert_int_equal(state_object_load(&st, kind, id, buf, sizeof(buf)), 0);
        state_object_erase(&st, kind, id);
        assert_int_equal(state_object_load(&st, kind, id, buf, sizeof(buf)), -ENOENT);
    }
}

static void test_local_settings_keep_the_whitelist(void **state)
{
    (void)state;
    uint64_t nwid = UINT64_C(0x1122334455667788);
    struct managed_policy policy = state_policy_load(&st, nwid);
    assert_true(policy.allow_managed);
    assert_false(policy.allow_default);
    put("networks.d/1122334455667788.local.conf", "allowManaged=10.0.0.0/8,fd00::/8\nallowDNS=1\n");
    policy = state_policy_load(&st, nwid);
    assert_true(policy.allow_dns);
    assert_int_equal(policy.whitelist_count, 2);
    policy.allow_default = true;
    assert_int_equal(state_policy_store(&st, nwid, &policy), 0);
    policy = state_policy_load(&st, nwid);
    assert_true(policy.allow_default);
    assert_int_equal(policy.whitelist_count, 2);
    state_policy_erase(&st, nwid);
    assert_int_equal(state_policy_load(&st, nwid).whitelist_count, 0);
}

static const atomic_bool go = false;
static const atomic_bool stop = true;

static void test_old_peers_are_swept(void **state)
{
    (void)state;
    char path[512];
    int64_t now_ms = clock_wall_ms();
    put("peers.d/3f9a20c1d4.peer", "old");
    put("peers.d/77aa01bc20.peer", "new");
    path_of("peers.d/3f9a20c1d4.peer", path, sizeof(path));
    struct timespec times[2] = {{.tv_sec = now_ms / 1000 - 31 * 24 * 3600},
                                {.tv_sec = now_ms / 1000 - 31 * 24 * 3600}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    state_sweep_peers(&st, now_ms, STATE_PEERS_MAX, &go);
    assert_int_equal(mode_of("peers.d/3f9a20c1d4.peer"), 0);
    assert_int_equal(mode_of("peers.d/77aa01bc20.peer"), 0644);
}

/* A service that ends does not wait for a million files. */
static void test_sweep_ends_early(void **state)
{
    enum { FILES = 50 };
    (void)state;
    unsigned left = 0;
    for (unsigned i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "peers.d/%010x.peer", i + 1);
        put(name, "old");
    }
    state_sweep_peers(&st, clock_wall_ms() + INT64_C(31) * 24 * 3600 * 1000, 0, &stop);
    for (unsigned i = 0; i < FILES; i++) {
        char name[32];
        char path[512];
        (void)snprintf(name, sizeof(name), "peers.d/%010x.peer", i + 1);
        left += mode_of(name) != 0;
        path_of(name, path, sizeof(path));
        (void)unlink(path);
    }
    assert_in_range(left, FILES - 1, FILES);
}

/* Strangers make these files: there is a bound to their number, too. */
static void test_too_many_peers_are_swept(void **state)
{
    enum { OLD = 100, NEW = STATE_PEERS_MAX - 50 };
    (void)state;
    char home[512];
    int64_t now_ms = clock_wall_ms();
    struct timespec old[2] = {{.tv_sec = now_ms / 1000 - 20 * 24 * 3600},
                              {.tv_sec = now_ms / 1000 - 20 * 24 * 3600}};
    path_of("peers.d", home, sizeof(home));
    int peers = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(peers >= 0);
    for (unsigned i = 0; i < OLD + NEW; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%010x.peer", i + 1);
        int fd = openat(peers, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(i < OLD ? futimens(fd, old) : 0, 0);
        (void)close(fd);
    }
    uint64_t recent[8];
    assert_int_equal(state_list_recent_peers(&st, now_ms, recent, COUNT_OF(recent)),
                     COUNT_OF(recent));
    for (size_t i = 0; i < COUNT_OF(recent); i++) {
        assert_true(recent[i] > OLD && recent[i] <= OLD + NEW);
    }
    state_sweep_peers(&st, now_ms, STATE_PEERS_MAX, &go);
    unsigned left = 0;
    for (unsigned i = 0; i < OLD + NEW; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%010x.peer", i + 1);
        left += unlinkat(peers, name, 0) == 0;
    }
    (void)close(peers);
    assert_int_equal(left, NEW);
}

static void test_home_belongs_to_one_process(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct state other;
        char home[512];
        (void)snprintf(home, sizeof(home), "%s/home", dir);
        _exit(state_open(home, &other) == -EBUSY ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_legacy_controller_is_refused(void **state)
{
    (void)state;
    char home[512];
    struct state other;
    (void)snprintf(home, sizeof(home), "%s/home", dir);
    put("controller.db", "");
    state_close(&st);
    assert_int_equal(state_open(home, &other), -EEXIST);
}

#define IN_HOME(f) cmocka_unit_test_setup_teardown(f, open_home, close_home)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOME(test_identity_is_written_and_read_back),
        IN_HOME(test_corrupt_identity_is_refused),
        IN_HOME(test_token_is_made_kept_and_trimmed),
        IN_HOME(test_networks_and_moons_by_name),
        IN_HOME(test_objects_of_the_engine),
        IN_HOME(test_local_settings_keep_the_whitelist),
        IN_HOME(test_old_peers_are_swept),
        IN_HOME(test_sweep_ends_early),
        IN_HOME(test_too_many_peers_are_swept),
        IN_HOME(test_home_belongs_to_one_process),
        IN_HOME(test_legacy_controller_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
