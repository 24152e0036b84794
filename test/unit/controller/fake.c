/* The fake world of controller tests. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hmap.h"
#include "wire/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake_sent *add(struct fake *f, enum fake_kind kind, uint64_t dest, int64_t now_ms)
{
    if (f->sent_count == f->sent_cap) {
        f->sent_cap = f->sent_cap == 0 ? 64 : f->sent_cap * 2;
        f->sent = realloc(f->sent, f->sent_cap * sizeof(*f->sent));
        assert_non_null(f->sent);
    }
    struct fake_sent *s = &f->sent[f->sent_count++];
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    s->dest = dest;
    s->now_ms = now_ms;
    return s;
}

static int on_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id, const char *dict,
                     size_t len, int64_t now_ms)
{
    struct fake_sent *s = add(ctx, FAKE_CONFIG, dest, now_ms);
    s->nwid = nwid;
    s->request_id = request_id;
    s->dict = malloc(len + 1);
    assert_non_null(s->dict);
    memcpy(s->dict, dict, len);
    s->dict[len] = '\0';
    s->len = len;
    return 0;
}

static void on_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                     enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    struct fake_sent *s = add(ctx, FAKE_ERROR, dest, now_ms);
    s->nwid = nwid;
    s->request_id = request_id;
    s->code = code;
    s->len = len;
    if (data != NULL) {
        s->dict = malloc(len + 1);
        assert_non_null(s->dict);
        memcpy(s->dict, data, len);
        s->dict[len] = '\0';
    }
}

static int on_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                          size_t count, int64_t now_ms)
{
    struct fake_sent *s = add(ctx, FAKE_REVOCATIONS, dest, now_ms);
    assert_in_range(count, 1, CONTROLLER_REVOCATIONS_PER_PACKET);
    memcpy(s->revs, revocations, count * sizeof(*revocations));
    s->rev_count = count;
    return 0;
}

static void on_random(void *ctx, void *out, size_t len)
{
    struct fake *f = ctx;
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) {
        f->random = hash_mix(f->random + 1, 7);
        p[i] = (uint8_t)f->random;
    }
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    struct fake *f = ctx;
    f->errors += level == LOG_LEVEL_ERROR ? 1 : 0;
    if (getenv("FAKE_LOG") != NULL) {
        fprintf(stderr, "log %d: %s\n", (int)level, text);
    }
}

static void on_event(void *ctx, enum controller_event event, uint64_t nwid, uint64_t member)
{
    (void)nwid;
    (void)member;
    ((struct fake *)ctx)->events[event]++;
}

static int on_post(void *ctx, const struct controller_post *post)
{
    struct fake *f = ctx;
    f->posts = realloc(f->posts, (f->post_count + 1) * sizeof(*f->posts));
    assert_non_null(f->posts);
    assert_int_equal(strlen(post->body), post->len);
    f->posts[f->post_count++] = (struct fake_post){
        .delivery = post->delivery,
        .url = strdup(post->url),
        .signature = strdup(post->signature),
        .body = strdup(post->body),
    };
    return 0;
}

void fake_clear_posts(struct fake *f)
{
    for (size_t i = 0; i < f->post_count; i++) {
        free(f->posts[i].url);
        free(f->posts[i].signature);
        free(f->posts[i].body);
    }
    free(f->posts);
    f->posts = NULL;
    f->post_count = 0;
    f->posts_done = 0;
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

/* Keys of a vector identity under the address of the examples: signing needs a real key pair. */
static void load_identity(struct identity *ret)
{
    json_t *doc = json_load_file(VECTOR_DIR "/identity-crypto.json", 0, NULL);
    assert_non_null(doc);
    const char *text = js(json_array_get(json_object_get(doc, "identities"), 0), "secret");
    assert_int_equal(identity_parse(text, strlen(text), ret), 0);
    assert_true(ret->has_private);
    ret->address = FAKE_ADDRESS;
    json_decref(doc);
}

void fake_start(struct fake *f)
{
    struct controller_env env = {
        .send_config = on_config,
        .send_error = on_error,
        .send_revocations = on_revocations,
        .random = on_random,
        .log = on_log,
        .event = on_event,
        .post = on_post,
        .wake = on_wake,
        .ctx = f,
        .log_level = LOG_LEVEL_DEBUG,
    };
    struct store_backend *backend = f->backend;
    f->backend = NULL;
    if (f->path[0] != '\0') {
        const char *info = NULL;
        backend = store_postgres_owns(f->path, &info) ? store_postgres_new(info, FAKE_ADDRESS)
                                                      : store_sqlite_new(f->path);
        assert_non_null(backend);
    }
    f->c = controller_new(&env, &f->identity, backend, f->wall_offset_ms, f->now_ms);
    assert_non_null(f->c);
}

void fake_wait_loaded(struct fake *f)
{
    enum controller_state state;
    while ((state = controller_get_state(f->c, NULL)) == CONTROLLER_LOADING ||
           state == CONTROLLER_STANDBY) {
        controller_wait(f->c, 5000);
        controller_poll(f->c, f->now_ms);
    }
}

void fake_ready(struct fake *f)
{
    controller_poll(f->c, f->now_ms);
    while (controller_get_state(f->c, NULL) == CONTROLLER_RUNNING && !controller_serves(f->c)) {
        controller_wait(f->c, 1000);
        controller_poll(f->c, f->now_ms);
    }
}

static void init(struct fake *f, const char *path, struct store_backend *backend)
{
    memset(f, 0, sizeof(*f));
    load_identity(&f->identity);
    snprintf(f->path, sizeof(f->path), "%s", path != NULL ? path : "");
    f->backend = backend;
    f->now_ms = 5000;
    f->wall_offset_ms = INT64_C(1700000000000);
    f->random = 1;
    fake_start(f);
    fake_wait_loaded(f);
}

void fake_init(struct fake *f, const char *path)
{
    init(f, path, NULL);
}

void fake_init_backend(struct fake *f, struct store_backend *backend)
{
    init(f, NULL, backend);
}

int fake_setup(void **state)
{
    struct fake *f = malloc(sizeof(*f));
    assert_non_null(f);
    fake_init(f, NULL);
    *state = f;
    return 0;
}

int fake_teardown(void **state)
{
    fake_done(*state);
    free(*state);
    return 0;
}

void fake_restart(struct fake *f)
{
    controller_free(f->c, f->now_ms);
    fake_start(f);
    fake_wait_loaded(f);
}

void fake_done(struct fake *f)
{
    controller_free(f->c, f->now_ms);
    fake_clear(f);
    fake_clear_posts(f);
    free(f->sent);
}

void fake_db_name(char *out, size_t cap, const char *name)
{
    const char *dir = getenv("TMPDIR");
    snprintf(out, cap, "%s/panlan-%s-%d.db", dir != NULL ? dir : "/tmp", name, (int)getpid());
    fake_db_remove(out);
}

void fake_db_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        char name[160];
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
}

void fake_settle(struct fake *f)
{
    struct controller_counts counts;
    do {
        controller_wait(f->c, 1);
        controller_poll(f->c, f->now_ms);
        controller_get_counts(f->c, &counts);
    } while (counts.store_backlog > 0);
    controller_poll(f->c, f->now_ms);
}

void fake_run(struct fake *f, int64_t ms)
{
    for (int64_t end = f->now_ms + ms; f->now_ms < end;) {
        int64_t step = end - f->now_ms < 50 ? end - f->now_ms : 50;
        f->now_ms += step;
        if (controller_is_shared(f->c)) {
            fake_ready(f);
        }
        int64_t next = controller_tick(f->c, f->now_ms);
        assert_true(next == -1 || next >= f->now_ms - 1000);
    }
}

bool fake_is_idle(const struct fake *f)
{
    int64_t next = controller_deadline(f->c);
    return next == -1 || next > f->now_ms + 86400000;
}

/* The answer of one call. */
struct answer {
    struct fake *f;
    json_t *obj;
    bool done;
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct answer *a = ctx;
    assert_false(a->done);
    a->done = true;
    a->f->status = status;
    a->f->body_len = len;
    a->f->answers++;
    if (len > 0) {
        a->obj = json_loadb(body, len, 0, NULL);
        assert_non_null(a->obj); /* every body is valid JSON */
    }
}

json_t *fake_api(struct fake *f, const char *method, const char *path, const char *body)
{
    struct answer a = {.f = f};
    char copy[512];
    snprintf(copy, sizeof(copy), "%s", path);
    char *query = strchr(copy, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    struct controller_api_request request = {
        .method = method,
        .path = copy,
        .query = query,
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0,
        .actor = f->actor,
    };
    controller_api(f->c, &request, f->now_ms, on_answer, &a);
    while (!a.done) {
        controller_wait(f->c, 5000);
        controller_poll(f->c, f->now_ms);
    }
    return a.obj;
}

unsigned fake_status(struct fake *f, const char *method, const char *path, const char *body)
{
    json_decref(fake_api(f, method, path, body));
    return f->status;
}

struct identity fake_member(uint64_t address)
{
    struct identity id = {.address = address};
    for (size_t i = 0; i < sizeof(id.pub); i++) {
        id.pub[i] = (uint8_t)hash_mix(address + i, 99);
    }
    return id;
}

uint64_t fake_request_meta(struct fake *f, uint64_t nwid, const struct identity *id,
                           const struct netconf_meta *meta)
{
    char text[NETCONF_META_MAX + 1];
    size_t len = 0;
    assert_int_equal(netconf_meta_encode(meta, text, sizeof(text), &len), 0);
    struct inetaddr from = {.family = INETADDR_V4, .ip = {192, 0, 2, 7}, .port = 9993};
    f->now_ms += 1001;
    fake_ready(f);
    controller_request(f->c, nwid, &from, ++f->request, id, text, len, f->now_ms);
    fake_settle(f);
    return f->request;
}

uint64_t fake_request(struct fake *f, uint64_t nwid, uint64_t address, const char *token)
{
    struct netconf_meta meta = netconf_meta_default();
    meta.major = 1;
    meta.minor = 14;
    meta.revision = 1;
    snprintf(meta.os, sizeof(meta.os), "linux/x86_64");
    if (token != NULL) {
        snprintf(meta.auth, sizeof(meta.auth), "token:%s", token);
    }
    struct identity id = fake_member(address);
    return fake_request_meta(f, nwid, &id, &meta);
}

const struct fake_sent *fake_last(const struct fake *f, enum fake_kind kind, uint64_t dest)
{
    for (size_t i = f->sent_count; i-- > 0;) {
        if (f->sent[i].kind == kind && f->sent[i].dest == dest) {
            return &f->sent[i];
        }
    }
    return NULL;
}

size_t fake_count(const struct fake *f, enum fake_kind kind, uint64_t dest)
{
    size_t n = 0;
    for (size_t i = 0; i < f->sent_count; i++) {
        n += f->sent[i].kind == kind && f->sent[i].dest == dest ? 1 : 0;
    }
    return n;
}

void fake_clear(struct fake *f)
{
    for (size_t i = 0; i < f->sent_count; i++) {
        free(f->sent[i].dict);
    }
    f->sent_count = 0;
}

void fake_config(const struct fake *f, uint64_t dest, struct netconf *ret)
{
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, dest);
    assert_non_null(s);
    assert_int_equal(netconf_decode(s->dict, s->len, ret), 0);
}

void fake_network(struct fake *f, const char *body)
{
    assert_int_equal(fake_status(f, "POST", "/controller/network/12a402e62ed49ba9", body), 200);
}

const char *fake_ip(const struct netconf *conf, size_t i, char out[INETADDR_TEXT_LEN])
{
    assert_true(i < conf->address_count);
    inetaddr_print(&conf->addresses[i], out);
    return out;
}

const char *js(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL ? text : "?";
}

json_int_t ji(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}
