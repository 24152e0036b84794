/* "panlan diagnose": gathers, calls the areas, prints. Works without the service, as far as that
 * goes. Shows no token, no secret, no invitation. Source: spec 05 sections 12, 13.14. */
#include "cli/diagnose.h"

#include "cli/format.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *diagnose_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

int64_t diagnose_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool diagnose_is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void diagnose_line(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, out, cap - 1);
    if (fd >= 0) {
        (void)close(fd);
    }
    out[len > 0 ? len : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

void words_add(struct words *w, const char *format, ...)
{
    char word[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(word, sizeof(word), format, args);
    va_end(args);
    if (w->len + strlen(word) + 32 > sizeof(w->text)) {
        w->left_out++;
        return;
    }
    w->len += (size_t)snprintf(w->text + w->len, sizeof(w->text) - w->len, "%s%s",
                               w->len > 0 ? ", " : "", word);
}

const char *words_end(struct words *w)
{
    if (w->left_out > 0) {
        (void)snprintf(w->text + w->len, sizeof(w->text) - w->len, " and %zu more", w->left_out);
    }
    return w->text;
}

/* ---- gathering ---- */

/* GET as JSON, or NULL; *ret_status gets the HTTP status, 0 without connection. */
static json_t *get(struct diagnosis *d, const char *path, long *ret_status)
{
    struct answer answer;
    *ret_status = 0;
    if (client_request(&d->cli->client, "GET", path, NULL, &answer) < 0) {
        return NULL;
    }
    *ret_status = answer.status;
    json_t *value = answer.status == 200 ? json_loadb(answer.body, answer.len, 0, NULL) : NULL;
    answer_done(&answer);
    return value;
}

/* Ask the service for all it tells; says what is in the way. */
static void gather_service(struct diagnosis *d)
{
    static const char name[] = "service";
    struct findings *f = &d->findings;
    const char *home = d->cli->home;
    long status;
    int err = client_discover(&d->cli->client, home);
    if (err == -ENOENT) {
        find(f, RESULT_FAIL, name,
             "start it: panlan up, or panlan join, or panlan service under a service manager; "
             "another home is named with --home",
             "no service has run here: there is no zerotier-one.port in %s", home);
        return;
    }
    d->health = get(d, "/health", &status);
    if (d->health == NULL) {
        find(f, RESULT_FAIL, name,
             "start it (panlan up, systemctl start panlan) and look at its log "
             "(panlan.log in the home, or journalctl -u panlan)",
             "no service answers on TCP port %u of %s (home %s)", d->cli->client.port,
             d->cli->client.host, home);
        return;
    }
    if (err < 0) {
        find(f, RESULT_WARN, name, "run this command as root",
             "a service answers, but its token in %s cannot be read: much is left unchecked", home);
        return;
    }
    d->status = get(d, "/status", &status);
    if (d->status == NULL) {
        find(f, RESULT_FAIL, name,
             status == 401 ? "is it the service of another home? name that one with --home"
                           : "look at its log",
             status == 401 ? "the service on port %u refuses the token of %s"
                           : "the service on port %u of home %s answers, but not with its status",
             d->cli->client.port, home);
        return;
    }
    d->answers = true;
    d->peers = get(d, "/peer", &status);
    d->networks = get(d, "/network", &status);
    d->datapath = get(d, "/datapath", &status);
}

/* local.conf as it is in the home, or as the service has it; says what is wrong with it. */
static void gather_config(struct diagnosis *d)
{
    char path[HOME_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    struct config_error error;
    int err = home_path(d->cli->home, "local.conf", path, sizeof(path));
    err = err < 0 ? err : file_read(path, CONFIG_FILE_MAX, &text, &len);
    if (err == 0 && config_parse(text, len, &d->config, &error) == -EBADMSG) {
        find(&d->findings, RESULT_FAIL, "settings",
             "correct it; the service keeps the old settings", "local.conf, line %d, column %d: %s",
             error.line, error.column, error.text);
    }
    for (size_t i = 0; d->config != NULL && i < d->config->warning_count; i++) {
        find(&d->findings, RESULT_WARN, "settings", NULL, "local.conf: %s", d->config->warnings[i]);
    }
    free(text);
    if (d->config == NULL && d->status != NULL) {
        text = json_dumps(json_object_get(d->status, "config"), JSON_ENCODE_ANY);
        if (text != NULL) {
            (void)!config_parse(text, strlen(text), &d->config, &error);
        }
        free(text);
    }
    if (d->config == NULL) {
        (void)!config_parse("", 0, &d->config, &error);
    }
}

static void gather(struct diagnosis *d)
{
    char path[HOME_PATH_MAX];
    char text[32];
    gather_service(d);
    gather_config(d);
    const json_t *settings = json_object_get(json_object_get(d->status, "config"), "settings");
    d->port = (unsigned)diagnose_number(settings, "primaryPort");
    if (d->port == 0 || d->port > UINT16_MAX) {
        d->port = d->cli->client.port != 0 ? d->cli->client.port
                  : d->config != NULL && d->config->primary_port > 0
                      ? (unsigned)d->config->primary_port
                      : CONFIG_PRIMARY_PORT;
    }
    d->pid = (long)diagnose_number(d->status, "pid");
    if (d->pid == 0 && home_path(d->cli->home, "zerotier-one.pid", path, sizeof(path)) == 0) {
        diagnose_line(path, text, sizeof(text));
        d->pid = strtol(text, NULL, 10);
    }
    if (net_open(&d->net) == 0 && net_snapshot_read(d->net, &d->snapshot) < 0) {
        net_close(d->net);
        d->net = NULL;
    }
}

static void release(struct diagnosis *d)
{
    if (d->net != NULL) {
        net_snapshot_done(&d->snapshot);
        net_close(d->net);
    }
    config_free(d->config);
    json_decref(d->health);
    json_decref(d->status);
    json_decref(d->peers);
    json_decref(d->networks);
    json_decref(d->datapath);
    findings_done(&d->findings);
}

static void print(const struct diagnosis *d)
{
    char when[32];
    time_t now_s = (time_t)(d->wall_ms / 1000);
    struct tm tm;
    (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now_s, &tm));
    if (d->cli->json) {
        json_t *o = findings_json(&d->findings, PANLAN_VERSION, when);
        format_json(stdout, o);
        json_decref(o);
        return;
    }
    (void)printf("panlan %s diagnose, %s\n\n", PANLAN_VERSION, when);
    findings_print(stdout, &d->findings);
}

int diagnose_run(struct cli *cli)
{
    static void (*const areas[])(struct diagnosis * d) = {
        diagnose_service, diagnose_reach,    diagnose_interfaces,
        diagnose_system,  diagnose_firewall, diagnose_traffic,
    };
    struct diagnosis d = {.cli = cli, .wall_ms = clock_wall_ms()};
    bool redact = false;
    for (int i = 0; i < cli->arg_count; i++) {
        if (strcmp(cli->args[i], "--redact") != 0) {
            (void)fprintf(stderr, "panlan diagnose [--redact] [--json]\n");
            return CLI_USAGE;
        }
        redact = true;
    }
    findings_init(&d.findings, redact);
    gather(&d);
    for (size_t i = 0; i < COUNT_OF(areas); i++) {
        areas[i](&d);
    }
    print(&d);
    int status = d.findings.counts[RESULT_FAIL] > 0 ? CLI_FAILED : CLI_OK;
    release(&d);
    return status;
}
