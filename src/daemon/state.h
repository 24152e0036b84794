/* The home directory of a node: its files, by name and form those of the reference, so that either
 * program can take over the other's home. Source: spec 05 sections 2.2 to 2.5; SV-2 to SV-19. */
#pragma once

#include "base/attr.h"
#include "crypto/identity.h"
#include "os/home.h"
#include "os/managed.h"
#include "vl1/env.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    STATE_PATH_MAX = HOME_PATH_MAX + 64, /* path of any file of the home */
    STATE_TOKEN_MAX = 256,               /* API token and its NUL */
    STATE_PEERS_MAX = 65536,             /* files of the peer cache left by a sweep, usually */
    STATE_PEERS_ROOT_MAX = 1000000,      /* the same of a root */
};

struct state {
    char home[HOME_PATH_MAX];
    int lock_fd;       /* -1 = not locked */
    bool write_failed; /* the last write failed: said once */
};

/* Make the directories, take the lock. Returns 0; -EBUSY a daemon runs there; -EEXIST a legacy
 * controller.db is there; negative errno. */
MUST_CHECK int state_open(const char *home, struct state *ret);

/* Release the lock. */
void state_close(struct state *st);

/* Full path of a file of the home. */
void state_path(const struct state *st, const char *name, char out[STATE_PATH_MAX]);

/* Read identity.secret (modes and identity.public are put right). Not validated.
 * Returns 0; -ENOENT; -EBADMSG corrupt; negative errno. */
MUST_CHECK int state_identity_load(struct state *st, struct identity *ret);

/* Write identity.secret and identity.public. */
MUST_CHECK int state_identity_store(struct state *st, const struct identity *id);

/* After a collision: keep the secret under another name, remove the identity. */
MUST_CHECK int state_identity_retire(struct state *st);

/* Read a token file, trimmed; generated when absent. Returns 0; -EMSGSIZE; negative errno. */
MUST_CHECK int state_token(struct state *st, const char *name, char out[STATE_TOKEN_MAX]);

/* Trim blanks around a token in place. */
void state_token_trim(char *token);

/* Write a file of the home. Returns 0; negative errno. */
MUST_CHECK int state_write(struct state *st, const char *name, const void *data, size_t len,
                           mode_t mode);

/* State objects of the engine; as the members of struct engine_env. */
ssize_t state_object_load(struct state *st, enum state_kind kind, uint64_t id, void *buf,
                          size_t cap);
void state_object_store(struct state *st, enum state_kind kind, uint64_t id, const void *data,
                        size_t len);
void state_object_erase(struct state *st, enum state_kind kind, uint64_t id);

/* IDs named by <16 hex digits>.conf in networks.d, and .moon in moons.d: writes up to cap in
 * ascending order, returns how many were written. */
size_t state_list_networks(const struct state *st, uint64_t *out, size_t cap);
size_t state_list_moons(const struct state *st, uint64_t *out, size_t cap);

/* Local settings of a network; load gives the defaults when there is no file. */
struct managed_policy state_policy_load(const struct state *st, uint64_t nwid);
MUST_CHECK int state_policy_store(struct state *st, uint64_t nwid,
                                  const struct managed_policy *policy);
void state_policy_erase(struct state *st, uint64_t nwid);

/* Addresses of peers whose files were written in the last day, at most cap, in no order. Returns
 * how many. */
size_t state_list_recent_peers(const struct state *st, int64_t wall_ms, uint64_t *out, size_t cap);

/* Remove peer files not written for 30 days, and while more than `most` are left, for half that
 * time and so on, down to an hour. Any thread; takes seconds for a million, but ends early when
 * *stop becomes true. */
void state_sweep_peers(const struct state *st, int64_t wall_ms, size_t most,
                       const atomic_bool *stop);
