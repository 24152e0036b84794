/* The log of the controller for people: one line an event. */
#include "cli/ctl_log.h"

#include "base/hex.h"
#include "cli/format.h"
#include "cli/own.h"
#include "os/clock.h"
#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PATH_LEN = 600,
    PAGE = 500,
    LINES_DEFAULT = 100,
    VALUE_SHOWN = 60, /* characters of a value in a line */
};

static int log_usage(void)
{
    (void)fputs("Usage: panlan controller log [--network ID] [--member NODE] [--actor TEXT]\n"
                "           [--type TYPE] [--since 30m|12h|7d] [--limit N]\n"
                "       panlan controller history NETWORK NODE [--limit N]\n",
                stderr);
    return CLI_USAGE;
}

/* ---- a line ---- */

static void print_time(FILE *out, json_int_t at_ms)
{
    time_t at = (time_t)(at_ms / 1000);
    struct tm tm;
    char text[32] = "?";
    if (localtime_r(&at, &tm) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    }
    (void)fprintf(out, "%s", text);
}

static void print_value(FILE *out, const json_t *value)
{
    if (value == NULL) {
        (void)fputs("-", out);
        return;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    bool cut = text != NULL && strlen(text) > VALUE_SHOWN;
    (void)fprintf(out, "%.*s%s", VALUE_SHOWN, text != NULL ? text : "?", cut ? "..." : "");
    free(text);
}

/* "key: old -> new", or only what there is. */
static void print_change(FILE *out, const char *key, const json_t *before, const json_t *after)
{
    (void)fprintf(out, "  %s: ", key);
    if (before != NULL) {
        print_value(out, before);
        (void)fputs(after != NULL ? " -> " : " -> -", out);
    }
    if (after != NULL) {
        print_value(out, after);
    }
}

void format_event(FILE *out, const json_t *entry)
{
    json_t *actor = json_object_get(entry, "actor");
    json_t *before = json_object_get(entry, "old");
    json_t *after = json_object_get(entry, "new");
    const char *member = cli_text(entry, "member");
    const char *source = cli_text(entry, "source");
    const char *name = cli_text(actor, "name");
    const char *key;
    json_t *value;
    print_time(out, json_integer_value(json_object_get(entry, "at")));
    (void)fprintf(out, "  %-19s %s%s%s", cli_text(entry, "type"), cli_text(actor, "kind"),
                  name[0] != '\0' ? " " : "", name);
    if (source[0] != '\0') {
        (void)fprintf(out, " (%s)", source);
    }
    (void)fprintf(out, "  %s%s%s", cli_text(entry, "network"), member[0] != '\0' ? " " : "",
                  member);
    /* Something new or gone is its own news; its settings are in the JSON. */
    bool changed = json_is_object(before) && json_is_object(after);
    bool small = json_object_size(before) + json_object_size(after) <= 2;
    json_object_foreach(before, key, value)
    {
        if (changed || small) {
            print_change(out, key, value, json_object_get(after, key));
        }
    }
    json_object_foreach(after, key, value)
    {
        if ((changed || small) && json_object_get(before, key) == NULL) {
            print_change(out, key, NULL, value);
        }
    }
    (void)fputc('\n', out);
}

/* ---- asking ---- */

/* Append "&name=value" with what must not stand in a query encoded. */
static void add_parameter(char path[PATH_LEN], const char *name, const char *value)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t used = strlen(path);
    used += (size_t)snprintf(path + used, PATH_LEN - used, "&%s=", name);
    for (; *value != '\0' && used + 4 < PATH_LEN; value++) {
        if (strchr(safe, *value) != NULL) {
            path[used++] = *value;
        } else {
            used += (size_t)snprintf(path + used, PATH_LEN - used, "%%%02x",
                                     (unsigned)(unsigned char)*value);
        }
        path[used] = '\0';
    }
}

/* Entries of all pages up to limit. Returns 0 with a new array, or an exit status. */
static int get_entries(struct cli *cli, const char *base, size_t limit, json_t **ret)
{
    json_t *all = json_array();
    char cursor[32] = "";
    do {
        char path[PATH_LEN + 64];
        size_t left = limit - json_array_size(all);
        json_t *answer = NULL;
        (void)snprintf(path, sizeof(path), "%s&limit=%zu%s%s", base, left < PAGE ? left : PAGE,
                       cursor[0] != '\0' ? "&cursor=" : "", cursor);
        int status = cli_get(cli, path, &answer);
        if (status != 0) {
            json_decref(all);
            return status;
        }
        (void)json_array_extend(all, json_object_get(answer, "data"));
        (void)snprintf(cursor, sizeof(cursor), "%s",
                       cli_text(json_object_get(answer, "meta"), "nextCursor"));
        json_decref(answer);
    } while (cursor[0] != '\0' && json_array_size(all) < limit);
    *ret = all;
    return 0;
}

/* Oldest first for people, newest first as JSON, as the API has it. */
static int show(struct cli *cli, const char *base, size_t limit)
{
    json_t *entries = NULL;
    int status = cli_connect(cli);
    status = status != 0 ? status : get_entries(cli, base, limit, &entries);
    if (status != 0) {
        return status;
    }
    if (cli->json) {
        format_json(stdout, entries);
    } else {
        for (size_t i = json_array_size(entries); i-- > 0;) {
            format_event(stdout, json_array_get(entries, i));
        }
    }
    json_decref(entries);
    return CLI_OK;
}

/* The value of --limit. Returns 0 if it is none. */
static size_t read_limit(const char *text)
{
    char *end = NULL;
    unsigned long value = text != NULL ? strtoul(text, &end, 10) : LINES_DEFAULT;
    return text != NULL && (*end != '\0' || text[0] < '0' || text[0] > '9') ? 0 : value;
}

/* "12h" as that long ago, in Unix ms. Returns -1 if it is none. */
static int64_t read_since(const char *text)
{
    static const char units[] = "smhdw";
    static const int64_t unit_ms[] = {1000, 60000, 3600000, 86400000, 604800000};
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    const char *unit = *end != '\0' && end[1] == '\0' ? strchr(units, *end) : NULL;
    if (unit == NULL || text[0] < '0' || text[0] > '9' || value > 100000) {
        return -1;
    }
    return clock_wall_ms() - (int64_t)value * unit_ms[unit - units];
}

int log_run(struct cli *cli)
{
    static const struct {
        const char *option;
        const char *parameter;
        size_t digits; /* hexadecimal ones, 0 any text */
    } filters[] = {{"--network", "network", 16},
                   {"--member", "member", 10},
                   {"--actor", "actor", 0},
                   {"--type", "type", 0}};
    char path[PATH_LEN] = "/controller/log?v=1";
    bool good = true;
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        const char *value = own_option(cli, filters[i].option);
        uint64_t id;
        if (value != NULL) {
            good = good && strlen(value) < 64 &&
                   (filters[i].digits == 0 ||
                    hex_to_u64(value, strlen(value), (unsigned)filters[i].digits, &id) == 0);
            add_parameter(path, filters[i].parameter, value);
        }
    }
    const char *since = own_option(cli, "--since");
    int64_t since_ms = since != NULL ? read_since(since) : 0;
    size_t limit = read_limit(own_option(cli, "--limit"));
    if (!good || since_ms < 0 || limit == 0 || cli->arg_count != 0) {
        return log_usage();
    }
    char number[32];
    (void)snprintf(number, sizeof(number), "%lld", (long long)since_ms);
    add_parameter(path, "since", number);
    return show(cli, path, limit);
}

int history_run(struct cli *cli)
{
    char path[PATH_LEN];
    uint64_t nwid;
    uint64_t address;
    size_t limit = read_limit(own_option(cli, "--limit"));
    if (cli->arg_count != 2 || limit == 0) {
        return log_usage();
    }
    int status = own_nwid(cli, 0, &nwid);
    if (status != 0) {
        return status;
    }
    if (address_parse(cli->args[1], strlen(cli->args[1]), &address) < 0) {
        (void)fprintf(stderr, "panlan: \"%s\" is not a node address (10 hex digits)\n",
                      cli->args[1]);
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/member/%010llx/history?v=1",
                   (unsigned long long)nwid, (unsigned long long)address);
    return show(cli, path, limit);
}
