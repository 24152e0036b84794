/* Route netlink messages: building, sending, receiving. Shared by the files of this directory. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    NL_MESSAGE_MAX = 512,      /* bytes of a request of ours */
    NL_BUFFER_LEN = 64 * 1024, /* room for one answer; the kernel sends at most 32 KiB at a time */
};

/* A connection. */
struct nl {
    int fd;
    uint32_t sequence; /* of the last request */
    uint8_t *buffer;   /* NL_BUFFER_LEN bytes for answers */
};

/* A request being built. */
struct nl_request {
    union {
        struct nlmsghdr header;
        uint8_t bytes[NL_MESSAGE_MAX];
    } u;
    size_t len; /* bytes used, always aligned */
};

/* Handles one message of a dump. A negative result ends the dump and is its result. */
typedef int (*nl_handler)(void *ctx, const struct nlmsghdr *message);

/* Open with the given multicast groups (0: for requests, blocking; else non-blocking). Returns 0;
 * negative errno. */
MUST_CHECK int nl_open(struct nl *nl, uint32_t groups);
void nl_done(struct nl *nl);

/* Start a request whose fixed part is len bytes at body. */
void nl_begin(struct nl_request *req, uint16_t type, uint16_t flags, const void *body, size_t len);

/* Append an attribute. The caller's attributes always fit NL_MESSAGE_MAX. */
void nl_put(struct nl_request *req, uint16_t type, const void *data, size_t len);
void nl_put_u32(struct nl_request *req, uint16_t type, uint32_t value);
void nl_put_ip(struct nl_request *req, uint16_t type, const struct inetaddr *ip);

/* Send and wait for the acknowledgement. Returns 0; negative errno of kernel or transport. */
MUST_CHECK int nl_call(struct nl *nl, struct nl_request *req);

/* Send and give the one answer, valid until the next call. Returns 0; -ENODATA a bare
 * acknowledgement; negative errno. */
MUST_CHECK int nl_get(struct nl *nl, struct nl_request *req, const struct nlmsghdr **ret);

/* Send and give all answers to handler. Returns 0; -EAGAIN the tables changed under the dump;
 * negative errno. */
MUST_CHECK int nl_dump(struct nl *nl, struct nl_request *req, nl_handler handler, void *ctx);

/* Read one datagram of the kernel into nl->buffer. Returns its length; -EAGAIN; -ENOBUFS messages
 * were lost; negative errno. */
MUST_CHECK ssize_t nl_receive(struct nl *nl);

/* The fixed part of a message if it has size bytes, else NULL. */
const void *nl_body(const struct nlmsghdr *message, size_t size);

/* Sort the attributes after a fixed part of size bytes into out[0..max]; missing ones are NULL. */
void nl_attrs(const struct nlmsghdr *message, size_t size, const struct rtattr **out, size_t max);

/* The same for attributes nested in one (NULL: none). */
void nl_nested(const struct rtattr *attr, const struct rtattr **out, size_t max);

/* Value of an attribute; 0, or false and nothing written, when it is NULL or too short. */
uint32_t nl_u32(const struct rtattr *attr);
bool nl_ip(const struct rtattr *attr, uint8_t family, struct inetaddr *ret);

/* Copy a text, cut to cap - 1 characters; empty when NULL. */
void nl_text(const struct rtattr *attr, char *out, size_t cap);

/* AF_ number of an address, and back (0 for others). */
uint8_t nl_family(const struct inetaddr *ip);
uint8_t nl_family_of(uint8_t af);
