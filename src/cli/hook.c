/* Webhooks of the controller by command line. Source: spec 04 section 6.6. */
#include "base/hex.h"
#include "cli/ctl_log.h"
#include "cli/format.h"
#include "cli/own.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATH_LEN = 200 };

static int usage(void)
{
    (void)fputs(
        "Usage: panlan controller hook list\n"
        "       panlan controller hook add URL [SETTING...]\n"
        "       panlan controller hook show|delete|test|deliveries HOOK\n"
        "       panlan controller hook set HOOK SETTING...\n"
        "       panlan controller hook retry HOOK DELIVERY\n"
        "SETTING: --types NETWORK_JOIN,... --secret HEX[,HEX] --description TEXT --url URL\n"
        "         --enable --disable\n",
        stderr);
    return CLI_USAGE;
}

/* "A,B" as an array of texts. */
static json_t *words_json(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        json_array_append_new(list, json_stringn(text, len));
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return list;
}

/* The settings among the words, which lose them. */
static json_t *settings(struct cli *cli)
{
    json_t *body = json_object();
    const char *value = own_option(cli, "--types");
    if (value != NULL) {
        json_object_set_new(body, "types", words_json(value));
    }
    if ((value = own_option(cli, "--secret")) != NULL) {
        json_object_set_new(body, "secrets", words_json(value));
    }
    if ((value = own_option(cli, "--description")) != NULL) {
        json_object_set_new(body, "description", json_string(value));
    }
    if ((value = own_option(cli, "--url")) != NULL) {
        json_object_set_new(body, "url", json_string(value));
    }
    if (own_flag(cli, "--enable")) {
        json_object_set_new(body, "enabled", json_true());
    }
    if (own_flag(cli, "--disable")) {
        json_object_set_new(body, "enabled", json_false());
    }
    return body;
}

static void print_hook(const json_t *hook)
{
    size_t i;
    json_t *type;
    (void)printf("%s  %-8s  %-40s  %s", cli_text(hook, "id"),
                 json_is_true(json_object_get(hook, "enabled")) ? "enabled" : "disabled",
                 cli_text(hook, "url"), cli_text(hook, "description"));
    json_array_foreach(json_object_get(hook, "types"), i, type)
    {
        (void)printf("%s%s", i == 0 ? "  " : ",", json_string_value(type));
    }
    (void)putchar('\n');
}

static int list_hooks(struct cli *cli)
{
    json_t *answer = NULL;
    size_t i;
    json_t *hook;
    int status = cli_get(cli, "/controller/hook", &answer);
    if (status != 0) {
        return status;
    }
    if (cli->json) {
        format_json(stdout, json_object_get(answer, "data"));
    } else {
        json_array_foreach(json_object_get(answer, "data"), i, hook)
        {
            print_hook(hook);
        }
    }
    json_decref(answer);
    return CLI_OK;
}

/* Create, or change the one in path. */
static int put_hook(struct cli *cli, const char *path, json_t *body)
{
    json_t *hook = NULL;
    bool given = json_object_get(body, "secrets") != NULL;
    bool is_new = strcmp(path, "/controller/hook") == 0;
    int status = cli_send_json(cli, "POST", path, body, &hook);
    if (status != 0) {
        return status;
    }
    if (cli->json) {
        format_json(stdout, hook);
    } else {
        (void)printf("%s %s\n", is_new ? "created" : "changed", cli_text(hook, "id"));
        const json_t *secret = json_array_get(json_object_get(hook, "secrets"), 0);
        if (is_new && !given && json_is_string(secret)) {
            (void)printf("secret %s\n", json_string_value(secret));
        }
    }
    json_decref(hook);
    return CLI_OK;
}

static void print_delivery(const json_t *d)
{
    char at[32] = "?";
    time_t created = (time_t)(json_integer_value(json_object_get(d, "created")) / 1000);
    struct tm tm;
    if (localtime_r(&created, &tm) != NULL) {
        (void)strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S", &tm);
    }
    (void)printf("%s  %s  %-22s %-9s  attempts=%d status=%d %s\n", cli_text(d, "id"), at,
                 cli_text(d, "type"), cli_text(d, "state"),
                 (int)json_integer_value(json_object_get(d, "attempt")),
                 (int)json_integer_value(json_object_get(d, "status")), cli_text(d, "error"));
}

static int list_deliveries(struct cli *cli, const char *path)
{
    char full[PATH_LEN];
    json_t *answer = NULL;
    (void)snprintf(full, sizeof(full), "%.150s/delivery", path);
    int status = cli_get(cli, full, &answer);
    if (status != 0) {
        return status;
    }
    const json_t *data = json_object_get(answer, "data");
    if (cli->json) {
        format_json(stdout, data);
    } else {
        for (size_t i = json_array_size(data); i-- > 0;) {
            print_delivery(json_array_get(data, i));
        }
    }
    json_decref(answer);
    return CLI_OK;
}

/* Something that answers with an object, of which done and the ID are said. */
static int act(struct cli *cli, const char *method, const char *path, const char *done)
{
    json_t *obj = NULL;
    int status =
        cli_send_json(cli, method, path, strcmp(method, "POST") == 0 ? json_object() : NULL, &obj);
    if (status == 0) {
        if (cli->json) {
            format_json(stdout, obj);
        } else {
            (void)printf("%s %s\n", done, cli_text(obj, "id"));
        }
        json_decref(obj);
    }
    return status;
}

static int show_hook(struct cli *cli, const char *path)
{
    json_t *hook = NULL;
    int status = cli_get(cli, path, &hook);
    if (status == 0) {
        format_json(stdout, hook);
        json_decref(hook);
    }
    return status;
}

/* Commands about one webhook: its ID is the first word, words more follow. */
static int run_one(struct cli *cli, const char *verb, json_t *body)
{
    char path[PATH_LEN];
    char more[PATH_LEN];
    uint64_t id;
    uint64_t delivery = 0;
    const char *text = cli->args[1];
    bool retry = strcmp(verb, "retry") == 0;
    if (cli->arg_count != (retry ? 3 : 2) || hex_to_u64(text, strlen(text), 16, &id) != 0 ||
        (retry && hex_to_u64(cli->args[2], strlen(cli->args[2]), 16, &delivery) != 0)) {
        return usage();
    }
    (void)snprintf(path, sizeof(path), "/controller/hook/%016llx", (unsigned long long)id);
    if (strcmp(verb, "show") == 0) {
        return show_hook(cli, path);
    }
    if (strcmp(verb, "delete") == 0) {
        return act(cli, "DELETE", path, "deleted");
    }
    if (strcmp(verb, "test") == 0) {
        (void)snprintf(more, sizeof(more), "%.100s/test", path);
        return act(cli, "POST", more, "queued");
    }
    if (strcmp(verb, "deliveries") == 0) {
        return list_deliveries(cli, path);
    }
    if (retry) {
        (void)snprintf(more, sizeof(more), "%.100s/delivery/%016llx/retry", path,
                       (unsigned long long)delivery);
        return act(cli, "POST", more, "queued");
    }
    return strcmp(verb, "set") == 0 ? put_hook(cli, path, json_incref(body)) : usage();
}

int hook_run(struct cli *cli)
{
    json_t *body = settings(cli);
    int status = cli->arg_count > 0 && body != NULL ? cli_connect(cli) : usage();
    if (status == 0) {
        const char *verb = cli->args[0];
        if (strcmp(verb, "list") == 0 && cli->arg_count == 1) {
            status = list_hooks(cli);
        } else if (strcmp(verb, "add") == 0 && cli->arg_count == 2) {
            json_object_set_new(body, "url", json_string(cli->args[1]));
            status = put_hook(cli, "/controller/hook", json_incref(body));
        } else {
            status = cli->arg_count > 1 ? run_one(cli, verb, body) : usage();
        }
    }
    json_decref(body);
    return status;
}
