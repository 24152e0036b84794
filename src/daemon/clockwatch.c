/* A timer on the wall clock that never fires, but that the kernel cancels on every discontinuous
 * change: setting the clock, or waking up. Source: spec 05 section 6.8. */
#include "daemon/clockwatch.h"

#include "os/clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    SLEPT_MS = 2000, /* less is rounding and load, not sleep */
};

static int arm(int fd)
{
    /* Far away: the year 2200. */
    struct itimerspec far = {.it_value = {.tv_sec = INT64_C(7258118400)}};
    int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    return timerfd_settime(fd, flags, &far, NULL) < 0 ? -errno : 0;
}

static void on_change(uv_poll_t *poll, int status, int events)
{
    struct clockwatch *watch = poll->data;
    (void)status;
    (void)events;
    uint64_t expirations;
    (void)!read(watch->fd, &expirations, sizeof(expirations)); /* ECANCELED is the news */
    (void)arm(watch->fd);
    int64_t sleep_ms = clock_boot_ms() - clock_mono_ms();
    bool slept = sleep_ms - watch->sleep_ms > SLEPT_MS;
    watch->sleep_ms = sleep_ms;
    watch->changed(watch->ctx, slept);
}

int clockwatch_start(struct clockwatch *watch, uv_loop_t *loop,
                     void (*changed)(void *ctx, bool slept), void *ctx)
{
    *watch = (struct clockwatch){.fd = -1, .changed = changed, .ctx = ctx};
    watch->sleep_ms = clock_boot_ms() - clock_mono_ms();
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    int err = arm(fd);
    if (err == 0) {
        err = uv_poll_init(loop, &watch->poll, fd);
    }
    if (err < 0) {
        (void)close(fd);
        return err;
    }
    watch->fd = fd;
    watch->poll.data = watch;
    return uv_poll_start(&watch->poll, UV_READABLE, on_change);
}

void clockwatch_stop(struct clockwatch *watch)
{
    if (watch->fd < 0) {
        return;
    }
    (void)uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, NULL);
    (void)close(watch->fd);
    watch->fd = -1;
}
