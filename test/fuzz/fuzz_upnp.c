/* What a UPnP gateway says: answers to a search, HTTP, descriptions, answers to calls. */
#include "fuzz.h"

#include "daemon/upnp_msg.h"

#include <stdlib.h>
#include <string.h>

static const struct inetaddr gateway = {.family = INETADDR_V4, .ip = {192, 168, 1, 1}};
static const struct upnp_url location = {.port = 5000, .path = "/dir/root.xml"};

static void check_url(const struct upnp_url *url)
{
    size_t len = strnlen(url->path, UPNP_PATH_MAX);
    fuzz_require(url->port != 0 && url->path[0] == '/' && len < UPNP_PATH_MAX, "a URL");
    for (size_t i = 0; i < len; i++) {
        fuzz_require(url->path[i] > ' ' && url->path[i] <= '~', "fit for a request line");
    }
}

static void check_body(const char *body, size_t len)
{
    struct upnp_service services[UPNP_SERVICES_MAX];
    struct upnp_mapping mapping = {.local = {.family = INETADDR_V4}};
    struct upnp_answer answer;
    char out[UPNP_REQUEST_MAX];
    size_t count = upnp_services_read(body, len, &gateway, &location, services);
    fuzz_require(count <= UPNP_SERVICES_MAX, "bounded");
    for (size_t i = 0; i < count; i++) {
        check_url(&services[i].control);
        fuzz_require(upnp_call_write(out, &gateway, &services[i], UPNP_ADD_MAPPING, &mapping) > 0,
                     "a call fits");
    }
    for (unsigned status = 200; status <= 500; status += 300) {
        struct upnp_http http = {status, body, len};
        upnp_answer_read(&http, &answer);
        fuzz_require((status == 200) == (answer.error == 0), "errors are errors");
        fuzz_require(answer.ip.family == INETADDR_NIL || answer.ip.family == INETADDR_V4, "IPv4");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct upnp_http http;
    struct upnp_url url;
    char *copy = malloc(len > 0 ? len : 1);
    fuzz_require(copy != NULL, "memory");
    memcpy(copy, data == NULL ? (const uint8_t *)"" : data, len);
    if (upnp_search_read(copy, len, &gateway, &url) == 0) {
        check_url(&url);
    }
    if (upnp_url_read(copy, len, &gateway, &location, &url) == 0) {
        check_url(&url);
    }
    check_body(copy, len);
    int open = upnp_http_read(copy, len, false, &http);
    if (open == 1) {
        fuzz_require(http.body >= copy && http.body + http.body_len <= copy + len, "inside");
        check_body(http.body, http.body_len);
    } else {
        int ended = upnp_http_read(copy, len, true, &http);
        fuzz_require(ended == 1 || ended < 0, "no more can come");
        fuzz_require(open == 0 || ended < 0, "what is bad stays bad");
    }
    free(copy);
    return 0;
}
