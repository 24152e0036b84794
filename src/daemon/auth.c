/* Authorization of API requests. Source: spec 05 sections 3.2 and 13 items 2 and 3. */
#include "daemon/auth.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

static bool source_allowed(const struct auth_rules *rules, const struct inetaddr *from)
{
    if (inetaddr_scope(from) == INET_SCOPE_LOOPBACK) {
        return true;
    }
    for (size_t i = 0; i < rules->management->count; i++) {
        if (inetaddr_in_net(from, &rules->management->items[i])) {
            return true;
        }
    }
    return false;
}

static bool token_equal(const char *token, const char *given)
{
    size_t len = strlen(token);
    return len > 0 && strlen(given) == len && sodium_memcmp(token, given, len) == 0;
}

const char *auth_bearer(const char *authorization)
{
    static const char *const schemes[] = {"Bearer ", "token "};
    for (size_t i = 0; i < COUNT_OF(schemes) && authorization != NULL; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(authorization, schemes[i], len) == 0) {
            return authorization + len;
        }
    }
    return NULL;
}

/* The one credential that counts, or NULL. */
static const char *credential(const struct auth_request *request)
{
    if (request->token_header != NULL) {
        return request->token_header;
    }
    if (request->token_query != NULL) {
        return request->token_query;
    }
    return auth_bearer(request->authorization);
}

static bool needs_no_token(const char *path)
{
    return strcmp(path, "/health") == 0 || strcmp(path, "/sso") == 0 ||
           strncmp(path, "/app", 4) == 0;
}

/* Name part of "name", "name:port" or "[v6]:port". */
static size_t name_len(const char *host)
{
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    if (bracket != NULL) {
        return (size_t)(bracket - host) + 1;
    }
    return strcspn(host, ":/");
}

/* An origin without its scheme. */
static const char *origin_host(const char *origin)
{
    const char *mark = strstr(origin, "://");
    return mark != NULL ? mark + 3 : origin;
}

static bool is_localhost(const char *host, size_t len)
{
    return len == strlen("localhost") && strncasecmp(host, "localhost", len) == 0;
}

/* The name is an IP address or "localhost": nobody can make it mean another machine. */
static bool names_a_machine(const char *host)
{
    size_t len = name_len(host);
    struct inetaddr ip;
    if (is_localhost(host, len)) {
        return true;
    }
    if (len >= 2 && host[0] == '[') {
        host++;
        len -= 2;
    }
    return inetaddr_parse(host, len, &ip) == 0 && ip.family != INETADDR_NIL;
}

bool auth_is_own_page(const char *origin, const char *host)
{
    static const char *const local[] = {"127.0.0.1", "[::1]"};
    if (origin == NULL) {
        return true; /* no browser, or no page */
    }
    const char *page = origin_host(origin);
    size_t len = name_len(page);
    for (size_t i = 0; i < COUNT_OF(local); i++) {
        if (len == strlen(local[i]) && strncmp(page, local[i], len) == 0) {
            return true;
        }
    }
    return is_localhost(page, len) ||
           (host != NULL && page != origin && strcasecmp(page, host) == 0);
}

bool auth_reachable(const struct auth_rules *rules, const struct auth_request *request)
{
    return source_allowed(rules, &request->from) &&
           auth_is_own_page(request->origin, request->host);
}

bool auth_allowed(const struct auth_rules *rules, const struct auth_request *request)
{
    const char *given = credential(request);
    if (strcmp(request->path, "/sso") == 0) {
        return source_allowed(rules, &request->from); /* posted by pages of login services */
    }
    if (!auth_reachable(rules, request)) {
        return false;
    }
    if (needs_no_token(request->path)) {
        return request->host == NULL || names_a_machine(request->host);
    }
    if (given == NULL) {
        return false;
    }
    return token_equal(rules->api_token, given) ||
           (strcmp(request->path, "/metrics") == 0 && token_equal(rules->metrics_token, given));
}
