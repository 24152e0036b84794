/* The engine's log: formatting, once a line is wanted. */
#include "vl1/env.h"

#include <stdarg.h>
#include <stdio.h>

void engine_log(const struct engine_env *env, enum log_level level, const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (level > env->log_level || env->log == NULL) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    env->log(env->ctx, level, text);
}
