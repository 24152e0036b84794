/* Files and the home directory. Checklist: SV-1, SV-17, SV-18, SV-19 (pid file content). */
#include "os/file.h"
#include "os/home.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64]; /* fresh directory of each test */

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/panlan-test-XXXXXX");
    return mkdtemp(dir) == NULL;
}

/* Remove a tree of files and directories, two levels deep and more. */
static void remove_tree(const char *path)
{
    struct file_names names;

    if (file_list(path, &names) == 0) {
        for (size_t i = 0; i < names.count; i++) {
            char child[1024];
            (void)snprintf(child, sizeof(child), "%s/%s", path, names.names[i]);
            if (unlink(child) != 0) {
                remove_tree(child);
            }
        }
        file_names_done(&names);
    }
    (void)rmdir(path);
}

static int drop_dir(void **state)
{
    (void)state;
    remove_tree(dir);
    return 0;
}

/* Path of name in the directory; valid until the next but three calls. */
static const char *at(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void check_content(const char *path, const char *expected)
{
    char *text;
    size_t len;

    assert_int_equal(file_read(path, 4096, &text, &len), 0);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void test_write_creates_with_mode(void **state)
{
    mode_t old = umask(0077);

    (void)state;
    assert_int_equal(file_write_atomic(at("secret"), "abc", 3, FILE_MODE_SECRET), 0);
    assert_int_equal(file_write_atomic(at("public"), "defg", 4, FILE_MODE_PUBLIC), 0);
    (void)umask(old);
    assert_int_equal(mode_of(at("secret")), 0600);
    assert_int_equal(mode_of(at("public")), 0644);
    check_content(at("secret"), "abc");
    check_content(at("public"), "defg");
}

static void test_write_replaces_and_repairs_mode(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("f"), "one", 3, 0644), 0);
    assert_int_equal(file_write_atomic(at("f"), "two, longer", 11, 0600), 0);
    check_content(at("f"), "two, longer");
    assert_int_equal(mode_of(at("f")), 0600);
    assert_int_equal(file_write_atomic(at("f"), "", 0, 0600), 0);
    check_content(at("f"), "");
    assert_int_equal(chmod(at("f"), 0644), 0);
    assert_int_equal(file_write_atomic(at("f"), "", 0, 0600), 0);
    assert_int_equal(mode_of(at("f")), 0600);
}

/* Same bytes: the file is not touched (flash wear), so its stamp stays. */
static void test_same_bytes_are_not_written(void **state)
{
    struct file_stamp before;
    struct file_stamp after;

    (void)state;
    assert_int_equal(file_write_atomic(at("f"), "same", 4, 0644), 0);
    assert_int_equal(file_stat(at("f"), &before), 0);
    assert_int_equal(file_write_atomic(at("f"), "same", 4, 0644), 0);
    assert_int_equal(file_stat(at("f"), &after), 0);
    assert_true(file_stamp_equal(&before, &after));
    assert_int_equal(file_write_atomic(at("f"), "sama", 4, 0644), 0);
    assert_int_equal(file_stat(at("f"), &after), 0);
    assert_false(file_stamp_equal(&before, &after));
}

/* SV-18: a write that fails in the middle leaves the old file and nothing else. */
static void test_failed_write_keeps_the_old_file(void **state)
{
    struct rlimit old;
    struct rlimit small;
    struct file_names names;
    static char big[100000];

    (void)state;
    memset(big, 'x', sizeof(big));
    assert_int_equal(file_write_atomic(at("f"), "old", 3, 0600), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 5000, .rlim_max = old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int error = file_write_atomic(at("f"), big, sizeof(big), 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(error, -EFBIG);
    check_content(at("f"), "old");
    assert_int_equal(file_list(dir, &names), 0);
    assert_int_equal(names.count, 1);
    file_names_done(&names);
}

/* SV-18: killed at any moment, a reader finds the old or the new content whole. */
static void test_killed_writer_never_tears(void **state)
{
    enum { LEN = 20000, ROUNDS = 15 };
    static char data[LEN];
    static char got[LEN + 1];

    (void)state;
    memset(data, 'a', sizeof(data));
    assert_int_equal(file_write_atomic(at("f"), data, sizeof(data), 0600), 0);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (unsigned i = 0;; i++) {
                memset(data, 'a' + (int)(i % 26), sizeof(data));
                if (file_write_atomic(at("f"), data, sizeof(data), 0600) != 0) {
                    _exit(1);
                }
            }
        }
        (void)usleep((useconds_t)(500 + 700 * round));
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(file_read_into(at("f"), got, sizeof(got)), LEN);
        for (size_t i = 1; i < LEN; i++) {
            assert_int_equal(got[i], got[0]);
        }
    }
    /* a leftover of the crash does not disturb the next write */
    assert_int_equal(file_write_atomic(at("f.tmp"), "junk", 4, 0644), 0);
    assert_int_equal(file_write_atomic(at("f"), "next", 4, 0600), 0);
    check_content(at("f"), "next");
}

static void test_write_errors(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("none/f"), "x", 1, 0600), -ENOENT);
    assert_int_equal(mkdir(at("d"), 0700), 0);
    assert_int_equal(file_write_atomic(at("d"), "x", 1, 0600), -EISDIR);
    struct file_names names;
    assert_int_equal(file_list(dir, &names), 0);
    assert_int_equal(names.count, 1);
    file_names_done(&names);
}

/* A planted link must not lead the temporary file elsewhere. */
static void test_temporary_file_does_not_follow_links(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("victim"), "keep", 4, 0644), 0);
    assert_int_equal(symlink(at("victim"), at("f.tmp")), 0);
    assert_int_equal(file_write_atomic(at("f"), "new", 3, 0600), 0);
    check_content(at("victim"), "keep");
    check_content(at("f"), "new");
}

static void test_read_limits(void **state)
{
    char buf[8];
    char *text = NULL;
    size_t len;

    (void)state;
    assert_int_equal(file_write_atomic(at("f"), "12345678", 8, 0644), 0);
    assert_int_equal(file_read_into(at("f"), buf, 8), 8);
    assert_memory_equal(buf, "12345678", 8);
    assert_int_equal(file_read_into(at("f"), buf, 7), -EFBIG);
    assert_int_equal(file_read(at("f"), 7, &text, &len), -EFBIG);
    assert_null(text);
    assert_int_equal(file_read(at("f"), 8, &text, NULL), 0);
    assert_string_equal(text, "12345678");
    free(text);
    assert_int_equal(file_read(at("none"), 8, &text, NULL), -ENOENT);
    assert_int_equal(file_read(dir, 8, &text, NULL), -EISDIR);
    assert_int_equal(file_read("/dev/null", 8, &text, NULL), -EINVAL);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(file_read(at("fifo"), 8, &text, NULL), -EINVAL);
    /* files of /proc say size 0 */
    assert_int_equal(file_read("/proc/self/stat", 65536, &text, &len), 0);
    assert_true(len > 10);
    free(text);
    assert_int_equal(file_read_into("/proc/self/stat", buf, sizeof(buf)), -EFBIG);
}

static void test_erase(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("f"), "x", 1, 0644), 0);
    assert_int_equal(file_erase(at("f")), 0);
    assert_int_equal(access(at("f"), F_OK), -1);
    assert_int_equal(file_erase(at("f")), 0);
    assert_int_equal(mkdir(at("d"), 0700), 0);
    assert_true(file_erase(at("d")) < 0);
}

/* SV-1: missing components are created. */
static void test_make_dirs(void **state)
{
    (void)state;
    assert_int_equal(file_make_dirs(at("a/b/c/"), 0700), 0);
    assert_int_equal(mode_of(at("a/b/c")), 0700);
    assert_int_equal(file_make_dirs(at("a/b/c"), 0700), 0);
    assert_int_equal(file_write_atomic(at("a/f"), "x", 1, 0644), 0);
    assert_int_equal(file_make_dirs(at("a/f/g"), 0700), -ENOTDIR);
    assert_int_equal(file_make_dirs(at("a/f"), 0700), -ENOTDIR);
    assert_int_equal(file_make_dirs("", 0700), -ENOENT);
}

static void test_list_is_sorted(void **state)
{
    struct file_names names;

    (void)state;
    assert_int_equal(file_list(dir, &names), 0);
    assert_int_equal(names.count, 0);
    file_names_done(&names);
    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%02u", (i * 7) % 40);
        assert_int_equal(close(open(at(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    }
    assert_int_equal(file_list(dir, &names), 0);
    assert_int_equal(names.count, 40);
    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%02u", i);
        assert_string_equal(names.names[i], name);
    }
    file_names_done(&names);
    assert_int_equal(file_list(at("none"), &names), -ENOENT);
}

/* SV-1 */
static void test_home_is_chosen_in_order(void **state)
{
    char home[HOME_PATH_MAX] = "";
    static char longer[HOME_PATH_MAX + 1];

    (void)state;
    assert_int_equal(home_choose("/arg///", "/env", home), 0);
    assert_string_equal(home, "/arg");
    assert_int_equal(home_choose(NULL, "/env", home), 0);
    assert_string_equal(home, "/env");
    assert_int_equal(home_choose("", "", home), 0);
    assert_string_equal(home, "/var/lib/zerotier-one");
    assert_int_equal(home_choose("/", NULL, home), 0);
    assert_string_equal(home, "/");
    memset(longer, 'x', sizeof(longer) - 1);
    assert_int_equal(home_choose(longer, NULL, home), -ENAMETOOLONG);

    char path[16];
    assert_int_equal(home_path("/a", "b", path, sizeof(path)), 0);
    assert_string_equal(path, "/a/b");
    assert_int_equal(home_path("/", "b", path, sizeof(path)), 0);
    assert_string_equal(path, "/b");
    assert_int_equal(home_path("/a", "bcd", path, 6), -ENAMETOOLONG);
}

/* SV-17: one process only; the lock goes with it however it ends. */
static void test_home_lock_excludes_others(void **state)
{
    int ready[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char ok = home_lock(dir) >= 0;
        (void)!write(ready[1], &ok, 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(home_lock(dir), -EBUSY);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    int fd = home_lock(dir);
    assert_true(fd >= 0);
    assert_int_equal(home_lock(dir), -EBUSY);
    (void)close(fd);
    (void)close(ready[0]);
    (void)close(ready[1]);
    assert_int_equal(home_lock(at("none")), -ENOENT);
}

/* SV-19 */
static void test_pid_file(void **state)
{
    char expected[16];

    (void)state;
    (void)snprintf(expected, sizeof(expected), "%ld", (long)getpid());
    assert_int_equal(home_write_pid(dir, "zerotier-one.pid"), 0);
    check_content(at("zerotier-one.pid"), expected);
    assert_int_equal(mode_of(at("zerotier-one.pid")), 0644);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_write_creates_with_mode),
        FILE_TEST(test_write_replaces_and_repairs_mode),
        FILE_TEST(test_same_bytes_are_not_written),
        FILE_TEST(test_failed_write_keeps_the_old_file),
        FILE_TEST(test_killed_writer_never_tears),
        FILE_TEST(test_write_errors),
        FILE_TEST(test_temporary_file_does_not_follow_links),
        FILE_TEST(test_read_limits),
        FILE_TEST(test_erase),
        FILE_TEST(test_make_dirs),
        FILE_TEST(test_list_is_sorted),
        FILE_TEST(test_home_is_chosen_in_order),
        FILE_TEST(test_home_lock_excludes_others),
        FILE_TEST(test_pid_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
