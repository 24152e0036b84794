/* HTTP on the control loop: own listening sockets, libmicrohttpd for the rest, driven by its epoll
 * descriptor. Source: spec 05 section 3.1. */
#include "daemon/http.h"

#include "daemon/http_seats.h"
#include "daemon/log.h"
#include "daemon/mhd.h"
#include "os/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LISTENERS = 2, /* IPv4, IPv6 */
    BACKLOG = 64,
    UNLOAD_MS = 30000, /* idle time after which the library goes */
    MEMORY_PER_CONNECTION = 32768,
    BODY_FIRST = 4096,
};

struct http {
    uv_loop_t *loop;
    uint16_t port;
    bool open; /* all addresses, not only loopback */
    http_admission admission;
    http_handler handler;
    void *ctx;
    int listen_fd[LISTENERS]; /* -1 = none */
    uv_poll_t *listen_poll[LISTENERS];
    struct mhd mhd;            /* library NULL = not loaded */
    struct MHD_Daemon *daemon; /* while loaded */
    uv_poll_t *poll;           /* of the library's epoll descriptor */
    uv_timer_t *timer;         /* the library's timeouts, then unloading */
    unsigned connections;
    struct seat *arriving; /* of the connection being given to the library */
    struct seats seats;
};

/* A request from its first line to its end. */
struct exchange {
    struct http_request request;
    char *method; /* copies, for answers that come later */
    char *path;
    char *query;
    char *location; /* copy for the answer */
    char *body;
    size_t len;
    size_t cap;
    bool started;   /* headers are complete */
    bool refused;   /* not admitted: the body is dropped */
    bool too_long;  /* the body is dropped */
    bool handling;  /* the handler runs: an answer is sent when it returns */
    bool suspended; /* the library waits for http_answer */
    bool answered;
    struct http_reply reply;
};

static void run_library(struct http *http);
static void on_timer(uv_timer_t *timer);

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_poll(uv_poll_t **poll)
{
    if (*poll != NULL) {
        (void)uv_poll_stop(*poll);
        uv_close((uv_handle_t *)*poll, on_handle_closed);
        *poll = NULL;
    }
}

static void unload(struct http *http)
{
    if (http->mhd.library == NULL) {
        return;
    }
    close_poll(&http->poll);
    http->mhd.stop_daemon(http->daemon);
    http->daemon = NULL;
    mhd_unload(&http->mhd);
}

static void on_timer(uv_timer_t *timer)
{
    struct http *http = timer->data;
    if (http->connections == 0) {
        unload(http);
    } else {
        run_library(http);
    }
}

static int64_t now_of(const struct http *http)
{
    return (int64_t)uv_now(http->loop);
}

/* Let the library work, then arrange for the next time. */
static void run_library(struct http *http)
{
    seats_sweep(&http->seats, now_of(http));
    (void)http->mhd.run(http->daemon);
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    if (http->connections == 0) {
        (void)uv_timer_start(http->timer, on_timer, UNLOAD_MS, 0);
    } else if (http->mhd.get_timeout(http->daemon, &timeout_ms) == MHD_YES) {
        (void)uv_timer_start(http->timer, on_timer, timeout_ms, 0);
    } else {
        (void)uv_timer_stop(http->timer);
    }
}

static void on_library(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run_library(poll->data);
}

static struct inetaddr from_sockaddr(const struct sockaddr *sa)
{
    struct inetaddr a = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        a.family = INETADDR_V4;
        memcpy(a.ip, &in.sin_addr, 4);
        a.port = ntohs(in.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        a.family = INETADDR_V6;
        memcpy(a.ip, &in6.sin6_addr, 16);
        a.port = ntohs(in6.sin6_port);
    }
    return a;
}

static enum MHD_Result append_body(struct exchange *x, const char *data, size_t len)
{
    if (x->refused) {
        return MHD_YES;
    }
    if (x->too_long || len > HTTP_BODY_MAX - x->len) {
        x->too_long = true; /* the rest is read and dropped */
        return MHD_YES;
    }
    if (x->len + len + 1 > x->cap) {
        size_t cap = x->cap == 0 ? BODY_FIRST : x->cap;
        while (cap < x->len + len + 1) {
            cap *= 2;
        }
        char *grown = realloc(x->body, cap);
        if (grown == NULL) {
            return MHD_NO;
        }
        x->body = grown;
        x->cap = cap;
    }
    memcpy(x->body + x->len, data, len);
    x->len += len;
    x->body[x->len] = '\0';
    return MHD_YES;
}

static void enter(struct http *http, struct MHD_Connection *connection, enum seat_phase phase)
{
    const union MHD_ConnectionInfo *info =
        http->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != NULL && info->socket_context != NULL) {
        seats_enter(info->socket_context, phase, now_of(http));
    }
}

static enum MHD_Result send_reply(struct http *http, struct MHD_Connection *connection,
                                  struct exchange *x)
{
    static char empty[1];
    struct http_reply *reply = &x->reply;
    struct MHD_Response *response =
        reply->body == NULL
            ? http->mhd.response_from_buffer(0, empty, MHD_RESPMEM_PERSISTENT)
            : http->mhd.response_from_buffer(reply->len, reply->body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        return MHD_NO;
    }
    reply->body = NULL;
    enter(http, connection, SEAT_WRITING);
    if (reply->type != NULL) {
        (void)http->mhd.add_header(response, "Content-Type", reply->type);
        (void)http->mhd.add_header(response, "Cache-Control", "no-store");
        (void)http->mhd.add_header(response, "X-Content-Type-Options", "nosniff");
    }
    if (reply->location != NULL) {
        (void)http->mhd.add_header(response, "Location", reply->location);
    }
    for (size_t i = 0; i < HTTP_EXTRA_MAX; i++) {
        const struct http_extra *extra = &x->request.extra[i];
        if (extra->name != NULL) {
            (void)http->mhd.add_header(response, extra->name, extra->value);
        }
    }
    enum MHD_Result result = http->mhd.queue_response(connection, reply->status, response);
    http->mhd.destroy_response(response);
    return result;
}

/* Fill what the handler sees. */
static void describe(struct http *http, struct MHD_Connection *connection, struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        http->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    x->request = (struct http_request){
        .method = x->method,
        .path = x->path,
        .query = x->query,
        .body = x->body == NULL ? "" : x->body,
        .body_len = x->len,
        .http = http,
        .connection = connection,
    };
    if (info != NULL && info->client_addr != NULL) {
        x->request.from = from_sockaddr(info->client_addr);
    }
}

/* The request is complete: hand it on, send the answer if it is there. */
static enum MHD_Result dispatch(struct http *http, struct MHD_Connection *connection,
                                struct exchange *x)
{
    describe(http, connection, x);
    enter(http, connection, SEAT_HANDLING);
    x->handling = true;
    if (x->too_long) {
        http_answer(&x->request, &(struct http_reply){.status = 413});
    } else {
        http->handler(http->ctx, &x->request);
    }
    x->handling = false;
    if (x->answered) {
        return send_reply(http, connection, x);
    }
    x->suspended = true;
    http->mhd.suspend(connection);
    return MHD_YES;
}

void http_answer(struct http_request *request, const struct http_reply *reply)
{
    struct exchange *x = CONTAINER_OF(request, struct exchange, request);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): constant for handlers, not for us */
    struct http *http = (struct http *)(uintptr_t)request->http;
    x->reply = *reply;
    if (reply->location != NULL) {
        x->location = strdup(reply->location);
        x->reply.location = x->location;
    }
    x->answered = true;
    if (x->suspended) {
        x->suspended = false;
        http->mhd.resume(request->connection);
        (void)uv_timer_start(http->timer, on_timer, 0, 0);
    }
}

static void exchange_free(struct exchange *x)
{
    if (x != NULL) {
        free(x->method);
        free(x->path);
        free(x->query);
        free(x->body);
        free(x->location);
        free(x->reply.body);
        free(x);
    }
}

/* First sight of a request: the target with its query. The result is the request's state. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)cls;
    (void)connection;
    struct exchange *x = calloc(1, sizeof(*x));
    const char *mark = strchr(uri, '?');
    if (x != NULL && mark != NULL) {
        x->query = strdup(mark + 1);
    }
    return x;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **state)
{
    struct http *http = cls;
    struct exchange *x = *state;
    (void)version;
    if (x == NULL) {
        return MHD_NO;
    }
    if (!x->started) {
        x->started = true;
        x->method = strdup(method);
        x->path = strdup(url);
        if (x->method == NULL || x->path == NULL) {
            return MHD_NO;
        }
        describe(http, connection, x);
        x->refused = !http->admission(http->ctx, &x->request);
        return MHD_YES;
    }
    if (*data_len > 0) {
        enum MHD_Result result = append_body(x, data, *data_len);
        *data_len = 0;
        return result;
    }
    return x->answered ? send_reply(http, connection, x) : dispatch(http, connection, x);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)code;
    enter(cls, connection, SEAT_READING);
    exchange_free(*state);
    *state = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = cls;
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        http->connections++;
        *state = http->arriving;
        http->arriving = NULL;
    } else if (http->connections > 0) {
        http->connections--;
        seats_leave(*state);
    }
}

/* The library's complaints about broken requests are of no interest. */
static void on_library_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    (void)fmt;
    (void)args;
}

static int watch_library(struct http *http)
{
    const union MHD_DaemonInfo *info =
        http->mhd.get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    http->poll = info == NULL ? NULL : calloc(1, sizeof(*http->poll));
    if (http->poll == NULL) {
        return -ENOMEM;
    }
    int err = uv_poll_init(http->loop, http->poll, info->epoll_fd);
    if (err < 0) {
        free(http->poll);
        http->poll = NULL;
        return err;
    }
    http->poll->data = http;
    return uv_poll_start(http->poll, UV_READABLE, on_library);
}

static int load(struct http *http)
{
    const char *error = "";
    if (http->mhd.library != NULL) {
        return 0;
    }
    int err = mhd_load(&http->mhd, &error);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "http", "cannot load the HTTP library error=\"%s\"", error);
        return err;
    }
    http->connections = 0;
    http->daemon = http->mhd.start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
        NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_SEATS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION, MHD_OPTION_END);
    if (http->daemon == NULL) {
        mhd_unload(&http->mhd);
        return -ENOMEM;
    }
    err = watch_library(http);
    if (err < 0) {
        unload(http);
    }
    return err;
}

/* Give a connection to the library, or close it if there is no seat for it. */
static void welcome(struct http *http, int conn, const struct sockaddr_storage *from, socklen_t len)
{
    struct inetaddr source = from_sockaddr((const struct sockaddr *)from);
    http->arriving = seats_take(&http->seats, &source, conn, now_of(http));
    if (http->arriving == NULL) {
        (void)close(conn);
        return;
    }
    /* On failure the library has closed the socket, and has not taken the seat. */
    (void)http->mhd.add_connection(http->daemon, conn, (const struct sockaddr *)from, len);
    if (http->arriving != NULL) {
        seats_leave(http->arriving);
        http->arriving = NULL;
    }
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct http *http = poll->data;
    uv_os_fd_t fd;
    (void)status;
    (void)events;
    if (uv_fileno((uv_handle_t *)poll, &fd) < 0) {
        return;
    }
    for (int i = 0; i < BACKLOG; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int conn = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (conn < 0) {
            break;
        }
        if (load(http) < 0) {
            (void)close(conn);
            return;
        }
        welcome(http, conn, &from, len);
    }
    if (http->mhd.library != NULL) {
        run_library(http);
    }
}

/* The wildcard, or loopback. */
static int bind_listener(bool v6, bool open, uint16_t port)
{
    struct inetaddr local = {.family = v6 ? INETADDR_V6 : INETADDR_V4, .port = port};
    if (!open && v6) {
        local.ip[15] = 1;
    } else if (!open) {
        local.ip[0] = 127;
        local.ip[3] = 1;
    }
    return tcp_listen(&local);
}

static void close_listener(struct http *http, int i)
{
    close_poll(&http->listen_poll[i]);
    if (http->listen_fd[i] >= 0) {
        (void)close(http->listen_fd[i]);
        http->listen_fd[i] = -1;
    }
}

static int open_listener(struct http *http, int i)
{
    int fd = bind_listener(i == 1, http->open, http->port);
    if (fd < 0) {
        return fd;
    }
    http->listen_fd[i] = fd;
    http->listen_poll[i] = calloc(1, sizeof(uv_poll_t));
    if (http->listen_poll[i] == NULL || uv_poll_init(http->loop, http->listen_poll[i], fd) < 0) {
        free(http->listen_poll[i]);
        http->listen_poll[i] = NULL;
        close_listener(http, i);
        return -ENOMEM;
    }
    http->listen_poll[i]->data = http;
    return uv_poll_start(http->listen_poll[i], UV_READABLE, on_accept);
}

static int open_listeners(struct http *http)
{
    int v4 = open_listener(http, 0);
    int v6 = open_listener(http, 1);
    if (v4 == -EADDRINUSE || v6 == -EADDRINUSE) {
        return -EADDRINUSE;
    }
    return v4 < 0 && v6 < 0 ? v4 : 0;
}

int http_start(uv_loop_t *loop, uint16_t port, bool open, http_admission admission,
               http_handler handler, void *ctx, struct http **ret)
{
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL) {
        return -ENOMEM;
    }
    *http = (struct http){.loop = loop,
                          .port = port,
                          .open = open,
                          .admission = admission,
                          .handler = handler,
                          .ctx = ctx};
    http->listen_fd[0] = http->listen_fd[1] = -1;
    http->timer = calloc(1, sizeof(*http->timer));
    if (http->timer == NULL) {
        free(http);
        return -ENOMEM;
    }
    (void)uv_timer_init(loop, http->timer);
    http->timer->data = http;
    int err = open_listeners(http);
    if (err < 0) {
        http_stop(http);
        return err;
    }
    *ret = http;
    return 0;
}

int http_set_open(struct http *http, bool open)
{
    if (http->open == open) {
        return 0;
    }
    http->open = open;
    for (int i = 0; i < LISTENERS; i++) {
        close_listener(http, i);
    }
    return open_listeners(http);
}

void http_stop(struct http *http)
{
    if (http == NULL) {
        return;
    }
    for (int i = 0; i < LISTENERS; i++) {
        close_listener(http, i);
    }
    unload(http);
    uv_close((uv_handle_t *)http->timer, on_handle_closed);
    free(http);
}

const char *http_header(const struct http_request *request, const char *name)
{
    return request->http->mhd.lookup_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_request *request, const char *name)
{
    return request->http->mhd.lookup_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}
