/* Datagrams between processes of one machine, by sockets with names in the file system: records
 * that arrive whole or not at all, and a sender that never waits. Source: unix(7). */
#pragma once

#include "base/attr.h"

#include <stddef.h>
#include <sys/types.h>

/* Make a socket that receives, with this name, which must not be there yet. Only the owner of its
 * directory and root may send: made by root, it is the owner's. Changes the process's umask and
 * effective user for a moment. Returns the descriptor; -EADDRINUSE; -ENAMETOOLONG above 107 bytes;
 * negative errno. */
MUST_CHECK int dgram_listen(const char *path);

/* Make a socket that sends to one with this name. Returns the descriptor; -ECONNREFUSED, -ENOENT
 * nobody is there; -ENAMETOOLONG; negative errno. */
MUST_CHECK int dgram_connect(const char *path);

/* Send without waiting. Returns 0; -EAGAIN the receiver is behind; -ECONNREFUSED it has gone;
 * -EMSGSIZE; negative errno. */
MUST_CHECK int dgram_send(int fd, const void *data, size_t len);

/* Receive one, waiting up to timeout_ms (-1: for ever). Returns its length, cut at cap; 0 when
 * nothing came in time; -EINTR a signal; negative errno. */
MUST_CHECK ssize_t dgram_receive(int fd, void *buf, size_t cap, int timeout_ms);

/* Close; with a name (else NULL) also remove it. */
void dgram_close(int fd, const char *path);
