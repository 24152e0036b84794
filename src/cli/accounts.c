/* "panlan controller token" and "panlan controller user": who may use the controller's APIs from
 * elsewhere. Source: spec 04 section 10.5, doc/controller-api.md. */
#include "cli/accounts.h"

#include "cli/format.h"
#include "cli/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATH_LEN = 512 };

#define ADMIN "0000000000000001"

static int usage(void)
{
    (void)fprintf(
        stderr,
        "Usage: panlan controller token create NAME [--scope read,authorize,modify,delete]\n"
        "                                      [--network ID,...] [--expires 30m|12h|7d|never]\n"
        "       panlan controller token list\n"
        "       panlan controller token revoke NAME\n"
        "         each for the administrator, or with --user ID for somebody else\n"
        "       panlan controller user add NAME [--email ADDRESS] [--admin]\n"
        "       panlan controller user list\n"
        "       panlan controller user delete ID\n"
        "       panlan controller user grant ID NETWORK read,authorize,modify,delete|none\n");
    return CLI_USAGE;
}

/* Append text to a path as one segment. Returns false if it does not fit. */
static bool add_segment(char *path, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(path);
    for (; *text != '\0'; text++) {
        if (len + 4 > PATH_LEN) {
            return false;
        }
        bool is_plain = strchr(plain, *text) != NULL;
        (void)snprintf(path + len, PATH_LEN - len, is_plain ? "%c" : "%%%02x",
                       (unsigned char)*text);
        len += is_plain ? 1 : 3;
    }
    return true;
}

/* Words of a list with commas as an array; NULL: none given. */
static json_t *list_json(const char *text)
{
    json_t *array = text != NULL ? json_array() : NULL;
    while (array != NULL && *text != '\0') {
        size_t len = strcspn(text, ",");
        json_array_append_new(array, json_stringn(text, len));
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return array;
}

/* Print a list of texts with commas, or a word for none. */
static void print_list(const json_t *array, const char *none)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        (void)printf("%s%s", i > 0 ? "," : " ", text != NULL ? text : "?");
    }
    if (json_array_size(array) == 0) {
        (void)printf(" %s", none);
    }
}

/* Print a time, or a word for none. */
static void print_time(const json_t *obj, const char *key, const char *none)
{
    json_int_t ms = json_integer_value(json_object_get(obj, key));
    time_t seconds = (time_t)(ms / 1000);
    char text[32] = "";
    struct tm tm;
    if (ms > 0 && gmtime_r(&seconds, &tm) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    (void)printf(" %s", text[0] != '\0' ? text : none);
}

/* ---- tokens ---- */

static int token_create(struct cli *cli, char *path)
{
    const char *scope = own_option(cli, "--scope");
    const char *networks = own_option(cli, "--network");
    const char *expires = own_option(cli, "--expires");
    int64_t expires_ms = expires != NULL ? own_expiry(expires) : 0;
    json_t *answer = NULL;
    if (cli->arg_count != 2 || expires_ms < 0) {
        return usage();
    }
    json_t *body = json_pack("{ssso*so*sI}", "tokenName", cli->args[1], "scope", list_json(scope),
                             "networks", list_json(networks), "expires", (json_int_t)expires_ms);
    if (body == NULL) {
        (void)fprintf(stderr, "panlan: the name is not UTF-8\n");
        return CLI_USAGE;
    }
    int status = cli_send_json(cli, "POST", path, body, &answer);
    if (status == 0 && cli->json) {
        format_json(stdout, answer);
    } else if (status == 0) {
        (void)printf("%s\n", cli_text(answer, "token"));
    }
    json_decref(answer);
    return status;
}

static int token_list(struct cli *cli, const char *path)
{
    json_t *array = NULL;
    if (cli->arg_count != 1) {
        return usage();
    }
    int status = cli_get(cli, path, &array);
    if (status == 0 && cli->json) {
        format_json(stdout, array);
    } else if (status == 0) {
        (void)printf("<name> <scope> <networks> <expires> <last used>\n");
        for (size_t i = 0; i < json_array_size(array); i++) {
            const json_t *token = json_array_get(array, i);
            (void)printf("%s", cli_text(token, "name"));
            print_list(json_object_get(token, "scope"), "none");
            print_list(json_object_get(token, "networks"), "all");
            print_time(token, "expires", "never");
            print_time(token, "lastUsed", "never");
            (void)printf("\n");
        }
    }
    json_decref(array);
    return status;
}

static int token_revoke(struct cli *cli, char *path)
{
    json_t *answer = NULL;
    if (cli->arg_count != 2 || !add_segment(strcat(path, "/"), cli->args[1])) {
        return usage();
    }
    int status = cli_send_json(cli, "DELETE", path, NULL, &answer);
    if (status == 0 && !cli->json) {
        (void)printf("revoked %s\n", cli->args[1]);
    }
    json_decref(answer);
    return status;
}

int token_run(struct cli *cli)
{
    char path[PATH_LEN] = "/api/v1/user/";
    const char *user = own_option(cli, "--user");
    const char *command = cli->arg_count > 0 ? cli->args[0] : "";
    if (strlen(user != NULL ? user : ADMIN) > 32 ||
        !add_segment(path, user != NULL ? user : ADMIN)) {
        return usage();
    }
    (void)strcat(path, "/token");
    int status = cli_connect(cli);
    if (status != 0) {
        return status;
    }
    if (strcmp(command, "create") == 0) {
        return token_create(cli, path);
    }
    if (strcmp(command, "list") == 0) {
        return token_list(cli, path);
    }
    return strcmp(command, "revoke") == 0 ? token_revoke(cli, path) : usage();
}

/* ---- people ---- */

static int user_add(struct cli *cli)
{
    const char *email = own_option(cli, "--email");
    bool admin = own_flag(cli, "--admin");
    json_t *answer = NULL;
    if (cli->arg_count != 2) {
        return usage();
    }
    json_t *body =
        json_pack("{ssss*sb}", "displayName", cli->args[1], "email", email, "admin", (int)admin);
    if (body == NULL) {
        (void)fprintf(stderr, "panlan: the name is not UTF-8\n");
        return CLI_USAGE;
    }
    int status = cli_send_json(cli, "POST", "/api/v1/user", body, &answer);
    if (status == 0 && cli->json) {
        format_json(stdout, answer);
    } else if (status == 0) {
        (void)printf("%s\n", cli_text(answer, "id"));
    }
    json_decref(answer);
    return status;
}

static int user_list(struct cli *cli)
{
    json_t *array = NULL;
    if (cli->arg_count != 1) {
        return usage();
    }
    int status = cli_get(cli, "/api/v1/user", &array);
    if (status == 0 && cli->json) {
        format_json(stdout, array);
    } else if (status == 0) {
        (void)printf("<id> <role> <e-mail> <name>\n");
        for (size_t i = 0; i < json_array_size(array); i++) {
            const json_t *user = json_array_get(array, i);
            const json_t *access = json_object_get(user, "globalPermissions");
            const char *email = cli_text(user, "email");
            (void)printf("%s %s %s %s\n", cli_text(user, "id"),
                         json_is_true(json_object_get(access, "m")) ? "admin" : "user",
                         email[0] != '\0' ? email : "-", cli_text(user, "displayName"));
        }
    }
    json_decref(array);
    return status;
}

static int user_delete(struct cli *cli)
{
    char path[PATH_LEN] = "/api/v1/user/";
    json_t *answer = NULL;
    if (cli->arg_count != 2 || !add_segment(path, cli->args[1])) {
        return usage();
    }
    int status = cli_send_json(cli, "DELETE", path, NULL, &answer);
    if (status == 0 && !cli->json) {
        (void)printf("deleted %s\n", cli->args[1]);
    }
    json_decref(answer);
    return status;
}

/* panlan controller user grant ID NETWORK read,... */
static int user_grant(struct cli *cli)
{
    static const char *const words[] = {"read", "authorize", "modify", "delete"};
    static const char *const letters[] = {"r", "a", "m", "d"};
    char path[PATH_LEN];
    uint64_t nwid;
    if (cli->arg_count != 4) {
        return usage();
    }
    int status = own_nwid(cli, 2, &nwid);
    json_t *access = json_object();
    json_t *wanted = list_json(cli->args[3]);
    size_t known = strcmp(cli->args[3], "none") == 0 ? 1 : 0;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        bool on = false;
        for (size_t k = 0; k < json_array_size(wanted); k++) {
            on |= strcmp(json_string_value(json_array_get(wanted, k)), words[i]) == 0;
        }
        known += on ? 1 : 0;
        json_object_set_new(access, letters[i], json_boolean(on));
    }
    bool good = known == json_array_size(wanted);
    json_decref(wanted);
    json_t *body = json_pack("{s{so}}", "permissions", cli->args[1], access);
    if (status != 0 || !good || body == NULL) {
        json_decref(body);
        return status != 0 ? status : usage();
    }
    (void)snprintf(path, sizeof(path), "/api/v1/network/%016" PRIx64, nwid);
    json_t *answer = NULL;
    status = cli_send_json(cli, "POST", path, body, &answer);
    if (status == 0 && cli->json) {
        format_json(stdout, answer);
    } else if (status == 0) {
        (void)printf("granted %s %s\n", cli->args[1], cli->args[3]);
    }
    json_decref(answer);
    return status;
}

int user_run(struct cli *cli)
{
    const char *command = cli->arg_count > 0 ? cli->args[0] : "";
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } table[] = {
        {"add", user_add}, {"list", user_list}, {"delete", user_delete}, {"grant", user_grant}};
    int status = cli_connect(cli);
    for (size_t i = 0; status == 0 && i < COUNT_OF(table); i++) {
        if (strcmp(command, table[i].name) == 0) {
            return table[i].run(cli);
        }
    }
    return status != 0 ? status : usage();
}
