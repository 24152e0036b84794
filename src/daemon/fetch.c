/* libcurl in threads of the loop's pool. */
#include "daemon/fetch.h"

#include "os/library.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

#define AGENT "panlan/" PANLAN_VERSION

enum { CONNECT_TIMEOUT_S = 10 };

struct functions {
    CURL *(*init)(void);
    CURLcode (*set)(CURL *handle, CURLoption option, ...);
    CURLcode (*perform)(CURL *handle);
    CURLcode (*get)(CURL *handle, CURLINFO info, ...);
    void (*cleanup)(CURL *handle);
    const char *(*error_text)(CURLcode code);
    struct curl_slist *(*list_add)(struct curl_slist *list, const char *text);
    void (*list_free)(struct curl_slist *list);
};

struct request {
    uv_work_t work;
    struct fetch *fetch;
    fetch_done done;
    void *ctx;
    char *url;
    char *headers[FETCH_HEADERS_MAX];
    size_t header_count;
    char *body; /* NULL for GET */
    size_t body_len;
    struct fetch_result result;
    char *answer; /* NUL-terminated */
};

void fetch_init(struct fetch *fetch, uv_loop_t *loop)
{
    fetch->loop = loop;
    fetch->running = 0;
    atomic_init(&fetch->stopping, false);
}

void fetch_stop(struct fetch *fetch)
{
    atomic_store(&fetch->stopping, true);
}

static void request_free(struct request *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        free(r->headers[i]);
    }
    free(r->url);
    free(r->body);
    free(r->answer);
    free(r);
}

/* ---- in the thread ---- */

static int load(struct functions *f, void **library)
{
    const struct library_symbol table[] = {
        {"curl_easy_init", &f->init},        {"curl_easy_setopt", &f->set},
        {"curl_easy_perform", &f->perform},  {"curl_easy_getinfo", &f->get},
        {"curl_easy_cleanup", &f->cleanup},  {"curl_easy_strerror", &f->error_text},
        {"curl_slist_append", &f->list_add}, {"curl_slist_free_all", &f->list_free},
    };
    const char *error = "";
    int err = library_open("libcurl.so.4", table, COUNT_OF(table), library, &error);
    return err == 0 ? 0
                    : library_open("libcurl-gnutls.so.4", table, COUNT_OF(table), library, &error);
}

/* Keep what fits, read on: the sender shall see his answer taken. */
static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct request *r = ctx;
    size_t len = size * count;
    size_t room = FETCH_ANSWER_MAX - r->result.len;
    size_t take = len < room ? len : room;
    char *grown = realloc(r->answer, r->result.len + take + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + r->result.len, data, take);
    r->answer = grown;
    r->result.len += take;
    r->answer[r->result.len] = '\0';
    r->result.is_cut = r->result.is_cut || take < len;
    return r->result.is_cut ? 0 : len; /* no more of this */
}

/* Called all the time: non-zero ends the request. */
static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct request *r = ctx;
    (void)down_total, (void)down, (void)up_total, (void)up;
    return atomic_load(&r->fetch->stopping) ? 1 : 0;
}

static void configure(const struct functions *f, CURL *handle, struct request *r,
                      struct curl_slist *headers)
{
    (void)f->set(handle, CURLOPT_URL, r->url);
    (void)f->set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)f->set(handle, CURLOPT_USERAGENT, AGENT);
    (void)f->set(handle, CURLOPT_NOSIGNAL, 1L);
    (void)f->set(handle, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    (void)f->set(handle, CURLOPT_TIMEOUT, (long)FETCH_TIMEOUT_S);
    (void)f->set(handle, CURLOPT_HTTPHEADER, headers);
    (void)f->set(handle, CURLOPT_WRITEFUNCTION, on_data);
    (void)f->set(handle, CURLOPT_WRITEDATA, (void *)r);
    (void)f->set(handle, CURLOPT_NOPROGRESS, 0L);
    (void)f->set(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)f->set(handle, CURLOPT_XFERINFODATA, (void *)r);
    if (r->body != NULL) {
        (void)f->set(handle, CURLOPT_POSTFIELDSIZE, (long)r->body_len);
        (void)f->set(handle, CURLOPT_POSTFIELDS, r->body);
    }
}

static void fail(struct request *r, const char *why)
{
    free(r->answer);
    r->answer = strdup(why);
    r->result.len = r->answer != NULL ? strlen(r->answer) : 0;
    r->result.status = 0;
}

static void perform(const struct functions *f, struct request *r)
{
    CURL *handle = f->init();
    struct curl_slist *headers = f->list_add(NULL, "Expect:");
    if (handle == NULL || headers == NULL) {
        f->list_free(headers);
        fail(r, "out of memory");
        return;
    }
    for (size_t i = 0; i < r->header_count; i++) {
        headers = f->list_add(headers, r->headers[i]);
    }
    configure(f, handle, r, headers);
    CURLcode code = f->perform(handle);
    (void)f->get(handle, CURLINFO_RESPONSE_CODE, &r->result.status);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && r->result.is_cut)) {
        fail(r, f->error_text(code));
    }
    f->list_free(headers);
    f->cleanup(handle);
}

static void on_work(uv_work_t *work)
{
    struct request *r = CONTAINER_OF(work, struct request, work);
    struct functions f;
    void *library = NULL;
    if (load(&f, &library) != 0) {
        fail(r, "libcurl is not installed");
        return;
    }
    perform(&f, r);
    /* The library stays: it has state of its own that does not survive being unloaded. */
}

/* ---- on the loop ---- */

static void on_worked(uv_work_t *work, int status)
{
    struct request *r = CONTAINER_OF(work, struct request, work);
    if (status != 0) {
        fail(r, "stopping");
    }
    r->result.body = r->answer != NULL ? r->answer : "";
    r->fetch->running--;
    r->done(r->ctx, &r->result);
    request_free(r);
}

static struct request *request_new(const char *url, const char *const *headers, size_t header_count,
                                   const char *body, size_t body_len)
{
    struct request *r = calloc(1, sizeof(*r));
    bool good = r != NULL && header_count <= FETCH_HEADERS_MAX;
    if (r == NULL) {
        return NULL;
    }
    r->url = strdup(url);
    good = good && r->url != NULL;
    for (size_t i = 0; good && i < header_count; i++) {
        r->headers[i] = strdup(headers[i]);
        good = r->headers[i] != NULL;
        r->header_count = i + 1;
    }
    if (good && body != NULL) {
        r->body = malloc(body_len + 1);
        good = r->body != NULL;
        if (good) {
            memcpy(r->body, body, body_len);
            r->body_len = body_len;
        }
    }
    if (!good) {
        request_free(r);
        return NULL;
    }
    return r;
}

int fetch_start(struct fetch *fetch, const char *url, const char *const *headers,
                size_t header_count, const char *body, size_t body_len, fetch_done done, void *ctx)
{
    if (fetch->running >= FETCH_RUNNING_MAX || atomic_load(&fetch->stopping)) {
        return -EAGAIN;
    }
    struct request *r = request_new(url, headers, header_count, body, body_len);
    if (r == NULL) {
        return -ENOMEM;
    }
    r->fetch = fetch;
    r->done = done;
    r->ctx = ctx;
    int err = uv_queue_work(fetch->loop, &r->work, on_work, on_worked);
    if (err < 0) {
        request_free(r);
        return err;
    }
    fetch->running++;
    return 0;
}
