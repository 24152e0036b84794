/* Captures: frames of a network with what became of them, sent to a socket in the home directory,
 * where "panlan capture" listens. A capture ends when nobody listens any more, and never makes the
 * daemon wait: what the listener is too slow for is counted. Source: doc/operations.md. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "vl1/env.h"

#include <stdint.h>

struct service;

enum {
    CAPTURES_MAX = 8,
    CAPTURE_NAME_MAX = 32,      /* bytes of a socket's name in the home directory, with its NUL */
    CAPTURE_REASON_MAX = 40,    /* bytes of a reason */
    CAPTURE_RECORD_MAX = 11000, /* bytes of a record with the largest frame */
};

/* What a record says of a frame. */
struct capture_record {
    int64_t wall_us;             /* Unix time */
    uint64_t lost;               /* frames before this one that the listener was too slow for */
    uint32_t len;                /* of the frame with its header, before it was cut to snaplen */
    struct captured_frame frame; /* without reason */
    char reason[CAPTURE_REASON_MAX]; /* name of a counter; empty: it passed */
};

/* Write and read a record: one datagram. The frame's payload is borrowed, cut to what snaplen bytes
 * leave behind its header of 14. Reading returns 0; -EBADMSG. Pure. */
void capture_record_write(struct wr *w, const struct capture_record *record, uint32_t snaplen);
MUST_CHECK int capture_record_read(struct rd r, struct capture_record *ret);

/* One listener. */
struct capture_sink {
    uint64_t nwid; /* 0: free */
    int fd;
    uint32_t snaplen;
    uint64_t lost;
    bool gone; /* nobody listens any more */
};

struct captures {
    struct service *svc;
    struct capture_sink sinks[CAPTURES_MAX];
};

/* Prepare; nothing is captured. */
void captures_init(struct captures *captures, struct service *svc);

/* Send frames of a network to the socket of this name (lower-case letters, digits and dots) in the
 * home directory, up to snaplen bytes of each. Returns 0; -EINVAL the name; -ENOENT not joined, or
 * no such socket; -ENOSPC too many captures; negative errno. */
MUST_CHECK int captures_begin(struct captures *captures, uint64_t nwid, const char *name,
                              uint32_t snaplen);

/* The engine tells of a frame. */
void captures_frame(struct captures *captures, const struct captured_frame *frame);

/* Before the loop waits: end what nobody listens to any more. */
void captures_settle(struct captures *captures);

/* End all. */
void captures_stop(struct captures *captures);
