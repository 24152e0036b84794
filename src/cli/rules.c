/* panlan rules: the rule language offline. Source: spec 06 sections 1 and 13, doc/rules.md. */
#include "cli/own.h"

#include "os/file.h"
#include "rules/rdl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A script, read. */
struct script {
    const char *name; /* for messages */
    char *text;       /* on the heap, without a byte order mark */
    size_t len;
};

static int usage(void)
{
    (void)fputs("Usage: panlan rules COMMAND [--strict] FILE    (- is standard input)\n"
                "  check     errors with their places, or how much there is\n"
                "  compile   the rules as JSON, as a controller takes them\n"
                "  format    the script laid out anew, on standard output\n"
                "  decompile a script for the JSON of a network, or of compile\n"
                "--strict: as the reference does, without its errors put right\n",
                stderr);
    return CLI_USAGE;
}

static int read_stdin(char **ret, size_t *ret_len)
{
    char *text = malloc(RDL_SOURCE_MAX + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    size_t len = fread(text, 1, RDL_SOURCE_MAX + 1, stdin);
    if (ferror(stdin) != 0 || len > RDL_SOURCE_MAX) {
        free(text);
        return ferror(stdin) != 0 ? -EIO : -EFBIG;
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

/* Read the script that is named; complains. Returns 0 or an exit status. */
static int script_read(const char *path, struct script *ret)
{
    bool is_stdin = strcmp(path, "-") == 0;
    ret->name = is_stdin ? "stdin" : path;
    int error = is_stdin ? read_stdin(&ret->text, &ret->len)
                         : file_read(path, RDL_SOURCE_MAX, &ret->text, &ret->len);
    if (error < 0) {
        (void)fprintf(stderr, "panlan rules: cannot read %s: %s\n", ret->name, strerror(-error));
        return CLI_FAILED;
    }
    if (ret->len >= 3 && memcmp(ret->text, "\xef\xbb\xbf", 3) == 0) {
        ret->len -= 3;
        memmove(ret->text, ret->text + 3, ret->len);
    }
    return 0;
}

/* Print JSON, which is given away. Returns an exit status. */
static int print_json(json_t *json, int status)
{
    if (json == NULL || json_dumpf(json, stdout, JSON_INDENT(1)) < 0 || putchar('\n') == EOF) {
        (void)fputs("panlan rules: cannot print the result\n", stderr);
        status = CLI_FAILED;
    }
    json_decref(json);
    return status;
}

static void print_errors(const struct rdl_result *result, const struct script *script)
{
    char *text = rdl_errors_text(result, script->text, script->len, script->name);
    (void)fputs(text != NULL ? text : "panlan rules: out of memory\n", stderr);
    free(text);
}

static void print_findings(const struct rdl_result *result, const struct script *script)
{
    char *text = rdl_findings_text(result, script->text, script->len, script->name);
    (void)fputs(text != NULL ? text : "panlan rules: out of memory\n", stdout);
    free(text);
}

/* panlan rules check */
static int check(const struct cli *cli, const struct script *script, struct rdl_result *result,
                 enum rdl_mode mode)
{
    int status = result->is_ok ? CLI_OK : CLI_FAILED;
    if (result->is_ok && mode == RDL_NORMAL && rdl_lint(result, script->text, script->len) < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        return CLI_FAILED;
    }
    if (cli->json) {
        return print_json(json_pack("{s:b,s:b,s:o,s:o}", "ok", (int)result->is_ok,
                                    "documentedGrammar",
                                    (int)(result->is_ok && result->is_documented), "errors",
                                    rdl_errors_json(result, script->text, script->len), "lint",
                                    rdl_findings_json(result, script->text, script->len)),
                          status);
    }
    if (!result->is_ok) {
        print_errors(result, script);
        return status;
    }
    size_t in_capabilities = 0;
    for (size_t i = 0; i < result->capability_count; i++) {
        in_capabilities += result->capabilities[i].rules.count;
    }
    (void)printf("%s: base rules %zu, capabilities %zu (rules %zu), tags %zu\n", script->name,
                 result->base.count, result->capability_count, in_capabilities, result->tag_count);
    print_findings(result, script);
    return status;
}

/* panlan rules compile: what a network's object takes, with the text beside it. */
static int compile(const struct script *script, const struct rdl_result *result)
{
    if (!result->is_ok) {
        print_errors(result, script);
        return CLI_FAILED;
    }
    json_t *all = rdl_result_json(result);
    json_t *config = json_incref(json_object_get(all, "config"));
    if (config != NULL) {
        json_object_del(all, "config");
        json_object_update(config, all);
        json_object_set_new(config, "rulesSource", json_stringn(script->text, script->len));
    }
    json_decref(all);
    return print_json(config, CLI_OK);
}

/* panlan rules format */
static int format(const struct script *script, const struct rdl_result *result)
{
    char *text = NULL;
    if (!result->is_ok) {
        print_errors(result, script);
        return CLI_FAILED;
    }
    int error = rdl_format(script->text, script->len, &text);
    if (error < 0) {
        (void)fprintf(stderr, "panlan rules: %s: %s\n", script->name,
                      error == -ENOTSUP ? "another layout would change what it means"
                                        : strerror(-error));
        return CLI_FAILED;
    }
    (void)fputs(text, stdout);
    free(text);
    return CLI_OK;
}

/* panlan rules decompile */
static int decompile(const struct script *script)
{
    size_t lost = 0;
    json_error_t error;
    json_t *network = json_loadb(script->text, script->len, 0, &error);
    if (!json_is_object(network)) {
        (void)fprintf(stderr, "%s:%d: %s\n", script->name, error.line,
                      network == NULL ? error.text : "not the object of a network");
        json_decref(network);
        return CLI_FAILED;
    }
    char *text = rdl_decompile(network, &lost);
    (void)fputs(text != NULL ? text : "", stdout);
    if (text == NULL || lost > 0) {
        (void)fprintf(stderr, "panlan rules: %s: %zu entries cannot be written as rules\n",
                      script->name, lost);
    }
    json_decref(network);
    bool is_whole = text != NULL && lost == 0;
    free(text);
    return is_whole ? CLI_OK : CLI_FAILED;
}

int rules_run(struct cli *cli)
{
    enum rdl_mode mode = own_flag(cli, "--strict") ? RDL_STRICT : RDL_NORMAL;
    struct script script = {.text = NULL};
    struct rdl_result *result = NULL;
    const char *command = cli->arg_count == 2 ? cli->args[0] : "";
    bool is_check = strcmp(command, "check") == 0;
    bool is_format = strcmp(command, "format") == 0;
    bool is_decompile = strcmp(command, "decompile") == 0;
    if (!is_check && !is_format && !is_decompile && strcmp(command, "compile") != 0) {
        return usage();
    }
    int status = script_read(cli->args[1], &script);
    if (status != 0) {
        return status;
    }
    if (is_decompile) {
        status = decompile(&script);
    } else if (rdl_compile(script.text, script.len, mode, &result) < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        status = CLI_FAILED;
    } else {
        status = is_check    ? check(cli, &script, result, mode)
                 : is_format ? format(&script, result)
                             : compile(&script, result);
    }
    rdl_free(result);
    free(script.text);
    return status;
}
