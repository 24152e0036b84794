/* Captures of a running daemon, and the records by which frames are handed over. */
#include "daemon/capture.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/clock.h"
#include "os/dgram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    RECORD_VERSION = 1,
    HEADER_LEN = 14, /* of a frame */
    FLAG_OUTBOUND = 1,
    FLAG_CAPABILITY = 2,
};

/* ---- records ---- */

void capture_record_write(struct wr *w, const struct capture_record *record, uint32_t snaplen)
{
    const struct captured_frame *frame = &record->frame;
    size_t reason = strnlen(record->reason, CAPTURE_REASON_MAX - 1);
    size_t room = snaplen > HEADER_LEN ? snaplen - HEADER_LEN : 0;

    wr_u8(w, RECORD_VERSION);
    wr_u8(w, (uint8_t)((frame->outbound ? FLAG_OUTBOUND : 0) |
                       (frame->by_capability ? FLAG_CAPABILITY : 0)));
    wr_u64(w, (uint64_t)record->wall_us);
    wr_u64(w, record->lost);
    wr_u64(w, frame->nwid);
    wr_u64(w, frame->remote);
    wr_u64(w, frame->redirected);
    wr_u32(w, frame->copies);
    wr_u32(w, frame->capability);
    wr_u8(w, (uint8_t)reason);
    wr_bytes(w, record->reason, reason);
    wr_u32(w, (uint32_t)(HEADER_LEN + frame->len));
    mac_write(w, frame->dest_mac);
    mac_write(w, frame->source_mac);
    wr_u16(w, frame->ethertype);
    wr_bytes(w, frame->payload, frame->len < room ? frame->len : room);
}

/* Names of counters only: what is shown must not drive terminals. */
static bool is_reason(const char *text, size_t len)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

int capture_record_read(struct rd r, struct capture_record *ret)
{
    struct capture_record record = {.lost = 0};
    struct captured_frame *frame = &record.frame;
    uint8_t version = rd_u8(&r);
    uint8_t flags = rd_u8(&r);
    uint8_t reason;

    frame->outbound = (flags & FLAG_OUTBOUND) != 0;
    frame->by_capability = (flags & FLAG_CAPABILITY) != 0;
    record.wall_us = (int64_t)rd_u64(&r);
    record.lost = rd_u64(&r);
    frame->nwid = rd_u64(&r);
    frame->remote = rd_u64(&r);
    frame->redirected = rd_u64(&r);
    frame->copies = rd_u32(&r);
    frame->capability = rd_u32(&r);
    reason = rd_u8(&r);
    if (r.bad || version != RECORD_VERSION || reason >= CAPTURE_REASON_MAX) {
        return -EBADMSG;
    }
    rd_copy(&r, record.reason, reason);
    if (r.bad || !is_reason(record.reason, reason)) {
        return -EBADMSG;
    }
    record.len = rd_u32(&r);
    frame->dest_mac = mac_read(&r);
    frame->source_mac = mac_read(&r);
    frame->ethertype = rd_u16(&r);
    if (r.bad || record.len < HEADER_LEN || rd_left(&r) > record.len - HEADER_LEN) {
        return -EBADMSG;
    }
    frame->len = rd_left(&r);
    frame->payload = rd_bytes(&r, frame->len);
    *ret = record;
    return 0;
}

/* ---- listeners ---- */

void captures_init(struct captures *captures, struct service *svc)
{
    *captures = (struct captures){.svc = svc};
}

static bool is_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.";
    size_t len = strlen(name);

    return len > 0 && len < CAPTURE_NAME_MAX && name[0] != '.' && strspn(name, allowed) == len;
}

static bool is_captured(const struct captures *captures, uint64_t nwid)
{
    for (size_t i = 0; i < CAPTURES_MAX; i++) {
        if (captures->sinks[i].nwid == nwid) {
            return true;
        }
    }
    return false;
}

int captures_begin(struct captures *captures, uint64_t nwid, const char *name, uint32_t snaplen)
{
    struct service *svc = captures->svc;
    struct capture_sink *sink = NULL;
    char path[STATE_PATH_MAX];

    for (size_t i = 0; i < CAPTURES_MAX && sink == NULL; i++) {
        sink = captures->sinks[i].nwid == 0 ? &captures->sinks[i] : NULL;
    }
    if (sink == NULL) {
        return -ENOSPC;
    }
    if (!is_name(name) || nwid == 0) {
        return -EINVAL;
    }
    int err = home_path(svc->state.home, name, path, sizeof(path));
    int fd = err < 0 ? err : dgram_connect(path);
    if (fd < 0) {
        return fd;
    }
    err = node_capture(svc->node, nwid, true, service_now());
    if (err < 0) {
        dgram_close(fd, NULL);
        return err;
    }
    *sink = (struct capture_sink){.nwid = nwid, .fd = fd, .snaplen = snaplen};
    log_write(LOG_LEVEL_INFO, "capture", "begun network=%016" PRIx64, nwid);
    return 0;
}

static void end(struct captures *captures, struct capture_sink *sink)
{
    uint64_t nwid = sink->nwid;

    log_write(LOG_LEVEL_INFO, "capture", "ended network=%016" PRIx64 " lost=%" PRIu64, nwid,
              sink->lost);
    dgram_close(sink->fd, NULL);
    *sink = (struct capture_sink){.nwid = 0};
    if (!is_captured(captures, nwid)) {
        (void)node_capture(captures->svc->node, nwid, false, service_now()); /* or it was left */
    }
}

void captures_frame(struct captures *captures, const struct captured_frame *frame)
{
    uint8_t buf[CAPTURE_RECORD_MAX];
    struct capture_record record = {.wall_us = clock_wall_us(), .frame = *frame};

    if (frame->reason != NULL) {
        (void)snprintf(record.reason, sizeof(record.reason), "%s", frame->reason);
    }
    for (size_t i = 0; i < CAPTURES_MAX; i++) {
        struct capture_sink *sink = &captures->sinks[i];
        if (sink->nwid != frame->nwid || sink->gone) {
            continue;
        }
        struct wr w = wr_init(buf, sizeof(buf));
        record.lost = sink->lost;
        capture_record_write(&w, &record, sink->snaplen);
        int err = w.bad ? -EMSGSIZE : dgram_send(sink->fd, buf, wr_len(&w));
        if (err == -ECONNREFUSED || err == -ENOTCONN || err == -EPIPE) {
            sink->gone = true; /* the engine must not be called from here */
        } else if (err < 0) {
            sink->lost++;
        }
    }
}

void captures_settle(struct captures *captures)
{
    for (size_t i = 0; i < CAPTURES_MAX; i++) {
        if (captures->sinks[i].gone) {
            end(captures, &captures->sinks[i]);
        }
    }
}

void captures_stop(struct captures *captures)
{
    for (size_t i = 0; i < CAPTURES_MAX; i++) {
        if (captures->sinks[i].nwid != 0) {
            end(captures, &captures->sinks[i]);
        }
    }
}
