/* libcurl's multi interface in a thread of its own. */
#include "daemon/fetch.h"

#include "daemon/log.h"
#include "os/library.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

enum {
    IDLE_MS = 5000, /* without work for so long the thread ends */
    STACK_SIZE = 1 << 20,
};

struct fetch_lib {
    void *library;
    CURLM *multi;
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *handle, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *handle, CURLINFO info, ...);
    void (*easy_cleanup)(CURL *handle);
    const char *(*easy_strerror)(CURLcode code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *handle);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *handle);
    CURLMcode (*multi_perform)(CURLM *multi, int *running);
    CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *extra, unsigned extra_count,
                            int timeout_ms, int *ret_count);
    CURLMcode (*multi_wakeup)(CURLM *multi);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
    CURLMcode (*multi_cleanup)(CURLM *multi);
};

struct fetch_job {
    struct fetch_job *next;
    uint64_t id;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    char *body; /* NULL: GET */
    size_t len;
    fetch_done done;
    void *ctx;
    char *answer; /* NUL-terminated, NULL: empty */
    size_t answer_len;
    bool is_cut;
    unsigned status;
    char error[CURL_ERROR_SIZE];
};

/* ---- library ---- */

static void lib_free(struct fetch_lib *lib)
{
    if (lib != NULL) {
        if (lib->multi != NULL) {
            (void)lib->multi_cleanup(lib->multi);
        }
        free(lib); /* the library stays to the end: others may have state in it */
    }
}

static int lib_load(struct fetch_lib **ret)
{
    struct fetch_lib *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return -ENOMEM;
    }
    const struct library_symbol table[] = {
        {"curl_easy_init", &l->easy_init},
        {"curl_easy_setopt", &l->easy_setopt},
        {"curl_easy_getinfo", &l->easy_getinfo},
        {"curl_easy_cleanup", &l->easy_cleanup},
        {"curl_easy_strerror", &l->easy_strerror},
        {"curl_slist_append", &l->slist_append},
        {"curl_slist_free_all", &l->slist_free_all},
        {"curl_multi_init", &l->multi_init},
        {"curl_multi_add_handle", &l->multi_add_handle},
        {"curl_multi_remove_handle", &l->multi_remove_handle},
        {"curl_multi_perform", &l->multi_perform},
        {"curl_multi_poll", &l->multi_poll},
        {"curl_multi_wakeup", &l->multi_wakeup},
        {"curl_multi_info_read", &l->multi_info_read},
        {"curl_multi_cleanup", &l->multi_cleanup},
    };
    const char *error;
    int err = library_open("libcurl.so.4", table, COUNT_OF(table), &l->library, &error);
    if (err < 0) {
        err = library_open("libcurl-gnutls.so.4", table, COUNT_OF(table), &l->library, &error);
    }
    if (err == 0) {
        l->multi = l->multi_init();
        err = l->multi == NULL ? -ENOMEM : 0;
    }
    if (err < 0) {
        lib_free(l);
        return err;
    }
    *ret = l;
    return 0;
}

/* ---- jobs ---- */

static void job_free(const struct fetch_lib *lib, struct fetch_job *job)
{
    if (job->easy != NULL) {
        lib->easy_cleanup(job->easy);
    }
    lib->slist_free_all(job->headers);
    free(job->url);
    free(job->body);
    free(job->answer);
    free(job);
}

/* An answer's body; more than there should be ends it. */
static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct fetch_job *job = ctx;
    size_t len = size * count;
    size_t room = FETCH_ANSWER_MAX - job->answer_len;
    size_t take = len < room ? len : room;
    char *grown = realloc(job->answer, job->answer_len + take + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + job->answer_len, data, take);
    job->answer = grown;
    job->answer_len += take;
    grown[job->answer_len] = '\0';
    job->is_cut = take < len;
    return job->is_cut ? 0 : len;
}

static bool job_prepare(const struct fetch_lib *l, struct fetch_job *job)
{
    CURL *e = l->easy_init();
    job->easy = e;
    if (e == NULL) {
        return false;
    }
    bool good = l->easy_setopt(e, CURLOPT_URL, job->url) == CURLE_OK &&
                l->easy_setopt(e, CURLOPT_HTTPHEADER, job->headers) == CURLE_OK &&
                l->easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                l->easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
                l->easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)FETCH_CONNECT_S) == CURLE_OK &&
                l->easy_setopt(e, CURLOPT_TIMEOUT, (long)FETCH_TOTAL_S) == CURLE_OK;
    if (good && job->body != NULL) {
        good = l->easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)job->len) == CURLE_OK &&
               l->easy_setopt(e, CURLOPT_POSTFIELDS, job->body) == CURLE_OK;
    }
    /* Only http and https get here; this holds should the library ever think otherwise. */
    (void)l->easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)l->easy_setopt(e, CURLOPT_USERAGENT, "panlan/" PANLAN_VERSION);
    (void)l->easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    (void)l->easy_setopt(e, CURLOPT_WRITEDATA, (void *)job);
    (void)l->easy_setopt(e, CURLOPT_ERRORBUFFER, job->error);
    (void)l->easy_setopt(e, CURLOPT_PRIVATE, (void *)job);
    return good;
}

/* ---- the thread ---- */

/* Hand a job back to the loop. */
static void give_back(struct fetch *p, struct fetch_job *job)
{
    (void)pthread_mutex_lock(&p->lock);
    job->next = p->finished;
    p->finished = job;
    (void)pthread_mutex_unlock(&p->lock);
    (void)uv_async_send(&p->async);
}

static void take_incoming(struct fetch *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct fetch_job *job = p->incoming;
    p->incoming = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    while (job != NULL) {
        struct fetch_job *next = job->next;
        if (job_prepare(p->lib, job) &&
            p->lib->multi_add_handle(p->lib->multi, job->easy) == CURLM_OK) {
            job->next = p->active;
            p->active = job;
        } else {
            (void)strcpy(job->error, "the request cannot be made");
            give_back(p, job);
        }
        job = next;
    }
}

static void unlink_active(struct fetch *p, const struct fetch_job *job)
{
    struct fetch_job **at = &p->active;
    while (*at != job) {
        at = &(*at)->next;
    }
    *at = job->next;
}

static void job_result(const struct fetch_lib *l, struct fetch_job *job, CURLcode code)
{
    long status = 0;
    (void)l->easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
    job->status =
        code == CURLE_OK || (code == CURLE_WRITE_ERROR && job->is_cut) ? (unsigned)status : 0;
    if (job->status != 0) {
        job->error[0] = '\0';
    } else if (job->error[0] == '\0') {
        (void)strncpy(job->error, l->easy_strerror(code), sizeof(job->error) - 1);
    }
}

static void collect(struct fetch *p)
{
    int left;
    CURLMsg *message;
    while ((message = p->lib->multi_info_read(p->lib->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        struct fetch_job *job = NULL;
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        (void)p->lib->easy_getinfo(easy, CURLINFO_PRIVATE, &job);
        (void)p->lib->multi_remove_handle(p->lib->multi, easy);
        unlink_active(p, job);
        job_result(p->lib, job, code);
        give_back(p, job);
    }
}

/* True when the thread may end: told to, or nothing came while it was idle. */
static bool may_end(struct fetch *p, bool idle)
{
    (void)pthread_mutex_lock(&p->lock);
    bool end = p->stop || (idle && p->incoming == NULL);
    p->running = !end;
    (void)pthread_mutex_unlock(&p->lock);
    return end;
}

static int64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void *fetch_run(void *arg)
{
    struct fetch *p = arg;
    int64_t busy_ms = now_ms();
    for (;;) {
        int running = 0;
        take_incoming(p);
        (void)p->lib->multi_perform(p->lib->multi, &running);
        collect(p);
        bool active = p->active != NULL;
        int64_t now = now_ms();
        busy_ms = active ? now : busy_ms;
        if (may_end(p, !active && now - busy_ms >= IDLE_MS)) {
            return NULL;
        }
        (void)p->lib->multi_poll(p->lib->multi, NULL, 0, active ? 1000 : IDLE_MS, NULL);
    }
}

/* ---- the loop's side ---- */

static void job_done(const struct fetch_job *job)
{
    struct fetch_answer answer = {.status = job->status,
                                  .error = job->error[0] != '\0' ? job->error : NULL,
                                  .body = job->answer != NULL ? job->answer : "",
                                  .len = job->answer_len,
                                  .is_cut = job->is_cut};
    job->done(job->ctx, job->id, &answer);
}

static void on_async(uv_async_t *async)
{
    struct fetch *p = async->data;
    (void)pthread_mutex_lock(&p->lock);
    struct fetch_job *job = p->finished;
    p->finished = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    while (job != NULL) {
        struct fetch_job *next = job->next;
        (void)pthread_mutex_lock(&p->lock);
        p->out--;
        (void)pthread_mutex_unlock(&p->lock);
        job_done(job);
        job_free(p->lib, job);
        job = next;
    }
}

int fetch_init(struct fetch *p, uv_loop_t *loop)
{
    *p = (struct fetch){.open = false};
    (void)pthread_mutex_init(&p->lock, NULL);
    int err = uv_async_init(loop, &p->async, on_async);
    p->async.data = p;
    p->open = err == 0;
    return err;
}

static int start_thread(struct fetch *p)
{
    pthread_attr_t attr;
    if (p->started) {
        (void)pthread_join(p->thread, NULL); /* it has ended, or is about to */
        p->started = false;
    }
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    int err = pthread_create(&p->thread, &attr, fetch_run, p);
    (void)pthread_attr_destroy(&attr);
    p->started = err == 0;
    return -err;
}

static struct fetch_job *job_new(const struct fetch_lib *lib, const struct fetch_request *request)
{
    struct fetch_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    job->id = request->id;
    job->url = strdup(request->url);
    job->done = request->done;
    job->ctx = request->ctx;
    bool good = job->url != NULL;
    if (request->body != NULL) {
        job->body = malloc(request->len + 1);
        job->len = request->len;
        good = good && job->body != NULL;
    }
    const char *const *header = request->headers;
    for (; good && header != NULL && *header != NULL; header++) {
        struct curl_slist *grown = lib->slist_append(job->headers, *header);
        good = grown != NULL;
        job->headers = good ? grown : job->headers;
    }
    if (!good) {
        job_free(lib, job);
        return NULL;
    }
    if (job->body != NULL) {
        memcpy(job->body, request->body, request->len);
        job->body[request->len] = '\0';
    }
    return job;
}

/* Whatever schemes the library would take besides. */
static bool is_web(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0;
}

int fetch_start(struct fetch *p, const struct fetch_request *request)
{
    if (!p->open || !is_web(request->url)) {
        return -EINVAL;
    }
    int err = p->lib == NULL ? lib_load(&p->lib) : 0;
    if (err < 0) {
        return err;
    }
    struct fetch_job *job = job_new(p->lib, request);
    if (job == NULL) {
        return -ENOMEM;
    }
    (void)pthread_mutex_lock(&p->lock);
    bool room = p->out < FETCH_MAX;
    bool running = p->running;
    if (room) {
        job->next = p->incoming;
        p->incoming = job;
        p->out++;
        p->running = true;
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (!room) {
        job_free(p->lib, job);
        return -EAGAIN;
    }
    if (running) {
        (void)p->lib->multi_wakeup(p->lib->multi);
        return 0;
    }
    err = start_thread(p);
    if (err < 0) { /* it is the only one: without a thread none can be out */
        p->incoming = NULL;
        p->out--;
        p->running = false;
        job_free(p->lib, job);
    }
    return err;
}

static void free_list(const struct fetch_lib *lib, struct fetch_job *job)
{
    while (job != NULL) {
        struct fetch_job *next = job->next;
        job_free(lib, job);
        job = next;
    }
}

void fetch_stop(struct fetch *p)
{
    if (!p->open) {
        return;
    }
    p->open = false;
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_mutex_unlock(&p->lock);
    if (p->started) {
        (void)p->lib->multi_wakeup(p->lib->multi);
        (void)pthread_join(p->thread, NULL);
    }
    if (p->lib != NULL) {
        for (struct fetch_job *job = p->active; job != NULL; job = job->next) {
            (void)p->lib->multi_remove_handle(p->lib->multi, job->easy);
        }
        free_list(p->lib, p->active);
        free_list(p->lib, p->incoming);
        free_list(p->lib, p->finished);
    }
    lib_free(p->lib);
    p->lib = NULL;
    uv_close((uv_handle_t *)&p->async, NULL);
}
