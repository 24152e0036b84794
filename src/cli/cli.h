/* The command line: one program, several names. Source: spec 05 sections 1, 4. */
#pragma once

#include "cli/client.h"

#include <stdbool.h>

/* Exit codes (spec 05 section 4.3). */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* the service said no, or could not be reached */
    CLI_USAGE = 2,  /* bad arguments, no port, no token */
};

/* One run of the command line. */
struct cli {
    const char *name; /* as called, for messages */
    bool json;        /* -j */
    bool help;        /* --help behind a command that has help of its own */
    bool plain;       /* complain in one line on stderr, for people; else as zerotier-cli does */
    char home[1024];
    struct client client;
    const char *command;  /* first word, NULL = none */
    const char *args[32]; /* words behind it */
    int arg_count;
};

/* Entry by name: zerotier-cli, zerotier-idtool, zerotier-one, panlan. Return exit statuses. */
int cli_main(int argc, char **argv);
int idtool_main(int argc, char **argv);
int daemon_main(int argc, char **argv);
int panlan_main(int argc, char **argv);

/* The identity tool with the words from args on. */
int idtool_run(int argc, const char *const *args);

/* Read an identity from a literal or a file. Says what is wrong. Returns 0; -1. */
struct identity;
MUST_CHECK int identity_argument(const char *arg, struct identity *ret);

/* Run one of the commands both names share. Returns -1 if the command is none of them. */
int commands_run(struct cli *cli);

/* Find port and token; says what is missing. Returns 0 or an exit status. */
int cli_connect(struct cli *cli);

/* The home directory a program of this name uses by default; argument NULL or empty: none given.
 * Returns 0; -ENAMETOOLONG. */
MUST_CHECK int cli_choose_home(bool panlan, const char *argument, char *out, size_t cap);

/* One request for a command that changes something: complains in the form "<status> <command>
 * <body>", or plainly. Returns 0 with *ret filled (answer_done) or an exit status. */
int cli_send(struct cli *cli, const char *method, const char *path, const char *body,
             struct answer *ret);

/* One GET whose answer must be JSON; without -j its strings are fit to be printed (format_clean).
 * Returns 0 with *ret filled (json_decref) or an exit status. */
struct json_t;
int cli_get(struct cli *cli, const char *path, struct json_t **ret);

/* The same as cli_send with a body in JSON (taken, NULL none) and an answer in JSON (json_decref,
 * NULL if empty); its strings as those of cli_get. */
int cli_send_json(struct cli *cli, const char *method, const char *path, struct json_t *body,
                  struct json_t **ret);

/* A text of an object, "" if there is none. Borrowed. */
const char *cli_text(const struct json_t *object, const char *key);
