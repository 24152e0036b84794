/* HTTP requests to the gateway. */
#include "daemon/lanhttp.h"

#include "os/clock.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lanhttp {
    uv_tcp_t tcp;
    uv_timer_t limit;
    uv_connect_t connect;
    uv_write_t write;
    lanhttp_done done;
    void *ctx;
    unsigned open; /* handles not closed yet; the last one frees */
    unsigned reads;
    size_t request_len;
    size_t len; /* of in */
    char request[UPNP_REQUEST_MAX];
    char in[UPNP_ANSWER_MAX];
};

static void on_closed(uv_handle_t *handle)
{
    struct lanhttp *http = handle->data;
    if (--http->open == 0) {
        free(http);
    }
}

void lanhttp_cancel(struct lanhttp *http)
{
    if (!uv_is_closing((uv_handle_t *)&http->tcp)) {
        uv_close((uv_handle_t *)&http->tcp, on_closed);
        uv_close((uv_handle_t *)&http->limit, on_closed);
    }
}

/* Over; what was received stays readable during done. */
static void finish(struct lanhttp *http, const struct upnp_http *answer)
{
    lanhttp_cancel(http);
    http->done(http->ctx, answer);
}

/* Look at what came. True when the request is over. */
static bool look(struct lanhttp *http, bool ended)
{
    struct upnp_http answer;
    int done = upnp_http_read(http->in, http->len, ended, &answer);
    if (done == 0 && http->len < sizeof(http->in) && ++http->reads < LANHTTP_READS_MAX) {
        return false;
    }
    finish(http, done == 1 ? &answer : NULL);
    return true;
}

static void on_limit(uv_timer_t *timer)
{
    finish(timer->data, NULL);
}

static void on_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct lanhttp *http = handle->data;
    (void)suggested;
    *buf = uv_buf_init(http->in + http->len, (unsigned)(sizeof(http->in) - http->len));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct lanhttp *http = stream->data;
    (void)buf;
    http->len += count > 0 ? (size_t)count : 0;
    if (count != 0) {
        (void)look(http, count < 0);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct lanhttp *http = request->data;
    if (status < 0 && !uv_is_closing((uv_handle_t *)&http->tcp)) {
        finish(http, NULL);
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct lanhttp *http = request->data;
    if (uv_is_closing((uv_handle_t *)&http->tcp)) {
        return;
    }
    uv_buf_t buf = uv_buf_init(http->request, (unsigned)http->request_len);
    uv_stream_t *stream = (uv_stream_t *)&http->tcp;
    http->write.data = http;
    if (status < 0 || uv_read_start(stream, on_space, on_read) < 0 ||
        uv_write(&http->write, stream, &buf, 1, on_written) < 0) {
        finish(http, NULL);
    }
}

static struct sockaddr_in socket_address(const struct inetaddr *ip, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&sa.sin_addr, ip->ip, 4);
    return sa;
}

struct lanhttp *lanhttp_start(uv_loop_t *loop, const struct inetaddr *gateway, uint16_t port,
                              const char *text, size_t len, lanhttp_done done, void *ctx)
{
    struct sockaddr_in to = socket_address(gateway, port);
    struct lanhttp *http = len == 0 || len > UPNP_REQUEST_MAX ? NULL : malloc(sizeof(*http));
    if (http == NULL) {
        return NULL;
    }
    http->done = done;
    http->ctx = ctx;
    http->len = 0;
    http->reads = 0;
    http->open = 2;
    http->request_len = len;
    memcpy(http->request, text, len);
    if (uv_tcp_init(loop, &http->tcp) < 0) {
        free(http);
        return NULL;
    }
    (void)uv_timer_init(loop, &http->limit);
    http->tcp.data = http->limit.data = http->connect.data = http;
    if (uv_timer_start(&http->limit, on_limit, LANHTTP_LIMIT_MS, 0) < 0 ||
        uv_tcp_connect(&http->connect, &http->tcp, (struct sockaddr *)&to, on_connected) < 0) {
        lanhttp_cancel(http);
        return NULL;
    }
    return http;
}

/* Wait for events until the deadline. */
static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until_ms - clock_mono_ms();
    return left > 0 && poll(&p, 1, (int)left) == 1;
}

void lanhttp_send_and_wait(const struct inetaddr *gateway, uint16_t port, const char *text,
                           size_t len, int limit_ms)
{
    struct sockaddr_in to = socket_address(gateway, port);
    int64_t until_ms = clock_mono_ms() + limit_ms;
    char answer[256];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    /* The request fits an empty socket buffer, and the first bytes of the answer are enough. */
    (void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
    if (wait_for(fd, POLLOUT, until_ms) &&
        send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len &&
        wait_for(fd, POLLIN, until_ms)) {
        (void)!recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    }
    (void)close(fd);
}
