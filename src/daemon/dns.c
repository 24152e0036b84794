/* DNS by resolvectl. Source: spec 05 section 6.4. */
#include "daemon/dns.h"

#include "daemon/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ARGS_MAX = NETCONF_DNS_SERVERS + 4,
};

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
        log_write(LOG_LEVEL_WARN, "dns", "resolvectl failed status=%d signal=%d", (int)status,
                  signum);
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
        log_write(LOG_LEVEL_WARN, "dns", "cannot run resolvectl error=\"%s\"", uv_strerror(err));
        uv_close((uv_handle_t *)process, on_closed);
    }
}

void dns_apply(uv_loop_t *loop, const char *device, const struct dns_setting *setting)
{
    if (access(RESOLVED_DIRECTORY, F_OK) < 0) {
        log_write(LOG_LEVEL_WARN, "dns",
                  "systemd-resolved does not run: name servers not set device=%s", device);
        return;
    }
    if (setting->count == 0) {
        run(loop, (const char *const[]){"resolvectl", "revert", device, NULL});
        log_write(LOG_LEVEL_INFO, "dns", "cleared device=%s", device);
        return;
    }
    const char *args[ARGS_MAX] = {"resolvectl", "dns", device};
    for (size_t i = 0; i < setting->count; i++) {
        args[3 + i] = setting->servers[i];
    }
    run(loop, args);
    run(loop, (const char *const[]){"resolvectl", "domain", device, setting->domain, NULL});
    log_write(LOG_LEVEL_INFO, "dns", "set device=%s domain=%s servers=%zu", device,
              setting->domain + 1, setting->count);
}
