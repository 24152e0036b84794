/* Codecs of UPnP. Source: UPnP Device Architecture 1.1 sections 1.3, 2, 3; WANIPConnection:1, :2.
 */
#include "daemon/upnp_msg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A borrowed piece of text, not terminated. */
struct span {
    const char *p;
    size_t len;
};

static const char *const service_types[] = {
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
};

static struct span trim(struct span s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.p[0]) != NULL) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && strchr(" \t\r\n", s.p[s.len - 1]) != NULL) {
        s.len--;
    }
    return s;
}

static bool span_is(struct span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* A decimal number up to max. Returns 0; -EBADMSG. */
static int span_number(struct span s, uint32_t max, uint32_t *ret)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n = n * 10 + (unsigned)(s.p[i] - '0');
        if (s.p[i] < '0' || s.p[i] > '9' || n > max) {
            return -EBADMSG;
        }
    }
    *ret = (uint32_t)n;
    return s.len == 0 ? -EBADMSG : 0;
}

/* An IPv4 address. Returns 0; -EBADMSG. */
static int span_ip(struct span s, struct inetaddr *ret)
{
    struct inetaddr ip;
    if (s.len == 0 || memchr(s.p, '/', s.len) != NULL || inetaddr_parse(s.p, s.len, &ip) < 0 ||
        ip.family != INETADDR_V4) {
        return -EBADMSG;
    }
    *ret = ip;
    return 0;
}

/* ---- HTTP ---- */

/* The next line of s, without its end; s moves past it. False when no line is complete. */
static bool next_line(struct span *s, struct span *ret)
{
    const char *end = s->len == 0 ? NULL : memchr(s->p, '\n', s->len);
    if (end == NULL) {
        return false;
    }
    *ret = trim((struct span){s->p, (size_t)(end - s->p)});
    s->len -= (size_t)(end + 1 - s->p);
    s->p = end + 1;
    return true;
}

/* Value of a header line with that name. */
static bool header_value(struct span line, const char *name, struct span *ret)
{
    size_t n = strlen(name);
    if (line.len <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0) {
        return false;
    }
    *ret = trim((struct span){line.p + n + 1, line.len - n - 1});
    return true;
}

/* "HTTP/1.x NNN ..." Returns 0; -EBADMSG. */
static int status_read(struct span line, unsigned *ret)
{
    uint32_t status;
    if (line.len < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || line.p[8] != ' ' ||
        span_number((struct span){line.p + 9, 3}, 999, &status) < 0) {
        return -EBADMSG;
    }
    *ret = status;
    return 0;
}

/* Size at the begin of a chunk. Returns 0; -EBADMSG. */
static int chunk_size(struct span line, size_t *ret)
{
    size_t n = 0;
    size_t i = 0;
    for (; i < line.len && line.p[i] != ';' && line.p[i] != ' '; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = line.p[i] == '\0' ? NULL : strchr(digits, line.p[i] | 0x20);
        if (digit == NULL || n > UPNP_ANSWER_MAX) {
            return -EBADMSG;
        }
        n = n * 16 + (size_t)(digit - digits);
    }
    *ret = n;
    return i == 0 ? -EBADMSG : 0;
}

/* Go through a chunked body; with out put it together there (not behind its own place).
 * Returns 1 complete; 0 more is needed; -EBADMSG. */
static int chunks_walk(struct span in, char *out, size_t *ret_len)
{
    size_t total = 0;
    struct span line;
    while (next_line(&in, &line)) {
        size_t n;
        if (chunk_size(line, &n) < 0) {
            return -EBADMSG;
        }
        if (n == 0) {
            *ret_len = total;
            return 1;
        }
        if (in.len < n) {
            return 0;
        }
        if (out != NULL) {
            memmove(out + total, in.p, n);
        }
        total += n;
        in.p += n;
        in.len -= n;
        if (in.len < 2) {
            return 0;
        }
        if (!next_line(&in, &line) || line.len != 0) {
            return -EBADMSG;
        }
    }
    return 0;
}

int upnp_http_read(char *data, size_t len, bool ended, struct upnp_http *ret)
{
    struct span rest = {data, len};
    struct span line;
    struct span value;
    struct upnp_http http = {0};
    uint32_t length = 0;
    bool has_length = false;
    bool chunked = false;
    if (!next_line(&rest, &line)) {
        return ended ? -EBADMSG : 0;
    }
    int err = status_read(line, &http.status);
    for (line.len = 1; err == 0 && line.len > 0;) {
        if (!next_line(&rest, &line)) {
            return ended ? -EBADMSG : 0;
        }
        if (header_value(line, "content-length", &value)) {
            err = span_number(value, UPNP_ANSWER_MAX, &length);
            has_length = true;
        } else if (header_value(line, "transfer-encoding", &value)) {
            chunked = value.len == 7 && strncasecmp(value.p, "chunked", 7) == 0;
        }
    }
    if (err < 0) {
        return err;
    }
    char *body = data + (rest.p - data);
    int done = 1;
    http.body = body;
    http.body_len = rest.len;
    if (chunked) {
        done = chunks_walk(rest, NULL, &http.body_len);
        done = done == 1 ? chunks_walk(rest, body, &http.body_len) : done;
    } else if (has_length) {
        done = rest.len >= length;
        http.body_len = length;
    } else {
        done = ended;
    }
    if (done == 1) {
        *ret = http;
    }
    return done == 0 && ended ? -EBADMSG : done;
}

/* ---- search ---- */

size_t upnp_search_write(char out[UPNP_SEARCH_MAX], unsigned version)
{
    int n = snprintf(out, UPNP_SEARCH_MAX,
                     "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
                     "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:%u\r\n"
                     "MAN: \"ssdp:discover\"\r\nMX: 1\r\n\r\n",
                     version);
    return n < 0 || n >= UPNP_SEARCH_MAX ? 0 : (size_t)n;
}

int upnp_search_read(const char *text, size_t len, const struct inetaddr *gateway,
                     struct upnp_url *ret)
{
    static const char device[] = "urn:schemas-upnp-org:device:InternetGatewayDevice:";
    struct span rest = {text, len};
    struct span line;
    struct span value;
    struct span location = {0};
    unsigned status = 0;
    bool is_gateway = false;
    if (!next_line(&rest, &line) || status_read(line, &status) < 0 || status != 200) {
        return -EBADMSG;
    }
    while (next_line(&rest, &line)) {
        if (header_value(line, "location", &value)) {
            location = value;
        } else if (header_value(line, "st", &value)) {
            is_gateway =
                value.len == sizeof(device) && memcmp(value.p, device, sizeof(device) - 1) == 0;
        }
    }
    return is_gateway ? upnp_url_read(location.p, location.len, gateway, NULL, ret) : -EBADMSG;
}

/* Returns 0; -EBADMSG too long or with characters that do not belong in a request line. */
static int path_append(struct upnp_url *url, struct span path)
{
    size_t at = strlen(url->path);
    if (path.len >= UPNP_PATH_MAX - at) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (path.p[i] <= ' ' || path.p[i] > '~') {
            return -EBADMSG;
        }
    }
    memcpy(url->path + at, path.p, path.len);
    url->path[at + path.len] = '\0';
    return 0;
}

/* What follows "http://". Returns 0; -EBADMSG; -EACCES. */
static int absolute_read(struct span s, const struct inetaddr *gateway, struct upnp_url *url)
{
    const char *slash = s.len == 0 ? NULL : memchr(s.p, '/', s.len);
    struct span host = {s.p, slash == NULL ? s.len : (size_t)(slash - s.p)};
    struct span path = {host.p + host.len, s.len - host.len};
    const char *colon = host.len == 0 ? NULL : memchr(host.p, ':', host.len);
    uint32_t port = 80;
    struct inetaddr ip;
    if (colon != NULL) {
        struct span digits = {colon + 1, (size_t)(host.p + host.len - colon - 1)};
        host.len = (size_t)(colon - host.p);
        if (span_number(digits, UINT16_MAX, &port) < 0 || port == 0) {
            return -EBADMSG;
        }
    }
    if (span_ip(host, &ip) < 0 || !inetaddr_ip_equal(&ip, gateway)) {
        return -EACCES;
    }
    url->port = (uint16_t)port;
    return path_append(url, path.len == 0 ? (struct span){"/", 1} : path);
}

int upnp_url_read(const char *text, size_t len, const struct inetaddr *gateway,
                  const struct upnp_url *base, struct upnp_url *ret)
{
    static const char scheme[] = "http://";
    struct span s = trim((struct span){text, len});
    struct upnp_url url = {0};
    int err;
    if (s.len >= sizeof(scheme) - 1 && strncasecmp(s.p, scheme, sizeof(scheme) - 1) == 0) {
        s.p += sizeof(scheme) - 1;
        s.len -= sizeof(scheme) - 1;
        err = absolute_read(s, gateway, &url);
    } else if (s.len == 0 || base == NULL) {
        err = -EBADMSG;
    } else if (memmem(s.p, s.len, "//", 2) != NULL) {
        err = -EACCES; /* another scheme or host */
    } else {
        url.port = base->port;
        if (s.p[0] != '/') {
            const char *slash = strrchr(base->path, '/');
            size_t dir = slash == NULL ? 0 : (size_t)(slash - base->path) + 1;
            memcpy(url.path, base->path, dir);
            url.path[dir] = '\0';
        }
        err = path_append(&url, s);
    }
    if (err == 0) {
        *ret = url;
    }
    return err;
}

/* ---- XML ---- */

/* The next tag of s, without its brackets; s moves behind it. */
static bool next_tag(struct span *s, struct span *ret)
{
    const char *open = s->len == 0 ? NULL : memchr(s->p, '<', s->len);
    const char *end = open == NULL ? NULL : memchr(open, '>', s->len - (size_t)(open - s->p));
    if (end == NULL) {
        return false;
    }
    *ret = (struct span){open + 1, (size_t)(end - open - 1)};
    s->len -= (size_t)(end + 1 - s->p);
    s->p = end + 1;
    return true;
}

/* True if a tag (without leading '/') has that name, of any namespace. */
static bool tag_is(struct span tag, const char *name)
{
    size_t n = 0;
    while (n < tag.len && strchr(" \t\r\n/", tag.p[n]) == NULL) {
        n++;
    }
    const char *colon = n == 0 ? NULL : memchr(tag.p, ':', n);
    size_t skip = colon == NULL ? 0 : (size_t)(colon + 1 - tag.p);
    return span_is((struct span){tag.p + skip, n - skip}, name);
}

/* Content of the next element of s with that name; s moves behind it. */
static bool element(struct span *s, const char *name, struct span *ret)
{
    struct span tag;
    do {
        if (!next_tag(s, &tag)) {
            return false;
        }
    } while (!tag_is(tag, name) || tag.p[tag.len - 1] == '/');
    const char *begin = s->p;
    do {
        if (!next_tag(s, &tag)) {
            return false;
        }
    } while (tag.len == 0 || tag.p[0] != '/' ||
             !tag_is((struct span){tag.p + 1, tag.len - 1}, name));
    *ret = trim((struct span){begin, (size_t)(tag.p - 1 - begin)});
    return true;
}

/* The same from the begin of a text. */
static bool element_of(struct span s, const char *name, struct span *ret)
{
    return element(&s, name, ret);
}

/* A URL in XML: "&amp;" is the only entity one holds. Returns 0; negative errno. */
static int url_in_xml(struct span s, const struct inetaddr *gateway, const struct upnp_url *base,
                      struct upnp_url *ret)
{
    char text[UPNP_PATH_MAX + 64];
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (n == sizeof(text)) {
            return -EBADMSG;
        }
        text[n++] = s.p[i];
        if (s.len - i >= 5 && memcmp(s.p + i, "&amp;", 5) == 0) {
            i += 4;
        }
    }
    return upnp_url_read(text, n, gateway, base, ret);
}

size_t upnp_services_read(const char *xml, size_t len, const struct inetaddr *gateway,
                          const struct upnp_url *location,
                          struct upnp_service out[UPNP_SERVICES_MAX])
{
    struct span all = {xml, len};
    struct span value;
    struct upnp_url base = *location;
    size_t count = 0;
    if (element_of(all, "URLBase", &value) && value.len > 0 &&
        url_in_xml(value, gateway, NULL, &base) < 0) {
        return 0;
    }
    while (count < UPNP_SERVICES_MAX && element(&all, "service", &value)) {
        struct span type;
        struct span url;
        if (!element_of(value, "serviceType", &type) || !element_of(value, "controlURL", &url)) {
            continue;
        }
        for (size_t i = 0; i < COUNT_OF(service_types); i++) {
            struct upnp_service service = {.type = service_types[i]};
            if (span_is(type, service_types[i]) &&
                url_in_xml(url, gateway, &base, &service.control) == 0) {
                out[count++] = service;
                break;
            }
        }
    }
    return count;
}

/* ---- calls ---- */

static size_t fits(int n)
{
    return n < 0 || n >= UPNP_REQUEST_MAX ? 0 : (size_t)n;
}

size_t upnp_get_write(char out[UPNP_REQUEST_MAX], const struct inetaddr *gateway,
                      const struct upnp_url *url)
{
    char ip[INETADDR_TEXT_LEN];
    inetaddr_print_ip(gateway, ip);
    return fits(snprintf(out, UPNP_REQUEST_MAX,
                         "GET %s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\n\r\n", url->path,
                         ip, url->port));
}

static void write_arguments(char *out, size_t cap, enum upnp_call call,
                            const struct upnp_mapping *m)
{
    char ip[INETADDR_TEXT_LEN];
    int n = 0;
    out[0] = '\0';
    if (call != UPNP_GET_ADDRESS) {
        n = snprintf(out, cap,
                     "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort>"
                     "<NewProtocol>UDP</NewProtocol>",
                     m->external);
    }
    if (call == UPNP_ADD_MAPPING) {
        inetaddr_print_ip(&m->local, ip);
        (void)snprintf(out + n, cap - (size_t)n,
                       "<NewInternalPort>%u</NewInternalPort>"
                       "<NewInternalClient>%s</NewInternalClient><NewEnabled>1</NewEnabled>"
                       "<NewPortMappingDescription>panlan/%010" PRIx64
                       "@%u</NewPortMappingDescription>"
                       "<NewLeaseDuration>%u</NewLeaseDuration>",
                       m->local.port, ip, m->node, m->local.port, m->lifetime_s);
    }
}

size_t upnp_call_write(char out[UPNP_REQUEST_MAX], const struct inetaddr *gateway,
                       const struct upnp_service *service, enum upnp_call call,
                       const struct upnp_mapping *mapping)
{
    static const char *const names[] = {
        [UPNP_GET_ADDRESS] = "GetExternalIPAddress",
        [UPNP_GET_MAPPING] = "GetSpecificPortMappingEntry",
        [UPNP_ADD_MAPPING] = "AddPortMapping",
        [UPNP_DELETE_MAPPING] = "DeletePortMapping",
    };
    char ip[INETADDR_TEXT_LEN];
    char arguments[640];
    char body[1152];
    inetaddr_print_ip(gateway, ip);
    write_arguments(arguments, sizeof(arguments), call, mapping);
    int len = snprintf(body, sizeof(body),
                       "<?xml version=\"1.0\"?>\r\n"
                       "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
                       "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">"
                       "<s:Body><u:%s xmlns:u=\"%s\">%s</u:%s></s:Body></s:Envelope>\r\n",
                       names[call], service->type, arguments, names[call]);
    return fits(snprintf(out, UPNP_REQUEST_MAX,
                         "POST %s HTTP/1.1\r\nHost: %s:%u\r\n"
                         "Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"%s#%s\"\r\n"
                         "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                         service->control.path, ip, service->control.port, service->type,
                         names[call], len, body));
}

void upnp_answer_read(const struct upnp_http *http, struct upnp_answer *ret)
{
    struct span body = {http->body, http->body_len};
    struct span value;
    uint32_t number;
    *ret = (struct upnp_answer){0};
    if (http->status != 200) {
        ret->error = http->status;
        if (element_of(body, "errorCode", &value) && span_number(value, 9999, &number) == 0 &&
            number != 0) {
            ret->error = number;
        }
        return;
    }
    if (element_of(body, "NewExternalIPAddress", &value)) {
        (void)!span_ip(value, &ret->ip);
    }
    if (element_of(body, "NewInternalClient", &value) && span_ip(value, &ret->client) == 0) {
        number = 0;
        (void)!(element_of(body, "NewInternalPort", &value) &&
                span_number(value, UINT16_MAX, &number) == 0);
        ret->client.port = (uint16_t)number;
    }
}
