/* "panlan datapath": how frames are carried on this machine, what was obtained from the system and
 * what was lost. Source: spec 09 section 6.10, doc/operations.md. */
#include "cli/format.h"
#include "cli/own.h"

#include <string.h>

enum { OFFLOADS_LEN = 64 };

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static long long number(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* The names among these that are true, or "-". */
static const char *flags(const json_t *object, const char *const *names, size_t count,
                         char out[OFFLOADS_LEN])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (json_is_true(json_object_get(object, names[i])) && len < OFFLOADS_LEN) {
            len += (size_t)snprintf(out + len, OFFLOADS_LEN - len, "%s%s", len > 0 ? "," : "",
                                    names[i]);
        }
    }
    return len == 0 ? "-" : out;
}

static void format_sockets(FILE *out, const json_t *sockets)
{
    static const char *const names[] = {"gso", "gro", "batch"};
    size_t i;
    json_t *s;
    (void)fprintf(out, "\n%-32s %-15s %7s %8s %8s %-13s %8s %8s %8s\n", "socket", "device",
                  "sockets", "rx KiB", "tx KiB", "offloads", "dropped", "refused", "replayed");
    json_array_foreach((json_t *)sockets, i, s)
    {
        char buffer[OFFLOADS_LEN];
        (void)fprintf(out, "%-32s %-15s %7lld %8lld %8lld %-13s %8lld %8lld %8lld\n",
                      text(s, "address"), text(s, "device"), number(s, "sockets"),
                      number(s, "receiveBuffer") / 1024, number(s, "sendBuffer") / 1024,
                      flags(s, names, COUNT_OF(names), buffer), number(s, "kernelDrops"),
                      number(s, "sendErrors"), number(s, "gsoReplays"));
    }
}

/* Kinds of flows whose frames are merged before they are written. */
static const char *merging(const json_t *d)
{
    bool tcp = json_is_true(json_object_get(d, "mergesTcp"));
    bool udp = json_is_true(json_object_get(d, "mergesUdp"));
    return tcp && udp ? "tcp,udp" : tcp ? "tcp" : udp ? "udp" : "-";
}

static void format_devices(FILE *out, const json_t *devices)
{
    static const char *const names[] = {"vnet", "csum", "tso4", "tso6", "ecn", "uso"};
    size_t i;
    json_t *d;
    (void)fprintf(out, "\n%-16s %-15s %5s %6s %-27s %-7s %8s %8s\n", "network", "device", "mtu",
                  "queues", "offloads", "merging", "refused", "full");
    json_array_foreach((json_t *)devices, i, d)
    {
        char offloads[OFFLOADS_LEN];
        (void)fprintf(out, "%-16s %-15s %5lld %6lld %-27s %-7s %8lld %8lld\n", text(d, "nwid"),
                      text(d, "device"), number(d, "mtu"), number(d, "queues"),
                      flags(d, names, COUNT_OF(names), offloads), merging(d), number(d, "refused"),
                      number(d, "full"));
    }
}

/* "name=count" of all that are not 0. */
static void format_counts(FILE *out, const char *title, const json_t *counts)
{
    const char *key;
    json_t *value;
    bool any = false;
    (void)fprintf(out, "%-9s", title);
    json_object_foreach((json_t *)counts, key, value)
    {
        if (json_integer_value(value) != 0) {
            (void)fprintf(out, " %s=%lld", key, (long long)json_integer_value(value));
            any = true;
        }
    }
    (void)fputs(any ? "\n" : " none\n", out);
}

void format_datapath(FILE *out, const json_t *value)
{
    const json_t *kernels = json_object_get(value, "kernels");
    (void)fprintf(out, "workers   %lld, lanes of each %lld\n", number(value, "workers"),
                  number(value, "lanes"));
    (void)fprintf(out, "kernels   AES %s, Salsa20 %s, Poly1305 %s, checksum %s\n",
                  text(kernels, "aes"), text(kernels, "salsa20"), text(kernels, "poly1305"),
                  text(kernels, "checksum"));
    (void)fprintf(out, "handled   %lld by workers, %lld given to the engine (%.2f %%)\n",
                  number(value, "handled"), number(value, "given"),
                  json_number_value(json_object_get(value, "slowShare")) * 100);
    format_counts(out, "lost", json_object_get(value, "lost"));
    format_counts(out, "drops", json_object_get(value, "drops"));
    format_sockets(out, json_object_get(value, "sockets"));
    format_devices(out, json_object_get(value, "devices"));
}

int datapath_run(struct cli *cli)
{
    json_t *value = NULL;
    int status = cli_connect(cli);
    status = status != 0 ? status : cli_get(cli, "/datapath", &value);
    if (status != 0) {
        return status;
    }
    (cli->json ? format_json : format_datapath)(stdout, value);
    json_decref(value);
    return CLI_OK;
}
