/* The dump file. Source: spec 05 section 4.4. */
#include "cli/dump.h"

#include "cli/format.h"
#include "os/addr.h"
#include "wire/mac.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DUMP_NAME "zerotier_dump.txt"

static int write_section(struct cli *cli, FILE *out, const char *title, const char *path)
{
    json_t *value = NULL;
    int status = cli_get(cli, path, &value);
    if (status != 0) {
        return status;
    }
    (void)fprintf(out, "%s\n", title);
    format_json(out, value);
    (void)fputc('\n', out);
    json_decref(value);
    return 0;
}

/* What only this program's service tells; others answer 404. */
static void write_datapath(struct cli *cli, FILE *out)
{
    struct answer answer;
    if (client_request(&cli->client, "GET", "/datapath", NULL, &answer) < 0) {
        return;
    }
    json_t *value = answer.status == 200 ? json_loadb(answer.body, answer.len, 0, NULL) : NULL;
    if (value != NULL) {
        (void)fputs("data path\n", out);
        format_json(out, value);
        (void)fputc('\n', out);
    }
    json_decref(value);
    answer_done(&answer);
}

static void write_interfaces(FILE *out)
{
    struct net *net = NULL;
    struct net_snapshot snapshot;
    if (net_open(&net) < 0) {
        return;
    }
    if (net_snapshot_read(net, &snapshot) < 0) {
        net_close(net);
        return;
    }
    (void)fputs("interfaces\n", out);
    for (size_t i = 0; i < snapshot.iface_count; i++) {
        const struct net_iface *iface = &snapshot.ifaces[i];
        char mac[MAC_TEXT_LEN];
        mac_print(iface->mac, mac);
        (void)fprintf(out, "%s mtu %u mac %s\n", iface->name, iface->mtu, mac);
        for (size_t a = 0; a < snapshot.addr_count; a++) {
            char text[INETADDR_TEXT_LEN];
            if (snapshot.addrs[a].index == iface->index) {
                inetaddr_print(&snapshot.addrs[a].ip, text);
                (void)fprintf(out, "    %s\n", text);
            }
        }
    }
    net_snapshot_done(&snapshot);
    net_close(net);
}

int dump_run(struct cli *cli)
{
    static const char *const sections[][2] = {{"status", "/status"},
                                              {"networks", "/network"},
                                              {"peers", "/peer"},
                                              {"local.conf", "/config"}};
    /* A fresh file: root may stand in a directory where others leave links. */
    (void)unlink(DUMP_NAME);
    int fd = open(DUMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0664);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        (void)fprintf(stderr, "%s: cannot write " DUMP_NAME ": %s\n", cli->name, strerror(errno));
        return CLI_FAILED;
    }
    int status = 0;
    for (size_t i = 0; i < COUNT_OF(sections) && status == 0; i++) {
        status = write_section(cli, out, sections[i][0], sections[i][1]);
    }
    if (status == 0) {
        write_datapath(cli, out);
    }
    write_interfaces(out);
    if (fclose(out) != 0) {
        status = CLI_FAILED;
    }
    char cwd[1024];
    if (status == 0) {
        (void)printf("200 dump %s/" DUMP_NAME "\n", getcwd(cwd, sizeof(cwd)) == NULL ? "." : cwd);
    }
    return status;
}
