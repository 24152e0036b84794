/* What the parts of "panlan root" share: the worlds a service holds, and making the next version of
 * one. Source: spec 02 section 9. */
#pragma once

#include "cli/cli.h"
#include "cli/world_json.h"

/* A world about to be changed. */
struct world_change {
    struct cli *cli;
    struct world *held;      /* version of the service */
    struct world *next;      /* becomes the next one: a copy that is changed, then signed */
    struct world_key key;    /* signs it */
    char key_path[1200];     /* where the key is kept */
    struct world_key *fresh; /* key that next announces, NULL: that of held */
};

/* One world out of the answer of GET /world: the planet (moon NULL) or the moon of that ID. Returns
 * 0; -ENOENT; -EBADMSG. */
MUST_CHECK int root_find_world(const json_t *worlds, const uint64_t *moon, struct world *ret);

/* Path of the file that has the signing key of a world unless another is named. */
void root_key_path(const struct cli *cli, const struct world *world, char *out, size_t cap);

/* Begin: the world of the service and its key; key_file NULL: the usual place. Complains. Returns 0
 * or an exit status. */
int world_change_begin(struct world_change *change, struct cli *cli, const uint64_t *moon,
                       const char *key_file);

/* Sign the next version and give it to the service, note it beside the key, wait a moment for the
 * other roots and say who has it. what: what was done, for people. Complains. Returns an exit
 * status. */
int world_change_commit(struct world_change *change, const char *what);

/* Release; keys are wiped. Harmless on what was not begun. */
void world_change_done(struct world_change *change);

/* Give a signed world to the service. Complains. Returns 0 or an exit status. */
int root_install(struct cli *cli, const struct world *world);

/* Write world, key and (NULL: none) the key to come to a file for the owner alone. Returns 0;
 * negative errno. */
MUST_CHECK int root_key_write(const char *path, const struct world *world,
                              const struct world_key *key, const struct world_key *next);

/* panlan root show, panlan root id. Return exit statuses. */
int root_show(struct cli *cli);
int root_show_id(struct cli *cli);

/* "planet" or "moon" and the ID, as people read it. */
void root_world_name(const struct world *world, char out[32]);
