/* Files of the home directory. Source: spec 05 sections 2.2 to 2.5. */
#include "daemon/state.h"

#include "base/hex.h"
#include "daemon/log.h"
#include "os/file.h"
#include "os/random.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TOKEN_LEN = 24,
    ID_DIGITS = 16,
    IDENTITY_FILE_MAX = 4096,
    SETTINGS_FILE_MAX = 4096,
};

/* Files of the peer cache: written lately; kept; kept at least when there are too many. */
static const int64_t RECENT_MS = INT64_C(24) * 3600 * 1000;
static const int64_t PEER_AGE_MAX_MS = INT64_C(30) * 24 * 3600 * 1000;
static const int64_t PEER_AGE_MIN_MS = INT64_C(3600) * 1000;

static const char *const directories[] = {"networks.d", "moons.d", "peers.d"};

void state_path(const struct state *st, const char *name, char out[STATE_PATH_MAX])
{
    (void)snprintf(out, STATE_PATH_MAX, "%s/%s", st->home, name);
}

int state_open(const char *home, struct state *ret)
{
    struct state st = {.lock_fd = -1};
    if (strlen(home) >= sizeof(st.home)) {
        return -ENAMETOOLONG;
    }
    (void)snprintf(st.home, sizeof(st.home), "%s", home);
    int err = file_make_dirs(home, 0755);
    if (err < 0) {
        return err;
    }
    char path[STATE_PATH_MAX];
    struct file_stamp stamp;
    state_path(&st, "controller.db", path);
    if (file_stat(path, &stamp) == 0) {
        return -EEXIST;
    }
    st.lock_fd = home_lock(home);
    if (st.lock_fd < 0) {
        return st.lock_fd;
    }
    for (size_t i = 0; i < COUNT_OF(directories); i++) {
        state_path(&st, directories[i], path);
        err = file_make_dirs(path, 0755);
        if (err < 0) {
            state_close(&st);
            return err;
        }
    }
    *ret = st;
    return 0;
}

void state_close(struct state *st)
{
    if (st->lock_fd >= 0) {
        (void)close(st->lock_fd);
        st->lock_fd = -1;
    }
}

/* Note how a write ended; the first failure of a row is said. */
static int written(struct state *st, const char *path, int err)
{
    if (err < 0 && !st->write_failed) {
        log_write(LOG_LEVEL_ERROR, "state", "cannot write file=%s error=\"%s\"", path,
                  strerror(-err));
    }
    st->write_failed = err < 0;
    return err;
}

int state_write(struct state *st, const char *name, const void *data, size_t len, mode_t mode)
{
    char path[STATE_PATH_MAX];
    state_path(st, name, path);
    return written(st, path, file_write_atomic(path, data, len, mode));
}

/* Write identity.public unless it says the same. */
static int store_public(struct state *st, const struct identity *id)
{
    char text[IDENTITY_TEXT_LEN];
    identity_print(id, false, text);
    return state_write(st, "identity.public", text, strlen(text), FILE_MODE_PUBLIC);
}

int state_identity_load(struct state *st, struct identity *ret)
{
    char path[STATE_PATH_MAX];
    char text[IDENTITY_FILE_MAX];
    state_path(st, "identity.secret", path);
    ssize_t len = file_read_into(path, text, sizeof(text));
    if (len < 0) {
        return (int)len;
    }
    struct identity id;
    int err = identity_parse(text, (size_t)len, &id);
    sodium_memzero(text, sizeof(text));
    if (err < 0 || !id.has_private) {
        return -EBADMSG;
    }
    (void)file_set_mode(path, FILE_MODE_SECRET);
    (void)!store_public(st, &id); /* a convenience: a failure was logged */
    *ret = id;
    identity_wipe(&id);
    return 0;
}

int state_identity_store(struct state *st, const struct identity *id)
{
    char text[IDENTITY_TEXT_LEN];
    identity_print(id, true, text);
    int err = state_write(st, "identity.secret", text, strlen(text), FILE_MODE_SECRET);
    sodium_memzero(text, sizeof(text));
    return err < 0 ? err : store_public(st, id);
}

int state_identity_retire(struct state *st)
{
    char path[STATE_PATH_MAX];
    char text[IDENTITY_FILE_MAX];
    state_path(st, "identity.secret", path);
    ssize_t len = file_read_into(path, text, sizeof(text));
    if (len < 0) {
        return (int)len;
    }
    int err = state_write(st, "identity.secret.saved_after_collision", text, (size_t)len,
                          FILE_MODE_SECRET);
    sodium_memzero(text, sizeof(text));
    if (err < 0) {
        return err;
    }
    (void)file_erase(path);
    state_path(st, "identity.public", path);
    return file_erase(path);
}

void state_token_trim(char *token)
{
    static const char blanks[] = " \t\r\n";
    size_t skip = strspn(token, blanks);
    size_t len = strlen(token + skip);
    memmove(token, token + skip, len + 1);
    while (len > 0 && strchr(blanks, token[len - 1]) != NULL) {
        token[--len] = '\0';
    }
}

static void token_generate(char out[TOKEN_LEN + 1])
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < TOKEN_LEN;) {
        uint8_t byte;
        random_bytes(&byte, sizeof(byte));
        if (byte < 252) { /* the largest multiple of 36: no character is likelier */
            out[i++] = alphabet[byte % 36];
        }
    }
    out[TOKEN_LEN] = '\0';
}

int state_token(struct state *st, const char *name, char out[STATE_TOKEN_MAX])
{
    char path[STATE_PATH_MAX];
    state_path(st, name, path);
    char *text = NULL;
    int err = file_read(path, STATE_TOKEN_MAX - 1, &text, NULL);
    if (err == 0) {
        (void)file_set_mode(path, FILE_MODE_SECRET);
        state_token_trim(text);
        (void)snprintf(out, STATE_TOKEN_MAX, "%s", text);
        sodium_memzero(text, strlen(text));
        free(text);
        if (out[0] != '\0') {
            return 0;
        }
    } else if (err != -ENOENT) {
        return err;
    }
    char token[TOKEN_LEN + 1];
    token_generate(token);
    err = state_write(st, name, token, TOKEN_LEN, FILE_MODE_SECRET);
    if (err == 0) {
        (void)snprintf(out, STATE_TOKEN_MAX, "%s", token);
    }
    sodium_memzero(token, sizeof(token));
    return err;
}

/* Name of an object's file below the home and its mode. Configurations hold credentials. */
static mode_t object_name(enum state_kind kind, uint64_t id, char *out, size_t cap)
{
    unsigned long long n = (unsigned long long)id;
    switch (kind) {
    case STATE_PLANET:
        (void)snprintf(out, cap, "planet");
        return FILE_MODE_PUBLIC;
    case STATE_MOON:
        (void)snprintf(out, cap, "moons.d/%016llx.moon", n);
        return FILE_MODE_PUBLIC;
    case STATE_ORBITS:
        (void)snprintf(out, cap, "moons.d/orbits");
        return FILE_MODE_PUBLIC;
    case STATE_WORLD_LINKS: /* of the planet too */
        (void)snprintf(out, cap, "moons.d/%016llx.keys", n);
        return FILE_MODE_PUBLIC;
    case STATE_NETWORK:
        (void)snprintf(out, cap, "networks.d/%016llx.conf", n);
        return FILE_MODE_SECRET;
    case STATE_REVOCATIONS:
        (void)snprintf(out, cap, "networks.d/%016llx.revocations", n);
        return FILE_MODE_PUBLIC;
    case STATE_PEER:
        (void)snprintf(out, cap, "peers.d/%010llx.peer", n);
        return FILE_MODE_PUBLIC;
    }
    out[0] = '\0';
    return 0;
}

ssize_t state_object_load(struct state *st, enum state_kind kind, uint64_t id, void *buf,
                          size_t cap)
{
    char name[64];
    char path[STATE_PATH_MAX];
    (void)object_name(kind, id, name, sizeof(name));
    state_path(st, name, path);
    ssize_t len = file_read_into(path, buf, cap);
    return len == -EFBIG ? -EMSGSIZE : len;
}

void state_object_store(struct state *st, enum state_kind kind, uint64_t id, const void *data,
                        size_t len)
{
    char name[64];
    mode_t mode = object_name(kind, id, name, sizeof(name));
    if (kind == STATE_PEER) { /* strangers cause these: never wait for the disk */
        char path[STATE_PATH_MAX];
        state_path(st, name, path);
        (void)!written(st, path, file_write_cache(path, data, len, mode));
        return;
    }
    (void)!state_write(st, name, data, len, mode); /* a failure is logged there */
}

void state_object_erase(struct state *st, enum state_kind kind, uint64_t id)
{
    char name[64];
    char path[STATE_PATH_MAX];
    (void)object_name(kind, id, name, sizeof(name));
    state_path(st, name, path);
    (void)file_erase(path);
}

/* Numbers of 16 digits before a suffix, among the names of a directory. */
static size_t list_ids(const struct state *st, const char *dir, const char *suffix, uint64_t *out,
                       size_t cap)
{
    char path[STATE_PATH_MAX];
    struct file_names names;
    state_path(st, dir, path);
    if (file_list(path, &names) < 0) {
        return 0;
    }
    size_t count = 0;
    for (size_t i = 0; i < names.count && count < cap; i++) {
        const char *name = names.names[i];
        uint64_t id;
        if (strlen(name) == ID_DIGITS + strlen(suffix) && strcmp(name + ID_DIGITS, suffix) == 0 &&
            hex_to_u64(name, ID_DIGITS, ID_DIGITS, &id) == 0 && id != 0) {
            out[count++] = id;
        }
    }
    file_names_done(&names);
    return count;
}

size_t state_list_networks(const struct state *st, uint64_t *out, size_t cap)
{
    return list_ids(st, "networks.d", ".conf", out, cap);
}

size_t state_list_moons(const struct state *st, uint64_t *out, size_t cap)
{
    return list_ids(st, "moons.d", ".moon", out, cap);
}

static void policy_path(const struct state *st, uint64_t nwid, char out[STATE_PATH_MAX])
{
    char name[64];
    (void)snprintf(name, sizeof(name), "networks.d/%016llx.local.conf", (unsigned long long)nwid);
    state_path(st, name, out);
}

struct managed_policy state_policy_load(const struct state *st, uint64_t nwid)
{
    char path[STATE_PATH_MAX];
    char text[SETTINGS_FILE_MAX];
    policy_path(st, nwid, path);
    ssize_t len = file_read_into(path, text, sizeof(text));
    return len < 0 ? managed_policy_default() : managed_policy_parse(text, (size_t)len);
}

int state_policy_store(struct state *st, uint64_t nwid, const struct managed_policy *policy)
{
    char name[64];
    char text[MANAGED_SETTINGS_LEN];
    size_t len = managed_policy_print(policy, text);
    (void)snprintf(name, sizeof(name), "networks.d/%016llx.local.conf", (unsigned long long)nwid);
    return state_write(st, name, text, len, FILE_MODE_PUBLIC);
}

void state_policy_erase(struct state *st, uint64_t nwid)
{
    char path[STATE_PATH_MAX];
    policy_path(st, nwid, path);
    (void)file_erase(path);
}

/* A walk over the peer cache. */
struct peer_walk {
    char dir[STATE_PATH_MAX];
    int64_t oldest_ns; /* files written before this are not wanted */
    size_t count;      /* files that are, so far */
    uint64_t *out;     /* their addresses, room for cap */
    size_t cap;
    const atomic_bool *stop; /* to end the walk */
};

/* True if a file of the cache is old. */
static bool is_old_peer(const struct peer_walk *walk, const char *name, char path[], size_t cap)
{
    struct file_stamp stamp;
    (void)snprintf(path, cap, "%s/%s", walk->dir, name);
    return file_stat(path, &stamp) == 0 && stamp.mtime_ns < walk->oldest_ns;
}

static bool note_recent(void *ctx, const char *name)
{
    struct peer_walk *walk = ctx;
    char path[STATE_PATH_MAX + 256];
    if (strlen(name) == strlen("0123456789.peer") &&
        hex_to_u64(name, 10, 10, &walk->out[walk->count]) == 0 &&
        !is_old_peer(walk, name, path, sizeof(path))) {
        walk->count++;
    }
    return walk->count < walk->cap;
}

size_t state_list_recent_peers(const struct state *st, int64_t wall_ms, uint64_t *out, size_t cap)
{
    struct peer_walk walk = {.oldest_ns = (wall_ms - RECENT_MS) * 1000000, .out = out, .cap = cap};
    state_path(st, "peers.d", walk.dir);
    return cap > 0 && file_each(walk.dir, note_recent, &walk) == 0 ? walk.count : 0;
}

static bool sweep_one(void *ctx, const char *name)
{
    struct peer_walk *walk = ctx;
    char path[STATE_PATH_MAX + 256];
    if (is_old_peer(walk, name, path, sizeof(path))) {
        (void)file_erase(path);
    } else {
        walk->count++;
    }
    return !atomic_load(walk->stop);
}

void state_sweep_peers(const struct state *st, int64_t wall_ms, size_t most,
                       const atomic_bool *stop)
{
    struct peer_walk walk = {.count = most + 1, .stop = stop};
    state_path(st, "peers.d", walk.dir);
    /* Strangers make these files: when there are too many, younger ones go too. */
    for (int64_t age_ms = PEER_AGE_MAX_MS; walk.count > most && age_ms >= PEER_AGE_MIN_MS;
         age_ms /= 2) {
        walk.count = 0;
        walk.oldest_ns = (wall_ms - age_ms) * 1000000;
        if (file_each(walk.dir, sweep_one, &walk) < 0 || atomic_load(stop)) {
            return;
        }
    }
}
