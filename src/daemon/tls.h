/* TLS over a non-blocking descriptor, by GnuTLS, which is loaded when it is needed first: an idle
 * daemon does not map it. It dresses the TCP relay as what port 443 usually carries. What is inside
 * is sealed from node to node, so nobody is authenticated: servers show a certificate made up at
 * the start, clients look at none. Source: spec 02 section 12.
 * A struct tls may be used by several threads, a session by one at a time. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;
struct tls_session;

enum { TLS_RECORD_MAX = 16384 }; /* bytes of one record; buffers to read into hold one at least */

/* Load the library. server: make a key and a certificate too. Returns 0; -ENOENT (no library, one
 * line in the log); -ENOMEM; -EIO. */
MUST_CHECK int tls_new(bool server, struct tls **ret);

/* Release when all sessions are gone; NULL is allowed. The library stays. */
void tls_free(struct tls *tls);

/* A session over a connected descriptor (not owned). name: server name a client states, NULL none.
 * Returns NULL out of memory. */
struct tls_session *tls_session_new(struct tls *tls, int fd, const char *name);

/* End without a word; NULL is allowed. */
void tls_session_free(struct tls_session *session);

/* Go on with the handshake. Returns 0 done; -EAGAIN *ret_write says whether to poll for writing;
 * -EPROTO failed. */
MUST_CHECK int tls_handshake(struct tls_session *session, bool *ret_write);

/* As recv: bytes read; 0 the end; -EAGAIN; -EPROTO. */
MUST_CHECK ssize_t tls_read(struct tls_session *session, void *buf, size_t cap);

/* As send, one record at most: bytes taken; -EAGAIN, then call again with the same bytes; -EPROTO.
 */
MUST_CHECK ssize_t tls_write(struct tls_session *session, const void *data, size_t len);
