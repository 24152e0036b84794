/* Runs a storage backend in a thread: queue of transactions, batches, retries, completions. Knows
 * neither SQL nor what is in the documents. Source: spec 04 sections 5.2 and 5.3. */
#include "controller/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STORE_WHY_LEN = 512,
    STORE_BATCH_CHANGES = 4096, /* a batch is closed once it has this many changes */
    STORE_RETRY_S = 2,          /* pause after a failed commit */
};

struct completion;

struct store_tx {
    struct store_tx *next;
    struct store_change *first;
    struct store_change **last;
    size_t count;
    struct completion *comp; /* NULL: nobody waits (any more) */
    char *backup;            /* no changes: where to write a copy to; else NULL */
};

/* A completion on its way up. */
struct completion {
    struct completion *next;
    store_done_fn done;
    void *ctx;
    int error;
};

struct store {
    struct store_backend *backend;
    store_load_fn load;
    void *load_ctx;
    void (*wake)(void *ctx);
    void *wake_ctx;
    pthread_t thread;

    pthread_mutex_t lock;     /* guards all below */
    pthread_cond_t work;      /* for the thread: queue or stop */
    pthread_cond_t news;      /* for store_wait */
    struct store_tx *queue;   /* oldest first */
    struct store_tx **tail;   /* where the next one is linked */
    struct completion *ready; /* in order */
    struct completion **ready_tail;
    struct store_call *passed;   /* for the backend */
    struct store_call *answered; /* to be completed */
    struct store_call *incoming; /* for the owner */
    size_t backlog;              /* changes in queue and in the running batch */
    uint64_t failures;           /* commits that failed */
    enum store_state state;
    bool state_news; /* not yet reported by store_poll */
    bool stop;
    int error;               /* of the last try to commit */
    int tend_error;          /* of the last turn of a shared backend */
    char why[STORE_WHY_LEN]; /* text of failure, empty = none */
    char shown[STORE_WHY_LEN];
};

const char *store_kind_table(enum store_kind kind)
{
    static const char *const tables[STORE_KINDS] = {
        [STORE_CONTROLLER] = "controller", [STORE_NETWORK] = "network",
        [STORE_MEMBER] = "member",         [STORE_RUNTIME] = "member_runtime",
        [STORE_REVOCATION] = "revocation", [STORE_USER] = "person",
        [STORE_TOKEN] = "api_token",       [STORE_GRANT] = "network_grant",
        [STORE_HOOK] = "webhook",          [STORE_DELIVERY] = "delivery",
        [STORE_EVENT] = "event",
    };
    return tables[kind];
}

bool store_kind_is_below_network(enum store_kind kind)
{
    return kind == STORE_MEMBER || kind == STORE_RUNTIME || kind == STORE_GRANT;
}

struct store_tx *store_tx_new(void)
{
    struct store_tx *tx = calloc(1, sizeof(*tx));
    if (tx != NULL) {
        tx->last = &tx->first;
    }
    return tx;
}

int store_tx_put(struct store_tx *tx, enum store_kind kind, uint64_t nwid, uint64_t node,
                 char *text)
{
    struct store_change *change = calloc(1, sizeof(*change));
    if (change == NULL) {
        free(text);
        return -ENOMEM;
    }
    change->kind = kind;
    change->nwid = nwid;
    change->node = node;
    change->text = text;
    *tx->last = change;
    tx->last = &change->next;
    tx->count++;
    return 0;
}

void store_tx_free(struct store_tx *tx)
{
    if (tx == NULL) {
        return;
    }
    while (tx->first != NULL) {
        struct store_change *next = tx->first->next;
        free(tx->first->text);
        free(tx->first);
        tx->first = next;
    }
    free(tx->backup);
    free(tx);
}

void store_call_free(struct store_call *call)
{
    if (call != NULL) {
        free(call->method);
        free(call->path);
        free(call->query);
        free(call->body);
        free(call->if_match);
        free(call->actor);
        free(call->answer);
        free(call);
    }
}

int64_t store_clock(void)
{
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Move the completion of tx, made when it was submitted, up. Lock held. */
static void tx_complete(struct store *s, struct store_tx *tx, int error)
{
    struct completion *comp = tx->comp;
    if (comp != NULL) {
        tx->comp = NULL;
        comp->error = error;
        comp->next = NULL;
        *s->ready_tail = comp;
        s->ready_tail = &comp->next;
    }
}

/* Join the changes of the oldest transactions to one list without copying. Lock held.
 * Returns the last transaction of the batch. */
static struct store_tx *batch_join(struct store *s)
{
    struct store_tx *tx = s->queue;
    size_t count = tx->count;
    while (tx->next != NULL && tx->next->backup == NULL &&
           count + tx->next->count <= STORE_BATCH_CHANGES) {
        *tx->last = tx->next->first;
        tx = tx->next;
        count += tx->count;
    }
    return tx;
}

/* Undo batch_join. Lock held. */
static void batch_split(struct store *s, struct store_tx *end)
{
    for (struct store_tx *tx = s->queue; tx != end; tx = tx->next) {
        *tx->last = NULL;
    }
}

/* First change of a batch: transactions may be empty (pure barriers). */
static const struct store_change *batch_first(const struct store_tx *tx, const struct store_tx *end)
{
    while (tx->first == NULL && tx != end) {
        tx = tx->next;
    }
    return tx->first;
}

/* Commit the oldest batch. Lock held at entry and exit, not meanwhile. Returns the error. */
static int commit_batch(struct store *s)
{
    struct store_tx *end = batch_join(s);
    struct store_tx *begin = s->queue;
    char why[STORE_WHY_LEN] = "";
    const struct store_change *first = batch_first(begin, end);
    pthread_mutex_unlock(&s->lock);
    int error = first != NULL ? s->backend->apply(s->backend, first, why, sizeof(why)) : 0;
    pthread_mutex_lock(&s->lock);
    batch_split(s, end);
    struct store_tx *after = end->next;
    if (error != 0) {
        s->failures++;
        (void)snprintf(s->why, sizeof(s->why), "%s", why);
        for (struct store_tx *tx = begin; tx != after; tx = tx->next) {
            tx_complete(s, tx, error);
        }
    } else {
        s->why[0] = '\0';
        s->queue = after;
        if (after == NULL) {
            s->tail = &s->queue;
        }
        for (struct store_tx *tx = begin, *next; tx != after; tx = next) {
            next = tx->next;
            s->backlog -= tx->count;
            tx_complete(s, tx, 0);
            store_tx_free(tx);
        }
    }
    if ((error != 0) != (s->error != 0)) {
        s->state_news = true;
    }
    s->error = error;
    return error;
}

/* Lock held at entry and exit, not meanwhile. */
static void tell_news(struct store *s)
{
    pthread_cond_broadcast(&s->news);
    pthread_mutex_unlock(&s->lock);
    s->wake(s->wake_ctx);
    pthread_mutex_lock(&s->lock);
}

/* Carry out the backup that is first in the queue; it is not tried again. Lock held at entry and
 * exit, not meanwhile. */
static void run_backup(struct store *s)
{
    struct store_tx *tx = s->queue;
    char why[STORE_WHY_LEN] = "";
    pthread_mutex_unlock(&s->lock);
    int error = s->backend->backup != NULL
                    ? s->backend->backup(s->backend, tx->backup, why, sizeof(why))
                    : -EOPNOTSUPP;
    pthread_mutex_lock(&s->lock);
    s->queue = tx->next;
    if (s->queue == NULL) {
        s->tail = &s->queue;
    }
    tx_complete(s, tx, error);
    store_tx_free(tx);
}

/* Put a list of calls behind another. */
static void calls_append(struct store_call **list, struct store_call *more)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    *list = more;
}

/* One turn of a shared backend. Lock held at entry and exit, not meanwhile. Returns its error. */
static int tend(struct store *s, bool stop)
{
    struct store_feed feed = {.send = s->passed, .stop = stop};
    char why[STORE_WHY_LEN] = "";
    s->passed = NULL;
    pthread_mutex_unlock(&s->lock);
    int error = s->backend->shared->tend(s->backend, &feed, why, sizeof(why));
    pthread_mutex_lock(&s->lock);
    calls_append(&s->answered, feed.answered);
    calls_append(&s->incoming, feed.incoming);
    bool news = feed.answered != NULL || feed.incoming != NULL;
    if (error != s->tend_error) {
        s->tend_error = error;
        s->state_news = news = true;
        (void)snprintf(s->why, sizeof(s->why), "%s", why);
    }
    if (news) {
        tell_news(s);
    }
    return error;
}

/* Wait for work. Lock held. */
static void wait_for_work(struct store *s)
{
    if (s->backend->shared == NULL) {
        pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    pthread_mutex_unlock(&s->lock);
    s->backend->shared->wait(s->backend);
    pthread_mutex_lock(&s->lock);
}

/* Wait for work after a failed commit: until stop, new work or the pause is over. Lock held. */
static void pause_after_error(struct store *s)
{
    if (s->backend->shared != NULL) {
        wait_for_work(s);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STORE_RETRY_S;
    struct store_tx **tail = s->tail;
    while (!s->stop && tail == s->tail && pthread_cond_timedwait(&s->work, &s->lock, &until) == 0) {
    }
}

/* Open the backend, again and again while it says that it is not its turn. Lock held at entry and
 * exit, not meanwhile. */
static void open_backend(struct store *s)
{
    for (;;) {
        char why[STORE_WHY_LEN] = "";
        pthread_mutex_unlock(&s->lock);
        int error = s->backend->open(s->backend, s->load, s->load_ctx, why, sizeof(why));
        pthread_mutex_lock(&s->lock);
        enum store_state state = error == 0         ? STORE_READY
                                 : error == -EAGAIN ? STORE_STANDBY
                                 : error == -ESTALE ? STORE_LOST
                                                    : STORE_FAILED;
        if (state != s->state || strcmp(why, s->why) != 0) {
            (void)snprintf(s->why, sizeof(s->why), "%s", why);
            s->state = state;
            s->state_news = true;
            tell_news(s);
        }
        if (state != STORE_STANDBY) {
            return;
        }
        (void)tend(s, false);
        if (s->stop) {
            return;
        }
        wait_for_work(s);
    }
}

static void *store_main(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->lock);
    open_backend(s);
    while (s->state == STORE_READY) {
        if (s->backend->shared != NULL && tend(s, false) == -ESTALE) {
            s->state = STORE_LOST;
            s->state_news = true;
            tell_news(s);
            break;
        }
        if (s->queue == NULL) {
            if (s->stop) {
                break;
            }
            wait_for_work(s);
            continue;
        }
        bool last_try = s->stop;
        int error = 0;
        if (s->queue->backup != NULL) {
            run_backup(s);
        } else {
            error = commit_batch(s);
        }
        if (s->ready != NULL || s->state_news) {
            tell_news(s);
        }
        if (error != 0) {
            if (last_try) {
                break;
            }
            pause_after_error(s);
        }
    }
    if (s->backend->shared != NULL) {
        (void)tend(s, true);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int store_start(struct store *s)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0) {
        return -ENOMEM;
    }
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &attr);
    pthread_cond_init(&s->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    return -pthread_create(&s->thread, NULL, store_main, s);
}

struct store *store_new(struct store_backend *backend, store_load_fn load, void *load_ctx,
                        void (*wake)(void *ctx), void *wake_ctx)
{
    struct store *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        backend->destroy(backend);
        return NULL;
    }
    s->backend = backend;
    s->load = load;
    s->load_ctx = load_ctx;
    s->wake = wake;
    s->wake_ctx = wake_ctx;
    s->tail = &s->queue;
    s->ready_tail = &s->ready;
    if (store_start(s) != 0) {
        backend->destroy(backend);
        free(s);
        return NULL;
    }
    return s;
}

static void run_completions(struct completion *comp)
{
    while (comp != NULL) {
        struct completion *next = comp->next;
        comp->done(comp->ctx, comp->error);
        free(comp);
        comp = next;
    }
}

/* Complete calls of ours. */
static void run_calls(struct store_call *call)
{
    while (call != NULL) {
        struct store_call *next = call->next;
        const char *body = call->answer != NULL ? call->answer : "";
        call->done(call->ctx, call->status, body, strlen(body));
        store_call_free(call);
        call = next;
    }
}

/* Let the thread look at the queue. Lock held. */
static void wake_thread(struct store *s)
{
    pthread_cond_signal(&s->work);
    if (s->backend->shared != NULL) {
        s->backend->shared->kick(s->backend);
    }
}

int store_free(struct store *s)
{
    struct store_call *call;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    wake_thread(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    run_completions(s->ready);
    for (call = s->passed; call != NULL; call = call->next) {
        call->status = 503; /* came when the thread had ended */
    }
    run_calls(s->answered);
    run_calls(s->passed);
    while ((call = s->incoming) != NULL) {
        s->incoming = call->next;
        store_call_free(call);
    }
    int error = s->queue == NULL ? 0 : (s->error != 0 ? s->error : -ECANCELED);
    while (s->queue != NULL) {
        struct store_tx *tx = s->queue;
        s->queue = tx->next;
        struct completion *comp = tx->comp;
        if (comp != NULL) {
            comp->done(comp->ctx, -ECANCELED);
            free(comp);
        }
        store_tx_free(tx);
    }
    s->backend->destroy(s->backend);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return error;
}

enum store_state store_get_state(struct store *s, const char **ret_why)
{
    pthread_mutex_lock(&s->lock);
    enum store_state state = s->state;
    memcpy(s->shown, s->why, sizeof(s->shown));
    pthread_mutex_unlock(&s->lock);
    if (ret_why != NULL) {
        *ret_why = s->shown[0] != '\0' ? s->shown : NULL;
    }
    return state;
}

void store_submit(struct store *s, struct store_tx *tx, store_done_fn done, void *ctx)
{
    struct completion *comp = NULL;
    if (done != NULL) {
        comp = calloc(1, sizeof(*comp));
        if (comp == NULL) {
            /* The changes stand, only the news of their commit cannot be brought. */
            done(ctx, -ENOMEM);
        } else {
            comp->done = done;
            comp->ctx = ctx;
        }
    }
    tx->comp = comp;
    tx->next = NULL;
    pthread_mutex_lock(&s->lock);
    *s->tail = tx;
    s->tail = &tx->next;
    s->backlog += tx->count;
    wake_thread(s);
    pthread_mutex_unlock(&s->lock);
}

void store_backup(struct store *s, const char *path, store_done_fn done, void *ctx)
{
    struct store_tx *tx = store_tx_new();
    char *copy = strdup(path);
    if (tx == NULL || copy == NULL) {
        store_tx_free(tx);
        free(copy);
        done(ctx, -ENOMEM);
        return;
    }
    tx->backup = copy;
    store_submit(s, tx, done, ctx);
}

bool store_is_shared(const struct store *s)
{
    return s->backend->shared != NULL;
}

int64_t store_hold_ms(struct store *s)
{
    return store_is_shared(s) ? atomic_load(&s->backend->holds_until_ms) - store_clock()
                              : INT64_MAX;
}

void store_pass(struct store *s, struct store_call *call)
{
    call->next = NULL;
    pthread_mutex_lock(&s->lock);
    calls_append(&s->passed, call);
    wake_thread(s);
    pthread_mutex_unlock(&s->lock);
}

struct store_call *store_next_call(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    struct store_call *call = s->incoming;
    if (call != NULL) {
        s->incoming = call->next;
        call->next = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return call;
}

size_t store_backlog(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->backlog;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t store_failures(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->failures;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool store_poll(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    struct completion *comp = s->ready;
    s->ready = NULL;
    s->ready_tail = &s->ready;
    struct store_call *answered = s->answered;
    s->answered = NULL;
    bool news = s->state_news;
    s->state_news = false;
    pthread_mutex_unlock(&s->lock);
    run_completions(comp);
    run_calls(answered);
    return news;
}

static bool has_news(const struct store *s)
{
    return s->ready != NULL || s->answered != NULL || s->incoming != NULL || s->state_news;
}

bool store_wait(struct store *s, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&s->lock);
    while (!has_news(s) && pthread_cond_timedwait(&s->news, &s->lock, &until) == 0) {
    }
    bool has = has_news(s);
    pthread_mutex_unlock(&s->lock);
    return has;
}
