/* TCP descriptors, non-blocking: listening, accepted, connecting. Source: spec 02 section 12. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>

/* Listen at an address and port; the wildcard of IPv6 does not include IPv4. Returns a descriptor;
 * -EADDRINUSE; -EACCES; other negative errno. */
MUST_CHECK int tcp_listen(const struct inetaddr *local);

/* Take a connection; *ret_from is its other end. Returns a descriptor; -EAGAIN; -EMFILE; other
 * negative errno. */
MUST_CHECK int tcp_accept(int listener, struct inetaddr *ret_from);

/* Begin to connect; device: interface to leave by, NULL or empty: any. When the descriptor becomes
 * writable, tcp_connected tells the result. Returns a descriptor; negative errno. */
MUST_CHECK int tcp_connect(const struct inetaddr *to, const char *device);

/* 0; negative errno. */
MUST_CHECK int tcp_connected(int fd);

/* True if the local address of a connection is no longer one of this machine's. */
bool tcp_is_stranded(int fd);
