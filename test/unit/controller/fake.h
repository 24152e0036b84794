/* A controller in a fake world: what it sends is recorded, the clock is set by the test, and the
 * API is called like a function that waits for the commit. */
#pragma once

#include "controller/api.h"
#include "controller/controller.h"
#include "controller/store_postgres.h"
#include "controller/store_sqlite.h"
#include "wire/netconf.h"

#include <jansson.h>

enum fake_kind { FAKE_CONFIG, FAKE_ERROR, FAKE_REVOCATIONS };

/* Something the controller did. */
struct fake_sent {
    enum fake_kind kind;
    int64_t now_ms;
    uint64_t nwid; /* not for revocations */
    uint64_t dest;
    uint64_t request_id;
    enum error_code code;
    char *dict;
    size_t len;
    struct revocation revs[CONTROLLER_REVOCATIONS_PER_PACKET];
    size_t rev_count;
};

/* What a webhook is told. */
struct fake_post {
    uint64_t delivery;
    char *url;
    char *signature;
    char *body;
};

struct fake {
    struct controller *c;
    struct identity identity;
    char path[128];                /* of the database, or its controllerDbPath; "" none */
    struct store_backend *backend; /* instead of a database, given away at the start; NULL none */
    struct actor actor;            /* who makes the calls of the API */
    int64_t now_ms;
    int64_t wall_offset_ms;
    uint64_t random;  /* state */
    uint64_t request; /* last request ID */
    struct fake_sent *sent;
    size_t sent_count;
    size_t sent_cap;
    struct fake_post *posts;
    size_t post_count;
    size_t posts_done;   /* answered by the test */
    unsigned events[16]; /* by enum controller_event */
    unsigned errors;     /* lines logged at error level */
    unsigned status;     /* of the last answer */
    size_t body_len;     /* of the last answer */
    unsigned answers;
};

#define FAKE_ADDRESS UINT64_C(0x12a402e62e)
#define FAKE_NWID    UINT64_C(0x12a402e62ed49ba9)

/* Start with an empty world. path: database (kept), NULL none. Waits until it is loaded or failed.
 */
void fake_init(struct fake *f, const char *path);

/* cmocka setup and teardown with *state = a fake without database. */
int fake_setup(void **state);
int fake_teardown(void **state);

/* The same as fake_init with a backend of the test's own. */
void fake_init_backend(struct fake *f, struct store_backend *backend);

/* The two halves of that, for a fake whose controller was freed. */
void fake_start(struct fake *f);
void fake_wait_loaded(struct fake *f);

/* Wait until it acts for its identity, as it does not for a moment after a leap of the clock if its
 * store is shared. */
void fake_ready(struct fake *f);

/* End the controller and start it again on the same database. */
void fake_restart(struct fake *f);
void fake_done(struct fake *f);

/* A fresh name for a database in the temporary directory; remove it with its companions. */
void fake_db_name(char *out, size_t cap, const char *name);
void fake_db_remove(const char *path);

/* Poll until everything is committed and answered. */
void fake_settle(struct fake *f);

/* Let time pass in steps of 50 ms, running what is due. */
void fake_run(struct fake *f, int64_t ms);

/* True if nothing is to be done within a day. */
bool fake_is_idle(const struct fake *f);

/* Call the API and wait for the answer: new reference, NULL for an empty body. Status in f->status.
 */
json_t *fake_api(struct fake *f, const char *method, const char *path, const char *body);

/* The same when only the status matters. */
unsigned fake_status(struct fake *f, const char *method, const char *path, const char *body);

/* The identity of a made-up member: only its address and public bytes mean something. */
struct identity fake_member(uint64_t address);

/* A member asks. token: NULL none. Waits for commits. Returns the number of the request. */
uint64_t fake_request(struct fake *f, uint64_t nwid, uint64_t address, const char *token);

/* The same with meta-data of the test's own. */
uint64_t fake_request_meta(struct fake *f, uint64_t nwid, const struct identity *id,
                           const struct netconf_meta *meta);

/* What was sent to a destination last, of a kind; NULL if nothing since fake_clear. */
const struct fake_sent *fake_last(const struct fake *f, enum fake_kind kind, uint64_t dest);
size_t fake_count(const struct fake *f, enum fake_kind kind, uint64_t dest);
void fake_clear(struct fake *f);

/* Forget what was posted. */
void fake_clear_posts(struct fake *f);

/* Decode the configuration sent last; the test fails if there is none or it does not decode. */
void fake_config(const struct fake *f, uint64_t dest, struct netconf *ret);

/* Create a network with ID FAKE_NWID from a JSON body. */
void fake_network(struct fake *f, const char *body);

/* Text of an address of a configuration. */
const char *fake_ip(const struct netconf *conf, size_t i, char out[INETADDR_TEXT_LEN]);

/* A member of a JSON object as text, number, or "?" */
const char *js(const json_t *obj, const char *key);
json_int_t ji(const json_t *obj, const char *key);
