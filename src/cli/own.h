/* Commands of panlan that zerotier-cli does not have: self-hosting and administration of networks.
 * Each returns an exit status. Source: doc/invitation.md, README.md. */
#pragma once

#include "cli/cli.h"
#include "wire/world.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* panlan up [--root IP/PORT]... [--name NAME]: planet, controller, network on this machine. */
int up_run(struct cli *cli);

/* panlan invite NETWORK [--uses N] [--expires TIME] */
int invite_run(struct cli *cli);

/* panlan join INVITATION */
int invite_join(struct cli *cli, const char *text);

/* panlan net ..., panlan member ... */
int net_run(struct cli *cli);
int member_run(struct cli *cli);

/* panlan peers [-v | --why] [--watch [SECONDS]] */
int peers_run(struct cli *cli);

/* panlan capture NETWORK [-w FILE] [-c COUNT] [-s SNAPLEN] [FILTER...] */
int capture_run(struct cli *cli);

/* panlan root ... */
int root_run(struct cli *cli);

/* panlan rules check|compile|format|decompile|explain|test [--strict] FILE ... */
int rules_run(struct cli *cli);

/* Give the world in a file to the service. Complains. Returns an exit status. */
int root_install_file(struct cli *cli, const char *path);

/* panlan datapath */
int datapath_run(struct cli *cli);

/* Its text, from the object of the API. Pure. */
void format_datapath(FILE *out, const json_t *value);

/* Read the planet file of a home. Returns 0; -ENOENT; -EBADMSG; negative errno. */
MUST_CHECK int own_planet_read(const char *home, struct world *ret);

/* Make an invitation text for a network with a token of the controller. expires_ms 0: never.
 * Returns 0 with *ret on the heap, or an exit status. */
int invite_make(struct cli *cli, uint64_t nwid, int uses, int64_t expires_ms, char **ret);

/* The text for a token that exists. Returns 0 with *ret on the heap, or an exit status. */
int invite_print(struct cli *cli, uint64_t nwid, const char *token, char **ret);

/* Wait until a joined network has a result, at most timeout_ms. Returns 0 with its object in *ret
 * (json_decref), whatever its status is, or an exit status. */
int own_wait_network(struct cli *cli, uint64_t nwid, int timeout_ms, json_t **ret);

/* Value of an option "--name VALUE" among the words of the command, which loses both; NULL if it is
 * not there. */
const char *own_option(struct cli *cli, const char *name);

/* Take a word without value, like "--force", out of the words of the command. Returns whether it
 * was there. */
bool own_flag(struct cli *cli, const char *name);

/* "90m", "12h", "7d", a number of seconds, or "never" (0) as wall clock time in ms. Returns -1 if
 * senseless. */
int64_t own_expiry(const char *text);

/* A network ID given as word index of the command; complains. Returns 0 or an exit status. */
int own_nwid(const struct cli *cli, int index, uint64_t *ret);
