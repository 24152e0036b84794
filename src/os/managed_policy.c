/* Local settings of a network and what they permit. Pure.
 * Implements: spec 03 section 14 (decision table, MGD-1), spec 05 section 2.4; SV-9, SV-10. */
#include "os/managed.h"

#include "base/dict.h"

#include <stdio.h>
#include <string.h>

enum {
    ALLOW_SHORT_MAX = 5, /* longest value of allowManaged that is a yes or no */
};

struct managed_policy managed_policy_default(void)
{
    return (struct managed_policy){.allow_managed = true};
}

static bool is_prefix(const struct inetaddr *net)
{
    size_t len = inetaddr_ip_len(net);
    return len > 0 && net->port <= len * 8;
}

/* Read "IP/bits,IP/bits..."; what is no prefix is ignored. */
static void parse_whitelist(struct managed_policy *policy, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end && policy->whitelist_count < MANAGED_WHITELIST_MAX) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *stop = comma != NULL ? comma : end;
        const char *last = stop;
        while (text < last && *text == ' ') {
            text++;
        }
        while (text < last && last[-1] == ' ') {
            last--;
        }
        struct inetaddr net;
        if (memchr(text, '/', (size_t)(last - text)) != NULL &&
            inetaddr_parse(text, (size_t)(last - text), &net) == 0 && is_prefix(&net)) {
            policy->whitelist[policy->whitelist_count++] = net;
        }
        text = comma != NULL ? comma + 1 : end;
    }
}

/* The decimal number under "mtu"; 0 if there is none in range. */
static uint32_t parse_mtu(struct dict d)
{
    char text[8];
    size_t len;
    uint32_t mtu = 0;

    if (dict_get(d, "mtu", text, sizeof(text), &len) != 0) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || mtu > MANAGED_MTU_MAX) {
            return 0;
        }
        mtu = mtu * 10 + (uint32_t)(text[i] - '0');
    }
    return mtu >= MANAGED_MTU_MIN && mtu <= MANAGED_MTU_MAX ? mtu : 0;
}

struct managed_policy managed_policy_parse(const char *text, size_t len)
{
    struct managed_policy policy = managed_policy_default();
    char value[MANAGED_SETTINGS_LEN];
    size_t value_len;

    struct dict d = dict_init(text, len);
    policy.allow_global = dict_get_bool(d, "allowGlobal", false);
    policy.allow_default = dict_get_bool(d, "allowDefault", false);
    policy.allow_dns = dict_get_bool(d, "allowDNS", false);
    policy.clamp_mss = dict_get_bool(d, "clampMSS", false);
    policy.mtu = parse_mtu(d);
    if (dict_get(d, "allowManaged", value, sizeof(value), &value_len) != 0 || value_len == 0) {
        return policy;
    }
    if (value_len <= ALLOW_SHORT_MAX) {
        policy.allow_managed = dict_get_bool(d, "allowManaged", true);
    } else {
        parse_whitelist(&policy, value, value_len);
    }
    return policy;
}

/* The value of allowManaged. */
static void print_allow(const struct managed_policy *policy, char out[MANAGED_SETTINGS_LEN])
{
    const size_t room = MANAGED_SETTINGS_LEN - 128; /* for the other lines */
    size_t len = 0;

    if (!policy->allow_managed || policy->whitelist_count == 0) {
        memcpy(out, policy->allow_managed ? "1" : "0", 2);
        return;
    }
    for (size_t i = 0; i < policy->whitelist_count; i++) {
        char net[INETADDR_TEXT_LEN];
        inetaddr_print(&policy->whitelist[i], net);
        size_t net_len = strlen(net);
        if (len + net_len + 1 > room) {
            break; /* a shorter list permits less */
        }
        if (len > 0) {
            out[len++] = ',';
        }
        memcpy(out + len, net, net_len);
        len += net_len;
    }
    while (len <= ALLOW_SHORT_MAX) {
        out[len++] = ','; /* "::/0" alone would be read as "no" */
    }
    out[len] = '\0';
}

size_t managed_policy_print(const struct managed_policy *policy, char out[MANAGED_SETTINGS_LEN])
{
    char allow[MANAGED_SETTINGS_LEN];

    print_allow(policy, allow);
    struct dict_writer w = dict_writer_init(out, MANAGED_SETTINGS_LEN);
    (void)dict_put_text(&w, "allowManaged", allow); /* fits by construction, as the rest */
    (void)dict_put_bool(&w, "allowGlobal", policy->allow_global);
    (void)dict_put_bool(&w, "allowDefault", policy->allow_default);
    (void)dict_put_bool(&w, "allowDNS", policy->allow_dns);
    if (policy->mtu != 0) {
        char mtu[16];
        (void)snprintf(mtu, sizeof(mtu), "%u", (unsigned)policy->mtu);
        (void)dict_put_text(&w, "mtu", mtu);
    }
    if (policy->clamp_mss) {
        (void)dict_put_bool(&w, "clampMSS", true);
    }
    return w.len;
}

static bool is_listed(const struct managed_policy *policy, const struct inetaddr *target)
{
    for (size_t i = 0; i < policy->whitelist_count; i++) {
        const struct inetaddr *net = &policy->whitelist[i];
        if (net->port <= target->port && inetaddr_in_net(target, net)) {
            return true;
        }
    }
    return policy->whitelist_count == 0;
}

enum managed_verdict managed_check(const struct managed_policy *policy,
                                   const struct inetaddr *target)
{
    if (!policy->allow_managed) {
        return MANAGED_OFF;
    }
    if (!is_prefix(target)) {
        return MANAGED_SCOPE;
    }
    if (!is_listed(policy, target)) {
        return MANAGED_NOT_LISTED;
    }
    if (target->port == 0) {
        return policy->allow_default ? MANAGED_ALLOWED : MANAGED_DEFAULT_ROUTE;
    }
    switch (inetaddr_scope(target)) {
    case INET_SCOPE_NONE:
    case INET_SCOPE_MULTICAST:
    case INET_SCOPE_LOOPBACK:
    case INET_SCOPE_LINK_LOCAL:
        return MANAGED_SCOPE;
    case INET_SCOPE_GLOBAL:
        return policy->allow_global ? MANAGED_ALLOWED : MANAGED_GLOBAL;
    case INET_SCOPE_PSEUDO_PRIVATE:
    case INET_SCOPE_SHARED:
    case INET_SCOPE_PRIVATE:
        return MANAGED_ALLOWED;
    }
    return MANAGED_SCOPE;
}
