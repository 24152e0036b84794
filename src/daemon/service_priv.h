/* What the parts of the daemon share: one struct, owned by the control thread. */
#pragma once

#include "daemon/capture.h"
#include "daemon/clockwatch.h"
#include "daemon/config.h"
#include "daemon/ctl.h"
#include "daemon/fetch.h"
#include "daemon/http.h"
#include "daemon/jobs.h"
#include "daemon/login.h"
#include "daemon/portmap.h"
#include "daemon/ports.h"
#include "daemon/relay.h"
#include "daemon/relay_server.h"
#include "daemon/service.h"
#include "daemon/sockets.h"
#include "daemon/state.h"
#include "daemon/workers.h"
#include "node/node.h"
#include "os/addr.h"
#include "os/file.h"

#include <stdatomic.h>
#include <uv.h>

struct service {
    struct service_options options;
    uv_loop_t loop;
    uv_prepare_t settle;      /* runs before each wait */
    uv_timer_t deadline;      /* the next deadline of engine and controller */
    uv_signal_t signals[4];   /* INT, TERM, QUIT, HUP */
    uv_fs_event_t conf_watch; /* the home directory, for local.conf */
    uv_timer_t conf_delay;    /* a change is read a moment later, when it is complete */
    uv_timer_t sweep;         /* daily look at old peer files */
    uv_poll_t net_poll;       /* changes of the system's network configuration */
    uv_timer_t net_delay;     /* a burst of changes is handled once */
    uv_timer_t trim;          /* gives memory back some time after bulk traffic */
    bool bulk;                /* there was bulk traffic since trim was started */
    uv_timer_t renew;         /* of the secondary port, while offline */
    bool net_poll_open;       /* net_poll is initialised */
    bool net_changed;         /* something but our devices did: peers are to be asked */
    int64_t change_credit_ms; /* bucket of those questions */
    int64_t deadline_ms;      /* what the deadline timer is set for, -1 = not running */
    int64_t started_ms;       /* when the process started, monotonic */
    int64_t wall_offset_ms;   /* wall clock minus monotonic clock, as told to the engine */
    bool stopping;            /* the loop is about to end */
    atomic_bool no_sweep;     /* the thread that sweeps the peer cache is to end */
    bool collided;            /* stop because our address belongs to another identity */
    bool online;              /* as the engine said last */
    bool silent;              /* another instance may act for our identity: no socket is open */
    struct state state;
    struct identity identity;
    struct config *config;
    struct file_stamp conf_stamp;
    struct random_source *random;
    struct net *net;
    struct net_watch *net_watch;
    struct node *node;
    struct workers *workers; /* threads of the data path */
    struct sockets sockets;
    struct relay relay;
    struct relay_server relay_server;
    struct portmap portmap;
    struct ports ports;
    struct captures captures;
    struct jobs jobs;
    struct clockwatch clockwatch;
    struct ctl ctl;
    struct fetch fetch;
    struct logins logins;
    struct http *http;
    uint16_t primary_port;
    uint16_t secondary_port; /* 0 = none */
    char api_token[STATE_TOKEN_MAX];
    char metrics_token[STATE_TOKEN_MAX];
    uint64_t tx_bytes; /* UDP payload sent by control, for metrics */
};

/* Monotonic time now. */
int64_t service_now(void);

/* Bulk traffic flows: its memory is given back when it has ended. */
void service_bulk_seen(struct service *svc);

/* Ask the loop to end. */
void service_stop(struct service *svc);

/* Read local.conf anew and apply it; on errors the old settings stay. Returns 0; negative errno. */
int service_reload(struct service *svc);

/* Bind again what the system and the settings say, and tell the engine. */
void service_rebind(struct service *svc);

/* The same, a moment later. */
void service_rebind_soon(struct service *svc);

/* The secondary port is renewed while we are offline, if it is ours to choose: call when online or
 * the settings changed. */
void service_watch_offline(struct service *svc);

/* The table of upcalls for the engine. */
struct engine_env service_env(struct service *svc);
