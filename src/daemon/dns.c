/* DNS by the programs that are there. Source: spec 05 section 6.4. */
#include "daemon/dns.h"

#include "daemon/log.h"
#include "os/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ARGS_MAX = NETCONF_DNS_SERVERS + 5,
    TEXT_MAX = DNS_DOMAIN_LEN * 2 + NETCONF_DNS_SERVERS * (DNS_SERVER_LEN + 16),
};

/* Who cares for names. */
enum dns_way { DNS_NOBODY, DNS_BY_HOOK, DNS_BY_RESOLVED, DNS_BY_RESOLVCONF };

#define RESOLVED_DIRECTORY "/run/systemd/resolve"

static bool is_domain(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return text[0] != '\0' && text[0] != '-' && text[0] != '.' &&
           strspn(text, allowed) == strlen(text);
}

struct dns_setting dns_setting_make(const struct netconf_dns *dns)
{
    struct dns_setting setting = {.count = 0};
    if (dns == NULL || !is_domain(dns->domain)) {
        return setting;
    }
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        if (dns->servers[i].family != INETADDR_NIL) {
            inetaddr_print_ip(&dns->servers[i], setting.servers[setting.count++]);
        }
    }
    if (setting.count > 0) {
        (void)snprintf(setting.domain, sizeof(setting.domain), "~%s", dns->domain);
    }
    return setting;
}

bool dns_setting_equal(const struct dns_setting *a, const struct dns_setting *b)
{
    if (a->count != b->count || strcmp(a->domain, b->domain) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->servers[i], b->servers[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signum)
{
    if (status != 0 || signum != 0) {
        log_write(LOG_LEVEL_WARN, "dns", "the program for name servers failed status=%d signal=%d",
                  (int)status, signum);
    }
    uv_close((uv_handle_t *)process, on_closed);
}

static void run(uv_loop_t *loop, const char *const *args)
{
    uv_process_t *process = calloc(1, sizeof(*process));
    if (process == NULL) {
        return;
    }
    uv_process_options_t options = {
        .exit_cb = on_exit_status,
        .file = args[0],
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): uv_spawn changes nothing */
        .args = (char **)(uintptr_t)args,
    };
    int err = uv_spawn(loop, process, &options);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "dns", "cannot run %s error=\"%s\"", args[0], uv_strerror(err));
        uv_close((uv_handle_t *)process, on_closed);
    }
}

/* True if a program of this name is found by PATH. */
static bool is_program(const char *name)
{
    const char *dirs = getenv("PATH");
    char path[HOME_PATH_MAX];
    while (dirs != NULL && dirs[0] != '\0') {
        size_t len = strcspn(dirs, ":");
        int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, dirs, name);
        if (n > 0 && (size_t)n < sizeof(path) && access(path, X_OK) == 0) {
            return true;
        }
        dirs += len + (dirs[len] == ':');
    }
    return false;
}

/* hook gets the path of the owner's program. */
static enum dns_way choose(const char *home, char hook[HOME_PATH_MAX])
{
    if (home_path(home, DNS_HOOK, hook, HOME_PATH_MAX) == 0 && access(hook, X_OK) == 0) {
        return DNS_BY_HOOK;
    }
    if (access(RESOLVED_DIRECTORY, F_OK) == 0) {
        return DNS_BY_RESOLVED;
    }
    return is_program("resolvconf") ? DNS_BY_RESOLVCONF : DNS_NOBODY;
}

bool dns_outlives_device(const char *home)
{
    char hook[HOME_PATH_MAX];
    enum dns_way way = choose(home, hook);
    return way == DNS_BY_HOOK || way == DNS_BY_RESOLVCONF;
}

static void by_hook(uv_loop_t *loop, const char *hook, const char *device,
                    const struct dns_setting *setting)
{
    const char *args[ARGS_MAX] = {hook, setting->count > 0 ? "set" : "clear", device};
    if (setting->count > 0) {
        args[3] = setting->domain + 1;
        for (size_t i = 0; i < setting->count; i++) {
            args[4 + i] = setting->servers[i];
        }
    }
    run(loop, args);
}

static void by_resolved(uv_loop_t *loop, const char *device, const struct dns_setting *setting)
{
    if (setting->count == 0) {
        run(loop, (const char *const[]){"resolvectl", "revert", device, NULL});
        return;
    }
    const char *args[ARGS_MAX] = {"resolvectl", "dns", device};
    for (size_t i = 0; i < setting->count; i++) {
        args[3 + i] = setting->servers[i];
    }
    run(loop, args);
    run(loop, (const char *const[]){"resolvectl", "domain", device, setting->domain, NULL});
}

/* It reads what is to be added from its standard input. */
static void by_resolvconf(uv_loop_t *loop, const char *device, const struct dns_setting *setting)
{
    static const char add[] = "printf %s \"$2\" | resolvconf -a \"$1.panlan\"";
    static const char drop[] = "resolvconf -d \"$1.panlan\"";
    char text[TEXT_MAX] = "";
    int len = 0;
    if (setting->count > 0) {
        len = snprintf(text, sizeof(text), "search %s\n", setting->domain + 1);
    }
    for (size_t i = 0; i < setting->count && len > 0 && len < TEXT_MAX; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "nameserver %s\n",
                        setting->servers[i]);
    }
    run(loop, (const char *const[]){"sh", "-c", setting->count > 0 ? add : drop, "sh", device, text,
                                    NULL});
}

void dns_apply(uv_loop_t *loop, const char *home, const char *device,
               const struct dns_setting *setting)
{
    char hook[HOME_PATH_MAX];
    switch (choose(home, hook)) {
    case DNS_BY_HOOK:
        by_hook(loop, hook, device, setting);
        break;
    case DNS_BY_RESOLVED:
        by_resolved(loop, device, setting);
        break;
    case DNS_BY_RESOLVCONF:
        by_resolvconf(loop, device, setting);
        break;
    case DNS_NOBODY:
        log_write(LOG_LEVEL_WARN, "dns",
                  "neither systemd-resolved nor resolvconf nor " DNS_HOOK " in the home directory: "
                  "name servers not set device=%s",
                  device);
        return;
    }
    if (setting->count == 0) {
        log_write(LOG_LEVEL_INFO, "dns", "cleared device=%s", device);
    } else {
        log_write(LOG_LEVEL_INFO, "dns", "set device=%s domain=%s servers=%zu", device,
                  setting->domain + 1, setting->count);
    }
}
