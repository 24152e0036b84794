/* Capabilities by plain system calls. Source: spec 05 section 6.11. */
#include "os/privileges.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPEN_DIRECTORIES = 16,
};

#define KEPT                                                                                       \
    (UINT32_C(1) << CAP_NET_ADMIN | UINT32_C(1) << CAP_NET_RAW |                                   \
     UINT32_C(1) << CAP_NET_BIND_SERVICE)

static int set_capabilities(uint32_t set)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = set, .permitted = set, .inheritable = set}};
    return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/* nftw has no argument for its function; the walk is over before anybody else can start one. */
static uid_t new_uid;
static gid_t new_gid;

static int give_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return lchown(path, new_uid, new_gid) < 0 ? -errno : 0;
}

static int give_home(const char *home, const struct passwd *pw)
{
    new_uid = pw->pw_uid;
    new_gid = pw->pw_gid;
    int err = nftw(home, give_file, OPEN_DIRECTORIES, FTW_PHYS);
    return err == -1 ? -errno : err;
}

/* Raise for child processes too; kernels before 4.3 cannot, which makes no difference to us. */
static void set_ambient(int capability)
{
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}

int privileges_drop(const char *user, const char *home)
{
    if (geteuid() != 0) {
        return -EPERM;
    }
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL) {
        return -ENOENT;
    }
    uid_t uid = pw->pw_uid;
    gid_t gid = pw->pw_gid;
    int err = give_home(home, pw);
    if (err < 0) {
        return err;
    }
    (void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0);
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || initgroups(user, gid) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
        return -errno;
    }
    err = set_capabilities(KEPT);
    if (err < 0) {
        return err;
    }
    (void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    set_ambient(CAP_NET_ADMIN);
    set_ambient(CAP_NET_RAW);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return 0;
}
