/* Random bytes of the system, buffered so that small draws cost no system call. Bytes handed out
 * are wiped from the buffer, and a child after fork starts with an empty buffer (it never repeats
 * its parent's bytes). Source: spec 05 section 7.3. */
#pragma once

#include "base/attr.h"

#include <stddef.h>

struct random_source;

/* A source of its own buffer; one thread at a time. Returns NULL out of memory. */
struct random_source *random_source_new(void);

/* Wipe and release; NULL is allowed. */
void random_source_free(struct random_source *source);

/* Fill out with len random bytes. Ends the process if the system has none to give. The signature is
 * that of engine_env.random, with the source as ctx. */
void random_source_fill(void *ctx, void *out, size_t len);

/* The same straight from the system, for rare draws (keys, tokens) and any thread. */
void random_bytes(void *out, size_t len);
