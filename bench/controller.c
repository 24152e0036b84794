/* How many configuration requests a controller answers a second on one core, and what members cost
 * in memory. Prints numbers. Usage: bench-controller [members] [database] */
#include "controller/controller.h"
#include "base/hmap.h"
#include "controller/api.h"
#include "controller/store_sqlite.h"
#include "wire/identity.h"
#include "wire/netconf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A key made for tests. */
static const char secret[] =
    "8f67819e51:0:3785caa810fffb8a3dd05d77c98c5dfbc46c805b5a2d11a514724898ffe65c5e223"
    "a9bf46cce5f098d99f1e1a2f0ebb39d7a231d7d53ed8c45ca4fb4c8062fc2:b99dde9d95548da5e4"
    "92f6e86801f405ed226771d02769e20856db1fc1392d45a009546b370af3ad160fdc94aea6b03dc2"
    "1844ca828b95ccb2b041d41573c1d2";

static uint64_t rng = 1;
static unsigned long sent;
static size_t sent_bytes;

static int on_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id, const char *dict,
                     size_t len, int64_t now_ms)
{
    (void)ctx, (void)nwid, (void)dest, (void)request_id, (void)dict, (void)now_ms;
    sent++;
    sent_bytes += len;
    return 0;
}

static void on_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                     enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    (void)ctx, (void)nwid, (void)dest, (void)request_id, (void)code, (void)data, (void)len;
    (void)now_ms;
}

static int on_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                          size_t count, int64_t now_ms)
{
    (void)ctx, (void)dest, (void)revocations, (void)count, (void)now_ms;
    return 0;
}

static void on_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        rng = hash_mix(rng + 1, 7);
        ((uint8_t *)out)[i] = (uint8_t)rng;
    }
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    fprintf(stderr, "%s\n", text);
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    (void)body, (void)len;
    *(unsigned *)ctx = status;
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static long resident_kib(void)
{
    long pages = 0;
    long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) {
        resident = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void ask_all(struct controller *c, uint64_t nwid, uint64_t members, int64_t now_ms)
{
    static const char meta[] = "v=7\npv=c\nmajv=1\nminv=e\nrevv=1\nrevr=1\no=linux/x86_64";
    struct inetaddr from = {.family = INETADDR_V4, .ip = {192, 0, 2, 1}, .port = 9993};
    for (uint64_t i = 1; i <= members; i++) {
        struct identity id = {.address = i};
        memcpy(id.pub, &i, sizeof(i));
        controller_request(c, nwid, &from, i, &id, meta, sizeof(meta) - 1, now_ms);
        controller_poll(c, now_ms);
    }
}

static void settle(struct controller *c, int64_t now_ms)
{
    struct controller_counts counts;
    do {
        controller_wait(c, 10);
        controller_poll(c, now_ms);
        controller_get_counts(c, &counts);
    } while (counts.store_backlog > 0 || controller_get_state(c, NULL) == CONTROLLER_LOADING);
    controller_poll(c, now_ms);
}

int main(int argc, char **argv)
{
    uint64_t members = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    struct controller_env env = {on_config, on_error, on_revocations, on_random,     on_log,
                                 NULL,      on_wake,  NULL,           LOG_LEVEL_WARN};
    struct identity id;
    if (identity_parse(secret, strlen(secret), &id) != 0) {
        return 1;
    }
    uint64_t nwid = id.address << 24 | 1;
    struct store_backend *backend = argc > 2 ? store_sqlite_new(argv[2]) : NULL;
    double start = seconds();
    struct controller *c = controller_new(&env, &id, backend, INT64_C(1700000000000), 1000);
    if (c == NULL) {
        return 1;
    }
    settle(c, 1000);
    printf("load: %.2f s\n", seconds() - start);
    char path[64];
    unsigned status = 0;
    static const char body[] =
        "{\"private\":false,\"v4AssignMode\":\"zt\",\"routes\":[{\"target\":\"10.0.0.0/8\"}],"
        "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.0.0.1\",\"ipRangeEnd\":\"10.255.255.254\"}]"
        "}";
    snprintf(path, sizeof(path), "/controller/network/%016" PRIx64, nwid);
    struct controller_api_request request = {
        .method = "POST", .path = path, .body = body, .body_len = strlen(body)};
    controller_api(c, &request, 1000, on_answer, &status);
    settle(c, 1000);
    long before = resident_kib();
    for (int64_t round = 0; round < 3; round++) {
        sent = 0;
        sent_bytes = 0;
        start = seconds();
        ask_all(c, nwid, members, 10000 + round * 60000);
        settle(c, 10000 + round * 60000);
        double took = seconds() - start;
        printf("round %d: %lu answers, %.0f requests/s, %.0f bytes each, %ld bytes of memory per "
               "member\n",
               (int)round, sent, (double)members / took,
               sent > 0 ? (double)sent_bytes / (double)sent : 0.0,
               (resident_kib() - before) * 1024 / (long)members);
    }
    start = seconds();
    snprintf(path, sizeof(path), "/unstable/controller/network/%016" PRIx64 "/member", nwid);
    request = (struct controller_api_request){.method = "GET", .path = path, .query = "limit=100"};
    controller_api(c, &request, 200000, on_answer, &status);
    printf("first page of the member list: %.1f ms (status %u)\n", (seconds() - start) * 1e3,
           status);
    controller_free(c, 200000);
    return 0;
}
