/* Log lines on stderr, one write each, so that lines of several threads do not mix.
 * Source: spec 05 section 9.1. */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 1024 };

static _Atomic int current_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

void log_set_level(enum log_level level)
{
    atomic_store(&current_level, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load(&current_level);
}

int log_level_parse(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* Text from outside must not forge lines or drive terminals. */
static void escape_controls(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
    if ((int)level > atomic_load(&current_level)) {
        return;
    }
    struct timespec now;
    struct tm parts;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    char line[LINE_MAX_LEN];
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &parts);
    int more =
        snprintf(line + used, sizeof(line) - used, ".%03dZ %-5s %s: ", (int)(now.tv_nsec / 1000000),
                 level_names[level], module);
    used += more > 0 ? (size_t)more : 0;
    char *text = line + used;
    va_list args;
    va_start(args, fmt);
    more = vsnprintf(text, sizeof(line) - used - 1, fmt, args);
    va_end(args);
    if (more < 0) {
        return;
    }
    escape_controls(text);
    used = strlen(line);
    line[used++] = '\n';
    (void)!write(STDERR_FILENO, line, used);
}
