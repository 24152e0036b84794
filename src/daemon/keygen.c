/* Identity search on all processors. Source: spec 01 sections 2.2 to 2.5. */
#include "daemon/keygen.h"

#include "os/cpu.h"
#include "os/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    TRIES_PER_ROUND = 4, /* key pairs between looks at the stop flag: about 40 ms */
    THREADS_MAX = 64,
    SCRATCH_ALIGN = 64,
    STACK_SIZE = 256 * 1024,
};

struct search {
    keygen_accept_fn accept;
    void *ctx;
    pthread_mutex_t lock;   /* guards found, result and calls of accept */
    bool found;             /* result is filled */
    struct identity result; /* the one accepted */
    _Atomic bool stop;      /* others may end */
};

static void random_fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    random_bytes(out, len);
}

static void offer(struct search *s, const struct identity *id)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!s->found && (s->accept == NULL || s->accept(s->ctx, id))) {
        s->found = true;
        s->result = *id;
        atomic_store(&s->stop, true);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void *search_run(void *arg)
{
    struct search *s = arg;
    void *scratch = aligned_alloc(SCRATCH_ALIGN, ADDRESS_HASH_MEMORY);
    if (scratch == NULL) {
        return NULL;
    }
    while (!atomic_load(&s->stop)) {
        struct identity id;
        if (identity_generate(random_fill, NULL, scratch, TRIES_PER_ROUND, &id) == 0) {
            offer(s, &id);
            identity_wipe(&id);
        }
    }
    free(scratch);
    return NULL;
}

int keygen_identity(keygen_accept_fn accept, void *ctx, struct identity *ret)
{
    struct search s = {.accept = accept, .ctx = ctx};
    (void)pthread_mutex_init(&s.lock, NULL);
    pthread_attr_t attr;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_t threads[THREADS_MAX];
    unsigned wanted = cpu_count();
    wanted = wanted > THREADS_MAX ? THREADS_MAX : wanted;
    unsigned started = 0;
    for (unsigned i = 1; i < wanted; i++) { /* this thread searches too */
        if (pthread_create(&threads[started], &attr, search_run, &s) == 0) {
            started++;
        }
    }
    (void)pthread_attr_destroy(&attr);
    (void)search_run(&s);
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&s.lock);
    if (!s.found) {
        return -ENOMEM;
    }
    *ret = s.result;
    identity_wipe(&s.result);
    return 0;
}

int keygen_validate(const struct identity *identity)
{
    void *scratch = aligned_alloc(SCRATCH_ALIGN, ADDRESS_HASH_MEMORY);
    if (scratch == NULL) {
        return -ENOMEM;
    }
    int err = identity_validate(identity, scratch);
    free(scratch);
    return err;
}
