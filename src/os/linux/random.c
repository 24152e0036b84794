/* Random bytes of the kernel behind a buffer that is emptied on fork.
 * Implements: spec 05 section 7.3 (random). */
#include "os/random.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    RANDOM_POOL = 1024, /* bytes fetched at a time */
};

/* The whole struct lies in pages of its own which the kernel zeroes in a forked child, so that
 * `left` is 0 there. */
struct random_source {
    size_t left; /* unused bytes, at the end of the pool */
    pid_t pid;   /* owner, checked where the kernel cannot wipe; 0 = it can */
    uint8_t pool[RANDOM_POOL];
};

void random_bytes(void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            (void)fputs("no random bytes from the system\n", stderr);
            abort();
        }
        p += got;
        len -= (size_t)got;
    }
}

struct random_source *random_source_new(void)
{
    struct random_source *source =
        mmap(NULL, sizeof(*source), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (source == MAP_FAILED) {
        return NULL;
    }
    if (madvise(source, sizeof(*source), MADV_WIPEONFORK) != 0) {
        source->pid = getpid(); /* kernel before 4.14 */
    }
    return source;
}

void random_source_free(struct random_source *source)
{
    if (source == NULL) {
        return;
    }
    sodium_memzero(source, sizeof(*source));
    (void)munmap(source, sizeof(*source));
}

void random_source_fill(void *ctx, void *out, size_t len)
{
    struct random_source *source = ctx;

    if (source->pid != 0 && source->pid != getpid()) {
        source->pid = getpid();
        source->left = 0;
    }
    if (len > RANDOM_POOL / 4) {
        random_bytes(out, len);
        return;
    }
    if (source->left < len) {
        random_bytes(source->pool, RANDOM_POOL);
        source->left = RANDOM_POOL;
    }
    uint8_t *from = source->pool + (RANDOM_POOL - source->left);
    memcpy(out, from, len);
    sodium_memzero(from, len);
    source->left -= len;
}
