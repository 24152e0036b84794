/* panlan rules: the rule language offline. Source: spec 06 sections 1 and 13, doc/rules.md. */
#include "cli/own.h"

#include "os/file.h"
#include "rules/rdl.h"
#include "rules/trace.h"

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
                "  check     errors with their places, or how much there is and what is odd\n"
                "  compile   the rules as JSON, as a controller takes them; with --map also the\n"
                "            line and column of each\n"
                "  format    the script laid out anew, on standard output\n"
                "  decompile a script for the JSON of a network, or of compile\n"
                "  explain FILE PACKET...      what becomes of a packet, and by which rules:\n"
                "            tcp from alice:staff to bob:ssh port 22\n"
                "  test FILE [ASSERTIONS]      check lines 'expect accept|drop PACKET', which are\n"
                "            comments of FILE or have a file of their own\n"
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
static int compile(const struct script *script, const struct rdl_result *result, bool with_map)
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
        if (with_map) {
            json_object_set_new(config, "sourceMap",
                                rdl_source_map_json(result, script->text, script->len));
        }
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

/* panlan rules explain FILE PACKET... */
static int explain(const struct cli *cli, const struct policy *policy,
                   const struct trace_script *script)
{
    char text[4096];
    size_t len = 0;
    for (int i = 2; i < cli->arg_count; i++) {
        int n = snprintf(text + len, sizeof(text) - len, "%s%s", i > 2 ? " " : "", cli->args[i]);
        if (n < 0 || (size_t)n >= sizeof(text) - len) {
            (void)fputs("panlan rules: the packet's description is too long\n", stderr);
            return CLI_USAGE;
        }
        len += (size_t)n;
    }
    struct packet *packet = calloc(1, sizeof(*packet));
    struct packet_error error;
    struct trace trace;
    int status = CLI_OK;
    int bad = packet != NULL ? packet_read(policy, (struct rdl_text){text, len}, packet, &error)
                             : -ENOMEM;
    if (bad == -EINVAL) {
        (void)fprintf(stderr, "panlan rules: packet: %s\n", error.text);
        status = CLI_USAGE;
    } else if (bad < 0 || trace_packet(policy, packet, &trace) < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        status = CLI_FAILED;
    } else {
        if (cli->json) {
            status = print_json(trace_json(&trace, policy, script), CLI_OK);
        } else {
            trace_print(stdout, &trace, policy, packet, script);
        }
        trace_done(&trace);
    }
    free(packet);
    return status;
}

/* panlan rules test FILE [ASSERTIONS] */
static int test(const struct cli *cli, const struct policy *policy,
                const struct trace_script *script)
{
    struct script other = {.text = NULL};
    struct trace_script assertions = *script;
    struct trace_tests tests;
    if (cli->arg_count == 3) {
        int status = script_read(cli->args[2], &other);
        if (status != 0) {
            return status;
        }
        assertions = (struct trace_script){other.name, other.text, other.len};
    }
    int error = trace_test(policy, script, &assertions, stdout, &tests);
    free(other.text);
    if (error < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        return CLI_FAILED;
    }
    (void)printf("%s: %zu assertions, %zu failed\n", assertions.name, tests.count, tests.failed);
    return tests.failed > 0 || tests.count == 0 ? CLI_FAILED : CLI_OK;
}

/* explain and test, which ask the evaluator. */
static int evaluate(const struct cli *cli, const struct script *script,
                    const struct rdl_result *result)
{
    const struct trace_script source = {script->name, script->text, script->len};
    struct policy policy;
    if (!result->is_ok) {
        print_errors(result, script);
        return CLI_FAILED;
    }
    if (policy_make(result, &policy) < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        return CLI_FAILED;
    }
    int status = strcmp(cli->args[0], "explain") == 0 ? explain(cli, &policy, &source)
                                                      : test(cli, &policy, &source);
    policy_done(&policy);
    return status;
}

enum command { NO_COMMAND, CHECK, COMPILE, FORMAT, DECOMPILE, EXPLAIN, TEST };

/* The command that is meant, with the right number of words. */
static enum command command_of(const struct cli *cli)
{
    static const struct {
        const char *word;
        enum command command;
        int most; /* words */
    } commands[] = {{"check", CHECK, 2},         {"compile", COMPILE, 2},  {"format", FORMAT, 2},
                    {"decompile", DECOMPILE, 2}, {"explain", EXPLAIN, 99}, {"test", TEST, 3}};
    int least = cli->arg_count > 0 && strcmp(cli->args[0], "explain") == 0 ? 3 : 2;
    for (size_t i = 0; i < COUNT_OF(commands) && cli->arg_count >= least; i++) {
        if (strcmp(cli->args[0], commands[i].word) == 0 && cli->arg_count <= commands[i].most) {
            return commands[i].command;
        }
    }
    return NO_COMMAND;
}

int rules_run(struct cli *cli)
{
    bool with_map = own_flag(cli, "--map");
    enum rdl_mode mode = own_flag(cli, "--strict") ? RDL_STRICT : RDL_NORMAL;
    struct script script = {.text = NULL};
    struct rdl_result *result = NULL;
    enum command command = command_of(cli);
    if (command == NO_COMMAND) {
        return usage();
    }
    int status = script_read(cli->args[1], &script);
    if (status != 0) {
        return status;
    }
    if (command == DECOMPILE) {
        status = decompile(&script);
    } else if (rdl_compile(script.text, script.len, mode, &result) < 0) {
        (void)fputs("panlan rules: out of memory\n", stderr);
        status = CLI_FAILED;
    } else if (command == CHECK) {
        status = check(cli, &script, result, mode);
    } else if (command == FORMAT) {
        status = format(&script, result);
    } else if (command == COMPILE) {
        status = compile(&script, result, with_map);
    } else {
        status = evaluate(cli, &script, result);
    }
    rdl_free(result);
    free(script.text);
    return status;
}
